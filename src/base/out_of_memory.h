// Errors that can be said when memory is gone, and the place where std::bad_alloc becomes one.
//
// Our code lets std::bad_alloc pass like any error: whoever changes something takes the memory for
// it first, or stops the writer. It ends at the public interface (db), at the background tasks
// (engine) and at the log writer (wal), by way of Guarded. docs/adr/0010 has the reasons.
#pragma once

#include <new>

#include "lamina/error.h"

namespace lamina::base {

// Nothing of these allocates, copies of what they return included.

/// kResourceExhausted: nothing happened.
Status OutOfMemory() noexcept;
/// kCommitUnknown: memory ran out when it may have happened already.
Status OutcomeUnknown() noexcept;
/// kStopped: writing stopped, and its cause cannot be told for lack of memory.
Status StoppedOutOfMemory() noexcept;

/// A copy of an error; where there is no memory for one, `otherwise`, which is one of the above.
Status CopyOf(const Status& error, Status otherwise = OutOfMemory()) noexcept;

/// What `make` returns; where there is no memory for it, `otherwise`.
template <typename Make>
Status ErrorOr(Make&& make, Status otherwise) noexcept {
  try {
    return make();
  } catch (const std::bad_alloc&) {
    return otherwise;
  }
}

/// What `body` (returning Status or Result<T>) returns; OutOfMemory when it ran out of memory.
template <typename Body>
auto Guarded(Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  }
}

}  // namespace lamina::base
