#include <algorithm>
#include <charconv>
#include <cstring>

#include <arrow/array/concatenate.h>
#include <arrow/io/memory.h>
#include <arrow/table.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/key_value_metadata.h>
#include <fmt/format.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/column_reader.h>
#include <parquet/file_reader.h>
#include <parquet/level_conversion.h>

#include "base/check.h"
#include "base/codec.h"
#include "base/crc32c.h"
#include "storage/sst/column_layout.h"
#include "storage/sst/file_format_internal.h"
#include "storage/sst/paged_file_internal.h"
#include "storage/sst/parquet_border_internal.h"

namespace lamina::storage::sst {

namespace {

// Fewer bytes are not worth a system call; and a page fault brings in its neighbours as well.
constexpr int64_t kReleaseBytesMin = 16 << 10;
constexpr int64_t kFaultBytes = 64 << 10;

using arrow::Type;

// Ranges of one read that lie closer than this are fetched in one request.
constexpr int64_t kCoalesceGap = 64 << 10;
constexpr int64_t kCoalescedBytesMax = 64 << 20;

std::optional<uint64_t> ParseNumber(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

// Nothing when one of the parts is no number.
std::optional<std::vector<uint64_t>> ParseNumbers(std::string_view text) {
  std::vector<uint64_t> out;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::optional<uint64_t> value = ParseNumber(text.substr(0, comma));
    if (!value) {
      return std::nullopt;
    }
    out.push_back(*value);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return out;
}

// Types that Parquet's record reader gives in a form we turn into an Arrow array ourselves: no
// reader of a whole file has to be built for a page.
bool IsDirect(const arrow::DataType& at_rest) {
  switch (at_rest.id()) {
    case Type::BOOL:
    case Type::INT8:
    case Type::UINT8:
    case Type::INT16:
    case Type::UINT16:
    case Type::INT32:
    case Type::UINT32:
    case Type::INT64:
    case Type::UINT64:
    case Type::FLOAT:
    case Type::DOUBLE:
    case Type::DATE32:
    case Type::TIME32:
    case Type::TIME64:
    case Type::TIMESTAMP:
    case Type::DURATION:
    case Type::STRING:
    case Type::BINARY:
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY:
    case Type::FIXED_SIZE_BINARY:
      return true;
    default:
      return false;
  }
}

template <typename Narrow>
Result<std::shared_ptr<arrow::Buffer>> NarrowValues(const uint8_t* values, int64_t count) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> out,
                        arrow::AllocateBuffer(count * static_cast<int64_t>(sizeof(Narrow))));
  const auto* wide = reinterpret_cast<const int32_t*>(values);
  auto* narrow = reinterpret_cast<Narrow*>(out->mutable_data());
  for (int64_t i = 0; i < count; ++i) {
    narrow[i] = static_cast<Narrow>(wide[i]);
  }
  return out;
}

Result<std::shared_ptr<arrow::Buffer>> PackBools(const uint8_t* values, int64_t count) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> out, arrow::AllocateBitmap(count));
  std::memset(out->mutable_data(), 0, static_cast<size_t>(out->size()));
  for (int64_t i = 0; i < count; ++i) {
    if (values[i] != 0) {
      arrow::bit_util::SetBit(out->mutable_data(), i);
    }
  }
  return out;
}

Result<std::shared_ptr<arrow::Array>> OneArray(
    const std::vector<std::shared_ptr<arrow::Array>>& chunks,
    const std::shared_ptr<arrow::DataType>& type) {
  if (chunks.empty()) {
    return arrow::MakeEmptyArray(type);
  }
  return chunks.size() == 1 ? chunks.front() : arrow::Concatenate(chunks);
}

std::shared_ptr<arrow::Field> FieldAtRest(const FileColumn& column) {
  return arrow::field(column.name, column.at_rest, column.nullable,
                      arrow::key_value_metadata({"PARQUET:field_id"}, {std::to_string(column.id)}));
}

// `like`: the file's own, which says whether decimals of few digits are integers in it.
Result<std::shared_ptr<parquet::SchemaDescriptor>> ParquetSchemaOf(
    const arrow::FieldVector& fields, const parquet::SchemaDescriptor& like) {
  parquet::WriterProperties::Builder properties;
  for (int leaf = 0; leaf < like.num_columns(); ++leaf) {
    const parquet::ColumnDescriptor& column = *like.Column(leaf);
    if (column.logical_type() != nullptr && column.logical_type()->is_decimal() &&
        column.physical_type() != parquet::Type::FIXED_LEN_BYTE_ARRAY) {
      properties.enable_store_decimal_as_integer();
      break;
    }
  }
  std::shared_ptr<parquet::SchemaDescriptor> out;
  const std::shared_ptr<arrow::Schema> schema = arrow::schema(fields);
  ARROW_RETURN_NOT_OK(parquet::arrow::ToParquetSchema(
      schema.get(), *properties.build(), *parquet::default_arrow_writer_properties(), &out));
  return out;
}

}  // namespace

// ---- Opening ----

Result<std::unique_ptr<const PagedFile>> PagedFile::Open(ObjectStore* store, const DataFile& file,
                                                         ReadCounters* counters) {
  std::unique_ptr<PagedFile> out(new PagedFile());
  out->path_ = file.Path();
  ARROW_RETURN_NOT_OK(AtParquetBorder(ErrorCode::kCorruption, "data file is damaged", out->path_,
                                      [&] { return out->Load(store, file, counters); }));
  return out;
}

Status PagedFile::Damaged(std::string_view what) const {
  return MakeError(ErrorCode::kCorruption,
                   fmt::format("data file is damaged: file={} cause={}", path_, what));
}

