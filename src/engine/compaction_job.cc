// Runs one compaction.
//
//   1. Each input is a cursor over its rows in key order, with the encoded keys; its deletion
//      vector is taken as of the start.
//   2. The cursors are merged by (key, valid_from, system_from). A stretch of rows that comes
//      before every other cursor's next row is taken whole (one comparison for many rows when
//      inputs hardly overlap).
//   3. Each row goes to one of: the current output (open), the history output (ended: with its
//      end), nowhere (replaced by pieces, erased, or ended at or before the history floor). Where
//      it went is noted by position.
//   4. Finish: ends that a flush added to the inputs meanwhile are written to the outputs by those
//      positions.
//
// Inputs that are all of one commit and leave it to the manifest (bulk loads) give an output that
// does so too.
//
// The law: rows and a hash over (key, times, commit) of what was kept equal those of what was
// written.
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <xxhash.h>

#include <arrow/array/concatenate.h>
#include <arrow/compute/api.h>
#include <fmt/format.h>

#include "base/check.h"
#include "base/error_detail.h"
#include "base/mutant.h"
#include "catalog/key_codec.h"
#include "engine/maintenance.h"
#include "engine/row_output_internal.h"

namespace lamina::engine {
namespace {

using storage::DataFilePtr;
using storage::FileKind;
using storage::sst::DeletionVectorPtr;
using storage::sst::EndedRow;
using storage::sst::kRewritten;
using storage::sst::TimeColumns;

constexpr uint32_t kNowhere = 0xffffffffu;
constexpr uint32_t kHistoryBit = 0x80000000u;
constexpr int64_t kBatchRows = 32 * 1024;
// All inputs are open at once, with a batch each: smaller ones where they are many.
constexpr int64_t kBatchRowsMin = 2 * 1024;
constexpr int64_t kBatchRowsOfAll = 1024 * 1024;

uint64_t HashRow(std::string_view key, int64_t valid_from, int64_t valid_to, int64_t system_from,
                 int64_t system_to, int64_t commit) {
  const int64_t times[5] = {valid_from, valid_to, system_from, system_to, commit};
  return XXH3_64bits_withSeed(times, sizeof(times), XXH3_64bits(key.data(), key.size()));
}

/// Where an input's rows went: output file (kHistoryBit for history outputs) and ordinal there.
struct Place {
  uint32_t file = kNowhere;
  uint32_t ordinal = 0;
};

class Cursor {
 public:
  Cursor(size_t index, DataFilePtr file, catalog::TableSchemaPtr table)
      : index_(index), file_(std::move(file)), table_(std::move(table)) {}

  Status Open(const JobContext& context, const std::vector<std::string>& columns,
              int64_t batch_rows) {
    ARROW_ASSIGN_OR_RAISE(reader_, context.files->Open(file_, &counters_));
    if (file_->deletions.has_value()) {
      ARROW_ASSIGN_OR_RAISE(deletions_, context.files->Deletions(file_, &counters_));
    }
    ARROW_ASSIGN_OR_RAISE(stream_, reader_->Read(storage::sst::PageSet{{0, reader_->page_count()}},
                                                 table_, columns, batch_rows, &counters_));
    places_.resize(file_->rows);
    return Advance();
  }

  /// Reads the next batch; done() afterwards when there is none.
  Status Advance() {
    ARROW_ASSIGN_OR_RAISE(const auto page, stream_->Next());
    rows_ = page.rows;
    at_ = 0;
    if (rows_ == nullptr) return Status::OK();
    first_ordinal_ = page.first_ordinal;
    ARROW_ASSIGN_OR_RAISE(keys_, catalog::KeyCodec(*table_).Encode(*rows_));
    times_ = TimeColumns::Of(*rows_);
    return Status::OK();
  }

  bool done() const { return rows_ == nullptr; }
  /// (key, valid_from, system_from) of this cursor's row `i` against the other's current row.
  bool RowBefore(int64_t i, const Cursor& other) const {
    const int c = keys_->GetView(i).compare(other.keys_->GetView(other.at_));
    if (c != 0) return c < 0;
    if (times_.valid_from[i] != other.times_.valid_from[other.at_]) {
      return times_.valid_from[i] < other.times_.valid_from[other.at_];
    }
    return times_.system_from[i] < other.times_.system_from[other.at_];
  }
  bool Before(const Cursor& other) const { return RowBefore(at_, other); }

