#include "catalog/key_codec.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include <arrow/api.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "catalog/encoding_internal.h"
#include "catalog/test_values_internal.h"
#include "lamina/expr.h"

namespace lamina::catalog {
namespace {

using testing_values::CompareValues;
using testing_values::KeyTypes;
using testing_values::MakeColumn;
using testing_values::Must;
using testing_values::RandomValue;
using Scalars = std::vector<std::shared_ptr<arrow::Scalar>>;

TableSchemaPtr TableOf(const std::vector<std::shared_ptr<arrow::DataType>>& key_types) {
  arrow::FieldVector fields;
  KeyDeclaration key;
  for (size_t i = 0; i < key_types.size(); ++i) {
    fields.push_back(arrow::field(fmt::format("k{}", i), key_types[i]));
    key.positions.push_back(static_cast<int>(i));
  }
  fields.push_back(arrow::field("v", arrow::int32()));
  return Must(MakeTable(TableId{16}, "t", arrow::schema(fields), key));
}

std::shared_ptr<arrow::RecordBatch> BatchOf(const TableSchema& table,
                                            const std::vector<Scalars>& rows) {
  std::vector<std::shared_ptr<arrow::Array>> columns;
  for (size_t c = 0; c < table.key.size(); ++c) {
    Scalars values;
    for (const Scalars& row : rows) values.push_back(row[c]);
    columns.push_back(MakeColumn(table.columns[c].type, values));
  }
  columns.push_back(
      Must(arrow::MakeArrayOfNull(arrow::int32(), static_cast<int64_t>(rows.size()))));
  return arrow::RecordBatch::Make(table.ToArrow(), static_cast<int64_t>(rows.size()), columns);
}

int CompareRows(const Scalars& a, const Scalars& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (const int order = CompareValues(*a[i], *b[i]); order != 0) return order;
  }
  return 0;
}

int Sign(int v) { return v < 0 ? -1 : v > 0 ? 1 : 0; }

// Order, round trip, slices and scalar path for random keys of the given types.
void CheckKeys(const std::vector<std::shared_ptr<arrow::DataType>>& types, int count,
               uint64_t seed) {
  std::string what;
  for (const auto& type : types) what += type->ToString() + " ";
  SCOPED_TRACE(what + fmt::format("seed={}", seed));
  std::mt19937_64 random(seed);
  std::vector<Scalars> rows;
  for (int i = 0; i < count; ++i) {
    Scalars row;
    // Often share leading components, so that later ones decide.
    for (size_t c = 0; c < types.size(); ++c) {
      const bool share = !rows.empty() && c + 1 < types.size() && random() % 2 == 0;
      row.push_back(share ? rows[random() % rows.size()][c] : RandomValue(types[c], &random));
    }
    rows.push_back(std::move(row));
  }
  const auto table = TableOf(types);
  const KeyCodec codec(*table);
  const auto batch = BatchOf(*table, rows);
  const auto keys = Must(codec.Encode(*batch));
  ASSERT_EQ(keys->length(), count);
  ASSERT_TRUE(keys->ValidateFull().ok());
  for (int i = 0; i < count; ++i) {
    for (int j = 0; j < count; ++j) {
      ASSERT_EQ(Sign(keys->GetView(i).compare(keys->GetView(j))),
                CompareRows(rows[static_cast<size_t>(i)], rows[static_cast<size_t>(j)]))
          << i << " " << j;
    }
    ASSERT_EQ(Must(codec.EncodeScalars(rows[static_cast<size_t>(i)])), keys->GetView(i));
  }
  const auto columns = Must(codec.Decode(*keys));
  ASSERT_EQ(columns.size(), types.size());
  for (size_t c = 0; c < types.size(); ++c) {
    ASSERT_TRUE(columns[c]->ValidateFull().ok()) << columns[c]->ValidateFull().ToString();
    ASSERT_TRUE(columns[c]->type()->Equals(*types[c]));
    for (int i = 0; i < count; ++i) {
      const auto value = Must(columns[c]->GetScalar(i));
      ASSERT_EQ(CompareValues(*value, *rows[static_cast<size_t>(i)][c]), 0) << i;
    }
  }
  // A slice encodes to the slice of the encodings; a slice of keys decodes.
  const auto sliced = Must(codec.Encode(*batch->Slice(count / 3, count / 2)));
  ASSERT_TRUE(sliced->Equals(*keys->Slice(count / 3, count / 2)));
  const auto part = std::static_pointer_cast<arrow::BinaryArray>(keys->Slice(count / 3, count / 2));
  ASSERT_TRUE(Must(codec.Decode(*part))[0]->Equals(
      *columns[0]->Slice(count / 3, count / 2), arrow::EqualOptions::Defaults().nans_equal(true)));
  // Prefix ranges hold exactly the rows that share the leading components.
  for (int i = 0; i < count; i += 7) {
    for (size_t n = 1; n <= types.size(); ++n) {
      const Scalars lead(rows[static_cast<size_t>(i)].begin(),
                         rows[static_cast<size_t>(i)].begin() + static_cast<int>(n));
      const KeyRange range = Must(codec.PrefixRange(lead));
      for (int j = 0; j < count; ++j) {
        const Scalars other(rows[static_cast<size_t>(j)].begin(),
                            rows[static_cast<size_t>(j)].begin() + static_cast<int>(n));
        ASSERT_EQ(range.Contains(keys->GetView(j)), CompareRows(lead, other) == 0)
            << i << " " << j << " " << n;
      }
    }
  }
}

TEST(KeyCodecTest, EverySingleTypeKeepsOrderAndRoundTrips) {
  for (const auto& type : KeyTypes()) CheckKeys({type}, 150, 1);
}

TEST(KeyCodecTest, CompositesKeepOrderComponentByComponent) {
  const auto types = KeyTypes();
  std::mt19937_64 random(7);
  for (int round = 0; round < 40; ++round) {
    std::vector<std::shared_ptr<arrow::DataType>> key;
    for (size_t i = 0, n = 2 + random() % 3; i < n; ++i)
      key.push_back(types[random() % types.size()]);
    CheckKeys(key, 60, static_cast<uint64_t>(round));
  }
  CheckKeys({arrow::utf8(), arrow::binary()}, 150, 3);
  CheckKeys({arrow::large_binary(), arrow::large_utf8(), arrow::int64()}, 150, 4);
}

TEST(KeyCodecTest, ManyRowsCrossTheBlockBoundary) {
  const auto table = TableOf({arrow::int64(), arrow::utf8()});
  const KeyCodec codec(*table);
  std::vector<Scalars> rows;
  rows.reserve(3000);
  for (int i = 0; i < 3000; ++i) rows.push_back({Lit(i / 10), Lit(std::to_string(i))});
  const auto keys = Must(codec.Encode(*BatchOf(*table, rows)));
  for (int i = 0; i < 3000; ++i)
    ASSERT_EQ(keys->GetView(i), Must(codec.EncodeScalars(rows[static_cast<size_t>(i)])));
  const auto columns = Must(codec.Decode(*keys));
  EXPECT_EQ(static_cast<const arrow::StringArray&>(*columns[1]).GetView(2999), "2999");
}

TEST(KeyCodecTest, BinaryKeyIsTheCallersBytesAndSharesThem) {
  const auto table = TableOf({arrow::binary()});
  const KeyCodec codec(*table);
  const std::string odd("\0\xFF\0", 3);
  const auto batch =
      BatchOf(*table, {{Must(arrow::MakeScalar(arrow::binary(), arrow::Buffer::FromString(odd)))}});
  const auto keys = Must(codec.Encode(*batch));
  EXPECT_EQ(keys->GetView(0), odd);
  EXPECT_EQ(keys->value_data()->data(),
            static_cast<const arrow::BinaryArray&>(*batch->column(0)).value_data()->data());
}

TEST(KeyCodecTest, ZerosAndNaNsAreOneKeyEach) {
  const auto table = TableOf({arrow::float64()});
  const KeyCodec codec(*table);
  EXPECT_EQ(Must(codec.EncodeScalars({Lit(0.0)})), Must(codec.EncodeScalars({Lit(-0.0)})));
  EXPECT_EQ(Must(codec.EncodeScalars({Lit(std::nan("1"))})),
            Must(codec.EncodeScalars({Lit(-std::nan("2"))})));
  const auto decoded = Must(codec.Decode({Must(codec.EncodeScalars({Lit(-0.0)}))}));
  EXPECT_FALSE(std::signbit(static_cast<const arrow::DoubleArray&>(*decoded[0]).Value(0)));
}

TEST(KeyCodecTest, NullLongAndMissingKeysAreRefusedWithTheirRow) {
  const auto table = TableOf({arrow::int32(), arrow::utf8()});
  const KeyCodec codec(*table);
  auto null = codec.Encode(*BatchOf(*table, {{Must(arrow::MakeScalar(arrow::int32(), 1)), Lit("a")},
                                             {Must(arrow::MakeScalar(arrow::int32(), 1)),
                                              arrow::MakeNullScalar(arrow::utf8())}}));
  ASSERT_FALSE(null.ok());
  EXPECT_EQ(CodeOf(null.status()), ErrorCode::kInvalidArgument);
  EXPECT_NE(null.status().message().find("column=k1 row=1"), std::string::npos)
      << null.status().ToString();

  const std::string longest(kMaxKeyBytes - 4, 'x');
  const auto one = Must(arrow::MakeScalar(arrow::int32(), 1));
  EXPECT_TRUE(codec.Encode(*BatchOf(*table, {{one, Lit(longest)}})).ok());
  auto too_long = codec.Encode(*BatchOf(*table, {{one, Lit("a")}, {one, Lit(longest + "x")}}));
  ASSERT_FALSE(too_long.ok());
  EXPECT_EQ(CodeOf(too_long.status()), ErrorCode::kInvalidArgument);
  EXPECT_NE(too_long.status().message().find("row=1"), std::string::npos);
  EXPECT_FALSE(codec.EncodeScalars({one, Lit(longest + "x")}).ok());
  for (const auto& type : {arrow::utf8(), arrow::large_binary()}) {
    const auto single = TableOf({type});
    const std::string big(kMaxKeyBytes + 1, 'x');
    const auto scalar = Must(arrow::MakeScalar(type, arrow::Buffer::FromString(big)));
    EXPECT_FALSE(KeyCodec(*single).Encode(*BatchOf(*single, {{scalar}})).ok());
  }

  auto missing = codec.Encode(*BatchOf(*TableOf({arrow::int32()}), {{one}}));
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.status().message().find("column=k1"), std::string::npos);
  auto other_type =
      codec.Encode(*BatchOf(*TableOf({arrow::int64(), arrow::utf8()}), {{Lit(1), Lit("a")}}));
  EXPECT_EQ(CodeOf(other_type.status()), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Must(codec.Encode(*BatchOf(*table, {})))->length(), 0);
}

