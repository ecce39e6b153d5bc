// A Put, step by step:
//   1. write `<parent>/.tmp-<pid>-<random>`, set its mtime from the precise clock, fdatasync it;
//   2. None, IfTagMatches: take the store's CAS lock (flock); look at the object there now; compare
//      the tag; make sure that the new mtime is later than the old one; rename over it. IfAbsent,
//      Create: renameat2(RENAME_NOREPLACE), or link + unlink where the file system has none; no
//      lock needed;
//   3. fsync the parent directory. Everything before may be undone by a crash, nothing after.
//
// The tag is mtime (nanoseconds), size and inode. A content hash alone would let A -> B -> A pass,
// and so would the inode (the kernel hands freed ones out again at once) or the kernel's own mtime
// (it ticks every few milliseconds). Because step 2 runs under the lock and pushes mtime past the
// replaced object's, mtime is a generation that only grows along the overwrites of a path. After
// Delete a path starts anew: then only the precise clock parts the new object from an old tag.
#include "storage/object_store/local_store.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <utility>

#include "base/check.h"
#include "base/mutant.h"
#include "base/out_of_memory.h"
#include "base/scope_guard.h"
#include "storage/object_store/releasable_reader.h"
#include "storage/object_store/store_path.h"

namespace lamina::storage {

namespace {

constexpr char kCasLockName[] = ".lock-cas";
constexpr int64_t kPreallocateBytes = 4 * 1024 * 1024;

// What a failed call means for the caller; the table is in README.md.
ErrorCode CodeOfErrno(int error) {
  switch (error) {
    case ENOENT:
      return ErrorCode::kNotFound;
    case EEXIST:
      return ErrorCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EFBIG:
      return ErrorCode::kResourceExhausted;
    case ENOTDIR:
    case EISDIR:
    case ENAMETOOLONG:
    case ELOOP:
      return ErrorCode::kInvalidArgument;
    case EBADF:
    case EINVAL:
    case EFAULT:
      return ErrorCode::kInternal;
    default:
      return ErrorCode::kUnavailable;
  }
}

const char* HintOfErrno(int error) {
  switch (error) {
    case ENOSPC:
      return "make room on the disk";
    case EDQUOT:
      return "raise the disk quota";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (ulimit -n)";
    case EROFS:
      return "the file system is mounted read-only";
    default:
      return "";
  }
}

Status ErrnoError(ErrorCode code, int error, std::string_view call, std::string_view path) {
  char text[128];
  // The GNU form, which may return a string of its own instead of `text`.
  const char* const reason = strerror_r(error, text, sizeof(text));
  return MakeError(code,
                   "file operation failed: call=" + std::string(call) + " path=" +
                       std::string(path) + " errno=" + std::to_string(error) + " reason=" + reason,
                   HintOfErrno(error));
}

Status ErrnoError(int error, std::string_view call, std::string_view path) {
  return ErrnoError(CodeOfErrno(error), error, call, path);
}

Status NotFound(const std::string& path) {
  return MakeError(ErrorCode::kNotFound, "object does not exist: path=" + path);
}

ObjectInfo InfoOf(const std::string& path, const FileSystem::Stat& st) {
  ObjectInfo info;
  info.path = path;
  info.size = st.size;
  char tag[64];
  std::snprintf(
      tag, sizeof(tag), "%llx-%llx-%llx", static_cast<unsigned long long>(st.modified_nanos),
      static_cast<unsigned long long>(st.size), static_cast<unsigned long long>(st.inode));
  info.tag = tag;
  info.modified_micros = st.modified_nanos / 1000;
  return info;
}

std::string ParentOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string() : std::string(path.substr(0, slash));
}

std::string_view NameOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string Join(const std::string& parent, std::string_view name) {
  return parent.empty() ? std::string(name) : parent + "/" + std::string(name);
}

std::string OrDot(const std::string& directory) { return directory.empty() ? "." : directory; }

// Writes everything; 0 or an errno. A short write goes on where it stopped, so that the cause shows
// as the next errno.
int WriteAll(FileSystem* files, int fd, std::string_view bytes, size_t* written) {
  while (!bytes.empty()) {
    const int64_t n = files->Write(fd, bytes);
    if (n < 0) return static_cast<int>(-n);
    if (n == 0) return EIO;
    *written += static_cast<size_t>(n);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return 0;
}

// Reads exactly `size` bytes unless the file ends before; returns the bytes read or -errno.
int64_t ReadAll(FileSystem* files, int fd, void* out, int64_t size, int64_t offset) {
  int64_t done = 0;
  while (done < size) {
    const int64_t n = files->ReadAt(fd, static_cast<char*>(out) + done,
                                    static_cast<size_t>(size - done), offset + done);
    if (n < 0) return n;
    if (n == 0) break;
    done += n;
  }
  return done;
}

// ---- Reading ----

/// Zero-copy reads from a mapping: a read makes no system call (arrow::io::MemoryMappedFile advises
/// the kernel on every one).
class MappedFile final : public ReleasableReader {
 public:
  MappedFile(std::shared_ptr<FileSystem> files, std::shared_ptr<arrow::Buffer> buffer)
      : files_(std::move(files)), buffer_(std::move(buffer)) {}

  // The mapping goes when the last buffer handed out goes, not here: other threads may be reading.
  Status Close() override {
    closed_.store(true, std::memory_order_relaxed);
    return Status::OK();
  }
  bool closed() const override { return closed_.load(std::memory_order_relaxed); }
  Result<int64_t> Tell() const override { return position_; }
  Status Seek(int64_t position) override {
    if (position < 0 || position > buffer_->size()) return OutOfBounds(position, 0);
    position_ = position;
    return Status::OK();
  }
  Result<int64_t> GetSize() override { return buffer_->size(); }
  bool supports_zero_copy() const override { return true; }

  Result<int64_t> Read(int64_t size, void* out) override {
    ARROW_ASSIGN_OR_RAISE(const int64_t n, ReadAt(position_, size, out));
    position_ += n;
    return n;
  }
  Result<std::shared_ptr<arrow::Buffer>> Read(int64_t size) override {
    ARROW_ASSIGN_OR_RAISE(auto out, ReadAt(position_, size));
    position_ += out->size();
    return out;
  }
  Result<int64_t> ReadAt(int64_t position, int64_t size, void* out) override {
    ARROW_RETURN_NOT_OK(Check(position, size));
    const int64_t n = std::min(size, buffer_->size() - position);
    if (n > 0) std::memcpy(out, buffer_->data() + position, static_cast<size_t>(n));
    return n;
  }
  Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t size) override {
    ARROW_RETURN_NOT_OK(Check(position, size));
    return arrow::SliceBuffer(buffer_, position, std::min(size, buffer_->size() - position));
  }
  Status WillNeed(const std::vector<arrow::io::ReadRange>& ranges) override {
    for (const auto& range : ranges) {
      ARROW_RETURN_NOT_OK(Check(range.offset, range.length));
      const int64_t length = std::min(range.length, buffer_->size() - range.offset);
      if (length > 0) files_->WillNeed(buffer_->data() + range.offset, length);
    }
    return Status::OK();
  }

  void Release(int64_t offset, int64_t length) override {
    if (!Check(offset, length).ok()) return;
    files_->Release(buffer_->data() + offset, std::min(length, buffer_->size() - offset));
  }

 private:
  Status Check(int64_t position, int64_t size) const {
    if (closed()) return MakeError(ErrorCode::kInvalidArgument, "read from a closed file");
    if (position < 0 || size < 0 || position > buffer_->size()) return OutOfBounds(position, size);
    return Status::OK();
  }
  Status OutOfBounds(int64_t position, int64_t size) const {
    return MakeError(ErrorCode::kInvalidArgument,
                     "read outside the object: offset=" + std::to_string(position) + " length=" +
                         std::to_string(size) + " size=" + std::to_string(buffer_->size()));
  }

  const std::shared_ptr<FileSystem> files_;
  const std::shared_ptr<arrow::Buffer> buffer_;
  int64_t position_ = 0;
  std::atomic<bool> closed_{false};
};

// ---- Appending ----

class LocalAppendFile final : public AppendFile {
 public:
  LocalAppendFile(std::shared_ptr<FileSystem> files, int fd, std::string path, int64_t size)
      : files_(std::move(files)), fd_(fd), path_(std::move(path)), size_(size), allocated_(size) {}
  ~LocalAppendFile() override {
    (void)Close();
  }  // nobody is left to tell; Close() says it to those who ask

