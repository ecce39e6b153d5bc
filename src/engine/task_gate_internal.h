// Lets tasks that wait on an executor outlive the engine they belong to.
#pragma once

#include "base/mutex.h"

namespace lamina::engine {

/// A task enters before it touches the engine and does nothing when the gate is closed.
/// Thread-safe.
class TaskGate {
 public:
  bool Enter() LAMINA_EXCLUDES(mu_) {
    base::MutexLock lock(&mu_);
    if (closed_) return false;
    ++inside_;
    return true;
  }
  void Leave() LAMINA_EXCLUDES(mu_) {
    base::MutexLock lock(&mu_);
    if (--inside_ == 0) empty_.SignalAll();
  }
  /// Lets nobody in any more and waits for those inside. Not to be called from inside.
  void Close() LAMINA_EXCLUDES(mu_) {
    base::MutexLock lock(&mu_);
    closed_ = true;
    while (inside_ > 0) empty_.Wait(&mu_);
  }

 private:
  base::Mutex mu_;
  base::CondVar empty_;
  int inside_ LAMINA_GUARDED_BY(mu_) = 0;
  bool closed_ LAMINA_GUARDED_BY(mu_) = false;
};

}  // namespace lamina::engine
