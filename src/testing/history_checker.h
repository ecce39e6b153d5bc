// Judges what concurrent transactions saw, without knowing how the database works: a checker of
// list-append histories.
//
// Every transaction reads whole lists and appends elements that are unique over the history. A list
// that was read tells the order in which its elements were appended, so the dependencies between
// transactions follow from the reads alone:
//   write-write   the next element of the list is the other transaction's;
//   write-read    the other transaction read a list that ends in ours;
//   read-write    the other transaction appended what comes right after the list we read.
// A history is serializable when these edges have no cycle, strictly serializable when they have
// none together with real time (one ended before the other began).
//
// It verifies what the reads show. An element that no committed transaction ever read has no place
// in the order: end a history with a read of every list.
//
// Source: Adya, "Weak Consistency", 1999 (names of the anomalies); Kingsbury, Alvaro, "Elle:
// Inferring Isolation Anomalies from Experimental Observations", VLDB 2020.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace lamina::testing {

struct ListOperation {
  enum class Kind : uint8_t { kAppend, kRead };
  Kind kind = Kind::kRead;
  int64_t key = 0;
  int64_t element = 0;        ///< Of an append: unique over the history.
  std::vector<int64_t> list;  ///< Of a read: what was seen, the transaction's own appends too.

  static ListOperation Append(int64_t key, int64_t element) {
    return {Kind::kAppend, key, element, {}};
  }
  static ListOperation Read(int64_t key, std::vector<int64_t> list) {
    return {Kind::kRead, key, 0, std::move(list)};
  }
};

struct ListTransaction {
  enum class Outcome : uint8_t {
    kCommitted,
    kAborted,  ///< For certain: nothing of it may ever be seen.
    kUnknown,  ///< Counts as committed when something of it was seen, else as never begun.
  };
  int64_t id = 0;  ///< For messages.
  /// Any rising clock: a transaction that ended at or before another one's begin comes before it.
  int64_t begin = 0;
  int64_t end = 0;
  Outcome outcome = Outcome::kCommitted;
  std::vector<ListOperation> operations;
};

enum class AnomalyKind : uint8_t {
  kGarbageRead,        ///< A list holds what nobody appended.
  kDuplicate,          ///< A list holds an element twice, or two transactions appended it.
  kInternal,           ///< A transaction does not see its own appends, or two of its reads differ.
  kIncompatibleOrder,  ///< Two reads of a list of which neither begins with the other.
  kAbortedRead,        ///< G1a.
  kIntermediateRead,   ///< G1b: a state inside another transaction.
  kWriteCycle,         ///< G0: write-write only.
  kCircularInformation,  ///< G1c: write-write and write-read.
  kLostUpdate,           ///< A cycle on one key: both read the same list, both appended to it.
  kReadSkew,             ///< G-single: exactly one read-write edge.
  kWriteSkew,            ///< G2-item: two read-write edges or more.
  kLostAppend,           ///< A read that began after a committed append ended does not show it.
  kStaleRead,            ///< A cycle that needs a real-time edge, with one read-write edge at most.
  kRealTimeCycle,        ///< A cycle that needs a real-time edge, with more.
};
/// "G-single (read skew)", …
const char* AnomalyName(AnomalyKind kind);

struct Anomaly {
  AnomalyKind kind;
  std::vector<int64_t> transactions;  ///< Ids; of a cycle in its order.
  std::string text;                   ///< One line: what, where, by which edges.
};

/// What the database promises.
enum class Consistency : uint8_t {
  kStrictSerializable,
  kSerializable,  ///< Without real time.
  kSnapshot,      ///< Write skew is allowed (a cycle with two read-write edges or more).
};

/// Empty when the history keeps the promise. Finds one cycle of each kind in each knot of the
/// graph, not every one.
std::vector<Anomaly> CheckListHistory(const std::vector<ListTransaction>& history,
                                      Consistency promised);

/// One anomaly a line.
std::string Print(const std::vector<Anomaly>& anomalies);

}  // namespace lamina::testing
