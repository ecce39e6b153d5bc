// The engine as one handle sees it: commits, conflicts, snapshots, sealing, flush, recovery, schema
// changes, retention.
#include "engine/engine.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/executor.h"
#include "base/mutex.h"
#include "engine/engine_test_support_internal.h"
#include "lamina/trace.h"
#include "storage/manifest/manifest_store.h"
#include "storage/wal/wal.h"

namespace lamina::engine {
namespace {

using catalog::kKeyValueTable;
using temporal::FactKind;
using testing_engine::CreatePeople;
using testing_engine::Get;
using testing_engine::GetAt;
using testing_engine::MustOpen;
using testing_engine::People;
using testing_engine::Put;
using testing_engine::PutPeople;
using testing_engine::TestOptions;

ErrorCode CodeOrOk(const Status& status) {
  return status.ok() ? ErrorCode::kInternal : CodeOf(status);
}

Result<CommitReceipt> PutWithKey(Engine* engine, const std::string& key, const std::string& value,
                                 const std::string& idempotency_key) {
  WriteBatch batch;
  batch.AddInline(kKeyValueTable, FactKind::kPut, {}, key, value);
  CommitRequest request;
  request.batch = &batch;
  request.idempotency_key = idempotency_key;
  return engine->Commit(std::move(request));
}

TEST(EngineTest, CommitsAreNumberedDenselyAndTimesRise) {
  base::ManualClock clock;
  auto options = TestOptions(MakeMemoryStore());
  options.clock = &clock;
  auto engine = MustOpen(options);
  EXPECT_TRUE(engine->recovery().created);
  SystemTime last = SystemTime::Min();
  for (uint64_t i = 1; i <= 5; ++i) {
    auto receipt = Put(engine.get(), "k", std::to_string(i));
    ASSERT_TRUE(receipt.ok()) << receipt.status();
    EXPECT_EQ(receipt->commit.value, i);
    EXPECT_GT(receipt->system, last);  // although the clock stands
    EXPECT_EQ(receipt->ack, AckClass::kWritten);
    last = receipt->system;
    if (i == 3) clock.Set(clock.NowMicros() - 1'000'000);
  }
  EXPECT_EQ(engine->newest_commit().value, 5u);
  EXPECT_EQ(engine->newest_system(), last);
  EXPECT_EQ(Get(*engine, "k"), "5");
}

TEST(EngineTest, SnapshotsNeverChange) {
  auto options = TestOptions(MakeMemoryStore());
  options.memtable_rows = 3;
  auto engine = MustOpen(options);
  std::vector<SnapshotPtr> snapshots;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(Put(engine.get(), "k", std::to_string(i)).ok());
    snapshots.push_back(engine->GetSnapshot());
  }
  ASSERT_TRUE(engine->Flush().ok());
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(GetAt(*engine, *snapshots[static_cast<size_t>(i)], "k"), std::to_string(i));
  EXPECT_EQ(engine->metrics().live_snapshots, 20u);
  EXPECT_EQ(engine->metrics().oldest_snapshot_commit, 1u);
  snapshots.clear();
  EXPECT_EQ(engine->metrics().live_snapshots, 0u);
}

TEST(EngineTest, FirstCommitterWins) {
  auto engine = MustOpen(TestOptions(MakeMemoryStore()));
  ASSERT_TRUE(Put(engine.get(), "k", "0").ok());
  const SnapshotPtr a = engine->GetSnapshot();
  const SnapshotPtr b = engine->GetSnapshot();
  ASSERT_TRUE(Put(engine.get(), "k", "a", a).ok());
  EXPECT_EQ(CodeOrOk(Put(engine.get(), "k", "b", b).status()), ErrorCode::kConflict);
  EXPECT_TRUE(Put(engine.get(), "other", "b", b).ok());
  EXPECT_TRUE(Put(engine.get(), "k", "blind").ok());
  EXPECT_EQ(engine->metrics().conflicts, 1u);
  EXPECT_EQ(Get(*engine, "k"), "blind");
}

TEST(EngineTest, ConflictsAreSeenThroughSealsAndFlushes) {
  auto engine = MustOpen(TestOptions(MakeMemoryStore()));
  const SnapshotPtr before = engine->GetSnapshot();
  ASSERT_TRUE(Put(engine.get(), "k", "1").ok());
  ASSERT_TRUE(engine->Flush().ok());
  ASSERT_TRUE(Put(engine.get(), "x", "1").ok());
  EXPECT_EQ(CodeOrOk(Put(engine.get(), "k", "2", before).status()), ErrorCode::kConflict);
  EXPECT_TRUE(Put(engine.get(), "y", "2", before).ok());
}

TEST(EngineTest, SnapshotBeyondTheRetainedWindowIsTooOld) {
  auto options = TestOptions(MakeMemoryStore());
  options.retained_conflict_bytes = 0;
  auto engine = MustOpen(options);
  const SnapshotPtr before = engine->GetSnapshot();
  ASSERT_TRUE(Put(engine.get(), "k", "1").ok());
  ASSERT_TRUE(engine->Flush().ok());
  const auto status = Put(engine.get(), "untouched", "2", before).status();
  EXPECT_EQ(CodeOrOk(status), ErrorCode::kConflict);
  EXPECT_NE(status.message().find("too old"), std::string::npos) << status;
  EXPECT_TRUE(Put(engine.get(), "untouched", "2", engine->GetSnapshot()).ok());
}

TEST(EngineTest, ReadsAreCheckedByKeyAndRange) {
  auto engine = MustOpen(TestOptions(MakeMemoryStore()));
  ASSERT_TRUE(Put(engine.get(), "a", "0").ok());
  int writes = 0;
  const auto commit = [&](const SnapshotPtr& snapshot, const ReadSet& reads) {
    WriteBatch batch;
    batch.AddInline(kKeyValueTable, FactKind::kPut, {}, "unrelated" + std::to_string(++writes),
                    "v");
    CommitRequest request;
    request.batch = &batch;
    request.snapshot = snapshot;
    request.reads = &reads;
    return engine->Commit(std::move(request)).status();
  };
  ReadSet keys;
  keys.keys.push_back({kKeyValueTable, "missing"});
  ReadSet range;
  range.ranges.push_back({kKeyValueTable, {"m", "n", false}});
  SnapshotPtr snapshot = engine->GetSnapshot();
  EXPECT_TRUE(commit(snapshot, keys).ok());
  ASSERT_TRUE(Put(engine.get(), "b", "1").ok());
  EXPECT_TRUE(commit(snapshot, range).ok());
  snapshot = engine->GetSnapshot();
  ASSERT_TRUE(Put(engine.get(), "missing", "now there").ok());
  EXPECT_EQ(CodeOrOk(commit(snapshot, keys)), ErrorCode::kConflict);
  EXPECT_EQ(CodeOrOk(commit(snapshot, range)), ErrorCode::kConflict);
  snapshot = engine->GetSnapshot();
  ASSERT_TRUE(Put(engine.get(), "z", "outside").ok());
  EXPECT_TRUE(commit(snapshot, range).ok());
}

TEST(EngineTest, SystemTimeOverrideMustLieBetweenNewestAndNow) {
  base::ManualClock clock;
  auto options = TestOptions(MakeMemoryStore());
  options.clock = &clock;
  auto engine = MustOpen(options);
  const auto put_at = [&](int64_t micros) {
    WriteBatch batch;
    batch.AddInline(kKeyValueTable, FactKind::kPut, {}, "k", "v");
    CommitRequest request;
    request.batch = &batch;
    request.system_time = SystemTime{micros};
    return engine->Commit(std::move(request));
  };
  ASSERT_TRUE(put_at(1000).ok());
  EXPECT_EQ(CodeOrOk(put_at(1000).status()), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOrOk(put_at(clock.NowMicros() + 1).status()), ErrorCode::kInvalidArgument);
  auto receipt = put_at(1001);
  ASSERT_TRUE(receipt.ok()) << receipt.status();
  EXPECT_EQ(receipt->commit.value, 2u);
  EXPECT_EQ(receipt->system.micros, 1001);
}

TEST(EngineTest, IdempotencyKeyGivesTheFirstReceiptBack) {
  const auto store = MakeMemoryStore();
  auto engine = MustOpen(TestOptions(store));
  ASSERT_TRUE(Put(engine.get(), "x", "0").ok());
  auto first = PutWithKey(engine.get(), "k", "1", "request");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(first->replayed);
  const auto check = [&](const char* where) {
    auto again = PutWithKey(engine.get(), "k", "2", "request");
    ASSERT_TRUE(again.ok()) << where << again.status();
    EXPECT_TRUE(again->replayed) << where;
    EXPECT_EQ(again->commit, first->commit) << where;
    EXPECT_EQ(again->system, first->system) << where;
    EXPECT_EQ(Get(*engine, "k"), "1") << where;
  };
  check("in memory");
  ASSERT_TRUE(engine->Flush().ok());
  check("in files");
  engine.reset();
  engine = MustOpen(TestOptions(store));
  check("after a reopen");
  auto other = PutWithKey(engine.get(), "k", "3", "another request");
  ASSERT_TRUE(other.ok());
  EXPECT_FALSE(other->replayed);
}

TEST(EngineTest, EverythingWrittenSurvivesAReopenWithoutClose) {
  const auto store = MakeMemoryStore();
  auto options = TestOptions(store);
  options.memtable_rows = 7;  // some commits in files, some in the log only
  catalog::TableSchemaPtr people;
  std::map<int64_t, std::string> expected;
  for (int round = 0; round < 5; ++round) {
    auto engine = MustOpen(options);
    ASSERT_NE(engine, nullptr);
    if (round == 0) people = CreatePeople(engine.get());
    EXPECT_EQ(People(*engine, people), expected) << "round " << round;
    for (int64_t i = 0; i < 20; ++i) {
      const int64_t id = (round * 13 + i) % 37;
      const std::string name = "r" + std::to_string(round) + "i" + std::to_string(i);
      ASSERT_TRUE(PutPeople(engine.get(), people, {{id, name}}).ok());
      expected[id] = name;
    }
    ASSERT_TRUE(Put(engine.get(), "round", std::to_string(round)).ok());
    EXPECT_EQ(People(*engine, people), expected) << "round " << round;
    EXPECT_EQ(engine->newest_commit().value, static_cast<uint64_t>((round + 1) * 21));
  }
  auto engine = MustOpen(options);
  EXPECT_EQ(People(*engine, people), expected);
  EXPECT_EQ(Get(*engine, "round"), "4");
  ASSERT_TRUE(engine->Close(/*flush=*/true).ok());
  ASSERT_TRUE(engine->Close(true).ok());
  EXPECT_EQ(CodeOrOk(Put(engine.get(), "a", "b").status()), ErrorCode::kStopped);
  engine.reset();
  engine = MustOpen(options);
  EXPECT_EQ(engine->recovery().replayed_commits, 0u);
  EXPECT_EQ(People(*engine, people), expected);
  EXPECT_TRUE(engine->Check(nullptr)->empty());
}

TEST(EngineTest, EachThresholdSealsAlone) {
  const auto count = [](int64_t bytes, int64_t rows, int64_t age, int64_t batches) {
    base::ManualClock clock;
    base::ManualExecutor* executor;
    auto options = TestOptions(MakeMemoryStore());
    auto shared = std::make_shared<base::ManualExecutor>(&clock);
    executor = shared.get();
    options.executor = shared;
    options.clock = &clock;
    options.memtable_bytes = 0;
    options.auto_flush = false;
    auto engine = MustOpen(options);
    const auto people = CreatePeople(engine.get());
    engine->SetSealThresholds(bytes, rows, age, batches);
    for (int i = 0; i < 10; ++i) {
      EXPECT_TRUE(PutPeople(engine.get(), people, {{i, "x"}, {i + 100, "y"}}).ok());
      clock.Advance(1000);
      executor->RunUntilIdle();
    }
    return engine->metrics().sealed_memtables;
  };
  EXPECT_EQ(count(0, 0, 0, 0), 0u);
  EXPECT_EQ(count(1, 0, 0, 0), 10u);
  EXPECT_EQ(count(0, 4, 0, 0), 5u);
  EXPECT_EQ(count(0, 0, 0, 5), 2u);
  EXPECT_GE(count(0, 0, 3000, 0), 3u);
}

TEST(EngineTest, AgeSealsWithoutAFurtherCommit) {
  base::ManualClock clock;
  auto executor = std::make_shared<base::ManualExecutor>(&clock);
  auto options = TestOptions(MakeMemoryStore());
  options.clock = &clock;
  options.executor = executor;
  options.memtable_age_micros = 1'000'000;
  auto engine = MustOpen(options);
  ASSERT_TRUE(Put(engine.get(), "k", "v").ok());
  executor->RunUntilIdle();
  EXPECT_EQ(engine->metrics().flushes, 0u);
  clock.Advance(1'000'001);
  executor->RunUntilIdle();
  EXPECT_EQ(engine->metrics().flushes, 1u);
  EXPECT_EQ(engine->version()->flushed_commit.value, 1u);
}

TEST(EngineTest, FlushMovesTheLogsFloorAndPrunes) {
  const auto store = MakeMemoryStore();
  auto engine = MustOpen(TestOptions(store));
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(Put(engine.get(), "k" + std::to_string(i), "v").ok());
  ASSERT_TRUE(engine->Flush().ok());
  EXPECT_EQ(engine->version()->flushed_commit.value, 10u);
  auto segments = storage::wal::ListSegments(store, "main");
  ASSERT_TRUE(segments.ok());
  EXPECT_EQ(segments->size(), 1u);
  EXPECT_TRUE(engine->PruneWal(/*dry_run=*/true)->empty());
  ASSERT_TRUE(Put(engine.get(), "k", "v").ok());
  engine.reset();
  engine = MustOpen(TestOptions(store));
  EXPECT_EQ(engine->recovery().replayed_commits, 1u);
  EXPECT_EQ(Get(*engine, "k9"), "v");
}

TEST(EngineTest, ReadOnlyOpenChangesNothing) {
  const auto store = MakeMemoryStore();
  {
    auto engine = MustOpen(TestOptions(store));
    ASSERT_TRUE(Put(engine.get(), "flushed", "1").ok());
    ASSERT_TRUE(engine->Flush().ok());
    ASSERT_TRUE(Put(engine.get(), "logged", "2").ok());
  }
  const auto listing = [&] {
    std::vector<std::pair<std::string, std::string>> objects;
    for (const auto& object : *store->List("")) objects.emplace_back(object.path, object.tag);
    return objects;
  };
  const auto before = listing();
  auto options = TestOptions(store);
  options.read_only = true;
  auto engine = MustOpen(options);
  EXPECT_EQ(Get(*engine, "flushed"), "1");
  EXPECT_EQ(Get(*engine, "logged"), "2");
  EXPECT_EQ(CodeOrOk(Put(engine.get(), "a", "b").status()), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOrOk(engine->Flush()), ErrorCode::kInvalidArgument);
  EXPECT_EQ(listing(), before);
  EXPECT_TRUE(Engine::Open(TestOptions(store)).ok());  // the reader holds no lock
  options.branch = "absent";
  EXPECT_EQ(CodeOrOk(Engine::Open(options).status()), ErrorCode::kNotFound);
}

TEST(EngineTest, OneOwnerAtATime) {
  const auto store = MakeMemoryStore();
  auto engine = MustOpen(TestOptions(store));
  EXPECT_EQ(CodeOrOk(Engine::Open(TestOptions(store)).status()), ErrorCode::kUnavailable);
  engine.reset();
  EXPECT_TRUE(Engine::Open(TestOptions(store)).ok());
}

TEST(EngineTest, RefusesAStoreThatHoldsSomethingElse) {
  const auto store = MakeMemoryStore();
  ASSERT_TRUE(store->Put("holiday.jpg", "…", PutCondition::None()).ok());
  EXPECT_EQ(CodeOrOk(Engine::Open(TestOptions(store)).status()), ErrorCode::kInvalidArgument);
  EXPECT_EQ(store->List("")->size(), 1u);
  auto options = TestOptions(MakeMemoryStore());
  options.create_if_missing = false;
  EXPECT_EQ(CodeOrOk(Engine::Open(options).status()), ErrorCode::kNotFound);
}

TEST(EngineTest, WithoutALogOnlyFlushedCommitsSurvive) {
  const auto store = MakeMemoryStore();
  auto options = TestOptions(store);
  options.wal = false;
  auto engine = MustOpen(options);
  auto receipt = Put(engine.get(), "flushed", "1");
  ASSERT_TRUE(receipt.ok());
  EXPECT_EQ(receipt->ack, AckClass::kMemory);
  ASSERT_TRUE(engine->Flush().ok());
  ASSERT_TRUE(Put(engine.get(), "lost", "2").ok());
  engine.reset();
  engine = MustOpen(options);
  EXPECT_EQ(Get(*engine, "flushed"), "1");
  EXPECT_EQ(Get(*engine, "lost"), std::nullopt);
}

TEST(EngineTest, SyncPolicyDecidesTheAcknowledgement) {
  auto options = TestOptions(MakeMemoryStore());
  options.sync = SyncPolicy::kAlways;
  auto engine = MustOpen(options);
  EXPECT_EQ(Put(engine.get(), "k", "v")->ack, AckClass::kDurable);
  EXPECT_EQ(Get(*engine, "k"), "v");
  EXPECT_EQ(engine->metrics().durable_lag_commits, 0u);
  EXPECT_GE(engine->metrics().wal_syncs, 1u);

  base::ManualClock clock;
  auto executor = std::make_shared<base::ManualExecutor>(&clock);
  options = TestOptions(MakeMemoryStore());
  options.clock = &clock;
  options.executor = executor;
  engine = MustOpen(options);
  EXPECT_EQ(Put(engine.get(), "k", "v")->ack, AckClass::kWritten);
  EXPECT_EQ(engine->metrics().durable_lag_commits, 1u);
  clock.Advance(options.sync_interval_micros);
  executor->RunUntilIdle();
  EXPECT_EQ(engine->metrics().durable_lag_commits, 0u);
  WriteBatch batch;
  batch.AddInline(kKeyValueTable, FactKind::kPut, {}, "k", "w");
  CommitRequest request;
  request.batch = &batch;
  request.sync = SyncPolicy::kAlways;
  EXPECT_EQ(engine->Commit(std::move(request))->ack, AckClass::kDurable);
  EXPECT_TRUE(batch.empty());
  ASSERT_TRUE(Put(engine.get(), "k", "x").ok());
  ASSERT_TRUE(engine->Sync().ok());
  EXPECT_EQ(engine->metrics().durable_lag_commits, 0u);
}

TEST(EngineTest, SchemaChangesKeepRowsAndRefuseOldBatches) {
  const auto store = MakeMemoryStore();
  auto engine = MustOpen(TestOptions(store));
  const auto people = CreatePeople(engine.get());
  ASSERT_NE(people, nullptr);
  EXPECT_EQ(
      CodeOrOk(engine->CreateTable("people", testing_tables::PeopleSchema(), {}, {}).status()),
      ErrorCode::kAlreadyExists);
  ASSERT_TRUE(PutPeople(engine.get(), people, {{1, "Ada"}}).ok());
  WriteBatch stale;
  ASSERT_TRUE(stale.Add(testing_tables::PeopleWrite(people, {{2, "Bob"}})).ok());
  ASSERT_TRUE(engine
                  ->AlterTable(people->id,
                               [](const catalog::TableSchema& table) {
                                 return catalog::AddColumn(table,
                                                           arrow::field("born", arrow::date32()));
                               })
                  .ok());
  CommitRequest request;
  request.batch = &stale;
  EXPECT_EQ(CodeOrOk(engine->Commit(std::move(request)).status()), ErrorCode::kConflict);
  EXPECT_EQ(stale.fact_count(), 1u);  // a refused batch stays the caller's
  EXPECT_EQ(People(*engine, people), (std::map<int64_t, std::string>{{1, "Ada"}}));
  engine.reset();
  engine = MustOpen(TestOptions(store));
  EXPECT_EQ(engine->version()->catalog.Find("people")->columns.size(), 4u);
  EXPECT_EQ(People(*engine, people), (std::map<int64_t, std::string>{{1, "Ada"}}));

  const auto second = CreatePeople(engine.get(), "second");
  EXPECT_NE(second->id, people->id);
  ASSERT_TRUE(PutPeople(engine.get(), second, {{1, "Eve"}}).ok());
  EXPECT_EQ(CodeOrOk(engine->AlterTable(second->id,
                                        [](const catalog::TableSchema& table) {
                                          return catalog::RenameTable(table, "people");
                                        })),
            ErrorCode::kAlreadyExists);
  ASSERT_TRUE(engine->DropTable(second->id).ok());
  EXPECT_EQ(CodeOrOk(PutPeople(engine.get(), second, {{2, "Eve"}})), ErrorCode::kConflict);
  EXPECT_EQ(CodeOrOk(engine->DropTable(second->id)), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOrOk(engine->DropTable(kKeyValueTable)), ErrorCode::kInvalidArgument);
  engine.reset();
  engine = MustOpen(TestOptions(store));  // the log still holds the dropped table's row
  ASSERT_NE(engine, nullptr);
  EXPECT_EQ(engine->version()->catalog.Find("second"), nullptr);
  ASSERT_TRUE(engine->Flush().ok());
}

TEST(EngineTest, RowIdsAreNeverGivenTwice) {
  const auto store = MakeMemoryStore();
  catalog::KeyDeclaration no_key;
  no_key.no_key = true;
  const auto schema = arrow::schema({arrow::field("text", arrow::utf8())});
  const auto append = [&](Engine* engine, const catalog::TableSchemaPtr& table, int64_t first,
                          int64_t rows) {
    arrow::StringBuilder texts;
    arrow::Int64Builder ids;
    for (int64_t i = 0; i < rows; ++i) {
      EXPECT_TRUE(texts.Append("line").ok());
      EXPECT_TRUE(ids.Append(first + i).ok());
    }
    TableWrite write;
    write.schema = table;
    write.rows = arrow::RecordBatch::Make(table->StorageSchema(), rows,
                                          {texts.Finish().ValueOrDie(), ids.Finish().ValueOrDie()});
    write.keys = catalog::KeyCodec(*table).Encode(*write.rows).ValueOrDie();
    WriteBatch batch;
    EXPECT_TRUE(batch.Add(std::move(write)).ok());
    CommitRequest request;
    request.batch = &batch;
    return engine->Commit(std::move(request)).status();
  };
  auto engine = MustOpen(TestOptions(store));
  auto table = engine->CreateTable("lines", schema, no_key, {});
  ASSERT_TRUE(table.ok()) << table.status();
  const int64_t first = *engine->ReserveRowIds((*table)->id, 10);
  ASSERT_TRUE(append(engine.get(), *table, first, 10).ok());
  EXPECT_EQ(*engine->ReserveRowIds((*table)->id, 1), first + 10);
  engine.reset();
  engine = MustOpen(TestOptions(store));
  int64_t next = *engine->ReserveRowIds((*table)->id, 5);
  EXPECT_GE(next, first + 10);
  ASSERT_TRUE(append(engine.get(), *table, next, 5).ok());
  ASSERT_TRUE(engine->Close(/*flush=*/true).ok());
  engine.reset();
  engine = MustOpen(TestOptions(store));
  EXPECT_GE(*engine->ReserveRowIds((*table)->id, 1), next + 5);
  EXPECT_EQ(CodeOrOk(engine->ReserveRowIds(kKeyValueTable, 1).status()),
            ErrorCode::kInvalidArgument);
}

TEST(EngineTest, CheckpointsHoldTheHistoryFloorDown) {
  auto engine = MustOpen(TestOptions(MakeMemoryStore()));
  const auto people = CreatePeople(engine.get());
  ASSERT_TRUE(PutPeople(engine.get(), people, {{1, "Ada"}}).ok());
  auto checkpoint = engine->CreateCheckpoint("before");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->commit.value, 1u);
  EXPECT_EQ(CodeOrOk(engine->CreateCheckpoint("before").status()), ErrorCode::kAlreadyExists);
  ASSERT_TRUE(PutPeople(engine.get(), people, {{1, "Eve"}}).ok());
  const SystemTime floor = engine->newest_system();
  EXPECT_EQ(CodeOrOk(engine->TrimHistory(people->id, floor)), ErrorCode::kInvalidArgument);
  ASSERT_TRUE(engine->DropCheckpoint("before").ok());
  EXPECT_EQ(CodeOrOk(engine->DropCheckpoint("before")), ErrorCode::kNotFound);
  ASSERT_TRUE(engine->TrimHistory(people->id, floor).ok());
  EXPECT_EQ(engine->version()->history_floor.at(people->id), floor);
  EXPECT_EQ(People(*engine, people), (std::map<int64_t, std::string>{{1, "Eve"}}));
}

