#include "storage/sst/file_reader.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <arrow/array/util.h>
#include <arrow/buffer.h>
#include <arrow/util/byte_size.h>
#include <fmt/format.h>

#include "base/check.h"
#include "base/mutant.h"
#include "storage/sst/column_layout.h"
#include "storage/sst/file_format_internal.h"
#include "storage/sst/file_reader_internal.h"
#include "storage/sst/paged_file_internal.h"
#include "storage/sst/parquet_border_internal.h"
#include "storage/sst/row_batch.h"
#include "storage/sst/statistics_internal.h"

namespace lamina::storage::sst {

namespace {

// A stream decodes this much at once: large enough that the cost per call vanishes, small enough
// for the second-level cache to help and for memory to stay bounded when rows are large.
constexpr int64_t kDecodeRows = 64 << 10;
constexpr int64_t kDecodeBytesMax = 32 << 20;

// Where a requested column comes from.
struct ColumnSource {
  enum class Kind { kFile, kInitial, kConstantTime };
  Kind kind = Kind::kInitial;
  int file_column = -1;
  int64_t constant = 0;
  std::shared_ptr<arrow::Field> field;  ///< What is presented.
  catalog::Column absent;               ///< Of kInitial: the column that the file lacks.
  bool same_type = true;                ///< As the file's; else cast.
};

// Bounds leave NaN out.
bool IsNan(const arrow::Scalar& value) {
  switch (value.type->id()) {
    case arrow::Type::FLOAT:
      return std::isnan(static_cast<const arrow::FloatScalar&>(value).value);
    case arrow::Type::DOUBLE:
      return std::isnan(static_cast<const arrow::DoubleScalar&>(value).value);
    case arrow::Type::HALF_FLOAT:
      return true;  // not worth telling: no bounds
    default:
      return false;
  }
}

Result<std::shared_ptr<arrow::Array>> ConstantTimes(int64_t micros, int64_t rows,
                                                    const std::shared_ptr<arrow::DataType>& type) {
  // The same two values again and again, mostly a page long: one shared buffer each.
  constexpr int64_t kShared = 8192;
  const auto make = [](int64_t value, int64_t count) -> Result<std::shared_ptr<arrow::Buffer>> {
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                          arrow::AllocateBuffer(count * static_cast<int64_t>(sizeof(int64_t))));
    std::fill_n(reinterpret_cast<int64_t*>(buffer->mutable_data()), count, value);
    return buffer;
  };
  std::shared_ptr<arrow::Buffer> values;
  if (rows <= kShared && (micros == INT64_MAX || micros == INT64_MIN)) {
    static const Result<std::shared_ptr<arrow::Buffer>> max = make(INT64_MAX, kShared);
    static const Result<std::shared_ptr<arrow::Buffer>> min = make(INT64_MIN, kShared);
    ARROW_ASSIGN_OR_RAISE(values, micros == INT64_MAX ? max : min);
  } else {
    ARROW_ASSIGN_OR_RAISE(values, make(micros, rows));
  }
  return arrow::MakeArray(arrow::ArrayData::Make(type, rows, {nullptr, std::move(values)}, 0));
}

uint64_t TypeHash(const arrow::DataType& type) {
  const uint64_t hash = std::hash<std::string>()(type.ToString(/*show_metadata=*/false));
  return hash == 0 ? 1 : hash;
}

// First row of `keys` that is not below (upper: is above) `key`.
int64_t Bound(const arrow::BinaryArray& keys, std::string_view key, bool upper) {
  int64_t low = 0;
  int64_t high = keys.length();
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    const int order = keys.GetView(middle).compare(key);
    if (order < 0 || (upper && order == 0)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

void AppendPage(PageSet* pages, uint32_t page) {
  if (!pages->empty() && pages->back().last == page) {
    pages->back().last = page + 1;
  } else {
    pages->push_back({page, page + 1});
  }
}

class FileReaderImpl final : public FileReader {
 public:
  FileReaderImpl(DataFilePtr file, std::shared_ptr<const PagedFile> paged,
                 std::shared_ptr<PageCache> cache)
      : file_(std::move(file)),
        paged_(std::move(paged)),
        cache_(std::move(cache)),
        key_codec_(KeyTable(*paged_)) {
    arrow::FieldVector fields;
    for (const int column : paged_->key_columns()) {
      const FileColumn& key = paged_->columns()[static_cast<size_t>(column)];
      fields.push_back(arrow::field(key.name, key.type, key.nullable));
    }
    key_schema_ = arrow::schema(std::move(fields));
  }

  const DataFile& file() const override { return *file_; }
  uint32_t page_count() const override { return paged_->page_count(); }
  uint32_t rows_per_page() const override { return paged_->rows_per_page(); }

  bool KeyMayExist(std::string_view key, uint64_t hash, ReadCounters* counters) const override {
    if (key < file_->min_key || key > file_->max_key) {
      return false;
    }
    if (!paged_->key_index().MayContain(hash)) {
      if (counters != nullptr) {
        counters->bloom_negatives += 1;
      }
      return false;
    }
    return true;
  }

  Result<RowRange> FindKey(std::string_view key, ReadCounters* counters) const override {
    if (key < file_->min_key || key > file_->max_key) {
      return RowRange{};
    }
    const auto [first, last] = paged_->key_index().PagesOf(key);
    if (first >= last) {
      return RowRange{};
    }
    // Pages between the first and the last hold nothing but this key.
    ARROW_ASSIGN_OR_RAISE(const std::shared_ptr<arrow::BinaryArray> head,
                          PageKeys(first, counters));
    RowRange range;
    range.first =
        paged_->FirstRow(first) + static_cast<uint64_t>(Bound(*head, key, /*upper=*/false));
    std::shared_ptr<arrow::BinaryArray> tail = head;
    if (last - 1 != first) {
      ARROW_ASSIGN_OR_RAISE(tail, PageKeys(last - 1, counters));
    }
    range.last =
        paged_->FirstRow(last - 1) + static_cast<uint64_t>(Bound(*tail, key, /*upper=*/true));
    return range;
  }

  Result<std::shared_ptr<arrow::BinaryArray>> PageKeys(uint32_t page,
                                                       ReadCounters* counters) const override {
    ReadCounters unwanted;
    counters = counters == nullptr ? &unwanted : counters;
    ARROW_RETURN_NOT_OK(CheckPageNumber(page));
    const PageKey cache_key{
        .file = file_->id, .page = page, .column = PageKey::kKeys, .type_hash = 0};
    if (cache_ != nullptr) {
      if (std::shared_ptr<arrow::Array> cached = cache_->Find(cache_key)) {
        counters->page_cache_hits += 1;
        return std::static_pointer_cast<arrow::BinaryArray>(std::move(cached));
      }
    }
    ARROW_ASSIGN_OR_RAISE(std::vector<std::shared_ptr<arrow::Array>> columns,
                          paged_->ReadPages(page, page + 1, paged_->key_columns(), counters));
    const int64_t rows = columns.front()->length();
    ARROW_ASSIGN_OR_RAISE(
        std::shared_ptr<arrow::BinaryArray> keys,
        EncodeKeys(*arrow::RecordBatch::Make(key_schema_, rows, std::move(columns))));
    if (keys->GetView(0) != paged_->key_index().first_key(page)) {
      return Damaged(
          fmt::format("a page begins with another key than the key index says: page={}", page));
    }
    Remember(cache_key, keys);
    return keys;
  }

  PageSet PagesInKeyRange(const catalog::KeyRange& range) const override {
    if (!range.Overlaps(file_->min_key, file_->max_key)) {
      return {};
    }
    const KeyIndex& index = paged_->key_index();
    const uint32_t below_from = index.PagesBelow(range.from);
    const uint32_t first = below_from == 0 ? 0 : below_from - 1;
    const uint32_t last = range.unbounded_to ? page_count() : index.PagesBelow(range.to);
    return first < last ? PageSet{{first, last}} : PageSet{};
  }

  PageSet Prune(const PageSet& pages, const catalog::Predicate& predicate, ReadCounters* counters,
                const catalog::TableSchema* schema) const override;
  PageSet PruneTimes(const PageSet& pages, SystemTime system_from, SystemTime system_to,
                     ValidTime valid_from, ValidTime valid_to,
                     ReadCounters* counters) const override;

  Result<PageRows> ReadPage(uint32_t page, const catalog::TableSchema& schema,
                            const std::vector<std::string>& columns,
                            ReadCounters* counters) const override;
  Result<std::unique_ptr<Stream>> Read(const PageSet& pages,
                                       std::shared_ptr<const catalog::TableSchema> schema,
                                       std::vector<std::string> columns, int64_t batch_rows,
                                       ReadCounters* counters) const override;
  Status ReadBytes(int64_t offset, int64_t length, char* out,
                   ReadCounters* counters) const override {
    return paged_->ReadBytes(offset, length, out, counters);
  }

  Status Verify() const override;

 private:
  // The key columns alone, under the names they have in the file.
  static catalog::TableSchema KeyTable(const PagedFile& paged) {
    catalog::TableSchema table;
    for (const int column : paged.key_columns()) {
      const FileColumn& key = paged.columns()[static_cast<size_t>(column)];
      table.columns.push_back({.id = key.id,
                               .name = key.name,
                               .type = key.type,
                               .nullable = key.nullable,
                               .metadata = nullptr});
      table.key.push_back(key.id);
    }
    return table;
  }

  Status Damaged(std::string_view what) const {
    return MakeError(ErrorCode::kCorruption,
                     fmt::format("data file is damaged: file={} cause={}", paged_->path(), what));
  }

  Status CheckPageNumber(uint32_t page) const {
    return page < page_count() ? Status::OK()
                               : MakeError(ErrorCode::kInternal,
                                           fmt::format("no such page: file={} page={} pages={}",
                                                       paged_->path(), page, page_count()));
  }

  Result<std::shared_ptr<arrow::BinaryArray>> EncodeKeys(const arrow::RecordBatch& batch) const {
    Result<std::shared_ptr<arrow::BinaryArray>> keys = key_codec_.Encode(batch);
    // The writer encoded these very keys: what cannot be encoded now is not what was written.
    // Only what memory was missing for is not the file's fault.
    if (keys.ok() || keys.status().IsOutOfMemory()) return keys;
    return Damaged(keys.status().message());
  }

  void Remember(const PageKey& key, const std::shared_ptr<arrow::Array>& array) const {
    if (cache_ != nullptr) {
      cache_->Insert(key, array, static_cast<size_t>(arrow::util::TotalBufferSize(*array)));
    }
  }

  /// What every row has of a time column that the file does not have.
  int64_t LeftOut(std::string_view name) const;
  Result<ColumnSource> SourceOf(const catalog::TableSchema& schema, const std::string& name) const;
  Result<std::vector<ColumnSource>> SourcesOf(const catalog::TableSchema& schema,
                                              const std::vector<std::string>& columns) const;
  static Result<std::shared_ptr<arrow::Array>> ArrayOf(const ColumnSource& source, int64_t rows);

  // The statistics of one column over row groups and pages, in the type the predicate compares
  // with.
  struct RangeSource {
    int file_column = -1;  ///< -1: `constant` holds everywhere.
    std::shared_ptr<arrow::DataType> type;
    std::optional<catalog::ColumnRange> constant;
  };
  RangeSource RangeSourceOf(const std::string& name, const catalog::TableSchema* schema) const;
  std::optional<catalog::ColumnRange> RangeOfPage(const RangeSource& source, int row_group,
                                                  uint32_t page) const;

  friend class StreamImpl;

  const DataFilePtr file_;
  const std::shared_ptr<const PagedFile> paged_;
  const std::shared_ptr<PageCache> cache_;  ///< Null: nothing is cached.
  const catalog::KeyCodec key_codec_;
  std::shared_ptr<arrow::Schema> key_schema_;
};

// ---- Columns ----

int64_t FileReaderImpl::LeftOut(std::string_view name) const {
  if (name == catalog::kValidFromColumn) return ValidTime::Min().micros;
  if (name == catalog::kSystemFromColumn) return file_->min_system_from.micros;
  if (name == catalog::kCommitColumn) return static_cast<int64_t>(file_->min_commit.value);
  return INT64_MAX;
}

Result<ColumnSource> FileReaderImpl::SourceOf(const catalog::TableSchema& schema,
                                              const std::string& name) const {
  ColumnSource source;
  if (TimeColumnId(name).has_value()) {
    const bool is_commit = name == catalog::kCommitColumn;
    source.field = arrow::field(name, is_commit ? arrow::int64() : TimeType(), /*nullable=*/false);
    source.file_column = paged_->FindColumn(*TimeColumnId(name));
    if (source.file_column >= 0) {
      source.kind = ColumnSource::Kind::kFile;
    } else {
      source.kind = ColumnSource::Kind::kConstantTime;
      source.constant = LeftOut(name);
    }
    return source;
  }
  const catalog::Column* column = schema.FindColumn(name);
  if (column == nullptr) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("no such column: table={} column={}", schema.name, name));
  }
  source.field = arrow::field(column->name, column->type, column->nullable, column->metadata);
  source.file_column = LAMINA_MUTANT("sst.column_found_by_name")
                           ? paged_->FindColumn(std::string_view(column->name))
                           : paged_->FindColumn(column->id);
  if (source.file_column >= 0) {
    source.kind = ColumnSource::Kind::kFile;
    source.same_type =
        paged_->columns()[static_cast<size_t>(source.file_column)].type->Equals(*column->type);
  } else if (column->nullable || column->initial != nullptr) {
    source.absent = *column;
  } else {
    return Damaged(fmt::format("a column without nulls is not in the file: column={} id={}", name,
                               column->id));
  }
  return source;
}

Result<std::vector<ColumnSource>> FileReaderImpl::SourcesOf(
    const catalog::TableSchema& schema, const std::vector<std::string>& columns) const {
  std::vector<ColumnSource> sources;
  sources.reserve(columns.size());
  for (const std::string& name : columns) {
    ARROW_ASSIGN_OR_RAISE(ColumnSource source, SourceOf(schema, name));
    sources.push_back(std::move(source));
  }
  return sources;
}

Result<std::shared_ptr<arrow::Array>> FileReaderImpl::ArrayOf(const ColumnSource& source,
                                                              int64_t rows) {
  return source.kind == ColumnSource::Kind::kConstantTime
             ? ConstantTimes(source.constant, rows, source.field->type())
             : catalog::InitialValues(source.absent, rows);
}

Result<PageRows> FileReaderImpl::ReadPage(uint32_t page, const catalog::TableSchema& schema,
                                          const std::vector<std::string>& columns,
                                          ReadCounters* counters) const {
  ReadCounters unwanted;
  counters = counters == nullptr ? &unwanted : counters;
  ARROW_RETURN_NOT_OK(CheckPageNumber(page));
  ARROW_ASSIGN_OR_RAISE(const std::vector<ColumnSource> sources, SourcesOf(schema, columns));
  const auto rows = static_cast<int64_t>(paged_->RowsIn(page, page + 1));
  std::vector<std::shared_ptr<arrow::Array>> arrays(sources.size());
  std::vector<size_t> missing;
  std::vector<int> to_read;
  const auto key_of = [&](const ColumnSource& source) {
    return PageKey{.file = file_->id,
                   .page = page,
                   .column = static_cast<uint32_t>(source.file_column),
                   .type_hash = source.same_type ? 0 : TypeHash(*source.field->type())};
  };
  for (size_t i = 0; i < sources.size(); ++i) {
    const ColumnSource& source = sources[i];
    if (source.kind != ColumnSource::Kind::kFile) {
      ARROW_ASSIGN_OR_RAISE(arrays[i], ArrayOf(source, rows));
      continue;
    }
    if (cache_ != nullptr) {
      std::shared_ptr<arrow::Array> cached = cache_->Find(key_of(source));
      // Nested names may differ from those of the schema that cached it, and two types could share
      // a hash.
      if (cached != nullptr && cached->type()->Equals(*source.field->type())) {
        counters->page_cache_hits += 1;
        arrays[i] = std::move(cached);
        continue;
      }
    }
    missing.push_back(i);
    to_read.push_back(source.file_column);
  }
  if (!missing.empty()) {
    ARROW_ASSIGN_OR_RAISE(std::vector<std::shared_ptr<arrow::Array>> read,
                          paged_->ReadPages(page, page + 1, to_read, counters));
    for (size_t k = 0; k < missing.size(); ++k) {
      const ColumnSource& source = sources[missing[k]];
      if (!source.same_type) {
        ARROW_ASSIGN_OR_RAISE(read[k], catalog::CastColumn(read[k], source.field->type()));
      }
      Remember(key_of(source), read[k]);
      arrays[missing[k]] = std::move(read[k]);
    }
  }
  arrow::FieldVector fields;
  fields.reserve(sources.size());
  for (const ColumnSource& source : sources) {
    fields.push_back(source.field);
  }
  return PageRows{
      .first_ordinal = paged_->FirstRow(page),
      .rows = arrow::RecordBatch::Make(arrow::schema(std::move(fields)), rows, std::move(arrays))};
}

// ---- Streams ----

class StreamImpl final : public FileReader::Stream {
 public:
  StreamImpl(std::shared_ptr<const PagedFile> paged, std::vector<ColumnSource> sources,
             PageSet pages, int64_t batch_rows, ReadCounters* counters)
      : paged_(std::move(paged)),
        sources_(std::move(sources)),
        pages_(std::move(pages)),
        batch_rows_(batch_rows),
        counters_(counters == nullptr ? &unwanted_ : counters) {
    arrow::FieldVector fields;
    for (const ColumnSource& source : sources_) {
      fields.push_back(source.field);
      if (source.kind == ColumnSource::Kind::kFile) {
        to_read_.push_back(source.file_column);
      }
    }
    schema_ = arrow::schema(std::move(fields));
  }