Result<std::shared_ptr<arrow::Buffer>> PagedFile::ReadAt(int64_t offset, int64_t length,
                                                         ReadCounters* counters) const {
  Result<std::shared_ptr<arrow::Buffer>> read = source_->ReadAt(offset, length);
  if (!read.ok()) {
    return WithCode(read.status());
  }
  std::shared_ptr<arrow::Buffer> bytes = *std::move(read);
  counters->requests += 1;
  counters->bytes_read += static_cast<uint64_t>(bytes->size());
  if (bytes->size() != length) {
    return Damaged(fmt::format("the file ends early: offset={} expected_bytes={} actual_bytes={}",
                               offset, length, bytes->size()));
  }
  return bytes;
}

void PagedFile::ReleaseRowGroup(int row_group) const {
  if (releasable_ == nullptr || leaves_ == 0) return;
  int64_t begin = INT64_MAX;
  int64_t end = 0;
  for (int leaf = 0; leaf < leaves_; ++leaf) {
    const ChunkLayout& chunk = chunk_layouts_[ChunkNumber(row_group, leaf)];
    begin =
        std::min(begin, chunk.dictionary_offset >= 0 ? chunk.dictionary_offset : chunk.data_offset);
    end = std::max(end, chunk.end);
  }
  if (begin < end) releasable_->Release(begin, end - begin);
}

Status PagedFile::VerifyMagic(ReadCounters* counters) const {
  ARROW_ASSIGN_OR_RAISE(
      const std::shared_ptr<arrow::Buffer> magic,
      ReadAt(0, static_cast<int64_t>(std::string_view(kParquetMagic).size()), counters));
  if (std::string_view(*magic) == kParquetMagic) return Status::OK();
  return Damaged("not a Parquet file: offset=0");
}

Status PagedFile::Load(ObjectStore* store, const DataFile& file, ReadCounters* counters) {
  Result<std::shared_ptr<arrow::io::RandomAccessFile>> source = store->OpenReader(path_);
  if (!source.ok()) {
    return WithCode(source.status());
  }
  source_ = *std::move(source);
  releasable_ = dynamic_cast<ReleasableReader*>(source_.get());
  const Result<int64_t> source_size = source_->GetSize();
  if (!source_size.ok()) {
    return WithCode(source_size.status());
  }
  const int64_t size = *source_size;
  counters->files_opened += 1;
  if (static_cast<uint64_t>(size) != file.bytes) {
    return Damaged(fmt::format("wrong size: expected={} actual={}", file.bytes, size));
  }
  if (file.footer_length <= static_cast<uint64_t>(kParquetTailBytes) || size < TailBlock::kBytes ||
      file.footer_length > static_cast<uint64_t>(size - TailBlock::kBytes)) {
    return Damaged(
        fmt::format("no room for a footer: size={} footer_length={}", size, file.footer_length));
  }
  const auto footer_length = static_cast<int64_t>(file.footer_length);
  const int64_t footer_offset = size - footer_length;
  const int64_t tail_offset = footer_offset - TailBlock::kBytes;
  ARROW_ASSIGN_OR_RAISE(const std::shared_ptr<arrow::Buffer> end,
                        ReadAt(tail_offset, size - tail_offset, counters));
  const std::string_view bytes(*end);
  const std::string_view footer = bytes.substr(TailBlock::kBytes);
  if (!footer.ends_with(kParquetMagic)) {
    return Damaged(fmt::format("not a Parquet file: offset={}",
                               size - static_cast<int64_t>(kParquetMagic.size())));
  }
  if (base::LoadFixed32(footer.data() + footer.size() - kParquetTailBytes) !=
      footer_length - kParquetTailBytes) {
    return Damaged(
        fmt::format("the footer has another length than the manifest says: expected={} actual={}",
                    footer_length - kParquetTailBytes,
                    base::LoadFixed32(footer.data() + footer.size() - kParquetTailBytes)));
  }
  Result<TailBlock> decoded = TailBlock::Decode(bytes.substr(0, TailBlock::kBytes));
  if (!decoded.ok()) {
    return MakeError(
        CodeOf(decoded.status()),
        fmt::format("not a data file of LaminaDB, or damaged: file={} offset={} cause={}", path_,
                    tail_offset, MessageOf(decoded.status())),
        "a Parquet file written by other programs has no key index, page checksums and tail block");
  }
  const TailBlock& tail = *decoded;
  if (const uint32_t actual = base::Crc32c(footer); actual != tail.footer_crc) {
    return Damaged(fmt::format("footer checksum mismatch: offset={} expected={:08x} actual={:08x}",
                               footer_offset, tail.footer_crc, actual));
  }
  if (tail.key_index_offset < kParquetMagic.size() ||
      tail.key_index_offset > tail.checksums_offset ||
      tail.checksums_offset > static_cast<uint64_t>(tail_offset)) {
    return Damaged(fmt::format("tail block points outside: offset={}", tail_offset));
  }
  metadata_ =
      parquet::FileMetaData::Make(footer.data(), footer_length - kParquetTailBytes, properties_);

  region_offset_ = static_cast<int64_t>(tail.key_index_offset);
  ARROW_ASSIGN_OR_RAISE(region_, ReadAt(region_offset_, tail_offset - region_offset_, counters));
  if (const uint32_t actual = base::Crc32c(std::string_view(*region_)); actual != tail.region_crc) {
    return Damaged(fmt::format("index checksum mismatch: offset={} expected={:08x} actual={:08x}",
                               region_offset_, tail.region_crc, actual));
  }
  ARROW_RETURN_NOT_OK(LoadMetadata(file));
  ARROW_RETURN_NOT_OK(LoadColumns(file));
  checksums_ = reinterpret_cast<const char*>(region_->data()) +
               (tail.checksums_offset - tail.key_index_offset);
  ARROW_RETURN_NOT_OK(LoadRowGroups(file));
  const size_t checksums = (static_cast<uint64_t>(tail_offset) - tail.checksums_offset) / 4;
  if (checksums * 4 != static_cast<uint64_t>(tail_offset) - tail.checksums_offset ||
      checksums != checksum_bases_.back()) {
    return Damaged(fmt::format("wrong number of page checksums: offset={} expected={} actual={}",
                               tail.checksums_offset, checksum_bases_.back(), checksums));
  }
  // Parsed thrift takes several times its bytes; parsed page indexes come on top of the raw ones.
  // A copy: what was read may be a view of the file.
  tail_offset_ = tail_offset;
  tail_ = arrow::Buffer::FromString(std::string(bytes));
  memory_bytes_ = sizeof(*this) + 2 * static_cast<size_t>(region_->size()) + 5 * footer.size() +
                  checksum_bases_.size() * sizeof(LazyChunk);
  return Status::OK();
}

