// Table functions that are queries: DuckDB plans the query in the function's place.
#pragma once

#include <string>

#include "sql/duckdb_api.h"

namespace lamina::sql {

/// A name as it stands in a query, whatever letters it has.
std::string QuotedName(const std::string& name);

/// `query` is our own text, with names quoted and values as literals.
duckdb::unique_ptr<duckdb::TableRef> QueryAsTable(duckdb::ClientContext& context,
                                                  const std::string& query, const char* alias);

duckdb::TableFunction QueryFunction(const char* name, duckdb::vector<duckdb::LogicalType> arguments,
                                    duckdb::table_function_bind_replace_t replace);

}  // namespace lamina::sql
