#include "sql/statement_limits.h"

#include <algorithm>
#include <utility>

#include <duckdb/storage/buffer_manager.hpp>

namespace lamina::sql {

Deadline::Deadline(base::Executor& timers, int64_t micros, std::function<void()> expire)
    : timers_(timers), state_(std::make_shared<State>()) {
  state_->expire = std::move(expire);
  task_ = timers_.Delayed(micros, [state = state_] {
    base::MutexLock lock(&state->mu);
    if (state->over) return;
    state->expired = true;
    state->expire();
  });
}

Deadline::~Deadline() {
  {
    // Whoever expires it does so with the lock.
    base::MutexLock lock(&state_->mu);
    state_->over = true;
  }
  (void)timers_.Cancel(task_);
}

bool Deadline::expired() const {
  base::MutexLock lock(&state_->mu);
  return state_->expired;
}

MemoryLimits::Limit::Limit(MemoryLimits& limits, uint64_t bytes) : limits_(limits) {
  const uint64_t used = duckdb::BufferManager::GetBufferManager(limits.instance_).GetUsedMemory();
  base::MutexLock lock(&limits_.mu_);
  at_ = limits_.running_.insert(used + std::min(bytes, ~uint64_t{0} - used));
  limits_.Apply();
}

MemoryLimits::Limit::~Limit() {
  base::MutexLock lock(&limits_.mu_);
  limits_.running_.erase(at_);
  limits_.Apply();
}

void MemoryLimits::Apply() {
  uint64_t limit = duckdb::DBConfig::GetConfig(instance_).options.maximum_memory;
  if (!running_.empty()) limit = std::min(limit, *running_.begin());
  try {
    duckdb::BufferManager::GetBufferManager(instance_).SetMemoryLimit(limit);
  } catch (const duckdb::OutOfMemoryException&) {
    // More is in use already than may be. What is asked for from now on is refused, as long as the
    // limit before holds: the statement fails for want of memory a little later.
  }
}

base::Executor& StatementLimits::timers() {
  base::MutexLock lock(&mu_);
  if (timers_ == nullptr) timers_ = std::make_unique<base::ThreadPoolExecutor>(1, "lamina-timer");
  return *timers_;
}

}  // namespace lamina::sql
