// What the parts of a schema's entry (schema_entry.cc, schema_alter.cc) have in common.
#pragma once

#include <string>

#include "sql/column_clauses.h"
#include "sql/duckdb_api.h"

namespace lamina::sql {

/// As messages and keys of objects call it.
const char* KindOf(duckdb::CatalogType type);
/// The same, but materialized views, which are tables to DuckDB, are called that.
const char* KindOf(const duckdb::CatalogEntry& entry);
/// Whether it is a materialized view.
bool IsView(const duckdb::CatalogEntry& entry);
/// Whether the statement under way says MATERIALIZED VIEW.
bool SaysView(duckdb::ClientContext& context);

/// T4009.
[[noreturn]] void ThrowUnsupported(const std::string& what, std::string hint = {});
/// T2015 for a name that is the database's own.
void CheckName(const std::string& table);

/// What the statement's text says of columns beyond DuckDB's grammar.
ColumnClauses ClausesOf(duckdb::ClientContext& context);
/// The statement that makes the object again, without the names of where it is.
std::string Text(const duckdb::CreateInfo& info);

}  // namespace lamina::sql
