// Several reads and writes over any tables, and changes of tables, that become visible together or
// not at all.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>

#include "lamina/options.h"
#include "lamina/scan.h"
#include "lamina/schema.h"
#include "lamina/snapshot.h"

namespace lamina {

enum class Isolation : uint8_t {
  kSerializable,  ///< What was written and what was read (keys and ranges) is checked at commit;
                  ///< first committer wins.
  kSnapshot,      ///< Only what was written is checked; write skew is possible.
};

struct TransactionOptions {
  Isolation isolation = Isolation::kSerializable;
  /// The commit's own system time, for replaying history: later than the newest commit, not in the
  /// future. Checked at Commit.
  std::optional<SystemTime> system_time = {};
  /// "Valid now" of the transaction's reads; default: its start.
  std::optional<ValidTime> valid_now = {};
  /// A commit with a key that was committed before does nothing and returns that commit's receipt.
  std::string idempotency_key = {};
  /// Waits for a sync whatever the database's policy.
  bool durable = false;
};

/// Valid time of the rows of one write. Default: all time.
struct WriteOptions {
  ValidInterval valid = {};  ///< For every row.
  /// Instead, per row: timestamp (any unit and zone) or int64 microseconds arrays, as long as the
  /// batch. A null is an open end.
  std::shared_ptr<arrow::Array> valid_from = {};
  std::shared_ptr<arrow::Array> valid_to = {};
  /// Rows marked true are deletes of their key (over the row's valid time): a mixed batch. As long
  /// as the batch, no nulls.
  std::shared_ptr<arrow::BooleanArray> deletes = {};
};

struct CommitResult {
  CommitId commit;  ///< 0 when there was nothing to commit.
  SystemTime system_time;
  AckClass ack = AckClass::kMemory;
  /// The idempotency key had been committed before; nothing was written now.
  bool replayed = false;
};

/// Reads see the transaction's snapshot and its own writes. Ends by Commit or Abort; destroying it
/// aborts. One thread at a time. After an error of a write the transaction is as before that call.
/// Errors of writes: kInvalidArgument (schema, null key, empty or reversed interval, key too long,
/// batch with 0 rows …), kNotFound (table).
class Transaction {
 public:
  virtual ~Transaction() = default;

  virtual const SnapshotPtr& snapshot() const = 0;

  /// Lays the rows over whatever was there for their keys, within their valid time only. `rows` has
  /// exactly the table's columns.
  virtual Status Put(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
                     const WriteOptions& options = {}) = 0;
  /// Like Put, but kAlreadyExists when a row of the same key overlaps in valid time (as SQL's
  /// INSERT).
  virtual Status Insert(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
                        const WriteOptions& options = {}) = 0;
  /// `keys` has the key columns (others are ignored); of a table without a key, the hidden column
  /// _rowid as a scan returns it. Deleting what is not there is fine.
  virtual Status Delete(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& keys,
                        const WriteOptions& options = {}) = 0;

  /// Documents: any bytes under any bytes. Empty keys are refused.
  virtual Status PutDocument(std::string_view key, std::string_view document,
                             ValidInterval valid = {}) = 0;
  virtual Status DeleteDocument(std::string_view key, ValidInterval valid = {}) = 0;
  virtual Result<std::optional<std::string>> GetDocument(std::string_view key,
                                                         SystemPeriod as_of = {},
                                                         ValidPeriod valid_at = {}) = 0;

  /// All versions of the key that meet the two periods (moments give 0 or 1 row), as the table's
  /// columns or `columns`. The key of a table without one is its _rowid.
  virtual Result<std::shared_ptr<arrow::RecordBatch>> Get(
      const std::string& table, const Key& key, SystemPeriod system = {}, ValidPeriod valid = {},
      const std::optional<std::vector<std::string>>& columns = std::nullopt) = 0;
  virtual Result<std::shared_ptr<ScanReader>> Scan(const std::string& table,
                                                   const ScanOptions& options = {}) = 0;
  /// Key and document (binary columns "key", "doc") of every key that starts with `prefix`.
  virtual Result<std::shared_ptr<ScanReader>> ScanPrefix(
      std::string_view prefix, SystemPeriod as_of = {}, ValidPeriod valid_at = {},
      std::optional<int64_t> limit = std::nullopt) = 0;

  // Changes of tables, as Database has them: seen at once by this transaction's reads and writes,
  // by everybody else with its commit. Rows that it wrote before are taken over into the changed
  // table. A commit with such a change flushes what is in memory, is durable whatever the policy,
  // and is a kConflict when any table was created, changed or dropped since the snapshot.
  /// kAlreadyExists when the name is taken.
  virtual Status CreateTable(const std::string& name, const std::shared_ptr<arrow::Schema>& schema,
                             const KeyDeclaration& key = {}, const TableOptions& options = {}) = 0;
  virtual Status DropTable(const std::string& name) = 0;
  virtual Status RenameTable(const std::string& name, const std::string& to) = 0;
  /// Rows that are there read as `initial`, of the field's type; null: as NULL, and then the field
  /// must be nullable.
  virtual Status AddColumn(const std::string& table, const std::shared_ptr<arrow::Field>& field,
                           const std::shared_ptr<arrow::Scalar>& initial = nullptr) = 0;
  virtual Status DropColumn(const std::string& table, const std::string& column) = 0;
  virtual Status RenameColumn(const std::string& table, const std::string& column,
                              const std::string& to) = 0;
  /// Safe widening only; never of a key column.
  virtual Status WidenColumn(const std::string& table, const std::string& column,
                             const std::shared_ptr<arrow::DataType>& type) = 0;
  /// As this transaction sees it; what it wrote is not at rest yet.
  virtual Result<TableInfo> GetTable(const std::string& name) const = 0;
  virtual std::vector<TableInfo> ListTables() const = 0;

  /// Marks a point to return to. A name may be used again: the newest one counts.
  virtual Status Savepoint(const std::string& name) = 0;
  /// Forgets the writes and changes of tables since; the savepoint stays. kNotFound.
  virtual Status RollbackTo(const std::string& name) = 0;
  virtual Status Release(const std::string& name) = 0;

  virtual uint64_t pending_facts() const = 0;

  /// kConflict: another commit came first; nothing was written, run the transaction again.
  /// kCommitUnknown, kStopped: see error.h.
  virtual Result<CommitResult> Commit() = 0;
  virtual void Abort() = 0;
};

}  // namespace lamina
