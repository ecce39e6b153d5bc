// A mutex that one thread may hold several times.
#pragma once

#include <atomic>
#include <thread>

#include "base/mutex.h"

namespace lamina::base {

/// A mutex that the thread that holds it may take again. Only where a lock's holder calls code of
/// others that calls back. Clang's analysis knows no such thing: nothing is GUARDED_BY it.
class RecursiveMutex {
 public:
  RecursiveMutex() = default;
  RecursiveMutex(const RecursiveMutex&) = delete;
  RecursiveMutex& operator=(const RecursiveMutex&) = delete;

 private:
  friend class RecursiveLock;
  Mutex mutex_;
  /// relaxed: a thread finds its own id here only if it put it there.
  std::atomic<std::thread::id> holder_{};
};

class RecursiveLock {
 public:
  // Conditional, which the analysis cannot follow.
  explicit RecursiveLock(RecursiveMutex* mutex) LAMINA_NO_THREAD_SAFETY_ANALYSIS
      : mutex_(mutex),
        outermost_(mutex->holder_.load(std::memory_order_relaxed) != std::this_thread::get_id()) {
    if (!outermost_) return;
    mutex_->mutex_.Lock();
    mutex_->holder_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  }
  // As above.
  ~RecursiveLock() LAMINA_NO_THREAD_SAFETY_ANALYSIS {
    if (!outermost_) return;
    mutex_->holder_.store(std::thread::id(), std::memory_order_relaxed);
    mutex_->mutex_.Unlock();
  }
  RecursiveLock(const RecursiveLock&) = delete;
  RecursiveLock& operator=(const RecursiveLock&) = delete;

 private:
  RecursiveMutex* const mutex_;
  const bool outermost_;
};

}  // namespace lamina::base
