// Texts that no honest user writes, and that must end in an answer or an error all the same.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "lamina/connection.h"

namespace lamina::sql {
namespace {

class RobustnessTest : public ::testing::Test {
 protected:
  /// The code of the first error, or "" when all went well.
  std::string CodeOfRunning(std::string_view sql) {
    const Status status = connection_->ExecuteAll(sql, [](SqlResult&) { return Status::OK(); });
    // Whatever came: the session goes on.
    EXPECT_TRUE(connection_->Execute("SELECT 1").ok());
    if (status.ok()) return "";
    return SqlErrorOf(status) == nullptr ? status.ToString() : SqlErrorOf(status)->code;
  }

  std::shared_ptr<SqlDatabase> database_ = SqlDatabase::Open("").ValueOrDie();
  std::unique_ptr<Connection> connection_ = database_->Connect().ValueOrDie();
};

TEST_F(RobustnessTest, WhatIsNotClosedIsNamedWhereItBegins) {
  for (const char* open : {"'abc", "\"abc", "/* abc", "$$abc", "$x$abc", "E'a\\'"}) {
    const std::string sql = "SELECT 1, " + std::string(open);
    const Status status = connection_->Execute(sql).status();
    ASSERT_NE(SqlErrorOf(status), nullptr) << sql;
    EXPECT_EQ(SqlErrorOf(status)->code, "T1003") << sql << status.ToString();
    EXPECT_EQ(SqlErrorOf(status)->position, 10u) << sql;
    // The rest of the text is not repeated.
    EXPECT_LT(MessageOf(status).size(), 80u);
  }
}

TEST_F(RobustnessTest, AStatementOfTenMegabytesRuns) {
  const std::string text(10 << 20, 'x');
  EXPECT_EQ(CodeOfRunning("SELECT length('" + text + "')"), "");
  EXPECT_EQ(CodeOfRunning("SELECT length('" + text), "T1003");
  EXPECT_EQ(CodeOfRunning("SELECT 1 " + text + " 2"), "T1005");
}

TEST_F(RobustnessTest, TenThousandBracketsAreAnError) {
  for (const size_t depth : {10'000u, 200'000u}) {
    EXPECT_EQ(CodeOfRunning("SELECT " + std::string(depth, '(') + "1" + std::string(depth, ')')),
              "T4013");
    EXPECT_NE(CodeOfRunning("SELECT " + std::string(depth, '(')), "");
    EXPECT_NE(CodeOfRunning("SELECT " + std::string(depth, '[')), "");
    std::string nots = "SELECT ";
    for (size_t i = 0; i < depth; ++i) nots += "NOT ";
    EXPECT_EQ(CodeOfRunning(nots + "true"), "T4013");
    std::string subqueries;
    for (size_t i = 0; i < depth; ++i) subqueries += "SELECT * FROM (";
    EXPECT_NE(CodeOfRunning(subqueries + "SELECT 1" + std::string(depth, ')')), "");
  }
}

TEST_F(RobustnessTest, ALongChainOfOperatorsIsAnswerOrError) {
  std::string sum = "SELECT 1";
  for (int i = 0; i < 10'000; ++i) sum += "+1";
  EXPECT_EQ(CodeOfRunning(sum), "T4013");
}

TEST_F(RobustnessTest, TextThatIsNotUtf8IsAnError) {
  EXPECT_EQ(CodeOfRunning("SELECT '\xff'"), "T4011");
  EXPECT_EQ(CodeOfRunning("SELECT '\xc3'"), "T4011");
  EXPECT_EQ(CodeOfRunning("SELECT a\xff"), "T4011");
  EXPECT_EQ(CodeOfRunning("SELECT 1 \xed\xa0\x80"), "T4011");
  EXPECT_EQ(CodeOfRunning("CREATE TEMP TABLE \"\xff\" (i INT)"), "T4011");
  const Status status = connection_->Execute("SELECT $1", {std::string("\xff")}).status();
  ASSERT_NE(SqlErrorOf(status), nullptr) << status.ToString();
  EXPECT_EQ(SqlErrorOf(status)->code, "T4011");
}

TEST_F(RobustnessTest, ANulByteDoesNotEndAStatementUnseen) {
  using namespace std::string_view_literals;
  EXPECT_EQ(CodeOfRunning("SELECT 1\0, nosuch"sv), "T1001");
  EXPECT_EQ(CodeOfRunning("SELECT '\0'"sv), "T1001");
  EXPECT_EQ(CodeOfRunning("\0"sv), "T1001");
  // As a parameter it is text like any other.
  const auto result =
      connection_->Execute("SELECT length($1)", {std::string("a\0b", 3)}).ValueOrDie();
  ASSERT_TRUE(result->NextRow().ValueOrDie());
  EXPECT_EQ(result->Text(0), "3");
}

TEST_F(RobustnessTest, WrongNumbersOfParametersAreErrors) {
  const auto code = [&](const char* sql, const SqlParameters& parameters) {
    const Status status = connection_->Execute(sql, parameters).status();
    return SqlErrorOf(status) == nullptr ? status.ToString() : SqlErrorOf(status)->code;
  };
  EXPECT_EQ(code("SELECT $1", {}), "T4007");
  EXPECT_EQ(code("SELECT $1", {1, 2}), "T4007");
  EXPECT_EQ(code("SELECT 1", {1}), "T4007");
  EXPECT_EQ(code("SELECT $2", {1}), "T4007");
  EXPECT_EQ(code("SELECT 1; SELECT $1", {1}), "T4007");
  EXPECT_EQ(code("BEGIN", {1}), "T4007");
  EXPECT_EQ(connection_->transaction_state(), SqlTransactionState::kIdle);
}

TEST_F(RobustnessTest, WhatHoldsNoStatementGivesNoRowsAndNoError) {
  for (const char* sql : {"", " \n\t", "-- only this", "/* a /* b */ c */", ";;;", "-- a\n;/**/;"})
    EXPECT_EQ(CodeOfRunning(sql), "") << sql;
}

TEST_F(RobustnessTest, AByteOrderMarkIsSkipped) {
  EXPECT_EQ(CodeOfRunning("\xef\xbb\xbfSELECT 1"), "");
  EXPECT_EQ(CodeOfRunning("\xef\xbb\xbf"), "");
  const Status status = connection_->Execute("\xef\xbb\xbfSELEC 1").status();
  ASSERT_NE(SqlErrorOf(status), nullptr);
  EXPECT_EQ(SqlErrorOf(status)->code, "T1004");
  EXPECT_EQ(SqlErrorOf(status)->position, 3u);
}

std::string Repeated(std::string_view text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}
std::string Nested(std::string_view open, std::string_view inner, std::string_view close,
                   int depth) {
  return Repeated(open, depth) + std::string(inner) + Repeated(close, depth);
}

TEST_F(RobustnessTest, DeepNestingOfAnyKindIsAnError) {
  for (const std::string& sql :
       {"SELECT " + Nested("CASE WHEN true THEN ", "1", " END", 5000),
        "SELECT " + Nested("abs(", "1", ")", 5000), "SELECT 1" + Repeated("::INT", 20'000),
        "SELECT " + Nested("[", "1", "]", 5000), "SELECT " + Nested("{'a': ", "1", "}", 5000),
        "SELECT " + Repeated("- ", 20'000) + "1",
        "SELECT * FROM " + Nested("(SELECT * FROM ", "(SELECT 1)", ")", 5000),
        "SELECT " + Nested("(SELECT ", "1", ")", 5000),
        "SELECT 1 WHERE " + Nested("1 IN (SELECT 1 WHERE ", "true", ")", 5000),
        "SELECT 1 WHERE " + Nested("EXISTS (SELECT 1 WHERE ", "true", ")", 5000),
        "SELECT count(*) FROM (SELECT 1) a" + Repeated(" CROSS JOIN (SELECT 1)", 5000),
        "CREATE TABLE t (a INT" + Repeated("[]", 5000) + ")",
        "CREATE TABLE t (a " + Nested("STRUCT(a ", "INT", ")", 5000) + ")",
        "SELECT 'a'" + Repeated(" || 'a'", 10'000),
        "SELECT 1" + Repeated(" INTERSECT SELECT 1", 4000),
        "SELECT " + Nested("list_transform([1], x -> ", "1", ")", 5000)}) {
    EXPECT_EQ(CodeOfRunning(sql), "T4013") << sql.substr(0, 80);
  }
  EXPECT_EQ(CodeOfRunning("DROP TABLE t"), "T2001");
}

TEST_F(RobustnessTest, LongChainsOfOneOperatorAreAnsweredOrRefused) {
  EXPECT_EQ(CodeOfRunning("SELECT true" + Repeated(" AND true", 10'000)), "");
  EXPECT_EQ(CodeOfRunning("SELECT false" + Repeated(" OR 1 = 2", 10'000)), "");
  EXPECT_EQ(CodeOfRunning("SELECT 1" + Repeated(" UNION ALL SELECT 1", 1000)), "");
  // The work for these grows with the square.
  const Status status =
      connection_->Execute("SELECT 1" + Repeated(" UNION ALL SELECT 1", 10'000)).status();
  ASSERT_NE(SqlErrorOf(status), nullptr);
  EXPECT_EQ(SqlErrorOf(status)->code, "T4013");
  EXPECT_EQ(SqlErrorOf(status)->position, 9 + 5000 * 19u);
  EXPECT_FALSE(connection_->Prepare("SELECT 1" + Repeated(" UNION SELECT 1", 10'000)).ok());
}

TEST_F(RobustnessTest, DeepJsonDoesNotEndTheProcess) {
  ASSERT_EQ(CodeOfRunning("CREATE TABLE t (id INT PRIMARY KEY, doc JSON)"), "");
  const std::string deep = Nested("{\"a\":", "1", "}", 100'000);
  EXPECT_TRUE(connection_->Execute("INSERT INTO t VALUES (1, $1)", {deep}).ok());
  EXPECT_EQ(CodeOfRunning("SELECT doc->'a' IS NULL, json_valid(doc), json_type(doc) FROM t"), "");
  for (const char* function :
       {"json_contains(doc, doc)", "doc @> doc", "doc <@ doc", "json_merge_patch(doc, doc)",
        "json_structure(doc)", "json_pretty(doc)", "json_transform(doc, '{\"a\": \"JSON\"}')",
        "from_json(doc, '{\"a\": \"JSON\"}')"})
    EXPECT_EQ(CodeOfRunning(fmt::format("SELECT {} IS NULL FROM t", function)), "T4013")
        << function;
  // Brackets in texts are none; a thousand levels are enough for anybody.
  EXPECT_EQ(CodeOfRunning("SELECT json_structure('[\"" + std::string(5000, '[') + "\"]')"), "");
  const std::string allowed = Nested("{\"a\":", "1", "}", 1000);
  EXPECT_EQ(CodeOfRunning("SELECT json_contains('" + allowed + "', '" + allowed + "')"), "");
  EXPECT_EQ(CodeOfRunning("SELECT json_merge_patch('" + allowed + "', '" + allowed + "') IS NULL"),
            "");
  EXPECT_EQ(CodeOfRunning("SELECT '" + allowed + "'::JSON @> '" + allowed + "'::JSON"), "");
}

TEST_F(RobustnessTest, LongNamesAndManyColumnsWork) {
  const std::string name(10'000, 'n');
  EXPECT_EQ(CodeOfRunning("CREATE TABLE \"" + name + "\" (\"" + name + "\" INT PRIMARY KEY)"), "");
  EXPECT_EQ(CodeOfRunning("INSERT INTO " + name + " VALUES (1)"), "");
  EXPECT_EQ(CodeOfRunning("SELECT " + name + " FROM " + name), "");
  std::string columns;
  for (int i = 0; i < 3000; ++i) columns += fmt::format("{}c{} INT", i == 0 ? "" : ", ", i);
  EXPECT_EQ(CodeOfRunning("CREATE TABLE wide (" + columns + ")"), "");
  EXPECT_EQ(CodeOfRunning("INSERT INTO wide (c2999) VALUES (7)"), "");
  EXPECT_EQ(CodeOfRunning("SELECT * FROM wide WHERE c2999 = 7"), "");
  // A message does not repeat what it is about without end.
  const Status status =
      connection_->Execute("SELECT \"" + std::string(10 << 20, 'x') + "\"").status();
  ASSERT_NE(SqlErrorOf(status), nullptr);
  EXPECT_EQ(SqlErrorOf(status)->code, "T2002");
  EXPECT_LT(MessageOf(status).size(), 2100u);
  EXPECT_LT(SqlErrorOf(status)->excerpt.size(), 400u);
}

TEST_F(RobustnessTest, ParametersOfTheWrongTypeAreErrors) {
  ASSERT_EQ(CodeOfRunning("CREATE TABLE t (id INT PRIMARY KEY, d DATE)"), "");
  const auto code = [&](const char* sql, const SqlParameters& parameters) {
    const Status status = connection_->Execute(sql, parameters).status();
    return SqlErrorOf(status) == nullptr ? status.ToString() : SqlErrorOf(status)->code;
  };
  EXPECT_EQ(code("INSERT INTO t VALUES ($1, $2)", {1, "no date"}), "T4002");
  EXPECT_EQ(code("INSERT INTO t VALUES ($1, $2)", {"x", nullptr}), "T4002");
  EXPECT_EQ(code("INSERT INTO t VALUES ($1, $2)", {int64_t{1} << 40, nullptr}), "T4008");
  EXPECT_EQ(code("SELECT * FROM t LIMIT $1", {"many"}), "T4002");
  EXPECT_EQ(code("SELECT $1 + 1", {SqlValue::Blob("x")}), "T2008");
  EXPECT_EQ(code("SELECT $1::INT", {SqlValue::Typed("NOSUCH", "1")}), "T2010");
  const auto statement = connection_->Prepare("INSERT INTO t VALUES (?, ?)").ValueOrDie();
  EXPECT_FALSE(statement->Execute({"x", nullptr}).ok());
  EXPECT_TRUE(statement->Execute({3, "2024-02-29"}).ok());
  const auto result = connection_->Execute("SELECT count(*) FROM t").ValueOrDie();
  ASSERT_TRUE(result->NextRow().ValueOrDie());
  EXPECT_EQ(result->Text(0), "1");
}

TEST_F(RobustnessTest, ARecursionWithoutEndIsCancelled) {
  for (const char* sql : {"WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) "
                          "SELECT count(*) FROM r",
                          "WITH RECURSIVE r(n) AS (SELECT 1::HUGEINT UNION SELECT n + 1 FROM r) "
                          "SELECT max(n) FROM r"}) {
    std::thread canceller([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      connection_->Cancel();
    });
    EXPECT_EQ(CodeOfRunning(sql), "T4006") << sql;
    canceller.join();
  }
}

class BadFileTest : public RobustnessTest {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              fmt::format("lamina_bad_files_{}", static_cast<int>(getpid()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ / "empty");
    ASSERT_EQ(CodeOfRunning("CREATE TABLE t (a INT, b VARCHAR)"), "");
  }
  void TearDown() override {
    ASSERT_EQ(CodeOfRunning("INSERT INTO t VALUES (1, 'only')"), "");
    const auto result = connection_->Execute("SELECT count(*) FROM t").ValueOrDie();
    ASSERT_TRUE(result->NextRow().ValueOrDie());
    EXPECT_EQ(result->Text(0), "1") << "something was changed by what failed";
    std::filesystem::remove_all(folder_);
  }

  std::string Path(const std::string& name) { return (folder_ / name).string(); }
  std::string Write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return Path(name);
  }
  std::string Bytes(const std::string& name) {
    std::ifstream in(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::filesystem::path folder_;
};

TEST_F(BadFileTest, TextThatIsNotUtf8IsNamedWithFileAndLine) {
  const std::string csv = Write("a.csv", "a,b\n1,x\n2,\xff\xfe\n");
  const Status status = connection_->Execute("COPY t FROM '" + csv + "'").status();
  ASSERT_NE(SqlErrorOf(status), nullptr);
  EXPECT_EQ(SqlErrorOf(status)->sqlstate, "22023") << status.ToString();
  EXPECT_NE(MessageOf(status).find("file=" + csv + " line=3"), std::string::npos)
      << status.ToString();
  EXPECT_EQ(CodeOfRunning("SELECT * FROM read_csv('" + csv + "')"), "T4010");
  const std::string json = Write("a.json", "{\"a\": 1, \"b\": \"\xff\"}\n");
  EXPECT_EQ(CodeOfRunning("COPY t FROM '" + json + "' (FORMAT json)"), "T4010");
  EXPECT_EQ(CodeOfRunning("SELECT * FROM read_text('" + Write("a.txt", "\xff") + "')"), "T4010");
}

TEST_F(BadFileTest, TruncatedAndDamagedFilesAreErrors) {
  ASSERT_EQ(
      CodeOfRunning("COPY (SELECT range::INT AS a, 'text ' || range AS b FROM range(5000)) TO '" +
                    Path("good.parquet") + "' (FORMAT parquet)"),
      "");
  const std::string good = Bytes("good.parquet");
  for (const size_t size : {size_t{0}, size_t{3}, size_t{8}, good.size() / 2, good.size() - 1}) {
    const std::string cut = Write("cut.parquet", good.substr(0, size));
    EXPECT_EQ(CodeOfRunning("COPY t FROM '" + cut + "' (FORMAT parquet)"), "T4010") << size;
  }
  // Wherever the damage lies: an error, or the rows.
  for (size_t at = 4; at < good.size(); at += good.size() / 40) {
    std::string damaged = good;
    for (size_t i = at; i < std::min(at + 20, good.size()); ++i) damaged[i] = '\xee';
    const std::string file = Write("damaged.parquet", damaged);
    const std::string code =
        CodeOfRunning("SELECT sum(a), max(b) FROM read_parquet('" + file + "')");
    EXPECT_NE(code, "T5099") << at;
  }
  const std::string json = Write("cut.json", "{\"a\": 1, \"b\": \"x\"}\n{\"a\": 2, \"b");
  EXPECT_EQ(CodeOfRunning("COPY t FROM '" + json + "' (FORMAT json)"), "T4010");
}

TEST_F(BadFileTest, DeepJsonInFilesDoesNotEndTheProcess) {
  const std::string deep = Nested("{\"a\":", "1", "}", 100'000);
  const std::string file = Write("deep.json", "{\"a\": 1, \"b\": \"[[[\\\"\"}\n" + deep + "\n");
  EXPECT_EQ(CodeOfRunning("SELECT * FROM '" + file + "'"), "T4013");
  EXPECT_EQ(CodeOfRunning("SELECT * FROM read_json(['" + file + "'])"), "T4013");
  EXPECT_EQ(CodeOfRunning("SELECT * FROM read_ndjson('" + Path("d*.json") + "')"), "T4013");
  EXPECT_EQ(CodeOfRunning("SELECT length(json) FROM read_json_objects('" + file + "')"), "");
  const std::string allowed = Write("allowed.json", Nested("{\"a\":", "1", "}", 900) + "\n");
  EXPECT_EQ(CodeOfRunning("SELECT count(*) FROM read_json('" + allowed + "')"), "");
  EXPECT_EQ(CodeOfRunning("SELECT * FROM read_json('" + Path("none.json") + "')"), "T5014");
}

TEST_F(BadFileTest, FilesThatAreNotWhatTheySayAreErrors) {
  const std::string text = Write("t.parquet", "a,b\n1,x\n");
  EXPECT_EQ(CodeOfRunning("SELECT * FROM '" + text + "'"), "T4010");
  const std::string gz = Write("t.csv.gz", "a,b\n1,x\n");
  EXPECT_EQ(CodeOfRunning("COPY t FROM '" + gz + "'"), "T5014");
  EXPECT_EQ(CodeOfRunning("COPY t FROM '" + Path("empty") + "'"), "T5014");
  EXPECT_EQ(CodeOfRunning("COPY t TO '" + Path("empty") + "'"), "T5014");
  EXPECT_EQ(CodeOfRunning("COPY t FROM '" + Write("short.csv", "a,b\n1,x\n2\n") + "'"), "T4010");
  EXPECT_EQ(CodeOfRunning("COPY t FROM '" + Write("long.csv", "a,b\n1,x,y\n") + "'"), "T4010");
  EXPECT_EQ(CodeOfRunning("SELECT * FROM read_csv('" + Path("none.csv") + "')"), "T5014");
}

TEST_F(BadFileTest, DatabasesThatAreNoneAreNotAttached) {
  const std::string text = Write("text.db", Repeated("this is no database\n", 500));
  EXPECT_EQ(CodeOfRunning("ATTACH '" + text + "' AS x"), "T5014");
  EXPECT_EQ(Bytes("text.db"), Repeated("this is no database\n", 500));
  ASSERT_EQ(CodeOfRunning("ATTACH '" + Path("good.duckdb") +
                          "' AS d; CREATE TABLE d.t AS SELECT range AS a FROM range(100000); "
                          "DETACH d"),
            "");
  const std::string good = Bytes("good.duckdb");
  ASSERT_GT(good.size(), 300'000u);
  for (const size_t size : {size_t{20}, size_t{5000}, size_t{20'000}, size_t{300'000}}) {
    const std::string cut = Write(fmt::format("cut{}.duckdb", size), good.substr(0, size));
    const std::string code =
        CodeOfRunning("ATTACH '" + cut + "' AS x (READ_ONLY); SELECT sum(a) FROM x.t");
    EXPECT_EQ(code, "T5014") << size;
    (void)CodeOfRunning("DETACH DATABASE IF EXISTS x");
  }
}

TEST_F(BadFileTest, AFolderThatIsSomethingElseIsNotOpened) {
  const std::string text = Write("file", "a file");
  EXPECT_FALSE(SqlDatabase::Open(text).ok());
  EXPECT_EQ(Bytes("file"), "a file");
  std::filesystem::create_directories(folder_ / "other");
  (void)Write("other/photo.jpg", "not a database");
  const auto opened = SqlDatabase::Open(Path("other"));
  EXPECT_FALSE(opened.ok());
  EXPECT_EQ(CodeOf(opened.status()), ErrorCode::kInvalidArgument) << opened.status().ToString();
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_ / "other"), {}), 1);
  std::filesystem::create_directories(folder_ / "duck.lamina");
  (void)Write("duck.lamina/good.duckdb", "DUCK");
  EXPECT_FALSE(SqlDatabase::Open(Path("duck.lamina")).ok());
}

}  // namespace
}  // namespace lamina::sql
