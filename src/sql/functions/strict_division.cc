// strict_mode: a divisor of zero is an error. Where it is on when a query is planned, every divisor
// is put into nonzero_divisor(), which gives back what it is given.
#include <array>

#include <duckdb/catalog/catalog_entry/scalar_function_catalog_entry.hpp>
#include <duckdb/planner/expression/bound_function_expression.hpp>

#include "sql/error_translation.h"
#include "sql/functions/functions.h"
#include "sql/settings.h"

namespace lamina::sql {
namespace {

constexpr char kNonzero[] = "nonzero_divisor";

template <typename T>
void Check(duckdb::Vector& divisors, duckdb::idx_t count) {
  duckdb::UnifiedVectorFormat format;
  divisors.ToUnifiedFormat(count, format);
  const auto* data = duckdb::UnifiedVectorFormat::GetData<T>(format);
  for (duckdb::idx_t i = 0; i < count; ++i) {
    const auto at = format.sel->get_index(i);
    if (!format.validity.RowIsValid(at) || data[at] != T(0)) continue;
    Throw(MakeSqlError("T4001", "division by zero", "strict_mode is on: nullif(…, 0) gives NULL"));
  }
}

void Nonzero(duckdb::DataChunk& arguments, duckdb::ExpressionState&, duckdb::Vector& result) {
  duckdb::Vector& divisors = arguments.data[0];
  const auto count = arguments.size();
  switch (divisors.GetType().InternalType()) {
    case duckdb::PhysicalType::INT8:
      Check<int8_t>(divisors, count);
      break;
    case duckdb::PhysicalType::INT16:
      Check<int16_t>(divisors, count);
      break;
    case duckdb::PhysicalType::INT32:
      Check<int32_t>(divisors, count);
      break;
    case duckdb::PhysicalType::INT64:
      Check<int64_t>(divisors, count);
      break;
    case duckdb::PhysicalType::INT128:
      Check<duckdb::hugeint_t>(divisors, count);
      break;
    case duckdb::PhysicalType::UINT8:
      Check<uint8_t>(divisors, count);
      break;
    case duckdb::PhysicalType::UINT16:
      Check<uint16_t>(divisors, count);
      break;
    case duckdb::PhysicalType::UINT32:
      Check<uint32_t>(divisors, count);
      break;
    case duckdb::PhysicalType::UINT64:
      Check<uint64_t>(divisors, count);
      break;
    case duckdb::PhysicalType::UINT128:
      Check<duckdb::uhugeint_t>(divisors, count);
      break;
    case duckdb::PhysicalType::FLOAT:
      Check<float>(divisors, count);
      break;
    case duckdb::PhysicalType::DOUBLE:
      Check<double>(divisors, count);
      break;
    default:
      break;  // no number: what divides by it says so
  }
  result.Reference(divisors);
}

duckdb::unique_ptr<duckdb::FunctionData> BindNonzero(
    duckdb::ClientContext&, duckdb::ScalarFunction& function,
    duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>& arguments) {
  function.arguments[0] = arguments[0]->return_type;
  function.SetReturnType(arguments[0]->return_type);
  return nullptr;
}

duckdb::ScalarFunction NonzeroFunction() {
  duckdb::ScalarFunction out(kNonzero, {duckdb::LogicalType::ANY}, duckdb::LogicalType::ANY,
                             Nonzero, BindNonzero);
  // So that it is not evaluated where a condition before it says no.
  out.SetFallible();
  return out;
}

duckdb::unique_ptr<duckdb::Expression> GuardDivisor(duckdb::FunctionBindExpressionInput& input) {
  if (input.children.size() != 2 || !IsStrict(input.context)) return nullptr;
  auto& divisor = input.children[1];
  const duckdb::LogicalType type = divisor->return_type;
  if (!type.IsNumeric()) return nullptr;
  duckdb::ScalarFunction function = NonzeroFunction();
  function.arguments[0] = type;
  function.SetReturnType(type);
  duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> children;
  children.push_back(std::move(divisor));
  divisor = duckdb::make_uniq<duckdb::BoundFunctionExpression>(type, std::move(function),
                                                               std::move(children), nullptr);
  return nullptr;  // the division itself stays as it is
}

}  // namespace

void RegisterStrictDivision(duckdb::ExtensionLoader& loader) {
  loader.RegisterFunction(NonzeroFunction());
  auto& instance = loader.GetDatabaseInstance();
  auto& catalog = duckdb::Catalog::GetSystemCatalog(instance);
  const auto transaction = duckdb::CatalogTransaction::GetSystemTransaction(instance);
  auto& schema = catalog.GetSchema(transaction, DEFAULT_SCHEMA);
  // fdiv and fmod are macros over these.
  for (const char* name : {"/", "//", "%", "divide", "mod"}) {
    auto entry = schema.GetEntry(transaction, duckdb::CatalogType::SCALAR_FUNCTION_ENTRY, name);
    if (entry == nullptr)
      throw duckdb::InternalException("DuckDB has no function %s", std::string(name));
    // Nothing is planned yet, so the entry may be changed where it lies.
    for (auto& function : entry->Cast<duckdb::ScalarFunctionCatalogEntry>().functions.functions) {
      if (function.HasBindExpressionCallback())
        throw duckdb::InternalException("DuckDB binds %s itself", std::string(name));
      function.SetBindExpressionCallback(GuardDivisor);
    }
  }
}

}  // namespace lamina::sql
