// The public interface as its caller sees it when memory runs out: a call that returns Status or
// Result says kResourceExhausted instead of letting std::bad_alloc pass. Calls that return neither
// (lists, metrics, GetSnapshot) do let it pass; they change nothing.
//
// What the caller gets handed in, the bodies of Run and the progress of Check, may throw what it
// likes: std::bad_alloc becomes an error as well, everything else passes through.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/out_of_memory.h"
#include "db/session.h"
#include "lamina/database.h"

namespace lamina::db {

/// What BeginSession and DefinitionsChangedAt look for behind a Database.
class SessionSource {
 public:
  virtual ~SessionSource() = default;
  virtual Result<std::unique_ptr<Session>> BeginSession(TransactionOptions options) = 0;
  virtual CommitId definitions_changed_at() const = 0;
};

template <typename Impl>
class GuardedTransaction final : public Session {
 public:
  template <typename... Args>
  explicit GuardedTransaction(Args&&... args) : impl_(std::forward<Args>(args)...) {}

  const SnapshotPtr& snapshot() const override { return impl_.snapshot(); }
  Status Put(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
             const WriteOptions& options) override {
    return base::Guarded([&] { return impl_.Put(table, rows, options); });
  }
  Status Insert(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
                const WriteOptions& options) override {
    return base::Guarded([&] { return impl_.Insert(table, rows, options); });
  }
  Status Delete(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& keys,
                const WriteOptions& options) override {
    return base::Guarded([&] { return impl_.Delete(table, keys, options); });
  }
  Status PutDocument(std::string_view key, std::string_view document,
                     ValidInterval valid) override {
    return base::Guarded([&] { return impl_.PutDocument(key, document, valid); });
  }
  Status DeleteDocument(std::string_view key, ValidInterval valid) override {
    return base::Guarded([&] { return impl_.DeleteDocument(key, valid); });
  }
  Result<std::optional<std::string>> GetDocument(std::string_view key, SystemPeriod as_of,
                                                 ValidPeriod valid_at) override {
    return base::Guarded([&] { return impl_.GetDocument(key, as_of, valid_at); });
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Get(
      const std::string& table, const Key& key, SystemPeriod system, ValidPeriod valid,
      const std::optional<std::vector<std::string>>& columns) override {
    return base::Guarded([&] { return impl_.Get(table, key, system, valid, columns); });
  }
  Result<std::shared_ptr<ScanReader>> Scan(const std::string& table,
                                           const ScanOptions& options) override {
    return base::Guarded([&] { return impl_.Scan(table, options); });
  }
  Result<std::shared_ptr<ScanReader>> ScanPrefix(std::string_view prefix, SystemPeriod as_of,
                                                 ValidPeriod valid_at,
                                                 std::optional<int64_t> limit) override {
    return base::Guarded([&] { return impl_.ScanPrefix(prefix, as_of, valid_at, limit); });
  }
  Status CreateTable(const std::string& name, const std::shared_ptr<arrow::Schema>& schema,
                     const KeyDeclaration& key, const TableOptions& options) override {
    return base::Guarded([&] { return impl_.CreateTable(name, schema, key, options); });
  }
  Status DropTable(const std::string& name) override {
    return base::Guarded([&] { return impl_.DropTable(name); });
  }
  Status RenameTable(const std::string& name, const std::string& to) override {
    return base::Guarded([&] { return impl_.RenameTable(name, to); });
  }
  Status AddColumn(const std::string& table, const std::shared_ptr<arrow::Field>& field,
                   const std::shared_ptr<arrow::Scalar>& initial) override {
    return base::Guarded([&] { return impl_.AddColumn(table, field, initial); });
  }
  Status DropColumn(const std::string& table, const std::string& column) override {
    return base::Guarded([&] { return impl_.DropColumn(table, column); });
  }
  Status RenameColumn(const std::string& table, const std::string& column,
                      const std::string& to) override {
    return base::Guarded([&] { return impl_.RenameColumn(table, column, to); });
  }
  Status WidenColumn(const std::string& table, const std::string& column,
                     const std::shared_ptr<arrow::DataType>& type) override {
    return base::Guarded([&] { return impl_.WidenColumn(table, column, type); });
  }
  Result<TableInfo> GetTable(const std::string& name) const override {
    return base::Guarded([&] { return impl_.GetTable(name); });
  }
  std::vector<TableInfo> ListTables() const override { return impl_.ListTables(); }
  Status Savepoint(const std::string& name) override {
    return base::Guarded([&] { return impl_.Savepoint(name); });
  }
  Status RollbackTo(const std::string& name) override {
    return base::Guarded([&] { return impl_.RollbackTo(name); });
  }
  Status Release(const std::string& name) override {
    return base::Guarded([&] { return impl_.Release(name); });
  }
  uint64_t pending_facts() const override { return impl_.pending_facts(); }
  Result<CommitResult> Commit() override {
    return base::Guarded([&] { return impl_.Commit(); });
  }
  void Abort() override { impl_.Abort(); }
  catalog::TableSchemaPtr FindTable(const std::string& name) const override {
    return impl_.FindTable(name);
  }
  std::vector<catalog::TableSchemaPtr> Tables() const override { return impl_.Tables(); }
  Status Replace(catalog::TableSchemaPtr next) override {
    return base::Guarded([&] { return impl_.Replace(std::move(next)); });
  }
  void WriteAs(std::string layer) override { impl_.WriteAs(std::move(layer)); }
  Result<int64_t> Append(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
                         const WriteOptions& options) override {
    return base::Guarded([&] { return impl_.Append(table, rows, options); });
  }
  Result<std::shared_ptr<arrow::RecordBatch>> GetEncoded(
      const std::string& table, std::string_view key, SystemPeriod system, ValidPeriod valid,
      const std::optional<std::vector<std::string>>& columns) override {
    return base::Guarded([&] { return impl_.GetEncoded(table, key, system, valid, columns); });
  }
  Status SetNotNull(const std::string& table, const std::string& column) override {
    return base::Guarded([&] { return impl_.SetNotNull(table, column); });
  }
  Status NoteRead(catalog::TableId table, const catalog::KeyRange& keys) override {
    return base::Guarded([&] { return impl_.NoteRead(table, keys); });
  }
  Status NoteConstraint(const std::string& table, const catalog::KeyRange& keys) override {
    return base::Guarded([&] { return impl_.NoteConstraint(table, keys); });
  }
  Result<SplitScan> ScanSplit(const std::string& table, const ScanOptions& options) override {
    return base::Guarded([&] { return impl_.ScanSplit(table, options); });
  }
  Result<uint64_t> FactsInMemory(catalog::TableId table) override {
    return base::Guarded([&] { return impl_.FactsInMemory(table); });
  }
  std::vector<storage::DataFilePtr> FilesOf(catalog::TableId table) const override {
    return impl_.FilesOf(table);
  }
  Result<std::unique_ptr<TableLoad>> BeginLoad(const std::string& table,
                                               LoadOptions options) override {
    return base::Guarded([&] { return impl_.BeginLoad(table, std::move(options)); });
  }
  Result<SystemTime> TimeOf(CommitId commit) const override {
    return base::Guarded([&] { return impl_.TimeOf(commit); });
  }
  Result<CommitId> CommitAt(SystemTime time) const override {
    return base::Guarded([&] { return impl_.CommitAt(time); });
  }
  uint64_t definition_changes() const override { return impl_.definition_changes(); }

 private:
  Impl impl_;
};

template <typename Impl>
class GuardedDatabase final : public Database, public SessionSource {
 public:
  template <typename... Args>
  explicit GuardedDatabase(Args&&... args) : impl_(std::forward<Args>(args)...) {}

