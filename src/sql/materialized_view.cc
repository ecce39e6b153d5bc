#include "sql/materialized_view.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <duckdb/catalog/catalog_search_path.hpp>
#include <duckdb/parser/expression/constant_expression.hpp>
#include <duckdb/parser/expression/star_expression.hpp>
#include <duckdb/parser/parsed_data/alter_table_info.hpp>
#include <duckdb/parser/parsed_data/create_table_info.hpp>
#include <duckdb/parser/parsed_data/create_view_info.hpp>
#include <duckdb/parser/parsed_data/drop_info.hpp>
#include <duckdb/parser/query_node/select_node.hpp>
#include <duckdb/parser/statement/alter_statement.hpp>
#include <duckdb/parser/statement/create_statement.hpp>
#include <duckdb/parser/statement/drop_statement.hpp>
#include <duckdb/parser/statement/merge_into_statement.hpp>
#include <duckdb/parser/statement/select_statement.hpp>
#include <duckdb/parser/tableref/basetableref.hpp>
#include <duckdb/parser/tableref/subqueryref.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sql/error_translation.h"
#include "sql/session_state.h"
#include "sql/suggestion.h"
#include "sql/table_entry.h"
#include "sql/token_reader.h"
#include "sql/transaction.h"

namespace lamina::sql {
namespace {

using Kind = ViewStatement::Kind;
using duckdb::CatalogType;

constexpr char kQueryTag[] = "lamina.materialized_view";
constexpr char kNoDataTag[] = "lamina.no_data";

std::string Quoted(const std::string& name) {
  return duckdb::KeywordHelper::WriteQuoted(name, '"');
}

/// A table that is written as a view.
struct ViewInfo final : public duckdb::CreateTableInfo {
  ViewInfo(const duckdb::CreateTableInfo& info, std::string of) : sql_(std::move(of)) {
    info.CopyProperties(*this);
    table = info.table;
    columns = info.columns.Copy();
    for (const auto& constraint : info.constraints) constraints.push_back(constraint->Copy());
  }
  std::string ToString() const override { return sql_; }

