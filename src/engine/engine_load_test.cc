// Loads: rows in files before their commit, what is seen of them and when, and what is left where a
// commit does not come.
#include <map>
#include <numeric>
#include <string>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/executor.h"
#include "engine/engine_test_support_internal.h"
#include "testing/faulty_store.h"

namespace lamina::engine {
namespace {

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
using testing_tables::PeopleKey;

using Rows = std::vector<std::pair<int64_t, std::string>>;

class EngineLoadTest : public ::testing::Test {
 protected:
  EngineLoadTest() : engine_(MustOpen(Options())), table_(CreatePeople(engine_.get())) {}

  EngineOptions Options() {
    EngineOptions options = TestOptions(faulty_);
    options.clock = &clock_;
    options.executor = executor_;
    options.random_seed = ++seed_;  // the clock stands: the same names would be minted again
    return options;
  }
  void Reopen() {
    engine_.reset();
    engine_ = MustOpen(Options());
  }
  static Rows Numbers(int64_t from, int64_t to, int64_t step = 1) {
    Rows rows;
    for (int64_t i = from; i < to; i += step) rows.emplace_back(i, "n" + std::to_string(i));
    return rows;
  }
  BulkLoad::Piece Piece(const Rows& rows) const {
    const TableWrite write = testing_tables::PeopleWrite(table_, rows);
    return {write.rows, write.keys};
  }
  std::unique_ptr<BulkLoad> Begin() {
    auto load = engine_->BeginLoad(table_, nullptr);
    EXPECT_TRUE(load.ok()) << load.status();
    return load.ok() ? *std::move(load) : nullptr;
  }
  /// Each of `runs` in one call of Write.
  std::unique_ptr<BulkLoad> Loaded(const std::vector<Rows>& runs) {
    auto load = Begin();
    for (const Rows& rows : runs) {
      const Status written = load->Write({Piece(rows)});
      EXPECT_TRUE(written.ok()) << written;
    }
    const Status finished = load->Finish();
    EXPECT_TRUE(finished.ok()) << finished;
    return load;
  }
  Result<CommitReceipt> Commit(BulkLoad* load, SnapshotPtr snapshot = nullptr) {
    WriteBatch batch;
    CommitRequest request;
    request.batch = &batch;
    request.snapshot = snapshot == nullptr ? engine_->GetSnapshot() : std::move(snapshot);
    request.loads = {load};
    return engine_->Commit(std::move(request));
  }
  std::map<int64_t, std::string> AllPeople() { return People(*engine_, table_); }
  static std::map<int64_t, std::string> MapOf(const Rows& rows) {
    return {rows.begin(), rows.end()};
  }
  void ExpectSound() {
    auto findings = engine_->Check(nullptr);
    ASSERT_TRUE(findings.ok()) << findings.status();
    EXPECT_EQ(*findings, std::vector<std::string>());
  }
  size_t DataObjects() { return base_->List("data/" + std::to_string(table_->id.value))->size(); }
  size_t FilesOfTable() { return engine_->version()->FilesOf(table_->id).size(); }
  void ExpectNoOrphans() {
    size_t named = 0;
    for (const auto& [table, files] : engine_->version()->files) named += files.size();
    EXPECT_EQ(base_->List("data/")->size(), named);
  }

