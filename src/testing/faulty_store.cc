#include "testing/faulty_store.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "storage/object_store/wrapped_reader.h"

namespace lamina::testing {

using storage::RequestKind;

/// The faults and what is left of them.
class FaultyStore::Plan {
 public:
  /// What to do with one call: fail before, fail after, or (both OK) let it be.
  struct Verdict {
    Status before;
    Status after;
    std::function<void()> then = {};  // after the effect

    Status After() const {
      if (then) then();
      return after;
    }
  };

  Verdict Judge(RequestKind kind, std::string_view path) {
    std::function<void()> meanwhile;
    Verdict verdict = Decide(kind, path, &meanwhile);
    if (meanwhile) meanwhile();
    return verdict;
  }

  /// How many of `bytes` still fit on the disk; the rest is refused.
  int64_t TakeRoom(int64_t bytes) {
    base::MutexLock lock(&mu_);
    const int64_t fits = std::min(bytes, room_);
    if (room_ != kNoLimit) room_ -= fits;
    if (fits < bytes) ++hit_;
    return fits;
  }

  void Add(StoreFault fault) {
    base::MutexLock lock(&mu_);
    faults_.push_back({std::move(fault), 0});
  }
  void SetRoom(int64_t bytes) {
    base::MutexLock lock(&mu_);
    room_ = bytes;
  }
  void Clear() {
    base::MutexLock lock(&mu_);
    faults_.clear();
    room_ = kNoLimit;
  }
  uint64_t hit() const {
    base::MutexLock lock(&mu_);
    return hit_;
  }

 private:
  static constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
  struct Counted {
    StoreFault fault;
    uint64_t matched;
  };

  Verdict Decide(RequestKind kind, std::string_view path, std::function<void()>* meanwhile) {
    base::MutexLock lock(&mu_);
    const StoreFault* decided = nullptr;
    for (Counted& counted : faults_) {
      const StoreFault& fault = counted.fault;
      if (fault.kind.has_value() && *fault.kind != kind) continue;
      if (!path.starts_with(fault.path_prefix)) continue;
      const uint64_t index = counted.matched++;
      if (index >= fault.skip && index - fault.skip < fault.times && decided == nullptr)
        decided = &fault;
    }
    if (decided == nullptr) return {};
    ++hit_;
    if (decided->after_effect) return Verdict{Status::OK(), decided->status, decided->meanwhile};
    *meanwhile = decided->meanwhile;
    return Verdict{decided->status, Status::OK()};
  }

  mutable base::Mutex mu_;
  std::list<Counted> faults_ LAMINA_GUARDED_BY(mu_);
  int64_t room_ LAMINA_GUARDED_BY(mu_) = kNoLimit;
  uint64_t hit_ LAMINA_GUARDED_BY(mu_) = 0;
};

namespace {

Status DiskFull(std::string_view path) {
  return MakeError(ErrorCode::kResourceExhausted, "injected: disk full: path=" + std::string(path),
                   "make room on the disk");
}

}  // namespace

class FaultyStore::Reader final : public storage::WrappedReader {
 public:
  Reader(std::shared_ptr<arrow::io::RandomAccessFile> base, std::shared_ptr<Plan> plan,
         std::string path)
      : WrappedReader(std::move(base)), plan_(std::move(plan)), path_(std::move(path)) {}

 protected:
  // A read has no effect that could outlive a lost answer, so before and after are one.
  Status Before() override {
    const Plan::Verdict verdict = plan_->Judge(RequestKind::kRange, path_);
    return verdict.before.ok() ? verdict.After() : verdict.before;
  }

 private:
  const std::shared_ptr<Plan> plan_;
  const std::string path_;
};

class FaultyStore::Writer final : public ObjectWriter {
 public:
  Writer(std::unique_ptr<ObjectWriter> base, std::shared_ptr<Plan> plan, std::string path)
      : base_(std::move(base)), plan_(std::move(plan)), path_(std::move(path)) {}

  Status Write(std::string_view bytes) override {
    ARROW_RETURN_NOT_OK(failed_);
    const Plan::Verdict verdict = plan_->Judge(RequestKind::kWrite, path_);
    if (!verdict.before.ok()) return failed_ = verdict.before;
    const int64_t fits = plan_->TakeRoom(static_cast<int64_t>(bytes.size()));
    ARROW_RETURN_NOT_OK(base_->Write(bytes.substr(0, static_cast<size_t>(fits))));
    if (fits < static_cast<int64_t>(bytes.size())) return failed_ = DiskFull(path_);
    return failed_ = verdict.After();
  }
  int64_t bytes_written() const override { return base_->bytes_written(); }
  Result<ObjectInfo> Finish() override {
    ARROW_RETURN_NOT_OK(failed_);
    const Plan::Verdict verdict = plan_->Judge(RequestKind::kFinish, path_);
    ARROW_RETURN_NOT_OK(verdict.before);
    auto result = base_->Finish();
    ARROW_RETURN_NOT_OK(verdict.After());
    return result;
  }

 private:
  const std::unique_ptr<ObjectWriter> base_;
  const std::shared_ptr<Plan> plan_;
  const std::string path_;
  Status failed_;  // as in the stores: an object that lacks a piece cannot be finished
};

class FaultyStore::Appender final : public AppendFile {
 public:
  Appender(std::unique_ptr<AppendFile> base, std::shared_ptr<Plan> plan, std::string path)
      : base_(std::move(base)), plan_(std::move(plan)), path_(std::move(path)) {}

