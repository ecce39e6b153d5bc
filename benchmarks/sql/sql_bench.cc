// Statements of a few keys beside SQLite and DuckDB, in one process, turn by turn: `make
// bench-sql`.
//
// 100,000 rows (id BIGINT key, name, balance); every engine keeps them in a file or directory of
// its own. SQLite: prepared statements, WAL, synchronous = NORMAL; DuckDB: as it comes; LaminaDB:
// as it comes (the log is synced at intervals, like SQLite's NORMAL). Each round runs every engine
// once; figures are medians over the statements of all rounds. Targets are ratios to SQLite.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sqlite3.h>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <arrow/result.h>
#include <duckdb.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "lamina/connection.h"

namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr int64_t kRows = 100'000;
constexpr int64_t kSmallRows = 100;

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "error: %s\n", what.c_str());
  std::exit(1);
}
template <typename T>
T Must(lamina::Result<T> result) {
  if (!result.ok()) Die(result.status().ToString());
  return *std::move(result);
}

/// A key for the i-th statement: all over the table, the same for every engine.
int64_t KeyOf(int64_t i) { return i * 7919 % kRows; }

class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::string name() const = 0;
  virtual std::string settings() const = 0;
  virtual void Load() = 0;
  /// Each consumes every value of its rows, and gives their number.
  virtual int64_t PreparedPoint(int64_t key) = 0;
  virtual int64_t AdHocPoint(int64_t key) = 0;
  virtual int64_t Range(int64_t first) = 0;
  virtual int64_t WholeSmall() = 0;
  virtual void Insert(int64_t key) = 0;
  virtual void Update(int64_t key) = 0;
};

class SqliteEngine final : public Engine {
 public:
  explicit SqliteEngine(const std::string& file) {
    if (sqlite3_open(file.c_str(), &db_) != SQLITE_OK) Die("SQLite does not open");
    Do("PRAGMA journal_mode = WAL");
    Do("PRAGMA synchronous = NORMAL");
  }
  ~SqliteEngine() override {
    for (auto& [sql, statement] : prepared_) sqlite3_finalize(statement);
    sqlite3_close(db_);
  }
  std::string name() const override { return "SQLite"; }
  std::string settings() const override {
    return fmt::format("{} WAL, synchronous=NORMAL", sqlite3_libversion());
  }
  void Load() override {
    for (const char* table : {"t", "s"})
      Do(fmt::format("CREATE TABLE {} (id INTEGER PRIMARY KEY, name TEXT, balance REAL)", table));
    Do("BEGIN");
    for (int64_t i = 0; i < kRows; ++i)
      Do(fmt::format("INSERT INTO t VALUES ({}, 'name {}', {}.5)", i, i, i));
    for (int64_t i = 0; i < kSmallRows; ++i)
      Do(fmt::format("INSERT INTO s VALUES ({}, 'name {}', {}.5)", i, i, i));
    Do("COMMIT");
  }
  int64_t PreparedPoint(int64_t key) override {
    return Run("SELECT id, name, balance FROM t WHERE id = ?", {key});
  }
  int64_t AdHocPoint(int64_t key) override {
    sqlite3_stmt* statement =
        Prepare(fmt::format("SELECT id, name, balance FROM t WHERE id = {}", key));
    const int64_t out = Step(statement);
    sqlite3_finalize(statement);
    return out;
  }
  int64_t Range(int64_t first) override {
    return Run("SELECT id, name, balance FROM t WHERE id >= ? AND id < ?", {first, first + 100});
  }
  int64_t WholeSmall() override { return Run("SELECT id, name, balance FROM s", {}); }
  void Insert(int64_t key) override { Run("INSERT INTO t VALUES (?, 'a new name', 1.5)", {key}); }
  void Update(int64_t key) override {
    Run("UPDATE t SET balance = balance + 1 WHERE id = ?", {key});
  }

 private:
  sqlite3_stmt* Prepare(const std::string& sql) {
    sqlite3_stmt* out = nullptr;
    if (sqlite3_prepare_v2(db_, sql.c_str(), -1, &out, nullptr) != SQLITE_OK)
      Die(sqlite3_errmsg(db_));
    return out;
  }
  int64_t Step(sqlite3_stmt* statement) {
    int64_t rows = 0;
    for (;;) {
      const int code = sqlite3_step(statement);
      if (code == SQLITE_DONE) return rows;
      if (code != SQLITE_ROW) Die(sqlite3_errmsg(db_));
      ++rows;
      sum_ += sqlite3_column_int64(statement, 0) + sqlite3_column_text(statement, 1)[0] +
              static_cast<int64_t>(sqlite3_column_double(statement, 2));
    }
  }
  int64_t Run(const char* sql, std::initializer_list<int64_t> values) {
    sqlite3_stmt*& statement = prepared_[sql];
    if (statement == nullptr) statement = Prepare(sql);
    int at = 0;
    for (const int64_t value : values) sqlite3_bind_int64(statement, ++at, value);
    const int64_t out = Step(statement);
    sqlite3_reset(statement);
    return out;
  }
  void Do(const std::string& sql) {
    if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
      Die(sqlite3_errmsg(db_));
  }

