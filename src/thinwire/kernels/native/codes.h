// Codes of single elements: dithering, signs, natural compression, natural dithering.
#pragma once

#include <cmath>

#include "format.h"
#include "philox.h"

namespace {

// What a block's codes need: room for values, draws and integer codes, each of `stride` elements.
struct Work {
    float* values;
    uint32_t* words;
    int32_t* codes;
};
INLINE Work work_in(const Format& f, float* room) {
    const int64_t stride = (f.size + 2 * L - 1) / L * L;  // a vector more than the values take
    return {room, (uint32_t*)room + stride, (int32_t*)room + 2 * stride};
}

// 16 random bits of each element: the low halves of the words first, then the high halves.
class Halves {
  public:
    Halves(const Format& f, Stream stream, int64_t block, uint32_t* words) : words_(words), n_((f.size + 7) / 8 * 4) {
        draw(stream, block, n_ / 4, words);
    }
    // those of the elements from e on, up to boundary() or beyond it
    INLINE vi operator()(int64_t e) const {
        return e < n_ ? (vi)(load<vu>(words_ + e) & 0xFFFFu) : (vi)(load<vu>(words_ + e - n_) >> 16);
    }
    int64_t boundary() const { return n_; }

  private:
    const uint32_t* words_;
    int64_t n_;
};

// Calls what(e) so that the vectors from e on cover 0 … size, none lying across `boundary`; the ends may be overrun.
template <class What> INLINE void each(int64_t size, int64_t boundary, What what) {
    const int64_t first = boundary < size ? boundary : size;
    for (int64_t e = 0; e < first; e += L) what(e);
    for (int64_t e = first; e < size; e += L) what(e);
}

// Planes: of a section of `width`-bit fields of the codes, shifted down by `shift`, into ceil(size / P) bytes.
template <int WIDTH> INLINE uint8_t* write_fields(const int32_t* codes, int64_t size, int shift, uint8_t* to) {
    constexpr int P = 8 / WIDTH, MASK = (1 << WIDTH) - 1;
    const int64_t bytes = (size + P - 1) / P;
    int64_t i = 0;
    for (; i + L <= size - (P - 1) * bytes; i += L) {
        vi byte = {};
        for (int p = 0; p < P; p++) byte |= (load<vi>(codes + i + p * bytes) >> shift & MASK) << p * WIDTH;
        store(to + i, narrow(byte));
    }
    for (; i < bytes; i++) {
        int32_t byte = 0;
        for (int p = 0; p < P && i + p * bytes < size; p++) byte |= (codes[i + p * bytes] >> shift & MASK) << p * WIDTH;
        to[i] = (uint8_t)byte;
    }
    return to + bytes;
}

template <int WIDTH> INLINE const uint8_t* read_fields(const uint8_t* from, int64_t size, int shift, int32_t* codes) {
    constexpr int P = 8 / WIDTH, MASK = (1 << WIDTH) - 1;
    const int64_t bytes = (size + P - 1) / P;
    for (int p = 0; p < P && p * bytes < size; p++) {
        const int64_t here = size - p * bytes < bytes ? size - p * bytes : bytes;
        int32_t* plane = codes + p * bytes;
        int64_t i = 0;
        for (; i + L <= here; i += L) {
            vi field = (widen(load<vb>(from + i)) >> p * WIDTH & MASK) << shift;
            store(plane + i, shift ? load<vi>(plane + i) | field : field);
        }
        for (; i < here; i++) plane[i] = (shift ? plane[i] : 0) | (from[i] >> p * WIDTH & MASK) << shift;
    }
    return from + bytes;
}

constexpr int32_t TRITS[5] = {1, 3, 9, 27, 81};

// Five base-3 digits to a byte.
inline void write_trits(const int32_t* codes, int64_t size, uint8_t* to) {
    const int64_t bytes = (size + 4) / 5;
    int64_t i = 0;
    for (; i + L <= size - 4 * bytes; i += L) {
        vi byte = {};
        for (int p = 0; p < 5; p++) byte += load<vi>(codes + i + p * bytes) * TRITS[p];
        store(to + i, narrow(byte));
    }
    for (; i < bytes; i++) {
        int32_t byte = 0;
        for (int p = 0; p < 5 && i + p * bytes < size; p++) byte += codes[i + p * bytes] * TRITS[p];
        to[i] = (uint8_t)byte;
    }
}

// Of any byte: x / n is (x (65536 / n + 1)) >> 16 for n = 1, 3, … 81.
INLINE vi quotient(vi x, int32_t n) { return (x * (65536 / n + 1)) >> 16; }
INLINE vi digit(vi x, int32_t power) {
    const vi q = quotient(x, power);
    return q - quotient(q, 3) * 3;
}

inline void read_trits(const uint8_t* from, int64_t size, int32_t* codes) {
    const int64_t bytes = (size + 4) / 5;
    for (int p = 0; p < 5 && p * bytes < size; p++) {
        const int64_t here = size - p * bytes < bytes ? size - p * bytes : bytes;
        int32_t* plane = codes + p * bytes;
        int64_t i = 0;
        for (; i + L <= here; i += L) store(plane + i, digit(widen(load<vb>(from + i)), TRITS[p]));
        for (; i < here; i++) plane[i] = from[i] / TRITS[p] % 3;
    }
}

void write_all(const Format& f, const int32_t* codes, uint8_t* to) {
    if (!f.bits) return write_trits(codes, f.size, to);
    int shift = 0;
    for (; shift + 8 <= f.bits; shift += 8) to = write_fields<8>(codes, f.size, shift, to);
    if (f.bits & 4) to = write_fields<4>(codes, f.size, shift, to), shift += 4;
    if (f.bits & 2) to = write_fields<2>(codes, f.size, shift, to), shift += 2;
    if (f.bits & 1) write_fields<1>(codes, f.size, shift, to);
}

void read_all(const Format& f, const uint8_t* from, int32_t* codes) {
    if (!f.bits) return read_trits(from, f.size, codes);
    int shift = 0;
    for (; shift + 8 <= f.bits; shift += 8) from = read_fields<8>(from, f.size, shift, codes);
    if (f.bits & 4) from = read_fields<4>(from, f.size, shift, codes), shift += 4;
    if (f.bits & 2) from = read_fields<2>(from, f.size, shift, codes), shift += 2;
    if (f.bits & 1) read_fields<1>(from, f.size, shift, codes);
}

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

float norm(const Format& f, const float* x, float* room) {
    const uint32_t peak = largest(x, f.size);
    if (peak < SMALLEST) return 0.0f;
    if (!f.euclidean) return bits<float>(peak);
    const Powers power = powers(peak);
    return std::sqrt(sum(f.size, room, [&](int64_t e) {
               const float v = x[e] * power.down;
               return v * v;
           })) * power.up;
}

// Two roundings, as in the format.
INLINE float inverse(float numerator, float scale) { return scale > 0 ? (1.0f / scale) * numerator : 0.0f; }

// A vector of x, with zeros beyond its end.
INLINE vf values_at(const float* x, int64_t size, int64_t e) {
    if (e + L <= size) return load<vf>(x + e);
    float v[L] = {};
    std::memcpy(v, x + e, sizeof(float) * (size_t)(size - e));
    return load<vf>(v);
}

INLINE vi floor_to_int(vf v) { return __builtin_convertvector(v, vi); }  // of what is not negative

float encode_dither(const Format& f, const float* x, int64_t, Stream stream, int64_t block, float* room,
                    uint8_t* body) {
    const Work work = work_in(f, room);
    const float scale = norm(f, x, work.values), factor = inverse((float)f.levels, scale), top = (float)f.levels;
    auto code = [&](int64_t e, auto uniform) __attribute__((always_inline)) {
        const vf v = values_at(x, f.size, e), q = absolute(v) * factor + uniform;
        vi level = floor_to_int(choose(q > top, all(top), q));
        level = choose((vi)v < 0, -level, level) + f.levels;
        store(work.codes + e, level);
    };
    if (f.nearest) {
        each(f.size, f.size, [&](int64_t e) __attribute__((always_inline)) { code(e, all(0.5f)); });
    } else {
        const Halves halves(f, stream, block, work.words);
        each(f.size, halves.boundary(), [&](int64_t e) __attribute__((always_inline)) {
            code(e, (__builtin_convertvector(halves(e), vf) + 0.5f) * 0x1p-16f);
        });
    }
    write_all(f, work.codes, body);
    return scale;
}

void decode_dither(const Format& f, float scale, const uint8_t* body, Stream, int64_t, float* room, float* out) {
    const Work work = work_in(f, room);
    read_all(f, body, work.codes);
    const int32_t levels = f.levels;
    const float steps = (float)levels;
    for (int64_t e = 0; e < f.size; e++) {
        const int32_t code = work.codes[e] < 2 * levels ? work.codes[e] : 2 * levels;
        out[e] = (float)(code - levels) / steps * scale;
    }
}

float encode_sign(const Format& f, const float* x, int64_t real, Stream, int64_t, float* room, uint8_t* body) {
    const Work work = work_in(f, room);
    const uint32_t peak = largest(x, f.size);
    const Powers power = powers(peak);
    const float total = sum(f.size, work.values, [&](int64_t e) { return std::fabs(x[e] * power.down); });
    for (int64_t e = 0; e < f.size; e++) work.codes[e] = x[e] < 0;
    write_all(f, work.codes, body);
    return peak >= SMALLEST ? total / (float)real * power.up : 0.0f;
}

void decode_sign(const Format& f, float scale, const uint8_t* body, Stream, int64_t, float* room, float* out) {
    const Work work = work_in(f, room);
    read_all(f, body, work.codes);
    for (int64_t e = 0; e < f.size; e++) out[e] = (float)(1 - 2 * work.codes[e]) * scale;
}

INLINE vi carry(vi half) { return half << 7 | 64; }

float encode_natural(const Format& f, const float* x, int64_t, Stream stream, int64_t block, float* room,
                     uint8_t* body) {
    const Work work = work_in(f, room);
    const Halves halves(f, stream, block, work.words);
    each(f.size, halves.boundary(), [&](int64_t e) __attribute__((always_inline)) {
        const vi all_bits = (vi)values_at(x, f.size, e), magnitude = all_bits & 0x7FFFFFFF;
        vi exponent = (magnitude + carry(halves(e))) >> 23;
        exponent = choose(exponent > 254, all(254), exponent);
        exponent = choose(magnitude < 1 << 23, all(0), exponent);
        store(work.codes + e, exponent | (all_bits >> 31 & 1) << 8);
    });
    write_all(f, work.codes, body);
    return 0;
}

void decode_natural(const Format& f, float, const uint8_t* body, Stream, int64_t, float* room, float* out) {
    const Work work = work_in(f, room);
    read_all(f, body, work.codes);
    for (int64_t e = 0; e < f.size; e++) {
        const uint32_t code = (uint32_t)work.codes[e];
        out[e] = bits<float>((code & 0xFF) << 23 | code >> 8 << 31);
    }
}

float encode_natural_dither(const Format& f, const float* x, int64_t, Stream stream, int64_t block, float* room,
                            uint8_t* body) {
    const Work work = work_in(f, room);
    const float scale = norm(f, x, work.values), factor = inverse(1.0f, scale);
    const float up = bits<float>((uint32_t)(126 + f.levels) << 23), least = bits<float>((uint32_t)(128 - f.levels) << 23);
    const Halves halves(f, stream, block, work.words);
    each(f.size, halves.boundary(), [&](int64_t e) __attribute__((always_inline)) {
        const vf v = values_at(x, f.size, e), product = absolute(v) * factor;
        const vf t = choose(product > 1.0f, all(1.0f), product);
        const vi half = halves(e);
        const vi upper = (((vi)t + carry(half)) >> 23) - (127 - f.levels);
        const vf below = t * up + (__builtin_convertvector(half, vf) + 0.5f) * 0x1p-16f;
        const vi lower = floor_to_int(choose(below < 4.0f, below, all(0.0f)));  // where it is not taken it may be huge
        const vi level = choose(t < least, lower, upper);
        store(work.codes + e, level | ((v < 0.0f) & 1) << (f.bits - 1));
    });
    write_all(f, work.codes, body);
    return scale;
}

void decode_natural_dither(const Format& f, float scale, const uint8_t* body, Stream, int64_t, float* room,
                           float* out) {
    const Work work = work_in(f, room);
    read_all(f, body, work.codes);
    const int32_t mask = (1 << (f.bits - 1)) - 1;
    for (int64_t e = 0; e < f.size; e++) {
        int32_t level = work.codes[e] & mask;
        level = level < f.levels ? level : f.levels;
        const uint32_t power = level > 0 ? (uint32_t)(level + 127 - f.levels) << 23 : 0;
        out[e] = bits<float>(power | (work.codes[e] >> (f.bits - 1) > 0 ? TOP : 0)) * scale;
    }
}

}  // namespace
