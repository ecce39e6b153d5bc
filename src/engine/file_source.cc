// One data file as a source of rows.
//
//   1. Open: Bloom filter (one key), pages of the key range, exact first row; pages dropped by
//      times and statistics.
//   2. A raw batch is cut to the key range. Rows outside the window are cleared by the deletion
//      vector and by those time columns that the manifest's bounds have not answered for the whole
//      file.
//   3. Where keys of the batch have unresolved facts: rows of decided keys are cleared, or open
//      rows are replaced by their pieces.
//   4. The predicate; then one copy of the rows left, none when they lie side by side.
//
// A batch to which nothing of this applies goes through as it was read.
#include <algorithm>

#include <arrow/buffer.h>

#include "base/check.h"
#include "base/mutant.h"
#include "engine/overlay_internal.h"
#include "engine/scan_internal.h"
#include "engine/selection_internal.h"
#include "storage/sst/row_batch.h"

namespace lamina::engine::internal {
namespace {

using storage::DataFilePtr;
using storage::FileKind;
using storage::sst::DeletionVectorPtr;
using storage::sst::FileReader;
using storage::sst::FileReaderPtr;
using storage::sst::PageRows;
using storage::sst::PageRun;
using storage::sst::PageSet;
using storage::sst::RowRange;

// Reads of so few pages go through the decoded-page cache: short ranges are asked for again and
// again.
constexpr uint32_t kCachedPagesMax = 4;

constexpr int64_t kOpen = SystemTime::Max().micros;

uint32_t CountPages(const PageSet& pages) {
  uint32_t count = 0;
  for (const PageRun& run : pages) count += run.last - run.first;
  return count;
}

// Takes the first `count` pages off.
PageSet TakeFront(PageSet* pages, uint32_t count) {
  PageSet front;
  size_t used = 0;
  while (used < pages->size() && count > 0) {
    PageRun& run = (*pages)[used];
    const uint32_t taken = std::min(count, run.last - run.first);
    front.push_back({run.first, run.first + taken});
    run.first += taken;
    count -= taken;
    if (run.first == run.last) ++used;
  }
  pages->erase(pages->begin(), pages->begin() + static_cast<ptrdiff_t>(used));
  return front;
}

std::shared_ptr<arrow::Array> TimeArray(std::shared_ptr<arrow::Buffer> buffer, int64_t length) {
  return arrow::MakeArray(
      arrow::ArrayData::Make(storage::sst::TimeType(), length, {nullptr, std::move(buffer)}, 0));
}

class FileSource : public RowSource {
 public:
  FileSource(ScanContext* context, DataFilePtr file, const Overlay* overlay, bool needs_keys)
      : context_(context), file_(std::move(file)), overlay_(overlay), emits_keys_(needs_keys) {
    const ScanSpec& spec = context->spec;
    touched_ = overlay != nullptr && overlay->Touches(file_->min_key, file_->max_key);
    cuts_ = touched_ && !overlay->decided();
    carries_ = cuts_ && spec.ordered && !context->moment;

    const temporal::Window& window = spec.window;
    tests_.system_from = file_->max_system_from >= window.system.to;
    tests_.system_to =
        file_->kind == FileKind::kHistory && file_->min_system_to <= window.system.from;
    tests_.valid_from = file_->has_valid_columns && file_->max_valid_from >= window.valid.to;
    tests_.valid_to = file_->has_valid_columns && file_->min_valid_to <= window.valid.from;

    read_columns_ = context->emit_columns;
    if (spec.predicate != nullptr) {
      for (const std::string& name : spec.predicate->columns()) AddColumnName(&read_columns_, name);
    }
    if (touched_ || emits_keys_) {
      for (const std::string& name : context->key_columns) AddColumnName(&read_columns_, name);
    }
    if (tests_.system_from || cuts_) AddColumnName(&read_columns_, catalog::kSystemFromColumn);
    if (tests_.system_to || cuts_) AddColumnName(&read_columns_, catalog::kSystemToColumn);
    if (tests_.valid_from || cuts_) AddColumnName(&read_columns_, catalog::kValidFromColumn);
    if (tests_.valid_to || cuts_) AddColumnName(&read_columns_, catalog::kValidToColumn);

    for (size_t i = 0; i < read_columns_.size(); ++i) {
      if (read_columns_[i] == catalog::kSystemToColumn) system_to_column_ = static_cast<int>(i);
    }
    // The emitted columns come first; the key columns lie anywhere.
    for (const std::string& name : context->key_columns) {
      const auto it = std::find(read_columns_.begin(), read_columns_.end(), name);
      if (it != read_columns_.end())
        key_positions_.push_back(static_cast<int>(it - read_columns_.begin()));
    }
    bound_ = std::max(file_->min_key, spec.keys.from);
  }

