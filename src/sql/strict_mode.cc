#include "sql/strict_mode.h"

#include <algorithm>

#include <duckdb/function/function_binder.hpp>
#include <duckdb/optimizer/optimizer_extension.hpp>
#include <duckdb/parser/expression/cast_expression.hpp>
#include <duckdb/parser/expression/function_expression.hpp>
#include <duckdb/parser/query_node/select_node.hpp>
#include <duckdb/parser/statement/explain_statement.hpp>
#include <duckdb/parser/statement/insert_statement.hpp>
#include <duckdb/parser/statement/merge_into_statement.hpp>
#include <duckdb/parser/statement/prepare_statement.hpp>
#include <duckdb/parser/statement/update_statement.hpp>
#include <duckdb/parser/tableref/expressionlistref.hpp>
#include <duckdb/planner/expression/bound_cast_expression.hpp>
#include <duckdb/planner/expression/bound_function_expression.hpp>
#include <duckdb/planner/operator/logical_expression_get.hpp>
#include <duckdb/planner/operator/logical_insert.hpp>
#include <duckdb/planner/operator/logical_merge_into.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/settings.h"

namespace lamina::sql {
namespace {

using duckdb::Expression;
using duckdb::idx_t;
using duckdb::LogicalOperator;
using duckdb::LogicalType;
using ExpressionPtr = duckdb::unique_ptr<Expression>;

constexpr char kUnchanged[] = "lamina_unchanged";
constexpr char kMeant[] = "lamina_meant";

// ---- Functions

/// They give their first argument back.
duckdb::unique_ptr<duckdb::FunctionData> BindFirst(duckdb::ClientContext&,
                                                   duckdb::ScalarFunction& function,
                                                   duckdb::vector<ExpressionPtr>& arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) function.arguments[i] = arguments[i]->return_type;
  function.SetReturnType(arguments[0]->return_type);
  return nullptr;
}

void First(duckdb::DataChunk& arguments, duckdb::ExpressionState&, duckdb::Vector& result) {
  result.Reference(arguments.data[0]);
}

/// (converted, as it was)
void Unchanged(duckdb::DataChunk& arguments, duckdb::ExpressionState& state,
               duckdb::Vector& result) {
  duckdb::Vector& converted = arguments.data[0];
  duckdb::Vector& original = arguments.data[1];
  const idx_t count = arguments.size();
  // A number in a text may be written in many ways: it is compared as a number.
  const bool text = original.GetType().id() == duckdb::LogicalTypeId::VARCHAR;
  const LogicalType common = text ? LogicalType::DOUBLE : original.GetType();
  duckdb::Vector back(common, std::max<idx_t>(count, 1));
  duckdb::Vector before(common, std::max<idx_t>(count, 1));
  duckdb::VectorOperations::Cast(state.GetContext(), converted, back, count);
  if (text) {
    duckdb::VectorOperations::Cast(state.GetContext(), original, before, count);
  } else {
    before.Reference(original);
  }
  duckdb::SelectionVector differ(std::max<idx_t>(count, 1));
  if (duckdb::VectorOperations::DistinctFrom(before, back, nullptr, count, &differ, nullptr) > 0) {
    const idx_t row = differ.get_index(0);
    Throw(MakeSqlError(
        "T4002",
        fmt::format("the conversion would change a value: from={} to={} type={}",
                    original.GetValue(row).ToString(), converted.GetValue(row).ToString(),
                    converted.GetType().ToString()),
        "CAST says that it is meant; SET strict_mode = false lets it pass"));
  }
  result.Reference(converted);
}

// ---- Statements, before they are bound

bool IsCast(const duckdb::ParsedExpression& expression) {
  return expression.GetExpressionType() == duckdb::ExpressionType::OPERATOR_CAST;
}

void Mark(duckdb::unique_ptr<duckdb::ParsedExpression>& expression) {
  if (!IsCast(*expression)) return;
  const std::string alias = expression->HasAlias() ? expression->GetAlias() : expression->GetName();
  duckdb::vector<duckdb::unique_ptr<duckdb::ParsedExpression>> arguments;
  arguments.push_back(std::move(expression));
  expression = duckdb::make_uniq<duckdb::FunctionExpression>(kMeant, std::move(arguments));
  expression->SetAlias(alias);
}

void Mark(duckdb::UpdateSetInfo* set) {
  if (set == nullptr) return;
  for (auto& expression : set->expressions) Mark(expression);
}

// ---- Plans

ExpressionPtr Call(duckdb::ClientContext& context, const char* name,
                   duckdb::vector<ExpressionPtr> children) {
  duckdb::FunctionBinder binder(context);
  duckdb::ErrorData error;
  auto out = binder.BindScalarFunction("main", name, std::move(children), error);
  if (error.HasError()) error.Throw();
  return out;
}

class StrictRewriter {
 public:
  explicit StrictRewriter(duckdb::ClientContext& context) : context_(context) {}

