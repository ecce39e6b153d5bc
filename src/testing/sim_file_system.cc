#include "testing/sim_file_system.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <set>

#include "base/check.h"

namespace lamina::testing {

namespace {

constexpr uint64_t kRoot = 1;

std::vector<std::string> Split(const std::string& path) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string part = path.substr(begin, end - begin);
    if (!part.empty() && part != ".") parts.push_back(part);
    begin = end + 1;
  }
  return parts;
}

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15ULL + (hash << 6) + (hash >> 2);
  return hash;
}

void Apply(std::map<std::string, uint64_t>* entries, const std::string& remove,
           const std::string& set, uint64_t inode) {
  if (!remove.empty()) entries->erase(remove);
  if (!set.empty()) (*entries)[set] = inode;
}

}  // namespace

const char* SimCallName(SimCall kind) {
  static constexpr std::array<const char*, kSimCallKinds> kNames = {
      "open",      "create",    "close", "mkdir",           "stat",  "futimens", "write", "pread",
      "ftruncate", "fallocate", "fsync", "fsync-directory", "flock", "rename",   "link",  "unlink",
      "rmdir",     "readdir",   "mmap"};
  return kNames[static_cast<size_t>(kind)];
}

bool SimCallChanges(SimCall kind) {
  switch (kind) {
    case SimCall::kCreate:
    case SimCall::kMakeDirectory:
    case SimCall::kSetModified:
    case SimCall::kWrite:
    case SimCall::kTruncate:
    case SimCall::kSync:
    case SimCall::kSyncDirectory:
    case SimCall::kRename:
    case SimCall::kLink:
    case SimCall::kUnlink:
    case SimCall::kRemoveDirectory:
      return true;
    default:
      return false;
  }
}

const char* SimDamageName(SimDamage damage) {
  switch (damage) {
    case SimDamage::kDropUnsynced:
      return "drop-unsynced";
    case SimDamage::kReorder:
      return "reorder";
    case SimDamage::kTear:
      return "tear";
    case SimDamage::kGarbageTail:
      return "garbage-tail";
    case SimDamage::kNothingLost:
      return "nothing-lost";
  }
  return "?";
}

SimFileSystem::SimFileSystem(base::Clock* clock, uint64_t seed) : clock_(clock), random_(seed) {
  base::MutexLock lock(&mu_);
  LAMINA_CHECK(MakeInode(/*directory=*/true)->id == kRoot);
}

// ---- Calls

// Counts the call and asks the hook; `effect` runs with the lock held and answers as the call does.
template <typename Effect>
int64_t SimFileSystem::Call(SimCall kind, std::string_view path, int64_t bytes, Effect&& effect) {
  SimCallInfo info;
  {
    base::MutexLock lock(&mu_);
    if (crashed_) return -EIO;
    info.index = calls_++;
    ++counts_[static_cast<size_t>(kind)];
  }
  info.kind = kind;
  info.path = path;
  info.bytes = bytes;
  const SimAction action = hook_ ? hook_(info) : SimAction{};
  base::MutexLock lock(&mu_);
  if (action.kind == SimAction::Kind::kCrash) {
    crashed_ = true;
    unlocked_.SignalAll();
  }
  if (crashed_ || (action.kind == SimAction::Kind::kRefuse && kind != SimCall::kClose)) return -EIO;
  const int64_t result = effect(action);
  return action.kind == SimAction::Kind::kFailBefore ||
                 (action.kind == SimAction::Kind::kFailAfter && result >= 0)
             ? -action.error
             : result;
}

#define LAMINA_SIM_EFFECT [&](const SimAction& action) LAMINA_NO_THREAD_SAFETY_ANALYSIS -> int64_t

#define LAMINA_SIM_FAIL_BEFORE() \
  if (action.kind == SimAction::Kind::kFailBefore) return -action.error

uint64_t SimFileSystem::calls() const {
  base::MutexLock lock(&mu_);
  return calls_;
}

