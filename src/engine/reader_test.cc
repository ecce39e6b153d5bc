#include "engine/reader.h"

#include <gtest/gtest.h>

#include "engine/reader_test_support.h"

namespace lamina::engine {
namespace {

using reader_testing::TestRow;
using reader_testing::Text;
using reader_testing::World;
using storage::FileKind;
using temporal::FactKind;
using temporal::Window;

constexpr ValidInterval kAlways{};

SystemInterval Since(int64_t from) { return {{from}, SystemTime::Max()}; }

// Rows with ids first, first + step, … named "n<id>", known since commit 1.
std::vector<TestRow> Rows(int64_t count, int64_t first = 0, int64_t step = 1,
                          const std::string& prefix = "n", uint64_t commit = 1) {
  std::vector<TestRow> rows;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t id = first + i * step;
    rows.push_back({id, prefix + std::to_string(id), kAlways,
                    Since(static_cast<int64_t>(commit) * 10), commit});
  }
  return rows;
}

std::shared_ptr<Memtable> Facts(const World& world, uint64_t commit,
                                const std::vector<TestRow>& rows, FactKind kind = FactKind::kPut,
                                std::shared_ptr<Memtable> into = nullptr) {
  auto memtable = into != nullptr ? std::move(into) : Memtable::Make();
  WriteBatch batch;
  for (const TestRow& row : rows) EXPECT_TRUE(batch.Add(world.Write(row, kind)).ok());
  EXPECT_TRUE(memtable->Apply(batch, {commit}, {static_cast<int64_t>(commit) * 10}).ok());
  return memtable;
}

std::vector<std::string> Names(const std::vector<TestRow>& rows) {
  std::vector<std::string> names;
  names.reserve(rows.size());
  for (const TestRow& row : rows) names.push_back(row.name);
  return names;
}

ScanSpec Latest(const World& world, const SnapshotPtr& snapshot,
                std::vector<std::string> columns = {"id", "name"}) {
  ScanSpec spec;
  spec.table = world.table;
  spec.columns = std::move(columns);
  spec.window = Window::At(snapshot->system(), snapshot->now());
  return spec;
}

catalog::PredicatePtr Bind(const World& world, const ExprPtr& expr) {
  auto bound = catalog::Predicate::Bind(expr, *world.table);
  EXPECT_TRUE(bound.ok()) << bound.status().ToString();
  return bound.ok() ? *bound : nullptr;
}

TEST(ReaderScanTest, NullIsNeitherTrueNorFalse) {
  World world;
  std::vector<TestRow> rows = Rows(4);
  rows[1].name = "";
  world.AddFile(FileKind::kCurrent, 0, rows);
  const auto snapshot = world.MakeSnapshot(1);
  const auto ids = [&](const ExprPtr& expr) {
    ScanSpec spec = Latest(world, snapshot);
    spec.predicate = Bind(world, expr);
    std::vector<int64_t> found;
    for (const TestRow& row : world.Scan(snapshot, spec)) found.push_back(row.id);
    return found;
  };
  using Ids = std::vector<int64_t>;
  EXPECT_EQ(ids(Eq("name", Lit("n2"))), (Ids{2}));
  EXPECT_EQ(ids(Not(Eq("name", Lit("n2")))), (Ids{0, 3}));
  EXPECT_EQ(ids(Or({Eq("name", Lit("n2")), Eq("id", Lit(1))})), (Ids{1, 2}));
  EXPECT_EQ(ids(And({Eq("name", Lit("n2")), Eq("id", Lit(1))})), (Ids{}));
  EXPECT_EQ(ids(IsNull("name")), (Ids{1}));
  EXPECT_EQ(ids(IsNotNull("name")), (Ids{0, 2, 3}));
  EXPECT_EQ(ids(In("name", {Lit("n0"), Lit("n3")})), (Ids{0, 3}));
  EXPECT_EQ(ids(StartsWith("name", "n")), (Ids{0, 2, 3}));
  EXPECT_EQ(ids(Between("id", Lit(1), Lit(2))), (Ids{1, 2}));
}

TEST(ReaderScanTest, UnknownColumnIsNamed) {
  World world;
  const auto snapshot = world.MakeSnapshot(1);
  const auto stream =
      world.reader.Scan(snapshot, Latest(world, snapshot, {"id", "colour"}), nullptr);
  ASSERT_FALSE(stream.ok());
  EXPECT_EQ(CodeOf(stream.status()), ErrorCode::kInvalidArgument);
  EXPECT_NE(stream.status().ToString().find("column=colour"), std::string::npos);
  const PointSpec point{world.table, "k", Window::At({1}, {1}), {"colour"}};
  EXPECT_EQ(CodeOf(world.reader.Get(*snapshot, point, nullptr, nullptr).status()),
            ErrorCode::kInvalidArgument);
}

TEST(ReaderScanTest, ProjectionReadsFewerBytes) {
  uint64_t bytes[2];
  for (const bool all : {false, true}) {
    World world(64);
    world.AddFile(FileKind::kCurrent, 0, Rows(4096));
    const auto snapshot = world.MakeSnapshot(1);
    ScanProfile profile;
    const auto columns =
        all ? std::vector<std::string>{"id", "name", "score"} : std::vector<std::string>{"id"};
    EXPECT_EQ(world.Scan(snapshot, Latest(world, snapshot, columns), nullptr, &profile).size(),
              4096u);
    bytes[all] = profile.io.bytes_read;
  }
  EXPECT_LT(bytes[0], bytes[1]);
}

TEST(ReaderScanTest, FilterColumnNeedNotBeShown) {
  World world;
  world.AddFile(FileKind::kCurrent, 0, Rows(10));
  const auto snapshot = world.MakeSnapshot({2}, {20}, {1}, {10}, {}, Facts(world, 2, Rows(1, 20)));
  ScanSpec spec = Latest(world, snapshot, {"name"});
  spec.predicate = Bind(world, Gt("score", Lit(71.0)));
  auto stream = world.reader.Scan(snapshot, spec, nullptr).ValueOrDie();
  ASSERT_OK_TO(const auto batch, stream->Next());
  EXPECT_EQ(batch->num_columns(), 1);
  EXPECT_EQ(Names(World::ToRows(*batch)), (std::vector<std::string>{"n7", "n8", "n9", "n20"}));
}

TEST(ReaderScanTest, LimitStopsAfterThePagesItNeeds) {
  World world(4);
  world.AddFile(FileKind::kCurrent, 0, Rows(400));
  const auto snapshot = world.MakeSnapshot(1);
  ScanSpec spec = Latest(world, snapshot);
  spec.limit = 1;
  ScanProfile profile;
  EXPECT_EQ(Names(world.Scan(snapshot, spec, nullptr, &profile)), (std::vector<std::string>{"n0"}));
  EXPECT_EQ(profile.io.pages_read, 2u);  // One page of each column.
  EXPECT_LE(profile.io.requests, 4u);
  EXPECT_EQ(profile.rows_scanned, 4u);
  spec.keys.from = world.Key(201);
  EXPECT_EQ(Names(world.Scan(snapshot, spec, nullptr, &profile)),
            (std::vector<std::string>{"n201"}));
  EXPECT_LE(profile.rows_scanned, 4u);
}

TEST(ReaderScanTest, LimitCountsRowsThatPass) {
  World world(4);
  world.AddFile(FileKind::kCurrent, 0, Rows(100));
  const auto snapshot = world.MakeSnapshot(1);
  ScanSpec spec = Latest(world, snapshot);
  spec.limit = 3;
  spec.predicate = Bind(world, In("name", {Lit("n10"), Lit("n50"), Lit("n90"), Lit("n95")}));
  EXPECT_EQ(Names(world.Scan(snapshot, spec)), (std::vector<std::string>{"n10", "n50", "n90"}));
  spec.limit = 0;
  EXPECT_TRUE(world.Scan(snapshot, spec).empty());
}

TEST(ReaderScanTest, StreamMayBeDroppedEarly) {
  World world(4);
  world.AddFile(FileKind::kCurrent, 0, Rows(400));
  auto snapshot = world.MakeSnapshot(1);
  ScanSpec spec = Latest(world, snapshot);
  spec.batch_rows = 4;
  auto stream = world.reader.Scan(std::move(snapshot), spec, nullptr).ValueOrDie();
  ASSERT_OK_TO(const auto batch, stream->Next());
  EXPECT_EQ(batch->num_rows(), 4);
  EXPECT_LT(stream->profile().rows_scanned, 400u);
}

TEST(ReaderScanTest, KeyInFourPlacesGivesItsNewestRowOnce) {
  World world;
  world.AddFile(FileKind::kCurrent, 1,
                {{1, "deep", kAlways, {{10}, {20}}, 1}, {5, "five", kAlways, Since(10), 1}});
  world.AddFile(FileKind::kCurrent, 0,
                {{1, "flushed", kAlways, Since(20), 2}, {7, "seven", kAlways, Since(20), 2}});
  const auto sealed =
      Facts(world, 3, {{1, "sealed", kAlways, {}, 0}, {3, "three", kAlways, {}, 0}});
  const auto active = Facts(world, 4, {{1, "active", kAlways, {}, 0}});
  const auto own = Facts(world, 5, {{1, "own", kAlways, {}, 0}});
  const auto snapshot = world.MakeSnapshot({4}, {40}, {2}, {20}, {sealed}, active);
  ScanSpec spec = Latest(world, snapshot);
  EXPECT_EQ(Names(world.Scan(snapshot, spec)),
            (std::vector<std::string>{"active", "three", "five", "seven"}));
  spec.window = Window::At({50}, {0});
  EXPECT_EQ(Names(world.Scan(snapshot, spec, own)),
            (std::vector<std::string>{"own", "three", "five", "seven"}));
  spec.window = Window::At({15}, {0});
  EXPECT_EQ(Names(world.Scan(snapshot, spec)), (std::vector<std::string>{"deep", "five"}));
  spec.window = Window::At({25}, {0});
  EXPECT_EQ(Names(world.Scan(snapshot, spec)),
            (std::vector<std::string>{"flushed", "five", "seven"}));
}

TEST(ReaderScanTest, CommitsAfterTheSnapshotAreNotSeen) {
  World world;
  world.AddFile(FileKind::kCurrent, 0, Rows(2));
  const auto active = Facts(world, 2, {{0, "later", kAlways, {}, 0}});
  Facts(world, 2 + 1, {{1, "", kAlways, {}, 0}}, FactKind::kErase, active);
  const auto snapshot = world.MakeSnapshot({1}, {10}, {1}, {10}, {}, active);
  EXPECT_EQ(Names(world.Scan(snapshot, Latest(world, snapshot))),
            (std::vector<std::string>{"n0", "n1"}));
}

TEST(ReaderScanTest, RowsOfInterleavedFilesComeInKeyOrder) {
  World world(8);
  world.AddFile(FileKind::kCurrent, 1, Rows(200, 0, 3, "a"));
  world.AddFile(FileKind::kCurrent, 0, Rows(200, 1, 3, "b"));
  world.AddFile(FileKind::kCurrent, 0, Rows(100, 302, 3, "c"));
  const auto snapshot =
      world.MakeSnapshot({2}, {20}, {1}, {10}, {}, Facts(world, 2, Rows(100, 2, 3, "m")));
  const auto rows = world.Scan(snapshot, Latest(world, snapshot));
  ASSERT_EQ(rows.size(), 600u);
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i].id, static_cast<int64_t>(i));
}

