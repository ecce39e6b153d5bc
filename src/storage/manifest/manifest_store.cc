// Commit, step by step.
//
//  1. Apply the edit to the newest version known and verify the result.
//  2. Put it into a new ref: appended to the inline edits, or, when those grow too long, as a new
//     base object, written first.
//  3. Put the ref on condition that it is still the one that was read.
//       OK        published.
//       conflict  load the ref and begin again at 1 (the edit may not fit any more: kConflict).
//       unclear   (timeout, 5xx) load the ref. It lists our commit id: published. It is unchanged:
//                 put the same again; if the first put still arrives, one of the two meets a
//                 conflict and the id tells. It moved without our id: the condition of the lost
//                 put can never hold again, begin at 1; but after 64 other commits the id may have
//                 been pushed out: kCommitUnknown.
//       stopped   (a sync failed) whatever the ref reads like, the disk may not have it:
//                 kCommitUnknown.
// One commit id serves all tries of one Commit, so an edit counts once.

#include "storage/manifest/manifest_store.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/metrics.h"
#include "base/mutant.h"
#include "base/mutex.h"
#include "base/out_of_memory.h"
#include "catalog/system_tables.h"
#include "storage/manifest/format_internal.h"
#include "storage/object_store/write_once.h"

namespace lamina::storage::manifest {

namespace {

constexpr int kUnclearPutsMax = 4;
constexpr int kReadTriesMax = 4;
constexpr int kLostRacesMax = 10'000;
constexpr int64_t kBackoffMicros = 20'000;  // doubled at each try
constexpr char kRefPrefix[] = "refs/";

std::string RefPath(const std::string& branch) { return kRefPrefix + branch; }

std::string_view View(const arrow::Buffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.data()), static_cast<size_t>(buffer.size())};
}

/// The same error, naming the file it came from.
Status InFile(const Status& status, const std::string& path) {
  return MakeError(CodeOf(status), MessageOf(status) + ": file=" + path,
                   std::string(HintOf(status)));
}

/// Everything known of the ref at one moment.
struct State {
  Ref ref;
  std::string tag;
  uint64_t ref_bytes = 0;
  uint64_t base_bytes = 0;
  VersionPtr base;     ///< What ref.base holds.
  VersionPtr version;  ///< base and all edits.

  bool Lists(const base::Ulid& commit_id) const {
    const auto& ids = ref.recent_commit_ids;
    return std::find(ids.rbegin(), ids.rend(), commit_id) != ids.rend();
  }
};

Result<VersionPtr> DecodeBase(const Ref& ref, std::string_view bytes) {
  ARROW_ASSIGN_OR_RAISE(const std::string_view body, DecodeFramed(kBaseMagic, ref.base, bytes));
  if (ChecksumOf(bytes) != ref.base_checksum) {
    return MakeError(
        ErrorCode::kCorruption,
        fmt::format("base is not the one the ref names: file={} expected={:08x} actual={:08x}",
                    ref.base, ref.base_checksum, ChecksumOf(bytes)));
  }
  const Result<VersionPtr> version = DecodeVersion(body);
  if (!version.ok()) return InFile(version.status(), ref.base);
  if ((*version)->database_id != ref.database_id || (*version)->number != ref.base_version) {
    return MakeError(
        ErrorCode::kCorruption,
        fmt::format(
            "base is of another database or version: file={} database={} version={} expected={} {}",
            ref.base, (*version)->database_id.ToString(), (*version)->number,
            ref.database_id.ToString(), ref.base_version));
  }
  return *version;
}

/// Builds ref.base + edits. What `known` shares with it is not decoded again.
Result<VersionPtr> BuildVersion(const std::string& path, const Ref& ref, const VersionPtr& base,
                                const State* known) {
  const Version* start = base.get();
  size_t from = 0;
  if (known != nullptr && known->base == base && known->ref.edits.size() <= ref.edits.size() &&
      std::equal(known->ref.edits.begin(), known->ref.edits.end(), ref.edits.begin())) {
    start = known->version.get();
    from = known->ref.edits.size();
  }
  auto version = std::make_shared<Version>(*start);
  for (size_t i = from; i < ref.edits.size(); ++i) {
    const Result<VersionEdit> edit = DecodeEdit(ref.edits[i]);
    if (!edit.ok()) return InFile(edit.status(), fmt::format("{} edit={}", path, i));
    const Status applied = ApplyInPlace(*edit, version.get());
    if (!applied.ok()) {
      return MakeError(ErrorCode::kCorruption,
                       fmt::format("an edit of the ref does not fit: file={} edit={} problem={}",
                                   path, i, MessageOf(applied)));
    }
  }
  const Status sound = version->Verify();
  if (!sound.ok())
    return MakeError(ErrorCode::kCorruption, fmt::format("{}: file={}", MessageOf(sound), path));
  return version;
}

