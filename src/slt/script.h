// A sqllogictest file as records. Reading it runs nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/error.h"

namespace lamina::slt {

enum class RecordKind : uint8_t {
  kStatement,
  kQuery,
  kRestart,    ///< Closes the database and opens it again.
  kReconnect,  ///< Only the connections.
  kHalt,       ///< Nothing below is run.
  kRequire,
  kRequireEnv,
  kHashThreshold,
  kLoop,  ///< loop and foreach; `body` is run once for each of `values`.
};

enum class Expectation : uint8_t { kOk, kError, kMaybe };
enum class SortMode : uint8_t { kNone, kRows, kValues };

/// One record of a file.
struct Record {
  RecordKind kind = RecordKind::kStatement;
  int line = 0;  ///< Of the record's first line, from 1.

  /// Engines that skip it, or the only ones that run it.
  std::vector<std::string> skip_if, only_if;

  std::string sql;
  std::string connection;  ///< "" is the one without a name.

  // Statements.
  Expectation expectation = Expectation::kOk;
  /// Errors: a code (T3001 or an SQLSTATE) that must be the error's, and a text that its message
  /// contains, or <REGEX>: and what it matches.
  std::string code, error;
  std::optional<int64_t> count;  ///< Rows changed.

  // Queries.
  std::string types;  ///< A letter a column.
  SortMode sort = SortMode::kNone;
  std::string label;
  bool has_expected = false;          ///< Without ----, only a label says what must come.
  std::vector<std::string> expected;  ///< Lines below ----.

  // Loops: the name without ${}.
  std::string variable;
  std::vector<std::string> values;
  std::vector<Record> body;

  /// require, require-env and hash-threshold.
  std::vector<std::string> words;
};

struct Script {
  std::string pending;      ///< Why the file is not run, or "".
  bool no_restart = false;  ///< Its sessions must not end (temporary tables, settings).
  std::vector<Record> records;
};

/// Reads a file's text. The error of a text that is no script begins with "line N: ".
Result<Script> ParseScript(std::string_view text);

/// `text` with ${name} replaced.
std::string Substitute(std::string_view text, std::string_view name, std::string_view value);

}  // namespace lamina::slt
