// What the caller says about a call: the fields of thinwire.kernels.format.Format and of its Blocks.
#pragma once

#include <cstdint>

enum Kind : int32_t { DITHER, SIGN, NATURAL, NATURAL_DITHER, ROTATED };

struct Format {
    int32_t kind, bits, levels, euclidean, nearest, least_error;
    int64_t d, count, size;  // elements of a row; its blocks; elements of a block
    int64_t body, nbytes;    // bytes of a block's codes; bytes of a row

    bool scaled() const { return kind != NATURAL; }
};

// 0, or one of these.
enum Fault : int32_t { REFUSED = 1, NO_MEMORY = 2 };

// One instruction set's build of the kernels. Rows lie `stride` elements apart.
struct Make {
    int32_t (*encode)(const Format* f, int64_t rows, const float* x, int64_t x_stride, const int64_t* stream,
                      uint8_t* data, int64_t data_stride);
    int32_t (*decode)(const Format* f, int64_t rows, const uint8_t* data, int64_t data_stride, const int64_t* stream,
                      float* out, int64_t out_stride);
};

extern const Make thinwire_baseline, thinwire_v3, thinwire_v4;
