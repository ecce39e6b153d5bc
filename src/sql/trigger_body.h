// The statements of triggers: where they name NEW and OLD, and how they run for all rows at once.
//
// The rows that a trigger is about are a relation with the columns o0, o1, … (as they were) and
// n0, n1, … (as they are), by the number of the table's column.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lamina/error.h"
#include "sql/duckdb_api.h"
#include "sql/table_entry.h"
#include "sql/trigger_definition.h"

namespace lamina::sql {

/// A statement or condition with parameters ($n3) in the place of NEW.column and OLD.column.
struct TriggerText {
  std::string text;
  std::set<std::string> parameters;  ///< "n3", "o0".
  /// Where in the original a byte of `text` stands.
  size_t ToOriginal(size_t position) const;

 private:
  friend Result<TriggerText> BindTransition(std::string_view, const LaminaTableEntry&,
                                            const TriggerDefinition&);
  std::vector<std::pair<size_t, size_t>> marks_;  // in `text`, in the original
};

/// T2002 for a column that the table has not; T2015 for NEW or OLD where there is none; T4007 for
/// parameters. Positions count in `original`.
Result<TriggerText> BindTransition(std::string_view original, const LaminaTableEntry& table,
                                   const TriggerDefinition& trigger);

/// `original` with another name for a column of NEW and OLD; the same text when it names none.
std::string RenameInText(std::string_view original, const std::string& from, const std::string& to);

/// Names of the relation's columns.
duckdb::vector<duckdb::string> TransitionNames(const LaminaTableEntry& table);

/// The one statement in the text. Throws; T4009 for a kind that triggers do not run.
duckdb::unique_ptr<duckdb::SQLStatement> ParseBody(const std::string& text);
/// The condition, with the relation's columns in the place of parameters. Throws; T4009 for a
/// subquery.
duckdb::unique_ptr<duckdb::ParsedExpression> ParseCondition(const std::string& text);

/// The statement once over all rows, if that means the same as running it for each row after the
/// other; else null. It does when what it computes depends on the row alone (no subqueries, no
/// functions that read or count), it only inserts, and nothing follows from what it inserts.
/// `rows` outlives the statement.
duckdb::unique_ptr<duckdb::SQLStatement> OverAllRows(duckdb::ClientContext& context,
                                                     const duckdb::SQLStatement& statement,
                                                     const LaminaTableEntry& table,
                                                     duckdb::ColumnDataCollection& rows);
/// FROM the rows.
duckdb::unique_ptr<duckdb::TableRef> FromRows(const LaminaTableEntry& table,
                                              duckdb::ColumnDataCollection& rows);

}  // namespace lamina::sql
