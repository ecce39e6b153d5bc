#include "sql/statement_walk.h"

#include <duckdb/function/scalar_macro_function.hpp>
#include <duckdb/function/table_macro_function.hpp>
#include <duckdb/parser/expression/subquery_expression.hpp>
#include <duckdb/parser/parsed_data/copy_info.hpp>
#include <duckdb/parser/parsed_data/create_macro_info.hpp>
#include <duckdb/parser/parsed_data/create_table_info.hpp>
#include <duckdb/parser/parsed_data/create_view_info.hpp>
#include <duckdb/parser/parsed_expression_iterator.hpp>
#include <duckdb/parser/query_node/statement_node.hpp>
#include <duckdb/parser/statement/copy_statement.hpp>
#include <duckdb/parser/statement/create_statement.hpp>
#include <duckdb/parser/statement/delete_statement.hpp>
#include <duckdb/parser/statement/execute_statement.hpp>
#include <duckdb/parser/statement/explain_statement.hpp>
#include <duckdb/parser/statement/insert_statement.hpp>
#include <duckdb/parser/statement/merge_into_statement.hpp>
#include <duckdb/parser/statement/prepare_statement.hpp>
#include <duckdb/parser/statement/select_statement.hpp>
#include <duckdb/parser/statement/update_statement.hpp>
#include <duckdb/parser/tableref/basetableref.hpp>
#include <duckdb/parser/tableref/showref.hpp>

