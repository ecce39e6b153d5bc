// Many threads on one engine. Meant for ThreadSanitizer too.
#include <algorithm>
#include <atomic>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/executor.h"
#include "base/random.h"
#include "base/thread.h"
#include "engine/engine_test_support_internal.h"
#include "storage/object_store/memory_store.h"
#include "testing/faulty_store.h"

namespace lamina::engine {
namespace {

using testing_engine::Get;
using testing_engine::GetAt;
using testing_engine::MustOpen;
using testing_engine::Put;
using testing_engine::TestOptions;

class EngineConcurrencyTest : public ::testing::TestWithParam<SyncPolicy> {};

// Eight writers count up keys of their own while readers look: a commit writes two keys with one
// number, so a snapshot that saw a commit by half, or a state without its newest memtable, would
// show two numbers.
TEST_P(EngineConcurrencyTest, WritersAndReadersBesideFlushAndCompaction) {
  auto options = TestOptions(MakeMemoryStore());
  options.sync = GetParam();
  options.memtable_rows = 100;
  options.level0_files = 2;
  options.gc_grace_micros = 0;
  auto engine = MustOpen(options);
  constexpr int kWriters = 8;
  constexpr int kCommits = 120;
  std::atomic<int> running{kWriters};
  std::vector<std::vector<uint64_t>> commits(kWriters);
  {
    std::vector<base::Thread> threads;
    threads.reserve(kWriters);
    for (int w = 0; w < kWriters; ++w) {
      threads.emplace_back("writer", [&, w] {
        for (int i = 0; i < kCommits; ++i) {
          WriteBatch batch;
          for (const char* half : {"left", "right"}) {
            batch.AddInline(catalog::kKeyValueTable, temporal::FactKind::kPut, {},
                            half + std::to_string(w), std::to_string(i));
          }
          CommitRequest request;
          request.batch = &batch;
          auto receipt = engine->Commit(std::move(request));
          ASSERT_TRUE(receipt.ok()) << receipt.status();
          commits[static_cast<size_t>(w)].push_back(receipt->commit.value);
          // What was acknowledged is seen.
          ASSERT_GE(engine->newest_commit(), receipt->commit);
        }
        --running;
      });
    }
    for (int r = 0; r < 2; ++r) {
      threads.emplace_back("reader", [&, r] {
        base::Random random(static_cast<uint64_t>(r) + 1);
        std::vector<int> last(kWriters, -1);
        while (running.load() > 0) {
          const SnapshotPtr snapshot = engine->GetSnapshot();
          const size_t w = random.Uniform(kWriters);
          const auto left = GetAt(*engine, *snapshot, "left" + std::to_string(w));
          const auto right = GetAt(*engine, *snapshot, "right" + std::to_string(w));
          ASSERT_EQ(left, right);
          if (!left) continue;
          ASSERT_GE(std::stoi(*left), last[w]);
          last[w] = std::stoi(*left);
        }
      });
    }
  }
  std::set<uint64_t> all;
  for (const auto& of_writer : commits) {
    EXPECT_TRUE(std::is_sorted(of_writer.begin(), of_writer.end()));
    all.insert(of_writer.begin(), of_writer.end());
  }
  EXPECT_EQ(all.size(), static_cast<size_t>(kWriters * kCommits));
  EXPECT_EQ(*all.rbegin(), static_cast<uint64_t>(kWriters * kCommits));
  ASSERT_TRUE(engine->WaitForBackground().ok());
  for (int w = 0; w < kWriters; ++w)
    EXPECT_EQ(Get(*engine, "left" + std::to_string(w)), std::to_string(kCommits - 1));
  EXPECT_GT(engine->metrics().flushes, 0u);
  EXPECT_TRUE(engine->Close(true).ok());
}

INSTANTIATE_TEST_SUITE_P(Policies, EngineConcurrencyTest,
                         ::testing::Values(SyncPolicy::kInterval, SyncPolicy::kAlways));

TEST(EngineGroupCommitTest, SixtyFourWritersShareTheirSyncs) {
  const auto memory = std::make_shared<storage::MemoryStore>();
  const auto slow = std::make_shared<testing::FaultyStore>(memory);
  testing::StoreFault sync;  // a disk that takes its time: groups form while it does
  sync.kind = storage::RequestKind::kSync;
  sync.times = ~uint64_t{0};
  sync.status = Status::OK();
  sync.meanwhile = [] { base::SystemClock()->SleepMicros(2000); };
  slow->Add(sync);
  auto options = TestOptions(slow);
  options.sync = SyncPolicy::kAlways;
  auto engine = MustOpen(options);
  constexpr int kWriters = 64;
  constexpr int kCommits = 10;
  {
    std::vector<base::Thread> threads;
    threads.reserve(kWriters);
    for (int w = 0; w < kWriters; ++w) {
      threads.emplace_back("writer", [&, w] {
        for (int i = 0; i < kCommits; ++i) {
          auto receipt = Put(engine.get(), "w" + std::to_string(w), std::to_string(i));
          ASSERT_TRUE(receipt.ok()) << receipt.status();
          ASSERT_EQ(receipt->ack, AckClass::kDurable);
        }
      });
    }
  }
  const EngineMetrics metrics = engine->metrics();
  EXPECT_EQ(metrics.commits, static_cast<uint64_t>(kWriters * kCommits));
  EXPECT_LT(metrics.wal_syncs * 8, metrics.commits) << "syncs << commits";
  EXPECT_EQ(metrics.wal_frames, metrics.commits) << "and yet each has its frame";
  EXPECT_EQ(metrics.enqueue_to_durable.count, metrics.commits);
  // What was acknowledged as durable survives a power failure at this moment.
  const auto clone = memory->CrashClone();
  auto recovered = MustOpen(TestOptions(clone));
  for (int w = 0; w < kWriters; ++w)
    EXPECT_EQ(Get(*recovered, "w" + std::to_string(w)), std::to_string(kCommits - 1));
}

// The promise of each policy, read off what a power failure leaves.
TEST(EngineGroupCommitTest, APowerFailureLosesWhatThePolicyAllowsAndNoMore) {
  base::ManualClock clock;
  const auto run = [&](SyncPolicy policy) {
    const auto memory = std::make_shared<storage::MemoryStore>();
    auto executor = std::make_shared<base::ManualExecutor>(&clock);
    auto options = TestOptions(memory);
    options.clock = &clock;
    options.executor = executor;
    options.sync = policy;
    auto engine = MustOpen(options);
    const auto survives = [&] {
      auto recovered = MustOpen(TestOptions(memory->CrashClone()));
      return recovered->newest_commit().value;
    };
    std::vector<uint64_t> survived;
    const AckClass ack = Put(engine.get(), "k", "1")->ack;
    EXPECT_EQ(ack, policy == SyncPolicy::kAlways ? AckClass::kDurable : AckClass::kWritten);
    survived.push_back(survives());
    clock.Advance(options.sync_interval_micros);
    executor->RunUntilIdle();
    survived.push_back(survives());
    EXPECT_TRUE(Put(engine.get(), "k", "2").ok());
    WriteBatch batch;
    batch.AddInline(catalog::kKeyValueTable, temporal::FactKind::kPut, {}, "k", "3");
    CommitRequest request;
    request.batch = &batch;
    request.sync = SyncPolicy::kAlways;  // one commit that asks for more than the policy gives
    auto receipt = engine->Commit(std::move(request));
    EXPECT_TRUE(receipt.ok()) << receipt.status();
    EXPECT_EQ(receipt->ack, AckClass::kDurable);
    survived.push_back(survives());
    EXPECT_TRUE(Put(engine.get(), "k", "4").ok());
    EXPECT_TRUE(engine->Sync().ok());
    survived.push_back(survives());
    EXPECT_TRUE(Put(engine.get(), "k", "5").ok());
    EXPECT_TRUE(engine->Flush().ok());
    survived.push_back(survives());
    return survived;
  };
  using Survived = std::vector<uint64_t>;
  EXPECT_EQ(run(SyncPolicy::kAlways), (Survived{1, 1, 3, 4, 5}));
  EXPECT_EQ(run(SyncPolicy::kInterval), (Survived{0, 1, 3, 4, 5}));
  EXPECT_EQ(run(SyncPolicy::kOff), (Survived{0, 0, 3, 4, 5}));
}

TEST(EngineGroupCommitTest, ByBytesAPowerFailureLosesLessThanSaid) {
  base::ManualClock clock;
  const auto memory = std::make_shared<storage::MemoryStore>();
  auto options = TestOptions(memory);
  options.clock = &clock;
  options.executor = std::make_shared<base::ManualExecutor>(&clock);  // the interval never ends
  options.sync_interval_bytes = 4096;
  auto engine = MustOpen(options);
  const std::string value(300, 'v');
  const int64_t frame = [&] {
    const auto before = static_cast<int64_t>(engine->metrics().wal_bytes);
    EXPECT_TRUE(Put(engine.get(), "k", value).ok());
    return static_cast<int64_t>(engine->metrics().wal_bytes) - before;
  }();
  ASSERT_GT(frame, 300);
  const uint64_t syncs_before = engine->metrics().wal_syncs;
  int64_t durable = 0;
  for (int i = 0; i < 100; ++i) {
    const auto receipt = Put(engine.get(), "k", value);
    ASSERT_TRUE(receipt.ok()) << receipt.status();
    auto recovered = MustOpen(TestOptions(memory->CrashClone()));
    const auto lost =
        static_cast<int64_t>(receipt->commit.value - recovered->newest_commit().value);
    ASSERT_LT(lost * frame, options.sync_interval_bytes) << "commit " << receipt->commit.value;
    EXPECT_EQ(lost == 0, receipt->ack == AckClass::kDurable);
    if (receipt->ack == AckClass::kDurable) ++durable;
  }
  const int64_t expected = 100 * frame / options.sync_interval_bytes;
  EXPECT_NEAR(static_cast<double>(durable), static_cast<double>(expected), 2);
  EXPECT_EQ(static_cast<int64_t>(engine->metrics().wal_syncs - syncs_before), durable);
}

TEST(EngineConcurrencyTransactionTest, CountersLoseNoIncrement) {
  auto options = TestOptions(MakeMemoryStore());
  options.memtable_rows = 50;
  auto engine = MustOpen(options);
  ASSERT_TRUE(Put(engine.get(), "n", "0").ok());
  constexpr int kThreads = 4;
  constexpr int kIncrements = 60;
  {
    std::vector<base::Thread> threads;
    threads.reserve(kThreads);
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back("worker", [&] {
        for (int i = 0; i < kIncrements;) {
          SnapshotPtr snapshot = engine->GetSnapshot();
          const int n = std::stoi(*GetAt(*engine, *snapshot, "n"));
          auto receipt = Put(engine.get(), "n", std::to_string(n + 1), std::move(snapshot));
          if (receipt.ok()) {
            ++i;
          } else {
            ASSERT_EQ(CodeOf(receipt.status()), ErrorCode::kConflict) << receipt.status();
          }
        }
      });
    }
  }
  EXPECT_EQ(Get(*engine, "n"), std::to_string(kThreads * kIncrements));
}

TEST(EngineConcurrencyTransactionTest, OneOfManyEqualIdempotencyKeysCommits) {
  auto options = TestOptions(MakeMemoryStore());
  options.memtable_rows = 5;
  options.retained_conflict_bytes = 0;  // the window closes at once: the second look-up is needed
  auto engine = MustOpen(options);
  constexpr int kThreads = 6;
  std::atomic<int> fresh{0};
  for (int round = 0; round < 20; ++round) {
    std::vector<base::Thread> threads;
    threads.reserve(kThreads);
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back("worker", [&, t] {
        WriteBatch batch;
        batch.AddInline(catalog::kKeyValueTable, temporal::FactKind::kPut, {},
                        "k" + std::to_string(round), std::to_string(t));
        CommitRequest request;
        request.batch = &batch;
        request.idempotency_key = "request-" + std::to_string(round);
        auto receipt = engine->Commit(std::move(request));
        ASSERT_TRUE(receipt.ok()) << receipt.status();
        if (!receipt->replayed) ++fresh;
      });
    }
  }
  EXPECT_EQ(fresh.load(), 20);
}

}  // namespace
}  // namespace lamina::engine
