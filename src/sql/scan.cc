#include "sql/scan.h"

#include <algorithm>

#include <arrow/api.h>
#include <duckdb/planner/expression/bound_reference_expression.hpp>
#include <duckdb/planner/filter/conjunction_filter.hpp>
#include <duckdb/planner/filter/constant_filter.hpp>
#include <duckdb/planner/filter/in_filter.hpp>
#include <duckdb/planner/filter/optional_filter.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/index_scan.h"
#include "sql/transaction.h"
#include "sql/types.h"
#include "sql/vectors.h"

namespace lamina::sql {
namespace {

struct ScanData final : public duckdb::TableFunctionData {
  explicit ScanData(LaminaTableEntry& entry) : table(entry) {}
  LaminaTableEntry& table;
  const IndexDefinition* index = nullptr;  ///< That serves the filters; of the table.
};

bool IsTime(duckdb::column_t column) { return column >= kValidFrom && column <= kSystemTo; }

/// The pushed-down filters in the database's words, as far as both mean the same by them.
class FilterTranslator {
 public:
  FilterTranslator(const LaminaTableEntry& table, duckdb::column_t column)
      : name_(table.StorageName(column)), type_(table.TypeOf(column)) {
    if (column < kHiddenColumns) field_ = table.table().schema->GetFieldByName(name_);
  }

  /// Null when it cannot be said.
  ExprPtr Translate(const duckdb::TableFilter& filter) const {
    using duckdb::TableFilterType;
    // Values at rest under another type compare otherwise there. Floats have the same order in
    // both.
    if (field_ == nullptr || !IsPlain(type_) || type_.IsNested()) return nullptr;
    switch (filter.filter_type) {
      case TableFilterType::CONSTANT_COMPARISON: {
        const auto& constant = filter.Cast<duckdb::ConstantFilter>();
        const auto value = Literal(constant.constant);
        if (value == nullptr) return nullptr;
        switch (constant.comparison_type) {
          case duckdb::ExpressionType::COMPARE_EQUAL:
            return Eq(name_, value);
          case duckdb::ExpressionType::COMPARE_NOTEQUAL:
            return Ne(name_, value);
          case duckdb::ExpressionType::COMPARE_LESSTHAN:
            return Lt(name_, value);
          case duckdb::ExpressionType::COMPARE_LESSTHANOREQUALTO:
            return Le(name_, value);
          case duckdb::ExpressionType::COMPARE_GREATERTHAN:
            return Gt(name_, value);
          case duckdb::ExpressionType::COMPARE_GREATERTHANOREQUALTO:
            return Ge(name_, value);
          default:
            return nullptr;
        }
      }
      case TableFilterType::IS_NULL:
        return IsNull(name_);
      case TableFilterType::IS_NOT_NULL:
        return Not(IsNull(name_));
      case TableFilterType::IN_FILTER: {
        std::vector<std::shared_ptr<arrow::Scalar>> values;
        for (const auto& of : filter.Cast<duckdb::InFilter>().values) {
          auto value = Literal(of);
          if (value == nullptr) return nullptr;
          values.push_back(std::move(value));
        }
        return In(name_, std::move(values));
      }
      case TableFilterType::CONJUNCTION_AND:
      case TableFilterType::CONJUNCTION_OR: {
        const bool all = filter.filter_type == TableFilterType::CONJUNCTION_AND;
        const auto& children = all ? filter.Cast<duckdb::ConjunctionAndFilter>().child_filters
                                   : filter.Cast<duckdb::ConjunctionOrFilter>().child_filters;
        std::vector<ExprPtr> parts;
        for (const auto& child : children) {
          if (all && Ignored(*child)) continue;
          ExprPtr part = Translate(*child);
          if (part == nullptr) return nullptr;
          parts.push_back(std::move(part));
        }
        if (parts.empty()) return nullptr;
        return all ? And(std::move(parts)) : Or(std::move(parts));
      }
      default:
        return nullptr;
    }
  }