Result<std::string> PagedFile::Metadata(const char* key) const {
  if (metadata_->key_value_metadata() != nullptr) {
    Result<std::string> value = metadata_->key_value_metadata()->Get(key);
    if (value.ok()) {
      return value;
    }
  }
  return Damaged(fmt::format("metadata is missing: key={}", key));
}

Result<uint64_t> PagedFile::MetadataNumber(const char* key) const {
  ARROW_ASSIGN_OR_RAISE(const std::string text, Metadata(key));
  if (const std::optional<uint64_t> value = ParseNumber(text)) {
    return *value;
  }
  return Damaged(fmt::format("metadata is not a number: key={} value={}", key, text));
}

// The file must be the one the manifest means, not another's bytes under its name.
Status PagedFile::LoadMetadata(const DataFile& file) {
  ARROW_ASSIGN_OR_RAISE(const std::string format, Metadata(kFormatKey));
  if (format != kFormatVersion) {
    return MakeError(
        ErrorCode::kUnsupported,
        fmt::format("data file of an unknown format: file={} format={}", path_, format));
  }
  const auto expect = [this](const char* key, const std::string& expected) -> Status {
    ARROW_ASSIGN_OR_RAISE(const std::string actual, Metadata(key));
    return actual == expected
               ? Status::OK()
               : Damaged(fmt::format(
                     "it is another file than the manifest says: key={} expected={} actual={}", key,
                     expected, actual));
  };
  ARROW_RETURN_NOT_OK(expect(kFileIdKey, file.id.ToString()));
  ARROW_RETURN_NOT_OK(expect(kTableIdKey, std::to_string(file.table.value)));
  ARROW_RETURN_NOT_OK(expect(kKindKey, file.kind == FileKind::kCurrent ? "current" : "history"));
  ARROW_RETURN_NOT_OK(expect(kSchemaVersionKey, std::to_string(file.schema_version)));
  ARROW_ASSIGN_OR_RAISE(const uint64_t rows_per_page, MetadataNumber(kRowsPerPageKey));
  if (rows_per_page == 0 || rows_per_page > UINT32_MAX) {
    return Damaged(fmt::format("rows per page: value={}", rows_per_page));
  }
  rows_per_page_ = static_cast<uint32_t>(rows_per_page);
  rows_ = file.rows;
  if (metadata_->num_rows() < 0 || static_cast<uint64_t>(metadata_->num_rows()) != rows_) {
    return Damaged(
        fmt::format("wrong number of rows: expected={} actual={}", rows_, metadata_->num_rows()));
  }
  ARROW_ASSIGN_OR_RAISE(const uint64_t offset, MetadataNumber(kKeyIndexOffsetKey));
  ARROW_ASSIGN_OR_RAISE(const uint64_t length, MetadataNumber(kKeyIndexLengthKey));
  if (static_cast<int64_t>(offset) != region_offset_ ||
      length > static_cast<uint64_t>(region_->size())) {
    return Damaged(fmt::format("key index lies elsewhere: offset={} length={}", offset, length));
  }
  Result<KeyIndex> key_index =
      KeyIndex::Decode(arrow::SliceBuffer(region_, 0, static_cast<int64_t>(length)));
  if (!key_index.ok()) {
    return Damaged(fmt::format("{} offset={}", MessageOf(key_index.status()), offset));
  }
  key_index_ = *std::move(key_index);
  if (key_index_.rows_per_page() != rows_per_page_ ||
      key_index_.page_count() != (rows_ + rows_per_page_ - 1) / rows_per_page_) {
    return Damaged(fmt::format("key index of other pages: rows_per_page={} page_count={}",
                               key_index_.rows_per_page(), key_index_.page_count()));
  }
  return Status::OK();
}

