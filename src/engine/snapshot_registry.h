// Which snapshots are held: keeps their files from being collected and their conflict window open.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "engine/snapshot.h"
#include "storage/manifest/version.h"

namespace lamina::engine {

/// An intrusive list of live snapshots. Thread-safe; adding and removing cost one short lock.
class SnapshotRegistry {
 public:
  void Add(const Snapshot* snapshot) LAMINA_EXCLUDES(mu_);
  void Remove(const Snapshot* snapshot) LAMINA_EXCLUDES(mu_);

  uint64_t count() const LAMINA_EXCLUDES(mu_);
  /// The least commit any live snapshot sees, or nullopt when there is none.
  std::optional<CommitId> oldest() const LAMINA_EXCLUDES(mu_);
  /// The versions live snapshots read, each once.
  std::vector<storage::manifest::VersionPtr> versions() const LAMINA_EXCLUDES(mu_);

 private:
  mutable base::Mutex mu_;
  const Snapshot* newest_ LAMINA_GUARDED_BY(mu_) = nullptr;
  uint64_t count_ LAMINA_GUARDED_BY(mu_) = 0;
};

}  // namespace lamina::engine
