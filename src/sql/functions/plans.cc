// lamina_plan_guides() and lamina_suggest_index('statement').
#include <string>
#include <vector>

#include "sql/functions/functions.h"
#include "sql/lamina_catalog.h"
#include "sql/plan_guide.h"
#include "sql/sql_database.h"
#include "sql/suggest_index.h"
#include "sql/transaction.h"

namespace lamina::sql {
namespace {

using duckdb::LogicalType;
using duckdb::Value;

struct Listing final : public duckdb::GlobalTableFunctionState {
  std::vector<std::vector<Value>> rows;
  size_t next = 0;
};

struct Query final : public duckdb::TableFunctionData {
  std::string text;
};

void Next(duckdb::ClientContext&, duckdb::TableFunctionInput& input, duckdb::DataChunk& output) {
  auto& listing = input.global_state->Cast<Listing>();
  duckdb::idx_t count = 0;
  for (; listing.next < listing.rows.size() && count < STANDARD_VECTOR_SIZE; ++count) {
    const auto& row = listing.rows[listing.next++];
    for (size_t column = 0; column < row.size(); ++column)
      output.SetValue(column, count, row[column]);
  }
  output.SetCardinality(count);
}

duckdb::unique_ptr<duckdb::FunctionData> BindGuides(duckdb::ClientContext&,
                                                    duckdb::TableFunctionBindInput&,
                                                    duckdb::vector<LogicalType>& types,
                                                    duckdb::vector<duckdb::string>& names) {
  names = {"name", "query", "hints", "state", "created", "sql"};
  types.assign(names.size(), LogicalType::VARCHAR);
  types[4] = LogicalType::TIMESTAMP_TZ;
  return nullptr;
}

duckdb::unique_ptr<duckdb::GlobalTableFunctionState> BeginGuides(duckdb::ClientContext& context,
                                                                 duckdb::TableFunctionInitInput&) {
  auto out = duckdb::make_uniq<Listing>();
  auto& catalog = duckdb::Catalog::GetCatalog(context, kCatalogName);
  for (const auto& [text, guide] :
       LaminaTransaction::Get(context, catalog).definitions().plan_guides()) {
    const std::string idle = WhyIdle(context, *guide);
    out->rows.push_back({Value(guide->name), Value(guide->query), Value(guide->hints),
                         Value(idle.empty() ? "active" : "idle: " + idle),
                         Value(guide->created).DefaultCastAs(LogicalType::TIMESTAMP_TZ),
                         Value(ToSql(*guide))});
  }
  return out;
}

duckdb::unique_ptr<duckdb::FunctionData> BindSuggest(duckdb::ClientContext&,
                                                     duckdb::TableFunctionBindInput& input,
                                                     duckdb::vector<LogicalType>& types,
                                                     duckdb::vector<duckdb::string>& names) {
  names = {"schema_name", "table_name", "columns", "statement", "reason"};
  types.assign(names.size(), LogicalType::VARCHAR);
  types[2] = LogicalType::LIST(LogicalType::VARCHAR);
  auto out = duckdb::make_uniq<Query>();
  if (!input.inputs[0].IsNull()) out->text = duckdb::StringValue::Get(input.inputs[0]);
  return out;
}

duckdb::unique_ptr<duckdb::GlobalTableFunctionState> BeginSuggest(
    duckdb::ClientContext& context, duckdb::TableFunctionInitInput& input) {
  auto out = duckdb::make_uniq<Listing>();
  for (const auto& suggestion : SuggestIndexes(context, input.bind_data->Cast<Query>().text)) {
    duckdb::vector<Value> columns;
    for (const std::string& column : suggestion.columns) columns.emplace_back(column);
    out->rows.push_back({Value(suggestion.schema), Value(suggestion.table),
                         Value::LIST(LogicalType::VARCHAR, std::move(columns)),
                         Value(suggestion.statement), Value(suggestion.reason)});
  }
  return out;
}

}  // namespace

void RegisterPlanFunctions(duckdb::ExtensionLoader& loader) {
  loader.RegisterFunction(
      duckdb::TableFunction("lamina_plan_guides", {}, Next, BindGuides, BeginGuides));
  loader.RegisterFunction(duckdb::TableFunction("lamina_suggest_index", {LogicalType::VARCHAR},
                                                Next, BindSuggest, BeginSuggest));
}

}  // namespace lamina::sql
