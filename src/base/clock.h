// Time as a dependency: no code below the SQL layer asks the operating system itself, so a test or
// a seed decides what time it is.
#pragma once

#include <atomic>
#include <cstdint>

namespace lamina::base {

/// All calls are thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  /// Wall clock, microseconds since 1970 UTC. May step back.
  virtual int64_t NowMicros() = 0;
  /// Never goes back; origin unspecified. For durations.
  virtual int64_t MonotonicNanos() = 0;
  /// Returns at once when micros <= 0.
  virtual void SleepMicros(int64_t micros) = 0;
};

/// The operating system's clock. Lives for ever.
Clock* SystemClock();

/// A clock that moves only when told. SleepMicros advances it instead of blocking.
class ManualClock : public Clock {
 public:
  /// Starts at 2020-01-01 00:00:00 UTC unless told otherwise.
  explicit ManualClock(int64_t now_micros = 1'577'836'800'000'000) : now_micros_(now_micros) {}

  int64_t NowMicros() override { return now_micros_.load(std::memory_order_acquire); }
  int64_t MonotonicNanos() override { return monotonic_nanos_.load(std::memory_order_acquire); }
  void SleepMicros(int64_t micros) override {
    if (micros > 0) Advance(micros);
  }

  /// Moves both clocks forward.
  void Advance(int64_t micros) {
    now_micros_.fetch_add(micros, std::memory_order_acq_rel);
    monotonic_nanos_.fetch_add(micros * 1000, std::memory_order_acq_rel);
  }
  /// Steps the wall clock, also backwards; the monotonic one stays.
  void Set(int64_t now_micros) { now_micros_.store(now_micros, std::memory_order_release); }

 private:
  std::atomic<int64_t> now_micros_;
  std::atomic<int64_t> monotonic_nanos_{0};
};

}  // namespace lamina::base
