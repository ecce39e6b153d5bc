// Two things at the same moment, at a moment that the test chooses: the store lets another thread
// work to its end just before one of its calls.
#include <atomic>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "base/executor.h"
#include "base/thread.h"
#include "engine/engine_test_support_internal.h"
#include "lamina/trace.h"
#include "testing/faulty_store.h"

namespace lamina::engine {
namespace {

using storage::RequestKind;
using testing::FaultyStore;
using testing::StoreFault;
using testing_engine::Get;
using testing_engine::MustOpen;
using testing_engine::Put;
using testing_engine::TestOptions;

/// Runs `work` on a thread of its own, to its end, before the next call of `kind` under
/// `path_prefix`.
void Before(FaultyStore* store, RequestKind kind, std::string path_prefix,
            std::function<void()> work) {
  StoreFault moment;
  moment.kind = kind;
  moment.path_prefix = std::move(path_prefix);
  moment.status = Status::OK();
  moment.meanwhile = [work = std::move(work)] { base::Thread("meanwhile", work).Join(); };
  store->Add(std::move(moment));
}

/// A sink must not call back; here the event only marks a moment at which the engine holds no lock
/// that the work needs.
class OnEvent final : public TraceSink {
 public:
  OnEvent(std::string_view event, std::function<void()> work)
      : event_(event), work_(std::move(work)) {}
  void Event(std::string_view, std::string_view event, std::span<const TraceField>) override {
    if (event == event_ && !done_.exchange(true)) base::Thread("meanwhile", work_).Join();
  }

 private:
  const std::string event_;
  const std::function<void()> work_;
  std::atomic<bool> done_{false};
};

TEST(EngineMeanwhileTest, CheckSeesNoDamageWhileAFlushPrunesTheLogItReads) {
  auto store = std::make_shared<FaultyStore>(MakeMemoryStore());
  EngineOptions options = TestOptions(store);
  auto executor = std::make_shared<base::ManualExecutor>(base::SystemClock());
  options.executor = executor;
  options.memtable_rows = 1;  // sealed by its first commit, flushed when the executor runs
  options.auto_compact = false;
  auto engine = MustOpen(options);
  ASSERT_TRUE(Put(engine.get(), "a", "1").ok());
  const auto floor = engine->version()->wal_floor;
  Before(store.get(), RequestKind::kList, "wal/", [&] { executor->RunUntilIdle(); });
  const auto findings = engine->Check(nullptr);
  ASSERT_TRUE(findings.ok()) << findings.status();
  EXPECT_EQ(*findings, std::vector<std::string>{});
  EXPECT_GT(engine->version()->wal_floor, floor) << "no flush came between: nothing was tested";
}

TEST(EngineMeanwhileTest, CompactionGoesOnWhenATrimTakesHistoryItHadPlannedToMerge) {
  auto store = std::make_shared<FaultyStore>(MakeMemoryStore());
  EngineOptions options = TestOptions(store);
  options.executor = std::make_shared<base::ManualExecutor>(base::SystemClock());
  options.auto_flush = false;
  options.auto_compact = false;
  Engine* running = nullptr;
  Status trimmed, collected;
  // The current files are merged first. Then the history files that were planned next go …
  options.trace = std::make_shared<OnEvent>("compaction.finished", [&] {
    trimmed = running->TrimHistory(catalog::kKeyValueTable, running->newest_system());
    // … for good, just before they would be opened.
    Before(store.get(), RequestKind::kOpenReader, "data/", [&] {
      collected = running->CollectGarbage(/*dry_run=*/false, /*grace_micros=*/0).status();
    });
  });
  auto engine = MustOpen(options);
  running = engine.get();
  for (const char* value : {"1", "2", "3"}) {
    ASSERT_TRUE(Put(engine.get(), "k", std::string("old ") + value).ok());
    ASSERT_TRUE(Put(engine.get(), "k", value).ok());
    ASSERT_TRUE(engine->Flush().ok());  // one current file, one history file
  }
  const Status compacted = engine->Compact(catalog::kKeyValueTable);
  EXPECT_TRUE(compacted.ok()) << compacted;
  EXPECT_TRUE(trimmed.ok()) << trimmed;
  EXPECT_TRUE(collected.ok()) << collected;
  EXPECT_EQ(Get(*engine, "k"), "3");
  EXPECT_TRUE(engine->Check(nullptr)->empty());
}

TEST(EngineMeanwhileTest, ReadOnlyOpenSeesAllWhileTheOwnerFlushesAndPrunesTheLogItReads) {
  auto store = std::make_shared<FaultyStore>(MakeMemoryStore());
  EngineOptions options = TestOptions(store);
  options.auto_compact = false;
  auto owner = MustOpen(options);
  const auto people = testing_engine::CreatePeople(owner.get());
  ASSERT_TRUE(testing_engine::PutPeople(owner.get(), people, {{1, "ann"}, {2, "bob"}}).ok());
  ASSERT_TRUE(Put(owner.get(), "a", "1").ok());
  Before(store.get(), RequestKind::kList, "wal/", [&] {
    EXPECT_TRUE(owner->Flush().ok());
    EXPECT_TRUE(Put(owner.get(), "b", "2").ok());
  });
  EngineOptions read_only = TestOptions(store);
  read_only.read_only = true;
  auto reader = MustOpen(read_only);
  ASSERT_NE(reader, nullptr);
  EXPECT_EQ(store->faults_hit(), 1u) << "no flush came between: nothing was tested";
  EXPECT_EQ(Get(*reader, "a"), "1");
  EXPECT_EQ(Get(*reader, "b"), "2");
  EXPECT_EQ(testing_engine::People(*reader, people).size(), 2u);
  EXPECT_EQ(reader->recovery().replayed_commits, 1u);
}

// A commit that changes definitions is in no log: the commits after it stand behind a gap there,
// which only the version that has it fills.
TEST(EngineMeanwhileTest, ReadOnlyOpenSeesAllWhileTheOwnerChangesDefinitions) {
  auto store = std::make_shared<FaultyStore>(MakeMemoryStore());
  EngineOptions options = TestOptions(store);
  options.auto_compact = false;
  auto owner = MustOpen(options);
  catalog::TableSchemaPtr people;
  // The reader has read the version, and not yet the log.
  Before(store.get(), RequestKind::kList, "wal/", [&] {
    const SnapshotPtr snapshot = owner->GetSnapshot();
    catalog::KeyDeclaration key;
    key.names = {"id"};
    people = *catalog::MakeTable({snapshot->state().version->catalog.next_table_id}, "people",
                                 testing_tables::PeopleSchema(), key);
    WriteBatch batch;
    EXPECT_TRUE(batch.Add(testing_tables::PeopleWrite(people, {{1, "ann"}})).ok());
    DefinitionChanges definitions;
    definitions.put.push_back(people);
    CommitRequest request;
    request.batch = &batch;
    request.snapshot = snapshot;
    request.definitions = &definitions;
    EXPECT_TRUE(owner->Commit(std::move(request)).ok());
    EXPECT_TRUE(Put(owner.get(), "a", "1").ok());
  });
  EngineOptions read_only = TestOptions(store);
  read_only.read_only = true;
  auto reader = MustOpen(read_only);
  ASSERT_NE(reader, nullptr);
  EXPECT_EQ(store->faults_hit(), 1u) << "nothing came between: nothing was tested";
  EXPECT_EQ(Get(*reader, "a"), "1");
  EXPECT_EQ(testing_engine::People(*reader, people).size(), 1u);
}

}  // namespace
}  // namespace lamina::engine
