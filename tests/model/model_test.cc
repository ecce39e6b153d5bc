// Random histories through the public interface against the brute-force model, at every point of
// the plane.
//
// A history mixes puts, deletes, partial overlaps, documents, inserts, transactions with savepoints
// and aborts, transactions that race for keys and ranges, threads that write while others flush and
// compact, schema changes, checkpoints, flushes, compactions, garbage collection, erases, trims,
// reopens, and crashes that lose what was not synced, over small files (a few rows a page) with
// random codecs, caches and thread counts, so that every boundary is met. After some steps and at
// the end:
//   * all versions, joined where they touch = the model's exact rectangles; read off at every cell
//     of the plane = the model there;
//   * at the end a scan of every cell, before it of some = the model (point reads too, sampled);
//   * a window over both times, and a snapshot at an earlier commit = the model's;
//   * a snapshot taken earlier still answers what it answered then;
//   * a transaction conflicts exactly when the one before it wrote what it wrote or read;
//   * no flush and no compaction failed (compaction checks its law, row versions in = row versions
//     out, on every run; here some are checked from outside too);
//   * the check of everything at rest finds nothing.
// The seed of a failing history is printed. LAMINA_MODEL_SEED runs that one alone,
// LAMINA_MODEL_HISTORIES and LAMINA_MODEL_FIRST choose others; LAMINA_MODEL_JITTER=1 adds random
// sleeps inside the store to all of them.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <vector>

#include <gtest/gtest.h>

#include "base/thread.h"
#include "history.h"

namespace lamina::model {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(ModelTest, RandomHistoriesAnswerAsTheModelAtEveryPointOfThePlane) {
  const uint64_t only = FromEnvironment("LAMINA_MODEL_SEED", 0);
  const uint64_t histories = only != 0 ? 1 : FromEnvironment("LAMINA_MODEL_HISTORIES", 10'000);
  const uint64_t first = only != 0 ? only : FromEnvironment("LAMINA_MODEL_FIRST", 1);
  const bool jitter = FromEnvironment("LAMINA_MODEL_JITTER", 0) != 0;
  std::atomic<uint64_t> next{first};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  const auto work = [&] {
    for (uint64_t seed = next++; seed < first + histories && !failed; seed = next++) {
      History history(seed, jitter);
      const Status status = history.Run();
      if (status.ok()) continue;
      std::lock_guard lock(mutex);
      failed = true;
      ADD_FAILURE() << "seed " << seed << " (LAMINA_MODEL_SEED=" << seed
                    << "): " << status.ToString() << "\n"
                    << history.log();
    }
  };
  {
    // One more than there are cores: some histories sleep.
    std::vector<base::Thread> threads;
    for (int i = 0; i < base::HardwareThreads() + 1; ++i) threads.emplace_back("history", work);
  }
  std::printf("%llu histories from seed %llu\n", static_cast<unsigned long long>(histories),
              static_cast<unsigned long long>(first));
}

}  // namespace
}  // namespace lamina::model
