// Limits of statements: what tests/sql/session/ cannot say, as it needs time, threads or folders.
#include "sql/settings.h"

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <sys/stat.h>
#include <thread>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "lamina/connection.h"

namespace lamina::sql {
namespace {

constexpr char kEndless[] =
    "SELECT count(*) FROM range(1000000) a(i), range(1000000) b(j) WHERE i * j % 7 = 3";
// Streams: rows come long before the end.
constexpr char kEndlessRows[] = "SELECT i + j AS s FROM range(1000000) a(i), range(1000000) b(j)";

class SettingsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    database_ = SqlDatabase::Open("").ValueOrDie();
    connection_ = database_->Connect().ValueOrDie();
  }

  static Status RunOn(Connection& connection, std::string_view sql) {
    return connection.ExecuteAll(sql, [](SqlResult&) { return Status::OK(); });
  }
  Status Run(std::string_view sql) { return RunOn(*connection_, sql); }
  void Ok(std::string_view sql) {
    const Status status = Run(sql);
    ASSERT_TRUE(status.ok()) << sql << "\n" << status.ToString();
  }
  static std::string CodeOf(const Status& status) {
    const SqlError* error = SqlErrorOf(status);
    return error == nullptr ? status.ToString() : error->code;
  }
  std::string Code(std::string_view sql) { return CodeOf(Run(sql)); }
  static std::string Answer(Connection& connection, std::string_view sql) {
    const auto result = connection.Execute(sql);
    if (!result.ok()) return result.status().ToString();
    const auto more = (*result)->NextRow();
    if (!more.ok() || !*more) return "nothing";
    return std::string((*result)->Text(0));
  }
  std::string Answer(std::string_view sql) { return Answer(*connection_, sql); }

