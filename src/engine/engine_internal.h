// The engine's one class. Its methods are spread over three files by subject: commit.cc (write
// path), background.cc (seal, flush, compaction, gc and what publishes versions), recovery.cc
// (open, close); engine.cc has the rest. README.md numbers the invariants (N1 …) and gives the lock
// order that the members below are listed in.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/random.h"
#include "base/ulid.h"
#include "engine/engine.h"
#include "engine/snapshot_registry.h"
#include "engine/task_gate_internal.h"
#include "storage/manifest/manifest_store.h"
#include "storage/wal/wal.h"

namespace lamina::engine {

/// Raises `number` to `value` unless it is there already.
inline void RaiseTo(std::atomic<uint64_t>* number, uint64_t value) {
  uint64_t seen = number->load(std::memory_order_relaxed);  // relaxed: the exchange below orders
  // release: what led to the number is seen with it.
  while (seen < value && !number->compare_exchange_weak(seen, value, std::memory_order_acq_rel)) {
  }
}

class EngineImpl final : public Engine {
 public:
  explicit EngineImpl(EngineOptions options);
  ~EngineImpl() override;

  /// Second half of Open: locks, loads or creates, replays, claims, begins the log. Once, before
  /// anything else.
  Status Recover();

  Result<CommitReceipt> Commit(CommitRequest request) override;
  SnapshotPtr GetSnapshot(std::optional<int64_t> now_micros) const override
      LAMINA_EXCLUDES(state_mu_);
  Result<bool> GetNewestInline(catalog::TableId table, std::string_view key,
                               std::string* value) const override LAMINA_EXCLUDES(state_mu_);
  const Reader& reader() const override { return *reader_; }
  CommitId newest_commit() const override { return visible(); }
  SystemTime newest_system() const override LAMINA_EXCLUDES(state_mu_);
  Result<int64_t> ReserveRowIds(catalog::TableId table, int64_t count) override
      LAMINA_EXCLUDES(row_ids_mu_);

  Result<catalog::TableSchemaPtr> CreateTable(const std::string& name,
                                              const std::shared_ptr<arrow::Schema>& schema,
                                              const catalog::KeyDeclaration& key,
                                              catalog::TableOptions options) override;
  Status AlterTable(
      catalog::TableId table,
      const std::function<Result<catalog::TableSchemaPtr>(const catalog::TableSchema&)>& change)
      override;
  Status DropTable(catalog::TableId table) override;
  Result<std::unique_ptr<BulkLoad>> BeginLoad(catalog::TableSchemaPtr table,
                                              std::function<bool()> cancelled) override;
  CommitId definitions_changed_at() const override {
    return {definitions_changed_at_.load(std::memory_order_acquire)};
  }

  Status Flush() override;
  Status Sync() override;
  Status Compact(std::optional<catalog::TableId> table) override;
  Status WaitForBackground() override;
  Result<GcReport> CollectGarbage(bool dry_run, std::optional<int64_t> grace_micros) override;
  Result<std::vector<std::string>> PruneWal(bool dry_run) override;
  Result<storage::manifest::Checkpoint> CreateCheckpoint(const std::string& name) override;
  Status DropCheckpoint(const std::string& name) override;
  Status TrimHistory(catalog::TableId table, SystemTime floor) override;
  Status EraseKey(catalog::TableId table, const std::string& key) override;

  void SetSealThresholds(int64_t bytes, int64_t rows, int64_t age_micros, int64_t batches) override;
  EngineMetrics metrics() const override;
  const RecoveryReport& recovery() const override { return recovery_; }
  storage::manifest::VersionPtr version() const override;
  const EngineOptions& options() const override { return options_; }
  const std::shared_ptr<ObjectStore>& store() const override { return options_.store; }
  Result<std::vector<std::string>> Check(
      const std::function<void(uint64_t done, uint64_t total)>& progress) override;
  Status Close(bool flush) override;

 private:
  /// One commit on its way through the queue; lives on the stack of the thread that called Commit.
  struct Pending {
    CommitRequest* request = nullptr;
    CommitId checked_to;              // conflicts up to here were looked for before queueing
    CommitId idempotency_checked_to;  // likewise the idempotency key
    bool wants_sync = false;
    int64_t queued_nanos = 0;