// Each file alone is sound: only all of them together show that an ended row came back.
TEST(EngineTest, CheckNamesRowVersionsThatShareMoments) {
  auto options = TestOptions(MakeMemoryStore());
  options.auto_compact = false;  // it would move the ended row away
  base::Ulid file;
  {
    auto engine = MustOpen(options);
    ASSERT_TRUE(Put(engine.get(), "k", "old").ok());
    ASSERT_TRUE(engine->Flush().ok());
    ASSERT_TRUE(Put(engine.get(), "k", "new").ok());
    ASSERT_TRUE(engine->Flush().ok());
    EXPECT_TRUE(engine->Check(nullptr)->empty());
    for (const auto& candidate : engine->version()->files.at(kKeyValueTable)) {
      if (candidate->deletions) file = candidate->id;
    }
    ASSERT_TRUE(engine->Close(/*flush=*/true).ok());
  }
  {
    base::Random random(1);
    base::UlidGenerator ulids(base::SystemClock(), &random);
    storage::manifest::ManifestStore::Options manifest_options;
    manifest_options.store = options.store;
    manifest_options.clock = base::SystemClock();
    manifest_options.ulids = &ulids;
    auto manifest = storage::manifest::ManifestStore::Open(manifest_options);
    ASSERT_TRUE(manifest.ok()) << manifest.status();
    storage::manifest::VersionEdit lost;
    lost.reason = "test";
    lost.set_deletions.emplace_back(kKeyValueTable, file, std::nullopt);
    const auto committed = (*manifest)->Commit(lost);
    ASSERT_TRUE(committed.ok()) << committed.status();
  }
  auto engine = MustOpen(options);
  const auto findings = engine->Check(nullptr);
  ASSERT_TRUE(findings.ok()) << findings.status();
  ASSERT_EQ(findings->size(), 1u);
  EXPECT_NE(findings->front().find("share moments"), std::string::npos) << findings->front();
  EXPECT_NE(findings->front().find("key=6B"), std::string::npos) << findings->front();
}

