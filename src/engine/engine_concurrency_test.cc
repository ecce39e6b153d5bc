// Many threads on one engine. Meant for ThreadSanitizer too.
#include <algorithm>
#include <atomic>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/thread.h"
#include "engine/engine_test_support_internal.h"

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

TEST(EngineConcurrencyTransactionTest, CountersLoseNoIncrement) {
  auto options = TestOptions(MakeMemoryStore());
  options.memtable_rows = 50;
  auto engine = MustOpen(options);
  ASSERT_TRUE(Put(engine.get(), "n", "0").ok());
  constexpr int kThreads = 4;
  constexpr int kIncrements = 60;
  {
    std::vector<base::Thread> threads;
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
