// The subcommands of `lamina`. Each prints its result and returns a status; main turns that into
// text and exit code.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/record_batch.h>

#include "lamina/database.h"

namespace lamina::cli {

struct DemoOptions {
  std::string directory = "demo.lamina";
  std::string data;  ///< Folder of flights.csv; empty: $LAMINA_DATA.
};
Status RunDemo(const DemoOptions& options);

/// kNotFound, with what to do about it.
Status NoDatabase(const std::string& directory);
/// Opens, runs, closes; an error of the run comes before one of closing.
Status WithDatabase(const std::string& directory, const DatabaseOptions& options,
                    const std::function<Status(Database*)>& body);
/// Runs `body` on a thread of its own and returns its status; shows on a terminal that it works,
/// and when Ctrl-C came and `body` has not ended within a moment, calls `give_up` with the status
/// it has so far, if any. `give_up` does not return.
Status RunWatched(const std::string& what, const std::function<Status()>& body,
                  const std::function<void(const Status&)>& give_up);

/// Bytes from two hexadecimal digits each; nullopt when the text is something else.
std::optional<std::string> ParseHex(std::string_view text);
/// The known name that `name` was probably meant to be, or "".
std::string ClosestName(const std::string& name, const std::vector<std::string>& known);
/// A hint: "did you mean price? its columns are: …".
std::string Suggestion(const std::string& name, const std::vector<std::string>& known,
                       const std::string& what_they_are);

struct IngestOptions {
  std::string table;
  std::string file;              ///< .csv, .tsv or .parquet; "-" reads CSV from standard input.
  std::vector<std::string> key;  ///< Empty: the table exists, or gets no key with no_key.
  bool no_key = false;
  /// Columns of the file; they become the valid time and are not stored as columns.
  std::string valid_from, valid_to;
  std::string format;              ///< "csv", "parquet" or "": by the name.
  std::string delimiter;           ///< CSV: one character; "": comma, or tab for .tsv.
  std::string null_text;           ///< CSV: this text is null too (beside the empty field).
  std::vector<std::string> types;  ///< CSV: "column=type", for a new table.
};
/// One file into an open database.
Status IngestInto(Database* db, const IngestOptions& options, bool json);
/// The same, and opens the database itself: not before the file is understood.
Status RunIngest(const std::string& directory, const IngestOptions& options, bool json);

/// When and what to read, as typed.
struct MomentOptions {
  std::string as_of;     ///< Commit number or timestamp.
  std::string valid_at;  ///< Timestamp or microseconds.
  bool all_versions = false;
};
Result<SystemPeriod> ParseSystem(const MomentOptions& moment);
Result<ValidPeriod> ParseValid(const MomentOptions& moment);

struct ScanCommand {
  std::string table;
  std::vector<std::string> columns;
  std::vector<std::string> where;  ///< "column op value", and-ed.
  std::string prefix;              ///< Key prefix: comma-separated values; documents: bytes.
  MomentOptions moment;
  std::optional<int64_t> limit;
  bool count = false;
  bool explain = false;
  bool csv = false;
};
Status RunScan(Database* db, const ScanCommand& command, bool json);
Status RunPut(Database* db, const std::string& key, const std::string& document,
              const std::string& valid_from, const std::string& valid_to, bool json);
Status RunGet(Database* db, const std::string& table, const std::string& key,
              const MomentOptions& moment, bool json);
Status RunHistory(Database* db, const std::string& table, const std::string& key, bool json);

/// manifest, wal, files, metrics; "all" for a summary of everything. Reads a store directly: works
/// beside a running owner.
Status RunInspect(const std::string& directory, const std::string& what, bool json);
Status RunCheck(Database* db, bool json);
Status RunGc(Database* db, bool dry_run, std::optional<int64_t> grace_seconds, bool json);
Status RunCompact(Database* db, const std::optional<std::string>& table, bool json);

/// Paths of a table's current data files, for other Parquet tools.
Result<std::vector<std::string>> CurrentFiles(const std::string& directory,
                                              const std::string& table);
/// The plane of one key's versions (columns _valid_from, _valid_to, _system_from, _system_to):
/// valid time to the right, system time upwards, a letter a version, in the order of the rows.
std::string PlaneText(const arrow::RecordBatch& versions);

}  // namespace lamina::cli
