// For this folder's tests: random arrays of any type, and row batches with their keys.
#pragma once

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <arrow/api.h>
#include <arrow/compute/api.h>
#include <arrow/compute/initialize.h>
#include <gtest/gtest.h>

#include "base/ulid.h"
#include "catalog/key_codec.h"
#include "catalog/schema.h"
#include "storage/sst/file_reader.h"
#include "storage/sst/file_writer.h"
#include "storage/sst/row_batch.h"

namespace lamina::storage::sst::testing_tables {

template <typename T>
T Must(Result<T> result) {
  EXPECT_TRUE(result.ok()) << result.status();
  if (!result.ok()) std::abort();
  return std::move(result).ValueUnsafe();
}

inline std::shared_ptr<arrow::Array> RandomArray(const std::shared_ptr<arrow::DataType>& type,
                                                 int64_t rows, bool nullable,
                                                 std::mt19937_64& random) {
  using arrow::Type;
  if (type->id() == Type::NA) return Must(arrow::MakeArrayOfNull(type, rows));
  std::shared_ptr<arrow::Buffer> valid;
  if (nullable) {
    valid = Must(arrow::AllocateBitmap(rows));
    std::memset(valid->mutable_data(), 0, static_cast<size_t>(valid->size()));
    for (int64_t i = 0; i < rows; ++i)
      arrow::bit_util::SetBitTo(valid->mutable_data(), i, random() % 5 != 0);
  }
  const auto with = [&](std::vector<std::shared_ptr<arrow::Buffer>> buffers,
                        std::vector<std::shared_ptr<arrow::ArrayData>> children = {}) {
    buffers.insert(buffers.begin(), valid);
    return arrow::MakeArray(
        arrow::ArrayData::Make(type, rows, std::move(buffers), std::move(children)));
  };
  const auto offsets = [&](auto width, int64_t* total) {
    auto buffer = Must(arrow::AllocateBuffer((rows + 1) * static_cast<int64_t>(sizeof(width))));
    auto* values = reinterpret_cast<decltype(width)*>(buffer->mutable_data());
    values[0] = 0;
    for (int64_t i = 0; i < rows; ++i)
      values[i + 1] = values[i] + static_cast<decltype(width)>(random() % 4);
    *total = static_cast<int64_t>(values[rows]);
    return std::shared_ptr<arrow::Buffer>(std::move(buffer));
  };
  int64_t total = 0;
  switch (type->id()) {
    case Type::STRING:
    case Type::BINARY:
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY: {
      const bool large = type->id() == Type::LARGE_STRING || type->id() == Type::LARGE_BINARY;
      auto positions = large ? offsets(int64_t{}, &total) : offsets(int32_t{}, &total);
      std::string text(static_cast<size_t>(total), 'x');
      for (char& c : text) c = static_cast<char>('a' + random() % 5);
      return with({positions, arrow::Buffer::FromString(std::move(text))});
    }
    case Type::LIST:
      return [&] {
        auto positions = offsets(int32_t{}, &total);
        return with({positions},
                    {RandomArray(type->field(0)->type(), total, type->field(0)->nullable(), random)
                         ->data()});
      }();
    case Type::LARGE_LIST:
      return [&] {
        auto positions = offsets(int64_t{}, &total);
        return with({positions},
                    {RandomArray(type->field(0)->type(), total, type->field(0)->nullable(), random)
                         ->data()});
      }();
    case Type::MAP:
      return [&] {
        auto positions = offsets(int32_t{}, &total);
        return with({positions},
                    {RandomArray(type->field(0)->type(), total, false, random)->data()});
      }();
    case Type::FIXED_SIZE_LIST: {
      const int32_t size = static_cast<const arrow::FixedSizeListType&>(*type).list_size();
      return with(
          {}, {RandomArray(type->field(0)->type(), rows * size, type->field(0)->nullable(), random)
                   ->data()});
    }
    case Type::STRUCT: {
      std::vector<std::shared_ptr<arrow::ArrayData>> children;
      for (const auto& field : type->fields()) {
        children.push_back(RandomArray(field->type(), rows, field->nullable(), random)->data());
      }
      return with({}, std::move(children));
    }
    case Type::STRING_VIEW:
    case Type::BINARY_VIEW:
      return Must(arrow::compute::Cast(
          *RandomArray(type->id() == Type::STRING_VIEW ? arrow::utf8() : arrow::binary(), rows,
                       nullable, random),
          type));
    case Type::DICTIONARY:
      return Must(arrow::compute::Cast(
          *RandomArray(static_cast<const arrow::DictionaryType&>(*type).value_type(), rows,
                       nullable, random),
          type));
    case Type::EXTENSION: {
      auto storage = RandomArray(static_cast<const arrow::ExtensionType&>(*type).storage_type(),
                                 rows, nullable, random);
      return arrow::ExtensionType::WrapArray(type, storage);
    }
    default:
      break;
  }
  const int bits = static_cast<const arrow::FixedWidthType&>(*type).bit_width();
  std::string bytes(static_cast<size_t>((rows * bits + 7) / 8), '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  if (arrow::is_decimal(type->id())) {
    // Any bytes would exceed the precision: small numbers of both signs, sign-extended.
    const auto width = static_cast<size_t>(bits / 8);
    for (int64_t i = 0; i < rows; ++i) {
      const auto value = static_cast<int64_t>(random() % 1999) - 999;
      std::memset(bytes.data() + static_cast<size_t>(i) * width, value < 0 ? 0xff : 0, width);
      std::memcpy(bytes.data() + static_cast<size_t>(i) * width, &value,
                  std::min<size_t>(width, 8));
    }
  }
  return with({arrow::Buffer::FromString(std::move(bytes))});
}

inline base::Ulid FileId(uint8_t number) {
  base::Ulid id;
  id.bytes.fill(number);
  id.bytes[0] = 1;
  return id;
}

struct KeyedBatch {
  std::shared_ptr<arrow::RecordBatch> rows;
  std::shared_ptr<arrow::BinaryArray> keys;
};

/// Sorts `columns` (the storage columns) by key and adds time columns: versions of one key follow
/// each other.
inline KeyedBatch MakeRows(const catalog::TableSchema& table,
                           std::vector<std::shared_ptr<arrow::Array>> columns, FileKind kind,
                           bool valid, std::mt19937_64& random) {
  const int64_t rows = columns.front()->length();
  const auto storage = arrow::RecordBatch::Make(table.StorageSchema(), rows, std::move(columns));
  const catalog::KeyCodec codec(table);
  const auto keys = Must(codec.Encode(*storage));
  std::vector<int64_t> order(static_cast<size_t>(rows));
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return keys->GetView(a) < keys->GetView(b); });
  arrow::Int64Builder indices;
  EXPECT_TRUE(indices.AppendValues(order).ok());
  const auto taken = Must(indices.Finish());
  std::vector<std::shared_ptr<arrow::Array>> out;
  for (int i = 0; i < storage->num_columns(); ++i) {
    // Concatenation of slices: take() lacks some types.
    std::vector<std::shared_ptr<arrow::Array>> parts;
    parts.reserve(order.size());
    for (const int64_t row : order) parts.push_back(storage->column(i)->Slice(row, 1));
    out.push_back(Must(arrow::Concatenate(parts)));
  }
  std::vector<std::shared_ptr<arrow::Array>> key_parts;
  key_parts.reserve(order.size());
  for (const int64_t row : order) key_parts.push_back(keys->Slice(row, 1));
  const auto sorted_keys =
      std::static_pointer_cast<arrow::BinaryArray>(Must(arrow::Concatenate(key_parts)));
  arrow::Int64Builder commit;
  arrow::TimestampBuilder valid_from(TimeType(), arrow::default_memory_pool());
  arrow::TimestampBuilder valid_to(TimeType(), arrow::default_memory_pool());
  arrow::TimestampBuilder system_from(TimeType(), arrow::default_memory_pool());
  arrow::TimestampBuilder system_to(TimeType(), arrow::default_memory_pool());
  int64_t version = 0;
  for (int64_t i = 0; i < rows; ++i) {
    version = i > 0 && sorted_keys->GetView(i) == sorted_keys->GetView(i - 1) ? version + 1 : 0;
    const int64_t from =
        1000 + version * 10 + (version == 0 ? static_cast<int64_t>(random() % 5) : 5);
    EXPECT_TRUE(valid_from.Append(valid ? version * 100 : INT64_MIN).ok());
    EXPECT_TRUE(valid_to.Append(valid && random() % 2 == 0 ? version * 100 + 50 : INT64_MAX).ok());
    EXPECT_TRUE(system_from.Append(from).ok());
    EXPECT_TRUE(system_to
                    .Append(kind == FileKind::kHistory
                                ? from + 1 + static_cast<int64_t>(random() % 9)
                                : INT64_MAX)
                    .ok());
    EXPECT_TRUE(commit.Append(from / 10).ok());
  }
  for (arrow::ArrayBuilder* builder : std::initializer_list<arrow::ArrayBuilder*>{
           &valid_from, &valid_to, &system_from, &system_to, &commit}) {
    out.push_back(Must(builder->Finish()));
  }
  return {arrow::RecordBatch::Make(RowBatchSchema(table), rows, std::move(out)), sorted_keys};
}

/// Writes in batches of odd sizes, so that they fall across pages and row groups.
inline DataFile WriteFile(const std::shared_ptr<ObjectStore>& store,
                          const catalog::TableSchemaPtr& table, const KeyedBatch& batch,
                          WriterOptions options, uint8_t number = 1, int64_t step = 37) {
  auto writer = Must(FileWriter::Make(store, table, FileId(number), options));
  for (int64_t i = 0; i < batch.rows->num_rows(); i += step) {
    const auto keys = std::static_pointer_cast<arrow::BinaryArray>(batch.keys->Slice(i, step));
    const Status written = writer->Write(batch.rows->Slice(i, step), *keys);
    EXPECT_TRUE(written.ok()) << written;
  }
  EXPECT_EQ(writer->rows(), batch.rows->num_rows());
  return Must(writer->Finish());
}

}  // namespace lamina::storage::sst::testing_tables
