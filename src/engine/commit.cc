// The write path of one commit:
//
//   1. outside all locks: hold back if flush or compaction lags; look the idempotency key up; check
//      conflicts as far as commits are published (only what comes after is checked again under the
//      lock);
//   2. queue: whoever comes to the front leads a group of what is queued by then;
//   3. under the commit lock, for each of the group: check, number, time, insert into the memtable;
//      then one append for all;
//   4. the next group may lead from here on. The policy decides what publishing and acknowledging
//      wait for:
//        kAlways          sync, publish, acknowledge: nobody reads what could be lost;
//        kInterval, kOff  publish at once, acknowledge; a request with sync = kAlways waits for a
//                         sync before its answer.
//      Syncs are not run by the group but by whoever comes first: it covers all that was appended
//      before it began.
//
// Facts are inserted before they are in the log: they are invisible until published (N2), the
// group's later members are checked against them, and a failed append stops the engine, so that
// they never become visible.
//
// A commit that changes table definitions or brings loads takes neither queue nor log: with
// publishing and committing held, what is in memory is flushed, and the commit comes with one edit
// of the manifest that has definitions, files and its number (CommitUnlogged).
//
// Memory: what a commit needs is taken before its facts are inserted, so std::bad_alloc up to there
// refuses that one commit and nothing has happened. From there on nothing of ours throws; what may
// (a rotation of the log) ends in Status, and in doubt in kCommitUnknown. Whoever leads catches for
// the whole group: nobody waits for a leader that has gone.
#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/codec.h"
#include "base/mutant.h"
#include "base/out_of_memory.h"
#include "base/trace.h"
#include "catalog/key_codec.h"
#include "catalog/system_tables.h"
#include "engine/engine_internal.h"

namespace lamina::engine {
namespace {

constexpr size_t kGroupBytesMax = size_t{4} << 20;
constexpr size_t kGroupCommitsMax = 256;
// The log refuses frames over 1 GiB; refusing them here keeps a refused frame from becoming a
// failed append.
constexpr size_t kPayloadBytesMax = (size_t{1} << 30) - 4096;
constexpr size_t kIdempotencyKeyBytesMax = 1024;
// Checking fewer facts than this before queueing saves nothing.
constexpr uint64_t kPrecheckFacts = 64;
constexpr int64_t kHoldBackPollMicros = 10'000;

Status Conflict(catalog::TableId table, std::string_view what, std::string_view key,
                CommitId theirs, CommitId snapshot) {
  std::string hex;
  for (const char c : key.substr(0, 32))
    hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return MakeError(ErrorCode::kConflict,
                   fmt::format("another commit came first: table={} {}=0x{} commit={} snapshot={}",
                               table.value, what, hex, theirs.value, snapshot.value),
                   "run the transaction again");
}

// Of a commit that may be in the log.
Status UnknownError(const char* what, CommitId commit, const Status& cause) {
  return base::ErrorOr(
      [&] {
        return MakeError(ErrorCode::kCommitUnknown,
                         fmt::format("{}, the commit may or may not survive a reopen: commit={} "
                                     "cause={}",
                                     what, commit.value, MessageOf(cause)),
                         "reopen the database, then look the idempotency key up");
      },
      base::OutcomeUnknown());
}

bool ChangesDefinitions(const CommitRequest& request) {
  return request.definitions != nullptr && !request.definitions->empty();
}

Status CheckLoads(const CommitRequest& request) {
  for (size_t i = 0; i < request.loads.size(); ++i) {
    const catalog::TableId table = request.loads[i]->table()->id;
    bool twice =
        std::any_of(request.loads.begin(), request.loads.begin() + static_cast<ptrdiff_t>(i),
                    [&](const BulkLoad* other) { return other->table()->id == table; });
    request.batch->ForEach([&](const WriteBatch::Entry& entry) {
      twice = twice || (entry.table != nullptr && entry.table->schema->id == table);
    });
    if (!twice) continue;
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("a table that is loaded is written otherwise as well: table={}",
                                 request.loads[i]->table()->name));
  }
  return Status::OK();
}

}  // namespace

void EngineImpl::Publish(CommitId commit) { RaiseTo(&visible_, commit.value); }

