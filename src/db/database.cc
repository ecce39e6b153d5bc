#include "lamina/database.h"

#include <algorithm>
#include <limits>
#include <system_error>

#include <fmt/format.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/out_of_memory.h"
#include "catalog/system_tables.h"
#include "db/guarded_internal.h"
#include "db/open.h"
#include "db/read_internal.h"
#include "db/transaction_impl.h"
#include "db/write_internal.h"

namespace lamina {
namespace db {
namespace {

CommitResult ToPublic(const engine::CommitReceipt& r) {
  return {r.commit, r.system, r.ack, r.replayed};
}

CheckpointInfo ToPublic(storage::manifest::Checkpoint c) {
  return {std::move(c.name), c.commit, c.system, c.created_micros};
}

IoCounters ToPublic(const storage::sst::ReadCounters& c) {
  return {c.files_opened,    c.row_groups_read, c.row_groups_pruned, c.pages_read,
          c.pages_pruned,    c.page_cache_hits, c.bytes_read,        c.requests,
          c.bloom_negatives, c.rows_decoded};
}

class DatabaseImpl final : public Database {
 public:
  explicit DatabaseImpl(std::unique_ptr<engine::Engine> engine) : engine_(std::move(engine)) {
    const auto& r = engine_->recovery();
    recovery_ = {r.created,         r.wal_segments, r.wal_frames, r.wal_bytes, r.replayed_commits,
                 r.skipped_commits, r.torn_bytes,   r.torn_at,    r.left_out,  r.nanos};
  }
  ~DatabaseImpl() override {
    // A destructor has nobody to tell; Close() before it does.
    (void)Close();
  }

  Status Close() override { return engine_->Close(/*flush=*/false); }

  // ---- Tables ----

  Status CreateTable(const std::string& name, const std::shared_ptr<arrow::Schema>& schema,
                     const KeyDeclaration& key, const TableOptions& options) override {
    if (schema == nullptr) return MakeError(ErrorCode::kInvalidArgument, "schema is null");
    return engine_->CreateTable(name, schema, key, options).status();
  }

  Status EnsureTable(const std::string& name, const std::shared_ptr<arrow::Schema>& schema,
                     const KeyDeclaration& key, const TableOptions& options) override {
    if (schema == nullptr) return MakeError(ErrorCode::kInvalidArgument, "schema is null");
    auto status = engine_->version()->catalog.Find(name) != nullptr
                      ? MakeError(ErrorCode::kAlreadyExists, "exists")
                      : CreateTable(name, schema, key, options);
    if (status.ok() || CodeOf(status) != ErrorCode::kAlreadyExists) return status;
    const auto stored = engine_->version()->catalog.Find(name);
    if (stored == nullptr) return status;
    ARROW_RETURN_NOT_OK(catalog::CheckSameDefinition(*stored, *schema, key));
    // How rows are stored may differ; when they are valid may not.
    const auto period = [](const TableOptions& o) {
      return fmt::format("[{},{}]", o.period_from_column, o.period_to_column);
    };
    if (period(stored->options) != period(options)) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format("the valid period differs from the stored one: table={} stored={} given={}",
                      name, period(stored->options), period(options)));
    }
    return Status::OK();
  }

