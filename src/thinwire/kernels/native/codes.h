// Codes of single elements: dithering, signs, natural compression, natural dithering.
//
// Arrays of values, draws and codes are worked on in whole vectors: what lies up to BEYOND elements behind a block is
// read and written too.
#pragma once

#include <cmath>

#include "format.h"
#include "pack.h"
#include "philox.h"

namespace {

// A block to encode: f.size values, of which `real` are no padding, the bits of their largest magnitude, and what the
// draws are made of.
struct Block {
    const float* values;
    int64_t real;
    uint32_t peak;
    Stream stream;
    int64_t number;
};

// What a block's codes need: room for sums and for draws, for codes, and for what Natural has above eight bits.
struct Work {
    float* sums;
    uint32_t* words;
    uint8_t *codes, *high;
};

// 16 random bits of each element: the low halves of the words first, then the high halves.
class Halves {
  public:
    Halves(const Format& f, const Block& b, uint32_t* words) : words_(words), n_((f.size + 7) / 8 * 4) {
        draw(b.stream, b.number, n_ / 4, words);
    }
    // Calls what(e, bits << 7 | 64 as vi) so that the vectors from e on cover the block.
    template <class What> INLINE void each(int64_t size, What what) const {
        const int64_t first = n_ < size ? n_ : size;
        for (int64_t e = 0; e < first; e += L) what(e, (vi)((load<vu>(words_ + e) << 7 & 0x7FFF80u) | 64u));
        for (int64_t e = n_; e < size; e += L) what(e, (vi)((load<vu>(words_ + e - n_) >> 9 & 0x7FFF80u) | 64u));
    }

