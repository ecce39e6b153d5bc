#include "sql/table_writer.h"

#include <algorithm>
#include <deque>
#include <numeric>
#include <unordered_set>
#include <utility>

#include <arrow/api.h>
#include <fmt/format.h>

#include "catalog/key_codec.h"
#include "catalog/schema.h"
#include "sql/error_translation.h"
#include "sql/period_columns.h"
#include "sql/row_checks.h"

namespace lamina::sql {
namespace {

std::vector<int> FirstColumns(size_t count) {
  std::vector<int> out(count);
  std::iota(out.begin(), out.end(), 0);
  return out;
}

}  // namespace

Status AsKeyViolation(const LaminaTableEntry& table, const Status& status) {
  if (CodeOf(status) != ErrorCode::kAlreadyExists) return status;
  return MakeSqlError("T3003",
                      fmt::format("another row has this primary key: table={} cause={}", table.name,
                                  MessageOf(status)),
                      "INSERT … ON CONFLICT DO UPDATE or DO NOTHING says what to do then");
}

TableWriter::TableWriter(duckdb::ClientContext& context, LaminaTableEntry& table)
    : context_(context),
      session_(LaminaTransaction::Get(context, table.catalog).data()),
      table_(table),
      name_(table.table().name),
      schema_(session_.FindTable(name_)),
      codec_(*schema_),
      foreign_keys_(LaminaTransaction::Get(context, table.catalog), table) {
  for (const IndexDefinition& index : table.dependents().indexes)
    indexes_.emplace_back(session_, *schema_, index);
}

std::shared_ptr<arrow::BinaryArray> TableWriter::KeysOf(const arrow::RecordBatch& rows) const {
  return ValueOrThrow(codec_.Encode(rows));
}

std::shared_ptr<arrow::BinaryArray> TableWriter::KeysFrom(int64_t first_row_id,
                                                          int64_t count) const {
  arrow::Int64Builder ids;
  for (int64_t i = 0; i < count; ++i) ThrowIfError(ids.Append(first_row_id + i));
  return KeysOf(*arrow::RecordBatch::Make(
      arrow::schema({arrow::field(lamina::catalog::kRowIdColumn, arrow::int64(), false)}), count,
      {ValueOrThrow(ids.Finish())}));
}

std::shared_ptr<arrow::BinaryArray> TableWriter::Write(
    const std::shared_ptr<arrow::RecordBatch>& said, const WriteOptions& valid, bool insert) {
  // The database takes the valid time of a table with a period from its columns.
  const bool period = HasPeriod(table_);
  const auto rows = period ? WithPeriod(table_, said, valid) : said;
  const WriteOptions options = period ? WriteOptions() : valid;
  if (!schema_->has_primary_key) {
    const int64_t first = ValueOrThrow(session_.Append(name_, rows, options));
    return indexes_.empty() ? nullptr : KeysFrom(first, rows->num_rows());
  }
  ThrowIfError(AsKeyViolation(
      table_, insert ? session_.Insert(name_, rows, options) : session_.Put(name_, rows, options)));
  return indexes_.empty() ? nullptr : KeysOf(*rows);
}

void TableWriter::Changed(std::shared_ptr<arrow::RecordBatch> old,
                          std::shared_ptr<arrow::RecordBatch> rows) {
  if (!table_.dependents().triggers.empty()) changed_.push_back({std::move(old), std::move(rows)});
}

void TableWriter::TellTriggers(TriggerEvent kind, std::vector<std::string> columns) {
  if (table_.dependents().triggers.empty()) return;
  LaminaTransaction::Get(context_, table_.catalog)
      .events()
      .Add(context_.transaction.GetActiveQuery(),
           {&table_, kind, std::move(columns), std::exchange(changed_, {})});
}

void TableWriter::Insert(const std::shared_ptr<arrow::RecordBatch>& rows,
                         const WriteOptions& valid) {
  Changed(nullptr, rows);
  const auto keys = Write(rows, valid, /*insert=*/true);
  for (const IndexWriter& index : indexes_)
    ThrowIfError(index.Add(ValueOrThrow(index.Entries(*rows, *keys)), valid));
  foreign_keys_.Written(*rows, valid, nullptr);
}

std::vector<TableWriter::Piece> TableWriter::PiecesOf(const RowIds& ids, int64_t row) {
  const ValidInterval within = ids.ValidOf(row);
  const auto key = ids.keys->Slice(row, 1);
  std::vector<std::string> columns = table_.tracked_columns();
  columns.push_back(lamina::catalog::kValidFromColumn);
  columns.push_back(lamina::catalog::kValidToColumn);
  const auto encoded = KeysOf(*key);
  const auto there = ValueOrThrow(session_.GetEncoded(
      name_, encoded->GetView(0), {}, ValidPeriod::FromTo(within.from, within.to), columns));
  std::vector<Piece> out;
  for (int64_t i = 0; i < there->num_rows(); ++i) {
    const auto one = there->Slice(i, 1);
    Piece piece;
    piece.valid = ValidOf(*one->GetColumnByName(lamina::catalog::kValidFromColumn),
                          *one->GetColumnByName(lamina::catalog::kValidToColumn), 0);
    piece.valid.from = std::max(piece.valid.from, within.from);
    piece.valid.to = std::min(piece.valid.to, within.to);
    piece.old.keys = key;
    piece.old.SetValid(piece.valid);
    piece.old.tracked =
        ValueOrThrow(one->SelectColumns(FirstColumns(table_.tracked_columns().size())));
    out.push_back(std::move(piece));
  }
  std::sort(out.begin(), out.end(),
            [](const Piece& x, const Piece& y) { return x.valid.from < y.valid.from; });
  return out;
}

void TableWriter::Lay(std::span<const RowChange> changes) {
  // As in Update: first everything goes that changes.
  std::vector<Laid> laid;
  std::unordered_set<std::string> laid_keys;
  const auto write = [&] {
    LayRows(laid);
    laid.clear();
    laid_keys.clear();
  };
  for (const RowChange& change : changes) {
    const auto encoded = KeysOf(*change.old.keys);
    for (int64_t i = 0; i < change.rows->num_rows(); ++i) {
      CheckInterrupted(context_);
      // A key that comes again finds what it said before.
      if (!laid_keys.insert(encoded->GetString(i)).second) {
        write();
        laid_keys.insert(encoded->GetString(i));
      }
      Laid row{change.rows->Slice(i, 1), {}, PiecesOf(change.old, i)};
      row.valid.SetValid(change.old.ValidOf(i));
      for (const Piece& piece : row.pieces) {
        const auto keys = KeysOf(*piece.old.keys);
        for (const IndexWriter& index : indexes_)
          ThrowIfError(index.Remove(ValueOrThrow(index.Entries(*piece.old.tracked, *keys)),
                                    piece.old.Options()));
      }
      laid.push_back(std::move(row));
    }
  }
  write();
}

void TableWriter::LayRows(std::span<const Laid> laid) {
  for (const Laid& row : laid) Write(row.fresh, row.valid.Options(), /*insert=*/false);
  for (const Laid& row : laid) {
    CheckInterrupted(context_);
    const auto keys = KeysOf(*row.fresh);
    for (const IndexWriter& index : indexes_)
      ThrowIfError(index.Add(ValueOrThrow(index.Entries(*row.fresh, *keys)), row.valid.Options()));
    for (const Piece& piece : row.pieces) {
      Changed(piece.old.tracked, row.fresh);
      foreign_keys_.Gone(*piece.old.tracked, piece.old.Options(), row.fresh.get());
    }
    if (row.pieces.empty()) Changed(nullptr, row.fresh);
    foreign_keys_.Written(*row.fresh, row.valid.Options(), nullptr);
  }
}

std::vector<int64_t> TableWriter::InsertWhereFree(const RowChange& change) {
  std::vector<int64_t> out;
  for (int64_t row = 0; row < change.rows->num_rows(); ++row) {
    CheckInterrupted(context_);
    if (!PiecesOf(change.old, row).empty()) continue;
    RowIds valid;
    valid.SetValid(change.old.ValidOf(row));
    Insert(change.rows->Slice(row, 1), valid.Options());
    out.push_back(row);
  }
  return out;
}

void TableWriter::End(std::span<const RowChange> changes) {
  std::vector<RowChange> ended;
  for (const RowChange& change : changes) {
    for (int64_t row = 0; row < change.old.keys->num_rows(); ++row) {
      CheckInterrupted(context_);
      for (Piece& piece : PiecesOf(change.old, row))
        ended.push_back({std::move(piece.old), nullptr});
    }
  }
  Delete(ended);
}

void TableWriter::Delete(std::span<const RowChange> changes) {
  for (const RowChange& change : changes) {
    CheckInterrupted(context_);
    const WriteOptions options = change.old.Options();
    if (!indexes_.empty()) {
      const auto keys = KeysOf(*change.old.keys);
      for (const IndexWriter& index : indexes_)
        ThrowIfError(
            index.Remove(ValueOrThrow(index.Entries(*change.old.tracked, *keys)), options));
    }
    ThrowIfError(session_.Delete(name_, change.old.keys, options));
    foreign_keys_.Gone(*change.old.tracked, options, nullptr);
    Changed(change.old.tracked, nullptr);
  }
}

void TableWriter::Update(std::span<const RowChange> changes, bool moves) {
  // First everything goes that changes, then comes what is new: a value may move from row to row.
  struct Entries {
    IndexEntries fresh;
    std::vector<int64_t> changed;
  };
  std::vector<std::vector<Entries>> entries(changes.size());
  const bool keyed = schema_->has_primary_key;
  for (size_t c = 0; c < changes.size(); ++c) {
    CheckInterrupted(context_);
    const RowChange& change = changes[c];
    const WriteOptions options = change.old.Options();
    if (!indexes_.empty()) {
      const auto old_keys = KeysOf(*change.old.keys);
      // Rows of a table without a key are given new row ids when they are written.
      const auto new_keys = keyed ? KeysOf(*change.rows) : nullptr;
      for (const IndexWriter& index : indexes_) {
        const auto old = ValueOrThrow(index.Entries(*change.old.tracked, *old_keys));
        Entries of;
        if (keyed) of.fresh = ValueOrThrow(index.Entries(*change.rows, *new_keys));
        for (size_t row = 0; row < old.size(); ++row) {
          if (keyed && old.entries[row] == of.fresh.entries[row] &&
              old.rows[row] == of.fresh.rows[row])
            continue;
          of.changed.push_back(static_cast<int64_t>(row));
        }
        ThrowIfError(index.Remove(old, options, &of.changed));
        entries[c].push_back(std::move(of));
      }
    }
    if (moves) ThrowIfError(session_.Delete(name_, change.old.keys, options));
  }
  for (size_t c = 0; c < changes.size(); ++c) {
    CheckInterrupted(context_);
    const RowChange& change = changes[c];
    const WriteOptions options = change.old.Options();
    const auto keys = Write(change.rows, options, /*insert=*/moves);
    for (size_t i = 0; i < indexes_.size() && !keyed; ++i)
      entries[c][i].fresh = ValueOrThrow(indexes_[i].Entries(*change.rows, *keys));
  }
  for (size_t c = 0; c < changes.size(); ++c) {
    CheckInterrupted(context_);
    const RowChange& change = changes[c];
    const WriteOptions options = change.old.Options();
    for (size_t i = 0; i < indexes_.size(); ++i)
      ThrowIfError(indexes_[i].Add(entries[c][i].fresh, options, &entries[c][i].changed));
    Changed(change.old.tracked, change.rows);
    if (foreign_keys_.empty()) continue;
    foreign_keys_.Written(*change.rows, options, change.old.tracked.get());
    foreign_keys_.Gone(*change.old.tracked, options, change.rows.get());
  }
}

void TableWriter::Finish(TriggerEvent kind, std::vector<std::string> set) {
  // What an action changes may have actions of its own: level by level, then all checks.
  std::deque<TableWriter> others;
  std::vector<TableWriter*> writers = {this};
  struct Said {
    TriggerEvent kind;
    std::vector<std::string> columns;
  };
  std::vector<Said> said = {{kind, std::move(set)}};
  for (size_t i = 0; i < writers.size(); ++i) {
    for (ReferenceChange& change : writers[i]->foreign_keys_.Act(context_)) {
      TableWriter& other = others.emplace_back(context_, *change.table);
      writers.push_back(&other);
      said.push_back({change.change.rows == nullptr ? TriggerEvent::kDelete : TriggerEvent::kUpdate,
                      change.columns});
      if (change.change.rows == nullptr) {
        other.Delete({&change.change, 1});
        continue;
      }
      RowChecks(context_, *change.table).Check(context_, *change.change.rows);
      const auto& key = change.table->table().key;
      const bool moves =
          key.empty() || std::any_of(key.begin(), key.end(), [&](const std::string& column) {
            return std::find(change.columns.begin(), change.columns.end(), column) !=
                   change.columns.end();
          });
      other.Update({&change.change, 1}, moves);
    }
  }
  for (TableWriter* writer : writers) writer->foreign_keys_.Check(context_);
  for (size_t i = 0; i < writers.size(); ++i)
    writers[i]->TellTriggers(said[i].kind, std::move(said[i].columns));
}

}  // namespace lamina::sql