  Status DropTable(const std::string& name) override {
    ARROW_ASSIGN_OR_RAISE(const auto table, WritableTable(name));
    return engine_->DropTable(table->id);
  }
  Status RenameTable(const std::string& name, const std::string& to) override {
    ARROW_ASSIGN_OR_RAISE(const auto table, Table(name));
    if (to != name && engine_->version()->catalog.Find(to) != nullptr) {
      return MakeError(ErrorCode::kAlreadyExists, fmt::format("table exists: table={}", to));
    }
    return Alter(name, [&](const auto& t) { return catalog::RenameTable(t, to); });
  }
  Status AddColumn(const std::string& table, const std::shared_ptr<arrow::Field>& field,
                   const std::shared_ptr<arrow::Scalar>& initial) override {
    if (field == nullptr) return MakeError(ErrorCode::kInvalidArgument, "field is null");
    return Alter(table, [&](const auto& t) { return catalog::AddColumn(t, field, initial); });
  }
  Status DropColumn(const std::string& table, const std::string& column) override {
    return AlterRows(table, [&](const auto& t) { return catalog::DropColumn(t, column); });
  }
  Status RenameColumn(const std::string& table, const std::string& column,
                      const std::string& to) override {
    return AlterRows(table, [&](const auto& t) { return catalog::RenameColumn(t, column, to); });
  }
  Status WidenColumn(const std::string& table, const std::string& column,
                     const std::shared_ptr<arrow::DataType>& type) override {
    if (type == nullptr) return MakeError(ErrorCode::kInvalidArgument, "type is null");
    return AlterRows(table, [&](const auto& t) -> Result<catalog::TableSchemaPtr> {
      ARROW_ASSIGN_OR_RAISE(auto widened, catalog::WidenColumn(t, column, type));
      // Commits are held up and nothing of the table is in memory: the newest snapshot has it all.
      ARROW_RETURN_NOT_OK(CheckTimesFit(NewestContext(),
                                        std::make_shared<const catalog::TableSchema>(t), *widened));
      return widened;
    });
  }

  Result<TableInfo> GetTable(const std::string& name) const override {
    ARROW_ASSIGN_OR_RAISE(const auto table, Table(name));
    return Describe(*engine_->version(), *table);
  }
  std::vector<TableInfo> ListTables() const override {
    const auto version = engine_->version();
    std::vector<TableInfo> out;
    for (const auto& [id, table] : version->catalog.tables) {
      if (!catalog::IsSystemTable(id)) out.push_back(Describe(*version, *table));
    }
    return out;
  }

  // ---- Transactions and single writes ----

  Result<std::unique_ptr<Transaction>> Begin(TransactionOptions options) override {
    return BeginSession(std::move(options));
  }
  Result<std::unique_ptr<Session>> BeginSession(TransactionOptions options) {
    auto snapshot = engine_->GetSnapshot(
        options.valid_now.has_value() ? std::optional(options.valid_now->micros) : std::nullopt);
    return std::make_unique<GuardedTransaction<TransactionImpl>>(engine_.get(), std::move(options),
                                                                 std::move(snapshot));
  }
  CommitId definitions_changed_at() const { return engine_->definitions_changed_at(); }

  Result<CommitResult> Run(const std::function<Status(Transaction&)>& body,
                           TransactionOptions options, int attempts) override {
    for (int attempt = 1;; ++attempt) {
      ARROW_ASSIGN_OR_RAISE(auto transaction, Begin(options));
      ARROW_RETURN_NOT_OK(body(*transaction));
      auto result = transaction->Commit();
      if (result.ok() || CodeOf(result.status()) != ErrorCode::kConflict || attempt >= attempts)
        return result;
    }
  }

  Result<CommitResult> Put(const std::string& table,
                           const std::shared_ptr<arrow::RecordBatch>& rows,
                           const WriteOptions& options) override {
    ARROW_ASSIGN_OR_RAISE(const auto schema, WritableTable(table));
    ARROW_ASSIGN_OR_RAISE(auto write, PrepareRows(schema, rows, options, [&](int64_t count) {
                            return engine_->ReserveRowIds(schema->id, count);
                          }));
    return CommitOne(std::move(write));
  }
  Result<CommitResult> Delete(const std::string& table,
                              const std::shared_ptr<arrow::RecordBatch>& keys,
                              const WriteOptions& options) override {
    ARROW_ASSIGN_OR_RAISE(const auto schema, WritableTable(table));
    ARROW_ASSIGN_OR_RAISE(auto write, PrepareDelete(schema, keys, options));
    return CommitOne(std::move(write));
  }
  Result<CommitResult> PutDocument(std::string_view key, std::string_view document,
                                   ValidInterval valid) override {
    return CommitDocument(temporal::FactKind::kPut, key, document, valid);
  }
  Result<CommitResult> DeleteDocument(std::string_view key, ValidInterval valid) override {
    return CommitDocument(temporal::FactKind::kDelete, key, {}, valid);
  }