Status PagedFile::LoadColumns(const DataFile& file) {
  ARROW_ASSIGN_OR_RAISE(const std::string encoded, Metadata(kArrowSchemaKey));
  ARROW_ASSIGN_OR_RAISE(const std::shared_ptr<arrow::Schema> schema, DecodeArrowSchema(encoded));
  ARROW_ASSIGN_OR_RAISE(const std::string nan_free_text, Metadata(kNanFreeKey));
  const std::optional<std::vector<uint64_t>> nan_free = ParseNumbers(nan_free_text);
  const parquet::SchemaDescriptor* leaves = metadata_->schema();
  const parquet::schema::GroupNode* group = leaves->group_node();
  if (!nan_free || group->field_count() != schema->num_fields()) {
    return Damaged(fmt::format("columns of Arrow and Parquet differ: arrow={} parquet={}",
                               schema->num_fields(), group->field_count()));
  }
  leaves_ = leaves->num_columns();
  arrow::FieldVector at_rest;
  for (int i = 0; i < schema->num_fields(); ++i) {
    const std::shared_ptr<arrow::Field>& field = schema->field(i);
    FileColumn column;
    column.name = field->name();
    column.id = group->field(i)->field_id();
    column.nullable = field->nullable();
    column.type = field->type();
    column.at_rest = TypeAtRest(field->type());
    column.nan_free =
        !IsFloat(*column.type) || std::find(nan_free->begin(), nan_free->end(),
                                            static_cast<uint64_t>(column.id)) != nan_free->end();
    at_rest.push_back(FieldAtRest(column));
    columns_.push_back(std::move(column));
  }
  // What follows reads the file by its Arrow types: make sure that Parquet's say the same.
  ARROW_ASSIGN_OR_RAISE(const std::shared_ptr<parquet::SchemaDescriptor> expected,
                        ParquetSchemaOf(at_rest, *leaves));
  bool same = expected->num_columns() == leaves_;
  for (int leaf = 0; same && leaf < leaves_; ++leaf) {
    // Not Equals: annotations that say the same differ once they went through a file.
    const parquet::ColumnDescriptor& ours = *expected->Column(leaf);
    const parquet::ColumnDescriptor& theirs = *leaves->Column(leaf);
    same = ours.physical_type() == theirs.physical_type() &&
           (ours.physical_type() != parquet::Type::FIXED_LEN_BYTE_ARRAY ||
            ours.type_length() == theirs.type_length()) &&
           ours.max_definition_level() == theirs.max_definition_level() &&
           ours.max_repetition_level() == theirs.max_repetition_level() &&
           ours.path()->ToDotVector() == theirs.path()->ToDotVector();
  }
  if (!same) {
    return Damaged("types of Arrow and Parquet differ");
  }
  for (int leaf = 0, field = -1; leaf < leaves_; ++leaf) {
    if (leaf == 0 || leaves->GetColumnRoot(leaf) != leaves->GetColumnRoot(leaf - 1)) {
      columns_[static_cast<size_t>(++field)].first_leaf = leaf;
    }
    columns_[static_cast<size_t>(field)].leaf_count += 1;
  }
  for (FileColumn& column : columns_) {
    column.first_leaf_is_flat =
        column.leaf_count == 1 &&
        leaves->Column(column.first_leaf)->path()->ToDotVector().size() == 1;
    column.direct = column.first_leaf_is_flat && IsDirect(*column.at_rest);
    if (!column.direct) {
      const arrow::FieldVector alone = {FieldAtRest(column)};
      ARROW_ASSIGN_OR_RAISE(column.schema_alone, ParquetSchemaOf(alone, *leaves));
      ARROW_ASSIGN_OR_RAISE(std::string value, EncodeArrowSchema(*arrow::schema(alone)));
      column.metadata_alone = arrow::key_value_metadata({kArrowSchemaKey}, {std::move(value)});
    }
  }

  ARROW_ASSIGN_OR_RAISE(const std::string key_text, Metadata(kKeyColumnsKey));
  const std::optional<std::vector<uint64_t>> keys = ParseNumbers(key_text);
  if (!keys || keys->empty()) {
    return Damaged(fmt::format("no key columns: value={}", key_text));
  }
  for (const uint64_t id : *keys) {
    const int field = FindColumn(static_cast<catalog::ColumnId>(id));
    if (field < 0 || !catalog::IsKeyType(*columns_[static_cast<size_t>(field)].type)) {
      return Damaged(fmt::format("a key column is not in the file or has no order: id={}", id));
    }
    key_columns_.push_back(field);
  }
  const auto time_column = [this](const char* name, const std::shared_ptr<arrow::DataType>& type) {
    const int field = FindColumn(std::string_view(name));
    return field < 0 || (columns_[static_cast<size_t>(field)].type->Equals(*type) &&
                         !columns_[static_cast<size_t>(field)].nullable);
  };
  const std::shared_ptr<arrow::DataType> time = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  const auto has = [this](const char* name) { return FindColumn(std::string_view(name)) >= 0; };
  if (has(catalog::kSystemFromColumn) != file.has_system_columns ||
      has(catalog::kCommitColumn) != file.has_system_columns ||
      !time_column(catalog::kSystemFromColumn, time) ||
      !time_column(catalog::kSystemToColumn, time) ||
      !time_column(catalog::kValidFromColumn, time) ||
      !time_column(catalog::kValidToColumn, time) ||
      !time_column(catalog::kCommitColumn, arrow::int64())) {
    return Damaged("time columns are missing or have other types");
  }
  return Status::OK();
}