EngineImpl::ConflictWindow EngineImpl::Window(CommitId after) const {
  ConflictWindow window;
  base::MutexLock lock(&state_mu_);
  window.floor = conflict_floor_;
  const auto add = [&](const std::shared_ptr<const Memtable>& memtable) {
    if (memtable->last_commit() > after) window.memtables.push_back(memtable);
  };
  for (const auto& loaded : loaded_)
    if (loaded->commit > after) window.loads.push_back(loaded);
  for (const auto& memtable : retained_) add(memtable);
  for (const auto& memtable : state_->sealed) add(memtable);
  add(state_->active);
  return window;
}

Status EngineImpl::CheckConflicts(const CommitRequest& request, CommitId after) const {
  const ConflictWindow window = Window(after);
  if (after < window.floor) {
    return MakeError(
        ErrorCode::kConflict,
        fmt::format("snapshot too old to be checked for conflicts: snapshot={} checkable_from={}",
                    after.value, window.floor.value),
        "run the transaction again; raise retained_conflict_bytes for longer ones");
  }
  if (window.memtables.empty() && window.loads.empty()) return Status::OK();
  Status status;
  // Of a load the bounds of its files are kept, not its keys: a key between them may be one.
  const auto check_loaded = [&](catalog::TableId table, std::string_view what, std::string_view key,
                                auto&& meets) {
    if (LAMINA_MUTANT("load.conflict_of_others_missed")) return;
    for (const auto& loaded : window.loads) {
      if (loaded->commit <= after) continue;
      for (const auto& keys : loaded->keys) {
        if (keys.table == table && status.ok() && meets(keys))
          status = Conflict(table, what, key, loaded->commit, after);
      }
    }
  };
  const auto check_key = [&](catalog::TableId table, std::string_view key, std::string_view what) {
    check_loaded(table, what, key,
                 [&](const Loaded::Keys& keys) { return key >= keys.min && key <= keys.max; });
    if (!status.ok()) return;
    const uint64_t hash = catalog::HashKey(key);
    for (const auto& memtable : window.memtables) {
      const TableMemtable* facts = memtable->Find(table);
      if (facts == nullptr) continue;
      const MemFact* newest = facts->Find(key, hash);
      if (newest != nullptr &&
          newest->commit.value >
              after.value + (LAMINA_MUTANT("commit.conflict_missed_by_one") ? 1 : 0)) {
        status = Conflict(table, what, key, newest->commit, after);
        return;
      }
    }
  };
  request.batch->ForEach([&](const WriteBatch::Entry& entry) {
    if (!status.ok()) return;
    if (entry.table == nullptr) {
      check_key(entry.inline_write.table, entry.inline_write.key, "written_key");
      return;
    }
    for (int64_t i = 0; i < entry.table->row_count() && status.ok(); ++i) {
      check_key(entry.table->schema->id, entry.table->keys->GetView(i), "written_key");
    }
  });
  ARROW_RETURN_NOT_OK(status);
  for (BulkLoad* load : request.loads) {
    const catalog::TableId table = load->table()->id;
    for (const auto& memtable : window.memtables) {
      const TableMemtable* facts = memtable->Find(table);
      if (facts == nullptr || LAMINA_MUTANT("load.own_conflict_missed")) continue;
      facts->VisitSince(after, [&](const MemFact& fact) {
        const Result<bool> loaded = load->Contains(fact.key());
        if (!loaded.ok()) {
          status = loaded.status();
        } else if (*loaded) {
          status = Conflict(table, "loaded_key", fact.key(), fact.commit, after);
        }
        return status.ok();
      });
      ARROW_RETURN_NOT_OK(status);
    }
    for (const storage::DataFile& file : load->files()) {
      check_loaded(table, "loaded_key", file.min_key, [&](const Loaded::Keys& keys) {
        return file.min_key <= keys.max && file.max_key >= keys.min;
      });
    }
    ARROW_RETURN_NOT_OK(status);
  }
  if (request.reads == nullptr) return status;
  for (const ReadSet::Key& key : request.reads->keys) {
    if (!LAMINA_MUTANT("commit.read_keys_unchecked")) check_key(key.table, key.key, "read_key");
    if (!status.ok()) return status;
  }
  std::map<catalog::TableId, std::vector<const catalog::KeyRange*>> ranges;
  for (const ReadSet::Range& range : request.reads->ranges)
    if (!LAMINA_MUTANT("commit.phantoms_unchecked")) ranges[range.table].push_back(&range.keys);
  for (const auto& [table, of_table] : ranges) {
    for (const catalog::KeyRange* range : of_table) {
      check_loaded(table, "read_range_from", range->from,
                   [&](const Loaded::Keys& keys) { return range->Overlaps(keys.min, keys.max); });
    }
    if (!status.ok()) return status;
    for (const auto& memtable : window.memtables) {
      const TableMemtable* facts = memtable->Find(table);
      if (facts == nullptr) continue;
      facts->VisitSince(after, [&](const MemFact& fact) {
        for (const catalog::KeyRange* range : of_table) {
          if (range->Contains(fact.key())) {
            status = Conflict(table, "key_in_read_range", fact.key(), fact.commit, after);
            return false;
          }
        }
        return true;
      });
      if (!status.ok()) return status;
    }
  }
  return status;
}

