// One file:
//
// 1. A fresh database; connections are made when a record first names them.
// 2. Each record's text gets the variables of the loops around it, then it runs.
// 3. After it, what the options ask for "every N statements": a flush, a compaction, a restart.
// None
//    of them may change an answer; that is what they are for.
#include "slt/runner.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "slt/answer.h"
#include "slt/beside_duckdb.h"
#include "slt/md5.h"

namespace lamina::slt {
namespace {

constexpr std::string_view kRegexMark = "<REGEX>:";
constexpr std::string_view kNotRegexMark = "<!REGEX>:";
// std::regex recurses with the text's length.
constexpr size_t kRegexTextMax = 20'000;
constexpr size_t kShownLinesMax = 40;

bool IsFloat(const std::string& type) { return type == "DOUBLE" || type == "FLOAT"; }

bool CloseNumbers(const std::string& a, const std::string& b) {
  double x = 0;
  double y = 0;
  const auto parse = [](const std::string& text, double* out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
    return error == std::errc() && end == text.data() + text.size();
  };
  if (!parse(a, &x) || !parse(b, &y)) return false;
  return std::fabs(x - y) <= 1e-9 * std::max(std::fabs(x), std::fabs(y));
}

/// Whether the text has, for regexes after their mark, what is expected of it.
Result<bool> MatchesRegex(const std::string& pattern, const std::string& text, bool whole) {
  if (text.size() > kRegexTextMax)
    return MakeError(ErrorCode::kInvalidArgument, "the text is too long for a regular expression");
  try {
    const std::regex regex(pattern);
    return whole ? std::regex_match(text, regex) : std::regex_search(text, regex);
  } catch (const std::regex_error& e) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("regular expression {}: {}", pattern, e.what()));
  }
}

std::string OneLine(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\0') {
      out += "\\0";
    } else {
      out += c;
    }
  }
  return out;
}

std::string Indented(const std::vector<std::string>& lines) {
  std::string out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i == kShownLinesMax) {
      out += fmt::format("  … {} lines more\n", lines.size() - i);
      break;
    }
    out += "  " + lines[i] + "\n";
  }
  return out;
}

std::vector<std::string> Split(std::string_view text, char at) {
  std::vector<std::string> out;
  for (;;) {
    const size_t end = text.find(at);
    out.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
  }
}

/// Everything of an error that a record may name.
std::string ErrorText(const Status& status) {
  const SqlError* sql = SqlErrorOf(status);
  std::string out = sql == nullptr ? std::string(ErrorCodeName(CodeOf(status)))
                                   : fmt::format("{} ({})", sql->code, sql->sqlstate);
  out += ": " + MessageOf(status);
  if (!HintOf(status).empty()) out += fmt::format("\nhint: {}", HintOf(status));
  return out;
}

Record Substituted(Record record, const std::map<std::string, std::string>& variables) {
  for (const auto& [name, value] : variables) {
    record.sql = Substitute(record.sql, name, value);
    record.error = Substitute(record.error, name, value);
    record.connection = Substitute(record.connection, name, value);
    for (auto* list : {&record.expected, &record.values}) {
      for (std::string& text : *list) text = Substitute(text, name, value);
    }
  }
  return record;
}

class Run {
 public:
  Run(std::string name, const RunOptions& options,
      const std::function<void(const std::string&)>& report)
      : name_(std::move(name)), options_(options), report_(report) {}

  FileOutcome Go(std::string_view text) {
    const Result<Script> script = ParseScript(text);
    if (!script.ok()) {
      Fail(fmt::format("{}: {}", name_, MessageOf(script.status())));
      return outcome_;
    }
    if (!script->pending.empty()) {
      outcome_.pending = true;
      outcome_.skipped = script->pending;
      return outcome_;
    }
    may_restart_ = !script->no_restart;
    if (Status status = Open(); !status.ok()) {
      Fail(fmt::format("{}: cannot open the database: {}", name_, ErrorText(status)));
      return outcome_;
    }
    if (options_.beside_duckdb) {
      if (Status status = BesideDuckDB::Open().Value(&beside_); !status.ok()) {
        Fail(fmt::format("{}: cannot open DuckDB: {}", name_, MessageOf(status)));
        return outcome_;
      }
      std::filesystem::create_directories(BesideScratch());
    }
    variables_["TEST_DIR"] = options_.scratch;
    (void)Block(script->records);
    connections_.clear();
    return outcome_;
  }

