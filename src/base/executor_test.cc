#include "base/executor.h"

#include <atomic>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace lamina::base {
namespace {

TEST(ThreadPoolExecutorTest, DrainWaitsForTasksAndTheirTasks) {
  ThreadPoolExecutor executor(3, "test");
  std::atomic<int> count{0};
  for (int i = 0; i < 50; ++i) {
    executor.Submit([&] {
      executor.Submit([&] { count.fetch_add(1); });
      count.fetch_add(1);
    });
  }
  executor.Drain();
  EXPECT_EQ(100, count.load());
  executor.Drain();
}

TEST(ThreadPoolExecutorTest, DelayedTasksRunInOrderOfTheirTimeAndNotBefore) {
  ThreadPoolExecutor executor(1, "test");
  Mutex mu;
  std::vector<int> order;
  const auto record = [&](int i) {
    MutexLock lock(&mu);
    order.push_back(i);
  };
  const int64_t started = SystemClock()->MonotonicNanos();
  std::atomic<int64_t> ran_at{0};
  executor.Delayed(40'000, [&] {
    record(2);
    ran_at.store(SystemClock()->MonotonicNanos());
  });
  executor.Delayed(10'000, [&] { record(1); });
  executor.Submit([&] { record(0); });
  while (ran_at.load() == 0) SystemClock()->SleepMicros(1'000);
  EXPECT_GE(ran_at.load() - started, 40'000'000);
  executor.Drain();
  EXPECT_EQ((std::vector<int>{0, 1, 2}), order);
}

TEST(ThreadPoolExecutorTest, CancelledTaskDoesNotRun) {
  ThreadPoolExecutor executor(1, "test");
  std::atomic<bool> ran{false};
  const auto id = executor.Delayed(5'000, [&] { ran.store(true); });
  EXPECT_TRUE(executor.Cancel(id));
  EXPECT_FALSE(executor.Cancel(id));
  SystemClock()->SleepMicros(10'000);
  executor.Drain();
  EXPECT_FALSE(ran.load());
}

TEST(ThreadPoolExecutorTest, ShutdownRunsTheQueueAndDropsTheDelayed) {
  std::atomic<int> count{0};
  ThreadPoolExecutor executor(2, "test");
  for (int i = 0; i < 20; ++i) executor.Submit([&] { count.fetch_add(1); });
  executor.Delayed(INT64_MAX, [&] { count.fetch_add(1000); });
  executor.Shutdown();
  executor.Shutdown();
  EXPECT_EQ(20, count.load());
  EXPECT_FALSE(executor.Submit([] {}));
  EXPECT_EQ(0u, executor.Delayed(0, [] {}));
}

TEST(InlineExecutorTest, SubmitRunsAtOnceAndDelayedWhenTold) {
  InlineExecutor executor;
  std::string log;
  executor.Delayed(20, [&] { log += 'c'; });
  executor.Delayed(10, [&] { log += 'b'; });
  const auto dropped = executor.Delayed(1, [&] { log += 'x'; });
  executor.Submit([&] { log += 'a'; });
  EXPECT_EQ("a", log);
  EXPECT_TRUE(executor.Cancel(dropped));
  EXPECT_EQ(2, executor.RunDelayed());
  EXPECT_EQ("abc", log);
  executor.Shutdown();
  EXPECT_FALSE(executor.Submit([&] { log += 'd'; }));
}

TEST(ManualExecutorTest, RunsOneTaskATimeWhenTold) {
  ManualClock clock;
  ManualExecutor executor(&clock);
  std::string log;
  executor.Submit([&] {
    log += 'a';
    executor.Submit([&] { log += 'c'; });
  });
  executor.Submit([&] { log += 'b'; });
  executor.Delayed(100, [&] { log += 'd'; });
  EXPECT_EQ("", log);
  EXPECT_TRUE(executor.RunOne());
  EXPECT_EQ("a", log);
  EXPECT_EQ(2, executor.RunUntilIdle());
  EXPECT_EQ("abc", log);
  EXPECT_EQ(100, executor.MicrosToNextDue());
  clock.Advance(99);
  EXPECT_FALSE(executor.RunOne());
  clock.Advance(1);
  EXPECT_EQ(1u, executor.ready_count());
  executor.Drain();
  EXPECT_EQ("abcd", log);
  EXPECT_EQ(-1, executor.MicrosToNextDue());
}

TEST(ManualExecutorTest, SeedDecidesTheOrder) {
  const auto run = [](uint64_t seed) {
    ManualClock clock;
    Random random(seed);
    ManualExecutor executor(&clock, &random);
    std::string log;
    for (char c = 'a'; c < 'k'; ++c) executor.Submit([&log, c] { log += c; });
    executor.Drain();
    return log;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

}  // namespace
}  // namespace lamina::base