TEST(KeyCodecTest, ScalarsAreCastWhenTheyFit) {
  const auto table = TableOf({arrow::int16(), arrow::utf8()});
  const KeyCodec codec(*table);
  const auto expected =
      Must(codec.EncodeScalars({Must(arrow::MakeScalar(arrow::int16(), 300)), Lit("a")}));
  EXPECT_EQ(Must(codec.EncodeScalars({Lit(300), Lit("a")})), expected);
  EXPECT_EQ(Must(codec.EncodeScalars(
                {Lit("300"),
                 Must(arrow::MakeScalar(arrow::large_utf8(), arrow::Buffer::FromString("a")))})),
            expected);
  EXPECT_EQ(CodeOf(codec.EncodeScalars({Lit(40000), Lit("a")}).status()),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(codec.EncodeScalars({Lit("x"), Lit("a")}).status()),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(codec.EncodeScalars({Lit(1)}).status()), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(codec.EncodeScalars({Lit(1), nullptr}).status()), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(codec.EncodeScalars({Lit(1), arrow::MakeNullScalar(arrow::null())}).status()),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(codec.PrefixRange({}).status()), ErrorCode::kInvalidArgument);
}

TEST(KeyCodecTest, DecodeRefusesBytesThatNoKeyEncodesTo) {
  auto refused = [](const std::vector<std::shared_ptr<arrow::DataType>>& types,
                    std::string_view bytes) {
    const KeyCodec codec(*TableOf(types));
    auto decoded = codec.Decode({bytes});
    return !decoded.ok() && CodeOf(decoded.status()) == ErrorCode::kCorruption;
  };
  using std::string_view_literals::operator""sv;
  EXPECT_TRUE(refused({arrow::int32()}, "abc"sv));
  EXPECT_TRUE(refused({arrow::int32()}, "abcde"sv));
  EXPECT_TRUE(refused({arrow::boolean()}, "\2"sv));
  EXPECT_TRUE(refused({arrow::float32()}, "\x7F\xFF\xFF\xFF"sv));  // -0
  EXPECT_TRUE(refused({arrow::float32()}, "\xFF\xFF\xFF\xFF"sv));  // a NaN with a payload
  EXPECT_TRUE(refused({arrow::float32()}, "\x00\x00\x00\x00"sv));  // a negative NaN
  EXPECT_TRUE(refused({arrow::utf8(), arrow::int8()}, "ab"sv));
  EXPECT_TRUE(refused({arrow::utf8(), arrow::int8()}, "ab\0"sv));
  EXPECT_TRUE(refused({arrow::utf8(), arrow::int8()}, "ab\0\1\0\0x"sv));
  EXPECT_TRUE(refused({arrow::utf8(), arrow::int8()}, "ab\0\0"sv));
  EXPECT_FALSE(refused({arrow::utf8(), arrow::int8()}, "ab\0\0x"sv));
}

