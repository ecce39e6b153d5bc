#include "sql/instance_resources.h"

#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include "sql/error_translation.h"

namespace lamina::sql {

SpillFolders::~SpillFolders() {
  const auto files = duckdb::FileSystem::CreateLocal();
  base::MutexLock lock(&mu_);
  for (const std::string& path : made_) {
    try {
      files->RemoveDirectory(path);
    } catch (const std::exception&) {
      // Whoever removed it, or its parent, has done our work.
    }
  }
}

Result<std::string> SpillFolders::Make(const std::string& parent) {
  const char* system = std::getenv("TMPDIR");
  std::string path = !parent.empty()                        ? parent
                     : system != nullptr && *system != '\0' ? std::string(system)
                                                            : std::string("/tmp");
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const std::string inside = path;
  path += "/lamina-spill-XXXXXX";
  // mkdtemp makes a new folder of mode 0700, never one that is there.
  if (::mkdtemp(path.data()) == nullptr) {
    return MakeSqlError("T4010",
                        fmt::format("no folder for temporary files can be made: path={}", inside),
                        "SET temp_directory names a folder that is there and may be written to");
  }
  base::MutexLock lock(&mu_);
  made_.push_back(path);
  return path;
}

}  // namespace lamina::sql
