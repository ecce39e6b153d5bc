// What the functions of SQL answer, DuckDB's own where the promise is ours, and the guide's
// examples.
#include <cstdlib>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "lamina/connection.h"

namespace lamina::sql {
namespace {

class FunctionsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    database_ = SqlDatabase::Open("").ValueOrDie();
    connection_ = database_->Connect().ValueOrDie();
    ASSERT_TRUE(connection_->Execute("SET TimeZone = 'UTC'").ok());
  }

  /// The rows' fields as text, apart by ", " and "; "; the code when it is an error.
  std::string Answer(const std::string& sql) {
    auto result = connection_->Execute(sql);
    const auto failed = [](const Status& status) {
      return SqlErrorOf(status) == nullptr ? status.ToString() : SqlErrorOf(status)->code;
    };
    if (!result.ok()) return failed(result.status());
    std::string out;
    for (bool first = true;; first = false) {
      const auto more = (*result)->NextRow();
      if (!more.ok()) return failed(more.status());
      if (!*more) return out;
      if (!first) out += "; ";
      for (size_t i = 0; i < (*result)->columns().size(); ++i) {
        const int column = static_cast<int>(i);
        out += i == 0 ? "" : ", ";
        out += (*result)->IsNull(column) ? "NULL" : std::string((*result)->Text(column));
      }
    }
  }

  std::shared_ptr<SqlDatabase> database_;
  std::unique_ptr<Connection> connection_;
};

struct Case {
  const char* expression;
  const char* answer;
};

