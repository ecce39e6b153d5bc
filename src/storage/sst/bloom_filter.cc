#include "storage/sst/bloom_filter.h"

#include <algorithm>
#include <cmath>

#include "base/mutant.h"

namespace lamina::storage::sst {

std::string BuildBloomFilter(std::span<const uint64_t> hashes, double bits_per_key) {
  const double bytes = std::ceil(static_cast<double>(hashes.size()) * bits_per_key / 8);
  // The block number is 32 bits of the hash scaled down: more than 2^31 blocks could not be told
  // apart.
  const size_t blocks = static_cast<size_t>(
      std::clamp(std::ceil(bytes / kBloomBlockBytes), 1.0, static_cast<double>(uint64_t{1} << 31)));
  std::string bits(blocks * kBloomBlockBytes, '\0');
  for (const uint64_t hash : hashes.subspan(LAMINA_MUTANT("bloom.first_key_left_out") ? 1 : 0)) {
    char* block = bits.data() + internal::BloomBlockOffset(hash, blocks);
    const auto low = static_cast<uint32_t>(hash);
    uint32_t words[8];
    std::memcpy(words, block, sizeof(words));
    for (size_t i = 0; i < 8; ++i) {
      words[i] |= uint32_t{1} << ((low * internal::kBloomSalt[i]) >> 27);
    }
    std::memcpy(block, words, sizeof(words));
  }
  return bits;
}

}  // namespace lamina::storage::sst
