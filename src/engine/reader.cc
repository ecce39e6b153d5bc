// Commits and their times: the memtables' dense lists, then the commits table.
#include "engine/reader.h"

#include <algorithm>

#include <arrow/array/array_primitive.h>
#include <arrow/scalar.h>
#include <fmt/format.h>

#include "catalog/system_tables.h"
#include "engine/scan_internal.h"
#include "storage/sst/row_batch.h"

namespace lamina::engine {
namespace {

using storage::DataFilePtr;
using storage::FileKind;
using storage::sst::FileReaderPtr;
using storage::sst::PageRows;

// The row with commit <= … and the greatest time <= t of one file of the commits table: commits and
// times rise together, and both with the ordinal. At least the file's first row qualifies.
Result<CommitId> LastCommitInFile(storage::sst::FileCache* files, const DataFilePtr& file,
                                  SystemTime t) {
  ARROW_ASSIGN_OR_RAISE(const FileReaderPtr reader, files->Open(file, nullptr));
  const catalog::TableSchemaPtr table = catalog::CommitsTableSchema();
  const std::vector<std::string> columns = {table->columns[0].name, catalog::kSystemFromColumn};
  const auto read = [&](uint32_t page) { return reader->ReadPage(page, *table, columns, nullptr); };
  // The last page whose first row is not later than t.
  uint32_t low = 0;
  uint32_t high = reader->page_count();
  PageRows page;
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    ARROW_ASSIGN_OR_RAISE(page, read(middle));
    if (storage::sst::TimeColumns::Of(*page.rows).system_from[0] <= t.micros) {
      low = middle;
    } else {
      high = middle;
    }
  }
  ARROW_ASSIGN_OR_RAISE(page, read(low));
  const int64_t* times = storage::sst::TimeColumns::Of(*page.rows).system_from;
  const int64_t* after = std::upper_bound(times, times + page.rows->num_rows(), t.micros);
  if (after == times) {
    return MakeError(
        ErrorCode::kCorruption,
        fmt::format("the commits table's file begins later than its bounds say: file={}",
                    file->Path()));
  }
  const auto& commits = static_cast<const arrow::Int64Array&>(*page.rows->column(0));
  return CommitId{static_cast<uint64_t>(commits.Value(after - times - 1))};
}

}  // namespace

Result<SystemTime> Reader::TimeOf(const Snapshot& snapshot, CommitId commit) const {
  if (commit.value == 0) return SystemTime::Min();
  if (commit > snapshot.commit()) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("the commit is later than the newest one that is seen: commit={} newest={}",
                    commit.value, snapshot.commit().value));
  }
  if (commit == snapshot.commit()) return snapshot.system();
  const ReadState& state = snapshot.state();
  if (commit > state.version->flushed_commit) {
    const auto holds = [&](const Memtable* memtable) {
      return memtable != nullptr && memtable->first_commit().value != 0 &&
             memtable->first_commit() <= commit && commit <= memtable->last_commit();
    };
    if (holds(state.active.get())) return state.active->TimeOf(commit);
    for (const auto& sealed : state.sealed) {
      if (holds(sealed.get())) return sealed->TimeOf(commit);
    }
    return MakeError(ErrorCode::kInternal,
                     fmt::format("no memtable holds the commit: commit={}", commit.value));
  }
  if (commit == state.version->flushed_commit) return state.version->flushed_system;

  const catalog::TableSchemaPtr table = catalog::CommitsTableSchema();
  const catalog::KeyCodec codec(*table);
  ARROW_ASSIGN_OR_RAISE(
      const std::string key,
      codec.EncodeScalars({arrow::MakeScalar(static_cast<int64_t>(commit.value))}));
  const uint64_t hash = catalog::HashKey(key);
  SystemTime time = SystemTime::Min();
  ARROW_RETURN_NOT_OK(internal::ForEachFileOf(
      state.version->FilesOf(table->id), key, /*current_only=*/true,
      [&](const DataFilePtr& file) -> Result<bool> {
        ARROW_ASSIGN_OR_RAISE(const FileReaderPtr reader, files_->Open(file, nullptr));
        if (!reader->KeyMayExist(key, hash, nullptr)) return true;
        ARROW_ASSIGN_OR_RAISE(const storage::sst::RowRange rows, reader->FindKey(key, nullptr));
        if (rows.empty()) return true;
        const uint64_t page = rows.first / reader->rows_per_page();
        ARROW_ASSIGN_OR_RAISE(const PageRows found,
                              reader->ReadPage(static_cast<uint32_t>(page), *table,
                                               {catalog::kSystemFromColumn}, nullptr));
        time.micros = storage::sst::TimeColumns::Of(*found.rows)
                          .system_from[rows.first - found.first_ordinal];
        return false;
      }));
  if (time == SystemTime::Min()) {
    return MakeError(ErrorCode::kCorruption,
                     fmt::format("the commits table lacks a commit: commit={} flushed={}",
                                 commit.value, state.version->flushed_commit.value));
  }
  return time;
}

Result<CommitId> Reader::CommitAt(const Snapshot& snapshot, SystemTime t) const {
  if (t >= snapshot.system()) return snapshot.commit();
  const ReadState& state = snapshot.state();
  const auto ask = [&](const Memtable* memtable) {
    return memtable == nullptr || memtable->first_commit().value == 0 ? CommitId{}
                                                                      : memtable->CommitAt(t);
  };
  // Earlier than the snapshot's own commit, so that what later commits the active memtable holds
  // does not matter.
  CommitId commit = ask(state.active.get());
  for (size_t i = state.sealed.size(); i-- > 0 && commit.value == 0;)
    commit = ask(state.sealed[i].get());
  if (commit.value != 0) return commit;
  if (t >= state.version->flushed_system) return state.version->flushed_commit;

  // Files of different levels may interleave: the greatest answer of those that begin in time.
  std::vector<DataFilePtr> files = state.version->FilesOf(catalog::kCommitsTable);
  std::erase_if(files, [&](const DataFilePtr& file) {
    return file->kind != FileKind::kCurrent || file->min_system_from > t;
  });
  std::sort(files.begin(), files.end(), [](const DataFilePtr& a, const DataFilePtr& b) {
    return a->max_commit > b->max_commit;
  });
  for (const DataFilePtr& file : files) {
    if (file->max_commit <= commit) break;
    if (file->max_system_from <= t) {
      commit = std::max(commit, file->max_commit);
      continue;
    }
    ARROW_ASSIGN_OR_RAISE(const CommitId last, LastCommitInFile(files_, file, t));
    commit = std::max(commit, last);
  }
  return commit;
}

}  // namespace lamina::engine
