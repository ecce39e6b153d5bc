// `lamina-slt`: runs sqllogictest files; `lamina-slt --help` and src/slt/README.md say how.
//
// Exit codes: 0 every record as expected; 1 a record was not; 2 wrong usage.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "slt/runner.h"

namespace lamina::slt {
namespace {

namespace fs = std::filesystem;

/// Files as they are, folders as the .test files below them, in order of their names.
std::vector<fs::path> Expand(const std::vector<std::string>& arguments) {
  std::vector<fs::path> out;
  for (const fs::path argument : arguments) {
    if (!fs::is_directory(argument)) {
      out.push_back(argument);
      continue;
    }
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(argument)) {
      if (entry.path().extension() == ".test") found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    out.insert(out.end(), found.begin(), found.end());
  }
  return out;
}

std::string Count(int64_t n, const std::string& what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

int Main(int argc, char** argv) {
  CLI::App app{"Runs sqllogictest files over LaminaDB.", "lamina-slt"};
  std::string directory;
  RunOptions options;
  std::vector<std::string> arguments;
  bool verbose = false;
  app.add_option("--db", directory,
                 "Databases are made in this folder, one a file; default: in memory");
  app.add_option("--restart-every", options.restart_every,
                 "Close and open the database after every N statements, outside transactions");
  app.add_option("--flush-every", options.flush_every, "Flush after every N statements");
  app.add_option("--compact-every", options.compact_every, "Compact after every N statements");
  std::string beside;
  app.add_option("--beside", beside,
                 "Run everything on a plain DuckDB too, which must answer the same")
      ->check(CLI::IsMember({"duckdb"}));
  app.add_flag("--keep-going", options.keep_going, "Go on after a failure");
  app.add_flag("--verbose", verbose, "Name each file, and why files are skipped");
  app.add_option("files", arguments, "Files, or folders of .test files")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }

  options.beside_duckdb = !beside.empty();

  const fs::path scratch =
      fs::temp_directory_path() / fmt::format("lamina-slt-{}", static_cast<int>(getpid()));
  const auto begin = std::chrono::steady_clock::now();
  int64_t files = 0;
  int64_t records = 0;
  int64_t failed = 0;
  int64_t skipped = 0;
  int64_t pending = 0;
  int64_t restarts = 0;
  for (const fs::path& file : Expand(arguments)) {
    std::ifstream in(file, std::ios::binary);
    if (!in) {
      fmt::print(stderr, "lamina-slt: cannot read {}\n", file.string());
      return 2;
    }
    std::stringstream text;
    text << in.rdbuf();
    ++files;
    fs::remove_all(scratch);
    fs::create_directories(scratch);
    options.scratch = scratch.string();
    if (!directory.empty()) {
      fs::create_directories(directory);
      const fs::path database =
          fs::path(directory) / fmt::format("{}-{}.lamina", files, file.stem().string());
      fs::remove_all(database);
      options.database = database.string();
    }
    if (verbose) fmt::print("{}\n", file.string());
    const FileOutcome outcome =
        RunScript(file.string(), text.str(), options, [](const std::string& failure) {
          fmt::print("{}\n", failure);
          std::fflush(stdout);
        });
    records += outcome.records;
    failed += outcome.failed;
    restarts += outcome.restarts;
    if (outcome.pending) {
      ++pending;
    } else if (!outcome.skipped.empty()) {
      ++skipped;
    }
    if (verbose && !outcome.skipped.empty()) fmt::print("  skipped: {}\n", outcome.skipped);
    // The database of a file that failed is kept for a look.
    if (!options.database.empty() && outcome.failed == 0) fs::remove_all(options.database);
    if (outcome.failed > 0 && !options.keep_going) break;
  }
  fs::remove_all(scratch);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  fmt::print("{}, {}: {} failed, {} skipped, {} pending, {}; {:.1f} s\n", Count(files, "file"),
             Count(records, "record"), failed, skipped, pending, Count(restarts, "restart"),
             took.count());
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace lamina::slt

int main(int argc, char** argv) { return lamina::slt::Main(argc, argv); }