constexpr Case kCases[] = {
    // Text.
    {"upper('straße ä')", "STRAẞE Ä"},
    {"lower('ÄB')", "äb"},
    {"length('äö'), length(''), length(NULL)", "2, 0, NULL"},
    {"substr('héllo', 2, 2), substring('héllo' FROM 2 FOR 2), substr('abc', 5)", "él, él, "},
    {"trim('  a '), ltrim(' a'), rtrim('a '), trim('xax', 'x')", "a, a, a, a"},
    {"replace('aXbX', 'X', 'y'), replace('a', '', 'x')", "ayby, a"},
    {"concat('a', NULL, 1), concat(NULL), concat_ws('-', 'a', NULL, 'b')", "a1, , a-b"},
    {"left('héllo', 2), right('héllo', 2), left('abc', -1), right('abc', -1)", "hé, lo, ab, bc"},
    {"lpad('a', 3), rpad('a', 3) || '|', lpad('ä', 3, 'xy'), rpad('abcdef', 3)",
     "  a, a  |, xyä, abc"},
    {"lpad(NULL, 3), lpad('a', NULL), lpad('a', -1), rpad('a', 0)", "NULL, NULL, , "},
    {"reverse('héllo'), reverse(NULL)", "olléh, NULL"},
    {"split_part('a,b', ',', 2), split_part('a,b', ',', 5), split_part('a,b', ',', -1)", "b, , b"},
    {"repeat('ab', 3), repeat('ab', 0), repeat('ab', -1)", "ababab, , "},
    {"repeat('a', 9999999999999)", "T4008"},
    {"position('b' IN 'abc'), strpos('abc', 'b'), strpos('abc', 'x')", "2, 2, 0"},
    {"initcap('hello wORLD foo_bar'), initcap('o''neil 2nd')", "Hello World Foo_Bar, O'Neil 2nd"},
    {"initcap('ÄPFEL élan'), initcap(''), initcap(NULL), initcap('  x')",
     "Äpfel Élan, , NULL,   X"},
    // Numbers.
    {"abs(-5), abs(-2.5), abs(NULL)", "5, 2.5, NULL"},
    {"abs((-9223372036854775808)::BIGINT)", "T4008"},
    {"round(2.5), round(-2.5), round(2.345, 2), round(12345, -2)", "3, -3, 2.35, 12300"},
    {"ceil(2.1), ceiling(-2.1), floor(-2.1)", "3, -2, -3"},
    {"mod(7, 3), mod(-7, 3), mod(7.5, 2), mod(7, 0)", "1, -1, 1.5, NULL"},
    {"power(2, 10), pow(2, -1), sqrt(4), exp(0)", "1024.0, 0.5, 2.0, 1.0"},
    {"log(100), log10(1000), ln(1), log(2, 8)", "2.0, 3.0, 0.0, 3.0"},
    {"sqrt(-1)", "T4008"},
    {"ln(0)", "T4008"},
    {"sign(-3), sign(0), sign(2.5), sign(NULL)", "-1, 0, 1, NULL"},
    {"random() >= 0 AND random() < 1, pi()", "true, 3.141592653589793"},
    // Times.
    {"now() = current_timestamp, current_timestamp() = now(), epoch() = epoch(now())",
     "true, true, true"},
    {"epoch(TIMESTAMP '2020-01-01'), epoch() > 1600000000", "1577836800.0, true"},
    {"extract(year FROM DATE '2020-02-03'), date_part('dow', DATE '2020-01-05')", "2020, 0"},
    {"date_part('week', DATE '2021-01-03'), date_part('quarter', DATE '2020-05-01')", "53, 2"},
    {"date_part('foo', DATE '2020-01-01')", "T4010"},
    {"date_trunc('week', TIMESTAMP '2020-01-05 10:00:00')", "2019-12-30 00:00:00"},
    {"make_interval(90), make_interval(1.5), make_interval(NULL)", "00:01:30, 00:00:01.5, NULL"},
    {"to_char(5), to_char(NULL), to_char(DATE '2020-01-02')", "5, NULL, 2020-01-02"},
    {"to_char(TIMESTAMP '2020-03-04 15:06:07.089012', 'YYYY-MM-DD HH24:MI:SS.US')",
     "2020-03-04 15:06:07.089012"},
    {"to_char(TIMESTAMP '2020-03-04 15:06:07', 'FMDay, FMDD. FMMonth YY, FMHH12:MI am')",
     "Wednesday, 4. March 20, 3:06 pm"},
    {"to_char(DATE '2020-03-04', 'Month|MON|Dy|DDD|Q|IW|ID|D|WW')",
     "March    |MAR|Wed|064|1|10|3|4|10"},
    {"to_char(TIMESTAMPTZ '2020-01-01 10:00:00+02', 'HH24 \"Uhr\" PM')", "08 Uhr AM"},
    {"to_char(DATE 'infinity', 'YYYY'), to_char(NULL, 'YYYY'), to_char(DATE '2020-01-01', NULL)",
     "infinity, NULL, NULL"},
    {"to_char(1234.5, '9,999.99'), to_char(-1234.5, '9,999.99')", " 1,234.50, -1,234.50"},
    {"to_char(0, '9'), to_char(0.5, '0.9'), to_char(12, '0000')", " 0,  0.5,  0012"},
    {"to_char(12345, '999'), to_char(99.999, '99.99')", " ###,  ##.##"},
    {"to_char(12, 'FM999'), to_char(1.50, 'FM990.99'), to_char(-3, 'S9'), to_char(3, '9S')",
     "12, 1.5, -3, 3+"},
    {"to_char(170141183460469231731687303715884105727::HUGEINT, "
     "'FM999999999999999999999999999999999999999')",
     "170141183460469231731687303715884105727"},
    {"to_char(1, 'x')", "T4010"},
    {"to_char(true, '9')", "T2007"},
    // Conditions.
    {"coalesce(NULL, 1), nullif(1, 1), greatest(1, NULL, 3), least(2, NULL)", "1, NULL, 3, 2"},
    {"iif(true, 1, 2), iif(NULL, 1, 2), iif(false, 1), if(false, 1, 2)", "1, 2, NULL, 2"},
    {"iif(false, error('not asked for'), 2)", "2"},
    {"typeof(1), typeof('a'), CAST('1' AS INTEGER)", "INTEGER, VARCHAR, 1"},
    // Series.
    {"time_bucket('1h', TIMESTAMP '2020-01-01 10:30:00')", "2020-01-01 10:00:00"},
    {"time_bucket(900, TIMESTAMP '2020-01-01 10:33:00')", "2020-01-01 10:30:00"},
    {"time_bucket(NULL::BIGINT, TIMESTAMP '2020-01-01 10:33:00')", "NULL"},
    // Vectors: lists, arrays and text.
    {"vector_norm('[3, 4]'), vector_norm([3, 4]), vector_norm([3, 4]::FLOAT[2])", "5.0, 5.0, 5.0"},
    {"vector_norm(NULL), vector_norm([]), vector_dims('[1, 2, 3]'), vector_dims([])",
     "NULL, 0.0, 3, 0"},
    {"vector_norm('[3, x]')", "T4002"},
    {"vector_norm([3, NULL])", "T4010"},
    {"cosine_similarity('[1, 0]', [0, 1]), cosine_similarity([1, 0], [2, 0])", "0.0, 1.0"},
    {"cosine_similarity([0, 0], [1, 1]), cosine_similarity(NULL, [1])", "NULL, NULL"},
    {"cosine_similarity([1, 0], [1])", "T4010"},
    {"vector_distance('[1, 0]', '[0, 1]'), vector_distance('[0, 0]', '[3, 4]', 'L2')", "1.0, 5.0"},
    {"vector_distance([1, 2], [3, 4], 'dot'), vector_distance([1], [1], NULL)", "-11.0, NULL"},
    {"vector_distance([1], [1], 'foo')", "T4010"},
    {"hybrid_score(1.0, 2.0, 0.7, 0.3), hybrid_score(NULL, 1, 1, 1)", "0.95, NULL"},
};

