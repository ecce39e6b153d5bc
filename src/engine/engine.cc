#include "engine/engine.h"

#include <algorithm>
#include <limits>
#include <utility>

#include <arrow/builder.h>
#include <fmt/format.h>

#include "base/check.h"
#include "base/out_of_memory.h"
#include "base/trace.h"
#include "catalog/compute.h"
#include "catalog/key_codec.h"
#include "catalog/system_tables.h"
#include "engine/engine_internal.h"

namespace lamina::engine {

using storage::manifest::Version;
using storage::manifest::VersionEdit;
using storage::manifest::VersionPtr;

Result<std::unique_ptr<Engine>> Engine::Open(EngineOptions options) {
  ARROW_RETURN_NOT_OK(options.Validate());
  catalog::InitializeCompute();  // before any thread of ours looks a function up
  auto engine = std::make_unique<EngineImpl>(std::move(options));
  ARROW_RETURN_NOT_OK(engine->Recover());
  return std::unique_ptr<Engine>(std::move(engine));
}

// ---- Reading ----

ReadStatePtr EngineImpl::state() const {
  base::MutexLock lock(&state_mu_);
  return state_;
}

VersionPtr EngineImpl::version() const { return state()->version; }

SystemTime EngineImpl::TimeOfLocked(CommitId commit) const {
  if (commit.value == 0) return SystemTime::Min();
  const auto holds = [&](const Memtable& memtable) {
    return memtable.first_commit().value != 0 && memtable.first_commit() <= commit &&
           commit <= memtable.last_commit();
  };
  if (holds(*state_->active)) return state_->active->TimeOf(commit);
  for (auto it = state_->sealed.rbegin(); it != state_->sealed.rend(); ++it) {
    if (holds(**it)) return (*it)->TimeOf(commit);
  }
  LAMINA_CHECK(commit == state_->version->flushed_commit);
  return state_->version->flushed_system;
}

SnapshotPtr EngineImpl::GetSnapshot(std::optional<int64_t> now_micros) const {
  const int64_t now = now_micros ? *now_micros : clock_->NowMicros();
  // State and commit are read under the lock that installs states, in this order of events:
  //   - a commit lies in a memtable of the state that was installed when it was appended, and is
  //     published after; a commit of a later memtable cannot be published before that memtable's
  //     state is installed, which waits for us. So every commit we may read from visible_ has its
  //     facts in `state_` (N4);
  //   - a flush installs a version with flushed_commit = c only after c was published, so visible_
  //     >= flushed_commit (N3).
  // Without the lock a seal and a commit could fall between the two reads, and the snapshot would
  // miss the new memtable. Registering inside it lets gc know that every older snapshot is on the
  // list.
  base::MutexLock lock(&state_mu_);
  const CommitId commit = visible();
  return std::make_shared<const Snapshot>(state_, commit, TimeOfLocked(commit), now, registry_);
}

Result<bool> EngineImpl::GetNewestInline(catalog::TableId table, std::string_view key,
                                         std::string* value) const {
  ReadStatePtr now;
  CommitId commit;
  {
    // As for a snapshot (N4). It need not be registered: what it reads, memtables, `now` keeps.
    base::MutexLock lock(&state_mu_);
    now = state_;
    commit = visible();
  }
  if (const auto found = reader_->GetNewestInline(*now, commit, table, key, clock_, value)) {
    return *found;
  }
  const SnapshotPtr snapshot = GetSnapshot(std::nullopt);
  storage::sst::ReadCounters counters;
  return reader_->GetInline(*snapshot, table, key, snapshot->system(), snapshot->now(),
                            /*own=*/nullptr, value, &counters);
}

SystemTime EngineImpl::newest_system() const {
  base::MutexLock lock(&state_mu_);
  return TimeOfLocked(visible());
}

Result<int64_t> EngineImpl::ReserveRowIds(catalog::TableId table, int64_t count) {
  if (count < 0)
    return MakeError(ErrorCode::kInvalidArgument, fmt::format("negative count: count={}", count));
  const catalog::TableSchemaPtr schema = version()->catalog.Find(table);
  if (schema == nullptr) {
    return MakeError(ErrorCode::kNotFound,
                     fmt::format("table does not exist: table={}", table.value));
  }
  if (schema->has_primary_key) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("table has a primary key: table={}", schema->name));
  }
  base::MutexLock lock(&row_ids_mu_);
  int64_t& next = next_row_id_.try_emplace(table, 1).first->second;
  if (next > std::numeric_limits<int64_t>::max() - count) {
    return MakeError(ErrorCode::kResourceExhausted,
                     fmt::format("row ids used up: table={}", schema->name));
  }
  const int64_t first = next;
  next += count;
  return first;
}

