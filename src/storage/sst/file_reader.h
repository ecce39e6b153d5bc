// Reads data files: key lookup, pruning by row group and page, page-selective column reads,
// decoded-page and footer caches.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include "catalog/key_codec.h"
#include "catalog/predicate.h"
#include "catalog/schema.h"
#include "lamina/object_store.h"
#include "storage/data_file.h"
#include "storage/sst/deletion_vector.h"

namespace lamina::storage::sst {

/// What a read cost; added to by every call that takes it (null = not wanted). Not thread-safe: one
/// per scan thread.
struct ReadCounters {
  uint64_t files_opened = 0;  ///< Footers read (not found in the cache).
  uint64_t row_groups_read = 0;
  uint64_t row_groups_pruned = 0;
  uint64_t pages_read = 0;  ///< Page x column decoded from bytes.
  /// Page rows skipped by key range or statistics (counted once a page, not a column).
  uint64_t pages_pruned = 0;
  uint64_t page_cache_hits = 0;
  uint64_t bytes_read = 0;  ///< From the store.
  uint64_t requests = 0;    ///< Range reads of the store.
  uint64_t bloom_negatives = 0;
  uint64_t rows_decoded = 0;
  void Add(const ReadCounters& other);
};

/// Ascending, disjoint [first, last) page numbers of one file.
struct PageRun {
  uint32_t first = 0;
  uint32_t last = 0;
};
using PageSet = std::vector<PageRun>;

/// A decoded page: `rows_per_page` rows (fewer in the last) of some columns, as the current schema.
/// Immutable.
struct PageRows {
  uint64_t first_ordinal = 0;
  std::shared_ptr<arrow::RecordBatch> rows;
};

/// Rows [first, last) by ordinal.
struct RowRange {
  uint64_t first = 0;
  uint64_t last = 0;
  bool empty() const { return first >= last; }
};

/// One open data file. Immutable, thread-safe, shared through FileCache.
class FileReader {
 public:
  virtual ~FileReader() = default;
  virtual const DataFile& file() const = 0;
  virtual uint32_t page_count() const = 0;
  virtual uint32_t rows_per_page() const = 0;

  /// False only if the key is certainly absent (key bounds, then Bloom filter). `hash` =
  /// catalog::HashKey(key).
  virtual bool KeyMayExist(std::string_view key, uint64_t hash, ReadCounters* counters) const = 0;
  /// The ordinals of the rows with exactly this key (several when it has several versions). Decodes
  /// key columns of one page (or of the few pages the key spans) through the page cache. Does not
  /// ask the Bloom filter.
  virtual Result<RowRange> FindKey(std::string_view key, ReadCounters* counters) const = 0;
  /// The encoded keys of one page, cached.
  virtual Result<std::shared_ptr<arrow::BinaryArray>> PageKeys(uint32_t page,
                                                               ReadCounters* counters) const = 0;

  /// Pages that may hold keys in the range.
  virtual PageSet PagesInKeyRange(const catalog::KeyRange& range) const = 0;
  /// Drops pages that certainly hold no passing row, by row-group and page statistics (user columns
  /// and time columns alike). `schema` is the definition the predicate was bound to: it leads from
  /// the predicate's names to the file's columns over renames, drops and widenings. Without it only
  /// the time columns' statistics are used.
  virtual PageSet Prune(const PageSet& pages, const catalog::Predicate& predicate,
                        ReadCounters* counters,
                        const catalog::TableSchema* schema = nullptr) const = 0;
  /// Drops pages all of whose rows begin at or after `window_to` in system time, or end (history
  /// files) at or before `window_from`, and likewise in valid time.
  virtual PageSet PruneTimes(const PageSet& pages, SystemTime system_from, SystemTime system_to,
                             ValidTime valid_from, ValidTime valid_to,
                             ReadCounters* counters) const = 0;

  /// One page of the named columns (user, row id and time columns, any order) through the
  /// decoded-page cache: for point reads. `schema` is the table's definition to present (evolution:
  /// absent columns have their initial value or null, widened ones are cast). `_system_to` of a
  /// current file reads as Max: deletion vectors are applied by the caller.
  virtual Result<PageRows> ReadPage(uint32_t page, const catalog::TableSchema& schema,
                                    const std::vector<std::string>& columns,
                                    ReadCounters* counters) const = 0;

  /// Streams the pages' rows in order, bypassing the decoded-page cache; batches hold consecutive
  /// ordinals, at most `batch_rows` rows, and never straddle a gap of the page set. Null rows at
  /// the end. One thread per stream.
  class Stream {
   public:
    virtual ~Stream() = default;
    virtual Result<PageRows> Next() = 0;
  };
  virtual Result<std::unique_ptr<Stream>> Read(const PageSet& pages,
                                               std::shared_ptr<const catalog::TableSchema> schema,
                                               std::vector<std::string> columns, int64_t batch_rows,
                                               ReadCounters* counters) const = 0;

  /// `length` bytes of the file to `out`, for another reader of Parquet (sql). Every page that the
  /// range touches is compared with its checksum before. kCorruption, kInvalidArgument (outside).
  virtual Status ReadBytes(int64_t offset, int64_t length, char* out,
                           ReadCounters* counters) const = 0;

  /// Reads everything and checks it: footer, pages, order of keys, bounds and counts against the
  /// manifest entry, Bloom filter (no false negative), key index. kCorruption names the file and
  /// what is wrong.
  virtual Status Verify() const = 0;
};
using FileReaderPtr = std::shared_ptr<const FileReader>;

struct CacheOptions {
  size_t page_cache_bytes = 64 << 20;    ///< Decoded pages and page keys. 0 = off.
  size_t footer_cache_bytes = 64 << 20;  ///< Open files: footers, key index blocks, Bloom filters.
  size_t deletion_cache_bytes = 64 << 20;
};

struct CacheStats {
  uint64_t page_hits = 0, page_misses = 0, page_bytes = 0, page_evictions = 0;
  uint64_t footer_hits = 0, footer_misses = 0, footer_bytes = 0;
  uint64_t deletion_hits = 0, deletion_misses = 0, deletion_bytes = 0;
};

/// Opens files and deletion vectors once and keeps them within budgets (least recently used first
/// out). Thread-safe.
class FileCache {
 public:
  static std::unique_ptr<FileCache> Make(std::shared_ptr<ObjectStore> store, CacheOptions options);
  virtual ~FileCache() = default;
  /// kCorruption names file and offset; also when the object is missing.
  virtual Result<FileReaderPtr> Open(const DataFilePtr& file, ReadCounters* counters) = 0;
  /// The file's deletion vector, or null when it has none.
  virtual Result<DeletionVectorPtr> Deletions(const DataFilePtr& file, ReadCounters* counters) = 0;
  /// Drops whatever is kept of the file (after GC deleted it).
  virtual void Forget(const base::Ulid& file) = 0;
  virtual CacheStats stats() const = 0;
};

/// Collects the deletion vectors changed by one job into one object data/<table>/<ulid>.dv.
class DeletionVectorPack {
 public:
  void Add(const base::Ulid& file, DeletionVectorPtr vector);
  bool empty() const { return vectors_.empty(); }
  /// Writes the object durably; returns a reference per file in the order added.
  Result<std::vector<std::pair<base::Ulid, DeletionVectorRef>>> Write(
      ObjectStore* store, catalog::TableId table, const base::Ulid& object) const;

 private:
  std::vector<std::pair<base::Ulid, DeletionVectorPtr>> vectors_;
};

}  // namespace lamina::storage::sst
