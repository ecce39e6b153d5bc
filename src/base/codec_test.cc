#include "base/codec.h"

#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"

namespace lamina::base {
namespace {

TEST(CodecTest, VarintsRoundTripAtEveryLength) {
  std::vector<uint64_t> values = {0, 1, 127, 128, 300};
  for (int shift = 0; shift < 64; ++shift) {
    values.push_back(uint64_t{1} << shift);
    values.push_back((uint64_t{1} << shift) - 1);
  }
  values.push_back(~uint64_t{0});
  for (const uint64_t v : values) {
    std::string bytes;
    PutVarint64(&bytes, v);
    EXPECT_EQ(static_cast<size_t>(VarintLength(v)), bytes.size()) << v;
    Decoder decoder(bytes);
    uint64_t read = 0;
    ASSERT_TRUE(decoder.ReadVarint64(&read));
    EXPECT_EQ(v, read);
    EXPECT_TRUE(decoder.done());
    // Every shorter prefix is refused.
    for (size_t n = 0; n < bytes.size(); ++n) {
      Decoder cut(std::string_view(bytes).substr(0, n));
      EXPECT_FALSE(cut.ReadVarint64(&read));
    }
  }
}

TEST(CodecTest, SignedNumbersRoundTrip) {
  for (const int64_t v :
       {int64_t{0}, int64_t{-1}, int64_t{1}, int64_t{-64}, int64_t{64},
        std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()}) {
    EXPECT_EQ(v, ZigzagDecode(ZigzagEncode(v)));
    std::string bytes;
    PutSigned64(&bytes, v);
    int64_t read = 0;
    ASSERT_TRUE(Decoder(bytes).ReadSigned64(&read));
    EXPECT_EQ(v, read);
  }
  EXPECT_EQ(1u, ZigzagEncode(-1));
  EXPECT_EQ(2u, ZigzagEncode(1));
}

TEST(CodecTest, OverlongVarintsAreRefused) {
  uint64_t wide = 0;
  EXPECT_FALSE(Decoder(std::string(9, '\xff') + '\x02').ReadVarint64(&wide));
  EXPECT_FALSE(Decoder(std::string(10, '\xff') + '\x01').ReadVarint64(&wide));
  std::string bytes;
  PutVarint64(&bytes, uint64_t{1} << 32);
  uint32_t narrow = 0;
  EXPECT_FALSE(Decoder(bytes).ReadVarint32(&narrow));
}

TEST(CodecTest, FixedNumbersAreLittleEndian) {
  std::string bytes;
  PutFixed16(&bytes, 0x0102);
  PutFixed32(&bytes, 0x03040506);
  PutFixed64(&bytes, 0x0708090a0b0c0d0eull);
  EXPECT_EQ(std::string("\x02\x01\x06\x05\x04\x03\x0e\x0d\x0c\x0b\x0a\x09\x08\x07", 14), bytes);
  Decoder decoder(bytes);
  uint16_t a = 0;
  uint32_t b = 0;
  uint64_t c = 0;
  EXPECT_TRUE(decoder.ReadFixed16(&a) && decoder.ReadFixed32(&b) && decoder.ReadFixed64(&c));
  EXPECT_EQ(0x0102, a);
  EXPECT_EQ(0x03040506u, b);
  EXPECT_EQ(0x0708090a0b0c0d0eull, c);
  EXPECT_TRUE(decoder.Finish("x").ok());
}

TEST(CodecTest, FirstFailureSticksAndNamesItsOffset) {
  std::string bytes;
  PutFixed32(&bytes, 7);
  PutLengthPrefixed(&bytes, "abc");
  Decoder decoder(std::string_view(bytes).substr(0, bytes.size() - 1));
  uint32_t number = 0;
  std::string_view text = "untouched";
  EXPECT_TRUE(decoder.ReadFixed32(&number));
  EXPECT_FALSE(decoder.ReadLengthPrefixed(&text));
  uint8_t byte = 0;
  EXPECT_FALSE(decoder.ReadByte(&byte));
  EXPECT_EQ("untouched", text);
  const Status status = decoder.status("header");
  EXPECT_EQ(ErrorCode::kCorruption, CodeOf(status));
  EXPECT_EQ("cannot decode header: offset=4 size=7", MessageOf(status));
  EXPECT_EQ(ErrorCode::kCorruption, CodeOf(Decoder("x").Finish("y")));
}

TEST(CodecTest, MessageBytesAreThoseOfProtobuf) {
  // The examples of protobuf.dev/programming-guides/encoding.
  std::string bytes;
  MessageWriter writer(&bytes);
  writer.AddVarint(1, 150);
  EXPECT_EQ("\x08\x96\x01", bytes);
  bytes.clear();
  writer.AddBytes(2, "testing");
  EXPECT_EQ("\x12\x07testing", bytes);
  bytes.clear();
  writer.AddMessageWith(3, [](MessageWriter& sub) { sub.AddVarint(1, 150); });
  EXPECT_EQ("\x1a\x03\x08\x96\x01", bytes);
  bytes.clear();
  writer.AddPackedVarints(6, std::vector<uint64_t>{3, 270, 86942});
  EXPECT_EQ("\x32\x06\x03\x8e\x02\x9e\xa7\x05", bytes);
}

TEST(CodecTest, MessagesRoundTripAndUnknownFieldsAreSkipped) {
  std::string bytes;
  MessageWriter writer(&bytes);
  writer.AddVarint(1, 5);
  writer.AddBytes(99, "unknown");
  writer.AddFixed32(98, 1);
  writer.AddFixed64(97, 1);
  writer.AddSigned(2, -12);
  writer.AddDouble(3, 0.25);
  writer.AddBool(4, true);
  writer.AddBytes(5, std::string("a\0b", 3));
  writer.AddPackedSigned(6, std::vector<int64_t>{-1, 0, 1});
  writer.AddSigned(6, 2);
  writer.AddMessageWith(7, [](MessageWriter& sub) { sub.AddFixed32(1, 77); });
  writer.AddFixed64(8, 1ull << 63);

  uint64_t one = 0, eight = 0;
  int64_t two = 0;
  double three = 0;
  bool four = false;
  std::string five;
  std::vector<int64_t> six;
  uint32_t inner = 0;
  MessageReader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        reader.GetVarint(&one);
        break;
      case 2:
        reader.GetSigned(&two);
        break;
      case 3:
        reader.GetDouble(&three);
        break;
      case 4:
        reader.GetBool(&four);
        break;
      case 5:
        reader.GetString(&five);
        break;
      case 6:
        reader.GetSigneds(&six);
        break;
      case 7: {
        MessageReader sub;
        reader.GetMessage(&sub);
        ASSERT_TRUE(sub.Next());
        sub.GetFixed32(&inner);
        break;
      }
      case 8:
        reader.GetFixed64(&eight);
        break;
    }
  }
  ASSERT_TRUE(reader.status("message").ok());
  EXPECT_EQ(5u, one);
  EXPECT_EQ(-12, two);
  EXPECT_EQ(0.25, three);
  EXPECT_TRUE(four);
  EXPECT_EQ(std::string("a\0b", 3), five);
  EXPECT_EQ((std::vector<int64_t>{-1, 0, 1, 2}), six);
  EXPECT_EQ(77u, inner);
  EXPECT_EQ(1ull << 63, eight);
}

