// The log as the engine uses it: what a reopen makes of torn, damaged, pruned and foreign ends.
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "engine/engine_test_support_internal.h"
#include "storage/object_store/memory_store.h"
#include "storage/wal/wal.h"
#include "testing/faulty_store.h"

namespace lamina::engine {
namespace {

using catalog::kKeyValueTable;
using storage::RequestKind;
using testing::FaultyStore;
using testing::StoreFault;
using testing_engine::CreatePeople;
using testing_engine::Get;
using testing_engine::MustOpen;
using testing_engine::People;
using testing_engine::Put;
using testing_engine::PutPeople;
using testing_engine::TestOptions;

constexpr char kFirstSegment[] = "wal/main/0000000001/000000000001.vw";

std::string BytesOf(ObjectStore* store, const std::string& path) {
  auto bytes = store->Get(path);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.ok() ? (*bytes)->ToString() : "";
}

/// A store with the same objects.
std::shared_ptr<ObjectStore> Copy(ObjectStore* store) {
  auto copy = MakeMemoryStore();
  auto objects = store->List("");
  EXPECT_TRUE(objects.ok()) << objects.status();
  for (const auto& object : *objects)
    EXPECT_TRUE(copy->Put(object.path, BytesOf(store, object.path), PutCondition::None()).ok());
  return copy;
}

/// Two keys by one commit, so that half of one would show.
Result<CommitReceipt> PutPair(Engine* engine, int number) {
  WriteBatch batch;
  for (const char* half : {"left", "right"}) {
    batch.AddInline(kKeyValueTable, temporal::FactKind::kPut, {}, half + std::to_string(number),
                    std::to_string(number));
  }
  CommitRequest request;
  request.batch = &batch;
  return engine->Commit(std::move(request));
}

// Whatever is cut off: the commits that are whole come back, none by half; what is written then
// follows them, also after a second restart.
TEST(EngineLogTest, ALogCutAtEveryByteGivesBackAPrefixOfWholeCommits) {
  const auto store = MakeMemoryStore();
  constexpr int kCommits = 4;
  std::vector<size_t> ends;  // bytes of the log after each commit
  {
    auto engine = MustOpen(TestOptions(store));
    for (int i = 0; i < kCommits; ++i) {
      ASSERT_TRUE(PutPair(engine.get(), i).ok());
      ends.push_back(BytesOf(store.get(), kFirstSegment).size());
    }
  }
  const std::string whole = BytesOf(store.get(), kFirstSegment);
  ASSERT_EQ(whole.size(), ends.back());
  for (size_t size = 0; size <= whole.size(); ++size) {
    SCOPED_TRACE(size);
    const auto cut = Copy(store.get());
    ASSERT_TRUE(cut->Put(kFirstSegment, whole.substr(0, size), PutCondition::None()).ok());
    const auto expected = static_cast<int>(
        std::count_if(ends.begin(), ends.end(), [&](size_t e) { return e <= size; }));
    auto engine = MustOpen(TestOptions(cut));
    ASSERT_NE(engine, nullptr);
    EXPECT_EQ(engine->newest_commit().value, static_cast<uint64_t>(expected));
    EXPECT_EQ(engine->recovery().replayed_commits, static_cast<uint64_t>(expected));
    const auto check = [&](const char* when) {
      for (int i = 0; i < kCommits; ++i) {
        const auto value = i < expected ? std::optional(std::to_string(i)) : std::nullopt;
        EXPECT_EQ(Get(*engine, "left" + std::to_string(i)), value) << i << when;
        EXPECT_EQ(Get(*engine, "right" + std::to_string(i)), value) << i << when;
      }
    };
    check(" at once");
    ASSERT_TRUE(PutPair(engine.get(), 77).ok());
    engine.reset();
    engine = MustOpen(TestOptions(cut));
    ASSERT_NE(engine, nullptr);
    check(" after the second restart");
    EXPECT_EQ(Get(*engine, "left77"), "77");
    EXPECT_EQ(Get(*engine, "right77"), "77");
    EXPECT_EQ(engine->newest_commit().value, static_cast<uint64_t>(expected + 1));
  }
}

// A byte changed in the middle: never a silent loss. The open names file and offset and changes
// nothing; with salvage what lies before comes back, and what was left out is told and kept aside.
TEST(EngineLogTest, ADamagedLogIsRefusedByFileAndOffsetAndSalvagedOnRequest) {
  const auto store = MakeMemoryStore();
  std::vector<size_t> ends;
  {
    auto engine = MustOpen(TestOptions(store));
    for (int i = 0; i < 4; ++i) {
      ASSERT_TRUE(PutPair(engine.get(), i).ok());
      ends.push_back(BytesOf(store.get(), kFirstSegment).size());
    }
    // The seal says that all before it was synced; before a sync a hole could be a torn tail.
    ASSERT_TRUE(engine->Close(/*flush=*/false).ok());
  }
  std::string damaged = BytesOf(store.get(), kFirstSegment);
  damaged[ends[1] + 30] ^= 0x20;  // in the third commit
  ASSERT_TRUE(store->Put(kFirstSegment, damaged, PutCondition::None()).ok());
  const auto listing = [&] {
    std::map<std::string, std::string> objects;
    for (const auto& object : *store->List(""))
      objects[object.path] = BytesOf(store.get(), object.path);
    return objects;
  };
  const auto before = listing();
  const Status refused = Engine::Open(TestOptions(store)).status();
  EXPECT_EQ(CodeOf(refused), ErrorCode::kCorruption) << refused;
  EXPECT_NE(refused.ToString().find(kFirstSegment), std::string::npos) << refused;
  EXPECT_NE(refused.ToString().find(std::to_string(ends[1])), std::string::npos)
      << "the offset " << ends[1] << " is not in: " << refused;
  EXPECT_NE(refused.ToString().find("salvage"), std::string::npos) << refused;
  EXPECT_EQ(listing(), before) << "a refused open changes nothing";

  auto options = TestOptions(store);
  options.salvage = true;
  auto engine = MustOpen(options);
  ASSERT_NE(engine, nullptr);
  EXPECT_EQ(engine->newest_commit().value, 2u);
  EXPECT_EQ(Get(*engine, "left1"), "1");
  EXPECT_EQ(Get(*engine, "left2"), std::nullopt);
  EXPECT_EQ(Get(*engine, "left3"), std::nullopt) << "nothing behind a hole";
  ASSERT_EQ(engine->recovery().left_out.size(), 1u);
  EXPECT_NE(engine->recovery().left_out[0].find(kFirstSegment), std::string::npos);
  EXPECT_EQ(store->List("wal/main/damaged/")->size(), 1u);
  ASSERT_TRUE(PutPair(engine.get(), 5).ok());
  engine.reset();
  engine = MustOpen(TestOptions(store));  // sound without salvage from now on
  ASSERT_NE(engine, nullptr);
  EXPECT_EQ(Get(*engine, "left5"), "5");
  EXPECT_EQ(engine->newest_commit().value, 3u);
  EXPECT_TRUE(engine->Check(nullptr)->empty());
}

TEST(EngineLogTest, PruningTakesOnlyFlushedSegmentsAndADryRunNone) {
  const auto base = MakeMemoryStore();
  const auto faulty = std::make_shared<FaultyStore>(base);
  auto options = TestOptions(faulty);
  options.wal_segment_bytes = 300;
  options.auto_flush = false;
  auto engine = MustOpen(options);
  const auto segments = [&] { return storage::wal::ListSegments(base, "main")->size(); };
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(PutPair(engine.get(), i).ok());
  const size_t all = segments();
  ASSERT_GT(all, 5u);
  // Nothing is in the files yet: every segment is needed.
  auto pruned = engine->PruneWal(/*dry_run=*/false);
  ASSERT_TRUE(pruned.ok()) << pruned.status();
  EXPECT_TRUE(pruned->empty());
  EXPECT_EQ(segments(), all);
  // The flush cannot delete them, which harms nothing.
  StoreFault fault;
  fault.kind = RequestKind::kDelete;
  fault.path_prefix = "wal/";
  faulty->Add(fault);
  ASSERT_TRUE(engine->Flush().ok());
  EXPECT_EQ(segments(), all + 1) << "the new one";
  auto dry = engine->PruneWal(/*dry_run=*/true);
  ASSERT_TRUE(dry.ok()) << dry.status();
  EXPECT_EQ(dry->size(), all);
  EXPECT_EQ(segments(), all + 1) << "a dry run only counts";
  // A sealed memtable that is not flushed pins its part of the log.
  engine->SetSealThresholds(0, 2, 0, 0);
  for (int i = 30; i < 36; ++i) ASSERT_TRUE(PutPair(engine.get(), i).ok());
  ASSERT_GT(engine->metrics().sealed_memtables, 3u);
  pruned = engine->PruneWal(/*dry_run=*/false);
  ASSERT_TRUE(pruned.ok()) << pruned.status();
  EXPECT_EQ(*pruned, *dry);
  EXPECT_TRUE(engine->PruneWal(/*dry_run=*/true)->empty());
  engine.reset();
  engine = MustOpen(options);
  EXPECT_EQ(engine->recovery().replayed_commits, 6u) << "the unflushed ones and no other";
  for (int i = 0; i < 36; ++i)
    EXPECT_EQ(Get(*engine, "right" + std::to_string(i)), std::to_string(i));
}

// After an erase the segments may not stay as they do after a flush that cannot delete them.
TEST(EngineLogTest, AnEraseThatCannotDeleteTheLogSaysSo) {
  const auto base = MakeMemoryStore();
  const auto faulty = std::make_shared<FaultyStore>(base);
  auto engine = MustOpen(TestOptions(faulty));
  ASSERT_TRUE(Put(engine.get(), "secret-key", "v").ok());
  StoreFault fault;
  fault.kind = RequestKind::kDelete;
  fault.path_prefix = "wal/";
  fault.times = 2;
  faulty->Add(fault);
  EXPECT_EQ(CodeOf(engine->EraseKey(kKeyValueTable, "secret-key")), ErrorCode::kUnavailable);
  faulty->Clear();
  ASSERT_TRUE(engine->EraseKey(kKeyValueTable, "secret-key").ok());
  for (const auto& object : *base->List("")) {
    EXPECT_EQ(BytesOf(base.get(), object.path).find("secret-key"), std::string::npos)
        << object.path;
  }
}

// What salvage keeps aside is beyond reading: any key may be in it.
TEST(EngineLogTest, AnEraseAlsoTakesWhatSalvageKeptAside) {
  const auto store = MakeMemoryStore();
  size_t end = 0;
  {
    auto engine = MustOpen(TestOptions(store));
    ASSERT_TRUE(Put(engine.get(), "a", "1").ok());
    end = BytesOf(store.get(), kFirstSegment).size();
    ASSERT_TRUE(Put(engine.get(), "secret-key", "2").ok());
    ASSERT_TRUE(Put(engine.get(), "secret-key", "3").ok());
    ASSERT_TRUE(engine->Close(/*flush=*/false).ok());
  }
  std::string damaged = BytesOf(store.get(), kFirstSegment);
  damaged[end + 5] ^= 0x20;
  ASSERT_TRUE(store->Put(kFirstSegment, damaged, PutCondition::None()).ok());
  auto options = TestOptions(store);
  options.salvage = true;
  auto engine = MustOpen(options);
  ASSERT_NE(engine, nullptr);
  const auto copies = store->List("wal/main/damaged/");
  ASSERT_EQ(copies->size(), 1u);
  ASSERT_NE(BytesOf(store.get(), copies->front().path).find("secret-key"), std::string::npos);
  ASSERT_TRUE(engine->EraseKey(kKeyValueTable, "secret-key").ok());
  for (const auto& object : *store->List("")) {
    EXPECT_EQ(BytesOf(store.get(), object.path).find("secret-key"), std::string::npos)
        << object.path;
  }
}

// Names are minted ahead of a clock that went back, and yet nothing is too young to be erased.
TEST(EngineLogTest, AnEraseLeavesNoTraceAlsoWhenTheClockWentBack) {
  base::ManualClock clock;
  const auto store = MakeMemoryStore();
  auto options = TestOptions(store);
  options.clock = &clock;
  options.upper_codec = Codec::kNone;
  auto engine = MustOpen(options);
  for (const char* key : {"aaa", "secret-key", "zzz"})
    ASSERT_TRUE(Put(engine.get(), key, "value").ok());
  ASSERT_TRUE(engine->Flush().ok());
  ASSERT_TRUE(Put(engine.get(), "secret-key", "another").ok());
  ASSERT_TRUE(engine->Flush().ok());
  clock.Set(clock.NowMicros() - int64_t{3600} * 1'000'000);
  ASSERT_TRUE(engine->EraseKey(kKeyValueTable, "secret-key").ok());
  for (const auto& object : *store->List("")) {
    EXPECT_EQ(BytesOf(store.get(), object.path).find("secret-key"), std::string::npos)
        << object.path;
  }
  EXPECT_EQ(Get(*engine, "zzz"), "value");
}

// The clock goes on from the files when the log has nothing to say, whatever the machine's clock
// shows.
TEST(EngineLogTest, CommitTimesRiseOverARestartWithAnEmptyLogAndAClockThatIsBehind) {
  base::ManualClock clock;
  const auto store = MakeMemoryStore();
  auto options = TestOptions(store);
  options.clock = &clock;
  auto engine = MustOpen(options);
  const auto people = CreatePeople(engine.get());
  ASSERT_TRUE(PutPeople(engine.get(), people, {{1, "Ada"}}).ok());
  ASSERT_TRUE(Put(engine.get(), "k", "v").ok());
  const SystemTime last = engine->newest_system();
  ASSERT_TRUE(engine->Close(/*flush=*/true).ok());
  engine.reset();
  clock.Set(clock.NowMicros() - int64_t{3600} * 1'000'000);
  engine = MustOpen(options);
  EXPECT_EQ(engine->recovery().replayed_commits, 0u);
  EXPECT_EQ(engine->newest_commit().value, 2u);
  EXPECT_EQ(engine->newest_system(), last);
  auto receipt = Put(engine.get(), "k", "w");
  ASSERT_TRUE(receipt.ok()) << receipt.status();
  EXPECT_EQ(receipt->commit.value, 3u);
  EXPECT_GT(receipt->system, last);
  EXPECT_EQ(People(*engine, people), (std::map<int64_t, std::string>{{1, "Ada"}}));
}

}  // namespace
}  // namespace lamina::engine
