// Casts of constants to a column's type: exact or refused. Arrow's safe casts do most of it;
// written out are the common integer case (no call of the function registry on a point read), units
// of time, text with a zone, and binary lengths.
#include <cmath>
#include <limits>
#include <type_traits>

#include <arrow/compute/cast.h>
#include <arrow/scalar.h>
#include <fmt/format.h>

#include "catalog/compute.h"
#include "catalog/encoding_internal.h"
#include "lamina/time.h"

namespace lamina::catalog::internal {
namespace {

using arrow::Type;
using ScalarResult = Result<std::shared_ptr<arrow::Scalar>>;
__extension__ typedef __int128 Wide;  // holds every integer type and products of time units

Status DoesNotFit(const arrow::Scalar& value, const arrow::DataType& type,
                  std::string_view column) {
  std::string text = value.ToString();
  if (text.size() > 80) text.replace(77, std::string::npos, "...");
  return MakeError(
      ErrorCode::kInvalidArgument,
      fmt::format(
          "a constant does not fit the column: column={} type={} constant={} constant_type={}",
          column, type.ToString(), text, value.type->ToString()));
}

std::optional<Wide> IntegerOf(const arrow::Scalar& value) {
  switch (value.type->id()) {
    case Type::INT8:
      return static_cast<const arrow::Int8Scalar&>(value).value;
    case Type::INT16:
      return static_cast<const arrow::Int16Scalar&>(value).value;
    case Type::INT32:
      return static_cast<const arrow::Int32Scalar&>(value).value;
    case Type::INT64:
      return static_cast<const arrow::Int64Scalar&>(value).value;
    case Type::UINT8:
      return static_cast<const arrow::UInt8Scalar&>(value).value;
    case Type::UINT16:
      return static_cast<const arrow::UInt16Scalar&>(value).value;
    case Type::UINT32:
      return static_cast<const arrow::UInt32Scalar&>(value).value;
    case Type::UINT64:
      return static_cast<const arrow::UInt64Scalar&>(value).value;
    default:
      return std::nullopt;
  }
}

// A scalar of any type stored as an integer (integers, dates, times, timestamps, durations); null
// if out of range or not such a type.
std::shared_ptr<arrow::Scalar> FromInteger(Wide v, const std::shared_ptr<arrow::DataType>& type) {
  auto make = [&]<typename T>(std::type_identity<T>) -> std::shared_ptr<arrow::Scalar> {
    using C = typename T::c_type;
    if (v < static_cast<Wide>(std::numeric_limits<C>::min()) ||
        v > static_cast<Wide>(std::numeric_limits<C>::max())) {
      return nullptr;
    }
    return std::make_shared<typename arrow::TypeTraits<T>::ScalarType>(static_cast<C>(v), type);
  };
  switch (type->id()) {
    case Type::INT8:
      return make(std::type_identity<arrow::Int8Type>{});
    case Type::INT16:
      return make(std::type_identity<arrow::Int16Type>{});
    case Type::INT32:
      return make(std::type_identity<arrow::Int32Type>{});
    case Type::INT64:
      return make(std::type_identity<arrow::Int64Type>{});
    case Type::UINT8:
      return make(std::type_identity<arrow::UInt8Type>{});
    case Type::UINT16:
      return make(std::type_identity<arrow::UInt16Type>{});
    case Type::UINT32:
      return make(std::type_identity<arrow::UInt32Type>{});
    case Type::UINT64:
      return make(std::type_identity<arrow::UInt64Type>{});
    case Type::DATE32:
      return make(std::type_identity<arrow::Date32Type>{});
    case Type::DATE64:
      return make(std::type_identity<arrow::Date64Type>{});
    case Type::TIME32:
      return make(std::type_identity<arrow::Time32Type>{});
    case Type::TIME64:
      return make(std::type_identity<arrow::Time64Type>{});
    case Type::TIMESTAMP:
      return make(std::type_identity<arrow::TimestampType>{});
    case Type::DURATION:
      return make(std::type_identity<arrow::DurationType>{});
    default:
      return nullptr;
  }
}

Wide UnitsPerSecond(arrow::TimeUnit::type unit) {
  switch (unit) {
    case arrow::TimeUnit::SECOND:
      return 1;
    case arrow::TimeUnit::MILLI:
      return 1000;
    case arrow::TimeUnit::MICRO:
      return 1000000;
    case arrow::TimeUnit::NANO:
      return 1000000000;
  }
  return 1;
}

// A moment as a count of 1 / `per_second`; days for dates count 86,400 seconds.
struct Moment {
  Wide count;
  Wide numerator;  // one count is numerator / denominator seconds
  Wide denominator;
};

std::optional<Moment> MomentOf(const arrow::Scalar& value) {
  switch (value.type->id()) {
    case Type::DATE32:
      return Moment{static_cast<const arrow::Date32Scalar&>(value).value, 86400, 1};
    case Type::DATE64:
      return Moment{static_cast<const arrow::Date64Scalar&>(value).value, 1, 1000};
    case Type::TIMESTAMP:
      return Moment{static_cast<const arrow::TimestampScalar&>(value).value, 1,
                    UnitsPerSecond(static_cast<const arrow::TimestampType&>(*value.type).unit())};
    default:
      return std::nullopt;
  }
}

// Exact conversion between dates and timestamps of any unit; a zone is only a way of printing, so
// it is not looked at.
std::shared_ptr<arrow::Scalar> FromMoment(const Moment& moment,
                                          const std::shared_ptr<arrow::DataType>& type) {
  Wide numerator = 1;
  Wide denominator = 1;
  if (type->id() == Type::DATE32) {
    numerator = 86400;
  } else if (type->id() == Type::DATE64) {
    denominator = 1000;
  } else if (type->id() == Type::TIMESTAMP) {
    denominator = UnitsPerSecond(static_cast<const arrow::TimestampType&>(*type).unit());
  } else {
    return nullptr;
  }
  const Wide product =
      moment.count * moment.numerator * denominator;  // below 2^63 * 86400 * 1e9 < 2^110
  const Wide divisor = moment.denominator * numerator;
  if (product % divisor != 0) return nullptr;
  const Wide count = product / divisor;
  if (type->id() == Type::DATE64 && count % 86400000 != 0) return nullptr;
  return FromInteger(count, type);
}

ScalarResult ArrowCast(const std::shared_ptr<arrow::Scalar>& value,
                       const std::shared_ptr<arrow::DataType>& type) {
  InitializeCompute();
  ARROW_ASSIGN_OR_RAISE(arrow::Datum out,
                        arrow::compute::Cast(value, arrow::compute::CastOptions::Safe(type)));
  return out.scalar();
}

double ToDouble(const arrow::Scalar& value) {
  auto cast = ArrowCast(value.GetSharedPtr(), arrow::float64());
  return cast.ok() && (*cast)->is_valid ? static_cast<const arrow::DoubleScalar&>(**cast).value
                                        : std::numeric_limits<double>::quiet_NaN();
}

std::shared_ptr<arrow::Scalar> TimestampFromText(std::string_view text,
                                                 const std::shared_ptr<arrow::DataType>& type) {
  const auto& timestamp = static_cast<const arrow::TimestampType&>(*type);
  if (timestamp.unit() == arrow::TimeUnit::NANO) {
    // Digits below a microsecond: Arrow's parser, which wants a zone exactly where the type has
    // one.
    for (const char* suffix : {"", "Z"}) {
      const auto with_zone = std::make_shared<arrow::StringScalar>(std::string(text) + suffix);
      auto parsed = ArrowCast(with_zone, arrow::timestamp(timestamp.unit(), "UTC"));
      if (parsed.ok()) {
        return FromInteger(static_cast<const arrow::TimestampScalar&>(**parsed).value, type);
      }
    }
  }
  auto micros = ParseTimestamp(text);
  if (!micros.ok()) return nullptr;
  return FromMoment(Moment{*micros, 1, 1000000}, type);
}

}  // namespace

ScalarResult CastConstant(const std::shared_ptr<arrow::Scalar>& value,
                          const std::shared_ptr<arrow::DataType>& type, std::string_view column) {
  if (value == nullptr) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("a constant is missing: column={}", column));
  }
  if (!value->is_valid) return arrow::MakeNullScalar(type);
  const Type::type to = type->id();
  const Type::type from = value->type->id();
  if (from == to && value->type->Equals(*type)) return value;
  auto done = [&](std::shared_ptr<arrow::Scalar> result) -> ScalarResult {
    if (result == nullptr) return DoesNotFit(*value, *type, column);
    return result;
  };

  if (const auto integer = IntegerOf(*value)) {
    if (arrow::is_primitive(to) && to != Type::BOOL && !arrow::is_floating(to)) {
      return done(FromInteger(*integer, type));
    }
    if (to == Type::BOOL) {
      if (*integer != 0 && *integer != 1) return DoesNotFit(*value, *type, column);
      return std::make_shared<arrow::BooleanScalar>(*integer == 1);
    }
    if (arrow::is_decimal(to)) {
      // Through text: Arrow's cast wants room for every value of the integer's type.
      auto cast = ArrowCast(std::make_shared<arrow::StringScalar>(value->ToString()), type);
      return done(cast.ok() ? *cast : nullptr);
    }
    if (to == Type::HALF_FLOAT && (*integer > 2048 || *integer < -2048)) {
      return DoesNotFit(*value, *type, column);
    }
  }
  if (const auto moment = MomentOf(*value);
      moment && (arrow::is_date(to) || to == Type::TIMESTAMP)) {
    return done(FromMoment(*moment, type));
  }
  if (arrow::is_base_binary_like(from) || from == Type::FIXED_SIZE_BINARY) {
    const auto& bytes = static_cast<const arrow::BaseBinaryScalar&>(*value);
    if (to == Type::TIMESTAMP && arrow::is_string(from)) {
      return done(TimestampFromText(bytes.view(), type));
    }
    if (to == Type::FIXED_SIZE_BINARY) {
      if (static_cast<int>(bytes.view().size()) !=
          static_cast<const arrow::FixedSizeBinaryType&>(*type).byte_width()) {
        return DoesNotFit(*value, *type, column);
      }
      return std::make_shared<arrow::FixedSizeBinaryScalar>(bytes.value, type);
    }
    if (to == Type::BINARY) return std::make_shared<arrow::BinaryScalar>(bytes.value);
    if (to == Type::LARGE_BINARY) return std::make_shared<arrow::LargeBinaryScalar>(bytes.value);
  }

  auto cast = ArrowCast(value, type);
  if (!cast.ok() || !(*cast)->is_valid) return DoesNotFit(*value, *type, column);
  // Arrow rounds these two without a word.
  if (arrow::is_floating(from)) {
    const double before = ToDouble(*value);
    const double after = ToDouble(**cast);
    if (arrow::is_decimal(to) && before != after) return DoesNotFit(*value, *type, column);
    if (arrow::is_floating(to) && std::isinf(after) && !std::isinf(before)) {
      return DoesNotFit(*value, *type, column);
    }
  }
  return *cast;
}

}  // namespace lamina::catalog::internal
