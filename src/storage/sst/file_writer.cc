// Order of a data file, and of the work in Finish:
//   1. "PAR1" and the row groups, as Parquet writes them.
//   2. The key index, written by us between Parquet's last row group and its Close; Parquet takes
//      every offset from the sink's Tell, so what follows stays right.
//   3. The page index (by Parquet's Close), 4. our page checksums, 5. our tail block, 6. Parquet's
//      footer. Close writes 3 and 6 together: the sink holds them, and the footer is moved behind 4
//      and 5 (nothing points at the footer).
#include "storage/sst/file_writer.h"

#include <algorithm>
#include <limits>
#include <unordered_map>

#include <arrow/compute/api_vector.h>
#include <arrow/table.h>
#include <arrow/util/byte_size.h>
#include <arrow/util/key_value_metadata.h>
#include <fmt/format.h>
#include <parquet/arrow/schema.h>
#include <parquet/arrow/writer.h>
#include <parquet/file_writer.h>
#include <parquet/page_index.h>
#include <parquet/properties.h>

#include "base/check.h"
#include "base/codec.h"
#include "base/crc32c.h"
#include "catalog/key_codec.h"
#include "storage/object_store/write_once.h"
#include "storage/sst/column_layout.h"
#include "storage/sst/file_format_internal.h"
#include "storage/sst/key_index.h"
#include "storage/sst/parquet_border_internal.h"
#include "storage/sst/parquet_sink_internal.h"
#include "storage/sst/row_batch.h"
#include "storage/sst/statistics_internal.h"

namespace lamina::storage::sst {

namespace {

// Row groups are also cut by size, so that writing and reading one stays bounded when rows are
// large.
constexpr int64_t kRowGroupBytesMax = 128 << 20;
// Pages hold fewer rows than asked for when rows are so large that a page would exceed this. Far
// below Parquet's 2 GiB: rows later in the file may be a hundred times larger than those the number
// was chosen from.
constexpr int64_t kPageBytesTarget = 16 << 20;
// A dictionary is decoded for every page read from a cold chunk, so it may not be large; columns
// with more fall back to PLAIN.
constexpr int64_t kDictionaryBytesMax = 64 << 10;
// A column whose first rows have at most so many values, each several times, gets a dictionary: it
// is far smaller than what a codec makes of the values, and readers filter by it. TPC-H's lineitem:
// 298 MB to 219 MB, and DuckDB reads it in two thirds of the time.
constexpr int64_t kSampleRows = 4096;
constexpr int64_t kFewValues = 256;
constexpr int64_t kRepeatsMin = 8;
// Longer minima and maxima are left out of the page index.
constexpr size_t kStatisticBytesMax = 256;

parquet::Compression::type CodecOf(catalog::Codec codec) {
  switch (codec) {
    case catalog::Codec::kNone:
      return parquet::Compression::UNCOMPRESSED;
    case catalog::Codec::kLz4:
      return parquet::Compression::LZ4;  // Written as LZ4_RAW.
    case catalog::Codec::kZstd:
      return parquet::Compression::ZSTD;
  }
  return parquet::Compression::UNCOMPRESSED;
}

bool HoldsNan(const arrow::Array& array) {
  const auto any = [&array](const auto* values, auto is_nan) {
    bool seen = false;  // First without a way out, so that it is vectorized: mostly there is none.
    for (int64_t i = 0; i < array.length(); ++i) {
      seen |= is_nan(values[i]);
    }
    for (int64_t i = 0; seen && i < array.length(); ++i) {
      if (is_nan(values[i]) && array.IsValid(i)) {
        return true;
      }
    }
    return false;
  };
  switch (array.type_id()) {
    case arrow::Type::FLOAT:
      return any(array.data()->GetValues<float>(1), [](float v) { return v != v; });
    case arrow::Type::DOUBLE:
      return any(array.data()->GetValues<double>(1), [](double v) { return v != v; });
    case arrow::Type::HALF_FLOAT:
      return any(array.data()->GetValues<uint16_t>(1),
                 [](uint16_t v) { return (v & 0x7fff) > 0x7c00; });
    default:
      return false;
  }
}

std::pair<int64_t, int64_t> MinMax(const int64_t* values, int64_t count) {
  int64_t min = values[0];
  int64_t max = values[0];
  for (int64_t i = 1; i < count; ++i) {
    min = values[i] < min ? values[i] : min;
    max = values[i] > max ? values[i] : max;
  }
  return {min, max};
}

class FileWriterImpl final : public FileWriter {
 public:
  FileWriterImpl(std::shared_ptr<ObjectStore> store, catalog::TableSchemaPtr table,
                 const base::Ulid& id, WriterOptions options)
      : store_(std::move(store)), table_(std::move(table)), options_(options) {
    file_.id = id;
    file_.table = table_->id;
    file_.kind = options.kind;
    file_.level = options.level;
    file_.schema_version = table_->version;
    file_.has_valid_columns = options.valid_columns;
    file_.has_system_columns = options.system_columns;
    path_ = file_.Path();
  }

