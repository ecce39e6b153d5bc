#include <bit>

#include <arrow/buffer.h>
#include <arrow/compute/api_vector.h>
#include <arrow/datum.h>

#include "base/check.h"
#include "engine/selection_internal.h"

namespace lamina::engine::internal {
namespace {

// Clears, word by word, the bits of rows for which `keep(row)` is false. Words without a chosen row
// are not looked at.
template <typename Keep>
void KeepWhere(std::vector<uint64_t>* words, int64_t rows, Keep keep) {
  for (size_t w = 0; w < words->size(); ++w) {
    uint64_t& word = (*words)[w];
    if (word == 0) continue;
    const int64_t base = static_cast<int64_t>(w) * 64;
    const int64_t count = std::min<int64_t>(64, rows - base);
    uint64_t bits = 0;
    for (int64_t i = 0; i < count; ++i) bits |= static_cast<uint64_t>(keep(base + i)) << i;
    word &= bits;
  }
}

}  // namespace

void Selection::Reset(int64_t rows) {
  rows_ = rows;
  words_.assign(static_cast<size_t>((rows + 63) / 64), ~uint64_t{0});
  if ((rows & 63) != 0) words_.back() = (uint64_t{1} << (rows & 63)) - 1;
}

int64_t Selection::Count() const {
  int64_t count = 0;
  for (const uint64_t word : words_) count += std::popcount(word);
  return count;
}

bool Selection::None() const {
  for (const uint64_t word : words_) {
    if (word != 0) return false;
  }
  return true;
}

void Selection::ClearRange(int64_t first, int64_t last) {
  for (int64_t row = first; row < last; ++row) Clear(row);
}

void Selection::KeepLess(const int64_t* values, int64_t bound) {
  KeepWhere(&words_, rows_, [=](int64_t i) { return values[i] < bound; });
}

void Selection::KeepGreater(const int64_t* values, int64_t bound) {
  KeepWhere(&words_, rows_, [=](int64_t i) { return values[i] > bound; });
}

void Selection::ClearBits(const std::vector<uint64_t>& words, uint64_t first) {
  const size_t start = static_cast<size_t>(first >> 6);
  const unsigned shift = static_cast<unsigned>(first & 63);
  for (size_t w = 0; w < words_.size(); ++w) {
    if (start + w >= words.size()) break;
    uint64_t bits = words[start + w] >> shift;
    if (shift != 0 && start + w + 1 < words.size()) bits |= words[start + w + 1] << (64 - shift);
    words_[w] &= ~bits;
  }
}

void Selection::KeepTrue(const arrow::BooleanArray& values) {
  LAMINA_CHECK(values.length() == rows_);
  if (values.null_count() == 0) {
    KeepWhere(&words_, rows_, [&](int64_t i) { return values.Value(i); });
  } else {
    KeepWhere(&words_, rows_, [&](int64_t i) { return values.IsValid(i) && values.Value(i); });
  }
}

std::pair<int64_t, int64_t> Selection::Extent() const {
  size_t first = 0;
  while (first < words_.size() && words_[first] == 0) ++first;
  if (first == words_.size()) return {0, 0};
  size_t last = words_.size() - 1;
  while (words_[last] == 0) --last;
  return {static_cast<int64_t>(first) * 64 + std::countr_zero(words_[first]),
          static_cast<int64_t>(last) * 64 + 64 - std::countl_zero(words_[last])};
}

std::shared_ptr<arrow::BooleanArray> Selection::ToArray() const {
  static_assert(std::endian::native == std::endian::little, "a bitmap's words are its bytes");
  return std::make_shared<arrow::BooleanArray>(
      rows_, arrow::Buffer::Wrap(words_.data(), words_.size()), nullptr, 0);
}

Result<std::shared_ptr<arrow::RecordBatch>> FilterBatch(
    const std::shared_ptr<arrow::RecordBatch>& batch, const Selection& selection) {
  const int64_t count = selection.Count();
  if (count == batch->num_rows()) return batch;
  const auto [first, last] = selection.Extent();
  if (last - first == count) return batch->Slice(first, count);
  if (batch->num_columns() == 0)
    return arrow::RecordBatch::Make(batch->schema(), count, arrow::ArrayVector{});
  // The bitmap is only read inside the call, so that it may lie in the selection's own memory.
  ARROW_ASSIGN_OR_RAISE(
      const arrow::Datum filtered,
      arrow::compute::Filter(arrow::Datum(batch), arrow::Datum(selection.ToArray())));
  return filtered.record_batch();
}

Result<std::shared_ptr<arrow::RecordBatch>> TakeRows(
    const std::shared_ptr<arrow::RecordBatch>& batch, const std::vector<int64_t>& indices) {
  const auto count = static_cast<int64_t>(indices.size());
  if (batch->num_columns() == 0)
    return arrow::RecordBatch::Make(batch->schema(), count, arrow::ArrayVector{});
  const arrow::Int64Array positions(count, arrow::Buffer::Wrap(indices.data(), indices.size()));
  ARROW_ASSIGN_OR_RAISE(const arrow::Datum taken,
                        arrow::compute::Take(arrow::Datum(batch), arrow::Datum(positions.data()),
                                             arrow::compute::TakeOptions::NoBoundsCheck()));
  return taken.record_batch();
}

}  // namespace lamina::engine::internal
