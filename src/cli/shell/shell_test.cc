#include "cli/shell/shell.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace lamina::cli {
namespace {

namespace fs = std::filesystem;

class ShellTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / fmt::format("lamina-shell-test-{}", getpid());
    fs::remove_all(directory_);
    fs::create_directories(directory_);
    Start({});
  }
  void TearDown() override {
    shell_ = nullptr;
    fs::remove_all(directory_);
  }

  void Start(const ShellOptions& options) {
    shell_ = nullptr;
    output_ = std::make_unique<Output>(&out_);
    shell_ = std::make_unique<Shell>(
        output_.get(), [this](std::string_view text) { errors_ += text; }, options);
    ASSERT_TRUE(shell_->Open(options.path).ok());
  }
  std::string Path(const std::string& name) const { return (directory_ / name).string(); }
  void Write(const std::string& name, const std::string& content) const {
    std::ofstream(directory_ / name, std::ios::binary) << content;
  }
  std::string ReadBack(const std::string& name) const {
    std::ifstream in(directory_ / name, std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  /// Runs a text as a script does; gives what it printed, and its errors in errors_.
  std::string Do(const std::string& text, const std::string& name = "") {
    out_.clear();
    errors_.clear();
    std::istringstream in(text);
    good_ = shell_->RunLines(
        [&]() -> std::optional<std::string> {
          std::string line;
          if (!std::getline(in, line)) return std::nullopt;
          return line;
        },
        name);
    return out_;
  }
  /// The error of a text.
  std::string ErrorOf(const std::string& text, const std::string& name = "") {
    (void)Do(text, name);
    EXPECT_FALSE(good_) << text;
    return errors_;
  }

  fs::path directory_;
  std::string out_, errors_;
  bool good_ = false;
  std::unique_ptr<Output> output_;
  std::unique_ptr<Shell> shell_;
};

TEST_F(ShellTest, StatementsSpanLinesAndTheLastNeedsNoSemicolon) {
  EXPECT_EQ(Do(".mode csv\nSELECT 1 AS a,\n  ';' AS b;\n-- a comment;\nSELECT 2 AS c"),
            "a,b\n1,;\nc\n2\n");
  EXPECT_TRUE(good_);
  EXPECT_EQ(Do(".mode list\n.headers off\nSELECT 1; SELECT 2; SELECT\n3;"), "1\n2\n3\n");
}

TEST_F(ShellTest, AScriptStopsAtItsFirstErrorUnlessBailIsOff) {
  EXPECT_EQ(Do(".mode csv\nSELECT 1 AS a;\nSELEC 2;\nSELECT 3 AS a;"), "a\n1\n");
  EXPECT_FALSE(good_);
  EXPECT_TRUE(shell_->failed());
  EXPECT_EQ(Do(".bail off\nSELEC 2;\nSELECT 3 AS a;"), "a\n3\n");
  EXPECT_FALSE(good_);
}

TEST_F(ShellTest, AnErrorNamesFileLineCodeCaretAndHint) {
  const std::string error = ErrorOf("SELECT 1;\n\nSELECT *\nFROM nothing_like_it;", "load.sql");
  EXPECT_TRUE(error.starts_with("load.sql:3: error T20")) << error;
  EXPECT_NE(error.find("LINE 2: FROM nothing_like_it"), std::string::npos) << error;
  EXPECT_NE(error.find("        "
                       "     ^"),
            std::string::npos)
      << error;
}

TEST_F(ShellTest, ErrorsAreJsonWhenTheAnswersAre) {
  ShellOptions options;
  options.json_errors = true;
  options.mode = OutputMode::kJson;
  Start(options);
  const std::string error = ErrorOf("SELEC 1");
  EXPECT_TRUE(error.starts_with("{\"error\":\"T1004\",\"message\":")) << error;
  EXPECT_NE(error.find("\"sqlstate\":\"42601\""), std::string::npos) << error;
}

TEST_F(ShellTest, ThePromptShowsTheTransaction) {
  EXPECT_EQ(shell_->Prompt(), "lamina> ");
  (void)Do("BEGIN;");
  EXPECT_EQ(shell_->Prompt(), "lamina*> ");
  (void)Do("SELEC 1;");
  EXPECT_EQ(shell_->Prompt(), "lamina!> ");
  (void)Do("ROLLBACK;");
  EXPECT_EQ(shell_->Prompt(), "lamina> ");
}

TEST_F(ShellTest, APlanIsShownAsItIsDrawn) {
  (void)Do("CREATE TABLE t (a INT PRIMARY KEY);");
  const std::string plan = Do("EXPLAIN SELECT a FROM t WHERE a > 1;");
  EXPECT_TRUE(plan.starts_with("┌──")) << plan;
  EXPECT_NE(plan.find("LAMINA_SCAN        │\n│"), std::string::npos) << plan;
  EXPECT_EQ(plan.find("explain_key"), std::string::npos) << plan;
  // Programs get what they always got.
  EXPECT_NE(Do(".mode csv\nEXPLAIN SELECT a FROM t;").find("explain_key,explain_value"),
            std::string::npos);
}

TEST_F(ShellTest, TablesListsNamesAndTakesAPattern) {
  (void)Do(
      "CREATE TABLE orders (id INT PRIMARY KEY); CREATE TABLE items (id INT PRIMARY KEY);"
      "CREATE VIEW open_orders AS SELECT * FROM orders;");
  EXPECT_EQ(errors_, "");
  EXPECT_EQ(Do(".tables"), "items        open_orders  orders\n");
  EXPECT_EQ(Do(".tables %orders"), "open_orders  orders\n");
  EXPECT_EQ(Do(".mode csv\n\\dt"),
            "schema,name,kind,columns\nmain,items,table,1\nmain,open_orders,view,1\n"
            "main,orders,table,1\n");
}

TEST_F(ShellTest, DescribeShowsColumnsAndKey) {
  (void)Do("CREATE TABLE t (id INT PRIMARY KEY, name TEXT NOT NULL DEFAULT 'x');");
  const std::string text = Do(".mode csv\n\\d t");
  EXPECT_EQ(text, "column,type,null,key,default\nid,INTEGER,NO,PRI,\nname,VARCHAR,NO,,'x'\n");
  EXPECT_NE(ErrorOf("\\d nothing_like_it").find("error T20"), std::string::npos);
}

TEST_F(ShellTest, SchemaGivesTheStatements) {
  (void)Do("CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE VIEW v AS SELECT id FROM t;");
  const std::string text = Do(".schema");
  EXPECT_NE(text.find("CREATE TABLE t(id INTEGER PRIMARY KEY);\n"), std::string::npos) << text;
  EXPECT_NE(text.find("CREATE VIEW v AS SELECT id FROM t;\n"), std::string::npos) << text;
  EXPECT_EQ(Do(".schema v").find("CREATE TABLE"), std::string::npos);
}

TEST_F(ShellTest, ADumpRebuildsTheDatabase) {
  const std::string make =
      "CREATE SCHEMA s;\nCREATE TYPE mood AS ENUM ('sad', 'it''s ok');\n"
      "CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR DEFAULT 'q', m mood, l INTEGER[], "
      "j JSON, b BLOB, d DOUBLE, ts TIMESTAMP, n DECIMAL(20,5), "
      "g INTEGER GENERATED ALWAYS AS (id * 2), CHECK (id > 0));\n"
      "INSERT INTO t (id, name, m, l, j, b, d, ts, n) VALUES "
      "(1, 'it''s' || chr(10) || '\"x\"', 'it''s ok', [1, NULL, 3], '{\"a\": [1]}', "
      "'\\xAA\\x00b', 'inf', '2024-02-29 01:02:03.456789', 1.5), "
      "(2, '', 'sad', [], NULL, '', 0.1, NULL, NULL), (3, NULL, NULL, NULL, NULL, NULL, NULL, "
      "NULL, NULL);\n"
      "CREATE TABLE s.\"Odd Name\" (\"select\" VARCHAR PRIMARY KEY);\n"
      "INSERT INTO s.\"Odd Name\" SELECT 'v' || i FROM range(1200) r(i);\n"
      "CREATE VIEW v AS SELECT id, name FROM t;\nCREATE MACRO twice(a) AS a * 2;\n";
  (void)Do(make);
  ASSERT_EQ(errors_, "");
  const std::string dump = Do(".dump");
  ASSERT_EQ(errors_, "");
  const std::string look =
      ".mode csv\nSELECT * FROM t ORDER BY id;\nSELECT count(*), max(\"select\") FROM "
      "s.\"Odd Name\";\nSELECT count(*) FROM v;\nSELECT twice(21);\n";
  const std::string before = Do(look);
  ASSERT_EQ(errors_, "");
  Start({});
  (void)Do(dump);
  ASSERT_EQ(errors_, "") << dump;
  EXPECT_EQ(Do(look), before);
  EXPECT_EQ(errors_, "");
  EXPECT_EQ(Do(".dump"), dump);
}

TEST_F(ShellTest, ADumpRebuildsConstraintsAndIndexesWhateverTheOrderOfRows) {
  (void)Do(
      "CREATE TABLE \"p p\" (id INTEGER PRIMARY KEY, \"u u\" VARCHAR UNIQUE);\n"
      "CREATE TABLE a (id INTEGER PRIMARY KEY, p VARCHAR REFERENCES \"p p\" (\"u u\"), "
      "next INTEGER REFERENCES a (id) ON DELETE SET NULL);\n"
      "CREATE UNIQUE INDEX \"a b\" ON a (p, id);\nCREATE INDEX an ON a (next);\n"
      "INSERT INTO \"p p\" VALUES (1, 'x');\n"
      "INSERT INTO a SELECT i, 'x', (i + 1) % 1200 FROM range(1200) r(i);\n");
  ASSERT_EQ(errors_, "");
  const std::string dump = Do(".dump");
  EXPECT_NE(dump.find("CREATE UNIQUE INDEX \"a b\" ON a(p, id);"), std::string::npos) << dump;
  Start({});
  (void)Do(dump);
  ASSERT_EQ(errors_, "");
  EXPECT_EQ(Do(".mode csv\nSELECT count(*) AS n, sum(next) AS s FROM a;"), "n,s\n1200,719400\n");
  EXPECT_EQ(Do(".dump"), dump);
  EXPECT_NE(Do(".schema").find("CREATE INDEX an ON a(\"next\");"), std::string::npos);
  EXPECT_NE(Do(".indexes a").find("a b"), std::string::npos);
  EXPECT_NE(Do(".mode box\n\\d a").find("FOREIGN KEY (p)"), std::string::npos);
  EXPECT_NE(ErrorOf("DELETE FROM \"p p\";").find("T3005"), std::string::npos);
}

TEST_F(ShellTest, ADumpKeepsSequencesDefaultsNotNullAndComments) {
  (void)Do(
      "CREATE SCHEMA x;\nCREATE SEQUENCE s START 10 INCREMENT 5;\nCREATE SEQUENCE x.s START 2 "
      "MAXVALUE 2;\n"
      "SELECT nextval('s'), nextval('x.s');\n"
      "CREATE TABLE t (id SERIAL PRIMARY KEY, n INTEGER DEFAULT nextval('s'));\n"
      "ALTER TABLE t ADD COLUMN late INTEGER NOT NULL DEFAULT 3;\n"
      "INSERT INTO t DEFAULT VALUES;\nCREATE VIEW v AS SELECT id FROM t;\n"
      "COMMENT ON TABLE t IS 'it''s';\nCOMMENT ON COLUMN t.n IS 'a column';\n"
      "COMMENT ON COLUMN v.id IS 'of a view';\nCOMMENT ON VIEW v IS 'a view';\n"
      "COMMENT ON SEQUENCE s IS 'a sequence';\n");
  ASSERT_EQ(errors_, "");
  const std::string dump = Do(".dump");
  for (const char* part :
       {"OWNED BY", "'it''s'", "'a column'", "'of a view'", "'a view'", "'a sequence'"})
    EXPECT_NE(dump.find(part), std::string::npos) << part << "\n" << dump;
  Start({});
  (void)Do(dump);
  ASSERT_EQ(errors_, "") << dump;
  EXPECT_EQ(Do(".dump"), dump);
  (void)Do("INSERT INTO t (late) VALUES (4);\n");
  EXPECT_EQ(Do(".mode csv\n.headers off\nSELECT * FROM t ORDER BY id;\n"), "1,15,3\n2,20,4\n");
  EXPECT_EQ(errors_, "");
  (void)Do("INSERT INTO t (late) VALUES (NULL);\n");
  EXPECT_NE(errors_, "");
  // A sequence that had ended has ended, and one that a table owns goes with it.
  errors_.clear();
  (void)Do("SELECT nextval('x.s');\n");
  EXPECT_NE(errors_.find("T4008"), std::string::npos) << errors_;
  EXPECT_EQ(Do("DROP VIEW v;\nDROP TABLE t;\nSELECT count(*) FROM duckdb_sequences();\n"), "2\n");
}

TEST_F(ShellTest, ADumpKeepsMaterializedViewsInAnOrderInWhichEachFindsWhatItReads) {
  (void)Do(
      "CREATE SCHEMA x;\nCREATE TABLE t (id INTEGER PRIMARY KEY);\nINSERT INTO t VALUES (1), (2);\n"
      "CREATE VIEW z AS SELECT id FROM t;\n"
      "CREATE MATERIALIZED VIEW y (\"the id\") AS SELECT id FROM z;\n"
      "CREATE VIEW a AS SELECT \"the id\" AS i FROM y;\n"
      "CREATE MATERIALIZED VIEW x.empty AS SELECT 1 AS one WITH NO DATA;\n"
      "CREATE INDEX of_y ON y (\"the id\");\nCOMMENT ON MATERIALIZED VIEW y IS 'of z';\n");
  ASSERT_EQ(errors_, "");
  const std::string dump = Do(".dump");
  EXPECT_EQ(dump.find("INSERT INTO \"y\""), std::string::npos) << dump;
  Start({});
  (void)Do(dump);
  ASSERT_EQ(errors_, "") << dump;
  EXPECT_EQ(Do(".dump"), dump);
  EXPECT_EQ(Do(".mode csv\n.headers off\nSELECT sum(i) FROM a;\n"), "3\n");
  EXPECT_EQ(Do("\\dt\n"),
            "main,a,view,1\nmain,t,table,1\nmain,y,materialized view,1\nmain,z,view,1\n"
            "x,empty,materialized view,1\n");
  EXPECT_NE(ErrorOf("SELECT * FROM x.empty;").find("T2019"), std::string::npos);
}

TEST_F(ShellTest, ADumpKeepsIdentityColumnsThatTakeNoOtherValue) {
  (void)Do(
      "CREATE SCHEMA s;\nCREATE TABLE t (id INT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v "
      "TEXT);\n"
      "CREATE TABLE s.\"T 2\" (\"I d\" INT GENERATED ALWAYS AS IDENTITY (START 5), w INT "
      "GENERATED BY DEFAULT AS IDENTITY);\n"
      "INSERT INTO t (v) VALUES ('a'), ('b');\nINSERT INTO s.\"T 2\" DEFAULT VALUES;\n");
  ASSERT_EQ(errors_, "");
  const std::string dump = Do(".dump");
  Start({});
  (void)Do(dump);
  ASSERT_EQ(errors_, "") << dump;
  EXPECT_EQ(Do(".dump"), dump);
  (void)Do("INSERT INTO t (v) VALUES ('c');\nINSERT INTO s.\"T 2\" (w) VALUES (9);\n");
  EXPECT_EQ(Do(".mode csv\n.headers off\nSELECT * FROM t ORDER BY id;\nSELECT * FROM s.\"T 2\" "
               "ORDER BY 1;\n"),
            "1,a\n2,b\n3,c\n5,1\n6,9\n");
  EXPECT_EQ(errors_, "");
  (void)Do("INSERT INTO s.\"T 2\" VALUES (1, 1);\n");
  EXPECT_NE(errors_.find("T3006"), std::string::npos) << errors_;
}

TEST_F(ShellTest, ATriggerIsOneStatementAndADumpKeepsIt) {
  // Its semicolons do not end it, on whatever lines they stand.
  (void)Do(
      "CREATE SCHEMA s;\nCREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);\n"
      "CREATE TABLE log (id INTEGER, v TEXT);\n"
      "CREATE TRIGGER \"a trigger\" AFTER INSERT OR UPDATE OF v ON t\n"
      "  FOR EACH ROW WHEN (NEW.v <> 'END;')\nBEGIN\n"
      "  INSERT INTO log VALUES (NEW.id, CASE WHEN OLD.v IS NULL THEN 'i' ELSE 'u' END);\n"
      "  DELETE FROM log WHERE id < 0;  -- comment; with a semicolon\nEND;\n"
      "INSERT INTO t VALUES (1, 'a');\n");
  ASSERT_EQ(errors_, "");
  const std::string dump = Do(".dump");
  Start({});
  (void)Do(dump);
  ASSERT_EQ(errors_, "") << dump;
  EXPECT_EQ(Do(".dump"), dump);
  (void)Do("UPDATE t SET v = 'b';\n");
  EXPECT_EQ(Do(".mode csv\n.headers off\nSELECT * FROM log ORDER BY v;\n"), "1,i\n1,u\n");
  EXPECT_NE(Do(".schema t").find("CREATE TRIGGER \"a trigger\""), std::string::npos);
  EXPECT_EQ(errors_, "");
}

TEST_F(ShellTest, ADumpKeepsPlanGuides) {
  (void)Do(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);\n"
      "CREATE PLAN GUIDE 'it''s' FOR 'SELECT * FROM t WHERE v = ''a''' USING 'NO_INDEX';\n");
  ASSERT_EQ(errors_, "");
  const std::string dump = Do(".dump");
  Start({});
  (void)Do(dump);
  ASSERT_EQ(errors_, "") << dump;
  EXPECT_EQ(Do(".dump"), dump);
  EXPECT_NE(Do("SHOW PLAN GUIDES;\n").find("it's"), std::string::npos);
}

