#include "base/crc32c.h"

#include <array>
#include <cstddef>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace lamina::base {

namespace {

constexpr uint32_t kPolynomial = 0x82F63B78;  // Castagnoli, bits reversed

using Table = std::array<uint32_t, 256>;

// kTables[k][b] is the CRC of byte b followed by k zero bytes: eight look-ups advance eight bytes
// ("slicing by 8").
constexpr std::array<Table, 8> MakeTables() {
  std::array<Table, 8> tables{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][b] = crc;
  }
  for (uint32_t b = 0; b < 256; ++b) {
    for (size_t k = 1; k < 8; ++k)
      tables[k][b] = (tables[k - 1][b] >> 8) ^ tables[0][tables[k - 1][b] & 0xff];
  }
  return tables;
}
constexpr std::array<Table, 8> kTables = MakeTables();

uint32_t ExtendPortable(uint32_t state, const char* p, size_t size) {
  while (size >= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    word ^= state;
    state = kTables[7][word & 0xff] ^ kTables[6][(word >> 8) & 0xff] ^
            kTables[5][(word >> 16) & 0xff] ^ kTables[4][(word >> 24) & 0xff] ^
            kTables[3][(word >> 32) & 0xff] ^ kTables[2][(word >> 40) & 0xff] ^
            kTables[1][(word >> 48) & 0xff] ^ kTables[0][word >> 56];
    p += 8;
    size -= 8;
  }
  while (size-- > 0) state = (state >> 8) ^ kTables[0][(state ^ static_cast<uint8_t>(*p++)) & 0xff];
  return state;
}

#if defined(__x86_64__)

// The crc32 instruction takes three cycles but one can start every cycle, so long inputs run as
// three streams of kStride bytes. A stream's CRC is moved past the bytes behind it by a linear map
// over GF(2), held as four byte-indexed tables.
constexpr size_t kStride = 1024;

using Shift = std::array<Table, 4>;

constexpr uint32_t AppendZeros(uint32_t crc, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) crc = (crc >> 8) ^ kTables[0][crc & 0xff];
  return crc;
}

Shift MakeShift(size_t bytes) {
  // The map is linear: the images of the 32 single bits give all others.
  std::array<uint32_t, 32> image{};
  for (int bit = 0; bit < 32; ++bit)
    image[static_cast<size_t>(bit)] = AppendZeros(uint32_t{1} << bit, bytes);
  Shift shift{};
  for (size_t k = 0; k < 4; ++k) {
    for (uint32_t b = 0; b < 256; ++b) {
      for (size_t bit = 0; bit < 8; ++bit) {
        if ((b >> bit) & 1) shift[k][b] ^= image[8 * k + bit];
      }
    }
  }
  return shift;
}

uint32_t Apply(const Shift& shift, uint32_t crc) {
  return shift[0][crc & 0xff] ^ shift[1][(crc >> 8) & 0xff] ^ shift[2][(crc >> 16) & 0xff] ^
         shift[3][crc >> 24];
}

__attribute__((target("sse4.2"))) uint32_t ExtendHardware(uint32_t state, const char* p,
                                                          size_t size) {
  if (size >= 3 * kStride) {
    static const Shift shift = MakeShift(kStride);
    do {
      uint64_t a = state;
      uint64_t b = 0;
      uint64_t c = 0;
      for (size_t i = 0; i < kStride; i += 8) {
        uint64_t x;
        uint64_t y;
        uint64_t z;
        std::memcpy(&x, p + i, 8);
        std::memcpy(&y, p + kStride + i, 8);
        std::memcpy(&z, p + 2 * kStride + i, 8);
        a = _mm_crc32_u64(a, x);
        b = _mm_crc32_u64(b, y);
        c = _mm_crc32_u64(c, z);
      }
      state = Apply(shift, static_cast<uint32_t>(a)) ^ static_cast<uint32_t>(b);
      state = Apply(shift, state) ^ static_cast<uint32_t>(c);
      p += 3 * kStride;
      size -= 3 * kStride;
    } while (size >= 3 * kStride);
  }
  uint64_t wide = state;
  while (size >= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    wide = _mm_crc32_u64(wide, word);
    p += 8;
    size -= 8;
  }
  state = static_cast<uint32_t>(wide);
  while (size-- > 0) state = _mm_crc32_u8(state, static_cast<uint8_t>(*p++));
  return state;
}

bool HaveHardware() {
  static const bool have = __builtin_cpu_supports("sse4.2");
  return have;
}

#endif

}  // namespace

uint32_t Crc32c(std::string_view data, uint32_t seed) {
#if defined(__x86_64__)
  if (HaveHardware()) return ~ExtendHardware(~seed, data.data(), data.size());
#endif
  return ~ExtendPortable(~seed, data.data(), data.size());
}

uint32_t TestingCrc32cPortable(std::string_view data, uint32_t seed) {
  return ~ExtendPortable(~seed, data.data(), data.size());
}

}  // namespace lamina::base
