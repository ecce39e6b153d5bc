#include "testing/sim_scheduler.h"

#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/mutex.h"
#include "base/scope_guard.h"
#include "base/thread.h"

namespace lamina::testing {
namespace {

// Two increments that lose one another unless `mu` is held over the point between them.
int Increments(uint64_t seed, bool locked, uint64_t* hash = nullptr) {
  base::Mutex mu;
  int value = 0;
  SimScheduler sim(seed);
  for (int i = 0; i < 2; ++i) {
    sim.Spawn("actor-" + std::to_string(i), [&] {
      for (int n = 0; n < 3; ++n) {
        std::optional<base::MutexLock> lock;
        if (locked) lock.emplace(&mu);
        const int seen = value;
        SimYield("between");
        value = seen + 1;
      }
    });
  }
  EXPECT_TRUE(sim.Run().ok());
  if (hash != nullptr) *hash = sim.trace_hash();
  return value;
}

TEST(SimSchedulerTest, FindsALostUpdateAndNoneUnderALock) {
  int lost = 0;
  std::set<uint64_t> traces;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    uint64_t hash = 0;
    if (Increments(seed, /*locked=*/false, &hash) < 6) ++lost;
    traces.insert(hash);
    EXPECT_EQ(Increments(seed, /*locked=*/true), 6) << "seed " << seed;
  }
  EXPECT_GT(lost, 30);
  EXPECT_GT(traces.size(), 15u);
}

// Producers and consumers of a short queue, with timeouts, sleeps, threads and a pool.
std::string Busy(uint64_t seed, uint64_t* hash) {
  SimScheduler sim(seed);
  base::Mutex mu;
  base::CondVar changed;
  std::vector<int> queue;
  int taken = 0;
  int pooled = 0;
  auto executor = sim.executor();
  for (int p = 0; p < 3; ++p) {
    sim.Spawn("producer-" + std::to_string(p), [&, p] {
      for (int i = 0; i < 10; ++i) {
        if (sim.random().OneIn(3)) base::SystemClock()->SleepMicros(100);
        base::MutexLock lock(&mu);
        while (queue.size() >= 2) changed.Wait(&mu);
        queue.push_back(p * 100 + i);
        sim.Trace("put " + std::to_string(p * 100 + i));
        changed.SignalAll();
      }
    });
  }
  sim.Spawn("consumer", [&] {
    base::Thread helper("helper", [&] {
      for (int i = 0; i < 15; ++i) {
        base::MutexLock lock(&mu);
        while (queue.empty()) changed.WaitForMicros(&mu, 50);
        queue.pop_back();
        ++taken;
        changed.SignalAll();
      }
    });
    for (int i = 0; i < 15; ++i) {
      base::MutexLock lock(&mu);
      while (queue.empty()) changed.Wait(&mu);
      queue.pop_back();
      ++taken;
      changed.SignalAll();
      executor->Submit([&] {
        base::MutexLock pool_lock(&mu);
        ++pooled;
      });
    }
  });
  const Status ran = sim.Run();
  EXPECT_TRUE(ran.ok()) << ran.ToString();
  EXPECT_EQ(taken, 30);
  EXPECT_EQ(pooled, 15);
  *hash = sim.trace_hash();
  return sim.trace();
}

TEST(SimSchedulerTest, TheSameSeedGivesTheSameTraceByteForByte) {
  std::set<uint64_t> hashes;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    uint64_t first = 0;
    uint64_t second = 0;
    const std::string trace = Busy(seed, &first);
    ASSERT_EQ(trace, Busy(seed, &second)) << "seed " << seed;
    ASSERT_EQ(first, second) << "seed " << seed;
    hashes.insert(first);
  }
  EXPECT_EQ(hashes.size(), 100u);
}

TEST(SimSchedulerTest, ADeadlockIsAnErrorThatNamesWhoWaitsForWhom) {
  bool found = false;
  for (uint64_t seed = 0; seed < 50 && !found; ++seed) {
    // Parked actors go on using these.
    auto* a = new base::Mutex;
    auto* b = new base::Mutex;
    SimScheduler sim(seed);
    sim.Spawn("left", [a, b] {
      base::MutexLock first(a);
      base::MutexLock second(b);
    });
    sim.Spawn("right", [a, b] {
      base::MutexLock first(b);
      base::MutexLock second(a);
    });
    const Status ran = sim.Run();
    found = !ran.ok();
    if (!found) {
      delete a;
      delete b;
      continue;
    }
    EXPECT_EQ(CodeOf(ran), ErrorCode::kInternal);
    EXPECT_NE(ran.message().find("deadlock: seed=" + std::to_string(seed)), std::string::npos);
    EXPECT_NE(ran.message().find("left@lock held by right"), std::string::npos) << ran.message();
    EXPECT_NE(ran.message().find("right@lock held by left"), std::string::npos) << ran.message();
  }
  EXPECT_TRUE(found);
}

