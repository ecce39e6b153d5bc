// NOT NULL and CHECK.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <arrow/record_batch.h>
#include <duckdb/planner/bound_constraint.hpp>

#include "sql/duckdb_api.h"
#include "sql/table_entry.h"

namespace lamina::sql {

/// What constraints of SQL say of whole rows. The primary key is the database's to check. For the
/// time of a statement; borrows the table.
class RowChecks {
 public:
  RowChecks(duckdb::ClientContext& context, const LaminaTableEntry& table);

  /// `rows` has the physical columns. Throws T3001, T3004.
  void Check(duckdb::DataChunk& rows);
  /// The same of rows as the database has them.
  void Check(duckdb::ClientContext& context, const arrow::RecordBatch& rows);

 private:
  std::string CheckText(size_t bound) const { return table_.GetConstraints()[bound]->ToString(); }

  const LaminaTableEntry& table_;
  duckdb::vector<duckdb::unique_ptr<duckdb::BoundConstraint>> bound_;
  std::vector<duckdb::unique_ptr<duckdb::ExpressionExecutor>> checks_;
};

}  // namespace lamina::sql
