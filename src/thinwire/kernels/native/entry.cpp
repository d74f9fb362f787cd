// The library's C interface, and the choice of a build that this processor can run.
#include "format.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

const Make* make(int32_t level) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2");
    const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
    if (level == 1 && v3) return &thinwire_v3;
    if (level == 2 && v4) return &thinwire_v4;
#endif
    return level == 0 ? &thinwire_baseline : nullptr;
}

}  // namespace

EXPORT int32_t thinwire_abi() { return 1; }
EXPORT const char* thinwire_sources() { return THINWIRE_SOURCES; }

// The best level for this processor; all below it run too. 0: baseline, 1: x86-64-v3 (AVX2), 2: x86-64-v4 (AVX-512).
EXPORT int32_t thinwire_level() {
    int32_t level = 2;
    while (!make(level)) level--;
    return level;
}

EXPORT int32_t thinwire_encode(int32_t level, const Format* f, int64_t rows, const float* x, int64_t x_stride,
                               const int64_t* stream, uint8_t* data, int64_t data_stride) {
    const Make* m = make(level);
    return m ? m->encode(f, rows, x, x_stride, stream, data, data_stride) : REFUSED;
}

EXPORT int32_t thinwire_decode(int32_t level, const Format* f, int64_t rows, const uint8_t* data, int64_t data_stride,
                               const int64_t* stream, float* out, int64_t out_stride) {
    const Make* m = make(level);
    return m ? m->decode(f, rows, data, data_stride, stream, out, out_stride) : REFUSED;
}
