// Any bytes as a log: reading, listing and salvaging must return, and agree on what is intact; and
// a sound log with a few bytes changed gives back its frames up to the damage and no other frame.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/codec.h"
#include "base/crc32c.h"
#include "storage/wal/wal_internal.h"
#include "testing/fuzz_target.h"

using namespace lamina;                // NOLINT(google-build-using-namespace)
using namespace lamina::storage::wal;  // NOLINT(google-build-using-namespace)

namespace {

ReplayOptions Options(bool salvage) {
  ReplayOptions options;
  options.salvage = salvage;
  return options;
}

/// Lists, salvages, and reads what is left. Returns the payloads of the frames that were found.
std::vector<std::string> ReadTwice(const std::shared_ptr<ObjectStore>& store) {
  // A header of a newer format is the one thing that is refused, not salvaged.
  const auto listed = ListFrames(store, Options(false));
  LAMINA_CHECK(listed.ok() || CodeOf(listed.status()) == ErrorCode::kUnsupported);
  std::vector<std::string> first, second;
  const auto replay = [&](bool salvage, std::vector<std::string>* payloads) {
    return Replay(store, Options(salvage), [payloads](const Frame& frame) {
      payloads->emplace_back(frame.payload);
      return Status::OK();
    });
  };
  const auto salvaged = replay(true, &first);
  LAMINA_CHECK(salvaged.ok() == listed.ok());
  if (!salvaged.ok()) return {};
  LAMINA_CHECK(replay(false, &second).ok());
  LAMINA_CHECK(first == second);
  return first;
}

void PutSegment(const std::shared_ptr<ObjectStore>& store, uint64_t number,
                const std::string& bytes) {
  LAMINA_CHECK(
      store->Put(SegmentPath("main", {1, number}), bytes, PutCondition::None()).status().ok());
}

/// The bytes are a segment without its header, and a whole one.
void AsSegment(std::string_view bytes) {
  DecodedFrame frame;
  if (DecodeFrame(bytes, 0, &frame) == nullptr) LAMINA_CHECK(frame.bytes <= bytes.size());
  (void)FindIntactFrames(bytes, 0, 0, {});
  auto behind_header = MakeMemoryStore();
  PutSegment(behind_header, 1,
             EncodeSegmentHeader({base::Ulid(), {1, 1}, {}, 0}) + std::string(bytes));
  (void)ReadTwice(behind_header);
  // With the header's checksum set right, or nothing would get past it.
  std::string whole(bytes);
  if (whole.size() >= kSegmentHeaderBytes) {
    const size_t at = header_field::kChecksum.offset;
    base::StoreFixed32(whole.data() + at, base::Crc32c({whole.data(), at}));
  }
  auto alone = MakeMemoryStore();
  PutSegment(alone, 1, whole);
  (void)ReadTwice(alone);
}

/// The bytes are changes (segment and offset: 2 bytes, xor: 1 byte), their number first, then the
/// payloads, cut where a byte is 0.
void AsChanges(std::string_view bytes) {
  if (bytes.empty()) return;
  const size_t changes = static_cast<uint8_t>(bytes[0]) % 4;
  bytes.remove_prefix(1);
  if (bytes.size() < changes * 3) return;
  const std::string_view list = bytes.substr(0, changes * 3);
  bytes.remove_prefix(list.size());
  std::vector<std::string> payloads;
  while (payloads.size() < 8) {
    const size_t end = bytes.find('\0');
    payloads.emplace_back(bytes.substr(0, end));
    if (end == std::string_view::npos) break;
    bytes.remove_prefix(end + 1);
  }
  // Half of the frames in each of two segments.
  std::string segments[2];
  uint32_t chain = 0;
  for (uint64_t s = 0; s < 2; ++s) {
    const SegmentId id{1, s + 1};
    segments[s] = EncodeSegmentHeader({base::Ulid(), id, {s == 0 ? 0u : 1u, s}, chain});
    chain = base::LoadFixed32(segments[s].data() + header_field::kChecksum.offset);
    const size_t half = (payloads.size() + 1) / 2;
    for (size_t i = s == 0 ? 0 : half; i < (s == 0 ? half : payloads.size()); ++i) {
      Frame frame;
      frame.commit = {i + 1};
      frame.system = {static_cast<int64_t>(i)};
      frame.payload = payloads[i];
      chain = ExtendChain(chain, AppendFrame(&segments[s], FrameSalt(base::Ulid(), id), frame));
    }
  }
  bool changed = false;
  for (size_t i = 0; i < list.size(); i += 3) {
    const uint16_t place = base::LoadFixed16(list.data() + i);
    std::string& segment = segments[place & 1];
    char& byte = segment[(place >> 1) % segment.size()];
    byte = static_cast<char>(byte ^ list[i + 2]);
    changed = changed || list[i + 2] != 0;
  }
  auto store = MakeMemoryStore();
  PutSegment(store, 1, segments[0]);
  PutSegment(store, 2, segments[1]);
  const std::vector<std::string> found = ReadTwice(store);
  LAMINA_CHECK(found.size() <= payloads.size());
  for (size_t i = 0; i < found.size(); ++i) LAMINA_CHECK(found[i] == payloads[i]);
  LAMINA_CHECK(changed || found.size() == payloads.size());
}

}  // namespace

LAMINA_FUZZ_TARGET(wal_fuzz)(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  AsSegment(bytes);
  AsChanges(bytes);
  return 0;
}
