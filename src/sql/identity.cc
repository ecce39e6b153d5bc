#include "sql/identity.h"

#include <algorithm>

#include <duckdb/parser/expression/columnref_expression.hpp>
#include <duckdb/parser/query_node/select_node.hpp>
#include <duckdb/parser/statement/explain_statement.hpp>
#include <duckdb/parser/statement/insert_statement.hpp>
#include <duckdb/parser/statement/merge_into_statement.hpp>
#include <duckdb/parser/statement/prepare_statement.hpp>
#include <duckdb/parser/statement/update_statement.hpp>
#include <duckdb/parser/tableref/basetableref.hpp>
#include <duckdb/parser/tableref/expressionlistref.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/schema_entry.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"

namespace lamina::sql {
namespace {

bool IsDefault(const duckdb::ParsedExpression& expression) {
  return expression.GetExpressionType() == duckdb::ExpressionType::VALUE_DEFAULT;
}

/// One statement, against one table.
class IdentityCheck {
 public:
  IdentityCheck(const LaminaTableEntry& table, std::vector<std::string> always)
      : table_(table), always_(std::move(always)) {}

  void Insert(const duckdb::InsertStatement& insert, bool overriding) const {
    if (insert.on_conflict_info != nullptr && insert.on_conflict_info->set_info != nullptr)
      Set(*insert.on_conflict_info->set_info);
    if (overriding || insert.default_values) return;
    if (insert.column_order == duckdb::InsertColumnOrder::INSERT_BY_NAME) return ByName(insert);
    const auto columns = Given(insert.columns);
    const auto rows = insert.GetValuesList();
    for (size_t i = 0; i < columns.size(); ++i) {
      if (!IsAlways(columns[i])) continue;
      if (rows == nullptr) Refuse(columns[i]);
      for (const auto& row : rows->values)
        if (i < row.size() && !IsDefault(*row[i])) Refuse(columns[i]);
    }
  }
  void Set(const duckdb::UpdateSetInfo& set) const {
    for (size_t i = 0; i < set.columns.size(); ++i)
      if (IsAlways(set.columns[i]) && !IsDefault(*set.expressions[i])) Refuse(set.columns[i]);
  }
  void Merge(const duckdb::MergeIntoStatement& merge) const {
    for (const auto& [condition, actions] : merge.actions) {
      for (const auto& action : actions) {
        if (action->update_info != nullptr) Set(*action->update_info);
        if (action->action_type != duckdb::MergeActionType::MERGE_INSERT || action->default_values)
          continue;
        const auto columns = Given(action->insert_columns);
        for (size_t i = 0; i < columns.size(); ++i) {
          if (!IsAlways(columns[i])) continue;
          // INSERT without values takes all columns of the source.
          if (i >= action->expressions.size() || !IsDefault(*action->expressions[i]))
            Refuse(columns[i]);
        }
      }
    }
  }

 private:
  bool IsAlways(const std::string& column) const {
    return std::any_of(always_.begin(), always_.end(), [&](const std::string& name) {
      return duckdb::StringUtil::CIEquals(name, column);
    });
  }
  /// The columns that values are for, in their order.
  std::vector<std::string> Given(const duckdb::vector<duckdb::string>& named) const {
    std::vector<std::string> out(named.begin(), named.end());
    if (!out.empty()) return out;
    for (const auto& column : table_.GetColumns().Physical()) out.push_back(column.Name());
    return out;
  }
  void ByName(const duckdb::InsertStatement& insert) const {
    const auto& node = *insert.select_statement->node;
    if (node.type == duckdb::QueryNodeType::SELECT_NODE) {
      for (const auto& item : node.Cast<duckdb::SelectNode>().select_list) {
        if (item->GetExpressionType() == duckdb::ExpressionType::STAR) Unknown();
        if (IsAlways(item->GetName())) Refuse(item->GetName());
      }
      return;
    }
    Unknown();
  }
  [[noreturn]] void Unknown() const {
    Throw(MakeSqlError("T4009",
                       fmt::format("INSERT BY NAME into a table with an identity column that is "
                                   "GENERATED ALWAYS needs its columns by name: table={}",
                                   table_.name),
                       "list them in the SELECT, without *"));
  }
  [[noreturn]] void Refuse(const std::string& column) const {
    Throw(MakeSqlError("T3006",
                       fmt::format("the column takes no value but the next of its sequence: "
                                   "table={} column={}",
                                   table_.name, column),
                       "leave it out, or write DEFAULT; INSERT … OVERRIDING SYSTEM VALUE gives it "
                       "one all the same"));
  }

