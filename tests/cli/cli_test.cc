// The program as people meet it: what it prints, its exit codes, and that the commands in README.md
// and docs/guide/ do what these pages say. Starts $LAMINA_CLI.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <stop_token>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "lamina/database.h"

namespace lamina {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

struct Answer {
  int code = -1;
  std::string out, err;
};

/// Moments of today and blanks at the end are not what a page promises.
std::string Normalized(const std::string& line) {
  static const std::regex kNow("20[0-9-]{8} [0-9:]{8}\\.[0-9]{6}Z");
  static const std::regex kAxis("^ +20[0-9-]{8} [0-9:]{8} ┤");
  auto out = std::regex_replace(std::regex_replace(line, kNow, "…"), kAxis, "… ┤");
  out.erase(out.find_last_not_of(' ') + 1);
  return out;
}

class CliTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / fmt::format("lamina-cli-{}", getpid());
    fs::remove_all(directory_);
    fs::create_directories(directory_ / "bin");
    const char* program = std::getenv("LAMINA_CLI");
    ASSERT_NE(program, nullptr);
    fs::create_symlink(program, directory_ / "bin/lamina");
  }
  void TearDown() override { fs::remove_all(directory_); }

  void Write(const std::string& name, const std::string& content) const {
    std::ofstream(directory_ / name, std::ios::binary) << content;
  }
  /// A shell command in the test's own folder.
  Answer Shell(const std::string& command) const {
    Write("script", command);
    const int status = std::system(
        fmt::format("cd '{}' && PATH=\"$PWD/bin:$PATH\" bash script >out 2>err </dev/null",
                    directory_.string())
            .c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            ReadFile(directory_ / "out"), ReadFile(directory_ / "err")};
  }
  /// The error of a command that fails; "" when it does not.
  std::string Error(const std::string& command) const { return Shell(command).err; }

  fs::path directory_;
};

TEST_F(CliTest, CommandsOfReadmeAndGuideDoWhatThePagesSay) {
  const fs::path source = std::getenv("LAMINA_SOURCE");
  std::vector<fs::path> pages = {source / "README.md"};
  for (const auto& entry : fs::directory_iterator(source / "docs/guide")) {
    if (entry.path().extension() == ".md") pages.push_back(entry.path());
  }
  int commands = 0;
  for (const auto& page : pages) {
    SCOPED_TRACE(page.filename());
    // One folder a page: its commands build on each other. "# file NAME" begins a file's content.
    for (const auto& entry : fs::directory_iterator(directory_)) {
      if (entry.path().filename() != "bin") fs::remove_all(entry.path());
    }
    bool fence = false;
    std::string file, content;
    std::vector<std::pair<std::string, std::vector<std::string>>> steps;
    for (const auto& line : Lines(ReadFile(page))) {
      if (line.starts_with("```")) {
        if (fence && !file.empty()) Write(file, content);
        fence = line == "```console" || line.starts_with("```csv ");
        file = line.starts_with("```csv ") ? line.substr(7) : "";
        content.clear();
      } else if (fence && !file.empty()) {
        content += line + "\n";
      } else if (fence && line.starts_with("$ ")) {
        steps.push_back({line.substr(2), {}});
      } else if (fence && !steps.empty()) {
        steps.back().second.push_back(line);
      }
    }
    for (const auto& [command, expected] : steps) {
      SCOPED_TRACE(command);
      const auto answer = Shell(command);
      ++commands;
      if (expected.empty()) {
        EXPECT_EQ(answer.code, 0) << answer.err;
        continue;
      }
      const auto actual = Lines(answer.out + answer.err);
      ASSERT_EQ(actual.size(), expected.size()) << answer.out << answer.err;
      for (size_t i = 0; i < actual.size(); ++i) {
        // "…" stands for what differs from run to run.
        size_t at = 0;
        bool equal = true;
        const std::string line = Normalized(actual[i]);
        std::string rest = Normalized(expected[i]);
        for (bool first = true; equal; first = false) {
          const size_t dots = rest.find("…");
          const std::string part = rest.substr(0, dots);
          const size_t found = line.find(part, at);
          equal = found != std::string::npos && (!first || found == 0);
          at = found + part.size();
          if (dots == std::string::npos) {
            equal = equal && (part.empty() || line.ends_with(part));
            break;
          }
          rest = rest.substr(dots + std::string("…").size());
        }
        EXPECT_TRUE(equal) << "expected: " << expected[i] << "\nactual:   " << actual[i];
      }
    }
  }
  EXPECT_GE(commands, 12);
}

