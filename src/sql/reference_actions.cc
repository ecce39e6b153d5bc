#include "sql/reference_actions.h"

#include <algorithm>

#include <duckdb/parser/parsed_data/create_table_info.hpp>
#include <duckdb/parser/statement/create_statement.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/sql_database.h"

namespace lamina::sql {
namespace {

constexpr char kTag[] = "lamina.references";

}  // namespace

std::vector<ReferenceActions> TakeReferenceActions(const std::vector<Token>& tokens, size_t offset,
                                                   std::string* text) {
  // Tokens count in the whole text that the statement is a part of.
  const auto is = [&](size_t i, std::string_view word) {
    if (i >= tokens.size() || tokens[i].kind != TokenKind::kWord) return false;
    Token token = tokens[i];
    token.begin -= offset;
    token.end -= offset;
    return Is(token, *text, word);
  };
  constexpr size_t kTableWithin = 6;  // CREATE OR REPLACE TEMPORARY TABLE
  size_t table = 0;
  while (table < kTableWithin && !is(table, "TABLE")) ++table;
  if (!is(0, "CREATE") || table == kTableWithin) return {};
  std::vector<ReferenceActions> out;
  bool found = false;
  for (size_t i = table; i < tokens.size(); ++i) {
    if (is(i, "REFERENCES")) out.emplace_back();
    const bool on_delete = is(i, "ON") && is(i + 1, "DELETE");
    if (out.empty() || (!on_delete && !(is(i, "ON") && is(i + 1, "UPDATE")))) continue;
    size_t end = i + 3;
    ReferenceAction action = ReferenceAction::kNoAction;
    if (is(i + 2, "CASCADE")) {
      action = ReferenceAction::kCascade;
    } else if (is(i + 2, "SET") && is(i + 3, "NULL")) {
      action = ReferenceAction::kSetNull;
      ++end;
    } else if (is(i + 2, "SET") && is(i + 3, "DEFAULT")) {
      action = ReferenceAction::kSetDefault;
      ++end;
    } else {
      continue;
    }
    (on_delete ? out.back().on_delete : out.back().on_update) = action;
    found = true;
    std::fill(text->begin() + static_cast<ptrdiff_t>(tokens[i].begin - offset),
              text->begin() + static_cast<ptrdiff_t>(tokens[end - 1].end - offset), ' ');
    i = end - 1;
  }
  if (!found) out.clear();
  return out;
}

Status PutReferenceActions(const std::vector<ReferenceActions>& actions,
                           duckdb::SQLStatement& statement) {
  if (actions.empty() || statement.type != duckdb::StatementType::CREATE_STATEMENT)
    return Status::OK();
  auto& info = *statement.Cast<duckdb::CreateStatement>().info;
  if (info.type != duckdb::CatalogType::TABLE_ENTRY) return Status::OK();
  if (info.temporary || info.schema == "temp" ||
      (!info.catalog.empty() && info.catalog != kCatalogName)) {
    return MakeSqlError("T4009",
                        "CASCADE, SET NULL and SET DEFAULT are for tables of the database, not for "
                        "temporary ones");
  }
  for (size_t i = 0; i < actions.size(); ++i) {
    info.tags[fmt::format("{}.{}", kTag, i)] = fmt::format(
        "{},{}", static_cast<int>(actions[i].on_delete), static_cast<int>(actions[i].on_update));
  }
  return Status::OK();
}

ReferenceActions ReferenceActionsOf(const duckdb::CreateTableInfo& info, size_t number) {
  const auto it = info.tags.find(fmt::format("{}.{}", kTag, number));
  if (it == info.tags.end()) return {};
  return {static_cast<ReferenceAction>(it->second[0] - '0'),
          static_cast<ReferenceAction>(it->second[2] - '0')};
}

std::string ToSql(ReferenceAction on_delete, ReferenceAction on_update) {
  const auto of = [](const char* event, ReferenceAction action) -> std::string {
    switch (action) {
      case ReferenceAction::kCascade:
        return fmt::format(" ON {} CASCADE", event);
      case ReferenceAction::kSetNull:
        return fmt::format(" ON {} SET NULL", event);
      case ReferenceAction::kSetDefault:
        return fmt::format(" ON {} SET DEFAULT", event);
      default:
        return "";
    }
  };
  return of("DELETE", on_delete) + of("UPDATE", on_update);
}

}  // namespace lamina::sql
