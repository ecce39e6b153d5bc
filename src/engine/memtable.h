// Facts in memory: one generation over all tables. Written by the one thread that holds the commit
// lock, read by any number of threads without locks. A generation is active (takes facts), then
// sealed (immutable), then flushed and dropped.
//
// Per table: an open-addressing hash of 8-byte slots (tag + pointer) over records in an arena; each
// record is one fact, the newest of a key in the slot, older ones linked. Key bytes stand behind
// the header in the same cache line. Order comes from sorted runs made on demand. Row columns are
// either inline bytes (the key-value tables) or a row of a retained Arrow batch.
//
// Invariants
//   E1  A fact is reachable only after it is complete (release store of the slot or of the newer
//   link). E2  Links go from newer to older: commit never rises along a chain; within one commit
//   the later statement comes first. E3  Nothing moves or changes after it is reachable, until the
//   generation dies.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <arrow/record_batch.h>

#include "catalog/key_codec.h"
#include "catalog/schema.h"
#include "engine/write_batch.h"
#include "temporal/resolve.h"

namespace lamina::engine {

/// One fact. Immutable. Lives as long as its Memtable.
struct MemFact {
  const MemFact* older;  ///< The next older fact of the same key, or null.
  CommitId commit;
  SystemTime system;
  ValidInterval valid;
  uint32_t key_length;
  temporal::FactKind kind;
  uint8_t reserved[3];
  uint32_t batch;  ///< Index of the retained batch, or kInline.
  uint32_t row;    ///< Row in the batch, or length of the inline value.
  // key bytes, then (inline only) value bytes.
  static constexpr uint32_t kInline = 0xffffffffu;

  std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_length}; }
  /// Inline facts only: the single non-key column's bytes.
  std::string_view inline_value() const {
    return {reinterpret_cast<const char*>(this + 1) + key_length, row};
  }
  temporal::Fact ToFact() const {
    return {valid, system, commit, kind, reinterpret_cast<uint64_t>(this)};
  }
};

class TableMemtable {
 public:
  virtual ~TableMemtable() = default;
  /// The definition the facts were written under; a schema change seals the generation, so there is
  /// one.
  virtual const catalog::TableSchemaPtr& schema() const = 0;
  /// The newest fact of the key, or null. Lock-free, no allocation. Facts newer than the reader's
  /// snapshot are in the chain too: the reader skips those with commit > snapshot.
  virtual const MemFact* Find(std::string_view key, uint64_t hash) const = 0;

  /// The newest fact of every key in the range, ascending by key, of all keys whose first fact was
  /// added before the call. Chains may hold newer facts. Cost: keys new since the last call
  /// (sorted) + keys in the range.
  virtual std::vector<const MemFact*> SortedHeads(const catalog::KeyRange& range) const = 0;
  /// Calls `visit` for every fact with commit > `after`, newest first, until it returns false.
  virtual void VisitSince(CommitId after,
                          const std::function<bool(const MemFact&)>& visit) const = 0;
  /// The named storage columns of the facts' rows (puts only), in the given order. Shape:
  /// facts.size() rows.
  virtual Result<std::shared_ptr<arrow::RecordBatch>> Materialize(
      std::span<const MemFact* const> facts, const std::vector<std::string>& columns) const = 0;
  virtual uint64_t fact_count() const = 0;
  virtual uint64_t key_count() const = 0;
  /// False when every fact so far is for all time.
  virtual bool has_valid_times() const = 0;
  virtual bool has_erases() const = 0;
};

class Memtable {
 public:
  static std::shared_ptr<Memtable> Make();
  virtual ~Memtable() = default;

  /// Adds one commit's facts, in statement order, to the tables. Single writer. Later statements of
  /// the same commit win over earlier ones within their overlap (resolution sees them in this
  /// order). Where it fails or throws, for lack of memory, nothing was added.
  virtual Status Apply(const WriteBatch& batch, CommitId commit, SystemTime system) = 0;

  /// Null when the generation has no fact of the table. Safe beside Apply.
  virtual const TableMemtable* Find(catalog::TableId table) const = 0;
  virtual std::vector<catalog::TableId> tables() const = 0;

  /// Dense list of commits: times[i] is the system time of first_commit() + i. Safe beside Apply
  /// for commits already published.
  virtual CommitId first_commit() const = 0;  ///< 0 when empty.
  virtual CommitId last_commit() const = 0;
  virtual SystemTime last_system() const = 0;
  virtual SystemTime TimeOf(CommitId commit) const = 0;  ///< Must be in [first, last].
  /// The newest commit with time <= t, or 0 if the first is later.
  virtual CommitId CommitAt(SystemTime t) const = 0;

  virtual int64_t memory_bytes() const = 0;  ///< Arena, hashes and retained batches.
  virtual uint64_t fact_count() const = 0;
  virtual uint64_t batch_count() const = 0;
};

}  // namespace lamina::engine