namespace lamina::sql {

using duckdb::StatementType;
using ExpressionPtr = duckdb::unique_ptr<duckdb::ParsedExpression>;

template <typename Expressions>
void StatementVisitor::VisitAll(Expressions& expressions) const {
  for (auto& expression : expressions) Visit(*expression);
}

void StatementVisitor::Visit(duckdb::ParsedExpression& expression) const {
  if (on_expression) on_expression(expression);
  if (expression.GetExpressionClass() == duckdb::ExpressionClass::SUBQUERY)
    Visit(*expression.Cast<duckdb::SubqueryExpression>().subquery->node);
  duckdb::ParsedExpressionIterator::EnumerateChildren(expression,
                                                      [&](ExpressionPtr& child) { Visit(*child); });
}

void StatementVisitor::Visit(duckdb::TableRef& ref) const {
  if (ref.type == duckdb::TableReferenceType::BASE_TABLE) {
    on_table(ref.Cast<duckdb::BaseTableRef>());
  } else if (ref.type == duckdb::TableReferenceType::SHOW_REF) {
    auto& show = ref.Cast<duckdb::ShowRef>();
    if (show.query != nullptr) Visit(*show.query);
  }
}

void StatementVisitor::Visit(duckdb::QueryNode& node) const {
  if (node.type == duckdb::QueryNodeType::STATEMENT_NODE)
    return Visit(node.Cast<duckdb::StatementNode>().stmt);
  duckdb::ParsedExpressionIterator::EnumerateQueryNodeChildren(
      node, [&](ExpressionPtr& child) { Visit(*child); },
      [&](duckdb::TableRef& ref) { Visit(ref); });
}

void StatementVisitor::Visit(duckdb::CommonTableExpressionMap& ctes) const {
  for (auto& [name, cte] : ctes.map) Visit(*cte->query->node);
}

void StatementVisitor::Visit(duckdb::UpdateSetInfo& set) const {
  VisitAll(set.expressions);
  if (set.condition != nullptr) Visit(*set.condition);
}

void StatementVisitor::Visit(duckdb::CreateInfo& info) const {
  switch (info.type) {
    case duckdb::CatalogType::TABLE_ENTRY: {
      auto& query = info.Cast<duckdb::CreateTableInfo>().query;
      if (query != nullptr) Visit(*query->node);
      return;
    }
    case duckdb::CatalogType::VIEW_ENTRY:
      return Visit(*info.Cast<duckdb::CreateViewInfo>().query->node);
    case duckdb::CatalogType::MACRO_ENTRY:
    case duckdb::CatalogType::TABLE_MACRO_ENTRY:
      for (auto& macro : info.Cast<duckdb::CreateMacroInfo>().macros) {
        if (macro->type == duckdb::MacroType::TABLE_MACRO) {
          Visit(*macro->Cast<duckdb::TableMacroFunction>().query_node);
        } else {
          Visit(*macro->Cast<duckdb::ScalarMacroFunction>().expression);
        }
      }
      return;
    default:
      return;
  }
}

void StatementVisitor::Visit(duckdb::SQLStatement& statement) const {
  // EnumerateTableRefChildren ends with the reference itself.
  const auto visit_ref = [&](duckdb::unique_ptr<duckdb::TableRef>& ref) {
    if (ref == nullptr) return;
    duckdb::ParsedExpressionIterator::EnumerateTableRefChildren(
        *ref, [&](ExpressionPtr& child) { Visit(*child); },
        [&](duckdb::TableRef& child) { Visit(child); });
  };
  const auto visit_if = [&](ExpressionPtr& expression) {
    if (expression != nullptr) Visit(*expression);
  };
  switch (statement.type) {
    case StatementType::SELECT_STATEMENT:
      return Visit(*statement.Cast<duckdb::SelectStatement>().node);
    case StatementType::EXPLAIN_STATEMENT:
      return Visit(*statement.Cast<duckdb::ExplainStatement>().stmt);
    case StatementType::PREPARE_STATEMENT:
      return Visit(*statement.Cast<duckdb::PrepareStatement>().statement);
    case StatementType::EXECUTE_STATEMENT:
      for (auto& [name, value] : statement.Cast<duckdb::ExecuteStatement>().named_values)
        Visit(*value);
      return;
    case StatementType::COPY_STATEMENT: {
      auto& query = statement.Cast<duckdb::CopyStatement>().info->select_statement;
      if (query != nullptr) Visit(*query);
      return;
    }
    case StatementType::CREATE_STATEMENT:
      return Visit(*statement.Cast<duckdb::CreateStatement>().info);
    case StatementType::INSERT_STATEMENT: {
      auto& insert = statement.Cast<duckdb::InsertStatement>();
      Visit(insert.cte_map);
      if (insert.select_statement != nullptr) Visit(*insert.select_statement->node);
      if (insert.on_conflict_info != nullptr) {
        visit_if(insert.on_conflict_info->condition);
        if (insert.on_conflict_info->set_info != nullptr) Visit(*insert.on_conflict_info->set_info);
      }
      return VisitAll(insert.returning_list);
    }
    case StatementType::UPDATE_STATEMENT: {
      auto& update = statement.Cast<duckdb::UpdateStatement>();
      Visit(update.cte_map);
      visit_ref(update.table);
      visit_ref(update.from_table);
      Visit(*update.set_info);
      return VisitAll(update.returning_list);
    }
    case StatementType::DELETE_STATEMENT: {
      auto& of = statement.Cast<duckdb::DeleteStatement>();
      Visit(of.cte_map);
      visit_ref(of.table);
      for (auto& ref : of.using_clauses) visit_ref(ref);
      visit_if(of.condition);
      return VisitAll(of.returning_list);
    }
    case StatementType::MERGE_INTO_STATEMENT: {
      auto& merge = statement.Cast<duckdb::MergeIntoStatement>();
      Visit(merge.cte_map);
      visit_ref(merge.target);
      visit_ref(merge.source);
      visit_if(merge.join_condition);
      for (auto& [when, actions] : merge.actions) {
        for (auto& action : actions) {
          visit_if(action->condition);
          if (action->update_info != nullptr) Visit(*action->update_info);
          VisitAll(action->expressions);
        }
      }
      return VisitAll(merge.returning_list);
    }
    default:
      return;
  }
}

}  // namespace lamina::sql
