#include "sql/late_columns.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <arrow/api.h>
#include <duckdb/optimizer/optimizer_extension.hpp>
#include <duckdb/planner/expression/bound_columnref_expression.hpp>
#include <duckdb/planner/expression/bound_reference_expression.hpp>
#include <duckdb/planner/expression_iterator.hpp>
#include <duckdb/planner/operator/logical_extension_operator.hpp>
#include <duckdb/planner/operator/logical_filter.hpp>
#include <duckdb/planner/operator/logical_get.hpp>
#include <duckdb/planner/operator/logical_limit.hpp>
#include <duckdb/planner/operator/logical_projection.hpp>
#include <duckdb/planner/operator/logical_top_n.hpp>
#include <fmt/format.h>

#include "catalog/key_codec.h"
#include "catalog/schema.h"
#include "sql/error_translation.h"
#include "sql/period_columns.h"
#include "sql/scan.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"
#include "sql/vectors.h"

namespace lamina::sql {
namespace {

using duckdb::ColumnBinding;
using duckdb::Expression;
using duckdb::idx_t;
using duckdb::LogicalOperator;
using duckdb::LogicalOperatorType;
using ExpressionPtr = duckdb::unique_ptr<Expression>;
using OperatorPtr = duckdb::unique_ptr<LogicalOperator>;

// A row by its key takes as long as about so many rows of a scan (docs/performance.md).
constexpr idx_t kScannedRowsPerRead = 20'000;
// Before so many rows a LIMIT ends the scan soon enough by itself.
constexpr idx_t kOffsetMin = 100'000;

/// One column of what the plan above sees: of the scan below, or read late.
struct Output {
  ColumnBinding binding;
  duckdb::column_t column = 0;
  duckdb::LogicalType type;
  int passed_on = -1;  ///< Its place in the rows from below.
};

// ---- As it runs

class LateColumns final : public duckdb::PhysicalOperator {
 public:
  LateColumns(duckdb::PhysicalPlan& plan, duckdb::vector<duckdb::LogicalType> types,
              idx_t cardinality, LaminaTableEntry& table, std::vector<Output> outputs,
              std::vector<idx_t> keys)
      : PhysicalOperator(plan, duckdb::PhysicalOperatorType::EXTENSION, std::move(types),
                         cardinality),
        table_(table),
        outputs_(std::move(outputs)),
        keys_(std::move(keys)) {
    for (const Output& output : outputs_) {
      if (output.passed_on >= 0) continue;
      const std::string name = table_.StorageName(output.column);
      const auto it = std::find(names_.begin(), names_.end(), name);
      places_.push_back(static_cast<int>(it - names_.begin()));
      if (it == names_.end()) names_.push_back(name);
    }
  }

  duckdb::string GetName() const override { return "LAMINA_LATE_COLUMNS"; }
  duckdb::InsertionOrderPreservingMap<duckdb::string> ParamsToString() const override {
    duckdb::InsertionOrderPreservingMap<duckdb::string> out;
    out["Table"] = table_.name;
    out["Columns"] = fmt::format("{}", fmt::join(names_, "\n"));
    SetEstimatedCardinality(out, estimated_cardinality);
    return out;
  }

  duckdb::OperatorResultType Execute(duckdb::ExecutionContext& context, duckdb::DataChunk& input,
                                     duckdb::DataChunk& chunk, duckdb::GlobalOperatorState&,
                                     duckdb::OperatorState&) const override {
    const auto rows = Read(context.client, input);
    size_t late = 0;
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const Output& output = outputs_[i];
      if (output.passed_on >= 0) {
        chunk.data[i].Reference(input.data[static_cast<size_t>(output.passed_on)]);
      } else {
        ToColumn(rows->column(places_[late++]), ReadAs(table_, output.column), 0, rows->num_rows(),
                 &chunk.data[i]);
      }
    }
    chunk.SetCardinality(input.size());
    return duckdb::OperatorResultType::NEED_MORE_INPUT;
  }