  Result<PageRows> Next() override {
    while (decoded_ == nullptr || position_ == decoded_->num_rows()) {
      if (run_ == pages_.size()) {
        return PageRows{};
      }
      ARROW_RETURN_NOT_OK(DecodeMore());
    }
    const int64_t count = std::min(batch_rows_, decoded_->num_rows() - position_);
    PageRows out{
        .first_ordinal = first_ordinal_ + static_cast<uint64_t>(position_),
        .rows = count == decoded_->num_rows() ? decoded_ : decoded_->Slice(position_, count)};
    position_ += count;
    return out;
  }

 private:
  // The next pages of the set that lie together in one row group.
  Status DecodeMore() {
    PageRun& run = pages_[run_];
    const int row_group = paged_->RowGroupOf(run.first);
    const RowGroupLayout& group = paged_->row_groups()[static_cast<size_t>(row_group)];
    if (row_group != row_group_last_) {
      row_group_last_ = row_group;
      counters_->row_groups_read += 1;
    }
    const int64_t rows = std::clamp<int64_t>(kDecodeBytesMax / group.row_bytes, 1, kDecodeRows);
    const auto step = static_cast<uint32_t>(std::max<int64_t>(rows / paged_->rows_per_page(), 1));
    const uint32_t last =
        std::min({run.last, group.last_page(), run.first + std::min(step, run.last - run.first)});
    ARROW_ASSIGN_OR_RAISE(decoded_, Decode(run.first, last));
    first_ordinal_ = paged_->FirstRow(run.first);
    position_ = 0;
    run.first = last;
    if (run.first == run.last) {
      ++run_;
    }
    if (run_ == pages_.size() || pages_[run_].first >= group.last_page()) {
      paged_->ReleaseRowGroup(row_group);
    }
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Decode(uint32_t first, uint32_t last) {
    const auto rows = static_cast<int64_t>(paged_->RowsIn(first, last));
    std::vector<std::shared_ptr<arrow::Array>> read;
    if (!to_read_.empty()) {
      ARROW_ASSIGN_OR_RAISE(read, paged_->ReadPages(first, last, to_read_, counters_));
    }
    std::vector<std::shared_ptr<arrow::Array>> arrays;
    arrays.reserve(sources_.size());
    size_t next = 0;
    for (const ColumnSource& source : sources_) {
      std::shared_ptr<arrow::Array> array;
      if (source.kind != ColumnSource::Kind::kFile) {
        ARROW_ASSIGN_OR_RAISE(array, FileReaderImpl::ArrayOf(source, rows));
      } else {
        array = std::move(read[next++]);
        if (!source.same_type) {
          ARROW_ASSIGN_OR_RAISE(array, catalog::CastColumn(array, source.field->type()));
        }
      }
      arrays.push_back(std::move(array));
    }
    return arrow::RecordBatch::Make(schema_, rows, std::move(arrays));
  }

  const std::shared_ptr<const PagedFile> paged_;
  const std::vector<ColumnSource> sources_;
  PageSet pages_;  ///< Shrinks from its front: pages_[run_] is the next.
  const int64_t batch_rows_;
  ReadCounters unwanted_;
  ReadCounters* const counters_;
  std::vector<int> to_read_;
  std::shared_ptr<arrow::Schema> schema_;

  size_t run_ = 0;
  int row_group_last_ = -1;
  std::shared_ptr<arrow::RecordBatch> decoded_;
  uint64_t first_ordinal_ = 0;  ///< Of decoded_.
  int64_t position_ = 0;        ///< In decoded_.
};

Result<std::unique_ptr<FileReader::Stream>> FileReaderImpl::Read(
    const PageSet& pages, std::shared_ptr<const catalog::TableSchema> schema,
    std::vector<std::string> columns, int64_t batch_rows, ReadCounters* counters) const {
  if (batch_rows <= 0) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("a batch needs rows: batch_rows={}", batch_rows));
  }
  PageSet runs;
  for (const PageRun& run : pages) {
    if (run.first >= run.last || run.last > page_count() ||
        (!runs.empty() && run.first < runs.back().last)) {
      return MakeError(ErrorCode::kInternal,
                       fmt::format("not a page set of the file: file={} first={} last={} pages={}",
                                   paged_->path(), run.first, run.last, page_count()));
    }
    runs.push_back(run);
  }
  ARROW_ASSIGN_OR_RAISE(std::vector<ColumnSource> sources, SourcesOf(*schema, columns));
  return std::make_unique<StreamImpl>(paged_, std::move(sources), std::move(runs), batch_rows,
                                      counters);
}

