// Functions that DuckDB has, with arguments that it has not: each is bound to one that it has.
#include <duckdb/catalog/catalog_entry/aggregate_function_catalog_entry.hpp>
#include <duckdb/function/function_binder.hpp>
#include <duckdb/planner/expression/bound_aggregate_expression.hpp>
#include <duckdb/planner/expression/bound_cast_expression.hpp>
#include <duckdb/planner/expression/bound_constant_expression.hpp>

#include "sql/functions/functions.h"

namespace lamina::sql {
namespace {

using duckdb::Expression;
using duckdb::LogicalType;
using duckdb::Value;
using Children = duckdb::vector<duckdb::unique_ptr<Expression>>;

duckdb::unique_ptr<Expression> Call(duckdb::ClientContext& context, const char* name,
                                    Children children) {
  duckdb::FunctionBinder binder(context);
  duckdb::ErrorData error;
  auto out = binder.BindScalarFunction("main", name, std::move(children), error);
  if (error.HasError()) error.Throw();
  return out;
}

duckdb::unique_ptr<Expression> Constant(Value value) {
  return duckdb::make_uniq<duckdb::BoundConstantExpression>(std::move(value));
}

// Bound to another function before anything runs.
void Never(duckdb::DataChunk&, duckdb::ExpressionState&, duckdb::Vector&) {
  throw duckdb::InternalException("an overload of LaminaDB was not bound");
}

void Add(duckdb::ExtensionLoader& loader, const char* name, duckdb::vector<LogicalType> arguments,
         LogicalType result, duckdb::function_bind_expression_t bind) {
  duckdb::ScalarFunction function(name, std::move(arguments), std::move(result), Never);
  function.SetBindExpressionCallback(bind);
  // The function that it becomes decides about NULL.
  function.SetNullHandling(duckdb::FunctionNullHandling::SPECIAL_HANDLING);
  loader.AddFunctionOverload(function);
}

template <const char* kName>
duckdb::unique_ptr<Expression> PadWithBlanks(duckdb::FunctionBindExpressionInput& input) {
  Children children = std::move(input.children);
  children.push_back(Constant(Value(" ")));
  return Call(input.context, kName, std::move(children));
}
constexpr char kLeftPad[] = "lpad";
constexpr char kRightPad[] = "rpad";

duckdb::unique_ptr<Expression> EpochOfNow(duckdb::FunctionBindExpressionInput& input) {
  Children children;
  children.push_back(Call(input.context, "now", {}));
  return Call(input.context, "epoch", std::move(children));
}

// A bucket's width in seconds.
duckdb::unique_ptr<Expression> BucketOfSeconds(duckdb::FunctionBindExpressionInput& input) {
  Children width;
  width.push_back(std::move(input.children[0]));
  Children children;
  children.push_back(Call(input.context, "to_seconds", std::move(width)));
  children.push_back(std::move(input.children[1]));
  return Call(input.context, "time_bucket", std::move(children));
}

// '1h'; needed once BIGINT and INTERVAL both could be meant by a text.
duckdb::unique_ptr<Expression> BucketOfText(duckdb::FunctionBindExpressionInput& input) {
  Children children;
  children.push_back(duckdb::BoundCastExpression::AddCastToType(
      input.context, std::move(input.children[0]), LogicalType::INTERVAL));
  children.push_back(std::move(input.children[1]));
  return Call(input.context, "time_bucket", std::move(children));
}

// first(value, time) and last(value, time) are arg_min and arg_max.
template <const char* kName>
duckdb::unique_ptr<duckdb::FunctionData> BindAs(duckdb::ClientContext& context,
                                                duckdb::AggregateFunction& function,
                                                Children& arguments) {
  auto& entry =
      duckdb::Catalog::GetSystemCatalog(context).GetEntry<duckdb::AggregateFunctionCatalogEntry>(
          context, "main", kName);
  duckdb::FunctionBinder binder(context);
  duckdb::ErrorData error;
  const auto chosen = binder.BindFunction(kName, entry.functions, arguments, error);
  if (!chosen.IsValid()) error.Throw();
  function = entry.functions.GetFunctionByOffset(chosen.GetIndex());
  return function.HasBindCallback() ? function.GetBindCallback()(context, function, arguments)
                                    : nullptr;
}
constexpr char kArgMin[] = "arg_min";
constexpr char kArgMax[] = "arg_max";

void AddOrdered(duckdb::ExtensionLoader& loader, const char* name,
                duckdb::bind_aggregate_function_t bind) {
  duckdb::AggregateFunction function(name, {LogicalType::ANY, LogicalType::ANY}, LogicalType::ANY,
                                     nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, bind);
  // The loader merges scalar functions with those of the name, not aggregates. Nothing is planned
  // yet, so the entry may be changed where it lies.
  auto& instance = loader.GetDatabaseInstance();
  auto& catalog = duckdb::Catalog::GetSystemCatalog(instance);
  const auto transaction = duckdb::CatalogTransaction::GetSystemTransaction(instance);
  catalog.GetSchema(transaction, DEFAULT_SCHEMA)
      .GetEntry(transaction, duckdb::CatalogType::AGGREGATE_FUNCTION_ENTRY, name)
      ->Cast<duckdb::AggregateFunctionCatalogEntry>()
      .functions.AddFunction(std::move(function));
}

}  // namespace

void RegisterOverloads(duckdb::ExtensionLoader& loader) {
  Add(loader, "lpad", {LogicalType::VARCHAR, LogicalType::INTEGER}, LogicalType::VARCHAR,
      PadWithBlanks<kLeftPad>);
  Add(loader, "rpad", {LogicalType::VARCHAR, LogicalType::INTEGER}, LogicalType::VARCHAR,
      PadWithBlanks<kRightPad>);
  Add(loader, "epoch", {}, LogicalType::DOUBLE, EpochOfNow);
  for (const LogicalType time :
       {LogicalType::TIMESTAMP, LogicalType::TIMESTAMP_TZ, LogicalType::DATE}) {
    Add(loader, "time_bucket", {LogicalType::BIGINT, time}, time, BucketOfSeconds);
    Add(loader, "time_bucket", {LogicalType::VARCHAR, time}, time, BucketOfText);
  }
  AddOrdered(loader, "first", BindAs<kArgMin>);
  AddOrdered(loader, "last", BindAs<kArgMax>);
}

}  // namespace lamina::sql
