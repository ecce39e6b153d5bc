// Open and close.
//
// Open, in this order (README.md goes through a crash after each step):
//   1. refuse a store that holds something else; lock the branch
//   2. load the manifest, or create an empty database
//   3. replay the log from the manifest's floor: commits the files have are skipped, the others go
//      to a memtable. Replay makes the end of the last epoch certain (cuts a torn tail, seals)
//   4. claim the next owner epoch in the manifest: an older owner can publish nothing from here on.
//      If one published since step 2 (its store has no lock that excludes), what was recovered is
//      of the version before: 3 again, from the claimed version
//   5. begin the log of the new epoch
// A read-only open stops after 3 and writes nothing at all.
#include <algorithm>
#include <limits>
#include <utility>

#include <arrow/array.h>
#include <fmt/format.h>

#include "base/check.h"
#include "base/mutant.h"
#include "base/out_of_memory.h"
#include "base/trace.h"
#include "catalog/system_tables.h"
#include "engine/engine_internal.h"

namespace lamina::engine {

using storage::manifest::ManifestStore;
using storage::manifest::VersionEdit;

namespace {

std::string LockPath(const std::string& branch) { return "locks/" + branch; }

base::Clock* ClockOf(const EngineOptions& options) {
  return options.clock != nullptr ? options.clock : base::SystemClock();
}

}  // namespace

EngineImpl::EngineImpl(EngineOptions options)
    : options_(std::move(options)),
      clock_(ClockOf(options_)),
      random_(options_.random_seed != 0 ? options_.random_seed : base::SeedFromEntropy()),
      ulids_(clock_, &random_) {
  executor_ = options_.executor;
  if (executor_ == nullptr) {
    // One more than asked for: a flush and a compaction may take all workers, and the log's sync
    // must not wait for them.
    executor_ = std::make_shared<base::ThreadPoolExecutor>(
        options_.read_only ? 1 : options_.background_threads + 1, "lamina");
    own_executor_ = true;
  }
}

EngineImpl::~EngineImpl() { StopBackground(); }

void EngineImpl::StopBackground() {
  closing_.store(true, std::memory_order_release);
  NotifyBackground();
  gate_->Close();
  if (own_executor_) executor_->Shutdown();
}

Status EngineImpl::OpenManifest() {
  const std::shared_ptr<ObjectStore>& store = options_.store;
  ARROW_ASSIGN_OR_RAISE(bool exists, ManifestStore::Exists(store, options_.branch));
  if (!exists) {
    if (options_.read_only || !options_.create_if_missing) {
      return MakeError(ErrorCode::kNotFound, fmt::format("no database: store={} branch={}",
                                                         store->ToString(), options_.branch));
    }
    ARROW_ASSIGN_OR_RAISE(const auto objects, store->List(""));
    for (const ObjectInfo& object : objects) {
      // What a create that crashed may have left: the lock and a base that no ref names.
      if (object.path.starts_with("locks/") || object.path.starts_with("manifest/")) continue;
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format("store holds something else than a database: store={} branch={} object={}",
                      store->ToString(), options_.branch, object.path),
          "give an empty directory");
    }
  }
  if (!options_.read_only) {
    auto lock = store->Lock(LockPath(options_.branch));
    if (!lock.ok() && CodeOf(lock.status()) == ErrorCode::kPermissionDenied) {
      return MakeError(ErrorCode::kPermissionDenied,
                       fmt::format("{} store={}", MessageOf(lock.status()), store->ToString()),
                       "let this user write there, or open it read-only");
    }
    ARROW_ASSIGN_OR_RAISE(lock_, std::move(lock));
    // Another process may have created it before we had the lock.
    ARROW_ASSIGN_OR_RAISE(exists, ManifestStore::Exists(store, options_.branch));
  }
  ManifestStore::Options manifest;
  manifest.branch = options_.branch;
  manifest.store = store;
  manifest.clock = clock_;
  manifest.ulids = &ulids_;
  if (exists) {
    ARROW_ASSIGN_OR_RAISE(manifest_, ManifestStore::Open(manifest));
  } else {
    ARROW_ASSIGN_OR_RAISE(manifest_, ManifestStore::Create(manifest));
    recovery_.created = true;
  }
  return Status::OK();
}

