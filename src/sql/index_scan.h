// Reading rows by an index: which one serves a query's filters, and the rows it leads to.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lamina/scan.h"
#include "sql/duckdb_api.h"
#include "sql/plan_guide.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"

namespace lamina::sql {

/// What filters do to a column.
struct ColumnUse {
  bool fixed = false;    ///< It is one of some constants.
  bool bounded = false;  ///< It is at least or at most a constant.
};
/// By the columns' names.
using ColumnUses = std::map<std::string, ColumnUse>;
ColumnUses UsesOf(const LaminaTableEntry& table, const duckdb::LogicalGet& get,
                  const duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>& filters);
/// How much of an index or key of these columns the filters use. A fixed column is worth more than
/// a bounded one; a whole unique key, a row at most, more than all.
size_t WorthOf(const std::vector<std::string>& columns, bool unique, const ColumnUses& uses);
/// So many rows of a table are read by an index at most, unless a plan guide wants it.
int64_t MostByIndex(uint64_t rows_of_table);

/// The index that `hints` want or, without, that of which the filters fix or bound the most leading
/// columns; null when they fix or bound as many of the primary key, or none of any. `hints` may be
/// null. `forced`: they want it.
const IndexDefinition* ChooseIndex(
    const LaminaTableEntry& table, const duckdb::LogicalGet& get,
    const duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>& filters, const PlanHints* hints,
    bool* forced);

/// The rows that `options` asks for, without those that the index alone shows the filters to
/// refuse: the caller applies the filters. `columns` are those that the filters count by; the
/// caller holds the transaction's mutex. Null when a scan is the better way, or the only one: the
/// filters say too little, or let too many entries pass (but with `forced`), or the rows are not
/// those of one moment. Throws.
std::shared_ptr<ScanReader> ReadByIndex(LaminaTransaction& transaction,
                                        const LaminaTableEntry& table, const IndexDefinition& index,
                                        const duckdb::TableFilterSet& filters,
                                        const duckdb::vector<duckdb::column_t>& columns,
                                        const ScanOptions& options, bool forced);

}  // namespace lamina::sql
