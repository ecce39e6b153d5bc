// A fast seedable random source (xoshiro256**, seeded by splitmix64). Not for secrets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace lamina::base {

/// Same seed, same sequence, on every platform. One thread at a time.
/// Source: Blackman, Vigna, "Scrambled linear pseudorandom number generators", 2018 (xoshiro256**).
class Random {
 public:
  explicit Random(uint64_t seed);

  uint64_t Next64();
  uint32_t Next32() { return static_cast<uint32_t>(Next64() >> 32); }
  /// Uniform in [0, n), without bias; 0 when n == 0.
  uint64_t Uniform(uint64_t n);
  /// Uniform in [low, high_last], both included; requires low <= high_last.
  int64_t UniformRange(int64_t low, int64_t high_last);
  /// True once in n on average; n == 0 is never.
  bool OneIn(uint64_t n) { return n != 0 && Uniform(n) == 0; }
  /// Uniform in [0, 1).
  double NextDouble() { return static_cast<double>(Next64() >> 11) * 0x1.0p-53; }
  void FillBytes(void* out, size_t size);
  std::string Bytes(size_t size);
  /// An independent generator whose sequence follows from this one's state.
  Random Fork() { return Random(Next64()); }

  // Lets <algorithm> use it (std::shuffle).
  using result_type = uint64_t;
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return ~uint64_t{0}; }
  uint64_t operator()() { return Next64(); }

 private:
  std::array<uint64_t, 4> state_;
};

/// A seed from the operating system's entropy (getrandom).
uint64_t SeedFromEntropy();
/// Fills `out` from the operating system's entropy: fit for keys and salts.
void FillFromEntropy(void* out, size_t size);

}  // namespace lamina::base
