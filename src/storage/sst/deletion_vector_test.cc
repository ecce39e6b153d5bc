#include "storage/sst/deletion_vector.h"

#include <chrono>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "base/codec.h"
#include "base/crc32c.h"

namespace lamina::storage::sst {
namespace {

DeletionVectorPtr Make(std::vector<EndedRow> rows, uint64_t row_count) {
  auto made = DeletionVector::Make(std::move(rows), row_count);
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? *made : nullptr;
}

// Ends of one flush come in runs; some rows are rewritten.
std::vector<EndedRow> RandomRows(std::mt19937_64& random, uint64_t row_count, double share) {
  std::vector<EndedRow> rows;
  SystemTime end{1};
  for (uint32_t i = 0; i < row_count; ++i) {
    if (std::uniform_real_distribution<>()(random) < share) {
      if (random() % 4 == 0) {
        end = random() % 5 == 0 ? kRewritten : SystemTime{static_cast<int64_t>(random() >> 8)};
      }
      rows.push_back({i, end});
    }
  }
  return rows;
}

TEST(DeletionVectorTest, AnswersForEveryRow) {
  std::mt19937_64 random(1);
  for (const double share : {0.0, 0.001, 0.1, 0.5, 1.0}) {
    const uint64_t row_count = 1000;
    const std::vector<EndedRow> rows = RandomRows(random, row_count, share);
    std::map<uint64_t, SystemTime> model;
    SystemTime max_ended = SystemTime::Min();
    for (const EndedRow& row : rows) {
      model[row.ordinal] = row.ended_at;
      max_ended = std::max(max_ended, row.ended_at);
    }
    const auto vector = Make(rows, row_count);
    for (uint64_t i = 0; i < row_count; ++i) {
      EXPECT_EQ(vector->IsEnded(i), model.contains(i));
      EXPECT_EQ(vector->EndOf(i), model.contains(i) ? model[i] : SystemTime::Max());
    }
    EXPECT_EQ(vector->max_ended(), max_ended);
    EXPECT_EQ(vector->RowsIn(0, row_count).size(), rows.size());
    EXPECT_EQ(vector->RowsIn(500, 500).size(), 0u);
    EXPECT_EQ(vector->RowsIn(0, 500).size() + vector->RowsIn(500, row_count).size(), rows.size());
  }
}

TEST(DeletionVectorTest, EncodingRoundTrips) {
  std::mt19937_64 random(2);
  for (const uint64_t row_count :
       {uint64_t{1}, uint64_t{64}, uint64_t{65}, uint64_t{70'000}, uint64_t{400'000}}) {
    for (const double share : {0.0, 0.0005, 0.02, 0.3, 1.0}) {
      const auto vector = Make(RandomRows(random, row_count, share), row_count);
      const std::string bytes = vector->Encode();
      const auto decoded = DeletionVector::Decode(bytes, row_count);
      ASSERT_TRUE(decoded.ok()) << decoded.status();
      EXPECT_EQ((*decoded)->rows(), vector->rows());
      EXPECT_EQ((*decoded)->words(), vector->words());
      EXPECT_EQ((*decoded)->max_ended(), vector->max_ended());
    }
  }
}

TEST(DeletionVectorTest, ExtremeEndsRoundTrip) {
  const std::vector<EndedRow> rows = {
      {0, SystemTime{INT64_MAX}}, {1, SystemTime{INT64_MIN + 1}}, {2, kRewritten},
      {3, SystemTime{0}},         {4, SystemTime{INT64_MIN + 1}}, {9, SystemTime{INT64_MAX - 1}}};
  const auto decoded = DeletionVector::Decode(Make(rows, 10)->Encode(), 10);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ((*decoded)->rows(), rows);
}

TEST(DeletionVectorTest, MakeRefusesRowsOutOfOrderOrOutside) {
  for (const std::vector<EndedRow>& rows :
       {std::vector<EndedRow>{{2, SystemTime{1}}, {1, SystemTime{1}}},
        std::vector<EndedRow>{{1, SystemTime{1}}, {1, SystemTime{1}}},
        std::vector<EndedRow>{{10, SystemTime{1}}}}) {
    EXPECT_EQ(CodeOf(DeletionVector::Make(rows, 10).status()), ErrorCode::kInternal);
  }
}

TEST(DeletionVectorTest, WithUnitesAndRewritesEndedRows) {
  const auto vector = Make({{1, SystemTime{10}}, {5, SystemTime{11}}, {7, kRewritten}}, 10);
  const std::vector<EndedRow> more = {
      {0, SystemTime{12}}, {1, kRewritten}, {5, SystemTime{11}}, {9, kRewritten}};
  const auto both = vector->With(more);
  ASSERT_TRUE(both.ok()) << both.status();
  const std::vector<EndedRow> expected = {
      {0, SystemTime{12}}, {1, kRewritten}, {5, SystemTime{11}}, {7, kRewritten}, {9, kRewritten}};
  EXPECT_EQ((*both)->rows(), expected);
  EXPECT_EQ((*both)->max_ended(), SystemTime{12});
  EXPECT_EQ(vector->rows().size(), 3u);  // Unchanged.

  const std::vector<EndedRow> other_end = {{1, SystemTime{99}}};
  EXPECT_EQ(CodeOf(vector->With(other_end).status()), ErrorCode::kInternal);
  const std::vector<EndedRow> after_rewrite = {{7, SystemTime{99}}};
  EXPECT_EQ(CodeOf(vector->With(after_rewrite).status()), ErrorCode::kInternal);
}

TEST(DeletionVectorTest, EveryFlippedBitAndEveryCutIsFound) {
  std::mt19937_64 random(3);
  const auto vector = Make(RandomRows(random, 300, 0.2), 300);
  const std::string bytes = vector->Encode();
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      EXPECT_EQ(CodeOf(DeletionVector::Decode(damaged, 300).status()), ErrorCode::kCorruption) << i;
    }
    EXPECT_EQ(CodeOf(DeletionVector::Decode(std::string_view(bytes).substr(0, i), 300).status()),
              ErrorCode::kCorruption);
  }
  EXPECT_EQ(CodeOf(DeletionVector::Decode(bytes, 301).status()), ErrorCode::kCorruption);
}