uint64_t SimFileSystem::calls(SimCall kind) const {
  base::MutexLock lock(&mu_);
  return counts_[static_cast<size_t>(kind)];
}

void SimFileSystem::Crash() {
  base::MutexLock lock(&mu_);
  crashed_ = true;
  unlocked_.SignalAll();
}

bool SimFileSystem::crashed() const {
  base::MutexLock lock(&mu_);
  return crashed_;
}

std::string SimFileSystem::PathOf(Handle file) const {
  base::MutexLock lock(&mu_);
  const auto found = handles_.find(file);
  return found == handles_.end() ? "" : found->second.path;
}

std::string SimFileSystem::FullPath(Handle directory, const std::string& path) const {
  const auto found = handles_.find(directory);
  const std::string& above = found == handles_.end() ? "" : found->second.path;
  std::string out = above;
  for (const std::string& part : Split(path)) out += "/" + part;
  return out;
}

int SimFileSystem::Find(Handle directory, const std::string& path, Place* out) const {
  InodePtr at;
  if (directory == kHere || path.starts_with('/')) {
    at = inodes_.at(kRoot);
  } else {
    const auto found = handles_.find(directory);
    if (found == handles_.end()) return -EBADF;
    at = found->second.inode;
  }
  *out = {nullptr, "", at};
  const std::vector<std::string> parts = Split(path);
  for (size_t i = 0; i < parts.size(); ++i) {
    if (out->inode == nullptr) return -ENOENT;
    if (!out->inode->directory) return -ENOTDIR;
    if (parts[i].size() > 255) return -ENAMETOOLONG;
    const auto found = out->inode->entries.find(parts[i]);
    InodePtr next = found == out->inode->entries.end() ? nullptr : inodes_.at(found->second);
    *out = {out->inode, parts[i], std::move(next)};
  }
  return 0;
}

SimFileSystem::OpenFile* SimFileSystem::Opened(Handle file) {
  const auto found = handles_.find(file);
  return found == handles_.end() ? nullptr : &found->second;
}

SimFileSystem::InodePtr SimFileSystem::MakeInode(bool directory) {
  auto inode = std::make_shared<Inode>();
  inode->id = next_inode_++;
  inode->directory = directory;
  inode->modified_nanos = inode->disk_modified_nanos = clock_->NowMicros() * 1000;
  if (!directory) inode->cache = inode->disk = std::make_shared<Content>();
  inodes_[inode->id] = inode;
  return inode;
}

void SimFileSystem::Change(Inode* directory, std::string remove, std::string set, uint64_t inode) {
  Apply(&directory->entries, remove, set, inode);
  directory->changes.push_back({++sequence_, std::move(remove), std::move(set), inode});
}

storage::FileSystem::Handle SimFileSystem::Open(Handle directory, const std::string& path,
                                                int flags) {
  std::string full;
  {
    base::MutexLock lock(&mu_);
    full = FullPath(directory, path);
  }
  const SimCall kind = (flags & O_CREAT) != 0 ? SimCall::kCreate : SimCall::kOpen;
  return static_cast<Handle>(Call(
      kind, full, 0, LAMINA_SIM_EFFECT {
        LAMINA_SIM_FAIL_BEFORE();
        Place place;
        if (const int error = Find(directory, path, &place); error != 0) return error;
        if (place.inode == nullptr) {
          if ((flags & O_CREAT) == 0) return -ENOENT;
          place.inode = MakeInode(/*directory=*/false);
          Change(place.parent.get(), "", place.name, place.inode->id);
        } else if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) {
          return -EEXIST;
        }
        const bool writes = (flags & O_ACCMODE) != O_RDONLY;
        if (place.inode->directory && writes) return -EISDIR;
        if (!place.inode->directory && (flags & O_DIRECTORY) != 0) return -ENOTDIR;
        if (action.kind == SimAction::Kind::kFailAfter) return 0;  // made, but no handle comes back
        const Handle handle = next_handle_++;
        handles_[handle] = {place.inode, full, flags, 0};
        return handle;
      }));
}