  std::optional<std::string> NextBound() override {
    if (finished_) return std::nullopt;
    return bound_;
  }

  Result<std::optional<Block>> Next() override {
    if (!opened_) ARROW_RETURN_NOT_OK(Open());
    while (!finished_) {
      if (context_->rows_left == 0) {
        finished_ = true;
        break;
      }
      ARROW_ASSIGN_OR_RAISE(PageRows raw, NextRaw());
      std::optional<Block> block;
      if (raw.rows == nullptr) {
        finished_ = true;
        if (carry_ == nullptr) break;
        ARROW_ASSIGN_OR_RAISE(block, CutRows(nullptr));
      } else {
        ARROW_ASSIGN_OR_RAISE(block, Process(raw));
      }
      if (block.has_value()) {
        if (emits_keys_) bound_ = block->last_key;
        return block;
      }
    }
    return std::nullopt;
  }

 private:
  Status Open() {
    opened_ = true;
    storage::sst::ReadCounters* io = &context_->profile.io;
    const ScanSpec& spec = context_->spec;
    ARROW_ASSIGN_OR_RAISE(reader_, context_->files->Open(file_, io));
    rows_.last = file_->rows;
    if (context_->single_key.has_value()) {
      const std::string_view key = *context_->single_key;
      if (!reader_->KeyMayExist(key, context_->single_key_hash, io)) return Finish();
      ARROW_ASSIGN_OR_RAISE(rows_, reader_->FindKey(key, io));
      if (rows_.empty()) return Finish();
      const uint32_t per_page = reader_->rows_per_page();
      pages_ = {{static_cast<uint32_t>(rows_.first / per_page),
                 static_cast<uint32_t>((rows_.last - 1) / per_page) + 1}};
    } else {
      pages_ = reader_->PagesInKeyRange(spec.keys);
      io->pages_pruned += reader_->page_count() - CountPages(pages_);
      if (pages_.empty()) return Finish();
      if (file_->min_key < spec.keys.from) ARROW_RETURN_NOT_OK(FindFirstRow());
      if (pages_.empty()) return Finish();
      if (!spec.keys.unbounded_to && file_->max_key >= spec.keys.to)
        key_pages_last_ = pages_.back().last - 1;
    }
    ARROW_ASSIGN_OR_RAISE(deletions_, context_->files->Deletions(file_, io));
    if (spec.use_pruning) {
      const temporal::Window& window = spec.window;
      pages_ = reader_->PruneTimes(pages_, window.system.from, window.system.to, window.valid.from,
                                   window.valid.to, io);
      if (spec.predicate != nullptr && StatisticsHold())
        pages_ = reader_->Prune(pages_, *spec.predicate, io, spec.table.get());
      if (pages_.empty()) return Finish();
    }
    const bool latest_deletions =
        deletions_ != nullptr &&
        (file_->kind == FileKind::kHistory || deletions_->max_ended() <= window_from());
    ends_vary_ = deletions_ != nullptr && !latest_deletions;
    if (context_->rows_left.has_value()) {
      // As many pages as would do if every row passed; then twice as many each time.
      const auto per_page = static_cast<int64_t>(reader_->rows_per_page());
      step_pages_ = static_cast<uint32_t>(std::clamp<int64_t>(
          (*context_->rows_left + per_page - 1) / per_page, 1, CountPages(pages_)));
    }
    return Status::OK();
  }

