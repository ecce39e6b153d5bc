// Commits that change table definitions together with facts: what a failing store leaves of them,
// and how they stand beside other commits.
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/executor.h"
#include "base/thread.h"
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

class EngineDefinitionsTest : public ::testing::Test {
 protected:
  EngineDefinitionsTest() : engine_(MustOpen(Options())) {}

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

  /// Creates the table of the snapshot's next id with these rows, and puts a document.
  Result<CommitReceipt> Create(const std::string& name,
                               const std::vector<std::pair<int64_t, std::string>>& rows,
                               SnapshotPtr snapshot = nullptr) {
    if (snapshot == nullptr) snapshot = engine_->GetSnapshot();
    catalog::KeyDeclaration key;
    key.names = {"id"};
    ARROW_ASSIGN_OR_RAISE(
        table_, catalog::MakeTable({snapshot->state().version->catalog.next_table_id}, name,
                                   testing_tables::PeopleSchema(), key));
    WriteBatch batch;
    ARROW_RETURN_NOT_OK(batch.Add(testing_tables::PeopleWrite(table_, rows)));
    batch.AddInline(catalog::kKeyValueTable, temporal::FactKind::kPut, {}, name, "created");
    const auto before = batch.mark();
    DefinitionChanges definitions;
    definitions.put.push_back(table_);
    CommitRequest request;
    request.batch = &batch;
    request.snapshot = snapshot;
    request.definitions = &definitions;
    auto receipt = engine_->Commit(std::move(request));
    // A refused batch goes back as it came.
    EXPECT_EQ(batch.mark().payload, receipt.ok() ? 0 : before.payload);
    return receipt;
  }
  void FailRefs(Status status, bool after_effect, uint64_t skip = 0) {
    StoreFault fault;
    fault.kind = RequestKind::kPut;
    fault.path_prefix = "refs/";
    fault.skip = skip;
    fault.after_effect = after_effect;
    fault.status = std::move(status);
    faulty_->Add(fault);
  }
  void ExpectNothingOf(const std::string& name, CommitId newest) {
    EXPECT_EQ(engine_->version()->catalog.Find(name), nullptr);
    EXPECT_EQ(Get(*engine_, name), std::nullopt);
    EXPECT_EQ(engine_->newest_commit(), newest);
  }
  void ExpectAllOf(const std::string& name) {
    const auto table = engine_->version()->catalog.Find(name);
    ASSERT_NE(table, nullptr);
    EXPECT_EQ(People(*engine_, table), (std::map<int64_t, std::string>{{1, "one"}}));
    EXPECT_EQ(Get(*engine_, name), "created");
  }
  void ExpectSound() {
    auto findings = engine_->Check(nullptr);
    ASSERT_TRUE(findings.ok()) << findings.status();
    EXPECT_EQ(*findings, std::vector<std::string>());
  }
  /// Files under data/ are those of the version: nothing of a failed commit is left.
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

TEST_F(EngineDefinitionsTest, CommitIsAtRestAndNotInTheLog) {
  ASSERT_TRUE(Put(engine_.get(), "before", "1").ok());
  const uint64_t frames = engine_->metrics().wal_frames;
  const auto receipt = Create("people", {{1, "one"}});
  ASSERT_TRUE(receipt.ok()) << receipt.status();
  EXPECT_EQ(receipt->commit.value, 2u);
  EXPECT_EQ(receipt->ack, AckClass::kDurable);
  EXPECT_EQ(engine_->metrics().wal_frames, frames);
  EXPECT_EQ(engine_->metrics().commits, 2u);
  EXPECT_EQ(engine_->metrics().memtable_facts, 0u);
  EXPECT_EQ(engine_->version()->flushed_commit.value, 2u);
  EXPECT_EQ(engine_->version()->recent.back().reason, "schema");
  EXPECT_EQ(engine_->definitions_changed_at().value, 2u);
  ExpectAllOf("people");
  // The log's numbers go on behind the gap, over a reopen without a flush.
  ASSERT_EQ(Put(engine_.get(), "after", "3")->commit.value, 3u);
  Reopen();
  EXPECT_EQ(engine_->recovery().replayed_commits, 1u);
  EXPECT_EQ(engine_->newest_commit().value, 3u);
  EXPECT_EQ(Get(*engine_, "after"), "3");
  ExpectAllOf("people");
  ExpectSound();
}

TEST_F(EngineDefinitionsTest, PublishThatCertainlyFailedLeavesNothing) {
  ASSERT_TRUE(Put(engine_.get(), "before", "1").ok());
  ASSERT_TRUE(engine_->Flush().ok());
  FailRefs(MakeError(ErrorCode::kResourceExhausted, "disk full"), /*after_effect=*/false);
  EXPECT_EQ(CodeOf(Create("people", {{1, "one"}}).status()), ErrorCode::kResourceExhausted);
  ExpectNothingOf("people", {1});
  ExpectNoOrphans();
  // The number goes to the next commit, and the engine works on.
  EXPECT_EQ(Put(engine_.get(), "next", "2")->commit.value, 2u);
  const auto again = Create("people", {{1, "one"}});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->commit.value, 3u);
  ExpectAllOf("people");
  Reopen();
  ExpectAllOf("people");
  EXPECT_EQ(Get(*engine_, "next"), "2");
  ExpectSound();
}

