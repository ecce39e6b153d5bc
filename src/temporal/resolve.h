// Resolution: turning facts, in commit order, into row versions. Pure: no I/O, no Arrow.
//
// The rule. A key's *open* row versions (system_to = Max) never overlap in valid time. A fact
// learned at system time s that says something about valid [a, b) does this to every open row
// [vf, vt) x [sf, Max) that overlaps [a, b):
//   1. the overlap [max(vf,a), min(vt,b)) is ended at s: it becomes the closed version … x [sf, s);
//   2. what lies left and right of the overlap stays open as pieces with the row's own sf, commit
//      and payload.
// A put then opens [a, b) x [s, Max). A delete opens nothing. An erase removes every version of the
// key, past ones too. Facts of one commit (equal s) never leave an empty version [s, s): the
// earlier one vanishes within the overlap.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lamina/time.h"

namespace lamina::temporal {

enum class FactKind : uint8_t { kPut = 1, kDelete = 2, kErase = 3 };

/// What a write says about one key. `payload` is opaque to resolution (where the columns are).
struct Fact {
  ValidInterval valid;
  SystemTime system;
  CommitId commit;
  FactKind kind = FactKind::kPut;
  uint64_t payload = 0;
};

/// A rectangle valid x system in which one payload is the truth of one key.
struct RowVersion {
  ValidInterval valid;
  SystemInterval system;
  CommitId commit;  ///< The commit that wrote it (at system.from).
  uint64_t payload = 0;
  friend bool operator==(const RowVersion&, const RowVersion&) = default;
};

/// A moment or a range on both axes. A row version is selected when its rectangle meets the window.
/// A moment m is the range [m, m+1).
struct Window {
  SystemInterval system;
  ValidInterval valid;
  /// The one point (s, v). Nothing is ever at Max of either axis, so such a window meets no row.
  static Window At(SystemTime s, ValidTime v);
  bool empty() const { return system.empty() || valid.empty(); }
  /// Must not be asked of an empty window other than those ResolveWindow and At make: an interval
  /// [5, 5) would meet [0, 9).
  bool Meets(const ValidInterval& v, const SystemInterval& s) const {
    return valid.Overlaps(v) && system.Overlaps(s);
  }
};

/// What one settled open row becomes under a list of facts.
enum class Outcome : uint8_t {
  kUntouched,  ///< No fact overlaps it.
  kEnded,      ///< Ended whole at `ended_at` by one fact: only a deletion-vector entry is needed.
  kRewritten,  ///< Replaced by the pieces in `new_rows` with `from_open == true`; there are none
               ///< where a fact of the row's own system time covers it whole, as the row was then
               ///< never visible.
  kErased,     ///< Removed by an erase, with everything else of the key.
};

struct OpenRowResult {
  Outcome outcome = Outcome::kUntouched;
  SystemTime ended_at;  ///< kEnded only.
};

/// A row version to be written. `source` indexes `facts` or, when from_open, `open_rows`.
struct NewRow {
  RowVersion row;
  bool from_open = false;
  uint32_t source = 0;
};

struct Resolution {
  std::vector<OpenRowResult> open;  ///< Parallel to `open_rows`.
  std::vector<NewRow> new_rows;     ///< Sorted by (valid.from, system.from).
  bool erase_history = false;       ///< An erase came: all settled versions of the key must go.
};

/// Applies `facts` (ascending system time; equal system times in statement order) to the open rows
/// of one key. `open_rows` (in any order) must not overlap each other in valid time and must have
/// system.to == Max and a system.from not above that of any fact. Puts and deletes with an empty
/// interval are ignored; an erase takes the whole key, whatever its interval says, and the facts
/// after it start from nothing.
///
/// Deterministic, and independent of where the list of facts is split
/// over several calls: Resolve(f1 ++ f2) and Resolve(f1) then Resolve(f2) give the same set of row
/// versions.
Resolution Resolve(std::span<const RowVersion> open_rows, std::span<const Fact> facts);

/// The same into `*out`, whose former content is dropped and whose capacity is used again: a flush
/// calls it once a key. Allocates nothing further where there is one fact, or where all intervals
/// are equal and at most one row is open. Takes O(r log r) for r rows in and out, however the facts
/// lie.
void Resolve(std::span<const RowVersion> open_rows, std::span<const Fact> facts, Resolution* out);

/// The versions that one settled row (open or closed) still shows under unresolved `facts` of the
/// same key, appended to `out`. A closed row is only touched by an erase. Same cuts as Resolve:
/// used by scans before a flush. What is appended is sorted by (valid.from, system.from).
void Cut(const RowVersion& row, std::span<const Fact> facts, std::vector<RowVersion>* out);

/// The versions that the facts themselves open or have opened (new_rows of Resolve with no open
/// rows, in that order), appended to `out`.
void Versions(std::span<const Fact> facts, std::vector<RowVersion>* out);

}  // namespace lamina::temporal
