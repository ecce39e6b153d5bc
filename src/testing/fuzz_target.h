// One definition of a fuzz target, two ways to run it: libFuzzer, and a replay of the seeds among
// the ordinary tests (tests/fuzz/), so that a target can neither stop compiling nor fail on a known
// input unseen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lamina::testing {

/// As libFuzzer has it: takes any bytes, returns 0, stops the process when they show a bug.
using FuzzFunction = int (*)(const uint8_t* data, size_t size);

struct FuzzTarget {
  const char* name;  ///< Of its file, without the extension; also the folder of its seeds.
  FuzzFunction run;
};

/// All that are linked into the program, in no particular order.
inline std::vector<FuzzTarget>& FuzzTargets() {
  static std::vector<FuzzTarget> targets;
  return targets;
}

inline bool AddFuzzTarget(const char* name, FuzzFunction run) {
  FuzzTargets().push_back({name, run});
  return true;
}

}  // namespace lamina::testing

/// LAMINA_FUZZ_TARGET(key_codec_fuzz)(const uint8_t* data, size_t size) { … return 0; }
/// Once in the file of that name, at namespace scope.
#ifdef LAMINA_FUZZ
#define LAMINA_FUZZ_TARGET(name) extern "C" int LLVMFuzzerTestOneInput
#else
#define LAMINA_FUZZ_TARGET(name)                             \
  static int Fuzz_##name(const uint8_t* data, size_t size);  \
  [[maybe_unused]] static const bool fuzz_target_##name =    \
      ::lamina::testing::AddFuzzTarget(#name, &Fuzz_##name); \
  static int Fuzz_##name
#endif
