// One thing falling into the middle of another, placed there by the store, the clock or the trace,
// so that the race is the same every time.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <arrow/compute/initialize.h>
#include <arrow/compute/registry.h>
#include <arrow/compute/type_fwd.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/executor.h"
#include "base/thread.h"
#include "engine/engine_test_support_internal.h"
#include "storage/manifest/manifest_store.h"
#include "testing/faulty_store.h"

namespace lamina::engine {
namespace {

using catalog::kKeyValueTable;
using storage::RequestKind;
using temporal::FactKind;
using testing::FaultyStore;
using testing::StoreFault;
using testing_engine::Get;
using testing_engine::MustOpen;
using testing_engine::Put;
using testing_engine::TestOptions;

/// Opens once. Waiting gives up after `milliseconds` and says whether it was open.
class Gate {
 public:
  void Open() {
    std::lock_guard lock(mu_);
    open_ = true;
    opened_.notify_all();
  }
  bool Wait(int milliseconds = 30'000) {
    std::unique_lock lock(mu_);
    return opened_.wait_for(lock, std::chrono::milliseconds(milliseconds), [&] { return open_; });
  }

 private:
  std::mutex mu_;
  std::condition_variable opened_;
  bool open_ = false;
};

template <typename Condition>
bool WaitUntil(Condition condition) {
  for (int i = 0; i < 3000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

/// Calls back in the thread of the event. It may call into the engine at events where the test
/// knows which locks are held; a sink of a user must not.
class HookSink final : public TraceSink {
 public:
  void Event(std::string_view component, std::string_view event,
             std::span<const TraceField> fields) override {
    (void)component;
    (void)fields;
    if (on_event) on_event(event);
  }
  std::function<void(std::string_view event)> on_event;
};

/// The system's clock, with a hook in front of NowMicros.
class HookClock final : public base::Clock {
 public:
  int64_t NowMicros() override {
    if (on_now) on_now();
    return base::SystemClock()->NowMicros();
  }
  int64_t MonotonicNanos() override { return base::SystemClock()->MonotonicNanos(); }
  void SleepMicros(int64_t micros) override { base::SystemClock()->SleepMicros(micros); }
  std::function<void()> on_now;
};

class EngineRaceTest : public ::testing::Test {
 protected:
  EngineOptions Options() {
    EngineOptions options = TestOptions(faulty_);
    options.auto_flush = false;
    options.auto_compact = false;
    options.auto_gc = false;
    options.upper_codec = Codec::kNone;
    options.last_codec = Codec::kNone;
    return options;
  }
  /// Runs `hook` in front of the next call of this kind.
  void Before(RequestKind kind, const std::string& prefix, std::function<void()> hook) {
    StoreFault fault;
    fault.kind = kind;
    fault.path_prefix = prefix;
    fault.status = Status::OK();
    fault.meanwhile = std::move(hook);
    faulty_->Add(std::move(fault));
  }
  std::vector<std::string> ObjectsWith(const std::string& text) {
    std::vector<std::string> found;
    auto objects = base_->List("");
    EXPECT_TRUE(objects.ok()) << objects.status();
    for (const auto& object : *objects) {
      auto bytes = base_->Get(object.path);
      EXPECT_TRUE(bytes.ok()) << bytes.status();
      if (bytes.ok() && (*bytes)->ToString().find(text) != std::string::npos)
        found.push_back(object.path);
    }
    return found;
  }
  static void ExpectSound(Engine* engine) {
    auto findings = engine->Check(nullptr);
    ASSERT_TRUE(findings.ok()) << findings.status();
    EXPECT_EQ(*findings, std::vector<std::string>());
  }

  std::shared_ptr<ObjectStore> base_ = MakeMemoryStore();
  std::shared_ptr<FaultyStore> faulty_ = std::make_shared<FaultyStore>(base_);
};

// A flush moves the log's floor and deletes segments; the check has read the old floor by then.
TEST_F(EngineRaceTest, ACheckBesideAFlushFindsNothing) {
  auto options = Options();
  options.auto_flush = true;
  options.memtable_rows = 1;
  options.max_sealed_memtables = 100;
  const auto executor = std::make_shared<base::ManualExecutor>(base::SystemClock());
  options.executor = executor;
  auto engine = MustOpen(options);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Put(engine.get(), "k" + std::to_string(i), "v").ok());
  ASSERT_EQ(engine->metrics().flushes, 0u);
  Gate flushed;
  std::thread flusher;
  Before(RequestKind::kList, "wal/", [&] {
    flusher = std::thread([&] {
      executor->RunUntilIdle();
      flushed.Open();
    });
    flushed.Wait(300);  // in vain when the check holds the flush back, which is fine
  });
  ExpectSound(engine.get());
  ASSERT_TRUE(flusher.joinable()) << "the check did not list the log";
  flusher.join();
  EXPECT_EQ(engine->metrics().flushes, 1u);
  ExpectSound(engine.get());
}

// Two commits of one idempotency key in one group: the second answers with the first's receipt,
// which is worth nothing when the group does not get into the log.
TEST_F(EngineRaceTest, ARepeatedIdempotencyKeySharesTheFateOfItsGroup) {
  auto options = Options();
  options.sync = SyncPolicy::kOff;
  auto engine = MustOpen(options);
  Gate first_appends, may_go_on;
  Before(RequestKind::kAppend, "wal/", [&] {
    first_appends.Open();
    may_go_on.Wait();
  });
  StoreFault fault;
  fault.kind = RequestKind::kAppend;
  fault.path_prefix = "wal/";
  fault.skip = 1;
  faulty_->Add(fault);
  std::vector<Status> outcomes(2);
  std::vector<std::thread> threads;
  threads.emplace_back([&] { EXPECT_TRUE(Put(engine.get(), "first", "v").ok()); });
  ASSERT_TRUE(first_appends.Wait());
  for (size_t i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      WriteBatch batch;
      batch.AddInline(kKeyValueTable, FactKind::kPut, {}, "k", "v");
      CommitRequest request;
      request.batch = &batch;
      request.idempotency_key = "request";
      outcomes[i] = engine->Commit(std::move(request)).status();
    });
  }
  ASSERT_TRUE(WaitUntil([&] { return engine->metrics().queue_depth == 3; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // from counted to queued
  may_go_on.Open();
  for (auto& thread : threads) thread.join();
  for (const Status& outcome : outcomes) EXPECT_FALSE(outcome.ok());
  EXPECT_EQ(Get(*engine, "k"), std::nullopt);
  engine.reset();
  faulty_->Clear();
  engine = MustOpen(options);
  EXPECT_EQ(Get(*engine, "first"), "v");
  EXPECT_EQ(Get(*engine, "k"), std::nullopt);
}

// A flush between the last look for files of the erased key and the end of the erase gives a file
// that spans the key a deletion vector, so that it counts as one that may hold the key.
TEST_F(EngineRaceTest, AnEraseIsDoneWhenItReturnsAlsoWhenAFlushFallsIntoIt) {
  HookClock clock;
  auto options = Options();
  options.clock = &clock;
  const auto sink = std::make_shared<HookSink>();
  options.trace = sink;
  auto engine = MustOpen(options);
  for (const char* key : {"a", "secret-key", "z"})
    ASSERT_TRUE(Put(engine.get(), key, std::string(key) + "-value").ok());
  ASSERT_TRUE(engine->Flush().ok());
  ASSERT_FALSE(ObjectsWith("secret-key").empty());
  bool compacted = false;
  int asked = 0;
  int flushes = 0;
  sink->on_event = [&](std::string_view event) {
    compacted = compacted || event == "compaction.finished";
  };
  clock.on_now = [&] {
    // First asks the name that the next job's files lie above, then the picker, which has its
    // version by then.
    if (!compacted || flushes > 0 || asked++ == 0) return;
    ++flushes;
    ASSERT_TRUE(Put(engine.get(), "a", "another").ok());
    ASSERT_TRUE(engine->Flush().ok());
  };
  ASSERT_TRUE(engine->EraseKey(kKeyValueTable, "secret-key").ok());
  EXPECT_EQ(flushes, 1);
  EXPECT_TRUE(engine->version()->erases.empty());
  EXPECT_EQ(ObjectsWith("secret-key"), std::vector<std::string>());
  EXPECT_EQ(Get(*engine, "a"), "another");
  EXPECT_EQ(Get(*engine, "z"), "z-value");
  clock.on_now = nullptr;
  sink->on_event = nullptr;
  ExpectSound(engine.get());
}

// Trimming and collecting while the first of two jobs of a full compaction ran took the files that
// the second was planned with.
TEST_F(EngineRaceTest, AFullCompactionPlansEachJobOnWhatIsThere) {
  HookClock clock;
  auto options = Options();
  options.clock = &clock;
  const auto sink = std::make_shared<HookSink>();
  options.trace = sink;
  auto engine = MustOpen(options);
  const auto people = testing_engine::CreatePeople(engine.get());
  for (int64_t i = 0; i < 3; ++i) {
    // A row that is born and ends in one memtable goes to a history file at once.
    ASSERT_TRUE(testing_engine::PutPeople(engine.get(), people, {{i, "old"}}).ok());
    ASSERT_TRUE(testing_engine::PutPeople(engine.get(), people, {{i, "new"}}).ok());
    ASSERT_TRUE(engine->Flush().ok());
  }
  int trims = 0;
  bool collect = false;
  sink->on_event = [&](std::string_view event) {
    if (event != "compaction.finished" || trims++ > 0) return;
    ASSERT_TRUE(engine->TrimHistory(people->id, engine->newest_system()).ok());
    collect = true;
  };
  clock.on_now = [&] {
    // The first job still pins its files at its event; the second asks for the time as it begins.
    if (!collect) return;
    collect = false;
    ASSERT_TRUE(engine->CollectGarbage(/*dry_run=*/false, 0).ok());
  };
  const Status compacted = engine->Compact(people->id);
  EXPECT_TRUE(compacted.ok()) << compacted;
  EXPECT_GE(trims, 1);
  EXPECT_EQ(testing_engine::People(*engine, people),
            (std::map<int64_t, std::string>{{0, "new"}, {1, "new"}, {2, "new"}}));
  EXPECT_EQ(engine->metrics().compaction_failures, 0u);
  sink->on_event = nullptr;
  clock.on_now = nullptr;
  ExpectSound(engine.get());
}

// A flush that publishes after its handle was closed would meet a next owner that has read the
// manifest and replayed the log already: every row twice.
TEST_F(EngineRaceTest, CloseWaitsForAFlushUnderWay) {
  auto engine = MustOpen(Options());
  ASSERT_TRUE(Put(engine.get(), "k", "v").ok());
  Gate flushing, may_go_on, closed;
  Before(RequestKind::kCreate, "data/", [&] {
    flushing.Open();
    may_go_on.Wait();
  });
  std::thread flusher([&] { EXPECT_TRUE(engine->Flush().ok()); });
  ASSERT_TRUE(flushing.Wait());
  std::thread closer([&] {
    EXPECT_TRUE(engine->Close(/*flush=*/false).ok());
    closed.Open();
  });
  EXPECT_FALSE(closed.Wait(200)) << "the branch was given away while a flush could still publish";
  may_go_on.Open();
  flusher.join();
  closer.join();
  EXPECT_EQ(engine->version()->flushed_commit.value, 1u);
  auto next = MustOpen(Options());
  EXPECT_EQ(next->recovery().replayed_commits, 0u);
  EXPECT_EQ(Get(*next, "k"), "v");
  // Nothing of the closed handle gets through any more.
  EXPECT_EQ(CodeOf(engine->Flush()), ErrorCode::kStopped);
  EXPECT_EQ(CodeOf(engine->Compact(std::nullopt)), ErrorCode::kStopped);
  EXPECT_EQ(CodeOf(engine->CollectGarbage(false, 0).status()), ErrorCode::kStopped);
  EXPECT_EQ(CodeOf(engine->EraseKey(kKeyValueTable, "k")), ErrorCode::kStopped);
  EXPECT_EQ(Get(*engine, "k"), "v");
}

TEST_F(EngineRaceTest, CloseWaitsForACompactionUnderWay) {
  auto engine = MustOpen(Options());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Put(engine.get(), "k", std::to_string(i)).ok());
    ASSERT_TRUE(engine->Flush().ok());
  }
  Gate compacting, may_go_on, closed;
  Before(RequestKind::kCreate, "data/", [&] {
    compacting.Open();
    may_go_on.Wait();
  });
  std::thread compactor([&] { (void)engine->Compact(std::nullopt); });  // may be cancelled
  ASSERT_TRUE(compacting.Wait());
  std::thread closer([&] {
    EXPECT_TRUE(engine->Close(/*flush=*/true).ok());
    closed.Open();
  });
  EXPECT_FALSE(closed.Wait(200));
  may_go_on.Open();
  compactor.join();
  closer.join();
  auto next = MustOpen(Options());
  EXPECT_EQ(Get(*next, "k"), "2");
  ExpectSound(next.get());
}

// ---- Another process moves the ref ----

class ForeignWriterTest : public EngineRaceTest {
 protected:
  /// A commit to the manifest by someone who never claimed the branch, so that nobody is fenced.
  void CommitForeign(
      const std::function<storage::manifest::VersionEdit(const storage::manifest::Version&)>&
          make) {
    storage::manifest::ManifestStore::Options options;
    options.store = base_;
    options.clock = base::SystemClock();
    options.ulids = &ulids_;
    auto store = storage::manifest::ManifestStore::Open(options);
    ASSERT_TRUE(store.ok()) << store.status();
    auto committed = (*store)->Commit(make(*(*store)->current()));
    ASSERT_TRUE(committed.ok()) << committed.status();
  }
  std::vector<std::string> DataObjects() {
    std::vector<std::string> paths;
    for (const auto& object : *base_->List("data/")) paths.push_back(object.path);
    return paths;
  }
  void FillThreeFiles(Engine* engine) {
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(Put(engine, "k", std::to_string(i)).ok());
      ASSERT_TRUE(engine->Flush().ok());
    }
  }

