#include "engine/snapshot.h"

#include <algorithm>
#include <utility>

#include "engine/snapshot_registry.h"

namespace lamina::engine {

Snapshot::Snapshot(ReadStatePtr state, CommitId commit, SystemTime system, int64_t now_micros,
                   std::shared_ptr<SnapshotRegistry> registry)
    : state_(std::move(state)),
      commit_(commit),
      system_(system),
      now_micros_(now_micros),
      registry_(std::move(registry)) {
  if (registry_ != nullptr) registry_->Add(this);
}

Snapshot::~Snapshot() {
  if (registry_ != nullptr) registry_->Remove(this);
}

void SnapshotRegistry::Add(const Snapshot* snapshot) {
  base::MutexLock lock(&mu_);
  snapshot->older_ = newest_;
  if (newest_ != nullptr) newest_->newer_ = snapshot;
  newest_ = snapshot;
  ++count_;
}

void SnapshotRegistry::Remove(const Snapshot* snapshot) {
  base::MutexLock lock(&mu_);
  if (snapshot->older_ != nullptr) snapshot->older_->newer_ = snapshot->newer_;
  if (snapshot->newer_ != nullptr) {
    snapshot->newer_->older_ = snapshot->older_;
  } else {
    newest_ = snapshot->older_;
  }
  --count_;
}

uint64_t SnapshotRegistry::count() const {
  base::MutexLock lock(&mu_);
  return count_;
}

std::optional<CommitId> SnapshotRegistry::oldest() const {
  base::MutexLock lock(&mu_);
  std::optional<CommitId> oldest;
  for (const Snapshot* s = newest_; s != nullptr; s = s->older_) {
    if (!oldest || s->commit() < *oldest) oldest = s->commit();
  }
  return oldest;
}

std::vector<storage::manifest::VersionPtr> SnapshotRegistry::versions() const {
  base::MutexLock lock(&mu_);
  std::vector<storage::manifest::VersionPtr> versions;
  for (const Snapshot* s = newest_; s != nullptr; s = s->older_) {
    const storage::manifest::VersionPtr& version = s->state().version;
    // Neighbours in the list mostly share a version, so the search ends at the first step.
    if (std::find(versions.rbegin(), versions.rend(), version) == versions.rend()) {
      versions.push_back(version);
    }
  }
  return versions;
}

}  // namespace lamina::engine
