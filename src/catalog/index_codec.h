// Entries of an index as keys: the bytes by which an index table finds rows of its base table.
// docs/format/keys.md is the only description of the bytes.
//
// An entry is one component for each indexed column, then, unless the entry stands for one row by
// itself, the encoded key of its row. A component is 00 for NULL, or 01 and the value as a key's
// component that is not the last (key_codec.h): memcmp order is the columns' order with NULL first.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/array.h>
#include <arrow/scalar.h>
#include <arrow/type.h>

#include "catalog/key_codec.h"
#include "lamina/error.h"

namespace lamina::catalog {

/// One end of a range of values of an indexed column.
struct IndexBound {
  std::shared_ptr<arrow::Scalar> value;  ///< Of the column's type, not null.
  bool inclusive = true;
};

/// Immutable, thread-safe.
class IndexCodec {
 public:
  /// `types` are those of the indexed columns: key types all (IsKeyType).
  explicit IndexCodec(std::vector<std::shared_ptr<arrow::DataType>> types);

  /// The components of each row, without row keys. `columns` are of the types, equally long.
  /// kInvalidArgument for a value that is too long for a key.
  Result<std::vector<std::string>> Components(const arrow::ArrayVector& columns) const;
  /// The components of leading columns equal to `values` (at most one a column; null: NULL).
  Result<std::string> Prefix(const std::vector<std::shared_ptr<arrow::Scalar>>& values) const;

  /// The values of an entry in which none is NULL, without a row key. kCorruption for other bytes.
  Result<std::vector<std::shared_ptr<arrow::Scalar>>> Values(std::string_view entry) const;

  /// Every entry that begins with `prefix`, which Prefix has made.
  static KeyRange Equal(const std::string& prefix) { return KeyRange::Prefix(prefix); }
  /// Those of them whose next column, the `column`-th, lies between the bounds; never NULL.
  Result<KeyRange> Between(const std::string& prefix, size_t column,
                           const std::optional<IndexBound>& from,
                           const std::optional<IndexBound>& to) const;

 private:
  const std::vector<std::shared_ptr<arrow::DataType>> types_;
};

}  // namespace lamina::catalog
