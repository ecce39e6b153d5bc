// Reading a table for DuckDB: projection and filters go down to the database, rows come up as
// vectors.
#pragma once

#include "sql/table_entry.h"

namespace lamina::sql {

duckdb::TableFunction MakeScanFunction(LaminaTableEntry& table,
                                       duckdb::unique_ptr<duckdb::FunctionData>* bind_data);

}  // namespace lamina::sql