// ---- Pruning ----

FileReaderImpl::RangeSource FileReaderImpl::RangeSourceOf(
    const std::string& name, const catalog::TableSchema* schema) const {
  RangeSource source;
  if (const std::optional<catalog::ColumnId> time_id = TimeColumnId(name)) {
    source.type = name == catalog::kCommitColumn ? arrow::int64() : TimeType();
    source.file_column = paged_->FindColumn(*time_id);
    // Rows of current files end in the deletion vector, which is not known here.
    if (source.file_column < 0 && name != catalog::kSystemToColumn) {
      const int64_t value = LeftOut(name);
      const auto bound =
          EncodeBound(parquet::Type::INT64, {reinterpret_cast<const char*>(&value), sizeof(value)},
                      source.type, source.type);
      source.constant = catalog::ColumnRange{
          .min = bound, .max = bound, .may_have_null = false, .may_have_value = true};
    }
    return source;
  }
  const catalog::Column* column = schema == nullptr ? nullptr : schema->FindColumn(name);
  if (column == nullptr) {
    return source;
  }
  source.type = column->type;
  source.file_column = paged_->FindColumn(column->id);
  if (source.file_column < 0) {  // Added after the file was written: all are the initial value.
    source.constant = catalog::ColumnRange{.min = std::nullopt,
                                           .max = std::nullopt,
                                           .may_have_null = column->initial == nullptr,
                                           .may_have_value = column->initial != nullptr};
    if (column->initial != nullptr && !IsNan(*column->initial)) {
      if (auto bound = catalog::EncodeValue(*column->initial); bound.ok()) {
        source.constant->min = *bound;
        source.constant->max = *bound;
        source.constant->may_have_nan = false;
      }
    }
  } else if (!paged_->columns()[static_cast<size_t>(source.file_column)].has_statistics()) {
    source.file_column = -1;
  }
  return source;
}

