// PERIOD FOR APPLICATION_TIME (a, b) in CREATE TABLE, and what SQL says of keys over that period:
// PRIMARY KEY (k, APPLICATION_TIME WITHOUT OVERLAPS), UNIQUE (…), FOREIGN KEY (k, PERIOD
// APPLICATION_TIME) REFERENCES t (k, PERIOD APPLICATION_TIME).
//
// Keys of ours hold moment by moment anyway: two rows may have the same one where they are valid at
// different times, and a row refers to what is valid as long as it is itself. So these words add
// nothing to a key, and are left out of it.
#pragma once

#include <string>
#include <string_view>

#include "lamina/error.h"
#include "lamina/schema.h"
#include "sql/duckdb_api.h"
#include "sql/lexer.h"

namespace lamina::sql {

/// As they were written, unfolded. Empty: the statement says none.
struct PeriodClause {
  std::string from, to;
  size_t at = 0;  ///< Of the clause in the whole text.

  bool empty() const { return from.empty(); }
};

/// Takes them out of `statement`, which keeps its length: of a CREATE TABLE, and of what an
/// ALTER TABLE adds. T1002, T4009
/// with their places.
Result<PeriodClause> TakePeriodClause(std::string_view sql, const StatementSpan& span,
                                      std::string* statement);
/// Notes the period in what was parsed. T4009 for a table that is not to be ours.
Status PutPeriodClause(const PeriodClause& clause, duckdb::SQLStatement& statement);
/// T2015 where a key or an index is to have a column of the period.
void CheckNotOfPeriod(const TableOptions& options, const std::string& column);
/// And reads it again, for the table's options. T2002, T2015.
Status SetPeriodOf(const duckdb::CreateTableInfo& info, TableOptions* options);

}  // namespace lamina::sql
