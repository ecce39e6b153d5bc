#include "sql/insert_rows.h"

#include <utility>

#include <arrow/util/byte_size.h>

#include "sql/error_translation.h"
#include "sql/table_writer.h"

namespace lamina::sql {
namespace {

// From here on a commit past the log costs less than one through it.
constexpr int64_t kManyRows = 100'000;
constexpr int64_t kManyBytes = int64_t{32} << 20;
// Of one file. Two of them a thread are in memory.
constexpr int64_t kRunRows = 1'000'000;
constexpr int64_t kRunBytes = int64_t{96} << 20;
// A batch is handed over in parts of this size.
constexpr int64_t kPartBytes = int64_t{16} << 20;

uint64_t NumberOf(const duckdb::optional_idx& index) {
  return index.IsValid() ? index.GetIndex() : 0;
}

int64_t BytesOf(const arrow::RecordBatch& rows) {
  return arrow::util::ReferencedBufferSize(rows).ValueOr(0);
}

}  // namespace

InsertRows::InsertRows(duckdb::ClientContext& context, LaminaTransaction& transaction,
                       const LaminaTableEntry& table, bool may_load, InsertFew insert_few)
    : context_(context),
      transaction_(transaction),
      table_(table),
      may_load_(may_load),
      insert_few_(std::move(insert_few)) {}

void InsertRows::Add(Local* local, std::shared_ptr<arrow::RecordBatch> rows,
                     const duckdb::SourcePartitionInfo& info) {
  if (!may_load_) {
    const LaminaTransaction::Lock lock(transaction_);
    insert_few_(rows);
    return;
  }
  local->batch_ = NumberOf(info.batch_index);
  local->row_count_ += rows->num_rows();
  local->bytes_ += BytesOf(*rows);
  local->rows_.push_back(std::move(rows));
  if (local->bytes_ >= kPartBytes) EndBatch(local, info);
}

void InsertRows::EndBatch(Local* local, const duckdb::SourcePartitionInfo& info) {
  if (local->rows_.empty()) return;
  std::vector<Piece> run;
  {
    std::vector<Piece> pieces;
    if (loading_.load(std::memory_order_acquire) != nullptr) {
      pieces = Prepare(local->rows_);
    } else {
      for (auto& rows : local->rows_) pieces.push_back({std::move(rows), nullptr});
    }
    base::MutexLock lock(&mu_);
    if (load_ != nullptr && pieces.front().keys == nullptr) {
      // It began meanwhile. Tables without a key have none until they are numbered.
      std::vector<std::shared_ptr<arrow::RecordBatch>> rows;
      for (Piece& piece : pieces) rows.push_back(std::move(piece.rows));
      pieces = Prepare(rows);
    }
    auto& held = held_[local->batch_];
    held.insert(held.end(), std::make_move_iterator(pieces.begin()),
                std::make_move_iterator(pieces.end()));
    held_rows_ += std::exchange(local->row_count_, 0);
    held_bytes_ += std::exchange(local->bytes_, 0);
    local->rows_.clear();
    if (load_ == nullptr) {
      if (held_rows_ < kManyRows && held_bytes_ < kManyBytes) return;
      BeginLoad();
    }
    // What is held of the batch that the slowest thread is at follows on all before it.
    run = TakeRun(NumberOf(info.min_batch_index), /*all=*/false);
  }
  Write(run);
}

void InsertRows::Write(const std::vector<Piece>& run) {
  if (run.empty()) return;
  ThrowIfError(AsKeyViolation(table_, loading_.load()->Write(run)));
  if (dependents_ != nullptr) dependents_->Write(run);
}

std::vector<InsertRows::Piece> InsertRows::Prepare(
    const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows) const {
  std::vector<Piece> out;
  for (const auto& batch : rows) {
    auto piece = loading_.load(std::memory_order_acquire)->Prepare(batch);
    ThrowIfError(AsKeyViolation(table_, piece.status()));
    out.push_back(*std::move(piece));
  }
  return out;
}

void InsertRows::BeginLoad() {
  {
    const LaminaTransaction::Lock lock(transaction_);
    const auto cancelled = [context = &context_] { return context->IsInterrupted(); };
    load_ =
        ValueOrThrow(transaction_.data().BeginLoad(table_.table().name, {.cancelled = cancelled}));
    const Dependents& dependents = table_.dependents();
    if (!dependents.indexes.empty() || !dependents.foreign_keys.empty())
      dependents_ = std::make_unique<LoadDependents>(transaction_, table_, cancelled);
  }
  loading_.store(load_.get(), std::memory_order_release);
  for (auto& [batch, pieces] : held_) {
    std::vector<std::shared_ptr<arrow::RecordBatch>> rows;
    for (Piece& piece : pieces) rows.push_back(std::move(piece.rows));
    pieces = Prepare(rows);
  }
}

std::vector<InsertRows::Piece> InsertRows::TakeRun(uint64_t last, bool all) {
  if (!all && held_rows_ < kRunRows && held_bytes_ < kRunBytes) return {};
  std::vector<Piece> run;
  const auto end = all ? held_.end() : held_.upper_bound(last);
  int64_t rows = 0;
  int64_t bytes = 0;
  for (auto it = held_.begin(); it != end; ++it) {
    for (const Piece& piece : it->second) {
      rows += piece.rows->num_rows();
      bytes += BytesOf(*piece.rows);
    }
  }
  // Too much behind a thread that is slow to finish its batch makes small files, not large memory.
  const bool crowded = held_rows_ >= 4 * kRunRows || held_bytes_ >= 4 * kRunBytes;
  if (!all && !crowded && rows < kRunRows && bytes < kRunBytes) return {};
  for (auto it = held_.begin(); it != end; it = held_.erase(it))
    run.insert(run.end(), std::make_move_iterator(it->second.begin()),
               std::make_move_iterator(it->second.end()));
  held_rows_ -= rows;
  held_bytes_ -= bytes;
  if (run.empty()) return run;
  const LaminaTransaction::Lock lock(transaction_);
  ThrowIfError(load_->Number(&run));
  return run;
}

void InsertRows::Finish() {
  if (!may_load_) return;
  std::vector<Piece> run;
  db::TableLoad* load = loading_.load();
  {
    base::MutexLock lock(&mu_);
    if (load == nullptr) {
      const LaminaTransaction::Lock transaction_lock(transaction_);
      for (const auto& [batch, pieces] : held_)
        for (const Piece& piece : pieces) insert_few_(piece.rows);
      held_.clear();
      return;
    }
    run = TakeRun(0, /*all=*/true);
  }
  Write(run);
  const LaminaTransaction::Lock lock(transaction_);
  ThrowIfError(AsKeyViolation(table_, load->Finish()));
  if (dependents_ != nullptr) dependents_->Finish(*load);
}

}  // namespace lamina::sql
