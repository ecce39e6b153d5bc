// Loads (db/table_load.h): rows that go into files before their commit.
#include "db/session.h"
#include "storage/object_store/request_kind.h"
#include "test_database.h"
#include "testing/faulty_store.h"

namespace lamina::behaviour {
namespace {

using storage::RequestKind;
using testing::FaultyStore;
using testing::StoreFault;

class LoadTest : public StoreTest {
 protected:
  void SetUp() override {
    faulty_ = std::make_shared<FaultyStore>(MakeMemoryStore());
    store_ = faulty_;
    Open();
    CreateNumbers();
  }
  void TearDown() override {
    if (db_ != nullptr) ExpectSound();
  }

  std::unique_ptr<db::Session> Begin() { return Must(db::BeginSession(*db_, {})); }
  /// Each of `runs` in files of its own.
  static Status Load(db::Session& session, const std::vector<std::vector<Number>>& runs,
                     const std::string& table = "t") {
    ARROW_ASSIGN_OR_RAISE(const auto load, session.BeginLoad(table, {}));
    for (const auto& rows : runs) {
      ARROW_ASSIGN_OR_RAISE(auto piece, load->Prepare(Numbers(rows)));
      std::vector<db::TableLoad::Piece> pieces{std::move(piece)};
      ARROW_RETURN_NOT_OK(load->Number(&pieces));
      ARROW_RETURN_NOT_OK(load->Write(pieces));
    }
    return load->Finish();
  }
  size_t DataObjects() { return Must(store_->List("data/")).size(); }

