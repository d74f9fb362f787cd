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

// A block to encode: f.size values, of which `real` are no padding, the bits of their largest magnitude, what the draws
// are made of, and what comes after the block.
struct Block {
    const float* values;
    int64_t real;
    uint32_t peak;
    Stream stream;
    int64_t number;
    Ahead& ahead;
};

// What a block's codes need: room for sums and for draws, for codes, and for what Natural has above eight bits.
struct Work {
    float* sums;
    uint32_t* words;
    uint8_t *codes, *high;
};

// 16 random bits of each element, the low halves of the words first, then the high halves, as the upper ones of the 23
// bits of a mantissa.
INLINE vi low_bits(vu words) { return (vi)(words << 7 & 0x7FFF80u); }
INLINE vi high_bits(vu words) { return (vi)(words >> 9 & 0x7FFF80u); }
// What is added to a mantissa for it to be rounded at random.
INLINE vi carry(vi random) { return random | 64; }
// The dither (bits + 0.5) / 65536, as the mantissa of a number between 1 and 2, less 1.
INLINE vf uniform(vi random) { return (vf)(random | (0x3F800000 | 64)) - 1.0f; }

class Halves {
  public:
    Halves(const Format& f, const Block& b, uint32_t* words)
        : words_(words), n_((f.size + 7) / 8 * 4), ahead_(b.ahead) {
        draw(b.stream, b.number, n_ / 4, words, ahead_);
    }
    // Calls what(e, random bits) so that the vectors from e on cover the block.
    template <class What> INLINE void each(int64_t size, What what) const {
        const int64_t first = n_ < size ? n_ : size;
        for (int64_t e = 0; e < first; e += L) {
            ahead_.vector(e);
            what(e, low_bits(load<vu>(words_ + e)));
        }
        for (int64_t e = n_; e < size; e += L) {
            ahead_.vector(e);
            what(e, high_bits(load<vu>(words_ + e - n_)));
        }
    }

  private:
    const uint32_t* words_;
    int64_t n_;
    Ahead& ahead_;
};

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

template <bool ADD> INLINE void put(float* to, vf v) { store(to, ADD ? load<vf>(to) + v : v); }

INLINE vi truncated(vf v) { return __builtin_convertvector(v, vi); }
INLINE vf as_float(vi v) { return __builtin_convertvector(v, vf); }

// The code of dithering: s + sign(x) min(⌊|x| factor + dither⌋, s).
class Dithering {
  public:
    INLINE Dithering(int32_t levels, float scale)
        : factor_(all(inverse((float)levels, scale))), top_(all((float)levels)), levels_(all(levels)) {}
    INLINE vi operator()(vf v, vf dither) const {
        const vf level = smaller(absolute(v) * factor_ + dither, top_);
        return truncated((vf)((vu)level | ((vu)v & TOP))) + levels_;
    }

  private:
    vf factor_, top_;
    vi levels_;
};

