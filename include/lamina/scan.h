// Reading rows: what to read, at which moments, and the stream that comes back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <arrow/record_batch.h>
#include <arrow/scalar.h>

#include "lamina/expr.h"
#include "lamina/metrics.h"
#include "lamina/time.h"

namespace lamina {

/// A primary key: one scalar a key column, in key order. Integers and strings are cast to the
/// column's type if they fit.
using Key = std::vector<std::shared_ptr<arrow::Scalar>>;

/// Half-open range of keys; each end is a prefix of the key columns (all rows that start with it
/// belong to `from`, none to `to`).
struct KeyInterval {
  std::optional<Key> from = {};
  std::optional<Key> to = {};
  /// Every key whose first columns equal `prefix`. Not combined with from / to.
  std::optional<Key> prefix = {};
};

struct ScanOptions {
  /// Columns to return, in order; hidden ones (_valid_from, _valid_to, _system_from, _system_to,
  /// _commit) by name. nullopt: all user columns. An empty list counts rows only.
  std::optional<std::vector<std::string>> columns = {};
  ExprPtr filter = {};  ///< Null = every row.
  KeyInterval keys = {};
  SystemPeriod system = {};  ///< Default: the newest commit.
  ValidPeriod valid = {};    ///< Default: valid now.
  std::optional<int64_t> limit = {};
  /// By key, then _valid_from, then _system_from. False: any order, cheaper.
  bool order_by_key = true;
  int64_t batch_rows = 8192;
};

/// Rows as Arrow record batches. Keeps its snapshot alive; dropping it early stops the work. One
/// thread at a time.
class ScanReader : public arrow::RecordBatchReader {
 public:
  virtual const ScanProfile& profile() const = 0;
};

}  // namespace lamina
