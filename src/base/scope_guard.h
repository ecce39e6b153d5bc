// Runs a function at the end of a scope unless told not to.
#pragma once

#include <utility>

namespace lamina::base {

/// ScopeGuard cleanup([&] { Remove(temp); }); … cleanup.Dismiss();
template <typename F>
class [[nodiscard]] ScopeGuard {
 public:
  explicit ScopeGuard(F on_exit) : on_exit_(std::move(on_exit)) {}
  ~ScopeGuard() {
    if (active_) on_exit_();
  }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

  void Dismiss() { active_ = false; }

 private:
  F on_exit_;
  bool active_ = true;
};

}  // namespace lamina::base
