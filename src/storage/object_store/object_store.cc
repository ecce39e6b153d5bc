#include "lamina/object_store.h"

namespace lamina {

Result<std::unique_ptr<AppendFile>> ObjectStore::OpenAppend(const std::string& path,
                                                            int64_t truncate_to) {
  (void)truncate_to;
  return MakeError(ErrorCode::kUnsupported,
                   "store cannot append: store=" + ToString() + " path=" + path);
}

}  // namespace lamina
