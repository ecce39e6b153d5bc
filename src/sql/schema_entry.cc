#include "sql/schema_entry.h"

#include <algorithm>

#include <arrow/type.h>
#include <duckdb/catalog/catalog_entry/macro_catalog_entry.hpp>
#include <duckdb/catalog/catalog_entry/type_catalog_entry.hpp>
#include <duckdb/common/enums/catalog_type.hpp>
#include <duckdb/parser/constraints/check_constraint.hpp>
#include <duckdb/parser/constraints/foreign_key_constraint.hpp>
#include <duckdb/parser/constraints/not_null_constraint.hpp>
#include <duckdb/parser/constraints/unique_constraint.hpp>
#include <duckdb/parser/expression/columnref_expression.hpp>
#include <duckdb/parser/parsed_data/alter_table_info.hpp>
#include <duckdb/parser/parsed_data/comment_on_column_info.hpp>
#include <duckdb/parser/parsed_data/create_copy_function_info.hpp>
#include <duckdb/parser/parsed_data/create_macro_info.hpp>
#include <duckdb/parser/parsed_data/create_pragma_function_info.hpp>
#include <duckdb/parser/parsed_data/create_table_function_info.hpp>
#include <duckdb/parser/parsed_data/create_table_info.hpp>
#include <duckdb/parser/parsed_data/create_type_info.hpp>
#include <duckdb/parser/parsed_data/create_view_info.hpp>
#include <duckdb/parser/parsed_data/drop_info.hpp>
#include <duckdb/planner/parsed_data/bound_create_table_info.hpp>
#include <fmt/format.h>

#include "sql/alter_column.h"
#include "sql/alter_constraint.h"
#include "sql/constraint_names.h"
#include "sql/dependents.h"
#include "sql/error_translation.h"
#include "sql/index_entry.h"
#include "sql/materialized_view.h"
#include "sql/reference_actions.h"
#include "sql/session_state.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"
#include "sql/trigger.h"
#include "sql/types.h"
#include "sql/view_dependents.h"

