#include "catalog/index_codec.h"

#include <algorithm>
#include <fstream>

#include <arrow/api.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

namespace lamina::catalog {
namespace {

using Scalars = std::vector<std::shared_ptr<arrow::Scalar>>;

std::shared_ptr<arrow::Array> Ints(const std::vector<std::optional<int32_t>>& values) {
  arrow::Int32Builder builder;
  for (const auto& value : values) EXPECT_TRUE(builder.AppendOrNull(value).ok());
  return builder.Finish().ValueOrDie();
}
std::shared_ptr<arrow::Array> Texts(const std::vector<std::optional<std::string>>& values) {
  arrow::StringBuilder builder;
  for (const auto& value : values)
    EXPECT_TRUE((value ? builder.Append(*value) : builder.AppendNull()).ok());
  return builder.Finish().ValueOrDie();
}
std::shared_ptr<arrow::Scalar> Int(int32_t value) {
  return std::make_shared<arrow::Int32Scalar>(value);
}

TEST(IndexCodecTest, EntriesOrderAsTheirColumnsWithNullFirst) {
  const IndexCodec codec({arrow::utf8(), arrow::int32()});
  // In order.
  const auto texts =
      Texts({{}, {}, "", "", std::string("\0", 1), "a", "a", std::string("a\0", 2), "ab", "b"});
  const auto ints = Ints({{}, -7, {}, 3, 0, -1, 2, 1, 0, {}});
  const auto entries = codec.Components({texts, ints}).ValueOrDie();
  EXPECT_TRUE(std::is_sorted(entries.begin(), entries.end()));
  EXPECT_EQ(std::adjacent_find(entries.begin(), entries.end()), entries.end());
  for (size_t i = 0; i < entries.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    const Scalars values = {texts->GetScalar(at).ValueOrDie(), ints->GetScalar(at).ValueOrDie()};
    EXPECT_EQ(codec.Prefix(values).ValueOrDie(), entries[i]);
  }
}

TEST(IndexCodecTest, ColumnsWithAndWithoutNullsAreEncodedTheSame) {
  const IndexCodec codec({arrow::int32()});
  const auto with = codec.Components({Ints({5, {}, -5})}).ValueOrDie();
  const auto without = codec.Components({Ints({5, -5})}).ValueOrDie();
  EXPECT_EQ(with[0], without[0]);
  EXPECT_EQ(with[2], without[1]);
}

TEST(IndexCodecTest, ARangeHoldsTheEntriesBetweenItsBoundsWhateverTheRowsKeyIs) {
  const IndexCodec codec({arrow::utf8(), arrow::int32()});
  const std::string prefix =
      codec.Prefix({std::make_shared<arrow::StringScalar>("a")}).ValueOrDie();
  const auto texts = Texts({"", "a", "a", "a", "a", "a", "b"});
  const auto ints = Ints({2, {}, 1, 2, 3, 4, 2});
  const auto entries = codec.Components({texts, ints}).ValueOrDie();
  const auto inside = [&](const std::optional<IndexBound>& from,
                          const std::optional<IndexBound>& to) {
    const KeyRange range = codec.Between(prefix, 1, from, to).ValueOrDie();
    std::string out;
    for (size_t i = 0; i < entries.size(); ++i) {
      const bool in = range.Contains(entries[i]);
      for (const std::string& row :
           {std::string("\0\0", 2), std::string("\xFF\xFF"), std::string("\x01", 1)})
        EXPECT_EQ(range.Contains(entries[i] + row), in) << i;
      if (in) out += std::to_string(i);
    }
    return out;
  };
  EXPECT_EQ(inside({}, {}), "2345");
  EXPECT_EQ(inside(IndexBound{Int(2), true}, {}), "345");
  EXPECT_EQ(inside(IndexBound{Int(2), false}, {}), "45");
  EXPECT_EQ(inside({}, IndexBound{Int(3), true}), "234");
  EXPECT_EQ(inside({}, IndexBound{Int(3), false}), "23");
  EXPECT_EQ(inside(IndexBound{Int(2), true}, IndexBound{Int(3), true}), "34");
  EXPECT_EQ(inside(IndexBound{Int(3), false}, IndexBound{Int(3), false}), "");
  EXPECT_EQ(inside(IndexBound{Int(4), true}, IndexBound{Int(1), true}), "");
}

TEST(IndexCodecTest, EqualHoldsWhatBeginsWithTheColumns) {
  const IndexCodec codec({arrow::int32(), arrow::int32()});
  const auto entries = codec.Components({Ints({1, 2, 2, 3}), Ints({9, {}, 9, 9})}).ValueOrDie();
  const KeyRange two = IndexCodec::Equal(codec.Prefix({Int(2)}).ValueOrDie());
  EXPECT_FALSE(two.Contains(entries[0]));
  EXPECT_TRUE(two.Contains(entries[1]));
  EXPECT_TRUE(two.Contains(entries[2] + "\xFF"));
  EXPECT_FALSE(two.Contains(entries[3]));
}

TEST(IndexCodecTest, AnEntryGivesItsValuesBack) {
  const IndexCodec codec({arrow::utf8(), arrow::int32()});
  const auto texts = Texts({"", std::string("a\0b", 3), "zebra"});
  const auto ints = Ints({-7, 0, 3});
  const auto entries = codec.Components({texts, ints}).ValueOrDie();
  for (size_t i = 0; i < entries.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    const auto values = codec.Values(entries[i]).ValueOrDie();
    ASSERT_EQ(values.size(), 2U);
    EXPECT_TRUE(values[0]->Equals(*texts->GetScalar(at).ValueOrDie()));
    EXPECT_TRUE(values[1]->Equals(*ints->GetScalar(at).ValueOrDie()));
  }
  EXPECT_EQ(CodeOf(codec.Values("nonsense").status()), ErrorCode::kCorruption);
}

TEST(IndexCodecTest, AValueOfAnotherTypeIsRefused) {
  const IndexCodec codec({arrow::int32()});
  EXPECT_EQ(CodeOf(codec.Prefix({std::make_shared<arrow::Int64Scalar>(1)}).status()),
            ErrorCode::kInternal);
}

// docs/format/keys.md

TEST(IndexCodecTest, TheExamplesOfTheFormatAreWhatTheCodeWrites) {
  std::ifstream file("docs/format/keys.md");
  ASSERT_TRUE(file.is_open()) << "run from the repository's root";
  int examples = 0;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("    entry: ")) continue;
    SCOPED_TRACE(line);
    const size_t arrow_at = line.find(" =>");
    ASSERT_NE(arrow_at, std::string::npos);
    std::string rest = line.substr(11, arrow_at - 11);
    std::vector<std::shared_ptr<arrow::DataType>> types;
    Scalars values;
    while (!rest.empty()) {
      const size_t comma = rest.find(", ");
      const std::string part = rest.substr(0, comma);
      rest = comma == std::string::npos ? "" : rest.substr(comma + 2);
      const size_t space = part.find(' ');
      const std::string value = part.substr(space + 1);
      types.push_back(part.substr(0, space) == "utf8" ? arrow::utf8() : arrow::int32());
      if (value == "NULL") {
        values.push_back(arrow::MakeNullScalar(types.back()));
      } else if (types.back()->id() == arrow::Type::INT32) {
        values.push_back(Int(std::stoi(value)));
      } else {
        std::string text = value.substr(1, value.size() - 2);
        for (size_t at; (at = text.find("\\x00")) != std::string::npos;)
          text.replace(at, 4, std::string(1, '\0'));
        values.push_back(std::make_shared<arrow::StringScalar>(text));
      }
    }
    std::string actual;
    const IndexCodec codec(types);
    for (const unsigned char c : codec.Prefix(values).ValueOrDie())
      actual += fmt::format("{:02x}", c);
    EXPECT_EQ(actual, line.substr(arrow_at + 4));
    ++examples;
  }
  EXPECT_GE(examples, 5);
}

}  // namespace
}  // namespace lamina::catalog
