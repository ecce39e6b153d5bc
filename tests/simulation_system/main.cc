// The tests; or, with --long SECONDS, fresh seeds until the time is up, with rates, and at the end
// the probes of rare branches that nothing reached (`make sim-long`).
#include <atomic>
#include <cstdlib>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/random.h"
#include "base/thread.h"
#include "metamorphic.h"
#include "system_run.h"
#include "testing/probe_report.h"

namespace lamina::simulation {
namespace {

constexpr int64_t kReportMicros = 10'000'000;

int RunLong(int64_t seconds) {
  base::Clock* clock = base::SystemClock();
  const int64_t begin = clock->MonotonicNanos() / 1000;
  const int64_t end = begin + seconds * 1'000'000;
  const char* first = std::getenv("LAMINA_SIM_FIRST");
  std::atomic<uint64_t> next{first != nullptr ? std::strtoull(first, nullptr, 10)
                                              : base::SeedFromEntropy() % 1'000'000'000};
  base::Mutex mu;
  RunReport sum;
  uint64_t runs = 0, failures = 0, metamorphic = 0;
  int64_t reported = begin;
  std::vector<base::Thread> threads;
  fmt::print("sim-long: {} s from seed {}\n", seconds, next.load());
  for (int i = 0; i < 2 * base::HardwareThreads(); ++i) {
    threads.emplace_back("seeds", [&] {
      while (clock->MonotonicNanos() / 1000 < end) {
        const uint64_t seed = next++;
        RunReport report;
        // Of eight seeds: three disks, one clock, one network, two of two owners, one metamorphic.
        static constexpr Scene kScenes[] = {Scene::kDisk,     Scene::kDisk,    Scene::kDisk,
                                            Scene::kClock,    Scene::kNetwork, Scene::kTwoOwners,
                                            Scene::kTwoOwners};
        const size_t kind = seed % 8;
        if (kind < std::size(kScenes)) {
          report = RunSystem({kScenes[kind], seed});
        } else if (Status same = RunMetamorphic(seed); !same.ok()) {
          report.status = Status::Invalid("metamorphic seed ", seed, ": ", same.ToString());
        }
        base::MutexLock lock(&mu);
        ++runs;
        if (kind >= std::size(kScenes)) ++metamorphic;
        sum.Add(report);
        if (!report.status.ok()) {
          ++failures;
          fmt::print("FAILED {}\n", report.status.ToString());
        }
        const int64_t now = clock->MonotonicNanos() / 1000;
        if (now - reported >= kReportMicros) {
          reported = now;
          const double passed = static_cast<double>(now - begin) / 1e6;
          fmt::print("{:6.0f} s, {:.1f} runs/s, {} runs ({} metamorphic), {} failed; {}\n", passed,
                     static_cast<double>(runs) / passed, runs, metamorphic, failures, sum.Counts());
          std::fflush(stdout);
        }
      }
    });
  }
  for (base::Thread& thread : threads) thread.Join();
  const auto probes = base::ReachedProbes();
  size_t reached = 0;
  std::string never;
  for (const auto& [name, hits] : probes) {
    if (hits > 0) {
      ++reached;
      fmt::print("probe {:45} {}\n", name, hits);
    } else {
      never += "\n  " + name;
    }
  }
  fmt::print("{} runs, {} failed; {} of {} probes reached; never:{}\n", runs, failures, reached,
             probes.size(), never.empty() ? " none" : never);
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace lamina::simulation

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--long")
    return lamina::simulation::RunLong(std::strtoll(argv[2], nullptr, 10));
  ::testing::InitGoogleTest(&argc, argv);
  const int failed = RUN_ALL_TESTS();
  return lamina::testing::ReportProbes("simulation_system") ? failed : 1;
}
