// Versions at rest: refs/<branch> (moved by compare-and-swap) + manifest/<ulid> bases.
// docs/format/manifest.md describes the bytes.
//
// The ref holds: format, database id, branch, the base object's name, the edits since that base
// (inline), the last 64 commit ids (one ulid per CAS) and the version number. A new base is written
// when the inline edits pass 64 or 256 KiB. So opening costs two requests, a commit one conditional
// put (plus one base put every 64), whatever the number of files.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ulid.h"
#include "lamina/object_store.h"
#include "storage/manifest/version.h"

namespace lamina::storage::manifest {

struct ManifestStats {
  uint64_t commits = 0;
  uint64_t cas_retries = 0;
  uint64_t unknown_outcomes_settled = 0;  ///< Ambiguous puts decided by reading the ref back.
  uint64_t bases_written = 0;
  uint64_t ref_bytes = 0;  ///< Size of the last ref.
  uint64_t commit_nanos = 0;
  uint64_t loads = 0;         ///< Reads of the ref, at open and after lost races.
  uint64_t head_nanos = 0;    ///< In these, until the ref's bytes were there.
  uint64_t decode_nanos = 0;  ///< In these, decoding ref, base and edits.
  uint64_t cas_nanos = 0;     ///< In conditional puts of the ref.
  uint64_t base_bytes = 0;    ///< Size of the base that the ref names.
};

/// Thread-safe; commits are serialised inside.
class ManifestStore {
 public:
  struct Options {
    std::string branch = "main";
    std::shared_ptr<ObjectStore> store;
    base::Clock* clock = nullptr;          ///< Outlives the store.
    base::UlidGenerator* ulids = nullptr;  ///< Outlives the store.
    uint32_t max_inline_edits = 64;
    uint64_t max_inline_bytes = 256 << 10;
  };

  /// True when the ref exists.
  static Result<bool> Exists(const std::shared_ptr<ObjectStore>& store, const std::string& branch);
  /// Writes version 1 of an empty database. kAlreadyExists if there is one.
  static Result<std::unique_ptr<ManifestStore>> Create(Options options);
  /// Loads the newest version. kNotFound; kCorruption (file, offset, what); kUnsupported for a
  /// newer format, naming both versions.
  static Result<std::unique_ptr<ManifestStore>> Open(Options options);

  /// The newest version this store has seen. Never null.
  VersionPtr current() const;
  /// Re-reads the ref if it moved.
  Result<VersionPtr> Refresh();

  /// Claims the next owner epoch; from now on commits of older owners fail with kFenced.
  Result<VersionPtr> ClaimOwnership();

  /// Applies `edit` to the newest version and publishes it. When the ref moved meanwhile, loads it
  /// and applies again (the edit fails by Apply's rules if it no longer fits: kConflict). kFenced
  /// when another owner claimed (a store that never claimed is not fenced). kCommitUnknown when the
  /// outcome cannot be settled: the caller stops writing. Every Version is verified before it is
  /// published.
  Result<VersionPtr> Commit(const VersionEdit& edit);

  ManifestStats stats() const;

  /// Reads and checks everything without changing anything (for `lamina inspect` and `check`).
  struct RefInfo {
    uint32_t format = 0;
    std::string base;
    uint64_t inline_edits = 0;
    uint64_t bytes = 0;
    VersionPtr version;
    std::vector<std::string> live_objects;  ///< The ref and the base: never to be collected.
  };
  static Result<RefInfo> Inspect(const std::shared_ptr<ObjectStore>& store,
                                 const std::string& branch);

  /// Bases no longer named by any branch's ref, minted longer ago than `grace_micros` (0: all of
  /// them, whatever the clock says): deleted (or only listed).
  Result<std::vector<std::string>> CollectBases(int64_t grace_micros, bool dry_run);

  ~ManifestStore();

 private:
  struct Impl;
  explicit ManifestStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lamina::storage::manifest
