#include "storage/object_store/local_store.h"

#include <climits>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/check.h"
#include "base/clock.h"
#include "storage/object_store/releasable_reader.h"

namespace lamina::storage {
namespace {

namespace fs = std::filesystem;

class LocalStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "lamina-local-XXXXXX").string();
    ASSERT_NE(nullptr, mkdtemp(pattern.data()));
    directory_ = pattern;
    store_ = *LocalStore::Open(directory_.string(), false);
  }
  void TearDown() override {
    base::DisarmFaults();
    store_.reset();
    std::error_code ignored;  // the next run has its own directory
    fs::remove_all(directory_, ignored);
  }
  // Temporary files anywhere in the tree.
  int CountTempFiles() const {
    int count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(directory_)) {
      if (entry.path().filename().string().starts_with(".tmp-")) ++count;
    }
    return count;
  }

  fs::path directory_;
  std::shared_ptr<LocalStore> store_;
};

TEST_F(LocalStoreTest, OpenCreatesEveryMissingDirectoryWhenAsked) {
  const std::string deep = (directory_ / "a" / "b" / "c").string();
  auto refused = OpenLocalStore(deep, false);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(ErrorCode::kNotFound, CodeOf(refused.status()));
  EXPECT_FALSE(fs::exists(directory_ / "a"));
  ASSERT_TRUE(OpenLocalStore(deep, true).ok());
  EXPECT_TRUE(OpenLocalStore(deep + "/", true).ok());
  std::ofstream(directory_ / "file") << "x";
  EXPECT_EQ(ErrorCode::kInvalidArgument,
            CodeOf(OpenLocalStore((directory_ / "file").string(), false).status()));
}

TEST_F(LocalStoreTest, TwoHandlesSeeTheSameTags) {
  auto other = *LocalStore::Open(directory_.string(), false);
  const ObjectInfo put = *store_->Put("refs/main", "1", PutCondition::None());
  EXPECT_EQ(put.tag, other->Head("refs/main")->tag);
  ASSERT_TRUE(other->Put("refs/main", "2", PutCondition::IfTagMatches(put.tag)).ok());
  EXPECT_EQ(ErrorCode::kConflict,
            CodeOf(store_->Put("refs/main", "3", PutCondition::IfTagMatches(put.tag)).status()));
}

TEST_F(LocalStoreTest, TagMovesOnWhenTheClockIsBehindTheObject) {
  const ObjectInfo first = *store_->Put("refs/main", "A", PutCondition::None());
  // As if the clock had stepped back an hour after this object was written.
  const fs::path file = directory_ / "refs" / "main";
  fs::last_write_time(file, fs::file_time_type::clock::now() + std::chrono::hours(1));
  const ObjectInfo future = *store_->Head("refs/main");
  EXPECT_NE(first.tag, future.tag);
  const uint64_t before = base::ReachedCount("local_store.put.modified_bumped");
  const ObjectInfo second = *store_->Put("refs/main", "A", PutCondition::IfTagMatches(future.tag));
  EXPECT_GT(base::ReachedCount("local_store.put.modified_bumped"), before);
  EXPECT_NE(future.tag, second.tag);
  EXPECT_GE(second.modified_micros, future.modified_micros);
  EXPECT_EQ(second.tag, store_->Head("refs/main")->tag);
}

TEST_F(LocalStoreTest, FailedPutChangesNothingAndLeavesNoTempFile) {
  ASSERT_TRUE(store_->Put("refs/main", "1", PutCondition::None()).ok());
  for (const char* point :
       {"local_store.temp_file", "local_store.sync_file", "local_store.rename"}) {
    SCOPED_TRACE(point);
    base::ArmFault(point, MakeError(ErrorCode::kUnavailable, "injected"));
    EXPECT_FALSE(store_->Put("refs/main", "2", PutCondition::None()).ok());
    EXPECT_FALSE(store_->Put("refs/new", "2", PutCondition::IfAbsent()).ok());
    base::DisarmFaults();
    EXPECT_EQ("1", (*store_->Get("refs/main", nullptr))->ToString());
    EXPECT_FALSE(store_->Head("refs/new").ok());
    EXPECT_EQ(0, CountTempFiles());
  }
}

TEST_F(LocalStoreTest, FailedFinishLeavesNothing) {
  auto writer = *store_->Create("data/one");
  ASSERT_TRUE(writer->Write("x").ok());
  base::ArmFault("local_store.rename", MakeError(ErrorCode::kUnavailable, "injected"));
  EXPECT_FALSE(writer->Finish().ok());
  EXPECT_EQ(0, CountTempFiles());
  EXPECT_TRUE(store_->List("")->empty());
}