  Status Append(std::string_view bytes) override {
    ARROW_RETURN_NOT_OK(Usable());
    const int64_t size = size_.load(std::memory_order_relaxed);
    Preallocate(size + static_cast<int64_t>(bytes.size()));
    size_t written = 0;
    const int error = WriteAll(files_.get(), fd_, bytes, &written);
    // What arrived counts, so that size() is the file's size after a failure too.
    size_.store(size + static_cast<int64_t>(written), std::memory_order_release);
    return error == 0 ? Status::OK() : Fail(error, "write");
  }

  Status Sync() override {
    ARROW_RETURN_NOT_OK(Usable());
    int error = -files_->Sync(fd_, /*data_only=*/true);
    if (error != 0 && LAMINA_MUTANT("store.failed_sync_tried_again"))
      error = -files_->Sync(fd_, /*data_only=*/true);
    return error == 0 ? Status::OK() : Fail(error, "fdatasync");
  }

  int64_t size() const override { return size_.load(std::memory_order_acquire); }

  Status Close() override {
    if (fd_ < 0) return Status::OK();
    // Gives the blocks reserved behind the end back. Failing leaves them reserved until the file is
    // deleted: harmless.
    if (allocated_ > size()) (void)files_->Truncate(fd_, size());
    const int error = -files_->Close(fd_);
    fd_ = -1;
    // EINTR: the handle is gone all the same.
    return error == 0 || error == EINTR ? Status::OK()
                                        : ErrnoError(ErrorCode::kStopped, error, "close", path_);
  }

