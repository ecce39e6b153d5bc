// Collects row versions from memtables and files, in key order, and writes them to data files cut
// by size.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <arrow/record_batch.h>

#include "engine/maintenance.h"
#include "storage/sst/file_writer.h"
#include "storage/sst/row_batch.h"

namespace lamina::engine {

/// An Arrow array of `type` (int64 or timestamp) that takes the values over.
std::shared_ptr<arrow::Array> MakeInt64Like(std::vector<int64_t> values,
                                            const std::shared_ptr<arrow::DataType>& type);

/// Appends _valid_from … _commit to storage columns: a row batch (sst/row_batch.h). All vectors
/// have `columns`' length.
struct TimeVectors {
  std::vector<int64_t> valid_from, valid_to, system_from, system_to, commit;
  void Reserve(size_t n);
  void Add(const temporal::RowVersion& row);
  size_t size() const { return commit.size(); }
};
Result<std::shared_ptr<arrow::RecordBatch>> MakeRowBatch(const catalog::TableSchema& table,
                                                         const arrow::RecordBatch& storage_columns,
                                                         TimeVectors times);

/// "(1, 'a')": an encoded key, for messages.
std::string KeyText(const catalog::TableSchema& table, std::string_view key);

/// Options of a new file of the table at the level.
storage::sst::WriterOptions FileOptions(const EngineOptions& options,
                                        const catalog::TableSchema& table, storage::FileKind kind,
                                        uint8_t level, bool valid_columns, bool last_level);

/// A sequence of data files of one table, kind and level: a new one begins when the last is full
/// and the key changes.
class FileSequence {
 public:
  FileSequence(const JobContext& context, catalog::TableSchemaPtr table,
               storage::sst::WriterOptions options, std::vector<std::string>* written);

  /// Rows in order after everything before. `keys` parallel. Says where they went: file index and
  /// first ordinal, for each stretch.
  struct Placement {
    uint32_t file = 0;
    uint64_t first_ordinal = 0;
    int64_t rows = 0;
  };
  Status Write(const std::shared_ptr<arrow::RecordBatch>& rows,
               const std::shared_ptr<arrow::BinaryArray>& keys, std::vector<Placement>* placements);
  /// Ends the last file. Then `files()` is complete.
  Status Finish();
  const std::vector<storage::DataFile>& files() const { return files_; }
  uint64_t rows() const { return rows_; }

 private:
  Status Begin();
  Status End();

  const JobContext& context_;
  catalog::TableSchemaPtr table_;
  storage::sst::WriterOptions options_;
  std::vector<std::string>* written_;
  std::unique_ptr<storage::sst::FileWriter> writer_;
  std::string last_key_;
  std::vector<storage::DataFile> files_;
  uint64_t rows_ = 0;
};

}  // namespace lamina::engine
