// What the engine is told: the public options plus what tests and db inject.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/executor.h"
#include "base/trace.h"
#include "catalog/schema.h"
#include "lamina/object_store.h"
#include "lamina/options.h"

namespace lamina::engine {

using lamina::AckClass;
using lamina::AckClassName;
using lamina::SyncPolicy;

struct EngineOptions : DatabaseOptions {
  std::shared_ptr<ObjectStore> store;
  std::string branch = "main";

  // Injected; null = the system's.
  base::Clock* clock = nullptr;
  /// Background work. Null: an own pool of background_threads.
  std::shared_ptr<base::Executor> executor;
  uint64_t random_seed = 0;  ///< 0: from entropy.

  /// kInvalidArgument names the option, its value and the range.
  Status Validate() const;
};

}  // namespace lamina::engine
