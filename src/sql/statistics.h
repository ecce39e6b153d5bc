// What the planner is told of columns.
//
// 1. ANALYZE counts rows, NULLs and (about) distinct values of columns. These are estimates from
//    then on: they decide plans, never answers. They lie in kStatisticsTable by the table's id,
//    written by transactions of their own: nobody's answer depends on them.
// 2. Least and greatest values and whether there are NULLs decide answers, too: DuckDB leaves out
//    filters that they settle. So they are given only where they are true of the very snapshot that
//    is read (all of the table lies in files, whose bounds the manifest knows), where the plan is
//    used once, and where nobody has to know later what was read (a filter that is left out reads
//    nothing, and a serializable transaction that writes must note its reads).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "lamina/database.h"
#include "sql/duckdb_api.h"

namespace lamina::sql {

class LaminaTableEntry;

/// Not shown.
inline constexpr char kStatisticsTable[] = "_lamina_statistics";

struct ColumnStatistics {
  uint64_t distinct = 0;  ///< About.
  uint64_t nulls = 0;
};
/// As ANALYZE found them.
struct TableStatistics {
  uint64_t rows = 0;
  std::map<std::string, ColumnStatistics> columns;
};

/// Of all tables of a database. Thread-safe.
class StatisticsStore {
 public:
  explicit StatisticsStore(Database* database) : database_(database) {}

  /// Null when nothing is known of the table.
  std::shared_ptr<const TableStatistics> Find(uint64_t table);
  /// Takes the place of what is known of the rows and of these columns, and forgets tables that are
  /// gone. Errors: those of commits.
  Status Put(uint64_t table, const TableStatistics& fresh);

 private:
  using ByTable = std::map<uint64_t, std::shared_ptr<const TableStatistics>>;
  Status Load() LAMINA_REQUIRES(mu_);

  Database* const database_;
  base::Mutex mu_;
  bool loaded_ LAMINA_GUARDED_BY(mu_) = false;
  ByTable tables_ LAMINA_GUARDED_BY(mu_);
};

/// Whether a statement only asks: a SELECT, its EXPLAIN, or the EXECUTE of one.
bool IsQuery(duckdb::ClientContext& context, const duckdb::SQLStatement& statement);

/// For DuckDB, of a column as the transaction reads it now. Null: nothing is known.
duckdb::unique_ptr<duckdb::BaseStatistics> StatisticsOf(duckdb::ClientContext& context,
                                                        LaminaTableEntry& table,
                                                        duckdb::column_t column);

}  // namespace lamina::sql
