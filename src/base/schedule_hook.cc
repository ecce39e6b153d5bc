#include "base/schedule_hook.h"

namespace lamina::base {

namespace {

thread_local ScheduleHook* thread_hook = nullptr;

}  // namespace

namespace internal {

std::atomic<int> schedule_hooks{0};

ScheduleHook* ThreadScheduleHook() { return thread_hook; }

}  // namespace internal

void SetScheduleHook(ScheduleHook* hook) { thread_hook = hook; }
void AllowScheduleHooks() {
  internal::schedule_hooks.fetch_add(1, std::memory_order_relaxed);  // relaxed: as in the header
}
void ForbidScheduleHooks() {
  internal::schedule_hooks.fetch_sub(1, std::memory_order_relaxed);  // relaxed: as in the header
}

}  // namespace lamina::base
