// Indexes, UNIQUE and foreign keys: kept in step with their rows, also between transactions that do
// not see each other.
#include <atomic>
#include <filesystem>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "base/random.h"
#include "lamina/connection.h"
#include "sql/dependents.h"

namespace lamina {
namespace {

Status Execute(Connection& connection, const std::string& sql) {
  return connection.ExecuteAll(sql, [](SqlResult&) { return Status::OK(); });
}

std::string CodeOfError(const Status& status) {
  if (status.ok()) return "ok";
  const SqlError* error = SqlErrorOf(status);
  return error == nullptr ? status.ToString() : error->code;
}

std::string Rows(Connection& connection, const std::string& sql) {
  const auto result = connection.Execute(sql);
  if (!result.ok()) return result.status().ToString();
  std::string out;
  for (;;) {
    const auto more = (*result)->NextRow();
    if (!more.ok()) return more.status().ToString();
    if (!*more) return out;
    if (!out.empty()) out += ';';
    for (size_t i = 0; i < (*result)->columns().size(); ++i) {
      if (i > 0) out += ',';
      const int column = static_cast<int>(i);
      out += (*result)->IsNull(column) ? "NULL" : std::string((*result)->Text(column));
    }
  }
}

class ConstraintsTest : public testing::Test {
 protected:
  void SetUp() override {
    sql_ = SqlDatabase::Open("").ValueOrDie();
    one_ = sql_->Connect().ValueOrDie();
    two_ = sql_->Connect().ValueOrDie();
  }
  void Do(const std::string& sql) { Do(*one_, sql); }
  static void Do(Connection& connection, const std::string& sql) {
    const Status status = Execute(connection, sql);
    ASSERT_TRUE(status.ok()) << sql << ": " << status.ToString();
  }
  std::string Fails(const std::string& sql) { return CodeOfError(Execute(*one_, sql)); }

  /// Both begin, do theirs, and commit in this order; what each of the four steps gave, or "ok".
  std::string Race(const std::string& isolation, const std::string& first,
                   const std::string& second) {
    Do(*one_, "BEGIN ISOLATION LEVEL " + isolation);
    Do(*two_, "BEGIN ISOLATION LEVEL " + isolation);
    // The snapshot is taken by the first statement.
    EXPECT_EQ(Rows(*one_, "SELECT 1 FROM p LIMIT 0"), "");
    EXPECT_EQ(Rows(*two_, "SELECT 1 FROM p LIMIT 0"), "");
    std::string out;
    for (const auto& [connection, sql] : {std::pair{one_.get(), first},
                                          {two_.get(), second},
                                          {one_.get(), std::string("COMMIT")},
                                          {two_.get(), std::string("COMMIT")}}) {
      if (!out.empty()) out += ' ';
      out += CodeOfError(Execute(*connection, sql));
    }
    return out;
  }

  /// Rows of the hidden tables, as the database has them.
  std::map<std::string, int64_t> IndexSizes() {
    std::map<std::string, int64_t> out;
    for (const TableInfo& table : sql_->database().ListTables()) {
      if (!table.name.starts_with(sql::kIndexTablePrefix)) continue;
      const auto reader = sql_->database().Scan(table.name).ValueOrDie();
      int64_t rows = 0;
      for (;;) {
        const auto batch = reader->Next().ValueOrDie();
        if (batch == nullptr) break;
        rows += batch->num_rows();
      }
      out[table.name] = rows;
    }
    return out;
  }

