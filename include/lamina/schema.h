// How a table is declared, and what can be asked of one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <arrow/type.h>

#include "lamina/options.h"
#include "lamina/time.h"

namespace lamina {

/// What a user may set per table. 0 / empty = the database's default.
struct TableOptions {
  int32_t rows_per_page = 0;
  int32_t rows_per_row_group = 0;
  std::optional<Codec> codec = {};
  /// Written with dictionary encoding: few distinct values.
  std::vector<std::string> dictionary_columns = {};
  /// Names two timestamp columns of the table that give the valid period of each row that is
  /// written; both or none. They keep what was written: where a later write cut a row, _valid_from
  /// and _valid_to say what is left of it.
  std::string period_from_column = {};
  std::string period_to_column = {};
};

/// How a caller declares the primary key when it is not in the schema's metadata. Empty: field
/// metadata "lamina.key" (or "tonbo.key") = "true" on one field, or ordinals "0", "1", … on
/// several; else schema metadata "lamina.keys" (or "tonbo.keys") = a name or ["a","b"].
struct KeyDeclaration {
  std::vector<std::string> names = {};
  std::vector<int> positions = {};  ///< Alternative to names.
  bool no_key = false;  ///< Append table: rows get a hidden number, nothing is ever updated by key.
};

struct TableInfo {
  std::string name;
  uint64_t id = 0;
  uint32_t schema_version = 0;
  std::shared_ptr<arrow::Schema> schema;
  std::vector<std::string> key;  ///< Empty for an append table.
  TableOptions options;
  uint64_t files = 0, rows_at_rest = 0, bytes_at_rest = 0, history_files = 0, history_rows = 0;
  SystemTime history_floor = SystemTime::Min();
};

}  // namespace lamina