    Status status;
    CommitReceipt receipt;
    bool written = false;  // has a frame: an error from the log leaves its outcome open

    bool done = false;    // guarded by queue_mu_
    bool leader = false;  // guarded by queue_mu_
    base::CondVar wake;
  };
  /// What a commit has loaded, for the conflict checks of others.
  struct Loaded {
    CommitId commit;
    struct Keys {
      catalog::TableId table;
      std::string min, max;  // inclusive
    };
    std::vector<Keys> keys;  // one a file
  };
  /// The memtables and loads that hold every fact after some commit.
  struct ConflictWindow {
    std::vector<std::shared_ptr<const Memtable>> memtables;
    std::vector<std::shared_ptr<const Loaded>> loads;
    CommitId floor;  // snapshots older than this cannot be checked
  };
  struct SealThresholds {
    int64_t bytes = 0, rows = 0, age_micros = 0, batches = 0;
  };
  enum class SealReason : uint8_t { kNone, kBytes, kRows, kBatches, kAge, kAsked };
  /// What is known of a sealed memtable beside its facts.
  struct SealedInfo {
    // The first log segment that is needed once it is flushed. None: not known (sealed in replay).
    std::optional<storage::manifest::WalFloor> floor;
    int64_t sealed_nanos = 0;
  };

  // ---- commit.cc ----
  Result<std::optional<CommitReceipt>> FindIdempotent(const std::string& key, CommitId* checked_to);
  std::optional<CommitReceipt> FindIdempotentInMemory(const std::string& key,
                                                      const ConflictWindow& window) const;
  ConflictWindow Window(CommitId after) const LAMINA_EXCLUDES(state_mu_);
  Status CheckConflicts(const CommitRequest& request, CommitId after) const;
  /// That the facts are written under the newest definitions, or under those of the request.
  Status CheckSchemas(const CommitRequest& request) const;
  /// That no definition has changed since the snapshot.
  Status CheckDefinitions(const Snapshot& snapshot) const;
  Status HoldBack();
  bool TooManySealed() const;
  bool TooManyLevel0Files() const;
  /// Runs the group as its leader: everything up to (not including) the sync. Fills status and
  /// receipt of each. True when the memtable was sealed after it.
  bool RunGroup(std::span<Pending* const> group) LAMINA_REQUIRES(commit_mu_);
  /// Where it fails or throws std::bad_alloc, nothing has happened but for the batch, which may
  /// have grown.
  Status Prepare(Pending* pending) LAMINA_REQUIRES(commit_mu_);
  /// The receipt of an earlier commit with the request's idempotency key, looked for where the
  /// look-up before the lock could not see.
  Result<std::optional<CommitReceipt>> FindIdempotentSince(const Pending& pending)
      LAMINA_REQUIRES(commit_mu_);
  Result<SystemTime> NextSystem(const CommitRequest& request) const LAMINA_REQUIRES(commit_mu_);
  /// For the commit's own row in the idempotency table.
  static void AddIdempotencyKey(const CommitRequest& request, CommitId commit);
  /// The outcome of a flush before a commit, as an error of that commit, which has not happened:
  /// where the flush is unsettled, writing has stopped.
  Status OfWhatCameBefore(const Status& status) const;
  /// Says of a commit that was found by its idempotency key how safe it is, after making it as safe
  /// as `pending` asks for.
  Status Acknowledge(const Pending& pending, CommitReceipt* earlier) LAMINA_EXCLUDES(sync_mu_);
  /// A commit that changes definitions or brings loads, past queue and log. Does not throw.
  Status CommitUnlogged(Pending* pending) LAMINA_EXCLUDES(publish_mu_, commit_mu_);
  Status CommitUnloggedLocked(Pending* pending) LAMINA_REQUIRES(publish_mu_, commit_mu_);
  /// Everything up to `commit` is durable on return; publishes it where publishing waits for that.
  Status MakeDurable(CommitId commit) LAMINA_EXCLUDES(sync_mu_);
  /// Of the log: at most so many are not synced (a rotation syncs without being counted here).
  int64_t UnsyncedBytes() const;
  void Publish(CommitId commit);
  void ScheduleSync();
  bool publishes_after_sync() const {
    return wal_ != nullptr && options_.sync == SyncPolicy::kAlways;
  }
  CommitId visible() const { return {visible_.load(std::memory_order_acquire)}; }
  SystemTime TimeOfLocked(CommitId commit) const LAMINA_REQUIRES(state_mu_);

