// Bytes of the log: docs/format/wal.md. For this folder only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/wal/wal.h"

namespace lamina::storage::wal {

inline constexpr char kSegmentMagic[9] = "LAMINAWL";
inline constexpr uint32_t kFormatVersion = 2;
inline constexpr uint64_t kPayloadBytesMax = uint64_t{1} << 30;

/// One row of the offset tables in docs/format/wal.md; a test compares them.
struct ByteField {
  uint32_t offset;
  uint32_t bytes;
  std::string_view name;
};

namespace header_field {
inline constexpr ByteField kMagic{0, 8, "magic"};
inline constexpr ByteField kVersion{8, 4, "format_version"};
inline constexpr ByteField kLength{12, 4, "header_length"};
inline constexpr ByteField kDatabase{16, 16, "database_id"};
inline constexpr ByteField kEpoch{32, 8, "epoch"};
inline constexpr ByteField kSegment{40, 8, "segment"};
inline constexpr ByteField kPreviousEpoch{48, 8, "previous_epoch"};
inline constexpr ByteField kPreviousSegment{56, 8, "previous_segment"};
inline constexpr ByteField kChain{64, 4, "chain"};
inline constexpr ByteField kChecksum{68, 4, "checksum"};
inline constexpr ByteField kAll[] = {kMagic, kVersion, kLength,        kDatabase,
                                     kEpoch, kSegment, kPreviousEpoch, kPreviousSegment,
                                     kChain, kChecksum};
}  // namespace header_field
inline constexpr uint32_t kSegmentHeaderBytes = 72;
static_assert(header_field::kChecksum.offset + header_field::kChecksum.bytes ==
              kSegmentHeaderBytes);

namespace frame_field {
inline constexpr ByteField kChecksum{0, 4, "checksum"};
inline constexpr ByteField kLength{4, 4, "length"};
inline constexpr ByteField kMarker{8, 3, "marker"};
inline constexpr ByteField kType{11, 1, "type"};
inline constexpr ByteField kCommit{12, 8, "commit"};
inline constexpr ByteField kSystem{20, 8, "system_time"};
inline constexpr ByteField kSynced{28, 8, "synced"};
inline constexpr ByteField kAll[] = {kChecksum, kLength, kMarker, kType, kCommit, kSystem, kSynced};
}  // namespace frame_field
inline constexpr uint32_t kFrameHeaderBytes = 36;
static_assert(frame_field::kSynced.offset + frame_field::kSynced.bytes == kFrameHeaderBytes);
/// Makes the search for a frame behind damage fast; not a proof of anything.
inline constexpr char kFrameMarker[4] = "LFR";

struct SegmentHeader {
  base::Ulid database_id;
  SegmentId id;
  SegmentId previous;  ///< {0, 0}: none was there.
  uint32_t chain = 0;  ///< Running checksum of `previous`; for the first segment of an epoch the
                       ///< checksum of its seal frame.
};

/// What the checksum of every frame of a segment starts from, so that frames of other segments
/// (also when a user stored a log file as a value) never look intact here. Known without the
/// header.
uint32_t FrameSalt(const base::Ulid& database_id, SegmentId id);
/// The running checksum of a segment: starts from its header's, then takes in each frame's.
uint32_t ExtendChain(uint32_t chain, uint32_t frame_checksum);

std::string EncodeSegmentHeader(const SegmentHeader& header);
enum class HeaderState { kIntact, kDamaged, kOtherFormat };
/// Any bytes are safe. `checksum` and `version` are set when not kDamaged; `why` when kDamaged.
HeaderState DecodeSegmentHeader(std::string_view bytes, SegmentHeader* header, uint32_t* checksum,
                                uint32_t* version, std::string* why);

/// Appends one frame to `out` and returns its checksum. The payload is at most kPayloadBytesMax.
uint32_t AppendFrame(std::string* out, uint32_t salt, const Frame& frame);

struct DecodedFrame {
  Frame frame;  ///< The payload lies in the input.
  uint32_t checksum = 0;
  uint64_t bytes = 0;
};
/// Reads the frame at the start of `bytes`. Null when it is intact, else a static text saying what
/// is wrong. Any bytes are safe.
const char* DecodeFrame(std::string_view bytes, uint32_t salt, DecodedFrame* out);

/// The intact frames at or after `from` whose commit is above `after` (seals: not below).
struct IntactFrames {
  uint64_t count = 0;
  uint64_t synced = 0;  ///< The most that one of them says of its segment.
};
IntactFrames FindIntactFrames(std::string_view bytes, size_t from, uint32_t salt, CommitId after);

std::string WalPrefix(const std::string& branch);  ///< "wal/<branch>/"

}  // namespace lamina::storage::wal
