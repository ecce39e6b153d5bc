// Settings of ours (query_timeout, query_max_memory, strict_mode), and those of DuckDB that nobody
// may change. docs/guide/sql.md says what they mean.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lamina/error.h"
#include "sql/duckdb_api.h"
#include "sql/lexer.h"

namespace lamina::sql {

/// Puts ours beside DuckDB's. Throws.
void RegisterSettings(duckdb::DatabaseInstance& instance);

/// As they hold for the session now.
struct SessionSettings {
  int64_t query_timeout_micros = 0;  ///< 0: none.
  std::optional<uint64_t> query_max_memory;
};
SessionSettings ReadSettings(const duckdb::ClientContext& context);
bool IsStrict(const duckdb::ClientContext& context);

/// "10ms", "5s", "1.5 minutes"; a plain number counts milliseconds. Nullopt: no duration.
std::optional<int64_t> ParseDuration(std::string_view text);
/// "64MB", "1.5GiB"; a plain number counts bytes. Nullopt: no size.
std::optional<uint64_t> ParseByteSize(std::string_view text);

/// SHOW name and SHOW ALL, for settings: the query that answers it. A table of that name goes
/// first, which DuckDB's SHOW is for. Nullopt: it is none.
std::optional<std::string> ShowSetting(duckdb::ClientContext& context, std::string_view sql,
                                       const StatementSpan& span);

/// Refuses a statement that would take LaminaDB's safety away (SET, RESET, PRAGMA, INSTALL, LOAD),
/// and gives SET temp_directory a private folder.
Status AdaptSettings(duckdb::ClientContext& context,
                     duckdb::unique_ptr<duckdb::SQLStatement>* statement);

}  // namespace lamina::sql
