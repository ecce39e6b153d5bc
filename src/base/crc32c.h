// CRC-32C (Castagnoli), the checksum of every frame and file of ours.
#pragma once

#include <cstdint>
#include <string_view>

namespace lamina::base {

/// CRC-32C of `data` as in iSCSI (RFC 3720): "123456789" gives 0xE3069283. `seed` is the CRC of the
/// bytes before, so Crc32c(b, Crc32c(a)) == Crc32c(a + b). Uses SSE4.2 where the processor has it.
uint32_t Crc32c(std::string_view data, uint32_t seed = 0);

/// The CRC of the bytes behind `crc` followed by `data`.
inline uint32_t Crc32cExtend(uint32_t crc, std::string_view data) { return Crc32c(data, crc); }

/// The table-driven form whatever the processor, for tests.
uint32_t TestingCrc32cPortable(std::string_view data, uint32_t seed = 0);

}  // namespace lamina::base
