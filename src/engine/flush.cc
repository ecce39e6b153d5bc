// Flush: facts in memory become row versions at rest.
//
// For each table of the sealed generations, keys ascending:
//   1. collect the key's facts over all generations, oldest first;
//   2. look its open rows up in the table's current files (key bounds, Bloom filter, key page,
//      deletion vector);
//   3. resolve (temporal::Resolve): new rows, rows that ended, rows replaced by pieces, versions
//      erased;
//   4. new open rows go to a current file of level 0, closed ones to a history file, ends to
//      deletion vectors.
// Then the commits table gets one row a commit, and one edit publishes everything.
//
// A key without settled rows and with a single put (a bulk load) takes neither step 2's page reads
// nor step 3.
#include <algorithm>
#include <map>
#include <span>
#include <unordered_map>

#include <arrow/array/builder_binary.h>
#include <arrow/array/concatenate.h>
#include <arrow/compute/api.h>

#include "base/check.h"
#include "base/metrics.h"
#include "base/mutant.h"
#include "base/trace.h"
#include "catalog/key_codec.h"
#include "catalog/system_tables.h"
#include "engine/maintenance.h"
#include "engine/row_output_internal.h"
#include "temporal/resolve.h"

namespace lamina::engine {
namespace {

using catalog::TableId;
using storage::DataFilePtr;
using storage::FileKind;
using storage::sst::EndedRow;
using storage::sst::FileReaderPtr;
using storage::sst::ReadCounters;
using temporal::RowVersion;

/// A current (or, for erases, history) file with what the lookup needs.
struct OpenFile {
  DataFilePtr file;
  FileReaderPtr reader;
  storage::sst::DeletionVectorPtr deletions;  // Null: none.
  std::vector<EndedRow> ended;                // Found by this flush, any order.
};

/// Where the columns of a row to be written are.
struct RowSource {
  const MemFact* fact = nullptr;  // Or:
  uint32_t memtable = 0;
  uint32_t file = 0;
  uint64_t ordinal = 0;
};

class TableFlush {
 public:
  TableFlush(const JobContext& context, const storage::manifest::Version& base,
             catalog::TableSchemaPtr table, std::vector<const TableMemtable*> memtables,
             JobResult* out)
      : context_(context),
        base_(base),
        table_(std::move(table)),
        memtables_(std::move(memtables)),
        out_(out) {
    for (const auto& column : table_->columns) storage_columns_.push_back(column.name);
    for (const auto* m : memtables_) {
      valid_columns_ = valid_columns_ || m->has_valid_times();
      erases_ = erases_ || m->has_erases();
    }
  }

  Status Run() {
    ARROW_RETURN_NOT_OK(OpenFiles());
    current_ = std::make_unique<FileSequence>(
        context_, table_,
        FileOptions(*context_.options, *table_, FileKind::kCurrent, 0, valid_columns_, false),
        &out_->written);
    history_ = std::make_unique<FileSequence>(
        context_, table_,
        FileOptions(*context_.options, *table_, FileKind::kHistory, 0, valid_columns_, true),
        &out_->written);
    ARROW_RETURN_NOT_OK(VisitKeys());
    ARROW_RETURN_NOT_OK(WriteRows(&open_rows_, current_.get()));
    ARROW_RETURN_NOT_OK(WriteRows(&closed_rows_, history_.get()));
    ARROW_RETURN_NOT_OK(current_->Finish());
    ARROW_RETURN_NOT_OK(history_->Finish());
    for (auto* sequence : {current_.get(), history_.get()}) {
      for (const auto& file : sequence->files()) {
        out_->stats.rows_out += file.rows;
        out_->stats.bytes_out += file.bytes;
        out_->stats.files_out += 1;
        out_->edit.add_files.push_back(file);
      }
    }
    return WriteDeletions();
  }

 private:
  struct Pending {
    std::vector<RowSource> sources;
    std::vector<std::string_view> keys;  // Into memtables, which outlive the flush.
    TimeVectors times;
  };

