#include "storage/sst/key_index.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/codec.h"
#include "base/crc32c.h"
#include "base/mutant.h"

namespace lamina::storage::sst {

namespace {

constexpr uint32_t kMagic = 0x494b4d4c;  // "LMKI"
constexpr uint16_t kVersion = 1;
constexpr size_t kHeaderBytes = 32;
constexpr size_t kChecksumBytes = 4;

Status Damaged(std::string_view what) {
  return MakeError(ErrorCode::kCorruption, fmt::format("key index is damaged: {}", what));
}

}  // namespace

std::string KeyIndex::Encode(uint32_t rows_per_page, const std::vector<std::string>& first_keys,
                             std::string_view bloom) {
  size_t key_bytes = 0;
  for (const std::string& key : first_keys) {
    key_bytes += key.size();
  }
  LAMINA_CHECK(key_bytes <= UINT32_MAX);  // FileWriter bounds it: pages x kMaxKeyBytes.
  std::string out;
  out.reserve(kHeaderBytes + (first_keys.size() + 1) * 4 + key_bytes + bloom.size() +
              kChecksumBytes);
  base::PutFixed32(&out, kMagic);
  base::PutFixed16(&out, kVersion);
  base::PutFixed16(&out, 0);
  base::PutFixed32(&out, rows_per_page);
  base::PutFixed32(&out, static_cast<uint32_t>(first_keys.size()));
  base::PutFixed64(&out, key_bytes);
  base::PutFixed64(&out, bloom.size());
  uint32_t offset = 0;
  base::PutFixed32(&out, offset);
  for (const std::string& key : first_keys) {
    offset += static_cast<uint32_t>(key.size());
    base::PutFixed32(&out, offset);
  }
  for (const std::string& key : first_keys) {
    out += key;
  }
  out += bloom;
  base::PutFixed32(&out, base::Crc32c(out));
  return out;
}

Result<KeyIndex> KeyIndex::Decode(std::shared_ptr<arrow::Buffer> block) {
  const std::string_view bytes(*block);
  if (bytes.size() < kHeaderBytes + kChecksumBytes) {
    return Damaged(fmt::format("too short: size={}", bytes.size()));
  }
  const std::string_view body = bytes.substr(0, bytes.size() - kChecksumBytes);
  const uint32_t expected = base::LoadFixed32(body.data() + body.size());
  if (const uint32_t actual = base::Crc32c(body); actual != expected) {
    return Damaged(
        fmt::format("checksum mismatch: expected={:08x} actual={:08x}", expected, actual));
  }
  base::Decoder in(body);
  uint32_t magic = 0;
  uint16_t version = 0;
  uint16_t reserved = 0;
  uint64_t key_bytes = 0;
  uint64_t bloom_bytes = 0;
  KeyIndex index;
  in.ReadFixed32(&magic);
  in.ReadFixed16(&version);
  in.ReadFixed16(&reserved);
  in.ReadFixed32(&index.rows_per_page_);
  in.ReadFixed32(&index.page_count_);
  in.ReadFixed64(&key_bytes);
  in.ReadFixed64(&bloom_bytes);
  if (magic != kMagic || version != kVersion || reserved != 0) {
    return Damaged(fmt::format("not a key index of version {}: magic={:08x} version={}", kVersion,
                               magic, version));
  }
  std::string_view offsets;
  if (index.rows_per_page_ == 0 || index.page_count_ == 0 ||
      !in.ReadBytes((size_t{index.page_count_} + 1) * 4, &offsets) ||
      !in.ReadBytes(key_bytes, &index.keys_) || !in.ReadBytes(bloom_bytes, &index.bloom_) ||
      !in.done() || bloom_bytes % kBloomBlockBytes != 0) {
    return Damaged("section lengths");
  }
  index.offsets_ = offsets.data();
  uint32_t offset_last = base::LoadFixed32(offsets.data());
  if (offset_last != 0 ||
      base::LoadFixed32(offsets.data() + size_t{index.page_count_} * 4) != key_bytes) {
    return Damaged("key offsets");
  }
  for (uint32_t page = 0; page < index.page_count_; ++page) {
    const uint32_t offset = base::LoadFixed32(offsets.data() + (size_t{page} + 1) * 4);
    if (offset < offset_last || offset > key_bytes) {
      return Damaged(fmt::format("key offsets: page={}", page));
    }
    offset_last = offset;
  }
  for (uint32_t page = 1; page < index.page_count_; ++page) {
    if (index.first_key(page - 1) > index.first_key(page)) {
      return Damaged(fmt::format("first keys out of order: page={}", page));
    }
  }
  index.block_ = std::move(block);
  return index;
}

std::string_view KeyIndex::first_key(uint32_t page) const {
  const uint32_t begin = base::LoadFixed32(offsets_ + size_t{page} * 4);
  const uint32_t end = base::LoadFixed32(offsets_ + (size_t{page} + 1) * 4);
  return keys_.substr(begin, end - begin);
}

uint32_t KeyIndex::PagesBelow(std::string_view key) const {
  uint32_t low = 0;
  uint32_t high = page_count_;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (first_key(middle) < key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

std::pair<uint32_t, uint32_t> KeyIndex::PagesOf(std::string_view key) const {
  const uint32_t below = PagesBelow(key);
  uint32_t last = below;
  while (last < page_count_ && first_key(last) == key) {
    ++last;  // Several pages begin with one key only where a key has more versions than a page has
             // rows.
  }
  return {below == 0 ? 0 : below - (LAMINA_MUTANT("key_index.page_before_missed") ? 0 : 1), last};
}

}  // namespace lamina::storage::sst
