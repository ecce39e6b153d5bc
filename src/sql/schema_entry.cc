#include "sql/schema_entry.h"

#include <algorithm>

#include <arrow/type.h>
#include <duckdb/common/enums/catalog_type.hpp>
#include <duckdb/parser/constraints/foreign_key_constraint.hpp>
#include <duckdb/parser/constraints/not_null_constraint.hpp>
#include <duckdb/parser/constraints/unique_constraint.hpp>
#include <duckdb/parser/expression/columnref_expression.hpp>
#include <duckdb/parser/parsed_data/create_copy_function_info.hpp>
#include <duckdb/parser/parsed_data/create_pragma_function_info.hpp>
#include <duckdb/parser/parsed_data/create_table_function_info.hpp>
#include <duckdb/parser/parsed_data/create_table_info.hpp>
#include <duckdb/parser/parsed_data/create_type_info.hpp>
#include <duckdb/parser/parsed_data/create_view_info.hpp>
#include <duckdb/parser/parsed_data/drop_info.hpp>
#include <duckdb/planner/parsed_data/bound_create_table_info.hpp>
#include <fmt/format.h>

#include "sql/constraint_names.h"
#include "sql/dependents.h"
#include "sql/error_translation.h"
#include "sql/index_entry.h"
#include "sql/materialized_view.h"
#include "sql/moment.h"
#include "sql/period_clauses.h"
#include "sql/reference_actions.h"
#include "sql/schema_entry_internal.h"
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

/// Null: no table has the name.
template <typename Entries>
duckdb::CatalogEntry* ValidEntry(duckdb::ClientContext& context, Entries& entries,
                                 const ValidInsert& insert) {
  const auto it = entries.find(insert.table);
  if (it == entries.end() || it->second->type != CatalogType::TABLE_ENTRY) return nullptr;
  const auto& table = it->second->template Cast<LaminaTableEntry>();
  return &LaminaTransaction::Get(context, table.catalog).Keep(MakeValidEntry(table, insert.mode));
}

/// A view's query for a moment, which wins over those that it says.
duckdb::CatalogEntry* ViewAt(duckdb::ClientContext& context, duckdb::ViewCatalogEntry& view,
                             const duckdb::BoundAtClause& at) {
  auto info = view.GetInfo();
  auto& copy = info->Cast<duckdb::CreateViewInfo>();
  ReadViewAt(*copy.query->node, at);
  return &LaminaTransaction::Get(context, view.catalog)
              .Keep(duckdb::make_uniq<duckdb::ViewCatalogEntry>(view.catalog, view.schema, copy));
}

}  // namespace

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

void ThrowUnsupported(const std::string& what, std::string hint) {
  Throw(MakeSqlError("T4009", what, std::move(hint)));
}

bool IsView(const duckdb::CatalogEntry& entry) {
  const auto* table = dynamic_cast<const LaminaTableEntry*>(&entry);
  return table != nullptr && table->dependents().view.has_value();
}

const char* KindOf(const duckdb::CatalogEntry& entry) {
  return IsView(entry) ? "materialized view" : KindOf(entry.type);
}

bool SaysView(duckdb::ClientContext& context) {
  const auto session = SessionState::Find(context);
  return session != nullptr && session->view_statement != ViewStatement::Kind::kNone;
}

void CheckName(const std::string& table) {
  if (!table.starts_with(kOwnTablePrefix)) return;
  Throw(MakeSqlError("T2015", fmt::format("names that begin with {} are the database's own: {}",
                                          kOwnTablePrefix, table)));
}

ColumnClauses ClausesOf(duckdb::ClientContext& context) {
  const auto session = context.registered_state->Get<SessionState>(SessionState::kKey);
  return session == nullptr ? ColumnClauses() : session->column_clauses;
}

std::string Text(const duckdb::CreateInfo& info) {
  auto copy = info.Copy();
  copy->catalog.clear();
  copy->schema.clear();
  copy->on_conflict = duckdb::OnCreateConflict::ERROR_ON_CONFLICT;
  return copy->ToString();
}

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
      if (const auto valid = ValidInsert::Of(lookup.GetEntryName()))
        return ValidEntry(transaction.GetContext(), entries, *valid);
      auto it = entries.find(lookup.GetEntryName());
      if (it == entries.end()) {
        it = current.view_queries_.find(lookup.GetEntryName());
        if (it == current.view_queries_.end()) return nullptr;
      }
      // DuckDB would cast one to the other.
      const bool sequence = lookup.GetCatalogType() == CatalogType::SEQUENCE_ENTRY;
      if ((it->second->type == CatalogType::SEQUENCE_ENTRY) != sequence) return nullptr;
      if (it->second->type == CatalogType::VIEW_ENTRY && lookup.GetAtClause() != nullptr)
        return ViewAt(transaction.GetContext(), it->second->Cast<duckdb::ViewCatalogEntry>(),
                      *lookup.GetAtClause());
      return it->second.get();
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
  ThrowIfError(SetPeriodOf(info, &options));
  for (const std::string& column : key.names) CheckNotOfPeriod(options, column);
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

}  // namespace lamina::sql
