// Rows around the sparse kernels: built once for each instruction set, BUILT(sparse) being the name.
#include "sparse.h"

namespace {

// Whether the sizes fit together; `of`: what is kept are so many of these.
bool sound(const Cut& c, int64_t of) {
    return c.d > 0 && c.count > 0 && c.size > 0 && c.count <= (c.d - 1) / c.size + 1 && c.count * c.size >= c.d &&
           c.keep > 0 && c.keep <= of;
}
bool sound_blocks(const Cut& c) {
    return sound(c, c.size) && c.bits > 0 && c.bits <= 16 && (c.size - 1) >> c.bits == 0;
}

int32_t nonfinite(int64_t rows, int64_t n, const void* x, int64_t stride, int32_t bytes, int32_t infinite, uint8_t* bad) {
    if (bytes != 2 && bytes != 4) return REFUSED;
    for (int64_t row = 0; row < rows; row++) {
        uint32_t peak = 0;
        if (bytes == 4) {
            peak = peak_of((const float*)x + row * stride, n);
        } else {
            const int16_t* halves = (const int16_t*)x + row * stride;
            int16_t top = 0;
            for (int64_t i = 0; i < n; i++) {
                const int16_t magnitude = halves[i] & 0x7FFF;
                top = magnitude > top ? magnitude : top;
            }
            peak = (uint32_t)top;
        }
        bad[row] = peak >= (uint32_t)infinite;
    }
    return 0;
}

int32_t smallest(int64_t rows, const int64_t* stream, int64_t keep, int64_t of, int64_t* out) {
    if (keep < 1 || keep > of || of > INT32_MAX) return REFUSED;
    Smallest room(keep, of);
    if (room.none()) return NO_MEMORY;
    for (int64_t row = 0; row < rows; row++, stream += 4, out += keep) {
        if (row && !std::memcmp(stream, stream - 4, 4 * sizeof *stream))  // all workers alike
            std::memcpy(out, out - keep, sizeof *out * (size_t)keep);
        else
            room.find(stream_of(stream), out);
    }
    return 0;
}

int32_t ranked(int64_t rows, const int64_t* stream, int64_t of, int64_t* out) {
    if (of < 1 || of > INT32_MAX) return REFUSED;
    for (int64_t row = 0; row < rows; row++, stream += 4, out += of)
        if (const int32_t fault = rank(stream_of(stream), of, out)) return fault;
    return 0;
}

int32_t pick(const Cut* c, int64_t rows, const float* x, int64_t stride, const int64_t* which, float* values,
             uint8_t* bad) {
    if (!sound(*c, c->count)) return REFUSED;
    for (int64_t row = 0; row < rows; row++, x += stride, which += c->keep, values += c->keep * c->size)
        if (!pick_runs(*c, x, which, values, bad + row)) return REFUSED;
    return 0;
}

int32_t place(const Cut* c, int64_t workers, int64_t groups, const float* values, const int64_t* which, float scale,
              float* out) {
    if (!sound(*c, c->count) || workers < 1) return REFUSED;
    for (int64_t group = 0; group < groups; group++, values += c->keep * c->size, which += c->keep, out += c->d)
        if (const int32_t fault = place_runs(*c, workers, groups, values, which, scale, out)) return fault;
    return 0;
}

int32_t pick_largest(const Cut* c, int64_t rows, const float* x, int64_t stride, float* values, uint8_t* side,
                     uint8_t* bad) {
    if (!sound_blocks(*c)) return REFUSED;
    Largest room(*c);
    if (room.none()) return NO_MEMORY;
    const int64_t bytes = packed(c->keep, c->bits);
    for (int64_t row = 0; row < rows; row++, x += stride) {
        bad[row] = 0;
        for (int64_t block = 0; block < c->count; block++, values += c->keep, side += bytes)
            bad[row] |= !room.pick(x + block * c->size, own(*c, block), values, side);
    }
    return 0;
}

int32_t place_largest(const Cut* c, int64_t workers, int64_t groups, const float* values, const uint8_t* side,
                      int64_t stride, float* out) {
    if (!sound_blocks(*c) || workers < 1) return REFUSED;
    Largest room(*c);
    if (room.none()) return NO_MEMORY;
    const int64_t bytes = packed(c->keep, c->bits), apart = groups * c->count * c->keep;
    for (int64_t group = 0; group < groups; group++, side += stride, out += c->d)
        for (int64_t block = 0; block < c->count; block++, values += c->keep)
            room.place(workers, values, apart, side + block * bytes, groups * stride, own(*c, block),
                       out + block * c->size);
    return 0;
}

}  // namespace

extern const SparseMake BUILT(sparse) = {nonfinite, smallest, ranked, pick, place, pick_largest, place_largest};
