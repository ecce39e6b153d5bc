// Predicates of periods, as SQL:2011 has them: OVERLAPS, CONTAINS, EQUALS, PRECEDES, SUCCEEDS,
// IMMEDIATELY PRECEDES and IMMEDIATELY SUCCEEDS, between PERIOD (a, b) and the periods of a table's
// rows, VALID_TIME (or APPLICATION_TIME) and SYSTEM_TIME.
//
// A predicate's word becomes an operator of signs that DuckDB's parser takes, of the same length;
// what was parsed of it calls a macro (functions/macros.cc). The word is one only where a period
// stands at its left or right: names and functions of these words stay what they are.
#pragma once

#include <string>
#include <string_view>

#include "lamina/error.h"
#include "sql/duckdb_api.h"
#include "sql/lexer.h"

namespace lamina::sql {

/// Writes over the predicates of `statement`, whose tokens are those of `span` of `sql` (offsets
/// count from span.begin). True: there are some.
bool TakePeriodPredicates(std::string_view sql, const StatementSpan& span, std::string* statement);

void PutPeriodPredicates(duckdb::SQLStatement& statement);

}  // namespace lamina::sql
