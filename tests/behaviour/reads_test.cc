// Reading: moments that stay, predicates against an oracle, and what a read costs (counters, not
// clocks).
#include <chrono>
#include <functional>

#include <fmt/format.h>

#include "base/random.h"
#include "storage/object_store/counting_store.h"
#include "test_database.h"

namespace lamina::behaviour {
namespace {

Lines NumberLines(int64_t from, int64_t to, int64_t factor = 10) {
  Lines lines;
  for (int64_t i = from; i < to; ++i) lines.push_back(fmt::format("{}|{}", i, i * factor));
  return lines;
}

class ReadTest : public StoreTest {
 protected:
  void SetUp() override {
    Open();
    CreateNumbers();
  }
  /// Rows [from, to) with value = id * factor, one commit.
  CommitResult Fill(int64_t from, int64_t to, int64_t factor = 10) {
    std::vector<Number> rows;
    for (int64_t i = from; i < to; ++i) rows.emplace_back(i, i * factor);
    return Put(rows);
  }
  Lines Scan(const ScanOptions& options = {}) { return ScanText(*db_, "t", options); }
  static ScanProfile Drain(ScanReader& reader, int64_t* rows = nullptr) {
    const int64_t n = CountRows(reader);
    if (rows != nullptr) *rows = n;
    return reader.profile();
  }
  ScanProfile ProfileOf(const ScanOptions& options, int64_t* rows = nullptr) {
    return Drain(*Must(db_->Scan("t", options)), rows);
  }
};

// ---- Moments ----

TEST_F(ReadTest, ASnapshotStaysWhileWritesGoOn) {
  Fill(0, 10);
  const SnapshotPtr snapshot = db_->GetSnapshot();
  const CommitId commit = snapshot->commit();
  for (int64_t i = 0; i < 5; ++i) {
    Fill(10 * i, 10 * i + 20, 99);
    Delete({i});
    EXPECT_EQ(ScanText(*db_, snapshot, "t"), NumberLines(0, 10));
  }
  EXPECT_EQ(snapshot->commit(), commit);
  EXPECT_EQ(snapshot->system_time(), Must(db_->TimeOf(commit)));
}

TEST_F(ReadTest, ASnapshotStaysOverFlushCompactionAndGarbageCollection) {
  Fill(0, 20);
  Must(db_->Flush());
  Fill(5, 8, 7);
  Must(db_->PutDocument("d", "old"));
  SnapshotPtr snapshot = db_->GetSnapshot();
  const Lines then = Scan();
  const auto expect_same = [&](const char* when) {
    EXPECT_EQ(ScanText(*db_, snapshot, "t"), then) << when;
    EXPECT_EQ(Text(Must(db_->Get(snapshot, "t", IdKey(5)))), (Lines{"5|35"})) << when;
    EXPECT_EQ(Must(db_->GetDocument(snapshot, "d")), "old") << when;
  };
  Fill(0, 30, 1);
  Delete({3});
  Must(db_->PutDocument("d", "new"));
  expect_same("after writes");
  Must(db_->Flush());
  expect_same("after a flush");
  Must(db_->Compact());
  expect_same("after a compaction");
  const GcResult kept = Must(db_->CollectGarbage(false, 0));
  EXPECT_FALSE(kept.kept.empty()) << "the snapshot pins files";
  expect_same("after gc");
  EXPECT_GE(db_->metrics().live_snapshots, 1u);
  snapshot.reset();
  EXPECT_EQ(db_->metrics().live_snapshots, 0u);
  EXPECT_FALSE(Must(db_->CollectGarbage(false, 0)).deleted.empty());
  ExpectSound();
}

TEST_F(ReadTest, AScanKeepsItsSnapshotAlive) {
  Fill(0, 100);
  Must(db_->Flush());
  ScanOptions options;
  options.batch_rows = 10;
  const auto reader = Must(db_->Scan("t", options));
  std::shared_ptr<arrow::RecordBatch> first;
  Must(reader->ReadNext(&first));
  Fill(0, 100, 3);
  Must(db_->Flush());
  Must(db_->Compact());
  Must(db_->CollectGarbage(false, 0));
  Lines lines = Text(first);
  const Lines rest = Text(*reader);
  lines.insert(lines.end(), rest.begin(), rest.end());
  EXPECT_EQ(lines, NumberLines(0, 100));
}

TEST_F(ReadTest, VersionsAreListedNewestFirstWithTheirSizes) {
  const uint64_t before = db_->ListVersions().size();
  for (int64_t i = 0; i < 3; ++i) {
    Fill(i * 10, i * 10 + 10);
    Must(db_->Flush());
  }
  const auto versions = db_->ListVersions();
  ASSERT_EQ(versions.size(), before + 3);
  for (size_t i = 0; i + 1 < versions.size(); ++i)
    EXPECT_GT(versions[i].number, versions[i + 1].number);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_GT(versions[i].files, versions[i + 1].files);
    EXPECT_GT(versions[i].rows, versions[i + 1].rows);
    EXPECT_GT(versions[i].bytes, versions[i + 1].bytes);
    EXPECT_GT(versions[i].commit, versions[i + 1].commit);
    EXPECT_GT(versions[i].created_micros, 0);
    EXPECT_FALSE(versions[i].reason.empty());
    EXPECT_EQ(versions[i].system_time, Must(db_->TimeOf(versions[i].commit)));
  }
  EXPECT_EQ(db_->ListVersions(2).size(), 2u);
  // A version's commit is a moment to read at.
  ScanOptions options;
  options.system = SystemPeriod::AsOf(versions[1].commit);
  EXPECT_EQ(Scan(options).size(), 20u);
  Reopen();
  EXPECT_EQ(Scan(options).size(), 20u);
}

TEST_F(ReadTest, TimeTravelByCommitAndTimeSurvivesFlushCompactionAndReopen) {
  std::vector<CommitResult> commits;
  for (int64_t i = 1; i <= 6; ++i) {
    commits.push_back(Put({{1, i}, {i + 100, i}}));
    if (i % 2 == 0) Must(db_->Flush());
  }
  commits.push_back(Delete({1}));
  const auto expect_all = [&](const char* when) {
    for (size_t i = 0; i < commits.size(); ++i) {
      const std::string expected = i == 6 ? "" : fmt::format("1|{}", i + 1);
      for (const SystemPeriod period :
           {SystemPeriod::AsOf(commits[i].commit), SystemPeriod::AsOf(commits[i].system_time)}) {
        const Lines row = Text(Must(db_->Get("t", IdKey(1), period)));
        EXPECT_EQ(row.empty() ? "" : row[0], expected)
            << when << " commit " << commits[i].commit.value;
        ScanOptions options;
        options.system = period;
        EXPECT_EQ(Scan(options).size(), i == 6 ? 6u : i + 2) << when;
        const SnapshotPtr at = Must(db_->SnapshotAt(period));
        EXPECT_EQ(at->commit(), commits[i].commit);
        EXPECT_EQ(ScanText(*db_, at, "t").size(), i == 6 ? 6u : i + 2) << when;
      }
      // Just before it, the one before.
      const SystemTime earlier{commits[i].system_time.micros - 1};
      const Lines row = Text(Must(db_->Get("t", IdKey(1), SystemPeriod::AsOf(earlier))));
      EXPECT_EQ(row.empty() ? "" : row[0], i == 0 ? "" : fmt::format("1|{}", i)) << when;
    }
  };
  expect_all("at once");
  Must(db_->Flush());
  expect_all("flushed");
  Must(db_->Compact());
  Must(db_->CollectGarbage(false, 0));
  expect_all("compacted");
  Reopen();
  expect_all("reopened");
  ExpectSound();
}

TEST_F(ReadTest, ACheckpointResolvesToTheSameRowsLater) {
  Fill(0, 10);
  const CheckpointInfo made = Must(db_->CreateCheckpoint("before"));
  const Lines then = Scan();
  Fill(0, 10, 3);
  Must(db_->CreateCheckpoint("after"));
  Must(db_->Compact());
  Must(db_->CollectGarbage(false, 0));
  Reopen();
  const CheckpointInfo found = Must(db_->GetCheckpoint("before"));
  EXPECT_EQ(found.commit, made.commit);
  EXPECT_EQ(found.system_time, made.system_time);
  ScanOptions options;
  options.system = SystemPeriod::AsOf(found.commit);
  EXPECT_EQ(Scan(options), then);
  ASSERT_EQ(db_->ListCheckpoints().size(), 2u);
  EXPECT_EQ(db_->ListCheckpoints()[0].name, "before");
  Must(db_->DropCheckpoint("before"));
  ExpectError(db_->GetCheckpoint("before"), ErrorCode::kNotFound, {"before"});
  EXPECT_EQ(db_->ListCheckpoints().size(), 1u);
}

// ---- Predicates ----

/// id int64, a int64, b float64, s utf8: nullable except the key.
class PredicateTest : public ReadTest {
 protected:
  struct Row {
    int64_t id;
    std::optional<int64_t> a;
    std::optional<double> b;
    std::optional<std::string> s;
  };
  using Truth = std::optional<bool>;  // nullopt: unknown
  using Oracle = std::function<Truth(const Row&)>;

