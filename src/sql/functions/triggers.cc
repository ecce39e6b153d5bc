// lamina_triggers(): the triggers that the transaction sees.
#include <array>
#include <string>
#include <vector>

#include <duckdb/common/string_util.hpp>

#include "sql/functions/functions.h"
#include "sql/lamina_catalog.h"
#include "sql/schema_entry.h"
#include "sql/sql_database.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"
#include "sql/trigger.h"

namespace lamina::sql {
namespace {

constexpr std::array kColumns = {"schema_name", "table_name", "trigger_name",
                                 "event",       "level",      "sql"};

struct Listing final : public duckdb::GlobalTableFunctionState {
  std::vector<std::array<std::string, kColumns.size()>> rows;
  size_t next = 0;
};

duckdb::unique_ptr<duckdb::FunctionData> Bind(duckdb::ClientContext&,
                                              duckdb::TableFunctionBindInput&,
                                              duckdb::vector<duckdb::LogicalType>& types,
                                              duckdb::vector<duckdb::string>& names) {
  for (const char* column : kColumns) {
    names.emplace_back(column);
    types.push_back(duckdb::LogicalType::VARCHAR);
  }
  return nullptr;
}

duckdb::unique_ptr<duckdb::GlobalTableFunctionState> Begin(duckdb::ClientContext& context,
                                                           duckdb::TableFunctionInitInput&) {
  auto out = duckdb::make_uniq<Listing>();
  auto& catalog = duckdb::Catalog::GetCatalog(context, kCatalogName);
  auto& definitions = LaminaTransaction::Get(context, catalog).definitions();
  for (auto& [name, schema] : definitions.schemas()) {
    schema->Scan(duckdb::CatalogType::TABLE_ENTRY, [&](duckdb::CatalogEntry& entry) {
      const auto* table = dynamic_cast<const LaminaTableEntry*>(&entry);
      if (table == nullptr) return;
      for (const TriggerDefinition& trigger : table->dependents().triggers) {
        std::string events;
        const auto add = [&](bool has, const char* event) {
          if (has) events += events.empty() ? event : std::string(" OR ") + event;
        };
        add(trigger.on_insert, "INSERT");
        add(trigger.on_update, "UPDATE");
        add(trigger.on_delete, "DELETE");
        out->rows.push_back({table->schema.name, table->name, trigger.name, std::move(events),
                             trigger.each_row ? "ROW" : "STATEMENT", ToSql(trigger, *table)});
      }
    });
  }
  return out;
}

void Next(duckdb::ClientContext&, duckdb::TableFunctionInput& input, duckdb::DataChunk& output) {
  auto& listing = input.global_state->Cast<Listing>();
  duckdb::idx_t count = 0;
  for (; listing.next < listing.rows.size() && count < STANDARD_VECTOR_SIZE; ++count) {
    const auto& row = listing.rows[listing.next++];
    for (size_t column = 0; column < row.size(); ++column)
      output.SetValue(column, count, duckdb::Value(row[column]));
  }
  output.SetCardinality(count);
}

}  // namespace

void RegisterTriggers(duckdb::ExtensionLoader& loader) {
  loader.RegisterFunction(duckdb::TableFunction("lamina_triggers", {}, Next, Bind, Begin));
}

}  // namespace lamina::sql