Status EngineImpl::CheckSchemas(const CommitRequest& request) const {
  Status status;
  ReadStatePtr now;
  const DefinitionChanges* definitions = request.definitions;
  const auto check = [&](const catalog::TableSchema& written) {
    if (!status.ok()) return;
    if (now == nullptr) now = state();
    catalog::TableSchemaPtr current = now->version->catalog.Find(written.id);
    if (definitions != nullptr) {
      for (const catalog::TableSchemaPtr& put : definitions->put)
        if (put->id == written.id) current = put;
      for (const catalog::TableId drop : definitions->drop)
        if (drop == written.id) current = nullptr;
    }
    if (current == nullptr) {
      status = MakeError(ErrorCode::kConflict,
                         fmt::format("table was dropped meanwhile: table={}", written.name));
    } else if (current->version != written.version) {
      status = MakeError(ErrorCode::kConflict,
                         fmt::format("table was changed meanwhile: table={} written_as={} now={}",
                                     written.name, written.version, current->version),
                         "run the transaction again");
    }
  };
  request.batch->ForEach([&](const WriteBatch::Entry& entry) {
    if (entry.table != nullptr) check(*entry.table->schema);
  });
  for (const BulkLoad* load : request.loads) check(*load->table());
  return status;
}

Status EngineImpl::CheckDefinitions(const Snapshot& snapshot) const {
  // Not by commit numbers: a change outside of a transaction takes none. Ids are never used again
  // and versions rise, so that these say whether anything has changed.
  const catalog::Catalog& then = snapshot.state().version->catalog;
  const ReadStatePtr state = this->state();
  const catalog::Catalog& now = state->version->catalog;
  const bool same =
      then.next_table_id == now.next_table_id &&
      std::equal(then.tables.begin(), then.tables.end(), now.tables.begin(), now.tables.end(),
                 [](const auto& a, const auto& b) {
                   return a.first == b.first && a.second->version == b.second->version;
                 });
  if (same) return Status::OK();
  return MakeError(ErrorCode::kConflict,
                   fmt::format("another change of table definitions came first: snapshot={}",
                               snapshot.commit().value),
                   "run the transaction again");
}

// ---- Idempotency keys ----

std::optional<CommitReceipt> EngineImpl::FindIdempotentInMemory(
    const std::string& key, const ConflictWindow& window) const {
  const uint64_t hash = catalog::HashKey(key);
  for (const auto& memtable : window.memtables) {
    const TableMemtable* facts = memtable->Find(catalog::kIdempotencyTable);
    const MemFact* fact = facts == nullptr ? nullptr : facts->Find(key, hash);
    if (fact == nullptr) continue;
    // The row is written by the very commit it names.
    return CommitReceipt{fact->commit, fact->system, AckClass::kMemory, /*replayed=*/true};
  }
  return std::nullopt;
}

Result<std::optional<CommitReceipt>> EngineImpl::FindIdempotent(const std::string& key,
                                                                CommitId* checked_to) {
  const SnapshotPtr snapshot = GetSnapshot(std::nullopt);
  *checked_to = snapshot->commit();
  PointSpec spec;
  spec.table = catalog::IdempotencyTableSchema();
  spec.key = key;
  spec.window = temporal::Window::At(snapshot->system(), ValidTime{0});
  spec.columns = {"commit", catalog::kSystemFromColumn};
  storage::sst::ReadCounters counters;
  ARROW_ASSIGN_OR_RAISE(const auto rows, reader_->Get(*snapshot, spec, nullptr, &counters));
  if (rows->num_rows() == 0) return std::optional<CommitReceipt>();
  const auto& commit = static_cast<const arrow::Int64Array&>(*rows->column(0));
  // Timestamps share Int64Array's layout.
  const int64_t system = rows->column_data(1)->GetValues<int64_t>(1)[0];
  CommitReceipt receipt;
  receipt.commit.value = static_cast<uint64_t>(commit.Value(0));
  receipt.system.micros = system;
  receipt.replayed = true;
  return std::optional<CommitReceipt>(receipt);
}