// ---- Stopping ----

Status EngineImpl::CheckWritable() const {
  if (options_.read_only) {
    return MakeError(ErrorCode::kInvalidArgument, "database was opened read-only");
  }
  if (stopped_.load(std::memory_order_acquire)) return StoppedError();
  // seq_cst: see Close.
  if (closing_.load(std::memory_order_seq_cst)) return ClosedError();
  return Status::OK();
}

Status EngineImpl::ClosedError() {
  return MakeError(ErrorCode::kStopped, "database is closed", "open it again");
}

void EngineImpl::Stop(const Status& cause) {
  {
    base::MutexLock lock(&background_mu_);
    if (stopped_.load(std::memory_order_relaxed)) return;  // relaxed: only stored under this lock
    stop_cause_ = base::CopyOf(cause);
    stopped_.store(true, std::memory_order_release);
    progress_.SignalAll();
  }
  LAMINA_REACHED("engine.stopped");
  try {
    base::Trace(options_.trace.get(), "engine", "stopped",
                {{"cause", std::string_view(cause.message())}});
  } catch (const std::bad_alloc&) {
    // The caller's sink has no memory either; stopping is done.
  }
}

Status EngineImpl::StoppedError() const {
  Status cause;
  {
    base::MutexLock lock(&background_mu_);
    cause = base::CopyOf(stop_cause_, base::StoppedOutOfMemory());
  }
  return base::ErrorOr(
      [&] {
        if (CodeOf(cause) == ErrorCode::kFenced) {
          return MakeError(
              ErrorCode::kFenced,
              fmt::format("a newer writer owns the database: cause={}", MessageOf(cause)),
              "reopen the database");
        }
        return MakeError(ErrorCode::kStopped,
                         fmt::format("writing stopped after an error: code={} cause={}",
                                     ErrorCodeName(CodeOf(cause)), MessageOf(cause)),
                         "reads go on; reopen the database to recover");
      },
      base::StoppedOutOfMemory());
}

void EngineImpl::NotifyBackground() {
  base::MutexLock lock(&background_mu_);
  progress_.SignalAll();
}

// ---- Tables ----

bool EngineImpl::HasFacts(catalog::TableId table) const {
  const ReadStatePtr now = state();
  if (now->active->Find(table) != nullptr) return true;
  return std::any_of(now->sealed.begin(), now->sealed.end(),
                     [&](const auto& memtable) { return memtable->Find(table) != nullptr; });
}

Status EngineImpl::ChangeSchema(std::optional<catalog::TableId> unflushed_table,
                                const std::function<Result<VersionEdit>(const Version&)>& make) {
  ARROW_RETURN_NOT_OK(CheckWritable());
  // Facts are decoded and resolved as the definition they were written under, and the manifest
  // keeps the newest one only: so none may be left in memory or log. First without holding commits
  // up, then what came meanwhile with them held.
  if (unflushed_table && HasFacts(*unflushed_table)) ARROW_RETURN_NOT_OK(Flush());
  {
    base::MutexLock publish_lock(&publish_mu_);
    base::MutexLock commit_lock(&commit_mu_);
    ARROW_RETURN_NOT_OK(CheckWritable());
    if (unflushed_table && HasFacts(*unflushed_table)) {
      LAMINA_REACHED("engine.schema.flush_under_lock");
      ARROW_RETURN_NOT_OK(Seal(SealReason::kAsked));
      ARROW_RETURN_NOT_OK(FlushSealed());
    }
    ARROW_ASSIGN_OR_RAISE(VersionEdit edit, make(*state()->version));
    edit.reason = "schema";
    edit.created_micros = clock_->NowMicros();
    // It takes no commit number: a snapshot at newest_ may be of before or after it.
    RaiseTo(&definitions_changed_at_, newest_.value + 1);
    ARROW_RETURN_NOT_OK(PublishEdit(edit).status());
  }
  ScheduleAfterPublish();
  return Status::OK();
}