  ~FileWriterImpl() override {
    if (sink_ != nullptr) {
      sink_->Abandon();
    }
    // Its destructor closes the file, and would walk into what was half made: a little memory lost
    // is better.
    if (out_of_memory_) (void)writer_.release();
  }

  Status Init() {
    if (!options_.system_columns && options_.kind != FileKind::kCurrent) {
      return MakeError(ErrorCode::kInternal, "a history file needs its system columns");
    }
    if (options_.rows_per_page <= 0 || options_.rows_per_row_group <= 0) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format("pages and row groups need rows: rows_per_page={} rows_per_row_group={}",
                      options_.rows_per_page, options_.rows_per_row_group));
    }
    batch_schema_ = RowBatchSchema(*table_);
    arrow::FieldVector fields;
    arrow::FieldVector at_rest;
    for (int i = 0; i < batch_schema_->num_fields(); ++i) {
      const std::shared_ptr<arrow::Field>& field = batch_schema_->field(i);
      const std::string& name = field->name();
      if ((!options_.valid_columns &&
           (name == catalog::kValidFromColumn || name == catalog::kValidToColumn)) ||
          (!options_.system_columns &&
           (name == catalog::kSystemFromColumn || name == catalog::kCommitColumn)) ||
          (options_.kind == FileKind::kCurrent && name == catalog::kSystemToColumn)) {
        continue;
      }
      const catalog::Column* column = table_->FindColumn(name);
      const std::optional<catalog::ColumnId> time_id = TimeColumnId(name);
      LAMINA_CHECK(column != nullptr || time_id.has_value());
      const catalog::ColumnId column_id = time_id ? *time_id : column->id;
      batch_columns_.push_back(i);
      column_ids_.push_back(column_id);
      fields.push_back(field);
      const auto metadata =
          arrow::key_value_metadata({"PARQUET:field_id"}, {std::to_string(column_id)});
      at_rest.push_back(field->WithType(TypeAtRest(field->type()))->WithMetadata(metadata));
    }
    nan_free_.assign(fields.size(), true);
    schema_ = arrow::schema(std::move(fields));
    at_rest_schema_ = arrow::schema(std::move(at_rest));
    return Status::OK();
  }

  Status Write(const std::shared_ptr<arrow::RecordBatch>& rows,
               const arrow::BinaryArray& keys) override {
    if (finished_) {
      return MakeError(ErrorCode::kInternal,
                       fmt::format("write to a finished data file: file={}", path_));
    }
    ARROW_RETURN_NOT_OK(error_);
    error_ = Append(rows, keys);
    return error_;
  }

  int64_t rows() const override { return rows_; }

  int64_t bytes_estimate() const override {
    const int64_t written = sink_ == nullptr ? 0 : sink_->position();
    // What the row groups before this one compressed to; 60 % until there is one.
    const double ratio = flushed_bytes_ == 0
                             ? 0.6
                             : static_cast<double>(written) / static_cast<double>(flushed_bytes_);
    return written + static_cast<int64_t>(static_cast<double>(pending_bytes_) * ratio) +
           static_cast<int64_t>(static_cast<double>(hashes_.size()) * options_.bloom_bits_per_key /
                                8);
  }

  Result<DataFile> Finish() override {
    if (finished_) {
      return MakeError(ErrorCode::kInternal,
                       fmt::format("a data file is finished twice: file={}", path_));
    }
    ARROW_RETURN_NOT_OK(error_);
    if (rows_ == 0) {
      return MakeError(ErrorCode::kInvalidArgument,
                       fmt::format("a data file needs rows: file={}", path_));
    }
    finished_ = true;
    Result<DataFile> file =
        AtParquetBorder(ErrorCode::kInternal, "cannot write data file", path_,
                        [this] { return NotingMemory([this] { return Close(); }); });
    if (!file.ok()) {
      error_ = file.status();
      sink_->Abandon();
    }
    return file;
  }

