// Clauses of columns that DuckDB's parser does not take: SERIAL types, identity columns (also SET
// GENERATED in ALTER COLUMN), and NOT NULL in ADD COLUMN. They are taken out of the text, which
// keeps its length, and given to the catalogue beside it.
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
  /// Of identity columns: whether they take no other value.
  std::optional<bool> always;
};
/// By the column's name in small letters.
using ColumnClauses = std::map<std::string, ColumnClause>;

/// Takes them out of `statement`, whose tokens are those of `span` (offsets count from
/// span.begin). Does nothing to other statements than CREATE TABLE and ALTER TABLE … ADD or SET
/// GENERATED; the latter becomes a SET NOT NULL.
Result<ColumnClauses> TakeColumnClauses(const StatementSpan& span, std::string* statement);

}  // namespace lamina::sql