TEST(ReaderScanTest, ProfileCountsPhasesAndRows) {
  World world;
  world.AddFile(FileKind::kCurrent, 0, Rows(20));
  const auto snapshot = world.MakeSnapshot({2}, {20}, {1}, {10}, {}, Facts(world, 2, Rows(3, 100)));
  ScanProfile profile;
  EXPECT_EQ(world.Scan(snapshot, Latest(world, snapshot), nullptr, &profile).size(), 23u);
  EXPECT_EQ(profile.rows_returned, 23u);
  EXPECT_EQ(profile.rows_scanned, 23u);
  EXPECT_EQ(profile.memtable_facts, 3u);
  EXPECT_EQ(profile.files_considered, 1u);
  EXPECT_GT(profile.plan_scan_nanos, 0);
  EXPECT_GT(profile.build_scan_streams_nanos, 0);
  EXPECT_GT(profile.consume_nanos, 0);
}

TEST(ReaderScanTest, FilesOutsideKeyRangeAndTimesAreNotOpened) {
  World world;
  world.AddFile(FileKind::kCurrent, 1, Rows(10, 0));
  world.AddFile(FileKind::kCurrent, 1, Rows(10, 100));
  world.AddFile(FileKind::kCurrent, 0, Rows(10, 50, 1, "late", 9));
  world.AddFile(FileKind::kHistory, 0, {{5, "old", kAlways, {{1}, {5}}, 1}});
  const auto snapshot = world.MakeSnapshot(9);
  ScanSpec spec = Latest(world, snapshot);
  ScanProfile profile;
  spec.keys.from = world.Key(105);
  EXPECT_EQ(world.Scan(snapshot, spec, nullptr, &profile).size(), 5u);
  EXPECT_EQ(profile.files_pruned, 3u);
  EXPECT_EQ(profile.io.files_opened, 1u);
  spec.keys = {};
  spec.window = Window::At({20}, {0});
  EXPECT_EQ(world.Scan(snapshot, spec, nullptr, &profile).size(), 20u);
  EXPECT_EQ(profile.files_pruned, 2u);
  spec.window = Window::At({3}, {0});
  EXPECT_EQ(Names(world.Scan(snapshot, spec, nullptr, &profile)),
            (std::vector<std::string>{"old"}));
  EXPECT_EQ(profile.files_pruned, 3u);
}

