// What the caller says about a call, and the functions that each instruction set's build provides.
#pragma once

#include <cstdint>

enum Kind : int32_t { DITHER, SIGN, NATURAL, NATURAL_DITHER, ROTATED };

// The fields of thinwire.kernels.format.Format and of its Blocks.
struct Format {
    int32_t kind, bits, levels, euclidean, nearest, least_error;
    int64_t d, count, size;  // elements of a row; its blocks; elements of a block
    int64_t body, nbytes;    // bytes of a block's codes; bytes of a row

    bool scaled() const { return kind != NATURAL; }
};

// A sender's call: the rows of x, or of x − shift, become payloads; after = shift + lam · what they say.
// The matrices are float32, or float64 if `wide`; their rows lie a stride of elements apart.
struct Sending {
    const Format* format;
    int64_t rows;
    const void *x, *shift;  // shift and after are null where only the payloads are wanted
    void* after;            // may be x
    int64_t x_stride, shift_stride, after_stride;
    const int64_t* stream;  // four words a row
    uint8_t* data;
    int64_t data_stride;
    double lam;
    int32_t wide, threads;
};

// A receiver's call: row w · groups + g of the payloads is worker w's for group g, and of each group's mean over the
// workers out = base + nu · mean (nu · mean without a base), after = base + lam · mean.
struct Receiving {
    const Format* format;
    int64_t workers, groups;
    const uint8_t* data;
    int64_t data_stride;
    const int64_t* stream;
    const void* base;  // base and after are null together
    void *out, *after;  // one of them may be base
    int64_t base_stride, out_stride, after_stride;
    double nu, lam;
    int32_t wide, threads;
};

// 0, or one of these.
enum Fault : int32_t { REFUSED = 1, NO_MEMORY = 2 };

#define THINWIRE_JOINED(name, isa) thinwire_##name##_##isa
#define THINWIRE_NAMED(name, isa) THINWIRE_JOINED(name, isa)
// The name of a function in the build for one instruction set: BUILT(encode) is thinwire_encode_v3.
#define BUILT(name) THINWIRE_NAMED(name, THINWIRE_ISA)

#define THINWIRE_BUILD(isa)                            \
    int32_t thinwire_encode_##isa(const Sending& call); \
    int32_t thinwire_decode_##isa(const Receiving& call);
THINWIRE_BUILD(baseline)
#if defined(__x86_64__)
THINWIRE_BUILD(v3)
THINWIRE_BUILD(v4)
#endif
