#include "storage/sst/deletion_vector.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <roaring/roaring.h>

#include "base/codec.h"
#include "base/crc32c.h"
#include "base/mutant.h"

namespace lamina::storage::sst {

namespace {

// docs/format/deletion-vector.md.
constexpr uint32_t kMagic = 0x56444d4c;  // "LMDV"
constexpr uint16_t kVersion = 1;
constexpr size_t kHeaderBytes = 32;
constexpr size_t kChecksumBytes = 4;

Status Damaged(std::string_view what) {
  return MakeError(ErrorCode::kCorruption, fmt::format("deletion vector is damaged: {}", what));
}

// Reads a bitmap in Roaring's portable form (github.com/RoaringBitmap/RoaringFormatSpec) into
// ascending ordinals. Our own reader because CRoaring trusts what it deserializes: containers out
// of order or with wrong counts are undefined behaviour.
class RoaringReader {
 public:
  RoaringReader(std::string_view bytes, std::vector<EndedRow>* rows) : in_(bytes), rows_(rows) {}

  // Appends exactly `expected` ordinals below `row_count`, or returns what is wrong.
  Status Read(uint64_t expected, uint64_t row_count) {
    uint32_t cookie = 0;
    in_.ReadFixed32(&cookie);
    uint32_t containers = 0;
    std::string_view run_flags;
    bool has_offsets = true;
    if ((cookie & 0xffff) == kRunCookie) {
      containers = (cookie >> 16) + 1;
      in_.ReadBytes((containers + 7) / 8, &run_flags);
      has_offsets = containers >= kNoOffsetThreshold;
    } else if (cookie == kPlainCookie) {
      in_.ReadFixed32(&containers);
    } else {
      return Damaged("unknown bitmap cookie");
    }
    if (!in_.ok() || containers > 65536) {
      return Damaged("bitmap header");
    }
    std::string_view descriptions;
    in_.ReadBytes(size_t{containers} * 4, &descriptions);
    if (has_offsets) {
      in_.Skip(size_t{containers} * 4);  // Offsets say nothing that reading in order does not.
    }
    if (!in_.ok()) {
      return Damaged("bitmap header");
    }
    expected_ = expected;
    row_count_ = row_count;
    int64_t key_last = -1;
    for (uint32_t i = 0; i < containers; ++i) {
      const uint16_t key = base::LoadFixed16(descriptions.data() + size_t{i} * 4);
      const uint32_t cardinality =
          uint32_t{base::LoadFixed16(descriptions.data() + size_t{i} * 4 + 2)} + 1;
      if (key <= key_last) {
        return Damaged("bitmap containers out of order");
      }
      key_last = key;
      const uint32_t base = uint32_t{key} << 16;
      const bool is_run =
          !run_flags.empty() && ((static_cast<uint8_t>(run_flags[i / 8]) >> (i % 8)) & 1) != 0;
      const size_t before = rows_->size();
      const bool ok = is_run                      ? ReadRuns(base)
                      : cardinality <= kArrayLast ? ReadArray(base, cardinality)
                                                  : ReadWords(base);
      if (!ok || rows_->size() - before != cardinality) {
        return Damaged(fmt::format("bitmap container: key={}", key));
      }
    }
    if (!in_.done() || rows_->size() != expected) {
      return Damaged(fmt::format("bitmap count: expected={} actual={}", expected, rows_->size()));
    }
    return Status::OK();
  }

 private:
  static constexpr uint32_t kRunCookie = 12347;
  static constexpr uint32_t kPlainCookie = 12346;
  static constexpr uint32_t kNoOffsetThreshold = 4;
  static constexpr uint32_t kArrayLast = 4096;

  // Bounded by `expected`, so that runs in damaged bytes cannot ask for memory the header did not
  // announce.
  bool Append(uint32_t ordinal) {
    if (ordinal >= row_count_ || rows_->size() >= expected_ ||
        (!rows_->empty() && rows_->back().ordinal >= ordinal)) {
      return false;
    }
    rows_->push_back({.ordinal = ordinal, .ended_at = {}});
    return true;
  }

  bool ReadArray(uint32_t base, uint32_t cardinality) {
    std::string_view values;
    if (!in_.ReadBytes(size_t{cardinality} * 2, &values)) {
      return false;
    }
    for (uint32_t i = 0; i < cardinality; ++i) {
      if (!Append(base + base::LoadFixed16(values.data() + size_t{i} * 2))) {
        return false;
      }
    }
    return true;
  }

  bool ReadWords(uint32_t base) {
    for (uint32_t word = 0; word < 1024; ++word) {
      uint64_t bits = 0;
      if (!in_.ReadFixed64(&bits)) {
        return false;
      }
      for (; bits != 0; bits &= bits - 1) {
        if (!Append(base + word * 64 + static_cast<uint32_t>(std::countr_zero(bits)))) {
          return false;
        }
      }
    }
    return true;
  }

