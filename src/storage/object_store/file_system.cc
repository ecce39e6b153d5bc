#include "storage/object_store/file_system.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <dirent.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"
#include "base/scope_guard.h"

namespace lamina::storage {

namespace {

constexpr size_t kIoBytesMax = size_t{1} << 30;  // one read or write call moves less than 2 GiB

int64_t NanosOf(const timespec& t) {
  return static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

timespec TimespecOf(int64_t nanos) {
  int64_t seconds = nanos / 1'000'000'000;
  int64_t rest = nanos % 1'000'000'000;
  if (rest < 0) {
    rest += 1'000'000'000;
    --seconds;
  }
  return {static_cast<time_t>(seconds), static_cast<long>(rest)};
}

FileSystem::Stat StatOf(const struct stat& st) {
  FileSystem::Stat out;
  out.is_file = S_ISREG(st.st_mode);
  out.is_directory = S_ISDIR(st.st_mode);
  out.size = st.st_size;
  out.modified_nanos = NanosOf(st.st_mtim);
  out.inode = st.st_ino;
  return out;
}

// The result of a call that says -1 and errno, begun again while it is interrupted.
template <typename Call>
auto Retry(Call&& call) -> decltype(call()) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : result;
}

/// A whole file mapped read-only; buffers sliced from it keep it alive.
class MappedBuffer final : public arrow::Buffer {
 public:
  MappedBuffer(const uint8_t* data, int64_t size) : Buffer(data, size) {}
  ~MappedBuffer() override { munmap(const_cast<uint8_t*>(data()), static_cast<size_t>(size())); }
};

class PosixFileSystem final : public FileSystem {
 public:
  Handle Open(Handle directory, const std::string& path, int flags) override {
    return Retry([&] { return openat(directory, path.c_str(), flags | O_CLOEXEC, 0644); });
  }
  // Not begun again: Linux has closed the descriptor, and the number may be somebody else's by now.
  int Close(Handle file) override { return close(file) == 0 ? 0 : -errno; }
  int MakeDirectory(Handle directory, const std::string& path) override {
    return Retry([&] { return mkdirat(directory, path.c_str(), 0755); });
  }

  int StatAt(Handle directory, const std::string& path, Stat* out) override {
    struct stat st;
    const int rc = Retry([&] { return fstatat(directory, path.c_str(), &st, 0); });
    if (rc == 0) *out = StatOf(st);
    return rc;
  }
  int StatFile(Handle file, Stat* out) override {
    struct stat st;
    const int rc = Retry([&] { return fstat(file, &st); });
    if (rc == 0) *out = StatOf(st);
    return rc;
  }
  int SetModified(Handle file, int64_t nanos) override {
    const timespec times[2] = {{0, UTIME_OMIT}, TimespecOf(nanos)};
    return Retry([&] { return futimens(file, times); });
  }

  int64_t Write(Handle file, std::string_view bytes) override {
    return Retry([&] { return write(file, bytes.data(), std::min(bytes.size(), kIoBytesMax)); });
  }
  int64_t ReadAt(Handle file, void* out, size_t size, int64_t offset) override {
    return Retry([&] { return pread(file, out, std::min(size, kIoBytesMax), offset); });
  }
  int Truncate(Handle file, int64_t size) override {
    return Retry([&] { return ftruncate(file, size); });
  }
  int Reserve(Handle file, int64_t offset, int64_t length) override {
    return Retry([&] { return fallocate(file, FALLOC_FL_KEEP_SIZE, offset, length); });
  }
  int Sync(Handle file, bool data_only) override {
    return Retry([&] { return data_only ? fdatasync(file) : fsync(file); });
  }
  int Lock(Handle file, bool wait) override {
    return Retry([&] { return flock(file, LOCK_EX | (wait ? 0 : LOCK_NB)); });
  }

  int Rename(Handle directory, const std::string& from, const std::string& to,
             bool replace) override {
    return Retry([&] {
      return replace ? renameat(directory, from.c_str(), directory, to.c_str())
                     : renameat2(directory, from.c_str(), directory, to.c_str(), RENAME_NOREPLACE);
    });
  }
  int Link(Handle directory, const std::string& from, const std::string& to) override {
    return Retry([&] { return linkat(directory, from.c_str(), directory, to.c_str(), 0); });
  }
  int Unlink(Handle directory, const std::string& path) override {
    return Retry([&] { return unlinkat(directory, path.c_str(), 0); });
  }
  int RemoveDirectory(Handle directory, const std::string& path) override {
    return Retry([&] { return unlinkat(directory, path.c_str(), AT_REMOVEDIR); });
  }

  int List(Handle directory, std::vector<Entry>* out) override {
    // A handle of its own: the stream closes what it reads, and begins where the offset stands.
    const int fd =
        Retry([&] { return openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    if (fd < 0) return fd;
    DIR* const stream = fdopendir(fd);
    if (stream == nullptr) {
      const int error = errno;
      close(fd);
      return -error;
    }
    const base::ScopeGuard closer([stream] { closedir(stream); });
    while (true) {
      errno = 0;
      const dirent* const entry = readdir(stream);
      if (entry == nullptr) return -errno;
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      unsigned char type = entry->d_type;
      if (type == DT_UNKNOWN || type == DT_LNK) {
        struct stat st;
        // Gone meanwhile, or a dangling link.
        if (fstatat(fd, entry->d_name, &st, 0) != 0) continue;
        type = S_ISDIR(st.st_mode) ? DT_DIR : S_ISREG(st.st_mode) ? DT_REG : DT_UNKNOWN;
      }
      out->push_back({std::string(name), type == DT_REG, type == DT_DIR});
    }
  }

  int Map(Handle file, int64_t size, std::shared_ptr<arrow::Buffer>* out) override {
    // The kernel's default read-ahead stays: scans want it, and point reads are served from the
    // page cache or ask for their pages with WillNeed.
    void* const data =
        mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_SHARED, file, /*offset=*/0);
    if (data == MAP_FAILED) return -errno;
    *out = std::make_shared<MappedBuffer>(static_cast<const uint8_t*>(data), size);
    return 0;
  }
  void WillNeed(const uint8_t* begin, int64_t size) override {
    static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto first = reinterpret_cast<uintptr_t>(begin) & ~(page - 1);
    const auto end = reinterpret_cast<uintptr_t>(begin) + static_cast<uintptr_t>(size);
    // When the kernel cannot take the advice, the reads still work.
    if (end > first) (void)madvise(reinterpret_cast<void*>(first), end - first, MADV_WILLNEED);
  }

  void Release(const uint8_t* begin, int64_t size) override {
    static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    // Whole pages only: a neighbour's bytes may be in use.
    const auto first = (reinterpret_cast<uintptr_t>(begin) + page - 1) & ~(page - 1);
    const auto end =
        (reinterpret_cast<uintptr_t>(begin) + static_cast<uintptr_t>(size)) & ~(page - 1);
    // The mapping is shared and read-only: nothing is lost but the page table entries.
    if (end > first) (void)madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
  }

  int64_t NowNanos() override {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    return NanosOf(now);
  }
  uint64_t UniqueNumber() override { return base::SeedFromEntropy(); }
  int64_t ProcessId() override { return getpid(); }
  std::string HostName() override {
    char host[256] = "unknown";
    (void)gethostname(host, sizeof(host) - 1);  // "unknown" is good enough in a message
    return host;
  }
};

}  // namespace

std::shared_ptr<FileSystem> SystemFileSystem() {
  static const std::shared_ptr<FileSystem> system = std::make_shared<PosixFileSystem>();
  return system;
}

}  // namespace lamina::storage
