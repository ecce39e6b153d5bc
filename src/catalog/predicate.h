// A scan predicate bound to a table: evaluated on batches, and asked whether statistics can satisfy
// it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include "catalog/key_codec.h"
#include "catalog/schema.h"
#include "lamina/expr.h"

namespace lamina::catalog {

/// What is known of a column's values in a file, row group or page. min/max are EncodeValue bytes
/// of the column's present type; a bound may be looser than the truth (truncated) but never
/// tighter. Absent = unknown. Parquet leaves NaN out of its statistics, so min/max of a float
/// column need not cover it: may_have_nan says whether there may be one.
struct ColumnRange {
  std::optional<std::string> min;
  std::optional<std::string> max;
  bool may_have_null = true;
  bool may_have_value = true;
  bool may_have_nan = true;  ///< Looked at for float columns only.
};

/// Gives the range of a column by name, or nullopt if nothing is known.
using ColumnRangeLookup = std::function<std::optional<ColumnRange>(const std::string& column)>;

/// Immutable, thread-safe.
class Predicate {
 public:
  /// Binds names and casts constants. The hidden columns _valid_from, _valid_to, _system_from,
  /// _system_to (timestamp[us, UTC]) and _commit (int64) are allowed too. Columns of a type without
  /// an order (list, struct, map, null) may only be asked for null. Errors, all kInvalidArgument:
  /// an unknown column (the hint lists near names), a constant that does not fit the type, a
  /// comparison on a type without an order, a prefix of anything but strings and binary, a
  /// malformed tree.
  static Result<std::shared_ptr<const Predicate>> Bind(const ExprPtr& expr,
                                                       const TableSchema& table);

  /// Columns read by the predicate (user and hidden), each once.
  const std::vector<std::string>& columns() const;
  /// True when it reads a hidden time column.
  bool reads_time_columns() const;

  /// One boolean a row; null = unknown. `batch` holds at least columns(), by name, with the table's
  /// types (else kInternal). Floats compare in key order: NaN equals NaN and is greater than
  /// everything else; -0 = +0.
  Result<std::shared_ptr<arrow::BooleanArray>> Evaluate(const arrow::RecordBatch& batch) const;

  /// False only if no row with such statistics can pass.
  bool CanMatch(const ColumnRangeLookup& ranges) const;

  /// A range of encoded keys that holds every passing row, from equalities on leading key
  /// components and ranges (comparison, between, in, prefix) on the next one; a disjunction gives
  /// the hull of its branches. Empty (from >= to) if none can pass.
  KeyRange KeyBounds(const TableSchema& table) const;

  std::string ToString() const;
  ~Predicate();

 private:
  friend struct PredicateTree;  // the functions over nodes, in predicate.cc
  struct Node;
  Predicate();
  std::unique_ptr<Node> root_;
  std::vector<std::string> columns_;
  bool reads_time_columns_ = false;
};
using PredicatePtr = std::shared_ptr<const Predicate>;

}  // namespace lamina::catalog
