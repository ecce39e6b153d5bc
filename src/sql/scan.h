// Reading a table for DuckDB: projection and filters go down to the database, rows come up as
// vectors.
#pragma once

#include <memory>

#include <arrow/array.h>

#include "sql/duckdb_api.h"
#include "sql/table_entry.h"

namespace lamina::sql {

duckdb::TableFunction MakeScanFunction(LaminaTableEntry& table,
                                       duckdb::unique_ptr<duckdb::FunctionData>* bind_data);

/// The table, when `get` reads it by no index; else null.
LaminaTableEntry* ScannedWhole(const duckdb::LogicalGet& get);

/// Values of a column, as the database gives them, for SQL.
void ToColumn(const std::shared_ptr<arrow::Array>& from, duckdb::column_t column, int64_t offset,
              int64_t count, duckdb::Vector* to);

}  // namespace lamina::sql
