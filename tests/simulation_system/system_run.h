// One whole system under one seed: writers and readers with checkable workloads, flush, compaction,
// garbage collection, faults, jumps of the clock, deaths and reopens, all scheduled by the seed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lamina/error.h"

namespace lamina::simulation {

/// What the world outside is made of.
enum class Scene : uint8_t {
  kDisk,       ///< The real store over a simulated file system, one owner; calls of the file system
               ///< fail, processes die, machines stop and lose what was not synced.
  kClock,      ///< The same without failing calls; the wall clock jumps by up to ten years.
  kNetwork,    ///< An object store without append, behind a bad network; one owner at a time.
  kTwoOwners,  ///< The same, and a second owner opens while the first one is at work or paused.
};
const char* SceneName(Scene scene);

struct RunOptions {
  Scene scene = Scene::kDisk;
  uint64_t seed = 1;
  bool keep_trace = false;
};

struct RunReport {
  Status status;  ///< What was violated: names scene and seed.
  uint64_t trace_hash = 0;
  std::string trace;
  // What happened, for rates.
  uint64_t transactions = 0, committed = 0, conflicts = 0, refused = 0, unknown = 0, survived = 0,
           lost = 0, reads_checked = 0, processes = 0, deaths = 0, fenced = 0, repeated = 0,
           erases = 0, trims = 0, below_floor = 0, grouped = 0, faults = 0, calls = 0, steps = 0;

  void Add(const RunReport& other);
  std::string Counts() const;
};

/// Judged by acknowledged results only. Violations are: an acknowledged commit that is gone or was
/// not what it said; a refused one that is there; half a commit; an answer, at any time, that the
/// model does not give; an invariant of a workload; an anomaly in the list histories; a finding of
/// Check; an error of a kind that the call may not give.
RunReport RunSystem(const RunOptions& options);

}  // namespace lamina::simulation