  Status OpenFiles() {
    for (const auto& file : base_.FilesOf(table_->id)) {
      // Only an erase reaches closed rows.
      if (file->kind == FileKind::kHistory &&
          (!erases_ || LAMINA_MUTANT("flush.history_not_erased")))
        continue;
      OpenFile open{file, nullptr, nullptr, {}};
      files_.push_back(std::move(open));
    }
    return Status::OK();
  }

  Status EnsureOpen(OpenFile* f) {
    if (f->reader != nullptr) return Status::OK();
    ARROW_RETURN_NOT_OK(context_.files->Open(f->file, &counters_).Value(&f->reader));
    if (f->file->deletions.has_value()) {
      ARROW_RETURN_NOT_OK(context_.files->Deletions(f->file, &counters_).Value(&f->deletions));
    }
    return Status::OK();
  }

  Status VisitKeys() {
    std::vector<std::vector<const MemFact*>> heads;
    size_t total = 0;
    for (const auto* m : memtables_) {
      heads.push_back(m->SortedHeads(catalog::KeyRange::All()));
      total += heads.back().size();
    }
    std::vector<size_t> at(heads.size(), 0);
    std::vector<temporal::Fact> facts;
    std::vector<uint32_t> owner;  // Memtable of facts[i].
    std::vector<const MemFact*> chain;
    size_t done = 0;
    for (;;) {
      // The smallest key over the generations; few of them, so a linear look is the merge.
      int smallest = -1;
      for (size_t m = 0; m < heads.size(); ++m) {
        if (at[m] == heads[m].size()) continue;
        if (smallest < 0 || heads[m][at[m]]->key() < heads[smallest][at[smallest]]->key())
          smallest = static_cast<int>(m);
      }
      if (smallest < 0) break;
      const std::string_view key = heads[smallest][at[smallest]]->key();
      facts.clear();
      owner.clear();
      for (size_t m = static_cast<size_t>(smallest); m < heads.size(); ++m) {
        if (at[m] == heads[m].size() || heads[m][at[m]]->key() != key) continue;
        chain.clear();
        for (const MemFact* f = heads[m][at[m]]; f != nullptr; f = f->older) chain.push_back(f);
        for (auto it = chain.rbegin(); it != chain.rend(); ++it) {
          facts.push_back((*it)->ToFact());
          owner.push_back(static_cast<uint32_t>(m));
        }
        ++at[m];
        ++done;
      }
      out_->stats.facts_in += facts.size();
      ARROW_RETURN_NOT_OK(FlushKey(key, facts, owner));
      if (open_rows_.sources.size() >= kRowsAtOnce)
        ARROW_RETURN_NOT_OK(WriteRows(&open_rows_, current_.get()));
      if (closed_rows_.sources.size() >= kRowsAtOnce) {
        ARROW_RETURN_NOT_OK(WriteRows(&closed_rows_, history_.get()));
      }
      if ((done & 0xfff) == 0) {
        if (context_.cancelled && context_.cancelled())
          return MakeError(ErrorCode::kCancelled, "flush cancelled");
        if (context_.progress) context_.progress(done, total);
      }
    }
    return Status::OK();
  }

