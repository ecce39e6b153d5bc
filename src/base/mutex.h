// Mutexes that clang's thread-safety analysis understands; plain std ones otherwise.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <shared_mutex>

#include "base/schedule_hook.h"

#if defined(__clang__)
#define LAMINA_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define LAMINA_THREAD_ATTRIBUTE(x)
#endif

#define LAMINA_CAPABILITY(x) LAMINA_THREAD_ATTRIBUTE(capability(x))
#define LAMINA_SCOPED_CAPABILITY LAMINA_THREAD_ATTRIBUTE(scoped_lockable)
/// The member may be touched only with the mutex held.
#define LAMINA_GUARDED_BY(x) LAMINA_THREAD_ATTRIBUTE(guarded_by(x))
/// What the pointer points to may be touched only with the mutex held.
#define LAMINA_PT_GUARDED_BY(x) LAMINA_THREAD_ATTRIBUTE(pt_guarded_by(x))
/// The caller holds the mutex.
#define LAMINA_REQUIRES(...) LAMINA_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define LAMINA_REQUIRES_SHARED(...) LAMINA_THREAD_ATTRIBUTE(requires_shared_capability(__VA_ARGS__))
/// The caller does not hold the mutex.
#define LAMINA_EXCLUDES(...) LAMINA_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define LAMINA_ACQUIRE(...) LAMINA_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define LAMINA_ACQUIRE_SHARED(...) LAMINA_THREAD_ATTRIBUTE(acquire_shared_capability(__VA_ARGS__))
#define LAMINA_RELEASE(...) LAMINA_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define LAMINA_RELEASE_SHARED(...) LAMINA_THREAD_ATTRIBUTE(release_shared_capability(__VA_ARGS__))
#define LAMINA_RELEASE_GENERIC(...) LAMINA_THREAD_ATTRIBUTE(release_generic_capability(__VA_ARGS__))
#define LAMINA_TRY_ACQUIRE(...) LAMINA_THREAD_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
#define LAMINA_ACQUIRED_BEFORE(...) LAMINA_THREAD_ATTRIBUTE(acquired_before(__VA_ARGS__))
#define LAMINA_ACQUIRED_AFTER(...) LAMINA_THREAD_ATTRIBUTE(acquired_after(__VA_ARGS__))
#define LAMINA_RETURN_CAPABILITY(x) LAMINA_THREAD_ATTRIBUTE(lock_returned(x))
/// With the reason on the line above.
#define LAMINA_NO_THREAD_SAFETY_ANALYSIS LAMINA_THREAD_ATTRIBUTE(no_thread_safety_analysis)

namespace lamina::base {

class CondVar;

class LAMINA_CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() LAMINA_ACQUIRE() {
    if (ScheduleHook* hook = CurrentScheduleHook()) return LockUnder(hook);
    mutex_.lock();
  }
  void Unlock() LAMINA_RELEASE() {
    if (ScheduleHook* hook = CurrentScheduleHook()) return UnlockUnder(hook);
    mutex_.unlock();
  }
  bool TryLock() LAMINA_TRY_ACQUIRE(true) {
    if (ScheduleHook* hook = CurrentScheduleHook()) return TryLockUnder(hook);
    return mutex_.try_lock();
  }

 private:
  friend class CondVar;
  void LockUnder(ScheduleHook* hook);
  void UnlockUnder(ScheduleHook* hook);
  bool TryLockUnder(ScheduleHook* hook);
  void TakeUnder(ScheduleHook* hook);
  std::mutex mutex_;
};

/// Holds `mutex` for its scope; can let go early or for a while.
class LAMINA_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) LAMINA_ACQUIRE(mutex) : mutex_(mutex) { mutex_->Lock(); }
  ~MutexLock() LAMINA_RELEASE() {
    if (held_) mutex_->Unlock();
  }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void Unlock() LAMINA_RELEASE() {
    held_ = false;
    mutex_->Unlock();
  }
  void Lock() LAMINA_ACQUIRE() {
    mutex_->Lock();
    held_ = true;
  }

 private:
  Mutex* const mutex_;
  bool held_ = true;
};

