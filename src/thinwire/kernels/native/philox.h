// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
#pragma once

#include "vector.h"

namespace {

constexpr int Q = L / 2;  // 64-bit lanes

// The low halves of the lanes, multiplied to 64 bits. The only intrinsics of these sources: neither GCC nor its
// vectoriser finds this instruction, and without it the draws take three times as long.
INLINE vq multiply(vq a, uint32_t b) {
    vq factor = vq{} + (uint64_t)b;
#if defined(__AVX512F__)
    return (vq)_mm512_mul_epu32((__m512i)a, (__m512i)factor);
#elif defined(__AVX2__)
    return (vq)_mm256_mul_epu32((__m256i)a, (__m256i)factor);
#elif defined(__x86_64__)
    return (vq)_mm_mul_epu32((__m128i)a, (__m128i)factor);
#else
    return (a & 0xFFFFFFFFu) * factor;
#endif
}

// A row's stream: the key, and the high words of its counters.
struct Stream {
    uint32_t k0, k1, s2, s3;
};
INLINE Stream stream_of(const int64_t* s) {
    return {(uint32_t)s[0], (uint32_t)s[1], (uint32_t)s[2], (uint32_t)s[3]};
}

// The words of the counters (t, block, s2, s3), t = 0 … count − 1: word w of counter t goes to to[w · count + t].
__attribute__((noinline)) void draw(Stream s, int64_t block, int64_t count, uint32_t* to) {
    for (int64_t start = 0; start < count; start += 2 * Q) {
        vq c0[2], c1[2], c2[2], c3[2];
        for (int h = 0; h < 2; h++) {
            uint64_t t[Q];
            for (int i = 0; i < Q; i++) t[i] = (uint64_t)(start + h * Q + i);
            c0[h] = load<vq>(t);
            c1[h] = vq{} + (uint64_t)(uint32_t)block;
            c2[h] = vq{} + (uint64_t)s.s2;
            c3[h] = vq{} + (uint64_t)s.s3;
        }
        uint32_t k0 = s.k0, k1 = s.k1;
        for (int round = 0; round < 10; round++) {
            for (int h = 0; h < 2; h++) {
                vq p0 = multiply(c0[h], 0xD2511F53u), p1 = multiply(c2[h], 0xCD9E8D57u);
                c0[h] = (p1 >> 32) ^ c1[h] ^ (uint64_t)k0;  // only the low halves count
                c2[h] = (p0 >> 32) ^ c3[h] ^ (uint64_t)k1;
                c1[h] = p1;
                c3[h] = p0;
            }
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        int64_t left = count - start < 2 * Q ? count - start : 2 * Q;
        for (int w = 0; w < 4; w++) {
            uint32_t words[2 * Q];
            for (int h = 0; h < 2; h++) {
                uint64_t c[Q];
                store(c, w == 0 ? c0[h] : w == 1 ? c1[h] : w == 2 ? c2[h] : c3[h]);
                for (int i = 0; i < Q; i++) words[h * Q + i] = (uint32_t)c[i];
            }
            if (left == 2 * Q)
                std::memcpy(to + w * count + start, words, sizeof words);
            else
                for (int64_t i = 0; i < left; i++) to[w * count + start + i] = words[i];
        }
    }
}

}  // namespace