  Status Finish() {
    finished_ = true;
    return Status::OK();
  }

  SystemTime window_from() const { return context_->spec.window.system.from; }

  // False when statistics speak of values that deletions or facts have changed since.
  bool StatisticsHold() const {
    if (cuts_ && (context_->PredicateReads(catalog::kValidFromColumn) ||
                  context_->PredicateReads(catalog::kValidToColumn) ||
                  context_->PredicateReads(catalog::kSystemToColumn))) {
      return false;
    }
    const bool ends_hold = deletions_ == nullptr && context_->spec.newest == SystemTime::Max();
    return ends_hold || !context_->PredicateReads(catalog::kSystemToColumn);
  }

  // The first row at or above the key range's start.
  Status FindFirstRow() {
    while (!pages_.empty()) {
      const uint32_t page = pages_.front().first;
      ARROW_ASSIGN_OR_RAISE(const auto keys, reader_->PageKeys(page, &context_->profile.io));
      const int64_t row = LowerBound(*keys, context_->spec.keys.from);
      rows_.first =
          static_cast<uint64_t>(page) * reader_->rows_per_page() + static_cast<uint64_t>(row);
      if (row < keys->length()) break;
      TakeFront(&pages_, 1);
    }
    return Status::OK();
  }

  // The end of the key range inside the last page that may hold it: looked for when a batch comes
  // near, as a limit may stop before.
  Status FindLastRow() {
    const uint32_t page = *key_pages_last_;
    key_pages_last_.reset();
    ARROW_ASSIGN_OR_RAISE(const auto keys, reader_->PageKeys(page, &context_->profile.io));
    rows_.last = static_cast<uint64_t>(page) * reader_->rows_per_page() +
                 static_cast<uint64_t>(LowerBound(*keys, context_->spec.keys.to));
    return Status::OK();
  }

  Result<PageRows> NextRaw() {
    while (true) {
      if (cached_pages_.empty() && stream_ == nullptr && !synthetic_.has_value()) {
        if (pages_.empty()) return PageRows{};
        PageSet next =
            step_pages_ == 0 ? std::exchange(pages_, {}) : TakeFront(&pages_, step_pages_);
        step_pages_ *= 2;
        if (read_columns_.empty()) {
          synthetic_ = std::move(next);
        } else if (CountPages(next) <= kCachedPagesMax) {
          cached_pages_ = std::move(next);
        } else {
          ARROW_ASSIGN_OR_RAISE(stream_,
                                reader_->Read(next, context_->spec.table, read_columns_,
                                              context_->spec.batch_rows, &context_->profile.io));
        }
      }
      PageRows raw;
      if (synthetic_.has_value()) {
        raw = NextCounted();
        if (raw.rows == nullptr) synthetic_.reset();
      } else if (!cached_pages_.empty()) {
        const PageSet page = TakeFront(&cached_pages_, 1);
        ARROW_ASSIGN_OR_RAISE(raw, reader_->ReadPage(page[0].first, *context_->spec.table,
                                                     read_columns_, &context_->profile.io));
      } else {
        ARROW_ASSIGN_OR_RAISE(raw, stream_->Next());
        if (raw.rows == nullptr) stream_.reset();
      }
      if (raw.rows == nullptr) continue;
      ARROW_RETURN_NOT_OK(CutToKeyRange(&raw));
      if (raw.rows->num_rows() > 0) return raw;
    }
  }

  // No column is read: rows are only numbers.
  PageRows NextCounted() {
    if (synthetic_->empty()) return {};
    PageRun& run = synthetic_->front();
    const uint64_t per_page = reader_->rows_per_page();
    if (counted_ < run.first * per_page) counted_ = run.first * per_page;
    const uint64_t end = std::min<uint64_t>(run.last * per_page, file_->rows);
    const uint64_t count =
        std::min<uint64_t>(end - counted_, static_cast<uint64_t>(context_->spec.batch_rows));
    PageRows raw{counted_,
                 arrow::RecordBatch::Make(arrow::schema(arrow::FieldVector{}),
                                          static_cast<int64_t>(count), arrow::ArrayVector{})};
    counted_ += count;
    if (counted_ == end) synthetic_->erase(synthetic_->begin());
    return raw;
  }