TEST_F(LocalStoreTest, SweepTakesOldTempFilesOnly) {
  ASSERT_TRUE(store_->Put("data/t/keep", "x", PutCondition::None()).ok());
  std::ofstream(directory_ / "data" / "t" / ".tmp-1-old") << "dead";
  fs::last_write_time(directory_ / "data" / "t" / ".tmp-1-old",
                      fs::file_time_type::clock::now() - std::chrono::hours(2));
  auto writer = *store_->Create("data/t/new");
  EXPECT_EQ(1u, store_->List("")->size());
  EXPECT_EQ(1, store_->SweepUnfinished(base::SystemClock()->NowMicros() - int64_t{3600} * 1'000'000)
                   .ValueOr(-1));
  EXPECT_EQ(1, CountTempFiles());
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(2u, store_->List("")->size());
}

TEST_F(LocalStoreTest, SweepLeavesWhatIsBeingWrittenWhateverTheClockSays) {
  auto writer = *store_->Create("data/t/new");
  const int64_t in_a_year = base::SystemClock()->NowMicros() + int64_t{365} * 86'400 * 1'000'000;
  EXPECT_EQ(0, store_->SweepUnfinished(in_a_year).ValueOr(-1));
  ASSERT_TRUE(writer->Finish().ok());
  // A handle that went without finishing leaves nothing that counts as being written.
  writer = *store_->Create("data/t/other");
  writer.reset();
  EXPECT_EQ(0, CountTempFiles());
  EXPECT_EQ(1u, store_->List("")->size());
}

TEST_F(LocalStoreTest, FilesOfOtherProgramsAreNotObjects) {
  ASSERT_TRUE(store_->Put("data/one", "x", PutCondition::None()).ok());
  std::ofstream(directory_ / "data" / "bad name") << "x";
  ASSERT_EQ(0, symlink("nowhere", (directory_ / "data" / "dangling").c_str()));
  EXPECT_EQ(1u, store_->List("")->size());
}

TEST_F(LocalStoreTest, DirectoryRemovedBehindOurBackIsMadeAgain) {
  ASSERT_TRUE(store_->Put("data/t/one", "x", PutCondition::None()).ok());
  fs::remove_all(directory_ / "data");
  EXPECT_TRUE(store_->Put("data/t/one", "y", PutCondition::None()).ok());
  EXPECT_EQ("y", (*store_->Get("data/t/one", nullptr))->ToString());
}

TEST_F(LocalStoreTest, ReaderHandsOutSlicesOfTheMapping) {
  ASSERT_TRUE(store_->Put("data/one", std::string(10'000, 'x'), PutCondition::None()).ok());
  auto reader = *store_->OpenReader("data/one");
  EXPECT_TRUE(reader->supports_zero_copy());
  auto a = *reader->ReadAt(100, 10);
  auto b = *reader->ReadAt(200, 10);
  EXPECT_EQ(100, b->data() - a->data());
}

TEST_F(LocalStoreTest, AppendReservesBlocksAndGivesThemBackAtClose) {
  auto file = *store_->OpenAppend("wal/1", -1);
  ASSERT_TRUE(file->Append("x").ok());
  struct stat st;
  ASSERT_EQ(0, stat((directory_ / "wal" / "1").c_str(), &st));
  EXPECT_EQ(1, st.st_size);
  ASSERT_TRUE(file->Close().ok());
  ASSERT_EQ(0, stat((directory_ / "wal" / "1").c_str(), &st));
  EXPECT_EQ(1, st.st_size);
  EXPECT_LE(st.st_blocks * 512, 64 * 1024);
}

TEST_F(LocalStoreTest, AppendFailsForGoodAfterAFailedWrite) {
  // A file size limit stands in for a full disk: it cuts a write short and then fails it.
  auto file = *store_->OpenAppend("wal/1", -1);
  ASSERT_TRUE(file->Append("0123").ok());
  rlimit before;
  ASSERT_EQ(0, getrlimit(RLIMIT_FSIZE, &before));
  auto* old_handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small{6, before.rlim_max};
  ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &small));
  const Status failed = file->Append("456789");
  ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &before));
  signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(ErrorCode::kResourceExhausted, CodeOf(failed)) << failed.ToString();
  EXPECT_EQ(6, file->size());
  // There is room again, but what the file holds is known to nobody.
  EXPECT_FALSE(file->Append("x").ok());
  EXPECT_FALSE(file->Sync().ok());
  EXPECT_EQ("012345", (*store_->Get("wal/1", nullptr))->ToString());
  EXPECT_TRUE(store_->OpenAppend("wal/1", 4).ok());
}

