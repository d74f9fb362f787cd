// The sender's side: rows of blocks into payloads. Built once for each instruction set.
#include "call.h"

namespace {

bool finite(float v) { return (bits<uint32_t>(v) & ~TOP) < INFINITE; }

// x, or x − shift, as float32; zeros behind it, for `size` elements and whole vectors.
template <class T>
void take(const T* __restrict x, const T* __restrict shift, int64_t real, int64_t size, float* __restrict to) {
    if (shift)
        for (int64_t e = 0; e < real; e++) to[e] = (float)(x[e] - shift[e]);
    else
        for (int64_t e = 0; e < real; e++) to[e] = (float)x[e];
    std::memset(to + real, 0, sizeof(float) * (size_t)(size - real + L));
}

template <class T>
void move(const T* __restrict shift, const float* __restrict said, T lam, int64_t real, T* __restrict after) {
    for (int64_t e = 0; e < real; e++) after[e] = shift[e] + lam * (T)said[e];
}

// false if the row is to be zeros: it holds, or leads to, what is not finite
template <class T>
bool encode_block(const Sending& s, const Encoder& encoder, int64_t row, int64_t number, const Room& room) {
    const Format& f = *s.format;
    const int64_t start = number * f.size, left = f.d - start, real = left < f.size ? left : f.size;
    const Stream stream = stream_of(s.stream + 4 * row);
    const T* x = (const T*)s.x + row * s.x_stride + start;
    const T* shift = s.shift ? (const T*)s.shift + row * s.shift_stride + start : nullptr;
    T* after = s.after ? (T*)s.after + row * s.after_stride + start : nullptr;
    uint8_t* data = s.data + row * s.data_stride;
    uint8_t* body = data + 4 * f.count * f.scaled() + number * f.body;
    float scale;
    if (sizeof(T) == 4 && encoder.whole && real == f.size) {
        const Place place = {(const float*)x, (const float*)shift, (float*)after, (float)s.lam, stream, number};
        scale = encoder.whole(f, place, room.work, body);
        if (!finite(scale)) return false;
    } else {
        Ahead ahead(x + real, shift ? shift + real : nullptr, after && (const T*)after != x ? after + real : nullptr);
        Block b = {room.block, real, 0, stream, number, ahead};
        if (sizeof(T) == 4 && !shift && f.size % L == 0 && left >= f.size + BEYOND)
            b.values = (const float*)x;
        else
            take(x, shift, real, f.size, room.block);
        b.peak = largest(f.size, [&](int64_t e) __attribute__((always_inline)) { return load<vf>(b.values + e); });
        if (b.peak >= INFINITE) return false;
        scale = encoder.encode(f, b, room.work, body);
        if (!finite(scale)) return false;
        if (after) {
            encoder.say(f, scale, body, room.work, room.block);
            move(shift, room.block, (T)s.lam, real, after);
        }
    }
    if (f.scaled()) std::memcpy(data + 4 * number, &scale, sizeof scale);
    return true;
}

}  // namespace

int32_t BUILT(encode)(const Sending& s) {
    const Format& f = *s.format;
    if (!sound(f)) return REFUSED;
    const Rooms rooms(f, s.threads);
    if (rooms.none()) return NO_MEMORY;
    const Encoder encoder = encoder_of(f);
    const auto block = s.wide ? encode_block<double> : encode_block<float>;
    auto flag = [&](int64_t row) { return s.data + row * s.data_stride + f.nbytes - 1; };
    for (int64_t row = 0; row < s.rows; row++) *flag(row) = 0;
    shared(s.threads, s.rows * f.count, [&](int32_t thread, int64_t first, int64_t last) {
        const Room room = rooms.of(thread);
        for (int64_t at = first; at < last; at++) {
            const int64_t row = at / f.count;
            if (!block(s, encoder, row, at % f.count, room)) {
                __atomic_store_n(flag(row), 1, __ATOMIC_RELAXED);
                at = (row + 1) * f.count - 1;  // on with the next row
            }
        }
    });
    for (int64_t row = 0; row < s.rows; row++)
        if (*flag(row)) std::memset(s.data + row * s.data_stride, 0, (size_t)f.nbytes), *flag(row) = 1;
    return 0;
}