 private:
  Status Append(const std::shared_ptr<arrow::RecordBatch>& rows, const arrow::BinaryArray& keys) {
    if (!rows->schema()->Equals(*batch_schema_, /*check_metadata=*/false)) {
      return MakeError(
          ErrorCode::kInternal,
          fmt::format("not a row batch of the table: file={} expected=[{}] actual=[{}]", path_,
                      batch_schema_->ToString(), rows->schema()->ToString()));
    }
    if (keys.length() != rows->num_rows() || keys.null_count() != 0) {
      return MakeError(ErrorCode::kInternal,
                       fmt::format("keys do not match the rows: file={} rows={} keys={}", path_,
                                   rows->num_rows(), keys.length()));
    }
    if (rows->num_rows() == 0) {
      return Status::OK();
    }
    if (rows_ + rows->num_rows() > int64_t{std::numeric_limits<uint32_t>::max()}) {
      return MakeError(ErrorCode::kInvalidArgument,
                       fmt::format("too many rows for one data file: file={}", path_));
    }
    for (int i = 0; i < rows->num_columns(); ++i) {
      if (!batch_schema_->field(i)->nullable() && rows->column(i)->null_count() != 0) {
        return MakeError(ErrorCode::kInvalidArgument,
                         fmt::format("null in a column that may have none: file={} column={}",
                                     path_, batch_schema_->field(i)->name()));
      }
    }
    ARROW_ASSIGN_OR_RAISE(const int64_t bytes, arrow::util::ReferencedBufferSize(*rows));
    if (sink_ == nullptr) {
      ARROW_RETURN_NOT_OK(Open(*rows, bytes / rows->num_rows()));
    }
    ARROW_RETURN_NOT_OK(AddTimes(TimeColumns::Of(*rows), rows->num_rows()));
    ARROW_RETURN_NOT_OK(AddKeys(TimeColumns::Of(*rows), keys));
    for (size_t i = 0; i < batch_columns_.size(); ++i) {
      nan_free_[i] = nan_free_[i] && !HoldsNan(*rows->column(batch_columns_[i]));
    }
    pending_.push_back(rows);
    pending_rows_ += rows->num_rows();
    pending_bytes_ += bytes;
    rows_ += rows->num_rows();
    return FlushWhole();
  }

  // Chooses page size and encodings by the first rows, opens the object and Parquet's writer.
  Status Open(const arrow::RecordBatch& rows, int64_t row_bytes) {
    rows_per_page_ = std::clamp<int64_t>(kPageBytesTarget / std::max<int64_t>(row_bytes, 1), 1,
                                         options_.rows_per_page);
    rows_per_row_group_ =
        (options_.rows_per_row_group + rows_per_page_ - 1) / rows_per_page_ * rows_per_page_;
    ARROW_ASSIGN_OR_RAISE(std::unique_ptr<ObjectWriter> object, store_->Create(path_));
    sink_ = std::make_shared<ParquetSink>(std::move(object));
    return AtParquetBorder(ErrorCode::kInternal, "cannot open data file for writing", path_,
                           [this, &rows]() -> Status {
                             parquet::ArrowWriterProperties::Builder arrow_properties;
                             ARROW_ASSIGN_OR_RAISE(const auto properties, Properties(rows));
                             ARROW_ASSIGN_OR_RAISE(
                                 writer_, parquet::arrow::FileWriter::Open(
                                              *at_rest_schema_, arrow::default_memory_pool(), sink_,
                                              properties, arrow_properties.build()));
                             return Status::OK();
                           });
  }