float encode_dither(const Format& f, const Block& b, const Work& work, uint8_t* body) {
    const float scale = norm(f, b, work.sums);
    const Dithering dithered(f.levels, scale);
    auto code = [&](int64_t e, vf dither) __attribute__((always_inline)) {
        store_bytes(work.codes + e, dithered(load<vf>(b.values + e), dither));
    };
    if (f.nearest)
        for (int64_t e = 0; e < f.size; e += L) code(e, all(0.5f));
    else
        Halves(f, b, work.words).each(f.size, [&](int64_t e, vi random) __attribute__((always_inline)) {
            code(e, uniform(random));
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

// What the codes of dithering mean: scale · ((code − s) / s), codes that no sender makes taken as the largest.
class Levels {
  public:
    INLINE Levels(int32_t levels, float scale) : step_(levels), levels_(levels), scale_(scale) {}
    INLINE vf operator()(vi code) const {
        const vf level = as_float(smaller(code, all(2 * levels_)) - levels_);
        return (level * step_.high + level * step_.low) * scale_;
    }

  private:
    Reciprocal step_;
    int32_t levels_;
    float scale_;
};

// The same of codes so few that they fit into a table, where there is an instruction to look them up.
class FewLevels {
  public:
    static INLINE bool enough(const Format& f) { return L >= 8 && f.bits <= 4; }
    INLINE FewLevels(int32_t levels, float scale)
        : table_([&](int code) {
              return (float)((code < 2 * levels ? code : 2 * levels) - levels) / (float)levels * scale;
          }) {}
    INLINE vf operator()(vi code) const { return table_[code]; }

  private:
    Table<16> table_;
};

template <bool ADD, class Meaning> INLINE void write_levels(const Format& f, float scale, const Work& work, float* to) {
    const Meaning meaning(f.levels, scale);
    for (int64_t e = 0; e < f.size; e += L) put<ADD>(to + e, meaning(load_bytes(work.codes + e)));
}

template <bool ADD> INLINE void write_dither(const Format& f, float scale, const Work& work, float* to) {
    if (FewLevels::enough(f)) return write_levels<ADD, FewLevels>(f, scale, work, to);
    write_levels<ADD, Levels>(f, scale, work, to);
}

float encode_sign(const Format& f, const Block& b, const Work& work, uint8_t* body) {
    const Powers power = powers(b.peak);
    const float* x = b.values;
    const float total = sum(f.size, work.sums, [&](int64_t e) { return std::fabs(x[e] * power.down); });
    for (int64_t e = 0; e < f.size; e += L) store_bytes(work.codes + e, (load<vf>(x + e) < 0.0f) & 1);
    write_codes(1, work.codes, f.size, body);
    return b.peak >= SMALLEST ? total / (float)b.real * power.up : 0.0f;
}

template <bool ADD> INLINE void write_sign(const Format& f, float scale, const Work& work, float* to) {
    for (int64_t e = 0; e < f.size; e += L) put<ADD>(to + e, as_float(1 - 2 * load_bytes(work.codes + e)) * scale);
}

float encode_natural(const Format& f, const Block& b, const Work& work, uint8_t* body) {
    Halves(f, b, work.words).each(f.size, [&](int64_t e, vi random) __attribute__((always_inline)) {
        const vi all_bits = load<vi>(b.values + e), magnitude = all_bits & 0x7FFFFFFF;
        vi exponent = (magnitude + carry(random)) >> 23;
        exponent = choose(exponent > 254, all(254), exponent);
        exponent = choose(magnitude < 1 << 23, all(0), exponent);
        store_bytes(work.codes + e, exponent);
        store_bytes(work.high + e, all_bits >> 31 & 1);
    });
    std::memset(work.high + f.size, 0, 8);
    write_fields<1>(work.high, f.size, 0, write_fields<8>(work.codes, f.size, 0, body));
    return 0;
}

INLINE void read_natural(const Format& f, const uint8_t* body, const Work& work) {
    read_fields<1>(read_fields<8>(body, f.size, 0, work.codes), f.size, 0, work.high);
}

template <bool ADD> INLINE void write_natural(const Format& f, float, const Work& work, float* to) {
    for (int64_t e = 0; e < f.size; e += L)
        put<ADD>(to + e, (vf)(load_bytes(work.codes + e) << 23 | load_bytes(work.high + e) << 31));
}

float encode_natural_dither(const Format& f, const Block& b, const Work& work, uint8_t* body) {
    const float scale = norm(f, b, work.sums), factor = inverse(1.0f, scale);
    const float up = bits<float>((uint32_t)(126 + f.levels) << 23);
    const float least = bits<float>((uint32_t)(128 - f.levels) << 23);
    Halves(f, b, work.words).each(f.size, [&](int64_t e, vi random) __attribute__((always_inline)) {
        const vf v = load<vf>(b.values + e), product = absolute(v) * factor;
        const vf t = choose(product > 1.0f, all(1.0f), product);
        const vi upper = (((vi)t + carry(random)) >> 23) - (127 - f.levels);
        const vf below = t * up + uniform(random);
        const vi lower = truncated(choose(below < 4.0f, below, all(0.0f)));  // where it is not taken it may be huge
        const vi level = choose(t < least, lower, upper);
        store_bytes(work.codes + e, level | ((v < 0.0f) & 1) << (f.bits - 1));
    });
    write_codes(f.bits, work.codes, f.size, body);
    return scale;
}

template <bool ADD> INLINE void write_natural_dither(const Format& f, float scale, const Work& work, float* to) {
    const int32_t mask = (1 << (f.bits - 1)) - 1;
    for (int64_t e = 0; e < f.size; e += L) {
        const vi code = load_bytes(work.codes + e), kept = code & mask, level = kept < f.levels ? kept : all(f.levels);
        const vi power = choose(level > 0, (level + 127 - f.levels) << 23, all(0));
        put<ADD>(to + e, (vf)(power | code >> (f.bits - 1) << 31) * scale);
    }
}

}  // namespace
