// An index that CREATE INDEX has made, as DuckDB lists it.
#pragma once

#include <string>
#include <utility>

#include <duckdb/catalog/catalog_entry/index_catalog_entry.hpp>

#include "sql/dependents.h"
#include "sql/lamina_catalog.h"

namespace lamina::sql {

class LaminaIndexEntry final : public duckdb::IndexCatalogEntry {
 public:
  LaminaIndexEntry(LaminaCatalog& catalog, duckdb::SchemaCatalogEntry& schema,
                   duckdb::CreateIndexInfo& info, std::string table, IndexDefinition index)
      : IndexCatalogEntry(catalog, schema, info),
        table_(std::move(table)),
        index_(std::move(index)) {}

  duckdb::string GetSchemaName() const override { return schema.name; }
  duckdb::string GetTableName() const override { return table_; }
  const IndexDefinition& index() const { return index_; }

 private:
  const std::string table_;
  const IndexDefinition index_;
};

/// The statement that makes the index.
duckdb::unique_ptr<duckdb::CreateIndexInfo> MakeIndexInfo(const std::string& catalog,
                                                          const std::string& schema,
                                                          const std::string& table,
                                                          const IndexDefinition& index);

}  // namespace lamina::sql
