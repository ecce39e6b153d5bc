// What happens behind the caller's back: sealing, flush, compaction, backpressure. It never changes
// an answer.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "base/random.h"
#include "base/scope_guard.h"
#include "storage/manifest/manifest_store.h"
#include "storage/object_store/memory_store.h"
#include "test_database.h"
#include "testing/faulty_store.h"

namespace lamina::behaviour {
namespace {

using storage::DataFilePtr;
using storage::FileKind;
using storage::RequestKind;
using testing::FaultyStore;
using testing::StoreFault;

template <typename Condition>
bool WaitUntil(Condition condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

class MaintenanceTest : public StoreTest {
 protected:
  void SetUp() override { OpenNew(); }
  void OpenNew() {
    db_.reset();
    store_ = MakeMemoryStore();
    Open();
    CreateNumbers();
  }
  void Fill(int64_t from, int64_t to, int64_t factor = 1) {
    std::vector<Number> rows;
    for (int64_t i = from; i < to; ++i) rows.emplace_back(i, i * factor);
    Put(rows);
  }
  /// The files of table t as the manifest at rest names them; the public interface gives only their
  /// number.
  std::vector<DataFilePtr> FilesOf(const std::string& table = "t") {
    const auto version = Must(storage::manifest::ManifestStore::Inspect(store_, "main")).version;
    return version->FilesOf(version->catalog.Find(table)->id);
  }
  std::vector<std::string> DataObjects() {
    std::vector<std::string> paths;
    for (const auto& object : Must(store_->List("data/"))) paths.push_back(object.path);
    return paths;
  }
};

// ---- Sealing ----

TEST_F(MaintenanceTest, EachThresholdAloneSealsAndTheFlushFollows) {
  struct Case {
    const char* name;
    int64_t bytes, rows, age_micros, batches;
  };
  for (const Case& c : {Case{"bytes", 200'000, 0, 0, 0}, Case{"rows", 0, 30, 0, 0},
                        Case{"age", 0, 0, 1000, 0}, Case{"batches", 0, 0, 0, 5}}) {
    SCOPED_TRACE(c.name);
    options_.auto_flush = true;
    options_.memtable_bytes = c.bytes;
    options_.memtable_rows = c.rows;
    options_.memtable_age_micros = c.age_micros;
    options_.memtable_batches = c.batches;
    OpenNew();
    for (int64_t i = 0; i < 5; ++i)
      Must(db_->PutDocument(fmt::format("d{}", i), std::string(100'000, 'x')));
    for (int64_t i = 0; i < 8; ++i) Fill(i * 5, i * 5 + 5);
    EXPECT_TRUE(WaitUntil([&] { return db_->metrics().flush.flushes > 0; }));
    Must(db_->WaitForBackground());
    EXPECT_EQ(db_->metrics().memtable.sealed, 0u);
    EXPECT_EQ(ScanText(*db_, "t").size(), 40u);
    EXPECT_EQ(CountRows(*Must(db_->ScanPrefix("d"))), 5);
  }
}

TEST_F(MaintenanceTest, BelowEveryThresholdNothingIsSealed) {
  options_.auto_flush = true;
  options_.memtable_bytes = 64 << 20;
  options_.memtable_rows = 1000;
  options_.memtable_batches = 1000;
  OpenNew();
  Fill(0, 100);
  Must(db_->WaitForBackground());
  EXPECT_EQ(db_->metrics().flush.flushes, 0u);
  EXPECT_EQ(db_->metrics().memtable.facts, 100u);
}

TEST_F(MaintenanceTest, SealThresholdsMayBeChangedWhileOpen) {
  Fill(0, 10);
  EXPECT_EQ(db_->metrics().memtable.sealed, 0u);
  db_->SetSealThresholds(0, 0, 0, 1);
  Fill(10, 20);
  Fill(20, 30);
  EXPECT_EQ(db_->metrics().memtable.sealed, 2u);
  db_->SetSealThresholds(0, 0, 0, 0);
  Fill(30, 40);
  EXPECT_EQ(db_->metrics().memtable.sealed, 2u);
  EXPECT_EQ(ScanText(*db_, "t").size(), 40u);
  Must(db_->Flush());
  EXPECT_EQ(db_->metrics().memtable.sealed, 0u);
  EXPECT_EQ(ScanText(*db_, "t").size(), 40u);
}

TEST_F(MaintenanceTest, WithoutAutoFlushSealedMemtablesStayAndAreRead) {
  db_->SetSealThresholds(0, 0, 0, 1);
  for (int64_t i = 0; i < 20; ++i) Put({{i % 5, i}});
  EXPECT_EQ(db_->metrics().memtable.sealed, 20u);
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"0|15", "1|16", "2|17", "3|18", "4|19"}));
  Reopen();
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"0|15", "1|16", "2|17", "3|18", "4|19"}));
}

TEST_F(MaintenanceTest, SealedMemtablesBeyondTheLimitHoldCommitsBackUntilFlushed) {
  options_.auto_flush = true;
  options_.max_sealed_memtables = 2;
  options_.memtable_batches = 1;
  OpenNew();
  for (int64_t i = 0; i < 60; ++i) Put({{i, i}});
  EXPECT_LE(db_->metrics().memtable.sealed, 3u);
  EXPECT_EQ(ScanText(*db_, "t").size(), 60u);
  Must(db_->WaitForBackground());
  EXPECT_EQ(db_->metrics().memtable.sealed, 0u);
}

// ---- Flush ----

class FaultyMaintenanceTest : public MaintenanceTest {
 protected:
  void SetUp() override {
    faulty_ = std::make_shared<FaultyStore>(MakeMemoryStore());
    store_ = faulty_;
    Open();
    CreateNumbers();
  }
  void FailAll(RequestKind kind, const std::string& prefix,
               ErrorCode code = ErrorCode::kPermissionDenied) {
    StoreFault fault;
    fault.kind = kind;
    fault.path_prefix = prefix;
    fault.times = ~uint64_t{0};
    fault.status = MakeError(code, "injected fault");
    faulty_->Add(fault);
  }
  void LoseTheAnswerOfAPublish() {
    StoreFault lost;
    lost.kind = RequestKind::kPut;
    lost.path_prefix = "refs/";
    lost.after_effect = true;
    faulty_->Add(lost);
  }