TEST(SimSchedulerTest, AnEndlessLoopIsAnError) {
  SimOptions options;
  options.steps_max = 10'000;
  SimScheduler sim(1, options);
  sim.Spawn("loop", [] {
    for (;;) SimYield("again");
  });
  const Status ran = sim.Run();
  EXPECT_NE(ran.message().find("too many steps"), std::string::npos) << ran.message();
}

TEST(SimSchedulerTest, ASignalBeforeTheWaitIsLost) {
  // The bug to be found: the condition is looked at outside the lock.
  int deadlocks = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    struct Shared {
      base::Mutex mu;
      base::CondVar changed;
      bool ready = false;
    };
    auto shared = std::make_shared<Shared>();
    SimOptions options;
    options.wake_one_in = 0;
    SimScheduler sim(seed, options);
    sim.Spawn("waits", [shared] {
      if (shared->ready) return;
      SimYield("looked");
      base::MutexLock lock(&shared->mu);
      shared->changed.Wait(&shared->mu);
    });
    sim.Spawn("signals", [shared] {
      shared->ready = true;
      shared->changed.Signal();
    });
    if (!sim.Run().ok()) ++deadlocks;
  }
  EXPECT_GT(deadlocks, 0);
  EXPECT_LT(deadlocks, 60);
}

TEST(SimSchedulerTest, ConditionsWakeForNoReasonNowAndThen) {
  int woken = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    base::Mutex mu;
    base::CondVar changed;
    bool done = false;
    SimOptions options;
    options.wake_one_in = 5;
    options.switch_one_in = 1;
    options.policy = SimOptions::Policy::kWalk;
    SimScheduler sim(seed, options);
    sim.Spawn("waits", [&] {
      base::MutexLock lock(&mu);
      while (!done) {
        changed.Wait(&mu);
        if (!done) ++woken;
      }
    });
    sim.Spawn("signals", [&] {
      for (int i = 0; i < 20; ++i) SimYield("work");
      base::MutexLock lock(&mu);
      done = true;
      changed.Signal();
    });
    ASSERT_TRUE(sim.Run().ok());
  }
  EXPECT_GT(woken, 20);
}

