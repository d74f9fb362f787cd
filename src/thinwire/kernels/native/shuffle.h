// Random subsets and permutations, from 32-bit draws of Philox: number i draws element i mod 1024 of block i / 1024.
#pragma once

#include <cmath>
#include <cstdlib>

#include "format.h"
#include "philox.h"
#include "threshold.h"

extern "C" void thinwire_huge_pages(void* start, int64_t bytes);

namespace {

constexpr int64_t TILE = 1024;

// malloc, and free at the end.
template <class T> class Room {
  public:
    explicit Room(int64_t n) : all_((T*)std::malloc(sizeof(T) * (size_t)n)) {
        if (all_) thinwire_huge_pages(all_, (int64_t)sizeof(T) * n);
    }
    ~Room() { std::free(all_); }
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;
    bool none() const { return !all_; }
    operator T*() const { return all_; }

  private:
    T* all_;
};

// What a draw is compared by: the smallest draw has the largest key.
INLINE int32_t key_of(uint32_t draw) { return (int32_t)(draw ^ 0x7FFFFFFFu); }

// The least key of about `expected` of `of` numbers, `away` standard deviations more than that.
inline int32_t key_of_share(int64_t expected, int64_t of, double away) {
    const double wanted = (double)expected + away * std::sqrt((double)expected + 1);
    const double draw = std::floor(wanted / (double)of * 4294967296.0);
    return key_of(draw >= 4294967295.0 ? 0xFFFFFFFFu : draw > 0 ? (uint32_t)draw : 0);
}

// Finds the `keep` smallest of a stream's draws: those below a guessed limit are gathered, then thinned out.
class Smallest {
  public:
    Smallest(int64_t keep, int64_t of)
        : keep_(keep), of_(of), most_(keep + (int64_t)(16 * std::sqrt((double)keep)) + TILE),
          numbers_(most_ + TILE + L), keys_(most_ + TILE + L) {}
    bool none() const { return numbers_.none() || keys_.none(); }

    void find(Stream s, int64_t* out) {
        int64_t n = gather(s, key_of_share(keep_, of_, 3));
        if (n < keep_) n = gather(s, INT32_MIN);  // one time in a thousand
        if (n > keep_) shorten(n);
        for (int64_t i = 0; i < keep_; i++) out[i] = numbers_[i];
    }

  private:
    int64_t gather(Stream s, int32_t least) {
        int64_t n = 0;
        least_ = least;
        for (int64_t start = 0; start < of_; start += TILE) {
            const int64_t here = of_ - start < TILE ? of_ - start : TILE;
            uint32_t tile[TILE];
            Ahead nothing(tile);
            draw(s, start / TILE, TILE / 4, tile, nothing);
            for (int64_t i = 0; i < TILE; i++) tile[i] ^= 0x7FFFFFFFu;
            const int64_t more = where_from<WHOLE>(tile, here, least_, (uint32_t)start, numbers_ + n);
            for (int64_t i = n; i < n + more; i++) keys_[i] = (int32_t)tile[numbers_[i] - start];
            n += more;
            if (n > most_) n = shorten(n);
        }
        return n;
    }

    int64_t shorten(int64_t n) {
        int64_t start = key_of_share(keep_, of_, 0);
        if (start <= least_) start = ((int64_t)least_ + ((int64_t)1 << 31)) / 2;
        const int32_t least = thin(numbers_, keys_, n, keep_, {least_, (int64_t)1 << 31, n}, start);
        least_ = least;
        return keep_;
    }

    int64_t keep_, of_, most_;
    int32_t least_ = INT32_MIN;
    Room<uint32_t> numbers_;
    Room<int32_t> keys_;
};

// One pass of a radix sort by 11 bits of the draws, the high words.
inline void sort_by(int shift, const uint64_t* from, int64_t n, uint64_t* to) {
    int64_t at[2048] = {};
    for (int64_t i = 0; i < n; i++) at[from[i] >> shift & 2047]++;
    for (int64_t digit = 0, sum = 0; digit < 2048; digit++) {
        const int64_t count = at[digit];
        at[digit] = sum;
        sum += count;
    }
    for (int64_t i = 0; i < n; i++) to[at[from[i] >> shift & 2047]++] = from[i];
}

// The numbers below `of` in the order of their draws, the lower first on a tie. They are dealt into buckets by the top
// bits of the draws, which are drawn twice rather than kept, and each bucket is sorted in cache.
inline int32_t rank(Stream s, int64_t of, int64_t* out) {
    int top = 0;
    while (top < 16 && of >> top > 8192) top++;
    const int64_t buckets = (int64_t)1 << top;
    Room<int64_t> end(buckets);
    Room<uint64_t> all(of);
    if (end.none() || all.none()) return NO_MEMORY;
    const auto each = [&](auto what) {
        for (int64_t start = 0; start < of; start += TILE) {
            uint32_t tile[TILE];
            Ahead nothing(tile);
            draw(s, start / TILE, TILE / 4, tile, nothing);
            for (int64_t i = 0; i < TILE && start + i < of; i++) what((uint64_t)tile[i], (uint64_t)(start + i));
        }
    };
    std::memset(end, 0, sizeof(int64_t) * (size_t)buckets);
    each([&](uint64_t draw, uint64_t) { end[draw << top >> 32]++; });
    int64_t largest = 0;
    for (int64_t bucket = 0, sum = 0; bucket < buckets; bucket++) {
        const int64_t count = end[bucket];
        largest = count > largest ? count : largest;
        end[bucket] = sum;
        sum += count;
    }
    each([&](uint64_t draw, uint64_t number) { all[end[draw << top >> 32]++] = draw << 32 | number; });
    Room<uint64_t> spare(largest);
    if (spare.none()) return NO_MEMORY;
    for (int64_t bucket = 0, start = 0; bucket < buckets; start = end[bucket++]) {
        uint64_t *from = all + start, *to = spare;
        const int64_t n = end[bucket] - start;
        for (int shift = 32; shift < 64 - top; shift += 11) {
            sort_by(shift, from, n, to);
            uint64_t* const sorted = to;
            to = from;
            from = sorted;
        }
        for (int64_t i = 0; i < n; i++) out[start + i] = (int64_t)(uint32_t)from[i];
    }
    return 0;
}

}  // namespace
