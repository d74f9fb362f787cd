// Sparse rows: what is kept is gathered from a row, and put back into one of zeros.
#pragma once

#include "shuffle.h"
#include "sparse_format.h"

namespace {

// The bits of the largest magnitude of x[0 … n).
INLINE uint32_t peak_of(const float* x, int64_t n) {
    const int64_t whole = n - n % L;
    uint32_t peak = largest(whole, [&](int64_t e) __attribute__((always_inline)) { return load<vf>(x + e); });
    for (int64_t e = whole; e < n; e++) {
        const uint32_t magnitude = bits<uint32_t>(x[e]) & ~TOP;
        peak = magnitude > peak ? magnitude : peak;
    }
    return peak;
}

// A row is worked on in pieces that stay in a core's cache.
constexpr int64_t PIECE = 1 << 14;

INLINE bool finite(uint32_t peak) { return peak < INFINITE; }

// Elements of a block that are the row's own.
INLINE int64_t own(const Cut& c, int64_t block) {
    const int64_t left = c.d - block * c.size;
    return left < c.size ? left : c.size;
}

// Calls what(first, end) for ranges of blocks, a piece each.
template <class What> INLINE void pieces(const Cut& c, What what) {
    const int64_t many = c.size < PIECE ? PIECE / c.size : 1;
    for (int64_t first = 0; first < c.count; first += many) what(first, first + many < c.count ? first + many : c.count);
}

// false if `which` is not ascending, or leaves the row
inline bool pick_runs(const Cut& c, const float* x, const int64_t* which, float* values, uint8_t* bad) {
    uint32_t peak = 0;
    int64_t j = 0, last = -1;
    pieces(c, [&](int64_t first, int64_t end) {
        const int64_t from = first * c.size, to = end * c.size < c.d ? end * c.size : c.d;
        const uint32_t here = peak_of(x + from, to - from);
        peak = here > peak ? here : peak;
        for (; j < c.keep && which[j] > last && which[j] < end; last = which[j++]) {
            if (c.size == 1) {
                values[j] = x[which[j]];
            } else {
                const int64_t n = own(c, which[j]);
                std::memcpy(values + j * c.size, x + which[j] * c.size, sizeof(float) * (size_t)n);
                std::memset(values + j * c.size + n, 0, sizeof(float) * (size_t)(c.size - n));
            }
        }
    });
    *bad = !finite(peak);
    return j == c.keep;
}

// to[0 … n) += from[0 … n)
INLINE void add(const float* from, int64_t n, float* to) {
    for (int64_t i = 0; i < n; i++) to[i] += from[i];
}

// The sum, worker after worker, of what their values say of one row; `apart`: from one worker's row to the next one's.
// Every term is added, the zeros too: they turn a -0 into 0.
inline int32_t place_runs(const Cut& c, int64_t workers, int64_t apart, const float* values, const int64_t* which,
                          float scale, float* out) {
    Room<int64_t> at(workers);
    Room<float> scratch(c.size < PIECE ? PIECE : c.size);
    if (at.none() || scratch.none()) return NO_MEMORY;
    std::memset(at, 0, sizeof(int64_t) * (size_t)workers);
    pieces(c, [&](int64_t first, int64_t end) {
        const int64_t from = first * c.size, n = (end * c.size < c.d ? end * c.size : c.d) - from;
        for (int64_t worker = 0; worker < workers; worker++) {
            const float* mine = values + worker * apart * c.keep * c.size;
            const int64_t* runs = which + worker * apart * c.keep;
            float* piece = worker ? (float*)scratch : out + from;
            std::memset(piece, 0, sizeof(float) * (size_t)n);
            int64_t j = at[worker];
            for (; j < c.keep && runs[j] < end && runs[j] >= (j ? runs[j - 1] + 1 : 0); j++) {
                float* to = piece + (runs[j] - first) * c.size;
                if (c.size == 1) {
                    *to = mine[j] * scale;
                } else {
                    const int64_t here = own(c, runs[j]);
                    for (int64_t i = 0; i < here; i++) to[i] = mine[j * c.size + i] * scale;
                }
            }
            at[worker] = j;
            if (worker) add(scratch, n, out + from);
        }
    });
    for (int64_t worker = 0; worker < workers; worker++)
        if (at[worker] != c.keep) return REFUSED;
    return 0;
}

// Sections of one field of the codes each, see docs/wire-format.md.
inline void pack(const uint32_t* codes, int64_t n, int64_t bits, uint8_t* to) {
    for (int64_t shift = 0, field; shift < bits; shift += field) {
        field = bits - shift >= 8 ? 8 : bits - shift >= 4 ? 4 : bits - shift >= 2 ? 2 : 1;
        const int64_t planes = 8 / field, bytes = (n + planes - 1) / planes;
        for (int64_t i = 0; i < bytes; i++) to[i] = codes[i] >> shift & ((1u << field) - 1);
        for (int64_t p = 1; p < planes; p++)
            for (int64_t i = 0; i < bytes && i + p * bytes < n; i++)
                to[i] |= (codes[i + p * bytes] >> shift & ((1u << field) - 1)) << field * p;
        to += bytes;
    }
}

inline void unpack(const uint8_t* from, int64_t n, int64_t bits, uint32_t* codes) {
    std::memset(codes, 0, sizeof(uint32_t) * (size_t)n);
    for (int64_t shift = 0, field; shift < bits; shift += field) {
        field = bits - shift >= 8 ? 8 : bits - shift >= 4 ? 4 : bits - shift >= 2 ? 2 : 1;
        const int64_t planes = 8 / field, bytes = (n + planes - 1) / planes;
        for (int64_t p = 0; p < planes; p++)
            for (int64_t i = 0; i < bytes && i + p * bytes < n; i++)
                codes[i + p * bytes] |= (from[i] >> field * p & ((1u << field) - 1)) << shift;
        from += bytes;
    }
}

inline int64_t packed(int64_t n, int64_t bits) {
    int64_t bytes = bits / 8 * n;
    for (int64_t field = 4; field; field /= 2)
        if (bits & field) bytes += (n + 8 / field - 1) / (8 / field);
    return bytes;
}

// The largest elements of one block after the other. The threshold of a block is looked for where that of the block
// before was; those above it are few enough to be looked at closely.
class Largest {
  public:
    explicit Largest(const Cut& c)
        : c_(c), numbers_(c.size + L), keys_(c.size + L), padded_(c.size), enough_(c.keep + c.keep / 4 + 128) {}
    bool none() const { return numbers_.none() || keys_.none() || padded_.none(); }

