// Branches that no crash or failure at a random call comes to, because something else has to happen
// at one moment: a test for each, which also says that it was there.
#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <arrow/builder.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "base/ulid.h"
#include "storage/manifest/manifest_store.h"
#include "testing/faulty_store.h"
#include "testing/sim_object_store.h"
#include "world.h"

namespace lamina::simulation {
namespace {

constexpr int64_t kStart = 1'600'000'000'000'000;

std::shared_ptr<arrow::RecordBatch> Numbers(int64_t id) {
  arrow::Int64Builder builder;
  EXPECT_TRUE(builder.Append(id).ok());
  return arrow::RecordBatch::Make(
      arrow::schema({arrow::field("id", arrow::int64(), /*nullable=*/false)}), 1,
      {builder.Finish().ValueOrDie()});
}

class RareBranchesTest : public ::testing::Test {
 protected:
  Opened Open(const ScenarioOptions& options = {SmallOptions(), false}) {
    auto opened = OpenDatabase(files_, &clock_, options, ++seed_);
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    return opened.ok() ? std::move(*opened) : Opened{};
  }
  /// Runs `action` once, just before the first call of this kind whose path has `part`.
  void Before(SimCall kind, const std::string& part, std::function<void()> action) {
    auto pending = std::make_shared<bool>(true);
    files_->SetHook([kind, part, pending, action = std::move(action)](const SimCallInfo& call) {
      if (*pending && call.kind == kind && call.path.find(part) != std::string_view::npos) {
        *pending = false;
        action();
      }
      return SimAction{};
    });
  }
  static std::string Document(const Database& db, const std::string& key) {
    const auto got = db.GetDocument(key);
    EXPECT_TRUE(got.ok()) << got.status().ToString();
    return got.ok() ? got->value_or("(none)") : "(error)";
  }
  static void ExpectClean(Database* db) {
    const auto findings = db->Check();
    ASSERT_TRUE(findings.ok()) << findings.status().ToString();
    EXPECT_TRUE(findings->empty()) << (*findings)[0];
  }
  void Put(Database* db, const std::string& key, const std::string& value) {
    clock_.Advance(1'000);
    const auto put = db->PutDocument(key, value);
    ASSERT_TRUE(put.ok()) << put.status().ToString();
  }
  /// The only segment of the log that holds frames.
  std::string Log() const {
    std::string found;
    for (const std::string& path : files_->Files()) {
      if (path.find("/wal/") != std::string::npos && path.ends_with(".vw")) found = path;
    }
    return found;
  }

  base::ManualClock clock_{kStart};
  std::shared_ptr<SimFileSystem> files_ = std::make_shared<SimFileSystem>(&clock_);
  uint64_t seed_ = 0;
};

TEST_F(RareBranchesTest, CompactionWhoseTableIsDroppedMeanwhileGivesUpInPeace) {
  const uint64_t before = base::ReachedCount("engine.compaction.conflict");
  const Opened opened = Open();
  Database* db = opened.db.get();
  const auto schema = Numbers(0)->schema();
  ASSERT_TRUE(db->CreateTable("gone", schema, {.names = {"id"}}).ok());
  for (int64_t i = 0; i < 4; ++i) {
    clock_.Advance(1'000);
    ASSERT_TRUE(db->Put("gone", Numbers(i)).ok());
    Put(db, fmt::format("stays-{}", i), "here");
    ASSERT_TRUE(db->Flush().ok());
  }
  Status dropped = Status::Invalid("not yet");
  Before(SimCall::kCreate, "/data/", [&] { dropped = db->DropTable("gone"); });
  const Status compacted = db->Compact("gone");
  EXPECT_TRUE(compacted.ok()) << compacted.ToString();
  EXPECT_TRUE(dropped.ok()) << dropped.ToString();
  EXPECT_GT(base::ReachedCount("engine.compaction.conflict"), before);
  EXPECT_FALSE(db->GetTable("gone").ok());
  EXPECT_TRUE(db->CollectGarbage(/*dry_run=*/false, /*grace_micros=*/0).ok());
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(Document(*db, fmt::format("stays-{}", i)), "here");
  ExpectClean(db);
}

TEST_F(RareBranchesTest, ARefReplacedWhileTheClockStandsBackGetsANewerTag) {
  const uint64_t before = base::ReachedCount("local_store.put.modified_bumped");
  const Opened opened = Open();
  Put(opened.db.get(), "k", "1");
  ASSERT_TRUE(opened.db->Flush().ok());
  clock_.Set(kStart - 3'600'000'000);
  Put(opened.db.get(), "k", "2");
  ASSERT_TRUE(opened.db->Flush().ok());
  EXPECT_GT(base::ReachedCount("local_store.put.modified_bumped"), before);
  EXPECT_EQ(Document(*opened.db, "k"), "2");
  ExpectClean(opened.db.get());
}

TEST_F(RareBranchesTest, AReaderWhoseBaseIsCollectedBeforeItReadsItBeginsAgain) {
  const uint64_t before = base::ReachedCount("manifest.load.base_gone");
  const Opened owner = Open();
  Put(owner.db.get(), "k", "old");
  ASSERT_TRUE(owner.db->Flush().ok());
  uint64_t flushes = 0;
  Before(SimCall::kOpen, "/manifest/", [&] {
    // Edits gather in the ref until a new base is written.
    const uint64_t bases = base::ReachedCount("manifest.base.written");
    while (base::ReachedCount("manifest.base.written") == bases && ++flushes < 1'000) {
      Put(owner.db.get(), "k", fmt::format("new {}", flushes));
      ASSERT_TRUE(owner.db->Flush().ok());
    }
    ASSERT_TRUE(owner.db->CollectGarbage(/*dry_run=*/false, /*grace_micros=*/0).ok());
  });
  ScenarioOptions options{SmallOptions(), false};
  options.database.read_only = true;
  const Opened reader = Open(options);
  ASSERT_NE(reader.db, nullptr);
  EXPECT_GT(base::ReachedCount("manifest.load.base_gone"), before);
  EXPECT_EQ(Document(*reader.db, "k"), fmt::format("new {}", flushes));
}

TEST_F(RareBranchesTest, AReaderWhoseLogIsPrunedBeforeItReadsItBeginsAgain) {
  const uint64_t before = base::ReachedCount("engine.open.log_pruned");
  const Opened owner = Open();
  Put(owner.db.get(), "a", "1");
  Before(SimCall::kOpen, ".vw", [&] {
    ASSERT_TRUE(owner.db->Flush().ok());
    Put(owner.db.get(), "b", "2");
  });
  ScenarioOptions options{SmallOptions(), false};
  options.database.read_only = true;
  const Opened reader = Open(options);
  ASSERT_NE(reader.db, nullptr);
  EXPECT_GT(base::ReachedCount("engine.open.log_pruned"), before);
  EXPECT_EQ(Document(*reader.db, "a"), "1");
  EXPECT_EQ(Document(*reader.db, "b"), "2");
}

// Somebody who owns nothing moves the ref, and the owner's edit does not fit any more: it is
// refused, and what is planned next is planned on what is there.
TEST_F(RareBranchesTest, AnOwnerWhoseEditNoLongerFitsGoesOnFromTheNewestVersion) {
  const uint64_t before = base::ReachedCount("engine.publish.adopted");
  const Opened owner = Open();
  Put(owner.db.get(), "a", "1");
  ASSERT_TRUE(owner.db->Flush().ok());
  ASSERT_TRUE(owner.db->CreateCheckpoint("mark").ok());
  {
    base::Random random(4711);
    base::UlidGenerator ulids(&clock_, &random);
    auto store = storage::LocalStore::Open("/database", /*create=*/false, files_);
    ASSERT_TRUE(store.ok()) << store.status().ToString();
    auto outsider = storage::manifest::ManifestStore::Open(
        {.store = *store, .clock = &clock_, .ulids = &ulids});
    ASSERT_TRUE(outsider.ok()) << outsider.status().ToString();
    storage::manifest::VersionEdit edit;
    edit.reason = "outsider";
    edit.drop_checkpoints.emplace_back("mark");
    const Status dropped = (*outsider)->Commit(edit).status();
    ASSERT_TRUE(dropped.ok()) << dropped.ToString();
  }
  EXPECT_EQ(CodeOf(owner.db->DropCheckpoint("mark")), ErrorCode::kConflict);
  EXPECT_GT(base::ReachedCount("engine.publish.adopted"), before);
  EXPECT_EQ(CodeOf(owner.db->DropCheckpoint("mark")), ErrorCode::kNotFound);
  Put(owner.db.get(), "b", "2");
  ASSERT_TRUE(owner.db->Flush().ok());
  EXPECT_EQ(Document(*owner.db, "b"), "2");
  ExpectClean(owner.db.get());
}

// The answer to the last publish of an owner gets lost, and before it can ask the ref a newer owner
// has gone on from it: what it published is there, and it is out.
TEST_F(RareBranchesTest, APublishThatSettlesBehindANewerOwnerIsThereAndFences) {
  const uint64_t before = base::ReachedCount("manifest.cas.settled_and_fenced");
  const auto shared = std::make_shared<testing::SimObjectStore>(MakeMemoryStore(),
                                                                testing::SimObjectStore::Options{});
  const auto open = [&](std::shared_ptr<ObjectStore> store) {
    engine::EngineOptions options;
    static_cast<DatabaseOptions&>(options) = SmallOptions();
    options.wal = false;
    options.store = std::move(store);
    options.clock = &clock_;
    options.random_seed = ++seed_;
    options.executor = std::make_shared<base::ManualExecutor>(&clock_);
    auto db = db::OpenWith(std::move(options));
    EXPECT_TRUE(db.ok()) << db.status().ToString();
    return db.ok() ? std::move(*db) : nullptr;
  };
  const auto faulty = std::make_shared<testing::FaultyStore>(shared);
  const auto older = open(faulty);
  ASSERT_NE(older, nullptr);
  Put(older.get(), "a", "1");
  std::unique_ptr<Database> newer;
  testing::StoreFault lost;
  lost.kind = storage::RequestKind::kPut;
  lost.path_prefix = "refs/main";
  lost.after_effect = true;
  faulty->Add(lost);
  testing::StoreFault next;
  next.path_prefix = "refs/main";
  next.skip = 1;  // the put
  next.status = Status::OK();
  next.meanwhile = [&] {
    newer = open(shared);
    Put(newer.get(), "b", "2");
    EXPECT_TRUE(newer->Flush().ok());
  };
  faulty->Add(next);
  EXPECT_EQ(CodeOf(older->Flush()), ErrorCode::kFenced);
  EXPECT_GT(base::ReachedCount("manifest.cas.settled_and_fenced"), before);
  ASSERT_NE(newer, nullptr);
  EXPECT_EQ(CodeOf(older->PutDocument("c", "3").status()), ErrorCode::kFenced);
  EXPECT_EQ(Document(*newer, "a"), "1");
  EXPECT_EQ(Document(*newer, "b"), "2");
  ExpectClean(newer.get());
}

TEST_F(RareBranchesTest, ALogDamagedInTheMiddleIsRefusedAndSalvagedUpToThere) {
  const uint64_t damage = base::ReachedCount("wal.replay.middle_damage");
  const uint64_t salvage = base::ReachedCount("wal.salvage");
  size_t first_end = 0;
  {
    const Opened opened = Open();
    Put(opened.db.get(), "a", "1");
    Put(opened.db.get(), "b", "2");
    first_end = files_->Contents(Log()).size();
    for (int i = 0; i < 4; ++i) Put(opened.db.get(), "b", fmt::format("more {}", i));
  }
  const std::string log = Log();
  // In the frame that follows; those behind it are intact and were synced after it.
  files_->FlipBit(log, first_end + 20, 3);

  const auto refused = OpenDatabase(files_, &clock_, {SmallOptions(), false}, 77);
  EXPECT_EQ(CodeOf(refused.status()), ErrorCode::kCorruption) << refused.status().ToString();
  EXPECT_GT(base::ReachedCount("wal.replay.middle_damage"), damage);

  ScenarioOptions options{SmallOptions(), false};
  options.database.salvage = true;
  {
    const Opened salvaged = Open(options);
    ASSERT_NE(salvaged.db, nullptr);
    EXPECT_GT(base::ReachedCount("wal.salvage"), salvage);
    EXPECT_FALSE(salvaged.db->recovery().left_out.empty());
    EXPECT_EQ(Document(*salvaged.db, "a"), "1");
    EXPECT_EQ(Document(*salvaged.db, "b"), "2");
    Put(salvaged.db.get(), "c", "after");
  }
  // What was left out was copied first, and the log is whole from now on.
  bool copied = false;
  for (const std::string& path : files_->Files())
    copied |= path.find("damaged/") != std::string::npos;
  EXPECT_TRUE(copied);
  files_ = files_->CrashClone(SimDamage::kDropUnsynced, 5);
  const Opened again = Open();
  ASSERT_NE(again.db, nullptr);
  EXPECT_EQ(Document(*again.db, "b"), "2");
  EXPECT_EQ(Document(*again.db, "c"), "after");
  ExpectClean(again.db.get());
}

// The size of a file can reach the disk before the bytes that it covers.
TEST_F(RareBranchesTest, ZerosBehindTheLastFrameEndTheLog) {
  const uint64_t before = base::ReachedCount("wal.replay.zero_tail");
  {
    const Opened opened = Open();
    Put(opened.db.get(), "a", "1");
    files_->Crash();
  }
  files_ = files_->CrashClone(SimDamage::kNothingLost, 5);
  const int file = files_->Open(SimFileSystem::kHere, Log(), O_WRONLY | O_APPEND);
  ASSERT_GE(file, 0);
  ASSERT_EQ(files_->Write(file, std::string(700, '\0')), 700);
  ASSERT_EQ(files_->Close(file), 0);
  {
    const Opened opened = Open();
    ASSERT_NE(opened.db, nullptr);
    EXPECT_GT(base::ReachedCount("wal.replay.zero_tail"), before);
    EXPECT_EQ(Document(*opened.db, "a"), "1");
    Put(opened.db.get(), "b", "2");
  }
  files_ = files_->CrashClone(SimDamage::kDropUnsynced, 6);
  const Opened again = Open();
  ASSERT_NE(again.db, nullptr);
  EXPECT_EQ(Document(*again.db, "a"), "1");
  EXPECT_EQ(Document(*again.db, "b"), "2");
  ExpectClean(again.db.get());
}

// A failed sync leaves in the page cache what never reaches the disk unless it is written again.
// The next process reads it from there: what it shows has to stay.
TEST_F(RareBranchesTest, WhatTheNextProcessShowsAfterAFailedSyncOutlivesTheMachine) {
  {
    const Opened opened = Open();
    Put(opened.db.get(), "a", "1");
    files_->SetHook([](const SimCallInfo& call) {
      const bool log = call.path.ends_with(".vw");
      return call.kind == SimCall::kSync && log ? SimAction{SimAction::Kind::kFailBefore, EIO}
                                                : SimAction{};
    });
    clock_.Advance(1'000);
    EXPECT_FALSE(opened.db->PutDocument("b", std::string(3'000, 'b')).ok());
    files_->SetHook([](const SimCallInfo&) { return SimAction{SimAction::Kind::kRefuse, EIO}; });
  }
  files_->SetHook(nullptr);
  std::string seen;
  {
    const Opened opened = Open();
    ASSERT_NE(opened.db, nullptr);
    seen = Document(*opened.db, "b");
    Put(opened.db.get(), "c", "3");
    files_->SetHook([](const SimCallInfo&) { return SimAction{SimAction::Kind::kRefuse, EIO}; });
  }
  files_->SetHook(nullptr);
  files_ = files_->CrashClone(SimDamage::kDropUnsynced, 5);
  const Opened again = Open();
  ASSERT_NE(again.db, nullptr);
  EXPECT_EQ(Document(*again.db, "a"), "1");
  EXPECT_EQ(Document(*again.db, "b"), seen);
  EXPECT_EQ(Document(*again.db, "c"), "3");
  ExpectClean(again.db.get());
}

}  // namespace
}  // namespace lamina::simulation