  void Rewrite(LogicalOperator& op) {
    for (auto& child : op.children) Rewrite(*child);
    switch (op.type) {
      case duckdb::LogicalOperatorType::LOGICAL_INSERT: {
        auto& insert = op.Cast<duckdb::LogicalInsert>();
        CheckAllNamed(insert.table, insert.column_index_map, insert.children.empty());
        if (!op.children.empty()) GuardConversionsInto(*op.children[0]);
        break;
      }
      case duckdb::LogicalOperatorType::LOGICAL_UPDATE:
        GuardConversionsInto(*op.children[0]);
        break;
      case duckdb::LogicalOperatorType::LOGICAL_MERGE_INTO: {
        auto& merge = op.Cast<duckdb::LogicalMergeInto>();
        for (auto& [condition, actions] : merge.actions) {
          for (auto& action : actions) {
            if (action->action_type == duckdb::MergeActionType::MERGE_INSERT)
              CheckAllNamed(merge.table, action->column_index_map, false);
            for (auto& expression : action->expressions) GuardConversion(expression);
          }
        }
        // What ON CONFLICT sets is computed before.
        GuardConversionsInto(*op.children[0]);
        break;
      }
      default:
        break;
    }
  }

 private:
  /// The columns of `op` are values for a table: what the binder converts for it, it converts last.
  void GuardConversionsInto(LogicalOperator& op) {
    if (op.type == duckdb::LogicalOperatorType::LOGICAL_PROJECTION) {
      for (auto& expression : op.expressions) GuardConversion(expression);
      // VALUES are converted where they stand.
      LogicalOperator* child = op.children[0].get();
      while (child->type == duckdb::LogicalOperatorType::LOGICAL_PROJECTION &&
             !child->children.empty())
        child = child->children[0].get();
      if (child->type == duckdb::LogicalOperatorType::LOGICAL_EXPRESSION_GET)
        GuardConversionsInto(*child);
    } else if (op.type == duckdb::LogicalOperatorType::LOGICAL_EXPRESSION_GET) {
      for (auto& row : op.Cast<duckdb::LogicalExpressionGet>().expressions)
        for (auto& expression : row) GuardConversion(expression);
    }
  }

  void GuardConversion(ExpressionPtr& expression) {
    if (expression->GetExpressionClass() != duckdb::ExpressionClass::BOUND_CAST) return;
    auto& cast = expression->Cast<duckdb::BoundCastExpression>();
    const LogicalType from = cast.child->return_type;
    const LogicalType to = cast.return_type;
    if (from.IsNested() || to.IsNested() || from.id() == duckdb::LogicalTypeId::SQLNULL) return;
    if (from.id() == duckdb::LogicalTypeId::VARCHAR && !to.IsNumeric()) return;
    if (from.id() == duckdb::LogicalTypeId::UNKNOWN || to.id() == duckdb::LogicalTypeId::VARCHAR)
      return;
    duckdb::vector<ExpressionPtr> children;
    auto original = cast.child->Copy();
    // Asked for twice it would be two values.
    if (original->IsVolatile()) return;
    children.push_back(std::move(expression));
    children.push_back(std::move(original));
    expression = Call(context_, kUnchanged, std::move(children));
  }

