// Rows that are in data files before their commit: for more of them than log and memory should
// hold.
//
//   1. Write sorts what it gets into files of its own, which leave out what nobody knows yet:
//      _system_from and _commit (docs/format/data-file.md).
//   2. Finish merges files that overlap in key and finds keys that come twice.
//   3. A commit with CommitRequest::loads enters the files into the manifest, with its number and
//      time.
//
// So every row is written once (twice where the input has no order), and memory holds what the
// calls of Write in progress were given.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include "catalog/schema.h"
#include "storage/data_file.h"

namespace lamina::engine {

/// Of one table, for one commit. The engine must outlive it. What no commit took is deleted with
/// it.
class BulkLoad {
 public:
  /// Of the table's storage schema, with the rows' encoded keys.
  struct Piece {
    std::shared_ptr<arrow::RecordBatch> rows;
    std::shared_ptr<arrow::BinaryArray> keys;
  };

  virtual ~BulkLoad() = default;
  virtual const catalog::TableSchemaPtr& table() const = 0;

  /// Rows valid for all time, in any order; those of one call become files of their own, so it
  /// should be given many. Thread-safe. kAlreadyExists: two rows of the call have one key.
  virtual Status Write(const std::vector<Piece>& pieces) = 0;
  /// After the last Write. kAlreadyExists: two rows have one key. Takes longer the less order there
  /// was.
  virtual Status Finish() = 0;

  // After Finish.
  /// Disjoint in key, ascending.
  virtual const std::vector<storage::DataFile>& files() const = 0;
  virtual uint64_t rows() const = 0;
  virtual Result<bool> Contains(std::string_view key) const = 0;

  /// The files are the manifest's now, or may be. Called by the engine.
  virtual void Keep() = 0;
};

}  // namespace lamina::engine
