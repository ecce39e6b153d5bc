// Texts that no honest user writes, and that must end in an answer or an error all the same.
#include <string>

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

}  // namespace
}  // namespace lamina::sql
