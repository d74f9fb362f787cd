// A format's functions, of one block in scratch memory each.
#pragma once

#include "codes.h"
#include "rotated.h"

namespace {

struct Encoder {
    // makes a block's codes -> its scale
    float (*encode)(const Format&, const Block&, const Work&, uint8_t* body);
    // what the block that was encoded last says
    void (*say)(const Format&, float scale, const uint8_t* body, const Work&, float* to);
};

typedef void (*Decode)(const Format&, float scale, const uint8_t* body, Stream, int64_t number, const Work&, float* to);

typedef void (*Read)(const Format&, const uint8_t* body, const Work&);
typedef void (*Write)(const Format&, float scale, const Work&, float* to);

INLINE void read_any(const Format& f, const uint8_t* body, const Work& work) {
    read_codes(f.bits, body, f.size, work.codes);
}

template <Write WRITE> void say(const Format& f, float scale, const uint8_t*, const Work& work, float* to) {
    WRITE(f, scale, work, to);
}

template <Write WRITE, Read READ = read_any>
void decode(const Format& f, float scale, const uint8_t* body, Stream, int64_t, const Work& work, float* to) {
    READ(f, body, work);
    WRITE(f, scale, work, to);
}

template <int BITS>
void decode_rotated(const Format& f, float scale, const uint8_t* body, Stream stream, int64_t number, const Work& work,
                    float* to) {
    Signs(f.size, work.words).draw(stream, number);
    unrotate<BITS>(f, scale, body, work, to);
}

template <int BITS> Encoder rotated(const Format& f) {
    return {f.least_error ? encode_rotated<BITS, true> : encode_rotated<BITS, false>, unrotate<BITS>};
}

inline Encoder encoder_of(const Format& f) {
    switch (f.kind) {
        case DITHER: return {encode_dither, say<write_dither>};
        case SIGN: return {encode_sign, say<write_sign>};
        case NATURAL: return {encode_natural, say<write_natural>};
        case NATURAL_DITHER: return {encode_natural_dither, say<write_natural_dither>};
        default: return f.bits == 1 ? rotated<1>(f) : f.bits == 2 ? rotated<2>(f) : f.bits == 3 ? rotated<3>(f) : rotated<4>(f);
    }
}

inline Decode decoder_of(const Format& f) {
    switch (f.kind) {
        case DITHER: return decode<write_dither>;
        case SIGN: return decode<write_sign>;
        case NATURAL: return decode<write_natural, read_natural>;
        case NATURAL_DITHER: return decode<write_natural_dither>;
        default: break;
    }
    constexpr Decode ROTATED_BITS[] = {decode_rotated<1>, decode_rotated<2>, decode_rotated<3>, decode_rotated<4>};
    return ROTATED_BITS[f.bits - 1];
}

}  // namespace
