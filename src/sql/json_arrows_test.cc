#include "sql/json_arrows.h"

#include <gtest/gtest.h>

#include "lamina/connection.h"

namespace lamina::sql {
namespace {

std::string Bound(const std::string& sql) {
  std::string out = sql;
  const auto spans = SplitStatements(sql);
  (void)BindJsonArrows(spans.at(0), &out);
  return out;
}

TEST(JsonArrowsTest, OperandsBehindLooserOperatorsGetBrackets) {
  EXPECT_EQ(Bound("SELECT n = d->>'a'"), "SELECT n =(d->>'a')");
  EXPECT_EQ(Bound("SELECT n=d->>'a'"), "SELECT n=(d->>'a')");
  EXPECT_EQ(Bound("SELECT a AND d->>'a' = 'x'"), "SELECT a AND(d->>'a')= 'x'");
  EXPECT_EQ(Bound("SELECT NOT e.d -> 'a' ->> 1"), "SELECT NOT(e.d -> 'a' ->> 1)");
  EXPECT_EQ(Bound("SELECT n <> f(x, 1)[2]::JSON->>'a'::TEXT"),
            "SELECT n <>(f(x, 1)[2]::JSON->>'a'::TEXT)");
  EXPECT_EQ(Bound("SELECT n = -d->>'a'"), "SELECT n =(-d->>'a')");
  EXPECT_EQ(Bound("SELECT n =-d->>'a'"), "SELECT n =(-d->>'a')");
  EXPECT_EQ(Bound("SELECT n = CASE WHEN a = 1 THEN d END->>'a'"),
            "SELECT n =(CASE WHEN a = 1 THEN d END->>'a')");
  EXPECT_EQ(Bound("SELECT n = JSON '{}'->>'a'"), "SELECT n =(JSON '{}'->>'a')");
  EXPECT_EQ(Bound("SELECT a IS NOT DISTINCT FROM d->>'a'"),
            "SELECT a IS NOT DISTINCT FROM(d->>'a')");
  EXPECT_EQ(Bound("SELECT n SIMILAR TO d->>$1"), "SELECT n SIMILAR TO(d->>$1)");
}

TEST(JsonArrowsTest, WhatFollowsASingleArrowIsNotTakenIntoIt) {
  EXPECT_EQ(Bound("SELECT d->'a' = '1'"), "SELECT(d->'a')= '1'");
  EXPECT_EQ(Bound("SELECT d->'a'->'b' IS NULL"), "SELECT(d->'a'->'b')IS NULL");
  EXPECT_EQ(Bound("SELECT d->'a'->>'b' IS NULL"), "SELECT d->'a'->>'b' IS NULL");
  EXPECT_EQ(Bound("SELECT CASE WHEN d->'a' THEN 1 END"), "SELECT CASE WHEN(d->'a')THEN 1 END");
  EXPECT_EQ(Bound("SELECT f(1, d->'a' = '1')"), "SELECT f(1,(d->'a')= '1')");
  EXPECT_EQ(Bound("SELECT list_filter(l, x -> x->'a' = '1')"),
            "SELECT list_filter(l, x ->(x->'a')= '1')");
  EXPECT_EQ(Bound("SELECT list_transform(l, x -> x->>'a')"),
            "SELECT list_transform(l, x ->(x->>'a'))");
  EXPECT_EQ(Bound("SELECT list_transform(d->'l', (x, i) -> x + i)"),
            "SELECT list_transform(d->'l', (x, i) -> x + i)");
}

TEST(JsonArrowsTest, WhatBindsAsTightBelongsToTheOperand) {
  EXPECT_EQ(Bound("SELECT n = 'y' || d->>'a'"), "SELECT n =('y' || d->>'a')");
  EXPECT_EQ(Bound("SELECT n = d->>'a' || e->>'b'"), "SELECT n =((d->>'a')|| e->>'b')");
  EXPECT_EQ(Bound("SELECT n = d->>'a' AND m = e->>'b'"), "SELECT n =(d->>'a')AND m =(e->>'b')");
}

TEST(JsonArrowsTest, OtherTextsStayAsTheyAre) {
  for (const char* sql :
       {"SELECT d->>'a'", "SELECT 1, d->>'a' = 'x'", "SELECT f(d->'a')", "SELECT d->'a', d->'b'",
        "SELECT list_filter(l, x -> 'a' = x)", "SELECT mine(l, x -> x + 1)",
        "SELECT list_transform(l, (x, i) -> x + i)", "SELECT a <-> b, a <=> b", "SELECT n = '->>'",
        "SELECT n = 1 -- d->>'a'", "SELECT {'k': d->>'a'}", "SELECT n = ->> 'a'", "SELECT n = d->>",
        "SELECT )->>'a'", "SELECT END->>'a'", "SELECT x IN (d->>'a')", "SELECT a := d->>'a'"})
    EXPECT_EQ(Bound(sql), sql);
}

TEST(JsonArrowsTest, ErrorsKeepTheirPlace) {
  auto database = SqlDatabase::Open("").ValueOrDie();
  auto connection = database->Connect().ValueOrDie();
  const std::vector<std::string> begins = {"SELECT 1 = '{}'::JSON->>'a' AND ",
                                           "SELECT 1='{}'::JSON->>'a'AND 2='{}'::JSON->>'b'OR "};
  for (const std::string& begin : begins) {
    const std::vector<std::string> texts = {begin + "nosuch", ";;" + begin + "nosuch"};
    for (const std::string& sql : texts) {
      const Status status = connection->Execute(sql).status();
      ASSERT_NE(SqlErrorOf(status), nullptr) << sql;
      EXPECT_EQ(SqlErrorOf(status)->position, sql.find("nosuch")) << status.ToString();
      EXPECT_NE(SqlErrorOf(status)->excerpt.find("nosuch"), std::string::npos);
    }
    const Status prepared = connection->Prepare(begin + "nosuch").status();
    ASSERT_NE(SqlErrorOf(prepared), nullptr);
    EXPECT_EQ(SqlErrorOf(prepared)->position, begin.size()) << prepared.ToString();
  }
}

TEST(JsonArrowsTest, TheWorkGrowsWithTheText) {
  std::string sql = "SELECT n = 'x'";
  for (int i = 0; i < 200'000; ++i) sql += " || d->>'a'";
  EXPECT_GT(Bound(sql).size(), sql.size());
  sql = "SELECT n = " + std::string(200'000, '(') + "d" + std::string(200'000, ')') + "->>'a'";
  EXPECT_GE(Bound(sql).size(), sql.size());
}

}  // namespace
}  // namespace lamina::sql
