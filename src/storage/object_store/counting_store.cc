#include "storage/object_store/counting_store.h"

#include <utility>

#include "storage/object_store/wrapped_reader.h"

namespace lamina::storage {

struct CountingStore::Counters {
  struct Cell {
    base::Counter requests;
    base::Counter bytes;
    base::Counter errors;
  };

  void Add(RequestKind kind, StoreDomain domain, const Status& status, uint64_t bytes) {
    Cell& cell = cells[static_cast<size_t>(kind)][static_cast<size_t>(domain)];
    cell.requests.Add();
    if (!status.ok()) {
      cell.errors.Add();
    } else if (bytes != 0) {
      cell.bytes.Add(bytes);
    }
  }

  std::array<std::array<Cell, kStoreDomains>, kRequestKinds> cells;
};

class CountingStore::Reader final : public WrappedReader {
 public:
  Reader(std::shared_ptr<arrow::io::RandomAccessFile> base, std::shared_ptr<Counters> counters,
         StoreDomain domain)
      : WrappedReader(std::move(base)), counters_(std::move(counters)), domain_(domain) {}

 protected:
  void After(int64_t bytes, const Status& status) override {
    counters_->Add(RequestKind::kRange, domain_, status, static_cast<uint64_t>(bytes));
  }

 private:
  const std::shared_ptr<Counters> counters_;
  const StoreDomain domain_;
};

class CountingStore::Writer final : public ObjectWriter {
 public:
  Writer(std::unique_ptr<ObjectWriter> base, std::shared_ptr<Counters> counters, StoreDomain domain)
      : base_(std::move(base)), counters_(std::move(counters)), domain_(domain) {}

  Status Write(std::string_view bytes) override {
    Status status = base_->Write(bytes);
    counters_->Add(RequestKind::kWrite, domain_, status, bytes.size());
    return status;
  }
  int64_t bytes_written() const override { return base_->bytes_written(); }
  Result<ObjectInfo> Finish() override {
    auto result = base_->Finish();
    counters_->Add(RequestKind::kFinish, domain_, result.status(), 0);
    return result;
  }

 private:
  const std::unique_ptr<ObjectWriter> base_;
  const std::shared_ptr<Counters> counters_;
  const StoreDomain domain_;
};

class CountingStore::Appender final : public AppendFile {
 public:
  Appender(std::unique_ptr<AppendFile> base, std::shared_ptr<Counters> counters, StoreDomain domain)
      : base_(std::move(base)), counters_(std::move(counters)), domain_(domain) {}

  Status Append(std::string_view bytes) override {
    Status status = base_->Append(bytes);
    counters_->Add(RequestKind::kAppend, domain_, status, bytes.size());
    return status;
  }
  Status Sync() override {
    Status status = base_->Sync();
    counters_->Add(RequestKind::kSync, domain_, status, 0);
    return status;
  }
  int64_t size() const override { return base_->size(); }
  Status Close() override { return base_->Close(); }

