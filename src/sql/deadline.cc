#include "sql/deadline.h"

#include <algorithm>
#include <limits>

#include "base/clock.h"

namespace lamina::sql {
namespace {

constexpr int64_t kAgainNanos = 10'000'000;
// Ten days: no thread has to be woken for what lies further away.
constexpr int64_t kNapMicrosMax = int64_t{10} * 86'400 * 1'000'000;

int64_t Now() { return base::SystemClock()->MonotonicNanos(); }

}  // namespace

Deadlines::~Deadlines() {
  base::Thread thread;
  {
    base::MutexLock lock(&mu_);
    stopping_ = true;
    thread = std::move(thread_);
    changed_.SignalAll();
  }
  thread.Join();
}

std::unique_ptr<Deadline> Deadlines::Begin(int64_t micros, std::function<void()> expire) {
  std::unique_ptr<Deadline> out(new Deadline(this, std::move(expire)));
  const int64_t now = Now();
  base::MutexLock lock(&mu_);
  out->due_nanos_ =
      micros > (std::numeric_limits<int64_t>::max() - now) / 1000 ? now : now + micros * 1000;
  if (out->due_nanos_ == now && micros > 0) out->due_nanos_ = std::numeric_limits<int64_t>::max();
  const auto at = waiting_.emplace(out->due_nanos_, out.get()).first;
  if (!thread_.joinable()) thread_ = base::Thread("lamina-timeout", [this] { Loop(); });
  if (at == waiting_.begin()) changed_.Signal();
  return out;
}

void Deadlines::End(Deadline* deadline) {
  // `expire` runs under the mutex: after this it is neither running nor will it run.
  base::MutexLock lock(&mu_);
  waiting_.erase({deadline->due_nanos_, deadline});
}

void Deadlines::Loop() {
  base::MutexLock lock(&mu_);
  while (!stopping_) {
    if (waiting_.empty()) {
      changed_.Wait(&mu_);
      continue;
    }
    Deadline* const first = waiting_.begin()->second;
    const int64_t now = Now();
    if (first->due_nanos_ > now) {
      const int64_t micros = (first->due_nanos_ - now) / 1000 + 1;
      (void)changed_.WaitForMicros(&mu_, std::min(micros, kNapMicrosMax));
      continue;
    }
    waiting_.erase(waiting_.begin());
    first->passed_.store(true, std::memory_order_release);
    first->expire_();
    first->due_nanos_ = now + kAgainNanos;
    waiting_.emplace(first->due_nanos_, first);
  }
}

}  // namespace lamina::sql
