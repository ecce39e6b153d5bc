// EncodeTable and DecodeTable: docs/format/table-definition.md. Decoding trusts nothing: every
// value is checked before an Arrow type is made from it, nesting is bounded, and the result must
// pass TableSchema::Verify.
#include <limits>
#include <new>
#include <optional>

#include <arrow/array/util.h>
#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/dictionary.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/key_value_metadata.h>
#include <fmt/format.h>

#include "base/check.h"
#include "base/codec.h"
#include "catalog/schema.h"
#include "catalog/table_codec_internal.h"

namespace lamina::catalog {
namespace {

using arrow::Type;
using base::MessageReader;
using base::MessageWriter;
namespace tag = internal::tag;

constexpr int kDepthMax = 40;  // above what FindTypeProblem accepts: it gives the better message
constexpr uint64_t kInt32Max = std::numeric_limits<int32_t>::max();

Status Corrupt(std::string what) {
  return MakeError(ErrorCode::kCorruption,
                   "a table definition cannot be decoded: " + std::move(what));
}

// Called for a field that the switch of a message does not know.
Status UnknownField(const MessageReader& reader, std::string_view message) {
  if (reader.field() >= internal::kFirstIgnorableField) return Status::OK();
  return Corrupt(
      fmt::format("unknown required field: message={} field={}", message, reader.field()));
}

// ---- Encoding ----

void WriteMetadata(uint32_t field, const arrow::KeyValueMetadata* metadata, MessageWriter* out) {
  if (metadata == nullptr) return;
  for (int64_t i = 0; i < metadata->size(); ++i) {
    out->AddMessageWith(field, [&](MessageWriter& entry) {
      entry.AddBytes(tag::kEntryKey, metadata->key(i));
      entry.AddBytes(tag::kEntryValue, metadata->value(i));
    });
  }
}

void WriteField(const arrow::Field& field, MessageWriter* out);

void WriteType(const arrow::DataType& type, MessageWriter* out) {
  const internal::TypeKindRow* row = nullptr;
  for (const auto& candidate : internal::kTypeKindRows) {
    if (candidate.id == type.id()) row = &candidate;
  }
  LAMINA_CHECK_MSG(row != nullptr, "a type that IsValueType refuses");
  out->AddVarint(tag::kTypeKind, row->kind);
  switch (type.id()) {
    case Type::TIME32:
    case Type::TIME64:
      out->AddVarint(tag::kTypeUnit,
                     static_cast<uint64_t>(static_cast<const arrow::TimeType&>(type).unit()));
      break;
    case Type::DURATION:
      out->AddVarint(tag::kTypeUnit,
                     static_cast<uint64_t>(static_cast<const arrow::DurationType&>(type).unit()));
      break;
    case Type::TIMESTAMP: {
      const auto& timestamp = static_cast<const arrow::TimestampType&>(type);
      out->AddVarint(tag::kTypeUnit, static_cast<uint64_t>(timestamp.unit()));
      if (!timestamp.timezone().empty()) out->AddBytes(tag::kTypeTimezone, timestamp.timezone());
      break;
    }
    case Type::DECIMAL32:
    case Type::DECIMAL64:
    case Type::DECIMAL128:
    case Type::DECIMAL256: {
      const auto& decimal = static_cast<const arrow::DecimalType&>(type);
      out->AddVarint(tag::kTypePrecision, static_cast<uint64_t>(decimal.precision()));
      out->AddSigned(tag::kTypeScale, decimal.scale());
      break;
    }
    case Type::FIXED_SIZE_BINARY:
      out->AddVarint(
          tag::kTypeSize,
          static_cast<uint64_t>(static_cast<const arrow::FixedSizeBinaryType&>(type).byte_width()));
      break;
    case Type::FIXED_SIZE_LIST:
      out->AddVarint(
          tag::kTypeSize,
          static_cast<uint64_t>(static_cast<const arrow::FixedSizeListType&>(type).list_size()));
      break;
    case Type::MAP:
      out->AddBool(tag::kTypeKeysSorted, static_cast<const arrow::MapType&>(type).keys_sorted());
      break;
    default:
      break;
  }
  for (const auto& child : type.fields()) {
    out->AddMessageWith(tag::kTypeChild, [&](MessageWriter& field) { WriteField(*child, &field); });
  }
}

void WriteField(const arrow::Field& field, MessageWriter* out) {
  out->AddBytes(tag::kFieldName, field.name());
  out->AddMessageWith(tag::kFieldType,
                      [&](MessageWriter& type) { WriteType(*field.type(), &type); });
  out->AddBool(tag::kFieldNullable, field.nullable());
  WriteMetadata(tag::kFieldMetadata, field.metadata().get(), out);
}

void WriteOptions(const TableOptions& options, MessageWriter* out) {
  if (options.rows_per_page != 0)
    out->AddVarint(tag::kOptionsRowsPerPage, static_cast<uint64_t>(options.rows_per_page));
  if (options.rows_per_row_group != 0) {
    out->AddVarint(tag::kOptionsRowsPerRowGroup, static_cast<uint64_t>(options.rows_per_row_group));
  }
  if (options.codec) out->AddVarint(tag::kOptionsCodec, static_cast<uint64_t>(*options.codec));
  for (const std::string& name : options.dictionary_columns)
    out->AddBytes(tag::kOptionsDictionaryColumn, name);
  if (!options.period_from_column.empty())
    out->AddBytes(tag::kOptionsPeriodFrom, options.period_from_column);
  if (!options.period_to_column.empty())
    out->AddBytes(tag::kOptionsPeriodTo, options.period_to_column);
}

// One row of one column as an Arrow IPC message: the form that the log has for rows.
std::string EncodeInitial(const Column& column) {
  const auto encode = [&]() -> Result<std::shared_ptr<arrow::Buffer>> {
    ARROW_ASSIGN_OR_RAISE(const auto one, InitialValues(column, 1));
    auto options = arrow::ipc::IpcWriteOptions::Defaults();
    options.use_threads = false;
    return arrow::ipc::SerializeRecordBatch(
        *arrow::RecordBatch::Make(arrow::schema({arrow::field("", column.type)}), 1, {one}),
        options);
  };
  const auto bytes = encode();
  if (bytes.status().IsOutOfMemory()) throw std::bad_alloc();
  LAMINA_CHECK_MSG(bytes.ok(), "an initial value that AddColumn refuses");
  return (*bytes)->ToString();
}

// ---- Decoding ----

Result<std::shared_ptr<arrow::Scalar>> DecodeInitial(std::string_view bytes,
                                                     const std::shared_ptr<arrow::DataType>& type) {
  // Copied: the value outlives the bytes, and Arrow wants its buffers aligned.
  arrow::io::BufferReader input(arrow::Buffer::FromString(std::string(bytes)));
  auto options = arrow::ipc::IpcReadOptions::Defaults();
  options.use_threads = false;
  options.ensure_alignment = arrow::ipc::Alignment::kDataTypeSpecificAlignment;
  arrow::ipc::DictionaryMemo memo;
  ARROW_ASSIGN_OR_RAISE(
      const auto row,
      arrow::ipc::ReadRecordBatch(arrow::schema({arrow::field("", type)}), &memo, options, &input));
  ARROW_RETURN_NOT_OK(row->ValidateFull());
  if (row->num_rows() != 1 || row->column(0)->IsNull(0)) return Status::Invalid("not one value");
  ARROW_ASSIGN_OR_RAISE(auto value, row->column(0)->GetScalar(0));
  // What cannot be made an array again could not be read for rows.
  ARROW_RETURN_NOT_OK(arrow::MakeArrayFromScalar(*value, 1).status());
  return value;
}

class MetadataBuilder {
 public:
  Status Add(MessageReader* parent) {
    MessageReader entry;
    if (!parent->GetMessage(&entry)) return Status::OK();  // shows in parent's status
    std::string key;
    std::string value;
    while (entry.Next()) {
      switch (entry.field()) {
        case tag::kEntryKey:
          entry.GetString(&key);
          break;
        case tag::kEntryValue:
          entry.GetString(&value);
          break;
        default:
          ARROW_RETURN_NOT_OK(UnknownField(entry, "entry"));
      }
    }
    ARROW_RETURN_NOT_OK(entry.status("metadata entry"));
    keys_.push_back(std::move(key));
    values_.push_back(std::move(value));
    return Status::OK();
  }
  std::shared_ptr<const arrow::KeyValueMetadata> Finish() {
    if (keys_.empty()) return nullptr;
    return arrow::key_value_metadata(std::move(keys_), std::move(values_));
  }

