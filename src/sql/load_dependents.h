// What follows from rows that are loaded (db::TableLoad): entries of the table's indexes, in loads
// of their own, and the checks of its foreign keys.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "catalog/schema.h"
#include "db/table_load.h"
#include "sql/foreign_keys.h"
#include "sql/index_writer.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"

namespace lamina::sql {

/// The entries of one index, of rows that are valid for all time.
class IndexLoad {
 public:
  using Piece = db::TableLoad::Piece;

  /// `rows_are_new`: no row of the table has a key of those that come. Throws; the caller holds the
  /// transaction's mutex. Borrows the session and the index.
  IndexLoad(db::Session& session, const catalog::TableSchema& base, const IndexDefinition& index,
            bool rows_are_new, std::function<bool()> cancelled);

  const IndexDefinition& index() const { return writer_.index(); }
  /// Rows with their encoded keys; some hundred thousand a call make good files. Thread-safe.
  /// T3002.
  Status Write(std::span<const Piece> rows);
  /// The caller holds the transaction's mutex. T3002.
  Status Finish();
  /// After Finish.
  Result<bool> Contains(std::string_view entry) const { return load_->Contains(entry); }

 private:
  const IndexWriter writer_;
  const std::shared_ptr<arrow::Schema> schema_;
  const std::unique_ptr<db::TableLoad> load_;
};

/// All of a table's. Everything throws.
class LoadDependents {
 public:
  /// The caller holds the transaction's mutex.
  LoadDependents(LaminaTransaction& transaction, const LaminaTableEntry& table,
                 std::function<bool()> cancelled);

  /// What the load writes in one call, once it did. Thread-safe. T3002, T3005.
  void Write(std::span<const db::TableLoad::Piece> rows);
  /// When `rows` has finished. The caller holds the transaction's mutex. T3002, T3005.
  void Finish(const db::TableLoad& rows);

 private:
  LaminaTransaction& transaction_;
  const LaminaTableEntry& table_;
  std::deque<IndexLoad> indexes_;
  ForeignKeyChecks foreign_keys_;  // under the transaction's mutex
};

}  // namespace lamina::sql
