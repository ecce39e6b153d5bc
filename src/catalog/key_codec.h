// Order-preserving encoding of primary keys to bytes: memcmp order of encodings = the documented
// order of keys. docs/format/keys.md is the only description of the bytes.
//
// Per component: integers big-endian with the sign bit flipped; floats as IEEE total order with all
// NaN equal and last (-inf < … < -0 = +0 < … < +inf < NaN); bool 0/1; dates, times, timestamps,
// durations, decimals as their integers; fixed binary as is; strings and binary escaped
// (00 -> 00 FF, terminated by 00 00), except as the LAST component, where they are the raw bytes:
// so the encoding of a single binary key is the key itself.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>

#include "catalog/schema.h"

namespace lamina::catalog {

/// Longest encoded key accepted at write (kInvalidArgument "key too long").
inline constexpr int32_t kMaxKeyBytes = 16 * 1024;

/// Half-open range of encoded keys; empty `to` with `unbounded_to` = no upper end.
struct KeyRange {
  std::string from;
  std::string to;
  bool unbounded_to = true;
  bool Contains(std::string_view key) const { return key >= from && (unbounded_to || key < to); }
  bool Overlaps(std::string_view min_key, std::string_view max_key) const {
    return max_key >= from && (unbounded_to || min_key < to);
  }
  bool all() const { return from.empty() && unbounded_to; }
  static KeyRange All() { return {}; }
  static KeyRange Point(std::string_view key);      ///< Exactly one key: [key, key + '\0').
  static KeyRange Prefix(std::string_view prefix);  ///< Every key that starts with the bytes.
};

/// The first 8 key bytes as a number in key order (shorter keys padded with zeros: ties are settled
/// by the whole key).
inline uint64_t KeyPrefix(std::string_view key) {
  uint64_t bits = 0;
  std::memcpy(&bits, key.data(), std::min<size_t>(key.size(), 8));
  return __builtin_bswap64(bits);
}

class KeyCodec {
 public:
  explicit KeyCodec(const TableSchema& table);

  /// Encodes the key columns of `batch` (any batch that has them under their names, of the table's
  /// types). Vectorised; about 5 ns a row for one integer column. Errors: kInvalidArgument for a
  /// null key (column, row), a key that is too long (row), a missing key column.
  Result<std::shared_ptr<arrow::BinaryArray>> Encode(const arrow::RecordBatch& batch) const;
  /// One key from scalars in key order; casts integers and strings that fit. Fewer scalars than key
  /// columns = prefix (not allowed here).
  Result<std::string> EncodeScalars(
      const std::vector<std::shared_ptr<arrow::Scalar>>& values) const;
  /// Range of all keys whose first components equal `values` (1..n of them).
  Result<KeyRange> PrefixRange(const std::vector<std::shared_ptr<arrow::Scalar>>& values) const;

  /// Back to arrays, one per key column (key order). kCorruption on bytes that no key encodes to.
  Result<std::vector<std::shared_ptr<arrow::Array>>> Decode(const arrow::BinaryArray& keys) const;
  Result<std::vector<std::shared_ptr<arrow::Array>>> Decode(
      const std::vector<std::string_view>& keys) const;

  int component_count() const { return static_cast<int>(columns_.size()); }
  const std::vector<Column>& columns() const { return columns_; }

 private:
  std::vector<Column> columns_;
};

/// The same order-preserving form for one value of any orderable column (used in file statistics).
/// Null has none.
Result<std::optional<std::string>> EncodeValue(const arrow::Scalar& value);
Result<std::shared_ptr<arrow::Scalar>> DecodeValue(std::string_view bytes,
                                                   const std::shared_ptr<arrow::DataType>& type);

/// The hash used by Bloom filters and memtables: XXH64 of the encoded key, seed 0.
uint64_t HashKey(std::string_view encoded_key);

}  // namespace lamina::catalog
