// A library for LD_PRELOAD: hands the calls that change files on to the kernel and keeps a journal
// of those below one folder (power_loss_journal.h). From the journal power_loss_replay.cc tells
// what a disk would hold if the machine had lost its power.
//
// It knows the calls that storage/object_store/file_system.cc makes. Others that change files are
// written down as unknown, and the test fails; calls that it does not even see (from inside libc)
// are noticed because the journal, replayed, does not give the folder.
//
// The kernel is called directly, so that nothing here depends on libc being ready.
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <mutex>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/fs.h>

#include "power_loss_journal.h"

namespace {

using lamina::power_loss::Call;
using lamina::power_loss::RecordHead;

constexpr int kHandlesMax = 1 << 16;

/// What is watched. Zero before the constructor has run: then nothing is.
struct Watch {
  int journal = -1;
  std::string root;
  // Held over a call and its two records, so that their order is that of the effects.
  std::mutex mu;
  uint32_t next_id = 1;
};
Watch* watch = nullptr;
std::atomic<bool> watched[kHandlesMax];  // handles of files and directories below the root

[[noreturn]] void Die(const char* why) {
  (void)syscall(SYS_write, STDERR_FILENO, why, std::strlen(why));
  abort();
}

// The constructor of a preloaded library runs before main.
__attribute__((constructor)) void Start() {
  const char* const journal = getenv(lamina::power_loss::kJournalVariable);
  const char* const root = getenv(lamina::power_loss::kRootVariable);
  if (journal == nullptr || root == nullptr) return;
  auto* const made = new Watch;
  made->root = root;
  const long fd = syscall(SYS_openat, AT_FDCWD, journal, O_WRONLY | O_CREAT | O_APPEND, 0644);
  // Out of the way of the numbers that the process would use without us.
  made->journal = static_cast<int>(syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 900));
  if (made->journal < 0) Die("power_loss_preload: no journal\n");
  (void)syscall(SYS_close, fd);
  watch = made;
}

bool Watched(int handle) {
  return watch != nullptr && handle >= 0 && handle < kHandlesMax && watched[handle].load();
}
/// Paths that the store uses are absolute or relative to a watched directory.
bool Below(int directory, const char* path) {
  if (watch == nullptr) return false;
  if (path[0] != '/') return Watched(directory);
  const std::string_view whole = path;
  return whole.starts_with(watch->root) &&
         (whole.size() == watch->root.size() || whole[watch->root.size()] == '/');
}

void Note(RecordHead head, std::string_view path, std::string_view other, std::string_view data) {
  head.path_size = static_cast<uint32_t>(path.size());
  head.other_size = static_cast<uint32_t>(other.size());
  head.data_size = data.size();
  iovec parts[4] = {{&head, sizeof(head)},
                    {const_cast<char*>(path.data()), path.size()},
                    {const_cast<char*>(other.data()), other.size()},
                    {const_cast<char*>(data.data()), data.size()}};
  const auto whole = static_cast<long>(sizeof(head) + path.size() + other.size() + data.size());
  // Less only when the process is being killed; then this is the last record.
  if (syscall(SYS_writev, watch->journal, parts, 4) != whole)
    Die("power_loss_preload: the journal cannot be written\n");
}

void Unknown(const char* name) {
  const std::lock_guard lock(watch->mu);
  RecordHead head;
  head.call = Call::kUnknown;
  Note(head, name, {}, {});
}

/// Runs `kernel` (a system call: -1 and errno) between its records. `after` sees the result before
/// any other call is let in.
template <typename Kernel, typename After>
long Journaled(Call call, int handle, int64_t number, std::string_view path, std::string_view other,
               std::string_view data, Kernel&& kernel, After&& after) {
  std::unique_lock lock(watch->mu);
  RecordHead head;
  head.call = call;
  head.handle = handle;
  head.number = number;
  head.id = watch->next_id++;
  Note(head, path, other, data);
  // Others go on while a disk syncs: what they write meanwhile is not covered by it.
  if (call == Call::kSync) lock.unlock();
  const long result = kernel();
  const int error = errno;
  if (call == Call::kSync) lock.lock();
  after(result);
  head.end = 1;
  head.result = result < 0 ? -error : result;
  Note(head, {}, {}, {});
  errno = error;
  return result;
}
template <typename Kernel>
long Journaled(Call call, int handle, int64_t number, std::string_view path, std::string_view other,
               std::string_view data, Kernel&& kernel) {
  return Journaled(call, handle, number, path, other, data, kernel, [](long) {});
}

