// Any bytes as a log segment: reading, listing and salvaging must return, and agree on what is
// intact.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "storage/wal/wal_internal.h"

using namespace lamina;                // NOLINT(google-build-using-namespace)
using namespace lamina::storage::wal;  // NOLINT(google-build-using-namespace)

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  // As frames alone.
  DecodedFrame frame;
  if (DecodeFrame(bytes, 0, &frame) == nullptr) LAMINA_CHECK(frame.bytes <= size);
  (void)FindIntactFrames(bytes, 0, 0, {});

  // As a segment behind a sound header.
  const base::Ulid database;
  auto store = MakeMemoryStore();
  const std::string path = SegmentPath("main", {1, 1});
  const std::string segment = EncodeSegmentHeader({database, {1, 1}, {}, 0}) + std::string(bytes);
  LAMINA_CHECK(store->Put(path, segment, PutCondition::None()).ok());
  ReplayOptions options;
  options.database_id = database;
  LAMINA_CHECK(ListFrames(store, options).ok());
  options.salvage = true;
  uint64_t first = 0;
  uint64_t second = 0;
  LAMINA_CHECK(Replay(store, options, [&](const Frame&) { return ++first, Status::OK(); }).ok());
  options.salvage = false;
  LAMINA_CHECK(Replay(store, options, [&](const Frame&) { return ++second, Status::OK(); }).ok());
  LAMINA_CHECK(first == second);
  return 0;
}
