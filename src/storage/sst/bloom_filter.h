// A split-block Bloom filter over 64-bit hashes, bit for bit the one of the Parquet format
// (BloomFilter.md), with any number of blocks: Parquet C++ rounds up to a power of two, which is up
// to twice the bytes.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace lamina::storage::sst {

inline constexpr size_t kBloomBlockBytes = 32;

namespace internal {

inline constexpr std::array<uint32_t, 8> kBloomSalt = {0x47b6137bU, 0x44974d91U, 0x8824ad5bU,
                                                       0xa2b7289dU, 0x705495c7U, 0x2df1424bU,
                                                       0x9efc4947U, 0x5c6bfb31U};

inline size_t BloomBlockOffset(uint64_t hash, size_t blocks) {
  return static_cast<size_t>(((hash >> 32) * blocks) >> 32) * kBloomBlockBytes;
}

}  // namespace internal

/// Bits of a filter over `hashes` (repeats allowed) with about `bits_per_key` bits for each; at
/// least one block. 10 bits give about 1 % false positives, 8 about 2.5 %.
std::string BuildBloomFilter(std::span<const uint64_t> hashes, double bits_per_key);

/// False only if `hash` was certainly not inserted. `bits` is what BuildBloomFilter returned (whole
/// blocks; needs no alignment); an empty filter contains everything.
inline bool BloomMayContain(std::string_view bits, uint64_t hash) {
  const size_t blocks = bits.size() / kBloomBlockBytes;
  if (blocks == 0) {
    return true;
  }
  const char* block = bits.data() + internal::BloomBlockOffset(hash, blocks);
  const auto low = static_cast<uint32_t>(hash);
  uint32_t missing = 0;
  for (size_t i = 0; i < 8; ++i) {
    uint32_t word;
    std::memcpy(&word, block + i * 4, sizeof(word));
    missing |= ~word & (uint32_t{1} << ((low * internal::kBloomSalt[i]) >> 27));
  }
  return missing == 0;
}

}  // namespace lamina::storage::sst