int Open(int directory, const char* path, int flags, mode_t mode) {
  const auto kernel = [&] { return syscall(SYS_openat, directory, path, flags, mode); };
  const auto mark = [](long fd, bool inside) {
    if (fd >= kHandlesMax) Die("power_loss_preload: too many handles\n");
    if (fd >= 0) watched[fd].store(inside);
  };
  if (!Below(directory, path)) {
    const long fd = kernel();
    if (watch != nullptr) mark(fd, false);
    return static_cast<int>(fd);
  }
  // A write through these would be a sync as well; O_TRUNC would cut.
  if ((flags & (O_DSYNC | O_TRUNC | O_DIRECT)) != 0 || (flags & O_TMPFILE) == O_TMPFILE)
    Unknown("open with O_SYNC, O_DSYNC, O_TRUNC, O_DIRECT or O_TMPFILE");
  return static_cast<int>(Journaled(Call::kOpen, directory, flags, path, {}, {}, kernel,
                                    [&](long fd) { mark(fd, true); }));
}

mode_t ModeOf(int flags, va_list arguments) {
  return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

long Unlink(int directory, const char* path, int flags) {
  const auto kernel = [&] { return syscall(SYS_unlinkat, directory, path, flags); };
  if (!Below(directory, path)) return kernel();
  return Journaled((flags & AT_REMOVEDIR) != 0 ? Call::kRemoveDirectory : Call::kUnlink, directory,
                   0, path, {}, {}, kernel);
}

long Rename(int from_directory, const char* from, int to_directory, const char* to,
            unsigned int flags) {
  const auto kernel = [&] {
    return syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
  };
  const bool below = Below(from_directory, from);
  if (!below && !Below(to_directory, to)) return kernel();
  if (!below || from_directory != to_directory || (flags & ~RENAME_NOREPLACE) != 0)
    Unknown("rename between folders");
  return Journaled(Call::kRename, from_directory, (flags & RENAME_NOREPLACE) != 0 ? 1 : 0, from, to,
                   {}, kernel);
}

long Link(int from_directory, const char* from, int to_directory, const char* to, int flags) {
  const auto kernel = [&] {
    return syscall(SYS_linkat, from_directory, from, to_directory, to, flags);
  };
  if (!Below(from_directory, from) && !Below(to_directory, to)) return kernel();
  if (from_directory != to_directory) Unknown("link between folders");
  return Journaled(Call::kLink, from_directory, 0, from, to, {}, kernel);
}

long MakeDirectory(int directory, const char* path, mode_t mode) {
  const auto kernel = [&] { return syscall(SYS_mkdirat, directory, path, mode); };
  if (!Below(directory, path)) return kernel();
  return Journaled(Call::kMakeDirectory, directory, 0, path, {}, {}, kernel);
}

long Close(int handle) {
  const auto kernel = [&] { return syscall(SYS_close, handle); };
  if (!Watched(handle)) return kernel();
  return Journaled(Call::kClose, handle, 0, {}, {}, {}, kernel,
                   [&](long) { watched[handle].store(false); });
}

}  // namespace

