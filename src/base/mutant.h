// Deliberate bugs for a test build, which prove that the tests would catch them (tests/mutants).
#pragma once

/// A bug that can be switched on: LAMINA_MUTANT("wal.sync.skipped") is the constant false, and
/// leaves nothing behind, unless the file is compiled with LAMINA_MUTANTS; then it is true while
/// the environment variable LAMINA_MUTANT holds that name. `name` is a string literal, used once,
/// in a .cc file of src/, and a row of the table in tests/mutants/mutants.py.
#ifndef LAMINA_MUTANTS
#define LAMINA_MUTANT(name) false
#else

#include <atomic>

#include "base/check.h"

#define LAMINA_MUTANT(name) \
  ::lamina::base::internal::MutantSite<::lamina::base::internal::ProbeName(name)>::mutant.On()

namespace lamina::base::internal {

/// One mutant; registers itself at program start, stays for ever. With LAMINA_MUTANT_LIST set the
/// program prints "mutant linked: <name>" for each when it ends.
class Mutant {
 public:
  explicit Mutant(const char* name);
  bool On() {
    if (!chosen_) return false;
    // relaxed: a statistic, orders nothing
    if (hits_.fetch_add(1, std::memory_order_relaxed) == 0) Announce();
    return true;
  }
  const char* name() const { return name_; }

 private:
  /// Prints "mutant reached: <name>" to stderr: at once, as the process may not live long.
  void Announce() const;

  const char* name_;
  bool chosen_;
  std::atomic<uint64_t> hits_{0};
};

template <ProbeName kName>
struct MutantSite {
  static inline Mutant mutant{kName.text};
};

}  // namespace lamina::base::internal

#endif
