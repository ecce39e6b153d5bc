#include "catalog/system_tables.h"

#include "base/check.h"

namespace lamina::catalog {
namespace {

TableSchemaPtr Make(TableId id, const char* name, arrow::FieldVector fields) {
  KeyDeclaration key;
  key.positions = {0};
  auto table = MakeTable(id, name, arrow::schema(std::move(fields)), key);
  LAMINA_CHECK_MSG(table.ok(), table.status().ToString());
  return *table;
}

}  // namespace

TableSchemaPtr KeyValueTableSchema() {
  static const TableSchemaPtr table =
      Make(kKeyValueTable, "_kv",
           {arrow::field("key", arrow::binary(), /*nullable=*/false),
            arrow::field("doc", arrow::binary(), /*nullable=*/false)});
  return table;
}

TableSchemaPtr CommitsTableSchema() {
  static const TableSchemaPtr table =
      Make(kCommitsTable, "_commits", {arrow::field("commit", arrow::int64(), /*nullable=*/false)});
  return table;
}

TableSchemaPtr IdempotencyTableSchema() {
  static const TableSchemaPtr table =
      Make(kIdempotencyTable, "_idempotency",
           {arrow::field("idempotency_key", arrow::binary(), /*nullable=*/false),
            arrow::field("commit", arrow::int64(), /*nullable=*/false)});
  return table;
}

}  // namespace lamina::catalog