/// What one Load cost. Without a clock nothing is measured.
struct LoadCost {
  base::Clock* clock = nullptr;
  int64_t head_nanos = 0;
  int64_t decode_nanos = 0;
};

/// Reads the ref and what it names. `known` (may be null) saves the base and the edits that are
/// known already.
Result<State> Load(ObjectStore& store, const std::string& branch, const State* known,
                   LoadCost* cost) {
  const std::string path = RefPath(branch);
  std::string tag_without_base;
  while (true) {
    ObjectInfo info;
    base::PhaseTimer head(cost->clock, &cost->head_nanos);
    ARROW_ASSIGN_OR_RAISE(const auto buffer, store.Get(path, &info));
    head.Stop();
    base::PhaseTimer decode_ref(cost->clock, &cost->decode_nanos);
    State state;
    ARROW_ASSIGN_OR_RAISE(state.ref, DecodeRef(path, View(*buffer)));
    state.tag = info.tag;
    state.ref_bytes = static_cast<uint64_t>(buffer->size());
    if (state.ref.branch != branch) {
      return MakeError(
          ErrorCode::kCorruption,
          fmt::format("ref is of another branch: file={} branch={}", path, state.ref.branch));
    }
    if (known != nullptr) {
      if (state.ref.database_id != known->ref.database_id ||
          state.ref.version < known->ref.version) {
        return MakeError(
            ErrorCode::kCorruption,
            fmt::format(
                "ref went back or was exchanged: file={} database={} version={} known_database={} "
                "known_version={}",
                path, state.ref.database_id.ToString(), state.ref.version,
                known->ref.database_id.ToString(), known->ref.version));
      }
      if (state.ref.base == known->ref.base &&
          state.ref.base_checksum == known->ref.base_checksum) {
        state.base = known->base;
        state.base_bytes = known->base_bytes;
      }
    }
    decode_ref.Stop();
    if (state.base == nullptr) {
      const auto base = store.Get(state.ref.base);
      if (!base.ok()) {
        if (CodeOf(base.status()) != ErrorCode::kNotFound) return base.status();
        // Between the two reads a commit may have moved the ref, and the collector taken the base
        // it named.
        if (state.tag == tag_without_base) {
          return MakeError(ErrorCode::kCorruption,
                           fmt::format("base is missing: file={} ref={}", state.ref.base, path));
        }
        LAMINA_REACHED("manifest.load.base_gone");
        tag_without_base = state.tag;
        continue;
      }
      const base::PhaseTimer decode(cost->clock, &cost->decode_nanos);
      ARROW_ASSIGN_OR_RAISE(state.base, DecodeBase(state.ref, View(**base)));
      state.base_bytes = static_cast<uint64_t>((*base)->size());
    }
    const base::PhaseTimer decode(cost->clock, &cost->decode_nanos);
    ARROW_ASSIGN_OR_RAISE(state.version, BuildVersion(path, state.ref, state.base, known));
    return state;
  }
}

Status PutRef(ObjectStore& store, const std::string& path, std::string_view bytes,
              const PutCondition& condition, std::string* tag) {
  LAMINA_FAULT_POINT("manifest.cas.before_put");
  try {
    ARROW_ASSIGN_OR_RAISE(ObjectInfo info, store.Put(path, bytes, condition));
    LAMINA_FAULT_POINT("manifest.cas.after_put");
    *tag = std::move(info.tag);
    return Status::OK();
  } catch (const std::bad_alloc&) {
    return base::OutcomeUnknown();  // as any answer that got lost: the ref tells
  }
}

/// Whether an error of a put says for certain that nothing happened.
bool NothingHappened(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kUnsupported:
    case ErrorCode::kResourceExhausted:
      return true;
    default:
      return false;
  }
}

}  // namespace

struct ManifestStore::Impl {
  explicit Impl(Options o) : options(std::move(o)), path(RefPath(options.branch)) {}

  const Options options;
  const std::string path;

  // Serialises commits and refreshes. Taken before state_mu.
  base::Mutex commit_mu;
  /// 0: not an owner, and then nobody fences us.
  uint64_t own_epoch LAMINA_GUARDED_BY(commit_mu) = 0;