 private:
  std::shared_ptr<arrow::RecordBatch> Read(duckdb::ClientContext& context,
                                           duckdb::DataChunk& input) const {
    auto& transaction = LaminaTransaction::Get(context, table_.catalog);
    std::vector<std::shared_ptr<arrow::RecordBatch>> rows;
    const LaminaTransaction::Lock lock(transaction);
    const auto keys = Encode(*transaction.data().FindTable(table_.table().name), input);
    for (int64_t i = 0; i < keys->length(); ++i) {
      CheckInterrupted(context);
      rows.push_back(ValueOrThrow(transaction.data().GetEncoded(
          table_.table().name, keys->GetView(i), SystemPeriod(), ValidPeriod(), names_)));
      // The transaction's snapshot shows what the scan of it has shown.
      if (rows.back()->num_rows() != 1) {
        throw duckdb::InternalException("a row of a scan has %d rows by its key",
                                        static_cast<int>(rows.back()->num_rows()));
      }
    }
    return ValueOrThrow<std::shared_ptr<arrow::RecordBatch>>(arrow::ConcatenateRecordBatches(rows));
  }

  std::shared_ptr<arrow::BinaryArray> Encode(const catalog::TableSchema& schema,
                                             duckdb::DataChunk& input) const {
    const auto& names = table_.table().key;
    arrow::FieldVector fields;
    arrow::ArrayVector columns;
    for (size_t i = 0; i < keys_.size(); ++i) {
      fields.push_back(names.empty() ? arrow::field(catalog::kRowIdColumn, arrow::int64(), false)
                                     : table_.table().schema->GetFieldByName(names[i]));
      columns.push_back(ValueOrThrow(ToArray(
          input.data[keys_[i]], static_cast<int64_t>(input.size()), fields.back()->type())));
    }
    return ValueOrThrow(catalog::KeyCodec(schema).Encode(*arrow::RecordBatch::Make(
        arrow::schema(std::move(fields)), static_cast<int64_t>(input.size()), std::move(columns))));
  }

  LaminaTableEntry& table_;
  const std::vector<Output> outputs_;
  const std::vector<idx_t> keys_;   // in the rows from below
  std::vector<std::string> names_;  // that are read late
  std::vector<int> places_;         // in names_, of each output that is
};

struct LogicalLateColumns final : public duckdb::LogicalExtensionOperator {
  LogicalLateColumns(LaminaTableEntry& entry, std::vector<Output> of)
      : table(entry), outputs(std::move(of)) {}

  duckdb::PhysicalOperator& CreatePlan(duckdb::ClientContext&,
                                       duckdb::PhysicalPlanGenerator& planner) override {
    auto& below = planner.CreatePlan(*children[0]);
    // `expressions`: what is passed on, then the keys; where they lie is known by now.
    const auto place = [&](size_t i) {
      return expressions[i]->Cast<duckdb::BoundReferenceExpression>().index;
    };
    size_t next = 0;
    for (Output& output : outputs) {
      if (output.passed_on >= 0) output.passed_on = static_cast<int>(place(next++));
    }
    std::vector<idx_t> keys;
    while (next < expressions.size()) keys.push_back(place(next++));
    auto& out =
        planner.Make<LateColumns>(types, estimated_cardinality, table, outputs, std::move(keys));
    out.children.push_back(below);
    return out;
  }
  duckdb::vector<ColumnBinding> GetColumnBindings() override {
    duckdb::vector<ColumnBinding> out;
    for (const Output& output : outputs) out.push_back(output.binding);
    return out;
  }
  void ResolveTypes() override {
    types.clear();
    for (const Output& output : outputs) types.push_back(output.type);
  }
  duckdb::string GetName() const override { return "LAMINA_LATE_COLUMNS"; }
  duckdb::string GetExtensionName() const override { return "lamina"; }

  LaminaTableEntry& table;
  std::vector<Output> outputs;
};

// ---- Rewriting

class Rewriter {
 public:
  explicit Rewriter(duckdb::ClientContext& context) : context_(context) {}

