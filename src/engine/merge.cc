// Merging sources by key.
//
//   1. Each source stands at a position: a row of its block, or, while no block is loaded, a bound
//      that no row to come is below.
//   2. The source at the least position is the winner. If it only has a bound, its next block is
//      loaded, and the choice repeats.
//   3. The least position of the others is the limit. A block that ends below it goes out whole,
//      its keys never encoded.
//   4. Otherwise the winner's rows below the limit are found by galloping and noted as a run; noted
//      runs become a batch when it is full or when a block they lie in is used up.
#include <algorithm>
#include <numeric>
#include <tuple>

#include <arrow/array/concatenate.h>

#include "base/check.h"
#include "base/mutant.h"
#include "engine/scan_internal.h"
#include "engine/selection_internal.h"
#include "storage/sst/row_batch.h"

namespace lamina::engine::internal {
namespace {

// Runs of at least this many rows on average are joined as slices; shorter ones are cheaper to
// gather row by row.
constexpr int64_t kSliceRowsMin = 32;

}  // namespace

struct RowMerger::Cursor {
  std::unique_ptr<RowSource> source;
  bool loaded = false;
  bool done = false;
  std::string bound;
  Block block;
  int64_t position = 0;
  const int64_t* valid_from = nullptr;
  const int64_t* system_from = nullptr;

  struct Place {
    std::string_view key;
    int64_t valid_from = INT64_MIN;
    int64_t system_from = INT64_MIN;
    friend auto operator<=>(const Place&, const Place&) = default;
  };

  Place At(int64_t row) const {
    const std::string_view key =
        row == 0 || block.keys == nullptr ? block.first_key : block.keys->GetView(row);
    if (valid_from == nullptr) return {key};
    return {key, valid_from[row], system_from[row]};
  }
  Place Current() const { return loaded ? At(position) : Place{bound}; }

