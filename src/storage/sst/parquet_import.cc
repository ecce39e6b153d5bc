#include "storage/sst/parquet_import.h"

#include <numeric>
#include <vector>

#include <arrow/io/file.h>
#include <fmt/format.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>

namespace lamina::storage::sst {
namespace {

Status NotParquet(const std::string& path, const std::string& why) {
  return MakeError(ErrorCode::kCorruption,
                   fmt::format("not a readable Parquet file: file={} {}", path, why));
}

/// Translates what Parquet throws while reading on.
class Batches final : public arrow::RecordBatchReader {
 public:
  Batches(std::string path, std::unique_ptr<parquet::arrow::FileReader> file,
          std::shared_ptr<arrow::RecordBatchReader> batches)
      : path_(std::move(path)), file_(std::move(file)), batches_(std::move(batches)) {}
  std::shared_ptr<arrow::Schema> schema() const override { return batches_->schema(); }
  Status ReadNext(std::shared_ptr<arrow::RecordBatch>* batch) override {
    try {
      const auto status = batches_->ReadNext(batch);
      return status.ok() ? status : NotParquet(path_, status.message());
    } catch (const std::exception& e) {
      return NotParquet(path_, e.what());
    }
  }

 private:
  std::string path_;
  std::unique_ptr<parquet::arrow::FileReader> file_;
  std::shared_ptr<arrow::RecordBatchReader> batches_;
};

}  // namespace

Result<ForeignFile> OpenForeignParquet(const std::string& path, int64_t batch_rows) {
  auto input = arrow::io::ReadableFile::Open(path);
  if (!input.ok()) {
    return MakeError(ErrorCode::kNotFound,
                     fmt::format("cannot open file: file={} {}", path, input.status().message()));
  }
  try {
    parquet::arrow::FileReaderBuilder builder;
    auto status = builder.Open(*input);
    if (!status.ok()) return NotParquet(path, status.message());
    std::unique_ptr<parquet::arrow::FileReader> file;
    parquet::ArrowReaderProperties properties;
    properties.set_batch_size(batch_rows);
    status = builder.properties(properties)->Build(&file);
    if (!status.ok()) return NotParquet(path, status.message());
    ForeignFile out;
    out.rows = file->parquet_reader()->metadata()->num_rows();
    ARROW_RETURN_NOT_OK(file->GetSchema(&out.schema));
    std::vector<int> groups(static_cast<size_t>(file->num_row_groups()));
    std::iota(groups.begin(), groups.end(), 0);
    ARROW_ASSIGN_OR_RAISE(auto batches, file->GetRecordBatchReader(groups));
    out.batches = std::make_shared<Batches>(path, std::move(file), std::move(batches));
    return out;
  } catch (const std::exception& e) {
    return NotParquet(path, e.what());
  }
}

}  // namespace lamina::storage::sst