TEST(ReaderScanTest, PagesArePrunedByKeysAndStatistics) {
  World world(4);
  world.AddFile(FileKind::kCurrent, 0, Rows(400));
  const auto snapshot = world.MakeSnapshot(1);
  ScanSpec spec = Latest(world, snapshot);
  ScanProfile profile;
  spec.predicate = Bind(world, Between("id", Lit(101), Lit(105)));
  EXPECT_EQ(world.Scan(snapshot, spec, nullptr, &profile).size(), 5u);
  EXPECT_LE(profile.rows_scanned, 8u);
  spec.predicate = Bind(world, Lt("score", Lit(50.0)));  // Not a key column.
  const auto pruned = world.Scan(snapshot, spec, nullptr, &profile);
  EXPECT_LE(profile.rows_scanned, 12u);
  EXPECT_GT(profile.io.pages_pruned, 0u);
  spec.use_pruning = false;
  EXPECT_EQ(Text(world.Scan(snapshot, spec, nullptr, &profile)), Text(pruned));
  EXPECT_EQ(profile.rows_scanned, 400u);
}

TEST(ReaderScanTest, BloomFilterSparesPagesOfAnAbsentKey) {
  World world;
  world.AddFile(FileKind::kCurrent, 0, Rows(100, 0, 2));
  const auto snapshot = world.MakeSnapshot(1);
  uint64_t negatives = 0;
  for (int64_t id = 1; id < 60; id += 2) {
    ScanSpec spec = Latest(world, snapshot);
    spec.predicate = Bind(world, Eq("id", Lit(id)));
    ScanProfile profile;
    EXPECT_TRUE(world.Scan(snapshot, spec, nullptr, &profile).empty());
    if (profile.io.bloom_negatives > 0) {
      EXPECT_EQ(profile.io.pages_read, 0u);
    }
    negatives += profile.io.bloom_negatives;
  }
  EXPECT_GE(negatives, 25u);
}

