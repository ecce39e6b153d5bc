// What a database can be told when it is opened. Every option is used; a value out of range is
// refused with its name.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "lamina/error.h"

namespace lamina {

class TraceSink;

/// When the write-ahead log is synced.
enum class SyncPolicy : uint8_t {
  kAlways,    ///< A commit returns when its group of log frames is synced: durable.
  kInterval,  ///< A commit returns when written to the operating system; a sync follows within
              ///< sync_interval_micros, or at sync_interval_bytes.
  kOff,       ///< Never synced by commits (flushed files still are).
};

/// What an acknowledgement waited for.
enum class AckClass : uint8_t {
  kMemory,   ///< In this process only (database without a log).
  kWritten,  ///< Handed to the operating system: survives the process, not the machine.
  kDurable,  ///< Synced: survives the machine.
};
const char* AckClassName(AckClass ack);

/// Codec of data pages.
enum class Codec : uint8_t { kNone = 0, kLz4 = 1, kZstd = 2 };

/// Defaults suit an embedded database of up to some hundred million rows on a laptop. Sizes in
/// bytes, times in microseconds.
struct DatabaseOptions {
  bool create_if_missing = true;
  /// No lock and no writes; the log is replayed in memory without touching it.
  bool read_only = false;
  bool wal = true;  ///< False: commits are acknowledged kMemory and are durable only after Flush.
  bool salvage = false;  ///< Open in spite of log damage, keeping what is intact before it; the
                         ///< report says what was left out.

  SyncPolicy sync = SyncPolicy::kInterval;
  int64_t sync_interval_micros = 50'000;
  /// kInterval: the commits with which so many bytes of the log are not synced wait for a sync, and
  /// are durable. So a power failure loses less than this. 0 = by time only.
  int64_t sync_interval_bytes = 0;
  int64_t wal_segment_bytes = 64 << 20;  ///< The log begins a new segment before passing it.

  // Sealing: the first that is reached closes the active memtable. 0 = never for this reason.
  // A memtable, those waiting and the flush's own memory make up most of a bulk load's peak.
  int64_t memtable_bytes = 32 << 20;
  int64_t memtable_rows = 0;
  int64_t memtable_age_micros = 0;
  int64_t memtable_batches = 0;
  bool auto_flush = true;  ///< False: sealed memtables stay in memory until Flush is called.
  bool auto_compact = true;
  /// Backpressure: a commit waits while so many wait to be flushed.
  int32_t max_sealed_memtables = 2;

  // Data files.
  int32_t rows_per_page = 1024;  ///< Smaller: faster point reads; larger: smaller files.
  int32_t rows_per_row_group = 128 * 1024;
  Codec upper_codec = Codec::kLz4;  ///< Levels 0 and 1.
  Codec last_codec = Codec::kZstd;  ///< Deeper levels and history.
  double bloom_bits_per_key = 10;   ///< 0: no Bloom filter.
  int64_t file_bytes_target = 64 << 20;

  // Compaction: leveled for current files, by age for history files.
  int32_t level0_files = 4;            ///< This many level-0 files of a table start a job.
  int32_t level0_slowdown_files = 12;  ///< Commits are delayed by slowdown_micros each …
  int32_t level0_stop_files = 24;      ///< … and wait until compaction catches up.
  int64_t slowdown_micros = 1'000;
  int64_t level1_bytes = 256 << 20;
  int32_t level_ratio = 10;
  int64_t job_bytes_max = int64_t{2} << 30;
  int32_t history_files = 4;      ///< This many history files of one time bucket are merged.
  double deleted_fraction = 0.2;  ///< A current file with a larger part of ended rows is rewritten.

  int64_t gc_grace_micros = 15LL * 60 * 1'000'000;  ///< Objects out of use are deleted after this.
  bool auto_gc = true;
  int64_t retained_conflict_bytes =
      256 << 20;  ///< Kept of flushed keys to check long transactions against.

  int64_t page_cache_bytes = 64 << 20;  ///< Decoded pages. 0 = off.
  int64_t footer_cache_bytes = 64 << 20;
  int64_t deletion_cache_bytes = 64 << 20;

  int32_t background_threads = 2;
  std::shared_ptr<TraceSink> trace;  ///< Receives events; null = none. There is no global sink.
};

}  // namespace lamina