TEST(EngineTest, CheckTellsHowFarItIs) {
  auto options = TestOptions(MakeMemoryStore());
  options.auto_compact = false;
  auto engine = MustOpen(options);
  for (int i = 0; i < 3; ++i) {
    for (int k = 0; k < 20; ++k) ASSERT_TRUE(Put(engine.get(), std::to_string(k), "v").ok());
    ASSERT_TRUE(engine->Flush().ok());
  }
  uint64_t last = 0, end = 0, calls = 0;
  const auto findings = engine->Check([&](uint64_t done, uint64_t total) {
    EXPECT_GE(done, last);
    EXPECT_LE(done, total);
    last = done;
    end = total;
    ++calls;
  });
  ASSERT_TRUE(findings.ok()) << findings.status();
  EXPECT_TRUE(findings->empty());
  EXPECT_EQ(last, end);
  EXPECT_GT(calls, 6u);
}

TEST(EngineTest, ErasedKeyLeavesEveryObject) {
  const auto store = MakeMemoryStore();
  auto options = TestOptions(store);
  options.upper_codec = Codec::kNone;
  options.last_codec = Codec::kNone;
  auto engine = MustOpen(options);
  const std::string secret = "a-very-secret-key";
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(Put(engine.get(), secret, "secret-value-" + std::to_string(round)).ok());
    ASSERT_TRUE(Put(engine.get(), "aaa", std::to_string(round)).ok());
    ASSERT_TRUE(Put(engine.get(), "zzz", std::to_string(round)).ok());
    ASSERT_TRUE(engine->Flush().ok());
  }
  ASSERT_TRUE(Put(engine.get(), secret, "secret-value-in-memory").ok());
  const Status erased = engine->EraseKey(kKeyValueTable, secret);
  ASSERT_TRUE(erased.ok()) << erased;
  EXPECT_EQ(Get(*engine, secret), std::nullopt);
  EXPECT_EQ(Get(*engine, "aaa"), "2");
  EXPECT_TRUE(engine->version()->erases.empty());
  const auto expect_no_trace = [&](const char* when) {
    for (const auto& object : *store->List("")) {
      const auto bytes = store->Get(object.path);
      ASSERT_TRUE(bytes.ok());
      for (const std::string& text : {secret, std::string("secret-value")})
        EXPECT_EQ((*bytes)->ToString().find(text), std::string::npos) << object.path << " " << when;
    }
  };
  expect_no_trace("from files, log and memory");
  EXPECT_TRUE(engine->Check(nullptr)->empty());
  ASSERT_TRUE(Put(engine.get(), secret, "born again").ok());
  ASSERT_TRUE(engine->Flush().ok());
  EXPECT_EQ(Get(*engine, secret), "born again");
  // Now in files, and in the log of an epoch that is over.
  ASSERT_TRUE(Put(engine.get(), secret, "secret-value-of-the-last-epoch").ok());
  engine.reset();
  options.memtable_bytes = 1;  // the replay seals its memtables
  options.auto_flush = false;
  engine = MustOpen(options);
  EXPECT_EQ(Get(*engine, secret), "secret-value-of-the-last-epoch");
  ASSERT_TRUE(engine->EraseKey(kKeyValueTable, secret).ok());
  expect_no_trace("from an older epoch");
  EXPECT_EQ(Get(*engine, "aaa"), "2");
}

