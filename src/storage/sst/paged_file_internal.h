// An open data file seen as pages: its layout, and bytes to arrays. Knows nothing of caches, schema
// evolution or predicates.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <arrow/array.h>
#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>
#include <parquet/metadata.h>
#include <parquet/page_index.h>
#include <parquet/properties.h>
#include <parquet/schema.h>

#include "catalog/key_codec.h"
#include "catalog/schema.h"
#include "lamina/object_store.h"
#include "storage/data_file.h"
#include "storage/object_store/releasable_reader.h"
#include "storage/sst/file_reader.h"
#include "storage/sst/key_index.h"
#include "storage/sst/statistics_internal.h"

namespace lamina::storage::sst {

/// A top-level column of the file.
struct FileColumn {
  std::string name;
  catalog::ColumnId id = 0;
  bool nullable = true;
  std::shared_ptr<arrow::DataType> type;     ///< The table's when the file was written.
  std::shared_ptr<arrow::DataType> at_rest;  ///< What Parquet holds: TypeAtRest(type).
  int first_leaf = 0;
  int leaf_count = 0;
  bool nan_free = true;
  bool direct = false;  ///< One flat leaf that DecodeDirect can read.
  /// Otherwise: a Parquet schema of this column alone, and the metadata that goes with it.
  std::shared_ptr<parquet::SchemaDescriptor> schema_alone;
  std::shared_ptr<const arrow::KeyValueMetadata> metadata_alone;

  /// Only flat columns have statistics that bound their values.
  bool has_statistics() const { return leaf_count == 1 && first_leaf_is_flat; }
  bool first_leaf_is_flat = false;
  StatisticsColumn statistics() const {
    return {.id = id, .leaf = first_leaf, .type = type, .nan_free = nan_free};
  }
};

struct RowGroupLayout {
  uint32_t first_page = 0;
  uint32_t page_count = 0;
  uint64_t first_row = 0;
  uint64_t rows = 0;
  int64_t row_bytes = 1;  ///< Uncompressed, on average, at least 1.
  uint32_t last_page() const { return first_page + page_count; }
};

/// Where the pages of one leaf column of one row group lie.
struct ChunkLayout {
  parquet::Compression::type codec = parquet::Compression::UNCOMPRESSED;
  int64_t dictionary_offset = -1;  ///< -1: no dictionary page. It ends where the data pages begin.
  int64_t data_offset = 0;
  int64_t end = 0;
  int64_t values = 0;
};

/// Immutable, thread-safe. Everything about the file but its pages is in memory and was checked:
/// methods without a Result do no I/O and cannot fail.
class PagedFile {
 public:
  /// Two requests: the footer, then what lies between the last row group and it. kCorruption names
  /// file and offset.
  static Result<std::unique_ptr<const PagedFile>> Open(ObjectStore* store, const DataFile& file,
                                                       ReadCounters* counters);

  const std::string& path() const { return path_; }
  uint64_t rows() const { return rows_; }
  uint32_t rows_per_page() const { return rows_per_page_; }
  uint32_t page_count() const { return key_index_.page_count(); }
  const std::vector<FileColumn>& columns() const { return columns_; }
  const std::vector<RowGroupLayout>& row_groups() const { return row_groups_; }
  const KeyIndex& key_index() const { return key_index_; }
  const parquet::FileMetaData& metadata() const { return *metadata_; }
  /// Positions in columns(), in key order.
  const std::vector<int>& key_columns() const { return key_columns_; }
  size_t memory_bytes() const { return memory_bytes_; }

  /// -1 when the file has no such column.
  int FindColumn(catalog::ColumnId id) const;
  int FindColumn(std::string_view name) const;
  /// Index into row_groups() of the group that holds `page`.
  int RowGroupOf(uint32_t page) const;
  uint64_t FirstRow(uint32_t page) const { return uint64_t{page} * rows_per_page_; }
  /// Rows of pages [first, last).
  uint64_t RowsIn(uint32_t first, uint32_t last) const {
    return std::min(FirstRow(last), rows_) - FirstRow(first);
  }

  /// Rows of pages [first, last), which lie in one row group, one array per column of
  /// FileColumn::type.
  Result<std::vector<std::shared_ptr<arrow::Array>>> ReadPages(uint32_t first, uint32_t last,
                                                               std::span<const int> columns,
                                                               ReadCounters* counters) const;

