// Which Arrow types a column may have, and the one change of type that needs no rewriting:
// widening.
#include <algorithm>
#include <unordered_set>

#include <arrow/array/util.h>
#include <arrow/compute/cast.h>
#include <arrow/extension_type.h>
#include <arrow/type_traits.h>
#include <arrow/util/key_value_metadata.h>
#include <fmt/format.h>

#include "catalog/compute.h"
#include "catalog/encoding_internal.h"
#include "catalog/schema.h"
#include "catalog/schema_internal.h"

namespace lamina::catalog {
namespace {

using arrow::Type;

Status Invalid(std::string message, std::string hint = {}) {
  return MakeError(ErrorCode::kInvalidArgument, std::move(message), std::move(hint));
}

constexpr int kTypeDepthMax = 32;

// What is wrong with a type, and what to use instead; empty problem = nothing.
struct TypeProblem {
  std::string problem;
  std::string hint;
  bool ok() const { return problem.empty(); }
};

bool HasScale(const arrow::DataType& type) {
  const auto& decimal = static_cast<const arrow::DecimalType&>(type);
  return decimal.scale() >= 0 && decimal.scale() <= decimal.precision();
}

// Accepted is what the Parquet writer of Arrow C++ takes and its reader gives back unchanged, given
// the stored Arrow schema (SchemaTest.EveryAcceptedTypeReturnsFromParquetUnchanged), or what
// storage keeps as plain integers (units of seconds, date64: sst::TypeAtRest), and what Arrow's
// take and concatenate can handle.
TypeProblem FindTypeProblem(const arrow::DataType& type, int depth = 0) {
  if (depth > kTypeDepthMax) {
    return {fmt::format("nested deeper than {}", kTypeDepthMax), "flatten the column"};
  }
  switch (type.id()) {
    case Type::NA:
    case Type::BOOL:
    case Type::INT8:
    case Type::INT16:
    case Type::INT32:
    case Type::INT64:
    case Type::UINT8:
    case Type::UINT16:
    case Type::UINT32:
    case Type::UINT64:
    case Type::HALF_FLOAT:
    case Type::FLOAT:
    case Type::DOUBLE:
    case Type::DATE32:
    case Type::DATE64:
    case Type::TIME32:
    case Type::TIME64:
    case Type::TIMESTAMP:
    case Type::DURATION:
    case Type::STRING:
    case Type::LARGE_STRING:
    case Type::BINARY:
    case Type::LARGE_BINARY:
      return {};
    case Type::DECIMAL32:
    case Type::DECIMAL64:
    case Type::DECIMAL128:
    case Type::DECIMAL256:
      if (!HasScale(type)) {
        return {"scale outside 0 … precision", "choose a scale between 0 and the precision"};
      }
      return {};
    case Type::FIXED_SIZE_BINARY:
      if (static_cast<const arrow::FixedSizeBinaryType&>(type).byte_width() <= 0) {
        return {"width 0", "use binary"};
      }
      return {};
    case Type::STRING_VIEW:
      return {"views cannot be rearranged by Arrow's kernels", "use utf8"};
    case Type::BINARY_VIEW:
      return {"views cannot be rearranged by Arrow's kernels", "use binary"};
    case Type::DICTIONARY:
      return {"an index type limits how many values files can be merged",
              "use the value type, and name the column in TableOptions.dictionary_columns"};
    case Type::INTERVAL_MONTHS:
    case Type::INTERVAL_DAY_TIME:
    case Type::INTERVAL_MONTH_DAY_NANO:
      return {"Parquet has no such type", "use duration"};
    case Type::RUN_END_ENCODED:
      return {"Parquet has no such type", "use the value type: pages are compressed anyway"};
    case Type::SPARSE_UNION:
    case Type::DENSE_UNION:
      return {"Parquet has no such type",
              "use a struct with one nullable field for each alternative"};
    case Type::EXTENSION:
      return {
          "files hold storage types",
          fmt::format("use the storage type {}",
                      static_cast<const arrow::ExtensionType&>(type).storage_type()->ToString())};
    case Type::FIXED_SIZE_LIST:
      if (static_cast<const arrow::FixedSizeListType&>(type).list_size() <= 0) {
        return {"lists of size 0", "use list"};
      }
      break;
    case Type::STRUCT: {
      if (type.num_fields() == 0) return {"a struct without fields", "add a field"};
      std::unordered_set<std::string> names;
      for (const auto& field : type.fields()) {
        if (field->name().empty()) return {"a struct field without a name", "name it"};
        if (!names.insert(field->name()).second) {
          return {fmt::format("two struct fields of one name: {}", field->name()), "rename one"};
        }
      }
      break;
    }
    case Type::LIST:
    case Type::LARGE_LIST:
    case Type::LIST_VIEW:
    case Type::LARGE_LIST_VIEW:
    case Type::MAP:
      break;
    default:
      return {"unknown type", ""};
  }
  for (const auto& field : type.fields()) {
    TypeProblem problem = FindTypeProblem(*field->type(), depth + 1);
    if (!problem.ok()) return problem;
  }
  return {};
}

// Parquet's field ids are ours: a schema that was read from another Parquet file must not bring its
// own.
constexpr char kParquetFieldId[] = "PARQUET:field_id";

std::shared_ptr<arrow::DataType> UserType(const std::shared_ptr<arrow::DataType>& type) {
  auto child = [&] { return internal::UserField(type->field(0)); };
  switch (type->id()) {
    case Type::LIST:
      return arrow::list(child());
    case Type::LARGE_LIST:
      return arrow::large_list(child());
    case Type::LIST_VIEW:
      return arrow::list_view(child());
    case Type::LARGE_LIST_VIEW:
      return arrow::large_list_view(child());
    case Type::FIXED_SIZE_LIST:
      return arrow::fixed_size_list(
          child(), static_cast<const arrow::FixedSizeListType&>(*type).list_size());
    case Type::MAP:
      return std::make_shared<arrow::MapType>(
          child(), static_cast<const arrow::MapType&>(*type).keys_sorted());
    case Type::STRUCT: {
      arrow::FieldVector fields;
      for (const auto& field : type->fields()) fields.push_back(internal::UserField(field));
      return arrow::struct_(fields);
    }
    default:
      return type;
  }
}

// Gives `data` the names and metadata of `type`, which differs from its type in nothing else.
std::shared_ptr<arrow::ArrayData> Relabel(const std::shared_ptr<arrow::ArrayData>& data,
                                          const std::shared_ptr<arrow::DataType>& type) {
  auto copy = data->Copy();
  copy->type = type;
  for (size_t i = 0; i < copy->child_data.size() && i < static_cast<size_t>(type->num_fields());
       ++i) {
    copy->child_data[i] = Relabel(copy->child_data[i], type->field(static_cast<int>(i))->type());
  }
  return copy;
}

}  // namespace

namespace internal {

Status CheckType(const std::string& column, const arrow::DataType& type) {
  TypeProblem problem = FindTypeProblem(type);
  if (problem.ok()) return Status::OK();
  return MakeError(
      ErrorCode::kUnsupported,
      fmt::format("a column of this type cannot be stored: column={} type={} reason={}", column,
                  type.ToString(), problem.problem),
      problem.hint);
}

std::shared_ptr<const arrow::KeyValueMetadata> UserMetadata(
    const std::shared_ptr<const arrow::KeyValueMetadata>& metadata) {
  if (metadata == nullptr || metadata->size() == 0) return nullptr;
  auto copy = metadata->Copy();
  while (copy->Contains(kParquetFieldId)) {
    if (!copy->Delete(kParquetFieldId).ok()) break;
  }
  return copy->size() == 0 ? nullptr : copy;
}

std::shared_ptr<arrow::Field> UserField(const std::shared_ptr<arrow::Field>& field) {
  return arrow::field(field->name(), UserType(field->type()), field->nullable(),
                      UserMetadata(field->metadata()));
}

bool IsWidening(const arrow::DataType& from, const arrow::DataType& to) {
  if (arrow::is_integer(from.id()) && arrow::is_integer(to.id())) {
    const bool from_signed = arrow::is_signed_integer(from.id());
    const bool to_signed = arrow::is_signed_integer(to.id());
    return to.bit_width() > from.bit_width() && (to_signed || !from_signed);
  }
  if (internal::IsFloatType(from.id()) && internal::IsFloatType(to.id())) {
    return to.bit_width() > from.bit_width();
  }
  if (arrow::is_decimal(from.id()) && arrow::is_decimal(to.id())) {
    const auto& a = static_cast<const arrow::DecimalType&>(from);
    const auto& b = static_cast<const arrow::DecimalType&>(to);
    return a.scale() == b.scale() && b.precision() > a.precision();
  }
  if (from.id() == Type::DATE32) return to.id() == Type::TIMESTAMP;
  if (from.id() == Type::STRING) return to.id() == Type::LARGE_STRING;
  if (from.id() == Type::BINARY) return to.id() == Type::LARGE_BINARY;
  if (from.id() == Type::TIMESTAMP && to.id() == Type::TIMESTAMP) {
    const auto& a = static_cast<const arrow::TimestampType&>(from);
    const auto& b = static_cast<const arrow::TimestampType&>(to);
    return a.timezone() == b.timezone() && b.unit() > a.unit();
  }
  return false;
}

}  // namespace internal

bool IsValueType(const arrow::DataType& type) { return FindTypeProblem(type).ok(); }

bool IsKeyType(const arrow::DataType& type) {
  return internal::IsOrdered(type) && IsValueType(type);
}

Result<std::shared_ptr<arrow::Array>> InitialValues(const Column& column, int64_t rows) {
  if (column.initial != nullptr) return arrow::MakeArrayFromScalar(*column.initial, rows);
  return arrow::MakeArrayOfNull(column.type, rows);
}

Result<std::shared_ptr<arrow::Array>> CastColumn(const std::shared_ptr<arrow::Array>& array,
                                                 const std::shared_ptr<arrow::DataType>& to) {
  const auto& from = array->type();
  if (from->Equals(*to, /*check_metadata=*/true)) return array;
  if (from->Equals(*to)) return arrow::MakeArray(Relabel(array->data(), to));
  if (from->id() == Type::EXTENSION) {
    return CastColumn(static_cast<const arrow::ExtensionArray&>(*array).storage(), to);
  }
  if (!internal::IsWidening(*from, *to)) {
    return Invalid(fmt::format(
        "a column was written with a type that its present type does not widen: from={} to={}",
        from->ToString(), to->ToString()));
  }
  InitializeCompute();
  auto target = to;
  // Arrow would read a date as midnight in the zone; ours is midnight UTC, whatever zone the column
  // prints in.
  const bool zoned = from->id() == Type::DATE32 &&
                     !static_cast<const arrow::TimestampType&>(*to).timezone().empty();
  if (zoned) target = arrow::timestamp(static_cast<const arrow::TimestampType&>(*to).unit());
  auto cast = arrow::compute::Cast(*array, target, arrow::compute::CastOptions::Safe());
  if (!cast.ok()) {
    return Invalid(
        fmt::format("a stored value does not fit the column's wider type: from={} to={} reason={}",
                    from->ToString(), to->ToString(), cast.status().message()));
  }
  return zoned ? arrow::MakeArray(Relabel((*cast)->data(), to)) : *cast;
}

}  // namespace lamina::catalog
