// PREPARE, EXECUTE and DEALLOCATE beyond what DuckDB has of them: PREPARE name (types), names that
// are taken once, DEALLOCATE ALL. DuckDB keeps the statements themselves and plans them anew when
// what they are about has changed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lamina/error.h"
#include "sql/duckdb_api.h"
#include "sql/lexer.h"

namespace lamina::sql {

struct SessionState;

/// One of PREPARE name (type, …).
struct ParameterType {
  std::string text;
  size_t at = 0;  ///< In the whole text.
};

/// Blanks the types out of `statement`, the text of `span`. T1001 when one is empty.
Result<std::vector<ParameterType>> TakeParameterTypes(std::string_view sql,
                                                      const StatementSpan& span,
                                                      std::string* statement);

/// What stands behind AS in a PREPARE; "" for other statements. A part of `sql`.
std::string_view PreparedText(std::string_view sql, const StatementSpan& span);

/// DEALLOCATE [PREPARE] ALL, which DuckDB's grammar lacks.
bool IsDeallocateAll(std::string_view sql, const StatementSpan& span);
void DeallocateAll(duckdb::ClientContext& context, SessionState* state);

/// Before one of the three runs; others stay as they are. Gives the values of EXECUTE the types
/// that PREPARE said. T2011 (PREPARE of a name that is taken), T2010 (no such statement or type),
/// T4007 (more types than parameters, or a wrong number of values).
Status AdaptPrepared(duckdb::ClientContext& context, SessionState* state, std::string_view sql,
                     const StatementSpan& span, const std::vector<ParameterType>& types,
                     duckdb::SQLStatement* statement);

}  // namespace lamina::sql
