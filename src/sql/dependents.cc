#include "sql/dependents.h"

#include <algorithm>
#include <tuple>

#include <arrow/api.h>
#include <duckdb/parser/expression/columnref_expression.hpp>
#include <fmt/format.h>

#include "catalog/key_codec.h"
#include "catalog/schema.h"
#include "sql/error_translation.h"
#include "sql/index_entry.h"
#include "sql/index_writer.h"
#include "sql/lamina_catalog.h"
#include "sql/load_dependents.h"
#include "sql/materialized_view.h"
#include "sql/period_clauses.h"
#include "sql/transaction.h"
#include "sql/trigger.h"

namespace lamina::sql {
namespace {

const char* NameOf(IndexDefinition::Role role) {
  switch (role) {
    case IndexDefinition::Role::kUnique:
      return "unique";
    case IndexDefinition::Role::kForeignKey:
      return "foreign_key";
    default:
      return "index";
  }
}

nlohmann::json ToJson(const IndexDefinition& index, uint64_t table) {
  nlohmann::json out = {{"table", table},
                        {"name", index.name},
                        {"role", NameOf(index.role)},
                        {"unique", index.unique},
                        {"columns", index.columns}};
  if (index.named) out["named"] = true;
  if (!index.comment.empty()) out["comment"] = index.comment;
  return out;
}

IndexDefinition ToIndex(std::string storage, const nlohmann::json& row) {
  IndexDefinition out;
  out.storage = std::move(storage);
  out.name = row.at("name");
  out.named = row.value("named", false);
  const std::string role = row.at("role");
  out.role = role == "unique"        ? IndexDefinition::Role::kUnique
             : role == "foreign_key" ? IndexDefinition::Role::kForeignKey
                                     : IndexDefinition::Role::kIndex;
  out.unique = row.at("unique");
  out.columns = row.at("columns").get<std::vector<std::string>>();
  if (row.contains("comment")) out.comment = row.at("comment");
  return out;
}

constexpr const char* kActions[] = {"no action", "cascade", "set null", "set default"};

/// Left out of the row when it is no action.
ReferenceAction ToAction(const nlohmann::json& row, const char* event) {
  if (!row.contains(event)) return ReferenceAction::kNoAction;
  const std::string name = row.at(event);
  for (size_t i = 0; i < std::size(kActions); ++i) {
    if (name == kActions[i]) return static_cast<ReferenceAction>(i);
  }
  Throw(MakeSqlError("T4009", "the catalogue holds an unknown action of a foreign key: " + name,
                     "the database was written by a newer LaminaDB"));
}

std::shared_ptr<arrow::Schema> IndexSchema() {
  static const auto schema =
      arrow::schema({arrow::field(kEntryColumn, arrow::binary(), false),
                     arrow::field(kRowColumn, arrow::binary(), false)},
                    arrow::key_value_metadata({db::kWriterKey}, {kSqlWriter}));
  return schema;
}

// As INSERT does (insert_rows.cc): from so many on entries go into files of their own.
constexpr uint64_t kManyRows = 100'000;
constexpr int64_t kRunRows = 1'000'000;

/// Whether all rows that are known now are valid for all time.
bool AllRowsAreOfAllTime(db::Session& data, const std::string& table) {
  ScanOptions options;
  options.columns = {catalog::kValidFromColumn, catalog::kValidToColumn};
  options.valid = ValidPeriod::All();
  options.order_by_key = false;
  options.batch_rows = 64 * 1024;
  const auto reader = ValueOrThrow(data.Scan(table, options));
  for (;;) {
    const auto batch = ValueOrThrow(reader->Next());
    if (batch == nullptr) return true;
    const auto* from = batch->column_data(0)->GetValues<int64_t>(1);
    const auto* to = batch->column_data(1)->GetValues<int64_t>(1);
    for (int64_t row = 0; row < batch->num_rows(); ++row)
      if (from[row] != ValidTime::Min().micros || to[row] != ValidTime::Max().micros) return false;
  }
}

/// Enters every row of the table, whenever it is valid.
void FillIndex(duckdb::ClientContext& context, LaminaTransaction& transaction,
               const std::string& table, const IndexDefinition& index) {
  db::Session& data = transaction.data();
  const auto schema = data.FindTable(table);
  const IndexWriter writer(data, *schema, index);
  ScanOptions options;
  options.columns = index.columns;
  const auto add = [&](const std::string& name) {
    auto& columns = *options.columns;
    if (std::find(columns.begin(), columns.end(), name) == columns.end()) columns.push_back(name);
  };
  for (const auto id : schema->key) add(schema->FindColumn(id)->name);
  add(catalog::kValidFromColumn);
  add(catalog::kValidToColumn);
  options.valid = ValidPeriod::All();
  options.order_by_key = false;
  options.batch_rows = 64 * 1024;
  // Whatever the isolation, a row that is committed meanwhile would be missing.
  ThrowIfError(data.NoteConstraint(table, catalog::KeyRange::All()));
  const auto reader = ValueOrThrow(data.Scan(table, options));
  const catalog::KeyCodec codec(*schema);
  uint64_t rows = ValueOrThrow(data.FactsInMemory(schema->id));
  for (const auto& file : data.FilesOf(schema->id)) rows += file->rows;
  // Nothing else of such a transaction reads the index.
  if (rows >= kManyRows && context.transaction.IsAutoCommit() && AllRowsAreOfAllTime(data, table)) {
    IndexLoad load(data, *schema, index, /*rows_are_new=*/true,
                   [&context] { return context.IsInterrupted(); });
    std::vector<IndexLoad::Piece> run;
    int64_t run_rows = 0;
    for (;;) {
      const auto batch = ValueOrThrow(reader->Next());
      if (batch != nullptr && batch->num_rows() > 0) {
        run_rows += batch->num_rows();
        run.push_back({batch, ValueOrThrow(codec.Encode(*batch))});
      }
      if (run_rows >= kRunRows || (batch == nullptr && !run.empty())) {
        ThrowIfError(load.Write(run));
        run.clear();
        run_rows = 0;
      }
      if (batch == nullptr) break;
    }
    return ThrowIfError(load.Finish());
  }
  for (;;) {
    CheckInterrupted(context);
    const auto batch = ValueOrThrow(reader->Next());
    if (batch == nullptr) return;
    if (batch->num_rows() == 0) continue;
    WriteOptions valid;
    valid.valid_from = batch->GetColumnByName(catalog::kValidFromColumn);
    valid.valid_to = batch->GetColumnByName(catalog::kValidToColumn);
    const auto keys = ValueOrThrow(codec.Encode(*batch));
    ThrowIfError(writer.Add(ValueOrThrow(writer.Entries(*batch, *keys)), valid));
  }
}

}  // namespace

std::string IndexObjectKey(const std::string& schema, const IndexDefinition& index) {
  return LaminaCatalog::ObjectKey("index", schema, index.storage);
}

std::map<uint64_t, Dependents> ReadDependents(const std::map<std::string, nlohmann::json>& objects,
                                              const std::vector<TableInfo>& tables) {
  std::map<uint64_t, Dependents> out;
  for (const auto& [key, row] : objects) {
    if (key.starts_with("index/")) {
      out[row.at("table").get<uint64_t>()].indexes.push_back(
          ToIndex(key.substr(key.rfind('/') + 1), row));
    } else if (key.starts_with("foreign_key/")) {
      ForeignKey foreign;
      foreign.object = key;
      foreign.name = row.value("name", "");
      foreign.table = row.at("table");
      foreign.references = row.at("references");
      foreign.columns = row.at("columns").get<std::vector<std::string>>();
      foreign.referenced = row.at("referenced").get<std::vector<std::string>>();
      foreign.on_delete = ToAction(row, "on_delete");
      foreign.on_update = ToAction(row, "on_update");
      for (const TableInfo& table : tables) {
        if (table.id == foreign.references)
          std::tie(foreign.references_schema, foreign.references_name) = SplitTableName(table.name);
      }
      out[foreign.references].referenced_by.push_back(foreign);
      out[foreign.table].foreign_keys.push_back(std::move(foreign));
    } else if (key.starts_with("materialized_view/")) {
      out[row.at("table").get<uint64_t>()].view = ReadViewQuery(key, row);
    } else if (key.starts_with("trigger/")) {
      out[row.at("table").get<uint64_t>()].triggers.push_back(ReadTrigger(key, row));
    }
  }
  for (auto& [table, of] : out) {
    std::sort(of.triggers.begin(), of.triggers.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
  }
  return out;
}

void MakeIndex(duckdb::ClientContext& context, LaminaCatalog& catalog, const std::string& schema,
               const std::string& table, IndexDefinition index) {
  auto& transaction = LaminaTransaction::Get(context, catalog);
  db::Session& data = transaction.data();
  const auto base = data.FindTable(table);
  for (const std::string& name : index.columns) {
    const catalog::Column* column = base->FindColumn(name);
    if (column == nullptr) {
      Throw(MakeSqlError("T2002",
                         fmt::format("column does not exist: table={} column={}", table, name)));
    }
    CheckNotOfPeriod(base->options, name);
    if (!catalog::IsKeyType(*column->type)) {
      Throw(MakeSqlError("T2015", fmt::format("an index cannot hold this type: column={}", name)));
    }
  }
  // The first number that is free: tables of former indexes are gone, but for past reads.
  for (int number = 1;; ++number) {
    index.storage = fmt::format("{}{}_{:04}", kIndexTablePrefix, base->id.value, number);
    if (data.FindTable(index.storage) == nullptr) break;
  }
  ThrowIfError(data.CreateTable(index.storage, IndexSchema(), {.names = {kEntryColumn}}, {}));
  FillIndex(context, transaction, table, index);
  catalog.PutObject(context, IndexObjectKey(schema, index), ToJson(index, base->id.value));
  MarkTable(transaction, table);
}

void DropIndex(duckdb::ClientContext& context, LaminaCatalog& catalog, const std::string& schema,
               const std::string& table, const IndexDefinition& index) {
  auto& transaction = LaminaTransaction::Get(context, catalog);
  ThrowIfError(transaction.data().DropTable(index.storage));
  catalog.DeleteObject(context, IndexObjectKey(schema, index));
  MarkTable(transaction, table);
}

void ChangeIndex(duckdb::ClientContext& context, LaminaCatalog& catalog, const std::string& schema,
                 const std::string& table, const IndexDefinition& index) {
  auto& transaction = LaminaTransaction::Get(context, catalog);
  const auto base = transaction.data().FindTable(table);
  catalog.PutObject(context, IndexObjectKey(schema, index), ToJson(index, base->id.value));
}

void PutForeignKey(duckdb::ClientContext& context, LaminaCatalog& catalog,
                   const std::string& schema, ForeignKey key) {
  auto& transaction = LaminaTransaction::Get(context, catalog);
  if (key.object.empty()) {
    std::vector<std::string> taken;
    for (const ForeignKey& other : transaction.definitions().DependentsOf(key.table).foreign_keys)
      taken.push_back(other.object);
    for (int number = 1;; ++number) {
      key.object = LaminaCatalog::ObjectKey("foreign_key", schema,
                                            fmt::format("{}_{:04}", key.table, number));
      if (std::find(taken.begin(), taken.end(), key.object) == taken.end()) break;
    }
  }
  nlohmann::json row = {{"table", key.table},
                        {"references", key.references},
                        {"columns", key.columns},
                        {"referenced", key.referenced}};
  if (!key.name.empty()) row["name"] = key.name;
  if (key.on_delete != ReferenceAction::kNoAction)
    row["on_delete"] = kActions[static_cast<size_t>(key.on_delete)];
  if (key.on_update != ReferenceAction::kNoAction)
    row["on_update"] = kActions[static_cast<size_t>(key.on_update)];
  catalog.PutObject(context, key.object, row);
}

void MarkTable(LaminaTransaction& transaction, const std::string& table) {
  db::Session& data = transaction.data();
  const auto base = data.FindTable(table);
  auto metadata = base->metadata == nullptr ? std::make_shared<arrow::KeyValueMetadata>()
                                            : base->metadata->Copy();
  if (!transaction.definitions().DependentsOf(base->id.value).empty()) {
    ThrowIfError(metadata->Set(db::kWriterKey, kSqlWriter));
  } else if (metadata->Contains(db::kWriterKey)) {
    ThrowIfError(metadata->Delete(db::kWriterKey));
  }
  ThrowIfError(data.Replace(ValueOrThrow(catalog::SetTableMetadata(*base, metadata))));
  transaction.DefinitionsChanged();
}

std::string ConstraintName(const std::string& table, const std::vector<std::string>& columns,
                           const char* suffix) {
  return fmt::format("{}_{}_{}", table, fmt::join(columns, "_"), suffix);
}

duckdb::unique_ptr<duckdb::CreateIndexInfo> MakeIndexInfo(const std::string& catalog,
                                                          const std::string& schema,
                                                          const std::string& table,
                                                          const IndexDefinition& index) {
  auto out = duckdb::make_uniq<duckdb::CreateIndexInfo>();
  out->catalog = catalog;
  out->schema = schema;
  out->table = table;
  out->index_name = index.name;
  out->index_type = "ART";  // what DuckDB leaves out of the text
  out->constraint_type =
      index.unique ? duckdb::IndexConstraintType::UNIQUE : duckdb::IndexConstraintType::NONE;
  for (const std::string& column : index.columns)
    out->parsed_expressions.push_back(
        duckdb::make_uniq<duckdb::ColumnRefExpression>(column, table));
  if (!index.comment.empty()) out->comment = duckdb::Value(index.comment);
  return out;
}

}  // namespace lamina::sql
