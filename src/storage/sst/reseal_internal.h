// For tests and fuzzing: makes the checksums of a damaged data file right again, so that what lies
// behind them is exercised.
#pragma once

#include <string>

#include "base/codec.h"
#include "base/crc32c.h"
#include "storage/sst/file_format_internal.h"

namespace lamina::storage::sst {

/// `file` is a data file with any damage; `whole` is the file before it.
/// Pages keep their checksums: what they hold is Parquet's business, and a wrong one is refused
/// before Parquet sees it.
inline void Reseal(const std::string& whole, size_t footer_length, std::string* file) {
  const size_t footer = whole.size() - footer_length;
  const size_t tail = footer - TailBlock::kBytes;
  TailBlock block = *TailBlock::Decode(std::string_view(whole).substr(tail, TailBlock::kBytes));
  const size_t index = block.key_index_offset;
  // Header, offsets, keys, filter, checksum: docs/format/data-file.md.
  const char* header = whole.data() + index;
  const size_t key_index_length = 32 + (size_t{base::LoadFixed32(header + 12)} + 1) * 4 +
                                  base::LoadFixed64(header + 16) + base::LoadFixed64(header + 24) +
                                  4;
  base::StoreFixed32(file->data() + index + key_index_length - 4,
                     base::Crc32c(std::string_view(*file).substr(index, key_index_length - 4)));
  block.region_crc = base::Crc32c(std::string_view(*file).substr(index, tail - index));
  block.footer_crc = base::Crc32c(std::string_view(*file).substr(footer));
  file->replace(tail, TailBlock::kBytes, block.Encode());
}

}  // namespace lamina::storage::sst
