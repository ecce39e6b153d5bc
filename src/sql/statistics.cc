#include "sql/statistics.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <arrow/api.h>
#include <duckdb/parser/statement/execute_statement.hpp>
#include <duckdb/parser/statement/explain_statement.hpp>
#include <duckdb/storage/statistics/base_statistics.hpp>
#include <duckdb/storage/statistics/numeric_stats.hpp>
#include <nlohmann/json.hpp>

#include "catalog/key_codec.h"
#include "sql/error_translation.h"
#include "sql/lamina_catalog.h"
#include "sql/period_columns.h"
#include "sql/session_state.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"

namespace lamina::sql {
namespace {

// Of a table whose bounds are asked for: planning a query must stay short.
constexpr size_t kFilesMax = 1000;

std::shared_ptr<arrow::Schema> StatisticsSchema() {
  static const auto schema = arrow::schema({arrow::field("table_id", arrow::utf8(), false),
                                            arrow::field("statistics", arrow::utf8(), false)});
  return schema;
}

Result<std::shared_ptr<arrow::RecordBatch>> RowOf(uint64_t table, const std::string& statistics) {
  arrow::StringBuilder ids, texts;
  ARROW_RETURN_NOT_OK(ids.Append(std::to_string(table)));
  ARROW_RETURN_NOT_OK(texts.Append(statistics));
  ARROW_ASSIGN_OR_RAISE(auto id, ids.Finish());
  ARROW_ASSIGN_OR_RAISE(auto text, texts.Finish());
  return arrow::RecordBatch::Make(StatisticsSchema(), 1, {std::move(id), std::move(text)});
}

std::string ToJson(const TableStatistics& statistics) {
  nlohmann::json out = {{"rows", statistics.rows}, {"columns", nlohmann::json::object()}};
  for (const auto& [name, column] : statistics.columns)
    out["columns"][name] = {{"distinct", column.distinct}, {"nulls", column.nulls}};
  return out.dump();
}

/// Null when it is none of ours: an estimate that cannot be read is one that is not there.
std::shared_ptr<const TableStatistics> FromJson(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return nullptr;
  try {
    auto out = std::make_shared<TableStatistics>();
    out->rows = json.at("rows");
    for (const auto& [name, column] : json.at("columns").items())
      out->columns[name] = {column.at("distinct"), column.at("nulls")};
    return out;
  } catch (const nlohmann::json::exception&) {
    return nullptr;
  }
}

/// How many distinct values there are by now: where nearly every row had its own, new rows have
/// theirs.
uint64_t DistinctNow(const TableStatistics& then, const ColumnStatistics& column, uint64_t rows) {
  if (then.rows == 0 || column.distinct == 0) return 0;
  double out = static_cast<double>(column.distinct);
  if (out > 0.1 * static_cast<double>(then.rows))
    out *= static_cast<double>(rows) / static_cast<double>(then.rows);
  return std::max<uint64_t>(1, std::min(rows, static_cast<uint64_t>(std::llround(out))));
}

struct Bounds {
  std::optional<duckdb::Value> min, max;
  bool has_null = true;
};

/// As DuckDB compares them: numbers of up to 64 bits, which have the same order in both.
std::optional<duckdb::Value> ValueOf(std::string_view encoded,
                                     const std::shared_ptr<arrow::DataType>& arrow_type,
                                     const duckdb::LogicalType& type) {
  // Bounds of a file that was written under a narrower type have fewer bytes.
  if (encoded.size() * 8 != static_cast<size_t>(arrow_type->bit_width())) return {};
  const auto scalar = lamina::catalog::DecodeValue(encoded, arrow_type);
  if (!scalar.ok() || !(*scalar)->is_valid) return {};
  using duckdb::LogicalTypeId;
  const auto of = [&](auto* of_type) {
    using Scalar = std::remove_pointer_t<decltype(of_type)>;
    return static_cast<const Scalar&>(**scalar).value;
  };
  switch (type.id()) {
    case LogicalTypeId::TINYINT:
      return duckdb::Value::TINYINT(of(static_cast<arrow::Int8Scalar*>(nullptr)));
    case LogicalTypeId::SMALLINT:
      return duckdb::Value::SMALLINT(of(static_cast<arrow::Int16Scalar*>(nullptr)));
    case LogicalTypeId::INTEGER:
      return duckdb::Value::INTEGER(of(static_cast<arrow::Int32Scalar*>(nullptr)));
    case LogicalTypeId::BIGINT:
      return duckdb::Value::BIGINT(of(static_cast<arrow::Int64Scalar*>(nullptr)));
    case LogicalTypeId::UTINYINT:
      return duckdb::Value::UTINYINT(of(static_cast<arrow::UInt8Scalar*>(nullptr)));
    case LogicalTypeId::USMALLINT:
      return duckdb::Value::USMALLINT(of(static_cast<arrow::UInt16Scalar*>(nullptr)));
    case LogicalTypeId::UINTEGER:
      return duckdb::Value::UINTEGER(of(static_cast<arrow::UInt32Scalar*>(nullptr)));
    case LogicalTypeId::UBIGINT:
      return duckdb::Value::UBIGINT(of(static_cast<arrow::UInt64Scalar*>(nullptr)));
    case LogicalTypeId::DATE:
      return duckdb::Value::DATE(duckdb::date_t(of(static_cast<arrow::Date32Scalar*>(nullptr))));
    default:
      return {};
  }
}

/// Which type of Arrow holds one of DuckDB's just as it is.
std::optional<arrow::Type::type> PlainType(const duckdb::LogicalType& type) {
  switch (type.id()) {
    case duckdb::LogicalTypeId::TINYINT:
      return arrow::Type::INT8;
    case duckdb::LogicalTypeId::SMALLINT:
      return arrow::Type::INT16;
    case duckdb::LogicalTypeId::INTEGER:
      return arrow::Type::INT32;
    case duckdb::LogicalTypeId::BIGINT:
      return arrow::Type::INT64;
    case duckdb::LogicalTypeId::UTINYINT:
      return arrow::Type::UINT8;
    case duckdb::LogicalTypeId::USMALLINT:
      return arrow::Type::UINT16;
    case duckdb::LogicalTypeId::UINTEGER:
      return arrow::Type::UINT32;
    case duckdb::LogicalTypeId::UBIGINT:
      return arrow::Type::UINT64;
    case duckdb::LogicalTypeId::DATE:
      return arrow::Type::DATE32;
    default:
      return {};
  }
}

/// True of all rows of the snapshot. Nullopt where that is not known.
std::optional<Bounds> BoundsOf(LaminaTransaction& transaction, const LaminaTableEntry& table,
                               const std::string& name, const duckdb::LogicalType& type) {
  const LaminaTransaction::Lock lock(transaction);
  db::Session& session = transaction.data();
  const auto definition = session.FindTable(table.table().name);
  if (definition == nullptr) return {};
  const auto facts = session.FactsInMemory(definition->id);
  if (!facts.ok() || *facts > 0) return {};
  const auto* column = definition->FindColumn(name);
  if (column == nullptr || PlainType(type) != column->type->id()) return {};
  Bounds out;
  uint64_t nulls = 0;
  // Those with history, too: bounds may be too wide, not too narrow.
  const auto files = session.FilesOf(definition->id);
  if (files.empty() || files.size() > kFilesMax) return {};
  for (const auto& file : files) {
    const auto of = std::find_if(file->columns.begin(), file->columns.end(),
                                 [&](const auto& c) { return c.column == column->id; });
    if (of == file->columns.end()) return {};
    nulls += of->null_count;
    if (of->null_count == file->rows) continue;
    if (!of->min.has_value() || !of->max.has_value()) return {};
    auto min = ValueOf(*of->min, column->type, type);
    auto max = ValueOf(*of->max, column->type, type);
    if (!min.has_value() || !max.has_value()) return {};
    if (!out.min.has_value() || *min < *out.min) out.min = std::move(min);
    if (!out.max.has_value() || *max > *out.max) out.max = std::move(max);
  }
  out.has_null = nulls > 0;
  return out;
}

}  // namespace

Status StatisticsStore::Load() {
  if (loaded_) return Status::OK();
  auto reader = database_->Scan(kStatisticsTable);
  if (!reader.ok() && CodeOf(reader.status()) != ErrorCode::kNotFound) return reader.status();
  while (reader.ok()) {
    ARROW_ASSIGN_OR_RAISE(const auto batch, (*reader)->Next());
    if (batch == nullptr) break;
    const auto& ids = static_cast<const arrow::StringArray&>(*batch->column(0));
    const auto& texts = static_cast<const arrow::StringArray&>(*batch->column(1));
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      auto statistics = FromJson(texts.GetView(i));
      if (statistics != nullptr)
        tables_[std::strtoull(ids.GetString(i).c_str(), nullptr, 10)] = std::move(statistics);
    }
  }
  loaded_ = true;
  return Status::OK();
}