  Result<std::shared_ptr<parquet::WriterProperties>> Properties(const arrow::RecordBatch& rows) {
    parquet::WriterProperties::Builder builder;
    builder.enable_store_decimal_as_integer()
        ->version(parquet::ParquetVersion::PARQUET_2_6)
        ->data_page_version(parquet::ParquetDataPageVersion::V1)
        ->created_by("LaminaDB version 1")
        ->max_rows_per_page(rows_per_page_)
        ->data_pagesize(
            std::numeric_limits<int32_t>::max())  // So that only the number of rows cuts pages.
        ->max_row_group_length(rows_per_row_group_)
        ->dictionary_pagesize_limit(kDictionaryBytesMax)
        ->disable_dictionary()
        ->enable_write_page_index()
        ->enable_page_checksum()
        ->enable_statistics()
        ->max_statistics_size(kStatisticBytesMax)
        ->set_size_statistics_level(parquet::SizeStatisticsLevel::None)
        ->compression(CodecOf(options_.codec));
    std::shared_ptr<parquet::SchemaDescriptor> leaves;
    ARROW_RETURN_NOT_OK(parquet::arrow::ToParquetSchema(at_rest_schema_.get(), *builder.build(),
                                                        *parquet::default_arrow_writer_properties(),
                                                        &leaves));
    // Properties are set by dotted path; a flat "a.b" beside a struct a with a field b has no path
    // of its own.
    std::unordered_map<std::string, int> paths;
    for (int leaf = 0; leaf < leaves->num_columns(); ++leaf) {
      ++paths[leaves->Column(leaf)->path()->ToDotString()];
    }
    for (int leaf = 0; leaf < leaves->num_columns(); ++leaf) {
      const parquet::ColumnDescriptor* column = leaves->Column(leaf);
      const std::string path = column->path()->ToDotString();
      const std::string& name = leaves->GetColumnRoot(leaf)->name();
      const bool flat = column->path()->ToDotVector().size() == 1;
      if (paths[path] > 1) {
        continue;
      }
      const bool is_integer = column->physical_type() == parquet::Type::INT32 ||
                              column->physical_type() == parquet::Type::INT64;
      const auto& dictionary_columns = table_->options.dictionary_columns;
      // Ends of validity are mostly "infinity": one outlier spoils a whole miniblock of deltas, but
      // no run of indices.
      bool dictionary = name == catalog::kValidToColumn ||
                        std::find(dictionary_columns.begin(), dictionary_columns.end(), name) !=
                            dictionary_columns.end();
      if (!dictionary && flat && !(is_integer && IsUncompressed(name))) {
        ARROW_ASSIGN_OR_RAISE(dictionary, HasFewValues(rows.GetColumnByName(name)));
      }
      const bool delta = !dictionary && flat && is_integer && IsDelta(name);
      if (dictionary) {
        builder.enable_dictionary(path);
      } else if (delta) {
        builder.encoding(path, parquet::Encoding::DELTA_BINARY_PACKED);
      }
      if (delta && IsUncompressed(name)) {
        builder.compression(path, parquet::Compression::UNCOMPRESSED);
      } else if (options_.codec == catalog::Codec::kZstd) {
        builder.compression_level(
            path, 1);  // By column: Parquet refuses a level where there is no codec.
      }
    }
    return builder.build();
  }

  // `column`: null when the batch does not have it, as a constant is left out.
  static Result<bool> HasFewValues(const std::shared_ptr<arrow::Array>& column) {
    if (column == nullptr) return false;
    const std::shared_ptr<arrow::Array> sample = column->Slice(0, kSampleRows);
    const arrow::Type::type type = column->type_id();
    // Of what Parquet has dictionaries of, those that Arrow counts.
    const bool known = arrow::is_integer(type) || type == arrow::Type::FLOAT ||
                       type == arrow::Type::DOUBLE || arrow::is_base_binary_like(type) ||
                       arrow::is_temporal(type) || type == arrow::Type::DECIMAL128 ||
                       type == arrow::Type::FIXED_SIZE_BINARY;
    if (!known || sample->length() < kRepeatsMin) return false;
    ARROW_ASSIGN_OR_RAISE(const arrow::Datum encoded, arrow::compute::DictionaryEncode(sample));
    const int64_t values = encoded.array_as<arrow::DictionaryArray>()->dictionary()->length();
    if (sample->null_count() == sample->length()) return false;
    return values <= kFewValues && values * kRepeatsMin <= sample->length();
  }

  bool IsKey(const std::string& name) const {
    const catalog::Column* column = table_->FindColumn(name);
    return column != nullptr &&
           std::find(table_->key.begin(), table_->key.end(), column->id) != table_->key.end();
  }

