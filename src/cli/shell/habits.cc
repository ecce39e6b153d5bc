// Commands that people of psql, sqlite3 and duckdb reach for beyond tables and output: other kinds
// of objects, the last statements again, an editor, the system's shell.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include "cli/commands.h"
#include "cli/shell/shell.h"
#include "cli/terminal.h"
#include <fmt/format.h>

namespace lamina::cli {
namespace {

constexpr double kWatchSeconds = 2;
constexpr double kWatchSecondsMax = 1e6;
constexpr auto kWatchTick = std::chrono::milliseconds(20);

Status Usage(const std::string& usage) {
  return MakeError(ErrorCode::kInvalidArgument, "usage: " + usage, ".help lists the commands");
}

Status NothingYet() {
  return MakeError(ErrorCode::kInvalidArgument, "no statement was run yet",
                   "type one first, with a semicolon");
}

}  // namespace

Status Shell::Schemas(const Words& /*words*/) {
  return ShowQuery(
      "SELECT schema_name AS name, (SELECT count(*) FROM duckdb_tables() t WHERE t.schema_oid = "
      "s.oid AND t.database_oid = s.database_oid) AS tables, comment FROM duckdb_schemas() s WHERE "
      "database_name = current_database() AND (NOT internal OR schema_name = 'main') ORDER BY 1");
}

Status Shell::Sequences(const Words& /*words*/) {
  return ShowQuery(
      "SELECT schema_name AS schema, sequence_name AS name, start_value AS start, increment_by AS "
      "increment, last_value AS last, tags['owner'] AS owner FROM duckdb_sequences() WHERE "
      "database_name = current_database() ORDER BY 1, 2");
}

Status Shell::Functions(const Words& words) {
  if (words.size() > 1) return Usage(".functions [PATTERN]");
  const std::string columns =
      "SELECT DISTINCT schema_name AS schema, function_name AS name, function_type AS kind, "
      "array_to_string(list_transform(range(1, len(parameters) + 1), lambda i: concat_ws(' ', "
      "parameters[i], parameter_types[i])), ', ') AS parameters, return_type AS returns FROM "
      "duckdb_functions() WHERE ";
  if (words.empty())
    return ShowQuery(columns + "database_name = current_database() AND NOT internal ORDER BY ALL");
  return ShowQuery(columns + "function_name ILIKE $1 ORDER BY ALL", {SqlValue(words[0])});
}

Status Shell::Triggers(const Words& words) {
  if (words.size() > 1) return Usage(".triggers [TABLE]");
  return ShowQuery(
      "SELECT schema_name AS schema, table_name AS \"table\", trigger_name AS name, event, level, "
      "sql FROM lamina_triggers() WHERE table_name ILIKE $1 ORDER BY 1, 2, 3",
      {SqlValue(words.empty() ? "%" : words[0])});
}

Status Shell::Again(const Words& words) {
  bool expanded = false;
  std::string file;
  for (const std::string& word : words) {
    if (word == "--expanded") {
      expanded = true;
    } else if (file.empty()) {
      file = word;
    } else {
      return Usage(".again [--expanded] [FILE]");
    }
  }
  if (last_sql_.empty()) return NothingYet();
  if (!file.empty()) ARROW_RETURN_NOT_OK(output_->RedirectOnce(file));
  const OutputMode mode = render_.mode;
  if (expanded) render_.mode = OutputMode::kLine;
  const Status status = RunSql(std::string(last_sql_));
  render_.mode = mode;
  return status;
}

Status Shell::Watch(const Words& words) {
  double seconds = kWatchSeconds;
  int64_t times = -1;
  const auto number = [](const std::string& word, double* out) {
    char* end = nullptr;
    *out = std::strtod(word.c_str(), &end);
    return !word.empty() && *end == '\0' && *out >= 0 && *out <= kWatchSecondsMax;
  };
  double count = 0;
  if (words.size() > 2 || (!words.empty() && !number(words[0], &seconds)) ||
      (words.size() == 2 && (!number(words[1], &count) || count < 1)))
    return Usage(".watch [SECONDS [TIMES]]");
  if (words.size() == 2) times = static_cast<int64_t>(count);
  if (last_sql_.empty()) return NothingYet();
  const std::string sql = last_sql_;
  for (int64_t run = 0; times < 0 || run < times; ++run) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (run > 0 && !interrupted_ && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(kWatchTick);
    if (interrupted_) return Status::OK();
    ARROW_RETURN_NOT_OK(RunSql(sql));
    ARROW_RETURN_NOT_OK(output_->EndAnswer());
  }
  return Status::OK();
}

Status Shell::Edit(const Words& words) {
  if (!words.empty()) return Usage(".edit");
  const char* editor = std::getenv("VISUAL");
  if (editor == nullptr || *editor == '\0') editor = std::getenv("EDITOR");
  if (editor == nullptr || *editor == '\0') {
    return MakeError(ErrorCode::kInvalidArgument, "no editor is set",
                     "VISUAL or EDITOR in the environment names one");
  }
  // A folder of our own: nobody else reads what is in the file, or puts another in its place.
  std::error_code ignored;
  std::string folder = (std::filesystem::temp_directory_path(ignored) / "lamina-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) {
    return MakeError(ErrorCode::kUnavailable, "no file can be made to edit: " + folder);
  }
  const std::string path = folder + "/statement.sql";
  std::ofstream(path, std::ios::binary) << last_sql_ << "\n";
  const int code = std::system(fmt::format("{} '{}'", editor, path).c_str());
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  std::filesystem::remove_all(folder, ignored);
  if (code != 0) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("the editor failed, and nothing was run: {}", editor));
  }
  std::string sql = text.str();
  while (!sql.empty() && (sql.back() == '\n' || sql.back() == ' ')) sql.pop_back();
  if (sql.empty()) return Status::OK();
  ARROW_RETURN_NOT_OK(Say(sql + "\n"));
  return RunSql(sql);
}

Status Shell::System(const Words& words) {
  if (words.size() != 1 || words[0].find_first_not_of(" \t") == std::string::npos)
    return Usage(".shell COMMAND…");
  (void)std::fflush(stdout);
  const int status = std::system(words[0].c_str());
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (code == 0) return Status::OK();
  return MakeError(ErrorCode::kInvalidArgument,
                   fmt::format("the command failed: exit code={}", code));
}

Status Shell::ChangeFolder(const Words& words) {
  if (words.size() > 1) return Usage(".cd [FOLDER]");
  const char* home = std::getenv("HOME");
  const std::string to = !words.empty() ? words[0] : home == nullptr ? "" : home;
  std::error_code error;
  std::filesystem::current_path(to, error);
  if (!error) return Status::OK();
  return MakeError(ErrorCode::kNotFound,
                   fmt::format("cannot go to this folder: {} cause={}", to, error.message()));
}

Status Shell::Separator(const Words& words) {
  if (words.size() > 1) return Usage(".separator [TEXT]");
  render_.separator = std::nullopt;
  if (words.empty()) return Status::OK();
  std::string text;
  for (size_t i = 0; i < words[0].size(); ++i) {
    const bool tab = words[0].compare(i, 2, "\\t") == 0;
    text += tab ? '\t' : words[0][i];
    if (tab) ++i;
  }
  render_.separator = std::move(text);
  return Status::OK();
}

}  // namespace lamina::cli
