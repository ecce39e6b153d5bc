// Runs triggers: their statements go through a second connection that shares the transaction of
// the statement they follow.
#pragma once

#include "sql/duckdb_api.h"
#include "sql/table_entry.h"

namespace lamina::sql {

struct TriggerStatement;

/// How deep triggers may lie in each other: each level holds a thread's stack.
inline constexpr int kTriggerDepthMax = 16;

/// Whether a statement that writes the table may run triggers, by foreign keys of others too.
bool MayFireTriggers(duckdb::ClientContext& context, const LaminaTableEntry& table);

/// `plan`, and what it writes for triggers goes to them when it has written everything.
duckdb::PhysicalOperator& WithTriggers(duckdb::ClientContext& context,
                                       duckdb::PhysicalPlanGenerator& planner,
                                       const LaminaTableEntry& table,
                                       duckdb::PhysicalOperator& plan);

/// Binds all that the trigger holds, as it will be when it runs. Throws, with places in the text
/// that the statement is of.
void CheckTrigger(duckdb::ClientContext& context, LaminaTableEntry& table,
                  const TriggerStatement& statement);

}  // namespace lamina::sql