// NOLINTBEGIN(readability-identifier-naming): the names are libc's.
extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return Open(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return Open(AT_FDCWD, path, flags, mode);
}
int openat(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return Open(directory, path, flags, mode);
}
int openat64(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return Open(directory, path, flags, mode);
}
int __open_2(const char* path, int flags) { return Open(AT_FDCWD, path, flags, 0); }
int __open64_2(const char* path, int flags) { return Open(AT_FDCWD, path, flags, 0); }
int __openat_2(int directory, const char* path, int flags) {
  return Open(directory, path, flags, 0);
}
int __openat64_2(int directory, const char* path, int flags) {
  return Open(directory, path, flags, 0);
}
int creat(const char* path, mode_t mode) {
  return Open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat64(const char* path, mode_t mode) {
  return Open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int close(int handle) { return static_cast<int>(Close(handle)); }
int closedir(DIR* stream) {
  static const auto kNext = reinterpret_cast<int (*)(DIR*)>(dlsym(RTLD_NEXT, "closedir"));
  const int handle = dirfd(stream);
  if (!Watched(handle)) return kNext(stream);
  return static_cast<int>(Journaled(
      Call::kClose, handle, 0, {}, {}, {}, [&]() -> long { return kNext(stream); },
      [&](long) { watched[handle].store(false); }));
}

ssize_t write(int handle, const void* data, size_t size) {
  const auto kernel = [&] { return syscall(SYS_write, handle, data, size); };
  const std::string_view bytes(static_cast<const char*>(data), size);
  if (watch != nullptr && handle == STDOUT_FILENO) {
    const std::lock_guard lock(watch->mu);
    RecordHead head;
    head.call = Call::kAcknowledge;
    Note(head, {}, {}, bytes);
    return kernel();
  }
  if (!Watched(handle)) return kernel();
  return Journaled(Call::kWrite, handle, 0, {}, {}, bytes, kernel);
}

int ftruncate(int handle, off_t size) noexcept {
  const auto kernel = [&] { return syscall(SYS_ftruncate, handle, size); };
  if (!Watched(handle)) return static_cast<int>(kernel());
  return static_cast<int>(Journaled(Call::kTruncate, handle, size, {}, {}, {}, kernel));
}
int ftruncate64(int handle, off_t size) noexcept { return ftruncate(handle, size); }

// Blocks set aside behind the end change nothing that a reader sees.
int fallocate(int handle, int mode, off_t offset, off_t size) {
  if (Watched(handle) && mode != FALLOC_FL_KEEP_SIZE) Unknown("fallocate that changes the file");
  return static_cast<int>(syscall(SYS_fallocate, handle, mode, offset, size));
}
int fallocate64(int handle, int mode, off_t offset, off_t size) {
  return fallocate(handle, mode, offset, size);
}

int fsync(int handle) {
  const auto kernel = [&] { return syscall(SYS_fsync, handle); };
  if (!Watched(handle)) return static_cast<int>(kernel());
  return static_cast<int>(Journaled(Call::kSync, handle, 0, {}, {}, {}, kernel));
}
int fdatasync(int handle) {
  const auto kernel = [&] { return syscall(SYS_fdatasync, handle); };
  if (!Watched(handle)) return static_cast<int>(kernel());
  return static_cast<int>(Journaled(Call::kSync, handle, 1, {}, {}, {}, kernel));
}

int futimens(int handle, const timespec* times) noexcept {
  const auto kernel = [&] { return syscall(SYS_utimensat, handle, nullptr, times, 0); };
  if (!Watched(handle)) return static_cast<int>(kernel());
  if (times == nullptr || times[1].tv_nsec == UTIME_NOW || times[1].tv_nsec == UTIME_OMIT)
    Unknown("futimens without a time");
  const int64_t nanos =
      times == nullptr ? 0 : int64_t{times[1].tv_sec} * 1'000'000'000 + times[1].tv_nsec;
  return static_cast<int>(Journaled(Call::kSetModified, handle, nanos, {}, {}, {}, kernel));
}

int mkdir(const char* path, mode_t mode) noexcept {
  return static_cast<int>(MakeDirectory(AT_FDCWD, path, mode));
}
int mkdirat(int directory, const char* path, mode_t mode) noexcept {
  return static_cast<int>(MakeDirectory(directory, path, mode));
}
int unlink(const char* path) noexcept { return static_cast<int>(Unlink(AT_FDCWD, path, 0)); }
int unlinkat(int directory, const char* path, int flags) noexcept {
  return static_cast<int>(Unlink(directory, path, flags));
}
int rmdir(const char* path) noexcept {
  return static_cast<int>(Unlink(AT_FDCWD, path, AT_REMOVEDIR));
}
int rename(const char* from, const char* to) noexcept {
  return static_cast<int>(Rename(AT_FDCWD, from, AT_FDCWD, to, 0));
}
int renameat(int from_directory, const char* from, int to_directory, const char* to) noexcept {
  return static_cast<int>(Rename(from_directory, from, to_directory, to, 0));
}
int renameat2(int from_directory, const char* from, int to_directory, const char* to,
              unsigned int flags) noexcept {
  return static_cast<int>(Rename(from_directory, from, to_directory, to, flags));
}
int link(const char* from, const char* to) noexcept {
  return static_cast<int>(Link(AT_FDCWD, from, AT_FDCWD, to, 0));
}
int linkat(int from_directory, const char* from, int to_directory, const char* to,
           int flags) noexcept {
  return static_cast<int>(Link(from_directory, from, to_directory, to, flags));
}

// ---- Calls that the store does not make. One that it makes one day has to come up there.

#define LAMINA_UNKNOWN_HANDLE(result, name, parameters, suffix, kernel_call) \
  result name parameters suffix {                                            \
    if (Watched(handle)) Unknown(#name);                                     \
    return static_cast<result>(syscall kernel_call);                         \
  }
#define LAMINA_UNKNOWN_PATH(result, name, parameters, suffix, kernel_call) \
  result name parameters suffix {                                          \
    if (Below(directory, path)) Unknown(#name);                            \
    return static_cast<result>(syscall kernel_call);                       \
  }

LAMINA_UNKNOWN_HANDLE(ssize_t, pwrite, (int handle, const void* data, size_t size, off_t offset), ,
                      (SYS_pwrite64, handle, data, size, offset))
LAMINA_UNKNOWN_HANDLE(ssize_t, pwrite64, (int handle, const void* data, size_t size, off_t offset),
                      , (SYS_pwrite64, handle, data, size, offset))
LAMINA_UNKNOWN_HANDLE(ssize_t, writev, (int handle, const iovec* parts, int count), ,
                      (SYS_writev, handle, parts, count))
LAMINA_UNKNOWN_HANDLE(ssize_t, pwritev, (int handle, const iovec* parts, int count, off_t offset), ,
                      (SYS_pwritev, handle, parts, count, offset, 0))
LAMINA_UNKNOWN_HANDLE(ssize_t, pwritev64, (int handle, const iovec* parts, int count, off_t offset),
                      , (SYS_pwritev, handle, parts, count, offset, 0))
LAMINA_UNKNOWN_HANDLE(ssize_t, pwritev2,
                      (int handle, const iovec* parts, int count, off_t offset, int flags), ,
                      (SYS_pwritev2, handle, parts, count, offset, 0, flags))
LAMINA_UNKNOWN_HANDLE(int, sync_file_range,
                      (int handle, off_t offset, off_t size, unsigned int flags), ,
                      (SYS_sync_file_range, handle, offset, size, flags))
LAMINA_UNKNOWN_HANDLE(int, syncfs, (int handle), noexcept, (SYS_syncfs, handle))
LAMINA_UNKNOWN_HANDLE(int, dup, (int handle), noexcept, (SYS_dup, handle))
LAMINA_UNKNOWN_HANDLE(int, fchmod, (int handle, mode_t mode), noexcept, (SYS_fchmod, handle, mode))
LAMINA_UNKNOWN_HANDLE(ssize_t, sendfile, (int handle, int from, off_t* offset, size_t size),
                      noexcept, (SYS_sendfile, handle, from, offset, size))
LAMINA_UNKNOWN_HANDLE(ssize_t, copy_file_range,
                      (int from, off_t* from_offset, int handle, off_t* offset, size_t size,
                       unsigned int flags),
                      , (SYS_copy_file_range, from, from_offset, handle, offset, size, flags))
LAMINA_UNKNOWN_PATH(int, utimensat,
                    (int directory, const char* path, const timespec* times, int flags), noexcept,
                    (SYS_utimensat, directory, path, times, flags))
LAMINA_UNKNOWN_PATH(int, symlinkat, (const char* to, int directory, const char* path), noexcept,
                    (SYS_symlinkat, to, directory, path))

int posix_fallocate(int handle, off_t offset, off_t size) {
  if (Watched(handle)) Unknown("posix_fallocate");
  return syscall(SYS_fallocate, handle, 0, offset, size) == 0 ? 0 : errno;
}
int truncate(const char* path, off_t size) noexcept {
  if (Below(AT_FDCWD, path)) Unknown("truncate");
  return static_cast<int>(syscall(SYS_truncate, path, size));
}
int symlink(const char* to, const char* path) noexcept {
  if (Below(AT_FDCWD, path)) Unknown("symlink");
  return static_cast<int>(syscall(SYS_symlink, to, path));
}
void sync() noexcept {
  if (watch != nullptr) Unknown("sync");
  (void)syscall(SYS_sync);
}
void* mmap(void* address, size_t size, int protection, int flags, int handle,
           off_t offset) noexcept {
  if (Watched(handle) && (protection & PROT_WRITE) != 0 && (flags & MAP_SHARED) != 0)
    Unknown("mmap for writing");
  return reinterpret_cast<void*>(
      syscall(SYS_mmap, address, size, protection, flags, handle, offset));
}
void* mmap64(void* address, size_t size, int protection, int flags, int handle,
             off_t offset) noexcept {
  return mmap(address, size, protection, flags, handle, offset);
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
