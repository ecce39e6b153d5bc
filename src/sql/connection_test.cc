#include "lamina/connection.h"

#include <filesystem>

#include <gtest/gtest.h>

namespace lamina {
namespace {

std::unique_ptr<Connection> Connect() {
  return SqlDatabase::Open("").ValueOrDie()->Connect().ValueOrDie();
}

TEST(ConnectionTest, GivesRowsAsTextAndValues) {
  const auto c = Connect();
  const auto r =
      c->Execute("SELECT 42 AS a, 'x' AS b, NULL AS c, DATE '2013-02-08' AS d").ValueOrDie();
  EXPECT_EQ(r->tag(), "SELECT");
  ASSERT_EQ(r->columns().size(), 4u);
  EXPECT_EQ(r->columns()[3].type, "DATE");
  ASSERT_TRUE(r->NextRow().ValueOrDie());
  EXPECT_EQ(r->Text(0), "42");
  EXPECT_TRUE(r->IsNull(2));
  EXPECT_EQ(r->Text(3), "2013-02-08");
  EXPECT_FALSE(r->NextRow().ValueOrDie());
}

TEST(ConnectionTest, AnErrorOfSyntaxHasCodePositionAndCaret) {
  const auto c = Connect();
  const Status status = c->Execute("SELECT 1;\nSELEC 2").status();
  const SqlError* error = SqlErrorOf(status);
  ASSERT_NE(error, nullptr) << status.ToString();
  EXPECT_EQ(error->sqlstate, "42601");
  EXPECT_EQ(error->position, 10u);
  EXPECT_EQ(error->excerpt, "LINE 2: SELEC 2\n        ^");
}

TEST(ConnectionTest, AFailedStatementEndsTheTransactionUntilRollback) {
  const auto c = Connect();
  ASSERT_TRUE(c->Execute("BEGIN").ok());
  EXPECT_FALSE(c->Execute("SELECT nothing").ok());
  EXPECT_EQ(c->transaction_state(), SqlTransactionState::kAborted);
  const Status status = c->Execute("SELECT 1").status();
  EXPECT_EQ(SqlErrorOf(status)->sqlstate, "25P02");
  EXPECT_EQ(c->Execute("COMMIT").ValueOrDie()->tag(), "ROLLBACK");
  EXPECT_TRUE(c->Execute("SELECT 1").ok());
}

TEST(ConnectionTest, PreparedStatementTakesTypedParameters) {
  const auto c = Connect();
  const auto s = c->Prepare("SELECT $1 + 1, $2::DATE").ValueOrDie();
  EXPECT_EQ(s->parameter_count(), 2);
  const auto r = s->Execute({41, SqlValue::Typed("DATE", "2013-02-08")}).ValueOrDie();
  ASSERT_TRUE(r->NextRow().ValueOrDie());
  EXPECT_EQ(r->Text(0), "42");
  EXPECT_EQ(SqlErrorOf(s->Execute({1}).status())->code, "T4007");
}

TEST(ConnectionTest, GivesArrowBatches) {
  const auto c = Connect();
  const auto r = c->Execute("SELECT range AS i FROM range(5000)").ValueOrDie();
  int64_t rows = 0;
  for (;;) {
    const auto batch = r->NextBatch().ValueOrDie();
    if (batch == nullptr) break;
    rows += batch->num_rows();
  }
  EXPECT_EQ(rows, 5000);
}

TEST(ConnectionTest, ACopyReportsProgressAndChangesNothingWhenItIsCancelled) {
  const std::string file =
      (std::filesystem::temp_directory_path() / "lamina_connection_test.csv").string();
  const auto c = Connect();
  ASSERT_TRUE(c->Execute("COPY (SELECT range AS id, range::VARCHAR || ' and some text' AS v FROM "
                         "range(1000000)) TO '" +
                         file + "' (FORMAT csv)")
                  .ok());
  ASSERT_TRUE(c->Execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR)").ok());
  int calls = 0;
  c->SetProgressCallback([&](const SqlProgress& progress) {
    EXPECT_LE(progress.fraction, 1);
    return ++calls < 1;
  });
  const Status cancelled = c->Execute("COPY t FROM '" + file + "'").status();
  EXPECT_EQ(calls, 1);
  ASSERT_NE(SqlErrorOf(cancelled), nullptr) << cancelled.ToString();
  EXPECT_EQ(SqlErrorOf(cancelled)->code, "T4006");
  c->SetProgressCallback(nullptr);
  const auto rows = c->Execute("SELECT count(*) FROM t").ValueOrDie();
  ASSERT_TRUE(rows->NextRow().ValueOrDie());
  EXPECT_EQ(rows->Text(0), "0");
  std::filesystem::remove(file);
}

std::string CodeOfRun(Connection& connection, const std::string& sql) {
  const Status status = connection.ExecuteAll(sql, [](SqlResult&) { return Status::OK(); });
  if (status.ok()) return "ok";
  return SqlErrorOf(status) == nullptr ? status.ToString() : SqlErrorOf(status)->code;
}

TEST(ConnectionTest, APreparedStatementFollowsStrictMode) {
  const auto c = Connect();
  const auto s = c->Prepare("SELECT 1 // $1::INT").ValueOrDie();
  EXPECT_TRUE(s->Execute({0}).ok());
  ASSERT_EQ(CodeOfRun(*c, "SET strict_mode = true"), "ok");
  const auto strict = s->Execute({0});
  Status status = strict.status();
  if (status.ok()) status = (*strict)->NextRow().status();
  ASSERT_NE(SqlErrorOf(status), nullptr);
  EXPECT_EQ(SqlErrorOf(status)->code, "T4001");
  ASSERT_EQ(CodeOfRun(*c, "SET strict_mode = false"), "ok");
  EXPECT_TRUE(s->Execute({0}).ok());
}

}  // namespace
}  // namespace lamina