  Status CutToKeyRange(PageRows* raw) {
    uint64_t first = raw->first_ordinal;
    uint64_t last = first + static_cast<uint64_t>(raw->rows->num_rows());
    if (key_pages_last_.has_value() &&
        last > static_cast<uint64_t>(*key_pages_last_) * reader_->rows_per_page()) {
      ARROW_RETURN_NOT_OK(FindLastRow());
    }
    if (first >= rows_.first && last <= rows_.last) return Status::OK();
    first = std::clamp(rows_.first, first, last);
    last = std::max(first, std::min(last, rows_.last));
    raw->rows = raw->rows->Slice(static_cast<int64_t>(first - raw->first_ordinal),
                                 static_cast<int64_t>(last - first));
    raw->first_ordinal = first;
    return Status::OK();
  }

  // Clears the rows that the window does not meet.
  void TestTimes(const PageRows& raw) {
    const temporal::Window& window = context_->spec.window;
    if (deletions_ != nullptr) {
      if (!ends_vary_) {
        selection_.ClearBits(deletions_->words(), raw.first_ordinal);
      } else {
        const uint64_t last = raw.first_ordinal + static_cast<uint64_t>(raw.rows->num_rows());
        for (const storage::sst::EndedRow& ended : deletions_->RowsIn(raw.first_ordinal, last)) {
          // Of every moment: kRewritten is at or below any window's start.
          if (ended.ended_at <= window.system.from) {
            selection_.Clear(static_cast<int64_t>(ended.ordinal - raw.first_ordinal));
          }
        }
      }
    }
    if (!tests_.any()) return;
    const auto times = storage::sst::TimeColumns::Of(*raw.rows);
    if (tests_.system_from) selection_.KeepLess(times.system_from, window.system.to.micros);
    if (tests_.system_to) selection_.KeepGreater(times.system_to, window.system.from.micros);
    if (tests_.valid_from) selection_.KeepLess(times.valid_from, window.valid.to.micros);
    if (tests_.valid_to)
      selection_.KeepGreater(times.valid_to, window.valid.from.micros -
                                                 (LAMINA_MUTANT("scan.valid_to_included") ? 1 : 0));
  }

  // Current files say Max for every row: writes the deletion vector's ends over it.
  Status PutEnds(PageRows* raw) const {
    if (!ends_vary_ || system_to_column_ < 0) return Status::OK();
    const int64_t rows = raw->rows->num_rows();
    const auto ended =
        deletions_->RowsIn(raw->first_ordinal, raw->first_ordinal + static_cast<uint64_t>(rows));
    if (ended.empty()) return Status::OK();
    std::vector<int64_t> ends(static_cast<size_t>(rows), kOpen);
    for (const storage::sst::EndedRow& row : ended)
      ends[row.ordinal - raw->first_ordinal] = row.ended_at.micros;
    arrow::ArrayVector columns = raw->rows->columns();
    columns[static_cast<size_t>(system_to_column_)] =
        TimeArray(arrow::Buffer::FromVector(std::move(ends)), rows);
    raw->rows = arrow::RecordBatch::Make(raw->rows->schema(), rows, std::move(columns));
    return Status::OK();
  }

  Result<std::string> EncodeKey(const BatchPtr& rows, int64_t row) const {
    ARROW_ASSIGN_OR_RAISE(const auto key, context_->codec.Encode(*rows->Slice(row, 1)));
    return key->GetString(0);
  }

