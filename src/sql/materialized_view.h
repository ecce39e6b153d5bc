// Materialized views: a query whose rows lie in a table until REFRESH.
//
// The rows are a table of the database without a key, so their history is read as any other's. The
// query is a row of kObjectTable, "materialized_view/schema/table id". In the catalogue it is a
// view that only REFRESH looks up: names in it mean what they mean in a plain view of its schema.
//
// DuckDB's grammar has no such statements. What says so in the text is written over, so that the
// rest is parsed at its place as a statement about a table.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "lamina/error.h"
#include "sql/duckdb_api.h"
#include "sql/lamina_catalog.h"
#include "sql/lexer.h"
#include "sql/view_query.h"

namespace lamina::sql {

/// Names that begin with it are the queries' own.
inline constexpr char kViewQueryPrefix[] = "_lamina_query_";

/// What a statement says of materialized views.
struct ViewStatement {
  enum class Kind : uint8_t { kNone, kCreate, kRefresh, kDrop, kAlter, kComment };
  Kind kind = Kind::kNone;
  bool with_data = true;
  size_t name_at = 0;  ///< Where its name stands in the text.
};

/// `statement` is the text of `span` (offsets count in `text`) and keeps its length. Does nothing
/// to other statements. T1002; T4009 for REFRESH … CONCURRENTLY and REFRESH … WITH NO DATA.
Result<ViewStatement> TakeViewStatement(std::string_view text, const StatementSpan& span,
                                        std::string* statement);

/// Makes of the parsed statement the one to run. T2006 and T2018 where its object is none or no
/// materialized view, T4007, T4009.
Status PutViewStatement(duckdb::ClientContext& context, const ViewStatement& view,
                        duckdb::unique_ptr<duckdb::SQLStatement>* statement);

// What follows throws.

/// The query that CREATE MATERIALIZED VIEW gave with the table, or "".
std::string ViewQueryOf(const duckdb::CreateTableInfo& info);
bool HasData(const duckdb::CreateTableInfo& info);
/// Makes the table that is there a materialized view.
void PutViewQuery(duckdb::ClientContext& context, LaminaCatalog& catalog, const std::string& schema,
                  const std::string& table, const std::string& query, bool populated);
ViewQuery ReadViewQuery(const std::string& key, const nlohmann::json& row);
/// The same as a plain view: what REFRESH reads and EXPORT DATABASE writes.
duckdb::unique_ptr<duckdb::CatalogEntry> MakeViewQueryEntry(LaminaCatalog& catalog,
                                                            duckdb::SchemaCatalogEntry& schema,
                                                            const LaminaTableEntry& table);
/// `info` is the table's; what is made of it says CREATE MATERIALIZED VIEW.
duckdb::unique_ptr<duckdb::CreateInfo> MakeViewInfo(const LaminaTableEntry& table,
                                                    const duckdb::CreateTableInfo& info);

/// T2018: rows of materialized views are changed by REFRESH alone.
void CheckMayWrite(duckdb::ClientContext& context, const LaminaTableEntry& table);
/// T2019: it was made WITH NO DATA and not refreshed yet.
void CheckPopulated(duckdb::ClientContext& context, const LaminaTableEntry& table);
/// A REFRESH has written it.
void MarkPopulated(duckdb::ClientContext& context, const LaminaTableEntry& table);
/// T2018: changes of its definition that its query would have to know.
void CheckMayAlter(const LaminaTableEntry& table, const duckdb::AlterInfo& info);

}  // namespace lamina::sql