 private:
  Status Usable() {
    if (fd_ < 0)
      return MakeError(ErrorCode::kInvalidArgument, "append file is closed: path=" + path_);
    if (!failed_.load(std::memory_order_acquire)) return Status::OK();
    base::MutexLock lock(&mu_);
    return failure_;
  }

  // After a failed write or sync nobody knows which bytes the disk holds (the kernel may drop dirty
  // pages after reporting an error once), so every later call fails too.
  Status Fail(int error, const char* call) {
    const ErrorCode mapped = CodeOfErrno(error);
    const ErrorCode code = mapped == ErrorCode::kResourceExhausted ? mapped : ErrorCode::kStopped;
    Status status = base::ErrorOr([&] { return ErrnoError(code, error, call, path_); },
                                  base::StoppedOutOfMemory());
    base::MutexLock lock(&mu_);
    if (failure_.ok()) failure_ = base::CopyOf(status, base::StoppedOutOfMemory());
    failed_.store(true, std::memory_order_release);
    return status;
  }

  // Reserves blocks ahead without changing the size: a log lies in few pieces on the disk, and an
  // append finds its blocks reserved. (fdatasync itself takes as long with as without: see
  // README.md.) Where the file system cannot, plain appends do.
  void Preallocate(int64_t needed) {
    if (needed <= allocated_ || !preallocates_) return;
    const int64_t target = (needed + kPreallocateBytes - 1) / kPreallocateBytes * kPreallocateBytes;
    if (files_->Reserve(fd_, allocated_, target - allocated_) == 0) {
      allocated_ = target;
    } else {
      preallocates_ = false;
    }
  }

  const std::shared_ptr<FileSystem> files_;
  int fd_;
  const std::string path_;
  std::atomic<int64_t> size_;
  int64_t allocated_;
  bool preallocates_ = true;
  std::atomic<bool> failed_{false};
  base::Mutex mu_;
  Status failure_ LAMINA_GUARDED_BY(mu_);
};

/// Closing the descriptor releases the lock, as the end of the process does.
class LocalLock final : public StoreLock {
 public:
  LocalLock(std::shared_ptr<FileSystem> files, int fd) : files_(std::move(files)), fd_(fd) {}
  ~LocalLock() override {
    // Empties the file first, so that nobody reads about a holder that is gone.
    (void)files_->Truncate(fd_, 0);
    (void)files_->Close(fd_);
  }

 private:
  const std::shared_ptr<FileSystem> files_;
  const int fd_;
};

}  // namespace

/// Writes a temporary file; Finish names it.
class LocalObjectWriter final : public ObjectWriter {
 public:
  LocalObjectWriter(std::shared_ptr<LocalStore> store, std::string path, int fd, std::string temp)
      : store_(std::move(store)), path_(std::move(path)), fd_(fd), temp_(std::move(temp)) {}
  ~LocalObjectWriter() override { Discard(); }

  Status Write(std::string_view bytes) override {
    if (fd_ < 0)
      return MakeError(ErrorCode::kInvalidArgument, "object writer is finished: path=" + path_);
    size_t written = 0;
    const int error = WriteAll(store_->files_.get(), fd_, bytes, &written);
    bytes_written_ += static_cast<int64_t>(written);
    if (error == 0) return Status::OK();
    // A file that lacks a piece must never be named.
    Discard();
    return ErrnoError(error, "write", path_);
  }

  int64_t bytes_written() const override { return bytes_written_; }

  Result<ObjectInfo> Finish() override {
    if (fd_ < 0)
      return MakeError(ErrorCode::kInvalidArgument, "object writer is finished: path=" + path_);
    auto info = store_->PublishNew(fd_, temp_, path_);
    Discard();
    return info;
  }

 private:
  void Discard() {
    if (fd_ < 0) return;
    // After a successful Finish the name is gone already.
    store_->DiscardTempFile(fd_, temp_);
    fd_ = -1;
  }

  const std::shared_ptr<LocalStore> store_;
  const std::string path_;
  int fd_;
  const std::string temp_;
  int64_t bytes_written_ = 0;
};

// ---- LocalStore ----

