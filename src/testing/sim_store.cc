#include "testing/sim_store.h"

#include <utility>

#include "storage/object_store/wrapped_reader.h"
#include "testing/sim_scheduler.h"

namespace lamina::testing {
namespace {

void Wait(const char* point, int64_t latency_micros_max) {
  SimYield(point);
  if (latency_micros_max > 0) {
    if (SimScheduler* sim = CurrentSim()) {
      sim->clock()->SleepMicros(sim->random().UniformRange(0, latency_micros_max));
    }
  }
}

Status Begin(const char* point, int64_t latency_micros_max) {
  Wait(point, latency_micros_max);
  if (SimKilled()) return MakeError(ErrorCode::kUnavailable, "this process was killed");
  return Status::OK();
}

}  // namespace

class SimStore::Reader final : public storage::WrappedReader {
 public:
  Reader(std::shared_ptr<arrow::io::RandomAccessFile> base, int64_t latency_micros_max)
      : WrappedReader(std::move(base)), latency_micros_max_(latency_micros_max) {}

 protected:
  Status Before() override { return Begin("store.read", latency_micros_max_); }
  void After(int64_t /*bytes*/, const Status& /*status*/) override { SimYield("store.read.done"); }

 private:
  const int64_t latency_micros_max_;
};

class SimStore::Writer final : public ObjectWriter {
 public:
  Writer(std::unique_ptr<ObjectWriter> base, int64_t latency_micros_max)
      : base_(std::move(base)), latency_micros_max_(latency_micros_max) {}

  Status Write(std::string_view bytes) override {
    ARROW_RETURN_NOT_OK(Begin("store.write", latency_micros_max_));
    return base_->Write(bytes);
  }
  int64_t bytes_written() const override { return base_->bytes_written(); }
  Result<ObjectInfo> Finish() override {
    ARROW_RETURN_NOT_OK(Begin("store.finish", latency_micros_max_));
    auto result = base_->Finish();
    SimYield("store.finish.done");
    return result;
  }

 private:
  const std::unique_ptr<ObjectWriter> base_;
  const int64_t latency_micros_max_;
};

class SimStore::Appender final : public AppendFile {
 public:
  Appender(std::unique_ptr<AppendFile> base, int64_t latency_micros_max)
      : base_(std::move(base)), latency_micros_max_(latency_micros_max) {}

  Status Append(std::string_view bytes) override {
    ARROW_RETURN_NOT_OK(Begin("store.append", latency_micros_max_));
    Status status = base_->Append(bytes);
    SimYield("store.append.done");
    return status;
  }
  Status Sync() override {
    ARROW_RETURN_NOT_OK(Begin("store.sync", latency_micros_max_));
    Status status = base_->Sync();
    // What is appended from here on is not synced, though the call has not returned.
    Wait("store.sync.done", latency_micros_max_);
    return status;
  }
  int64_t size() const override { return base_->size(); }
  Status Close() override { return base_->Close(); }

 private:
  const std::unique_ptr<AppendFile> base_;
  const int64_t latency_micros_max_;
};

SimStore::SimStore(std::shared_ptr<ObjectStore> base, int64_t latency_micros_max,
                   bool locks_exclude)
    : base_(std::move(base)),
      latency_micros_max_(latency_micros_max),
      locks_exclude_(locks_exclude) {}

Result<ObjectInfo> SimStore::Head(const std::string& path) {
  ARROW_RETURN_NOT_OK(Begin("store.head", latency_micros_max_));
  auto result = base_->Head(path);
  SimYield("store.head.done");
  return result;
}

Result<std::shared_ptr<arrow::Buffer>> SimStore::Get(const std::string& path, ObjectInfo* info) {
  ARROW_RETURN_NOT_OK(Begin("store.get", latency_micros_max_));
  auto result = base_->Get(path, info);
  SimYield("store.get.done");
  return result;
}

Result<std::shared_ptr<arrow::Buffer>> SimStore::GetRange(const std::string& path, int64_t offset,
                                                          int64_t length) {
  ARROW_RETURN_NOT_OK(Begin("store.range", latency_micros_max_));
  auto result = base_->GetRange(path, offset, length);
  SimYield("store.range.done");
  return result;
}

Result<std::shared_ptr<arrow::io::RandomAccessFile>> SimStore::OpenReader(const std::string& path) {
  ARROW_RETURN_NOT_OK(Begin("store.open_reader", latency_micros_max_));
  ARROW_ASSIGN_OR_RAISE(auto reader, base_->OpenReader(path));
  return std::make_shared<Reader>(std::move(reader), latency_micros_max_);
}

Result<ObjectInfo> SimStore::Put(const std::string& path, std::string_view bytes,
                                 const PutCondition& condition) {
  ARROW_RETURN_NOT_OK(Begin("store.put", latency_micros_max_));
  auto result = base_->Put(path, bytes, condition);
  SimYield("store.put.done");
  return result;
}

Result<std::unique_ptr<ObjectWriter>> SimStore::Create(const std::string& path) {
  ARROW_RETURN_NOT_OK(Begin("store.create", latency_micros_max_));
  ARROW_ASSIGN_OR_RAISE(auto writer, base_->Create(path));
  return std::make_unique<Writer>(std::move(writer), latency_micros_max_);
}

Result<std::vector<ObjectInfo>> SimStore::List(const std::string& prefix) {
  ARROW_RETURN_NOT_OK(Begin("store.list", latency_micros_max_));
  auto result = base_->List(prefix);
  SimYield("store.list.done");
  return result;
}

Status SimStore::Delete(const std::string& path) {
  ARROW_RETURN_NOT_OK(Begin("store.delete", latency_micros_max_));
  Status status = base_->Delete(path);
  SimYield("store.delete.done");
  return status;
}

Result<std::unique_ptr<AppendFile>> SimStore::OpenAppend(const std::string& path,
                                                         int64_t truncate_to) {
  ARROW_RETURN_NOT_OK(Begin("store.open_append", latency_micros_max_));
  ARROW_ASSIGN_OR_RAISE(auto file, base_->OpenAppend(path, truncate_to));
  return std::make_unique<Appender>(std::move(file), latency_micros_max_);
}

Result<std::unique_ptr<StoreLock>> SimStore::Lock(const std::string& path) {
  ARROW_RETURN_NOT_OK(Begin("store.lock", latency_micros_max_));
  if (!locks_exclude_) return std::make_unique<StoreLock>();
  return base_->Lock(path);
}

}  // namespace lamina::testing
