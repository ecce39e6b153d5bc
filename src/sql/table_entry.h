// A table of our catalogue.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "sql/dependents.h"
#include "sql/lamina_catalog.h"
#include "sql/valid_insert.h"

namespace lamina::sql {

/// Columns that every table has beside its own: not in *, selectable by name.
inline constexpr duckdb::column_t kHiddenColumns = duckdb::column_t{1} << 63;
inline constexpr duckdb::column_t kValidFrom = kHiddenColumns + 1001;
inline constexpr duckdb::column_t kValidTo = kHiddenColumns + 1002;
inline constexpr duckdb::column_t kSystemFrom = kHiddenColumns + 1003;
inline constexpr duckdb::column_t kSystemTo = kHiddenColumns + 1004;
inline constexpr duckdb::column_t kCommit = kHiddenColumns + 1005;
inline constexpr duckdb::column_t kRowId = kHiddenColumns + 1006;  ///< Of a table without a key.
/// What a change of the row is valid for: its valid time, cut to the portion that is changed.
inline constexpr duckdb::column_t kPortionFrom = kHiddenColumns + 1007;
inline constexpr duckdb::column_t kPortionTo = kHiddenColumns + 1008;
/// kKeyStart + i: the i-th key column once more, as UPDATE and DELETE find the row by it.
inline constexpr duckdb::column_t kKeyStart = kHiddenColumns + 1100;
/// kTrackedStart + i: the i-th column once more, as its indexes and foreign keys find what they
/// have of the row by it.
inline constexpr duckdb::column_t kTrackedStart = kHiddenColumns + 1'000'000;

class LaminaTableEntry final : public duckdb::TableCatalogEntry {
 public:
  LaminaTableEntry(duckdb::Catalog& catalog, duckdb::SchemaCatalogEntry& schema,
                   duckdb::CreateTableInfo& info, TableInfo table, Dependents dependents,
                   std::optional<ValidInsertMode> takes_valid = {});

  /// The alias of what an UPDATE does not set and writes again.
  static constexpr char kPassedOn[] = "_lamina_passed_on";

  /// Of an entry for an INSERT that says the valid time of its rows (valid_insert.h): what it does.
  /// Its last two columns are that time; the database's table has them not.
  std::optional<ValidInsertMode> takes_valid() const { return takes_valid_; }
  /// As the database knows it.
  const TableInfo& table() const { return table_; }
  const Dependents& dependents() const { return dependents_; }
  /// The columns that an index, a foreign key or a trigger has to do with, each once.
  const std::vector<std::string>& tracked_columns() const { return tracked_columns_; }
  /// Where the database's i-th field stands among the physical columns: SQL may have another order.
  size_t PhysicalOf(int field) const {
    return columns.GetColumn(table_.schema->field(field)->name()).Physical().index;
  }
  /// The name that the database reads a column by; also of hidden ones.
  std::string StorageName(duckdb::column_t column) const;
  duckdb::LogicalType TypeOf(duckdb::column_t column) const;
  /// As the transaction sees the table; too high by rows that memory ends or replaces.
  duckdb::idx_t EstimateRows(duckdb::ClientContext& context);

  duckdb::unique_ptr<duckdb::CreateInfo> GetInfo() const override;
  duckdb::unique_ptr<duckdb::BaseStatistics> GetStatistics(duckdb::ClientContext& context,
                                                           duckdb::column_t column) override;
  duckdb::TableFunction GetScanFunction(
      duckdb::ClientContext& context, duckdb::unique_ptr<duckdb::FunctionData>& bind_data) override;
  duckdb::TableFunction GetScanFunction(duckdb::ClientContext& context,
                                        duckdb::unique_ptr<duckdb::FunctionData>& bind_data,
                                        const duckdb::EntryLookupInfo& lookup) override;
  duckdb::TableStorageInfo GetStorageInfo(duckdb::ClientContext& context) override;
  void BindUpdateConstraints(duckdb::Binder& binder, duckdb::LogicalGet& get,
                             duckdb::LogicalProjection& proj, duckdb::LogicalUpdate& update,
                             duckdb::ClientContext& context) override;
  duckdb::virtual_column_map_t GetVirtualColumns() const override;
  duckdb::vector<duckdb::column_t> GetRowIdColumns() const override;

 private:
  const TableInfo table_;
  const Dependents dependents_;
  std::vector<std::string> tracked_columns_;
  const std::optional<ValidInsertMode> takes_valid_;
};

/// What SQL says of a table, of its definition in the database and its row in kObjectTable (null:
/// none, it was made through another interface).
duckdb::unique_ptr<duckdb::CreateTableInfo> MakeTableInfo(
    LaminaCatalog& catalog, const std::string& schema, const std::string& name,
    const TableInfo& table, const Dependents& dependents, const nlohmann::json* definition);
/// The row for kObjectTable: without keys, which the database knows, and without what Dependents
/// has.
nlohmann::json DescribeTable(const duckdb::CreateTableInfo& info);

}  // namespace lamina::sql
