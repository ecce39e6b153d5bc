#include "sql/trigger_body.h"

#include <algorithm>

#include <duckdb/catalog/catalog_entry/scalar_function_catalog_entry.hpp>
#include <duckdb/common/types/column/column_data_collection.hpp>
#include <duckdb/parser/expression/columnref_expression.hpp>
#include <duckdb/parser/expression/function_expression.hpp>
#include <duckdb/parser/expression/parameter_expression.hpp>
#include <duckdb/parser/parsed_expression_iterator.hpp>
#include <duckdb/parser/query_node/select_node.hpp>
#include <duckdb/parser/statement/insert_statement.hpp>
#include <duckdb/parser/statement/select_statement.hpp>
#include <duckdb/parser/tableref/column_data_ref.hpp>
#include <duckdb/parser/tableref/expressionlistref.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/lexer.h"
#include "sql/suggestion.h"
#include "sql/token_reader.h"

namespace lamina::sql {
namespace {

using duckdb::ParsedExpression;
using ExpressionPtr = duckdb::unique_ptr<ParsedExpression>;

constexpr char kRows[] = "lamina rows";

/// Visits NEW.name and OLD.name, where `name` may be *: with the tokens' numbers.
template <typename Visit>
Status ForTransitions(std::string_view text, const std::vector<Token>& tokens, Visit&& visit) {
  const auto is_dot = [&](size_t i) { return i < tokens.size() && tokens[i].In(text) == "."; };
  for (size_t i = 0; i + 2 < tokens.size(); ++i) {
    const bool fresh = tokens[i].kind == TokenKind::kWord && Is(tokens[i], text, "NEW");
    const bool old = tokens[i].kind == TokenKind::kWord && Is(tokens[i], text, "OLD");
    if ((!fresh && !old) || !is_dot(i + 1) || (i > 0 && is_dot(i - 1))) continue;
    ARROW_RETURN_NOT_OK(visit(fresh, i));
  }
  return Status::OK();
}

/// Parameters become columns of the rows. False: a subquery is in it.
bool ToColumns(ExpressionPtr& expression) {
  if (expression->GetExpressionClass() == duckdb::ExpressionClass::SUBQUERY) return false;
  if (expression->GetExpressionClass() == duckdb::ExpressionClass::PARAMETER) {
    const std::string alias = expression->GetAlias();
    expression = duckdb::make_uniq<duckdb::ColumnRefExpression>(
        expression->Cast<duckdb::ParameterExpression>().identifier, kRows);
    if (!alias.empty()) expression->SetAlias(alias);
    return true;
  }
  bool out = true;
  duckdb::ParsedExpressionIterator::EnumerateChildren(
      *expression, [&](ExpressionPtr& child) { out = ToColumns(child) && out; });
  return out;
}

/// Whether its value for a row depends on nothing but the row.
bool IsOfRowAlone(duckdb::ClientContext& context, ParsedExpression& expression) {
  switch (expression.GetExpressionClass()) {
    case duckdb::ExpressionClass::SUBQUERY:
    case duckdb::ExpressionClass::WINDOW:
    case duckdb::ExpressionClass::DEFAULT:
    case duckdb::ExpressionClass::STAR:
      return false;
    case duckdb::ExpressionClass::FUNCTION: {
      const auto& function = expression.Cast<duckdb::FunctionExpression>();
      const auto entry = duckdb::Catalog::GetEntry(
          context, function.catalog, function.schema,
          {duckdb::CatalogType::SCALAR_FUNCTION_ENTRY, function.function_name},
          duckdb::OnEntryNotFound::RETURN_NULL);
      // Not aggregates, nor macros, which may ask anything.
      if (entry == nullptr || entry->type != duckdb::CatalogType::SCALAR_FUNCTION_ENTRY)
        return false;
      for (const auto& of : entry->Cast<duckdb::ScalarFunctionCatalogEntry>().functions.functions) {
        if (of.GetStability() == duckdb::FunctionStability::VOLATILE) return false;
      }
      break;
    }
    default:
      break;
  }
  bool out = true;
  duckdb::ParsedExpressionIterator::EnumerateChildren(
      expression, [&](ParsedExpression& child) { out = out && IsOfRowAlone(context, child); });
  return out;
}

/// SELECT expressions [WHERE condition], or VALUES of one row, over the rows. False: it is more.
bool SelectOverAllRows(duckdb::ClientContext& context, duckdb::SelectStatement& select,
                       const LaminaTableEntry& table, duckdb::ColumnDataCollection& rows) {
  if (select.node->type != duckdb::QueryNodeType::SELECT_NODE) return false;
  auto& node = select.node->Cast<duckdb::SelectNode>();
  if (!node.modifiers.empty() || !node.cte_map.map.empty() ||
      !node.groups.group_expressions.empty() || node.having != nullptr || node.qualify != nullptr ||
      node.sample != nullptr)
    return false;
  if (node.from_table->type == duckdb::TableReferenceType::EXPRESSION_LIST) {
    auto& values = node.from_table->Cast<duckdb::ExpressionListRef>().values;
    if (values.size() != 1 || node.where_clause != nullptr) return false;
    node.select_list = std::move(values[0]);
  } else if (node.from_table->type != duckdb::TableReferenceType::EMPTY_FROM) {
    return false;
  }
  const auto convert = [&](ExpressionPtr& expression) {
    return IsOfRowAlone(context, *expression) && ToColumns(expression);
  };
  for (ExpressionPtr& expression : node.select_list) {
    if (!convert(expression)) return false;
  }
  if (node.where_clause != nullptr && !convert(node.where_clause)) return false;
  node.from_table = FromRows(table, rows);
  return true;
}

}  // namespace

size_t TriggerText::ToOriginal(size_t position) const {
  size_t out = position;
  for (const auto& [in_text, in_original] : marks_) {
    if (in_text > position) break;
    out = in_original + (position - in_text);
  }
  return out;
}

Result<TriggerText> BindTransition(std::string_view original, const LaminaTableEntry& table,
                                   const TriggerDefinition& trigger) {
  const std::vector<Token> tokens = Tokenize(original).tokens;
  for (const Token& token : tokens) {
    if (token.kind != TokenKind::kParameter) continue;
    return MakeSqlError("T4007", "a trigger cannot hold parameters", "NEW and OLD are its rows",
                        token.begin);
  }
  TriggerText out;
  size_t done = 0;
  const auto& columns = table.GetColumns();
  ARROW_RETURN_NOT_OK(ForTransitions(original, tokens, [&](bool fresh, size_t i) -> Status {
    const char* word = fresh ? "NEW" : "OLD";
    const bool there =
        fresh ? trigger.on_insert || trigger.on_update : trigger.on_update || trigger.on_delete;
    if (!trigger.each_row) {
      return MakeSqlError("T2015",
                          fmt::format("{} is a row, and the trigger is FOR EACH STATEMENT", word),
                          "REFERENCING NEW TABLE AS name gives all of them", tokens[i].begin);
    }
    if (!there) {
      return MakeSqlError(
          "T2015",
          fmt::format("there is no {} row when rows are {}", word, fresh ? "deleted" : "inserted"),
          "", tokens[i].begin);
    }
    const auto parameter = [&](duckdb::idx_t column) {
      std::string name = fmt::format("{}{}", fresh ? 'n' : 'o', column);
      out.parameters.insert(name);
      return name;
    };
    const Token& name = tokens[i + 2];
    std::string by;
    if (name.In(original) == "*") {
      for (const auto& column : columns.Logical()) {
        by += fmt::format("{}(${})", by.empty() ? "" : ", ", parameter(column.Logical().index));
      }
    } else if (name.kind != TokenKind::kWord && name.kind != TokenKind::kQuotedWord) {
      return MakeSqlError("T1002", fmt::format("{}.column is expected", word), "", name.begin);
    } else {
      const std::string column = NameOf(name, original);
      if (!columns.ColumnExists(column)) {
        return MakeSqlError(
            "T2002", fmt::format("column does not exist: table={} column={}", table.name, column),
            DidYouMean(column, columns.GetColumnNames()), name.begin);
      }
      by = fmt::format("(${})", parameter(columns.GetColumn(column).Logical().index));
    }
    out.text += original.substr(done, tokens[i].begin - done);
    out.marks_.emplace_back(out.text.size(), tokens[i].begin);
    out.text += by;
    done = name.end;
    out.marks_.emplace_back(out.text.size(), done);
    return Status::OK();
  }));
  out.text += original.substr(done);
  return out;
}

std::string RenameInText(std::string_view original, const std::string& from,
                         const std::string& to) {
  const std::vector<Token> tokens = Tokenize(original).tokens;
  std::string out;
  size_t done = 0;
  (void)ForTransitions(original, tokens, [&](bool, size_t i) {  // its visitor gives no error
    const Token& name = tokens[i + 2];
    if ((name.kind == TokenKind::kWord || name.kind == TokenKind::kQuotedWord) &&
        duckdb::StringUtil::CIEquals(NameOf(name, original), from)) {
      out += original.substr(done, name.begin - done);
      out += duckdb::KeywordHelper::WriteQuoted(to, '"');
      done = name.end;
    }
    return Status::OK();
  });
  out += original.substr(done);
  return out;
}

duckdb::vector<duckdb::string> TransitionNames(const LaminaTableEntry& table) {
  duckdb::vector<duckdb::string> out;
  for (const char side : {'o', 'n'}) {
    for (size_t i = 0; i < table.GetColumns().LogicalColumnCount(); ++i)
      out.push_back(fmt::format("{}{}", side, i));
  }
  return out;
}

duckdb::unique_ptr<duckdb::SQLStatement> ParseBody(const std::string& text) {
  duckdb::Parser parser;
  parser.ParseQuery(text);
  if (parser.statements.size() == 1) {
    switch (parser.statements[0]->type) {
      case duckdb::StatementType::INSERT_STATEMENT:
      case duckdb::StatementType::UPDATE_STATEMENT:
      case duckdb::StatementType::DELETE_STATEMENT:
      case duckdb::StatementType::MERGE_INTO_STATEMENT:
      case duckdb::StatementType::SELECT_STATEMENT:
        return std::move(parser.statements[0]);
      default:
        break;
    }
  }
  Throw(MakeSqlError("T4009", "a trigger runs INSERT, UPDATE, DELETE, MERGE and SELECT", "",
                     size_t{0}));
}

duckdb::unique_ptr<ParsedExpression> ParseCondition(const std::string& text) {
  auto expressions = duckdb::Parser::ParseExpressionList(text);
  if (expressions.size() != 1)
    Throw(MakeSqlError("T1002", "one condition goes into WHEN (…)", "", size_t{0}));
  if (!ToColumns(expressions[0])) {
    Throw(MakeSqlError("T4009", "WHEN (…) cannot hold a subquery",
                       "the trigger's statements can: INSERT … SELECT … WHERE EXISTS (…)",
                       size_t{0}));
  }
  return std::move(expressions[0]);
}

duckdb::unique_ptr<duckdb::TableRef> FromRows(const LaminaTableEntry& table,
                                              duckdb::ColumnDataCollection& rows) {
  auto out = duckdb::make_uniq<duckdb::ColumnDataRef>(
      duckdb::optionally_owned_ptr<duckdb::ColumnDataCollection>(rows), TransitionNames(table));
  out->alias = kRows;
  return out;
}

duckdb::unique_ptr<duckdb::SQLStatement> OverAllRows(duckdb::ClientContext& context,
                                                     const duckdb::SQLStatement& statement,
                                                     const LaminaTableEntry& table,
                                                     duckdb::ColumnDataCollection& rows) {
  auto out = statement.Copy();
  if (out->type == duckdb::StatementType::SELECT_STATEMENT) {
    auto& select = out->Cast<duckdb::SelectStatement>();
    if (!SelectOverAllRows(context, select, table, rows)) return nullptr;
  } else if (out->type == duckdb::StatementType::INSERT_STATEMENT) {
    auto& insert = out->Cast<duckdb::InsertStatement>();
    if (insert.on_conflict_info != nullptr || !insert.returning_list.empty() ||
        !insert.cte_map.map.empty() || insert.default_values || insert.select_statement == nullptr)
      return nullptr;
    std::string catalog = insert.catalog;
    std::string schema = insert.schema;
    duckdb::Binder::BindSchemaOrCatalog(context, catalog, schema);
    const auto entry = duckdb::Catalog::GetEntry(context, catalog, schema,
                                                 {duckdb::CatalogType::TABLE_ENTRY, insert.table},
                                                 duckdb::OnEntryNotFound::RETURN_NULL);
    const auto* target = dynamic_cast<const LaminaTableEntry*>(entry.get());
    if (target == nullptr || !target->dependents().triggers.empty() ||
        !target->dependents().foreign_keys.empty())
      return nullptr;
    if (!SelectOverAllRows(context, *insert.select_statement, table, rows)) return nullptr;
  } else {
    return nullptr;
  }
  out->named_param_map.clear();
  return out;
}

}  // namespace lamina::sql
