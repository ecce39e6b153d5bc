// Changes of tables inside a transaction: what the transaction sees of them, what others see, and
// that they come with its facts or not at all.
#include <functional>

#include "test_database.h"

namespace lamina::behaviour {
namespace {

using TransactionPtr = std::unique_ptr<Transaction>;

class TableTransactionTest : public StoreTest {
 protected:
  void SetUp() override {
    Open();
    CreateNumbers();
    Put({{1, 10}, {2, 20}});
  }
  TransactionPtr Begin(TransactionOptions options = {}) {
    return Must(db_->Begin(std::move(options)));
  }
  static std::vector<std::string> Names(const std::vector<TableInfo>& tables) {
    std::vector<std::string> names;
    for (const TableInfo& table : tables) names.push_back(table.name);
    return names;
  }
  template <typename On>
  static std::vector<std::string> Columns(On& on, const std::string& table) {
    return Must(on.GetTable(table)).schema->field_names();
  }
  static std::shared_ptr<arrow::RecordBatch> Named(const std::vector<int64_t>& ids,
                                                   const std::vector<int64_t>& values,
                                                   const std::vector<std::string>& names,
                                                   const std::string& column = "name") {
    return Batch(
        arrow::schema({arrow::field("id", arrow::int64(), false),
                       arrow::field("value", arrow::int64()), arrow::field(column, arrow::utf8())}),
        {Int64s(ids), Int64s(values), Strings(names)});
  }
};

TEST_F(TableTransactionTest, ATableAndItsRowsComeWithOneCommit) {
  auto t = Begin();
  Must(t->CreateTable("u", NumberSchema(), {.names = {"id"}}));
  Must(t->Put("u", Numbers({{1, 100}})));
  Must(t->Put("t", Numbers({{3, 30}})));
  EXPECT_EQ(ValueOf(*t, "u", 1), "100");
  EXPECT_EQ(ScanText(*t, "u"), Lines({"1|100"}));
  EXPECT_EQ(Names(t->ListTables()), Lines({"t", "u"}));
  EXPECT_EQ(Names(db_->ListTables()), Lines({"t"}));
  ExpectError(db_->GetTable("u"), ErrorCode::kNotFound);
  const CommitResult before{db_->newest_commit(), {}, AckClass::kMemory, false};
  const CommitResult committed = Must(t->Commit());
  EXPECT_EQ(committed.commit.value, before.commit.value + 1);
  EXPECT_EQ(committed.ack, AckClass::kDurable);
  EXPECT_EQ(ScanText(*db_, "u"), Lines({"1|100"}));
  EXPECT_EQ(ScanText(*db_, "t"), Lines({"1|10", "2|20", "3|30"}));
  EXPECT_EQ(Must(db_->TimeOf(committed.commit)), committed.system_time);
  EXPECT_EQ(Must(db_->CommitAt(committed.system_time)), committed.commit);
  // The numbers go on, and the log with them.
  EXPECT_EQ(Must(db_->Put("u", Numbers({{2, 200}}))).commit.value, committed.commit.value + 1);
  ExpectSound();
  Reopen();
  EXPECT_EQ(ScanText(*db_, "u"), Lines({"1|100", "2|200"}));
  EXPECT_EQ(Must(db_->TimeOf(committed.commit)), committed.system_time);
  ExpectSound();
}

TEST_F(TableTransactionTest, AbortTakesChangesBack) {
  const Contents before = ContentsOf(*db_);
  {
    auto t = Begin();
    Must(t->CreateTable("u", NumberSchema(), {.names = {"id"}}));
    Must(t->AddColumn("t", arrow::field("name", arrow::utf8())));
    Must(t->RenameTable("t", "v"));
    t->Abort();
    ExpectError(t->CreateTable("w", NumberSchema(), {.names = {"id"}}), ErrorCode::kInvalidArgument,
                {"ended"});
    EXPECT_TRUE(t->ListTables().empty());
  }
  EXPECT_EQ(ContentsOf(*db_), before);
  // The id that the aborted one would have taken is free.
  CreateNumbers("u");
  Must(db_->Put("u", Numbers({{1, 1}})));
  EXPECT_EQ(ScanText(*db_, "u"), Lines({"1|1"}));
}

TEST_F(TableTransactionTest, StagedRowsAreTakenOverIntoTheChangedTable) {
  auto t = Begin();
  Must(t->Put("t", Numbers({{3, 30}})));
  Must(t->Delete("t", Ids({1})));
  EXPECT_EQ(ScanText(*t, "t"), Lines({"2|20", "3|30"}));
  Must(t->AddColumn("t", arrow::field("name", arrow::utf8())));
  EXPECT_EQ(ScanText(*t, "t"), Lines({"2|20|null", "3|30|null"}));
  Must(t->Put("t", Named({4}, {40}, {"four"})));
  Must(t->RenameColumn("t", "value", "amount"));
  EXPECT_EQ(Columns(*t, "t"), Lines({"id", "amount", "name"}));
  EXPECT_EQ(ScanText(*t, "t"), Lines({"2|20|null", "3|30|null", "4|40|four"}));
  EXPECT_EQ(Text(Must(t->Get("t", IdKey(4)))), Lines({"4|40|four"}));
  EXPECT_EQ(Text(Must(t->Get("t", IdKey(2)))), Lines({"2|20|null"}));
  ScanOptions four;
  four.filter = Eq("amount", Lit(int64_t{40}));
  EXPECT_EQ(ScanText(*t, "t", four), Lines({"4|40|four"}));
  Must(t->DropColumn("t", "amount"));
  EXPECT_EQ(ScanText(*t, "t"), Lines({"2|null", "3|null", "4|four"}));
  EXPECT_EQ(t->pending_facts(), 3u);
  // The snapshot, with rows in memory and of the older definition, stays as it is.
  EXPECT_EQ(ScanText(*db_, "t"), Lines({"1|10", "2|20"}));
  Must(t->Commit());
  EXPECT_EQ(ScanText(*db_, "t"), Lines({"2|null", "3|null", "4|four"}));
  EXPECT_EQ(Must(db_->GetTable("t")).schema_version, 4u);
  Reopen();
  EXPECT_EQ(ScanText(*db_, "t"), Lines({"2|null", "3|null", "4|four"}));
  ExpectSound();
}

TEST_F(TableTransactionTest, RollbackToTakesTablesAndRowsBackTogether) {
  auto t = Begin();
  Must(t->Put("t", Numbers({{3, 30}})));
  Must(t->Savepoint("a"));
  Must(t->AddColumn("t", arrow::field("name", arrow::utf8())));
  Must(t->Put("t", Named({4}, {40}, {"four"})));
  Must(t->Savepoint("b"));
  Must(t->DropTable("t"));
  EXPECT_EQ(t->pending_facts(), 0u);
  ExpectError(t->Scan("t"), ErrorCode::kNotFound);
  Must(t->CreateTable("t", NumberSchema(), {.names = {"id"}}));
  Must(t->Put("t", Numbers({{9, 90}})));
  EXPECT_EQ(ScanText(*t, "t"), Lines({"9|90"}));
  Must(t->RollbackTo("b"));
  EXPECT_EQ(ScanText(*t, "t"), Lines({"1|10|null", "2|20|null", "3|30|null", "4|40|four"}));
  Must(t->RollbackTo("b"));
  Must(t->RollbackTo("a"));
  EXPECT_EQ(ScanText(*t, "t"), Lines({"1|10", "2|20", "3|30"}));
  ExpectError(t->RollbackTo("b"), ErrorCode::kNotFound);
  Must(t->Put("t", Numbers({{5, 50}})));
  Must(t->Commit());
  EXPECT_EQ(ScanText(*db_, "t"), Lines({"1|10", "2|20", "3|30", "5|50"}));
  EXPECT_EQ(Must(db_->GetTable("t")).schema_version, 1u);
  ExpectSound();
}

TEST_F(TableTransactionTest, AChangeThatWasTakenBackIsNoneForTheCommit) {
  auto t = Begin();
  Must(t->Savepoint("a"));
  Must(t->CreateTable("u", NumberSchema(), {.names = {"id"}}));
  Must(t->RollbackTo("a"));
  CreateNumbers("elsewhere");  // no conflict: nothing is changed by t
  Must(t->Put("t", Numbers({{3, 30}})));
  Must(t->Commit());
  EXPECT_EQ(ValueOf(*db_, "t", 3), "30");
}

TEST_F(TableTransactionTest, DroppingAndCreatingUnderOneNameLeavesOnlyTheNewRows) {
  const uint64_t old_id = Must(db_->GetTable("t")).id;
  auto t = Begin();
  Must(t->Put("t", Numbers({{7, 70}})));
  Must(t->DropTable("t"));
  Must(t->CreateTable("t", NumberSchema(), {.names = {"id"}}));
  Must(t->Put("t", Numbers({{8, 80}})));
  Must(t->Commit());
  EXPECT_EQ(ScanText(*db_, "t"), Lines({"8|80"}));
  EXPECT_NE(Must(db_->GetTable("t")).id, old_id);
  Reopen();
  EXPECT_EQ(ScanText(*db_, "t"), Lines({"8|80"}));
  ExpectSound();
}

TEST_F(TableTransactionTest, NamesMayBeSwapped) {
  CreateNumbers("u");
  Must(db_->Put("u", Numbers({{5, 50}})));
  auto t = Begin();
  ExpectError(t->RenameTable("t", "u"), ErrorCode::kAlreadyExists);
  ExpectError(t->CreateTable("u", NumberSchema(), {.names = {"id"}}), ErrorCode::kAlreadyExists);
  Must(t->RenameTable("t", "x"));
  Must(t->RenameTable("u", "t"));
  Must(t->RenameTable("x", "u"));
  Must(t->Commit());
  EXPECT_EQ(ScanText(*db_, "t"), Lines({"5|50"}));
  EXPECT_EQ(ScanText(*db_, "u"), Lines({"1|10", "2|20"}));
}

TEST_F(TableTransactionTest, ChangesConflictWithAnyChangeSinceTheSnapshot) {
  const auto expect_conflict = [&](const std::function<void()>& other) {
    auto t = Begin();
    Must(t->AddColumn("t", arrow::field("c" + std::to_string(db_->newest_commit().value) + "x" +
                                            std::to_string(db_->ListTables().size()),
                                        arrow::utf8())));
    other();
    ExpectError(t->Commit(), ErrorCode::kConflict, {"another change of table definitions"});
  };
  expect_conflict([&] { CreateNumbers("u"); });
  expect_conflict([&] { Must(db_->RenameColumn("u", "value", "v")); });
  expect_conflict([&] { Must(db_->DropTable("u")); });
  expect_conflict([&] {
    auto other = Begin();
    Must(other->CreateTable("w", NumberSchema(), {.names = {"id"}}));
    Must(other->Commit());
  });
  // Created and gone again: the id is used up all the same.
  expect_conflict([&] {
    CreateNumbers("v");
    Must(db_->DropTable("v"));
  });
  EXPECT_EQ(Columns(*db_, "t"), Lines({"id", "value"}));
}

TEST_F(TableTransactionTest, TwoThatWouldTakeTheSameIdDoNotMixTheirRows) {
  auto first = Begin();
  auto second = Begin();
  Must(first->CreateTable("a", NumberSchema(), {.names = {"id"}}));
  Must(second->CreateTable("b", NumberSchema(), {.names = {"id"}}));
  Must(first->Put("a", Numbers({{1, 1}})));
  Must(second->Put("b", Numbers({{2, 2}})));
  Must(first->Commit());
  Must(db_->Put("a", Numbers({{3, 3}})));
  EXPECT_EQ(ScanText(*second, "b"), Lines({"2|2"}));
  EXPECT_EQ(ValueOf(*second, "b", 3), "none");
  ExpectError(second->Commit(), ErrorCode::kConflict);
  EXPECT_EQ(ScanText(*db_, "a"), Lines({"1|1", "3|3"}));
}

TEST_F(TableTransactionTest, OthersThatWroteAChangedTableConflictAndTheRestDoNot) {
  CreateNumbers("u");
  auto wrote_it = Begin();
  auto wrote_another = Begin();
  auto wrote_its_key = Begin();
  Must(wrote_it->Put("t", Numbers({{3, 30}})));
  Must(wrote_another->Put("u", Numbers({{3, 30}})));
  Must(wrote_its_key->Put("u", Numbers({{1, 1}})));
  auto t = Begin();
  Must(t->AddColumn("t", arrow::field("name", arrow::utf8())));
  Must(t->Put("u", Numbers({{1, 2}})));
  Must(t->Commit());
  ExpectError(wrote_it->Commit(), ErrorCode::kConflict, {"table was changed meanwhile"});
  Must(wrote_another->Commit());
  // Facts of a commit that went past the log are checked like any other's.
  ExpectError(wrote_its_key->Commit(), ErrorCode::kConflict, {"another commit came first"});
}

TEST_F(TableTransactionTest, FactsOfAChangingTransactionConflictAsEver) {
  for (const bool read_only_the_key : {false, true}) {
    auto t = Begin();
    Must(t->CreateTable("u", NumberSchema(), {.names = {"id"}}));
    if (read_only_the_key) {
      EXPECT_EQ(ScanText(*t, "t").size(), 2u);
    } else {
      Must(t->Put("t", Numbers({{1, 11}})));
    }
    Put({{1, 12}});
    ExpectError(t->Commit(), ErrorCode::kConflict);
    ExpectError(db_->GetTable("u"), ErrorCode::kNotFound);
  }
}

TEST_F(TableTransactionTest, AppendTablesNumberTheirRowsOnAfterTheirCreatingTransaction) {
  const auto schema = arrow::schema({arrow::field("x", arrow::int64())});
  const auto rows = [&](std::vector<int64_t> x) { return Batch(schema, {Int64s(x)}); };
  auto t = Begin();
  Must(t->CreateTable("log", schema, {.no_key = true}));
  Must(t->Put("log", rows({1, 2})));
  Must(t->AddColumn("log", arrow::field("y", arrow::int64())));
  EXPECT_EQ(ScanText(*t, "log"), Lines({"1|null", "2|null"}));
  Must(t->DropColumn("log", "y"));
  Must(t->Put("log", rows({3})));
  Must(t->Commit());
  Must(db_->Put("log", rows({4})));
  EXPECT_EQ(ScanText(*db_, "log"), Lines({"1", "2", "3", "4"}));
  Reopen();
  Must(db_->Put("log", rows({5})));
  EXPECT_EQ(ScanText(*db_, "log"), Lines({"1", "2", "3", "4", "5"}));
  ExpectSound();
}

TEST_F(TableTransactionTest, AWideningThatAValueDoesNotFitIsRefused) {
  const auto seconds = arrow::timestamp(arrow::TimeUnit::SECOND);
  const auto nanos = arrow::timestamp(arrow::TimeUnit::NANO);
  const auto schema =
      arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("at", seconds)});
  const auto rows = [&](int64_t id, int64_t at) {
    arrow::TimestampBuilder builder(seconds, arrow::default_memory_pool());
    Must(builder.Append(at));
    return Batch(schema, {Int64s({id}), Must(builder.Finish())});
  };
  Must(db_->CreateTable("times", schema, {.names = {"id"}}));
  Must(db_->Put("times", rows(1, 1)));
  auto staged = Begin();
  Must(staged->Put("times", rows(2, int64_t{1} << 40)));
  ExpectError(staged->WidenColumn("times", "at", nanos), ErrorCode::kInvalidArgument,
              {"does not fit"});
  EXPECT_EQ(ScanText(*staged, "times").size(), 2u);
  // One that comes meanwhile would not be readable any more: a conflict at either isolation.
  TransactionOptions snapshot_only;
  snapshot_only.isolation = Isolation::kSnapshot;
  auto t = Begin(snapshot_only);
  Must(t->WidenColumn("times", "at", nanos));
  Must(db_->Put("times", rows(3, int64_t{1} << 40)));
  ExpectError(t->Commit(), ErrorCode::kConflict);
  Must(db_->Delete("times", Ids({3})));
  EXPECT_EQ(ScanText(*db_, "times").size(), 1u);
}

