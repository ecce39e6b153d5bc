// What an error of DuckDB means: which of our codes it is, said in our words.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "sql/duckdb_api.h"

namespace lamina::sql {

/// What an error of DuckDB says, apart. Connections ask for errors as JSON (errors_as_json): DuckDB
/// would else mix the place into the text.
struct DuckDBError {
  duckdb::ExceptionType type;
  std::string message;
  std::map<std::string, std::string> extra;

  explicit DuckDBError(const duckdb::ErrorData& error);
  /// "" when there is none.
  std::string Extra(const std::string& key) const;
};

struct Diagnosis {
  std::string code = "T4005";
  std::string message;
  std::string hint;
  /// Of what the error is about, to find it in the text when DuckDB gives no place; may be "".
  std::string name;
};

/// `statement` is the text of the statement that failed, `position` the place in it that DuckDB
/// names. DuckDB gives a kind of error in `error_subtype` and the like where it has one; for the
/// rest this knows its messages, and the tests notice when a new DuckDB words them differently.
Diagnosis Diagnose(const DuckDBError& error, std::string_view statement,
                   std::optional<size_t> position);

}  // namespace lamina::sql
