// INSERT INTO t … VALID FROM a TO b, and INSERT INTO t (…, _valid_from, _valid_to).
//
// DuckDB lets an INSERT name the columns of a table alone. So such an INSERT is given another table
// to insert into: the same one under a decorated name, which the catalogue answers with an entry
// that has its hidden columns of the valid time as columns (LaminaTableEntry::takes_valid).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lamina/error.h"
#include "sql/duckdb_api.h"

namespace lamina::sql {

class LaminaTableEntry;

/// What such an INSERT does where rows of its keys are valid in the same time.
enum class ValidInsertMode : char {
  kFail = 'f',
  kReplace = 'r',  ///< Lays itself over them.
  kSkip = 's',
};

struct ValidInsert {
  std::string table;
  ValidInsertMode mode;
  /// Of the name in a lookup; nullopt: it is none.
  static std::optional<ValidInsert> Of(const std::string& name);
  std::string Name() const;
};

/// The moments that VALID said; null: open. Of an INSERT that has no such clause: both unset.
struct ValidClause {
  duckdb::unique_ptr<duckdb::ParsedExpression> from, to;
  bool said = false;
};

/// Does nothing to an INSERT that says nothing of valid time. T2001, T4009, T1002.
Status PutValidInsert(duckdb::ClientContext& context, ValidClause clause,
                      duckdb::SQLStatement& statement);

/// The entry that such a name is answered with.
duckdb::unique_ptr<LaminaTableEntry> MakeValidEntry(const LaminaTableEntry& table,
                                                    ValidInsertMode mode);

}  // namespace lamina::sql