TEST_F(TableTransactionTest, AnIdempotencyKeyIsFoundAgain) {
  TransactionOptions options;
  options.idempotency_key = "create u";
  const auto run = [&] {
    auto t = Begin(options);
    if (Names(t->ListTables()) == Lines({"t"}))
      Must(t->CreateTable("u", NumberSchema(), {.names = {"id"}}));
    Must(t->Put("u", Numbers({{1, 1}})));
    return Must(t->Commit());
  };
  const CommitResult first = run();
  EXPECT_FALSE(first.replayed);
  const CommitResult again = run();
  EXPECT_TRUE(again.replayed);
  EXPECT_EQ(again.commit, first.commit);
  Reopen();
  EXPECT_EQ(run().commit, first.commit);
}

TEST_F(TableTransactionTest, AnOwnSystemTimeIsKept) {
  TransactionOptions options;
  options.system_time = SystemTime{Must(db_->TimeOf(db_->newest_commit())).micros + 1};
  auto t = Begin(options);
  Must(t->CreateTable("u", NumberSchema(), {.names = {"id"}}));
  EXPECT_EQ(Must(t->Commit()).system_time, *options.system_time);
  auto late = Begin(options);
  Must(late->DropTable("u"));
  ExpectError(late->Commit(), ErrorCode::kInvalidArgument, {"system time"});
  EXPECT_EQ(Names(db_->ListTables()), Lines({"t", "u"}));
}

