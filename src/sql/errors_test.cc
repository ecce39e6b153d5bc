// What users see of what goes wrong: code, place and hint of every error.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "lamina/connection.h"
#include "sql/error_codes.h"
#include "sql/sql_database.h"
#include "sql/suggestion.h"

namespace lamina::sql {
namespace {

class ErrorsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    database_ = SqlDatabase::Open("").ValueOrDie();
    connection_ = database_->Connect().ValueOrDie();
    for (const char* sql : {
             "CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR NOT NULL, price DECIMAL(5,2))",
             "INSERT INTO items VALUES (1, 'a', 1)",
             "CREATE VIEW cheap AS SELECT * FROM items",
             "CREATE TEMP TABLE t (id INT PRIMARY KEY, n INT NOT NULL, u INT UNIQUE, "
             "c INT CHECK (c > 0))",
             "INSERT INTO t VALUES (1, 1, 1, 1)",
             "CREATE TEMP TABLE r (id INT REFERENCES t (id))",
             "CREATE INDEX t_n ON t (n)",
         }) {
      const Status status = connection_->Execute(sql).status();
      ASSERT_TRUE(status.ok()) << sql << "\n" << status.ToString();
    }
  }

  /// Runs all of it and gives the first error, also of rows fetched later.
  Status Run(std::string_view sql) {
    return connection_->ExecuteAll(sql, [](SqlResult&) { return Status::OK(); });
  }

  std::shared_ptr<SqlDatabase> database_;
  std::unique_ptr<Connection> connection_;
};

// `sql` holds ^ before the place that the error must name, if it must name one. `hint` is a part of
// the hint; "" for any.
struct Case {
  const char* sql;
  const char* code;
  const char* hint = "";
};

