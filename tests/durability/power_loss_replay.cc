#include "power_loss_replay.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/scope_guard.h"

namespace lamina::power_loss {
namespace {

using storage::FileSystem;
using testing::SimDamage;
using testing::SimFileSystem;

Status Failed(const std::string& call, const std::string& path, int64_t error) {
  return Status::IOError(call, " ", path, ": ", std::strerror(static_cast<int>(-error)));
}

Result<std::string> ReadFile(FileSystem* files, const std::string& path, int64_t size) {
  const int file = files->Open(FileSystem::kHere, path, O_RDONLY);
  if (file < 0) return Failed("open", path, file);
  const base::ScopeGuard closer([&] { (void)files->Close(file); });
  std::string bytes(static_cast<size_t>(size), '\0');
  for (size_t done = 0; done < bytes.size();) {
    const int64_t n =
        files->ReadAt(file, bytes.data() + done, bytes.size() - done, static_cast<int64_t>(done));
    if (n <= 0) return Failed("read", path, n);
    done += static_cast<size_t>(n);
  }
  return bytes;
}

struct TreeEntry {
  bool directory = false;
  int64_t modified_nanos = 0;
  std::string bytes;
};
/// By path relative to the folder; a directory comes before what is in it.
using Tree = std::map<std::string, TreeEntry>;

Status ReadTree(FileSystem* files, const std::string& folder, const std::string& below, Tree* out) {
  const std::string path = below.empty() ? folder : folder + "/" + below;
  const int directory = files->Open(FileSystem::kHere, path, O_RDONLY | O_DIRECTORY);
  if (directory < 0) return Failed("open", path, directory);
  const base::ScopeGuard closer([&] { (void)files->Close(directory); });
  std::vector<FileSystem::Entry> entries;
  if (const int error = files->List(directory, &entries); error != 0)
    return Failed("list", path, error);
  for (const auto& entry : entries) {
    const std::string name = below.empty() ? entry.name : below + "/" + entry.name;
    FileSystem::Stat stat;
    if (const int error = files->StatAt(directory, entry.name, &stat); error != 0)
      return Failed("stat", name, error);
    TreeEntry& made = (*out)[name];
    made.directory = entry.is_directory;
    made.modified_nanos = stat.modified_nanos;
    if (entry.is_directory) {
      ARROW_RETURN_NOT_OK(ReadTree(files, folder, name, out));
    } else {
      ARROW_ASSIGN_OR_RAISE(made.bytes, ReadFile(files, folder + "/" + name, stat.size));
    }
  }
  return Status::OK();
}

Status SyncAndClose(FileSystem* files, int handle, bool sync) {
  const int error = sync ? files->Sync(handle, /*data_only=*/false) : 0;
  (void)files->Close(handle);
  return error == 0 ? Status::OK() : Failed("sync", "", error);
}

struct Difference {
  std::string what;           // empty: none
  int64_t bytes_further = 0;  // how much longer the folder's file is
};
Difference Compare(const Tree& expected, const Tree& actual) {
  for (const auto& [name, entry] : expected) {
    const auto found = actual.find(name);
    if (found == actual.end()) return {name + " is missing in the folder"};
    if (found->second.directory != entry.directory) return {name + " is of another kind"};
    if (found->second.bytes != entry.bytes) {
      const size_t has = found->second.bytes.size();
      return {fmt::format("{} holds other bytes: {} in the journal, {} in the folder", name,
                          entry.bytes.size(), has),
              static_cast<int64_t>(has) - static_cast<int64_t>(entry.bytes.size())};
    }
  }
  for (const auto& [name, entry] : actual) {
    if (!expected.contains(name)) return {name + " is in the folder only"};
  }
  return {};
}

/// Plays records into a file system; the process's handles stand for its handles.
class Player {
 public:
  Player(SimFileSystem* files, const std::string& root) : files_(files), root_(root) {}