TEST_F(ShellTest, ADumpOfOneTableLeavesTheOthersOut) {
  (void)Do(
      "CREATE TABLE a (id INT PRIMARY KEY); CREATE TABLE b (id INT PRIMARY KEY);"
      "INSERT INTO a VALUES (1); INSERT INTO b VALUES (2);");
  const std::string dump = Do(".dump a");
  EXPECT_NE(dump.find("INSERT INTO \"a\" (\"id\") VALUES\n  (1);"), std::string::npos) << dump;
  EXPECT_EQ(dump.find("\"b\""), std::string::npos) << dump;
}

TEST_F(ShellTest, ImportMakesTheTableAndThenAddsToIt) {
  Write("people.csv", "id,name\n1,Ada\n2,\"Grace, H\"\n");
  (void)Do(fmt::format(".import '{}' people", Path("people.csv")));
  EXPECT_EQ(errors_, "");
  Write("more.csv", "id,name\n3,Edsger\n");
  (void)Do(fmt::format(".import '{}' people", Path("more.csv")));
  EXPECT_EQ(errors_, "");
  EXPECT_EQ(Do(".mode csv\nSELECT * FROM people ORDER BY id"),
            "id,name\n1,Ada\n2,\"Grace, H\"\n3,Edsger\n");
  Write("one.ndjson", "{\"a\":1}\n{\"a\":2}\n");
  EXPECT_EQ(Do(fmt::format(".import '{}' j\nSELECT sum(a) AS s FROM j", Path("one.ndjson"))),
            "s\n3\n");
  EXPECT_NE(ErrorOf(".import people.csv").find("usage: .import"), std::string::npos);
  EXPECT_NE(ErrorOf(".import --xls a b").find("no such format: xls"), std::string::npos);
}

