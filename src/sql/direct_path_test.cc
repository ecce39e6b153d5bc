// The direct path gives what DuckDB's way gives: the same random statements on two connections, one
// with `SET direct_path = off`, rows, names, types, errors and codes compared.
#include "sql/direct_path.h"

#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "lamina/connection.h"

namespace lamina {
namespace {

/// All that a caller sees of a statement.
std::string Seen(const Result<std::unique_ptr<SqlResult>>& result) {
  const auto error = [](const Status& status) {
    const SqlError* sql = SqlErrorOf(status);
    return sql == nullptr ? status.ToString()
                          : fmt::format("{} {} {}", sql->code, sql->sqlstate, status.message());
  };
  if (!result.ok()) return error(result.status());
  std::string out = (*result)->tag() + ":";
  for (const SqlColumn& column : (*result)->columns()) out += " " + column.name + " " + column.type;
  for (;;) {
    const auto more = (*result)->NextRow();
    if (!more.ok()) return error(more.status());
    if (!*more) return out;
    out += "\n";
    for (int i = 0; i < static_cast<int>((*result)->columns().size()); ++i)
      out += (*result)->IsNull(i) ? "|NULL" : "|" + std::string((*result)->Text(i));
  }
}

class DirectPathTest : public ::testing::Test {
 protected:
  void SetUp() override {
    sql_ = SqlDatabase::Open("").ValueOrDie();
    direct_ = sql_->Connect().ValueOrDie();
    other_ = sql_->Connect().ValueOrDie();
    Do(*other_, "SET direct_path = false");
  }
  static void Do(Connection& connection, const std::string& sql) {
    const Status status = connection.ExecuteAll(sql, [](SqlResult&) { return Status::OK(); });
    ASSERT_TRUE(status.ok()) << sql << ": " << status.ToString();
  }
  std::string Direct(const std::string& sql) { return Seen(direct_->Execute(sql)); }
  /// Run twice: a text is planned when it comes again.
  void Same(const std::string& sql) {
    const std::string expected = Seen(other_->Execute(sql));
    EXPECT_EQ(Direct(sql), expected) << sql;
    EXPECT_EQ(Direct(sql), expected) << sql << " (again)";
  }