  // Guards the swap of what readers see; state is changed only with commit_mu held too.
  mutable base::Mutex state_mu;
  State state LAMINA_GUARDED_BY(state_mu);
  ManifestStats stats LAMINA_GUARDED_BY(state_mu);

  VersionPtr current() const LAMINA_EXCLUDES(state_mu) {
    base::MutexLock lock(&state_mu);
    return state.version;
  }

  template <typename Change>
  void CountStats(Change&& change) LAMINA_EXCLUDES(state_mu) {
    base::MutexLock lock(&state_mu);
    change(stats);
  }

  // Only for holders of commit_mu: nobody else changes state, so it can be read without state_mu.
  const State& Held() const LAMINA_NO_THREAD_SAFETY_ANALYSIS { return state; }

  VersionPtr Publish(State next) LAMINA_REQUIRES(commit_mu) LAMINA_EXCLUDES(state_mu) {
    base::MutexLock lock(&state_mu);
    stats.ref_bytes = next.ref_bytes;
    stats.base_bytes = next.base_bytes;
    state = std::move(next);
    return state.version;
  }

  /// Load, counted.
  Result<State> LoadState(const State* known) LAMINA_EXCLUDES(state_mu) {
    LoadCost cost{.clock = options.clock};
    Result<State> loaded = Load(*options.store, options.branch, known, &cost);
    CountStats([&](ManifestStats& s) {
      ++s.loads;
      s.head_nanos += static_cast<uint64_t>(cost.head_nanos);
      s.decode_nanos += static_cast<uint64_t>(cost.decode_nanos);
    });
    return loaded;
  }

  Status Reload() LAMINA_REQUIRES(commit_mu) {
    ARROW_ASSIGN_OR_RAISE(State loaded, LoadState(&Held()));
    Publish(std::move(loaded));
    return Status::OK();
  }

  /// Writes `version` as a base and makes `ref` name it.
  Status WriteBase(const Version& version, Ref* ref, uint64_t* base_bytes) {
    const std::string bytes = EncodeFramed(kBaseMagic, EncodeVersion(version));
    *base_bytes = bytes.size();
    ref->base = std::string(kBasePrefix) + options.ulids->Next().ToString();
    ref->base_version = version.number;
    ref->base_checksum = ChecksumOf(bytes);
    ref->edits.clear();
    LAMINA_FAULT_POINT("manifest.base.before_put");
    // An error, also an unclear one, publishes nothing: no ref names the object, and its name is
    // used once.
    ARROW_RETURN_NOT_OK(PutOnce(options.store.get(), ref->base, bytes));
    LAMINA_REACHED("manifest.base.written");
    CountStats([](ManifestStats& s) { ++s.bases_written; });
    return Status::OK();
  }

  /// The state after `version`, not yet published, and its ref's bytes.
  Result<State> Prepare(VersionPtr version, const VersionEdit& edit, const base::Ulid& commit_id,
                        std::string* bytes) LAMINA_REQUIRES(commit_mu) {
    const State& held = Held();
    State next;
    next.ref = held.ref;
    next.base = held.base;
    next.base_bytes = held.base_bytes;
    next.ref.version = version->number;
    std::vector<base::Ulid>& ids = next.ref.recent_commit_ids;
    ids.push_back(commit_id);
    if (ids.size() > Ref::kRecentCommitIds) ids.erase(ids.begin());
    next.ref.edits.push_back(EncodeEdit(edit));
    size_t inline_bytes = 0;
    for (const std::string& e : next.ref.edits) inline_bytes += e.size();
    // Older edits in the ref, and this one, name erased keys (also as bounds of files): a new base
    // leaves them behind.
    const bool forget_erased = !edit.finish_erases.empty();
    if (forget_erased || next.ref.edits.size() > options.max_inline_edits ||
        inline_bytes > options.max_inline_bytes) {
      ARROW_RETURN_NOT_OK(WriteBase(*version, &next.ref, &next.base_bytes));
      next.base = version;
    }
    next.version = std::move(version);
    *bytes = EncodeRef(next.ref);
    next.ref_bytes = bytes->size();
    return next;
  }

  Status Unknown(const Status& cause) const {
    return base::ErrorOr(
        [&] {
          return MakeError(
              ErrorCode::kCommitUnknown,
              fmt::format("a manifest commit may or may not have happened: ref={} cause={}", path,
                          MessageOf(cause)),
              "stop writing and reopen the database");
        },
        base::OutcomeUnknown());
  }