TEST(EngineTest, CompactionKeepsTheAnswersAndFreesLevelZero) {
  auto options = TestOptions(MakeMemoryStore());
  options.memtable_rows = 10;
  options.level0_files = 2;
  options.gc_grace_micros = 0;
  auto engine = MustOpen(options);
  const auto people = CreatePeople(engine.get());
  std::map<int64_t, std::string> expected;
  for (int64_t i = 0; i < 200; ++i) {
    const std::string name = "n" + std::to_string(i);
    ASSERT_TRUE(PutPeople(engine.get(), people, {{i * 7 % 50, name}}).ok());
    expected[i * 7 % 50] = name;
  }
  ASSERT_TRUE(engine->WaitForBackground().ok());
  EXPECT_EQ(People(*engine, people), expected);
  EXPECT_GT(engine->metrics().compactions, 0u);
  ASSERT_TRUE(engine->Flush().ok());
  ASSERT_TRUE(engine->Compact(std::nullopt).ok());
  EXPECT_EQ(People(*engine, people), expected);
  auto findings = engine->Check(nullptr);
  ASSERT_TRUE(findings.ok());
  EXPECT_TRUE(findings->empty()) << findings->front();
  auto collected = engine->CollectGarbage(/*dry_run=*/false, 0);
  ASSERT_TRUE(collected.ok()) << collected.status();
  EXPECT_EQ(People(*engine, people), expected);
  EXPECT_TRUE(engine->version()->retired.empty());
}