  std::shared_ptr<FaultyStore> faulty_;
};

TEST_F(FaultyMaintenanceTest, AFailedFlushLeavesTheDataInMemoryAndReadable) {
  Fill(0, 10);
  Must(db_->Flush());
  Fill(5, 15, 7);
  Delete({0});
  const auto objects = DataObjects();
  for (const RequestKind kind : {RequestKind::kCreate, RequestKind::kWrite, RequestKind::kFinish}) {
    const Contents before = ContentsOf(*db_);
    FailAll(kind, "data/");
    ExpectError(db_->Flush(), ErrorCode::kPermissionDenied, {"injected fault"});
    EXPECT_EQ(ContentsOf(*db_), before);
    Put({{100, 1}});  // writing goes on
    Delete({100});
    faulty_->Clear();
    EXPECT_EQ(DataObjects(), objects);
  }
  EXPECT_EQ(db_->metrics().flush.failures, 3u);
  const Lines rows = ScanText(*db_, "t");
  Must(db_->Flush());
  EXPECT_EQ(ScanText(*db_, "t"), rows);
  Reopen();
  EXPECT_EQ(ScanText(*db_, "t"), rows);
  ExpectSound();
}

TEST_F(FaultyMaintenanceTest, AFlushThatCannotBePublishedCleansUpItsFiles) {
  Fill(0, 10);
  const auto objects = DataObjects();
  FailAll(RequestKind::kPut, "refs/");
  ExpectError(db_->Flush(), ErrorCode::kPermissionDenied, {"injected fault"});
  EXPECT_EQ(DataObjects(), objects) << "no file without a version that names it";
  EXPECT_EQ(ScanText(*db_, "t").size(), 10u);
  faulty_->Clear();
  Must(db_->Flush());
  EXPECT_EQ(ScanText(*db_, "t").size(), 10u);
  EXPECT_GT(DataObjects().size(), objects.size());
  ExpectSound();
}

TEST_F(FaultyMaintenanceTest, ACompactionThatCannotBePublishedCleansUpItsFiles) {
  for (int64_t i = 0; i < 3; ++i) {
    Fill(i * 5, i * 5 + 10, i + 1);
    Must(db_->Flush());
  }
  const Contents before = ContentsOf(*db_);
  const auto objects = DataObjects();
  FailAll(RequestKind::kPut, "refs/");
  ExpectError(db_->Compact("t"), ErrorCode::kPermissionDenied, {"injected fault"});
  EXPECT_EQ(DataObjects(), objects);
  EXPECT_EQ(ContentsOf(*db_), before);
  EXPECT_EQ(db_->metrics().compaction.failures, 1u);
  faulty_->Clear();
  Must(db_->Compact("t"));
  EXPECT_EQ(ContentsOf(*db_), before);
  ExpectSound();
}

TEST_F(FaultyMaintenanceTest, APublishWhoseAnswerIsLostIsSettledByReadingTheRef) {
  Fill(0, 10);
  LoseTheAnswerOfAPublish();
  Must(db_->Flush());
  EXPECT_EQ(faulty_->faults_hit(), 1u);
  EXPECT_EQ(Must(db_->GetTable("t")).rows_at_rest, 10u);
  EXPECT_EQ(ScanText(*db_, "t").size(), 10u);
  Reopen();
  EXPECT_EQ(ScanText(*db_, "t").size(), 10u);
  ExpectSound();
}

// The answer is lost and the ref cannot be read: whether it names the new files is not known.
TEST_F(FaultyMaintenanceTest, AFlushWhosePublishIsUnclearLeavesItsFiles) {
  Fill(0, 10);
  LoseTheAnswerOfAPublish();
  for (const RequestKind kind : {RequestKind::kGet, RequestKind::kHead, RequestKind::kRange})
    FailAll(kind, "refs/", ErrorCode::kUnavailable);
  ExpectError(db_->Flush(), ErrorCode::kCommitUnknown, {});
  ExpectError(db_->PutDocument("k", "v"), ErrorCode::kStopped, {});
  EXPECT_EQ(ScanText(*db_, "t").size(), 10u);
  faulty_->Clear();
  Reopen();
  EXPECT_EQ(Must(db_->GetTable("t")).rows_at_rest, 10u) << "it had been published";
  EXPECT_EQ(ScanText(*db_, "t").size(), 10u);
  ExpectSound();
}

// It passes its first check while the flush is fine, and gets the lock when the ref names files of
// which the engine's own version knows nothing.
TEST_F(FaultyMaintenanceTest, ACollectionThatWaitedForAnUnclearPublishDeletesNothing) {
  Fill(0, 10);
  std::future<Status> collection;
  StoreFault fault;
  fault.kind = RequestKind::kPut;
  fault.path_prefix = "refs/";
  fault.after_effect = true;
  fault.status = MakeError(ErrorCode::kStopped, "sync failed");
  fault.meanwhile = [&] {
    collection = std::async(std::launch::async,
                            [&] { return db_->CollectGarbage(/*dry_run=*/false, 0).status(); });
    EXPECT_EQ(collection.wait_for(std::chrono::milliseconds(200)), std::future_status::timeout)
        << "it did not wait for the flush";
  };
  faulty_->Add(fault);
  ExpectError(db_->Flush(), ErrorCode::kCommitUnknown, {});
  ASSERT_TRUE(collection.valid());
  ExpectError(collection.get(), ErrorCode::kStopped, {});
  faulty_->Clear();
  Reopen();
  EXPECT_EQ(ScanText(*db_, "t").size(), 10u);
  ExpectSound();
}

// What is appended while a sync is under way comes too late for it.
TEST_F(FaultyMaintenanceTest, ACommitThatComesDuringASyncIsNotTakenForSynced) {
  const auto memory = std::make_shared<storage::MemoryStore>();
  faulty_ = std::make_shared<FaultyStore>(memory);
  store_ = faulty_;
  options_.sync = SyncPolicy::kOff;
  db_.reset();
  Open();
  CreateNumbers();
  Put({{1, 1}});
  StoreFault sync;
  sync.kind = RequestKind::kSync;
  sync.path_prefix = "wal/";
  sync.status = Status::OK();
  sync.after_effect = true;
  sync.meanwhile = [&] { std::thread([&] { Put({{2, 2}}); }).join(); };
  faulty_->Add(sync);
  Must(db_->Sync());
  ASSERT_EQ(faulty_->faults_hit(), 1u);
  const auto survives = [&] {
    const auto recovered = Must(Database::Open(memory->CrashClone(), DatabaseOptions{}));
    return ScanText(*recovered, "t").size();
  };
  EXPECT_EQ(survives(), 1u);
  Must(db_->Sync());
  EXPECT_EQ(survives(), 2u) << "the second Sync trusted the first";
}

TEST_F(FaultyMaintenanceTest, TheBackgroundFlushTriesAgainByItself) {
  options_.auto_flush = true;
  options_.memtable_batches = 1;
  Reopen();
  FailAll(RequestKind::kCreate, "data/", ErrorCode::kUnavailable);
  Fill(0, 10);
  EXPECT_TRUE(WaitUntil([&] { return db_->metrics().flush.failures > 0; }));
  EXPECT_EQ(ScanText(*db_, "t").size(), 10u);
  faulty_->Clear();
  EXPECT_TRUE(WaitUntil([&] { return db_->metrics().flush.flushes > 0; }));
  EXPECT_EQ(Must(db_->GetTable("t")).rows_at_rest, 10u);
}

// ---- Compaction ----

TEST_F(MaintenanceTest, TheMultisetOfRowVersionsInEqualsThatOut) {
  base::Random random(21);
  for (int round = 0; round < 12; ++round) {
    std::vector<Number> rows;
    for (int i = 0; i < 6; ++i)
      rows.emplace_back(static_cast<int64_t>(random.Uniform(15)), round * 10 + i);
    const auto from = static_cast<int64_t>(random.Uniform(8));
    Put(rows, random.OneIn(2) ? ValidInterval{} : ValidInterval{{from}, {from + 3}});
    if (random.OneIn(3)) Delete({static_cast<int64_t>(random.Uniform(15))}, {{from}, {from + 2}});
    Must(db_->Flush());
  }
  const auto sorted = [&] {
    Lines rows = AllVersions(*db_, "t", {"id", "value", "_commit"});
    std::sort(rows.begin(), rows.end());
    return rows;
  };
  const Lines before = sorted();
  const uint64_t level0_before = Must(db_->GetTable("t")).files;
  Must(db_->Compact());
  EXPECT_EQ(sorted(), before);
  EXPECT_LT(Must(db_->GetTable("t")).files, level0_before);
  const CompactionMetrics metrics = db_->metrics().compaction;
  EXPECT_GT(metrics.compactions, 0u);
  EXPECT_LT(metrics.rows_out, metrics.rows_in)
      << "rows that were cut into pieces go, the pieces stay";
  Must(db_->Compact());
  EXPECT_EQ(sorted(), before);
  Reopen();
  EXPECT_EQ(sorted(), before);
  ExpectSound();
}

TEST_F(MaintenanceTest, FilesOfOneLevelHaveNoKeyInCommonAndAreCutBySize) {
  options_.file_bytes_target = 4 << 10;
  OpenNew();
  for (int64_t i = 0; i < 5; ++i) {
    std::vector<Number> rows;
    for (int64_t k = 0; k < 400; ++k) rows.emplace_back((k * 7 + i * 13) % 2000, k * i);
    Put(rows);
    Must(db_->Flush());
  }
  const Lines before = ScanText(*db_, "t");
  Must(db_->Compact());
  EXPECT_EQ(ScanText(*db_, "t"), before);
  std::map<int, std::vector<DataFilePtr>> levels;
  for (const auto& file : FilesOf()) {
    if (file->kind == FileKind::kCurrent) levels[file->level].push_back(file);
  }
  EXPECT_EQ(levels.count(0), 0u) << "level 0 was emptied";
  size_t most = 0;
  for (auto& [level, files] : levels) {
    std::sort(files.begin(), files.end(),
              [](const auto& a, const auto& b) { return a->min_key < b->min_key; });
    for (size_t i = 0; i + 1 < files.size(); ++i)
      EXPECT_LT(files[i]->max_key, files[i + 1]->min_key) << "level " << level;
    most = std::max(most, files.size());
  }
  EXPECT_GT(most, 1u) << "the target cuts outputs";
}

TEST_F(MaintenanceTest, EndedRowsMoveToHistoryFiles) {
  Fill(0, 20);
  Must(db_->Flush());
  const CommitId then = db_->newest_commit();
  Fill(0, 20, 3);
  Must(db_->Flush());
  Must(db_->Compact());
  const TableInfo info = Must(db_->GetTable("t"));
  EXPECT_GE(info.history_files, 1u);
  EXPECT_EQ(info.history_rows, 20u);
  EXPECT_EQ(info.rows_at_rest, 20u);
  for (const auto& file : FilesOf())
    EXPECT_FALSE(file->deletions.has_value()) << "folded into the rows";
  // A scan of now does not open history.
  Reopen();
  const auto now = Must(db_->Scan("t"));
  EXPECT_EQ(CountRows(*now), 20);
  EXPECT_GE(now->profile().files_pruned, info.history_files);
  ScanOptions past;
  past.system = SystemPeriod::AsOf(then);
  Lines expected;
  for (int64_t i = 0; i < 20; ++i) expected.push_back(fmt::format("{}|{}", i, i));
  EXPECT_EQ(ScanText(*db_, "t", past), expected);
  ExpectSound();
}

TEST_F(MaintenanceTest, ADeletionVectorIsWrittenOnlyWhenARowAtRestEnded) {
  const auto vectors = [&] {
    const auto objects = DataObjects();
    return std::count_if(objects.begin(), objects.end(),
                         [](const std::string& path) { return path.ends_with(".dv"); });
  };
  Fill(0, 10);
  Put({{3, 7}});  // ends a row of the same memtable only
  Must(db_->Flush());
  EXPECT_EQ(vectors(), 0);
  Fill(10, 20);
  Must(db_->Flush());
  EXPECT_EQ(vectors(), 0) << "new keys end nothing";
  Delete({4});
  Put({{15, 1}});
  Must(db_->Flush());
  EXPECT_EQ(vectors(), 1) << "one for all files of a flush";
  const Lines before = ScanText(*db_, "t");
  Must(db_->Compact());
  Must(db_->CollectGarbage(false, 0));
  EXPECT_EQ(vectors(), 0) << "folded into the rows, and collected with its files";
  EXPECT_EQ(ScanText(*db_, "t"), before);
  ExpectSound();
}

TEST_F(MaintenanceTest, EveryCodecIsReadAndTheSizesDiffer) {
  std::map<Codec, uint64_t> bytes;
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    options_.upper_codec = options_.last_codec = codec;
    options_.rows_per_page = 1024;
    options_.rows_per_row_group = 8192;
    OpenNew();
    Must(db_->CreateTable("text",
                          arrow::schema({arrow::field("id", arrow::int64(), false),
                                         arrow::field("text", arrow::utf8())}),
                          {.names = {"id"}}));
    std::vector<int64_t> ids;
    std::vector<std::string> texts;
    for (int64_t i = 0; i < 4000; ++i) {
      ids.push_back(i);
      // Too many different ones for a dictionary.
      texts.push_back(fmt::format("a sentence that is much like number {}", i));
    }
    Must(db_->Put("text", Batch(arrow::schema({arrow::field("id", arrow::int64(), false),
                                               arrow::field("text", arrow::utf8())}),
                                {Int64s(ids), Strings(texts)})));
    Must(db_->Flush());
    Must(db_->Compact());
    bytes[codec] = Must(db_->GetTable("text")).bytes_at_rest;
    Reopen();
    const Lines rows = ScanText(*db_, "text");
    ASSERT_EQ(rows.size(), 4000u);
    EXPECT_EQ(rows[123], "123|a sentence that is much like number 123");
    ExpectSound();
    // Files of the codecs before are read by a database that writes another one.
    options_.upper_codec = options_.last_codec = Codec::kNone;
    Reopen();
    EXPECT_EQ(ScanText(*db_, "text"), rows);
  }
  EXPECT_LT(bytes[Codec::kLz4] * 2, bytes[Codec::kNone]);
  EXPECT_LT(bytes[Codec::kZstd], bytes[Codec::kLz4]);
}

