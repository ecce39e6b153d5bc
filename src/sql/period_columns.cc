#include "sql/period_columns.h"

#include <arrow/api.h>
#include <fmt/format.h>

#include "catalog/schema.h"
#include "sql/error_translation.h"

namespace lamina::sql {
namespace {

using duckdb::idx_t;

/// Microseconds, with `open` for an open end.
int64_t MicrosAt(const std::shared_ptr<arrow::Array>& times, int64_t row, int64_t otherwise,
                 int64_t open) {
  if (times == nullptr) return otherwise;
  return times->IsNull(row) ? open : times->data()->GetValues<int64_t>(1)[row];
}

void SetTimes(const std::shared_ptr<arrow::Array>& times, int64_t open, idx_t count,
              duckdb::Vector* out) {
  duckdb::Vector fresh(out->GetType(), std::max<idx_t>(count, STANDARD_VECTOR_SIZE));
  auto* to = duckdb::FlatVector::GetData<int64_t>(fresh);
  for (idx_t i = 0; i < count; ++i) to[i] = MicrosAt(times, static_cast<int64_t>(i), open, open);
  out->Reference(fresh);
}

}  // namespace

bool HasPeriod(const LaminaTableEntry& table) {
  return !table.table().options.period_from_column.empty();
}

bool IsOfPeriod(const LaminaTableEntry& table, const std::string& column) {
  const TableOptions& options = table.table().options;
  return HasPeriod(table) &&
         (column == options.period_from_column || column == options.period_to_column);
}

duckdb::column_t ReadAs(const LaminaTableEntry& table, duckdb::column_t column) {
  const bool own = column < kHiddenColumns || column >= kTrackedStart;
  if (!own || column >= duckdb::COLUMN_IDENTIFIER_EMPTY || !HasPeriod(table)) return column;
  const std::string name = table.StorageName(column);
  if (name == catalog::kValidFromColumn) return kValidFrom;
  return name == catalog::kValidToColumn ? kValidTo : column;
}

std::string PeriodText(const LaminaTableEntry& table) {
  const TableOptions& options = table.table().options;
  return fmt::format("{}, {}", options.period_from_column, options.period_to_column);
}

std::pair<idx_t, idx_t> PeriodPlaces(const LaminaTableEntry& table) {
  const TableOptions& options = table.table().options;
  const auto place = [&](const std::string& name) {
    return table.GetColumns().GetColumn(name).Physical().index;
  };
  return {place(options.period_from_column), place(options.period_to_column)};
}

void SetPeriod(const LaminaTableEntry& table, const RowIds& valid, duckdb::DataChunk* rows) {
  const auto [from, to] = PeriodPlaces(table);
  SetTimes(valid.valid_from, -INT64_MAX, rows->size(), &rows->data[from]);
  SetTimes(valid.valid_to, INT64_MAX, rows->size(), &rows->data[to]);
}

std::shared_ptr<arrow::RecordBatch> WithPeriod(const LaminaTableEntry& table,
                                               const std::shared_ptr<arrow::RecordBatch>& rows,
                                               const WriteOptions& valid) {
  auto out = rows;
  const auto set = [&](const std::string& name, const std::shared_ptr<arrow::Array>& times,
                       int64_t otherwise, int64_t open) {
    const int at = out->schema()->GetFieldIndex(name);
    const auto& field = out->schema()->field(at);
    arrow::TimestampBuilder builder(field->type(), arrow::default_memory_pool());
    for (int64_t row = 0; row < rows->num_rows(); ++row)
      ThrowIfError(builder.Append(MicrosAt(times, row, otherwise, open)));
    out = ValueOrThrow(out->SetColumn(at, field, ValueOrThrow(builder.Finish())));
  };
  const TableOptions& options = table.table().options;
  // The ends that the database has for open: also a column that is NOT NULL holds them.
  set(options.period_from_column, valid.valid_from, valid.valid.from.micros, INT64_MIN);
  set(options.period_to_column, valid.valid_to, valid.valid.to.micros, INT64_MAX);
  return out;
}

}  // namespace lamina::sql
