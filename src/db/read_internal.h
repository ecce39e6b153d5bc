// Reads of db: from the public periods, keys and options to the engine's specs. Shared by Database
// and Transaction.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "lamina/database.h"

namespace lamina::db {

/// A public snapshot: an engine snapshot, perhaps looking at an earlier commit than its newest.
class SnapshotImpl final : public Snapshot {
 public:
  explicit SnapshotImpl(const engine::SnapshotPtr& base)
      : SnapshotImpl(base, base->commit(), base->system()) {}
  SnapshotImpl(engine::SnapshotPtr base, CommitId commit, SystemTime system)
      : base_(std::move(base)), commit_(commit), system_(system) {}

  CommitId commit() const override { return commit_; }
  SystemTime system_time() const override { return system_; }
  ValidTime now() const override { return base_->now(); }
  const engine::SnapshotPtr& base() const { return base_; }

 private:
  engine::SnapshotPtr base_;
  CommitId commit_;
  SystemTime system_;
};

/// What a read happens in: the snapshot, its newest moment, and (in a transaction) staged facts on
/// top.
struct ReadContext {
  engine::Engine* engine = nullptr;
  engine::SnapshotPtr snapshot;
  SystemTime
      newest;  ///< "Latest" of this read; of a transaction with writes: just above the snapshot.
  std::shared_ptr<const engine::Memtable> own;
  int64_t snapshot_nanos = 0;
};

/// The newest moment that the read may know of: of a snapshot at an earlier commit than its base's,
/// that commit's; Max otherwise.
SystemTime KnownUntil(const ReadContext& context);

/// The table as of the snapshot; kNotFound with the names that are near.
Result<catalog::TableSchemaPtr> FindTable(const engine::Snapshot& snapshot,
                                          const std::string& name);
Result<catalog::TableSchemaPtr> FindTable(const catalog::Catalog& catalog, const std::string& name);
TableInfo Describe(const storage::manifest::Version& version, const catalog::TableSchema& table);

/// kInvalidArgument when a value of a column that `next` widens is out of the wider type's reach: a
/// finer unit of time reaches less far. Every value of every version must be within, or rows could
/// not be read any more. `table` is the definition before.
Status CheckTimesFit(const ReadContext& context, const catalog::TableSchemaPtr& table,
                     const catalog::TableSchema& next);

/// Resolves both periods and refuses what lies below the table's history floor (kHistoryTrimmed).
Result<temporal::Window> ResolveWindow(const ReadContext& context, catalog::TableId table,
                                       const SystemPeriod& system, const ValidPeriod& valid);

/// What a read looked at, for a serializable transaction: nothing when the window ends before the
/// newest moment.
bool SeesNewest(const ReadContext& context, const temporal::Window& window);

struct PreparedScan {
  engine::ScanSpec spec;
  catalog::KeyRange range;  ///< Keys that the answer depends on.
};
Result<PreparedScan> PrepareScan(const ReadContext& context, const catalog::TableSchemaPtr& table,
                                 const ScanOptions& options);
Result<std::shared_ptr<ScanReader>> RunScan(const ReadContext& context, PreparedScan scan);
/// The rows beside those of plain files.
Result<std::shared_ptr<ScanReader>> RunSplitScan(const ReadContext& context, PreparedScan scan,
                                                 std::vector<engine::PlainFile>* plain);

Result<std::string> EncodeKey(const catalog::TableSchema& table, const Key& key);
Result<std::shared_ptr<arrow::RecordBatch>> RunGet(
    const ReadContext& context, const catalog::TableSchemaPtr& table, std::string_view key,
    const temporal::Window& window, const std::optional<std::vector<std::string>>& columns);
Result<std::optional<std::string>> RunGetDocument(const ReadContext& context, std::string_view key,
                                                  const temporal::Window& window);
/// A scan of the built-in document table: all keys that start with the bytes.
Result<PreparedScan> PreparePrefixScan(const ReadContext& context, std::string_view prefix,
                                       const SystemPeriod& as_of, const ValidPeriod& valid_at,
                                       std::optional<int64_t> limit);

Status CheckDocumentKey(std::string_view key);
/// kInvalidArgument when one of them is a range.
Status CheckMoment(const SystemPeriod& as_of, const ValidPeriod& valid_at);

}  // namespace lamina::db
