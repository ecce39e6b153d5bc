// LaminaDB: start here. A bitemporal database inside your program; docs/guide/cpp.md is the tour.
//
//   ARROW_ASSIGN_OR_RAISE(auto db, lamina::Database::Open("prices.lamina"));
//   ARROW_RETURN_NOT_OK(db->CreateTable("prices", schema, {.names = {"sku"}}));
//   ARROW_RETURN_NOT_OK(db->Put("prices", batch).status());
//   ARROW_ASSIGN_OR_RAISE(
//       auto reader, db->Scan("prices", {.system = SystemPeriod::AsOf(yesterday)}));
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/record_batch.h>
#include <arrow/scalar.h>

#include "lamina/error.h"
#include "lamina/metrics.h"
#include "lamina/object_store.h"
#include "lamina/options.h"
#include "lamina/scan.h"
#include "lamina/schema.h"
#include "lamina/snapshot.h"
#include "lamina/transaction.h"

namespace lamina {

struct VersionInfo {
  uint64_t number = 0;  ///< Of the manifest.
  CommitId commit;      ///< Newest commit in its files: pass to SystemPeriod::AsOf.
  SystemTime system_time;
  int64_t created_micros = 0;
  uint64_t files = 0, rows = 0, bytes = 0;
  std::string reason;
};

struct CheckpointInfo {
  std::string name;
  CommitId commit;
  SystemTime system_time;
  int64_t created_micros = 0;
};

struct GcResult {
  std::vector<std::string> deleted;  ///< Or, in a dry run, what would be deleted.
  uint64_t bytes = 0;
  std::vector<std::string> kept;  ///< Out of use, but pinned or within the grace: path and reason.
  std::vector<std::string> wal_segments;
};

/// What opening found.
struct RecoveryInfo {
  bool created = false;
  uint64_t wal_segments = 0, wal_frames = 0, wal_bytes = 0, replayed_commits = 0,
           skipped_commits = 0;
  uint64_t torn_bytes = 0;  ///< An unfinished last write that was cut off.
  std::string torn_at;
  std::vector<std::string> left_out;  ///< Salvage only.
  int64_t nanos = 0;
};

/// An open database. Thread-safe. Closing or destroying it ends background work; transactions,
/// scans and snapshots must be gone before. Without memory a call says kResourceExhausted, and
/// nothing happened; those that return neither Status nor Result throw std::bad_alloc.
class Database {
 public:
  /// Opens or creates the database in a directory. Errors: kUnavailable (open elsewhere; names the
  /// process), kNotFound (absent and !create_if_missing), kInvalidArgument (an option; a directory
  /// that holds something else), kPermissionDenied, kResourceExhausted (disk full), kCorruption
  /// (file and offset), kUnsupported (written by a newer LaminaDB).
  static Result<std::unique_ptr<Database>> Open(const std::string& directory,
                                                DatabaseOptions options = {});
  /// Volatile: gone with the handle.
  static Result<std::unique_ptr<Database>> OpenInMemory(DatabaseOptions options = {});
  /// On a store of your own.
  static Result<std::unique_ptr<Database>> Open(std::shared_ptr<ObjectStore> store,
                                                DatabaseOptions options = {});

  virtual ~Database() = default;
  /// Flushes nothing, syncs the log, ends background work, lets the lock go. Called by the
  /// destructor; call it to see errors.
  virtual Status Close() = 0;