TEST(ReaderScanTest, DeletedKeyDoesNotReappearWhereItsFactIsFilteredOut) {
  World world;
  world.AddFile(FileKind::kCurrent, 0, Rows(6));
  const auto active = Facts(world, 2, {{1, "changed", kAlways, {}, 0}});
  Facts(world, 3, {{2, "", kAlways, {}, 0}}, FactKind::kDelete, active);
  const auto snapshot = world.MakeSnapshot({3}, {30}, {1}, {10}, {}, active);
  ScanSpec spec = Latest(world, snapshot);
  spec.predicate = Bind(world, In("name", {Lit("n1"), Lit("n2"), Lit("n3")}));
  for (const bool pruning : {true, false}) {
    spec.use_pruning = pruning;
    EXPECT_EQ(Names(world.Scan(snapshot, spec)), (std::vector<std::string>{"n3"}));
  }
}

TEST(ReaderScanTest, TimePredicatesSeeWhatUnresolvedFactsMadeOfSettledRows) {
  World world;
  world.AddFile(FileKind::kCurrent, 0,
                {{1, "a", kAlways, Since(10), 1}, {2, "b", kAlways, Since(10), 1}});
  const auto active = Facts(world, 2, {{1, "c", {{5}, {8}}, {}, 0}});
  const auto snapshot = world.MakeSnapshot({2}, {20}, {1}, {10}, {}, active);
  ScanSpec spec = world.AllColumns({{{20}, {21}}, {}});
  EXPECT_EQ(Text(world.Scan(snapshot, spec)),
            "1 [-,5) [10,+) #1 = a\n1 [5,8) [20,+) #2 = c\n1 [8,+) [10,+) #1 = a\n2 [-,+) [10,+) "
            "#1 = b\n");
  spec.predicate = Bind(world, Ge("_valid_from", std::make_shared<arrow::TimestampScalar>(
                                                     8, storage::sst::TimeType())));
  EXPECT_EQ(Text(world.Scan(snapshot, spec)), "1 [8,+) [10,+) #1 = a\n");
}

