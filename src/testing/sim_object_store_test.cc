#include "testing/sim_object_store.h"

#include <set>

#include <gtest/gtest.h>

#include "storage/object_store/memory_store.h"

namespace lamina::testing {
namespace {

using storage::MemoryStore;

/// A store that shows one fault at every call that can.
std::unique_ptr<SimObjectStore> Always(const std::shared_ptr<ObjectStore>& base, NetworkFault fault,
                                       base::Clock* clock = nullptr) {
  SimObjectStore::Options options;
  options.rates[fault] = 1;
  options.clock = clock;
  return std::make_unique<SimObjectStore>(base, options);
}

ErrorCode CodeOfPut(ObjectStore& store, const PutCondition& condition = PutCondition::IfAbsent()) {
  const auto put = store.Put("data/a", "body", condition);
  return put.ok() ? ErrorCode::kInternal : CodeOf(put.status());
}

TEST(SimObjectStoreTest, WithoutRatesNothingHappens) {
  auto base = std::make_shared<MemoryStore>();
  SimObjectStore store(base, {});
  EXPECT_TRUE(store.Put("data/a", "body", PutCondition::IfAbsent()).ok());
  EXPECT_EQ((*store.Get("data/a", nullptr))->ToString(), "body");
  EXPECT_FALSE(store.supports_append());
  for (const uint64_t shown : store.shown()) EXPECT_EQ(shown, 0u);
}

TEST(SimObjectStoreTest, ErrorsBeforeAndAfterTheEffect) {
  auto base = std::make_shared<MemoryStore>();
  EXPECT_EQ(CodeOfPut(*Always(base, NetworkFault::kErrorBefore)), ErrorCode::kUnavailable);
  EXPECT_FALSE(base->Head("data/a").ok());
  EXPECT_EQ(CodeOfPut(*Always(base, NetworkFault::kErrorAfter)), ErrorCode::kUnavailable);
  EXPECT_TRUE(base->Head("data/a").ok());
}

TEST(SimObjectStoreTest, LateWriteHappensAfterItsError) {
  auto base = std::make_shared<MemoryStore>();
  const auto store = Always(base, NetworkFault::kLate);
  EXPECT_EQ(CodeOfPut(*store), ErrorCode::kUnavailable);
  EXPECT_FALSE(base->Head("data/a").ok());
  store->DeliverAll();
  EXPECT_TRUE(base->Head("data/a").ok());
}

TEST(SimObjectStoreTest, LateConditionIsJudgedOnArrival) {
  auto base = std::make_shared<MemoryStore>();
  const auto store = Always(base, NetworkFault::kLate);
  EXPECT_EQ(CodeOfPut(*store), ErrorCode::kUnavailable);
  ASSERT_TRUE(base->Put("data/a", "other", PutCondition::IfAbsent()).ok());
  store->DeliverAll();
  EXPECT_EQ((*base->Get("data/a", nullptr))->ToString(), "other");
}

TEST(SimObjectStoreTest, OwnSuccessMayReportAFailedCondition) {
  auto base = std::make_shared<MemoryStore>();
  const auto store = Always(base, NetworkFault::kOwnCondition);
  EXPECT_EQ(CodeOfPut(*store), ErrorCode::kAlreadyExists);
  const auto info = base->Head("data/a");
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(CodeOfPut(*store, PutCondition::IfTagMatches(info->tag)), ErrorCode::kConflict);
  EXPECT_NE(base->Head("data/a")->tag, info->tag);
  auto writer = store->Create("data/b").ValueOrDie();
  ASSERT_TRUE(writer->Write("body").ok());
  EXPECT_EQ(CodeOf(writer->Finish().status()), ErrorCode::kAlreadyExists);
  EXPECT_TRUE(base->Head("data/b").ok());
}

TEST(SimObjectStoreTest, DuplicateArrivesAfterADelete) {
  auto base = std::make_shared<MemoryStore>();
  const auto store = Always(base, NetworkFault::kDuplicate);
  ASSERT_TRUE(store->Put("data/a", "body", PutCondition::IfAbsent()).ok());
  ASSERT_TRUE(base->Delete("data/a").ok());
  store->DeliverAll();
  EXPECT_TRUE(base->Head("data/a").ok());
}

TEST(SimObjectStoreTest, BodiesAreCutAndFlippedButNotTheLogs) {
  auto base = std::make_shared<MemoryStore>();
  const std::string body(100, 'x');
  for (const char* path : {"data/a", "wal/main/a"})
    ASSERT_TRUE(base->Put(path, body, PutCondition::IfAbsent()).ok());
  const auto cut = Always(base, NetworkFault::kTruncated);
  EXPECT_LT((*cut->Get("data/a", nullptr))->size(), 100);
  EXPECT_LT((*cut->GetRange("data/a", 10, 50))->size(), 50);
  EXPECT_LT((*(*cut->OpenReader("data/a"))->ReadAt(10, 50))->size(), 50);
  EXPECT_EQ((*cut->Get("wal/main/a", nullptr))->ToString(), body);
  const auto flipped = Always(base, NetworkFault::kFlipped);
  const std::string got = (*flipped->Get("data/a", nullptr))->ToString();
  ASSERT_EQ(got.size(), body.size());
  int bits = 0;
  for (size_t i = 0; i < body.size(); ++i) bits += __builtin_popcount((got[i] ^ body[i]) & 0xff);
  EXPECT_EQ(bits, 1);
  EXPECT_EQ((*base->Get("data/a", nullptr))->ToString(), body);
}

TEST(SimObjectStoreTest, StallsPassOnTheClock) {
  base::ManualClock clock;
  auto base = std::make_shared<MemoryStore>();
  const auto store = Always(base, NetworkFault::kStall, &clock);
  const int64_t before = clock.NowMicros();
  EXPECT_TRUE(store->Put("data/a", "body", PutCondition::IfAbsent()).ok());
  EXPECT_GT(clock.NowMicros(), before);
}

TEST(SimObjectStoreTest, ExpiredCredentialsComeBack) {
  auto base = std::make_shared<MemoryStore>();
  SimObjectStore::Options options;
  options.rates[NetworkFault::kExpired] = 5;
  SimObjectStore store(base, options);
  std::set<bool> seen;
  for (int i = 0; i < 200; ++i) {
    const auto list = store.List("");
    seen.insert(list.ok());
    if (!list.ok()) {
      EXPECT_EQ(CodeOf(list.status()), ErrorCode::kPermissionDenied);
    }
  }
  EXPECT_EQ(seen.size(), 2u);
}

TEST(SimObjectStoreTest, SameSeedSameFaults) {
  const auto run = [] {
    SimObjectStore::Options options;
    options.seed = 7;
    for (size_t i = 0; i < kNetworkFaults; ++i) options.rates.one_in[i] = 5;
    SimObjectStore store(std::make_shared<MemoryStore>(), options);
    std::string trace;
    for (int i = 0; i < 300; ++i) {
      const std::string path = "data/" + std::to_string(i % 7);
      switch (i % 4) {
        case 0:
          trace += store.Put(path, path, PutCondition::IfAbsent()).status().ToString();
          break;
        case 1: {
          const auto got = store.Get(path, nullptr);
          trace += got.ok() ? (*got)->ToString() : got.status().ToString();
          break;
        }
        case 2:
          trace += store.List("").status().ToString();
          break;
        default:
          trace += store.Delete(path).ToString();
      }
      trace += "\n";
    }
    return trace;
  };
  EXPECT_EQ(run(), run());
}

TEST(ProcessStoreTest, DeadProcessHasNoEffect) {
  auto base = std::make_shared<MemoryStore>();
  ProcessStore store(base);
  auto file = store.OpenAppend("wal/a", -1).ValueOrDie();
  auto writer = store.Create("data/b").ValueOrDie();
  ASSERT_TRUE(file->Append("kept").ok());
  ASSERT_TRUE(writer->Write("body").ok());
  store.Kill();
  EXPECT_TRUE(store.dead());
  EXPECT_FALSE(file->Append("lost").ok());
  EXPECT_FALSE(file->Sync().ok());
  EXPECT_FALSE(writer->Finish().ok());
  EXPECT_FALSE(store.Put("data/a", "body", PutCondition::IfAbsent()).ok());
  EXPECT_FALSE(store.Delete("wal/a").ok());
  EXPECT_EQ((*base->Get("wal/a", nullptr))->ToString(), "kept");
  EXPECT_EQ(base->List("")->size(), 1u);
}

TEST(ProcessStoreTest, HookSeesEveryCallAndMayKill) {
  auto base = std::make_shared<MemoryStore>();
  ProcessStore* self = nullptr;
  int calls = 0;
  ProcessStore store(base, [&](storage::RequestKind kind, std::string_view path) {
    ++calls;
    if (kind == storage::RequestKind::kPut && path == "data/b") self->Kill();
  });
  self = &store;
  EXPECT_TRUE(store.Put("data/a", "body", PutCondition::IfAbsent()).ok());
  EXPECT_FALSE(store.Put("data/b", "body", PutCondition::IfAbsent()).ok());
  EXPECT_EQ(calls, 2);
  EXPECT_FALSE(base->Head("data/b").ok());
}

}  // namespace
}  // namespace lamina::testing