int SimFileSystem::Close(Handle file) {
  return static_cast<int>(Call(
      SimCall::kClose, PathOf(file), 0, LAMINA_SIM_EFFECT {
        // A close that fails has let the handle go all the same.
        (void)action;
        const auto found = handles_.find(file);
        if (found == handles_.end()) return -EBADF;
        if (found->second.inode->locked_by == file) {
          found->second.inode->locked_by = -1;
          unlocked_.SignalAll();
        }
        handles_.erase(found);
        return 0;
      }));
}

int SimFileSystem::MakeDirectory(Handle directory, const std::string& path) {
  std::string full;
  {
    base::MutexLock lock(&mu_);
    full = FullPath(directory, path);
  }
  return static_cast<int>(Call(
      SimCall::kMakeDirectory, full, 0, LAMINA_SIM_EFFECT {
        LAMINA_SIM_FAIL_BEFORE();
        Place place;
        if (const int error = Find(directory, path, &place); error != 0) return error;
        if (place.inode != nullptr) return -EEXIST;
        const InodePtr made = MakeInode(/*directory=*/true);
        Change(place.parent.get(), "", place.name, made->id);
        return 0;
      }));
}

int SimFileSystem::StatAt(Handle directory, const std::string& path, Stat* out) {
  std::string full;
  {
    base::MutexLock lock(&mu_);
    full = FullPath(directory, path);
  }
  return static_cast<int>(Call(
      SimCall::kStat, full, 0, LAMINA_SIM_EFFECT {
        LAMINA_SIM_FAIL_BEFORE();
        Place place;
        if (const int error = Find(directory, path, &place); error != 0) return error;
        if (place.inode == nullptr) return -ENOENT;
        const Inode& inode = *place.inode;
        const int64_t size = inode.directory ? 0 : static_cast<int64_t>(inode.cache->bytes.size());
        *out = {!inode.directory, inode.directory, size, inode.modified_nanos, inode.id};
        return 0;
      }));
}

int SimFileSystem::StatFile(Handle file, Stat* out) {
  return static_cast<int>(Call(
      SimCall::kStat, PathOf(file), 0, LAMINA_SIM_EFFECT {
        LAMINA_SIM_FAIL_BEFORE();
        const OpenFile* opened = Opened(file);
        if (opened == nullptr) return -EBADF;
        const Inode& inode = *opened->inode;
        const int64_t size = inode.directory ? 0 : static_cast<int64_t>(inode.cache->bytes.size());
        *out = {!inode.directory, inode.directory, size, inode.modified_nanos, inode.id};
        return 0;
      }));
}

int SimFileSystem::SetModified(Handle file, int64_t nanos) {
  return static_cast<int>(Call(
      SimCall::kSetModified, PathOf(file), 0, LAMINA_SIM_EFFECT {
        LAMINA_SIM_FAIL_BEFORE();
        const OpenFile* opened = Opened(file);
        if (opened == nullptr) return -EBADF;
        opened->inode->modified_nanos = nanos;
        return 0;
      }));
}

std::string& SimFileSystem::Writable(ContentPtr* content) {
  if (content->use_count() > 1) *content = std::make_shared<Content>(Content{(*content)->bytes, 0});
  (*content)->hash = 0;
  return (*content)->bytes;
}

// Remembers how the sectors of [begin, end) look now, and the size.
void SimFileSystem::Dirty(Inode* file, int64_t begin, int64_t end) {
  PendingWrite write;
  write.sequence = ++sequence_;
  const std::string& bytes = file->cache->bytes;
  write.size_after = static_cast<int64_t>(bytes.size());
  for (int64_t sector = begin / kSector; sector * kSector < end; ++sector) {
    const auto at = static_cast<size_t>(sector * kSector);
    write.sectors.emplace_back(sector, at < bytes.size() ? bytes.substr(at, kSector) : "");
  }
  file->writes.push_back(std::move(write));
  file->modified_nanos = clock_->NowMicros() * 1000;
}

