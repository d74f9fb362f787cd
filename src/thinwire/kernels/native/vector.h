// Vectors of the width that this build's instruction set has, by the vector extensions of GCC and Clang.
//
// Everything here has internal linkage: the same sources are built once for each instruction set, into one library.
// The width never changes a result, since every float operation and its order are fixed by the wire format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE inline __attribute__((always_inline))

namespace {

#if defined(__AVX512F__)
constexpr int L = 16;
#elif defined(__AVX2__)
constexpr int L = 8;
#else
constexpr int L = 4;
#endif

typedef float vf __attribute__((vector_size(4 * L)));
typedef int32_t vi __attribute__((vector_size(4 * L)));
typedef uint32_t vu __attribute__((vector_size(4 * L)));
typedef uint64_t vq __attribute__((vector_size(4 * L)));
typedef uint8_t vb __attribute__((vector_size(L)));

constexpr uint32_t TOP = 0x80000000u;
constexpr uint32_t INFINITE = 0x7F800000u;  // the bits of +Inf
constexpr uint32_t SMALLEST = 27u << 23;    // the bits of 2^-100: a block below it is a block of zeros

template <class V> INLINE V load(const void* from) {
    V v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
template <class V> INLINE void store(void* to, V v) { std::memcpy(to, &v, sizeof v); }

// Past the caches, to an address that is a multiple of a vector's size. `settle` makes it seen by other threads.
INLINE void stream_to(float* to, vf v) {
#if defined(__AVX512F__)
    _mm512_stream_ps(to, (__m512)v);
#elif defined(__AVX2__)
    _mm256_stream_ps(to, (__m256)v);
#elif defined(__x86_64__)
    _mm_stream_ps(to, (__m128)v);
#else
    store(to, v);
#endif
}
INLINE void settle() {
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

template <class To, class From> INLINE To bits(From v) {
    static_assert(sizeof(To) == sizeof(From), "a change of type, not of size");
    To to;
    std::memcpy(&to, &v, sizeof to);
    return to;
}

INLINE vf all(float s) { return vf{} + s; }
INLINE vi all(int32_t s) { return vi{} + s; }
INLINE vu all(uint32_t s) { return vu{} + s; }

INLINE vf absolute(vf v) { return (vf)((vu)v & ~TOP); }
INLINE vi larger(vi a, vi b) {
#if defined(__AVX512F__)
    return (vi)_mm512_max_epi32((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (vi)_mm256_max_epi32((__m256i)a, (__m256i)b);
#else
    return a > b ? a : b;
#endif
}
INLINE vi smaller(vi a, vi b) {
#if defined(__AVX512F__)
    return (vi)_mm512_min_epi32((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (vi)_mm256_min_epi32((__m256i)a, (__m256i)b);
#else
    return a < b ? a : b;
#endif
}
// b where a is not a number
INLINE vf smaller(vf a, vf b) {
#if defined(__AVX512F__)
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__x86_64__)
    return (vf)_mm_min_ps((__m128)a, (__m128)b);
#else
    return a < b ? a : b;
#endif
}
INLINE vi choose(vi mask, vi a, vi b) { return mask ? a : b; }
INLINE vf choose(vi mask, vf a, vf b) { return mask ? a : b; }

// L bytes, and the lanes that they are. (Of GCC's own conversions between vectors of these widths some are scalar.)
INLINE vi load_bytes(const uint8_t* from) {
#if defined(__AVX512F__)
    return (vi)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)from));
#elif defined(__AVX2__)
    return (vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)from));
#elif defined(__x86_64__)
    int32_t four;
    std::memcpy(&four, from, sizeof four);
    const __m128i zero = _mm_setzero_si128();
    return (vi)_mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128(four), zero), zero);
#else
    return __builtin_convertvector(load<vb>(from), vi);
#endif
}
INLINE void store_bytes(uint8_t* to, vi v) {
#if defined(__AVX512F__)
    _mm_storeu_si128((__m128i*)to, _mm512_cvtepi32_epi8((__m512i)v));
#elif defined(__AVX2__)
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    _mm_storel_epi64((__m128i*)to, _mm_packus_epi16(words, words));
#elif defined(__x86_64__)
    const __m128i words = _mm_packs_epi32((__m128i)v, (__m128i)v);
    const int32_t four = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    std::memcpy(to, &four, sizeof four);
#else
    store(to, __builtin_convertvector(v, vb));
#endif
}