  Status Append(std::string_view bytes) override {
    const Plan::Verdict verdict = plan_->Judge(RequestKind::kAppend, path_);
    ARROW_RETURN_NOT_OK(verdict.before);
    const int64_t fits = plan_->TakeRoom(static_cast<int64_t>(bytes.size()));
    ARROW_RETURN_NOT_OK(base_->Append(bytes.substr(0, static_cast<size_t>(fits))));
    if (fits < static_cast<int64_t>(bytes.size())) return DiskFull(path_);
    return verdict.After();
  }
  Status Sync() override {
    const Plan::Verdict verdict = plan_->Judge(RequestKind::kSync, path_);
    ARROW_RETURN_NOT_OK(verdict.before);
    ARROW_RETURN_NOT_OK(base_->Sync());
    return verdict.After();
  }
  int64_t size() const override { return base_->size(); }
  Status Close() override { return base_->Close(); }

 private:
  const std::unique_ptr<AppendFile> base_;
  const std::shared_ptr<Plan> plan_;
  const std::string path_;
};

FaultyStore::FaultyStore(std::shared_ptr<ObjectStore> base)
    : base_(std::move(base)), plan_(std::make_shared<Plan>()) {}

void FaultyStore::Add(StoreFault fault) { plan_->Add(std::move(fault)); }
void FaultyStore::DiskFullAfter(int64_t bytes) { plan_->SetRoom(bytes); }
void FaultyStore::Clear() { plan_->Clear(); }
uint64_t FaultyStore::faults_hit() const { return plan_->hit(); }

Result<ObjectInfo> FaultyStore::Head(const std::string& path) {
  const Plan::Verdict verdict = plan_->Judge(RequestKind::kHead, path);
  ARROW_RETURN_NOT_OK(verdict.before);
  ARROW_RETURN_NOT_OK(verdict.After());
  return base_->Head(path);
}

Result<std::shared_ptr<arrow::Buffer>> FaultyStore::Get(const std::string& path, ObjectInfo* info) {
  const Plan::Verdict verdict = plan_->Judge(RequestKind::kGet, path);
  ARROW_RETURN_NOT_OK(verdict.before);
  ARROW_RETURN_NOT_OK(verdict.After());
  return base_->Get(path, info);
}

Result<std::shared_ptr<arrow::Buffer>> FaultyStore::GetRange(const std::string& path,
                                                             int64_t offset, int64_t length) {
  const Plan::Verdict verdict = plan_->Judge(RequestKind::kRange, path);
  ARROW_RETURN_NOT_OK(verdict.before);
  ARROW_RETURN_NOT_OK(verdict.After());
  return base_->GetRange(path, offset, length);
}

Result<std::shared_ptr<arrow::io::RandomAccessFile>> FaultyStore::OpenReader(
    const std::string& path) {
  const Plan::Verdict verdict = plan_->Judge(RequestKind::kOpenReader, path);
  ARROW_RETURN_NOT_OK(verdict.before);
  ARROW_RETURN_NOT_OK(verdict.After());
  ARROW_ASSIGN_OR_RAISE(auto reader, base_->OpenReader(path));
  return std::make_shared<Reader>(std::move(reader), plan_, path);
}

Result<ObjectInfo> FaultyStore::Put(const std::string& path, std::string_view bytes,
                                    const PutCondition& condition) {
  const Plan::Verdict verdict = plan_->Judge(RequestKind::kPut, path);
  ARROW_RETURN_NOT_OK(verdict.before);
  // A Put is whole or not at all.
  if (plan_->TakeRoom(static_cast<int64_t>(bytes.size())) < static_cast<int64_t>(bytes.size()))
    return DiskFull(path);
  auto result = base_->Put(path, bytes, condition);
  ARROW_RETURN_NOT_OK(verdict.After());
  return result;
}

Result<std::unique_ptr<ObjectWriter>> FaultyStore::Create(const std::string& path) {
  const Plan::Verdict verdict = plan_->Judge(RequestKind::kCreate, path);
  ARROW_RETURN_NOT_OK(verdict.before);
  ARROW_ASSIGN_OR_RAISE(auto writer, base_->Create(path));
  ARROW_RETURN_NOT_OK(verdict.After());
  return std::make_unique<Writer>(std::move(writer), plan_, path);
}

Result<std::vector<ObjectInfo>> FaultyStore::List(const std::string& prefix) {
  const Plan::Verdict verdict = plan_->Judge(RequestKind::kList, prefix);
  ARROW_RETURN_NOT_OK(verdict.before);
  ARROW_RETURN_NOT_OK(verdict.After());
  return base_->List(prefix);
}

Status FaultyStore::Delete(const std::string& path) {
  const Plan::Verdict verdict = plan_->Judge(RequestKind::kDelete, path);
  ARROW_RETURN_NOT_OK(verdict.before);
  ARROW_RETURN_NOT_OK(base_->Delete(path));
  return verdict.After();
}

Result<std::unique_ptr<AppendFile>> FaultyStore::OpenAppend(const std::string& path,
                                                            int64_t truncate_to) {
  const Plan::Verdict verdict = plan_->Judge(RequestKind::kOpenAppend, path);
  ARROW_RETURN_NOT_OK(verdict.before);
  ARROW_ASSIGN_OR_RAISE(auto file, base_->OpenAppend(path, truncate_to));
  ARROW_RETURN_NOT_OK(verdict.After());
  return std::make_unique<Appender>(std::move(file), plan_, path);
}

Result<std::unique_ptr<StoreLock>> FaultyStore::Lock(const std::string& path) {
  const Plan::Verdict verdict = plan_->Judge(RequestKind::kLock, path);
  ARROW_RETURN_NOT_OK(verdict.before);
  ARROW_RETURN_NOT_OK(verdict.After());
  return base_->Lock(path);
}

}  // namespace lamina::testing
