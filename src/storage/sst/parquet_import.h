// Reading Parquet files that others wrote (for ingest). Parquet's one door is this folder; its
// exceptions end here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <arrow/record_batch.h>

#include "lamina/error.h"

namespace lamina::storage::sst {

struct ForeignFile {
  std::shared_ptr<arrow::Schema> schema;
  int64_t rows = 0;
  /// Streams every row in file order; holds about one row group in memory.
  std::shared_ptr<arrow::RecordBatchReader> batches;
};

/// kNotFound, kPermissionDenied, kCorruption (not Parquet, or damaged).
Result<ForeignFile> OpenForeignParquet(const std::string& path, int64_t batch_rows);

}  // namespace lamina::storage::sst
