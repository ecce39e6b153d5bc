// The log on a machine whose syncs fail and whose power goes.
#include <cerrno>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "storage/object_store/local_store.h"
#include "storage/wal/wal.h"
#include "testing/sim_file_system.h"

namespace lamina::storage::wal {
namespace {

using testing::SimAction;
using testing::SimCall;
using testing::SimCallInfo;
using testing::SimDamage;
using testing::SimFileSystem;

std::shared_ptr<LocalStore> OpenStore(const std::shared_ptr<SimFileSystem>& files) {
  return *LocalStore::Open("/db", /*create=*/true, files);
}

TEST(WalFaultsTest, ALogThatStoppedAtAFailedSyncIsSoundAfterReopenAndPowerFailure) {
  base::ManualClock clock;
  const auto files = std::make_shared<SimFileSystem>(&clock);
  auto store = OpenStore(files);
  const base::Ulid database = *base::Ulid::Parse("01DXF6DT00BE83RF7GJAG2TCXZ");
  WriterOptions options;
  options.database_id = database;
  ReplayOptions replay;
  replay.database_id = database;
  const auto append = [](Writer& writer, uint64_t commit) {
    Frame frame;
    frame.commit = {commit};
    frame.system = {static_cast<int64_t>(commit)};
    frame.payload = "payload";
    return writer.Append({&frame, 1});
  };
  std::vector<uint64_t> seen;
  const auto note = [&](const Frame& frame) {
    seen.push_back(frame.commit.value);
    return Status::OK();
  };
  auto writer = *Writer::Open(store, options);
  ASSERT_TRUE(append(*writer, 1).ok());
  ASSERT_TRUE(writer->Sync().ok());
  ASSERT_TRUE(append(*writer, 2).ok());
  files->SetHook([](const SimCallInfo& call) {
    return call.kind == SimCall::kSync ? SimAction{SimAction::Kind::kFailBefore, EIO} : SimAction{};
  });
  EXPECT_FALSE(writer->Sync().ok());
  files->SetHook(nullptr);
  writer.reset();
  // Reopened on the same machine: commit 2 reads back, so it is kept, and must be durable now.
  store = OpenStore(files);
  ASSERT_TRUE(Replay(store, replay, note).ok());
  EXPECT_EQ((std::vector<uint64_t>{1, 2}), seen);
  options.epoch = 2;
  writer = *Writer::Open(store, options);
  ASSERT_TRUE(append(*writer, 3).ok());
  ASSERT_TRUE(writer->Sync().ok());
  seen.clear();
  const auto replayed =
      Replay(OpenStore(files->CrashClone(SimDamage::kDropUnsynced, 1)), replay, note);
  EXPECT_TRUE(replayed.ok()) << replayed.status().ToString();
  EXPECT_EQ((std::vector<uint64_t>{1, 2, 3}), seen);
}

}  // namespace
}  // namespace lamina::storage::wal