TEST(ReaderScanTest, EndsComeFromTheDeletionVector) {
  World world;
  world.AddFile(FileKind::kCurrent, 0,
                {{1, "a", kAlways, {{10}, {30}}, 1},
                 {2, "b", kAlways, Since(10), 1},
                 {3, "c", kAlways, Since(10), 1}},
                /*rewritten=*/{2});
  const auto snapshot = world.MakeSnapshot(5);
  EXPECT_EQ(Text(world.Scan(snapshot, world.AllColumns({{{0}, {51}}, {}}))),
            "1 [-,+) [10,30) #1 = a\n2 [-,+) [10,+) #1 = b\n");
  ScanSpec ended = world.AllColumns({{{0}, {51}}, {}});
  ended.predicate = Bind(world, Lt("_system_to", std::make_shared<arrow::TimestampScalar>(
                                                     40, storage::sst::TimeType())));
  EXPECT_EQ(Text(world.Scan(snapshot, ended)), "1 [-,+) [10,30) #1 = a\n");
  EXPECT_EQ(Names(world.Scan(snapshot, Latest(world, snapshot))), (std::vector<std::string>{"b"}));
  EXPECT_EQ(Text(world.Scan(snapshot, world.AllColumns(Window::At({20}, {0})))),
            "1 [-,+) [10,30) #1 = a\n2 [-,+) [10,+) #1 = b\n");
}

