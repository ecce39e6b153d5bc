#include "sql/deadline.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "base/clock.h"

namespace lamina::sql {
namespace {

void Sleep(int64_t micros) { base::SystemClock()->SleepMicros(micros); }

TEST(DeadlineTest, ExpiresAgainAndAgainUntilItEnds) {
  Deadlines deadlines;
  std::atomic<int> calls = 0;
  const auto deadline = deadlines.Begin(1'000, [&] { ++calls; });
  for (int i = 0; i < 500 && calls < 3; ++i) Sleep(10'000);
  EXPECT_GE(calls, 3);
  EXPECT_TRUE(deadline->passed());
  deadline->End();
  const int ended = calls;
  Sleep(50'000);
  EXPECT_EQ(calls, ended);
}

TEST(DeadlineTest, NothingHappensBeforeItsTimeOrAfterItsEnd) {
  Deadlines deadlines;
  std::atomic<int> calls = 0;
  const auto late = deadlines.Begin(3'600'000'000, [&] { ++calls; });
  const auto never = deadlines.Begin(INT64_MAX, [&] { ++calls; });
  deadlines.Begin(20'000, [&] { ++calls; }).reset();
  Sleep(60'000);
  EXPECT_EQ(calls, 0);
  EXPECT_FALSE(late->passed());
  EXPECT_FALSE(never->passed());
}

// What `expire` touches is gone when the deadline is.
TEST(DeadlineTest, EndWaitsForACallThatIsUnderWay) {
  Deadlines deadlines;
  for (int i = 0; i < 2000; ++i) {
    auto target = std::make_unique<std::atomic<int>>(0);
    auto deadline = deadlines.Begin(i % 50, [target = target.get()] { ++*target; });
    Sleep(i % 40);
    deadline->End();
    target.reset();
  }
}

TEST(DeadlineTest, ManyAreDueInTheirOrder) {
  Deadlines deadlines;
  base::Mutex mu;
  std::vector<int> order;
  std::vector<std::unique_ptr<Deadline>> all;
  for (const int i : {3, 1, 2}) {
    all.push_back(deadlines.Begin(i * 30'000, [&, i] {
      base::MutexLock lock(&mu);
      if (std::find(order.begin(), order.end(), i) == order.end()) order.push_back(i);
    }));
  }
  for (int i = 0; i < 500; ++i) {
    Sleep(10'000);
    base::MutexLock lock(&mu);
    if (order.size() == 3) break;
  }
  all.clear();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

}  // namespace
}  // namespace lamina::sql
