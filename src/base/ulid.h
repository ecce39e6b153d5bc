// ULIDs: 128-bit names that sort by the moment they were minted.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/random.h"
#include "lamina/error.h"

namespace lamina::base {

/// 48 bits of milliseconds since 1970 and 80 random bits, big-endian, so byte order, text order and
/// mint order agree. Source: github.com/ulid/spec.
struct Ulid {
  std::array<uint8_t, 16> bytes{};

  static constexpr Ulid Min() { return {}; }
  static constexpr Ulid Max() {
    Ulid ulid;
    ulid.bytes.fill(0xff);
    return ulid;
  }

  bool is_zero() const { return *this == Ulid{}; }
  int64_t timestamp_ms() const;
  /// 26 characters of Crockford's base 32, upper case.
  std::string ToString() const;
  /// Takes 26 characters, either case. kInvalidArgument otherwise, also above "7ZZZ…" (more than
  /// 128 bits).
  static Result<Ulid> Parse(std::string_view text);
  /// The 16 raw bytes, as stored in files; FromBytes takes exactly 16 (kInvalidArgument otherwise).
  std::string_view AsBytes() const {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  static Result<Ulid> FromBytes(std::string_view raw);

  friend constexpr auto operator<=>(const Ulid&, const Ulid&) = default;
};

/// Mints ULIDs in strictly ascending order: inside one millisecond, when the clock steps back, and
/// above every floor given to Restore. Thread-safe; uses `random` under its own lock, so nobody
/// else may use that Random.
class UlidGenerator {
 public:
  /// Borrows both.
  UlidGenerator(Clock* clock, Random* random) : clock_(clock), random_(random) {}

  Ulid Next() LAMINA_EXCLUDES(mu_);
  /// No later Next() is at or below `floor` (the greatest ULID seen in a database being opened).
  void Restore(const Ulid& floor) LAMINA_EXCLUDES(mu_);
  /// The last one minted or restored; zero at first.
  Ulid last() const LAMINA_EXCLUDES(mu_);

 private:
  Clock* const clock_;
  Random* const random_;
  mutable Mutex mu_;
  Ulid last_ LAMINA_GUARDED_BY(mu_);
};

}  // namespace lamina::base

template <>
struct std::hash<lamina::base::Ulid> {
  size_t operator()(const lamina::base::Ulid& ulid) const noexcept {
    uint64_t high = 0;
    uint64_t low = 0;
    std::memcpy(&high, ulid.bytes.data(), 8);
    std::memcpy(&low, ulid.bytes.data() + 8, 8);
    // The high half is mostly time; multiply so that ULIDs of one millisecond spread.
    return (high * 0x9E3779B97F4A7C15ull) ^ (low * 0xC2B2AE3D27D4EB4Full) ^ (low >> 29);
  }
};
