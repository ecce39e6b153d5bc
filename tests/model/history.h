// One random history through the public interface, compared with the brute-force model as it goes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "lamina/database.h"
#include "storage/object_store/memory_store.h"
#include "testing/reference_model.h"

namespace lamina::model {

inline constexpr char kTable[] = "t";
inline constexpr char kDocuments[] = "documents";

/// A value column that comes and goes. Its values derive from the row's key and text, so a mix-up
/// of columns, rows or schema versions shows.
struct Extra {
  int64_t id = 0;  ///< Never used twice, though names are.
  std::string name;
  bool floating = false;
  bool wide = false;
};

/// The table's columns at one moment: id, a text, a list, and the extras.
struct Shape {
  std::string text = "note";
  bool text_wide = false;
  std::vector<Extra> extras;
  int64_t generation = 0;  ///< Which extras exist; part of every text, so that a row tells its own.
  std::shared_ptr<arrow::Schema> schema;  ///< Of all that: made anew by every change.
};

class History {
 public:
  /// `jitter`: random sleeps before calls of the store, on top of those that a seed asks for.
  History(uint64_t seed, bool jitter);
  ~History();

  /// Not OK at the first difference.
  Status Run();
  /// What was done, one step a line.
  const std::string& log() const { return log_; }

 private:
  struct Held {
    SnapshotPtr snapshot;
    Shape shape;
    ValidTime valid;
    testing::ModelKeyValues rows;
  };
  /// The rows of one statement.
  using Rows = std::vector<std::pair<int64_t, std::string>>;
  /// What one transaction did, for the model.
  struct Done {
    CommitResult result;
    std::vector<testing::ModelWrite> writes;
  };
  /// Source of one thread's random writes.
  struct Writer {
    base::Random random;
    std::string tag;  ///< Makes its values unlike those of others.
    int64_t first_key = 0, step = 1, keys = 6;
    uint64_t values = 0;
  };

  // Steps.
  Status Open();
  Status Reopen();
  Status Crash();
  Status Step();
  Status CommitStep();
  Status InsertStep();
  Status LoadStep();
  Status RaceStep();
  Status StormStep();
  Status SchemaStep();
  Status CompactStep();
  Status CheckpointStep();
  Status EraseStep();
  Status TrimStep();
  Status HoldStep();

  // Writing.
  static ValidInterval RandomInterval(base::Random* random);
  static int64_t RandomKey(Writer* writer);
  std::string NextValue(Writer* writer) const;
  Status WriteSomething(Writer* writer, Transaction* transaction,
                        std::vector<testing::ModelWrite>* writes) const;
  std::shared_ptr<arrow::RecordBatch> MakeRows(const Rows& rows) const;
  void Apply(Done done);
  /// Everything committed so far is synced or in files.
  void NoteDurable() { durable_ = model_.newest_commit(); }

  // Reading.
  Result<std::string> RowText(const Shape& shape, const arrow::RecordBatch& batch, int64_t row,
                              int64_t* key) const;
  Result<testing::ModelKeyValues> ReadRows(const Shape& shape, ScanReader& reader) const;
  Result<std::vector<testing::ModelRow>> ReadVersions(const std::string& table, SystemPeriod system,
                                                      ValidPeriod valid,
                                                      const SnapshotPtr& snapshot = nullptr,
                                                      int64_t from = 0, int64_t to = 6);
  Result<std::shared_ptr<ScanReader>> ScanAt(const std::string& table,
                                             const testing::ModelPoint& point) const;
  /// All that may be asked for: everything, or what lies above the history floor.
  SystemPeriod WholeHistory(const std::string& table) const;

  // Comparing.
  Status CompareAll(bool scan_every_point);
  Status CompareCatalog();
  Status CompareHeld();
  Status ComparePoint(const std::string& table, const testing::ModelPoint& point);
  Status CompareVersions(const std::string& table, const std::vector<testing::ModelPoint>& points);
  Status CompareWindow();
  Status CompareSnapshotAt();
  Status CompareOwnWrites(Transaction* transaction, const std::vector<testing::ModelWrite>& writes);
  /// Nothing may have gone wrong where only counters tell: compaction's law is among it.
  Status CheckBackground();

  void Log(const std::string& line) { log_ += line + "\n"; }

  base::Random random_;
  Writer writer_;
  const uint64_t seed_;
  const bool jitter_;
  std::shared_ptr<storage::MemoryStore> memory_;
  std::shared_ptr<ObjectStore> store_;  // the same, perhaps with latencies
  std::unique_ptr<Database> db_;
  DatabaseOptions options_;
  testing::ReferenceModel model_;
  std::vector<Done> done_;         // commit i + 1
  std::vector<SystemTime> times_;  // of commit i + 1
  CommitId durable_;               // a crash may lose what came after
  Shape shape_;
  std::vector<std::set<int64_t>> generations_;  // ids of the extras that rows of each have
  std::map<std::string, CommitId> checkpoints_;
  std::optional<Held> held_;
  int64_t extras_made_ = 0;
  int storms_ = 0;
  std::string log_;
};

}  // namespace lamina::model