TEST(KeyCodecTest, HashIsXxh64OfTheBytes) {
  EXPECT_EQ(HashKey(""), 0xEF46DB3751D8E999ULL);
  EXPECT_EQ(HashKey("a"), 0xD24EC4F1A98C6E5BULL);
}

TEST(KeyRangeTest, PointAndPrefixHoldExactlyTheirKeys) {
  using std::string_view_literals::operator""sv;
  const KeyRange point = KeyRange::Point("ab");
  EXPECT_TRUE(point.Contains("ab"));
  EXPECT_FALSE(point.Contains("ab\0"sv));
  EXPECT_FALSE(point.Contains("aa"));
  const KeyRange prefix = KeyRange::Prefix("a\xFF");
  EXPECT_TRUE(prefix.Contains("a\xFF"));
  EXPECT_TRUE(prefix.Contains("a\xFF\xFF\xFF"));
  EXPECT_FALSE(prefix.Contains("b"));
  EXPECT_FALSE(prefix.Contains("a\xFE\xFF"));
  EXPECT_TRUE(KeyRange::Prefix("\xFF\xFF").unbounded_to);
  EXPECT_FALSE(KeyRange::Prefix("\xFF\xFF").Contains("\xFF\xFE"));
  EXPECT_TRUE(KeyRange::Prefix("").all());
  EXPECT_TRUE(prefix.Overlaps("a", "b"));
  EXPECT_FALSE(prefix.Overlaps("b", "c"));
  EXPECT_FALSE(prefix.Overlaps("a", "a\xFE"));
}