// ---- Backpressure ----

bool EngineImpl::TooManySealed() const {
  // Without auto_flush the user decides when memory is emptied.
  return options_.auto_flush &&
         sealed_count_.load(std::memory_order_acquire) >= options_.max_sealed_memtables;
}

bool EngineImpl::TooManyLevel0Files() const {
  return options_.auto_compact &&
         level0_files_.load(std::memory_order_acquire) >= options_.level0_stop_files;
}

Status EngineImpl::HoldBack() {
  if (options_.auto_compact &&
      level0_files_.load(std::memory_order_relaxed) >= options_.level0_slowdown_files &&
      !TooManyLevel0Files()) {
    clock_->SleepMicros(options_.slowdown_micros);
    counters_.backpressure_waits.Add();
    counters_.waits_slowdown.Add();
    counters_.backpressure_nanos.Add(static_cast<uint64_t>(options_.slowdown_micros) * 1000);
  }
  if (!TooManySealed() && !TooManyLevel0Files()) return Status::OK();
  LAMINA_REACHED("engine.commit.held_back");
  counters_.backpressure_waits.Add();
  (TooManySealed() ? counters_.waits_sealed : counters_.waits_level0).Add();
  base::PhaseTimer timer(clock_, &counters_.backpressure_nanos);
  // The waiting thread does the work itself when nobody is at it: so a commit makes progress on any
  // executor.
  while (TooManySealed()) {
    ARROW_RETURN_NOT_OK(CheckWritable());
    Status cause;
    {
      base::MutexLock lock(&background_mu_);
      cause = flush_error_;
    }
    if (!cause.ok()) {
      return MakeError(
          CodeOf(cause),
          fmt::format("commit refused, as sealed memtables cannot be flushed: sealed={} cause={}",
                      sealed_count_.load(std::memory_order_relaxed), MessageOf(cause)),
          "remove the cause; the flush is tried again by itself");
    }
    if (publish_mu_.TryLock()) {
      (void)FlushSealed();  // its error is kept in flush_error_, which the next round reads
      publish_mu_.Unlock();
      continue;
    }
    base::MutexLock lock(&background_mu_);
    if (TooManySealed()) progress_.WaitForMicros(&background_mu_, kHoldBackPollMicros);
  }
  while (TooManyLevel0Files()) {
    ARROW_RETURN_NOT_OK(CheckWritable());
    Status cause;
    {
      base::MutexLock lock(&background_mu_);
      cause = compaction_error_;
    }
    if (!cause.ok()) {
      return MakeError(
          CodeOf(cause),
          fmt::format("commit refused, as level 0 is full and compaction fails: files={} cause={}",
                      level0_files_.load(std::memory_order_relaxed), MessageOf(cause)),
          "remove the cause; compaction is tried again by itself");
    }
    if (compaction_mu_.TryLock()) {
      const Result<bool> ran = CompactOnce();  // its error is kept in compaction_error_
      compaction_mu_.Unlock();
      if (ran.ok() && !*ran) break;  // the picker sees nothing to do: waiting would be for ever
      continue;
    }
    base::MutexLock lock(&background_mu_);
    if (TooManyLevel0Files()) progress_.WaitForMicros(&background_mu_, kHoldBackPollMicros);
  }
  return Status::OK();
}

// ---- The commit itself ----

Result<std::optional<CommitReceipt>> EngineImpl::FindIdempotentSince(const Pending& pending) {
  const std::string& key = pending.request->idempotency_key;
  std::optional<CommitReceipt> earlier;
  if (key.empty()) return earlier;
  const ConflictWindow window = Window(pending.idempotency_checked_to);
  if (pending.idempotency_checked_to < window.floor) {
    // Memtables after our look-up were dropped: look again, with the commit lock held.
    CommitId checked_to;
    ARROW_ASSIGN_OR_RAISE(earlier, FindIdempotent(key, &checked_to));
  }
  if (!earlier) earlier = FindIdempotentInMemory(key, window);
  return earlier;
}