  // Keys and times ascend or repeat: small differences.
  bool IsDelta(const std::string& name) const {
    return IsUncompressed(name) || arrow::is_temporal(table_->FindColumn(name)->type->id());
  }

  // A codec finds nothing in what delta encoding leaves of these, and costs most of the time of a
  // point read.
  bool IsUncompressed(const std::string& name) const {
    return TimeColumnId(name).has_value() || IsKey(name);
  }

  Status AddTimes(const TimeColumns& times, int64_t count) {
    const auto [from_min, from_max] = MinMax(times.system_from, count);
    const auto [to_min, to_max] = MinMax(times.system_to, count);
    const auto [valid_from_min, valid_from_max] = MinMax(times.valid_from, count);
    const auto [valid_to_min, valid_to_max] = MinMax(times.valid_to, count);
    const auto [commit_min, commit_max] = MinMax(times.commit, count);
    if (!options_.valid_columns &&
        (valid_from_max != ValidTime::Min().micros || valid_to_min != ValidTime::Max().micros)) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format("a row is not valid for all time, but the file has no valid columns: file={}",
                      path_));
    }
    if (options_.kind == FileKind::kCurrent ? to_min != SystemTime::Max().micros
                                            : to_max == SystemTime::Max().micros) {
      return MakeError(
          ErrorCode::kInternal,
          fmt::format("{} row in a {} file: file={}",
                      options_.kind == FileKind::kCurrent ? "ended" : "open",
                      options_.kind == FileKind::kCurrent ? "current" : "history", path_));
    }
    const auto widen = [first = rows_ == 0](auto* min, auto* max, auto low, auto high) {
      *min = first ? low : std::min(*min, low);
      *max = first ? high : std::max(*max, high);
    };
    widen(&file_.min_system_from, &file_.max_system_from, SystemTime{from_min},
          SystemTime{from_max});
    widen(&file_.min_system_to, &file_.max_system_to, SystemTime{to_min}, SystemTime{to_max});
    widen(&file_.min_valid_from, &file_.max_valid_from, ValidTime{valid_from_min},
          ValidTime{valid_from_max});
    widen(&file_.min_valid_to, &file_.max_valid_to, ValidTime{valid_to_min},
          ValidTime{valid_to_max});
    widen(&file_.min_commit, &file_.max_commit, CommitId{static_cast<uint64_t>(commit_min)},
          CommitId{static_cast<uint64_t>(commit_max)});
    return Status::OK();
  }

  // Checks the order, takes the first keys of pages and the hashes of distinct keys.
  Status AddKeys(const TimeColumns& times, const arrow::BinaryArray& keys) {
    std::string_view last = key_last_;
    bool has_last = rows_ > 0;
    for (int64_t i = 0; i < keys.length(); ++i) {
      const std::string_view key = keys.GetView(i);
      bool is_new = true;
      if (has_last) {
        const int order = last.compare(key);
        is_new = order != 0;
        if (order > 0 || (order == 0 && std::pair(valid_from_last_, system_from_last_) >
                                            std::pair(times.valid_from[i], times.system_from[i]))) {
          return MakeError(
              ErrorCode::kInternal,
              fmt::format("rows out of (key, valid_from, system_from) order: file={} row={} key={}",
                          path_, rows_ + i, HexOf(key)));
        }
      }
      if ((rows_ + i) % rows_per_page_ == 0) {
        first_keys_.emplace_back(key);
      }
      if (is_new && options_.bloom_bits_per_key > 0) {
        hashes_.push_back(catalog::HashKey(key));
      }
      last = key;
      has_last = true;
      valid_from_last_ = times.valid_from[i];
      system_from_last_ = times.system_from[i];
    }
    if (rows_ == 0) {
      file_.min_key = std::string(keys.GetView(0));
    }
    key_last_ = std::string(last);
    return Status::OK();
  }

  // Writes the row groups that are full.
  Status FlushWhole() {
    while (pending_rows_ >= rows_per_row_group_) {
      ARROW_RETURN_NOT_OK(FlushRows(rows_per_row_group_));
    }
    if (pending_bytes_ >= kRowGroupBytesMax && pending_rows_ >= rows_per_page_) {
      return FlushRows(pending_rows_ / rows_per_page_ * rows_per_page_);
    }
    return Status::OK();
  }

  // One row group of the first `count` pending rows.
  Status FlushRows(int64_t count) {
    std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
    int64_t taken = 0;
    size_t whole = 0;
    while (taken < count) {
      const std::shared_ptr<arrow::RecordBatch>& next = pending_[whole];
      const int64_t take = std::min(next->num_rows(), count - taken);
      std::vector<std::shared_ptr<arrow::Array>> columns;
      for (size_t i = 0; i < batch_columns_.size(); ++i) {
        std::shared_ptr<arrow::Array> column = next->column(batch_columns_[i]);
        if (take != next->num_rows()) {
          column = column->Slice(0, take);
        }
        ARROW_ASSIGN_OR_RAISE(column,
                              Convert(column, at_rest_schema_->field(static_cast<int>(i))->type()));
        columns.push_back(std::move(column));
      }
      batches.push_back(arrow::RecordBatch::Make(at_rest_schema_, take, std::move(columns)));
      taken += take;
      if (take != next->num_rows()) {
        pending_[whole] = next->Slice(take);
        break;
      }
      ++whole;
    }
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(whole));
    const int64_t bytes = pending_bytes_ * count / pending_rows_;
    pending_rows_ -= count;
    pending_bytes_ -= bytes;
    flushed_bytes_ += bytes;
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Table> table,
                          arrow::Table::FromRecordBatches(at_rest_schema_, batches));
    constexpr int64_t kSmallChunk = 1024;
    if (table->column(0)->num_chunks() > count / kSmallChunk + 1) {
      ARROW_ASSIGN_OR_RAISE(
          table, table->CombineChunks());  // Parquet pays for every chunk of every column.
    }
    return AtParquetBorder(ErrorCode::kInternal, "cannot write row group", path_, [&] {
      return NotingMemory([&] { return writer_->WriteTable(*table, count); });
    });
  }

  Result<DataFile> Close() {
    if (pending_rows_ > 0) {
      ARROW_RETURN_NOT_OK(FlushRows(pending_rows_));
    }
    file_.rows = static_cast<uint64_t>(rows_);
    file_.max_key = key_last_;

    TailBlock tail;
    tail.key_index_offset = static_cast<uint64_t>(sink_->position());
    const std::string key_index = KeyIndex::Encode(
        static_cast<uint32_t>(rows_per_page_), first_keys_,
        hashes_.empty() ? std::string() : BuildBloomFilter(hashes_, options_.bloom_bits_per_key));
    ARROW_RETURN_NOT_OK(sink_->Write(key_index.data(), static_cast<int64_t>(key_index.size())));
    ARROW_ASSIGN_OR_RAISE(const auto metadata, Metadata(tail.key_index_offset, key_index.size()));
    ARROW_RETURN_NOT_OK(writer_->AddKeyValueMetadata(metadata));

    const int64_t page_index_offset = sink_->position();
    sink_->Hold();
    ARROW_RETURN_NOT_OK(writer_->Close());
    const std::string held = sink_->Release();
    LAMINA_CHECK(held.size() > kParquetTailBytes);
    const size_t footer_bytes =
        base::LoadFixed32(held.data() + held.size() - kParquetTailBytes) + kParquetTailBytes;
    LAMINA_CHECK(held.size() >= footer_bytes);
    const std::string_view page_index =
        std::string_view(held).substr(0, held.size() - footer_bytes);
    const std::string_view footer = std::string_view(held).substr(page_index.size());

    ARROW_ASSIGN_OR_RAISE(
        const std::string checksums,
        Checksums(*writer_->metadata(), page_index, page_index_offset, tail.key_index_offset));
    tail.checksums_offset = static_cast<uint64_t>(page_index_offset) + page_index.size();
    tail.region_crc = base::Crc32c(checksums, base::Crc32c(page_index, base::Crc32c(key_index)));
    tail.footer_crc = base::Crc32c(footer);
    const std::string tail_bytes = tail.Encode();
    for (const std::string_view part :
         {page_index, std::string_view(checksums), std::string_view(tail_bytes), footer}) {
      ARROW_RETURN_NOT_OK(sink_->Write(part.data(), static_cast<int64_t>(part.size())));
    }
    file_.footer_length = footer.size();
    file_.bytes = static_cast<uint64_t>(sink_->position());
    file_.columns =
        FileStatistics(*writer_->metadata(), StatisticsColumns(*writer_->metadata()->schema()));
    LAMINA_FAULT_POINT("sst.finish");
    const int64_t bytes = sink_->position();
    ARROW_RETURN_NOT_OK(SettleFinish(store_.get(), path_, bytes, sink_->Finish().status()));
    return std::move(file_);  // a copy would be made in a constructor of Arrow's that may not throw
  }

  std::vector<StatisticsColumn> StatisticsColumns(const parquet::SchemaDescriptor& leaves) const {
    std::vector<StatisticsColumn> columns;
    for (int leaf = 0; leaf < leaves.num_columns(); ++leaf) {
      if (leaves.Column(leaf)->path()->ToDotVector().size() != 1) {
        continue;
      }
      const int field = leaves.group_node()->FieldIndex(*leaves.GetColumnRoot(leaf));
      const std::shared_ptr<arrow::Field>& column = schema_->field(field);
      if (TimeColumnId(column->name()).has_value()) {
        continue;  // DataFile has its own members for them.
      }
      columns.push_back({.id = column_ids_[static_cast<size_t>(field)],
                         .leaf = leaf,
                         .type = column->type(),
                         .nan_free = nan_free_[static_cast<size_t>(field)]});
    }
    return columns;
  }

  Result<std::shared_ptr<arrow::KeyValueMetadata>> Metadata(uint64_t key_index_offset,
                                                            size_t key_index_length) const {
    std::vector<std::string> key_columns;
    for (const catalog::ColumnId id : table_->key) {
      key_columns.push_back(std::to_string(id));
    }
    std::vector<std::string> nan_free;
    for (size_t i = 0; i < nan_free_.size(); ++i) {
      if (nan_free_[i] && IsFloat(*schema_->field(static_cast<int>(i))->type())) {
        nan_free.push_back(std::to_string(column_ids_[i]));
      }
    }
    auto metadata = std::make_shared<arrow::KeyValueMetadata>();
    metadata->Append(kFormatKey, kFormatVersion);
    metadata->Append(kFileIdKey, file_.id.ToString());
    metadata->Append(kTableIdKey, std::to_string(file_.table.value));
    metadata->Append(kTableNameKey, table_->name);
    metadata->Append(kSchemaVersionKey, std::to_string(file_.schema_version));
    metadata->Append(kKindKey, file_.kind == FileKind::kCurrent ? "current" : "history");
    metadata->Append(kLevelKey, std::to_string(file_.level));
    metadata->Append(kRowsPerPageKey, std::to_string(rows_per_page_));
    metadata->Append(kKeyColumnsKey, fmt::format("{}", fmt::join(key_columns, ",")));
    metadata->Append(kNanFreeKey, fmt::format("{}", fmt::join(nan_free, ",")));
    metadata->Append(kKeyIndexOffsetKey, std::to_string(key_index_offset));
    metadata->Append(kKeyIndexLengthKey, std::to_string(key_index_length));
    metadata->Append(kMinKeyKey, HexOf(file_.min_key));
    metadata->Append(kMaxKeyKey, HexOf(file_.max_key));
    if (options_.system_columns) {
      metadata->Append(kMinSystemFromKey, std::to_string(file_.min_system_from.micros));
      metadata->Append(kMaxSystemFromKey, std::to_string(file_.max_system_from.micros));
      metadata->Append(kMinCommitKey, std::to_string(file_.min_commit.value));
      metadata->Append(kMaxCommitKey, std::to_string(file_.max_commit.value));
    }
    ARROW_ASSIGN_OR_RAISE(std::string schema, EncodeArrowSchema(*schema_));
    metadata->Append(kArrowSchemaKey, std::move(schema));
    return metadata;
  }

  // The checksum of every page; checks on the way that pages are cut at the same rows in every
  // column, which all reading by page number rests on, and that Parquet wrote nothing of the row
  // groups after the key index began.
  Result<std::string> Checksums(const parquet::FileMetaData& metadata, std::string_view page_index,
                                int64_t page_index_offset, uint64_t row_groups_end) const {
    std::vector<ChunkChecksums> chunks;
    for (int g = 0; g < metadata.num_row_groups(); ++g) {
      const auto group = metadata.RowGroup(g);
      const int64_t pages = (group->num_rows() + rows_per_page_ - 1) / rows_per_page_;
      for (int leaf = 0; leaf < metadata.num_columns(); ++leaf) {
        const auto chunk = group->ColumnChunk(leaf);
        const auto location = chunk->GetOffsetIndexLocation();
        LAMINA_CHECK(location.has_value() && location->offset >= page_index_offset &&
                     location->offset + location->length <=
                         page_index_offset + static_cast<int64_t>(page_index.size()));
        const auto index =
            parquet::OffsetIndex::Make(page_index.data() + (location->offset - page_index_offset),
                                       location->length, parquet::default_reader_properties());
        const std::vector<parquet::PageLocation>& locations = index->page_locations();
        bool aligned = static_cast<int64_t>(locations.size()) == pages;
        ChunkChecksums checksums;
        int64_t end_last = -1;
        for (size_t page = 0; aligned && page < locations.size(); ++page) {
          const parquet::PageLocation& at = locations[page];
          aligned = at.first_row_index == static_cast<int64_t>(page) * rows_per_page_ &&
                    (end_last < 0 || end_last == at.offset) &&
                    at.offset + at.compressed_page_size <= static_cast<int64_t>(row_groups_end);
          end_last = at.offset + at.compressed_page_size;
          ARROW_ASSIGN_OR_RAISE(const uint32_t crc,
                                sink_->ChecksumOf(at.offset, at.compressed_page_size));
          checksums.pages.push_back(crc);
        }
        if (!aligned) {
          return MakeError(
              ErrorCode::kInternal,
              fmt::format(
                  "Parquet did not cut pages as asked: file={} row_group={} column={} pages={}",
                  path_, g, leaf, locations.size()));
        }
        if (chunk->has_dictionary_page()) {
          ARROW_ASSIGN_OR_RAISE(
              checksums.dictionary,
              sink_->ChecksumOf(chunk->dictionary_page_offset(),
                                locations[0].offset - chunk->dictionary_page_offset()));
        }
        chunks.push_back(std::move(checksums));
      }
    }
    return EncodeChecksums(chunks);
  }

  template <typename Call>
  auto NotingMemory(Call&& call) -> decltype(call()) {
    try {
      return call();
    } catch (const std::bad_alloc&) {
      out_of_memory_ = true;
      throw;
    }
  }

  // Constant after Init.
  const std::shared_ptr<ObjectStore> store_;
  const catalog::TableSchemaPtr table_;
  const WriterOptions options_;
  std::string path_;
  std::shared_ptr<arrow::Schema> batch_schema_;  ///< What Write takes.
  /// The columns of a row batch that the file holds, in file order.
  std::vector<int> batch_columns_;
  std::vector<catalog::ColumnId> column_ids_;      ///< In file order, as the next two.
  std::shared_ptr<arrow::Schema> schema_;          ///< With the table's types.
  std::shared_ptr<arrow::Schema> at_rest_schema_;  ///< With the types handed to Parquet.

  // Set by the first Write.
  int64_t rows_per_page_ = 0;
  int64_t rows_per_row_group_ = 0;
  std::shared_ptr<ParquetSink> sink_;
  std::unique_ptr<parquet::arrow::FileWriter> writer_;
  bool out_of_memory_ = false;  ///< std::bad_alloc went through writer_.

  DataFile file_;
  std::vector<bool> nan_free_;
  std::vector<std::shared_ptr<arrow::RecordBatch>> pending_;
  int64_t pending_rows_ = 0;
  int64_t pending_bytes_ = 0;
  int64_t flushed_bytes_ = 0;  ///< Of the pending bytes' measure.
  int64_t rows_ = 0;
  std::string key_last_;
  int64_t valid_from_last_ = 0;
  int64_t system_from_last_ = 0;
  std::vector<std::string> first_keys_;
  std::vector<uint64_t> hashes_;
  bool finished_ = false;
  Status error_;  ///< The first error: the object is unusable after it.
};

}  // namespace

Result<std::unique_ptr<FileWriter>> FileWriter::Make(std::shared_ptr<ObjectStore> store,
                                                     catalog::TableSchemaPtr table,
                                                     const base::Ulid& id, WriterOptions options) {
  auto writer = std::make_unique<FileWriterImpl>(std::move(store), std::move(table), id, options);
  ARROW_RETURN_NOT_OK(writer->Init());
  return writer;
}

}  // namespace lamina::storage::sst