TEST_F(MaintenanceTest, ManySmallFilesBecomeFew) {
  for (int64_t i = 0; i < 12; ++i) {
    Fill(i * 4, i * 4 + 4);
    Must(db_->Flush());
  }
  EXPECT_EQ(Must(db_->GetTable("t")).files, 12u);
  Must(db_->Compact("t"));
  EXPECT_EQ(Must(db_->GetTable("t")).files, 1u);
  EXPECT_EQ(ScanText(*db_, "t").size(), 48u);
  ExpectSound();
}

TEST_F(MaintenanceTest, TheBackgroundWorkerKeepsLevel0Small) {
  options_.auto_compact = true;
  options_.level0_files = 3;
  OpenNew();
  for (int64_t i = 0; i < 20; ++i) {
    Fill(i, i + 5, i + 1);
    Must(db_->Flush());
  }
  Must(db_->WaitForBackground());
  const DatabaseMetrics metrics = db_->metrics();
  EXPECT_EQ(metrics.flush.flushes, 20u);
  EXPECT_GE(metrics.flush.facts_in, 100u);
  EXPECT_GT(metrics.flush.rows_out, 0u);
  EXPECT_GT(metrics.flush.bytes_out, 0u);
  EXPECT_GT(metrics.compaction.compactions, 0u);
  EXPECT_EQ(metrics.compaction.rows_in, metrics.compaction.rows_out);
  EXPECT_GT(metrics.compaction.bytes_in, 0u);
  size_t level0 = 0;
  for (const auto& file : FilesOf())
    level0 += file->kind == FileKind::kCurrent && file->level == 0 ? 1 : 0;
  EXPECT_LT(level0, 3u);
  EXPECT_EQ(ScanText(*db_, "t").size(), 24u);
  ExpectSound();
}