TEST(ValueCodecTest, EveryTypeKeepsOrderAndRoundTrips) {
  std::mt19937_64 random(5);
  for (const auto& type : KeyTypes()) {
    SCOPED_TRACE(type->ToString());
    std::vector<std::pair<std::string, std::shared_ptr<arrow::Scalar>>> values;
    for (int i = 0; i < 60; ++i) {
      auto value = RandomValue(type, &random);
      values.emplace_back(*Must(EncodeValue(*value)), value);
      ASSERT_EQ(CompareValues(*Must(DecodeValue(values.back().first, type)), *value), 0);
    }
    for (const auto& a : values) {
      for (const auto& b : values)
        ASSERT_EQ(Sign(a.first.compare(b.first)), CompareValues(*a.second, *b.second));
    }
  }
  EXPECT_EQ(Must(EncodeValue(*arrow::MakeNullScalar(arrow::int32()))), std::nullopt);
  EXPECT_EQ(CodeOf(DecodeValue("x", arrow::int32()).status()), ErrorCode::kCorruption);
  EXPECT_EQ(CodeOf(DecodeValue("x", arrow::list(arrow::int32())).status()),
            ErrorCode::kInvalidArgument);
  auto empty_list =
      std::make_shared<arrow::ListScalar>(Must(arrow::MakeArrayOfNull(arrow::int32(), 0)));
  EXPECT_EQ(CodeOf(EncodeValue(*empty_list).status()), ErrorCode::kInvalidArgument);
}

