// Arbitrary bytes are refused or give an index whose answers stay inside it. The checksum is set
// right, or nothing would get past it.
#include <cstdint>
#include <cstdlib>

#include "base/codec.h"
#include "base/crc32c.h"
#include "storage/sst/key_index.h"
#include "testing/fuzz_target.h"

LAMINA_FUZZ_TARGET(key_index_fuzz)(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  lamina::base::PutFixed32(&bytes, lamina::base::Crc32c(bytes));
  const auto index =
      lamina::storage::sst::KeyIndex::Decode(arrow::Buffer::FromString(std::move(bytes)));
  if (!index.ok()) {
    if (lamina::CodeOf(index.status()) != lamina::ErrorCode::kCorruption) std::abort();
    return 0;
  }
  for (uint32_t page = 0; page < index->page_count(); ++page) {
    const auto [first, last] = index->PagesOf(index->first_key(page));
    if (first > page || last <= page || last > index->page_count()) std::abort();
  }
  if (index->PagesBelow("") != 0) std::abort();
  static_cast<void>(index->MayContain(size * 0x9E3779B97F4A7C15ull));
  return 0;
}