class LAMINA_CAPABILITY("shared_mutex") SharedMutex {
 public:
  SharedMutex() = default;
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;

  void Lock() LAMINA_ACQUIRE() {
    if (ScheduleHook* hook = CurrentScheduleHook()) return LockUnder(hook);
    mutex_.lock();
  }
  void Unlock() LAMINA_RELEASE() {
    if (ScheduleHook* hook = CurrentScheduleHook()) return UnlockUnder(hook);
    mutex_.unlock();
  }
  void LockShared() LAMINA_ACQUIRE_SHARED() {
    if (ScheduleHook* hook = CurrentScheduleHook()) return LockSharedUnder(hook);
    mutex_.lock_shared();
  }
  void UnlockShared() LAMINA_RELEASE_SHARED() {
    if (ScheduleHook* hook = CurrentScheduleHook()) return UnlockSharedUnder(hook);
    mutex_.unlock_shared();
  }

 private:
  void LockUnder(ScheduleHook* hook);
  void UnlockUnder(ScheduleHook* hook);
  void LockSharedUnder(ScheduleHook* hook);
  void UnlockSharedUnder(ScheduleHook* hook);
  std::shared_mutex mutex_;
};

class LAMINA_SCOPED_CAPABILITY WriterLock {
 public:
  explicit WriterLock(SharedMutex* mutex) LAMINA_ACQUIRE(mutex) : mutex_(mutex) { mutex_->Lock(); }
  ~WriterLock() LAMINA_RELEASE() { mutex_->Unlock(); }
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

 private:
  SharedMutex* const mutex_;
};

class LAMINA_SCOPED_CAPABILITY ReaderLock {
 public:
  explicit ReaderLock(SharedMutex* mutex) LAMINA_ACQUIRE_SHARED(mutex) : mutex_(mutex) {
    mutex_->LockShared();
  }
  ~ReaderLock() LAMINA_RELEASE_GENERIC() { mutex_->UnlockShared(); }
  ReaderLock(const ReaderLock&) = delete;
  ReaderLock& operator=(const ReaderLock&) = delete;

 private:
  SharedMutex* const mutex_;
};

/// Waits may wake without a signal: call them in a loop that tests the condition.
class CondVar {
 public:
  CondVar() = default;
  CondVar(const CondVar&) = delete;
  CondVar& operator=(const CondVar&) = delete;

  /// Lets go of `mutex` while waiting; holds it again on return.
  void Wait(Mutex* mutex) LAMINA_REQUIRES(mutex) {
    if (ScheduleHook* hook = CurrentScheduleHook()) {
      WaitUnder(hook, mutex, -1);
      return;
    }
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  /// False when `micros` passed (of the system's clock, not an injected one) before a signal came.
  bool WaitForMicros(Mutex* mutex, int64_t micros) LAMINA_REQUIRES(mutex) {
    if (ScheduleHook* hook = CurrentScheduleHook()) {
      return WaitUnder(hook, mutex, micros < 0 ? 0 : micros);
    }
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    // An absolute system_clock-free wait: libstdc++ maps steady_clock to pthread_cond_clockwait.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::microseconds(micros);
    const bool signalled = condition_.wait_until(lock, deadline) == std::cv_status::no_timeout;
    lock.release();
    return signalled;
  }
  void Signal() {
    if (ScheduleHook* hook = CurrentScheduleHook()) return NotifyUnder(hook, /*all=*/false);
    condition_.notify_one();
  }
  void SignalAll() {
    if (ScheduleHook* hook = CurrentScheduleHook()) return NotifyUnder(hook, /*all=*/true);
    condition_.notify_all();
  }

 private:
  bool WaitUnder(ScheduleHook* hook, Mutex* mutex, int64_t micros);
  void NotifyUnder(ScheduleHook* hook, bool all);
  std::condition_variable condition_;
};

}  // namespace lamina::base
