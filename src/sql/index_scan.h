// Reading rows by an index: which one serves a query's filters, and the rows it leads to.
#pragma once

#include <memory>

#include "lamina/scan.h"
#include "sql/duckdb_api.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"

namespace lamina::sql {

/// The index of which the filters fix or bound the most leading columns; null when they fix or
/// bound as many of the primary key, or none of any.
const IndexDefinition* ChooseIndex(
    const LaminaTableEntry& table, const duckdb::LogicalGet& get,
    const duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>& filters);

/// The rows that `options` asks for, without those that the index alone shows the filters to
/// refuse: the caller applies the filters. `columns` are those that the filters count by; the
/// caller holds the transaction's mutex. Null when a scan is the better way, or the only one: the
/// filters say too little, or let too many entries pass, or the rows are not those of one moment.
/// Throws.
std::shared_ptr<ScanReader> ReadByIndex(LaminaTransaction& transaction,
                                        const LaminaTableEntry& table, const IndexDefinition& index,
                                        const duckdb::TableFilterSet& filters,
                                        const duckdb::vector<duckdb::column_t>& columns,
                                        const ScanOptions& options);

}  // namespace lamina::sql