Status PagedFile::LoadRowGroups(const DataFile& file) {
  uint64_t row = 0;
  uint32_t page = 0;
  checksum_bases_.push_back(0);
  for (int g = 0; g < metadata_->num_row_groups(); ++g) {
    const auto group = metadata_->RowGroup(g);
    RowGroupLayout layout;
    layout.first_page = page;
    layout.first_row = row;
    layout.rows = static_cast<uint64_t>(group->num_rows());
    if (group->num_rows() <= 0 || layout.rows > rows_ - row || group->num_columns() != leaves_ ||
        (row + layout.rows != rows_ && layout.rows % rows_per_page_ != 0)) {
      return Damaged(
          fmt::format("row group has no whole pages: row_group={} rows={} rows_per_page={}", g,
                      group->num_rows(), rows_per_page_));
    }
    layout.page_count = static_cast<uint32_t>((layout.rows + rows_per_page_ - 1) / rows_per_page_);
    int64_t bytes = 0;
    for (int leaf = 0; leaf < leaves_; ++leaf) {
      const auto chunk = group->ColumnChunk(leaf);
      // Parquet takes a chunk's statistics by the column's type and throws where the two differ.
      if (chunk->type() != metadata_->schema()->Column(leaf)->physical_type()) {
        return Damaged(
            fmt::format("column chunk has another type: row_group={} column={}", g, leaf));
      }
      const auto location = chunk->GetOffsetIndexLocation();
      if (!location || location->offset < region_offset_ || location->length <= 0 ||
          location->length > region_->size() ||
          location->offset - region_offset_ > region_->size() - location->length) {
        return Damaged(fmt::format("no page index: row_group={} column={}", g, leaf));
      }
      const bool dictionary = chunk->has_dictionary_page();
      const int64_t begin =
          dictionary ? chunk->dictionary_page_offset() : chunk->data_page_offset();
      if (begin < 4 || begin > chunk->data_page_offset() || chunk->total_compressed_size() < 0 ||
          begin > region_offset_ || chunk->total_compressed_size() > region_offset_ - begin ||
          !chunk->can_decompress()) {
        return Damaged(fmt::format(
            "column chunk lies outside, or has an unknown codec: row_group={} column={}", g, leaf));
      }
      bytes += std::max<int64_t>(chunk->total_uncompressed_size(), 0);
      chunk_layouts_.push_back({.codec = chunk->compression(),
                                .dictionary_offset = dictionary ? begin : -1,
                                .data_offset = chunk->data_page_offset(),
                                .end = begin + chunk->total_compressed_size(),
                                .values = chunk->num_values()});
      checksum_bases_.push_back(checksum_bases_.back() + 1 + layout.page_count);
    }
    layout.row_bytes = std::max<int64_t>(bytes / static_cast<int64_t>(layout.rows), 1);
    row += layout.rows;
    page += layout.page_count;
    row_groups_.push_back(layout);
  }
  if (row != rows_ || page != key_index_.page_count()) {
    return Damaged(
        fmt::format("row groups do not add up: expected_rows={} actual_rows={}", file.rows, row));
  }
  chunks_ = std::make_unique<LazyChunk[]>(checksum_bases_.size());
  return Status::OK();
}

int PagedFile::FindColumn(catalog::ColumnId id) const {
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].id == id) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

int PagedFile::FindColumn(std::string_view name) const {
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].name == name) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

int PagedFile::RowGroupOf(uint32_t page) const {
  const auto after = std::upper_bound(
      row_groups_.begin(), row_groups_.end(), page,
      [](uint32_t p, const RowGroupLayout& group) { return p < group.first_page; });
  return static_cast<int>(after - row_groups_.begin()) - 1;
}

// ---- Page index ----

namespace {
// Thrown out of std::call_once, which then runs again: memory may be there the next time.
void ThrowIfExhausted(const Status& status) {
  if (!status.ok() && CodeOf(status) == ErrorCode::kResourceExhausted) throw std::bad_alloc();
}
}  // namespace

Result<const std::vector<parquet::PageLocation>*> PagedFile::Locations(int row_group,
                                                                       int leaf) const {
  LazyChunk& lazy = chunks_[ChunkNumber(row_group, leaf)];
  std::call_once(lazy.locations_once, [&] {
    lazy.locations_status =
        AtParquetBorder(ErrorCode::kCorruption, "data file is damaged", path_, [&]() -> Status {
          const auto group = metadata_->RowGroup(row_group);
          const auto column = group->ColumnChunk(leaf);
          const auto at = column->GetOffsetIndexLocation();  // Checked when the file was opened.
          const auto index = parquet::OffsetIndex::Make(
              region_->data() + (at->offset - region_offset_), at->length, properties_);
          std::vector<parquet::PageLocation> locations = index->page_locations();
          const ChunkLayout& layout = chunk_layouts_[ChunkNumber(row_group, leaf)];
          int64_t offset = layout.data_offset;
          bool ok = locations.size() == row_groups_[static_cast<size_t>(row_group)].page_count;
          for (size_t i = 0; ok && i < locations.size(); ++i) {
            ok = locations[i].offset == offset && locations[i].compressed_page_size > 0 &&
                 locations[i].first_row_index == static_cast<int64_t>(i) * rows_per_page_;
            offset += locations[i].compressed_page_size;
          }
          if (!ok || offset != layout.end) {
            return Damaged(fmt::format(
                "pages are not where the page index says: row_group={} column={} offset={}",
                row_group, leaf, offset));
          }
          lazy.locations = std::move(locations);
          return Status::OK();
        });
    ThrowIfExhausted(lazy.locations_status);
  });
  ARROW_RETURN_NOT_OK(lazy.locations_status);
  return &lazy.locations;
}

Status PagedFile::LoadPageList() const {
  std::call_once(page_list_once_, [&] {
    page_list_status_ = [&]() -> Status {
      for (int group = 0; group < static_cast<int>(row_groups_.size()); ++group) {
        for (int leaf = 0; leaf < leaves_; ++leaf) {
          const size_t chunk = ChunkNumber(group, leaf);
          const ChunkLayout& layout = chunk_layouts_[chunk];
          size_t index = checksum_bases_[chunk];  // of the dictionary, also where there is none
          const auto add = [&](int64_t offset, int64_t end) {
            page_list_.push_back({offset, end, base::LoadFixed32(checksums_ + index++ * 4)});
          };
          if (layout.dictionary_offset >= 0) {
            add(layout.dictionary_offset, layout.data_offset);
          } else {
            ++index;
          }
          ARROW_ASSIGN_OR_RAISE(const std::vector<parquet::PageLocation>* locations,
                                Locations(group, leaf));
          for (const parquet::PageLocation& page : *locations)
            add(page.offset, page.offset + page.compressed_page_size);
        }
      }
      std::sort(page_list_.begin(), page_list_.end(),
                [](const PageBytes& a, const PageBytes& b) { return a.offset < b.offset; });
      return Status::OK();
    }();
    ThrowIfExhausted(page_list_status_);
  });
  return page_list_status_;
}