  Result<std::optional<Block>> Process(PageRows raw) {
    const int64_t rows = raw.rows->num_rows();
    context_->profile.rows_scanned += static_cast<uint64_t>(rows);
    selection_.Reset(rows);
    TestTimes(raw);
    ARROW_RETURN_NOT_OK(PutEnds(&raw));
    if (selection_.None()) return std::nullopt;
    if (carry_ != nullptr) return CutRows(raw.rows);
    if (touched_) {
      ARROW_ASSIGN_OR_RAISE(const std::string first, EncodeKey(raw.rows, 0));
      next_entry_ = overlay_->LowerBound(first, next_entry_);
      if (next_entry_ == overlay_->size()) {
        touched_ = false;  // The file's keys ascend: nothing of what follows is touched either.
      } else {
        ARROW_ASSIGN_OR_RAISE(const std::string last, EncodeKey(raw.rows, rows - 1));
        if (overlay_->key(next_entry_) <= last) {
          if (cuts_) return CutRows(raw.rows);
          ARROW_RETURN_NOT_OK(ClearDecided(raw.rows));
          if (selection_.None()) return std::nullopt;
        }
      }
    }
    return Filtered(std::move(raw.rows));
  }

  // Clears the rows of keys that a fact decides.
  Status ClearDecided(const BatchPtr& rows) {
    ARROW_ASSIGN_OR_RAISE(const auto keys, context_->codec.Encode(*rows));
    int64_t row = 0;
    size_t entry = next_entry_;
    while (row < keys->length()) {
      entry = overlay_->LowerBound(keys->GetView(row), entry);
      if (entry == overlay_->size()) break;
      row = LowerBound(*keys, overlay_->key(entry), row);
      for (; row < keys->length() && keys->GetView(row) == overlay_->key(entry); ++row)
        selection_.Clear(row);
    }
    return Status::OK();
  }

  // Replaces open rows that unresolved facts touch by what is left of them. `rows` (null: only what
  // was carried) are filtered by the selection first. The rows of a batch's last key wait for the
  // next batch if the order could need it: pieces of a row may come behind the key's next row.
  Result<std::optional<Block>> CutRows(BatchPtr rows) {
    const bool at_end = rows == nullptr;
    if (!at_end) {
      ARROW_ASSIGN_OR_RAISE(rows, FilterBatch(rows, selection_));
    }
    if (carry_ != nullptr) {
      if (at_end) {
        rows = std::exchange(carry_, nullptr);
      } else {
        ARROW_ASSIGN_OR_RAISE(
            rows, arrow::ConcatenateRecordBatches({std::exchange(carry_, nullptr), rows}));
      }
    }
    ARROW_ASSIGN_OR_RAISE(const auto keys, context_->codec.Encode(*rows));
    int64_t count = rows->num_rows();
    if (carries_ && !at_end) {
      const std::string_view last = keys->GetView(count - 1);
      const size_t entry = overlay_->LowerBound(last);
      if (entry < overlay_->size() && overlay_->key(entry) == last) {
        const int64_t start = LowerBound(*keys, last);
        carry_ = rows->Slice(start);
        count = start;
        if (count == 0) return std::nullopt;
      }
    }

    const auto times = storage::sst::TimeColumns::Of(*rows);
    std::vector<int64_t> indices, valid_from, valid_to, system_to;
    const auto keep = [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) indices.push_back(i);
      valid_from.insert(valid_from.end(), times.valid_from + from, times.valid_from + to);
      valid_to.insert(valid_to.end(), times.valid_to + from, times.valid_to + to);
      system_to.insert(system_to.end(), times.system_to + from, times.system_to + to);
    };
    std::vector<temporal::Fact> facts;
    std::vector<temporal::RowVersion> pieces;
    int64_t row = 0;
    size_t entry = overlay_->LowerBound(keys->GetView(0));
    while (row < count && entry < overlay_->size()) {
      const int64_t group = std::min(count, LowerBound(*keys, overlay_->key(entry), row));
      keep(row, group);
      row = group;
      if (row == count) break;
      if (keys->GetView(row) != overlay_->key(entry)) {
        entry = overlay_->LowerBound(keys->GetView(row), entry);
        continue;
      }
      const auto of_key = overlay_->FactsOf(entry, &facts);
      pieces.clear();
      for (; row < count && keys->GetView(row) == overlay_->key(entry); ++row) {
        const temporal::RowVersion version{{{times.valid_from[row]}, {times.valid_to[row]}},
                                           {{times.system_from[row]}, {times.system_to[row]}},
                                           CommitId{},
                                           static_cast<uint64_t>(row)};
        temporal::Cut(version, of_key, &pieces);
      }
      std::erase_if(pieces, [&](const temporal::RowVersion& piece) {
        return !context_->spec.window.Meets(piece.valid, piece.system);
      });
      std::stable_sort(pieces.begin(), pieces.end(), [](const auto& a, const auto& b) {
        return std::tie(a.valid.from, a.system.from) < std::tie(b.valid.from, b.system.from);
      });
      for (const temporal::RowVersion& piece : pieces) {
        indices.push_back(static_cast<int64_t>(piece.payload));
        valid_from.push_back(piece.valid.from.micros);
        valid_to.push_back(piece.valid.to.micros);
        system_to.push_back(piece.system.to.micros);
      }
      ++entry;
    }
    keep(row, count);
    if (indices.empty()) return std::nullopt;

