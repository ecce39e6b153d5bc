// The hash: slots of 8 bytes, linear probing, load <= 0.7. A slot is 0 (empty) or the top 16 bits
// of the key's hash (tag) over the low 48 bits of a pointer to the key's newest fact. The table
// index is the hash's low bits, so tag and index are independent. Growth builds a table of twice
// the size and publishes its pointer; a reader still in the old one finds everything that was there
// when it loaded the pointer, which is all that its snapshot may ask for. Old tables stay in the
// arena until the generation dies (together as large as the newest).
//
// Order: runs of (8-byte key prefix, first fact of the key), each sorted. A call sorts the keys new
// since the last call into a run of their own and merges runs of similar size, so n keys cost O(n
// log n) over any number of calls.
#include "engine/memtable.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <iterator>
#include <new>
#include <unordered_map>
#include <utility>

#include <arrow/array/concatenate.h>
#include <arrow/builder.h>
#include <arrow/compute/api_vector.h>
#include <arrow/util/byte_size.h>
#include <fmt/format.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/codec.h"
#include "base/mutex.h"
#include "catalog/system_tables.h"
#include "engine/append_list_internal.h"

namespace lamina::engine {
namespace {

using temporal::FactKind;

static_assert(sizeof(MemFact) == 56, "header and the first key bytes share a cache line");
static_assert(sizeof(void*) == 8, "slots keep 48 bits of a pointer");

constexpr int kTagShift = 48;
constexpr uint64_t kPointerMask = (uint64_t{1} << kTagShift) - 1;

const MemFact* FactOf(uint64_t slot) {
  return reinterpret_cast<const MemFact*>(slot & kPointerMask);
}
uint64_t MakeSlot(uint64_t hash, const MemFact* fact) {
  return (hash >> kTagShift << kTagShift) | reinterpret_cast<uint64_t>(fact);
}

struct SlotTable {
  uint64_t mask;
  std::atomic<uint64_t>* slots;
};

struct RunEntry {
  uint64_t prefix;
  const MemFact* first;  // The key's first fact; its newest is found through the hash.
  std::string_view key() const { return first->key(); }
  friend bool operator<(const RunEntry& a, const RunEntry& b) {
    return a.prefix != b.prefix ? a.prefix < b.prefix : a.key() < b.key();
  }
};
using Run = std::vector<RunEntry>;
using RunPtr = std::shared_ptr<const Run>;

Run MergeRuns(std::span<const RunEntry> a, std::span<const RunEntry> b) {
  Run out;
  out.reserve(a.size() + b.size());
  std::merge(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(out));
  return out;
}

// The part of a run that lies in the range.
std::span<const RunEntry> Slice(const Run& run, const catalog::KeyRange& range) {
  const auto before = [](const RunEntry& entry, std::string_view key) { return entry.key() < key; };
  const auto first = range.from.empty()
                         ? run.begin()
                         : std::lower_bound(run.begin(), run.end(), range.from, before);
  const auto last =
      range.unbounded_to ? run.end() : std::lower_bound(first, run.end(), range.to, before);
  return {first, last};
}

// A table whose facts are always inline; see InlineWrite.
catalog::TableSchemaPtr InlineSchema(catalog::TableId table) {
  if (table == catalog::kKeyValueTable) return catalog::KeyValueTableSchema();
  if (table == catalog::kIdempotencyTable) return catalog::IdempotencyTableSchema();
  return nullptr;
}

class TableMemtableImpl : public TableMemtable {
 public:
  // `inline_facts`: rows given as Arrow batches are copied into the facts too, so that a reader
  // finds one form only.
  TableMemtableImpl(catalog::TableSchemaPtr schema, base::Arena* arena, bool inline_facts)
      : schema_(std::move(schema)),
        arena_(arena),
        inline_facts_(inline_facts),
        value_position_(inline_facts ? 1 - schema_->KeyPositions()[0] : -1) {
    Grow(16);
  }

  const catalog::TableSchemaPtr& schema() const override { return schema_; }
  bool inline_facts() const { return inline_facts_; }
  /// Of the one column beside the key, where facts are inline.
  int value_position() const { return value_position_; }

