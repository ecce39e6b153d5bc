// Where background work runs: a thread pool in production, the caller's own hand in tests.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/random.h"
#include "base/thread.h"

namespace lamina::base {

/// Runs functions later. Functions must not throw. All calls are thread-safe. Submit and Delayed
/// let std::bad_alloc pass, and then have kept nothing; a task that was taken needs no more memory.
class Executor {
 public:
  using Task = std::function<void()>;
  /// Names a delayed task; 0 is none.
  using TaskId = uint64_t;

  virtual ~Executor() = default;
  /// Queues `task`. False (and the task is dropped) after Shutdown.
  virtual bool Submit(Task task) = 0;
  /// Queues `task` once `micros` have passed. 0 after Shutdown.
  virtual TaskId Delayed(int64_t micros, Task task) = 0;
  /// True when the task was still waiting and will not run.
  virtual bool Cancel(TaskId id) = 0;
  /// Waits until nothing submitted is queued or running, including what those tasks submit. Delayed
  /// tasks whose time has not come do not count. Never call it from a task of the same executor.
  virtual void Drain() = 0;
  /// Drops delayed tasks, runs what is queued, then stops for good. Idempotent. Never call it from
  /// a task.
  virtual void Shutdown() = 0;
};

/// `threads` workers sharing one first-in first-out queue. The destructor calls Shutdown.
class ThreadPoolExecutor : public Executor {
 public:
  /// At least one thread. Workers are named `name`-0, `name`-1, …
  ThreadPoolExecutor(int threads, const std::string& name);
  ~ThreadPoolExecutor() override;

  bool Submit(Task task) override LAMINA_EXCLUDES(mu_);
  TaskId Delayed(int64_t micros, Task task) override LAMINA_EXCLUDES(mu_);
  bool Cancel(TaskId id) override LAMINA_EXCLUDES(mu_);
  void Drain() override LAMINA_EXCLUDES(mu_);
  void Shutdown() override LAMINA_EXCLUDES(mu_);

 private:
  // (due in monotonic nanoseconds, id): ordered by due, then submission.
  using DelayedKey = std::pair<int64_t, TaskId>;

  void WorkerLoop() LAMINA_EXCLUDES(mu_);
  void MoveDueTasks() LAMINA_REQUIRES(mu_);

  // Tasks lie in list nodes that are made where they are submitted, and only linked from then on.
  std::vector<Thread> threads_;  // constant between construction and Shutdown

  Mutex shutdown_mu_;  // makes concurrent Shutdown calls wait for one another; taken before mu_
  Mutex mu_;
  CondVar work_;  // a task was queued, a delayed one became the earliest, or stopping_ was set
  CondVar idle_;  // queue_ became empty with nothing running
  std::list<Task> queue_ LAMINA_GUARDED_BY(mu_);
  std::map<DelayedKey, std::list<Task>> delayed_ LAMINA_GUARDED_BY(mu_);  // one each
  std::unordered_map<TaskId, int64_t> due_ LAMINA_GUARDED_BY(mu_);
  TaskId next_id_ LAMINA_GUARDED_BY(mu_) = 1;
  int running_ LAMINA_GUARDED_BY(mu_) = 0;
  bool stopping_ LAMINA_GUARDED_BY(mu_) = false;
};

/// Runs every submitted task on the calling thread before Submit returns (so do not hold a lock
/// that the task takes). Delayed tasks wait until RunDelayed.
class InlineExecutor : public Executor {
 public:
  bool Submit(Task task) override LAMINA_EXCLUDES(mu_);
  TaskId Delayed(int64_t micros, Task task) override LAMINA_EXCLUDES(mu_);
  bool Cancel(TaskId id) override LAMINA_EXCLUDES(mu_);
  void Drain() override {}
  void Shutdown() override LAMINA_EXCLUDES(mu_);

  /// Runs the delayed tasks held now, earliest first; returns how many.
  int RunDelayed() LAMINA_EXCLUDES(mu_);

 private:
  Mutex mu_;
  std::map<std::pair<int64_t, TaskId>, Task> delayed_ LAMINA_GUARDED_BY(mu_);
  TaskId next_id_ LAMINA_GUARDED_BY(mu_) = 1;
  bool stopped_ LAMINA_GUARDED_BY(mu_) = false;
};

/// Runs tasks only when told, on the thread that tells it: deterministic. With `random`, the next
/// task is drawn from all that are ready instead of taken in order, so a seed explores
/// interleavings.
class ManualExecutor : public Executor {
 public:
  /// Borrows both. `clock` decides when delayed tasks are due.
  explicit ManualExecutor(Clock* clock, Random* random = nullptr)
      : clock_(clock), random_(random) {}

  bool Submit(Task task) override LAMINA_EXCLUDES(mu_);
  TaskId Delayed(int64_t micros, Task task) override LAMINA_EXCLUDES(mu_);
  bool Cancel(TaskId id) override LAMINA_EXCLUDES(mu_);
  /// Runs all that is ready.
  void Drain() override { RunUntilIdle(); }
  void Shutdown() override LAMINA_EXCLUDES(mu_);

  /// Runs one ready task; false when none is ready.
  bool RunOne() LAMINA_EXCLUDES(mu_);
  /// Runs ready tasks until none is left; returns how many.
  int RunUntilIdle() LAMINA_EXCLUDES(mu_);
  /// Ready tasks (queued, or delayed and due).
  size_t ready_count() LAMINA_EXCLUDES(mu_);
  size_t delayed_count() LAMINA_EXCLUDES(mu_);
  /// Microseconds until the next delayed task is due (0 when one is), or -1 when there is none.
  int64_t MicrosToNextDue() LAMINA_EXCLUDES(mu_);

 private:
  void MoveDueTasks() LAMINA_REQUIRES(mu_);

  Clock* const clock_;
  Random* const random_;
  Mutex mu_;
  std::list<Task> queue_ LAMINA_GUARDED_BY(mu_);
  std::map<std::pair<int64_t, TaskId>, std::list<Task>> delayed_ LAMINA_GUARDED_BY(mu_);
  TaskId next_id_ LAMINA_GUARDED_BY(mu_) = 1;
  bool stopped_ LAMINA_GUARDED_BY(mu_) = false;
};

}  // namespace lamina::base