TEST(SimSchedulerTest, TimePassesOnlyWhenAllWait) {
  SimOptions options;
  options.nudge_one_in = 0;
  SimScheduler sim(7, options);
  base::Clock* const clock = sim.clock();
  const int64_t wall = clock->NowMicros();
  EXPECT_EQ(wall, options.start_micros);
  std::vector<std::string> order;
  const int64_t begin = clock->MonotonicNanos();
  sim.Spawn("long", [&] {
    clock->SleepMicros(3'600'000'000);
    order.push_back("long");
  });
  sim.Spawn("short", [&] {
    clock->SleepMicros(1'000);
    order.push_back("short");
    EXPECT_EQ(clock->MonotonicNanos() - begin, 1'000'000);
    sim.JumpWallClock(-5'000'000);
    EXPECT_EQ(clock->NowMicros(), wall + 1'000 - 5'000'000);
    EXPECT_EQ(clock->MonotonicNanos() - begin, 1'000'000);
  });
  sim.Spawn("busy", [&] {
    for (int i = 0; i < 1000; ++i) EXPECT_LE(clock->MonotonicNanos() - begin, 1'000'000);
    order.push_back("busy");
  });
  ASSERT_TRUE(sim.Run().ok());
  EXPECT_EQ(order.back(), "long");
  EXPECT_EQ(clock->MonotonicNanos() - begin, 3'600'000'000'000);
}

TEST(SimSchedulerTest, DelayedTasksRunWhenSimulatedTimeHasCome) {
  SimScheduler sim(3);
  auto executor = sim.executor();
  int ran = 0;
  executor->Delayed(60'000'000, [&] { ++ran; });
  executor->Delayed(int64_t{365} * 86'400 * 1'000'000, [&] { ran += 100; });
  ASSERT_TRUE(sim.Run().ok());
  EXPECT_EQ(ran, 0);
  sim.clock()->SleepMicros(61'000'000);
  ASSERT_TRUE(sim.Run().ok());
  EXPECT_EQ(ran, 1);
}

TEST(SimSchedulerTest, AKilledGroupRunsOnAndKnows) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimScheduler sim(seed);
    int effects = 0;
    bool unwound = false;
    bool survived = false;
    sim.Spawn("victim", 1, [&] {
      base::ThreadPoolExecutor own(2, "own");
      const base::ScopeGuard guard([&] { unwound = true; });
      while (!SimKilled()) {
        own.Submit([&] {
          if (!SimKilled()) ++effects;
        });
        base::SystemClock()->SleepMicros(10);
      }
      own.Shutdown();
    });
    sim.Spawn("killer", 2, [&] {
      base::SystemClock()->SleepMicros(100);
      sim.KillGroup(1);
      const int before = effects;
      base::SystemClock()->SleepMicros(1'000);
      EXPECT_EQ(effects, before);
      EXPECT_FALSE(SimKilled());
      survived = true;
    });
    ASSERT_TRUE(sim.Run().ok());
    EXPECT_TRUE(unwound);
    EXPECT_TRUE(survived);
  }
}

TEST(SimSchedulerTest, AParkedGroupNeverRunsAgain) {
  struct Shared {
    base::Mutex mu;
    bool after = false;
  };
  auto shared = std::make_shared<Shared>();
  SimScheduler sim(5);
  sim.Spawn("victim", 1, [&sim, shared] {
    sim.KillGroup(1, SimDeath::kPark);
    shared->after = true;
  });
  int others = 0;
  sim.Spawn("other", 2, [&] {
    base::SystemClock()->SleepMicros(1'000'000);
    ++others;
  });
  ASSERT_TRUE(sim.Run().ok());
  EXPECT_FALSE(shared->after);
  EXPECT_EQ(others, 1);
}

TEST(SimSchedulerTest, SharedLocksAdmitReadersTogetherAndWritersAlone) {
  int together = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    base::SharedMutex mu;
    int readers = 0;
    int writers = 0;
    SimScheduler sim(seed);
    for (int i = 0; i < 2; ++i) {
      sim.Spawn("reader-" + std::to_string(i), [&] {
        base::ReaderLock lock(&mu);
        if (++readers == 2) ++together;
        EXPECT_EQ(writers, 0);
        SimYield("reads");
        --readers;
      });
      sim.Spawn("writer-" + std::to_string(i), [&] {
        base::WriterLock lock(&mu);
        EXPECT_EQ(++writers, 1);
        EXPECT_EQ(readers, 0);
        SimYield("writes");
        --writers;
      });
    }
    ASSERT_TRUE(sim.Run().ok());
  }
  EXPECT_GT(together, 3);
}

TEST(SimSchedulerTest, WorldsOnTwoThreadsDoNotMeet) {
  std::vector<uint64_t> alone;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    uint64_t hash = 0;
    static_cast<void>(Busy(seed, &hash));
    alone.push_back(hash);
  }
  const auto run = [&] {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      uint64_t hash = 0;
      static_cast<void>(Busy(seed, &hash));
      EXPECT_EQ(hash, alone[seed]);
    }
  };
  base::Thread first("first", run);
  base::Thread second("second", run);
}

TEST(SimSchedulerDeathTest, ADeadlockOutsideRunEndsTheProcessWithTheReport) {
  const auto wait_for_nothing = [] {
    SimOptions options;
    options.wake_one_in = 0;
    SimScheduler sim(9, options);
    base::Mutex mu;
    base::CondVar never;
    base::MutexLock lock(&mu);
    never.Wait(&mu);
  };
  EXPECT_DEATH(wait_for_nothing(), "deadlock: seed=9.*\n.*main@wait");
}

TEST(SimSchedulerDeathTest, AThreadThatOutlivesItsSimulationIsNamed) {
  const auto outlive = [] {
    auto* pool = new std::unique_ptr<base::ThreadPoolExecutor>;
    SimScheduler sim(1);
    *pool = std::make_unique<base::ThreadPoolExecutor>(1, "stray");
  };
  EXPECT_DEATH(outlive(), "outlive the simulation.*stray-0");
}

TEST(SimSchedulerTest, OutsideASimulationThePointsDoNothing) {
  SimYield("nothing");
  EXPECT_FALSE(SimKilled());
  EXPECT_EQ(CurrentSim(), nullptr);
}

}  // namespace
}  // namespace lamina::testing