  Status Close() override {
    return base::Guarded([&] { return impl_.Close(); });
  }

  Status CreateTable(const std::string& name, const std::shared_ptr<arrow::Schema>& schema,
                     const KeyDeclaration& key, const TableOptions& options) override {
    return base::Guarded([&] { return impl_.CreateTable(name, schema, key, options); });
  }
  Status EnsureTable(const std::string& name, const std::shared_ptr<arrow::Schema>& schema,
                     const KeyDeclaration& key, const TableOptions& options) override {
    return base::Guarded([&] { return impl_.EnsureTable(name, schema, key, options); });
  }
  Status DropTable(const std::string& name) override {
    return base::Guarded([&] { return impl_.DropTable(name); });
  }
  Status RenameTable(const std::string& name, const std::string& to) override {
    return base::Guarded([&] { return impl_.RenameTable(name, to); });
  }
  Status AddColumn(const std::string& table, const std::shared_ptr<arrow::Field>& field,
                   const std::shared_ptr<arrow::Scalar>& initial) override {
    return base::Guarded([&] { return impl_.AddColumn(table, field, initial); });
  }
  Status DropColumn(const std::string& table, const std::string& column) override {
    return base::Guarded([&] { return impl_.DropColumn(table, column); });
  }
  Status RenameColumn(const std::string& table, const std::string& column,
                      const std::string& to) override {
    return base::Guarded([&] { return impl_.RenameColumn(table, column, to); });
  }
  Status WidenColumn(const std::string& table, const std::string& column,
                     const std::shared_ptr<arrow::DataType>& type) override {
    return base::Guarded([&] { return impl_.WidenColumn(table, column, type); });
  }
  Result<TableInfo> GetTable(const std::string& name) const override {
    return base::Guarded([&] { return impl_.GetTable(name); });
  }
  std::vector<TableInfo> ListTables() const override { return impl_.ListTables(); }