  size_t index() const { return index_; }
  const DataFilePtr& file() const { return file_; }
  const std::shared_ptr<arrow::RecordBatch>& rows() const { return rows_; }
  const arrow::BinaryArray& keys() const { return *keys_; }
  const TimeColumns& times() const { return times_; }
  int64_t at() const { return at_; }
  void set_at(int64_t at) { at_ = at; }
  uint64_t ordinal(int64_t i) const { return first_ordinal_ + static_cast<uint64_t>(i); }
  const DeletionVectorPtr& deletions() const { return deletions_; }
  std::vector<Place>& places() { return places_; }

 private:
  const size_t index_;
  DataFilePtr file_;
  catalog::TableSchemaPtr table_;
  storage::sst::FileReaderPtr reader_;
  DeletionVectorPtr deletions_;
  std::unique_ptr<storage::sst::FileReader::Stream> stream_;
  storage::sst::ReadCounters counters_;
  std::shared_ptr<arrow::RecordBatch> rows_;
  std::shared_ptr<arrow::BinaryArray> keys_;
  TimeColumns times_;
  int64_t at_ = 0;
  uint64_t first_ordinal_ = 0;
  std::vector<Place> places_;
};

/// Rows on their way to one output, as stretches of cursor batches.
struct Outgoing {
  struct Stretch {
    std::shared_ptr<arrow::RecordBatch> rows;
    int64_t first = 0;
    int64_t count = 0;
  };
  std::vector<Stretch> stretches;
  int64_t count = 0;
  std::vector<int64_t> system_to;                 // One a row; replaces the column's.
  std::vector<std::pair<size_t, uint64_t>> from;  // (cursor, ordinal)
  uint64_t hash = 0;

  void Add(const std::shared_ptr<arrow::RecordBatch>& rows, int64_t row) {
    if (!stretches.empty() && stretches.back().rows == rows &&
        stretches.back().first + stretches.back().count == row) {
      ++stretches.back().count;
    } else {
      stretches.push_back({rows, row, 1});
    }
    ++count;
  }
};

class Job final : public CompactionJob {
 public:
  Job(JobContext context, storage::manifest::VersionPtr base, CompactionPlan plan)
      : context_(std::move(context)), base_(std::move(base)), plan_(std::move(plan)) {}

  Status Run() override {
    const int64_t start = context_.clock->MonotonicNanos();
    Status status = DoRun();
    out_.stats.nanos = static_cast<uint64_t>(context_.clock->MonotonicNanos() - start);
    if (!status.ok()) Abandon();
    return status;
  }

  Result<JobResult> Finish(const storage::manifest::Version& newest) override {
    auto result = DoFinish(newest);
    if (!result.ok()) Abandon();
    return result;
  }

 private:
  void Abandon() {
    // Without the edit these are garbage; what cannot be deleted now is an orphan that gc finds.
    for (const auto& path : out_.written) (void)context_.store->Delete(path);
    out_.written.clear();
  }

