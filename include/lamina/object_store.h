// The door to storage: everything LaminaDB reads or writes goes through an ObjectStore. Bring your
// own backend by deriving from it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>

#include "lamina/error.h"

namespace lamina {

/// What a store knows of an object. `tag` changes with every successful Put of the same path (an
/// ETag).
struct ObjectInfo {
  std::string path;
  int64_t size = 0;
  std::string tag;
  int64_t modified_micros = 0;  ///< The store's clock, UTC.
};

/// Condition of a Put.
struct PutCondition {
  enum class Kind { kNone, kIfAbsent, kIfTagMatches };
  Kind kind = Kind::kNone;
  std::string tag;
  static PutCondition None() { return {}; }
  static PutCondition IfAbsent() { return {Kind::kIfAbsent, {}}; }
  static PutCondition IfTagMatches(std::string tag) {
    return {Kind::kIfTagMatches, std::move(tag)};
  }
};

/// An object being written. It becomes visible, whole and durable, when Finish returns OK; dropped
/// without Finish it leaves nothing that Get or List would show. One thread.
class ObjectWriter {
 public:
  virtual ~ObjectWriter() = default;
  virtual Status Write(std::string_view bytes) = 0;
  virtual int64_t bytes_written() const = 0;
  /// Durable (file and directory entry) on return. kAlreadyExists if the path appeared meanwhile.
  virtual Result<ObjectInfo> Finish() = 0;
};

/// A log file that grows at its end: local disk and memory only. One appending thread; Sync may run
/// beside Append.
class AppendFile {
 public:
  virtual ~AppendFile() = default;
  /// Hands the bytes to the operating system. On error the file may hold a part of them: the caller
  /// stops writing.
  virtual Status Append(std::string_view bytes) = 0;
  /// Everything appended before the call is durable on return. After an error the file must not be
  /// trusted again.
  virtual Status Sync() = 0;
  virtual int64_t size() const = 0;
  virtual Status Close() = 0;
};

/// Held while alive; released by the destructor, and by the operating system when the process dies.
class StoreLock {
 public:
  virtual ~StoreLock() = default;
};

/// Named, immutable byte strings plus conditional overwrites. Paths are relative, '/'-separated,
/// [A-Za-z0-9._-] segments. All calls are thread-safe. Errors: kNotFound, kAlreadyExists
/// (IfAbsent), kConflict (IfTagMatches), kPermissionDenied, kResourceExhausted (disk full),
/// kUnavailable (retry), kInvalidArgument (bad path), kStopped (a sync failed: open it again).
class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  virtual Result<ObjectInfo> Head(const std::string& path) = 0;
  /// Whole object.
  virtual Result<std::shared_ptr<arrow::Buffer>> Get(const std::string& path,
                                                     ObjectInfo* info = nullptr) = 0;
  /// Exactly [offset, offset+length); kInvalidArgument when that lies outside the object.
  virtual Result<std::shared_ptr<arrow::Buffer>> GetRange(const std::string& path, int64_t offset,
                                                          int64_t length) = 0;
  /// Random access, thread-safe ReadAt; a memory map where the backend has one. Valid after the
  /// object is deleted.
  virtual Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenReader(
      const std::string& path) = 0;

  /// Atomic and durable on OK. On kUnavailable it may or may not have happened.
  virtual Result<ObjectInfo> Put(const std::string& path, std::string_view bytes,
                                 const PutCondition& condition) = 0;
  /// Create-only streaming write.
  virtual Result<std::unique_ptr<ObjectWriter>> Create(const std::string& path) = 0;

  /// Objects whose path starts with `prefix`, ascending by path.
  virtual Result<std::vector<ObjectInfo>> List(const std::string& prefix) = 0;
  /// OK also when the object does not exist.
  virtual Status Delete(const std::string& path) = 0;

  /// Deletes what writers that died left behind and nobody can see: temporary files, parts of
  /// uploads, last changed before `older_than_micros` (UTC). Returns how many. What
  /// this handle is writing stays whatever the clock says; other handles' writers are safe as long
  /// as none of them pauses for longer than that age.
  virtual Result<int64_t> SweepUnfinished(int64_t older_than_micros) {
    (void)older_than_micros;
    return int64_t{0};
  }

  virtual bool supports_append() const { return false; }
  /// Opens for appending; creates it (and makes the name durable) if absent. `truncate_to` >= 0
  /// first cuts the file.
  virtual Result<std::unique_ptr<AppendFile>> OpenAppend(const std::string& path,
                                                         int64_t truncate_to = -1);

  /// Excludes other processes (and other handles of this process) from owning the database.
  /// kUnavailable names the holder.
  virtual Result<std::unique_ptr<StoreLock>> Lock(const std::string& path) = 0;

  /// For messages: "/data/db", "memory:", "s3://bucket/prefix".
  virtual std::string ToString() const = 0;
};

/// A directory on local disk. Creates it if `create`.
Result<std::shared_ptr<ObjectStore>> OpenLocalStore(const std::string& directory, bool create);
/// Volatile; also what tests wrap.
std::shared_ptr<ObjectStore> MakeMemoryStore();

}  // namespace lamina