TEST(EngineTest, WritersAreHeldBackNotHung) {
  // No thread runs the executor: the committing thread itself must make room.
  base::ManualClock clock;
  auto options = TestOptions(MakeMemoryStore());
  options.executor = std::make_shared<base::ManualExecutor>(&clock);
  options.memtable_rows = 2;
  options.max_sealed_memtables = 2;
  options.level0_files = 2;
  options.level0_slowdown_files = 2;
  options.level0_stop_files = 3;
  options.slowdown_micros = 1;
  auto engine = MustOpen(options);
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(Put(engine.get(), "k" + std::to_string(i), "v").ok());
  const EngineMetrics metrics = engine->metrics();
  EXPECT_GT(metrics.backpressure_waits, 0u);
  EXPECT_LE(metrics.sealed_memtables, 2u);
  EXPECT_GT(metrics.flushes, 0u);
  for (int i = 0; i < 60; ++i) EXPECT_EQ(Get(*engine, "k" + std::to_string(i)), "v");
}

// The latency of a commit steps up at the first limit and waits for a compaction at the second. The
// clock moves by sleeping only, and no thread runs the executor.
TEST(EngineTest, LevelZeroSlowsCommitsAtItsFirstLimitAndHoldsThemAtItsSecond) {
  base::ManualClock clock;
  auto options = TestOptions(MakeMemoryStore());
  options.clock = &clock;
  options.executor = std::make_shared<base::ManualExecutor>(&clock);
  options.level0_files = 2;
  options.level0_slowdown_files = 4;
  options.level0_stop_files = 6;
  options.slowdown_micros = 25'000;
  auto engine = MustOpen(options);
  const auto latency = [&](const std::string& value) {
    const int64_t begin = clock.MonotonicNanos();
    EXPECT_TRUE(Put(engine.get(), "k", value).ok());
    return (clock.MonotonicNanos() - begin) / 1000;
  };
  for (uint64_t files = 0; files < 4; ++files) {
    EXPECT_EQ(engine->metrics().level0_files, files);
    EXPECT_EQ(latency(std::to_string(files)), 0) << files;
    ASSERT_TRUE(engine->Flush().ok());
  }
  for (uint64_t files = 4; files < 6; ++files) {
    EXPECT_EQ(engine->metrics().level0_files, files);
    EXPECT_EQ(latency(std::to_string(files)), 25'000) << files;
    ASSERT_TRUE(engine->Flush().ok());
  }
  EngineMetrics metrics = engine->metrics();
  EXPECT_EQ(metrics.waits_slowdown, 2u);
  EXPECT_EQ(metrics.waits_level0, 0u);
  EXPECT_EQ(metrics.compactions, 0u);
  EXPECT_EQ(metrics.level0_files, 6u);
  EXPECT_EQ(metrics.backpressure_nanos, 50'000'000u);
  // The commit that finds six files waits until there are fewer, doing the work itself.
  ASSERT_TRUE(Put(engine.get(), "k", "after").ok());
  metrics = engine->metrics();
  EXPECT_EQ(metrics.waits_level0, 1u);
  EXPECT_GE(metrics.compactions, 1u);
  EXPECT_LT(metrics.level0_files, 6u);
  EXPECT_EQ(metrics.backpressure_waits, 3u);
  EXPECT_EQ(Get(*engine, "k"), "after");
  // A reopen counts what is there.
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(Put(engine.get(), "k", std::to_string(i)).ok());
    ASSERT_TRUE(engine->Flush().ok());
  }
  const uint64_t files = engine->metrics().level0_files;
  EXPECT_GE(files, 4u);
  engine.reset();
  engine = MustOpen(options);
  EXPECT_EQ(engine->metrics().level0_files, files);
}

