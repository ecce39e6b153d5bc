// How columns lie in a data file: names, field ids, and the types Parquet holds for the table's
// types.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <arrow/array.h>
#include <arrow/type.h>

#include "catalog/schema.h"

namespace lamina::storage::sst {

/// Field ids of the time columns: far above any table's own, below the ids that Iceberg reserves.
std::optional<catalog::ColumnId> TimeColumnId(std::string_view name);

/// The type a column is handed to Parquet with. Equal to `type` but where Parquet would change
/// values or refuse: seconds have no unit there (timestamp[s] -> int64, time32[s] -> int32) and
/// date64 loses its milliseconds (-> int64), as arrow-rs writes them; extensions become their
/// storage; a dictionary becomes its values. Nested types are changed inside.
std::shared_ptr<arrow::DataType> TypeAtRest(const std::shared_ptr<arrow::DataType>& type);

/// `array` with another type over the same buffers: between a type and its TypeAtRest, and between
/// types that differ only in the names, nullability or metadata of nested fields. kInternal when
/// the memory would not fit.
Result<std::shared_ptr<arrow::Array>> ViewAs(const std::shared_ptr<arrow::Array>& array,
                                             const std::shared_ptr<arrow::DataType>& type);

/// ViewAs, or a cast where the memory differs (dictionaries).
Result<std::shared_ptr<arrow::Array>> Convert(const std::shared_ptr<arrow::Array>& array,
                                              const std::shared_ptr<arrow::DataType>& type);

/// The value of the Parquet metadata key "ARROW:schema".
Result<std::string> EncodeArrowSchema(const arrow::Schema& schema);
Result<std::shared_ptr<arrow::Schema>> DecodeArrowSchema(const std::string& value);

}  // namespace lamina::storage::sst
