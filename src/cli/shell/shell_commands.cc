// Dot commands, and what psql's users type instead. All that they ask, they ask in SQL.
#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <unistd.h>
#include <utility>

#include "cli/commands.h"
#include "cli/shell/line_editor.h"
#include "cli/shell/shell.h"
#include "cli/terminal.h"
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lamina::cli {
namespace {

constexpr int kReadDepthMax = 32;

/// Our catalogue and temporary objects, not DuckDB's own.
constexpr char kOurs[] = "(database_name = current_database() OR temporary)";

Status Usage(const std::string& usage) {
  return MakeError(ErrorCode::kInvalidArgument, "usage: " + usage, ".help lists the commands");
}

/// Words of a command; '…' and "…" hold blanks.
Result<std::vector<std::string>> SplitWords(std::string_view line) {
  std::vector<std::string> out;
  size_t at = 0;
  while (at < line.size()) {
    if (std::isspace(static_cast<unsigned char>(line[at])) != 0) {
      ++at;
      continue;
    }
    std::string word;
    while (at < line.size() && std::isspace(static_cast<unsigned char>(line[at])) == 0) {
      const char c = line[at++];
      if (c != '\'' && c != '"') {
        word += c;
        continue;
      }
      const size_t end = line.find(c, at);
      if (end == std::string_view::npos) {
        return MakeError(ErrorCode::kInvalidArgument,
                         fmt::format("a quote is not closed: {}", line.substr(at - 1)));
      }
      word += line.substr(at, end - at);
      at = end + 1;
    }
    out.push_back(std::move(word));
  }
  return out;
}

/// A table as typed, "schema.table" or "table".
struct TableName {
  std::string schema, table;  // schema: "" is the one at hand

  explicit TableName(const std::string& typed) {
    const size_t dot = typed.find('.');
    if (dot != std::string::npos) schema = typed.substr(0, dot);
    table = dot == std::string::npos ? typed : typed.substr(dot + 1);
  }
  std::string Quoted() const {
    return schema.empty() ? QuotedName(table) : QuotedName(schema) + "." + QuotedName(table);
  }
};

std::string Quoted(const std::string& text) { return SqlLiteral(false, text, "VARCHAR"); }

std::string ExtensionOf(const std::string& file) {
  std::filesystem::path path = file;
  if (path.extension() == ".gz" || path.extension() == ".zst") path = path.stem();
  std::string out = path.extension().string();
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::vector<std::string> FilesLike(const std::string& typed) {
  namespace fs = std::filesystem;
  const size_t slash = typed.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : typed.substr(0, slash + 1);
  const std::string start = slash == std::string::npos ? typed : typed.substr(slash + 1);
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator it(folder.empty() ? "." : folder, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with(start) || (start.empty() && name.starts_with('.'))) continue;
    out.push_back(folder + name + (it->is_directory(error) ? "/" : ""));
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

enum class ArgumentKind : uint8_t { kNone, kTable, kFile, kMode, kOnOff, kCommand };

struct Shell::Command {
  const char* name;
  const char* usage;
  const char* about;
  std::function<Status(Shell*, const Words&)> run;
  ArgumentKind argument = ArgumentKind::kNone;
};
struct Shell::Alias {
  const char* name;
  const char* command;  // "" when a member alone does it
};

const std::vector<Shell::Command>& Shell::Commands() {
  using K = ArgumentKind;
  static const std::vector<Command> commands = {
      {".again", "[--expanded] [FILE]", "Run the last statements once more (\\g, \\gx)",
       &Shell::Again, K::kFile},
      {".bail", "on|off", "Stop a script at its first error",
       [](Shell* s, const Words& w) { return s->Toggle(w, &s->bail_, "bail"); }, K::kOnOff},
      {".blame", "TABLE KEY…", "Which commit wrote each value of a row", &Shell::Blame, K::kTable},
      {".cd", "[FOLDER]", "Another working folder; none: home (\\cd)", &Shell::ChangeFolder,
       K::kFile},
      {".databases", "", "What is open, and attached", &Shell::Databases},
      {".describe", "TABLE", "Columns and constraints of a table or view (\\d TABLE)",
       &Shell::Describe, K::kTable},
      {".diff", "TABLE FROM [TO]", "Rows that differ between two commits or times; TO: now",
       &Shell::Diff, K::kTable},
      {".dump", "[TABLE]", "SQL that makes the database, or a table, again", &Shell::Dump,
       K::kTable},
      {".echo", "on|off", "Print statements before their answers",
       [](Shell* s, const Words& w) { return s->Toggle(w, &s->echo_, "echo"); }, K::kOnOff},
      {".edit", "", "The last statements in $VISUAL or $EDITOR, and run what comes back (\\e)",
       &Shell::Edit},
      {".exit", "", "End the shell (also Ctrl-D)",
       [](Shell* s, const Words&) {
         s->finished_ = true;
         return Status::OK();
       }},
      {".expanded", "[on|off]", "A line for each value (\\x)", &Shell::Expanded, K::kOnOff},
      {".functions", "[PATTERN]", "Macros; with a pattern of LIKE, all functions like it (\\df)",
       &Shell::Functions},
      {".headers", "on|off", "Names of columns above the rows",
       [](Shell* s, const Words& w) { return s->Toggle(w, &s->render_.headers, "headers"); },
       K::kOnOff},
      {".help", "[COMMAND]", "These lines (\\?)", &Shell::Help, K::kCommand},
      {".import", "FILE TABLE", "Rows of a CSV, JSON or Parquet file into a table, made if need be",
       &Shell::Import, K::kFile},
      {".indexes", "[TABLE]", "Indexes (\\di)", &Shell::Indexes, K::kTable},
      {".list", "", "Tables and views with their sizes (\\dt, \\d)", &Shell::ListTables},
      {".log", "[TABLE]", "Commits, the newest first", &Shell::Log, K::kTable},
      {".maxrows", "N", "Rows that a box on the terminal shows, the first and last; 0: all",
       &Shell::MaxRows},
      {".mode", "[MODE [TABLE]]",
       "How rows are shown: box csv tsv json jsonarray line list markdown insert ascii html",
       &Shell::Mode, K::kMode},
      {".nullvalue", "TEXT", "What stands for NULL", &Shell::NullValue},
      {".once", "FILE", "The next answer into a file", &Shell::Once, K::kFile},
      {".open", "[PATH]", "Another database; none: in memory", &Shell::OpenCommand, K::kFile},
      {".output", "[FILE]", "Answers into a file; none: here again (\\o)", &Shell::OutputTo,
       K::kFile},
      {".pager", "on|off", "Long answers through $PAGER", &Shell::Pager, K::kOnOff},
      {".print", "TEXT…", "Print a text", &Shell::Print},
      {".quit", "", "End the shell (\\q)",
       [](Shell* s, const Words&) {
         s->finished_ = true;
         return Status::OK();
       }},
      {".read", "FILE", "Run a file of SQL and dot commands (\\i)", &Shell::Read, K::kFile},
      {".schema", "[TABLE]", "The statements that made what there is", &Shell::Schema, K::kTable},
      {".schemas", "", "Schemas (\\dn)", &Shell::Schemas},
      {".separator", "[TEXT]", "Between values of csv and list; \\t is a tab; none: the mode's own",
       &Shell::Separator},
      {".sequences", "", "Sequences (\\ds)", &Shell::Sequences},
      {".shell", "COMMAND…", "Run a command of the system's shell (\\!)", &Shell::System},
      {".show", "", "The settings", &Shell::Settings},
      {".tables", "[PATTERN]", "Names of tables and views; the pattern is that of LIKE",
       &Shell::Tables, K::kTable},
      {".timer", "on|off", "Print how long each statement took (\\timing)",
       [](Shell* s, const Words& w) { return s->Toggle(w, &s->timer_, "timer"); }, K::kOnOff},
      {".timeline", "TABLE KEY…", "A key's versions, drawn over both times", &Shell::Timeline,
       K::kTable},
      {".triggers", "[TABLE]", "Triggers", &Shell::Triggers, K::kTable},
      {".views", "", "Views, materialized ones too (\\dv, \\dm)", &Shell::ListViews},
      {".watch", "[SECONDS [TIMES]]", "The last statements every 2 seconds, until Ctrl-C (\\watch)",
       &Shell::Watch},
      {".width", "[N…]", "Boxes: cut values of the columns to N; 0: as wide as there is place",
       &Shell::Width},
  };
  return commands;
}

const std::vector<Shell::Alias>& Shell::Aliases() {
  static const std::vector<Alias> aliases = {
      {"\\?", ".help"},
      {"\\d", ".describe"},
      {"\\di", ".indexes"},
      {"\\dt", ".list"},
      {"\\dv", ".views"},
      {"\\i", ".read"},
      {"\\l", ".databases"},
      {"\\o", ".output"},
      {"\\q", ".quit"},
      {"\\timing", ".timer"},
      {"\\x", ".expanded"},
      {"\\c", ".open"},
      {"\\h", ".help"},
      {"\\!", ".shell"},
      {"\\cd", ".cd"},
      {"\\dn", ".schemas"},
      {"\\df", ".functions"},
      {"\\dm", ".views"},
      {"\\ds", ".sequences"},
      {"\\e", ".edit"},
      {"\\echo", ".print"},
      {"\\g", ".again"},
      {"\\gx", ".again --expanded"},
      {"\\watch", ".watch"},
      {".system", ".shell"},
      {".columns", ".describe"},
      {".fullschema", ".schema"},
  };
  return aliases;
}

Status Shell::RunCommand(std::string_view line) {
  // Quotes in it are the other shell's.
  for (const std::string_view raw : {"\\!", ".shell ", ".system "}) {
    if (line.starts_with(raw)) return System({std::string(line.substr(raw.size()))});
  }
  ARROW_ASSIGN_OR_RAISE(Words words, SplitWords(line));
  std::string name = words[0];
  words.erase(words.begin());
  // A semicolon out of habit.
  std::string& last = words.empty() ? name : words.back();
  if (last.size() > 1 && last.ends_with(';')) last.pop_back();
  if (name == "\\d" && words.empty()) name = "\\dt";
  for (const Alias& alias : Aliases()) {
    if (name != alias.name) continue;
    ARROW_ASSIGN_OR_RAISE(const Words said, SplitWords(alias.command));
    name = said[0];
    words.insert(words.begin(), said.begin() + 1, said.end());
    break;
  }
  std::vector<std::string> known;
  const Command* found = nullptr;
  int fitting = 0;
  for (const Command& command : Commands()) {
    known.emplace_back(command.name);
    if (name == command.name) {
      found = &command;
      fitting = 1;
      break;
    }
    // As many letters as make it clear.
    if (name.size() > 1 && std::string_view(command.name).starts_with(name)) {
      found = &command;
      ++fitting;
    }
  }
  if (fitting == 1) return found->run(this, words);
  const std::string close = ClosestName(name, known);
  return MakeError(ErrorCode::kInvalidArgument,
                   fmt::format("{} command: {}", fitting > 1 ? "ambiguous" : "unknown", name),
                   close.empty() ? ".help lists the commands"
                                 : fmt::format("did you mean {}? .help lists the commands", close));
}

std::vector<Connection::Completion> Shell::Complete(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  if (text[begin] != '.' && text[begin] != '\\') return connection_->Complete(text);

  const size_t word_begin = text.find_last_of(" \t\n") == std::string_view::npos
                                ? begin
                                : std::max(begin, text.find_last_of(" \t\n") + 1);
  const std::string typed(text.substr(word_begin));
  std::vector<std::string> words;
  if (word_begin == begin) {
    for (const Command& command : Commands()) words.emplace_back(command.name);
    for (const Alias& alias : Aliases()) words.emplace_back(alias.name);
  } else {
    std::string name(text.substr(begin, text.find_first_of(" \t", begin) - begin));
    for (const Alias& alias : Aliases()) {
      if (name == alias.name) name = alias.command;
    }
    const auto it = std::find_if(Commands().begin(), Commands().end(),
                                 [&](const Command& command) { return name == command.name; });
    if (it == Commands().end()) return {};
    // .import names a file first, and then a table.
    const size_t second = text.find_first_not_of(" \t", begin + name.size());
    const bool first_word = second == std::string_view::npos || second == word_begin;
    ArgumentKind kind = it->argument;
    if (kind == ArgumentKind::kFile && !first_word) kind = ArgumentKind::kTable;
    switch (kind) {
      case ArgumentKind::kTable:
        words = TableNames(/*views=*/true).ValueOr({});
        break;
      case ArgumentKind::kFile:
        words = FilesLike(typed);
        break;
      case ArgumentKind::kMode:
        words = OutputModeNames();
        break;
      case ArgumentKind::kOnOff:
        words = {"on", "off"};
        break;
      case ArgumentKind::kCommand:
        for (const Command& command : Commands()) words.emplace_back(command.name);
        break;
      case ArgumentKind::kNone:
        break;
    }
  }
  std::vector<Connection::Completion> out;
  for (std::string& word : words) {
    if (word.starts_with(typed)) out.push_back({std::move(word), word_begin});
  }
  return out;
}

Result<std::vector<std::string>> Shell::TableNames(bool views) {
  // In a failed transaction nothing can be asked.
  if (connection_->transaction_state() == SqlTransactionState::kAborted)
    return std::vector<std::string>{};
  std::string sql = fmt::format(
      "SELECT schema_name, table_name FROM duckdb_tables() WHERE {0} AND NOT internal", kOurs);
  if (views) {
    sql += fmt::format(
        " UNION SELECT schema_name, view_name FROM duckdb_views() WHERE {} AND NOT internal",
        kOurs);
  }
  ARROW_ASSIGN_OR_RAISE(const auto rows, Ask(sql + " ORDER BY 1, 2"));
  std::vector<std::string> out;
  for (const auto& row : rows) out.push_back(row[0] == "main" ? row[1] : row[0] + "." + row[1]);
  std::sort(out.begin(), out.end());
  return out;
}

Status Shell::Help(const Words& words) {
  std::string out;
  for (const Command& command : Commands()) {
    std::string wanted = words.empty() ? "" : words[0];
    if (!wanted.empty() && !wanted.starts_with('.')) wanted = "." + wanted;
    if (!wanted.empty() && !std::string_view(command.name).starts_with(wanted)) continue;
    const std::string usage =
        *command.usage == '\0' ? command.name : fmt::format("{} {}", command.name, command.usage);
    const size_t width = DisplayWidth(usage);
    out += usage + std::string(width < 24 ? 24 - width : 1, ' ') + command.about + "\n";
  }
  if (out.empty()) {
    return MakeError(ErrorCode::kNotFound, "no such command: " + words[0],
                     ".help lists the commands");
  }
  if (words.empty()) {
    out +=
        "\nStatements end with a semicolon and may span lines. Tab completes, Up finds earlier "
        "ones,\nCtrl-R searches them, Ctrl-C ends the statement under way.\n";
  }
  return Say(out);
}

Status Shell::Tables(const Words& words) {
  if (words.size() > 1) return Usage(".tables [PATTERN]");
  ARROW_ASSIGN_OR_RAISE(std::vector<std::string> names, TableNames(/*views=*/true));
  if (!words.empty()) {
    std::vector<std::string> fitting;
    for (std::string& name : names) {
      ARROW_ASSIGN_OR_RAISE(const auto answer,
                            Ask("SELECT $1 ILIKE $2", {SqlValue(name), SqlValue(words[0])}));
      if (answer[0][0] == "true") fitting.push_back(std::move(name));
    }
    names = std::move(fitting);
  }
  for (std::string& name : names) name = OneLine(name);
  return Say(InColumns(names, output_->is_terminal() ? TerminalColumns(STDOUT_FILENO) : 80));
}

Status Shell::ListTables(const Words& words) {
  if (!words.empty()) return Describe(words);
  return ShowQuery(fmt::format(
      "SELECT schema_name AS schema, table_name AS name, coalesce(tags['kind'], 'table') AS kind, "
      "column_count AS "
      "\"columns\" FROM duckdb_tables() WHERE {0} AND NOT internal UNION ALL SELECT schema_name, "
      "view_name, 'view', (SELECT count(*) FROM duckdb_columns() c WHERE c.database_oid = "
      "v.database_oid AND c.table_oid = v.view_oid) FROM duckdb_views() v WHERE {0} AND NOT "
      "internal "
      "ORDER BY 1, 2",
      kOurs));
}

Status Shell::ListViews(const Words& /*words*/) {
  return ShowQuery(
      fmt::format("SELECT schema_name AS schema, view_name AS name, 'view' AS kind, sql FROM "
                  "duckdb_views() WHERE {0} AND NOT internal UNION ALL SELECT schema_name, "
                  "table_name, tags['kind'], sql FROM duckdb_tables() WHERE {0} AND NOT internal "
                  "AND tags['kind'] IS NOT NULL ORDER BY 1, 2",
                  kOurs));
}

Status Shell::Describe(const Words& words) {
  if (words.size() != 1) return Usage(".describe TABLE");
  const TableName name(words[0]);
  ARROW_RETURN_NOT_OK(
      ShowQuery("SELECT column_name AS \"column\", column_type AS type, \"null\", \"key\", "
                "\"default\" FROM (DESCRIBE " +
                name.Quoted() + ")"));
  if (render_.mode != OutputMode::kBox && render_.mode != OutputMode::kAscii) return Status::OK();
  const std::string schema =
      name.schema.empty() ? "schema_name = current_schema()" : "schema_name = $2";
  SqlParameters parameters = {SqlValue(name.table)};
  if (!name.schema.empty()) parameters.emplace_back(name.schema);
  ARROW_ASSIGN_OR_RAISE(
      const auto constraints,
      Ask("SELECT constraint_text FROM duckdb_constraints() WHERE constraint_type <> 'NOT NULL' "
          "AND "
          "lower(table_name) = lower($1) AND database_name = current_database() AND " +
              schema,
          parameters));
  std::string out;
  for (const auto& row : constraints) out += "  " + OneLine(row[0]) + "\n";
  ARROW_ASSIGN_OR_RAISE(const auto indexes, Ask("SELECT sql FROM duckdb_indexes() WHERE "
                                                "lower(table_name) = lower($1) AND database_name = "
                                                "current_database() AND " +
                                                    schema,
                                                parameters));
  for (const auto& row : indexes) out += "  " + OneLine(row[0]) + "\n";
  return Say(out);
}

Status Shell::Schema(const Words& words) {
  if (words.size() > 1) return Usage(".schema [TABLE]");
  ARROW_ASSIGN_OR_RAISE(const Definitions definitions,
                        ReadDefinitions(words.empty() ? "%" : words[0]));
  std::string out;
  for (const std::string& statement : definitions.before) out += statement + "\n";
  for (const auto& table : definitions.tables) out += table.sql + "\n";
  for (const std::string& statement : definitions.after) out += statement + "\n";
  return Say(out);
}

Status Shell::Indexes(const Words& words) {
  if (words.size() > 1) return Usage(".indexes [TABLE]");
  std::string sql =
      "SELECT schema_name AS schema, index_name AS \"index\", table_name AS \"table\", is_unique "
      "AS "
      "\"unique\", sql FROM duckdb_indexes() WHERE database_name = current_database()";
  if (words.empty()) return ShowQuery(sql + " ORDER BY 1, 3, 2");
  return ShowQuery(sql + " AND lower(table_name) = lower($1) ORDER BY 1, 3, 2",
                   {SqlValue(TableName(words[0]).table)});
}

Status Shell::Databases(const Words& /*words*/) {
  return ShowQuery(
      "SELECT database_name AS name, CASE WHEN database_name = current_database() THEN $1 ELSE "
      "path END AS path, readonly AS \"read only\" FROM duckdb_databases() WHERE NOT internal "
      "ORDER "
      "BY 1",
      {SqlValue(path_.empty() ? ":memory:" : path_)});
}

Status Shell::Mode(const Words& words) {
  if (words.empty()) return Say(std::string(NameOf(render_.mode)) + "\n");
  const auto mode = OutputModeOf(words[0]);
  if (!mode.has_value() || words.size() > 2) {
    return MakeError(ErrorCode::kInvalidArgument, "no such mode: " + words[0],
                     fmt::format("modes are: {}", fmt::join(OutputModeNames(), ", ")));
  }
  render_.mode = *mode;
  if (words.size() == 2) render_.table = TableName(words[1]).Quoted();
  return Status::OK();
}

Status Shell::Toggle(const Words& words, bool* setting, const char* what) {
  const std::string value = words.empty() ? (*setting ? "off" : "on") : words[0];
  if (words.size() > 1 || (value != "on" && value != "off" && value != "yes" && value != "no"))
    return Usage(fmt::format(".{} on|off", what));
  *setting = value == "on" || value == "yes";
  if (words.empty()) return Say(fmt::format("{} {}\n", what, *setting ? "on" : "off"));
  return Status::OK();
}

Status Shell::Expanded(const Words& words) {
  bool expanded = render_.mode == OutputMode::kLine;
  ARROW_RETURN_NOT_OK(Toggle(words, &expanded, "expanded"));
  if (expanded && render_.mode != OutputMode::kLine)
    mode_before_line_ = std::exchange(render_.mode, OutputMode::kLine);
  if (!expanded && render_.mode == OutputMode::kLine) render_.mode = mode_before_line_;
  return Status::OK();
}

Status Shell::NullValue(const Words& words) {
  if (words.size() > 1) return Usage(".nullvalue TEXT");
  render_.null_text = words.empty() ? std::nullopt : std::optional(words[0]);
  return Status::OK();
}

Status Shell::Width(const Words& words) {
  std::vector<size_t> widths;
  for (const std::string& word : words) {
    if (word.empty() || word.size() > 6 ||
        !std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; }))
      return Usage(".width [N…]");
    widths.push_back(std::stoul(word));
  }
  render_.widths = std::move(widths);
  return Status::OK();
}

Status Shell::MaxRows(const Words& words) {
  if (words.empty()) return Say(fmt::format("{}\n", rows_max_));
  if (words.size() != 1 || words[0].size() > 9 || words[0].empty() ||
      !std::all_of(words[0].begin(), words[0].end(), [](char c) { return c >= '0' && c <= '9'; }))
    return Usage(".maxrows N");
  rows_max_ = std::stoul(words[0]);
  return Status::OK();
}

Status Shell::Pager(const Words& words) {
  bool on = output_->pager();
  ARROW_RETURN_NOT_OK(Toggle(words, &on, "pager"));
  output_->set_pager(on);
  return Status::OK();
}

Status Shell::Read(const Words& words) {
  if (words.size() != 1) return Usage(".read FILE");
  if (depth_ == kReadDepthMax) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("files read each other too deep: depth={}", depth_));
  }
  ++depth_;
  const bool good = RunFile(words[0]);
  --depth_;
  stopped_ = !good && bail_;
  return Status::OK();
}

