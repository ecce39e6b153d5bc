// The two times together: what the SQL forms of DESIGN section 2 mean, asked through the public
// interface, and how history is kept, given up and erased.
#include <fstream>

#include <fmt/format.h>

#include "test_database.h"

namespace lamina::behaviour {
namespace {

ValidPeriod At(int64_t t) { return ValidPeriod::At({t}); }

class HistoryTest : public StoreTest {
 protected:
  void SetUp() override {
    Open();
    CreateNumbers();
  }
  Lines Read(SystemPeriod system, ValidPeriod valid,
             std::vector<std::string> columns = {"id", "value"}) {
    ScanOptions options;
    options.system = system;
    options.valid = valid;
    options.columns = std::move(columns);
    Lines lines = ScanText(*db_, "t", options);
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  /// In memory, in files, compacted, reopened.
  template <typename Check>
  void Everywhere(Check check) {
    for (const char* where : {"in memory", "replayed", "flushed", "compacted", "reopened"}) {
      const std::string step = where;
      if (step == "replayed" || step == "reopened") Reopen();
      if (step == "flushed") Must(db_->Flush());
      if (step == "compacted") Must(db_->Compact());
      SCOPED_TRACE(where);
      check();
    }
    ExpectSound();
  }
  std::string Since(const CommitResult& commit) {
    return std::to_string(commit.system_time.micros);
  }
};

const std::vector<std::string> kBounds = {"id",        "value",        "_valid_from",
                                          "_valid_to", "_system_from", "_system_to"};

/// Three states of one key: 1 from a, 2 from b, nothing from c.
class SystemRangeTest : public HistoryTest {
 protected:
  void SetUp() override {
    HistoryTest::SetUp();
    a_ = Put({{1, 1}});
    Must(db_->Flush());
    b_ = Put({{1, 2}});
    c_ = Delete({1});
    d_ = Put({{9, 9}});
  }
  CommitResult a_, b_, c_, d_;
};

TEST_F(SystemRangeTest, AsOfIsOneMoment) {
  Everywhere([&] {
    EXPECT_EQ(Read(SystemPeriod::AsOf(SystemTime{a_.system_time.micros - 1}), {}), Lines());
    EXPECT_EQ(Read(SystemPeriod::AsOf(a_.system_time), {}), (Lines{"1|1"}));
    EXPECT_EQ(Read(SystemPeriod::AsOf(SystemTime{b_.system_time.micros - 1}), {}), (Lines{"1|1"}));
    EXPECT_EQ(Read(SystemPeriod::AsOf(b_.system_time), {}), (Lines{"1|2"}));
    EXPECT_EQ(Read(SystemPeriod::AsOf(c_.commit), {}), Lines());
    EXPECT_EQ(Read(SystemPeriod::AsOf(SystemTime{SystemTime::Max().micros - 1}), {}),
              (Lines{"9|9"}))
        << "later than newest is newest";
    EXPECT_EQ(Read(SystemPeriod::Latest(), {}), (Lines{"9|9"}));
  });
}

TEST_F(SystemRangeTest, FromToExcludesItsEnd) {
  Everywhere([&] {
    const SystemTime a = a_.system_time, b = b_.system_time, c = c_.system_time;
    EXPECT_EQ(Read(SystemPeriod::FromTo(a, b), {}), (Lines{"1|1"}));
    EXPECT_EQ(Read(SystemPeriod::FromTo(a, {b.micros + 1}), {}), (Lines{"1|1", "1|2"}));
    EXPECT_EQ(Read(SystemPeriod::FromTo(b, c), {}), (Lines{"1|2"}));
    EXPECT_EQ(Read(SystemPeriod::FromTo(SystemTime::Min(), a), {}), Lines());
    EXPECT_EQ(Read(SystemPeriod::FromTo(c, d_.system_time), {}), Lines());
    EXPECT_EQ(Read(SystemPeriod::FromTo(a, a), {}), Lines()) << "equal bounds hold nothing";
    EXPECT_EQ(Read(SystemPeriod::FromTo(a, SystemTime::Max()), {}), (Lines{"1|1", "1|2", "9|9"}));
  });
}

TEST_F(SystemRangeTest, BetweenIncludesItsEnd) {
  Everywhere([&] {
    const SystemTime a = a_.system_time, b = b_.system_time;
    EXPECT_EQ(Read(SystemPeriod::Between(a, b), {}), (Lines{"1|1", "1|2"}));
    EXPECT_EQ(Read(SystemPeriod::Between(a, {b.micros - 1}), {}), (Lines{"1|1"}));
    EXPECT_EQ(Read(SystemPeriod::Between(b, b), {}), (Lines{"1|2"}));
    EXPECT_EQ(Read(SystemPeriod::Between(SystemTime::Min(), SystemTime::Max()), {}),
              (Lines{"1|1", "1|2", "9|9"}));
  });
}

TEST_F(SystemRangeTest, AllReturnsEveryVersionWithItsPeriod) {
  Everywhere([&] {
    EXPECT_EQ(Read(SystemPeriod::All(), ValidPeriod::All(), kBounds),
              (Lines{fmt::format("1|1|-|+|{}|{}", Since(a_), Since(b_)),
                     fmt::format("1|2|-|+|{}|{}", Since(b_), Since(c_)),
                     fmt::format("9|9|-|+|{}|+", Since(d_))}));
    // Get knows the same forms.
    EXPECT_EQ(Text(Must(db_->Get("t", IdKey(1), SystemPeriod::All()))), (Lines{"1|1", "1|2"}));
  });
}

TEST_F(SystemRangeTest, ASnapshotOfThePastDoesNotKnowLaterEnds) {
  Everywhere([&] {
    const SnapshotPtr at_a = Must(db_->SnapshotAt(SystemPeriod::AsOf(a_.commit)));
    ScanOptions options;
    options.system = SystemPeriod::All();
    options.valid = ValidPeriod::All();
    EXPECT_EQ(ScanText(*db_, at_a, "t", options), (Lines{"1|1"}));
    // The row ended with b, which the snapshot does not see: there it is open, for filters too.
    options.columns = kBounds;
    const Lines open = {fmt::format("1|1|-|+|{}|+", Since(a_))};
    EXPECT_EQ(ScanText(*db_, at_a, "t", options), open);
    EXPECT_EQ(Text(Must(db_->Get(at_a, "t", IdKey(1), options.system, options.valid, kBounds))),
              open);
    options.filter = Gt("_system_to", Lit(b_.system_time.micros));
    EXPECT_EQ(ScanText(*db_, at_a, "t", options), open);
    options.filter = Le("_system_to", Lit(b_.system_time.micros));
    EXPECT_EQ(ScanText(*db_, at_a, "t", options), Lines());
    options.filter = nullptr;
    options.columns = {};
    options.system = SystemPeriod::AsOf(b_.commit);
    ExpectError(db_->Scan(at_a, "t", options), ErrorCode::kInvalidArgument,
                {"not part of this snapshot"});
  });
}

TEST_F(HistoryTest, ValidTimeHasTheSameForms) {
  Put({{1, 1}}, {{0}, {10}});
  Put({{1, 2}}, {{10}, {20}});
  Put({{2, 7}}, {ValidTime::Min(), {5}});
  Put({{3, 8}});
  Everywhere([&] {
    EXPECT_EQ(Read({}, At(-1)), (Lines{"2|7", "3|8"}));
    EXPECT_EQ(Read({}, At(9)), (Lines{"1|1", "3|8"}));
    EXPECT_EQ(Read({}, At(10)), (Lines{"1|2", "3|8"}));
    EXPECT_EQ(Read({}, ValidPeriod::FromTo({5}, {10})), (Lines{"1|1", "3|8"}));
    EXPECT_EQ(Read({}, ValidPeriod::Between({5}, {10})), (Lines{"1|1", "1|2", "3|8"}));
    EXPECT_EQ(Read({}, ValidPeriod::FromTo({4}, {5})), (Lines{"1|1", "2|7", "3|8"}));
    EXPECT_EQ(Read({}, ValidPeriod::FromTo({20}, ValidTime::Max())), (Lines{"3|8"}));
    EXPECT_EQ(Read({}, ValidPeriod::FromTo({7}, {7})), Lines());
    EXPECT_EQ(Read({}, ValidPeriod::All()), (Lines{"1|1", "1|2", "2|7", "3|8"}));
    EXPECT_EQ(Read({}, {}), (Lines{"3|8"})) << "valid now";
  });
}

TEST_F(HistoryTest, BothAxesTogether) {
  const CommitResult believed = Put({{1, 100}}, {{0}, {50}});
  Must(db_->Flush());
  const CommitResult corrected = Put({{1, 90}}, {{20}, {50}});
  Everywhere([&] {
    EXPECT_EQ(Read(SystemPeriod::AsOf(believed.commit), At(30)), (Lines{"1|100"}));
    EXPECT_EQ(Read(SystemPeriod::AsOf(corrected.commit), At(30)), (Lines{"1|90"}));
    EXPECT_EQ(Read(SystemPeriod::All(), At(30)), (Lines{"1|100", "1|90"}));
    EXPECT_EQ(Read(SystemPeriod::All(), At(10)), (Lines{"1|100"}));
    EXPECT_EQ(Read(SystemPeriod::AsOf(corrected.commit), ValidPeriod::All()),
              (Lines{"1|100", "1|90"}));
    // The belief is two rows by now, cut where the correction begins; together they say what it
    // said.
    Lines before = Read(SystemPeriod::AsOf(believed.commit), ValidPeriod::All());
    before.erase(std::unique(before.begin(), before.end()), before.end());
    EXPECT_EQ(before, (Lines{"1|100"}));
  });
}

TEST_F(HistoryTest, PiecesKeepTheTimeSinceWhenTheyHold) {
  const CommitResult wide = Put({{1, 1}}, {{0}, {100}});
  const CommitResult middle = Put({{1, 2}}, {{40}, {60}});
  const CommitResult cut = Delete({1}, {{90}, {200}});
  Everywhere([&] {
    // As things are now.
    EXPECT_EQ(Read(SystemPeriod::Latest(), ValidPeriod::All(), kBounds),
              (Lines{fmt::format("1|1|0|40|{}|+", Since(wide)),
                     fmt::format("1|1|60|90|{}|+", Since(wide)),
                     fmt::format("1|2|40|60|{}|+", Since(middle))}));
    // And everything that was ever believed, as rectangles that meet at their edges; each point of
    // the plane has one answer.
    for (const int64_t v : {0, 39, 40, 59, 60, 89, 90, 99}) {
      const bool in_middle = v >= 40 && v < 60, in_cut = v >= 90;
      EXPECT_EQ(Read(SystemPeriod::AsOf(wide.commit), At(v)), (Lines{"1|1"})) << v;
      EXPECT_EQ(Read(SystemPeriod::AsOf(middle.commit), At(v)), (Lines{in_middle ? "1|2" : "1|1"}))
          << v;
      EXPECT_EQ(Read(SystemPeriod::AsOf(cut.commit), At(v)),
                in_cut ? Lines() : (Lines{in_middle ? "1|2" : "1|1"}))
          << v;
    }
    EXPECT_EQ(Read(SystemPeriod::AsOf(cut.commit), At(100)), Lines());
  });
}

TEST_F(HistoryTest, RowsOfOneBatchMayHaveTheirOwnValidTimes) {
  WriteOptions options;
  options.valid_from = Times({0, std::nullopt, 20});
  options.valid_to = Times({10, 20, std::nullopt});
  options.deletes = Booleans({false, false, true});
  Put({{3, 30}});
  Must(db_->Put("t", Numbers({{1, 10}, {2, 20}, {3, 0}}), options));
  Everywhere([&] {
    EXPECT_EQ(Read({}, At(5)), (Lines{"1|10", "2|20", "3|30"}));
    EXPECT_EQ(Read({}, At(15)), (Lines{"2|20", "3|30"}));
    EXPECT_EQ(Read({}, At(20)), Lines());
    EXPECT_EQ(Read({}, At(-100)), (Lines{"2|20", "3|30"}));
  });
}

TEST_F(HistoryTest, TheCommitThatSaidSoIsNamed) {
  const CommitResult one = Put({{1, 1}, {2, 2}});
  const CommitResult two = Put({{2, 3}});
  Everywhere([&] {
    EXPECT_EQ(Read({}, {}, {"id", "_commit"}), (Lines{fmt::format("1|{}", one.commit.value),
                                                      fmt::format("2|{}", two.commit.value)}));
  });
}

TEST_F(HistoryTest, TheFiveTimeColumnsAreFilteredLikeOthers) {
  Put({{1, 1}, {2, 2}}, {{0}, {100}});
  Must(db_->Flush());
  Put({{1, 3}}, {{40}, {60}});
  Put({{3, 4}});
  Must(db_->Flush());
  Delete({2}, {{90}, {200}});
  Put({{1, 5}}, {{50}, ValidTime::Max()});
  Everywhere([&] {
    ScanOptions options;
    options.system = SystemPeriod::All();
    options.valid = ValidPeriod::All();
    options.columns = std::vector<std::string>{
        "id", "value", "_valid_from", "_valid_to", "_system_from", "_system_to", "_commit"};
    const auto all = Must(Must(Must(db_->Scan("t", options))->ToTable())->CombineChunksToBatch());
    ASSERT_GE(all->num_rows(), 6);
    const Lines lines = Text(all);
    for (int c = 2; c < all->num_columns(); ++c) {
      const std::string& column = all->schema()->field(c)->name();
      const auto number = [&](int64_t row) {
        return all->column_data(c)->GetValues<int64_t>(1)[row];  // timestamps share the layout
      };
      for (int64_t i = 0; i < all->num_rows(); ++i) {
        const auto value = Must(all->column(c)->GetScalar(i));
        const int64_t v = number(i);
        const auto expect = [&](const ExprPtr& filter, auto holds) {
          Lines expected;
          for (int64_t row = 0; row < all->num_rows(); ++row) {
            if (holds(number(row))) expected.push_back(lines[static_cast<size_t>(row)]);
          }
          options.filter = filter;
          EXPECT_EQ(ScanText(*db_, "t", options), expected) << filter->ToString();
        };
        expect(Eq(column, value), [&](int64_t x) { return x == v; });
        expect(Ne(column, value), [&](int64_t x) { return x != v; });
        expect(Lt(column, value), [&](int64_t x) { return x < v; });
        expect(Ge(column, value), [&](int64_t x) { return x >= v; });
        expect(Not(Le(column, value)), [&](int64_t x) { return x > v; });
        expect(And({Le(column, value), Eq("id", Lit(1))}),
               [&, row = int64_t{0}](int64_t x) mutable {
                 return lines[static_cast<size_t>(row++)].starts_with("1|") && x <= v;
               });
      }
      options.filter = IsNull(column);
      EXPECT_EQ(ScanText(*db_, "t", options), Lines()) << column;
    }
  });
}

// ---- Giving history up ----

class TrimTest : public HistoryTest {
 protected:
  void SetUp() override {
    HistoryTest::SetUp();
    for (int64_t i = 0; i < 8; ++i) {
      commits_.push_back(Put({{1, i}, {i + 10, i}}));
      if (i % 3 == 0) Must(db_->Flush());
    }
  }
  Lines Expected(size_t i) const {
    Lines lines = {fmt::format("1|{}", i)};
    for (size_t k = 0; k <= i; ++k) lines.push_back(fmt::format("{}|{}", k + 10, k));
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  std::vector<CommitResult> commits_;
};

TEST_F(TrimTest, BelowTheFloorReadsAreRefusedAndAtAndAboveItTheyAreExact) {
  Must(db_->TrimHistory("t", commits_[4].system_time));
  const auto check = [&](const char* when) {
    EXPECT_EQ(Must(db_->GetTable("t")).history_floor, commits_[4].system_time);
    for (size_t i = 0; i < commits_.size(); ++i) {
      ScanOptions options;
      options.system = SystemPeriod::AsOf(commits_[i].commit);
      if (i < 4) {
        ExpectError(db_->Scan("t", options), ErrorCode::kHistoryTrimmed, {"floor="});
        ExpectError(db_->Get("t", IdKey(1), options.system), ErrorCode::kHistoryTrimmed);
      } else {
        EXPECT_EQ(Read(options.system, {}), Expected(i)) << when << " " << i;
      }
    }
    ExpectError(db_->Scan("t", {.system = SystemPeriod::All()}), ErrorCode::kHistoryTrimmed);
    ExpectError(
        db_->Scan("t",
                  {.system = SystemPeriod::AsOf(SystemTime{commits_[4].system_time.micros - 1})}),
        ErrorCode::kHistoryTrimmed);
    // From the floor on, every version.
    Lines expected;
    for (int64_t i = 4; i < 8; ++i) expected.push_back(fmt::format("1|{}", i));
    for (int64_t i = 0; i < 8; ++i) expected.push_back(fmt::format("{}|{}", i + 10, i));
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(
        Read(SystemPeriod::FromTo(commits_[4].system_time, SystemTime::Max()), ValidPeriod::All()),
        expected)
        << when;
    // Other tables and documents have a floor of their own.
    EXPECT_EQ(Must(db_->GetDocument("d", SystemPeriod::AsOf(commits_[0].commit))), std::nullopt);
  };
  check("at once");
  Must(db_->Compact());
  check("compacted");
  Must(db_->CollectGarbage(false, 0));
  Reopen();
  check("reopened");
  ExpectSound();
}

TEST_F(TrimTest, RowsBelowTheFloorAreGoneFromTheFilesAfterCompaction) {
  Must(db_->Flush());
  Must(db_->Compact());
  const TableInfo before = Must(db_->GetTable("t"));
  EXPECT_GE(before.history_rows, 7u);
  Must(db_->TrimHistory("t", commits_[7].system_time));
  Must(db_->Compact());
  const TableInfo after = Must(db_->GetTable("t"));
  EXPECT_EQ(after.history_rows, 0u);
  EXPECT_LE(after.rows_at_rest, before.rows_at_rest);
  EXPECT_EQ(Read({}, {}), Expected(7));
}

TEST_F(TrimTest, TheFloorCannotBeLoweredOrLieInTheFuture) {
  Must(db_->TrimHistory("t", commits_[4].system_time));
  ExpectError(db_->TrimHistory("t", commits_[2].system_time), ErrorCode::kInvalidArgument,
              {"cannot be lowered"});
  Must(db_->TrimHistory("t", commits_[4].system_time));
  ExpectError(db_->TrimHistory("t", {commits_[7].system_time.micros + 1'000'000'000}),
              ErrorCode::kInvalidArgument, {"later than"});
  EXPECT_EQ(Must(db_->GetTable("t")).history_floor, commits_[4].system_time);
}

TEST_F(TrimTest, ACheckpointBlocksTrimmingAboveIt) {
  const CheckpointInfo checkpoint = Must(db_->CreateCheckpoint("audit"));
  Put({{1, 99}});
  ExpectError(db_->TrimHistory("t", {checkpoint.system_time.micros + 1}),
              ErrorCode::kInvalidArgument, {"checkpoint", "audit"});
  Must(db_->TrimHistory("t", checkpoint.system_time));
  EXPECT_EQ(Read(SystemPeriod::AsOf(checkpoint.commit), {}), Expected(7));
  Must(db_->DropCheckpoint("audit"));
  Must(db_->TrimHistory("t", {checkpoint.system_time.micros + 1}));
  ExpectError(db_->Scan("t", {.system = SystemPeriod::AsOf(checkpoint.commit)}),
              ErrorCode::kHistoryTrimmed);
}

// ---- Erasing ----

/// On disk, where bytes can be looked for.
class EraseTest : public ::testing::Test {
 protected:
  EraseTest() {
    // So that a value lies in the files as it is.
    options_.upper_codec = Codec::kNone;
    options_.last_codec = Codec::kNone;
    Open();
    Must(db_->CreateTable("people", schema_, {.names = {"name"}}));
  }
  void Open() {
    db_.reset();
    db_ = Must(Database::Open(path_, options_));
  }
  void Put(const std::string& name, const std::string& note, ValidInterval valid = {}) {
    Must(db_->Put("people", Batch(schema_, {Strings({name}), Strings({note})}), {.valid = valid}));
  }
  /// Files whose bytes contain the text.
  std::vector<std::string> FilesWith(const std::string& text) const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path_)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      const std::string bytes((std::istreambuf_iterator<char>(in)), {});
      if (bytes.find(text) != std::string::npos) found.push_back(entry.path().string());
    }
    return found;
  }

