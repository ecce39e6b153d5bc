// The public Transaction over an engine snapshot, a write batch and (for reading own writes) a
// private memtable.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "db/read_internal.h"

namespace lamina::db {

class TransactionImpl final : public Transaction {
 public:
  TransactionImpl(engine::Engine* engine, TransactionOptions options, engine::SnapshotPtr snapshot);
  ~TransactionImpl() override;

  const SnapshotPtr& snapshot() const override { return public_snapshot_; }
  Status Put(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
             const WriteOptions& options) override;
  Status Insert(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
                const WriteOptions& options) override;
  Status Delete(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& keys,
                const WriteOptions& options) override;
  Status PutDocument(std::string_view key, std::string_view document, ValidInterval valid) override;
  Status DeleteDocument(std::string_view key, ValidInterval valid) override;
  Result<std::optional<std::string>> GetDocument(std::string_view key, SystemPeriod as_of,
                                                 ValidPeriod valid_at) override;
  Result<std::shared_ptr<arrow::RecordBatch>> Get(
      const std::string& table, const Key& key, SystemPeriod system, ValidPeriod valid,
      const std::optional<std::vector<std::string>>& columns) override;
  Result<std::shared_ptr<ScanReader>> Scan(const std::string& table,
                                           const ScanOptions& options) override;
  Result<std::shared_ptr<ScanReader>> ScanPrefix(std::string_view prefix, SystemPeriod as_of,
                                                 ValidPeriod valid_at,
                                                 std::optional<int64_t> limit) override;
  Status Savepoint(const std::string& name) override;
  Status RollbackTo(const std::string& name) override;
  Status Release(const std::string& name) override;
  uint64_t pending_facts() const override { return batch_.fact_count(); }
  Result<CommitResult> Commit() override;
  void Abort() override;

 private:
  Status CheckOpen() const;
  /// Brings the private memtable up to date with the batch and describes this transaction's reads.
  Result<ReadContext> Context();
  /// Stages all or nothing, also when memory runs out.
  Status Stage(engine::TableWrite write);
  Status StageDocument(temporal::FactKind kind, std::string_view key, std::string_view document,
                       const ValidInterval& valid);
  template <typename Add>
  Status StageIn(Add&& add);
  void NoteKey(catalog::TableId table, std::string_view key, const ReadContext& context,
               const temporal::Window& window);
  void NoteRange(catalog::TableId table, const catalog::KeyRange& range, const ReadContext& context,
                 const temporal::Window& window);
  std::vector<std::pair<std::string, engine::WriteBatch::Mark>>::iterator FindSavepoint(
      const std::string& name);

  engine::Engine* const engine_;
  const TransactionOptions options_;
  engine::SnapshotPtr snapshot_;
  SnapshotPtr public_snapshot_;
  engine::WriteBatch batch_;
  // Reading own writes: facts staged so far. Scans hold it, so a rollback makes a new one instead
  // of changing it.
  std::shared_ptr<engine::Memtable> own_;
  engine::WriteBatch
      unapplied_;  ///< Staged since own_ was brought up to date; empty while own_ is null.
  engine::ReadSet reads_;
  std::vector<std::pair<std::string, engine::WriteBatch::Mark>> savepoints_;
  bool open_ = true;
};

}  // namespace lamina::db