  /// Filters that only save work.
  static bool Ignored(const duckdb::TableFilter& filter) {
    return filter.filter_type == duckdb::TableFilterType::OPTIONAL_FILTER ||
           filter.filter_type == duckdb::TableFilterType::DYNAMIC_FILTER ||
           filter.filter_type == duckdb::TableFilterType::BLOOM_FILTER;
  }

 private:
  std::shared_ptr<arrow::Scalar> Literal(const duckdb::Value& value) const {
    if (value.IsNull() || value.type() != type_) return nullptr;
    duckdb::Vector vector(value);
    const auto array = ToArray(vector, 1, field_->type());
    if (!array.ok()) return nullptr;
    const auto scalar = (*array)->GetScalar(0);
    return scalar.ok() ? *scalar : nullptr;
  }

  std::string name_;
  duckdb::LogicalType type_;
  std::shared_ptr<arrow::Field> field_;  // null: a hidden column
};

struct ScanState final : public duckdb::GlobalTableFunctionState {
  std::shared_ptr<ScanReader> reader;
  std::vector<int> positions;  // of each output column in the batches; -1: none
  std::vector<bool> times;
  /// What the reader did not filter: one expression over the output columns each.
  std::vector<duckdb::unique_ptr<duckdb::Expression>> filters;
  std::vector<duckdb::unique_ptr<duckdb::ExpressionExecutor>> executors;
  std::shared_ptr<arrow::RecordBatch> batch;
  int64_t at = 0;