TEST(EngineTest, MetricsTellWhyWhatWasSealedAndHowLongItTook) {
  base::ManualClock clock;
  auto executor = std::make_shared<base::ManualExecutor>(&clock);
  auto options = TestOptions(MakeMemoryStore());
  options.clock = &clock;
  options.executor = executor;
  options.auto_flush = false;
  options.auto_compact = false;
  auto engine = MustOpen(options);
  const auto people = CreatePeople(engine.get());
  const auto put = [&](int64_t id) {
    ASSERT_TRUE(PutPeople(engine.get(), people, {{id, "x"}}).ok());
  };
  put(1);
  engine->SetSealThresholds(1, 0, 0, 0);
  put(2);
  engine->SetSealThresholds(0, 1, 0, 0);
  put(3);
  engine->SetSealThresholds(0, 0, 0, 1);
  put(1);
  engine->SetSealThresholds(0, 0, 0, 0);
  put(4);
  engine->SetSealThresholds(0, 0, 1000, 0);  // what is in memory already ages too
  clock.Advance(1000);
  executor->RunUntilIdle();
  put(5);
  clock.Advance(2000);
  ASSERT_TRUE(engine->Flush().ok());
  EngineMetrics metrics = engine->metrics();
  EXPECT_EQ(metrics.seals_bytes, 1u);
  EXPECT_EQ(metrics.seals_rows, 1u);
  EXPECT_EQ(metrics.seals_batches, 1u);
  EXPECT_EQ(metrics.seals_age, 1u);
  EXPECT_EQ(metrics.seals_asked, 1u);
  // Three wait from before the clock moved, one from 1 ms on, one is flushed as it is sealed.
  EXPECT_EQ(metrics.seal_to_flush_nanos, 3u * 3'000'000 + 2'000'000);
  EXPECT_EQ(metrics.flush_files_out, 3u) << "current and history rows, and the commits";
  EXPECT_GT(metrics.wal_floor_segment, 1u);
  EXPECT_EQ(metrics.level0_files, 1u);
  put(1);
  ASSERT_TRUE(engine->Flush().ok());
  metrics = engine->metrics();
  EXPECT_EQ(metrics.flush_rows_ended, 1u);
  EXPECT_EQ(metrics.level0_files, 2u);
  SnapshotPtr snapshot = engine->GetSnapshot();
  ASSERT_TRUE(engine->Compact(people->id).ok());
  metrics = engine->metrics();
  EXPECT_EQ(metrics.compaction_files_in, 4u)
      << "two current ones; two history ones, one of them new";
  EXPECT_GE(metrics.compaction_files_out, 2u);
  ASSERT_TRUE(engine->CollectGarbage(false, 0).ok());
  metrics = engine->metrics();
  EXPECT_GT(metrics.gc_pinned_bytes, 0u);
  EXPECT_EQ(metrics.gc_obsolete_bytes, metrics.gc_pinned_bytes);
  snapshot.reset();
  clock.Advance(5);
  ASSERT_TRUE(engine->CollectGarbage(false, 0).ok());
  metrics = engine->metrics();
  EXPECT_EQ(metrics.gc_pinned_bytes, 0u);
  EXPECT_EQ(metrics.gc_obsolete_bytes, 0u);
  // All but the history file between the two compactions, which no snapshot knew, waited 5 us.
  EXPECT_EQ(metrics.gc_reclaim_micros, 5 * (metrics.gc_deleted_objects - 1));
  EXPECT_GT(metrics.manifest_base_bytes, 0u);
  EXPECT_EQ(metrics.manifest_bases_written, 1u);
}

