#include "testing/sim_file_system.h"

#include <cerrno>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/thread.h"

namespace lamina::testing {
namespace {

class SimFileSystemTest : public ::testing::Test {
 protected:
  static constexpr int kHere = storage::FileSystem::kHere;

  int Create(const std::string& path) {
    const int fd = files_.Open(kHere, path, O_RDWR | O_APPEND | O_CREAT);
    EXPECT_GE(fd, 0);
    return fd;
  }
  void SyncDirectory(const std::string& path) {
    const int fd = files_.Open(kHere, path, O_RDONLY | O_DIRECTORY);
    ASSERT_GE(fd, 0);
    EXPECT_EQ(0, files_.Sync(fd, false));
    EXPECT_EQ(0, files_.Close(fd));
  }
  /// A file with synced bytes and name.
  int Durable(const std::string& path, const std::string& bytes) {
    const int fd = Create(path);
    EXPECT_EQ(static_cast<int64_t>(bytes.size()), files_.Write(fd, bytes));
    EXPECT_EQ(0, files_.Sync(fd, true));
    SyncDirectory("/");
    return fd;
  }
  /// What a file may hold after crashes of this kind, over many seeds; "-" where it is absent.
  std::set<std::string> After(SimDamage damage, const std::string& path) {
    std::set<std::string> out;
    for (uint64_t seed = 0; seed < 300; ++seed) {
      const auto clone = files_.CrashClone(damage, seed);
      const auto names = clone->Files();
      const bool there = std::find(names.begin(), names.end(), path) != names.end();
      out.insert(there ? clone->Contents(path) : "-");
    }
    return out;
  }