  std::shared_ptr<SqlDatabase> sql_;
  std::unique_ptr<Connection> direct_, other_;
};

TEST_F(DirectPathTest, RandomStatementsGiveWhatDuckDBsWayGives) {
  Do(*direct_,
     "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR, amount DECIMAL(9,2), tags VARCHAR[]);"
     "CREATE TABLE u (a SMALLINT, b VARCHAR, moment TIMESTAMP, body JSON, PRIMARY KEY (a, b));"
     "CREATE VIEW v AS SELECT * FROM t;"
     "INSERT INTO t SELECT range, 'n' || range, range / 3, ['x', NULL, range::VARCHAR] FROM "
     "range(50);"
     "INSERT INTO u SELECT range % 10, 'b' || (range // 10), TIMESTAMP '2020-01-01' + range * "
     "INTERVAL 1 "
     "HOUR, '{\"a\": ' || range || '}' FROM range(50)");
  base::Random random(17);
  const auto one = [&](std::initializer_list<const char*> of) {
    return std::string(of.begin()[random.Uniform(of.size())]);
  };
  const auto number = [&] {
    if (random.OneIn(3))
      return one({"NULL", "'7'", "7.0", "7.5", "-1", "1e1", "99999999999999999999", "300", "70000",
                  "'x'", "1 + 1", "007", "$1", "true"});
    return std::to_string(random.Uniform(60));
  };
  const auto text = [&] {
    if (random.OneIn(3)) return one({"NULL", "7", "'it''s'", "''", "$$b1$$", "E'b1'", "b", "'B1'"});
    return fmt::format("'b{}'", random.Uniform(6));
  };
  const auto columns_of_t = [&] {
    return one({"*", "id", "name, id", "amount AS x, tags", "t.name", "ID, Name", "nothing",
                "id + 1", "_commit > 0", "count(*)", "*, id", "name AS \"a b\", name", "q.id"});
  };
  for (int i = 0; i < 3000; ++i) {
    SCOPED_TRACE(i);
    if (random.OneIn(20)) {
      Do(*direct_,
         one({"UPDATE t SET name = name || '!' WHERE id % 7 = 3", "DELETE FROM t WHERE id % 11 = 5",
              "INSERT OR REPLACE INTO t SELECT range, 'again', 1, NULL FROM range(20)",
              "UPDATE u SET body = '[1]' WHERE a = 3", "CHECKPOINT"}));
    }
    switch (random.Uniform(7)) {
      case 0:
      case 1:
        Same(fmt::format("SELECT {} FROM t WHERE id = {}", columns_of_t(), number()));
        break;
      case 2:
        Same(fmt::format("SELECT * FROM u WHERE a = {} AND b = {}", number(), text()));
        break;
      case 3:
        Same(fmt::format("SELECT moment, body FROM main.u AS q WHERE q.b = {} AND {} = q.a", text(),
                         number()));
        break;
      case 5:
        Same(fmt::format(
            "SELECT {} FROM t {} WHERE id = {}", columns_of_t(),
            fmt::format(fmt::runtime(one({"AS OF {}", "FOR SYSTEM_TIME AS OF {}", "AS x AS OF {}",
                                          "AT (VERSION => {})", "VALID AT {}"})),
                        random.OneIn(4) ? one({"999", "-1", "NULL", "1.5", "'x'"})
                                        : std::to_string(random.Uniform(40))),
            number()));
        break;
      case 4:
        Same(fmt::format("SELECT {} FROM {} WHERE {} {}", one({"*", "id"}), one({"t", "v", "u"}),
                         one({"id = 5", "id = 5 AND id = 6", "id > 5", "id = 5 OR id = 6",
                              "b = 'b1'", "id IN (5)", "id = 5 AND name = 'n5'"}),
                         one({"", "LIMIT 1", "ORDER BY 1", "AS OF 3", "AS OF 4"})));
        break;
      default: {
        // Prepared, with values of other types, too.
        const char* const query = "SELECT name, amount FROM t WHERE id = $1";
        const auto mine = direct_->Prepare(query).ValueOrDie();
        const auto theirs = other_->Prepare(query).ValueOrDie();
        const std::vector<SqlParameters> values = {
            {SqlValue(static_cast<int64_t>(random.Uniform(60)))},
            {SqlValue("7")},
            {SqlValue(7.0)},
            {SqlValue(7.5)},
            {SqlValue(nullptr)},
            {SqlValue(true)},
            {SqlValue::Typed("DECIMAL(9,1)", "7.0")},
            {}};
        for (const auto& value : values)
          EXPECT_EQ(Seen(mine->Execute(value)), Seen(theirs->Execute(value)));
        const char* const then = "SELECT name FROM t AS OF $1 WHERE id = 3";
        const auto my_then = direct_->Prepare(then).ValueOrDie();
        const auto their_then = other_->Prepare(then).ValueOrDie();
        for (const auto& value : values)
          EXPECT_EQ(Seen(my_then->Execute(value)), Seen(their_then->Execute(value)));
      }
    }
  }
}

TEST_F(DirectPathTest, APlanEndsWithWhatItWasMadeFor) {
  Do(*direct_, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')");
  const std::string query = "SELECT * FROM t WHERE id = 1";
  const auto prepared = direct_->Prepare(query).ValueOrDie();
  const auto both = [&] {
    Same(query);
    EXPECT_EQ(Seen(prepared->Execute({})), Direct(query));
    return Direct(query);
  };
  EXPECT_EQ(both(), "SELECT: id INTEGER v VARCHAR\n|1|a");
  Do(*other_, "ALTER TABLE t ADD COLUMN w INTEGER DEFAULT 7");
  EXPECT_EQ(both(), "SELECT: id INTEGER v VARCHAR w INTEGER\n|1|a|7");
  Do(*other_,
     "DROP TABLE t; CREATE TABLE t (id BIGINT PRIMARY KEY, x TEXT); INSERT INTO t VALUES (1, 'z')");
  EXPECT_EQ(both(), "SELECT: id BIGINT x VARCHAR\n|1|z");
  // A temporary table of the name, and the session's own moments.
  Do(*direct_, "CREATE TEMP TABLE t (id INTEGER); INSERT INTO t VALUES (1)");
  EXPECT_EQ(Direct(query), "SELECT: id INTEGER\n|1");
  Do(*direct_, "DROP TABLE temp.t");
  EXPECT_EQ(both(), "SELECT: id BIGINT x VARCHAR\n|1|z");
  Do(*direct_, "UPDATE t SET x = 'y'");
  EXPECT_EQ(both(), "SELECT: id BIGINT x VARCHAR\n|1|y");
  const auto commit = sql_->database().newest_commit().value;
  Do(*direct_, fmt::format("SET system_time = {}", commit - 1));
  EXPECT_EQ(Direct(query), "SELECT: id BIGINT x VARCHAR\n|1|z");
  EXPECT_EQ(Seen(prepared->Execute({})), "SELECT: id BIGINT x VARCHAR\n|1|z");
  Do(*direct_, "RESET system_time");
  EXPECT_EQ(both(), "SELECT: id BIGINT x VARCHAR\n|1|y");
  Do(*direct_, "CREATE SCHEMA s; CREATE TABLE s.t (id INTEGER PRIMARY KEY, other TEXT); USE s");
  EXPECT_EQ(Direct(query), "SELECT: id INTEGER other VARCHAR");
  EXPECT_EQ(Direct(query), "SELECT: id INTEGER other VARCHAR");
}

TEST_F(DirectPathTest, ATransactionReadsItsOwnRowsAndIsChecked) {
  Do(*direct_,
     "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b')");
  const std::string query = "SELECT v FROM t WHERE id = 1";
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Direct(query), "SELECT: v VARCHAR\n|a");
  Do(*direct_, "BEGIN");
  Do(*other_, "UPDATE t SET v = 'theirs' WHERE id = 1");
  // Its snapshot began with its first statement.
  Do(*direct_, "COMMIT; BEGIN; UPDATE t SET v = 'mine' WHERE id = 1");
  EXPECT_EQ(Direct(query), "SELECT: v VARCHAR\n|mine");
  Do(*direct_, "ROLLBACK");
  EXPECT_EQ(Direct(query), "SELECT: v VARCHAR\n|theirs");
  // What it read directly and another changed: not serializable.
  Do(*direct_, "BEGIN");
  EXPECT_EQ(Direct(query), "SELECT: v VARCHAR\n|theirs");
  Do(*direct_, "UPDATE t SET v = 'from 1' WHERE id = 2");
  Do(*other_, "UPDATE t SET v = 'changed' WHERE id = 1");
  const Status status = direct_->Execute("COMMIT").status();
  ASSERT_NE(SqlErrorOf(status), nullptr) << status.ToString();
  EXPECT_EQ(SqlErrorOf(status)->sqlstate, "40001");
  // A failed transaction answers nothing.
  Do(*direct_, "BEGIN");
  EXPECT_FALSE(direct_->Execute("SELECT nothing").ok());
  EXPECT_EQ(Direct(query).substr(0, 11), "T5003 25P02");
  Do(*direct_, "ROLLBACK");
}

}  // namespace
}  // namespace lamina
