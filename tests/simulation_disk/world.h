// A database on a simulated machine, driven by a script, and beside it what it must answer.
//
// One thread, a clock that moves only when told, background work only when the script says so: a
// scenario makes the same calls of the file system every time, so call number n is a place that can
// be named and gone back to.
//
// What a recovered database is held to (Verify):
//   * its newest commit n lies between the last commit that was acknowledged as durable and the
//   last
//     that was begun; commits are whole: every table answers as the model does after exactly n;
//   * every row version of every table, over all system and valid time, is the model's (so every
//     point of the plane is), and some points are asked one by one;
//   * commit times are those that were acknowledged, and strictly rise;
//   * tables, columns, checkpoints and history floors are those acknowledged, or those of the one
//     change that was under way; where that is part of a commit, both are there or neither is;
//   * Check() finds nothing;
//   * it goes on: the next commit is acknowledged as durable, an idempotency key still answers, and
//     after one more crash everything is there again.
// What it does not see: rows of the two internal tables other than through TimeOf and idempotency
// keys; objects that nobody refers to (garbage).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/executor.h"
#include "db/open.h"
#include "lamina/database.h"
#include "storage/object_store/local_store.h"
#include "testing/reference_model.h"
#include "testing/sim_file_system.h"

namespace lamina::simulation {

using testing::SimAction;
using testing::SimCall;
using testing::SimCallInfo;
using testing::SimDamage;
using testing::SimFileSystem;

/// splitmix64 of all of them: one seed out of several numbers.
uint64_t MixSeed(uint64_t a, uint64_t b, uint64_t c = 0, uint64_t d = 0);

struct Column {
  int id = 0;  ///< Stays when the column is renamed. 1 is the note.
  std::string name;
  char type = 's';  ///< s utf8, i int32, l int64.
  friend bool operator==(const Column&, const Column&) = default;
};

/// A table as its users see it. Every table has `id` int64 first: its key, or only a number in an
/// append table.
struct TableState {
  std::string uid;  ///< Its name in the model; survives a rename.
  bool keyed = true;
  std::vector<Column> columns;
  SystemTime floor = SystemTime::Min();
  friend bool operator==(const TableState&, const TableState&) = default;
};

struct CatalogState {
  std::map<std::string, TableState> tables;
  std::map<std::string, CommitId> checkpoints;
  friend bool operator==(const CatalogState&, const CatalogState&) = default;
};

struct CommitState {
  std::vector<testing::ModelWrite> writes;
  std::string idempotency_key;
  std::optional<SystemTime> system_time;  ///< Once acknowledged, or asked for.
};

/// What a database found after a crash now may hold. Never changes once made.
struct Expected {
  std::vector<std::shared_ptr<const CommitState>> commits;  ///< 1, 2, 3 …
  size_t acknowledged = 0;  ///< The first so many; the others are under way.
  size_t durable = 0;       ///< The first so many may not be lost.
  CatalogState catalog;
  std::optional<CatalogState> next;  ///< What the change under way makes of it.
  bool next_with_commit = false;     ///< It comes with the newest commit, or neither does.
  bool created = false;              ///< The database was opened once.
};
using ExpectedPtr = std::shared_ptr<const Expected>;

/// What a recovered database turned out to be.
struct Recovered {
  uint64_t commits = 0;
  std::optional<SystemTime> newest_time;  ///< Of a commit that was under way.
  CatalogState catalog;
};

/// The model after 0, 1, 2 … commits, kept: most crashes of a scenario end at the same few.
class Oracle {
 public:
  /// `times[i]` of commit i + 1. The reference is good until the next call.
  const testing::ReferenceModel& After(const Expected& expected, uint64_t commits,
                                       std::optional<SystemTime> newest_time);

 private:
  std::vector<testing::ReferenceModel> models_;
  std::vector<std::shared_ptr<const CommitState>> commits_;
  testing::ReferenceModel last_;
};

struct ScenarioOptions {
  DatabaseOptions database;
  bool inline_executor = false;  ///< Background work runs at once instead of at Background().
};

/// Small pages and files; kAlways; nothing happens by itself.
DatabaseOptions SmallOptions();

/// Opens the database that lies on `files`.
struct Opened {
  std::unique_ptr<Database> db;
  std::shared_ptr<base::ManualExecutor> manual;  ///< Null with an inline one.
};
Result<Opened> OpenDatabase(const std::shared_ptr<SimFileSystem>& files, base::Clock* clock,
                            const ScenarioOptions& options, uint64_t seed);

/// Compares everything (see above) without changing anything.
/// `torn_log`: a call has failed, so the log may end in what it left there.
Result<Recovered> VerifyContents(Database* db, const Expected& expected, Oracle* oracle,
                                 uint64_t seed, bool torn_log = false);
/// Only what depends on `expected`: for contents that were verified before.
Status VerifyBounds(const Recovered& recovered, const Expected& expected);
/// Writes on, crashes once more, verifies again. `files` is the file system `opened` lies on; both
/// are used up.
Status VerifyGoesOn(Opened opened, std::shared_ptr<SimFileSystem> files, base::Clock* clock,
                    const ScenarioOptions& options, const Expected& expected,
                    const Recovered& recovered, Oracle* oracle, uint64_t seed);

struct Row {
  int64_t id = 0;
  std::string note;
};
using Rows = std::vector<Row>;

/// The world of one scenario. A call that fails without a failure having been injected ends the
/// script with its error.
class World {
 public:
  World(ScenarioOptions options, uint64_t seed);
  ~World();

