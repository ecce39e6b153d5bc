// The two times of a fact and the commit number: distinct types, so that they cannot be swapped by
// mistake.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "lamina/error.h"

namespace lamina {

/// Microseconds since 1970-01-01 00:00 UTC on the system-time axis (when the database learned it).
/// The value of a commit's system time lies strictly inside (Min, Max); Max reads as "infinity"
/// (not ended yet).
struct SystemTime {
  int64_t micros = 0;
  static constexpr SystemTime Min() { return {std::numeric_limits<int64_t>::min()}; }
  static constexpr SystemTime Max() { return {std::numeric_limits<int64_t>::max()}; }
  friend constexpr auto operator<=>(SystemTime, SystemTime) = default;
};

/// Microseconds since 1970-01-01 00:00 UTC on the valid-time axis (when it is true in the world).
/// Min and Max are the open ends ("-infinity", "infinity").
struct ValidTime {
  int64_t micros = 0;
  static constexpr ValidTime Min() { return {std::numeric_limits<int64_t>::min()}; }
  static constexpr ValidTime Max() { return {std::numeric_limits<int64_t>::max()}; }
  friend constexpr auto operator<=>(ValidTime, ValidTime) = default;
};

/// A commit's place in the one global order: dense, 1, 2, 3 … over all tables. 0 is "before the
/// first commit".
struct CommitId {
  uint64_t value = 0;
  friend constexpr auto operator<=>(CommitId, CommitId) = default;
};

/// Half-open [from, to). Empty when from >= to.
struct ValidInterval {
  ValidTime from = ValidTime::Min();
  ValidTime to = ValidTime::Max();
  constexpr bool empty() const { return from >= to; }
  constexpr bool Contains(ValidTime t) const { return from <= t && t < to; }
  constexpr bool Overlaps(const ValidInterval& o) const { return from < o.to && o.from < to; }
  constexpr bool all() const { return from == ValidTime::Min() && to == ValidTime::Max(); }
  friend constexpr bool operator==(const ValidInterval&, const ValidInterval&) = default;
};

/// Half-open [from, to). Empty when from >= to.
struct SystemInterval {
  SystemTime from = SystemTime::Min();
  SystemTime to = SystemTime::Max();
  constexpr bool empty() const { return from >= to; }
  constexpr bool Contains(SystemTime t) const { return from <= t && t < to; }
  constexpr bool Overlaps(const SystemInterval& o) const { return from < o.to && o.from < to; }
  friend constexpr bool operator==(const SystemInterval&, const SystemInterval&) = default;
};

/// "2013-02-08 17:00:00.000000Z"-style text; "infinity" and "-infinity" for the open ends.
std::string FormatTimestamp(int64_t micros);
inline std::string Format(SystemTime t) { return FormatTimestamp(t.micros); }
inline std::string Format(ValidTime t) { return FormatTimestamp(t.micros); }

/// Parses ISO 8601 ("2013-02-08", "2013-02-08 17:00", "2013-02-08T17:00:00.25Z", "+01:00" offsets),
/// "infinity", "-infinity", or a plain integer of microseconds. Text without a zone is UTC.
/// kInvalidArgument names the text.
Result<int64_t> ParseTimestamp(std::string_view text);

/// Which moments of system time a read asks for. Range forms return every row version whose system
/// period meets the range.
class SystemPeriod {
 public:
  enum class Kind { kLatest, kAsOfCommit, kAsOfTime, kRange, kAll };

  SystemPeriod() = default;  ///< The newest commit the snapshot sees.
  static SystemPeriod Latest() { return {}; }
  static SystemPeriod AsOf(CommitId commit) {
    return SystemPeriod(Kind::kAsOfCommit, static_cast<int64_t>(commit.value), 0);
  }
  static SystemPeriod AsOf(SystemTime time) {
    return SystemPeriod(Kind::kAsOfTime, time.micros, 0);
  }
  static SystemPeriod FromTo(SystemTime from, SystemTime to) {
    return SystemPeriod(Kind::kRange, from.micros, to.micros);
  }
  /// Both ends included.
  static SystemPeriod Between(SystemTime from, SystemTime last) {
    return SystemPeriod(Kind::kRange, from.micros,
                        last == SystemTime::Max() ? last.micros : last.micros + 1);
  }
  static SystemPeriod All() { return SystemPeriod(Kind::kAll, 0, 0); }

  Kind kind() const { return kind_; }
  CommitId commit() const { return {static_cast<uint64_t>(from_)}; }  ///< kAsOfCommit only.
  SystemTime from() const { return {from_}; }  ///< kAsOfTime (the moment) and kRange.
  SystemTime to() const { return {to_}; }      ///< kRange only; excluded.

 private:
  SystemPeriod(Kind kind, int64_t from, int64_t to) : kind_(kind), from_(from), to_(to) {}
  Kind kind_ = Kind::kLatest;
  int64_t from_ = 0;
  int64_t to_ = 0;
};

/// Which moments of valid time a read asks for. Range forms return every row version whose valid
/// period meets the range.
class ValidPeriod {
 public:
  enum class Kind { kNow, kAt, kRange, kAll };

  ValidPeriod() = default;  ///< Valid now (the transaction's or the call's start).
  static ValidPeriod Now() { return {}; }
  static ValidPeriod At(ValidTime time) { return ValidPeriod(Kind::kAt, time, time); }
  static ValidPeriod FromTo(ValidTime from, ValidTime to) {
    return ValidPeriod(Kind::kRange, from, to);
  }
  /// Both ends included.
  static ValidPeriod Between(ValidTime from, ValidTime last) {
    return ValidPeriod(Kind::kRange, from,
                       last == ValidTime::Max() ? last : ValidTime{last.micros + 1});
  }
  static ValidPeriod All() { return ValidPeriod(Kind::kAll, ValidTime::Min(), ValidTime::Max()); }

  Kind kind() const { return kind_; }
  ValidTime from() const { return from_; }  ///< kAt (the moment) and kRange.
  ValidTime to() const { return to_; }      ///< kRange only; excluded.

 private:
  ValidPeriod(Kind kind, ValidTime from, ValidTime to) : kind_(kind), from_(from), to_(to) {}
  Kind kind_ = Kind::kNow;
  ValidTime from_;
  ValidTime to_;
};

}  // namespace lamina
