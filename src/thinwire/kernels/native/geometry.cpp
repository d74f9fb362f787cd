// Scales made of running mean squares, which are powers of two: geometry.py says what, and has the same in torch.
#include <cstdint>
#include <cstring>

#define EXPORT extern "C" __attribute__((visibility("default")))

// Elements are read before they are written at their own place: in and out may be the same memory.
#if defined(__clang__)
#define EACH _Pragma("clang loop vectorize(assume_safety)") for (int64_t i = 0; i < n; i++)
#else
#define EACH _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)
#endif

namespace {

const int32_t BIAS = 127, SMALLEST = -13;

inline int32_t bits_of(float x) {
    int32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

inline float power(int32_t k) {
    const int32_t bits = (int32_t)((uint32_t)(k + BIAS) << 23);
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

inline int32_t exponent(int32_t bits) {
    const int32_t k = ((bits >> 23) - (BIAS - 2)) >> 2;
    return bits > 0 ? (k > SMALLEST ? k : SMALLEST) : 0;
}

}  // namespace

EXPORT void thinwire_into_geometry(int64_t n, const float* squares, const float* v, float* out) {
    EACH out[i] = v[i] * power(-exponent(bits_of(squares[i])));
}

EXPORT void thinwire_out_of_geometry(int64_t n, const float* scales, const float* squares, float kept, float fresh,
                                     const float* estimate, float* out, float* next) {
    const float most = 3.40282347e38f;
    EACH {
        const float q = squares[i], x = estimate[i] * power(exponent(bits_of(scales[i]))), square = x * x;
        const float later = q * kept + square * fresh, made = bits_of(q) > 0 ? later : square;
        out[i] = x;
        next[i] = made < most ? made : most;
    }
}

// Most chunks have nothing to be done: few scales change in a step.
EXPORT void thinwire_change_geometry(int64_t length, const float* before, const float* after, float* x) {
    for (int64_t start = 0; start < length; start += 32) {
        const float *old = before + start, *now = after + start;
        float* part = x + start;
        const int64_t n = length - start < 32 ? length - start : 32;
        int32_t changed = 0;
        for (int64_t i = 0; i < n; i++) changed |= exponent(bits_of(old[i])) ^ exponent(bits_of(now[i]));
        if (changed) EACH part[i] *= power(exponent(bits_of(old[i])) - exponent(bits_of(now[i])));
    }
}
