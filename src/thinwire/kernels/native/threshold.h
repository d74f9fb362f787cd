// Which values are the largest, without sorting: thresholds are found by counting what lies above them.
#pragma once

#include "vector.h"

namespace {

constexpr int32_t MAGNITUDE = 0x7FFFFFFF, WHOLE = -1;  // what of an int32 is compared

// How many of v & MASK are at least `least`.
template <int32_t MASK> INLINE int64_t count_from(const void* from, int64_t n, int32_t least) {
    const char* v = (const char*)from;
    vi sum[4] = {};
    int64_t i = 0, total = 0;
    for (; i + 4 * L <= n; i += 4 * L)
        for (int k = 0; k < 4; k++) sum[k] -= (vi)((load<vi>(v + 4 * (i + k * L)) & MASK) >= least);
    for (int k = 0; k < 4; k++)
        for (int lane = 0; lane < L; lane++) total += (uint32_t)sum[k][lane];
    for (; i < n; i++) {
        int32_t one;
        std::memcpy(&one, v + 4 * i, sizeof one);
        total += (one & MASK) >= least;
    }
    return total;
}

// `count` values, as many as are wanted or more, are at least `lo`; fewer than are wanted are at least `hi`.
struct Bracket {
    int64_t lo, hi, count;
};

// Closes in on the threshold above which `keep` of the n values lie, until at most `enough` are at least lo, or lo is
// that threshold. From `start`, inside the bracket, in steps that grow at first and halve what is left at the end.
template <int32_t MASK>
INLINE Bracket close_in(const void* v, int64_t n, int64_t keep, int64_t enough, Bracket b, int64_t start) {
    int64_t t = start;
    for (int64_t step = 1 << 19; b.count > enough && b.hi - b.lo > 1;) {
        const int64_t count = count_from<MASK>(v, n, (int32_t)t);
        const bool low = count >= keep;
        if (low) {
            b.lo = t;
            b.count = count;
        } else {
            b.hi = t;
        }
        const int64_t half = (b.hi - b.lo) / 2, move = half < step ? half : step;
        t = low ? b.lo + move : b.hi - move;
        if (step < half) step *= 8;
    }
    return b;
}

// Appends base + i for every lane i that is set, in order; L elements of `to` may be written.
INLINE uint32_t* append(uint32_t* to, uint32_t base, vi set) {
#if defined(__AVX512F__)
    const __mmask16 mask = _mm512_movepi32_mask((__m512i)set);
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i numbers = _mm512_add_epi32(lanes, _mm512_set1_epi32((int32_t)base));
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(mask, numbers));
    return to + __builtin_popcount(mask);
#elif defined(__x86_64__)
#if defined(__AVX2__)
    uint32_t mask = (uint32_t)_mm256_movemask_ps((__m256)set);
#else
    uint32_t mask = (uint32_t)_mm_movemask_ps((__m128)set);
#endif
    for (; mask; mask &= mask - 1) *to++ = base + (uint32_t)__builtin_ctz(mask);
    return to;
#else
    for (int i = 0; i < L; i++) {
        *to = base + (uint32_t)i;
        to += set[i] & 1;
    }
    return to;
#endif
}

// Where v & MASK is at least `least`: base + i for those i, ascending. `to` has room for them and a vector more.
template <int32_t MASK>
INLINE int64_t where_from(const void* from, int64_t n, int32_t least, uint32_t base, uint32_t* to) {
    const char* v = (const char*)from;
    uint32_t* end = to;
    int64_t i = 0;
    for (; i + L <= n; i += L) end = append(end, base + (uint32_t)i, (load<vi>(v + 4 * i) & MASK) >= least);
    for (; i < n; i++) {
        int32_t one;
        std::memcpy(&one, v + 4 * i, sizeof one);
        *end = base + (uint32_t)i;
        end += (one & MASK) >= least;
    }
    return end - to;
}

// Of n numbers with these keys, moves the `keep` with the largest keys to the front, in order, keys too; of equal keys
// the first are kept. `b` and `start` as for close_in. Gives the least key that was kept.
INLINE int32_t thin(uint32_t* numbers, int32_t* keys, int64_t n, int64_t keep, Bracket b, int64_t start) {
    b = close_in<WHOLE>(keys, n, keep, keep, b, start);
    const int32_t least = (int32_t)b.lo;
    // all that are larger, and as many equal ones as there is room for
    const int64_t larger = b.count == keep || b.hi > INT32_MAX ? 0 : count_from<WHOLE>(keys, n, (int32_t)b.hi);
    int64_t equal = keep - larger, to = 0;
    for (int64_t i = 0; i < n; i++) {
        const int32_t key = keys[i];
        const bool tie = key == least && equal > 0, kept = key > least || tie;
        equal -= tie;
        numbers[to] = numbers[i];
        keys[to] = key;
        to += kept;
    }
    return least;
}

}  // namespace