TEST_F(FunctionsTest, AnswerAsTheTableSays) {
  for (const Case& c : kCases)
    EXPECT_EQ(Answer(std::string("SELECT ") + c.expression), c.answer) << c.expression;
}

TEST_F(FunctionsTest, AggregatesIgnoreNullAndHaveAnOrder) {
  const std::string from = " FROM (VALUES (1, 5), (2, 3), (NULL, 1), (4, 4)) t (x, y)";
  EXPECT_EQ(Answer("SELECT count(*), count(x), sum(x), min(x), max(x)" + from), "4, 3, 7, 1, 4");
  EXPECT_EQ(Answer("SELECT first(x, y), last(x, y)" + from), "2, 1");
  EXPECT_EQ(Answer("SELECT first(x, y), last(x, y)" + from + " WHERE false"), "NULL, NULL");
  EXPECT_EQ(Answer("SELECT first(x ORDER BY y), last(x ORDER BY y)" + from), "NULL, 1");
  EXPECT_EQ(Answer("SELECT string_agg(x, '-' ORDER BY x), group_concat(x ORDER BY x)" + from),
            "1-2-4, 1,2,4");
  EXPECT_EQ(
      Answer("SELECT round(stddev_pop(x), 3), round(stddev_samp(x), 3), round(var_pop(x), 3), "
             "round(var_samp(x), 3)" +
             from),
      "1.247, 1.528, 1.556, 2.333");
}

TEST_F(FunctionsTest, WindowFunctionsOfTheList) {
  EXPECT_EQ(
      Answer("SELECT row_number() OVER w, rank() OVER w, dense_rank() OVER w, lead(x) OVER w, "
             "lag(x) OVER w FROM (VALUES (1), (1), (4)) t (x) WINDOW w AS (ORDER BY x)"),
      "1, 1, 1, 1, NULL; 2, 1, 1, 4, 1; 3, 3, 2, NULL, 1");
}

TEST_F(FunctionsTest, WorkOverRowsAndNotOnlyConstants) {
  EXPECT_EQ(Answer("SELECT initcap(s), lpad(s, 4), to_char(d, 'YYYY'), to_char(n, 'FM99') FROM "
                   "(VALUES ('ab', DATE '2020-01-01', 1), (NULL, NULL, NULL), ('ä ö', DATE "
                   "'1999-12-31', 22)) t (s, d, n)"),
            "Ab,   ab, 2020, 1; NULL, NULL, NULL, NULL; Ä Ö,  ä ö, 1999, 22");
  EXPECT_EQ(Answer("SELECT sum(length(to_char(i, '99999'))) FROM range(10000) t (i)"), "60000");
}

TEST_F(FunctionsTest, AreFoundWhateverSchemaIsCurrent) {
  EXPECT_EQ(Answer("CREATE SCHEMA other"), "");
  EXPECT_EQ(Answer("USE other"), "");
  EXPECT_EQ(Answer("SELECT iif(true, 1, 2), to_char(1), lpad('a', 2), vector_dims([1])"),
            "1, 1,  a, 1");
}

TEST_F(FunctionsTest, APlaceInsideAFunctionIsNotShownAsOneInTheText) {
  const Status status = connection_
                            ->Execute(
                                "SELECT 1234567890, 'a longer text than the function "
                                "has', 'and more', vector_norm('[3, x]')")
                            .status();
  ASSERT_NE(SqlErrorOf(status), nullptr) << status.ToString();
  EXPECT_EQ(SqlErrorOf(status)->excerpt, "");
}

// Lines of docs/guide/functions.md such as "SELECT 1 + 1;  -- 2".
TEST_F(FunctionsTest, TheGuidesExamplesAnswerAsItSays) {
  const char* source = std::getenv("LAMINA_SOURCE");
  ASSERT_NE(source, nullptr) << "run it with ctest";
  std::ifstream file(std::string(source) + "/docs/guide/functions.md");
  int examples = 0;
  for (std::string line; std::getline(file, line);) {
    const size_t answer = line.find(";  -- ");
    if (!line.starts_with("SELECT ") || answer == std::string::npos) continue;
    EXPECT_EQ(Answer(line.substr(0, answer)), line.substr(answer + 6)) << line;
    ++examples;
  }
  EXPECT_GE(examples, 20);
}

}  // namespace
}  // namespace lamina::sql
