// Which rows of a data file ended, and when. docs/format/deletion-vector.md describes the bytes.
//
// At rest: a roaring bitmap of ordinals and, parallel to it, the end times (delta-encoded).
// "Rewritten" rows (replaced by pieces elsewhere) carry the end INT64_MIN: they are visible at no
// time. In memory: plain words for "any end" (the test of a current read) and sorted (ordinal, end)
// pairs for reads in the past. Immutable, thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lamina/error.h"
#include "lamina/time.h"

namespace lamina::storage::sst {

inline constexpr SystemTime kRewritten = SystemTime::Min();

struct EndedRow {
  uint32_t ordinal = 0;
  SystemTime ended_at;  ///< kRewritten: never visible.
  friend bool operator==(const EndedRow&, const EndedRow&) = default;
};

class DeletionVector {
 public:
  /// `rows` ascending by ordinal, each once, all below `row_count`.
  static Result<std::shared_ptr<const DeletionVector>> Make(std::vector<EndedRow> rows,
                                                            uint64_t row_count);
  /// The union with `more` (ascending). An ordinal may appear in both only if `more` says
  /// kRewritten or the same end; otherwise kInternal.
  Result<std::shared_ptr<const DeletionVector>> With(std::span<const EndedRow> more) const;

  std::string Encode() const;
  /// kCorruption on any damage (checksum, order, ordinal out of range); never crashes.
  static Result<std::shared_ptr<const DeletionVector>> Decode(std::string_view bytes,
                                                              uint64_t row_count);

  bool IsEnded(uint64_t ordinal) const { return (words_[ordinal >> 6] >> (ordinal & 63)) & 1; }
  /// The end, or SystemTime::Max() when the row is open.
  SystemTime EndOf(uint64_t ordinal) const;
  const std::vector<EndedRow>& rows() const { return rows_; }
  std::span<const EndedRow> RowsIn(uint64_t first, uint64_t last_exclusive) const;
  const std::vector<uint64_t>& words() const { return words_; }
  uint64_t row_count() const { return row_count_; }
  SystemTime max_ended() const { return max_ended_; }
  size_t memory_bytes() const;

 private:
  DeletionVector() = default;
  std::vector<EndedRow> rows_;
  std::vector<uint64_t> words_;
  uint64_t row_count_ = 0;
  SystemTime max_ended_ = SystemTime::Min();
};
using DeletionVectorPtr = std::shared_ptr<const DeletionVector>;

/// Of the rows those that no read at `moment` sees: `vector` itself where all are, null where none.
Result<DeletionVectorPtr> EndedBy(const DeletionVectorPtr& vector, SystemTime moment);

}  // namespace lamina::storage::sst
