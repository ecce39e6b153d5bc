// SIGKILL of the real process while it writes: nothing acknowledged as durable is lost, no commit
// is half visible.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include <arrow/builder.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "kill_child.h"
#include "lamina/database.h"

namespace lamina {

std::shared_ptr<arrow::RecordBatch> NumberRows(int64_t first, int64_t count) {
  arrow::Int64Builder id;
  arrow::StringBuilder text;
  for (int64_t i = first; i < first + count; ++i) {
    if (!id.Append(i).ok() || !text.Append(fmt::format("row {}", i)).ok()) std::abort();
  }
  const auto schema = arrow::schema(
      {arrow::field("id", arrow::int64(), false), arrow::field("text", arrow::utf8())});
  return arrow::RecordBatch::Make(schema, count,
                                  {id.Finish().ValueOrDie(), text.Finish().ValueOrDie()});
}

namespace {

Status Write(const std::string& directory) {
  DatabaseOptions options;
  options.sync = SyncPolicy::kAlways;
  // Small, so that a kill meets flushes, compactions and log rotations too.
  options.memtable_rows = 200;
  options.wal_segment_bytes = 16 << 10;
  options.level0_files = 2;
  options.rows_per_page = 16;
  options.rows_per_row_group = 64;
  options.gc_grace_micros = 0;
  ARROW_ASSIGN_OR_RAISE(auto db, Database::Open(directory, options));
  const auto schema = NumberRows(0, 1)->schema();
  ARROW_RETURN_NOT_OK(db->EnsureTable("parts", schema, {.names = {"id"}}));
  ARROW_RETURN_NOT_OK(db->EnsureTable("wholes", schema, {.names = {"id"}}));
  int64_t n = 0;
  ARROW_ASSIGN_OR_RAISE(const auto newest,
                        db->GetDocument("newest", SystemPeriod::Latest(), ValidPeriod::Now()));
  if (newest.has_value()) n = std::stoll(*newest);
  for (;;) {
    ++n;
    ARROW_ASSIGN_OR_RAISE(auto transaction, db->Begin());
    ARROW_RETURN_NOT_OK(transaction->Put("parts", NumberRows(n * 10, kParts)));
    ARROW_RETURN_NOT_OK(transaction->Put("wholes", NumberRows(n, 1)));
    ARROW_RETURN_NOT_OK(transaction->PutDocument("newest", std::to_string(n)));
    ARROW_ASSIGN_OR_RAISE(const auto result, transaction->Commit());
    if (result.ack != AckClass::kDurable) return Status::Invalid("not durable");
    const std::string line = fmt::format("{}\n", n);
    if (::write(STDOUT_FILENO, line.data(), line.size()) < 0)
      return Status::IOError("nobody listens");
    if (n % 500 == 0) ARROW_RETURN_NOT_OK(db->CollectGarbage(false, 0).status());
  }
}

/// Starts this program as the child, kills it after `micros`, returns the newest acknowledged
/// number (0 = none).
int64_t RunAndKill(const std::string& directory, int64_t micros) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    // Only async-signal-safe calls until exec.
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    setenv("LAMINA_KILL_CHILD", directory.c_str(), 1);
    execl("/proc/self/exe", "durability_test", static_cast<char*>(nullptr));
    _exit(127);
  }
  close(ends[1]);
  // The clock starts with the first acknowledgement, so that slow starts are not all that is
  // killed; some are.
  std::string output;
  char buffer[4096];
  if (micros % 8 != 0) {
    const ssize_t got = read(ends[0], buffer, sizeof(buffer));
    if (got > 0) output.append(buffer, static_cast<size_t>(got));
  }
  usleep(static_cast<useconds_t>(micros));
  kill(pid, SIGKILL);
  for (;;) {
    const ssize_t got = read(ends[0], buffer, sizeof(buffer));
    if (got <= 0) break;
    output.append(buffer, static_cast<size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the child ended by itself with " << WEXITSTATUS(status);
  // A last line without its newline was not acknowledged in full.
  const size_t end = output.rfind('\n');
  if (end == std::string::npos) return 0;
  const size_t begin = output.rfind('\n', end - 1);
  return std::stoll(output.substr(begin == std::string::npos ? 0 : begin + 1, end));
}

Result<std::map<int64_t, int64_t>> ReadIds(Database* db, const std::string& table,
                                           int64_t divisor) {
  std::map<int64_t, int64_t> out;  // id / divisor -> rows
  ARROW_ASSIGN_OR_RAISE(auto reader, db->Scan(table));
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(reader->ReadNext(&batch));
    if (batch == nullptr) return out;
    const auto& ids = static_cast<const arrow::Int64Array&>(*batch->column(0));
    const auto& texts = static_cast<const arrow::StringArray&>(*batch->column(1));
    for (int64_t i = 0; i < ids.length(); ++i) {
      if (texts.GetView(i) != fmt::format("row {}", ids.Value(i)))
        return Status::Invalid("row ", ids.Value(i), " is wrong");
      ++out[ids.Value(i) / divisor];
    }
  }
}

Status Verify(const std::string& directory, int64_t acknowledged, int64_t* newest) {
  DatabaseOptions options;
  options.create_if_missing = false;
  ARROW_ASSIGN_OR_RAISE(auto db, Database::Open(directory, options));
  *newest = 0;
  if (!db->GetTable("wholes").ok() || !db->GetTable("parts").ok()) {
    return acknowledged == 0 ? Status::OK() : Status::Invalid("tables are gone");
  }
  ARROW_ASSIGN_OR_RAISE(const auto document,
                        db->GetDocument("newest", SystemPeriod::Latest(), ValidPeriod::Now()));
  ARROW_ASSIGN_OR_RAISE(const auto wholes, ReadIds(db.get(), "wholes", 1));
  ARROW_ASSIGN_OR_RAISE(const auto parts, ReadIds(db.get(), "parts", 10));
  if (document.has_value()) *newest = std::stoll(*document);
  if (*newest < acknowledged) {
    return Status::Invalid("acknowledged commits are lost: acknowledged=", acknowledged,
                           " newest=", *newest);
  }
  if (static_cast<int64_t>(wholes.size()) != *newest ||
      static_cast<int64_t>(parts.size()) != *newest) {
    return Status::Invalid("commits are half visible: newest=", *newest, " wholes=", wholes.size(),
                           " parts=", parts.size());
  }
  for (const auto& [n, rows] : parts) {
    if (rows != kParts || wholes.count(n) == 0)
      return Status::Invalid("commit ", n, " is half visible");
  }
  ARROW_ASSIGN_OR_RAISE(const auto findings, db->Check());
  if (!findings.empty()) return Status::Invalid("check: ", findings[0]);
  return db->Close();
}

TEST(KillTest, NoAcknowledgedDurableRowIsLostAndNoCommitIsHalfVisible) {
  const std::string directory =
      (std::filesystem::temp_directory_path() / fmt::format("lamina-kill-{}", getpid())).string();
  std::filesystem::remove_all(directory);
  const uint64_t seed = std::getenv("LAMINA_KILL_SEED") != nullptr
                            ? std::strtoull(std::getenv("LAMINA_KILL_SEED"), nullptr, 10)
                            : static_cast<uint64_t>(getpid());
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  base::Random random(seed);
  int64_t newest = 0;
  int64_t acknowledged_in_all = 0;
  for (int round = 0; round < 50; ++round) {
    const int64_t before = newest;
    const int64_t acknowledged =
        std::max(before, RunAndKill(directory, static_cast<int64_t>(random.Uniform(60'000))));
    if (!std::filesystem::exists(directory + "/refs/main")) {
      ASSERT_EQ(acknowledged, 0) << "round " << round;
      continue;
    }
    const auto status = Verify(directory, acknowledged, &newest);
    ASSERT_TRUE(status.ok()) << "round " << round << ": " << status.ToString();
    acknowledged_in_all += newest - before;
  }
  std::printf("50 kills, %lld commits\n", static_cast<long long>(acknowledged_in_all));
  EXPECT_GT(acknowledged_in_all, 100) << "the child hardly wrote: the test proves little";
  std::filesystem::remove_all(directory);
}

}  // namespace

int WriteUntilKilled(const std::string& directory) {
  const auto status = Write(directory);
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}

}  // namespace lamina
