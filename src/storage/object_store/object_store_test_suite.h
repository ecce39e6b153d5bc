// What every ObjectStore must do, as a parameterised test suite:
//
//   INSTANTIATE_TEST_SUITE_P(Memory, ObjectStoreConformance,
//                            ::testing::Values(StoreFactory{"memory", [] { return
//                            MakeMemoryStore(); }}));
//
// Link it into a test program once (the tests are defined here).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <set>
#include <string>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "base/thread.h"
#include "lamina/object_store.h"

namespace lamina::storage {

/// Makes an empty store. Deviations a backend is allowed are flags here.
struct StoreFactory {
  std::string name;
  std::function<std::shared_ptr<ObjectStore>()> make;
  bool locks = true;  ///< Lock excludes other handles.
  /// How a refused Lock names who holds it.
  std::string holder = "pid=" + std::to_string(getpid());
};

inline void PrintTo(const StoreFactory& factory, std::ostream* out) { *out << factory.name; }

class ObjectStoreConformance : public ::testing::TestWithParam<StoreFactory> {
 protected:
  void SetUp() override { store_ = GetParam().make(); }

  static Status StatusOf(const Status& status) { return status; }
  template <typename T>
  static Status StatusOf(const Result<T>& result) {
    return result.status();
  }
  static ErrorCode CodeOrInternal(const Status& status) {
    EXPECT_FALSE(status.ok());
    return status.ok() ? ErrorCode::kInternal : CodeOf(status);
  }
  ObjectInfo MustPut(const std::string& path, std::string_view bytes,
                     const PutCondition& condition = {}) {
    auto result = store_->Put(path, bytes, condition);
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    return result.ok() ? *result : ObjectInfo{};
  }
  std::string MustGet(const std::string& path) {
    auto result = store_->Get(path);
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    return result.ok() ? (*result)->ToString() : "";
  }
  std::vector<std::string> ListPaths(const std::string& prefix) {
    auto result = store_->List(prefix);
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    std::vector<std::string> out;
    if (result.ok()) {
      for (const ObjectInfo& info : *result) out.push_back(info.path);
    }
    return out;
  }

