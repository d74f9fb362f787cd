// Rotated codes: two rounds of random signs and a Hadamard transform, then the centroids of a Gaussian.
#pragma once

#include "codes.h"
#include "hadamard.h"

namespace {

constexpr double CENTROIDS[4][8] = {
    {0.7978845608028654},
    {0.45278003463649, 1.5104176084991},
    {0.24509417894422, 0.75600528120588, 1.343909278505, 2.151945704537},
    {0.128395029851147, 0.3880482994902917, 0.6567591185324657, 0.9423404564869634, 1.2562311973471778,
     1.6180463860218863, 2.0690172265313858, 2.732589570995166},
};

// The two sets of random signs of a block: of a set's n words, element e has bit e / n of word e mod n.
class Signs {
  public:
    // room: size / 8 + 3 L words
    Signs(int64_t size, uint32_t* room) : n_(size / 32), period_(n_ < L ? L : n_), each_(period_ / n_) {
        shift_ = __builtin_ctzll((unsigned long long)period_);
        words_[0] = room, words_[1] = room + period_, drawn_ = room + 2 * period_;
    }

    void draw(Stream stream, int64_t block, Ahead& ahead) {
        int64_t t = n_ / 4;
        ::draw(stream, block, 2 * t, drawn_, ahead);
        for (int64_t w = 0; w < 4; w++)
            for (int64_t set = 0; set < 2; set++)
                for (int64_t i = 0; i < t; i++) words_[set][w * t + i] = drawn_[(2 * w + set) * t + i];
        for (uint32_t* words : words_)  // where a vector takes several bits of each word, shift its lanes beforehand
            for (int64_t lane = L - 1; n_ < L && lane >= 0; lane--)
                words[lane] = words[lane % n_] << (each_ - 1 - lane / n_);
    }

    template <int SET> INLINE vf flip(vf v, int64_t e) const {
        const int64_t bit = (e >> shift_) * each_;
        const vu word = load<vu>(words_[SET] + (e & (period_ - 1)));
        return (vf)((vu)v ^ ((word << (int)(32 - each_ - bit)) & TOP));
    }

  private:
    int64_t n_, period_, each_;
    int shift_;
    uint32_t *words_[2], *drawn_;
};

// The code of 8 vectors, bit 0 … BITS − 2 the centroid and the top bit the sign, into planes: byte i of a section of
// fields has the elements i, i + B/P, i + 2 B/P, … at P fields a byte.
template <int BITS> INLINE void write_planes(const vi* code, int64_t eighth, int64_t e, uint8_t* body) {
    if constexpr (BITS == 4) {
        for (int p = 0; p < 4; p++) store_bytes(body + p * eighth + e, code[p] | code[p + 4] << 4);
        return;
    }
    if constexpr (BITS == 2 || BITS == 3)
        for (int p = 0; p < 2; p++) {
            vi low = all(3);
            vi byte = (code[p] & low) | (code[p + 2] & low) << 2 | (code[p + 4] & low) << 4 | (code[p + 6] & low) << 6;
            store_bytes(body + p * eighth + e, byte);
        }
    if constexpr (BITS != 2) {
        constexpr int SHIFT = BITS - 1;
        vi byte = code[0] >> SHIFT;
        for (int p = 1; p < 8; p++) byte |= (code[p] >> SHIFT) << p;
        store_bytes(body + (BITS == 3 ? 2 * eighth : 0) + e, byte);
    }
}

// The codes from e on, of a block of 2^log elements.
template <int BITS> INLINE vi read_planes(const uint8_t* body, int log, int64_t e) {
    auto field = [&](const uint8_t* section, int width) __attribute__((always_inline)) {
        const int planes = width == 1 ? 3 : width == 2 ? 2 : 1;  // as a power of two
        const int64_t within_plane = e & ((int64_t(1) << (log - planes)) - 1);
        return (load_bytes(section + within_plane) >> (int)(e >> (log - planes)) * width) & ((1 << width) - 1);
    };
    if constexpr (BITS == 3) return field(body, 2) | field(body + (int64_t(1) << (log - 2)), 1) << 2;
    return field(body, BITS);
}

// The sum over the planes of eight vectors as a sum by halving begins: e and e + size / 2 first.
INLINE vf planes_sum(const vf* s) { return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])); }

template <int BITS> INLINE float centroid(int k) { return (float)CENTROIDS[BITS - 1][k]; }