  std::shared_ptr<SqlDatabase> sql_;
  std::unique_ptr<Connection> one_, two_;
};

const char* const kIsolations[] = {"SERIALIZABLE", "SNAPSHOT"};

TEST_F(ConstraintsTest, OfTwoTransactionsWithOneUniqueValueTheSecondIsAConflict) {
  for (const std::string isolation : kIsolations) {
    SCOPED_TRACE(isolation);
    Do("CREATE OR REPLACE TABLE p (id INT PRIMARY KEY, u TEXT UNIQUE)");
    EXPECT_EQ(Race(isolation, "INSERT INTO p VALUES (1, 'x')", "INSERT INTO p VALUES (2, 'x')"),
              "ok ok ok T5001");
    EXPECT_EQ(Rows(*one_, "SELECT id, u FROM p"), "1,x");
    EXPECT_EQ(Race(isolation, "INSERT INTO p VALUES (3, 'y')", "UPDATE p SET u = 'y' WHERE id = 1"),
              "ok ok ok T5001");
    // Others do not meet, NULLs neither.
    EXPECT_EQ(Race(isolation, "INSERT INTO p VALUES (4, 'z')", "INSERT INTO p VALUES (5, 'w')"),
              "ok ok ok ok");
    EXPECT_EQ(Race(isolation, "INSERT INTO p VALUES (6, NULL)", "INSERT INTO p VALUES (7, NULL)"),
              "ok ok ok ok");
  }
}

TEST_F(ConstraintsTest, AValueGivenUpInOneTransactionIsTakenInAnotherOnlyAfterIt) {
  Do("CREATE TABLE p (id INT PRIMARY KEY, u TEXT UNIQUE); INSERT INTO p VALUES (1, 'x')");
  EXPECT_EQ(Race("SNAPSHOT", "DELETE FROM p WHERE id = 1", "INSERT INTO p VALUES (2, 'x')"),
            "ok T3002 ok ok");  // the second COMMIT is a rollback
  EXPECT_EQ(Rows(*one_, "SELECT * FROM p"), "");
  Do("INSERT INTO p VALUES (2, 'x')");
}

TEST_F(ConstraintsTest, AParentThatIsDeletedWhileAChildComesIsAConflictInEitherOrder) {
  for (const std::string isolation : kIsolations) {
    SCOPED_TRACE(isolation);
    Do("DROP TABLE IF EXISTS c; DROP TABLE IF EXISTS p");
    Do("CREATE TABLE p (id INT PRIMARY KEY, u INT UNIQUE); "
       "CREATE TABLE c (id INT PRIMARY KEY, p INT REFERENCES p (id), u INT REFERENCES p (u)); "
       "INSERT INTO p VALUES (1, 10), (2, 20), (3, 30), (4, 40), (5, 50)");
    EXPECT_EQ(Race(isolation, "DELETE FROM p WHERE id = 1", "INSERT INTO c VALUES (1, 1, NULL)"),
              "ok ok ok T5001");
    EXPECT_EQ(Race(isolation, "INSERT INTO c VALUES (2, 2, NULL)", "DELETE FROM p WHERE id = 2"),
              "ok ok ok T5001");
    EXPECT_EQ(
        Race(isolation, "UPDATE p SET u = 31 WHERE id = 3", "INSERT INTO c VALUES (3, NULL, 30)"),
        "ok ok ok T5001");
    EXPECT_EQ(Race(isolation, "UPDATE c SET u = 40 WHERE id = 2", "DELETE FROM p WHERE id = 4"),
              "ok ok ok T5001");
    EXPECT_EQ(Race(isolation, "DELETE FROM p WHERE id = 5", "INSERT INTO c VALUES (4, 3, NULL)"),
              "ok ok ok ok");
    EXPECT_EQ(Rows(*one_, "SELECT * FROM c ORDER BY id"), "2,2,40;4,3,NULL");
    EXPECT_EQ(Rows(*one_, "SELECT * FROM p ORDER BY id"), "2,20;3,31;4,40");
  }
}

TEST_F(ConstraintsTest, NobodyWritesPastAnIndexOrForeignKeyThatIsMadeMeanwhile) {
  for (const std::string isolation : kIsolations) {
    SCOPED_TRACE(isolation);
    Do("DROP TABLE IF EXISTS c; DROP TABLE IF EXISTS p");
    Do("CREATE TABLE p (id INT PRIMARY KEY, a INT); INSERT INTO p VALUES (1, 1)");
    EXPECT_EQ(Race(isolation, "CREATE INDEX pa ON p (a)", "INSERT INTO p VALUES (2, 2)"),
              "ok ok ok T5001");
    EXPECT_EQ(Race(isolation, "INSERT INTO p VALUES (2, 2)", "CREATE UNIQUE INDEX pu ON p (a)"),
              "ok ok ok T5001");
    EXPECT_EQ(Race(isolation, "DROP INDEX pa", "INSERT INTO p VALUES (3, 3)"), "ok ok ok T5001");
    EXPECT_EQ(Race(isolation, "CREATE TABLE c (p INT REFERENCES p (id)); INSERT INTO c VALUES (1)",
                   "DELETE FROM p WHERE id = 1"),
              "ok ok ok T5001");
    EXPECT_EQ(Race(isolation, "DELETE FROM p WHERE id = 2",
                   "CREATE TABLE d (p INT REFERENCES p (id)); INSERT INTO d VALUES (2)"),
              "ok ok ok T5001");
    EXPECT_EQ(Rows(*one_, "SELECT * FROM p"), "1,1");
  }
}

TEST_F(ConstraintsTest, ManyThreadsNeverShareAUniqueValueNorLeaveAnOrphan) {
  Do("CREATE TABLE p (id INT PRIMARY KEY, u INT UNIQUE); "
     "CREATE TABLE c (id INT PRIMARY KEY, p INT REFERENCES p (id)); CREATE INDEX cp ON c (p)");
  constexpr int kThreads = 4;
  constexpr int kSteps = 150;
  std::atomic<int> done{0};
  std::vector<std::thread> threads;
  std::vector<std::string> surprises(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const auto connection = sql_->Connect().ValueOrDie();
      base::Random random(static_cast<uint64_t>(t) + 1);
      for (int i = 0; i < kSteps; ++i) {
        const std::string value = std::to_string(random.Uniform(6));
        const std::string id = std::to_string(t * kSteps + i);
        const char* const isolation = kIsolations[random.Uniform(2)];
        std::string sql;
        switch (random.Uniform(5)) {
          case 0:
            sql = "INSERT INTO p VALUES (" + value + ", " + std::to_string(random.Uniform(6)) + ")";
            break;
          case 1:
            sql = "DELETE FROM p WHERE id = " + value;
            break;
          case 2:
            sql = "INSERT INTO c VALUES (" + id + ", " + value + ")";
            break;
          case 3:
            sql = "DELETE FROM c WHERE p = " + value;
            break;
          default:
            sql = "UPDATE p SET u = " + value + " WHERE id = " + std::to_string(random.Uniform(6));
        }
        Status status = Execute(*connection, std::string("BEGIN ISOLATION LEVEL ") + isolation);
        if (status.ok()) status = Execute(*connection, sql);
        const Status end = Execute(*connection, "COMMIT");
        if (status.ok()) status = end;
        const std::string code = CodeOfError(status);
        if (code == "ok") ++done;
        if (code != "ok" && code != "T5001" && code != "T3002" && code != "T3003" &&
            code != "T3005")
          surprises[static_cast<size_t>(t)] = sql + ": " + status.ToString();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const std::string& surprise : surprises) EXPECT_EQ(surprise, "");
  EXPECT_GT(done.load(), kSteps / 2);
  EXPECT_EQ(Rows(*one_, "SELECT u FROM p GROUP BY u HAVING count(*) > 1"), "");
  EXPECT_EQ(Rows(*one_, "SELECT * FROM c WHERE p NOT IN (SELECT id FROM p)"), "");
  const std::string parents = Rows(*one_, "SELECT count(*) FROM p");
  const std::string children = Rows(*one_, "SELECT count(*) FROM c");
  std::multiset<std::string> sizes;
  for (const auto& [name, rows] : IndexSizes()) sizes.insert(std::to_string(rows));
  EXPECT_EQ(sizes, (std::multiset<std::string>{parents, children, children}));
}

TEST_F(ConstraintsTest, OtherInterfacesReadATableWithIndexesAndDoNotWriteIt) {
  Do("CREATE TABLE t (id BIGINT PRIMARY KEY, a BIGINT); INSERT INTO t VALUES (1, 1); "
     "CREATE INDEX ta ON t (a)");
  Database& database = sql_->database();
  const auto row = database.Get("t", {Lit(1)}).ValueOrDie();
  ASSERT_EQ(row->num_rows(), 1);
  EXPECT_EQ(CodeOf(database.Put("t", row).status()), ErrorCode::kUnsupported);
  EXPECT_EQ(CodeOf(database.Delete("t", row).status()), ErrorCode::kUnsupported);
  EXPECT_EQ(CodeOf(database.DropColumn("t", "a")), ErrorCode::kUnsupported);
  for (const auto& [name, rows] : IndexSizes())
    EXPECT_EQ(CodeOf(database.DropTable(name)), ErrorCode::kUnsupported);
  Do("DROP INDEX ta");
  EXPECT_TRUE(database.Put("t", row).ok());
}

TEST_F(ConstraintsTest, ActionsHoldWhateverWayTheTableWasMade) {
  Do("CREATE TABLE p (id INT PRIMARY KEY); INSERT INTO p VALUES (1), (2), (3), (4)");
  Do("SELECT 1; CREATE TABLE c (p INT REFERENCES p (id) ON DELETE CASCADE); SELECT 2");
  const auto made =
      one_->Prepare("CREATE TABLE d (x INT REFERENCES p (id) ON UPDATE SET NULL)").ValueOrDie();
  ASSERT_TRUE(made->Execute({}).ok());
  Do("INSERT INTO c VALUES (1), (2); INSERT INTO d VALUES (3), (4)");
  Do("DELETE FROM p WHERE id = 1; UPDATE p SET id = 30 WHERE id = 3");
  EXPECT_EQ(Rows(*one_, "SELECT * FROM c"), "2");
  EXPECT_EQ(Rows(*one_, "SELECT * FROM d ORDER BY 1"), "4;NULL");
  EXPECT_EQ(Fails("DELETE FROM p WHERE id = 4"), "T3005");
  // Of a transaction that is a conflict, nothing is left.
  EXPECT_EQ(Race("SNAPSHOT", "DELETE FROM p WHERE id = 2", "INSERT INTO c VALUES (2)"),
            "ok ok ok T5001");
  EXPECT_EQ(Rows(*one_, "SELECT * FROM c"), "");
}

TEST_F(ConstraintsTest, ALongChainOfActionsIsNoDeepRecursion) {
  Do("CREATE TABLE p (id INT PRIMARY KEY, next INT REFERENCES p (id) ON DELETE CASCADE); "
     "INSERT INTO p SELECT i, nullif(i - 1, -1) FROM range(3000) r(i)");
  Do("DELETE FROM p WHERE id = 0");
  EXPECT_EQ(Rows(*one_, "SELECT count(*) FROM p"), "0");
}

TEST_F(ConstraintsTest, DroppingATableLeavesNothingOfItsIndexesBehind) {
  Do("CREATE TABLE p (id INT PRIMARY KEY, a INT UNIQUE); CREATE INDEX pa ON p (id, a); "
     "CREATE TABLE c (p INT REFERENCES p (id), q INT REFERENCES p (a))");
  EXPECT_EQ(IndexSizes().size(), 4u);
  EXPECT_EQ(Fails("DROP TABLE p"), "T2013");
  Do("DROP TABLE p CASCADE");
  EXPECT_EQ(IndexSizes().size(), 0u);
  Do("INSERT INTO c VALUES (1, 1)");
  EXPECT_EQ(Rows(*one_, "SELECT count(*) FROM duckdb_constraints()"), "0");
  EXPECT_EQ(Rows(*one_, "SELECT count(*) FROM duckdb_indexes()"), "0");
  // Nothing depends on c any more.
  EXPECT_TRUE(sql_->database().DropColumn("c", "q").ok());
}

/// The same statements on a table with indexes and on one without must leave the same rows, and the
/// same answers to everything that an index could serve.
void CompareWithAPlainTable(uint64_t seed, bool keyed, const std::string& path) {
  SCOPED_TRACE(::testing::Message() << "seed " << seed << (keyed ? ", keyed" : ", without a key"));
  if (!path.empty()) std::filesystem::remove_all(path);
  auto sql = SqlDatabase::Open(path).ValueOrDie();
  auto connection = sql->Connect().ValueOrDie();
  base::Random random(seed);
  const std::string id = keyed ? "id INT PRIMARY KEY" : "id INT";
  for (const std::string table : {"plain", "indexed"}) {
    ASSERT_TRUE(
        Execute(*connection, "CREATE TABLE " + table + " (" + id + ", a INT, b TEXT, d DOUBLE)")
            .ok());
  }
  const std::vector<std::string> indexes = {"ON indexed (a)", "ON indexed (b, a)", "ON indexed (d)",
                                            "ON indexed (a, d, b)"};
  const auto a = [&] {
    return random.Uniform(8) == 0 ? "NULL" : std::to_string(random.Uniform(7));
  };
  const auto b = [&]() -> std::string {
    static const char* const kTexts[] = {"''", "'x'", "'x' || chr(0)", "'xy'", "NULL", "'y/'"};
    return kTexts[random.Uniform(6)];
  };
  const auto d = [&]() -> std::string {
    static const char* const kNumbers[] = {"'nan'", "-0.0", "0.0", "1e300", "'-inf'", "NULL"};
    return std::string(kNumbers[random.Uniform(6)]) + "::DOUBLE";
  };
  const auto pick = [&] { return std::to_string(random.Uniform(40)); };
  const auto where = [&]() -> std::string {
    switch (random.Uniform(11)) {
      case 0:
        return "a = " + a();
      case 1:
        return "a IN (" + a() + ", " + a() + ", " + a() + ")";
      case 2:
        return "a BETWEEN " + a() + " AND " + a();
      case 3:
        return "b = " + b();
      case 4:
        return "b = " + b() + " AND a >= " + a();
      case 5:
        return "b IS NULL AND a < " + a();
      case 6:
        return "d = " + d();
      case 7:
        return "d > " + d();
      case 8:
        return "a = " + a() + " AND d <= " + d();
      case 9:
        return "(a = " + a() + " OR a = " + a() + ") AND id < " + pick();
      default:
        return "id = " + pick();
    }
  };
  int made = 0;
  for (int step = 0; step < 120; ++step) {
    std::string of;  // with $ for the table
    const std::string row = a() + ", " + b() + ", " + d();
    switch (random.Uniform(12)) {
      case 0:
      case 1:
      case 2:
        of = "INSERT INTO $ VALUES (" + pick() + ", " + row + ")";
        break;
      case 3:
        of = "INSERT INTO $ SELECT i, i % 7, 'x', i FROM range(" + pick() + ") r(i)" +
             (keyed ? " ON CONFLICT DO NOTHING" : "");
        break;
      case 4:
        of = "UPDATE $ SET a = " + a() + " WHERE " + where();
        break;
      case 5:
        of = "UPDATE $ SET b = " + b() + ", d = " + d() + " WHERE " + where();
        break;
      case 6:
        of = "UPDATE $ SET id = id + 40 WHERE " + where();
        break;
      case 7:
        of = "DELETE FROM $ WHERE " + where();
        break;
      case 8:
        of = "MERGE INTO $ USING (SELECT " + pick() + " AS id, " + a() +
             " AS a) s ON $.id = s.id WHEN MATCHED AND $.a = 1 THEN DELETE WHEN MATCHED THEN "
             "UPDATE SET a = s.a WHEN NOT MATCHED THEN INSERT (id, a) VALUES (s.id, s.a)";
        break;
      case 9:
        of = keyed ? "INSERT INTO $ VALUES (" + pick() + ", " + row +
                         ") ON CONFLICT (id) DO UPDATE SET a = EXCLUDED.a, b = $.b || 'x'"
                   : "DELETE FROM $ WHERE id < 3";
        break;
      case 10:
        if (made < static_cast<int>(indexes.size())) {
          ASSERT_TRUE(Execute(*connection, "CREATE INDEX i" + std::to_string(made) + " " +
                                               indexes[static_cast<size_t>(made)])
                          .ok());
          ++made;
        }
        continue;
      default:
        switch (random.Uniform(4)) {
          case 0:
            ASSERT_TRUE(sql->database().Flush().ok());
            break;
          case 1:
            ASSERT_TRUE(sql->database().Compact().ok());
            break;
          case 2:
            if (path.empty()) break;
            connection = nullptr;
            sql = nullptr;
            sql = SqlDatabase::Open(path).ValueOrDie();
            connection = sql->Connect().ValueOrDie();
            break;
          default: {
            // What is taken back leaves no entries.
            ASSERT_TRUE(Execute(*connection, "BEGIN; SAVEPOINT s").ok());
            for (const std::string table : {"plain", "indexed"}) {
              (void)Execute(*connection, "DELETE FROM " + table + " WHERE a = 1");
              (void)Execute(*connection, "INSERT INTO " + table + " (id, a) VALUES (1000, 1)");
            }
            ASSERT_TRUE(Execute(*connection, "ROLLBACK TO s").ok());
            ASSERT_TRUE(Execute(*connection, "COMMIT").ok());
          }
        }
        continue;
    }
    std::string codes[2];
    for (int t = 0; t < 2; ++t) {
      std::string text = of;
      for (size_t at; (at = text.find('$')) != std::string::npos;)
        text.replace(at, 1, t == 0 ? "plain" : "indexed");
      codes[t] = CodeOfError(Execute(*connection, text));
    }
    ASSERT_EQ(codes[0], codes[1]) << of;
    for (int query = 0; query < 3; ++query) {
      const std::string condition = where();
      const auto ask = [&](const std::string& table) {
        return Rows(*connection,
                    "SELECT * FROM " + table + " WHERE " + condition + " ORDER BY ALL");
      };
      ASSERT_EQ(ask("indexed"), ask("plain")) << "step " << step << ": " << of << "\n" << condition;
    }
  }
  EXPECT_EQ(Rows(*connection, "SELECT * FROM indexed ORDER BY ALL"),
            Rows(*connection, "SELECT * FROM plain ORDER BY ALL"));
  const std::string rows = Rows(*connection, "SELECT count(*) FROM indexed");
  for (const TableInfo& table : sql->database().ListTables()) {
    if (!table.name.starts_with(sql::kIndexTablePrefix)) continue;
    const auto reader = sql->database().Scan(table.name).ValueOrDie();
    int64_t entries = 0;
    for (;;) {
      const auto batch = reader->Next().ValueOrDie();
      if (batch == nullptr) break;
      entries += batch->num_rows();
    }
    EXPECT_EQ(std::to_string(entries), rows) << table.name;
  }
  EXPECT_EQ(sql->database().Check().ValueOrDie(), std::vector<std::string>());
}

TEST_F(ConstraintsTest, RowsThatAreLoadedAndADeleteOfWhatTheyReferToExcludeEachOther) {
  Do("CREATE TABLE p (id INT PRIMARY KEY); INSERT INTO p SELECT i FROM range(10) r(i)");
  Do("CREATE TABLE c (id INT PRIMARY KEY, p INT REFERENCES p)");
  const std::string load = "INSERT INTO c SELECT i, i % 10 FROM range(110000) r(i)";
  // The delete saw no row that refers to its own; the load came first.
  Do(*two_, "BEGIN; DELETE FROM p WHERE id = 5");
  Do(load);
  EXPECT_EQ(CodeOfError(Execute(*two_, "COMMIT")), "T5001");
  EXPECT_EQ(Rows(*one_, "SELECT count(*) FROM p"), "10");
  EXPECT_EQ(CodeOfError(Execute(*two_, "DELETE FROM p WHERE id = 5")), "T3005");

  // The delete comes first, while the load is under way: run again, the load sees it.
  Do("DELETE FROM c");
  bool deleted = false;
  one_->SetProgressCallback([&](const SqlProgress&) {
    if (!deleted) Do(*two_, "DELETE FROM p WHERE id = 7");
    return deleted = true;
  });
  // Long enough for a look at the progress.
  const std::string slow =
      "INSERT INTO c SELECT i, i % 10 FROM range(110000) r(i) WHERE md5(repeat('x', 800 + i % 2)) "
      "IS NOT NULL";
  const std::string outcome = CodeOfError(Execute(*one_, slow));
  EXPECT_EQ(outcome, deleted ? "T3005" : "ok");
  one_->SetProgressCallback(nullptr);
  EXPECT_EQ(Rows(*one_, "SELECT count(*) FROM c WHERE p NOT IN (SELECT id FROM p)"), "0");
}

TEST_F(ConstraintsTest, RowsThatAreLoadedAndOthersWithTheSameValuesExcludeEachOther) {
  Do("CREATE TABLE p (id INT PRIMARY KEY, u INT UNIQUE)");
  Do(*two_, "BEGIN; INSERT INTO p VALUES (-1, 500)");
  Do("INSERT INTO p SELECT i, i FROM range(110000) r(i)");
  EXPECT_EQ(CodeOfError(Execute(*two_, "COMMIT")), "T5001");
  EXPECT_EQ(Rows(*one_, "SELECT id FROM p WHERE u = 500"), "500");
  for (const auto& [table, entries] : IndexSizes()) EXPECT_EQ(entries, 110000) << table;
  EXPECT_EQ(sql_->database().Check().ValueOrDie(), std::vector<std::string>());
}

TEST_F(ConstraintsTest, AnIndexOverManyRowsThatWereValidForATimeOnlyAnswersAsTheyDo) {
  Do("CREATE TABLE p (id INT PRIMARY KEY, n INT); INSERT INTO p SELECT i, i % 100 FROM "
     "range(110000) "
     "r(i)");
  auto batch = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("id", arrow::int32(), false), arrow::field("n", arrow::int32())}),
      1,
      {arrow::MakeArrayFromScalar(arrow::Int32Scalar(200000), 1).ValueOrDie(),
       arrow::MakeArrayFromScalar(arrow::Int32Scalar(7), 1).ValueOrDie()});
  // Not valid any more.
  ASSERT_TRUE(sql_->database().Put("p", batch, {.valid = {ValidTime{0}, ValidTime{1000}}}).ok());
  Do("CREATE INDEX n ON p (n)");
  EXPECT_EQ(Rows(*one_, "SELECT count(*) FROM p WHERE n = 7"), "1100");
  for (const auto& [table, entries] : IndexSizes()) EXPECT_EQ(entries, 110000) << table;
}

TEST(IndexRandomTest, ATableWithIndexesAnswersAsOneWithout) {
  for (uint64_t seed = 1; seed <= 8; ++seed) CompareWithAPlainTable(seed, seed % 2 == 0, "");
}

TEST(IndexRandomTest, ATableWithIndexesAnswersAsOneWithoutOverReopens) {
  const auto path = std::filesystem::temp_directory_path() / "lamina_sql_constraints_test";
  for (uint64_t seed = 100; seed < 103; ++seed)
    CompareWithAPlainTable(seed, seed % 2 == 0, path.string());
  std::filesystem::remove_all(path);
}

}  // namespace
}  // namespace lamina
