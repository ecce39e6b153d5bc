// A RandomAccessFile around another one, for store wrappers that want to see every read.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include <arrow/io/interfaces.h>

#include "lamina/error.h"
#include "storage/object_store/releasable_reader.h"

namespace lamina::storage {

/// Hands every call on, zero-copy included. Before and After see each read; thread-safe as the
/// wrapped file is.
class WrappedReader : public ReleasableReader {
 public:
  explicit WrappedReader(std::shared_ptr<arrow::io::RandomAccessFile> base)
      : base_(std::move(base)) {}

  Status Close() override { return base_->Close(); }
  bool closed() const override { return base_->closed(); }
  Result<int64_t> Tell() const override { return base_->Tell(); }
  Status Seek(int64_t position) override { return base_->Seek(position); }
  Result<int64_t> GetSize() override { return base_->GetSize(); }
  bool supports_zero_copy() const override { return base_->supports_zero_copy(); }
  void Release(int64_t offset, int64_t length) override {
    if (auto* base = dynamic_cast<ReleasableReader*>(base_.get())) base->Release(offset, length);
  }
  Status WillNeed(const std::vector<arrow::io::ReadRange>& ranges) override {
    return base_->WillNeed(ranges);
  }

  Result<int64_t> Read(int64_t size, void* out) override {
    return Seen([&] { return base_->Read(size, out); });
  }
  Result<std::shared_ptr<arrow::Buffer>> Read(int64_t size) override {
    return Seen([&] { return base_->Read(size); });
  }
  Result<int64_t> ReadAt(int64_t position, int64_t size, void* out) override {
    return Seen([&] { return base_->ReadAt(position, size, out); });
  }
  Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t size) override {
    return Seen([&] { return base_->ReadAt(position, size); });
  }

 protected:
  /// An error here is the read's result; the wrapped file is not asked.
  virtual Status Before() { return Status::OK(); }
  virtual void After(int64_t bytes, const Status& status) {
    (void)bytes;
    (void)status;
  }

 private:
  static int64_t SizeOf(int64_t n) { return n; }
  static int64_t SizeOf(const std::shared_ptr<arrow::Buffer>& buffer) { return buffer->size(); }

  template <typename Call>
  auto Seen(Call&& call) -> decltype(call()) {
    ARROW_RETURN_NOT_OK(Before());
    auto result = call();
    After(result.ok() ? SizeOf(*result) : 0, result.status());
    return result;
  }

  const std::shared_ptr<arrow::io::RandomAccessFile> base_;
};

}  // namespace lamina::storage
