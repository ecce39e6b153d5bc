// When statements have to end: one thread of the database ends those that run longer than
// query_timeout.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <utility>

#include "base/mutex.h"
#include "base/thread.h"

namespace lamina::sql {

class Deadline;

/// Thread-safe. The thread begins with the first deadline.
class Deadlines {
 public:
  Deadlines() = default;
  ~Deadlines();
  Deadlines(const Deadlines&) = delete;
  Deadlines& operator=(const Deadlines&) = delete;

  /// From `micros` from now on `expire` is called, on a thread of ours, again and again (DuckDB
  /// forgets an interrupt that comes while it prepares a query) until the deadline is
  /// ended or destroyed, and never after that. It must not wait. The deadline must not outlive
  /// this.
  std::unique_ptr<Deadline> Begin(int64_t micros, std::function<void()> expire);

 private:
  friend class Deadline;

  void Loop();
  void End(Deadline* deadline);

  base::Mutex mu_;
  base::CondVar changed_;
  /// By when they are due next, in monotonic nanoseconds.
  std::set<std::pair<int64_t, Deadline*>> waiting_ LAMINA_GUARDED_BY(mu_);
  bool stopping_ LAMINA_GUARDED_BY(mu_) = false;
  base::Thread thread_ LAMINA_GUARDED_BY(mu_);
};

/// Of one statement: from Begin to the end of this.
class Deadline {
 public:
  ~Deadline() { End(); }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  /// From here on `expire` is not called any more.
  void End() { owner_->End(this); }
  bool passed() const { return passed_.load(std::memory_order_acquire); }

 private:
  friend class Deadlines;
  Deadline(Deadlines* owner, std::function<void()> expire)
      : owner_(owner), expire_(std::move(expire)) {}

  Deadlines* const owner_;
  const std::function<void()> expire_;
  int64_t due_nanos_ = 0;  // under the owner's mu_
  std::atomic<bool> passed_{false};
};

}  // namespace lamina::sql
