// Rows that a statement changes, as they were and as they are to be.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include "lamina/transaction.h"
#include "sql/duckdb_api.h"
#include "sql/table_entry.h"

namespace lamina::sql {

/// The row-id columns of a chunk (LaminaTableEntry::GetRowIdColumns): which rows an UPDATE or
/// DELETE is about, and what its dependents have to know of them.
struct RowIds {
  std::shared_ptr<arrow::RecordBatch> keys;            ///< Key columns, or _rowid.
  std::shared_ptr<arrow::Array> valid_from, valid_to;  ///< int64; null is open.
  std::shared_ptr<arrow::RecordBatch> tracked;         ///< Tracked columns as they were.

  /// From column `first` of the chunk on.
  static RowIds Of(const LaminaTableEntry& table, duckdb::DataChunk& chunk, duckdb::idx_t first);
  /// One text a row, equal for equal rows.
  std::vector<std::string> Texts() const;
  WriteOptions Options() const;
  ValidInterval ValidOf(int64_t row) const;
  /// For one row.
  void SetValid(const ValidInterval& valid);
};

/// Of arrays as a scan gives them, or as RowIds has them: null is open.
ValidInterval ValidOf(const arrow::Array& from, const arrow::Array& to, int64_t row);

/// Rows that go, or that become others.
struct RowChange {
  RowIds old;
  std::shared_ptr<arrow::RecordBatch> rows;  ///< Null: a delete. Else one for each of `old`.
};

}  // namespace lamina::sql
