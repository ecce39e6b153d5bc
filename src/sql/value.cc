#include "sql/value.h"

namespace lamina {

SqlValue SqlValue::Blob(std::string bytes) {
  SqlValue value(std::move(bytes));
  value.type_ = "BLOB";
  return value;
}

SqlValue SqlValue::Typed(std::string type, std::string text) {
  SqlValue value(std::move(text));
  value.type_ = std::move(type);
  return value;
}

namespace sql {

duckdb::Value ToDuckDB(duckdb::ClientContext& context, const SqlValue& value) {
  struct Visitor {
    duckdb::ClientContext& context;
    const std::string& type;
    duckdb::Value operator()(std::monostate) const { return duckdb::Value(); }
    duckdb::Value operator()(bool v) const { return duckdb::Value::BOOLEAN(v); }
    duckdb::Value operator()(int64_t v) const {
      // As a literal of this size would be.
      return v >= INT32_MIN && v <= INT32_MAX ? duckdb::Value::INTEGER(static_cast<int32_t>(v))
                                              : duckdb::Value::BIGINT(v);
    }
    duckdb::Value operator()(double v) const { return duckdb::Value::DOUBLE(v); }
    duckdb::Value operator()(const std::string& v) const {
      if (type == "BLOB")
        return duckdb::Value::BLOB(reinterpret_cast<duckdb::const_data_ptr_t>(v.data()), v.size());
      duckdb::Value text(v);  // checks that it is UTF-8
      return type.empty() ? text : text.CastAs(context, context.ParseLogicalType(type));
    }
  };
  return std::visit(Visitor{context, value.type()}, value.value());
}

SqlValue FromDuckDB(const duckdb::Value& value) {
  if (value.IsNull()) return {};
  switch (value.type().id()) {
    case duckdb::LogicalTypeId::BOOLEAN:
      return value.GetValue<bool>();
    case duckdb::LogicalTypeId::TINYINT:
    case duckdb::LogicalTypeId::SMALLINT:
    case duckdb::LogicalTypeId::INTEGER:
    case duckdb::LogicalTypeId::BIGINT:
    case duckdb::LogicalTypeId::UTINYINT:
    case duckdb::LogicalTypeId::USMALLINT:
    case duckdb::LogicalTypeId::UINTEGER:
      return value.GetValue<int64_t>();
    case duckdb::LogicalTypeId::FLOAT:
    case duckdb::LogicalTypeId::DOUBLE:
      return value.GetValue<double>();
    case duckdb::LogicalTypeId::VARCHAR:
      return duckdb::StringValue::Get(value);
    case duckdb::LogicalTypeId::BLOB:
      return SqlValue::Blob(duckdb::StringValue::Get(value));
    default:
      return SqlValue::Typed(value.type().ToString(), value.ToString());
  }
}

}  // namespace sql
}  // namespace lamina