TEST_F(EngineDefinitionsTest, FlushBeforeItThatFailsLeavesNothing) {
  ASSERT_TRUE(Put(engine_.get(), "before", "1").ok());
  StoreFault fault;
  fault.kind = RequestKind::kCreate;
  fault.path_prefix = "data/";
  fault.status = MakeError(ErrorCode::kResourceExhausted, "disk full");
  faulty_->Add(fault);
  EXPECT_EQ(CodeOf(Create("people", {{1, "one"}}).status()), ErrorCode::kResourceExhausted);
  ExpectNothingOf("people", {1});
  EXPECT_EQ(Get(*engine_, "before"), "1");
  ASSERT_TRUE(Create("people", {{1, "one"}}).ok());
  ExpectAllOf("people");
}

TEST_F(EngineDefinitionsTest, FileThatCannotBeWrittenLeavesNothing) {
  for (uint64_t skip = 0;; ++skip) {
    StoreFault fault;
    fault.kind = RequestKind::kCreate;
    fault.path_prefix = "data/";
    fault.skip = skip;
    faulty_->Add(fault);
    const uint64_t hits = faulty_->faults_hit();
    const std::string name = "people" + std::to_string(skip);
    const auto receipt = Create(name, {{1, "one"}});
    const bool hit = faulty_->faults_hit() > hits;
    faulty_->Clear();
    if (!hit) {
      EXPECT_TRUE(receipt.ok()) << receipt.status();
      ExpectAllOf(name);
      EXPECT_GE(skip, 3u);  // the table's, the documents', the commits'
      break;
    }
    EXPECT_EQ(CodeOf(receipt.status()), ErrorCode::kUnavailable) << receipt.status();
    ExpectNothingOf(name, {0});
    ExpectNoOrphans();
  }
}

TEST_F(EngineDefinitionsTest, SyncOfAFileThatFailedStopsTheEngine) {
  StoreFault fault;
  fault.kind = RequestKind::kFinish;
  fault.path_prefix = "data/";
  fault.status = MakeError(ErrorCode::kStopped, "sync failed");
  faulty_->Add(fault);
  EXPECT_EQ(CodeOf(Create("people", {{1, "one"}}).status()), ErrorCode::kStopped);
  EXPECT_EQ(CodeOf(Put(engine_.get(), "next", "2").status()), ErrorCode::kStopped);
  faulty_->Clear();
  Reopen();
  ExpectNothingOf("people", {0});
  EXPECT_TRUE(Create("people", {{1, "one"}}).ok());
}

TEST_F(EngineDefinitionsTest, LostAnswerOfThePublishIsSettled) {
  FailRefs(MakeError(ErrorCode::kUnavailable, "no answer"), /*after_effect=*/true);
  const auto receipt = Create("people", {{1, "one"}});
  ASSERT_TRUE(receipt.ok()) << receipt.status();
  ExpectAllOf("people");
  EXPECT_EQ(Put(engine_.get(), "next", "2")->commit.value, receipt->commit.value + 1);
  Reopen();
  ExpectAllOf("people");
  ExpectSound();
}

