// ON DELETE and ON UPDATE of foreign keys beyond what DuckDB's grammar takes: CASCADE, SET NULL and
// SET DEFAULT are cut out of a CREATE TABLE before it is parsed, and travel beside it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sql/dependents.h"
#include "sql/duckdb_api.h"
#include "sql/lexer.h"

namespace lamina::sql {

struct ReferenceActions {
  ReferenceAction on_delete = ReferenceAction::kNoAction;
  ReferenceAction on_update = ReferenceAction::kNoAction;
};

/// Of each REFERENCES of a CREATE TABLE in its order, when one has an action that DuckDB refuses;
/// such actions become blanks in `text`. Empty for every other statement. `tokens` count from
/// `offset` bytes before the text.
std::vector<ReferenceActions> TakeReferenceActions(const std::vector<Token>& tokens, size_t offset,
                                                   std::string* text);

/// Notes the actions in the parsed statement. T4009 for a table that is not to be ours.
Status PutReferenceActions(const std::vector<ReferenceActions>& actions,
                           duckdb::SQLStatement& statement);
/// And reads them again, by the number of the foreign key.
ReferenceActions ReferenceActionsOf(const duckdb::CreateTableInfo& info, size_t number);

/// " ON DELETE CASCADE": what SQL has to say of them, or "".
std::string ToSql(ReferenceAction on_delete, ReferenceAction on_update);

}  // namespace lamina::sql