  Status DoRun() {
    table_ = base_->catalog.Find(plan_.table);
    if (table_ == nullptr)
      return MakeError(ErrorCode::kConflict, "table was dropped during its compaction");
    const auto floor = base_->history_floor.find(plan_.table);
    if (floor != base_->history_floor.end()) floor_ = floor->second;

    const std::vector<std::string> columns = storage::sst::RowBatchSchema(*table_)->field_names();
    bool valid_columns = false;
    int deepest = 0;
    uint64_t total = 0;
    for (const auto& f : base_->FilesOf(plan_.table))
      deepest = std::max(deepest, static_cast<int>(f->level));
    const int64_t batch_rows = std::clamp(
        kBatchRowsOfAll / std::max<int64_t>(static_cast<int64_t>(plan_.inputs.size()), 1),
        kBatchRowsMin, kBatchRows);
    bool one_commit = true;
    for (const auto& f : plan_.inputs) {
      one_commit =
          one_commit && !f->has_system_columns && f->min_commit == plan_.inputs.front()->min_commit;
      valid_columns = valid_columns || f->has_valid_columns;
      total += f->rows;
      out_.stats.bytes_in += f->bytes;
      ++out_.stats.files_in;
      cursors_.push_back(std::make_unique<Cursor>(cursors_.size(), f, table_));
      ARROW_RETURN_NOT_OK(cursors_.back()->Open(context_, columns, batch_rows));
    }
    const bool last_level = plan_.output_level >= 2 || plan_.output_level > deepest;
    auto current_options = FileOptions(*context_.options, *table_, FileKind::kCurrent,
                                       plan_.output_level, valid_columns, last_level);
    current_options.system_columns = !one_commit || plan_.inputs.empty();
    current_ = std::make_unique<FileSequence>(context_, table_, current_options, &out_.written);
    history_ = std::make_unique<FileSequence>(
        context_, table_,
        FileOptions(*context_.options, *table_, FileKind::kHistory, 0, valid_columns, true),
        &out_.written);

    const auto later = [](const Cursor* a, const Cursor* b) { return b->Before(*a); };
    std::vector<Cursor*> heap;
    for (const auto& c : cursors_) {
      if (!c->done()) heap.push_back(c.get());
    }
    std::make_heap(heap.begin(), heap.end(), later);
    uint64_t done = 0;
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end(), later);
      Cursor* c = heap.back();
      heap.pop_back();
      const int64_t first = c->at();
      const int64_t end = heap.empty() ? c->rows()->num_rows() : EndOfStretch(*c, *heap.front());
      for (int64_t i = first; i < end; ++i) ARROW_RETURN_NOT_OK(Route(*c, i));
      done += static_cast<uint64_t>(end - first);
      c->set_at(end);
      if (end == c->rows()->num_rows()) ARROW_RETURN_NOT_OK(c->Advance());
      if (!c->done()) {
        heap.push_back(c);
        std::push_heap(heap.begin(), heap.end(), later);
      }
      if (current_rows_.count >= kBatchRows * 2)
        ARROW_RETURN_NOT_OK(Write(&current_rows_, current_.get(), 0));
      if (history_rows_.count >= kBatchRows * 2) {
        ARROW_RETURN_NOT_OK(Write(&history_rows_, history_.get(), kHistoryBit));
      }
      if (context_.cancelled && context_.cancelled())
        return MakeError(ErrorCode::kCancelled, "compaction cancelled");
      if (context_.progress) context_.progress(done, total);
    }
    ARROW_RETURN_NOT_OK(Write(&current_rows_, current_.get(), 0));
    ARROW_RETURN_NOT_OK(Write(&history_rows_, history_.get(), kHistoryBit));
    ARROW_RETURN_NOT_OK(current_->Finish());
    ARROW_RETURN_NOT_OK(history_->Finish());
    out_.stats.rows_out = current_->rows() + history_->rows();
    if (kept_rows_ != out_.stats.rows_out || kept_hash_ != written_hash_) {
      return MakeError(
          ErrorCode::kInternal,
          fmt::format("compaction changed the row versions: table={} rows_in={} rows_out={} "
                      "hash_in={:x} hash_out={:x}",
                      table_->name, kept_rows_, out_.stats.rows_out, kept_hash_, written_hash_));
    }
    return Status::OK();
  }

  /// The first row of `c` (after its current one) that does not come before `other`'s current row:
  /// galloping, then binary.
  static int64_t EndOfStretch(const Cursor& c, const Cursor& other) {
    int64_t low = c.at();  // Known to come before.
    int64_t step = 1;
    const int64_t rows = c.rows()->num_rows();
    while (low + step < rows && c.RowBefore(low + step, other)) {
      low += step;
      step *= 2;
    }
    int64_t high = std::min(rows, low + step);  // Known not to, or the end.
    while (low + 1 < high) {
      const int64_t middle = low + (high - low) / 2;
      (c.RowBefore(middle, other) ? low : high) = middle;
    }
    return high;
  }

  Status Route(Cursor& c, int64_t i) {
    ++out_.stats.rows_in;
    const TimeColumns& t = c.times();
    const uint64_t ordinal = c.ordinal(i);
    int64_t system_to = t.system_to[i];
    if (c.deletions() != nullptr && c.deletions()->IsEnded(ordinal)) {
      const SystemTime end = c.deletions()->EndOf(ordinal);
      if (end == kRewritten || LAMINA_MUTANT("compaction.ended_rows_dropped")) {
        ++out_.stats.rows_rewritten;
        return Status::OK();
      }
      system_to = end.micros;
      ++out_.stats.rows_ended;
    }
    if (system_to <= floor_.micros ||
        (LAMINA_MUTANT("compaction.floor_by_birth") && t.system_from[i] < floor_.micros))
      return Status::OK();  // Below the history floor: reads there are refused.
    const bool open = system_to == SystemTime::Max().micros;
    if (open && plan_.one_row_a_key) ARROW_RETURN_NOT_OK(CheckAnother(c.keys().GetView(i)));
    Outgoing& to = open ? current_rows_ : history_rows_;
    to.Add(c.rows(), i);
    to.system_to.push_back(system_to);
    to.from.emplace_back(c.index(), ordinal);
    ++kept_rows_;
    kept_hash_ += HashRow(c.keys().GetView(i), t.valid_from[i], t.valid_to[i], t.system_from[i],
                          system_to, t.commit[i]);
    return Status::OK();
  }

