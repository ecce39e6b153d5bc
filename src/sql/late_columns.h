// Late materialization: a query that keeps few of many rows (ORDER BY … LIMIT, LIMIT … OFFSET)
// reads the columns that decide which ones they are, and the other columns of these alone, by their
// keys.
//
// The same in the engines that have it: Abadi et al., "Materialization Strategies in a
// Column-Oriented DBMS" (ICDE 2007). DuckDB's own joins the table with itself by row ids, which for
// us are keys: a lookup by key is what we have that is quick.
#pragma once

#include "sql/duckdb_api.h"

namespace lamina::sql {

/// Rewrites plans at the end of optimizing; SET disabled_optimizers = 'late_materialization' turns
/// it off.
void RegisterLateColumns(duckdb::DBConfig& config);

}  // namespace lamina::sql
