#include "sql/vectors.h"

#include <cstring>

#include <arrow/api.h>
#include <arrow/compute/api.h>
#include <duckdb/common/types/hugeint.hpp>
#include <duckdb/common/types/interval.hpp>
#include <duckdb/common/types/uhugeint.hpp>
#include <duckdb/common/types/uuid.hpp>
#include <duckdb/common/types/vector.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/types.h"

namespace lamina::sql {
namespace {

using duckdb::FlatVector;
using duckdb::LogicalType;
using duckdb::LogicalTypeId;
using duckdb::Vector;

// ---- Arrow to DuckDB

/// What a vector's values point into.
struct ArrayReference final : duckdb::VectorAuxiliaryData {
  explicit ArrayReference(std::shared_ptr<arrow::Array> of)
      : VectorAuxiliaryData(duckdb::VectorAuxiliaryDataType::ARROW_AUXILIARY),
        array(std::move(of)) {}
  const std::shared_ptr<arrow::Array> array;
};

void KeepAlive(const std::shared_ptr<arrow::Array>& array, Vector* out) {
  auto buffer = duckdb::make_buffer<duckdb::VectorBuffer>(duckdb::VectorBufferType::OPAQUE_BUFFER);
  buffer->SetAuxiliaryData(duckdb::make_uniq<ArrayReference>(array));
  if (out->GetType().InternalType() == duckdb::PhysicalType::VARCHAR) {
    duckdb::StringVector::AddBuffer(*out, std::move(buffer));
  } else {
    out->SetAuxiliary(std::move(buffer));
  }
}

void SetValidity(const arrow::Array& array, int64_t offset, int64_t count, Vector* out) {
  if (array.null_count() == 0) return;
  auto& mask = FlatVector::Validity(*out);
  for (int64_t i = 0; i < count; ++i) {
    if (array.IsNull(offset + i)) mask.SetInvalid(static_cast<uint64_t>(i));
  }
}

template <typename T>
const T* Values(const arrow::Array& array, int64_t offset) {
  return array.data()->GetValues<T>(1) + offset;
}

template <typename T>
void Share(const std::shared_ptr<arrow::Array>& array, int64_t offset, Vector* out) {
  // DuckDB does not write into vectors that it is given by a scan.
  auto* data = const_cast<T*>(Values<T>(*array, offset));  // NOLINT
  FlatVector::SetData(*out, reinterpret_cast<duckdb::data_ptr_t>(data));
  KeepAlive(array, out);
}

template <typename From, typename To, typename Convert>
void Copy(const arrow::Array& array, int64_t offset, int64_t count, Vector* out,
          const Convert& convert) {
  const From* from = Values<From>(array, offset);
  To* to = FlatVector::GetData<To>(*out);
  for (int64_t i = 0; i < count; ++i) {
    if (array.IsValid(offset + i)) to[i] = convert(from[i]);
  }
}

template <typename ArrayType>
void Texts(const std::shared_ptr<arrow::Array>& array, int64_t offset, int64_t count, Vector* out) {
  const auto& texts = static_cast<const ArrayType&>(*array);
  auto* to = FlatVector::GetData<duckdb::string_t>(*out);
  for (int64_t i = 0; i < count; ++i) {
    if (!texts.IsValid(offset + i)) continue;
    const std::string_view view = texts.GetView(offset + i);
    to[i] = duckdb::string_t(view.data(), static_cast<uint32_t>(view.size()));
  }
  KeepAlive(array, out);
}

duckdb::hugeint_t ToHugeint(const arrow::Decimal256& value) {
  const auto words = value.little_endian_array();
  duckdb::hugeint_t out;
  out.lower = words[0];
  out.upper = static_cast<int64_t>(words[1]);
  return out;
}

template <typename ArrayType>
void Decimals(const arrow::Array& array, int64_t offset, int64_t count, Vector* out) {
  const auto& values = static_cast<const ArrayType&>(array);
  const auto set = [&](auto* to) {
    using To = std::remove_reference_t<decltype(*to)>;
    for (int64_t i = 0; i < count; ++i) {
      if (!values.IsValid(offset + i)) continue;
      // Sign-extended from its width to DuckDB's.
      const uint8_t* bytes = values.GetValue(offset + i);
      const auto width = static_cast<size_t>(values.byte_width());
      duckdb::hugeint_t value;
      int64_t words[2] = {0, 0};
      std::memcpy(words, bytes, std::min(width, sizeof(words)));
      if (width == 4) words[0] = static_cast<int32_t>(words[0]);
      if (width < 16) words[1] = words[0] < 0 ? -1 : 0;
      value.lower = static_cast<uint64_t>(words[0]);
      value.upper = words[1];
      if constexpr (std::is_same_v<To, duckdb::hugeint_t>) {
        to[i] = value;
      } else {
        to[i] = static_cast<To>(value.lower);
      }
    }
  };
  switch (out->GetType().InternalType()) {
    case duckdb::PhysicalType::INT16:
      return set(FlatVector::GetData<int16_t>(*out));
    case duckdb::PhysicalType::INT32:
      return set(FlatVector::GetData<int32_t>(*out));
    case duckdb::PhysicalType::INT64:
      return set(FlatVector::GetData<int64_t>(*out));
    default:
      return set(FlatVector::GetData<duckdb::hugeint_t>(*out));
  }
}

void Uuids(const arrow::Array& array, int64_t offset, int64_t count, Vector* out) {
  const auto& values = static_cast<const arrow::FixedSizeBinaryArray&>(array);
  auto* to = FlatVector::GetData<duckdb::hugeint_t>(*out);
  for (int64_t i = 0; i < count; ++i) {
    if (values.IsValid(offset + i)) to[i] = duckdb::BaseUUID::FromBlob(values.GetValue(offset + i));
  }
}

void Enums(const arrow::Array& array, int64_t offset, int64_t count, Vector* out) {
  const auto& texts = static_cast<const arrow::StringArray&>(array);
  const auto set = [&](auto* to) {
    using To = std::remove_reference_t<decltype(*to)>;
    for (int64_t i = 0; i < count; ++i) {
      if (!texts.IsValid(offset + i)) continue;
      const std::string_view text = texts.GetView(offset + i);
      const int64_t at = duckdb::EnumType::GetPos(
          out->GetType(), duckdb::string_t(text.data(), static_cast<uint32_t>(text.size())));
      if (at < 0) {
        Throw(MakeSqlError("T5010", fmt::format("a value is not one of its ENUM: value={} type={}",
                                                text, out->GetType().ToString())));
      }
      to[i] = static_cast<To>(at);
    }
  };
  switch (out->GetType().InternalType()) {
    case duckdb::PhysicalType::UINT8:
      return set(FlatVector::GetData<uint8_t>(*out));
    case duckdb::PhysicalType::UINT16:
      return set(FlatVector::GetData<uint16_t>(*out));
    default:
      return set(FlatVector::GetData<uint32_t>(*out));
  }
}

void Intervals(const arrow::Array& array, int64_t offset, int64_t count, Vector* out) {
  auto* to = FlatVector::GetData<duckdb::interval_t>(*out);
  if (array.type_id() == arrow::Type::DURATION) {
    const auto unit = static_cast<const arrow::DurationType&>(*array.type()).unit();
    Copy<int64_t, duckdb::interval_t>(array, offset, count, out, [unit](int64_t value) {
      duckdb::interval_t interval{0, 0, value};
      if (unit == arrow::TimeUnit::SECOND) interval.micros = value * 1'000'000;
      if (unit == arrow::TimeUnit::MILLI) interval.micros = value * 1'000;
      if (unit == arrow::TimeUnit::NANO) interval.micros = value / 1'000;
      return interval;
    });
    return;
  }
  const auto& parts = static_cast<const arrow::StructArray&>(array);
  const auto& months = static_cast<const arrow::Int32Array&>(*parts.field(0));
  const auto& days = static_cast<const arrow::Int32Array&>(*parts.field(1));
  const auto& micros = static_cast<const arrow::Int64Array&>(*parts.field(2));
  for (int64_t i = 0; i < count; ++i) {
    if (parts.IsValid(offset + i))
      to[i] = {months.Value(offset + i), days.Value(offset + i), micros.Value(offset + i)};
  }
}

template <typename ListArray>
void Lists(const std::shared_ptr<arrow::Array>& array, int64_t offset, int64_t count, Vector* out) {
  const auto& lists = static_cast<const ListArray&>(*array);
  auto* to = FlatVector::GetData<duckdb::list_entry_t>(*out);
  const int64_t first = count == 0 ? 0 : lists.value_offset(offset);
  const int64_t last = count == 0 ? 0 : lists.value_offset(offset + count);
  for (int64_t i = 0; i < count; ++i) {
    to[i].offset = static_cast<uint64_t>(lists.value_offset(offset + i) - first);
    to[i].length =
        lists.IsValid(offset + i) ? static_cast<uint64_t>(lists.value_length(offset + i)) : 0;
  }
  duckdb::ListVector::Reserve(*out, static_cast<uint64_t>(last - first));
  duckdb::ListVector::SetListSize(*out, static_cast<uint64_t>(last - first));
  ToVector(lists.values(), first, last - first, &duckdb::ListVector::GetEntry(*out));
}

}  // namespace

void ToVector(const std::shared_ptr<arrow::Array>& array, int64_t offset, int64_t count,
              Vector* out) {
  using arrow::Type;
  const LogicalType& type = out->GetType();
  SetValidity(*array, offset, count, out);
  switch (type.id()) {
    case LogicalTypeId::UUID:
      return Uuids(*array, offset, count, out);
    case LogicalTypeId::ENUM:
      return Enums(*array, offset, count, out);
    case LogicalTypeId::INTERVAL:
      return Intervals(*array, offset, count, out);
    case LogicalTypeId::UHUGEINT: {
      const auto& values = static_cast<const arrow::Decimal256Array&>(*array);
      auto* to = FlatVector::GetData<duckdb::uhugeint_t>(*out);
      for (int64_t i = 0; i < count; ++i) {
        if (!values.IsValid(offset + i)) continue;
        const duckdb::hugeint_t bits = ToHugeint(arrow::Decimal256(values.GetValue(offset + i)));
        to[i].lower = bits.lower;
        to[i].upper = static_cast<uint64_t>(bits.upper);
      }
      return;
    }
    default:
      break;
  }
  switch (array->type_id()) {
    case Type::BOOL: {
      const auto& values = static_cast<const arrow::BooleanArray&>(*array);
      bool* to = FlatVector::GetData<bool>(*out);
      for (int64_t i = 0; i < count; ++i)
        to[i] = values.IsValid(offset + i) && values.Value(offset + i);
      return;
    }
    case Type::INT8:
    case Type::UINT8:
      return Share<uint8_t>(array, offset, out);
    case Type::INT16:
    case Type::UINT16:
      return Share<uint16_t>(array, offset, out);
    case Type::INT32:
    case Type::UINT32:
    case Type::FLOAT:
    case Type::DATE32:
      return Share<uint32_t>(array, offset, out);
    case Type::INT64:
    case Type::UINT64:
    case Type::DOUBLE:
      return Share<uint64_t>(array, offset, out);
    case Type::TIMESTAMP: {
      const auto& timestamp = static_cast<const arrow::TimestampType&>(*array->type());
      if (type.id() != LogicalTypeId::TIMESTAMP_TZ || timestamp.unit() == arrow::TimeUnit::MICRO)
        return Share<uint64_t>(array, offset, out);
      return Copy<int64_t, int64_t>(*array, offset, count, out, [&](int64_t value) {
        if (timestamp.unit() == arrow::TimeUnit::SECOND) return value * 1'000'000;
        return timestamp.unit() == arrow::TimeUnit::MILLI ? value * 1'000 : value / 1'000;
      });
    }
    case Type::HALF_FLOAT: {
      const auto& values = static_cast<const arrow::HalfFloatArray&>(*array);
      float* to = FlatVector::GetData<float>(*out);
      for (int64_t i = 0; i < count; ++i)
        to[i] = arrow::util::Float16::FromBits(values.Value(offset + i)).ToFloat();
      return;
    }
    case Type::DATE64:
      return Copy<int64_t, int32_t>(*array, offset, count, out, [](int64_t millis) {
        return static_cast<int32_t>(millis / 86'400'000);
      });
    case Type::TIME32: {
      const int64_t factor =
          static_cast<const arrow::TimeType&>(*array->type()).unit() == arrow::TimeUnit::SECOND
              ? 1'000'000
              : 1'000;
      return Copy<int32_t, int64_t>(*array, offset, count, out,
                                    [factor](int32_t value) { return value * factor; });
    }
    case Type::TIME64:
      return Share<uint64_t>(array, offset, out);
    case Type::DECIMAL32:
      return Decimals<arrow::Decimal32Array>(*array, offset, count, out);
    case Type::DECIMAL64:
      return Decimals<arrow::Decimal64Array>(*array, offset, count, out);
    case Type::DECIMAL128:
      return Decimals<arrow::Decimal128Array>(*array, offset, count, out);
    case Type::DECIMAL256: {
      if (type.id() != LogicalTypeId::VARCHAR)
        return Decimals<arrow::Decimal256Array>(*array, offset, count, out);
      const auto& values = static_cast<const arrow::Decimal256Array&>(*array);
      auto* to = FlatVector::GetData<duckdb::string_t>(*out);
      for (int64_t i = 0; i < count; ++i) {
        if (values.IsValid(offset + i))
          to[i] = duckdb::StringVector::AddString(*out, values.FormatValue(offset + i));
      }
      return;
    }
    case Type::STRING:
    case Type::BINARY:
      return Texts<arrow::BinaryArray>(array, offset, count, out);
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY:
      return Texts<arrow::LargeBinaryArray>(array, offset, count, out);
    case Type::FIXED_SIZE_BINARY:
      return Texts<arrow::FixedSizeBinaryArray>(array, offset, count, out);
    case Type::LIST:
      return Lists<arrow::ListArray>(array, offset, count, out);
    case Type::MAP:
      return Lists<arrow::MapArray>(array, offset, count, out);
    case Type::LARGE_LIST:
      return Lists<arrow::LargeListArray>(array, offset, count, out);
    case Type::FIXED_SIZE_LIST: {
      const auto& lists = static_cast<const arrow::FixedSizeListArray&>(*array);
      const int64_t size = lists.list_type()->list_size();
      return ToVector(lists.values(), (offset + lists.offset()) * size, count * size,
                      &duckdb::ArrayVector::GetEntry(*out));
    }
    case Type::STRUCT: {
      const auto& parts = static_cast<const arrow::StructArray&>(*array);
      auto& children = duckdb::StructVector::GetEntries(*out);
      for (size_t i = 0; i < children.size(); ++i)
        ToVector(parts.field(static_cast<int>(i)), offset, count, children[i].get());
      return;
    }
    default:
      Throw(MakeSqlError(
          "T4009", fmt::format("no SQL type holds this: type={}", array->type()->ToString())));
  }
}

// ---- DuckDB to Arrow

namespace {

using duckdb::UnifiedVectorFormat;

/// The natural array of each type; ToArray casts where the column has another.
class ArrayMaker {
 public:
  ArrayMaker(Vector& vector, int64_t count) : vector_(vector), count_(count) {
    vector.ToUnifiedFormat(static_cast<uint64_t>(count), format_);
  }

