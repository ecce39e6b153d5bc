// Values for this module's tests: every ordered type with its extremes, and the documented order
// computed without the codec.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <arrow/api.h>
#include <gtest/gtest.h>

namespace lamina::catalog::testing_values {

template <typename T>
T Must(arrow::Result<T> result) {
  EXPECT_TRUE(result.ok()) << result.status().ToString();
  if (!result.ok()) std::abort();
  return std::move(result).ValueUnsafe();
}

/// Every type that may be a key.
inline std::vector<std::shared_ptr<arrow::DataType>> KeyTypes() {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  return {boolean(),
          int8(),
          int16(),
          int32(),
          int64(),
          uint8(),
          uint16(),
          uint32(),
          uint64(),
          float16(),
          float32(),
          float64(),
          decimal32(7, 2),
          decimal64(15, 3),
          decimal128(38, 5),
          decimal256(76, 10),
          date32(),
          date64(),
          time32(TimeUnit::SECOND),
          time32(TimeUnit::MILLI),
          time64(TimeUnit::MICRO),
          time64(TimeUnit::NANO),
          timestamp(TimeUnit::SECOND),
          timestamp(TimeUnit::SECOND, "UTC"),
          timestamp(TimeUnit::MILLI),
          timestamp(TimeUnit::MICRO, "UTC"),
          timestamp(TimeUnit::NANO),
          duration(TimeUnit::SECOND),
          utf8(),
          large_utf8(),
          binary(),
          large_binary(),
          fixed_size_binary(5)};
}

/// One random value; every third is an edge case (extremes, NaNs of several payloads, both zeros,
/// 00 and FF bytes).
inline std::shared_ptr<arrow::Scalar> RandomValue(const std::shared_ptr<arrow::DataType>& type,
                                                  std::mt19937_64* random) {
  using arrow::Type;
  std::mt19937_64& r = *random;
  const uint64_t bits = r();
  const bool edge = r() % 3 == 0;
  auto pick = [&](std::initializer_list<double> values) {
    return values.begin()[r() % values.size()];
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  switch (type->id()) {
    case Type::BOOL:
      return std::make_shared<arrow::BooleanScalar>(bits % 2 == 0);
    case Type::HALF_FLOAT: {
      const uint16_t edges[] = {0x0000, 0x8000, 0x7C00, 0xFC00, 0x7E00, 0xFE01,
                                0x7C01, 0x0001, 0x8001, 0x3C00, 0xBC00};
      const uint16_t half = edge ? edges[r() % std::size(edges)] : static_cast<uint16_t>(bits);
      const auto buffer =
          arrow::Buffer::FromString(std::string(reinterpret_cast<const char*>(&half), 2));
      return Must(
          arrow::MakeArray(arrow::ArrayData::Make(type, 1, {nullptr, buffer}))->GetScalar(0));
    }
    case Type::FLOAT: {
      float v;
      const auto low = static_cast<uint32_t>(bits);
      std::memcpy(&v, &low, sizeof(v));
      if (edge)
        v = static_cast<float>(
            pick({0.0, -0.0, inf, -inf, nan, -nan, 1, -1, 1.5, 1e-45, -1e-45, 3.4e38, -3.4e38}));
      return std::make_shared<arrow::FloatScalar>(v);
    }
    case Type::DOUBLE: {
      double v;
      std::memcpy(&v, &bits, sizeof(v));
      if (edge)
        v = pick({0.0, -0.0, inf, -inf, nan, -nan, 1, -1, 1.5, 5e-324, -5e-324, 1.7e308, -1.7e308});
      return std::make_shared<arrow::DoubleScalar>(v);
    }
    case Type::STRING:
    case Type::LARGE_STRING:
    case Type::BINARY:
    case Type::LARGE_BINARY: {
      const std::string alphabet = arrow::is_string(type->id()) ? std::string(
                                                                      "\0\x01"
                                                                      "ab",
                                                                      4)
                                                                : std::string(
                                                                      "\0\x01\xFE\xFF"
                                                                      "a",
                                                                      5);
      std::string text;
      const size_t size = edge ? r() % 3 : r() % 12;
      for (size_t i = 0; i < size; ++i) text += alphabet[r() % alphabet.size()];
      return Must(arrow::MakeScalar(type, arrow::Buffer::FromString(text)));
    }
    case Type::FIXED_SIZE_BINARY: {
      std::string text(
          static_cast<size_t>(static_cast<const arrow::FixedSizeBinaryType&>(*type).byte_width()),
          '\0');
      for (char& c : text) c = edge ? (r() % 2 == 0 ? '\0' : '\xFF') : static_cast<char>(r());
      return std::make_shared<arrow::FixedSizeBinaryScalar>(arrow::Buffer::FromString(text), type);
    }
    case Type::DECIMAL32:
    case Type::DECIMAL64:
    case Type::DECIMAL128:
    case Type::DECIMAL256: {
      const auto& decimal = static_cast<const arrow::DecimalType&>(*type);
      std::string digits;
      const int count = edge ? (r() % 2 == 0 ? 1 : decimal.precision())
                             : 1 + static_cast<int>(r() % decimal.precision());
      for (int i = 0; i < count; ++i)
        digits += edge ? (count == 1 ? '0' : '9') : static_cast<char>('0' + r() % 10);
      arrow::Decimal256 value(digits);
      if (r() % 2 == 0) value = -value;
      const auto bytes = value.ToBytes();
      std::string low(reinterpret_cast<const char*>(bytes.data()),
                      static_cast<size_t>(decimal.byte_width()));
      return Must(arrow::MakeArray(
                      arrow::ArrayData::Make(type, 1, {nullptr, arrow::Buffer::FromString(low)}))
                      ->GetScalar(0));
    }
    case Type::DATE64: {  // whole days, in milliseconds
      constexpr int64_t kDay = 86'400'000;
      const int64_t edges[] = {0, kDay, -kDay, std::numeric_limits<int64_t>::max() / kDay * kDay,
                               std::numeric_limits<int64_t>::min() / kDay * kDay};
      const int64_t v = edge ? edges[r() % 5] : static_cast<int64_t>(bits) / kDay * kDay;
      return std::make_shared<arrow::Date64Scalar>(v);
    }
    case Type::TIME32:
    case Type::TIME64: {  // a time of day has a range
      const int64_t per_second[] = {1, 1000, 1000000, 1000000000};
      const int64_t day = 86400 * per_second[static_cast<const arrow::TimeType&>(*type).unit()];
      const int64_t edges[] = {0, 1, day - 1, day / 2};
      const int64_t v =
          edge ? edges[r() % 4] : static_cast<int64_t>(bits % static_cast<uint64_t>(day));
      if (type->id() == Type::TIME32) {
        return std::make_shared<arrow::Time32Scalar>(static_cast<int32_t>(v), type);
      }
      return std::make_shared<arrow::Time64Scalar>(v, type);
    }
    default: {
      const int width = type->byte_width();
      std::string raw(static_cast<size_t>(width), '\0');
      std::memcpy(raw.data(), &bits, raw.size());
      if (edge) {
        const int kind = static_cast<int>(r() % 5);
        std::fill(raw.begin(), raw.end(), kind == 0 || kind == 3 ? '\xFF' : '\0');
        if (kind == 2) raw.back() = '\x80';  // smallest signed
        if (kind == 3) raw.back() = '\x7F';  // largest signed
        if (kind == 4) raw.front() = '\x01';
      }
      return Must(arrow::MakeArray(
                      arrow::ArrayData::Make(type, 1, {nullptr, arrow::Buffer::FromString(raw)}))
                      ->GetScalar(0));
    }
  }
}

inline double HalfToDouble(uint16_t bits) {
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  const int exponent = (bits >> 10) & 0x1F;
  const int fraction = bits & 0x3FF;
  if (exponent == 31) {
    return fraction != 0 ? std::numeric_limits<double>::quiet_NaN() : sign * INFINITY;
  }
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(fraction + 1024, exponent - 25);
}

/// -1, 0, 1: the documented order of two valid values of one type.
inline int CompareValues(const arrow::Scalar& a, const arrow::Scalar& b) {
  using arrow::Type;
  auto three = [](const auto& x, const auto& y) { return x < y ? -1 : y < x ? 1 : 0; };
  auto floats = [&](double x, double y) {
    if (std::isnan(x) || std::isnan(y)) return three(std::isnan(x), std::isnan(y));
    return three(x, y);
  };
  auto raw = [](const arrow::Scalar& s) {
    return static_cast<const arrow::internal::PrimitiveScalarBase&>(s).view();
  };
  auto load = [&](const arrow::Scalar& s, auto zero) {
    decltype(zero) v;
    std::memcpy(&v, raw(s).data(), sizeof(v));
    return v;
  };
  switch (a.type->id()) {
    case Type::HALF_FLOAT:
      return floats(HalfToDouble(load(a, uint16_t{})), HalfToDouble(load(b, uint16_t{})));
    case Type::FLOAT:
      return floats(load(a, float{}), load(b, float{}));
    case Type::DOUBLE:
      return floats(load(a, double{}), load(b, double{}));
    case Type::STRING:
    case Type::LARGE_STRING:
    case Type::BINARY:
    case Type::LARGE_BINARY:
    case Type::FIXED_SIZE_BINARY: {
      const int order = std::string(static_cast<const arrow::BaseBinaryScalar&>(a).view())
                            .compare(static_cast<const arrow::BaseBinaryScalar&>(b).view());
      return three(order, 0);
    }
    case Type::DECIMAL128:
      return three(static_cast<const arrow::Decimal128Scalar&>(a).value,
                   static_cast<const arrow::Decimal128Scalar&>(b).value);
    case Type::DECIMAL256:
      return three(static_cast<const arrow::Decimal256Scalar&>(a).value,
                   static_cast<const arrow::Decimal256Scalar&>(b).value);
    case Type::BOOL:
      return three(static_cast<const arrow::BooleanScalar&>(a).value,
                   static_cast<const arrow::BooleanScalar&>(b).value);
    case Type::UINT8:
      return three(load(a, uint8_t{}), load(b, uint8_t{}));
    case Type::UINT16:
      return three(load(a, uint16_t{}), load(b, uint16_t{}));
    case Type::UINT32:
      return three(load(a, uint32_t{}), load(b, uint32_t{}));
    case Type::UINT64:
      return three(load(a, uint64_t{}), load(b, uint64_t{}));
    default:
      switch (raw(a).size()) {
        case 1:
          return three(load(a, int8_t{}), load(b, int8_t{}));
        case 2:
          return three(load(a, int16_t{}), load(b, int16_t{}));
        case 4:
          return three(load(a, int32_t{}), load(b, int32_t{}));
        default:
          return three(load(a, int64_t{}), load(b, int64_t{}));
      }
  }
}

/// An array of the scalars (nulls allowed), NaN payloads and signs of zero kept.
inline std::shared_ptr<arrow::Array> MakeColumn(
    const std::shared_ptr<arrow::DataType>& type,
    const std::vector<std::shared_ptr<arrow::Scalar>>& values) {
  auto builder = Must(arrow::MakeBuilder(type));
  for (const auto& value : values) {
    if (!builder->AppendScalar(*value).ok()) std::abort();
  }
  return Must(builder->Finish());
}

}  // namespace lamina::catalog::testing_values
