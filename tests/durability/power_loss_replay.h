// What a disk holds when the machine loses its power, told from the journal of a real process.
//
// The journal (power_loss_journal.h) is played into testing::SimFileSystem, which knows what is
// synced and what is not, and whose CrashClone makes the four kinds of damage; the clone is written
// to a real folder. Where the kernel's promise leaves a choice, the one that keeps less is taken:
// a sync covers what was written before it began, and counts once it has come back.
//
// Not modelled: see sim_file_system.h; further, a sync that fails (the real disk is healthy; such
// a journal is an error), and file systems that keep more than POSIX promises, as ext4 does.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/error.h"
#include "power_loss_journal.h"
#include "storage/object_store/file_system.h"
#include "testing/sim_file_system.h"

namespace lamina::power_loss {

struct Record {
  RecordHead head;
  std::string path, other, data;
};

/// An error where a call was made that the journal cannot express. A last record that the kill cut
/// short is left out.
Result<std::vector<Record>> ReadJournal(const std::string& file);

/// What standard output was told within the first `cut` records.
std::string Acknowledgements(const std::vector<Record>& journal, size_t cut);

/// Everything below `source`, with its modification times, below `target`, which is made.
Status CopyTree(storage::FileSystem* from, const std::string& source, storage::FileSystem* to,
                const std::string& target, bool synced);

/// How a disk lies: it answers syncs of a kind and keeps nothing. Tests of the tests.
enum class Lie : uint8_t { kNone, kAll, kFiles, kDirectories, kLog };
inline constexpr Lie kLies[] = {Lie::kAll, Lie::kFiles, Lie::kDirectories, Lie::kLog};

class Replay {
 public:
  /// `before`: the root as it was when the process started, at "/"; all of it counts as synced.
  /// `root`: the folder that was watched.
  Replay(std::shared_ptr<testing::SimFileSystem> before, std::string root)
      : before_(std::move(before)), root_(std::move(root)) {}

  struct Cut {
    size_t records = 0;  ///< The machine stops after as many.
    testing::SimDamage damage = testing::SimDamage::kDropUnsynced;
    uint64_t seed = 1;  ///< Also of which calls under way happened.
    Lie lie = Lie::kNone;
  };
  /// The disk after the machine has stopped, the root at "/".
  Result<std::shared_ptr<testing::SimFileSystem>> Survivor(const std::vector<Record>& journal,
                                                           const Cut& cut) const;

  /// OK if the real folder holds exactly what the whole journal says: so no change went by unseen.
  /// A call that was under way may have happened, or not, or a write in part.
  Status CompareWithFolder(const std::vector<Record>& journal) const;

 private:
  /// What becomes of a call that has no end.
  struct UnderWay {
    bool happens = false;
    uint64_t bytes_max = ~uint64_t{0};  // of a write
  };
  Result<std::shared_ptr<testing::SimFileSystem>> Play(const std::vector<Record>& journal,
                                                       size_t records, const UnderWay& under_way,
                                                       Lie lie) const;

  const std::shared_ptr<testing::SimFileSystem> before_;
  const std::string root_;
};

}  // namespace lamina::power_loss
