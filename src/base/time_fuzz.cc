// What ParseTimestamp takes, FormatTimestamp must write back to the same moment.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "lamina/time.h"
#include "testing/fuzz_target.h"

LAMINA_FUZZ_TARGET(time_fuzz)(const uint8_t* data, size_t size) {
  const auto parsed = lamina::ParseTimestamp({reinterpret_cast<const char*>(data), size});
  if (!parsed.ok()) return 0;
  const auto again = lamina::ParseTimestamp(lamina::FormatTimestamp(*parsed));
  LAMINA_CHECK(again.ok() && *again == *parsed);
  return 0;
}
