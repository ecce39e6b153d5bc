#include "storage/sst/row_batch.h"

#include <arrow/type.h>

namespace lamina::storage::sst {

std::shared_ptr<arrow::DataType> TimeType() {
  static const std::shared_ptr<arrow::DataType> type =
      arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  return type;
}

std::shared_ptr<arrow::Schema> RowBatchSchema(const catalog::TableSchema& table) {
  const std::shared_ptr<arrow::Schema> storage = table.StorageSchema();
  arrow::FieldVector fields = storage->fields();
  for (const char* name : {catalog::kValidFromColumn, catalog::kValidToColumn,
                           catalog::kSystemFromColumn, catalog::kSystemToColumn}) {
    fields.push_back(arrow::field(name, TimeType(), /*nullable=*/false));
  }
  fields.push_back(arrow::field(catalog::kCommitColumn, arrow::int64(), /*nullable=*/false));
  return arrow::schema(std::move(fields), storage->metadata());
}

TimeColumns TimeColumns::Of(const arrow::RecordBatch& batch) {
  const auto values = [&batch](const char* name) -> const int64_t* {
    const int index = batch.schema()->GetFieldIndex(name);
    if (index < 0) {
      return nullptr;
    }
    const arrow::ArrayData& data = *batch.column_data(index);
    return data.type->id() == arrow::Type::TIMESTAMP || data.type->id() == arrow::Type::INT64
               ? data.GetValues<int64_t>(1)
               : nullptr;
  };
  return {.valid_from = values(catalog::kValidFromColumn),
          .valid_to = values(catalog::kValidToColumn),
          .system_from = values(catalog::kSystemFromColumn),
          .system_to = values(catalog::kSystemToColumn),
          .commit = values(catalog::kCommitColumn)};
}

}  // namespace lamina::storage::sst