  std::shared_ptr<ObjectStore> base_ = MakeMemoryStore();
  std::shared_ptr<FaultyStore> faulty_ = std::make_shared<FaultyStore>(base_);
  base::ManualClock clock_;
  std::shared_ptr<base::ManualExecutor> executor_ = std::make_shared<base::ManualExecutor>(&clock_);
  uint64_t seed_ = 0;
  std::unique_ptr<Engine> engine_;
  catalog::TableSchemaPtr table_;
};

TEST_F(EngineLoadTest, RowsComeWithTheCommitAndPastTheLog) {
  ASSERT_TRUE(Put(engine_.get(), "before", "1").ok());
  const uint64_t frames = engine_->metrics().wal_frames;
  const SnapshotPtr before = engine_->GetSnapshot();
  auto load = Loaded({Numbers(0, 100)});
  EXPECT_EQ(load->rows(), 100u);
  EXPECT_TRUE(AllPeople().empty());
  const auto receipt = Commit(load.get());
  ASSERT_TRUE(receipt.ok()) << receipt.status();
  EXPECT_EQ(receipt->commit.value, 2u);
  EXPECT_EQ(receipt->ack, AckClass::kDurable);
  EXPECT_EQ(engine_->metrics().wal_frames, frames);
  load.reset();
  EXPECT_EQ(engine_->metrics().loaded_rows, 100u);
  EXPECT_EQ(engine_->version()->recent.back().reason, "load");
  EXPECT_EQ(AllPeople(), MapOf(Numbers(0, 100)));
  // Rows are of the commit that brought them, at its time.
  const auto file = engine_->version()->FilesOf(table_->id).front();
  EXPECT_FALSE(file->has_system_columns);
  EXPECT_EQ(file->min_commit, receipt->commit);
  EXPECT_EQ(file->max_system_from, receipt->system);
  EXPECT_EQ(file->level, 1);
  ScanSpec spec;
  spec.table = table_;
  spec.columns = {"id", catalog::kSystemFromColumn, catalog::kCommitColumn};
  spec.window = temporal::Window::At(receipt->system, {0});
  auto stream = engine_->reader().Scan(engine_->GetSnapshot(), spec, nullptr);
  ASSERT_TRUE(stream.ok()) << stream.status();
  const auto rows = *(*stream)->Next();
  ASSERT_EQ(rows->num_rows(), 100);
  EXPECT_EQ(rows->column_data(1)->GetValues<int64_t>(1)[7], receipt->system.micros);
  EXPECT_EQ(rows->column_data(2)->GetValues<int64_t>(1)[99],
            static_cast<int64_t>(receipt->commit.value));
  // Before it there are none, for older snapshots and at older times.
  spec.window = temporal::Window::At({receipt->system.micros - 1}, {0});
  EXPECT_EQ(*(*engine_->reader().Scan(engine_->GetSnapshot(), spec, nullptr))->Next(), nullptr);
  EXPECT_EQ(*(*engine_->reader().Scan(before, spec, nullptr))->Next(), nullptr);
  ExpectSound();

  ASSERT_EQ(Put(engine_.get(), "after", "3")->commit.value, 3u);
  Reopen();
  EXPECT_EQ(AllPeople(), MapOf(Numbers(0, 100)));
  EXPECT_EQ(Get(*engine_, "after"), "3");
  ExpectSound();
  ExpectNoOrphans();
}

TEST_F(EngineLoadTest, RowsWithoutOrderAreSortedAndMerged) {
  std::vector<Rows> runs;
  for (int64_t run = 0; run < 7; ++run) {
    Rows rows = Numbers(run, 700, 7);
    std::reverse(rows.begin(), rows.end());
    std::rotate(rows.begin(), rows.begin() + 31, rows.end());
    runs.push_back(std::move(rows));
  }
  const auto load = Loaded(runs);
  for (size_t i = 1; i < load->files().size(); ++i)
    EXPECT_LT(load->files()[i - 1].max_key, load->files()[i].min_key);
  EXPECT_TRUE(*load->Contains(PeopleKey(table_, 0)));
  EXPECT_TRUE(*load->Contains(PeopleKey(table_, 699)));
  EXPECT_FALSE(*load->Contains(PeopleKey(table_, 700)));
  EXPECT_FALSE(*load->Contains(PeopleKey(table_, -1)));
  ASSERT_TRUE(Commit(load.get()).ok());
  EXPECT_EQ(AllPeople(), MapOf(Numbers(0, 700)));
  ExpectSound();
  ExpectNoOrphans();
}

TEST_F(EngineLoadTest, AKeyThatComesTwiceIsFound) {
  for (const std::vector<Rows>& runs : {std::vector<Rows>{{{1, "a"}, {1, "b"}}},
                                        {{{2, "a"}, {1, "a"}, {2, "b"}}},
                                        {Numbers(0, 50), {{49, "again"}, {60, "x"}}},
                                        {Numbers(0, 50), Numbers(100, 150), {{20, "again"}}}}) {
    auto load = Begin();
    Status status;
    for (const Rows& rows : runs)
      if (status.ok()) status = load->Write({Piece(rows)});
    if (status.ok()) status = load->Finish();
    EXPECT_EQ(CodeOf(status), ErrorCode::kAlreadyExists) << status;
    EXPECT_NE(status.message().find("key=("), std::string::npos) << status;
    load.reset();
    EXPECT_EQ(DataObjects(), 0u);
  }
}

TEST_F(EngineLoadTest, LaterFactsAreLaidOverLoadedRows) {
  ASSERT_TRUE(Commit(Loaded({Numbers(0, 100)}).get()).ok());
  ASSERT_TRUE(PutPeople(engine_.get(), table_, {{5, "five"}, {100, "hundred"}}).ok());
  auto expected = MapOf(Numbers(0, 100));
  expected[5] = "five";
  expected[100] = "hundred";
  EXPECT_EQ(AllPeople(), expected);
  ASSERT_TRUE(engine_->Flush().ok());
  EXPECT_EQ(AllPeople(), expected);
  ExpectSound();
  ASSERT_TRUE(engine_->Compact(std::nullopt).ok());
  EXPECT_EQ(AllPeople(), expected);
  // Rows of several commits have their columns again.
  for (const auto& file : engine_->version()->FilesOf(table_->id))
    EXPECT_TRUE(file->has_system_columns);
  ExpectSound();
  Reopen();
  EXPECT_EQ(AllPeople(), expected);
}

TEST_F(EngineLoadTest, LoadsLieInTheDeepestLevelWhereThereIsRoom) {
  ASSERT_TRUE(Commit(Loaded({Numbers(0, 100)}).get()).ok());
  ASSERT_TRUE(Commit(Loaded({Numbers(200, 300)}).get()).ok());
  ASSERT_TRUE(Commit(Loaded({Numbers(100, 200), Numbers(300, 400)}).get()).ok());
  Rows between = {{1000, "x"}, {-1, "y"}};
  ASSERT_TRUE(Commit(Loaded({between}).get()).ok());
  std::map<int, int> levels;
  for (const auto& file : engine_->version()->FilesOf(table_->id)) ++levels[file->level];
  EXPECT_EQ(levels, (std::map<int, int>{{0, 1}, {1, 4}}));
  ExpectSound();
  ASSERT_TRUE(engine_->Compact(std::nullopt).ok());
  auto expected = MapOf(Numbers(0, 400));
  expected[1000] = "x";
  expected[-1] = "y";
  EXPECT_EQ(AllPeople(), expected);
  ExpectSound();
}

TEST_F(EngineLoadTest, ALoadWithoutACommitLeavesNothing) {
  {
    const auto load = Loaded({Numbers(0, 1000)});
    EXPECT_GT(DataObjects(), 0u);
  }
  EXPECT_EQ(DataObjects(), 0u);
  // What a crash leaves is found by a collection.
  auto load = Loaded({Numbers(0, 1000)});
  load->Keep();
  load.reset();
  EXPECT_GT(DataObjects(), 0u);
  ASSERT_TRUE(engine_->CollectGarbage(/*dry_run=*/false, /*grace_micros=*/0).ok());
  EXPECT_EQ(DataObjects(), 0u);
  EXPECT_TRUE(AllPeople().empty());
}

TEST_F(EngineLoadTest, ACollectionKeepsTheFilesOfARunningLoad) {
  auto load = Loaded({Numbers(0, 100)});
  const size_t objects = DataObjects();
  ASSERT_GT(objects, 0u);
  clock_.Advance(int64_t{24} * 3600 * 1'000'000);
  ASSERT_TRUE(engine_->CollectGarbage(/*dry_run=*/false, /*grace_micros=*/0).ok());
  EXPECT_EQ(DataObjects(), objects);
  ASSERT_TRUE(Commit(load.get()).ok());
  load.reset();
  ASSERT_TRUE(engine_->CollectGarbage(/*dry_run=*/false, /*grace_micros=*/0).ok());
  EXPECT_EQ(AllPeople(), MapOf(Numbers(0, 100)));
  ExpectSound();
}

TEST_F(EngineLoadTest, AKeyWrittenSinceTheSnapshotIsAConflict) {
  const SnapshotPtr snapshot = engine_->GetSnapshot();
  auto load = Loaded({Numbers(0, 100, 2)});
  ASSERT_TRUE(PutPeople(engine_.get(), table_, {{7, "between the keys"}}).ok());
  ASSERT_TRUE(Commit(load.get(), snapshot).ok());  // not one of its keys

  const SnapshotPtr second = engine_->GetSnapshot();
  for (const bool flushed : {false, true}) {
    load = Loaded({Numbers(1000 + (flushed ? 500 : 0), 1100 + (flushed ? 500 : 0))});
    ASSERT_TRUE(PutPeople(engine_.get(), table_, {{flushed ? 1550 : 1050, "theirs"}}).ok());
    if (flushed) {
      ASSERT_TRUE(engine_->Flush().ok());
    }
    const auto refused = Commit(load.get(), second);
    EXPECT_EQ(CodeOf(refused.status()), ErrorCode::kConflict) << refused.status();
    load.reset();
  }
  auto expected = MapOf(Numbers(0, 100, 2));
  expected[7] = "between the keys";
  expected[1050] = expected[1550] = "theirs";
  EXPECT_EQ(AllPeople(), expected);
  ExpectSound();
}

TEST_F(EngineLoadTest, OthersConflictWithALoadSinceTheirSnapshot) {
  const SnapshotPtr snapshot = engine_->GetSnapshot();
  ASSERT_TRUE(Commit(Loaded({Numbers(0, 100)}).get()).ok());
  const auto put = [&](int64_t id) {
    WriteBatch batch;
    EXPECT_TRUE(batch.Add(testing_tables::PeopleWrite(table_, {{id, "mine"}})).ok());
    CommitRequest request;
    request.batch = &batch;
    request.snapshot = snapshot;
    return engine_->Commit(std::move(request)).status();
  };
  EXPECT_EQ(CodeOf(put(50)), ErrorCode::kConflict);
  EXPECT_EQ(CodeOf(put(99)), ErrorCode::kConflict);
  EXPECT_TRUE(put(100).ok());
  // What was read: a key, and a range.
  const auto reading = [&](ReadSet reads) {
    WriteBatch batch;
    batch.AddInline(catalog::kKeyValueTable, temporal::FactKind::kPut, {}, "k", "v");
    CommitRequest request;
    request.batch = &batch;
    request.snapshot = snapshot;
    request.reads = &reads;
    return CodeOf(engine_->Commit(std::move(request)).status());
  };
  EXPECT_EQ(reading({.ranges = {}, .keys = {{table_->id, PeopleKey(table_, 3)}}}),
            ErrorCode::kConflict);
  EXPECT_EQ(reading({.ranges = {{table_->id, catalog::KeyRange::All()}}, .keys = {}}),
            ErrorCode::kConflict);
  // Another load of the same keys.
  EXPECT_EQ(CodeOf(Commit(Loaded({Numbers(99, 150)}).get(), snapshot).status()),
            ErrorCode::kConflict);
  EXPECT_TRUE(Commit(Loaded({Numbers(200, 250)}).get(), snapshot).ok());
  ExpectSound();
  ExpectNoOrphans();
}

TEST_F(EngineLoadTest, ARefOfUnclearOutcomeKeepsTheFiles) {
  for (const bool after_effect : {false, true}) {
    auto load = Loaded({Numbers(0, 100)});
    StoreFault fault;
    fault.kind = RequestKind::kPut;
    fault.path_prefix = "refs/";
    fault.after_effect = after_effect;
    fault.times = ~uint64_t{0};
    faulty_->Add(fault);
    fault.kind = RequestKind::kGet;
    faulty_->Add(fault);
    const auto receipt = Commit(load.get());
    EXPECT_EQ(CodeOf(receipt.status()), ErrorCode::kCommitUnknown) << receipt.status();
    faulty_->Clear();
    load.reset();
    Reopen();
    EXPECT_EQ(AllPeople(), after_effect ? MapOf(Numbers(0, 100)) : MapOf({}));
    ExpectSound();
  }
}

TEST_F(EngineLoadTest, AWriteThatFailsLeavesNothing) {
  for (uint64_t skip = 0; skip < 3; ++skip) {
    auto load = Begin();
    StoreFault fault;
    fault.kind = RequestKind::kCreate;
    fault.path_prefix = "data/";
    fault.skip = skip;
    faulty_->Add(fault);
    Status status = load->Write({Piece(Numbers(0, 100))});
    if (status.ok()) status = load->Write({Piece(Numbers(50, 60, 2)), Piece(Numbers(61, 101, 2))});
    if (status.ok()) status = load->Finish();
    EXPECT_FALSE(status.ok());
    faulty_->Clear();
    load.reset();
    EXPECT_EQ(DataObjects(), 0u);
  }
  EXPECT_TRUE(AllPeople().empty());
}

TEST_F(EngineLoadTest, ACompactionMakesWayForALoadInItsLevel) {
  // Its output at level 1 spans keys that a load brings there while it runs.
  for (int64_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(PutPeople(engine_.get(), table_, {{i * 10, "l0"}, {1000 + i, "l0"}}).ok());
    ASSERT_TRUE(engine_->Flush().ok());
  }
  auto load = Loaded({Numbers(500, 600)});
  StoreFault meanwhile;
  meanwhile.kind = RequestKind::kCreate;
  meanwhile.path_prefix = "data/" + std::to_string(table_->id.value) + "/";
  meanwhile.status = Status::OK();
  Status loaded;
  meanwhile.meanwhile = [&] { loaded = Commit(load.get()).status(); };
  faulty_->Add(meanwhile);
  ASSERT_TRUE(engine_->Compact(table_->id).ok());
  EXPECT_TRUE(loaded.ok()) << loaded;
  EXPECT_EQ(engine_->metrics().compaction_conflicts, 1u);
  auto expected = MapOf(Numbers(500, 600));
  for (int64_t i = 0; i < 4; ++i) expected[i * 10] = expected[1000 + i] = "l0";
  EXPECT_EQ(AllPeople(), expected);
  ExpectSound();
  ExpectNoOrphans();
}

TEST_F(EngineLoadTest, ATableIsLoadedOnceAndNotWrittenOtherwise) {
  const auto load = Loaded({Numbers(0, 10)});
  const auto other = Loaded({Numbers(20, 30)});
  WriteBatch batch;
  CommitRequest request;
  request.batch = &batch;
  request.snapshot = engine_->GetSnapshot();
  request.loads = {load.get(), other.get()};
  EXPECT_EQ(CodeOf(engine_->Commit(request).status()), ErrorCode::kInvalidArgument);
  ASSERT_TRUE(batch.Add(testing_tables::PeopleWrite(table_, {{100, "x"}})).ok());
  request.loads = {load.get()};
  EXPECT_EQ(CodeOf(engine_->Commit(request).status()), ErrorCode::kInvalidArgument);
  request.snapshot = nullptr;
  batch.Clear();
  EXPECT_EQ(CodeOf(engine_->Commit(request).status()), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(AllPeople().empty());
}

}  // namespace
}  // namespace lamina::engine
