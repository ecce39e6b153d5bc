// Clauses of columns that DuckDB's parser does not take: SERIAL types, identity columns, and NOT
// NULL in ADD COLUMN. They are taken out of the text, which keeps its length, and given to the
// catalogue beside it.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "lamina/error.h"
#include "sql/lexer.h"

namespace lamina::sql {

struct ColumnClause {
  bool not_null = false;
  /// Of SERIAL and identity: the options of the sequence that gives values ("" = none said).
  std::optional<std::string> sequence;
};
/// By the column's name in small letters.
using ColumnClauses = std::map<std::string, ColumnClause>;

/// Takes them out of `statement`, whose tokens are those of `span` (offsets count from
/// span.begin). Does nothing to other statements than CREATE TABLE and ALTER TABLE … ADD. T4009 for
/// GENERATED ALWAYS AS IDENTITY.
Result<ColumnClauses> TakeColumnClauses(const StatementSpan& span, std::string* statement);

}  // namespace lamina::sql
