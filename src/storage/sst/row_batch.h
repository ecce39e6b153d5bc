// The in-memory form of row versions that sst writes and reads: storage columns plus five time
// columns.
#pragma once

#include <memory>

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include "catalog/schema.h"

namespace lamina::storage::sst {

/// timestamp[us, UTC].
std::shared_ptr<arrow::DataType> TimeType();
/// `table.StorageSchema()` followed by _valid_from, _valid_to, _system_from, _system_to (TimeType,
/// open ends are the INT64 limits) and _commit (int64), none of them null: a *row batch*.
std::shared_ptr<arrow::Schema> RowBatchSchema(const catalog::TableSchema& table);

/// Raw views of a row batch's (or any batch's) time columns; null pointers for columns it does not
/// have.
struct TimeColumns {
  const int64_t* valid_from = nullptr;
  const int64_t* valid_to = nullptr;
  const int64_t* system_from = nullptr;
  const int64_t* system_to = nullptr;
  const int64_t* commit = nullptr;
  static TimeColumns Of(const arrow::RecordBatch& batch);
};

}  // namespace lamina::storage::sst