Result<SystemTime> EngineImpl::NextSystem(const CommitRequest& request) const {
  const int64_t now = clock_->NowMicros();
  SystemTime system{now};
  if (request.system_time) {
    if (*request.system_time <= newest_system_ || request.system_time->micros > now) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format(
              "system time must be later than the newest commit and not in the future: asked={} "
              "newest={} now={}",
              Format(*request.system_time), Format(newest_system_), FormatTimestamp(now)));
    }
    system = *request.system_time;
  } else if (LAMINA_MUTANT("commit.time_may_stand") ? system < newest_system_
                                                    : system <= newest_system_) {
    system.micros =
        newest_system_.micros + 1;  // strictly rising, also when the clock stands or steps back
  }
  if (system <= SystemTime::Min() || system >= SystemTime::Max()) {
    return MakeError(ErrorCode::kInternal,
                     fmt::format("no system time is left: newest={}", newest_system_.micros));
  }
  return system;
}

void EngineImpl::AddIdempotencyKey(const CommitRequest& request, CommitId commit) {
  if (request.idempotency_key.empty()) return;
  char value[8];
  base::StoreFixed64(value, commit.value);
  request.batch->AddInline(catalog::kIdempotencyTable, temporal::FactKind::kPut, {},
                           request.idempotency_key, {value, sizeof(value)});
}

Status EngineImpl::Prepare(Pending* pending) {
  CommitRequest& request = *pending->request;
  const int64_t begin = clock_->MonotonicNanos();
  ARROW_RETURN_NOT_OK(CheckWritable());
  ARROW_ASSIGN_OR_RAISE(const auto earlier, FindIdempotentSince(*pending));
  if (earlier) {
    pending->receipt = *earlier;
    return Status::OK();
  }
  ARROW_RETURN_NOT_OK(CheckSchemas(request));
  if (request.snapshot != nullptr) {
    ARROW_RETURN_NOT_OK(
        CheckConflicts(request, std::max(request.snapshot->commit(), pending->checked_to)));
  }
  ARROW_ASSIGN_OR_RAISE(const SystemTime system, NextSystem(request));
  const CommitId commit{newest_.value + 1};
  AddIdempotencyKey(request, commit);
  const int64_t checked = clock_->MonotonicNanos();
  counters_.check_nanos.Add(static_cast<uint64_t>(checked - begin));
  if (active_->first_commit().value == 0) active_since_nanos_ = checked;
  if (wal_ != nullptr) {
    frame_bytes_ += request.batch->bytes();
    wal_->Reserve(frames_.size() + 1, frame_bytes_);
    if (frames_.size() == frames_.capacity()) frames_.reserve(frames_.size() * 2 + 1);
  }
  ARROW_RETURN_NOT_OK(active_->Apply(*request.batch, commit, system));
  // Nothing throws from here on.
  newest_ = commit;
  newest_system_ = system;
  pending->receipt = {commit, system, AckClass::kMemory, /*replayed=*/false};
  pending->written = true;
  if (wal_ != nullptr) {
    storage::wal::Frame frame;
    frame.commit = commit;
    frame.system = system;
    frame.payload = request.batch->payload();
    frames_.push_back(frame);
  }
  counters_.memtable_nanos.Add(static_cast<uint64_t>(clock_->MonotonicNanos() - checked));
  return Status::OK();
}

bool EngineImpl::RunGroup(std::span<Pending* const> group) {
  frames_.clear();
  frame_bytes_ = 0;
  const CommitId before = newest_;
  uint64_t written = 0;
  for (Pending* pending : group) {
    try {
      pending->status = Prepare(pending);
    } catch (const std::bad_alloc&) {
      LAMINA_REACHED("engine.commit.out_of_memory");
      pending->status = base::OutOfMemory();
    }
    if (!pending->status.ok()) {
      if (CodeOf(pending->status) == ErrorCode::kConflict) counters_.conflicts.Add();
    } else if (pending->written) {
      ++written;
      counters_.facts.Add(pending->request->batch->fact_count());
    }
  }
  counters_.commit_groups.Add();
  if (written == 0) return false;
  // Also one that found its idempotency key in a commit of this very group: it has that one's fate.
  const auto of_group = [before](const Pending& pending) {
    return pending.status.ok() && pending.receipt.commit > before;
  };
  if (stopped_.load(std::memory_order_acquire)) {
    for (Pending* pending : group) {
      if (of_group(*pending)) pending->status = StoppedError();
    }
    return false;
  }
  if (wal_ != nullptr) {
    base::PhaseTimer timer(clock_, &counters_.wal_nanos);
    if (Status appended = wal_->Append(frames_); !appended.ok()) {
      Stop(appended);
      for (Pending* pending : group) {
        if (of_group(*pending)) {
          pending->status =
              UnknownError("log could not be written", pending->receipt.commit, appended);
        }
      }
      return false;
    }
  }
  counters_.commits.Add(written);
  appended_.store(newest_.value, std::memory_order_release);
  if (!publishes_after_sync() || LAMINA_MUTANT("commit.published_before_sync")) Publish(newest_);
  if (options_.sync == SyncPolicy::kInterval && options_.sync_interval_bytes > 0 &&
      wal_ != nullptr && UnsyncedBytes() >= options_.sync_interval_bytes) {
    for (Pending* pending : group) pending->wants_sync |= pending->written;
  }
  if (seal_.age_micros > 0) ScheduleAge();
  // The error of a seal has stopped the engine; the group itself is in the log and visible.
  const SealReason due = DueSeal();
  if (due == SealReason::kNone) return false;
  try {
    return Seal(due).ok();
  } catch (const std::bad_alloc&) {
    return false;  // the next group tries again
  }
}

