#include "storage/object_store/write_once.h"

#include <gtest/gtest.h>

#include "storage/object_store/memory_store.h"
#include "testing/faulty_store.h"

namespace lamina::storage {
namespace {

Status Exists() { return MakeError(ErrorCode::kAlreadyExists, "injected: object exists"); }

TEST(WriteOnceTest, OwnPutThatArrivedTwiceIsTaken) {
  auto base = std::make_shared<MemoryStore>();
  testing::FaultyStore store(base);
  testing::StoreFault fault;
  fault.kind = RequestKind::kPut;
  fault.after_effect = true;
  fault.status = Exists();
  store.Add(fault);
  EXPECT_TRUE(PutOnce(&store, "data/a", "body").ok());
  EXPECT_EQ((*base->Get("data/a", nullptr))->ToString(), "body");
}

TEST(WriteOnceTest, OtherBytesUnderTheNameAreNotTaken) {
  MemoryStore store;
  ASSERT_TRUE(store.Put("data/a", "other", PutCondition::IfAbsent()).ok());
  EXPECT_EQ(CodeOf(PutOnce(&store, "data/a", "body")), ErrorCode::kUnavailable);
  EXPECT_EQ((*store.Get("data/a", nullptr))->ToString(), "other");
}

TEST(WriteOnceTest, OtherErrorsPass) {
  testing::FaultyStore store(std::make_shared<MemoryStore>());
  testing::StoreFault fault;
  fault.kind = RequestKind::kPut;
  fault.status = MakeError(ErrorCode::kResourceExhausted, "injected: disk full");
  store.Add(fault);
  EXPECT_EQ(CodeOf(PutOnce(&store, "data/a", "body")), ErrorCode::kResourceExhausted);
}

TEST(WriteOnceTest, FinishedObjectIsTakenBySize) {
  MemoryStore store;
  EXPECT_EQ(CodeOf(SettleFinish(&store, "data/a", 4, Exists())), ErrorCode::kUnavailable);
  ASSERT_TRUE(store.Put("data/a", "body", PutCondition::IfAbsent()).ok());
  EXPECT_TRUE(SettleFinish(&store, "data/a", 4, Exists()).ok());
  EXPECT_EQ(CodeOf(SettleFinish(&store, "data/a", 5, Exists())), ErrorCode::kUnavailable);
  EXPECT_TRUE(SettleFinish(&store, "data/a", 5, Status::OK()).ok());
}

}  // namespace
}  // namespace lamina::storage
