// A folder for temporary files that nobody else may read, gone with the object.
#pragma once

#include <string>

namespace lamina::base {

class PrivateFolder {
 public:
  /// In the system's folder for temporary files ($TMPDIR), under a name of its own that begins with
  /// `prefix`; mode 0700. path() is "" when none can be made.
  explicit PrivateFolder(const std::string& prefix);
  ~PrivateFolder();
  PrivateFolder(const PrivateFolder&) = delete;
  PrivateFolder& operator=(const PrivateFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace lamina::base
