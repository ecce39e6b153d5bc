#include <algorithm>

#include <fmt/format.h>

#include "base/crc32c.h"
#include "storage/sst/parquet_border_internal.h"
#include "storage/sst/parquet_sink_internal.h"

namespace lamina::storage::sst {

namespace {

constexpr size_t kBufferBytes = 1 << 20;  // Parquet writes page by page: a kilobyte at a time.

}  // namespace

Status ParquetSink::Write(const void* data, int64_t size) {
  if (out_ == nullptr) {
    return Status::OK();
  }
  ARROW_RETURN_NOT_OK(error_);
  const std::string_view bytes(static_cast<const char*>(data), static_cast<size_t>(size));
  if (holding_) {
    held_ += bytes;
    position_ += size;
    return Status::OK();
  }
  // A dictionary without values has a body without bytes: not a place where something begins.
  if (size == 0) return Status::OK();
  writes_.push_back(
      {.offset = position_,
       .crc = base::Crc32c(bytes),
       .crc_with_last = writes_.empty() ? 0 : base::Crc32cExtend(writes_.back().crc, bytes)});
  position_ += size;
  buffer_ += bytes;
  return buffer_.size() >= kBufferBytes ? Drain() : Status::OK();
}

Status ParquetSink::Drain() {
  if (!buffer_.empty()) {
    error_ = WithCode(out_->Write(buffer_));
    buffer_.clear();
  }
  return error_;
}

std::string ParquetSink::Release() {
  holding_ = false;
  position_ -= static_cast<int64_t>(held_.size());
  return std::move(held_);
}

void ParquetSink::Abandon() { out_.reset(); }

Result<ObjectInfo> ParquetSink::Finish() {
  ARROW_RETURN_NOT_OK(error_);
  ARROW_RETURN_NOT_OK(Drain());
  Result<ObjectInfo> finished = out_->Finish();
  return finished.ok() ? std::move(finished) : WithCode(finished.status());
}

Result<uint32_t> ParquetSink::ChecksumOf(int64_t offset, int64_t size) const {
  const auto begin =
      std::lower_bound(writes_.begin(), writes_.end(), offset,
                       [](const Seen& seen, int64_t at) { return seen.offset < at; });
  const auto end_of = [this](std::vector<Seen>::const_iterator it) {
    return it + 1 == writes_.end() ? position_ : (it + 1)->offset;
  };
  if (begin != writes_.end() && begin->offset == offset) {
    if (end_of(begin) == offset + size) {
      return begin->crc;
    }
    if (begin + 1 != writes_.end() && end_of(begin + 1) == offset + size) {
      return (begin + 1)->crc_with_last;
    }
  }
  return MakeError(
      ErrorCode::kInternal,
      fmt::format("a page is not what Parquet wrote at once: offset={} size={}", offset, size));
}

}  // namespace lamina::storage::sst