// lane i of the result is lane i ^ S of v
template <int S> INLINE vf swapped(vf v) {
#if defined(__clang__)
#define PICK(...) __builtin_shufflevector(v, v, __VA_ARGS__)
#else
#define PICK(...) __builtin_shuffle(v, vi{__VA_ARGS__})
#endif
#if defined(__AVX512F__)
    return PICK(0 ^ S, 1 ^ S, 2 ^ S, 3 ^ S, 4 ^ S, 5 ^ S, 6 ^ S, 7 ^ S, 8 ^ S, 9 ^ S, 10 ^ S, 11 ^ S, 12 ^ S, 13 ^ S,
                14 ^ S, 15 ^ S);
#elif defined(__AVX2__)
    return PICK(0 ^ S, 1 ^ S, 2 ^ S, 3 ^ S, 4 ^ S, 5 ^ S, 6 ^ S, 7 ^ S);
#else
    return PICK(0 ^ S, 1 ^ S, 2 ^ S, 3 ^ S);
#endif
#undef PICK
}

// -1 in the lanes whose number has bit S, 1 in the others
template <int S> INLINE vf signs() {
    float v[L];
    for (int i = 0; i < L; i++) v[i] = i & S ? -1.0f : 1.0f;
    return load<vf>(v);
}

// Eight or sixteen floats to look up: in registers, if there is an instruction.
template <int N> class Table {
  public:
    template <class Entry> INLINE explicit Table(Entry entry) {
        for (int i = 0; i < N; i++) entries_[i] = entry(i);
    }
    INLINE vf operator[](vi index) const {
#if defined(__AVX512F__)
        return (vf)_mm512_permutexvar_ps((__m512i)index, (__m512)load<vf>(entries_));
#elif defined(__AVX2__)
        const __m256 low = _mm256_permutevar8x32_ps((__m256)load<vf>(entries_), (__m256i)index);
        if (N == 8) return (vf)low;
        const __m256 high = _mm256_permutevar8x32_ps((__m256)load<vf>(entries_ + N / 2), (__m256i)index);
        return (vf)_mm256_blendv_ps(low, high, (__m256)(index << 28));
#else
        float v[L];
        for (int i = 0; i < L; i++) v[i] = entries_[index[i]];
        return load<vf>(v);
#endif
    }

  private:
    float entries_[16] = {};
};

// The sum by halving of v[0 … size), size a power of two: element i is added to element i + half. v is used up.
INLINE float halve(float* v, int64_t size) {
    while (size >= 8 * L) {
        size /= 8;
        for (int64_t i = 0; i < size; i += L) {
            vf a[8];
            for (int p = 0; p < 8; p++) a[p] = load<vf>(v + i + p * size);
            store(v + i, ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7])));
        }
    }
    while (size > 1) {
        size /= 2;
        for (int64_t i = 0; i < size; i++) v[i] = v[i] + v[i + size];
    }
    return v[0];
}

// The bits of the largest magnitude of the vectors at(e), taken as integers so that a NaN cannot hide.
template <class At> INLINE uint32_t largest(int64_t n, At at) {
    vi best[4] = {};
    int64_t e = 0;
    for (; e + 4 * L <= n; e += 4 * L)
        for (int k = 0; k < 4; k++) best[k] = larger((vi)absolute(at(e + k * L)), best[k]);
    for (; e < n; e += L) best[0] = larger((vi)absolute(at(e)), best[0]);
    const vi all_best = larger(larger(best[0], best[1]), larger(best[2], best[3]));
    int32_t peak = 0;
    for (int lane = 0; lane < L; lane++) peak = all_best[lane] > peak ? all_best[lane] : peak;
    return (uint32_t)peak;
}

// Memory that will be used soon, asked for line by line between other work, so that it comes meanwhile; in ascending
// order, for then the processor's own prefetching joins in. It may be asked for beyond its end.
INLINE void prefetch(const void* from, int64_t bytes) { __builtin_prefetch((const void*)((uintptr_t)from + bytes)); }

// Up to three stretches of it, null where there are fewer.
class Ahead {
  public:
    INLINE explicit Ahead(const void* a = nullptr, const void* b = nullptr, const void* c = nullptr) {
        for (const void* at : {a, b, c})
            if (at) at_[count_++] = (uintptr_t)at;
    }
    INLINE void lines(int n) {
        for (; n > 0; n--)
            for (int i = 0; i < count_; i++) {
                __builtin_prefetch((const void*)at_[i]);
                at_[i] += 64;
            }
    }
    // as many as the floats of a vector from e on take
    INLINE void vector(int64_t e) { lines(L >= 16 || e % 16 == 0); }

  private:
    int count_ = 0;
    uintptr_t at_[3];
};

// Powers of two with down · up = 1, such that down times the block is below 4 in magnitude.
struct Powers {
    float down, up;
};
INLINE Powers powers(uint32_t peak) {
    uint32_t e = peak >> 23;
    e = e < 27 ? 27 : e > 253 ? 253 : e;
    return {bits<float>((254 - e) << 23), bits<float>(e << 23)};
}

}  // namespace