constexpr Case kCases[] = {
    // Syntax.
    {"^", "T1001"},
    {"SELECT (1^", "T1001"},
    {"INSERT INTO^", "T1001"},
    {"VALUES (1), (1, 2)", "T1001"},
    {"CREATE ^TABEL x (i INT)", "T1002", "did you mean TABLE?"},
    {"INSERT ^INOT items VALUES (1)", "T1002", "did you mean INTO?"},
    {"DELETE ^items", "T1002"},
    {"BEGIN ^NOW", "T1002"},
    {"SELECT ^'abc", "T1003"},
    {"SELECT 1;\nSELECT ^\"abc", "T1003"},
    {"SELECT 'ä', ^/* abc /* */", "T1003"},
    {"SELECT ^$x$abc$$", "T1003"},
    {"^SELEC 2", "T1004", "did you mean SELECT?"},
    {"SELECT 1; ^INSRT INTO items VALUES (1)", "T1004", "did you mean INSERT?"},
    {"^123", "T1004"},
    {"-- a\n  ^)", "T1004"},
    {"SELECT 1 ^2", "T1005"},
    {"SELECT 1^)", "T1005"},
    {"SELECT * FROM items WEHRE ^id = 1", "T1005", "did you mean WHERE?"},
    {"SELECT * FORM ^items", "T1005", "did you mean FROM?"},
    {"COMMIT ^NOW", "T1005"},
    // Names.
    {"SELECT * FROM ^itms", "T2001", "did you mean items?"},
    {"SELECT * FROM ^nothing_like_it", "T2001"},
    {"DROP TABLE ^itmes", "T2001"},
    {"SELECT ^x.id FROM items", "T2001", "items"},
    {"UPDATE ^nosuch SET a = 1", "T2001"},
    {"SELECT ^nam FROM items", "T2002", "did you mean name?"},
    {"SELECT 'ä', ^nam FROM items", "T2002", "did you mean name?"},
    {"SELECT ^items.nam FROM items", "T2002", "did you mean name?"},
    {"SELECT ^nothing", "T2002", "no FROM"},
    {"INSERT INTO t (^idd) VALUES (1)", "T2002", "did you mean id?"},
    {"UPDATE t SET ^nn = 1", "T2002"},
    {"SELECT * EXCLUDE (^nosuch) FROM items", "T2002"},
    {"SELECT {'a': 1}.^b", "T2002"},
    {"CREATE TABLE ^items (i INT)", "T2003"},
    {"CREATE TEMP TABLE ^t (i INT)", "T2003"},
    {"CREATE TEMP VIEW v AS SELECT 1; CREATE TEMP VIEW ^v AS SELECT 1", "T2003"},
    {"DROP INDEX ^t_m", "T2004"},
    {"CREATE INDEX ^t_n ON t (u)", "T2005"},
    {"DROP VIEW ^cheep", "T2006"},
    {"SELECT CASE WHEN true THEN DATE '2020-01-01' ELSE 1 END", "T2007"},
    {"SELECT 1 = [1]", "T2007"},
    {"SELECT unnest(1)", "T2007"},
    {"SELECT ^lenght('a')", "T2008", "did you mean length?"},
    {"SELECT ^length(1, 2, 3)", "T2008", "length(VARCHAR)"},
    {"SELECT 1 ^+ 'a'", "T2008", "cast"},
    {"SELECT ^row_number()", "T2008", "OVER"},
    {"SELECT * FROM ^nosuch_function(1)", "T2008"},
    {"SELECT * FROM ^nosuch.items", "T2009"},
    {"CREATE TABLE ^nosuch.t (i INT)", "T2009"},
    {"USE ^nosuch", "T2009"},
    {"SELECT 'c'::^nosuchtype", "T2010"},
    {"EXECUTE ^nosuch(1)", "T2010"},
    {"CREATE TEMP TABLE d (a INT, b INT, c INT); CREATE TEMP TABLE e (a INT, A INT)", "T2011"},
    {"SELECT ^id FROM items a, items b", "T2012", "a.id or b.id"},
    {"DROP TABLE t", "T2013"},
    {"SET ^thredas = 2", "T2014", "did you mean threads?"},
    {"RESET ^nosuch_setting", "T2014"},
    {"CREATE TEMP TABLE p (i INT PRIMARY KEY, j INT PRIMARY KEY)", "T2015"},
    {"CREATE TEMP TABLE p (d DECIMAL(50,2))", "T2015"},
    {"SELECT 1 UNION SELECT 1, 2", "T2016"},
    {"SELECT id FROM items ORDER BY ^5", "T2016"},
    {"SELECT ^id FROM items GROUP BY name", "T2017", "any_value(id)"},
    {"SELECT id FROM items WHERE ^sum(id) > 1", "T2017", "HAVING"},
    {"REFRESH MATERIALIZED VIEW ^items", "T2018", "duckdb_tables()"},
    {"DROP MATERIALIZED VIEW IF EXISTS ^main.items", "T2018"},
    {"CREATE MATERIALIZED VIEW m AS SELECT 1; INSERT INTO m VALUES (2)", "T2018", "REFRESH"},
    {"CREATE MATERIALIZED VIEW money AS SELECT 1; REFRESH MATERIALIZED VIEW ^monye", "T2006",
     "did you mean money?"},
    {"CREATE MATERIALIZED VIEW m AS SELECT ^pric FROM items", "T2002", "price"},
    {"CREATE OR REPLACE MATERIALIZED VIEW m AS SELECT id FRM ^items", "T1002"},
    {"CREATE MATERIALIZED VIEW m AS SELECT 1 WITH NO DATA; SELECT * FROM m", "T2019", "REFRESH"},
    // Constraints: DuckDB's own tables, and ours.
    {"INSERT INTO t (id) VALUES (2)", "T3001"},
    {"INSERT INTO items VALUES (2, NULL, 1)", "T3001"},
    {"INSERT INTO t VALUES (2, 1, 1, 1)", "T3002"},
    {"INSERT INTO t VALUES (1, 1, 2, 1)", "T3003"},
    {"INSERT INTO items VALUES (1, 'b', 1)", "T3003"},
    {"INSERT INTO t VALUES (2, 1, 2, -1)", "T3004"},
    {"INSERT INTO r VALUES (99)", "T3005"},
    {"CREATE TABLE g (i INT GENERATED ALWAYS AS IDENTITY); INSERT INTO g VALUES (1)", "T3006",
     "OVERRIDING"},
    {"INSERT INTO t ^OVERRIDING USER VALUE VALUES (1)", "T4009"},
    // Execution.
    {"SELECT 'a'^::INT", "T4002"},
    {"SELECT DATE 'x'", "T4002"},
    {"SELECT '{a'::JSON", "T4002"},
    {"SELECT error('boo')", "T4010"},
    {"SELECT 300::TINYINT", "T4008"},
    {"SELECT 9223372036854775807 + 1", "T4008"},
    {"INSERT INTO items VALUES (2, 'b', 100000)", "T4008"},
    {"SELECT sqrt(-1)", "T4008"},
    {"SELECT $1", "T4007"},
    {"PREPARE p AS SELECT ? + ?; EXECUTE p(1)", "T4007"},
    {"SELECT * FROM items FOR UPDATE", "T4009"},
    {"SELECT id FROM items LIMIT -1", "T4010"},
    {"SET threads = -1", "T4010"},
    {"SET memory_limit = 'bogus'", "T4010"},
    {"SELECT date_trunc('foo', DATE '2020-01-01')", "T4010"},
    {"SELECT '\xff'", "T4011"},
    {"SELECT (SELECT * FROM range(3))", "T4012"},
    // Transactions and storage.
    {"BEGIN; SELECT nosuch; ", "T2002"},
    {"COMMIT", "T5004"},
    {"SAVEPOINT a", "T5004"},
    {"BEGIN; BEGIN", "T5005"},
    {"BEGIN; ROLLBACK TO a", "T5006"},
    {"BEGIN READ ONLY; INSERT INTO items VALUES (3, 'c', 1)", "T5007"},
    {"SELECT * FROM read_csv('nosuch.csv')", "T5014"},
    {"COPY items TO 'no/such/folder/x.csv'", "T5014"},
    {"DROP SCHEMA main", "T2013"},
};