  sqlite3* db_ = nullptr;
  std::map<const char*, sqlite3_stmt*> prepared_;
  int64_t sum_ = 0;
};

class DuckEngine final : public Engine {
 public:
  explicit DuckEngine(const std::string& file) : db_(file), connection_(db_) {}
  std::string name() const override { return "DuckDB"; }
  std::string settings() const override {
    return std::string(duckdb::DuckDB::LibraryVersion()) + " as it comes";
  }
  void Load() override {
    for (const char* table : {"t", "s"})
      Do(fmt::format("CREATE TABLE {} (id BIGINT PRIMARY KEY, name VARCHAR, balance DOUBLE)",
                     table));
    Do(fmt::format("INSERT INTO t SELECT range, 'name ' || range, range + 0.5 FROM range({})",
                   kRows));
    Do(fmt::format("INSERT INTO s SELECT range, 'name ' || range, range + 0.5 FROM range({})",
                   kSmallRows));
  }
  int64_t PreparedPoint(int64_t key) override {
    return Run("SELECT id, name, balance FROM t WHERE id = $1", {duckdb::Value::BIGINT(key)});
  }
  int64_t AdHocPoint(int64_t key) override {
    return Sum(
        *connection_.Query(fmt::format("SELECT id, name, balance FROM t WHERE id = {}", key)));
  }
  int64_t Range(int64_t first) override {
    return Run("SELECT id, name, balance FROM t WHERE id >= $1 AND id < $2",
               {duckdb::Value::BIGINT(first), duckdb::Value::BIGINT(first + 100)});
  }
  int64_t WholeSmall() override { return Run("SELECT id, name, balance FROM s", {}); }
  void Insert(int64_t key) override {
    Run("INSERT INTO t VALUES ($1, 'a new name', 1.5)", {duckdb::Value::BIGINT(key)});
  }
  void Update(int64_t key) override {
    Run("UPDATE t SET balance = balance + 1 WHERE id = $1", {duckdb::Value::BIGINT(key)});
  }

 private:
  int64_t Sum(duckdb::QueryResult& result) {
    if (result.HasError()) Die(result.GetError());
    int64_t rows = 0;
    while (auto chunk = result.Fetch()) {
      rows += static_cast<int64_t>(chunk->size());
      for (duckdb::idx_t i = 0; i < chunk->size() && chunk->ColumnCount() == 3; ++i)
        sum_ += chunk->GetValue(0, i).GetValue<int64_t>();
    }
    return rows;
  }
  int64_t Run(const char* sql, duckdb::vector<duckdb::Value> values) {
    auto& statement = prepared_[sql];
    if (statement == nullptr) statement = connection_.Prepare(std::string(sql));
    return Sum(*statement->Execute(values, false));
  }
  void Do(const std::string& sql) {
    const auto result = connection_.Query(sql);
    if (result->HasError()) Die(result->GetError());
  }

  duckdb::DuckDB db_;
  duckdb::Connection connection_;
  std::map<const char*, duckdb::unique_ptr<duckdb::PreparedStatement>> prepared_;
  int64_t sum_ = 0;
};