TEST_F(ShellTest, OutputGoesToTheFileUntilItIsTakenBack) {
  (void)Do(fmt::format(".mode csv\n.output '{}'\nSELECT 1 AS a;\nSELECT 2 AS b;\n.output\n",
                       Path("out.csv")));
  EXPECT_EQ(out_, "");
  EXPECT_EQ(ReadBack("out.csv"), "a\n1\nb\n2\n");
  EXPECT_EQ(Do(fmt::format(".once '{}'\nSELECT 3 AS c;\nSELECT 4 AS d;", Path("once.csv"))),
            "d\n4\n");
  EXPECT_EQ(ReadBack("once.csv"), "c\n3\n");
  EXPECT_NE(ErrorOf(fmt::format(".output '{}'", Path("no/such/folder"))).find("cannot write"),
            std::string::npos);
}

TEST_F(ShellTest, ReadRunsAFileAndStopsWhereItFails) {
  Write("a.sql", ".mode csv\nSELECT 1 AS a;\nSELEC;\nSELECT 2 AS a;\n");
  EXPECT_EQ(Do(fmt::format(".read '{}'\nSELECT 3 AS a;", Path("a.sql"))), "a\n1\n");
  EXPECT_NE(errors_.find("a.sql:3: error T1004"), std::string::npos) << errors_;
  EXPECT_NE(ErrorOf(".read nothing_like_it").find("cannot read the file"), std::string::npos);
  Write("self.sql", fmt::format(".read '{}'\n", Path("self.sql")));
  EXPECT_NE(ErrorOf(fmt::format(".read '{}'", Path("self.sql"))).find("too deep"),
            std::string::npos);
}