int64_t EngineImpl::UnsyncedBytes() const {
  // relaxed: too small only delays the sync by the commits that run beside the one before
  return static_cast<int64_t>(wal_->stats().bytes - synced_bytes_.load(std::memory_order_relaxed));
}

Status EngineImpl::MakeDurable(CommitId commit) {
  if (wal_ == nullptr) return Status::OK();
  if (durable_.load(std::memory_order_acquire) < commit.value) {
    // One syncs, the others wait to be told, all at once. A lock held during the sync would not do:
    // those who are covered would queue for it behind newcomers, each of whom syncs for itself.
    base::MutexLock lock(&sync_mu_);
    while (durable_.load(std::memory_order_acquire) < commit.value) {
      // A sync that failed may have dropped pages: no later one says anything about them.
      if (stopped_.load(std::memory_order_acquire)) return StoppedError();
      if (syncing_) {
        synced_.Wait(&sync_mu_);
        continue;
      }
      syncing_ = true;
      lock.Unlock();
      const uint64_t covered = appended_.load(std::memory_order_acquire);  // before the sync begins
      const uint64_t bytes = wal_->stats().bytes;
      Status synced;
      {
        base::PhaseTimer timer(clock_, &counters_.sync_nanos);
        synced = wal_->Sync();
      }
      if (synced.ok()) {
        RaiseTo(&durable_,
                LAMINA_MUTANT("commit.sync_covers_later_appends") ? appended_.load() : covered);
        RaiseTo(&synced_bytes_, bytes);
      } else {
        Stop(synced);
      }
      lock.Lock();
      syncing_ = false;
      synced_.SignalAll();
      if (!synced.ok()) return synced;
    }
  }
  if (publishes_after_sync()) Publish({durable_.load(std::memory_order_acquire)});
  return Status::OK();
}

// ---- A commit past the log ----

Status EngineImpl::OfWhatCameBefore(const Status& status) const {
  const ErrorCode code = CodeOf(status);
  if (code != ErrorCode::kCommitUnknown && code != ErrorCode::kFenced) return status;
  return StoppedError();
}

Status EngineImpl::CommitUnlogged(Pending* pending) {
  const CommitRequest& request = *pending->request;
  try {
    if (request.snapshot == nullptr) {
      return MakeError(ErrorCode::kInvalidArgument,
                       "a change of definitions or a load needs a snapshot");
    }
    if (ChangesDefinitions(request)) ARROW_RETURN_NOT_OK(CheckDefinitions(*request.snapshot));
    // First without holding commits up; what comes meanwhile is flushed with them held.
    ARROW_RETURN_NOT_OK(OfWhatCameBefore(Flush()));
    base::MutexLock publish_lock(&publish_mu_);
    base::MutexLock commit_lock(&commit_mu_);
    return CommitUnloggedLocked(pending);
  } catch (const std::bad_alloc&) {
    // Only before the edit is handed to the manifest: PublishEdit keeps its own to itself.
    return base::OutOfMemory();
  }
}

