// The local store on a file system whose calls fail and whose machine stops.
#include <cerrno>
#include <functional>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "storage/object_store/local_store.h"
#include "testing/sim_file_system.h"

namespace lamina::storage {
namespace {

using testing::SimAction;
using testing::SimCall;
using testing::SimCallInfo;
using testing::SimDamage;
using testing::SimFileSystem;

class LocalStoreFaultsTest : public ::testing::Test {
 protected:
  void SetUp() override { store_ = *Open(files_); }

  static Result<std::shared_ptr<LocalStore>> Open(const std::shared_ptr<SimFileSystem>& files) {
    return LocalStore::Open("/db", /*create=*/true, files);
  }
  /// The first call of this kind whose path ends so fails; later ones do not.
  void FailOnce(SimCall kind, const std::string& path_end, SimAction::Kind how, int error = EIO) {
    auto fired = std::make_shared<bool>(false);
    files_->SetHook([=](const SimCallInfo& call) {
      if (*fired || call.kind != kind || !call.path.ends_with(path_end)) return SimAction{};
      *fired = true;
      return SimAction{how, error};
    });
  }
  /// What the disk has after the power went.
  std::shared_ptr<LocalStore> AfterPowerFailure() {
    return *Open(files_->CrashClone(SimDamage::kDropUnsynced, 1));
  }
  static ErrorCode Code(const Status& status) {
    EXPECT_FALSE(status.ok());
    return status.ok() ? ErrorCode::kInternal : CodeOf(status);
  }

  base::ManualClock clock_;
  std::shared_ptr<SimFileSystem> files_ = std::make_shared<SimFileSystem>(&clock_);
  std::shared_ptr<LocalStore> store_;
};

TEST_F(LocalStoreFaultsTest, AFailedSyncOfADirectoryEndsWriting) {
  ASSERT_TRUE(store_->Put("refs/main", "old", PutCondition::None()).ok());
  FailOnce(SimCall::kSyncDirectory, "/refs", SimAction::Kind::kFailBefore);
  EXPECT_EQ(ErrorCode::kStopped,
            Code(store_->Put("refs/main", "new", PutCondition::None()).status()));
  // It reads as if it had happened, and is not on disk: so nothing may build on it.
  EXPECT_EQ("new", (*store_->Get("refs/main", nullptr))->ToString());
  EXPECT_EQ("old", (*AfterPowerFailure()->Get("refs/main", nullptr))->ToString());
  EXPECT_EQ(ErrorCode::kStopped, Code(store_->Put("data/1", "x", PutCondition::None()).status()));
  EXPECT_EQ(ErrorCode::kStopped, Code(store_->Create("data/1").status()));
  EXPECT_EQ(ErrorCode::kStopped, Code(store_->OpenAppend("wal/1", -1).status()));
  // A new handle begins anew.
  store_ = *Open(files_);
  EXPECT_TRUE(store_->Put("refs/main", "newer", PutCondition::None()).ok());
  EXPECT_EQ("newer", (*AfterPowerFailure()->Get("refs/main", nullptr))->ToString());
}

TEST_F(LocalStoreFaultsTest, AnErrorBeforeTheSyncOfTheDirectoryMeansThatNothingHappened) {
  ASSERT_TRUE(store_->Put("refs/main", "old", PutCondition::None()).ok());
  // The handle of the directory is taken before the rename.
  FailOnce(SimCall::kOpen, "/refs", SimAction::Kind::kFailBefore, EMFILE);
  EXPECT_EQ(ErrorCode::kResourceExhausted,
            Code(store_->Put("refs/main", "new", PutCondition::None()).status()));
  EXPECT_EQ("old", (*store_->Get("refs/main", nullptr))->ToString());
  FailOnce(SimCall::kOpen, "/refs", SimAction::Kind::kFailBefore, EMFILE);
  EXPECT_FALSE(store_->Put("refs/other", "new", PutCondition::IfAbsent()).ok());
  EXPECT_FALSE(store_->Head("refs/other").ok());
}

TEST_F(LocalStoreFaultsTest, ARenameThatHappenedInSpiteOfItsErrorCounts) {
  ASSERT_TRUE(store_->Put("refs/main", "old", PutCondition::None()).ok());
  FailOnce(SimCall::kRename, "/refs/main", SimAction::Kind::kFailAfter, EIO);
  EXPECT_TRUE(store_->Put("refs/main", "new", PutCondition::None()).ok());
  FailOnce(SimCall::kRename, "/refs/other", SimAction::Kind::kFailAfter, EEXIST);
  EXPECT_TRUE(store_->Put("refs/other", "new", PutCondition::IfAbsent()).ok());
  files_->SetHook(nullptr);
  EXPECT_EQ("new", (*AfterPowerFailure()->Get("refs/main", nullptr))->ToString());
  EXPECT_EQ("new", (*AfterPowerFailure()->Get("refs/other", nullptr))->ToString());
}

TEST_F(LocalStoreFaultsTest, ADirectoryWhoseSyncFailedIsMadeAnew) {
  FailOnce(SimCall::kSyncDirectory, "/db", SimAction::Kind::kFailBefore);
  EXPECT_EQ(ErrorCode::kStopped, Code(store_->Put("data/1", "x", PutCondition::None()).status()));
  store_ = *Open(files_);
  ASSERT_TRUE(store_->Put("data/1", "x", PutCondition::None()).ok());
  EXPECT_EQ("x", (*AfterPowerFailure()->Get("data/1", nullptr))->ToString());
}

TEST_F(LocalStoreFaultsTest, OpenMakesAlsoADirectoryDurableThatIsThere) {
  // The first open met an error at the sync, or its process died before it.
  files_ = std::make_shared<SimFileSystem>(&clock_);
  FailOnce(SimCall::kSyncDirectory, "", SimAction::Kind::kFailBefore);
  EXPECT_FALSE(Open(files_).ok());
  store_ = *Open(files_);
  ASSERT_TRUE(store_->Put("one", "x", PutCondition::None()).ok());
  EXPECT_EQ("x", (*AfterPowerFailure()->Get("one", nullptr))->ToString());

  files_ = std::make_shared<SimFileSystem>(&clock_);
  ASSERT_EQ(0, files_->MakeDirectory(FileSystem::kHere, "/db"));
  store_ = *Open(files_);
  ASSERT_TRUE(store_->Put("one", "x", PutCondition::None()).ok());
  EXPECT_EQ("x", (*AfterPowerFailure()->Get("one", nullptr))->ToString());
}

}  // namespace
}  // namespace lamina::storage
