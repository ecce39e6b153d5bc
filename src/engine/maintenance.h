// Background work as functions: data in, a VersionEdit out. Who calls them, when, and how the edit
// is published is engine.cc's.
//
// Flush resolves: settled open rows + facts -> new rows, deletion-vector entries, pieces
// (temporal::Resolve). Compaction only rearranges; its law: the multiset of row versions in = that
// out (checked on every run; kInternal if broken, nothing published).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/memtable.h"
#include "engine/options.h"
#include "storage/manifest/version.h"
#include "storage/sst/file_reader.h"

namespace lamina::engine {

/// What a job may use. Outlives the job.
struct JobContext {
  const EngineOptions* options = nullptr;
  std::shared_ptr<ObjectStore> store;
  storage::sst::FileCache* files = nullptr;
  base::UlidGenerator* ulids = nullptr;
  base::Clock* clock = nullptr;
  std::function<bool()>
      cancelled;  ///< Asked between batches; true ends the job with kCancelled. May be null.
  std::function<void(uint64_t done, uint64_t total)> progress;  ///< Rows. May be null.
};

struct JobStats {
  uint64_t rows_in = 0, rows_out = 0, rows_ended = 0, rows_rewritten = 0, facts_in = 0;
  uint64_t files_in = 0, files_out = 0, bytes_in = 0, bytes_out = 0;
  /// Flush: keys that needed a settled lookup; key pages decoded for it.
  uint64_t lookups = 0, lookup_pages = 0;
  uint64_t nanos = 0;
};

struct JobResult {
  storage::manifest::VersionEdit edit;
  JobStats stats;
  std::vector<std::string> written;  ///< Paths: deleted by the caller if the edit is not published.
};

/// Flushes sealed memtables (oldest first, all of them into one edit: files, deletion vectors, the
/// commits table's rows, row-id floors, `flushed`). The WAL floor is set by the caller. `base` must
/// be the newest version and stay so until the edit is published. Memory beyond the memtables: one
/// row group plus the looked-up pages of one batch of keys.
Result<JobResult> RunFlush(const JobContext& context, const storage::manifest::Version& base,
                           const std::vector<std::shared_ptr<const Memtable>>& sealed);

/// A compaction: which files, into which level.
struct CompactionPlan {
  catalog::TableId table;
  storage::FileKind kind = storage::FileKind::kCurrent;
  std::vector<storage::DataFilePtr> inputs;
  uint8_t output_level = 1;
  /// "level0", "size", "deleted", "history", "manual", "erase", "trim", "load".
  std::string reason;
  bool one_row_a_key = false;  ///< Two open rows of one key are kAlreadyExists.
};

/// Pure. The most urgent job whose inputs are not in `busy`, or nullopt.
std::optional<CompactionPlan> PickCompaction(const storage::manifest::Version& version,
                                             const EngineOptions& options,
                                             const std::vector<base::Ulid>& busy,
                                             int64_t now_micros);
/// A plan that merges everything of a table (current files to the last level, history files per
/// bucket). Empty when there is nothing to do.
std::vector<CompactionPlan> PlanFullCompaction(const storage::manifest::Version& version,
                                               catalog::TableId table,
                                               const EngineOptions& options);

/// Runs a plan against the versions of its files in `base`. Reading and writing only; publishing is
/// Finish's.
class CompactionJob {
 public:
  static std::unique_ptr<CompactionJob> Make(JobContext context, storage::manifest::VersionPtr base,
                                             CompactionPlan plan);
  virtual ~CompactionJob() = default;
  virtual Status Run() = 0;
  /// Called under the publish lock with the newest version: deletion-vector entries that a flush
  /// added to the inputs meanwhile are carried over to the outputs by position. kConflict when an
  /// input is gone. Then the caller publishes the edit.
  virtual Result<JobResult> Finish(const storage::manifest::Version& newest) = 0;
};

/// History retention: files all of whose rows ended at or before the floor go; `floor` may not pass
/// a checkpoint (kInvalidArgument). Rows below the floor in mixed files go with later compactions.
/// Returns the edit that raises the floor and drops whole files.
Result<storage::manifest::VersionEdit> PlanTrim(const storage::manifest::Version& version,
                                                catalog::TableId table, SystemTime floor);

struct GcReport {
  std::vector<std::string> deleted;  ///< Or, in a dry run, what would be.
  uint64_t bytes = 0;
  /// Retired but still pinned or within the grace: path and reason.
  std::vector<std::string> kept;
  uint64_t kept_bytes = 0, pinned_bytes = 0;  ///< Of all kept; of those that live snapshots read.
  int64_t reclaim_micros = 0;  ///< Summed over deleted retired objects: retired until now.
};
/// Deletes retired objects past the grace that no live snapshot (`live` versions) needs, and
/// orphans: objects under data/ and temporary files that no version refers to, older than the grace
/// and named below `names_below`, which is at or below all that a running job writes. Order:
/// deletion vectors, data. Without a grace the clock, which may have gone back, has no say. The
/// forget_retired edit comes back for publishing (empty in a dry run). `confirm` is asked between
/// listing and deleting whether `newest` still is the newest; its error is returned and nothing
/// deleted.
Result<std::pair<GcReport, storage::manifest::VersionEdit>> CollectGarbage(
    const JobContext& context, const storage::manifest::Version& newest,
    const std::vector<storage::manifest::VersionPtr>& live, int64_t grace_micros,
    const base::Ulid& names_below, const std::function<Status()>& confirm, bool dry_run);

}  // namespace lamina::engine