  const MemFact* Find(std::string_view key, uint64_t hash) const override {
    // acquire: pairs with Grow's release, so the slots of the table are there.
    const SlotTable* table = table_.load(std::memory_order_acquire);
    const uint64_t tag = hash >> kTagShift;
    for (uint64_t i = hash & table->mask;; i = (i + 1) & table->mask) {
      // acquire: pairs with Insert's release, so the fact behind the pointer is complete (E1).
      const uint64_t slot = table->slots[i].load(std::memory_order_acquire);
      if (slot == 0) return nullptr;
      if (slot >> kTagShift == tag) {
        const MemFact* fact = FactOf(slot);
        // A key longer than 8 bytes continues in the next cache line: fetch both at once.
        __builtin_prefetch(reinterpret_cast<const char*>(fact) + 64);
        if (fact->key() == key) return fact;
      }
    }
  }

  // Writer only: begins to count what the next commit brings.
  void ExpectNothing() { expected_facts_ = expected_batches_ = 0; }
  // Writer only: takes the memory that so many more facts and batches of the commit need beside
  // their own bytes.
  void Expect(uint64_t facts, uint64_t batches) {
    expected_facts_ += facts;
    expected_batches_ += batches;
    const SlotTable* table =
        table_.load(std::memory_order_relaxed);  // relaxed: this thread stored it
    uint64_t slots = table->mask + 1;
    const uint64_t keys =
        key_count_.load(std::memory_order_relaxed) + expected_facts_;  // relaxed: as above
    while (keys * 10 > slots * 7) slots *= 2;
    if (slots != table->mask + 1) Grow(slots);
    facts_.Reserve(expected_facts_);
    batches_.Reserve(expected_batches_);
  }
  bool full() const { return batches_.size() + expected_batches_ >= MemFact::kInline; }

  // Writer only; Expect came before, and the arena has room: does not throw.
  void Insert(std::string_view key, std::string_view value, uint32_t batch, uint32_t row,
              FactKind kind, const ValidInterval& valid, CommitId commit, SystemTime system) {
    const uint64_t hash = catalog::HashKey(key);
    char* memory = arena_->Allocate(sizeof(MemFact) + key.size() + value.size());
    auto* fact = new (memory) MemFact{};
    fact->commit = commit;
    fact->system = system;
    fact->valid = valid;
    fact->key_length = static_cast<uint32_t>(key.size());
    fact->kind = kind;
    fact->batch = batch;
    fact->row = row;
    std::memcpy(memory + sizeof(MemFact), key.data(), key.size());
    if (!value.empty())
      std::memcpy(memory + sizeof(MemFact) + key.size(), value.data(), value.size());

    const SlotTable* table =
        table_.load(std::memory_order_relaxed);  // relaxed: this thread stored it
    const uint64_t tag = hash >> kTagShift;
    uint64_t i = hash & table->mask;
    uint64_t slot;
    while ((slot = table->slots[i].load(std::memory_order_relaxed)) != 0) {  // relaxed: as above
      if (slot >> kTagShift == tag && FactOf(slot)->key() == key) break;
      i = (i + 1) & table->mask;
    }
    fact->older = slot == 0 ? nullptr : FactOf(slot);
    if (!valid.all()) has_valid_times_.store(true, std::memory_order_release);
    if (kind == FactKind::kErase) has_erases_.store(true, std::memory_order_release);
    // Order matters to SortedHeads: a key is never counted before its fact.
    facts_.Append(fact);
    table->slots[i].store(MakeSlot(hash, fact), std::memory_order_release);  // E1
    if (slot == 0) key_count_.fetch_add(1, std::memory_order_release);
  }

  // Writer only; Expect came before. Returns the index for facts of the batch.
  uint32_t Retain(std::shared_ptr<arrow::RecordBatch> batch) {
    batches_.Append(std::move(batch));
    return static_cast<uint32_t>(batches_.size() - 1);
  }