Status EngineImpl::ApplyReplayed(const storage::wal::Frame& frame) {
  base::MutexLock commit_lock(&commit_mu_);
  const ReadStatePtr now = state();
  const storage::manifest::Version& version = *now->version;
  if (frame.commit <= version.flushed_commit) {
    ++recovery_.skipped_commits;
    return Status::OK();
  }
  if (frame.commit.value != newest_.value + 1 || frame.system <= newest_system_) {
    return MakeError(
        ErrorCode::kCorruption,
        fmt::format("log misses commits or goes back: expected={} found={} newest_time={} time={}",
                    newest_.value + 1, frame.commit.value, Format(newest_system_),
                    Format(frame.system)));
  }
  Status schema_status;
  auto batch = WriteBatch::Decode(
      frame.payload, [&](catalog::TableId id, uint32_t written_as) -> catalog::TableSchemaPtr {
        catalog::TableSchemaPtr table = version.catalog.Find(id);
        if (table != nullptr && table->version == written_as) return table;
        if (table == nullptr && id.value < version.catalog.next_table_id)
          return nullptr;  // dropped since
        schema_status = MakeError(
            ErrorCode::kCorruption,
            fmt::format(
                "log holds rows of an unknown table definition: commit={} table={} version={}",
                frame.commit.value, id.value, written_as));
        return nullptr;
      });
  ARROW_RETURN_NOT_OK(schema_status);
  if (!batch.ok()) {
    return MakeError(CodeOf(batch.status()),
                     fmt::format("{} commit={}", MessageOf(batch.status()), frame.commit.value));
  }
  batch->ForEach([&](const WriteBatch::Entry& entry) {
    if (entry.table == nullptr || entry.table->schema->has_primary_key ||
        entry.table->rows == nullptr)
      return;
    const auto ids = std::dynamic_pointer_cast<arrow::Int64Array>(
        entry.table->rows->GetColumnByName(catalog::kRowIdColumn));
    if (ids == nullptr) return;
    base::MutexLock lock(&row_ids_mu_);
    int64_t& next = next_row_id_.try_emplace(entry.table->schema->id, 1).first->second;
    for (int64_t i = 0; i < ids->length(); ++i)
      next = std::max(next, ids->Value(i) + (LAMINA_MUTANT("recovery.row_id_reused") ? 0 : 1));
  });
  ARROW_RETURN_NOT_OK(active_->Apply(*batch, frame.commit, frame.system));
  newest_ = frame.commit;
  newest_system_ = frame.system;
  ++recovery_.replayed_commits;
  if (seal_.bytes > 0 && active_->memory_bytes() >= seal_.bytes && !options_.read_only) {
    // Sealed without a log boundary: the floor stays until the last of them is flushed.
    auto fresh = Memtable::Make();
    {
      base::MutexLock lock(&state_mu_);
      auto next = std::make_shared<ReadState>(*state_);
      next->sealed.push_back(next->active);
      next->active = fresh;
      state_ = std::move(next);
      sealed_info_.push_back({std::nullopt, clock_->MonotonicNanos()});
    }
    active_ = std::move(fresh);
    CountSeal(SealReason::kBytes);
    sealed_count_.fetch_add(1, std::memory_order_acq_rel);
  }
  return Status::OK();
}

Status EngineImpl::ReplayLog() {
  const storage::manifest::VersionPtr version = this->version();
  storage::wal::ReplayOptions replay;
  replay.branch = options_.branch;
  replay.database_id = version->database_id;
  replay.floor = {version->wal_floor.epoch, version->wal_floor.segment};
  replay.read_only = options_.read_only || !options_.store->supports_append();
  replay.salvage = options_.salvage;
  ARROW_ASSIGN_OR_RAISE(
      const storage::wal::ReplayReport report,
      storage::wal::Replay(options_.store, replay, [this](const storage::wal::Frame& frame) {
        return ApplyReplayed(frame);
      }));
  recovery_.wal_segments = report.segments;
  recovery_.wal_frames = report.frames;
  recovery_.wal_bytes = report.bytes;
  recovery_.torn_bytes = report.torn_bytes;
  recovery_.torn_at = report.torn_at;
  recovery_.left_out = report.left_out;
  return Status::OK();
}

