#include "cli/shell/shell.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <unistd.h>
#include <utility>

#include "cli/commands.h"
#include "cli/terminal.h"
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace lamina::cli {
namespace {

constexpr int64_t kProgressAfterNanos = 2'000'000'000;

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

bool IsCommand(std::string_view text) {
  const std::string_view trimmed = Trim(text);
  return trimmed.starts_with('.') || trimmed.starts_with('\\');
}

bool IsPath(const std::string& path) { return !path.empty() && path != ":memory:"; }

}  // namespace

Shell::Shell(Output* output, std::function<void(std::string_view)> error,
             const ShellOptions& options)
    : output_(output), error_(std::move(error)), json_errors_(options.json_errors) {
  render_.mode = options.mode.value_or(OutputMode::kBox);
  bail_ = !options.keep_going;
  database_options_.read_only = options.read_only;
  if (options.read_only) database_options_.create_if_missing = false;
}

Shell::~Shell() = default;

Status Shell::Open(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const bool same = IsPath(path) && IsPath(path_) && fs::equivalent(path, path_, ignored);
  if (same) {
    // A database has one owner, and that is us.
    connection_ = nullptr;
    database_ = nullptr;
  }
  const auto open = [&](const std::string& where) -> Status {
    DatabaseOptions options = IsPath(where) ? database_options_ : DatabaseOptions{};
    // .cd may go elsewhere.
    std::error_code error;
    const fs::path whole = IsPath(where) ? fs::absolute(where, error) : fs::path();
    ARROW_ASSIGN_OR_RAISE(
        auto database,
        SqlDatabase::Open(error || whole.empty() ? where : whole.string(), std::move(options)));
    ARROW_ASSIGN_OR_RAISE(auto connection, database->Connect());
    connection_ = std::move(connection);
    database_ = std::move(database);
    path_ = where;
    return Status::OK();
  };
  const Status status = open(path);
  if (!status.ok() && connection_ == nullptr) ARROW_RETURN_NOT_OK(open(""));
  return status;
}

bool Shell::IsWhole(std::string_view text) const {
  return IsCommand(text) || !connection_->IsIncomplete(text);
}

std::string Shell::Prompt() const {
  switch (connection_->transaction_state()) {
    case SqlTransactionState::kIdle:
      return "lamina> ";
    case SqlTransactionState::kOpen:
      return "lamina*> ";
    case SqlTransactionState::kAborted:
      return "lamina!> ";
  }
  return "";
}

void Shell::Interrupt() {
  interrupted_ = true;
  if (Connection* running = running_.load(); running != nullptr) running->Cancel();
}

bool Shell::Run(std::string_view text, const std::string& place) {
  const std::string_view trimmed = Trim(text);
  if (trimmed.empty()) return true;
  if (echo_) (void)Say(std::string(trimmed) + "\n");
  Status status = IsCommand(trimmed) ? RunCommand(trimmed) : RunSql(text);
  const Status ended = output_->EndAnswer();
  if (status.ok()) status = ended;
  if (!status.ok()) Report(status, place);
  return status.ok() && !std::exchange(stopped_, false);
}

bool Shell::RunLines(const std::function<std::optional<std::string>()>& next,
                     const std::string& name) {
  std::string text;
  int line_number = 0;
  int begin = 0;
  bool all_good = true;
  // False: it ends here.
  const auto run = [&] {
    const bool good = Run(text, name.empty() ? std::string() : fmt::format("{}:{}: ", name, begin));
    text.clear();
    all_good = all_good && good;
    return (good || !bail_) && !interrupted_;
  };
  while (!finished_) {
    const std::optional<std::string> line = next();
    if (!line.has_value()) break;
    ++line_number;
    if (text.empty()) {
      const std::string_view trimmed = Trim(*line);
      if (trimmed.empty() || trimmed.starts_with("--")) continue;
      begin = line_number;
    } else {
      text += '\n';
    }
    text += *line;
    // Looked at as a whole only when a statement may have ended: a long one would be read again
    // with each of its lines.
    const bool may_end = IsCommand(text) || line->find(';') != std::string::npos;
    if (may_end && IsWhole(text) && !run()) return false;
  }
  // The last statement may lack its semicolon.
  if (!finished_ && !Trim(text).empty()) (void)run();
  return all_good;
}

bool Shell::RunFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || std::filesystem::is_directory(path)) {
    Report(MakeError(ErrorCode::kNotFound, "cannot read the file: " + path), "");
    return false;
  }
  return RunLines(
      [&]() -> std::optional<std::string> {
        std::string line;
        if (!std::getline(in, line)) return std::nullopt;
        return line;
      },
      path);
}

