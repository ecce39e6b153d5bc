// The field numbers and enumerators of an encoded table definition, as data:
// docs/format/table-definition.md lists exactly these rows, and FormatDocTest compares the two.
#pragma once

#include <cstdint>
#include <string_view>

#include <arrow/type.h>

namespace lamina::catalog::internal {

/// Fields from here on may be skipped by a reader that does not know them; an unknown one below is
/// an error.
inline constexpr uint32_t kFirstIgnorableField = 128;

namespace tag {
// table
inline constexpr uint32_t kTableId = 1;
inline constexpr uint32_t kTableName = 2;
inline constexpr uint32_t kTableVersion = 3;
inline constexpr uint32_t kTableColumn = 4;
inline constexpr uint32_t kTableKey = 5;
inline constexpr uint32_t kTableNextColumnId = 6;
inline constexpr uint32_t kTableHasPrimaryKey = 7;
inline constexpr uint32_t kTableOptions = 8;
inline constexpr uint32_t kTableMetadata = 9;
// column
inline constexpr uint32_t kColumnId = 1;
inline constexpr uint32_t kColumnField = 2;
inline constexpr uint32_t kColumnInitial = 3;
// field
inline constexpr uint32_t kFieldName = 1;
inline constexpr uint32_t kFieldType = 2;
inline constexpr uint32_t kFieldNullable = 3;
inline constexpr uint32_t kFieldMetadata = 4;
// type
inline constexpr uint32_t kTypeKind = 1;
inline constexpr uint32_t kTypeUnit = 2;
inline constexpr uint32_t kTypeTimezone = 3;
inline constexpr uint32_t kTypePrecision = 4;
inline constexpr uint32_t kTypeScale = 5;
inline constexpr uint32_t kTypeSize = 6;
inline constexpr uint32_t kTypeKeysSorted = 7;
inline constexpr uint32_t kTypeChild = 8;
// entry
inline constexpr uint32_t kEntryKey = 1;
inline constexpr uint32_t kEntryValue = 2;
// options
inline constexpr uint32_t kOptionsRowsPerPage = 1;
inline constexpr uint32_t kOptionsRowsPerRowGroup = 2;
inline constexpr uint32_t kOptionsCodec = 3;
inline constexpr uint32_t kOptionsDictionaryColumn = 4;
inline constexpr uint32_t kOptionsPeriodFrom = 5;
inline constexpr uint32_t kOptionsPeriodTo = 6;
}  // namespace tag

struct FieldRow {
  std::string_view message;
  uint32_t tag;
  std::string_view name;
  std::string_view encoding;
};
inline constexpr FieldRow kFieldRows[] = {
    {"table", tag::kTableId, "id", "varint"},
    {"table", tag::kTableName, "name", "string"},
    {"table", tag::kTableVersion, "version", "varint"},
    {"table", tag::kTableColumn, "column", "repeated column"},
    {"table", tag::kTableKey, "key", "packed varints"},
    {"table", tag::kTableNextColumnId, "next_column_id", "varint"},
    {"table", tag::kTableHasPrimaryKey, "has_primary_key", "bool"},
    {"table", tag::kTableOptions, "options", "options"},
    {"table", tag::kTableMetadata, "metadata", "repeated entry"},
    {"column", tag::kColumnId, "id", "varint"},
    {"column", tag::kColumnField, "field", "field"},
    {"column", tag::kColumnInitial, "initial", "bytes"},
    {"field", tag::kFieldName, "name", "string"},
    {"field", tag::kFieldType, "type", "type"},
    {"field", tag::kFieldNullable, "nullable", "bool"},
    {"field", tag::kFieldMetadata, "metadata", "repeated entry"},
    {"type", tag::kTypeKind, "kind", "varint"},
    {"type", tag::kTypeUnit, "unit", "varint"},
    {"type", tag::kTypeTimezone, "timezone", "string"},
    {"type", tag::kTypePrecision, "precision", "varint"},
    {"type", tag::kTypeScale, "scale", "zigzag varint"},
    {"type", tag::kTypeSize, "size", "varint"},
    {"type", tag::kTypeKeysSorted, "keys_sorted", "bool"},
    {"type", tag::kTypeChild, "child", "repeated field"},
    {"entry", tag::kEntryKey, "key", "string"},
    {"entry", tag::kEntryValue, "value", "string"},
    {"options", tag::kOptionsRowsPerPage, "rows_per_page", "varint"},
    {"options", tag::kOptionsRowsPerRowGroup, "rows_per_row_group", "varint"},
    {"options", tag::kOptionsCodec, "codec", "varint"},
    {"options", tag::kOptionsDictionaryColumn, "dictionary_column", "repeated string"},
    {"options", tag::kOptionsPeriodFrom, "period_from_column", "string"},
    {"options", tag::kOptionsPeriodTo, "period_to_column", "string"},
};

/// Our own numbers: Arrow's enumeration is not a format.
struct TypeKindRow {
  uint32_t kind;
  std::string_view name;
  arrow::Type::type id;
};
inline constexpr TypeKindRow kTypeKindRows[] = {
    {1, "null", arrow::Type::NA},
    {2, "bool", arrow::Type::BOOL},
    {3, "int8", arrow::Type::INT8},
    {4, "int16", arrow::Type::INT16},
    {5, "int32", arrow::Type::INT32},
    {6, "int64", arrow::Type::INT64},
    {7, "uint8", arrow::Type::UINT8},
    {8, "uint16", arrow::Type::UINT16},
    {9, "uint32", arrow::Type::UINT32},
    {10, "uint64", arrow::Type::UINT64},
    {11, "float16", arrow::Type::HALF_FLOAT},
    {12, "float32", arrow::Type::FLOAT},
    {13, "float64", arrow::Type::DOUBLE},
    {14, "decimal32", arrow::Type::DECIMAL32},
    {15, "decimal64", arrow::Type::DECIMAL64},
    {16, "decimal128", arrow::Type::DECIMAL128},
    {17, "decimal256", arrow::Type::DECIMAL256},
    {18, "date32", arrow::Type::DATE32},
    {19, "time32", arrow::Type::TIME32},
    {20, "time64", arrow::Type::TIME64},
    {21, "timestamp", arrow::Type::TIMESTAMP},
    {22, "duration", arrow::Type::DURATION},
    {23, "utf8", arrow::Type::STRING},
    {24, "large_utf8", arrow::Type::LARGE_STRING},
    {25, "binary", arrow::Type::BINARY},
    {26, "large_binary", arrow::Type::LARGE_BINARY},
    {27, "fixed_size_binary", arrow::Type::FIXED_SIZE_BINARY},
    {28, "list", arrow::Type::LIST},
    {29, "large_list", arrow::Type::LARGE_LIST},
    {30, "list_view", arrow::Type::LIST_VIEW},
    {31, "large_list_view", arrow::Type::LARGE_LIST_VIEW},
    {32, "fixed_size_list", arrow::Type::FIXED_SIZE_LIST},
    {33, "struct", arrow::Type::STRUCT},
    {34, "map", arrow::Type::MAP},
    {35, "date64", arrow::Type::DATE64},
};

}  // namespace lamina::catalog::internal