  const LaminaTableEntry& table_;
  const std::vector<std::string> always_;
};

void Check(duckdb::ClientContext& context, const duckdb::SQLStatement& statement, bool overriding) {
  std::string catalog, schema, name;
  const auto at = [&](const duckdb::TableRef& ref) {
    if (ref.type != duckdb::TableReferenceType::BASE_TABLE) return;
    const auto& table = ref.Cast<duckdb::BaseTableRef>();
    catalog = table.catalog_name;
    schema = table.schema_name;
    name = table.table_name;
  };
  using duckdb::StatementType;
  switch (statement.type) {
    case StatementType::INSERT_STATEMENT: {
      const auto& insert = statement.Cast<duckdb::InsertStatement>();
      catalog = insert.catalog;
      schema = insert.schema;
      name = insert.table;
      break;
    }
    case StatementType::UPDATE_STATEMENT:
      at(*statement.Cast<duckdb::UpdateStatement>().table);
      break;
    case StatementType::MERGE_INTO_STATEMENT:
      at(*statement.Cast<duckdb::MergeIntoStatement>().target);
      break;
    default:
      return;
  }
  if (name.empty()) return;
  duckdb::Binder::BindSchemaOrCatalog(context, catalog, schema);
  auto entry =
      duckdb::Catalog::GetEntry(context, catalog, schema, {duckdb::CatalogType::TABLE_ENTRY, name},
                                duckdb::OnEntryNotFound::RETURN_NULL);
  if (entry == nullptr || entry->type != duckdb::CatalogType::TABLE_ENTRY ||
      entry->ParentCatalog().GetCatalogType() != "lamina")
    return;
  auto& table = entry->Cast<LaminaTableEntry>();
  std::vector<std::string> always;
  for (const auto& column : table.GetColumns().Physical()) {
    const LaminaSequenceEntry* sequence = IdentityOf(context, table, column.Name());
    if (sequence != nullptr && sequence->always()) always.push_back(column.Name());
  }
  if (always.empty()) return;
  const IdentityCheck check(table, std::move(always));
  if (statement.type == StatementType::INSERT_STATEMENT)
    check.Insert(statement.Cast<duckdb::InsertStatement>(), overriding);
  if (statement.type == StatementType::UPDATE_STATEMENT)
    check.Set(*statement.Cast<duckdb::UpdateStatement>().set_info);
  if (statement.type == StatementType::MERGE_INTO_STATEMENT)
    check.Merge(statement.Cast<duckdb::MergeIntoStatement>());
}

}  // namespace

LaminaSequenceEntry* IdentityOf(duckdb::ClientContext& context, LaminaTableEntry& table,
                                const std::string& column) {
  const auto& of = table.GetColumn(column);
  if (of.Generated() || !of.HasDefaultValue()) return nullptr;
  LaminaSequenceEntry* out = nullptr;
  for (auto& [name, schema] :
       LaminaTransaction::Get(context, table.catalog).definitions().schemas())
    schema->Scan(duckdb::CatalogType::SEQUENCE_ENTRY, [&](duckdb::CatalogEntry& in) {
      auto& sequence = in.Cast<LaminaSequenceEntry>();
      if (sequence.owner() == table.table().name &&
          UsesSequence(of.DefaultValue(), table.schema.name, sequence))
        out = &sequence;
    });
  return out;
}

void LaminaSchemaEntry::SetIdentity(duckdb::ClientContext& context, LaminaTableEntry& table,
                                    const std::string& column, bool always) {
  const LaminaSequenceEntry* sequence = IdentityOf(context, table, column);
  if (sequence == nullptr) {
    Throw(MakeSqlError(
        "T2015",
        fmt::format("the column is no identity column: table={} column={}", table.name, column),
        "a column is made one by CREATE TABLE or ADD COLUMN"));
  }
  auto& in = sequence->schema.Cast<LaminaSchemaEntry>();
  in.PutSequence(context, sequence->Definition(), sequence->handle().id,
                 {sequence->owner(), always});
}

Result<bool> TakeOverriding(const StatementSpan& span, std::string* statement) {
  const auto is = [&](size_t i, std::string_view word) {
    if (i >= span.tokens.size() || span.tokens[i].kind != TokenKind::kWord) return false;
    const Token& token = span.tokens[i];
    return Is({token.kind, token.begin - span.begin, token.end - span.begin}, *statement, word);
  };
  bool insert = false;
  for (size_t i = 0; i < span.tokens.size(); ++i) {
    insert = insert || is(i, "INSERT");
    if (!insert || !is(i, "OVERRIDING") || !is(i + 2, "VALUE")) continue;
    if (is(i + 1, "USER")) {
      return MakeSqlError("T4009", "OVERRIDING USER VALUE is not there",
                          "leave the column out: its values come from the sequence then",
                          span.tokens[i].begin);
    }
    if (!is(i + 1, "SYSTEM")) continue;
    const size_t begin = span.tokens[i].begin - span.begin;
    const size_t end = span.tokens[i + 2].end - span.begin;
    std::fill(statement->begin() + static_cast<std::ptrdiff_t>(begin),
              statement->begin() + static_cast<std::ptrdiff_t>(end), ' ');
    return true;
  }
  return false;
}

Status CheckIdentity(duckdb::ClientContext& context, const duckdb::SQLStatement& statement,
                     bool overriding) {
  using duckdb::StatementType;
  if (statement.type == StatementType::PREPARE_STATEMENT)
    return CheckIdentity(context, *statement.Cast<duckdb::PrepareStatement>().statement,
                         overriding);
  if (statement.type == StatementType::EXPLAIN_STATEMENT)
    return CheckIdentity(context, *statement.Cast<duckdb::ExplainStatement>().stmt, overriding);
  if (statement.type != StatementType::INSERT_STATEMENT &&
      statement.type != StatementType::UPDATE_STATEMENT &&
      statement.type != StatementType::MERGE_INTO_STATEMENT)
    return Status::OK();
  context.RunFunctionInTransaction([&] { Check(context, statement, overriding); });
  return Status::OK();
}

}  // namespace lamina::sql
