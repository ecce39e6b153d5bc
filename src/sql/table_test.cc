// Tables of the database through SQL: definitions, rows, constraints, transactions.
#include <filesystem>

#include <gtest/gtest.h>

#include "lamina/connection.h"

namespace lamina {
namespace {

/// One connection to a database in memory; rows as text.
class TableTest : public testing::Test {
 protected:
  static std::shared_ptr<SqlDatabase> OpenSql(const std::string& path) {
    return SqlDatabase::Open(path).ValueOrDie();
  }
  void SetUp() override { Reopen(""); }

  void Reopen(const std::string& path) {
    connection_ = nullptr;
    sql_ = nullptr;
    sql_ = OpenSql(path);
    connection_ = sql_->Connect().ValueOrDie();
  }

  Status Run(const std::string& sql) { return Run(*connection_, sql); }
  static Status Run(Connection& connection, const std::string& sql) {
    return connection.ExecuteAll(sql, [](SqlResult&) { return Status::OK(); });
  }
  void Do(const std::string& sql) {
    const Status status = Run(sql);
    ASSERT_TRUE(status.ok()) << sql << ": " << status.ToString();
  }
  /// The code of the error that `sql` must give.
  std::string Fails(const std::string& sql) {
    const Status status = Run(sql);
    const SqlError* error = SqlErrorOf(status);
    return error == nullptr ? "no SQL error: " + status.ToString() : error->code;
  }
  std::string Rows(const std::string& sql) { return Rows(*connection_, sql); }
  static std::string Rows(Connection& connection, const std::string& sql) {
    const auto result = connection.Execute(sql);
    if (!result.ok()) return result.status().ToString();
    std::string out;
    for (;;) {
      const auto more = (*result)->NextRow();
      if (!more.ok()) return more.status().ToString();
      if (!*more) return out;
      if (!out.empty()) out += ';';
      for (size_t i = 0; i < (*result)->columns().size(); ++i) {
        if (i > 0) out += ',';
        const int column = static_cast<int>(i);
        out += (*result)->IsNull(column) ? "NULL" : std::string((*result)->Text(column));
      }
    }
  }

