// Assertions for bugs, probes for rare branches, and named places where a test can make a call
// fail.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lamina/error.h"

/// Stops the process with file, line and the condition when `cond` is false. Always on. For bugs
/// only: bytes from disk, network or user are validated and answered with an error value before
/// they can reach a check.
#define LAMINA_CHECK(cond)                      \
  (__builtin_expect(static_cast<bool>(cond), 1) \
       ? static_cast<void>(0)                   \
       : ::lamina::base::CheckFailed(__FILE__, __LINE__, #cond, std::string_view{}))

/// Same, with a message (anything a std::string_view can be made from; built only on failure).
#define LAMINA_CHECK_MSG(cond, msg)             \
  (__builtin_expect(static_cast<bool>(cond), 1) \
       ? static_cast<void>(0)                   \
       : ::lamina::base::CheckFailed(__FILE__, __LINE__, #cond, (msg)))

/// Checks in debug (no NDEBUG), sanitizer and LAMINA_INVARIANTS builds; elsewhere compiled but
/// never evaluated.
#if !defined(NDEBUG) || defined(LAMINA_INVARIANTS) || defined(__SANITIZE_ADDRESS__) || \
    defined(__SANITIZE_THREAD__)
#define LAMINA_DCHECK(cond) LAMINA_CHECK(cond)
#else
#define LAMINA_DCHECK(cond) \
  do {                      \
    if (false) {            \
      LAMINA_CHECK(cond);   \
    }                       \
  } while (false)
#endif

/// Marks a branch that tests should reach: LAMINA_REACHED("wal.replay.torn_tail"). `name` is a
/// string literal. Costs one relaxed atomic add. Names in linked code are listed by ReachedProbes()
/// with 0 even if never reached.
#define LAMINA_REACHED(name) \
  ::lamina::base::internal::ProbeSite<::lamina::base::internal::ProbeName(name)>::probe.Hit()

/// Inside a function that returns Status or Result<T>: returns the armed Status when a test armed
/// `name`. Costs one relaxed atomic load while nothing is armed.
#define LAMINA_FAULT_POINT(name)                                               \
  do {                                                                         \
    if (__builtin_expect(::lamina::base::FaultsArmed(), 0)) {                  \
      if (::lamina::Status lamina_fault = ::lamina::base::HitFaultPoint(name); \
          !lamina_fault.ok()) {                                                \
        return lamina_fault;                                                   \
      }                                                                        \
    }                                                                          \
  } while (false)

namespace lamina::base {

/// Prints to stderr and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              std::string_view message);

/// Every probe linked into the program with its number of hits since start (or ResetProbes),
/// ascending by name.
std::vector<std::pair<std::string, uint64_t>> ReachedProbes();
/// Hits of one probe; 0 for an unknown name.
uint64_t ReachedCount(std::string_view name);
void ResetProbes();

/// Lets the next `after_n_hits` hits of fault point `name` pass, then makes every later one return
/// `status` until disarmed. Arming a name again replaces it. For tests; process-wide; thread-safe.
void ArmFault(std::string name, Status status, uint64_t after_n_hits = 0);
/// Disarms one name, or all.
void DisarmFault(std::string_view name);
void DisarmFaults();

namespace internal {

extern std::atomic<int> armed_faults;

/// One named branch; registers itself at program start, stays for ever.
class Probe {
 public:
  explicit Probe(const char* name);
  void Hit() {
    hits_.fetch_add(1, std::memory_order_relaxed);
  }  // relaxed: a statistic, orders nothing
  uint64_t hits() const { return hits_.load(std::memory_order_relaxed); }
  void Reset() { hits_.store(0, std::memory_order_relaxed); }
  const char* name() const { return name_; }

 private:
  const char* name_;
  std::atomic<uint64_t> hits_{0};
};

/// A string literal as a template argument, so that one name is one Probe over all translation
/// units.
template <size_t N>
struct ProbeName {
  // NOLINTNEXTLINE(google-explicit-constructor)
  constexpr ProbeName(const char (&literal)[N]) { std::copy_n(literal, N, text); }
  char text[N] = {};
};

template <ProbeName kName>
struct ProbeSite {
  static inline Probe probe{kName.text};
};

}  // namespace internal

inline bool FaultsArmed() { return internal::armed_faults.load(std::memory_order_relaxed) != 0; }
/// The armed Status if `name` is armed and its passes are used up, else OK.
Status HitFaultPoint(std::string_view name);

}  // namespace lamina::base
