// What the engine does when the store fails: stop, keep data in memory, tell the truth about
// outcomes.
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