  /// `result`: what came back; of a write that is how many bytes.
  Status Apply(const Record& record, int64_t result) {
    const RecordHead& head = record.head;
    int64_t got = 0;
    switch (head.call) {
      case Call::kOpen: {
        ARROW_ASSIGN_OR_RAISE(const int directory, DirectoryOf(record));
        // The flags that matter to what is kept; O_CLOEXEC and the like do not.
        const int flags =
            static_cast<int>(head.number) & (O_ACCMODE | O_CREAT | O_EXCL | O_APPEND | O_DIRECTORY);
        const int made = files_->Open(directory, PathOf(record.path), flags);
        got = made;
        if (made < 0) break;
        if ((flags & O_APPEND) != 0) appended_.insert(made);
        // A call under way has no handle that anybody used.
        if (result < 0) {
          (void)files_->Close(made);
        } else {
          handles_[static_cast<int>(result)] = made;
        }
        break;
      }
      case Call::kClose: {
        ARROW_ASSIGN_OR_RAISE(const int file, HandleOf(head.handle));
        (void)files_->Close(file);
        handles_.erase(head.handle);
        break;
      }
      case Call::kMakeDirectory: {
        ARROW_ASSIGN_OR_RAISE(const int directory, DirectoryOf(record));
        got = files_->MakeDirectory(directory, PathOf(record.path));
        break;
      }
      case Call::kWrite: {
        ARROW_ASSIGN_OR_RAISE(const int file, HandleOf(head.handle));
        const auto taken = static_cast<size_t>(std::max<int64_t>(result, 0));
        got = files_->Write(file, std::string_view(record.data).substr(0, taken));
        break;
      }
      case Call::kTruncate: {
        ARROW_ASSIGN_OR_RAISE(const int file, HandleOf(head.handle));
        got = files_->Truncate(file, head.number);
        break;
      }
      case Call::kSetModified: {
        ARROW_ASSIGN_OR_RAISE(const int file, HandleOf(head.handle));
        got = files_->SetModified(file, head.number);
        break;
      }
      case Call::kSync: {
        ARROW_ASSIGN_OR_RAISE(const int file, HandleOf(head.handle));
        got = files_->Sync(file, head.number == 1);
        break;
      }
      case Call::kRename: {
        ARROW_ASSIGN_OR_RAISE(const int directory, DirectoryOf(record));
        got =
            files_->Rename(directory, PathOf(record.path), PathOf(record.other), head.number == 0);
        break;
      }
      case Call::kLink: {
        ARROW_ASSIGN_OR_RAISE(const int directory, DirectoryOf(record));
        got = files_->Link(directory, PathOf(record.path), PathOf(record.other));
        break;
      }
      case Call::kUnlink:
      case Call::kRemoveDirectory: {
        ARROW_ASSIGN_OR_RAISE(const int directory, DirectoryOf(record));
        got = head.call == Call::kUnlink ? files_->Unlink(directory, PathOf(record.path))
                                         : files_->RemoveDirectory(directory, PathOf(record.path));
        break;
      }
      case Call::kAcknowledge:
      case Call::kUnknown:
        break;
    }
    if (got < 0)
      return Failed(fmt::format("replay of call {}", static_cast<int>(head.call)), record.path,
                    got);
    return Status::OK();
  }

  Result<bool> LiesAbout(Lie lie, int handle) {
    ARROW_ASSIGN_OR_RAISE(const int file, HandleOf(handle));
    FileSystem::Stat stat;
    if (const int error = files_->StatFile(file, &stat); error != 0)
      return Failed("stat", "", error);
    switch (lie) {
      case Lie::kNone:
        return false;
      case Lie::kAll:
        return true;
      case Lie::kFiles:
        return stat.is_file;
      case Lie::kDirectories:
        return stat.is_directory;
      case Lie::kLog:
        return appended_.contains(file);
    }
    return false;
  }

 private:
  Result<int> HandleOf(int handle) const {
    const auto found = handles_.find(handle);
    if (found == handles_.end()) return Status::Invalid("journal: unknown handle ", handle);
    return found->second;
  }
  Result<int> DirectoryOf(const Record& record) const {
    if (record.path.starts_with('/')) return FileSystem::kHere;
    return HandleOf(record.head.handle);
  }
  std::string PathOf(const std::string& path) const {
    return path.starts_with('/') ? "/" + path.substr(root_.size()) : path;
  }