    const auto left = static_cast<int64_t>(indices.size());
    ARROW_ASSIGN_OR_RAISE(BatchPtr cut, TakeRows(rows, indices));
    arrow::ArrayVector columns = cut->columns();
    const auto put = [&](const char* name, std::vector<int64_t> values) {
      const auto it = std::find(read_columns_.begin(), read_columns_.end(), name);
      columns[static_cast<size_t>(it - read_columns_.begin())] =
          TimeArray(arrow::Buffer::FromVector(std::move(values)), left);
    };
    put(catalog::kValidFromColumn, std::move(valid_from));
    put(catalog::kValidToColumn, std::move(valid_to));
    put(catalog::kSystemToColumn, std::move(system_to));
    selection_.Reset(left);
    return Filtered(arrow::RecordBatch::Make(cut->schema(), left, std::move(columns)));
  }

  // Ends that the reader cannot know of yet become open.
  BatchPtr HideLaterEnds(const BatchPtr& rows) const {
    const int64_t newest = context_->spec.newest.micros;
    if (newest == kOpen || system_to_column_ < 0) return rows;
    arrow::ArrayVector columns = rows->columns();
    auto& column = columns[static_cast<size_t>(system_to_column_)];
    const auto* ends = column->data()->GetValues<int64_t>(1);
    std::vector<int64_t> known(ends, ends + rows->num_rows());
    for (int64_t& end : known) end = end > newest ? kOpen : end;
    column = TimeArray(arrow::Buffer::FromVector(std::move(known)), rows->num_rows());
    return arrow::RecordBatch::Make(rows->schema(), rows->num_rows(), std::move(columns));
  }

  // Predicate and projection of the selected rows.
  Result<std::optional<Block>> Filtered(BatchPtr rows) {
    rows = HideLaterEnds(rows);
    if (context_->spec.predicate != nullptr) {
      // With few rows left it is cheaper to copy them first than to test them all.
      if (selection_.Count() * 4 < rows->num_rows()) {
        ARROW_ASSIGN_OR_RAISE(rows, FilterBatch(rows, selection_));
        selection_.Reset(rows->num_rows());
      }
      ARROW_ASSIGN_OR_RAISE(const auto passes, context_->spec.predicate->Evaluate(*rows));
      selection_.KeepTrue(*passes);
      if (selection_.None()) return std::nullopt;
    }
    // Columns that only the tests needed are not copied.
    const size_t emitted = context_->emit_columns.size();
    arrow::ArrayVector kept(rows->columns().begin(),
                            rows->columns().begin() + static_cast<ptrdiff_t>(emitted));
    arrow::FieldVector fields = context_->emit_schema->fields();
    std::vector<int> keys;
    if (emits_keys_) {
      for (size_t k = 0; k < key_positions_.size(); ++k) {
        const auto position = static_cast<size_t>(key_positions_[k]);
        keys.push_back(position < emitted ? key_positions_[k] : static_cast<int>(kept.size()));
        if (position < emitted) continue;
        kept.push_back(rows->column(key_positions_[k]));
        fields.push_back(rows->schema()->field(key_positions_[k]));
      }
    }
    const bool narrow = kept.size() == emitted;
    ARROW_ASSIGN_OR_RAISE(
        BatchPtr out,
        FilterBatch(arrow::RecordBatch::Make(narrow ? context_->emit_schema : arrow::schema(fields),
                                             rows->num_rows(), std::move(kept)),
                    selection_));
    Block block;
    if (narrow) {
      block.rows = out;
    } else {
      arrow::ArrayVector columns(out->columns().begin(),
                                 out->columns().begin() + static_cast<ptrdiff_t>(emitted));
      block.rows =
          arrow::RecordBatch::Make(context_->emit_schema, out->num_rows(), std::move(columns));
    }
    if (emits_keys_) {
      arrow::FieldVector key_fields;
      arrow::ArrayVector key_arrays;
      for (size_t k = 0; k < keys.size(); ++k) {
        key_fields.push_back(arrow::field(context_->key_columns[k], out->column(keys[k])->type()));
        key_arrays.push_back(out->column(keys[k]));
      }
      block.key_rows = arrow::RecordBatch::Make(arrow::schema(key_fields), out->num_rows(),
                                                std::move(key_arrays));
      ARROW_ASSIGN_OR_RAISE(block.first_key, EncodeKey(block.key_rows, 0));
      ARROW_ASSIGN_OR_RAISE(block.last_key, EncodeKey(block.key_rows, out->num_rows() - 1));
    } else {
      block.first_key = file_->min_key;
      block.last_key = file_->max_key;
    }
    return block;
  }

