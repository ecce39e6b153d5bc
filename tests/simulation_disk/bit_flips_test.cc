// One flipped bit in each byte of every file of a small database.
//
// The database was closed. Every flip is either detected (open, a read or Check() answers with an
// error that names the file) or harmless: every answer is right and Check() has nothing to say. A
// wrong row, a crash or an error without a name is neither. Harmless is only the seal at the log's
// end, which is taken for a torn tail and written anew.
//
// LAMINA_SIM_FILES=text flips only in files whose path has that text in it.
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "world.h"

namespace lamina::simulation {
namespace {

ScenarioOptions Options() {
  ScenarioOptions options{SmallOptions(), false};
  options.database.page_cache_bytes = 0;
  return options;
}

/// Current and history files of two levels, a deletion vector, a log with commits, a base and a ref
/// with edits.
Status Build(World& w) {
  ARROW_RETURN_NOT_OK(w.Open());
  ARROW_RETURN_NOT_OK(w.CreateTable("t"));
  ARROW_RETURN_NOT_OK(w.Put("t", {{1, "one"}, {2, "two"}, {3, "three"}}));
  ARROW_RETURN_NOT_OK(w.PutDocument("k", "document"));
  ARROW_RETURN_NOT_OK(w.Flush());
  ARROW_RETURN_NOT_OK(w.Put("t", {{2, "zwei"}}, {{5}, {9}}));
  ARROW_RETURN_NOT_OK(w.Delete("t", {{3, ""}}));
  ARROW_RETURN_NOT_OK(w.Flush());
  ARROW_RETURN_NOT_OK(w.Put("t", {{4, "four"}}));
  ARROW_RETURN_NOT_OK(w.PutDocument("k", "newer", {{3}, ValidTime::Max()}));
  return w.Close();
}

struct Totals {
  std::atomic<uint64_t> flips{0};
  std::atomic<uint64_t> at_open{0};
  std::atomic<uint64_t> at_read{0};
  std::atomic<uint64_t> at_check{0};
  std::atomic<uint64_t> harmless{0};
};

/// Empty, or what is wrong.
std::string Flip(const World& world, const SimFileSystem& disk, const std::string& path,
                 size_t byte, int bit, Oracle* oracle, Totals* totals, bool* harmless) {
  base::ManualClock clock(
      disk.CrashClone(SimDamage::kNothingLost, 1) != nullptr ? int64_t{1'600'000'000'000'000} : 0);
  const auto files = disk.CrashClone(SimDamage::kNothingLost, 1, &clock);
  files->FlipBit(path, byte, bit);
  ++totals->flips;
  const std::string file = path.substr(path.rfind('/') + 1);
  const auto named = [&](const Status& status) {
    return MessageOf(status).find(file) != std::string::npos;
  };
  auto opened = OpenDatabase(files, &clock, world.options(), 1);
  if (!opened.ok()) {
    if (!named(opened.status())) return "open does not name it: " + opened.status().ToString();
    if (CodeOf(opened.status()) != ErrorCode::kCorruption &&
        CodeOf(opened.status()) != ErrorCode::kUnsupported)
      return "open takes it for something else: " + opened.status().ToString();
    ++totals->at_open;
    return "";
  }
  const auto findings = opened->db->Check();
  const bool checked =
      findings.ok() ? !findings->empty() : CodeOf(findings.status()) == ErrorCode::kCorruption;
  if (checked) {
    bool is_named = !findings.ok() && named(findings.status());
    if (findings.ok()) {
      for (const std::string& finding : *findings)
        is_named |= finding.find(file) != std::string::npos;
    }
    if (!is_named) {
      return "check does not name it: " +
             (findings.ok() ? findings->front() : findings.status().ToString());
    }
  }
  const auto found = VerifyContents(opened->db.get(), *world.expected(), oracle, 1);
  if (found.ok()) {
    if (checked) return "check found something, and then it did not";
    ++totals->harmless;
    *harmless = true;
    return "";
  }
  if (!checked) return "check finds nothing: " + found.status().ToString();
  // A read that fails says so; one that does not fail is right. VerifyContents' own complaints
  // (plain Invalid without our code) are wrong answers, but for what Check found.
  const bool own = found.status().detail() == nullptr;
  if (own && MessageOf(found.status()).rfind("check: ", 0) != 0)
    return "a wrong answer: " + found.status().ToString();
  ++(own ? totals->at_check : totals->at_read);
  return "";
}

TEST(BitFlipsTest, EveryFlippedBitIsNamedOrHarmless) {
  World world(Options(), 5);
  const Status built = Build(world);
  ASSERT_TRUE(built.ok()) << built.ToString();
  const auto disk = world.files()->CrashClone(SimDamage::kNothingLost, 1);
  const uint64_t seed = FromEnvironment("LAMINA_SIM_SEED", 1);
  struct Place {
    std::string path;
    size_t byte = 0;
  };
  std::vector<Place> places;
  const char* only = std::getenv("LAMINA_SIM_FILES");
  for (const std::string& path : disk->Files()) {
    if (only != nullptr && path.find(only) == std::string::npos) continue;
    const size_t size = disk->Contents(path).size();
    std::printf("%-70s %6zu bytes\n", path.c_str(), size);
    for (size_t byte = 0; byte < size; ++byte) places.push_back({path, byte});
  }
  constexpr size_t kPart = 256;
  Totals totals;
  std::map<std::string, uint64_t> harmless;
  std::mutex mutex;
  std::atomic<int> failures{0};
  OnAllProcessors((places.size() + kPart - 1) / kPart, [&](size_t part) {
    Oracle oracle;
    for (size_t i = part * kPart; i < std::min(places.size(), (part + 1) * kPart); ++i) {
      if (failures > 0 && StopsAtFirstFailure()) return;
      const Place& place = places[i];
      const int bit = static_cast<int>(MixSeed(seed, i) % 8);
      bool is_harmless = false;
      const std::string wrong =
          Flip(world, *disk, place.path, place.byte, bit, &oracle, &totals, &is_harmless);
      std::lock_guard lock(mutex);
      if (is_harmless) ++harmless[place.path];
      if (wrong.empty()) continue;
      if (++failures <= 10)
        ADD_FAILURE() << place.path << " byte " << place.byte << " bit " << bit << ": " << wrong;
    }
  });
  std::printf("%llu flips: %llu found at open, %llu by reads, %llu by check only, %llu harmless\n",
              static_cast<unsigned long long>(totals.flips),
              static_cast<unsigned long long>(totals.at_open),
              static_cast<unsigned long long>(totals.at_read),
              static_cast<unsigned long long>(totals.at_check),
              static_cast<unsigned long long>(totals.harmless));
  for (const auto& [path, count] : harmless) {
    std::printf("  harmless: %s %llu\n", path.c_str(), static_cast<unsigned long long>(count));
  }
  if (only == nullptr) {
    EXPECT_GT(totals.flips, 10'000u);
  }
  for (const auto& [path, count] : harmless) {
    EXPECT_NE(path.find("/wal/"), std::string::npos) << path;
    EXPECT_EQ(count, 36u) << "a seal";
  }
}

}  // namespace
}  // namespace lamina::simulation
