// Clauses that say at which moments a query reads: FOR SYSTEM_TIME …, FOR APPLICATION_TIME … (or
// VALID_TIME), AS OF …, VALID AT …; FOR PORTION OF …, which says what is changed; and the VALID
// FROM … TO … of an INSERT (valid_insert.h). They are written over with blanks before DuckDB
// parses, and become the AT clauses (moment.h) of the tables that they are about:
//
// - after a table's name or its alias: that table;
// - after a subquery in FROM or its alias: the tables in it that say nothing themselves;
// - at the end of a SELECT, or before its WHERE, GROUP BY, ORDER BY …: the tables in it that say
//   nothing themselves, its subqueries and CTEs included. After UNION and its like they are about
//   the last SELECT alone, unless ORDER BY or LIMIT stands between: those are about all of them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/error.h"
#include "sql/duckdb_api.h"
#include "sql/lexer.h"

namespace lamina::sql {

class TimeClauses {
 public:
  /// Takes them out of `statement`, whose tokens are those of `span` of `sql` (offsets count from
  /// span.begin); it keeps its length. T1002 with its place.
  static Result<TimeClauses> Take(std::string_view sql, const StatementSpan& span,
                                  std::string* statement);

  bool empty() const { return clauses_.empty(); }

  /// Puts them into what was parsed of the statement. `inserted`: places in the text that was
  /// parsed where letters stand that `sql` has not, ascending. T1002, T4009 with their places.
  Status Put(duckdb::ClientContext& context, std::string_view sql, const StatementSpan& span,
             const std::vector<size_t>& inserted, duckdb::SQLStatement* statement) const;

 private:
  friend class TimeClauseReader;
  friend class TimeClausePlacer;

  /// Tokens [begin, end) of the statement.
  struct Tokens {
    size_t begin = 0;
    size_t end = 0;
  };
  struct Clause {
    Tokens tokens;
    bool valid = false;  ///< About valid time; else about system time.
    const char* form = "";
    std::optional<Tokens> a, b;
  };
  std::vector<Clause> clauses_;  ///< As they stand.
};

}  // namespace lamina::sql