  base::ManualClock& clock() { return clock_; }
  const std::shared_ptr<SimFileSystem>& files() const { return files_; }
  Database* db() { return opened_.db.get(); }
  const ScenarioOptions& options() const { return options_; }
  ExpectedPtr expected() const { return expected_; }
  /// Called when the machine was exchanged for its crash clone, to hook the new file system.
  void OnNewFiles(std::function<void(SimFileSystem*)> callback) { on_files_ = std::move(callback); }
  /// From now on errors are taken as injected: see Outcome.
  void TolerateFailures(bool tolerate) { tolerate_ = tolerate; }
  uint64_t failures_met() const { return failures_met_; }
  uint64_t stops_met() const { return stops_met_; }

  // The script. Every call moves the clock by a millisecond.
  Status Open();
  Status Close();
  Status Reopen();
  /// The machine stops here, and the script goes on after recovery.
  Status CrashAndReopen(SimDamage damage);
  Status CreateTable(const std::string& name, bool keyed = true);
  Status DropTable(const std::string& name);
  Status RenameTable(const std::string& name, const std::string& to);
  Status AddColumn(const std::string& table, Column column);
  Status DropColumn(const std::string& table, const std::string& column);
  Status RenameColumn(const std::string& table, const std::string& column, const std::string& to);
  Status WidenColumn(const std::string& table, const std::string& column);
  Status Put(const std::string& table, const Rows& rows, ValidInterval valid = {});
  Status Delete(const std::string& table, const Rows& rows, ValidInterval valid = {});
  Status PutDocument(const std::string& key, const std::string& document, ValidInterval valid = {});
  Status DeleteDocument(const std::string& key, ValidInterval valid = {});

  /// Several writes, and changes of tables between them, in one commit.
  class Writes {
   public:
    Writes& CreateTable(std::string table, bool keyed = true);
    Writes& DropTable(std::string table);
    Writes& RenameTable(std::string table, std::string to);
    Writes& AddColumn(std::string table, Column column);
    Writes& RenameColumn(std::string table, std::string column, std::string to);
    Writes& Put(std::string table, Rows rows, ValidInterval valid = {});
    Writes& Delete(std::string table, Rows rows, ValidInterval valid = {});
    Writes& PutDocument(std::string key, std::string document, ValidInterval valid = {});
    Writes& DeleteDocument(std::string key, ValidInterval valid = {});

   private:
    friend class World;
    struct Write {
      bool document = false;
      bool put = false;
      std::string table;
      Rows rows;
      ValidInterval valid;
      /// Set: a change of the table instead. The first has it in the transaction, the other in the
      /// catalogue, false where a table or column that it needs is not there.
      std::function<Status(Transaction&)> change = {};
      std::function<bool(CatalogState*, int* next_uid)> expect = {};
    };
    Writes& Change(std::string table, std::function<Status(Transaction&)> change,
                   std::function<bool(CatalogState*, int*)> expect);
    std::vector<Write> writes_;
  };
  Status Commit(const Writes& writes, TransactionOptions options = {});

  Status EraseKey(const std::string& table, int64_t id);
  Status EraseDocument(const std::string& key);
  /// Gives up history before the time of commit `commit` (1, 2, 3 …).
  Status TrimHistory(const std::string& table, uint64_t commit);
  Status CreateCheckpoint(const std::string& name);
  Status DropCheckpoint(const std::string& name);
  Status Flush();
  Status Compact();
  Status CollectGarbage();
  Status Sync();
  /// Moves the clock and runs what is due.
  Status Background(int64_t micros = 60'000);
  /// Reads everything and compares.
  Status Read();

  size_t commit_count() const { return expected_->commits.size(); }

 private:
  enum class Kind { kPlain, kCommit, kCatalog, kCompound };
  Status Step(const char* what, Kind kind, std::shared_ptr<CommitState> commit,
              std::optional<CatalogState> next, const std::function<Status()>& call);
  Status ChangeCatalog(const char* what, const std::function<void(CatalogState*)>& change,
                       const std::function<Status()>& call);
  Status Outcome(const char* what, Kind kind, const Status& status);
  /// Opens, then takes over what is there.
  Status OpenAndSettle();
  void Update(const std::function<void(Expected*)>& change);
  void NoteDurable();
  static Result<std::shared_ptr<arrow::RecordBatch>> Batch(const TableState& state,
                                                           const Rows& rows,
                                                           std::vector<std::string>* values);

  const ScenarioOptions options_;
  base::Random random_;
  base::ManualClock clock_;
  std::shared_ptr<SimFileSystem> files_;
  Opened opened_;
  ExpectedPtr expected_;
  Oracle oracle_;
  std::function<void(SimFileSystem*)> on_files_;
  bool tolerate_ = false;
  uint64_t failures_met_ = 0;
  uint64_t stops_met_ = 0;
  int next_uid_ = 0;
  CommitResult last_result_;
};

struct Scenario {
  const char* name;
  std::function<ScenarioOptions()> options;
  std::function<Status(World&)> script;
};
/// All of them; the order and the names are part of how a place is named.
const std::vector<Scenario>& Scenarios();

/// A number out of the environment.
uint64_t FromEnvironment(const char* name, uint64_t otherwise);
/// Whether one failure is enough: --gtest_fail_fast.
bool StopsAtFirstFailure();
/// Runs `work(i)` for i in [0, n) on as many threads as there are processors.
void OnAllProcessors(size_t n, const std::function<void(size_t)>& work);

}  // namespace lamina::simulation
