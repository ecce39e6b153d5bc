// Runs sqllogictest files over the public SQL interface.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "lamina/connection.h"
#include "slt/script.h"

namespace lamina::slt {

struct RunOptions {
  /// Where the file's database lies; "" is one in memory. Must not exist yet.
  std::string database;
  /// What __TEST_DIR__ stands for: a folder that exists.
  std::string scratch;
  /// After so many statements; 0 is never. A restart waits for open transactions to end and is left
  /// out in a file that says "# no restart".
  int64_t restart_every = 0;
  int64_t flush_every = 0;
  int64_t compact_every = 0;
  /// Each statement is also run on a plain DuckDB in memory, whose answer must be the same: names
  /// and types of the columns, rows (in order where the statement orders them), rows changed, and
  /// whether it fails. Records for lamina alone (onlyif lamina, skipif duckdb) are not run there,
  /// and those for DuckDB alone (skipif lamina) only there.
  bool beside_duckdb = false;
  /// Goes on after a failure.
  bool keep_going = false;
};

struct FileOutcome {
  int64_t records = 0;  ///< Statements and queries run, a loop's once a round.
  int64_t failed = 0;
  int64_t restarts = 0;
  bool pending = false;
  std::string skipped;  ///< Why the file, or what was left of it, was not run; or "".
};

/// Runs one file. `report` gets the text of each failure: "name:line: …", the SQL, what was
/// expected and what came.
FileOutcome RunScript(const std::string& name, std::string_view text, const RunOptions& options,
                      const std::function<void(const std::string&)>& report);

/// A value as result files write it: NULL, (empty), and everything else on one line without tabs.
std::string ValueText(bool is_null, std::string_view text);

/// Whether two values of a column of this type are the same: DOUBLE and FLOAT may differ by a
/// billionth, as sums in parallel do.
bool SameText(const std::string& a, const std::string& b, const std::string& type);

}  // namespace lamina::slt
