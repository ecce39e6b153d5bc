// Plans of statements that are given as texts and not run.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "sql/duckdb_api.h"

namespace lamina::sql {

/// The plan of one SELECT, INSERT, UPDATE, DELETE or MERGE. `optimized` (may be null): it is, as it
/// has no parameters. Within a transaction. Throws, with places in `text` moved by `at` (nullopt:
/// without places). T4007 when it is not one statement, T4009 for others.
duckdb::unique_ptr<duckdb::LogicalOperator> PlanQuery(duckdb::ClientContext& context,
                                                      std::string_view text,
                                                      std::optional<size_t> at,
                                                      bool* optimized = nullptr);

}  // namespace lamina::sql