Status Shell::RunSql(std::string_view sql) {
  last_sql_ = sql;
  int64_t begin = MonotonicNanos();
  Progress progress("running");
  bool reader_gone = false;
  connection_->SetProgressCallback([&](const SqlProgress& done) {
    if (MonotonicNanos() - begin > kProgressAfterNanos) {
      const bool known = done.fraction >= 0;
      progress.Update(known ? static_cast<uint64_t>(done.fraction * 1000) : 0, known ? 1000 : 0,
                      done.rows > 0 ? CountText(done.rows) + " rows" : "");
    }
    return !interrupted_.load();
  });
  running_ = connection_.get();
  const Status status = connection_->ExecuteAll(sql, [&](SqlResult& result) -> Status {
    progress.Finish();
    Status shown = Show(result);
    if (!shown.ok() && CodeOf(shown) == ErrorCode::kCancelled && SqlErrorOf(shown) == nullptr)
      reader_gone = true;
    const int64_t now = MonotonicNanos();
    if (shown.ok()) shown = output_->EndAnswer();
    if (shown.ok() && timer_)
      shown = Say(fmt::format("time: {}\n", DurationText(static_cast<double>(now - begin) * 1e-9)));
    begin = now;
    return shown;
  });
  running_ = nullptr;
  progress.Finish();
  connection_->SetProgressCallback(nullptr);
  // Leaving the pager is no error.
  return reader_gone ? Status::OK() : status;
}

Status Shell::ShowPlan(SqlResult& result) {
  for (;;) {
    ARROW_ASSIGN_OR_RAISE(const bool more, result.NextRow());
    if (!more) return Status::OK();
    std::string plan(result.Text(1));
    if (!plan.ends_with('\n')) plan += '\n';
    if (!output_->Write(plan)) return Status::OK();  // EndAnswer tells
  }
}

Status Shell::Show(SqlResult& result) {
  if (!result.columns().empty()) {
    // A plan is a drawing of several lines, which no cell can hold.
    const OutputMode mode = Rendering().mode;
    if ((mode == OutputMode::kBox || mode == OutputMode::kAscii) && result.columns().size() == 2 &&
        result.columns()[0].name == "explain_key" && result.columns()[1].name == "explain_value") {
      return ShowPlan(result);
    }
    return Render(result, Rendering(), [&](std::string_view text) { return output_->Write(text); })
        .status();
  }
  if (!talkative_ || result.tag().empty()) return Status::OK();
  std::string text = result.tag();
  if (result.changed_rows().has_value())
    text += " " + Plural(static_cast<uint64_t>(*result.changed_rows()), "row");
  if (result.commit().has_value())
    text += fmt::format(", commit {}", result.commit()->commit.value);
  return Say(Rendering().color ? Styled(text, Style::kDim) + "\n" : text + "\n");
}

RenderOptions Shell::Rendering() const {
  RenderOptions out = render_;
  if (output_->is_terminal()) {
    out.color = HasColor(/*on_stderr=*/false);
    out.columns_max = TerminalColumns(STDOUT_FILENO);
    out.rows_max = rows_max_;
    out.terminal = true;
  }
  return out;
}

Status Shell::Say(const std::string& text) {
  (void)output_->Write(text);
  return Status::OK();  // what could not be written, EndAnswer tells
}

Status Shell::ShowQuery(const std::string& sql, const SqlParameters& parameters) {
  running_ = connection_.get();
  const Status status = [&]() -> Status {
    ARROW_ASSIGN_OR_RAISE(const auto result, connection_->Execute(sql, parameters));
    return Show(*result);
  }();
  running_ = nullptr;
  return status;
}

Result<std::vector<std::vector<std::string>>> Shell::Ask(const std::string& sql,
                                                         const SqlParameters& parameters) {
  ARROW_ASSIGN_OR_RAISE(const auto result, connection_->Execute(sql, parameters));
  std::vector<std::vector<std::string>> out;
  for (;;) {
    ARROW_ASSIGN_OR_RAISE(const bool more, result->NextRow());
    if (!more) return out;
    auto& row = out.emplace_back();
    for (int i = 0; i < static_cast<int>(result->columns().size()); ++i)
      row.emplace_back(result->Text(i));
  }
}

void Shell::Report(const Status& status, const std::string& place) {
  failed_ = true;
  const SqlError* sql = SqlErrorOf(status);
  const std::string code = sql != nullptr ? sql->code : std::string(ErrorCodeName(CodeOf(status)));
  std::string text;
  if (json_errors_) {
    nlohmann::ordered_json error = {
        {"error", code}, {"message", MessageOf(status)}, {"hint", HintOf(status)}};
    if (sql != nullptr) {
      error["sqlstate"] = sql->sqlstate;
      if (sql->position.has_value()) error["position"] = *sql->position;
    }
    if (!place.empty()) error["place"] = place.substr(0, place.size() - 2);
    text = JsonLine(error) + "\n";
  } else {
    text =
        place +
        Styled(sql != nullptr ? fmt::format("error {}:", code) : fmt::format("error ({}):", code),
               Style::kRed, /*on_stderr=*/true) +
        " " + MessageOf(status) + "\n";
    if (sql != nullptr && !sql->excerpt.empty()) {
      text += sql->excerpt;
      if (!text.ends_with('\n')) text += '\n';
    }
    if (!HintOf(status).empty()) {
      text +=
          fmt::format("{} {}\n", Styled("hint:", Style::kBold, /*on_stderr=*/true), HintOf(status));
    }
  }
  error_(text);
}

}  // namespace lamina::cli
