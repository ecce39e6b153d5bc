// Where a simulation takes the place of the operating system's scheduler: locks, conditions,
// threads and the system clock ask here first.
//
// In production nothing is installed, and each such operation costs one relaxed atomic load more.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

namespace lamina::base {

/// Decides which thread goes on, for the threads it was installed on; all others, also of the same
/// process, stay with the operating system. Called by base only (and by a simulation's own parts).
/// Locks and conditions are told apart by their addresses, which mean nothing else.
class ScheduleHook {
 public:
  virtual ~ScheduleHook() = default;

  /// Another thread may run before this returns. `point` is a literal and says what comes next.
  virtual void Yield(const char* point) = 0;

  /// The calling thread took `lock`, or shares it.
  virtual void Acquired(const void* lock, bool shared) = 0;
  /// It gave it back. Nobody else runs before this returns.
  virtual void Released(const void* lock, bool shared) = 0;
  /// `lock` could not be taken: returns when it is worth another try.
  virtual void WaitForLock(const void* lock) = 0;

  /// Waits for a Notify, for `micros` of the simulation's time at most (below 0: without limit), or
  /// wakes for no reason. True when notified. The caller holds the mutex of the condition no more;
  /// nobody else ran since it let go.
  virtual bool WaitForCondition(const void* condition, int64_t micros) = 0;
  virtual void Notify(const void* condition, bool all) = 0;

  /// Makes a thread of the simulation: the new thread runs what is returned. `ticket` names it.
  virtual std::function<void()> AdoptThread(const std::string& name, std::function<void()> body,
                                            uint64_t* ticket) = 0;
  /// Returns when the body of that thread has ended.
  virtual void WaitForThread(uint64_t ticket) = 0;

  // What the system's clock shows: see Clock.
  virtual int64_t NowMicros() = 0;
  virtual int64_t MonotonicNanos() = 0;
  virtual void SleepMicros(int64_t micros) = 0;
};

namespace internal {

extern std::atomic<int> schedule_hooks;  // simulations that live
ScheduleHook* ThreadScheduleHook();

}  // namespace internal

/// Of the calling thread; null (always, in production) when the operating system schedules it.
inline ScheduleHook* CurrentScheduleHook() {
  // relaxed: a thread that has a hook raised the count itself, or was begun by one that did.
  if (__builtin_expect(internal::schedule_hooks.load(std::memory_order_relaxed) == 0, 1)) {
    return nullptr;
  }
  return internal::ThreadScheduleHook();
}

/// Null takes the calling thread out again.
void SetScheduleHook(ScheduleHook* hook);
/// Between the two calls hooks may be set. Calls nest.
void AllowScheduleHooks();
void ForbidScheduleHooks();

}  // namespace lamina::base
