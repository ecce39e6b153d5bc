// lamina_coalesce(), lamina_over_time() and lamina_temporal_join(): what rows with periods are
// asked.
//
// Each is a query that stands for the function, so that DuckDB plans and runs it; names are quoted,
// and what a caller says as SQL is parsed before it is a part of it.
#include <algorithm>
#include <string>
#include <vector>

#include <duckdb/parser/keyword_helper.hpp>
#include <duckdb/parser/qualified_name.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sql/error_translation.h"
#include "sql/functions/functions.h"
#include "sql/functions/query_function.h"
#include "sql/moment.h"

namespace lamina::sql {
namespace {

using duckdb::LogicalType;
using duckdb::Value;

struct Axis {
  const char* from;
  const char* to;
  std::string at;  ///< The AT clause that shows every period of it.
};

Axis AxisOf(const duckdb::TableFunctionBindInput& input) {
  const auto it = input.named_parameters.find("axis");
  const std::string name = it == input.named_parameters.end() || it->second.IsNull()
                               ? "valid"
                               : duckdb::StringUtil::Lower(it->second.ToString());
  if (name == "valid" || name == "valid_time" || name == "application_time") {
    return {
        "_valid_from", "_valid_to",
        fmt::format("AT (VERSION => {}(NULL, NULL, NULL, 'all', NULL, NULL))", kMomentFunction)};
  }
  if (name == "system" || name == "system_time") {
    return {
        "_system_from", "_system_to",
        fmt::format("AT (VERSION => {}('all', NULL, NULL, NULL, NULL, NULL))", kMomentFunction)};
  }
  Throw(MakeSqlError("T4010", "no axis of time: " + name, "'valid' and 'system' are"));
}

std::string Text(const Value& value, const char* what) {
  if (value.IsNull()) Throw(MakeSqlError("T4010", fmt::format("{} is NULL", what)));
  return value.ToString();
}

std::string TableName(const Value& name) {
  const auto path = duckdb::QualifiedName::Parse(Text(name, "the name of a table"));
  std::string out;
  if (!path.catalog.empty()) out += QuotedName(path.catalog) + ".";
  if (!path.schema.empty()) out += QuotedName(path.schema) + ".";
  return out + QuotedName(path.name);
}

struct Named {
  std::string expression, name;
};
/// Expressions as the caller wrote them, each with its alias or its text as a name.
std::vector<Named> ExpressionsOf(duckdb::ClientContext& context, const std::string& text) {
  std::vector<Named> out;
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return out;
  for (auto& expression : duckdb::Parser::ParseExpressionList(text, context.GetParserOptions())) {
    std::string name = expression->GetName();
    expression->ClearAlias();
    out.push_back({expression->ToString(), std::move(name)});
  }
  return out;
}

std::vector<std::string> ColumnsOf(duckdb::ClientContext& context, const std::string& text) {
  std::vector<std::string> out;
  for (const Named& of : ExpressionsOf(context, text)) out.push_back(QuotedName(of.name));
  return out;
}

std::string Joined(const std::vector<std::string>& parts, const char* separator = ", ") {
  return fmt::format("{}", fmt::join(parts, separator));
}
/// "a, b, " and so on: nothing where there are none.
std::string Before(const std::vector<std::string>& parts) {
  return parts.empty() ? "" : Joined(parts) + ", ";
}
std::string PartitionBy(const std::vector<std::string>& parts) {
  return parts.empty() ? "" : "PARTITION BY " + Joined(parts) + " ";
}

/// lamina_coalesce(table, columns): adjacent and overlapping periods of rows with equal values in
/// these columns as one.
duckdb::unique_ptr<duckdb::TableRef> Coalesce(duckdb::ClientContext& context,
                                              duckdb::TableFunctionBindInput& input) {
  const Axis axis = AxisOf(input);
  const auto columns = ColumnsOf(context, Text(input.inputs[1], "the list of columns"));
  return QueryAsTable(
      context,
      fmt::format(
          "WITH r AS (SELECT {cols}{from} AS _lamina_f, {to} AS _lamina_t FROM {table} {at}), "
          "o AS (SELECT *, CASE WHEN _lamina_f <= max(_lamina_t) OVER ({part}ORDER BY _lamina_f, "
          "_lamina_t ROWS BETWEEN "
          "UNBOUNDED PRECEDING AND 1 PRECEDING) THEN 0 ELSE 1 END AS _lamina_new FROM r), "
          "s AS (SELECT *, sum(_lamina_new) OVER ({part}ORDER BY _lamina_f, _lamina_t ROWS "
          "UNBOUNDED PRECEDING) AS "
          "_lamina_island FROM o) "
          "SELECT {cols}min(_lamina_f) AS \"from\", max(_lamina_t) AS \"to\" FROM s GROUP BY "
          "{cols}_lamina_island ORDER "
          "BY {cols}\"from\"",
          fmt::arg("cols", Before(columns)), fmt::arg("from", axis.from), fmt::arg("to", axis.to),
          fmt::arg("table", TableName(input.inputs[0])), fmt::arg("at", axis.at),
          fmt::arg("part", PartitionBy(columns))),
      "lamina_coalesce");
}

/// lamina_over_time(table, aggregates): their values over time, each for the longest time that it
/// did not change.
duckdb::unique_ptr<duckdb::TableRef> OverTime(duckdb::ClientContext& context,
                                              duckdb::TableFunctionBindInput& input) {
  const Axis axis = AxisOf(input);
  const auto aggregates = ExpressionsOf(context, Text(input.inputs[1], "the list of aggregates"));
  if (aggregates.empty())
    Throw(MakeSqlError("T4010", "the list of aggregates is empty", "such as 'count(*), sum(pay)'"));
  std::vector<std::string> by;
  if (const auto it = input.named_parameters.find("by");
      it != input.named_parameters.end() && !it->second.IsNull())
    by = ColumnsOf(context, it->second.ToString());
  std::vector<std::string> made, groups, same, values, shown, back;
  for (size_t i = 0; i < by.size(); ++i) {
    groups.push_back(fmt::format("_lamina_by{}", i));
    made.push_back(fmt::format("{} AS _lamina_by{}", by[i], i));
    same.push_back(fmt::format("i._lamina_by{0} IS NOT DISTINCT FROM r._lamina_by{0} AND ", i));
    back.push_back(fmt::format("_lamina_by{} AS {}", i, by[i]));
  }
  std::vector<std::string> value_names;
  for (size_t i = 0; i < aggregates.size(); ++i) {
    values.push_back(fmt::format("{} AS _lamina_v{}", aggregates[i].expression, i));
    value_names.push_back(fmt::format("_lamina_v{}", i));
    shown.push_back(fmt::format("any_value(_lamina_v{}) AS {}", i, QuotedName(aggregates[i].name)));
  }
  std::vector<std::string> of_interval;
  for (const std::string& group : groups) of_interval.push_back("i." + group);
  return QueryAsTable(
      context,
      fmt::format(
          "WITH r AS (SELECT *, {made}{from} AS _lamina_f, {to} AS _lamina_t FROM {table} {at}), "
          "b AS (SELECT {groups}_lamina_f AS _lamina_at FROM r UNION SELECT {groups}_lamina_t FROM "
          "r), "
          "i AS (SELECT {groups}_lamina_at AS _lamina_begin, lead(_lamina_at) OVER ({part}ORDER BY "
          "_lamina_at) AS _lamina_end FROM "
          "b), "
          "v AS (SELECT {of_interval}i._lamina_begin, i._lamina_end, {values} FROM i JOIN r ON "
          "{same}r._lamina_f < "
          "i._lamina_end "
          "AND r._lamina_t > i._lamina_begin WHERE i._lamina_end IS NOT NULL GROUP BY "
          "{of_interval}i._lamina_begin, i._lamina_end), "
          "g AS (SELECT *, CASE WHEN lag(_lamina_end) OVER w IS NOT DISTINCT FROM _lamina_begin "
          "AND "
          "lag(row({names})) OVER w IS NOT DISTINCT FROM row({names}) THEN 0 ELSE 1 END AS "
          "_lamina_new "
          "FROM v WINDOW w AS ({part}ORDER BY _lamina_begin)), "
          "s AS (SELECT *, sum(_lamina_new) OVER ({part}ORDER BY _lamina_begin ROWS UNBOUNDED "
          "PRECEDING) AS "
          "_lamina_island FROM g) "
          "SELECT {back}min(_lamina_begin) AS \"from\", max(_lamina_end) AS \"to\", {shown} FROM s "
          "GROUP BY "
          "{groups}_lamina_island ORDER BY {groups}min(_lamina_begin)",
          fmt::arg("made", Before(made)), fmt::arg("from", axis.from), fmt::arg("to", axis.to),
          fmt::arg("table", TableName(input.inputs[0])), fmt::arg("at", axis.at),
          fmt::arg("groups", Before(groups)), fmt::arg("part", PartitionBy(groups)),
          fmt::arg("of_interval", Before(of_interval)), fmt::arg("values", Joined(values)),
          fmt::arg("same", Joined(same, "")), fmt::arg("names", Joined(value_names)),
          fmt::arg("back", Before(back)), fmt::arg("shown", Joined(shown))),
      "lamina_over_time");
}

/// lamina_temporal_join(left, right, columns): rows with equal values in these columns, for the
/// time that both are valid.
duckdb::unique_ptr<duckdb::TableRef> TemporalJoin(duckdb::ClientContext& context,
                                                  duckdb::TableFunctionBindInput& input) {
  const Axis axis = AxisOf(input);
  const auto columns = ColumnsOf(context, Text(input.inputs[2], "the list of columns"));
  std::vector<std::string> on, first;
  for (const std::string& column : columns) {
    on.push_back(fmt::format("l.{0} = r.{0} AND ", column));
    first.push_back("l." + column);
  }
  const std::string others = columns.empty() ? "*" : "* EXCLUDE (" + Joined(columns) + ")";
  return QueryAsTable(
      context,
      fmt::format(
          "SELECT {first}greatest(l.{from}, r.{from}) AS \"from\", least(l.{to}, r.{to}) AS "
          "\"to\", l.{others}, r.{others} FROM {left} l {at} JOIN {right} r {at} ON "
          "{on}l.{from} < r.{to} AND r.{from} < l.{to}",
          fmt::arg("first", Before(first)), fmt::arg("from", axis.from), fmt::arg("to", axis.to),
          fmt::arg("others", others), fmt::arg("left", TableName(input.inputs[0])),
          fmt::arg("right", TableName(input.inputs[1])), fmt::arg("at", axis.at),
          fmt::arg("on", Joined(on, ""))),
      "lamina_temporal_join");
}

}  // namespace

void RegisterPeriods(duckdb::ExtensionLoader& loader) {
  const auto add = [&](const char* name, size_t arguments, bool by,
                       duckdb::table_function_bind_replace_t replace) {
    auto function =
        QueryFunction(name, duckdb::vector<LogicalType>(arguments, LogicalType::VARCHAR), replace);
    function.named_parameters["axis"] = LogicalType::VARCHAR;
    if (by) function.named_parameters["by"] = LogicalType::VARCHAR;
    loader.RegisterFunction(function);
  };
  add("lamina_coalesce", 2, false, Coalesce);
  add("lamina_over_time", 2, true, OverTime);
  add("lamina_temporal_join", 3, false, TemporalJoin);
}

}  // namespace lamina::sql
