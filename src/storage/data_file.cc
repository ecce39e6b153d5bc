#include "storage/data_file.h"

#include <fmt/format.h>

namespace lamina::storage {

std::string DataFile::Path() const {
  return fmt::format("data/{}/{}.parquet", table.value, id.ToString());
}

std::string DeletionVectorPath(catalog::TableId table, const base::Ulid& object) {
  return fmt::format("data/{}/{}.dv", table.value, object.ToString());
}

}  // namespace lamina::storage