TEST_F(ShellTest, OpenChangesTheDatabaseAndKeepsItWhenItCannot) {
  (void)Do(fmt::format(".open '{}'\nCREATE TABLE t (id INT PRIMARY KEY);", Path("db")));
  EXPECT_EQ(errors_, "");
  EXPECT_EQ(Do(".tables"), "t\n");
  EXPECT_EQ(Do(fmt::format(".open '{}'\n.tables", Path("db"))), "t\n");
  Write("file", "x");
  EXPECT_NE(ErrorOf(fmt::format(".open '{}'", Path("file"))), "");
  EXPECT_EQ(Do(".tables"), "t\n");
  EXPECT_EQ(Do(".open\n.tables"), "");
}

TEST_F(ShellTest, SettingsAreShownAndToggled) {
  EXPECT_EQ(Do(".mode"), "box\n");
  EXPECT_EQ(Do(".mode csv\n.headers off\nSELECT 1;"), "1\n");
  EXPECT_EQ(Do(".nullvalue -\nSELECT NULL;"), "-\n");
  EXPECT_EQ(Do(".headers on\n.echo on\nSELECT 1 AS a;"), "SELECT 1 AS a;\na\n1\n");
  EXPECT_NE(Do(".timer on\nSELECT 1 AS a;").find("time: "), std::string::npos);
  EXPECT_NE(Do(".show").find("mode csv\n"), std::string::npos);
  EXPECT_EQ(Do(".echo off\n.print a 'b c'"), ".echo off\na b c\n");
}

