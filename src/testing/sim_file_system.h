// A file system in memory that loses what a real one may lose.
//
// Modelled
//   * page cache against disk: a write is pending, in sectors of 512 bytes, until the file is
//     synced; the size goes with it, the modification time only with a full fsync;
//   * directory entries: create, link, rename and unlink are pending until the directory is synced
//     (a sync of the file does not help), a rename is atomic;
//   * a failed sync: what was pending counts as clean from then on and never reaches the disk
//   unless
//     it is written again, as on Linux. Reads go on showing it;
//   * advisory locks, which a handle's close lets go; mappings, as copies;
//   * errors of every call, before or after its effect, short writes, a crash at any call.
// Not modelled
//   * damage to bytes that were synced: a sector that is written again keeps, if it is torn, the
//     bytes it had ("powersafe overwrite"). Bit rot is FlipBit;
//   * permissions, links to directories, quotas, sparse files (a hole is zeros), sizes of blocks.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/random.h"
#include "storage/object_store/file_system.h"

namespace lamina::testing {

enum class SimCall : uint8_t {
  kOpen,
  kCreate,  ///< Open with O_CREAT.
  kClose,
  kMakeDirectory,
  kStat,
  kSetModified,
  kWrite,
  kRead,
  kTruncate,
  kReserve,
  kSync,  ///< Of a file.
  kSyncDirectory,
  kLock,
  kRename,
  kLink,
  kUnlink,
  kRemoveDirectory,
  kList,
  kMap,
};
inline constexpr size_t kSimCallKinds = 19;
const char* SimCallName(SimCall kind);
/// Whether a call of this kind can change what is on disk or pending.
bool SimCallChanges(SimCall kind);

struct SimCallInfo {
  uint64_t index = 0;  ///< 0, 1, 2 … over all calls of this file system.
  SimCall kind = SimCall::kOpen;
  std::string_view path;
  int64_t bytes = 0;  ///< Of writes and reads.
};

struct SimAction {
  enum class Kind : uint8_t {
    kProceed,
    kFailBefore,  ///< `error` comes back, nothing happened. Of a sync: what was pending is lost.
    kFailAfter,   ///< `error` comes back, and it has happened.
    kShortWrite,  ///< Half of the bytes are taken (at least one). Other calls proceed.
    kCrash,       ///< This call and all later ones fail with EIO and do nothing.
    kRefuse,      ///< EIO comes back and nothing happens at all, but that a close lets go: the
                  ///< process that calls is dead, the file system goes on.
  };
  Kind kind = Kind::kProceed;
  int error = 0;
};

/// What becomes of what is pending when the machine stops.
enum class SimDamage : uint8_t {
  kDropUnsynced,  ///< Nothing of it is on disk.
  kReorder,       ///< Any part of it: each sector in any of its versions, each entry or not.
  kTear,          ///< All of it up to one moment, where a write ends at a sector's edge.
  kGarbageTail,   ///< Sizes and entries are there, the new bytes are not: garbage or zeros.
  kNothingLost,   ///< All of it: the process died, the machine goes on.
};
inline constexpr std::array<SimDamage, 4> kSimDamages = {
    SimDamage::kDropUnsynced, SimDamage::kReorder, SimDamage::kTear, SimDamage::kGarbageTail};
const char* SimDamageName(SimDamage damage);

/// Thread-safe. The same calls with the same seed give the same answers.
class SimFileSystem final : public storage::FileSystem {
 public:
  using Hook = std::function<SimAction(const SimCallInfo&)>;

  /// Empty but for "/". Borrows the clock.
  explicit SimFileSystem(base::Clock* clock, uint64_t seed = 1);

  /// Asked before every call, without a lock held: it may look at the file system, clone it, and
  /// yield to a scheduler. Set it while no call is under way.
  void SetHook(Hook hook) { hook_ = std::move(hook); }
  uint64_t calls() const;
  uint64_t calls(SimCall kind) const;

  /// Every call from now on fails with EIO and does nothing.
  void Crash();
  bool crashed() const;
  /// The disk as it is found after the machine stopped now: no handles, no locks, nothing pending.
  /// The clone uses the clock given, or this one's.
  std::shared_ptr<SimFileSystem> CrashClone(SimDamage damage, uint64_t seed,
                                            base::Clock* clock = nullptr) const;
  /// The same for what names and bytes every path shows now. Times do not count.
  uint64_t ContentHash() const;

  // For tests that look and damage.
  std::vector<std::string> Files() const;  ///< Paths of all files, ascending.
  std::string Contents(const std::string& path) const;
  /// Flips one bit, on disk and in the cache.
  void FlipBit(const std::string& path, size_t byte, int bit);

