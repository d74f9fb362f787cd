// Around the blocks of a call: whether it is sound, memory to work in, and threads.
#pragma once

#include <cstdlib>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include "codec.h"

namespace {

inline int64_t fields_of(int64_t size, int32_t bits) {
    int64_t bytes = bits / 8 * size;
    for (int32_t field = 4; field; field /= 2)
        if (bits & field) bytes += (size + 8 / field - 1) / (8 / field);
    return bytes;
}

// Whether the sizes fit together and the numbers are in the ranges that the codes are written for.
inline bool sound(const Format& f) {
    const bool dithers = f.kind == DITHER || f.kind == NATURAL_DITHER;
    const int32_t least = f.kind == DITHER ? 0 : f.kind == NATURAL ? 9 : f.kind == NATURAL_DITHER ? 2 : 1;
    const int32_t most = f.kind == SIGN ? 1 : f.kind == NATURAL ? 9 : f.kind == ROTATED ? 4 : 8;
    const bool power = f.size >= 128 && (f.size & (f.size - 1)) == 0;
    return f.kind >= DITHER && f.kind <= ROTATED && f.bits >= least && f.bits <= most &&
           (f.kind != ROTATED || power) && f.levels >= (dithers ? 1 : 0) &&
           f.levels <= (f.kind == NATURAL_DITHER ? 125 : 127) && f.d > 0 && f.size > 0 && f.count > 0 &&
           f.count <= (f.d - 1) / f.size + 1 && f.count * f.size >= f.d &&
           f.body == (f.bits ? fields_of(f.size, f.bits) : (f.size + 4) / 5) &&
           f.nbytes == f.count * (4 * f.scaled() + f.body) + 1;
}

// Working memory of a call, taken at once, so that there is one place where it can be refused: a part for each thread.
class Rooms {
  public:
    Rooms(const Format& f, int32_t threads)
        : values_(whole(f.size + BEYOND)), each_(values_ * (4 + 8 + 8 + 8 + 4 + 2)),
          all_(std::malloc((size_t)(each_ * (threads > 1 ? threads : 1) + 64))) {}
    ~Rooms() { std::free(all_); }
    Rooms(const Rooms&) = delete;
    Rooms& operator=(const Rooms&) = delete;
    bool none() const { return !all_; }

    struct Room {
        float* block;
        double *total, *lane;  // for numbers of either width
        Work work;
    };
    Room of(int32_t thread) const {
        char* at = (char*)(((uintptr_t)all_ + 63) & ~(uintptr_t)63) + thread * each_;
        auto next = [&](int64_t width) { return (void*)((at += width * values_) - width * values_); };
        Room r;
        r.block = (float*)next(4), r.total = (double*)next(8), r.lane = (double*)next(8);
        r.work = {(float*)next(8), (uint32_t*)next(4), (uint8_t*)next(1), (uint8_t*)next(1)};
        return r;
    }

  private:
    static int64_t whole(int64_t n) { return (n + 63) / 64 * 64; }
    int64_t values_, each_;
    void* all_;
};
typedef Rooms::Room Room;

// Calls what(thread, first, last) for consecutive parts of 0 … total, one for each thread; without OpenMP, for one.
template <class What> void shared(int32_t threads, int64_t total, What what) {
#if defined(_OPENMP)
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        const int64_t me = omp_get_thread_num(), of = omp_get_num_threads();
        what((int32_t)me, total * me / of, total * (me + 1) / of);
    }
#else
    what(0, 0, total);
#endif
}

}  // namespace
