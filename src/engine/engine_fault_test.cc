// What the engine does when the store fails: stop, keep data in memory, tell the truth about
// outcomes.
#include <map>
#include <optional>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/executor.h"
#include "engine/engine_test_support_internal.h"
#include "testing/faulty_store.h"
#include "testing/sim_object_store.h"

namespace lamina::engine {
namespace {

using storage::RequestKind;
using testing::FaultyStore;
using testing::StoreFault;
using testing_engine::Get;
using testing_engine::MustOpen;
using testing_engine::Put;
using testing_engine::TestOptions;

struct Harness {
  std::shared_ptr<ObjectStore> base = MakeMemoryStore();
  std::shared_ptr<FaultyStore> faulty = std::make_shared<FaultyStore>(base);
  base::ManualClock clock;
  std::shared_ptr<base::ManualExecutor> executor = std::make_shared<base::ManualExecutor>(&clock);

  EngineOptions Options() {
    EngineOptions options = TestOptions(faulty);
    options.clock = &clock;
    options.executor = executor;
    return options;
  }
};

TEST(EngineFaultTest, FailedAppendStopsWritingButNotReading) {
  Harness h;
  auto engine = MustOpen(h.Options());
  ASSERT_TRUE(Put(engine.get(), "a", "1").ok());
  StoreFault fault;
  fault.kind = RequestKind::kAppend;
  fault.path_prefix = "wal/";
  h.faulty->Add(fault);
  EXPECT_EQ(CodeOf(Put(engine.get(), "b", "2").status()), ErrorCode::kCommitUnknown);
  const Status later = Put(engine.get(), "c", "3").status();
  EXPECT_EQ(CodeOf(later), ErrorCode::kStopped);
  EXPECT_NE(later.message().find("injected"), std::string::npos) << later;
  EXPECT_EQ(CodeOf(engine->Flush()), ErrorCode::kStopped);
  EXPECT_EQ(Get(*engine, "a"), "1");
  EXPECT_EQ(Get(*engine, "b"), std::nullopt);
  EXPECT_EQ(CodeOf(engine->Close(true)), ErrorCode::kStopped);
  engine.reset();
  h.faulty->Clear();
  engine = MustOpen(h.Options());
  EXPECT_EQ(Get(*engine, "a"), "1");
  EXPECT_TRUE(Put(engine.get(), "c", "3").ok());
}

TEST(EngineFaultTest, UnsyncedCommitIsNotSeenUnderAlways) {
  Harness h;
  EngineOptions options = h.Options();
  options.sync = SyncPolicy::kAlways;
  auto engine = MustOpen(options);
  ASSERT_TRUE(Put(engine.get(), "a", "1").ok());
  StoreFault fault;
  fault.kind = RequestKind::kSync;
  fault.path_prefix = "wal/";
  h.faulty->Add(fault);
  EXPECT_EQ(CodeOf(Put(engine.get(), "b", "2").status()), ErrorCode::kCommitUnknown);
  EXPECT_EQ(Get(*engine, "b"), std::nullopt);
  EXPECT_EQ(engine->newest_commit().value, 1u);
  EXPECT_EQ(CodeOf(Put(engine.get(), "c", "3").status()), ErrorCode::kStopped);
}

TEST(EngineFaultTest, FullDiskDuringFlushKeepsTheDataAndRecovers) {
  Harness h;
  EngineOptions options = h.Options();
  options.memtable_rows = 4;
  options.max_sealed_memtables = 2;
  auto engine = MustOpen(options);
  StoreFault fault;
  fault.kind = RequestKind::kCreate;
  fault.path_prefix = "data/";
  fault.times = ~uint64_t{0};
  fault.status = MakeError(ErrorCode::kResourceExhausted, "disk full");
  h.faulty->Add(fault);
  int accepted = 0;
  Status refused;
  for (int i = 0; i < 40 && refused.ok(); ++i) {
    refused = Put(engine.get(), "k" + std::to_string(i), std::to_string(i)).status();
    if (refused.ok()) ++accepted;
  }
  // Two memtables wait, so the third one's first commit is told why it cannot be taken.
  EXPECT_EQ(CodeOf(refused), ErrorCode::kResourceExhausted) << refused;
  EXPECT_GE(accepted, 8);
  EXPECT_GE(engine->metrics().flush_failures, 1u);
  for (int i = 0; i < accepted; ++i)
    EXPECT_EQ(Get(*engine, "k" + std::to_string(i)), std::to_string(i));

  h.faulty->Clear();
  h.clock.Advance(60'000'000);
  h.executor->RunUntilIdle();  // the retry
  EXPECT_TRUE(Put(engine.get(), "after", "x").ok());
  EXPECT_GE(engine->metrics().flushes, 1u);
  for (int i = 0; i < accepted; ++i)
    EXPECT_EQ(Get(*engine, "k" + std::to_string(i)), std::to_string(i));
  EXPECT_TRUE(engine->Check(nullptr)->empty());
}

TEST(EngineFaultTest, CrashAtEveryStepOfOpenLosesNothing) {
  for (const char* point : {"engine.open.before_claim", "engine.open.after_claim"}) {
    Harness h;
    {
      auto engine = MustOpen(h.Options());
      ASSERT_TRUE(Put(engine.get(), "a", "1").ok());
    }
    base::ArmFault(point, MakeError(ErrorCode::kUnavailable, "crash"));
    EXPECT_FALSE(Engine::Open(h.Options()).ok()) << point;
    base::DisarmFaults();
    auto engine = MustOpen(h.Options());
    ASSERT_NE(engine, nullptr) << point;
    EXPECT_EQ(Get(*engine, "a"), "1") << point;
    EXPECT_TRUE(Put(engine.get(), "b", "2").ok());
  }
}

// The caller's own flush failed; nobody scheduled another, and yet the refused commit is told that
// it is tried again by itself.
TEST(EngineFaultTest, AFailedFlushOfTheCallerIsTriedAgainByItself) {
  Harness h;
  EngineOptions options = h.Options();
  options.max_sealed_memtables = 1;
  auto engine = MustOpen(options);
  ASSERT_TRUE(Put(engine.get(), "a", "1").ok());
  StoreFault fault;
  fault.kind = RequestKind::kCreate;
  fault.path_prefix = "data/";
  fault.status = MakeError(ErrorCode::kResourceExhausted, "disk full");
  h.faulty->Add(fault);
  EXPECT_EQ(CodeOf(engine->Flush()), ErrorCode::kResourceExhausted);
  const Status refused = Put(engine.get(), "b", "2").status();
  EXPECT_EQ(CodeOf(refused), ErrorCode::kResourceExhausted) << refused;
  EXPECT_NE(refused.ToString().find("tried again by itself"), std::string::npos) << refused;
  h.clock.Advance(1'000'000);
  h.executor->RunUntilIdle();
  const Status taken = Put(engine.get(), "b", "2").status();
  EXPECT_TRUE(taken.ok()) << taken;
  EXPECT_EQ(engine->metrics().flushes, 1u);
  EXPECT_EQ(Get(*engine, "a"), "1");
}

// Every call that a whole life of a database makes to its store fails once, before or after it had
// its effect. Whatever that leads to: no acknowledged commit is lost, none is half there, a commit
// that failed for certain is not there, and a reopen finds a sound database that works.
TEST(EngineFaultTest, EveryCallToTheStoreMayFailOnce) {
  // A lost answer differs from a call that never came only where there is an effect.
  using Kind = std::optional<RequestKind>;
  for (const Kind kind :
       {Kind(), Kind(RequestKind::kPut), Kind(RequestKind::kFinish), Kind(RequestKind::kDelete),
        Kind(RequestKind::kOpenAppend), Kind(RequestKind::kAppend), Kind(RequestKind::kSync)}) {
    const bool after_effect = kind.has_value();
    uint64_t failed_calls = 0;
    for (uint64_t n = 0;; ++n) {
      SCOPED_TRACE((after_effect ? "after call " : "before call ") + std::to_string(n) +
                   " of kind " + (kind ? std::to_string(static_cast<int>(*kind)) : "any"));
      Harness h;
      StoreFault fault;
      fault.kind = kind;
      fault.skip = n;
      fault.after_effect = after_effect;
      h.faulty->Add(fault);
      EngineOptions options = h.Options();
      options.sync = n % 2 == 0 ? SyncPolicy::kAlways : SyncPolicy::kOff;
      options.wal_segment_bytes = 400;
      options.level0_files = 2;
      options.gc_grace_micros = 0;
      options.page_cache_bytes = 0;
      std::map<std::string, std::set<std::string>> possible;  // key -> values it may have
      for (const char* key : {"a", "b", "c", "d", "e", "f"}) possible[key] = {"nothing"};
      std::unique_ptr<Engine> engine;
      const auto put = [&](const std::string& left, const std::string& right,
                           const std::string& value) {
        if (engine == nullptr) return;
        WriteBatch batch;
        for (const auto& key : {left, right})
          batch.AddInline(catalog::kKeyValueTable, temporal::FactKind::kPut, {}, key, value);
        CommitRequest request;
        request.batch = &batch;
        const Status status = engine->Commit(std::move(request)).status();
        if (status.ok()) {
          possible[left] = possible[right] = {value};
        } else if (CodeOf(status) == ErrorCode::kCommitUnknown) {
          possible[left].insert(value);
          possible[right].insert(value);
        }
      };
      const auto open = [&] {
        engine.reset();
        Status refused;
        for (int tries = 0; tries < 3 && engine == nullptr; ++tries) {
          ++options.random_seed;  // the clock stands: the same names would be minted again
          auto opened = Engine::Open(options);
          if (opened.ok()) {
            engine = std::move(*opened);
          } else {
            refused = opened.status();
          }
        }
        ASSERT_NE(engine, nullptr) << "one failed call keeps a database shut: " << refused;
      };
      const auto run = [&](auto&& call) {
        if (engine != nullptr) (void)call();
        h.clock.Advance(40'000'000);
        h.executor->RunUntilIdle();
      };
      ASSERT_NO_FATAL_FAILURE(open());
      for (int round = 0; round < 2; ++round) {
        const std::string r = std::to_string(round);
        put("a", "b", "1" + r);
        put("c", "d", "2" + r);
        run([&] { return engine->Flush(); });
        put("a", "b", "3" + r);
        run([&] { return engine->Sync(); });
        put("c", "d", "4" + r);
        run([&] { return engine->Flush(); });
        run([&] { return engine->CreateCheckpoint("checkpoint" + r).status(); });
        put("e", "f", "5" + r);
        run([&] { return engine->Compact(std::nullopt); });
        if (round == 1) run([&] { return engine->EraseKey(catalog::kKeyValueTable, "nobody"); });
        run([&] { return engine->DropCheckpoint("checkpoint" + r); });
        run([&] { return engine->CollectGarbage(false, 0).status(); });
        if (round == 0) {
          ASSERT_NO_FATAL_FAILURE(open());  // as after a crash
        } else {
          run([&] { return engine->Close(/*flush=*/true); });
        }
      }
      const bool hit = h.faulty->faults_hit() > 0;
      h.faulty->Clear();
      ASSERT_NO_FATAL_FAILURE(open());
      for (const auto& [left, right] :
           {std::pair("a", "b"), std::pair("c", "d"), std::pair("e", "f")}) {
        const auto value = Get(*engine, left);
        EXPECT_EQ(value, Get(*engine, right)) << "a commit is half there";
        EXPECT_EQ(possible[left].count(value.value_or("nothing")), 1u)
            << left << " is " << value.value_or("nothing");
      }
      auto findings = engine->Check(nullptr);
      ASSERT_TRUE(findings.ok()) << findings.status();
      EXPECT_EQ(*findings, std::vector<std::string>());
      EXPECT_TRUE(Put(engine.get(), "last", "1").ok());
      EXPECT_TRUE(engine->Flush().ok());
      h.clock.Advance(1'000'000);  // past the millisecond in which orphans were minted
      auto swept = engine->CollectGarbage(false, 0);
      ASSERT_TRUE(swept.ok()) << swept.status();
      // Nothing is left behind for ever: what the store holds under data/ is what the version
      // names.
      size_t named = 0;
      std::set<std::string> vectors;
      for (const auto& [table, files] : engine->version()->files) {
        named += files.size();
        for (const auto& file : files) {
          if (file->deletions)
            vectors.insert(storage::DeletionVectorPath(table, file->deletions->object));
        }
      }
      EXPECT_EQ(h.base->List("data/")->size(), named + vectors.size());
      if (HasFailure()) return;
      if (!hit) break;
      ++failed_calls;
    }
    EXPECT_GT(failed_calls, after_effect ? 2u : 60u) << "the script hardly touches the store";
  }
}

TEST(EngineFaultTest, LostAnswerOfAFlushsPublishIsSettled) {
  Harness h;
  auto engine = MustOpen(h.Options());
  ASSERT_TRUE(Put(engine.get(), "a", "1").ok());
  StoreFault fault;
  fault.kind = RequestKind::kPut;
  fault.path_prefix = "refs/";
  fault.after_effect = true;
  h.faulty->Add(fault);
  EXPECT_TRUE(engine->Flush().ok());
  EXPECT_EQ(engine->version()->flushed_commit.value, 1u);
  EXPECT_EQ(Get(*engine, "a"), "1");
  EXPECT_TRUE(Put(engine.get(), "b", "2").ok());
}

TEST(EngineFaultTest, WhatAnOlderOwnerPublishesWhileANewerOneOpensIsNotLost) {
  // A store without a lock that excludes: the older owner publishes between the newer one's reading
  // of the ref and its claim.
  Harness h;
  testing::SimObjectStore::Options no_lock;
  const auto shared = std::make_shared<testing::SimObjectStore>(h.base, no_lock);
  const auto options = [&](std::shared_ptr<ObjectStore> store) {
    EngineOptions o = h.Options();
    o.store = std::move(store);
    o.wal = false;
    return o;
  };
  auto older = MustOpen(options(shared));
  ASSERT_TRUE(Put(older.get(), "a", "1").ok());
  ASSERT_TRUE(older->Flush().ok());
  ASSERT_TRUE(Put(older.get(), "b", "2").ok());
  bool published = false;
  auto newer = MustOpen(options(
      std::make_shared<testing::ProcessStore>(shared, [&](RequestKind kind, std::string_view path) {
        if (kind != RequestKind::kPut || path != "refs/main" || published) return;
        published = true;
        EXPECT_TRUE(older->Flush().ok());
      })));
  ASSERT_TRUE(published);
  EXPECT_EQ(newer->newest_commit().value, 2u);
  EXPECT_EQ(Get(*newer, "a"), "1");
  EXPECT_EQ(Get(*newer, "b"), "2");
  EXPECT_EQ(Put(newer.get(), "c", "3")->commit.value, 3u);
  EXPECT_TRUE(newer->Flush().ok());
  ASSERT_TRUE(Put(older.get(), "d", "4").ok());  // in memory only
  EXPECT_EQ(CodeOf(older->Flush()), ErrorCode::kFenced);
  EXPECT_EQ(CodeOf(Put(older.get(), "e", "5").status()), ErrorCode::kFenced);
  EXPECT_TRUE(newer->Check(nullptr)->empty());
}

}  // namespace
}  // namespace lamina::engine
