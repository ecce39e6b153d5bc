// Writes of db: checking what the user hands over and turning it into engine::TableWrite.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "engine/engine.h"
#include "lamina/database.h"

namespace lamina::db {

/// Rows to put (or, where options.deletes says so, to delete). For a table without a key,
/// `reserve_ids` gives the first of so many row ids.
Result<engine::TableWrite> PrepareRows(
    const catalog::TableSchemaPtr& table, const std::shared_ptr<arrow::RecordBatch>& rows,
    const WriteOptions& options, const std::function<Result<int64_t>(int64_t count)>& reserve_ids);
/// A write under an earlier definition of the table as one under `next`: columns are found by id.
/// kInvalidArgument when a value does not fit a wider type.
Result<engine::TableWrite> ConvertWrite(engine::TableWrite write, catalog::TableSchemaPtr next);
/// Keys to delete.
Result<engine::TableWrite> PrepareDelete(const catalog::TableSchemaPtr& table,
                                         const std::shared_ptr<arrow::RecordBatch>& keys,
                                         const WriteOptions& options);
Status CheckInterval(const ValidInterval& valid);
/// kUnsupported when another layer than this one alone may write the table (kWriterKey).
Status CheckWriter(const catalog::TableSchema& table, std::string_view layer);

}  // namespace lamina::db
