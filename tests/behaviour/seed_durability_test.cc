// The five durability tests of seed 002 (tonbo 0.4.0-a1, durability_tests), under their own names
// and with their settings:
//
//   seed                                     here
//   on_disk(root), wal_dir(root/wal)         Database::Open(directory)
//   segment_max_bytes(512)                   wal_segment_bytes = 512
//   sync_policy(Disabled)                    sync = kOff
//   flush_interval(1 ms)                     sync_interval_micros = 1000 (no effect: sync is off)
//   with_minor_compaction(1, 0)              auto_flush: every sealed memtable is flushed
//   disable_minor_compaction()               auto_flush = false
//   BatchesThreshold { batches: 1 }          SetSealThresholds(batches = 1)
//   NeverSeal                                SetSealThresholds(0, 0, 0, 0)
//   state_store(Some | None)                 there is no state file to leave out: the log alone
//                                            says where it ends, in all five
//   drop(db)                                 the handle goes away without a flush
//   scan().filter(is_not_null("id"))         the same
//   disable_wal() after the restart          Close()
#include "test_database.h"

namespace lamina::behaviour {
namespace {

using Rows = std::vector<std::pair<std::string, int32_t>>;

std::shared_ptr<arrow::Schema> Schema() {
  return arrow::schema(
      {arrow::field("id", arrow::utf8(), false), arrow::field("value", arrow::int32(), false)});
}

class SeedDurabilityTest : public ::testing::Test {
 protected:
  SeedDurabilityTest() {
    options_.wal_segment_bytes = 512;
    options_.sync_interval_micros = 1000;
    options_.sync = SyncPolicy::kOff;
    options_.memtable_bytes = 0;
  }

  std::unique_ptr<Database> Open() { return Open(options_); }
  std::unique_ptr<Database> Open(const DatabaseOptions& options) {
    auto db = Must(Database::Open(root_ / "db", options));
    Must(db->EnsureTable("t", Schema(), {.names = {"id"}}));
    return db;
  }

  /// One batch, hence one commit, a row; as the seed does it. The time of the newest commit comes
  /// back.
  static CommitResult Ingest(Database& db, const Rows& rows) {
    CommitResult last;
    for (const auto& [id, value] : rows)
      last = Must(db.Put("t", Batch(Schema(), {Strings({id}), Int32s({value})})));
    return last;
  }

  static Rows RowsOf(const Database& db) {
    ScanOptions options;
    options.filter = IsNotNull("id");
    Rows rows;
    const auto reader = Must(db.Scan("t", options));
    for (;;) {
      std::shared_ptr<arrow::RecordBatch> batch;
      Must(reader->ReadNext(&batch));
      if (batch == nullptr) break;
      const auto& ids = static_cast<const arrow::StringArray&>(*batch->column(0));
      const auto& values = static_cast<const arrow::Int32Array&>(*batch->column(1));
      for (int64_t i = 0; i < batch->num_rows(); ++i)
        rows.emplace_back(ids.GetString(i), values.Value(i));
    }
    std::sort(rows.begin(), rows.end());
    return rows;
  }