  bool ReadRuns(uint32_t base) {
    uint16_t runs = 0;
    in_.ReadFixed16(&runs);
    for (uint32_t i = 0; i < runs; ++i) {
      uint16_t start = 0;
      uint16_t length_minus_1 = 0;
      if (!in_.ReadFixed16(&start) || !in_.ReadFixed16(&length_minus_1) ||
          uint32_t{start} + length_minus_1 > 0xffff) {
        return false;
      }
      for (uint32_t k = 0; k <= length_minus_1; ++k) {
        if (!Append(base + start + k)) {
          return false;
        }
      }
    }
    return in_.ok();
  }

  base::Decoder in_;
  std::vector<EndedRow>* rows_;
  uint64_t expected_ = 0;
  uint64_t row_count_ = 0;
};

}  // namespace

Result<std::shared_ptr<const DeletionVector>> DeletionVector::Make(std::vector<EndedRow> rows,
                                                                   uint64_t row_count) {
  if (row_count > uint64_t{std::numeric_limits<uint32_t>::max()} + 1) {
    return MakeError(ErrorCode::kInternal,
                     fmt::format("deletion vector over too many rows: rows={}", row_count));
  }
  std::shared_ptr<DeletionVector> vector(new DeletionVector());
  vector->words_.assign((row_count + 63) / 64, 0);
  vector->row_count_ = row_count;
  for (size_t i = 0; i < rows.size(); ++i) {
    const EndedRow& row = rows[i];
    if (row.ordinal >= row_count || (i > 0 && rows[i - 1].ordinal >= row.ordinal)) {
      return MakeError(
          ErrorCode::kInternal,
          fmt::format("ended rows must ascend and lie inside the file: index={} ordinal={} rows={}",
                      i, row.ordinal, row_count));
    }
    vector->words_[row.ordinal >> 6] |= uint64_t{1} << (row.ordinal & 63);
    vector->max_ended_ =
        std::max(vector->max_ended_, row.ended_at);  // kRewritten is Min: it never wins.
  }
  vector->rows_ = std::move(rows);
  return vector;
}

Result<std::shared_ptr<const DeletionVector>> DeletionVector::With(
    std::span<const EndedRow> more) const {
  std::vector<EndedRow> merged;
  merged.reserve(rows_.size() + more.size());
  auto have = rows_.begin();
  for (const EndedRow& row : more) {
    while (have != rows_.end() && have->ordinal < row.ordinal) {
      merged.push_back(*have++);
    }
    if (have != rows_.end() && have->ordinal == row.ordinal) {
      if (row.ended_at != kRewritten && row.ended_at != have->ended_at) {
        return MakeError(ErrorCode::kInternal,
                         fmt::format("a row ended twice: ordinal={} first={} second={}",
                                     row.ordinal, have->ended_at.micros, row.ended_at.micros));
      }
      ++have;
    }
    merged.push_back(row);
  }
  if (!LAMINA_MUTANT("deletion_vector.rest_forgotten"))
    merged.insert(merged.end(), have, rows_.end());
  return Make(std::move(merged), row_count_);
}

std::string DeletionVector::Encode() const {
  std::vector<uint32_t> ordinals;
  ordinals.reserve(rows_.size());
  for (const EndedRow& row : rows_) {
    ordinals.push_back(row.ordinal);
  }
  roaring_bitmap_t* bitmap = roaring_bitmap_of_ptr(ordinals.size(), ordinals.data());
  roaring_bitmap_run_optimize(bitmap);
  std::string bitmap_bytes(roaring_bitmap_portable_size_in_bytes(bitmap), '\0');
  roaring_bitmap_portable_serialize(bitmap, bitmap_bytes.data());
  roaring_bitmap_free(bitmap);

  // Runs of equal ends: one commit ends many rows at the same moment.
  std::string ends;
  uint64_t end_last = 0;
  for (size_t i = 0; i < rows_.size();) {
    size_t next = i + 1;
    while (next < rows_.size() && rows_[next].ended_at == rows_[i].ended_at) {
      ++next;
    }
    const bool rewritten = rows_[i].ended_at == kRewritten;
    base::PutVarint64(&ends, (uint64_t{next - i} << 1) | (rewritten ? 1 : 0));
    if (!rewritten) {
      // Unsigned: the difference of two ends may wrap, and unwraps when it is added again.
      const auto end = static_cast<uint64_t>(rows_[i].ended_at.micros);
      base::PutSigned64(&ends, static_cast<int64_t>(end - end_last));
      end_last = end;
    }
    i = next;
  }

  std::string out;
  out.reserve(kHeaderBytes + bitmap_bytes.size() + ends.size() + kChecksumBytes);
  base::PutFixed32(&out, kMagic);
  base::PutFixed16(&out, kVersion);
  base::PutFixed16(&out, 0);
  base::PutFixed64(&out, row_count_);
  base::PutFixed64(&out, rows_.size());
  base::PutFixed32(&out, static_cast<uint32_t>(bitmap_bytes.size()));
  base::PutFixed32(&out, static_cast<uint32_t>(ends.size()));
  out += bitmap_bytes;
  out += ends;
  base::PutFixed32(&out, base::Crc32c(out));
  return out;
}

Result<std::shared_ptr<const DeletionVector>> DeletionVector::Decode(std::string_view bytes,
                                                                     uint64_t row_count) {
  if (bytes.size() < kHeaderBytes + kChecksumBytes) {
    return Damaged(fmt::format("too short: size={}", bytes.size()));
  }
  const std::string_view body = bytes.substr(0, bytes.size() - kChecksumBytes);
  const uint32_t expected = base::LoadFixed32(body.data() + body.size());
  if (const uint32_t actual = base::Crc32c(body); actual != expected) {
    return Damaged(
        fmt::format("checksum mismatch: expected={:08x} actual={:08x}", expected, actual));
  }
  base::Decoder in(body);
  uint32_t magic = 0;
  uint16_t version = 0;
  uint16_t reserved = 0;
  uint64_t rows_stored = 0;
  uint64_t entries = 0;
  uint32_t bitmap_size = 0;
  uint32_t ends_size = 0;
  in.ReadFixed32(&magic);
  in.ReadFixed16(&version);
  in.ReadFixed16(&reserved);
  in.ReadFixed64(&rows_stored);
  in.ReadFixed64(&entries);
  in.ReadFixed32(&bitmap_size);
  in.ReadFixed32(&ends_size);
  if (magic != kMagic || version != kVersion || reserved != 0) {
    return Damaged(fmt::format("not a deletion vector of version {}: magic={:08x} version={}",
                               kVersion, magic, version));
  }
  if (rows_stored != row_count || entries > row_count) {
    return Damaged(fmt::format("it is of another file: expected_rows={} actual_rows={} entries={}",
                               row_count, rows_stored, entries));
  }
  std::string_view bitmap;
  std::string_view ends;
  if (!in.ReadBytes(bitmap_size, &bitmap) || !in.ReadBytes(ends_size, &ends) || !in.done()) {
    return Damaged("section lengths");
  }

  std::vector<EndedRow> rows;
  // Every row costs at least a bit somewhere, except in runs: do not believe the count before the
  // bitmap was read.
  rows.reserve(std::min<uint64_t>(entries, bitmap.size() * 8));
  ARROW_RETURN_NOT_OK(RoaringReader(bitmap, &rows).Read(entries, row_count));

  base::Decoder runs(ends);
  uint64_t end_last = 0;
  for (size_t i = 0; i < rows.size();) {
    uint64_t head = 0;
    if (!runs.ReadVarint64(&head)) {
      return Damaged("ends");
    }
    const uint64_t length = head >> 1;
    if (length == 0 || length > rows.size() - i) {
      return Damaged("ends");
    }
    SystemTime end = kRewritten;
    if ((head & 1) == 0) {
      int64_t delta = 0;
      if (!runs.ReadSigned64(&delta)) {
        return Damaged("ends");
      }
      end_last += static_cast<uint64_t>(delta);
      end = SystemTime{static_cast<int64_t>(end_last)};
      if (end == kRewritten) {
        return Damaged("ends");
      }
    }
    for (uint64_t k = 0; k < length; ++k) {
      rows[i++].ended_at = end;
    }
  }
  if (!runs.done()) {
    return Damaged("ends");
  }
  return Make(std::move(rows), row_count);
}

std::span<const EndedRow> DeletionVector::RowsIn(uint64_t first, uint64_t last_exclusive) const {
  const auto below = [](const EndedRow& row, uint64_t ordinal) { return row.ordinal < ordinal; };
  const auto begin = std::lower_bound(rows_.begin(), rows_.end(), first, below);
  const auto end = std::lower_bound(begin, rows_.end(), std::max(first, last_exclusive), below);
  return {begin, end};
}

SystemTime DeletionVector::EndOf(uint64_t ordinal) const {
  const std::span<const EndedRow> row = RowsIn(ordinal, ordinal + 1);
  return row.empty() ? SystemTime::Max() : row.front().ended_at;
}

size_t DeletionVector::memory_bytes() const {
  return sizeof(*this) + rows_.capacity() * sizeof(EndedRow) + words_.capacity() * sizeof(uint64_t);
}

Result<DeletionVectorPtr> EndedBy(const DeletionVectorPtr& vector, SystemTime moment) {
  if (vector->max_ended() <= moment) return vector;
  std::vector<EndedRow> rows;
  for (const EndedRow& row : vector->rows())
    if (row.ended_at <= moment) rows.push_back(row);
  if (rows.empty()) return DeletionVectorPtr();
  return DeletionVector::Make(std::move(rows), vector->row_count());
}

}  // namespace lamina::storage::sst
