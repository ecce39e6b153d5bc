// What one transaction writes, in statement order, over all tables. Kept in the very form the WAL
// stores (docs/format/wal.md, "Commit payload"), beside the decoded form that the memtable takes:
// nothing is encoded twice.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include "catalog/schema.h"
#include "lamina/time.h"
#include "temporal/resolve.h"

namespace lamina::engine {

/// Rows of one table written by one statement. Arrays are parallel.
struct TableWrite {
  catalog::TableSchemaPtr schema;
  /// Storage schema. Null when every row is a delete or erase.
  std::shared_ptr<arrow::RecordBatch> rows;
  std::shared_ptr<arrow::BinaryArray> keys;  ///< Encoded keys, no nulls.
  temporal::FactKind kind = temporal::FactKind::kPut;
  /// Null, or true where the row is a delete (then kind is kPut).
  std::shared_ptr<arrow::BooleanArray> deletes;
  ValidInterval valid;                            ///< For every row, when the arrays are null.
  std::shared_ptr<arrow::Int64Array> valid_from;  ///< Both or none; per row; from < to.
  std::shared_ptr<arrow::Int64Array> valid_to;

  int64_t row_count() const { return keys->length(); }
  ValidInterval ValidOf(int64_t i) const {
    return valid_from == nullptr ? valid
                                 : ValidInterval{{valid_from->Value(i)}, {valid_to->Value(i)}};
  }
  temporal::FactKind KindOf(int64_t i) const {
    return deletes != nullptr && deletes->Value(i) ? temporal::FactKind::kDelete : kind;
  }
};

/// A single fact with inline bytes (tables with one binary key and one binary value column:
/// key-value, idempotency).
struct InlineWrite {
  catalog::TableId table;
  temporal::FactKind kind;
  ValidInterval valid;
  std::string_view key;  ///< Into the payload.
  std::string_view value;
};

/// Movable. One thread.
class WriteBatch {
 public:
  WriteBatch();
  ~WriteBatch();
  WriteBatch(WriteBatch&&) noexcept;
  WriteBatch& operator=(WriteBatch&&) noexcept;

  /// Adds rows. Checked before by the caller (schema, keys, interval); here only shape is
  /// LAMINA_CHECKed. Adding all or nothing, here and below, also when memory runs out.
  Status Add(TableWrite write);
  /// Adds one inline fact; about 50 ns.
  void AddInline(catalog::TableId table, temporal::FactKind kind, ValidInterval valid,
                 std::string_view key, std::string_view value);

  bool empty() const { return facts_ == 0; }
  uint64_t fact_count() const { return facts_; }
  size_t bytes() const { return payload_.size(); }
  /// The WAL commit payload so far.
  std::string_view payload() const { return payload_; }

  /// Statement order. Exactly one of the two is set.
  struct Entry {
    const TableWrite* table = nullptr;
    InlineWrite inline_write;
  };
  template <typename Visit>
  void ForEach(Visit&& visit) const {
    VisitAll(std::ref(visit));  // a function made of a reference needs no memory
  }

  /// Savepoints: Mark() now, TruncateTo(mark) forgets everything added since.
  struct Mark {
    size_t payload = 0;
    size_t tables = 0;
    uint64_t facts = 0;
  };
  Mark mark() const;
  void TruncateTo(const Mark& mark);
  void Clear();

  /// Decodes a payload from the WAL. `find_schema` gives the table's definition at the named schema
  /// version (null: dropped since, the section is skipped). kCorruption on damage; never crashes on
  /// arbitrary bytes.
  static Result<WriteBatch> Decode(
      std::string_view payload,
      const std::function<catalog::TableSchemaPtr(catalog::TableId, uint32_t version)>&
          find_schema);

 private:
  void VisitAll(const std::function<void(const Entry&)>& visit) const;

  std::string payload_;
  /// (offset of its section in payload_, decoded form)
  std::vector<std::pair<size_t, TableWrite>> tables_;
  uint64_t facts_ = 0;
  // offset of the inline section that ends the payload, if one does
  size_t open_section_ = kNoSection;
  uint64_t open_table_ = 0;  // its table
  static constexpr size_t kNoSection = ~size_t{0};
};

}  // namespace lamina::engine