  Result<std::shared_ptr<arrow::Array>> Make(const std::shared_ptr<arrow::DataType>& type);

 private:
  uint64_t At(int64_t i) const { return format_.sel->get_index(static_cast<uint64_t>(i)); }
  bool IsValid(int64_t i) const { return format_.validity.RowIsValid(At(i)); }
  template <typename T>
  const T& Value(int64_t i) const {
    return UnifiedVectorFormat::GetData<T>(format_)[At(i)];
  }

  Result<std::shared_ptr<arrow::Buffer>> Validity(int64_t* nulls) const {
    *nulls = 0;
    if (format_.validity.AllValid()) return nullptr;
    ARROW_ASSIGN_OR_RAISE(auto bits, arrow::AllocateEmptyBitmap(count_));
    for (int64_t i = 0; i < count_; ++i) {
      if (IsValid(i)) {
        bits->mutable_data()[i / 8] |= static_cast<uint8_t>(1 << (i % 8));
      } else {
        ++*nulls;
      }
    }
    return std::shared_ptr<arrow::Buffer>(std::move(bits));
  }

  template <typename From, typename To, typename Convert>
  Result<std::shared_ptr<arrow::Array>> Fixed(const std::shared_ptr<arrow::DataType>& type,
                                              const Convert& convert) const {
    int64_t nulls = 0;
    ARROW_ASSIGN_OR_RAISE(auto validity, Validity(&nulls));
    ARROW_ASSIGN_OR_RAISE(auto values,
                          arrow::AllocateBuffer(count_ * static_cast<int64_t>(sizeof(To))));
    To* to = reinterpret_cast<To*>(values->mutable_data());
    for (int64_t i = 0; i < count_; ++i) {
      if (IsValid(i)) {
        to[i] = convert(Value<From>(i));
      } else {
        to[i] = To{};
      }
    }
    return arrow::MakeArray(arrow::ArrayData::Make(
        type, count_, {validity, std::shared_ptr<arrow::Buffer>(std::move(values))}, nulls));
  }
  template <typename T>
  Result<std::shared_ptr<arrow::Array>> Same(const std::shared_ptr<arrow::DataType>& type) const {
    return Fixed<T, T>(type, [](T value) { return value; });
  }

