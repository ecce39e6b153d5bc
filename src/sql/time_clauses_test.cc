// The rewriter of temporal clauses against DuckDB's parser: what that takes as it is has none.
#include "sql/time_clauses.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "sql/duckdb_api.h"
#include "sql/lexer.h"
#include "sql/period_predicates.h"

namespace lamina::sql {
namespace {

bool ParsesAsItIs(const std::string& text) {
  try {
    duckdb::Parser parser;
    parser.ParseQuery(text);
    return parser.statements.size() == 1;
  } catch (const std::exception&) {
    return false;
  }
}

/// SELECTs full of names, strings and comments that look like temporal clauses. Not all are SQL.
class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  std::string Select(int depth = 0) {
    std::string out = Words({"SELECT", One({"", "DISTINCT"})}) + Item(depth);
    for (int i = Below(3); i > 0; --i) out += "," + Item(depth);
    out += Words({"FROM"}) + Table(depth);
    for (int i = Below(3); i > 0; --i) {
      out +=
          One({",", " JOIN ", " LEFT JOIN ", " ASOF JOIN ", " POSITIONAL JOIN ", " CROSS JOIN "});
      out += Table(depth);
      if (Chance(2)) out += One({" USING (", " ON ("}) + Name() + ")";
    }
    if (Chance(3)) out += Words({"WHERE"}) + Expression(depth) + Words({"="}) + Expression(depth);
    if (Chance(5)) out += Words({"GROUP", "BY"}) + Name();
    if (Chance(5)) out += Words({"ORDER", "BY"}) + Expression(depth);
    if (Chance(6)) out += Words({"LIMIT"}) + "5";
    if (Chance(6)) out += Words({One({"UNION", "EXCEPT", "INTERSECT"})}) + Select(2);
    if (Chance(9)) out = Words({"WITH"}) + Name() + Words({"AS"}) + "(" + Select(2) + ")" + out;
    return out;
  }

  /// Words in any order.
  std::string Soup() {
    std::string out = "SELECT * FROM t";
    for (int i = 1 + Below(8); i > 0; --i)
      out += Gap() + One({"AS",           "OF",    "FOR",    "SYSTEM_TIME", "VALID",   "AT",
                          "ALL",          "FROM",  "TO",     "AND",         "BETWEEN", "valid_time",
                          "EPOCH",        "x",     "(",      ")",           ",",       "5",
                          "'2020-01-01'", "$1",    "WHERE",  "=",           "JOIN",    "ON",
                          "true",         "now()", ".",      "VERSION",     "=>",      "TIME ZONE",
                          "PORTION",      "*",     "::DATE", "NULL",        "SELECT",  "AS OF"});
    return out;
  }