  TempDirectory directory_;
  std::string path_ = directory_ / "db";
  DatabaseOptions options_ = SmallOptions();
  std::shared_ptr<arrow::Schema> schema_ = arrow::schema(
      {arrow::field("name", arrow::utf8(), false), arrow::field("note", arrow::utf8())});
  std::unique_ptr<Database> db_;
};

TEST_F(EraseTest, AnErasedKeyLeavesNoTraceInAnyFile) {
  // In an ended version, in a piece, in a current row, in the log, at both ends of a file's key
  // range.
  Put("aaa-erase-me", "note-one-of-it");
  Put("bob", "keeps");
  Must(db_->Flush());
  Put("aaa-erase-me", "note-two-of-it", {{0}, {100}});
  Must(db_->Flush());
  Must(db_->Compact());
  Put("aaa-erase-me", "note-three-of-it");
  Put("carol", "keeps too");
  EXPECT_FALSE(FilesWith("note-one-of-it").empty()) << "or the search below would prove nothing";
  EXPECT_FALSE(FilesWith("note-three-of-it").empty());
  EXPECT_FALSE(FilesWith("aaa-erase-me").empty());

  Must(db_->EraseKey("people", {Lit("aaa-erase-me")}));
  const auto check = [&](const char* when) {
    for (const char* text :
         {"aaa-erase-me", "note-one-of-it", "note-two-of-it", "note-three-of-it"}) {
      EXPECT_EQ(FilesWith(text), std::vector<std::string>()) << text << " " << when;
    }
    EXPECT_EQ(
        Must(db_->Get("people", {Lit("aaa-erase-me")}, SystemPeriod::All(), ValidPeriod::All()))
            ->num_rows(),
        0)
        << when;
    EXPECT_EQ(AllVersions(*db_, "people", {"name"}).size(), 2u) << when;
    EXPECT_EQ(ScanText(*db_, "people"), (Lines{"bob|keeps", "carol|keeps too"})) << when;
    EXPECT_EQ(Must(db_->Check()), std::vector<std::string>()) << when;
  };
  check("at once");
  Open();
  check("reopened");
  // The key may be used again.
  Put("aaa-erase-me", "a new life");
  EXPECT_EQ(Must(db_->Get("people", {Lit("aaa-erase-me")}))->num_rows(), 1);
  EXPECT_EQ(Must(db_->Get("people", {Lit("aaa-erase-me")}, SystemPeriod::All(), ValidPeriod::All()))
                ->num_rows(),
            1);
}

TEST_F(EraseTest, AnErasedKeyOnlyInMemoryAndLogLeavesNoTraceEither) {
  Put("only-in-memory", "secret-in-the-log");
  EXPECT_FALSE(FilesWith("secret-in-the-log").empty());
  Must(db_->EraseKey("people", {Lit("only-in-memory")}));
  EXPECT_EQ(FilesWith("secret-in-the-log"), std::vector<std::string>());
  EXPECT_EQ(FilesWith("only-in-memory"), std::vector<std::string>());
  EXPECT_EQ(AllVersions(*db_, "people", {"name"}), Lines());
  Open();
  EXPECT_EQ(AllVersions(*db_, "people", {"name"}), Lines());
}

TEST_F(EraseTest, AKeyThatWasDeletedBeforeItWasErasedLeavesNoTraceEither) {
  // Its versions have all ended: in a current file's deletion vector, and (after a compaction) in a
  // history file.
  for (const bool compacted : {false, true}) {
    Put("long-gone", "of-the-past");
    Must(db_->Flush());
    Must(db_->Delete("people", Batch(arrow::schema({arrow::field("name", arrow::utf8(), false)}),
                                     {Strings({"long-gone"})})));
    Must(db_->Flush());
    if (compacted) Must(db_->Compact());
    Must(db_->EraseKey("people", {Lit("long-gone")}));
    EXPECT_EQ(AllVersions(*db_, "people", {"name"}), Lines());
    EXPECT_EQ(FilesWith("of-the-past"), std::vector<std::string>()) << compacted;
    EXPECT_EQ(FilesWith("long-gone"), std::vector<std::string>()) << compacted;
    EXPECT_EQ(Must(db_->Check()), std::vector<std::string>());
  }
}

TEST_F(EraseTest, AnErasedDocumentLeavesNoTrace) {
  Must(db_->PutDocument("doc/erase-me", "content-to-be-erased"));
  Must(db_->PutDocument("doc/keep", "stays"));
  Must(db_->Flush());
  Must(db_->PutDocument("doc/erase-me", "content-in-the-log"));
  Must(db_->EraseDocument("doc/erase-me"));
  for (const char* text : {"doc/erase-me", "content-to-be-erased", "content-in-the-log"}) {
    EXPECT_EQ(FilesWith(text), std::vector<std::string>()) << text;
  }
  EXPECT_EQ(Must(db_->GetDocument("doc/erase-me")), std::nullopt);
  EXPECT_EQ(Must(db_->DocumentVersions("doc/erase-me"))->num_rows(), 0);
  EXPECT_EQ(Must(db_->GetDocument("doc/keep")), "stays");
}

TEST_F(EraseTest, WhatASnapshotStillPinsGoesOnceTheSnapshotDoes) {
  Put("pinned-key", "pinned-note");
  Must(db_->Flush());
  SnapshotPtr snapshot = db_->GetSnapshot();
  Must(db_->EraseKey("people", {Lit("pinned-key")}));
  EXPECT_EQ(AllVersions(*db_, "people", {"name"}), Lines());
  EXPECT_FALSE(FilesWith("pinned-note").empty()) << "the snapshot reads it";
  EXPECT_EQ(ScanText(*db_, snapshot, "people"), (Lines{"pinned-key|pinned-note"}));
  snapshot.reset();
  Must(db_->CollectGarbage(false, 0));
  EXPECT_EQ(FilesWith("pinned-note"), std::vector<std::string>());
}

TEST_F(EraseTest, ErasingWhatIsNotThereIsFine) {
  Put("bob", "keeps");
  Must(db_->EraseKey("people", {Lit("nobody")}));
  EXPECT_EQ(ScanText(*db_, "people"), (Lines{"bob|keeps"}));
  EXPECT_EQ(Must(db_->Check()), std::vector<std::string>());
}

// ---- Garbage ----

class GarbageTest : public HistoryTest {
 protected:
  void SetUp() override {
    HistoryTest::SetUp();
    for (int64_t i = 0; i < 4; ++i) {
      Put({{1, i}, {i + 10, i}});
      Must(db_->Flush());
    }
  }
  std::vector<std::string> DataFiles() const {
    std::vector<std::string> paths;
    for (const auto& object : Must(store_->List("data/"))) paths.push_back(object.path);
    return paths;
  }
};

TEST_F(GarbageTest, ADryRunTellsWhatTheRealOneDoes) {
  Must(db_->Compact());
  const Contents before = ContentsOf(*db_);
  const auto files = DataFiles();
  const GcResult dry = Must(db_->CollectGarbage(/*dry_run=*/true, 0));
  EXPECT_FALSE(dry.deleted.empty());
  EXPECT_GT(dry.bytes, 0u);
  EXPECT_EQ(DataFiles(), files) << "a dry run deletes nothing";
  const GcResult real = Must(db_->CollectGarbage(/*dry_run=*/false, 0));
  EXPECT_EQ(real.deleted, dry.deleted);
  EXPECT_EQ(real.bytes, dry.bytes);
  EXPECT_LT(DataFiles().size(), files.size());
  EXPECT_EQ(ContentsOf(*db_), before);
  EXPECT_TRUE(Must(db_->CollectGarbage(false, 0)).deleted.empty()) << "again is harmless";
  EXPECT_EQ(db_->metrics().gc.deleted_objects, real.deleted.size());
  Reopen();
  EXPECT_EQ(ContentsOf(*db_), before);
  ExpectSound();
}

TEST_F(GarbageTest, WithinTheGraceNothingGoes) {
  Must(db_->Compact());
  const auto files = DataFiles();
  const GcResult result = Must(db_->CollectGarbage(false, int64_t{3600} * 1'000'000));
  EXPECT_EQ(DataFiles(), files);
  ASSERT_FALSE(result.kept.empty());
  EXPECT_NE(result.kept[0].find("within the grace"), std::string::npos);
}

TEST_F(GarbageTest, ASnapshotPinsWhatItReads) {
  SnapshotPtr snapshot = db_->GetSnapshot();
  const Lines rows = ScanText(*db_, snapshot, "t");
  Must(db_->Compact());
  const GcResult kept = Must(db_->CollectGarbage(false, 0));
  bool named = false;
  for (const auto& line : kept.kept)
    named = named || line.find("a live snapshot reads it") != std::string::npos;
  EXPECT_TRUE(named);
  EXPECT_EQ(ScanText(*db_, snapshot, "t"), rows);
  snapshot.reset();
  EXPECT_FALSE(Must(db_->CollectGarbage(false, 0)).deleted.empty());
}

TEST_F(GarbageTest, OrphansAreInvisibleAndCollected) {
  const Contents before = ContentsOf(*db_);
  const auto files = DataFiles();
  // What a crash between writing and publishing leaves: a file under a name of ours that nothing
  // refers to.
  const auto slash = files[0].rfind('/');
  const std::string orphan = files[0].substr(0, slash + 1) + "01ARZ3NDEKTSV4RRFFQ69G5FAV.parquet";
  Must(store_->Put(orphan, "half a file", PutCondition::None()));
  EXPECT_EQ(ContentsOf(*db_), before);
  Reopen();
  EXPECT_EQ(ContentsOf(*db_), before);
  const GcResult result = Must(db_->CollectGarbage(false, 0));
  EXPECT_NE(std::find(result.deleted.begin(), result.deleted.end(), orphan), result.deleted.end());
  EXPECT_EQ(DataFiles(), files);
  EXPECT_EQ(ContentsOf(*db_), before);
}

TEST_F(GarbageTest, LogSegmentsGoOnceTheirCommitsAreInFiles) {
  const auto segments = [&] { return Must(store_->List("wal/")).size(); };
  const size_t before = segments();
  for (int64_t i = 0; i < 20; ++i)
    Must(db_->PutDocument(fmt::format("d{}", i), std::string(8 << 10, 'x')));
  EXPECT_GT(segments(), before);
  Must(db_->Flush());
  EXPECT_LE(segments(), before);
  EXPECT_TRUE(Must(db_->CollectGarbage(/*dry_run=*/true, 0)).wal_segments.empty());
  Reopen();
  EXPECT_EQ(db_->recovery().replayed_commits, 0u);
}

}  // namespace
}  // namespace lamina::behaviour