  Result<std::shared_ptr<arrow::Array>> Bools() const {
    arrow::BooleanBuilder builder;
    ARROW_RETURN_NOT_OK(builder.Reserve(count_));
    for (int64_t i = 0; i < count_; ++i) {
      if (IsValid(i)) {
        builder.UnsafeAppend(Value<bool>(i));
      } else {
        builder.UnsafeAppendNull();
      }
    }
    return builder.Finish();
  }

  template <typename Builder, typename View>
  Result<std::shared_ptr<arrow::Array>> Bytes(Builder builder, const View& view) const {
    ARROW_RETURN_NOT_OK(builder.Reserve(count_));
    for (int64_t i = 0; i < count_; ++i)
      ARROW_RETURN_NOT_OK(IsValid(i) ? builder.Append(view(i)) : builder.AppendNull());
    return builder.Finish();
  }
  std::string_view Text(int64_t i) const {
    const auto& text = Value<duckdb::string_t>(i);
    return {text.GetData(), text.GetSize()};
  }

  template <typename T>
  Result<std::shared_ptr<arrow::Array>> Decimal(
      const std::shared_ptr<arrow::DataType>& type) const {
    return Fixed<T, arrow::Decimal128>(type, [](const T& value) {
      if constexpr (std::is_same_v<T, duckdb::hugeint_t>) {
        return arrow::Decimal128(value.upper, value.lower);
      } else {
        return arrow::Decimal128(static_cast<int64_t>(value));
      }
    });
  }