int64_t SimFileSystem::WriteAt(Inode* file, std::string_view bytes, int64_t offset) {
  std::string& content = Writable(&file->cache);
  const int64_t end = offset + static_cast<int64_t>(bytes.size());
  // A hole before the write is zeros, and new too.
  const int64_t begin = std::min(offset, static_cast<int64_t>(content.size()));
  if (static_cast<int64_t>(content.size()) < end) content.resize(static_cast<size_t>(end), '\0');
  content.replace(static_cast<size_t>(offset), bytes.size(), bytes);
  Dirty(file, begin, end);
  return static_cast<int64_t>(bytes.size());
}

int64_t SimFileSystem::Write(Handle file, std::string_view bytes) {
  return Call(
      SimCall::kWrite, PathOf(file), static_cast<int64_t>(bytes.size()), LAMINA_SIM_EFFECT {
        LAMINA_SIM_FAIL_BEFORE();
        OpenFile* opened = Opened(file);
        if (opened == nullptr || (opened->flags & O_ACCMODE) == O_RDONLY) return -EBADF;
        if (opened->inode->directory) return -EISDIR;
        if (bytes.empty()) return 0;
        std::string_view taken = bytes;
        if (action.kind == SimAction::Kind::kShortWrite)
          taken = bytes.substr(0, std::max<size_t>(1, bytes.size() / 2));
        if ((opened->flags & O_APPEND) != 0)
          opened->offset = static_cast<int64_t>(opened->inode->cache->bytes.size());
        const int64_t n = WriteAt(opened->inode.get(), taken, opened->offset);
        opened->offset += n;
        return n;
      });
}

int64_t SimFileSystem::ReadAt(Handle file, void* out, size_t size, int64_t offset) {
  return Call(
      SimCall::kRead, PathOf(file), static_cast<int64_t>(size), LAMINA_SIM_EFFECT {
        LAMINA_SIM_FAIL_BEFORE();
        const OpenFile* opened = Opened(file);
        if (opened == nullptr) return -EBADF;
        if (opened->inode->directory) return -EISDIR;
        const std::string& bytes = opened->inode->cache->bytes;
        if (offset >= static_cast<int64_t>(bytes.size())) return 0;
        const size_t n = std::min(size, bytes.size() - static_cast<size_t>(offset));
        std::memcpy(out, bytes.data() + offset, n);
        return static_cast<int64_t>(n);
      });
}

int SimFileSystem::Truncate(Handle file, int64_t size) {
  return static_cast<int>(Call(
      SimCall::kTruncate, PathOf(file), 0, LAMINA_SIM_EFFECT {
        LAMINA_SIM_FAIL_BEFORE();
        const OpenFile* opened = Opened(file);
        if (opened == nullptr || (opened->flags & O_ACCMODE) == O_RDONLY) return -EBADF;
        if (size < 0) return -EINVAL;
        Inode* inode = opened->inode.get();
        const auto before = static_cast<int64_t>(inode->cache->bytes.size());
        if (before == size) return 0;
        Writable(&inode->cache).resize(static_cast<size_t>(size), '\0');
        Dirty(inode, std::min(before, size), std::max(before, size));
        return 0;
      }));
}

int SimFileSystem::Reserve(Handle file, int64_t offset, int64_t length) {
  return static_cast<int>(Call(
      SimCall::kReserve, PathOf(file), length, LAMINA_SIM_EFFECT {
        LAMINA_SIM_FAIL_BEFORE();
        if (Opened(file) == nullptr) return -EBADF;
        return offset < 0 || length <= 0 ? -EINVAL : 0;
      }));
}