// The checksum stops accidents, not a decoder bug: behind a right checksum any bytes must be safe
// and give sorted rows or an error.
TEST(DeletionVectorTest, DamageBehindARightChecksumIsSafe) {
  std::mt19937_64 random(4);
  for (const double share : {0.01, 0.3, 0.9}) {
    const uint64_t row_count = 140'000;
    const std::string bytes = Make(RandomRows(random, row_count, share), row_count)->Encode();
    for (int round = 0; round < 100; ++round) {
      std::string damaged = bytes;
      // Headers and container descriptions are where it hurts.
      const size_t at = random() % (round % 2 == 0 ? std::min<size_t>(damaged.size() - 4, 64)
                                                   : damaged.size() - 4);
      damaged[at] = static_cast<char>(random());
      damaged.resize(damaged.size() - 4);
      base::PutFixed32(&damaged, base::Crc32c(damaged));
      const auto decoded = DeletionVector::Decode(damaged, row_count);
      if (decoded.ok()) {
        EXPECT_LE((*decoded)->rows().size(), row_count);
      } else {
        EXPECT_EQ(CodeOf(decoded.status()), ErrorCode::kCorruption);
      }
    }
  }
}

TEST(DeletionVectorTest, BytesAreAsDocumented) {
  // docs/format/deletion-vector.md, worked example.
  const std::string bytes =
      Make({{1, SystemTime{10}}, {2, SystemTime{10}}, {5, kRewritten}}, 8)->Encode();
  std::string hex;
  for (const char c : bytes) {
    char text[3];
    std::snprintf(text, sizeof(text), "%02x", static_cast<uint8_t>(c));
    hex += text;
  }
  EXPECT_EQ(hex.substr(0, hex.size() - 8),
            "4c4d4456"  // magic "LMDV"
            "0100"
            "0000"              // version, reserved
            "0800000000000000"  // rows of the data file
            "0300000000000000"  // entries
            "16000000"          // bitmap bytes
            "03000000"          // ends bytes
            "3a300000"
            "01000000"
            "0000"
            "0200"
            "10000000"
            "0100"
            "0200"
            "0500"
            "04"
            "14"    // two rows, not rewritten: +10
            "03");  // one row, rewritten
}

TEST(DeletionVectorTest, EndedByHasWhatNoReadAtTheMomentSees) {
  const DeletionVectorPtr all = Make({{1, {10}}, {2, kRewritten}, {5, {20}}, {7, {30}}}, 9);
  EXPECT_EQ(EndedBy(all, {30}).ValueOrDie(), all);
  const auto some = EndedBy(all, {20}).ValueOrDie();
  const std::vector<EndedRow> by20 = {{1, {10}}, {2, kRewritten}, {5, {20}}};
  EXPECT_EQ(some->rows(), by20);
  EXPECT_EQ(some->row_count(), 9u);
  EXPECT_EQ(EndedBy(all, {9}).ValueOrDie()->rows(), std::vector<EndedRow>({{2, kRewritten}}));
  EXPECT_EQ(EndedBy(Make({{1, {10}}}, 9), {9}).ValueOrDie(), nullptr);
}

TEST(DeletionVectorTest, ManyEntriesAreMadeQuickly) {
  std::mt19937_64 random(5);
  const std::vector<EndedRow> rows = RandomRows(random, 1'000'000, 0.1);
  const auto start = std::chrono::steady_clock::now();
  const auto vector = Make(rows, 1'000'000);
  const std::chrono::duration<double, std::milli> made = std::chrono::steady_clock::now() - start;
  const std::string bytes = vector->Encode();
  const std::chrono::duration<double, std::milli> encoded =
      std::chrono::steady_clock::now() - start - made;
  ASSERT_TRUE(DeletionVector::Decode(bytes, 1'000'000).ok());
  const std::chrono::duration<double, std::milli> decoded =
      std::chrono::steady_clock::now() - start - made - encoded;
  RecordProperty("make_ms", std::to_string(made.count()));
  std::printf("%zu entries: make %.2f ms, encode %.2f ms (%zu bytes), decode %.2f ms\n",
              rows.size(), made.count(), encoded.count(), bytes.size(), decoded.count());
}

}  // namespace
}  // namespace lamina::storage::sst
