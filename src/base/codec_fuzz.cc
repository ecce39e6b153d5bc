// Any bytes go through MessageReader, nested; nothing may crash, and a walk must end.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/codec.h"
#include "testing/fuzz_target.h"

namespace {

void Walk(lamina::base::MessageReader reader, int depth) {
  while (reader.Next()) {
    uint64_t number = 0;
    if (reader.type() == lamina::base::WireType::kVarint) reader.GetVarint(&number);
    if (reader.type() != lamina::base::WireType::kBytes) continue;
    lamina::base::MessageReader sub;
    if (depth > 0 && reader.GetMessage(&sub)) Walk(sub, depth - 1);
    std::vector<int64_t> list;
    if (number % 2 == 0) reader.GetSigneds(&list);
  }
  (void)reader.status("fuzz").ToString();
}

}  // namespace

LAMINA_FUZZ_TARGET(codec_fuzz)(const uint8_t* data, size_t size) {
  Walk(lamina::base::MessageReader({reinterpret_cast<const char*>(data), size}), 4);
  return 0;
}
