#include "testing/sim_object_store.h"

#include <algorithm>
#include <utility>

#include <arrow/buffer.h>
#include <fmt/format.h>

#include "base/mutex.h"
#include "base/random.h"
#include "storage/object_store/wrapped_reader.h"

namespace lamina::testing {

using storage::RequestKind;

std::string_view NetworkFaultName(NetworkFault fault) {
  switch (fault) {
    case NetworkFault::kErrorBefore:
      return "error_before";
    case NetworkFault::kErrorAfter:
      return "error_after";
    case NetworkFault::kLate:
      return "late";
    case NetworkFault::kOwnCondition:
      return "own_condition";
    case NetworkFault::kDuplicate:
      return "duplicate";
    case NetworkFault::kTruncated:
      return "truncated";
    case NetworkFault::kFlipped:
      return "flipped";
    case NetworkFault::kStall:
      return "stall";
    case NetworkFault::kExpired:
      return "expired";
  }
  return "unknown";
}

namespace {

Status Unavailable(const char* what, std::string_view path) {
  return MakeError(ErrorCode::kUnavailable, fmt::format("injected: {}: path={}", what, path));
}

bool OfTheLog(std::string_view path) {
  return storage::DomainOf(path) == storage::StoreDomain::kWal;
}

}  // namespace

/// The wrapped store and what happens on the way to it.
class SimObjectStore::Network {
 public:
  Network(std::shared_ptr<ObjectStore> base, Options options)
      : base_(std::move(base)), options_(options), random_(options.seed), rates_(options.rates) {}

  ObjectStore& base() const { return *base_; }
  const Options& options() const { return options_; }

  /// Before any call: lets something late arrive, stalls, refuses.
  Status Enter(std::string_view path) {
    std::function<void()> late;
    int64_t stall = 0;
    Status refused;
    {
      base::MutexLock lock(&mu_);
      if (!under_way_.empty() && random_.OneIn(4)) {
        const size_t which = random_.Uniform(under_way_.size());
        late = std::move(under_way_[which]);
        under_way_.erase(under_way_.begin() + static_cast<ptrdiff_t>(which));
      }
      if (options_.clock != nullptr && DrawLocked(NetworkFault::kStall))
        stall = random_.UniformRange(1, std::max<int64_t>(1, rates_.stall_micros_max));
      if (refuse_ == 0 && DrawLocked(NetworkFault::kExpired))
        refuse_ = 1 + random_.Uniform(rates_.expired_calls_max);
      if (refuse_ > 0) {
        --refuse_;
        refused = MakeError(ErrorCode::kPermissionDenied,
                            fmt::format("injected: credentials have expired: path={}", path));
      } else if (DrawLocked(NetworkFault::kErrorBefore)) {
        refused = Unavailable("503 before the effect", path);
      }
    }
    if (late) late();
    if (stall > 0) options_.clock->SleepMicros(stall);
    return refused;
  }

  bool Draw(NetworkFault fault) {
    base::MutexLock lock(&mu_);
    return DrawLocked(fault);
  }

  /// Carries out a call with an effect: at once, twice, later; with its answer or without.
  /// `condition_failed` is what the answer would be had somebody else been first, or OK for a call
  /// without a condition.
  template <typename T>
  Result<T> CarryOut(std::string_view path, const Status& condition_failed,
                     const std::function<Result<T>()>& call) {
    ARROW_RETURN_NOT_OK(Enter(path));
    if (Draw(NetworkFault::kLate)) {
      Postpone([call] { (void)call(); });  // its answer reaches nobody
      return Unavailable("timeout, still under way", path);
    }
    Result<T> result = call();
    if (!result.ok()) return result;
    if (Draw(NetworkFault::kDuplicate)) Postpone([call] { (void)call(); });
    if (!condition_failed.ok() && Draw(NetworkFault::kOwnCondition)) return condition_failed;
    if (Draw(NetworkFault::kErrorAfter)) return Unavailable("timeout after the effect", path);
    return result;
  }