    // true if what was kept is finite, which the whole block then is
    bool pick(const float* x, int64_t n, float* values, uint8_t* side) {
        if (n < c_.size) {
            std::memcpy(padded_, x, sizeof(float) * (size_t)n);
            std::memset(padded_ + n, 0, sizeof(float) * (size_t)(c_.size - n));
            x = padded_;
        }
        Bracket b{0, (int64_t)1 << 31, c_.size};
        b = close_in<MAGNITUDE>(x, c_.size, c_.keep, enough_, b, guess_);
        if (b.lo) guess_ = b.lo;
        const int64_t found = where_from<MAGNITUDE>(x, c_.size, (int32_t)b.lo, 0, numbers_);
        for (int64_t i = 0; i < found; i++) keys_[i] = (int32_t)(bits<uint32_t>(x[numbers_[i]]) & ~TOP);
        if (found > c_.keep) thin(numbers_, keys_, found, c_.keep, {b.lo, b.hi, found}, b.lo + (b.hi - b.lo) / 2);
        int32_t peak = 0;
        for (int64_t i = 0; i < c_.keep; i++) {
            values[i] = x[numbers_[i]];
            peak = keys_[i] > peak ? keys_[i] : peak;
        }
        pack(numbers_, c_.keep, c_.bits, side);
        return finite((uint32_t)peak);
    }

    // The sum, worker after worker, of what the values of one block say of its n elements; `apart`: values, and bytes,
    // from one worker's to the next one's. An index that reaches past the block is taken as its last.
    void place(int64_t workers, const float* values, int64_t apart, const uint8_t* side, int64_t bytes, int64_t n,
               float* out) {
        for (int64_t worker = 0; worker < workers; worker++, values += apart, side += bytes) {
            float* block = worker ? (float*)padded_ : out;
            std::memset(block, 0, sizeof(float) * (size_t)n);
            unpack(side, c_.keep, c_.bits, numbers_);
            for (int64_t i = 0; i < c_.keep; i++) {
                const int64_t at = numbers_[i] < c_.size ? numbers_[i] : c_.size - 1;
                if (at < n) block[at] = values[i];
            }
            if (worker) add(padded_, n, out);
        }
    }

  private:
    const Cut& c_;
    Room<uint32_t> numbers_;
    Room<int32_t> keys_;
    Room<float> padded_;
    int64_t enough_, guess_ = 1 << 30;
};

}  // namespace
