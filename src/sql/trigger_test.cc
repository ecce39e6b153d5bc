// Triggers where a file of statements does not reach: threads, cancelling, random rows, other
// interfaces, texts of all kinds.
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <arrow/api.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "lamina/connection.h"
#include "lamina/database.h"
#include "sql/lexer.h"

namespace lamina::sql {
namespace {

class TriggerTest : public ::testing::Test {
 protected:
  void Do(const std::string& sql) {
    const Status status = connection_->ExecuteAll(sql, [](SqlResult&) { return Status::OK(); });
    ASSERT_TRUE(status.ok()) << sql << "\n" << status.ToString();
  }
  std::string CodeOfRunning(const std::string& sql) {
    const Status status = connection_->ExecuteAll(sql, [](SqlResult&) { return Status::OK(); });
    if (status.ok()) return "";
    return SqlErrorOf(status) == nullptr ? status.ToString() : SqlErrorOf(status)->code;
  }
  std::string Ask(const std::string& sql) {
    auto result = connection_->Execute(sql);
    if (!result.ok()) return result.status().ToString();
    if (!(*result)->NextRow().ValueOrDie()) return "no row";
    return std::string((*result)->Text(0));
  }

  std::shared_ptr<SqlDatabase> database_ = SqlDatabase::Open("").ValueOrDie();
  std::unique_ptr<Connection> connection_ = database_->Connect().ValueOrDie();
};

TEST_F(TriggerTest, WritersAtTheSameTimeLoseNothing) {
  Do("CREATE TABLE t (id INTEGER PRIMARY KEY);"
     "CREATE TABLE log (id INTEGER);"
     "CREATE TABLE total (k INTEGER PRIMARY KEY, n BIGINT);"
     "INSERT INTO total VALUES (1, 0);"
     "CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW EXECUTE 'INSERT INTO log VALUES (NEW.id)';"
     "CREATE TRIGGER b AFTER INSERT ON t FOR EACH ROW EXECUTE 'UPDATE total SET n = n + NEW.id "
     "WHERE k = 1'");
  constexpr int kThreads = 4;
  constexpr int kEach = 25;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      const auto connection = database_->Connect().ValueOrDie();
      for (int i = 0; i < kEach;) {
        const Status status =
            connection->Execute(fmt::format("INSERT INTO t VALUES ({})", thread * kEach + i))
                .status();
        // All want the one row of `total`: who lost too often tries again.
        if (!status.ok()) {
          ASSERT_EQ(SqlErrorOf(status)->code, "T5001") << status.ToString();
          continue;
        }
        ++i;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Ask("SELECT count(*) || ' ' || count(DISTINCT id) FROM log"), "100 100");
  EXPECT_EQ(Ask("SELECT n FROM total"), std::to_string(99 * 100 / 2));
}

TEST_F(TriggerTest, CancelEndsTheStatementsOfATrigger) {
  Do("CREATE TABLE t (id INTEGER);"
     "CREATE TABLE log (n BIGINT);"
     "CREATE TRIGGER slow AFTER INSERT ON t FOR EACH ROW EXECUTE 'INSERT INTO log SELECT "
     "sum(a.range % 7 + b.range % 5 + NEW.id) FROM range(3000000) a, range(3000000) b'");
  std::thread cancel([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    connection_->Cancel();
  });
  EXPECT_EQ(CodeOfRunning("INSERT INTO t VALUES (1)"), "T4006");
  cancel.join();
  EXPECT_EQ(Ask("SELECT count(*) FROM t"), "0");
  // The next one is not.
  Do("DROP TRIGGER slow; INSERT INTO t VALUES (1)");
}

TEST_F(TriggerTest, ATimeoutOfTheSessionIsOneOfItsTriggers) {
  Do("CREATE TABLE t (id INTEGER);"
     "CREATE TABLE u (id INTEGER);"
     "CREATE TABLE log (n BIGINT);"
     "CREATE TRIGGER on_to_u AFTER INSERT ON t FOR EACH ROW EXECUTE 'INSERT INTO u VALUES "
     "(NEW.id)';"
     "CREATE TRIGGER slow AFTER INSERT ON u FOR EACH ROW EXECUTE 'INSERT INTO log SELECT "
     "sum(a.range % 7 + b.range % 5 + NEW.id) FROM range(3000000) a, range(3000000) b';"
     "SET query_timeout = '200ms'");
  EXPECT_EQ(CodeOfRunning("INSERT INTO t VALUES (1)"), "T4003");
  EXPECT_EQ(Ask("SELECT count(*) FROM t"), "0");
}

TEST_F(TriggerTest, AResultThatIsNotReadToItsEndDoesNotKeepWhatFollows) {
  Do("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1), (2)");
  EXPECT_EQ(Ask("SELECT id FROM t"), "1");
  Do("CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW EXECUTE 'SELECT error(''no'')'");
  EXPECT_EQ(Ask("SELECT id FROM t"), "1");
  EXPECT_EQ(Ask("SELECT count(*) FROM lamina_triggers()"), "1");
  Do("DROP TRIGGER a");
  EXPECT_EQ(Ask("SELECT count(*) FROM lamina_triggers()"), "0");
  const auto other = database_->Connect().ValueOrDie();
  EXPECT_EQ(Ask("SELECT id FROM t"), "1");
  ASSERT_TRUE(other->Execute("CREATE MATERIALIZED VIEW m AS SELECT 1 AS one").ok());
  Do("REFRESH MATERIALIZED VIEW m");
}

TEST_F(TriggerTest, OverAllRowsAndRowByRowMeanTheSame) {
  Do("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, s TEXT);"
     "CREATE TABLE at_once (seq TEXT, a INTEGER, b INTEGER, c TEXT, d TEXT);"
     "CREATE TABLE by_row AS SELECT * FROM at_once;"
     "CREATE TRIGGER at_once AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW WHEN "
     "(coalesce(NEW.n, 0) % 3 <> 1) BEGIN INSERT INTO at_once VALUES ('v', OLD.n, NEW.n, OLD.s, "
     "upper(NEW.s)); INSERT INTO at_once (seq, a) SELECT 's', NEW.id + OLD.id WHERE NEW.n > OLD.n; "
     "END;"
     // FROM keeps it from running at once.
     "CREATE TRIGGER by_row AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW WHEN "
     "(coalesce(NEW.n, 0) % 3 <> 1) BEGIN INSERT INTO by_row SELECT 'v', OLD.n, NEW.n, OLD.s, "
     "upper(NEW.s) FROM (SELECT 1) one; INSERT INTO by_row (seq, a) SELECT 's', NEW.id + OLD.id "
     "FROM (SELECT 1) one WHERE NEW.n > OLD.n; END;");
  std::mt19937 random(7);
  const auto pick = [&](int below) { return static_cast<int>(random() % below); };
  for (int step = 0; step < 60; ++step) {
    switch (pick(5)) {
      case 0:
        Do(
            fmt::format("INSERT INTO t SELECT i, i % {0}, nullif('s' || i % {0}, 's0') FROM "
                        "range({1}, {2}) r(i) ON CONFLICT DO UPDATE SET n = EXCLUDED.n + 1",
                        pick(9) + 2, pick(40), pick(60)));
        break;
      case 1:
        Do(fmt::format("INSERT OR REPLACE INTO t VALUES ({}, NULL, 'x')", pick(60)));
        break;
      case 2:
        Do(fmt::format("UPDATE t SET n = n + {} WHERE id % {} = 0", pick(3) - 1, pick(4) + 1));
        break;
      case 3:
        Do(fmt::format("DELETE FROM t WHERE id % 7 = {}", pick(7)));
        break;
      default:
        Do(fmt::format("UPDATE t SET id = -id, s = s || '{}' WHERE id = {}", pick(10), pick(60)));
        break;
    }
  }
  EXPECT_NE(Ask("SELECT count(*) FROM at_once WHERE seq = 's'"), "0");
  EXPECT_EQ(Ask("SELECT count(*) FROM (SELECT * FROM at_once EXCEPT ALL SELECT * FROM by_row)"),
            "0");
  EXPECT_EQ(Ask("SELECT count(*) FROM (SELECT * FROM by_row EXCEPT ALL SELECT * FROM at_once)"),
            "0");
}

TEST_F(TriggerTest, NoOtherInterfaceWritesPastOne) {
  Do("CREATE TABLE t (id BIGINT PRIMARY KEY);"
     "CREATE TABLE log (id BIGINT);"
     "CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW EXECUTE 'INSERT INTO log VALUES (NEW.id)';"
     "CREATE MATERIALIZED VIEW m AS SELECT 1::BIGINT AS id");
  arrow::Int64Builder ids;
  ASSERT_TRUE(ids.Append(1).ok());
  const auto row = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("id", arrow::int64(), false)}), 1, {ids.Finish().ValueOrDie()});
  Database& database = database_->database();
  EXPECT_EQ(CodeOf(database.Put("t", row).status()), ErrorCode::kUnsupported);
  const auto nullable = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("id", arrow::int64())}), 1, {row->column(0)});
  EXPECT_EQ(CodeOf(database.Put("m", nullable).status()), ErrorCode::kUnsupported);
  Do("DROP TRIGGER a");
  EXPECT_TRUE(database.Put("t", row).ok());
}

