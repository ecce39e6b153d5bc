// Settings of ours beside DuckDB's (SET, RESET, SHOW, current_setting, duckdb_settings), and those
// of DuckDB that a session may not change.
#pragma once

#include <cstdint>
#include <string>

#include "lamina/error.h"
#include "sql/duckdb_api.h"
#include "sql/lexer.h"

namespace lamina::sql {

/// Of one session.
struct SessionSettings {
  int64_t query_timeout_micros = 0;  ///< 0: none.
  uint64_t query_max_memory = 0;     ///< Bytes; 0: none of its own.
  bool strict_mode = false;
};

/// Makes them known to an instance that is about to be made.
void RegisterSettings(duckdb::DBConfig& config);

/// T4009, T5007 or T6001 for SET, RESET and PRAGMA of what must stay as it is, and for INSTALL.
Status CheckSetting(const duckdb::SQLStatement& statement);

/// SHOW name, where that is a setting and no table: the query for its value. Else "".
std::string ShowSetting(duckdb::ClientContext& context, const StatementSpan& span,
                        std::string_view text);

/// "10ms", "1.5 s", "2 minutes", "1h"; a number alone counts milliseconds. T4010.
Result<int64_t> ParseTimeout(std::string_view text);
/// "64MB", "1.5 GiB"; a number alone counts bytes. T4010.
Result<uint64_t> ParseMemory(std::string_view text);

}  // namespace lamina::sql
