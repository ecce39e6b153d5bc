// What a statement has changed, kept for the triggers that run when it has ended.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <arrow/record_batch.h>

#include "sql/duckdb_api.h"
#include "sql/trigger_definition.h"

namespace lamina::sql {

class LaminaTableEntry;

struct RowsOfEvent {
  std::shared_ptr<arrow::RecordBatch> old;   ///< All columns of the table at rest; null: no rows.
  std::shared_ptr<arrow::RecordBatch> rows;  ///< As many.
};

/// Of one table.
struct TableEvent {
  LaminaTableEntry* table = nullptr;
  TriggerEvent kind = TriggerEvent::kInsert;
  std::vector<std::string> columns;  ///< That an UPDATE sets.
  std::vector<RowsOfEvent> rows;     ///< Empty when the statement found none.
};

/// In the order in which they were written. What a statement that failed has left is forgotten when
/// the next one adds or takes.
class StatementEvents {
 public:
  void Add(duckdb::idx_t statement, TableEvent event) {
    if (statement != statement_) events_.clear();
    statement_ = statement;
    events_.push_back(std::move(event));
  }
  std::vector<TableEvent> Take(duckdb::idx_t statement) {
    if (statement != statement_) events_.clear();
    return std::exchange(events_, {});
  }

 private:
  duckdb::idx_t statement_ = 0;
  std::vector<TableEvent> events_;
};

}  // namespace lamina::sql