TEST_F(TriggerTest, AStatementOfASessionIsPreparedToo) {
  Do("CREATE TABLE t (id INTEGER); CREATE TABLE log (id INTEGER)");
  const auto create = connection_->Prepare(
      "CREATE OR REPLACE TRIGGER a AFTER INSERT ON t FOR EACH ROW EXECUTE 'INSERT INTO log VALUES "
      "(NEW.id)'");
  ASSERT_TRUE(create.ok()) << create.status().ToString();
  EXPECT_EQ((*create)->Execute().ValueOrDie()->tag(), "CREATE");
  EXPECT_EQ((*create)->Execute().ValueOrDie()->tag(), "CREATE");
  const auto insert = connection_->Prepare("INSERT INTO t VALUES (?) RETURNING id").ValueOrDie();
  for (int i = 0; i < 3; ++i) {
    const auto rows = insert->Execute({i}).ValueOrDie();
    ASSERT_TRUE(rows->NextRow().ValueOrDie());
    EXPECT_EQ(rows->Text(0), std::to_string(i));
  }
  EXPECT_EQ(Ask("SELECT string_agg(id, ' ' ORDER BY id) FROM log"), "0 1 2");
  EXPECT_EQ(SqlErrorOf(connection_->Prepare("CREATE TRIGGER a AFTER").status())->code, "T1001");
  EXPECT_EQ(SqlErrorOf(connection_->Prepare("REFRESH MATERIALIZED VIEW").status())->code, "T1001");
}