namespace lamina::sql {

using duckdb::CatalogType;

namespace {

// Twice the database's default: DuckDB's reader pays for every page. TPC-H's lineitem, four
// queries: 1,024 rows 440 ms, 2,048 272 ms, 8,192 188 ms; a point read decodes one page a column.
constexpr int32_t kRowsPerPage = 2048;

const char* KindOf(CatalogType type) {
  switch (type) {
    case CatalogType::TABLE_ENTRY:
      return "table";
    case CatalogType::VIEW_ENTRY:
      return "view";
    case CatalogType::MACRO_ENTRY:
      return "macro";
    case CatalogType::TABLE_MACRO_ENTRY:
      return "table_macro";
    case CatalogType::TYPE_ENTRY:
      return "type";
    case CatalogType::INDEX_ENTRY:
      return "index";
    case CatalogType::SEQUENCE_ENTRY:
      return "sequence";
    default:
      return "object";
  }
}

[[noreturn]] void ThrowUnsupported(const std::string& what, std::string hint = {}) {
  Throw(MakeSqlError("T4009", what, std::move(hint)));
}

bool IsView(const duckdb::CatalogEntry& entry) {
  const auto* table = dynamic_cast<const LaminaTableEntry*>(&entry);
  return table != nullptr && table->dependents().view.has_value();
}

const char* KindOf(const duckdb::CatalogEntry& entry) {
  return IsView(entry) ? "materialized view" : KindOf(entry.type);
}

/// Whether the statement under way says MATERIALIZED VIEW.
bool SaysView(duckdb::ClientContext& context) {
  const auto session = SessionState::Find(context);
  return session != nullptr && session->view_statement != ViewStatement::Kind::kNone;
}

/// T2015.
void CheckName(const std::string& table) {
  if (!table.starts_with(kOwnTablePrefix)) return;
  Throw(MakeSqlError("T2015", fmt::format("names that begin with {} are the database's own: {}",
                                          kOwnTablePrefix, table)));
}

/// What the statement's text says of columns beyond DuckDB's grammar.
ColumnClauses ClausesOf(duckdb::ClientContext& context) {
  const auto session = context.registered_state->Get<SessionState>(SessionState::kKey);
  return session == nullptr ? ColumnClauses() : session->column_clauses;
}

/// The statement that makes the object again, without the names of where it is.
std::string Text(const duckdb::CreateInfo& info) {
  auto copy = info.Copy();
  copy->catalog.clear();
  copy->schema.clear();
  copy->on_conflict = duckdb::OnCreateConflict::ERROR_ON_CONFLICT;
  return copy->ToString();
}

}  // namespace

LaminaSchemaEntry::LaminaSchemaEntry(LaminaCatalog& catalog, duckdb::CreateSchemaInfo& info)
    : SchemaCatalogEntry(catalog, info) {}

LaminaSchemaEntry::Entries& LaminaSchemaEntry::Of(CatalogType type) {
  switch (type) {
    case CatalogType::MACRO_ENTRY:
    case CatalogType::SCALAR_FUNCTION_ENTRY:
      return macros_;
    case CatalogType::TABLE_MACRO_ENTRY:
    case CatalogType::TABLE_FUNCTION_ENTRY:
      return table_macros_;
    case CatalogType::TYPE_ENTRY:
      return types_;
    case CatalogType::INDEX_ENTRY:
      return indexes_;
    default:
      return relations_;
  }
}

void LaminaSchemaEntry::Add(duckdb::unique_ptr<duckdb::CatalogEntry> entry) {
  Entries& entries = Of(entry->type);
  // Names differ by more than case in SQL; the first of two that another interface made is shown.
  entries.emplace(entry->name, std::move(entry));
}

void LaminaSchemaEntry::AddViewQuery(duckdb::unique_ptr<duckdb::CatalogEntry> query) {
  view_queries_.emplace(kViewQueryPrefix + query->name, std::move(query));
}

LaminaSchemaEntry& LaminaSchemaEntry::Current(duckdb::ClientContext& context) {
  LaminaSchemaEntry* out = LaminaTransaction::Get(context, catalog).definitions().FindSchema(name);
  if (out == nullptr) Throw(MakeSqlError("T2009", "schema does not exist: " + name));
  return *out;
}

void LaminaSchemaEntry::Scan(duckdb::ClientContext& context, CatalogType type,
                             const std::function<void(duckdb::CatalogEntry&)>& callback) {
  LaminaSchemaEntry& current = Current(context);
  const auto session = SessionState::Find(context);
  if (session == nullptr || !session->exports) return current.Scan(type, callback);
  // IMPORT DATABASE is DuckDB's, which has plain views only.
  current.Scan(type, [&](duckdb::CatalogEntry& entry) {
    if (entry.type == CatalogType::INDEX_ENTRY &&
        IsView(*current.relations_.at(entry.Cast<LaminaIndexEntry>().GetTableName())))
      return;
    callback(IsView(entry) ? *current.view_queries_.at(kViewQueryPrefix + entry.name) : entry);
  });
}

void LaminaSchemaEntry::Scan(CatalogType type,
                             const std::function<void(duckdb::CatalogEntry&)>& callback) {
  switch (type) {
    // DuckDB asks for tables and views under either type, and for macros among the functions.
    case CatalogType::TABLE_ENTRY:
    case CatalogType::VIEW_ENTRY:
    case CatalogType::MACRO_ENTRY:
    case CatalogType::SCALAR_FUNCTION_ENTRY:
    case CatalogType::TABLE_MACRO_ENTRY:
    case CatalogType::TABLE_FUNCTION_ENTRY:
    case CatalogType::TYPE_ENTRY:
    case CatalogType::INDEX_ENTRY:
      for (auto& [key, entry] : Of(type)) {
        if (entry->type != CatalogType::SEQUENCE_ENTRY) callback(*entry);
      }
      return;
    case CatalogType::SEQUENCE_ENTRY:
      for (auto& [key, entry] : Of(type)) {
        if (entry->type == type) callback(*entry);
      }
      return;
    default:
      return;
  }
}

duckdb::optional_ptr<duckdb::CatalogEntry> LaminaSchemaEntry::LookupEntry(
    duckdb::CatalogTransaction transaction, const duckdb::EntryLookupInfo& lookup) {
  LaminaSchemaEntry& current = transaction.HasContext() ? Current(transaction.GetContext()) : *this;
  switch (lookup.GetCatalogType()) {
    case CatalogType::TABLE_ENTRY:
    case CatalogType::VIEW_ENTRY:
    case CatalogType::MACRO_ENTRY:
    case CatalogType::SCALAR_FUNCTION_ENTRY:
    case CatalogType::TABLE_MACRO_ENTRY:
    case CatalogType::TABLE_FUNCTION_ENTRY:
    case CatalogType::TYPE_ENTRY:
    case CatalogType::INDEX_ENTRY:
    case CatalogType::SEQUENCE_ENTRY: {
      Entries& entries = current.Of(lookup.GetCatalogType());
      auto it = entries.find(lookup.GetEntryName());
      if (it == entries.end()) {
        it = current.view_queries_.find(lookup.GetEntryName());
        if (it == current.view_queries_.end()) return nullptr;
      }
      // DuckDB would cast one to the other.
      const bool sequence = lookup.GetCatalogType() == CatalogType::SEQUENCE_ENTRY;
      return (it->second->type == CatalogType::SEQUENCE_ENTRY) == sequence ? it->second.get()
                                                                           : nullptr;
    }
    default:
      return nullptr;
  }
}

bool LaminaSchemaEntry::MayCreate(duckdb::ClientContext& context, CatalogType type,
                                  const std::string& entry_name,
                                  duckdb::OnCreateConflict on_conflict) {
  Entries& entries = Current(context).Of(type);
  const auto it = entries.find(entry_name);
  if (it == entries.end()) return true;
  switch (on_conflict) {
    case duckdb::OnCreateConflict::IGNORE_ON_CONFLICT:
      return false;
    case duckdb::OnCreateConflict::REPLACE_ON_CONFLICT: {
      const bool view = type == CatalogType::TABLE_ENTRY && SaysView(context);
      if (it->second->type != type || IsView(*it->second) != view) {
        Throw(MakeSqlError("T2003",
                           fmt::format("{} is a {}, not a {}", entry_name, KindOf(*it->second),
                                       view ? "materialized view" : KindOf(type)),
                           "DROP it first"));
      }
      duckdb::DropInfo drop;
      drop.type = type;
      drop.schema = name;
      drop.name = entry_name;
      drop.allow_drop_internal = true;
      // Views find the new one in its place.
      DropAlone(context, drop);
      return true;
    }
    default:
      Throw(MakeSqlError(
          type == CatalogType::TABLE_ENTRY || type == CatalogType::VIEW_ENTRY ? "T2003" : "T2011",
          fmt::format("{} exists already: {}", KindOf(*it->second), entry_name),
          "IF NOT EXISTS goes on in that case, OR REPLACE puts the new one in its "
          "place"));
  }
}

duckdb::optional_ptr<duckdb::CatalogEntry> LaminaSchemaEntry::Created(
    duckdb::ClientContext& context, CatalogType type, const std::string& entry_name) {
  Entries& entries = Current(context).Of(type);
  const auto it = entries.find(entry_name);
  return it == entries.end() ? nullptr : it->second.get();
}

duckdb::optional_ptr<duckdb::CatalogEntry> LaminaSchemaEntry::CreateTable(
    duckdb::CatalogTransaction transaction, duckdb::BoundCreateTableInfo& bound) {
  auto& context = transaction.GetContext();
  // A copy: a plan that is kept may be run again.
  auto copy = bound.Base().Copy();
  auto& info = copy->Cast<duckdb::CreateTableInfo>();
  if (!MayCreate(context, CatalogType::TABLE_ENTRY, info.table, info.on_conflict)) return nullptr;
  CheckName(info.table);
  for (const auto& [column_name, clause] : ClausesOf(context)) {
    auto& column = info.columns.GetColumnMutable(column_name);
    if (clause.sequence.has_value()) CreateColumnSequence(context, info.table, column, clause);
    if (clause.not_null)
      info.constraints.push_back(duckdb::make_uniq<duckdb::NotNullConstraint>(column.Logical()));
  }
  KeyDeclaration key;
  std::vector<IndexDefinition> indexes;
  std::vector<const duckdb::ForeignKeyConstraint*> foreign_keys;
  duckdb::case_insensitive_set_t not_null;
  bool needs_row = false;
  // Names as the columns have them, whatever the case they were written in.
  const auto exact = [&](const duckdb::ColumnList& columns, const auto& names) {
    std::vector<std::string> out;
    for (const auto& of : names) out.push_back(columns.GetColumn(of).Name());
    return out;
  };
  for (const auto& constraint : info.constraints) {
    switch (constraint->type) {
      case duckdb::ConstraintType::NOT_NULL:
        not_null.insert(
            info.columns.GetColumn(constraint->Cast<duckdb::NotNullConstraint>().index).Name());
        break;
      case duckdb::ConstraintType::UNIQUE: {
        const auto& unique = constraint->Cast<duckdb::UniqueConstraint>();
        auto names = exact(info.columns, unique.GetLogicalIndexes(info.columns));
        if (unique.IsPrimaryKey()) {
          key.names = std::move(names);
          break;
        }
        const bool twice = std::any_of(indexes.begin(), indexes.end(),
                                       [&](const auto& other) { return other.columns == names; });
        if (twice) break;
        IndexDefinition index;
        index.name = NameOf(unique);
        index.named = !index.name.empty();
        if (!index.named) index.name = ConstraintName(info.table, names, "key");
        index.role = IndexDefinition::Role::kUnique;
        index.unique = true;
        index.columns = std::move(names);
        indexes.push_back(std::move(index));
        break;
      }
      case duckdb::ConstraintType::CHECK:
        needs_row = true;
        break;
      case duckdb::ConstraintType::FOREIGN_KEY:
        foreign_keys.push_back(&constraint->Cast<duckdb::ForeignKeyConstraint>());
        break;
      default:
        ThrowUnsupported("this constraint is not there yet");
    }
  }
  arrow::FieldVector fields;
  for (const auto& column : info.columns.Logical()) {
    if (column.Generated()) {
      needs_row = true;
      continue;
    }
    needs_row |= column.HasDefaultValue() || !column.Comment().IsNull();
    fields.push_back(ValueOrThrow(
        ToStorageField(column.Name(), column.Type(), not_null.count(column.Name()) == 0)));
  }
  for (const IndexDefinition& index : indexes) {
    // What is the primary key is unique already.
    if (index.columns == key.names) continue;
    for (const std::string& column : index.columns) {
      if (IsKeyable(info.columns.GetColumn(column).Type())) continue;
      Throw(MakeSqlError("T2015",
                         fmt::format("UNIQUE cannot be of this type: column={} type={}", column,
                                     info.columns.GetColumn(column).Type().ToString())));
    }
  }
  for (const std::string& column : key.names) {
    if (!IsKeyable(info.columns.GetColumn(column).Type())) {
      Throw(MakeSqlError(
          "T2015", fmt::format("a primary key cannot hold this type: column={} type={}", column,
                               info.columns.GetColumn(column).Type().ToString())));
    }
  }
  key.no_key = key.names.empty();
  auto& ours = LaminaTransaction::Get(context, catalog);
  TableOptions options;
  options.rows_per_page = kRowsPerPage;
  // DuckDB makes a context of zstd for every page, which takes longer than the page.
  options.codec = Codec::kLz4;
  ThrowIfError(ours.data().CreateTable(TableName(name, info.table),
                                       arrow::schema(std::move(fields)), key, options));
  ours.DefinitionsChanged();
  if (needs_row) {
    lamina().PutObject(context, LaminaCatalog::ObjectKey("table", name, info.table),
                       DescribeTable(info));
  }
  const std::string stored = TableName(name, info.table);
  for (IndexDefinition& index : indexes) {
    if (index.columns != key.names) MakeIndex(context, lamina(), name, stored, std::move(index));
  }
  const uint64_t id = ours.data().FindTable(stored)->id.value;
  size_t number = 0;
  for (const duckdb::ForeignKeyConstraint* constraint : foreign_keys) {
    const bool self = duckdb::StringUtil::CIEquals(constraint->info.table, info.table);
    auto& to = self ? *Created(context, CatalogType::TABLE_ENTRY, info.table)
                    : *Created(context, CatalogType::TABLE_ENTRY, constraint->info.table);
    const auto& target = to.Cast<LaminaTableEntry>();
    ForeignKey foreign;
    foreign.name = NameOf(*constraint);
    const ReferenceActions actions = ReferenceActionsOf(info, number++);
    foreign.on_delete = actions.on_delete;
    foreign.on_update = actions.on_update;
    foreign.table = id;
    foreign.references = target.table().id;
    foreign.columns = exact(info.columns, constraint->fk_columns);
    foreign.referenced = exact(target.GetColumns(), constraint->pk_columns);
    IndexDefinition index;
    index.name = ConstraintName(info.table, foreign.columns, "fkey");
    index.role = IndexDefinition::Role::kForeignKey;
    index.columns = foreign.columns;
    const std::string target_name = target.table().name;
    MakeIndex(context, lamina(), name, stored, std::move(index));
    PutForeignKey(context, lamina(), name, std::move(foreign));
    // Who deletes rows of it must know of the new foreign key.
    MarkTable(ours, target_name);
  }
  if (const std::string query = ViewQueryOf(info); !query.empty()) {
    PutViewQuery(context, lamina(), name, stored, query, HasData(info));
    // Names are looked up in the view's schema from now on, whatever is current now.
    const auto& queries = Current(context).view_queries_;
    queries.at(kViewQueryPrefix + info.table)->Cast<duckdb::ViewCatalogEntry>().BindView(context);
  }
  return Created(context, CatalogType::TABLE_ENTRY, info.table);
}

duckdb::optional_ptr<duckdb::CatalogEntry> LaminaSchemaEntry::CreateView(
    duckdb::CatalogTransaction transaction, duckdb::CreateViewInfo& info) {
  auto& context = transaction.GetContext();
  CheckName(info.view_name);
  if (!MayCreate(context, CatalogType::VIEW_ENTRY, info.view_name, info.on_conflict))
    return nullptr;
  lamina().PutObject(context, LaminaCatalog::ObjectKey("view", name, info.view_name),
                     {{"sql", Text(info)}});
  return Created(context, CatalogType::VIEW_ENTRY, info.view_name);
}

duckdb::optional_ptr<duckdb::CatalogEntry> LaminaSchemaEntry::CreateFunction(
    duckdb::CatalogTransaction transaction, duckdb::CreateFunctionInfo& info) {
  auto& context = transaction.GetContext();
  if (info.type != CatalogType::MACRO_ENTRY && info.type != CatalogType::TABLE_MACRO_ENTRY)
    ThrowUnsupported("functions of this kind are not kept in a database: " + info.name);
  if (!MayCreate(context, info.type, info.name, info.on_conflict)) return nullptr;
  lamina().PutObject(context, LaminaCatalog::ObjectKey(KindOf(info.type), name, info.name),
                     {{"sql", Text(info)}});
  return Created(context, info.type, info.name);
}

duckdb::optional_ptr<duckdb::CatalogEntry> LaminaSchemaEntry::CreateType(
    duckdb::CatalogTransaction transaction, duckdb::CreateTypeInfo& info) {
  auto& context = transaction.GetContext();
  if (!MayCreate(context, CatalogType::TYPE_ENTRY, info.name, info.on_conflict)) return nullptr;
  auto type = info.type;
  type.SetAlias("");
  lamina().PutObject(context, LaminaCatalog::ObjectKey("type", name, info.name),
                     {{"sql", fmt::format("CREATE TYPE {} AS {}",
                                          duckdb::KeywordHelper::WriteOptionallyQuoted(info.name),
                                          type.ToString())},
                      {"type", type.ToString()}});
  return Created(context, CatalogType::TYPE_ENTRY, info.name);
}

duckdb::optional_ptr<duckdb::CatalogEntry> LaminaSchemaEntry::CreateIndex(
    duckdb::CatalogTransaction transaction, duckdb::CreateIndexInfo& info,
    duckdb::TableCatalogEntry& table) {
  auto& context = transaction.GetContext();
  if (Current(context).indexes_.count(info.index_name) != 0) {
    if (info.on_conflict == duckdb::OnCreateConflict::IGNORE_ON_CONFLICT) return nullptr;
    Throw(MakeSqlError("T2005", "index exists already: " + info.index_name,
                       "CREATE INDEX IF NOT EXISTS goes on in that case"));
  }
  if (info.index_type != "ART" || !info.options.empty())
    ThrowUnsupported("indexes are of one kind, without options: CREATE INDEX … ON table (columns)");
  IndexDefinition index;
  index.name = info.index_name;
  index.unique = info.constraint_type == duckdb::IndexConstraintType::UNIQUE;
  for (const auto& expression : info.parsed_expressions) {
    if (expression->GetExpressionType() != duckdb::ExpressionType::COLUMN_REF)
      ThrowUnsupported("an index is over columns, not over expressions: " + expression->ToString());
    const std::string& column = expression->Cast<duckdb::ColumnRefExpression>().GetColumnName();
    if (!table.ColumnExists(column)) {
      Throw(MakeSqlError(
          "T2002", fmt::format("column does not exist: table={} column={}", table.name, column)));
    }
    const auto& of = table.GetColumn(column);
    if (of.Generated())
      ThrowUnsupported("an index cannot be over a generated column: " + of.Name());
    if (!IsKeyable(of.Type())) {
      Throw(MakeSqlError("T2015", fmt::format("an index cannot hold this type: column={} type={}",
                                              of.Name(), of.Type().ToString())));
    }
    if (std::find(index.columns.begin(), index.columns.end(), of.Name()) != index.columns.end())
      Throw(MakeSqlError("T2015", "an index names a column twice: " + of.Name()));
    index.columns.push_back(of.Name());
  }
  const std::string stored = table.Cast<LaminaTableEntry>().table().name;
  MakeIndex(context, lamina(), name, stored, std::move(index));
  return Created(context, CatalogType::INDEX_ENTRY, info.index_name);
}
duckdb::optional_ptr<duckdb::CatalogEntry> LaminaSchemaEntry::CreateTableFunction(
    duckdb::CatalogTransaction, duckdb::CreateTableFunctionInfo& info) {
  ThrowUnsupported("functions of this kind are not kept in a database: " + info.name);
}
duckdb::optional_ptr<duckdb::CatalogEntry> LaminaSchemaEntry::CreateCopyFunction(
    duckdb::CatalogTransaction, duckdb::CreateCopyFunctionInfo& info) {
  ThrowUnsupported("functions of this kind are not kept in a database: " + info.name);
}
duckdb::optional_ptr<duckdb::CatalogEntry> LaminaSchemaEntry::CreatePragmaFunction(
    duckdb::CatalogTransaction, duckdb::CreatePragmaFunctionInfo& info) {
  ThrowUnsupported("functions of this kind are not kept in a database: " + info.name);
}
duckdb::optional_ptr<duckdb::CatalogEntry> LaminaSchemaEntry::CreateCollation(
    duckdb::CatalogTransaction, duckdb::CreateCollationInfo&) {
  ThrowUnsupported("collations are not kept in a database");
}

void LaminaSchemaEntry::DropEntry(duckdb::ClientContext& context, duckdb::DropInfo& info) {
  const bool macro = info.type == CatalogType::MACRO_ENTRY;
  if (!macro && info.type != CatalogType::TABLE_MACRO_ENTRY &&
      info.type != CatalogType::TABLE_ENTRY && info.type != CatalogType::VIEW_ENTRY)
    return DropAlone(context, info);
  const WorkingViews views(context, lamina(), info.name);
  Entries& entries = Current(context).Of(info.type);
  const auto it = entries.find(info.name);
  const char* kind = it == entries.end() ? KindOf(info.type) : KindOf(*it->second);
  if (macro) CheckNoTableCalls(context, lamina(), info.name);
  DropAlone(context, info);
  views.Check(context, kind, info.name, info.cascade);
}

void LaminaSchemaEntry::DropAlone(duckdb::ClientContext& context, duckdb::DropInfo& info) {
  Entries& entries = Current(context).Of(info.type);
  const auto it = entries.find(info.name);
  if (it == entries.end()) {
    if (info.if_not_found == duckdb::OnEntryNotFound::RETURN_NULL) return;
    Throw(MakeSqlError(info.type == CatalogType::TABLE_ENTRY   ? "T2001"
                       : info.type == CatalogType::VIEW_ENTRY  ? "T2006"
                       : info.type == CatalogType::INDEX_ENTRY ? "T2004"
                                                               : "T2010",
                       fmt::format("{} does not exist: {}", KindOf(info.type), info.name)));
  }
  const std::string entry_name = it->second->name;
  const CatalogType type = it->second->type;
  if (type != info.type) {
    Throw(MakeSqlError(info.type == CatalogType::VIEW_ENTRY    ? "T2006"
                       : info.type == CatalogType::TABLE_ENTRY ? "T2001"
                                                               : "T2010",
                       fmt::format("{} is a {}", entry_name, KindOf(*it->second)),
                       fmt::format("DROP {}", IsView(*it->second) ? "MATERIALIZED VIEW"
                                              : type == CatalogType::VIEW_ENTRY     ? "VIEW"
                                              : type == CatalogType::SEQUENCE_ENTRY ? "SEQUENCE"
                                                                                    : "TABLE")));
  }
  if (type == CatalogType::INDEX_ENTRY) {
    auto& definitions = LaminaTransaction::Get(context, catalog).definitions();
    const auto& index = it->second->Cast<LaminaIndexEntry>();
    const auto& table = definitions.FindSchema(name)->relations_.at(index.GetTableName());
    return DropIndex(context, lamina(), name, table->Cast<LaminaTableEntry>().table().name,
                     index.index());
  }
  if (type == CatalogType::SEQUENCE_ENTRY)
    return DropSequence(context, it->second->Cast<LaminaSequenceEntry>(), info.cascade);
  if (type == CatalogType::TABLE_ENTRY) {
    auto& entry = it->second->Cast<LaminaTableEntry>();
    if (IsView(entry) && !info.allow_drop_internal && !SaysView(context)) {
      Throw(MakeSqlError("T2018", fmt::format("{} is a materialized view", entry_name),
                         "DROP MATERIALIZED VIEW"));
    }
    const std::string table = entry.table().name;
    DropTable(context, entry, info.cascade);
    lamina().DeleteObject(context, LaminaCatalog::ObjectKey("table", name, entry_name));
    ForOwnedSequences(context, table, [&](LaminaSchemaEntry& in, LaminaSequenceEntry& sequence) {
      in.DropSequence(context, sequence, info.cascade);
    });
    return;
  }
  lamina().DeleteObject(context, LaminaCatalog::ObjectKey(KindOf(type), name, entry_name));
}

void LaminaSchemaEntry::DropTable(duckdb::ClientContext& context, LaminaTableEntry& table,
                                  bool cascade) {
  auto& ours = LaminaTransaction::Get(context, catalog);
  const std::string stored = table.table().name;
  const Dependents dependents = table.dependents();
  const uint64_t id = table.table().id;
  std::vector<std::string> others;  // at the other end of foreign keys
  for (const ForeignKey& key : dependents.referenced_by) {
    if (key.table == id) continue;
    const LaminaTableEntry& from = *ours.definitions().FindTable(key.table);
    if (!cascade) {
      Throw(MakeSqlError("T2013",
                         fmt::format("rows of another table refer to this one: table={} "
                                     "referenced by={}",
                                     table.name, from.name),
                         "DROP TABLE … CASCADE drops the foreign key too"));
    }
    others.push_back(from.table().name);
    for (const IndexDefinition& index : from.dependents().indexes) {
      if (index.role != IndexDefinition::Role::kForeignKey || index.columns != key.columns)
        continue;
      ThrowIfError(ours.data().DropTable(index.storage));
      lamina().DeleteObject(context, IndexObjectKey(from.schema.name, index));
      break;
    }
    lamina().DeleteObject(context, key.object);
  }
  for (const ForeignKey& key : dependents.foreign_keys) {
    if (key.references != id)
      others.push_back(ours.definitions().FindTable(key.references)->table().name);
    lamina().DeleteObject(context, key.object);
  }
  for (const IndexDefinition& index : dependents.indexes) {
    ThrowIfError(ours.data().DropTable(index.storage));
    lamina().DeleteObject(context, IndexObjectKey(name, index));
  }
  if (dependents.view.has_value()) lamina().DeleteObject(context, dependents.view->object);
  for (const TriggerDefinition& trigger : dependents.triggers)
    lamina().DeleteObject(context, trigger.object);
  ThrowIfError(ours.data().DropTable(stored));
  ours.DefinitionsChanged();
  for (const std::string& other : others) MarkTable(ours, other);
}

void LaminaSchemaEntry::DropDependentsOfColumn(duckdb::ClientContext& context,
                                               const LaminaTableEntry& table,
                                               const std::string& column, bool cascade) {
  auto& ours = LaminaTransaction::Get(context, catalog);
  const Dependents dependents = table.dependents();
  const std::string stored = table.table().name;
  const auto has = [&](const std::vector<std::string>& columns) {
    return std::find(columns.begin(), columns.end(), column) != columns.end();
  };
  const auto refuse = [&](const std::string& what) {
    if (cascade) return;
    Throw(MakeSqlError(
        "T2013", fmt::format("{} needs this column: table={} column={}", what, table.name, column),
        "DROP COLUMN … CASCADE drops it too"));
  };
  std::vector<std::string> others;
  const auto drop_key = [&](const ForeignKey& key) {
    const LaminaTableEntry& from = *ours.definitions().FindTable(key.table);
    others.push_back(from.table().name);
    others.push_back(ours.definitions().FindTable(key.references)->table().name);
    for (const IndexDefinition& index : from.dependents().indexes) {
      if (index.role != IndexDefinition::Role::kForeignKey || index.columns != key.columns)
        continue;
      ThrowIfError(ours.data().DropTable(index.storage));
      lamina().DeleteObject(context, IndexObjectKey(from.schema.name, index));
      break;
    }
    lamina().DeleteObject(context, key.object);
  };
  for (const ForeignKey& key : dependents.referenced_by) {
    if (!has(key.referenced)) continue;
    refuse("a foreign key of another table");
    drop_key(key);
  }
  for (const ForeignKey& key : dependents.foreign_keys) {
    const bool gone = key.references == key.table && has(key.referenced);
    if (!has(key.columns) || gone) continue;
    refuse("a foreign key");
    drop_key(key);
  }
  for (const IndexDefinition& index : dependents.indexes) {
    if (!has(index.columns) || index.role == IndexDefinition::Role::kForeignKey) continue;
    refuse(index.role == IndexDefinition::Role::kUnique ? "a UNIQUE constraint"
                                                        : "the index " + index.name);
    DropIndex(context, lamina(), name, stored, index);
  }
  std::sort(others.begin(), others.end());
  others.erase(std::unique(others.begin(), others.end()), others.end());
  for (const std::string& other : others) MarkTable(ours, other);
}

void LaminaSchemaEntry::Alter(duckdb::CatalogTransaction transaction, duckdb::AlterInfo& info) {
  auto& context = transaction.GetContext();
  Entries& entries = Current(context).Of(info.GetCatalogType());
  const auto it = entries.find(info.name);
  if (it == entries.end()) {
    if (info.if_not_found == duckdb::OnEntryNotFound::RETURN_NULL) return;
    Throw(MakeSqlError(
        "T2001", fmt::format("{} does not exist: {}", KindOf(info.GetCatalogType()), info.name)));
  }
  if (it->second->type == CatalogType::TABLE_ENTRY)
    CheckMayAlter(it->second->Cast<LaminaTableEntry>(), info);
  if (info.type == duckdb::AlterType::ALTER_TABLE && it->second->type == CatalogType::TABLE_ENTRY) {
    return AlterTable(context, info.Cast<duckdb::AlterTableInfo>());
  }
  if (it->second->type == CatalogType::TABLE_ENTRY) {
    auto said = it->second->GetInfo();
    auto& table = said->Cast<duckdb::CreateTableInfo>();
    if (info.type == duckdb::AlterType::SET_COMMENT) {
      table.comment = info.Cast<duckdb::SetCommentInfo>().comment_value;
    } else if (info.type == duckdb::AlterType::SET_COLUMN_COMMENT) {
      const auto& change = info.Cast<duckdb::SetColumnCommentInfo>();
      if (!table.columns.ColumnExists(change.column_name)) {
        Throw(MakeSqlError("T2002", fmt::format("column does not exist: table={} column={}",
                                                it->second->name, change.column_name)));
      }
      duckdb::ColumnList columns;
      for (const auto& column : table.columns.Logical()) {
        auto copy = column.Copy();
        if (duckdb::StringUtil::CIEquals(copy.Name(), change.column_name))
          copy.SetComment(change.comment_value);
        columns.AddColumn(std::move(copy));
      }
      table.columns = std::move(columns);
    } else {
      ThrowUnsupported("this change of a table is not there yet: " + info.ToString());
    }
    lamina().PutObject(context, LaminaCatalog::ObjectKey("table", name, it->second->name),
                       DescribeTable(table));
    return;
  }
  if (it->second->type == CatalogType::INDEX_ENTRY && info.type == duckdb::AlterType::SET_COMMENT) {
    const auto& entry = it->second->Cast<LaminaIndexEntry>();
    IndexDefinition index = entry.index();
    const auto& comment = info.Cast<duckdb::SetCommentInfo>().comment_value;
    index.comment = comment.IsNull() ? "" : comment.ToString();
    const auto& table = Current(context).relations_.at(entry.GetTableName());
    return ChangeIndex(context, lamina(), name, table->Cast<LaminaTableEntry>().table().name,
                       index);
  }
  if (it->second->type == CatalogType::SEQUENCE_ENTRY)
    return AlterSequence(context, it->second->Cast<LaminaSequenceEntry>(), info);
  if (info.type == duckdb::AlterType::SET_COMMENT ||
      (info.type == duckdb::AlterType::SET_COLUMN_COMMENT &&
       it->second->type == CatalogType::VIEW_ENTRY))
    return Comment(context, *it->second, info);
  // DuckDB's other entries end the instance when they are asked for a change they do not know.
  if (it->second->type != CatalogType::VIEW_ENTRY)
    ThrowUnsupported("this change of an object is not there yet: " + info.ToString());
  auto altered = it->second->AlterEntry(context, info);
  if (altered == nullptr)
    ThrowUnsupported("this change of a view is not there yet: " + info.ToString());
  const auto type = it->second->type;
  const std::string old_name = it->second->name;
  nlohmann::json definition =
      lamina().GetObject(context, LaminaCatalog::ObjectKey(KindOf(type), name, old_name));
  definition["sql"] = Text(*altered->GetInfo());
  if (altered->name != old_name)
    lamina().DeleteObject(context, LaminaCatalog::ObjectKey(KindOf(type), name, old_name));
  lamina().PutObject(context, LaminaCatalog::ObjectKey(KindOf(type), name, altered->name),
                     definition);
}

void LaminaSchemaEntry::Comment(duckdb::ClientContext& context, duckdb::CatalogEntry& entry,
                                duckdb::AlterInfo& info) {
  const std::string key = LaminaCatalog::ObjectKey(KindOf(entry.type), name, entry.name);
  nlohmann::json definition = lamina().GetObject(context, key);
  if (info.type == duckdb::AlterType::SET_COMMENT) {
    const duckdb::Value& comment = info.Cast<duckdb::SetCommentInfo>().comment_value;
    definition.erase("comment");
    if (!comment.IsNull()) definition["comment"] = comment.ToString();
  } else {
    const auto& change = info.Cast<duckdb::SetColumnCommentInfo>();
    auto& view = entry.Cast<duckdb::ViewCatalogEntry>();
    view.BindView(context);
    const auto columns = view.GetColumnInfo();
    const auto is_it = [&](const std::string& column) {
      return duckdb::StringUtil::CIEquals(column, change.column_name);
    };
    const auto found = std::find_if(columns->names.begin(), columns->names.end(), is_it);
    if (found == columns->names.end()) {
      Throw(MakeSqlError("T2002", fmt::format("column does not exist: view={} column={}",
                                              entry.name, change.column_name)));
    }
    auto& comments = definition["column_comments"];
    if (change.comment_value.IsNull()) {
      if (comments.is_object()) comments.erase(*found);
    } else {
      comments[*found] = change.comment_value.ToString();
    }
    if (comments.empty()) definition.erase("column_comments");
  }
  lamina().PutObject(context, key, definition);
}

void LaminaSchemaEntry::AlterTable(duckdb::ClientContext& context, duckdb::AlterTableInfo& info) {
  auto& entry = Current(context).Of(CatalogType::TABLE_ENTRY)[info.name]->Cast<LaminaTableEntry>();
  auto& ours = LaminaTransaction::Get(context, catalog);
  db::Session& data = ours.data();
  const std::string stored = entry.table().name;
  auto said_owner = entry.GetInfo();
  auto& said = said_owner->Cast<duckdb::CreateTableInfo>();
  std::string new_name = entry.name;
  const auto check_column = [&](const std::string& column) {
    if (entry.ColumnExists(column)) return;
    Throw(MakeSqlError(
        "T2002", fmt::format("column does not exist: table={} column={}", entry.name, column)));
  };
  // The columns once more, with a change.
  const auto rebuild = [&](const std::function<void(duckdb::ColumnDefinition&)>& change,
                           const std::string& without = {}) {
    duckdb::ColumnList columns;
    for (const auto& column : said.columns.Logical()) {
      if (duckdb::StringUtil::CIEquals(column.Name(), without)) continue;
      auto copy = column.Copy();
      if (change != nullptr) change(copy);
      columns.AddColumn(std::move(copy));
    }
    said.columns = std::move(columns);
  };
  const auto check_not_generated = [&](const std::string& column) {
    if (!entry.GetColumn(column).Generated()) return;
    ThrowUnsupported(
        fmt::format("a generated column cannot be changed: table={} column={}", entry.name, column),
        "drop it, and make the table anew with it");
  };
  // CHECKs and what generates columns, as they will be kept.
  const auto for_each_expression =
      [&](const std::function<void(duckdb::ParsedExpression&)>& visit) {
        for (const auto& constraint : said.constraints) {
          if (constraint->type == duckdb::ConstraintType::CHECK)
            visit(*constraint->Cast<duckdb::CheckConstraint>().expression);
        }
        for (const auto& column : said.columns.Logical()) {
          if (column.Generated())
            visit(said.columns.GetColumnMutable(column.Logical()).GeneratedExpressionMutable());
        }
      };
  std::optional<WorkingViews> views;  // of a column that is dropped
  using duckdb::AlterTableType;
  switch (info.alter_table_type) {
    case AlterTableType::RENAME_TABLE: {
      new_name = info.Cast<duckdb::RenameTableInfo>().new_table_name;
      if (Current(context).Of(CatalogType::TABLE_ENTRY).count(new_name) != 0 &&
          !duckdb::StringUtil::CIEquals(new_name, entry.name))
        Throw(MakeSqlError("T2003", "a table or view exists already: " + new_name));
      CheckName(new_name);
      ForOwnedSequences(context, stored, [&](LaminaSchemaEntry& in, LaminaSequenceEntry& of) {
        in.PutSequence(context, of.Definition(), of.handle().id,
                       {TableName(name, new_name), of.always()});
      });
      ThrowIfError(data.RenameTable(stored, TableName(name, new_name)));
      said.table = new_name;
      for_each_expression([&](duckdb::ParsedExpression& expression) {
        if (!entry.ColumnExists(entry.name)) RenameTableIn(expression, entry.name, new_name);
      });
      break;
    }
    case AlterTableType::RENAME_COLUMN: {
      const auto& rename = info.Cast<duckdb::RenameColumnInfo>();
      check_column(rename.old_name);
      if (entry.ColumnExists(rename.new_name))
        Throw(MakeSqlError("T2011", "column exists already: " + rename.new_name));
      const std::string old_name = entry.GetColumn(rename.old_name).Name();
      if (!entry.GetColumn(old_name).Generated())
        ThrowIfError(data.RenameColumn(stored, old_name, rename.new_name));
      const auto renamed = [&](std::vector<std::string> columns) {
        std::replace(columns.begin(), columns.end(), old_name, rename.new_name);
        return columns;
      };
      for (IndexDefinition index : entry.dependents().indexes) {
        index.columns = renamed(std::move(index.columns));
        ChangeIndex(context, lamina(), name, stored, index);
      }
      RenameColumnInTriggers(context, lamina(), entry, old_name, rename.new_name);
      for (ForeignKey key : entry.dependents().foreign_keys) {
        key.columns = renamed(std::move(key.columns));
        if (key.references == key.table) key.referenced = renamed(std::move(key.referenced));
        PutForeignKey(context, lamina(), name, std::move(key));
      }
      for (ForeignKey key : entry.dependents().referenced_by) {
        if (key.references == key.table) continue;
        key.referenced = renamed(std::move(key.referenced));
        PutForeignKey(context, lamina(), name, std::move(key));
      }
      rebuild([&](duckdb::ColumnDefinition& column) {
        if (column.Name() == old_name) column.SetName(rename.new_name);
      });
      for_each_expression([&](duckdb::ParsedExpression& expression) {
        RenameColumnIn(expression, entry.name, old_name, rename.new_name);
      });
      break;
    }
    case AlterTableType::ADD_COLUMN: {
      auto& add = info.Cast<duckdb::AddColumnInfo>();
      const std::string column = add.new_column.Name();
      if (entry.ColumnExists(column)) {
        if (add.if_column_not_exists) return;
        Throw(MakeSqlError(
            "T2011", fmt::format("column exists already: table={} column={}", entry.name, column)));
      }
      if (add.new_column.Generated())
        ThrowUnsupported("generated columns cannot be added to a table",
                         "make the table with them");
      duckdb::ColumnDefinition added = add.new_column.Copy();
      const ColumnClauses clauses = ClausesOf(context);
      const auto clause = clauses.find(duckdb::StringUtil::Lower(column));
      const bool said_more = clause != clauses.end();
      if (said_more && clause->second.sequence.has_value())
        CreateColumnSequence(context, entry.name, added, clause->second);
      AddColumn(context, entry, added, said_more && clause->second.not_null);
      said.columns.AddColumn(std::move(added));
      break;
    }
    case AlterTableType::REMOVE_COLUMN: {
      const auto& remove = info.Cast<duckdb::RemoveColumnInfo>();
      if (!entry.ColumnExists(remove.removed_column) && remove.if_column_exists) return;
      check_column(remove.removed_column);
      views.emplace(context, lamina(), entry.name);
      const std::string column = entry.GetColumn(remove.removed_column).Name();
      for (const std::string& key : entry.table().key) {
        if (key == column)
          Throw(MakeSqlError("T2013", "a column of the primary key cannot be dropped: " + column));
      }
      for_each_expression([&](duckdb::ParsedExpression& expression) {
        if (!NamesColumn(expression, entry.name, column)) return;
        Throw(MakeSqlError("T2013",
                           fmt::format("a CHECK constraint or generated column needs the column "
                                       "that is to be dropped: table={} column={} expression={}",
                                       entry.name, column, expression.ToString())));
      });
      if (said.columns.GetColumn(column).Generated()) {
        rebuild(nullptr, column);
        break;
      }
      DropDependentsOfColumn(context, entry, column, remove.cascade);
      DropTriggersOfColumn(context, lamina(), entry, column, remove.cascade);
      ThrowIfError(data.DropColumn(stored, column));
      rebuild(nullptr, column);
      break;
    }
    case AlterTableType::ALTER_COLUMN_TYPE: {
      const auto& change = info.Cast<duckdb::ChangeColumnTypeInfo>();
      check_column(change.column_name);
      const std::string column = entry.GetColumn(change.column_name).Name();
      check_not_generated(column);
      if (const auto need = WhatNeedsTheTypeOf(context, entry, column); !need.what.empty()) {
        Throw(MakeSqlError("T2013",
                           fmt::format("{} needs the type of this column: table={} column={}",
                                       need.what, entry.name, column),
                           need.drop + ", change the type, and make it again"));
      }
      ChangeType(context, entry, column, change.target_type, change.expression.get());
      rebuild([&](duckdb::ColumnDefinition& of) {
        if (of.Name() == column) of.SetType(change.target_type);
      });
      break;
    }
    case AlterTableType::SET_DEFAULT: {
      const auto& change = info.Cast<duckdb::SetDefaultInfo>();
      check_column(change.column_name);
      check_not_generated(change.column_name);
      rebuild([&](duckdb::ColumnDefinition& of) {
        if (!duckdb::StringUtil::CIEquals(of.Name(), change.column_name)) return;
        of.SetDefaultValue(change.expression == nullptr ? nullptr : change.expression->Copy());
        CheckDefault(context, entry, of);
      });
      break;
    }
    case AlterTableType::SET_NOT_NULL: {
      const auto& change = info.Cast<duckdb::SetNotNullInfo>();
      check_column(change.column_name);
      check_not_generated(change.column_name);
      const ColumnClauses clauses = ClausesOf(context);
      const auto clause = clauses.find(duckdb::StringUtil::Lower(change.column_name));
      if (clause != clauses.end() && clause->second.always.has_value()) {
        SetIdentity(context, entry, change.column_name, *clause->second.always);
        break;
      }
      SetNotNull(context, entry, entry.GetColumn(change.column_name).Name());
      break;
    }
    case AlterTableType::DROP_NOT_NULL: {
      const auto& change = info.Cast<duckdb::DropNotNullInfo>();
      check_column(change.column_name);
      check_not_generated(change.column_name);
      DropNotNull(context, entry, entry.GetColumn(change.column_name).Name());
      break;
    }
    default: {
      const auto* change = dynamic_cast<const ChangeConstraintInfo*>(&info);
      if (change == nullptr) ThrowUnsupported("this ALTER TABLE is not there yet");
      ChangeConstraint(context, entry, *change, &said);
      break;
    }
  }
  // NOT NULL and the key count columns, which may have moved: what the database says of them holds.
  for (auto it = said.constraints.begin(); it != said.constraints.end();) {
    const bool from_below = (*it)->type == duckdb::ConstraintType::NOT_NULL ||
                            ((*it)->type == duckdb::ConstraintType::UNIQUE &&
                             (*it)->Cast<duckdb::UniqueConstraint>().IsPrimaryKey());
    it = from_below ? said.constraints.erase(it) : it + 1;
  }
  ours.DefinitionsChanged();
  if (new_name != entry.name)
    lamina().DeleteObject(context, LaminaCatalog::ObjectKey("table", name, entry.name));
  lamina().PutObject(context, LaminaCatalog::ObjectKey("table", name, new_name),
                     DescribeTable(said));
  if (views) {
    const auto& remove = info.Cast<duckdb::RemoveColumnInfo>();
    views->Check(context, "column", remove.removed_column, remove.cascade);
  }
}

}  // namespace lamina::sql
