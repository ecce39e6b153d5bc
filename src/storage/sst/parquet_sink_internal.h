// The stream Parquet writes to: passes bytes on to the store and remembers the checksums of what it
// saw.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <arrow/io/interfaces.h>

#include "lamina/object_store.h"

namespace lamina::storage::sst {

/// One thread. A page reaches the sink as one write (header and body together) or two (header,
/// body).
class ParquetSink final : public arrow::io::OutputStream {
 public:
  explicit ParquetSink(std::unique_ptr<ObjectWriter> out) : out_(std::move(out)) {
    set_mode(arrow::io::FileMode::WRITE);
  }

  using arrow::io::OutputStream::Write;
  Status Write(const void* data, int64_t size) override;
  Result<int64_t> Tell() const override { return position_; }
  Status Flush() override { return Status::OK(); }
  Status Close() override { return Status::OK(); }
  bool closed() const override { return false; }

  int64_t position() const { return position_; }
  /// From now on writes are kept here instead of being passed on.
  void Hold() { holding_ = true; }
  /// What was held; writes pass on again, from the position where holding began.
  std::string Release();
  /// Writes change nothing from now on and succeed: for a Parquet writer that closes itself in its
  /// destructor.
  void Abandon();
  Result<ObjectInfo> Finish();

  /// The checksum of the page at [offset, offset + size), or an error when no writes fall on its
  /// ends.
  Result<uint32_t> ChecksumOf(int64_t offset, int64_t size) const;

 private:
  struct Seen {
    int64_t offset = 0;
    uint32_t crc = 0;            ///< Of this write.
    uint32_t crc_with_last = 0;  ///< Of the write before it and this one.
  };

  Status Drain();

  std::unique_ptr<ObjectWriter> out_;
  std::string buffer_;
  std::string held_;
  bool holding_ = false;
  int64_t position_ = 0;
  Status error_;
  std::vector<Seen> writes_;
};

}  // namespace lamina::storage::sst
