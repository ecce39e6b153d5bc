#include "sql/suggestion.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include <fmt/format.h>

namespace lamina::sql {
namespace {

// Names longer than this are not typed by hand, and the table below grows with their square.
constexpr size_t kNameBytesMax = 256;

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min(
          {d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

std::string ClosestName(std::string_view name, std::span<const std::string> known) {
  if (name.size() > kNameBytesMax) return {};
  const std::string a = Lower(name);
  std::string best;
  size_t best_distance = std::min(name.size(), std::max<size_t>(1, name.size() / 3) + 1);
  for (const std::string& candidate : known) {
    if (candidate.size() > name.size() + best_distance || candidate == name) continue;
    const size_t distance = EditDistance(a, Lower(candidate));
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string DidYouMean(std::string_view name, std::span<const std::string> known) {
  const std::string closest = ClosestName(name, known);
  return closest.empty() ? std::string() : fmt::format("did you mean {}?", closest);
}

}  // namespace lamina::sql