TEST_F(EngineDefinitionsTest, UnsettledPublishStopsTheEngineAndShowsNothing) {
  for (const bool happened : {false, true}) {
    const std::string name = happened ? "happened" : "not_happened";
    const CommitId newest = engine_->newest_commit();
    FailRefs(MakeError(ErrorCode::kStopped, "sync failed"), happened);
    EXPECT_EQ(CodeOf(Create(name, {{1, "one"}}).status()), ErrorCode::kCommitUnknown);
    ExpectNothingOf(name, newest);
    EXPECT_EQ(CodeOf(Put(engine_.get(), "next", "2").status()), ErrorCode::kStopped);
    faulty_->Clear();
    Reopen();
    if (happened) {
      ExpectAllOf(name);
    } else {
      ExpectNothingOf(name, newest);
    }
    ASSERT_TRUE(Put(engine_.get(), "next", "2").ok());
    ASSERT_TRUE(engine_->Flush().ok());
    ExpectSound();
  }
}

TEST_F(EngineDefinitionsTest, UnsettledFlushBeforeItIsNotTakenForItsOwnOutcome) {
  ASSERT_TRUE(Put(engine_.get(), "before", "1").ok());
  FailRefs(MakeError(ErrorCode::kStopped, "sync failed"), /*after_effect=*/true);
  // Not kCommitUnknown: this commit has certainly not happened.
  EXPECT_EQ(CodeOf(Create("people", {{1, "one"}}).status()), ErrorCode::kStopped);
  faulty_->Clear();
  Reopen();
  ExpectNothingOf("people", {1});
  EXPECT_EQ(Get(*engine_, "before"), "1");
}

TEST_F(EngineDefinitionsTest, ClosedEngineTakesNone) {
  ASSERT_TRUE(engine_->Close(/*flush=*/false).ok());
  EXPECT_EQ(CodeOf(Create("people", {{1, "one"}}).status()), ErrorCode::kStopped);
  Reopen();
  ExpectNothingOf("people", {0});
}

TEST_F(EngineDefinitionsTest, ChangeSinceTheSnapshotIsAConflictAlsoWithoutACommit) {
  const SnapshotPtr snapshot = engine_->GetSnapshot();
  ASSERT_NE(CreatePeople(engine_.get(), "other"), nullptr);
  EXPECT_EQ(engine_->newest_commit(), snapshot->commit());
  EXPECT_EQ(CodeOf(Create("people", {{1, "one"}}, snapshot).status()), ErrorCode::kConflict);
  EXPECT_EQ(engine_->metrics().conflicts, 1u);
  EXPECT_TRUE(Create("people", {{1, "one"}}).ok());
}

TEST_F(EngineDefinitionsTest, ChangeWithoutASnapshotIsRefused) {
  WriteBatch batch;
  DefinitionChanges definitions;
  definitions.put.push_back(testing_tables::PeopleTable());
  CommitRequest request;
  request.batch = &batch;
  request.definitions = &definitions;
  EXPECT_EQ(CodeOf(engine_->Commit(std::move(request)).status()), ErrorCode::kInvalidArgument);
}

TEST_F(EngineDefinitionsTest, OlderDefinitionsFactsAreAtRestBeforeTheNewOne) {
  const auto table = CreatePeople(engine_.get());
  ASSERT_TRUE(PutPeople(engine_.get(), table, {{1, "one"}, {2, "two"}}).ok());
  const SnapshotPtr snapshot = engine_->GetSnapshot();
  const auto next = *catalog::RenameColumn(*table, "score", "points");
  WriteBatch batch;
  TableWrite write = testing_tables::PeopleWrite(next, {{3, "three"}});
  ASSERT_TRUE(batch.Add(std::move(write)).ok());
  DefinitionChanges definitions;
  definitions.put.push_back(next);
  CommitRequest request;
  request.batch = &batch;
  request.snapshot = snapshot;
  request.definitions = &definitions;
  const auto receipt = engine_->Commit(std::move(request));
  ASSERT_TRUE(receipt.ok()) << receipt.status();
  EXPECT_EQ(People(*engine_, next),
            (std::map<int64_t, std::string>{{1, "one"}, {2, "two"}, {3, "three"}}));
  // A write under the old definition is refused, one under the new is taken.
  EXPECT_EQ(CodeOf(PutPeople(engine_.get(), table, {{4, "four"}})), ErrorCode::kConflict);
  EXPECT_TRUE(PutPeople(engine_.get(), next, {{4, "four"}}).ok());
  Reopen();
  EXPECT_EQ(People(*engine_, next).size(), 4u);
  ExpectSound();
}