Result<std::shared_ptr<LocalStore>> LocalStore::Open(const std::string& directory, bool create,
                                                     std::shared_ptr<FileSystem> files) {
  if (directory.empty()) return MakeError(ErrorCode::kInvalidArgument, "store directory is empty");
  if (create) {
    // Every ancestor is made durable by a sync of its own parent, also one that is there: whoever
    // made it may have died before its own sync.
    for (size_t end = directory.find('/', 1);; end = directory.find('/', end + 1)) {
      const std::string part = directory.substr(0, end);
      const int made = files->MakeDirectory(FileSystem::kHere, part);
      if (made != 0 && made != -EEXIST) return ErrnoError(-made, "mkdir", part);
      const size_t slash = part.find_last_of('/', part.find_last_not_of('/'));
      const std::string parent = slash == std::string::npos ? "."
                                 : slash == 0               ? "/"
                                                            : part.substr(0, slash);
      const int fd = files->Open(FileSystem::kHere, parent, O_RDONLY | O_DIRECTORY);
      // What may not be read we did not make; and some file systems cannot sync a directory.
      const bool ours = made == 0;
      if (fd < 0 && (ours || (fd != -EACCES && fd != -EPERM)))
        return ErrnoError(-fd, "open", parent);
      if (fd >= 0) {
        const int error = -files->Sync(fd, /*data_only=*/false);
        (void)files->Close(fd);
        if (error != 0 && (ours || (error != EINVAL && error != EROFS))) {
          // As in MakeParents: the next try has to make it anew.
          if (ours) (void)files->RemoveDirectory(FileSystem::kHere, part);
          return ErrnoError(error, "fsync", parent);
        }
      }
      if (end == std::string::npos) break;
    }
  }
  const int fd = files->Open(FileSystem::kHere, directory, O_RDONLY | O_DIRECTORY);
  if (fd < 0) {
    if (fd == -ENOENT)
      return MakeError(ErrorCode::kNotFound, "store directory does not exist: path=" + directory);
    return ErrnoError(-fd, "open", directory);
  }
  base::ScopeGuard closer([&, system = files] { (void)system->Close(fd); });
  auto* const store = new LocalStore(std::move(files), directory, fd);
  closer.Dismiss();  // the store closes it
  return std::shared_ptr<LocalStore>(store);
}

LocalStore::~LocalStore() { (void)files_->Close(root_fd_); }

Result<int> LocalStore::OpenForRead(const std::string& path, ObjectInfo* info) {
  ARROW_RETURN_NOT_OK(ValidatePath(path));
  const int fd = files_->Open(root_fd_, path, O_RDONLY);
  if (fd < 0) {
    if (fd == -ENOENT || fd == -ENOTDIR) return NotFound(path);
    return ErrnoError(-fd, "open", path);
  }
  base::ScopeGuard closer([&] { (void)files_->Close(fd); });
  FileSystem::Stat st;
  if (const int error = -files_->StatFile(fd, &st); error != 0)
    return ErrnoError(error, "fstat", path);
  if (!st.is_file) return NotFound(path);
  *info = InfoOf(path, st);
  closer.Dismiss();
  return fd;
}

Result<ObjectInfo> LocalStore::Head(const std::string& path) {
  ARROW_RETURN_NOT_OK(ValidatePath(path));
  FileSystem::Stat st;
  if (const int error = -files_->StatAt(root_fd_, path, &st); error != 0) {
    if (error == ENOENT || error == ENOTDIR) return NotFound(path);
    return ErrnoError(error, "stat", path);
  }
  if (!st.is_file) return NotFound(path);
  return InfoOf(path, st);
}

Result<std::shared_ptr<arrow::Buffer>> LocalStore::Get(const std::string& path, ObjectInfo* info) {
  ObjectInfo found;
  ARROW_ASSIGN_OR_RAISE(const int fd, OpenForRead(path, &found));
  const base::ScopeGuard closer([&] { (void)files_->Close(fd); });
  // A copy, not a mapping: whole reads are of small objects, and a copy cannot fault later.
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(found.size));
  const int64_t n = ReadAll(files_.get(), fd, buffer->mutable_data(), found.size, 0);
  if (n < 0) return ErrnoError(static_cast<int>(-n), "pread", path);
  if (n < found.size) {
    return MakeError(ErrorCode::kUnavailable, "file shrank while it was read: path=" + path +
                                                  " expected=" + std::to_string(found.size) +
                                                  " actual=" + std::to_string(n));
  }
  if (info != nullptr) *info = std::move(found);
  return buffer;
}

Result<std::shared_ptr<arrow::Buffer>> LocalStore::GetRange(const std::string& path, int64_t offset,
                                                            int64_t length) {
  ObjectInfo found;
  ARROW_ASSIGN_OR_RAISE(const int fd, OpenForRead(path, &found));
  const base::ScopeGuard closer([&] { (void)files_->Close(fd); });
  ARROW_RETURN_NOT_OK(CheckRange(path, found.size, offset, length));
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(length));
  const int64_t n = ReadAll(files_.get(), fd, buffer->mutable_data(), length, offset);
  if (n < 0) return ErrnoError(static_cast<int>(-n), "pread", path);
  if (n < length) {
    return MakeError(ErrorCode::kUnavailable, "file shrank while it was read: path=" + path +
                                                  " offset=" + std::to_string(offset) +
                                                  " expected=" + std::to_string(length) +
                                                  " actual=" + std::to_string(n));
  }
  return buffer;
}

Result<std::shared_ptr<arrow::io::RandomAccessFile>> LocalStore::OpenReader(
    const std::string& path) {
  ObjectInfo found;
  ARROW_ASSIGN_OR_RAISE(const int fd, OpenForRead(path, &found));
  const base::ScopeGuard closer([&] { (void)files_->Close(fd); });
  std::shared_ptr<arrow::Buffer> bytes = std::make_shared<arrow::Buffer>(nullptr, 0);
  if (found.size > 0) {
    if (const int error = -files_->Map(fd, found.size, &bytes); error != 0)
      return ErrnoError(error, "mmap", path);
  }
  return std::make_shared<MappedFile>(files_, std::move(bytes));
}

