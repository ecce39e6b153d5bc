// An ObjectStore in memory, with a model of what a crash would leave.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/random.h"
#include "lamina/object_store.h"

namespace lamina::storage {

/// Same contract as the local store. Modelled: an append file's bytes are durable once synced. Not
/// modelled: objects, new names and deletions lost by a crash (the contract makes the first two
/// durable on return), and damaged bytes.
class MemoryStore final : public ObjectStore {
 public:
  /// `clock` dates the objects; borrowed.
  explicit MemoryStore(base::Clock* clock = base::SystemClock());
  ~MemoryStore() override;

  /// What would survive a crash now: every object, and of each append file the synced bytes. With
  /// `torn`, each append file keeps a random part of its unsynced bytes too, as a disk may. No
  /// locks are held in the clone; this store goes on.
  std::shared_ptr<MemoryStore> CrashClone(base::Random* torn = nullptr) const;

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
  bool supports_append() const override { return true; }
  Result<std::unique_ptr<AppendFile>> OpenAppend(const std::string& path,
                                                 int64_t truncate_to) override;
  Result<std::unique_ptr<StoreLock>> Lock(const std::string& path) override;
  std::string ToString() const override { return "memory:"; }

 private:
  struct State;
  class Writer;
  class Appender;
  class HeldLock;

  /// Shared with writers, append files and locks, which may outlive the store.
  const std::shared_ptr<State> state_;
};

}  // namespace lamina::storage
