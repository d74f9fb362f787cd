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

// What is written may be the base, element by element.
template <class T, class Mean>
INLINE void finish(const Receiving& r, const T* total, const T* base, int64_t real, T* out, T* after, Mean mean_of) {
    const T nu = (T)r.nu, lam = (T)r.lam;
    if (!base) {
        for (int64_t e = 0; e < real; e++) out[e] = mean_of(total[e]) * nu;
        return;
    }
#pragma GCC ivdep
    for (int64_t e = 0; e < real; e++) {
        const T mean = mean_of(total[e]), before = base[e];
        out[e] = before + mean * nu;
        after[e] = before + mean * lam;
    }
}

// The same of whole vectors, written past the caches.
template <class Mean>
INLINE void finish_streaming(const Receiving& r, const float* total, const float* base, float* out, float* after,
                             Mean mean_of) {
    const float nu = (float)r.nu, lam = (float)r.lam;
    for (int64_t e = 0; e < r.format->size; e += L) {
        const vf mean = mean_of(load<vf>(total + e));
        if (!base) {
            stream_to(out + e, mean * nu);
            continue;
        }
        const vf before = load<vf>(base + e);
        stream_to(out + e, before + mean * nu);
        stream_to(after + e, before + mean * lam);
    }
}

// Results so large that no cache would keep them until someone reads them.
constexpr int64_t STREAMED = 1 << 22;

inline bool aligned(const void* at) { return (uintptr_t)at % sizeof(vf) == 0; }

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
    const T workers = (T)r.workers, share = 1 / workers;
    auto finished = [&](auto mean_of) {
        if constexpr (sizeof(T) == 4)
            if (f.d * r.groups >= STREAMED && real == f.size && f.size % L == 0 && aligned(out) && aligned(after))
                return finish_streaming(r, total, base, out, after, mean_of);
        finish(r, total, base, real, out, after, mean_of);
    };
    if ((r.workers & (r.workers - 1)) == 0)  // the same quotients, and no division
        finished([=](auto sum) { return sum * share; });
    else
        finished([=](auto sum) { return sum / workers; });
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
        settle();
    });
    return 0;
}
