// TPC-H over our tables beside DuckDB's own reader over the same Parquet files: same process, same
// library, same threads, query by query in turn. `make bench`; --help lists the options.
//
//   load     COPY of the generator's files in, and the time in which DuckDB writes lineitem again
//   queries  the 22, answers compared row by row
//   changed  the same after updates and deletes of a tenth of lineitem and orders in 100
//            transactions, beside DuckDB over files of what is left
//   memory   the peak of a process that runs the 22 and nothing else, of either
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <arrow/result.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "lamina/connection.h"

namespace {

using lamina::Connection;
using lamina::Result;
using lamina::SqlDatabase;
using lamina::Status;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr const char* kTables[] = {"region", "nation",   "supplier", "customer",
                                   "part",   "partsupp", "orders",   "lineitem"};
constexpr int64_t kChanges = 100;     // transactions
constexpr int64_t kPartChanged = 10;  // one of so many rows

struct Settings {
  std::string dir, data, folder, json_file;
  std::string only;  // "lamina" or "files": run the queries on these alone, for the peak of memory
  int repeat = 3;
};

double Seconds(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::vector<std::string> ReadStatements(const std::string& path) {
  std::vector<std::string> out;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (!line.empty() && !line.starts_with("--")) out.push_back(line);
  return out;
}

/// The rows as text; floats to ten digits, as sums are made in any order.
Result<std::vector<std::string>> Run(Connection* connection, const std::string& sql) {
  ARROW_ASSIGN_OR_RAISE(auto result, connection->Execute(sql));
  std::vector<std::string> rows;
  for (;;) {
    ARROW_ASSIGN_OR_RAISE(const bool more, result->NextRow());
    if (!more) return rows;
    std::string row;
    for (size_t i = 0; i < result->columns().size(); ++i) {
      const int column = static_cast<int>(i);
      row += result->columns()[i].type == "DOUBLE"
                 ? fmt::format("{:.10g}",
                               std::strtod(std::string(result->Text(column)).c_str(), nullptr))
                 : std::string(result->Text(column));
      row += '|';
    }
    rows.push_back(std::move(row));
  }
}

Result<double> Timed(Connection* connection, const std::string& sql) {
  const auto start = Clock::now();
  ARROW_RETURN_NOT_OK(Run(connection, sql).status());
  return Seconds(start);
}

/// Views of the tables' names over Parquet files, in a schema of their own.
Status MakeViews(Connection* connection, const std::string& folder) {
  ARROW_RETURN_NOT_OK(connection->Execute("CREATE SCHEMA IF NOT EXISTS files").status());
  for (const char* table : kTables) {
    ARROW_RETURN_NOT_OK(connection
                            ->Execute(fmt::format("CREATE OR REPLACE VIEW files.{} AS FROM "
                                                  "read_parquet('{}/{}.parquet')",
                                                  table, folder, table))
                            .status());
  }
  return Status::OK();
}

Result<json> Load(const Settings& settings, SqlDatabase* db) {
  ARROW_ASSIGN_OR_RAISE(auto connection, db->Connect());
  for (const std::string& sql : ReadStatements(settings.folder + "/schema.sql"))
    ARROW_RETURN_NOT_OK(connection->Execute(sql).status());
  json out;
  double total = 0;
  for (const char* table : kTables) {
    ARROW_ASSIGN_OR_RAISE(const double seconds,
                          Timed(connection.get(), fmt::format("COPY {0} FROM '{1}/{0}.parquet'",
                                                              table, settings.data)));
    out[table] = seconds;
    total += seconds;
  }
  const std::string again = settings.dir + ".lineitem.parquet";
  ARROW_ASSIGN_OR_RAISE(
      const double peer,
      Timed(connection.get(), fmt::format("COPY (FROM read_parquet('{}/lineitem.parquet')) TO '{}'",
                                          settings.data, again)));
  std::filesystem::remove(again);
  out["duckdb_writes_lineitem"] = peer;
  out["ratio"] = out["lineitem"].get<double>() / peer;
  fmt::print(
      "load      all {:.1f} s   lineitem {:.2f} s   DuckDB writes it in {:.2f} s   {:.2f}x\n",
      total, out["lineitem"].get<double>(), peer, out["ratio"].get<double>());
  ARROW_ASSIGN_OR_RAISE(const double flush, Timed(connection.get(), "CHECKPOINT"));
  out["checkpoint"] = flush;
  // Else it would run beside the queries.
  const auto start = Clock::now();
  ARROW_RETURN_NOT_OK(db->database().Compact());
  out["compact"] = Seconds(start);
  fmt::print("load      flush {:.1f} s   compaction {:.1f} s\n", flush, Seconds(start));
  return out;
}

double Median(std::vector<double> of) {
  std::sort(of.begin(), of.end());
  return of[of.size() / 2];
}

Result<json> Queries(const Settings& settings, SqlDatabase* db, const char* name) {
  ARROW_ASSIGN_OR_RAISE(auto ours, db->Connect());
  ARROW_ASSIGN_OR_RAISE(auto files, db->Connect());
  ARROW_RETURN_NOT_OK(files->Execute("SET schema = 'files'").status());
  json out;
  double sum_ours = 0, sum_files = 0;
  int number = 0;
  for (const std::string& sql : ReadStatements(settings.folder + "/queries.sql")) {
    ++number;
    ARROW_ASSIGN_OR_RAISE(const auto expected, Run(files.get(), sql));
    ARROW_ASSIGN_OR_RAISE(const auto actual, Run(ours.get(), sql));
    if (actual != expected) {
      return lamina::MakeError(
          lamina::ErrorCode::kInternal,
          fmt::format("query {} differs: {} rows, expected {}; first: {} | {}", number,
                      actual.size(), expected.size(), actual.empty() ? "" : actual[0],
                      expected.empty() ? "" : expected[0]));
    }
    std::vector<double> of_ours, of_files;
    for (int i = 0; i < settings.repeat; ++i) {
      ARROW_ASSIGN_OR_RAISE(const double theirs, Timed(files.get(), sql));
      ARROW_ASSIGN_OR_RAISE(const double mine, Timed(ours.get(), sql));
      of_files.push_back(theirs);
      of_ours.push_back(mine);
    }
    const double mine = Median(of_ours), theirs = Median(of_files);
    sum_ours += mine;
    sum_files += theirs;
    out["queries"].push_back({{"query", number}, {"lamina", mine}, {"duckdb", theirs}});
    fmt::print("{:<9} Q{:02}  lamina {:7.1f} ms   DuckDB on Parquet {:7.1f} ms   {:.2f}x\n", name,
               number, mine * 1e3, theirs * 1e3, mine / theirs);
    std::fflush(stdout);
  }
  out["lamina"] = sum_ours;
  out["duckdb"] = sum_files;
  out["ratio"] = sum_ours / sum_files;
  fmt::print("{:<9} all  lamina {:7.1f} ms   DuckDB on Parquet {:7.1f} ms   {:.2f}x\n", name,
             sum_ours * 1e3, sum_files * 1e3, sum_ours / sum_files);
  return out;
}

/// Half of the transactions update, half delete, each a range of orders with their lines.
Result<double> Change(SqlDatabase* db) {
  ARROW_ASSIGN_OR_RAISE(auto connection, db->Connect());
  ARROW_ASSIGN_OR_RAISE(const auto newest,
                        Run(connection.get(), "SELECT max(o_orderkey) FROM orders"));
  const int64_t step = std::strtoll(newest[0].c_str(), nullptr, 10) / kChanges;
  const auto start = Clock::now();
  for (int64_t i = 0; i < kChanges; ++i) {
    ARROW_RETURN_NOT_OK(connection->Execute("BEGIN").status());
    for (const char* sql :
         i % 2 == 0
             ? std::vector{"UPDATE lineitem SET l_quantity = l_quantity + 1 WHERE l_orderkey "
                           "BETWEEN $1 AND $2",
                           "UPDATE orders SET o_totalprice = o_totalprice + 1 WHERE o_orderkey "
                           "BETWEEN $1 AND $2"}
             : std::vector{"DELETE FROM lineitem WHERE l_orderkey BETWEEN $1 AND $2",
                           "DELETE FROM orders WHERE o_orderkey BETWEEN $1 AND $2"}) {
      ARROW_RETURN_NOT_OK(
          connection->Execute(sql, {i * step, i * step + step / kPartChanged}).status());
    }
    ARROW_RETURN_NOT_OK(connection->Execute("COMMIT").status());
  }
  ARROW_RETURN_NOT_OK(connection->Execute("CHECKPOINT").status());
  return Seconds(start);
}

/// The peak of a process of its own, in MB.
Result<double> PeakOf(const Settings& settings, const std::string& only) {
  const pid_t child = fork();
  if (child < 0) return lamina::MakeError(lamina::ErrorCode::kUnavailable, "fork failed");
  if (child == 0) {
    execl("/proc/self/exe", "tpch_bench", "--dir", settings.dir.c_str(), "--data",
          settings.data.c_str(), "--folder", settings.folder.c_str(), "--only", only.c_str(),
          static_cast<char*>(nullptr));
    _exit(127);
  }
  int status = 0;
  rusage usage{};
  if (wait4(child, &status, 0, &usage) != child || status != 0)
    return lamina::MakeError(lamina::ErrorCode::kInternal, "the run of " + only + " failed");
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

Status RunOnly(const Settings& settings) {
  ARROW_ASSIGN_OR_RAISE(auto db, SqlDatabase::Open(settings.dir));
  ARROW_ASSIGN_OR_RAISE(auto connection, db->Connect());
  if (settings.only == "files")
    ARROW_RETURN_NOT_OK(connection->Execute("SET schema = 'files'").status());
  for (const std::string& sql : ReadStatements(settings.folder + "/queries.sql"))
    ARROW_RETURN_NOT_OK(Run(connection.get(), sql).status());
  return Status::OK();
}

Status RunAll(const Settings& settings) {
  std::filesystem::remove_all(settings.dir);
  json out;
  {
    ARROW_ASSIGN_OR_RAISE(auto db, SqlDatabase::Open(settings.dir));
    ARROW_ASSIGN_OR_RAISE(out["load"], Load(settings, db.get()));
    {
      ARROW_ASSIGN_OR_RAISE(auto connection, db->Connect());
      ARROW_RETURN_NOT_OK(MakeViews(connection.get(), settings.data));
    }
    ARROW_ASSIGN_OR_RAISE(out["queries"], Queries(settings, db.get(), "queries"));
  }
  ARROW_ASSIGN_OR_RAISE(const double of_ours, PeakOf(settings, "lamina"));
  ARROW_ASSIGN_OR_RAISE(const double of_files, PeakOf(settings, "files"));
  out["memory"] = {{"lamina", of_ours}, {"duckdb", of_files}, {"ratio", of_ours / of_files}};
  fmt::print("memory    lamina {:.0f} MB   DuckDB on Parquet {:.0f} MB   {:.2f}x\n", of_ours,
             of_files, of_ours / of_files);

  const std::string left = settings.dir + ".left";
  {
    ARROW_ASSIGN_OR_RAISE(auto db, SqlDatabase::Open(settings.dir));
    ARROW_ASSIGN_OR_RAISE(const double seconds, Change(db.get()));
    out["change_seconds"] = seconds;
    fmt::print("change    {} transactions in {:.1f} s\n", kChanges, seconds);
    std::filesystem::create_directories(left);
    ARROW_ASSIGN_OR_RAISE(auto connection, db->Connect());
    for (const char* table : kTables) {
      ARROW_RETURN_NOT_OK(
          connection->Execute(fmt::format("COPY {0} TO '{1}/{0}.parquet'", table, left)).status());
    }
    ARROW_RETURN_NOT_OK(MakeViews(connection.get(), left));
    ARROW_ASSIGN_OR_RAISE(out["changed"], Queries(settings, db.get(), "changed"));
  }
  std::filesystem::remove_all(left);
  std::filesystem::remove_all(settings.dir);
  if (!settings.json_file.empty()) std::ofstream(settings.json_file) << out.dump(2) << "\n";
  return Status::OK();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("TPC-H over LaminaDB's tables, beside DuckDB on the same Parquet files");
  Settings settings;
  app.add_option("--dir", settings.dir, "Where the database is made")->required();
  app.add_option("--data", settings.data, "Folder with the eight tables as TABLE.parquet")
      ->required();
  app.add_option("--folder", settings.folder, "Folder with schema.sql and queries.sql")->required();
  app.add_option("--repeat", settings.repeat, "Runs of each query; the median counts")
      ->check(CLI::Range(1, 1000));
  app.add_option("--json", settings.json_file, "Write the figures there");
  app.add_option("--only", settings.only, "Run the queries on an existing database, once")
      ->check(CLI::IsMember({"lamina", "files"}));
  CLI11_PARSE(app, argc, argv);
  const Status status = settings.only.empty() ? RunAll(settings) : RunOnly(settings);
  if (status.ok()) return 0;
  fmt::print(stderr, "error: {}\n", status.ToString());
  return 1;
}