std::optional<catalog::ColumnRange> FileReaderImpl::RangeOfPage(const RangeSource& source,
                                                                int row_group,
                                                                uint32_t page) const {
  const FileColumn& column = paged_->columns()[static_cast<size_t>(source.file_column)];
  const parquet::ColumnIndex* index = paged_->PageStatistics(row_group, column.first_leaf);
  if (index == nullptr) {
    return std::nullopt;
  }
  const parquet::Type::type physical =
      paged_->metadata().schema()->Column(column.first_leaf)->physical_type();
  const size_t i = page - paged_->row_groups()[static_cast<size_t>(row_group)].first_page;
  catalog::ColumnRange range;
  range.may_have_null = !index->has_null_counts() || index->null_counts()[i] != 0;
  range.may_have_value = !index->null_pages()[i];
  if (range.may_have_value) {
    range.min = EncodeBound(physical, index->encoded_min_values()[i], column.type, source.type);
    if (column.nan_free) {
      range.max = EncodeBound(physical, index->encoded_max_values()[i], column.type, source.type);
    }
  }
  return range;
}

PageSet FileReaderImpl::Prune(const PageSet& pages, const catalog::Predicate& predicate,
                              ReadCounters* counters, const catalog::TableSchema* schema) const {
  ReadCounters unwanted;
  counters = counters == nullptr ? &unwanted : counters;
  std::vector<std::pair<std::string, RangeSource>> sources;
  for (const std::string& name : predicate.columns()) {
    sources.emplace_back(name, RangeSourceOf(name, schema));
  }
  const auto source_of = [&sources](const std::string& name) -> const RangeSource* {
    for (const auto& [known, source] : sources) {
      if (known == name) {
        return &source;
      }
    }
    return nullptr;
  };

  PageSet kept;
  int row_group = -1;
  bool group_matches = true;
  for (const PageRun& run : pages) {
    for (uint32_t page = run.first; page < run.last; ++page) {
      if (row_group < 0 ||
          page >= paged_->row_groups()[static_cast<size_t>(row_group)].last_page()) {
        row_group = paged_->RowGroupOf(page);
        const std::unique_ptr<parquet::RowGroupMetaData> group =
            paged_->metadata().RowGroup(row_group);
        group_matches =
            predicate.CanMatch([&](const std::string& name) -> std::optional<catalog::ColumnRange> {
              const RangeSource* source = source_of(name);
              if (source == nullptr || source->file_column < 0) {
                return source == nullptr ? std::nullopt : source->constant;
              }
              const FileColumn& column =
                  paged_->columns()[static_cast<size_t>(source->file_column)];
              return RangeOfChunk(*group->ColumnChunk(column.first_leaf), group->num_rows(),
                                  column.statistics(), source->type);
            });
        counters->row_groups_pruned += group_matches ? 0 : 1;
      }
      const bool matches =
          group_matches &&
          predicate.CanMatch([&](const std::string& name) -> std::optional<catalog::ColumnRange> {
            const RangeSource* source = source_of(name);
            if (source == nullptr || source->file_column < 0) {
              return source == nullptr ? std::nullopt : source->constant;
            }
            return RangeOfPage(*source, row_group, page);
          });
      if (matches) {
        AppendPage(&kept, page);
      } else {
        counters->pages_pruned += 1;
      }
    }
  }
  return kept;
}

