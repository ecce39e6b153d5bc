#include "sql/types.h"

#include <arrow/util/key_value_metadata.h>
#include <duckdb/common/types/decimal.hpp>
#include <duckdb/parser/parser.hpp>
#include <fmt/format.h>

#include "catalog/schema.h"
#include "sql/error_translation.h"

namespace lamina::sql {

using duckdb::LogicalType;
using duckdb::LogicalTypeId;

namespace {

/// JSON is text with a name that counts; other names are of user types, and their definition
/// counts.
bool IsJson(const LogicalType& type) { return type.HasAlias() && type.GetAlias() == "JSON"; }

/// The type's definition: the names of user types, which may be dropped, are gone.
LogicalType Definition(const LogicalType& type) {
  if (IsJson(type)) return type;
  switch (type.id()) {
    case LogicalTypeId::LIST:
      return LogicalType::LIST(Definition(duckdb::ListType::GetChildType(type)));
    case LogicalTypeId::ARRAY:
      return LogicalType::ARRAY(Definition(duckdb::ArrayType::GetChildType(type)),
                                duckdb::ArrayType::GetSize(type));
    case LogicalTypeId::MAP:
      return LogicalType::MAP(Definition(duckdb::MapType::KeyType(type)),
                              Definition(duckdb::MapType::ValueType(type)));
    case LogicalTypeId::STRUCT: {
      duckdb::child_list_t<LogicalType> children;
      for (const auto& child : duckdb::StructType::GetChildTypes(type))
        children.emplace_back(child.first, Definition(child.second));
      return LogicalType::STRUCT(std::move(children));
    }
    case LogicalTypeId::UNION: {
      duckdb::child_list_t<LogicalType> members;
      for (const auto& member : duckdb::UnionType::CopyMemberTypes(type))
        members.emplace_back(member.first, Definition(member.second));
      return LogicalType::UNION(std::move(members));
    }
    default: {
      LogicalType out = type;
      if (out.HasAlias()) {
        out = out.DeepCopy();
        out.SetAlias("");
      }
      return out;
    }
  }
}

/// Whether FromArrow(ToStorage(type)) is another type.
bool NeedsName(const LogicalType& type) {
  if (IsJson(type)) return true;
  switch (type.id()) {
    case LogicalTypeId::HUGEINT:
    case LogicalTypeId::UHUGEINT:
    case LogicalTypeId::UUID:
    case LogicalTypeId::ENUM:
    case LogicalTypeId::INTERVAL:
    case LogicalTypeId::TIME_TZ:
    case LogicalTypeId::BIT:
    case LogicalTypeId::UNION:
      return true;
    case LogicalTypeId::LIST:
      return NeedsName(duckdb::ListType::GetChildType(type));
    case LogicalTypeId::ARRAY:
      return NeedsName(duckdb::ArrayType::GetChildType(type));
    case LogicalTypeId::MAP:
      return NeedsName(duckdb::MapType::KeyType(type)) ||
             NeedsName(duckdb::MapType::ValueType(type));
    case LogicalTypeId::STRUCT: {
      for (const auto& child : duckdb::StructType::GetChildTypes(type)) {
        if (NeedsName(child.second)) return true;
      }
      return false;
    }
    default:
      return false;
  }
}

LogicalType FromArrow(const arrow::DataType& type, const TypeParser& parse);

LogicalType FromTimestamp(const arrow::TimestampType& type) {
  if (!type.timezone().empty()) return LogicalType::TIMESTAMP_TZ;
  switch (type.unit()) {
    case arrow::TimeUnit::SECOND:
      return LogicalType::TIMESTAMP_S;
    case arrow::TimeUnit::MILLI:
      return LogicalType::TIMESTAMP_MS;
    case arrow::TimeUnit::MICRO:
      return LogicalType::TIMESTAMP;
    case arrow::TimeUnit::NANO:
      return LogicalType::TIMESTAMP_NS;
  }
  return LogicalType::TIMESTAMP;
}

LogicalType FromDecimal(const arrow::DataType& type) {
  const auto& decimal = static_cast<const arrow::DecimalType&>(type);
  // Beyond what DuckDB holds exactly: its text.
  if (decimal.precision() > 38 || decimal.scale() < 0) return LogicalType::VARCHAR;
  return LogicalType::DECIMAL(static_cast<uint8_t>(decimal.precision()),
                              static_cast<uint8_t>(decimal.scale()));
}

LogicalType FromArrow(const arrow::DataType& type, const TypeParser& parse) {
  using arrow::Type;
  switch (type.id()) {
    case Type::BOOL:
      return LogicalType::BOOLEAN;
    case Type::INT8:
      return LogicalType::TINYINT;
    case Type::INT16:
      return LogicalType::SMALLINT;
    case Type::INT32:
      return LogicalType::INTEGER;
    case Type::INT64:
      return LogicalType::BIGINT;
    case Type::UINT8:
      return LogicalType::UTINYINT;
    case Type::UINT16:
      return LogicalType::USMALLINT;
    case Type::UINT32:
      return LogicalType::UINTEGER;
    case Type::UINT64:
      return LogicalType::UBIGINT;
    case Type::HALF_FLOAT:
    case Type::FLOAT:
      return LogicalType::FLOAT;
    case Type::DOUBLE:
      return LogicalType::DOUBLE;
    case Type::DECIMAL32:
    case Type::DECIMAL64:
    case Type::DECIMAL128:
    case Type::DECIMAL256:
      return FromDecimal(type);
    case Type::STRING:
    case Type::LARGE_STRING:
      return LogicalType::VARCHAR;
    case Type::DATE32:
    case Type::DATE64:
      return LogicalType::DATE;
    case Type::TIME32:
      return LogicalType::TIME;
    case Type::TIME64:
      return static_cast<const arrow::TimeType&>(type).unit() == arrow::TimeUnit::NANO
                 ? LogicalType::TIME_NS
                 : LogicalType::TIME;
    case Type::TIMESTAMP:
      return FromTimestamp(static_cast<const arrow::TimestampType&>(type));
    case Type::DURATION:
      return LogicalType::INTERVAL;
    case Type::LIST:
    case Type::LARGE_LIST:
      return LogicalType::LIST(FromStorage(*type.field(0), parse));
    case Type::FIXED_SIZE_LIST:
      return LogicalType::ARRAY(
          FromStorage(*type.field(0), parse),
          static_cast<uint64_t>(static_cast<const arrow::FixedSizeListType&>(type).list_size()));
    case Type::STRUCT: {
      duckdb::child_list_t<LogicalType> children;
      for (const auto& field : type.fields())
        children.emplace_back(field->name(), FromStorage(*field, parse));
      return LogicalType::STRUCT(std::move(children));
    }
    case Type::MAP: {
      const auto& map = static_cast<const arrow::MapType&>(type);
      return LogicalType::MAP(FromStorage(*map.key_field(), parse),
                              FromStorage(*map.item_field(), parse));
    }
    default:
      return LogicalType::BLOB;  // the binary types: IsValueType knows no others
  }
}

}  // namespace

Result<std::shared_ptr<arrow::DataType>> ToStorage(const LogicalType& type) {
  switch (type.id()) {
    case LogicalTypeId::BOOLEAN:
      return arrow::boolean();
    case LogicalTypeId::TINYINT:
      return arrow::int8();
    case LogicalTypeId::SMALLINT:
      return arrow::int16();
    case LogicalTypeId::INTEGER:
      return arrow::int32();
    case LogicalTypeId::BIGINT:
      return arrow::int64();
    case LogicalTypeId::UTINYINT:
      return arrow::uint8();
    case LogicalTypeId::USMALLINT:
      return arrow::uint16();
    case LogicalTypeId::UINTEGER:
      return arrow::uint32();
    case LogicalTypeId::UBIGINT:
      return arrow::uint64();
    case LogicalTypeId::HUGEINT:
    case LogicalTypeId::UHUGEINT:
      return arrow::decimal256(39, 0);
    case LogicalTypeId::FLOAT:
      return arrow::float32();
    case LogicalTypeId::DOUBLE:
      return arrow::float64();
    case LogicalTypeId::DECIMAL:
      return arrow::decimal128(duckdb::DecimalType::GetWidth(type),
                               duckdb::DecimalType::GetScale(type));
    case LogicalTypeId::VARCHAR:
    case LogicalTypeId::ENUM:
      return arrow::utf8();
    case LogicalTypeId::BLOB:
    case LogicalTypeId::BIT:
      return arrow::binary();
    case LogicalTypeId::TIME_TZ:
      return arrow::uint64();
    case LogicalTypeId::UNION: {
      // Which member it is, then the members, of which one is not null.
      arrow::FieldVector fields{arrow::field("_tag", arrow::uint8())};
      for (const auto& [name, member] : duckdb::UnionType::CopyMemberTypes(type)) {
        ARROW_ASSIGN_OR_RAISE(auto storage, ToStorage(member));
        fields.push_back(arrow::field(name, std::move(storage)));
      }
      return arrow::struct_(std::move(fields));
    }
    case LogicalTypeId::UUID:
      return arrow::fixed_size_binary(16);
    case LogicalTypeId::DATE:
      return arrow::date32();
    case LogicalTypeId::TIME:
      return arrow::time64(arrow::TimeUnit::MICRO);
    case LogicalTypeId::TIME_NS:
      return arrow::time64(arrow::TimeUnit::NANO);
    case LogicalTypeId::TIMESTAMP_SEC:
      return arrow::timestamp(arrow::TimeUnit::SECOND);
    case LogicalTypeId::TIMESTAMP_MS:
      return arrow::timestamp(arrow::TimeUnit::MILLI);
    case LogicalTypeId::TIMESTAMP:
      return arrow::timestamp(arrow::TimeUnit::MICRO);
    case LogicalTypeId::TIMESTAMP_NS:
      return arrow::timestamp(arrow::TimeUnit::NANO);
    case LogicalTypeId::TIMESTAMP_TZ:
      return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    case LogicalTypeId::INTERVAL:
      return arrow::struct_({arrow::field("months", arrow::int32()),
                             arrow::field("days", arrow::int32()),
                             arrow::field("micros", arrow::int64())});
    case LogicalTypeId::LIST: {
      ARROW_ASSIGN_OR_RAISE(auto child, ToStorage(duckdb::ListType::GetChildType(type)));
      return arrow::list(std::move(child));
    }
    case LogicalTypeId::ARRAY: {
      ARROW_ASSIGN_OR_RAISE(auto child, ToStorage(duckdb::ArrayType::GetChildType(type)));
      return arrow::fixed_size_list(std::move(child),
                                    static_cast<int32_t>(duckdb::ArrayType::GetSize(type)));
    }
    case LogicalTypeId::MAP: {
      ARROW_ASSIGN_OR_RAISE(auto key, ToStorage(duckdb::MapType::KeyType(type)));
      ARROW_ASSIGN_OR_RAISE(auto value, ToStorage(duckdb::MapType::ValueType(type)));
      return arrow::map(std::move(key), std::move(value));
    }
    case LogicalTypeId::STRUCT: {
      arrow::FieldVector fields;
      for (const auto& [name, child] : duckdb::StructType::GetChildTypes(type)) {
        ARROW_ASSIGN_OR_RAISE(auto storage, ToStorage(child));
        fields.push_back(arrow::field(name, std::move(storage)));
      }
      return arrow::struct_(std::move(fields));
    }
    default:
      return MakeSqlError("T4009",
                          fmt::format("a table cannot hold values of type {}", type.ToString()),
                          "store it as text or BLOB, or take another type");
  }
}

Result<std::shared_ptr<arrow::Field>> ToStorageField(const std::string& name,
                                                     const LogicalType& type, bool nullable) {
  ARROW_ASSIGN_OR_RAISE(auto storage, ToStorage(type));
  if (!NeedsName(type)) return arrow::field(name, std::move(storage), nullable);
  return arrow::field(name, std::move(storage), nullable,
                      arrow::key_value_metadata({{kTypeKey, Definition(type).ToString()}}));
}

LogicalType FromStorage(const arrow::Field& field, const TypeParser& parse) {
  if (field.metadata() != nullptr) {
    const Result<std::string> name = field.metadata()->Get(kTypeKey);
    if (name.ok()) return parse(*name);
  }
  return FromArrow(*field.type(), parse);
}

bool IsPlain(const LogicalType& type) {
  switch (type.id()) {
    case LogicalTypeId::LIST:
      return IsPlain(duckdb::ListType::GetChildType(type));
    case LogicalTypeId::STRUCT: {
      for (const auto& child : duckdb::StructType::GetChildTypes(type)) {
        if (!IsPlain(child.second)) return false;
      }
      return true;
    }
    case LogicalTypeId::MAP:
      return IsPlain(duckdb::MapType::KeyType(type)) && IsPlain(duckdb::MapType::ValueType(type));
    case LogicalTypeId::ARRAY:
    case LogicalTypeId::HUGEINT:
    case LogicalTypeId::UHUGEINT:
    case LogicalTypeId::UUID:
    case LogicalTypeId::ENUM:
    case LogicalTypeId::INTERVAL:
    case LogicalTypeId::TIME_TZ:
    case LogicalTypeId::BIT:
    case LogicalTypeId::UNION:
      return false;
    default:
      return true;
  }
}

bool IsKeyable(const LogicalType& type) {
  const auto storage = ToStorage(type);
  return storage.ok() && catalog::IsKeyType(**storage);
}

}  // namespace lamina::sql
