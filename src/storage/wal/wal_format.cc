#include <algorithm>
#include <cstring>

#include "base/codec.h"
#include "base/crc32c.h"
#include "base/mutant.h"
#include "storage/wal/wal_internal.h"

namespace lamina::storage::wal {

namespace {

void PutAt(std::string* out, const ByteField& field, uint64_t value) {
  std::memcpy(out->data() + field.offset, &value,
              field.bytes);  // little-endian: base/codec.h asserts it
}

uint32_t Load32(std::string_view bytes, const ByteField& field) {
  return base::LoadFixed32(bytes.data() + field.offset);
}
uint64_t Load64(std::string_view bytes, const ByteField& field) {
  return base::LoadFixed64(bytes.data() + field.offset);
}

}  // namespace

uint32_t FrameSalt(const base::Ulid& database_id, SegmentId id) {
  char numbers[16];
  base::StoreFixed64(numbers, id.epoch);
  base::StoreFixed64(numbers + 8, id.segment);
  return base::Crc32c({numbers, sizeof(numbers)}, base::Crc32c(database_id.AsBytes()));
}

uint32_t ExtendChain(uint32_t chain, uint32_t frame_checksum) {
  char bytes[4];
  base::StoreFixed32(bytes, frame_checksum);
  return base::Crc32c({bytes, sizeof(bytes)}, chain);
}

std::string EncodeSegmentHeader(const SegmentHeader& header) {
  namespace f = header_field;
  std::string out(kSegmentHeaderBytes, '\0');
  std::memcpy(out.data() + f::kMagic.offset, kSegmentMagic, f::kMagic.bytes);
  PutAt(&out, f::kVersion, kFormatVersion);
  PutAt(&out, f::kLength, kSegmentHeaderBytes);
  std::memcpy(out.data() + f::kDatabase.offset, header.database_id.bytes.data(),
              f::kDatabase.bytes);
  PutAt(&out, f::kEpoch, header.id.epoch);
  PutAt(&out, f::kSegment, header.id.segment);
  PutAt(&out, f::kPreviousEpoch, header.previous.epoch);
  PutAt(&out, f::kPreviousSegment, header.previous.segment);
  PutAt(&out, f::kChain, header.chain);
  PutAt(&out, f::kChecksum, base::Crc32c({out.data(), f::kChecksum.offset}));
  return out;
}

HeaderState DecodeSegmentHeader(std::string_view bytes, SegmentHeader* header, uint32_t* checksum,
                                uint32_t* version, std::string* why) {
  namespace f = header_field;
  if (bytes.size() < kSegmentHeaderBytes) {
    *why = "segment header is cut short";
    return HeaderState::kDamaged;
  }
  // The checksum before the version: a flipped bit must not read as "newer format". Every later
  // version keeps these 72 bytes.
  *checksum = Load32(bytes, f::kChecksum);
  if (base::Crc32c(bytes.substr(0, f::kChecksum.offset)) != *checksum) {
    *why = "segment header checksum mismatch";
    return HeaderState::kDamaged;
  }
  if (std::memcmp(bytes.data(), kSegmentMagic, f::kMagic.bytes) != 0) {
    *why = "not a log segment (magic)";
    return HeaderState::kDamaged;
  }
  *version = Load32(bytes, f::kVersion);
  if (*version != kFormatVersion) return HeaderState::kOtherFormat;
  if (Load32(bytes, f::kLength) != kSegmentHeaderBytes) {
    *why = "segment header is malformed";
    return HeaderState::kDamaged;
  }
  std::memcpy(header->database_id.bytes.data(), bytes.data() + f::kDatabase.offset,
              f::kDatabase.bytes);
  header->id = {Load64(bytes, f::kEpoch), Load64(bytes, f::kSegment)};
  header->previous = {Load64(bytes, f::kPreviousEpoch), Load64(bytes, f::kPreviousSegment)};
  header->chain = Load32(bytes, f::kChain);
  return HeaderState::kIntact;
}

uint32_t AppendFrame(std::string* out, uint32_t salt, const Frame& frame) {
  namespace f = frame_field;
  const size_t at = out->size();
  char header[kFrameHeaderBytes] = {};  // the checksum comes last
  base::StoreFixed32(header + f::kLength.offset, static_cast<uint32_t>(frame.payload.size()));
  std::memcpy(header + f::kMarker.offset, kFrameMarker, f::kMarker.bytes);
  header[f::kType.offset] = static_cast<char>(frame.type);
  base::StoreFixed64(header + f::kCommit.offset, frame.commit.value);
  base::StoreFixed64(header + f::kSystem.offset, static_cast<uint64_t>(frame.system.micros));
  base::StoreFixed64(header + f::kSynced.offset, frame.synced);
  out->append(header, sizeof(header));
  out->append(frame.payload);
  // Summed where it lies: one call over header and payload.
  const uint32_t checksum =
      base::Crc32c(std::string_view(*out).substr(at + f::kLength.offset), salt);
  base::StoreFixed32(out->data() + at + f::kChecksum.offset, checksum);
  return checksum;
}

const char* DecodeFrame(std::string_view bytes, uint32_t salt, DecodedFrame* out) {
  namespace f = frame_field;
  if (bytes.size() < kFrameHeaderBytes) return "frame header is cut short";
  if (std::memcmp(bytes.data() + f::kMarker.offset, kFrameMarker, f::kMarker.bytes) != 0)
    return "frame marker is wrong";
  const uint64_t length = Load32(bytes, f::kLength);
  // The length is not trusted before it was compared with what is there.
  if (length > kPayloadBytesMax) return "frame length is out of range";
  if (length > bytes.size() - kFrameHeaderBytes)
    return "frame is cut short, or its length is damaged";
  const uint64_t total = kFrameHeaderBytes + length;
  const uint32_t checksum = Load32(bytes, f::kChecksum);
  if (base::Crc32c(bytes.substr(f::kLength.offset, total - f::kLength.offset), salt) != checksum &&
      !LAMINA_MUTANT("wal.checksum_unchecked")) {
    return "frame checksum mismatch";
  }
  const auto type = static_cast<uint8_t>(bytes[f::kType.offset]);
  if (type != static_cast<uint8_t>(FrameType::kCommit) &&
      type != static_cast<uint8_t>(FrameType::kSeal)) {
    return "frame type is unknown";
  }
  out->frame.type = static_cast<FrameType>(type);
  out->frame.commit = {Load64(bytes, f::kCommit)};
  out->frame.system = {static_cast<int64_t>(Load64(bytes, f::kSystem))};
  out->frame.synced = Load64(bytes, f::kSynced);
  out->frame.payload = bytes.substr(kFrameHeaderBytes, length);
  out->checksum = checksum;
  out->bytes = total;
  return nullptr;
}

IntactFrames FindIntactFrames(std::string_view bytes, size_t from, uint32_t salt, CommitId after) {
  namespace f = frame_field;
  constexpr size_t kMarkerAt = f::kMarker.offset;
  IntactFrames found;
  for (size_t at = from + kMarkerAt;
       (at = bytes.find({kFrameMarker, f::kMarker.bytes}, at)) != std::string_view::npos; ++at) {
    const std::string_view candidate = bytes.substr(at - kMarkerAt);
    if (candidate.size() < kFrameHeaderBytes) break;
    // The commit first: it is cheap, and keeps the search from summing up the same bytes again and
    // again.
    const CommitId commit{Load64(candidate, f::kCommit)};
    const bool seal =
        static_cast<uint8_t>(candidate[f::kType.offset]) == static_cast<uint8_t>(FrameType::kSeal);
    if (commit < after || (commit == after && !seal)) continue;
    DecodedFrame decoded;
    if (DecodeFrame(candidate, salt, &decoded) != nullptr) continue;
    ++found.count;
    found.synced = std::max(found.synced, decoded.frame.synced);
    at += decoded.bytes - 1;  // the next one begins behind it
  }
  return found;
}

std::string WalPrefix(const std::string& branch) { return "wal/" + branch + "/"; }

}  // namespace lamina::storage::wal
