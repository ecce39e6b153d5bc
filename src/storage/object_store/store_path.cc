#include "storage/object_store/store_path.h"

#include <string>

namespace lamina::storage {

namespace {

constexpr size_t kPathBytesMax = 1024;
constexpr size_t kSegmentBytesMax = 255;  // NAME_MAX

Status Refuse(std::string_view path, const char* reason) {
  return MakeError(
      ErrorCode::kInvalidArgument,
      "bad object path: path='" + std::string(path.substr(0, 200)) + "' reason=" + reason);
}

// Why a whole segment is refused, or null.
const char* CheckSegment(std::string_view segment, bool whole) {
  if (whole && segment.empty()) return "empty segment";
  if (segment.size() > kSegmentBytesMax) return "segment too long";
  if (whole && (segment == "." || segment == "..")) return "relative segment";
  if (segment.starts_with(kTempPrefix) || segment.starts_with(kLockPrefix)) return "reserved name";
  for (const char c : segment) {
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    if (!allowed) return "character outside [A-Za-z0-9._-]";
  }
  return nullptr;
}

}  // namespace

Status ValidatePath(std::string_view path) {
  if (path.empty()) return Refuse(path, "empty");
  if (path.size() > kPathBytesMax) return Refuse(path, "too long");
  size_t begin = 0;
  while (true) {
    const size_t slash = path.find('/', begin);
    const std::string_view segment =
        path.substr(begin, slash == std::string_view::npos ? slash : slash - begin);
    if (const char* reason = CheckSegment(segment, /*whole=*/true)) return Refuse(path, reason);
    if (slash == std::string_view::npos) return Status::OK();
    begin = slash + 1;
  }
}

Status ValidatePrefix(std::string_view prefix) {
  if (prefix.size() > kPathBytesMax) return Refuse(prefix, "too long");
  size_t begin = 0;
  while (true) {
    const size_t slash = prefix.find('/', begin);
    const bool last = slash == std::string_view::npos;
    const std::string_view segment = prefix.substr(begin, last ? slash : slash - begin);
    if (const char* reason = CheckSegment(segment, /*whole=*/!last)) return Refuse(prefix, reason);
    if (last) return Status::OK();
    begin = slash + 1;
  }
}

Status CheckRange(std::string_view path, int64_t size, int64_t offset, int64_t length) {
  if (offset >= 0 && length >= 0 && offset <= size && length <= size - offset) return Status::OK();
  return MakeError(ErrorCode::kInvalidArgument,
                   "range outside the object: path=" + std::string(path) +
                       " offset=" + std::to_string(offset) + " length=" + std::to_string(length) +
                       " size=" + std::to_string(size));
}

}  // namespace lamina::storage
