// Single values between the public face and DuckDB.
#pragma once

#include "lamina/connection.h"
#include "sql/duckdb_api.h"

namespace lamina::sql {

/// Throws (DuckDB's exceptions) when the text does not fit the type.
duckdb::Value ToDuckDB(duckdb::ClientContext& context, const SqlValue& value);
SqlValue FromDuckDB(const duckdb::Value& value);

}  // namespace lamina::sql