TEST(ConstantCastTest, ExactOrRefused) {
  auto cast = [](const ScalarPtr& value,
                 const std::shared_ptr<arrow::DataType>& type) -> std::string {
    auto result = internal::CastConstant(value, type, "c");
    if (!result.ok()) {
      EXPECT_EQ(CodeOf(result.status()), ErrorCode::kInvalidArgument);
      EXPECT_NE(result.status().message().find("column=c"), std::string::npos);
      return "refused";
    }
    EXPECT_TRUE((*result)->type->Equals(*type));
    return (*result)->ToString();
  };
  const auto us = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  const auto ms = arrow::timestamp(arrow::TimeUnit::MILLI);
  const auto ns = arrow::timestamp(arrow::TimeUnit::NANO);
  EXPECT_EQ(cast(Lit(255), arrow::uint8()), "255");
  EXPECT_EQ(cast(Lit(256), arrow::uint8()), "refused");
  EXPECT_EQ(cast(Lit(-1), arrow::uint64()), "refused");
  EXPECT_EQ(cast(Lit(3), arrow::float64()), "3");
  EXPECT_EQ(cast(Lit((int64_t{1} << 53) + 1), arrow::float64()), "refused");
  EXPECT_EQ(cast(Lit(3), arrow::float16()), "3");
  EXPECT_EQ(cast(Lit(100000), arrow::float16()), "refused");
  EXPECT_EQ(cast(Lit(3), arrow::decimal128(5, 2)), "3.00");
  EXPECT_EQ(cast(Lit(1000), arrow::decimal128(5, 2)), "refused");
  EXPECT_EQ(cast(Lit(1), arrow::decimal32(5, 2)), "1.00");
  EXPECT_EQ(cast(Lit(2.5), arrow::decimal64(5, 2)), "2.50");
  EXPECT_EQ(cast(Lit(2.555), arrow::decimal128(5, 2)), "refused");
  EXPECT_EQ(cast(Lit("2.55"), arrow::decimal128(5, 2)), "2.55");
  EXPECT_EQ(cast(Lit(2.5), arrow::int32()), "refused");
  EXPECT_EQ(cast(Lit(2.0), arrow::int32()), "2");
  EXPECT_EQ(cast(Lit(0.5), arrow::float32()), "0.5");
  EXPECT_EQ(cast(Lit(1e300), arrow::float32()), "refused");
  EXPECT_EQ(cast(Lit(0.5), arrow::float16()), "0.5");
  EXPECT_EQ(cast(Lit(1), arrow::boolean()), "true");
  EXPECT_EQ(cast(Lit(2), arrow::boolean()), "refused");
  EXPECT_EQ(cast(Lit("true"), arrow::boolean()), "true");
  EXPECT_EQ(cast(Lit("12"), arrow::int8()), "12");
  EXPECT_EQ(cast(Lit("2020-01-02"), arrow::date32()), "2020-01-02");
  EXPECT_EQ(cast(Lit("2020-01-02"), us), "2020-01-02 00:00:00.000000Z");
  EXPECT_EQ(cast(Lit("2020-01-02T03:04:05.5Z"), ms), "2020-01-02 03:04:05.500");
  EXPECT_EQ(cast(Lit("2020-01-02 03:04:05.123456789"), ns), "2020-01-02 03:04:05.123456789");
  EXPECT_EQ(cast(Lit("2020-01-02 03:04:05.0001"), ms), "refused");
  EXPECT_EQ(cast(Lit("yesterday"), us), "refused");
  EXPECT_EQ(cast(Lit(1000000), us), "1970-01-01 00:00:01.000000Z");
  EXPECT_EQ(cast(std::make_shared<arrow::Date32Scalar>(1), us), "1970-01-02 00:00:00.000000Z");
  EXPECT_EQ(cast(std::make_shared<arrow::TimestampScalar>(86400000, ms), arrow::date32()),
            "1970-01-02");
  EXPECT_EQ(cast(std::make_shared<arrow::TimestampScalar>(86400001, ms), arrow::date32()),
            "refused");
  EXPECT_EQ(cast(std::make_shared<arrow::TimestampScalar>(1, ms), us),
            "1970-01-01 00:00:00.001000Z");
  EXPECT_EQ(cast(std::make_shared<arrow::TimestampScalar>(INT64_MAX, ms), ns), "refused");
  EXPECT_EQ(cast(Lit("abc"), arrow::fixed_size_binary(3)), "abc");
  EXPECT_EQ(cast(Lit("abcd"), arrow::fixed_size_binary(3)), "refused");
  EXPECT_EQ(cast(Lit("abc"), arrow::binary()), "abc");
  EXPECT_EQ(
      cast(std::make_shared<arrow::BinaryScalar>(arrow::Buffer::FromString("\xFF")), arrow::utf8()),
      "refused");
  EXPECT_EQ(cast(arrow::MakeNullScalar(arrow::null()), arrow::int8()), "null");
  EXPECT_EQ(cast(nullptr, arrow::int8()), "refused");
}