  Result<std::shared_ptr<arrow::Array>> Enums() const {
    const auto at = [&](int64_t i) -> uint64_t {
      switch (vector_.GetType().InternalType()) {
        case duckdb::PhysicalType::UINT8:
          return Value<uint8_t>(i);
        case duckdb::PhysicalType::UINT16:
          return Value<uint16_t>(i);
        default:
          return Value<uint32_t>(i);
      }
    };
    return Bytes(arrow::StringBuilder(), [&](int64_t i) {
      const auto& text = FlatVector::GetData<duckdb::string_t>(
          duckdb::EnumType::GetValuesInsertOrder(vector_.GetType()))[at(i)];
      return std::string_view(text.GetData(), text.GetSize());
    });
  }

  Result<std::shared_ptr<arrow::Array>> Uuids() const {
    arrow::FixedSizeBinaryBuilder builder(arrow::fixed_size_binary(16));
    ARROW_RETURN_NOT_OK(builder.Reserve(count_));
    for (int64_t i = 0; i < count_; ++i) {
      if (!IsValid(i)) {
        ARROW_RETURN_NOT_OK(builder.AppendNull());
        continue;
      }
      uint8_t bytes[16];
      duckdb::BaseUUID::ToBlob(Value<duckdb::hugeint_t>(i), bytes);
      ARROW_RETURN_NOT_OK(builder.Append(bytes));
    }
    return builder.Finish();
  }