  std::shared_ptr<SqlDatabase> database_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(SettingsTest, ATimeoutIsT4003WithPostgresState) {
  Ok("SET query_timeout = '20ms'");
  const int64_t begin = base::SystemClock()->MonotonicNanos();
  const Status status = Run(kEndless);
  ASSERT_NE(SqlErrorOf(status), nullptr) << status.ToString();
  EXPECT_EQ(SqlErrorOf(status)->code, "T4003");
  EXPECT_EQ(SqlErrorOf(status)->sqlstate, "57014");
  EXPECT_LT(base::SystemClock()->MonotonicNanos() - begin, 5'000'000'000);
  EXPECT_EQ(Answer("SELECT 42"), "42");
}

TEST_F(SettingsTest, ATimeoutEndsAStreamBetweenItsRows) {
  Ok("SET query_timeout = '50ms'");
  auto result = connection_->Execute(kEndlessRows).ValueOrDie();
  Status status;
  int64_t rows = 0;
  while (status.ok()) {
    const auto more = result->NextRow();
    status = more.status();
    if (more.ok()) {
      ASSERT_TRUE(*more);
    }
    ++rows;
  }
  EXPECT_GT(rows, 1);
  EXPECT_EQ(CodeOf(status), "T4003");
  result.reset();
  EXPECT_EQ(Answer("SELECT 42"), "42");
}

TEST_F(SettingsTest, ATimeoutCountsWhileNobodyFetches) {
  Ok("SET query_timeout = '20ms'");
  auto result = connection_->Execute(kEndlessRows).ValueOrDie();
  ASSERT_TRUE(result->NextRow().ValueOrDie());
  base::SystemClock()->SleepMicros(60'000);
  Status status;
  while (status.ok()) status = result->NextRow().status();
  EXPECT_EQ(CodeOf(status), "T4003");
}

// A result that was read to its end, or dropped, and is still held or was left behind.
TEST_F(SettingsTest, ATimeoutNeverReachesTheNextStatement) {
  Ok("SET query_timeout = '5ms'");
  const auto sleep = [] { base::SystemClock()->SleepMicros(3'000); };
  int timeouts = 0;
  for (int i = 0; i < 200; ++i) {
    // About as long as the limit: the deadline falls around its end.
    auto result = connection_->Execute("SELECT i FROM range(2048) r(i)");
    sleep();
    bool failed = !result.ok();
    while (result.ok()) {
      const auto more = (*result)->NextRow();
      failed = !more.ok();
      if (failed || !*more) break;
      if (i % 3 == 0) break;
    }
    if (i % 2 == 0) sleep();
    if (failed) ++timeouts;
    if (result.ok() && i % 3 == 0) result->reset();
    ASSERT_TRUE(Run("SET query_timeout = '10s'").ok()) << i;
    ASSERT_EQ(Answer("SELECT sum(i) FROM range(100000) r(i)"), "4999950000") << i;
    ASSERT_TRUE(Run("SET query_timeout = '5ms'").ok()) << i;
  }
  EXPECT_LT(timeouts, 200);
}

TEST_F(SettingsTest, ATimeoutThatNothingKeepsCanBeTakenBack) {
  for (int i = 0; i < 50; ++i) {
    Ok("SET query_timeout = '1us'");
    Ok("RESET query_timeout");
  }
  Ok("SET query_timeout = '1us'");
  EXPECT_EQ(Code(kEndless), "T4003");
}

TEST_F(SettingsTest, ATimeoutIsOverForTheTransactionAsAnyError) {
  Ok("CREATE TABLE t (id INTEGER PRIMARY KEY)");
  Ok("BEGIN");
  Ok("INSERT INTO t VALUES (1)");
  Ok("SAVEPOINT a");
  Ok("SET query_timeout = '20ms'");
  EXPECT_EQ(Code(kEndless), "T4003");
  EXPECT_EQ(Code("SELECT 1"), "T5003");
  Ok("ROLLBACK TO a");
  Ok("RESET query_timeout");
  Ok("COMMIT");
  EXPECT_EQ(Answer("SELECT count(*) FROM t"), "1");
}

TEST_F(SettingsTest, ATimeoutHoldsForStatementsPreparedByTheInterface) {
  const auto prepared = connection_->Prepare(kEndless).ValueOrDie();
  Ok("SET query_timeout = '20ms'");
  EXPECT_EQ(CodeOf(prepared->Execute().status()), "T4003");
  Ok("BEGIN");
  EXPECT_EQ(CodeOf(prepared->Execute().status()), "T4003");
  EXPECT_EQ(connection_->transaction_state(), SqlTransactionState::kAborted);
  Ok("ROLLBACK");
}

// Scans that give no row, writes of many rows, and what follows from them.
TEST_F(SettingsTest, ATimeoutEndsOurScansAndWritesAndNothingIsChanged) {
  Ok("CREATE TABLE parent (id INTEGER PRIMARY KEY)");
  Ok("INSERT INTO parent SELECT i FROM range(60000) r(i)");
  Ok("CREATE TABLE child (id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent (id), v INTEGER)");
  Ok("BEGIN");
  Ok("INSERT INTO child SELECT i, i, i FROM range(60000) r(i)");
  Ok("COMMIT");
  Ok("CREATE TABLE files (id INTEGER PRIMARY KEY, s VARCHAR)");
  Ok("INSERT INTO files SELECT i, 'text ' || i FROM range(1500000) r(i)");
  const std::string before = Answer(
      "SELECT (SELECT sum(v) + count(*) FROM child) + (SELECT count(*) FROM files) + "
      "(SELECT count(*) FROM parent)");
  for (const char* sql : {
           "SELECT count(*) FROM files WHERE md5(s) = 'x'",
           "UPDATE child SET v = v + 1, p = 60000 - id - 1",
           "DELETE FROM child",
           "DELETE FROM parent WHERE id NOT IN (SELECT p FROM child WHERE md5(p::VARCHAR) = '')",
           "INSERT INTO files SELECT i, 'text ' || i FROM range(10000000, 30000000) r(i)",
           "CREATE TABLE copy AS SELECT i, 'text ' || i FROM range(20000000) r(i)",
           "INSERT INTO child SELECT i, i % 60000, i FROM range(100000, 600000) r(i)",
           "CREATE UNIQUE INDEX files_s ON files (s)",
           "ANALYZE",
       }) {
    Ok("SET query_timeout = '1ms'");
    const int64_t begin = base::SystemClock()->MonotonicNanos();
    EXPECT_EQ(Code(sql), "T4003") << sql;
    EXPECT_LT(base::SystemClock()->MonotonicNanos() - begin, 5'000'000'000) << sql;
    Ok("RESET query_timeout");
    EXPECT_EQ(Answer("SELECT (SELECT sum(v) + count(*) FROM child) + (SELECT count(*) FROM files) "
                     "+ (SELECT count(*) FROM parent)"),
              before)
        << sql;
  }
  EXPECT_EQ(Code("SELECT * FROM copy"), "T2001");
}

TEST_F(SettingsTest, CancelIsT4006AlsoUnderATimeout) {
  Ok("SET query_timeout = '1 hour'");
  std::atomic<bool> done = false;
  std::thread other([&] {
    while (!done) {
      connection_->Cancel();
      base::SystemClock()->SleepMicros(5'000);
    }
  });
  EXPECT_EQ(Code(kEndless), "T4006");
  done = true;
  other.join();
  EXPECT_EQ(Answer("SELECT 42"), "42");
}

TEST_F(SettingsTest, ManySessionsHaveTheirOwnDeadlines) {
  std::vector<std::thread> sessions;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 4; ++i) {
    sessions.emplace_back([&, i] {
      const auto connection = database_->Connect().ValueOrDie();
      for (int round = 0; round < 5; ++round) {
        const std::string limit = std::to_string(5 + 7 * i) + "ms";
        if (!RunOn(*connection, "SET query_timeout = '" + limit + "'").ok()) ++wrong;
        if (CodeOf(RunOn(*connection, kEndless)) != "T4003") ++wrong;
        if (!RunOn(*connection, "RESET query_timeout").ok()) ++wrong;
        if (Answer(*connection, "SELECT 42") != "42") ++wrong;
      }
    });
  }
  for (auto& session : sessions) session.join();
  EXPECT_EQ(wrong, 0);
}

constexpr char kManyGroups[] =
    "SELECT count(*) FROM (SELECT i, max(repeat('x', 50) || i) AS m FROM range(1500000) r(i) "
    "GROUP BY i)";
constexpr char kLongList[] =
    "SELECT len(l) FROM (SELECT list(i::VARCHAR || repeat('x', 1000)) AS l FROM range(200000) "
    "r(i))";

TEST_F(SettingsTest, AMemoryLimitSpillsOrIsT4004) {
  Ok("SET query_max_memory = '48MB'");
  EXPECT_EQ(Answer(kManyGroups), "1500000");
  const Status status = Run(kLongList);
  ASSERT_NE(SqlErrorOf(status), nullptr) << status.ToString();
  EXPECT_EQ(SqlErrorOf(status)->code, "T4004");
  EXPECT_EQ(SqlErrorOf(status)->sqlstate, "53200");
  EXPECT_NE(HintOf(status).find("query_max_memory"), std::string::npos);
  EXPECT_EQ(Answer("SELECT 42"), "42");
  // Higher, lower, none.
  Ok("SET query_max_memory = '2GB'");
  EXPECT_EQ(Answer(kLongList), "200000");
  Ok("SET query_max_memory = '48MB'");
  EXPECT_EQ(Code(kLongList), "T4004");
  Ok("RESET query_max_memory");
  EXPECT_EQ(Answer(kLongList), "200000");
}

TEST_F(SettingsTest, AMemoryLimitIsNotAboveTheDatabases) {
  Ok("SET memory_limit = '64MB'");
  EXPECT_EQ(Code(kLongList), "T4004");
  Ok("SET query_max_memory = '100GB'");
  EXPECT_EQ(Code(kLongList), "T4004");
}

// Temporary tables are the database's; a statement with a limit may read and write them.
TEST_F(SettingsTest, AMemoryLimitIsOfStatementsNotOfTablesInMemory) {
  Ok("CREATE TEMP TABLE before AS SELECT i, repeat('x', 100) || i AS v FROM range(1000000) r(i)");
  Ok("SET query_max_memory = '32MB'");
  EXPECT_EQ(Answer("SELECT count(DISTINCT length(v)) FROM before"), "6");
  Ok("CREATE TEMP TABLE after AS SELECT * FROM before");
  Ok("UPDATE after SET v = i::VARCHAR WHERE i % 2 = 0");
  Ok("RESET query_max_memory");
  EXPECT_EQ(Answer("SELECT count(*) FROM after JOIN before USING (i)"), "1000000");
}

TEST_F(SettingsTest, RowsThatWaitForTheirReaderAreOfTheDatabasesMemory) {
  Ok("PREPARE rows AS SELECT i, repeat('x', 1000) || i AS v FROM range(200000) r(i)");
  Ok("SET memory_limit = '64MB'");
  auto result = connection_->Execute("EXECUTE rows").ValueOrDie();
  int64_t rows = 0;
  int64_t bytes = 0;
  while (result->NextRow().ValueOrDie()) {
    ++rows;
    bytes += static_cast<int64_t>(result->Text(1).size());
  }
  EXPECT_EQ(rows, 200000);
  EXPECT_EQ(bytes, 201088890);
  result.reset();
  // With nowhere to spill to they do not fit.
  const auto database = SqlDatabase::Open("").ValueOrDie();
  const auto other = database->Connect().ValueOrDie();
  for (const char* sql : {"SET temp_directory = ''", "SET memory_limit = '64MB'",
                          "PREPARE rows AS SELECT i, repeat('x', 1000) || i AS v FROM "
                          "range(200000) r(i)"}) {
    const Status status = RunOn(*other, sql);
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  EXPECT_EQ(CodeOf(RunOn(*other, "EXECUTE rows")), "T4004");
}

TEST_F(SettingsTest, SpillFoldersArePrivateAndGoWithTheDatabase) {
  const std::string folder = Answer("SHOW temp_directory");
  struct stat info = {};
  ASSERT_EQ(::stat(folder.c_str(), &info), 0) << folder;
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  const auto parent = std::filesystem::temp_directory_path() / "lamina_settings_test";
  std::filesystem::create_directories(parent);
  Ok("SET temp_directory = '" + parent.string() + "'");
  const std::string own = Answer("SHOW temp_directory");
  EXPECT_EQ(std::filesystem::path(own).parent_path(), parent);
  ASSERT_EQ(::stat(own.c_str(), &info), 0) << own;
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  Ok("SET memory_limit = '64MB'");
  EXPECT_EQ(Answer(kManyGroups), "1500000");
  Ok("SET query_max_memory = '48MB'");
  EXPECT_EQ(Answer(kManyGroups), "1500000");
  EXPECT_EQ(Code("SET temp_directory = '/nosuch/folder'"), "T4010");
  connection_.reset();
  database_.reset();
  EXPECT_FALSE(std::filesystem::exists(folder));
  EXPECT_TRUE(std::filesystem::is_empty(parent));
  std::filesystem::remove_all(parent);
}

TEST_F(SettingsTest, AStrictModeOfAllSessionsReachesTheirPreparedStatements) {
  const auto other = database_->Connect().ValueOrDie();
  ASSERT_TRUE(RunOn(*other, "PREPARE q AS SELECT 1 // 0").ok());
  const auto prepared = other->Prepare("SELECT 1 // 0").ValueOrDie();
  Ok("SET GLOBAL strict_mode = true");
  EXPECT_EQ(CodeOf(RunOn(*other, "EXECUTE q")), "T4001");
  EXPECT_EQ(CodeOf(prepared->Execute().status()), "T4001");
  ASSERT_TRUE(RunOn(*other, "SET strict_mode = false").ok());
  EXPECT_TRUE(prepared->Execute().ok());
  EXPECT_EQ(CodeOf(Run("SELECT 1 // 0")), "T4001");
}

TEST_F(SettingsTest, AFailedExecuteEndsTheTransaction) {
  Ok("CREATE TABLE t (id INTEGER PRIMARY KEY)");
  const auto put = connection_->Prepare("INSERT INTO t VALUES ($1)").ValueOrDie();
  ASSERT_TRUE(put->Execute({1}).ok());
  Ok("BEGIN");
  EXPECT_EQ(CodeOf(put->Execute({1}).status()), "T3003");
  EXPECT_EQ(connection_->transaction_state(), SqlTransactionState::kAborted);
  EXPECT_EQ(CodeOf(put->Execute({2}).status()), "T5003");
  Ok("ROLLBACK");
  Ok("BEGIN");
  EXPECT_FALSE(connection_->Prepare("SELECT nosuch").ok());
  EXPECT_EQ(connection_->transaction_state(), SqlTransactionState::kAborted);
  Ok("ROLLBACK");
}

TEST_F(SettingsTest, StatementsOfTheSessionCanBePrepared) {
  Ok("CREATE TABLE t (id INTEGER PRIMARY KEY)");
  for (const char* sql : {"ANALYZE t", "VACUUM t", "PREPARE q (INTEGER) AS SELECT $1",
                          "SHOW query_timeout", "EXECUTE q('7')", "DEALLOCATE ALL"}) {
    const auto prepared = connection_->Prepare(sql);
    ASSERT_TRUE(prepared.ok()) << sql << prepared.status().ToString();
    EXPECT_EQ((*prepared)->parameter_count(), 0) << sql;
    const auto result = (*prepared)->Execute();
    EXPECT_TRUE(result.ok()) << sql << result.status().ToString();
  }
  EXPECT_EQ(CodeOf(connection_->Prepare("SET errors_as_json = false").status()), "T4009");
}

// Statistics of one snapshot must not decide a plan for another.
TEST_F(SettingsTest, APreparedQueryIsPlannedWithTheStatisticsOfItsSnapshot) {
  Ok("CREATE TABLE t (id INTEGER PRIMARY KEY, g TINYINT)");
  Ok("INSERT INTO t SELECT i, i % 7 FROM range(1000) r(i)");
  Ok("VACUUM t");
  const auto beyond = connection_->Prepare("SELECT count(*) FROM t WHERE g > 7").ValueOrDie();
  const auto answer = [&] {
    const auto result = beyond->Execute().ValueOrDie();
    EXPECT_TRUE(result->NextRow().ValueOrDie());
    return std::string(result->Text(0));
  };
  EXPECT_EQ(answer(), "0");
  Ok("INSERT INTO t VALUES (5000, 100)");
  EXPECT_EQ(answer(), "1");
  Ok("VACUUM t");
  EXPECT_EQ(answer(), "1");
  Ok("DELETE FROM t WHERE g = 100");
  EXPECT_EQ(answer(), "0");
}

// A filter that statistics settle reads nothing: a serializable transaction has to read all the
// same, or two of them could each write what the other looked for.
TEST_F(SettingsTest, StatisticsHideNoReadsOfSerializableTransactions) {
  Ok("CREATE TABLE t (id INTEGER PRIMARY KEY)");
  Ok("CREATE TABLE u (id INTEGER PRIMARY KEY)");
  Ok("INSERT INTO t SELECT i FROM range(100) r(i)");
  Ok("INSERT INTO u SELECT i FROM range(100) r(i)");
  Ok("VACUUM");
  const auto other = database_->Connect().ValueOrDie();
  Ok("BEGIN");
  ASSERT_TRUE(RunOn(*other, "BEGIN").ok());
  EXPECT_EQ(Answer("SELECT count(*) FROM t WHERE id > 1000"), "0");
  EXPECT_EQ(Answer(*other, "SELECT count(*) FROM u WHERE id > 1000"), "0");
  Ok("INSERT INTO u VALUES (2000)");
  ASSERT_TRUE(RunOn(*other, "INSERT INTO t VALUES (2000)").ok());
  const std::string first = Code("COMMIT");
  const std::string second = CodeOf(RunOn(*other, "COMMIT"));
  EXPECT_TRUE(first == "T5001" || second == "T5001") << first << " " << second;
}

TEST(ParseSettingsTest, DurationsAndSizesHaveUnits) {
  EXPECT_EQ(ParseDuration("250"), 250'000);
  EXPECT_EQ(ParseDuration("10ms"), 10'000);
  EXPECT_EQ(ParseDuration(" 1.5 s "), 1'500'000);
  EXPECT_EQ(ParseDuration("1 minute"), 60'000'000);
  EXPECT_EQ(ParseDuration("2 HOURS"), 7'200'000'000);
  EXPECT_EQ(ParseDuration("0"), 0);
  EXPECT_EQ(ParseDuration("0.1us"), 1);
  for (const char* text : {"", "ms", "-1", "1e3", "5 parsecs", "1 2", "999999999999999999999"})
    EXPECT_EQ(ParseDuration(text), std::nullopt) << text;
  EXPECT_EQ(ParseByteSize("64MB"), 64'000'000u);
  EXPECT_EQ(ParseByteSize("1.5 KiB"), 1536u);
  EXPECT_EQ(ParseByteSize("123"), 123u);
  EXPECT_EQ(ParseByteSize("0"), 0u);
  for (const char* text : {"", "MB", "-1MB", "64MBs", "1e9"})
    EXPECT_EQ(ParseByteSize(text), std::nullopt) << text;
}

}  // namespace
}  // namespace lamina::sql