Status EngineImpl::LoadAndReplay() {
  for (;;) {
    const storage::manifest::VersionPtr version = manifest_->current();
    StartFrom(version);
    Status replayed = ReplayLog();
    if (replayed.ok()) break;
    // Without the lock (or with one that excludes nobody) the owner works on beside us: it flushes
    // and prunes, and commits that changed definitions are in a version and in no log. Then the log
    // that we found damaged is not the one that goes with the version we have.
    ARROW_ASSIGN_OR_RAISE(const storage::manifest::VersionPtr newest, manifest_->Refresh());
    if (newest->wal_floor == version->wal_floor &&
        newest->flushed_commit == version->flushed_commit) {
      return replayed;
    }
    LAMINA_REACHED("engine.open.log_pruned");
  }
  base::MutexLock commit_lock(&commit_mu_);
  visible_.store(newest_.value, std::memory_order_release);
  appended_.store(newest_.value, std::memory_order_release);
  // Replay synced the log's end when it sealed it.
  durable_.store(newest_.value, std::memory_order_release);
  definitions_changed_at_.store(newest_.value, std::memory_order_release);
  active_since_nanos_ = clock_->MonotonicNanos();
  base::MutexLock lock(&state_mu_);
  conflict_floor_ = newest_;  // no transaction began before
  return Status::OK();
}

void EngineImpl::StartFrom(const storage::manifest::VersionPtr& version) {
  // Names are minted in publish order, over restarts and whatever the clock says.
  for (const auto& [table, files] : version->files) {
    for (const storage::DataFilePtr& file : files) {
      ulids_.Restore(file->id);
      if (file->deletions) ulids_.Restore(file->deletions->object);
    }
  }
  {
    base::MutexLock commit_lock(&commit_mu_);
    active_ = Memtable::Make();
    newest_ = version->flushed_commit;
    newest_system_ = LAMINA_MUTANT("recovery.newest_time_forgotten") ? SystemTime::Min()
                                                                     : version->flushed_system;
    seal_ = {options_.memtable_bytes, options_.memtable_rows, options_.memtable_age_micros,
             options_.memtable_batches};
    base::MutexLock lock(&state_mu_);
    auto first = std::make_shared<ReadState>();
    first->version = version;
    first->active = active_;
    state_ = std::move(first);
    sealed_info_.clear();
    sealed_count_.store(0, std::memory_order_release);
    base::MutexLock row_ids_lock(&row_ids_mu_);
    next_row_id_.clear();
    for (const auto& [table, next] : version->next_row_id)
      next_row_id_[table] = std::max<int64_t>(next, 1);
  }
  recovery_.replayed_commits = 0;
  recovery_.skipped_commits = 0;
}

