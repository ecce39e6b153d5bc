// The names objects may have.
#pragma once

#include <cstdint>
#include <string_view>

#include "lamina/error.h"

namespace lamina::storage {

/// Segments that begin so belong to the local store itself (files being written, lock files):
/// refused as object names and shown by no call.
inline constexpr std::string_view kTempPrefix = ".tmp-";
inline constexpr std::string_view kLockPrefix = ".lock-";

/// OK for '/'-separated, non-empty segments of [A-Za-z0-9._-] that are neither "." nor ".." nor
/// reserved; at most 255 bytes a segment and 1024 in all. kInvalidArgument names path and reason.
Status ValidatePath(std::string_view path);

/// As ValidatePath for what List takes: also "", a trailing '/', and a cut-off last segment.
Status ValidatePrefix(std::string_view prefix);

/// OK when [offset, offset+length) lies inside an object of `size` bytes, else kInvalidArgument.
Status CheckRange(std::string_view path, int64_t size, int64_t offset, int64_t length);

}  // namespace lamina::storage