  Status FlushKey(std::string_view key, std::span<const temporal::Fact> facts,
                  std::span<const uint32_t> owner) {
    settled_.clear();
    settled_at_.clear();
    ARROW_RETURN_NOT_OK(FindSettled(key, facts));
    // An erase reaches closed rows as well, which the lookup does not look for.
    if ((settled_.empty() ||
         (LAMINA_MUTANT("flush.tombstone_lost") && facts[0].kind == temporal::FactKind::kDelete)) &&
        facts.size() == 1 && facts[0].kind != temporal::FactKind::kErase) {
      const auto& f = facts[0];
      if (f.kind == temporal::FactKind::kPut) {
        AddRow(key, {f.valid, {f.system, SystemTime::Max()}, f.commit, f.payload},
               SourceOf(f, owner[0]));
      }
      return Status::OK();
    }
    temporal::Resolve(settled_, facts, &resolution_);
    for (size_t i = 0; i < settled_.size(); ++i) {
      const auto& result = resolution_.open[i];
      auto& [file, ordinal] = settled_at_[i];
      switch (result.outcome) {
        case temporal::Outcome::kUntouched:
          break;
        case temporal::Outcome::kEnded:
          files_[file].ended.push_back({static_cast<uint32_t>(ordinal), result.ended_at});
          ++out_->stats.rows_ended;
          break;
        case temporal::Outcome::kRewritten:
        case temporal::Outcome::kErased:
          files_[file].ended.push_back({static_cast<uint32_t>(ordinal), storage::sst::kRewritten});
          ++out_->stats.rows_rewritten;
          break;
      }
    }
    if (resolution_.erase_history) ARROW_RETURN_NOT_OK(EraseClosed(key));
    for (const auto& n : resolution_.new_rows) {
      if (!n.from_open) {
        AddRow(key, n.row, SourceOf(facts[n.source], owner[n.source]));
        continue;
      }
      RowSource source;
      source.file = settled_at_[n.source].first;
      source.ordinal = settled_at_[n.source].second;
      AddRow(key, n.row, source);
    }
    return Status::OK();
  }

  static RowSource SourceOf(const temporal::Fact& fact, uint32_t memtable) {
    RowSource source;
    source.fact = reinterpret_cast<const MemFact*>(fact.payload);
    source.memtable = memtable;
    return source;
  }

  void AddRow(std::string_view key, const RowVersion& row, const RowSource& source) {
    Pending& pending = row.system.to == SystemTime::Max() ? open_rows_ : closed_rows_;
    pending.sources.push_back(source);
    pending.keys.push_back(key);
    pending.times.Add(row);
  }

  /// Fills settled_ (payload unused) and settled_at_ with the key's open rows in current files.
  Status FindSettled(std::string_view key, std::span<const temporal::Fact> facts) {
    if (files_.empty()) return Status::OK();
    const bool facts_for_all_time =
        std::all_of(facts.begin(), facts.end(), [](const auto& f) { return f.valid.all(); });
    const uint64_t hash = catalog::HashKey(key);
    for (size_t i = 0; i < files_.size(); ++i) {
      OpenFile& f = files_[i];
      if (f.file->kind != FileKind::kCurrent || key < f.file->min_key || key > f.file->max_key)
        continue;
      if (LAMINA_MUTANT("flush.last_key_of_a_file_missed") && key == f.file->max_key) continue;
      ARROW_RETURN_NOT_OK(EnsureOpen(&f));
      if (!f.reader->KeyMayExist(key, hash, &counters_)) continue;
      ++out_->stats.lookups;
      ARROW_ASSIGN_OR_RAISE(const auto range, f.reader->FindKey(key, &counters_));
      for (uint64_t ordinal = range.first; ordinal < range.last; ++ordinal) {
        if (f.deletions != nullptr && f.deletions->IsEnded(ordinal)) continue;
        RowVersion row;
        row.system = {SystemTime::Min(), SystemTime::Max()};
        // A row for all time under facts for all time can only end whole: its times need not be
        // read.
        if (!facts_for_all_time || f.file->has_valid_columns)
          ARROW_RETURN_NOT_OK(ReadTimes(f, ordinal, &row));
        settled_.push_back(row);
        settled_at_.emplace_back(static_cast<uint32_t>(i), ordinal);
      }
    }
    return Status::OK();
  }

  Status ReadTimes(const OpenFile& f, uint64_t ordinal, RowVersion* row) {
    static const std::vector<std::string> kTimes = {
        catalog::kValidFromColumn, catalog::kValidToColumn, catalog::kSystemFromColumn,
        catalog::kCommitColumn};
    const uint32_t page = static_cast<uint32_t>(ordinal / f.reader->rows_per_page());
    ARROW_ASSIGN_OR_RAISE(const auto rows, f.reader->ReadPage(page, *table_, kTimes, &counters_));
    const auto times = storage::sst::TimeColumns::Of(*rows.rows);
    const auto at = ordinal - rows.first_ordinal;
    row->valid = {{times.valid_from[at]}, {times.valid_to[at]}};
    row->system.from = {times.system_from[at]};
    row->commit = {static_cast<uint64_t>(times.commit[at])};
    return Status::OK();
  }