  // ---- Reads ----

  Result<std::optional<std::string>> GetDocument(std::string_view key, SystemPeriod as_of,
                                                 ValidPeriod valid_at) const override {
    return GetDocumentIn(NewestContext(), key, as_of, valid_at);
  }
  Result<bool> GetDocument(std::string_view key, std::string* document) const override {
    ARROW_RETURN_NOT_OK(CheckDocumentKey(key));
    document->clear();
    return engine_->GetNewestInline(catalog::kKeyValueTable, key, document);
  }
  Result<std::shared_ptr<ScanReader>> ScanPrefix(std::string_view prefix, SystemPeriod as_of,
                                                 ValidPeriod valid_at,
                                                 std::optional<int64_t> limit) const override {
    const auto context = NewestContext();
    ARROW_ASSIGN_OR_RAISE(auto scan, PreparePrefixScan(context, prefix, as_of, valid_at, limit));
    return RunScan(context, std::move(scan));
  }
  Result<std::shared_ptr<arrow::RecordBatch>> DocumentVersions(std::string_view key,
                                                               SystemPeriod system,
                                                               ValidPeriod valid) const override {
    ARROW_RETURN_NOT_OK(CheckDocumentKey(key));
    const auto context = NewestContext();
    ARROW_ASSIGN_OR_RAISE(const auto window,
                          ResolveWindow(context, catalog::kKeyValueTable, system, valid));
    return RunGet(context, catalog::KeyValueTableSchema(), key, window,
                  std::vector<std::string>{"doc", catalog::kValidFromColumn,
                                           catalog::kValidToColumn, catalog::kSystemFromColumn,
                                           catalog::kSystemToColumn, catalog::kCommitColumn});
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Get(
      const std::string& table, const Key& key, SystemPeriod system, ValidPeriod valid,
      const std::optional<std::vector<std::string>>& columns) const override {
    return GetIn(NewestContext(), table, key, system, valid, columns);
  }
  Result<std::shared_ptr<ScanReader>> Scan(const std::string& table,
                                           const ScanOptions& options) const override {
    return ScanIn(NewestContext(), table, options);
  }

  // ---- Moments ----

  SnapshotPtr GetSnapshot() const override {
    return std::make_shared<SnapshotImpl>(engine_->GetSnapshot());
  }

  Result<SnapshotPtr> SnapshotAt(SystemPeriod moment) const override {
    const auto base = engine_->GetSnapshot();
    CommitId commit;
    switch (moment.kind()) {
      case SystemPeriod::Kind::kLatest:
        return std::make_shared<SnapshotImpl>(base);
      case SystemPeriod::Kind::kAsOfCommit:
        commit = moment.commit();
        break;
      case SystemPeriod::Kind::kAsOfTime: {
        ARROW_ASSIGN_OR_RAISE(commit, engine_->reader().CommitAt(*base, moment.from()));
        break;
      }
      default:
        return MakeError(ErrorCode::kInvalidArgument,
                         "a snapshot is taken at one moment, not over a range");
    }
    ARROW_ASSIGN_OR_RAISE(const auto system, engine_->reader().TimeOf(*base, commit));
    return std::make_shared<SnapshotImpl>(base, commit, system);
  }

  Result<std::shared_ptr<ScanReader>> Scan(const SnapshotPtr& snapshot, const std::string& table,
                                           const ScanOptions& options) const override {
    ARROW_ASSIGN_OR_RAISE(const auto context, ContextOf(snapshot));
    return ScanIn(context, table, options);
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Get(
      const SnapshotPtr& snapshot, const std::string& table, const Key& key, SystemPeriod system,
      ValidPeriod valid, const std::optional<std::vector<std::string>>& columns) const override {
    ARROW_ASSIGN_OR_RAISE(const auto context, ContextOf(snapshot));
    return GetIn(context, table, key, system, valid, columns);
  }
  Result<std::optional<std::string>> GetDocument(const SnapshotPtr& snapshot, std::string_view key,
                                                 SystemPeriod as_of,
                                                 ValidPeriod valid_at) const override {
    ARROW_ASSIGN_OR_RAISE(const auto context, ContextOf(snapshot));
    return GetDocumentIn(context, key, as_of, valid_at);
  }

  CommitId newest_commit() const override { return engine_->newest_commit(); }
  Result<CommitResult> AdvanceCommit() override {
    engine::WriteBatch nothing;
    engine::CommitRequest request;
    request.batch = &nothing;
    request.mark = true;
    ARROW_ASSIGN_OR_RAISE(const auto receipt, engine_->Commit(std::move(request)));
    return ToPublic(receipt);
  }
  Result<SystemTime> TimeOf(CommitId commit) const override {
    return engine_->reader().TimeOf(*engine_->GetSnapshot(), commit);
  }
  Result<CommitId> CommitAt(SystemTime time) const override {
    return engine_->reader().CommitAt(*engine_->GetSnapshot(), time);
  }
  std::vector<VersionInfo> ListVersions(size_t limit) const override {
    const auto version = engine_->version();
    std::vector<VersionInfo> out;
    for (auto it = version->recent.rbegin(); it != version->recent.rend(); ++it) {
      if (limit != 0 && out.size() == limit) break;
      out.push_back({it->number, it->commit, it->system, it->created_micros, it->files, it->rows,
                     it->bytes, it->reason});
    }
    return out;
  }

  Result<CheckpointInfo> CreateCheckpoint(const std::string& name) override {
    ARROW_ASSIGN_OR_RAISE(auto checkpoint, engine_->CreateCheckpoint(name));
    return ToPublic(std::move(checkpoint));  // it is there: nothing may fail
  }
  Status DropCheckpoint(const std::string& name) override { return engine_->DropCheckpoint(name); }
  Result<CheckpointInfo> GetCheckpoint(const std::string& name) const override {
    const auto version = engine_->version();
    const auto found = version->checkpoints.find(name);
    if (found != version->checkpoints.end()) return ToPublic(found->second);
    return MakeError(ErrorCode::kNotFound, fmt::format("unknown checkpoint: name={}", name));
  }
  std::vector<CheckpointInfo> ListCheckpoints() const override {
    const auto version = engine_->version();
    std::vector<CheckpointInfo> out;
    for (const auto& [name, c] : version->checkpoints) out.push_back(ToPublic(c));
    std::sort(out.begin(), out.end(),
              [](const auto& a, const auto& b) { return a.commit < b.commit; });
    return out;
  }

  // ---- Care ----

  Status Flush() override { return engine_->Flush(); }
  Status Sync() override { return engine_->Sync(); }
  Status Compact(const std::optional<std::string>& table) override {
    if (!table.has_value()) return engine_->Compact(std::nullopt);
    ARROW_ASSIGN_OR_RAISE(const auto schema, Table(*table));
    return engine_->Compact(schema->id);
  }
  Status WaitForBackground() override { return engine_->WaitForBackground(); }
  Result<GcResult> CollectGarbage(bool dry_run, std::optional<int64_t> grace_micros) override {
    ARROW_ASSIGN_OR_RAISE(auto report, engine_->CollectGarbage(dry_run, grace_micros));
    ARROW_ASSIGN_OR_RAISE(auto segments, engine_->PruneWal(dry_run));
    return GcResult{std::move(report.deleted), report.bytes, std::move(report.kept),
                    std::move(segments)};
  }
  Status TrimHistory(const std::string& table, SystemTime floor) override {
    ARROW_ASSIGN_OR_RAISE(const auto schema, Table(table));
    return engine_->TrimHistory(schema->id, floor);
  }
  Status EraseKey(const std::string& table, const Key& key) override {
    ARROW_ASSIGN_OR_RAISE(const auto schema, WritableTable(table));
    ARROW_ASSIGN_OR_RAISE(const auto encoded, EncodeKey(*schema, key));
    return engine_->EraseKey(schema->id, encoded);
  }
  Status EraseDocument(std::string_view key) override {
    ARROW_RETURN_NOT_OK(CheckDocumentKey(key));
    return engine_->EraseKey(catalog::kKeyValueTable, std::string(key));
  }
  void SetSealThresholds(int64_t bytes, int64_t rows, int64_t age_micros,
                         int64_t batches) override {
    engine_->SetSealThresholds(bytes, rows, age_micros, batches);
  }

  DatabaseMetrics metrics() const override {
    const auto m = engine_->metrics();
    const auto latency = [](const base::HistogramSnapshot& l) {
      return LatencySummary{l.count,
                            l.mean(),
                            l.Percentile(0.5),
                            l.Percentile(0.95),
                            l.Percentile(0.99),
                            l.Percentile(0.999),
                            l.max};
    };
    DatabaseMetrics out;
    out.wal = {m.wal_frames,     m.wal_bytes,    m.wal_appends,     m.wal_syncs,
               m.wal_sync_nanos, m.wal_segments, m.wal_floor_epoch, m.wal_floor_segment};
    out.commit = {m.commits,
                  m.commit_groups,
                  m.facts,
                  m.conflicts,
                  m.queue_depth,
                  m.commit_check_nanos,
                  m.commit_wal_nanos,
                  m.commit_sync_nanos,
                  m.commit_memtable_nanos,
                  m.commit_wait_nanos,
                  m.backpressure_waits,
                  m.backpressure_nanos,
                  m.durable_lag_commits,
                  latency(m.commit_latency),
                  m.waits_sealed,
                  m.waits_level0,
                  m.waits_slowdown,
                  latency(m.enqueue_to_durable)};
    out.memtable = {m.memtable_bytes, m.memtable_facts, m.sealed_memtables};
    out.flush = {
        m.flushes,          m.flush_rows_in,        m.flush_rows_out,      m.flush_bytes_out,
        m.flush_nanos,      m.flush_lookups,        m.flush_failures,      m.flush_files_out,
        m.flush_rows_ended, m.flush_rows_rewritten, m.seal_to_flush_nanos, m.seals_bytes,
        m.seals_rows,       m.seals_batches,        m.seals_age,           m.seals_asked};
    out.compaction = {m.compactions,          m.compaction_rows_in,    m.compaction_rows_out,
                      m.compaction_bytes_in,  m.compaction_bytes_out,  m.compaction_nanos,
                      m.compaction_conflicts, m.compaction_failures,   m.compaction_files_in,
                      m.compaction_files_out, m.compaction_wait_nanos, m.level0_files,
                      m.pending_erases};
    out.gc = {m.gc_runs,  m.gc_deleted_objects, m.gc_deleted_bytes,  m.retired_objects,
              m.gc_nanos, m.gc_reclaim_micros,  m.gc_obsolete_bytes, m.gc_pinned_bytes};
    out.manifest = {m.manifest_version,      m.manifest_commits,       m.manifest_cas_retries,
                    m.manifest_commit_nanos, m.manifest_ref_bytes,     m.manifest_loads,
                    m.manifest_head_nanos,   m.manifest_decode_nanos,  m.manifest_cas_nanos,
                    m.manifest_base_bytes,   m.manifest_bases_written, m.manifest_outcomes_settled};
    out.read = {m.gets, m.scans, m.rows_returned, ToPublic(m.io)};
    const auto& c = m.cache;
    out.cache = {c.page_hits,       c.page_misses,   c.page_bytes,   c.page_evictions,
                 c.footer_hits,     c.footer_misses, c.footer_bytes, c.deletion_hits,
                 c.deletion_misses, c.deletion_bytes};
    out.live_snapshots = m.live_snapshots;
    out.oldest_snapshot_commit = m.oldest_snapshot_commit;
    return out;
  }
  const RecoveryInfo& recovery() const override { return recovery_; }
  Result<std::vector<std::string>> Check(
      const std::function<void(uint64_t, uint64_t)>& progress) override {
    return engine_->Check(progress);
  }

 private:
  Result<catalog::TableSchemaPtr> Table(const std::string& name) const {
    return FindTable(*engine_->GetSnapshot(), name);
  }
  /// The same for a write; kUnsupported.
  Result<catalog::TableSchemaPtr> WritableTable(const std::string& name) const {
    ARROW_ASSIGN_OR_RAISE(auto table, Table(name));
    ARROW_RETURN_NOT_OK(CheckWriter(*table, {}));
    return table;
  }
  /// Alter, where the change is one of what a row has.
  Status AlterRows(
      const std::string& name,
      const std::function<Result<catalog::TableSchemaPtr>(const catalog::TableSchema&)>& change) {
    return Alter(name, [&](const catalog::TableSchema& t) -> Result<catalog::TableSchemaPtr> {
      ARROW_RETURN_NOT_OK(CheckWriter(t, {}));
      return change(t);
    });
  }
  Status Alter(
      const std::string& name,
      const std::function<Result<catalog::TableSchemaPtr>(const catalog::TableSchema&)>& change) {
    ARROW_ASSIGN_OR_RAISE(const auto table, Table(name));
    return engine_->AlterTable(table->id, change);
  }

  Result<CommitResult> CommitOne(engine::TableWrite write) {
    engine::WriteBatch batch;
    ARROW_RETURN_NOT_OK(batch.Add(std::move(write)));
    return CommitBatch(&batch);
  }
  Result<CommitResult> CommitDocument(temporal::FactKind kind, std::string_view key,
                                      std::string_view document, const ValidInterval& valid) {
    ARROW_RETURN_NOT_OK(CheckDocumentKey(key));
    ARROW_RETURN_NOT_OK(CheckInterval(valid));
    // Kept by the thread: a put of one document allocates nothing here.
    thread_local engine::WriteBatch batch;
    batch.Clear();
    batch.AddInline(catalog::kKeyValueTable, kind, valid, key, document);
    return CommitBatch(&batch);
  }
  Result<CommitResult> CommitBatch(engine::WriteBatch* batch) {
    engine::CommitRequest request;
    request.batch = batch;
    ARROW_ASSIGN_OR_RAISE(const auto receipt, engine_->Commit(std::move(request)));
    return ToPublic(receipt);
  }

  ReadContext NewestContext() const {
    const int64_t start = base::SystemClock()->MonotonicNanos();
    ReadContext context;
    context.engine = engine_.get();
    context.snapshot = engine_->GetSnapshot();
    context.newest = context.snapshot->system();
    context.snapshot_nanos = base::SystemClock()->MonotonicNanos() - start;
    return context;
  }
  Result<ReadContext> ContextOf(const SnapshotPtr& snapshot) const {
    if (snapshot == nullptr) return MakeError(ErrorCode::kInvalidArgument, "snapshot is null");
    const auto& impl = static_cast<const SnapshotImpl&>(*snapshot);
    if (impl.base()->state().version->database_id != engine_->version()->database_id) {
      return MakeError(ErrorCode::kInvalidArgument, "snapshot belongs to another database");
    }
    ReadContext context;
    context.engine = engine_.get();
    context.snapshot = impl.base();
    context.newest = impl.system_time();
    return context;
  }
  static Result<std::shared_ptr<arrow::RecordBatch>> GetIn(
      const ReadContext& context, const std::string& table, const Key& key,
      const SystemPeriod& system, const ValidPeriod& valid,
      const std::optional<std::vector<std::string>>& columns) {
    ARROW_ASSIGN_OR_RAISE(const auto schema, FindTable(*context.snapshot, table));
    ARROW_ASSIGN_OR_RAISE(const auto encoded, EncodeKey(*schema, key));
    ARROW_ASSIGN_OR_RAISE(const auto window, ResolveWindow(context, schema->id, system, valid));
    return RunGet(context, schema, encoded, window, columns);
  }
  static Result<std::shared_ptr<ScanReader>> ScanIn(const ReadContext& context,
                                                    const std::string& table,
                                                    const ScanOptions& options) {
    ARROW_ASSIGN_OR_RAISE(const auto schema, FindTable(*context.snapshot, table));
    ARROW_ASSIGN_OR_RAISE(auto scan, PrepareScan(context, schema, options));
    return RunScan(context, std::move(scan));
  }
  static Result<std::optional<std::string>> GetDocumentIn(const ReadContext& context,
                                                          std::string_view key,
                                                          const SystemPeriod& as_of,
                                                          const ValidPeriod& valid_at) {
    ARROW_RETURN_NOT_OK(CheckDocumentKey(key));
    ARROW_RETURN_NOT_OK(CheckMoment(as_of, valid_at));
    ARROW_ASSIGN_OR_RAISE(const auto window,
                          ResolveWindow(context, catalog::kKeyValueTable, as_of, valid_at));
    return RunGetDocument(context, key, window);
  }

  std::unique_ptr<engine::Engine> engine_;
  RecoveryInfo recovery_;
};

Result<std::unique_ptr<Database>> OpenOn(std::shared_ptr<ObjectStore> store,
                                         DatabaseOptions options) {
  engine::EngineOptions engine_options;
  static_cast<DatabaseOptions&>(engine_options) = std::move(options);
  engine_options.store = std::move(store);
  return OpenWith(std::move(engine_options));
}

}  // namespace

Result<std::unique_ptr<Session>> BeginSession(Database& db, TransactionOptions options) {
  auto* const source = dynamic_cast<SessionSource*>(&db);
  if (source == nullptr) {
    return MakeError(ErrorCode::kInvalidArgument, "the database has no sessions: it is wrapped");
  }
  return source->BeginSession(std::move(options));
}

CommitId DefinitionsChangedAt(const Database& db) {
  const auto* const source = dynamic_cast<const SessionSource*>(&db);
  LAMINA_CHECK_MSG(source != nullptr, "DefinitionsChangedAt of a wrapped database");
  return source->definitions_changed_at();
}

Result<std::unique_ptr<Database>> OpenWith(engine::EngineOptions options) {
  try {
    ARROW_ASSIGN_OR_RAISE(auto engine, engine::Engine::Open(std::move(options)));
    return std::make_unique<GuardedDatabase<DatabaseImpl>>(std::move(engine));
  } catch (const std::bad_alloc&) {
    return base::OutOfMemory();
  } catch (const std::system_error& e) {
    // The one thing that throws it: a thread that cannot be started.
    return base::ErrorOr(
        [&] {
          return MakeError(
              ErrorCode::kResourceExhausted,
              fmt::format("a background thread could not be started: reason={}", e.what()),
              "raise the limit of processes and threads (ulimit -u)");
        },
        base::OutOfMemory());
  }
}

}  // namespace db

Result<std::unique_ptr<Database>> Database::Open(const std::string& directory,
                                                 DatabaseOptions options) {
  return base::Guarded([&]() -> Result<std::unique_ptr<Database>> {
    if (directory.empty()) return MakeError(ErrorCode::kInvalidArgument, "directory is empty");
    ARROW_ASSIGN_OR_RAISE(
        auto store, OpenLocalStore(directory, options.create_if_missing && !options.read_only));
    return db::OpenOn(std::move(store), std::move(options));
  });
}

Result<std::unique_ptr<Database>> Database::OpenInMemory(DatabaseOptions options) {
  options.wal = false;
  return base::Guarded([&] { return db::OpenOn(MakeMemoryStore(), std::move(options)); });
}

Result<std::unique_ptr<Database>> Database::Open(std::shared_ptr<ObjectStore> store,
                                                 DatabaseOptions options) {
  return base::Guarded([&]() -> Result<std::unique_ptr<Database>> {
    if (store == nullptr) return MakeError(ErrorCode::kInvalidArgument, "store is null");
    return db::OpenOn(std::move(store), std::move(options));
  });
}

}  // namespace lamina
