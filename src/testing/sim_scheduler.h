// Deterministic scheduling: the product's own threads, locks, conditions and clock, with a seed
// deciding who runs when.
//
// Actors are threads of the operating system of which exactly one runs at a time. At every
// scheduling point (base::Mutex and SharedMutex lock, try, unlock; CondVar wait, signal;
// base::Thread start, join, end; every call of the system's clock; SimYield) the seed decides
// whether another goes on. Where none can, time jumps to the next moment that one waits for.
//
// Fault model. Explored: the order of everything between two scheduling points; conditions that
// wake for no reason or wake any of those that wait; timeouts that strike early or late against
// the work of others; steps of the wall clock; death of a group. Not explored: orders inside a
// stretch without a scheduling point (plain atomics), weak memory, real parallelism: that is the
// sanitizer's work.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/executor.h"
#include "base/random.h"
#include "lamina/error.h"

namespace lamina::testing {

struct SimOptions {
  int workers = 2;                               ///< Of executor().
  int64_t start_micros = 1'577'836'800'000'000;  ///< Wall clock at the start: 2020-01-01 UTC.

  /// How the next actor is chosen. Each finds other bugs; the seed picks unless told.
  enum class Policy : uint8_t {
    kBySeed,
    kWalk,        ///< At a point, one time in `switch_one_in`: any actor that can run.
    kPriorities,  ///< The actor of the highest rank runs until it waits; now and then the running
                  ///< one falls to the last rank (PCT: Burckhardt et al., ASPLOS 2010).
  };
  Policy policy = Policy::kBySeed;
  uint32_t switch_one_in = 0;  ///< 0: by seed, of 1, 4, 16, 64. For kPriorities: falls.

  uint32_t wake_one_in =
      200;  ///< Switches at which a waiting condition wakes for no reason. 0: never.
  uint32_t nudge_one_in = 50;   ///< Points at which time moves although somebody can run. 0: never.
  int64_t nudge_micros = 2000;  ///< By so much at most.

  uint64_t steps_max = 20'000'000;  ///< Points; then Run gives up (a livelock).
  /// Keeps text of switches, time and Trace lines; without it trace() is empty. The hash covers
  /// every point either way.
  bool keep_trace = true;
  size_t trace_bytes_max = size_t{64} << 20;  ///< Then the text ends; the hash does not.
};

/// How the actors of a killed group go on.
enum class SimDeath : uint8_t {
  /// They run on with SimKilled() true and end by themselves: what stands for the outer world (file
  /// system, store, network) has to refuse them everything, without effect. Frees all memory.
  kUnwind,
  /// They never run again. Their stacks and what these own stay until the process ends.
  kPark,
};

/// One world. The thread that makes it is its first actor (group 0) until the destructor: what it
/// does before, between and after runs is scheduled and timed like the work of all others. It alone
/// calls Run and the destructor; everything else is for any actor. Several worlds can live at once,
/// each with its own first thread.
class SimScheduler {
 public:
  explicit SimScheduler(uint64_t seed, SimOptions options = {});
  /// Ends the executor. All other threads that were made by actors have to be joined by then.
  ~SimScheduler();
  SimScheduler(const SimScheduler&) = delete;
  SimScheduler& operator=(const SimScheduler&) = delete;

  /// Adds an actor; it starts in Run, or at once when another actor than the first calls. Group:
  /// the caller's, unless told; so it is for a base::Thread made by an actor. `body` must not
  /// throw.
  void Spawn(std::string name, std::function<void()> body) {
    Spawn(std::move(name), -1, std::move(body));
  }
  void Spawn(std::string name, int group, std::function<void()> body);

  /// Runs until all spawned actors have ended and every thread that they left behind (workers of an
  /// executor) waits. Can be called again after more Spawn calls.
  /// Errors: kInternal for a deadlock or too many steps: names the seed, and for each actor where
  /// it is and what it waits for. The actors stay where they are for ever; whoever waits for what
  /// they hold, like the destructor of a database, ends the process with the same report. Outside
  /// Run a deadlock ends the process at once.
  Status Run();

  /// base::SystemClock(), which shows the simulation's time to actors: nothing needs to be given
  /// it.
  base::Clock* clock();
  /// A base::ThreadPoolExecutor whose workers are actors of group 0; made at the first call. A
  /// group that can die makes its own (or its database does), inside an actor.
  std::shared_ptr<base::Executor> executor();
  /// Steps what NowMicros shows. Durations, sleeps and timeouts go on as before.
  void JumpWallClock(int64_t micros);

  /// Ends the group's actors; not for group 0. An actor that kills its own group with kPark does
  /// not return.
  void KillGroup(int group, SimDeath death = SimDeath::kUnwind);

  /// Chance for what actors do, apart from the one that schedules.
  base::Random& random();

  /// A line that becomes part of the trace and its hash.
  void Trace(std::string_view line);
  /// Same seed and program, same hash: over every point, choice, step of time and line.
  uint64_t trace_hash() const;
  const std::string& trace() const;

  uint64_t seed() const;
  /// Scheduling points so far, and how many of them went on with another actor.
  uint64_t steps() const;
  uint64_t switches() const;

 private:
  class World;
  std::unique_ptr<World> world_;
};

/// A scheduling point: the seed may let another actor run before it returns. Does nothing on a
/// thread that is no actor. `point` is a string literal.
void SimYield(const char* point);
/// On an actor of a group that was killed with kUnwind.
bool SimKilled();
/// The world that the calling actor lives in; null on any other thread.
SimScheduler* CurrentSim();

}  // namespace lamina::testing
