// Dot commands about history: .log, .diff, .timeline and .blame.
#include <algorithm>
#include <cctype>
#include <limits>
#include <map>
#include <utility>

#include "cli/commands.h"
#include "cli/shell/shell.h"
#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lamina::cli {
namespace {

constexpr const char* kTimes[] = {"_valid_from", "_valid_to", "_system_from", "_system_to",
                                  "_commit"};

std::string Quoted(const std::string& text) { return SqlLiteral(false, text, "VARCHAR"); }

/// A commit's number, or a time.
std::string MomentLiteral(const std::string& typed) {
  const bool number = !typed.empty() && std::all_of(typed.begin(), typed.end(), [](char c) {
    return std::isdigit(static_cast<unsigned char>(c)) != 0;
  });
  return number ? typed : Quoted(typed);
}

std::string HistoryCall(const std::vector<std::string>& words) {
  std::vector<std::string> arguments;
  for (const std::string& word : words) arguments.push_back(Quoted(word));
  return fmt::format("lamina_history({})", fmt::join(arguments, ", "));
}

/// Times as the picture takes them: what is open is at the ends of the numbers.
Result<std::shared_ptr<arrow::RecordBatch>> ToPlane(const arrow::RecordBatch& rows) {
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  for (const char* name : {"_valid_from", "_valid_to", "_system_from", "_system_to"}) {
    const auto column = rows.GetColumnByName(name);
    const auto* micros = column->data()->GetValues<int64_t>(1);
    arrow::TimestampBuilder builder(arrow::timestamp(arrow::TimeUnit::MICRO),
                                    arrow::default_memory_pool());
    for (int64_t i = 0; i < rows.num_rows(); ++i) {
      const bool open = micros[i] == -std::numeric_limits<int64_t>::max();
      ARROW_RETURN_NOT_OK(builder.Append(open ? std::numeric_limits<int64_t>::min() : micros[i]));
    }
    ARROW_ASSIGN_OR_RAISE(auto array, builder.Finish());
    fields.push_back(arrow::field(name, array->type()));
    columns.push_back(std::move(array));
  }
  return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), rows.num_rows(),
                                  std::move(columns));
}

Status Usage(const std::string& usage) {
  return MakeError(ErrorCode::kInvalidArgument, "usage: " + usage, ".help lists the commands");
}

}  // namespace

Status Shell::Log(const Words& words) {
  if (words.size() > 1) return Usage(".log [TABLE]");
  return ShowQuery(fmt::format(
      "SELECT commit, time, rows_written AS written, rows_ended AS ended, {}\"user\", message FROM "
      "lamina_commits({}) ORDER BY commit DESC",
      words.empty() ? "tables, " : "", words.empty() ? "" : Quoted(words[0])));
}

Status Shell::Diff(const Words& words) {
  if (words.size() < 2 || words.size() > 3) return Usage(".diff TABLE FROM [TO]");
  const std::string to = words.size() == 3 ? MomentLiteral(words[2]) : "current_commit()";
  return ShowQuery(fmt::format(
      "WITH c AS (SELECT row_number() OVER () AS _lamina_n, * FROM lamina_changes({}, {}, {})) "
      "SELECT * EXCLUDE (_lamina_n, _lamina_o) FROM ("
      "SELECT _lamina_n, 0 AS _lamina_o, '-' AS \" \", unnest(before) FROM c WHERE change <> "
      "'insert' UNION ALL "
      "SELECT _lamina_n, 1 AS _lamina_o, '+' AS \" \", unnest(after) FROM c WHERE change <> "
      "'delete') "
      "ORDER BY _lamina_n, _lamina_o",
      Quoted(words[0]), MomentLiteral(words[1]), to));
}

Status Shell::Timeline(const Words& words) {
  if (words.size() < 2) return Usage(".timeline TABLE KEY…");
  const std::string query = "FROM " + HistoryCall(words);
  ARROW_RETURN_NOT_OK(ShowQuery(query));
  if (render_.mode != OutputMode::kBox && render_.mode != OutputMode::kAscii) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(
      const auto result,
      connection_->Execute("SELECT _valid_from, _valid_to, _system_from, _system_to " + query));
  ARROW_ASSIGN_OR_RAISE(const auto rows, result->NextBatch());
  if (rows == nullptr) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(const auto times, ToPlane(*rows));
  return Say(PlaneText(*times));
}

Status Shell::Blame(const Words& words) {
  if (words.size() < 2) return Usage(".blame TABLE KEY…");
  // What is valid now, in the order in which it was learned.
  ARROW_ASSIGN_OR_RAISE(
      const auto result,
      connection_->Execute("FROM " + HistoryCall(words) +
                           " WHERE VALID_TIME CONTAINS now() ORDER BY _system_from"));
  std::vector<std::string> names;
  for (const auto& column : result->columns()) names.push_back(column.name);
  struct Value {
    std::string text, commit;
    bool null = false;
  };
  std::map<std::string, Value> values;
  std::string end;  // of the version before
  bool any = false;
  for (;;) {
    ARROW_ASSIGN_OR_RAISE(const bool more, result->NextRow());
    if (!more) break;
    const auto at = [&](const char* name) {
      return static_cast<int>(std::find(names.begin(), names.end(), name) - names.begin());
    };
    const std::string commit(result->Text(at("_commit")));
    const bool follows = any && std::string(result->Text(at("_system_from"))) == end;
    end = result->Text(at("_system_to"));
    for (size_t i = 0; i < names.size(); ++i) {
      const int column = static_cast<int>(i);
      Value now{std::string(result->Text(column)), commit, result->IsNull(column)};
      Value& last = values[names[i]];
      if (!follows || last.text != now.text || last.null != now.null) last = std::move(now);
    }
    any = true;
  }
  if (!any || end != "infinity") {
    return MakeError(ErrorCode::kNotFound,
                     fmt::format("no row now: table={} key={}", words[0],
                                 fmt::join(words.begin() + 1, words.end(), ", ")),
                     ".timeline shows what there was");
  }
  std::vector<std::string> rows;
  for (const std::string& name : names) {
    if (std::find(std::begin(kTimes), std::end(kTimes), name) != std::end(kTimes)) continue;
    const Value& value = values.at(name);
    rows.push_back(fmt::format("({}, {}, {}, {})", rows.size(), Quoted(name),
                               value.null ? "NULL" : Quoted(value.text), value.commit));
  }
  return ShowQuery(fmt::format(
      "SELECT v.\"column\", v.value, v.commit, time_of(v.commit) AS time, n.\"user\", n.message "
      "FROM "
      "(VALUES {}) v(place, \"column\", value, commit) LEFT JOIN lamina_commit_notes() n USING "
      "(commit) ORDER BY v.place",
      fmt::join(rows, ", ")));
}

}  // namespace lamina::cli
