#include "base/clock.h"

#include <cerrno>
#include <ctime>

#include "base/schedule_hook.h"

namespace lamina::base {

namespace {

int64_t ReadClock(clockid_t id, int64_t units_per_second, int64_t nanos_per_unit) {
  timespec now{};
  clock_gettime(id, &now);
  return static_cast<int64_t>(now.tv_sec) * units_per_second + now.tv_nsec / nanos_per_unit;
}

class OsClock final : public Clock {
 public:
  int64_t NowMicros() override {
    if (ScheduleHook* hook = CurrentScheduleHook()) return hook->NowMicros();
    return ReadClock(CLOCK_REALTIME, 1'000'000, 1'000);
  }
  int64_t MonotonicNanos() override {
    if (ScheduleHook* hook = CurrentScheduleHook()) return hook->MonotonicNanos();
    return ReadClock(CLOCK_MONOTONIC, 1'000'000'000, 1);
  }
  void SleepMicros(int64_t micros) override {
    if (micros <= 0) return;
    if (ScheduleHook* hook = CurrentScheduleHook()) return hook->SleepMicros(micros);
    timespec left{static_cast<time_t>(micros / 1'000'000),
                  static_cast<long>(micros % 1'000'000) * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {
    }
  }
};

}  // namespace

Clock* SystemClock() {
  static auto* clock = new OsClock;  // leaked: threads may ask during static destruction
  return clock;
}

}  // namespace lamina::base