// Makes the directories above `path` and their names durable. mkdir's "exists" does not say that
// the one who made it has synced it, so this handle syncs each directory's parent once itself.
Status LocalStore::MakeParents(const std::string& path) {
  const std::string parent = ParentOf(path);
  if (parent.empty()) return Status::OK();
  {
    base::MutexLock lock(&mu_);
    if (durable_directories_.contains(parent)) return Status::OK();
  }
  ARROW_RETURN_NOT_OK(MakeParents(parent));
  const int made = -files_->MakeDirectory(root_fd_, parent);
  if (made != 0 && made != EEXIST) return ErrnoError(made, "mkdir", parent);
  // If it cannot be synced, a later sync would say OK and write nothing. So that the next try makes
  // it anew:
  base::ScopeGuard unmake([&] {
    if (made == 0) (void)files_->RemoveDirectory(root_fd_, parent);
  });
  ARROW_RETURN_NOT_OK(SyncParent(parent));
  unmake.Dismiss();
  base::MutexLock lock(&mu_);
  durable_directories_.insert(parent);
  return Status::OK();
}

Status LocalStore::CheckUsable() const {
  if (!sync_failed_.load(std::memory_order_acquire)) return Status::OK();
  return MakeError(ErrorCode::kStopped,
                   "a sync of a directory failed before, so nothing is written: path=" + directory_,
                   "open the store again");
}

Result<int> LocalStore::OpenParent(const std::string& path) {
  const std::string parent = ParentOf(path);
  const int fd = files_->Open(root_fd_, OrDot(parent), O_RDONLY | O_DIRECTORY);
  if (fd < 0) return ErrnoError(-fd, "open", parent);
  return fd;
}

// After a failed sync the kernel may count the entries as clean that never reached the disk: the
// error says that all of this store is in doubt.
Status LocalStore::SyncDirectory(int fd, const std::string& directory) {
  const int error =
      LAMINA_MUTANT("store.directory_sync_skipped") ? 0 : -files_->Sync(fd, /*data_only=*/false);
  if (error == 0) return Status::OK();
  if (LAMINA_MUTANT("store.failed_directory_sync_forgotten"))
    return ErrnoError(error, "fsync", directory);
  sync_failed_.store(true, std::memory_order_release);
  return base::ErrorOr([&] { return ErrnoError(ErrorCode::kStopped, error, "fsync", directory); },
                       base::StoppedOutOfMemory());
}

Status LocalStore::SyncParent(const std::string& path) {
  ARROW_ASSIGN_OR_RAISE(const int fd, OpenParent(path));
  const base::ScopeGuard closer([&] { (void)files_->Close(fd); });
  return SyncDirectory(fd, ParentOf(path));
}

Result<LocalStore::TempFile> LocalStore::MakeTempFile(const std::string& path) {
  ARROW_RETURN_NOT_OK(ValidatePath(path));
  LAMINA_FAULT_POINT("local_store.temp_file");
  ARROW_RETURN_NOT_OK(CheckUsable());
  ARROW_RETURN_NOT_OK(MakeParents(path));
  for (int attempt = 0;; ++attempt) {
    TempFile temp;
    temp.name =
        Join(ParentOf(path), std::string(kTempPrefix) + std::to_string(files_->ProcessId()) + "-" +
                                 std::to_string(files_->UniqueNumber()));
    {
      base::MutexLock lock(&mu_);
      unfinished_.insert(temp.name);
    }
    temp.fd = files_->Open(root_fd_, temp.name, O_WRONLY | O_CREAT | O_EXCL);
    if (temp.fd >= 0) return temp;
    const int error = -temp.fd;
    {
      base::MutexLock lock(&mu_);
      unfinished_.erase(temp.name);
    }
    if (error == ENOENT && attempt == 0) {
      // Somebody removed the directory that this handle knew.
      {
        base::MutexLock lock(&mu_);
        durable_directories_.clear();
      }
      ARROW_RETURN_NOT_OK(MakeParents(path));
      continue;
    }
    return ErrnoError(error, "open", temp.name);
  }
}

void LocalStore::DiscardTempFile(int fd, const std::string& name) {
  (void)files_->Close(fd);
  // Gone already after a rename. What cannot be removed now is swept later.
  (void)files_->Unlink(root_fd_, name);
  base::MutexLock lock(&mu_);
  unfinished_.erase(name);
}

// Gives the temporary file its final name if that is free. An error says for certain that the name
// was not given.
Status LocalStore::RenameNew(const std::string& temp, const std::string& path, uint64_t inode) {
  LAMINA_FAULT_POINT("local_store.rename");
  int error = -files_->Rename(root_fd_, temp, path, /*replace=*/false);
  if (error == 0 || IsNamed(path, inode)) return Status::OK();
  if (error == EINVAL || error == ENOSYS) {
    // This file system cannot (NFS, some FUSE): a link fails on an existing name just as well.
    error = -files_->Link(root_fd_, temp, path);
    if (error == 0) {
      // A second name that SweepUnfinished takes if this fails.
      (void)files_->Unlink(root_fd_, temp);
      return Status::OK();
    }
  }
  if (IsNamed(path, inode)) return Status::OK();
  if (error == EEXIST) return MakeError(ErrorCode::kAlreadyExists, "object exists: path=" + path);
  return ErrnoError(error, "rename", path);
}