  std::shared_ptr<ObjectStore> store_;
};

#define LAMINA_EXPECT_CODE(code, expression) \
  EXPECT_EQ(ErrorCode::code, CodeOrInternal(StatusOf(expression)))

TEST_P(ObjectStoreConformance, PutThenGetReturnsTheBytes) {
  const std::string bytes("a\0b\xff", 4);
  const ObjectInfo put = MustPut("data/t/one", bytes);
  EXPECT_EQ("data/t/one", put.path);
  EXPECT_EQ(4, put.size);
  EXPECT_FALSE(put.tag.empty());
  EXPECT_GT(put.modified_micros, 0);
  ObjectInfo got;
  auto buffer = store_->Get("data/t/one", &got);
  ASSERT_TRUE(buffer.ok()) << buffer.status().ToString();
  EXPECT_EQ(bytes, (*buffer)->ToString());
  EXPECT_EQ(put.tag, got.tag);
  auto head = store_->Head("data/t/one");
  ASSERT_TRUE(head.ok()) << head.status().ToString();
  EXPECT_EQ(put.tag, head->tag);
  EXPECT_EQ(4, head->size);
}

TEST_P(ObjectStoreConformance, EmptyObjectIsAnObject) {
  MustPut("data/empty", "");
  EXPECT_EQ("", MustGet("data/empty"));
  auto reader = store_->OpenReader("data/empty");
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  EXPECT_EQ(0, (*reader)->GetSize().ValueOr(-1));
  EXPECT_EQ(0, (*(*reader)->ReadAt(0, 10))->size());
  EXPECT_TRUE(store_->GetRange("data/empty", 0, 0).ok());
}

TEST_P(ObjectStoreConformance, AbsentObjectIsNotFound) {
  LAMINA_EXPECT_CODE(kNotFound, store_->Head("data/none"));
  LAMINA_EXPECT_CODE(kNotFound, store_->Get("data/none"));
  LAMINA_EXPECT_CODE(kNotFound, store_->GetRange("data/none", 0, 1));
  LAMINA_EXPECT_CODE(kNotFound, store_->OpenReader("data/none"));
  MustPut("data/one", "x");
  LAMINA_EXPECT_CODE(kNotFound, store_->Get("data"));
  LAMINA_EXPECT_CODE(kNotFound, store_->Get("data/one/below"));
}

TEST_P(ObjectStoreConformance, GetRangeIsExactOrRefused) {
  MustPut("data/one", "0123456789");
  EXPECT_EQ("345", (*store_->GetRange("data/one", 3, 3))->ToString());
  EXPECT_EQ("0123456789", (*store_->GetRange("data/one", 0, 10))->ToString());
  EXPECT_EQ("", (*store_->GetRange("data/one", 10, 0))->ToString());
  LAMINA_EXPECT_CODE(kInvalidArgument, store_->GetRange("data/one", 8, 3));
  LAMINA_EXPECT_CODE(kInvalidArgument, store_->GetRange("data/one", 11, 0));
  LAMINA_EXPECT_CODE(kInvalidArgument, store_->GetRange("data/one", -1, 1));
  LAMINA_EXPECT_CODE(kInvalidArgument, store_->GetRange("data/one", 0, -1));
  LAMINA_EXPECT_CODE(kInvalidArgument, store_->GetRange("data/one", 1, INT64_MAX));
}

TEST_P(ObjectStoreConformance, BadPathsAreRefusedByEveryCall) {
  for (const std::string path : {"", "/abs", "a//b", "a/", "..", "a/../b", "./a", "a b", "a\\b",
                                 "é", ".tmp-x", "a/.lock-y", "a\nb"}) {
    SCOPED_TRACE(path);
    LAMINA_EXPECT_CODE(kInvalidArgument, store_->Head(path));
    LAMINA_EXPECT_CODE(kInvalidArgument, store_->Get(path));
    LAMINA_EXPECT_CODE(kInvalidArgument, store_->GetRange(path, 0, 0));
    LAMINA_EXPECT_CODE(kInvalidArgument, store_->OpenReader(path));
    LAMINA_EXPECT_CODE(kInvalidArgument, store_->Put(path, "x", PutCondition::None()));
    LAMINA_EXPECT_CODE(kInvalidArgument, store_->Create(path));
    LAMINA_EXPECT_CODE(kInvalidArgument, store_->Delete(path));
    LAMINA_EXPECT_CODE(kInvalidArgument, store_->Lock(path));
    if (store_->supports_append()) {
      LAMINA_EXPECT_CODE(kInvalidArgument, store_->OpenAppend(path));
    }
  }
  LAMINA_EXPECT_CODE(kInvalidArgument, store_->List("../"));
  LAMINA_EXPECT_CODE(kInvalidArgument, store_->List("/"));
}

TEST_P(ObjectStoreConformance, PutIfAbsentRefusesAnExistingObject) {
  MustPut("refs/main", "1", PutCondition::IfAbsent());
  LAMINA_EXPECT_CODE(kAlreadyExists, store_->Put("refs/main", "2", PutCondition::IfAbsent()));
  EXPECT_EQ("1", MustGet("refs/main"));
  ASSERT_TRUE(store_->Delete("refs/main").ok());
  MustPut("refs/main", "3", PutCondition::IfAbsent());
  EXPECT_EQ("3", MustGet("refs/main"));
}

TEST_P(ObjectStoreConformance, PutIfTagMatchesRefusesAnOldTag) {
  const ObjectInfo first = MustPut("refs/main", "1");
  const ObjectInfo second = MustPut("refs/main", "2", PutCondition::IfTagMatches(first.tag));
  EXPECT_NE(first.tag, second.tag);
  LAMINA_EXPECT_CODE(kConflict,
                     store_->Put("refs/main", "3", PutCondition::IfTagMatches(first.tag)));
  EXPECT_EQ("2", MustGet("refs/main"));
  LAMINA_EXPECT_CODE(kConflict,
                     store_->Put("refs/none", "3", PutCondition::IfTagMatches(first.tag)));
  LAMINA_EXPECT_CODE(kNotFound, store_->Get("refs/none"));
}

TEST_P(ObjectStoreConformance, TagNeverComesBackWhenTheContentDoes) {
  std::set<std::string> tags;
  for (int i = 0; i < 40; ++i) {
    EXPECT_TRUE(tags.insert(MustPut("refs/main", i % 2 == 0 ? "A" : "B").tag).second)
        << "round " << i;
  }
  // Also through absence.
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(store_->Delete("refs/main").ok());
    EXPECT_TRUE(tags.insert(MustPut("refs/main", "A").tag).second) << "round " << i;
  }
}

TEST_P(ObjectStoreConformance, ConcurrentConditionalPutsLoseNoUpdate) {
  MustPut("refs/counter", "0");
  constexpr int kThreads = 4;
  constexpr int kRounds = 10;
  {
    std::vector<base::Thread> threads;
    threads.reserve(kThreads);
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back("cas", [&] {
        for (int done = 0; done < kRounds;) {
          ObjectInfo info;
          auto now = store_->Get("refs/counter", &info);
          ASSERT_TRUE(now.ok()) << now.status().ToString();
          const std::string next = std::to_string(std::stoi((*now)->ToString()) + 1);
          auto put = store_->Put("refs/counter", next, PutCondition::IfTagMatches(info.tag));
          if (put.ok()) {
            ++done;
          } else {
            ASSERT_EQ(ErrorCode::kConflict, CodeOf(put.status())) << put.status().ToString();
          }
        }
      });
    }
  }
  EXPECT_EQ(std::to_string(kThreads * kRounds), MustGet("refs/counter"));
}