  TempDirectory root_;
  DatabaseOptions options_;
};

TEST_F(SeedDurabilityTest, durability_restart_via_public_compaction_path) {
  const Rows expected = {{"alpha", 10}, {"bravo", 20}, {"charlie", 30}};
  auto db = Open();
  db->SetSealThresholds(0, 0, 0, /*batches=*/1);
  Ingest(*db, expected);
  db.reset();

  const auto recovered = Open();
  EXPECT_EQ(RowsOf(*recovered), expected);
  Must(recovered->Close());
}

TEST_F(SeedDurabilityTest, durability_restart_via_wal_only) {
  const Rows expected = {{"delta", 100}, {"echo", 200}};
  auto without_flush = options_;
  without_flush.auto_flush = false;
  auto db = Open(without_flush);
  db->SetSealThresholds(0, 0, 0, /*batches=*/1);
  Ingest(*db, expected);
  EXPECT_EQ(db->metrics().flush.flushes, 0u);
  db.reset();

  const auto recovered = Open();
  EXPECT_EQ(recovered->recovery().replayed_commits, 2u);
  EXPECT_EQ(RowsOf(*recovered), expected);
  Must(recovered->Close());
}

TEST_F(SeedDurabilityTest, durability_restart_mixed_sst_and_wal) {
  const Rows flushed = {{"f1", 1}, {"f2", 2}};
  const Rows wal_only = {{"w1", 100}, {"w2", 200}};
  auto db = Open();
  db->SetSealThresholds(0, 0, 0, /*batches=*/1);
  Ingest(*db, flushed);
  // The seed's minor compaction runs inside ingest; ours runs beside it.
  Must(db->WaitForBackground());
  db->SetSealThresholds(0, 0, 0, 0);
  Ingest(*db, wal_only);
  EXPECT_EQ(Must(db->GetTable("t")).rows_at_rest, 2u);
  db.reset();

  const auto recovered = Open();
  EXPECT_EQ(recovered->recovery().replayed_commits, 2u);
  Rows expected = flushed;
  expected.insert(expected.end(), wal_only.begin(), wal_only.end());
  EXPECT_EQ(RowsOf(*recovered), expected);
}

TEST_F(SeedDurabilityTest, durability_multi_restart_idempotent) {
  const auto reopen_once = [&](const Rows& rows, CommitResult* last) {
    auto db = Open();
    db->SetSealThresholds(0, 0, 0, 0);
    *last = Ingest(*db, rows);
    return db;
  };
  CommitResult first, second, third;
  reopen_once({{"a", 1}, {"b", 2}}, &first);
  reopen_once({{"c", 3}}, &second);
  const auto db = reopen_once({{"d", 4}}, &third);
  EXPECT_EQ(RowsOf(*db), (Rows{{"a", 1}, {"b", 2}, {"c", 3}, {"d", 4}}));
  // The commit clock is monotonic over the restarts, and neither loses nor repeats a number.
  EXPECT_EQ(first.commit.value, 2u);
  EXPECT_EQ(second.commit.value, 3u);
  EXPECT_EQ(third.commit.value, 4u);
  EXPECT_LT(first.system_time, second.system_time);
  EXPECT_LT(second.system_time, third.system_time);
  EXPECT_EQ(Must(db->TimeOf(first.commit)), first.system_time);
  EXPECT_EQ(Must(db->TimeOf(second.commit)), second.system_time);
}

TEST_F(SeedDurabilityTest, durability_wal_only_no_state_store) {
  const Rows expected = {{"ns1", 7}, {"ns2", 8}};
  auto db = Open();
  db->SetSealThresholds(0, 0, 0, 0);
  const CommitResult last = Ingest(*db, expected);
  db.reset();

  const auto recovered = Open();
  EXPECT_EQ(RowsOf(*recovered), expected);
  // Replay alone brought the clock to where it was.
  EXPECT_EQ(recovered->newest_commit(), last.commit);
  EXPECT_EQ(Must(recovered->TimeOf(last.commit)), last.system_time);
  EXPECT_GT(Ingest(*recovered, {{"ns3", 9}}).system_time, last.system_time);
}

// ---- What the seed implies beside its five tests ----

TEST_F(SeedDurabilityTest, ManyRestartsOverManySegmentsKeepEveryRow) {
  Rows expected;
  for (int32_t round = 0; round < 6; ++round) {
    const auto db = Open();
    if (round % 2 == 0) db->SetSealThresholds(0, 0, 0, 0);
    for (int32_t i = 0; i < 12; ++i) {
      const Rows row = {{"key" + std::to_string(round * 100 + i), i}};
      Ingest(*db, row);
      expected.push_back(row[0]);
    }
    std::sort(expected.begin(), expected.end());
    if (round % 3 == 2) Must(db->Flush());
    ASSERT_EQ(RowsOf(*db), expected) << "round " << round;
  }
  const auto db = Open();
  EXPECT_EQ(RowsOf(*db), expected);
  EXPECT_EQ(db->newest_commit().value, expected.size());
  EXPECT_EQ(Must(db->Check()), std::vector<std::string>());
}

TEST_F(SeedDurabilityTest, SmallSegmentsRotate) {
  auto options = options_;
  options.auto_flush = false;
  auto db = Open(options);
  for (int32_t i = 0; i < 20; ++i) Ingest(*db, {{"k" + std::to_string(i), i}});
  EXPECT_GT(db->metrics().wal.segments, 3u);
  db.reset();
  const auto recovered = Open();
  EXPECT_GT(recovered->recovery().wal_segments, 3u);
  EXPECT_EQ(RowsOf(*recovered).size(), 20u);
}

TEST_F(SeedDurabilityTest, ADeleteSurvivesARestart) {
  const auto without = [](std::vector<std::string> ids) {
    return Batch(arrow::schema({arrow::field("id", arrow::utf8(), false)}), {Strings(ids)});
  };
  auto db = Open();
  db->SetSealThresholds(0, 0, 0, 0);
  Ingest(*db, {{"a", 1}, {"b", 2}, {"c", 3}});
  Must(db->Flush());
  Must(db->Delete("t", without({"a"})));
  Ingest(*db, {{"d", 4}});
  Must(db->Delete("t", without({"d"})));
  db.reset();
  auto recovered = Open();
  EXPECT_EQ(RowsOf(*recovered), (Rows{{"b", 2}, {"c", 3}}));
  Must(recovered->Flush());
  recovered.reset();
  EXPECT_EQ(RowsOf(*Open()), (Rows{{"b", 2}, {"c", 3}}));
}

TEST_F(SeedDurabilityTest, TheLogOfFlushedCommitsIsNotReplayedAndItsSegmentsGo) {
  auto db = Open();
  db->SetSealThresholds(0, 0, 0, 0);
  for (int32_t i = 0; i < 20; ++i) Ingest(*db, {{"k" + std::to_string(i), i}});
  Must(db->Flush());
  Ingest(*db, {{"z", 1}});
  db.reset();
  auto recovered = Open();
  EXPECT_EQ(recovered->recovery().replayed_commits, 1u);
  EXPECT_LE(recovered->recovery().wal_frames, 2u);
  EXPECT_EQ(RowsOf(*recovered).size(), 21u);
}

}  // namespace
}  // namespace lamina::behaviour