namespace {

Status CheckNameFree(const catalog::Catalog& catalog, const std::string& name,
                     catalog::TableId except) {
  for (const auto& [id, table] : catalog.tables) {
    if (id != except && table->name == name) {
      return MakeError(ErrorCode::kAlreadyExists,
                       fmt::format("table exists already: table={}", name));
    }
  }
  return Status::OK();
}

Result<catalog::TableSchemaPtr> FindUserTable(const Version& version, catalog::TableId id) {
  if (catalog::IsSystemTable(id)) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("built-in table cannot be changed: table={}", id.value));
  }
  catalog::TableSchemaPtr table = version.catalog.Find(id);
  if (table == nullptr) {
    return MakeError(ErrorCode::kNotFound, fmt::format("table does not exist: table={}", id.value));
  }
  return table;
}

}  // namespace

Result<catalog::TableSchemaPtr> EngineImpl::CreateTable(
    const std::string& name, const std::shared_ptr<arrow::Schema>& schema,
    const catalog::KeyDeclaration& key, catalog::TableOptions options) {
  catalog::TableSchemaPtr created;
  ARROW_RETURN_NOT_OK(
      ChangeSchema(std::nullopt, [&](const Version& version) -> Result<VersionEdit> {
        ARROW_RETURN_NOT_OK(CheckNameFree(version.catalog, name, {0}));
        ARROW_ASSIGN_OR_RAISE(created, catalog::MakeTable({version.catalog.next_table_id}, name,
                                                          schema, key, options));
        VersionEdit edit;
        edit.put_tables.push_back(created);
        return edit;
      }));
  return created;
}

Status EngineImpl::AlterTable(
    catalog::TableId table,
    const std::function<Result<catalog::TableSchemaPtr>(const catalog::TableSchema&)>& change) {
  ARROW_RETURN_NOT_OK(FindUserTable(*version(), table).status());
  return ChangeSchema(table, [&](const Version& version) -> Result<VersionEdit> {
    ARROW_ASSIGN_OR_RAISE(const catalog::TableSchemaPtr old, FindUserTable(version, table));
    ARROW_ASSIGN_OR_RAISE(catalog::TableSchemaPtr changed, change(*old));
    if (changed == nullptr || changed->id != old->id || changed->version != old->version + 1) {
      return MakeError(
          ErrorCode::kInternal,
          fmt::format("changed definition is not the next version: table={}", old->name));
    }
    ARROW_RETURN_NOT_OK(changed->Verify());
    ARROW_RETURN_NOT_OK(CheckNameFree(version.catalog, changed->name, table));
    VersionEdit edit;
    edit.put_tables.push_back(std::move(changed));
    return edit;
  });
}

Status EngineImpl::DropTable(catalog::TableId table) {
  // Facts that are left in memory or log are skipped by flush and replay: the id is never used
  // again.
  return ChangeSchema(std::nullopt, [&](const Version& version) -> Result<VersionEdit> {
    ARROW_RETURN_NOT_OK(FindUserTable(version, table).status());
    VersionEdit edit;
    edit.drop_tables.push_back(table);
    return edit;
  });
}

// ---- Checkpoints, retention, erasure ----

Result<storage::manifest::Checkpoint> EngineImpl::CreateCheckpoint(const std::string& name) {
  if (name.empty()) return MakeError(ErrorCode::kInvalidArgument, "checkpoint needs a name");
  ARROW_RETURN_NOT_OK(Flush());
  base::MutexLock lock(&publish_mu_);
  const VersionPtr newest = version();
  if (newest->checkpoints.count(name) != 0) {
    return MakeError(ErrorCode::kAlreadyExists,
                     fmt::format("checkpoint exists already: name={}", name));
  }
  storage::manifest::Checkpoint checkpoint{name, newest->flushed_commit, newest->flushed_system,
                                           clock_->NowMicros()};
  VersionEdit edit;
  edit.reason = "checkpoint";
  edit.created_micros = checkpoint.created_micros;
  edit.put_checkpoints.push_back(checkpoint);
  ARROW_RETURN_NOT_OK(PublishEdit(edit).status());
  return checkpoint;
}

Status EngineImpl::DropCheckpoint(const std::string& name) {
  ARROW_RETURN_NOT_OK(CheckWritable());
  base::MutexLock lock(&publish_mu_);
  if (version()->checkpoints.count(name) == 0) {
    return MakeError(ErrorCode::kNotFound, fmt::format("checkpoint does not exist: name={}", name));
  }
  VersionEdit edit;
  edit.reason = "checkpoint";
  edit.created_micros = clock_->NowMicros();
  edit.drop_checkpoints.push_back(name);
  return PublishEdit(edit).status();
}