TEST_F(MaintenanceTest, TooManyLevel0FilesSlowCommitsAndThenHoldThemBack) {
  options_.level0_files = 2;
  options_.level0_slowdown_files = 3;
  options_.level0_stop_files = 5;
  options_.slowdown_micros = 100;
  OpenNew();
  for (int64_t i = 0; i < 8; ++i) {
    Fill(i, i + 4, i);
    Must(db_->Flush());
  }
  EXPECT_EQ(db_->metrics().commit.backpressure_waits, 0u)
      << "without auto_compact nobody is slowed";
  options_.auto_compact = true;
  // The waiting commit does the work itself where nobody else does.
  Reopen();
  Put({{1000, 1}});
  Must(db_->WaitForBackground());
  EXPECT_EQ(ScanText(*db_, "t").size(), 12u);
  for (int64_t i = 0; i < 30; ++i) {
    Fill(i, i + 4, i);
    Must(db_->Flush());
    size_t level0 = 0;
    for (const auto& file : FilesOf())
      level0 += file->kind == FileKind::kCurrent && file->level == 0 ? 1 : 0;
    EXPECT_LE(level0, 6u);
  }
  EXPECT_GT(db_->metrics().commit.backpressure_waits + db_->metrics().compaction.compactions, 0u);
  ExpectSound();
}

