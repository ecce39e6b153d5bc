#include "temporal/period.h"

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "base/mutant.h"

namespace lamina::temporal {
namespace {

// The empty interval that overlaps nothing: [5, 5) would overlap [0, 9).
template <typename Interval, typename Time>
Interval Nothing() {
  return {Time::Min(), Time::Min()};
}

Status Reversed(const char* axis, const std::string& from, const std::string& to) {
  return MakeError(ErrorCode::kInvalidArgument,
                   fmt::format("The {} range ends before it starts: from={} to={}", axis, from, to),
                   "write the earlier moment first");
}

Result<SystemTime> MomentOf(CommitId commit, SystemTime newest,
                            const std::function<Result<SystemTime>(CommitId)>& commit_time) {
  if (commit.value == 0) return SystemTime::Min();
  Result<SystemTime> time = commit_time(commit);
  const bool unknown = !time.ok() && CodeOf(time.status()) == ErrorCode::kNotFound;
  if (unknown || (time.ok() && *time > newest)) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("The commit is not part of this snapshot: commit={} newest_time={}",
                    commit.value, Format(newest)),
        "ask for a commit that the snapshot can see, or open a newer snapshot");
  }
  return time;
}

Result<SystemInterval> ResolveSystem(
    const SystemPeriod& period, SystemTime newest,
    const std::function<Result<SystemTime>(CommitId)>& commit_time) {
  SystemTime moment = newest;
  switch (period.kind()) {
    case SystemPeriod::Kind::kLatest:
      break;
    case SystemPeriod::Kind::kAsOfCommit: {
      ARROW_ASSIGN_OR_RAISE(moment, MomentOf(period.commit(), newest, commit_time));
      break;
    }
    case SystemPeriod::Kind::kAsOfTime:
      moment = std::min(period.from(), newest);
      break;
    case SystemPeriod::Kind::kRange: {
      if (period.from() > period.to())
        return Reversed("system time", Format(period.from()), Format(period.to()));
      if (period.from() == period.to()) return Nothing<SystemInterval, SystemTime>();
      const SystemTime end = Window::At(newest, ValidTime{}).system.to;
      return SystemInterval{
          std::min(period.from(), newest),
          std::min(LAMINA_MUTANT("period.to_included") ? SystemTime{period.to().micros + 1}
                                                       : period.to(),
                   end)};
    }
    case SystemPeriod::Kind::kAll:
      return SystemInterval{SystemTime::Min(), Window::At(newest, ValidTime{}).system.to};
  }
  return Window::At(moment, ValidTime{}).system;
}

Result<ValidInterval> ResolveValid(const ValidPeriod& period, ValidTime now) {
  switch (period.kind()) {
    case ValidPeriod::Kind::kNow:
      return Window::At(SystemTime{}, now).valid;
    case ValidPeriod::Kind::kAt:
      return Window::At(SystemTime{}, period.from()).valid;
    case ValidPeriod::Kind::kRange:
      if (period.from() > period.to())
        return Reversed("valid time", Format(period.from()), Format(period.to()));
      if (period.from() == period.to()) return Nothing<ValidInterval, ValidTime>();
      return ValidInterval{period.from(), period.to()};
    case ValidPeriod::Kind::kAll:
      break;
  }
  return ValidInterval{};
}

}  // namespace

Result<Window> ResolveWindow(const SystemPeriod& system, const ValidPeriod& valid,
                             SystemTime newest, ValidTime now,
                             const std::function<Result<SystemTime>(CommitId)>& commit_time) {
  Window window;
  ARROW_ASSIGN_OR_RAISE(window.system, ResolveSystem(system, newest, commit_time));
  ARROW_ASSIGN_OR_RAISE(window.valid, ResolveValid(valid, now));
  return window;
}

}  // namespace lamina::temporal
