// Tables and rows for the engine's tests.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <arrow/builder.h>
#include <arrow/record_batch.h>
#include <gtest/gtest.h>

#include "catalog/key_codec.h"
#include "catalog/schema.h"
#include "engine/write_batch.h"

namespace lamina::engine::testing_tables {

/// (id int64 primary key, name utf8, score double).
inline std::shared_ptr<arrow::Schema> PeopleSchema() {
  return arrow::schema({arrow::field("id", arrow::int64(), false),
                        arrow::field("name", arrow::utf8()),
                        arrow::field("score", arrow::float64())});
}

inline catalog::TableSchemaPtr PeopleTable(uint64_t id = 16) {
  catalog::KeyDeclaration key;
  key.names = {"id"};
  return catalog::MakeTable({id}, "people", PeopleSchema(), key).ValueOrDie();
}

/// One row an id; an empty name is null.
inline std::shared_ptr<arrow::RecordBatch> PeopleRows(
    const std::vector<std::pair<int64_t, std::string>>& rows) {
  arrow::Int64Builder ids;
  arrow::StringBuilder names;
  arrow::DoubleBuilder scores;
  for (const auto& [id, name] : rows) {
    EXPECT_TRUE(ids.Append(id).ok());
    EXPECT_TRUE((name.empty() ? names.AppendNull() : names.Append(name)).ok());
    EXPECT_TRUE(scores.Append(static_cast<double>(id) / 2).ok());
  }
  return arrow::RecordBatch::Make(
      PeopleSchema(), static_cast<int64_t>(rows.size()),
      {ids.Finish().ValueOrDie(), names.Finish().ValueOrDie(), scores.Finish().ValueOrDie()});
}

inline TableWrite PeopleWrite(const catalog::TableSchemaPtr& table,
                              const std::vector<std::pair<int64_t, std::string>>& rows,
                              ValidInterval valid = {}) {
  TableWrite write;
  write.schema = table;
  write.rows = PeopleRows(rows);
  write.keys = catalog::KeyCodec(*table).Encode(*write.rows).ValueOrDie();
  write.valid = valid;
  return write;
}

inline std::shared_ptr<arrow::BinaryArray> Keys(const std::vector<std::string>& keys) {
  arrow::BinaryBuilder builder;
  for (const auto& key : keys) EXPECT_TRUE(builder.Append(key).ok());
  return std::static_pointer_cast<arrow::BinaryArray>(builder.Finish().ValueOrDie());
}

inline std::string PeopleKey(const catalog::TableSchemaPtr& table, int64_t id) {
  return catalog::KeyCodec(*table).EncodeScalars({arrow::MakeScalar(id)}).ValueOrDie();
}

}  // namespace lamina::engine::testing_tables