  /// A body as it arrives.
  Result<std::shared_ptr<arrow::Buffer>> Deliver(std::string_view path,
                                                 std::shared_ptr<arrow::Buffer> body) {
    if (OfTheLog(path) || body->size() == 0) return body;
    int64_t keep = body->size();
    int64_t flip = -1;
    {
      base::MutexLock lock(&mu_);
      if (DrawLocked(NetworkFault::kTruncated))
        keep = static_cast<int64_t>(random_.Uniform(static_cast<uint64_t>(keep)));
      if (keep > 0 && DrawLocked(NetworkFault::kFlipped))
        flip = static_cast<int64_t>(random_.Uniform(static_cast<uint64_t>(keep) * 8));
    }
    if (keep < body->size()) body = arrow::SliceBuffer(std::move(body), 0, keep);
    if (flip < 0) return body;
    std::string copy = body->ToString();
    copy[static_cast<size_t>(flip / 8)] =
        static_cast<char>(copy[static_cast<size_t>(flip / 8)] ^ (1 << (flip % 8)));
    return arrow::Buffer::FromString(std::move(copy));
  }

  void DeliverAll() {
    for (;;) {
      std::function<void()> next;
      {
        base::MutexLock lock(&mu_);
        if (under_way_.empty()) return;
        next = std::move(under_way_.front());
        under_way_.erase(under_way_.begin());
      }
      next();
    }
  }

  void SetRates(const NetworkFaultRates& rates) {
    base::MutexLock lock(&mu_);
    rates_ = rates;
    refuse_ = 0;
  }
  std::array<uint64_t, kNetworkFaults> shown() const {
    base::MutexLock lock(&mu_);
    return shown_;
  }

 private:
  bool DrawLocked(NetworkFault fault) LAMINA_REQUIRES(mu_) {
    const uint32_t one_in = rates_[fault];
    if (one_in == 0 || !random_.OneIn(one_in)) return false;
    ++shown_[static_cast<size_t>(fault)];
    return true;
  }
  // Held by the network itself, so calls refer to it by plain pointer.
  void Postpone(std::function<void()> call) {
    base::MutexLock lock(&mu_);
    under_way_.push_back(std::move(call));
  }

  const std::shared_ptr<ObjectStore> base_;
  const Options options_;

  mutable base::Mutex mu_;
  base::Random random_ LAMINA_GUARDED_BY(mu_);
  NetworkFaultRates rates_ LAMINA_GUARDED_BY(mu_);
  std::vector<std::function<void()>> under_way_ LAMINA_GUARDED_BY(mu_);
  uint64_t refuse_ LAMINA_GUARDED_BY(mu_) = 0;  // calls, while credentials are expired
  std::array<uint64_t, kNetworkFaults> shown_ LAMINA_GUARDED_BY(mu_){};
};

/// Each read is a request of its own.
class SimObjectStore::Reader final : public arrow::io::RandomAccessFile {
 public:
  Reader(std::shared_ptr<arrow::io::RandomAccessFile> base, std::shared_ptr<Network> network,
         std::string path)
      : base_(std::move(base)), network_(std::move(network)), path_(std::move(path)) {}

  Status Close() override { return base_->Close(); }
  bool closed() const override { return base_->closed(); }
  Result<int64_t> Tell() const override { return base_->Tell(); }
  Status Seek(int64_t position) override { return base_->Seek(position); }
  Result<int64_t> GetSize() override { return base_->GetSize(); }
  bool supports_zero_copy() const override { return base_->supports_zero_copy(); }

  Result<std::shared_ptr<arrow::Buffer>> Read(int64_t size) override {
    ARROW_RETURN_NOT_OK(network_->Enter(path_));
    ARROW_ASSIGN_OR_RAISE(auto body, base_->Read(size));
    return network_->Deliver(path_, std::move(body));
  }
  Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t size) override {
    ARROW_RETURN_NOT_OK(network_->Enter(path_));
    ARROW_ASSIGN_OR_RAISE(auto body, base_->ReadAt(position, size));
    return network_->Deliver(path_, std::move(body));
  }
  Result<int64_t> Read(int64_t size, void* out) override {
    ARROW_ASSIGN_OR_RAISE(const auto body, Read(size));
    std::copy_n(body->data(), body->size(), static_cast<uint8_t*>(out));
    return body->size();
  }
  Result<int64_t> ReadAt(int64_t position, int64_t size, void* out) override {
    ARROW_ASSIGN_OR_RAISE(const auto body, ReadAt(position, size));
    std::copy_n(body->data(), body->size(), static_cast<uint8_t*>(out));
    return body->size();
  }

