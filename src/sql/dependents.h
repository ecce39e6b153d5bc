// What depends on a table's rows beside themselves: indexes and foreign keys, as they are kept.
//
// An index is a table of the database, hidden from SQL: `entry` (binary, the primary key; bytes in
// docs/format/keys.md) and `row` (binary: the encoded key of the row it stands for, or its row id).
// An entry is valid whenever its row is, so an index answers for every moment since it was made. An
// entry of a unique index without a NULL leaves the row out of its key: two rows with equal values
// are one key, which the database refuses, also between transactions.
//
// Definitions are rows of kObjectTable, "index/schema/storage" and
// "foreign_key/schema/table_number", and name tables by the database's id: renames do not touch
// them. A table with dependents says so in its own definition (db::kWriterKey), which every change
// of them makes anew: so a transaction that does not know of a new index cannot write past it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <arrow/type.h>
#include <nlohmann/json.hpp>

#include "lamina/schema.h"
#include "sql/duckdb_api.h"
#include "sql/trigger_definition.h"
#include "sql/view_query.h"

namespace lamina::sql {

class LaminaCatalog;
class LaminaTableEntry;
class LaminaTransaction;

/// Our name as the writer of tables with dependents (db::kWriterKey).
inline constexpr char kSqlWriter[] = "SQL";
inline constexpr char kIndexTablePrefix[] = "_lamina_index_";
inline constexpr char kOwnTablePrefix[] = "_lamina_";  ///< Of all tables that SQL does not show.
inline constexpr char kEntryColumn[] = "entry";
inline constexpr char kRowColumn[] = "row";

struct IndexDefinition {
  enum class Role : uint8_t {
    kIndex,       ///< CREATE INDEX.
    kUnique,      ///< A UNIQUE constraint.
    kForeignKey,  ///< Finds the rows that refer to one.
  };
  std::string storage;  ///< The hidden table.
  std::string name;     ///< Of constraints: as PostgreSQL would name them, unless they are
  bool named = false;   ///< named by the user.
  Role role = Role::kIndex;
  bool unique = false;
  std::vector<std::string> columns;
  std::string comment;
};

/// What becomes of a row when the one that it refers to goes, or gets other values.
enum class ReferenceAction : uint8_t {
  kNoAction,  ///< RESTRICT, too: the change is refused.
  kCascade,
  kSetNull,
  kSetDefault,
};

struct ForeignKey {
  std::string object;       ///< Its row's key in kObjectTable.
  std::string name;         ///< "" when it was given none.
  uint64_t table = 0;       ///< Whose rows refer.
  uint64_t references = 0;  ///< To whose; may be the same.
  std::vector<std::string> columns;
  std::vector<std::string> referenced;  ///< As many; the primary key or a UNIQUE constraint.
  ReferenceAction on_delete = ReferenceAction::kNoAction;
  ReferenceAction on_update = ReferenceAction::kNoAction;
  std::string references_schema, references_name;  ///< Not kept: what `references` is called now.
};

struct Dependents {
  std::vector<IndexDefinition> indexes;
  std::vector<ForeignKey> foreign_keys;     ///< Of the table's rows.
  std::vector<ForeignKey> referenced_by;    ///< To the table's rows; also its own.
  std::optional<ViewQuery> view;            ///< The table is a materialized view.
  std::vector<TriggerDefinition> triggers;  ///< In the order of their names.

  bool empty() const {
    return indexes.empty() && foreign_keys.empty() && referenced_by.empty() && !view.has_value() &&
           triggers.empty();
  }
};

/// By the database's id of the table, of what kObjectTable holds.
std::map<uint64_t, Dependents> ReadDependents(const std::map<std::string, nlohmann::json>& objects,
                                              const std::vector<TableInfo>& tables);

/// Of its row in kObjectTable.
std::string IndexObjectKey(const std::string& schema, const IndexDefinition& index);

// Changes, in the transaction of `context`. Throw.
/// Makes the index's table, fills it from the rows that are there, and writes its row. `storage` is
/// chosen here. T2015 for a type that has no order, T3002.
void MakeIndex(duckdb::ClientContext& context, LaminaCatalog& catalog, const std::string& schema,
               const std::string& table, IndexDefinition index);
/// Its table and row.
void DropIndex(duckdb::ClientContext& context, LaminaCatalog& catalog, const std::string& schema,
               const std::string& table, const IndexDefinition& index);
/// Writes the row again, for another name of a column or another comment.
void ChangeIndex(duckdb::ClientContext& context, LaminaCatalog& catalog, const std::string& schema,
                 const std::string& table, const IndexDefinition& index);

/// `object` is chosen here when it is empty; else the row is written again.
void PutForeignKey(duckdb::ClientContext& context, LaminaCatalog& catalog,
                   const std::string& schema, ForeignKey key);

/// Makes the table's definition anew, marked as having dependents if it has any now.
void MarkTable(LaminaTransaction& transaction, const std::string& table);

/// What a UNIQUE constraint or foreign key of these columns is called.
std::string ConstraintName(const std::string& table, const std::vector<std::string>& columns,
                           const char* suffix);

}  // namespace lamina::sql
