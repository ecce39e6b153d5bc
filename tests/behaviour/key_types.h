// Every orderable type that a key may have, with values at its limits, in key order.
#pragma once

#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <arrow/api.h>
#include <fmt/format.h>

#include "test_database.h"

namespace lamina::behaviour {

struct KeyType {
  std::string name;
  std::shared_ptr<arrow::Array> ascending;  // not null, strictly ascending in key order
};

template <typename T>
inline std::shared_ptr<arrow::Array> Range(std::vector<typename T::c_type> values,
                                           std::shared_ptr<arrow::DataType> type) {
  typename arrow::TypeTraits<T>::BuilderType builder(type, arrow::default_memory_pool());
  Must(builder.AppendValues(values));
  return Must(builder.Finish());
}
template <typename T>
inline KeyType Integers(const std::string& name) {
  using C = typename T::c_type;
  std::vector<C> values = {std::numeric_limits<C>::min(), 1, 2, 100, std::numeric_limits<C>::max()};
  if (std::is_signed_v<C>)
    values.insert(values.begin() + 1, {static_cast<C>(-1), static_cast<C>(0)});
  return {name, Range<T>(values, std::make_shared<T>())};
}
template <typename T>
inline KeyType Floats(const std::string& name) {
  using C = typename T::c_type;
  const C inf = std::numeric_limits<C>::infinity();
  return {name, Range<T>({-inf, std::numeric_limits<C>::lowest(), -1,
                          -std::numeric_limits<C>::denorm_min(), 0, std::numeric_limits<C>::min(),
                          1, inf, std::numeric_limits<C>::quiet_NaN()},
                         std::make_shared<T>())};
}
template <typename Value, typename Builder>
KeyType Decimals(const std::string& name, const std::shared_ptr<arrow::DataType>& type,
                 const std::vector<std::string>& values) {
  Builder builder(type, arrow::default_memory_pool());
  for (const std::string& v : values) Must(builder.Append(Must(Value::FromString(v))));
  return {name, Must(builder.Finish())};
}
template <typename Builder>
inline std::shared_ptr<arrow::Array> Bytes(const std::vector<std::string>& values) {
  return ArrayOf<Builder>(values);
}

inline std::vector<KeyType> KeyTypes() {
  const auto us = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  std::vector<KeyType> types = {
      Integers<arrow::Int8Type>("int8"),     Integers<arrow::Int16Type>("int16"),
      Integers<arrow::Int32Type>("int32"),   Integers<arrow::Int64Type>("int64"),
      Integers<arrow::UInt8Type>("uint8"),   Integers<arrow::UInt16Type>("uint16"),
      Integers<arrow::UInt32Type>("uint32"), Integers<arrow::UInt64Type>("uint64"),
      Floats<arrow::FloatType>("float"),     Floats<arrow::DoubleType>("double"),
  };
  // float16: -inf, -1, the smallest below and above zero, 0, 1, 65504, inf, NaN as bits.
  types.push_back({"float16", Range<arrow::HalfFloatType>({0xFC00, 0xBC00, 0x8001, 0x0000, 0x0001,
                                                           0x3C00, 0x7BFF, 0x7C00, 0x7E00},
                                                          arrow::float16())});
  types.push_back({"bool", Booleans({false, true})});
  constexpr int32_t kMin32 = std::numeric_limits<int32_t>::min();
  constexpr int32_t kMax32 = std::numeric_limits<int32_t>::max();
  constexpr int64_t kMin64 = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMax64 = std::numeric_limits<int64_t>::max();
  types.push_back(
      {"date32", Range<arrow::Date32Type>({kMin32, -5, 0, 19000, kMax32}, arrow::date32())});
  constexpr int64_t kDay = 86'400'000;
  types.push_back({"date64", Range<arrow::Date64Type>({kMin64 / kDay * kDay, -kDay, 0, 19000 * kDay,
                                                       kMax64 / kDay * kDay},
                                                      arrow::date64())});
  types.push_back({"time32_s", Range<arrow::Time32Type>({0, 5, 86'399},
                                                        arrow::time32(arrow::TimeUnit::SECOND))});
  types.push_back({"time32", Range<arrow::Time32Type>({0, 5, 86'399'999},
                                                      arrow::time32(arrow::TimeUnit::MILLI))});
  types.push_back({"time64_us", Range<arrow::Time64Type>({0, 5, 86'399'999'999},
                                                         arrow::time64(arrow::TimeUnit::MICRO))});
  types.push_back({"time64_ns", Range<arrow::Time64Type>({0, 5, 86'399'999'999'999},
                                                         arrow::time64(arrow::TimeUnit::NANO))});
  for (const auto& [unit, name] :
       {std::pair(arrow::TimeUnit::SECOND, "s"), std::pair(arrow::TimeUnit::MILLI, "ms"),
        std::pair(arrow::TimeUnit::MICRO, "us"), std::pair(arrow::TimeUnit::NANO, "ns")}) {
    const std::vector<int64_t> ticks = {kMin64,     kMin64 + 1, -1, 0, 1'700'000'000'000,
                                        kMax64 - 1, kMax64};
    for (const auto& [zone, suffix] :
         {std::pair("", "plain"), std::pair("UTC", "utc"), std::pair("Asia/Kolkata", "kolkata")}) {
      types.push_back({fmt::format("timestamp_{}_{}", name, suffix),
                       Range<arrow::TimestampType>(ticks, arrow::timestamp(unit, zone))});
    }
    types.push_back({fmt::format("duration_{}", name),
                     Range<arrow::DurationType>(ticks, arrow::duration(unit))});
  }
  const std::vector<std::string> bytes = {"",
                                          std::string("\0", 1),
                                          std::string("\0\1", 2),
                                          "a",
                                          std::string("a\0", 2),
                                          "ab",
                                          "b",
                                          "\xC3\xA9"};
  types.push_back({"utf8", Bytes<arrow::StringBuilder>(bytes)});
  types.push_back({"large_utf8", Bytes<arrow::LargeStringBuilder>(bytes)});
  auto raw = bytes;
  raw.push_back("\xFF");
  raw.push_back("\xFF\xFF");
  types.push_back({"binary", Bytes<arrow::BinaryBuilder>(raw)});
  types.push_back({"large_binary", Bytes<arrow::LargeBinaryBuilder>(raw)});
  const auto fixed = [&types](int32_t width, const std::vector<std::string>& values) {
    arrow::FixedSizeBinaryBuilder builder(arrow::fixed_size_binary(width));
    for (const std::string& v : values) Must(builder.Append(v));
    types.push_back({fmt::format("fixed_size_binary_{}", width), Must(builder.Finish())});
  };
  fixed(1, {std::string("\0", 1), "a", "\x80", "\xFF"});
  fixed(3, {std::string("\0\0\0", 3), std::string("\0\0\1", 3), "abc", "\xFFzz", "\xFF\xFF\xFF"});
  const std::string nines(38, '9'), many_nines(66, '9');
  const std::string fraction = "0." + std::string(9, '0') + "1";
  types.push_back(Decimals<arrow::Decimal32, arrow::Decimal32Builder>(
      "decimal32", arrow::decimal32(9, 2), {"-9999999.99", "-0.01", "0.00", "9999999.99"}));
  types.push_back(Decimals<arrow::Decimal64, arrow::Decimal64Builder>(
      "decimal64", arrow::decimal64(18, 0),
      {"-999999999999999999", "-1", "0", "999999999999999999"}));
  types.push_back(Decimals<arrow::Decimal128, arrow::Decimal128Builder>(
      "decimal128_small", arrow::decimal128(10, 2),
      {"-999.99", "-0.01", "0.00", "0.01", "1234.56"}));
  types.push_back(Decimals<arrow::Decimal128, arrow::Decimal128Builder>(
      "decimal128", arrow::decimal128(38, 0),
      {"-" + nines, "-18446744073709551616", "-1", "0", "1", "18446744073709551616", nines}));
  types.push_back(Decimals<arrow::Decimal256, arrow::Decimal256Builder>(
      "decimal256", arrow::decimal256(76, 10),
      {"-" + many_nines + ".9999999999", "-" + fraction, "0.0000000000", fraction,
       many_nines + ".9999999999"}));
  return types;
}

}  // namespace lamina::behaviour
