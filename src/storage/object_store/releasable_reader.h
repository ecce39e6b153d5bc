// A file whose bytes, once read, stay in the process's memory until somebody says that they may go.
#pragma once

#include <cstdint>

#include <arrow/io/interfaces.h>

namespace lamina::storage {

/// What OpenReader returns where the backend maps files: pages touched by a read count as the
/// process's memory for as long as the mapping lives, and a long scan or compaction would pile up
/// whole files.
class ReleasableReader : public arrow::io::RandomAccessFile {
 public:
  /// The caller will not read [offset, offset + length) again soon. Advice: buffers handed out
  /// stay valid, reading again only costs more. Thread-safe.
  virtual void Release(int64_t offset, int64_t length) = 0;
};

}  // namespace lamina::storage