 private:
  const std::shared_ptr<arrow::io::RandomAccessFile> base_;
  const std::shared_ptr<Network> network_;
  const std::string path_;
};

/// Collects the body and sends it as one create-only write, which may then arrive late or twice.
class SimObjectStore::Writer final : public ObjectWriter {
 public:
  Writer(std::shared_ptr<Network> network, std::string path)
      : network_(std::move(network)), path_(std::move(path)) {}

  Status Write(std::string_view bytes) override {
    if (finished_)
      return MakeError(ErrorCode::kInvalidArgument, "object writer is finished: path=" + path_);
    ARROW_RETURN_NOT_OK(network_->Enter(path_));
    body_.append(bytes);
    return Status::OK();
  }
  int64_t bytes_written() const override { return static_cast<int64_t>(body_.size()); }
  Result<ObjectInfo> Finish() override {
    if (finished_)
      return MakeError(ErrorCode::kInvalidArgument, "object writer is finished: path=" + path_);
    finished_ = true;
    const auto call = [network = network_.get(), path = path_, body = body_] {
      return network->base().Put(path, body, PutCondition::IfAbsent());
    };
    return network_->CarryOut<ObjectInfo>(
        path_, MakeError(ErrorCode::kAlreadyExists, "injected: object exists: path=" + path_),
        call);
  }

 private:
  const std::shared_ptr<Network> network_;
  const std::string path_;
  std::string body_;
  bool finished_ = false;
};

SimObjectStore::SimObjectStore(std::shared_ptr<ObjectStore> base, Options options)
    : network_(std::make_shared<Network>(std::move(base), options)) {}
SimObjectStore::~SimObjectStore() = default;

void SimObjectStore::SetRates(const NetworkFaultRates& rates) { network_->SetRates(rates); }
void SimObjectStore::DeliverAll() { network_->DeliverAll(); }
std::array<uint64_t, kNetworkFaults> SimObjectStore::shown() const { return network_->shown(); }
bool SimObjectStore::supports_append() const {
  return network_->options().append && network_->base().supports_append();
}
std::string SimObjectStore::ToString() const { return "network:" + network_->base().ToString(); }

Result<ObjectInfo> SimObjectStore::Head(const std::string& path) {
  ARROW_RETURN_NOT_OK(network_->Enter(path));
  return network_->base().Head(path);
}

Result<std::shared_ptr<arrow::Buffer>> SimObjectStore::Get(const std::string& path,
                                                           ObjectInfo* info) {
  ARROW_RETURN_NOT_OK(network_->Enter(path));
  ARROW_ASSIGN_OR_RAISE(auto body, network_->base().Get(path, info));
  return network_->Deliver(path, std::move(body));
}

Result<std::shared_ptr<arrow::Buffer>> SimObjectStore::GetRange(const std::string& path,
                                                                int64_t offset, int64_t length) {
  ARROW_RETURN_NOT_OK(network_->Enter(path));
  ARROW_ASSIGN_OR_RAISE(auto body, network_->base().GetRange(path, offset, length));
  return network_->Deliver(path, std::move(body));
}

Result<std::shared_ptr<arrow::io::RandomAccessFile>> SimObjectStore::OpenReader(
    const std::string& path) {
  ARROW_RETURN_NOT_OK(network_->Enter(path));
  ARROW_ASSIGN_OR_RAISE(auto reader, network_->base().OpenReader(path));
  return std::make_shared<Reader>(std::move(reader), network_, path);
}