  SimFileSystem* const files_;
  const std::string& root_;
  std::map<int, int> handles_;
  std::set<int> appended_;  // of the file system; only logs are appended to
};

}  // namespace

Result<std::vector<Record>> ReadJournal(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return Status::IOError("no journal: ", file);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  std::vector<Record> out;
  for (size_t at = 0; bytes.size() - at >= sizeof(RecordHead);) {
    Record record;
    std::memcpy(&record.head, bytes.data() + at, sizeof(RecordHead));
    const RecordHead& head = record.head;
    if (head.magic != RecordHead::kMagic) return Status::Invalid("journal: no record at ", at);
    at += sizeof(RecordHead);
    if (bytes.size() - at < head.path_size + head.other_size + head.data_size) break;
    record.path = bytes.substr(at, head.path_size);
    at += head.path_size;
    record.other = bytes.substr(at, head.other_size);
    at += head.other_size;
    record.data = bytes.substr(at, head.data_size);
    at += head.data_size;
    if (head.call == Call::kUnknown)
      return Status::Invalid("the process changed files by a call that is not known: ",
                             record.path);
    if (head.call == Call::kSync && head.end != 0 && head.result < 0)
      return Failed("fsync of the watched process", "", head.result);
    out.push_back(std::move(record));
  }
  return out;
}

std::string Acknowledgements(const std::vector<Record>& journal, size_t cut) {
  std::string out;
  for (size_t i = 0; i < cut; ++i) {
    if (journal[i].head.call == Call::kAcknowledge) out += journal[i].data;
  }
  return out;
}

Status CopyTree(FileSystem* from, const std::string& source, FileSystem* to,
                const std::string& target, bool synced) {
  Tree tree;
  ARROW_RETURN_NOT_OK(ReadTree(from, source, "", &tree));
  if (const int error = to->MakeDirectory(FileSystem::kHere, target);
      error != 0 && error != -EEXIST)
    return Failed("mkdir", target, error);
  for (const auto& [name, entry] : tree) {
    const std::string path = target + "/" + name;
    if (entry.directory) {
      if (const int error = to->MakeDirectory(FileSystem::kHere, path); error != 0)
        return Failed("mkdir", path, error);
      continue;
    }
    const int file = to->Open(FileSystem::kHere, path, O_WRONLY | O_CREAT | O_EXCL);
    if (file < 0) return Failed("create", path, file);
    for (std::string_view rest = entry.bytes; !rest.empty();) {
      const int64_t n = to->Write(file, rest);
      if (n <= 0) return Failed("write", path, n);
      rest.remove_prefix(static_cast<size_t>(n));
    }
    if (const int error = to->SetModified(file, entry.modified_nanos); error != 0)
      return Failed("futimens", path, error);
    ARROW_RETURN_NOT_OK(SyncAndClose(to, file, synced));
  }
  std::vector<std::string> directories{target};
  for (const auto& [name, entry] : tree) {
    if (entry.directory) directories.push_back(target + "/" + name);
  }
  for (const std::string& path : directories) {
    const int directory = to->Open(FileSystem::kHere, path, O_RDONLY | O_DIRECTORY);
    if (directory < 0) return Failed("open", path, directory);
    ARROW_RETURN_NOT_OK(SyncAndClose(to, directory, synced));
  }
  return Status::OK();
}

Result<std::shared_ptr<SimFileSystem>> Replay::Play(const std::vector<Record>& journal,
                                                    size_t records, const UnderWay& under_way,
                                                    Lie lie) const {
  auto files = before_->CrashClone(SimDamage::kNothingLost, 1);
  std::map<uint32_t, int64_t> results;
  for (size_t i = 0; i < records; ++i) {
    if (journal[i].head.end != 0) results[journal[i].head.id] = journal[i].head.result;
  }
  Player player(files.get(), root_);
  for (size_t i = 0; i < records; ++i) {
    const Record& record = journal[i];
    if (record.head.end != 0 || record.head.call == Call::kAcknowledge) continue;
    const auto found = results.find(record.head.id);
    if (record.head.call == Call::kSync) {
      if (found == results.end()) continue;
      ARROW_ASSIGN_OR_RAISE(const bool lied, player.LiesAbout(lie, record.head.handle));
      if (lied) continue;
    }
    if (found != results.end()) {
      if (found->second >= 0) ARROW_RETURN_NOT_OK(player.Apply(record, found->second));
      continue;
    }
    if (!under_way.happens) continue;
    const int64_t result =
        record.head.call == Call::kWrite
            ? static_cast<int64_t>(std::min<uint64_t>(record.data.size(), under_way.bytes_max))
            : -1;
    // It may have failed (a file that was there already): then it would not have happened.
    (void)player.Apply(record, result);
  }
  return files;
}

Result<std::shared_ptr<SimFileSystem>> Replay::Survivor(const std::vector<Record>& journal,
                                                        const Cut& cut) const {
  base::Random random(cut.seed);
  UnderWay under_way;
  under_way.happens = random.OneIn(2);
  ARROW_ASSIGN_OR_RAISE(const auto files, Play(journal, cut.records, under_way, cut.lie));
  return files->CrashClone(cut.damage, random.Next64());
}

Status Replay::CompareWithFolder(const std::vector<Record>& journal) const {
  Tree actual;
  ARROW_RETURN_NOT_OK(ReadTree(storage::SystemFileSystem().get(), root_, "", &actual));
  const auto compare = [&](const UnderWay& under_way) -> Result<Difference> {
    ARROW_ASSIGN_OR_RAISE(const auto files, Play(journal, journal.size(), under_way, Lie::kNone));
    Tree expected;
    ARROW_RETURN_NOT_OK(ReadTree(files.get(), "", "", &expected));
    return Compare(expected, actual);
  };
  ARROW_ASSIGN_OR_RAISE(const Difference without, compare({.happens = false}));
  if (without.what.empty()) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(const Difference with, compare({.happens = true}));
  if (with.what.empty()) return Status::OK();
  if (without.bytes_further > 0) {
    // A write that is killed stops at the end of one of the pages it fills.
    const auto part = static_cast<uint64_t>(without.bytes_further);
    ARROW_ASSIGN_OR_RAISE(const Difference in_part, compare({.happens = true, .bytes_max = part}));
    if (in_part.what.empty()) return Status::OK();
  }
  return Status::Invalid("the folder is not what the journal says: ", without.what);
}

}  // namespace lamina::power_loss
