// What a bitemporal database must answer, written down as slowly and plainly as possible. Engine
// tests compare with it.
//
// It keeps every fact in a list and answers a point by walking that list backwards: the newest fact
// that covers the point wins. Row versions come from a second, separate rule: facts applied one by
// one to a vector of rectangles. Neither uses src/temporal/resolve.cc, and the model's own test
// holds the two against each other.
//
// What it does not model: branches, transactions and conflicts, schemas (a row is an opaque text),
// durability, and when trimmed history really goes. Apply what was acknowledged, in commit order.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lamina/time.h"
#include "temporal/resolve.h"

namespace lamina::testing {

/// One statement of a commit: what `key` (encoded, compared bytewise) of `table` says in `valid`.
struct ModelWrite {
  std::string table;
  std::string key;
  temporal::FactKind kind = temporal::FactKind::kPut;
  ValidInterval valid;
  std::string value;  ///< Of a put.
};

/// A rectangle of the plane in which `key` has `value`.
struct ModelRow {
  std::string key;
  ValidInterval valid;
  SystemInterval system;
  CommitId commit;
  std::string value;
  friend bool operator==(const ModelRow&, const ModelRow&) = default;
};

/// Keys [from, to); without `to` there is no upper end. The default is every key.
struct ModelKeyRange {
  std::string from;
  std::optional<std::string> to;
  bool Contains(const std::string& key) const { return from <= key && (!to || key < *to); }
};

struct ModelPoint {
  SystemTime system;
  ValidTime valid;
};

using ModelKeyValues = std::vector<std::pair<std::string, std::string>>;

/// Not thread-safe.
class ReferenceModel {
 public:
  /// Takes the writes of one commit, in statement order. `commit` and `system` must be above those
  /// of the commit before. An erase takes all that was said about its key so far, for every system
  /// time; puts and deletes with an empty interval say nothing.
  void Apply(CommitId commit, SystemTime system, const std::vector<ModelWrite>& writes);

  /// History of `table` below `floor` may not be asked for any more. A floor never moves back.
  void SetHistoryFloor(const std::string& table, SystemTime floor);
  /// Min where none was set.
  SystemTime HistoryFloor(const std::string& table) const;
  /// Whether a read may look at system time `s`; the database answers kHistoryTrimmed where it may
  /// not, and the queries below must not be asked.
  bool Answers(const std::string& table, SystemTime s) const { return HistoryFloor(table) <= s; }

  /// The value of `key` at one point of the plane.
  std::optional<std::string> Get(const std::string& table, const std::string& key, SystemTime s,
                                 ValidTime v) const;

  /// Keys of `range` with their values at one point of the plane, ascending by key.
  ModelKeyValues Scan(const std::string& table, const ModelKeyRange& range, SystemTime s,
                      ValidTime v) const;

  /// One Scan for each point.
  std::vector<ModelKeyValues> ScanPoints(const std::string& table, const ModelKeyRange& range,
                                         const std::vector<ModelPoint>& points) const;

  /// The exact row versions that meet `window`, sorted by (key, valid.from, system.from). Commits
  /// above `newest` are not known: with the time of an older snapshot these are the rows as that
  /// snapshot shows them, those that ended later open.
  std::vector<ModelRow> ScanWindow(const std::string& table, const ModelKeyRange& range,
                                   const temporal::Window& window,
                                   SystemTime newest = SystemTime::Max()) const;

  /// Coordinates at which an answer about `table` may change, on each axis, with Min first. Between
  /// two neighbours every answer stays the same, so these stand for the whole plane. What was
  /// erased counts as well.
  std::vector<SystemTime> SystemBoundaries(const std::string& table) const;
  std::vector<ValidTime> ValidBoundaries(const std::string& table) const;

  /// Every pair of the boundaries at or above the history floor: one point in each cell of the
  /// plane.
  std::vector<ModelPoint> AllPoints(const std::string& table) const;

  /// Names of the tables that were ever written, ascending.
  std::vector<std::string> Tables() const;

  CommitId newest_commit() const { return newest_commit_; }  ///< 0 before the first.
  SystemTime newest_time() const { return newest_time_; }    ///< Min before the first.

 private:
  struct Fact {
    bool is_put = false;
    ValidInterval valid;
    SystemTime system;
    CommitId commit;
    std::string value;
  };
  struct Table {
    // By key, in the order in which they were said.
    std::map<std::string, std::vector<Fact>> facts;
    std::set<SystemTime> system_boundaries{SystemTime::Min()};
    std::set<ValidTime> valid_boundaries{ValidTime::Min()};
    SystemTime floor = SystemTime::Min();
  };

  // An empty table where nothing was written under the name.
  const Table& Find(const std::string& table) const;
  static std::optional<std::string> NewestCovering(const std::vector<Fact>& facts, SystemTime s,
                                                   ValidTime v);
  static std::vector<ModelRow> Rectangles(const std::string& key, const std::vector<Fact>& facts,
                                          SystemTime newest);

  std::map<std::string, Table> tables_;
  CommitId newest_commit_{0};
  SystemTime newest_time_ = SystemTime::Min();
};

/// Joins neighbours in valid time that have the same key, value, commit and system period, and
/// sorts as ScanWindow does. Two databases that cut one commit's overlaps at different places have
/// different rows, but the same after this.
std::vector<ModelRow> Coalesce(std::vector<ModelRow> rows);

/// The same for the rows of one key, where the payload stands for the value.
std::vector<temporal::RowVersion> Coalesce(std::vector<temporal::RowVersion> rows);

/// One line a row, for failure messages: `key [valid) [system) #commit = value`, times as plain
/// numbers, "-"/"+" for the ends.
std::string Print(const std::vector<ModelRow>& rows);

}  // namespace lamina::testing