  /// Hides every closed version of an erased key: those that ended in current files and those in
  /// history files. They leave the files with the compaction that the engine starts for the erase.
  Status EraseClosed(std::string_view key) {
    const uint64_t hash = catalog::HashKey(key);
    for (auto& f : files_) {
      if (key < f.file->min_key || key > f.file->max_key) continue;
      ARROW_RETURN_NOT_OK(EnsureOpen(&f));
      if (!f.reader->KeyMayExist(key, hash, &counters_)) continue;
      ARROW_ASSIGN_OR_RAISE(const auto range, f.reader->FindKey(key, &counters_));
      for (uint64_t ordinal = range.first; ordinal < range.last; ++ordinal) {
        f.ended.push_back({static_cast<uint32_t>(ordinal), storage::sst::kRewritten});
      }
    }
    return Status::OK();
  }

  /// Materializes the pending rows (in order) and hands them to the sequence.
  Status WriteRows(Pending* pending, FileSequence* sequence) {
    const size_t n = pending->sources.size();
    if (n == 0) return Status::OK();
    arrow::RecordBatchVector parts;
    std::vector<int64_t> position(n);  // In the concatenation of parts.
    int64_t rows_before = 0;
    bool in_order = true;

    std::vector<const MemFact*> facts;
    std::vector<size_t> where;
    for (uint32_t m = 0; m < memtables_.size(); ++m) {
      facts.clear();
      where.clear();
      for (size_t i = 0; i < n; ++i) {
        if (pending->sources[i].fact == nullptr || pending->sources[i].memtable != m) continue;
        facts.push_back(pending->sources[i].fact);
        where.push_back(i);
      }
      if (facts.empty()) continue;
      ARROW_ASSIGN_OR_RAISE(auto part, memtables_[m]->Materialize(facts, storage_columns_));
      for (size_t k = 0; k < where.size(); ++k)
        position[where[k]] = rows_before + static_cast<int64_t>(k);
      rows_before += part->num_rows();
      parts.push_back(std::move(part));
    }
    // Pieces: page by page of their files.
    std::map<std::pair<uint32_t, uint32_t>, std::vector<size_t>> pages;
    for (size_t i = 0; i < n; ++i) {
      const RowSource& s = pending->sources[i];
      if (s.fact != nullptr) continue;
      pages[{s.file, static_cast<uint32_t>(s.ordinal / files_[s.file].reader->rows_per_page())}]
          .push_back(i);
    }
    for (const auto& [place, indices] : pages) {
      ARROW_ASSIGN_OR_RAISE(const auto page,
                            files_[place.first].reader->ReadPage(place.second, *table_,
                                                                 storage_columns_, &counters_));
      std::vector<int64_t> take;
      for (size_t k = 0; k < indices.size(); ++k) {
        take.push_back(
            static_cast<int64_t>(pending->sources[indices[k]].ordinal - page.first_ordinal));
        position[indices[k]] = rows_before + static_cast<int64_t>(k);
      }
      ARROW_ASSIGN_OR_RAISE(auto taken,
                            arrow::compute::Take(arrow::Datum(page.rows),
                                                 MakeInt64Like(std::move(take), arrow::int64())));
      rows_before += static_cast<int64_t>(indices.size());
      parts.push_back(taken.record_batch());
    }
    for (size_t i = 0; i < n && in_order; ++i) in_order = position[i] == static_cast<int64_t>(i);

    std::shared_ptr<arrow::RecordBatch> columns;
    if (parts.size() == 1) {
      columns = parts[0];
    } else {
      ARROW_ASSIGN_OR_RAISE(columns, arrow::ConcatenateRecordBatches(parts));
    }
    if (!in_order) {
      ARROW_ASSIGN_OR_RAISE(
          auto taken, arrow::compute::Take(arrow::Datum(columns),
                                           MakeInt64Like(std::move(position), arrow::int64())));
      columns = taken.record_batch();
    }
    ARROW_ASSIGN_OR_RAISE(auto rows, MakeRowBatch(*table_, *columns, std::move(pending->times)));
    arrow::BinaryBuilder keys;
    ARROW_RETURN_NOT_OK(keys.Reserve(static_cast<int64_t>(n)));
    for (const auto key : pending->keys) ARROW_RETURN_NOT_OK(keys.Append(key));
    std::shared_ptr<arrow::BinaryArray> key_array;
    ARROW_RETURN_NOT_OK(keys.Finish(&key_array));
    *pending = Pending();
    return sequence->Write(rows, key_array, nullptr);
  }