  std::vector<const MemFact*> SortedHeads(const catalog::KeyRange& range) const override {
    std::vector<RunPtr> runs;
    uint64_t keys = 0;
    {
      base::MutexLock lock(&runs_mu_);
      SortNewKeys();
      runs = runs_;
    }
    std::vector<std::span<const RunEntry>> slices;
    for (const RunPtr& run : runs) {
      if (const auto slice = Slice(*run, range); !slice.empty()) slices.push_back(slice);
    }
    Run merged;
    std::span<const RunEntry> sorted;
    if (!slices.empty()) {
      // Runs shrink towards the end: merging from there costs least.
      sorted = slices.back();
      for (size_t i = slices.size() - 1; i-- > 0;) {
        merged = MergeRuns(slices[i], sorted);
        sorted = merged;
      }
    }
    std::vector<const MemFact*> heads(sorted.size());
    keys = key_count_.load(std::memory_order_acquire);
    // Facts are counted before keys and both only rise: equal numbers, read in this order, say that
    // no key had a second fact when the facts were counted. Those that came later are above every
    // snapshot that can be asking.
    if (facts_.size() == keys) {
      for (size_t i = 0; i < sorted.size(); ++i) heads[i] = sorted[i].first;
      return heads;
    }
    FindHeads(sorted, &heads);
    return heads;
  }