  base::Random random_{7};
  base::UlidGenerator ulids_{base::SystemClock(), &random_};
};

TEST_F(ForeignWriterTest, ALostRaceOfThePublishIsTriedAgainOnTheNewVersion) {
  auto engine = MustOpen(Options());
  FillThreeFiles(engine.get());
  Before(RequestKind::kPut, "refs/", [&] {
    CommitForeign([](const storage::manifest::Version& version) {
      storage::manifest::VersionEdit edit;
      edit.reason = "checkpoint";
      edit.put_checkpoints.push_back({"theirs", version.flushed_commit, version.flushed_system, 1});
      return edit;
    });
  });
  const Status compacted = engine->Compact(kKeyValueTable);
  ASSERT_TRUE(compacted.ok()) << compacted;
  EXPECT_GE(engine->metrics().manifest_cas_retries, 1u);
  EXPECT_GE(engine->metrics().compactions, 1u);
  EXPECT_EQ(engine->version()->checkpoints.count("theirs"), 1u) << "neither edit is lost";
  EXPECT_EQ(Get(*engine, "k"), "2");
  ExpectSound(engine.get());
}

TEST_F(ForeignWriterTest, ACompactionThatNoLongerFitsDeletesItsOutputsAndIsPlannedAnew) {
  auto engine = MustOpen(Options());
  FillThreeFiles(engine.get());
  std::string taken;
  std::vector<std::string> before = DataObjects();
  Before(RequestKind::kPut, "refs/", [&] {
    CommitForeign([&](const storage::manifest::Version& version) {
      const auto& file = version.FilesOf(kKeyValueTable).front();
      taken = file->Path();
      storage::manifest::VersionEdit edit;
      edit.reason = "trim";
      edit.remove_files.emplace_back(kKeyValueTable, file->id);
      return edit;
    });
  });
  const Status compacted = engine->Compact(kKeyValueTable);
  EXPECT_TRUE(compacted.ok()) << compacted;
  EXPECT_FALSE(taken.empty());
  EXPECT_EQ(engine->metrics().compaction_conflicts, 1u);
  EXPECT_EQ(engine->metrics().compaction_failures, 0u);
  // Only what a version names is left: no output of the job that lost.
  EXPECT_EQ(DataObjects(), before) << "no stray files";
  ASSERT_TRUE(engine->Compact(kKeyValueTable).ok());
  EXPECT_GE(engine->metrics().compactions, 1u);
  for (const auto& file : engine->version()->FilesOf(kKeyValueTable))
    EXPECT_NE(file->Path(), taken);
  ExpectSound(engine.get());
}

// ---- Snapshots against the collector ----

// Without caches every read goes to the files: one that was collected under a reader shows at once.
TEST_F(EngineRaceTest, ASnapshotsFilesOutliveEverySweepBesideIt) {
  auto options = Options();
  options.page_cache_bytes = 0;
  options.footer_cache_bytes = 0;
  options.deletion_cache_bytes = 0;
  auto engine = MustOpen(options);
  constexpr int kKeys = 8;
  for (int i = 0; i < kKeys; ++i) ASSERT_TRUE(Put(engine.get(), "k" + std::to_string(i), "0").ok());
  ASSERT_TRUE(engine->Flush().ok());
  std::atomic<bool> running{true};
  std::atomic<uint64_t> reads{0};
  std::vector<base::Thread> readers;
  readers.reserve(3);
  for (int r = 0; r < 3; ++r) {
    readers.emplace_back("reader", [&, r] {
      while (running) {
        const SnapshotPtr snapshot = engine->GetSnapshot();
        for (int k = 0; k < kKeys; ++k) {
          const auto value = testing_engine::GetAt(*engine, *snapshot, "k" + std::to_string(k));
          ASSERT_TRUE(value.has_value()) << r;
          ++reads;
        }
      }
    });
  }
  uint64_t deleted = 0;
  for (int round = 1; round <= 25; ++round) {
    ASSERT_TRUE(Put(engine.get(), "k" + std::to_string(round % kKeys), std::to_string(round)).ok());
    ASSERT_TRUE(engine->Flush().ok());
    ASSERT_TRUE(engine->Compact(kKeyValueTable).ok());
    auto swept = engine->CollectGarbage(/*dry_run=*/false, 0);
    ASSERT_TRUE(swept.ok()) << swept.status();
    deleted += swept->deleted.size();
  }
  running = false;
  readers.clear();
  EXPECT_GT(deleted, 25u);
  EXPECT_GT(reads.load(), 0u);
  auto swept = engine->CollectGarbage(/*dry_run=*/false, 0);
  ASSERT_TRUE(swept.ok());
  EXPECT_TRUE(swept->kept.empty());
  ExpectSound(engine.get());
}

// ---- Everything at once ----

// The collection passes its first check while the flush is fine, and gets the lock when the flush
// has ended in doubt: the ref names the flush's files, the engine's version does not.
TEST_F(EngineRaceTest, ACollectionThatWaitedForAPublishInDoubtDeletesNothing) {
  auto engine = MustOpen(Options());
  ASSERT_TRUE(Put(engine.get(), "k", "v").ok());
  std::thread collector;
  Gate collected;
  Status status;
  StoreFault fault;
  fault.kind = RequestKind::kPut;
  fault.path_prefix = "refs/";
  fault.after_effect = true;
  fault.status = MakeError(ErrorCode::kStopped, "sync failed");
  fault.meanwhile = [&] {
    collector = std::thread([&] {
      status = engine->CollectGarbage(/*dry_run=*/false, 0).status();
      collected.Open();
    });
    EXPECT_FALSE(collected.Wait(200));  // it waits for the lock
  };
  faulty_->Add(std::move(fault));
  EXPECT_EQ(CodeOf(engine->Flush()), ErrorCode::kCommitUnknown);
  ASSERT_TRUE(collector.joinable());
  collector.join();
  EXPECT_EQ(CodeOf(status), ErrorCode::kStopped) << status;
  faulty_->Clear();
  EXPECT_EQ(CodeOf(engine->Close(/*flush=*/false)), ErrorCode::kStopped);
  auto next = MustOpen(Options());
  EXPECT_EQ(Get(*next, "k"), "v");
  ExpectSound(next.get());
}

// Close in the middle of commits, flushes, compactions, collections, erases and syncs of other
// threads: each of them ends with an answer, and what was acknowledged is there afterwards.
TEST_F(EngineRaceTest, CloseDuringEverythingLosesNothingThatWasAcknowledged) {
  for (int round = 0; round < 6; ++round) {
    base_ = MakeMemoryStore();
    faulty_ = std::make_shared<FaultyStore>(base_);
    auto options = Options();
    options.auto_flush = options.auto_compact = options.auto_gc = true;
    options.gc_grace_micros = 0;
    options.memtable_rows = 4;
    options.level0_files = 2;
    options.sync = round % 2 == 0 ? SyncPolicy::kAlways : SyncPolicy::kInterval;
    auto engine = MustOpen(options);
    std::vector<int> acknowledged(3, 0);
    std::vector<base::Thread> threads;
    for (size_t w = 0; w < acknowledged.size(); ++w) {
      threads.emplace_back("writer", [&, w] {
        for (int i = 1;; ++i) {
          const Status put = Put(engine.get(), "w" + std::to_string(w), std::to_string(i)).status();
          if (!put.ok()) {
            EXPECT_EQ(CodeOf(put), ErrorCode::kStopped) << put;
            return;
          }
          acknowledged[w] = i;
        }
      });
    }
    const auto until_closed = [&](const char* name, std::function<Status()> call) {
      threads.emplace_back(name, [call = std::move(call), name] {
        for (;;) {
          const Status status = call();
          if (status.ok()) continue;
          EXPECT_TRUE(CodeOf(status) == ErrorCode::kStopped ||
                      CodeOf(status) == ErrorCode::kCancelled)
              << name << ": " << status;
          return;
        }
      });
    };
    until_closed("flush", [&] { return engine->Flush(); });
    until_closed("compact", [&] { return engine->Compact(std::nullopt); });
    until_closed("collect", [&] { return engine->CollectGarbage(false, 0).status(); });
    until_closed("erase", [&] { return engine->EraseKey(kKeyValueTable, "nobody"); });
    until_closed("sync", [&] { return engine->Sync(); });
    std::this_thread::sleep_for(std::chrono::milliseconds(50 + 30 * round));
    const Status closed = engine->Close(/*flush=*/round % 3 != 0);
    EXPECT_TRUE(closed.ok()) << closed;
    auto next = MustOpen(options);  // while the other threads may still be on their way out
    threads.clear();
    for (size_t w = 0; w < acknowledged.size(); ++w) {
      const auto value = Get(*next, "w" + std::to_string(w));
      EXPECT_EQ(value, acknowledged[w] == 0 ? std::optional<std::string>()
                                            : std::to_string(acknowledged[w]));
    }
    ExpectSound(next.get());
    EXPECT_TRUE(next->Close(true).ok());
  }
}

// Arrow's registry of functions may not be read while functions are added to it: a predicate that
// added them on first use made flushes and compactions of other threads fail ("No function
// registered with name: array_take"), perhaps once in a process's life.
TEST(EngineRaceDeathTest, OpenAddsAllOfArrowsFunctionsBeforeThereAreThreads) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a process in which nobody added them before
  const auto open_then_initialize = [] {
    const auto engine = MustOpen(TestOptions(MakeMemoryStore()));
    const int known = arrow::compute::GetFunctionRegistry()->num_functions();
    const bool added = arrow::compute::Initialize().ok();
    const bool all = known == arrow::compute::GetFunctionRegistry()->num_functions();
    std::_Exit(added && all ? 0 : 1);
  };
  EXPECT_EXIT(open_then_initialize(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace lamina::engine
