// PostgreSQL's json_extract_path with several steps, and its containment of JSON in JSON.
//
// Containment, as PostgreSQL defines it: an object contains another when it has all its keys with
// values that contain the other's; an array contains another when each of its elements is contained
// in one of the first; an array also contains a scalar that is one of its elements, on the
// outermost level only; scalars contain their equals.
#include <duckdb/common/vector_operations/binary_executor.hpp>
#include <duckdb/function/function_binder.hpp>
#include <duckdb/planner/expression/bound_cast_expression.hpp>
#include <duckdb/planner/expression/bound_constant_expression.hpp>
#include <nlohmann/json.hpp>

#include "sql/error_translation.h"
#include "sql/functions/functions.h"

namespace lamina::sql {
namespace {

using duckdb::LogicalType;
using duckdb::string_t;
using nlohmann::json;

bool Contains(const json& all, const json& part) {
  if (all.is_object() && part.is_object()) {
    for (const auto& [key, value] : part.items()) {
      const auto it = all.find(key);
      if (it == all.end() || !Contains(*it, value)) return false;
    }
    return true;
  }
  if (all.is_array() && part.is_array()) {
    for (const json& value : part) {
      bool found = false;
      for (const json& element : all) found = found || Contains(element, value);
      if (!found) return false;
    }
    return true;
  }
  return all.is_primitive() && part.is_primitive() && all == part;
}

bool ContainsAtTop(const json& all, const json& part) {
  if (!all.is_array() || !part.is_primitive()) return Contains(all, part);
  for (const json& element : all) {
    if (element.is_primitive() && element == part) return true;
  }
  return false;
}

json Parse(const string_t& text) {
  CheckJsonDepth({text.GetData(), text.GetSize()});
  json out = json::parse(text.GetData(), text.GetData() + text.GetSize(), nullptr,
                         /*allow_exceptions=*/false);
  if (out.is_discarded()) {
    std::string shown = text.GetString();
    if (shown.size() > 60) shown = shown.substr(0, 60) + "…";
    Throw(MakeSqlError("T4002", "a text is no JSON: " + shown));
  }
  return out;
}

void JsonContains(duckdb::DataChunk& input, duckdb::ExpressionState&, duckdb::Vector& result) {
  duckdb::BinaryExecutor::Execute<string_t, string_t, bool>(
      input.data[0], input.data[1], result, input.size(),
      [](const string_t& all, const string_t& part) {
        return ContainsAtTop(Parse(all), Parse(part));
      });
}

void JsonContained(duckdb::DataChunk& input, duckdb::ExpressionState&, duckdb::Vector& result) {
  duckdb::BinaryExecutor::Execute<string_t, string_t, bool>(
      input.data[0], input.data[1], result, input.size(),
      [](const string_t& part, const string_t& all) {
        return ContainsAtTop(Parse(all), Parse(part));
      });
}

// Steps to a JSON pointer: each a key of an object or a place in an array.
void Pointer(duckdb::DataChunk& input, duckdb::ExpressionState&, duckdb::Vector& result) {
  std::vector<duckdb::UnifiedVectorFormat> steps(input.ColumnCount());
  for (size_t i = 0; i < steps.size(); ++i) input.data[i].ToUnifiedFormat(input.size(), steps[i]);
  result.SetVectorType(duckdb::VectorType::FLAT_VECTOR);
  auto* out = duckdb::FlatVector::GetData<string_t>(result);
  for (duckdb::idx_t row = 0; row < input.size(); ++row) {
    std::string pointer;
    bool known = true;
    for (const auto& step : steps) {
      const auto at = step.sel->get_index(row);
      if (!step.validity.RowIsValid(at)) {
        known = false;
        break;
      }
      pointer += '/';
      for (const char c : duckdb::UnifiedVectorFormat::GetData<string_t>(step)[at].GetString()) {
        if (c == '~') {
          pointer += "~0";
        } else if (c == '/') {
          pointer += "~1";
        } else {
          pointer += c;
        }
      }
    }
    if (known) {
      out[row] = duckdb::StringVector::AddString(result, pointer);
    } else {
      duckdb::FlatVector::SetNull(result, row, true);
    }
  }
}

void Never(duckdb::DataChunk&, duckdb::ExpressionState&, duckdb::Vector&) {
  throw duckdb::InternalException("an overload of LaminaDB was not bound");
}

template <const char* kName>
duckdb::unique_ptr<duckdb::Expression> ByPointer(duckdb::FunctionBindExpressionInput& input) {
  duckdb::FunctionBinder binder(input.context);
  duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> steps;
  for (size_t i = 1; i < input.children.size(); ++i) {
    steps.push_back(duckdb::BoundCastExpression::AddCastToType(
        input.context, std::move(input.children[i]), LogicalType::VARCHAR));
  }
  duckdb::ScalarFunction pointer("json_pointer",
                                 duckdb::vector<LogicalType>(steps.size(), LogicalType::VARCHAR),
                                 LogicalType::VARCHAR, Pointer);
  pointer.SetNullHandling(duckdb::FunctionNullHandling::SPECIAL_HANDLING);
  duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> arguments;
  arguments.push_back(std::move(input.children[0]));
  arguments.push_back(binder.BindScalarFunction(std::move(pointer), std::move(steps)));
  duckdb::ErrorData error;
  auto out = binder.BindScalarFunction("main", kName, std::move(arguments), error);
  if (error.HasError()) error.Throw();
  return out;
}
constexpr char kExtract[] = "json_extract";
constexpr char kExtractText[] = "json_extract_string";

void AddSteps(duckdb::ExtensionLoader& loader, const char* name, const LogicalType& result,
              duckdb::function_bind_expression_t bind) {
  for (const auto& document : {LogicalType::JSON(), LogicalType(LogicalType::VARCHAR)}) {
    duckdb::ScalarFunction function(name, {document, LogicalType::VARCHAR, LogicalType::VARCHAR},
                                    result, Never);
    function.varargs = LogicalType::VARCHAR;
    function.SetBindExpressionCallback(bind);
    function.SetNullHandling(duckdb::FunctionNullHandling::SPECIAL_HANDLING);
    loader.AddFunctionOverload(function);
  }
}

}  // namespace

void RegisterJson(duckdb::ExtensionLoader& loader) {
  AddSteps(loader, "json_extract_path", LogicalType::JSON(), ByPointer<kExtract>);
  AddSteps(loader, "json_extract_path_text", LogicalType::VARCHAR, ByPointer<kExtractText>);
  duckdb::ScalarFunction contains("@>", {LogicalType::JSON(), LogicalType::JSON()},
                                  LogicalType::BOOLEAN, JsonContains);
  contains.SetFallible();
  loader.AddFunctionOverload(contains);
  duckdb::ScalarFunction contained("<@", {LogicalType::JSON(), LogicalType::JSON()},
                                   LogicalType::BOOLEAN, JsonContained);
  contained.SetFallible();
  loader.AddFunctionOverload(contained);
}

}  // namespace lamina::sql