TEST_F(ErrorsTest, EveryErrorHasItsCodePlaceAndHint) {
  for (const Case& c : kCases) {
    std::string sql = c.sql;
    std::optional<size_t> position;
    if (const size_t mark = sql.find('^'); mark != std::string::npos) {
      position = mark;
      sql.erase(mark, 1);
    }
    SetUp();
    if (sql.empty()) continue;  // nothing to say, nothing wrong
    const Status status = Run(sql);
    SCOPED_TRACE(sql + "\n  " + status.ToString());
    const SqlError* error = SqlErrorOf(status);
    if (error == nullptr) {
      ADD_FAILURE() << "no error of SQL";
      continue;
    }
    EXPECT_EQ(error->code, c.code);
    EXPECT_EQ(error->sqlstate, FindErrorCode(c.code).sqlstate);
    EXPECT_EQ(CodeOf(status), FindErrorCode(c.code).error);
    if (position) {
      EXPECT_EQ(error->position, position);
      EXPECT_NE(error->excerpt, "");
    }
    EXPECT_NE(HintOf(status).find(c.hint), std::string::npos) << "hint: " << HintOf(status);
    // DuckDB's lists are hints, not part of the message.
    EXPECT_EQ(MessageOf(status).find("Did you mean"), std::string::npos);
    EXPECT_EQ(MessageOf(status).find("Candidate"), std::string::npos);
  }
}

