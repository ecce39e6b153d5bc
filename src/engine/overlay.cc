#include <algorithm>
#include <unordered_map>

#include <arrow/array/builder_binary.h>
#include <arrow/array/concatenate.h>
#include <arrow/array/util.h>
#include <arrow/buffer.h>
#include <arrow/compute/api_vector.h>

#include "base/check.h"
#include "base/mutant.h"
#include "engine/overlay_internal.h"
#include "engine/selection_internal.h"
#include "storage/sst/row_batch.h"

namespace lamina::engine::internal {
namespace {

class OverlaySource : public RowSource {
 public:
  OverlaySource(ScanContext* context, const Overlay* overlay)
      : context_(context), overlay_(overlay) {
    columns_ = context->emit_columns;
    if (context->spec.predicate != nullptr) {
      for (const std::string& name : context->spec.predicate->columns())
        AddColumnName(&columns_, name);
    }
  }

  std::optional<std::string> NextBound() override {
    if (next_ == overlay_->size()) return std::nullopt;
    return std::string(overlay_->key(next_));
  }

  Result<std::optional<Block>> Next() override {
    while (next_ < overlay_->size()) {
      const int64_t wanted = std::min(context_->spec.batch_rows,
                                      context_->rows_left.value_or(context_->spec.batch_rows));
      rows_.clear();
      while (next_ < overlay_->size() && static_cast<int64_t>(rows_.size()) < wanted) {
        overlay_->RowsOf(next_++, &rows_);
      }
      if (rows_.empty()) break;
      context_->profile.rows_scanned += rows_.size();
      ARROW_ASSIGN_OR_RAISE(std::optional<Block> block, MakeBlock());
      if (block.has_value()) return block;
    }
    return std::nullopt;
  }

 private:
  Result<std::optional<Block>> MakeBlock() {
    ARROW_ASSIGN_OR_RAISE(BatchPtr batch, overlay_->Materialize(rows_, columns_));
    Selection selection;
    selection.Reset(batch->num_rows());
    if (context_->spec.predicate != nullptr) {
      ARROW_ASSIGN_OR_RAISE(const auto passes, context_->spec.predicate->Evaluate(*batch));
      selection.KeepTrue(*passes);
      if (selection.None()) return std::nullopt;
    }
    Block block;
    arrow::ArrayVector kept(
        batch->columns().begin(),
        batch->columns().begin() + static_cast<ptrdiff_t>(context_->emit_columns.size()));
    block.rows =
        arrow::RecordBatch::Make(context_->emit_schema, batch->num_rows(), std::move(kept));
    ARROW_ASSIGN_OR_RAISE(block.rows, FilterBatch(block.rows, selection));
    if (context_->spec.ordered) {
      arrow::BinaryBuilder keys;
      for (size_t i = 0; i < rows_.size(); ++i) {
        if (selection.Test(static_cast<int64_t>(i)))
          ARROW_RETURN_NOT_OK(keys.Append(rows_[i].fact.fact->key()));
      }
      ARROW_RETURN_NOT_OK(keys.Finish(&block.keys));
      block.first_key = block.keys->GetString(0);
      block.last_key = block.keys->GetString(block.keys->length() - 1);
    }
    return block;
  }