// What is pending reaches the disk.
void SimFileSystem::Persist(Inode* inode, bool with_time) {
  if (with_time) inode->disk_modified_nanos = inode->modified_nanos;
  if (inode->directory) {
    for (const PendingEntry& change : inode->changes)
      Apply(&inode->disk_entries, change.remove, change.set, change.inode);
    inode->changes.clear();
    return;
  }
  if (inode->writes.empty()) return;
  if (inode->cache_is_disk) {
    inode->disk = inode->cache;
  } else {
    // A failed sync lost sectors that nobody has written since: the disk keeps its own there.
    std::string bytes = inode->disk->bytes;
    for (const PendingWrite& write : inode->writes) {
      bytes.resize(static_cast<size_t>(write.size_after), '\0');
      for (const auto& [sector, content] : write.sectors) {
        const auto at = static_cast<size_t>(sector * kSector);
        if (at < bytes.size())
          bytes.replace(at, std::min(content.size(), bytes.size() - at), content);
      }
    }
    inode->disk = std::make_shared<Content>(Content{std::move(bytes), 0});
  }
  inode->writes.clear();
}

void SimFileSystem::LosePending(Inode* inode) {
  if (!inode->writes.empty()) inode->cache_is_disk = false;
  inode->writes.clear();
  inode->changes.clear();
}

int SimFileSystem::Sync(Handle file, bool data_only) {
  bool directory = false;
  {
    base::MutexLock lock(&mu_);
    const OpenFile* opened = Opened(file);
    directory = opened != nullptr && opened->inode->directory;
  }
  const SimCall kind = directory ? SimCall::kSyncDirectory : SimCall::kSync;
  return static_cast<int>(Call(
      kind, PathOf(file), 0, LAMINA_SIM_EFFECT {
        const OpenFile* opened = Opened(file);
        if (opened == nullptr) return -EBADF;
        if (action.kind == SimAction::Kind::kFailBefore) {
          LosePending(opened->inode.get());
          return -action.error;
        }
        Persist(opened->inode.get(), /*with_time=*/!data_only);
        return 0;
      }));
}

int SimFileSystem::Lock(Handle file, bool wait) {
  return static_cast<int>(Call(
      SimCall::kLock, PathOf(file), 0, LAMINA_SIM_EFFECT {
        LAMINA_SIM_FAIL_BEFORE();
        const OpenFile* opened = Opened(file);
        if (opened == nullptr) return -EBADF;
        const InodePtr inode = opened->inode;
        while (inode->locked_by >= 0 && inode->locked_by != file) {
          if (!wait) return -EWOULDBLOCK;
          unlocked_.Wait(&mu_);
          if (crashed_) return -EIO;
        }
        inode->locked_by = file;
        return 0;
      }));
}

int SimFileSystem::Rename(Handle directory, const std::string& from, const std::string& to,
                          bool replace) {
  std::string full;
  {
    base::MutexLock lock(&mu_);
    full = FullPath(directory, to);
  }
  return static_cast<int>(Call(
      SimCall::kRename, full, 0, LAMINA_SIM_EFFECT {
        LAMINA_SIM_FAIL_BEFORE();
        Place source, target;
        if (const int error = Find(directory, from, &source); error != 0) return error;
        if (const int error = Find(directory, to, &target); error != 0) return error;
        if (source.inode == nullptr) return -ENOENT;
        if (target.inode != nullptr) {
          if (!replace) return -EEXIST;
          if (target.inode->directory) return -EISDIR;
        }
        if (source.parent == target.parent) {
          Change(target.parent.get(), source.name, target.name, source.inode->id);
        } else {
          Change(target.parent.get(), "", target.name, source.inode->id);
          Change(source.parent.get(), source.name, "", 0);
        }
        return 0;
      }));
}

