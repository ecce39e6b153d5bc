// The SQL shell as a program: its options, scripts and exit codes, and at a pseudo terminal
// (shell_terminal.py) editing, completion and Ctrl-C. Starts $LAMINA_CLI and $LAMINA_PYTHON.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace lamina {
namespace {

namespace fs = std::filesystem;

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

struct Answer {
  int code = -1;
  std::string out, err;
};

class ShellProgramTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / fmt::format("lamina-shell-program-{}", getpid());
    fs::remove_all(directory_);
    fs::create_directories(directory_);
    ASSERT_NE(std::getenv("LAMINA_CLI"), nullptr);
    program_ = std::getenv("LAMINA_CLI");
  }
  void TearDown() override { fs::remove_all(directory_); }

  /// A shell command in the test's own folder; $L is the program.
  Answer Shell(const std::string& command) const {
    std::ofstream(directory_ / "script") << command;
    const int status =
        std::system(fmt::format("cd '{}' && unset LAMINA_DB && L='{}' bash script >out 2>err "
                                "</dev/null",
                                directory_.string(), program_)
                        .c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            ReadFile(directory_ / "out"), ReadFile(directory_ / "err")};
  }
  /// A case of shell_terminal.py.
  void AtTerminal(const std::string& name) const {
    const char* python = std::getenv("LAMINA_PYTHON");
    const fs::path source = std::getenv("LAMINA_SOURCE");
    const auto answer = Shell(
        fmt::format("'{}' '{}' \"$L\" '{}' {}", python == nullptr ? "python3" : python,
                    (source / "tests/cli/shell_terminal.py").string(), directory_.string(), name));
    EXPECT_EQ(answer.code, 0) << answer.err << answer.out;
  }

  fs::path directory_;
  std::string program_;
};

TEST_F(ShellProgramTest, CommandsAndFilesRunInTheirOrder) {
  std::ofstream(directory_ / "b.sql") << "SELECT 2 AS b;\n";
  const auto answer = Shell("$L --csv -c 'SELECT 1 AS a' -f b.sql -c 'SELECT 3 AS c'");
  EXPECT_EQ(answer.code, 0) << answer.err;
  EXPECT_EQ(answer.out, "a\n1\nb\n2\nc\n3\n");
}

TEST_F(ShellProgramTest, AnInitFileRunsFirst) {
  std::ofstream(directory_ / "init.sql") << ".mode csv\nSELECT 1 AS a;\n";
  const auto answer = Shell("$L --init init.sql -c 'SELECT 2 AS b'");
  EXPECT_EQ(answer.code, 0) << answer.err;
  EXPECT_EQ(answer.out, "a\n1\nb\n2\n");
  const auto missing = Shell("$L --init nosuch.sql -c 'SELECT 2 AS b'");
  EXPECT_EQ(missing.code, 1);
  EXPECT_EQ(missing.out, "");
  // That of the home folder is for people at a terminal.
  std::ofstream(directory_ / ".laminarc") << "SELECT 3 AS c;\n";
  EXPECT_EQ(Shell("HOME=$PWD $L --csv -c 'SELECT 2 AS b'").out, "b\n2\n");
}

TEST_F(ShellProgramTest, AScriptComesFromStandardInput) {
  const auto answer = Shell("printf 'SELECT 1 AS a;\\nSELECT\\n2 AS b' | $L --csv");
  EXPECT_EQ(answer.code, 0) << answer.err;
  EXPECT_EQ(answer.out, "a\n1\nb\n2\n");
}

TEST_F(ShellProgramTest, TheFirstErrorEndsAScriptWithOne) {
  const auto stopped = Shell("$L --csv -c 'SELEC' -c 'SELECT 2 AS b'");
  EXPECT_EQ(stopped.code, 1);
  EXPECT_EQ(stopped.out, "");
  EXPECT_NE(stopped.err.find("error T1004:"), std::string::npos) << stopped.err;
  const auto going = Shell("printf 'SELEC;\\nSELECT 2 AS b;' | $L --csv --keep-going");
  EXPECT_EQ(going.code, 1);
  EXPECT_EQ(going.out, "b\n2\n");
}

TEST_F(ShellProgramTest, APathIsTheDatabaseAndKeepsWhatWasWritten) {
  EXPECT_EQ(
      Shell("$L shop -c 'CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (7)'").code, 0);
  EXPECT_EQ(Shell("$L shop --csv -c 'SELECT * FROM t'").out, "id\n7\n");
  EXPECT_EQ(Shell("LAMINA_DB=shop $L --csv -c 'SELECT * FROM t'").out, "id\n7\n");
  EXPECT_EQ(Shell("$L shop --read-only --csv -c 'SELECT * FROM t'").out, "id\n7\n");
  const auto refused = Shell("$L shop --read-only -c 'INSERT INTO t VALUES (8)'");
  EXPECT_EQ(refused.code, 1);
  EXPECT_EQ(Shell("$L -c '.tables'").out, "");
}

TEST_F(ShellProgramTest, ASlipOfACommandMakesNoDatabase) {
  const auto answer = Shell("$L scna");
  EXPECT_EQ(answer.code, 2);
  EXPECT_NE(answer.err.find("did you mean scan?"), std::string::npos) << answer.err;
  EXPECT_FALSE(fs::exists(directory_ / "scna"));
  EXPECT_EQ(Shell("$L ./scna -c 'SELECT 1'").code, 0);
  EXPECT_EQ(Shell("$L --jsno").code, 2);
}

TEST_F(ShellProgramTest, AReaderThatLeavesEndsItQuietly) {
  const auto answer = Shell("$L --csv -c 'FROM range(10000000)' | head -n 2");
  EXPECT_EQ(answer.out, "range\n0\n");
  EXPECT_EQ(answer.err, "");
}

TEST_F(ShellProgramTest, CtrlCEndsAScriptWith130) {
  const auto answer = Shell(
      "$L -c 'SELECT count(*) FROM range(100000000000) a(i), range(1000) b(j) WHERE hash(i + j) = "
      "1' & sleep 1; kill -INT $!; wait $!");
  EXPECT_EQ(answer.code, 130) << answer.err;
}

TEST_F(ShellProgramTest, StatementsAreEditedAndFoundAgain) { AtTerminal("editing"); }
TEST_F(ShellProgramTest, TabCompletes) { AtTerminal("completion"); }
TEST_F(ShellProgramTest, CtrlCKeepsTheShell) { AtTerminal("interrupt"); }
TEST_F(ShellProgramTest, AnswersFitTheTerminal) { AtTerminal("output"); }

}  // namespace
}  // namespace lamina
