// The internal session that the SQL layer runs on (db/session.h).
#include "db/session.h"

#include "catalog/schema.h"
#include "test_database.h"

namespace lamina::behaviour {
namespace {

class SessionTest : public StoreTest {
 protected:
  void SetUp() override {
    Open();
    CreateNumbers();
    Put({{1, 10}, {2, 20}});
  }
};

TEST_F(SessionTest, ASessionGivesWholeDefinitionsAndCountsChanges) {
  auto s = Must(db::BeginSession(*db_, {}));
  EXPECT_EQ(s->FindTable("u"), nullptr);
  const auto before = s->FindTable("t");
  ASSERT_NE(before, nullptr);
  EXPECT_EQ(s->definition_changes(), 0u);
  Must(s->Savepoint("a"));
  Must(s->Replace(Must(catalog::RenameTable(*before, "v"))));
  EXPECT_EQ(s->definition_changes(), 1u);
  EXPECT_EQ(s->FindTable("t"), nullptr);
  ASSERT_EQ(s->Tables().size(), 1u);
  EXPECT_EQ(s->Tables()[0]->name, "v");
  // Made from a definition that is not the current one.
  ExpectError(s->Replace(Must(catalog::RenameTable(*before, "w"))), ErrorCode::kInternal);
  ExpectError(s->Replace(nullptr), ErrorCode::kInvalidArgument);
  Must(s->RollbackTo("a"));
  EXPECT_EQ(s->definition_changes(), 2u);
  EXPECT_EQ(s->FindTable("t"), before);
}

TEST_F(SessionTest, ANotedReadIsCheckedLikeAScan) {
  const auto run = [&](const catalog::KeyRange& keys, Isolation isolation) {
    TransactionOptions options;
    options.isolation = isolation;
    auto s = Must(db::BeginSession(*db_, options));
    Must(s->NoteRead(s->FindTable("t")->id, keys));
    Must(s->PutDocument("x", "y"));
    Put({{1, static_cast<int64_t>(db_->newest_commit().value)}});
    return s->Commit().status();
  };
  ExpectError(run(catalog::KeyRange::All(), Isolation::kSerializable), ErrorCode::kConflict);
  Must(run(catalog::KeyRange::All(), Isolation::kSnapshot));
  Must(run(catalog::KeyRange::Point("elsewhere"), Isolation::kSerializable));
}

TEST_F(SessionTest, AConstraintIsCheckedWhateverTheIsolation) {
  const auto run = [&](const catalog::KeyRange& keys, Isolation isolation) {
    TransactionOptions options;
    options.isolation = isolation;
    auto s = Must(db::BeginSession(*db_, options));
    Must(s->NoteConstraint("t", keys));
    Must(s->PutDocument("x", "y"));
    Put({{1, static_cast<int64_t>(db_->newest_commit().value)}});
    return s->Commit().status();
  };
  ExpectError(run(catalog::KeyRange::All(), Isolation::kSerializable), ErrorCode::kConflict);
  ExpectError(run(catalog::KeyRange::All(), Isolation::kSnapshot), ErrorCode::kConflict);
  Must(run(catalog::KeyRange::Point("elsewhere"), Isolation::kSnapshot));
  auto s = Must(db::BeginSession(*db_, {}));
  ExpectError(s->NoteConstraint("nowhere", catalog::KeyRange::All()), ErrorCode::kNotFound);
}

TEST_F(SessionTest, AppendGivesTheRowIdsThatRowsAreFoundBy) {
  const auto schema = arrow::schema({arrow::field("v", arrow::int64())});
  Must(db_->CreateTable("log", schema, {.no_key = true}));
  auto s = Must(db::BeginSession(*db_, {}));
  const auto rows = arrow::RecordBatch::Make(
      schema, 2, {Must(arrow::MakeArrayFromScalar(arrow::Int64Scalar(7), 2))});
  const int64_t first = Must(s->Append("log", rows, {}));
  ExpectError(s->Append("t", rows, {}), ErrorCode::kInvalidArgument);
  const catalog::KeyCodec codec(*s->FindTable("log"));
  const auto get = [&](int64_t id) {
    const std::string key = Must(codec.EncodeScalars({std::make_shared<arrow::Int64Scalar>(id)}));
    return Must(s->GetEncoded("log", key, {}, {}, std::nullopt))->num_rows();
  };
  EXPECT_EQ(get(first), 1);
  EXPECT_EQ(get(first + 1), 1);
  EXPECT_EQ(get(first + 2), 0);
}

TEST_F(SessionTest, ATableWithAWriterOfItsOwnIsReadByEverybodyAndChangedByThatOne) {
  auto s = Must(db::BeginSession(*db_, {}));
  s->WriteAs("layer");
  const auto before = s->FindTable("t");
  Must(s->Replace(Must(
      catalog::SetTableMetadata(*before, arrow::key_value_metadata({db::kWriterKey}, {"layer"})))));
  const auto rows = Numbers({{1, 11}});
  Must(s->Put("t", rows));
  Must(s->Commit());
  ExpectError(db_->Put("t", rows).status(), ErrorCode::kUnsupported);
  ExpectError(db_->Delete("t", rows).status(), ErrorCode::kUnsupported);
  ExpectError(db_->EraseKey("t", {Lit(1)}), ErrorCode::kUnsupported);
  ExpectError(db_->DropTable("t"), ErrorCode::kUnsupported);
  ExpectError(db_->DropColumn("t", "v"), ErrorCode::kUnsupported);
  ExpectError(db_->RenameColumn("t", "v", "w"), ErrorCode::kUnsupported);
  auto other = Must(db_->Begin({}));
  ExpectError(other->Put("t", rows), ErrorCode::kUnsupported);
  ExpectError(other->Insert("t", rows), ErrorCode::kUnsupported);
  ExpectError(other->Delete("t", rows), ErrorCode::kUnsupported);
  ExpectError(other->DropTable("t"), ErrorCode::kUnsupported);
  EXPECT_EQ(Must(other->Get("t", {Lit(1)}))->num_rows(), 1);
}

TEST_F(SessionTest, NotNullIsCheckedAgainstRowsThatAreKnownNowAndThoseThatComeMeanwhile) {
  const auto schema =
      arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("w", arrow::int64())});
  const auto row = [&](int64_t id, std::optional<int64_t> w) {
    arrow::Int64Builder ids, ws;
    Must(ids.Append(id));
    Must(w.has_value() ? ws.Append(*w) : ws.AppendNull());
    return arrow::RecordBatch::Make(schema, 1, {Must(ids.Finish()), Must(ws.Finish())});
  };
  Must(db_->CreateTable("n", schema, {.names = {"id"}}));
  Must(db_->Put("n", row(1, std::nullopt)));
  {
    auto s = Must(db::BeginSession(*db_, {}));
    ExpectError(s->SetNotNull("n", "w"), ErrorCode::kInvalidArgument);
    Must(s->Put("n", row(1, 7)));  // its own write counts
    Must(s->SetNotNull("n", "w"));
    ExpectError(s->Put("n", row(2, std::nullopt)), ErrorCode::kInvalidArgument);
    Must(s->SetNotNull("n", "w"));  // once more is nothing
    // Whatever the isolation, and although the write that comes meanwhile is of another key.
    TransactionOptions weaker;
    weaker.isolation = Isolation::kSnapshot;
    auto other = Must(db::BeginSession(*db_, weaker));
    Must(db_->Put("n", row(3, std::nullopt)));
    ExpectError(s->Commit().status(), ErrorCode::kConflict);
    ExpectError(other->SetNotNull("n", "w"), ErrorCode::kInvalidArgument);
  }
  const CommitId before = db_->newest_commit();
  Must(db_->Put("n", row(1, 7)));
  Must(db_->Put("n", row(3, 7)));
  {
    auto late = Must(db_->Begin());
    Must(late->Put("n", row(4, std::nullopt)));
    auto s = Must(db::BeginSession(*db_, {}));
    Must(s->SetNotNull("n", "w"));
    Must(s->Commit());
    ExpectError(late->Commit().status(), ErrorCode::kConflict);
  }
  ExpectError(db_->Put("n", row(4, std::nullopt)).status(), ErrorCode::kInvalidArgument);
  // The past stays readable, through compaction and a restart.
  Must(db_->Compact());
  Reopen();
  const auto past =
      Must(db_->Get("n", {arrow::MakeScalar(int64_t{3})}, SystemPeriod::AsOf(before)));
  ASSERT_EQ(past->num_rows(), 1);
  EXPECT_TRUE(past->column(1)->IsNull(0));
  ExpectError(db_->Put("n", row(4, std::nullopt)).status(), ErrorCode::kInvalidArgument);
  {
    auto s = Must(db::BeginSession(*db_, {}));
    Must(s->Replace(Must(catalog::DropNotNull(*s->FindTable("n"), "w"))));
    Must(s->Commit());
  }
  Must(db_->Put("n", row(4, std::nullopt)));
}

TEST_F(SessionTest, DefinitionsChangedAtIsReachedBySnapshotsThatSeeThem) {
  EXPECT_GT(db::DefinitionsChangedAt(*db_), CommitId{0});
  Put({{1, 1}});
  EXPECT_LE(db::DefinitionsChangedAt(*db_), db_->GetSnapshot()->commit());
  // A change outside of a transaction takes no commit: the newest snapshot cannot vouch for it.
  CreateNumbers("u");
  EXPECT_GT(db::DefinitionsChangedAt(*db_), db_->GetSnapshot()->commit());
  Put({{1, 2}});
  EXPECT_EQ(db::DefinitionsChangedAt(*db_), db_->GetSnapshot()->commit());
  auto t = Must(db_->Begin());
  Must(t->DropTable("u"));
  const CommitId committed = Must(t->Commit()).commit;
  EXPECT_EQ(db::DefinitionsChangedAt(*db_), committed);
  Put({{1, 3}});
  EXPECT_EQ(db::DefinitionsChangedAt(*db_), committed);
  Reopen();
  EXPECT_LE(db::DefinitionsChangedAt(*db_), db_->GetSnapshot()->commit());
}

}  // namespace
}  // namespace lamina::behaviour
