// What a read sees: a fixed set of files and memtables, up to one commit.
#pragma once

#include <memory>
#include <vector>

#include "engine/memtable.h"
#include "lamina/time.h"
#include "storage/manifest/version.h"

namespace lamina::engine {

/// Everything that holds rows at one instant. Immutable except that `active` grows (readers stop at
/// their commit). Every commit <= version->flushed_commit is in the files only; later ones are in
/// exactly one memtable.
struct ReadState {
  storage::manifest::VersionPtr version;
  std::vector<std::shared_ptr<const Memtable>> sealed;  ///< Oldest first.
  std::shared_ptr<const Memtable> active;
};
using ReadStatePtr = std::shared_ptr<const ReadState>;

class SnapshotRegistry;

/// Never changes while held; keeps its files from being collected. Thread-safe.
class Snapshot {
 public:
  Snapshot(ReadStatePtr state, CommitId commit, SystemTime system, int64_t now_micros,
           std::shared_ptr<SnapshotRegistry> registry);
  ~Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  const ReadState& state() const { return *state_; }
  CommitId commit() const { return commit_; }      ///< The newest commit it sees; 0 = none.
  SystemTime system() const { return system_; }    ///< That commit's time; Min when commit is 0.
  ValidTime now() const { return {now_micros_}; }  ///< "Valid now" of everything read through it.
  catalog::TableSchemaPtr Table(catalog::TableId id) const {
    return state_->version->catalog.Find(id);
  }

 private:
  ReadStatePtr state_;
  CommitId commit_;
  SystemTime system_;
  int64_t now_micros_;
  std::shared_ptr<SnapshotRegistry> registry_;  // null: unregistered (tests)

  // The registry's list, guarded by its lock.
  friend class SnapshotRegistry;
  mutable const Snapshot* older_ = nullptr;
  mutable const Snapshot* newer_ = nullptr;
};
using SnapshotPtr = std::shared_ptr<const Snapshot>;

}  // namespace lamina::engine