  void Rewrite(OperatorPtr& op) {
    for (auto& child : op->children) Rewrite(child);
    if (op->type == LogicalOperatorType::LOGICAL_TOP_N) {
      const auto& top = op->Cast<duckdb::LogicalTopN>();
      // Written so that it cannot overflow.
      if (top.offset < kOffsetMax && top.limit < kOffsetMax)
        Try(op, top.limit, top.limit + top.offset);
    } else if (op->type == LogicalOperatorType::LOGICAL_LIMIT) {
      const auto& limit = op->Cast<duckdb::LogicalLimit>();
      if (limit.limit_val.Type() == duckdb::LimitNodeType::CONSTANT_VALUE &&
          limit.offset_val.Type() == duckdb::LimitNodeType::CONSTANT_VALUE &&
          limit.offset_val.GetConstantValue() >= kOffsetMin)
        Try(op, limit.limit_val.GetConstantValue(), limit.limit_val.GetConstantValue());
    }
  }

 private:
  static constexpr idx_t kOffsetMax = idx_t{1} << 40;

  static void Visit(Expression& expression,
                    const std::function<void(duckdb::BoundColumnRefExpression&)>& visit) {
    if (expression.GetExpressionClass() == duckdb::ExpressionClass::BOUND_COLUMN_REF)
      visit(expression.Cast<duckdb::BoundColumnRefExpression>());
    duckdb::ExpressionIterator::EnumerateChildren(
        expression, [&](ExpressionPtr& child) { Visit(*child, visit); });
  }

  /// In terms of what lies below the projections.
  static void Lower(ExpressionPtr& expression,
                    const std::vector<duckdb::LogicalProjection*>& projections) {
    for (const duckdb::LogicalProjection* projection : projections) {
      duckdb::ExpressionIterator::VisitExpressionMutable<duckdb::BoundColumnRefExpression>(
          expression, [&](duckdb::BoundColumnRefExpression& column, ExpressionPtr& in) {
            if (column.binding.table_index == projection->table_index)
              in = projection->expressions[column.binding.column_index]->Copy();
          });
    }
  }

  /// `rows`: so many are kept. `considered`: so many are looked at to know which.
  void Try(OperatorPtr& op, idx_t rows, idx_t considered) {
    std::vector<duckdb::LogicalProjection*> projections;
    std::vector<duckdb::LogicalFilter*> filters;
    LogicalOperator* at = op->children[0].get();
    for (; at->type == LogicalOperatorType::LOGICAL_PROJECTION; at = at->children[0].get())
      projections.push_back(&at->Cast<duckdb::LogicalProjection>());
    LogicalOperator& lowest = *at;  // below the projections
    for (; at->type == LogicalOperatorType::LOGICAL_FILTER; at = at->children[0].get())
      filters.push_back(&at->Cast<duckdb::LogicalFilter>());
    if (at->type != LogicalOperatorType::LOGICAL_GET) return;
    auto& get = at->Cast<duckdb::LogicalGet>();
    LaminaTableEntry* table = ScannedWhole(get);
    if (table == nullptr) return;
    const idx_t size = table->EstimateRows(context_);
    if (rows > size / kScannedRowsPerRead || considered > size / 2) return;
    for (const auto* projection : projections) {
      for (const auto& expression : projection->expressions)
        if (expression->IsVolatile()) return;
    }

    std::vector<bool> needed(get.GetColumnIds().size(), false);
    const auto need = [&](Expression& expression) {
      Visit(expression, [&](duckdb::BoundColumnRefExpression& column) {
        needed[column.binding.column_index] = true;
      });
    };
    std::vector<ExpressionPtr> orders;
    if (op->type == LogicalOperatorType::LOGICAL_TOP_N) {
      for (const auto& order : op->Cast<duckdb::LogicalTopN>().orders) {
        orders.push_back(order.expression->Copy());
        Lower(orders.back(), projections);
        if (orders.back()->IsVolatile()) return;
        need(*orders.back());
      }
    }
    for (const auto* filter : filters) {
      for (const auto& expression : filter->expressions) need(*expression);
    }

    std::vector<Output> outputs;
    lowest.ResolveOperatorTypes();
    const auto bindings = lowest.GetColumnBindings();
    bool late = false;
    for (size_t i = 0; i < bindings.size(); ++i) {
      Output output{bindings[i], get.GetColumnIds()[bindings[i].column_index].GetPrimaryIndex(),
                    lowest.types[i]};
      if (needed[bindings[i].column_index]) output.passed_on = 0;
      late = late || output.passed_on < 0;
      if (output.column == duckdb::COLUMN_IDENTIFIER_EMPTY ||
          output.column == duckdb::COLUMN_IDENTIFIER_ROW_ID)
        return;
      outputs.push_back(std::move(output));
    }
    if (!late) return;

    const Narrowed narrowed = Narrow(get, *table, needed);
    const auto move = [&](Expression& expression) {
      Visit(expression, [&](duckdb::BoundColumnRefExpression& column) {
        column.binding.column_index = narrowed.places[column.binding.column_index];
      });
    };
    auto out = duckdb::make_uniq<LogicalLateColumns>(*table, std::move(outputs));
    for (const Output& output : out->outputs) {
      if (output.passed_on < 0) continue;
      out->expressions.push_back(
          duckdb::make_uniq<duckdb::BoundColumnRefExpression>(output.type, output.binding));
      move(*out->expressions.back());
    }
    for (const idx_t key : narrowed.keys) {
      const auto column = get.GetColumnIds()[key].GetPrimaryIndex();
      out->expressions.push_back(duckdb::make_uniq<duckdb::BoundColumnRefExpression>(
          table->TypeOf(column), ColumnBinding(get.table_index, key)));
    }
    for (auto* filter : filters) {
      filter->projection_map.clear();
      for (auto& expression : filter->expressions) move(*expression);
    }
    for (auto& order : orders) move(*order);
    if (op->type == LogicalOperatorType::LOGICAL_TOP_N) {
      auto& top = op->Cast<duckdb::LogicalTopN>();
      for (size_t i = 0; i < orders.size(); ++i) top.orders[i].expression = std::move(orders[i]);
    }
    out->SetEstimatedCardinality(rows);

    // The projections go above.
    OperatorPtr above = std::move(op->children[0]);
    OperatorPtr* hole = &above;
    for (size_t i = 0; i < projections.size(); ++i) hole = &(*hole)->children[0];
    op->children[0] = std::move(*hole);
    out->children.push_back(std::move(op));
    *hole = std::move(out);
    op = std::move(above);
    op->ResolveOperatorTypes();
  }

