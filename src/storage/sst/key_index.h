// The block of a data file that finds the page of a key: first key of every page, and a Bloom
// filter over all keys. docs/format/data-file.md#key-index describes the bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arrow/buffer.h>

#include "lamina/error.h"
#include "storage/sst/bloom_filter.h"

namespace lamina::storage::sst {

/// Reads the block where it lies: holds the bytes, copies nothing. Immutable, thread-safe.
class KeyIndex {
 public:
  /// `first_keys` ascending, one a page; `bloom` from BuildBloomFilter, or empty for none.
  static std::string Encode(uint32_t rows_per_page, const std::vector<std::string>& first_keys,
                            std::string_view bloom);
  /// kCorruption on any damage (checksum, lengths, order of keys); never crashes.
  static Result<KeyIndex> Decode(std::shared_ptr<arrow::Buffer> block);

  KeyIndex() = default;

  uint32_t rows_per_page() const { return rows_per_page_; }
  uint32_t page_count() const { return page_count_; }
  std::string_view first_key(uint32_t page) const;
  std::string_view bloom() const { return bloom_; }
  bool MayContain(uint64_t hash) const { return BloomMayContain(bloom_, hash); }

  /// Pages whose first key is below `key`: 0 … the result are the candidates for keys below it.
  uint32_t PagesBelow(std::string_view key) const;
  /// Pages [first, second) that may hold `key`: from the last page that begins below it to the last
  /// that begins at it.
  std::pair<uint32_t, uint32_t> PagesOf(std::string_view key) const;

 private:
  std::shared_ptr<arrow::Buffer> block_;
  uint32_t rows_per_page_ = 0;
  uint32_t page_count_ = 0;
  const char* offsets_ = nullptr;  ///< page_count_ + 1 little-endian u32, unaligned.
  std::string_view keys_;
  std::string_view bloom_;
};

}  // namespace lamina::storage::sst
