#include "sql/view_dependents.h"

#include <algorithm>

#include <duckdb/catalog/catalog_entry/view_catalog_entry.hpp>
#include <duckdb/parser/constraints/check_constraint.hpp>
#include <duckdb/parser/expression/function_expression.hpp>
#include <duckdb/parser/parsed_data/drop_info.hpp>
#include <duckdb/parser/parsed_expression_iterator.hpp>
#include <duckdb/parser/statement/select_statement.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/lexer.h"
#include "sql/materialized_view.h"
#include "sql/schema_entry.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"

namespace lamina::sql {
namespace {

using duckdb::CatalogType;

bool Names(const std::string& text, const std::string& name) {
  const auto tokens = Tokenize(text).tokens;
  return std::any_of(tokens.begin(), tokens.end(), [&](const Token& token) {
    std::string_view word = token.In(text);
    if (token.kind == TokenKind::kQuotedWord) word = word.substr(1, word.size() - 2);
    return (token.kind == TokenKind::kQuotedWord || token.kind == TokenKind::kWord) &&
           duckdb::StringUtil::CIEquals(std::string(word), name);
  });
}

bool CanBeBound(duckdb::ClientContext& context, duckdb::ViewCatalogEntry& view) {
  try {
    auto query = view.GetQuery().Copy();
    auto binder = duckdb::Binder::CreateBinder(context);
    binder->SetSearchPath(view.catalog, view.schema.name);
    (void)binder->Bind(*query);
    return true;
  } catch (const std::exception&) {
    return false;  // whatever it misses
  }
}

void ForEach(LaminaCatalog& catalog, duckdb::ClientContext& context,
             const std::function<void(LaminaSchemaEntry&, duckdb::CatalogEntry&)>& visit) {
  for (duckdb::SchemaCatalogEntry& schema : catalog.GetSchemas(context)) {
    if (schema.catalog.GetName() != catalog.GetName()) continue;
    schema.Scan(context, CatalogType::TABLE_ENTRY, [&](duckdb::CatalogEntry& entry) {
      visit(schema.Cast<LaminaSchemaEntry>(), entry);
    });
  }
}

bool IsMaterialized(const duckdb::CatalogEntry& entry) {
  return entry.type == CatalogType::TABLE_ENTRY &&
         entry.Cast<LaminaTableEntry>().dependents().view.has_value();
}

/// What it reads, as it is now; null when it is gone.
duckdb::ViewCatalogEntry* Find(duckdb::ClientContext& context, LaminaCatalog& catalog,
                               const WorkingViews::View& view) {
  auto* schema = LaminaTransaction::Get(context, catalog).definitions().FindSchema(view.schema);
  if (schema == nullptr) return nullptr;
  auto entry = schema->LookupEntry(
      catalog.GetCatalogTransaction(context),
      {CatalogType::VIEW_ENTRY, (view.materialized ? kViewQueryPrefix : "") + view.name});
  if (entry == nullptr || entry->type != CatalogType::VIEW_ENTRY) return nullptr;
  return &entry->Cast<duckdb::ViewCatalogEntry>();
}

bool Calls(const duckdb::ParsedExpression& expression, const std::string& macro) {
  if (expression.GetExpressionClass() == duckdb::ExpressionClass::FUNCTION &&
      duckdb::StringUtil::CIEquals(expression.Cast<duckdb::FunctionExpression>().function_name,
                                   macro))
    return true;
  bool found = false;
  duckdb::ParsedExpressionIterator::EnumerateChildren(
      expression,
      [&](const duckdb::ParsedExpression& child) { found = found || Calls(child, macro); });
  return found;
}

}  // namespace

WorkingViews::WorkingViews(duckdb::ClientContext& context, LaminaCatalog& catalog,
                           const std::string& name)
    : catalog_(catalog) {
  struct Candidate {
    View view;
    std::string query;
  };
  std::vector<Candidate> candidates;
  ForEach(catalog, context, [&](LaminaSchemaEntry& schema, duckdb::CatalogEntry& entry) {
    if (IsMaterialized(entry)) {
      candidates.push_back({{schema.name, entry.name, /*materialized=*/true},
                            entry.Cast<LaminaTableEntry>().dependents().view->query});
    } else if (entry.type == CatalogType::VIEW_ENTRY) {
      candidates.push_back({{schema.name, entry.name},
                            entry.Cast<duckdb::ViewCatalogEntry>().GetQuery().ToString()});
    }
  });
  // Also those that name one of these.
  std::vector<std::string> names = {name};
  for (size_t i = 0; i < names.size() && !candidates.empty(); ++i) {
    std::erase_if(candidates, [&](const Candidate& candidate) {
      if (!Names(candidate.query, names[i])) return false;
      names.push_back(candidate.view.name);
      auto entry = Find(context, catalog, candidate.view);
      if (entry != nullptr && CanBeBound(context, *entry)) views_.push_back(candidate.view);
      return true;
    });
  }
}

void WorkingViews::Check(duckdb::ClientContext& context, const char* what, const std::string& which,
                         bool cascade) const {
  for (const View& of : views_) {
    auto entry = Find(context, catalog_, of);
    if (entry == nullptr || CanBeBound(context, *entry)) continue;
    if (!cascade) {
      Throw(MakeSqlError(
          "T2013",
          fmt::format("a {}view needs this {}: {}={} view={}",
                      of.materialized ? "materialized " : "", what,
                      std::string_view(what).ends_with("view") ? "view" : what, which, of.name),
          "CASCADE drops such views too"));
    }
    duckdb::DropInfo drop;
    drop.type = of.materialized ? CatalogType::TABLE_ENTRY : CatalogType::VIEW_ENTRY;
    drop.allow_drop_internal = of.materialized;
    drop.schema = of.schema;
    drop.name = of.name;
    drop.cascade = true;
    LaminaTransaction::Get(context, catalog_)
        .definitions()
        .FindSchema(of.schema)
        ->DropEntry(context, drop);
  }
}

void CheckNoTableCalls(duckdb::ClientContext& context, LaminaCatalog& catalog,
                       const std::string& macro) {
  ForEach(catalog, context, [&](LaminaSchemaEntry&, duckdb::CatalogEntry& entry) {
    if (entry.type != CatalogType::TABLE_ENTRY) return;
    const auto& table = entry.Cast<LaminaTableEntry>();
    const auto refuse = [&](const char* what, const std::string& which) {
      Throw(MakeSqlError("T2013",
                         fmt::format("{} of a table calls this macro: macro={} table={} {}", what,
                                     macro, table.name, which),
                         "drop or change that first; CREATE OR REPLACE MACRO changes the macro"));
    };
    for (const auto& constraint : table.GetConstraints()) {
      if (constraint->type != duckdb::ConstraintType::CHECK) continue;
      const auto& check = constraint->Cast<duckdb::CheckConstraint>();
      if (Calls(*check.expression, macro)) refuse("a CHECK", "check=" + check.ToString());
    }
    for (const auto& column : table.GetColumns().Logical()) {
      if (column.Generated() ? Calls(column.GeneratedExpression(), macro)
                             : column.HasDefaultValue() && Calls(column.DefaultValue(), macro))
        refuse(column.Generated() ? "a generated column" : "a default", "column=" + column.Name());
    }
  });
}

}  // namespace lamina::sql
