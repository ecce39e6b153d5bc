// One baton, passed from actor to actor:
//
//   1. Whoever holds it runs; all other actors sleep, each on its own futex. So the world's data
//      needs no lock, and passing the baton orders all memory.
//   2. A scheduling point is counted and hashed. A countdown, drawn anew each time it ends, says
//      whether the point may switch: nearly all points cost a few nanoseconds.
//   3. An actor that has to wait says for what, and passes the baton on. What it waits for makes
//      it ready again; where nobody is ready, time jumps to the earliest moment waited for.
//   4. The thread that made the SimScheduler is an actor as well; Run is its waiting for the
//   others.
//
// Nothing here looks at addresses but to tell locks apart, and nothing iterates over them in their
// order, so layout of memory cannot leak into a choice.
#include "testing/sim_scheduler.h"

#include <algorithm>
#include <atomic>
#include <climits>
#include <limits>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <linux/futex.h>

#include "base/check.h"
#include "base/schedule_hook.h"
#include "base/thread.h"

namespace lamina::testing {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
constexpr uint64_t kFirstRank = uint64_t{1} << 32;

/// Wakes one thread. A post before the wait is kept.
class Baton {
 public:
  void Post() {
    // release: the next holder sees all that this one did.
    posted_.store(1, std::memory_order_release);
    syscall(SYS_futex, &posted_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
  void Wait() {
    while (posted_.exchange(0, std::memory_order_acquire) == 0) {  // acquire: as in Post
      syscall(SYS_futex, &posted_, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
    }
  }

 private:
  std::atomic<uint32_t> posted_{0};
  static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
};

enum class State : uint8_t {
  kNotStarted,
  kReady,
  kLock,
  kCondition,
  kSleep,
  kJoin,
  kRun,  // the first actor, in Run
  kEnded,
};

struct Actor {
  uint64_t id = 0;
  std::string name;
  int group = 0;
  int spawn_group = -1;  // of the threads it makes; below 0: its own
  bool spawned = false;  // Run waits for its end
  bool killed = false;
  bool parked = false;
  bool cancelled = false;  // its body is not run
  State state = State::kReady;
  const void* waits_for = nullptr;
  uint64_t joins = 0;
  int64_t deadline_nanos = kNever;
  bool notified = false;
  uint64_t rank = 0;
  const char* point = "begin";
  std::vector<const void*> held;
  Baton baton;
  base::Thread thread;  // of spawned ones; others belong to whoever made them
};

}  // namespace

class SimScheduler::World final : public base::ScheduleHook {
 public:
  World(SimScheduler* owner, uint64_t seed, SimOptions options);
  /// Only when no actor but the first is left.
  ~World() override;

  // --- ScheduleHook ---
  void Yield(const char* point) override;
  void Acquired(const void* lock, bool shared) override;
  void Released(const void* lock, bool shared) override;
  void WaitForLock(const void* lock) override;
  bool WaitForCondition(const void* condition, int64_t micros) override;
  void Notify(const void* condition, bool all) override;
  std::function<void()> AdoptThread(const std::string& name, std::function<void()> body,
                                    uint64_t* ticket) override;
  void WaitForThread(uint64_t ticket) override;
  int64_t NowMicros() override;
  int64_t MonotonicNanos() override;
  void SleepMicros(int64_t micros) override;

  // --- SimScheduler ---
  void Spawn(std::string name, int group, std::function<void()> body);
  Status Run();
  std::shared_ptr<base::Executor> executor();
  void KillGroup(int group, SimDeath death);
  void Trace(std::string_view line);
  void JumpWallClock(int64_t micros);
  /// Ends what can be ended. False: actors are left that use this world.
  bool End();

  SimScheduler* const owner_;
  const uint64_t seed_;
  const SimOptions options_;
  base::Random random_;  // for actors
  uint64_t hash_ = 0xcbf29ce484222325;
  std::string trace_;
  uint64_t steps_ = 0;
  uint64_t switches_ = 0;

 private:
  Actor* NewActor(std::string name, int group);
  std::function<void()> Body(Actor* actor, std::function<void()> body);
  void Begin(Actor* actor);
  void Ended(Actor* actor);

  bool CanRun(const Actor& actor) const { return actor.state == State::kReady && !actor.parked; }
  /// Waits as `state` says until ready.
  void Block(State state, const void* waits_for, int64_t deadline_nanos);
  void MakeReady(Actor* actor);
  /// Passes the baton on; returns when it comes back.
  void PassTo(Actor* next);
  Actor* PickNext();
  Actor* Choose();
  void AdvanceTo(int64_t nanos);
  void MaybeNudge();
  void DrawCountdown();
  bool IsHeld(const void* lock) const;

  void Mix(uint64_t value) {
    hash_ = (hash_ ^ value) * 0x9e3779b97f4a7c15;
    hash_ ^= hash_ >> 29;
  }
  void MixText(std::string_view text) {
    uint64_t of_text = 0xcbf29ce484222325;
    for (const char c : text) of_text = (of_text ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    Mix(of_text);
  }
  template <typename... Args>
  void Line(fmt::format_string<Args...> format, Args&&... args) {
    if (!options_.keep_trace || trace_.size() >= options_.trace_bytes_max) return;
    fmt::format_to(std::back_inserter(trace_), format, std::forward<Args>(args)...);
    trace_.push_back('\n');
  }
  int64_t WallMicros() const { return options_.start_micros + now_nanos_ / 1000 + wall_offset_; }
  int64_t Deadline(int64_t micros) const {
    return micros > (kNever - now_nanos_) / 1000 ? kNever : now_nanos_ + micros * 1000;
  }

  std::string Where(const Actor& actor) const;
  std::string Report(const std::string& what) const;
  /// The first actor goes on with `what` as Run's error, or the process ends when it is not in Run.
  void Fail(const std::string& what);

  base::Random choices_;  // of the scheduler alone: what actors draw does not shift them
  SimOptions::Policy policy_;
  uint64_t switch_one_in_;
  uint64_t until_switch_ = 1;
  uint64_t until_nudge_ = 1;
  bool preempt_ = false;  // kPriorities: one of a higher rank became ready
  uint64_t lowest_rank_ = kFirstRank;

  std::vector<std::unique_ptr<Actor>> actors_;  // by id
  std::vector<Actor*> live_;                    // not ended, by id
  std::vector<Actor*> ready_;                   // scratch of Choose
  Actor* current_ = nullptr;
  Actor* first_ = nullptr;
  int64_t spawned_left_ = 0;
  int64_t conditions_ = 0;  // actors that wait for one

  int64_t now_nanos_ = 1'000'000'000;
  int64_t wall_offset_ = -1'000'000;  // the clock begins at start_micros
  std::shared_ptr<base::Executor> executor_;
  Status failed_;
};

namespace {

thread_local SimScheduler* current_sim = nullptr;
thread_local const bool* current_killed = nullptr;

}  // namespace

SimScheduler::World::World(SimScheduler* owner, uint64_t seed, SimOptions options)
    : owner_(owner), seed_(seed), options_(options), random_(seed ^ 0x51d5eed), choices_(seed) {
  using Policy = SimOptions::Policy;
  policy_ = options_.policy;
  // Drawn whether used or not, so that telling one leaves the rest of the sequence alone.
  const uint64_t draw = choices_.Uniform(6);
  const bool priorities = draw >= 4;
  if (policy_ == Policy::kBySeed) policy_ = priorities ? Policy::kPriorities : Policy::kWalk;
  constexpr uint64_t kWalks[] = {1, 4, 16, 64};
  constexpr uint64_t kFalls[] = {30, 300};
  switch_one_in_ = options_.switch_one_in != 0 ? options_.switch_one_in
                   : policy_ == Policy::kWalk  ? kWalks[draw % 4]
                                               : kFalls[draw % 2];
  DrawCountdown();
  until_nudge_ = options_.nudge_one_in;
  first_ = NewActor("main", 0);
  first_->state = State::kReady;
  current_ = first_;
  base::AllowScheduleHooks();
  Begin(first_);
}

SimScheduler::World::~World() {
  for (const auto& actor : actors_) actor->thread.Join();
}

// ---- Points -----------------------------------------------------------------------------------

void SimScheduler::World::DrawCountdown() {
  // Uniform over twice the mean: cheap, and long stretches do not grow without bound.
  until_switch_ = switch_one_in_ <= 1 ? 1 : 1 + choices_.Uniform(2 * switch_one_in_ - 1);
}

void SimScheduler::World::Yield(const char* point) {
  if (!failed_.ok()) return;  // only the first actor is left
  Actor* const self = current_;
  self->point = point;
  ++steps_;
  Mix(self->id);
  MixText(point);
  if (steps_ >= options_.steps_max) {
    Fail(fmt::format("too many steps: {}", steps_));
    if (self != first_) PassTo(first_);  // does not come back
    return;
  }
  if (options_.nudge_one_in != 0 && --until_nudge_ == 0) MaybeNudge();
  if (self->parked) {
    PassTo(PickNext());  // does not come back
    return;
  }
  if (--until_switch_ == 0) {
    DrawCountdown();
    if (policy_ == SimOptions::Policy::kPriorities) self->rank = --lowest_rank_;
  } else if (!preempt_) {
    return;
  }
  PassTo(Choose());
}

void SimScheduler::World::MaybeNudge() {
  until_nudge_ = 1 + choices_.Uniform(2 * uint64_t{options_.nudge_one_in});
  if (options_.nudge_micros > 0) {
    AdvanceTo(now_nanos_ + 1000 * choices_.UniformRange(1, options_.nudge_micros));
  }
}

Actor* SimScheduler::World::Choose() {
  preempt_ = false;
  if (options_.wake_one_in != 0 && conditions_ > 0 && choices_.OneIn(options_.wake_one_in)) {
    uint64_t skip = choices_.Uniform(static_cast<uint64_t>(conditions_));
    for (Actor* actor : live_) {
      if (actor->state != State::kCondition || skip-- != 0) continue;
      Line("{} wakes for no reason", actor->name);
      MakeReady(actor);
      break;
    }
  }
  ready_.clear();
  for (Actor* actor : live_) {
    if (CanRun(*actor)) ready_.push_back(actor);
  }
  if (ready_.empty()) return nullptr;
  if (policy_ == SimOptions::Policy::kPriorities) {
    return *std::max_element(ready_.begin(), ready_.end(),
                             [](const Actor* a, const Actor* b) { return a->rank < b->rank; });
  }
  return ready_[choices_.Uniform(ready_.size())];
}

Actor* SimScheduler::World::PickNext() {
  for (;;) {
    if (Actor* next = Choose()) return next;
    int64_t earliest = kNever;
    bool sleeps = false;
    for (const Actor* actor : live_) {
      if (actor->parked) continue;
      earliest = std::min(earliest, actor->deadline_nanos);
      sleeps = sleeps || actor->state == State::kSleep;
    }
    if (first_->state == State::kRun && spawned_left_ == 0 && !sleeps) {
      MakeReady(first_);
      continue;
    }
    if (earliest != kNever) {
      AdvanceTo(earliest);
      continue;
    }
    // The dead may wait for each other for ever.
    bool buried = false;
    for (Actor* actor : live_) {
      if (!actor->killed || actor->parked) continue;
      actor->parked = buried = true;
      if (actor->spawned) --spawned_left_;
    }
    if (buried) continue;
    Fail("deadlock");
    return first_;
  }
}

void SimScheduler::World::AdvanceTo(int64_t nanos) {
  if (nanos <= now_nanos_) return;
  now_nanos_ = nanos;
  Mix(static_cast<uint64_t>(nanos));
  for (Actor* actor : live_) {
    if (actor->deadline_nanos <= now_nanos_) MakeReady(actor);
  }
}

void SimScheduler::World::MakeReady(Actor* actor) {
  if (actor->state == State::kCondition) --conditions_;
  actor->state = State::kReady;
  actor->deadline_nanos = kNever;
  actor->waits_for = nullptr;
  if (policy_ == SimOptions::Policy::kPriorities && actor->rank > current_->rank) preempt_ = true;
}

void SimScheduler::World::PassTo(Actor* next) {
  Actor* const self = current_;
  if (next == self) return;
  ++switches_;
  Mix(next->id << 32);
  Line("{} {} {} -> {}", steps_, now_nanos_ / 1000, Where(*self), next->name);
  current_ = next;
  next->baton.Post();
  self->baton.Wait();
}

void SimScheduler::World::Block(State state, const void* waits_for, int64_t deadline_nanos) {
  if (!failed_.ok()) {
    LAMINA_CHECK_MSG(false, "waits after the simulation failed: " + MessageOf(failed_));
  }
  Actor* const self = current_;
  self->state = state;
  self->waits_for = waits_for;
  self->deadline_nanos = deadline_nanos;
  if (state == State::kCondition) ++conditions_;
  ++steps_;
  Mix(self->id | (static_cast<uint64_t>(state) << 48));
  PassTo(PickNext());
}

// ---- Locks and conditions ---------------------------------------------------------------------

void SimScheduler::World::Acquired(const void* lock, bool /*shared*/) {
  current_->held.push_back(lock);
}

void SimScheduler::World::Released(const void* lock, bool /*shared*/) {
  std::vector<const void*>& held = current_->held;
  const auto it = std::find(held.rbegin(), held.rend(), lock);
  if (it != held.rend()) held.erase(std::next(it).base());  // else taken before the simulation
  for (Actor* actor : live_) {
    if (actor->state == State::kLock && actor->waits_for == lock) MakeReady(actor);
  }
}

bool SimScheduler::World::IsHeld(const void* lock) const {
  return std::any_of(live_.begin(), live_.end(), [lock](const Actor* actor) {
    return std::find(actor->held.begin(), actor->held.end(), lock) != actor->held.end();
  });
}

void SimScheduler::World::WaitForLock(const void* lock) {
  if (IsHeld(lock)) return Block(State::kLock, lock, kNever);
  // By a thread outside this world, which goes on by itself.
  std::this_thread::yield();
}

bool SimScheduler::World::WaitForCondition(const void* condition, int64_t micros) {
  Actor* const self = current_;
  self->notified = false;
  self->point = micros < 0 ? "wait" : "wait_for";
  Block(State::kCondition, condition, micros < 0 ? kNever : Deadline(micros));
  return self->notified;
}

void SimScheduler::World::Notify(const void* condition, bool all) {
  const auto waits = [condition](const Actor* actor) {
    return actor->state == State::kCondition && actor->waits_for == condition;
  };
  uint64_t count = static_cast<uint64_t>(std::count_if(live_.begin(), live_.end(), waits));
  if (count == 0) return;
  uint64_t skip = all || count == 1 ? 0 : choices_.Uniform(count);
  for (Actor* actor : live_) {
    if (!waits(actor)) continue;
    if (!all && skip-- != 0) continue;
    actor->notified = true;
    MakeReady(actor);
    if (!all) return;
  }
}

// ---- Threads ----------------------------------------------------------------------------------

Actor* SimScheduler::World::NewActor(std::string name, int group) {
  auto actor = std::make_unique<Actor>();
  actor->id = actors_.size() + 1;
  actor->name = std::move(name);
  actor->group = group >= 0                   ? group
                 : current_->spawn_group >= 0 ? current_->spawn_group
                                              : current_->group;
  actor->killed = current_ != nullptr && current_->killed && actor->group == current_->group;
  actor->rank = kFirstRank + choices_.Uniform(kFirstRank);
  live_.push_back(actor.get());
  actors_.push_back(std::move(actor));
  return live_.back();
}

void SimScheduler::World::Begin(Actor* actor) {
  base::SetScheduleHook(this);
  current_sim = owner_;
  current_killed = &actor->killed;
}

std::function<void()> SimScheduler::World::Body(Actor* actor, std::function<void()> body) {
  return [this, actor, body = std::move(body)]() mutable {
    Begin(actor);
    actor->baton.Wait();
    if (!actor->cancelled) body();
    body = nullptr;  // what it owns goes while this is an actor
    Ended(actor);
  };
}

void SimScheduler::World::Ended(Actor* actor) {
  base::SetScheduleHook(nullptr);
  current_sim = nullptr;
  current_killed = nullptr;
  actor->state = State::kEnded;
  actor->point = "end";
  live_.erase(std::find(live_.begin(), live_.end(), actor));
  if (actor->spawned && !actor->parked) --spawned_left_;
  for (Actor* other : live_) {
    if (other->state == State::kJoin && other->joins == actor->id) MakeReady(other);
  }
  ++switches_;
  Actor* const next = PickNext();
  Mix(next->id << 32);
  Line("{} {} {} ends -> {}", steps_, now_nanos_ / 1000, actor->name, next->name);
  current_ = next;
  next->baton.Post();
}

std::function<void()> SimScheduler::World::AdoptThread(const std::string& name,
                                                       std::function<void()> body,
                                                       uint64_t* ticket) {
  Actor* const actor = NewActor(name, -1);
  *ticket = actor->id;
  MakeReady(actor);
  return Body(actor, std::move(body));
}

void SimScheduler::World::WaitForThread(uint64_t ticket) {
  LAMINA_CHECK(ticket <= actors_.size());
  Yield("join");
  Actor* const self = current_;
  while (actors_[ticket - 1]->state != State::kEnded) {
    self->joins = ticket;
    Block(State::kJoin, nullptr, kNever);
  }
}

// ---- Time -------------------------------------------------------------------------------------

int64_t SimScheduler::World::NowMicros() {
  Yield("now");
  return WallMicros();
}

int64_t SimScheduler::World::MonotonicNanos() {
  Yield("monotonic");
  return now_nanos_;
}

void SimScheduler::World::SleepMicros(int64_t micros) {
  current_->point = "sleep";
  Block(State::kSleep, nullptr, Deadline(micros));
}

void SimScheduler::World::JumpWallClock(int64_t micros) {
  wall_offset_ += micros;
  Mix(static_cast<uint64_t>(micros));
  Line("wall clock jumps by {}", micros);
  Yield("jump");
}

// ---- Running ----------------------------------------------------------------------------------

void SimScheduler::World::Spawn(std::string name, int group, std::function<void()> body) {
  Actor* const actor = NewActor(std::move(name), group);
  actor->spawned = true;
  ++spawned_left_;
  if (current_ == first_) {
    actor->state = State::kNotStarted;
  } else {
    MakeReady(actor);
  }
  base::SetScheduleHook(nullptr);  // the thread is an actor already
  actor->thread = base::Thread(actor->name, Body(actor, std::move(body)));
  base::SetScheduleHook(this);
  if (current_ != first_) Yield("spawn");
}

Status SimScheduler::World::Run() {
  LAMINA_CHECK_MSG(current_ == first_, "Run is for the thread that made the simulation");
  if (!failed_.ok()) return failed_;
  for (Actor* actor : live_) {
    if (actor->state == State::kNotStarted) MakeReady(actor);
  }
  first_->point = "run";
  Block(State::kRun, nullptr, kNever);
  return failed_;
}

std::shared_ptr<base::Executor> SimScheduler::World::executor() {
  if (executor_ == nullptr) {
    Actor* const self = current_;
    self->spawn_group = 0;
    auto made = std::make_shared<base::ThreadPoolExecutor>(options_.workers, "worker");
    self->spawn_group = -1;
    // While its threads were made others ran, and one may have asked as well.
    if (executor_ == nullptr) executor_ = std::move(made);
  }
  return executor_;
}

void SimScheduler::World::KillGroup(int group, SimDeath death) {
  LAMINA_CHECK_MSG(group != first_->group, "the first thread's group cannot be killed");
  Line("group {} dies", group);
  Mix(static_cast<uint64_t>(group) << 40);
  for (Actor* actor : live_) {
    if (actor->group != group) continue;
    if (death == SimDeath::kUnwind) {
      actor->killed = true;
      if (actor->state == State::kNotStarted) actor->cancelled = true;
    } else if (!actor->parked) {
      actor->parked = true;
      if (actor->spawned) --spawned_left_;
    }
  }
  Yield("kill");
}

void SimScheduler::World::Trace(std::string_view line) {
  MixText(line);
  Line("{} {} {}: {}", steps_, now_nanos_ / 1000, current_->name, line);
}

bool SimScheduler::World::End() {
  if (failed_.ok()) {
    if (executor_ != nullptr) executor_->Shutdown();
    std::string left;
    for (Actor* actor : live_) {
      if (actor->state == State::kNotStarted) {
        actor->cancelled = true;
      } else if (actor != first_ && !actor->parked && !actor->spawned) {
        left += (left.empty() ? "" : ", ") + actor->name;
      }
    }
    LAMINA_CHECK_MSG(left.empty(), "threads outlive the simulation they were made in: " + left);
    if (spawned_left_ > 0) (void)Run();  // those that never started, and whom they left waiting
  }
  const bool alone = live_.size() == 1;
  base::SetScheduleHook(nullptr);
  current_sim = nullptr;
  current_killed = nullptr;
  base::ForbidScheduleHooks();
  return alone;
}

// ---- Failing ----------------------------------------------------------------------------------

std::string SimScheduler::World::Where(const Actor& actor) const {
  switch (actor.state) {
    case State::kNotStarted:
      return actor.name + "@not started";
    case State::kReady:
    case State::kRun:
      return actor.name + "@" + actor.point;
    case State::kLock:
      for (const Actor* other : live_) {
        if (std::find(other->held.begin(), other->held.end(), actor.waits_for) !=
            other->held.end()) {
          return actor.name + "@lock held by " + other->name;
        }
      }
      return actor.name + "@lock";
    case State::kCondition:
    case State::kSleep:
      return actor.name + "@" + actor.point +
             (actor.deadline_nanos == kNever
                  ? ""
                  : fmt::format(" until {}", actor.deadline_nanos / 1000));
    case State::kJoin:
      return actor.name + "@join of " + actors_[actor.joins - 1]->name;
    case State::kEnded:
      return actor.name + "@end";
  }
  return actor.name;
}

std::string SimScheduler::World::Report(const std::string& what) const {
  std::string report = fmt::format("simulation failed, {}: seed={} step={} micros={}", what, seed_,
                                   steps_, now_nanos_ / 1000);
  for (const Actor* actor : live_) {
    report +=
        fmt::format("\n  {} group={} holds={}{}{}", Where(*actor), actor->group, actor->held.size(),
                    actor->killed ? " killed" : "", actor->parked ? " parked" : "");
  }
  return report;
}

void SimScheduler::World::Fail(const std::string& what) {
  const std::string report = Report(what);
  LAMINA_CHECK_MSG(first_->state == State::kRun, report);
  failed_ = MakeError(ErrorCode::kInternal, report);
  Line("{}", report);
  first_->state = State::kReady;
}

// ---- SimScheduler -----------------------------------------------------------------------------

SimScheduler::SimScheduler(uint64_t seed, SimOptions options) {
  LAMINA_CHECK_MSG(base::CurrentScheduleHook() == nullptr, "this thread is in a simulation");
  world_ = std::make_unique<World>(this, seed, options);
}

SimScheduler::~SimScheduler() {
  // What actors that cannot end still use stays with them.
  if (!world_->End()) static_cast<void>(world_.release());
}

void SimScheduler::Spawn(std::string name, int group, std::function<void()> body) {
  world_->Spawn(std::move(name), group, std::move(body));
}
Status SimScheduler::Run() { return world_->Run(); }
base::Clock* SimScheduler::clock() { return base::SystemClock(); }
std::shared_ptr<base::Executor> SimScheduler::executor() { return world_->executor(); }
void SimScheduler::JumpWallClock(int64_t micros) { world_->JumpWallClock(micros); }
void SimScheduler::KillGroup(int group, SimDeath death) { world_->KillGroup(group, death); }
base::Random& SimScheduler::random() { return world_->random_; }
void SimScheduler::Trace(std::string_view line) { world_->Trace(line); }
uint64_t SimScheduler::trace_hash() const { return world_->hash_; }
const std::string& SimScheduler::trace() const { return world_->trace_; }
uint64_t SimScheduler::seed() const { return world_->seed_; }
uint64_t SimScheduler::steps() const { return world_->steps_; }
uint64_t SimScheduler::switches() const { return world_->switches_; }

void SimYield(const char* point) {
  if (base::ScheduleHook* hook = base::CurrentScheduleHook()) hook->Yield(point);
}
bool SimKilled() { return current_killed != nullptr && *current_killed; }
SimScheduler* CurrentSim() { return current_sim; }

}  // namespace lamina::testing