std::shared_ptr<const TableStatistics> StatisticsStore::Find(uint64_t table) {
  base::MutexLock lock(&mu_);
  // What cannot be read now is asked for again with the next plan.
  if (!Load().ok()) return nullptr;
  const auto it = tables_.find(table);
  return it == tables_.end() ? nullptr : it->second;
}

Status StatisticsStore::Put(uint64_t table, const TableStatistics& fresh) {
  // Held over the commit, so that the newest is in memory too.
  base::MutexLock lock(&mu_);
  ARROW_RETURN_NOT_OK(Load());
  auto merged = std::make_shared<TableStatistics>(fresh);
  if (const auto it = tables_.find(table); it != tables_.end())
    merged->columns.insert(it->second->columns.begin(), it->second->columns.end());
  std::set<uint64_t> there = {table};
  for (const TableInfo& info : database_->ListTables()) there.insert(info.id);
  std::vector<uint64_t> gone;
  for (const auto& [id, statistics] : tables_) {
    if (!there.contains(id)) gone.push_back(id);
  }
  ARROW_ASSIGN_OR_RAISE(const auto row, RowOf(table, ToJson(*merged)));
  const auto put = [&](lamina::Transaction& transaction) -> Status {
    if (!transaction.GetTable(kStatisticsTable).ok()) {
      ARROW_RETURN_NOT_OK(
          transaction.CreateTable(kStatisticsTable, StatisticsSchema(), {.names = {"table_id"}}));
    }
    for (const uint64_t id : gone) {
      ARROW_ASSIGN_OR_RAISE(const auto dead, RowOf(id, ""));
      ARROW_RETURN_NOT_OK(transaction.Delete(kStatisticsTable, dead));
    }
    return transaction.Put(kStatisticsTable, row);
  };
  ARROW_RETURN_NOT_OK(database_->Run(put).status());
  for (const uint64_t id : gone) tables_.erase(id);
  tables_[table] = std::move(merged);
  return Status::OK();
}