  Result<std::shared_ptr<arrow::Array>> Intervals(
      const std::shared_ptr<arrow::DataType>& type) const {
    arrow::Int32Builder months, days;
    arrow::Int64Builder micros;
    for (int64_t i = 0; i < count_; ++i) {
      const duckdb::interval_t value =
          IsValid(i) ? Value<duckdb::interval_t>(i) : duckdb::interval_t{0, 0, 0};
      ARROW_RETURN_NOT_OK(months.Append(value.months));
      ARROW_RETURN_NOT_OK(days.Append(value.days));
      ARROW_RETURN_NOT_OK(micros.Append(value.micros));
    }
    ARROW_ASSIGN_OR_RAISE(auto m, months.Finish());
    ARROW_ASSIGN_OR_RAISE(auto d, days.Finish());
    ARROW_ASSIGN_OR_RAISE(auto u, micros.Finish());
    int64_t nulls = 0;
    ARROW_ASSIGN_OR_RAISE(auto validity, Validity(&nulls));
    if (type->id() == arrow::Type::DURATION) {
      return MakeSqlError("T4009", "this column takes no INTERVAL: it was made as a duration",
                          "write it through the Arrow interface");
    }
    return std::make_shared<arrow::StructArray>(
        arrow::struct_({arrow::field("months", arrow::int32()),
                        arrow::field("days", arrow::int32()),
                        arrow::field("micros", arrow::int64())}),
        count_, arrow::ArrayVector{m, d, u}, validity, nulls);
  }