Status EngineImpl::TrimHistory(catalog::TableId table, SystemTime floor) {
  ARROW_RETURN_NOT_OK(Flush());  // a floor may rise up to the newest flushed commit
  {
    base::MutexLock lock(&publish_mu_);
    ARROW_ASSIGN_OR_RAISE(VersionEdit edit, PlanTrim(*version(), table, floor));
    edit.created_micros = clock_->NowMicros();
    ARROW_RETURN_NOT_OK(PublishEdit(edit).status());
  }
  ScheduleAfterPublish();
  return Status::OK();
}

Status EngineImpl::EraseKey(catalog::TableId table, const std::string& key) {
  ARROW_RETURN_NOT_OK(CheckWritable());
  const catalog::TableSchemaPtr schema = version()->catalog.Find(table);
  if (schema == nullptr) {
    return MakeError(ErrorCode::kNotFound,
                     fmt::format("table does not exist: table={}", table.value));
  }
  if (key.size() > static_cast<size_t>(catalog::kMaxKeyBytes)) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("key too long: bytes={}", key.size()));
  }
  WriteBatch batch;
  if (table == catalog::kKeyValueTable || table == catalog::kIdempotencyTable) {
    batch.AddInline(table, temporal::FactKind::kErase, {}, key, {});
  } else {
    arrow::BinaryBuilder builder;
    ARROW_RETURN_NOT_OK(builder.Append(key));
    ARROW_ASSIGN_OR_RAISE(auto keys, builder.Finish());
    TableWrite write;
    write.schema = schema;
    write.kind = temporal::FactKind::kErase;
    write.keys = std::static_pointer_cast<arrow::BinaryArray>(keys);
    ARROW_RETURN_NOT_OK(batch.Add(std::move(write)));
  }
  CommitRequest request;
  request.batch = &batch;
  ARROW_RETURN_NOT_OK(Commit(std::move(request)).status());
  // The flush moves the fact from the log to the manifest's list of pending erases in one edit, and
  // the log's floor past every segment that holds the key; then the files that hold it are
  // rewritten, and the old ones deleted without a grace.
  ARROW_RETURN_NOT_OK(Flush());
  // Held to the end: no job may be reading, and so keep, the files that held the key.
  base::MutexLock compaction_lock(&compaction_mu_);
  ARROW_RETURN_NOT_OK(FinishErases());
  {
    base::MutexLock lock(&state_mu_);
    TrimConflictWindow();
  }
  // A flush may fail to delete segments without harm; here they would still hold the key.
  ARROW_RETURN_NOT_OK(PruneLog(/*dry_run=*/false).status());
  ARROW_RETURN_NOT_OK(storage::wal::DropSalvaged(options_.store, options_.branch));
  return Collect(/*dry_run=*/false, /*grace_micros=*/0, /*no_compaction=*/true).status();
}

// ---- Settings and figures ----

void EngineImpl::SetSealThresholds(int64_t bytes, int64_t rows, int64_t age_micros,
                                   int64_t batches) {
  base::MutexLock lock(&commit_mu_);
  seal_ = {bytes, rows, age_micros, batches};
  // What is in memory already ages too, also when no commit follows.
  if (seal_.age_micros > 0 && active_->first_commit().value != 0) ScheduleAge();
}

