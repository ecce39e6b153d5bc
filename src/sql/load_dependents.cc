#include "sql/load_dependents.h"

#include <utility>

#include "sql/error_translation.h"

namespace lamina::sql {

IndexLoad::IndexLoad(db::Session& session, const catalog::TableSchema& base,
                     const IndexDefinition& index, bool rows_are_new,
                     std::function<bool()> cancelled)
    : writer_(session, base, index),
      schema_(session.FindTable(index.storage)->ToArrow()),
      // An entry that is not of a unique index names its row, which is new.
      load_(ValueOrThrow(session.BeginLoad(
          index.storage,
          {.cancelled = std::move(cancelled), .keys_are_new = rows_are_new && !index.unique}))) {}

Status IndexLoad::Write(std::span<const Piece> rows) {
  std::vector<Piece> out;
  for (const Piece& piece : rows) {
    ARROW_ASSIGN_OR_RAISE(const auto entries, writer_.Entries(*piece.rows, *piece.keys));
    ARROW_ASSIGN_OR_RAISE(const auto batch, ToBatch(entries, *schema_));
    ARROW_ASSIGN_OR_RAISE(auto prepared, load_->Prepare(batch));
    out.push_back(std::move(prepared));
  }
  return writer_.AsViolation(load_->Write(out));
}

Status IndexLoad::Finish() { return writer_.AsViolation(load_->Finish()); }

LoadDependents::LoadDependents(LaminaTransaction& transaction, const LaminaTableEntry& table,
                               std::function<bool()> cancelled)
    : transaction_(transaction), table_(table), foreign_keys_(transaction, table) {
  db::Session& session = transaction.data();
  const auto schema = session.FindTable(table.table().name);
  for (const IndexDefinition& index : table.dependents().indexes)
    indexes_.emplace_back(session, *schema, index, /*rows_are_new=*/true, cancelled);
}

void LoadDependents::Write(std::span<const db::TableLoad::Piece> rows) {
  for (IndexLoad& index : indexes_) ThrowIfError(index.Write(rows));
  if (foreign_keys_.empty()) return;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (const auto& piece : rows) batches.push_back(piece.rows);
  const LaminaTransaction::Lock lock(transaction_);
  foreign_keys_.Loading(batches);
}

void LoadDependents::Finish(const db::TableLoad& rows) {
  for (IndexLoad& index : indexes_) ThrowIfError(index.Finish());
  foreign_keys_.Loaded([&](const std::string& table, std::string_view key) {
    if (table == table_.table().name) return ValueOrThrow(rows.Contains(key));
    for (const IndexLoad& index : indexes_)
      if (index.index().storage == table) return ValueOrThrow(index.Contains(key));
    return false;
  });
}

}  // namespace lamina::sql