  Status CheckAnother(std::string_view key) {
    if (last_key_ && *last_key_ == key) {
      return MakeKeyError(ErrorCode::kAlreadyExists,
                          fmt::format("two rows have one key: table={} key={}", table_->name,
                                      KeyText(*table_, key)),
                          "", std::string(key));
    }
    last_key_.emplace(key);
    return Status::OK();
  }

  Status Write(Outgoing* rows, FileSequence* sequence, uint32_t kind_bit) {
    if (rows->count == 0) return Status::OK();
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_ASSIGN_OR_RAISE(batch, Gather(*rows));
    const int to_index = batch->schema()->GetFieldIndex(catalog::kSystemToColumn);
    ARROW_ASSIGN_OR_RAISE(batch, batch->SetColumn(to_index, batch->schema()->field(to_index),
                                                  MakeInt64Like(std::move(rows->system_to),
                                                                storage::sst::TimeType())));
    ARROW_ASSIGN_OR_RAISE(const auto keys, catalog::KeyCodec(*table_).Encode(*batch));
    const auto t = TimeColumns::Of(*batch);
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      written_hash_ += HashRow(keys->GetView(i), t.valid_from[i], t.valid_to[i], t.system_from[i],
                               t.system_to[i], t.commit[i]);
    }
    std::vector<FileSequence::Placement> placements;
    ARROW_RETURN_NOT_OK(sequence->Write(batch, keys, &placements));
    size_t at = 0;
    for (const auto& p : placements) {
      for (int64_t i = 0; i < p.rows; ++i, ++at) {
        const auto& [cursor, ordinal] = rows->from[at];
        cursors_[cursor]->places()[ordinal] = {
            p.file | kind_bit, static_cast<uint32_t>(p.first_ordinal + static_cast<uint64_t>(i))};
      }
    }
    *rows = Outgoing();
    return Status::OK();
  }

  /// Long stretches are sliced and joined; short ones are gathered row by row.
  static Result<std::shared_ptr<arrow::RecordBatch>> Gather(const Outgoing& rows) {
    if (rows.count >= static_cast<int64_t>(rows.stretches.size()) * 16) {
      arrow::RecordBatchVector slices;
      for (const auto& s : rows.stretches) slices.push_back(s.rows->Slice(s.first, s.count));
      if (slices.size() == 1) return slices[0];
      return arrow::ConcatenateRecordBatches(slices);
    }
    arrow::RecordBatchVector sources;
    std::map<const arrow::RecordBatch*, int64_t> offset;
    int64_t total = 0;
    std::vector<int64_t> take;
    take.reserve(static_cast<size_t>(rows.count));
    for (const auto& s : rows.stretches) {
      auto [it, added] = offset.try_emplace(s.rows.get(), total);
      if (added) {
        sources.push_back(s.rows);
        total += s.rows->num_rows();
      }
      for (int64_t i = 0; i < s.count; ++i) take.push_back(it->second + s.first + i);
    }
    ARROW_ASSIGN_OR_RAISE(const auto joined, arrow::ConcatenateRecordBatches(sources));
    ARROW_ASSIGN_OR_RAISE(
        auto taken,
        arrow::compute::Take(arrow::Datum(joined), MakeInt64Like(std::move(take), arrow::int64())));
    return taken.record_batch();
  }

  Result<JobResult> DoFinish(const storage::manifest::Version& newest) {
    std::vector<std::vector<EndedRow>> late_current(current_->files().size());
    std::vector<std::vector<EndedRow>> late_history(history_->files().size());
    const auto& now = newest.FilesOf(plan_.table);
    for (const auto& c : cursors_) {
      const auto it = std::find_if(now.begin(), now.end(),
                                   [&](const auto& f) { return f->id == c->file()->id; });
      if (it == now.end()) {
        return MakeError(ErrorCode::kConflict,
                         fmt::format("compaction input is gone: file={}", c->file()->Path()));
      }
      if (!(*it)->deletions.has_value() || LAMINA_MUTANT("compaction.late_ends_lost")) continue;
      storage::sst::ReadCounters counters;
      ARROW_ASSIGN_OR_RAISE(const auto vector, context_.files->Deletions(*it, &counters));
      for (const auto& e : vector->rows()) {
        const SystemTime before =
            c->deletions() == nullptr ? SystemTime::Max() : c->deletions()->EndOf(e.ordinal);
        if (before == e.ended_at) continue;
        const Place place = c->places()[e.ordinal];
        if (place.file == kNowhere) continue;
        auto& late = (place.file & kHistoryBit) != 0 ? late_history[place.file & ~kHistoryBit]
                                                     : late_current[place.file];
        late.push_back({place.ordinal, e.ended_at});
      }
    }
    for (const auto& f : now) {
      if (f->kind != FileKind::kCurrent || f->level != plan_.output_level ||
          plan_.output_level == 0 ||
          std::any_of(cursors_.begin(), cursors_.end(),
                      [&](const auto& c) { return c->file()->id == f->id; })) {
        continue;
      }
      // Nobody else writes into deeper levels, but loads.
      for (const auto& output : current_->files()) {
        if (output.min_key > f->max_key || output.max_key < f->min_key) continue;
        LAMINA_REACHED("engine.compaction.load_meanwhile");
        return MakeError(ErrorCode::kConflict,
                         fmt::format("a load came into the compaction's way: file={}", f->Path()));
      }
    }
    auto& edit = out_.edit;
    edit.reason = "compact";
    edit.created_micros = context_.clock->NowMicros();
    for (const auto& c : cursors_) edit.remove_files.emplace_back(plan_.table, c->file()->id);

    std::vector<storage::DataFile> files;
    storage::sst::DeletionVectorPack pack;
    const auto take = [&](FileSequence& sequence,
                          std::vector<std::vector<EndedRow>>& late) -> Status {
      for (size_t i = 0; i < sequence.files().size(); ++i) {
        files.push_back(sequence.files()[i]);
        if (late[i].empty()) continue;
        std::sort(late[i].begin(), late[i].end(),
                  [](const auto& a, const auto& b) { return a.ordinal < b.ordinal; });
        ARROW_ASSIGN_OR_RAISE(
            auto vector, storage::sst::DeletionVector::Make(std::move(late[i]), files.back().rows));
        pack.Add(files.back().id, std::move(vector));
      }
      return Status::OK();
    };
    ARROW_RETURN_NOT_OK(take(*current_, late_current));
    ARROW_RETURN_NOT_OK(take(*history_, late_history));
    if (!pack.empty()) {
      const base::Ulid object = context_.ulids->Next();
      out_.written.push_back(storage::DeletionVectorPath(plan_.table, object));
      ARROW_ASSIGN_OR_RAISE(const auto refs, pack.Write(context_.store.get(), plan_.table, object));
      for (auto& file : files) {
        for (const auto& [id, ref] : refs) {
          if (id == file.id) file.deletions = ref;
        }
      }
    }
    for (auto& file : files) {
      out_.stats.bytes_out += file.bytes;
      ++out_.stats.files_out;
      edit.add_files.push_back(std::move(file));
    }
    return std::move(out_);  // a copy would be made in a constructor of Arrow's that may not throw
  }

  const JobContext context_;
  const storage::manifest::VersionPtr base_;
  const CompactionPlan plan_;
  catalog::TableSchemaPtr table_;
  SystemTime floor_ = SystemTime::Min();
  std::optional<std::string> last_key_;  // of plan_.one_row_a_key
  JobResult out_;
  std::vector<std::unique_ptr<Cursor>> cursors_;
  std::unique_ptr<FileSequence> current_;
  std::unique_ptr<FileSequence> history_;
  Outgoing current_rows_;
  Outgoing history_rows_;
  uint64_t kept_rows_ = 0;
  uint64_t kept_hash_ = 0;
  uint64_t written_hash_ = 0;
};

}  // namespace

std::unique_ptr<CompactionJob> CompactionJob::Make(JobContext context,
                                                   storage::manifest::VersionPtr base,
                                                   CompactionPlan plan) {
  return std::make_unique<Job>(std::move(context), std::move(base), std::move(plan));
}

}  // namespace lamina::engine