  Result<std::shared_ptr<arrow::Array>> Lists(const std::shared_ptr<arrow::DataType>& type) const {
    // The entries may lie anywhere in the child, so they are gathered first.
    std::vector<duckdb::sel_t> picked;
    arrow::Int32Builder offsets;
    ARROW_RETURN_NOT_OK(offsets.Append(0));
    for (int64_t i = 0; i < count_; ++i) {
      if (IsValid(i)) {
        const auto& entry = Value<duckdb::list_entry_t>(i);
        for (uint64_t k = 0; k < entry.length; ++k)
          picked.push_back(static_cast<duckdb::sel_t>(entry.offset + k));
      }
      ARROW_RETURN_NOT_OK(offsets.Append(static_cast<int32_t>(picked.size())));
    }
    duckdb::SelectionVector selection(picked.data());
    Vector child(duckdb::ListVector::GetEntry(vector_), selection, picked.size());
    const bool map = type->id() == arrow::Type::MAP;
    const auto& child_type =
        map ? static_cast<const arrow::MapType&>(*type).value_type() : type->field(0)->type();
    ARROW_ASSIGN_OR_RAISE(auto values,
                          ToArray(child, static_cast<int64_t>(picked.size()), child_type));
    ARROW_ASSIGN_OR_RAISE(auto ends, offsets.Finish());
    int64_t nulls = 0;
    ARROW_ASSIGN_OR_RAISE(auto validity, Validity(&nulls));
    return arrow::MakeArray(arrow::ArrayData::Make(
        type, count_, {validity, ends->data()->buffers[1]}, {values->data()}, nulls));
  }

