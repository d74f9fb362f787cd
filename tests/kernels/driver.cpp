// Runs every kind of format through the library's calls, in memory that is exactly as large as it is said to be. Made
// with the kernels' sources and the sanitizers by test_sanitized.py; prints how many calls there were.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "format.h"

extern "C" {
void thinwire_into_geometry(int64_t, const float*, const float*, float*);
void thinwire_out_of_geometry(int64_t, const float*, const float*, float, float, const float*, float*, float*);
void thinwire_change_geometry(int64_t, const float*, const float*, float*);
}

namespace {

// The builds that are made: BEST is the one with the widest vectors that run here.
struct Build {
    int32_t (*encode)(const Sending&);
    int32_t (*decode)(const Receiving&);
};
const Build BUILDS[] = {{thinwire_encode_baseline, thinwire_decode_baseline},
                        {THINWIRE_NAMED(encode, BEST), THINWIRE_NAMED(decode, BEST)}};

int calls = 0;

uint32_t random_bits() {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

void expect(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "%s\n", what);
    std::exit(1);
}

int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }

Format format(Kind kind, int32_t bits, int32_t levels, int64_t block, int64_t d, int32_t variant) {
    Format f = {kind, bits, levels, variant & 1, variant >> 1 & 1, variant & 1, d, 0, 0, 0, 0};
    f.count = up(d, block);
    f.size = f.count == 1 ? d : up(d, 8 * f.count) * 8 < block ? up(d, 8 * f.count) * 8 : block;
    if (kind == ROTATED)
        for (f.size = 128; f.size < block && (f.count > 1 || f.size < d);) f.size *= 2;
    f.body = bits ? bits / 8 * f.size : up(f.size, 5);
    for (int32_t field = 4; field; field /= 2)
        if (bits & field) f.body += up(f.size, 8 / field);
    f.nbytes = f.count * (4 * f.scaled() + f.body) + 1;
    return f;
}

// `n` elements that begin where an array of the operator new does, plus `offset` bytes; nothing behind them.
template <class T> class Exact {
  public:
    explicit Exact(int64_t n, int64_t offset = 0) : all_((size_t)n * sizeof(T) + (size_t)offset), offset_(offset) {
        all_.shrink_to_fit();
        for (uint8_t& byte : all_) byte = (uint8_t)random_bits();
    }
    T* at() { return (T*)(all_.data() + offset_); }

  private:
    std::vector<uint8_t> all_;
    int64_t offset_;
};

template <class T> void fill(T* x, int64_t n) {
    for (int64_t e = 0; e < n; e++) x[e] = (T)((double)(int32_t)random_bits() * 0x1p-29 - 2);
}

template <class T> void round_trip(const Format& f, const Build& build, int64_t workers) {
    const int32_t wide = sizeof(T) == 8;
    Exact<T> x(workers * f.d), shift(workers * f.d), out(f.d), after(f.d), base(f.d);
    Exact<uint8_t> data(workers * f.nbytes, calls % 4);
    Exact<int64_t> stream(4 * workers);
    fill(x.at(), workers * f.d), fill(shift.at(), workers * f.d), fill(base.at(), f.d);
    Sending s = {&f, workers, x.at(), nullptr, nullptr, f.d, 0, 0, stream.at(), data.at(), f.nbytes, 0, wide, 1};
    expect(!build.encode(s), "encode");
    s.shift = shift.at(), s.shift_stride = f.d, s.after = x.at(), s.after_stride = f.d, s.lam = 0.5;  // after is x
    expect(!build.encode(s), "encode_difference");
    Receiving r = {&f, workers, 1, data.at(), f.nbytes, stream.at(), nullptr, out.at(), nullptr,
                   0, f.d, 0, 1, 0, wide, 1};
    expect(!build.decode(r), "decode_mean");
    r.base = base.at(), r.after = after.at(), r.base_stride = r.after_stride = f.d, r.nu = r.lam = 0.5;
    r.out = base.at();  // out is the base
    expect(!build.decode(r), "decode_mean with a base");
    for (int64_t i = 0; i < workers * f.nbytes; i++) data.at()[i] = (uint8_t)random_bits();  // from no sender
    expect(!build.decode(r), "decode_mean of any bytes");
    x.at()[f.d / 2] = (T)(1e300 * 1e300);
    expect(!build.encode(s) && data.at()[f.nbytes - 1] == 1, "the flag");
    calls += 6;
}

void refusals(const Format& good) {
    std::vector<Format> wrong(7, good);
    wrong[0].nbytes++, wrong[1].body--, wrong[2].size = 0, wrong[3].count++, wrong[4].bits = 33, wrong[5].kind = 9;
    wrong[6].d = 0;
    for (const Format& f : wrong) {
        Sending s = {};  // no memory at all: nothing may be touched
        Receiving r = {};
        s.format = r.format = &f, s.rows = r.workers = r.groups = 1, s.threads = r.threads = 1;
        expect(BUILDS[0].encode(s) == REFUSED && BUILDS[0].decode(r) == REFUSED, "a refusal");
        calls += 2;
    }
}

void every_way(Kind kind, int32_t bits, int32_t levels, int64_t block) {
    for (int64_t d : {1, 2, 5, 63, 127, 128, 129, 1000, 1023, 2048, 2051})
        for (const Build& build : BUILDS)
            for (int32_t variant = 0; variant < 4; variant++) {
                const Format f = format(kind, bits, levels, block, d, variant);
                round_trip<float>(f, build, variant ? 1 : 3);
                if (variant == 0) round_trip<double>(f, build, 2), refusals(f);
            }
    round_trip<float>(format(kind, bits, levels, block, 70, 0), BUILDS[1], 66);
}

// In memory that is exactly as large, one element late now and then, and in place.
void geometries() {
    for (int64_t n : {1, 3, 4, 31, 32, 33, 64, 1000, 4097})
        for (int64_t late : {0, 4}) {
            Exact<float> scales(n, late), squares(n, late), v(n, late), out(n, late), next(n, late);
            fill(v.at(), n);
            for (int64_t i = 0; i < n; i++) scales.at()[i] = squares.at()[i] = v.at()[i] * v.at()[i];
            scales.at()[n - 1] = 0, squares.at()[n / 2] = 1e38f;
            thinwire_into_geometry(n, scales.at(), v.at(), out.at());
            thinwire_out_of_geometry(n, scales.at(), squares.at(), 0.9f, 0.1f, out.at(), out.at(), next.at());
            for (int64_t i = 0; i < n; i++) expect(out.at()[i] == v.at()[i], "there and back");
            thinwire_change_geometry(n, scales.at(), next.at(), v.at());
            calls += 3;
        }
}

}  // namespace

int main() {
    geometries();
    for (int64_t block : {1, 99, 1024}) {
        every_way(DITHER, 0, 1, block);
        for (int32_t bits = 2; bits <= 8; bits++) every_way(DITHER, bits, (1 << (bits - 1)) - 1, block);
        every_way(SIGN, 1, 0, block);
        every_way(NATURAL, 9, 0, block);
        every_way(NATURAL_DITHER, 4, 7, block);
    }
    for (int32_t bits = 1; bits <= 4; bits++)
        for (int64_t block : {128, 1024}) every_way(ROTATED, bits, 0, block);
    round_trip<float>(format(DITHER, 4, 7, 1024, (1 << 22) + 5, 0), BUILDS[1], 2);  // written past the caches
    std::printf("%d calls\n", calls);
}
