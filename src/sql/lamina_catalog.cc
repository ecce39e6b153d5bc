#include "sql/lamina_catalog.h"

#include <algorithm>
#include <utility>

#include <arrow/api.h>
#include <duckdb/catalog/catalog_entry/scalar_macro_catalog_entry.hpp>
#include <duckdb/catalog/catalog_entry/table_macro_catalog_entry.hpp>
#include <duckdb/catalog/catalog_entry/type_catalog_entry.hpp>
#include <duckdb/catalog/catalog_search_path.hpp>
#include <duckdb/parser/parsed_data/create_macro_info.hpp>
#include <duckdb/parser/parsed_data/create_schema_info.hpp>
#include <duckdb/parser/parsed_data/create_table_info.hpp>
#include <duckdb/parser/parsed_data/create_type_info.hpp>
#include <duckdb/parser/parsed_data/create_view_info.hpp>
#include <duckdb/parser/parsed_data/drop_info.hpp>
#include <duckdb/parser/statement/create_statement.hpp>
#include <duckdb/storage/database_size.hpp>
#include <fmt/format.h>

#include "base/scope_guard.h"
#include "db/session.h"
#include "sql/commit_notes.h"
#include "sql/dependents.h"
#include "sql/error_translation.h"
#include "sql/index_entry.h"
#include "sql/materialized_view.h"
#include "sql/plain_files.h"
#include "sql/schema_entry.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"

