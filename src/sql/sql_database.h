// A database with a DuckDB instance over it.
#pragma once

#include <memory>

#include "lamina/connection.h"
#include "sql/duckdb_api.h"

namespace lamina::sql {

/// The name of our catalogue in DuckDB.
inline constexpr char kCatalogName[] = "lamina";

/// Makes the DuckDB instance whose main database is `database` (attached as kCatalogName), which
/// must outlive it. Throws DuckDB's exceptions.
std::unique_ptr<duckdb::DuckDB> MakeInstance(Database* database);

/// A connection over the instance; keeps `owner` alive, which keeps the other two.
Result<std::unique_ptr<Connection>> MakeConnection(std::shared_ptr<SqlDatabase> owner,
                                                   duckdb::DuckDB* instance);

}  // namespace lamina::sql
