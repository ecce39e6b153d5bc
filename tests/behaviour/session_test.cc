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