Result<ObjectInfo> SimObjectStore::Put(const std::string& path, std::string_view bytes,
                                       const PutCondition& condition) {
  Status failed;
  if (condition.kind == PutCondition::Kind::kIfAbsent) {
    failed = MakeError(ErrorCode::kAlreadyExists, "injected: object exists: path=" + path);
  } else if (condition.kind == PutCondition::Kind::kIfTagMatches) {
    failed = MakeError(ErrorCode::kConflict, "injected: object changed: path=" + path);
  }
  const auto call = [network = network_.get(), path, body = std::string(bytes), condition] {
    return network->base().Put(path, body, condition);
  };
  return network_->CarryOut<ObjectInfo>(path, failed, call);
}

Result<std::unique_ptr<ObjectWriter>> SimObjectStore::Create(const std::string& path) {
  ARROW_RETURN_NOT_OK(network_->Enter(path));
  return std::make_unique<Writer>(network_, path);
}

Result<std::vector<ObjectInfo>> SimObjectStore::List(const std::string& prefix) {
  ARROW_RETURN_NOT_OK(network_->Enter(prefix));
  return network_->base().List(prefix);
}

Status SimObjectStore::Delete(const std::string& path) {
  const auto call = [network = network_.get(), path]() -> Result<bool> {
    ARROW_RETURN_NOT_OK(network->base().Delete(path));
    return true;
  };
  return network_->CarryOut<bool>(path, Status::OK(), call).status();
}

Result<std::unique_ptr<AppendFile>> SimObjectStore::OpenAppend(const std::string& path,
                                                               int64_t truncate_to) {
  if (!supports_append()) return ObjectStore::OpenAppend(path, truncate_to);
  ARROW_RETURN_NOT_OK(network_->Enter(path));
  return network_->base().OpenAppend(path, truncate_to);
}

Result<std::unique_ptr<StoreLock>> SimObjectStore::Lock(const std::string& path) {
  if (!network_->options().exclusive_lock) return std::make_unique<StoreLock>();
  ARROW_RETURN_NOT_OK(network_->Enter(path));
  return network_->base().Lock(path);
}

// ---- ProcessStore
// ------------------------------------------------------------------------------------------------

struct ProcessStore::Process {
  explicit Process(Hook h) : hook(std::move(h)) {}

  Status Enter(RequestKind kind, std::string_view path) {
    if (!dead.load(std::memory_order_acquire) && hook) hook(kind, path);
    if (!dead.load(std::memory_order_acquire)) return Status::OK();
    return MakeError(ErrorCode::kUnavailable,
                     fmt::format("injected: the process is dead: path={}", path));
  }

  const Hook hook;
  std::atomic<bool> dead{false};
};

class ProcessStore::Reader final : public storage::WrappedReader {
 public:
  Reader(std::shared_ptr<arrow::io::RandomAccessFile> base, std::shared_ptr<Process> process,
         std::string path)
      : WrappedReader(std::move(base)), process_(std::move(process)), path_(std::move(path)) {}

 protected:
  Status Before() override { return process_->Enter(RequestKind::kRange, path_); }

 private:
  const std::shared_ptr<Process> process_;
  const std::string path_;
};

class ProcessStore::Writer final : public ObjectWriter {
 public:
  Writer(std::unique_ptr<ObjectWriter> base, std::shared_ptr<Process> process, std::string path)
      : base_(std::move(base)), process_(std::move(process)), path_(std::move(path)) {}

  Status Write(std::string_view bytes) override {
    ARROW_RETURN_NOT_OK(process_->Enter(RequestKind::kWrite, path_));
    return base_->Write(bytes);
  }
  int64_t bytes_written() const override { return base_->bytes_written(); }
  Result<ObjectInfo> Finish() override {
    ARROW_RETURN_NOT_OK(process_->Enter(RequestKind::kFinish, path_));
    return base_->Finish();
  }

 private:
  const std::unique_ptr<ObjectWriter> base_;
  const std::shared_ptr<Process> process_;
  const std::string path_;
};