  Status Fenced(uint64_t own, uint64_t newest) const {
    return MakeError(
        ErrorCode::kFenced,
        fmt::format("a newer owner has claimed the database: ref={} own_epoch={} newest={}", path,
                    own, newest),
        "reopen the database");
  }

  /// After an unclear put: the ref as it is now, read with patience.
  Status ReloadPatiently() LAMINA_REQUIRES(commit_mu) {
    Status status;
    for (int i = 0; i < kReadTriesMax; ++i) {
      if (i > 0) options.clock->SleepMicros(kBackoffMicros << i);
      status = Reload();
      if (status.ok()) break;  // a damaged body or a refusal may pass as well
    }
    return status;
  }

  Result<VersionPtr> Commit(const VersionEdit& asked, bool claim) LAMINA_EXCLUDES(commit_mu) {
    base::MutexLock lock(&commit_mu);
    const int64_t started = options.clock->MonotonicNanos();
    bool in_doubt = false;
    Result<VersionPtr> result = [&]() LAMINA_REQUIRES(commit_mu) -> Result<VersionPtr> {
      try {
        return CommitLocked(asked, claim, &in_doubt);
      } catch (const std::bad_alloc&) {
        if (!in_doubt) throw;  // nothing happened
        LAMINA_REACHED("manifest.cas.out_of_memory");
        return base::OutcomeUnknown();
      }
    }();
    CountStats([&](ManifestStats& s) {
      s.commit_nanos += static_cast<uint64_t>(options.clock->MonotonicNanos() - started);
      if (result.ok()) ++s.commits;
    });
    return result;
  }

  /// `in_doubt`: true from a put whose outcome was not told until that is settled. What is thrown
  /// then is kCommitUnknown.
  Result<VersionPtr> CommitLocked(const VersionEdit& asked, bool claim, bool* in_doubt)
      LAMINA_REQUIRES(commit_mu) {
    const base::Ulid commit_id = options.ulids->Next();
    VersionEdit edit = asked;
    if (edit.created_micros == 0) edit.created_micros = options.clock->NowMicros();
    bool moved = false;         // the ref moved since the caller could see it
    int unclear = 0;            // puts whose outcome was not told
    uint64_t unclear_base = 0;  // version that the first of them was to replace
    for (int race = 0; race < kLostRacesMax; ++race) {
      const VersionPtr base = Held().version;
      if (claim) {
        edit.owner_epoch = base->owner_epoch + 1;
      } else if (own_epoch != 0 && base->owner_epoch > own_epoch &&
                 !LAMINA_MUTANT("manifest.fence_ignored")) {
        return Fenced(own_epoch, base->owner_epoch);
      }
      Result<VersionPtr> applied = Apply(*base, edit);
      if (!applied.ok()) {
        if (!moved) return applied.status();
        return MakeError(ErrorCode::kConflict,
                         MessageOf(applied.status()) + ": another commit came first: ref=" + path);
      }
      ARROW_RETURN_NOT_OK((*applied)->Verify());
      std::string bytes;
      Result<State> prepared = Prepare(*applied, edit, commit_id, &bytes);
      if (!prepared.ok()) return unclear == 0 ? prepared.status() : Unknown(prepared.status());
      State& next = *prepared;

      const int64_t put_started = options.clock->MonotonicNanos();
      const PutCondition condition = LAMINA_MUTANT("manifest.unconditional_put")
                                         ? PutCondition::None()
                                         : PutCondition::IfTagMatches(Held().tag);
      const Status put = PutRef(*options.store, path, bytes, condition, &next.tag);
      *in_doubt = !put.ok();  // also where an error says that nothing happened: it can be thrown
      CountStats([&](ManifestStats& s) {
        s.cas_nanos += static_cast<uint64_t>(options.clock->MonotonicNanos() - put_started);
      });
      if (put.ok()) {
        if (edit.owner_epoch) own_epoch = *edit.owner_epoch;
        return Publish(std::move(next));
      }
      const ErrorCode code = CodeOf(put);
      // The store's own sync failed: reading the ref back would show what may never be on disk.
      if (code == ErrorCode::kStopped && !LAMINA_MUTANT("manifest.failed_sync_read_back"))
        return Unknown(put);
      if (code != ErrorCode::kConflict) {
        if (NothingHappened(code) || LAMINA_MUTANT("manifest.unclear_put_taken_for_failed")) {
          *in_doubt = unclear > 0;
          return unclear == 0 ? put : Unknown(put);
        }
        if (unclear++ == 0) unclear_base = base->number;
      } else {
        LAMINA_REACHED("manifest.cas.conflict");
      }
      const std::string tag_before = Held().tag;
      // A conflict is not clear either: the store's client may have repeated a put of ours that had
      // succeeded. Only the ref tells.
      const Status loaded = ReloadPatiently();
      if (!loaded.ok()) return Unknown(loaded);
      if (Held().Lists(commit_id)) {
        LAMINA_REACHED("manifest.cas.settled");
        CountStats([](ManifestStats& s) { ++s.unknown_outcomes_settled; });
        if (edit.owner_epoch) own_epoch = *edit.owner_epoch;
        // It happened, but what the ref holds now is the work of a newer owner, which ours does not
        // know: nothing may be built on it.
        if (own_epoch != 0 && Held().version->owner_epoch > own_epoch) {
          LAMINA_REACHED("manifest.cas.settled_and_fenced");
          return Fenced(own_epoch, Held().version->owner_epoch);
        }
        return Held().version;
      }
      if (Held().tag == tag_before) {
        // A conflict without a change: the store's own retry, or a tag that is not stable. Either
        // way a bounded wait.
        if (code == ErrorCode::kConflict) ++unclear;
        if (unclear >= kUnclearPutsMax) return Unknown(put);
        options.clock->SleepMicros(kBackoffMicros << unclear);
        continue;
      }
      moved = true;
      if (unclear > 0) {
        if (Held().version->number - unclear_base > Ref::kRecentCommitIds) return Unknown(put);
        // Settled: it did not happen and cannot any more.
        CountStats([](ManifestStats& s) { ++s.unknown_outcomes_settled; });
        unclear = 0;
      }
      *in_doubt = false;
      CountStats([](ManifestStats& s) { ++s.cas_retries; });
    }
    return MakeError(
        ErrorCode::kUnavailable,
        fmt::format("too many other commits came first: ref={} races={}", path, kLostRacesMax));
  }
};