// Whether a rename that answered with an error has happened (as over a network, where the answer
// can get lost).
bool LocalStore::IsNamed(const std::string& path, uint64_t inode) {
  FileSystem::Stat st;
  return files_->StatAt(root_fd_, path, &st) == 0 && st.inode == inode;
}

Result<ObjectInfo> LocalStore::PublishNew(int fd, const std::string& temp,
                                          const std::string& path) {
  if (const int error = -files_->SetModified(fd, files_->NowNanos()); error != 0)
    return ErrnoError(error, "futimens", temp);
  LAMINA_FAULT_POINT("local_store.sync_file");
  if (const int error =
          LAMINA_MUTANT("store.object_unsynced") ? 0 : -files_->Sync(fd, /*data_only=*/true);
      error != 0)
    return ErrnoError(error, "fdatasync", temp);
  FileSystem::Stat st;
  if (const int error = -files_->StatFile(fd, &st); error != 0)
    return ErrnoError(error, "fstat", temp);
  // Before the name is given: from there on nothing may fail but the sync itself.
  ARROW_ASSIGN_OR_RAISE(const int parent_fd, OpenParent(path));
  const base::ScopeGuard closer([&] { (void)files_->Close(parent_fd); });
  const std::string parent = ParentOf(path);
  ObjectInfo info = InfoOf(path, st);
  ARROW_RETURN_NOT_OK(RenameNew(temp, path, st.inode));
  ARROW_RETURN_NOT_OK(SyncDirectory(parent_fd, parent));
  return info;
}

Result<int> LocalStore::TakeCasLock() {
  const int fd = files_->Open(root_fd_, kCasLockName, O_RDWR | O_CREAT);
  if (fd < 0) return ErrnoError(-fd, "open", kCasLockName);
  if (const int error = -files_->Lock(fd, /*wait=*/true); error != 0) {
    (void)files_->Close(fd);
    return ErrnoError(error, "flock", kCasLockName);
  }
  return fd;
}

