// ALTER TABLE … ADD [CONSTRAINT name] UNIQUE | CHECK | FOREIGN KEY, and DROP CONSTRAINT, which
// DuckDB's parser takes but for a primary key's. They are taken from the text; in its place stands
// a change that DuckDB knows, whose parsed form then gets the true one.
#pragma once

#include <optional>
#include <string>

#include <duckdb/parser/constraint.hpp>
#include <duckdb/parser/parsed_data/alter_table_info.hpp>
#include <duckdb/parser/parsed_data/create_table_info.hpp>

#include "lamina/error.h"
#include "sql/duckdb_api.h"
#include "sql/lexer.h"
#include "sql/reference_actions.h"
#include "sql/table_entry.h"

namespace lamina::sql {

struct ConstraintChange {
  std::string name;  ///< "" in ADD: none said.
  /// ADD: the constraint itself, where it stands in the statement; "" in DROP.
  std::string added;
  size_t added_at = 0;
  bool if_exists = false;
  bool cascade = false;
};

/// Takes it out of `statement`, whose tokens are those of `span` (offsets count from span.begin).
/// Nothing for every other statement.
std::optional<ConstraintChange> TakeConstraintChange(const StatementSpan& span,
                                                     std::string* statement);
/// Puts it into the parsed statement. T4009 for a table that is none of ours; throws what parsing
/// the constraint throws.
Status PutConstraintChange(duckdb::ClientContext& context, const ConstraintChange& change,
                           duckdb::SQLStatement& statement);

/// As it reaches the catalogue. No kind of DuckDB's: its table type is INVALID.
class ChangeConstraintInfo final : public duckdb::AlterTableInfo {
 public:
  ChangeConstraintInfo(duckdb::AlterEntryData data, ConstraintChange change);

  ConstraintChange change;
  duckdb::unique_ptr<duckdb::Constraint> constraint;  ///< Of ADD, with its name.
  ReferenceActions actions;

  duckdb::unique_ptr<duckdb::AlterInfo> Copy() const override;
  std::string ToString() const override;
};

/// The change, in the transaction of `context`; `said` is the table's definition as it will be
/// kept, which gets and loses CHECKs. Rows that are known now, valid at whatever time, must agree
/// with what is added: T3002, T3004, T3005. T2010, T2011, T2013 …
void ChangeConstraint(duckdb::ClientContext& context, LaminaTableEntry& table,
                      const ChangeConstraintInfo& info, duckdb::CreateTableInfo* said);

/// What could not stand another type of the column, and the statement that takes it away.
struct NeedOfType {
  std::string what;  ///< "the index by_n"; "": nothing.
  std::string drop;
};
NeedOfType WhatNeedsTheTypeOf(duckdb::ClientContext& context, LaminaTableEntry& table,
                              const std::string& column);

}  // namespace lamina::sql
