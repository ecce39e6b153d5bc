#include "storage/sst/key_index.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>
#include <parquet/bloom_filter.h>

#include "base/codec.h"
#include "base/crc32c.h"

namespace lamina::storage::sst {
namespace {

Result<KeyIndex> Decode(std::string bytes) {
  return KeyIndex::Decode(arrow::Buffer::FromString(std::move(bytes)));
}

TEST(BloomFilterTest, IsParquetsFilterWhereParquetHasOne) {
  std::mt19937_64 random(1);
  std::vector<uint64_t> hashes(1000);
  std::generate(hashes.begin(), hashes.end(), std::ref(random));
  const std::string bits = BuildBloomFilter(hashes, 8.0 * 1024 / 1000);  // 1 KiB: a power of two.
  ASSERT_EQ(bits.size(), 1024u);
  parquet::BlockSplitBloomFilter parquet;
  parquet.Init(reinterpret_cast<const uint8_t*>(bits.data()), 1024);
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t hash = i < 1000 ? hashes[static_cast<size_t>(i)] : random();
    EXPECT_EQ(BloomMayContain(bits, hash), parquet.FindHash(hash));
  }
}

TEST(BloomFilterTest, HasNoFalseNegativesAndFewFalsePositives) {
  std::mt19937_64 random(2);
  for (const size_t count : {size_t{1}, size_t{10}, size_t{333}, size_t{5000}, size_t{100'000}}) {
    std::vector<uint64_t> hashes(count);
    std::generate(hashes.begin(), hashes.end(), std::ref(random));
    const std::string bits = BuildBloomFilter(hashes, 10);
    for (const uint64_t hash : hashes) {
      ASSERT_TRUE(BloomMayContain(bits, hash));
    }
    int positives = 0;
    for (int i = 0; i < 100'000; ++i) {
      positives += BloomMayContain(bits, random()) ? 1 : 0;
    }
    EXPECT_LE(positives, 2000) << count;
  }
  EXPECT_TRUE(BloomMayContain("", 7));
}

TEST(KeyIndexTest, FindsThePagesOfAKey) {
  // Key "d" fills pages 3 and 4 and may begin at the end of page 2.
  const std::vector<std::string> first_keys = {"b", "c", "ca", "d", "d", "e"};
  const auto index = Decode(KeyIndex::Encode(16, first_keys, ""));
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_EQ(index->rows_per_page(), 16u);
  ASSERT_EQ(index->page_count(), 6u);
  EXPECT_EQ(index->first_key(2), "ca");
  using Pages = std::pair<uint32_t, uint32_t>;
  EXPECT_EQ(index->PagesOf("a"), Pages(0, 0));
  EXPECT_EQ(index->PagesOf("b"), Pages(0, 1));
  EXPECT_EQ(index->PagesOf("bb"), Pages(0, 1));
  EXPECT_EQ(index->PagesOf("c"), Pages(0, 2));
  EXPECT_EQ(index->PagesOf("d"), Pages(2, 5));
  EXPECT_EQ(index->PagesOf("z"), Pages(5, 6));
  EXPECT_EQ(index->PagesBelow(""), 0u);
  EXPECT_EQ(index->PagesBelow("d"), 3u);
  EXPECT_EQ(index->PagesBelow(std::string("d\0", 2)), 5u);
}

TEST(KeyIndexTest, EveryFlippedBitAndEveryCutIsFound) {
  const std::vector<uint64_t> hashes = {1, 2, 3};
  const std::string bytes =
      KeyIndex::Encode(16, {"", "a", std::string("a\0", 2), "zz"}, BuildBloomFilter(hashes, 10));
  ASSERT_TRUE(Decode(bytes).ok());
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      EXPECT_EQ(CodeOf(Decode(damaged).status()), ErrorCode::kCorruption) << i;
    }
    EXPECT_EQ(CodeOf(Decode(bytes.substr(0, i)).status()), ErrorCode::kCorruption);
  }
}

TEST(KeyIndexTest, DamageBehindARightChecksumIsSafe) {
  std::mt19937_64 random(3);
  const std::string bytes = KeyIndex::Encode(16, {"a", "b", "c", "ddddddddd"},
                                             BuildBloomFilter(std::vector<uint64_t>{1}, 10));
  for (int round = 0; round < 20'000; ++round) {
    std::string damaged = bytes.substr(0, bytes.size() - 4);
    for (int i = 0; i < 1 + round % 3; ++i) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    base::PutFixed32(&damaged, base::Crc32c(damaged));
    const auto index = Decode(damaged);
    if (index.ok()) {
      for (uint32_t page = 0; page < index->page_count(); ++page) {
        EXPECT_LE(index->first_key(page).size(), bytes.size());
      }
      EXPECT_LE(index->PagesOf("c").second, index->page_count());
      static_cast<void>(index->MayContain(random()));
    } else {
      EXPECT_EQ(CodeOf(index.status()), ErrorCode::kCorruption);
    }
  }
}

}  // namespace
}  // namespace lamina::storage::sst