TEST_F(EngineDefinitionsTest, CommitWaitsInLineAndIsSeenInNumberOrderUnderAlways) {
  engine_.reset();
  EngineOptions options = Options();
  options.sync = SyncPolicy::kAlways;
  engine_ = MustOpen(options);
  ASSERT_TRUE(Put(engine_.get(), "a", "1").ok());
  ASSERT_TRUE(Create("people", {{1, "one"}}).ok());
  ASSERT_TRUE(Put(engine_.get(), "b", "2").ok());
  EXPECT_EQ(engine_->newest_commit().value, 3u);
  const SnapshotPtr snapshot = engine_->GetSnapshot();
  for (uint64_t c = 1; c < 3; ++c) {
    const auto earlier = engine_->reader().TimeOf(*snapshot, {c});
    const auto later = engine_->reader().TimeOf(*snapshot, {c + 1});
    ASSERT_TRUE(earlier.ok() && later.ok());
    EXPECT_LT(*earlier, *later);  // the clock stands
  }
}

TEST_F(EngineDefinitionsTest, RepeatedIdempotencyKeyIsNotCalledDurableBeforeItIs) {
  engine_.reset();
  EngineOptions options = Options();
  options.sync = SyncPolicy::kOff;
  engine_ = MustOpen(options);
  ASSERT_TRUE(Put(engine_.get(), "before", "1").ok());
  const SnapshotPtr snapshot = engine_->GetSnapshot();
  // The flush before the change is published; then, in the log only, somebody commits the key.
  CommitId theirs;
  StoreFault moment;
  moment.kind = RequestKind::kPut;
  moment.path_prefix = "refs/";
  moment.status = Status::OK();
  moment.meanwhile = [&] {
    base::Thread("meanwhile", [&] {
      WriteBatch batch;
      batch.AddInline(catalog::kKeyValueTable, temporal::FactKind::kPut, {}, "theirs", "2");
      CommitRequest request;
      request.batch = &batch;
      request.idempotency_key = "once";
      const auto receipt = engine_->Commit(std::move(request));
      ASSERT_TRUE(receipt.ok()) << receipt.status();
      theirs = receipt->commit;
    }).Join();
  };
  faulty_->Add(moment);
  WriteBatch batch;
  batch.AddInline(catalog::kKeyValueTable, temporal::FactKind::kPut, {}, "ours", "2");
  DefinitionChanges definitions;
  catalog::KeyDeclaration key;
  key.names = {"id"};
  definitions.put.push_back(*catalog::MakeTable({snapshot->state().version->catalog.next_table_id},
                                                "people", testing_tables::PeopleSchema(), key));
  CommitRequest request;
  request.batch = &batch;
  request.snapshot = snapshot;
  request.definitions = &definitions;
  request.idempotency_key = "once";
  const auto receipt = engine_->Commit(std::move(request));
  ASSERT_TRUE(receipt.ok()) << receipt.status();
  EXPECT_TRUE(receipt->replayed);
  EXPECT_EQ(receipt->commit, theirs);
  ASSERT_EQ(theirs.value, 2u) << "nothing came between: nothing was tested";
  EXPECT_EQ(engine_->version()->catalog.Find("people"), nullptr);
  if (receipt->ack == AckClass::kDurable) {
    EXPECT_EQ(engine_->metrics().durable_lag_commits, 0u);
  }
}

}  // namespace
}  // namespace lamina::engine
