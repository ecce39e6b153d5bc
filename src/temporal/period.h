// From the periods of a read (what the user asked for) to the window of the plane that it selects.
// Pure.
#pragma once

#include <functional>

#include "lamina/error.h"
#include "lamina/time.h"
#include "temporal/resolve.h"

namespace lamina::temporal {

/// The window that `system` and `valid` select in a snapshot. `newest` is the system time of the
/// snapshot's commit (Min before the first commit), `now` the valid time that "now" stands for,
/// `commit_time` the system time of a commit of this branch.
///
/// System time. Nothing after the snapshot is ever selected: the window ends at newest + 1 at the
/// latest.
///   latest              the state at `newest`
///   AS OF commit n      the state at commit_time(n); n = 0 is the empty state before the first
///                       commit
///   AS OF time t        the state at t; later than `newest` it is the newest state; before the
///                       first commit it is empty
///   range [a, b)        every version whose period meets it; a part later than `newest` sees the
///                       newest state, as AS OF does
///   all                 every version that the snapshot knows
/// Valid time: now and at t select a moment (infinity is none: nothing is valid then), ranges and
/// all likewise.
///
/// A range with equal ends selects nothing: the window is empty() and meets no row. Ends of
/// versions are not changed: a row that ended after the snapshot still has that end, which the
/// reader must show as open.
///
/// Errors: kInvalidArgument for a range whose ends are reversed (BETWEEN reversed by exactly one
/// microsecond cannot be told from an empty range, and is one), for a commit with a time above
/// `newest` and for one that `commit_time` answers with kNotFound. Other errors of `commit_time`
/// are passed on.
Result<Window> ResolveWindow(const SystemPeriod& system, const ValidPeriod& valid,
                             SystemTime newest, ValidTime now,
                             const std::function<Result<SystemTime>(CommitId)>& commit_time);

}  // namespace lamina::temporal
