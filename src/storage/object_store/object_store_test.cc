// The conformance suite over every backend and wrapper of this module.
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "storage/object_store/counting_store.h"
#include "storage/object_store/local_store.h"
#include "storage/object_store/memory_store.h"
#include "storage/object_store/object_store_test_suite.h"
#include "testing/sim_file_system.h"

namespace lamina::storage {
namespace {

/// Directories of this run, removed at its end: writers and buffers may outlive the store of a
/// test.
class TempDirectories {
 public:
  ~TempDirectories() {
    std::error_code ignored;  // every run makes its own
    for (const std::string& directory : made_) std::filesystem::remove_all(directory, ignored);
  }
  std::string Make() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lamina-store-XXXXXX").string();
    EXPECT_NE(nullptr, mkdtemp(pattern.data()));
    made_.push_back(pattern);
    return pattern;
  }

 private:
  std::vector<std::string> made_;
};

std::shared_ptr<ObjectStore> MakeTempLocalStore() {
  static TempDirectories directories;
  return OpenLocalStore(directories.Make(), /*create=*/false).ValueOr(nullptr);
}

/// The local store's own code, on the file system that the crash tests run it on.
std::shared_ptr<ObjectStore> MakeSimulatedStore() {
  return LocalStore::Open("/database", /*create=*/true,
                          std::make_shared<testing::SimFileSystem>(base::SystemClock()))
      .ValueOr(nullptr);
}

INSTANTIATE_TEST_SUITE_P(
    Stores, ObjectStoreConformance,
    ::testing::Values(StoreFactory{"memory", [] { return MakeMemoryStore(); }},
                      StoreFactory{"local", [] { return MakeTempLocalStore(); }},
                      StoreFactory{"local_on_simulated_files", [] { return MakeSimulatedStore(); },
                                   /*locks=*/true, "pid=4711"},
                      StoreFactory{
                          "counting",
                          [] { return std::make_shared<CountingStore>(MakeMemoryStore()); }}),
    [](const auto& info) { return info.param.name; });

// ---- Memory ----

TEST(MemoryStoreTest, CrashCloneKeepsSyncedBytesOnly) {
  MemoryStore store;
  ASSERT_TRUE(store.Put("data/one", "x", PutCondition::None()).ok());
  auto file = *store.OpenAppend("wal/1", -1);
  ASSERT_TRUE(file->Append("synced").ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(file->Append("lost").ok());
  auto lock = *store.Lock("LOCK");

  auto clone = store.CrashClone();
  EXPECT_EQ("synced", (*clone->Get("wal/1", nullptr))->ToString());
  EXPECT_EQ("x", (*clone->Get("data/one", nullptr))->ToString());
  EXPECT_TRUE(clone->Lock("LOCK").ok());
  // Two stores from here on.
  ASSERT_TRUE(clone->Delete("data/one").ok());
  ASSERT_TRUE(file->Append("more").ok());
  EXPECT_TRUE(store.Head("data/one").ok());
  EXPECT_EQ(6, clone->Head("wal/1")->size);
}

TEST(MemoryStoreTest, TornCrashCloneKeepsAPrefixOfTheUnsyncedBytes) {
  MemoryStore store;
  auto file = *store.OpenAppend("wal/1", -1);
  ASSERT_TRUE(file->Append("synced").ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(file->Append("tail").ok());
  base::Random random(1);
  std::set<std::string> seen;
  for (int i = 0; i < 200; ++i)
    seen.insert((*store.CrashClone(&random)->Get("wal/1", nullptr))->ToString());
  EXPECT_EQ((std::set<std::string>{"synced", "syncedt", "syncedta", "syncedtai", "syncedtail"}),
            seen);
}

// ---- Counting ----

TEST(CountingStoreTest, CountsRequestsBytesAndErrorsByKindAndDomain) {
  CountingStore store(MakeMemoryStore());
  ASSERT_TRUE(store.Put("data/t/1", "0123456789", PutCondition::None()).ok());
  ASSERT_FALSE(store.Get("refs/main", nullptr).ok());
  auto reader = *store.OpenReader("data/t/1");
  ASSERT_TRUE(reader->ReadAt(2, 4).ok());
  char out[8];
  ASSERT_TRUE(reader->ReadAt(0, 3, out).ok());
  auto file = *store.OpenAppend("wal/main/1", -1);
  ASSERT_TRUE(file->Append("abc").ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(store.List("data/").ok());
  ASSERT_TRUE(store.Head("elsewhere").status().IsKeyError());

  const StoreCounts counts = store.counts();
  EXPECT_EQ(1u, counts.at(RequestKind::kPut, StoreDomain::kData).requests);
  EXPECT_EQ(10u, counts.at(RequestKind::kPut, StoreDomain::kData).bytes);
  EXPECT_EQ(1u, counts.at(RequestKind::kGet, StoreDomain::kRefs).errors);
  EXPECT_EQ(2u, counts.at(RequestKind::kRange, StoreDomain::kData).requests);
  EXPECT_EQ(7u, counts.at(RequestKind::kRange, StoreDomain::kData).bytes);
  EXPECT_EQ(1u, counts.at(RequestKind::kSync, StoreDomain::kWal).requests);
  EXPECT_EQ(3u, counts.at(RequestKind::kAppend, StoreDomain::kWal).bytes);
  EXPECT_EQ(1u, counts.at(RequestKind::kHead, StoreDomain::kOther).errors);
  EXPECT_EQ(7u, counts.bytes_read());
  EXPECT_EQ(13u, counts.bytes_written());
  EXPECT_EQ(7u, counts.round_trips());
  EXPECT_NE(std::string::npos, counts.ToString().find("range data requests=2 bytes=7 errors=0"));

  ASSERT_TRUE(store.Delete("data/t/1").ok());
  const StoreCounts delta = store.counts() - counts;
  EXPECT_EQ(1u, delta.round_trips());
  EXPECT_EQ(1u, delta.of(RequestKind::kDelete).requests);
}

}  // namespace
}  // namespace lamina::storage
