#include "storage/sst/column_layout.h"

#include <arrow/array/data.h>
#include <arrow/array/util.h>
#include <arrow/compute/cast.h>
#include <arrow/extension_type.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/dictionary.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>
#include <fmt/format.h>

#include "catalog/compute.h"

namespace lamina::storage::sst {

namespace {

constexpr catalog::ColumnId kFirstTimeColumnId = 2147483000;

using arrow::Type;

std::shared_ptr<arrow::DataType> WithValueField(const arrow::DataType& type,
                                                const std::shared_ptr<arrow::Field>& field) {
  switch (type.id()) {
    case Type::LIST:
      return arrow::list(field);
    case Type::LARGE_LIST:
      return arrow::large_list(field);
    case Type::LIST_VIEW:
      return arrow::list_view(field);
    case Type::LARGE_LIST_VIEW:
      return arrow::large_list_view(field);
    default:
      return arrow::fixed_size_list(field,
                                    static_cast<const arrow::FixedSizeListType&>(type).list_size());
  }
}

// Fixed-width types whose values are plain integers of the same width, so that one can stand for
// the other.
int IntegerWidth(Type::type id) {
  switch (id) {
    case Type::INT32:
    case Type::DATE32:
    case Type::TIME32:
      return 4;
    case Type::INT64:
    case Type::DATE64:
    case Type::TIME64:
    case Type::TIMESTAMP:
    case Type::DURATION:
      return 8;
    default:
      return 0;
  }
}

// Memory of `from` read as `to` gives the same values; children are looked at by the caller.
bool SameLayout(const arrow::DataType& from, const arrow::DataType& to) {
  if (from.id() != to.id()) {
    const int width = IntegerWidth(from.id());
    const auto is = [&](Type::type a, Type::type b) {
      return (from.id() == a && to.id() == b) || (from.id() == b && to.id() == a);
    };
    const bool half = is(Type::HALF_FLOAT, Type::FIXED_SIZE_BINARY) &&
                      static_cast<const arrow::FixedWidthType&>(from).bit_width() ==
                          static_cast<const arrow::FixedWidthType&>(to).bit_width();
    return (width != 0 && width == IntegerWidth(to.id())) || half ||
           is(Type::STRING, Type::BINARY) || is(Type::LARGE_STRING, Type::LARGE_BINARY) ||
           is(Type::STRING_VIEW, Type::BINARY_VIEW);
  }
  switch (from.id()) {
    case Type::LIST:
    case Type::LARGE_LIST:
    case Type::LIST_VIEW:
    case Type::LARGE_LIST_VIEW:
    case Type::MAP:
    case Type::STRUCT:
      return from.num_fields() == to.num_fields();
    case Type::FIXED_SIZE_LIST:
      return static_cast<const arrow::FixedSizeListType&>(from).list_size() ==
             static_cast<const arrow::FixedSizeListType&>(to).list_size();
    default:
      return from.Equals(to);  // Units, scales and widths belong to the value.
  }
}

// Null when the layouts differ somewhere.
std::shared_ptr<arrow::ArrayData> View(const arrow::ArrayData& data,
                                       const std::shared_ptr<arrow::DataType>& type) {
  std::shared_ptr<arrow::ArrayData> out = data.Copy();
  out->type = type;
  const arrow::DataType* to = type.get();
  const arrow::DataType* from = data.type.get();
  if (to->id() == Type::EXTENSION) {
    to = static_cast<const arrow::ExtensionType&>(*to).storage_type().get();
  }
  if (from->id() == Type::EXTENSION) {
    from = static_cast<const arrow::ExtensionType&>(*from).storage_type().get();
  }
  if (!SameLayout(*from, *to)) {
    return nullptr;
  }
  for (size_t i = 0; i < out->child_data.size(); ++i) {
    out->child_data[i] = View(*data.child_data[i], to->field(static_cast<int>(i))->type());
    if (out->child_data[i] == nullptr) {
      return nullptr;
    }
  }
  return out;
}

}  // namespace

std::optional<catalog::ColumnId> TimeColumnId(std::string_view name) {
  catalog::ColumnId id = kFirstTimeColumnId;
  for (const char* column :
       {catalog::kValidFromColumn, catalog::kValidToColumn, catalog::kSystemFromColumn,
        catalog::kSystemToColumn, catalog::kCommitColumn}) {
    if (name == column) {
      return id;
    }
    ++id;
  }
  return std::nullopt;
}

std::shared_ptr<arrow::DataType> TypeAtRest(const std::shared_ptr<arrow::DataType>& type) {
  switch (type->id()) {
    case Type::TIMESTAMP:
      return static_cast<const arrow::TimestampType&>(*type).unit() == arrow::TimeUnit::SECOND
                 ? arrow::int64()
                 : type;
    case Type::TIME32:
      return static_cast<const arrow::Time32Type&>(*type).unit() == arrow::TimeUnit::SECOND
                 ? arrow::int32()
                 : type;
    case Type::DATE64:
      return arrow::int64();
    case Type::EXTENSION:
      return TypeAtRest(static_cast<const arrow::ExtensionType&>(*type).storage_type());
    case Type::DICTIONARY:
      return TypeAtRest(static_cast<const arrow::DictionaryType&>(*type).value_type());
    case Type::LIST:
    case Type::LARGE_LIST:
    case Type::LIST_VIEW:
    case Type::LARGE_LIST_VIEW:
    case Type::FIXED_SIZE_LIST: {
      const auto& field = type->field(0);
      const auto at_rest = TypeAtRest(field->type());
      return at_rest == field->type() ? type : WithValueField(*type, field->WithType(at_rest));
    }
    case Type::MAP: {
      const auto& map = static_cast<const arrow::MapType&>(*type);
      const auto key = TypeAtRest(map.key_type());
      const auto item = TypeAtRest(map.item_type());
      if (key == map.key_type() && item == map.item_type()) {
        return type;
      }
      return std::make_shared<arrow::MapType>(map.key_field()->WithType(key),
                                              map.item_field()->WithType(item), map.keys_sorted());
    }
    case Type::STRUCT: {
      arrow::FieldVector fields;
      bool same = true;
      for (const auto& field : type->fields()) {
        fields.push_back(field->WithType(TypeAtRest(field->type())));
        same = same && fields.back()->type() == field->type();
      }
      return same ? type : arrow::struct_(fields);
    }
    default:
      return type;
  }
}

Result<std::shared_ptr<arrow::Array>> ViewAs(const std::shared_ptr<arrow::Array>& array,
                                             const std::shared_ptr<arrow::DataType>& type) {
  if (array->type() == type || array->type()->Equals(*type, /*check_metadata=*/true)) {
    return array;
  }
  std::shared_ptr<arrow::ArrayData> view = View(*array->data(), type);
  if (view == nullptr) {
    return MakeError(ErrorCode::kInternal,
                     fmt::format("column memory does not fit the type: from={} to={}",
                                 array->type()->ToString(), type->ToString()));
  }
  return arrow::MakeArray(view);
}

Result<std::shared_ptr<arrow::Array>> Convert(const std::shared_ptr<arrow::Array>& array,
                                              const std::shared_ptr<arrow::DataType>& type) {
  if (Result<std::shared_ptr<arrow::Array>> view = ViewAs(array, type); view.ok()) {
    return view;
  }
  catalog::InitializeCompute();
  return arrow::compute::Cast(*array, type);
}

Result<std::string> EncodeArrowSchema(const arrow::Schema& schema) {
  ARROW_ASSIGN_OR_RAISE(const std::shared_ptr<arrow::Buffer> bytes,
                        arrow::ipc::SerializeSchema(schema));
  return arrow::util::base64_encode(std::string_view(*bytes));
}

Result<std::shared_ptr<arrow::Schema>> DecodeArrowSchema(const std::string& value) {
  ARROW_ASSIGN_OR_RAISE(std::string bytes, arrow::util::base64_decode(value));
  arrow::io::BufferReader stream(arrow::Buffer::FromString(std::move(bytes)));
  arrow::ipc::DictionaryMemo dictionaries;
  return arrow::ipc::ReadSchema(&stream, &dictionaries);
}

}  // namespace lamina::storage::sst