  void SetUp() override {
    Open();
    const auto schema =
        arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("a", arrow::int64()),
                       arrow::field("b", arrow::float64()), arrow::field("s", arrow::utf8())});
    Must(db_->CreateTable("p", schema, {.names = {"id"}}));
    base::Random random(7);
    const std::vector<std::string> words = {"", "a", "ab", "abc", "b", "ba", "z"};
    for (int64_t id = 0; id < 60; ++id) {
      Row row{id, {}, {}, {}};
      if (!random.OneIn(5)) row.a = static_cast<int64_t>(random.Uniform(9)) - 4;
      if (!random.OneIn(5)) row.b = static_cast<double>(random.Uniform(7)) / 2;
      if (!random.OneIn(5)) row.s = words[random.Uniform(words.size())];
      rows_.push_back(row);
    }
    arrow::Int64Builder id, a;
    arrow::DoubleBuilder b;
    arrow::StringBuilder s;
    const auto put = [&] {
      std::vector<std::shared_ptr<arrow::Array>> columns = {Must(id.Finish()), Must(a.Finish()),
                                                            Must(b.Finish()), Must(s.Finish())};
      Must(db_->Put("p", Batch(schema, columns)));
    };
    // Interleaved over two files and the memtable.
    for (int part = 0; part < 3; ++part) {
      for (const Row& row : rows_) {
        if (row.id % 3 != part) continue;
        Must(id.Append(row.id));
        Must(row.a ? a.Append(*row.a) : a.AppendNull());
        Must(row.b ? b.Append(*row.b) : b.AppendNull());
        Must(row.s ? s.Append(*row.s) : s.AppendNull());
      }
      put();
      if (part < 2) Must(db_->Flush());
    }
  }

  void ExpectMatches(const ExprPtr& expr, const Oracle& oracle) {
    Lines expected;
    for (const Row& row : rows_) {
      if (oracle(row) == Truth(true)) expected.push_back(std::to_string(row.id));
    }
    ScanOptions options;
    options.columns = std::vector<std::string>{"id"};
    options.filter = expr;
    EXPECT_EQ(ScanText(*db_, "p", options), expected) << expr->ToString();
    options.order_by_key = false;
    Lines unordered = ScanText(*db_, "p", options);
    std::sort(unordered.begin(), unordered.end());
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(unordered, expected) << expr->ToString();
  }

  std::vector<Row> rows_;
};

