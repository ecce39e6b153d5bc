// Which rows of a batch go on: a bitmap that tests clear bits of, and the copy at the end.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include "lamina/error.h"

namespace lamina::engine::internal {

/// One bit a row. Starts with every row chosen. One thread; Reset keeps the memory.
class Selection {
 public:
  void Reset(int64_t rows);
  int64_t rows() const { return rows_; }
  int64_t Count() const;
  bool None() const;

  void Clear(int64_t row) { words_[static_cast<size_t>(row >> 6)] &= ~(uint64_t{1} << (row & 63)); }
  void ClearRange(int64_t first, int64_t last);
  bool Test(int64_t row) const { return (words_[static_cast<size_t>(row >> 6)] >> (row & 63)) & 1; }

  /// Keeps the rows with values[row] < bound, or > bound.
  void KeepLess(const int64_t* values, int64_t bound);
  void KeepGreater(const int64_t* values, int64_t bound);
  /// Clears the rows whose bit is set in `words`, where row 0 is bit `first`.
  void ClearBits(const std::vector<uint64_t>& words, uint64_t first);
  /// Keeps the rows that are true; null is not.
  void KeepTrue(const arrow::BooleanArray& values);

  /// The first chosen row and one past the last; {0, 0} when there is none.
  std::pair<int64_t, int64_t> Extent() const;
  std::shared_ptr<arrow::BooleanArray> ToArray() const;

 private:
  int64_t rows_ = 0;
  std::vector<uint64_t> words_;
};

/// The chosen rows. No copy when they lie side by side; works for batches without columns.
Result<std::shared_ptr<arrow::RecordBatch>> FilterBatch(
    const std::shared_ptr<arrow::RecordBatch>& batch, const Selection& selection);
/// The rows at `indices`, in that order.
Result<std::shared_ptr<arrow::RecordBatch>> TakeRows(
    const std::shared_ptr<arrow::RecordBatch>& batch, const std::vector<int64_t>& indices);

}  // namespace lamina::engine::internal
