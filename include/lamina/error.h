// Error codes of LaminaDB. Every fallible call returns arrow::Status or arrow::Result<T>; our code
// rides in a StatusDetail.
#pragma once

#include <string>
#include <string_view>

#include <arrow/result.h>
#include <arrow/status.h>

namespace lamina {

using arrow::Result;
using arrow::Status;

/// One code per thing a caller can do about the error.
enum class ErrorCode {
  kInvalidArgument,   ///< The call or the data is wrong: change it. Nothing was changed.
  kNotFound,          ///< The named table, key, column or file does not exist.
  kAlreadyExists,     ///< The named thing exists already.
  kPermissionDenied,  ///< The operating system or an access policy forbids it.
  kUnsupported,       ///< Correct, but this build or format cannot do it.
  kConflict,          ///< Another commit came first: run the transaction again.
  kCommitUnknown,     ///< It may or may not have committed: look the idempotency key up.
  kFenced,            ///< A newer writer owns the database: reopen.
  kStopped,      ///< Writing stopped after a failed sync or write; reads go on; reopen to recover.
  kUnavailable,  ///< Temporary (locked by another process, store not reachable): retry the call.
  kResourceExhausted,  ///< Disk full, memory or a configured limit: make room, then retry.
  kHistoryTrimmed,     ///< The asked moment lies below the table's history floor.
  kCorruption,         ///< Bytes at rest are damaged; the message names file and offset.
  kCancelled,          ///< The caller cancelled the operation.
  kInternal,           ///< A bug in LaminaDB.
};

/// The code's name without the k, in snake case: "invalid_argument".
std::string_view ErrorCodeName(ErrorCode code);

/// Makes an error. `message` is one sentence followed by facts ("block checksum mismatch: file=…
/// offset=…"); `hint`, if not empty, says what to do about it and is printed after the message as
/// "hint: …".
Status MakeError(ErrorCode code, std::string message, std::string hint = {});

/// The code carried by `status`; a plain Arrow status is mapped (Invalid -> kInvalidArgument,
/// IOError -> kUnavailable, OutOfMemory -> kResourceExhausted, …). `status` must not be OK.
ErrorCode CodeOf(const Status& status);

/// The hint carried by `status`, or "".
std::string_view HintOf(const Status& status);

/// The message without code name and hint.
std::string MessageOf(const Status& status);

}  // namespace lamina
