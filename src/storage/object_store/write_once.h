// Writing objects whose names are minted once and never again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lamina/object_store.h"

namespace lamina::storage {

/// Puts an object under a name that nobody else mints. "It exists already" can then only be our own
/// write, which a client of a remote store had sent twice after a lost answer: it is read back and
/// taken when it holds these bytes. Otherwise kUnavailable: write it again under another name.
Status PutOnce(ObjectStore* store, const std::string& path, std::string_view bytes);

/// The same for the end of a streaming write of `bytes` bytes: `finished` is what Finish said. The
/// object is taken when it has this size.
Status SettleFinish(ObjectStore* store, const std::string& path, int64_t bytes,
                    const Status& finished);

}  // namespace lamina::storage