  void VisitSince(CommitId after, const std::function<bool(const MemFact&)>& visit) const override {
    for (uint64_t i = facts_.size(); i-- > 0;) {
      const MemFact* fact = facts_[i];
      if (fact->commit <= after || !visit(*fact)) return;
    }
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Materialize(
      std::span<const MemFact* const> facts,
      const std::vector<std::string>& columns) const override;

  uint64_t fact_count() const override { return facts_.size(); }
  uint64_t key_count() const override { return key_count_.load(std::memory_order_acquire); }
  bool has_valid_times() const override { return has_valid_times_.load(std::memory_order_acquire); }
  bool has_erases() const override { return has_erases_.load(std::memory_order_acquire); }

 private:
  // How the facts of one Materialize call spread over the retained batches.
  struct Spread {
    std::vector<uint32_t> batches;                   // distinct, in order of first use
    std::unordered_map<uint32_t, uint32_t> ordinal;  // batch -> index in `batches`
  };

  // Writer only (and the constructor).
  void Grow(uint64_t slots) {
    const SlotTable* old =
        table_.load(std::memory_order_relaxed);  // relaxed: this thread stored it
    auto* memory = arena_->Allocate(slots * sizeof(std::atomic<uint64_t>), 64);
    auto* fresh = reinterpret_cast<std::atomic<uint64_t>*>(memory);
    for (uint64_t i = 0; i < slots; ++i) new (fresh + i) std::atomic<uint64_t>(0);
    auto* table = new (arena_->Allocate(sizeof(SlotTable))) SlotTable{slots - 1, fresh};
    if (old != nullptr) {
      // The slot holds 16 bits of the hash only, so keys are hashed again: fetch records ahead of
      // the loop.
      constexpr uint64_t kAhead = 16;
      for (uint64_t i = 0; i <= old->mask; ++i) {
        if (i + kAhead <= old->mask) {
          const uint64_t ahead =
              old->slots[i + kAhead].load(std::memory_order_relaxed);  // relaxed: own stores
          // As a number: an empty slot's null pointer must not be added to.
          const auto record = reinterpret_cast<uintptr_t>(FactOf(ahead));
          __builtin_prefetch(reinterpret_cast<const void*>(record));
          __builtin_prefetch(reinterpret_cast<const void*>(record + 64));
        }
        const uint64_t slot = old->slots[i].load(std::memory_order_relaxed);  // relaxed: own stores
        if (slot == 0) continue;
        uint64_t at = catalog::HashKey(FactOf(slot)->key()) & table->mask;
        while (fresh[at].load(std::memory_order_relaxed) != 0)
          at = (at + 1) & table->mask;                     // relaxed: not yet shared
        fresh[at].store(slot, std::memory_order_relaxed);  // relaxed: as above
      }
    }
    table_.store(table, std::memory_order_release);  // E1: the slots before the table
  }

  void SortNewKeys() const LAMINA_REQUIRES(runs_mu_) {
    const uint64_t end = facts_.size();
    if (end == sorted_facts_) return;
    runs_.reserve(runs_.size() + 1);  // before the facts count as sorted
    auto fresh = std::make_shared<Run>();
    for (uint64_t i = sorted_facts_; i < end; ++i) {
      const MemFact* fact = facts_[i];
      if (fact->older == nullptr) fresh->push_back({catalog::KeyPrefix(fact->key()), fact});
    }
    std::sort(fresh->begin(), fresh->end());
    sorted_facts_ = end;
    if (fresh->empty()) return;
    runs_.push_back(std::move(fresh));
    // Sizes at least halve from run to run, so there are at most log2(keys) of them and a key is
    // merged as often.
    while (runs_.size() >= 2 && runs_[runs_.size() - 2]->size() < 2 * runs_.back()->size()) {
      auto merged = std::make_shared<const Run>(MergeRuns(*runs_[runs_.size() - 2], *runs_.back()));
      runs_.pop_back();
      runs_.back() = std::move(merged);
    }
  }

  void FindHeads(std::span<const RunEntry> entries, std::vector<const MemFact*>* heads) const {
    // Two rounds a block: hash and fetch the slots of all, then probe them, so that misses overlap.
    constexpr size_t kBlock = 32;
    uint64_t hashes[kBlock];
    for (size_t begin = 0; begin < entries.size(); begin += kBlock) {
      const size_t n = std::min(kBlock, entries.size() - begin);
      const SlotTable* table = table_.load(std::memory_order_acquire);  // acquire: as in Find
      for (size_t i = 0; i < n; ++i) {
        hashes[i] = catalog::HashKey(entries[begin + i].key());
        __builtin_prefetch(&table->slots[hashes[i] & table->mask]);
      }
      for (size_t i = 0; i < n; ++i) {
        const MemFact* head = Find(entries[begin + i].key(), hashes[i]);
        // Insert lists a fact before its slot is stored: a key seen in that instant has its first
        // fact only.
        (*heads)[begin + i] = head != nullptr ? head : entries[begin + i].first;
      }
    }
  }

  Result<std::shared_ptr<arrow::Array>> InlineColumn(std::span<const MemFact* const> facts,
                                                     const catalog::Column& column,
                                                     bool is_key) const;

  const catalog::TableSchemaPtr schema_;
  base::Arena* const arena_;
  const bool inline_facts_;
  const int value_position_;

  std::atomic<const SlotTable*> table_{nullptr};
  AppendList<const MemFact*> facts_;  // in commit order
  AppendList<std::shared_ptr<arrow::RecordBatch>> batches_;
  std::atomic<uint64_t> key_count_{0};
  std::atomic<bool> has_valid_times_{false};
  std::atomic<bool> has_erases_{false};
  // Of the commit that is being applied. Touched by the writer only.
  uint64_t expected_facts_ = 0;
  uint64_t expected_batches_ = 0;

  mutable base::Mutex runs_mu_;
  mutable std::vector<RunPtr> runs_ LAMINA_GUARDED_BY(runs_mu_);  // sizes fall
  // facts_ before this are in the runs
  mutable uint64_t sorted_facts_ LAMINA_GUARDED_BY(runs_mu_) = 0;
};

Result<std::shared_ptr<arrow::Array>> TableMemtableImpl::InlineColumn(
    std::span<const MemFact* const> facts, const catalog::Column& column, bool is_key) const {
  if (column.type->id() == arrow::Type::INT64) {
    arrow::Int64Builder builder;
    ARROW_RETURN_NOT_OK(builder.Reserve(static_cast<int64_t>(facts.size())));
    for (const MemFact* fact : facts) {
      LAMINA_CHECK(fact->row == 8);
      builder.UnsafeAppend(static_cast<int64_t>(base::LoadFixed64(fact->inline_value().data())));
    }
    return builder.Finish();
  }
  LAMINA_CHECK(column.type->id() == arrow::Type::BINARY);
  arrow::BinaryBuilder builder;
  int64_t bytes = 0;
  for (const MemFact* fact : facts) bytes += is_key ? fact->key_length : fact->row;
  ARROW_RETURN_NOT_OK(builder.Reserve(static_cast<int64_t>(facts.size())));
  ARROW_RETURN_NOT_OK(builder.ReserveData(bytes));
  for (const MemFact* fact : facts)
    builder.UnsafeAppend(is_key ? fact->key() : fact->inline_value());
  return builder.Finish();
}

Result<std::shared_ptr<arrow::RecordBatch>> TableMemtableImpl::Materialize(
    std::span<const MemFact* const> facts, const std::vector<std::string>& columns) const {
  std::vector<const catalog::Column*> wanted;
  std::vector<int> positions;  // in the retained batches
  arrow::FieldVector fields;
  const std::shared_ptr<arrow::Schema> storage = schema_->StorageSchema();
  for (const std::string& name : columns) {
    const catalog::Column* column = schema_->FindColumn(name);
    const int position = storage->GetFieldIndex(name);
    if (column == nullptr || position < 0) {
      return MakeError(ErrorCode::kInvalidArgument,
                       fmt::format("no such column: table={} column={}", schema_->name, name));
    }
    wanted.push_back(column);
    positions.push_back(position);
    fields.push_back(storage->field(position));
  }
  const auto count = static_cast<int64_t>(facts.size());
  const auto out_schema = arrow::schema(std::move(fields));
  arrow::ArrayVector arrays;
  if (facts.empty()) {
    for (const auto& field : out_schema->fields()) {
      ARROW_ASSIGN_OR_RAISE(auto array, arrow::MakeEmptyArray(field->type()));
      arrays.push_back(std::move(array));
    }
    return arrow::RecordBatch::Make(out_schema, 0, std::move(arrays));
  }
  if (inline_facts_) {
    for (const catalog::Column* column : wanted) {
      ARROW_ASSIGN_OR_RAISE(auto array,
                            InlineColumn(facts, *column, column->id == schema_->key[0]));
      arrays.push_back(std::move(array));
    }
    return arrow::RecordBatch::Make(out_schema, count, std::move(arrays));
  }

  Spread spread;
  bool consecutive = true;  // one batch, rows r, r + 1, r + 2 …
  for (size_t i = 0; i < facts.size(); ++i) {
    LAMINA_CHECK(facts[i]->batch != MemFact::kInline && facts[i]->kind == FactKind::kPut);
    const auto [it, added] =
        spread.ordinal.try_emplace(facts[i]->batch, static_cast<uint32_t>(spread.batches.size()));
    if (added) spread.batches.push_back(facts[i]->batch);
    consecutive =
        consecutive && facts[i]->batch == facts[0]->batch && facts[i]->row == facts[0]->row + i;
  }
  if (consecutive) {
    const auto& rows = batches_[facts[0]->batch];
    for (const int position : positions)
      arrays.push_back(rows->column(position)->Slice(facts[0]->row, count));
    return arrow::RecordBatch::Make(out_schema, count, std::move(arrays));
  }

  // Few batches: let Arrow's kernels gather. Many small ones: a kernel call for each would cost
  // more than appending rows.
  if (spread.batches.size() * 8 <= facts.size()) {
    // One gather over the concatenation of the batches when they are used densely, else one gather
    // a batch, and a last one that brings the rows into order.
    std::vector<std::vector<int64_t>> rows_of(spread.batches.size());
    std::vector<int64_t> order(facts.size());
    for (size_t i = 0; i < facts.size(); ++i) {
      auto& rows = rows_of[spread.ordinal[facts[i]->batch]];
      order[i] = static_cast<int64_t>(rows.size());
      rows.push_back(facts[i]->row);
    }
    std::vector<int64_t> base(spread.batches.size(), 0);
    for (size_t b = 1; b < base.size(); ++b)
      base[b] = base[b - 1] + static_cast<int64_t>(rows_of[b - 1].size());
    for (size_t i = 0; i < facts.size(); ++i) order[i] += base[spread.ordinal[facts[i]->batch]];
    const auto indices = [](const std::vector<int64_t>& values) {
      return arrow::Int64Array(static_cast<int64_t>(values.size()), arrow::Buffer::Wrap(values));
    };
    const auto options = arrow::compute::TakeOptions::NoBoundsCheck();
    for (const int position : positions) {
      arrow::ArrayVector parts;
      for (size_t b = 0; b < rows_of.size(); ++b) {
        ARROW_ASSIGN_OR_RAISE(auto part,
                              arrow::compute::Take(*batches_[spread.batches[b]]->column(position),
                                                   indices(rows_of[b]), options));
        parts.push_back(std::move(part));
      }
      if (parts.size() == 1) {
        arrays.push_back(std::move(parts[0]));
        continue;
      }
      ARROW_ASSIGN_OR_RAISE(auto all, arrow::Concatenate(parts));
      ARROW_ASSIGN_OR_RAISE(auto ordered, arrow::compute::Take(*all, indices(order), options));
      arrays.push_back(std::move(ordered));
    }
    return arrow::RecordBatch::Make(out_schema, count, std::move(arrays));
  }
  for (size_t c = 0; c < positions.size(); ++c) {
    const auto& type = out_schema->field(static_cast<int>(c))->type();
    std::unique_ptr<arrow::ArrayBuilder> builder;
    ARROW_RETURN_NOT_OK(arrow::MakeBuilder(arrow::default_memory_pool(), type, &builder));
    ARROW_RETURN_NOT_OK(builder->Reserve(count));
    for (size_t i = 0; i < facts.size();) {
      size_t n = 1;
      while (i + n < facts.size() && facts[i + n]->batch == facts[i]->batch &&
             facts[i + n]->row == facts[i]->row + n)
        ++n;
      const arrow::ArraySpan span(*batches_[facts[i]->batch]->column_data(positions[c]));
      ARROW_RETURN_NOT_OK(builder->AppendArraySlice(span, facts[i]->row, static_cast<int64_t>(n)));
      i += n;
    }
    ARROW_ASSIGN_OR_RAISE(auto array, builder->Finish());
    arrays.push_back(std::move(array));
  }
  return arrow::RecordBatch::Make(out_schema, count, std::move(arrays));
}

base::Arena::Options ArenaOptions() {
  base::Arena::Options options;
  options.huge_pages = true;
  return options;
}

class MemtableImpl : public Memtable {
 public:
  MemtableImpl() : arena_(ArenaOptions()) {}

