#include "base/metrics.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/trace.h"

namespace lamina::base {
namespace {

TEST(HistogramTest, BucketsCoverEveryValueOnce) {
  for (size_t i = 0; i + 1 < Histogram::kBuckets; ++i) {
    ASSERT_EQ(i, Histogram::BucketIndex(Histogram::BucketLast(i)));
    ASSERT_EQ(i + 1, Histogram::BucketIndex(Histogram::BucketLast(i) + 1));
  }
  EXPECT_EQ(Histogram::kBuckets - 1, Histogram::BucketIndex(~uint64_t{0}));
  EXPECT_EQ(~uint64_t{0}, Histogram::BucketLast(Histogram::kBuckets - 1));
}

TEST(HistogramTest, PercentilesAreAtMostASixteenthTooHigh) {
  Histogram histogram;
  for (uint64_t v = 1; v <= 100'000; ++v) histogram.Record(v);
  const HistogramSnapshot snapshot = histogram.Snapshot();
  EXPECT_EQ(100'000u, snapshot.count);
  EXPECT_EQ(1u, snapshot.min);
  EXPECT_EQ(100'000u, snapshot.max);
  EXPECT_DOUBLE_EQ(50'000.5, snapshot.mean());
  for (const double fraction : {0.01, 0.5, 0.9, 0.99, 1.0}) {
    const double exact = fraction * 100'000;
    const auto got = static_cast<double>(snapshot.Percentile(fraction));
    EXPECT_GE(got, exact);
    EXPECT_LE(got, exact * (1 + 1.0 / 16));
  }
  EXPECT_EQ(1u, snapshot.Percentile(0));
}

TEST(HistogramTest, MergeAddsAndEmptyIsZero) {
  Histogram a;
  Histogram b;
  EXPECT_EQ(0u, a.Snapshot().Percentile(0.5));
  a.Record(10);
  b.Record(1'000);
  HistogramSnapshot merged;
  merged.Merge(a.Snapshot());
  merged.Merge(b.Snapshot());
  merged.Merge(HistogramSnapshot{});
  EXPECT_EQ(2u, merged.count);
  EXPECT_EQ(1'010u, merged.sum);
  EXPECT_EQ(10u, merged.min);
  EXPECT_EQ(1'000u, merged.max);
}

TEST(PhaseTimerTest, AddsItsScopeOnce) {
  ManualClock clock;
  int64_t nanos = 0;
  Counter counter;
  {
    PhaseTimer timer(&clock, &nanos);
    PhaseTimer other(&clock, &counter);
    clock.Advance(5);
    EXPECT_EQ(5'000, timer.Stop());
    clock.Advance(2);
  }
  EXPECT_EQ(5'000, nanos);
  EXPECT_EQ(7'000u, counter.value());
  PhaseTimer off(nullptr, &nanos);
  EXPECT_EQ(0, off.Stop());
}

TEST(RandomTest, SequenceIsFixedByTheSeed) {
  Random a(123);
  Random b(123);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(a.Next64(), b.Next64());
  EXPECT_NE(Random(1).Next64(), Random(2).Next64());
  EXPECT_NE(SeedFromEntropy(), SeedFromEntropy());
}

TEST(RandomTest, UniformStaysInRangeAndReachesEveryValue) {
  Random random(4);
  std::array<int, 7> seen{};
  for (int i = 0; i < 7'000; ++i) ++seen[random.Uniform(7)];
  for (const int count : seen) {
    EXPECT_GT(count, 800);
    EXPECT_LT(count, 1'200);
  }
  EXPECT_EQ(0u, random.Uniform(0));
  EXPECT_EQ(0u, random.Uniform(1));
  EXPECT_EQ(5, random.UniformRange(5, 5));
  (void)random.UniformRange(INT64_MIN, INT64_MAX);
  EXPECT_EQ(13u, random.Bytes(13).size());
}

}  // namespace
}  // namespace lamina::base
