#include "testing/probe_report.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "base/check.h"

namespace lamina::testing {

bool ReportProbes(const std::string& program) {
  const char* const folder = std::getenv("LAMINA_PROBES");
  if (folder == nullptr) return true;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  std::ofstream out(std::filesystem::path(folder) / (program + ".txt"));
  for (const auto& [name, hits] : base::ReachedProbes()) out << name << ' ' << hits << '\n';
  return static_cast<bool>(out.flush());
}

}  // namespace lamina::testing
