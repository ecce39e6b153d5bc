// The public Transaction over an engine snapshot, a write batch, (for reading own writes) a private
// memtable, and (once it changes tables) a catalogue of its own.
//
// The batch is always written as the catalogue says: a change of a table with staged writes makes a
// new batch of the old one. Savepoints keep the batch and the catalogue they were made in.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "db/read_internal.h"
#include "db/session.h"

namespace lamina::db {

class TransactionImpl final : public Session {
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
  Status CreateTable(const std::string& name, const std::shared_ptr<arrow::Schema>& schema,
                     const KeyDeclaration& key, const TableOptions& options) override;
  Status DropTable(const std::string& name) override;
  Status RenameTable(const std::string& name, const std::string& to) override;
  Status AddColumn(const std::string& table, const std::shared_ptr<arrow::Field>& field,
                   const std::shared_ptr<arrow::Scalar>& initial) override;
  Status DropColumn(const std::string& table, const std::string& column) override;
  Status RenameColumn(const std::string& table, const std::string& column,
                      const std::string& to) override;
  Status WidenColumn(const std::string& table, const std::string& column,
                     const std::shared_ptr<arrow::DataType>& type) override;
  Result<TableInfo> GetTable(const std::string& name) const override;
  std::vector<TableInfo> ListTables() const override;
  Status Savepoint(const std::string& name) override;
  Status RollbackTo(const std::string& name) override;
  Status Release(const std::string& name) override;
  uint64_t pending_facts() const override;
  Result<CommitResult> Commit() override;
  void Abort() override;

  catalog::TableSchemaPtr FindTable(const std::string& name) const override;
  std::vector<catalog::TableSchemaPtr> Tables() const override;
  Status Replace(catalog::TableSchemaPtr next) override;
  Status SetNotNull(const std::string& table, const std::string& column) override;
  void WriteAs(std::string layer) override { layer_ = std::move(layer); }
  Result<int64_t> Append(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
                         const WriteOptions& options) override;
  Result<std::shared_ptr<arrow::RecordBatch>> GetEncoded(
      const std::string& table, std::string_view key, SystemPeriod system, ValidPeriod valid,
      const std::optional<std::vector<std::string>>& columns) override;
  Status NoteRead(catalog::TableId table, const catalog::KeyRange& keys) override;
  Status NoteConstraint(const std::string& table, const catalog::KeyRange& keys) override;
  Result<SplitScan> ScanSplit(const std::string& table, const ScanOptions& options) override;
  Result<uint64_t> FactsInMemory(catalog::TableId table) override;
  std::vector<storage::DataFilePtr> FilesOf(catalog::TableId table) const override;
  Result<std::unique_ptr<TableLoad>> BeginLoad(const std::string& table,
                                               LoadOptions options) override;
  Result<SystemTime> TimeOf(CommitId commit) const override;
  Result<CommitId> CommitAt(SystemTime time) const override;
  uint64_t definition_changes() const override { return definition_changes_; }

 private:
  using CatalogPtr = std::shared_ptr<const catalog::Catalog>;
  struct Mark {
    std::string name;
    std::shared_ptr<engine::WriteBatch> batch;
    engine::WriteBatch::Mark at;
    CatalogPtr catalog;
    size_t loads;
  };

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
  std::vector<Mark>::iterator FindSavepoint(const std::string& name);

  /// The table as this transaction sees it; kNotFound.
  Result<catalog::TableSchemaPtr> Table(const std::string& name) const {
    return db::FindTable(*catalog_, name);
  }
  /// The same for a write; kUnsupported (being loaded, or written by another layer).
  Result<catalog::TableSchemaPtr> WritableTable(const std::string& name) const;
  Result<int64_t> ReserveRowIds(const catalog::TableSchema& table, int64_t count);
  /// Takes the finished load, none of whose keys is in the table.
  Status TakeLoad(const std::shared_ptr<engine::BulkLoad>& load, bool keys_are_new);
  Status CheckNameFree(const std::string& name, catalog::TableId except) const;
  Status Alter(
      const std::string& table,
      const std::function<Result<catalog::TableSchemaPtr>(const catalog::TableSchema&)>& change);
  /// Takes `catalog` for the transaction's own, with the staged writes of `table` written under its
  /// definition there, or forgotten where there is none. All or nothing.
  Status Change(CatalogPtr catalog, catalog::TableId table);
  /// What a commit has to change of the snapshot's definitions.
  engine::DefinitionChanges Changes() const;

  engine::Engine* const engine_;
  const TransactionOptions options_;
  std::string layer_;  ///< Empty: the public interface.
  engine::SnapshotPtr snapshot_;
  SnapshotPtr public_snapshot_;
  CatalogPtr catalog_;  ///< The snapshot's, until a table is changed.
  uint64_t definition_changes_ = 0;
  std::map<catalog::TableId, int64_t> next_row_id_;  ///< Of tables that were created here.
  std::shared_ptr<engine::WriteBatch> batch_ = std::make_shared<engine::WriteBatch>();
  // Reading own writes: facts staged so far. Scans hold it, so a rollback makes a new one instead
  // of changing it.
  std::shared_ptr<engine::Memtable> own_;
  engine::WriteBatch
      unapplied_;  ///< Staged since own_ was brought up to date; empty while own_ is null.
  std::vector<catalog::TableId> loading_;  ///< A load has begun; one entry each.
  std::vector<std::shared_ptr<engine::BulkLoad>> loads_;
  engine::ReadSet reads_;
  std::vector<Mark> savepoints_;
  bool open_ = true;
};

}  // namespace lamina::db
