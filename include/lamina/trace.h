// What happened, as structured events, for whoever wants to listen. Passed in by
// DatabaseOptions::trace; there is no global sink.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

namespace lamina {

/// One fact of an event. Borrows text for the call.
struct TraceField {
  using Value = std::variant<int64_t, uint64_t, double, bool, std::string_view>;

  template <typename T>
    requires std::integral<T> || std::floating_point<T>
  TraceField(std::string_view k, T v) : key(k), value(Widen(v)) {}
  TraceField(std::string_view k, std::string_view v) : key(k), value(v) {}

  std::string_view key;
  Value value;

 private:
  template <typename T>
  static Value Widen(T v) {
    if constexpr (std::same_as<T, bool>) {
      return v;
    } else if constexpr (std::floating_point<T>) {
      return static_cast<double>(v);
    } else if constexpr (std::unsigned_integral<T>) {
      return static_cast<uint64_t>(v);
    } else {
      return static_cast<int64_t>(v);
    }
  }
};

/// Receives events; called from many threads, must not block long and must not call back into the
/// database.
class TraceSink {
 public:
  virtual ~TraceSink() = default;
  /// `component` is a module ("wal", "engine"), `event` a short name ("flush.finished").
  virtual void Event(std::string_view component, std::string_view event,
                     std::span<const TraceField> fields) = 0;
};

}  // namespace lamina
