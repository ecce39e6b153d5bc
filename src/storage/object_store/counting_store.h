// Counts what a store is asked, by kind of request and part of the database.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"
#include "lamina/object_store.h"
#include "storage/object_store/request_kind.h"

namespace lamina::storage {

/// Counters at one moment; subtract two for what lay between.
struct StoreCounts {
  struct Cell {
    uint64_t requests = 0;
    uint64_t bytes = 0;  ///< Moved by requests that succeeded; List counts objects instead.
    uint64_t errors = 0;
  };

  const Cell& at(RequestKind kind, StoreDomain domain) const {
    return cells[static_cast<size_t>(kind)][static_cast<size_t>(domain)];
  }
  Cell of(RequestKind kind) const;
  Cell of(StoreDomain domain) const;  ///< Every kind, locks too.
  /// Requests a remote store would bill: heads, gets, ranges, opened readers, puts, finished
  /// creates, lists, deletes.
  uint64_t round_trips() const;
  uint64_t bytes_read() const;     ///< get and range.
  uint64_t bytes_written() const;  ///< put, write and append.
  /// Non-zero cells, one a line: "range data requests=3 bytes=4096 errors=0".
  std::string ToString() const;

  StoreCounts operator-(const StoreCounts& earlier) const;

  std::array<std::array<Cell, kStoreDomains>, kRequestKinds> cells{};
};

/// Wraps any store and counts; thread-safe, adds a few relaxed atomics to a call.
class CountingStore final : public ObjectStore {
 public:
  explicit CountingStore(std::shared_ptr<ObjectStore> base);

  StoreCounts counts() const;

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
  std::string ToString() const override { return base_->ToString(); }

 private:
  struct Counters;
  class Reader;
  class Writer;
  class Appender;

  const std::shared_ptr<ObjectStore> base_;
  const std::shared_ptr<Counters> counters_;  // readers and writers may outlive the store
};

}  // namespace lamina::storage
