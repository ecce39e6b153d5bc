#include "base/crc32c.h"

#include <string>

#include <gtest/gtest.h>

#include "base/random.h"

namespace lamina::base {
namespace {

TEST(Crc32cTest, KnownVectors) {
  EXPECT_EQ(0u, Crc32c(""));
  EXPECT_EQ(0xE3069283u, Crc32c("123456789"));
  // RFC 3720, appendix B.4.
  EXPECT_EQ(0x8A9136AAu, Crc32c(std::string(32, '\0')));
  EXPECT_EQ(0x62A8AB43u, Crc32c(std::string(32, '\xff')));
  EXPECT_EQ(0xE3069283u, TestingCrc32cPortable("123456789"));
}

TEST(Crc32cTest, HardwareAndPortableAgreeAtEveryLengthAndSplit) {
  Random random(5);
  const std::string bytes = random.Bytes(10'000);
  const std::string_view view = bytes;
  for (size_t size = 0; size < 9'990; size += size < 64 ? 1 : 331) {
    const std::string_view piece = view.substr(size % 8, size);
    const uint32_t whole = Crc32c(piece);
    ASSERT_EQ(TestingCrc32cPortable(piece), whole) << size;
    const size_t cut = random.Uniform(size + 1);
    ASSERT_EQ(whole, Crc32cExtend(Crc32c(piece.substr(0, cut)), piece.substr(cut)))
        << size << " " << cut;
  }
}

}  // namespace
}  // namespace lamina::base
