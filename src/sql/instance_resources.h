// What the sessions of one DuckDB instance share beside it.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "lamina/error.h"
#include "sql/deadline.h"
#include "sql/duckdb_api.h"

namespace lamina::sql {

/// Folders for what queries spill: each new, private (mode 0700) and with a name that nobody can
/// guess. They are removed, with all that is in them, when this ends. Thread-safe.
class SpillFolders {
 public:
  SpillFolders() = default;
  ~SpillFolders();
  SpillFolders(const SpillFolders&) = delete;
  SpillFolders& operator=(const SpillFolders&) = delete;

  /// Makes one inside `parent`, which must be there; "": inside the system's folder for temporary
  /// files (TMPDIR). kInvalidArgument.
  Result<std::string> Make(const std::string& parent);

 private:
  base::Mutex mu_;
  std::vector<std::string> made_ LAMINA_GUARDED_BY(mu_);
};

struct InstanceResources {
  Deadlines deadlines;
  SpillFolders spill;
  /// Set for good by SET GLOBAL strict_mode: plans of all sessions may have been made without it.
  std::atomic<bool> strict_mode_changed{false};

  /// Of an instance that MakeInstance made.
  static InstanceResources& Of(duckdb::DatabaseInstance& instance);
};

}  // namespace lamina::sql