  std::shared_ptr<FaultyStore> faulty_;
};

TEST_F(LoadTest, RowsComeWithTheCommit) {
  auto s = Begin();
  Must(Load(*s, {{{3, 30}, {1, 10}}, {{2, 20}}}));
  EXPECT_EQ(s->pending_facts(), 3u);
  EXPECT_EQ(ScanText(*db_, "t"), Lines());
  EXPECT_EQ(ScanText(*s, "t"), Lines());  // its own rows are not seen either
  EXPECT_EQ(Must(s->Commit()).ack, AckClass::kDurable);
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|10", "2|20", "3|30"}));
  EXPECT_EQ(ValueOf(*db_, "t", 2), "20");
  Put({{2, 21}});
  Reopen();
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|10", "2|21", "3|30"}));
}

TEST_F(LoadTest, AnUncommittedLoadLeavesNothing) {
  const Contents before = ContentsOf(*db_);
  const size_t objects = DataObjects();
  {
    auto s = Begin();
    Must(Load(*s, {{{1, 10}}}));
    s->Abort();
  }
  {
    auto s = Begin();
    Must(s->Savepoint("a"));
    Must(Load(*s, {{{1, 10}}}));
    Must(s->RollbackTo("a"));
    Must(s->Commit());
  }
  EXPECT_EQ(ContentsOf(*db_), before);
  EXPECT_EQ(DataObjects(), objects);
}

TEST_F(LoadTest, KeysThatComeTwiceOrAreThereAreRefused) {
  Put({{5, 50}});
  Put({{6, 60}}, {ValidTime{100}, ValidTime{200}});  // not valid now, but known
  Must(db_->Flush());
  Put({{7, 70}});
  Put({{8, 80}});
  Delete({8});
  const Contents before = ContentsOf(*db_);
  ExpectError(Load(*Begin(), {{{1, 1}, {1, 2}}}), ErrorCode::kAlreadyExists, {"key=(1)"});
  ExpectError(Load(*Begin(), {{{1, 1}, {9, 2}}, {{0, 1}, {9, 2}}}), ErrorCode::kAlreadyExists,
              {"key=(9)"});
  for (const int64_t id : {5, 6, 7}) {
    ExpectError(Load(*Begin(), {{{1, 1}, {id, 2}, {20, 1}}}), ErrorCode::kAlreadyExists,
                {"key=(" + std::to_string(id) + ")"});
  }
  EXPECT_EQ(ContentsOf(*db_), before);
  auto s = Begin();
  Must(Load(*s, {{{1, 1}, {8, 81}, {20, 1}}}));
  Must(s->Commit());
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|1", "5|50", "7|70", "8|81", "20|1"}));
}

TEST_F(LoadTest, AKeyThatIsWrittenMeanwhileIsAConflict) {
  auto s = Begin();
  Must(Load(*s, {{{1, 10}, {3, 30}}}));
  Put({{2, 20}});  // beside the load's keys
  Must(s->Commit());
  for (const bool flushed : {false, true}) {
    auto other = Begin();
    Must(Load(*other, {{{11, 1}, {13, 1}}}));
    Put({{13, 130}});
    if (flushed) Must(db_->Flush());
    ExpectError(other->Commit().status(), ErrorCode::kConflict);
    EXPECT_EQ(ValueOf(*db_, "t", 11), "none");
    Delete({13});
  }
}

TEST_F(LoadTest, OthersConflictWithWhatWasLoadedSinceTheirSnapshot) {
  auto writer = Begin();
  auto reader = Begin();
  auto loader = Begin();
  auto elsewhere = Begin();
  EXPECT_EQ(ScanText(*reader, "t"), Lines());
  auto s = Begin();
  Must(Load(*s, {{{1, 10}, {5, 50}}}));
  Must(s->Commit());
  Must(writer->Put("t", Numbers({{5, 51}})));
  ExpectError(writer->Commit().status(), ErrorCode::kConflict);
  Must(reader->PutDocument("what was read", "nothing"));
  ExpectError(reader->Commit().status(), ErrorCode::kConflict);
  Must(Load(*loader, {{{5, 52}, {6, 60}}}));
  ExpectError(loader->Commit().status(), ErrorCode::kConflict);
  Must(elsewhere->Put("t", Numbers({{9, 90}})));
  Must(elsewhere->Commit());
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|10", "5|50", "9|90"}));
}

TEST_F(LoadTest, TablesWithoutAKeyKeepTheOrderOfTheRows) {
  Must(db_->CreateTable("log", NumberSchema(), {.names = {}, .no_key = true}));
  Must(db_->Put("log", Numbers({{9, 0}})));
  auto s = Begin();
  Must(Load(*s, {{{3, 1}, {1, 2}}, {{3, 3}}}, "log"));
  Must(db_->Put("log", Numbers({{8, 4}})));
  Must(s->Commit());
  Must(db_->Put("log", Numbers({{7, 5}})));
  EXPECT_EQ(ScanText(*db_, "log"), (Lines{"9|0", "3|1", "1|2", "3|3", "8|4", "7|5"}));
  Reopen();
  Must(db_->Put("log", Numbers({{6, 6}})));
  EXPECT_EQ(ScanText(*db_, "log").back(), "6|6");
}

TEST_F(LoadTest, ATableIsMadeAndLoadedInOneCommit) {
  auto s = Begin();
  Must(s->CreateTable("u", NumberSchema(), {.names = {"id"}}));
  Must(Load(*s, {{{1, 10}}, {{2, 20}}}, "u"));
  ExpectError(db_->GetTable("u"), ErrorCode::kNotFound);
  Must(s->Commit());
  EXPECT_EQ(ScanText(*db_, "u"), (Lines{"1|10", "2|20"}));
  // Without a key.
  s = Begin();
  Must(s->CreateTable("v", NumberSchema(), {.names = {}, .no_key = true}));
  Must(Load(*s, {{{2, 10}}, {{1, 20}}}, "v"));
  Must(s->Commit());
  Must(db_->Put("v", Numbers({{0, 30}})));
  EXPECT_EQ(ScanText(*db_, "v"), (Lines{"2|10", "1|20", "0|30"}));
}

TEST_F(LoadTest, ATableThatIsLoadedMayOnlyBeRead) {
  auto s = Begin();
  Must(s->Put("t", Numbers({{1, 1}})));
  ExpectError(s->BeginLoad("t", {}), ErrorCode::kUnsupported);
  s = Begin();
  Must(Load(*s, {{{1, 10}}}));
  ExpectError(s->BeginLoad("t", {}), ErrorCode::kUnsupported);
  ExpectError(s->Put("t", Numbers({{2, 1}})), ErrorCode::kUnsupported, {"commit first"});
  ExpectError(s->Insert("t", Numbers({{2, 1}})), ErrorCode::kUnsupported);
  ExpectError(s->Delete("t", Ids({2})), ErrorCode::kUnsupported);
  ExpectError(s->DropTable("t"), ErrorCode::kUnsupported);
  ExpectError(s->RenameTable("t", "u"), ErrorCode::kUnsupported);
  EXPECT_EQ(ScanText(*s, "t"), Lines());
  Must(s->Commit());
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|10"}));
}

TEST_F(LoadTest, BadRowsAreRefusedAsByInsert) {
  auto s = Begin();
  const auto load = Must(s->BeginLoad("t", {}));
  ExpectError(load->Prepare(nullptr), ErrorCode::kInvalidArgument);
  ExpectError(load->Prepare(Ids({1})), ErrorCode::kInvalidArgument);
  arrow::Int64Builder null;
  Must(null.AppendNull());
  ExpectError(load->Prepare(Batch(NumberSchema(), {Must(null.Finish()), Int64s({1})})),
              ErrorCode::kInvalidArgument);
  ExpectError(s->BeginLoad("nothing", {}), ErrorCode::kNotFound);
}

TEST_F(LoadTest, ALoadIsCancelledWhileItWrites) {
  const size_t objects = DataObjects();
  auto s = Begin();
  bool cancelled = false;
  auto load = Must(s->BeginLoad("t", {.cancelled = [&] { return cancelled; }}));
  std::vector<db::TableLoad::Piece> pieces{Must(load->Prepare(Numbers({{1, 1}})))};
  Must(load->Write(pieces));
  cancelled = true;
  ExpectError(load->Write(pieces), ErrorCode::kCancelled);
  load.reset();
  s->Abort();
  EXPECT_EQ(DataObjects(), objects);
}

TEST_F(LoadTest, ACollectionKeepsTheFilesOfALoadThatHasNotCommitted) {
  auto s = Begin();
  Must(Load(*s, {{{1, 10}}}));
  Must(db_->CollectGarbage(/*dry_run=*/false, /*grace_micros=*/0));
  Must(s->Commit());
  Must(db_->CollectGarbage(/*dry_run=*/false, /*grace_micros=*/0));
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|10"}));
}

TEST_F(LoadTest, AnUnclearPublishKeepsTheFiles) {
  {
    auto s = Begin();
    Must(Load(*s, {{{1, 10}}}));
    for (const RequestKind kind : {RequestKind::kPut, RequestKind::kGet}) {
      StoreFault fault;
      fault.kind = kind;
      fault.path_prefix = "refs/";
      fault.after_effect = true;
      fault.times = ~uint64_t{0};
      faulty_->Add(fault);
    }
    ExpectError(s->Commit().status(), ErrorCode::kCommitUnknown);
    faulty_->Clear();
  }
  Reopen();
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|10"}));
}

}  // namespace
}  // namespace lamina::behaviour
