// The few calls of the operating system that the local store makes, as an interface: the system's
// own in production, a file system that crashes and fails on purpose in tests
// (testing/sim_file_system.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/buffer.h>

namespace lamina::storage {

/// POSIX, in its own terms. A call answers with what it made (a handle, a number of bytes, 0), or
/// with a negative errno. Interrupted calls are begun again inside; an EINTR that comes out of
/// Close says that the handle is gone all the same. Paths are relative to `directory`, an open
/// directory or kHere. All calls are thread-safe.
class FileSystem {
 public:
  using Handle = int;
  /// The working directory; absolute paths go with it too.
  static constexpr Handle kHere = AT_FDCWD;

  struct Stat {
    bool is_file = false;
    bool is_directory = false;
    int64_t size = 0;
    int64_t modified_nanos = 0;  ///< Since 1970 UTC.
    uint64_t inode = 0;
  };
  struct Entry {
    std::string name;  ///< Never "." or "..".
    bool is_file = false;
    bool is_directory = false;
  };

  virtual ~FileSystem() = default;

  /// openat; O_CLOEXEC is added, a new file gets mode 0644.
  virtual Handle Open(Handle directory, const std::string& path, int flags) = 0;
  /// Also lets a lock of this handle go.
  virtual int Close(Handle file) = 0;
  virtual int MakeDirectory(Handle directory, const std::string& path) = 0;

  virtual int StatAt(Handle directory, const std::string& path, Stat* out) = 0;
  virtual int StatFile(Handle file, Stat* out) = 0;
  /// Sets the modification time.
  virtual int SetModified(Handle file, int64_t nanos) = 0;

  /// May write less than asked, but not nothing.
  virtual int64_t Write(Handle file, std::string_view bytes) = 0;
  /// 0 at the end of the file; may read less than asked.
  virtual int64_t ReadAt(Handle file, void* out, size_t size, int64_t offset) = 0;
  virtual int Truncate(Handle file, int64_t size) = 0;
  /// Sets blocks aside without changing the size (FALLOC_FL_KEEP_SIZE).
  virtual int Reserve(Handle file, int64_t offset, int64_t length) = 0;
  /// fdatasync (bytes and size) or fsync. Of a directory: its entries.
  virtual int Sync(Handle file, bool data_only) = 0;
  /// flock, exclusive; without `wait` -EWOULDBLOCK when another handle has it.
  virtual int Lock(Handle file, bool wait) = 0;

  /// Without `replace` -EEXIST where `to` is there (RENAME_NOREPLACE), or -EINVAL / -ENOSYS where
  /// the file system cannot.
  virtual int Rename(Handle directory, const std::string& from, const std::string& to,
                     bool replace) = 0;
  virtual int Link(Handle directory, const std::string& from, const std::string& to) = 0;
  virtual int Unlink(Handle directory, const std::string& path) = 0;
  /// An empty one.
  virtual int RemoveDirectory(Handle directory, const std::string& path) = 0;
  /// What lies in an open directory, in any order.
  virtual int List(Handle directory, std::vector<Entry>* out) = 0;

  /// The first `size` (> 0) bytes for reading. The buffer outlives handle, file and file system.
  virtual int Map(Handle file, int64_t size, std::shared_ptr<arrow::Buffer>* out) = 0;
  /// Asks for a part of a mapping ahead of its use. Advice: nothing fails.
  virtual void WillNeed(const uint8_t* begin, int64_t size) = 0;
  /// Lets a part of a mapping go from this process's memory; touching it brings it back. Advice.
  virtual void Release(const uint8_t* begin, int64_t size) {
    (void)begin;
    (void)size;
  }

  /// The precise wall clock that modification times are set from.
  virtual int64_t NowNanos() = 0;
  /// Makes names of temporary files that nobody else chooses.
  virtual uint64_t UniqueNumber() = 0;
  virtual int64_t ProcessId() = 0;
  virtual std::string HostName() = 0;
};

/// The operating system's. Lives for ever.
std::shared_ptr<FileSystem> SystemFileSystem();

}  // namespace lamina::storage
