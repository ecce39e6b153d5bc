// Reading a table for DuckDB: projection and filters go down to the database, rows come up as
// vectors.
#pragma once

#include <memory>

#include <arrow/array.h>

#include "sql/duckdb_api.h"
#include "sql/moment.h"
#include "sql/plan_guide.h"
#include "sql/table_entry.h"

namespace lamina::sql {

/// Reads `table` at `moment`.
duckdb::TableFunction MakeScanFunction(LaminaTableEntry& table, Moment moment,
                                       duckdb::unique_ptr<duckdb::FunctionData>* bind_data);

/// The table that `get` reads; null when it is none of ours.
LaminaTableEntry* ScannedTable(const duckdb::LogicalGet& get);
/// The same, but null when it is read by an index, or its columns are not to be read late.
LaminaTableEntry* ScannedWhole(const duckdb::LogicalGet& get);
/// What `get`, which reads a table of ours, reads it at.
const Moment& MomentOf(const duckdb::LogicalGet& get);
/// What a plan reads the rows of `table` at that an UPDATE or DELETE changes.
Moment TargetMoment(const duckdb::PhysicalOperator& plan, const LaminaTableEntry& table);
/// Before `get`, which reads a table of ours, is optimized.
void GuideScan(duckdb::LogicalGet& get, std::shared_ptr<const PlanGuide> guide);

/// Values of a column, as the database gives them, for SQL.
void ToColumn(const std::shared_ptr<arrow::Array>& from, duckdb::column_t column, int64_t offset,
              int64_t count, duckdb::Vector* to);

}  // namespace lamina::sql
