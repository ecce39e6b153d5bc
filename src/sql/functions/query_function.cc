#include "sql/functions/query_function.h"

#include <utility>

#include <duckdb/parser/keyword_helper.hpp>
#include <duckdb/parser/statement/select_statement.hpp>
#include <duckdb/parser/tableref/subqueryref.hpp>

namespace lamina::sql {

std::string QuotedName(const std::string& name) {
  return duckdb::KeywordHelper::WriteQuoted(name, '"');
}

duckdb::unique_ptr<duckdb::TableRef> QueryAsTable(duckdb::ClientContext& context,
                                                  const std::string& query, const char* alias) {
  duckdb::Parser parser(context.GetParserOptions());
  parser.ParseQuery(query);
  return duckdb::make_uniq<duckdb::SubqueryRef>(
      duckdb::unique_ptr_cast<duckdb::SQLStatement, duckdb::SelectStatement>(
          std::move(parser.statements.at(0))),
      alias);
}

duckdb::TableFunction QueryFunction(const char* name, duckdb::vector<duckdb::LogicalType> arguments,
                                    duckdb::table_function_bind_replace_t replace) {
  duckdb::TableFunction out(name, std::move(arguments), nullptr, nullptr);
  out.bind_replace = replace;
  return out;
}

}  // namespace lamina::sql
