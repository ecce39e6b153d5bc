// Reads at any moment: point reads and scans over files and memtables of one snapshot, with a
// transaction's own writes on top.
//
// A scan: choose files by key range, times and statistics; per file prune pages; stream rows; drop
// those not in the window (columns and deletion vector); rows whose key has unresolved facts are
// cut by them (temporal::Cut); the facts' own versions (temporal::Versions) come in as one more
// source. Sources are merged by key only where their key ranges overlap. A pruned row can never
// matter: facts only cut rows, each row by itself (see temporal/resolve.h).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <arrow/record_batch.h>

#include "base/clock.h"
#include "catalog/key_codec.h"
#include "catalog/predicate.h"
#include "engine/memtable.h"
#include "engine/read_totals.h"
#include "engine/snapshot.h"
#include "storage/sst/file_reader.h"
#include "temporal/resolve.h"

namespace lamina::engine {

struct ScanSpec {
  catalog::TableSchemaPtr table;  ///< The definition to present.
  /// Output columns, in order: user, row id and hidden time columns. May be empty (counts only).
  std::vector<std::string> columns;
  catalog::PredicatePtr predicate;  ///< Null = all rows.
  catalog::KeyRange keys;           ///< Intersected with the predicate's KeyBounds.
  temporal::Window window;          ///< Already resolved; empty window = no rows.
  /// The newest moment that the reader knows of: rows that ended later read as open.
  SystemTime newest = SystemTime::Max();
  std::optional<int64_t> limit;  ///< Rows after the predicate.
  bool ordered = true;           ///< By (key, valid_from, system_from) over all sources.
  int64_t batch_rows = 8192;
  bool use_pruning = true;  ///< Off only in tests: answers must not change.
};

/// Where a scan's time went and what it cost. Nanoseconds. Names follow Tonbo's five setup phases
/// and DESIGN.md.
struct ScanProfile {
  int64_t snapshot_nanos = 0;
  int64_t plan_scan_nanos = 0;           ///< Choosing files and pages.
  int64_t build_scan_streams_nanos = 0;  ///< Opening files, collecting facts.
  int64_t merge_init_nanos = 0;
  int64_t package_init_nanos = 0;
  int64_t consume_nanos = 0;  ///< In Next.
  uint64_t files_considered = 0;
  uint64_t files_pruned = 0;
  uint64_t memtable_facts = 0;  ///< Unresolved facts that were looked at.
  uint64_t rows_scanned = 0;    ///< Before window and predicate.
  uint64_t rows_returned = 0;
  storage::sst::ReadCounters io;
};

/// A file of which a scan at a moment shows just the rows that had not ended by it: every row begun
/// and valid for all time, none touched by an unresolved fact, all columns as the definition of the
/// table has them. So any reader of Parquet can read it.
struct PlainFile {
  storage::DataFilePtr file;
  storage::sst::FileReaderPtr reader;
  storage::sst::DeletionVectorPtr ended;  ///< By the moment. Null: no row.
};

class ScanStream {
 public:
  virtual ~ScanStream() = default;
  /// Null at the end; never an empty batch.
  virtual Result<std::shared_ptr<arrow::RecordBatch>> Next() = 0;
  virtual const ScanProfile& profile() const = 0;
  virtual const std::shared_ptr<arrow::Schema>& schema() const = 0;
};

struct PointSpec {
  catalog::TableSchemaPtr table;
  std::string_view key;  ///< Encoded.
  temporal::Window window;
  std::vector<std::string> columns;       ///< As in ScanSpec.
  SystemTime newest = SystemTime::Max();  ///< As in ScanSpec.
};

class Reader {
 public:
  explicit Reader(storage::sst::FileCache* files)
      : files_(files), totals_(std::make_shared<ReadTotals>()) {}

  /// The row versions of one key that meet the window, by (valid_from, system_from). A window of
  /// one moment gives 0 or 1 row. `own` = a transaction's staged facts (commit numbers above the
  /// snapshot), or null. Empty batch when there is none.
  Result<std::shared_ptr<arrow::RecordBatch>> Get(const Snapshot& snapshot, const PointSpec& spec,
                                                  const Memtable* own,
                                                  storage::sst::ReadCounters* counters) const;
  /// The fast path for inline tables (key-value) at one moment: appends the value to `value`. False
  /// = no row. No Arrow on a memtable hit; target 200 ns.
  Result<bool> GetInline(const Snapshot& snapshot, catalog::TableId table, std::string_view key,
                         SystemTime system, ValidTime valid, const Memtable* own,
                         std::string* value, storage::sst::ReadCounters* counters) const;

  /// What memory alone says of a key of an inline table, newest and valid now: appends the value;
  /// false = no row; nullopt = the files have to be asked, through a snapshot. Of `state` it sees
  /// the commits up to `newest`. No lock, no allocation but the value's, and no clock unless a fact
  /// of the table is not for all time.
  std::optional<bool> GetNewestInline(const ReadState& state, CommitId newest,
                                      catalog::TableId table, std::string_view key,
                                      base::Clock* clock, std::string* value) const;

  /// The stream keeps `snapshot` and `own` alive.
  Result<std::unique_ptr<ScanStream>> Scan(SnapshotPtr snapshot, ScanSpec spec,
                                           std::shared_ptr<const Memtable> own) const;

  /// As Scan, but plain files are left to the caller, who holds on to `snapshot` while it reads
  /// them; the stream shows all other rows. Files of which few pages may match are none of them.
  /// `spec` is unordered and without limit. The predicate was not applied to plain files.
  Result<std::unique_ptr<ScanStream>> ScanBesidePlainFiles(SnapshotPtr snapshot, ScanSpec spec,
                                                           std::shared_ptr<const Memtable> own,
                                                           std::vector<PlainFile>* plain) const;

  /// The system time of a commit the snapshot sees (memtables, then the commits table).
  /// kInvalidArgument above it; commit 0 = Min.
  Result<SystemTime> TimeOf(const Snapshot& snapshot, CommitId commit) const;
  /// The newest commit with time <= t that the snapshot sees; 0 when there is none.
  Result<CommitId> CommitAt(const Snapshot& snapshot, SystemTime t) const;

  /// Gets and finished scans through this reader.
  const ReadTotals& totals() const { return *totals_; }

 private:
  storage::sst::FileCache* files_;
  std::shared_ptr<ReadTotals> totals_;  // a scan adds to it when it ends
};

}  // namespace lamina::engine
