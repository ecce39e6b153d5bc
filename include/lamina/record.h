// C++ structs as rows: a struct names its columns once, and batches are made from and read into
// vectors of it.
//
//   struct Price {
//     std::string sku;
//     double price = 0;
//     std::optional<std::string> note;
//     static auto Columns() {
//       return std::tuple(lamina::KeyColumn("sku", &Price::sku), lamina::Column("price",
//       &Price::price),
//                         lamina::Column("note", &Price::note));
//     }
//   };
//
//   db->CreateTable("prices", lamina::SchemaOf<Price>(), lamina::KeyOf<Price>());
//   ARROW_ASSIGN_OR_RAISE(auto batch, lamina::ToBatch<Price>({{"A-1", 9.5, {}}}));
//   ARROW_RETURN_NOT_OK(db->Put("prices", batch));
//   ARROW_ASSIGN_OR_RAISE(auto reader, db->Scan("prices"));
//   ARROW_ASSIGN_OR_RAISE(std::vector<Price> prices, lamina::ReadRecords<Price>(*reader));
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <arrow/api.h>

#include "lamina/error.h"
#include "lamina/schema.h"
#include "lamina/time.h"

namespace lamina {

/// One column of a struct: its name and its member.
template <typename T, typename V>
struct RecordColumn {
  const char* name;
  V T::*member;
  bool key;
};
template <typename T, typename V>
constexpr RecordColumn<T, V> Column(const char* name, V T::*member) {
  return {name, member, false};
}
/// Part of the primary key, in the order of the columns.
template <typename T, typename V>
constexpr RecordColumn<T, V> KeyColumn(const char* name, V T::*member) {
  return {name, member, true};
}

template <typename T>
concept Record = std::default_initializable<T> && requires { T::Columns(); };

/// How a member is stored. Members may be: bool, the integers and floats of fixed width,
/// std::string (utf8), std::vector<std::byte> (binary), ValidTime, SystemTime and std::chrono times
/// of microseconds (timestamp[us, UTC]), other records (struct), and of these std::vector (list)
/// and std::optional (nullable; everything else is not null).
template <typename V>
struct RecordValue;

namespace record_internal {

inline Status NullError(const std::string& what) {
  return MakeError(ErrorCode::kInvalidArgument,
                   "a null was read into a member that cannot be empty: type=" + what,
                   "make the member a std::optional");
}

template <typename V>
inline constexpr bool kIsOptional = false;
template <typename V>
inline constexpr bool kIsOptional<std::optional<V>> = true;

/// Null is for std::optional to deal with; here the row has a value.
template <typename V>
Status ReadNotNull(const arrow::Array& array, int64_t row, V* value) {
  if constexpr (!kIsOptional<V>) {
    if (array.IsNull(row)) return NullError(array.type()->ToString());
  }
  return RecordValue<V>::Read(array, row, value);
}

template <typename T, typename Visit>
Status ForEachColumn(Visit visit) {
  Status status;
  int at = 0;
  std::apply(
      [&](const auto&... column) { (void)((status = visit(at++, column), status.ok()) && ...); },
      T::Columns());
  return status;
}

template <typename T, typename V>
std::shared_ptr<arrow::Field> FieldOf(const RecordColumn<T, V>& column) {
  return arrow::field(column.name, RecordValue<V>::Type(), kIsOptional<V>);
}

template <Record T>
arrow::FieldVector FieldsOf() {
  arrow::FieldVector fields;
  (void)ForEachColumn<T>([&](int, const auto& column) {
    fields.push_back(FieldOf(column));
    return Status::OK();
  });
  return fields;
}

/// Values whose Arrow builder and array take and give the C++ type.
template <typename V, typename ArrowType>
struct PlainValue {
  using ArrayType = typename arrow::TypeTraits<ArrowType>::ArrayType;
  using BuilderType = typename arrow::TypeTraits<ArrowType>::BuilderType;
  static std::shared_ptr<arrow::DataType> Type() {
    return arrow::TypeTraits<ArrowType>::type_singleton();
  }
  static Status Append(arrow::ArrayBuilder* builder, const V& value) {
    return static_cast<BuilderType*>(builder)->Append(value);
  }
  static Status Read(const arrow::Array& array, int64_t row, V* value) {
    *value = static_cast<const ArrayType&>(array).Value(row);
    return Status::OK();
  }
};

/// Microseconds since 1970, UTC.
template <typename V, int64_t (*Get)(const V&), V (*Make)(int64_t)>
struct TimeValue {
  static std::shared_ptr<arrow::DataType> Type() {
    return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  }
  static Status Append(arrow::ArrayBuilder* builder, const V& value) {
    return static_cast<arrow::TimestampBuilder*>(builder)->Append(Get(value));
  }
  static Status Read(const arrow::Array& array, int64_t row, V* value) {
    *value = Make(static_cast<const arrow::TimestampArray&>(array).Value(row));
    return Status::OK();
  }
};
template <typename V>
int64_t MicrosOf(const V& value) {
  return value.micros;
}
template <typename V>
V FromMicros(int64_t micros) {
  return V{micros};
}
using ChronoTime = std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds>;
inline int64_t MicrosOfChrono(const ChronoTime& value) { return value.time_since_epoch().count(); }
inline ChronoTime ChronoFromMicros(int64_t micros) {
  return ChronoTime(std::chrono::microseconds(micros));
}

}  // namespace record_internal

template <typename V>
  requires(std::same_as<V, bool> || std::same_as<V, int8_t> || std::same_as<V, int16_t> ||
           std::same_as<V, int32_t> || std::same_as<V, int64_t> || std::same_as<V, uint8_t> ||
           std::same_as<V, uint16_t> || std::same_as<V, uint32_t> || std::same_as<V, uint64_t> ||
           std::same_as<V, float> || std::same_as<V, double>)
struct RecordValue<V> : record_internal::PlainValue<V, typename arrow::CTypeTraits<V>::ArrowType> {
};

template <>
struct RecordValue<std::string> {
  static std::shared_ptr<arrow::DataType> Type() { return arrow::utf8(); }
  static Status Append(arrow::ArrayBuilder* builder, const std::string& value) {
    return static_cast<arrow::StringBuilder*>(builder)->Append(value);
  }
  static Status Read(const arrow::Array& array, int64_t row, std::string* value) {
    *value = static_cast<const arrow::StringArray&>(array).GetView(row);
    return Status::OK();
  }
};

template <>
struct RecordValue<std::vector<std::byte>> {
  static std::shared_ptr<arrow::DataType> Type() { return arrow::binary(); }
  static Status Append(arrow::ArrayBuilder* builder, const std::vector<std::byte>& value) {
    return static_cast<arrow::BinaryBuilder*>(builder)->Append(
        std::string_view(reinterpret_cast<const char*>(value.data()), value.size()));
  }
  static Status Read(const arrow::Array& array, int64_t row, std::vector<std::byte>* value) {
    const auto bytes = std::as_bytes(
        std::span<const char>(static_cast<const arrow::BinaryArray&>(array).GetView(row)));
    value->assign(bytes.begin(), bytes.end());
    return Status::OK();
  }
};

template <>
struct RecordValue<ValidTime>
    : record_internal::TimeValue<ValidTime, record_internal::MicrosOf<ValidTime>,
                                 record_internal::FromMicros<ValidTime>> {};
template <>
struct RecordValue<SystemTime>
    : record_internal::TimeValue<SystemTime, record_internal::MicrosOf<SystemTime>,
                                 record_internal::FromMicros<SystemTime>> {};
template <>
struct RecordValue<record_internal::ChronoTime>
    : record_internal::TimeValue<record_internal::ChronoTime, record_internal::MicrosOfChrono,
                                 record_internal::ChronoFromMicros> {};

template <typename V>
struct RecordValue<std::optional<V>> {
  static_assert(!record_internal::kIsOptional<V>,
                "an optional of an optional is one null too many");
  static std::shared_ptr<arrow::DataType> Type() { return RecordValue<V>::Type(); }
  static Status Append(arrow::ArrayBuilder* builder, const std::optional<V>& value) {
    return value ? RecordValue<V>::Append(builder, *value) : builder->AppendNull();
  }
  static Status Read(const arrow::Array& array, int64_t row, std::optional<V>* value) {
    value->reset();
    return array.IsNull(row) ? Status::OK() : RecordValue<V>::Read(array, row, &value->emplace());
  }
};

template <typename V>
struct RecordValue<std::vector<V>> {
  static std::shared_ptr<arrow::DataType> Type() {
    return arrow::list(
        arrow::field("item", RecordValue<V>::Type(), record_internal::kIsOptional<V>));
  }
  static Status Append(arrow::ArrayBuilder* builder, const std::vector<V>& value) {
    auto* list = static_cast<arrow::ListBuilder*>(builder);
    ARROW_RETURN_NOT_OK(list->Append());
    for (const V& item : value) {
      ARROW_RETURN_NOT_OK(RecordValue<V>::Append(list->value_builder(), item));
    }
    return Status::OK();
  }
  static Status Read(const arrow::Array& array, int64_t row, std::vector<V>* value) {
    const auto& list = static_cast<const arrow::ListArray&>(array);
    value->clear();
    for (int64_t i = list.value_offset(row); i < list.value_offset(row + 1); ++i) {
      V item{};
      ARROW_RETURN_NOT_OK(record_internal::ReadNotNull(*list.values(), i, &item));
      value->push_back(std::move(item));
    }
    return Status::OK();
  }
};

template <Record T>
struct RecordValue<T> {
  static std::shared_ptr<arrow::DataType> Type() {
    return arrow::struct_(record_internal::FieldsOf<T>());
  }
  static Status Append(arrow::ArrayBuilder* builder, const T& value) {
    auto* fields = static_cast<arrow::StructBuilder*>(builder);
    ARROW_RETURN_NOT_OK(fields->Append());
    return record_internal::ForEachColumn<T>(
        [&]<typename V>(int at, const RecordColumn<T, V>& column) {
          return RecordValue<V>::Append(fields->field_builder(at), value.*column.member);
        });
  }
  static Status Read(const arrow::Array& array, int64_t row, T* value) {
    const auto& fields = static_cast<const arrow::StructArray&>(array);
    return record_internal::ForEachColumn<T>(
        [&]<typename V>(int at, const RecordColumn<T, V>& column) {
          return record_internal::ReadNotNull(*fields.field(at), row, &(value->*column.member));
        });
  }
};

/// The columns of a table whose rows are T.
template <Record T>
std::shared_ptr<arrow::Schema> SchemaOf() {
  return arrow::schema(record_internal::FieldsOf<T>());
}

/// Its key columns; without any, an append table.
template <Record T>
KeyDeclaration KeyOf() {
  KeyDeclaration key;
  (void)record_internal::ForEachColumn<T>([&](int, const auto& column) {
    if (column.key) key.names.emplace_back(column.name);
    return Status::OK();
  });
  key.no_key = key.names.empty();
  return key;
}

template <Record T>
Result<std::shared_ptr<arrow::RecordBatch>> ToBatch(std::span<const T> rows) {
  std::vector<std::shared_ptr<arrow::Array>> columns;
  ARROW_RETURN_NOT_OK(record_internal::ForEachColumn<T>(
      [&]<typename V>(int, const RecordColumn<T, V>& column) -> Status {
        std::unique_ptr<arrow::ArrayBuilder> builder;
        ARROW_RETURN_NOT_OK(
            arrow::MakeBuilder(arrow::default_memory_pool(), RecordValue<V>::Type(), &builder));
        ARROW_RETURN_NOT_OK(builder->Reserve(static_cast<int64_t>(rows.size())));
        for (const T& row : rows) {
          ARROW_RETURN_NOT_OK(RecordValue<V>::Append(builder.get(), row.*column.member));
        }
        return builder->Finish().Value(&columns.emplace_back());
      }));
  return arrow::RecordBatch::Make(SchemaOf<T>(), static_cast<int64_t>(rows.size()),
                                  std::move(columns));
}
template <Record T>
Result<std::shared_ptr<arrow::RecordBatch>> ToBatch(std::initializer_list<T> rows) {
  return ToBatch<T>(std::span<const T>(rows.begin(), rows.size()));
}

/// Appends a batch's rows. Columns are found by name and may be in any order; others are ignored,
/// so the time columns can be members as well ("_valid_from", ValidTime). kInvalidArgument: a
/// column that is missing or of another type, a null in a member that is not optional.
template <Record T>
Status AppendRecords(const arrow::RecordBatch& batch, std::vector<T>* out) {
  const size_t before = out->size();
  out->resize(before + static_cast<size_t>(batch.num_rows()));
  Status status = record_internal::ForEachColumn<T>(
      [&]<typename V>(int, const RecordColumn<T, V>& column) -> Status {
        const auto array = batch.GetColumnByName(column.name);
        if (array == nullptr) {
          return MakeError(ErrorCode::kInvalidArgument,
                           std::string("the batch lacks a column: column=") + column.name);
        }
        if (!array->type()->Equals(*RecordValue<V>::Type())) {
          return MakeError(ErrorCode::kInvalidArgument,
                           std::string("a column has another type than the member: column=") +
                               column.name + " expected=" + RecordValue<V>::Type()->ToString() +
                               " actual=" + array->type()->ToString());
        }
        for (int64_t row = 0; row < batch.num_rows(); ++row) {
          const Status read = record_internal::ReadNotNull(
              *array, row, &((*out)[before + static_cast<size_t>(row)].*column.member));
          if (read.ok()) continue;
          return MakeError(
              CodeOf(read),
              MessageOf(read) + " column=" + column.name + " row=" + std::to_string(row),
              std::string(HintOf(read)));
        }
        return Status::OK();
      });
  if (!status.ok()) out->resize(before);
  return status;
}
template <Record T>
Result<std::vector<T>> FromBatch(const arrow::RecordBatch& batch) {
  std::vector<T> out;
  ARROW_RETURN_NOT_OK(AppendRecords(batch, &out));
  return out;
}

/// Reads to the end.
template <Record T>
Result<std::vector<T>> ReadRecords(arrow::RecordBatchReader& reader) {
  std::vector<T> out;
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(reader.ReadNext(&batch));
    if (batch == nullptr) return out;
    ARROW_RETURN_NOT_OK(AppendRecords(*batch, &out));
  }
}

}  // namespace lamina
