#include <fmt/format.h>

#include "base/codec.h"
#include "base/crc32c.h"
#include "storage/sst/file_format_internal.h"

namespace lamina::storage::sst {

namespace {

constexpr uint32_t kTailMagic = 0x4c544d4c;  // "LMTL"
constexpr uint32_t kTailVersion = 1;

}  // namespace

std::string TailBlock::Encode() const {
  std::string out;
  base::PutFixed32(&out, kTailMagic);
  base::PutFixed32(&out, kTailVersion);
  base::PutFixed64(&out, key_index_offset);
  base::PutFixed64(&out, checksums_offset);
  base::PutFixed32(&out, region_crc);
  base::PutFixed32(&out, footer_crc);
  base::PutFixed32(&out, base::Crc32c(out));
  return out;
}

Result<TailBlock> TailBlock::Decode(std::string_view bytes) {
  base::Decoder in(bytes);
  uint32_t magic = 0;
  uint32_t version = 0;
  uint32_t crc = 0;
  TailBlock block;
  in.ReadFixed32(&magic);
  in.ReadFixed32(&version);
  in.ReadFixed64(&block.key_index_offset);
  in.ReadFixed64(&block.checksums_offset);
  in.ReadFixed32(&block.region_crc);
  in.ReadFixed32(&block.footer_crc);
  in.ReadFixed32(&crc);
  if (!in.ok() || !in.done() || magic != kTailMagic) {
    return MakeError(ErrorCode::kCorruption,
                     fmt::format("no LaminaDB tail block: magic={:08x}", magic));
  }
  if (crc != base::Crc32c(bytes.substr(0, bytes.size() - 4))) {
    return MakeError(ErrorCode::kCorruption, "tail block checksum mismatch");
  }
  if (version != kTailVersion) {
    return MakeError(ErrorCode::kUnsupported,
                     fmt::format("data file of an unknown version: version={}", version));
  }
  return block;
}

std::string EncodeChecksums(const std::vector<ChunkChecksums>& chunks) {
  std::string out;
  for (const ChunkChecksums& chunk : chunks) {
    base::PutFixed32(&out, chunk.dictionary);
    for (const uint32_t crc : chunk.pages) {
      base::PutFixed32(&out, crc);
    }
  }
  return out;
}

std::string HexOf(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    fmt::format_to(std::back_inserter(out), "{:02x}", static_cast<uint8_t>(c));
  }
  return out;
}

}  // namespace lamina::storage::sst
