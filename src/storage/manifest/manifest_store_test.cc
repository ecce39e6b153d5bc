#include "storage/manifest/manifest_store.h"

#include <functional>
#include <set>

#include <gtest/gtest.h>

#include "base/codec.h"
#include "base/crc32c.h"
#include "base/mutex.h"
#include "base/random.h"
#include "base/thread.h"
#include "storage/manifest/format_internal.h"
#include "storage/manifest/testing_versions_internal.h"
#include "storage/object_store/counting_store.h"
#include "testing/faulty_store.h"

namespace lamina::storage::manifest {
namespace {

constexpr catalog::TableId kTable{16};

/// Runs a test's code before a put or a get of a path reaches the store.
class HookedStore final : public ObjectStore {
 public:
  explicit HookedStore(std::shared_ptr<ObjectStore> base) : base_(std::move(base)) {}

  /// Nothing: go on. Otherwise the answer.
  std::function<std::optional<Result<ObjectInfo>>(const std::string&, std::string_view,
                                                  const PutCondition&)>
      on_put;
  std::function<void(const std::string&)> on_get;

  Result<ObjectInfo> Head(const std::string& path) override { return base_->Head(path); }
  Result<std::shared_ptr<arrow::Buffer>> Get(const std::string& path, ObjectInfo* info) override {
    if (on_get) on_get(path);
    return base_->Get(path, info);
  }
  Result<std::shared_ptr<arrow::Buffer>> GetRange(const std::string& path, int64_t offset,
                                                  int64_t length) override {
    return base_->GetRange(path, offset, length);
  }
  Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenReader(
      const std::string& path) override {
    return base_->OpenReader(path);
  }
  Result<ObjectInfo> Put(const std::string& path, std::string_view bytes,
                         const PutCondition& condition) override {
    if (on_put) {
      if (auto answer = on_put(path, bytes, condition)) return *answer;
    }
    return base_->Put(path, bytes, condition);
  }
  Result<std::unique_ptr<ObjectWriter>> Create(const std::string& path) override {
    return base_->Create(path);
  }
  Result<std::vector<ObjectInfo>> List(const std::string& prefix) override {
    return base_->List(prefix);
  }
  Status Delete(const std::string& path) override { return base_->Delete(path); }
  Result<std::unique_ptr<StoreLock>> Lock(const std::string& path) override {
    return base_->Lock(path);
  }
  std::string ToString() const override { return "hooked"; }

 private:
  const std::shared_ptr<ObjectStore> base_;
};

class ManifestStoreTest : public ::testing::Test {
 protected:
  void TearDown() override { base::DisarmFaults(); }

  ManifestStore::Options Options(std::shared_ptr<ObjectStore> store = nullptr,
                                 const std::string& branch = "main") {
    ManifestStore::Options options;
    options.branch = branch;
    options.store = store != nullptr ? std::move(store) : memory_;
    options.clock = &clock_;
    options.ulids = &ulids_;
    return options;
  }
  std::unique_ptr<ManifestStore> Create() {
    auto store = ManifestStore::Create(Options());
    EXPECT_TRUE(store.ok()) << store.status().ToString();
    VersionEdit edit;
    edit.put_tables = {TestingTable(16, "t")};
    EXPECT_TRUE((*store)->Commit(edit).ok());
    return std::move(*store);
  }
  std::unique_ptr<ManifestStore> Open(std::shared_ptr<ObjectStore> store = nullptr) {
    auto opened = ManifestStore::Open(Options(std::move(store)));
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    return opened.ok() ? std::move(*opened) : nullptr;
  }
  static VersionEdit AddFile(uint64_t id) {
    VersionEdit edit;
    edit.reason = "flush";
    edit.add_files = {TestingFile(id, kTable, 0, "a", "b")};
    return edit;
  }
  static size_t Files(const VersionPtr& v) { return v->FilesOf(kTable).size(); }
  size_t Bases() { return memory_->List("manifest/")->size(); }
  std::string Bytes(const std::string& path) { return (*memory_->Get(path))->ToString(); }

