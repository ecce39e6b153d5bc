// What a statement writes to one table, with all that follows from it: entries of indexes and the
// checks of foreign keys.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <arrow/record_batch.h>

#include "sql/duckdb_api.h"
#include "sql/foreign_keys.h"
#include "sql/index_writer.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"

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
};

/// Rows that go, or that become others.
struct RowChange {
  RowIds old;
  std::shared_ptr<arrow::RecordBatch> rows;  ///< Null: a delete. Else one for each of `old`.
};

/// For the time of a statement. The caller holds the transaction's mutex. Everything throws.
class TableWriter {
 public:
  TableWriter(duckdb::ClientContext& context, LaminaTableEntry& table);

  /// `rows` as the database has the table. T3002, T3003.
  void Insert(const std::shared_ptr<arrow::RecordBatch>& rows);
  void Delete(std::span<const RowChange> changes);
  /// `moves`: keys may change.
  void Update(std::span<const RowChange> changes, bool moves);
  /// When the statement has written everything: foreign keys. T3005.
  void Finish() { foreign_keys_.Check(); }

 private:
  std::shared_ptr<arrow::BinaryArray> KeysOf(const arrow::RecordBatch& rows) const;
  /// Of rows of a table without a key.
  std::shared_ptr<arrow::BinaryArray> KeysFrom(int64_t first_row_id, int64_t count) const;
  /// Puts or inserts; gives the rows' keys where indexes need them.
  std::shared_ptr<arrow::BinaryArray> Write(const std::shared_ptr<arrow::RecordBatch>& rows,
                                            const WriteOptions& options, bool insert);

  db::Session& session_;
  LaminaTableEntry& table_;
  const std::string name_;
  const catalog::TableSchemaPtr schema_;
  const catalog::KeyCodec codec_;
  std::vector<IndexWriter> indexes_;
  ForeignKeyChecks foreign_keys_;
};

}  // namespace lamina::sql
