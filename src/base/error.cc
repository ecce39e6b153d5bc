#include "lamina/error.h"

#include <memory>
#include <utility>

#include "base/error_detail.h"

namespace lamina {

namespace {

const ErrorDetail* DetailOf(const Status& status) {
  const auto& detail = status.detail();
  if (detail == nullptr || std::string_view(detail->type_id()) != ErrorDetail::kTypeId)
    return nullptr;
  return static_cast<const ErrorDetail*>(detail.get());
}

// What code that knows only Arrow sees.
arrow::StatusCode ArrowCodeOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return arrow::StatusCode::Invalid;
    case ErrorCode::kNotFound:
      return arrow::StatusCode::KeyError;
    case ErrorCode::kAlreadyExists:
      return arrow::StatusCode::AlreadyExists;
    case ErrorCode::kUnsupported:
      return arrow::StatusCode::NotImplemented;
    case ErrorCode::kResourceExhausted:
      return arrow::StatusCode::CapacityError;
    case ErrorCode::kCancelled:
      return arrow::StatusCode::Cancelled;
    case ErrorCode::kCorruption:
      return arrow::StatusCode::SerializationError;
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kStopped:
    case ErrorCode::kUnavailable:
      return arrow::StatusCode::IOError;
    case ErrorCode::kConflict:
    case ErrorCode::kCommitUnknown:
    case ErrorCode::kFenced:
    case ErrorCode::kHistoryTrimmed:
    case ErrorCode::kInternal:
      return arrow::StatusCode::UnknownError;
  }
  return arrow::StatusCode::UnknownError;
}

}  // namespace

std::string_view ErrorCodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "invalid_argument";
    case ErrorCode::kNotFound:
      return "not_found";
    case ErrorCode::kAlreadyExists:
      return "already_exists";
    case ErrorCode::kPermissionDenied:
      return "permission_denied";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kConflict:
      return "conflict";
    case ErrorCode::kCommitUnknown:
      return "commit_unknown";
    case ErrorCode::kFenced:
      return "fenced";
    case ErrorCode::kStopped:
      return "stopped";
    case ErrorCode::kUnavailable:
      return "unavailable";
    case ErrorCode::kResourceExhausted:
      return "resource_exhausted";
    case ErrorCode::kHistoryTrimmed:
      return "history_trimmed";
    case ErrorCode::kCorruption:
      return "corruption";
    case ErrorCode::kCancelled:
      return "cancelled";
    case ErrorCode::kInternal:
      return "internal";
  }
  return "internal";
}

Status MakeError(ErrorCode code, std::string message, std::string hint) {
  return MakeError(std::make_shared<ErrorDetail>(code, std::move(message), std::move(hint)));
}

Status MakeError(std::shared_ptr<ErrorDetail> detail) {
  std::string text = detail->message();
  if (!detail->hint().empty()) text += " hint: " + detail->hint();
  const arrow::StatusCode code = ArrowCodeOf(detail->code());
  return Status(code, std::move(text), std::move(detail));
}

Status MakeKeyError(ErrorCode code, std::string message, std::string hint, std::string key) {
  auto detail = std::make_shared<ErrorDetail>(code, std::move(message), std::move(hint));
  detail->set_key(std::move(key));
  return MakeError(std::move(detail));
}

std::string ErrorKeyOf(const Status& status) {
  const ErrorDetail* detail = DetailOf(status);
  return detail == nullptr ? std::string() : detail->key();
}

ErrorCode CodeOf(const Status& status) {
  if (const ErrorDetail* detail = DetailOf(status)) return detail->code();
  switch (status.code()) {
    case arrow::StatusCode::Invalid:
    case arrow::StatusCode::TypeError:
    case arrow::StatusCode::IndexError:
    case arrow::StatusCode::ExpressionValidationError:
      return ErrorCode::kInvalidArgument;
    case arrow::StatusCode::KeyError:
      return ErrorCode::kNotFound;
    case arrow::StatusCode::AlreadyExists:
      return ErrorCode::kAlreadyExists;
    case arrow::StatusCode::IOError:
      return ErrorCode::kUnavailable;
    case arrow::StatusCode::OutOfMemory:
    case arrow::StatusCode::CapacityError:
      return ErrorCode::kResourceExhausted;
    case arrow::StatusCode::Cancelled:
      return ErrorCode::kCancelled;
    case arrow::StatusCode::NotImplemented:
      return ErrorCode::kUnsupported;
    case arrow::StatusCode::SerializationError:
      return ErrorCode::kCorruption;
    default:
      return ErrorCode::kInternal;
  }
}

std::string_view HintOf(const Status& status) {
  const ErrorDetail* detail = DetailOf(status);
  return detail == nullptr ? std::string_view{} : std::string_view(detail->hint());
}

std::string MessageOf(const Status& status) {
  const ErrorDetail* detail = DetailOf(status);
  if (detail == nullptr) return status.message();
  // Status::WithMessage keeps the detail and changes the text (ARROW_CHECK-style context): the
  // newer text wins then.
  const std::string& text = status.message();
  std::string own = detail->message();
  if (!detail->hint().empty()) own += " hint: " + detail->hint();
  return text == own ? detail->message() : text;
}

}  // namespace lamina
