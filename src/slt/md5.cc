#include "slt/md5.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include <fmt/format.h>

namespace lamina::slt {
namespace {

constexpr size_t kBlock = 64;
constexpr std::array<std::array<int, 4>, 4> kShifts = {
    {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}}};

void Mix(std::array<uint32_t, 4>* state, const char* block) {
  static const auto table = [] {
    std::array<uint32_t, 64> out{};
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<uint32_t>(std::floor(std::fabs(std::sin(i + 1.0)) * 4294967296.0));
    return out;
  }();
  std::array<uint32_t, 16> words{};
  for (size_t i = 0; i < kBlock; ++i)
    words[i / 4] |= static_cast<uint32_t>(static_cast<unsigned char>(block[i])) << (8 * (i % 4));
  auto [a, b, c, d] = *state;
  for (size_t i = 0; i < 64; ++i) {
    const size_t round = i / 16;
    uint32_t f = 0;
    size_t word = 0;
    switch (round) {
      case 0:
        f = (b & c) | (~b & d);
        word = i;
        break;
      case 1:
        f = (d & b) | (~d & c);
        word = (5 * i + 1) % 16;
        break;
      case 2:
        f = b ^ c ^ d;
        word = (3 * i + 5) % 16;
        break;
      default:
        f = c ^ (b | ~d);
        word = (7 * i) % 16;
        break;
    }
    const uint32_t sum = a + f + table[i] + words[word];
    a = d;
    d = c;
    c = b;
    b += std::rotl(sum, kShifts[round][i % 4]);
  }
  (*state)[0] += a;
  (*state)[1] += b;
  (*state)[2] += c;
  (*state)[3] += d;
}

}  // namespace

std::string Md5(std::string_view bytes) {
  std::array<uint32_t, 4> state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  std::string rest(bytes.substr(bytes.size() / kBlock * kBlock));
  for (size_t at = 0; at + kBlock <= bytes.size(); at += kBlock) Mix(&state, bytes.data() + at);
  rest += '\x80';
  while (rest.size() % kBlock != kBlock - 8) rest += '\0';
  const uint64_t bits = static_cast<uint64_t>(bytes.size()) * 8;
  for (int i = 0; i < 8; ++i) rest += static_cast<char>(bits >> (8 * i));
  for (size_t at = 0; at < rest.size(); at += kBlock) Mix(&state, rest.data() + at);
  std::string out;
  for (const uint32_t word : state) {
    for (int i = 0; i < 4; ++i) out += fmt::format("{:02x}", word >> (8 * i) & 0xff);
  }
  return out;
}

}  // namespace lamina::slt