  Result<std::shared_ptr<arrow::Array>> Arrays(const std::shared_ptr<arrow::DataType>& type) const {
    const auto size = static_cast<int64_t>(duckdb::ArrayType::GetSize(vector_.GetType()));
    std::vector<duckdb::sel_t> picked;
    for (int64_t i = 0; i < count_; ++i) {
      for (int64_t k = 0; k < size; ++k)
        picked.push_back(static_cast<duckdb::sel_t>(At(i)) * static_cast<duckdb::sel_t>(size) +
                         static_cast<duckdb::sel_t>(k));
    }
    duckdb::SelectionVector selection(picked.data());
    Vector child(duckdb::ArrayVector::GetEntry(vector_), selection, picked.size());
    ARROW_ASSIGN_OR_RAISE(
        auto values, ToArray(child, static_cast<int64_t>(picked.size()), type->field(0)->type()));
    int64_t nulls = 0;
    ARROW_ASSIGN_OR_RAISE(auto validity, Validity(&nulls));
    return std::make_shared<arrow::FixedSizeListArray>(type, count_, values, validity, nulls);
  }

  Result<std::shared_ptr<arrow::Array>> Structs(
      const std::shared_ptr<arrow::DataType>& type) const {
    arrow::ArrayVector children;
    auto& entries = duckdb::StructVector::GetEntries(vector_);
    for (size_t i = 0; i < entries.size(); ++i) {
      Vector child(*entries[i], *format_.sel, static_cast<uint64_t>(count_));
      ARROW_ASSIGN_OR_RAISE(auto array,
                            ToArray(child, count_, type->field(static_cast<int>(i))->type()));
      children.push_back(std::move(array));
    }
    int64_t nulls = 0;
    ARROW_ASSIGN_OR_RAISE(auto validity, Validity(&nulls));
    return std::make_shared<arrow::StructArray>(type, count_, std::move(children), validity, nulls);
  }