EngineMetrics EngineImpl::metrics() const {
  EngineMetrics m;
  if (wal_ != nullptr) {
    const storage::wal::WriterStats wal = wal_->stats();
    m.wal_frames = wal.frames;
    m.wal_bytes = wal.bytes;
    m.wal_appends = wal.appends;
    m.wal_syncs = wal.syncs;
    m.wal_sync_nanos = wal.sync_nanos;
    m.wal_segments = wal.segments;
    const uint64_t durable = durable_.load(
        std::memory_order_acquire);  // before visible_, which is never below in the end
    m.durable_lag_commits = std::max(visible().value, durable) - durable;
  }
  const Counters& c = counters_;
  m.commits = c.commits.value();
  m.commit_groups = c.commit_groups.value();
  m.facts = c.facts.value();
  m.loads = c.loads.value();
  m.loaded_rows = c.loaded_rows.value();
  m.load_bytes_out = c.load_bytes_out.value();
  m.conflicts = c.conflicts.value();
  m.queue_depth = static_cast<uint64_t>(commits_in_flight_.load(std::memory_order_relaxed));
  m.commit_check_nanos = c.check_nanos.value();
  m.commit_wal_nanos = c.wal_nanos.value();
  m.commit_sync_nanos = c.sync_nanos.value();
  m.commit_memtable_nanos = c.memtable_nanos.value();
  m.commit_wait_nanos = c.wait_nanos.value();
  m.commit_latency = c.commit_latency.Snapshot();
  m.backpressure_waits = c.backpressure_waits.value();
  m.backpressure_nanos = c.backpressure_nanos.value();
  m.waits_sealed = c.waits_sealed.value();
  m.waits_level0 = c.waits_level0.value();
  m.waits_slowdown = c.waits_slowdown.value();
  m.enqueue_to_durable = c.enqueue_to_durable.Snapshot();
  const ReadStatePtr now = state();
  m.wal_floor_epoch = now->version->wal_floor.epoch;
  m.wal_floor_segment = now->version->wal_floor.segment;
  for (const auto& memtable : now->sealed) {
    m.memtable_bytes += static_cast<uint64_t>(memtable->memory_bytes());
    m.memtable_facts += memtable->fact_count();
  }
  m.memtable_bytes += static_cast<uint64_t>(now->active->memory_bytes());
  m.memtable_facts += now->active->fact_count();
  m.sealed_memtables = now->sealed.size();
  m.flushes = c.flushes.value();
  m.flush_rows_in = c.flush_rows_in.value();
  m.flush_rows_out = c.flush_rows_out.value();
  m.flush_bytes_out = c.flush_bytes_out.value();
  m.flush_nanos = c.flush_nanos.value();
  m.flush_lookups = c.flush_lookups.value();
  m.flush_failures = c.flush_failures.value();
  m.flush_files_out = c.flush_files_out.value();
  m.flush_rows_ended = c.flush_rows_ended.value();
  m.flush_rows_rewritten = c.flush_rows_rewritten.value();
  m.seal_to_flush_nanos = c.seal_to_flush_nanos.value();
  m.seals_bytes = c.seals_bytes.value();
  m.seals_rows = c.seals_rows.value();
  m.seals_batches = c.seals_batches.value();
  m.seals_age = c.seals_age.value();
  m.seals_asked = c.seals_asked.value();
  m.compactions = c.compactions.value();
  m.compaction_rows_in = c.compaction_rows_in.value();
  m.compaction_rows_out = c.compaction_rows_out.value();
  m.compaction_bytes_in = c.compaction_bytes_in.value();
  m.compaction_bytes_out = c.compaction_bytes_out.value();
  m.compaction_nanos = c.compaction_nanos.value();
  m.compaction_conflicts = c.compaction_conflicts.value();
  m.compaction_failures = c.compaction_failures.value();
  m.compaction_files_in = c.compaction_files_in.value();
  m.compaction_files_out = c.compaction_files_out.value();
  m.compaction_wait_nanos = c.compaction_wait_nanos.value();
  m.level0_files =
      static_cast<uint64_t>(level0_files_.load(std::memory_order_relaxed));  // relaxed: a statistic
  m.pending_erases = now->version->erases.size();
  m.gc_runs = c.gc_runs.value();
  m.gc_deleted_objects = c.gc_deleted_objects.value();
  m.gc_deleted_bytes = c.gc_deleted_bytes.value();
  m.gc_nanos = c.gc_nanos.value();
  m.gc_reclaim_micros = c.gc_reclaim_micros.value();
  m.gc_obsolete_bytes = static_cast<uint64_t>(c.gc_obsolete_bytes.value());
  m.gc_pinned_bytes = static_cast<uint64_t>(c.gc_pinned_bytes.value());
  m.retired_objects = now->version->retired.size();
  const storage::manifest::ManifestStats manifest = manifest_->stats();
  m.manifest_commits = manifest.commits;
  m.manifest_cas_retries = manifest.cas_retries;
  m.manifest_commit_nanos = manifest.commit_nanos;
  m.manifest_ref_bytes = manifest.ref_bytes;
  m.manifest_loads = manifest.loads;
  m.manifest_head_nanos = manifest.head_nanos;
  m.manifest_decode_nanos = manifest.decode_nanos;
  m.manifest_cas_nanos = manifest.cas_nanos;
  m.manifest_base_bytes = manifest.base_bytes;
  m.manifest_bases_written = manifest.bases_written;
  m.manifest_outcomes_settled = manifest.unknown_outcomes_settled;
  m.manifest_version = now->version->number;
  const ReadTotals& reads = reader_->totals();
  m.gets = reads.gets();
  m.scans = reads.scans();
  m.rows_returned = reads.rows_returned();
  m.io = reads.io();
  m.cache = files_->stats();
  m.live_snapshots = registry_->count();
  m.oldest_snapshot_commit = registry_->oldest().value_or(CommitId{0}).value;
  return m;
}

}  // namespace lamina::engine
