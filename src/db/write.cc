#include <arrow/array/builder_primitive.h>
#include <arrow/compute/api.h>
#include <fmt/format.h>

#include "catalog/key_codec.h"
#include "db/session.h"
#include "db/write_internal.h"

namespace lamina::db {
namespace {

/// One end of the rows' valid time as int64 microseconds without nulls; a null is the open end.
Result<std::shared_ptr<arrow::Int64Array>> ToMicros(const std::shared_ptr<arrow::Array>& array,
                                                    int64_t open_end, const char* name) {
  std::shared_ptr<arrow::Array> micros = array;
  if (array->type_id() == arrow::Type::TIMESTAMP || array->type_id() == arrow::Type::DATE32 ||
      array->type_id() == arrow::Type::DATE64) {
    auto cast = arrow::compute::Cast(*array, arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"));
    // A timestamp without a zone is UTC: its number is kept.
    if (array->type_id() == arrow::Type::TIMESTAMP &&
        static_cast<const arrow::TimestampType&>(*array->type()).timezone().empty()) {
      cast = arrow::compute::Cast(*array, arrow::timestamp(arrow::TimeUnit::MICRO));
    }
    if (!cast.ok()) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format("a valid time is out of range or finer than a microsecond: column={} {}",
                      name, cast.status().message()));
    }
    ARROW_ASSIGN_OR_RAISE(micros, (*cast)->View(arrow::int64()));
  } else if (array->type_id() != arrow::Type::INT64) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("valid times must be timestamps or int64 microseconds: column={} type={}", name,
                    array->type()->ToString()));
  }
  const auto& values = static_cast<const arrow::Int64Array&>(*micros);
  if (values.null_count() == 0) return std::static_pointer_cast<arrow::Int64Array>(micros);
  arrow::Int64Builder builder;
  ARROW_RETURN_NOT_OK(builder.Reserve(values.length()));
  for (int64_t i = 0; i < values.length(); ++i) {
    builder.UnsafeAppend(values.IsNull(i) ? open_end : values.Value(i));
  }
  std::shared_ptr<arrow::Int64Array> out;
  ARROW_RETURN_NOT_OK(builder.Finish(&out));
  return out;
}

Status CheckLength(const std::shared_ptr<arrow::Array>& array, int64_t rows, const char* name) {
  if (array->length() == rows) return Status::OK();
  return MakeError(
      ErrorCode::kInvalidArgument,
      fmt::format("array length does not match the batch: array={} expected={} actual={}", name,
                  rows, array->length()));
}

/// Fills valid, valid_from and valid_to of `write` from the options, or from the table's period
/// columns in `rows`.
Status SetValid(const catalog::TableSchema& table, const arrow::RecordBatch* rows, int64_t count,
                const WriteOptions& options, engine::TableWrite* write) {
  std::shared_ptr<arrow::Array> from = options.valid_from;
  std::shared_ptr<arrow::Array> to = options.valid_to;
  if ((from == nullptr) != (to == nullptr)) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "valid_from and valid_to go together: only one is given");
  }
  if (!table.options.period_from_column.empty() && rows != nullptr) {
    if (from != nullptr || !options.valid.all()) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format("table takes its valid time from its own columns: table={} columns={}, {}",
                      table.name, table.options.period_from_column, table.options.period_to_column),
          "leave the valid time of the write out");
    }
    from = rows->GetColumnByName(table.options.period_from_column);
    to = rows->GetColumnByName(table.options.period_to_column);
  }
  if (from == nullptr) {
    write->valid = options.valid;
    return CheckInterval(options.valid);
  }
  ARROW_RETURN_NOT_OK(CheckLength(from, count, "valid_from"));
  ARROW_RETURN_NOT_OK(CheckLength(to, count, "valid_to"));
  ARROW_ASSIGN_OR_RAISE(write->valid_from, ToMicros(from, ValidTime::Min().micros, "valid_from"));
  ARROW_ASSIGN_OR_RAISE(write->valid_to, ToMicros(to, ValidTime::Max().micros, "valid_to"));
  for (int64_t i = 0; i < count; ++i) {
    const auto status = CheckInterval(write->ValidOf(i));
    if (status.ok()) continue;
    return MakeError(CodeOf(status), fmt::format("{} row={}", MessageOf(status), i),
                     std::string(HintOf(status)));
  }
  return Status::OK();
}

}  // namespace

Status CheckInterval(const ValidInterval& valid) {
  if (!valid.empty()) return Status::OK();
  return MakeError(ErrorCode::kInvalidArgument,
                   fmt::format("valid_from must be before valid_to: valid_from={} valid_to={}",
                               Format(valid.from), Format(valid.to)),
                   "intervals are half-open: [from, to)");
}

Status CheckWriter(const catalog::TableSchema& table, std::string_view layer) {
  if (table.metadata == nullptr) return Status::OK();
  const auto writer = table.metadata->Get(kWriterKey);
  if (!writer.ok() || *writer == layer) return Status::OK();
  return MakeError(ErrorCode::kUnsupported,
                   fmt::format("the table has indexes or constraints that only one layer keeps: "
                               "table={} layer={}",
                               table.name, *writer),
                   fmt::format("write it through {}", *writer));
}

