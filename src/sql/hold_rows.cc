#include "sql/hold_rows.h"

#include <algorithm>
#include <utility>

#include <duckdb/execution/operator/scan/physical_table_scan.hpp>

namespace lamina::sql {
namespace {

struct HeldRows final : public duckdb::GlobalSinkState {
  HeldRows(duckdb::ClientContext& context, duckdb::vector<duckdb::LogicalType> types)
      : rows(context, std::move(types)) {}
  duckdb::ColumnDataCollection rows;
};

struct HeldSource final : public duckdb::GlobalSourceState {
  duckdb::ColumnDataScanState scan;
  bool begun = false;
};

}  // namespace

HoldRows::HoldRows(duckdb::PhysicalPlan& plan, duckdb::PhysicalOperator& below)
    : PhysicalOperator(plan, duckdb::PhysicalOperatorType::EXTENSION, below.types,
                       below.estimated_cardinality) {
  children.push_back(below);
}

duckdb::unique_ptr<duckdb::GlobalSinkState> HoldRows::GetGlobalSinkState(
    duckdb::ClientContext& context) const {
  return duckdb::make_uniq<HeldRows>(context, types);
}

duckdb::SinkResultType HoldRows::Sink(duckdb::ExecutionContext&, duckdb::DataChunk& chunk,
                                      duckdb::OperatorSinkInput& input) const {
  input.global_state.Cast<HeldRows>().rows.Append(chunk);
  return duckdb::SinkResultType::NEED_MORE_INPUT;
}

duckdb::unique_ptr<duckdb::GlobalSourceState> HoldRows::GetGlobalSourceState(
    duckdb::ClientContext&) const {
  return duckdb::make_uniq<HeldSource>();
}

duckdb::SourceResultType HoldRows::GetDataInternal(duckdb::ExecutionContext&,
                                                   duckdb::DataChunk& chunk,
                                                   duckdb::OperatorSourceInput& input) const {
  auto& rows = sink_state->Cast<HeldRows>().rows;
  auto& source = input.global_state.Cast<HeldSource>();
  if (!std::exchange(source.begun, true)) rows.InitializeScan(source.scan);
  rows.Scan(source.scan, chunk);
  return chunk.size() == 0 ? duckdb::SourceResultType::FINISHED
                           : duckdb::SourceResultType::HAVE_MORE_OUTPUT;
}

bool Reads(const duckdb::PhysicalOperator& plan, const LaminaTableEntry& table) {
  if (plan.type == duckdb::PhysicalOperatorType::TABLE_SCAN) {
    const auto& scan = plan.Cast<duckdb::PhysicalTableScan>();
    if (scan.function.get_bind_info != nullptr) {
      const auto info = scan.function.get_bind_info(scan.bind_data.get());
      const auto* of = dynamic_cast<const LaminaTableEntry*>(info.table.get());
      if (of != nullptr && of->table().id == table.table().id) return true;
    }
  }
  const auto below = plan.GetChildren();
  return std::any_of(below.begin(), below.end(),
                     [&](const auto& child) { return Reads(child.get(), table); });
}

}  // namespace lamina::sql
