// Whole systems under seeds: see system_run.h for what one run is and what it judges.
//
// A failing seed is printed: LAMINA_SIM_SCENE and LAMINA_SIM_SEED run that one alone, and print the
// end of its trace. LAMINA_SIM_RUNS sets how many.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/mutex.h"
#include "base/thread.h"
#include "system_run.h"

namespace lamina::simulation {
namespace {

uint64_t Setting(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// Calls `body` for 1 … count, on all cores: two at a time on each, as the actors of a run wait for
/// one another between any two steps.
template <typename Body>
void ForSeeds(uint64_t count, const Body& body) {
  std::atomic<uint64_t> next{1};
  std::vector<base::Thread> threads;
  for (int i = 0; i < 2 * base::HardwareThreads(); ++i) {
    threads.emplace_back("seeds", [&] {
      for (uint64_t seed = next++; seed <= count; seed = next++) body(seed);
    });
  }
}

/// Runs seeds 1 … count of a scene.
void RunSeeds(Scene scene, uint64_t count) {
  if (const char* only = std::getenv("LAMINA_SIM_SCENE"); only != nullptr) {
    if (std::string(only) != SceneName(scene)) return;
  }
  if (const uint64_t seed = Setting("LAMINA_SIM_SEED", 0); seed != 0) {
    const RunReport report = RunSystem({scene, seed, /*keep_trace=*/true});
    const size_t shown = std::min<size_t>(report.trace.size(), 20'000);
    if (!report.status.ok()) fmt::print("{}\n", report.trace.substr(report.trace.size() - shown));
    EXPECT_TRUE(report.status.ok()) << report.status.ToString();
    return;
  }
  count = Setting("LAMINA_SIM_RUNS", count);
  base::Mutex mu;
  RunReport sum;
  std::vector<std::string> failures;
  std::atomic<bool> enough{false};
  ForSeeds(count, [&](uint64_t seed) {
    if (enough) return;
    const RunReport report = RunSystem({scene, seed});
    base::MutexLock lock(&mu);
    sum.Add(report);
    if (report.status.ok()) return;
    failures.push_back(report.status.ToString());
    enough = GTEST_FLAG_GET(fail_fast);
  });
  fmt::print("{}: {} runs, {}\n", SceneName(scene), count, sum.Counts());
  EXPECT_TRUE(failures.empty()) << failures.size() << " of " << count << " fail; the first:\n"
                                << failures[0];
  for (size_t i = 1; i < std::min<size_t>(failures.size(), 12); ++i)
    fmt::print("also: {}\n", failures[i].substr(0, failures[i].find('\n')));
}

TEST(SystemTest, DiskThatFailsAndMachinesThatStop) { RunSeeds(Scene::kDisk, 250); }
TEST(SystemTest, NetworkThatLosesAnswers) { RunSeeds(Scene::kNetwork, 130); }
TEST(SystemTest, TwoOwnersOfOneDatabase) { RunSeeds(Scene::kTwoOwners, 120); }
TEST(SystemTest, ClockThatJumpsByYears) { RunSeeds(Scene::kClock, 1000); }

/// Seeds that found something, and what it was. A change of the scenes moves what a seed does, so
/// each find also has its own test: WriteOnceTest, WalTest.SealThatADeadOpenLeft…,
/// ManifestStoreTest.OwnConflictThatCannotBeReadBack…, EngineFaultTest.WhatAnOlderOwnerPublishes….
TEST(SystemTest, SeedsThatFoundBugsStayQuiet) {
  static constexpr struct {
    Scene scene;
    uint64_t seed;
  } kFound[] = {
      // A data file, deletion vector or base that the network delivered twice made its flush fail
      // with already_exists.
      {Scene::kNetwork, 7},
      {Scene::kNetwork, 17},
      {Scene::kNetwork, 24},
      // An owner that published between a newer owner's reading of the ref and its claim: the newer
      // one went on from the version before.
      {Scene::kTwoOwners, 1},
      // A publish that succeeded, reported a conflict, and whose ref could then not be read counted
      // as undone: the flush ran twice.
      {Scene::kTwoOwners, 40},
      // A process died between a seal and its sync, the next one took the log for sealed, and the
      // machine stopped after that: the older epoch had no seal, and the database did not open.
      {Scene::kClock, 101},
      {Scene::kClock, 790},
      // The clock jumped while a compaction wrote: its temporary file looked old and was swept.
      {Scene::kClock, 91},
  };
  for (const auto& [scene, seed] : kFound) {
    const RunReport report = RunSystem({scene, seed});
    EXPECT_TRUE(report.status.ok()) << report.status.ToString();
  }
}

TEST(SystemTest, SameSeedSameTrace) {
  ForSeeds(Setting("LAMINA_SIM_RUNS", 100), [](uint64_t seed) {
    const Scene scene = static_cast<Scene>(seed % 4);
    const RunReport first = RunSystem({scene, 10'000 + seed, /*keep_trace=*/true});
    const RunReport second = RunSystem({scene, 10'000 + seed, /*keep_trace=*/true});
    EXPECT_EQ(first.trace_hash, second.trace_hash) << SceneName(scene) << " " << 10'000 + seed;
    EXPECT_TRUE(first.trace == second.trace) << SceneName(scene) << " " << 10'000 + seed;
    EXPECT_GT(first.trace.size(), 1000u);
  });
}

}  // namespace
}  // namespace lamina::simulation
