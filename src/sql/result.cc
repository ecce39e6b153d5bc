#include "sql/result.h"

#include <arrow/c/bridge.h>
#include <arrow/record_batch.h>
#include <duckdb/common/vector_operations/vector_operations.hpp>

#include "sql/error_translation.h"
#include "sql/value.h"

namespace lamina::sql {
namespace {

// Batches of what is left of a result.
class Reader final : public arrow::RecordBatchReader {
 public:
  explicit Reader(SqlResult* result) : result_(result) {}
  std::shared_ptr<arrow::Schema> schema() const override { return result_->schema(); }
  Status ReadNext(std::shared_ptr<arrow::RecordBatch>* batch) override {
    return result_->NextBatch().Value(batch);
  }

 private:
  SqlResult* const result_;
};

class ResultImpl final : public SqlResult {
 public:
  explicit ResultImpl(ResultParts parts) : parts_(std::move(parts)) {
    if (parts_.rows == nullptr) return;
    for (size_t i = 0; i < parts_.rows->names.size(); ++i)
      columns_.push_back({parts_.rows->names[i], parts_.rows->types[i].ToString()});
  }
  ~ResultImpl() override { (void)End(); }

  const std::string& tag() const override { return parts_.tag; }
  const std::vector<SqlColumn>& columns() const override {
    return parts_.shape == nullptr ? columns_ : parts_.shape->columns;
  }
  std::optional<int64_t> changed_rows() const override { return parts_.changed_rows; }
  std::optional<CommitResult> commit() const override { return parts_.commit; }

  Result<bool> NextRow() override {
    ++row_;
    while (chunk_ == nullptr || row_ >= chunk_->size()) {
      ARROW_RETURN_NOT_OK(FetchChunk());
      if (chunk_ == nullptr) return false;
      row_ = 0;
    }
    return true;
  }

  bool IsNull(int column) const override {
    const duckdb::Vector& vector = chunk_->data[static_cast<size_t>(column)];
    return duckdb::FlatVector::IsNull(vector, row_);
  }

  std::string_view Text(int column) const override {
    const auto i = static_cast<size_t>(column);
    if (IsNull(column)) return {};
    if (texts_[i] == nullptr) {
      // One cast for the whole chunk.
      texts_[i] = std::make_unique<duckdb::Vector>(duckdb::LogicalType::VARCHAR, chunk_->size());
      if (chunk_->data[i].GetType().id() == duckdb::LogicalTypeId::VARCHAR) {
        texts_[i]->Reinterpret(chunk_->data[i]);
      } else {
        duckdb::VectorOperations::Cast(*parts_.context, chunk_->data[i], *texts_[i],
                                       chunk_->size());
      }
      texts_[i]->Flatten(chunk_->size());
    }
    const auto& text = duckdb::FlatVector::GetData<duckdb::string_t>(*texts_[i])[row_];
    return {text.GetData(), text.GetSize()};
  }

  SqlValue Value(int column) const override {
    return FromDuckDB(chunk_->GetValue(static_cast<size_t>(column), row_));
  }

  Result<std::shared_ptr<arrow::RecordBatch>> NextBatch() override {
    // What rows were gone to already is not given again.
    ARROW_RETURN_NOT_OK(MakeSchema());
    const size_t skip = chunk_ == nullptr ? 0 : row_ + 1;
    if (chunk_ == nullptr || skip >= chunk_->size()) ARROW_RETURN_NOT_OK(FetchChunk());
    const size_t first = chunk_ == nullptr || skip >= chunk_->size() || row_ == kBefore ? 0 : skip;
    if (chunk_ == nullptr) return nullptr;
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(AtDuckDBBorder("", 0, [&]() -> Status {
      ArrowArray array;
      duckdb::ArrowConverter::ToArrowArray(*chunk_, &array, Properties(), extension_casts_);
      return arrow::ImportRecordBatch(&array, schema_).Value(&batch);
    }));
    row_ = chunk_->size() - 1;
    return first == 0 ? batch : batch->Slice(static_cast<int64_t>(first));
  }

  const std::shared_ptr<arrow::Schema>& schema() const override {
    (void)const_cast<ResultImpl*>(this)
        ->MakeSchema();  // NOLINT(cppcoreguidelines-pro-type-const-cast)
    return schema_;
  }

  std::shared_ptr<arrow::RecordBatchReader> ToReader() override {
    return std::make_shared<Reader>(this);
  }

 private:
  static constexpr size_t kBefore = ~size_t{0};

  Status FetchChunk() {
    chunk_ = nullptr;
    texts_.clear();
    if (parts_.chunk != nullptr && !ended_ && parts_.chunk->size() > 0) {
      chunk_ = std::move(parts_.chunk);
      Begin();
      return Status::OK();
    }
    if (parts_.rows == nullptr || ended_) return End();
    duckdb::ErrorData error;
    do {
      if (!parts_.rows->TryFetch(chunk_, error)) {
        if (!error.HasError()) error = parts_.rows->GetErrorObject();
        chunk_ = nullptr;
        Status status =
            parts_.on_error != nullptr ? parts_.on_error(error) : FromDuckDB(error, "", 0);
        (void)End();
        return status;
      }
    } while (chunk_ != nullptr && chunk_->size() == 0);
    if (chunk_ == nullptr) return End();
    Begin();
    return Status::OK();
  }

  void Begin() {
    chunk_->Flatten();
    texts_.resize(chunk_->ColumnCount());
    row_ = kBefore;
  }

  Status End() {
    chunk_ = nullptr;
    if (std::exchange(ended_, true)) return Status::OK();
    if (parts_.rows != nullptr && parts_.rows->type == duckdb::QueryResultType::STREAM_RESULT)
      parts_.rows->Cast<duckdb::StreamQueryResult>().Close();
    if (parts_.on_end == nullptr) return Status::OK();
    return std::exchange(parts_.on_end, nullptr)();
  }

  duckdb::ClientProperties Properties() const {
    return parts_.rows == nullptr ? parts_.context->GetClientProperties()
                                  : parts_.rows->client_properties;
  }

  Status MakeSchema() {
    if (schema_ != nullptr) return Status::OK();
    if (parts_.rows == nullptr && parts_.shape == nullptr) {
      schema_ = arrow::schema({});
      return Status::OK();
    }
    const auto& types = parts_.rows == nullptr ? parts_.shape->types : parts_.rows->types;
    const auto& names = parts_.rows == nullptr ? parts_.shape->names : parts_.rows->names;
    return AtDuckDBBorder("", 0, [&]() -> Status {
      ArrowSchema schema;
      auto properties = Properties();
      duckdb::ArrowConverter::ToArrowSchema(&schema, types, names, properties);
      extension_casts_ = duckdb::ArrowTypeExtensionData::GetExtensionTypes(*parts_.context, types);
      return arrow::ImportSchema(&schema).Value(&schema_);
    });
  }

  ResultParts parts_;
  std::vector<SqlColumn> columns_;
  duckdb::unique_ptr<duckdb::DataChunk> chunk_;
  mutable std::vector<std::unique_ptr<duckdb::Vector>> texts_;  // of the chunk, where asked for
  size_t row_ = kBefore;
  bool ended_ = false;
  std::shared_ptr<arrow::Schema> schema_;
  duckdb::unordered_map<duckdb::idx_t, const duckdb::shared_ptr<duckdb::ArrowTypeExtensionData>>
      extension_casts_;
};

}  // namespace

std::unique_ptr<SqlResult> MakeResult(ResultParts parts) {
  return std::make_unique<ResultImpl>(std::move(parts));
}

}  // namespace lamina::sql
