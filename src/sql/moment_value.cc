#include "sql/moment_value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include <duckdb/common/vector_operations/vector_operations.hpp>
#include <duckdb/planner/expression_binder/constant_binder.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/moment.h"

namespace lamina::sql {
namespace {

using duckdb::LogicalType;
using duckdb::LogicalTypeId;
using duckdb::Value;

constexpr char kSystemHint[] =
    "a commit's number such as 42, or a moment such as TIMESTAMP '2024-05-01 12:00'";
constexpr char kValidHint[] =
    "a moment such as TIMESTAMP '2024-05-01 12:00', or microseconds since 1970";

int64_t ToMicros(duckdb::ClientContext& context, const Value& value, const char* axis,
                 const char* hint) {
  switch (value.type().id()) {
    case LogicalTypeId::DATE:
    case LogicalTypeId::TIMESTAMP:
    case LogicalTypeId::TIMESTAMP_SEC:
    case LogicalTypeId::TIMESTAMP_MS:
    case LogicalTypeId::TIMESTAMP_NS:
    case LogicalTypeId::TIMESTAMP_TZ:
    case LogicalTypeId::VARCHAR:
      break;
    default:
      Throw(MakeSqlError("T4010",
                         fmt::format("this is no moment of {}: value={} type={}", axis,
                                     value.ToString(), value.type().ToString()),
                         hint));
  }
  Value moment;
  std::string why;
  // Some conversions fail by giving NULL.
  if (!value.TryCastAs(context, LogicalType::TIMESTAMP_TZ, moment, &why) || moment.IsNull()) {
    Throw(MakeSqlError(
        "T4010", fmt::format("this is no moment of {}: value={}", axis, value.ToString()), hint));
  }
  const int64_t micros = moment.GetValueUnsafe<duckdb::timestamp_tz_t>().value;
  // The open ends of both worlds.
  return micros == -std::numeric_limits<int64_t>::max() ? std::numeric_limits<int64_t>::min()
                                                        : micros;
}

std::optional<int64_t> AsInteger(duckdb::ClientContext& context, const Value& value) {
  if (!value.type().IsIntegral()) return {};
  return value.CastAs(context, LogicalType::BIGINT).GetValue<int64_t>();
}

Value ToValue(std::optional<int64_t> of) {
  return of ? Value::BIGINT(*of) : Value(LogicalType::BIGINT);
}

LogicalType MomentType() {
  return LogicalType::STRUCT({{"system_time", LogicalType::VARCHAR},
                              {"system_commit", LogicalType::BIGINT},
                              {"system_micros", LogicalType::BIGINT},
                              {"system_end_commit", LogicalType::BIGINT},
                              {"system_end_micros", LogicalType::BIGINT},
                              {"valid_time", LogicalType::VARCHAR},
                              {"valid_micros", LogicalType::BIGINT},
                              {"valid_end_micros", LogicalType::BIGINT}});
}

std::optional<std::string> FormOf(const Value& value, const char* axis, bool writes) {
  if (value.IsNull()) return {};
  const std::string form = value.ToString();
  constexpr std::array<const char*, 4> kForms = {"as of", "from", "between", "all"};
  const bool known =
      std::any_of(kForms.begin(), kForms.end(), [&](const char* of) { return form == of; }) ||
      (writes && form == "portion");
  if (known) return form;
  Throw(MakeSqlError("T4010", fmt::format("no form of {}: {}", axis, form),
                     "'as of', 'from', 'between' and 'all' are forms; NULL says nothing"));
}

void MomentFunction(duckdb::DataChunk& input, duckdb::ExpressionState& state,
                    duckdb::Vector& result) {
  auto& context = state.GetContext();
  for (duckdb::idx_t row = 0; row < input.size(); ++row) {
    const auto at = [&](size_t column) { return input.GetValue(column, row); };
    MomentValue value;
    value.system = FormOf(at(0), "system time", false);
    if (value.system.has_value()) {
      value.a = SystemOperand::Of(context, at(1));
      value.b = SystemOperand::Of(context, at(2));
    }
    value.valid = FormOf(at(3), "valid time", true);
    if (value.valid.has_value()) {
      value.c = ValidOperandOf(context, at(4));
      value.d = ValidOperandOf(context, at(5));
    }
    result.SetValue(row, value.ToStruct());
  }
  if (input.AllConstant()) result.SetVectorType(duckdb::VectorType::CONSTANT_VECTOR);
}

/// A moment of valid time as SQL's own type. Most types are converted as DuckDB does it.
void ValidMomentFunction(duckdb::DataChunk& input, duckdb::ExpressionState& state,
                         duckdb::Vector& result) {
  auto& context = state.GetContext();
  duckdb::Vector& from = input.data[0];
  switch (from.GetType().id()) {
    case LogicalTypeId::TIMESTAMP_TZ:
      return result.Reference(from);
    case LogicalTypeId::DATE:
    case LogicalTypeId::TIMESTAMP:
    case LogicalTypeId::TIMESTAMP_SEC:
    case LogicalTypeId::TIMESTAMP_MS:
    case LogicalTypeId::TIMESTAMP_NS:
      return duckdb::VectorOperations::Cast(context, from, result, input.size());
    default:
      break;
  }
  const duckdb::idx_t count = input.AllConstant() ? 1 : input.size();
  for (duckdb::idx_t row = 0; row < count; ++row) {
    const auto micros = ValidOperandOf(context, input.GetValue(0, row));
    result.SetValue(row, micros ? Value::TIMESTAMPTZ(duckdb::timestamp_tz_t(
                                      std::max(*micros, -std::numeric_limits<int64_t>::max())))
                                : Value(LogicalType::TIMESTAMP_TZ));
  }
  if (input.AllConstant()) result.SetVectorType(duckdb::VectorType::CONSTANT_VECTOR);
}

/// It may be asked of columns.
duckdb::unique_ptr<duckdb::FunctionData> BindValidMoment(
    duckdb::ClientContext&, duckdb::ScalarFunction&,
    duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>& arguments) {
  if (arguments[0]->return_type.id() == LogicalTypeId::UNKNOWN)
    throw duckdb::ParameterNotResolvedException();
  return nullptr;
}

duckdb::unique_ptr<duckdb::FunctionData> BindMoment(
    duckdb::ClientContext&, duckdb::ScalarFunction&,
    duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>& arguments) {
  for (const auto& argument : arguments) {
    // An AT clause is computed when a statement is bound: again for each run, then.
    if (argument->HasParameter() || argument->return_type.id() == LogicalTypeId::UNKNOWN)
      throw duckdb::ParameterNotResolvedException();
  }
  return nullptr;
}

void CheckSetting(duckdb::ClientContext& context, duckdb::SetScope scope, Value& value,
                  const char* name) {
  if (scope == duckdb::SetScope::GLOBAL) {
    Throw(MakeSqlError("T4010", fmt::format("{} is of one session: SET {} = …", name, name)));
  }
  const bool system = std::string_view(name) == kSystemTimeSetting;
  std::string text = value.IsNull() ? "" : value.ToString();
  const std::string plain = duckdb::StringUtil::Lower(text);
  if (plain == (system ? "latest" : "now") || plain == "default") text.clear();
  (void)MomentValue::OfSettings(context, system ? text : "", system ? "" : text);
  value = Value(text);
}

}  // namespace

SystemOperand SystemOperand::Of(duckdb::ClientContext& context, const Value& value) {
  SystemOperand out;
  if (value.IsNull()) return out;
  if (const auto number = AsInteger(context, value)) {
    if (*number < 0) {
      Throw(MakeSqlError("T4010", fmt::format("no commit has this number: commit={}", *number),
                         kSystemHint));
    }
    out.commit = CommitId{static_cast<uint64_t>(*number)};
    return out;
  }
  out.micros = ToMicros(context, value, "system time", kSystemHint);
  return out;
}

std::optional<int64_t> ValidOperandOf(duckdb::ClientContext& context, const Value& value) {
  if (value.IsNull()) return {};
  if (const auto number = AsInteger(context, value)) return number;
  return ToMicros(context, value, "valid time", kValidHint);
}

Value EvaluateConstant(duckdb::ClientContext& context, const std::string& expression) {
  auto parsed = duckdb::Parser::ParseExpressionList(expression, context.GetParserOptions());
  if (parsed.size() != 1) Throw(MakeSqlError("T1002", "this is not one value: " + expression));
  Value out;
  context.RunFunctionInTransaction([&] {
    const auto binder = duckdb::Binder::CreateBinder(context);
    duckdb::ConstantBinder constants(*binder, context, "an option");
    out = duckdb::ExpressionExecutor::EvaluateScalar(context, *constants.Bind(parsed[0]),
                                                     /*allow_unfoldable=*/true);
  });
  return out;
}

MomentValue MomentValue::Of(duckdb::ClientContext& context, const std::string& unit,
                            const Value& value) {
  if (value.type() == MomentType()) return OfStruct(value);
  MomentValue out;
  out.system = "as of";
  out.a = SystemOperand::Of(context, value);
  const bool version = duckdb::StringUtil::CIEquals(unit, "version");
  if (out.a.commit.has_value() == version || value.IsNull()) return out;
  Throw(
      MakeSqlError("T4010",
                   fmt::format("AT ({} => …) takes a {}: value={}", duckdb::StringUtil::Upper(unit),
                               version ? "commit's number" : "moment", value.ToString()),
                   version ? "AT (TIMESTAMP => …) takes a moment"
                           : "AT (VERSION => …) takes a commit's number"));
}

MomentValue MomentValue::OfStruct(const Value& value) {
  const auto& parts = duckdb::StructValue::GetChildren(value);
  const auto number = [&](size_t i) -> std::optional<int64_t> {
    if (parts[i].IsNull()) return {};
    return parts[i].GetValue<int64_t>();
  };
  const auto text = [&](size_t i) -> std::optional<std::string> {
    if (parts[i].IsNull()) return {};
    return parts[i].ToString();
  };
  const auto operand = [&](size_t i) {
    SystemOperand out;
    if (const auto commit = number(i)) out.commit = CommitId{static_cast<uint64_t>(*commit)};
    out.micros = number(i + 1);
    return out;
  };
  return {text(0), operand(1), operand(3), text(5), number(6), number(7)};
}

MomentValue MomentValue::OfSettings(duckdb::ClientContext& context, const std::string& system,
                                    const std::string& valid) {
  MomentValue out;
  const auto value_of = [](const std::string& text) {
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size() ? Value::BIGINT(number)
                                                                    : Value(text);
  };
  const auto all = [](const std::string& text) {
    return duckdb::StringUtil::CIEquals(text, "all");
  };
  if (all(system)) {
    out.system = "all";
  } else if (!system.empty()) {
    out.system = "as of";
    out.a = SystemOperand::Of(context, value_of(system));
  }
  if (all(valid)) {
    out.valid = "all";
  } else if (!valid.empty()) {
    out.valid = "as of";
    out.c = ValidOperandOf(context, value_of(valid));
  }
  return out;
}

Value MomentValue::ToStruct() const {
  const auto text = [](const std::optional<std::string>& of) {
    return of ? Value(*of) : Value(LogicalType::VARCHAR);
  };
  const auto commit = [](const SystemOperand& of) {
    return of.commit ? Value::BIGINT(static_cast<int64_t>(of.commit->value))
                     : Value(LogicalType::BIGINT);
  };
  return Value::STRUCT(MomentType(), {text(system), commit(a), ToValue(a.micros), commit(b),
                                      ToValue(b.micros), text(valid), ToValue(c), ToValue(d)});
}

void RegisterMoments(duckdb::ExtensionLoader& loader) {
  duckdb::ScalarFunction function(kMomentFunction, duckdb::vector<LogicalType>(6, LogicalType::ANY),
                                  MomentType(), MomentFunction, BindMoment);
  function.SetNullHandling(duckdb::FunctionNullHandling::SPECIAL_HANDLING);
  function.SetFallible();
  loader.RegisterFunction(function);

  duckdb::ScalarFunction moment("lamina_valid_moment", {LogicalType::ANY},
                                LogicalType::TIMESTAMP_TZ, ValidMomentFunction, BindValidMoment);
  moment.SetNullHandling(duckdb::FunctionNullHandling::SPECIAL_HANDLING);
  moment.SetFallible();
  loader.RegisterFunction(moment);

  auto& config = duckdb::DBConfig::GetConfig(loader.GetDatabaseInstance());
  config.AddExtensionOption(
      kSystemTimeSetting,
      "The commit's number or the time that this session reads the database as of ('': the newest)",
      LogicalType::VARCHAR, Value(""),
      [](duckdb::ClientContext& context, duckdb::SetScope scope, Value& value) {
        CheckSetting(context, scope, value, kSystemTimeSetting);
      });
  config.AddExtensionOption(
      kValidTimeSetting,
      "The moment that this session reads what was valid at ('': now; 'all': whatever moment)",
      LogicalType::VARCHAR, Value(""),
      [](duckdb::ClientContext& context, duckdb::SetScope scope, Value& value) {
        CheckSetting(context, scope, value, kValidTimeSetting);
      });
}

}  // namespace lamina::sql
