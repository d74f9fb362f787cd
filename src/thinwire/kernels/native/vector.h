// Vectors of the width that this build's instruction set has, by the vector extensions of GCC and Clang.
//
// Everything here has internal linkage: the same sources are built once for each instruction set, into one library.
// The width never changes a result, since every float operation and its order are fixed by the wire format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

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
INLINE vi choose(vi mask, vi a, vi b) { return mask ? a : b; }
INLINE vf choose(vi mask, vf a, vf b) { return mask ? a : b; }
INLINE vi widen(vb v) { return __builtin_convertvector(v, vi); }
INLINE vb narrow(vi v) { return __builtin_convertvector(v, vb); }

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

// -0.0 in the lanes whose number has bit S, 0 in the others
template <int S> INLINE vu upper() {
    uint32_t v[L];
    for (int i = 0; i < L; i++) v[i] = i & S ? TOP : 0;
    return load<vu>(v);
}

// Eight floats to look up: in registers where there is an instruction for it.
class Table {
  public:
    explicit Table(const float* entries) {
        for (int i = 0; i < 8; i++) entries_[i] = entries[i];
#if !defined(__clang__) && defined(__AVX2__)
        all_ = load<vf>(entries_);
#endif
    }
    INLINE vf operator[](vi index) const {
#if !defined(__clang__) && defined(__AVX2__)
        return __builtin_shuffle(all_, index);
#else
        float v[L];
        for (int i = 0; i < L; i++) v[i] = entries_[index[i]];
        return load<vf>(v);
#endif
    }

  private:
    float entries_[L < 8 ? 8 : L] = {};
#if !defined(__clang__) && defined(__AVX2__)
    vf all_;
#endif
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

// The largest magnitude's bits, taken as integers so that a NaN cannot hide.
INLINE uint32_t largest(const float* x, int64_t n) {
    vi best[4] = {};
    int64_t i = 0;
    for (; i + 4 * L <= n; i += 4 * L)
        for (int k = 0; k < 4; k++) {
            vi m = (vi)(load<vu>(x + i + k * L) & ~TOP);
            best[k] = choose(m > best[k], m, best[k]);
        }
    uint32_t peak = 0;
    for (int k = 0; k < 4; k++)
        for (int lane = 0; lane < L; lane++) peak = (uint32_t)best[k][lane] > peak ? (uint32_t)best[k][lane] : peak;
    for (; i < n; i++) {
        uint32_t m = bits<uint32_t>(x[i]) & ~TOP;
        peak = m > peak ? m : peak;
    }
    return peak;
}

// Asks for memory that will be read soon, so that it comes while there is something else to do.
INLINE void prefetch(const void* from, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char*)from + i);
}

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
