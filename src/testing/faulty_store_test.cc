#include "testing/faulty_store.h"

#include <gtest/gtest.h>

namespace lamina::testing {
namespace {

using storage::RequestKind;

class FaultyStoreTest : public ::testing::Test {
 protected:
  std::shared_ptr<ObjectStore> base_ = MakeMemoryStore();
  FaultyStore store_{base_};
};

TEST_F(FaultyStoreTest, FailsTheNthMatchingCallOnly) {
  store_.Add({.kind = RequestKind::kPut, .path_prefix = "refs/", .skip = 1});
  EXPECT_TRUE(store_.Put("data/1", "x", PutCondition::None()).ok());
  EXPECT_TRUE(store_.Put("refs/a", "x", PutCondition::None()).ok());
  EXPECT_TRUE(store_.Get("refs/a", nullptr).ok());
  const Status failed = store_.Put("refs/b", "x", PutCondition::None()).status();
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(ErrorCode::kUnavailable, CodeOf(failed));
  EXPECT_FALSE(base_->Head("refs/b").ok());
  EXPECT_TRUE(store_.Put("refs/b", "x", PutCondition::None()).ok());
  EXPECT_EQ(1u, store_.faults_hit());
}

TEST_F(FaultyStoreTest, HookRunsBeforeTheCallWhichIsLetBe) {
  bool there = true;
  StoreFault fault;
  fault.kind = RequestKind::kPut;
  fault.status = Status::OK();
  fault.meanwhile = [&] { there = store_.Head("a").ok(); };  // may call the store
  store_.Add(fault);
  EXPECT_TRUE(store_.Put("a", "1", PutCondition::None()).ok());
  EXPECT_FALSE(there);
  EXPECT_TRUE(store_.Head("a").ok());
  EXPECT_EQ(store_.faults_hit(), 1u);
}

TEST_F(FaultyStoreTest, AfterEffectLosesTheAnswerOnly) {
  store_.Add({.kind = RequestKind::kPut, .path_prefix = "", .after_effect = true});
  EXPECT_FALSE(store_.Put("refs/a", "x", PutCondition::None()).ok());
  EXPECT_TRUE(base_->Head("refs/a").ok());
}

TEST_F(FaultyStoreTest, FullDiskTakesWhatFitsUntilCleared) {
  auto file = *store_.OpenAppend("wal/1", -1);
  store_.DiskFullAfter(5);
  EXPECT_TRUE(file->Append("abc").ok());
  const Status failed = file->Append("defg");
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(ErrorCode::kResourceExhausted, CodeOf(failed));
  EXPECT_EQ("abcde", (*base_->Get("wal/1"))->ToString());
  EXPECT_FALSE(store_.Put("data/1", "x", PutCondition::None()).ok());
  EXPECT_FALSE(base_->Head("data/1").ok());
  store_.Clear();
  EXPECT_TRUE(store_.Put("data/1", "x", PutCondition::None()).ok());
}

TEST_F(FaultyStoreTest, WriterThatFailedCannotFinish) {
  store_.Add({.kind = RequestKind::kWrite, .path_prefix = "data/", .skip = 1});
  auto writer = *store_.Create("data/1");
  EXPECT_TRUE(writer->Write("a").ok());
  EXPECT_FALSE(writer->Write("b").ok());
  EXPECT_FALSE(writer->Finish().ok());
  EXPECT_FALSE(base_->Head("data/1").ok());
}

TEST_F(FaultyStoreTest, ReadsOfAnOpenReaderAndSyncsFail) {
  ASSERT_TRUE(store_.Put("data/1", "0123", PutCondition::None()).ok());
  auto reader = *store_.OpenReader("data/1");
  auto file = *store_.OpenAppend("wal/1", -1);
  store_.Add({.kind = RequestKind::kRange, .path_prefix = "data/"});
  store_.Add({.kind = RequestKind::kSync,
              .path_prefix = "wal/",
              .times = ~uint64_t{0},
              .status = MakeError(ErrorCode::kStopped, "injected EIO")});
  EXPECT_FALSE(reader->ReadAt(0, 1).ok());
  EXPECT_TRUE(reader->ReadAt(0, 1).ok());
  EXPECT_EQ(ErrorCode::kStopped, CodeOf(file->Sync()));
  EXPECT_EQ(ErrorCode::kStopped, CodeOf(file->Sync()));
}

}  // namespace
}  // namespace lamina::testing
