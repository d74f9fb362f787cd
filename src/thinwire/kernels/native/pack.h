// Planar packing. A code is one byte here, its first eight bits; what Natural has beyond them is a byte elsewhere.
//
// Arrays of codes have BEYOND elements more than a block, for whole vectors to be written and read.
#pragma once

#include "vector.h"

namespace {

constexpr int64_t V = 4 * L;  // bytes of a vector
constexpr int64_t BEYOND = V + 8;

INLINE vu repeated(uint8_t byte) { return all(0x01010101u * byte); }

// Writes what(i), the bytes from i on of `bytes`, vector by vector and not beyond their end.
template <class What> INLINE void write_bytes(int64_t bytes, uint8_t* to, What what) {
    int64_t i = 0;
    for (; i + V <= bytes; i += V) store(to + i, what(i));
    if (i == bytes) return;
    const vu last = what(i);
    std::memcpy(to + i, &last, (size_t)(bytes - i));
}

// The next vector of `left` bytes, zeros standing beyond their end.
INLINE vu load_some(const uint8_t* from, int64_t left) {
    if (left >= V) return load<vu>(from);
    vu some = {};
    std::memcpy(&some, from, (size_t)left);
    return some;
}

// Calls what(i, the bytes from i on).
template <class What> INLINE void read_bytes(int64_t bytes, const uint8_t* from, What what) {
    int64_t i = 0;
    for (; i + V <= bytes; i += V) what(i, load<vu>(from + i));
    if (i < bytes) what(i, load_some(from + i, bytes - i));
}

// A section of the WIDTH bits of the codes from bit `shift` on. Shifting whole lanes is shifting bytes, once masked.
template <int WIDTH> INLINE uint8_t* write_fields(const uint8_t* codes, int64_t size, int shift, uint8_t* to) {
    constexpr int P = 8 / WIDTH;
    const int64_t bytes = (size + P - 1) / P;
    write_bytes(bytes, to, [&](int64_t i) __attribute__((always_inline)) {
        vu byte = {};
#pragma GCC unroll 8
        for (int p = 0; p < P; p++)
            byte |= ((load<vu>(codes + i + p * bytes) >> shift) & repeated((1 << WIDTH) - 1)) << p * WIDTH;
        return byte;
    });
    return to + bytes;
}

// The planes come in ascending order: what one writes too far the next writes over.
template <int WIDTH> INLINE const uint8_t* read_fields(const uint8_t* from, int64_t size, int shift, uint8_t* codes) {
    constexpr int P = 8 / WIDTH;
    const int64_t bytes = (size + P - 1) / P;
#pragma GCC unroll 8
    for (int p = 0; p < P; p++)
        read_bytes(bytes, from, [&](int64_t i, vu byte) __attribute__((always_inline)) {
            uint8_t* to = codes + p * bytes + i;
            const vu field = ((byte >> p * WIDTH) & repeated((1 << WIDTH) - 1)) << shift;
            store(to, shift ? load<vu>(to) | field : field);
        });
    return from + bytes;
}

// Five base-3 digits to a byte. No sum of bytes carries into the next one: 242 is the largest.
INLINE void write_trits(const uint8_t* codes, int64_t size, uint8_t* to) {
    const int64_t bytes = (size + 4) / 5;
    write_bytes(bytes, to, [&](int64_t i) __attribute__((always_inline)) {
        vu byte = load<vu>(codes + i + 4 * bytes);
#pragma GCC unroll 4
        for (int p = 3; p >= 0; p--) byte = byte + byte + byte + load<vu>(codes + i + p * bytes);
        return byte;
    });
}

typedef uint16_t vh __attribute__((vector_size(4 * L)));

// The base-3 digits of bytes in 16-bit lanes, highest first. (270 x + 7) / 8 is x / 243 of 8192, rounded up by less
// than one part of 243; whole multiples of 243 drop out.
class Trits {
  public:
    INLINE explicit Trits(vh bytes) : rest_((bytes * (uint16_t)270 + (uint16_t)7) >> 3) {}
    INLINE vh next() {
        const vh tripled = rest_ * (uint16_t)3;
        rest_ = tripled & (uint16_t)8191;
        return tripled >> 13;
    }

  private:
    vh rest_;
};

INLINE void read_trits(const uint8_t* from, int64_t size, uint8_t* codes) {
    const int64_t bytes = (size + 4) / 5;
    // from the end, since a vector of a plane reaches into the next plane
    for (int64_t i = (bytes - 1) / V * V; i >= 0; i -= V) {
        const vu byte = load_some(from + i, bytes - i);
        Trits even((vh)byte & (uint16_t)255), odd((vh)byte >> 8);
        vh digit[5];
#pragma GCC unroll 5
        for (int p = 4; p >= 0; p--) digit[p] = even.next(), digit[p] |= odd.next() << 8;
#pragma GCC unroll 5
        for (int p = 0; p < 5; p++) store(codes + i + p * bytes, digit[p]);
    }
}

// `codes` are used up: those behind the block are set to zero.
INLINE void write_codes(int32_t bits, uint8_t* codes, int64_t size, uint8_t* to) {
    std::memset(codes + size, 0, 8);
    if (!bits) return write_trits(codes, size, to);
    if (bits == 8) return (void)write_fields<8>(codes, size, 0, to);
    int shift = 0;
    if (bits & 4) to = write_fields<4>(codes, size, shift, to), shift += 4;
    if (bits & 2) to = write_fields<2>(codes, size, shift, to), shift += 2;
    if (bits & 1) write_fields<1>(codes, size, shift, to);
}

INLINE void read_codes(int32_t bits, const uint8_t* from, int64_t size, uint8_t* codes) {
    if (!bits) return read_trits(from, size, codes);
    if (bits == 8) return (void)read_fields<8>(from, size, 0, codes);
    int shift = 0;
    if (bits & 4) from = read_fields<4>(from, size, shift, codes), shift += 4;
    if (bits & 2) from = read_fields<2>(from, size, shift, codes), shift += 2;
    if (bits & 1) read_fields<1>(from, size, shift, codes);
}

}  // namespace
