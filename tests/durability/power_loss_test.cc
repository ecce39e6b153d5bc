// The machine loses its power while the real process writes: real kernel, clock and threads. What
// was acknowledged as durable is there, and no commit is there in part.
//
// A round: the child writes, watched by power_loss_preload.cc, until it is killed. From the journal
// come folders as they would be after a power cut, at that moment and at an earlier one, each with
// another damage; each is opened and judged, and the next round goes on in one of them.
//
// A round cannot be run again (threads and clock are real), its verdict can: what failed is kept,
// and LAMINA_POWER_LOSS_REPLAY=<that folder> judges it once more. LAMINA_POWER_LOSS_SEED and
// LAMINA_POWER_LOSS_ROUNDS set what they say.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/random.h"
#include "child_process.h"
#include "kill_child.h"
#include "power_loss_replay.h"

namespace lamina {
namespace {

using power_loss::Lie;
using power_loss::Record;
using power_loss::Replay;
using testing::SimDamage;
using testing::SimFileSystem;

uint64_t Setting(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// A folder that is gone with it.
class Scratch {
 public:
  Scratch() {
    static int count = 0;
    path_ = (std::filesystem::temp_directory_path() /
             fmt::format("lamina-power-loss-{}-{}", getpid(), count++))
                .string();
    std::filesystem::remove_all(path_);
    std::filesystem::create_directory(path_);
  }
  ~Scratch() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

Result<std::shared_ptr<SimFileSystem>> Load(const std::string& folder) {
  auto files = std::make_shared<SimFileSystem>(base::SystemClock());
  ARROW_RETURN_NOT_OK(power_loss::CopyTree(storage::SystemFileSystem().get(), folder, files.get(),
                                           "/", /*synced=*/true));
  return files;
}

/// What one run of the child has left to judge.
struct WatchedRun {
  std::shared_ptr<SimFileSystem> before;
  std::string root;
  NewestOfWriters known{};  // before it
  std::vector<Record> journal;

  NewestOfWriters AcknowledgedAt(size_t cut) const {
    NewestOfWriters out = known;
    ReadAcknowledgements(power_loss::Acknowledgements(journal, cut), &out);
    return out;
  }
};

/// Runs the child in `<root>/db` until it is killed; the root is there.
Result<WatchedRun> Watch(const std::string& root, const std::string& journal,
                         const std::string& before, KillChildOptions child, int64_t micros) {
  WatchedRun run;
  run.root = root;
  ARROW_ASSIGN_OR_RAISE(run.before, Load(before));
  std::filesystem::remove(journal);
  child.directory = root + "/db";
  const std::string preload =
      (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libpower_loss_preload.so")
          .string();
  if (!std::filesystem::exists(preload)) return Status::IOError("not built: ", preload);
  ARROW_ASSIGN_OR_RAISE(const std::string output,
                        RunChild(child,
                                 {"LD_PRELOAD=" + preload,
                                  fmt::format("{}={}", power_loss::kJournalVariable, journal),
                                  fmt::format("{}={}", power_loss::kRootVariable, root)},
                                 micros));
  if (output.empty() && !std::filesystem::exists(journal)) return run;  // killed before it began
  ARROW_ASSIGN_OR_RAISE(run.journal, power_loss::ReadJournal(journal));
  NewestOfWriters heard{};
  ReadAcknowledgements(output, &heard);
  const NewestOfWriters noted = run.AcknowledgedAt(run.journal.size());
  for (size_t i = 0; i < heard.size(); ++i) {
    if (noted[i] < heard[i]) return Status::Invalid("the journal misses an acknowledgement");
  }
  return run;
}

/// Makes the folder that the cut leaves, and judges it.
Status JudgeCut(const WatchedRun& run, const Replay::Cut& cut, const std::string& survivor,
                NewestOfWriters* newest) {
  const Replay replay(run.before, run.root);
  ARROW_ASSIGN_OR_RAISE(const auto disk, replay.Survivor(run.journal, cut));
  std::filesystem::remove_all(survivor);
  ARROW_RETURN_NOT_OK(
      power_loss::CopyTree(disk.get(), "", storage::SystemFileSystem().get(), survivor, false));
  return JudgeWhatIsLeft(survivor + "/db", run.AcknowledgedAt(cut.records), newest);
}

/// Keeps what a failure needs to be looked at and judged again, in `folder`.
Status KeepIn(const std::string& folder, const WatchedRun& run, const std::string& journal,
              const Replay::Cut& cut, const std::string& survivor) {
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  ARROW_RETURN_NOT_OK(power_loss::CopyTree(run.before.get(), "", storage::SystemFileSystem().get(),
                                           folder + "/before",
                                           /*synced=*/false));
  std::filesystem::copy_file(journal, folder + "/journal");
  if (std::filesystem::exists(survivor)) {
    std::filesystem::copy(survivor, folder + "/survivor", std::filesystem::copy_options::recursive);
  }
  std::ofstream out(folder + "/cut");
  out << fmt::format("{}\n{} {} {} {} {}\n", run.root, cut.records, static_cast<int>(cut.damage),
                     cut.seed, static_cast<int>(cut.lie), fmt::join(run.known, " "));
  return out.flush() ? Status::OK() : Status::IOError("cannot keep ", folder);
}

Status JudgeKept(const std::string& folder) {
  WatchedRun run;
  Replay::Cut cut;
  int damage = 0, lie = 0;
  std::ifstream in(folder + "/cut");
  in >> run.root >> cut.records >> damage >> cut.seed >> lie;
  for (int64_t& n : run.known) in >> n;
  if (!in) return Status::IOError("nothing was kept in ", folder);
  cut.damage = static_cast<SimDamage>(damage);
  cut.lie = static_cast<Lie>(lie);
  ARROW_ASSIGN_OR_RAISE(run.before, Load(folder + "/before"));
  ARROW_ASSIGN_OR_RAISE(run.journal, power_loss::ReadJournal(folder + "/journal"));
  const Scratch scratch;
  NewestOfWriters newest{};
  return JudgeCut(run, cut, scratch / "survivor", &newest);
}

/// The same in a folder of its own; says where, and what was cut.
std::string Keep(const WatchedRun& run, const std::string& journal, const Replay::Cut& cut,
                 const std::string& survivor) {
  const std::string folder = (std::filesystem::temp_directory_path() /
                              fmt::format("lamina-power-loss-kept-{}-{}", getpid(), cut.records))
                                 .string();
  const Status kept = KeepIn(folder, run, journal, cut, survivor);
  return fmt::format("damage {}, record {} of {}, seed {}; {}: LAMINA_POWER_LOSS_REPLAY={}",
                     testing::SimDamageName(cut.damage), cut.records, run.journal.size(), cut.seed,
                     kept.ok() ? "kept" : kept.ToString(), folder);
}

TEST(PowerLossTest, NoAcknowledgedDurableCommitIsLostAndNoneIsHalfThere) {
  if (const char* kept = std::getenv("LAMINA_POWER_LOSS_REPLAY"); kept != nullptr) {
    const Status status = JudgeKept(kept);
    ASSERT_TRUE(status.ok()) << status.ToString();
    return;
  }
  const uint64_t seed = Setting("LAMINA_POWER_LOSS_SEED", static_cast<uint64_t>(getpid()));
  const uint64_t rounds = Setting("LAMINA_POWER_LOSS_ROUNDS", 50);
  fmt::print("seed {}\n", seed);
  base::Random random(seed);
  Scratch scratch;
  const std::string root = scratch / "disk";
  const std::string journal = scratch / "journal";
  NewestOfWriters newest{};
  uint64_t records = 0, judged = 0, commits = 0, unsynced_lost = 0;
  for (uint64_t round = 0; round < rounds; ++round) {
    if (round % 10 == 0) {
      // From the start again: a first start can be cut too, and folders stay small.
      std::filesystem::remove_all(root);
      std::filesystem::create_directory(root);
      newest = {};
    }
    KillChildOptions child;
    child.sync = round % 3 == 2 ? SyncPolicy::kInterval : SyncPolicy::kAlways;
    auto watched = Watch(root, journal, root, child, static_cast<int64_t>(random.Uniform(60'000)));
    ASSERT_TRUE(watched.ok()) << "round " << round << ": " << watched.status().ToString();
    WatchedRun& run = *watched;
    run.known = newest;
    const size_t end = run.journal.size();
    records += end;
    const Status whole = Replay(run.before, run.root).CompareWithFolder(run.journal);
    ASSERT_TRUE(whole.ok()) << "round " << round << ": " << whole.ToString() << "\n"
                            << Keep(run, journal, {.records = end}, root);

    const auto damage = [&] { return testing::kSimDamages[random.Uniform(4)]; };
    const Replay::Cut cuts[] = {
        {.records = end, .damage = SimDamage::kDropUnsynced, .seed = random.Next64()},
        {.records = end,
         .damage = testing::kSimDamages[1 + random.Uniform(3)],
         .seed = random.Next64()},
        {.records = random.Uniform(end + 1), .damage = damage(), .seed = random.Next64()}};
    const uint64_t goes_on = random.Uniform(2);
    NewestOfWriters after{};
    for (uint64_t i = 0; i < std::size(cuts); ++i) {
      const std::string survivor = scratch / fmt::format("survivor-{}", i);
      NewestOfWriters left{};
      const Status status = JudgeCut(run, cuts[i], survivor, &left);
      ASSERT_TRUE(status.ok()) << "round " << round << ": " << status.ToString() << "\n"
                               << Keep(run, journal, cuts[i], survivor);
      ++judged;
      if (i == goes_on) after = left;
    }
    for (const Record& record : run.journal)
      commits += record.head.call == power_loss::Call::kAcknowledge ? 1 : 0;
    {
      // What the process left, the machine still running: how much more that is than what a power
      // cut leaves tells whether the cuts lose anything.
      const NewestOfWriters durable = run.AcknowledgedAt(end);
      NewestOfWriters left{};
      const Status status = JudgeWhatIsLeft(root + "/db", durable, &left);
      ASSERT_TRUE(status.ok()) << "round " << round << ", killed only: " << status.ToString();
      unsynced_lost += left != after ? 1 : 0;
    }
    std::filesystem::remove_all(root);
    std::filesystem::rename(scratch / fmt::format("survivor-{}", goes_on), root);
    newest = after;
  }
  fmt::print(
      "{} rounds, {} journal records, {} power cuts judged, {} durable acknowledgements; in "
      "{} rounds the cut left less than the kill\n",
      rounds, records, judged, commits, unsynced_lost);
  if (rounds < 50) return;
  EXPECT_GT(commits, 100u) << "the child hardly wrote: the test proves little";
  EXPECT_GT(unsynced_lost, 0u) << "no cut lost anything: the test proves little";
}

// The lane can fail: a disk that answers syncs and keeps nothing is found out, whatever kind of
// sync it lies about, from the very journal that an honest disk passes with.
TEST(PowerLossTest, ADiskThatLiesAboutSyncsIsFoundOut) {
  Scratch scratch;
  const std::string root = scratch / "disk";
  std::filesystem::create_directory(root);
  // Longer than a round: the log has gone over into files.
  const auto watched = Watch(root, scratch / "journal", root, {}, 300'001);
  ASSERT_TRUE(watched.ok()) << watched.status().ToString();
  const WatchedRun& run = *watched;
  const Replay::Cut cut{.records = run.journal.size()};
  NewestOfWriters newest{};
  const Status honest = JudgeCut(run, cut, scratch / "survivor", &newest);
  ASSERT_TRUE(honest.ok()) << honest.ToString();
  for (const Lie lie : power_loss::kLies) {
    Replay::Cut lying = cut;
    lying.lie = lie;
    const Status status = JudgeCut(run, lying, scratch / "survivor", &newest);
    EXPECT_FALSE(status.ok()) << "lie " << static_cast<int>(lie) << " was believed";
    fmt::print("lie {}: {}\n", static_cast<int>(lie), status.ToString());
    const Status kept =
        KeepIn(scratch / "kept", run, scratch / "journal", lying, scratch / "survivor");
    ASSERT_TRUE(kept.ok()) << kept.ToString();
    EXPECT_EQ(JudgeKept(scratch / "kept").ToString(), status.ToString());
  }
}

// What the journal does not hold would be kept or lost wrongly, and nobody would know.
TEST(PowerLossTest, AChangeThatTheJournalDoesNotHoldIsNoticed) {
  Scratch scratch;
  const std::string root = scratch / "disk";
  std::filesystem::create_directory(root);
  const auto watched = Watch(root, scratch / "journal", root, {}, 20'001);
  ASSERT_TRUE(watched.ok()) << watched.status().ToString();
  const WatchedRun& run = *watched;
  const Replay replay(run.before, run.root);
  const Status whole = replay.CompareWithFolder(run.journal);
  ASSERT_TRUE(whole.ok()) << whole.ToString();
  for (const char* name : {"refs/main", "stranger"}) {
    const std::string file = root + "/db/" + name;
    const bool was = std::filesystem::exists(file);
    if (was) std::filesystem::copy_file(file, scratch / "as-it-was");
    std::ofstream(file, std::ios::app) << "x";
    const Status status = replay.CompareWithFolder(run.journal);
    EXPECT_TRUE(status.IsInvalid()) << status.ToString();
    std::filesystem::remove(file);
    EXPECT_EQ(replay.CompareWithFolder(run.journal).IsInvalid(), was);
    if (was) std::filesystem::rename(scratch / "as-it-was", file);
  }
}

TEST(PowerLossTest, ACallThatTheJournalCannotExpressIsNoticed) {
  Scratch scratch;
  const std::string root = scratch / "disk";
  std::filesystem::create_directory(root);
  const Status status =
      Watch(root, scratch / "journal", root, {.directory = "", .stranger = true}, -1).status();
  EXPECT_TRUE(status.IsInvalid()) << status.ToString();
  EXPECT_NE(status.ToString().find("pwrite"), std::string::npos) << status.ToString();
}

}  // namespace
}  // namespace lamina
