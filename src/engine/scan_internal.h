// What the parts of one scan share: its parameters and the stream of blocks that sources give to
// the merge.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include "base/clock.h"
#include "catalog/key_codec.h"
#include "catalog/predicate.h"
#include "engine/memtable.h"
#include "engine/reader.h"
#include "engine/snapshot.h"
#include "storage/sst/file_reader.h"
#include "temporal/resolve.h"

namespace lamina::engine::internal {

using BatchPtr = std::shared_ptr<arrow::RecordBatch>;

/// True when the window is one point of the plane: then a key shows at most one version.
inline bool IsMoment(const temporal::Window& window) {
  return !window.empty() && window.system.from.micros + 1 == window.system.to.micros &&
         window.valid.from.micros + 1 == window.valid.to.micros;
}

/// The one key of a range made by KeyRange::Point, or nullopt.
std::optional<std::string_view> SingleKey(const catalog::KeyRange& range);
catalog::KeyRange Intersect(const catalog::KeyRange& a, const catalog::KeyRange& b);
inline bool IsEmpty(const catalog::KeyRange& range) {
  return !range.unbounded_to && range.from >= range.to;
}

/// The Arrow field of an output column: a storage column of the table or a hidden time column.
/// kInvalidArgument otherwise.
Result<std::shared_ptr<arrow::Field>> OutputField(const catalog::TableSchema& table,
                                                  const std::string& name);
/// The three columns whose values a later fact can change: _valid_from, _valid_to, _system_to.
bool IsBoundColumn(const std::string& name);
bool IsTimeColumn(const std::string& name);
/// The key columns' names in key order.
std::vector<std::string> KeyColumnNames(const catalog::TableSchema& table);
/// Adds `name` unless it is there; returns its position.
int AddColumnName(std::vector<std::string>* names, const std::string& name);
/// The first row at or after `from` whose key is not below `key`; gallops, so that near targets are
/// cheap.
int64_t LowerBound(const arrow::BinaryArray& keys, std::string_view key, int64_t from = 0);

/// Parameters of one scan. `spec.keys` is already intersected with the predicate's bounds.
struct ScanContext {
  ScanContext(const Snapshot& snapshot, const Memtable* own, storage::sst::FileCache* files,
              ScanSpec spec);

  /// Checks the columns and derives everything below. kInvalidArgument for an unknown column.
  Status Prepare();
  /// Makes sources emit the times that the merge compares. Before any source is made.
  Status EmitMergeTimes();
  bool PredicateReads(const std::string& column) const;

  const Snapshot& snapshot;
  const Memtable* own;
  storage::sst::FileCache* files;
  ScanSpec spec;
  catalog::KeyCodec codec;
  std::vector<std::string> key_columns;

  std::shared_ptr<arrow::Schema> output_schema;
  /// What every source gives: the output columns, each once, then the order's time columns where
  /// the merge compares them.
  std::vector<std::string> emit_columns;
  std::shared_ptr<arrow::Schema> emit_schema;
  std::vector<int> output_positions;  ///< In emit_columns.

  bool merge_by_times = false;  ///< Sources that overlap in key may hold several versions of a key.
  bool moment = false;          ///< The window is one point.
  /// A column that facts change is shown or filtered on, or several versions of a key may be.
  bool bounds_matter = false;
  std::optional<std::string_view> single_key;
  uint64_t single_key_hash = 0;
  std::optional<int64_t> rows_left;  ///< Of the limit.
  ScanProfile profile;
  std::shared_ptr<ReadTotals> totals;  ///< Gets the profile when the stream ends; null: not wanted.
};

/// Some rows of one source, in order, never empty.
struct Block {
  BatchPtr rows;      ///< ScanContext::emit_columns.
  BatchPtr key_rows;  ///< Key columns of the same rows; null when the source's range overlaps no
                      ///< other's.
  std::shared_ptr<arrow::BinaryArray> keys;  ///< Encoded keys; null until asked for.
  std::string first_key;  ///< At or below the first key; equal to it when key_rows is set.
  std::string last_key;
};

/// Rows in (key, valid_from, system_from) order.
class RowSource {
 public:
  virtual ~RowSource() = default;
  /// No row to come has a key below it. nullopt: no row comes.
  virtual std::optional<std::string> NextBound() = 0;
  /// nullopt at the end.
  virtual Result<std::optional<Block>> Next() = 0;
};

/// Sources one after the other, or merged by key.
class RowMerger {
 public:
  RowMerger(ScanContext* context, std::vector<std::unique_ptr<RowSource>> sources);
  ~RowMerger();
  /// A batch of ScanContext::emit_columns, not empty; null at the end.
  Result<BatchPtr> Next();

 private:
  struct Cursor;
  struct Run;
  Result<BatchPtr> NextUnordered();
  Result<BatchPtr> NextOrdered();
  Result<BatchPtr> TakePending();
  Status Load(Cursor* cursor);

  ScanContext* const context_;
  std::vector<std::unique_ptr<Cursor>> cursors_;
  std::vector<Run> pending_;
  int64_t pending_rows_ = 0;
  size_t current_ = 0;
};

class Overlay;

/// One data file's rows. `needs_keys`: its key range meets another source's.
std::unique_ptr<RowSource> MakeFileSource(ScanContext* context, storage::DataFilePtr file,
                                          const Overlay* overlay, bool needs_keys);
/// Sources whose key ranges follow each other without touching.
std::unique_ptr<RowSource> MakeChain(std::vector<std::unique_ptr<RowSource>> sources);

/// The rows of a prepared scan. Borrows snapshot and own.
Result<std::unique_ptr<ScanStream>> MakeScanStream(std::unique_ptr<ScanContext> context,
                                                   SnapshotPtr snapshot,
                                                   std::shared_ptr<const Memtable> own,
                                                   std::vector<PlainFile>* plain = nullptr);

/// Calls `visit(file)` for the files of a table whose key bounds hold `key`, current ones first,
/// until it returns false or an error. History files are left out when `current_only`.
Status ForEachFileOf(const std::vector<storage::DataFilePtr>& files, std::string_view key,
                     bool current_only,
                     const std::function<Result<bool>(const storage::DataFilePtr&)>& visit);

}  // namespace lamina::engine::internal
