// GENERATED ALWAYS AS IDENTITY: columns that take no value but the next of their sequence.
//
// Which columns these are is kept with the sequence (LaminaSequenceEntry::always): a column whose
// default counts by such a sequence of its table. Whether a statement gives one a value of its own
// is seen in what was written, before it is bound: DEFAULT is no value then.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lamina/error.h"
#include "sql/duckdb_api.h"
#include "sql/lexer.h"
#include "sql/table_entry.h"

namespace lamina::sql {

/// The sequence of an identity column, of either kind; null for other columns.
LaminaSequenceEntry* IdentityOf(duckdb::ClientContext& context, LaminaTableEntry& table,
                                const std::string& column);

/// Takes OVERRIDING SYSTEM VALUE out of the statement; true when it was there. T4009 for OVERRIDING
/// USER VALUE.
Result<bool> TakeOverriding(const StatementSpan& span, std::string* statement);

/// T3006 when an INSERT, upsert, UPDATE or MERGE (also one to be prepared or explained) gives such
/// a column a value. COPY may, as in PostgreSQL. `overriding`: an INSERT may, too.
Status CheckIdentity(duckdb::ClientContext& context, const duckdb::SQLStatement& statement,
                     bool overriding);

}  // namespace lamina::sql