  Handle Open(Handle directory, const std::string& path, int flags) override;
  int Close(Handle file) override;
  int MakeDirectory(Handle directory, const std::string& path) override;
  int StatAt(Handle directory, const std::string& path, Stat* out) override;
  int StatFile(Handle file, Stat* out) override;
  int SetModified(Handle file, int64_t nanos) override;
  int64_t Write(Handle file, std::string_view bytes) override;
  int64_t ReadAt(Handle file, void* out, size_t size, int64_t offset) override;
  int Truncate(Handle file, int64_t size) override;
  int Reserve(Handle file, int64_t offset, int64_t length) override;
  int Sync(Handle file, bool data_only) override;
  int Lock(Handle file, bool wait) override;
  int Rename(Handle directory, const std::string& from, const std::string& to,
             bool replace) override;
  int Link(Handle directory, const std::string& from, const std::string& to) override;
  int Unlink(Handle directory, const std::string& path) override;
  int RemoveDirectory(Handle directory, const std::string& path) override;
  int List(Handle directory, std::vector<Entry>* out) override;
  int Map(Handle file, int64_t size, std::shared_ptr<arrow::Buffer>* out) override;
  void WillNeed(const uint8_t*, int64_t) override {}
  int64_t NowNanos() override;
  uint64_t UniqueNumber() override;
  int64_t ProcessId() override { return 4711; }
  std::string HostName() override { return "simulation"; }

 private:
  static constexpr int64_t kSector = 512;

  // Shared by cache, disk and clones; a holder that wants to change it copies it first.
  struct Content {
    std::string bytes;
    uint64_t hash = 0;  // 0: not computed. Only of contents that no longer change.
  };
  using ContentPtr = std::shared_ptr<Content>;

  // One write or truncation of a file, as the sectors look after it.
  struct PendingWrite {
    uint64_t sequence = 0;
    int64_t size_after = 0;
    std::vector<std::pair<int64_t, std::string>> sectors;
  };
  struct PendingEntry {
    uint64_t sequence = 0;
    std::string remove;  // empty: none
    std::string set;     // empty: none
    uint64_t inode = 0;  // of `set`
  };
  struct Inode {
    uint64_t id = 0;
    bool directory = false;
    int64_t modified_nanos = 0;
    int64_t disk_modified_nanos = 0;
    // Files.
    ContentPtr cache;
    ContentPtr disk;
    std::vector<PendingWrite> writes;
    bool cache_is_disk = true;  // but for what is pending: no failed sync lost anything
    int64_t locked_by = -1;     // handle
    // Directories.
    std::map<std::string, uint64_t> entries;
    std::map<std::string, uint64_t> disk_entries;
    std::vector<PendingEntry> changes;
  };
  using InodePtr = std::shared_ptr<Inode>;
  struct OpenFile {
    InodePtr inode;
    std::string path;
    int flags = 0;
    int64_t offset = 0;
  };
  struct Place {
    InodePtr parent;
    std::string name;
    InodePtr inode;  // null: the name is free
  };

  template <typename Effect>
  int64_t Call(SimCall kind, std::string_view path, int64_t bytes, Effect&& effect);
  std::string PathOf(Handle file) const LAMINA_EXCLUDES(mu_);
  std::string FullPath(Handle directory, const std::string& path) const LAMINA_REQUIRES(mu_);
  /// 0 or a negative errno; with 0 at least the parent is there.
  int Find(Handle directory, const std::string& path, Place* out) const LAMINA_REQUIRES(mu_);
  OpenFile* Opened(Handle file) LAMINA_REQUIRES(mu_);
  InodePtr MakeInode(bool directory) LAMINA_REQUIRES(mu_);
  void Change(Inode* directory, std::string remove, std::string set, uint64_t inode)
      LAMINA_REQUIRES(mu_);
  int64_t WriteAt(Inode* file, std::string_view bytes, int64_t offset) LAMINA_REQUIRES(mu_);
  void Dirty(Inode* file, int64_t begin, int64_t end) LAMINA_REQUIRES(mu_);
  static std::string& Writable(ContentPtr* content);
  static void Persist(Inode* inode, bool with_time);
  static void LosePending(Inode* inode);
  InodePtr Damaged(const Inode& file, SimDamage damage, uint64_t moment, base::Random* random) const
      LAMINA_REQUIRES(mu_);
  void ListFiles(const Inode& directory, const std::string& path,
                 std::vector<std::pair<std::string, InodePtr>>* out) const LAMINA_REQUIRES(mu_);

  base::Clock* const clock_;
  Hook hook_;

  mutable base::Mutex mu_;
  base::CondVar unlocked_;
  std::map<uint64_t, InodePtr> inodes_ LAMINA_GUARDED_BY(mu_);
  std::map<Handle, OpenFile> handles_ LAMINA_GUARDED_BY(mu_);
  base::Random random_ LAMINA_GUARDED_BY(mu_);
  uint64_t next_inode_ LAMINA_GUARDED_BY(mu_) = 1;
  Handle next_handle_ LAMINA_GUARDED_BY(mu_) = 3;
  uint64_t sequence_ LAMINA_GUARDED_BY(mu_) = 0;
  uint64_t calls_ LAMINA_GUARDED_BY(mu_) = 0;
  std::array<uint64_t, kSimCallKinds> counts_ LAMINA_GUARDED_BY(mu_) = {};
  bool crashed_ LAMINA_GUARDED_BY(mu_) = false;
};

}  // namespace lamina::testing