  struct Tests {
    bool system_from = false, system_to = false, valid_from = false, valid_to = false;
    bool any() const { return system_from || system_to || valid_from || valid_to; }
  };

  ScanContext* const context_;
  const DataFilePtr file_;
  const Overlay* const overlay_;
  const bool emits_keys_;
  Tests tests_;
  bool touched_ = false;  // Keys of the file have unresolved facts.
  bool cuts_ = false;     // … that cut rows rather than decide keys.
  bool carries_ = false;
  std::vector<std::string> read_columns_;
  std::vector<int> key_positions_;
  int system_to_column_ = -1;

  bool opened_ = false;
  bool finished_ = false;
  std::string bound_;
  FileReaderPtr reader_;
  DeletionVectorPtr deletions_;
  bool ends_vary_ = false;  // Some rows of the deletion vector are visible in the window.
  RowRange rows_;           // Of the key range; `last` is exact once key_pages_last_ is empty.
  std::optional<uint32_t> key_pages_last_;
  PageSet pages_;
  uint32_t step_pages_ = 0;  // Pages of the next read under a limit; 0: all.
  PageSet cached_pages_;
  std::optional<PageSet> synthetic_;
  uint64_t counted_ = 0;
  std::unique_ptr<FileReader::Stream> stream_;
  size_t next_entry_ = 0;
  BatchPtr carry_;
  Selection selection_;
};

class Chain : public RowSource {
 public:
  explicit Chain(std::vector<std::unique_ptr<RowSource>> sources) : sources_(std::move(sources)) {}

  std::optional<std::string> NextBound() override {
    while (next_ < sources_.size()) {
      std::optional<std::string> bound = sources_[next_]->NextBound();
      if (bound.has_value()) return bound;
      sources_[next_++].reset();
    }
    return std::nullopt;
  }

  Result<std::optional<Block>> Next() override {
    while (next_ < sources_.size()) {
      ARROW_ASSIGN_OR_RAISE(std::optional<Block> block, sources_[next_]->Next());
      if (block.has_value()) return block;
      sources_[next_++].reset();
    }
    return std::nullopt;
  }

 private:
  std::vector<std::unique_ptr<RowSource>> sources_;
  size_t next_ = 0;
};

}  // namespace

std::unique_ptr<RowSource> MakeFileSource(ScanContext* context, DataFilePtr file,
                                          const Overlay* overlay, bool needs_keys) {
  return std::make_unique<FileSource>(context, std::move(file), overlay, needs_keys);
}

std::unique_ptr<RowSource> MakeChain(std::vector<std::unique_ptr<RowSource>> sources) {
  return std::make_unique<Chain>(std::move(sources));
}

}  // namespace lamina::engine::internal
