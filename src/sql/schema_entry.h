// A schema of our catalogue, with its entries.
#pragma once

#include <string>

#include "sql/column_clauses.h"
#include "sql/lamina_catalog.h"

namespace lamina::sql {

class LaminaSchemaEntry final : public duckdb::SchemaCatalogEntry {
 public:
  LaminaSchemaEntry(LaminaCatalog& catalog, duckdb::CreateSchemaInfo& info);

  /// While a snapshot is made.
  void Add(duckdb::unique_ptr<duckdb::CatalogEntry> entry);
  /// Of a materialized view: found by its name, never listed.
  void AddViewQuery(duckdb::unique_ptr<duckdb::CatalogEntry> query);

  void Scan(duckdb::ClientContext& context, duckdb::CatalogType type,
            const std::function<void(duckdb::CatalogEntry&)>& callback) override;
  void Scan(duckdb::CatalogType type,
            const std::function<void(duckdb::CatalogEntry&)>& callback) override;
  using SchemaCatalogEntry::CreateIndex;
  duckdb::optional_ptr<duckdb::CatalogEntry> CreateIndex(duckdb::CatalogTransaction transaction,
                                                         duckdb::CreateIndexInfo& info,
                                                         duckdb::TableCatalogEntry& table) override;
  duckdb::optional_ptr<duckdb::CatalogEntry> CreateFunction(
      duckdb::CatalogTransaction transaction, duckdb::CreateFunctionInfo& info) override;
  duckdb::optional_ptr<duckdb::CatalogEntry> CreateTable(
      duckdb::CatalogTransaction transaction, duckdb::BoundCreateTableInfo& info) override;
  duckdb::optional_ptr<duckdb::CatalogEntry> CreateView(duckdb::CatalogTransaction transaction,
                                                        duckdb::CreateViewInfo& info) override;
  duckdb::optional_ptr<duckdb::CatalogEntry> CreateSequence(
      duckdb::CatalogTransaction transaction, duckdb::CreateSequenceInfo& info) override;
  duckdb::optional_ptr<duckdb::CatalogEntry> CreateTableFunction(
      duckdb::CatalogTransaction transaction, duckdb::CreateTableFunctionInfo& info) override;
  duckdb::optional_ptr<duckdb::CatalogEntry> CreateCopyFunction(
      duckdb::CatalogTransaction transaction, duckdb::CreateCopyFunctionInfo& info) override;
  duckdb::optional_ptr<duckdb::CatalogEntry> CreatePragmaFunction(
      duckdb::CatalogTransaction transaction, duckdb::CreatePragmaFunctionInfo& info) override;
  duckdb::optional_ptr<duckdb::CatalogEntry> CreateCollation(
      duckdb::CatalogTransaction transaction, duckdb::CreateCollationInfo& info) override;
  duckdb::optional_ptr<duckdb::CatalogEntry> CreateType(duckdb::CatalogTransaction transaction,
                                                        duckdb::CreateTypeInfo& info) override;
  duckdb::optional_ptr<duckdb::CatalogEntry> LookupEntry(
      duckdb::CatalogTransaction transaction, const duckdb::EntryLookupInfo& lookup) override;
  /// T2013 when another object needs it.
  void DropEntry(duckdb::ClientContext& context, duckdb::DropInfo& info) override;
  void Alter(duckdb::CatalogTransaction transaction, duckdb::AlterInfo& info) override;

 private:
  /// DropEntry without regard to views and macros.
  void DropAlone(duckdb::ClientContext& context, duckdb::DropInfo& info);
  using Entries = duckdb::case_insensitive_map_t<duckdb::unique_ptr<duckdb::CatalogEntry>>;

  LaminaCatalog& lamina() { return static_cast<LaminaCatalog&>(catalog); }
  /// Tables, views and sequences share their names, as in PostgreSQL; so do macros; so do types.
  Entries& Of(duckdb::CatalogType type);
  /// The schema of that name as the transaction sees it now: `this` may be of a former snapshot.
  LaminaSchemaEntry& Current(duckdb::ClientContext& context);
  /// What CREATE does about an entry that is there: true to go on. Throws.
  bool MayCreate(duckdb::ClientContext& context, duckdb::CatalogType type, const std::string& name,
                 duckdb::OnCreateConflict on_conflict);
  duckdb::optional_ptr<duckdb::CatalogEntry> Created(duckdb::ClientContext& context,
                                                     duckdb::CatalogType type,
                                                     const std::string& name);
  void AlterTable(duckdb::ClientContext& context, duckdb::AlterTableInfo& info);
  /// With all that depends on its rows; T2013 when rows of other tables refer to them.
  void DropTable(duckdb::ClientContext& context, LaminaTableEntry& table, bool cascade);
  /// What DROP COLUMN does about indexes and foreign keys over the column. T2013.
  void DropDependentsOfColumn(duckdb::ClientContext& context, const LaminaTableEntry& table,
                              const std::string& column, bool cascade);
  /// COMMENT ON an object that is no table, or on a column of a view.
  void Comment(duckdb::ClientContext& context, duckdb::CatalogEntry& entry,
               duckdb::AlterInfo& info);
  /// SET GENERATED ALWAYS or BY DEFAULT. In identity.cc.
  void SetIdentity(duckdb::ClientContext& context, LaminaTableEntry& table,
                   const std::string& column, bool always);
  // In sequence.cc.
  /// Makes the sequence of a SERIAL or identity column of a table that is about to be made or
  /// changed, and gives the column its default. `clause` has a sequence.
  void CreateColumnSequence(duckdb::ClientContext& context, const std::string& table,
                            duckdb::ColumnDefinition& column, const ColumnClause& clause);
  void PutSequence(duckdb::ClientContext& context, const duckdb::CreateSequenceInfo& info,
                   const std::string& id, const SequenceOwner& owner);
  void AlterSequence(duckdb::ClientContext& context, LaminaSequenceEntry& entry,
                     duckdb::AlterInfo& info);
  /// `cascade`: defaults that need it go; else T2013.
  void DropSequence(duckdb::ClientContext& context, LaminaSequenceEntry& entry, bool cascade);
  /// Sequences that end with the table, as the database names it. `visit` may change them.
  void ForOwnedSequences(
      duckdb::ClientContext& context, const std::string& table,
      const std::function<void(LaminaSchemaEntry&, LaminaSequenceEntry&)>& visit);

  Entries relations_, macros_, table_macros_, types_, indexes_, view_queries_;
};

}  // namespace lamina::sql