Status EngineImpl::Recover() {
  const int64_t begin = clock_->MonotonicNanos();
  ARROW_RETURN_NOT_OK(OpenManifest());
  storage::sst::CacheOptions caches;
  caches.page_cache_bytes = static_cast<size_t>(options_.page_cache_bytes);
  caches.footer_cache_bytes = static_cast<size_t>(options_.footer_cache_bytes);
  caches.deletion_cache_bytes = static_cast<size_t>(options_.deletion_cache_bytes);
  files_ = storage::sst::FileCache::Make(options_.store, caches);
  reader_ = std::make_unique<Reader>(files_.get());
  ARROW_RETURN_NOT_OK(LoadAndReplay());
  if (!options_.read_only) {
    LAMINA_FAULT_POINT("engine.open.before_claim");
    const uint64_t recovered = manifest_->current()->number;
    ARROW_ASSIGN_OR_RAISE(const storage::manifest::VersionPtr version, manifest_->ClaimOwnership());
    epoch_ = version->owner_epoch;
    if (version->number != recovered + 1 && !LAMINA_MUTANT("recovery.stale_manifest")) {
      LAMINA_REACHED("engine.open.published_meanwhile");
      ARROW_RETURN_NOT_OK(LoadAndReplay());
    }
    LAMINA_FAULT_POINT("engine.open.after_claim");
    if (options_.wal) {
      storage::wal::WriterOptions log;
      log.branch = options_.branch;
      log.database_id = version->database_id;
      log.epoch = epoch_;
      log.segment_bytes = options_.wal_segment_bytes;
      log.clock = clock_;
      ARROW_ASSIGN_OR_RAISE(wal_, storage::wal::Writer::Open(options_.store, log));
    }
    base::MutexLock publish_lock(&publish_mu_);
    {
      base::MutexLock lock(&state_mu_);
      auto next = std::make_shared<ReadState>(*state_);
      next->version = version;
      state_ = std::move(next);
    }
    CountLevel0(*version);  // commits are held back from the first one on
    if (recovery_.wal_segments > 0 &&
        (recovery_.replayed_commits == 0 || LAMINA_MUTANT("recovery.floor_past_replayed"))) {
      // Everything in the old log is in the files: it need not be read again.
      VersionEdit edit;
      edit.reason = "open";
      edit.created_micros = clock_->NowMicros();
      edit.wal_floor = storage::manifest::WalFloor{epoch_, 1};
      ARROW_RETURN_NOT_OK(PublishEdit(edit).status());
      (void)PruneLog(/*dry_run=*/false);  // old segments that stay harm nothing
    }
  }
  recovery_.nanos = clock_->MonotonicNanos() - begin;
  base::Trace(options_.trace.get(), "engine", "opened",
              {{"created", recovery_.created},
               {"replayed", recovery_.replayed_commits},
               {"torn_bytes", recovery_.torn_bytes},
               {"epoch", epoch_}});
  if (!options_.read_only) {
    if (options_.auto_flush && sealed_count_.load(std::memory_order_relaxed) > 0) ScheduleFlush();
    {
      base::MutexLock lock(&commit_mu_);
      if (seal_.age_micros > 0 && active_->first_commit().value != 0) ScheduleAge();
    }
    ScheduleAfterPublish();
    ScheduleGc();  // a crash may have left orphans
  }
  return Status::OK();
}

Status EngineImpl::Close(bool flush) {
  base::MutexLock close_lock(&close_mu_);
  if (closed_) return base::CopyOf(close_status_);
  // seq_cst here, at the count of commits and in CheckWritable: of a commit that counts itself and
  // then looks at closing_, and us who set closing_ and then look at the count, one sees the other.
  closing_.store(true, std::memory_order_seq_cst);
  NotifyBackground();
  gate_->Close();
  {
    // Commits that were under way when closing_ was set end by themselves.
    base::MutexLock lock(&background_mu_);
    while (commits_in_flight_.load(std::memory_order_seq_cst) > 0)
      progress_.WaitForMicros(&background_mu_, 1000);
  }
  // Flushes, compactions and collections that other threads began before closing_ was set: a
  // compaction ends at its next batch, the others are waited for. None may publish or delete once
  // the branch is given away, as the next owner has then read the manifest and the log.
  base::MutexLock compaction_lock(&compaction_mu_);
  // Nothing throws: with or without memory the branch is given away.
  Status status;
  if (!options_.read_only) {
    if (stopped_.load(std::memory_order_acquire)) {
      status = StoppedError();
    } else if (flush) {
      try {
        base::MutexLock lock(&commit_mu_);
        status = Seal(SealReason::kAsked);
      } catch (const std::bad_alloc&) {
        status = base::OutOfMemory();
      }
      if (status.ok()) {
        base::MutexLock lock(&publish_mu_);
        status = FlushSealed();
      }
    }
    {
      base::MutexLock lock(&publish_mu_);
      ended_ = true;
    }
    if (wal_ != nullptr) {
      Status closed = wal_->Close();
      if (status.ok()) status = std::move(closed);
    }
  }
  if (own_executor_) executor_->Shutdown();
  lock_.reset();
  closed_ = true;
  close_status_ = base::CopyOf(status);
  return status;
}

}  // namespace lamina::engine
