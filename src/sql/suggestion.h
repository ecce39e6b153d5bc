// "Did you mean": the known name that is nearest to one that is not known.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace lamina::sql {

/// The nearest of `known` without regard to case, or "" when none is near: about one slip of the
/// fingers (a letter missing, added, changed or swapped with its neighbour) for three letters. The
/// first of equals; never the name itself.
std::string ClosestName(std::string_view name, std::span<const std::string> known);

/// "did you mean x?", or "".
std::string DidYouMean(std::string_view name, std::span<const std::string> known);

}  // namespace lamina::sql