  std::shared_ptr<SqlDatabase> sql_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(TableTest, KeepsRowsAndDefinitionsOverAReopen) {
  const auto path = std::filesystem::temp_directory_path() / "lamina_sql_table_test";
  std::filesystem::remove_all(path);
  Reopen(path.string());
  Do("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR NOT NULL, price DECIMAL(10,2) DEFAULT 1.5, "
     "twice DECIMAL(12,2) AS (price * 2), CHECK (price > 0))");
  Do("INSERT INTO t (id, name) VALUES (1, 'a'), (2, 'b')");
  Do("CREATE VIEW v AS SELECT id + 1 AS next FROM t; CREATE MACRO twice(x) AS x * 2");
  Do("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE m (m mood, u UUID, j JSON)");
  Do("INSERT INTO m VALUES ('ok', '00000000-0000-0000-0000-000000000001', '{\"a\": 1}')");
  Do("CREATE SCHEMA s; CREATE TABLE s.t (x INT); INSERT INTO s.t VALUES (7)");
  Reopen(path.string());
  EXPECT_EQ(Rows("SELECT * FROM t ORDER BY id"), "1,a,1.50,3.00;2,b,1.50,3.00");
  EXPECT_EQ(Rows("SELECT next, twice(next) FROM v ORDER BY 1"), "2,4;3,6");
  EXPECT_EQ(Rows("SELECT m, u, j->>'a' FROM m"), "ok,00000000-0000-0000-0000-000000000001,1");
  EXPECT_EQ(Rows("SELECT 'sad'::mood < 'ok'::mood"), "true");
  EXPECT_EQ(Rows("SELECT x FROM s.t"), "7");
  EXPECT_EQ(Fails("INSERT INTO t VALUES (3, 'c', -1)"), "T3004");
  connection_ = nullptr;
  sql_ = nullptr;
  std::filesystem::remove_all(path);
}

TEST_F(TableTest, EveryTypeComesBackAsItWasWritten) {
  Do("CREATE TABLE t (a BOOLEAN, b TINYINT, c SMALLINT, d INTEGER, e BIGINT, f HUGEINT, g "
     "UTINYINT, "
     "h USMALLINT, i UINTEGER, j UBIGINT, k UHUGEINT, l FLOAT, m DOUBLE, n DECIMAL(4,1), "
     "o DECIMAL(9,2), p DECIMAL(18,3), q DECIMAL(38,4), r VARCHAR, s BLOB, t UUID, u DATE, v TIME, "
     "w TIMESTAMP, x TIMESTAMPTZ, y TIMESTAMP_S, z TIMESTAMP_MS, aa TIMESTAMP_NS, ab INTERVAL, "
     "ac ENUM('x', 'y'), ad INTEGER[], ae INTEGER[2], af STRUCT(a INTEGER, b VARCHAR[]), "
     "ag MAP(VARCHAR, INTEGER), ah JSON, ai UUID[])");
  const std::string low =
      "SELECT true, -128, -32768, -2147483648, -9223372036854775808, "
      "-170141183460469231731687303715884105728, 0, 0, 0, 0, 0, -1.5, 'nan', -999.9, -9999999.99, "
      "-999999999999999.999, -9999999999999999999999999999999999.9999, 'it''s ü', '\\x00\\xFF', "
      "'ffffffff-ffff-ffff-ffff-ffffffffffff', '0001-01-01', '23:59:59.999999', "
      "'1969-12-31 23:59:59.999999', '2013-02-08 12:00:00+00', '1960-01-01', '1960-01-01', "
      "'2013-02-08 12:00:00.123456789', '1 month -2 days 3.5 seconds', 'y', [1, NULL, 3], [4, 5], "
      "{'a': 1, 'b': ['x', NULL]}, MAP {'k': 1, 'l': NULL}, '{\"a\": [1, 2]}', "
      "['00000000-0000-0000-0000-000000000001', NULL]";
  Do("INSERT INTO t " + low);
  Do("INSERT INTO t (e, f, j, k) VALUES (9223372036854775807, "
     "170141183460469231731687303715884105727, "
     "18446744073709551615, 340282366920938463463374607431768211455)");
  const std::string in_memory = Rows("SELECT * FROM t ORDER BY a NULLS LAST");
  ASSERT_TRUE(sql_->database().Flush().ok());
  EXPECT_EQ(Rows("SELECT * FROM t ORDER BY a NULLS LAST"), in_memory);
  Do("CREATE TEMP TABLE expected AS SELECT * FROM t LIMIT 0; INSERT INTO expected " + low);
  EXPECT_EQ(Rows("SELECT * FROM t WHERE a"), Rows("SELECT * FROM expected"));
  EXPECT_EQ(Rows("SELECT e, f, j, k FROM t WHERE a IS NULL"),
            "9223372036854775807,170141183460469231731687303715884105727,18446744073709551615,"
            "340282366920938463463374607431768211455");
  EXPECT_EQ(Rows("SELECT count(*) FROM t WHERE f = -170141183460469231731687303715884105728 AND "
                 "m > 1e300 AND t = 'ffffffff-ffff-ffff-ffff-ffffffffffff' AND ac = 'y' AND n < 0"),
            "1");
  EXPECT_EQ(Fails("CREATE TABLE no (b VARIANT)"), "T4009");
}

TEST_F(TableTest, ConstraintsRefuseTheWholeStatement) {
  Do("CREATE TABLE t (a INT, b INT, c INT NOT NULL, PRIMARY KEY (a, b), CHECK (c < 100))");
  Do("INSERT INTO t VALUES (1, 1, 5)");
  EXPECT_EQ(Fails("INSERT INTO t VALUES (2, 1, 6), (1, 1, 7)"), "T3003");
  EXPECT_EQ(Fails("INSERT INTO t VALUES (2, 1, 6), (2, 2, NULL)"), "T3001");
  EXPECT_EQ(Fails("INSERT INTO t VALUES (NULL, 1, 6)"), "T3001");
  EXPECT_EQ(Fails("INSERT INTO t VALUES (2, 1, 6), (3, 1, 100)"), "T3004");
  EXPECT_EQ(Fails("UPDATE t SET c = 100"), "T3004");
  EXPECT_EQ(Fails("UPDATE t SET c = NULL"), "T3001");
  Do("INSERT INTO t VALUES (2, 1, 6)");
  EXPECT_EQ(Fails("UPDATE t SET a = 1"), "T3003");
  EXPECT_EQ(Rows("SELECT * FROM t ORDER BY ALL"), "1,1,5;2,1,6");
}

TEST_F(TableTest, OnConflictAndMergeDecideRowByRow) {
  Do("CREATE TABLE t (id INT PRIMARY KEY, n INT DEFAULT 1)");
  Do("INSERT INTO t VALUES (1, 10), (2, 20)");
  Do("INSERT INTO t VALUES (2, 5), (3, 5) ON CONFLICT (id) DO UPDATE SET n = t.n + EXCLUDED.n");
  EXPECT_EQ(Rows("SELECT * FROM t ORDER BY id"), "1,10;2,25;3,5");
  Do("INSERT INTO t VALUES (1, 0), (4, 0) ON CONFLICT DO NOTHING");
  Do("INSERT OR REPLACE INTO t (id) VALUES (3)");  // columns that are not named stay, as in DuckDB
  EXPECT_EQ(Rows("SELECT * FROM t ORDER BY id"), "1,10;2,25;3,5;4,0");
  Do("MERGE INTO t USING (VALUES (1, 7), (9, 9)) s(id, n) ON t.id = s.id "
     "WHEN MATCHED AND s.n > 5 THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.n)");
  EXPECT_EQ(Rows("SELECT * FROM t ORDER BY id"), "2,25;3,5;4,0;9,9");
}

TEST_F(TableTest, UpdatesMoveKeysAndReturnRows) {
  Do("CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t SELECT range, range FROM range(5)");
  Do("UPDATE t SET id = id + 1");
  EXPECT_EQ(Rows("SELECT * FROM t ORDER BY id"), "1,0;2,1;3,2;4,3;5,4");
  EXPECT_EQ(Rows("UPDATE t SET n = t.n * 10 FROM (VALUES (1), (2), (2)) s(id) WHERE t.id = s.id "
                 "RETURNING t.id, n"),
            "1,0;2,10");
  EXPECT_EQ(Rows("DELETE FROM t USING (VALUES (4), (5)) s(id) WHERE t.id = s.id RETURNING n"),
            "3;4");
  EXPECT_EQ(Rows("INSERT INTO t VALUES (7, 7) RETURNING id * 2"), "14");
  EXPECT_EQ(Rows("SELECT count(*), sum(id) FROM t"), "4,13");
}

TEST_F(TableTest, ATableWithoutAKeyKeepsEqualRowsApart) {
  Do("CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (1), (2)");
  Do("UPDATE t SET a = 5 WHERE a = 2");
  ASSERT_TRUE(sql_->database().Flush().ok());
  Do("DELETE FROM t WHERE rowid = (SELECT min(rowid) FROM t)");
  // A flush that holds deletes only: no row id is given out twice after it.
  ASSERT_TRUE(sql_->database().Flush().ok());
  Do("INSERT INTO t VALUES (9)");
  ASSERT_TRUE(sql_->database().Flush().ok());
  EXPECT_EQ(Rows("SELECT a FROM t ORDER BY a"), "1;5;9");
  EXPECT_EQ(Rows("SELECT count(DISTINCT rowid) FROM t"), "3");
}

TEST_F(TableTest, ATransactionSeesOneSnapshotAndItsOwnWrites) {
  Do("CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 1)");
  const auto other = sql_->Connect().ValueOrDie();
  Do("BEGIN; UPDATE t SET n = 2 WHERE id = 1");
  EXPECT_EQ(Rows("SELECT n FROM t"), "2");
  EXPECT_EQ(Rows(*other, "SELECT n FROM t"), "1");
  ASSERT_TRUE(Run(*other, "INSERT INTO t VALUES (2, 2)").ok());
  EXPECT_EQ(Rows("SELECT count(*) FROM t WHERE id = 1"), "1");
  Do("ROLLBACK");
  EXPECT_EQ(Rows("SELECT * FROM t ORDER BY id"), "1,1;2,2");
}

TEST_F(TableTest, TheSecondOfTwoWritersGetsASerializationFailure) {
  Do("CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 1)");
  const auto other = sql_->Connect().ValueOrDie();
  Do("BEGIN; UPDATE t SET n = n + 1");
  ASSERT_TRUE(Run(*other, "UPDATE t SET n = n + 10").ok());
  const Status status = Run("COMMIT");
  ASSERT_NE(SqlErrorOf(status), nullptr) << status.ToString();
  EXPECT_EQ(SqlErrorOf(status)->sqlstate, "40001");
  EXPECT_EQ(Rows("SELECT n FROM t"), "11");
}

TEST_F(TableTest, SavepointsTakeBackWhatFollowedThemEvenAnError) {
  Do("CREATE TABLE t (id INT PRIMARY KEY)");
  Do("BEGIN; INSERT INTO t VALUES (1); SAVEPOINT a; INSERT INTO t VALUES (2)");
  EXPECT_EQ(Fails("INSERT INTO t VALUES (1)"), "T3003");
  EXPECT_EQ(Fails("SELECT 1"), "T5003");
  Do("ROLLBACK TO a");
  EXPECT_EQ(Rows("SELECT id FROM t"), "1");
  Do("INSERT INTO t VALUES (3); RELEASE a; COMMIT");
  EXPECT_EQ(Rows("SELECT id FROM t ORDER BY id"), "1;3");
  Do("BEGIN");
  EXPECT_EQ(Fails("ROLLBACK TO nowhere"), "T5006");
  Do("ROLLBACK");
}

TEST_F(TableTest, AlterTableChangesNamesColumnsAndDefaults) {
  Do("CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT); INSERT INTO t VALUES (1, 2, 3)");
  Do("ALTER TABLE t ADD COLUMN c VARCHAR; ALTER TABLE t RENAME COLUMN a TO z");
  Do("ALTER TABLE t DROP COLUMN b; ALTER TABLE t ALTER COLUMN z SET DATA TYPE BIGINT");
  Do("ALTER TABLE t ALTER COLUMN c SET DEFAULT 'd'; INSERT INTO t (id) VALUES (2)");
  Do("ALTER TABLE t RENAME TO u");
  EXPECT_EQ(Rows("SELECT * FROM u ORDER BY id"), "1,2,NULL;2,NULL,d");
  EXPECT_EQ(Fails("ALTER TABLE u DROP COLUMN id"), "T2013");
  EXPECT_EQ(Fails("ALTER TABLE u ADD COLUMN z INT"), "T2011");
}

TEST_F(TableTest, TablesOfOtherInterfacesAreSqlTables) {
  ASSERT_TRUE(sql_->database()
                  .CreateTable("made",
                               arrow::schema({arrow::field("k", arrow::int64(), false),
                                              arrow::field("v", arrow::large_utf8())}),
                               {.names = {"k"}})
                  .ok());
  Do("INSERT INTO made VALUES (1, 'x')");
  EXPECT_EQ(Rows("SELECT * FROM made"), "1,x");
  ASSERT_TRUE(sql_->database().RenameTable("made", "renamed").ok());
  EXPECT_EQ(Rows("SELECT * FROM renamed"), "1,x");
}

TEST_F(TableTest, TimeColumnsAreHiddenAndCanBeAsked) {
  Do("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)");
  EXPECT_EQ(Rows("SELECT id, _valid_from, _valid_to, _system_to, _commit > 0 FROM t"),
            "1,-infinity,infinity,infinity,true");
}

TEST_F(TableTest, AReadOnlyTransactionRefusesWrites) {
  Do("CREATE TABLE t (id INT PRIMARY KEY); BEGIN TRANSACTION READ ONLY");
  EXPECT_EQ(Rows("SELECT count(*) FROM t"), "0");
  EXPECT_EQ(Fails("INSERT INTO t VALUES (1)"), "T5007");
  Do("ROLLBACK; INSERT INTO t VALUES (1)");
  EXPECT_EQ(Rows("SELECT count(*) FROM t"), "1");
}

TEST_F(TableTest, DefinitionsAreTransactional) {
  const auto other = sql_->Connect().ValueOrDie();
  Do("CREATE TABLE t (id INT PRIMARY KEY, a INT); INSERT INTO t VALUES (1, 1)");
  Do("BEGIN; CREATE TABLE u (x INT DEFAULT 5 CHECK (x > 0)); INSERT INTO u VALUES (1), (DEFAULT)");
  Do("ALTER TABLE t ADD COLUMN b VARCHAR; UPDATE t SET b = 'new'; CREATE VIEW v AS SELECT b FROM "
     "t");
  EXPECT_EQ(Rows("SELECT x, b FROM u, v ORDER BY x"), "1,new;5,new");
  EXPECT_EQ(Rows(*other, "SELECT * FROM t"), "1,1");
  EXPECT_NE(Rows(*other, "SELECT * FROM u"), "1;5");
  Do("SAVEPOINT s; DROP TABLE u; CREATE SCHEMA x; CREATE TABLE x.y AS SELECT 1 AS z");
  EXPECT_EQ(Rows("SELECT z FROM x.y"), "1");
  Do("ROLLBACK TO s");
  EXPECT_EQ(Rows("SELECT count(*) FROM u"), "2");
  Do("COMMIT");
  EXPECT_EQ(Rows(*other, "SELECT x, b FROM u, v ORDER BY x"), "1,new;5,new");
  Do("BEGIN; DROP VIEW v; DROP TABLE t; CREATE TABLE t (other INT); ROLLBACK");
  EXPECT_EQ(Rows("SELECT * FROM t"), "1,1,new");
}

TEST_F(TableTest, TwoTransactionsThatCreateTablesDoNotBothCommit) {
  const auto other = sql_->Connect().ValueOrDie();
  Do("CREATE TABLE t (a INT); BEGIN; CREATE TABLE mine (a INT)");
  ASSERT_TRUE(Run(*other, "CREATE TABLE theirs (a INT)").ok());
  const Status status = Run("COMMIT");
  ASSERT_NE(SqlErrorOf(status), nullptr) << status.ToString();
  EXPECT_EQ(SqlErrorOf(status)->sqlstate, "40001");
  EXPECT_EQ(Rows("SELECT count(*) FROM duckdb_tables() WHERE database_name = 'lamina'"), "2");
}

// A crash now and then, before the table was made under the transaction's lock.
TEST_F(TableTest, CreateTableAsInATransactionMakesItsTableWhileOtherThreadsBeginToRead) {
  Do("SET threads = 4; BEGIN");
  std::string query;
  for (const char* join :
       {"a JOIN b USING (i)", "b JOIN c USING (i)", "c JOIN d USING (i)", "d JOIN a USING (i)"})
    query += std::string(query.empty() ? "" : " UNION ALL ") + "SELECT i FROM " + join;
  for (const std::string table : {"a", "b", "c", "d"})
    Do("CREATE TABLE " + table + " (i BIGINT); INSERT INTO " + table + " FROM range(300)");
  for (int i = 0; i < 300; ++i)
    Do("CREATE OR REPLACE TABLE made AS " + query + "; INSERT INTO a VALUES (-1)");
  EXPECT_EQ(Rows("SELECT count(*), count(DISTINCT i) FROM made"), "1200,300");
  Do("COMMIT");
}

}  // namespace
}  // namespace lamina
