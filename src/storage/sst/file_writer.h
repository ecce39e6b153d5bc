// Writes one data file: row versions in key order as Parquet. docs/format/data-file.md describes
// what is beyond plain Parquet.
//
// Column pages are cut at the same rows in every column (rows_per_page), row groups hold a multiple
// of it: page number = ordinal / rows_per_page serves all columns. Between the last row group and
// the footer stands our key index block (first encoded key of every page + a split-block Bloom
// filter over the hashes of all encoded keys), found by the file's key-value metadata; other
// Parquet tools skip it.
#pragma once

#include <memory>

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include "base/ulid.h"
#include "catalog/schema.h"
#include "lamina/object_store.h"
#include "storage/data_file.h"

namespace lamina::storage::sst {

struct WriterOptions {
  FileKind kind = FileKind::kCurrent;
  uint8_t level = 0;
  /// False: every row must be valid for all time (kInvalidArgument otherwise).
  bool valid_columns = false;
  /// False: for rows of one commit that is not known yet. What they say of system time and commit
  /// is not written; whoever enters the file into the manifest says it (DataFile).
  bool system_columns = true;
  catalog::Codec codec = catalog::Codec::kLz4;
  int32_t rows_per_page = 1024;
  int32_t rows_per_row_group = 128 * 1024;  ///< Rounded up to a multiple of rows_per_page.
  double bloom_bits_per_key = 10;           ///< 0: no filter.
};

/// One thread.
class FileWriter {
 public:
  static Result<std::unique_ptr<FileWriter>> Make(std::shared_ptr<ObjectStore> store,
                                                  catalog::TableSchemaPtr table,
                                                  const base::Ulid& id, WriterOptions options);
  virtual ~FileWriter() = default;

  /// Appends a row batch (RowBatchSchema) whose rows follow everything written before in (key,
  /// valid_from, system_from) order; `keys` are their encoded keys. Order is checked (kInternal).
  virtual Status Write(const std::shared_ptr<arrow::RecordBatch>& rows,
                       const arrow::BinaryArray& keys) = 0;
  virtual int64_t rows() const = 0;
  /// Bytes handed to the store so far plus an estimate of what is buffered.
  virtual int64_t bytes_estimate() const = 0;
  /// Durable on return. A file without rows is an error (kInvalidArgument).
  virtual Result<DataFile> Finish() = 0;
};

}  // namespace lamina::storage::sst
