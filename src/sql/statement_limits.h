// How long a statement may run and how much memory it may take: query_timeout, query_max_memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>

#include "base/executor.h"
#include "base/mutex.h"
#include "sql/duckdb_api.h"

namespace lamina::sql {

/// Calls `expire` once the time has passed, unless it has ended before: never after it has ended.
class Deadline {
 public:
  /// `timers` outlives it. `expire` runs on a thread of it.
  Deadline(base::Executor& timers, int64_t micros, std::function<void()> expire);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  bool expired() const;

 private:
  struct State {
    base::Mutex mu;
    bool over LAMINA_GUARDED_BY(mu) = false;
    bool expired LAMINA_GUARDED_BY(mu) = false;
    std::function<void()> expire;
  };
  base::Executor& timers_;
  const std::shared_ptr<State> state_;
  base::Executor::TaskId task_ = 0;
};

/// The memory of one instance's statements. DuckDB counts the instance's alone: so while a
/// statement with a limit runs, the instance may take so much more than it had when that began.
class MemoryLimits {
 public:
  explicit MemoryLimits(duckdb::DatabaseInstance& instance) : instance_(instance) {}

  /// Of one statement, from its beginning to its end.
  class Limit {
   public:
    Limit(MemoryLimits& limits, uint64_t bytes);
    ~Limit();
    Limit(const Limit&) = delete;
    Limit& operator=(const Limit&) = delete;

   private:
    MemoryLimits& limits_;
    std::multiset<uint64_t>::iterator at_;
  };

 private:
  void Apply() LAMINA_REQUIRES(mu_);

  duckdb::DatabaseInstance& instance_;
  base::Mutex mu_;
  std::multiset<uint64_t> running_ LAMINA_GUARDED_BY(mu_);
};

/// What sessions of one instance share for it. Thread-safe.
class StatementLimits {
 public:
  explicit StatementLimits(duckdb::DatabaseInstance& instance) : memory_(instance) {}

  base::Executor& timers();
  MemoryLimits& memory() { return memory_; }

 private:
  MemoryLimits memory_;
  base::Mutex mu_;
  std::unique_ptr<base::ThreadPoolExecutor> timers_ LAMINA_GUARDED_BY(mu_);
};

/// Of a statement that runs.
struct LimitsOfStatement {
  std::optional<Deadline> deadline;
  std::optional<MemoryLimits::Limit> memory;

  bool expired() const { return deadline.has_value() && deadline->expired(); }
};

}  // namespace lamina::sql
