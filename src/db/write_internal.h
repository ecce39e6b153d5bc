// Writes of db: checking what the user hands over and turning it into engine::TableWrite.
#pragma once

#include <memory>

#include "engine/engine.h"
#include "lamina/database.h"

namespace lamina::db {

/// Rows to put (or, where options.deletes says so, to delete). Reserves row ids for a table without
/// a key.
Result<engine::TableWrite> PrepareRows(engine::Engine* engine, const catalog::TableSchemaPtr& table,
                                       const std::shared_ptr<arrow::RecordBatch>& rows,
                                       const WriteOptions& options);
/// Keys to delete.
Result<engine::TableWrite> PrepareDelete(const catalog::TableSchemaPtr& table,
                                         const std::shared_ptr<arrow::RecordBatch>& keys,
                                         const WriteOptions& options);
Status CheckInterval(const ValidInterval& valid);

}  // namespace lamina::db