 private:
  const std::unique_ptr<AppendFile> base_;
  const std::shared_ptr<Counters> counters_;
  const StoreDomain domain_;
};

CountingStore::CountingStore(std::shared_ptr<ObjectStore> base)
    : base_(std::move(base)), counters_(std::make_shared<Counters>()) {}

StoreCounts CountingStore::counts() const {
  StoreCounts out;
  for (size_t kind = 0; kind < kRequestKinds; ++kind) {
    for (size_t domain = 0; domain < kStoreDomains; ++domain) {
      const Counters::Cell& cell = counters_->cells[kind][domain];
      out.cells[kind][domain] = {cell.requests.value(), cell.bytes.value(), cell.errors.value()};
    }
  }
  return out;
}

Result<ObjectInfo> CountingStore::Head(const std::string& path) {
  auto result = base_->Head(path);
  counters_->Add(RequestKind::kHead, DomainOf(path), result.status(), 0);
  return result;
}

Result<std::shared_ptr<arrow::Buffer>> CountingStore::Get(const std::string& path,
                                                          ObjectInfo* info) {
  auto result = base_->Get(path, info);
  counters_->Add(RequestKind::kGet, DomainOf(path), result.status(),
                 result.ok() ? static_cast<uint64_t>((*result)->size()) : 0);
  return result;
}

Result<std::shared_ptr<arrow::Buffer>> CountingStore::GetRange(const std::string& path,
                                                               int64_t offset, int64_t length) {
  auto result = base_->GetRange(path, offset, length);
  counters_->Add(RequestKind::kRange, DomainOf(path), result.status(),
                 result.ok() ? static_cast<uint64_t>((*result)->size()) : 0);
  return result;
}

Result<std::shared_ptr<arrow::io::RandomAccessFile>> CountingStore::OpenReader(
    const std::string& path) {
  auto result = base_->OpenReader(path);
  counters_->Add(RequestKind::kOpenReader, DomainOf(path), result.status(), 0);
  ARROW_RETURN_NOT_OK(result.status());
  return std::make_shared<Reader>(*std::move(result), counters_, DomainOf(path));
}

Result<ObjectInfo> CountingStore::Put(const std::string& path, std::string_view bytes,
                                      const PutCondition& condition) {
  auto result = base_->Put(path, bytes, condition);
  counters_->Add(RequestKind::kPut, DomainOf(path), result.status(), bytes.size());
  return result;
}

Result<std::unique_ptr<ObjectWriter>> CountingStore::Create(const std::string& path) {
  auto result = base_->Create(path);
  counters_->Add(RequestKind::kCreate, DomainOf(path), result.status(), 0);
  ARROW_RETURN_NOT_OK(result.status());
  return std::make_unique<Writer>(*std::move(result), counters_, DomainOf(path));
}

Result<std::vector<ObjectInfo>> CountingStore::List(const std::string& prefix) {
  auto result = base_->List(prefix);
  counters_->Add(RequestKind::kList, DomainOf(prefix), result.status(),
                 result.ok() ? result->size() : 0);
  return result;
}

Status CountingStore::Delete(const std::string& path) {
  Status status = base_->Delete(path);
  counters_->Add(RequestKind::kDelete, DomainOf(path), status, 0);
  return status;
}

Result<std::unique_ptr<AppendFile>> CountingStore::OpenAppend(const std::string& path,
                                                              int64_t truncate_to) {
  auto result = base_->OpenAppend(path, truncate_to);
  counters_->Add(RequestKind::kOpenAppend, DomainOf(path), result.status(), 0);
  ARROW_RETURN_NOT_OK(result.status());
  return std::make_unique<Appender>(*std::move(result), counters_, DomainOf(path));
}

Result<std::unique_ptr<StoreLock>> CountingStore::Lock(const std::string& path) {
  auto result = base_->Lock(path);
  counters_->Add(RequestKind::kLock, DomainOf(path), result.status(), 0);
  return result;
}

// ---- StoreCounts ----

namespace {

void AddTo(StoreCounts::Cell* sum, const StoreCounts::Cell& cell) {
  sum->requests += cell.requests;
  sum->bytes += cell.bytes;
  sum->errors += cell.errors;
}

}  // namespace

StoreCounts::Cell StoreCounts::of(RequestKind kind) const {
  Cell sum;
  for (const Cell& cell : cells[static_cast<size_t>(kind)]) AddTo(&sum, cell);
  return sum;
}

StoreCounts::Cell StoreCounts::of(StoreDomain domain) const {
  Cell sum;
  for (const auto& row : cells) AddTo(&sum, row[static_cast<size_t>(domain)]);
  return sum;
}

uint64_t StoreCounts::round_trips() const {
  uint64_t sum = 0;
  for (const RequestKind kind :
       {RequestKind::kHead, RequestKind::kGet, RequestKind::kRange, RequestKind::kOpenReader,
        RequestKind::kPut, RequestKind::kFinish, RequestKind::kList, RequestKind::kDelete}) {
    sum += of(kind).requests;
  }
  return sum;
}

uint64_t StoreCounts::bytes_read() const {
  return of(RequestKind::kGet).bytes + of(RequestKind::kRange).bytes;
}

uint64_t StoreCounts::bytes_written() const {
  return of(RequestKind::kPut).bytes + of(RequestKind::kWrite).bytes +
         of(RequestKind::kAppend).bytes;
}

std::string StoreCounts::ToString() const {
  std::string out;
  for (size_t kind = 0; kind < kRequestKinds; ++kind) {
    for (size_t domain = 0; domain < kStoreDomains; ++domain) {
      const Cell& cell = cells[kind][domain];
      if (cell.requests == 0) continue;
      out += std::string(RequestKindName(static_cast<RequestKind>(kind))) + " " +
             std::string(StoreDomainName(static_cast<StoreDomain>(domain))) +
             " requests=" + std::to_string(cell.requests) + " bytes=" + std::to_string(cell.bytes) +
             " errors=" + std::to_string(cell.errors) + "\n";
    }
  }
  return out;
}

StoreCounts StoreCounts::operator-(const StoreCounts& earlier) const {
  StoreCounts out = *this;
  for (size_t kind = 0; kind < kRequestKinds; ++kind) {
    for (size_t domain = 0; domain < kStoreDomains; ++domain) {
      Cell& cell = out.cells[kind][domain];
      const Cell& before = earlier.cells[kind][domain];
      cell.requests -= before.requests;
      cell.bytes -= before.bytes;
      cell.errors -= before.errors;
    }
  }
  return out;
}

}  // namespace lamina::storage
