// A crash at every call of the file system that a scenario makes, with every kind of damage.
//
// A scenario runs once. Before each call the machine is cloned as a crash would leave it, once a
// kind of damage, and the clone is opened and verified (world.h says what that means); every sixth
// is written to as well, crashed once more and verified again. Clones that came out alike are
// verified once; only what was promised by then is checked again.
//
// A failure prints scenario, call and damage; LAMINA_SIM_POINT=scenario:call:damage goes back to
// exactly that place. LAMINA_SIM_SEED moves all random choices of what is lost.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "world.h"

namespace lamina::simulation {
namespace {

struct Totals {
  std::atomic<uint64_t> points{0};
  std::atomic<uint64_t> distinct{0};
  std::atomic<uint64_t> went_on{0};
};

struct Place {
  std::string scenario;
  uint64_t call = 0;
  int damage = 0;
};

std::optional<Place> OnlyPlace() {
  const char* text = std::getenv("LAMINA_SIM_POINT");
  if (text == nullptr) return std::nullopt;
  const std::string all = text;
  const size_t a = all.find(':'), b = all.find(':', a + 1);
  Place place;
  place.scenario = all.substr(0, a);
  place.call = std::stoull(all.substr(a + 1, b - a - 1));
  for (int i = 0; i < 4; ++i) {
    if (all.substr(b + 1) == testing::SimDamageName(testing::kSimDamages[static_cast<size_t>(i)]))
      place.damage = i;
  }
  return place;
}

class Sweep {
 public:
  Sweep(const Scenario& scenario, size_t index, uint64_t seed, std::optional<Place> only,
        Totals* totals)
      : scenario_(scenario),
        seed_(MixSeed(seed, index)),
        only_(std::move(only)),
        totals_(totals),
        world_(scenario.options(), MixSeed(seed_, 1)) {}

  /// Empty, or what is wrong.
  std::string Run() {
    world_.OnNewFiles([this](SimFileSystem* files) {
      files->SetHook([this](const SimCallInfo& call) { return At(call); });
    });
    world_.files()->SetHook([this](const SimCallInfo& call) { return At(call); });
    const Status status = scenario_.script(world_);
    world_.files()->SetHook(nullptr);
    if (failure_.empty() && !status.ok())
      failure_ = fmt::format("scenario {}: {}", scenario_.name, status.ToString());
    return failure_;
  }
  uint64_t calls() const { return calls_; }
  uint64_t distinct() const { return seen_.size(); }

 private:
  SimAction At(const SimCallInfo& call) {
    const uint64_t index = calls_++;
    if (!failure_.empty()) return {SimAction::Kind::kCrash, 0};
    for (size_t i = 0; i < testing::kSimDamages.size(); ++i) {
      if (only_.has_value() && (only_->call != index || only_->damage != static_cast<int>(i)))
        continue;
      const SimDamage damage = testing::kSimDamages[i];
      const Status status = Verify(damage, MixSeed(seed_, index, i));
      ++totals_->points;
      if (status.ok()) continue;
      failure_ = fmt::format(
          "crash before call {} ({} {}), damage {}: {}\nreplay: LAMINA_SIM_POINT={}:{}:{} "
          "simulation_disk_test --gtest_filter='CrashPointsTest.*'",
          index, testing::SimCallName(call.kind), call.path, testing::SimDamageName(damage),
          status.ToString(), scenario_.name, index, testing::SimDamageName(damage));
      return {SimAction::Kind::kCrash, 0};
    }
    return {};
  }

  Status Verify(SimDamage damage, uint64_t seed) {
    const ExpectedPtr expected = world_.expected();
    const auto clone = world_.files()->CrashClone(damage, seed);
    const uint64_t hash = clone->ContentHash();
    if (const auto found = seen_.find(hash); found != seen_.end())
      return VerifyBounds(found->second, *expected);
    ++totals_->distinct;
    // A clock of its own, at the same time: what it sleeps does not count here.
    base::ManualClock clock(world_.clock().NowMicros());
    const auto files = clone->CrashClone(SimDamage::kNothingLost, seed, &clock);
    auto opened = OpenDatabase(files, &clock, world_.options(), MixSeed(seed, 1));
    if (!opened.ok()) return Status::Invalid("open: ", opened.status().ToString());
    ARROW_ASSIGN_OR_RAISE(const Recovered recovered,
                          VerifyContents(opened->db.get(), *expected, &oracle_, seed));
    // Writing on costs as much as all before: a sixth of them must do.
    if (only_.has_value() || MixSeed(seed, 3) % 6 == 0) {
      ARROW_RETURN_NOT_OK(VerifyGoesOn(std::move(*opened), files, &clock, world_.options(),
                                       *expected, recovered, &oracle_, MixSeed(seed, 2)));
      ++totals_->went_on;
    }
    seen_[hash] = recovered;
    return Status::OK();
  }

  const Scenario& scenario_;
  const uint64_t seed_;
  const std::optional<Place> only_;
  Totals* const totals_;
  World world_;
  Oracle oracle_;  // not the world's: a call may come from the middle of its own verification
  uint64_t calls_ = 0;
  std::string failure_;
  std::unordered_map<uint64_t, Recovered> seen_;
};

TEST(CrashPointsTest, EveryCallOfEveryScenarioIsAPlaceToCrash) {
  const uint64_t seed = FromEnvironment("LAMINA_SIM_SEED", 1);
  const auto only = OnlyPlace();
  const auto& scenarios = Scenarios();
  Totals totals;
  std::mutex mutex;
  OnAllProcessors(scenarios.size(), [&](size_t i) {
    if (only.has_value() && only->scenario != scenarios[i].name) return;
    if (const char* name = std::getenv("LAMINA_SIM_SCENARIO");
        name != nullptr && std::string(name) != scenarios[i].name)
      return;
    const auto begin = std::chrono::steady_clock::now();
    Sweep sweep(scenarios[i], i, seed, only, &totals);
    const std::string failure = sweep.Run();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    std::lock_guard lock(mutex);
    std::printf("%-28s %5llu calls %6llu distinct disks %6.1f s\n", scenarios[i].name,
                static_cast<unsigned long long>(sweep.calls()),
                static_cast<unsigned long long>(sweep.distinct()), took.count());
    if (!failure.empty())
      ADD_FAILURE() << scenarios[i].name << " (LAMINA_SIM_SEED=" << seed << "): " << failure;
  });
  std::printf("%zu scenarios, %llu crash points, %llu distinct disks, %llu of them written to\n",
              scenarios.size(), static_cast<unsigned long long>(totals.points),
              static_cast<unsigned long long>(totals.distinct),
              static_cast<unsigned long long>(totals.went_on));
  if (!only.has_value() && std::getenv("LAMINA_SIM_SCENARIO") == nullptr) {
    EXPECT_GE(scenarios.size(), 30u);
    EXPECT_GE(totals.points, 50'000u);
  }
}

}  // namespace
}  // namespace lamina::simulation
