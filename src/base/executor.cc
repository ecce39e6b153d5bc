#include "base/executor.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "base/check.h"

namespace lamina::base {

namespace {

// Saturating, so that "never" (INT64_MAX) stays never.
int64_t DueNanos(int64_t now_nanos, int64_t micros) {
  if (micros <= 0) return now_nanos;
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  if (micros > (kMax - now_nanos) / 1000) return kMax;
  return now_nanos + micros * 1000;
}

// In a node of its own, to be linked into a queue.
std::list<Executor::Task> OneTask(Executor::Task task) {
  std::list<Executor::Task> node;
  node.push_back(std::move(task));
  return node;
}

template <typename Map>
bool EraseById(Map* delayed, uint64_t id) {
  for (auto it = delayed->begin(); it != delayed->end(); ++it) {
    if (it->first.second == id) {
      delayed->erase(it);
      return true;
    }
  }
  return false;
}

}  // namespace

// ---- ThreadPoolExecutor ----

ThreadPoolExecutor::ThreadPoolExecutor(int threads, const std::string& name) {
  const int count = std::max(threads, 1);
  threads_.reserve(static_cast<size_t>(count));
  try {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back(name + "-" + std::to_string(i), [this] { WorkerLoop(); });
    }
  } catch (...) {
    Shutdown();  // those that run wait for work, and would be joined for ever
    throw;
  }
}

ThreadPoolExecutor::~ThreadPoolExecutor() { Shutdown(); }

bool ThreadPoolExecutor::Submit(Task task) {
  std::list<Task> node = OneTask(std::move(task));
  MutexLock lock(&mu_);
  if (stopping_) return false;
  queue_.splice(queue_.end(), node);
  work_.Signal();
  return true;
}

Executor::TaskId ThreadPoolExecutor::Delayed(int64_t micros, Task task) {
  // Real time whatever the database's clock: workers sleep in the operating system.
  const int64_t due = DueNanos(SystemClock()->MonotonicNanos(), micros);
  std::list<Task> node = OneTask(std::move(task));
  MutexLock lock(&mu_);
  if (stopping_) return 0;
  const TaskId id = next_id_++;
  const auto known = due_.emplace(id, due).first;
  try {
    delayed_.emplace(DelayedKey{due, id}, std::move(node));
  } catch (...) {
    due_.erase(known);
    throw;
  }
  // Whoever wakes goes back to sleep until the new earliest moment.
  if (delayed_.begin()->first.second == id) work_.Signal();
  return id;
}

bool ThreadPoolExecutor::Cancel(TaskId id) {
  std::list<Task> dropped;  // destroyed outside the lock: it may own anything
  MutexLock lock(&mu_);
  const auto it = due_.find(id);
  if (it == due_.end()) return false;
  const auto task = delayed_.find(DelayedKey{it->second, id});
  dropped.swap(task->second);
  delayed_.erase(task);
  due_.erase(it);
  lock.Unlock();
  return true;
}

void ThreadPoolExecutor::Drain() {
  MutexLock lock(&mu_);
  MoveDueTasks();
  while (!queue_.empty() || running_ > 0) idle_.Wait(&mu_);
}

void ThreadPoolExecutor::Shutdown() {
  MutexLock shutdown(&shutdown_mu_);
  std::map<DelayedKey, std::list<Task>> dropped;
  {
    MutexLock lock(&mu_);
    stopping_ = true;
    dropped.swap(delayed_);
    due_.clear();
    work_.SignalAll();
  }
  threads_.clear();  // joins
}

void ThreadPoolExecutor::MoveDueTasks() {
  if (delayed_.empty()) return;
  const int64_t now = SystemClock()->MonotonicNanos();
  while (!delayed_.empty() && delayed_.begin()->first.first <= now) {
    auto it = delayed_.begin();
    due_.erase(it->first.second);
    queue_.splice(queue_.end(), it->second);
    delayed_.erase(it);
    work_.Signal();
  }
}

