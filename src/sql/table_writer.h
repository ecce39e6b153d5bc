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
#include "sql/row_change.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"

namespace lamina::sql {

/// T3003 instead of the plain error of a key that is there.
Status AsKeyViolation(const LaminaTableEntry& table, const Status& status);

/// For the time of a statement. The caller holds the transaction's mutex. Everything throws.
class TableWriter {
 public:
  TableWriter(duckdb::ClientContext& context, LaminaTableEntry& table);

  /// `rows` as the database has the table, for the valid times of `valid`. T3002, T3003.
  void Insert(const std::shared_ptr<arrow::RecordBatch>& rows, const WriteOptions& valid = {});
  void Delete(std::span<const RowChange> changes);
  /// `moves`: keys may change.
  void Update(std::span<const RowChange> changes, bool moves);
  /// Lays the rows of `changes` over whatever is there of their keys, within the valid times that
  /// `old` says; what else it says is not looked at. Of a table with a key, which does not change.
  void Lay(std::span<const RowChange> changes);
  /// Inserts each row where nothing is there of its key in its valid time; gives their numbers.
  std::vector<int64_t> InsertWhereFree(const RowChange& change);
  /// Ends whatever is there of the keys of `changes`, within their valid times.
  void End(std::span<const RowChange> changes);
  /// When the statement has written everything: the actions of foreign keys, then their checks.
  /// T3005, and what a write of the rows that refer may say. `kind` and `columns` (that an UPDATE
  /// sets) say to triggers what the statement was.
  void Finish(TriggerEvent kind, std::vector<std::string> columns = {});

 private:
  std::shared_ptr<arrow::BinaryArray> KeysOf(const arrow::RecordBatch& rows) const;
  /// Of rows of a table without a key.
  std::shared_ptr<arrow::BinaryArray> KeysFrom(int64_t first_row_id, int64_t count) const;
  /// Puts or inserts; gives the rows' keys where indexes need them.
  std::shared_ptr<arrow::BinaryArray> Write(const std::shared_ptr<arrow::RecordBatch>& said,
                                            const WriteOptions& valid, bool insert);

  /// What is there now of one key within a valid time, as rows to change.
  struct Piece {
    ValidInterval valid;
    RowIds old;
  };
  std::vector<Piece> PiecesOf(const RowIds& ids, int64_t row);
  /// A row to lay over pieces, whose entries in indexes are gone.
  struct Laid {
    std::shared_ptr<arrow::RecordBatch> fresh;
    RowIds valid;  ///< The time alone.
    std::vector<Piece> pieces;
  };
  /// Of keys that differ.
  void LayRows(std::span<const Laid> laid);

  /// Keeps them for triggers.
  void Changed(std::shared_ptr<arrow::RecordBatch> old, std::shared_ptr<arrow::RecordBatch> rows);
  void TellTriggers(TriggerEvent kind, std::vector<std::string> columns);

  duckdb::ClientContext& context_;
  db::Session& session_;
  LaminaTableEntry& table_;
  const std::string name_;
  const catalog::TableSchemaPtr schema_;
  const catalog::KeyCodec codec_;
  std::vector<IndexWriter> indexes_;
  ForeignKeyChecks foreign_keys_;
  std::vector<RowsOfEvent> changed_;  ///< Of a table with triggers.
};

}  // namespace lamina::sql
