// Rows and blocks around the block codes: built once for each instruction set, THINWIRE_MAKE being the name.
#include <cstdlib>

#include "codes.h"
#include "rotated.h"

namespace {

// (format, block of f.size values, how many of them are no padding, its stream and number, room, codes) -> scale
typedef float (*Encode)(const Format&, const float*, int64_t, Stream, int64_t, float*, uint8_t*);
typedef void (*Decode)(const Format&, float, const uint8_t*, Stream, int64_t, float*, float*);

struct Code {
    Encode encode;
    Decode decode;
};

template <int BITS> Code rotated(const Format& f) {
    return {f.least_error ? encode_rotated<BITS, true> : encode_rotated<BITS, false>, decode_rotated<BITS>};
}

Code code_of(const Format& f) {
    switch (f.kind) {
        case DITHER: return {encode_dither, decode_dither};
        case SIGN: return {encode_sign, decode_sign};
        case NATURAL: return {encode_natural, decode_natural};
        case NATURAL_DITHER: return {encode_natural_dither, decode_natural_dither};
        default: break;
    }
    switch (f.bits) {
        case 1: return rotated<1>(f);
        case 2: return rotated<2>(f);
        case 3: return rotated<3>(f);
        default: return rotated<4>(f);
    }
}

int64_t fields_of(int64_t size, int32_t bits) {
    int64_t bytes = bits / 8 * size;
    for (int32_t field = 4; field; field /= 2)
        if (bits & field) bytes += (size + 8 / field - 1) / (8 / field);
    return bytes;
}

// Whether the sizes fit together and the numbers are in the ranges that the codes are written for.
bool sound(const Format& f) {
    const int32_t least = f.kind == DITHER ? 0 : f.kind == NATURAL ? 9 : f.kind == NATURAL_DITHER ? 2 : 1;
    const int32_t most = f.kind == SIGN ? 1 : f.kind == NATURAL ? 9 : f.kind == ROTATED ? 4 : 8;
    const bool power = f.size >= 128 && (f.size & (f.size - 1)) == 0;
    return f.kind >= DITHER && f.kind <= ROTATED && f.bits >= least && f.bits <= most &&
           (f.kind != ROTATED || power) && f.levels >= 0 && f.levels <= (f.kind == NATURAL_DITHER ? 125 : 127) &&
           f.d > 0 && f.size > 0 && f.count > 0 && f.count <= (f.d - 1) / f.size + 1 && f.count * f.size >= f.d &&
           f.body == (f.bits ? fields_of(f.size, f.bits) : (f.size + 4) / 5) &&
           f.nbytes == f.count * (4 * f.scaled() + f.body) + 1;
}

// Working memory of one call: two blocks, and room for sums and draws.
class Room {
  public:
    explicit Room(const Format& f) : all_(std::malloc(sizeof(float) * (size_t)(4 * f.size + 64 * L) + 64)) {
        block = (float*)(((uintptr_t)all_ + 63) & ~(uintptr_t)63);
        work = block + (f.size + L - 1) / L * L + L;
    }
    ~Room() { std::free(all_); }
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;
    bool none() const { return !all_; }

    float *block, *work;

  private:
    void* all_;
};

bool finite(float v) { return (bits<uint32_t>(v) & ~TOP) < INFINITE; }

// false if the row is to be zeros: it holds, or leads to, what is not finite
bool encode_row(const Format& f, Encode encode, const float* x, Stream stream, const Room& room, uint8_t* data) {
    uint8_t* body = data + 4 * f.count * f.scaled();
    for (int64_t block = 0; block < f.count; block++, body += f.body) {
        const float* values = x + block * f.size;
        const int64_t left = f.d - block * f.size, real = left < f.size ? left : f.size;
        if (real < f.size) {
            std::memcpy(room.block, values, sizeof(float) * (size_t)real);
            std::memset(room.block + real, 0, sizeof(float) * (size_t)(f.size - real));
            values = room.block;
        }
        if (largest(values, f.size) >= INFINITE) return false;
        const float scale = encode(f, values, real, stream, block, room.work, body);
        if (!finite(scale)) return false;
        if (f.scaled()) std::memcpy(data + 4 * block, &scale, sizeof scale);
    }
    return true;
}

void decode_row(const Format& f, Decode decode, const uint8_t* data, Stream stream, const Room& room, float* out) {
    const uint8_t* body = data + 4 * f.count * f.scaled();
    for (int64_t block = 0; block < f.count; block++, body += f.body) {
        float scale = 0;
        if (f.scaled()) std::memcpy(&scale, data + 4 * block, sizeof scale);
        float* values = out + block * f.size;
        const int64_t left = f.d - block * f.size;
        decode(f, scale, body, stream, block, room.work, left < f.size ? room.block : values);
        if (left < f.size) std::memcpy(values, room.block, sizeof(float) * (size_t)left);
    }
}

int32_t encode(const Format* f, int64_t rows, const float* x, int64_t x_stride, const int64_t* stream, uint8_t* data,
               int64_t data_stride) {
    if (!sound(*f)) return REFUSED;
    const Encode one = code_of(*f).encode;
    const Room room(*f);
    if (room.none()) return NO_MEMORY;
    for (int64_t row = 0; row < rows; row++, x += x_stride, stream += 4, data += data_stride) {
        const bool good = encode_row(*f, one, x, stream_of(stream), room, data);
        if (!good) std::memset(data, 0, (size_t)f->nbytes);
        data[f->nbytes - 1] = !good;
    }
    return 0;
}

int32_t decode(const Format* f, int64_t rows, const uint8_t* data, int64_t data_stride, const int64_t* stream,
               float* out, int64_t out_stride) {
    if (!sound(*f)) return REFUSED;
    const Decode one = code_of(*f).decode;
    const Room room(*f);
    if (room.none()) return NO_MEMORY;
    for (int64_t row = 0; row < rows; row++, data += data_stride, stream += 4, out += out_stride)
        decode_row(*f, one, data, stream_of(stream), room, out);
    return 0;
}

}  // namespace

extern const Make THINWIRE_MAKE = {encode, decode};