  /// The file's bytes, for another reader of Parquet: pages that the range touches are read whole
  /// and compared with their checksums, what lies behind them comes from memory.
  Status ReadBytes(int64_t offset, int64_t length, char* out, ReadCounters* counters) const;

  /// The reader is done with a row group: its pages need not stay in memory. Advice.
  void ReleaseRowGroup(int row_group) const;

  /// The file's first bytes, which nothing here needs but every other reader of Parquet.
  Status VerifyMagic(ReadCounters* counters) const;

  /// Null when Parquet wrote none (a page whose values have no order).
  const parquet::ColumnIndex* PageStatistics(int row_group, int leaf) const;

 private:
  // Parsed when first asked for; `once` guards the rest.
  struct LazyChunk {
    std::once_flag locations_once;
    Status locations_status;
    std::vector<parquet::PageLocation> locations;
    std::once_flag statistics_once;
    std::unique_ptr<parquet::ColumnIndex> statistics;
  };
  struct Slice {
    /// Null when there is none, or when it lies right before the pages.
    std::shared_ptr<arrow::Buffer> dictionary;
    std::shared_ptr<arrow::Buffer> pages;
  };

  PagedFile() = default;
  Status Load(ObjectStore* store, const DataFile& file, ReadCounters* counters);
  Status LoadMetadata(const DataFile& file);
  Status LoadColumns(const DataFile& file);
  Status LoadRowGroups(const DataFile& file);
  Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t offset, int64_t length,
                                                ReadCounters* counters) const;
  Result<std::string> Metadata(const char* key) const;
  Result<uint64_t> MetadataNumber(const char* key) const;
  Status Damaged(std::string_view what) const;

  size_t ChunkNumber(int row_group, int leaf) const {
    return static_cast<size_t>(row_group) * static_cast<size_t>(leaves_) +
           static_cast<size_t>(leaf);
  }
  Result<const std::vector<parquet::PageLocation>*> Locations(int row_group, int leaf) const;
  Result<std::vector<Slice>> Fetch(int row_group, uint32_t first, uint32_t last,
                                   std::span<const int> columns, ReadCounters* counters) const;
  struct PageBytes {
    int64_t offset = 0;
    int64_t end = 0;
    uint32_t checksum = 0;
  };
  Status LoadPageList() const;
  Status CheckPage(std::string_view bytes, int64_t offset, uint32_t expected) const;
  Result<std::shared_ptr<arrow::Array>> DecodeDirect(const FileColumn& column, int row_group,
                                                     const Slice& slice, int64_t rows) const;
  Result<std::shared_ptr<arrow::Array>> DecodeAlone(const FileColumn& column, int row_group,
                                                    std::span<const Slice> slices,
                                                    int64_t rows) const;

  std::string path_;
  std::shared_ptr<arrow::io::RandomAccessFile> source_;
  ReleasableReader* releasable_ = nullptr;  ///< source_, where it is one.
  std::shared_ptr<parquet::FileMetaData> metadata_;
  parquet::ReaderProperties properties_;
  uint64_t rows_ = 0;
  uint32_t rows_per_page_ = 1;
  int leaves_ = 0;
  std::vector<FileColumn> columns_;
  std::vector<RowGroupLayout> row_groups_;
  std::vector<int> key_columns_;
  KeyIndex key_index_;
  int64_t region_offset_ = 0;  ///< Where key index, page index and checksums begin in the file.
  std::shared_ptr<arrow::Buffer> region_;  ///< Those.
  int64_t tail_offset_ = 0;                ///< Where tail block and footer begin, to the end.
  std::shared_ptr<arrow::Buffer> tail_;    ///< Those.
  /// All pages in the order of the file; made when bytes are first asked for.
  mutable std::once_flag page_list_once_;
  mutable Status page_list_status_;
  mutable std::vector<PageBytes> page_list_;
  /// Inside region_; checked to hold one for each page and chunk.
  const char* checksums_ = nullptr;
  std::vector<ChunkLayout> chunk_layouts_;
  /// Per chunk: index of its dictionary's checksum; its pages' follow.
  std::vector<size_t> checksum_bases_;
  std::unique_ptr<LazyChunk[]> chunks_;
  size_t memory_bytes_ = 0;
};

}  // namespace lamina::storage::sst