class ProcessStore::Appender final : public AppendFile {
 public:
  Appender(std::unique_ptr<AppendFile> base, std::shared_ptr<Process> process, std::string path)
      : base_(std::move(base)), process_(std::move(process)), path_(std::move(path)) {}

  Status Append(std::string_view bytes) override {
    ARROW_RETURN_NOT_OK(process_->Enter(RequestKind::kAppend, path_));
    return base_->Append(bytes);
  }
  Status Sync() override {
    ARROW_RETURN_NOT_OK(process_->Enter(RequestKind::kSync, path_));
    return base_->Sync();
  }
  int64_t size() const override { return base_->size(); }
  Status Close() override { return base_->Close(); }

 private:
  const std::unique_ptr<AppendFile> base_;
  const std::shared_ptr<Process> process_;
  const std::string path_;
};

ProcessStore::ProcessStore(std::shared_ptr<ObjectStore> base, Hook hook)
    : base_(std::move(base)), process_(std::make_shared<Process>(std::move(hook))) {}

void ProcessStore::Kill() { process_->dead.store(true, std::memory_order_release); }
bool ProcessStore::dead() const { return process_->dead.load(std::memory_order_acquire); }

Result<ObjectInfo> ProcessStore::Head(const std::string& path) {
  ARROW_RETURN_NOT_OK(process_->Enter(RequestKind::kHead, path));
  return base_->Head(path);
}
Result<std::shared_ptr<arrow::Buffer>> ProcessStore::Get(const std::string& path,
                                                         ObjectInfo* info) {
  ARROW_RETURN_NOT_OK(process_->Enter(RequestKind::kGet, path));
  return base_->Get(path, info);
}
Result<std::shared_ptr<arrow::Buffer>> ProcessStore::GetRange(const std::string& path,
                                                              int64_t offset, int64_t length) {
  ARROW_RETURN_NOT_OK(process_->Enter(RequestKind::kRange, path));
  return base_->GetRange(path, offset, length);
}
Result<std::shared_ptr<arrow::io::RandomAccessFile>> ProcessStore::OpenReader(
    const std::string& path) {
  ARROW_RETURN_NOT_OK(process_->Enter(RequestKind::kOpenReader, path));
  ARROW_ASSIGN_OR_RAISE(auto reader, base_->OpenReader(path));
  return std::make_shared<Reader>(std::move(reader), process_, path);
}
Result<ObjectInfo> ProcessStore::Put(const std::string& path, std::string_view bytes,
                                     const PutCondition& condition) {
  ARROW_RETURN_NOT_OK(process_->Enter(RequestKind::kPut, path));
  return base_->Put(path, bytes, condition);
}
Result<std::unique_ptr<ObjectWriter>> ProcessStore::Create(const std::string& path) {
  ARROW_RETURN_NOT_OK(process_->Enter(RequestKind::kCreate, path));
  ARROW_ASSIGN_OR_RAISE(auto writer, base_->Create(path));
  return std::make_unique<Writer>(std::move(writer), process_, path);
}
Result<std::vector<ObjectInfo>> ProcessStore::List(const std::string& prefix) {
  ARROW_RETURN_NOT_OK(process_->Enter(RequestKind::kList, prefix));
  return base_->List(prefix);
}
Status ProcessStore::Delete(const std::string& path) {
  ARROW_RETURN_NOT_OK(process_->Enter(RequestKind::kDelete, path));
  return base_->Delete(path);
}
Result<std::unique_ptr<AppendFile>> ProcessStore::OpenAppend(const std::string& path,
                                                             int64_t truncate_to) {
  ARROW_RETURN_NOT_OK(process_->Enter(RequestKind::kOpenAppend, path));
  ARROW_ASSIGN_OR_RAISE(auto file, base_->OpenAppend(path, truncate_to));
  return std::make_unique<Appender>(std::move(file), process_, path);
}
Result<std::unique_ptr<StoreLock>> ProcessStore::Lock(const std::string& path) {
  ARROW_RETURN_NOT_OK(process_->Enter(RequestKind::kLock, path));
  return base_->Lock(path);
}

}  // namespace lamina::testing
