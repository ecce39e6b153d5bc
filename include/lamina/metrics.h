// Counters that move while a database works, as plain structs copied on request. Nothing is
// registered globally.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace lamina {

/// What reading files cost.
struct IoCounters {
  uint64_t files_opened = 0;  ///< Footers read, not found in the cache.
  uint64_t row_groups_read = 0;
  uint64_t row_groups_pruned = 0;
  uint64_t pages_read = 0;  ///< Page x column decoded.
  uint64_t pages_pruned = 0;
  uint64_t page_cache_hits = 0;
  uint64_t bytes_read = 0;
  uint64_t requests = 0;
  uint64_t bloom_negatives = 0;
  uint64_t rows_decoded = 0;
};

/// Where one scan's time went (nanoseconds) and what it cost.
struct ScanProfile {
  int64_t snapshot_nanos = 0;
  int64_t plan_scan_nanos = 0;           ///< Choosing files and pages.
  int64_t build_scan_streams_nanos = 0;  ///< Opening files, collecting unresolved facts.
  int64_t merge_init_nanos = 0;
  int64_t package_init_nanos = 0;
  int64_t consume_nanos = 0;  ///< In ReadNext so far.
  uint64_t files_considered = 0;
  uint64_t files_pruned = 0;
  uint64_t memtable_facts = 0;  ///< Unresolved facts looked at.
  uint64_t rows_scanned = 0;
  uint64_t rows_returned = 0;
  IoCounters io;
};

/// Nanoseconds: percentiles of a latency.
struct LatencySummary {
  uint64_t count = 0;
  double mean = 0;
  uint64_t p50 = 0, p95 = 0, p99 = 0, p999 = 0, max = 0;
};

/// Bytes a frame or a segment: bytes / frames, bytes / segments.
struct WalMetrics {
  uint64_t frames = 0, bytes = 0, appends = 0, syncs = 0, sync_nanos = 0, segments = 0;
  uint64_t floor_epoch = 0, floor_segment = 0;  ///< The first segment that a reopen would read.
};
struct CommitMetrics {
  uint64_t commits = 0, groups = 0, facts = 0, conflicts = 0, queue_depth = 0;
  /// Phases of a commit.
  uint64_t check_nanos = 0, wal_nanos = 0, sync_nanos = 0, memtable_nanos = 0, wait_nanos = 0;
  uint64_t backpressure_waits = 0, backpressure_nanos = 0;
  uint64_t durable_lag_commits = 0;  ///< Acknowledged, not yet synced.
  LatencySummary latency;            ///< Of the call. An acknowledged commit is visible already.
  /// backpressure_waits by reason: too many sealed memtables, too many level-0 files, and the short
  /// sleep before those are too many.
  uint64_t waits_sealed = 0, waits_level0 = 0, waits_slowdown = 0;
  LatencySummary enqueue_to_durable;  ///< Of the commits that waited for a sync.
};
struct MemtableMetrics {
  uint64_t bytes = 0, facts = 0, sealed = 0;
};
struct FlushMetrics {
  uint64_t flushes = 0, facts_in = 0, rows_out = 0, bytes_out = 0, nanos = 0, lookups = 0,
           failures = 0;
  uint64_t files_out = 0;
  uint64_t rows_ended = 0, rows_rewritten = 0;  ///< Rows at rest that the facts overlapped.
  uint64_t seal_to_flush_nanos = 0;  ///< Summed over memtables: sealed until in the files.
  uint64_t seals_bytes = 0, seals_rows = 0, seals_batches = 0, seals_age = 0,
           seals_asked = 0;  ///< Why memtables were sealed; asked: Flush and what needs one.
};
struct CompactionMetrics {
  uint64_t compactions = 0, rows_in = 0, rows_out = 0, bytes_in = 0, bytes_out = 0, nanos = 0,
           conflicts = 0, failures = 0;
  uint64_t files_in = 0, files_out = 0;           ///< files_in are obsolete from then on.
  uint64_t wait_nanos = 0;                        ///< From being due in the background to running.
  uint64_t level0_files = 0, pending_erases = 0;  ///< The backlog now: of the table with the most.
};
struct GcMetrics {
  uint64_t runs = 0, deleted_objects = 0, deleted_bytes = 0, retired_objects = 0;
  uint64_t nanos = 0;
  uint64_t time_to_reclaim_micros = 0;  ///< Summed over deleted objects: retired until deleted.
  uint64_t obsolete_bytes = 0;          ///< Left by the last run, in the grace or pinned.
  uint64_t pinned_bytes = 0;            ///< Of these, held by live snapshots.
};
struct ManifestMetrics {
  uint64_t version = 0, commits = 0, cas_retries = 0, commit_nanos = 0, ref_bytes = 0;
  uint64_t loads = 0, head_nanos = 0,
           decode_nanos = 0;  ///< Reading the ref; decoding it and bases.
  uint64_t cas_nanos = 0;     ///< In conditional puts of the ref.
  uint64_t base_bytes = 0, bases_written = 0, unknown_outcomes_settled = 0;
};
struct ReadMetrics {
  uint64_t gets = 0, scans = 0, rows_returned = 0;
  IoCounters io;
};
struct CacheMetrics {
  uint64_t page_hits = 0, page_misses = 0, page_bytes = 0, page_evictions = 0;
  uint64_t footer_hits = 0, footer_misses = 0, footer_bytes = 0;
  uint64_t deletion_hits = 0, deletion_misses = 0, deletion_bytes = 0;
};

/// One struct a module; counters since open.
struct DatabaseMetrics {
  WalMetrics wal;
  CommitMetrics commit;
  MemtableMetrics memtable;
  FlushMetrics flush;
  CompactionMetrics compaction;
  GcMetrics gc;
  ManifestMetrics manifest;
  ReadMetrics read;
  CacheMetrics cache;
  uint64_t live_snapshots = 0;
  uint64_t oldest_snapshot_commit = 0;

  /// Every figure as ("wal.frames", 12), for printing and exporting.
  std::vector<std::pair<std::string, double>> Flatten() const;
};

}  // namespace lamina
