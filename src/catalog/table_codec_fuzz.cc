// Arbitrary bytes decode to an error or to a definition that round-trips.
#include <cstdint>
#include <cstdlib>

#include "catalog/schema.h"
#include "testing/fuzz_target.h"

LAMINA_FUZZ_TARGET(table_codec_fuzz)(const uint8_t* data, size_t size) {
  using namespace lamina::catalog;  // NOLINT(google-build-using-namespace)
  auto table = DecodeTable({reinterpret_cast<const char*>(data), size});
  if (!table.ok()) return 0;
  const std::string encoded = EncodeTable(**table);
  auto again = DecodeTable(encoded);
  if (!again.ok() || EncodeTable(**again) != encoded) std::abort();
  return 0;
}
