#include "base/ulid.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

#include <gtest/gtest.h>

#include "base/thread.h"

namespace lamina::base {
namespace {

TEST(UlidTest, TextRoundTripsAndSortsLikeBytes) {
  Random random(1);
  Ulid previous;
  for (int i = 0; i < 1000; ++i) {
    Ulid ulid;
    random.FillBytes(ulid.bytes.data(), 16);
    const std::string text = ulid.ToString();
    ASSERT_EQ(26u, text.size());
    ASSERT_EQ(ulid, *Ulid::Parse(text));
    EXPECT_EQ(previous < ulid, previous.ToString() < text);
    EXPECT_EQ(ulid, *Ulid::FromBytes(ulid.AsBytes()));
    previous = ulid;
  }
  EXPECT_EQ("00000000000000000000000000", Ulid::Min().ToString());
  EXPECT_EQ("7ZZZZZZZZZZZZZZZZZZZZZZZZZ", Ulid::Max().ToString());
  // The example of the specification.
  EXPECT_EQ(1469922850259, Ulid::Parse("01ARZ3NDEKTSV4RRFFQ69G5FAV")->timestamp_ms());
  EXPECT_EQ(*Ulid::Parse("01ARZ3NDEKTSV4RRFFQ69G5FAV"), *Ulid::Parse("01arz3ndektsv4rrffq69g5fav"));
}

TEST(UlidTest, MalformedTextIsRefused) {
  for (const char* text : {"", "0", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "0000000000000000000000000U",
                           "0000000000000000000000000I", "0000000000000000000000000-",
                           "000000000000000000000000000"}) {
    EXPECT_EQ(ErrorCode::kInvalidArgument, CodeOf(Ulid::Parse(text).status())) << text;
  }
  EXPECT_FALSE(Ulid::FromBytes("short").ok());
}

TEST(UlidGeneratorTest, MintOrderIsSortOrderWhateverTheClockDoes) {
  ManualClock clock(1'000'000'000'000);
  Random random(7);
  UlidGenerator generator(&clock, &random);
  Ulid last;
  for (int i = 0; i < 5000; ++i) {
    const Ulid ulid = generator.Next();
    ASSERT_LT(last, ulid);
    last = ulid;
    if (i % 10 == 0) clock.Advance(700);
    if (i % 1000 == 500) clock.Set(clock.NowMicros() - 60'000'000);
  }
  EXPECT_EQ(last, generator.last());
}

TEST(UlidGeneratorTest, RestoreLiftsAboveAFloorFromTheFuture) {
  ManualClock clock(1'000'000);
  Random random(7);
  UlidGenerator generator(&clock, &random);
  const Ulid floor = *Ulid::Parse("01ARZ3NDEKTSV4RRFFQ69G5FAV");
  generator.Restore(floor);
  const Ulid next = generator.Next();
  EXPECT_GT(next, floor);
  generator.Restore(floor);
  EXPECT_GT(generator.Next(), next);
  // The random part carries into the time.
  Ulid full = floor;
  for (size_t i = 6; i < 16; ++i) full.bytes[i] = 0xff;
  generator.Restore(full);
  EXPECT_GT(generator.Next(), full);
}

TEST(UlidGeneratorTest, ConcurrentMintsAreDistinct) {
  Random random(3);
  UlidGenerator generator(SystemClock(), &random);
  std::vector<std::vector<Ulid>> minted(4);
  {
    std::vector<Thread> threads;
    threads.reserve(minted.size());
    for (auto& mine : minted) {
      threads.emplace_back("mint", [&generator, &mine] {
        for (int i = 0; i < 1000; ++i) mine.push_back(generator.Next());
      });
    }
  }
  std::unordered_set<Ulid> all;
  for (const auto& mine : minted) {
    EXPECT_TRUE(std::is_sorted(mine.begin(), mine.end()));
    all.insert(mine.begin(), mine.end());
  }
  EXPECT_EQ(4000u, all.size());
}

}  // namespace
}  // namespace lamina::base