  Result<std::unique_ptr<Transaction>> Begin(TransactionOptions options) override {
    return base::Guarded([&] { return impl_.Begin(std::move(options)); });
  }
  Result<std::unique_ptr<Session>> BeginSession(TransactionOptions options) override {
    return base::Guarded([&] { return impl_.BeginSession(std::move(options)); });
  }
  CommitId definitions_changed_at() const override { return impl_.definitions_changed_at(); }
  Result<CommitResult> Run(const std::function<Status(Transaction&)>& body,
                           TransactionOptions options, int attempts) override {
    return base::Guarded([&] { return impl_.Run(body, std::move(options), attempts); });
  }

  Result<CommitResult> Put(const std::string& table,
                           const std::shared_ptr<arrow::RecordBatch>& rows,
                           const WriteOptions& options) override {
    return base::Guarded([&] { return impl_.Put(table, rows, options); });
  }
  Result<CommitResult> Delete(const std::string& table,
                              const std::shared_ptr<arrow::RecordBatch>& keys,
                              const WriteOptions& options) override {
    return base::Guarded([&] { return impl_.Delete(table, keys, options); });
  }
  Result<CommitResult> PutDocument(std::string_view key, std::string_view document,
                                   ValidInterval valid) override {
    return base::Guarded([&] { return impl_.PutDocument(key, document, valid); });
  }
  Result<CommitResult> DeleteDocument(std::string_view key, ValidInterval valid) override {
    return base::Guarded([&] { return impl_.DeleteDocument(key, valid); });
  }

