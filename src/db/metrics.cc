#include "lamina/metrics.h"

namespace lamina {

std::vector<std::pair<std::string, double>> DatabaseMetrics::Flatten() const {
  std::vector<std::pair<std::string, double>> out;
  const auto add = [&](const char* name, auto value) {
    out.emplace_back(name, static_cast<double>(value));
  };
  add("wal.frames", wal.frames);
  add("wal.bytes", wal.bytes);
  add("wal.appends", wal.appends);
  add("wal.syncs", wal.syncs);
  add("wal.sync_nanos", wal.sync_nanos);
  add("wal.segments", wal.segments);
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
  add("commit.latency.count", commit.latency.count);
  add("commit.latency.mean", commit.latency.mean);
  add("commit.latency.p50", commit.latency.p50);
  add("commit.latency.p95", commit.latency.p95);
  add("commit.latency.p99", commit.latency.p99);
  add("commit.latency.p999", commit.latency.p999);
  add("commit.latency.max", commit.latency.max);
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
  add("compaction.compactions", compaction.compactions);
  add("compaction.rows_in", compaction.rows_in);
  add("compaction.rows_out", compaction.rows_out);
  add("compaction.bytes_in", compaction.bytes_in);
  add("compaction.bytes_out", compaction.bytes_out);
  add("compaction.nanos", compaction.nanos);
  add("compaction.conflicts", compaction.conflicts);
  add("compaction.failures", compaction.failures);
  add("gc.runs", gc.runs);
  add("gc.deleted_objects", gc.deleted_objects);
  add("gc.deleted_bytes", gc.deleted_bytes);
  add("gc.retired_objects", gc.retired_objects);
  add("manifest.version", manifest.version);
  add("manifest.commits", manifest.commits);
  add("manifest.cas_retries", manifest.cas_retries);
  add("manifest.commit_nanos", manifest.commit_nanos);
  add("manifest.ref_bytes", manifest.ref_bytes);
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
