#include <arrow/array.h>
#include <arrow/array/util.h>
#include <arrow/scalar.h>
#include <arrow/util/decimal.h>
#include <parquet/statistics.h>

#include "base/codec.h"
#include "base/mutant.h"
#include "catalog/key_codec.h"
#include "storage/sst/statistics_internal.h"

namespace lamina::storage::sst {

namespace {

using arrow::Type;

template <typename T>
std::optional<T> LoadPlain(std::string_view plain) {
  if (plain.size() != sizeof(T)) {
    return std::nullopt;
  }
  T value;
  std::memcpy(&value, plain.data(), sizeof(T));
  return value;
}

template <typename DecimalType, typename ScalarType>
std::shared_ptr<arrow::Scalar> DecimalScalar(parquet::Type::type physical, std::string_view plain,
                                             const std::shared_ptr<arrow::DataType>& type) {
  std::optional<DecimalType> value;
  if (physical == parquet::Type::INT32) {
    if (const auto v = LoadPlain<int32_t>(plain)) value = DecimalType(*v);
  } else if (physical == parquet::Type::INT64) {
    if (const auto v = LoadPlain<int64_t>(plain)) value = DecimalType(*v);
  } else if (!plain.empty() && plain.size() <= 32) {
    const auto parsed = DecimalType::FromBigEndian(reinterpret_cast<const uint8_t*>(plain.data()),
                                                   static_cast<int32_t>(plain.size()));
    if (parsed.ok()) value = *parsed;
  }
  return value.has_value() ? std::make_shared<ScalarType>(*value, type) : nullptr;
}

// Null when the bytes are not a value of the type.
std::shared_ptr<arrow::Scalar> ScalarOf(parquet::Type::type physical, std::string_view plain,
                                        const std::shared_ptr<arrow::DataType>& type) {
  switch (type->id()) {
    case Type::DECIMAL32:
      return DecimalScalar<arrow::Decimal32, arrow::Decimal32Scalar>(physical, plain, type);
    case Type::DECIMAL64:
      return DecimalScalar<arrow::Decimal64, arrow::Decimal64Scalar>(physical, plain, type);
    case Type::DECIMAL128:
      return DecimalScalar<arrow::Decimal128, arrow::Decimal128Scalar>(physical, plain, type);
    case Type::DECIMAL256:
      return DecimalScalar<arrow::Decimal256, arrow::Decimal256Scalar>(physical, plain, type);
    case Type::HALF_FLOAT: {
      const auto bits = LoadPlain<uint16_t>(plain);
      return bits ? std::make_shared<arrow::HalfFloatScalar>(*bits) : nullptr;
    }
    case Type::FLOAT: {
      const auto value = LoadPlain<float>(plain);
      return value ? std::make_shared<arrow::FloatScalar>(*value) : nullptr;
    }
    case Type::DOUBLE: {
      const auto value = LoadPlain<double>(plain);
      return value ? std::make_shared<arrow::DoubleScalar>(*value) : nullptr;
    }
    case Type::BOOL:
      return plain.size() == 1 ? std::make_shared<arrow::BooleanScalar>(plain[0] != 0) : nullptr;
    case Type::STRING:
    case Type::BINARY:
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY:
    case Type::STRING_VIEW:
    case Type::BINARY_VIEW:
    case Type::FIXED_SIZE_BINARY: {
      if (type->id() == Type::FIXED_SIZE_BINARY &&
          static_cast<int64_t>(plain.size()) !=
              static_cast<const arrow::FixedSizeBinaryType&>(*type).byte_width()) {
        return nullptr;
      }
      auto scalar = arrow::MakeScalar(type, arrow::Buffer::FromString(std::string(plain)));
      return scalar.ok() ? *scalar : nullptr;
    }
    default:
      break;
  }
  if (physical == parquet::Type::INT32) {
    const auto value = LoadPlain<int32_t>(plain);
    if (!value) {
      return nullptr;
    }
    auto scalar = type->id() == Type::UINT32
                      ? arrow::MakeScalar(type, static_cast<uint32_t>(*value))
                      : arrow::MakeScalar(type, *value);
    return scalar.ok() ? *scalar : nullptr;
  }
  if (physical == parquet::Type::INT64) {
    const auto value = LoadPlain<int64_t>(plain);
    if (!value) {
      return nullptr;
    }
    auto scalar = type->id() == Type::UINT64
                      ? arrow::MakeScalar(type, static_cast<uint64_t>(*value))
                      : arrow::MakeScalar(type, *value);
    return scalar.ok() ? *scalar : nullptr;
  }
  return nullptr;
}

bool IsVariableBinary(const arrow::DataType& type) {
  switch (type.id()) {
    case Type::STRING:
    case Type::BINARY:
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY:
    case Type::STRING_VIEW:
    case Type::BINARY_VIEW:
      return true;
    default:
      return false;
  }
}

// The least string of at most kStatsBytesMax bytes that is not below `bound`, if there is one.
std::optional<std::string> RoundUp(std::string bound) {
  if (bound.size() <= kStatsBytesMax) {
    return bound;
  }
  bound.resize(kStatsBytesMax);
  while (!bound.empty() && static_cast<uint8_t>(bound.back()) == 0xff) {
    bound.pop_back();
  }
  if (bound.empty()) {
    return std::nullopt;
  }
  bound.back() = static_cast<char>(static_cast<uint8_t>(bound.back()) +
                                   (LAMINA_MUTANT("statistics.long_maximum_rounded_down") ? 0 : 1));
  return bound;
}

}  // namespace

bool IsFloat(const arrow::DataType& type) {
  return type.id() == Type::FLOAT || type.id() == Type::DOUBLE || type.id() == Type::HALF_FLOAT;
}

std::optional<std::string> EncodeBound(parquet::Type::type physical, std::string_view plain,
                                       const std::shared_ptr<arrow::DataType>& from,
                                       const std::shared_ptr<arrow::DataType>& to) {
  std::shared_ptr<arrow::Scalar> scalar = ScalarOf(physical, plain, from);
  if (scalar == nullptr) {
    return std::nullopt;
  }
  if (!from->Equals(*to)) {
    const auto array = arrow::MakeArrayFromScalar(*scalar, 1);
    if (!array.ok()) {
      return std::nullopt;
    }
    const auto cast = catalog::CastColumn(*array, to);
    if (!cast.ok()) {
      return std::nullopt;
    }
    const auto value = (*cast)->GetScalar(0);
    if (!value.ok()) {
      return std::nullopt;
    }
    scalar = *value;
  }
  // A type without an order has no bounds; that is no error here.
  Result<std::optional<std::string>> encoded = catalog::EncodeValue(*scalar);
  return encoded.ok() ? *std::move(encoded) : std::nullopt;
}

catalog::ColumnRange RangeOfChunk(const parquet::ColumnChunkMetaData& chunk, int64_t rows,
                                  const StatisticsColumn& column,
                                  const std::shared_ptr<arrow::DataType>& to) {
  catalog::ColumnRange range;
  const std::shared_ptr<parquet::Statistics> statistics =
      chunk.is_stats_set() ? chunk.statistics() : nullptr;
  if (statistics == nullptr) {
    return range;
  }
  if (statistics->HasNullCount()) {
    range.may_have_null = statistics->null_count() != 0;
    range.may_have_value = statistics->null_count() != rows;
  }
  if (statistics->HasMinMax()) {
    range.min = EncodeBound(chunk.type(), statistics->EncodeMin(), column.type, to);
    if (column.nan_free) {
      range.max = EncodeBound(chunk.type(), statistics->EncodeMax(), column.type, to);
    }
  }
  return range;
}

std::vector<ColumnStats> FileStatistics(const parquet::FileMetaData& metadata,
                                        const std::vector<StatisticsColumn>& columns) {
  std::vector<ColumnStats> out;
  for (const StatisticsColumn& column : columns) {
    ColumnStats stats;
    stats.column = column.id;
    bool has_min = true;
    bool has_max = true;
    bool has_null_count = true;
    for (int g = 0; g < metadata.num_row_groups(); ++g) {
      const auto group = metadata.RowGroup(g);
      const auto chunk = group->ColumnChunk(column.leaf);
      const auto statistics = chunk->is_stats_set() ? chunk->statistics() : nullptr;
      if (statistics == nullptr || !statistics->HasNullCount()) {
        has_min = has_max = has_null_count = false;
        break;
      }
      stats.null_count += static_cast<uint64_t>(statistics->null_count());
      const catalog::ColumnRange range =
          RangeOfChunk(*chunk, group->num_rows(), column, column.type);
      if (!range.may_have_value) {
        continue;
      }
      has_min = has_min && range.min.has_value();
      has_max = has_max && range.max.has_value();
      if (has_min && (!stats.min || *range.min < *stats.min)) {
        stats.min = range.min;
      }
      if (has_max && (!stats.max || *range.max > *stats.max)) {
        stats.max = range.max;
      }
    }
    if (!has_null_count) {
      continue;  // Nothing is known; an entry would claim that there are no nulls.
    }
    if (!has_min) {
      stats.min.reset();
    }
    if (!has_max) {
      stats.max.reset();
    }
    if (IsVariableBinary(*column.type)) {
      if (stats.min) {
        stats.min->resize(std::min(stats.min->size(), kStatsBytesMax));
      }
      if (stats.max) {
        stats.max = RoundUp(*std::move(stats.max));
      }
    } else {
      if (stats.min && stats.min->size() > kStatsBytesMax) {
        stats.min.reset();
      }
      if (stats.max && stats.max->size() > kStatsBytesMax) {
        stats.max.reset();
      }
    }
    out.push_back(std::move(stats));
  }
  return out;
}

}  // namespace lamina::storage::sst
