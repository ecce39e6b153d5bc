// The SQL shell: statements and dot commands, from a terminal, a file or the command line.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/shell/output.h"
#include "cli/shell/render.h"

#include "lamina/connection.h"

namespace lamina::cli {

/// What the command line says.
struct ShellOptions {
  std::string path;  ///< Of the database; "" is one in memory.
  /// -c and -f, in their order: whether it is a file, and the text or the file's name. None: the
  /// terminal, or standard input as a script.
  std::vector<std::pair<bool, std::string>> inputs;
  std::optional<OutputMode> mode;
  bool json_errors = false;
  bool keep_going = false;
  bool read_only = false;
  /// Run before all else: "" is ~/.laminarc, at a terminal only, if there is one; nullopt: nothing.
  std::optional<std::string> init = "";
};

/// Opens the database, runs what there is to run and gives the exit code: 0, 1 for an error, 130
/// when Ctrl-C ended a script.
int RunShell(const ShellOptions& options);

/// The shell without its terminal. One thread at a time, Interrupt excepted.
class Shell {
 public:
  /// `error` gets the text of errors, whole lines.
  Shell(Output* output, std::function<void(std::string_view)> error, const ShellOptions& options);
  ~Shell();

  /// Opens another database; the one before is closed first, and kept when that fails.
  Status Open(const std::string& path);

  /// One dot command, or SQL; false when it failed. `place` ("load.sql:7: ") stands before its
  /// errors.
  bool Run(std::string_view text, const std::string& place = {});
  /// Lines until `next` gives nullopt or the shell ends; `name` is for errors. Stops at an error
  /// when that is set (.bail).
  bool RunLines(const std::function<std::optional<std::string>()>& next, const std::string& name);
  bool RunFile(const std::string& path);
  /// Whether something has failed so far.
  bool failed() const { return failed_; }

  /// Tells an error as Run does.
  void Report(const Status& status, const std::string& place);

  /// Whether a text may be run: a dot command, or statements up to a semicolon.
  bool IsWhole(std::string_view text) const;
  std::vector<Connection::Completion> Complete(std::string_view text);
  /// "lamina> ", with * inside a transaction and ! when that failed.
  std::string Prompt() const;
  /// After .quit.
  bool finished() const { return finished_; }
  Connection* connection() { return connection_.get(); }
  /// Whether it says what statements without rows did.
  void set_talkative(bool on) { talkative_ = on; }
  void set_bail(bool on) { bail_ = on; }

  /// Ends the statement under way. For a signal handler.
  void Interrupt();
  /// Whether Interrupt came since this was last asked.
  bool TakeInterrupt() { return interrupted_.exchange(false); }

 private:
  struct Command;
  struct Alias;
  using Words = std::vector<std::string>;

  static const std::vector<Command>& Commands();
  static const std::vector<Alias>& Aliases();

  Status RunCommand(std::string_view line);
  Status RunSql(std::string_view sql);
  Status Show(SqlResult& result);
  /// Of EXPLAIN, as it is drawn.
  Status ShowPlan(SqlResult& result);
  /// Rows of one of the shell's own queries, in the mode at hand.
  Status ShowQuery(const std::string& sql, const SqlParameters& parameters = {});
  /// The same, as values.
  Result<std::vector<std::vector<std::string>>> Ask(const std::string& sql,
                                                    const SqlParameters& parameters = {});
  Status Say(const std::string& text);
  RenderOptions Rendering() const;
  Result<std::vector<std::string>> TableNames(bool views);

  // Dot commands.
  Status Help(const Words& words);
  Status Tables(const Words& words);
  Status ListTables(const Words& words);
  Status ListViews(const Words& words);
  Status Describe(const Words& words);
  Status Schema(const Words& words);
  Status Indexes(const Words& words);
  Status Databases(const Words& words);
  Status Mode(const Words& words);
  Status Toggle(const Words& words, bool* setting, const char* what);
  Status Expanded(const Words& words);
  Status NullValue(const Words& words);
  Status Width(const Words& words);
  Status MaxRows(const Words& words);
  Status Pager(const Words& words);
  Status Read(const Words& words);
  Status Import(const Words& words);
  Status OutputTo(const Words& words);
  Status Once(const Words& words);
  Status Dump(const Words& words);
  Status OpenCommand(const Words& words);
  Status Print(const Words& words);
  Status Settings(const Words& words);

  // history_commands.cc
  Status Log(const Words& words);
  Status Diff(const Words& words);
  Status Timeline(const Words& words);
  Status Blame(const Words& words);

  // habits.cc
  Status Schemas(const Words& words);
  Status Sequences(const Words& words);
  Status Functions(const Words& words);
  Status Triggers(const Words& words);
  Status Again(const Words& words);
  Status Watch(const Words& words);
  Status Edit(const Words& words);
  Status System(const Words& words);
  Status ChangeFolder(const Words& words);
  Status Separator(const Words& words);

  // dump.cc
  struct Definitions {
    struct Table {
      std::string schema, name, sql;
      bool refers_to_itself = false;
    };
    std::vector<std::string> before;  ///< Statements that tables need.
    std::vector<Table> tables;
    std::vector<std::string> after;  ///< Statements that need tables.
  };
  /// Of the tables, and their views and indexes, with names like the pattern; "%" is everything.
  Result<Definitions> ReadDefinitions(const std::string& pattern);
  Status DumpRows(const Definitions::Table& table);

  Output* const output_;
  const std::function<void(std::string_view)> error_;
  DatabaseOptions database_options_;
  std::string path_;
  std::shared_ptr<SqlDatabase> database_;
  std::unique_ptr<Connection> connection_;

  std::string last_sql_;  // what .again runs
  RenderOptions render_;
  OutputMode mode_before_line_ = OutputMode::kBox;  // what \x goes back to
  size_t rows_max_ = 40;
  bool json_errors_ = false;
  bool timer_ = false;
  bool echo_ = false;
  bool bail_ = true;
  bool talkative_ = false;
  bool finished_ = false;
  bool failed_ = false;
  bool stopped_ = false;  // a .read that has told its errors already
  int depth_ = 0;         // of .read

  std::atomic<Connection*> running_{nullptr};
  std::atomic<bool> interrupted_{false};
};

}  // namespace lamina::cli