  struct Narrowed {
    std::vector<idx_t> places;  ///< Where columns that are needed are now.
    std::vector<idx_t> keys;    ///< Where the keys are.
  };
  /// The scan reads what is needed or filtered by, and the keys; it gives no more.
  static Narrowed Narrow(duckdb::LogicalGet& get, const LaminaTableEntry& table,
                         const std::vector<bool>& needed) {
    Narrowed out;
    duckdb::vector<duckdb::ColumnIndex> columns;
    get.projection_ids.clear();
    for (size_t i = 0; i < needed.size(); ++i) {
      const auto& column = get.GetColumnIds()[i];
      out.places.push_back(columns.size());
      if (needed[i]) get.projection_ids.push_back(columns.size());
      if (needed[i] || get.table_filters.filters.contains(column.GetPrimaryIndex()))
        columns.push_back(column);
    }
    const size_t count = std::max<size_t>(table.table().key.size(), 1);
    for (size_t i = 0; i < count; ++i) {
      out.keys.push_back(columns.size());
      get.projection_ids.push_back(columns.size());
      columns.emplace_back(table.table().key.empty() ? kRowId : kKeyStart + i);
    }
    get.SetColumnIds(std::move(columns));
    return out;
  }

  duckdb::ClientContext& context_;
};

void AfterOptimizing(duckdb::OptimizerExtensionInput& input, OperatorPtr& plan) {
  const auto& disabled = duckdb::DBConfig::GetConfig(input.context).options.disabled_optimizers;
  if (!disabled.contains(duckdb::OptimizerType::LATE_MATERIALIZATION))
    Rewriter(input.context).Rewrite(plan);
}

}  // namespace

void RegisterLateColumns(duckdb::DBConfig& config) {
  duckdb::OptimizerExtension extension;
  extension.optimize_function = AfterOptimizing;
  duckdb::OptimizerExtension::Register(config, std::move(extension));
}

}  // namespace lamina::sql
