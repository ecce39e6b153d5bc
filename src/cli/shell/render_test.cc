#include "cli/shell/render.h"

#include <gtest/gtest.h>

namespace lamina::cli {
namespace {

class RenderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    database_ = SqlDatabase::Open("").ValueOrDie();
    connection_ = database_->Connect().ValueOrDie();
  }
  std::string Text(const std::string& sql) {
    const auto result = connection_->Execute(sql).ValueOrDie();
    std::string out;
    rows_ = Render(*result, options_, [&](std::string_view piece) {
              out += piece;
              return true;
            }).ValueOrDie();
    return out;
  }
  std::string Text(OutputMode mode, const std::string& sql) {
    options_.mode = mode;
    return Text(sql);
  }

  std::shared_ptr<SqlDatabase> database_;
  std::unique_ptr<Connection> connection_;
  RenderOptions options_;
  uint64_t rows_ = 0;
};

TEST_F(RenderTest, ABoxShowsTypesUnderNamesAndNumbersToTheRight) {
  EXPECT_EQ(Text("SELECT * FROM (VALUES (1, 'one', 1.50), (20, NULL, NULL)) t(id, name, price)"),
            "┌───────┬─────────┬──────────────┐\n"
            "│  id   │  name   │    price     │\n"
            "│ int32 │ varchar │ decimal(3,2) │\n"
            "├───────┼─────────┼──────────────┤\n"
            "│     1 │ one     │         1.50 │\n"
            "│    20 │ NULL    │         NULL │\n"
            "└───────┴─────────┴──────────────┘\n"
            "2 rows\n");
  EXPECT_EQ(rows_, 2U);
}

TEST_F(RenderTest, ABoxOfManyRowsShowsTheFirstAndTheLast) {
  options_.rows_max = 5;
  EXPECT_EQ(Text("SELECT i::INTEGER AS i FROM range(1000) r(i)"),
            "┌───────┐\n"
            "│   i   │\n"
            "│ int32 │\n"
            "├───────┤\n"
            "│     0 │\n"
            "│     1 │\n"
            "│     · │\n"
            "│     · │\n"
            "│     · │\n"
            "│   997 │\n"
            "│   998 │\n"
            "│   999 │\n"
            "└───────┘\n"
            "1,000 rows (5 shown)\n");
  // As many as are shown: none is left out.
  EXPECT_EQ(Text("FROM range(5)").find("·"), std::string::npos);
}

TEST_F(RenderTest, AWideBoxCutsTextsThenLeavesOutColumnsInTheMiddle) {
  options_.columns_max = 40;
  const std::string cut = Text("SELECT 12345 AS n, repeat('x', 100) AS t");
  EXPECT_NE(cut.find("x…"), std::string::npos);
  EXPECT_NE(cut.find("12345"), std::string::npos);
  const std::string left_out =
      Text("SELECT 1 AS first, 2 AS second, 3 AS third, 4 AS fourth, 5 AS fifth, 6 AS sixth");
  EXPECT_NE(left_out.find("│ … │"), std::string::npos) << left_out;
  EXPECT_NE(left_out.find("6 columns ("), std::string::npos) << left_out;
  EXPECT_NE(left_out.find("first"), std::string::npos);
  EXPECT_NE(left_out.find("sixth"), std::string::npos);
  for (const std::string& text : {cut, left_out}) {
    // Every line of the box is as wide as the first.
    EXPECT_LE(text.find('\n'), 3U * 40U);
  }
}

TEST_F(RenderTest, ATerminalIsNotSteeredByValues) {
  const std::string sql = "SELECT chr(27) || '[2J' || chr(10) || 'next' AS a";
  for (const OutputMode mode : {OutputMode::kLine, OutputMode::kList}) {
    options_ = {};
    options_.mode = mode;
    EXPECT_NE(Text(sql).find('\x1b'), std::string::npos);
    options_.terminal = true;
    EXPECT_EQ(Text(sql).find('\x1b'), std::string::npos);
    EXPECT_NE(Text(sql).find("\\x1b[2J\nnext"), std::string::npos);
  }
}

TEST_F(RenderTest, ACellStaysOnItsLine) {
  const std::string text = Text("SELECT 'a' || chr(10) || chr(27) || 'b' AS t");
  EXPECT_NE(text.find("a\\n\\x1bb"), std::string::npos) << text;
}

TEST_F(RenderTest, AWidthCutsItsColumnOnly) {
  options_.widths = {4};
  const std::string text = Text("SELECT 'abcdefgh' AS a, 'abcdefgh' AS b");
  EXPECT_NE(text.find("│ abc… │ abcdefgh │"), std::string::npos) << text;
}

TEST_F(RenderTest, WithoutHeadersABoxHasNone) {
  options_.headers = false;
  EXPECT_EQ(Text("SELECT 1 AS a"), "┌───┐\n│ 1 │\n└───┘\n1 row\n");
}