TEST_F(PredicateTest, ComparisonsAgreeWithAnOracle) {
  for (int64_t v = -5; v <= 5; ++v) {
    const auto on_a = [&](ExprPtr e, std::function<bool(int64_t)> f) {
      ExpectMatches(e, [f](const Row& r) { return r.a ? Truth(f(*r.a)) : Truth(); });
    };
    on_a(Eq("a", Lit(v)), [v](int64_t a) { return a == v; });
    on_a(Ne("a", Lit(v)), [v](int64_t a) { return a != v; });
    on_a(Lt("a", Lit(v)), [v](int64_t a) { return a < v; });
    on_a(Le("a", Lit(v)), [v](int64_t a) { return a <= v; });
    on_a(Gt("a", Lit(v)), [v](int64_t a) { return a > v; });
    on_a(Ge("a", Lit(v)), [v](int64_t a) { return a >= v; });
    on_a(Between("a", Lit(v), Lit(v + 2)), [v](int64_t a) { return v <= a && a <= v + 2; });
    const double x = static_cast<double>(v) / 2;
    ExpectMatches(Ge("b", Lit(x)), [x](const Row& r) { return r.b ? Truth(*r.b >= x) : Truth(); });
  }
  for (const char* v : {"", "a", "ab", "b", "zz"}) {
    const std::string text = v;
    ExpectMatches(Lt("s", Lit(v)),
                  [text](const Row& r) { return r.s ? Truth(*r.s < text) : Truth(); });
    ExpectMatches(Eq("s", Lit(v)),
                  [text](const Row& r) { return r.s ? Truth(*r.s == text) : Truth(); });
    ExpectMatches(StartsWith("s", text),
                  [text](const Row& r) { return r.s ? Truth(r.s->starts_with(text)) : Truth(); });
  }
}

TEST_F(PredicateTest, ListsAndNullTestsAgreeWithAnOracle) {
  const auto in = [](const Row& r, std::vector<int64_t> values) {
    return r.a ? Truth(std::find(values.begin(), values.end(), *r.a) != values.end()) : Truth();
  };
  ExpectMatches(In("a", {Lit(1), Lit(-2), Lit(99)}), [&](const Row& r) {
    return in(r, {1, -2, 99});
  });
  ExpectMatches(In("a", {}), [](const Row&) { return Truth(false); });
  // NULL in the list: a match is true, everything else unknown.
  const ExprPtr with_null = In("a", {Lit(1), arrow::MakeNullScalar(arrow::int64())});
  ExpectMatches(with_null, [](const Row& r) { return r.a == 1 ? Truth(true) : Truth(); });
  ExpectMatches(Not(with_null), [](const Row& r) { return r.a == 1 ? Truth(false) : Truth(); });
  ExpectMatches(IsNull("s"), [](const Row& r) { return Truth(!r.s.has_value()); });
  ExpectMatches(IsNotNull("s"), [](const Row& r) { return Truth(r.s.has_value()); });
  ExpectMatches(IsNull("id"), [](const Row&) { return Truth(false); });
}