int SimFileSystem::Link(Handle directory, const std::string& from, const std::string& to) {
  std::string full;
  {
    base::MutexLock lock(&mu_);
    full = FullPath(directory, to);
  }
  return static_cast<int>(Call(
      SimCall::kLink, full, 0, LAMINA_SIM_EFFECT {
        LAMINA_SIM_FAIL_BEFORE();
        Place source, target;
        if (const int error = Find(directory, from, &source); error != 0) return error;
        if (const int error = Find(directory, to, &target); error != 0) return error;
        if (source.inode == nullptr) return -ENOENT;
        if (source.inode->directory) return -EPERM;
        if (target.inode != nullptr) return -EEXIST;
        Change(target.parent.get(), "", target.name, source.inode->id);
        return 0;
      }));
}

int SimFileSystem::Unlink(Handle directory, const std::string& path) {
  std::string full;
  {
    base::MutexLock lock(&mu_);
    full = FullPath(directory, path);
  }
  return static_cast<int>(Call(
      SimCall::kUnlink, full, 0, LAMINA_SIM_EFFECT {
        LAMINA_SIM_FAIL_BEFORE();
        Place place;
        if (const int error = Find(directory, path, &place); error != 0) return error;
        if (place.inode == nullptr) return -ENOENT;
        if (place.inode->directory) return -EISDIR;
        Change(place.parent.get(), place.name, "", 0);
        return 0;
      }));
}

int SimFileSystem::RemoveDirectory(Handle directory, const std::string& path) {
  std::string full;
  {
    base::MutexLock lock(&mu_);
    full = FullPath(directory, path);
  }
  return static_cast<int>(Call(
      SimCall::kRemoveDirectory, full, 0, LAMINA_SIM_EFFECT {
        LAMINA_SIM_FAIL_BEFORE();
        Place place;
        if (const int error = Find(directory, path, &place); error != 0) return error;
        if (place.inode == nullptr) return -ENOENT;
        if (!place.inode->directory) return -ENOTDIR;
        if (!place.inode->entries.empty()) return -ENOTEMPTY;
        Change(place.parent.get(), place.name, "", 0);
        return 0;
      }));
}

int SimFileSystem::List(Handle directory, std::vector<Entry>* out) {
  return static_cast<int>(Call(
      SimCall::kList, PathOf(directory), 0, LAMINA_SIM_EFFECT {
        LAMINA_SIM_FAIL_BEFORE();
        const OpenFile* opened = Opened(directory);
        if (opened == nullptr) return -EBADF;
        if (!opened->inode->directory) return -ENOTDIR;
        for (const auto& [name, id] : opened->inode->entries) {
          const bool is_directory = inodes_.at(id)->directory;
          out->push_back({name, !is_directory, is_directory});
        }
        return 0;
      }));
}

int SimFileSystem::Map(Handle file, int64_t size, std::shared_ptr<arrow::Buffer>* out) {
  return static_cast<int>(Call(
      SimCall::kMap, PathOf(file), size, LAMINA_SIM_EFFECT {
        LAMINA_SIM_FAIL_BEFORE();
        const OpenFile* opened = Opened(file);
        if (opened == nullptr) return -EBADF;
        const std::string& bytes = opened->inode->cache->bytes;
        auto copy = arrow::AllocateBuffer(size);  // aligned, as a mapping is
        if (!copy.ok()) return -ENOMEM;
        std::memset((*copy)->mutable_data(), 0, static_cast<size_t>(size));
        std::memcpy((*copy)->mutable_data(), bytes.data(),
                    std::min(bytes.size(), static_cast<size_t>(size)));
        *out = std::move(*copy);
        return 0;
      }));
}

int64_t SimFileSystem::NowNanos() {
  base::MutexLock lock(&mu_);
  return clock_->NowMicros() * 1000 + static_cast<int64_t>(calls_ % 1000);
}

uint64_t SimFileSystem::UniqueNumber() {
  base::MutexLock lock(&mu_);
  return random_.Next64();
}

// ---- After a crash