Status Shell::Import(const Words& words) {
  std::string format;
  Words names;
  for (const std::string& word : words) {
    if (word.starts_with("--")) {
      format = word.substr(2);
    } else {
      names.push_back(word);
    }
  }
  if (names.size() != 2) return Usage(".import [--csv|--json|--parquet] FILE TABLE");
  const TableName table(names[1]);
  if (format.empty()) {
    const std::string extension = ExtensionOf(names[0]);
    format = extension == ".parquet"                                                   ? "parquet"
             : extension == ".json" || extension == ".ndjson" || extension == ".jsonl" ? "json"
                                                                                       : "csv";
  }
  if (format != "csv" && format != "json" && format != "parquet") {
    return MakeError(ErrorCode::kInvalidArgument, "no such format: " + format,
                     "formats are: csv, json, parquet");
  }
  ARROW_ASSIGN_OR_RAISE(
      const auto found,
      Ask(fmt::format("SELECT count(*) FROM duckdb_tables() WHERE {} AND lower(table_name) = "
                      "lower($1) AND schema_name = coalesce(nullif($2, ''), current_schema())",
                      kOurs),
          {SqlValue(table.table), SqlValue(table.schema)}));
  const bool exists = found[0][0] != "0";
  std::string sql;
  if (exists) {
    sql = fmt::format("COPY {} FROM {} (FORMAT {})", table.Quoted(), Quoted(names[0]), format);
  } else {
    sql = fmt::format("CREATE TABLE {} AS SELECT * FROM read_{}({})", table.Quoted(), format,
                      Quoted(names[0]));
  }
  running_ = connection_.get();
  const auto result = connection_->Execute(sql);
  running_ = nullptr;
  ARROW_RETURN_NOT_OK(result.status());
  if (!talkative_) return Status::OK();
  if (!exists) return Say(fmt::format("created {}\n", table.Quoted()));
  return Say(fmt::format(
      "{} into {}\n", Plural(static_cast<uint64_t>((*result)->changed_rows().value_or(0)), "row"),
      table.Quoted()));
}