Status EngineImpl::CommitUnloggedLocked(Pending* pending) {
  const CommitRequest& request = *pending->request;
  ARROW_RETURN_NOT_OK(CheckWritable());
  ARROW_ASSIGN_OR_RAISE(const auto earlier, FindIdempotentSince(*pending));
  if (earlier) {
    pending->receipt = *earlier;
    return Status::OK();
  }
  if (ChangesDefinitions(request)) ARROW_RETURN_NOT_OK(CheckDefinitions(*request.snapshot));
  ARROW_RETURN_NOT_OK(CheckSchemas(request));
  ARROW_RETURN_NOT_OK(
      CheckConflicts(request, std::max(request.snapshot->commit(), pending->checked_to)));
  // The version that brings this commit says that all before it are in the files (N3), and no fact
  // of an older definition may be left (N7).
  ARROW_RETURN_NOT_OK(OfWhatCameBefore(Seal(SealReason::kAsked)));
  ARROW_RETURN_NOT_OK(OfWhatCameBefore(FlushSealed()));
  ARROW_ASSIGN_OR_RAISE(const SystemTime system, NextSystem(request));
  const CommitId commit{newest_.value + 1};
  AddIdempotencyKey(request, commit);
  // Into a memtable of its own, which nobody sees: where the publish fails for certain, number and
  // facts are as if they had never been.
  const std::shared_ptr<Memtable> memtable = Memtable::Make();
  ARROW_RETURN_NOT_OK(memtable->Apply(*request.batch, commit, system));
  if (ChangesDefinitions(request)) RaiseTo(&definitions_changed_at_, commit.value);
  if (Status published = PublishUnlogged(memtable, request); !published.ok()) {
    // Fenced may be said of an edit that happened before the newer owner came.
    const ErrorCode code = CodeOf(published);
    if (code != ErrorCode::kCommitUnknown && code != ErrorCode::kFenced) return published;
    // The files may be referred to.
    if (!LAMINA_MUTANT("load.files_deleted_after_unclear_publish"))
      for (BulkLoad* load : request.loads) load->Keep();
    return UnknownError("the commit could not be published", commit, published);
  }
  for (BulkLoad* load : request.loads) {
    load->Keep();
    counters_.loads.Add();
    counters_.loaded_rows.Add(load->rows());
    for (const storage::DataFile& file : load->files()) counters_.load_bytes_out.Add(file.bytes);
  }
  // Nothing throws from here on.
  newest_ = commit;
  newest_system_ = system;
  RaiseTo(&appended_, commit.value);
  RaiseTo(&durable_, commit.value);
  pending->receipt = {commit, system, AckClass::kDurable, /*replayed=*/false};
  pending->written = true;
  counters_.commits.Add();
  counters_.facts.Add(memtable->fact_count());
  return Status::OK();
}

Status EngineImpl::Acknowledge(const Pending& pending, CommitReceipt* earlier) {
  if (pending.wants_sync) ARROW_RETURN_NOT_OK(MakeDurable(earlier->commit));
  earlier->ack = wal_ == nullptr      ? AckClass::kMemory
                 : pending.wants_sync ? AckClass::kDurable
                                      : AckClass::kWritten;
  if (earlier->commit.value <= version()->flushed_commit.value) earlier->ack = AckClass::kDurable;
  return Status::OK();
}