Status PagedFile::ReadBytes(int64_t offset, int64_t length, char* out,
                            ReadCounters* counters) const {
  ReadCounters unwanted;
  counters = counters == nullptr ? &unwanted : counters;
  const int64_t size = tail_offset_ + tail_->size();
  if (offset < 0 || length < 0 || offset > size || length > size - offset) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("bytes outside of the file: file={} offset={} length={} size={}",
                                 path_, offset, length, size));
  }
  const int64_t end = offset + length;
  const auto copy = [&](const arrow::Buffer& from, int64_t begins) {
    const int64_t first = std::max(offset, begins);
    const int64_t last = std::min(end, begins + from.size());
    if (first < last)
      std::memcpy(out + (first - offset), from.data() + (first - begins),
                  static_cast<size_t>(last - first));
  };
  copy(*tail_, tail_offset_);
  copy(*region_, region_offset_);
  const int64_t pages_end = std::min(end, region_offset_);
  if (offset >= pages_end) return Status::OK();
  ARROW_RETURN_NOT_OK(LoadPageList());
  auto page = std::partition_point(page_list_.begin(), page_list_.end(),
                                   [&](const PageBytes& p) { return p.end <= offset; });
  auto last = std::partition_point(page, page_list_.end(),
                                   [&](const PageBytes& p) { return p.offset < pages_end; });
  const int64_t begin = page == last ? offset : std::min(offset, page->offset);
  const int64_t stop = page == last ? pages_end : std::max(pages_end, (last - 1)->end);
  ARROW_ASSIGN_OR_RAISE(const std::shared_ptr<arrow::Buffer> bytes,
                        ReadAt(begin, stop - begin, counters));
  const std::string_view view(*bytes);
  for (; page != last; ++page) {
    ARROW_RETURN_NOT_OK(CheckPage(view.substr(static_cast<size_t>(page->offset - begin),
                                              static_cast<size_t>(page->end - page->offset)),
                                  page->offset, page->checksum));
    ++counters->pages_read;
  }
  copy(*arrow::SliceBuffer(bytes, 0, std::min(stop, region_offset_) - begin), begin);
  // The caller has its copy: pages of a mapping would count as this process's memory.
  if (releasable_ != nullptr && stop - begin >= kReleaseBytesMin) {
    const int64_t first = std::max<int64_t>(begin - kFaultBytes, 0);
    releasable_->Release(first, std::min(stop + kFaultBytes, region_offset_) - first);
  }
  return Status::OK();
}

const parquet::ColumnIndex* PagedFile::PageStatistics(int row_group, int leaf) const {
  LazyChunk& lazy = chunks_[ChunkNumber(row_group, leaf)];
  std::call_once(lazy.statistics_once, [&] {
    // Statistics only save work: without them (or with some that do not parse) every page may
    // match.
    const Status ignored = AtParquetBorder(
        ErrorCode::kCorruption, "page statistics are damaged", path_, [&]() -> Status {
          const auto group = metadata_->RowGroup(row_group);
          const auto at = group->ColumnChunk(leaf)->GetColumnIndexLocation();
          if (!at || at->offset < region_offset_ || at->length <= 0 ||
              at->length > region_->size() ||
              at->offset - region_offset_ > region_->size() - at->length) {
            return Status::OK();
          }
          auto index = parquet::ColumnIndex::Make(*metadata_->schema()->Column(leaf),
                                                  region_->data() + (at->offset - region_offset_),
                                                  at->length, properties_);
          const size_t pages = row_groups_[static_cast<size_t>(row_group)].page_count;
          if (index->null_pages().size() == pages && index->encoded_min_values().size() == pages &&
              index->encoded_max_values().size() == pages &&
              (!index->has_null_counts() || index->null_counts().size() == pages)) {
            lazy.statistics = std::move(index);
          }
          return Status::OK();
        });
    ThrowIfExhausted(ignored);
  });
  return lazy.statistics.get();
}

// ---- Pages ----

Status PagedFile::CheckPage(std::string_view bytes, int64_t offset, uint32_t expected) const {
  const uint32_t actual = base::Crc32c(bytes);
  return actual == expected
             ? Status::OK()
             : Damaged(fmt::format(
                   "page checksum mismatch: offset={} size={} expected={:08x} actual={:08x}",
                   offset, bytes.size(), expected, actual));
}

