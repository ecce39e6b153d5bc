#include "slt/runner.h"

#include <filesystem>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "slt/beside_duckdb.h"
#include "slt/md5.h"

namespace lamina::slt {
namespace {

namespace fs = std::filesystem;

class RunnerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / fmt::format("lamina-slt-test-{}", getpid());
    fs::remove_all(directory_);
    fs::create_directories(directory_ / "scratch");
    options_.scratch = (directory_ / "scratch").string();
    options_.keep_going = true;
  }
  void TearDown() override { fs::remove_all(directory_); }

  FileOutcome Run(const std::string& text) {
    failures_.clear();
    return RunScript("x.test", text, options_,
                     [&](const std::string& failure) { failures_.push_back(failure); });
  }
  /// The failures of a text, in one.
  std::string Failures(const std::string& text) {
    (void)Run(text);
    std::string out;
    for (const auto& failure : failures_) out += failure;
    return out;
  }

  fs::path directory_;
  RunOptions options_;
  std::vector<std::string> failures_;
};

TEST(Md5Test, GivesTheDigestsOfTheRfc) {
  EXPECT_EQ(Md5(""), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(Md5("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
  EXPECT_EQ(Md5("1234567890123456789012345678901234567890123456789012345678901234567890123456789"
                "0"),
            "57edf4a22be3c955ac49da2e2107b67a");
}

TEST_F(RunnerTest, RowsWithTabsAndValuesALineAreTheSame) {
  const auto outcome =
      Run("query IT\nSELECT 1, 'a' UNION ALL SELECT 2, NULL ORDER BY 1\n----\n1\ta\n2\tNULL\n\n"
          "query IT\nSELECT 1, ''\n----\n1\n(empty)\n\n"
          "query T\nSELECT 'a\tb'\n----\na\\tb\n");
  EXPECT_EQ(outcome.records, 3);
  EXPECT_EQ(outcome.failed, 0) << failures_[0];
}

TEST_F(RunnerTest, OtherRowsFailWithPlaceAndBothSides) {
  EXPECT_EQ(Failures("# one\n\nquery II\nSELECT 1, 2\n----\n1\t3\n"),
            "x.test:3: row 1 is another\n  SELECT 1, 2\nexpected:\n  1\t3\nactual:\n  1\t2\n");
  EXPECT_NE(Failures("query I\nSELECT 1\n----\n1\n2\n").find("1 values instead of 2"),
            std::string::npos);
  EXPECT_NE(Failures("query I\nSELECT 1, 2\n----\n1\n").find("gives 2 columns instead of 1"),
            std::string::npos);
}

TEST_F(RunnerTest, RowsortSortsRowsAndValuesortValues) {
  EXPECT_EQ(Failures("query II rowsort\nVALUES (2, 1), (1, 9)\n----\n1\t9\n2\t1\n"), "");
  EXPECT_EQ(Failures("query II rowsort\nVALUES (2, 1), (1, 9)\n----\n2\t1\n1\t9\n"), "");
  EXPECT_EQ(Failures("query II valuesort\nVALUES (2, 1), (1, 9)\n----\n1\n1\n2\n9\n"), "");
  EXPECT_NE(Failures("query II nosort\nVALUES (2, 1), (1, 9)\n----\n1\t9\n2\t1\n"), "");
}

TEST_F(RunnerTest, AHashStandsForTheValues) {
  const std::string hash = Md5("1\n2\n3\n");
  EXPECT_EQ(Failures("query I\nVALUES (1), (2), (3)\n----\n3 values hashing to " + hash + "\n"),
            "");
  EXPECT_NE(Failures("query I\nVALUES (1), (2), (4)\n----\n3 values hashing to " + hash + "\n"),
            "");
}

TEST_F(RunnerTest, AnErrorIsCheckedByCodeTextAndPattern) {
  EXPECT_EQ(Failures("statement error\nSELEC 1\n"), "");
  EXPECT_EQ(Failures("statement error 42601\nSELEC 1\n----\nsyntax error\n"), "");
  EXPECT_EQ(Failures("statement error\nSELEC 1\n----\n<REGEX>:syntax .*SELEC\n"), "");
  EXPECT_NE(Failures("statement error T3001\nSELEC 1\n").find("another code"), std::string::npos);
  EXPECT_NE(Failures("statement error\nSELEC 1\n----\nno such text\n").find("another text"),
            std::string::npos);
  EXPECT_NE(Failures("statement error\nSELECT 1\n").find("should have failed"), std::string::npos);
  EXPECT_NE(Failures("statement ok\nSELEC 1\n").find("x.test:1: the statement failed"),
            std::string::npos);
}

TEST_F(RunnerTest, ACountOfChangedRowsIsChecked) {
  EXPECT_EQ(Failures("statement ok\nCREATE TEMP TABLE t (a INT)\n\n"
                     "statement count 2\nINSERT INTO t VALUES (1), (2)\n"),
            "");
  EXPECT_NE(Failures("statement ok\nCREATE TEMP TABLE t (a INT)\n\n"
                     "statement count 3\nINSERT INTO t VALUES (1), (2)\n")
                .find("changed 2 rows instead of 3"),
            std::string::npos);
}

TEST_F(RunnerTest, LoopsReplaceTheirVariable) {
  const auto outcome = Run(
      "loop i 0 3\n\nforeach t INTEGER BIGINT\n\nquery T\nSELECT typeof(${i}::${t})\n----\n${t}\n\n"
      "endloop\n\nendloop\n");
  EXPECT_EQ(outcome.records, 6);
  EXPECT_EQ(outcome.failed, 0);
  EXPECT_NE(Failures("loop i 4 5\n\nquery I\nSELECT ${i}\n----\n5\n\nendloop\n")
                .find("(in the loop with i=4)"),
            std::string::npos);
}

TEST_F(RunnerTest, SkipifAndOnlyifChooseByEngine) {
  EXPECT_EQ(Run("skipif lamina\nstatement ok\nSELEC\n\nonlyif mysql\nstatement ok\nSELEC\n\n"
                "onlyif duckdb\nstatement ok\nSELECT 1\n\nonlyif disk\nstatement ok\nSELEC\n")
                .records,
            1);
}

TEST_F(RunnerTest, HaltSkipAndRequireLeaveRecordsOut) {
  EXPECT_EQ(Run("statement ok\nSELECT 1\n\nhalt\n\nstatement ok\nSELEC\n").records, 1);
  EXPECT_EQ(
      Run("mode skip\n\nstatement ok\nSELEC\n\nmode unskip\n\nstatement ok\nSELECT 1\n").records,
      1);
  const auto outcome = Run("require nothing_like_it\n\nstatement ok\nSELEC\n");
  EXPECT_EQ(outcome.records, 0);
  EXPECT_EQ(outcome.skipped, "requires nothing_like_it");
}

TEST_F(RunnerTest, NamedConnectionsAreSessionsOfTheirOwn) {
  EXPECT_EQ(Failures("statement ok con1\nCREATE TEMP TABLE t (a INT)\n\n"
                     "query I con1\nSELECT count(*) FROM t\n----\n0\n\n"
                     "statement error\nSELECT * FROM t\n"),
            "");
}

TEST_F(RunnerTest, LabelsMustAgree) {
  EXPECT_NE(Failures("query I nosort a\nSELECT 1\n----\n1\n\nquery I nosort a\nSELECT 2\n----\n2\n")
                .find("under the label a"),
            std::string::npos);
  EXPECT_EQ(Failures("query I nosort a\nSELECT 1\n\nquery I nosort a\nSELECT 2 - 1\n"), "");
}

TEST_F(RunnerTest, APendingFileIsNotRun) {
  const auto outcome = Run("# pending: not yet\n\nstatement ok\nSELEC\n");
  EXPECT_TRUE(outcome.pending);
  EXPECT_EQ(outcome.skipped, "not yet");
  EXPECT_EQ(outcome.failed, 0);
}

TEST_F(RunnerTest, RestartsWaitForTheTransactionAndRespectTheFile) {
  options_.restart_every = 1;
  options_.flush_every = 1;
  options_.database = (directory_ / "db").string();
  const std::string text =
      "statement ok\nBEGIN\n\nstatement ok\nCREATE TEMP TABLE t (a INT)\n\n"
      "query I\nSELECT count(*) FROM t\n----\n0\n\nstatement ok\nCOMMIT\n\n"
      "statement ok\nSELECT 1\n";
  auto outcome = Run(text);
  EXPECT_EQ(outcome.failed, 0) << failures_[0];
  EXPECT_EQ(outcome.restarts, 2);
  fs::remove_all(options_.database);
  EXPECT_EQ(Run("# no restart\n" + text).restarts, 0);
}

TEST_F(RunnerTest, WithoutKeepGoingTheFirstFailureEndsTheFile) {
  options_.keep_going = false;
  EXPECT_EQ(Run("statement ok\nSELEC\n\nstatement ok\nSELEC\n").failed, 1);
}

TEST_F(RunnerTest, TestDirIsTheScratchFolder) {
  EXPECT_EQ(Failures("statement ok\nCOPY (SELECT 1 AS a) TO '__TEST_DIR__/a.csv'\n\n"
                     "query I\nSELECT a FROM '__TEST_DIR__/a.csv'\n----\n1\n"),
            "");
  EXPECT_TRUE(fs::exists(directory_ / "scratch/a.csv"));
}

TEST_F(RunnerTest, ATextThatIsNoScriptFailsWithItsLine) {
  EXPECT_EQ(Failures("statement ok\nSELECT 1\n\nnonsense\n"),
            "x.test: line 4: unknown record: nonsense");
  EXPECT_NE(Failures("loop i 0 1\n").find("a loop has no endloop"), std::string::npos);
}

TEST_F(RunnerTest, BooleansMayBeDigitsAndDoublesDifferByABillionth) {
  EXPECT_EQ(Failures("query IR\nSELECT true, 0.1::DOUBLE + 0.2::DOUBLE\n----\n1\t0.3\n"), "");
  EXPECT_EQ(Failures("query T\nSELECT 'abc'\n----\n<REGEX>:a.c\n"), "");
  EXPECT_NE(Failures("query T\nSELECT 'abc'\n----\n<!REGEX>:a.c\n"), "");
}

class BesideDuckDBTest : public RunnerTest {
 protected:
  BesideDuckDBTest() { options_.beside_duckdb = true; }
};

TEST_F(BesideDuckDBTest, WhatIsAlikePasses) {
  const auto outcome = Run(
      "statement ok\nCREATE TABLE t (a INTEGER PRIMARY KEY, b DOUBLE, c TIMESTAMPTZ)\n\n"
      "statement count 2\nINSERT INTO t VALUES (2, 0.1, '2024-01-01'), (1, 2e300, NULL)\n\n"
      "query IRT rowsort\nSELECT a, b, c IS NULL FROM t\n----\n1\t2e300\ttrue\n2\t0.1\tfalse\n\n"
      "statement error T3003\nINSERT INTO t (a) VALUES (1)\n\n"
      "statement ok other\nBEGIN\n\nstatement ok other\nDELETE FROM t\n\n"
      "query I\nSELECT count(*) FROM t\n----\n2\n\nreconnect\n\n"
      "query I other\nSELECT count(*) FROM t\n----\n2\n");
  EXPECT_EQ(outcome.failed, 0) << failures_[0];
}

TEST_F(BesideDuckDBTest, RowsWithoutAnOrderAreComparedSorted) {
  // Ours come by the key, DuckDB's as they were inserted.
  EXPECT_EQ(Failures("statement ok\nCREATE TABLE t (a INTEGER PRIMARY KEY)\n\n"
                     "statement ok\nINSERT INTO t VALUES (2), (1)\n\n"
                     "query I\nSELECT a FROM t\n----\n1\n2\n\n"
                     "query I\nSELECT a FROM t ORDER BY a DESC\n----\n2\n1\n"),
            "");
  EXPECT_FALSE(OrdersRows("SELECT a FROM (SELECT a FROM t ORDER BY a)"));
  EXPECT_FALSE(OrdersRows("SELECT 'ORDER BY' FROM t LIMIT 1"));
  EXPECT_TRUE(OrdersRows("SELECT a FROM t UNION SELECT 1 ORDER BY 1"));
  EXPECT_TRUE(OrdersRows("INSERT INTO t VALUES (1) RETURNING a"));
  Answer ours;
  ours.columns = {{"a", "INTEGER"}};
  ours.rows = {{"1"}, {"2"}};
  Answer theirs = ours;
  theirs.rows = {{"2"}, {"1"}};
  EXPECT_EQ(Difference(ours, theirs, false), "");
  EXPECT_EQ(Difference(ours, theirs, true),
            "LaminaDB's rows:\n  1\n  2\nDuckDB's rows:\n  2\n  1\n");
}

TEST_F(BesideDuckDBTest, EveryKindOfDifferenceIsReported) {
  // Each engine gets a table of its own, so that the query is answered otherwise.
  const auto with_tables = [&](const std::string& ours, const std::string& theirs) {
    return Failures("onlyif lamina\nstatement ok\nCREATE TABLE t AS " + ours +
                    "\n\nskipif lamina\nstatement ok\nCREATE TABLE t AS " + theirs +
                    "\n\nquery I\nSELECT * FROM t\n----\n1\n");
  };
  EXPECT_EQ(with_tables("SELECT 1 AS a", "SELECT 1 AS a"), "");
  EXPECT_EQ(with_tables("SELECT 1 AS a", "SELECT 2 AS a"),
            "x.test:9: DuckDB answers otherwise\n  SELECT * FROM t\nLaminaDB's rows:\n  "
            "1\nDuckDB's rows:\n  2\n");
  EXPECT_NE(with_tables("SELECT 1 AS a", "SELECT 1 AS b")
                .find("LaminaDB's columns: a INTEGER\nDuckDB's columns: b INTEGER"),
            std::string::npos);
  EXPECT_NE(with_tables("SELECT 1 AS a", "SELECT 1::BIGINT AS a")
                .find("LaminaDB's columns: a INTEGER\nDuckDB's columns: a BIGINT"),
            std::string::npos);
  EXPECT_NE(with_tables("SELECT 1 AS a", "SELECT 1 AS a UNION ALL SELECT 1").find("DuckDB's rows"),
            std::string::npos);
  EXPECT_NE(Failures("statement maybe\nSAVEPOINT a\n\nstatement ok\nBEGIN; SAVEPOINT a\n")
                .find("LaminaDB succeeds\nDuckDB fails: Parser Error"),
            std::string::npos);
  EXPECT_NE(Failures("onlyif lamina\nstatement ok\nCREATE TABLE t AS SELECT 1 AS a\n\n"
                     "skipif lamina\nstatement ok\nCREATE TABLE t (a INTEGER)\n\n"
                     "statement ok\nDELETE FROM t\n")
                .find("LaminaDB changes 1 rows\nDuckDB changes 0 rows"),
            std::string::npos);
  EXPECT_NE(
      Failures("skipif lamina\nstatement ok\nSELEC 1\n").find("the statement failed on DuckDB"),
      std::string::npos);
}

TEST_F(BesideDuckDBTest, EachReadsTheFilesThatItWrote) {
  EXPECT_EQ(Failures("onlyif lamina\nstatement ok\nCOPY (SELECT 1 AS a) TO '__TEST_DIR__/a.csv'\n\n"
                     "skipif lamina\nstatement ok\nCOPY (SELECT 1 AS a) TO '__TEST_DIR__/a.csv'\n\n"
                     "query I\nSELECT a FROM '__TEST_DIR__/a.csv'\n----\n1\n"),
            "");
  EXPECT_TRUE(fs::exists(directory_ / "scratch/duckdb/a.csv"));
}

}  // namespace
}  // namespace lamina::slt