ManifestStore::ManifestStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ManifestStore::~ManifestStore() = default;

Result<bool> ManifestStore::Exists(const std::shared_ptr<ObjectStore>& store,
                                   const std::string& branch) {
  const auto info = store->Head(RefPath(branch));
  if (info.ok()) return true;
  if (CodeOf(info.status()) == ErrorCode::kNotFound) return false;
  return info.status();
}

Result<std::unique_ptr<ManifestStore>> ManifestStore::Create(Options options) {
  LAMINA_CHECK(options.store != nullptr && options.clock != nullptr && options.ulids != nullptr);
  auto impl = std::make_unique<Impl>(std::move(options));
  const Options& o = impl->options;
  const Status exists =
      MakeError(ErrorCode::kAlreadyExists, "a database is already there: ref=" + impl->path);
  ARROW_ASSIGN_OR_RAISE(const bool there, Exists(o.store, o.branch));
  if (there) return exists;

  auto version = std::make_shared<Version>();
  version->database_id = o.ulids->Next();
  version->number = 1;
  version->catalog = catalog::MakeCatalog();
  VersionSummary summary;
  summary.number = 1;
  summary.system = version->flushed_system;
  summary.created_micros = o.clock->NowMicros();
  summary.reason = "create";
  version->recent.push_back(std::move(summary));
  ARROW_RETURN_NOT_OK(version->Verify());

  State state;
  state.ref.database_id = version->database_id;
  state.ref.branch = o.branch;
  state.ref.version = 1;
  const base::Ulid commit_id = o.ulids->Next();
  state.ref.recent_commit_ids.push_back(commit_id);
  ARROW_RETURN_NOT_OK(impl->WriteBase(*version, &state.ref, &state.base_bytes));
  state.base = version;
  state.version = version;
  const std::string bytes = EncodeRef(state.ref);
  state.ref_bytes = bytes.size();
  const Status put = PutRef(*o.store, impl->path, bytes, PutCondition::IfAbsent(), &state.tag);
  if (!put.ok()) {
    if (NothingHappened(CodeOf(put))) return put;
    if (CodeOf(put) == ErrorCode::kStopped) return impl->Unknown(put);
    // Ours, or someone else's: the ref tells. Also after kAlreadyExists, which a store's own retry
    // can bring about.
    Result<State> loaded = impl->LoadState(nullptr);
    if (!loaded.ok()) return impl->Unknown(loaded.status());
    if (!loaded->Lists(commit_id)) return exists;
    state = std::move(*loaded);
    impl->CountStats([](ManifestStats& s) { ++s.unknown_outcomes_settled; });
  }
  {
    base::MutexLock lock(&impl->commit_mu);
    impl->Publish(std::move(state));
  }
  return std::unique_ptr<ManifestStore>(new ManifestStore(std::move(impl)));
}