TEST_F(ErrorsTest, EveryCodeIsReachedOrSaysWhyNot) {
  const std::map<std::string, std::string> elsewhere = {
      {"T4001", "tests/sql/session/strict_mode.test"},
      {"T4003", "tests/sql/session/settings.test"},
      {"T4004", "tests/sql/session/settings.test"},
      {"T4005", "for exceptions that DuckDB has and does not throw"},
      {"T4006", "ConnectionTest.ACopyReportsProgressAndChangesNothingWhenItIsCancelled"},
      {"T4013", "robustness_test.cc"},
      {"T5001", "two transactions: table_test.cc"},
      {"T5002", "an unknown commit, as the storage tests make"},
      {"T5003", "ConnectionTest.AFailedStatementEndsTheTransactionUntilRollback"},
      {"T5008", "a storage that cannot be reached"},
      {"T5009", "a full disk"},
      {"T5010", "damaged bytes at rest"},
      {"T5011", "a failed sync"},
      {"T5012", "a second writer"},
      {"T5013", "reading below the history that is kept has no SQL yet"},
      {"T5099", "AfterAnInternalErrorEveryStatementSaysToReopen"},
      {"T6001", "there are no users yet"},
      {"T6002", "there are no users yet"},
  };
  std::set<std::string> reached;
  for (const Case& c : kCases) reached.insert(c.code);
  for (const ErrorCodeRow& row : ErrorCodes()) {
    const std::string code(row.code);
    EXPECT_NE(reached.contains(code), elsewhere.contains(code)) << code;
  }
}

TEST_F(ErrorsTest, TheDocumentListsTheCodesOfTheTable) {
  const char* source = std::getenv("LAMINA_SOURCE");
  ASSERT_NE(source, nullptr) << "run it with ctest";
  std::ifstream file(std::string(source) + "/docs/errors.md");
  std::stringstream text;
  text << file.rdbuf();
  std::string listed;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("| `T")) listed += line + "\n";
  }
  std::string expected;
  for (const ErrorCodeRow& row : ErrorCodes())
    expected +=
        fmt::format("| `{}` | {} | `{}` | {} |\n", row.code, row.name, row.sqlstate, row.meaning);
  EXPECT_EQ(listed, expected) << "docs/errors.md should hold:\n" << expected;
}

TEST(SuggestionTest, NamesTheNearestAndOnlyWhatIsNear) {
  const std::vector<std::string> known = {"items", "orders", "id"};
  EXPECT_EQ(ClosestName("itmes", known), "items");
  EXPECT_EQ(ClosestName("ITEM", known), "items");
  EXPECT_EQ(ClosestName("odrers", known), "orders");
  EXPECT_EQ(ClosestName("nothing", known), "");
  EXPECT_EQ(ClosestName("x", known), "");
  EXPECT_EQ(ClosestName("items", std::vector<std::string>{"items"}), "");
  EXPECT_EQ(ClosestName(std::string(100000, 'x'), known), "");
}

// A function with a bug, in an instance of the test's own.
TEST(InternalErrorTest, AfterAnInternalErrorEveryStatementSaysToReopen) {
  const auto owner = SqlDatabase::Open("").ValueOrDie();
  auto instance = MakeInstance(&owner->database());
  {
    duckdb::Connection raw(*instance);
    raw.CreateVectorizedFunction<int32_t, int32_t>(
        "broken", [](duckdb::DataChunk&, duckdb::ExpressionState&, duckdb::Vector&) {
          throw duckdb::InternalException("a bug of the test");
        });
  }
  const auto connection = MakeConnection(owner, instance.get()).ValueOrDie();
  const auto run = [&](const char* sql) {
    return connection->ExecuteAll(sql, [](SqlResult&) { return Status::OK(); });
  };
  Status status = run("SELECT broken(i::INT) FROM range(3) t(i)");
  ASSERT_NE(SqlErrorOf(status), nullptr) << status.ToString();
  EXPECT_EQ(SqlErrorOf(status)->code, "T5099");
  EXPECT_EQ(MessageOf(status), "internal error: a bug of the test");
  status = run("SELECT 1");
  ASSERT_NE(SqlErrorOf(status), nullptr) << status.ToString();
  EXPECT_EQ(SqlErrorOf(status)->code, "T5099");
  EXPECT_EQ(MessageOf(status).substr(0, 43), "SQL has stopped after an internal error: ca")
      << MessageOf(status);
  EXPECT_NE(MessageOf(status).find("a bug of the test"), std::string::npos);
  EXPECT_NE(HintOf(status).find("open the database again"), std::string::npos);
}

}  // namespace
}  // namespace lamina::sql