// A file as the disk has it after `damage`. `moment`: for kTear, the last sequence number that
// happened in full.
SimFileSystem::InodePtr SimFileSystem::Damaged(const Inode& file, SimDamage damage, uint64_t moment,
                                               base::Random* random) const {
  auto out = std::make_shared<Inode>();
  out->id = file.id;
  out->disk = file.disk;
  out->disk_modified_nanos = file.disk_modified_nanos;
  const auto& writes = file.writes;
  if (damage == SimDamage::kNothingLost) out->disk_modified_nanos = file.modified_nanos;
  if (!writes.empty() && damage != SimDamage::kDropUnsynced) {
    const std::string& old = file.disk->bytes;
    std::string bytes = old;
    const auto put = [&](int64_t sector, const std::string& content) {
      const auto at = static_cast<size_t>(sector * kSector);
      if (at < bytes.size())
        bytes.replace(at, std::min(content.size(), bytes.size() - at), content);
    };
    const auto resize = [&](int64_t size) { bytes.resize(static_cast<size_t>(size), '\0'); };
    switch (damage) {
      case SimDamage::kReorder: {
        if (random->OneIn(2)) out->disk_modified_nanos = file.modified_nanos;
        const uint64_t size_at = random->Uniform(writes.size() + 1);
        if (size_at > 0) resize(writes[size_at - 1].size_after);
        // Each sector in one of the versions it had; the newest is as likely as all others.
        std::map<int64_t, std::vector<const std::string*>> versions;
        for (const PendingWrite& write : writes) {
          for (const auto& [sector, content] : write.sectors) versions[sector].push_back(&content);
        }
        for (const auto& [sector, of_sector] : versions) {
          if (random->OneIn(2)) {
            put(sector, *of_sector.back());
          } else if (const uint64_t at = random->Uniform(of_sector.size()); at > 0) {
            put(sector, *of_sector[at - 1]);
          }
        }
        break;
      }
      case SimDamage::kTear:
      case SimDamage::kNothingLost:
        for (const PendingWrite& write : writes) {
          size_t whole = write.sectors.size();
          if (damage == SimDamage::kTear && write.sequence > moment) {
            if (write.sequence > moment + 1) break;
            whole = random->Uniform(write.sectors.size() + 1);
            // The size is written with the bytes it covers, or ahead of them.
            const bool ahead = random->OneIn(2);
            const int64_t torn_at = whole == write.sectors.size() ? write.size_after
                                    : write.sectors.empty()       ? write.size_after
                                                            : write.sectors[whole].first * kSector;
            resize(ahead ? write.size_after
                         : std::min(write.size_after,
                                    std::max(torn_at, static_cast<int64_t>(bytes.size()))));
          } else {
            resize(write.size_after);
          }
          for (size_t i = 0; i < whole; ++i) put(write.sectors[i].first, write.sectors[i].second);
        }
        break;
      case SimDamage::kGarbageTail: {
        resize(writes.back().size_after);
        const bool zeros = random->OneIn(2);
        if (bytes.size() > old.size() && !zeros)
          random->FillBytes(bytes.data() + old.size(), bytes.size() - old.size());
        break;
      }
      case SimDamage::kDropUnsynced:
        break;
    }
    out->disk = std::make_shared<Content>(Content{std::move(bytes), 0});
  }
  out->cache = out->disk;
  out->modified_nanos = out->disk_modified_nanos;
  return out;
}