TEST_F(PredicateTest, AndOrNotFollowThreeValuedLogic) {
  // Each side true, false and unknown for some rows.
  const ExprPtr a = Gt("a", Lit(0)), b = Lt("b", Lit(1.5));
  const Oracle ta = [](const Row& r) { return r.a ? Truth(*r.a > 0) : Truth(); };
  const Oracle tb = [](const Row& r) { return r.b ? Truth(*r.b < 1.5) : Truth(); };
  const auto land = [](Truth x, Truth y) -> Truth {
    if (x == Truth(false) || y == Truth(false)) return false;
    return x && y ? Truth(true) : Truth();
  };
  const auto lnot = [](Truth x) { return x ? Truth(!*x) : Truth(); };
  const auto lor = [&](Truth x, Truth y) { return lnot(land(lnot(x), lnot(y))); };
  ExpectMatches(And({a, b}), [&](const Row& r) { return land(ta(r), tb(r)); });
  ExpectMatches(Or({a, b}), [&](const Row& r) { return lor(ta(r), tb(r)); });
  ExpectMatches(Not(And({a, b})), [&](const Row& r) { return lnot(land(ta(r), tb(r))); });
  ExpectMatches(Not(Or({a, b})), [&](const Row& r) { return lnot(lor(ta(r), tb(r))); });
  ExpectMatches(Not(a), [&](const Row& r) { return lnot(ta(r)); });
  ExpectMatches(Or({And({a, b}), Not(a)}),
                [&](const Row& r) { return lor(land(ta(r), tb(r)), lnot(ta(r))); });
  ExpectMatches(True(), [](const Row&) { return Truth(true); });
  ExpectMatches(And({}), [](const Row&) { return Truth(true); });
  ExpectMatches(Or({}), [](const Row&) { return Truth(false); });
  ExpectMatches(And({Ge("id", Lit(10)), Lt("id", Lit(30)), a}),
                [&](const Row& r) { return land(Truth(r.id >= 10 && r.id < 30), ta(r)); });
}

TEST_F(PredicateTest, AFilterMayUseAColumnThatIsNotReturned) {
  ScanOptions options;
  options.columns = std::vector<std::string>{"s"};
  options.filter = Eq("id", Lit(7));
  const auto reader = Must(db_->Scan("p", options));
  EXPECT_EQ(reader->schema()->field_names(), std::vector<std::string>{"s"});
  EXPECT_EQ(Text(*reader), (Lines{rows_[7].s.value_or("null")}));
}

TEST_F(PredicateTest, ALimitCountsRowsThatPassTheFilter) {
  Lines expected;
  for (const Row& row : rows_) {
    if (row.a && *row.a > 0) expected.push_back(std::to_string(row.id));
  }
  ScanOptions options;
  options.columns = std::vector<std::string>{"id"};
  options.filter = Gt("a", Lit(0));
  for (const int64_t limit : {0, 1, 5, 1000}) {
    options.limit = limit;
    const Lines want(
        expected.begin(),
        expected.begin() + std::min<int64_t>(limit, static_cast<int64_t>(expected.size())));
    EXPECT_EQ(ScanText(*db_, "p", options), want) << limit;
  }
}

// ---- Columns, order, streams ----

TEST_F(ReadTest, ColumnsComeInTheOrderAskedForWithHiddenOnesByName) {
  const CommitResult commit = Put({{1, 10}}, {{100}, {200}});
  ScanOptions options;
  options.valid = ValidPeriod::At({150});
  options.columns =
      std::vector<std::string>{"value", "_commit", "_valid_to", "id", "_valid_from", "_system_to"};
  const auto expected = fmt::format("10|{}|200|1|100|+", commit.commit.value);
  EXPECT_EQ(Scan(options), (Lines{expected}));
  Must(db_->Flush());
  EXPECT_EQ(Scan(options), (Lines{expected}));
  const auto reader = Must(db_->Scan("t", options));
  EXPECT_EQ(reader->schema()->field_names(), *options.columns);
  // Hidden columns are left out unless asked for.
  EXPECT_EQ(Must(db_->Scan("t"))->schema()->field_names(),
            (std::vector<std::string>{"id", "value"}));
}

