// Plan guides and SUGGEST INDEX where a file of statements does not reach: places of errors, the
// interface's own prepared statements, many sessions.
#include "sql/plan_guide.h"

#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "lamina/connection.h"

namespace lamina::sql {
namespace {

class PlanGuideTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Do("CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, s VARCHAR);"
       "INSERT INTO t SELECT i, i % 100, 'x' FROM range(10000) r(i);"
       "CREATE INDEX by_a ON t (a)");
  }
  void Do(const std::string& sql) {
    const Status status = connection_->ExecuteAll(sql, [](SqlResult&) { return Status::OK(); });
    ASSERT_TRUE(status.ok()) << sql << "\n" << status.ToString();
  }
  static std::string TextOf(Result<std::unique_ptr<SqlResult>> result) {
    if (!result.ok()) return result.status().ToString();
    std::string out;
    while ((*result)->NextRow().ValueOrDie()) out += std::string((*result)->Text(1)) + "\n";
    return out;
  }

  std::shared_ptr<SqlDatabase> database_ = SqlDatabase::Open("").ValueOrDie();
  std::unique_ptr<Connection> connection_ = database_->Connect().ValueOrDie();
};

TEST_F(PlanGuideTest, ErrorsOfAQueryInALiteralShowItsPlace) {
  const std::string cases[] = {
      "SUGGEST INDEX FOR '^SELEC 1'",
      "SUGGEST   INDEX\n FOR    'SELECT * FROM ^nope'",
      "SUGGEST INDEX FOR $$SELECT ^nope FROM t WHERE a = 1$$",
      "SELECT 1; SUGGEST INDEX FOR 'SELECT * FROM ^nope'",
      "CREATE PLAN GUIDE g FOR 'SELECT * FROM ^nope' USING 'NO_INDEX'",
      "CREATE PLAN GUIDE g FOR 'SELECT * FROM t' USING 'NO_INDEX ^HASH'",
      "CREATE PLAN GUIDE g ^AT 'SELECT * FROM t' USING 'NO_INDEX'",
  };
  for (std::string sql : cases) {
    const size_t position = sql.find('^');
    sql.erase(position, 1);
    SCOPED_TRACE(sql);
    const Status status = connection_->ExecuteAll(sql, [](SqlResult&) { return Status::OK(); });
    const SqlError* error = SqlErrorOf(status);
    ASSERT_NE(error, nullptr) << status.ToString();
    EXPECT_EQ(error->position, position) << status.ToString();
    EXPECT_NE(error->excerpt, "");
  }
}

TEST_F(PlanGuideTest, AStatementOfTheInterfaceFollowsAGuideThatIsMadeLater) {
  const auto statement = connection_->Prepare("EXPLAIN SELECT s FROM t WHERE a = $1").ValueOrDie();
  EXPECT_NE(TextOf(statement->Execute({1})).find("Index: by_a"), std::string::npos);
  Do("CREATE PLAN GUIDE g FOR 'SELECT s FROM t WHERE a = 0' USING 'NO_INDEX'");
  EXPECT_NE(TextOf(statement->Execute({1})).find("Plan Guide: g"), std::string::npos);
  EXPECT_EQ(TextOf(statement->Execute({1})).find("Index: by_a"), std::string::npos);
  Do("DROP PLAN GUIDE g");
  EXPECT_NE(TextOf(statement->Execute({1})).find("Index: by_a"), std::string::npos);
}

TEST_F(PlanGuideTest, AGuideIsForAllSessionsOnceItIsCommitted) {
  const auto other = database_->Connect().ValueOrDie();
  const auto guided = [&] {
    return TextOf(other->Execute("EXPLAIN SELECT s FROM t WHERE a = 5")).find("Plan Guide: g") !=
           std::string::npos;
  };
  Do("BEGIN; CREATE PLAN GUIDE g FOR 'SELECT s FROM t WHERE a = 0' USING 'NO_INDEX'");
  EXPECT_FALSE(guided());
  Do("COMMIT");
  EXPECT_TRUE(guided());
}

TEST_F(PlanGuideTest, NormalizedTextsAreThoseOfOneGuide) {
  EXPECT_EQ(NormalizedText("select a FROM T where x=1"), NormalizedText("SELECT  A from t -- c\n"
                                                                        "WHERE x = 'y' ;"));
  EXPECT_EQ(NormalizedText("SELECT $1"), NormalizedText("EXPLAIN (FORMAT json) SELECT ?"));
  EXPECT_NE(NormalizedText("SELECT \"A\""), NormalizedText("SELECT \"a\""));
  EXPECT_NE(NormalizedText("SELECT a"), NormalizedText("SELECT a, b"));
  EXPECT_EQ(NormalizedText(""), "");
}

TEST_F(PlanGuideTest, SessionsThatMakeAndDropGuidesLeaveOthersAlone) {
  std::vector<std::thread> threads;
  std::vector<int> failed(3);
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      const auto connection = database_->Connect().ValueOrDie();
      const std::string name = "g" + std::to_string(i);
      for (int round = 0; round < 20; ++round) {
        const auto make =
            connection->Execute("CREATE OR REPLACE PLAN GUIDE " + name + " FOR 'SELECT id AS " +
                                name + " FROM t WHERE a = 1' USING 'NO_INDEX'");
        const auto ask = connection->Execute("SELECT count(*) FROM t WHERE a = 1");
        if (!make.ok() || !ask.ok()) ++failed[static_cast<size_t>(i)];
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failed, std::vector<int>(3));
  EXPECT_EQ(connection_->Execute("SELECT count(*) FROM lamina_plan_guides()").ok(), true);
}

}  // namespace
}  // namespace lamina::sql