  // ---- background.cc ----
  /// The threshold that the active memtable has passed, or kNone.
  SealReason DueSeal() const LAMINA_REQUIRES(commit_mu_);
  Status Seal(SealReason reason) LAMINA_REQUIRES(commit_mu_);
  void CountSeal(SealReason reason);
  /// Does not throw: without memory the flush has failed, and is tried again like any other.
  Status FlushSealed() LAMINA_REQUIRES(publish_mu_);
  struct FlushedNow;
  Status FlushAndPublish(FlushedNow* flushed) LAMINA_REQUIRES(publish_mu_);
  /// What a flush's edit says beside the rows: row ids that may not fall, erases to be finished.
  static void CompleteFlush(const storage::manifest::Version& base,
                            const std::vector<std::shared_ptr<const Memtable>>& flushed,
                            storage::manifest::VersionEdit* edit);
  void CountFlush(const FlushedNow& flushed);
  /// Brings a commit that no log has, alone in `memtable`, to the files in one edit with the
  /// request's definitions and loads, and makes it visible. Everything before it is in the files.
  Status PublishUnlogged(const std::shared_ptr<const Memtable>& memtable,
                         const CommitRequest& request) LAMINA_REQUIRES(publish_mu_);
  /// The loads' files as the commit's, each at the deepest level of `base` where it overlaps none.
  static void AddLoads(const CommitRequest& request, CommitId commit, SystemTime system,
                       const storage::manifest::Version& base, storage::manifest::VersionEdit* edit,
                       Loaded* loaded);
  /// `unlogged`: a commit that comes with the edit; it becomes visible with the version. `loaded`:
  /// of that commit, or null.
  Result<storage::manifest::VersionPtr> PublishEdit(
      const storage::manifest::VersionEdit& edit, size_t flushed_memtables = 0,
      const std::shared_ptr<const Memtable>& unlogged = nullptr,
      const std::shared_ptr<const Loaded>& loaded = nullptr) LAMINA_REQUIRES(publish_mu_);
  /// After a publish that failed: installs what others published meanwhile.
  void AdoptNewest() LAMINA_REQUIRES(publish_mu_);
  void TrimConflictWindow() LAMINA_REQUIRES(state_mu_);
  /// Runs one plan; false when there was nothing to do. Does not throw: without memory the
  /// compaction has failed, and is tried again like any other.
  Result<bool> RunCompaction(
      const std::function<std::optional<CompactionPlan>(const storage::manifest::Version&)>& pick)
      LAMINA_REQUIRES(compaction_mu_);
  Result<bool> CompactAndPublish(
      const std::function<std::optional<CompactionPlan>(const storage::manifest::Version&)>& pick)
      LAMINA_REQUIRES(compaction_mu_);
  Result<bool> CompactOnce() LAMINA_REQUIRES(compaction_mu_);
  Status FinishErases() LAMINA_REQUIRES(compaction_mu_);
  /// Does not throw. False when there was no memory for it; then nothing is due.
  bool Schedule(void (EngineImpl::*task)(), std::atomic<bool>* scheduled, int64_t delay_micros = 0);
  void ScheduleFlush() { Schedule(&EngineImpl::FlushTask, &flush_scheduled_); }
  void ScheduleCompaction();
  void ScheduleGc();
  void ScheduleAge() LAMINA_REQUIRES(commit_mu_);
  void ScheduleAfterPublish();
  void FlushTask();
  void CompactionTask();
  void GcTask();
  void SyncTask();
  void AgeTask();
  JobContext MakeJobContext(bool cancellable);
  Status ChangeSchema(std::optional<catalog::TableId> unflushed_table,
                      const std::function<Result<storage::manifest::VersionEdit>(
                          const storage::manifest::Version&)>& make);
  Result<std::vector<std::string>> PruneLog(bool dry_run);
  /// `no_compaction`: the caller holds compaction_mu_, so nothing under data/ is being written.
  Result<GcReport> Collect(bool dry_run, int64_t grace_micros, bool no_compaction)
      LAMINA_EXCLUDES(publish_mu_);
  void CountLevel0(const storage::manifest::Version& version);
  bool HasFacts(catalog::TableId table) const LAMINA_EXCLUDES(state_mu_);