std::shared_ptr<SimFileSystem> SimFileSystem::CrashClone(SimDamage damage, uint64_t seed,
                                                         base::Clock* clock) const {
  base::Random random(seed);
  auto clone = std::make_shared<SimFileSystem>(clock != nullptr ? clock : clock_, random.Next64());
  base::MutexLock lock(&mu_);
  base::MutexLock clone_lock(&clone->mu_);
  uint64_t moment = 0;
  if (damage == SimDamage::kTear) {
    // Half of the time the very last thing that is pending is torn.
    std::vector<uint64_t> pending;
    for (const auto& [id, inode] : inodes_) {
      for (const PendingWrite& write : inode->writes) pending.push_back(write.sequence);
      for (const PendingEntry& change : inode->changes) pending.push_back(change.sequence);
    }
    std::sort(pending.begin(), pending.end());
    if (!pending.empty())
      moment = (random.OneIn(2) ? pending.back() : pending[random.Uniform(pending.size())]) - 1;
  }
  // Directories first: what no entry names is not found after the crash.
  const std::function<void(uint64_t)> visit = [&](uint64_t id) LAMINA_NO_THREAD_SAFETY_ANALYSIS {
    if (clone->inodes_.contains(id) && id != kRoot) return;
    const Inode& inode = *inodes_.at(id);
    if (!inode.directory) {
      clone->inodes_[id] = Damaged(inode, damage, moment, &random);
      return;
    }
    auto out = std::make_shared<Inode>();
    out->id = id;
    out->directory = true;
    out->modified_nanos = out->disk_modified_nanos = inode.disk_modified_nanos;
    out->entries = inode.disk_entries;
    for (const PendingEntry& change : inode.changes) {
      const bool happened = damage == SimDamage::kDropUnsynced ? false
                            : damage == SimDamage::kReorder    ? random.OneIn(2)
                            : damage == SimDamage::kTear       ? change.sequence <= moment
                                                               : true;
      if (happened) Apply(&out->entries, change.remove, change.set, change.inode);
    }
    out->disk_entries = out->entries;
    clone->inodes_[id] = out;
    for (const auto& [name, below] : out->entries) visit(below);
  };
  visit(kRoot);
  clone->next_inode_ = next_inode_;
  return clone;
}

void SimFileSystem::ListFiles(const Inode& directory, const std::string& path,
                              std::vector<std::pair<std::string, InodePtr>>* out) const {
  for (const auto& [name, id] : directory.entries) {
    const InodePtr& inode = inodes_.at(id);
    const std::string full = path + "/" + name;
    if (inode->directory) {
      ListFiles(*inode, full, out);
    } else {
      out->emplace_back(full, inode);
    }
  }
}

uint64_t SimFileSystem::ContentHash() const {
  base::MutexLock lock(&mu_);
  std::vector<std::pair<std::string, InodePtr>> files;
  ListFiles(*inodes_.at(kRoot), "", &files);
  uint64_t hash = 0;
  for (const auto& [path, inode] : files) {
    Content& content = *inode->cache;
    if (content.hash == 0) content.hash = std::hash<std::string>()(content.bytes) | 1;
    hash = Mix(Mix(hash, std::hash<std::string>()(path)), content.hash);
  }
  return hash;
}

std::vector<std::string> SimFileSystem::Files() const {
  base::MutexLock lock(&mu_);
  std::vector<std::pair<std::string, InodePtr>> files;
  ListFiles(*inodes_.at(kRoot), "", &files);
  std::vector<std::string> paths;
  paths.reserve(files.size());
  for (const auto& [path, inode] : files) paths.push_back(path);
  return paths;
}

std::string SimFileSystem::Contents(const std::string& path) const {
  base::MutexLock lock(&mu_);
  Place place;
  LAMINA_CHECK(Find(kHere, path, &place) == 0 && place.inode != nullptr && !place.inode->directory);
  return place.inode->cache->bytes;
}

void SimFileSystem::FlipBit(const std::string& path, size_t byte, int bit) {
  base::MutexLock lock(&mu_);
  Place place;
  LAMINA_CHECK(Find(kHere, path, &place) == 0 && place.inode != nullptr && !place.inode->directory);
  for (ContentPtr* content : {&place.inode->cache, &place.inode->disk}) {
    std::string& bytes = Writable(content);
    LAMINA_CHECK(byte < bytes.size());
    bytes[byte] = static_cast<char>(static_cast<unsigned char>(bytes[byte]) ^ (1U << bit));
  }
}

}  // namespace lamina::testing
