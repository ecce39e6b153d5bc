// The functions that DuckDB lacks: docs/guide/functions.md is their list.
#pragma once

#include <duckdb/main/extension/extension_loader.hpp>

#include "sql/duckdb_api.h"

namespace lamina::sql {

/// Puts them beside DuckDB's own, so that they are found whatever schema is current. Throws.
void RegisterFunctions(duckdb::DatabaseInstance& instance);

// Parts of it, a file each.
void RegisterMacros(duckdb::ExtensionLoader& loader);
void RegisterJson(duckdb::ExtensionLoader& loader);
void RegisterJsonDepth(duckdb::ExtensionLoader& loader);
void RegisterSequences(duckdb::ExtensionLoader& loader);
void RegisterOverloads(duckdb::ExtensionLoader& loader);
void RegisterToChar(duckdb::ExtensionLoader& loader);
void RegisterStrictDivision(duckdb::ExtensionLoader& loader);
void RegisterPlanFunctions(duckdb::ExtensionLoader& loader);
void RegisterTimeTravel(duckdb::ExtensionLoader& loader);
void RegisterPeriods(duckdb::ExtensionLoader& loader);
void RegisterTriggers(duckdb::ExtensionLoader& loader);

/// Throws T4013 for a text of JSON that recursion should not be let into.
void CheckJsonDepth(std::string_view text);

}  // namespace lamina::sql