  // One past the last row at or after `position` that lies below `limit`. Keys are encoded.
  int64_t RowsBelow(const Place& limit) const {
    const int64_t rows = block.rows->num_rows();
    int64_t low = position;
    int64_t high = position;
    int64_t step = 1;
    while (high < rows && At(high) < limit) {
      low = high + 1;
      high += step;
      step *= 2;
    }
    high = std::min(high, rows);
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (At(middle) < limit) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
};

struct RowMerger::Run {
  Cursor* cursor;
  int64_t first;
  int64_t last;
};

RowMerger::RowMerger(ScanContext* context, std::vector<std::unique_ptr<RowSource>> sources)
    : context_(context) {
  for (auto& source : sources) {
    auto cursor = std::make_unique<Cursor>();
    cursor->source = std::move(source);
    cursors_.push_back(std::move(cursor));
  }
  if (!context->spec.ordered) return;
  for (auto& cursor : cursors_) {
    std::optional<std::string> bound = cursor->source->NextBound();
    cursor->done = !bound.has_value();
    if (bound.has_value()) cursor->bound = std::move(*bound);
  }
}

RowMerger::~RowMerger() = default;

Result<BatchPtr> RowMerger::Next() {
  return context_->spec.ordered ? NextOrdered() : NextUnordered();
}

Result<BatchPtr> RowMerger::NextUnordered() {
  while (current_ < cursors_.size()) {
    ARROW_ASSIGN_OR_RAISE(std::optional<Block> block, cursors_[current_]->source->Next());
    if (block.has_value()) return block->rows;
    cursors_[current_++].reset();
  }
  return nullptr;
}

Status RowMerger::Load(Cursor* cursor) {
  ARROW_ASSIGN_OR_RAISE(std::optional<Block> block, cursor->source->Next());
  cursor->loaded = block.has_value();
  cursor->done = !block.has_value();
  if (cursor->done) return Status::OK();
  cursor->block = std::move(*block);
  cursor->position = 0;
  if (context_->merge_by_times) {
    const auto times = storage::sst::TimeColumns::Of(*cursor->block.rows);
    cursor->valid_from = times.valid_from;
    cursor->system_from = times.system_from;
  }
  return Status::OK();
}

Result<BatchPtr> RowMerger::TakePending() {
  std::vector<Run> runs = std::exchange(pending_, {});
  const int64_t rows = std::exchange(pending_rows_, 0);
  const auto slice = [](const Run& run) {
    return run.cursor->block.rows->Slice(run.first, run.last - run.first);
  };
  if (runs.size() == 1) return slice(runs[0]);
  if (rows >= kSliceRowsMin * static_cast<int64_t>(runs.size()) || context_->emit_columns.empty()) {
    arrow::RecordBatchVector slices;
    for (const Run& run : runs) slices.push_back(slice(run));
    return arrow::ConcatenateRecordBatches(slices);
  }
  // Runs of one source follow each other without a gap, so that each source gives one slice.
  struct Part {
    Cursor* cursor;
    int64_t first;
    int64_t last;
    int64_t start = 0;
  };
  std::vector<Part> parts;
  const auto part_of = [&](const Cursor* cursor) {
    return std::find_if(parts.begin(), parts.end(),
                        [&](const Part& part) { return part.cursor == cursor; });
  };
  for (const Run& run : runs) {
    const auto part = part_of(run.cursor);
    if (part == parts.end()) {
      parts.push_back({run.cursor, run.first, run.last});
    } else {
      part->last = run.last;
    }
  }
  arrow::RecordBatchVector slices;
  int64_t start = 0;
  for (Part& part : parts) {
    part.start = start - part.first;
    start += part.last - part.first;
    slices.push_back(part.cursor->block.rows->Slice(part.first, part.last - part.first));
  }
  std::vector<int64_t> indices(static_cast<size_t>(rows));
  auto next = indices.begin();
  for (const Run& run : runs) {
    const auto end = next + (run.last - run.first);
    std::iota(next, end, part_of(run.cursor)->start + run.first);
    next = end;
  }
  ARROW_ASSIGN_OR_RAISE(const BatchPtr joined, arrow::ConcatenateRecordBatches(slices));
  return TakeRows(joined, indices);
}

Result<BatchPtr> RowMerger::NextOrdered() {
  while (true) {
    Cursor* winner = nullptr;
    const Cursor* second = nullptr;
    for (auto& cursor : cursors_) {
      if (cursor->done) continue;
      // A bound comes before a row at the same place: what is behind it may be equal.
      if (winner == nullptr || cursor->Current() < winner->Current() ||
          (!cursor->loaded && winner->loaded && cursor->Current() == winner->Current())) {
        second = winner;
        winner = cursor.get();
      } else if (second == nullptr || cursor->Current() < second->Current()) {
        second = cursor.get();
      }
    }
    if (winner == nullptr) return pending_.empty() ? Result<BatchPtr>(nullptr) : TakePending();
    if (!winner->loaded) {
      ARROW_RETURN_NOT_OK(Load(winner));
      continue;
    }

    Block& block = winner->block;
    const int64_t rows = block.rows->num_rows();
    int64_t last = rows;
    if (second != nullptr &&
        (LAMINA_MUTANT("merge.equal_key_goes_whole") ? block.last_key > second->Current().key
                                                     : block.last_key >= second->Current().key)) {
      if (block.keys == nullptr) {
        LAMINA_CHECK(block.key_rows != nullptr);
        ARROW_ASSIGN_OR_RAISE(block.keys, context_->codec.Encode(*block.key_rows));
      }
      last = winner->RowsBelow(second->Current());
      // Equal places (which no two versions of one key have) still move on.
      last = std::max(last, winner->position + 1);
    }
    pending_.push_back({winner, winner->position, last});
    pending_rows_ += last - winner->position;
    winner->position = last;
    const bool used_up = last == rows;
    BatchPtr batch;
    if (used_up || pending_rows_ >= context_->spec.batch_rows) {
      ARROW_ASSIGN_OR_RAISE(batch, TakePending());
    }
    if (used_up) {
      std::optional<std::string> bound = winner->source->NextBound();
      winner->loaded = false;
      winner->done = !bound.has_value();
      if (bound.has_value()) {
        // Without keys, last_key is only the file's: what is left of the file may lie below it.
        const bool has_keys = block.key_rows != nullptr || block.keys != nullptr;
        winner->bound = has_keys ? std::max(*bound, block.last_key) : *bound;
      }
      winner->block = {};
      winner->valid_from = winner->system_from = nullptr;
    }
    if (batch != nullptr) return batch;
  }
}

}  // namespace lamina::engine::internal
