// A database's state at rest: an immutable Version and the edits that lead from one to the next.
// Pure values.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ulid.h"
#include "catalog/schema.h"
#include "lamina/time.h"
#include "storage/data_file.h"

namespace lamina::storage::manifest {

/// First WAL segment still needed. Same meaning as wal::SegmentId (manifest and wal do not know
/// each other).
struct WalFloor {
  uint64_t epoch = 0;
  uint64_t segment = 0;
  friend constexpr auto operator<=>(WalFloor, WalFloor) = default;
};

/// A name for a moment. History may not be trimmed above the oldest checkpoint.
struct Checkpoint {
  std::string name;
  CommitId commit;
  SystemTime system;
  int64_t created_micros = 0;
};

/// An object no version from `since_version` on refers to; deleted by GC after the grace.
struct RetiredObject {
  std::string path;
  uint64_t since_version = 0;
  int64_t retired_at_micros = 0;
};

/// A key whose every trace must leave the files (FORGET). Done when no data file older than
/// `commit` holds it any more.
struct PendingErase {
  catalog::TableId table;
  std::string key;  ///< Encoded.
  CommitId commit;  ///< The erase itself.
};

/// One line of the version list.
struct VersionSummary {
  uint64_t number = 0;
  CommitId commit;
  SystemTime system;
  int64_t created_micros = 0;
  uint64_t files = 0;
  uint64_t bytes = 0;
  uint64_t rows = 0;
  std::string reason;  ///< "create", "open", "flush", "compact", "schema", "checkpoint", "trim",
                       ///< "erase", "gc".
};

/// Immutable once published; shared by shared_ptr<const>.
struct Version {
  base::Ulid database_id;
  uint64_t number = 0;       ///< +1 at every edit.
  uint64_t owner_epoch = 0;  ///< The newest owner; also the WAL epoch it writes.
  CommitId flushed_commit;   ///< Every commit up to here is in the files, none after it.
  SystemTime flushed_system = SystemTime::Min();
  WalFloor wal_floor;
  catalog::Catalog catalog;
  std::map<catalog::TableId, std::vector<DataFilePtr>>
      files;  ///< Per table; current before history, then by level, min_key, id.
  std::map<catalog::TableId, int64_t>
      next_row_id;  ///< No-key tables: first id not yet in the files.
  std::map<catalog::TableId, SystemTime>
      history_floor;  ///< Queries at system times below are refused.
  std::map<std::string, Checkpoint> checkpoints;
  std::vector<RetiredObject> retired;
  std::vector<PendingErase> erases;
  std::vector<VersionSummary> recent;  ///< Oldest first, the last kRecentVersions.

  static constexpr size_t kRecentVersions = 256;

  const std::vector<DataFilePtr>& FilesOf(catalog::TableId table) const;
  /// Checks the numbered invariants of README.md; kInternal names the broken one.
  Status Verify() const;
};
using VersionPtr = std::shared_ptr<const Version>;

/// A change. Every field is optional; fields apply in the order written here.
struct VersionEdit {
  std::string reason;
  int64_t created_micros = 0;
  std::optional<uint64_t> owner_epoch;
  std::vector<catalog::TableSchemaPtr> put_tables;  ///< New tables and new versions of old ones.
  std::vector<catalog::TableId> drop_tables;        ///< With all their files, which become retired.
  /// They (and their deletion vectors) become retired.
  std::vector<std::pair<catalog::TableId, base::Ulid>> remove_files;
  std::vector<DataFile> add_files;
  std::vector<std::tuple<catalog::TableId, base::Ulid, std::optional<DeletionVectorRef>>>
      set_deletions;
  std::optional<std::pair<CommitId, SystemTime>> flushed;
  std::optional<WalFloor> wal_floor;
  std::vector<std::pair<catalog::TableId, int64_t>> next_row_id;
  std::vector<std::pair<catalog::TableId, SystemTime>> history_floor;  ///< May only rise.
  std::vector<Checkpoint> put_checkpoints;
  std::vector<std::string> drop_checkpoints;
  std::vector<PendingErase> add_erases;
  std::vector<PendingErase> finish_erases;
  std::vector<std::string> forget_retired;  ///< Paths that GC has deleted.
};

/// The next version. kInvalidArgument when the edit does not fit (removes a file that is not there,
/// adds one twice, lowers a floor, overlapping keys in a level >= 1 …): nothing is changed. A
/// deletion-vector object is retired when its last reference goes.
Result<VersionPtr> Apply(const Version& base, const VersionEdit& edit);

std::string EncodeVersion(const Version& version);
Result<VersionPtr> DecodeVersion(std::string_view bytes);
std::string EncodeEdit(const VersionEdit& edit);
Result<VersionEdit> DecodeEdit(std::string_view bytes);

}  // namespace lamina::storage::manifest
