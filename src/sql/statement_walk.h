// Visits what a parsed statement is made of.
#pragma once

#include <functional>

#include "sql/duckdb_api.h"

namespace lamina::sql {

struct StatementVisitor {
  /// Every name in a FROM: of tables, views and CTEs; also what UPDATE, DELETE and MERGE change.
  std::function<void(duckdb::BaseTableRef&)> on_table;
  /// Parents before their children.
  std::function<void(duckdb::ParsedExpression&)> on_expression = {};

  /// With its subqueries and CTEs.
  void Visit(duckdb::QueryNode& node) const;
  void Visit(duckdb::ParsedExpression& expression) const;
  /// Also of what EXPLAIN, PREPARE, COPY and CREATE are about. Defaults and constraints of tables
  /// are left out: they read no tables.
  void Visit(duckdb::SQLStatement& statement) const;

 private:
  void Visit(duckdb::TableRef& ref) const;
  void Visit(duckdb::CommonTableExpressionMap& ctes) const;
  void Visit(duckdb::CreateInfo& info) const;
  template <typename Expressions>
  void VisitAll(Expressions& expressions) const;
  void Visit(duckdb::UpdateSetInfo& set) const;
};

}  // namespace lamina::sql
