// The library's C interface, and the choice of a build that this processor can run.
#include "format.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

// Whether this processor runs the build: 0 baseline, 1 x86-64-v3 (AVX2), 2 x86-64-v4 (AVX-512).
bool runs(int32_t level) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2");
    const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
    if (level == 1) return v3;
    if (level == 2) return v4;
#endif
    return level == 0;
}

}  // namespace

// f(call) of the build for that level.
#if defined(__x86_64__)
#define CHOSEN(f, level, call)                                                                             \
    (!runs(level) ? REFUSED : level == 2 ? f##_v4(call) : level == 1 ? f##_v3(call) : f##_baseline(call))
#else
#define CHOSEN(f, level, call) (!runs(level) ? REFUSED : f##_baseline(call))
#endif

EXPORT int32_t thinwire_abi() { return 2; }
EXPORT const char* thinwire_sources() { return THINWIRE_SOURCES; }

// The best level for this processor; all below it run too.
EXPORT int32_t thinwire_level() { return runs(2) ? 2 : runs(1) ? 1 : 0; }

EXPORT int32_t thinwire_encode(int32_t level, const Sending* call) { return CHOSEN(thinwire_encode, level, *call); }
EXPORT int32_t thinwire_decode(int32_t level, const Receiving* call) { return CHOSEN(thinwire_decode, level, *call); }
