#include "base/private_folder.h"

#include <stdlib.h>

#include <filesystem>
#include <system_error>

namespace lamina::base {

PrivateFolder::PrivateFolder(const std::string& prefix) {
  std::error_code error;
  const auto parent = std::filesystem::temp_directory_path(error);
  if (error) return;
  std::string name = (parent / (prefix + "XXXXXX")).string();
  // Makes it for its owner alone.
  if (mkdtemp(name.data()) != nullptr) path_ = name;
}

PrivateFolder::~PrivateFolder() {
  std::error_code error;
  if (!path_.empty()) std::filesystem::remove_all(path_, error);
}

}  // namespace lamina::base