Result<std::vector<PagedFile::Slice>> PagedFile::Fetch(int row_group, uint32_t first, uint32_t last,
                                                       std::span<const int> columns,
                                                       ReadCounters* counters) const {
  struct Range {
    int64_t offset = 0;
    int64_t length = 0;
    std::shared_ptr<arrow::Buffer>* out = nullptr;
  };
  const RowGroupLayout& group = row_groups_[static_cast<size_t>(row_group)];
  const size_t begin = first - group.first_page;
  const size_t end = last - group.first_page;
  std::vector<int> leaves;
  for (const int column : columns) {
    const FileColumn& file_column = columns_[static_cast<size_t>(column)];
    for (int leaf = file_column.first_leaf; leaf < file_column.first_leaf + file_column.leaf_count;
         ++leaf) {
      leaves.push_back(leaf);
    }
  }
  std::vector<Slice> slices(leaves.size());
  std::vector<int64_t> dictionary_bytes(leaves.size(),
                                        0);  // In front of the pages in the same range.
  std::vector<Range> ranges;
  for (size_t i = 0; i < leaves.size(); ++i) {
    ARROW_ASSIGN_OR_RAISE(const std::vector<parquet::PageLocation>* locations,
                          Locations(row_group, leaves[i]));
    const ChunkLayout& layout = chunk_layouts_[ChunkNumber(row_group, leaves[i])];
    Range range{.offset = (*locations)[begin].offset, .length = 0, .out = &slices[i].pages};
    range.length =
        (*locations)[end - 1].offset + (*locations)[end - 1].compressed_page_size - range.offset;
    if (layout.dictionary_offset >= 0) {
      const int64_t length = layout.data_offset - layout.dictionary_offset;
      if (begin == 0) {
        range.offset -= length;
        range.length += length;
        dictionary_bytes[i] = length;
      } else {
        ranges.push_back(
            {.offset = layout.dictionary_offset, .length = length, .out = &slices[i].dictionary});
      }
    }
    ranges.push_back(range);
  }

  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.offset < b.offset; });
  for (size_t i = 0; i < ranges.size();) {
    size_t next = i + 1;
    int64_t stop = ranges[i].offset + ranges[i].length;
    while (next < ranges.size() && ranges[next].offset - stop <= kCoalesceGap &&
           ranges[next].offset + ranges[next].length - ranges[i].offset <= kCoalescedBytesMax) {
      stop = std::max(stop, ranges[next].offset + ranges[next].length);
      ++next;
    }
    ARROW_ASSIGN_OR_RAISE(const std::shared_ptr<arrow::Buffer> bytes,
                          ReadAt(ranges[i].offset, stop - ranges[i].offset, counters));
    for (size_t k = i; k < next; ++k) {
      *ranges[k].out =
          arrow::SliceBuffer(bytes, ranges[k].offset - ranges[i].offset, ranges[k].length);
    }
    i = next;
  }

  for (size_t i = 0; i < leaves.size(); ++i) {
    const size_t base = checksum_bases_[ChunkNumber(row_group, leaves[i])];
    const auto expected = [&](size_t index) {
      return base::LoadFixed32(checksums_ + (base + index) * 4);
    };
    ARROW_ASSIGN_OR_RAISE(const std::vector<parquet::PageLocation>* locations,
                          Locations(row_group, leaves[i]));
    std::string_view bytes(*slices[i].pages);
    const std::string_view dictionary =
        slices[i].dictionary != nullptr ? std::string_view(*slices[i].dictionary)
                                        : bytes.substr(0, static_cast<size_t>(dictionary_bytes[i]));
    if (!dictionary.empty()) {
      ARROW_RETURN_NOT_OK(
          CheckPage(dictionary, (*locations)[0].offset - static_cast<int64_t>(dictionary.size()),
                    expected(0)));
    }
    bytes.remove_prefix(static_cast<size_t>(dictionary_bytes[i]));
    for (size_t page = begin; page < end; ++page) {
      const auto size = static_cast<size_t>((*locations)[page].compressed_page_size);
      ARROW_RETURN_NOT_OK(
          CheckPage(bytes.substr(0, size), (*locations)[page].offset, expected(1 + page)));
      bytes.remove_prefix(size);
    }
  }
  return slices;
}

Result<std::vector<std::shared_ptr<arrow::Array>>> PagedFile::ReadPages(
    uint32_t first, uint32_t last, std::span<const int> columns, ReadCounters* counters) const {
  const int row_group = RowGroupOf(first);
  LAMINA_CHECK(first < last && last <= row_groups_[static_cast<size_t>(row_group)].last_page());
  const auto rows = static_cast<int64_t>(RowsIn(first, last));
  return AtParquetBorder(
      ErrorCode::kCorruption, "data file is damaged", path_,
      [&]() -> Result<std::vector<std::shared_ptr<arrow::Array>>> {
        ARROW_ASSIGN_OR_RAISE(const std::vector<Slice> slices,
                              Fetch(row_group, first, last, columns, counters));
        std::vector<std::shared_ptr<arrow::Array>> out;
        out.reserve(columns.size());
        size_t leaf = 0;
        for (const int index : columns) {
          const FileColumn& column = columns_[static_cast<size_t>(index)];
          const std::span<const Slice> own(slices.data() + leaf,
                                           static_cast<size_t>(column.leaf_count));
          leaf += own.size();
          ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Array> array,
                                column.direct ? DecodeDirect(column, row_group, own.front(), rows)
                                              : DecodeAlone(column, row_group, own, rows));
          if (array->length() != rows || (!column.nullable && array->null_count() != 0)) {
            return Damaged(fmt::format(
                "pages hold other rows than the page index says: column={} first_page={} "
                "expected_rows={} actual_rows={}",
                column.name, first, rows, array->length()));
          }
          ARROW_ASSIGN_OR_RAISE(array, Convert(array, column.type));
          out.push_back(std::move(array));
        }
        counters->pages_read += uint64_t{last - first} * columns.size();
        counters->rows_decoded += static_cast<uint64_t>(rows);
        return out;
      });
}