  duckdb::idx_t MaxThreads() const override { return 1; }
};

duckdb::unique_ptr<duckdb::GlobalTableFunctionState> InitScan(
    duckdb::ClientContext& context, duckdb::TableFunctionInitInput& input) {
  const LaminaTableEntry& table = input.bind_data->Cast<ScanData>().table;
  auto& transaction =
      LaminaTransaction::Get(context, input.bind_data->Cast<ScanData>().table.catalog);
  auto out = duckdb::make_uniq<ScanState>();
  ScanOptions options;
  options.columns.emplace();
  options.order_by_key = false;
  for (const duckdb::column_t column : input.column_ids) {
    out->times.push_back(IsTime(column));
    if (column == duckdb::COLUMN_IDENTIFIER_EMPTY || column == duckdb::COLUMN_IDENTIFIER_ROW_ID) {
      out->positions.push_back(-1);
      continue;
    }
    const std::string name = table.StorageName(column);
    auto& names = *options.columns;
    const auto it = std::find(names.begin(), names.end(), name);
    out->positions.push_back(static_cast<int>(it - names.begin()));
    if (it == names.end()) names.push_back(name);
  }
  const IndexDefinition* index = input.bind_data->Cast<ScanData>().index;
  if (index != nullptr && input.filters != nullptr) {
    base::MutexLock lock(&transaction.mu());
    out->reader =
        ReadByIndex(transaction, table, *index, *input.filters, input.column_ids, options);
  }
  std::vector<ExprPtr> pushed;
  if (input.filters != nullptr) {
    for (const auto& [position, filter] : input.filters->filters) {
      if (FilterTranslator::Ignored(*filter)) continue;
      const duckdb::column_t column = input.column_ids[position];
      ExprPtr expr;
      if (out->reader == nullptr) expr = FilterTranslator(table, column).Translate(*filter);
      if (expr != nullptr) {
        pushed.push_back(std::move(expr));
        continue;
      }
      out->filters.push_back(
          filter->ToExpression(duckdb::BoundReferenceExpression(table.TypeOf(column), position)));
      out->executors.push_back(
          duckdb::make_uniq<duckdb::ExpressionExecutor>(context, *out->filters.back()));
    }
  }
  if (out->reader != nullptr) return out;
  if (!pushed.empty()) options.filter = And(std::move(pushed));
  base::MutexLock lock(&transaction.mu());
  out->reader = ValueOrThrow(transaction.data().Scan(table.table().name, options));
  return out;
}

// Open ends are infinity in SQL.
void ToTimes(const arrow::Array& array, int64_t offset, int64_t count, duckdb::Vector* out) {
  const int64_t* from = array.data()->GetValues<int64_t>(1) + offset;
  int64_t* to = duckdb::FlatVector::GetData<int64_t>(*out);
  for (int64_t i = 0; i < count; ++i) to[i] = from[i] == INT64_MIN ? -INT64_MAX : from[i];
}

void Scan(duckdb::ClientContext&, duckdb::TableFunctionInput& input, duckdb::DataChunk& output) {
  auto& state = input.global_state->Cast<ScanState>();
  while (output.size() == 0) {
    if (state.batch == nullptr || state.at == state.batch->num_rows()) {
      state.at = 0;
      state.batch = ValueOrThrow(state.reader->Next());
      if (state.batch == nullptr) return;
    }
    const int64_t count =
        std::min<int64_t>(STANDARD_VECTOR_SIZE, state.batch->num_rows() - state.at);
    for (size_t i = 0; i < output.ColumnCount(); ++i) {
      if (state.positions[i] < 0) {
        output.data[i].SetVectorType(duckdb::VectorType::CONSTANT_VECTOR);
        duckdb::ConstantVector::SetNull(output.data[i], true);
      } else if (state.times[i]) {
        ToTimes(*state.batch->column(state.positions[i]), state.at, count, &output.data[i]);
      } else {
        ToVector(state.batch->column(state.positions[i]), state.at, count, &output.data[i]);
      }
    }
    state.at += count;
    output.SetCardinality(static_cast<uint64_t>(count));
    for (auto& executor : state.executors) {
      duckdb::SelectionVector kept(output.size());
      const auto left = executor->SelectExpression(output, kept);
      if (left < output.size()) output.Slice(kept, left);
      if (left == 0) break;
    }
    if (output.size() == 0) output.Reset();
  }
}

duckdb::BindInfo GetBindInfo(const duckdb::optional_ptr<duckdb::FunctionData> data) {
  return duckdb::BindInfo(data->Cast<ScanData>().table);
}

duckdb::unique_ptr<duckdb::NodeStatistics> Cardinality(duckdb::ClientContext&,
                                                       const duckdb::FunctionData* data) {
  const auto rows = data->Cast<ScanData>().table.table().rows_at_rest;
  return duckdb::make_uniq<duckdb::NodeStatistics>(rows);
}

duckdb::InsertionOrderPreservingMap<duckdb::string> ToString(
    duckdb::TableFunctionToStringInput& input) {
  duckdb::InsertionOrderPreservingMap<duckdb::string> out;
  const auto& data = input.bind_data->Cast<ScanData>();
  out["Table"] = data.table.name;
  if (data.index != nullptr) out["Index"] = data.index->name;
  return out;
}

}  // namespace

duckdb::TableFunction MakeScanFunction(LaminaTableEntry& table,
                                       duckdb::unique_ptr<duckdb::FunctionData>* bind_data) {
  *bind_data = duckdb::make_uniq<ScanData>(table);
  duckdb::TableFunction function("lamina_scan", {}, Scan, nullptr, InitScan);
  function.projection_pushdown = true;
  function.filter_pushdown = true;
  function.filter_prune = false;
  function.cardinality = Cardinality;
  function.pushdown_complex_filter =
      [](duckdb::ClientContext&, duckdb::LogicalGet& get, duckdb::FunctionData* data,
         duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>& filters) {
        auto& scan = data->Cast<ScanData>();
        if (scan.index == nullptr) scan.index = ChooseIndex(scan.table, get, filters);
      };
  function.get_bind_info = GetBindInfo;
  function.to_string = ToString;
  function.get_virtual_columns = [](duckdb::ClientContext&,
                                    duckdb::optional_ptr<duckdb::FunctionData> data) {
    return data->Cast<ScanData>().table.GetVirtualColumns();
  };
  function.get_row_id_columns = [](duckdb::ClientContext&,
                                   duckdb::optional_ptr<duckdb::FunctionData> data) {
    return data->Cast<ScanData>().table.GetRowIdColumns();
  };
  return function;
}

}  // namespace lamina::sql
