// The one place that makes threads.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

namespace lamina::base {

/// A named thread that is joined by Join() or by its destructor. Movable.
class Thread {
 public:
  Thread() = default;
  /// `name` shows in debuggers, cut to 15 characters. Signals stay with the host program's threads:
  /// all are blocked here.
  Thread(std::string name, std::function<void()> body);
  ~Thread() { Join(); }
  Thread(Thread&&) = default;
  Thread& operator=(Thread&& other) noexcept;

  /// Waits for the body to return. Does nothing when there is none, or it was joined before.
  void Join();
  bool joinable() const { return thread_.joinable(); }

 private:
  std::thread thread_;
  uint64_t ticket_ = 0;  // of a simulation's thread (schedule_hook.h)
};

/// Cores the process may use, at least 1.
int HardwareThreads();

}  // namespace lamina::base