  Vector& vector_;
  const int64_t count_;
  UnifiedVectorFormat format_;
};

Result<std::shared_ptr<arrow::Array>> ArrayMaker::Make(
    const std::shared_ptr<arrow::DataType>& type) {
  const LogicalType& from = vector_.GetType();
  switch (from.id()) {
    case LogicalTypeId::BOOLEAN:
      return Bools();
    case LogicalTypeId::TINYINT:
      return Same<int8_t>(arrow::int8());
    case LogicalTypeId::SMALLINT:
      return Same<int16_t>(arrow::int16());
    case LogicalTypeId::INTEGER:
      return Same<int32_t>(arrow::int32());
    case LogicalTypeId::BIGINT:
      return Same<int64_t>(arrow::int64());
    case LogicalTypeId::UTINYINT:
      return Same<uint8_t>(arrow::uint8());
    case LogicalTypeId::USMALLINT:
      return Same<uint16_t>(arrow::uint16());
    case LogicalTypeId::UINTEGER:
      return Same<uint32_t>(arrow::uint32());
    case LogicalTypeId::UBIGINT:
      return Same<uint64_t>(arrow::uint64());
    case LogicalTypeId::FLOAT:
      return Same<float>(arrow::float32());
    case LogicalTypeId::DOUBLE:
      return Same<double>(arrow::float64());
    case LogicalTypeId::DATE:
      return Same<int32_t>(arrow::date32());
    case LogicalTypeId::TIME:
      return Same<int64_t>(arrow::time64(arrow::TimeUnit::MICRO));
    case LogicalTypeId::TIME_NS:
      return Same<int64_t>(arrow::time64(arrow::TimeUnit::NANO));
    case LogicalTypeId::TIMESTAMP_SEC:
    case LogicalTypeId::TIMESTAMP_MS:
    case LogicalTypeId::TIMESTAMP:
    case LogicalTypeId::TIMESTAMP_NS:
    case LogicalTypeId::TIMESTAMP_TZ: {
      ARROW_ASSIGN_OR_RAISE(auto natural, ToStorage(from));
      return Same<int64_t>(natural);
    }
    case LogicalTypeId::HUGEINT:
      return Fixed<duckdb::hugeint_t, arrow::Decimal256>(
          arrow::decimal256(39, 0), [](const duckdb::hugeint_t& value) {
            return arrow::Decimal256(arrow::Decimal128(value.upper, value.lower));
          });
    case LogicalTypeId::UHUGEINT:
      return Fixed<duckdb::uhugeint_t, arrow::Decimal256>(
          arrow::decimal256(39, 0), [](const duckdb::uhugeint_t& value) {
            return arrow::Decimal256(std::array<uint64_t, 4>{value.lower, value.upper, 0, 0});
          });
    case LogicalTypeId::DECIMAL: {
      ARROW_ASSIGN_OR_RAISE(auto natural, ToStorage(from));
      switch (from.InternalType()) {
        case duckdb::PhysicalType::INT16:
          return Decimal<int16_t>(natural);
        case duckdb::PhysicalType::INT32:
          return Decimal<int32_t>(natural);
        case duckdb::PhysicalType::INT64:
          return Decimal<int64_t>(natural);
        default:
          return Decimal<duckdb::hugeint_t>(natural);
      }
    }
    case LogicalTypeId::VARCHAR:
      return Bytes(arrow::StringBuilder(), [&](int64_t i) { return Text(i); });
    case LogicalTypeId::TIME_TZ:
      return Fixed<duckdb::dtime_tz_t, uint64_t>(
          arrow::uint64(), [](const duckdb::dtime_tz_t& value) { return value.bits; });
    case LogicalTypeId::BLOB:
    case LogicalTypeId::BIT:
      return Bytes(arrow::BinaryBuilder(), [&](int64_t i) { return Text(i); });
    case LogicalTypeId::ENUM:
      return Enums();
    case LogicalTypeId::UUID:
      return Uuids();
    case LogicalTypeId::INTERVAL:
      return Intervals(type);
    case LogicalTypeId::LIST:
    case LogicalTypeId::MAP:
      if (type->id() == arrow::Type::LARGE_LIST) return Lists(arrow::list(type->field(0)));
      return Lists(type);
    case LogicalTypeId::ARRAY:
      return Arrays(type);
    case LogicalTypeId::STRUCT:
    case LogicalTypeId::UNION:
      return Structs(type);
    default:
      return MakeSqlError("T4009",
                          fmt::format("a table cannot hold values of type {}", from.ToString()));
  }
}

}  // namespace

Result<std::shared_ptr<arrow::Array>> ToArray(Vector& vector, int64_t count,
                                              const std::shared_ptr<arrow::DataType>& type) {
  ARROW_ASSIGN_OR_RAISE(auto array, ArrayMaker(vector, count).Make(type));
  if (array->type()->Equals(*type)) return array;
  auto cast = arrow::compute::Cast(*array, type);
  if (!cast.ok()) {
    return MakeSqlError("T4008", fmt::format("a value does not fit its column: type={} cause={}",
                                             type->ToString(), MessageOf(cast.status())));
  }
  return cast;
}

}  // namespace lamina::sql
