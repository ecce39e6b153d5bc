// What happens beside the commits: sealing, flushing, compaction, garbage collection, and the
// publishing of versions.
//
// Every step has a foreground form (the caller's thread does it) and a task that calls the same
// function on the executor. A version is published with publish_mu_ held from reading the newest
// version to installing the next, so an edit always fits.
#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/mutant.h"
#include "base/out_of_memory.h"
#include "base/scope_guard.h"
#include "base/trace.h"
#include "catalog/key_codec.h"
#include "engine/bulk_load_internal.h"
#include "engine/engine_internal.h"

namespace lamina::engine {

using storage::manifest::Version;
using storage::manifest::VersionEdit;
using storage::manifest::VersionPtr;

namespace {

constexpr int64_t kBackoffFirstMicros = 100'000;
constexpr int64_t kBackoffLastMicros = 30'000'000;
constexpr int64_t kCompactionRetryMicros = 1'000'000;
constexpr int64_t kGcDelayMinMicros = 100'000;
constexpr int64_t kUnfinishedAgeMicros = int64_t{3600} * 1'000'000;  // no write takes as long

int32_t MostLevel0Files(const storage::manifest::Version& version) {
  int64_t most = 0;
  for (const auto& [table, files] : version.files) {
    most = std::max<int64_t>(
        most, std::count_if(files.begin(), files.end(), [](const storage::DataFilePtr& f) {
          return f->kind == storage::FileKind::kCurrent && f->level == 0;
        }));
  }
  return static_cast<int32_t>(std::min<int64_t>(most, std::numeric_limits<int32_t>::max()));
}

// Deletes what an unpublished job wrote. What cannot be deleted now is an orphan that a later
// collection finds.
void DeleteWritten(ObjectStore* store, const std::vector<std::string>& written) {
  for (const std::string& path : written) (void)store->Delete(path);
}

// A fenced or unsettled publish must not be followed by anything, nor a sync of the store that
// failed.
bool EndsWriting(const Status& status) {
  const ErrorCode code = CodeOf(status);
  return code == ErrorCode::kFenced || code == ErrorCode::kCommitUnknown ||
         code == ErrorCode::kStopped;
}

}  // namespace

// ---- Tasks ----

bool EngineImpl::Schedule(void (EngineImpl::*task)(), std::atomic<bool>* scheduled,
                          int64_t delay_micros) {
  if (closing_.load(std::memory_order_acquire)) return true;
  // Exchanges on both sides, never a load that ends it early: they are in one order, so a caller
  // that finds the task still due hands what it did before (a commit to be synced) to the run that
  // takes the mark away. A load could see the mark of a run that had already looked for work.
  if (scheduled->exchange(true, std::memory_order_acq_rel)) return true;
  auto body = [this, gate = gate_, task, scheduled] {
    if (!gate->Enter()) return;  // the engine is gone: `this` and `scheduled` must not be touched
    scheduled->exchange(false, std::memory_order_acq_rel);
    try {
      (this->*task)();
    } catch (const std::bad_alloc&) {
      // A net: each task catches where it allocates, and sees to its next run. What it forgot must
      // not end the program.
    }
    gate->Leave();
  };
  try {
    const bool taken = delay_micros > 0 ? executor_->Delayed(delay_micros, std::move(body)) != 0
                                        : executor_->Submit(std::move(body));
    // An executor that was shut down runs nothing any more: foreground calls still do all the work.
    if (!taken) scheduled->store(false, std::memory_order_release);
    return true;
  } catch (const std::bad_alloc&) {
    // Likewise, until the next reason to schedule it.
    LAMINA_REACHED("engine.schedule.out_of_memory");
    scheduled->store(false, std::memory_order_release);
    return false;
  }
}

void EngineImpl::ScheduleSync() {
  if (Schedule(&EngineImpl::SyncTask, &sync_scheduled_, options_.sync_interval_micros)) return;
  // No commit may come that would schedule it later, and the interval is a promise. An error has
  // stopped the engine, and that is where the next commit finds it.
  (void)MakeDurable({appended_.load(std::memory_order_acquire)});
}
void EngineImpl::ScheduleAge() {
  Schedule(&EngineImpl::AgeTask, &age_scheduled_, seal_.age_micros);
}
void EngineImpl::ScheduleCompaction() {
  int64_t none = 0;  // a task that is due already keeps its time
  // relaxed: a statistic
  compaction_due_nanos_.compare_exchange_strong(
      none, std::max<int64_t>(clock_->MonotonicNanos(), 1), std::memory_order_relaxed);
  Schedule(&EngineImpl::CompactionTask, &compaction_scheduled_);
}
void EngineImpl::ScheduleGc() {
  if (!options_.auto_gc) return;
  Schedule(&EngineImpl::GcTask, &gc_scheduled_,
           std::max(options_.gc_grace_micros, kGcDelayMinMicros));
}

void EngineImpl::ScheduleAfterPublish() {
  if (options_.auto_compact) ScheduleCompaction();
  if (!state()->version->retired.empty()) ScheduleGc();
}

void EngineImpl::SyncTask() {
  // An error has stopped the engine, and that is where the next commit finds it.
  (void)MakeDurable({appended_.load(std::memory_order_acquire)});
}

void EngineImpl::AgeTask() {
  bool sealed = false;
  {
    base::MutexLock lock(&commit_mu_);
    if (const SealReason due = DueSeal(); due != SealReason::kNone) {
      try {
        sealed = Seal(due).ok();  // an error has stopped the engine
      } catch (const std::bad_alloc&) {
        ScheduleAge();
      }
    } else if (seal_.age_micros > 0 && active_->first_commit().value != 0) {
      ScheduleAge();
    }
  }
  if (sealed && options_.auto_flush) ScheduleFlush();
}

void EngineImpl::FlushTask() {
  if (stopped_.load(std::memory_order_acquire)) return;
  Status status;
  {
    base::MutexLock lock(&publish_mu_);
    status = FlushSealed();
  }
  if (status.ok()) ScheduleAfterPublish();  // else FlushSealed has seen to the next try
}

void EngineImpl::CompactionTask() {
  while (!closing_.load(std::memory_order_acquire) && !stopped_.load(std::memory_order_acquire)) {
    Result<bool> ran = false;
    {
      base::MutexLock lock(&compaction_mu_);
      // relaxed: a statistic
      if (const int64_t due = compaction_due_nanos_.exchange(0, std::memory_order_relaxed);
          due != 0) {
        counters_.compaction_wait_nanos.Add(
            static_cast<uint64_t>(std::max<int64_t>(clock_->MonotonicNanos() - due, 0)));
      }
      ran = CompactOnce();
      try {
        if (ran.ok() && !*ran && !state()->version->erases.empty()) {
          if (Status finished = FinishErases(); !finished.ok()) ran = finished;
        }
      } catch (const std::bad_alloc&) {
        ran = base::OutOfMemory();
      }
    }
    if (!ran.ok()) {
      Schedule(&EngineImpl::CompactionTask, &compaction_scheduled_, kCompactionRetryMicros);
      return;
    }
    if (!*ran) return;
    ScheduleGc();
    if (flush_scheduled_.load(std::memory_order_acquire)) {
      // Let a waiting flush have this thread: commits depend on it.
      ScheduleCompaction();
      return;
    }
  }
}

void EngineImpl::GcTask() {
  if (stopped_.load(std::memory_order_acquire)) return;
  // Its error says what could not be deleted; the next run tries again.
  try {
    (void)CollectGarbage(/*dry_run=*/false, std::nullopt);
  } catch (const std::bad_alloc&) {
    // As after an error.
  }
  if (!state()->version->retired.empty()) ScheduleGc();
}

JobContext EngineImpl::MakeJobContext(bool cancellable) {
  JobContext context;
  context.options = &options_;
  context.store = options_.store;
  context.files = files_.get();
  context.ulids = &ulids_;
  context.clock = clock_;
  if (cancellable) context.cancelled = [this] { return closing_.load(std::memory_order_acquire); };
  return context;
}

// ---- Publishing ----

Result<VersionPtr> EngineImpl::PublishEdit(const VersionEdit& edit, size_t flushed_memtables,
                                           const std::shared_ptr<const Memtable>& unlogged,
                                           const std::shared_ptr<const Loaded>& loaded) {
  if (stopped_.load(std::memory_order_acquire)) return StoppedError();
  if (ended_) return ClosedError();
  auto published = manifest_->Commit(edit);
  if (!published.ok()) {
    if (EndsWriting(published.status())) {
      Stop(published.status());
    } else {
      AdoptNewest();
    }
    return published.status();
  }
  const VersionPtr version = *published;
  ReadStatePtr old;
  try {
    base::MutexLock lock(&state_mu_);
    old = state_;
    auto next = std::make_shared<ReadState>(*state_);
    next->version = version;
    for (size_t i = 0; i < flushed_memtables; ++i) retained_.push_back(next->sealed[i]);
    if (loaded != nullptr) loaded_.push_back(loaded);
    if (unlogged != nullptr) retained_.push_back(unlogged);  // the last that may throw
    for (size_t i = 0; i < flushed_memtables; ++i) sealed_info_.pop_front();
    next->sealed.erase(next->sealed.begin(),
                       next->sealed.begin() + static_cast<ptrdiff_t>(flushed_memtables));
    // In one step for whoever takes a snapshot: files hold published commits only (N3).
    if (unlogged != nullptr) Publish(unlogged->last_commit());
    state_ = std::move(next);
    TrimConflictWindow();
  } catch (const std::bad_alloc&) {
    // The manifest has it and we cannot follow: nothing more may be planned on the version before.
    LAMINA_REACHED("engine.publish.out_of_memory");
    Stop(base::OutOfMemory());
    return base::OutcomeUnknown();
  }
  CountLevel0(*version);
  sealed_count_.fetch_sub(static_cast<int32_t>(flushed_memtables), std::memory_order_acq_rel);
  NotifyBackground();
  try {
    base::Trace(options_.trace.get(), "engine", "version.published",
                {{"version", version->number}, {"reason", std::string_view(edit.reason)}});
  } catch (const std::bad_alloc&) {
    // The caller's sink has no memory; publishing is done.
  }
  return version;
}

void EngineImpl::AdoptNewest() {
  // Someone who owns nothing (a checkpoint's or a compaction's coordinator) may have moved the ref
  // and made our edit a misfit: whatever is planned next must be planned on what is there now. What
  // only the owner changes is checked, as our memtables depend on it (N4).
  const VersionPtr newest = manifest_->current();
  {
    base::MutexLock lock(&state_mu_);
    const storage::manifest::Version& known = *state_->version;
    if (newest->number <= known.number || newest->owner_epoch != known.owner_epoch ||
        newest->flushed_commit != known.flushed_commit) {
      return;
    }
    LAMINA_REACHED("engine.publish.adopted");
    auto next = std::make_shared<ReadState>(*state_);
    next->version = newest;
    state_ = std::move(next);
  }
  CountLevel0(*newest);
}

void EngineImpl::CountLevel0(const storage::manifest::Version& version) {
  level0_files_.store(MostLevel0Files(version), std::memory_order_release);
}

void EngineImpl::TrimConflictWindow() {
  // A snapshot can only be checked while every fact after it is here; none live needs what lies at
  // or below its commit.
  const std::optional<CommitId> oldest = registry_->oldest();
  int64_t bytes = 0;
  for (const auto& memtable : retained_) bytes += memtable->memory_bytes();
  while (!retained_.empty()) {
    const bool needed = oldest && *oldest < retained_.front()->last_commit();
    if (needed && bytes <= options_.retained_conflict_bytes) break;
    bytes -= retained_.front()->memory_bytes();
    if (!LAMINA_MUTANT("flush.conflict_floor_not_raised"))
      conflict_floor_ = std::max(conflict_floor_, retained_.front()->last_commit());
    retained_.pop_front();
  }
  // A load's commit has a memtable among those.
  while (!loaded_.empty() && loaded_.front()->commit <= conflict_floor_) loaded_.pop_front();
}

// ---- Seal and flush ----

EngineImpl::SealReason EngineImpl::DueSeal() const {
  if (active_->first_commit().value == 0) return SealReason::kNone;
  if (seal_.bytes > 0 && active_->memory_bytes() >= seal_.bytes) return SealReason::kBytes;
  if (seal_.rows > 0 && active_->fact_count() >= static_cast<uint64_t>(seal_.rows))
    return SealReason::kRows;
  if (seal_.batches > 0 && active_->batch_count() >= static_cast<uint64_t>(seal_.batches))
    return SealReason::kBatches;
  if (seal_.age_micros > 0 &&
      clock_->MonotonicNanos() - active_since_nanos_ >= seal_.age_micros * 1000) {
    return SealReason::kAge;
  }
  return SealReason::kNone;
}

void EngineImpl::CountSeal(SealReason reason) {
  switch (reason) {
    case SealReason::kNone:
      break;
    case SealReason::kBytes:
      return counters_.seals_bytes.Add();
    case SealReason::kRows:
      return counters_.seals_rows.Add();
    case SealReason::kBatches:
      return counters_.seals_batches.Add();
    case SealReason::kAge:
      return counters_.seals_age.Add();
    case SealReason::kAsked:
      return counters_.seals_asked.Add();
  }
}

Status EngineImpl::Seal(SealReason reason) {
  // What is in memory after a stop may never have reached the log: it must not become "durable".
  if (stopped_.load(std::memory_order_acquire)) return StoppedError();
  if (active_->first_commit().value == 0) {
    // Commits that were refused for lack of memory leave tables without facts, which take no facts
    // of a later definition: whoever seals in order to change one gets rid of them.
    if (active_->tables().empty()) return Status::OK();
    auto fresh = Memtable::Make();
    base::MutexLock lock(&state_mu_);
    auto next = std::make_shared<ReadState>(*state_);
    next->active = fresh;
    state_ = std::move(next);
    active_ = std::move(fresh);
    return Status::OK();
  }
  storage::manifest::WalFloor floor{epoch_, 1};
  if (wal_ != nullptr) {
    // The floor is a segment boundary: nothing of this memtable lies in the segment that begins
    // now.
    auto begun = wal_->Rotate();
    if (!begun.ok()) {
      Stop(begun.status());
      return begun.status();
    }
    floor = {begun->epoch, begun->segment};
    // Rotate synced what it closed. Publishing is left to those who wait for it, or to the flush.
    RaiseTo(&durable_, newest_.value);
  }
  auto fresh = Memtable::Make();
  {
    base::MutexLock lock(&state_mu_);
    auto next = std::make_shared<ReadState>(*state_);
    next->sealed.push_back(next->active);
    next->active = fresh;
    sealed_info_.push_back({floor, clock_->MonotonicNanos()});  // the last that may throw
    state_ = std::move(next);
  }
  active_ = std::move(fresh);
  CountSeal(reason);
  sealed_count_.fetch_add(1, std::memory_order_acq_rel);
  return Status::OK();
}

// What there is to count and to do once a flush is published.
struct EngineImpl::FlushedNow {
  bool any = false;
  JobStats stats;
  uint64_t files = 0;
  CommitId commit;
  std::vector<int64_t> sealed_nanos;
};

void EngineImpl::CompleteFlush(const Version& base,
                               const std::vector<std::shared_ptr<const Memtable>>& flushed,
                               VersionEdit* edit) {
  // A memtable with deletes of old rows only names ids below the floor, which may not fall.
  for (auto& [table, next] : edit->next_row_id) {
    const auto known = base.next_row_id.find(table);
    if (known != base.next_row_id.end()) next = std::max(next, known->second);
  }
  // An erased key is remembered until no file holds it: what erased it leaves memory and log with
  // this flush.
  for (const auto& memtable : flushed) {
    for (const catalog::TableId id : memtable->tables()) {
      const TableMemtable* facts = memtable->Find(id);
      if (!facts->has_erases() || base.catalog.Find(id) == nullptr) continue;
      facts->VisitSince({0}, [&](const MemFact& fact) {
        if (fact.kind == temporal::FactKind::kErase) {
          edit->add_erases.push_back({id, std::string(fact.key()), fact.commit});
        }
        return true;
      });
    }
  }
}

Status EngineImpl::FlushAndPublish(FlushedNow* flushed) {
  std::vector<std::shared_ptr<const Memtable>> sealed;
  std::optional<storage::manifest::WalFloor> floor;
  VersionPtr base;
  {
    base::MutexLock lock(&state_mu_);
    sealed = state_->sealed;
    base = state_->version;
    for (const SealedInfo& info : sealed_info_) {
      if (info.floor) floor = info.floor;
      flushed->sealed_nanos.push_back(info.sealed_nanos);
    }
    if (floor && wal_ != nullptr && LAMINA_MUTANT("flush.floor_of_the_writer"))
      floor = {wal_->current().epoch, wal_->current().segment};
  }
  if (sealed.empty()) return Status::OK();
  flushed->any = true;
  flushed->commit = sealed.back()->last_commit();
  // Sealing made these commits durable, so they may be seen now; files must hold nothing that a
  // reader cannot see (N3).
  Publish(flushed->commit);

  const JobContext context = MakeJobContext(/*cancellable=*/false);
  ARROW_ASSIGN_OR_RAISE(auto job, RunFlush(context, *base, sealed));
  if (floor && *floor > base->wal_floor) job.edit.wal_floor = floor;
  CompleteFlush(*base, sealed, &job.edit);
  flushed->stats = job.stats;
  flushed->files = job.edit.add_files.size();
  Status published = PublishEdit(job.edit, sealed.size()).status();
  // After an unsettled publish the files may be referred to.
  if (!published.ok() &&
      (!EndsWriting(published) || LAMINA_MUTANT("flush.files_deleted_after_unclear_publish"))) {
    DeleteWritten(options_.store.get(), job.written);
  }
  return published;
}

void EngineImpl::CountFlush(const FlushedNow& flushed) {
  counters_.flushes.Add();
  counters_.flush_rows_in.Add(flushed.stats.facts_in);
  counters_.flush_rows_out.Add(flushed.stats.rows_out);
  counters_.flush_bytes_out.Add(flushed.stats.bytes_out);
  counters_.flush_lookups.Add(flushed.stats.lookups);
  counters_.flush_files_out.Add(flushed.files);
  counters_.flush_rows_ended.Add(flushed.stats.rows_ended);
  counters_.flush_rows_rewritten.Add(flushed.stats.rows_rewritten);
}

Result<std::unique_ptr<BulkLoad>> EngineImpl::BeginLoad(catalog::TableSchemaPtr table,
                                                        std::function<bool()> cancelled) {
  ARROW_RETURN_NOT_OK(CheckWritable());
  const base::Ulid names_above = ulids_.Next();
  std::multiset<base::Ulid>::iterator at;
  {
    base::MutexLock lock(&state_mu_);
    at = loads_.insert(names_above);
  }
  const auto forget = [this, at] {
    base::MutexLock lock(&state_mu_);
    loads_.erase(at);
  };
  base::ScopeGuard undo(forget);
  JobContext context = MakeJobContext(/*cancellable=*/false);
  context.cancelled = [this, cancelled = std::move(cancelled)] {
    return closing_.load(std::memory_order_acquire) || (cancelled && cancelled());
  };
  auto load = MakeBulkLoad(std::move(context), std::move(table), forget);
  undo.Dismiss();
  return load;
}

void EngineImpl::AddLoads(const CommitRequest& request, CommitId commit, SystemTime system,
                          const Version& base, VersionEdit* edit, Loaded* loaded) {
  loaded->commit = commit;
  for (const BulkLoad* load : request.loads) {
    const catalog::TableId table = load->table()->id;
    uint8_t deepest = 1;
    for (const auto& file : base.FilesOf(table)) {
      if (file->kind == storage::FileKind::kCurrent) deepest = std::max(deepest, file->level);
    }
    for (const storage::DataFile& written : load->files()) {
      storage::DataFile file = written;
      file.min_commit = file.max_commit = commit;
      file.min_system_from = file.max_system_from = system;
      const bool overlaps = std::any_of(
          base.FilesOf(table).begin(), base.FilesOf(table).end(), [&](const auto& other) {
            return other->kind == storage::FileKind::kCurrent && other->level == deepest &&
                   other->min_key <= file.max_key && other->max_key >= file.min_key;
          });
      file.level = overlaps ? 0 : deepest;
      loaded->keys.push_back({table, file.min_key, file.max_key});
      edit->add_files.push_back(std::move(file));
    }
    if (!load->table()->has_primary_key && !load->files().empty()) {
      const auto last = catalog::KeyCodec(*load->table())
                            .Decode(std::vector<std::string_view>{load->files().back().max_key});
      LAMINA_CHECK(last.ok());
      const int64_t next = static_cast<const arrow::Int64Array&>(*(*last)[0]).Value(0) + 1;
      edit->next_row_id.emplace_back(table, next);
    }
  }
}

Status EngineImpl::PublishUnlogged(const std::shared_ptr<const Memtable>& memtable,
                                   const CommitRequest& request) {
  VersionEdit changes;
  if (request.definitions != nullptr) {
    changes.put_tables = request.definitions->put;
    changes.drop_tables = request.definitions->drop;
  }
  const VersionPtr before = version();
  // The flush works on the version as the edit will leave its tables.
  ARROW_ASSIGN_OR_RAISE(const VersionPtr base, storage::manifest::Apply(*before, changes));
  FlushedNow flushed;
  auto flush = RunFlush(MakeJobContext(/*cancellable=*/false), *base, {memtable});
  if (!flush.ok()) {
    // The commit has not happened, but where a sync failed nothing may follow it (N8).
    if (EndsWriting(flush.status())) Stop(flush.status());
    return flush.status();
  }
  JobResult job = std::move(*flush);
  Status status;
  std::shared_ptr<Loaded> loaded;
  try {
    if (!request.loads.empty()) {
      loaded = std::make_shared<Loaded>();
      AddLoads(request, memtable->last_commit(), memtable->last_system(), *base, &job.edit,
               loaded.get());
    }
    CompleteFlush(*base, {memtable}, &job.edit);
    job.edit.reason = request.loads.empty() ? "schema" : "load";
    job.edit.put_tables = std::move(changes.put_tables);
    job.edit.drop_tables = std::move(changes.drop_tables);
    flushed.stats = job.stats;
    flushed.files = job.edit.add_files.size();
    // Before anybody can see a table that the commit creates and ask for ids of it.
    base::MutexLock lock(&row_ids_mu_);
    for (const auto& [table, next] : job.edit.next_row_id) {
      int64_t& known = next_row_id_.try_emplace(table, 1).first->second;
      known = std::max(known, next);
    }
  } catch (const std::bad_alloc&) {
    status = base::OutOfMemory();
  }
  if (status.ok()) status = PublishEdit(job.edit, 0, memtable, loaded).status();
  if (!status.ok()) {
    // After an unsettled publish the files may be referred to.
    if (!EndsWriting(status)) DeleteWritten(options_.store.get(), job.written);
    return status;
  }
  CountFlush(flushed);
  return status;
}

Status EngineImpl::FlushSealed() {
  if (stopped_.load(std::memory_order_acquire)) return StoppedError();
  if (ended_) return base::ErrorOr(ClosedError, base::StoppedOutOfMemory());
  const int64_t begin = clock_->MonotonicNanos();
  FlushedNow flushed;
  Status status;
  try {
    status = FlushAndPublish(&flushed);
  } catch (const std::bad_alloc&) {
    status = base::OutOfMemory();
  }
  if (status.ok() && !flushed.any) return status;
  int64_t delay = 0;
  {
    base::MutexLock lock(&background_mu_);
    flush_error_ = base::CopyOf(status);
    flush_backoff_micros_ = status.ok() ? 0
                                        : std::clamp(flush_backoff_micros_ * 2, kBackoffFirstMicros,
                                                     kBackoffLastMicros);
    delay = flush_backoff_micros_;
  }
  if (!status.ok()) {
    if (EndsWriting(status)) Stop(status);
    LAMINA_REACHED("engine.flush.failed");
    // Whoever ran it: commits that are refused for this error are told that it is tried again.
    if (options_.auto_flush && !stopped_.load(std::memory_order_acquire)) {
      Schedule(&EngineImpl::FlushTask, &flush_scheduled_, delay);
    }
    counters_.flush_failures.Add();
    NotifyBackground();
    try {
      base::Trace(options_.trace.get(), "engine", "flush.failed",
                  {{"cause", std::string_view(status.message())}});
    } catch (const std::bad_alloc&) {
      // The caller's sink has no memory; the error says it all.
    }
    return status;
  }
  CountFlush(flushed);
  const int64_t end = clock_->MonotonicNanos();
  counters_.flush_nanos.Add(static_cast<uint64_t>(end - begin));
  for (const int64_t nanos : flushed.sealed_nanos)
    counters_.seal_to_flush_nanos.Add(static_cast<uint64_t>(end - nanos));
  RaiseTo(&durable_, flushed.commit.value);
  try {
    base::Trace(options_.trace.get(), "engine", "flush.finished",
                {{"commit", flushed.commit.value},
                 {"rows", flushed.stats.rows_out},
                 {"bytes", flushed.stats.bytes_out}});
    // Not being able to delete old segments harms nothing: the floor already says that they are not
    // needed.
    (void)PruneLog(/*dry_run=*/false);
  } catch (const std::bad_alloc&) {
    // The flush is published all the same.
  }
  return Status::OK();
}

Status EngineImpl::Flush() {
  ARROW_RETURN_NOT_OK(CheckWritable());
  {
    base::MutexLock lock(&commit_mu_);
    ARROW_RETURN_NOT_OK(CheckWritable());
    ARROW_RETURN_NOT_OK(Seal(SealReason::kAsked));
  }
  {
    base::MutexLock lock(&publish_mu_);
    ARROW_RETURN_NOT_OK(FlushSealed());
  }
  ScheduleAfterPublish();
  return Status::OK();
}

Status EngineImpl::Sync() {
  ARROW_RETURN_NOT_OK(CheckWritable());
  return MakeDurable({appended_.load(std::memory_order_acquire)});
}

Result<std::vector<std::string>> EngineImpl::PruneWal(bool dry_run) {
  if (!dry_run) ARROW_RETURN_NOT_OK(CheckWritable());
  return PruneLog(dry_run);
}

Result<std::vector<std::string>> EngineImpl::PruneLog(bool dry_run) {
  const storage::manifest::WalFloor floor = state()->version->wal_floor;
  ARROW_ASSIGN_OR_RAISE(
      const auto segments,
      storage::wal::Prune(options_.store, options_.branch, {floor.epoch, floor.segment}, dry_run));
  std::vector<std::string> paths;
  paths.reserve(segments.size());
  for (const auto& segment : segments)
    paths.push_back(storage::wal::SegmentPath(options_.branch, segment.id));
  return paths;
}

// ---- Compaction ----

Result<bool> EngineImpl::RunCompaction(
    const std::function<std::optional<CompactionPlan>(const storage::manifest::Version&)>& pick) {
  try {
    return CompactAndPublish(pick);
  } catch (const std::bad_alloc&) {
    counters_.compaction_failures.Add();
    base::MutexLock lock(&background_mu_);
    compaction_error_ = base::OutOfMemory();
    progress_.SignalAll();
    return base::OutOfMemory();
  }
}

Result<bool> EngineImpl::CompactAndPublish(
    const std::function<std::optional<CompactionPlan>(const storage::manifest::Version&)>& pick) {
  VersionPtr base;
  const base::Ulid names_above = ulids_.Next();
  {
    base::MutexLock lock(&state_mu_);
    base = job_base_ = state_->version;  // gc keeps its files while the job reads them
    job_names_above_ = names_above;      // and what the job writes
  }
  const base::ScopeGuard unpin([this] {
    base::MutexLock lock(&state_mu_);
    job_base_ = nullptr;
  });
  std::optional<CompactionPlan> plan = pick(*base);
  if (!plan) return false;
  const int64_t begin = clock_->MonotonicNanos();
  const std::string reason = plan->reason;
  const uint64_t table = plan->table.value;
  auto job = CompactionJob::Make(MakeJobContext(/*cancellable=*/true), base, std::move(*plan));
  Status status = job->Run();
  JobStats stats;
  if (status.ok()) {
    base::MutexLock lock(&publish_mu_);
    auto result = job->Finish(*state()->version);
    status = result.status();
    if (status.ok()) {
      stats = result->stats;
      status = PublishEdit(result->edit).status();
      if (!status.ok() && !EndsWriting(status))
        DeleteWritten(options_.store.get(), result->written);
    }
  }
  if (!status.ok() && CodeOf(status) == ErrorCode::kConflict) {
    // Its input went away (a dropped table, a trim): the next pick sees the new state.
    LAMINA_REACHED("engine.compaction.conflict");
    counters_.compaction_conflicts.Add();
    return true;
  }
  {
    base::MutexLock lock(&background_mu_);
    compaction_error_ =
        status.ok() || CodeOf(status) == ErrorCode::kCancelled ? Status::OK() : status;
  }
  if (!status.ok()) {
    if (EndsWriting(status)) Stop(status);
    if (CodeOf(status) != ErrorCode::kCancelled) {
      counters_.compaction_failures.Add();
      base::Trace(options_.trace.get(), "engine", "compaction.failed",
                  {{"table", table}, {"cause", std::string_view(status.message())}});
    }
    NotifyBackground();
    return status;
  }
  counters_.compactions.Add();
  counters_.compaction_rows_in.Add(stats.rows_in);
  counters_.compaction_rows_out.Add(stats.rows_out);
  counters_.compaction_bytes_in.Add(stats.bytes_in);
  counters_.compaction_bytes_out.Add(stats.bytes_out);
  counters_.compaction_files_in.Add(stats.files_in);
  counters_.compaction_files_out.Add(stats.files_out);
  counters_.compaction_nanos.Add(static_cast<uint64_t>(clock_->MonotonicNanos() - begin));
  base::Trace(options_.trace.get(), "engine", "compaction.finished",
              {{"table", table}, {"reason", std::string_view(reason)}, {"rows", stats.rows_out}});
  return true;
}

Result<bool> EngineImpl::CompactOnce() {
  return RunCompaction([this](const storage::manifest::Version& version) {
    return PickCompaction(version, options_, {}, clock_->NowMicros());
  });
}

Status EngineImpl::FinishErases() {
  const auto pick =
      [this](const storage::manifest::Version& version) -> std::optional<CompactionPlan> {
    auto plan = PickCompaction(version, options_, {}, clock_->NowMicros());
    if (plan && plan->reason != "erase") return std::nullopt;
    return plan;
  };
  for (;;) {
    ARROW_ASSIGN_OR_RAISE(const bool ran, RunCompaction(pick));
    if (ran) continue;
    base::MutexLock lock(&publish_mu_);
    const VersionPtr newest = state()->version;
    if (newest->erases.empty()) return Status::OK();
    // A flush since then may have ended rows of a file that spans the key, or brought a new erase:
    // another round, as whoever waits for an erase is told that it is done.
    if (pick(*newest)) {
      LAMINA_REACHED("engine.erase.another_round");
      continue;
    }
    VersionEdit edit;
    edit.reason = "erase";
    edit.created_micros = clock_->NowMicros();
    edit.finish_erases = newest->erases;
    return PublishEdit(edit).status();
  }
}

Status EngineImpl::Compact(std::optional<catalog::TableId> table) {
  ARROW_RETURN_NOT_OK(CheckWritable());
  base::MutexLock lock(&compaction_mu_);
  std::vector<catalog::TableId> tables;
  const VersionPtr before = state()->version;
  if (table) {
    if (before->catalog.Find(*table) == nullptr) {
      return MakeError(ErrorCode::kNotFound,
                       fmt::format("table does not exist: table={}", table->value));
    }
    tables.push_back(*table);
  } else {
    for (const auto& [id, schema] : before->catalog.tables) tables.push_back(id);
  }
  for (const catalog::TableId id : tables) {
    // Current files first: their ended rows make new history files. Each plan is made on the very
    // version that its job pins, as gc may take whatever an older plan names.
    for (const storage::FileKind kind :
         {storage::FileKind::kCurrent, storage::FileKind::kHistory}) {
      const auto pick = [&](const storage::manifest::Version& version) {
        std::optional<CompactionPlan> of_kind;
        for (CompactionPlan& plan : PlanFullCompaction(version, id, options_)) {
          if (plan.kind == kind) of_kind = std::move(plan);
        }
        return of_kind;
      };
      ARROW_RETURN_NOT_OK(RunCompaction(pick).status());
    }
  }
  if (!state()->version->erases.empty()) ARROW_RETURN_NOT_OK(FinishErases());
  ScheduleGc();
  return Status::OK();
}

Status EngineImpl::WaitForBackground() {
  ARROW_RETURN_NOT_OK(CheckWritable());
  for (;;) {
    bool idle = true;
    if (options_.auto_flush) {
      base::MutexLock lock(&publish_mu_);  // waits for a running flush
      if (sealed_count_.load(std::memory_order_acquire) > 0) {
        ARROW_RETURN_NOT_OK(FlushSealed());
        idle = false;
      }
    }
    {
      base::MutexLock lock(&compaction_mu_);  // waits for a running job
      if (options_.auto_compact) {
        ARROW_ASSIGN_OR_RAISE(const bool ran, CompactOnce());
        if (ran) {
          idle = false;
        } else if (!state()->version->erases.empty()) {
          ARROW_RETURN_NOT_OK(FinishErases());
        }
      }
    }
    if (idle) break;
  }
  ScheduleAfterPublish();
  return Status::OK();
}

// ---- Garbage ----

Result<GcReport> EngineImpl::CollectGarbage(bool dry_run, std::optional<int64_t> grace_micros) {
  if (!dry_run) ARROW_RETURN_NOT_OK(CheckWritable());
  return Collect(dry_run, grace_micros.value_or(options_.gc_grace_micros), /*no_compaction=*/false);
}

Result<GcReport> EngineImpl::Collect(bool dry_run, int64_t grace, bool no_compaction) {
  const int64_t begin = clock_->MonotonicNanos();
  // With the lock held no flush writes and no version changes; a compaction may run, and one may
  // begin while we list.
  base::MutexLock lock(&publish_mu_);
  if (!dry_run) {
    if (ended_) return ClosedError();
    // Who held the lock before may have ended with a publish in doubt: the ref can name what looks
    // like an orphan from the version that we hold.
    if (stopped_.load(std::memory_order_acquire) && !LAMINA_MUTANT("gc.stopped_engine_collects"))
      return StoppedError();
  }
  VersionPtr newest;
  std::vector<VersionPtr> live;
  base::Ulid names_below;
  {
    // Snapshots are registered under this lock, so none with an older version can appear after we
    // looked.
    base::MutexLock state_lock(&state_mu_);
    newest = state_->version;
    live = registry_->versions();
    if (job_base_ != nullptr) live.push_back(job_base_);
    // Names rise whatever the clock does, so they tell what a job writes from what a crash left
    // behind, and a compaction that begins from here on writes above the one just taken.
    // Where none can begin, nothing that lies there unnamed is anybody's.
    names_below = job_base_ != nullptr && !LAMINA_MUTANT("gc.running_compaction_forgotten")
                      ? job_names_above_
                  : no_compaction ? base::Ulid::Max()
                                  : ulids_.Next();
    if (!loads_.empty() && !LAMINA_MUTANT("gc.running_load_forgotten"))
      names_below = std::min(names_below, *loads_.begin());
    TrimConflictWindow();
  }
  // To an owner that slept while another one took over, the other's files look like orphans. Asked
  // after the list was made: what an owner that comes later writes is not on it.
  const auto still_owner = [&]() -> Status {
    ARROW_ASSIGN_OR_RAISE(const VersionPtr now, manifest_->Refresh());
    if (options_.read_only || now->owner_epoch == epoch_) return Status::OK();
    LAMINA_REACHED("engine.gc.fenced");
    Status fenced =
        MakeError(ErrorCode::kFenced,
                  fmt::format("a newer owner has claimed the database: own_epoch={} newest={}",
                              epoch_, now->owner_epoch),
                  "reopen the database");
    Stop(fenced);
    return fenced;
  };
  ARROW_ASSIGN_OR_RAISE(auto collected,
                        engine::CollectGarbage(MakeJobContext(/*cancellable=*/false), *newest, live,
                                               grace, names_below, still_owner, dry_run));
  auto& [report, edit] = collected;
  if (!dry_run) {
    for (const std::string& path : report.deleted) {
      if (!path.ends_with(".parquet")) continue;
      const size_t slash = path.rfind('/');
      auto id = base::Ulid::Parse(
          path.substr(slash + 1, path.size() - slash - 1 - std::string_view(".parquet").size()));
      if (id.ok()) files_->Forget(*id);
    }
    if (!edit.forget_retired.empty()) ARROW_RETURN_NOT_OK(PublishEdit(edit).status());
    counters_.gc_runs.Add();
    counters_.gc_deleted_objects.Add(report.deleted.size());
    counters_.gc_deleted_bytes.Add(report.bytes);
    counters_.gc_reclaim_micros.Add(static_cast<uint64_t>(report.reclaim_micros));
    counters_.gc_obsolete_bytes.Set(static_cast<int64_t>(report.kept_bytes));
    counters_.gc_pinned_bytes.Set(static_cast<int64_t>(report.pinned_bytes));
  }
  if (!dry_run) {
    // Where nothing is being written, all of it is of the dead: an erase leaves no such trace
    // either. Else what cannot be swept now is invisible, and the next collection tries again.
    const int64_t age = no_compaction ? 0 : std::max(grace, kUnfinishedAgeMicros);
    const Status swept = options_.store->SweepUnfinished(clock_->NowMicros() - age).status();
    if (no_compaction) ARROW_RETURN_NOT_OK(swept);
  }
  ARROW_ASSIGN_OR_RAISE(const auto bases, manifest_->CollectBases(grace, dry_run));
  if (!dry_run) counters_.gc_nanos.Add(static_cast<uint64_t>(clock_->MonotonicNanos() - begin));
  report.deleted.insert(report.deleted.end(), bases.begin(), bases.end());
  return std::move(report);
}

}  // namespace lamina::engine
