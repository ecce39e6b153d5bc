// The door by which tests bring their own world: clock, executor, seed.
#pragma once

#include <memory>

#include "engine/options.h"
#include "lamina/database.h"

namespace lamina::db {

/// Database::Open on `options.store`, with everything injected that EngineOptions can inject.
/// Borrows `options.clock`, which must outlive the database. Errors: as Database::Open.
Result<std::unique_ptr<Database>> OpenWith(engine::EngineOptions options);

}  // namespace lamina::db