TEST_F(TableTransactionTest, HeldSnapshotsKeepReadingTheTableAsItWas) {
  const SnapshotPtr held = db_->GetSnapshot();
  auto t = Begin();
  Must(t->DropColumn("t", "value"));
  Must(t->Delete("t", Ids({1})));
  Must(t->Commit());
  EXPECT_EQ(ScanText(*db_, held, "t"), Lines({"1|10", "2|20"}));
  EXPECT_EQ(ScanText(*db_, "t"), Lines({"2"}));
}

TEST_F(TableTransactionTest, AScanThatIsOpenDoesNotSeeAChange) {
  auto t = Begin();
  Must(t->Put("t", Numbers({{3, 30}})));
  const auto scan = Must(t->Scan("t"));
  Must(t->AddColumn("t", arrow::field("name", arrow::utf8())));
  Must(t->Put("t", Named({4}, {40}, {"four"})));
  EXPECT_EQ(Text(*scan), Lines({"1|10", "2|20", "3|30"}));
}

TEST_F(TableTransactionTest, ARunThatConflictsIsTriedAgain) {
  int attempts = 0;
  Must(db_->Run([&](Transaction& t) -> Status {
    ++attempts;
    ARROW_RETURN_NOT_OK(t.AddColumn("t", arrow::field("name", arrow::utf8())));
    return attempts == 1 ? db_->CreateTable("u", NumberSchema(), {.names = {"id"}}) : Status::OK();
  }));
  EXPECT_EQ(attempts, 2);
  EXPECT_EQ(Columns(*db_, "t"), Lines({"id", "value", "name"}));
}

TEST_F(TableTransactionTest, WithoutALogADatabaseInMemoryTakesThemToo) {
  auto db = Must(Database::OpenInMemory(SmallOptions()));
  auto t = Must(db->Begin());
  Must(t->CreateTable("t", NumberSchema(), {.names = {"id"}}));
  Must(t->Put("t", Numbers({{1, 10}})));
  Must(t->Commit());
  EXPECT_EQ(ScanText(*db, "t"), Lines({"1|10"}));
  EXPECT_EQ(Must(db->Check()), std::vector<std::string>());
}

}  // namespace
}  // namespace lamina::behaviour
