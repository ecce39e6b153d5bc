// Types of SQL and the Arrow types that hold them at rest.
//
// A column's SQL type follows from its Arrow type unless the field's metadata names another
// (kTypeKey): UUID in 16 bytes, ENUM and JSON in text, HUGEINT in decimal(39), INTERVAL in a struct
// of months, days and microseconds, TIMETZ in DuckDB's 64 bits, BIT in its bytes, UNION in a struct
// of a tag and its members.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <arrow/type.h>

#include "lamina/error.h"
#include "sql/duckdb_api.h"

namespace lamina::sql {

/// Key of a field's metadata: the SQL type as text.
inline constexpr char kTypeKey[] = "lamina.sql.type";

/// The type at rest. T4009 for what Parquet cannot hold (VARIANT, GEOMETRY, BIGNUM …).
Result<std::shared_ptr<arrow::DataType>> ToStorage(const duckdb::LogicalType& type);
/// A field of that type, with the metadata it needs to come back.
Result<std::shared_ptr<arrow::Field>> ToStorageField(const std::string& name,
                                                     const duckdb::LogicalType& type,
                                                     bool nullable);
/// `parse` turns the text of a type into one (types are looked up, so it needs a connection).
using TypeParser = std::function<duckdb::LogicalType(const std::string&)>;
duckdb::LogicalType FromStorage(const arrow::Field& field, const TypeParser& parse);

/// Whether values of the type at rest are those that DuckDB's vectors hold, without a conversion:
/// then its Parquet reader gives the column as it is.
bool IsPlain(const duckdb::LogicalType& type);

/// Whether the type may be part of a primary key or index.
bool IsKeyable(const duckdb::LogicalType& type);

}  // namespace lamina::sql