TEST(ReaderScanTest, EraseLeavesNothingOfThePastEither) {
  World world;
  world.AddFile(FileKind::kHistory, 0, {{1, "old", kAlways, {{10}, {20}}, 1}});
  world.AddFile(FileKind::kCurrent, 0,
                {{1, "new", kAlways, Since(20), 2}, {2, "other", kAlways, Since(20), 2}});
  const auto active = Facts(world, 3, {{1, "brief", kAlways, {}, 0}});
  Facts(world, 4, {{1, "", kAlways, {}, 0}}, FactKind::kErase, active);
  const auto snapshot = world.MakeSnapshot({4}, {40}, {2}, {20}, {}, active);
  EXPECT_EQ(Text(world.Scan(snapshot, world.AllColumns({{{0}, {41}}, {}}))),
            "2 [-,+) [20,+) #2 = other\n");
  for (const int64_t s : {15, 25, 35, 40}) {
    const std::string key = world.Key(1);
    for (const char* column : {"name", "_system_to"}) {
      const PointSpec point{world.table, key, Window::At({s}, {0}), {column}};
      ASSERT_OK_TO(const auto got, world.reader.Get(*snapshot, point, nullptr, nullptr));
      EXPECT_EQ(got->num_rows(), 0) << s << column;
    }
  }
}

TEST(ReaderScanTest, CountingReadsNoPage) {
  World world;
  world.AddFile(FileKind::kCurrent, 0, Rows(100));
  const auto snapshot = world.MakeSnapshot(1);
  auto stream = world.reader.Scan(snapshot, Latest(world, snapshot, {}), nullptr).ValueOrDie();
  int64_t rows = 0;
  while (true) {
    ASSERT_OK_TO(const auto batch, stream->Next());
    if (batch == nullptr) break;
    EXPECT_EQ(batch->num_columns(), 0);
    rows += batch->num_rows();
  }
  EXPECT_EQ(rows, 100);
  EXPECT_EQ(stream->profile().io.pages_read, 0u);
}

TEST(ReaderScanTest, EmptyWindowsAndRangesGiveNothing) {
  World world;
  world.AddFile(FileKind::kCurrent, 0, Rows(10));
  const auto snapshot = world.MakeSnapshot(1);
  ScanSpec spec = Latest(world, snapshot);
  spec.window = Window::At(SystemTime::Max(), {0});
  EXPECT_TRUE(world.Scan(snapshot, spec).empty());
  spec = Latest(world, snapshot);
  spec.keys = {world.Key(5), world.Key(5), false};
  EXPECT_TRUE(world.Scan(snapshot, spec).empty());
}

TEST(ReaderScanTest, OldDefinitionsReadAsTheNewOne) {
  World world;
  world.AddFile(FileKind::kCurrent, 0, Rows(2));
  const auto sealed = Facts(world, 2, Rows(1, 10));
  const auto renamed = catalog::RenameColumn(*world.table, "name", "label").ValueOrDie();
  const auto table =
      catalog::AddColumn(*renamed, arrow::field("extra", arrow::int32())).ValueOrDie();
  world.version.catalog.tables[table->id] = table;
  const auto snapshot = world.MakeSnapshot({2}, {20}, {1}, {10}, {sealed});
  ScanSpec spec = Latest(world, snapshot, {"label", "extra"});
  spec.table = table;
  auto stream = world.reader.Scan(snapshot, spec, nullptr).ValueOrDie();
  ASSERT_OK_TO(const auto batch, stream->Next());
  ASSERT_EQ(batch->num_rows(), 3);
  EXPECT_EQ(std::static_pointer_cast<arrow::StringArray>(batch->column(0))->GetString(2), "n10");
  EXPECT_EQ(std::static_pointer_cast<arrow::StringArray>(batch->column(0))->GetString(1), "n1");
  EXPECT_EQ(batch->column(1)->null_count(), 3);
  const std::string key = world.Key(10);
  ASSERT_OK_TO(
      const auto got,
      world.reader.Get(*snapshot, {table, key, spec.window, {"extra", "label"}}, nullptr, nullptr));
  EXPECT_EQ(std::static_pointer_cast<arrow::StringArray>(got->column(1))->GetString(0), "n10");
}

