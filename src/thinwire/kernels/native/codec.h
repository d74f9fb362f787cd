// A format's functions, of one block in scratch memory each.
#pragma once

#include "codes.h"
#include "rotated.h"
#include "whole.h"

namespace {

struct Encoder {
    // makes a block's codes -> its scale
    float (*encode)(const Format&, const Block&, const Work&, uint8_t* body);
    // what the block that was encoded last says
    void (*say)(const Format&, float scale, const uint8_t* body, const Work&, float* to);
    // both, and what is around them, of blocks without padding (`whole_vectors`); null if there is no such short cut
    Whole whole;
};

typedef void (*Read)(const Format&, const uint8_t* body, const Work&);
template <bool ADD> using Write = void (*)(const Format&, float scale, const Work&, float* to);

INLINE void read_any(const Format& f, const uint8_t* body, const Work& work) {
    read_codes(f.bits, body, f.size, work.codes);
}

template <Write<false> WRITE> void say(const Format& f, float scale, const uint8_t*, const Work& work, float* to) {
    WRITE(f, scale, work, to);
}

template <int BITS> void say_rotated(const Format& f, float scale, const uint8_t* body, const Work& work, float* to) {
    Ahead nothing;
    unrotate<BITS, false>(f, scale, body, work, to, nothing);
}

template <int BITS> Encoder rotated(const Format& f) {
    return {f.least_error ? encode_rotated<BITS, true> : encode_rotated<BITS, false>, say_rotated<BITS>, nullptr};
}

inline Encoder encoder_of(const Format& f) {
    switch (f.kind) {
        case DITHER: return {encode_dither, say<write_dither<false>>, whole_of(f)};
        case SIGN: return {encode_sign, say<write_sign<false>>, nullptr};
        case NATURAL: return {encode_natural, say<write_natural<false>>, nullptr};
        case NATURAL_DITHER: return {encode_natural_dither, say<write_natural_dither<false>>, nullptr};
        default: break;
    }
    switch (f.bits) {
        case 1: return rotated<1>(f);
        case 2: return rotated<2>(f);
        case 3: return rotated<3>(f);
        default: return rotated<4>(f);
    }
}

// Writes what a block says, or adds it to what is there.
typedef void (*Decode)(const Format&, float scale, const uint8_t* body, Stream, int64_t number, const Work&, float* to);

template <bool ADD, Write<ADD> WRITE, Read READ = read_any>
void decode(const Format& f, float scale, const uint8_t* body, Stream, int64_t, const Work& work, float* to) {
    READ(f, body, work);
    WRITE(f, scale, work, to);
}

template <bool ADD, int BITS>
void decode_rotated(const Format& f, float scale, const uint8_t* body, Stream stream, int64_t number, const Work& work,
                    float* to) {
    Ahead ahead(to + f.size);  // of use where it is not scratch: eight planes are written at once
    Signs(f.size, work.words).draw(stream, number, ahead);
    unrotate<BITS, ADD>(f, scale, body, work, to, ahead);
}

template <bool ADD> Decode decoder_of(const Format& f) {
    switch (f.kind) {
        case DITHER: return decode<ADD, write_dither<ADD>>;
        case SIGN: return decode<ADD, write_sign<ADD>>;
        case NATURAL: return decode<ADD, write_natural<ADD>, read_natural>;
        case NATURAL_DITHER: return decode<ADD, write_natural_dither<ADD>>;
        default: break;
    }
    constexpr Decode OF_BITS[] = {decode_rotated<ADD, 1>, decode_rotated<ADD, 2>, decode_rotated<ADD, 3>,
                                  decode_rotated<ADD, 4>};
    return OF_BITS[f.bits - 1];
}

}  // namespace
