// What one statement gave, with the rows as text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lamina/connection.h"
#include "lamina/error.h"

namespace lamina::slt {

using Rows = std::vector<std::vector<std::string>>;

struct Answer {
  Status status = Status::OK();
  std::vector<SqlColumn> columns;
  Rows rows;  ///< Values as result files write them (ValueText in runner.h).
  std::optional<int64_t> changed;
};

}  // namespace lamina::slt
