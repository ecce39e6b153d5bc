// Values of sequences: their arithmetic, many sessions at once, a crash, a clean end.
#include "sql/sequence.h"

#include <filesystem>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "lamina/connection.h"

namespace lamina::sql {
namespace {

std::vector<int64_t> Take(const SequenceRule& rule, int64_t wanted, SequencePosition* position) {
  std::vector<int64_t> out;
  const auto run = TakeRun(rule, wanted, position);
  if (!run.has_value()) return out;
  for (int64_t i = 0; i < run->count; ++i) out.push_back(run->first + i * rule.increment);
  return out;
}
using Values = std::vector<int64_t>;

TEST(SequenceTest, ARunEndsAtTheEndOfTheNumbersOrOfTheRound) {
  {
    SequencePosition at{.next = INT64_MAX - 1};
    const SequenceRule rule;
    EXPECT_EQ(Take(rule, 5, &at), (Values{INT64_MAX - 1, INT64_MAX}));
    EXPECT_EQ(at.last, INT64_MAX);
    EXPECT_FALSE(at.next.has_value());
    EXPECT_EQ(Take(rule, 5, &at), Values{});
  }
  {
    SequencePosition at{.next = 5};
    const SequenceRule rule{.start = 5, .increment = 3, .min = 2, .max = 12, .cycle = true};
    EXPECT_EQ(Take(rule, 2, &at), (Values{5, 8}));
    EXPECT_EQ(Take(rule, 9, &at), (Values{11}));
    EXPECT_EQ(Take(rule, 9, &at), (Values{2, 5, 8, 11}));
    EXPECT_EQ(at.blocks, 3);
  }
  {
    SequencePosition at{.next = INT64_MAX};
    const SequenceRule rule{.start = INT64_MAX,
                            .increment = INT64_MIN,
                            .min = INT64_MIN,
                            .max = INT64_MAX,
                            .cycle = false};
    EXPECT_EQ(Take(rule, 9, &at), (Values{INT64_MAX, -1}));
    EXPECT_FALSE(at.next.has_value());
  }
  {
    SequencePosition at{.next = 7};
    const SequenceRule rule{.start = 7, .increment = INT64_MAX, .min = 1, .max = 9, .cycle = true};
    EXPECT_EQ(Take(rule, 9, &at), (Values{7}));
    EXPECT_EQ(Take(rule, 1, &at), (Values{1}));
  }
}

class SequenceDatabaseTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() /
            ("lamina_sequence_test_" +
             std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(path_);
    sql_ = SqlDatabase::Open(path_).ValueOrDie();
  }
  void TearDown() override {
    sql_ = nullptr;
    std::filesystem::remove_all(path_);
    std::filesystem::remove_all(path_.string() + "_copy");
  }

  static int64_t Number(Connection& connection, const std::string& query) {
    auto rows = connection.Execute(query).ValueOrDie();
    EXPECT_TRUE(rows->NextRow().ValueOrDie());
    return std::stoll(std::string(rows->Text(0)));
  }

  std::filesystem::path path_;
  std::shared_ptr<SqlDatabase> sql_;
};

TEST_F(SequenceDatabaseTest, ManySessionsNeverGetTheSameValue) {
  ASSERT_TRUE(sql_->Connect().ValueOrDie()->Execute("CREATE SEQUENCE s").ok());
  // Two SQL layers over one database, as two programs in one process might have.
  const auto other =
      SqlDatabase::Over(std::shared_ptr<Database>(sql_, &sql_->database())).ValueOrDie();
  constexpr int kThreads = 6;
  constexpr int kCalls = 200;
  std::vector<std::vector<int64_t>> given(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const auto connection = (t % 2 == 0 ? sql_ : other)->Connect().ValueOrDie();
      for (int i = 0; i < kCalls; ++i)
        given[static_cast<size_t>(t)].push_back(Number(*connection, "SELECT nextval('s')"));
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<int64_t> all;
  for (const auto& of : given) {
    EXPECT_TRUE(std::is_sorted(of.begin(), of.end()));
    all.insert(of.begin(), of.end());
  }
  EXPECT_EQ(all.size(), size_t{kThreads} * kCalls);
}

TEST_F(SequenceDatabaseTest, ACrashLeavesAGapAndGivesNothingTwice) {
  const auto connection = sql_->Connect().ValueOrDie();
  ASSERT_TRUE(connection->Execute("CREATE SEQUENCE s").ok());
  EXPECT_EQ(Number(*connection, "SELECT max(nextval('s')) FROM range(5)"), 5);
  // The files as they lie now are what a kill would leave.
  const std::string copy = path_.string() + "_copy";
  std::filesystem::copy(path_, copy, std::filesystem::copy_options::recursive);
  {
    const auto after = SqlDatabase::Open(copy).ValueOrDie();
    const auto session = after->Connect().ValueOrDie();
    EXPECT_EQ(Number(*session, "SELECT last_value FROM duckdb_sequences()"), kSequenceBlock);
    EXPECT_EQ(Number(*session, "SELECT nextval('s')"), kSequenceBlock + 1);
  }
  EXPECT_EQ(Number(*connection, "SELECT nextval('s')"), 6);
}

TEST_F(SequenceDatabaseTest, ACleanEndLeavesNoGapUnlessAnotherHasTakenABlock) {
  auto connection = sql_->Connect().ValueOrDie();
  ASSERT_TRUE(connection->Execute("CREATE SEQUENCE s").ok());
  // A type that DuckDB is asked for.
  ASSERT_TRUE(connection->Execute("CREATE TABLE t (e ENUM('a'), u UUID)").ok());
  EXPECT_EQ(Number(*connection, "SELECT nextval('s')"), 1);
  connection = nullptr;
  sql_ = nullptr;
  sql_ = SqlDatabase::Open(path_).ValueOrDie();
  connection = sql_->Connect().ValueOrDie();
  EXPECT_EQ(Number(*connection, "SELECT last_value FROM duckdb_sequences()"), 1);
  EXPECT_EQ(Number(*connection, "SELECT nextval('s')"), 2);
  {
    const auto other =
        SqlDatabase::Over(std::shared_ptr<Database>(sql_, &sql_->database())).ValueOrDie();
    EXPECT_EQ(Number(*other->Connect().ValueOrDie(), "SELECT nextval('s')"), 2 + kSequenceBlock);
  }
  connection = nullptr;
  sql_ = nullptr;  // its own block lies before the other's: what is left of it is a gap
  sql_ = SqlDatabase::Open(path_).ValueOrDie();
  EXPECT_EQ(Number(*sql_->Connect().ValueOrDie(), "SELECT nextval('s')"), 3 + kSequenceBlock);
}

TEST_F(SequenceDatabaseTest, AReadOnlyDatabaseGivesNoValues) {
  ASSERT_TRUE(sql_->Connect().ValueOrDie()->Execute("CREATE SEQUENCE s").ok());
  sql_ = nullptr;
  DatabaseOptions options;
  options.read_only = true;
  sql_ = SqlDatabase::Open(path_, options).ValueOrDie();
  const auto connection = sql_->Connect().ValueOrDie();
  const auto refused = connection->Execute("SELECT nextval('s')");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(SqlErrorOf(refused.status())->code, "T5007");
  EXPECT_TRUE(connection->Execute("SELECT * FROM duckdb_sequences()").ok());
}

}  // namespace
}  // namespace lamina::sql
