// The receiver's side: payloads into means. Built once for each instruction set.
#include "call.h"

namespace {

constexpr int64_t LANES = 64;  // of sums in rank order: lane l adds the workers l, l + 64, …, then they are added

template <class T> void add_all(const T* __restrict part, int64_t real, T* __restrict total) {
    for (int64_t e = 0; e < real; e++) total[e] += part[e];
}

// A block of the payloads of a group.
template <class T> struct Reader {
    const Receiving& r;
    const Room& room;
    Decode set, add;
    int64_t group, number;

    void said(Decode decode, int64_t worker, float* to) const {
        const Format& f = *r.format;
        const int64_t row = worker * r.groups + group;
        const uint8_t* data = r.data + row * r.data_stride;
        float scale = 0;
        if (f.scaled()) std::memcpy(&scale, data + 4 * number, sizeof scale);
        const uint8_t* body = data + 4 * f.count * f.scaled() + number * f.body;
        decode(f, scale, body, stream_of(r.stream + 4 * row), number, room.work, to);
    }

    // what a worker says, or that added to what is there
    void put(int64_t worker, bool adds, float* to) const { said(adds ? add : set, worker, to); }
    void put(int64_t worker, bool adds, double* __restrict to) const {
        const float* __restrict part = room.block;
        said(set, worker, room.block);
        if (adds)
            for (int64_t e = 0; e < r.format->size; e++) to[e] += part[e];
        else
            for (int64_t e = 0; e < r.format->size; e++) to[e] = part[e];
    }
};

template <class T> void finish(const Receiving& r, const T* total, const T* base, int64_t real, T* out, T* after) {
    const T workers = (T)r.workers, nu = (T)r.nu, lam = (T)r.lam;
    if (!base) {
        for (int64_t e = 0; e < real; e++) out[e] = total[e] / workers * nu;
        return;
    }
#pragma GCC ivdep  // where out or after is base, it is so element by element
    for (int64_t e = 0; e < real; e++) {
        const T mean = total[e] / workers, before = base[e];
        out[e] = before + mean * nu;
        after[e] = before + mean * lam;
    }
}

template <class T>
void decode_block(const Receiving& r, Decode set, Decode add, int64_t group, int64_t number, const Room& room) {
    const Format& f = *r.format;
    const int64_t at = number * f.size, left = f.d - at, real = left < f.size ? left : f.size;
    const T* base = r.base ? (const T*)r.base + group * r.base_stride + at : nullptr;
    T* out = (T*)r.out + group * r.out_stride + at;
    T* after = r.after ? (T*)r.after + group * r.after_stride + at : nullptr;
    const Reader<T> reader = {r, room, set, add, group, number};
    if (sizeof(T) == 4 && r.workers == 1 && !base && r.nu == 1 && real == f.size && f.size % L == 0)
        return reader.said(set, 0, (float*)out);
    T *total = (T*)room.total, *lane = (T*)room.lane;
    for (int64_t l = 0; l < LANES && l < r.workers; l++) {
        if (l + LANES >= r.workers) {
            reader.put(l, l > 0, total);
            continue;
        }
        T* to = l ? lane : total;
        for (int64_t worker = l; worker < r.workers; worker += LANES) reader.put(worker, worker > l, to);
        if (l) add_all(lane, real, total);
    }
    finish(r, total, base, real, out, after);
}

}  // namespace

int32_t BUILT(decode)(const Receiving& r) {
    const Format& f = *r.format;
    if (!sound(f) || r.workers < 1) return REFUSED;
    const Rooms rooms(f, r.threads);
    if (rooms.none()) return NO_MEMORY;
    const Decode set = decoder_of<false>(f), add = decoder_of<true>(f);
    const auto block = r.wide ? decode_block<double> : decode_block<float>;
    shared(r.threads, r.groups * f.count, [&](int32_t thread, int64_t first, int64_t last) {
        const Room room = rooms.of(thread);
        for (int64_t at = first; at < last; at++) block(r, set, add, at / f.count, at % f.count, room);
    });
    return 0;
}