  private:
    const uint32_t* words_;
    int64_t n_;
};

// The dither (bits + 0.5) / 65536: as the mantissa of a number between 1 and 2, less 1.
INLINE vf uniform(vi carry) { return (vf)(carry | 0x3F800000) - 1.0f; }

// The sum by halving of value(e), of a size that zeros fill up to a power of two.
template <class Value> INLINE float sum(int64_t size, float* room, Value value) {
    for (int64_t e = 0; e < size; e++) room[e] = value(e);
    int64_t power = 1;
    while (power < size) power *= 2;
    if (power > size) {  // the first halving: the upper half is partly zeros, and a + 0 is a
        power /= 2;
        for (int64_t e = 0; e < size - power; e++) room[e] = room[e] + room[e + power];
    }
    return halve(room, power);
}

float norm(const Format& f, const Block& b, float* room) {
    if (b.peak < SMALLEST) return 0.0f;
    if (!f.euclidean) return bits<float>(b.peak);
    const Powers power = powers(b.peak);
    return std::sqrt(sum(f.size, room, [&](int64_t e) {
               const float v = b.values[e] * power.down;
               return v * v;
           })) * power.up;
}

// Two roundings, as in the format.
INLINE float inverse(float numerator, float scale) { return scale > 0 ? (1.0f / scale) * numerator : 0.0f; }

INLINE vi truncated(vf v) { return __builtin_convertvector(v, vi); }
INLINE vf as_float(vi v) { return __builtin_convertvector(v, vf); }
INLINE vi code_at(const uint8_t* codes, int64_t e) { return widen(load<vb>(codes + e)); }

float encode_dither(const Format& f, const Block& b, const Work& work, uint8_t* body) {
    const float scale = norm(f, b, work.sums), factor = inverse((float)f.levels, scale);
    const vf top = all((float)f.levels);
    const float* x = b.values;
    auto code = [&](int64_t e, vf dither) __attribute__((always_inline)) {
        const vf v = load<vf>(x + e), q = absolute(v) * factor + dither, level = q < top ? q : top;
        store(work.codes + e, narrow(truncated((vf)((vu)level | ((vu)v & TOP))) + f.levels));
    };
    if (f.nearest)
        for (int64_t e = 0; e < f.size; e += L) code(e, all(0.5f));
    else
        Halves(f, b, work.words).each(f.size, [&](int64_t e, vi carry) __attribute__((always_inline)) {
            code(e, uniform(carry));
        });
    write_codes(f.bits, work.codes, f.size, body);
    return scale;
}

// 1 / n to 40 bits, such that whole numbers up to n times `high` are exact, and the sum of a whole number's two
// products is rounded as its quotient is: quotients of numbers below 128 are no closer to the middle of two floats.
struct Reciprocal {
    float high, low;
    explicit Reciprocal(int32_t n) {
        high = bits<float>(bits<uint32_t>(1.0f / (float)n) & 0xFFFFFF80u);
        low = (float)(1.0 / n - high);
    }
};

INLINE void write_dither(const Format& f, float scale, const Work& work, float* to) {
    const Reciprocal step(f.levels);
    for (int64_t e = 0; e < f.size; e += L) {
        const vi code = code_at(work.codes, e);
        const vf level = as_float((code < 2 * f.levels ? code : all(2 * f.levels)) - f.levels);
        store(to + e, (level * step.high + level * step.low) * scale);
    }
}

float encode_sign(const Format& f, const Block& b, const Work& work, uint8_t* body) {
    const Powers power = powers(b.peak);
    const float* x = b.values;
    const float total = sum(f.size, work.sums, [&](int64_t e) { return std::fabs(x[e] * power.down); });
    for (int64_t e = 0; e < f.size; e += L) store(work.codes + e, narrow((load<vf>(x + e) < 0.0f) & 1));
    write_codes(1, work.codes, f.size, body);
    return b.peak >= SMALLEST ? total / (float)b.real * power.up : 0.0f;
}

INLINE void write_sign(const Format& f, float scale, const Work& work, float* to) {
    for (int64_t e = 0; e < f.size; e += L) store(to + e, as_float(1 - 2 * code_at(work.codes, e)) * scale);
}

float encode_natural(const Format& f, const Block& b, const Work& work, uint8_t* body) {
    Halves(f, b, work.words).each(f.size, [&](int64_t e, vi carry) __attribute__((always_inline)) {
        const vi all_bits = load<vi>(b.values + e), magnitude = all_bits & 0x7FFFFFFF;
        vi exponent = (magnitude + carry) >> 23;
        exponent = choose(exponent > 254, all(254), exponent);
        exponent = choose(magnitude < 1 << 23, all(0), exponent);
        store(work.codes + e, narrow(exponent));
        store(work.high + e, narrow(all_bits >> 31 & 1));
    });
    std::memset(work.high + f.size, 0, 8);
    write_fields<1>(work.high, f.size, 0, write_fields<8>(work.codes, f.size, 0, body));
    return 0;
}

INLINE void read_natural(const Format& f, const uint8_t* body, const Work& work) {
    read_fields<1>(read_fields<8>(body, f.size, 0, work.codes), f.size, 0, work.high);
}

INLINE void write_natural(const Format& f, float, const Work& work, float* to) {
    for (int64_t e = 0; e < f.size; e += L) store(to + e, code_at(work.codes, e) << 23 | code_at(work.high, e) << 31);
}

float encode_natural_dither(const Format& f, const Block& b, const Work& work, uint8_t* body) {
    const float scale = norm(f, b, work.sums), factor = inverse(1.0f, scale);
    const float up = bits<float>((uint32_t)(126 + f.levels) << 23), least = bits<float>((uint32_t)(128 - f.levels) << 23);
    Halves(f, b, work.words).each(f.size, [&](int64_t e, vi carry) __attribute__((always_inline)) {
        const vf v = load<vf>(b.values + e), product = absolute(v) * factor;
        const vf t = choose(product > 1.0f, all(1.0f), product);
        const vi upper = (((vi)t + carry) >> 23) - (127 - f.levels);
        const vf below = t * up + uniform(carry);
        const vi lower = truncated(choose(below < 4.0f, below, all(0.0f)));  // where it is not taken it may be huge
        const vi level = choose(t < least, lower, upper);
        store(work.codes + e, narrow(level | ((v < 0.0f) & 1) << (f.bits - 1)));
    });
    write_codes(f.bits, work.codes, f.size, body);
    return scale;
}

INLINE void write_natural_dither(const Format& f, float scale, const Work& work, float* to) {
    const int32_t mask = (1 << (f.bits - 1)) - 1;
    for (int64_t e = 0; e < f.size; e += L) {
        const vi code = code_at(work.codes, e), kept = code & mask, level = kept < f.levels ? kept : all(f.levels);
        const vi power = choose(level > 0, (level + 127 - f.levels) << 23, all(0));
        store(to + e, (vf)(power | code >> (f.bits - 1) << 31) * scale);
    }
}

}  // namespace