TEST_P(ObjectStoreConformance, OneOfManyConcurrentCreatorsWins) {
  std::atomic<int> won{0};
  {
    std::vector<base::Thread> threads;
    threads.reserve(4);
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back("create", [&, t] {
        auto put = store_->Put("manifest/x", std::to_string(t), PutCondition::IfAbsent());
        if (put.ok()) {
          won.fetch_add(1);
        } else {
          EXPECT_EQ(ErrorCode::kAlreadyExists, CodeOf(put.status()));
        }
      });
    }
  }
  EXPECT_EQ(1, won.load());
}

TEST_P(ObjectStoreConformance, CreatedObjectAppearsWholeAtFinish) {
  auto writer = store_->Create("data/t/file");
  ASSERT_TRUE(writer.ok()) << writer.status().ToString();
  ASSERT_TRUE((*writer)->Write("hello ").ok());
  ASSERT_TRUE((*writer)->Write("").ok());
  ASSERT_TRUE((*writer)->Write("world").ok());
  EXPECT_EQ(11, (*writer)->bytes_written());
  LAMINA_EXPECT_CODE(kNotFound, store_->Get("data/t/file"));
  EXPECT_TRUE(ListPaths("").empty());
  auto info = (*writer)->Finish();
  ASSERT_TRUE(info.ok()) << info.status().ToString();
  EXPECT_EQ(11, info->size);
  EXPECT_EQ(info->tag, store_->Head("data/t/file").ValueOr(ObjectInfo{}).tag);
  EXPECT_EQ("hello world", MustGet("data/t/file"));
  EXPECT_FALSE((*writer)->Write("more").ok());
  EXPECT_FALSE((*writer)->Finish().ok());
}

TEST_P(ObjectStoreConformance, DroppedWriterLeavesNothing) {
  {
    auto writer = store_->Create("data/t/file");
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE((*writer)->Write("hello").ok());
  }
  LAMINA_EXPECT_CODE(kNotFound, store_->Head("data/t/file"));
  EXPECT_TRUE(ListPaths("").empty());
}

TEST_P(ObjectStoreConformance, FinishRefusesANameTakenMeanwhile) {
  auto writer = store_->Create("data/t/file");
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Write("late").ok());
  MustPut("data/t/file", "early");
  LAMINA_EXPECT_CODE(kAlreadyExists, (*writer)->Finish());
  EXPECT_EQ("early", MustGet("data/t/file"));
}

TEST_P(ObjectStoreConformance, WriterOutlivesTheStoreHandle) {
  auto writer = store_->Create("data/t/file");
  ASSERT_TRUE(writer.ok());
  store_.reset();
  ASSERT_TRUE((*writer)->Write("x").ok());
  EXPECT_TRUE((*writer)->Finish().ok());
}

TEST_P(ObjectStoreConformance, ListIsAscendingAndByPrefix) {
  for (const char* path :
       {"data/b/2", "data/a/1", "data/ab", "data/a-b", "wal/1", "data/b/10", "top"})
    MustPut(path, path);
  using Paths = std::vector<std::string>;
  EXPECT_EQ((Paths{"data/a-b", "data/a/1", "data/ab", "data/b/10", "data/b/2", "top", "wal/1"}),
            ListPaths(""));
  EXPECT_EQ((Paths{"data/a/1"}), ListPaths("data/a/"));
  EXPECT_EQ((Paths{"data/a-b", "data/a/1", "data/ab"}), ListPaths("data/a"));
  EXPECT_EQ((Paths{"data/b/10", "data/b/2"}), ListPaths("data/b"));
  EXPECT_EQ((Paths{"data/b/10"}), ListPaths("data/b/1"));
  EXPECT_EQ((Paths{}), ListPaths("none/"));
  auto listed = store_->List("wal/");
  ASSERT_TRUE(listed.ok());
  ASSERT_EQ(1u, listed->size());
  EXPECT_EQ(5, (*listed)[0].size);
  EXPECT_EQ(store_->Head("wal/1").ValueOr(ObjectInfo{}).tag, (*listed)[0].tag);
}

TEST_P(ObjectStoreConformance, DeleteIsIdempotent) {
  MustPut("data/one", "x");
  EXPECT_TRUE(store_->Delete("data/one").ok());
  EXPECT_TRUE(store_->Delete("data/one").ok());
  EXPECT_TRUE(store_->Delete("never/there").ok());
  LAMINA_EXPECT_CODE(kNotFound, store_->Get("data/one"));
}