TEST_F(RenderTest, CsvQuotesWhatNeedsItAndTellsNullFromEmpty) {
  EXPECT_EQ(Text(OutputMode::kCsv,
                 "SELECT 'a,b' AS \"x,y\", 'say \"hi\"' AS q, '' AS e, NULL AS n, 'a' || chr(10) "
                 "|| 'b' AS l"),
            "\"x,y\",q,e,n,l\n\"a,b\",\"say \"\"hi\"\"\",\"\",,\"a\nb\"\n");
  options_.null_text = "NA";
  EXPECT_EQ(Text(OutputMode::kCsv, "SELECT NULL AS n"), "n\nNA\n");
}

TEST_F(RenderTest, TsvAndListPutOneCharacterBetweenValues) {
  EXPECT_EQ(Text(OutputMode::kTsv, "SELECT 1 AS a, 'x' || chr(9) || 'y' AS b"), "a\tb\n1\tx\\ty\n");
  EXPECT_EQ(Text(OutputMode::kList, "SELECT 1 AS a, 'x' AS b"), "a|b\n1|x\n");
}

TEST_F(RenderTest, JsonIsAnObjectALineWithNestedValuesAndDocumentsAsTheyAre) {
  EXPECT_EQ(
      Text(OutputMode::kJson,
           "SELECT 9007199254740993 AS big, true AS b, NULL AS n, [1, 2] AS l, {'k': 'v'} AS s, "
           "'{\"a\": [1]}'::JSON AS j, 1.5::DOUBLE AS d, 'q\"' AS t"),
      "{\"big\":9007199254740993,\"b\":true,\"n\":null,\"l\":[1,2],\"s\":{\"k\":\"v\"},"
      "\"j\":{\"a\":[1]},\"d\":1.5,\"t\":\"q\\\"\"}\n");
  EXPECT_EQ(Text(OutputMode::kJson, "SELECT 1 AS a, 2 AS a"), "{\"a\":1,\"a_1\":2}\n");
  EXPECT_EQ(Text(OutputMode::kJsonArray, "SELECT 1 AS a UNION ALL SELECT 2"),
            "[{\"a\":1},\n {\"a\":2}]\n");
  EXPECT_EQ(Text(OutputMode::kJsonArray, "SELECT 1 AS a WHERE false"), "[]\n");
}

TEST_F(RenderTest, LineIsAValueALine) {
  EXPECT_EQ(Text(OutputMode::kLine, "SELECT 1 AS a, 'x' AS long UNION ALL SELECT 2, NULL"),
            "   a = 1\nlong = x\n\n   a = 2\nlong = \n");
}

TEST_F(RenderTest, MarkdownAlignsNumbersAndKeepsBarsInTheirCells) {
  EXPECT_EQ(Text(OutputMode::kMarkdown, "SELECT 1 AS n, 'a|b' AS t"),
            "| n | t |\n| --: | --- |\n| 1 | a\\|b |\n");
}

TEST_F(RenderTest, InsertGivesStatementsThatMakeTheRowsAgain) {
  options_.table = "\"t\"";
  const std::string sql = Text(OutputMode::kInsert,
                               "SELECT 1 AS id, 'it''s' AS name, NULL AS n, 'nan'::DOUBLE AS d, "
                               "DATE '2024-02-29' AS day, true AS b");
  EXPECT_EQ(sql,
            "INSERT INTO \"t\" (\"id\", \"name\", \"n\", \"d\", \"day\", \"b\") VALUES\n"
            "  (1, 'it''s', NULL, 'nan', '2024-02-29', true);\n");
}

TEST_F(RenderTest, AReaderThatLeavesEndsTheRendering) {
  const auto result = connection_->Execute("FROM range(1000000)").ValueOrDie();
  options_.mode = OutputMode::kCsv;
  int pieces = 0;
  const auto rows = Render(*result, options_, [&](std::string_view) { return ++pieces < 2; });
  EXPECT_EQ(CodeOf(rows.status()), ErrorCode::kCancelled);
  EXPECT_EQ(pieces, 2);
}

TEST(ShortTypeNameTest, IntegersSayTheirBitsAndOthersAreSmall) {
  EXPECT_EQ(ShortTypeName("INTEGER"), "int32");
  EXPECT_EQ(ShortTypeName("BIGINT[]"), "int64[]");
  EXPECT_EQ(ShortTypeName("UHUGEINT"), "uint128");
  EXPECT_EQ(ShortTypeName("TIMESTAMP WITH TIME ZONE"), "timestamp with time zone");
  EXPECT_EQ(ShortTypeName("ENUM('A')"), "ENUM('A')");
}

TEST(OutputModeTest, EveryModeIsFoundByItsName) {
  for (const auto& name : OutputModeNames()) {
    ASSERT_TRUE(OutputModeOf(name).has_value()) << name;
    EXPECT_EQ(NameOf(*OutputModeOf(name)), name);
  }
  EXPECT_FALSE(OutputModeOf("boks").has_value());
}

}  // namespace
}  // namespace lamina::cli
