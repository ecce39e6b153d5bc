#include "base/metrics.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace lamina::base {

size_t Histogram::BucketIndex(uint64_t value) {
  // Values below 2^kSubBits have a bucket each; above, the top kSubBits bits behind the leading one
  // choose the bucket.
  constexpr uint64_t kSub = uint64_t{1} << kSubBits;
  if (value < kSub) return static_cast<size_t>(value);
  const int exponent = std::bit_width(value) - 1 - kSubBits;  // >= 0
  return (static_cast<size_t>(exponent + 1) << kSubBits) +
         static_cast<size_t>((value >> exponent) - kSub);
}

uint64_t Histogram::BucketLast(size_t index) {
  constexpr uint64_t kSub = uint64_t{1} << kSubBits;
  if (index < kSub) return index;
  const int exponent = static_cast<int>(index >> kSubBits) - 1;
  const uint64_t top = kSub + (index & (kSub - 1));
  return (top << exponent) + ((uint64_t{1} << exponent) - 1);
}

void Histogram::Record(uint64_t value) {
  buckets_[BucketIndex(value)].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
  uint64_t seen = max_.load(std::memory_order_relaxed);
  while (value > seen && !max_.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
  seen = min_.load(std::memory_order_relaxed);
  while (value < seen && !min_.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

HistogramSnapshot Histogram::Snapshot() const {
  HistogramSnapshot out;
  out.buckets.resize(kBuckets);
  for (size_t i = 0; i < kBuckets; ++i) {
    out.buckets[i] = buckets_[i].load(std::memory_order_relaxed);
    out.count += out.buckets[i];
  }
  if (out.count == 0) {
    out.buckets.clear();
    return out;
  }
  out.sum = sum_.load(std::memory_order_relaxed);
  out.min = min_.load(std::memory_order_relaxed);
  out.max = max_.load(std::memory_order_relaxed);
  return out;
}

uint64_t HistogramSnapshot::Percentile(double fraction) const {
  if (count == 0) return 0;
  const double wanted = std::ceil(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(count));
  const uint64_t rank = std::max<uint64_t>(1, static_cast<uint64_t>(wanted));
  uint64_t seen = 0;
  for (size_t i = 0; i < buckets.size(); ++i) {
    seen += buckets[i];
    if (seen >= rank) return std::clamp(Histogram::BucketLast(i), std::min(min, max), max);
  }
  return max;
}

void HistogramSnapshot::Merge(const HistogramSnapshot& other) {
  if (other.count == 0) return;
  if (count == 0) {
    *this = other;
    return;
  }
  for (size_t i = 0; i < buckets.size(); ++i) buckets[i] += other.buckets[i];
  count += other.count;
  sum += other.sum;
  min = std::min(min, other.min);
  max = std::max(max, other.max);
}

}  // namespace lamina::base
