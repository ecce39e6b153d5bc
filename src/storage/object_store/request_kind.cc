#include "storage/object_store/request_kind.h"

#include <array>

namespace lamina::storage {

namespace {

constexpr std::array<std::string_view, kRequestKinds> kKindNames = {
    "head",   "get",  "range",  "open_reader", "put",    "create", "write",
    "finish", "list", "delete", "open_append", "append", "sync",   "lock"};
constexpr std::array<std::string_view, kStoreDomains> kDomainNames = {"wal",  "data", "manifest",
                                                                      "refs", "pins", "other"};

}  // namespace

std::string_view RequestKindName(RequestKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

StoreDomain DomainOf(std::string_view path) {
  const std::string_view first = path.substr(0, path.find('/'));
  for (size_t i = 0; i + 1 < kStoreDomains; ++i) {
    if (first == kDomainNames[i]) return static_cast<StoreDomain>(i);
  }
  return StoreDomain::kOther;
}

std::string_view StoreDomainName(StoreDomain domain) {
  return kDomainNames[static_cast<size_t>(domain)];
}

}  // namespace lamina::storage