 private:
  void Fail(const std::string& text) {
    ++outcome_.failed;
    report_(text);
  }
  void FailAt(const Record& record, const std::string& what, const std::string& more = "") {
    std::string round;
    for (const auto& [name, value] : loop_variables_) round += fmt::format(" {}={}", name, value);
    Fail(fmt::format("{}:{}: {}{}\n{}{}", name_, record.line, what,
                     round.empty() ? "" : " (in the loop with" + round + ")",
                     record.sql.empty() ? "" : Indented(Split(record.sql, '\n')), more));
  }

  Status Open() {
    if (options_.database.empty()) {
      // A restart in memory is one of the SQL layer: what it knows must be in the database.
      if (memory_ == nullptr) {
        ARROW_ASSIGN_OR_RAISE(auto database, Database::OpenInMemory());
        memory_ = std::move(database);
      }
      return SqlDatabase::Over(memory_).Value(&sql_);
    }
    return SqlDatabase::Open(options_.database).Value(&sql_);
  }

  void Disconnect() {
    connections_.clear();
    if (beside_ != nullptr) beside_->Disconnect();
  }

  Status Restart() {
    Disconnect();
    sql_ = nullptr;
    ++outcome_.restarts;
    return Open();
  }

  Result<Connection*> Connect(const std::string& name) {
    auto& connection = connections_[name];
    if (connection == nullptr) {
      ARROW_ASSIGN_OR_RAISE(connection, sql_->Connect());
    }
    return connection.get();
  }

  bool InTransaction() const {
    return std::any_of(connections_.begin(), connections_.end(), [](const auto& entry) {
      return entry.second != nullptr &&
             entry.second->transaction_state() != SqlTransactionState::kIdle;
    });
  }

  bool Applies(const Record& record) const {
    const std::string place = options_.database.empty() ? "memory" : "disk";
    return AppliesTo(record, {"lamina", "duckdb", place});
  }
  bool AppliesBeside(const Record& record) const {
    return beside_ != nullptr && AppliesTo(record, {"duckdb", "memory"});
  }
  static bool AppliesTo(const Record& record, const std::set<std::string>& names) {
    const auto are_we = [&](const std::string& engine) { return names.contains(engine); };
    if (std::any_of(record.skip_if.begin(), record.skip_if.end(), are_we)) return false;
    return record.only_if.empty() ||
           std::any_of(record.only_if.begin(), record.only_if.end(), are_we);
  }

  /// False: nothing more is to be run.
  bool Block(const std::vector<Record>& records) {
    for (const Record& plain : records) {
      const int64_t failed = outcome_.failed;
      const Record record = Substituted(plain, variables_);
      if (!Applies(record)) {
        if (AppliesBeside(record)) OnlyBeside(record);
        continue;
      }
      if (!One(record)) return false;
      if (outcome_.failed > failed && !options_.keep_going) return false;
    }
    return true;
  }

  bool One(const Record& record) {
    switch (record.kind) {
      case RecordKind::kStatement:
        ++outcome_.records;
        Statement(record);
        return After(record);
      case RecordKind::kQuery:
        ++outcome_.records;
        Query(record);
        return After(record);
      case RecordKind::kRestart:
        if (InTransaction()) {
          FailAt(record, "restart inside a transaction");
          return true;
        }
        return Done(record, "restart", Restart());
      case RecordKind::kReconnect:
        Disconnect();
        return true;
      case RecordKind::kHalt:
        return false;
      case RecordKind::kRequire:
        return Require(record);
      case RecordKind::kRequireEnv:
        return RequireEnv(record);
      case RecordKind::kHashThreshold:
        hash_threshold_ = std::strtoll(record.words[0].c_str(), nullptr, 10);
        return true;
      case RecordKind::kLoop:
        return Loop(record);
    }
    return true;
  }

  bool Done(const Record& record, const char* what, const Status& status) {
    if (status.ok()) return true;
    FailAt(record, fmt::format("{} failed: {}", what, ErrorText(status)));
    return sql_ != nullptr;
  }

