// Where Parquet's exceptions end.
#pragma once

#include <new>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <parquet/exception.h>

#include "lamina/error.h"

namespace lamina::storage::sst {

/// Gives an error of the store a code of ours if it has none, so that it passes the border as what
/// it is.
inline Status WithCode(Status status) {
  return status.ok() || status.detail() != nullptr ? status
                                                   : MakeError(CodeOf(status), status.message());
}

/// Runs `body` (returning Status or Result<T>) and turns what Parquet throws, and plain Arrow
/// errors, into `code` with the file's name. Errors that carry a code of ours and failures of
/// memory pass as they are.
template <typename Body>
auto AtParquetBorder(ErrorCode code, std::string_view doing, const std::string& path, Body&& body)
    -> decltype(body()) {
  const auto error = [&](std::string_view what) {
    // Where Parquet puts an Arrow error into an exception of its own, only the text of the pool is
    // left: "malloc of size 64 failed"; where Thrift ran out of memory, the exception's name.
    if (what.find("alloc of size ") != std::string_view::npos ||
        what.find("std::bad_alloc") != std::string_view::npos) {
      return MakeError(ErrorCode::kResourceExhausted,
                       fmt::format("out of memory: {}: file={} cause={}", doing, path, what));
    }
    return MakeError(code, fmt::format("{}: file={} cause={}", doing, path, what));
  };
  try {
    auto result = body();
    if (result.ok()) {
      return result;
    }
    Status status;
    if constexpr (std::is_same_v<decltype(result), Status>) {
      status = result;
    } else {
      status = result.status();
    }
    // Errors without a detail come from Parquet or Arrow looking at bytes in memory; the store's
    // have one (WithCode).
    if (status.detail() != nullptr || status.IsOutOfMemory()) {
      return result;
    }
    return error(status.message());
  } catch (const parquet::ParquetStatusException& e) {
    if (e.status().detail() != nullptr || e.status().IsOutOfMemory()) {
      return e.status();
    }
    return error(e.what());
  } catch (const parquet::ParquetException& e) {
    return error(e.what());
  } catch (const std::bad_alloc&) {
    return MakeError(ErrorCode::kResourceExhausted,
                     fmt::format("out of memory: {}: file={}", doing, path));
  } catch (const std::exception& e) {
    return error(e.what());
  }
}

}  // namespace lamina::storage::sst
