// strict_mode: what DuckDB lets pass in silence is an error. Divisors are looked at
// (functions/strict_division.cc); where an INSERT or UPDATE converts a value for its column, the
// value has to come back from there as it was; an INSERT names every column that has no default.
#pragma once

#include <duckdb/main/extension/extension_loader.hpp>

#include "sql/duckdb_api.h"

namespace lamina::sql {

/// Rewrites the plans of sessions that are strict, before DuckDB optimizes them.
void RegisterStrictMode(duckdb::DBConfig& config);
/// Of a statement that such a session may run, before it is bound: a CAST that stands for a whole
/// value is meant, whatever it changes.
void MarkMeantConversions(duckdb::SQLStatement& statement);
/// The functions that such plans call; for nobody else.
void RegisterStrictFunctions(duckdb::ExtensionLoader& loader);

}  // namespace lamina::sql
