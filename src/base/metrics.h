// Counters, gauges, histograms and phase timers. Plain members of what they measure: there is no
// global registry.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/clock.h"

namespace lamina::base {

// All of these use relaxed atomics: they are statistics and order nothing else.

/// Only grows. Thread-safe.
class Counter {
 public:
  void Add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

/// Goes up and down. Thread-safe.
class Gauge {
 public:
  void Set(int64_t v) { value_.store(v, std::memory_order_relaxed); }
  void Add(int64_t n) { value_.fetch_add(n, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

/// A histogram as it was at one moment.
struct HistogramSnapshot {
  uint64_t count = 0;
  uint64_t sum = 0;
  uint64_t min = 0;
  uint64_t max = 0;
  std::vector<uint64_t> buckets;  ///< By Histogram::BucketIndex; empty when count == 0.

  double mean() const {
    return count == 0 ? 0 : static_cast<double>(sum) / static_cast<double>(count);
  }
  /// The value that `fraction` (0 … 1) of the records do not exceed, at most 1/16 too high; 0 when
  /// empty.
  uint64_t Percentile(double fraction) const;
  /// Adds another's records to this one.
  void Merge(const HistogramSnapshot& other);
};

/// Counts values (nanoseconds, bytes, …) in buckets of 1/16 relative width: 16 buckets a power of
/// two. 8 KiB. Thread-safe.
class Histogram {
 public:
  static constexpr int kSubBits = 4;
  static constexpr size_t kBuckets = (64 - kSubBits + 1) << kSubBits;

  void Record(uint64_t value);
  /// Records added meanwhile may be counted in a part of the fields.
  HistogramSnapshot Snapshot() const;

  static size_t BucketIndex(uint64_t value);
  /// The greatest value of a bucket.
  static uint64_t BucketLast(size_t index);

 private:
  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};
  std::atomic<uint64_t> sum_{0};
  std::atomic<uint64_t> min_{~uint64_t{0}};
  std::atomic<uint64_t> max_{0};
};

/// Adds the nanoseconds of its scope to a field. Does nothing when `clock` is null.
class PhaseTimer {
 public:
  PhaseTimer(Clock* clock, int64_t* nanos) : clock_(clock), field_(nanos) { Start(); }
  PhaseTimer(Clock* clock, Counter* nanos) : clock_(clock), counter_(nanos) { Start(); }
  PhaseTimer(Clock* clock, Histogram* nanos) : clock_(clock), histogram_(nanos) { Start(); }
  ~PhaseTimer() { Stop(); }
  PhaseTimer(const PhaseTimer&) = delete;
  PhaseTimer& operator=(const PhaseTimer&) = delete;

  /// Ends the phase early; the destructor then adds nothing. Returns the nanoseconds added.
  int64_t Stop() {
    if (clock_ == nullptr) return 0;
    const int64_t nanos = clock_->MonotonicNanos() - started_;
    clock_ = nullptr;
    if (field_ != nullptr) *field_ += nanos;
    if (counter_ != nullptr) counter_->Add(static_cast<uint64_t>(nanos));
    if (histogram_ != nullptr) histogram_->Record(static_cast<uint64_t>(nanos));
    return nanos;
  }

 private:
  void Start() {
    if (clock_ != nullptr) started_ = clock_->MonotonicNanos();
  }

  Clock* clock_;
  int64_t* field_ = nullptr;
  Counter* counter_ = nullptr;
  Histogram* histogram_ = nullptr;
  int64_t started_ = 0;
};

}  // namespace lamina::base