TEST_F(CliTest, CsvKeepsQuotesLineEndsAndWideText) {
  Write("t.csv",
        "\xEF\xBB\xBFid,text,huge\r\n1,\"a \"\"b\"\"\nc\",99999999999999999999\r\n2,日本 😀,1\r\n"
        "3,\"\",\r\n");
  ASSERT_EQ(Shell("lamina ingest t t.csv --key id").code, 0);
  EXPECT_EQ(Shell("lamina scan t --json").out,
            "{\"id\":1,\"text\":\"a \\\"b\\\"\\nc\",\"huge\":\"99999999999999999999\"}\n"
            "{\"id\":2,\"text\":\"日本 😀\",\"huge\":\"1\"}\n"
            "{\"id\":3,\"text\":\"\",\"huge\":null}\n");
  // Every line of the box ends at one terminal column.
  const auto box = Shell("lamina scan t").out;
  EXPECT_NE(box.find("│ a \"b\"\\nc │"), std::string::npos) << box;
  EXPECT_NE(box.find("│ 日本 😀  │"), std::string::npos) << box;
  // What --csv prints is what ingest reads.
  ASSERT_EQ(Shell("lamina scan t --csv > u.csv; lamina ingest u u.csv --key id").code, 0);
  EXPECT_EQ(Shell("lamina scan u --json").out, Shell("lamina scan t --json").out);
}

TEST_F(CliTest, BadFilesAreNamedByLineAndColumnAndChangeNothing) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "file is empty"},
      {"id,v\n", "header but no rows"},
      {"id,v\n1,2\n3\n", "line=3 expected=2 actual=1"},
      {"id,v\n1,\"a\nb\"\n\n,5\n", "null: column=id line=5"},
      {"id,v\n1,\"open\n2,3\n", "inside a quoted field: file=t.csv line=2"},
      {"id,id\n1,2\n", "two columns have one name"},
      {"id,v\n1,\xFF\n", "not UTF-8: file=t.csv column=v"},
      {"\x1F\x8B...", "file is compressed"},
      {"idd,v\n1,2\n", "did you mean idd?"},
  };
  for (const auto& [content, message] : cases) {
    Write("t.csv", content);
    const auto answer = Shell("lamina ingest t t.csv --key id");
    EXPECT_EQ(answer.code, 1) << message;
    EXPECT_NE(answer.err.find(message), std::string::npos) << message << "\n" << answer.err;
    EXPECT_FALSE(fs::exists(directory_ / "lamina.db")) << message;
  }
  EXPECT_EQ(Shell("lamina ingest t nowhere.csv --key id").code, 3);
}

