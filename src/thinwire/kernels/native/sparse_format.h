// What the caller says about a selection, and the table of one instruction set's build of it.
#pragma once

#include <cstdint>

#include "format.h"

// A row of `d` elements in `count` equal blocks of `size`, the last one filled up with zeros. `keep`: elements of each
// block that are kept, or blocks of the row; `bits`: of an index within a block, on the wire.
struct Cut {
    int64_t d, count, size, keep, bits;
};

// Rows of x and of side bytes lie `stride` elements apart; all other matrices are contiguous. What is placed is summed
// over the workers, of whose rows worker w's for group g is number w · groups + g.
struct SparseMake {
    int32_t (*nonfinite)(int64_t rows, int64_t n, const void* x, int64_t stride, int32_t bytes, int32_t infinite,
                   uint8_t* bad);
    int32_t (*smallest)(int64_t rows, const int64_t* stream, int64_t keep, int64_t of, int64_t* out);
    int32_t (*ranked)(int64_t rows, const int64_t* stream, int64_t of, int64_t* out);
    int32_t (*pick_runs)(const Cut*, int64_t rows, const float* x, int64_t stride, const int64_t* which,
                         float* values, uint8_t* bad);
    int32_t (*place_runs)(const Cut*, int64_t workers, int64_t groups, const float* values, const int64_t* which,
                          float scale, float* out);
    int32_t (*pick_largest)(const Cut*, int64_t rows, const float* x, int64_t stride, float* values, uint8_t* side,
                            uint8_t* bad);
    int32_t (*place_largest)(const Cut*, int64_t workers, int64_t groups, const float* values, const uint8_t* side,
                             int64_t stride, float* out);
};

extern const SparseMake thinwire_sparse_baseline, thinwire_sparse_v3, thinwire_sparse_v4;
