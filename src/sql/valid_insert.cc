#include "sql/valid_insert.h"

#include <algorithm>
#include <utility>

#include <duckdb/parser/expression/columnref_expression.hpp>
#include <duckdb/parser/expression/constant_expression.hpp>
#include <duckdb/parser/expression/function_expression.hpp>
#include <duckdb/parser/expression/star_expression.hpp>
#include <duckdb/parser/parsed_data/create_table_info.hpp>
#include <duckdb/parser/query_node/select_node.hpp>
#include <duckdb/parser/statement/explain_statement.hpp>
#include <duckdb/parser/statement/insert_statement.hpp>
#include <duckdb/parser/statement/prepare_statement.hpp>
#include <duckdb/parser/statement/select_statement.hpp>
#include <duckdb/parser/tableref/expressionlistref.hpp>
#include <duckdb/parser/tableref/subqueryref.hpp>
#include <fmt/format.h>

#include "catalog/schema.h"
#include "sql/error_translation.h"
#include "sql/period_columns.h"
#include "sql/table_entry.h"

namespace lamina::sql {
namespace {

using ExpressionPtr = duckdb::unique_ptr<duckdb::ParsedExpression>;

// No name that is typed has these letters.
constexpr char kMark = '\x01';

bool IsHidden(const std::string& column) {
  return duckdb::StringUtil::CIEquals(column, catalog::kValidFromColumn) ||
         duckdb::StringUtil::CIEquals(column, catalog::kValidToColumn);
}

duckdb::InsertStatement* InsertOf(duckdb::SQLStatement& statement) {
  duckdb::SQLStatement* of = &statement;
  if (of->type == duckdb::StatementType::PREPARE_STATEMENT)
    of = of->Cast<duckdb::PrepareStatement>().statement.get();
  if (of->type == duckdb::StatementType::EXPLAIN_STATEMENT)
    of = of->Cast<duckdb::ExplainStatement>().stmt.get();
  return of->type == duckdb::StatementType::INSERT_STATEMENT ? &of->Cast<duckdb::InsertStatement>()
                                                             : nullptr;
}

/// Null where it is none of ours.
duckdb::optional_ptr<LaminaTableEntry> TargetOf(duckdb::ClientContext& context,
                                                const duckdb::InsertStatement& insert) {
  duckdb::optional_ptr<LaminaTableEntry> out;
  context.RunFunctionInTransaction([&] {
    std::string catalog = insert.catalog;
    std::string schema = insert.schema;
    duckdb::Binder::BindSchemaOrCatalog(context, catalog, schema);
    auto& entry = duckdb::Catalog::GetEntry<duckdb::TableCatalogEntry>(context, catalog, schema,
                                                                       insert.table);
    if (entry.ParentCatalog().GetCatalogType() == "lamina") out = &entry.Cast<LaminaTableEntry>();
  });
  return out;
}

std::vector<std::string> NamesOf(const LaminaTableEntry& table) {
  std::vector<std::string> out;
  for (const auto& column : table.GetColumns().Physical()) out.push_back(column.Name());
  return out;
}

ExpressionPtr CopyOrOpen(const ExpressionPtr& moment) {
  if (moment == nullptr) return duckdb::make_uniq<duckdb::ConstantExpression>(duckdb::Value());
  return moment->Copy();
}

/// lamina_valid_moment(…): as INSERT takes them, integers count microseconds.
ExpressionPtr AsMoment(const ExpressionPtr& moment) {
  duckdb::vector<ExpressionPtr> children;
  children.push_back(CopyOrOpen(moment));
  return duckdb::make_uniq<duckdb::FunctionExpression>("lamina_valid_moment", std::move(children));
}

Result<ValidInsertMode> TakeMode(duckdb::InsertStatement* insert, const LaminaTableEntry& table) {
  if (insert->on_conflict_info == nullptr) return ValidInsertMode::kFail;
  const auto info = std::move(insert->on_conflict_info);
  insert->table_ref = nullptr;
  const bool update = info->action_type == duckdb::OnConflictAction::UPDATE;
  const auto& key = table.table().key;
  const auto& target = info->indexed_columns;
  const bool by_key =
      target.empty() || (target.size() == key.size() &&
                         std::all_of(target.begin(), target.end(), [&](const std::string& name) {
                           return std::any_of(key.begin(), key.end(), [&](const std::string& of) {
                             return duckdb::StringUtil::CIEquals(of, name);
                           });
                         }));
  if (update || !by_key || info->condition != nullptr || key.empty()) {
    return MakeSqlError("T4009",
                        "an INSERT with a valid time of its own does nothing but replace or skip "
                        "on a conflict of the primary key: table=" +
                            table.name,
                        "INSERT OR REPLACE lays rows over others in their valid time; UPDATE … FOR "
                        "PORTION OF changes what is there");
  }
  return info->action_type == duckdb::OnConflictAction::REPLACE ? ValidInsertMode::kReplace
                                                                : ValidInsertMode::kSkip;
}

/// SELECT *, from, to FROM (query).
void AddColumns(const ExpressionPtr& from, const ExpressionPtr& to,
                duckdb::unique_ptr<duckdb::SelectStatement>* query) {
  auto node = duckdb::make_uniq<duckdb::SelectNode>();
  node->select_list.push_back(duckdb::make_uniq<duckdb::StarExpression>());
  for (const auto& [moment, name] :
       {std::pair(&from, catalog::kValidFromColumn), std::pair(&to, catalog::kValidToColumn)}) {
    node->select_list.push_back(AsMoment(*moment));
    node->select_list.back()->SetAlias(name);
  }
  node->from_table = duckdb::make_uniq<duckdb::SubqueryRef>(std::move(*query), "rows");
  *query = duckdb::make_uniq<duckdb::SelectStatement>();
  (*query)->node = std::move(node);
}

/// RETURNING * has no hidden columns.
void LeaveOutOfStars(duckdb::InsertStatement* insert) {
  for (auto& item : insert->returning_list) {
    if (item->GetExpressionClass() != duckdb::ExpressionClass::STAR) continue;
    auto& star = item->Cast<duckdb::StarExpression>();
    for (const char* name : {catalog::kValidFromColumn, catalog::kValidToColumn})
      star.exclude_list.insert(duckdb::QualifiedColumnName(name));
  }
}

}  // namespace

std::optional<ValidInsert> ValidInsert::Of(const std::string& name) {
  if (name.size() < 2 || name[name.size() - 2] != kMark) return {};
  return ValidInsert{name.substr(0, name.size() - 2), static_cast<ValidInsertMode>(name.back())};
}

std::string ValidInsert::Name() const { return table + kMark + static_cast<char>(mode); }

Status PutValidInsert(duckdb::ClientContext& context, ValidClause clause,
                      duckdb::SQLStatement& statement) {
  duckdb::InsertStatement* insert = InsertOf(statement);
  if (insert == nullptr) return Status::OK();
  const bool named = std::any_of(insert->columns.begin(), insert->columns.end(), IsHidden);
  if (!clause.said && !named && insert->on_conflict_info == nullptr) return Status::OK();
  const auto table = TargetOf(context, *insert);
  if (table != nullptr && HasPeriod(*table)) {
    if (clause.said || named) {
      return MakeSqlError("T4009",
                          fmt::format("the table takes the valid time of its rows from its own "
                                      "columns: table={} columns=({})",
                                      table->name, PeriodText(*table)),
                          "write the time into these columns");
    }
    ARROW_ASSIGN_OR_RAISE(const ValidInsertMode mode, TakeMode(insert, *table));
    insert->table = ValidInsert{insert->table, mode}.Name();
    return Status::OK();
  }
  if (!clause.said && !named) return Status::OK();
  if (table == nullptr) {
    if (!clause.said) return Status::OK();  // a column of another database's table
    return MakeSqlError(
        "T4009", "rows have a valid time in tables of the database alone: table=" + insert->table);
  }
  if (clause.said) {
    if (named)
      return MakeSqlError("T1002",
                          "the valid time of the rows is said twice: table=" + table->name);
    if (insert->column_order == duckdb::InsertColumnOrder::INSERT_BY_POSITION) {
      if (insert->columns.empty() && !insert->default_values) {
        const auto names = NamesOf(*table);
        const auto rows = insert->GetValuesList();
        if (rows != nullptr && rows->values[0].size() != names.size()) {
          return MakeSqlError("T2016",
                              fmt::format("table {} has {} columns but {} values were supplied",
                                          table->name, names.size(), rows->values[0].size()));
        }
        insert->columns.assign(names.begin(), names.end());
      }
      insert->columns.emplace_back(catalog::kValidFromColumn);
      insert->columns.emplace_back(catalog::kValidToColumn);
    }
    if (insert->default_values) {
      insert->default_values = false;
      auto values = duckdb::make_uniq<duckdb::ExpressionListRef>();
      values->values.emplace_back();
      values->expected_names = {catalog::kValidFromColumn, catalog::kValidToColumn};
      values->alias = "valueslist";
      auto node = duckdb::make_uniq<duckdb::SelectNode>();
      node->select_list.push_back(duckdb::make_uniq<duckdb::StarExpression>());
      node->from_table = std::move(values);
      insert->select_statement = duckdb::make_uniq<duckdb::SelectStatement>();
      insert->select_statement->node = std::move(node);
    }
    if (auto values = insert->GetValuesList()) {
      for (auto& row : values->values) {
        row.push_back(AsMoment(clause.from));
        row.push_back(AsMoment(clause.to));
      }
      if (!values->expected_names.empty() &&
          values->expected_names.size() < values->values[0].size())
        values->expected_names.insert(values->expected_names.end(),
                                      {catalog::kValidFromColumn, catalog::kValidToColumn});
    } else {
      AddColumns(clause.from, clause.to, &insert->select_statement);
    }
  }
  ARROW_ASSIGN_OR_RAISE(const ValidInsertMode mode, TakeMode(insert, *table));
  LeaveOutOfStars(insert);
  insert->table = ValidInsert{insert->table, mode}.Name();
  insert->table_ref = nullptr;
  return Status::OK();
}

duckdb::unique_ptr<LaminaTableEntry> MakeValidEntry(const LaminaTableEntry& table,
                                                    ValidInsertMode mode) {
  auto info = table.TableCatalogEntry::GetInfo();
  auto& create = info->Cast<duckdb::CreateTableInfo>();
  const bool period = HasPeriod(table);  // whose columns say it
  for (const char* name : {catalog::kValidFromColumn, catalog::kValidToColumn})
    if (!period)
      create.columns.AddColumn(duckdb::ColumnDefinition(name, duckdb::LogicalType::TIMESTAMP_TZ));
  return duckdb::make_uniq<LaminaTableEntry>(table.catalog, table.schema, create, table.table(),
                                             table.dependents(), mode);
}

}  // namespace lamina::sql
