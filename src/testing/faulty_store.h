// An ObjectStore whose calls fail when a test says so, or that lets something happen just before
// one.
//
// Fault model. Injected: an error before a call has any effect; an error after it had its whole
// effect (a lost answer); something else that happens just before a call; a full disk (a write
// takes what still fits, then fails; Put, Create's Write and Append are counted, deletes free
// nothing). Not injected: damaged bytes, lost syncs, reordering (storage::MemoryStore::CrashClone
// models lost unsynced bytes).
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "lamina/object_store.h"
#include "storage/object_store/request_kind.h"

namespace lamina::testing {

/// Which calls fail, and how.
struct StoreFault {
  std::optional<storage::RequestKind> kind;  ///< Any kind when empty.
  std::string path_prefix;
  uint64_t skip = 0;          ///< Matching calls that pass first: 0 fails the first one.
  uint64_t times = 1;         ///< Then so many fail; ~0 for ever.
  bool after_effect = false;  ///< The call is carried out, then reported as failed.
  Status status = MakeError(ErrorCode::kUnavailable, "injected fault");
  /// Runs before the call (after_effect: between effect and answer), with no lock of this store
  /// held: what another thread does at this very moment. With an OK status the call then goes on as
  /// if nothing were.
  std::function<void()> meanwhile = {};
};

/// Wraps any store. Thread-safe.
class FaultyStore final : public ObjectStore {
 public:
  explicit FaultyStore(std::shared_ptr<ObjectStore> base);

  /// Adds a fault; the first one added that applies to a call decides. Every fault counts the calls
  /// that match it.
  void Add(StoreFault fault);
  /// From now on `bytes` more can be written, then every write fails with kResourceExhausted until
  /// Clear.
  void DiskFullAfter(int64_t bytes);
  /// Removes all faults and the disk limit.
  void Clear();
  /// Calls that met a fault, also one that only let something happen before them.
  uint64_t faults_hit() const;

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
  Result<int64_t> SweepUnfinished(int64_t older_than_micros) override {
    return base_->SweepUnfinished(older_than_micros);
  }
  bool supports_append() const override { return base_->supports_append(); }
  Result<std::unique_ptr<AppendFile>> OpenAppend(const std::string& path,
                                                 int64_t truncate_to) override;
  Result<std::unique_ptr<StoreLock>> Lock(const std::string& path) override;
  std::string ToString() const override { return "faulty:" + base_->ToString(); }

 private:
  class Plan;
  class Reader;
  class Writer;
  class Appender;

  const std::shared_ptr<ObjectStore> base_;
  const std::shared_ptr<Plan> plan_;  // readers and writers may outlive the store
};

}  // namespace lamina::testing
