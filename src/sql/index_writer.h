// Writing the entries of one index.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <arrow/record_batch.h>

#include "catalog/index_codec.h"
#include "db/session.h"
#include "sql/dependents.h"

namespace lamina::sql {

/// Entries of the rows of one batch.
struct IndexEntries {
  std::shared_ptr<arrow::RecordBatch> values;  ///< The rows' indexed columns, for messages.
  std::vector<std::string> entries;
  std::vector<std::string> rows;  ///< Encoded keys.
  std::vector<bool> alone;        ///< Whether no other row may have the same values.

  size_t size() const { return entries.size(); }
};

/// The chosen rows of a write: of its valid times, too.
WriteOptions ForRows(const WriteOptions& options, const std::vector<int64_t>& rows);

/// For the time of a statement; borrows the session and the index.
class IndexWriter {
 public:
  IndexWriter(db::Session& session, const catalog::TableSchema& base, const IndexDefinition& index);

  const IndexDefinition& index() const { return index_; }
  /// `batch` has the indexed columns by name; `keys` are the encoded keys of its rows.
  Result<IndexEntries> Entries(const arrow::RecordBatch& batch,
                               const arrow::BinaryArray& keys) const;
  /// `options` has the valid times of all of them, `rows` chooses (null: all). T3002 when another
  /// row has these values then.
  Status Add(const IndexEntries& entries, const WriteOptions& options,
             const std::vector<int64_t>* rows = nullptr) const;
  Status Remove(const IndexEntries& entries, const WriteOptions& options,
                const std::vector<int64_t>* rows = nullptr) const;
  /// T3002 instead of the plain error of an entry that is there, of a load of the index's table.
  Status AsViolation(const Status& status) const;

 private:
  Status Violation(const IndexEntries& entries, const WriteOptions& options,
                   const std::vector<int64_t>& rows) const;
  Status Violation(const std::string& values) const;

  db::Session& session_;
  const std::string table_;
  const IndexDefinition& index_;
  const catalog::IndexCodec codec_;
};

/// As the table of an index has them.
Result<std::shared_ptr<arrow::RecordBatch>> ToBatch(const IndexEntries& entries,
                                                    const arrow::Schema& schema);

/// "a, b" and "1, x": the columns of a row and its values, for messages.
std::pair<std::string, std::string> Describe(const arrow::RecordBatch& values, int64_t row);

}  // namespace lamina::sql
