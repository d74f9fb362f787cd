// The unnormalised Walsh-Hadamard transform, butterflies of span 1, 2, 4, …: several spans each time a block is read.
#pragma once

#include "vector.h"

namespace {

// (a, b) -> (a + b, a − b) over lanes that are S apart. a − b is a + (−1) b, and the product is exact, so that a fused
// multiply-add rounds as the difference does.
template <int S> INLINE vf within(vf v) {
#if defined(__AVX512F__)
    return (vf)_mm512_fmadd_ps((__m512)v, (__m512)signs<S>(), (__m512)swapped<S>(v));
#elif defined(__AVX2__)
    return (vf)_mm256_fmadd_ps((__m256)v, (__m256)signs<S>(), (__m256)swapped<S>(v));
#else
    return swapped<S>(v) + v * signs<S>();
#endif
}
INLINE vf within(vf v) {
    v = within<1>(v);
    v = within<2>(v);
    if constexpr (L > 4) v = within<4>(v);
    if constexpr (L > 8) v = within<8>(v);
    return v;
}

// The same over N vectors: spans FROM … N/2 vectors.
template <int N, int FROM = 1> INLINE void across(vf* r) {
#pragma GCC unroll 4
    for (int span = FROM; span < N; span *= 2)
#pragma GCC unroll 8
        for (int i = 0; i < N / 2; i++) {
            int a = i / span * 2 * span + i % span, b = a + span;
            vf sum = r[a] + r[b], difference = r[a] - r[b];
            r[a] = sum;
            r[b] = difference;
        }
}

constexpr int FIRST = 8;  // vectors of the first pass: it does the spans below 8 L

// The first pass: source(e) is the vector of the elements from e on.
template <class Source> INLINE void first_pass(int64_t size, float* to, Source source) {
    for (int64_t e = 0; e < size; e += FIRST * L) {
        vf r[FIRST];
#pragma GCC unroll 8
        for (int k = 0; k < FIRST; k++) r[k] = within(source(e + k * L));
        across<FIRST>(r);
#pragma GCC unroll 8
        for (int k = 0; k < FIRST; k++) store(to + e + k * L, r[k]);
    }
}

template <int N> INLINE void strided(int64_t size, int64_t span, float* v) {
    for (int64_t base = 0; base < size; base += N * span)
        for (int64_t e = base; e < base + span; e += L) {
            vf r[N];
#pragma GCC unroll 8
            for (int k = 0; k < N; k++) r[k] = load<vf>(v + e + k * span);
            across<N>(r);
#pragma GCC unroll 8
            for (int k = 0; k < N; k++) store(v + e + k * span, r[k]);
        }
}

// The spans between those of the first pass and the three of the last.
INLINE void middle_passes(int64_t size, float* v) {
    int64_t span = FIRST * L, end = size / 8;
    if (span > end) return;
    while (end / span >= 8) strided<8>(size, span, v), span *= 8;
    if (end / span == 4) strided<4>(size, span, v);
    if (end / span == 2) strided<2>(size, span, v);
}

// The last pass, spans size/8, size/4 and size/2: sink(e, r) takes r[p], the elements from e + p · size/8 on.
template <class Sink> INLINE void last_pass(int64_t size, const float* v, Sink sink) {
    for (int64_t e = 0; e < size / 8; e += L) {
        vf r[8];
#pragma GCC unroll 8
        for (int p = 0; p < 8; p++) r[p] = load<vf>(v + e + p * (size / 8));
        switch (8 * FIRST * L / size) {  // of a small block the first pass has done some of these spans too
            case 0:
            case 1: across<8>(r); break;
            case 2: across<8, 2>(r); break;
            case 4: across<8, 4>(r); break;
        }
        sink(e, r);
    }
}

}  // namespace