  /// What the options want after a statement.
  bool After(const Record& record) {
    ++statements_;
    const auto due = [&](int64_t every) { return every > 0 && statements_ % every == 0; };
    if (due(options_.flush_every) && !Done(record, "flush", sql_->database().Flush())) return false;
    if (due(options_.compact_every) && !Done(record, "compaction", sql_->database().Compact()))
      return false;
    restart_due_ = restart_due_ || (may_restart_ && due(options_.restart_every));
    if (!restart_due_ || InTransaction()) return true;
    restart_due_ = false;
    return Done(record, "restart", Restart());
  }

  /// Our answer, after it was compared with DuckDB's where that is asked for.
  Answer Ask(const Record& record) {
    Answer out;
    out.status = [&]() -> Status {
      ARROW_ASSIGN_OR_RAISE(Connection * connection, Connect(record.connection));
      ARROW_ASSIGN_OR_RAISE(const auto result, connection->Execute(record.sql));
      out.changed = result->changed_rows();
      out.columns = result->columns();
      for (;;) {
        ARROW_ASSIGN_OR_RAISE(const bool more, result->NextRow());
        if (!more) return Status::OK();
        auto& row = out.rows.emplace_back();
        for (int i = 0; i < static_cast<int>(out.columns.size()); ++i)
          row.push_back(ValueText(result->IsNull(i), result->Text(i)));
      }
    }();
    if (AppliesBeside(record)) {
      const Answer theirs = AskBeside(record);
      // Rows that are sorted before they are compared have no order of their own.
      const bool ordered = record.sort == SortMode::kNone && OrdersRows(record.sql);
      if (const std::string other = Difference(out, theirs, ordered); !other.empty())
        FailAt(record, "DuckDB answers otherwise", other);
    }
    return out;
  }

  /// Files that it writes are its own, so that each reads what it wrote.
  std::string BesideScratch() const { return options_.scratch + "/duckdb"; }
  Answer AskBeside(const Record& record) {
    std::string sql = record.sql;
    if (!options_.scratch.empty()) {
      for (size_t at = 0; (at = sql.find(options_.scratch, at)) != std::string::npos;
           at += BesideScratch().size())
        sql.replace(at, options_.scratch.size(), BesideScratch());
    }
    return beside_->Run(record.connection, sql);
  }
  void OnlyBeside(const Record& record) {
    if (record.kind != RecordKind::kStatement && record.kind != RecordKind::kQuery) return;
    const Answer theirs = AskBeside(record);
    if (record.expectation == Expectation::kMaybe ||
        theirs.status.ok() == (record.expectation == Expectation::kOk))
      return;
    FailAt(record,
           theirs.status.ok() ? "the statement should have failed on DuckDB"
                              : "the statement failed on DuckDB",
           theirs.status.ok() ? "" : Actual(theirs.status));
  }

  void Statement(const Record& record) {
    const Answer answer = Ask(record);
    const Status& status = answer.status;
    const std::optional<int64_t>& changed = answer.changed;
    if (record.expectation == Expectation::kOk && !status.ok()) {
      FailAt(record, "the statement failed", Actual(status));
    } else if (record.expectation == Expectation::kError && status.ok()) {
      FailAt(record, "the statement should have failed", Expected(record));
    } else if (record.count && changed != record.count) {
      FailAt(record,
             fmt::format("the statement changed {} rows instead of {}",
                         changed ? std::to_string(*changed) : std::string("no"), *record.count));
    } else if (!status.ok()) {
      CheckError(record, status);
    }
  }

  void CheckError(const Record& record, const Status& status) {
    const SqlError* sql = SqlErrorOf(status);
    const bool right_code =
        record.code.empty() ||
        (sql != nullptr && (sql->code == record.code || sql->sqlstate == record.code));
    if (!right_code) {
      FailAt(record, "the error has another code", Expected(record) + Actual(status));
      return;
    }
    if (record.error.empty()) return;
    const std::string text = ErrorText(status);
    Result<bool> matches = text.find(record.error) != std::string::npos;
    if (record.error.starts_with(kRegexMark)) {
      matches = MatchesRegex(record.error.substr(kRegexMark.size()), OneLine(text), false);
    }
    if (!matches.ok()) {
      FailAt(record, MessageOf(matches.status()), Actual(status));
    } else if (!*matches) {
      FailAt(record, "the error has another text", Expected(record) + Actual(status));
    }
  }

