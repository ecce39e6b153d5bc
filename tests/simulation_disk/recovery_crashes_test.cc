// Crashes during the recovery from a crash, up to three deep.
//
// A scenario crashes at a random call. What is left is opened on a machine that crashes again at a
// random call of the recovery, and once more, and so on; each time with damage of its own. Whatever
// was promised before the first crash is there after the last, and what one recovery showed
// (commits, tables) no later one takes back once the database was open for writing.
//
// LAMINA_SIM_CASE=n runs one case, LAMINA_SIM_CRASHES sets how many crashes in all.
#include <atomic>
#include <cstdio>
#include <mutex>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "world.h"

namespace lamina::simulation {
namespace {

struct Totals {
  std::atomic<uint64_t> crashes{0};
  std::atomic<uint64_t> by_depth[4] = {};
};

/// A place in a scenario where a case begins.
struct Start {
  std::shared_ptr<SimFileSystem> disk;
  ExpectedPtr expected;
  int64_t now_micros = 0;
};

/// Runs `scenario` once and takes `count` disks at random calls.
std::vector<Start> Starts(const Scenario& scenario, uint64_t seed, size_t count) {
  uint64_t calls = 0;
  {
    World world(scenario.options(), seed);
    const auto count_calls = [&](const SimCallInfo&) {
      ++calls;
      return SimAction{};
    };
    world.OnNewFiles([&](SimFileSystem* files) { files->SetHook(count_calls); });
    world.files()->SetHook(count_calls);
    const Status status = scenario.script(world);
    EXPECT_TRUE(status.ok()) << scenario.name << ": " << status.ToString();
    world.files()->SetHook(nullptr);
  }
  base::Random random(seed);
  std::map<uint64_t, size_t> wanted;
  for (size_t i = 0; i < count; ++i) ++wanted[random.Uniform(calls)];
  std::vector<Start> out;
  World world(scenario.options(), seed);
  uint64_t call = 0;
  const auto take = [&](const SimCallInfo&) {
    const auto found = wanted.find(call++);
    for (size_t i = 0; found != wanted.end() && i < found->second; ++i) {
      const auto damage = testing::kSimDamages[random.Uniform(4)];
      out.push_back({world.files()->CrashClone(damage, random.Next64()), world.expected(),
                     world.clock().NowMicros()});
    }
    return SimAction{};
  };
  world.OnNewFiles([&](SimFileSystem* files) { files->SetHook(take); });
  world.files()->SetHook(take);
  (void)scenario.script(world);  // it was OK above
  world.files()->SetHook(nullptr);
  return out;
}

/// Empty, or what is wrong.
std::string RunCase(const ScenarioOptions& options, const Start& start, uint64_t seed,
                    Oracle* oracle, Totals* totals) {
  base::Random random(seed);
  base::ManualClock clock(start.now_micros);
  const uint64_t depth = 1 + random.Uniform(3);
  auto disk = start.disk->CrashClone(SimDamage::kNothingLost, random.Next64(), &clock);
  std::string story;
  for (uint64_t level = 0; level < depth; ++level) {
    // How many calls an undisturbed recovery makes decides where it is disturbed.
    const auto trial = disk->CrashClone(SimDamage::kNothingLost, random.Next64());
    const uint64_t database_seed = random.Next64();
    if (const auto opened = OpenDatabase(trial, &clock, options, database_seed); !opened.ok())
      return fmt::format("{}open {}: {}", story, level, opened.status().ToString());
    const uint64_t calls = trial->calls();
    const uint64_t at = random.Uniform(calls);
    const auto damage =
        random.OneIn(5) ? SimDamage::kNothingLost : testing::kSimDamages[random.Uniform(4)];
    disk->SetHook([at](const SimCallInfo& call) {
      return call.index == at ? SimAction{SimAction::Kind::kCrash, 0} : SimAction{};
    });
    // Past the end of Open the crash meets the database's end.
    (void)OpenDatabase(disk, &clock, options, database_seed);
    story += fmt::format("crash at call {} of {}, {}; ", at, calls, testing::SimDamageName(damage));
    disk = disk->CrashClone(damage, random.Next64());
    clock.Advance(static_cast<int64_t>(random.Uniform(2'000'000)));
    ++totals->crashes;
    ++totals->by_depth[level + 1];
  }
  auto opened = OpenDatabase(disk, &clock, options, random.Next64());
  if (!opened.ok()) return story + "then open: " + opened.status().ToString();
  const auto recovered = VerifyContents(opened->db.get(), *start.expected, oracle, random.Next64());
  if (!recovered.ok()) return story + "then: " + recovered.status().ToString();
  const Status on = VerifyGoesOn(std::move(*opened), disk, &clock, options, *start.expected,
                                 *recovered, oracle, random.Next64());
  return on.ok() ? "" : story + "then: " + on.ToString();
}

TEST(RecoveryCrashesTest, CrashesDuringRecoveryUpToThreeDeepLoseNothing) {
  const uint64_t seed = FromEnvironment("LAMINA_SIM_SEED", 1);
  const uint64_t wanted = FromEnvironment("LAMINA_SIM_CRASHES", 2'300);
  const uint64_t only = FromEnvironment("LAMINA_SIM_CASE", UINT64_MAX);
  const auto& scenarios = Scenarios();
  // A case has two crashes on average.
  const size_t cases = static_cast<size_t>(wanted) / 2 / scenarios.size() + 1;
  Totals totals;
  std::mutex mutex;
  std::atomic<bool> failed{false};
  OnAllProcessors(scenarios.size(), [&](size_t i) {
    if (only != UINT64_MAX && only / 1000 != i) return;
    const auto starts = Starts(scenarios[i], MixSeed(seed, i, 7), cases);
    Oracle oracle;
    for (size_t j = 0; j < starts.size(); ++j) {
      const uint64_t name = i * 1000 + j;
      if (only != UINT64_MAX && only != name) continue;
      if (failed && StopsAtFirstFailure()) return;
      const std::string wrong =
          RunCase(scenarios[i].options(), starts[j], MixSeed(seed, name, 8), &oracle, &totals);
      if (wrong.empty()) continue;
      std::lock_guard lock(mutex);
      failed = true;
      ADD_FAILURE() << scenarios[i].name << ": " << wrong << "\nreplay: LAMINA_SIM_SEED=" << seed
                    << " LAMINA_SIM_CASE=" << name
                    << " simulation_disk_test --gtest_filter='RecoveryCrashesTest.*'";
      return;
    }
  });
  std::printf("%llu crashes during recovery (%llu first, %llu second, %llu third)\n",
              static_cast<unsigned long long>(totals.crashes),
              static_cast<unsigned long long>(totals.by_depth[1]),
              static_cast<unsigned long long>(totals.by_depth[2]),
              static_cast<unsigned long long>(totals.by_depth[3]));
  if (only == UINT64_MAX) {
    EXPECT_GE(totals.crashes + 300, wanted);
  }
}

}  // namespace
}  // namespace lamina::simulation
