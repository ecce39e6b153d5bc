// The engine of one branch: commit pipeline, snapshots, background flush / compaction / GC,
// recovery. Policy lives here.
//
// Write path: Commit -> queue (group leader) -> conflict check -> commit number and time -> WAL
// append (+ sync by policy) -> memtable -> publish -> acknowledge. Seal -> background flush ->
// manifest CAS -> WAL prune.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "engine/bulk_load.h"
#include "engine/maintenance.h"
#include "engine/options.h"
#include "engine/reader.h"
#include "engine/snapshot.h"
#include "engine/write_batch.h"

namespace lamina::engine {

/// What a serializable transaction read, to be checked against the commits after its snapshot.
struct ReadSet {
  struct Range {
    catalog::TableId table;
    catalog::KeyRange keys;
  };
  struct Key {
    catalog::TableId table;
    std::string key;  ///< Also keys that were looked for and not found.
  };
  std::vector<Range> ranges;
  std::vector<Key> keys;
  bool empty() const { return ranges.empty() && keys.empty(); }
};

/// Table definitions that a commit changes in one step with its facts.
struct DefinitionChanges {
  /// New tables (ids from the snapshot's next_table_id on) and later versions of old ones: the last
  /// of each. Facts of these tables are written as they say.
  std::vector<catalog::TableSchemaPtr> put;
  std::vector<catalog::TableId> drop;  ///< The snapshot has them; the batch has no fact of them.
  bool empty() const { return put.empty() && drop.empty(); }
};

struct CommitRequest {
  /// Not empty, unless `mark`, `definitions` or `loads` is set. Consumed on success.
  WriteBatch* batch = nullptr;
  bool mark = false;               ///< Commits also without facts: takes a number and a time.
  SnapshotPtr snapshot;            ///< Null: no conflict check (blind autocommit write).
  const ReadSet* reads = nullptr;  ///< Null or empty: writes only are checked (snapshot isolation).
  /// Must be later than the newest commit and not after the clock's now.
  std::optional<SystemTime> system_time;
  /// Not empty: if a commit carried it before, that commit's receipt comes back.
  std::string idempotency_key;
  /// Stronger than the database's policy for this commit (kAlways), or null.
  std::optional<SyncPolicy> sync;
  /// Null or empty: none. Needs a snapshot; any definition that changed since it is a kConflict.
  /// Such a commit flushes what is in memory, goes past the log and is durable when it returns.
  const DefinitionChanges* definitions = nullptr;
  /// Finished ones, at most one a table, of tables that the batch does not write. Need a snapshot.
  /// The commit is a kConflict where another has written one of their keys since. It goes past the
  /// log as well. A load that was refused may come again with another commit.
  std::vector<BulkLoad*> loads;
};

struct CommitReceipt {
  CommitId commit;
  SystemTime system;
  AckClass ack = AckClass::kMemory;
  bool replayed = false;  ///< The idempotency key had been committed before.
};

struct EngineMetrics {
  // wal
  uint64_t wal_frames = 0, wal_bytes = 0, wal_appends = 0, wal_syncs = 0, wal_sync_nanos = 0,
           wal_segments = 0, wal_floor_epoch = 0, wal_floor_segment = 0;
  // commit
  uint64_t commits = 0, commit_groups = 0, facts = 0, conflicts = 0, queue_depth = 0;
  uint64_t loads = 0, loaded_rows = 0, load_bytes_out = 0;
  uint64_t commit_check_nanos = 0, commit_wal_nanos = 0, commit_sync_nanos = 0,
           commit_memtable_nanos = 0, commit_wait_nanos = 0;
  base::HistogramSnapshot commit_latency;
  base::HistogramSnapshot enqueue_to_durable;
  uint64_t backpressure_waits = 0, backpressure_nanos = 0, waits_sealed = 0, waits_level0 = 0,
           waits_slowdown = 0;
  uint64_t durable_lag_commits = 0;  ///< Published, not yet synced.
  // memtable
  uint64_t memtable_bytes = 0, memtable_facts = 0, sealed_memtables = 0;
  // flush
  uint64_t flushes = 0, flush_rows_in = 0, flush_rows_out = 0, flush_bytes_out = 0, flush_nanos = 0,
           flush_lookups = 0, flush_failures = 0, flush_files_out = 0, flush_rows_ended = 0,
           flush_rows_rewritten = 0, seal_to_flush_nanos = 0;
  uint64_t seals_bytes = 0, seals_rows = 0, seals_batches = 0, seals_age = 0, seals_asked = 0;
  // compaction
  uint64_t compactions = 0, compaction_rows_in = 0, compaction_rows_out = 0,
           compaction_bytes_in = 0, compaction_bytes_out = 0, compaction_nanos = 0,
           compaction_conflicts = 0, compaction_failures = 0, compaction_files_in = 0,
           compaction_files_out = 0, compaction_wait_nanos = 0;
  uint64_t level0_files = 0, pending_erases = 0;
  // gc
  uint64_t gc_runs = 0, gc_deleted_objects = 0, gc_deleted_bytes = 0, retired_objects = 0,
           gc_nanos = 0, gc_reclaim_micros = 0, gc_obsolete_bytes = 0, gc_pinned_bytes = 0;
  // manifest
  uint64_t manifest_commits = 0, manifest_cas_retries = 0, manifest_commit_nanos = 0,
           manifest_ref_bytes = 0, manifest_version = 0, manifest_loads = 0,
           manifest_head_nanos = 0, manifest_decode_nanos = 0, manifest_cas_nanos = 0,
           manifest_base_bytes = 0, manifest_bases_written = 0, manifest_outcomes_settled = 0;
  // reads
  uint64_t gets = 0, scans = 0, rows_returned = 0;
  storage::sst::ReadCounters io;
  storage::sst::CacheStats cache;
  // snapshots
  uint64_t live_snapshots = 0;
  uint64_t oldest_snapshot_commit = 0;
};

/// What open found and did.
struct RecoveryReport {
  bool created = false;
  uint64_t wal_frames = 0, wal_bytes = 0, wal_segments = 0, replayed_commits = 0,
           skipped_commits = 0;
  uint64_t torn_bytes = 0;
  std::string torn_at;
  std::vector<std::string> left_out;
  int64_t nanos = 0;
};

enum class SealPolicyChange : uint8_t { kKeep, kNever };

/// Thread-safe.
class Engine {
 public:
  /// Creates or recovers. Errors: kUnavailable (locked by another process, names it), kNotFound (no
  /// database and !create_if_missing), kCorruption (file, offset), kUnsupported (newer format),
  /// kInvalidArgument (options; a directory that holds something else).
  static Result<std::unique_ptr<Engine>> Open(EngineOptions options);
  /// As a crash would leave it, except that nothing written to the system is lost; Close first for
  /// a clean end.
  virtual ~Engine() = default;

