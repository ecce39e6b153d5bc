// Arbitrary bytes are refused or give ended rows that encode and decode to themselves. The checksum
// is set right.
#include <cstdint>
#include <cstdlib>

#include "base/codec.h"
#include "base/crc32c.h"
#include "storage/sst/deletion_vector.h"
#include "testing/fuzz_target.h"

LAMINA_FUZZ_TARGET(deletion_vector_fuzz)(const uint8_t* data, size_t size) {
  using lamina::storage::sst::DeletionVector;
  std::string bytes(reinterpret_cast<const char*>(data), size);
  lamina::base::PutFixed32(&bytes, lamina::base::Crc32c(bytes));
  // The number of rows stands in the header and must be the data file's: take it from there, within
  // reason.
  const uint64_t rows = size >= 16 ? lamina::base::LoadFixed64(bytes.data() + 8) & 0xfffff : 100;
  const auto vector = DeletionVector::Decode(bytes, rows);
  if (!vector.ok()) {
    if (lamina::CodeOf(vector.status()) != lamina::ErrorCode::kCorruption) std::abort();
    return 0;
  }
  const auto again = DeletionVector::Decode((*vector)->Encode(), rows);
  if (!again.ok() || (*again)->rows() != (*vector)->rows()) std::abort();
  return 0;
}
