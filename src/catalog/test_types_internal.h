// For this module's tests: column types of every accepted kind, nested ones included, and columns
// with random values.
#pragma once

#include <arrow/api.h>

#include "catalog/test_values_internal.h"

namespace lamina::catalog::testing_values {

inline std::vector<std::shared_ptr<arrow::DataType>> AcceptedTypes() {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  auto types = KeyTypes();
  const auto meta = key_value_metadata({"k"}, {"v"});
  types.push_back(null());
  for (auto unit : {TimeUnit::MILLI, TimeUnit::MICRO, TimeUnit::NANO}) {
    types.push_back(duration(unit));
    types.push_back(timestamp(unit, "Europe/Berlin"));
  }
  const std::vector<std::shared_ptr<DataType>> scalars = types;
  for (const auto& type : scalars) {
    types.push_back(list(type));
    types.push_back(struct_({field("a", type), field("b", type, true, meta)}));
  }
  types.push_back(list(field("other", int64(), false, meta)));
  types.push_back(large_list(field("x", large_utf8())));
  types.push_back(list_view(int32()));
  types.push_back(large_list_view(utf8()));
  types.push_back(fixed_size_list(field("f", float32(), false), 3));
  types.push_back(fixed_size_list(utf8(), 2));
  types.push_back(map(utf8(), int32()));
  types.push_back(map(int16(), field("item", list(utf8()), false)));
  types.push_back(std::make_shared<MapType>(utf8(), int64(), /*keys_sorted=*/true));
  types.push_back(std::make_shared<MapType>(field("kk", binary(), false, meta),
                                            field("vv", int8(), true, meta)));
  types.push_back(struct_({field("n", null()), field("i", int8(), false)}));
  types.push_back(list(list(list(struct_(
      {field("z", decimal64(12, 3)), field("m", map(utf8(), timestamp(TimeUnit::MICRO)))})))));
  types.push_back(
      struct_({field("s", struct_({field("t", struct_({field("u", uint64(), false)}), false)}))}));
  return types;
}

/// `rows` random rows; a fifth of the values that may be null are null.
inline std::shared_ptr<arrow::Array> RandomColumn(const std::shared_ptr<arrow::DataType>& type,
                                                  int64_t rows, bool nullable,
                                                  std::mt19937_64* random) {
  using arrow::Type;
  std::mt19937_64& r = *random;
  if (type->id() == Type::NA) return std::make_shared<arrow::NullArray>(rows);
  if (type->num_fields() == 0) {
    std::vector<std::shared_ptr<arrow::Scalar>> values;
    for (int64_t i = 0; i < rows; ++i) {
      values.push_back(nullable && r() % 5 == 0 ? arrow::MakeNullScalar(type)
                                                : RandomValue(type, random));
    }
    return MakeColumn(type, values);
  }
  auto validity = Must(arrow::AllocateBitmap(rows));
  int64_t nulls = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const bool valid = !nullable || r() % 5 != 0;
    nulls += valid ? 0 : 1;
    arrow::bit_util::SetBitTo(validity->mutable_data(), i, valid);
  }
  std::shared_ptr<arrow::Buffer> bitmap = nullable ? std::move(validity) : nullptr;
  if (type->id() == Type::STRUCT) {
    std::vector<std::shared_ptr<arrow::ArrayData>> children;
    for (const auto& field : type->fields())
      children.push_back(RandomColumn(field->type(), rows, field->nullable(), random)->data());
    return arrow::MakeArray(arrow::ArrayData::Make(type, rows, {bitmap}, children, nulls));
  }
  const auto& field = type->field(0);
  if (type->id() == Type::FIXED_SIZE_LIST) {
    const int32_t size = static_cast<const arrow::FixedSizeListType&>(*type).list_size();
    const auto items = RandomColumn(field->type(), rows * size, field->nullable(), random);
    return arrow::MakeArray(arrow::ArrayData::Make(type, rows, {bitmap}, {items->data()}, nulls));
  }
  // Null lists hold no items, as everyone writes them.
  std::vector<int64_t> offsets = {0};
  for (int64_t i = 0; i < rows; ++i) {
    const bool valid = bitmap == nullptr || arrow::bit_util::GetBit(bitmap->data(), i);
    offsets.push_back(offsets.back() + (valid ? static_cast<int64_t>(r() % 4) : 0));
  }
  const auto items = RandomColumn(field->type(), offsets.back(), field->nullable(), random);
  const std::vector<int32_t> narrow(offsets.begin(), offsets.end());
  std::vector<int32_t> narrow_sizes;
  std::vector<int64_t> sizes;
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    sizes.push_back(offsets[i + 1] - offsets[i]);
    narrow_sizes.push_back(narrow[i + 1] - narrow[i]);
  }
  arrow::BufferVector buffers = {bitmap};
  if (type->id() == Type::LARGE_LIST || type->id() == Type::LARGE_LIST_VIEW) {
    buffers.push_back(arrow::Buffer::FromVector(offsets));
  } else {
    buffers.push_back(arrow::Buffer::FromVector(narrow));
  }
  if (type->id() == Type::LIST_VIEW) buffers.push_back(arrow::Buffer::FromVector(narrow_sizes));
  if (type->id() == Type::LARGE_LIST_VIEW) buffers.push_back(arrow::Buffer::FromVector(sizes));
  return arrow::MakeArray(arrow::ArrayData::Make(type, rows, buffers, {items->data()}, nulls));
}

inline std::shared_ptr<arrow::Array> ColumnWithNulls(const std::shared_ptr<arrow::DataType>& type,
                                                     int64_t rows) {
  std::mt19937_64 random(11);
  auto column = RandomColumn(type, rows, true, &random);
  if (!column->ValidateFull().ok()) ADD_FAILURE() << column->ValidateFull().ToString();
  return column;
}

}  // namespace lamina::catalog::testing_values