TEST(CodecTest, WrongWireTypeEndsTheWalk) {
  std::string bytes;
  MessageWriter writer(&bytes);
  writer.AddBytes(1, "x");
  writer.AddVarint(2, 1);
  MessageReader reader(bytes);
  ASSERT_TRUE(reader.Next());
  uint64_t v = 9;
  EXPECT_FALSE(reader.GetVarint(&v));
  EXPECT_EQ(9u, v);
  EXPECT_FALSE(reader.Next());
  EXPECT_EQ(ErrorCode::kCorruption, CodeOf(reader.status("ref")));
}

TEST(CodecTest, ArbitraryBytesNeverCrashTheReader) {
  Random random(42);
  for (int i = 0; i < 20'000; ++i) {
    const std::string bytes = random.Bytes(random.Uniform(24));
    MessageReader reader(bytes);
    size_t fields = 0;
    while (reader.Next()) {
      ++fields;
      uint64_t number = 0;
      std::string_view view;
      std::vector<uint64_t> list;
      switch (reader.type()) {
        case WireType::kBytes:
          random.OneIn(2) ? reader.GetBytes(&view) : reader.GetVarints(&list);
          break;
        case WireType::kFixed64:
          reader.GetFixed64(&number);
          break;
        case WireType::kVarint:
          reader.GetVarint(&number);
          break;
        case WireType::kFixed32:
          break;
      }
    }
    EXPECT_LE(fields, bytes.size());
  }
}

}  // namespace
}  // namespace lamina::base