TEST(ReaderScanTest, SecondScanNeedsFewerRequests) {
  World world;
  world.AddFile(FileKind::kCurrent, 0, Rows(100));
  const auto snapshot = world.MakeSnapshot(1);
  ScanProfile first, second;
  world.Scan(snapshot, Latest(world, snapshot), nullptr, &first);
  world.Scan(snapshot, Latest(world, snapshot), nullptr, &second);
  EXPECT_LT(second.io.requests, first.io.requests);
  EXPECT_EQ(second.io.files_opened, 0u);
}

TEST(ReaderGetTest, WarmPointReadAsksTheStoreNothing) {
  World world(64);
  world.AddFile(FileKind::kCurrent, 0, Rows(1000));
  const auto snapshot = world.MakeSnapshot(1);
  const std::string key = world.Key(500);
  const PointSpec point{world.table, key, Window::At({10}, {0}), {"name", "score"}};
  storage::sst::ReadCounters cold, warm;
  ASSERT_OK_TO(auto row, world.reader.Get(*snapshot, point, nullptr, &cold));
  EXPECT_EQ(std::static_pointer_cast<arrow::StringArray>(row->column(0))->GetString(0), "n500");
  ASSERT_OK_TO(row, world.reader.Get(*snapshot, point, nullptr, &warm));
  EXPECT_EQ(row->num_rows(), 1);
  EXPECT_LE(cold.requests, 5u);
  EXPECT_EQ(warm.requests, 0u);
  EXPECT_EQ(warm.pages_read, 0u);
}

class ReaderInlineTest : public ::testing::Test {
 protected:
  void Settle(const std::vector<std::pair<std::string, std::string>>& rows) {
    const auto table = catalog::KeyValueTableSchema();
    arrow::BinaryBuilder keys, docs;
    std::vector<TestRow> times;
    for (const auto& [key, doc] : rows) {
      ASSERT_TRUE(keys.Append(key).ok());
      ASSERT_TRUE(docs.Append(doc).ok());
      times.push_back({0, "", kAlways, Since(10), 1});
    }
    const auto storage =
        arrow::RecordBatch::Make(table->StorageSchema(), static_cast<int64_t>(rows.size()),
                                 {keys.Finish().ValueOrDie(), docs.Finish().ValueOrDie()});
    const auto encoded = catalog::KeyCodec(*table).Encode(*storage).ValueOrDie();
    world_.AddFile(FileKind::kCurrent, 0, table, reader_testing::RowBatch(*table, storage, times),
                   *encoded, false, {});
  }
  static void Apply(Memtable* memtable, uint64_t commit, FactKind kind, const std::string& key,
                    const std::string& doc, ValidInterval valid = {}) {
    WriteBatch batch;
    batch.AddInline(catalog::kKeyValueTable, kind, valid, key, doc);
    ASSERT_TRUE(memtable->Apply(batch, {commit}, {static_cast<int64_t>(commit) * 10}).ok());
  }
  std::string Get(const SnapshotPtr& snapshot, const std::string& key, int64_t system,
                  int64_t valid = 0, const Memtable* own = nullptr) {
    std::string value;
    const auto found = world_.reader.GetInline(*snapshot, catalog::kKeyValueTable, key, {system},
                                               {valid}, own, &value, nullptr);
    EXPECT_TRUE(found.ok()) << found.status().ToString();
    return found.ok() && *found ? value : "none";
  }
  World world_;
};

