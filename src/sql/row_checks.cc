#include "sql/row_checks.h"

#include <algorithm>

#include <duckdb/planner/constraints/bound_check_constraint.hpp>
#include <duckdb/planner/constraints/bound_not_null_constraint.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/vectors.h"

namespace lamina::sql {

RowChecks::RowChecks(duckdb::ClientContext& context, const LaminaTableEntry& table)
    : table_(table) {
  auto binder = duckdb::Binder::CreateBinder(context);
  bound_ = binder->BindConstraints(const_cast<LaminaTableEntry&>(table));  // NOLINT: not changed
  for (const auto& constraint : bound_) {
    if (constraint->type != duckdb::ConstraintType::CHECK) continue;
    checks_.push_back(duckdb::make_uniq<duckdb::ExpressionExecutor>(
        context, *constraint->Cast<duckdb::BoundCheckConstraint>().expression));
  }
}

void RowChecks::Check(duckdb::DataChunk& rows) {
  size_t check = 0;
  for (size_t i = 0; i < bound_.size(); ++i) {
    if (bound_[i]->type == duckdb::ConstraintType::NOT_NULL) {
      const auto column = bound_[i]->Cast<duckdb::BoundNotNullConstraint>().index;
      duckdb::UnifiedVectorFormat format;
      rows.data[column.index].ToUnifiedFormat(rows.size(), format);
      if (format.validity.AllValid()) continue;
      for (duckdb::idx_t row = 0; row < rows.size(); ++row) {
        if (format.validity.RowIsValid(format.sel->get_index(row))) continue;
        Throw(MakeSqlError("T3001",
                           fmt::format("NULL in a column that is NOT NULL: table={} column={}",
                                       table_.name, table_.GetColumns().GetColumn(column).Name())));
      }
    } else if (bound_[i]->type == duckdb::ConstraintType::CHECK) {
      duckdb::Vector result(duckdb::LogicalType::INTEGER, rows.size());
      checks_[check++]->ExecuteExpression(rows, result);
      duckdb::UnifiedVectorFormat format;
      result.ToUnifiedFormat(rows.size(), format);
      const auto* passed = duckdb::UnifiedVectorFormat::GetData<int32_t>(format);
      for (duckdb::idx_t row = 0; row < rows.size(); ++row) {
        const auto at = format.sel->get_index(row);
        if (!format.validity.RowIsValid(at) || passed[at] != 0) continue;  // unknown passes
        Throw(MakeSqlError("T3004", fmt::format("a CHECK constraint says no: table={} check={}",
                                                table_.name, CheckText(i))));
      }
    }
  }
}

void RowChecks::Check(duckdb::ClientContext& context, const arrow::RecordBatch& rows) {
  duckdb::vector<duckdb::LogicalType> types;
  for (const auto& column : table_.GetColumns().Physical()) types.push_back(column.Type());
  for (int64_t first = 0; first < rows.num_rows(); first += STANDARD_VECTOR_SIZE) {
    const int64_t count = std::min<int64_t>(STANDARD_VECTOR_SIZE, rows.num_rows() - first);
    duckdb::DataChunk chunk;
    chunk.Initialize(context, types);
    for (int i = 0; i < rows.num_columns(); ++i)
      ToVector(rows.column(i), first, count, &chunk.data[table_.PhysicalOf(i)]);
    chunk.SetCardinality(static_cast<duckdb::idx_t>(count));
    Check(chunk);
  }
}

}  // namespace lamina::sql
