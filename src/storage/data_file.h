// What the manifest knows of a data file: everything a planner needs to skip it. Written by sst,
// kept by manifest.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ulid.h"
#include "catalog/schema.h"
#include "lamina/time.h"

namespace lamina::storage {

enum class FileKind : uint8_t {
  kCurrent = 0,  ///< Rows are written open (no `_system_to` column); those that ended are in the
                 ///< deletion vector.
  kHistory = 1,  ///< Every row is closed and carries `_system_to`.
};

/// Bounds of one column over the file (catalog::EncodeValue form, strings cut to 32 bytes and
/// rounded outwards).
struct ColumnStats {
  catalog::ColumnId column = 0;
  std::optional<std::string> min;
  std::optional<std::string> max;
  uint64_t null_count = 0;
};

/// A byte range of a deletion-vector object: data/<table>/<object>.dv [offset, offset+length).
struct DeletionVectorRef {
  base::Ulid object;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t ended_rows = 0;  ///< Entries, rewritten ones included.
  SystemTime max_ended;     ///< Newest end (Min when all are rewritten).
};

struct DataFile {
  base::Ulid id;
  catalog::TableId table;
  FileKind kind = FileKind::kCurrent;
  uint8_t level = 0;  ///< Current files: 0 = may overlap its level's other files in key; >= 1:
                      ///< disjoint within the level.
  uint32_t schema_version = 0;
  uint64_t rows = 0;
  uint64_t bytes = 0;
  uint64_t footer_length = 0;  ///< Thrift footer + 8 bytes, from the end: saves a request.
  std::string min_key;         ///< Encoded, whole.
  std::string max_key;         ///< Encoded, whole, inclusive.
  SystemTime min_system_from, max_system_from;
  CommitId min_commit, max_commit;
  /// History files only.
  SystemTime min_system_to = SystemTime::Max(), max_system_to = SystemTime::Max();
  ValidTime min_valid_from = ValidTime::Min(), max_valid_from = ValidTime::Min();
  ValidTime min_valid_to = ValidTime::Max(), max_valid_to = ValidTime::Max();
  /// False: every row is valid for all time and the columns are left out.
  bool has_valid_columns = false;
  /// False: the rows came with one commit that was not known yet when they were written. All have
  /// min_commit and min_system_from, and the columns are left out.
  bool has_system_columns = true;
  std::vector<ColumnStats> columns;
  std::optional<DeletionVectorRef> deletions;

  std::string Path() const;  ///< data/<table>/<ulid>.parquet
};
using DataFilePtr = std::shared_ptr<const DataFile>;

std::string DeletionVectorPath(catalog::TableId table,
                               const base::Ulid& object);  ///< data/<table>/<ulid>.dv

}  // namespace lamina::storage
