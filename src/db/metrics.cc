#include "lamina/metrics.h"

#include <string>
#include <utility>

namespace lamina {

std::vector<std::pair<std::string, double>> DatabaseMetrics::Flatten() const {
  std::vector<std::pair<std::string, double>> out;
  const auto add = [&](std::string name, auto value) {
    out.emplace_back(std::move(name), static_cast<double>(value));
  };
  add("wal.frames", wal.frames);
  add("wal.bytes", wal.bytes);
  add("wal.appends", wal.appends);
  add("wal.syncs", wal.syncs);
  add("wal.sync_nanos", wal.sync_nanos);
  add("wal.segments", wal.segments);
  add("wal.floor_epoch", wal.floor_epoch);
  add("wal.floor_segment", wal.floor_segment);
  add("commit.commits", commit.commits);
  add("commit.groups", commit.groups);
  add("commit.facts", commit.facts);
  add("commit.conflicts", commit.conflicts);
  add("commit.queue_depth", commit.queue_depth);
  add("commit.check_nanos", commit.check_nanos);
  add("commit.wal_nanos", commit.wal_nanos);
  add("commit.sync_nanos", commit.sync_nanos);
  add("commit.memtable_nanos", commit.memtable_nanos);
  add("commit.wait_nanos", commit.wait_nanos);
  add("commit.backpressure_waits", commit.backpressure_waits);
  add("commit.backpressure_nanos", commit.backpressure_nanos);
  add("commit.durable_lag_commits", commit.durable_lag_commits);
  const auto add_latency = [&](const std::string& name, const LatencySummary& latency) {
    add(name + ".count", latency.count);
    add(name + ".mean", latency.mean);
    add(name + ".p50", latency.p50);
    add(name + ".p95", latency.p95);
    add(name + ".p99", latency.p99);
    add(name + ".p999", latency.p999);
    add(name + ".max", latency.max);
  };
  add_latency("commit.latency", commit.latency);
  add("commit.waits_sealed", commit.waits_sealed);
  add("commit.waits_level0", commit.waits_level0);
  add("commit.waits_slowdown", commit.waits_slowdown);
  add_latency("commit.enqueue_to_durable", commit.enqueue_to_durable);
  add("memtable.bytes", memtable.bytes);
  add("memtable.facts", memtable.facts);
  add("memtable.sealed", memtable.sealed);
  add("flush.flushes", flush.flushes);
  add("flush.facts_in", flush.facts_in);
  add("flush.rows_out", flush.rows_out);
  add("flush.bytes_out", flush.bytes_out);
  add("flush.nanos", flush.nanos);
  add("flush.lookups", flush.lookups);
  add("flush.failures", flush.failures);
  add("flush.files_out", flush.files_out);
  add("flush.rows_ended", flush.rows_ended);
  add("flush.rows_rewritten", flush.rows_rewritten);
  add("flush.seal_to_flush_nanos", flush.seal_to_flush_nanos);
  add("flush.seals_bytes", flush.seals_bytes);
  add("flush.seals_rows", flush.seals_rows);
  add("flush.seals_batches", flush.seals_batches);
  add("flush.seals_age", flush.seals_age);
  add("flush.seals_asked", flush.seals_asked);
  add("compaction.compactions", compaction.compactions);
  add("compaction.rows_in", compaction.rows_in);
  add("compaction.rows_out", compaction.rows_out);
  add("compaction.bytes_in", compaction.bytes_in);
  add("compaction.bytes_out", compaction.bytes_out);
  add("compaction.nanos", compaction.nanos);
  add("compaction.conflicts", compaction.conflicts);
  add("compaction.failures", compaction.failures);
  add("compaction.files_in", compaction.files_in);
  add("compaction.files_out", compaction.files_out);
  add("compaction.wait_nanos", compaction.wait_nanos);
  add("compaction.level0_files", compaction.level0_files);
  add("compaction.pending_erases", compaction.pending_erases);
  add("gc.runs", gc.runs);
  add("gc.deleted_objects", gc.deleted_objects);
  add("gc.deleted_bytes", gc.deleted_bytes);
  add("gc.retired_objects", gc.retired_objects);
  add("gc.nanos", gc.nanos);
  add("gc.time_to_reclaim_micros", gc.time_to_reclaim_micros);
  add("gc.obsolete_bytes", gc.obsolete_bytes);
  add("gc.pinned_bytes", gc.pinned_bytes);
  add("manifest.version", manifest.version);
  add("manifest.commits", manifest.commits);
  add("manifest.cas_retries", manifest.cas_retries);
  add("manifest.commit_nanos", manifest.commit_nanos);
  add("manifest.ref_bytes", manifest.ref_bytes);
  add("manifest.loads", manifest.loads);
  add("manifest.head_nanos", manifest.head_nanos);
  add("manifest.decode_nanos", manifest.decode_nanos);
  add("manifest.cas_nanos", manifest.cas_nanos);
  add("manifest.base_bytes", manifest.base_bytes);
  add("manifest.bases_written", manifest.bases_written);
  add("manifest.unknown_outcomes_settled", manifest.unknown_outcomes_settled);
  add("read.gets", read.gets);
  add("read.scans", read.scans);
  add("read.rows_returned", read.rows_returned);
  add("read.files_opened", read.io.files_opened);
  add("read.row_groups_read", read.io.row_groups_read);
  add("read.row_groups_pruned", read.io.row_groups_pruned);
  add("read.pages_read", read.io.pages_read);
  add("read.pages_pruned", read.io.pages_pruned);
  add("read.page_cache_hits", read.io.page_cache_hits);
  add("read.bytes_read", read.io.bytes_read);
  add("read.requests", read.io.requests);
  add("read.bloom_negatives", read.io.bloom_negatives);
  add("read.rows_decoded", read.io.rows_decoded);
  add("cache.page_hits", cache.page_hits);
  add("cache.page_misses", cache.page_misses);
  add("cache.page_bytes", cache.page_bytes);
  add("cache.page_evictions", cache.page_evictions);
  add("cache.footer_hits", cache.footer_hits);
  add("cache.footer_misses", cache.footer_misses);
  add("cache.footer_bytes", cache.footer_bytes);
  add("cache.deletion_hits", cache.deletion_hits);
  add("cache.deletion_misses", cache.deletion_misses);
  add("cache.deletion_bytes", cache.deletion_bytes);
  add("snapshots.live", live_snapshots);
  add("snapshots.oldest_commit", oldest_snapshot_commit);
  return out;
}

}  // namespace lamina