  Status Apply(const WriteBatch& batch, CommitId commit, SystemTime system) override {
    const CommitId last = last_commit();
    LAMINA_CHECK(last.value == 0 || commit == last || commit.value == last.value + 1);
    // First all the memory, which may fail, then the facts, which may not: a half commit could not
    // be taken back, as its number goes to the next one.
    times_.Reserve(1);
    for (const auto& table : tables_) table->ExpectNothing();
    TableMemtableImpl* inline_table = nullptr;  // of the entry before: saves the search
    const auto inline_table_of = [&](const InlineWrite& write) {
      if (inline_table == nullptr || inline_table->schema()->id != write.table) {
        inline_table = GetOrAdd(write.table, InlineSchema(write.table), /*inline_facts=*/true);
      }
      return inline_table;
    };
    Status status;
    Needs needs;
    batch.ForEach([&](const WriteBatch::Entry& entry) {
      if (!status.ok()) return;
      if (entry.table != nullptr) {
        status = ExpectRows(*entry.table, &needs);
        return;
      }
      const InlineWrite& write = entry.inline_write;
      inline_table_of(write)->Expect(1, 0);
      needs.AddFacts(1, static_cast<int64_t>(write.key.size() + write.value.size()));
    });
    ARROW_RETURN_NOT_OK(status);
    arena_.Reserve(needs.arena_bytes);

    batch.ForEach([&](const WriteBatch::Entry& entry) {
      if (entry.table != nullptr) {
        ApplyRows(*entry.table, commit, system);
        return;
      }
      const InlineWrite& write = entry.inline_write;
      inline_table_of(write)->Insert(write.key, write.value, MemFact::kInline,
                                     static_cast<uint32_t>(write.value.size()), write.kind,
                                     write.valid, commit, system);
    });
    // relaxed: statistics
    facts_.fetch_add(batch.fact_count(), std::memory_order_relaxed);
    batches_.fetch_add(needs.batches, std::memory_order_relaxed);
    retained_bytes_.fetch_add(needs.retained_bytes, std::memory_order_relaxed);
    if (commit != last) {
      if (last.value == 0)
        first_commit_.store(commit.value, std::memory_order_relaxed);  // relaxed: Append releases
      times_.Append(system);
    }
    return Status::OK();
  }