Result<std::unique_ptr<ManifestStore>> ManifestStore::Open(Options options) {
  LAMINA_CHECK(options.store != nullptr && options.clock != nullptr && options.ulids != nullptr);
  auto impl = std::make_unique<Impl>(std::move(options));
  ARROW_ASSIGN_OR_RAISE(State state, impl->LoadState(nullptr));
  // Names minted from now on lie above every commit id and base name of the database, whatever the
  // clock says.
  for (const base::Ulid& id : state.ref.recent_commit_ids) impl->options.ulids->Restore(id);
  const auto base_id =
      base::Ulid::Parse(std::string_view(state.ref.base).substr(kBasePrefix.size()));
  if (base_id.ok()) impl->options.ulids->Restore(*base_id);
  {
    base::MutexLock lock(&impl->commit_mu);
    impl->Publish(std::move(state));
  }
  return std::unique_ptr<ManifestStore>(new ManifestStore(std::move(impl)));
}

VersionPtr ManifestStore::current() const { return impl_->current(); }

Result<VersionPtr> ManifestStore::Refresh() {
  base::MutexLock lock(&impl_->commit_mu);
  ARROW_ASSIGN_OR_RAISE(const ObjectInfo info, impl_->options.store->Head(impl_->path));
  if (info.tag != impl_->Held().tag) ARROW_RETURN_NOT_OK(impl_->Reload());
  return impl_->Held().version;
}

Result<VersionPtr> ManifestStore::ClaimOwnership() {
  VersionEdit edit;
  edit.reason = "open";
  return impl_->Commit(edit, /*claim=*/true);
}

Result<VersionPtr> ManifestStore::Commit(const VersionEdit& edit) {
  return impl_->Commit(edit, /*claim=*/false);
}

ManifestStats ManifestStore::stats() const {
  base::MutexLock lock(&impl_->state_mu);
  return impl_->stats;
}

Result<ManifestStore::RefInfo> ManifestStore::Inspect(const std::shared_ptr<ObjectStore>& store,
                                                      const std::string& branch) {
  LoadCost unmeasured;
  ARROW_ASSIGN_OR_RAISE(State state, Load(*store, branch, nullptr, &unmeasured));
  RefInfo info;
  info.format = kFormatVersion;
  info.base = state.ref.base;
  info.inline_edits = state.ref.edits.size();
  info.bytes = state.ref_bytes;
  info.version = std::move(state.version);
  info.live_objects = {RefPath(branch), state.ref.base};
  return info;
}

Result<std::vector<std::string>> ManifestStore::CollectBases(int64_t grace_micros, bool dry_run) {
  // No commit of ours is between its base and its ref while this runs; the grace covers other
  // processes.
  base::MutexLock lock(&impl_->commit_mu);
  ObjectStore& store = *impl_->options.store;
  ARROW_ASSIGN_OR_RAISE(const std::vector<ObjectInfo> objects,
                        store.List(std::string(kBasePrefix)));
  // Refs after the list: a base that a later commit wrote is not in the list. All branches share
  // the folder.
  ARROW_ASSIGN_OR_RAISE(const std::vector<ObjectInfo> refs, store.List(kRefPrefix));
  std::vector<std::string> live;
  for (const ObjectInfo& object : refs) {
    ARROW_ASSIGN_OR_RAISE(const auto buffer, store.Get(object.path));
    ARROW_ASSIGN_OR_RAISE(const Ref ref, DecodeRef(object.path, View(*buffer)));
    live.push_back(ref.base);
  }
  const int64_t now = impl_->options.clock->NowMicros();
  std::vector<std::string> collected;
  for (const ObjectInfo& object : objects) {
    if (std::find(live.begin(), live.end(), object.path) != live.end()) continue;
    const auto id = base::Ulid::Parse(std::string_view(object.path).substr(kBasePrefix.size()));
    if (!id.ok()) continue;  // not ours
    if (grace_micros > 0 && id->timestamp_ms() * 1000 + grace_micros > now) continue;
    if (!dry_run) ARROW_RETURN_NOT_OK(store.Delete(object.path));
    collected.push_back(object.path);
  }
  return collected;
}

}  // namespace lamina::storage::manifest
