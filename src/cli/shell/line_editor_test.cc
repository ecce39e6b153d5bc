#include "cli/shell/line_editor.h"

#include <gtest/gtest.h>

namespace lamina::cli {
namespace {

TEST(AnswerTabTest, OneChoiceIsTaken) {
  const auto answer = AnswerTab("SELECT * FROM cus", {{"customers", 14}});
  EXPECT_EQ(answer.replace_from, 14U);
  EXPECT_EQ(answer.insert, "customers");
  EXPECT_TRUE(answer.choices.empty());
}

TEST(AnswerTabTest, SeveralChoicesGiveTheirCommonBeginAndThenTheList) {
  const auto answer = AnswerTab("FROM o", {{"orders", 5}, {"order_lines", 5}});
  EXPECT_EQ(answer.insert, "order");
  EXPECT_EQ(answer.choices, (std::vector<std::string>{"orders", "order_lines"}));
  EXPECT_EQ(AnswerTab("FROM order", {{"orders", 5}, {"order_lines", 5}}).insert, "order");
}

TEST(AnswerTabTest, AKeywordIsWrittenAsItWasBegun) {
  EXPECT_EQ(AnswerTab("sel", {{"SELECT ", 0}}).insert, "select ");
  EXPECT_EQ(AnswerTab("SEL", {{"SELECT ", 0}}).insert, "SELECT ");
  EXPECT_EQ(AnswerTab("from Cu", {{"Customers", 5}}).insert, "Customers");
}

TEST(AnswerTabTest, WhatDoesNotGoOnAsTypedIsLeftOut) {
  const auto answer = AnswerTab("FROM zz", {{"orders", 5}});
  EXPECT_EQ(answer.insert, "zz");
  EXPECT_TRUE(answer.choices.empty());
  EXPECT_EQ(AnswerTab("x", {}).insert, "");
}

TEST(InColumnsTest, WordsFillTheWidthColumnByColumn) {
  EXPECT_EQ(InColumns({"a", "bb", "c", "d"}, 9), "a   c\nbb  d\n");
  EXPECT_EQ(InColumns({"a", "b"}, 1), "a\nb\n");
  EXPECT_EQ(InColumns({}, 80), "");
}

}  // namespace
}  // namespace lamina::cli