bool IsQuery(duckdb::ClientContext& context, const duckdb::SQLStatement& statement) {
  switch (statement.type) {
    case duckdb::StatementType::SELECT_STATEMENT:
      return true;
    case duckdb::StatementType::EXPLAIN_STATEMENT:
      return IsQuery(context, *statement.Cast<duckdb::ExplainStatement>().stmt);
    case duckdb::StatementType::EXECUTE_STATEMENT: {
      const auto& prepared = duckdb::ClientData::Get(context).prepared_statements;
      const auto it = prepared.find(statement.Cast<duckdb::ExecuteStatement>().name);
      return it != prepared.end() &&
             it->second->statement_type == duckdb::StatementType::SELECT_STATEMENT;
    }
    default:
      return false;
  }
}

duckdb::unique_ptr<duckdb::BaseStatistics> StatisticsOf(duckdb::ClientContext& context,
                                                        LaminaTableEntry& table,
                                                        duckdb::column_t column) {
  // Of the columns of a period, what lies there is not what is read.
  if (column >= kHiddenColumns || ReadAs(table, column) != column) return nullptr;
  const std::string name = table.StorageName(column);
  const duckdb::LogicalType type = table.TypeOf(column);
  auto& catalog = table.catalog.Cast<LaminaCatalog>();
  duckdb::unique_ptr<duckdb::BaseStatistics> out;
  const auto make = [&]() -> duckdb::BaseStatistics& {
    if (out == nullptr) out = duckdb::BaseStatistics::CreateUnknown(type).ToUnique();
    return *out;
  };

  if (const auto known = catalog.statistics().Find(table.table().id)) {
    const auto of = known->columns.find(name);
    const uint64_t distinct = of == known->columns.end()
                                  ? 0
                                  : DistinctNow(*known, of->second, table.EstimateRows(context));
    if (distinct > 0) make().SetDistinctCount(distinct);
  }
  const auto session = context.registered_state->Get<SessionState>(SessionState::kKey);
  if (session == nullptr || !session->only_reads) return out;
  const auto bounds = BoundsOf(LaminaTransaction::Get(context, catalog), table, name, type);
  if (!bounds.has_value()) return out;
  if (!bounds->has_null) make().Set(duckdb::StatsInfo::CANNOT_HAVE_NULL_VALUES);
  if (bounds->min.has_value() && bounds->max.has_value()) {
    duckdb::NumericStats::SetMin(make(), *bounds->min);
    duckdb::NumericStats::SetMax(make(), *bounds->max);
  }
  return out;
}

}  // namespace lamina::sql