namespace lamina::sql {
namespace {

std::shared_ptr<arrow::Schema> ObjectSchema() {
  static const auto schema = arrow::schema({arrow::field("key", arrow::utf8(), false),
                                            arrow::field("definition", arrow::utf8(), false)});
  return schema;
}

std::shared_ptr<arrow::RecordBatch> ObjectRow(const std::string& key,
                                              const std::string& definition) {
  arrow::StringBuilder keys, definitions;
  ThrowIfError(keys.Append(key));
  ThrowIfError(definitions.Append(definition));
  return arrow::RecordBatch::Make(
      ObjectSchema(), 1, {ValueOrThrow(keys.Finish()), ValueOrThrow(definitions.Finish())});
}

/// Names in keys, so that '/' separates.
std::string Escape(const std::string& name) {
  std::string out;
  for (const char c : name) {
    if (c == '/' || c == '%') {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}
std::string Unescape(std::string_view name) {
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '%' && i + 2 < name.size()) {
      out += static_cast<char>(std::stoi(std::string(name.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += name[i];
    }
  }
  return out;
}

/// Its values bear its name, its definition does not: CREATE TYPE t AS t would be none.
class TypeEntry final : public duckdb::TypeCatalogEntry {
 public:
  using TypeCatalogEntry::TypeCatalogEntry;
  duckdb::unique_ptr<duckdb::CreateInfo> GetInfo() const override {
    auto out = TypeCatalogEntry::GetInfo();
    auto& type = out->Cast<duckdb::CreateTypeInfo>().type;
    type = type.DeepCopy();
    type.SetAlias("");
    return out;
  }
  std::string ToSQL() const override { return GetInfo()->ToString(); }
};

/// The statement that a definition holds as text.
duckdb::unique_ptr<duckdb::CreateInfo> ParseCreate(const std::string& sql) {
  duckdb::Parser parser;
  parser.ParseQuery(sql);
  if (parser.statements.size() != 1 ||
      parser.statements[0]->type != duckdb::StatementType::CREATE_STATEMENT) {
    Throw(MakeSqlError("T5010", "a definition in the catalogue is no CREATE statement: " + sql));
  }
  return std::move(parser.statements[0]->Cast<duckdb::CreateStatement>().info);
}

}  // namespace

std::string TableName(const std::string& schema, const std::string& table) {
  if (schema == kMainSchema && table.find('.') == std::string::npos) return table;
  return schema + "." + table;
}

std::pair<std::string, std::string> SplitTableName(const std::string& name) {
  const size_t dot = name.find('.');
  if (dot == std::string::npos || dot == 0) return {kMainSchema, name};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

CatalogSnapshot::CatalogSnapshot(uint64_t version) : version_(version) {}
CatalogSnapshot::~CatalogSnapshot() = default;

LaminaSchemaEntry* CatalogSnapshot::FindSchema(const std::string& name) {
  const auto it = schemas_.find(name);
  return it == schemas_.end() ? nullptr : it->second.get();
}

LaminaTableEntry* CatalogSnapshot::FindTable(uint64_t id) const {
  const auto it = tables_.find(id);
  return it == tables_.end() ? nullptr : it->second;
}

const Dependents& CatalogSnapshot::DependentsOf(uint64_t table) const {
  static const Dependents none;
  const LaminaTableEntry* entry = FindTable(table);
  return entry == nullptr ? none : entry->dependents();
}

LaminaCatalog::LaminaCatalog(duckdb::AttachedDatabase& db, Database* database)
    : Catalog(db),
      database_(database),
      plain_files_(PlainFiles::Install(db.GetDatabase())),
      sequences_(database),
      statistics_(database) {}

void LaminaCatalog::Initialize(bool) {}

std::string LaminaCatalog::ObjectKey(const char* kind, const std::string& schema,
                                     const std::string& name) {
  return fmt::format("{}/{}/{}", kind, Escape(schema), Escape(name));
}

duckdb::LogicalType LaminaCatalog::ParseType(const std::string& text) {
  base::MutexLock lock(&types_mu_);
  if (types_ == nullptr) {
    types_ = std::make_unique<duckdb::Connection>(GetDatabase());
    types_context_ = types_->context.get();
  }
  duckdb::LogicalType out;
  types_->context->RunFunctionInTransaction(
      [&] { out = duckdb::TransformStringToLogicalType(text, *types_->context); });
  return out;
}

void LaminaCatalog::EndTypes() {
  base::MutexLock lock(&types_mu_);
  types_context_ = nullptr;
  types_ = nullptr;
}

std::shared_ptr<CatalogSnapshot> LaminaCatalog::Load(LaminaTransaction& transaction) {
  // The snapshot that is kept serves when nothing changed behind it or behind this transaction's
  // own: tables (through any interface) by the database's word, objects by ours. In this order: a
  // change that was committed before the transaction's snapshot is seen in one of the two.
  const CommitId at = transaction.data().snapshot()->commit();
  const bool settled = definition_commits_ == 0;
  const CommitId changed =
      std::max(db::DefinitionsChangedAt(*database_), CommitId{objects_changed_.load()});
  const bool newest = !transaction.has_changed_definitions() && settled && changed <= at;
  uint64_t version = 0;
  {
    base::MutexLock lock(&mu_);
    if (newest && newest_ != nullptr && changed <= newest_commit_) return newest_;
    version = ++versions_;
  }
  // A connection that is kept would hold the instance, which holds this catalogue: none would end.
  const base::ScopeGuard end_types([this] { EndTypes(); });
  auto out = std::make_shared<CatalogSnapshot>(version);
  const auto add_schema = [&](const std::string& name) -> LaminaSchemaEntry& {
    auto& slot = out->schemas()[name];
    if (slot == nullptr) {
      duckdb::CreateSchemaInfo info;
      info.schema = name;
      info.internal = name == kMainSchema;
      slot = duckdb::make_uniq<LaminaSchemaEntry>(*this, info);
    }
    return *slot;
  };
  add_schema(kMainSchema);

  std::map<std::string, nlohmann::json> objects;
  std::vector<TableInfo> tables = transaction.data().ListTables();
  const bool has_objects = std::any_of(tables.begin(), tables.end(), [](const TableInfo& table) {
    return table.name == kObjectTable;
  });
  if (has_objects) {
    const auto reader = ValueOrThrow(transaction.data().Scan(kObjectTable));
    for (;;) {
      const auto batch = ValueOrThrow(reader->Next());
      if (batch == nullptr) break;
      const auto& keys = static_cast<const arrow::StringArray&>(*batch->column(0));
      const auto& definitions = static_cast<const arrow::StringArray&>(*batch->column(1));
      for (int64_t i = 0; i < batch->num_rows(); ++i)
        objects[keys.GetString(i)] = nlohmann::json::parse(definitions.GetView(i));
    }
  }
  for (const auto& [key, definition] : objects) {
    if (key.starts_with("schema/")) add_schema(definition.at("name"));
  }
  std::map<uint64_t, Dependents> dependents = ReadDependents(objects, tables);
  for (TableInfo& table : tables) {
    if (table.name == kObjectTable || table.name == kSequenceTable ||
        table.name == kStatisticsTable || table.name == kNoteTable ||
        table.name.starts_with(kIndexTablePrefix))
      continue;
    const auto [schema, name] = SplitTableName(table.name);
    LaminaSchemaEntry& entry = add_schema(schema);
    const auto definition = objects.find(ObjectKey("table", schema, name));
    const uint64_t id = table.id;
    Dependents& of = dependents[id];
    auto info = MakeTableInfo(*this, schema, name, table, of,
                              definition == objects.end() ? nullptr : &definition->second);
    for (const IndexDefinition& index : of.indexes) {
      if (index.role != IndexDefinition::Role::kIndex) continue;
      auto index_info = MakeIndexInfo(GetName(), schema, name, index);
      entry.Add(duckdb::make_uniq<LaminaIndexEntry>(*this, entry, *index_info, name, index));
    }
    auto made =
        duckdb::make_uniq<LaminaTableEntry>(*this, entry, *info, std::move(table), std::move(of));
    out->tables_[id] = made.get();
    out->has_triggers_ |= !made->dependents().triggers.empty();
    if (made->dependents().view.has_value())
      entry.AddViewQuery(MakeViewQueryEntry(*this, entry, *made));
    entry.Add(std::move(made));
  }
  for (const auto& [key, definition] : objects) {
    const size_t slash = key.find('/');
    const size_t second = key.find('/', slash + 1);
    const std::string kind = key.substr(0, slash);
    if (kind == "table" || kind == "schema" || kind == "index" || kind == "foreign_key" ||
        kind == "materialized_view" || kind == "trigger")
      continue;
    if (kind == "plan_guide") {
      auto guide = std::make_shared<const PlanGuide>(ReadPlanGuide(definition));
      out->plan_guides_[NormalizedText(guide->query)] = std::move(guide);
      continue;
    }
    LaminaSchemaEntry& schema = add_schema(Unescape(key.substr(slash + 1, second - slash - 1)));
    auto info = ParseCreate(definition.at("sql"));
    info->catalog = GetName();
    info->schema = schema.name;
    if (definition.contains("comment"))
      info->comment = duckdb::Value(definition["comment"].get<std::string>());
    duckdb::unique_ptr<duckdb::CatalogEntry> entry;
    const auto comments = definition.find("column_comments");
    if (kind == "view") {
      auto& view = info->Cast<duckdb::CreateViewInfo>();
      if (comments != definition.end()) {
        for (const auto& [column, comment] : comments->items())
          view.column_comments_map[column] = duckdb::Value(comment.get<std::string>());
      }
      entry = duckdb::make_uniq<duckdb::ViewCatalogEntry>(*this, schema, view);
    } else if (kind == "macro") {
      entry = duckdb::make_uniq<duckdb::ScalarMacroCatalogEntry>(
          *this, schema, info->Cast<duckdb::CreateMacroInfo>());
    } else if (kind == "table_macro") {
      entry = duckdb::make_uniq<duckdb::TableMacroCatalogEntry>(
          *this, schema, info->Cast<duckdb::CreateMacroInfo>());
    } else if (kind == "type") {
      auto& type = info->Cast<duckdb::CreateTypeInfo>();
      type.type = ParseType(definition.at("type"));
      type.type.SetAlias(type.name);
      entry = duckdb::make_uniq<TypeEntry>(*this, schema, type);
    } else if (kind == "sequence") {
      entry = duckdb::make_uniq<LaminaSequenceEntry>(
          *this, schema, info->Cast<duckdb::CreateSequenceInfo>(), definition.at("id"),
          SequenceOwner{definition.value("owner", ""), definition.value("always", false)});
    } else {
      Throw(MakeSqlError("T4009", "the catalogue holds an object of an unknown kind: " + kind,
                         "the database was written by a newer LaminaDB"));
    }
    schema.Add(std::move(entry));
  }
  if (newest) {
    base::MutexLock lock(&mu_);
    newest_ = out;
    newest_commit_ = at;
  }
  return out;
}

void LaminaCatalog::EndDefinitionCommit(CommitId commit) {
  uint64_t seen = objects_changed_;
  while (seen < commit.value && !objects_changed_.compare_exchange_weak(seen, commit.value)) {
  }
  --definition_commits_;
}

void LaminaCatalog::EnsureObjectTable(LaminaTransaction& transaction) {
  if (transaction.data().GetTable(kObjectTable).ok()) return;
  ThrowIfError(transaction.data().CreateTable(kObjectTable, ObjectSchema(), {.names = {"key"}}));
}

void LaminaCatalog::PutObject(duckdb::ClientContext& context, const std::string& key,
                              const nlohmann::json& definition) {
  auto& transaction = LaminaTransaction::Get(context, *this);
  EnsureObjectTable(transaction);
  ThrowIfError(transaction.data().Put(kObjectTable, ObjectRow(key, definition.dump())));
  transaction.DefinitionsChanged();
}

void LaminaCatalog::DeleteObject(duckdb::ClientContext& context, const std::string& key) {
  auto& transaction = LaminaTransaction::Get(context, *this);
  if (!transaction.data().GetTable(kObjectTable).ok()) return;
  ThrowIfError(transaction.data().Delete(kObjectTable, ObjectRow(key, "")));
  transaction.DefinitionsChanged();
}

nlohmann::json LaminaCatalog::GetObject(duckdb::ClientContext& context, const std::string& key) {
  auto& transaction = LaminaTransaction::Get(context, *this);
  const auto row = ValueOrThrow(
      transaction.data().Get(kObjectTable, {std::make_shared<arrow::StringScalar>(key)}));
  if (row->num_rows() == 0) Throw(MakeSqlError("T2010", "object does not exist: " + key));
  return nlohmann::json::parse(static_cast<const arrow::StringArray&>(*row->column(1)).GetView(0));
}

duckdb::optional_idx LaminaCatalog::GetCatalogVersion(duckdb::ClientContext& context) {
  return LaminaTransaction::Get(context, *this).definitions().version();
}

duckdb::optional_ptr<duckdb::CatalogEntry> LaminaCatalog::CreateSchema(
    duckdb::CatalogTransaction transaction, duckdb::CreateSchemaInfo& info) {
  auto& context = transaction.GetContext();
  auto& ours = LaminaTransaction::Get(context, *this);
  if (ours.definitions().FindSchema(info.schema) != nullptr) {
    if (info.on_conflict == duckdb::OnCreateConflict::IGNORE_ON_CONFLICT) return nullptr;
    Throw(MakeSqlError("T2011", fmt::format("schema exists already: {}", info.schema),
                       "CREATE SCHEMA IF NOT EXISTS goes on in that case"));
  }
  if (info.schema.find('.') != std::string::npos)
    Throw(MakeSqlError("T2015", "the name of a schema cannot hold a dot: " + info.schema));
  PutObject(context, ObjectKey("schema", "", info.schema), {{"name", info.schema}});
  return ours.definitions().FindSchema(info.schema);
}

void LaminaCatalog::DropSchema(duckdb::ClientContext& context, duckdb::DropInfo& info) {
  auto& ours = LaminaTransaction::Get(context, *this);
  LaminaSchemaEntry* schema = ours.definitions().FindSchema(info.name);
  if (schema == nullptr) {
    if (info.if_not_found == duckdb::OnEntryNotFound::RETURN_NULL) return;
    Throw(MakeSqlError("T2009", "schema does not exist: " + info.name));
  }
  if (info.name == kMainSchema)
    Throw(MakeSqlError("T2013", "the schema main belongs to every database"));
  std::vector<duckdb::DropInfo> drops;
  for (const auto type : {duckdb::CatalogType::VIEW_ENTRY, duckdb::CatalogType::TABLE_ENTRY,
                          duckdb::CatalogType::MACRO_ENTRY, duckdb::CatalogType::TABLE_MACRO_ENTRY,
                          duckdb::CatalogType::SEQUENCE_ENTRY, duckdb::CatalogType::TYPE_ENTRY}) {
    schema->Scan(context, type, [&](duckdb::CatalogEntry& entry) {
      if (entry.type != type) return;
      duckdb::DropInfo drop;
      drop.type = type;
      drop.schema = info.name;
      drop.name = entry.name;
      drop.cascade = info.cascade;
      drop.allow_drop_internal = true;  // whatever kind of table it is
      drops.push_back(std::move(drop));
    });
  }
  if (!drops.empty() && !info.cascade) {
    Throw(MakeSqlError("T2013",
                       fmt::format("the schema is not empty: schema={} objects={} first={}",
                                   info.name, drops.size(), drops[0].name),
                       "DROP SCHEMA … CASCADE drops them too"));
  }
  for (duckdb::DropInfo& drop : drops)
    ours.definitions().FindSchema(info.name)->DropEntry(context, drop);
  DeleteObject(context, ObjectKey("schema", "", info.name));
}

duckdb::optional_ptr<duckdb::SchemaCatalogEntry> LaminaCatalog::LookupSchema(
    duckdb::CatalogTransaction transaction, const duckdb::EntryLookupInfo& lookup,
    duckdb::OnEntryNotFound if_not_found) {
  const std::string& name = lookup.GetEntryName();
  // Asked for a type while the catalogue is being read (ParseType): only DuckDB's own are meant.
  if (transaction.HasContext() && &transaction.GetContext() == types_context_) return nullptr;
  if (transaction.HasContext()) {
    LaminaSchemaEntry* schema =
        LaminaTransaction::Get(transaction.GetContext(), *this).definitions().FindSchema(name);
    if (schema != nullptr) return schema;
  }
  if (if_not_found == duckdb::OnEntryNotFound::RETURN_NULL) return nullptr;
  Throw(MakeSqlError("T2009", "schema does not exist: " + name));
}

void LaminaCatalog::ScanSchemas(duckdb::ClientContext& context,
                                std::function<void(duckdb::SchemaCatalogEntry&)> callback) {
  if (&context == types_context_) return;
  for (auto& [name, schema] : LaminaTransaction::Get(context, *this).definitions().schemas())
    callback(*schema);
}

duckdb::DatabaseSize LaminaCatalog::GetDatabaseSize(duckdb::ClientContext&) {
  duckdb::DatabaseSize out;
  for (const TableInfo& table : database_->ListTables()) out.bytes += table.bytes_at_rest;
  return out;
}

}  // namespace lamina::sql