  Result<std::optional<std::string>> GetDocument(std::string_view key, SystemPeriod as_of,
                                                 ValidPeriod valid_at) const override {
    return base::Guarded([&] { return impl_.GetDocument(key, as_of, valid_at); });
  }
  Result<bool> GetDocument(std::string_view key, std::string* document) const override {
    return base::Guarded([&] { return impl_.GetDocument(key, document); });
  }
  Result<std::shared_ptr<ScanReader>> ScanPrefix(std::string_view prefix, SystemPeriod as_of,
                                                 ValidPeriod valid_at,
                                                 std::optional<int64_t> limit) const override {
    return base::Guarded([&] { return impl_.ScanPrefix(prefix, as_of, valid_at, limit); });
  }
  Result<std::shared_ptr<arrow::RecordBatch>> DocumentVersions(std::string_view key,
                                                               SystemPeriod system,
                                                               ValidPeriod valid) const override {
    return base::Guarded([&] { return impl_.DocumentVersions(key, system, valid); });
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Get(
      const std::string& table, const Key& key, SystemPeriod system, ValidPeriod valid,
      const std::optional<std::vector<std::string>>& columns) const override {
    return base::Guarded([&] { return impl_.Get(table, key, system, valid, columns); });
  }
  Result<std::shared_ptr<ScanReader>> Scan(const std::string& table,
                                           const ScanOptions& options) const override {
    return base::Guarded([&] { return impl_.Scan(table, options); });
  }

  SnapshotPtr GetSnapshot() const override { return impl_.GetSnapshot(); }
  Result<SnapshotPtr> SnapshotAt(SystemPeriod moment) const override {
    return base::Guarded([&] { return impl_.SnapshotAt(moment); });
  }
  Result<std::shared_ptr<ScanReader>> Scan(const SnapshotPtr& snapshot, const std::string& table,
                                           const ScanOptions& options) const override {
    return base::Guarded([&] { return impl_.Scan(snapshot, table, options); });
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Get(
      const SnapshotPtr& snapshot, const std::string& table, const Key& key, SystemPeriod system,
      ValidPeriod valid, const std::optional<std::vector<std::string>>& columns) const override {
    return base::Guarded([&] { return impl_.Get(snapshot, table, key, system, valid, columns); });
  }
  Result<std::optional<std::string>> GetDocument(const SnapshotPtr& snapshot, std::string_view key,
                                                 SystemPeriod as_of,
                                                 ValidPeriod valid_at) const override {
    return base::Guarded([&] { return impl_.GetDocument(snapshot, key, as_of, valid_at); });
  }
  CommitId newest_commit() const override { return impl_.newest_commit(); }
  Result<CommitResult> AdvanceCommit() override {
    return base::Guarded([&] { return impl_.AdvanceCommit(); });
  }
  Result<SystemTime> TimeOf(CommitId commit) const override {
    return base::Guarded([&] { return impl_.TimeOf(commit); });
  }
  Result<CommitId> CommitAt(SystemTime time) const override {
    return base::Guarded([&] { return impl_.CommitAt(time); });
  }
  std::vector<VersionInfo> ListVersions(size_t limit) const override {
    return impl_.ListVersions(limit);
  }
  Result<CheckpointInfo> CreateCheckpoint(const std::string& name) override {
    return base::Guarded([&] { return impl_.CreateCheckpoint(name); });
  }
  Status DropCheckpoint(const std::string& name) override {
    return base::Guarded([&] { return impl_.DropCheckpoint(name); });
  }
  Result<CheckpointInfo> GetCheckpoint(const std::string& name) const override {
    return base::Guarded([&] { return impl_.GetCheckpoint(name); });
  }
  std::vector<CheckpointInfo> ListCheckpoints() const override { return impl_.ListCheckpoints(); }

  Status Flush() override {
    return base::Guarded([&] { return impl_.Flush(); });
  }
  Status Sync() override {
    return base::Guarded([&] { return impl_.Sync(); });
  }
  Status Compact(const std::optional<std::string>& table) override {
    return base::Guarded([&] { return impl_.Compact(table); });
  }
  Status WaitForBackground() override {
    return base::Guarded([&] { return impl_.WaitForBackground(); });
  }
  Result<GcResult> CollectGarbage(bool dry_run, std::optional<int64_t> grace_micros) override {
    return base::Guarded([&] { return impl_.CollectGarbage(dry_run, grace_micros); });
  }
  Status TrimHistory(const std::string& table, SystemTime floor) override {
    return base::Guarded([&] { return impl_.TrimHistory(table, floor); });
  }
  Status EraseKey(const std::string& table, const Key& key) override {
    return base::Guarded([&] { return impl_.EraseKey(table, key); });
  }
  Status EraseDocument(std::string_view key) override {
    return base::Guarded([&] { return impl_.EraseDocument(key); });
  }
  void SetSealThresholds(int64_t bytes, int64_t rows, int64_t age_micros,
                         int64_t batches) override {
    impl_.SetSealThresholds(bytes, rows, age_micros, batches);
  }

  DatabaseMetrics metrics() const override { return impl_.metrics(); }
  const RecoveryInfo& recovery() const override { return impl_.recovery(); }
  Result<std::vector<std::string>> Check(
      const std::function<void(uint64_t, uint64_t)>& progress) override {
    return base::Guarded([&] { return impl_.Check(progress); });
  }

 private:
  Impl impl_;
};

}  // namespace lamina::db
