// Columns of a table that say when its rows are valid: PERIOD FOR APPLICATION_TIME (a, b).
//
// They are read as the valid time of the row version: of a row that was cut, each piece has its
// own. So what lies in the columns themselves is written with every piece, but not asked.
#pragma once

#include <memory>
#include <string>

#include <arrow/record_batch.h>

#include "sql/duckdb_api.h"
#include "sql/row_change.h"
#include "sql/table_entry.h"

namespace lamina::sql {

bool HasPeriod(const LaminaTableEntry& table);
bool IsOfPeriod(const LaminaTableEntry& table, const std::string& column);
/// kValidFrom or kValidTo for the columns of the period, else `column`: how its values are at rest.
duckdb::column_t ReadAs(const LaminaTableEntry& table, duckdb::column_t column);
/// "a, b".
std::string PeriodText(const LaminaTableEntry& table);
/// Where the columns stand among the physical ones.
std::pair<duckdb::idx_t, duckdb::idx_t> PeriodPlaces(const LaminaTableEntry& table);

/// Gives the columns of the period in `rows`, which are the physical columns of a table that has
/// one, the valid times of `valid`, row by row; open ends are infinity.
void SetPeriod(const LaminaTableEntry& table, const RowIds& valid, duckdb::DataChunk* rows);
/// The same for rows as the database takes them.
std::shared_ptr<arrow::RecordBatch> WithPeriod(const LaminaTableEntry& table,
                                               const std::shared_ptr<arrow::RecordBatch>& rows,
                                               const WriteOptions& valid);

}  // namespace lamina::sql