TEST_F(ShellTest, ExpandedIsLineModeAndBack) {
  EXPECT_EQ(Do(".mode csv\n\\x on\nSELECT 1 AS a;\n\\x off\nSELECT 1 AS a;"), "a = 1\na\n1\n");
}

TEST_F(ShellTest, AWrongCommandSaysWhatIsMeant) {
  EXPECT_NE(ErrorOf(".tabels").find("did you mean .tables?"), std::string::npos);
  EXPECT_NE(ErrorOf(".mode boks").find("modes are: box, csv"), std::string::npos);
  EXPECT_NE(ErrorOf(".headers maybe").find("usage: .headers on|off"), std::string::npos);
  EXPECT_NE(ErrorOf(".print 'open").find("a quote is not closed"), std::string::npos);
}

TEST_F(ShellTest, HelpKnowsEveryCommandAndQuitEnds) {
  const std::string help = Do(".help");
  for (const char* command : {".help", ".tables", ".schema", ".mode", ".timer", ".read", ".import",
                              ".output", ".dump", ".open", ".quit", ".databases", ".indexes",
                              ".headers", ".nullvalue", ".width", ".echo", ".bail"}) {
    EXPECT_NE(help.find(command), std::string::npos) << command;
  }
  EXPECT_EQ(Do("\\?"), help);
  EXPECT_EQ(Do(".quit\nSELECT 1;"), "");
  EXPECT_TRUE(shell_->finished());
}