  base::ManualClock clock_;
  SimFileSystem files_{&clock_};
};

using Set = std::set<std::string>;

TEST_F(SimFileSystemTest, UnsyncedBytesAreDroppedAndSyncedOnesStay) {
  const int fd = Durable("/a", "synced");
  files_.Write(fd, "lost");
  EXPECT_EQ("syncedlost", files_.Contents("/a"));
  EXPECT_EQ(Set{"synced"}, After(SimDamage::kDropUnsynced, "/a"));
  EXPECT_EQ(Set{"syncedlost"}, After(SimDamage::kNothingLost, "/a"));
}

TEST_F(SimFileSystemTest, AFileWithoutASyncOfItsDirectoryMayBeGone) {
  const int fd = Create("/a");
  files_.Write(fd, "x");
  EXPECT_EQ(0, files_.Sync(fd, false));
  EXPECT_EQ(Set{"-"}, After(SimDamage::kDropUnsynced, "/a"));
  EXPECT_EQ((Set{"-", "x"}), After(SimDamage::kReorder, "/a"));
  SyncDirectory("/");
  EXPECT_EQ(Set{"x"}, After(SimDamage::kDropUnsynced, "/a"));
}

TEST_F(SimFileSystemTest, AnEntryMayBeThereBeforeItsBytes) {
  const int fd = Create("/a");
  files_.Write(fd, "bytes");
  SyncDirectory("/");
  EXPECT_EQ(Set{""}, After(SimDamage::kDropUnsynced, "/a"));
}

TEST_F(SimFileSystemTest, RenameIsAtomicAndPendingUntilTheDirectoryIsSynced) {
  Durable("/a", "old");
  Durable("/b", "new");
  EXPECT_EQ(0, files_.Rename(kHere, "/b", "/a", true));
  EXPECT_EQ("new", files_.Contents("/a"));
  EXPECT_EQ(Set{"old"}, After(SimDamage::kDropUnsynced, "/a"));
  EXPECT_EQ((Set{"new", "old"}), After(SimDamage::kReorder, "/a"));
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const auto clone = files_.CrashClone(SimDamage::kReorder, seed);
    EXPECT_EQ(clone->Contents("/a") == "old" ? 2u : 1u, clone->Files().size());
  }
  SyncDirectory("/");
  EXPECT_EQ(Set{"new"}, After(SimDamage::kDropUnsynced, "/a"));
  EXPECT_EQ(Set{"-"}, After(SimDamage::kDropUnsynced, "/b"));
}

TEST_F(SimFileSystemTest, ReorderKeepsAnySectorsAndSizes) {
  const int fd = Durable("/a", std::string(512, 'a'));
  files_.Write(fd, std::string(512, 'b'));
  files_.Write(fd, std::string(512, 'c'));
  const auto sector = [](char c) { return std::string(512, c); };
  const Set seen = After(SimDamage::kReorder, "/a");
  EXPECT_TRUE(seen.contains(sector('a')));
  EXPECT_TRUE(seen.contains(sector('a') + sector('b')));
  EXPECT_TRUE(seen.contains(sector('a') + sector('\0') + sector('c')));
  EXPECT_TRUE(seen.contains(sector('a') + sector('b') + sector('\0')));
  EXPECT_TRUE(seen.contains(sector('a') + sector('b') + sector('c')));
}

TEST_F(SimFileSystemTest, ReorderKeepsOlderVersionsOfASector) {
  const int fd = Durable("/a", "1");
  files_.Write(fd, "2");
  files_.Write(fd, "3");
  const Set seen = After(SimDamage::kReorder, "/a");
  EXPECT_EQ((Set{"1", "12", "123", std::string("1\0", 2), std::string("1\0\0", 3),
                 std::string("12\0", 3)}),
            seen);
}

TEST_F(SimFileSystemTest, TearEndsAtASectorOfTheLastWriteThatHappened) {
  const int fd = Durable("/a", std::string(100, 'a'));
  files_.Write(fd, std::string(1000, 'b'));
  const std::string whole = std::string(100, 'a') + std::string(1000, 'b');
  for (const std::string& bytes : After(SimDamage::kTear, "/a")) {
    const size_t end = std::min(bytes.find('\0'), bytes.size());
    EXPECT_TRUE(end == 100 || end == 512 || end == 1024 || end == 1100) << end;
    EXPECT_EQ(whole.substr(0, end), bytes.substr(0, end));
    EXPECT_EQ(std::string(bytes.size() - end, '\0'), bytes.substr(end));
  }
}

TEST_F(SimFileSystemTest, GarbageTailKeepsTheSizeAndWhatWasSynced) {
  const int fd = Durable("/a", "synced");
  files_.Write(fd, "tail");
  bool garbage = false;
  for (const std::string& bytes : After(SimDamage::kGarbageTail, "/a")) {
    EXPECT_EQ(10u, bytes.size());
    EXPECT_EQ("synced", bytes.substr(0, 6));
    garbage |= bytes.substr(6) != std::string(4, '\0');
  }
  EXPECT_TRUE(garbage);
}

TEST_F(SimFileSystemTest, WhatAFailedSyncLostNoLaterSyncBringsBack) {
  const int fd = Durable("/a", "synced");
  files_.Write(fd, std::string(1000, 'b'));
  files_.SetHook([](const SimCallInfo& call) {
    if (call.kind != SimCall::kSync) return SimAction{};
    return SimAction{SimAction::Kind::kFailBefore, EIO};
  });
  EXPECT_EQ(-EIO, files_.Sync(fd, true));
  files_.SetHook(nullptr);
  EXPECT_EQ("synced" + std::string(1000, 'b'), files_.Contents("/a"));  // reads go on
  EXPECT_EQ(0, files_.Sync(fd, true));
  EXPECT_EQ(Set{"synced"}, After(SimDamage::kDropUnsynced, "/a"));
  // Only what is written again is.
  files_.Write(fd, "c");
  EXPECT_EQ(0, files_.Sync(fd, true));
  EXPECT_EQ("synced" + std::string(506, '\0') + std::string(494, 'b') + "c",
            *After(SimDamage::kDropUnsynced, "/a").begin());
}

TEST_F(SimFileSystemTest, FailuresComeBeforeOrAfterTheEffect) {
  Durable("/a", "x");
  SimAction action{SimAction::Kind::kFailBefore, ENOSPC};
  files_.SetHook([&](const SimCallInfo& call) {
    return call.kind == SimCall::kRename || call.kind == SimCall::kCreate ? action : SimAction{};
  });
  EXPECT_EQ(-ENOSPC, files_.Rename(kHere, "/a", "/b", true));
  EXPECT_EQ(-ENOSPC, files_.Open(kHere, "/c", O_RDWR | O_CREAT));
  EXPECT_EQ(std::vector<std::string>{"/a"}, files_.Files());
  action.kind = SimAction::Kind::kFailAfter;
  EXPECT_EQ(-ENOSPC, files_.Rename(kHere, "/a", "/b", true));
  EXPECT_EQ(-ENOSPC, files_.Open(kHere, "/c", O_RDWR | O_CREAT));
  EXPECT_EQ((std::vector<std::string>{"/b", "/c"}), files_.Files());
}

TEST_F(SimFileSystemTest, AShortWriteTakesAPart) {
  const int fd = Create("/a");
  files_.SetHook([](const SimCallInfo&) { return SimAction{SimAction::Kind::kShortWrite, 0}; });
  EXPECT_EQ(2, files_.Write(fd, "abcd"));
  EXPECT_EQ("ab", files_.Contents("/a"));
}

TEST_F(SimFileSystemTest, NothingHappensAfterACrash) {
  const int fd = Durable("/a", "x");
  files_.SetHook([](const SimCallInfo& call) {
    return call.kind == SimCall::kWrite ? SimAction{SimAction::Kind::kCrash, 0} : SimAction{};
  });
  EXPECT_EQ(-EIO, files_.Write(fd, "y"));
  EXPECT_TRUE(files_.crashed());
  EXPECT_EQ(-EIO, files_.Unlink(kHere, "/a"));
  EXPECT_EQ(-EIO, files_.Close(fd));
  EXPECT_EQ("x", files_.CrashClone(SimDamage::kNothingLost, 1)->Contents("/a"));
}

TEST_F(SimFileSystemTest, ADeadProcessIsRefusedAndWhatItWroteStaysPending) {
  const int fd = Durable("/a", "x");
  EXPECT_EQ(0, files_.Lock(fd, false));
  EXPECT_EQ(1, files_.Write(fd, "y"));
  files_.SetHook([](const SimCallInfo&) { return SimAction{SimAction::Kind::kRefuse, EIO}; });
  EXPECT_EQ(-EIO, files_.Sync(fd, true));  // takes nothing out of the cache either
  EXPECT_EQ(-EIO, files_.Write(fd, "z"));
  EXPECT_EQ(-EIO, files_.Unlink(kHere, "/a"));
  EXPECT_EQ(0, files_.Close(fd));
  EXPECT_FALSE(files_.crashed());
  files_.SetHook(nullptr);
  EXPECT_EQ("xy", files_.Contents("/a"));
  EXPECT_EQ(std::set<std::string>{"x"}, After(SimDamage::kDropUnsynced, "/a"));
  const int next = files_.Open(kHere, "/a", O_RDWR);
  EXPECT_EQ(0, files_.Lock(next, false));
  EXPECT_EQ(0, files_.Sync(next, true));
  EXPECT_EQ(std::set<std::string>{"xy"}, After(SimDamage::kDropUnsynced, "/a"));
}

TEST_F(SimFileSystemTest, ACrashWakesThoseWhoWaitForALock) {
  const int holder = Durable("/a", "x");
  const int waiter = files_.Open(kHere, "/a", O_RDWR);
  EXPECT_EQ(0, files_.Lock(holder, true));
  files_.SetHook([](const SimCallInfo& call) {
    return call.kind == SimCall::kSync ? SimAction{SimAction::Kind::kCrash, 0} : SimAction{};
  });
  int result = 0;
  base::Thread waits("waits", [&] { result = files_.Lock(waiter, true); });
  EXPECT_EQ(-EIO, files_.Sync(holder, true));
  waits.Join();
  EXPECT_EQ(-EIO, result);
}

TEST_F(SimFileSystemTest, CallsAreCountedByKindAndNumberedForTheHook) {
  uint64_t last = 0;
  Durable("/a", "x");
  const uint64_t before = files_.calls();
  files_.SetHook([&](const SimCallInfo& call) {
    last = call.index;
    return SimAction{};
  });
  EXPECT_EQ(0, files_.Unlink(kHere, "/a"));
  EXPECT_EQ(before, last);
  EXPECT_EQ(before + 1, files_.calls());
  EXPECT_EQ(1u, files_.calls(SimCall::kUnlink));
}

TEST_F(SimFileSystemTest, AHandleOutlivesItsNameAndALockItsHandleOnly) {
  const int a = Durable("/a", "x");
  const int b = files_.Open(kHere, "/a", O_RDWR);
  EXPECT_EQ(0, files_.Lock(a, false));
  EXPECT_EQ(-EWOULDBLOCK, files_.Lock(b, false));
  EXPECT_EQ(0, files_.Unlink(kHere, "/a"));
  char out = 0;
  EXPECT_EQ(1, files_.ReadAt(a, &out, 1, 0));
  EXPECT_EQ(0, files_.Close(a));
  EXPECT_EQ(0, files_.Lock(b, false));
}

TEST_F(SimFileSystemTest, FlipBitChangesTheFileOfThisFileSystemOnly) {
  Durable("/a", "x");
  const auto clone = files_.CrashClone(SimDamage::kDropUnsynced, 1);
  EXPECT_EQ(files_.ContentHash(), clone->ContentHash());
  clone->FlipBit("/a", 0, 1);
  EXPECT_EQ("z", clone->Contents("/a"));
  EXPECT_EQ("x", files_.Contents("/a"));
  EXPECT_NE(files_.ContentHash(), clone->ContentHash());
}

}  // namespace
}  // namespace lamina::testing
