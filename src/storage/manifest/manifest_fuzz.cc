// Any bytes as a version, an edit and a ref: decoding returns; what it accepts can be verified,
// applied and encoded again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "storage/manifest/format_internal.h"
#include "testing/fuzz_target.h"

using namespace lamina;                     // NOLINT(google-build-using-namespace)
using namespace lamina::storage::manifest;  // NOLINT(google-build-using-namespace)

LAMINA_FUZZ_TARGET(manifest_fuzz)(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto version = DecodeVersion(bytes);
  if (version.ok()) {
    (void)(*version)->Verify();  // either answer is right
    LAMINA_CHECK(DecodeVersion(EncodeVersion(**version)).ok());
  }
  const auto edit = DecodeEdit(bytes);
  if (edit.ok()) {
    LAMINA_CHECK(DecodeEdit(EncodeEdit(*edit)).ok());
    // An edit that fits a sound version leads to a sound version, but for file ids that another
    // table has (M4).
    Version empty;
    empty.database_id.bytes[0] = 1;
    empty.number = 1;
    empty.catalog = catalog::MakeCatalog();
    empty.recent.resize(1);
    empty.recent[0].number = 1;
    LAMINA_CHECK(empty.Verify().ok());
    const auto next = Apply(empty, *edit);
    if (next.ok()) {
      const Status sound = (*next)->Verify();
      LAMINA_CHECK_MSG(sound.ok() || sound.message().find("M4") != std::string::npos,
                       sound.ToString());
    }
  }
  (void)DecodeRef("refs/main", bytes);
  (void)DecodeRef("refs/main", EncodeFramed(kRefMagic, bytes));
  return 0;
}