  // Tables.
  /// kAlreadyExists when the name is taken.
  virtual Status CreateTable(const std::string& name, const std::shared_ptr<arrow::Schema>& schema,
                             const KeyDeclaration& key = {}, const TableOptions& options = {}) = 0;
  /// Creates it, or checks that the one that exists is declared the same (kInvalidArgument names
  /// the first difference).
  virtual Status EnsureTable(const std::string& name, const std::shared_ptr<arrow::Schema>& schema,
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
  /// Safe widening only (int32 to int64, float to double, …); never of a key column.
  virtual Status WidenColumn(const std::string& table, const std::string& column,
                             const std::shared_ptr<arrow::DataType>& type) = 0;
  virtual Result<TableInfo> GetTable(const std::string& name) const = 0;
  virtual std::vector<TableInfo> ListTables() const = 0;

  // Transactions.
  virtual Result<std::unique_ptr<Transaction>> Begin(TransactionOptions options = {}) = 0;
  /// Runs `body` and commits; on kConflict starts again, up to `attempts` times.
  virtual Result<CommitResult> Run(const std::function<Status(Transaction&)>& body,
                                   TransactionOptions options = {}, int attempts = 16) = 0;

  // Single writes: a transaction each, without conflict checks (the write is laid over whatever is
  // there).
  virtual Result<CommitResult> Put(const std::string& table,
                                   const std::shared_ptr<arrow::RecordBatch>& rows,
                                   const WriteOptions& options = {}) = 0;
  virtual Result<CommitResult> Delete(const std::string& table,
                                      const std::shared_ptr<arrow::RecordBatch>& keys,
                                      const WriteOptions& options = {}) = 0;
  /// Key-value documents: any bytes under any bytes.
  virtual Result<CommitResult> PutDocument(std::string_view key, std::string_view document,
                                           ValidInterval valid = {}) = 0;
  virtual Result<CommitResult> DeleteDocument(std::string_view key, ValidInterval valid = {}) = 0;

  // Reads of the newest state, or of any other moment.
  virtual Result<std::optional<std::string>> GetDocument(std::string_view key,
                                                         SystemPeriod as_of = {},
                                                         ValidPeriod valid_at = {}) const = 0;
  /// Fast form: replaces `*document`. False when there is none.
  virtual Result<bool> GetDocument(std::string_view key, std::string* document) const = 0;
  virtual Result<std::shared_ptr<ScanReader>> ScanPrefix(
      std::string_view prefix, SystemPeriod as_of = {}, ValidPeriod valid_at = {},
      std::optional<int64_t> limit = std::nullopt) const = 0;
  /// Every version of one document that meets the two periods: doc, _valid_from, _valid_to,
  /// _system_from, _system_to, _commit.
  virtual Result<std::shared_ptr<arrow::RecordBatch>> DocumentVersions(
      std::string_view key, SystemPeriod system = SystemPeriod::All(),
      ValidPeriod valid = ValidPeriod::All()) const = 0;
  /// All versions of the key that meet the two periods (moments give 0 or 1 row), as the table's
  /// columns or `columns`. The key of a table without one is the hidden column _rowid, as a scan
  /// returns it.
  virtual Result<std::shared_ptr<arrow::RecordBatch>> Get(
      const std::string& table, const Key& key, SystemPeriod system = {}, ValidPeriod valid = {},
      const std::optional<std::vector<std::string>>& columns = std::nullopt) const = 0;
  virtual Result<std::shared_ptr<ScanReader>> Scan(const std::string& table,
                                                   const ScanOptions& options = {}) const = 0;

  // Moments.
  // Reads through a snapshot of another database, or none, are kInvalidArgument.
  /// The newest state, held fixed. Reads at it: the overloads below.
  virtual SnapshotPtr GetSnapshot() const = 0;
  /// A snapshot whose newest commit is the one given, or the newest at that time. It shows what one
  /// taken then would show: rows that ended later are open in it.
  virtual Result<SnapshotPtr> SnapshotAt(SystemPeriod moment) const = 0;
  virtual Result<std::shared_ptr<ScanReader>> Scan(const SnapshotPtr& snapshot,
                                                   const std::string& table,
                                                   const ScanOptions& options = {}) const = 0;
  virtual Result<std::shared_ptr<arrow::RecordBatch>> Get(
      const SnapshotPtr& snapshot, const std::string& table, const Key& key,
      SystemPeriod system = {}, ValidPeriod valid = {},
      const std::optional<std::vector<std::string>>& columns = std::nullopt) const = 0;
  virtual Result<std::optional<std::string>> GetDocument(const SnapshotPtr& snapshot,
                                                         std::string_view key,
                                                         SystemPeriod as_of = {},
                                                         ValidPeriod valid_at = {}) const = 0;
  virtual CommitId newest_commit() const = 0;
  /// Takes the next commit number (in other databases: the epoch) and a time without writing
  /// anything: a mark to read at, between what came before and what comes after.
  virtual Result<CommitResult> AdvanceCommit() = 0;
  virtual Result<SystemTime> TimeOf(CommitId commit) const = 0;
  virtual Result<CommitId> CommitAt(SystemTime time) const = 0;
  /// Newest first; 0 = all that are remembered (the last 256).
  virtual std::vector<VersionInfo> ListVersions(size_t limit = 0) const = 0;
  /// A name for the newest commit; history above it cannot be trimmed.
  virtual Result<CheckpointInfo> CreateCheckpoint(const std::string& name) = 0;
  virtual Status DropCheckpoint(const std::string& name) = 0;
  virtual Result<CheckpointInfo> GetCheckpoint(const std::string& name) const = 0;
  virtual std::vector<CheckpointInfo> ListCheckpoints() const = 0;

  // Care.
  virtual Status Flush() = 0;
  virtual Status Sync() = 0;
  virtual Status Compact(const std::optional<std::string>& table = std::nullopt) = 0;
  virtual Status WaitForBackground() = 0;
  virtual Result<GcResult> CollectGarbage(bool dry_run = false,
                                          std::optional<int64_t> grace_micros = std::nullopt) = 0;
  /// Row versions that ended before `floor` may go; reads below it are refused from now on
  /// (kHistoryTrimmed). Cannot be lowered.
  virtual Status TrimHistory(const std::string& table, SystemTime floor) = 0;
  /// Removes every trace of a key, past and present, from memory, log and files.
  virtual Status EraseKey(const std::string& table, const Key& key) = 0;
  virtual Status EraseDocument(std::string_view key) = 0;
  /// When the active memtable is sealed, from now on (0 = never for that reason).
  virtual void SetSealThresholds(int64_t bytes, int64_t rows, int64_t age_micros,
                                 int64_t batches) = 0;

  virtual DatabaseMetrics metrics() const = 0;
  virtual const RecoveryInfo& recovery() const = 0;
  /// Verifies every checksum, bound and invariant at rest, and that no two row versions of a key
  /// share a moment of both times. Reads everything twice. One line a finding; empty = all is well.
  virtual Result<std::vector<std::string>> Check(
      const std::function<void(uint64_t done, uint64_t total)>& progress = nullptr) = 0;
};

}  // namespace lamina
