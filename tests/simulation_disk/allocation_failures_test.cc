// Memory that is not to be had: one failing allocation of Arrow's memory pool, at any place of ten
// scenarios.
//
// The pool's blocks come from posix_memalign (Arrow's system allocator, chosen by the test's
// environment), which this program replaces. The call that needed the block says so or the writer
// stops; everything else goes on, and after a power failure at the end nothing is lost that was
// acknowledged as durable (world.cc, Outcome).
//
// Not injected: `operator new`, which throws, and our code lets std::bad_alloc pass to its caller;
// and the first block of Arrow's hash tables, whose loss Arrow 26 answers with a crash.
//
// LAMINA_SIM_CASE=n runs one case.
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <malloc.h>
#include <mutex>

#include <arrow/memory_pool.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "world.h"

namespace {

// Of this thread: blocks asked for, and the number of the one that is refused.
thread_local uint64_t blocks_asked = 0;
thread_local uint64_t block_refused = UINT64_MAX;

// Arrow's hash tables (Parquet's dictionary encoder) drop the error of their first block and then
// write through null: 32 or 1024 entries of 16 or 24 bytes. Nothing that a caller could do.
bool IsFirstBlockOfAHashTable(size_t size) {
  return size == 32 * 16 || size == 32 * 24 || size == 1024 * 16 || size == 1024 * 24;
}

}  // namespace

// Takes the place of the C library's for all libraries of this program.
extern "C" int posix_memalign(void** out, size_t alignment, size_t size) noexcept {
  if (blocks_asked++ >= block_refused && !IsFirstBlockOfAHashTable(size)) {
    block_refused = UINT64_MAX;
    return ENOMEM;
  }
  *out = memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}

namespace lamina::simulation {
namespace {

constexpr uint64_t kCasesEach = 40;

/// Empty, or what is wrong.
std::string RunCase(const Scenario& scenario, uint64_t seed, uint64_t refused, bool* met,
                    bool* stopped) {
  World world(scenario.options(), seed);
  world.TolerateFailures(true);
  blocks_asked = 0;
  block_refused = refused;
  Status status = scenario.script(world);
  block_refused = UINT64_MAX;
  *met = world.failures_met() > 0;
  *stopped = world.stops_met() > 0;
  if (status.ok()) {
    base::ManualClock clock(world.clock().NowMicros());
    const auto disk = world.files()->CrashClone(SimDamage::kDropUnsynced, seed, &clock);
    Oracle oracle;
    auto opened = OpenDatabase(disk, &clock, world.options(), seed);
    status = opened.ok()
                 ? VerifyContents(opened->db.get(), *world.expected(), &oracle, seed).status()
                 : opened.status();
  }
  return status.ok() ? "" : fmt::format("block {} refused: {}", refused, status.ToString());
}

TEST(AllocationFailuresTest, ARefusedBlockFailsOneCallAndLosesNothing) {
  ASSERT_EQ("system", arrow::default_memory_pool()->backend_name())
      << "run it through ctest, or with ARROW_DEFAULT_MEMORY_POOL=system";
  const uint64_t seed = FromEnvironment("LAMINA_SIM_SEED", 1);
  const uint64_t only = FromEnvironment("LAMINA_SIM_CASE", UINT64_MAX);
  const std::vector<std::string> names = {
      "puts-always", "flush",      "compaction",        "flush-at-once", "schema",
      "documents",   "big-values", "crash-and-recover", "append-table",  "random-2"};
  std::vector<const Scenario*> chosen;
  for (const Scenario& scenario : Scenarios()) {
    if (std::find(names.begin(), names.end(), scenario.name) != names.end())
      chosen.push_back(&scenario);
  }
  ASSERT_EQ(names.size(), chosen.size());
  std::atomic<uint64_t> cases{0}, seen{0}, stops{0};
  std::mutex mutex;
  OnAllProcessors(chosen.size(), [&](size_t i) {
    const uint64_t world_seed = MixSeed(seed, i, 27);
    uint64_t blocks = 0;
    {
      World world(chosen[i]->options(), world_seed);
      blocks_asked = 0;
      const Status status = chosen[i]->script(world);
      EXPECT_TRUE(status.ok()) << status.ToString();
      blocks = blocks_asked;
    }
    base::Random random(MixSeed(seed, i, 28));
    int failures = 0;
    for (uint64_t j = 0; j < kCasesEach; ++j) {
      const uint64_t refused = random.Uniform(blocks);
      if (only != UINT64_MAX && only != i * 1000 + j) continue;
      bool met = false, stopped = false;
      const std::string wrong = RunCase(*chosen[i], world_seed, refused, &met, &stopped);
      ++cases;
      seen += met ? 1 : 0;
      stops += stopped ? 1 : 0;
      if (wrong.empty()) continue;
      std::lock_guard lock(mutex);
      ADD_FAILURE() << chosen[i]->name << ": " << wrong << "\nreplay: LAMINA_SIM_SEED=" << seed
                    << " LAMINA_SIM_CASE=" << i * 1000 + j
                    << " simulation_disk_test --gtest_filter='AllocationFailuresTest.*'";
      if (++failures == 3) break;
    }
  });
  std::printf("%llu refused blocks, %llu met by a caller, %llu stopped the writer\n",
              static_cast<unsigned long long>(cases), static_cast<unsigned long long>(seen),
              static_cast<unsigned long long>(stops));
  if (only == UINT64_MAX) {
    EXPECT_GT(seen, cases / 4);
  }
}

}  // namespace
}  // namespace lamina::simulation
