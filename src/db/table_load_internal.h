// Makes the loads that a transaction hands out.
#pragma once

#include <functional>
#include <memory>

#include "db/table_load.h"

namespace lamina::db {

struct TableLoadHooks {
  /// First of so many row ids of the table. One call at a time.
  std::function<Result<int64_t>(int64_t count)> reserve_ids;
  /// Checks the finished load against the table's rows and takes it into the transaction.
  std::function<Status(const std::shared_ptr<engine::BulkLoad>& load)> finished;
};

std::unique_ptr<TableLoad> MakeTableLoad(catalog::TableSchemaPtr table,
                                         std::shared_ptr<engine::BulkLoad> load,
                                         TableLoadHooks hooks);

}  // namespace lamina::db