// The nearest centroid's number: of BITS − 1 bits, the highest first, each one comparison with the threshold that the
// ones before it lead to.
template <int BITS> class Nearest {
  public:
    static constexpr int HALF = 1 << (BITS - 1);
    INLINE explicit Nearest(float sigma)
        : middle_(threshold(sigma, HALF / 2)), second_([&](int k) { return threshold(sigma, k | 2); }),
          third_([&](int k) { return threshold(sigma, k | 1); }) {}
    INLINE vi operator()(vf magnitude) const {
        if (BITS == 1) return all(0);
        vi index = (magnitude >= middle_) & (HALF / 2);
        if (BITS == 4) index |= (magnitude >= second_[index]) & 2;
        if (BITS >= 3) index |= (magnitude >= third_[index]) & 1;
        return index;
    }

  private:
    static INLINE float threshold(float sigma, int k) {
        if (k < 1 || k >= HALF) return 0;
        return sigma * (float)((CENTROIDS[BITS - 1][k - 1] + CENTROIDS[BITS - 1][k]) / 2);
    }
    float middle_;
    Table<8> second_, third_;
};

INLINE void turn_twice(int64_t size, float* v, const Signs& signs, Ahead& ahead) {
    middle_passes(size, v);
    last_pass(size, v, [&](int64_t e, const vf* r) __attribute__((always_inline)) {
#pragma GCC unroll 8
        for (int p = 0; p < 8; p++) store(v + e + p * (size / 8), r[p]);
    });
    first_pass(size, v, [&](int64_t e) __attribute__((always_inline)) {
        ahead.vector(e);
        return signs.flip<1>(load<vf>(v + e), e);
    });
    middle_passes(size, v);
}

template <int BITS, bool LEAST_ERROR>
float encode_rotated(const Format& f, const Block& b, const Work& work, uint8_t* body) {
    constexpr int HALF = 1 << (BITS - 1);
    const int64_t size = f.size, eighth = size / 8;
    const float* x = b.values;
    float *v = work.sums, *sums = v + size, *squares = sums + eighth;
    Signs signs(size, work.words);
    signs.draw(b.stream, b.number, b.ahead);

    const Powers power = powers(b.peak);
    for (int64_t e = 0; e < eighth; e += L) {
        vf s[8];
#pragma GCC unroll 8
        for (int p = 0; p < 8; p++) {
            s[p] = load<vf>(x + e + p * eighth) * power.down;
            s[p] *= s[p];
        }
        store(sums + e, planes_sum(s));
    }
    const float square = halve(sums, eighth);

    first_pass(size, v, [&](int64_t e) __attribute__((always_inline)) {
        return signs.flip<0>(load<vf>(x + e) * power.down, e);
    });
    turn_twice(size, v, signs, b.ahead);

    const float unit = 1.0f / (float)size, sigma = std::sqrt(square) * (float)(1.0 / std::sqrt((double)size));
    const Nearest<BITS> nearest(sigma);
    const Table<8> level([](int k) { return centroid<BITS>(k % HALF); });
    last_pass(size, v, [&](int64_t e, const vf* r) __attribute__((always_inline)) {
        vi code[8];
        vf dot[8], norm[8];
#pragma GCC unroll 8
        for (int p = 0; p < 8; p++) {
            const vf y = r[p] * unit, magnitude = absolute(y);
            const vi index = nearest(magnitude);
            const vf c = BITS == 1 ? all(centroid<BITS>(0)) : level[index];
            code[p] = index | ((y < 0.0f) & HALF);
            dot[p] = magnitude * c;
            if (LEAST_ERROR) norm[p] = c * c;
        }
        write_planes<BITS>(code, eighth, e, body);
        store(sums + e, planes_sum(dot));
        if (LEAST_ERROR) store(squares + e, planes_sum(norm));
    });
    const float inner = halve(sums, eighth);
    const float scale = LEAST_ERROR ? inner / halve(squares, eighth) : square / inner;
    return b.peak >= SMALLEST ? scale * power.up : 0.0f;
}

// By the signs that `work` holds.
template <int BITS, bool ADD>
INLINE void unrotate(const Format& f, float scale, const uint8_t* body, const Work& work, float* to, Ahead& ahead) {
    constexpr int HALF = 1 << (BITS - 1);
    const int64_t size = f.size, eighth = size / 8;
    float* v = work.sums;
    const Signs signs(size, work.words);
    const Table<8> level([](int k) { return centroid<BITS>(k % HALF); });
    const int log = __builtin_ctzll((unsigned long long)size);

    first_pass(size, v, [&](int64_t e) __attribute__((always_inline)) {
        const vi code = read_planes<BITS>(body, log, e);
        const vf c = BITS == 1 ? all(centroid<BITS>(0)) : level[code & (HALF - 1)];
        return (vf)((vu)c | ((vu)code << (32 - BITS) & TOP));
    });
    turn_twice(size, v, signs, ahead);
    const float factor = scale * (1.0f / (float)size);
    last_pass(size, v, [&](int64_t e, const vf* r) __attribute__((always_inline)) {
#pragma GCC unroll 8
        for (int p = 0; p < 8; p++) {
            const vf said = signs.flip<0>(r[p], e + p * eighth) * factor;
            float* at = to + e + p * eighth;
            store(at, ADD ? load<vf>(at) + said : said);
        }
    });
}

}  // namespace
