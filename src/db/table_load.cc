#include <utility>

#include <arrow/array/builder_primitive.h>
#include <fmt/format.h>

#include "base/mutex.h"
#include "base/out_of_memory.h"
#include "catalog/key_codec.h"
#include "db/table_load_internal.h"

namespace lamina::db {
namespace {

class TableLoadImpl final : public TableLoad {
 public:
  TableLoadImpl(catalog::TableSchemaPtr table, std::shared_ptr<engine::BulkLoad> load,
                TableLoadHooks hooks)
      : table_(std::move(table)),
        codec_(*table_),
        load_(std::move(load)),
        hooks_(std::move(hooks)) {}

  Result<Piece> Prepare(const std::shared_ptr<arrow::RecordBatch>& rows) const override {
    return base::Guarded([&]() -> Result<Piece> {
      if (rows == nullptr) return MakeError(ErrorCode::kInvalidArgument, "batch is null");
      ARROW_RETURN_NOT_OK(catalog::CheckBatch(*table_, *rows));
      Piece piece{rows, nullptr};
      if (table_->has_primary_key) {
        ARROW_ASSIGN_OR_RAISE(piece.keys, codec_.Encode(*rows));
      }
      return piece;
    });
  }

  Status Number(std::vector<Piece>* pieces) override {
    if (table_->has_primary_key) return Status::OK();
    return base::Guarded([&] {
      base::MutexLock lock(&numbering_mu_);
      for (Piece& piece : *pieces) {
        const int64_t count = piece.rows->num_rows();
        ARROW_ASSIGN_OR_RAISE(const int64_t first, hooks_.reserve_ids(count));
        arrow::Int64Builder ids;
        ARROW_RETURN_NOT_OK(ids.Reserve(count));
        for (int64_t i = 0; i < count; ++i) ids.UnsafeAppend(first + i);
        ARROW_ASSIGN_OR_RAISE(auto id_array, ids.Finish());
        auto columns = piece.rows->columns();
        columns.push_back(std::move(id_array));
        piece.rows = arrow::RecordBatch::Make(table_->StorageSchema(), count, std::move(columns));
        ARROW_ASSIGN_OR_RAISE(piece.keys, codec_.Encode(*piece.rows));
      }
      return Status::OK();
    });
  }

  Status Write(const std::vector<Piece>& pieces) override {
    return base::Guarded([&] { return load_->Write(pieces); });
  }

  Status Finish() override {
    return base::Guarded([&] {
      ARROW_RETURN_NOT_OK(load_->Finish());
      return hooks_.finished(load_);
    });
  }

  Result<bool> Contains(std::string_view key) const override {
    return base::Guarded([&] { return load_->Contains(key); });
  }

 private:
  const catalog::TableSchemaPtr table_;
  const catalog::KeyCodec codec_;
  const std::shared_ptr<engine::BulkLoad> load_;
  const TableLoadHooks hooks_;
  base::Mutex numbering_mu_;
};

}  // namespace

std::unique_ptr<TableLoad> MakeTableLoad(catalog::TableSchemaPtr table,
                                         std::shared_ptr<engine::BulkLoad> load,
                                         TableLoadHooks hooks) {
  return std::make_unique<TableLoadImpl>(std::move(table), std::move(load), std::move(hooks));
}

}  // namespace lamina::db
