// Starts this program as the child, and kills it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kill_child.h"

namespace lamina {

/// Runs the child with these variables beside the present ones. Kills it `micros` after its first
/// acknowledgement, or after its start where `micros` is a multiple of 8, or waits for its end
/// where it is negative. Returns what it wrote to standard output. An error where it ended by
/// itself, or did not.
Result<std::string> RunChild(const KillChildOptions& options,
                             const std::vector<std::string>& variables, int64_t micros);

}  // namespace lamina
