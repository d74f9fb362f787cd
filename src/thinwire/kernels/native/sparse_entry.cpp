// The C interface of the sparse kernels.
#include "sparse_format.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

extern "C" int32_t thinwire_level();

namespace {

const SparseMake* make(int32_t level) {
    if (level < 0 || level > thinwire_level()) return nullptr;
#if defined(__x86_64__)
    if (level == 1) return &thinwire_sparse_v3;
    if (level == 2) return &thinwire_sparse_v4;
#endif
    return &thinwire_sparse_baseline;
}

}  // namespace

// Each calls the build's function of its name.
#define CALL(name, ...)                                      \
    const SparseMake* m = make(level);                       \
    return m ? m->name(__VA_ARGS__) : (int32_t)REFUSED

EXPORT int32_t thinwire_nonfinite(int32_t level, int64_t rows, int64_t n, const void* x, int64_t stride, int32_t bytes,
                            int32_t infinite, uint8_t* bad) {
    CALL(nonfinite, rows, n, x, stride, bytes, infinite, bad);
}
EXPORT int32_t thinwire_smallest(int32_t level, int64_t rows, const int64_t* stream, int64_t keep, int64_t of,
                                 int64_t* out) {
    CALL(smallest, rows, stream, keep, of, out);
}
EXPORT int32_t thinwire_ranked(int32_t level, int64_t rows, const int64_t* stream, int64_t of, int64_t* out) {
    CALL(ranked, rows, stream, of, out);
}
EXPORT int32_t thinwire_pick_runs(int32_t level, const Cut* c, int64_t rows, const float* x, int64_t stride,
                                  const int64_t* which, float* values, uint8_t* bad) {
    CALL(pick_runs, c, rows, x, stride, which, values, bad);
}
EXPORT int32_t thinwire_place_runs(int32_t level, const Cut* c, int64_t workers, int64_t groups, const float* values,
                                   const int64_t* which, float scale, float* out) {
    CALL(place_runs, c, workers, groups, values, which, scale, out);
}
EXPORT int32_t thinwire_pick_largest(int32_t level, const Cut* c, int64_t rows, const float* x, int64_t stride,
                                     float* values, uint8_t* side, uint8_t* bad) {
    CALL(pick_largest, c, rows, x, stride, values, side, bad);
}
EXPORT int32_t thinwire_place_largest(int32_t level, const Cut* c, int64_t workers, int64_t groups,
                                      const float* values, const uint8_t* side, int64_t stride, float* out) {
    CALL(place_largest, c, workers, groups, values, side, stride, out);
}
