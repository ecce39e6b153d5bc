// Unresolved facts of a key range, as a scan sees them: which settled rows they take away or cut,
// and which rows they show.
//
// Two forms. At one moment, and when no column is asked for whose value a later fact changes, a
// key's newest covering fact decides alone: settled rows of decided keys are dropped, undecided
// keys are left to the files. Otherwise settled open rows are cut (temporal::Cut) and the facts'
// own versions come beside them (temporal::Versions).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "engine/scan_internal.h"

namespace lamina::engine::internal {

/// A fact and the memtable (by number in the overlay) that holds its row.
struct FactRef {
  const MemFact* fact = nullptr;
  uint32_t part = 0;
};

enum class Decision : uint8_t { kUndecided, kRow, kGone };

/// What one chain of facts of a key says about a moment: newest first, `fact` is set for kRow.
/// Facts above `newest` are skipped.
Decision DecideMoment(const MemFact* head, CommitId newest, SystemTime system, ValidTime valid,
                      const MemFact** fact);

/// One fact's row: columns are storage columns of the presented definition, `_system_from` and
/// `_commit`.
Result<BatchPtr> MaterializeFact(const catalog::TableSchema& presented,
                                 const TableMemtable& memtable, const MemFact& fact,
                                 const std::vector<std::string>& columns,
                                 std::shared_ptr<arrow::Schema> schema);

/// No limit for a transaction's own facts.
inline constexpr CommitId kEveryCommit{~uint64_t{0}};

class Overlay {
 public:
  /// Collects what touches context->spec.keys.
  explicit Overlay(ScanContext* context);

  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }
  bool decided() const { return decided_; }  ///< The first form.
  std::string_view key(size_t entry) const { return entries_[entry].key; }
  /// The first entry at or after `from` with a key not below `key`.
  size_t LowerBound(std::string_view key, size_t from = 0) const;
  bool Touches(std::string_view min_key, std::string_view max_key) const;

  /// The second form only: the entry's facts in order of commit. Valid until the next call.
  std::span<const temporal::Fact> FactsOf(size_t entry, std::vector<temporal::Fact>* scratch) const;

  /// One row that the facts show.
  struct Row {
    FactRef fact;
    ValidInterval valid;
    SystemInterval system;
  };
  /// Appends the entry's rows in the window, in order.
  void RowsOf(size_t entry, std::vector<Row>* out) const;
  /// The named columns (storage or time columns of the presented table) of `rows`.
  Result<BatchPtr> Materialize(std::span<const Row> rows,
                               const std::vector<std::string>& columns) const;

  /// The rows of all entries as a source. Borrows the overlay.
  std::unique_ptr<RowSource> MakeSource() const;

 private:
  struct Entry {
    std::string_view key;
    uint32_t first = 0;  // In facts_.
    uint32_t count = 0;  // 0: nothing to show, settled rows are gone.
  };

  Result<arrow::ArrayVector> StorageColumns(std::span<const Row> rows,
                                            const std::vector<std::string>& columns) const;

  ScanContext* const context_;
  bool decided_ = false;
  std::vector<const TableMemtable*> parts_;  // Oldest first; the transaction's own last.
  std::vector<CommitId> newest_;             // Parallel: facts above it are not seen.
  std::vector<Entry> entries_;               // Ascending by key.
  std::vector<FactRef> facts_;               // In order of commit within an entry.
};

}  // namespace lamina::engine::internal