  Status WriteDeletions() {
    storage::sst::DeletionVectorPack pack;
    for (auto& f : files_) {
      if (f.ended.empty()) continue;
      auto& ended = f.ended;
      std::stable_sort(ended.begin(), ended.end(),
                       [](const EndedRow& a, const EndedRow& b) { return a.ordinal < b.ordinal; });
      // An erase may name a row that a fact before it ended: erased wins.
      std::vector<EndedRow> unique;
      for (const auto& e : ended) {
        if (!unique.empty() && unique.back().ordinal == e.ordinal) {
          if (e.ended_at == storage::sst::kRewritten) unique.back() = e;
          continue;
        }
        unique.push_back(e);
      }
      storage::sst::DeletionVectorPtr vector;
      if (f.deletions != nullptr && !LAMINA_MUTANT("flush.older_ends_lost")) {
        ARROW_ASSIGN_OR_RAISE(vector, f.deletions->With(unique));
      } else {
        ARROW_ASSIGN_OR_RAISE(vector,
                              storage::sst::DeletionVector::Make(std::move(unique), f.file->rows));
      }
      pack.Add(f.file->id, std::move(vector));
    }
    if (pack.empty()) return Status::OK();
    const base::Ulid object = context_.ulids->Next();
    out_->written.push_back(storage::DeletionVectorPath(table_->id, object));
    ARROW_ASSIGN_OR_RAISE(const auto refs, pack.Write(context_.store.get(), table_->id, object));
    for (const auto& [file, ref] : refs) {
      out_->edit.set_deletions.emplace_back(table_->id, file, ref);
      out_->stats.bytes_out += ref.length;
    }
    return Status::OK();
  }

  static constexpr size_t kRowsAtOnce = 128 * 1024;

  const JobContext& context_;
  const storage::manifest::Version& base_;
  const catalog::TableSchemaPtr table_;
  const std::vector<const TableMemtable*> memtables_;  // Oldest first.
  JobResult* const out_;

