#include "sql/table_writer.h"

#include <arrow/api.h>
#include <fmt/format.h>

#include "catalog/key_codec.h"
#include "catalog/schema.h"
#include "sql/error_translation.h"
#include "sql/vectors.h"

namespace lamina::sql {
namespace {

using duckdb::idx_t;

std::shared_ptr<arrow::Array> Times(duckdb::Vector& vector, int64_t count) {
  duckdb::UnifiedVectorFormat format;
  vector.ToUnifiedFormat(static_cast<idx_t>(count), format);
  const auto* values = duckdb::UnifiedVectorFormat::GetData<int64_t>(format);
  arrow::Int64Builder builder;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t value = values[format.sel->get_index(static_cast<idx_t>(i))];
    ThrowIfError(value == INT64_MAX || value == -INT64_MAX ? builder.AppendNull()
                                                           : builder.Append(value));
  }
  return ValueOrThrow(builder.Finish());
}

/// T3003 instead of the plain error.
Status AsKeyViolation(const LaminaTableEntry& table, const Status& status) {
  if (CodeOf(status) != ErrorCode::kAlreadyExists) return status;
  return MakeSqlError("T3003",
                      fmt::format("another row has this primary key: table={} cause={}", table.name,
                                  MessageOf(status)),
                      "INSERT … ON CONFLICT DO UPDATE or DO NOTHING says what to do then");
}

}  // namespace

RowIds RowIds::Of(const LaminaTableEntry& table, duckdb::DataChunk& chunk, idx_t first) {
  const auto count = static_cast<int64_t>(chunk.size());
  const auto& schema = *table.table().schema;
  RowIds out;
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  const auto read = [&](const std::shared_ptr<arrow::Field>& field) {
    fields.push_back(field);
    columns.push_back(ValueOrThrow(ToArray(chunk.data[first++], count, field->type())));
  };
  const auto batch = [&] {
    return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), count, std::move(columns));
  };
  if (table.table().key.empty())
    read(arrow::field(lamina::catalog::kRowIdColumn, arrow::int64(), false));
  for (const std::string& name : table.table().key) read(schema.GetFieldByName(name));
  out.keys = batch();
  out.valid_from = Times(chunk.data[first++], count);
  out.valid_to = Times(chunk.data[first++], count);
  fields.clear();
  columns.clear();
  for (const std::string& name : table.tracked_columns()) read(schema.GetFieldByName(name));
  out.tracked = batch();
  return out;
}

std::vector<std::string> RowIds::Texts() const {
  std::vector<std::string> out(static_cast<size_t>(keys->num_rows()));
  const auto add = [&](const arrow::Array& column) {
    for (size_t i = 0; i < out.size(); ++i) {
      const std::string text =
          column.IsNull(static_cast<int64_t>(i))
              ? std::string("-")
              : ValueOrThrow(column.GetScalar(static_cast<int64_t>(i)))->ToString();
      out[i] += fmt::format("{}:{}", text.size(), text);
    }
  };
  for (const auto& column : keys->columns()) add(*column);
  add(*valid_from);
  return out;
}

WriteOptions RowIds::Options() const {
  WriteOptions out;
  out.valid_from = valid_from;
  out.valid_to = valid_to;
  return out;
}

TableWriter::TableWriter(duckdb::ClientContext& context, LaminaTableEntry& table)
    : session_(LaminaTransaction::Get(context, table.catalog).data()),
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
    const std::shared_ptr<arrow::RecordBatch>& rows, const WriteOptions& options, bool insert) {
  if (!schema_->has_primary_key) {
    const int64_t first = ValueOrThrow(session_.Append(name_, rows, options));
    return indexes_.empty() ? nullptr : KeysFrom(first, rows->num_rows());
  }
  ThrowIfError(AsKeyViolation(
      table_, insert ? session_.Insert(name_, rows, options) : session_.Put(name_, rows, options)));
  return indexes_.empty() ? nullptr : KeysOf(*rows);
}

void TableWriter::Insert(const std::shared_ptr<arrow::RecordBatch>& rows) {
  const auto keys = Write(rows, {}, /*insert=*/true);
  for (const IndexWriter& index : indexes_)
    ThrowIfError(index.Add(ValueOrThrow(index.Entries(*rows, *keys)), {}));
  foreign_keys_.Written(*rows, {}, nullptr);
}

void TableWriter::Delete(std::span<const RowChange> changes) {
  for (const RowChange& change : changes) {
    const WriteOptions options = change.old.Options();
    if (!indexes_.empty()) {
      const auto keys = KeysOf(*change.old.keys);
      for (const IndexWriter& index : indexes_)
        ThrowIfError(
            index.Remove(ValueOrThrow(index.Entries(*change.old.tracked, *keys)), options));
    }
    ThrowIfError(session_.Delete(name_, change.old.keys, options));
    foreign_keys_.Gone(*change.old.tracked, options, nullptr);
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
    const RowChange& change = changes[c];
    const WriteOptions options = change.old.Options();
    const auto keys = Write(change.rows, options, /*insert=*/moves);
    for (size_t i = 0; i < indexes_.size() && !keyed; ++i)
      entries[c][i].fresh = ValueOrThrow(indexes_[i].Entries(*change.rows, *keys));
  }
  for (size_t c = 0; c < changes.size(); ++c) {
    const RowChange& change = changes[c];
    const WriteOptions options = change.old.Options();
    for (size_t i = 0; i < indexes_.size(); ++i)
      ThrowIfError(indexes_[i].Add(entries[c][i].fresh, options, &entries[c][i].changed));
    if (foreign_keys_.empty()) continue;
    foreign_keys_.Written(*change.rows, options, change.old.tracked.get());
    foreign_keys_.Gone(*change.old.tracked, options, change.rows.get());
  }
}

}  // namespace lamina::sql