  virtual Result<CommitReceipt> Commit(CommitRequest request) = 0;
  /// `table`: a definition that the commit will find or bring. `cancelled` is asked while it
  /// writes, by any of its threads; true ends the call with kCancelled. May be null.
  virtual Result<std::unique_ptr<BulkLoad>> BeginLoad(catalog::TableSchemaPtr table,
                                                      std::function<bool()> cancelled) = 0;
  /// The newest published commit. `now_micros`: valid now; default the clock's.
  virtual SnapshotPtr GetSnapshot(std::optional<int64_t> now_micros = std::nullopt) const = 0;
  /// The newest value of a key of an inline table, valid now: appends it to `value`; false = none.
  /// Answers as a read through GetSnapshot does, but makes no snapshot where memory decides.
  virtual Result<bool> GetNewestInline(catalog::TableId table, std::string_view key,
                                       std::string* value) const = 0;
  virtual const Reader& reader() const = 0;
  virtual CommitId newest_commit() const = 0;
  virtual SystemTime newest_system() const = 0;
  /// First id for the next rows of a no-key table; ids are used up even if the commit fails.
  virtual Result<int64_t> ReserveRowIds(catalog::TableId table, int64_t count) = 0;

  /// Adds a table or replaces its definition (same id, version + 1), or drops it. Seals and flushes
  /// nothing more than needed; waits for running commits; transactions that began before fail at
  /// commit with kConflict when they wrote the table.
  virtual Result<catalog::TableSchemaPtr> CreateTable(const std::string& name,
                                                      const std::shared_ptr<arrow::Schema>& schema,
                                                      const catalog::KeyDeclaration& key,
                                                      catalog::TableOptions options) = 0;
  virtual Status AlterTable(
      catalog::TableId table,
      const std::function<Result<catalog::TableSchemaPtr>(const catalog::TableSchema&)>&
          change) = 0;
  virtual Status DropTable(catalog::TableId table) = 0;
  /// A snapshot at or above this commit sees the newest definitions. Raised before any change can
  /// be seen, also where the change then fails.
  virtual CommitId definitions_changed_at() const = 0;

  /// Seals the active memtable and waits until everything sealed is in the files.
  virtual Status Flush() = 0;
  /// Waits for a sync of everything published.
  virtual Status Sync() = 0;
  /// Runs full compaction of one table, or of all; waits.
  virtual Status Compact(std::optional<catalog::TableId> table) = 0;
  /// Waits until no flush or compaction is running or due.
  virtual Status WaitForBackground() = 0;
  virtual Result<GcReport> CollectGarbage(bool dry_run, std::optional<int64_t> grace_micros) = 0;
  virtual Result<std::vector<std::string>> PruneWal(bool dry_run) = 0;

  virtual Result<storage::manifest::Checkpoint> CreateCheckpoint(
      const std::string& name) = 0;  ///< At the newest commit; flushes first.
  virtual Status DropCheckpoint(const std::string& name) = 0;
  virtual Status TrimHistory(catalog::TableId table, SystemTime floor) = 0;
  /// Commits an erase fact, flushes, and rewrites every file that holds the key. On OK no data file
  /// and no WAL segment does, except files still pinned by live snapshots, which the report of
  /// CollectGarbage lists.
  virtual Status EraseKey(catalog::TableId table, const std::string& key) = 0;

  /// What sealing does from now on (tests and bulk loads).
  virtual void SetSealThresholds(int64_t bytes, int64_t rows, int64_t age_micros,
                                 int64_t batches) = 0;
  virtual EngineMetrics metrics() const = 0;
  virtual const RecoveryReport& recovery() const = 0;
  virtual storage::manifest::VersionPtr version() const = 0;
  virtual const EngineOptions& options() const = 0;
  virtual const std::shared_ptr<ObjectStore>& store() const = 0;

  /// Verifies everything at rest: manifest invariants, every file, deletion vector, WAL frame, no
  /// orphan referenced. Returns findings.
  virtual Result<std::vector<std::string>> Check(
      const std::function<void(uint64_t done, uint64_t total)>& progress) = 0;

  /// Stops background work, flushes if `flush`, syncs and closes the WAL, releases the lock.
  /// Idempotent.
  virtual Status Close(bool flush) = 0;
};

}  // namespace lamina::engine