Result<CommitReceipt> EngineImpl::Commit(CommitRequest request) {
  commits_in_flight_.fetch_add(1, std::memory_order_seq_cst);  // seq_cst: see Close
  struct Leave {
    std::atomic<int>* count;
    ~Leave() { count->fetch_sub(1, std::memory_order_acq_rel); }
  } leave{&commits_in_flight_};
  const int64_t begin = clock_->MonotonicNanos();
  ARROW_RETURN_NOT_OK(CheckWritable());
  const bool unlogged = ChangesDefinitions(request) || !request.loads.empty();
  if (request.batch == nullptr || (request.batch->empty() && !request.mark && !unlogged)) {
    return MakeError(ErrorCode::kInvalidArgument, "commit without writes");
  }
  if (wal_ != nullptr && !unlogged && request.batch->bytes() > kPayloadBytesMax) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("transaction too large for the log: bytes={} max={}",
                                 request.batch->bytes(), kPayloadBytesMax),
                     "split it into several");
  }
  if (request.idempotency_key.size() > kIdempotencyKeyBytesMax) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("idempotency key too long: bytes={} max={}",
                                 request.idempotency_key.size(), kIdempotencyKeyBytesMax));
  }
  ARROW_RETURN_NOT_OK(CheckLoads(request));
  ARROW_RETURN_NOT_OK(HoldBack());

  Pending self;
  self.request = &request;
  self.wants_sync = wal_ != nullptr &&
                    (options_.sync == SyncPolicy::kAlways || request.sync == SyncPolicy::kAlways);
  SnapshotPtr hold;  // keeps the conflict window open behind the look-up of the idempotency key
  if (!request.idempotency_key.empty()) {
    hold = GetSnapshot(0);
    ARROW_ASSIGN_OR_RAISE(auto earlier,
                          FindIdempotent(request.idempotency_key, &self.idempotency_checked_to));
    if (earlier) {
      ARROW_RETURN_NOT_OK(Acknowledge(self, &*earlier));
      request.batch->Clear();
      return *earlier;
    }
  }
  if (request.snapshot != nullptr &&
      (request.batch->fact_count() >= kPrecheckFacts || !request.loads.empty() ||
       (request.reads != nullptr && !request.reads->ranges.empty()))) {
    const CommitId published = visible();
    if (Status status = CheckConflicts(request, request.snapshot->commit()); !status.ok()) {
      counters_.conflicts.Add();
      return status;
    }
    self.checked_to = published;
  }

  const WriteBatch::Mark given = request.batch->mark();  // a refused batch goes back as it came
  self.queued_nanos = clock_->MonotonicNanos();
  if (unlogged) {
    if (Status status = CommitUnlogged(&self); !status.ok()) {
      if (CodeOf(status) == ErrorCode::kConflict) counters_.conflicts.Add();
      request.batch->TruncateTo(given);
      return status;
    }
    // One that came while ours waited may be in the log only.
    if (self.receipt.replayed) ARROW_RETURN_NOT_OK(Acknowledge(self, &self.receipt));
    ScheduleAfterPublish();
    request.batch->Clear();
    counters_.commit_latency.Record(static_cast<uint64_t>(clock_->MonotonicNanos() - begin));
    return self.receipt;
  }
  bool sealed = false;
  std::array<Pending*, kGroupCommitsMax> members;  // not set: a commit need not pay for it
  size_t member_count = 0;
  {
    base::MutexLock lock(&queue_mu_);
    queue_.push_back(&self);
    self.leader = queue_.front() == &self;
    while (!self.leader && !self.done) self.wake.Wait(&queue_mu_);
  }
  if (!self.done) {
    {
      base::MutexLock commit_lock(&commit_mu_);
      {
        base::MutexLock lock(&queue_mu_);
        size_t bytes = 0;
        for (Pending* pending : queue_) {
          bytes += pending->request->batch->bytes();
          if (member_count > 0 && (bytes > kGroupBytesMax || member_count == members.size())) break;
          members[member_count++] = pending;
        }
      }
      counters_.wait_nanos.Add(static_cast<uint64_t>(clock_->MonotonicNanos() - self.queued_nanos));
      sealed = RunGroup({members.data(), member_count});
    }
    // From here on the next group may append; this one's members wait for themselves below (a
    // follower's thread syncs or finds that a later sync covered it).
    base::MutexLock lock(&queue_mu_);
    for (Pending* pending : std::span(members.data(), member_count)) {
      queue_.pop_front();
      if (pending == &self) continue;
      pending->done = true;
      pending->wake.Signal();
    }
    if (!queue_.empty()) {
      queue_.front()->leader = true;
      queue_.front()->wake.Signal();
    }
  }
  if (sealed && options_.auto_flush) ScheduleFlush();
  if (!self.status.ok()) {
    request.batch->TruncateTo(given);
    return self.status;
  }

  if (self.wants_sync) {
    if (Status synced = MakeDurable({self.receipt.commit.value -
                                     (LAMINA_MUTANT("commit.acknowledged_before_sync") ? 1 : 0)});
        !synced.ok()) {
      request.batch->TruncateTo(given);
      return UnknownError("log could not be synced", self.receipt.commit, synced);
    }
    self.receipt.ack = AckClass::kDurable;
    counters_.enqueue_to_durable.Record(
        static_cast<uint64_t>(clock_->MonotonicNanos() - self.queued_nanos));
  } else if (wal_ != nullptr) {
    self.receipt.ack = AckClass::kWritten;
    if (options_.sync == SyncPolicy::kInterval) ScheduleSync();
  }
  request.batch->Clear();
  counters_.commit_latency.Record(static_cast<uint64_t>(clock_->MonotonicNanos() - begin));
  return self.receipt;
}

}  // namespace lamina::engine
