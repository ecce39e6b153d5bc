#include "storage/object_store/write_once.h"

#include <fmt/format.h>

#include "base/check.h"

namespace lamina::storage {

namespace {

Status NotOurs(const std::string& path, const char* what) {
  return MakeError(ErrorCode::kUnavailable,
                   fmt::format("object exists under a new name, and {}: path={}", what, path),
                   "try again: it will be written under another name");
}

}  // namespace

Status PutOnce(ObjectStore* store, const std::string& path, std::string_view bytes) {
  Status put = store->Put(path, bytes, PutCondition::IfAbsent()).status();
  if (put.ok() || CodeOf(put) != ErrorCode::kAlreadyExists) return put;
  LAMINA_REACHED("object_store.put_once.exists");
  const auto there = store->Get(path, nullptr);
  if (!there.ok()) return NotOurs(path, "cannot be read back");
  const std::string_view held(reinterpret_cast<const char*>((*there)->data()),
                              static_cast<size_t>((*there)->size()));
  return held == bytes ? Status::OK() : NotOurs(path, "holds other bytes");
}

Status SettleFinish(ObjectStore* store, const std::string& path, int64_t bytes,
                    const Status& finished) {
  if (finished.ok() || CodeOf(finished) != ErrorCode::kAlreadyExists) return finished;
  LAMINA_REACHED("object_store.finish.exists");
  const auto there = store->Head(path);
  if (!there.ok()) return NotOurs(path, "cannot be looked at");
  return there->size == bytes ? Status::OK() : NotOurs(path, "has another size");
}

}  // namespace lamina::storage