void ThreadPoolExecutor::WorkerLoop() {
  MutexLock lock(&mu_);
  while (true) {
    MoveDueTasks();
    if (!queue_.empty()) {
      Task task = std::move(queue_.front());
      queue_.pop_front();
      ++running_;
      lock.Unlock();
      task();
      task = nullptr;  // what it owns goes before Drain may return
      lock.Lock();
      --running_;
      if (queue_.empty() && running_ == 0) idle_.SignalAll();
      continue;
    }
    if (stopping_) return;
    if (delayed_.empty()) {
      work_.Wait(&mu_);
    } else {
      const int64_t nanos = delayed_.begin()->first.first - SystemClock()->MonotonicNanos();
      // A day at most: far deadlines overflow the wait's own arithmetic, and waking once a day
      // costs nothing.
      constexpr int64_t kWaitMicrosMax = int64_t{86'400} * 1'000'000;
      work_.WaitForMicros(&mu_, std::clamp<int64_t>(nanos / 1000 + 1, 1, kWaitMicrosMax));
    }
  }
}

// ---- InlineExecutor ----

bool InlineExecutor::Submit(Task task) {
  {
    MutexLock lock(&mu_);
    if (stopped_) return false;
  }
  task();
  return true;
}

Executor::TaskId InlineExecutor::Delayed(int64_t micros, Task task) {
  MutexLock lock(&mu_);
  if (stopped_) return 0;
  const TaskId id = next_id_++;
  delayed_.emplace(std::pair(micros, id), std::move(task));
  return id;
}

bool InlineExecutor::Cancel(TaskId id) {
  MutexLock lock(&mu_);
  return EraseById(&delayed_, id);
}

void InlineExecutor::Shutdown() {
  MutexLock lock(&mu_);
  stopped_ = true;
  delayed_.clear();
}

int InlineExecutor::RunDelayed() {
  std::map<std::pair<int64_t, TaskId>, Task> tasks;
  {
    MutexLock lock(&mu_);
    tasks.swap(delayed_);
  }
  for (auto& [key, task] : tasks) task();
  return static_cast<int>(tasks.size());
}

// ---- ManualExecutor ----

bool ManualExecutor::Submit(Task task) {
  std::list<Task> node = OneTask(std::move(task));
  MutexLock lock(&mu_);
  if (stopped_) return false;
  queue_.splice(queue_.end(), node);
  return true;
}

Executor::TaskId ManualExecutor::Delayed(int64_t micros, Task task) {
  std::list<Task> node = OneTask(std::move(task));
  MutexLock lock(&mu_);
  if (stopped_) return 0;
  const TaskId id = next_id_++;
  delayed_.emplace(std::pair(DueNanos(clock_->MonotonicNanos(), micros), id), std::move(node));
  return id;
}

bool ManualExecutor::Cancel(TaskId id) {
  MutexLock lock(&mu_);
  return EraseById(&delayed_, id);
}

void ManualExecutor::Shutdown() {
  {
    MutexLock lock(&mu_);
    stopped_ = true;
    delayed_.clear();
  }
  RunUntilIdle();
}

bool ManualExecutor::RunOne() {
  Task task;
  {
    MutexLock lock(&mu_);
    MoveDueTasks();
    if (queue_.empty()) return false;
    const size_t index =
        random_ == nullptr ? 0 : static_cast<size_t>(random_->Uniform(queue_.size()));
    const auto taken = std::next(queue_.begin(), static_cast<std::ptrdiff_t>(index));
    task = std::move(*taken);
    queue_.erase(taken);
  }
  task();
  return true;
}

int ManualExecutor::RunUntilIdle() {
  int count = 0;
  while (RunOne()) ++count;
  return count;
}

size_t ManualExecutor::ready_count() {
  MutexLock lock(&mu_);
  MoveDueTasks();
  return queue_.size();
}

size_t ManualExecutor::delayed_count() {
  MutexLock lock(&mu_);
  MoveDueTasks();
  return delayed_.size();
}

int64_t ManualExecutor::MicrosToNextDue() {
  MutexLock lock(&mu_);
  if (delayed_.empty()) return -1;
  const int64_t nanos = delayed_.begin()->first.first - clock_->MonotonicNanos();
  return nanos <= 0 ? 0 : nanos / 1000 + (nanos % 1000 != 0 ? 1 : 0);
}

void ManualExecutor::MoveDueTasks() {
  const int64_t now = clock_->MonotonicNanos();
  while (!delayed_.empty() && delayed_.begin()->first.first <= now) {
    queue_.splice(queue_.end(), delayed_.begin()->second);
    delayed_.erase(delayed_.begin());
  }
}

}  // namespace lamina::base