TEST_F(FaultyMaintenanceTest, LevelZeroFirstSlowsThenStopsCommitsAndTellsWhy) {
  options_.auto_compact = true;
  options_.level0_files = 1;
  options_.level0_slowdown_files = 2;
  options_.level0_stop_files = 4;
  options_.slowdown_micros = 200;
  Reopen();
  // Compaction reads its inputs; a flush of keys above all others reads nothing.
  FailAll(RequestKind::kOpenReader, "data/");
  FailAll(RequestKind::kRange, "data/");
  const auto waits = [&] {
    const CommitMetrics commit = db_->metrics().commit;
    EXPECT_EQ(commit.waits_slowdown + commit.waits_level0 + commit.waits_sealed,
              commit.backpressure_waits);
    return std::pair(commit.waits_slowdown, commit.waits_level0);
  };
  using Waits = std::pair<uint64_t, uint64_t>;
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(waits(), Waits(i < 2 ? 0 : i - 2, 0)) << i;
    Must(db_->PutDocument(fmt::format("d{}", i), "x"));
    EXPECT_EQ(waits(), Waits(i < 2 ? 0 : i - 1, 0)) << i << " files slow a commit from two on";
    Must(db_->Flush());
  }
  EXPECT_EQ(db_->metrics().compaction.level0_files, 4u);
  const auto newest = db_->newest_commit();
  ExpectError(db_->PutDocument("d9", "x"), ErrorCode::kPermissionDenied,
              {"level 0 is full", "injected fault", "tried again by itself"});
  EXPECT_EQ(waits().second, 1u);
  EXPECT_EQ(db_->newest_commit(), newest) << "a refused commit changes nothing";
  EXPECT_EQ(db_->metrics().commit.queue_depth, 0u);
  faulty_->Clear();
  EXPECT_TRUE(WaitUntil([&] { return db_->PutDocument("d9", "after").ok(); }));
  Must(db_->WaitForBackground());
  EXPECT_LT(db_->metrics().compaction.level0_files, 2u);
  EXPECT_GT(db_->metrics().compaction.wait_nanos, 0u);
  EXPECT_EQ(Must(db_->GetDocument("d9")), "after");
  EXPECT_EQ(CountRows(*Must(db_->ScanPrefix("d"))), 5);
  ExpectSound();
}

