// A directory on local disk as an ObjectStore. How bytes become durable, how tags work and what
// errno means: README.md here.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "lamina/object_store.h"
#include "storage/object_store/file_system.h"

namespace lamina::storage {

/// Files, one an object. Several processes may use one directory.
///
/// OpenReader maps the file: if another program cuts a mapped file short, touching the lost pages
/// ends the process with SIGBUS. LaminaDB never shortens a file it could have mapped; do not do so
/// by hand in a live database.
class LocalStore final : public ObjectStore, public std::enable_shared_from_this<LocalStore> {
 public:
  /// kNotFound without `create` when the directory is absent; kInvalidArgument when it is not a
  /// directory.
  static Result<std::shared_ptr<LocalStore>> Open(
      const std::string& directory, bool create,
      std::shared_ptr<FileSystem> files = SystemFileSystem());
  ~LocalStore() override;
  LocalStore(const LocalStore&) = delete;
  LocalStore& operator=(const LocalStore&) = delete;

  Result<ObjectInfo> Head(const std::string& path) override;
  Result<std::shared_ptr<arrow::Buffer>> Get(const std::string& path, ObjectInfo* info) override;
  Result<std::shared_ptr<arrow::Buffer>> GetRange(const std::string& path, int64_t offset,
                                                  int64_t length) override;
  Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenReader(const std::string& path) override;
  Result<ObjectInfo> Put(const std::string& path, std::string_view bytes,
                         const PutCondition& condition) override;
  Result<std::unique_ptr<ObjectWriter>> Create(const std::string& path) override;
  Result<std::vector<ObjectInfo>> List(const std::string& prefix) override;
  Status Delete(const std::string& path) override;
  Result<int64_t> SweepUnfinished(int64_t older_than_micros) override;
  bool supports_append() const override { return true; }
  Result<std::unique_ptr<AppendFile>> OpenAppend(const std::string& path,
                                                 int64_t truncate_to) override;
  Result<std::unique_ptr<StoreLock>> Lock(const std::string& path) override;
  std::string ToString() const override { return directory_; }

 private:
  friend class LocalObjectWriter;

  struct TempFile {
    int fd = -1;
    std::string name;  // relative to the root
  };

  LocalStore(std::shared_ptr<FileSystem> files, std::string directory, int root_fd)
      : files_(std::move(files)), directory_(std::move(directory)), root_fd_(root_fd) {}

  Result<int> OpenForRead(const std::string& path, ObjectInfo* info);
  Result<TempFile> MakeTempFile(const std::string& path);
  void DiscardTempFile(int fd, const std::string& name);
  Status MakeParents(const std::string& path);
  /// kStopped once a sync of a directory has failed.
  Status CheckUsable() const;
  Result<int> OpenParent(const std::string& path);
  Status SyncDirectory(int fd, const std::string& directory);
  Status SyncParent(const std::string& path);
  Status RenameNew(const std::string& temp, const std::string& path, uint64_t inode);
  bool IsNamed(const std::string& path, uint64_t inode);
  Result<ObjectInfo> PublishNew(int fd, const std::string& temp, const std::string& path);
  Result<ObjectInfo> PublishReplacing(int fd, const std::string& temp, const std::string& path,
                                      const PutCondition& condition);
  Result<int> TakeCasLock();
  /// Calls `visit(path, is_directory, descriptor of its parent)` for what lies in a directory; one
  /// that is absent is empty.
  Status Walk(const std::string& directory,
              const std::function<Status(const std::string&, bool, int)>& visit);

  const std::shared_ptr<FileSystem> files_;
  const std::string directory_;
  const int root_fd_;
  /// What was pending then is on disk or not, and no later sync tells: nothing is written any more.
  std::atomic<bool> sync_failed_{false};
  base::Mutex mu_;
  /// Directories (relative, "" is the root) whose own name this handle has made durable.
  std::set<std::string> durable_directories_ LAMINA_GUARDED_BY(mu_);
  /// Temporary files that this handle is writing: no sweep takes them, however old a clock that
  /// jumped makes them look.
  std::set<std::string> unfinished_ LAMINA_GUARDED_BY(mu_);
};

}  // namespace lamina::storage