// ---- docs/format/keys.md ----

std::shared_ptr<arrow::DataType> TypeNamed(const std::string& name) {
  static const std::map<std::string, std::shared_ptr<arrow::DataType>> types = [] {
    std::map<std::string, std::shared_ptr<arrow::DataType>> out;
    for (const auto& type : KeyTypes()) out[type->ToString()] = type;
    out["utf8"] = arrow::utf8();
    out["float16"] = arrow::float16();
    out["float32"] = arrow::float32();
    out["float64"] = arrow::float64();
    out["date32"] = arrow::date32();
    out["timestamp[us]"] = arrow::timestamp(arrow::TimeUnit::MICRO);
    out["decimal32(5,2)"] = arrow::decimal32(5, 2);
    out["decimal64(15,2)"] = arrow::decimal64(15, 2);
    out["decimal128(30,2)"] = arrow::decimal128(30, 2);
    return out;
  }();
  const auto it = types.find(name);
  return it == types.end() ? nullptr : it->second;
}

// 'a\x00b' -> a 00 b; anything else as is.
std::string Unquote(const std::string& literal) {
  if (literal.size() < 2 || literal.front() != '\'') return literal;
  std::string out;
  for (size_t i = 1; i + 1 < literal.size(); ++i) {
    if (literal[i] == '\\') {
      out += static_cast<char>(std::stoi(literal.substr(i + 2, 2), nullptr, 16));
      i += 3;
    } else {
      out += literal[i];
    }
  }
  return out;
}

TEST(FormatDocTest, KeyExamplesAreWhatTheCodeWrites) {
  std::ifstream file("docs/format/keys.md");
  ASSERT_TRUE(file.is_open()) << "run from the repository's root";
  int examples = 0;
  for (std::string line; std::getline(file, line);) {
    const size_t start = line.find("example: ");
    if (start == std::string::npos) continue;
    SCOPED_TRACE(line);
    const size_t arrow_at = line.find(" =>");
    ASSERT_NE(arrow_at, std::string::npos);
    std::string rest = line.substr(start + 9, arrow_at - start - 9);
    const std::string hex = arrow_at + 4 <= line.size() ? line.substr(arrow_at + 4) : "";
    std::vector<std::shared_ptr<arrow::DataType>> types;
    Scalars values;
    while (!rest.empty()) {
      const size_t comma = rest.find(", ");
      const std::string part = rest.substr(0, comma);
      rest = comma == std::string::npos ? "" : rest.substr(comma + 2);
      const size_t space = part.find(' ');
      types.push_back(TypeNamed(part.substr(0, space)));
      ASSERT_NE(types.back(), nullptr);
      values.push_back(
          Must(internal::CastConstant(Lit(Unquote(part.substr(space + 1))), types.back(), "k")));
    }
    std::string actual;
    for (unsigned char c : Must(KeyCodec(*TableOf(types)).EncodeScalars(values)))
      actual += fmt::format("{:02x}", c);
    EXPECT_EQ(actual, hex);
    ++examples;
  }
  EXPECT_GE(examples, 25);
}

}  // namespace
}  // namespace lamina::catalog