Result<engine::TableWrite> PrepareRows(
    const catalog::TableSchemaPtr& table, const std::shared_ptr<arrow::RecordBatch>& rows,
    const WriteOptions& options, const std::function<Result<int64_t>(int64_t count)>& reserve_ids) {
  if (rows == nullptr) return MakeError(ErrorCode::kInvalidArgument, "batch is null");
  ARROW_RETURN_NOT_OK(catalog::CheckBatch(*table, *rows));
  if (rows->num_rows() == 0) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("batch has no rows: table={}", table->name));
  }
  engine::TableWrite write;
  write.schema = table;
  write.rows = rows;
  ARROW_RETURN_NOT_OK(SetValid(*table, rows.get(), rows->num_rows(), options, &write));
  if (options.deletes != nullptr) {
    ARROW_RETURN_NOT_OK(CheckLength(options.deletes, rows->num_rows(), "deletes"));
    if (options.deletes->null_count() > 0) {
      return MakeError(ErrorCode::kInvalidArgument, "deletes holds a null");
    }
    if (!table->has_primary_key && options.deletes->true_count() > 0) {
      return MakeError(ErrorCode::kInvalidArgument,
                       fmt::format("table has no primary key to delete by: table={}", table->name));
    }
    if (options.deletes->true_count() > 0) write.deletes = options.deletes;
  }
  if (!table->has_primary_key) {
    ARROW_ASSIGN_OR_RAISE(const int64_t first, reserve_ids(rows->num_rows()));
    arrow::Int64Builder ids;
    ARROW_RETURN_NOT_OK(ids.Reserve(rows->num_rows()));
    for (int64_t i = 0; i < rows->num_rows(); ++i) ids.UnsafeAppend(first + i);
    ARROW_ASSIGN_OR_RAISE(auto id_array, ids.Finish());
    auto columns = rows->columns();
    columns.push_back(std::move(id_array));
    write.rows =
        arrow::RecordBatch::Make(table->StorageSchema(), rows->num_rows(), std::move(columns));
  }
  ARROW_ASSIGN_OR_RAISE(write.keys, catalog::KeyCodec(*table).Encode(*write.rows));
  return write;
}

Result<engine::TableWrite> ConvertWrite(engine::TableWrite write, catalog::TableSchemaPtr next) {
  if (write.rows != nullptr) {
    arrow::ArrayVector arrays;
    for (const catalog::Column& column : next->columns) {
      std::shared_ptr<arrow::Array> array;
      for (size_t i = 0; i < write.schema->columns.size() && array == nullptr; ++i) {
        if (write.schema->columns[i].id != column.id) continue;
        ARROW_ASSIGN_OR_RAISE(
            array, catalog::CastColumn(write.rows->column(static_cast<int>(i)), column.type));
      }
      if (array == nullptr) {
        ARROW_ASSIGN_OR_RAISE(array, catalog::InitialValues(column, write.rows->num_rows()));
      }
      arrays.push_back(std::move(array));
    }
    write.rows =
        arrow::RecordBatch::Make(next->StorageSchema(), write.rows->num_rows(), std::move(arrays));
  }
  write.schema = std::move(next);
  return write;
}

Result<engine::TableWrite> PrepareDelete(const catalog::TableSchemaPtr& table,
                                         const std::shared_ptr<arrow::RecordBatch>& keys,
                                         const WriteOptions& options) {
  if (keys == nullptr) return MakeError(ErrorCode::kInvalidArgument, "batch is null");
  if (!table->has_primary_key && keys->GetColumnByName(catalog::kRowIdColumn) == nullptr) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("table has no primary key to delete by: table={}", table->name),
                     "give the hidden column _rowid, as a scan returns it");
  }
  if (keys->num_rows() == 0) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("batch has no rows: table={}", table->name));
  }
  if (options.deletes != nullptr) {
    return MakeError(ErrorCode::kInvalidArgument, "deletes marks rows of a put, not of a delete");
  }
  if (const Status valid = keys->Validate(); !valid.ok()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("batch of keys is not valid: table={} reason={}", table->name,
                                 valid.message()));
  }
  const catalog::KeyCodec codec(*table);
  for (const auto& column : codec.columns()) {
    const auto given = keys->GetColumnByName(column.name);
    if (given != nullptr && !given->type()->Equals(*column.type)) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format("key column has another type: column={} expected={} actual={}", column.name,
                      column.type->ToString(), given->type()->ToString()));
    }
  }
  engine::TableWrite write;
  write.schema = table;
  write.kind = temporal::FactKind::kDelete;
  ARROW_ASSIGN_OR_RAISE(write.keys, codec.Encode(*keys));
  ARROW_RETURN_NOT_OK(SetValid(*table, nullptr, keys->num_rows(), options, &write));
  return write;
}

}  // namespace lamina::db
