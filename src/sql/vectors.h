// Columns between Arrow and DuckDB.
#pragma once

#include <memory>

#include <arrow/array.h>

#include "lamina/error.h"
#include "sql/duckdb_api.h"

namespace lamina::sql {

/// Makes `out` (a fresh vector of its type) show rows [offset, offset + count) of `array`, whose
/// type is one that FromStorage maps to the vector's. Fixed-width values and texts are not copied:
/// the vector keeps `array` alive. `count` is at most the vector's capacity. Throws.
void ToVector(const std::shared_ptr<arrow::Array>& array, int64_t offset, int64_t count,
              duckdb::Vector* out);

/// The first `count` values of the vector as an array of `type`, copied. Errors: T4008 for a value
/// that the type at rest cannot hold.
Result<std::shared_ptr<arrow::Array>> ToArray(duckdb::Vector& vector, int64_t count,
                                              const std::shared_ptr<arrow::DataType>& type);

}  // namespace lamina::sql