 private:
  std::vector<std::string> keys_;
  std::vector<std::string> values_;
};

Result<std::shared_ptr<arrow::Field>> ReadField(MessageReader* reader, int depth);

Result<std::shared_ptr<arrow::DataType>> ReadType(MessageReader* reader, int depth) {
  if (depth > kDepthMax) return Corrupt(fmt::format("types nested too deep: limit={}", kDepthMax));
  uint64_t kind = 0;
  uint64_t unit = 0;
  uint64_t precision = 0;
  uint64_t size = 0;
  int64_t scale = 0;
  bool keys_sorted = false;
  std::string timezone;
  arrow::FieldVector children;
  while (reader->Next()) {
    switch (reader->field()) {
      case tag::kTypeKind:
        reader->GetVarint(&kind);
        break;
      case tag::kTypeUnit:
        reader->GetVarint(&unit);
        break;
      case tag::kTypeTimezone:
        reader->GetString(&timezone);
        break;
      case tag::kTypePrecision:
        reader->GetVarint(&precision);
        break;
      case tag::kTypeScale:
        reader->GetSigned(&scale);
        break;
      case tag::kTypeSize:
        reader->GetVarint(&size);
        break;
      case tag::kTypeKeysSorted:
        reader->GetBool(&keys_sorted);
        break;
      case tag::kTypeChild: {
        MessageReader child;
        if (!reader->GetMessage(&child)) break;
        ARROW_ASSIGN_OR_RAISE(children.emplace_back(), ReadField(&child, depth + 1));
        break;
      }
      default:
        ARROW_RETURN_NOT_OK(UnknownField(*reader, "type"));
    }
  }
  ARROW_RETURN_NOT_OK(reader->status("column type"));

  const internal::TypeKindRow* row = nullptr;
  for (const auto& candidate : internal::kTypeKindRows) {
    if (candidate.kind == kind) row = &candidate;
  }
  if (row == nullptr) return Corrupt(fmt::format("unknown type kind: kind={}", kind));
  auto bad = [&](std::string_view what) {
    return Corrupt(fmt::format("{}: type={}", what, row->name));
  };
  const bool any_children = row->id == Type::STRUCT;
  const bool one_child = row->id == Type::LIST || row->id == Type::LARGE_LIST ||
                         row->id == Type::LIST_VIEW || row->id == Type::LARGE_LIST_VIEW ||
                         row->id == Type::FIXED_SIZE_LIST || row->id == Type::MAP;
  if (!any_children && children.size() != (one_child ? 1U : 0U)) {
    return bad("wrong number of children");
  }
  if (unit > static_cast<uint64_t>(arrow::TimeUnit::NANO)) return bad("unknown time unit");
  const auto time_unit = static_cast<arrow::TimeUnit::type>(unit);
  const bool coarse = time_unit == arrow::TimeUnit::SECOND || time_unit == arrow::TimeUnit::MILLI;
  if (precision > kInt32Max || size > kInt32Max || scale < -static_cast<int64_t>(kInt32Max) ||
      scale > static_cast<int64_t>(kInt32Max)) {
    return bad("parameter out of range");
  }
  const auto narrow_precision = static_cast<int32_t>(precision);
  const auto narrow_scale = static_cast<int32_t>(scale);
  auto decimal = [&](Result<std::shared_ptr<arrow::DataType>> made)
      -> Result<std::shared_ptr<arrow::DataType>> {
    if (!made.ok()) return bad("precision out of range");
    return made;
  };
  switch (row->id) {
    case Type::NA:
      return arrow::null();
    case Type::BOOL:
      return arrow::boolean();
    case Type::INT8:
      return arrow::int8();
    case Type::INT16:
      return arrow::int16();
    case Type::INT32:
      return arrow::int32();
    case Type::INT64:
      return arrow::int64();
    case Type::UINT8:
      return arrow::uint8();
    case Type::UINT16:
      return arrow::uint16();
    case Type::UINT32:
      return arrow::uint32();
    case Type::UINT64:
      return arrow::uint64();
    case Type::HALF_FLOAT:
      return arrow::float16();
    case Type::FLOAT:
      return arrow::float32();
    case Type::DOUBLE:
      return arrow::float64();
    case Type::DECIMAL32:
      return decimal(arrow::Decimal32Type::Make(narrow_precision, narrow_scale));
    case Type::DECIMAL64:
      return decimal(arrow::Decimal64Type::Make(narrow_precision, narrow_scale));
    case Type::DECIMAL128:
      return decimal(arrow::Decimal128Type::Make(narrow_precision, narrow_scale));
    case Type::DECIMAL256:
      return decimal(arrow::Decimal256Type::Make(narrow_precision, narrow_scale));
    case Type::DATE32:
      return arrow::date32();
    case Type::DATE64:
      return arrow::date64();
    case Type::TIME32:
      if (!coarse) return bad("wrong time unit");
      return arrow::time32(time_unit);
    case Type::TIME64:
      if (coarse) return bad("wrong time unit");
      return arrow::time64(time_unit);
    case Type::TIMESTAMP:
      return arrow::timestamp(time_unit, timezone);
    case Type::DURATION:
      return arrow::duration(time_unit);
    case Type::STRING:
      return arrow::utf8();
    case Type::LARGE_STRING:
      return arrow::large_utf8();
    case Type::BINARY:
      return arrow::binary();
    case Type::LARGE_BINARY:
      return arrow::large_binary();
    case Type::FIXED_SIZE_BINARY:
      if (size == 0) return bad("size 0");
      return arrow::fixed_size_binary(static_cast<int32_t>(size));
    case Type::LIST:
      return arrow::list(children[0]);
    case Type::LARGE_LIST:
      return arrow::large_list(children[0]);
    case Type::LIST_VIEW:
      return arrow::list_view(children[0]);
    case Type::LARGE_LIST_VIEW:
      return arrow::large_list_view(children[0]);
    case Type::FIXED_SIZE_LIST:
      if (size == 0) return bad("size 0");
      return arrow::fixed_size_list(children[0], static_cast<int32_t>(size));
    case Type::STRUCT:
      return arrow::struct_(children);
    case Type::MAP: {
      auto map = arrow::MapType::Make(children[0], keys_sorted);
      if (!map.ok()) return bad("a map needs a not-null struct of a not-null key and a value");
      return map;
    }
    default:
      return bad("type without a decoder");
  }
}

Result<std::shared_ptr<arrow::Field>> ReadField(MessageReader* reader, int depth) {
  std::string name;
  std::shared_ptr<arrow::DataType> type;
  bool nullable = true;
  MetadataBuilder metadata;
  while (reader->Next()) {
    switch (reader->field()) {
      case tag::kFieldName:
        reader->GetString(&name);
        break;
      case tag::kFieldType: {
        MessageReader message;
        if (!reader->GetMessage(&message)) break;
        ARROW_ASSIGN_OR_RAISE(type, ReadType(&message, depth));
        break;
      }
      case tag::kFieldNullable:
        reader->GetBool(&nullable);
        break;
      case tag::kFieldMetadata:
        ARROW_RETURN_NOT_OK(metadata.Add(reader));
        break;
      default:
        ARROW_RETURN_NOT_OK(UnknownField(*reader, "field"));
    }
  }
  ARROW_RETURN_NOT_OK(reader->status("column field"));
  if (type == nullptr) return Corrupt(fmt::format("a field without a type: field={}", name));
  return arrow::field(std::move(name), std::move(type), nullable, metadata.Finish());
}

Result<Column> ReadColumn(MessageReader* reader) {
  uint64_t id = 0;
  std::shared_ptr<arrow::Field> field;
  std::optional<std::string> initial;
  while (reader->Next()) {
    switch (reader->field()) {
      case tag::kColumnId:
        reader->GetVarint(&id);
        break;
      case tag::kColumnField: {
        MessageReader message;
        if (!reader->GetMessage(&message)) break;
        ARROW_ASSIGN_OR_RAISE(field, ReadField(&message, 0));
        break;
      }
      case tag::kColumnInitial:
        reader->GetString(&initial.emplace());
        break;
      default:
        ARROW_RETURN_NOT_OK(UnknownField(*reader, "column"));
    }
  }
  ARROW_RETURN_NOT_OK(reader->status("column"));
  if (field == nullptr) return Corrupt(fmt::format("a column without a field: id={}", id));
  if (id == 0 || id > kInt32Max) return Corrupt(fmt::format("column id out of range: id={}", id));
  Column column{static_cast<ColumnId>(id), field->name(), field->type(), field->nullable(),
                field->metadata()};
  // Types that no column has would only be refused after Arrow had read a value of them.
  if (initial && IsValueType(*column.type)) {
    auto value = DecodeInitial(*initial, column.type);
    if (!value.ok()) {
      if (value.status().IsOutOfMemory()) return value.status();
      return Corrupt(
          fmt::format("initial value: column={} reason={}", column.name, value.status().message()));
    }
    column.initial = std::move(*value);
  }
  return column;
}

Result<TableOptions> ReadOptions(MessageReader* reader) {
  TableOptions options;
  uint64_t rows_per_page = 0;
  uint64_t rows_per_row_group = 0;
  std::optional<uint64_t> codec;
  while (reader->Next()) {
    switch (reader->field()) {
      case tag::kOptionsRowsPerPage:
        reader->GetVarint(&rows_per_page);
        break;
      case tag::kOptionsRowsPerRowGroup:
        reader->GetVarint(&rows_per_row_group);
        break;
      case tag::kOptionsCodec:
        reader->GetVarint(&codec.emplace());
        break;
      case tag::kOptionsDictionaryColumn:
        reader->GetString(&options.dictionary_columns.emplace_back());
        break;
      case tag::kOptionsPeriodFrom:
        reader->GetString(&options.period_from_column);
        break;
      case tag::kOptionsPeriodTo:
        reader->GetString(&options.period_to_column);
        break;
      default:
        ARROW_RETURN_NOT_OK(UnknownField(*reader, "options"));
    }
  }
  ARROW_RETURN_NOT_OK(reader->status("table options"));
  if (rows_per_page > kInt32Max || rows_per_row_group > kInt32Max) {
    return Corrupt("an option is out of range");
  }
  options.rows_per_page = static_cast<int32_t>(rows_per_page);
  options.rows_per_row_group = static_cast<int32_t>(rows_per_row_group);
  if (codec) {
    if (*codec > static_cast<uint64_t>(Codec::kZstd)) {
      return Corrupt(fmt::format("unknown codec: codec={}", *codec));
    }
    options.codec = static_cast<Codec>(*codec);
  }
  return options;
}

}  // namespace

std::string EncodeTable(const TableSchema& table) {
  std::string out;
  MessageWriter writer(&out);
  writer.AddVarint(tag::kTableId, table.id.value);
  writer.AddBytes(tag::kTableName, table.name);
  writer.AddVarint(tag::kTableVersion, table.version);
  for (const Column& column : table.columns) {
    writer.AddMessageWith(tag::kTableColumn, [&](MessageWriter& message) {
      message.AddVarint(tag::kColumnId, static_cast<uint64_t>(column.id));
      const arrow::Field field(column.name, column.type, column.nullable, column.metadata);
      message.AddMessageWith(tag::kColumnField,
                             [&](MessageWriter& body) { WriteField(field, &body); });
      if (column.initial != nullptr) message.AddBytes(tag::kColumnInitial, EncodeInitial(column));
    });
  }
  const std::vector<uint64_t> key(table.key.begin(), table.key.end());
  writer.AddPackedVarints(tag::kTableKey, key);
  writer.AddVarint(tag::kTableNextColumnId, static_cast<uint64_t>(table.next_column_id));
  writer.AddBool(tag::kTableHasPrimaryKey, table.has_primary_key);
  writer.AddMessageWith(tag::kTableOptions,
                        [&](MessageWriter& options) { WriteOptions(table.options, &options); });
  WriteMetadata(tag::kTableMetadata, table.metadata.get(), &writer);
  return out;
}

Result<TableSchemaPtr> DecodeTable(std::string_view bytes) {
  TableSchema table;
  uint64_t version = 0;
  uint64_t next_column_id = 0;
  std::vector<uint64_t> key;
  MetadataBuilder metadata;
  MessageReader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case tag::kTableId:
        reader.GetVarint(&table.id.value);
        break;
      case tag::kTableName:
        reader.GetString(&table.name);
        break;
      case tag::kTableVersion:
        reader.GetVarint(&version);
        break;
      case tag::kTableColumn: {
        MessageReader message;
        if (!reader.GetMessage(&message)) break;
        ARROW_ASSIGN_OR_RAISE(table.columns.emplace_back(), ReadColumn(&message));
        break;
      }
      case tag::kTableKey:
        reader.GetVarints(&key);
        break;
      case tag::kTableNextColumnId:
        reader.GetVarint(&next_column_id);
        break;
      case tag::kTableHasPrimaryKey:
        reader.GetBool(&table.has_primary_key);
        break;
      case tag::kTableOptions: {
        MessageReader message;
        if (!reader.GetMessage(&message)) break;
        ARROW_ASSIGN_OR_RAISE(table.options, ReadOptions(&message));
        break;
      }
      case tag::kTableMetadata:
        ARROW_RETURN_NOT_OK(metadata.Add(&reader));
        break;
      default:
        ARROW_RETURN_NOT_OK(UnknownField(reader, "table"));
    }
  }
  ARROW_RETURN_NOT_OK(reader.status("table definition"));
  if (version > std::numeric_limits<uint32_t>::max()) {
    return Corrupt(fmt::format("version out of range: version={}", version));
  }
  if (next_column_id > kInt32Max) {
    return Corrupt(fmt::format("next_column_id out of range: value={}", next_column_id));
  }
  table.version = static_cast<uint32_t>(version);
  table.next_column_id = static_cast<ColumnId>(next_column_id);
  for (uint64_t id : key) {
    if (id > kInt32Max) return Corrupt(fmt::format("key column id out of range: id={}", id));
    table.key.push_back(static_cast<ColumnId>(id));
  }
  table.metadata = metadata.Finish();
  if (Status status = table.Verify(); !status.ok()) return Corrupt(MessageOf(status));
  return std::make_shared<const TableSchema>(std::move(table));
}

}  // namespace lamina::catalog
