#include "engine/memtable.h"

#include <atomic>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/thread.h"
#include "catalog/system_tables.h"
#include "engine/engine_test_tables_internal.h"

namespace lamina::engine {
namespace {

using catalog::HashKey;
using catalog::KeyRange;
using catalog::kKeyValueTable;
using temporal::FactKind;
using testing_tables::PeopleKey;
using testing_tables::PeopleTable;
using testing_tables::PeopleWrite;

void Put(Memtable* memtable, uint64_t commit, const std::string& key, const std::string& value,
         ValidInterval valid = {}) {
  WriteBatch batch;
  batch.AddInline(kKeyValueTable, FactKind::kPut, valid, key, value);
  ASSERT_TRUE(memtable->Apply(batch, {commit}, {static_cast<int64_t>(commit * 10)}).ok());
}

TEST(MemtableTest, ChainsRunFromNewestToOldest) {
  auto memtable = Memtable::Make();
  EXPECT_EQ(memtable->Find(kKeyValueTable), nullptr);
  Put(memtable.get(), 1, "k", "one");
  Put(memtable.get(), 2, "k", "two", {{5}, {9}});
  const TableMemtable* table = memtable->Find(kKeyValueTable);
  ASSERT_NE(table, nullptr);
  const MemFact* fact = table->Find("k", HashKey("k"));
  ASSERT_NE(fact, nullptr);
  EXPECT_EQ(fact->inline_value(), "two");
  EXPECT_EQ(fact->commit.value, 2u);
  EXPECT_EQ(fact->valid, (ValidInterval{{5}, {9}}));
  ASSERT_NE(fact->older, nullptr);
  EXPECT_EQ(fact->older->inline_value(), "one");
  EXPECT_EQ(fact->older->older, nullptr);
  EXPECT_EQ(table->Find("absent", HashKey("absent")), nullptr);
  EXPECT_EQ(table->fact_count(), 2u);
  EXPECT_EQ(table->key_count(), 1u);
  EXPECT_TRUE(table->has_valid_times());
  EXPECT_FALSE(table->has_erases());
}

TEST(MemtableTest, LaterStatementOfACommitComesFirst) {
  auto memtable = Memtable::Make();
  WriteBatch batch;
  batch.AddInline(kKeyValueTable, FactKind::kPut, {}, "k", "first");
  batch.AddInline(kKeyValueTable, FactKind::kErase, {}, "k", {});
  batch.AddInline(kKeyValueTable, FactKind::kPut, {}, "k", "last");
  ASSERT_TRUE(memtable->Apply(batch, {5}, {50}).ok());
  const MemFact* fact = memtable->Find(kKeyValueTable)->Find("k", HashKey("k"));
  EXPECT_EQ(fact->inline_value(), "last");
  EXPECT_EQ(fact->older->kind, FactKind::kErase);
  EXPECT_EQ(fact->older->older->inline_value(), "first");
  EXPECT_TRUE(memtable->Find(kKeyValueTable)->has_erases());
}

TEST(MemtableTest, CommitTimesAnswerBothWays) {
  auto memtable = Memtable::Make();
  EXPECT_EQ(memtable->first_commit().value, 0u);
  EXPECT_EQ(memtable->CommitAt({100}).value, 0u);
  for (uint64_t c = 41; c <= 141; ++c) Put(memtable.get(), c, "k" + std::to_string(c), "v");
  EXPECT_EQ(memtable->first_commit().value, 41u);
  EXPECT_EQ(memtable->last_commit().value, 141u);
  EXPECT_EQ(memtable->last_system().micros, 1410);
  EXPECT_EQ(memtable->TimeOf({77}).micros, 770);
  EXPECT_EQ(memtable->CommitAt({409}).value, 0u);
  EXPECT_EQ(memtable->CommitAt({410}).value, 41u);
  EXPECT_EQ(memtable->CommitAt({779}).value, 77u);
  EXPECT_EQ(memtable->CommitAt(SystemTime::Max()).value, 141u);
}

TEST(MemtableTest, SortedHeadsAgreeWithAnOrderedMap) {
  auto memtable = Memtable::Make();
  base::Random random(3);
  std::map<std::string, std::string> model;
  uint64_t commit = 0;
  for (int round = 0; round < 40; ++round) {
    const int writes = 1 + static_cast<int>(random.Uniform(200));
    for (int i = 0; i < writes; ++i) {
      // Short keys share prefixes and lengths around eight bytes.
      std::string key = random.Bytes(random.Uniform(12));
      for (char& c : key) c = static_cast<char>('a' + (static_cast<unsigned char>(c) % 3));
      const std::string value = std::to_string(commit);
      Put(memtable.get(), ++commit, key, value);
      model[key] = value;
    }
    KeyRange range;
    if (round % 3 == 1) range = KeyRange::Prefix("ab");
    if (round % 3 == 2) range = {"aab", "bc", false};
    std::vector<std::pair<std::string, std::string>> expected;
    for (const auto& [key, value] : model) {
      if (range.Contains(key)) expected.emplace_back(key, value);
    }
    std::vector<std::pair<std::string, std::string>> actual;
    for (const MemFact* fact : memtable->Find(kKeyValueTable)->SortedHeads(range)) {
      actual.emplace_back(fact->key(), fact->inline_value());
    }
    ASSERT_EQ(actual, expected) << "round " << round;
  }
  EXPECT_EQ(memtable->Find(kKeyValueTable)->key_count(), model.size());
  EXPECT_TRUE(memtable->Find(kKeyValueTable)->SortedHeads({"x", "y", false}).empty());
}

TEST(MemtableTest, VisitSinceStopsAtTheCommit) {
  auto memtable = Memtable::Make();
  for (uint64_t c = 1; c <= 50; ++c) Put(memtable.get(), c, "k" + std::to_string(c), "v");
  std::vector<uint64_t> seen;
  memtable->Find(kKeyValueTable)->VisitSince({47}, [&](const MemFact& fact) {
    seen.push_back(fact.commit.value);
    return true;
  });
  EXPECT_EQ(seen, (std::vector<uint64_t>{50, 49, 48}));
  int visits = 0;
  memtable->Find(kKeyValueTable)->VisitSince({0}, [&](const MemFact&) { return ++visits < 5; });
  EXPECT_EQ(visits, 5);
}

TEST(MemtableTest, MaterializesRowsInTheOrderAsked) {
  const auto people = PeopleTable();
  auto memtable = Memtable::Make();
  // One big batch and many single-row ones: the three ways of gathering.
  std::vector<std::pair<int64_t, std::string>> rows;
  for (int64_t i = 0; i < 100; ++i) rows.emplace_back(i, "n" + std::to_string(i));
  uint64_t commit = 0;
  WriteBatch big;
  ASSERT_TRUE(big.Add(PeopleWrite(people, rows)).ok());
  ASSERT_TRUE(memtable->Apply(big, {++commit}, {10}).ok());
  for (int64_t i = 100; i < 140; ++i) {
    WriteBatch batch;
    ASSERT_TRUE(
        batch.Add(PeopleWrite(people, {{i, i % 5 == 0 ? "" : "n" + std::to_string(i)}})).ok());
    ++commit;
    ASSERT_TRUE(memtable->Apply(batch, {commit}, {static_cast<int64_t>(commit * 10)}).ok());
  }
  const TableMemtable* table = memtable->Find(people->id);
  const auto check = [&](const std::vector<int64_t>& ids) {
    std::vector<const MemFact*> facts;
    for (const int64_t id : ids) {
      const std::string key = PeopleKey(people, id);
      facts.push_back(table->Find(key, HashKey(key)));
      ASSERT_NE(facts.back(), nullptr);
    }
    auto batch = table->Materialize(facts, {"name", "id"});
    ASSERT_TRUE(batch.ok()) << batch.status();
    ASSERT_TRUE((*batch)->ValidateFull().ok());
    ASSERT_EQ((*batch)->num_rows(), static_cast<int64_t>(ids.size()));
    const auto& name = static_cast<const arrow::StringArray&>(*(*batch)->column(0));
    const auto& id = static_cast<const arrow::Int64Array&>(*(*batch)->column(1));
    for (size_t i = 0; i < ids.size(); ++i) {
      EXPECT_EQ(id.Value(static_cast<int64_t>(i)), ids[i]);
      const bool null = ids[i] >= 100 && ids[i] % 5 == 0;
      EXPECT_EQ(name.IsNull(static_cast<int64_t>(i)), null);
      if (null) continue;
      EXPECT_EQ(name.GetView(static_cast<int64_t>(i)), "n" + std::to_string(ids[i]));
    }
  };
  check({10, 11, 12});                                                      // consecutive: a slice
  check({50, 3, 3, 99, 0});                                                 // one batch: a gather
  check({5, 6, 120, 7, 8, 9, 1, 2, 3, 4, 10, 11, 12, 13, 14, 15, 16, 17});  // few batches
  check({100, 139, 101, 50, 51, 52, 138});                                  // many small batches
  check({});
  EXPECT_EQ(CodeOf(table->Materialize({}, {"nope"}).status()), ErrorCode::kInvalidArgument);
}

TEST(MemtableTest, InlineTablesHoldInlineFactsHoweverTheyWereWritten) {
  const auto kv = catalog::KeyValueTableSchema();
  arrow::BinaryBuilder keys;
  arrow::BinaryBuilder docs;
  for (const char* key : {"b", "a"}) {
    ASSERT_TRUE(keys.Append(key).ok());
    ASSERT_TRUE(docs.Append(std::string("doc-") + key).ok());
  }
  TableWrite write;
  write.schema = kv;
  write.rows = arrow::RecordBatch::Make(kv->StorageSchema(), 2,
                                        {keys.Finish().ValueOrDie(), docs.Finish().ValueOrDie()});
  write.keys = catalog::KeyCodec(*kv).Encode(*write.rows).ValueOrDie();
  auto memtable = Memtable::Make();
  WriteBatch batch;
  ASSERT_TRUE(batch.Add(std::move(write)).ok());
  batch.AddInline(kKeyValueTable, FactKind::kPut, {}, "c", "doc-c");
  ASSERT_TRUE(memtable->Apply(batch, {1}, {1}).ok());
  const TableMemtable* table = memtable->Find(kKeyValueTable);
  const auto heads = table->SortedHeads(KeyRange::All());
  ASSERT_EQ(heads.size(), 3u);
  EXPECT_EQ(heads[0]->inline_value(), "doc-a");
  EXPECT_EQ(heads[2]->inline_value(), "doc-c");
  auto rows = table->Materialize(heads, {"key", "doc"});
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(static_cast<const arrow::BinaryArray&>(*(*rows)->column(1)).GetView(1), "doc-b");
}

TEST(MemtableTest, ReadersRunBesideTheWriter) {
  auto memtable = Memtable::Make();
  std::atomic<uint64_t> published{0};
  constexpr uint64_t kCommits = 4000;
  std::vector<base::Thread> readers;
  readers.reserve(2);
  for (int r = 0; r < 2; ++r) {
    readers.emplace_back("reader", [&, r] {
      base::Random random(static_cast<uint64_t>(r) + 1);
      uint64_t seen = 0;
      while (seen < kCommits) {
        seen = published.load(std::memory_order_acquire);
        if (seen == 0) continue;
        const TableMemtable* table = memtable->Find(kKeyValueTable);
        ASSERT_NE(table, nullptr);
        ASSERT_EQ(memtable->TimeOf({seen}).micros, static_cast<int64_t>(seen * 10));
        const uint64_t commit = 1 + random.Uniform(seen);
        const std::string key = "key-" + std::to_string(commit % 1000);
        const MemFact* fact = table->Find(key, HashKey(key));
        ASSERT_NE(fact, nullptr);
        while (fact->commit.value > commit) fact = fact->older;
        ASSERT_EQ(fact->commit.value, commit);
        ASSERT_EQ(fact->inline_value(), std::to_string(commit));
        if (random.OneIn(64)) {
          const auto heads = table->SortedHeads(KeyRange::All());
          ASSERT_GE(heads.size(), std::min<uint64_t>(seen, 1000));
          for (size_t i = 1; i < heads.size(); ++i) ASSERT_LT(heads[i - 1]->key(), heads[i]->key());
        }
      }
    });
  }
  for (uint64_t c = 1; c <= kCommits; ++c) {
    Put(memtable.get(), c, "key-" + std::to_string(c % 1000), std::to_string(c));
    published.store(c, std::memory_order_release);
  }
}

}  // namespace
}  // namespace lamina::engine