TEST_F(MaintenanceTest, CompactionBesideConcurrentUpdatesEqualsAModel) {
  options_.auto_flush = true;
  options_.auto_compact = true;
  options_.auto_gc = true;
  options_.level0_files = 2;
  options_.memtable_rows = 16;
  options_.background_threads = 2;
  OpenNew();
  constexpr int64_t kKeys = 24;
  constexpr int kWriters = 2, kWrites = 150;
  // Each writer has keys of its own, so that its own order is the order of its keys.
  std::vector<std::map<int64_t, int64_t>> models(kWriters);
  std::atomic<int> running{kWriters};
  Threads threads;
  for (int w = 0; w < kWriters; ++w) {
    threads.Start([&, w] {
      const base::ScopeGuard finally([&] { --running; });
      base::Random random(static_cast<uint64_t>(100 + w));
      auto& model = models[static_cast<size_t>(w)];
      for (int i = 0; i < kWrites; ++i) {
        const int64_t key = static_cast<int64_t>(random.Uniform(kKeys)) * kWriters + w;
        if (random.OneIn(5)) {
          Must(db_->Delete("t", Ids({key})));
          model.erase(key);
        } else {
          Must(db_->Put("t", Numbers({{key, i}})));
          model[key] = i;
        }
      }
    });
  }
  threads.Start([&] {
    while (running > 0) Must(db_->Compact());
  });
  // A reader meanwhile: what a snapshot shows never changes.
  while (running > 0) {
    const SnapshotPtr snapshot = db_->GetSnapshot();
    const Lines once = ScanText(*db_, snapshot, "t");
    ASSERT_EQ(ScanText(*db_, snapshot, "t"), once);
  }
  threads.Join();
  std::map<int64_t, int64_t> all;
  for (const auto& model : models) all.insert(model.begin(), model.end());
  Lines expected;
  for (const auto& [key, value] : all) expected.push_back(fmt::format("{}|{}", key, value));
  EXPECT_EQ(ScanText(*db_, "t"), expected);
  Must(db_->WaitForBackground());
  EXPECT_EQ(ScanText(*db_, "t"), expected);
  for (const auto& [key, value] : all) EXPECT_EQ(ValueOf(*db_, "t", key), std::to_string(value));
  const uint64_t newest = db_->newest_commit().value;
  EXPECT_EQ(newest, static_cast<uint64_t>(kWriters * kWrites));
  Reopen();
  EXPECT_EQ(ScanText(*db_, "t"), expected);
  ExpectSound();
}

