#include "catalog/compute.h"

#include <mutex>

#include <arrow/compute/initialize.h>

#include "base/check.h"

namespace lamina::catalog {

void InitializeCompute() {
  static std::once_flag once;
  // Fails only when a function is registered twice, which would be a bug.
  std::call_once(once, [] { LAMINA_CHECK(arrow::compute::Initialize().ok()); });
}

}  // namespace lamina::catalog