TEST_F(ReaderInlineTest, NewestFactThatCoversThePointDecides) {
  Settle({{"a", "A"}, {"b", "B"}, {"c", "C"}});
  auto sealed = Memtable::Make();
  Apply(sealed.get(), 2, FactKind::kPut, "a", "A2");
  Apply(sealed.get(), 3, FactKind::kDelete, "b", "", {{5}, {9}});
  auto active = Memtable::Make();
  Apply(active.get(), 4, FactKind::kPut, "a", "A4", {{5}, {9}});
  Apply(active.get(), 5, FactKind::kErase, "c", "");
  Apply(active.get(), 6, FactKind::kPut, "d", "D6");
  const auto snapshot = world_.MakeSnapshot({5}, {50}, {1}, {10}, {sealed}, active);
  EXPECT_EQ(Get(snapshot, "a", 50), "A2");
  EXPECT_EQ(Get(snapshot, "a", 50, 5), "A4");
  EXPECT_EQ(Get(snapshot, "a", 39, 5), "A2");
  EXPECT_EQ(Get(snapshot, "a", 19), "A");
  EXPECT_EQ(Get(snapshot, "a", 9), "none");
  EXPECT_EQ(Get(snapshot, "b", 50), "B");
  EXPECT_EQ(Get(snapshot, "b", 50, 5), "none");
  EXPECT_EQ(Get(snapshot, "c", 15), "none");
  EXPECT_EQ(Get(snapshot, "d", 60), "none");
  EXPECT_EQ(Get(snapshot, "zz", 50), "none");
  auto own = Memtable::Make();
  Apply(own.get(), 6, FactKind::kPut, "d", "mine");
  Apply(own.get(), 6, FactKind::kDelete, "a", "");
  EXPECT_EQ(Get(snapshot, "d", 60, 0, own.get()), "mine");
  EXPECT_EQ(Get(snapshot, "a", 60, 0, own.get()), "none");
  EXPECT_EQ(Get(snapshot, "b", 60, 0, own.get()), "B");
}

TEST(ReaderCommitTimeTest, AnswersFromMemtablesAndTheCommitsTable) {
  World world(4);
  const auto table = catalog::CommitsTableSchema();
  const auto settle = [&](uint64_t first, uint64_t last, uint8_t level) {
    arrow::Int64Builder commits;
    std::vector<TestRow> rows;
    for (uint64_t c = first; c <= last; ++c) {
      ASSERT_TRUE(commits.Append(static_cast<int64_t>(c)).ok());
      rows.push_back({0, "", kAlways, Since(static_cast<int64_t>(c) * 10), c});
    }
    const auto storage = arrow::RecordBatch::Make(
        table->StorageSchema(), static_cast<int64_t>(rows.size()), {commits.Finish().ValueOrDie()});
    const auto keys = catalog::KeyCodec(*table).Encode(*storage).ValueOrDie();
    world.AddFile(FileKind::kCurrent, level, table, reader_testing::RowBatch(*table, storage, rows),
                  *keys, false, {});
  };
  settle(1, 30, 1);
  settle(31, 43, 0);
  settle(44, 50, 0);
  auto sealed = Facts(world, 51, Rows(1));
  Facts(world, 52, Rows(1), FactKind::kPut, sealed);
  auto active = Facts(world, 53, Rows(1));
  Facts(world, 54, Rows(1), FactKind::kPut, active);
  const auto snapshot = world.MakeSnapshot({53}, {530}, {50}, {500}, {sealed}, active);
  for (uint64_t c = 1; c <= 53; ++c) {
    const auto time = static_cast<int64_t>(c) * 10;
    ASSERT_OK_TO(const SystemTime of, world.reader.TimeOf(*snapshot, {c}));
    EXPECT_EQ(of.micros, time) << c;
    for (const int64_t t : {time, time + 9}) {
      ASSERT_OK_TO(const CommitId at, world.reader.CommitAt(*snapshot, {t}));
      EXPECT_EQ(at.value, c) << t;
    }
  }
  EXPECT_EQ(world.reader.TimeOf(*snapshot, {0}).ValueOrDie(), SystemTime::Min());
  EXPECT_EQ(CodeOf(world.reader.TimeOf(*snapshot, {54}).status()), ErrorCode::kInvalidArgument);
  EXPECT_EQ(world.reader.CommitAt(*snapshot, {9}).ValueOrDie().value, 0u);
  EXPECT_EQ(world.reader.CommitAt(*snapshot, {1000}).ValueOrDie().value, 53u);
}

}  // namespace
}  // namespace lamina::engine
