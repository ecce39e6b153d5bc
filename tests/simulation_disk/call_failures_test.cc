// One failing call of the file system, at any place of any scenario.
//
// A case runs a scenario with one failure: an errno before the effect or after it, or a short write
// that the disk then refuses to complete. The script goes on as a user would (world.cc, Outcome):
//   * an error that says "nothing happened" is taken at its word;
//   * a stopped writer reads on, writes nothing any more, and is opened again;
//   * in the end the machine crashes and loses all that was not synced: everything that was
//     acknowledged as durable, before the failure or after it, is there.
// A failed sync loses what was pending for good, as on Linux: a later "OK" of the same file must
// not be believed.
//
// LAMINA_SIM_CASE=n runs one case, LAMINA_SIM_SCENARIO=name those of one scenario,
// LAMINA_SIM_FAILURES sets how many there are in all scenarios together.
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "world.h"

namespace lamina::simulation {
namespace {

struct Failure {
  uint64_t call = 0;
  SimCall kind = SimCall::kOpen;
  SimAction action;
  bool then_full = false;  ///< The next write fails as well.
};

/// What may go wrong with a call of this kind.
SimAction RandomAction(SimCall kind, base::Random* random) {
  static constexpr int kErrors[] = {EIO, ENOSPC, EMFILE};
  SimAction action;
  action.kind = random->OneIn(3) ? SimAction::Kind::kFailAfter : SimAction::Kind::kFailBefore;
  switch (kind) {
    case SimCall::kOpen:
    case SimCall::kCreate:
      action.error = kErrors[random->Uniform(3)];
      break;
    case SimCall::kWrite:
      if (random->OneIn(3)) action.kind = SimAction::Kind::kShortWrite;
      action.error = random->OneIn(2) ? ENOSPC : EIO;
      break;
    case SimCall::kMakeDirectory:
    case SimCall::kRename:
    case SimCall::kLink:
    case SimCall::kSync:
    case SimCall::kSyncDirectory:
      action.error = random->OneIn(3) ? ENOSPC : EIO;
      break;
    case SimCall::kMap:
      action.error = random->OneIn(2) ? ENOMEM : EIO;
      break;
    default:
      action.error = EIO;
  }
  return action;
}

struct Totals {
  std::atomic<uint64_t> cases{0};
  std::atomic<uint64_t> met{0};      ///< Seen by a call of the database.
  std::atomic<uint64_t> stopped{0};  ///< Ended writing.
  std::array<std::atomic<uint64_t>, testing::kSimCallKinds> by_kind = {};
};

/// How often each kind of call comes in a scenario.
std::vector<SimCall> CallsOf(const Scenario& scenario, uint64_t seed) {
  std::vector<SimCall> calls;
  World world(scenario.options(), seed);
  const auto note = [&](const SimCallInfo& call) {
    calls.push_back(call.kind);
    return SimAction{};
  };
  world.OnNewFiles([&](SimFileSystem* files) { files->SetHook(note); });
  world.files()->SetHook(note);
  const Status status = scenario.script(world);
  EXPECT_TRUE(status.ok()) << scenario.name << ": " << status.ToString();
  world.files()->SetHook(nullptr);
  return calls;
}

/// Empty, or what is wrong.
std::string RunCase(const Scenario& scenario, uint64_t world_seed, const Failure& failure,
                    uint64_t seed, Totals* totals) {
  World world(scenario.options(), world_seed);
  world.TolerateFailures(true);
  uint64_t call = 0;
  bool full = false;
  bool fired = false;
  std::string where;
  const auto fail = [&](const SimCallInfo& info) -> SimAction {
    const uint64_t index = call++;
    if (full && info.kind == SimCall::kWrite) {
      full = false;
      return {SimAction::Kind::kFailBefore, failure.action.error};
    }
    if (index != failure.call || fired) return {};
    fired = true;
    full = failure.action.kind == SimAction::Kind::kShortWrite;
    where = fmt::format("{} {}", testing::SimCallName(info.kind), info.path);
    ++totals->by_kind[static_cast<size_t>(info.kind)];
    return failure.action;
  };
  world.OnNewFiles([&](SimFileSystem* files) { files->SetHook(fail); });
  world.files()->SetHook(fail);
  Status status = scenario.script(world);
  world.files()->SetHook(nullptr);
  ++totals->cases;
  if (world.failures_met() > 0) ++totals->met;
  if (world.stops_met() > 0) ++totals->stopped;
  if (status.ok()) {
    // Power off.
    base::Random random(seed);
    const auto damage = random.OneIn(2) ? SimDamage::kDropUnsynced : SimDamage::kReorder;
    base::ManualClock clock(world.clock().NowMicros());
    const auto disk = world.files()->CrashClone(damage, random.Next64(), &clock);
    auto opened = OpenDatabase(disk, &clock, world.options(), random.Next64());
    Oracle oracle;
    if (!opened.ok()) {
      status = Status::Invalid("open after power off: ", opened.status().ToString());
    } else {
      const auto found =
          VerifyContents(opened->db.get(), *world.expected(), &oracle, random.Next64());
      status = !found.ok() ? Status::Invalid("after power off: ", found.status().ToString())
                           : VerifyGoesOn(std::move(*opened), disk, &clock, world.options(),
                                          *world.expected(), *found, &oracle, random.Next64());
    }
  }
  if (status.ok()) return "";
  const char* how = failure.action.kind == SimAction::Kind::kFailBefore  ? "before the effect"
                    : failure.action.kind == SimAction::Kind::kFailAfter ? "after the effect"
                                                                         : "after a short write";
  return fmt::format("errno {} {} of call {} ({}): {}", failure.action.error, how, failure.call,
                     where, status.ToString());
}

TEST(CallFailuresTest, OneFailureAnywhereLosesNothingAndIsNeverTakenForSuccess) {
  const uint64_t seed = FromEnvironment("LAMINA_SIM_SEED", 1);
  const uint64_t wanted = FromEnvironment("LAMINA_SIM_FAILURES", 2'200);
  const uint64_t only = FromEnvironment("LAMINA_SIM_CASE", UINT64_MAX);
  const auto& scenarios = Scenarios();
  const size_t cases = static_cast<size_t>(wanted) / scenarios.size() + 1;
  Totals totals;
  std::mutex mutex;
  std::atomic<bool> failed{false};
  OnAllProcessors(scenarios.size(), [&](size_t i) {
    if (only != UINT64_MAX && only / 1000 != i) return;
    if (const char* name = std::getenv("LAMINA_SIM_SCENARIO");
        name != nullptr && std::string(name) != scenarios[i].name)
      return;
    const uint64_t world_seed = MixSeed(seed, i, 17);
    const auto calls = CallsOf(scenarios[i], world_seed);
    std::map<SimCall, std::vector<uint64_t>> by_kind;
    for (size_t c = 0; c < calls.size(); ++c) by_kind[calls[c]].push_back(c);
    std::vector<SimCall> kinds;
    for (const auto& [kind, at] : by_kind) kinds.push_back(kind);
    int failures = 0;
    for (size_t j = 0; j < cases; ++j) {
      const uint64_t name = i * 1000 + j;
      if (only != UINT64_MAX && only != name) continue;
      if (failed && StopsAtFirstFailure()) return;
      base::Random random(MixSeed(seed, name, 18));
      // Every kind in turn; within it, any place.
      Failure failure;
      failure.kind = kinds[(i + j) % kinds.size()];
      const auto& places = by_kind[failure.kind];
      failure.call = places[random.Uniform(places.size())];
      failure.action = RandomAction(failure.kind, &random);
      const std::string wrong =
          RunCase(scenarios[i], world_seed, failure, random.Next64(), &totals);
      if (wrong.empty()) continue;
      std::lock_guard lock(mutex);
      failed = true;
      ADD_FAILURE() << scenarios[i].name << ": " << wrong << "\nreplay: LAMINA_SIM_SEED=" << seed
                    << " LAMINA_SIM_CASE=" << name
                    << " simulation_disk_test --gtest_filter='CallFailuresTest.*'";
      if (++failures == 3) return;
    }
  });
  std::printf("%llu failures, %llu met by a caller, %llu stopped the writer;",
              static_cast<unsigned long long>(totals.cases),
              static_cast<unsigned long long>(totals.met),
              static_cast<unsigned long long>(totals.stopped));
  for (size_t k = 0; k < testing::kSimCallKinds; ++k) {
    if (totals.by_kind[k] > 0)
      std::printf(" %s %llu", testing::SimCallName(static_cast<SimCall>(k)),
                  static_cast<unsigned long long>(totals.by_kind[k]));
  }
  std::printf("\n");
}

}  // namespace
}  // namespace lamina::simulation