  const TableMemtable* Find(catalog::TableId table) const override {
    const Directory* directory =
        directory_.load(std::memory_order_acquire);  // acquire: pairs with GetOrAdd
    if (directory == nullptr) return nullptr;
    for (const TableMemtableImpl* t : *directory) {
      if (t->schema()->id == table) return t;
    }
    return nullptr;
  }

  std::vector<catalog::TableId> tables() const override {
    std::vector<catalog::TableId> ids;
    if (const Directory* directory =
            directory_.load(std::memory_order_acquire)) {  // acquire: as in Find
      for (const TableMemtableImpl* t : *directory) ids.push_back(t->schema()->id);
    }
    std::sort(ids.begin(), ids.end());
    return ids;
  }

  CommitId first_commit() const override {
    // size() first: its acquire makes first_commit_ visible.
    return times_.size() == 0 ? CommitId{0}
                              : CommitId{first_commit_.load(std::memory_order_relaxed)};
  }
  CommitId last_commit() const override {
    const uint64_t count = times_.size();
    return count == 0
               ? CommitId{0}
               : CommitId{first_commit_.load(std::memory_order_relaxed) + count - 1};  // as above
  }
  SystemTime last_system() const override {
    const uint64_t count = times_.size();
    return count == 0 ? SystemTime::Min() : times_[count - 1];
  }
  SystemTime TimeOf(CommitId commit) const override {
    const CommitId first = first_commit();
    LAMINA_CHECK(first.value != 0 && commit >= first && commit.value - first.value < times_.size());
    return times_[commit.value - first.value];
  }
  CommitId CommitAt(SystemTime t) const override {
    uint64_t low = 0;  // times_[i] <= t for every i < low
    uint64_t high = times_.size();
    while (low < high) {
      const uint64_t middle = low + (high - low) / 2;
      if (times_[middle] <= t) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low == 0 ? CommitId{0} : CommitId{first_commit().value + low - 1};
  }

  int64_t memory_bytes() const override {
    return static_cast<int64_t>(arena_.memory_used()) +
           retained_bytes_.load(std::memory_order_relaxed) +  // relaxed: a statistic
           static_cast<int64_t>(facts_.load(std::memory_order_relaxed) *
                                sizeof(void*));  // the lists of facts
  }
  uint64_t fact_count() const override {
    return facts_.load(std::memory_order_relaxed);
  }  // relaxed: a statistic
  uint64_t batch_count() const override {
    return batches_.load(std::memory_order_relaxed);
  }  // relaxed: a statistic

 private:
  // Few tables, read often, replaced whole.
  using Directory = std::vector<TableMemtableImpl*>;

  // What a commit needs beside the tables' own lists.
  struct Needs {
    size_t arena_bytes = 0;
    uint64_t batches = 0;
    int64_t retained_bytes = 0;
    void AddFacts(int64_t count, int64_t bytes) {
      // Each begins at a multiple of 8.
      arena_bytes +=
          static_cast<size_t>(count) * (sizeof(MemFact) + 8) + static_cast<size_t>(bytes);
    }
  };

  TableMemtableImpl* TableFor(const TableWrite& write) {
    const catalog::TableSchemaPtr inline_schema = InlineSchema(write.schema->id);
    return GetOrAdd(write.schema->id, inline_schema != nullptr ? inline_schema : write.schema,
                    inline_schema != nullptr);
  }

  Status ExpectRows(const TableWrite& write, Needs* needs) {
    TableMemtableImpl* const table = TableFor(write);
    LAMINA_CHECK(table->schema()->version == write.schema->version);
    const int64_t rows = write.row_count();
    const bool retain = !table->inline_facts() && write.rows != nullptr;
    if (retain && table->full()) {
      return MakeError(
          ErrorCode::kResourceExhausted,
          fmt::format("too many batches in one memtable: table={}", table->schema()->name),
          "let memtables be sealed earlier (memtable_batches)");
    }
    table->Expect(static_cast<uint64_t>(rows), retain ? 1 : 0);
    needs->AddFacts(rows, write.keys->total_values_length());
    if (retain) {
      ++needs->batches;
      needs->retained_bytes += arrow::util::TotalBufferSize(*write.rows);
    } else if (write.rows != nullptr) {
      // Arrow makes the array when it is asked for, and keeps it.
      const auto values = write.rows->column(table->value_position());
      needs->arena_bytes +=
          values->type_id() == arrow::Type::BINARY
              ? static_cast<size_t>(
                    static_cast<const arrow::BinaryArray&>(*values).total_values_length())
              : static_cast<size_t>(rows) * 8;
    }
    return Status::OK();
  }

  void ApplyRows(const TableWrite& write, CommitId commit, SystemTime system) {
    TableMemtableImpl* const table = TableFor(write);
    if (table->inline_facts()) {
      ApplyRowsInline(write, commit, system, table);
      return;
    }
    const uint32_t batch =
        write.rows != nullptr ? table->Retain(write.rows) : uint32_t{MemFact::kInline};
    for (int64_t i = 0; i < write.row_count(); ++i) {
      table->Insert(write.keys->GetView(i), {}, batch, static_cast<uint32_t>(i), write.KindOf(i),
                    write.ValidOf(i), commit, system);
    }
  }

  void ApplyRowsInline(const TableWrite& write, CommitId commit, SystemTime system,
                       TableMemtableImpl* table) {
    const arrow::Array* values = nullptr;
    if (write.rows != nullptr) {
      values = write.rows->column(table->value_position()).get();
      LAMINA_CHECK(values->type_id() == arrow::Type::BINARY ||
                   values->type_id() == arrow::Type::INT64);
    }
    char fixed[8];
    for (int64_t i = 0; i < write.row_count(); ++i) {
      const FactKind kind = write.KindOf(i);
      std::string_view value;
      if (kind == FactKind::kPut && values->type_id() == arrow::Type::BINARY) {
        value = static_cast<const arrow::BinaryArray*>(values)->GetView(i);
      } else if (kind == FactKind::kPut) {
        base::StoreFixed64(
            fixed, static_cast<uint64_t>(static_cast<const arrow::Int64Array*>(values)->Value(i)));
        value = {fixed, sizeof(fixed)};
      }
      table->Insert(write.keys->GetView(i), value, MemFact::kInline,
                    static_cast<uint32_t>(value.size()), kind, write.ValidOf(i), commit, system);
    }
  }

  TableMemtableImpl* GetOrAdd(catalog::TableId id, const catalog::TableSchemaPtr& schema,
                              bool inline_facts) {
    for (const auto& table : tables_) {
      if (table->schema()->id == id) return table.get();
    }
    LAMINA_CHECK(schema != nullptr);
    // In both lists or in none.
    auto added = std::make_unique<TableMemtableImpl>(schema, &arena_, inline_facts);
    auto directory = std::make_unique<Directory>();
    directory->reserve(tables_.size() + 1);
    for (const auto& table : tables_) directory->push_back(table.get());
    directory->push_back(added.get());
    tables_.reserve(tables_.size() + 1);
    directories_.reserve(directories_.size() + 1);
    tables_.push_back(std::move(added));
    directory_.store(directory.get(), std::memory_order_release);  // the table is complete
    directories_.push_back(std::move(directory));
    return tables_.back().get();
  }

  base::Arena arena_;

  // Touched by the writer only.
  std::vector<std::unique_ptr<TableMemtableImpl>> tables_;
  // all there ever were: a reader may hold an old one
  std::vector<std::unique_ptr<Directory>> directories_;

  std::atomic<const Directory*> directory_{nullptr};
  std::atomic<uint64_t> first_commit_{0};
  AppendList<SystemTime> times_;
  std::atomic<uint64_t> facts_{0};
  std::atomic<uint64_t> batches_{0};
  std::atomic<int64_t> retained_bytes_{0};
};

}  // namespace

std::shared_ptr<Memtable> Memtable::Make() { return std::make_shared<MemtableImpl>(); }

}  // namespace lamina::engine