  // ---- recovery.cc ----
  Status OpenManifest();
  /// State, memtables and counters as the manifest's version and the log from its floor say. Nobody
  /// reads yet.
  Status LoadAndReplay();
  void StartFrom(const storage::manifest::VersionPtr& version);
  Status ReplayLog();
  Status ApplyReplayed(const storage::wal::Frame& frame);
  void StopBackground();

  // ---- engine.cc ----
  ReadStatePtr state() const LAMINA_EXCLUDES(state_mu_);
  Status CheckWritable() const;
  /// Ends writing for good, keeping the first cause. Needs no memory.
  void Stop(const Status& cause) LAMINA_EXCLUDES(background_mu_);
  /// Does not throw.
  Status StoppedError() const LAMINA_EXCLUDES(background_mu_);
  static Status ClosedError();
  void NotifyBackground() LAMINA_EXCLUDES(background_mu_);

  // Constant after Recover.
  EngineOptions options_;
  base::Clock* clock_;
  base::Random random_;
  base::UlidGenerator ulids_;
  std::shared_ptr<base::Executor> executor_;
  bool own_executor_ = false;
  std::unique_ptr<StoreLock> lock_;
  std::unique_ptr<storage::manifest::ManifestStore> manifest_;
  std::unique_ptr<storage::sst::FileCache> files_;
  std::unique_ptr<Reader> reader_;
  std::unique_ptr<storage::wal::Writer> wal_;  // null: read-only or without a log
  uint64_t epoch_ = 0;
  std::shared_ptr<SnapshotRegistry> registry_ = std::make_shared<SnapshotRegistry>();
  std::shared_ptr<TaskGate> gate_ = std::make_shared<TaskGate>();
  RecoveryReport recovery_;

  // Locks, outermost first. queue_mu_ is taken alone.
  base::Mutex close_mu_;
  bool closed_ LAMINA_GUARDED_BY(close_mu_) = false;
  Status close_status_ LAMINA_GUARDED_BY(close_mu_);

  base::Mutex compaction_mu_;  // one compaction at a time

  base::Mutex publish_mu_;  // whoever holds it knows the newest version and may publish the next
  bool ended_ LAMINA_GUARDED_BY(publish_mu_) = false;  // Close gave the branch away

  base::Mutex commit_mu_;  // the one writer of log and memtable
  std::shared_ptr<Memtable> active_ LAMINA_GUARDED_BY(commit_mu_);
  int64_t active_since_nanos_ LAMINA_GUARDED_BY(commit_mu_) = 0;
  CommitId newest_ LAMINA_GUARDED_BY(commit_mu_);  // handed out, perhaps not yet published
  SystemTime newest_system_ LAMINA_GUARDED_BY(commit_mu_) = SystemTime::Min();
  SealThresholds seal_ LAMINA_GUARDED_BY(commit_mu_);
  std::vector<storage::wal::Frame> frames_ LAMINA_GUARDED_BY(commit_mu_);  // scratch
  size_t frame_bytes_ LAMINA_GUARDED_BY(commit_mu_) = 0;  // likewise: of the group's payloads

  base::Mutex sync_mu_;
  base::CondVar synced_;  // a sync ended
  bool syncing_ LAMINA_GUARDED_BY(sync_mu_) = false;