Status Shell::OutputTo(const Words& words) {
  if (words.size() > 1) return Usage(".output [FILE]");
  return output_->Redirect(words.empty() || words[0] == "stdout" ? "" : words[0]);
}

Status Shell::Once(const Words& words) {
  if (words.size() != 1) return Usage(".once FILE");
  return output_->RedirectOnce(words[0]);
}

Status Shell::OpenCommand(const Words& words) {
  if (words.size() > 1) return Usage(".open [PATH]");
  return Open(words.empty() ? "" : words[0]);
}

Status Shell::Print(const Words& words) { return Say(fmt::format("{}\n", fmt::join(words, " "))); }

Status Shell::Settings(const Words& /*words*/) {
  const auto on = [](bool setting) { return setting ? "on" : "off"; };
  return Say(fmt::format(
      "bail {}\ndatabase {}\necho {}\nheaders {}\nmaxrows {}\nmode {}\nnullvalue {}\npager "
      "{}\nseparator {}\ntimer {}\nwidth {}\n",
      on(bail_), path_.empty() ? ":memory:" : path_, on(echo_), on(render_.headers), rows_max_,
      NameOf(render_.mode), render_.null_text.value_or("(the mode's own)"), on(output_->pager()),
      render_.separator.has_value() ? OneLine(*render_.separator) : "(the mode's own)", on(timer_),
      fmt::join(render_.widths, " ")));
}

}  // namespace lamina::cli
