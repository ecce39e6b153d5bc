// Documents: any bytes under any bytes, in two times.
#include <map>
#include <set>

#include <fmt/format.h>

#include "base/clock.h"
#include "base/random.h"
#include "test_database.h"
#include "testing/reference_model.h"

namespace lamina::behaviour {
namespace {

using testing::ModelKeyRange;
using testing::ModelKeyValues;
using testing::ModelWrite;
using testing::ReferenceModel;

ValidPeriod At(int64_t t) { return ValidPeriod::At({t}); }

class DocumentTest : public StoreTest {
 protected:
  void SetUp() override { Open(); }
  CommitResult PutDoc(std::string_view key, std::string_view doc, ValidInterval valid = {}) {
    return Must(db_->PutDocument(key, doc, valid));
  }
  std::string Get(std::string_view key, SystemPeriod as_of = {}, ValidPeriod valid = {}) {
    return Must(db_->GetDocument(key, as_of, valid)).value_or("none");
  }
  /// In memory, in files, compacted, reopened.
  template <typename Check>
  void Everywhere(Check check) {
    {
      SCOPED_TRACE("in memory");
      check();
    }
    Reopen();
    {
      SCOPED_TRACE("replayed");
      check();
    }
    Must(db_->Flush());
    {
      SCOPED_TRACE("flushed");
      check();
    }
    Must(db_->Compact());
    Must(db_->CollectGarbage(false, 0));
    {
      SCOPED_TRACE("compacted");
      check();
    }
    Reopen();
    {
      SCOPED_TRACE("reopened");
      check();
    }
    ExpectSound();
  }
};

TEST_F(DocumentTest, APutReturnsItsCommitAndIsRead) {
  const CommitResult first = PutDoc("k", "v");
  EXPECT_EQ(first.commit.value, 1u);
  EXPECT_EQ(db_->newest_commit(), first.commit);
  Everywhere([&] {
    EXPECT_EQ(Get("k"), "v");
    EXPECT_EQ(Get("other"), "none");
    std::string out = "old content";
    EXPECT_TRUE(Must(db_->GetDocument("k", &out)));
    EXPECT_EQ(out, "v");
    EXPECT_FALSE(Must(db_->GetDocument("other", &out)));
    EXPECT_EQ(out, "");
  });
}

// The fast form reads memory without a snapshot, and without the clock where it may: same answers,
// wherever the facts lie and whether they hold now, did, or will.
TEST_F(DocumentTest, TheFastReadOfTheNewestAnswersAsTheOther) {
  const int64_t now = base::SystemClock()->NowMicros();
  constexpr int64_t kHour = 3'600'000'000;
  const std::vector<ValidInterval> intervals = {
      {},
      {{now - kHour}, {now + kHour}},
      {{now - kHour}, ValidTime::Max()},
      {ValidTime::Min(), {now + kHour}},
      {{now - 2 * kHour}, {now - kHour}},
      {{now + kHour}, {now + 2 * kHour}},
  };
  const auto compare = [&] {
    for (int k = 0; k < 8; ++k) {
      const std::string key = fmt::format("k{}", k);
      const auto expected = Must(db_->GetDocument(key));
      std::string out = "old content";
      EXPECT_EQ(Must(db_->GetDocument(key, &out)), expected.has_value()) << key;
      EXPECT_EQ(out, expected.value_or("")) << key;
    }
  };
  base::Random random(2013);
  int found = 0;
  for (int step = 0; step < 600; ++step) {
    SCOPED_TRACE(step);
    const std::string key = fmt::format("k{}", random.Uniform(7));  // k7 is never written
    // For a while facts for all time only: then the clock is not asked.
    const ValidInterval valid =
        step % 200 < 60 ? ValidInterval{} : intervals[random.Uniform(intervals.size())];
    switch (random.Uniform(12)) {
      case 0:
        Must(db_->Flush());
        break;
      case 1:
        Reopen();
        break;
      case 2:
        Must(db_->EraseDocument(key));
        break;
      case 3:
      case 4:
        Must(db_->DeleteDocument(key, valid));
        break;
      default:
        PutDoc(key, fmt::format("v{}", step), valid);
    }
    compare();
    found += Must(db_->GetDocument(key)).has_value() ? 1 : 0;
  }
  EXPECT_GT(found, 100);
  EXPECT_LT(found, 550);
}

TEST_F(DocumentTest, AsOfAnEarlierCommitTheEarlierValueIsRead) {
  const CommitResult first = PutDoc("k", "v1");
  const CommitResult second = PutDoc("k", "v2");
  Everywhere([&] {
    EXPECT_EQ(Get("k", SystemPeriod::AsOf(first.commit)), "v1");
    EXPECT_EQ(Get("k", SystemPeriod::AsOf(first.system_time)), "v1");
    EXPECT_EQ(Get("k", SystemPeriod::AsOf(second.commit)), "v2");
    EXPECT_EQ(Get("k", SystemPeriod::AsOf(CommitId{0})), "none");
    EXPECT_EQ(Get("k", SystemPeriod::AsOf(SystemTime{first.system_time.micros - 1})), "none");
    EXPECT_EQ(Get("k"), "v2");
  });
}

TEST_F(DocumentTest, TheTierExampleOfValidTime) {
  PutDoc("tier", "bronze", {{0}, {100}});
  PutDoc("tier", "silver", {{100}, {200}});
  PutDoc("tier", "gold", {{200}, ValidTime::Max()});
  Everywhere([&] {
    for (const auto& [t, expected] : std::map<int64_t, std::string>{{-1, "none"},
                                                                    {0, "bronze"},
                                                                    {50, "bronze"},
                                                                    {99, "bronze"},
                                                                    {100, "silver"},
                                                                    {150, "silver"},
                                                                    {199, "silver"},
                                                                    {200, "gold"},
                                                                    {250, "gold"}}) {
      EXPECT_EQ(Get("tier", {}, At(t)), expected) << t;
    }
    EXPECT_EQ(Get("tier"), "gold") << "valid now";
  });
}

TEST_F(DocumentTest, ValidToIsExcludedAndNothingIsValidAtInfinity) {
  PutDoc("a", "x", {{10}, {20}});
  PutDoc("b", "y");
  Everywhere([&] {
    EXPECT_EQ(Get("a", {}, At(9)), "none");
    EXPECT_EQ(Get("a", {}, At(10)), "x");
    EXPECT_EQ(Get("a", {}, At(19)), "x");
    EXPECT_EQ(Get("a", {}, At(20)), "none");
    EXPECT_EQ(Get("b", {}, At(ValidTime::Max().micros - 1)), "y");
    EXPECT_EQ(Get("b", {}, ValidPeriod::At(ValidTime::Max())), "none");
    EXPECT_EQ(Get("b", {}, ValidPeriod::At(ValidTime::Min())), "y");
    EXPECT_EQ(Text(*Must(db_->ScanPrefix("", {}, ValidPeriod::At(ValidTime::Max())))), Lines());
  });
}

TEST_F(DocumentTest, ANarrowNewFactLiesOverAWideOldOne) {
  PutDoc("k", "wide", {{0}, {1000}});
  PutDoc("k", "narrow", {{400}, {600}});
  Everywhere([&] {
    EXPECT_EQ(Get("k", {}, At(399)), "wide");
    EXPECT_EQ(Get("k", {}, At(400)), "narrow");
    EXPECT_EQ(Get("k", {}, At(599)), "narrow");
    EXPECT_EQ(Get("k", {}, At(600)), "wide");
    EXPECT_EQ(Get("k", {}, At(1000)), "none");
  });
}

TEST_F(DocumentTest, ACorrectionShowsTheOldBeliefAsOfBeforeIt) {
  const CommitResult belief = PutDoc("price", "100", {{0}, {50}});
  const CommitResult correction = PutDoc("price", "90", {{20}, {50}});
  Everywhere([&] {
    for (const auto& [t, then, now] : std::vector<std::tuple<int64_t, std::string, std::string>>{
             {10, "100", "100"}, {20, "100", "90"}, {49, "100", "90"}, {50, "none", "none"}}) {
      EXPECT_EQ(Get("price", SystemPeriod::AsOf(belief.commit), At(t)), then) << t;
      EXPECT_EQ(Get("price", SystemPeriod::AsOf(correction.commit), At(t)), now) << t;
      EXPECT_EQ(Get("price", {}, At(t)), now) << t;
    }
  });
}

TEST_F(DocumentTest, ADeleteKeepsHistory) {
  const CommitResult put = PutDoc("k", "v");
  const CommitResult removed = Must(db_->DeleteDocument("k"));
  EXPECT_EQ(removed.commit.value, put.commit.value + 1);
  Everywhere([&] {
    EXPECT_EQ(Get("k"), "none");
    EXPECT_EQ(Get("k", SystemPeriod::AsOf(put.commit)), "v");
    EXPECT_EQ(Get("k", SystemPeriod::AsOf(removed.commit)), "none");
    EXPECT_EQ(Text(*Must(db_->ScanPrefix("k"))), Lines());
    EXPECT_EQ(Text(*Must(db_->ScanPrefix("k", SystemPeriod::AsOf(put.commit)))), (Lines{"k|v"}));
  });
  PutDoc("k", "again");
  EXPECT_EQ(Get("k"), "again");
  EXPECT_EQ(Get("k", SystemPeriod::AsOf(removed.commit)), "none");
}

TEST_F(DocumentTest, ADeleteOfAPartOfValidTimeLeavesTheRest) {
  PutDoc("k", "v", {{0}, {100}});
  Must(db_->DeleteDocument("k", {{40}, {60}}));
  Everywhere([&] {
    EXPECT_EQ(Get("k", {}, At(39)), "v");
    EXPECT_EQ(Get("k", {}, At(40)), "none");
    EXPECT_EQ(Get("k", {}, At(59)), "none");
    EXPECT_EQ(Get("k", {}, At(60)), "v");
  });
}

TEST_F(DocumentTest, EveryVersionOfADocumentIsListedWithItsBounds) {
  const CommitResult a = PutDoc("k", "one", {{0}, {100}});
  Must(db_->Flush());
  const CommitResult b = PutDoc("k", "two", {{50}, {80}});
  const int64_t ta = a.system_time.micros, tb = b.system_time.micros;
  const auto line = [](const std::string& doc, int64_t from, int64_t to, int64_t since,
                       const std::string& until, CommitId commit) {
    return fmt::format("{}|{}|{}|{}|{}|{}", doc, from, to, since, until, commit.value);
  };
  Everywhere([&] {
    Lines rows = Text(Must(db_->DocumentVersions("k")));
    std::sort(rows.begin(), rows.end());
    // Where the first belief still holds it keeps the time since when it has held.
    Lines expected = {line("one", 0, 50, ta, "+", a.commit),
                      line("one", 50, 80, ta, std::to_string(tb), a.commit),
                      line("one", 80, 100, ta, "+", a.commit),
                      line("two", 50, 80, tb, "+", b.commit)};
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(rows, expected);
    EXPECT_EQ(Text(Must(db_->DocumentVersions("k", SystemPeriod::Latest(), At(60)))),
              (Lines{line("two", 50, 80, tb, "+", b.commit)}));
    EXPECT_EQ(Text(Must(db_->DocumentVersions("nope"))), Lines());
  });
}

TEST_F(DocumentTest, PrefixScansAgreeWithAModelOnBothAxesWithLimits) {
  base::Random random(11);
  ReferenceModel model;
  const std::vector<std::string> keys = {
      "a", "a/", "a/1", "a/2", "a/2/x", "b", std::string("a\xFF"), std::string("a\0", 2)};
  for (int i = 0; i < 40; ++i) {
    const std::string key = keys[random.Uniform(keys.size())];
    ValidInterval valid;
    if (!random.OneIn(3)) {
      const auto from = static_cast<int64_t>(random.Uniform(6));
      valid = {{from}, {from + 1 + static_cast<int64_t>(random.Uniform(4))}};
    }
    const bool put = !random.OneIn(4);
    const std::string value = fmt::format("v{}", i);
    const CommitResult result =
        Must(put ? db_->PutDocument(key, value, valid) : db_->DeleteDocument(key, valid));
    model.Apply(result.commit, result.system_time,
                {ModelWrite{"d", key, put ? temporal::FactKind::kPut : temporal::FactKind::kDelete,
                            valid, value}});
    if (random.OneIn(9)) Must(db_->Flush());
    if (random.OneIn(15)) Must(db_->Compact());
  }
  Everywhere([&] {
    for (const std::string& prefix : std::vector<std::string>{
             "", "a", "a/", "a/2", "b", "c", std::string("a\xFF"), std::string("a\0", 2)}) {
      for (const auto& point : model.AllPoints("d")) {
        if (random.Uniform(4) != 0) continue;
        ModelKeyValues expected;
        for (const auto& row : model.Scan("d", ModelKeyRange{}, point.system, point.valid)) {
          if (row.first.starts_with(prefix)) expected.push_back(row);
        }
        std::optional<int64_t> limit;
        if (random.OneIn(2)) limit = static_cast<int64_t>(random.Uniform(4));
        if (limit && expected.size() > static_cast<size_t>(*limit))
          expected.resize(static_cast<size_t>(*limit));
        Lines lines;
        for (const auto& [key, value] : expected) lines.push_back(key + "|" + value);
        ASSERT_EQ(Text(*Must(db_->ScanPrefix(prefix, SystemPeriod::AsOf(point.system),
                                             ValidPeriod::At(point.valid), limit))),
                  lines)
            << prefix << " at " << point.system.micros << ", " << point.valid.micros;
      }
    }
  });
}

TEST_F(DocumentTest, TheCommitClockIsGlobalAndEveryCommitIsOneConsistentState) {
  // Two documents are always written together; a table takes turns with them.
  CreateNumbers();
  std::vector<CommitResult> commits;
  for (int64_t i = 0; i < 30; ++i) {
    if (i % 3 == 2) {
      commits.push_back(Put({{i, i}}));
    } else {
      const auto t = Must(db_->Begin());
      Must(t->PutDocument("x", std::to_string(i)));
      Must(t->PutDocument("y", std::to_string(-i)));
      commits.push_back(Must(t->Commit()));
    }
    if (i == 10) Must(db_->Flush());
    if (i == 20) Reopen();
  }
  for (size_t i = 0; i < commits.size(); ++i) {
    EXPECT_EQ(commits[i].commit.value, i + 1);
    if (i > 0) {
      EXPECT_GT(commits[i].system_time, commits[i - 1].system_time);
    }
  }
  Everywhere([&] {
    for (const CommitResult& c : commits) {
      const std::string x = Get("x", SystemPeriod::AsOf(c.commit)),
                        y = Get("y", SystemPeriod::AsOf(c.commit));
      EXPECT_EQ(std::stoll(x), -std::stoll(y)) << c.commit.value;
    }
  });
}

TEST_F(DocumentTest, TheTimeOfACommitAndTheCommitAtATime) {
  std::vector<CommitResult> commits;
  for (int i = 0; i < 5; ++i) {
    commits.push_back(PutDoc("k", std::to_string(i)));
    if (i == 2) Must(db_->Flush());
  }
  Everywhere([&] {
    for (const CommitResult& c : commits) {
      EXPECT_EQ(Must(db_->TimeOf(c.commit)), c.system_time);
      EXPECT_EQ(Must(db_->CommitAt(c.system_time)), c.commit);
      EXPECT_EQ(Must(db_->CommitAt({c.system_time.micros - 1})).value, c.commit.value - 1);
    }
    EXPECT_EQ(Must(db_->CommitAt(SystemTime{0})).value, 0u);
    EXPECT_EQ(Must(db_->CommitAt({SystemTime::Max().micros - 1})), commits.back().commit);
    ExpectError(db_->TimeOf({99}), ErrorCode::kInvalidArgument, {"commit=99"});
  });
}

TEST_F(DocumentTest, ATransactionOfAThousandDocumentsIsOneCommit) {
  const auto t = Must(db_->Begin());
  for (int i = 0; i < 1000; ++i) Must(t->PutDocument(fmt::format("k{:04}", i), std::to_string(i)));
  EXPECT_EQ(t->pending_facts(), 1000u);
  const CommitResult result = Must(t->Commit());
  EXPECT_EQ(result.commit.value, 1u);
  Everywhere([&] {
    EXPECT_EQ(CountRows(*Must(db_->ScanPrefix("k"))), 1000);
    EXPECT_EQ(CountRows(*Must(db_->ScanPrefix("k", SystemPeriod::AsOf(CommitId{0})))), 0);
    EXPECT_EQ(Get("k0500"), "500");
  });
}

TEST_F(DocumentTest, OnlyCommitsWithWritesAdvanceTheCommitNumber) {
  EXPECT_EQ(db_->newest_commit().value, 0u);
  Must(Must(db_->Begin())->Commit());
  EXPECT_EQ(db_->newest_commit().value, 0u);
  const auto aborted = Must(db_->Begin());
  Must(aborted->PutDocument("k", "v"));
  aborted->Abort();
  EXPECT_EQ(db_->newest_commit().value, 0u);
  PutDoc("k", "v");
  EXPECT_EQ(db_->newest_commit().value, 1u);
  Must(db_->Flush());
  Must(db_->Compact());
  Reopen();
  EXPECT_EQ(db_->newest_commit().value, 1u) << "care and reopening are no commits";
}

TEST_F(DocumentTest, ACommitNumberMayBeTakenWithoutAWrite) {
  const CommitResult before = PutDoc("k", "1");
  const CommitResult mark = Must(db_->AdvanceCommit());
  EXPECT_EQ(mark.commit.value, before.commit.value + 1);
  EXPECT_GT(mark.system_time, before.system_time);
  EXPECT_EQ(db_->newest_commit(), mark.commit);
  const CommitResult after = PutDoc("k", "2");
  EXPECT_EQ(after.commit.value, mark.commit.value + 1);
  Everywhere([&] {
    EXPECT_EQ(Get("k", SystemPeriod::AsOf(mark.commit)), "1");
    EXPECT_EQ(Must(db_->TimeOf(mark.commit)), mark.system_time);
    EXPECT_EQ(Must(db_->CommitAt(mark.system_time)), mark.commit);
    EXPECT_EQ(Get("k"), "2");
  });
  // Also where nothing else is in memory, log or file.
  const CommitResult alone = Must(db_->AdvanceCommit());
  Reopen();
  EXPECT_EQ(db_->newest_commit(), alone.commit);
  Must(db_->Flush());
  Reopen();
  EXPECT_EQ(db_->newest_commit(), alone.commit);
  EXPECT_EQ(Must(db_->TimeOf(alone.commit)), alone.system_time);
  DatabaseOptions options = SmallOptions();
  options.read_only = true;
  db_.reset();
  const auto reader = Must(Database::Open(store_, options));
  ExpectError(reader->AdvanceCommit(), ErrorCode::kInvalidArgument, {"read-only"});
  EXPECT_EQ(reader->newest_commit(), alone.commit);
}

TEST_F(DocumentTest, CommitNumbersAndOldAnswersSurviveManyReopens) {
  std::vector<CommitId> commits;
  for (int cycle = 0; cycle < 6; ++cycle) {
    commits.push_back(PutDoc("k", std::to_string(cycle)).commit);
    if (cycle % 2 == 1) Must(db_->Flush());
    Reopen();
    EXPECT_EQ(db_->newest_commit(), commits.back());
    for (size_t i = 0; i < commits.size(); ++i) {
      EXPECT_EQ(Get("k", SystemPeriod::AsOf(commits[i])), std::to_string(i));
    }
    EXPECT_EQ(CountRows(*Must(db_->ScanPrefix(""))), 1);
  }
}

TEST_F(DocumentTest, AnyBytesAreKeysAndDocuments) {
  const std::vector<std::string> keys = {std::string("\0", 1),
                                         std::string("\0\0", 2),
                                         std::string("\0\xFF", 2),
                                         std::string("\1", 1),
                                         std::string("a\0", 2),
                                         std::string("a\0b", 3),
                                         "a\xFF",
                                         "a\xFF\xFF",
                                         "b",
                                         "\xFF",
                                         std::string("\xFF\0", 2),
                                         "\xFF\xFF"};
  std::string all_bytes;
  for (int b = 0; b < 256; ++b) all_bytes += static_cast<char>(b);
  for (size_t i = keys.size(); i-- > 0;) {
    PutDoc(keys[i], all_bytes + keys[i]);
    if (i == 5) Must(db_->Flush());
  }
  Everywhere([&] {
    for (const std::string& key : keys) EXPECT_EQ(Get(key), all_bytes + key);
    EXPECT_EQ(Get(std::string("a\0c", 3)), "none");
    const auto scan = [&](const std::string& prefix) {
      std::vector<std::string> found;
      const auto reader = Must(db_->ScanPrefix(prefix));
      for (;;) {
        std::shared_ptr<arrow::RecordBatch> batch;
        Must(reader->ReadNext(&batch));
        if (batch == nullptr) return found;
        const auto& column = static_cast<const arrow::BinaryArray&>(*batch->GetColumnByName("key"));
        for (int64_t i = 0; i < column.length(); ++i) found.push_back(column.GetString(i));
      }
    };
    for (const std::string& prefix : std::vector<std::string>{
             "", std::string("\0", 1), "a", std::string("a\0", 2), "\xFF", "\xFF\xFF", "a\xFF"}) {
      std::vector<std::string> expected;
      for (const std::string& key : keys) {
        if (key.starts_with(prefix)) expected.push_back(key);
      }
      EXPECT_EQ(scan(prefix), expected);
    }
  });
}

TEST_F(DocumentTest, AnEmptyDocumentIsNotAnAbsentOne) {
  PutDoc("empty", "");
  PutDoc("gone", "x");
  Must(db_->DeleteDocument("gone"));
  Everywhere([&] {
    EXPECT_EQ(Must(db_->GetDocument("empty")), std::optional<std::string>(""));
    EXPECT_EQ(Must(db_->GetDocument("gone")), std::nullopt);
    std::string out = "x";
    EXPECT_TRUE(Must(db_->GetDocument("empty", &out)));
    EXPECT_EQ(out, "");
    EXPECT_FALSE(Must(db_->GetDocument("gone", &out)));
    EXPECT_EQ(Text(*Must(db_->ScanPrefix(""))), (Lines{"empty|"}));
  });
}

TEST_F(DocumentTest, LargeDocumentsComeBack) {
  base::Random random(5);
  std::string large(3 << 20, '\0');
  for (char& c : large) c = static_cast<char>(random.Uniform(256));
  PutDoc("large", large);
  PutDoc("small", "s");
  Everywhere([&] {
    EXPECT_TRUE(Must(db_->GetDocument("large")) == large);
    EXPECT_EQ(Get("small"), "s");
  });
}

TEST_F(DocumentTest, DocumentsAndTablesDoNotMeet) {
  CreateNumbers();
  Put({{1, 10}});
  PutDoc("1", "document");
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|10"}));
  EXPECT_EQ(Text(*Must(db_->ScanPrefix(""))), (Lines{"1|document"}));
  Must(db_->DropTable("t"));
  EXPECT_EQ(Get("1"), "document");
}

}  // namespace
}  // namespace lamina::behaviour
