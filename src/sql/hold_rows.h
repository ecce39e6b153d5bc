// An operator that passes rows on when all of them are there.
#pragma once

#include <duckdb/common/types/column/column_data_collection.hpp>

#include "sql/duckdb_api.h"
#include "sql/table_entry.h"

namespace lamina::sql {

class HoldRows : public duckdb::PhysicalOperator {
 public:
  /// What it passes on is what the plan below it gives.
  HoldRows(duckdb::PhysicalPlan& plan, duckdb::PhysicalOperator& below);

  duckdb::string GetName() const override { return "LAMINA_HOLD"; }
  bool IsSink() const override { return true; }
  bool IsSource() const override { return true; }
  duckdb::unique_ptr<duckdb::GlobalSinkState> GetGlobalSinkState(
      duckdb::ClientContext& context) const override;
  duckdb::SinkResultType Sink(duckdb::ExecutionContext& context, duckdb::DataChunk& chunk,
                              duckdb::OperatorSinkInput& input) const override;
  duckdb::unique_ptr<duckdb::GlobalSourceState> GetGlobalSourceState(
      duckdb::ClientContext& context) const override;
  duckdb::SourceResultType GetDataInternal(duckdb::ExecutionContext& context,
                                           duckdb::DataChunk& chunk,
                                           duckdb::OperatorSourceInput& input) const override;
};

/// Whether a plan reads the table.
bool Reads(const duckdb::PhysicalOperator& plan, const LaminaTableEntry& table);

}  // namespace lamina::sql
