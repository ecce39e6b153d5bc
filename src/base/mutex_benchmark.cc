// What the schedule hook costs where no simulation is: compare with the bare std::mutex.
#include <mutex>

#include <benchmark/benchmark.h>

#include "base/clock.h"
#include "base/mutex.h"

namespace lamina::base {
namespace {

void BM_StdMutex(benchmark::State& state) {
  std::mutex mu;
  for (auto _ : state) {
    mu.lock();
    benchmark::ClobberMemory();
    mu.unlock();
  }
}
BENCHMARK(BM_StdMutex);

void BM_Mutex(benchmark::State& state) {
  Mutex mu;
  for (auto _ : state) {
    mu.Lock();
    benchmark::ClobberMemory();
    mu.Unlock();
  }
}
BENCHMARK(BM_Mutex);

void BM_MutexLock(benchmark::State& state) {
  Mutex mu;
  for (auto _ : state) {
    const MutexLock lock(&mu);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(BM_MutexLock);

void BM_SignalWithoutWaiter(benchmark::State& state) {
  CondVar condition;
  for (auto _ : state) condition.Signal();
}
BENCHMARK(BM_SignalWithoutWaiter);

void BM_MonotonicNanos(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(SystemClock()->MonotonicNanos());
}
BENCHMARK(BM_MonotonicNanos);

}  // namespace
}  // namespace lamina::base

BENCHMARK_MAIN();