TEST_P(ObjectStoreConformance, ReaderReadsAtAnyPlaceAndSequentially) {
  MustPut("data/one", "0123456789");
  auto opened = store_->OpenReader("data/one");
  ASSERT_TRUE(opened.ok()) << opened.status().ToString();
  auto& reader = **opened;
  EXPECT_EQ(10, reader.GetSize().ValueOr(-1));
  EXPECT_EQ("456", (*reader.ReadAt(4, 3))->ToString());
  EXPECT_EQ("89", (*reader.ReadAt(8, 100))->ToString());
  EXPECT_EQ(0, (*reader.ReadAt(10, 1))->size());
  EXPECT_FALSE(reader.ReadAt(-1, 1).ok());
  char out[4] = {};
  EXPECT_EQ(3, reader.ReadAt(1, 3, out).ValueOr(-1));
  EXPECT_STREQ("123", out);
  EXPECT_EQ("01", (*reader.Read(2))->ToString());
  EXPECT_EQ("23", (*reader.Read(2))->ToString());
  EXPECT_EQ(4, reader.Tell().ValueOr(-1));
  ASSERT_TRUE(reader.Seek(9).ok());
  EXPECT_EQ("9", (*reader.Read(5))->ToString());
  EXPECT_TRUE(reader.WillNeed({{0, 4}, {6, 4}}).ok());
}

TEST_P(ObjectStoreConformance, BuffersOutliveReaderObjectAndStore) {
  const std::string bytes(100'000, 'x');
  MustPut("data/one", bytes);
  std::shared_ptr<arrow::Buffer> slice;
  std::shared_ptr<arrow::Buffer> after_delete;
  {
    auto reader = store_->OpenReader("data/one");
    ASSERT_TRUE(reader.ok());
    slice = *(*reader)->ReadAt(50'000, 10);
    ASSERT_TRUE(store_->Delete("data/one").ok());
    after_delete = *(*reader)->ReadAt(99'000, 1'000);
    ASSERT_TRUE((*reader)->Close().ok());
  }
  store_.reset();
  EXPECT_EQ(std::string(10, 'x'), slice->ToString());
  EXPECT_EQ(std::string(1'000, 'x'), after_delete->ToString());
}

TEST_P(ObjectStoreConformance, ReaderKeepsTheVersionItOpened) {
  MustPut("refs/main", "old");
  auto reader = store_->OpenReader("refs/main");
  ASSERT_TRUE(reader.ok());
  MustPut("refs/main", "new and longer");
  EXPECT_EQ("old", (*(*reader)->ReadAt(0, 100))->ToString());
}

TEST_P(ObjectStoreConformance, AppendGrowsAndReopens) {
  if (!store_->supports_append()) {
    LAMINA_EXPECT_CODE(kUnsupported, store_->OpenAppend("wal/main/1"));
    return;
  }
  {
    auto file = store_->OpenAppend("wal/main/1");
    ASSERT_TRUE(file.ok()) << file.status().ToString();
    EXPECT_EQ(0, (*file)->size());
    ASSERT_TRUE((*file)->Append("hello ").ok());
    ASSERT_TRUE((*file)->Append("").ok());
    EXPECT_EQ("hello ", MustGet("wal/main/1"));
    ASSERT_TRUE((*file)->Append("world").ok());
    ASSERT_TRUE((*file)->Sync().ok());
    EXPECT_EQ(11, (*file)->size());
    ASSERT_TRUE((*file)->Close().ok());
    EXPECT_FALSE((*file)->Append("x").ok());
  }
  EXPECT_EQ(11, store_->Head("wal/main/1").ValueOr(ObjectInfo{}).size);
  auto cut = store_->OpenAppend("wal/main/1", 5);
  ASSERT_TRUE(cut.ok()) << cut.status().ToString();
  EXPECT_EQ(5, (*cut)->size());
  ASSERT_TRUE((*cut)->Append("!").ok());
  EXPECT_EQ("hello!", MustGet("wal/main/1"));
  LAMINA_EXPECT_CODE(kInvalidArgument, store_->OpenAppend("wal/main/1", 7));
  LAMINA_EXPECT_CODE(kInvalidArgument, store_->OpenAppend("wal/main/2", 1));
}

TEST_P(ObjectStoreConformance, LockExcludesOtherHandlesAndIsInvisible) {
  if (!GetParam().locks) GTEST_SKIP();
  auto held = store_->Lock("LOCK");
  ASSERT_TRUE(held.ok()) << held.status().ToString();
  auto refused = store_->Lock("LOCK");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(ErrorCode::kUnavailable, CodeOf(refused.status()));
  EXPECT_NE(std::string::npos, MessageOf(refused.status()).find(GetParam().holder))
      << refused.status().ToString();
  EXPECT_TRUE(store_->Lock("OTHER").ok());
  EXPECT_TRUE(ListPaths("").empty());
  held->reset();
  EXPECT_TRUE(store_->Lock("LOCK").ok());
}

}  // namespace lamina::storage
