// Reads of one key. At a moment, and for columns that no later fact changes, the newest fact that
// covers the point decides, and only when there is none do files answer, at most one row of one of
// them. Everything else is a scan of one key.
#include <algorithm>

#include <arrow/array/array_binary.h>
#include <arrow/array/array_primitive.h>
#include <fmt/format.h>

#include "base/check.h"
#include "base/mutant.h"
#include "engine/overlay_internal.h"
#include "engine/scan_internal.h"
#include "storage/sst/row_batch.h"

namespace lamina::engine {
namespace internal {
namespace {

using storage::DataFilePtr;
using storage::FileKind;
using storage::sst::FileCache;
using storage::sst::FileReaderPtr;
using storage::sst::PageRows;
using storage::sst::ReadCounters;
using storage::sst::RowRange;

// The row of a page that is visible at the point, and the page's columns.
struct FoundRow {
  BatchPtr page;
  int64_t row = 0;
};

struct Point {
  std::string_view key;
  uint64_t hash;
  SystemTime system;
  ValidTime valid;
};

// Asks memtables from new to old. `part_table` is the one that holds `*fact`.
Decision DecideInMemory(const ReadState& state, CommitId newest, const Memtable* own,
                        catalog::TableId table, const Point& point, const MemFact** fact,
                        const TableMemtable** part_table) {
  const auto ask = [&](const Memtable* memtable, CommitId commit) {
    if (memtable == nullptr) return Decision::kUndecided;
    const TableMemtable* part = memtable->Find(table);
    if (part == nullptr) return Decision::kUndecided;
    const MemFact* head = part->Find(point.key, point.hash);
    if (head == nullptr) return Decision::kUndecided;
    const Decision decision = DecideMoment(head, commit, point.system, point.valid, fact);
    if (decision == Decision::kRow) *part_table = part;
    return decision;
  };
  Decision decision = ask(own, kEveryCommit);
  if (decision != Decision::kUndecided) return decision;
  decision = ask(state.active.get(), newest);
  for (size_t i = state.sealed.size(); i-- > 0 && decision == Decision::kUndecided;) {
    decision = ask(state.sealed[i].get(), newest);
  }
  return decision;
}

// The row of one file that is visible at the point.
Result<bool> FindInFile(FileCache* files, const DataFilePtr& file,
                        const catalog::TableSchema& table, const Point& point,
                        const std::vector<std::string>& columns, ReadCounters* counters,
                        FoundRow* found) {
  if (LAMINA_MUTANT("point_read.row_missed_at_its_birth") ? file->min_system_from >= point.system
                                                          : file->min_system_from > point.system)
    return false;
  if (file->kind == FileKind::kHistory && file->max_system_to <= point.system) return false;
  if (file->has_valid_columns &&
      (file->min_valid_from > point.valid || file->max_valid_to <= point.valid))
    return false;
  ARROW_ASSIGN_OR_RAISE(const FileReaderPtr reader, files->Open(file, counters));
  if (!reader->KeyMayExist(point.key, point.hash, counters)) return false;
  ARROW_ASSIGN_OR_RAISE(const RowRange rows, reader->FindKey(point.key, counters));
  if (rows.empty()) return false;
  storage::sst::DeletionVectorPtr deletions;
  if (file->deletions.has_value()) {
    ARROW_ASSIGN_OR_RAISE(deletions, files->Deletions(file, counters));
  }
  // The manifest's bounds often answer for all rows of the file.
  const bool test_from = file->max_system_from > point.system;
  const bool test_to = file->kind == FileKind::kHistory && file->min_system_to <= point.system;
  const bool test_valid = file->has_valid_columns &&
                          (file->max_valid_from > point.valid || file->min_valid_to <= point.valid);
  std::vector<std::string> time_columns;
  if (test_from) time_columns.push_back(catalog::kSystemFromColumn);
  if (test_to) time_columns.push_back(catalog::kSystemToColumn);
  if (test_valid) {
    time_columns.push_back(catalog::kValidFromColumn);
    time_columns.push_back(catalog::kValidToColumn);
  }

  const uint64_t per_page = reader->rows_per_page();
  PageRows times;
  storage::sst::TimeColumns of_page;
  for (uint64_t ordinal = rows.first; ordinal < rows.last; ++ordinal) {
    if (deletions != nullptr && deletions->IsEnded(ordinal) &&
        (file->kind == FileKind::kHistory || (LAMINA_MUTANT("point_read.row_seen_at_its_end")
                                                  ? deletions->EndOf(ordinal) < point.system
                                                  : deletions->EndOf(ordinal) <= point.system))) {
      continue;
    }
    const auto page = static_cast<uint32_t>(ordinal / per_page);
    const auto row = static_cast<int64_t>(ordinal % per_page);
    if (!time_columns.empty()) {
      if (times.rows == nullptr || times.first_ordinal != page * per_page) {
        ARROW_ASSIGN_OR_RAISE(times, reader->ReadPage(page, table, time_columns, counters));
        of_page = storage::sst::TimeColumns::Of(*times.rows);
      }
      if (test_from && of_page.system_from[row] > point.system.micros) continue;
      if (test_to && of_page.system_to[row] <= point.system.micros) continue;
      if (test_valid && (of_page.valid_from[row] > point.valid.micros ||
                         of_page.valid_to[row] <= point.valid.micros)) {
        continue;
      }
    }
    found->row = row;
    if (columns.empty()) return true;
    ARROW_ASSIGN_OR_RAISE(PageRows shown, reader->ReadPage(page, table, columns, counters));
    found->page = std::move(shown.rows);
    return true;
  }
  return false;
}

// The one settled row visible at the point.
Result<bool> FindInFiles(FileCache* files, const Snapshot& snapshot,
                         const catalog::TableSchema& table, const Point& point,
                         const std::vector<std::string>& columns, ReadCounters* counters,
                         FoundRow* found) {
  const storage::manifest::Version& version = *snapshot.state().version;
  bool hit = false;
  ARROW_RETURN_NOT_OK(ForEachFileOf(
      version.FilesOf(table.id), point.key, /*current_only=*/point.system >= version.flushed_system,
      [&](const DataFilePtr& file) -> Result<bool> {
        ARROW_ASSIGN_OR_RAISE(hit, FindInFile(files, file, table, point, columns, counters, found));
        return !hit;
      }));
  return hit;
}

// Appends the bytes of a value as the memtable would hold them inline.
Status AppendInline(const arrow::Array& column, int64_t row, std::string* value) {
  switch (column.type_id()) {
    case arrow::Type::BINARY:
    case arrow::Type::STRING:
      value->append(static_cast<const arrow::BinaryArray&>(column).GetView(row));
      return Status::OK();
    case arrow::Type::INT64: {
      const int64_t number = static_cast<const arrow::Int64Array&>(column).Value(row);
      value->append(reinterpret_cast<const char*>(&number), sizeof(number));
      return Status::OK();
    }
    default:
      return MakeError(ErrorCode::kInternal, fmt::format("no inline form of this column: type={}",
                                                         column.type()->ToString()));
  }
}

}  // namespace

Status ForEachFileOf(const std::vector<DataFilePtr>& files, std::string_view key, bool current_only,
                     const std::function<Result<bool>(const DataFilePtr&)>& visit) {
  auto first = files.begin();
  while (first != files.end()) {
    const FileKind kind = (*first)->kind;
    if (kind == FileKind::kHistory && current_only) break;
    const uint8_t level = (*first)->level;
    auto last = std::partition_point(first, files.end(), [&](const DataFilePtr& file) {
      return file->kind < kind || (file->kind == kind && file->level <= level);
    });
    // Within a level files go by min_key; those of a level above 0 are disjoint, so that one may
    // hold the key.
    auto end = std::partition_point(first, last,
                                    [&](const DataFilePtr& file) { return file->min_key <= key; });
    const bool disjoint = kind == FileKind::kCurrent && level > 0;
    if (disjoint && end != first) first = std::prev(end);
    for (; first != end; ++first) {
      if ((*first)->max_key < key) continue;
      ARROW_ASSIGN_OR_RAISE(const bool go_on, visit(*first));
      if (!go_on) return Status::OK();
    }
    first = last;
  }
  return Status::OK();
}

}  // namespace internal

Result<std::shared_ptr<arrow::RecordBatch>> Reader::Get(
    const Snapshot& snapshot, const PointSpec& spec, const Memtable* own,
    storage::sst::ReadCounters* counters) const {
  using namespace internal;  // NOLINT(google-build-using-namespace): one body.
  arrow::FieldVector fields;
  bool bounds_asked = false;
  for (const std::string& name : spec.columns) {
    ARROW_ASSIGN_OR_RAISE(auto field, OutputField(*spec.table, name));
    fields.push_back(std::move(field));
    bounds_asked = bounds_asked || IsBoundColumn(name);
  }
  auto schema = arrow::schema(std::move(fields));
  if (!IsMoment(spec.window) || bounds_asked) {
    ScanSpec scan;
    scan.table = spec.table;
    scan.columns = spec.columns;
    scan.keys = catalog::KeyRange::Point(spec.key);
    scan.window = spec.window;
    scan.newest = spec.newest;
    auto context = std::make_unique<ScanContext>(snapshot, own, files_, std::move(scan));
    ARROW_ASSIGN_OR_RAISE(const auto stream, MakeScanStream(std::move(context), nullptr, nullptr));
    arrow::RecordBatchVector batches;
    while (true) {
      ARROW_ASSIGN_OR_RAISE(BatchPtr batch, stream->Next());
      if (batch == nullptr) break;
      batches.push_back(std::move(batch));
    }
    if (counters != nullptr) counters->Add(stream->profile().io);
    totals_->AddGet(stream->profile().rows_returned, stream->profile().io);
    if (batches.size() == 1) return batches[0];
    if (batches.size() > 1) return arrow::ConcatenateRecordBatches(batches);
    return arrow::RecordBatch::MakeEmpty(std::move(schema));
  }

  const Point point{spec.key, catalog::HashKey(spec.key), spec.window.system.from,
                    spec.window.valid.from};
  const MemFact* fact = nullptr;
  const TableMemtable* part = nullptr;
  switch (DecideInMemory(snapshot.state(), snapshot.commit(), own, spec.table->id, point, &fact,
                         &part)) {
    case Decision::kGone:
      totals_->AddGet(0, {});
      return arrow::RecordBatch::MakeEmpty(std::move(schema));
    case Decision::kRow:
      totals_->AddGet(1, {});
      return MaterializeFact(*spec.table, *part, *fact, spec.columns, std::move(schema));
    case Decision::kUndecided:
      break;
  }
  storage::sst::ReadCounters io;
  FoundRow found;
  ARROW_ASSIGN_OR_RAISE(
      const bool hit, FindInFiles(files_, snapshot, *spec.table, point, spec.columns, &io, &found));
  if (counters != nullptr) counters->Add(io);
  totals_->AddGet(hit ? 1 : 0, io);
  if (!hit) return arrow::RecordBatch::MakeEmpty(std::move(schema));
  arrow::ArrayVector columns;
  columns.reserve(spec.columns.size());
  for (size_t i = 0; i < spec.columns.size(); ++i) {
    columns.push_back(found.page->column(static_cast<int>(i))->Slice(found.row, 1));
  }
  return arrow::RecordBatch::Make(std::move(schema), 1, std::move(columns));
}

std::optional<bool> Reader::GetNewestInline(const ReadState& state, CommitId newest,
                                            catalog::TableId table, std::string_view key,
                                            base::Clock* clock, std::string* value) const {
  using namespace internal;  // NOLINT(google-build-using-namespace): one body.
  const auto has_valid_times = [table](const std::shared_ptr<const Memtable>& memtable) {
    const TableMemtable* part = memtable->Find(table);
    return part != nullptr && part->has_valid_times();
  };
  const bool any_valid_times =
      has_valid_times(state.active) ||
      std::any_of(state.sealed.begin(), state.sealed.end(), has_valid_times);
  // A fact for all time covers any moment; every commit up to the newest lies before the last one.
  const ValidTime now{any_valid_times ? clock->NowMicros() : 0};
  const Point point{key, catalog::HashKey(key), {SystemTime::Max().micros - 1}, now};
  const MemFact* fact = nullptr;
  const TableMemtable* part = nullptr;
  switch (DecideInMemory(state, newest, /*own=*/nullptr, table, point, &fact, &part)) {
    case Decision::kGone:
      break;
    case Decision::kRow:
      LAMINA_CHECK_MSG(fact->batch == MemFact::kInline,
                       "GetNewestInline of a table whose rows are not inline");
      totals_->AddGet(1, {});
      value->append(fact->inline_value());
      return true;
    case Decision::kUndecided:
      if (!state.version->FilesOf(table).empty()) return std::nullopt;
      break;
  }
  totals_->AddGet(0, {});
  return false;
}

Result<bool> Reader::GetInline(const Snapshot& snapshot, catalog::TableId table,
                               std::string_view key, SystemTime system, ValidTime valid,
                               const Memtable* own, std::string* value,
                               storage::sst::ReadCounters* counters) const {
  using namespace internal;  // NOLINT(google-build-using-namespace): one body.
  // Nothing is at either axis's Max.
  if (system == SystemTime::Max() || valid == ValidTime::Max()) return false;
  const Point point{key, catalog::HashKey(key), system, valid};
  const MemFact* fact = nullptr;
  const TableMemtable* part = nullptr;
  switch (DecideInMemory(snapshot.state(), snapshot.commit(), own, table, point, &fact, &part)) {
    case Decision::kGone:
      totals_->AddGet(0, {});
      return false;
    case Decision::kRow:
      LAMINA_CHECK_MSG(fact->batch == MemFact::kInline,
                       "GetInline of a table whose rows are not inline");
      totals_->AddGet(1, {});
      value->append(fact->inline_value());
      return true;
    case Decision::kUndecided:
      break;
  }
  if (snapshot.state().version->FilesOf(table).empty()) {
    totals_->AddGet(0, {});
    return false;
  }
  const catalog::TableSchemaPtr schema = snapshot.Table(table);
  if (schema == nullptr || schema->columns.size() != 2 || schema->key.size() != 1) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("the table is not one of inline values: table={}", table.value));
  }
  const size_t value_position = schema->columns[0].id == schema->key[0] ? 1 : 0;
  storage::sst::ReadCounters io;
  FoundRow found;
  ARROW_ASSIGN_OR_RAISE(const bool hit,
                        FindInFiles(files_, snapshot, *schema, point,
                                    {schema->columns[value_position].name}, &io, &found));
  if (counters != nullptr) counters->Add(io);
  totals_->AddGet(hit ? 1 : 0, io);
  if (!hit) return false;
  ARROW_RETURN_NOT_OK(AppendInline(*found.page->column(0), found.row, value));
  return true;
}

}  // namespace lamina::engine