  static std::string Actual(const Status& status) {
    return "actual:\n" + Indented(Split(ErrorText(status), '\n'));
  }
  static std::string Expected(const Record& record) {
    std::vector<std::string> lines;
    if (!record.code.empty()) lines.push_back(record.code);
    if (!record.error.empty()) lines.push_back(record.error);
    return lines.empty() ? "" : "expected:\n" + Indented(lines);
  }

  void Query(const Record& record) {
    Answer answer = Ask(record);
    std::vector<std::string> types;
    for (const SqlColumn& column : answer.columns) types.push_back(column.type);
    const Status& status = answer.status;
    if (!status.ok()) {
      FailAt(record, "the query failed", Actual(status));
      return;
    }
    if (types.size() != record.types.size()) {
      FailAt(record, fmt::format("the query gives {} columns instead of {}: {}", types.size(),
                                 record.types.size(), fmt::join(types, ", ")));
      return;
    }
    Compare(record, std::move(answer.rows), types);
  }

  void Compare(const Record& record, Rows rows, const std::vector<std::string>& types) {
    if (record.sort == SortMode::kRows) std::sort(rows.begin(), rows.end());
    std::vector<std::string> values;
    for (const auto& row : rows) values.insert(values.end(), row.begin(), row.end());
    if (record.sort == SortMode::kValues) std::sort(values.begin(), values.end());

    std::string joined;
    for (const std::string& value : values) joined += value + "\n";
    const std::string hash = fmt::format("{} values hashing to {}", values.size(), Md5(joined));
    if (!record.label.empty()) {
      const auto [it, is_new] = labels_.emplace(record.label, hash);
      if (!is_new && it->second != hash) {
        FailAt(record, fmt::format("other rows than before under the label {}", record.label));
        return;
      }
    }

    if (!record.has_expected) return;

    std::vector<std::string> shown;
    if (hash_threshold_ > 0 && static_cast<int64_t>(values.size()) > hash_threshold_) {
      shown = {hash};
    } else if (record.sort == SortMode::kValues) {
      shown = values;
    } else {
      for (const auto& row : rows) shown.push_back(fmt::format("{}", fmt::join(row, "\t")));
    }
    const auto fail = [&](const std::string& what) {
      FailAt(record, what,
             "expected:\n" + Indented(record.expected) + "actual:\n" + Indented(shown));
    };

    if (record.expected.size() == 1 &&
        record.expected[0].find(" values hashing to ") != std::string::npos) {
      if (record.expected[0] != hash) {
        shown.push_back(hash);
        fail("the rows have another hash");
      }
      return;
    }
    std::vector<std::string> expected = ExpectedValues(record, types.size());
    if (record.sort == SortMode::kValues) std::sort(expected.begin(), expected.end());
    if (record.sort == SortMode::kRows) SortRows(&expected, types.size());
    if (expected.size() != values.size()) {
      fail(fmt::format("{} values instead of {}", values.size(), expected.size()));
      return;
    }
    for (size_t i = 0; i < values.size(); ++i) {
      // Sorted values have lost their columns.
      const std::string type = record.sort == SortMode::kValues ? "" : types[i % types.size()];
      const auto same = Same(expected[i], values[i], type);
      if (!same.ok()) {
        fail(MessageOf(same.status()));
        return;
      }
      if (!*same) {
        fail(fmt::format("row {} is another", i / types.size() + 1));
        return;
      }
    }
  }

  /// Lines are rows with tabs when each has a tab too few for its columns, else values.
  static std::vector<std::string> ExpectedValues(const Record& record, size_t columns) {
    const auto is_row = [&](const std::string& line) {
      return static_cast<size_t>(std::count(line.begin(), line.end(), '\t')) + 1 == columns;
    };
    if (columns < 2 || !std::all_of(record.expected.begin(), record.expected.end(), is_row))
      return record.expected;
    std::vector<std::string> out;
    for (const std::string& line : record.expected) {
      for (std::string& value : Split(line, '\t')) out.push_back(std::move(value));
    }
    return out;
  }

  static void SortRows(std::vector<std::string>* values, size_t columns) {
    if (columns == 0 || values->size() % columns != 0) return;
    Rows rows;
    for (size_t i = 0; i < values->size(); i += columns) {
      const auto begin = values->begin() + static_cast<ptrdiff_t>(i);
      rows.emplace_back(begin, begin + static_cast<ptrdiff_t>(columns));
    }
    std::sort(rows.begin(), rows.end());
    values->clear();
    for (const auto& row : rows) values->insert(values->end(), row.begin(), row.end());
  }