PageSet FileReaderImpl::PruneTimes(const PageSet& pages, SystemTime system_from,
                                   SystemTime system_to, ValidTime valid_from, ValidTime valid_to,
                                   ReadCounters* counters) const {
  ReadCounters unwanted;
  counters = counters == nullptr ? &unwanted : counters;
  // A page goes when the least of a "from" column is not below the window's end, or the greatest of
  // a "to" column not above its start. The file's bounds often say that no page can go.
  struct Test {
    int column;
    bool by_min;
    int64_t limit;
  };
  std::vector<Test> tests;
  const auto add = [&](const char* name, bool by_min, int64_t limit, int64_t file_extreme) {
    const int column = paged_->FindColumn(std::string_view(name));
    if (column >= 0 && (by_min ? file_extreme >= limit : file_extreme <= limit)) {
      tests.push_back({column, by_min, limit});
    }
  };
  add(catalog::kSystemFromColumn, true, system_to.micros, file_->max_system_from.micros);
  add(catalog::kSystemToColumn, false, system_from.micros, file_->min_system_to.micros);
  add(catalog::kValidFromColumn, true, valid_to.micros, file_->max_valid_from.micros);
  add(catalog::kValidToColumn, false, valid_from.micros, file_->min_valid_to.micros);
  if (tests.empty()) {
    return pages;
  }

  PageSet kept;
  int row_group = -1;
  uint64_t kept_in_group = 0;
  const auto close_group = [&] {
    counters->row_groups_pruned += row_group >= 0 && kept_in_group == 0 ? 1 : 0;
  };
  for (const PageRun& run : pages) {
    for (uint32_t page = run.first; page < run.last; ++page) {
      if (row_group < 0 ||
          page >= paged_->row_groups()[static_cast<size_t>(row_group)].last_page()) {
        close_group();
        row_group = paged_->RowGroupOf(page);
        kept_in_group = 0;
      }
      const size_t i = page - paged_->row_groups()[static_cast<size_t>(row_group)].first_page;
      bool keep = true;
      for (const Test& test : tests) {
        const auto* index = dynamic_cast<const parquet::Int64ColumnIndex*>(paged_->PageStatistics(
            row_group, paged_->columns()[static_cast<size_t>(test.column)].first_leaf));
        if (index != nullptr && !index->null_pages()[i]) {
          keep =
              keep &&
              (test.by_min ? index->min_values()[i] <
                                 test.limit - (LAMINA_MUTANT("sst.page_pruned_at_the_edge") ? 1 : 0)
                           : index->max_values()[i] > test.limit);
        }
      }
      if (keep) {
        ++kept_in_group;
        AppendPage(&kept, page);
      } else {
        counters->pages_pruned += 1;
      }
    }
  }
  close_group();
  return kept;
}