  ScanContext* const context_;
  const Overlay* const overlay_;
  std::vector<std::string> columns_;
  std::vector<Overlay::Row> rows_;
  size_t next_ = 0;
};

// Storage columns of facts of one memtable, as the presented definition has them.
Result<arrow::ArrayVector> PartColumns(const TableMemtable& memtable,
                                       const catalog::TableSchema& presented,
                                       std::span<const MemFact* const> facts,
                                       const std::vector<std::string>& columns) {
  const catalog::TableSchema& written = *memtable.schema();
  // A generation holds one version of the definition: columns are found by id, so that renames
  // since do not matter.
  std::vector<std::string> names;
  std::vector<int> positions;
  for (const std::string& name : columns) {
    const catalog::Column* column = presented.FindColumn(name);
    LAMINA_CHECK(column != nullptr);
    const catalog::Column* source = written.FindColumn(column->id);
    positions.push_back(source == nullptr ? -1 : static_cast<int>(names.size()));
    if (source != nullptr) names.push_back(source->name);
  }
  BatchPtr batch;
  if (!names.empty()) {
    ARROW_ASSIGN_OR_RAISE(batch, memtable.Materialize(facts, names));
  }
  arrow::ArrayVector arrays;
  for (size_t c = 0; c < columns.size(); ++c) {
    const catalog::Column& column = *presented.FindColumn(columns[c]);
    ARROW_ASSIGN_OR_RAISE(auto array,
                          positions[c] < 0
                              ? catalog::InitialValues(column, static_cast<int64_t>(facts.size()))
                              : catalog::CastColumn(batch->column(positions[c]), column.type));
    arrays.push_back(std::move(array));
  }
  return arrays;
}

std::shared_ptr<arrow::Array> WrapInt64(const std::shared_ptr<arrow::DataType>& type,
                                        std::vector<int64_t> values) {
  const auto length = static_cast<int64_t>(values.size());
  return arrow::MakeArray(arrow::ArrayData::Make(
      type, length, {nullptr, arrow::Buffer::FromVector(std::move(values))}, /*null_count=*/0));
}

}  // namespace

Decision DecideMoment(const MemFact* head, CommitId newest, SystemTime system, ValidTime valid,
                      const MemFact** fact) {
  for (const MemFact* f = head; f != nullptr; f = f->older) {
    if (f->commit > newest) continue;
    // An erase leaves nothing of what was before it, whatever the moment.
    if (f->kind == temporal::FactKind::kErase) return Decision::kGone;
    if (f->system > system || !f->valid.Contains(valid)) continue;
    if (f->kind == temporal::FactKind::kDelete) return Decision::kGone;
    *fact = f;
    return Decision::kRow;
  }
  return Decision::kUndecided;
}

Result<BatchPtr> MaterializeFact(const catalog::TableSchema& presented,
                                 const TableMemtable& memtable, const MemFact& fact,
                                 const std::vector<std::string>& columns,
                                 std::shared_ptr<arrow::Schema> schema) {
  std::vector<std::string> storage;
  for (const std::string& name : columns) {
    if (!IsTimeColumn(name)) AddColumnName(&storage, name);
  }
  const MemFact* const facts[] = {&fact};
  arrow::ArrayVector stored;
  if (!storage.empty()) {
    ARROW_ASSIGN_OR_RAISE(stored, PartColumns(memtable, presented, facts, storage));
  }
  arrow::ArrayVector arrays;
  for (const std::string& name : columns) {
    if (name == catalog::kSystemFromColumn) {
      arrays.push_back(WrapInt64(storage::sst::TimeType(), {fact.system.micros}));
    } else if (name == catalog::kCommitColumn) {
      arrays.push_back(WrapInt64(arrow::int64(), {static_cast<int64_t>(fact.commit.value)}));
    } else {
      arrays.push_back(stored[static_cast<size_t>(AddColumnName(&storage, name))]);
    }
  }
  return arrow::RecordBatch::Make(std::move(schema), 1, std::move(arrays));
}

Overlay::Overlay(ScanContext* context) : context_(context), decided_(!context->bounds_matter) {
  const ReadState& state = context->snapshot.state();
  const auto add = [&](const Memtable* memtable, CommitId newest) {
    if (memtable == nullptr) return;
    const TableMemtable* table = memtable->Find(context->spec.table->id);
    if (table == nullptr) return;
    parts_.push_back(table);
    newest_.push_back(newest);
  };
  for (const auto& sealed : state.sealed) add(sealed.get(), context->snapshot.commit());
  add(state.active.get(), context->snapshot.commit());
  add(context->own, kEveryCommit);

  std::vector<std::vector<const MemFact*>> heads(parts_.size());
  size_t keys = 0;
  for (size_t p = 0; p < parts_.size(); ++p) {
    if (context->single_key.has_value()) {
      const MemFact* head = parts_[p]->Find(*context->single_key, context->single_key_hash);
      if (head != nullptr) heads[p].push_back(head);
    } else {
      heads[p] = parts_[p]->SortedHeads(context->spec.keys);
    }
    keys += heads[p].size();
  }
  entries_.reserve(keys);
  facts_.reserve(keys);

  const temporal::Window& window = context->spec.window;
  std::vector<size_t> next(parts_.size(), 0);
  std::vector<const MemFact*> of_key(parts_.size());
  while (true) {
    const MemFact* least = nullptr;
    for (size_t p = 0; p < parts_.size(); ++p) {
      if (next[p] == heads[p].size()) continue;
      const MemFact* head = heads[p][next[p]];
      if (least == nullptr || head->key() < least->key()) least = head;
    }
    if (least == nullptr) break;
    const std::string_view key = least->key();
    for (size_t p = 0; p < parts_.size(); ++p) {
      of_key[p] = next[p] < heads[p].size() && heads[p][next[p]]->key() == key ? heads[p][next[p]++]
                                                                               : nullptr;
    }

    Entry entry{key, static_cast<uint32_t>(facts_.size()), 0};
    if (decided_) {
      Decision decision = Decision::kUndecided;
      for (size_t p = parts_.size(); p-- > 0 && decision == Decision::kUndecided;) {
        if (of_key[p] == nullptr) continue;
        ++context->profile.memtable_facts;
        const MemFact* fact = nullptr;
        decision =
            DecideMoment(of_key[p], newest_[p], window.system.from, window.valid.from, &fact);
        if (decision == Decision::kRow) facts_.push_back({fact, static_cast<uint32_t>(p)});
      }
      if (decision == Decision::kUndecided) continue;
    } else {
      for (uint32_t p = 0; p < parts_.size(); ++p) {
        const size_t before = facts_.size();
        for (const MemFact* f = of_key[p]; f != nullptr; f = f->older) {
          if (f->commit <= newest_[p] || LAMINA_MUTANT("snapshot.later_facts_seen"))
            facts_.push_back({f, p});
        }
        std::reverse(facts_.begin() + static_cast<ptrdiff_t>(before), facts_.end());
      }
      context->profile.memtable_facts += facts_.size() - entry.first;
      if (facts_.size() == entry.first) continue;
    }
    entry.count = static_cast<uint32_t>(facts_.size() - entry.first);
    entries_.push_back(entry);
  }
}

size_t Overlay::LowerBound(std::string_view key, size_t from) const {
  // Galloping: the next batch's keys are near the last one's.
  size_t step = 1;
  size_t low = from;
  size_t high = from;
  while (high < entries_.size() && entries_[high].key < key) {
    low = high + 1;
    high += step;
    step *= 2;
  }
  high = std::min(high, entries_.size());
  const auto it = std::partition_point(entries_.begin() + static_cast<ptrdiff_t>(low),
                                       entries_.begin() + static_cast<ptrdiff_t>(high),
                                       [&](const Entry& entry) { return entry.key < key; });
  return static_cast<size_t>(it - entries_.begin());
}

bool Overlay::Touches(std::string_view min_key, std::string_view max_key) const {
  const size_t entry = LowerBound(min_key);
  return entry < entries_.size() && entries_[entry].key <= max_key;
}

std::span<const temporal::Fact> Overlay::FactsOf(size_t entry,
                                                 std::vector<temporal::Fact>* scratch) const {
  LAMINA_DCHECK(!decided_);
  scratch->clear();
  const Entry& e = entries_[entry];
  for (uint32_t i = 0; i < e.count; ++i) {
    temporal::Fact fact = facts_[e.first + i].fact->ToFact();
    fact.payload = e.first + i;
    scratch->push_back(fact);
  }
  return *scratch;
}

void Overlay::RowsOf(size_t entry, std::vector<Row>* out) const {
  const Entry& e = entries_[entry];
  const temporal::Window& window = context_->spec.window;
  if (decided_ || e.count == 1) {
    if (e.count == 0) return;
    const FactRef& ref = facts_[e.first];
    const MemFact& fact = *ref.fact;
    const Row row{ref, fact.valid, {fact.system, SystemTime::Max()}};
    if (fact.kind == temporal::FactKind::kPut && !fact.valid.empty() &&
        (decided_ || window.Meets(row.valid, row.system))) {
      out->push_back(row);
    }
    return;
  }
  std::vector<temporal::Fact> facts;
  std::vector<temporal::RowVersion> versions;
  temporal::Versions(FactsOf(entry, &facts), &versions);
  for (const temporal::RowVersion& version : versions) {
    if (!window.Meets(version.valid, version.system)) continue;
    Row row{facts_[version.payload], version.valid, version.system};
    if (row.system.to > context_->spec.newest) row.system.to = SystemTime::Max();
    out->push_back(row);
  }
}

Result<arrow::ArrayVector> Overlay::StorageColumns(std::span<const Row> rows,
                                                   const std::vector<std::string>& columns) const {
  std::vector<std::vector<const MemFact*>> facts(parts_.size());
  for (const Row& row : rows) facts[row.fact.part].push_back(row.fact.fact);
  std::vector<int64_t> starts(parts_.size(), 0);
  std::vector<arrow::ArrayVector> pieces(columns.size());
  int64_t total = 0;
  size_t used = 0;
  for (uint32_t p = 0; p < parts_.size(); ++p) {
    starts[p] = total;
    if (facts[p].empty()) continue;
    ++used;
    total += static_cast<int64_t>(facts[p].size());
    ARROW_ASSIGN_OR_RAISE(const arrow::ArrayVector arrays,
                          PartColumns(*parts_[p], *context_->spec.table, facts[p], columns));
    for (size_t c = 0; c < columns.size(); ++c) pieces[c].push_back(arrays[c]);
  }
  arrow::ArrayVector result;
  if (used == 1) {
    for (auto& piece : pieces) result.push_back(piece[0]);
    return result;
  }
  std::vector<int64_t> order;
  order.reserve(rows.size());
  for (const Row& row : rows) order.push_back(starts[row.fact.part]++);
  const arrow::Int64Array indices(total, arrow::Buffer::Wrap(order.data(), order.size()));
  for (const auto& piece : pieces) {
    ARROW_ASSIGN_OR_RAISE(const auto joined, arrow::Concatenate(piece));
    ARROW_ASSIGN_OR_RAISE(
        auto taken,
        arrow::compute::Take(*joined, indices, arrow::compute::TakeOptions::NoBoundsCheck()));
    result.push_back(std::move(taken));
  }
  return result;
}

Result<BatchPtr> Overlay::Materialize(std::span<const Row> rows,
                                      const std::vector<std::string>& columns) const {
  std::vector<std::string> storage;
  for (const std::string& name : columns) {
    if (!IsTimeColumn(name)) storage.push_back(name);
  }
  arrow::ArrayVector stored;
  if (!storage.empty()) {
    ARROW_ASSIGN_OR_RAISE(stored, StorageColumns(rows, storage));
  }
  const auto times = [&](const std::shared_ptr<arrow::DataType>& type, auto value) {
    std::vector<int64_t> values;
    values.reserve(rows.size());
    for (const Row& row : rows) values.push_back(value(row));
    return WrapInt64(type, std::move(values));
  };
  const auto time_type = storage::sst::TimeType();
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  size_t next_stored = 0;
  for (const std::string& name : columns) {
    ARROW_ASSIGN_OR_RAISE(auto field, OutputField(*context_->spec.table, name));
    fields.push_back(std::move(field));
    if (name == catalog::kValidFromColumn) {
      arrays.push_back(times(time_type, [](const Row& row) { return row.valid.from.micros; }));
    } else if (name == catalog::kValidToColumn) {
      arrays.push_back(times(time_type, [](const Row& row) { return row.valid.to.micros; }));
    } else if (name == catalog::kSystemFromColumn) {
      arrays.push_back(times(time_type, [](const Row& row) { return row.system.from.micros; }));
    } else if (name == catalog::kSystemToColumn) {
      arrays.push_back(times(time_type, [](const Row& row) { return row.system.to.micros; }));
    } else if (name == catalog::kCommitColumn) {
      arrays.push_back(times(arrow::int64(), [](const Row& row) {
        return static_cast<int64_t>(row.fact.fact->commit.value);
      }));
    } else {
      arrays.push_back(stored[next_stored++]);
    }
  }
  return arrow::RecordBatch::Make(arrow::schema(std::move(fields)),
                                  static_cast<int64_t>(rows.size()), std::move(arrays));
}

std::unique_ptr<RowSource> Overlay::MakeSource() const {
  return std::make_unique<OverlaySource>(context_, this);
}

}  // namespace lamina::engine::internal
