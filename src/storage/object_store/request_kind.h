// The calls of an object store, as data: what the counting and the faulty wrapper sort by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lamina::storage {

/// One per call that can cost or fail.
enum class RequestKind : uint8_t {
  kHead,
  kGet,
  kRange,       ///< GetRange, and each read of an opened reader.
  kOpenReader,  ///< A HEAD on a remote store.
  kPut,
  kCreate,  ///< Starting a streaming write; its bytes count under kWrite, its end under kFinish.
  kWrite,
  kFinish,
  kList,
  kDelete,
  kOpenAppend,
  kAppend,
  kSync,
  kLock,
};
inline constexpr size_t kRequestKinds = static_cast<size_t>(RequestKind::kLock) + 1;

/// "head", "open_reader", …
std::string_view RequestKindName(RequestKind kind);

/// What part of a database a path belongs to, by its first segment.
enum class StoreDomain : uint8_t { kWal, kData, kManifest, kRefs, kPins, kOther };
inline constexpr size_t kStoreDomains = static_cast<size_t>(StoreDomain::kOther) + 1;

StoreDomain DomainOf(std::string_view path);
std::string_view StoreDomainName(StoreDomain domain);

}  // namespace lamina::storage