  template <typename Map>
  static void CheckAllNamed(const duckdb::TableCatalogEntry& table, const Map& named,
                            bool default_values) {
    if (named.empty() && !default_values) return;
    for (const auto& column : table.GetColumns().Physical()) {
      if (column.HasDefaultValue()) continue;
      if (!named.empty() && named[column.Physical()] != duckdb::DConstants::INVALID_INDEX) continue;
      Throw(MakeSqlError("T4010",
                         fmt::format("an INSERT leaves out a column that has no default: table={} "
                                     "column={}",
                                     table.name, column.Name()),
                         "name it, with NULL if that is meant; SET strict_mode = false leaves it "
                         "NULL"));
    }
  }

  duckdb::ClientContext& context_;
};

void BeforeOptimizing(duckdb::OptimizerExtensionInput& input,
                      duckdb::unique_ptr<LogicalOperator>& plan) {
  if (IsStrict(input.context)) StrictRewriter(input.context).Rewrite(*plan);
}

void Add(duckdb::ExtensionLoader& loader, const char* name, size_t arguments,
         duckdb::scalar_function_t body, bool can_throw) {
  duckdb::ScalarFunction function(name, duckdb::vector<LogicalType>(arguments, LogicalType::ANY),
                                  LogicalType::ANY, body, BindFirst);
  function.SetNullHandling(duckdb::FunctionNullHandling::SPECIAL_HANDLING);
  if (can_throw) function.SetFallible();
  loader.RegisterFunction(function);
}

}  // namespace

void MarkMeantConversions(duckdb::SQLStatement& statement) {
  using duckdb::StatementType;
  if (statement.type == StatementType::PREPARE_STATEMENT)
    return MarkMeantConversions(*statement.Cast<duckdb::PrepareStatement>().statement);
  if (statement.type == StatementType::EXPLAIN_STATEMENT)
    return MarkMeantConversions(*statement.Cast<duckdb::ExplainStatement>().stmt);
  if (statement.type == StatementType::INSERT_STATEMENT) {
    auto& insert = statement.Cast<duckdb::InsertStatement>();
    if (insert.on_conflict_info != nullptr) Mark(insert.on_conflict_info->set_info.get());
    if (auto values = insert.GetValuesList()) {
      for (auto& row : values->values)
        for (auto& expression : row) Mark(expression);
    } else if (insert.select_statement != nullptr &&
               insert.select_statement->node->type == duckdb::QueryNodeType::SELECT_NODE) {
      for (auto& item : insert.select_statement->node->Cast<duckdb::SelectNode>().select_list)
        Mark(item);
    }
  } else if (statement.type == StatementType::UPDATE_STATEMENT) {
    Mark(statement.Cast<duckdb::UpdateStatement>().set_info.get());
  } else if (statement.type == StatementType::MERGE_INTO_STATEMENT) {
    for (auto& [condition, actions] : statement.Cast<duckdb::MergeIntoStatement>().actions) {
      for (auto& action : actions) {
        Mark(action->update_info.get());
        for (auto& expression : action->expressions) Mark(expression);
      }
    }
  }
}

void RegisterStrictMode(duckdb::DBConfig& config) {
  duckdb::OptimizerExtension extension;
  extension.pre_optimize_function = BeforeOptimizing;
  duckdb::OptimizerExtension::Register(config, std::move(extension));
}

void RegisterStrictFunctions(duckdb::ExtensionLoader& loader) {
  Add(loader, kUnchanged, 2, Unchanged, /*can_throw=*/true);
  Add(loader, kMeant, 1, First, /*can_throw=*/false);
}

}  // namespace lamina::sql
