// The fuzz targets without a fuzzer: every seed, every input that once crashed one, and some
// thousand small changes of them, in the ordinary tests. What libFuzzer finds beyond them is
// `make fuzz`.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/random.h"
#include "testing/fuzz_target.h"

namespace lamina {
namespace {

namespace fs = std::filesystem;

// What is being run, for the one who looks at an abort.
char current_input[512] = "";

void NameInput(int signal) {
  // Only calls that a signal handler may make.
  static constexpr char kText[] = "\nfuzz input: ";
  static_cast<void>(!write(STDERR_FILENO, kText, sizeof(kText) - 1));
  static_cast<void>(!write(STDERR_FILENO, current_input, strnlen(current_input, 512)));
  static_cast<void>(!write(STDERR_FILENO, "\n", 1));
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

class Replay : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = fs::temp_directory_path() / fmt::format("lamina-replay-{}", getpid());
    const char* source = std::getenv("LAMINA_SOURCE");
    ASSERT_NE(source, nullptr) << "run it with ctest";
    const std::string command =
        fmt::format("python3 '{}/tools/fuzz_seeds.py' '{}'", source, folder_.string());
    ASSERT_EQ(std::system(command.c_str()), 0);
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      seeds_[entry.path().parent_path().filename()][entry.path().filename()] = {
          std::istreambuf_iterator<char>(file), {}};
    }
    std::signal(SIGABRT, NameInput);
    // What the commands print is not looked at.
    std::fflush(stdout);
    stdout_ = dup(STDOUT_FILENO);
  }
  static void TearDownTestSuite() {
    std::signal(SIGABRT, SIG_DFL);
    close(stdout_);
    fs::remove_all(folder_);
  }

  static void Run(const testing::FuzzTarget& target, const std::string& what,
                  const std::string& bytes) {
    fmt::format_to_n(current_input, sizeof(current_input) - 1, "{} {}", target.name, what);
    const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDOUT_FILENO);
    const int result = target.run(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    std::fflush(stdout);
    dup2(stdout_, STDOUT_FILENO);
    close(null);
    EXPECT_EQ(result, 0);
  }

  static inline fs::path folder_;
  static inline int stdout_ = -1;
  static inline std::map<std::string, std::map<std::string, std::string>> seeds_;
};

TEST_F(Replay, EveryTargetHasSeedsAndEverySeedHasATarget) {
  std::vector<std::string> targets, seeded;
  for (const auto& target : testing::FuzzTargets()) targets.emplace_back(target.name);
  std::sort(targets.begin(), targets.end());
  for (const auto& [name, _] : seeds_) seeded.push_back(name);
  EXPECT_EQ(targets, seeded);
  EXPECT_GE(targets.size(), 12u);
}

TEST_F(Replay, EverySeedAndTheEmptyInputPass) {
  for (const auto& target : testing::FuzzTargets()) {
    Run(target, "(empty)", "");
    for (const auto& [name, bytes] : seeds_[target.name]) Run(target, name, bytes);
  }
}

TEST_F(Replay, SmallChangesOfSeedsPass) {
  for (const auto& target : testing::FuzzTargets()) {
    // One database a run: slower than the others by far.
    const std::string_view name_of_target = target.name;
    const bool slow = name_of_target == "csv_ingest_fuzz" || name_of_target == "sql_fuzz";
    const int rounds = slow ? 20 : 600;
    for (const auto& [name, seed] : seeds_[target.name]) {
      base::Random random(base::Crc32c(target.name) + uint64_t{base::Crc32c(name)});
      for (int round = 0; round < rounds; ++round) {
        std::string bytes = seed;
        const uint64_t changes = 1 + random.Uniform(4);
        for (uint64_t i = 0; i < changes && !bytes.empty(); ++i) {
          const size_t at = random.Uniform(bytes.size());
          switch (random.Uniform(4)) {
            case 0:
              bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.Uniform(8)));
              break;
            case 1:
              bytes[at] = static_cast<char>(random.Uniform(256));
              break;
            case 2:
              bytes.resize(at);
              break;
            default:
              bytes.insert(at, 1, bytes[random.Uniform(bytes.size())]);
          }
        }
        Run(target, fmt::format("{} changed, round {}", name, round), bytes);
      }
    }
  }
}

}  // namespace
}  // namespace lamina
