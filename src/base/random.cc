#include "base/random.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <sys/random.h>

#include "base/check.h"

namespace lamina::base {

namespace {

uint64_t SplitMix64(uint64_t* state) {
  uint64_t z = (*state += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

}  // namespace

Random::Random(uint64_t seed) {
  for (uint64_t& word : state_) word = SplitMix64(&seed);
}

uint64_t Random::Next64() {
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

uint64_t Random::Uniform(uint64_t n) {
  if (n == 0) return 0;
  // Lemire's multiply-shift: the high word of a 128-bit product is in [0, n); low words below 2^64
  // mod n would be over-represented and are drawn again.
  unsigned __int128 product = static_cast<unsigned __int128>(Next64()) * n;
  if (static_cast<uint64_t>(product) < n) {
    const uint64_t threshold = (~n + 1) % n;
    while (static_cast<uint64_t>(product) < threshold)
      product = static_cast<unsigned __int128>(Next64()) * n;
  }
  return static_cast<uint64_t>(product >> 64);
}

int64_t Random::UniformRange(int64_t low, int64_t high_last) {
  LAMINA_CHECK(low <= high_last);
  const uint64_t width =
      static_cast<uint64_t>(high_last) - static_cast<uint64_t>(low) + 1;  // 0: all 2^64 values
  const uint64_t offset = width == 0 ? Next64() : Uniform(width);
  return static_cast<int64_t>(static_cast<uint64_t>(low) + offset);
}

void Random::FillBytes(void* out, size_t size) {
  auto* p = static_cast<char*>(out);
  while (size > 0) {
    const uint64_t word = Next64();
    const size_t n = size < sizeof(word) ? size : sizeof(word);
    std::memcpy(p, &word, n);
    p += n;
    size -= n;
  }
}

std::string Random::Bytes(size_t size) {
  std::string out(size, '\0');
  FillBytes(out.data(), size);
  return out;
}

uint64_t SeedFromEntropy() {
  uint64_t seed = 0;
  FillFromEntropy(&seed, sizeof(seed));
  return seed;
}

void FillFromEntropy(void* out, size_t size) {
  auto* p = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t n = getrandom(p, size, 0);
    if (n < 0 && errno == EINTR) continue;
    // Without entropy there are no unique names and no keys: nothing sensible can go on.
    LAMINA_CHECK_MSG(n > 0, "getrandom failed");
    p += n;
    size -= static_cast<size_t>(n);
  }
}

}  // namespace lamina::base