  base::ManualClock clock_;
  base::Random random_{5};
  base::UlidGenerator ulids_{&clock_, &random_};
  std::shared_ptr<ObjectStore> memory_ = MakeMemoryStore();
};

TEST_F(ManifestStoreTest, CreatedDatabaseIsEmptyAndOnlyOnce) {
  EXPECT_FALSE(*ManifestStore::Exists(memory_, "main"));
  EXPECT_EQ(CodeOf(ManifestStore::Open(Options()).status()), ErrorCode::kNotFound);
  auto store = *ManifestStore::Create(Options());
  EXPECT_TRUE(*ManifestStore::Exists(memory_, "main"));
  EXPECT_FALSE(*ManifestStore::Exists(memory_, "other"));
  EXPECT_EQ(store->current()->number, 1u);
  EXPECT_TRUE(store->current()->files.empty());
  EXPECT_EQ(store->current()->recent.back().reason, "create");
  EXPECT_EQ(CodeOf(ManifestStore::Create(Options()).status()), ErrorCode::kAlreadyExists);
  EXPECT_EQ(Bases(), 1u);
  EXPECT_EQ(Open()->current()->database_id, store->current()->database_id);
}

TEST_F(ManifestStoreTest, CommitsAreThereAfterReopening) {
  auto store = Create();
  clock_.Advance(5);
  for (uint64_t i = 1; i <= 5; ++i) ASSERT_TRUE(store->Commit(AddFile(i)).ok());
  const VersionPtr v = Open()->current();
  EXPECT_EQ(EncodeVersion(*v), EncodeVersion(*store->current()));
  EXPECT_EQ(v->number, 7u);
  EXPECT_EQ(Files(v), 5u);
  EXPECT_EQ(v->recent.back().created_micros, clock_.NowMicros());
  EXPECT_EQ(store->stats().commits, 6u);
  const auto info = *ManifestStore::Inspect(memory_, "main");
  EXPECT_EQ(info.inline_edits, 6u);
  EXPECT_EQ(info.format, 1u);
  EXPECT_EQ(info.bytes, Bytes("refs/main").size());
  EXPECT_EQ(info.bytes, store->stats().ref_bytes);
  EXPECT_EQ(info.live_objects, (std::vector<std::string>{"refs/main", info.base}));
  EXPECT_EQ(EncodeVersion(*info.version), EncodeVersion(*v));
}

TEST_F(ManifestStoreTest, EditThatDoesNotFitChangesNothing) {
  auto store = Create();
  const std::string before = Bytes("refs/main");
  VersionEdit edit;
  edit.remove_files = {{kTable, TestingUlid(1)}};
  EXPECT_EQ(CodeOf(store->Commit(edit).status()), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Bytes("refs/main"), before);
}

TEST_F(ManifestStoreTest, NewBaseAfter64Edits) {
  auto store = Create();
  for (uint64_t i = 1; i <= 63; ++i) ASSERT_TRUE(store->Commit(AddFile(i)).ok());
  EXPECT_EQ(Bases(), 1u);
  EXPECT_EQ(ManifestStore::Inspect(memory_, "main")->inline_edits, 64u);
  ASSERT_TRUE(store->Commit(AddFile(64)).ok());
  EXPECT_EQ(Bases(), 2u);
  EXPECT_EQ(ManifestStore::Inspect(memory_, "main")->inline_edits, 0u);
  EXPECT_EQ(store->stats().bases_written, 2u);
  for (uint64_t i = 65; i <= 200; ++i) ASSERT_TRUE(store->Commit(AddFile(i)).ok());
  EXPECT_EQ(Bases(), 4u);
  EXPECT_EQ(EncodeVersion(*Open()->current()), EncodeVersion(*store->current()));
  EXPECT_EQ(Files(store->current()), 200u);
}

TEST_F(ManifestStoreTest, NewBaseWhenInlineEditsAreLarge) {
  auto options = Options();
  options.max_inline_bytes = 1000;
  auto store = *ManifestStore::Create(options);
  VersionEdit schema;
  schema.put_tables = {TestingTable(16, "t")};
  ASSERT_TRUE(store->Commit(schema).ok());
  for (uint64_t i = 1; i <= 40; ++i) {
    ASSERT_TRUE(store->Commit(AddFile(i)).ok());
    EXPECT_LT(store->stats().ref_bytes, 3000u);
  }
  EXPECT_GT(store->stats().bases_written, 1u);
  EXPECT_EQ(Files(Open()->current()), 40u);
}

TEST_F(ManifestStoreTest, TenThousandFilesOpenWithTwoRequests) {
  auto store = Create();
  VersionEdit edit;
  for (uint64_t i = 1; i <= 10'000; ++i) {
    const std::string key = fmt::format("key-{:08}", i);
    edit.add_files.push_back(TestingFile(i, kTable, 1, key, key + "x"));
  }
  ASSERT_TRUE(store->Commit(edit).ok());
  auto counting = std::make_shared<CountingStore>(memory_);
  auto opened = Open(counting);
  EXPECT_EQ(Files(opened->current()), 10'000u);
  EXPECT_LE(counting->counts().round_trips(), 2u) << counting->counts().ToString();
  // A commit is one request, of a size that has nothing to do with the number of files.
  const StoreCounts before = counting->counts();
  ASSERT_TRUE(opened->Commit(AddFile(20'000)).ok());
  const StoreCounts cost = counting->counts() - before;
  EXPECT_EQ(cost.round_trips(), 1u) << cost.ToString();
  EXPECT_LT(cost.bytes_written(), 5000u);
}

TEST_F(ManifestStoreTest, OpeningCostsNoMoreAfterTenThousandCommits) {
  auto store = Create();
  const uint64_t newest = store->current()->number + 10'000;
  for (uint64_t i = 1; i <= 10'000; ++i) {
    VersionEdit edit;
    edit.reason = "checkpoint";
    edit.put_checkpoints.push_back(
        {"newest", {}, store->current()->flushed_system, static_cast<int64_t>(i)});
    ASSERT_TRUE(store->Commit(edit).ok());
  }
  EXPECT_EQ(store->current()->number, newest);
  auto counting = std::make_shared<CountingStore>(memory_);
  auto opened = Open(counting);
  EXPECT_EQ(opened->current()->number, newest);
  EXPECT_EQ(opened->current()->checkpoints.at("newest").created_micros, 10'000);
  EXPECT_LE(counting->counts().round_trips(), 2u) << counting->counts().ToString();
  EXPECT_LT(counting->counts().bytes_read(), 512u << 10);
}

TEST_F(ManifestStoreTest, RefreshReadsOnlyWhatMoved) {
  auto writer = Create();
  auto counting = std::make_shared<CountingStore>(memory_);
  auto reader = Open(counting);
  StoreCounts before = counting->counts();
  const VersionPtr same = *reader->Refresh();
  EXPECT_EQ(same, reader->current());
  EXPECT_EQ((counting->counts() - before).of(RequestKind::kHead).requests, 1u);
  EXPECT_EQ((counting->counts() - before).round_trips(), 1u);
  ASSERT_TRUE(writer->Commit(AddFile(1)).ok());
  before = counting->counts();
  EXPECT_EQ(Files(*reader->Refresh()), 1u);
  EXPECT_EQ((counting->counts() - before).round_trips(), 2u);  // the base is known
  for (uint64_t i = 2; i <= 100; ++i) ASSERT_TRUE(writer->Commit(AddFile(i)).ok());
  before = counting->counts();
  EXPECT_EQ(Files(*reader->Refresh()), 100u);
  EXPECT_EQ((counting->counts() - before).round_trips(), 3u);
  EXPECT_EQ(EncodeVersion(*reader->current()), EncodeVersion(*writer->current()));
}

TEST_F(ManifestStoreTest, RacingStoresLoseNothing) {
  auto a = Create();
  auto b = Open();
  constexpr uint64_t kEach = 150;
  const auto run = [](ManifestStore* store, uint64_t from) {
    for (uint64_t i = 0; i < kEach; ++i) {
      const auto v = store->Commit(AddFile(from + i));
      ASSERT_TRUE(v.ok()) << v.status().ToString();
    }
  };
  {
    base::Thread ta("a", [&] { run(a.get(), 1000); });
    base::Thread tb("b", [&] { run(b.get(), 2000); });
  }
  const VersionPtr v = Open()->current();
  EXPECT_EQ(Files(v), 2 * kEach);
  EXPECT_EQ(v->number, 2 + 2 * kEach);
  EXPECT_EQ(a->stats().commits + b->stats().commits, 1 + 2 * kEach);
  EXPECT_TRUE(v->Verify().ok());
}

TEST_F(ManifestStoreTest, EditThatNoLongerFitsIsAConflict) {
  auto a = Create();
  ASSERT_TRUE(a->Commit(AddFile(1)).ok());
  auto b = Open();
  VersionEdit remove;
  remove.remove_files = {{kTable, TestingUlid(1)}};
  remove.add_files = {TestingFile(2, kTable, 0, "a", "b")};
  ASSERT_TRUE(a->Commit(remove).ok());
  remove.add_files = {TestingFile(3, kTable, 0, "a", "b")};
  EXPECT_EQ(CodeOf(b->Commit(remove).status()), ErrorCode::kConflict);
  // It has seen the newer version by now, and goes on.
  EXPECT_EQ(b->current()->number, a->current()->number);
  ASSERT_TRUE(b->Commit(AddFile(4)).ok());
  EXPECT_EQ(Files(b->current()), 2u);
}

TEST_F(ManifestStoreTest, NewerOwnerFencesTheOlder) {
  auto a = Create();
  EXPECT_EQ((*a->ClaimOwnership())->owner_epoch, 1u);
  ASSERT_TRUE(a->Commit(AddFile(1)).ok());
  auto b = Open();
  EXPECT_EQ((*b->ClaimOwnership())->owner_epoch, 2u);
  EXPECT_EQ(b->current()->recent.back().reason, "open");
  const Status fenced = a->Commit(AddFile(2)).status();
  EXPECT_EQ(CodeOf(fenced), ErrorCode::kFenced) << fenced.ToString();
  EXPECT_EQ(CodeOf(a->Commit(AddFile(2)).status()), ErrorCode::kFenced);
  ASSERT_TRUE(b->Commit(AddFile(3)).ok());
  EXPECT_EQ(Files(Open()->current()), 2u);
  // Claiming again is the way back.
  EXPECT_EQ((*a->ClaimOwnership())->owner_epoch, 3u);
  ASSERT_TRUE(a->Commit(AddFile(4)).ok());
  EXPECT_EQ(CodeOf(b->Commit(AddFile(5)).status()), ErrorCode::kFenced);
}

TEST_F(ManifestStoreTest, RacingClaimsGetDifferentEpochs) {
  Create();
  std::vector<std::unique_ptr<ManifestStore>> stores;
  stores.reserve(4);
  for (int i = 0; i < 4; ++i) stores.push_back(Open());
  base::Mutex mu;
  std::set<uint64_t> epochs;
  {
    std::vector<base::Thread> threads;
    threads.reserve(stores.size());
    for (auto& store : stores) {
      threads.emplace_back("claim", [&] {
        const auto v = store->ClaimOwnership();
        ASSERT_TRUE(v.ok()) << v.status().ToString();
        base::MutexLock lock(&mu);
        epochs.insert((*v)->owner_epoch);
      });
    }
  }
  EXPECT_EQ(epochs, (std::set<uint64_t>{1, 2, 3, 4}));
}

TEST_F(ManifestStoreTest, LostAnswerIsSettledAndCountedOnce) {
  Create();
  for (const bool after_effect : {true, false}) {
    auto faulty = std::make_shared<testing::FaultyStore>(memory_);
    auto store = Open(faulty);
    const size_t before = Files(store->current());
    testing::StoreFault fault;
    fault.kind = RequestKind::kPut;
    fault.path_prefix = "refs/";
    fault.after_effect = after_effect;
    faulty->Add(fault);
    const auto v = store->Commit(AddFile(after_effect ? 1 : 2));
    ASSERT_TRUE(v.ok()) << v.status().ToString();
    EXPECT_EQ(Files(*v), before + 1);
    EXPECT_EQ(Files(Open()->current()), before + 1);
    EXPECT_EQ(store->stats().unknown_outcomes_settled, after_effect ? 1u : 0u);
    ASSERT_TRUE(store->Commit(AddFile(after_effect ? 11 : 12)).ok());
  }
}

TEST_F(ManifestStoreTest, AnswerLostAtABaseRotationIsSettled) {
  auto first = Create();
  for (uint64_t i = 1; i <= 63; ++i) ASSERT_TRUE(first->Commit(AddFile(i)).ok());
  auto store = Open();
  base::ArmFault("manifest.cas.after_put", MakeError(ErrorCode::kUnavailable, "timeout"));
  // While it is armed every put looks lost, but each was done: reading back settles it.
  const auto v = store->Commit(AddFile(64));
  base::DisarmFaults();
  ASSERT_TRUE(v.ok()) << v.status().ToString();
  EXPECT_EQ(Files(*v), 64u);
  EXPECT_EQ(store->stats().bases_written, 1u);
  EXPECT_EQ(Files(Open()->current()), 64u);
}

TEST_F(ManifestStoreTest, OutcomeThatCannotBeReadIsUnknown) {
  Create();
  auto faulty = std::make_shared<testing::FaultyStore>(memory_);
  auto store = Open(faulty);
  testing::StoreFault put;
  put.kind = RequestKind::kPut;
  put.path_prefix = "refs/";
  put.after_effect = true;
  testing::StoreFault get;
  get.kind = RequestKind::kGet;
  get.times = ~uint64_t{0};
  faulty->Add(put);
  faulty->Add(get);
  EXPECT_EQ(CodeOf(store->Commit(AddFile(1)).status()), ErrorCode::kCommitUnknown);
  faulty->Clear();
  EXPECT_EQ(Files(*store->Refresh()), 1u);
}

TEST_F(ManifestStoreTest, StoreThatNeverAnswersEndsInUnknown) {
  Create();
  auto faulty = std::make_shared<testing::FaultyStore>(memory_);
  auto store = Open(faulty);
  testing::StoreFault fault;
  fault.kind = RequestKind::kPut;
  fault.path_prefix = "refs/";
  fault.times = ~uint64_t{0};
  faulty->Add(fault);
  EXPECT_EQ(CodeOf(store->Commit(AddFile(1)).status()), ErrorCode::kCommitUnknown);
  EXPECT_EQ(CodeOf(store->ClaimOwnership().status()), ErrorCode::kCommitUnknown);
  faulty->Clear();
  EXPECT_TRUE(store->Commit(AddFile(1)).ok());
}

TEST_F(ManifestStoreTest, CertainErrorsAreReturnedAsTheyAre) {
  Create();
  auto faulty = std::make_shared<testing::FaultyStore>(memory_);
  auto store = Open(faulty);
  testing::StoreFault fault;
  fault.kind = RequestKind::kPut;
  fault.path_prefix = "refs/";
  fault.status = MakeError(ErrorCode::kResourceExhausted, "disk full");
  faulty->Add(fault);
  EXPECT_EQ(CodeOf(store->Commit(AddFile(1)).status()), ErrorCode::kResourceExhausted);
  EXPECT_TRUE(store->Commit(AddFile(1)).ok());
}

TEST_F(ManifestStoreTest, FailedBasePublishesNothing) {
  auto first = Create();
  for (uint64_t i = 1; i <= 63; ++i) ASSERT_TRUE(first->Commit(AddFile(i)).ok());
  auto faulty = std::make_shared<testing::FaultyStore>(memory_);
  auto store = Open(faulty);
  testing::StoreFault fault;
  fault.kind = RequestKind::kPut;
  fault.path_prefix = "manifest/";
  fault.after_effect = true;
  faulty->Add(fault);
  EXPECT_EQ(CodeOf(store->Commit(AddFile(64)).status()), ErrorCode::kUnavailable);
  EXPECT_EQ(Files(Open()->current()), 63u);
  ASSERT_TRUE(store->Commit(AddFile(64)).ok());
  EXPECT_EQ(Files(Open()->current()), 64u);
}

TEST_F(ManifestStoreTest, PutThatArrivesLateIsCountedOnce) {
  Create();
  auto hooked = std::make_shared<HookedStore>(memory_);
  auto store = Open(hooked);
  std::string late;
  PutCondition condition;
  int puts = 0;
  hooked->on_put = [&](const std::string& path, std::string_view bytes,
                       const PutCondition& c) -> std::optional<Result<ObjectInfo>> {
    if (++puts == 1) {
      late = std::string(bytes);
      condition = c;
      return MakeError(ErrorCode::kUnavailable, "timeout");
    }
    if (puts == 2) {
      EXPECT_TRUE(memory_->Put(path, late, condition).ok());
    }
    return std::nullopt;
  };
  const auto v = store->Commit(AddFile(1));
  ASSERT_TRUE(v.ok()) << v.status().ToString();
  EXPECT_EQ(puts, 2);
  EXPECT_EQ(Files(*v), 1u);
  EXPECT_EQ((*v)->number, 3u);
  EXPECT_EQ(store->stats().unknown_outcomes_settled, 1u);
}

TEST_F(ManifestStoreTest, OutcomeBehindManyOtherCommitsIsUnknown) {
  auto other = Create();
  for (const uint64_t others : {10u, 65u}) {
    auto hooked = std::make_shared<HookedStore>(memory_);
    auto store = Open(hooked);
    int puts = 0;
    hooked->on_put = [&](const std::string&, std::string_view,
                         const PutCondition&) -> std::optional<Result<ObjectInfo>> {
      if (++puts > 1) return std::nullopt;
      for (uint64_t i = 0; i < others; ++i)
        EXPECT_TRUE(other->Commit(AddFile(others * 1000 + i)).ok());
      return MakeError(ErrorCode::kUnavailable, "timeout");
    };
    const auto v = store->Commit(AddFile(others));
    if (others == 10) {
      EXPECT_TRUE(v.ok()) << v.status().ToString();
    } else {
      EXPECT_EQ(CodeOf(v.status()), ErrorCode::kCommitUnknown);
    }
  }
}

TEST_F(ManifestStoreTest, ConflictFromAStoresOwnRetryIsRecognised) {
  // A client below us put twice: the first time it worked, the second time it met its own new tag.
  Create();
  auto hooked = std::make_shared<HookedStore>(memory_);
  auto store = Open(hooked);
  hooked->on_put = [&](const std::string& path, std::string_view bytes,
                       const PutCondition& c) -> std::optional<Result<ObjectInfo>> {
    EXPECT_TRUE(memory_->Put(path, bytes, c).ok());
    return std::nullopt;
  };
  const auto v = store->Commit(AddFile(1));
  ASSERT_TRUE(v.ok()) << v.status().ToString();
  EXPECT_EQ((*v)->number, 3u);
}

TEST_F(ManifestStoreTest, OwnConflictThatCannotBeReadBackIsUnknown) {
  // The put worked and reported a conflict: that the ref cannot be read does not make it undone.
  Create();
  auto hooked = std::make_shared<HookedStore>(memory_);
  auto faulty = std::make_shared<testing::FaultyStore>(hooked);
  auto store = Open(faulty);
  testing::StoreFault get;
  get.kind = RequestKind::kGet;
  get.times = ~uint64_t{0};
  faulty->Add(get);
  hooked->on_put = [&](const std::string& path, std::string_view bytes,
                       const PutCondition& c) -> std::optional<Result<ObjectInfo>> {
    EXPECT_TRUE(memory_->Put(path, bytes, c).ok());
    return std::nullopt;
  };
  EXPECT_EQ(CodeOf(store->Commit(AddFile(1)).status()), ErrorCode::kCommitUnknown);
  faulty->Clear();
  EXPECT_EQ(Files(*store->Refresh()), 1u);
}

TEST_F(ManifestStoreTest, CommitSettledBehindANewerOwnerIsFenced) {
  // Ours happened, but the version to go on from is the newer owner's.
  auto a = Create();
  auto hooked = std::make_shared<HookedStore>(memory_);
  auto store = Open(hooked);
  ASSERT_TRUE(store->ClaimOwnership().ok());
  hooked->on_put = [&](const std::string& path, std::string_view bytes,
                       const PutCondition& c) -> std::optional<Result<ObjectInfo>> {
    hooked->on_put = nullptr;
    EXPECT_TRUE(memory_->Put(path, bytes, c).ok());
    auto newer = Open();
    EXPECT_TRUE(newer->ClaimOwnership().ok());
    EXPECT_TRUE(newer->Commit(AddFile(2)).ok());
    return MakeError(ErrorCode::kUnavailable, "timeout");
  };
  EXPECT_EQ(CodeOf(store->Commit(AddFile(1)).status()), ErrorCode::kFenced);
  EXPECT_EQ(Files(Open()->current()), 2u);
}

TEST_F(ManifestStoreTest, BaseThatArrivedTwiceIsTaken) {
  auto first = Create();
  for (uint64_t i = 1; i <= 63; ++i) ASSERT_TRUE(first->Commit(AddFile(i)).ok());
  auto hooked = std::make_shared<HookedStore>(memory_);
  auto store = Open(hooked);
  hooked->on_put = [&](const std::string& path, std::string_view bytes,
                       const PutCondition& c) -> std::optional<Result<ObjectInfo>> {
    if (path.starts_with("manifest/")) {
      EXPECT_TRUE(memory_->Put(path, bytes, c).ok());
    }
    return std::nullopt;
  };
  const auto v = store->Commit(AddFile(64));
  ASSERT_TRUE(v.ok()) << v.status().ToString();
  EXPECT_EQ(Files(Open()->current()), 64u);
}

TEST_F(ManifestStoreTest, CreationWithALostAnswerIsSettled) {
  auto faulty = std::make_shared<testing::FaultyStore>(memory_);
  testing::StoreFault fault;
  fault.kind = RequestKind::kPut;
  fault.path_prefix = "refs/";
  fault.after_effect = true;
  faulty->Add(fault);
  auto store = ManifestStore::Create(Options(faulty));
  ASSERT_TRUE(store.ok()) << store.status().ToString();
  EXPECT_EQ((*store)->current()->number, 1u);
  EXPECT_TRUE((*store)->ClaimOwnership().ok());
}

TEST_F(ManifestStoreTest, BaseCollectedDuringAnOpenIsReadAgain) {
  auto writer = Create();
  for (uint64_t i = 1; i <= 63; ++i) ASSERT_TRUE(writer->Commit(AddFile(i)).ok());
  auto hooked = std::make_shared<HookedStore>(memory_);
  int gets = 0;
  hooked->on_get = [&](const std::string& path) {
    if (!path.starts_with("manifest/") || ++gets > 1) return;
    ASSERT_TRUE(writer->Commit(AddFile(64)).ok());
    ASSERT_EQ(writer->CollectBases(0, false)->size(), 1u);
  };
  auto store = Open(hooked);
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(Files(store->current()), 64u);
  EXPECT_EQ(gets, 2);
}

TEST_F(ManifestStoreTest, DamageIsNamed) {
  Create();
  const auto info = *ManifestStore::Inspect(memory_, "main");
  for (const std::string& path : {std::string("refs/main"), info.base}) {
    const std::string bytes = Bytes(path);
    for (const size_t at : {size_t{0}, size_t{9}, size_t{14}, bytes.size() / 2, bytes.size() - 1}) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ 0x20);
      ASSERT_TRUE(memory_->Put(path, damaged, PutCondition::None()).ok());
      const Status status = ManifestStore::Open(Options()).status();
      EXPECT_EQ(CodeOf(status), ErrorCode::kCorruption);
      EXPECT_NE(MessageOf(status).find("file=" + path), std::string::npos) << status.ToString();
    }
    ASSERT_TRUE(memory_->Put(path, bytes, PutCondition::None()).ok());
  }
  ASSERT_TRUE(ManifestStore::Open(Options()).ok());
  // An intact base, but another one.
  const std::string bytes = Bytes(info.base);
  const auto base = DecodeVersion(bytes.substr(20, bytes.size() - 24));
  Version other = **base;
  other.owner_epoch = 9;
  ASSERT_TRUE(
      memory_->Put(info.base, EncodeFramed(kBaseMagic, EncodeVersion(other)), PutCondition::None())
          .ok());
  Status status = ManifestStore::Open(Options()).status();
  EXPECT_EQ(CodeOf(status), ErrorCode::kCorruption);
  EXPECT_NE(MessageOf(status).find("not the one the ref names"), std::string::npos);
  ASSERT_TRUE(memory_->Delete(info.base).ok());
  status = ManifestStore::Open(Options()).status();
  EXPECT_EQ(CodeOf(status), ErrorCode::kCorruption);
  EXPECT_NE(MessageOf(status).find(info.base), std::string::npos);
}

TEST_F(ManifestStoreTest, RefThatWentBackIsNoticed) {
  auto store = Create();
  const std::string old = Bytes("refs/main");
  ASSERT_TRUE(store->Commit(AddFile(1)).ok());
  ASSERT_TRUE(memory_->Put("refs/main", old, PutCondition::None()).ok());
  EXPECT_EQ(CodeOf(store->Refresh().status()), ErrorCode::kCorruption);
  EXPECT_EQ(Files(store->current()), 1u);
}

TEST_F(ManifestStoreTest, NewerFormatIsRefusedNamingBothVersions) {
  Create();
  std::string bytes = Bytes("refs/main");
  bytes[8] = 3;
  bytes.resize(bytes.size() - 4);
  base::PutFixed32(&bytes, base::Crc32c(bytes));
  ASSERT_TRUE(memory_->Put("refs/main", bytes, PutCondition::None()).ok());
  const Status status = ManifestStore::Open(Options()).status();
  EXPECT_EQ(CodeOf(status), ErrorCode::kUnsupported);
  EXPECT_NE(MessageOf(status).find("format=3 supported_format=1"), std::string::npos)
      << status.ToString();
}

TEST_F(ManifestStoreTest, CollectsOnlyBasesThatNoRefNames) {
  auto store = Create();
  auto branch = *ManifestStore::Create(Options(memory_, "side"));
  for (uint64_t i = 1; i <= 130; ++i) ASSERT_TRUE(store->Commit(AddFile(i)).ok());
  ASSERT_TRUE(memory_->Put("manifest/readme", "x", PutCondition::None()).ok());
  EXPECT_EQ(Bases(), 5u);
  EXPECT_TRUE(store->CollectBases(1'000'000, false)->empty());
  clock_.Advance(2'000'000);
  const auto listed = *store->CollectBases(1'000'000, true);
  EXPECT_EQ(listed.size(), 2u);
  EXPECT_EQ(Bases(), 5u);
  EXPECT_EQ(*store->CollectBases(1'000'000, false), listed);
  EXPECT_EQ(Bases(), 3u);
  EXPECT_TRUE(store->CollectBases(0, false)->empty());
  EXPECT_EQ(Files(Open()->current()), 130u);
  EXPECT_TRUE(ManifestStore::Open(Options(memory_, "side")).ok());
}

TEST_F(ManifestStoreTest, OpeningKeepsMintedNamesRising) {
  auto store = Create();
  const base::Ulid last = ulids_.last();
  base::ManualClock behind(1000);
  base::Random random(1);
  base::UlidGenerator ulids(&behind, &random);
  auto options = Options();
  options.clock = &behind;
  options.ulids = &ulids;
  auto opened = *ManifestStore::Open(options);
  EXPECT_GE(ulids.Next(), last);
}

}  // namespace
}  // namespace lamina::storage::manifest
