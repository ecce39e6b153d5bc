// SIGKILL of the real process while it writes: nothing acknowledged as durable is lost, no commit
// is half visible. (What SIGKILL leaves in the page cache stays: see power_loss_test.cc for the
// machine's end.)
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "child_process.h"
#include "kill_child.h"

namespace lamina {
namespace {

TEST(KillTest, NoAcknowledgedDurableRowIsLostAndNoCommitIsHalfVisible) {
  const std::string directory =
      (std::filesystem::temp_directory_path() / fmt::format("lamina-kill-{}", getpid())).string();
  std::filesystem::remove_all(directory);
  const uint64_t seed = std::getenv("LAMINA_KILL_SEED") != nullptr
                            ? std::strtoull(std::getenv("LAMINA_KILL_SEED"), nullptr, 10)
                            : static_cast<uint64_t>(getpid());
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  base::Random random(seed);
  NewestOfWriters newest{};
  int64_t commits = 0;
  for (int round = 0; round < 50; ++round) {
    NewestOfWriters acknowledged = newest;
    const auto output =
        RunChild({.directory = directory}, {}, static_cast<int64_t>(random.Uniform(60'000)));
    ASSERT_TRUE(output.ok()) << "round " << round << ": " << output.status().ToString();
    ReadAcknowledgements(*output, &acknowledged);
    const auto status = JudgeWhatIsLeft(directory, acknowledged, &newest);
    ASSERT_TRUE(status.ok()) << "round " << round << ": " << status.ToString();
  }
  for (const int64_t n : newest) commits += n;
  std::printf("50 kills, %lld commits\n", static_cast<long long>(commits));
  EXPECT_GT(commits, 100) << "the child hardly wrote: the test proves little";
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace lamina
