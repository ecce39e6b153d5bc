// What an error's Status carries. Layers above add to it by deriving.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "lamina/error.h"

namespace lamina {

class ErrorDetail : public arrow::StatusDetail {
 public:
  static constexpr char kTypeId[] = "lamina::ErrorDetail";

  ErrorDetail(ErrorCode code, std::string message, std::string hint)
      : code_(code), message_(std::move(message)), hint_(std::move(hint)) {}

  const char* type_id() const override { return kTypeId; }
  // Status::ToString prints "<message>. Detail: <this>".
  std::string ToString() const override { return std::string(ErrorCodeName(code_)); }

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }
  /// The encoded key that it is about, where callers want to know; else "".
  const std::string& key() const { return key_; }
  void set_key(std::string key) { key_ = std::move(key); }

 private:
  const ErrorCode code_;
  const std::string message_;
  const std::string hint_;
  std::string key_;
};

/// As MakeError(code, message, hint), with more in it.
Status MakeError(std::shared_ptr<ErrorDetail> detail);
/// An error about a key, for callers that want to name it in their own words.
Status MakeKeyError(ErrorCode code, std::string message, std::string hint, std::string key);
/// The key of such an error, else "".
std::string ErrorKeyOf(const Status& status);

}  // namespace lamina