TEST_F(MaintenanceTest, EveryOldMomentAnswersTheSameAfterEveryKindOfMaintenance) {
  base::Random random(77);
  std::vector<std::pair<CommitId, Lines>> moments;
  for (int i = 0; i < 30; ++i) {
    const auto key = static_cast<int64_t>(random.Uniform(8));
    const CommitResult result = random.OneIn(4) ? Delete({key}) : Put({{key, i}});
    moments.emplace_back(result.commit, ScanText(*db_, "t"));
    if (random.OneIn(4)) Must(db_->Flush());
    if (random.OneIn(10)) Must(db_->Compact());
    if (random.OneIn(10)) Must(db_->CollectGarbage(false, 0));
  }
  const auto check = [&](const char* when) {
    for (const auto& [commit, rows] : moments) {
      ScanOptions options;
      options.system = SystemPeriod::AsOf(commit);
      ASSERT_EQ(ScanText(*db_, "t", options), rows) << when << " commit " << commit.value;
    }
  };
  check("at once");
  Must(db_->Flush());
  Must(db_->Compact());
  check("compacted");
  Must(db_->CollectGarbage(false, 0));
  Reopen();
  check("reopened");
  ExpectSound();
}

TEST_F(MaintenanceTest, MetricsNameEveryFigure) {
  Fill(0, 10);
  Must(db_->Flush());
  const auto figures = db_->metrics().Flatten();
  std::set<std::string> names;
  for (const auto& [name, value] : figures) {
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_GE(value, 0) << name;
  }
  // What a benchmark of the engine asks of each module.
  for (const char* name : {"wal.frames",
                           "wal.bytes",
                           "wal.appends",
                           "wal.syncs",
                           "wal.sync_nanos",
                           "wal.segments",
                           "wal.floor_epoch",
                           "wal.floor_segment",
                           "commit.commits",
                           "commit.groups",
                           "commit.queue_depth",
                           "commit.check_nanos",
                           "commit.wait_nanos",
                           "commit.wal_nanos",
                           "commit.memtable_nanos",
                           "commit.sync_nanos",
                           "commit.conflicts",
                           "commit.backpressure_waits",
                           "commit.backpressure_nanos",
                           "commit.waits_sealed",
                           "commit.waits_level0",
                           "commit.waits_slowdown",
                           "commit.durable_lag_commits",
                           "commit.latency.p50",
                           "commit.latency.p95",
                           "commit.latency.p99",
                           "commit.latency.p999",
                           "commit.enqueue_to_durable.p99",
                           "memtable.bytes",
                           "memtable.facts",
                           "memtable.sealed",
                           "flush.seals_bytes",
                           "flush.seals_rows",
                           "flush.seals_batches",
                           "flush.seals_age",
                           "flush.seals_asked",
                           "flush.seal_to_flush_nanos",
                           "flush.nanos",
                           "flush.files_out",
                           "flush.bytes_out",
                           "flush.facts_in",
                           "flush.rows_out",
                           "flush.rows_ended",
                           "flush.rows_rewritten",
                           "flush.failures",
                           "compaction.wait_nanos",
                           "compaction.nanos",
                           "compaction.bytes_in",
                           "compaction.bytes_out",
                           "compaction.rows_in",
                           "compaction.rows_out",
                           "compaction.files_in",
                           "compaction.files_out",
                           "compaction.conflicts",
                           "compaction.failures",
                           "compaction.level0_files",
                           "compaction.pending_erases",
                           "gc.runs",
                           "gc.nanos",
                           "gc.obsolete_bytes",
                           "gc.retired_objects",
                           "gc.time_to_reclaim_micros",
                           "gc.deleted_objects",
                           "gc.deleted_bytes",
                           "gc.pinned_bytes",
                           "manifest.head_nanos",
                           "manifest.decode_nanos",
                           "manifest.cas_nanos",
                           "manifest.cas_retries",
                           "manifest.commit_nanos",
                           "manifest.ref_bytes",
                           "manifest.base_bytes",
                           "manifest.version",
                           "read.gets",
                           "read.scans",
                           "read.rows_returned",
                           "read.requests",
                           "read.bytes_read",
                           "read.pages_read",
                           "cache.page_hits",
                           "cache.footer_hits",
                           "snapshots.live"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

// The figures of a module move when it works and only then.
TEST_F(MaintenanceTest, FiguresMoveWithTheirModule) {
  const auto figures = [&] {
    std::map<std::string, double> out;
    for (const auto& [name, value] : db_->metrics().Flatten()) out.emplace(name, value);
    return out;
  };
  std::map<std::string, double> before;
  const auto moved = [&](const std::string& name) { return figures()[name] > before[name]; };
  before = figures();
  Fill(0, 10);
  for (const char* name :
       {"wal.frames", "wal.bytes", "wal.appends", "commit.commits", "commit.groups",
        "commit.check_nanos", "commit.wal_nanos", "commit.memtable_nanos", "commit.wait_nanos",
        "commit.facts", "commit.latency.count", "memtable.bytes", "memtable.facts"}) {
    EXPECT_TRUE(moved(name)) << name;
  }
  EXPECT_FALSE(moved("flush.flushes"));
  before = figures();
  Must(db_->Sync());
  for (const char* name : {"wal.syncs", "wal.sync_nanos", "commit.sync_nanos"})
    EXPECT_TRUE(moved(name)) << name;
  before = figures();
  Must(db_->Flush());
  for (const char* name :
       {"flush.flushes", "flush.facts_in", "flush.rows_out", "flush.bytes_out", "flush.nanos",
        "flush.files_out", "flush.seals_asked", "flush.seal_to_flush_nanos", "manifest.commits",
        "manifest.commit_nanos", "manifest.cas_nanos", "manifest.version", "manifest.ref_bytes",
        "wal.floor_segment", "compaction.level0_files"}) {
    EXPECT_TRUE(moved(name)) << name;
  }
  EXPECT_FALSE(moved("compaction.compactions"));
  Fill(5, 15, 2);
  Must(db_->Flush());
  EXPECT_TRUE(moved("flush.rows_ended"));
  EXPECT_TRUE(moved("flush.lookups"));
  before = figures();
  Must(db_->Compact("t"));
  for (const char* name : {"compaction.compactions", "compaction.rows_in", "compaction.rows_out",
                           "compaction.bytes_in", "compaction.bytes_out", "compaction.nanos",
                           "compaction.files_in", "compaction.files_out", "gc.retired_objects"}) {
    EXPECT_TRUE(moved(name)) << name;
  }
  before = figures();
  Must(db_->CollectGarbage(false, 0));
  for (const char* name : {"gc.runs", "gc.deleted_objects", "gc.deleted_bytes", "gc.nanos"})
    EXPECT_TRUE(moved(name)) << name;
  before = figures();
  EXPECT_EQ(ScanText(*db_, "t").size(), 15u);
  EXPECT_EQ(ValueOf(*db_, "t", 3), "3");
  for (const char* name : {"read.scans", "read.gets", "read.rows_returned", "read.pages_read"})
    EXPECT_TRUE(moved(name)) << name;
  EXPECT_FALSE(moved("manifest.commits"));
  Reopen();
  EXPECT_GT(figures()["manifest.loads"], 0);
  EXPECT_GT(figures()["manifest.head_nanos"], 0);
  EXPECT_GT(figures()["manifest.decode_nanos"], 0);
}

// A writer that died leaves a file under a temporary name. Nobody sees it; it must not stay for
// ever.
TEST(CollectionOnDiskTest, TemporaryFilesOfDeadWritersGo) {
  namespace fs = std::filesystem;
  const TempDirectory directory;
  const auto db = Must(Database::Open(directory.path(), SmallOptions()));
  Must(db->PutDocument("k", "v"));
  Must(db->Flush());
  const auto leave = [&](const std::string& name, std::chrono::hours ago) {
    const fs::path path = fs::path(directory.path()) / "data" / name;
    std::ofstream(path) << "dead";
    fs::last_write_time(path, fs::file_time_type::clock::now() - ago);
    return path;
  };
  const auto old = leave(".tmp-1-old", std::chrono::hours(2));
  const auto young = leave(".tmp-1-young", std::chrono::hours(0));
  Must(db->CollectGarbage(/*dry_run=*/true, 0));
  EXPECT_TRUE(fs::exists(old)) << "a dry run deletes nothing";
  Must(db->CollectGarbage(/*dry_run=*/false, 0));
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(young)) << "it may be of a job that still writes";
  // An erase leaves no trace, and while it ends nothing is being written.
  Must(db->EraseDocument("k"));
  EXPECT_FALSE(fs::exists(young));
  EXPECT_EQ(Must(db->GetDocument("k")), std::nullopt);
  Must(db->Close());
}

}  // namespace
}  // namespace lamina::behaviour