// ---- Verify ----

Status FileReaderImpl::Verify() const {
  ReadCounters counters;
  ARROW_RETURN_NOT_OK(paged_->VerifyMagic(&counters));
  std::vector<int> all(paged_->columns().size());
  for (size_t i = 0; i < all.size(); ++i) {
    all[i] = static_cast<int>(i);
  }
  const auto time_column = [this](const char* name) {
    return paged_->FindColumn(std::string_view(name));
  };
  struct Bounds {
    int column = -1;
    int64_t min = INT64_MAX;
    int64_t max = INT64_MIN;
  };
  // In the order of the facts below.
  std::array<Bounds, 5> bounds{{{.column = time_column(catalog::kSystemFromColumn)},
                                {.column = time_column(catalog::kSystemToColumn)},
                                {.column = time_column(catalog::kValidFromColumn)},
                                {.column = time_column(catalog::kValidToColumn)},
                                {.column = time_column(catalog::kCommitColumn)}}};
  std::string key_last;
  int64_t valid_from_last = 0;
  int64_t system_from_last = 0;
  for (uint32_t page = 0; page < page_count(); ++page) {
    ARROW_ASSIGN_OR_RAISE(const std::vector<std::shared_ptr<arrow::Array>> columns,
                          paged_->ReadPages(page, page + 1, all, &counters));
    std::vector<std::shared_ptr<arrow::Array>> key_columns;
    for (size_t i = 0; i < columns.size(); ++i) {
      ARROW_RETURN_NOT_OK(AtParquetBorder(ErrorCode::kCorruption, "data file is damaged",
                                          paged_->path(), [&] { return columns[i]->Validate(); }));
    }
    for (const int column : paged_->key_columns()) {
      key_columns.push_back(columns[static_cast<size_t>(column)]);
    }
    const int64_t rows = columns.front()->length();
    ARROW_ASSIGN_OR_RAISE(
        const std::shared_ptr<arrow::BinaryArray> keys,
        EncodeKeys(*arrow::RecordBatch::Make(key_schema_, rows, std::move(key_columns))));
    const auto times = [&](const Bounds& of) {
      return of.column < 0 ? nullptr
                           : columns[static_cast<size_t>(of.column)]->data()->GetValues<int64_t>(1);
    };
    for (Bounds& of : bounds) {
      if (const int64_t* values = times(of)) {
        const auto [min, max] = std::minmax_element(values, values + rows);
        of.min = std::min(of.min, *min);
        of.max = std::max(of.max, *max);
      }
    }
    // Left out: the same of all rows.
    const std::vector<int64_t> one(times(bounds[0]) == nullptr ? static_cast<size_t>(rows) : 0,
                                   file_->min_system_from.micros);
    const int64_t* system_from = one.empty() ? times(bounds[0]) : one.data();
    const int64_t* valid_from = times(bounds[2]);
    for (int64_t i = 0; i < rows; ++i) {
      const std::string_view key = keys->GetView(i);
      const uint64_t ordinal = paged_->FirstRow(page) + static_cast<uint64_t>(i);
      const int64_t row_valid_from =
          valid_from == nullptr ? ValidTime::Min().micros : valid_from[i];
      if (i == 0 && key != paged_->key_index().first_key(page)) {
        return Damaged(
            fmt::format("a page begins with another key than the key index says: page={}", page));
      }
      if (ordinal > 0 &&
          (key_last > key || (key_last == key && std::pair(valid_from_last, system_from_last) >
                                                     std::pair(row_valid_from, system_from[i])))) {
        return Damaged(fmt::format("rows out of order: ordinal={} key={}", ordinal, HexOf(key)));
      }
      if (!paged_->key_index().MayContain(catalog::HashKey(key))) {
        return Damaged(
            fmt::format("the Bloom filter denies a key: ordinal={} key={}", ordinal, HexOf(key)));
      }
      if (ordinal == 0 && key != file_->min_key) {
        return Damaged(fmt::format("wrong first key: expected={} actual={}", HexOf(file_->min_key),
                                   HexOf(key)));
      }
      key_last.assign(key);
      valid_from_last = row_valid_from;
      system_from_last = system_from[i];
    }
  }
  if (key_last != file_->max_key) {
    return Damaged(fmt::format("wrong last key: expected={} actual={}", HexOf(file_->max_key),
                               HexOf(key_last)));
  }

  const std::array<std::pair<int64_t, int64_t>, 5> expected{
      {{file_->min_system_from.micros, file_->max_system_from.micros},
       {file_->min_system_to.micros, file_->max_system_to.micros},
       {file_->min_valid_from.micros, file_->max_valid_from.micros},
       {file_->min_valid_to.micros, file_->max_valid_to.micros},
       {static_cast<int64_t>(file_->min_commit.value),
        static_cast<int64_t>(file_->max_commit.value)}}};
  for (size_t i = 0; i < bounds.size(); ++i) {
    if (bounds[i].column >= 0 &&
        (bounds[i].min != expected[i].first || bounds[i].max != expected[i].second)) {
      return Damaged(fmt::format("wrong bounds: column={} expected=[{}, {}] actual=[{}, {}]",
                                 paged_->columns()[static_cast<size_t>(bounds[i].column)].name,
                                 expected[i].first, expected[i].second, bounds[i].min,
                                 bounds[i].max));
    }
  }
  if (!file_->has_system_columns && (file_->min_system_from != file_->max_system_from ||
                                     file_->min_commit != file_->max_commit)) {
    return Damaged("the manifest gives rows of one commit several times");
  }
  if ((bounds[2].column >= 0) != file_->has_valid_columns ||
      (bounds[0].column >= 0) != file_->has_system_columns ||
      (bounds[4].column >= 0) != file_->has_system_columns ||
      (bounds[1].column >= 0) != (file_->kind == FileKind::kHistory)) {
    return Damaged("the manifest says other time columns than the file has");
  }

  std::vector<StatisticsColumn> statistics_columns;
  for (const FileColumn& column : paged_->columns()) {
    if (column.has_statistics() && !TimeColumnId(column.name).has_value()) {
      statistics_columns.push_back(column.statistics());
    }
  }
  ARROW_ASSIGN_OR_RAISE(const std::vector<ColumnStats> actual,
                        AtParquetBorder(ErrorCode::kCorruption, "data file is damaged",
                                        paged_->path(), [&]() -> Result<std::vector<ColumnStats>> {
                                          return FileStatistics(paged_->metadata(),
                                                                statistics_columns);
                                        }));
  const auto same = [](const ColumnStats& a, const ColumnStats& b) {
    return a.column == b.column && a.min == b.min && a.max == b.max && a.null_count == b.null_count;
  };
  if (!std::equal(actual.begin(), actual.end(), file_->columns.begin(), file_->columns.end(),
                  same)) {
    return Damaged("the manifest's column statistics are not the file's");
  }
  return Status::OK();
}

}  // namespace

void ReadCounters::Add(const ReadCounters& other) {
  files_opened += other.files_opened;
  row_groups_read += other.row_groups_read;
  row_groups_pruned += other.row_groups_pruned;
  pages_read += other.pages_read;
  pages_pruned += other.pages_pruned;
  page_cache_hits += other.page_cache_hits;
  bytes_read += other.bytes_read;
  requests += other.requests;
  bloom_negatives += other.bloom_negatives;
  rows_decoded += other.rows_decoded;
}

Result<FileReaderPtr> OpenDataFile(ObjectStore* store, const DataFilePtr& file,
                                   std::shared_ptr<PageCache> pages, ReadCounters* counters,
                                   size_t* memory_bytes) {
  ReadCounters unwanted;
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<const PagedFile> paged,
                        PagedFile::Open(store, *file, counters == nullptr ? &unwanted : counters));
  if (memory_bytes != nullptr) {
    *memory_bytes = paged->memory_bytes();
  }
  return std::make_shared<const FileReaderImpl>(file, std::move(paged), std::move(pages));
}

}  // namespace lamina::storage::sst