TEST_F(LocalStoreTest, TooManyOpenFilesIsResourceExhausted) {
  ASSERT_TRUE(store_->Put("data/one", "x", PutCondition::None()).ok());
  rlimit before;
  ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &before));
  const rlimit none{3, before.rlim_max};
  ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
  const Status failed = store_->Get("data/one", nullptr).status();
  ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &before));
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(ErrorCode::kResourceExhausted, CodeOf(failed)) << failed.ToString();
}

TEST_F(LocalStoreTest, LockIsHeldAcrossHandlesAndProcesses) {
  auto held = *store_->Lock("LOCK");
  auto other = *LocalStore::Open(directory_.string(), false);
  EXPECT_EQ(ErrorCode::kUnavailable, CodeOf(other->Lock("LOCK").status()));
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto opened = LocalStore::Open(directory_.string(), false);
    _exit(opened.ok() && !(*opened)->Lock("LOCK").ok() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST_F(LocalStoreTest, LockOfAKilledProcessIsFree) {
  int ready[2];
  ASSERT_EQ(0, pipe(ready));
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto opened = LocalStore::Open(directory_.string(), false);
    auto lock = (*opened)->Lock("LOCK");
    (void)!write(ready[1], lock.ok() ? "y" : "n", 1);
    pause();
    _exit(0);
  }
  char answer = 0;
  ASSERT_EQ(1, read(ready[0], &answer, 1));
  EXPECT_EQ('y', answer);
  auto refused = store_->Lock("LOCK");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(std::string::npos, MessageOf(refused.status()).find("pid=" + std::to_string(child)));
  kill(child, SIGKILL);
  ASSERT_EQ(child, waitpid(child, nullptr, 0));
  close(ready[0]);
  close(ready[1]);
  EXPECT_TRUE(store_->Lock("LOCK").ok());
}

TEST_F(LocalStoreTest, ConditionalPutsOfTwoProcessesLoseNoUpdate) {
  ASSERT_TRUE(store_->Put("refs/counter", "0", PutCondition::None()).ok());
  constexpr int kRounds = 15;
  const auto count_up = [&](LocalStore* store) {
    for (int done = 0; done < kRounds;) {
      ObjectInfo info;
      auto now = store->Get("refs/counter", &info);
      if (!now.ok()) return false;
      auto put = store->Put("refs/counter", std::to_string(std::stoi((*now)->ToString()) + 1),
                            PutCondition::IfTagMatches(info.tag));
      if (put.ok()) {
        ++done;
      } else if (CodeOf(put.status()) != ErrorCode::kConflict) {
        return false;
      }
    }
    return true;
  };
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto opened = LocalStore::Open(directory_.string(), false);
    _exit(opened.ok() && count_up(opened->get()) ? 0 : 1);
  }
  EXPECT_TRUE(count_up(store_.get()));
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(std::to_string(2 * kRounds), (*store_->Get("refs/counter", nullptr))->ToString());
}

// Resident pages of files, of this process (proc(5), statm: shared).
int64_t ResidentFilePages() {
  std::ifstream file("/proc/self/statm");
  int64_t size = 0, resident = 0, shared = 0;
  file >> size >> resident >> shared;
  return shared;
}

TEST_F(LocalStoreTest, ReleasedPagesLeaveTheProcessAndReadTheSameAgain) {
  constexpr int64_t kBytes = 16 << 20;
  const std::string content = std::string(kBytes / 2, 'a') + std::string(kBytes / 2, 'b');
  ASSERT_TRUE(store_->Put("data/1/big", content, PutCondition::None()).ok());
  auto reader = store_->OpenReader("data/1/big");
  ASSERT_TRUE(reader.ok());
  auto* releasable = dynamic_cast<ReleasableReader*>(reader->get());
  ASSERT_NE(releasable, nullptr);
  const auto bytes = *(*reader)->ReadAt(0, kBytes);
  ASSERT_EQ(std::string_view(*bytes), content);  // every page is touched
  const int64_t with = ResidentFilePages();

  releasable->Release(1000, kBytes / 2);
  EXPECT_LT(ResidentFilePages(), with - kBytes / 4 / 4096);
  releasable->Release(kBytes, 1);  // nothing there: advice, no error
  EXPECT_EQ(std::string_view(*bytes), content);
}

}  // namespace
}  // namespace lamina::storage
