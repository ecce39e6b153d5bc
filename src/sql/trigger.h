// Triggers: statements that run when rows of a table have changed, in the transaction of the change
// (docs/adr/0015).
//
// A trigger is a row of kObjectTable, "trigger/schema/table id_number", with its statements as
// text. DuckDB's grammar has no triggers: the session reads the statements about them itself.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "lamina/error.h"
#include "sql/duckdb_api.h"
#include "sql/lexer.h"
#include "sql/trigger_definition.h"

namespace lamina::sql {

class LaminaCatalog;
class LaminaTableEntry;

/// CREATE TRIGGER or DROP TRIGGER, as it was written.
struct TriggerStatement {
  bool drops = false;
  bool or_replace = false;
  bool if_not_exists = false;
  bool if_exists = false;
  std::string catalog, schema, table;  ///< "": not said; DROP TRIGGER may leave all out.
  size_t name_at = 0;                  ///< Places in the text.
  size_t table_at = 0;
  size_t when_at = 0;
  std::vector<size_t> columns_at;
  /// Of each statement; npos where it does not stand in the text as it is kept.
  std::vector<size_t> statements_at;
  TriggerDefinition definition;  ///< Of a DROP: the name alone.
};

/// Nothing for any other statement. T1001, T1002; T4009 for what other databases have.
Result<std::optional<TriggerStatement>> ParseTriggerStatement(std::string_view text,
                                                              const StatementSpan& span);

// What follows throws, with places in the text that the statement is of.

/// Checks the statements and keeps the trigger.
void CreateTrigger(duckdb::ClientContext& context, const TriggerStatement& statement);
void DropTrigger(duckdb::ClientContext& context, const TriggerStatement& statement);

TriggerDefinition ReadTrigger(const std::string& key, const nlohmann::json& row);
/// The statement that makes it again.
std::string ToSql(const TriggerDefinition& trigger, const LaminaTableEntry& table);
/// Every name of the table's column in its triggers becomes `to`.
void RenameColumnInTriggers(duckdb::ClientContext& context, LaminaCatalog& catalog,
                            const LaminaTableEntry& table, const std::string& from,
                            const std::string& to);
/// Before the column goes: triggers that name it go too with `cascade`, else T2013.
void DropTriggersOfColumn(duckdb::ClientContext& context, LaminaCatalog& catalog,
                          const LaminaTableEntry& table, const std::string& column, bool cascade);

}  // namespace lamina::sql