TEST_F(TriggerTest, WhatIsNoTriggerIsAnErrorAtItsPlace) {
  Do("CREATE TABLE t (id INTEGER); CREATE TABLE log (id INTEGER)");
  const std::string head = "CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW ";
  struct Case {
    std::string sql;  // ^ is where
    const char* code;
  };
  const Case cases[] = {
      {head + "EXECUTE ^'abc", "T1003"},
      {head + "EXECUTE ^$x$abc", "T1003"},
      {head + "BEGIN SELECT 1; SELECT ^'abc; END", "T1003"},
      {head + "BEGIN SELECT 1; /* END; ^", ""},
      {head + "BEGIN SELECT CASE 1 WHEN 1 THEN 2 END;^", "T1001"},
      {head + "WHEN (NEW.id > 1^", "T1001"},
      {head + "WHEN (^) EXECUTE 'SELECT 1'", "T1002"},
      {head + "WHEN ^NEW.id > 1 EXECUTE 'SELECT 1'", "T1002"},
      {head + "WHEN (NEW.id ^=) EXECUTE 'SELECT 1'", ""},
      {head + "WHEN (^sum(NEW.id) > 1) EXECUTE 'SELECT 1'", ""},
      {head + "EXECUTE 'SELECT 1' ^EXTRA", "T1002"},
      {head + "EXECUTE 'SELECT NEW.^nope'", "T2002"},
      {head + "EXECUTE 'SELECT NEW.^5'", ""},
      {head + "EXECUTE 'SELECT ^id'", "T2002"},
      {head + "EXECUTE '^BEGIN'", "T4009"},
      {head + "EXECUTE 'SELECT 1; SELECT * FROM ^nope'", "T2001"},
      {head + "EXECUTE 'INSERT INTO log VALUES (^$1)'", "T4007"},
      {head + "BEGIN INSERT INTO log VALUES (NEW.*); DELETE FROM log WHERE ^nope = NEW.id; END",
       "T2002"},
      {"CREATE TRIGGER AFTER ^INSERT ON t FOR EACH ROW EXECUTE 'SELECT 1'", "T1002"},
      {"CREATE TRIGGER x AFTER UPDATE OF id, ^nope ON t FOR EACH ROW EXECUTE 'SELECT 1'", "T2002"},
      {"DROP TRIGGER ^x", "T2010"},
      {"DROP TRIGGER x ON ^nope", "T2001"},
      {"DROP TRIGGER ^", "T1001"},
  };
  for (const Case& c : cases) {
    std::string sql = c.sql;
    const size_t at = sql.find('^');
    sql.erase(at, 1);
    SCOPED_TRACE(sql);
    const Status status = connection_->Execute(sql).status();
    ASSERT_FALSE(status.ok());
    const SqlError* error = SqlErrorOf(status);
    ASSERT_NE(error, nullptr) << status.ToString();
    if (*c.code == '\0') continue;
    EXPECT_EQ(error->code, c.code) << status.ToString();
    ASSERT_TRUE(error->position.has_value()) << status.ToString();
    EXPECT_EQ(*error->position, at) << status.ToString();
    EXPECT_NE(error->excerpt, "");
  }
  EXPECT_EQ(Ask("SELECT count(*) FROM lamina_triggers()"), "0");
}

TEST(LexerTest, ATriggerIsOneStatement) {
  const auto count = [](const char* text) { return SplitStatements(text).size(); };
  EXPECT_EQ(count("CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW BEGIN a; b; END; SELECT 1"), 2u);
  EXPECT_EQ(count("create or replace temp trigger a BEGIN CASE WHEN 1 THEN 2 END; b; END; c"), 2u);
  EXPECT_EQ(count("CREATE TRIGGER a EXECUTE 'x; y'; SELECT 1"), 2u);
  EXPECT_EQ(count("CREATE TRIGGER a BEGIN SELECT NEW.end, NEW.case; b; END; c; d"), 3u);
  EXPECT_EQ(count("CREATE TRIGGER a BEGIN b; c; d"), 1u);
  EXPECT_EQ(count("CREATE TABLE trigger (begin INTEGER); a; b"), 3u);
  EXPECT_EQ(count("BEGIN; CREATE TABLE t (a INTEGER); END; SELECT 1"), 4u);
}

}  // namespace
}  // namespace lamina::sql
