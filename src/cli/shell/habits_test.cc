// What people of psql, sqlite3 and duckdb type.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

#include "cli/shell/shell.h"
#include <fmt/format.h>
#include <gtest/gtest.h>

namespace lamina::cli {
namespace {

namespace fs = std::filesystem;

class ShellHabitsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    was_ = fs::current_path();
    directory_ = fs::temp_directory_path() / fmt::format("lamina-habits-test-{}", getpid());
    fs::remove_all(directory_);
    fs::create_directories(directory_ / "inner");
    fs::current_path(directory_);
    ASSERT_TRUE(shell_.Open("x.lamina").ok());
    (void)Do(".mode csv");
  }
  void TearDown() override {
    fs::current_path(was_);
    fs::remove_all(directory_);
  }
  std::string Do(const std::string& text) {
    out_.clear();
    errors_.clear();
    std::istringstream in(text);
    (void)shell_.RunLines(
        [&]() -> std::optional<std::string> {
          std::string line;
          if (!std::getline(in, line)) return std::nullopt;
          return line;
        },
        "");
    return out_;
  }
  static std::string ReadBack(const fs::path& path) {
    std::stringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }

  fs::path was_, directory_;
  std::string out_, errors_;
  Output output_{&out_};
  Shell shell_{&output_, [this](std::string_view text) { errors_ += text; }, {}};
};

TEST_F(ShellHabitsTest, BackslashCommandsListEveryKindOfObject) {
  (void)Do(
      "CREATE SCHEMA s; CREATE SEQUENCE q START 5; CREATE TABLE t (id INT PRIMARY KEY);"
      "CREATE TABLE s.log (n INT); CREATE MACRO twice(x) AS x * 2;"
      "CREATE VIEW v AS SELECT 1 AS a; CREATE MATERIALIZED VIEW m AS SELECT id FROM t;"
      "CREATE TRIGGER tr AFTER INSERT ON t FOR EACH STATEMENT EXECUTE 'INSERT INTO s.log VALUES "
      "(1)';");
  ASSERT_EQ(errors_, "");
  EXPECT_EQ(Do("\\dn"), "name,tables,comment\nmain,2,\ns,1,\n");
  EXPECT_EQ(Do("\\ds"), "schema,name,start,increment,last,owner\nmain,q,5,1,,\n");
  EXPECT_EQ(Do("\\df"), "schema,name,kind,parameters,returns\nmain,twice,macro,x,\n");
  EXPECT_NE(Do("\\df list_sor%").find("list_sort"), std::string::npos);
  EXPECT_NE(Do("\\dm").find("main,m,materialized view,"), std::string::npos);
  EXPECT_NE(Do("\\dv").find("main,v,view,"), std::string::npos);
  EXPECT_NE(Do(".triggers t").find("main,t,tr,INSERT,STATEMENT,"), std::string::npos);
}

TEST_F(ShellHabitsTest, TheLastStatementsRunAgain) {
  EXPECT_EQ(Do("\\g"), "");
  EXPECT_NE(errors_.find("no statement was run yet"), std::string::npos);
  (void)Do("SELECT 1 AS a, 2 AS b;");
  EXPECT_EQ(Do("\\g"), "a,b\n1,2\n");
  EXPECT_EQ(Do("\\gx"), "a = 1\nb = 2\n");
  EXPECT_EQ(Do("\\g"), "a,b\n1,2\n");
  EXPECT_EQ(Do("\\g 'an answer.csv'"), "");
  EXPECT_EQ(ReadBack("an answer.csv"), "a,b\n1,2\n");
  EXPECT_EQ(Do(".watch 0.01 3"), "a,b\n1,2\na,b\n1,2\na,b\n1,2\n");
  for (const char* wrong : {".watch x", ".watch -1", ".watch 1 0", ".again a b"}) {
    (void)Do(wrong);
    EXPECT_NE(errors_.find("usage: "), std::string::npos) << wrong;
  }
}

TEST_F(ShellHabitsTest, AnEditorChangesTheLastStatements) {
  (void)Do("SELECT 1 AS a;");
  (void)unsetenv("VISUAL");
  (void)setenv("EDITOR", "sed -i s/1/2/", 1);
  EXPECT_EQ(Do("\\e"), "SELECT 2 AS a;\na\n2\n");
  (void)setenv("EDITOR", "false", 1);
  EXPECT_EQ(Do("\\e"), "");
  EXPECT_NE(errors_.find("nothing was run"), std::string::npos);
  (void)unsetenv("EDITOR");
  (void)Do(".edit");
  EXPECT_NE(errors_.find("VISUAL or EDITOR"), std::string::npos);
}

TEST_F(ShellHabitsTest, AFolderIsChangedUnderAnOpenDatabase) {
  (void)Do("CREATE TABLE t (a INT); INSERT INTO t VALUES (7);");
  (void)Do(".cd inner\n.once here.csv\nSELECT a FROM t;");
  EXPECT_EQ(errors_, "");
  EXPECT_EQ(ReadBack(directory_ / "inner/here.csv"), "a\n7\n");
  (void)Do("INSERT INTO t VALUES (8);");
  EXPECT_EQ(errors_, "");
  (void)Do(".cd nosuch");
  EXPECT_NE(errors_.find("nosuch"), std::string::npos);
}

TEST_F(ShellHabitsTest, ACommandOfTheSystemKeepsItsQuotes) {
  (void)Do("\\! echo 'a  b' \"$HOME\" > said.txt");
  EXPECT_NE(ReadBack("said.txt").find("a  b /"), std::string::npos) << errors_;
  (void)Do(".shell exit 3");
  EXPECT_NE(errors_.find("exit code=3"), std::string::npos);
  (void)Do(".shell");
  EXPECT_NE(errors_.find("usage: .shell"), std::string::npos);
}

TEST_F(ShellHabitsTest, ASeparatorIsOfCsvAndLists) {
  const std::string query = "SELECT 'a;b' AS x, 'c,d' AS y, NULL AS z;";
  EXPECT_EQ(Do(".separator ;\n" + query), "x;y;z\n\"a;b\";c,d;\n");
  EXPECT_EQ(Do(".mode list\n.separator '\\t'\n" + query), "x\ty\tz\na;b\tc,d\t\n");
  EXPECT_EQ(Do(".separator\n" + query), "x|y|z\na;b|c,d|\n");
}

TEST_F(ShellHabitsTest, AsciiAndHtmlAreModes) {
  const std::string query = "SELECT 1 AS \"a<b\", 'x&y' AS c;";
  EXPECT_EQ(Do(".mode ascii\n" + query),
            "+-------+---------+\n|  a<b  |    c    |\n| int32 | varchar |\n+-------+---------+\n"
            "|     1 | x&y     |\n+-------+---------+\n1 row\n");
  EXPECT_EQ(Do(".mode html\n" + query),
            "<table>\n<tr><th>a&lt;b</th><th>c</th></tr>\n<tr><td>1</td><td>x&amp;y</td></tr>\n"
            "</table>\n");
}

}  // namespace
}  // namespace lamina::cli