TEST_F(ReadTest, HiddenColumnsCanBeFilteredOn) {
  const CommitResult first = Put({{1, 10}, {2, 20}});
  Must(db_->Flush());
  const CommitResult second = Put({{3, 30}});
  ScanOptions options;
  options.filter = Eq("_commit", Lit(static_cast<int64_t>(first.commit.value)));
  EXPECT_EQ(Scan(options), (Lines{"1|10", "2|20"}));
  options.filter = Gt("_commit", Lit(static_cast<int64_t>(first.commit.value)));
  EXPECT_EQ(Scan(options), (Lines{"3|30"}));
  options.filter = Ge("_system_from", std::make_shared<arrow::TimestampScalar>(
                                          second.system_time.micros,
                                          arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")));
  EXPECT_EQ(Scan(options), (Lines{"3|30"}));
}

TEST_F(ReadTest, AnEmptyColumnListCountsRows) {
  Fill(0, 23);
  Must(db_->Flush());
  Fill(20, 30);
  ScanOptions options;
  options.columns = std::vector<std::string>{};
  const auto reader = Must(db_->Scan("t", options));
  EXPECT_EQ(reader->schema()->num_fields(), 0);
  EXPECT_EQ(CountRows(*reader), 30);
}

TEST_F(ReadTest, RowsComeInKeyOrderOverAllSources) {
  for (int64_t file = 0; file < 4; ++file) {
    std::vector<Number> rows;
    for (int64_t i = 0; i < 25; ++i) rows.emplace_back((i * 37 + file * 11) % 100 * 4 + file, file);
    Put(rows);
    if (file < 3) Must(db_->Flush());
  }
  ScanOptions options;
  options.batch_rows = 7;
  const auto reader = Must(db_->Scan("t", options));
  int64_t last = -1, rows = 0;
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    Must(reader->ReadNext(&batch));
    if (batch == nullptr) break;
    EXPECT_LE(batch->num_rows(), 7);
    EXPECT_GT(batch->num_rows(), 0);
    const auto& ids = static_cast<const arrow::Int64Array&>(*batch->column(0));
    for (int64_t i = 0; i < ids.length(); ++i, ++rows) {
      ASSERT_LT(last, ids.Value(i));
      last = ids.Value(i);
    }
  }
  EXPECT_EQ(rows, 100);
}

TEST_F(ReadTest, TheSameKeyInFourPlacesShowsTheNewestOnce) {
  options_.auto_flush = false;
  Put({{1, 1}, {9, 9}});
  Must(db_->Flush());  // in a file
  Must(db_->Compact());
  Put({{1, 2}});
  Must(db_->Flush());  // in a younger file
  db_->SetSealThresholds(0, 0, 0, 1);
  Put({{1, 3}});  // in a sealed memtable
  db_->SetSealThresholds(0, 0, 0, 0);
  EXPECT_EQ(db_->metrics().memtable.sealed, 1u);
  Put({{1, 4}});  // in the active one
  EXPECT_EQ(Scan(), (Lines{"1|4", "9|9"}));
  const auto t = Must(db_->Begin());
  Must(t->Put("t", Numbers({{1, 5}})));  // in the transaction
  EXPECT_EQ(ScanText(*t, "t"), (Lines{"1|5", "9|9"}));
  EXPECT_EQ(ValueOf(*t, "t", 1), "5");
  Must(t->Delete("t", Ids({1})));
  EXPECT_EQ(ScanText(*t, "t"), (Lines{"9|9"}));
}

TEST_F(ReadTest, KeyRangesAreHalfOpenAndPrefixesWork) {
  Fill(0, 50);
  Must(db_->Flush());
  Fill(50, 60);
  ScanOptions options;
  options.keys.from = IdKey(45);
  options.keys.to = IdKey(53);
  EXPECT_EQ(Scan(options), NumberLines(45, 53));
  options.keys.to.reset();
  EXPECT_EQ(Scan(options), NumberLines(45, 60));
  options.keys.from.reset();
  options.keys.to = IdKey(3);
  EXPECT_EQ(Scan(options), NumberLines(0, 3));
  options.keys.to = IdKey(-1);
  EXPECT_EQ(Scan(options), Lines());
  options.keys = {};
  options.keys.prefix = IdKey(52);
  EXPECT_EQ(Scan(options), NumberLines(52, 53));
}

TEST_F(ReadTest, DroppingAScanEarlyStopsIt) {
  Fill(0, 400);
  Must(db_->Flush());
  Reopen();
  ScanOptions options;
  options.batch_rows = 4;
  auto reader = Must(db_->Scan("t", options));
  std::shared_ptr<arrow::RecordBatch> batch;
  Must(reader->ReadNext(&batch));
  EXPECT_LT(reader->profile().io.pages_read, 60u) << "of 200";
  reader.reset();
  EXPECT_EQ(db_->metrics().live_snapshots, 0u);
}

// ---- What it costs ----

/// Reads of files through a store that counts.
class ReadCostTest : public ReadTest {
 protected:
  void SetUp() override {
    counting_ = std::make_shared<storage::CountingStore>(store_);
    store_ = counting_;
    // One page of 8192 values would be read for any row: 64 rows a page, 4 pages a row group, 4 row
    // groups.
    options_.rows_per_page = 64;
    options_.rows_per_row_group = 256;
    Open();
    CreateNumbers();
  }
  uint64_t RequestsOf(const std::function<void()>& body) {
    const auto before = counting_->counts();
    body();
    return (counting_->counts() - before).round_trips();
  }

  std::shared_ptr<storage::CountingStore> counting_;
};

TEST_F(ReadCostTest, OneOfTwentyColumnsReadsFewerBytes) {
  arrow::FieldVector fields = {arrow::field("id", arrow::int64(), false)};
  std::vector<std::shared_ptr<arrow::Array>> columns;
  std::vector<int64_t> ids(1000);
  base::Random random(3);
  for (int64_t i = 0; i < 1000; ++i) ids[static_cast<size_t>(i)] = i;
  columns.push_back(Int64s(ids));
  for (int c = 0; c < 19; ++c) {
    fields.push_back(arrow::field(fmt::format("c{}", c), arrow::int64()));
    std::vector<int64_t> values(1000);
    for (auto& v : values) v = static_cast<int64_t>(random.Uniform(1u << 30));
    columns.push_back(Int64s(values));
  }
  const auto schema = arrow::schema(fields);
  Must(db_->CreateTable("wide", schema, {.names = {"id"}}));
  Must(db_->Put("wide", Batch(schema, columns)));
  Must(db_->Flush());
  Reopen();
  ScanOptions one;
  one.columns = std::vector<std::string>{"c7"};
  const ScanProfile narrow = Drain(*Must(db_->Scan("wide", one)));
  Reopen();
  const ScanProfile all = Drain(*Must(db_->Scan("wide")));
  EXPECT_GT(narrow.io.bytes_read, 0u);
  EXPECT_LT(narrow.io.bytes_read * 4, all.io.bytes_read)
      << narrow.io.bytes_read << " of " << all.io.bytes_read;
  EXPECT_LT(narrow.io.pages_read * 8, all.io.pages_read);
}

TEST_F(ReadCostTest, ALimitStopsEarly) {
  Fill(0, 1000);
  Must(db_->Flush());
  Reopen();
  ScanOptions options;
  options.limit = 1;
  int64_t rows = 0;
  const ScanProfile one = ProfileOf(options, &rows);
  EXPECT_EQ(rows, 1);
  EXPECT_LE(one.io.row_groups_read, 1u);
  EXPECT_LE(one.io.pages_read, 2u * 4) << "at most one row group of two columns";
  EXPECT_LE(one.rows_returned, 1u);
}

TEST_F(ReadCostTest, FilesOutsideTheKeyRangeOrTimeAreNotOpened) {
  std::vector<CommitResult> commits;
  for (int64_t f = 0; f < 4; ++f) {
    commits.push_back(Fill(f * 100, f * 100 + 100));
    Must(db_->Flush());
  }
  Reopen();
  ScanOptions range;
  range.keys.from = IdKey(210);
  range.keys.to = IdKey(220);
  const ScanProfile by_key = ProfileOf(range);
  EXPECT_EQ(by_key.files_considered, 4u);
  EXPECT_EQ(by_key.files_pruned, 3u);
  EXPECT_EQ(by_key.io.files_opened, 1u);
  EXPECT_EQ(by_key.rows_returned, 10u);

  ScanOptions past;
  past.system = SystemPeriod::AsOf(commits[0].commit);
  const ScanProfile by_time = ProfileOf(past);
  EXPECT_EQ(by_time.files_pruned, 3u);
  EXPECT_EQ(by_time.io.files_opened, 1u);
  EXPECT_EQ(by_time.rows_returned, 100u);

  ScanOptions filter;
  filter.filter = Eq("value", Lit(3050));
  const ScanProfile by_value = ProfileOf(filter);
  EXPECT_EQ(by_value.files_pruned, 3u);
  EXPECT_EQ(by_value.rows_returned, 1u);
}

TEST_F(ReadCostTest, RowGroupsAndPagesOutsideThePredicateAreNotRead) {
  Fill(0, 1024);  // 4 row groups of 4 pages
  Must(db_->Flush());
  Reopen();
  ScanOptions options;
  options.keys.from = IdKey(300);
  options.keys.to = IdKey(310);
  int64_t rows = 0;
  const ScanProfile by_key = ProfileOf(options, &rows);
  EXPECT_EQ(rows, 10);
  EXPECT_LE(by_key.io.row_groups_read, 1u);
  EXPECT_EQ(by_key.io.pages_pruned, 15u) << "of 16";
  EXPECT_LE(by_key.io.pages_read, 3u) << "a page of each column, and of keys";
  Reopen();
  options.keys = {};
  options.filter = Between("value", Lit(5000), Lit(5050));
  const ScanProfile by_value = ProfileOf(options, &rows);
  EXPECT_EQ(rows, 6);
  EXPECT_LE(by_value.io.pages_read, 3u);
  EXPECT_GE(by_value.io.row_groups_pruned + by_value.io.pages_pruned, 3u);
}

TEST_F(ReadCostTest, AnAbsentKeyReadsNoPageBecauseOfTheBloomFilter) {
  std::vector<Number> even;
  for (int64_t i = 0; i < 500; ++i) even.emplace_back(i * 2, i);
  Put(even);
  Must(db_->Flush());
  Reopen();
  EXPECT_EQ(ValueOf(*db_, "t", 100), "50");  // footer and filter are in the cache now
  const DatabaseMetrics before = db_->metrics();
  int found = 0;
  for (int64_t i = 1; i < 200; i += 2) found += ValueOf(*db_, "t", i) == "none" ? 0 : 1;
  EXPECT_EQ(found, 0);
  const DatabaseMetrics after = db_->metrics();
  EXPECT_GT(after.read.io.bloom_negatives, before.read.io.bloom_negatives + 90);
  EXPECT_LT(after.read.io.pages_read, before.read.io.pages_read + 10)
      << "at ten bits a key, one in a hundred may pass";
}

TEST_F(ReadCostTest, ASecondScanAsksTheStoreLess) {
  Fill(0, 1000);
  Must(db_->Flush());
  Reopen();
  int64_t rows = 0;
  const uint64_t first = RequestsOf([&] { ProfileOf({}, &rows); });
  EXPECT_EQ(rows, 1000);
  ScanProfile profile;
  const uint64_t second = RequestsOf([&] { profile = ProfileOf({}, &rows); });
  EXPECT_EQ(rows, 1000);
  EXPECT_GT(first, 0u);
  EXPECT_LT(second, first);
  EXPECT_EQ(profile.io.files_opened, 0u) << "the footer is in the cache";
}

TEST_F(ReadCostTest, AWarmPointReadAsksTheStoreNothing) {
  Fill(0, 1000);
  Must(db_->Flush());
  Must(db_->PutDocument("d/1", "x"));
  Must(db_->Flush());
  Reopen();
  const uint64_t cold = RequestsOf([&] { EXPECT_EQ(ValueOf(*db_, "t", 700), "7000"); });
  EXPECT_GE(cold, 1u);
  EXPECT_LE(cold, 8u);
  EXPECT_EQ(RequestsOf([&] { EXPECT_EQ(ValueOf(*db_, "t", 700), "7000"); }), 0u);
  EXPECT_EQ(RequestsOf([&] { EXPECT_EQ(ValueOf(*db_, "t", 701), "7010"); }), 0u) << "same page";
  EXPECT_EQ(Must(db_->GetDocument("d/1")), "x");
  EXPECT_EQ(RequestsOf([&] { EXPECT_EQ(Must(db_->GetDocument("d/1")), "x"); }), 0u);
}

TEST_F(ReadCostTest, AReadOfMemoryAsksTheStoreNothing) {
  Fill(0, 100);
  EXPECT_EQ(RequestsOf([&] {
              EXPECT_EQ(ValueOf(*db_, "t", 70), "700");
              EXPECT_EQ(Scan().size(), 100u);
            }),
            0u);
}

TEST_F(ReadCostTest, NeighbouringColumnsAreReadTogether) {
  Fill(0, 200);  // one row group
  Must(db_->Flush());
  Reopen();
  Must(db_->Get("t", IdKey(0)));  // the footer
  Reopen();
  ScanOptions one;
  one.columns = std::vector<std::string>{"id"};
  const uint64_t narrow = RequestsOf([&] { ProfileOf(one); });
  Reopen();
  const uint64_t both = RequestsOf([&] { ProfileOf({}); });
  EXPECT_LE(both, narrow + 1) << "two near columns cost no request a page";
}

TEST_F(ReadCostTest, AProfileNamesItsPhasesAndRows) {
  Fill(0, 300);
  Must(db_->Flush());
  Fill(290, 310);
  const auto nanos = [] {
    return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  const int64_t begin = nanos();
  const auto reader = Must(db_->Scan("t"));
  const int64_t prepared = nanos();
  EXPECT_EQ(reader->profile().rows_returned, 0u);
  EXPECT_EQ(CountRows(*reader), 310);
  const int64_t end = nanos();
  const ScanProfile& p = reader->profile();
  EXPECT_GT(p.snapshot_nanos, 0);
  EXPECT_GT(p.plan_scan_nanos, 0);
  EXPECT_GT(p.build_scan_streams_nanos, 0);
  EXPECT_GT(p.merge_init_nanos, 0);
  EXPECT_GT(p.package_init_nanos, 0);
  EXPECT_GT(p.consume_nanos, 0);
  // The five are parts of the time it took to get the reader, and what they leave out is little;
  // the first ReadNext may still be setting up.
  const int64_t setup = p.snapshot_nanos + p.plan_scan_nanos + p.build_scan_streams_nanos +
                        p.merge_init_nanos + p.package_init_nanos;
  EXPECT_LE(setup, end - begin);
  EXPECT_GE(setup * 10, prepared - begin);
  EXPECT_LE(p.consume_nanos, end - prepared);
  EXPECT_EQ(p.rows_returned, 310u);
  EXPECT_GE(p.rows_scanned, 310u);
  EXPECT_GE(p.memtable_facts, 20u);
}

TEST_F(ReadCostTest, AStreamedScanKeepsMemoryFlat) {
  // 40 MB in one file: a scan may hold a few pages of it and no more.
  options_ = DatabaseOptions();
  options_.page_cache_bytes = 0;
  options_.auto_compact = false;
  Reopen();
  const auto schema = arrow::schema(
      {arrow::field("id", arrow::int64(), false), arrow::field("text", arrow::utf8())});
  Must(db_->CreateTable("large", schema, {.names = {"id"}}));
  constexpr int64_t kBatches = 40, kEach = 10'000;
  for (int64_t b = 0; b < kBatches; ++b) {
    std::vector<int64_t> ids(kEach);
    for (int64_t i = 0; i < kEach; ++i) ids[static_cast<size_t>(i)] = b * kEach + i;
    Must(db_->Put("large", Batch(schema, {Int64s(ids), Strings(std::vector<std::string>(
                                                           kEach, std::string(100, 'x')))})));
  }
  Must(db_->Flush());
  Reopen();
  const arrow::MemoryPool* pool = arrow::default_memory_pool();
  const int64_t before = pool->bytes_allocated();
  const auto reader = Must(db_->Scan("large"));
  int64_t rows = 0, most = 0;
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    Must(reader->ReadNext(&batch));
    if (batch == nullptr) break;
    rows += batch->num_rows();
    most = std::max(most, pool->bytes_allocated() - before);
  }
  EXPECT_EQ(rows, kBatches * kEach);
  EXPECT_LT(most, 12 << 20) << "of 43 MB";
}

TEST_F(ReadCostTest, AStoreOfYourOwnSeesEveryReadAndWrite) {
  using storage::RequestKind;
  using storage::StoreDomain;
  const auto stored = [&](const std::string& prefix) {
    uint64_t bytes = 0;
    for (const auto& object : Must(store_->List(prefix)))
      bytes += static_cast<uint64_t>(object.size);
    return bytes;
  };
  const auto begin = counting_->counts();
  const uint64_t log = stored("wal/");
  Fill(0, 1000);
  EXPECT_EQ((counting_->counts() - begin).of(RequestKind::kAppend).bytes, stored("wal/") - log);
  Must(db_->Flush());
  const auto written = counting_->counts() - begin;
  EXPECT_EQ(written.at(RequestKind::kWrite, StoreDomain::kData).bytes +
                written.at(RequestKind::kPut, StoreDomain::kData).bytes,
            stored("data/"));
  Reopen();
  const auto opened = counting_->counts();
  const ScanProfile profile = ProfileOf({});
  const auto read = counting_->counts() - opened;
  EXPECT_EQ(profile.rows_returned, 1000u);
  EXPECT_GT(profile.io.bytes_read, 0u);
  EXPECT_EQ(read.bytes_read(), profile.io.bytes_read) << read.ToString();
}

TEST_F(ReadCostTest, WithoutAPageCacheNothingIsKeptAndAnswersAreTheSame) {
  Fill(0, 500);
  Must(db_->Flush());
  options_.page_cache_bytes = 0;
  Reopen();
  EXPECT_EQ(Scan(), NumberLines(0, 500));
  EXPECT_EQ(ValueOf(*db_, "t", 250), "2500");
  EXPECT_EQ(ValueOf(*db_, "t", 250), "2500");
  EXPECT_EQ(db_->metrics().cache.page_bytes, 0u);
  EXPECT_EQ(db_->metrics().read.io.page_cache_hits, 0u);
}

TEST_F(ReadCostTest, ASmallPageCacheEvictsAndAnswersAreTheSame) {
  Fill(0, 2000);
  Must(db_->Flush());
  options_.page_cache_bytes = 8 << 10;
  Reopen();
  for (int64_t round = 0; round < 2; ++round) {
    for (int64_t i = 0; i < 2000; i += 50) ASSERT_EQ(ValueOf(*db_, "t", i), std::to_string(i * 10));
  }
  const CacheMetrics cache = db_->metrics().cache;
  EXPECT_GT(cache.page_evictions, 0u);
  EXPECT_LE(cache.page_bytes, 8u << 10);
}

TEST_F(ReadCostTest, ADeletedKeyDoesNotReappearWhenItsFileIsPruned) {
  Fill(0, 100);
  Must(db_->Flush());
  Delete({50});
  Must(db_->Flush());
  ScanOptions options;
  options.filter = Eq("value", Lit(500));
  EXPECT_EQ(Scan(options), Lines());
  EXPECT_EQ(ValueOf(*db_, "t", 50), "none");
  // An update whose new value does not match must hide the old row, which does.
  Put({{51, 0}});
  options.filter = Eq("value", Lit(510));
  EXPECT_EQ(Scan(options), Lines());
  Must(db_->Flush());
  EXPECT_EQ(Scan(options), Lines());
  Must(db_->Compact());
  EXPECT_EQ(Scan(options), Lines());
}

TEST_F(ReadCostTest, ReadMetricsCount) {
  Fill(0, 100);
  const ReadMetrics before = db_->metrics().read;
  EXPECT_EQ(Scan().size(), 100u);
  ValueOf(*db_, "t", 1);
  const ReadMetrics after = db_->metrics().read;
  EXPECT_EQ(after.scans, before.scans + 1);
  EXPECT_EQ(after.gets, before.gets + 1);
  EXPECT_GE(after.rows_returned, before.rows_returned + 100);
}

}  // namespace
}  // namespace lamina::behaviour