 private:
  const std::string sql_;
};

const LaminaTableEntry* AsView(const duckdb::CatalogEntry* entry) {
  const auto* table = dynamic_cast<const LaminaTableEntry*>(entry);
  return table == nullptr || !table->dependents().view.has_value() ? nullptr : table;
}

/// The materialized view of that name; null when there is nothing of it. T2018 for another kind.
Result<const LaminaTableEntry*> Find(duckdb::ClientContext& context, std::string catalog,
                                     std::string schema, const std::string& name,
                                     const ViewStatement& view) {
  duckdb::Binder::BindSchemaOrCatalog(context, catalog, schema);
  const auto entry =
      duckdb::Catalog::GetEntry(context, catalog, schema, {CatalogType::TABLE_ENTRY, name},
                                duckdb::OnEntryNotFound::RETURN_NULL);
  if (entry == nullptr) return nullptr;
  const LaminaTableEntry* out = AsView(entry.get());
  if (out != nullptr) return out;
  return MakeSqlError("T2018", fmt::format("{} is no materialized view", entry->name),
                      "duckdb_tables() and duckdb_views() tell what is of which kind",
                      view.name_at);
}

Status NotFound(duckdb::ClientContext& context, const std::string& name,
                const ViewStatement& view) {
  std::vector<std::string> known;
  auto& catalog =
      duckdb::Catalog::GetCatalog(context, duckdb::DatabaseManager::GetDefaultDatabase(context));
  for (const auto& schema : catalog.GetSchemas(context)) {
    schema.get().Scan(context, CatalogType::TABLE_ENTRY, [&](duckdb::CatalogEntry& entry) {
      if (AsView(&entry) != nullptr) known.push_back(entry.name);
    });
  }
  return MakeSqlError("T2006", "materialized view does not exist: " + name, DidYouMean(name, known),
                      view.name_at);
}

/// Rows that stay as they are are not written: equal rows of the two sides are paired, by number
/// where several are equal.
std::string RefreshSql(const LaminaTableEntry& table) {
  std::vector<std::string> names, numbers, casts, olds, news, set, equal;
  size_t i = 0;
  for (const auto& column : table.GetColumns().Logical()) {
    const std::string number = fmt::format("c{}", i++);
    names.push_back(Quoted(column.Name()));
    numbers.push_back(number);
    olds.push_back(fmt::format("{} AS {}", names.back(), number));
    casts.push_back(
        fmt::format("CAST({} AS {}) AS {}", names.back(), column.Type().ToString(), number));
    news.push_back("n." + number);
    set.push_back("s." + number);
    equal.push_back(fmt::format("o.{0} IS NOT DISTINCT FROM n.{0}", number));
  }
  const std::string schema = Quoted(table.schema.name);
  const std::string in = fmt::format("{}.{}", Quoted(table.catalog.GetName()), schema);
  return fmt::format(
      "MERGE INTO {in}.{view} AS m USING ("
      "SELECT o.r, {news} FROM (SELECT r, {numbers}, row_number() OVER (PARTITION BY {numbers}) AS "
      "k FROM (SELECT rowid AS r, {olds} FROM {in}.{view})) o FULL JOIN (SELECT {numbers}, "
      "row_number() OVER (PARTITION BY {numbers}) AS k FROM (SELECT {casts} FROM {in}.{query})) n "
      "ON o.k = n.k AND {equal} WHERE o.r IS NULL OR n.k IS NULL) s ON m.rowid = s.r "
      "WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({set})",
      fmt::arg("in", in), fmt::arg("view", Quoted(table.name)),
      fmt::arg("query", Quoted(kViewQueryPrefix + table.name)),
      fmt::arg("news", fmt::join(news, ", ")), fmt::arg("numbers", fmt::join(numbers, ", ")),
      fmt::arg("olds", fmt::join(olds, ", ")), fmt::arg("casts", fmt::join(casts, ", ")),
      fmt::arg("equal", fmt::join(equal, " AND ")), fmt::arg("names", fmt::join(names, ", ")),
      fmt::arg("set", fmt::join(set, ", ")));
}

/// REFRESH names rows by their row ids.
void CheckColumnName(const std::string& column) {
  if (!duckdb::StringUtil::CIEquals(column, "rowid")) return;
  Throw(MakeSqlError("T2015", "a column of a materialized view cannot be called rowid",
                     "CREATE MATERIALIZED VIEW name (columns) AS … gives it another name"));
}

Status PutCreate(duckdb::ClientContext& context, const ViewStatement& view,
                 duckdb::SQLStatement& statement) {
  // A PIVOT whose columns are values is several statements.
  if (statement.type != duckdb::StatementType::CREATE_STATEMENT ||
      statement.Cast<duckdb::CreateStatement>().info->type != CatalogType::TABLE_ENTRY) {
    return MakeSqlError("T4009", "the columns of this query are not known before it runs",
                        "PIVOT … ON column IN (values) says them", view.name_at);
  }
  auto& info = *statement.Cast<duckdb::CreateStatement>().info;
  auto& table = info.Cast<duckdb::CreateTableInfo>();
  if (table.query == nullptr) {
    return MakeSqlError("T2015", "a materialized view is made of a query",
                        "CREATE MATERIALIZED VIEW name AS SELECT …", view.name_at);
  }
  if (!statement.named_param_map.empty())
    return MakeSqlError("T4007", "the query of a materialized view cannot hold parameters");
  std::string catalog = info.catalog;
  std::string schema = info.schema;
  duckdb::Binder::BindSchemaOrCatalog(context, catalog, schema);
  if (catalog.empty())
    catalog = duckdb::ClientData::Get(context).catalog_search_path->GetDefault().catalog;
  if (duckdb::Catalog::GetCatalog(context, catalog).GetCatalogType() != "lamina") {
    return MakeSqlError("T4009", "materialized views are of the database, not of DuckDB's", "",
                        view.name_at);
  }
  info.tags[kQueryTag] = table.query->ToString();
  if (view.with_data) return Status::OK();
  info.tags[kNoDataTag] = "true";
  auto none = duckdb::make_uniq<duckdb::SelectNode>();
  none->select_list.push_back(duckdb::make_uniq<duckdb::StarExpression>());
  none->from_table = duckdb::make_uniq<duckdb::SubqueryRef>(std::move(table.query));
  none->where_clause = duckdb::make_uniq<duckdb::ConstantExpression>(duckdb::Value::BOOLEAN(false));
  table.query = duckdb::make_uniq<duckdb::SelectStatement>();
  table.query->node = std::move(none);
  return Status::OK();
}

Status PutRefresh(duckdb::ClientContext& context, const ViewStatement& view,
                  duckdb::unique_ptr<duckdb::SQLStatement>* statement) {
  // It was written over to be TABLE name.
  const auto& node = *(*statement)->Cast<duckdb::SelectStatement>().node;
  const auto& from = *node.Cast<duckdb::SelectNode>().from_table;
  if (from.type != duckdb::TableReferenceType::BASE_TABLE)
    return MakeSqlError("T1002", "REFRESH MATERIALIZED VIEW takes a name", "", view.name_at);
  const auto& name = from.Cast<duckdb::BaseTableRef>();
  ARROW_ASSIGN_OR_RAISE(const LaminaTableEntry* table,
                        Find(context, name.catalog_name, name.schema_name, name.table_name, view));
  if (table == nullptr) return NotFound(context, name.table_name, view);
  duckdb::Parser parser;
  parser.ParseQuery(RefreshSql(*table));
  *statement = std::move(parser.statements.at(0));
  return Status::OK();
}

}  // namespace

Result<ViewStatement> TakeViewStatement(std::string_view text, const StatementSpan& span,
                                        std::string* statement) {
  ViewStatement out;
  TokenReader reader(text, span);
  if (reader.Take("CREATE")) {
    (void)reader.Take({"OR", "REPLACE"});
    out.kind = Kind::kCreate;
  } else if (reader.Take("REFRESH")) {
    out.kind = Kind::kRefresh;
  } else if (reader.Take("DROP")) {
    out.kind = Kind::kDrop;
  } else if (reader.Take("ALTER")) {
    out.kind = Kind::kAlter;
  } else if (reader.Take({"COMMENT", "ON"})) {
    out.kind = Kind::kComment;
  }
  if (out.kind == Kind::kNone || !reader.Peek("MATERIALIZED") || !reader.Peek("VIEW", 1))
    return ViewStatement();
  const auto over = [&](size_t from, size_t to, std::string_view by) {  // tokens [from, to)
    const size_t begin = span.tokens[from].begin - span.begin;
    const size_t end = span.tokens[to - 1].end - span.begin;
    for (size_t i = begin; i < end; ++i)
      (*statement)[i] = i - begin < by.size() ? by[i - begin] : ' ';
  };
  const size_t words = reader.at();
  (void)reader.Take({"MATERIALIZED", "VIEW"});
  over(out.kind == Kind::kRefresh ? 0 : words, reader.at(), "TABLE");
  if (out.kind == Kind::kRefresh && reader.Peek("CONCURRENTLY")) {
    return MakeSqlError("T4009", "REFRESH … CONCURRENTLY is not there",
                        "no REFRESH keeps readers waiting: leave the word out", reader.position());
  }
  (void)reader.Take({"IF", "NOT", "EXISTS"});
  (void)reader.Take({"IF", "EXISTS"});
  if (reader.AtEnd()) return reader.Unexpected();
  out.name_at = reader.position();
  if (out.kind != Kind::kCreate && out.kind != Kind::kRefresh) return out;

  const size_t count = span.tokens.size();
  const auto last = [&](size_t back, std::string_view word) {
    return count > back && Is(span.tokens[count - 1 - back], text, word);
  };
  const bool no_data = last(0, "DATA") && last(1, "NO") && last(2, "WITH");
  const bool with_data = last(0, "DATA") && last(1, "WITH");
  if (no_data && out.kind == Kind::kRefresh) {
    return MakeSqlError("T4009", "REFRESH … WITH NO DATA is not there",
                        "DROP the view and CREATE it WITH NO DATA", span.tokens[count - 3].begin);
  }
  if (no_data || with_data) over(count - (no_data ? 3 : 2), count, "");
  out.with_data = !no_data;
  if (out.kind == Kind::kRefresh) {
    // What follows a name in TABLE name would be a query's.
    (void)reader.Name();
    while (reader.TakeSign('.')) ARROW_RETURN_NOT_OK(reader.Name());
    if (reader.at() < count - (with_data ? 2 : 0)) return reader.Unexpected();
  }
  return out;
}

Status PutViewStatement(duckdb::ClientContext& context, const ViewStatement& view,
                        duckdb::unique_ptr<duckdb::SQLStatement>* statement) {
  if (view.kind == Kind::kNone) return Status::OK();
  Status out;
  context.RunFunctionInTransaction([&] {
    out = [&]() -> Status {
      if (view.kind == Kind::kCreate) return PutCreate(context, view, **statement);
      if (view.kind == Kind::kRefresh) return PutRefresh(context, view, statement);
      if ((*statement)->type == duckdb::StatementType::DROP_STATEMENT) {
        const auto& info = *(*statement)->Cast<duckdb::DropStatement>().info;
        ARROW_ASSIGN_OR_RAISE(const auto* table,
                              Find(context, info.catalog, info.schema, info.name, view));
        const bool may_miss = info.if_not_found == duckdb::OnEntryNotFound::RETURN_NULL;
        return table == nullptr && !may_miss ? NotFound(context, info.name, view) : Status::OK();
      }
      if ((*statement)->type == duckdb::StatementType::ALTER_STATEMENT) {
        const auto& info = *(*statement)->Cast<duckdb::AlterStatement>().info;
        ARROW_ASSIGN_OR_RAISE(const auto* table,
                              Find(context, info.catalog, info.schema, info.name, view));
        const bool may_miss = info.if_not_found == duckdb::OnEntryNotFound::RETURN_NULL;
        return table == nullptr && !may_miss ? NotFound(context, info.name, view) : Status::OK();
      }
      return MakeSqlError("T1002", "this is no statement about a materialized view", "",
                          view.name_at);
    }();
  });
  return out;
}

std::string ViewQueryOf(const duckdb::CreateTableInfo& info) {
  const auto it = info.tags.find(kQueryTag);
  return it == info.tags.end() ? "" : it->second;
}

bool HasData(const duckdb::CreateTableInfo& info) {
  return info.tags.find(kNoDataTag) == info.tags.end();
}

void PutViewQuery(duckdb::ClientContext& context, LaminaCatalog& catalog, const std::string& schema,
                  const std::string& table, const std::string& query, bool populated) {
  auto& transaction = LaminaTransaction::Get(context, catalog);
  const TableInfo made = ValueOrThrow(transaction.data().GetTable(table));
  for (const auto& field : made.schema->fields()) CheckColumnName(field->name());
  const uint64_t id = transaction.data().FindTable(table)->id.value;
  catalog.PutObject(context,
                    LaminaCatalog::ObjectKey("materialized_view", schema, std::to_string(id)),
                    {{"table", id}, {"query", query}, {"populated", populated}});
  MarkTable(transaction, table);
}

ViewQuery ReadViewQuery(const std::string& key, const nlohmann::json& row) {
  return {key, row.at("query"), row.at("populated")};
}

duckdb::unique_ptr<duckdb::CatalogEntry> MakeViewQueryEntry(LaminaCatalog& catalog,
                                                            duckdb::SchemaCatalogEntry& schema,
                                                            const LaminaTableEntry& table) {
  duckdb::CreateViewInfo info;
  info.catalog = catalog.GetName();
  info.schema = schema.name;
  info.view_name = table.name;
  for (const auto& column : table.GetColumns().Logical()) info.aliases.push_back(column.Name());
  duckdb::Parser parser;
  parser.ParseQuery(table.dependents().view->query);
  info.query = duckdb::unique_ptr_cast<duckdb::SQLStatement, duckdb::SelectStatement>(
      std::move(parser.statements.at(0)));
  return duckdb::make_uniq<duckdb::ViewCatalogEntry>(catalog, schema, info);
}

duckdb::unique_ptr<duckdb::CreateInfo> MakeViewInfo(const LaminaTableEntry& table,
                                                    const duckdb::CreateTableInfo& info) {
  std::vector<std::string> names;
  for (const auto& column : table.GetColumns().Logical())
    names.push_back(duckdb::KeywordHelper::WriteOptionallyQuoted(column.Name()));
  const std::string schema =
      table.schema.name == kMainSchema
          ? ""
          : duckdb::KeywordHelper::WriteOptionallyQuoted(table.schema.name) + ".";
  const ViewQuery& view = *table.dependents().view;
  return duckdb::make_uniq<ViewInfo>(
      info, fmt::format("CREATE MATERIALIZED VIEW {}{} ({}) AS {}{};", schema,
                        duckdb::KeywordHelper::WriteOptionallyQuoted(table.name),
                        fmt::join(names, ", "), view.query, view.populated ? "" : " WITH NO DATA"));
}

void CheckMayWrite(duckdb::ClientContext& context, const LaminaTableEntry& table) {
  if (!table.dependents().view.has_value()) return;
  const auto session = SessionState::Find(context);
  if (session != nullptr && session->view_statement == Kind::kRefresh) return;
  Throw(MakeSqlError("T2018", "a materialized view cannot be changed: " + table.name,
                     "REFRESH MATERIALIZED VIEW computes its rows anew"));
}

void CheckPopulated(duckdb::ClientContext& context, const LaminaTableEntry& table) {
  if (!table.dependents().view.has_value() || table.dependents().view->populated) return;
  const auto session = SessionState::Find(context);
  if (session != nullptr && session->view_statement == Kind::kRefresh) return;
  Throw(MakeSqlError("T2019", "the materialized view has no rows yet: " + table.name,
                     "REFRESH MATERIALIZED VIEW computes them"));
}

void MarkPopulated(duckdb::ClientContext& context, const LaminaTableEntry& table) {
  const auto& view = table.dependents().view;
  if (!view.has_value() || view->populated) return;
  const auto session = SessionState::Find(context);
  if (session == nullptr || session->view_statement != Kind::kRefresh) return;
  auto& catalog = const_cast<LaminaTableEntry&>(table).catalog;  // NOLINT: not changed
  catalog.Cast<LaminaCatalog>().PutObject(
      context, std::string(view->object),
      {{"table", table.table().id}, {"query", view->query}, {"populated", true}});
}

void CheckMayAlter(const LaminaTableEntry& table, const duckdb::AlterInfo& info) {
  if (!table.dependents().view.has_value() || info.type != duckdb::AlterType::ALTER_TABLE) return;
  const auto kind = info.Cast<duckdb::AlterTableInfo>().alter_table_type;
  if (kind == duckdb::AlterTableType::RENAME_TABLE) return;
  if (kind == duckdb::AlterTableType::RENAME_COLUMN)
    return CheckColumnName(info.Cast<duckdb::RenameColumnInfo>().new_name);
  Throw(MakeSqlError("T2018", "columns of a materialized view come from its query: " + table.name,
                     "CREATE OR REPLACE MATERIALIZED VIEW gives it another; names can be changed"));
}

}  // namespace lamina::sql
