// An ObjectStore whose calls are scheduling points of a simulation.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/object_store.h"

namespace lamina::testing {

/// Wraps any store. Around each call, the parts of writers, append files and readers included, the
/// seed may let other actors run: before its effect and after it. With `latency_micros_max` calls
/// also take that much simulated time at most, syncs before their effect and after it. Actors of a
/// group that was killed are refused everything, without effect (kUnavailable). Outside a
/// simulation it only hands calls on. Without `locks_exclude` every Lock succeeds: two owners meet,
/// as after a lock that was lost.
class SimStore final : public ObjectStore {
 public:
  explicit SimStore(std::shared_ptr<ObjectStore> base, int64_t latency_micros_max = 0,
                    bool locks_exclude = true);

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
  std::string ToString() const override { return "sim:" + base_->ToString(); }

 private:
  class Reader;
  class Writer;
  class Appender;

  const std::shared_ptr<ObjectStore> base_;
  const int64_t latency_micros_max_;
  const bool locks_exclude_;
};

}  // namespace lamina::testing