  std::vector<std::string> storage_columns_;
  bool valid_columns_ = false;
  bool erases_ = false;
  std::vector<OpenFile> files_;
  ReadCounters counters_;
  std::unique_ptr<FileSequence> current_;
  std::unique_ptr<FileSequence> history_;
  Pending open_rows_;
  Pending closed_rows_;
  // Scratch of one key.
  std::vector<RowVersion> settled_;
  std::vector<std::pair<uint32_t, uint64_t>> settled_at_;  // (file, ordinal)
  temporal::Resolution resolution_;
};

/// One row a commit: its number is the key, its time the row's _system_from.
Status FlushCommits(const JobContext& context,
                    const std::vector<std::shared_ptr<const Memtable>>& sealed, JobResult* out) {
  const auto table = catalog::CommitsTableSchema();
  FileSequence sequence(context, table,
                        FileOptions(*context.options, *table, FileKind::kCurrent, 0, false, false),
                        &out->written);
  const catalog::KeyCodec codec(*table);
  for (const auto& memtable : sealed) {
    if (memtable->first_commit().value == 0) continue;
    for (uint64_t first = memtable->first_commit().value; first <= memtable->last_commit().value;) {
      const uint64_t last = std::min(memtable->last_commit().value, first + 64 * 1024 - 1);
      TimeVectors times;
      times.Reserve(last - first + 1);
      std::vector<int64_t> numbers;
      for (uint64_t c = first; c <= last; ++c) {
        numbers.push_back(static_cast<int64_t>(c));
        times.Add({{}, {memtable->TimeOf({c}), SystemTime::Max()}, {c}, 0});
      }
      const auto n = static_cast<int64_t>(numbers.size());
      auto columns = arrow::RecordBatch::Make(table->StorageSchema(), n,
                                              {MakeInt64Like(std::move(numbers), arrow::int64())});
      ARROW_ASSIGN_OR_RAISE(const auto keys, codec.Encode(*columns));
      ARROW_ASSIGN_OR_RAISE(const auto rows, MakeRowBatch(*table, *columns, std::move(times)));
      ARROW_RETURN_NOT_OK(sequence.Write(rows, keys, nullptr));
      first = last + 1;
    }
  }
  ARROW_RETURN_NOT_OK(sequence.Finish());
  for (const auto& file : sequence.files()) out->edit.add_files.push_back(file);
  return Status::OK();
}

}  // namespace

Result<JobResult> RunFlush(const JobContext& context, const storage::manifest::Version& base,
                           const std::vector<std::shared_ptr<const Memtable>>& sealed) {
  LAMINA_CHECK(!sealed.empty());
  const int64_t start = context.clock->MonotonicNanos();
  JobResult out;
  out.edit.reason = "flush";
  out.edit.created_micros = context.clock->NowMicros();
  const auto abandon = [&](const Status& status) {
    // What was written is garbage without the edit; orphans that cannot be deleted now are
    // collected later.
    for (const auto& path : out.written) (void)context.store->Delete(path);
    return status;
  };

  std::map<TableId, std::vector<const TableMemtable*>> tables;
  CommitId last_commit;
  SystemTime last_system;
  for (const auto& memtable : sealed) {
    if (memtable->last_commit().value != 0) {
      last_commit = memtable->last_commit();
      last_system = memtable->last_system();
    }
    for (const auto id : memtable->tables()) tables[id].push_back(memtable->Find(id));
  }
  for (const auto& [id, memtables] : tables) {
    const auto table = base.catalog.Find(id);
    if (id == catalog::kIdempotencyTable && LAMINA_MUTANT("flush.idempotency_keys_forgotten"))
      continue;
    if (table == nullptr) continue;  // Dropped since: its facts have no home and no reader.
    const auto status = TableFlush(context, base, table, memtables, &out).Run();
    if (!status.ok()) return abandon(status);
    if (!table->has_primary_key) {
      // Deletes name rows of before: what is in memory may all lie below the ids given out.
      const auto given = base.next_row_id.find(id);
      int64_t next = given == base.next_row_id.end() ? 0 : given->second;
      for (const auto* m : memtables) {
        const auto heads = m->SortedHeads(catalog::KeyRange::All());
        if (heads.empty()) continue;
        auto decoded =
            catalog::KeyCodec(*table).Decode(std::vector<std::string_view>{heads.back()->key()});
        if (!decoded.ok()) return abandon(decoded.status());
        next = std::max(next, static_cast<const arrow::Int64Array&>(*(*decoded)[0]).Value(0) +
                                  (LAMINA_MUTANT("flush.row_id_reused") ? 0 : 1));
      }
      out.edit.next_row_id.emplace_back(id, next);
    }
  }
  const auto status = FlushCommits(context, sealed, &out);
  if (!status.ok()) return abandon(status);
  if (last_commit.value != 0) out.edit.flushed = {last_commit, last_system};
  out.stats.nanos = static_cast<uint64_t>(context.clock->MonotonicNanos() - start);
  return out;
}

}  // namespace lamina::engine
