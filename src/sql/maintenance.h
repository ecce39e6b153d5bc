// ANALYZE and VACUUM of our tables.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lamina/connection.h"
#include "sql/duckdb_api.h"
#include "sql/lexer.h"

namespace lamina::sql {

/// Runs a query in the statement's transaction.
using RunQuery = std::function<Result<std::unique_ptr<SqlResult>>(const std::string& sql)>;

/// Runs a VacuumStatement, which `span` of `sql` says, and gives its tag; nullopt where the table
/// is one of DuckDB's own, which DuckDB cares for. Errors: T2001, T2002, T2016 (columns, or a
/// view), T5005 (VACUUM inside a transaction), those of the query and of commits.
Result<std::optional<std::string>> RunMaintenance(duckdb::ClientContext& context,
                                                  const duckdb::SQLStatement& statement,
                                                  std::string_view sql, const StatementSpan& span,
                                                  bool in_transaction, const RunQuery& query);

}  // namespace lamina::sql
