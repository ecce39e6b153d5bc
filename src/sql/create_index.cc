// CREATE INDEX as a plan: DuckDB's own operators know only its own tables.
#include <duckdb/parser/parsed_data/create_index_info.hpp>
#include <duckdb/parser/statement/create_statement.hpp>
#include <duckdb/planner/operator/logical_extension_operator.hpp>

#include "sql/error_translation.h"
#include "sql/schema_entry.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"

namespace lamina::sql {
namespace {

class CreateIndexOperator final : public duckdb::PhysicalOperator {
 public:
  CreateIndexOperator(duckdb::PhysicalPlan& plan, duckdb::vector<duckdb::LogicalType> types,
                      duckdb::unique_ptr<duckdb::CreateIndexInfo> info, LaminaTableEntry& table)
      : PhysicalOperator(plan, duckdb::PhysicalOperatorType::EXTENSION, std::move(types),
                         /*estimated_cardinality=*/1),
        info_(std::move(info)),
        table_(table) {}

  duckdb::string GetName() const override { return "LAMINA_CREATE_INDEX"; }
  bool IsSource() const override { return true; }
  duckdb::SourceResultType GetDataInternal(duckdb::ExecutionContext& context, duckdb::DataChunk&,
                                           duckdb::OperatorSourceInput&) const override {
    auto& schema = table_.schema;
    schema.CreateIndex(schema.GetCatalogTransaction(context.client), *info_, table_);
    return duckdb::SourceResultType::FINISHED;
  }

 private:
  const duckdb::unique_ptr<duckdb::CreateIndexInfo> info_;
  LaminaTableEntry& table_;
};

struct LogicalCreateIndex final : public duckdb::LogicalExtensionOperator {
  LogicalCreateIndex(duckdb::unique_ptr<duckdb::CreateIndexInfo> of, LaminaTableEntry& entry)
      : info(std::move(of)), table(entry) {}

  duckdb::PhysicalOperator& CreatePlan(duckdb::ClientContext&,
                                       duckdb::PhysicalPlanGenerator& planner) override {
    return planner.Make<CreateIndexOperator>(types, std::move(info), table);
  }
  duckdb::string GetExtensionName() const override { return "lamina"; }
  void ResolveTypes() override { types = {duckdb::LogicalType::BIGINT}; }

  duckdb::unique_ptr<duckdb::CreateIndexInfo> info;
  LaminaTableEntry& table;
};

}  // namespace

duckdb::unique_ptr<duckdb::LogicalOperator> LaminaCatalog::BindCreateIndex(
    duckdb::Binder&, duckdb::CreateStatement& statement, duckdb::TableCatalogEntry& table,
    duckdb::unique_ptr<duckdb::LogicalOperator>) {
  auto info = duckdb::unique_ptr_cast<duckdb::CreateInfo, duckdb::CreateIndexInfo>(
      std::move(statement.info));
  return duckdb::make_uniq<LogicalCreateIndex>(std::move(info), table.Cast<LaminaTableEntry>());
}

duckdb::unique_ptr<duckdb::LogicalOperator> LaminaCatalog::BindAlterAddIndex(
    duckdb::Binder&, duckdb::TableCatalogEntry&, duckdb::unique_ptr<duckdb::LogicalOperator>,
    duckdb::unique_ptr<duckdb::CreateIndexInfo>, duckdb::unique_ptr<duckdb::AlterTableInfo>) {
  Throw(
      MakeSqlError("T4009", "a table that is there cannot be given a primary key",
                   "CREATE UNIQUE INDEX, or make another table with the key and INSERT … SELECT"));
}

}  // namespace lamina::sql
