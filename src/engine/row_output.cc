#include <algorithm>

#include "base/check.h"
#include "catalog/key_codec.h"
#include "engine/row_output_internal.h"

namespace lamina::engine {

std::shared_ptr<arrow::Array> MakeInt64Like(std::vector<int64_t> values,
                                            const std::shared_ptr<arrow::DataType>& type) {
  const auto length = static_cast<int64_t>(values.size());
  auto data = arrow::ArrayData::Make(type, length,
                                     {nullptr, arrow::Buffer::FromVector(std::move(values))}, 0);
  return arrow::MakeArray(data);
}

void TimeVectors::Reserve(size_t n) {
  for (auto* v : {&valid_from, &valid_to, &system_from, &system_to, &commit}) v->reserve(n);
}

void TimeVectors::Add(const temporal::RowVersion& row) {
  valid_from.push_back(row.valid.from.micros);
  valid_to.push_back(row.valid.to.micros);
  system_from.push_back(row.system.from.micros);
  system_to.push_back(row.system.to.micros);
  commit.push_back(static_cast<int64_t>(row.commit.value));
}

Result<std::shared_ptr<arrow::RecordBatch>> MakeRowBatch(const catalog::TableSchema& table,
                                                         const arrow::RecordBatch& storage_columns,
                                                         TimeVectors times) {
  LAMINA_CHECK(storage_columns.num_rows() == static_cast<int64_t>(times.size()));
  arrow::ArrayVector columns = storage_columns.columns();
  const auto time_type = storage::sst::TimeType();
  columns.push_back(MakeInt64Like(std::move(times.valid_from), time_type));
  columns.push_back(MakeInt64Like(std::move(times.valid_to), time_type));
  columns.push_back(MakeInt64Like(std::move(times.system_from), time_type));
  columns.push_back(MakeInt64Like(std::move(times.system_to), time_type));
  columns.push_back(MakeInt64Like(std::move(times.commit), arrow::int64()));
  return arrow::RecordBatch::Make(storage::sst::RowBatchSchema(table), storage_columns.num_rows(),
                                  std::move(columns));
}

std::string KeyText(const catalog::TableSchema& table, std::string_view key) {
  const auto decoded = catalog::KeyCodec(table).Decode(std::vector<std::string_view>{key});
  if (!decoded.ok()) return "?";
  std::string out = "(";
  for (const auto& column : *decoded) {
    const auto value = column->GetScalar(0);
    if (out.size() > 1) out += ", ";
    out += value.ok() ? (*value)->ToString() : "?";
  }
  return out + ")";
}

storage::sst::WriterOptions FileOptions(const EngineOptions& options,
                                        const catalog::TableSchema& table, storage::FileKind kind,
                                        uint8_t level, bool valid_columns, bool last_level) {
  storage::sst::WriterOptions out;
  out.kind = kind;
  out.level = level;
  out.valid_columns = valid_columns;
  out.codec = table.options.codec.value_or(last_level ? options.last_codec : options.upper_codec);
  out.rows_per_page =
      table.options.rows_per_page != 0 ? table.options.rows_per_page : options.rows_per_page;
  out.rows_per_row_group = table.options.rows_per_row_group != 0 ? table.options.rows_per_row_group
                                                                 : options.rows_per_row_group;
  out.bloom_bits_per_key = options.bloom_bits_per_key;
  return out;
}

FileSequence::FileSequence(const JobContext& context, catalog::TableSchemaPtr table,
                           storage::sst::WriterOptions options, std::vector<std::string>* written)
    : context_(context), table_(std::move(table)), options_(options), written_(written) {}

Status FileSequence::Begin() {
  const base::Ulid id = context_.ulids->Next();
  storage::DataFile name;
  name.id = id;
  name.table = table_->id;
  // Noted before it exists: a failure half way must not leave an object nobody deletes.
  written_->push_back(name.Path());
  return storage::sst::FileWriter::Make(context_.store, table_, id, options_).Value(&writer_);
}

Status FileSequence::End() {
  if (writer_ == nullptr) return Status::OK();
  storage::DataFile file;
  ARROW_RETURN_NOT_OK(writer_->Finish().Value(&file));
  files_.push_back(std::move(file));
  writer_.reset();
  return Status::OK();
}

Status FileSequence::Write(const std::shared_ptr<arrow::RecordBatch>& rows,
                           const std::shared_ptr<arrow::BinaryArray>& keys,
                           std::vector<Placement>* placements) {
  LAMINA_CHECK(rows->num_rows() == keys->length());
  int64_t at = 0;
  while (at < rows->num_rows()) {
    int64_t end = rows->num_rows();
    if (writer_ != nullptr && writer_->bytes_estimate() >= context_.options->file_bytes_target) {
      // The versions of one key stay in one file: files of a level are disjoint in key.
      int64_t same = at;
      while (same < end && keys->GetView(same) == last_key_) ++same;
      if (same == at) {
        ARROW_RETURN_NOT_OK(End());
      } else {
        end = same;
      }
    }
    if (writer_ == nullptr) ARROW_RETURN_NOT_OK(Begin());
    // Small enough steps that a full file is noticed soon after its target.
    end = std::min<int64_t>(end, at + std::min<int64_t>(16 * 1024, options_.rows_per_row_group));
    const Placement placement{static_cast<uint32_t>(files_.size()),
                              static_cast<uint64_t>(writer_->rows()), end - at};
    const auto key_slice = std::static_pointer_cast<arrow::BinaryArray>(keys->Slice(at, end - at));
    ARROW_RETURN_NOT_OK(writer_->Write(rows->Slice(at, end - at), *key_slice));
    last_key_ = key_slice->GetView(key_slice->length() - 1);
    rows_ += static_cast<uint64_t>(end - at);
    if (placements != nullptr) placements->push_back(placement);
    at = end;
  }
  return Status::OK();
}

Status FileSequence::Finish() { return End(); }

}  // namespace lamina::engine
