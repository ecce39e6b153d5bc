#include "sql/maintenance.h"

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include <duckdb/parser/statement/vacuum_statement.hpp>
#include <duckdb/parser/tableref/basetableref.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sql/error_translation.h"
#include "sql/lamina_catalog.h"
#include "sql/sql_database.h"
#include "sql/statistics.h"
#include "sql/suggestion.h"
#include "sql/table_entry.h"

namespace lamina::sql {
namespace {

std::string Quote(const std::string& name) { return duckdb::KeywordHelper::WriteQuoted(name, '"'); }

struct Target {
  std::string sql_name;
  std::string database_name;
  uint64_t id = 0;
  std::vector<std::string> columns;  ///< All that are kept.
};

Target TargetOf(const LaminaTableEntry& table) {
  Target out;
  out.sql_name = fmt::format("{}.{}.{}", kCatalogName, Quote(table.schema.name), Quote(table.name));
  out.database_name = table.table().name;
  out.id = table.table().id;
  for (const auto& column : table.GetColumns().Physical()) out.columns.push_back(column.Name());
  return out;
}

/// Nullopt: the table is none of ours.
std::optional<std::vector<Target>> FindTargets(duckdb::ClientContext& context,
                                               const duckdb::VacuumInfo& info) {
  std::vector<Target> out;
  bool ours = true;
  context.RunFunctionInTransaction([&] {
    auto& catalog = duckdb::Catalog::GetCatalog(context, kCatalogName);
    if (!info.has_table) {
      catalog.ScanSchemas(context, [&](duckdb::SchemaCatalogEntry& schema) {
        schema.Scan(context, duckdb::CatalogType::TABLE_ENTRY, [&](duckdb::CatalogEntry& entry) {
          if (entry.type == duckdb::CatalogType::TABLE_ENTRY)
            out.push_back(TargetOf(entry.Cast<LaminaTableEntry>()));
        });
      });
      return;
    }
    const auto& ref = info.ref->Cast<duckdb::BaseTableRef>();
    std::string in_catalog = ref.catalog_name;
    std::string in_schema = ref.schema_name;
    duckdb::Binder::BindSchemaOrCatalog(context, in_catalog, in_schema);
    auto entry = duckdb::Catalog::GetEntry(context, in_catalog, in_schema,
                                           {duckdb::CatalogType::TABLE_ENTRY, ref.table_name},
                                           duckdb::OnEntryNotFound::THROW_EXCEPTION);
    if (entry->type != duckdb::CatalogType::TABLE_ENTRY) {
      Throw(MakeSqlError("T2016", fmt::format("{} is no table", ref.table_name),
                         "ANALYZE and VACUUM are for tables"));
    }
    ours = entry->ParentCatalog().GetCatalogType() == kCatalogName;
    if (ours) out.push_back(TargetOf(entry->Cast<LaminaTableEntry>()));
  });
  if (!ours) return {};
  return out;
}

/// Where a name stands.
std::optional<size_t> PlaceOf(const std::string& name, std::string_view sql,
                              const StatementSpan& span) {
  for (const Token& token : span.tokens) {
    std::string_view word = token.In(sql);
    if (token.kind == TokenKind::kQuotedWord) word = word.substr(1, word.size() - 2);
    if (duckdb::StringUtil::CIEquals(std::string(word), name)) return token.begin;
  }
  return {};
}

Status KeepColumns(const std::vector<std::string>& wanted, std::string_view sql,
                   const StatementSpan& span, Target* target) {
  std::vector<std::string> kept;
  for (const std::string& name : wanted) {
    const auto of = std::find_if(
        target->columns.begin(), target->columns.end(),
        [&](const std::string& known) { return duckdb::StringUtil::CIEquals(known, name); });
    if (of == target->columns.end()) {
      return MakeSqlError("T2002", "column does not exist: " + name,
                          DidYouMean(name, target->columns), PlaceOf(name, sql, span));
    }
    kept.push_back(*of);
  }
  target->columns = std::move(kept);
  return Status::OK();
}

Status OfStorage(const Status& status) { return status.ok() ? status : AsSqlError(status); }

Status Analyze(StatisticsStore* store, const Target& target, const RunQuery& query) {
  std::vector<std::string> parts = {"count(*)"};
  for (const std::string& column : target.columns) {
    parts.push_back(fmt::format("approx_count_distinct({})", Quote(column)));
    parts.push_back(fmt::format("count({})", Quote(column)));
  }
  ARROW_ASSIGN_OR_RAISE(
      const auto result,
      query(fmt::format("SELECT {} FROM {}", fmt::join(parts, ", "), target.sql_name)));
  ARROW_ASSIGN_OR_RAISE(const bool row, result->NextRow());
  if (!row) return MakeSqlError("T5099", "ANALYZE has counted nothing");
  const auto number = [&](size_t column) -> uint64_t {
    return std::strtoull(std::string(result->Text(static_cast<int>(column))).c_str(), nullptr, 10);
  };
  TableStatistics out;
  out.rows = number(0);
  for (size_t i = 0; i < target.columns.size(); ++i) {
    const uint64_t values = number(2 * i + 2);
    out.columns[target.columns[i]] = {std::min(number(2 * i + 1), values), out.rows - values};
  }
  return OfStorage(store->Put(target.id, out));
}

}  // namespace

Result<std::optional<std::string>> RunMaintenance(duckdb::ClientContext& context,
                                                  const duckdb::SQLStatement& statement,
                                                  std::string_view sql, const StatementSpan& span,
                                                  bool in_transaction, const RunQuery& query) {
  const auto& info = *statement.Cast<duckdb::VacuumStatement>().info;
  if (info.options.vacuum && in_transaction) {
    return MakeSqlError("T5005", "VACUUM cannot run inside a transaction",
                        "COMMIT or ROLLBACK first");
  }
  auto targets = FindTargets(context, info);
  if (!targets.has_value()) return std::optional<std::string>();
  if (!info.columns.empty()) {
    if (!info.options.analyze)
      return MakeSqlError("T2016", "columns are for ANALYZE", "VACUUM ANALYZE table (columns)");
    ARROW_RETURN_NOT_OK(KeepColumns(info.columns, sql, span, &targets->front()));
  }
  LaminaCatalog* catalog = nullptr;
  context.RunFunctionInTransaction(
      [&] { catalog = &duckdb::Catalog::GetCatalog(context, kCatalogName).Cast<LaminaCatalog>(); });
  if (info.options.vacuum) {
    Database* const database = catalog->database();
    ARROW_RETURN_NOT_OK(OfStorage(database->Flush()));
    ARROW_RETURN_NOT_OK(OfStorage(info.has_table ? database->Compact(targets->front().database_name)
                                                 : database->Compact()));
  }
  if (info.options.analyze) {
    for (const Target& target : *targets) {
      const Status status = Analyze(&catalog->statistics(), target, query);
      // Another session has dropped it meanwhile: nothing is missing.
      const SqlError* error = SqlErrorOf(status);
      if (!info.has_table && error != nullptr && error->code == "T2001") continue;
      ARROW_RETURN_NOT_OK(status);
    }
  }
  return std::optional<std::string>(info.options.vacuum ? "VACUUM" : "ANALYZE");
}

}  // namespace lamina::sql
