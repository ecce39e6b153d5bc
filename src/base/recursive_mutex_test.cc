#include "base/recursive_mutex.h"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace lamina::base {
namespace {

TEST(RecursiveMutexTest, AThreadThatHoldsItTakesItAgainAndKeepsOthersOutUntilTheLastIsReleased) {
  RecursiveMutex mutex;
  int counter = 0;
  const auto add = [&] {
    for (int i = 0; i < 10000; ++i) {
      const RecursiveLock outer(&mutex);
      const int before = counter;
      { const RecursiveLock inner(&mutex); }
      counter = before + 1;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(add);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter, 40000);
}

}  // namespace
}  // namespace lamina::base
