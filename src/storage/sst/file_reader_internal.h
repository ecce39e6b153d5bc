// Makes the FileReader that FileCache hands out.
#pragma once

#include <memory>

#include "storage/sst/file_reader.h"
#include "storage/sst/page_cache_internal.h"

namespace lamina::storage::sst {

/// `pages` may be null: nothing is cached then. `memory_bytes`, if not null, gets what the open
/// file holds.
Result<FileReaderPtr> OpenDataFile(ObjectStore* store, const DataFilePtr& file,
                                   std::shared_ptr<PageCache> pages, ReadCounters* counters,
                                   size_t* memory_bytes = nullptr);

}  // namespace lamina::storage::sst
