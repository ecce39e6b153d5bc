#include "base/thread.h"

#include <csignal>
#include <pthread.h>
#include <sched.h>
#include <utility>

#include "base/schedule_hook.h"
#include "base/scope_guard.h"

namespace lamina::base {

Thread::Thread(std::string name, std::function<void()> body) {
  if (ScheduleHook* hook = CurrentScheduleHook()) {
    body = hook->AdoptThread(name, std::move(body), &ticket_);
  }
  // The new thread inherits the mask, so no signal can reach it before it could block them itself.
  {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const ScopeGuard restore([&] { pthread_sigmask(SIG_SETMASK, &before, nullptr); });
    thread_ = std::thread([name = std::move(name), body = std::move(body)] {
      pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
      body();
    });
  }
  if (ScheduleHook* hook = CurrentScheduleHook()) hook->Yield("thread.begin");
}

Thread& Thread::operator=(Thread&& other) noexcept {
  if (this != &other) {
    Join();
    thread_ = std::move(other.thread_);
    ticket_ = other.ticket_;
  }
  return *this;
}

void Thread::Join() {
  if (!thread_.joinable()) return;
  if (ScheduleHook* hook = CurrentScheduleHook(); hook != nullptr && ticket_ != 0) {
    hook->WaitForThread(ticket_);
  }
  thread_.join();
}

int HardwareThreads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
  const unsigned count = std::thread::hardware_concurrency();
  return count == 0 ? 1 : static_cast<int>(count);
}

}  // namespace lamina::base