Result<ObjectInfo> LocalStore::PublishReplacing(int fd, const std::string& temp,
                                                const std::string& path,
                                                const PutCondition& condition) {
  if (const int error = -files_->SetModified(fd, files_->NowNanos()); error != 0)
    return ErrnoError(error, "futimens", temp);
  LAMINA_FAULT_POINT("local_store.sync_file");
  if (const int error = -files_->Sync(fd, /*data_only=*/true); error != 0)
    return ErrnoError(error, "fdatasync", temp);
  FileSystem::Stat st;
  if (const int error = -files_->StatFile(fd, &st); error != 0)
    return ErrnoError(error, "fstat", temp);

  ARROW_ASSIGN_OR_RAISE(const int lock_fd, TakeCasLock());
  const base::ScopeGuard unlock([&] { (void)files_->Close(lock_fd); });
  FileSystem::Stat old;
  const int stat_error = -files_->StatAt(root_fd_, path, &old);
  const bool exists = stat_error == 0;
  if (!exists && stat_error != ENOENT) return ErrnoError(stat_error, "stat", path);
  if (exists && !old.is_file) return ErrnoError(EISDIR, "rename", path);
  if (condition.kind == PutCondition::Kind::kIfTagMatches) {
    const std::string current = exists ? InfoOf(path, old).tag : "none";
    if (!exists || current != condition.tag) {
      return MakeError(ErrorCode::kConflict, "object changed: path=" + path + " expected_tag=" +
                                                 condition.tag + " actual_tag=" + current);
    }
  }
  if (exists && st.modified_nanos <= old.modified_nanos) {
    LAMINA_REACHED("local_store.put.modified_bumped");
    // The clock stepped back, or two Puts crossed. One nanosecond more is enough, unless the file
    // system stores coarser times.
    for (const int64_t step : {1LL, 1'000LL, 1'000'000LL, 1'000'000'000LL, 3'000'000'000LL}) {
      if (const int error = -files_->SetModified(fd, old.modified_nanos + step); error != 0)
        return ErrnoError(error, "futimens", temp);
      if (const int error = -files_->StatFile(fd, &st); error != 0)
        return ErrnoError(error, "fstat", temp);
      if (st.modified_nanos > old.modified_nanos) break;
    }
    if (st.modified_nanos <= old.modified_nanos) {
      return MakeError(ErrorCode::kUnsupported,
                       "file system does not keep modification times: path=" + path);
    }
    if (const int error = -files_->Sync(fd, /*data_only=*/false); error != 0)
      return ErrnoError(error, "fsync", temp);
  }
  // Before the name is given: from there on nothing may fail but the sync itself.
  ARROW_ASSIGN_OR_RAISE(const int parent_fd, OpenParent(path));
  const base::ScopeGuard closer([&] { (void)files_->Close(parent_fd); });
  const std::string parent = ParentOf(path);
  ObjectInfo info = InfoOf(path, st);
  LAMINA_FAULT_POINT("local_store.rename");
  if (const int error = -files_->Rename(root_fd_, temp, path, /*replace=*/true);
      error != 0 && !IsNamed(path, st.inode))
    return ErrnoError(error, "rename", path);
  // Still under the lock: whoever sees the new tag builds on something durable.
  ARROW_RETURN_NOT_OK(SyncDirectory(parent_fd, parent));
  return info;
}

Result<ObjectInfo> LocalStore::Put(const std::string& path, std::string_view bytes,
                                   const PutCondition& condition) {
  ARROW_ASSIGN_OR_RAISE(const TempFile temp, MakeTempFile(path));
  const base::ScopeGuard discard([&] { DiscardTempFile(temp.fd, temp.name); });
  size_t written = 0;
  if (const int error = WriteAll(files_.get(), temp.fd, bytes, &written); error != 0)
    return ErrnoError(error, "write", path);
  if (condition.kind == PutCondition::Kind::kIfAbsent) return PublishNew(temp.fd, temp.name, path);
  return PublishReplacing(temp.fd, temp.name, path, condition);
}

Result<std::unique_ptr<ObjectWriter>> LocalStore::Create(const std::string& path) {
  ARROW_ASSIGN_OR_RAISE(const TempFile temp, MakeTempFile(path));
  base::ScopeGuard discard([&] { DiscardTempFile(temp.fd, temp.name); });
  auto writer = std::make_unique<LocalObjectWriter>(shared_from_this(), path, temp.fd, temp.name);
  discard.Dismiss();
  return writer;
}

Status LocalStore::Walk(const std::string& directory,
                        const std::function<Status(const std::string&, bool, int)>& visit) {
  const int fd = files_->Open(root_fd_, OrDot(directory), O_RDONLY | O_DIRECTORY);
  if (fd < 0) {
    if (fd == -ENOENT || fd == -ENOTDIR) return Status::OK();
    return ErrnoError(-fd, "open", directory);
  }
  const base::ScopeGuard closer([&] { (void)files_->Close(fd); });
  std::vector<FileSystem::Entry> entries;
  if (const int error = -files_->List(fd, &entries); error != 0)
    return ErrnoError(error, "readdir", directory);
  for (const FileSystem::Entry& entry : entries) {
    if (!entry.is_directory && !entry.is_file) continue;
    ARROW_RETURN_NOT_OK(visit(Join(directory, entry.name), entry.is_directory, fd));
  }
  return Status::OK();
}

Result<std::vector<ObjectInfo>> LocalStore::List(const std::string& prefix) {
  ARROW_RETURN_NOT_OK(ValidatePrefix(prefix));
  std::vector<ObjectInfo> out;
  std::function<Status(const std::string&, bool, int)> visit =
      [&](const std::string& path, bool directory, int parent_fd) -> Status {
    if (directory) {
      // Down only where the prefix leads or where it has been met.
      const std::string inside = path + "/";
      if (inside.starts_with(prefix) || prefix.starts_with(inside)) return Walk(path, visit);
      return Status::OK();
    }
    // Also leaves out what other programs put there under names no object can have.
    if (!path.starts_with(prefix) || !ValidatePath(path).ok()) return Status::OK();
    FileSystem::Stat st;
    if (const int error = -files_->StatAt(parent_fd, std::string(NameOf(path)), &st); error != 0) {
      // Deleted while we listed.
      return error == ENOENT ? Status::OK() : ErrnoError(error, "stat", path);
    }
    out.push_back(InfoOf(path, st));
    return Status::OK();
  };
  const size_t slash = prefix.rfind('/');
  ARROW_RETURN_NOT_OK(Walk(slash == std::string::npos ? "" : prefix.substr(0, slash), visit));
  std::sort(out.begin(), out.end(),
            [](const ObjectInfo& a, const ObjectInfo& b) { return a.path < b.path; });
  return out;
}

Status LocalStore::Delete(const std::string& path) {
  ARROW_RETURN_NOT_OK(ValidatePath(path));
  FileSystem::Stat st;
  if (const int error = -files_->StatAt(root_fd_, path, &st); error != 0) {
    return error == ENOENT || error == ENOTDIR ? Status::OK() : ErrnoError(error, "stat", path);
  }
  if (!st.is_file) return Status::OK();
  // Under the lock, or a conditional Put that has just compared the tag would bring the path back.
  // The directory is not synced: after a crash a deleted object may be there again, which costs
  // another Delete and nothing else.
  ARROW_ASSIGN_OR_RAISE(const int lock_fd, TakeCasLock());
  const base::ScopeGuard unlock([&] { (void)files_->Close(lock_fd); });
  const int error = -files_->Unlink(root_fd_, path);
  return error == 0 || error == ENOENT ? Status::OK() : ErrnoError(error, "unlink", path);
}

Result<std::unique_ptr<AppendFile>> LocalStore::OpenAppend(const std::string& path,
                                                           int64_t truncate_to) {
  ARROW_RETURN_NOT_OK(ValidatePath(path));
  ARROW_RETURN_NOT_OK(CheckUsable());
  ARROW_RETURN_NOT_OK(MakeParents(path));
  const int fd = files_->Open(root_fd_, path, O_RDWR | O_APPEND | O_CREAT);
  if (fd < 0) {
    if (fd == -ENOENT) {
      base::MutexLock lock(&mu_);
      durable_directories_
          .clear();  // the directory was removed by somebody: the next call makes it again
    }
    return ErrnoError(-fd, "open", path);
  }
  base::ScopeGuard closer([&] { (void)files_->Close(fd); });
  FileSystem::Stat st;
  if (const int error = -files_->StatFile(fd, &st); error != 0)
    return ErrnoError(error, "fstat", path);
  int64_t size = st.size;
  if (truncate_to >= 0) {
    if (truncate_to > size) {
      return MakeError(ErrorCode::kInvalidArgument,
                       "cannot cut a file to more than it holds: path=" + path + " size=" +
                           std::to_string(size) + " truncate_to=" + std::to_string(truncate_to));
    }
    // Also when the size stays: gives blocks that a crashed writer reserved behind the end back.
    if (const int error = -files_->Truncate(fd, truncate_to); error != 0)
      return ErrnoError(error, "ftruncate", path);
    if (const int error = -files_->Sync(fd, /*data_only=*/false); error != 0) {
      return ErrnoError(ErrorCode::kStopped, error, "fsync", path);
    }
    size = truncate_to;
  }
  // Every time, not only when this call made it: whoever made it may have died before its own sync.
  ARROW_RETURN_NOT_OK(SyncParent(path));
  auto file = std::make_unique<LocalAppendFile>(files_, fd, path, size);
  closer.Dismiss();
  return file;
}

Result<std::unique_ptr<StoreLock>> LocalStore::Lock(const std::string& path) {
  ARROW_RETURN_NOT_OK(ValidatePath(path));
  ARROW_RETURN_NOT_OK(MakeParents(path));
  const std::string name =
      Join(ParentOf(path), std::string(kLockPrefix) + std::string(NameOf(path)));
  const int fd = files_->Open(root_fd_, name, O_RDWR | O_CREAT);
  if (fd < 0) return ErrnoError(-fd, "open", name);
  base::ScopeGuard closer([&] { (void)files_->Close(fd); });
  // flock belongs to the open file, not to the process: a second handle of this process is refused
  // too. The file is never deleted, or two processes could each lock a file of this name.
  if (const int error = -files_->Lock(fd, /*wait=*/false); error != 0) {
    if (error != EWOULDBLOCK) return ErrnoError(error, "flock", name);
    char holder[256];
    const int64_t n = ReadAll(files_.get(), fd, holder, sizeof(holder), 0);
    std::string who(holder, n > 0 ? static_cast<size_t>(n) : 0);
    while (!who.empty() && who.back() == '\n') who.pop_back();
    if (who.empty()) who = "unknown";
    return MakeError(
        ErrorCode::kUnavailable,
        "locked by another handle: path=" + directory_ + "/" + path + " holder: " + who,
        "close the database in that process first, or open it read-only");
  }
  const std::string who =
      "pid=" + std::to_string(files_->ProcessId()) + " host=" + files_->HostName() + "\n";
  if (const int error = -files_->Truncate(fd, 0); error != 0)
    return ErrnoError(error, "ftruncate", name);
  size_t written = 0;
  if (const int error = WriteAll(files_.get(), fd, who, &written); error != 0)
    return ErrnoError(error, "write", name);
  auto lock = std::make_unique<LocalLock>(files_, fd);
  closer.Dismiss();
  return lock;
}

Result<int64_t> LocalStore::SweepUnfinished(int64_t older_than_micros) {
  int64_t swept = 0;
  std::function<Status(const std::string&, bool, int)> visit =
      [&](const std::string& path, bool directory, int parent_fd) -> Status {
    if (directory) return Walk(path, visit);
    const std::string name(NameOf(path));
    if (!name.starts_with(kTempPrefix)) return Status::OK();
    {
      base::MutexLock lock(&mu_);
      if (unfinished_.contains(path)) return Status::OK();
    }
    FileSystem::Stat st;
    if (const int error = -files_->StatAt(parent_fd, name, &st); error != 0) {
      return error == ENOENT ? Status::OK() : ErrnoError(error, "stat", path);
    }
    if (st.modified_nanos / 1000 >= older_than_micros) return Status::OK();
    if (const int error = -files_->Unlink(parent_fd, name); error != 0) {
      return error == ENOENT ? Status::OK() : ErrnoError(error, "unlink", path);
    }
    ++swept;
    return Status::OK();
  };
  ARROW_RETURN_NOT_OK(Walk("", visit));
  return swept;
}

}  // namespace lamina::storage

namespace lamina {

Result<std::shared_ptr<ObjectStore>> OpenLocalStore(const std::string& directory, bool create) {
  return base::Guarded([&]() -> Result<std::shared_ptr<ObjectStore>> {
    return storage::LocalStore::Open(directory, create);
  });
}

}  // namespace lamina
