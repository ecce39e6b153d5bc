// Makes the loads that the engine hands out.
#pragma once

#include <functional>
#include <memory>

#include "engine/bulk_load.h"
#include "engine/maintenance.h"

namespace lamina::engine {

/// `on_end` is called when the load is destroyed, after its files were deleted. `context.files` is
/// not used.
std::unique_ptr<BulkLoad> MakeBulkLoad(JobContext context, catalog::TableSchemaPtr table,
                                       std::function<void()> on_end);

}  // namespace lamina::engine
