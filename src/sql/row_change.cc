#include "sql/row_change.h"

#include <arrow/api.h>
#include <fmt/format.h>

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

ValidInterval ValidOf(const arrow::Array& from, const arrow::Array& to, int64_t row) {
  const auto micros = [&](const arrow::Array& of, int64_t open) {
    return of.IsNull(row) ? open : of.data()->GetValues<int64_t>(1)[row];
  };
  return {{micros(from, INT64_MIN)}, {micros(to, INT64_MAX)}};
}

ValidInterval RowIds::ValidOf(int64_t row) const {
  return sql::ValidOf(*valid_from, *valid_to, row);
}

void RowIds::SetValid(const ValidInterval& valid) {
  const auto array = [](int64_t micros, int64_t open) {
    arrow::Int64Builder builder;
    ThrowIfError(micros == open ? builder.AppendNull() : builder.Append(micros));
    return ValueOrThrow(builder.Finish());
  };
  valid_from = array(valid.from.micros, INT64_MIN);
  valid_to = array(valid.to.micros, INT64_MAX);
}

}  // namespace lamina::sql