 private:
  int Below(int n) { return static_cast<int>(random_.Uniform(static_cast<uint64_t>(n))); }
  bool Chance(int n) { return Below(n) == 0; }
  std::string One(const std::vector<std::string>& of) {
    return of[static_cast<size_t>(Below(static_cast<int>(of.size())))];
  }
  std::string Gap() {
    if (!Chance(8)) return " ";
    return One({"\n", "\t", " /* AS OF 5 */ ", " -- FOR SYSTEM_TIME ALL\n", "/**/", " /* ' */ ",
                " -- VALID AT '\n", "  "});
  }
  std::string Words(const std::vector<std::string>& words) {
    std::string out = Gap();
    for (const std::string& word : words) out += word + Gap();
    return out;
  }
  std::string Name() {
    return One({"of",
                "OF",
                "valid",
                "at",
                "system_time",
                "SYSTEM_TIME",
                "application_time",
                "valid_time",
                "epoch",
                "portion",
                "period",
                "x",
                "\"AS OF 1\"",
                "\"for\"",
                "t",
                "\"FOR SYSTEM_TIME ALL\"",
                "größe",
                "\"ä\"\"VALID AT 1\"",
                "version",
                "t.valid",
                "t.of",
                "time",
                "timestamp"});
  }
  std::string Expression(int depth) {
    switch (Below(depth > 1 ? 11 : 13)) {
      case 0:
        return "substring(" + Name() + Words({"FROM"}) + "2" + Words({"FOR"}) + Name() + ")";
      case 1:
        return "substring(" + Name() + Words({"FOR"}) + Name() + Words({"FROM"}) + Name() + ")";
      case 2:
        return "[" + Name() + Words({"for"}) + Name() + Words({"in"}) + "[1, 2]]";
      case 3:
        return Name() + Words({"AT", "TIME", "ZONE"}) + "'UTC'";
      case 4:
        return One(
            {"'AS OF 5'", "$$ FOR SYSTEM_TIME ALL $$", "E'VALID AT \\'1'", "'it''s AS OF 1'"});
      case 5:
        return Name() + Words({"BETWEEN"}) + "1" + Words({"AND"}) + Name();
      case 10:
        return One({"period(1, 2)", "contains('ab', 'a')", "overlaps(1, 2, 3, 4)", "valid_time"}) +
               (Chance(2) ? Words({One({"contains", "equals", "precedes"})}) : "");
      case 6:
        return "CAST(" + Name() + Words({"AS"}) + "DATE)";
      case 7:
        return "epoch(" + Name() + ")";
      case 8:
        return "extract(" + One({"epoch", "year"}) + Words({"FROM"}) + Name() + ")";
      case 9:
        return "trim(" + Name() + Words({"FROM"}) + Name() + ")";
      case 11:
        return "(" + Select(depth + 1) + ")";
      default:
        return Name();
    }
  }
  std::string Item(int depth) {
    std::string out = Expression(depth);
    if (Chance(2)) out += Words({One({"AS", ""})}) + Name();
    return out;
  }
  std::string Table(int depth) {
    std::string out;
    switch (Below(depth > 1 ? 5 : 6)) {
      case 0:
        out = "range(3)";
        break;
      case 5:
        out = "(" + Select(depth + 1) + ")";
        break;
      default:
        out = Name();
    }
    if (Chance(2)) out += Words({One({"AS", ""})}) + Name();
    if (Chance(4)) out += One({"(of)", "(a, b)", " (valid, at)", "(\"x y\")", "(epoch)"});
    if (Chance(6)) out += Words({"AT"}) + One({"(VERSION => 3)", "(TIMESTAMP => now())"});
    return out;
  }

  base::Random random_;
};

TEST(TimeClausesTest, AStatementThatDuckDBTakesAsItIsHasNoClauseAndIsNotTouched) {
  int taken = 0;
  for (uint64_t seed = 1; taken < 10'000; ++seed) {
    ASSERT_LT(seed, 200'000u) << "the generator makes too little SQL: " << taken;
    Generator generator(seed);
    const std::string text = seed % 2 == 0 ? generator.Select() : generator.Soup();
    if (!ParsesAsItIs(text)) continue;
    ++taken;
    const auto spans = SplitStatements(text);
    ASSERT_EQ(spans.size(), 1u) << text;
    std::string statement = text.substr(spans[0].begin, spans[0].end - spans[0].begin);
    const std::string before = statement;
    const auto clauses = TimeClauses::Take(text, spans[0], &statement);
    ASSERT_TRUE(clauses.ok()) << text << "\n" << clauses.status().ToString();
    ASSERT_TRUE(clauses->empty()) << text << "\nbecame\n" << statement;
    ASSERT_FALSE(TakePeriodPredicates(text, spans[0], &statement)) << text << "\n" << statement;
    ASSERT_EQ(statement, before);
  }
}

TEST(TimeClausesTest, ClausesBecomeBlanksAndTheRestStaysWhereItIs) {
  const std::string text =
      "SELECT 'é AS OF 1', x FROM \"ü\" AS of FOR SYSTEM_TIME FROM 1 TO now() - INTERVAL '1' DAY "
      "VALID AT TIMESTAMP '2020-01-01' AT TIME ZONE 'UTC' WHERE y AS OF EPOCH ($1 + 2)::BIGINT";
  const auto spans = SplitStatements(text);
  std::string statement = text;
  const auto clauses = TimeClauses::Take(text, spans[0], &statement);
  ASSERT_TRUE(clauses.ok()) << clauses.status().ToString();
  const size_t first = text.find("FOR SYSTEM_TIME");
  const size_t where = text.find("WHERE y");
  EXPECT_EQ(statement.substr(0, first), text.substr(0, first));
  EXPECT_EQ(statement.substr(first, where - first), std::string(where - first, ' '));
  EXPECT_EQ(statement.substr(where, 8), "WHERE y ");
  EXPECT_EQ(statement.substr(where + 8), std::string(text.size() - where - 8, ' '));
}

}  // namespace
}  // namespace lamina::sql