  mutable base::Mutex state_mu_;
  ReadStatePtr state_ LAMINA_GUARDED_BY(state_mu_);
  // Of the sealed memtables, in their order.
  std::deque<SealedInfo> sealed_info_ LAMINA_GUARDED_BY(state_mu_);
  std::deque<std::shared_ptr<const Memtable>> retained_
      LAMINA_GUARDED_BY(state_mu_);  // flushed, for conflict checks
  std::deque<std::shared_ptr<const Loaded>> loaded_ LAMINA_GUARDED_BY(state_mu_);  // likewise
  CommitId conflict_floor_ LAMINA_GUARDED_BY(state_mu_);
  // A name below all that it writes, of each load without a commit.
  std::multiset<base::Ulid> loads_ LAMINA_GUARDED_BY(state_mu_);
  // Of the running compaction: what it reads, and a name below all that it writes. Null without
  // one.
  storage::manifest::VersionPtr job_base_ LAMINA_GUARDED_BY(state_mu_);
  base::Ulid job_names_above_ LAMINA_GUARDED_BY(state_mu_);

  base::Mutex queue_mu_;
  std::deque<Pending*> queue_ LAMINA_GUARDED_BY(queue_mu_);

  base::Mutex row_ids_mu_;
  std::map<catalog::TableId, int64_t> next_row_id_ LAMINA_GUARDED_BY(row_ids_mu_);

  mutable base::Mutex background_mu_;
  base::CondVar progress_;  // a version was published, a background job failed, or writing stopped
  Status stop_cause_ LAMINA_GUARDED_BY(background_mu_);
  Status flush_error_ LAMINA_GUARDED_BY(background_mu_);  // of the last flush; OK after a good one
  Status compaction_error_ LAMINA_GUARDED_BY(background_mu_);  // likewise
  int64_t flush_backoff_micros_ LAMINA_GUARDED_BY(background_mu_) = 0;

  // Atomic.
  std::atomic<uint64_t> visible_{0};       // newest published commit
  std::atomic<uint64_t> appended_{0};      // newest commit in log and memtable
  std::atomic<uint64_t> durable_{0};       // newest commit known to be synced or flushed
  std::atomic<uint64_t> synced_bytes_{0};  // of the log, as its writer counts them
  std::atomic<uint64_t> definitions_changed_at_{0};
  std::atomic<bool> stopped_{false};
  std::atomic<bool> closing_{false};
  std::atomic<int> commits_in_flight_{0};
  std::atomic<int32_t> sealed_count_{0};
  std::atomic<int32_t> level0_files_{0};          // of the table with the most
  std::atomic<int64_t> compaction_due_nanos_{0};  // 0: counted already
  std::atomic<bool> flush_scheduled_{false};
  std::atomic<bool> compaction_scheduled_{false};
  std::atomic<bool> gc_scheduled_{false};
  std::atomic<bool> sync_scheduled_{false};
  std::atomic<bool> age_scheduled_{false};

  struct Counters {
    base::Counter loads, loaded_rows, load_bytes_out;
    base::Counter commits, commit_groups, facts, conflicts, check_nanos, wal_nanos, sync_nanos,
        memtable_nanos, wait_nanos, backpressure_waits, backpressure_nanos, waits_sealed,
        waits_level0, waits_slowdown;
    base::Histogram commit_latency, enqueue_to_durable;
    base::Counter flushes, flush_rows_in, flush_rows_out, flush_bytes_out, flush_nanos,
        flush_lookups, flush_failures, flush_files_out, flush_rows_ended, flush_rows_rewritten,
        seal_to_flush_nanos;
    base::Counter seals_bytes, seals_rows, seals_batches, seals_age, seals_asked;
    base::Counter compactions, compaction_rows_in, compaction_rows_out, compaction_bytes_in,
        compaction_bytes_out, compaction_nanos, compaction_conflicts, compaction_failures,
        compaction_files_in, compaction_files_out, compaction_wait_nanos;
    base::Counter gc_runs, gc_deleted_objects, gc_deleted_bytes, gc_nanos, gc_reclaim_micros;
    base::Gauge gc_obsolete_bytes, gc_pinned_bytes;
  };
  mutable Counters counters_;
};

}  // namespace lamina::engine
