// The process that is killed while it writes, and the judge of what it left.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/options.h"

namespace lamina {

/// As many at once, so that commits form groups.
inline constexpr int64_t kWriters = 3;
/// The newest commit of each writer; 0: none.
using NewestOfWriters = std::array<int64_t, kWriters>;

struct KillChildOptions {
  std::string directory;
  SyncPolicy sync = SyncPolicy::kAlways;
  /// Changes a file of the database by a call that the library's store never makes, and exits.
  bool stranger = false;
};

/// The variables that make this program, started anew, the child.
std::vector<std::string> KillChildEnvironment(const KillChildOptions& options);
/// False when they are not set.
bool KillChildOptionsFromEnvironment(KillChildOptions* out);

/// Commits without end into the database in `directory`: commit n of writer w, with the number
/// N = n * kWriters + w, holds rows 10N … 10N+4 of table "parts", row N of table "wholes" and
/// document "newest/w" = n. Each writes "w n" and a newline to standard output when it knows the
/// commit to be durable: every one with kAlways, every fourth else. Returns (an exit code) only on
/// an error.
int WriteUntilKilled(const KillChildOptions& options);

/// Adds what the lines acknowledge. A last line without its newline was not said in full.
void ReadAcknowledgements(std::string_view lines, NewestOfWriters* newest);

/// Opens what is left, as it is (made if nothing is), and judges it: everything acknowledged is
/// there, no commit is there in part or out of its writer's order, Check finds nothing, and writes
/// go on.
Status JudgeWhatIsLeft(const std::string& directory, const NewestOfWriters& acknowledged,
                       NewestOfWriters* newest);

}  // namespace lamina