// Feeds the pages to Parquet's record reader, which is what Parquet's own Arrow reader does for a
// flat column.
Result<std::shared_ptr<arrow::Array>> PagedFile::DecodeDirect(const FileColumn& column,
                                                              int row_group, const Slice& slice,
                                                              int64_t rows) const {
  const parquet::ColumnDescriptor* leaf = metadata_->schema()->Column(column.first_leaf);
  std::shared_ptr<arrow::Buffer> bytes = slice.pages;
  if (slice.dictionary != nullptr) {
    ARROW_ASSIGN_OR_RAISE(bytes, arrow::ConcatenateBuffers({slice.dictionary, slice.pages}));
  }
  const parquet::Compression::type codec =
      chunk_layouts_[ChunkNumber(row_group, column.first_leaf)].codec;
  std::unique_ptr<parquet::PageReader> pages = parquet::PageReader::Open(
      std::make_shared<arrow::io::BufferReader>(std::move(bytes)), rows, codec, properties_, *leaf);
  const std::shared_ptr<parquet::internal::RecordReader> reader =
      parquet::internal::RecordReader::Make(leaf,
                                            parquet::internal::LevelInfo::ComputeLevelInfo(leaf),
                                            arrow::default_memory_pool(), /*read_dictionary=*/false,
                                            /*read_dense_for_nullable=*/false, column.at_rest);
  reader->SetPageReader(std::move(pages));
  reader->Reserve(rows);
  for (int64_t left = rows; left > 0 && reader->HasMoreData();) {
    const int64_t read = reader->ReadRecords(left);
    if (read == 0) {
      break;
    }
    left -= read;
  }

  if (leaf->physical_type() == parquet::Type::BYTE_ARRAY ||
      leaf->physical_type() == parquet::Type::FIXED_LEN_BYTE_ARRAY) {
    auto* binary = dynamic_cast<parquet::internal::BinaryRecordReader*>(reader.get());
    LAMINA_CHECK(binary != nullptr);
    return OneArray(binary->GetBuilderChunks(), column.at_rest);
  }
  const int64_t count = reader->values_written();
  const int64_t nulls = reader->null_count();
  std::shared_ptr<arrow::Buffer> valid;
  if (column.nullable && nulls > 0) {
    valid = reader->ReleaseIsValid();
  }
  std::shared_ptr<arrow::Buffer> values;
  switch (column.at_rest->id()) {
    case Type::BOOL: {
      ARROW_ASSIGN_OR_RAISE(values, PackBools(reader->values(), count));
      break;
    }
    case Type::INT8:
    case Type::UINT8: {
      ARROW_ASSIGN_OR_RAISE(values, NarrowValues<uint8_t>(reader->values(), count));
      break;
    }
    case Type::INT16:
    case Type::UINT16: {
      ARROW_ASSIGN_OR_RAISE(values, NarrowValues<uint16_t>(reader->values(), count));
      break;
    }
    default:
      values = reader->ReleaseValues();
  }
  return arrow::MakeArray(
      arrow::ArrayData::Make(column.at_rest, count, {std::move(valid), std::move(values)}, nulls));
}

// Shows Parquet's Arrow reader a file that has this column only, and of it only the wanted pages:
// one row group whose chunks are the slices one after the other. Every type Parquet can hold is
// read this way, nested ones included.
Result<std::shared_ptr<arrow::Array>> PagedFile::DecodeAlone(const FileColumn& column,
                                                             int row_group,
                                                             std::span<const Slice> slices,
                                                             int64_t rows) const {
  const ChunkLayout* layouts = &chunk_layouts_[ChunkNumber(row_group, column.first_leaf)];
  // Offset 0 means "none" to Parquet, hence the magic in front as in a real file.
  arrow::BufferVector parts = {arrow::Buffer::FromString(std::string(kParquetMagic))};
  auto offset = static_cast<int64_t>(kParquetMagic.size());
  parquet::WriterProperties::Builder properties;
  for (int i = 0; i < column.leaf_count; ++i) {
    properties.compression(column.schema_alone->Column(i)->path(), layouts[i].codec);
  }
  const std::unique_ptr<parquet::FileMetaDataBuilder> builder =
      parquet::FileMetaDataBuilder::Make(column.schema_alone.get(), properties.build());
  parquet::RowGroupMetaDataBuilder* row_group_builder = builder->AppendRowGroup();
  row_group_builder->set_num_rows(rows);
  for (int i = 0; i < column.leaf_count; ++i) {
    const Slice& slice = slices[static_cast<size_t>(i)];
    const bool has_dictionary = layouts[i].dictionary_offset >= 0;
    const int64_t dictionary_offset = has_dictionary ? offset : 0;
    int64_t size = slice.pages->size();
    int64_t data_offset = offset;
    if (slice.dictionary != nullptr) {
      parts.push_back(slice.dictionary);
      size += slice.dictionary->size();
      data_offset += slice.dictionary->size();
    } else if (has_dictionary) {
      data_offset += layouts[i].data_offset - layouts[i].dictionary_offset;
    }
    parts.push_back(slice.pages);
    // The number of values only tells the reader when to stop; repeated columns have an unknown
    // number in these pages, and the bytes end by themselves.
    row_group_builder->NextColumnChunk()->Finish(
        layouts[i].values, dictionary_offset, /*index_page_offset=*/-1, data_offset, size, size,
        has_dictionary, /*dictionary_fallback=*/false, {}, {});
    offset += size;
  }
  row_group_builder->Finish(offset);
  std::shared_ptr<parquet::FileMetaData> metadata = builder->Finish(column.metadata_alone);
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bytes, arrow::ConcatenateBuffers(parts));

  parquet::ArrowReaderProperties arrow_properties(/*use_threads=*/false);
  arrow_properties.set_pre_buffer(false);
  ARROW_ASSIGN_OR_RAISE(const std::unique_ptr<parquet::arrow::FileReader> reader,
                        parquet::arrow::FileReader::Make(
                            arrow::default_memory_pool(),
                            parquet::ParquetFileReader::Open(
                                std::make_shared<arrow::io::BufferReader>(std::move(bytes)),
                                properties_, std::move(metadata)),
                            arrow_properties));
  ARROW_ASSIGN_OR_RAISE(const std::shared_ptr<arrow::Table> table, reader->ReadTable());
  return OneArray(table->column(0)->chunks(), table->column(0)->type());
}

}  // namespace lamina::storage::sst