/// Keeps the events as "component/event field=value …".
class RecordingSink final : public TraceSink {
 public:
  void Event(std::string_view component, std::string_view event,
             std::span<const TraceField> fields) override {
    std::string line = std::string(component) + "/" + std::string(event);
    for (const TraceField& field : fields) line += " " + std::string(field.key);
    base::MutexLock lock(&mu_);
    lines_.push_back(std::move(line));
  }
  std::vector<std::string> lines() const {
    base::MutexLock lock(&mu_);
    return lines_;
  }
  size_t count(std::string_view prefix) const {
    const auto all = lines();
    return static_cast<size_t>(std::count_if(
        all.begin(), all.end(), [&](const std::string& line) { return line.starts_with(prefix); }));
  }

 private:
  mutable base::Mutex mu_;
  std::vector<std::string> lines_ LAMINA_GUARDED_BY(mu_);
};

TEST(EngineTest, EventsGoToTheSinkOfTheirOwnDatabaseAndNowhereElse) {
  const auto life = [](const std::shared_ptr<TraceSink>& sink, int rounds) {
    auto options = TestOptions(MakeMemoryStore());
    options.trace = sink;
    options.auto_compact = false;
    auto engine = MustOpen(options);
    for (int i = 0; i < rounds; ++i) {
      ASSERT_TRUE(Put(engine.get(), "k", "v").ok());
      ASSERT_TRUE(engine->Flush().ok());
    }
    ASSERT_TRUE(engine->Compact(kKeyValueTable).ok());
    ASSERT_TRUE(engine->Close(true).ok());
  };
  const auto one = std::make_shared<RecordingSink>();
  const auto two = std::make_shared<RecordingSink>();
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  life(one, 3);
  life(two, 1);
  life(nullptr, 2);
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(one->count("engine/opened"), 1u);
  EXPECT_EQ(one->count("engine/flush.finished commit rows bytes"), 3u);
  EXPECT_GE(one->count("engine/compaction.finished table reason rows"), 1u);
  EXPECT_GE(one->count("engine/version.published version reason"), 4u);
  EXPECT_EQ(two->count("engine/opened"), 1u);
  EXPECT_EQ(two->count("engine/flush.finished"), 1u);
}

TEST(EngineTest, OptionsOutOfRangeAreNamed) {
  auto options = TestOptions(MakeMemoryStore());
  options.max_sealed_memtables = 0;
  const Status status = Engine::Open(options).status();
  EXPECT_EQ(CodeOrOk(status), ErrorCode::kInvalidArgument);
  EXPECT_NE(status.message().find("max_sealed_memtables"), std::string::npos);
}

}  // namespace
}  // namespace lamina::engine
