#include "base/out_of_memory.h"

namespace lamina::base {

namespace {

// Arrow has statuses that are copied without memory, for its own constants: a flag that has no
// setter. An explicit instantiation may name what is private (C++20 [temp.spec]/6), so this reaches
// it without changing Arrow; a new layout of arrow::Status does not compile.
template <typename Tag, auto kMember>
struct Reach {
  friend auto StateOf(Tag) { return kMember; }
};
struct StatusState {
  friend auto StateOf(StatusState);
};
template struct Reach<StatusState, &Status::state_>;

const Status* MakeConstant(ErrorCode code, const char* message, const char* hint) {
  auto* status = new Status(MakeError(code, message, hint));  // lives for ever
  (status->*StateOf(StatusState{}))->is_constant = true;
  return status;
}

// Made when the program starts, while there is memory.
const Status* const kOutOfMemory =
    MakeConstant(ErrorCode::kResourceExhausted, "out of memory", "make room, then retry");
const Status* const kOutcomeUnknown = MakeConstant(
    ErrorCode::kCommitUnknown, "out of memory: what was asked for may or may not have happened",
    "reopen the database, then look the idempotency key up");
const Status* const kStopped =
    MakeConstant(ErrorCode::kStopped, "writing stopped after an error: cause=out of memory",
                 "reads go on; reopen the database to recover");

}  // namespace

Status OutOfMemory() noexcept { return *kOutOfMemory; }
Status OutcomeUnknown() noexcept { return *kOutcomeUnknown; }
Status StoppedOutOfMemory() noexcept { return *kStopped; }

Status CopyOf(const Status& error, Status otherwise) noexcept {
  return ErrorOr([&] { return error; }, std::move(otherwise));
}

}  // namespace lamina::base
