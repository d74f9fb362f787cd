// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
#pragma once

#include "vector.h"

namespace {

constexpr int Q = L / 2;  // 64-bit lanes
constexpr uint32_t M0 = 0xD2511F53u, M1 = 0xCD9E8D57u, WEYL0 = 0x9E3779B9u, WEYL1 = 0xBB67AE85u;

// The low halves of the lanes, multiplied to 64 bits. Neither GCC nor its vectoriser finds this instruction, and
// without it the draws take three times as long.
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

// The low halves of a in the even lanes, those of b in the odd ones.
INLINE vu interleaved(vq a, vq b) { return (vu)((a & 0xFFFFFFFFu) | (b << 32)); }

// A row's stream: the key, and the high words of its counters.
struct Stream {
    uint32_t k0, k1, s2, s3;
};
INLINE Stream stream_of(const int64_t* s) {
    return {(uint32_t)s[0], (uint32_t)s[1], (uint32_t)s[2], (uint32_t)s[3]};
}

// The words of the counters (t, block, s2, s3), L at a time, from t = start on, up or down.
//
// A counter's words are in the low halves of 64-bit lanes, whose high halves hold leftovers. Two vectors go together,
// of the even and the odd counters. What all counters have in common in the first rounds is computed once.
class Philox {
  public:
    INLINE Philox(Stream s, int64_t block, int64_t start, bool up)
        : step_((up ? 1 : -1) * (uint64_t)L * M0) {
        const uint64_t first = (uint64_t)s.s2 * M1;
        const uint64_t second = (uint64_t)((uint32_t)(first >> 32) ^ (uint32_t)block ^ s.k0) * M0;
        first2_ = s.s3 ^ s.k1;
        second0_ = (uint32_t)first ^ (s.k0 + WEYL0);
        second2_ = (second >> 32) ^ (s.k1 + WEYL1);
        third2_ = (uint32_t)second ^ (s.k1 + 2 * WEYL1);
        for (uint32_t r = 2; r < 10; r++) keys_[r - 2][0] = s.k0 + r * WEYL0, keys_[r - 2][1] = s.k1 + r * WEYL1;
        for (int h = 0; h < 2; h++) {
            uint64_t t[Q];
            for (int i = 0; i < Q; i++) t[i] = (uint64_t)(start + 2 * i + h) * M0;
            product_[h] = load<vq>(t);
        }
    }

    INLINE void next(vu* words) {
        vq c0[2], c1[2], c2[2], c3[2];
        for (int h = 0; h < 2; h++) {
            const vq p1 = multiply((product_[h] >> 32) ^ first2_, M1);
            c0[h] = (p1 >> 32) ^ second0_;
            c1[h] = p1;
            c2[h] = product_[h] ^ second2_;
            product_[h] += step_;
        }
#pragma GCC unroll 8
        for (int round = 0; round < 8; round++)
            for (int h = 0; h < 2; h++) {
                const vq p0 = multiply(c0[h], M0), p1 = multiply(c2[h], M1);
                c0[h] = (p1 >> 32) ^ c1[h] ^ keys_[round][0];
                c2[h] = round ? (p0 >> 32) ^ c3[h] ^ keys_[round][1] : (p0 >> 32) ^ third2_;
                c1[h] = p1;
                c3[h] = p0;
            }
        words[0] = interleaved(c0[0], c0[1]);
        words[1] = interleaved(c1[0], c1[1]);
        words[2] = interleaved(c2[0], c2[1]);
        words[3] = interleaved(c3[0], c3[1]);
    }

  private:
    vq product_[2];  // of the counters with M0
    uint64_t step_, first2_, second0_, second2_, third2_, keys_[8][2];
};

// The words of the counters 0 … count − 1: word w of counter t goes to to[w · count + t]. Up to L words more are
// written behind them; the last counters come first, so that what is written too far is written over.
__attribute__((noinline)) void draw(Stream stream, int64_t block, int64_t count, uint32_t* to, Ahead& ahead) {
    int64_t start = (count - 1) / L * L;
    Philox philox(stream, block, start, false);
    for (; start >= 0; start -= L) {
        ahead.lines(L / 4);
        vu words[4];
        philox.next(words);
        for (int w = 0; w < 4; w++) store(to + w * count + start, words[w]);
    }
}

}  // namespace