class LaminaEngine final : public Engine {
 public:
  explicit LaminaEngine(const std::string& dir)
      : sql_(Must(lamina::SqlDatabase::Open(dir))), connection_(Must(sql_->Connect())) {}
  std::string name() const override { return "LaminaDB"; }
  std::string settings() const override { return "as it comes"; }
  void Load() override {
    for (const char* table : {"t", "s"})
      Do(fmt::format("CREATE TABLE {} (id BIGINT PRIMARY KEY, name VARCHAR, balance DOUBLE)",
                     table));
    Do(fmt::format("INSERT INTO t SELECT range, 'name ' || range, range + 0.5 FROM range({})",
                   kRows));
    Do(fmt::format("INSERT INTO s SELECT range, 'name ' || range, range + 0.5 FROM range({})",
                   kSmallRows));
    loaded_ = sql_->database().newest_commit().value;
  }
  int64_t PreparedPoint(int64_t key) override {
    return Run("SELECT id, name, balance FROM t WHERE id = $1", {key});
  }
  int64_t AdHocPoint(int64_t key) override {
    const auto result = Must(
        connection_->Execute(fmt::format("SELECT id, name, balance FROM t WHERE id = {}", key)));
    return Sum(*result);
  }
  int64_t Range(int64_t first) override {
    return Run("SELECT id, name, balance FROM t WHERE id >= $1 AND id < $2", {first, first + 100});
  }
  int64_t WholeSmall() override { return Run("SELECT id, name, balance FROM s", {}); }
  void Insert(int64_t key) override { Run("INSERT INTO t VALUES ($1, 'a new name', 1.5)", {key}); }
  void Update(int64_t key) override {
    Run("UPDATE t SET balance = balance + 1 WHERE id = $1", {key});
  }
  int64_t PointAsOf(int64_t key) {
    if (as_of_.empty())
      as_of_ = fmt::format("SELECT id, name, balance FROM t AS OF {} WHERE id = $1", loaded_);
    return Run(as_of_.c_str(), {key});
  }
  int64_t RangeAsOf(int64_t first) {
    if (range_as_of_.empty())
      range_as_of_ = fmt::format(
          "SELECT id, name, balance FROM t AS OF {} WHERE id >= $1 AND id < $2", loaded_);
    return Run(range_as_of_.c_str(), {first, first + 100});
  }
  lamina::SqlDatabase& sql() { return *sql_; }

 private:
  int64_t Sum(lamina::SqlResult& result) {
    int64_t rows = 0;
    while (Must(result.NextRow())) {
      ++rows;
      if (result.columns().size() != 3) continue;
      sum_ += std::get<int64_t>(result.Value(0).value()) + result.Text(1)[0] +
              static_cast<int64_t>(std::get<double>(result.Value(2).value()));
    }
    return rows;
  }
  int64_t Run(const char* sql, std::initializer_list<int64_t> values) {
    auto& statement = prepared_[sql];
    if (statement == nullptr) statement = Must(connection_->Prepare(sql));
    lamina::SqlParameters parameters;
    for (const int64_t value : values) parameters.emplace_back(value);
    return Sum(*Must(statement->Execute(parameters)));
  }
  void Do(const std::string& sql) { (void)Must(connection_->Execute(sql)); }

  std::shared_ptr<lamina::SqlDatabase> sql_;
  std::unique_ptr<lamina::Connection> connection_;
  std::map<std::string, std::unique_ptr<lamina::SqlStatement>> prepared_;
  uint64_t loaded_ = 0;
  std::string as_of_, range_as_of_;
  int64_t sum_ = 0;
};

struct Row {
  std::string what;
  double target = 0;  ///< Most, as a ratio to SQLite; 0: none.
  std::map<std::string, std::vector<double>> micros = {};

  double Median(const std::string& engine, double part = 0.5) const {
    const auto it = micros.find(engine);
    if (it == micros.end() || it->second.empty()) return 0;
    auto sorted = it->second;
    std::sort(sorted.begin(), sorted.end());
    return sorted[std::min(sorted.size() - 1,
                           static_cast<size_t>(part * static_cast<double>(sorted.size())))];
  }
};

void Time(Row* row, const std::string& engine, int count, const std::function<void(int)>& one) {
  auto& out = row->micros[engine];
  for (int i = 0; i < count; ++i) {
    const auto start = Clock::now();
    one(i);
    out.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  }
}

/// Point SELECTs a second with `threads` connections.
double PointRate(lamina::SqlDatabase& sql, int threads, int each) {
  std::vector<std::thread> running;
  const auto start = Clock::now();
  for (int t = 0; t < threads; ++t) {
    running.emplace_back([&sql, t, each] {
      const auto connection = Must(sql.Connect());
      const auto statement =
          Must(connection->Prepare("SELECT id, name, balance FROM t WHERE id = $1"));
      for (int i = 0; i < each; ++i) {
        const auto result = Must(statement->Execute({KeyOf(i * 31 + t)}));
        while (Must(result->NextRow())) {
        }
      }
    });
  }
  for (auto& thread : running) thread.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return threads * each / seconds;
}

