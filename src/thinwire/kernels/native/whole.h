// Dithering in one go, from x and the shift to the codes and what comes after: no array in between.
//
// For blocks without padding whose eighths are whole vectors: then the 16 bits of a vector of Philox words belong to
// two vectors of elements, and the four vectors of a counter to one in each eighth of the block.
#pragma once

#include "codes.h"

namespace {

// Where a block lies; without a shift, x itself is encoded.
struct Place {
    const float *x, *shift;
    float* after;
    float lam;
    Stream stream;
    int64_t number;
};

// -> the block's scale, NaN if it is to be refused
typedef float (*Whole)(const Format&, const Place&, const Work&, uint8_t* body);

inline bool whole_vectors(const Format& f) { return f.size % (8 * L) == 0; }

// at(e) are the values from e on, put(e, code) is told what became of them, and ahead(bytes) is called for every 64
// bytes of a block.
template <class At, class Put, class Next>
INLINE void dither_eighths(const Format& f, const Place& place, float scale, uint8_t* codes, At at, Put put,
                           Next ahead) {
    const int64_t eighth = f.size / 8;
    const Dithering dithered(f.levels, scale);
    Philox philox(place.stream, place.number, 0, true);
    for (int64_t t = 0; t < eighth; t += L) {
        vu words[4];
        philox.next(words);
#pragma GCC unroll 8
        for (int p = 0; p < 8; p++) {
            const int64_t e = t + p * eighth;
            const vi code = dithered(at(e), uniform(p < 4 ? low_bits(words[p]) : high_bits(words[p - 4])));
            store_bytes(codes + e, code);
            put(e, code);
            if (p * L % 16 == 0) ahead((8 * t + p * L) * (int64_t)sizeof(float));
        }
    }
}

template <class Meaning>
float dither_difference(const Format& f, const Place& place, const Work& work, uint8_t* body) {
    const float *x = place.x, *shift = place.shift, lam = place.lam;
    float* after = place.after;
    auto at = [&](int64_t e) __attribute__((always_inline)) { return load<vf>(x + e) - load<vf>(shift + e); };
    const uint32_t peak = largest(f.size, at);
    if (peak >= INFINITE) return bits<float>(INFINITE);
    const float scale = peak < SMALLEST ? 0.0f : bits<float>(peak);
    const Meaning meaning(f.levels, scale);
    auto put = [&](int64_t e, vi code) __attribute__((always_inline)) {
        store(after + e, load<vf>(shift + e) + meaning(code) * lam);
    };
    const float *next = x + f.size, *next_shift = shift + f.size, *next_after = after + f.size;
    if (after == x)
        dither_eighths(f, place, scale, work.codes, at, put, [=](int64_t bytes) __attribute__((always_inline)) {
            prefetch(next, bytes), prefetch(next_shift, bytes);
        });
    else
        dither_eighths(f, place, scale, work.codes, at, put, [=](int64_t bytes) __attribute__((always_inline)) {
            prefetch(next, bytes), prefetch(next_shift, bytes), prefetch(next_after, bytes);
        });
    write_codes(f.bits, work.codes, f.size, body);
    return scale;
}

inline float dither_plainly(const Format& f, const Place& place, const Work& work, uint8_t* body) {
    const float* x = place.x;
    auto at = [&](int64_t e) __attribute__((always_inline)) { return load<vf>(x + e); };
    const uint32_t peak = largest(f.size, at);
    if (peak >= INFINITE) return bits<float>(INFINITE);
    const float scale = peak < SMALLEST ? 0.0f : bits<float>(peak);
    const float* next = x + f.size;
    dither_eighths(f, place, scale, work.codes, at, [](int64_t, vi) {},
                   [=](int64_t bytes) __attribute__((always_inline)) { prefetch(next, bytes); });
    write_codes(f.bits, work.codes, f.size, body);
    return scale;
}

float dither_whole(const Format& f, const Place& place, const Work& work, uint8_t* body) {
    if (!place.shift) return dither_plainly(f, place, work, body);
    return FewLevels::enough(f) ? dither_difference<FewLevels>(f, place, work, body)
                                : dither_difference<Levels>(f, place, work, body);
}

inline Whole whole_of(const Format& f) {
    return !f.nearest && !f.euclidean && whole_vectors(f) ? dither_whole : nullptr;
}

}  // namespace
