// The same operations under other circumstances: see metamorphic_test.cc.
#pragma once

#include <cstdint>

#include "lamina/error.h"

namespace lamina::simulation {

/// Plays the stream of one seed several ways; an error says which answer differs.
Status RunMetamorphic(uint64_t seed);

}  // namespace lamina::simulation
