// Transactions: what concurrent ones may see of each other, and what one transaction is.
//
// The anomalies are those of "Hermitage" (github.com/ept/hermitage), with its names and steps:
// every test starts from rows (1, 10) and (2, 20). Serializable, the default, must prevent all of
// them; snapshot isolation lets write skew (G2-item, G2) pass.
#include <atomic>

#include "base/scope_guard.h"
#include "storage/object_store/memory_store.h"
#include "test_database.h"

namespace lamina::behaviour {
namespace {

using TransactionPtr = std::unique_ptr<Transaction>;

ExprPtr ValueIs(int64_t value) { return Eq("value", Lit(value)); }

class TransactionTest : public StoreTest {
 protected:
  void SetUp() override {
    Open();
    CreateNumbers();
    Put({{1, 10}, {2, 20}});
  }

  TransactionPtr Begin(Isolation isolation = Isolation::kSerializable) {
    TransactionOptions options;
    options.isolation = isolation;
    return Must(db_->Begin(options));
  }
  static void Set(Transaction& t, int64_t id, int64_t value) {
    Must(t.Put("t", Numbers({{id, value}})));
  }
  static void Remove(Transaction& t, int64_t id) { Must(t.Delete("t", Ids({id}))); }
  static std::string Read(Transaction& t, int64_t id) { return ValueOf(t, "t", id); }
  static Lines ReadAll(Transaction& t, ExprPtr filter = nullptr) {
    ScanOptions options;
    options.filter = std::move(filter);
    return ScanText(t, "t", options);
  }
  std::string Read(int64_t id) { return ValueOf(*db_, "t", id); }
  Lines ReadAll() { return ScanText(*db_, "t"); }
};

/// The anomalies that both levels must prevent.
class AnomalyTest : public TransactionTest, public ::testing::WithParamInterface<Isolation> {
 protected:
  TransactionPtr Begin() { return TransactionTest::Begin(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(Levels, AnomalyTest,
                         ::testing::Values(Isolation::kSerializable, Isolation::kSnapshot),
                         [](const auto& info) {
                           return std::string(info.param == Isolation::kSerializable
                                                  ? "Serializable"
                                                  : "Snapshot");
                         });

TEST_P(AnomalyTest, G0WritesOfTwoTransactionsAreNotInterleaved) {
  const auto t1 = Begin(), t2 = Begin();
  Set(*t1, 1, 11);
  Set(*t2, 1, 12);
  Set(*t1, 2, 21);
  Must(t1->Commit());
  Set(*t2, 2, 22);
  ExpectError(t2->Commit(), ErrorCode::kConflict, {"another commit came first"});
  EXPECT_EQ(ReadAll(), (Lines{"1|11", "2|21"}));
}

TEST_P(AnomalyTest, G1aAbortedWritesAreNeverSeen) {
  const auto t1 = Begin(), t2 = Begin();
  Set(*t1, 1, 101);
  EXPECT_EQ(ReadAll(*t2), (Lines{"1|10", "2|20"}));
  t1->Abort();
  EXPECT_EQ(ReadAll(*t2), (Lines{"1|10", "2|20"}));
  Must(t2->Commit());
  EXPECT_EQ(Read(1), "10");
}

TEST_P(AnomalyTest, G1bIntermediateWritesAreNeverSeen) {
  const auto t1 = Begin(), t2 = Begin();
  Set(*t1, 1, 101);
  EXPECT_EQ(ReadAll(*t2), (Lines{"1|10", "2|20"}));
  Set(*t1, 1, 11);
  Must(t1->Commit());
  EXPECT_EQ(ReadAll(*t2), (Lines{"1|10", "2|20"}));
  Must(t2->Commit());
  EXPECT_EQ(Read(1), "11");
}

TEST_P(AnomalyTest, G1cInformationDoesNotFlowInACircle) {
  const auto t1 = Begin(), t2 = Begin();
  Set(*t1, 1, 11);
  Set(*t2, 2, 22);
  EXPECT_EQ(Read(*t1, 2), "20");
  EXPECT_EQ(Read(*t2, 1), "10");
  Must(t1->Commit());
  const auto second = t2->Commit();
  if (GetParam() == Isolation::kSerializable) {
    // Each read what the other overwrote: only one may commit.
    ExpectError(second, ErrorCode::kConflict);
    EXPECT_EQ(ReadAll(), (Lines{"1|11", "2|20"}));
  } else {
    Must(second);
    EXPECT_EQ(ReadAll(), (Lines{"1|11", "2|22"}));
  }
}

TEST_P(AnomalyTest, OtvAnObservedTransactionDoesNotVanish) {
  const auto t1 = Begin(), t2 = Begin();
  Set(*t1, 1, 11);
  Set(*t1, 2, 19);
  Set(*t2, 1, 12);
  Must(t1->Commit());
  const auto t3 = Begin();
  EXPECT_EQ(Read(*t3, 1), "11");
  Set(*t2, 2, 18);
  EXPECT_EQ(Read(*t3, 2), "19");
  ExpectError(t2->Commit(), ErrorCode::kConflict);
  EXPECT_EQ(Read(*t3, 2), "19");
  EXPECT_EQ(Read(*t3, 1), "11");
  Must(t3->Commit());
}

TEST_P(AnomalyTest, PmpAPredicateReadDoesNotSeeAPhantom) {
  const auto t1 = Begin(), t2 = Begin();
  EXPECT_EQ(ReadAll(*t1, ValueIs(30)), Lines());
  Must(t2->Put("t", Numbers({{3, 30}})));
  Must(t2->Commit());
  EXPECT_EQ(ReadAll(*t1, ValueIs(30)), Lines());
  EXPECT_EQ(ReadAll(*t1, Eq("value", Lit(10))), (Lines{"1|10"}));
  Must(t1->Commit());  // it wrote nothing: its one snapshot is an answer for ever
}

TEST_P(AnomalyTest, PmpAWriteThatFollowsAPredicateIsRefusedWhenItsRowsChanged) {
  const auto t1 = Begin(), t2 = Begin();
  // t1: update test set value = value + 10; t2: delete from test where value = 20.
  for (const Number& row : {Number{1, 20}, Number{2, 30}}) Set(*t1, row.first, row.second);
  ASSERT_EQ(ReadAll(*t2, ValueIs(20)), (Lines{"2|20"}));
  Remove(*t2, 2);
  Must(t1->Commit());
  ExpectError(t2->Commit(), ErrorCode::kConflict);
  EXPECT_EQ(ReadAll(), (Lines{"1|20", "2|30"}));
}

TEST_P(AnomalyTest, P4AnUpdateIsNotLost) {
  const auto t1 = Begin(), t2 = Begin();
  EXPECT_EQ(Read(*t1, 1), "10");
  EXPECT_EQ(Read(*t2, 1), "10");
  Set(*t1, 1, 11);
  Set(*t2, 1, 11);
  Must(t1->Commit());
  ExpectError(t2->Commit(), ErrorCode::kConflict);
}

TEST_P(AnomalyTest, GSingleReadsAreNotSkewed) {
  const auto t1 = Begin(), t2 = Begin();
  EXPECT_EQ(Read(*t1, 1), "10");
  EXPECT_EQ(Read(*t2, 1), "10");
  EXPECT_EQ(Read(*t2, 2), "20");
  Set(*t2, 1, 12);
  Set(*t2, 2, 18);
  Must(t2->Commit());
  EXPECT_EQ(Read(*t1, 2), "20");
  Must(t1->Commit());
}

TEST_P(AnomalyTest, GSinglePredicateReadsAreNotSkewed) {
  const auto t1 = Begin(), t2 = Begin();
  EXPECT_EQ(ReadAll(*t1, Eq("value", Lit(10))), (Lines{"1|10"}));
  Set(*t2, 1, 12);
  Must(t2->Commit());
  EXPECT_EQ(ReadAll(*t1, Eq("value", Lit(12))), Lines());
  Must(t1->Commit());
}

TEST_P(AnomalyTest, GSingleAWriteOnASkewedReadIsRefused) {
  const auto t1 = Begin(), t2 = Begin();
  EXPECT_EQ(Read(*t1, 1), "10");
  Set(*t2, 1, 12);
  Set(*t2, 2, 18);
  Must(t2->Commit());
  // delete from test where value = 20
  ASSERT_EQ(ReadAll(*t1, ValueIs(20)), (Lines{"2|20"}));
  Remove(*t1, 2);
  ExpectError(t1->Commit(), ErrorCode::kConflict);
  EXPECT_EQ(ReadAll(), (Lines{"1|12", "2|18"}));
}

TEST_P(AnomalyTest, G2ItemWriteSkewHappensAtSnapshotLevelOnly) {
  const auto t1 = Begin(), t2 = Begin();
  for (Transaction* t : {t1.get(), t2.get()}) {
    EXPECT_EQ(Read(*t, 1), "10");
    EXPECT_EQ(Read(*t, 2), "20");
  }
  Set(*t1, 1, 11);
  Set(*t2, 2, 21);
  Must(t1->Commit());
  const auto second = t2->Commit();
  if (GetParam() == Isolation::kSerializable) {
    ExpectError(second, ErrorCode::kConflict, {"read_key"});
    EXPECT_EQ(ReadAll(), (Lines{"1|11", "2|20"}));
  } else {
    Must(second);
    EXPECT_EQ(ReadAll(), (Lines{"1|11", "2|21"}));
  }
}

TEST_P(AnomalyTest, G2PredicateWriteSkewHappensAtSnapshotLevelOnly) {
  const auto t1 = Begin(), t2 = Begin();
  EXPECT_EQ(ReadAll(*t1, ValueIs(30)), Lines());
  EXPECT_EQ(ReadAll(*t2, ValueIs(30)), Lines());
  Must(t1->Put("t", Numbers({{3, 30}})));
  Must(t2->Put("t", Numbers({{4, 42}})));
  Must(t1->Commit());
  const auto second = t2->Commit();
  if (GetParam() == Isolation::kSerializable) {
    ExpectError(second, ErrorCode::kConflict, {"key_in_read_range"});
  } else {
    Must(second);
  }
}

TEST_P(AnomalyTest, G2AReadOnlyTransactionBetweenTwoWritersSeesOneOrder) {
  // Fekete et al.: t1 reads both, t2 adds to one, t3 (read only) sees t2 but not t1; then t1 writes
  // on what it read.
  const auto t1 = Begin();
  EXPECT_EQ(ReadAll(*t1), (Lines{"1|10", "2|20"}));
  const auto t2 = Begin();
  Set(*t2, 2, 25);
  Must(t2->Commit());
  const auto t3 = Begin();
  EXPECT_EQ(ReadAll(*t3), (Lines{"1|10", "2|25"}));
  Must(t3->Commit());
  Set(*t1, 1, 0);
  const auto last = t1->Commit();
  if (GetParam() == Isolation::kSerializable) {
    ExpectError(last, ErrorCode::kConflict);
  } else {
    Must(last);
  }
}

// ---- Conflicts in detail ----

TEST_F(TransactionTest, FirstCommitterWinsAlsoAfterAFlush) {
  const auto t1 = Begin(), t2 = Begin(Isolation::kSnapshot);
  Set(*t1, 1, 11);
  Set(*t2, 1, 12);
  Put({{1, 99}});
  Must(db_->Flush());
  ExpectError(t1->Commit(), ErrorCode::kConflict);
  ExpectError(t2->Commit(), ErrorCode::kConflict);
  EXPECT_EQ(Read(1), "99");
}

TEST_F(TransactionTest, FirstCommitterWinsAlsoAfterFlushesCompactionAndGarbageCollection) {
  const auto t1 = Begin();
  Set(*t1, 1, 11);
  Put({{1, 99}});
  Must(db_->Flush());
  Put({{2, 98}});
  Must(db_->Flush());
  Must(db_->Compact());
  Must(db_->CollectGarbage(false, 0));
  ExpectError(t1->Commit(), ErrorCode::kConflict);
  EXPECT_EQ(ReadAll(), (Lines{"1|99", "2|98"}));
}

TEST_F(TransactionTest, WritersOfDifferentKeysDoNotConflictAfterAFlush) {
  const auto t1 = Begin();
  EXPECT_EQ(Read(*t1, 1), "10");
  Set(*t1, 1, 11);
  Put({{2, 99}});
  Must(db_->Flush());
  Must(t1->Commit());
  EXPECT_EQ(ReadAll(), (Lines{"1|11", "2|99"}));
}

TEST_F(TransactionTest, ASnapshotTooOldToBeCheckedIsRefused) {
  options_.retained_conflict_bytes = 0;
  Reopen();
  const auto t1 = Begin();
  Set(*t1, 7, 70);
  Put({{2, 99}});
  Must(db_->Flush());
  Put({{2, 98}});
  Must(db_->Flush());
  ExpectError(t1->Commit(), ErrorCode::kConflict, {"retained_conflict_bytes"});
  EXPECT_EQ(Read(7), "none");
}

TEST_F(TransactionTest, AReadKeyThatWasMissingConflictsWhenItAppears) {
  const auto t1 = Begin();
  EXPECT_EQ(Read(*t1, 5), "none");
  Set(*t1, 1, 11);
  Put({{5, 50}});
  ExpectError(t1->Commit(), ErrorCode::kConflict, {"read_key"});
}

TEST_F(TransactionTest, AReadKeyConflictsAfterAFlush) {
  const auto t1 = Begin();
  EXPECT_EQ(Read(*t1, 2), "20");
  Set(*t1, 1, 11);
  Put({{2, 21}});
  Must(db_->Flush());
  ExpectError(t1->Commit(), ErrorCode::kConflict, {"read_key"});
}

TEST_F(TransactionTest, ADeletedKeyThatWasReadConflicts) {
  const auto t1 = Begin();
  EXPECT_EQ(Read(*t1, 2), "20");
  Set(*t1, 1, 11);
  Delete({2});
  ExpectError(t1->Commit(), ErrorCode::kConflict);
}

TEST_F(TransactionTest, APhantomInAReadKeyRangeConflictsAndOneOutsideDoesNot) {
  ScanOptions range;
  range.keys.from = IdKey(10);
  range.keys.to = IdKey(20);
  const auto t1 = Begin(), t2 = Begin();
  EXPECT_EQ(ScanText(*t1, "t", range), Lines());
  EXPECT_EQ(ScanText(*t2, "t", range), Lines());
  Set(*t1, 1, 11);
  Set(*t2, 2, 21);
  Put({{20, 0}, {9, 0}});
  Must(t1->Commit());
  Put({{19, 0}});
  ExpectError(t2->Commit(), ErrorCode::kConflict, {"key_in_read_range"});
}

TEST_F(TransactionTest, ARangeGivenByAFilterOnTheKeyIsTheRangeThatIsChecked) {
  const auto t1 = Begin();
  ScanOptions range;
  range.filter = And({Ge("id", Lit(10)), Lt("id", Lit(20))});
  EXPECT_EQ(ScanText(*t1, "t", range), Lines());
  Set(*t1, 1, 11);
  Put({{30, 0}});
  Must(t1->Commit());
}

TEST_F(TransactionTest, ReadsOfThePastAreNotChecked) {
  const CommitId past = db_->newest_commit();
  Put({{1, 15}});
  const auto t1 = Begin();
  const auto rows = Must(t1->Get("t", IdKey(1), SystemPeriod::AsOf(past)));
  EXPECT_EQ(Text(rows), (Lines{"1|10"}));
  Set(*t1, 2, 22);
  Put({{1, 16}});
  Must(t1->Commit());
}

TEST_F(TransactionTest, ReadsAndPhantomsOfDocumentsAreChecked) {
  Must(db_->PutDocument("a/1", "x"));
  const auto t1 = Begin(), t2 = Begin();
  EXPECT_EQ(Must(t1->GetDocument("a/1")), "x");
  EXPECT_EQ(Text(*Must(t2->ScanPrefix("b/"))), Lines());
  Must(t1->PutDocument("c", "1"));
  Must(t2->PutDocument("d", "1"));
  Must(db_->PutDocument("a/1", "y"));
  ExpectError(t1->Commit(), ErrorCode::kConflict);
  Must(db_->PutDocument("b/9", "phantom"));
  ExpectError(t2->Commit(), ErrorCode::kConflict);
  EXPECT_EQ(Must(db_->GetDocument("c")), std::nullopt);
}

TEST_F(TransactionTest, WritesOfDifferentValidTimesOfOneKeyConflict) {
  // Resolution is by key: two transactions that lay pieces over one key are ordered too.
  const auto t1 = Begin(), t2 = Begin();
  Must(t1->Put("t", Numbers({{1, 11}}), {.valid = {{0}, {10}}}));
  Must(t2->Put("t", Numbers({{1, 12}}), {.valid = {{20}, {30}}}));
  Must(t1->Commit());
  ExpectError(t2->Commit(), ErrorCode::kConflict);
}

TEST_F(TransactionTest, BlindSingleWritesNeverConflict) {
  const auto t1 = Begin();
  Set(*t1, 1, 11);
  Put({{1, 12}});
  Put({{1, 13}});
  t1->Abort();
  EXPECT_EQ(Read(1), "13");
}

TEST_F(TransactionTest, ConflictsAreCounted) {
  const uint64_t before = db_->metrics().commit.conflicts;
  const auto t1 = Begin(), t2 = Begin();
  Set(*t1, 1, 11);
  Set(*t2, 1, 12);
  Must(t1->Commit());
  ExpectError(t2->Commit(), ErrorCode::kConflict);
  EXPECT_EQ(db_->metrics().commit.conflicts, before + 1);
}

TEST_F(TransactionTest, ReadOnlyTransactionsNeverFail) {
  const auto t1 = Begin();
  EXPECT_EQ(ReadAll(*t1), (Lines{"1|10", "2|20"}));
  for (int i = 0; i < 10; ++i) Put({{1, i}, {100 + i, i}});
  Must(db_->Flush());
  Must(db_->Compact());
  Must(db_->CollectGarbage(false, 0));
  EXPECT_EQ(ReadAll(*t1), (Lines{"1|10", "2|20"}));
  const CommitResult result = Must(t1->Commit());
  EXPECT_EQ(result.commit.value, 0u);
}

TEST_F(TransactionTest, AnEmptyCommitTakesNoNumber) {
  const CommitId before = db_->newest_commit();
  Must(Begin()->Commit());
  EXPECT_EQ(db_->newest_commit(), before);
}

// ---- One transaction ----

TEST_F(TransactionTest, OwnWritesAreReadByGetAndScan) {
  const auto t = Begin();
  Set(*t, 1, 11);
  EXPECT_EQ(Read(*t, 1), "11");
  Remove(*t, 2);
  EXPECT_EQ(Read(*t, 2), "none");
  Set(*t, 3, 33);
  EXPECT_EQ(ReadAll(*t), (Lines{"1|11", "3|33"}));
  EXPECT_EQ(ReadAll(*t, Gt("value", Lit(20))), (Lines{"3|33"}));
  EXPECT_EQ(ReadAll(), (Lines{"1|10", "2|20"}));  // not outside
  Must(t->Commit());
  EXPECT_EQ(ReadAll(), (Lines{"1|11", "3|33"}));
}

TEST_F(TransactionTest, OwnDocumentsAreReadByGetAndPrefixScan) {
  Must(db_->PutDocument("k/1", "old"));
  const auto t = Begin();
  Must(t->PutDocument("k/1", "new"));
  Must(t->PutDocument("k/2", "two"));
  EXPECT_EQ(Must(t->GetDocument("k/1")), "new");
  EXPECT_EQ(Text(*Must(t->ScanPrefix("k/"))), (Lines{"k/1|new", "k/2|two"}));
  Must(t->DeleteDocument("k/1"));
  EXPECT_EQ(Must(t->GetDocument("k/1")), std::nullopt);
  EXPECT_EQ(Text(*Must(t->ScanPrefix("k/"))), (Lines{"k/2|two"}));
  EXPECT_EQ(Must(db_->GetDocument("k/1")), "old");
}

TEST_F(TransactionTest, OwnWritesLieOverRowsInFilesWithinTheirValidTimeOnly) {
  Must(db_->Flush());
  const auto t = Begin();
  Must(t->Put("t", Numbers({{1, 77}}), {.valid = {{100}, {200}}}));
  ScanOptions at;
  for (const auto& [when, expected] :
       std::vector<std::pair<int64_t, std::string>>{{99, "1|10"}, {100, "1|77"}, {200, "1|10"}}) {
    at.valid = ValidPeriod::At({when});
    EXPECT_EQ(ScanText(*t, "t", at).at(0), expected) << when;
  }
}

TEST_F(TransactionTest, AScanShowsWhatWasWrittenBeforeItBegan) {
  const auto t = Begin();
  Set(*t, 3, 30);
  const auto reader = Must(t->Scan("t"));
  Set(*t, 4, 40);
  Set(*t, 1, 11);
  EXPECT_EQ(Text(*reader), (Lines{"1|10", "2|20", "3|30"}));
  EXPECT_EQ(ReadAll(*t), (Lines{"1|11", "2|20", "3|30", "4|40"}));
}

TEST_F(TransactionTest, TheLaterStatementOfATransactionWins) {
  const auto t = Begin();
  Set(*t, 1, 11);
  Remove(*t, 1);
  Set(*t, 1, 13);
  Must(t->Put("t", Numbers({{2, 21}, {2, 22}})));
  Must(t->Commit());
  EXPECT_EQ(ReadAll(), (Lines{"1|13", "2|22"}));
  Must(db_->Flush());
  EXPECT_EQ(ReadAll(), (Lines{"1|13", "2|22"}));
}

TEST_F(TransactionTest, SavepointsForgetWhatCameAfterThem) {
  const auto t = Begin();
  Set(*t, 1, 11);
  Must(t->Savepoint("a"));
  Set(*t, 1, 12);
  Set(*t, 3, 30);
  EXPECT_EQ(ReadAll(*t), (Lines{"1|12", "2|20", "3|30"}));
  Must(t->RollbackTo("a"));
  EXPECT_EQ(ReadAll(*t), (Lines{"1|11", "2|20"}));
  Set(*t, 4, 40);
  Must(t->RollbackTo("a"));  // the savepoint stays
  EXPECT_EQ(t->pending_facts(), 1u);
  Must(t->Release("a"));
  ExpectError(t->RollbackTo("a"), ErrorCode::kNotFound, {"a"});
  Must(t->Commit());
  EXPECT_EQ(ReadAll(), (Lines{"1|11", "2|20"}));
}

TEST_F(TransactionTest, TheNewestSavepointOfANameCounts) {
  const auto t = Begin();
  Must(t->Savepoint("s"));
  Set(*t, 1, 11);
  Must(t->Savepoint("s"));
  Set(*t, 1, 12);
  Must(t->RollbackTo("s"));
  EXPECT_EQ(Read(*t, 1), "11");
  Must(t->Release("s"));
  Must(t->RollbackTo("s"));
  EXPECT_EQ(Read(*t, 1), "10");
}

TEST_F(TransactionTest, SavepointsNestAndGoWithTheOuterOne) {
  const auto t = Begin();
  Must(t->Savepoint("outer"));
  Set(*t, 1, 11);
  Must(t->Savepoint("inner"));
  Set(*t, 1, 12);
  Must(t->Savepoint("innermost"));
  Set(*t, 1, 13);
  Must(t->RollbackTo("inner"));
  EXPECT_EQ(Read(*t, 1), "11");
  ExpectError(t->RollbackTo("innermost"), ErrorCode::kNotFound, {"innermost"});
  Set(*t, 2, 22);
  Must(t->Release("outer"));  // keeps the writes; the ones inside are released too
  ExpectError(t->RollbackTo("inner"), ErrorCode::kNotFound, {"inner"});
  EXPECT_EQ(t->pending_facts(), 2u);
  Must(t->Commit());
  EXPECT_EQ(ReadAll(), (Lines{"1|11", "2|22"}));
}

TEST_F(TransactionTest, SavepointsCoverDocuments) {
  const auto t = Begin();
  Must(t->PutDocument("d", "1"));
  Must(t->Savepoint("s"));
  EXPECT_EQ(Must(t->GetDocument("d")), "1");
  Must(t->DeleteDocument("d"));
  EXPECT_EQ(Must(t->GetDocument("d")), std::nullopt);
  Must(t->RollbackTo("s"));
  EXPECT_EQ(Must(t->GetDocument("d")), "1");
  Must(t->Commit());
  EXPECT_EQ(Must(db_->GetDocument("d")), "1");
}

TEST_F(TransactionTest, AbortAndDestructionChangeNothing) {
  const Contents before = ContentsOf(*db_);
  {
    const auto t1 = Begin();
    Set(*t1, 1, 11);
    Must(t1->PutDocument("d", "x"));
    t1->Abort();
    const auto t2 = Begin();
    Set(*t2, 2, 22);
  }
  EXPECT_EQ(ContentsOf(*db_), before);
  Reopen();
  EXPECT_EQ(ContentsOf(*db_), before);
}

TEST_F(TransactionTest, AnErrorOfAWriteLeavesTheTransactionAsItWas) {
  const auto t = Begin();
  Set(*t, 1, 11);
  const auto wrong =
      Batch(arrow::schema({arrow::field("id", arrow::int64(), false)}), {Int64s({9})});
  ExpectError(t->Put("t", wrong), ErrorCode::kInvalidArgument, {"value"});
  ExpectError(t->Put("nope", Numbers({{1, 1}})), ErrorCode::kNotFound, {"nope"});
  EXPECT_EQ(t->pending_facts(), 1u);
  EXPECT_EQ(ReadAll(*t), (Lines{"1|11", "2|20"}));
  Must(t->Commit());
  EXPECT_EQ(ReadAll(), (Lines{"1|11", "2|20"}));
}

TEST_F(TransactionTest, InsertRefusesAKeyThatIsValidThenAlready) {
  const auto t = Begin();
  ExpectError(t->Insert("t", Numbers({{3, 30}, {1, 11}})), ErrorCode::kAlreadyExists, {"row=1"});
  ExpectError(t->Insert("t", Numbers({{5, 1}, {5, 2}})), ErrorCode::kAlreadyExists);
  EXPECT_EQ(t->pending_facts(), 0u);
  Must(t->Insert("t", Numbers({{3, 30}})));
  ExpectError(t->Insert("t", Numbers({{3, 31}})), ErrorCode::kAlreadyExists);
  Must(t->Insert("t", Numbers({{7, 1}}), {.valid = {{0}, {10}}}));
  Must(t->Insert("t", Numbers({{7, 2}}), {.valid = {{10}, {20}}}));
  ExpectError(t->Insert("t", Numbers({{7, 3}}), {.valid = {{19}, {30}}}),
              ErrorCode::kAlreadyExists);
  Must(t->Commit());
  EXPECT_EQ(ReadAll(), (Lines{"1|10", "2|20", "3|30"}));
}

TEST_F(TransactionTest, ARefusedInsertIsAReadOfItsKey) {
  // Write skew over the answer "it exists": each acts on what the other takes away.
  const auto t1 = Begin(), t2 = Begin();
  ExpectError(t1->Insert("t", Numbers({{1, 11}})), ErrorCode::kAlreadyExists);
  ExpectError(t2->Insert("t", Numbers({{2, 21}})), ErrorCode::kAlreadyExists);
  Remove(*t1, 2);
  Remove(*t2, 1);
  Must(t1->Commit());
  ExpectError(t2->Commit(), ErrorCode::kConflict);
  EXPECT_EQ(ReadAll(), (Lines{"1|10"}));
}

TEST_F(TransactionTest, TwoInsertsOfOneKeyConflict) {
  const auto t1 = Begin(), t2 = Begin();
  Must(t1->Insert("t", Numbers({{5, 51}})));
  Must(t2->Insert("t", Numbers({{5, 52}})));
  Must(t1->Commit());
  ExpectError(t2->Commit(), ErrorCode::kConflict);
}

TEST_F(TransactionTest, ACommitOverSeveralTablesIsWholeAfterReopen) {
  Must(db_->CreateTable("u", NumberSchema(), {.names = {"id"}}));
  Must(db_->CreateTable("log", NumberSchema(), {.no_key = true}));
  for (int64_t i = 0; i < 5; ++i) {
    const auto t = Begin();
    Must(t->Put("t", Numbers({{100 + i, i}})));
    Must(t->Put("u", Numbers({{i, -i}})));
    Must(t->Put("log", Numbers({{i, 7}})));
    Must(t->PutDocument("doc/" + std::to_string(i), std::to_string(i)));
    const CommitResult result = Must(t->Commit());
    // All of it has one commit number.
    ScanOptions hidden;
    hidden.columns = std::vector<std::string>{"_commit"};
    hidden.keys.prefix = IdKey(100 + i);
    EXPECT_EQ(ScanText(*db_, "t", hidden), (Lines{std::to_string(result.commit.value)}));
    if (i == 2) Must(db_->Flush());
  }
  const Contents before = ContentsOf(*db_);
  EXPECT_EQ(before.documents.size(), 5u);
  Reopen();
  EXPECT_EQ(ContentsOf(*db_), before);
  Must(db_->Flush());
  EXPECT_EQ(ContentsOf(*db_), before);
  ExpectSound();
}

TEST_F(TransactionTest, ACommitAppearsWholeToConcurrentReaders) {
  // The sum over all rows is kept by every transfer.
  Put({{1, 500}, {2, 500}, {3, 0}});
  std::atomic<bool> done{false};
  Threads writer;
  writer.Start([&] {
    const base::ScopeGuard finally([&] { done = true; });
    for (int64_t i = 0; i < 60; ++i) {
      Must(db_->Run([&](Transaction& t) -> Status {
        const int64_t a = std::stoll(ValueOf(t, "t", 1)), b = std::stoll(ValueOf(t, "t", 2));
        return t.Put("t", Numbers({{1, a - 1}, {2, b + 1}}));
      }));
      if (i % 20 == 10) Must(db_->Flush());
    }
  });
  int64_t reads = 0;
  while (!done || reads == 0) {
    const Lines rows = ReadAll();
    ASSERT_EQ(rows.size(), 3u);
    const int64_t sum = std::stoll(rows[0].substr(2)) + std::stoll(rows[1].substr(2));
    ASSERT_EQ(sum, 1000);
    ++reads;
  }
  writer.Join();
}

// ---- Idempotency keys ----

TransactionOptions WithKey(const std::string& key) {
  TransactionOptions options;
  options.idempotency_key = key;
  return options;
}

TEST_F(TransactionTest, AnIdempotencyKeyCommitsOnce) {
  const auto commit = [&](int64_t value) {
    const auto t = Must(db_->Begin(WithKey("order-17")));
    Set(*t, 1, value);
    return Must(t->Commit());
  };
  const CommitResult first = commit(11);
  EXPECT_FALSE(first.replayed);
  const auto expect_replay = [&](const char* when) {
    const CommitId newest = db_->newest_commit();
    const CommitResult again = commit(99);
    EXPECT_TRUE(again.replayed) << when;
    EXPECT_EQ(again.commit, first.commit) << when;
    EXPECT_EQ(again.system_time, first.system_time) << when;
    EXPECT_EQ(db_->newest_commit(), newest) << when;
    EXPECT_EQ(Read(1), "11") << when;
  };
  expect_replay("at once");
  Put({{2, 21}});
  expect_replay("after another commit");
  Must(db_->Flush());
  expect_replay("after a flush");
  Reopen();
  expect_replay("after a reopen");
  Must(db_->Compact());
  Must(db_->CollectGarbage(false, 0));
  expect_replay("after compaction and gc");
  Put({{2, 22}});
  Reopen();
  expect_replay("after a second reopen");
}

TEST_F(TransactionTest, AnIdempotencyKeyIsFoundAfterReopenFromTheLog) {
  const auto t = Must(db_->Begin(WithKey("k")));
  Set(*t, 1, 11);
  const CommitResult first = Must(t->Commit());
  Reopen();
  const auto again = Must(db_->Begin(WithKey("k")));
  Set(*again, 1, 12);
  const CommitResult second = Must(again->Commit());
  EXPECT_TRUE(second.replayed);
  EXPECT_EQ(second.commit, first.commit);
  EXPECT_EQ(Read(1), "11");
}

TEST_F(TransactionTest, AnIdempotencyKeyOfAFailedCommitIsFree) {
  const auto t1 = Must(db_->Begin(WithKey("k")));
  Set(*t1, 1, 11);
  Put({{1, 12}});
  ExpectError(t1->Commit(), ErrorCode::kConflict);
  const auto t2 = Must(db_->Begin(WithKey("k")));
  Set(*t2, 1, 13);
  EXPECT_FALSE(Must(t2->Commit()).replayed);
  EXPECT_EQ(Read(1), "13");
}

TEST_F(TransactionTest, OneOfTwoThreadsWithTheSameIdempotencyKeyCommits) {
  for (int round = 0; round < 20; ++round) {
    std::vector<CommitResult> results(2);
    Threads threads;
    for (size_t i = 0; i < 2; ++i) {
      threads.Start([&, i] {
        const auto t = Must(db_->Begin(WithKey("round-" + std::to_string(round))));
        Must(t->Put("t", Numbers({{1000 + round * 2 + static_cast<int64_t>(i), 1}})));
        results[i] = Must(t->Commit());
      });
    }
    threads.Join();
    EXPECT_NE(results[0].replayed, results[1].replayed);
    EXPECT_EQ(results[0].commit, results[1].commit);
  }
  EXPECT_EQ(ReadAll().size(), 22u);
}

TEST_F(TransactionTest, IdempotencyKeysAreNotVisibleAsDocumentsOrTables) {
  const auto t = Must(db_->Begin(WithKey("secret")));
  Set(*t, 1, 11);
  Must(t->Commit());
  Must(db_->Flush());
  EXPECT_EQ(Text(*Must(db_->ScanPrefix(""))), Lines());
  EXPECT_EQ(db_->ListTables().size(), 1u);
}

// ---- System time ----

TEST_F(TransactionTest, ATransactionMayBringItsOwnSystemTime) {
  // A fresh database in which nothing is newer than the history to be replayed.
  store_ = MakeMemoryStore();
  Reopen();
  CreateNumbers();
  const auto commit_at = [&](int64_t micros, int64_t value) {
    TransactionOptions options;
    options.system_time = SystemTime{micros};
    const auto t = Must(db_->Begin(options));
    Set(*t, 1, value);
    return t->Commit();
  };
  const CommitResult first = Must(commit_at(1'000'000, 1));
  EXPECT_EQ(first.system_time.micros, 1'000'000);
  EXPECT_EQ(Must(commit_at(2'000'000, 2)).system_time.micros, 2'000'000);
  const Contents before = ContentsOf(*db_);
  ExpectError(commit_at(2'000'000, 3), ErrorCode::kInvalidArgument,
              {"system time", "later than the newest commit"});
  ExpectError(commit_at(1'500'000, 3), ErrorCode::kInvalidArgument);
  ExpectError(commit_at(int64_t{1} << 62, 3), ErrorCode::kInvalidArgument, {"not in the future"});
  ExpectError(commit_at(SystemTime::Max().micros, 3), ErrorCode::kInvalidArgument);
  ExpectError(commit_at(SystemTime::Min().micros, 3), ErrorCode::kInvalidArgument);
  EXPECT_EQ(ContentsOf(*db_), before);
  ScanOptions at;
  at.system = SystemPeriod::AsOf(SystemTime{1'999'999});
  EXPECT_EQ(ScanText(*db_, "t", at), (Lines{"1|1"}));
  Must(db_->Flush());
  EXPECT_EQ(ScanText(*db_, "t", at), (Lines{"1|1"}));
  at.system = SystemPeriod::AsOf(SystemTime{999'999});
  EXPECT_EQ(ScanText(*db_, "t", at), Lines());
  // Commits without a time of their own go on with the clock.
  EXPECT_GT(Put({{1, 4}}).system_time.micros, 1'600'000'000'000'000);
}

TEST_F(TransactionTest, SystemTimeRisesStrictlyAndCommitNumbersAreDense) {
  CommitResult last = Put({{1, 0}});
  for (int64_t i = 0; i < 50; ++i) {
    if (i == 20) Must(db_->Flush());
    if (i == 30) Reopen();
    const CommitResult next = i % 2 == 0 ? Put({{1, i}}) : Must(db_->PutDocument("d", "x"));
    EXPECT_EQ(next.commit.value, last.commit.value + 1);
    EXPECT_GT(next.system_time, last.system_time);
    last = next;
  }
}

TEST_F(TransactionTest, NowIsOneMomentForTheWholeTransaction) {
  Must(db_->Put("t", Numbers({{3, 30}}), {.valid = {{1000}, {2000}}}));
  TransactionOptions options;
  options.valid_now = ValidTime{1500};
  const auto t = Must(db_->Begin(options));
  EXPECT_EQ(Read(*t, 3), "30");
  EXPECT_EQ(t->snapshot()->now(), ValidTime{1500});
  options.valid_now = ValidTime{2000};
  EXPECT_EQ(Read(*Must(db_->Begin(options)), 3), "none");
}

// ---- Run and acknowledgements ----

TEST_F(TransactionTest, RunTriesAgainAfterAConflict) {
  int attempts = 0;
  const CommitResult result = Must(db_->Run([&](Transaction& t) -> Status {
    const int64_t value = std::stoll(ValueOf(t, "t", 1));
    if (++attempts <= 2) Must(db_->Put("t", Numbers({{1, value + 100}})));
    return t.Put("t", Numbers({{1, value + 1}}));
  }));
  EXPECT_EQ(attempts, 3);
  EXPECT_EQ(result.commit, db_->newest_commit());
  EXPECT_EQ(Read(1), "211");
}

TEST_F(TransactionTest, RunGivesUpAfterItsAttemptsAndReturnsTheBodysError) {
  int attempts = 0;
  const auto always = db_->Run(
      [&](Transaction& t) -> Status {
        ++attempts;
        const auto written = db_->Put("t", Numbers({{1, attempts}}));
        if (!written.ok()) return written.status();
        return t.Put("t", Numbers({{1, -1}}));
      },
      {}, 3);
  ExpectError(always, ErrorCode::kConflict);
  EXPECT_EQ(attempts, 3);
  const Contents before = ContentsOf(*db_);
  const auto refused = db_->Run([&](Transaction& t) -> Status {
    Must(t.Put("t", Numbers({{1, -2}})));
    return MakeError(ErrorCode::kCancelled, "changed my mind");
  });
  ExpectError(refused, ErrorCode::kCancelled, {"changed my mind"});
  EXPECT_EQ(ContentsOf(*db_), before);
}

TEST_F(TransactionTest, CountersMovedByManyThreadsLoseNoUpdate) {
  constexpr int kThreads = 4, kEach = 25;
  Put({{1, 0}});
  Threads threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.Start([&] {
      for (int n = 0; n < kEach; ++n) {
        Must(db_->Run(
            [&](Transaction& t) -> Status {
              return t.Put("t", Numbers({{1, std::stoll(ValueOf(t, "t", 1)) + 1}}));
            },
            {}, 10'000));
      }
    });
  }
  threads.Join();
  EXPECT_EQ(Read(1), std::to_string(kThreads * kEach));
}

TEST_F(TransactionTest, TheDurabilityClassIsReported) {
  for (const auto& [sync, expected] : {std::pair(SyncPolicy::kAlways, AckClass::kDurable),
                                       std::pair(SyncPolicy::kInterval, AckClass::kWritten),
                                       std::pair(SyncPolicy::kOff, AckClass::kWritten)}) {
    options_.sync = sync;
    Reopen();
    EXPECT_EQ(AckClassName(Put({{1, 1}}).ack), std::string(AckClassName(expected)));
    EXPECT_EQ(Must(db_->PutDocument("d", "x")).ack, expected);
    TransactionOptions durable;
    durable.durable = true;
    const auto t = Must(db_->Begin(durable));
    Set(*t, 1, 2);
    EXPECT_EQ(Must(t->Commit()).ack, AckClass::kDurable);
  }
  const auto volatile_db = Must(Database::OpenInMemory(SmallOptions()));
  EXPECT_EQ(Must(volatile_db->PutDocument("d", "x")).ack, AckClass::kMemory);
}

TEST_F(TransactionTest, PowerLossKeepsWhatWasAcknowledgedAsDurableAndMayLoseTheRest) {
  for (const SyncPolicy sync : {SyncPolicy::kAlways, SyncPolicy::kOff}) {
    const auto store = std::make_shared<storage::MemoryStore>();
    options_.sync = sync;
    const auto db = Must(Database::Open(store, options_));
    const AckClass usual = Must(db->PutDocument("first", "1")).ack;
    TransactionOptions durable;
    durable.durable = true;
    const auto t = Must(db->Begin(durable));
    Must(t->PutDocument("second", "2"));
    EXPECT_EQ(Must(t->Commit()).ack, AckClass::kDurable);
    EXPECT_EQ(Must(db->PutDocument("third", "3")).ack, usual);
    EXPECT_EQ(usual, sync == SyncPolicy::kAlways ? AckClass::kDurable : AckClass::kWritten);
    // What the disk holds at this moment; the process goes on beside it.
    const auto after = Must(Database::Open(store->CrashClone(), options_));
    EXPECT_EQ(Must(after->GetDocument("first")), "1") << "lies before one that was synced";
    EXPECT_EQ(Must(after->GetDocument("second")), "2");
    EXPECT_EQ(Must(after->GetDocument("third")).has_value(), usual == AckClass::kDurable);
    Must(db->Sync());
    const auto synced = Must(Database::Open(store->CrashClone(), options_));
    EXPECT_EQ(Must(synced->GetDocument("third")), "3");
  }
}

}  // namespace
}  // namespace lamina::behaviour