std::string Load() {
  std::ifstream file("/proc/loadavg");
  std::string out;
  std::getline(file, out);
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Statements of a few keys beside SQLite and DuckDB"};
  std::string dir = "bench-sql";
  std::string json_file;
  int rounds = 5;
  int count = 400;
  app.add_option("--dir", dir, "Folder for the databases; emptied first")->capture_default_str();
  app.add_option("--json", json_file, "Write the figures here, too");
  app.add_option("--rounds", rounds, "How often every engine has its turn")->capture_default_str();
  app.add_option("--count", count, "Statements of each kind and turn")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  std::filesystem::remove_all(dir);
  std::filesystem::create_directories(dir);

  const std::string load_before = Load();
  auto lamina = std::make_unique<LaminaEngine>(dir + "/lamina");
  LaminaEngine& ours = *lamina;
  std::vector<std::unique_ptr<Engine>> engines;
  engines.push_back(std::make_unique<SqliteEngine>(dir + "/sqlite.db"));
  engines.push_back(std::make_unique<DuckEngine>(dir + "/duck.db"));
  engines.push_back(std::move(lamina));
  for (const auto& engine : engines) {
    std::printf("loading %s (%s)\n", engine->name().c_str(), engine->settings().c_str());
    engine->Load();
  }

  std::vector<Row> rows = {{"point SELECT, prepared", 0.7}, {"point SELECT, ad hoc", 1.0},
                           {"100 rows by key range", 0.5},  {"whole table of 100 rows", 0.5},
                           {"INSERT, autocommit", 0.6},     {"UPDATE by key", 0.8},
                           {"point SELECT AS OF"},          {"100 rows AS OF"}};
  int64_t next = kRows;
  for (int round = 0; round < rounds; ++round) {
    std::printf("round %d of %d\n", round + 1, rounds);
    std::fflush(stdout);
    const int64_t new_keys = next;
    next += count;
    for (const auto& engine : engines) {
      const std::string name = engine->name();
      const auto expect = [&](int64_t found, int64_t rows_expected) {
        if (found != rows_expected)
          Die(fmt::format("{} found {} rows instead of {}", name, found, rows_expected));
      };
      const auto key = [&](int i) { return KeyOf(round * 1000 + i); };
      Time(&rows[0], name, count, [&](int i) { expect(engine->PreparedPoint(key(i)), 1); });
      Time(&rows[1], name, count, [&](int i) { expect(engine->AdHocPoint(key(i)), 1); });
      Time(&rows[2], name, count,
           [&](int i) { expect(engine->Range(key(i) % (kRows - 100)), 100); });
      Time(&rows[3], name, count, [&](int) { expect(engine->WholeSmall(), kSmallRows); });
      Time(&rows[4], name, count, [&](int i) { engine->Insert(new_keys + i); });
      Time(&rows[5], name, count, [&](int i) { engine->Update(key(i)); });
      if (engine.get() != &ours) continue;
      Time(&rows[6], name, count, [&](int i) { expect(ours.PointAsOf(key(i)), 1); });
      Time(&rows[7], name, count,
           [&](int i) { expect(ours.RangeAsOf(key(i) % (kRows - 100)), 100); });
    }
  }
  const double one = PointRate(ours.sql(), 1, count * rounds);
  const double two = PointRate(ours.sql(), 2, count * rounds);

  json out = {{"rows", kRows},
              {"rounds", rounds},
              {"count", count},
              {"load_before", load_before},
              {"load_after", Load()}};
  for (const auto& engine : engines) out["engines"][engine->name()] = engine->settings();
  std::printf("\n%-26s %10s %10s %10s %10s %8s %8s\n", "median µs", "SQLite", "DuckDB", "LaminaDB",
              "p99", "ratio", "target");
  for (const Row& row : rows) {
    const double theirs = row.Median("SQLite");
    const double mine = row.Median("LaminaDB");
    const Row& current = row.what == "point SELECT AS OF" ? rows[0] : rows[2];
    const double base = theirs > 0 ? theirs : current.Median("LaminaDB");
    const double target = theirs > 0 ? row.target : 1.5;
    const std::string at_most = fmt::format("{:.2f}{}", target, theirs > 0 ? "" : " *");
    std::printf("%-26s %10.1f %10.1f %10.1f %10.1f %8.2f %8s%s\n", row.what.c_str(), theirs,
                row.Median("DuckDB"), mine, row.Median("LaminaDB", 0.99), mine / base,
                at_most.c_str(), mine / base <= target ? "" : "  missed");
    out["figures"].push_back({{"what", row.what},
                              {"sqlite_us", theirs},
                              {"duckdb_us", row.Median("DuckDB")},
                              {"lamina_us", mine},
                              {"lamina_p99_us", row.Median("LaminaDB", 0.99)},
                              {"ratio", mine / base},
                              {"target", target}});
  }
  std::printf("%-26s %10s %10s %10.2f %10s %8.2f %8s%s\n", "two threads to one", "", "", two / one,
              "", two / one, "1.70 +", two / one >= 1.7 ? "" : "  missed");
  out["two_threads"] = two / one;
  std::printf("  * to the same SELECT of now; + at least. Load before: %s; after: %s\n",
              load_before.c_str(), Load().c_str());
  if (!json_file.empty()) std::ofstream(json_file) << out.dump(2) << "\n";
  return 0;
}