TEST_F(CliTest, AnErrorInTheMiddleOfAFileSaysWhatIsIn) {
  std::string content = "id,v\n";
  for (int i = 0; i < 300'000; ++i) content += fmt::format("{},{}\n", i, i);
  Write("t.csv", content + "300000,oops\n");
  const auto error = Error("lamina ingest t t.csv --key id");
  EXPECT_NE(error.find("line=300002 column=v type=int64 invalid value 'oops'"), std::string::npos)
      << error;
  const auto count = json::parse(Shell("lamina scan t --count --json").out)["count"].get<int>();
  ASSERT_GT(count, 0);
  std::string digits;
  for (const char c :
       error.substr(error.find("; ") + 2, error.find(" rows before") - error.find("; ") - 2)) {
    if (c != ',') digits += c;
  }
  EXPECT_EQ(digits, std::to_string(count)) << error;
}

TEST_F(CliTest, JsonIsOneValidObjectALineWhateverTheBytes) {
  Write("t.csv", "k,f,i\na,nan,9223372036854775807\nb,inf,-9223372036854775808\n");
  ASSERT_EQ(Shell("lamina ingest t t.csv --key k --type f=double").code, 0);
  ASSERT_EQ(Shell("lamina put --hex 00ff \"$(printf 'x\\xfe')\"").code, 0);
  for (const std::string command :
       {"scan t", "scan t --all-versions", "scan", "get --hex 00ff", "get -t t a", "history -t t a",
        "inspect", "check", "gc --dry-run", "compact", "scan t --count", "scan t --explain"}) {
    const auto answer = Shell("lamina --json " + command);
    EXPECT_EQ(answer.code, 0) << command << answer.err;
    for (const auto& line : Lines(answer.out))
      EXPECT_TRUE(json::accept(line)) << command << "\n" << line;
    EXPECT_FALSE(answer.out.empty()) << command;
  }
  EXPECT_EQ(Shell("lamina scan t --json").out,
            "{\"k\":\"a\",\"f\":\"NaN\",\"i\":9223372036854775807}\n"
            "{\"k\":\"b\",\"f\":\"Infinity\",\"i\":-9223372036854775808}\n");
  EXPECT_EQ(Shell("lamina scan --json").out,
            "{\"key\":{\"hex\":\"00ff\"},\"doc\":{\"hex\":\"78fe\"}}\n");
}

TEST_F(CliTest, ErrorsTeachAndExitCodesTell) {
  Write("t.csv", "sku,size,price\n\"A,1\",3,2.5\n");
  ASSERT_EQ(Shell("lamina ingest prices t.csv --key sku,size").code, 0);
  EXPECT_NE(Error("lamina scan price").find("did you mean prices?"), std::string::npos);
  EXPECT_NE(Error("lamina scan prices --where 'prise > 1'").find("did you mean price?"),
            std::string::npos);
  EXPECT_NE(Error("lamina scna prices").find("did you mean scan?"), std::string::npos);
  EXPECT_NE(Error("lamina scan prices --wher x").find("did you mean --where?"), std::string::npos);
  EXPECT_NE(Error("lamina get -t prices A").find("the key is (sku, size)"), std::string::npos);
  EXPECT_EQ(Shell("lamina get -t prices '\"A,1\",3' --json").out,
            "{\"sku\":\"A,1\",\"size\":3,\"price\":2.5}\n");
  EXPECT_EQ(Shell("lamina --wher").code, 2);
  EXPECT_EQ(Shell("lamina scan --limit x").code, 2);
  EXPECT_EQ(Shell("lamina get nothing").code, 3);
  EXPECT_EQ(Shell("lamina --db nowhere scan").code, 3);
  EXPECT_EQ(Shell("lamina scan prices --json > /dev/full").code, 1);
  EXPECT_TRUE(json::accept(Error("lamina scan prices --wher x --json")));
  const auto quiet = Shell("set -o pipefail; lamina scan prices --csv | head -0");
  EXPECT_EQ(quiet.err, "");
}

TEST_F(CliTest, InspectWorksBesideADatabaseThatWritesFlushesAndPrunes) {
  DatabaseOptions options;
  options.memtable_rows = 1;
  options.sync = SyncPolicy::kOff;
  auto db = Database::Open((directory_ / "beside").string(), options).ValueOrDie();
  // Joins itself, also when an assertion ends the test.
  std::jthread writer([&](const std::stop_token& stop) {
    for (int i = 0; !stop.stop_requested(); ++i) {
      ASSERT_TRUE(db->PutDocument("k", std::to_string(i)).ok());
    }
  });
  int frames = 0;
  for (int i = 0; i < 100; ++i) {
    const Answer answer = Shell("lamina --db beside --json inspect wal");
    EXPECT_EQ(answer.code, 0) << answer.err;
    const json found = json::parse(answer.out, nullptr, /*allow_exceptions=*/false);
    ASSERT_FALSE(found.is_discarded()) << answer.out;
    for (const auto& frame : found["wal"]["frames"]) {
      ++frames;
      // What is being written at that moment looks like a torn tail, and is said to be one.
      const std::string damage = frame["damage"];
      EXPECT_TRUE(damage.empty() || damage.starts_with("torn tail")) << frame;
    }
  }
  writer.request_stop();
  writer.join();
  EXPECT_GT(frames, 0);
  EXPECT_TRUE(db->Close().ok());
}

TEST_F(CliTest, AnInterruptedIngestEndsWithinASecondAndLeavesAGoodDatabase) {
  // A pipe that never ends: the interrupt comes in the middle, whatever the machine's speed.
  const auto answer = Shell(
      "(echo id,v; i=0; yes 1,2) | lamina ingest t - --no-key & sleep 1.5\n"
      "pid=$(pgrep -P $$ -x lamina); start=$(date +%s%N); kill -INT $pid; wait $!; code=$?\n"
      "echo $(( ($(date +%s%N) - start) / 1000000 )); exit $code");
  EXPECT_EQ(answer.code, 130) << answer.err;
  EXPECT_NE(answer.err.find("interrupted"), std::string::npos) << answer.err;
  EXPECT_LT(std::stoi(answer.out), 3000);  // Under sanitizers on a busy machine; else below 1000.
  EXPECT_EQ(Shell("lamina check").code, 0);
  EXPECT_EQ(Shell("lamina scan t --count").code, 0);
}

}  // namespace
}  // namespace lamina