  static Result<bool> Same(const std::string& expected, const std::string& actual,
                           const std::string& type) {
    if (expected == actual) return true;
    if (expected.starts_with(kRegexMark))
      return MatchesRegex(expected.substr(kRegexMark.size()), actual, true);
    if (expected.starts_with(kNotRegexMark)) {
      ARROW_ASSIGN_OR_RAISE(const bool matches,
                            MatchesRegex(expected.substr(kNotRegexMark.size()), actual, true));
      return !matches;
    }
    if (type == "BOOLEAN")
      return (expected == "1" && actual == "true") || (expected == "0" && actual == "false");
    return SameText(expected, actual, type);
  }

  bool Require(const Record& record) {
    const std::string& what = record.words[0];
    if (what == "skip_reload" || what == "no_restart") {
      may_restart_ = false;
      return true;
    }
    // Of DuckDB's own files: what they leave out on other systems and builds.
    static const std::set<std::string> kAlways = {
        "64bit",   "noforcestorage", "noalternativeverify", "notmingw",
        "notmusl", "notwindows",     "vector_size"};
    if (kAlways.contains(what)) return true;
    const bool is_there = what == "disk"     ? !options_.database.empty()
                          : what == "memory" ? options_.database.empty()
                                             : HasExtension(what);
    if (!is_there) outcome_.skipped = "requires " + what;
    return is_there;
  }

  bool HasExtension(const std::string& name) {
    const auto connection = sql_->Connect();
    if (!connection.ok()) return false;
    const auto result = (*connection)
                            ->Execute(
                                "SELECT 1 FROM duckdb_extensions() WHERE loaded AND "
                                "extension_name = $1",
                                {SqlValue(name)});
    return result.ok() && (*result)->NextRow().ValueOr(false);
  }

  bool RequireEnv(const Record& record) {
    const std::string& name = record.words[0];
    const char* value = std::getenv(name.c_str());
    if (value == nullptr || (record.words.size() > 1 && record.words[1] != value)) {
      outcome_.skipped = "requires the variable " + name;
      return false;
    }
    variables_[name] = value;
    return true;
  }

  bool Loop(const Record& record) {
    const auto saved = variables_.find(record.variable) == variables_.end()
                           ? std::optional<std::string>()
                           : variables_[record.variable];
    bool more = true;
    for (const std::string& value : record.values) {
      variables_[record.variable] = loop_variables_[record.variable] = value;
      more = Block(record.body);
      if (!more) break;
    }
    loop_variables_.erase(record.variable);
    variables_.erase(record.variable);
    if (saved) variables_[record.variable] = *saved;
    return more;
  }

  const std::string name_;
  const RunOptions& options_;
  const std::function<void(const std::string&)>& report_;
  FileOutcome outcome_;

  // In this order: connections need the database.
  std::shared_ptr<Database> memory_;
  std::shared_ptr<SqlDatabase> sql_;
  std::map<std::string, std::unique_ptr<Connection>> connections_;
  std::unique_ptr<BesideDuckDB> beside_;  // or null

  std::map<std::string, std::string> variables_, loop_variables_;
  std::map<std::string, std::string> labels_;
  int64_t hash_threshold_ = 0;
  int64_t statements_ = 0;
  bool may_restart_ = true;
  bool restart_due_ = false;
};

}  // namespace

bool SameText(const std::string& a, const std::string& b, const std::string& type) {
  return a == b || (IsFloat(type) && CloseNumbers(a, b));
}

std::string ValueText(bool is_null, std::string_view text) {
  if (is_null) return "NULL";
  if (text.empty()) return "(empty)";
  return OneLine(text);
}

FileOutcome RunScript(const std::string& name, std::string_view text, const RunOptions& options,
                      const std::function<void(const std::string&)>& report) {
  std::string whole(text);
  for (const std::string_view mark : {"__TEST_DIR__", "{TEST_DIR}"}) {
    for (size_t at = 0; (at = whole.find(mark, at)) != std::string::npos;)
      whole.replace(at, mark.size(), options.scratch);
  }
  return Run(name, options, report).Go(whole);
}

}  // namespace lamina::slt