TEST_F(ShellTest, CompletionKnowsCommandsTablesFilesAndSql) {
  (void)Do("CREATE TABLE customers (id INT PRIMARY KEY, name TEXT);");
  const auto complete = [&](const std::string& text) {
    std::vector<std::string> out;
    for (const auto& one : shell_->Complete(text)) out.push_back(one.text);
    return out;
  };
  EXPECT_EQ(complete(".tab"), (std::vector<std::string>{".tables"}));
  EXPECT_EQ(complete("\\d cus"), (std::vector<std::string>{"customers"}));
  EXPECT_EQ(complete(".mode js"), (std::vector<std::string>{"json", "jsonarray"}));
  EXPECT_EQ(complete(".timer o"), (std::vector<std::string>{"on", "off"}));
  Write("load.sql", "");
  EXPECT_EQ(complete(".read " + Path("lo")), (std::vector<std::string>{Path("load.sql")}));
  const auto tables = complete("SELECT * FROM cus");
  EXPECT_NE(std::find(tables.begin(), tables.end(), "customers"), tables.end());
}

TEST_F(ShellTest, HistoryIsLoggedComparedDrawnAndBlamed) {
  (void)Do(
      ".mode csv\nCREATE TABLE pay (name TEXT PRIMARY KEY, salary INTEGER, team TEXT);"
      "INSERT INTO pay VALID FROM DATE '2024-01-01' VALUES ('Ada', 4000, 'x');"
      "SET commit_user = 'ann'; SET commit_message = 'raise';"
      "UPDATE pay FOR PORTION OF APPLICATION_TIME FROM DATE '2024-03-01' TO NULL SET salary = 5000;"
      "RESET commit_user; RESET commit_message; INSERT INTO pay VALUES ('Bob', 1, NULL);");
  const auto lines = [&](const std::string& command) {
    std::vector<std::string> out;
    std::istringstream in(Do(command));
    for (std::string line; std::getline(in, line);) out.push_back(line);
    return out;
  };
  const auto log = lines(".log");
  ASSERT_EQ(log.size(), 5u);
  EXPECT_EQ(log[0], "commit,time,written,ended,tables,user,message");
  EXPECT_TRUE(log[2].starts_with("3,")) << log[2];
  EXPECT_TRUE(log[2].ends_with(",1,1,[pay],ann,raise")) << log[2];
  EXPECT_EQ(lines(".log pay").size(), 4u);
  EXPECT_EQ(lines(".diff pay 2 3"),
            (std::vector<std::string>{" ,name,salary,team", "-,Ada,4000,x", "+,Ada,5000,x"}));
  EXPECT_EQ(lines(".diff pay 2").back(), "+,Bob,1,");
  EXPECT_EQ(lines(".diff pay 2 '2999-01-01'").size(), 4u);
  const auto blame = lines(".blame pay Ada");
  ASSERT_EQ(blame.size(), 4u);
  EXPECT_TRUE(blame[1].starts_with("name,Ada,2,")) << blame[1];
  EXPECT_TRUE(blame[2].starts_with("salary,5000,3,")) << blame[2];
  EXPECT_TRUE(blame[2].ends_with(",ann,raise")) << blame[2];
  EXPECT_EQ(lines(".timeline pay Ada").size(), 4u);
  (void)Do(".mode box");
  const std::string drawn = Do(".timeline pay Ada");
  EXPECT_NE(drawn.find("┤AAAAAAA CCCCCCC"), std::string::npos) << drawn;
  EXPECT_NE(drawn.find("┤AAAAAAA BBBBBBB"), std::string::npos) << drawn;
  EXPECT_NE(ErrorOf(".blame pay Nobody").find("no row now"), std::string::npos);
  EXPECT_NE(ErrorOf(".timeline nowhere 1").find("T2001"), std::string::npos);
  EXPECT_NE(ErrorOf(".diff pay").find("usage: .diff TABLE FROM [TO]"), std::string::npos);
  EXPECT_NE(ErrorOf(".log a b").find("usage: .log [TABLE]"), std::string::npos);
}

TEST_F(ShellTest, InterruptEndsTheStatementAndKeepsTheShell) {
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    shell_->Interrupt();
  });
  const std::string error = ErrorOf(
      "SELECT count(*) FROM range(100000000000) a(i), range(1000) b(j) WHERE hash(i + j) = 1;");
  other.join();
  EXPECT_NE(error.find("error T4006"), std::string::npos) << error;
  EXPECT_TRUE(shell_->TakeInterrupt());
  EXPECT_EQ(Do(".mode csv\nSELECT 1 AS a;"), "a\n1\n");
}

TEST_F(ShellTest, TalkingItSaysWhatStatementsWithoutRowsDid) {
  shell_->set_talkative(true);
  (void)Do("CREATE TABLE t (id INT PRIMARY KEY);");
  const std::string text = Do("INSERT INTO t VALUES (1), (2);");
  EXPECT_TRUE(text.starts_with("INSERT 2 rows, commit ")) << text;
  EXPECT_EQ(Do("BEGIN;"), "BEGIN\n");
}

}  // namespace
}  // namespace lamina::cli
