#include "sql/constraint_names.h"

#include <algorithm>
#include <utility>

#include <duckdb/parser/constraints/check_constraint.hpp>
#include <duckdb/parser/constraints/foreign_key_constraint.hpp>
#include <duckdb/parser/constraints/not_null_constraint.hpp>
#include <duckdb/parser/constraints/unique_constraint.hpp>
#include <duckdb/parser/expression/columnref_expression.hpp>
#include <duckdb/parser/parsed_data/create_table_info.hpp>
#include <duckdb/parser/parsed_expression_iterator.hpp>
#include <duckdb/parser/statement/create_statement.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"

namespace lamina::sql {
namespace {

struct HasName {
  std::string name;
};

/// DuckDB's own kind of constraint with a name beside: it is bound and copied as any.
template <typename Base>
class NamedConstraint final : public Base, public HasName {
 public:
  NamedConstraint(Base base, std::string said) : Base(std::move(base)), HasName{std::move(said)} {}

  std::string ToString() const override {
    return fmt::format("CONSTRAINT {} {}", duckdb::KeywordHelper::WriteOptionallyQuoted(name),
                       Base::ToString());
  }
  duckdb::unique_ptr<duckdb::Constraint> Copy() const override { return WithName(*this, name); }
};

std::string Unquoted(std::string_view word) {
  if (word.size() < 2 || word.front() != '"') return std::string(word);
  std::string out;
  for (size_t i = 1; i + 1 < word.size(); ++i) {
    out += word[i];
    if (word[i] == '"') ++i;
  }
  return out;
}

void AddColumns(const duckdb::ParsedExpression& expression, std::vector<std::string>* columns) {
  if (expression.GetExpressionType() == duckdb::ExpressionType::COLUMN_REF)
    columns->push_back(expression.Cast<duckdb::ColumnRefExpression>().GetColumnName());
  duckdb::ParsedExpressionIterator::EnumerateChildren(
      expression, [&](const duckdb::ParsedExpression& child) { AddColumns(child, columns); });
}

}  // namespace

duckdb::unique_ptr<duckdb::Constraint> WithName(const duckdb::Constraint& constraint,
                                                const std::string& name) {
  switch (constraint.type) {
    case duckdb::ConstraintType::CHECK: {
      duckdb::CheckConstraint copy(constraint.Cast<duckdb::CheckConstraint>().expression->Copy());
      if (name.empty()) return duckdb::make_uniq<duckdb::CheckConstraint>(std::move(copy));
      return duckdb::make_uniq<NamedConstraint<duckdb::CheckConstraint>>(std::move(copy), name);
    }
    case duckdb::ConstraintType::UNIQUE: {
      const auto& unique = constraint.Cast<duckdb::UniqueConstraint>();
      duckdb::UniqueConstraint copy(unique.GetColumnNames(), unique.IsPrimaryKey());
      if (unique.HasIndex()) copy.SetIndex(unique.GetIndex());
      if (name.empty() || unique.IsPrimaryKey())
        return duckdb::make_uniq<duckdb::UniqueConstraint>(std::move(copy));
      return duckdb::make_uniq<NamedConstraint<duckdb::UniqueConstraint>>(std::move(copy), name);
    }
    case duckdb::ConstraintType::FOREIGN_KEY: {
      const auto& key = constraint.Cast<duckdb::ForeignKeyConstraint>();
      duckdb::ForeignKeyConstraint copy(key.pk_columns, key.fk_columns, key.info);
      if (name.empty()) return duckdb::make_uniq<duckdb::ForeignKeyConstraint>(std::move(copy));
      return duckdb::make_uniq<NamedConstraint<duckdb::ForeignKeyConstraint>>(std::move(copy),
                                                                              name);
    }
    default:
      return constraint.Copy();
  }
}

std::string NameOf(const duckdb::Constraint& constraint) {
  const auto* named = dynamic_cast<const HasName*>(&constraint);
  return named == nullptr ? "" : named->name;
}

std::string DefaultNameOf(const duckdb::Constraint& constraint, const std::string& table) {
  std::vector<std::string> parts = {table};
  const auto add = [&](const auto& names) {
    parts.insert(parts.end(), names.begin(), names.end());
  };
  switch (constraint.type) {
    case duckdb::ConstraintType::CHECK:
      AddColumns(*constraint.Cast<duckdb::CheckConstraint>().expression, &parts);
      parts.emplace_back("check");
      break;
    case duckdb::ConstraintType::UNIQUE:
      add(constraint.Cast<duckdb::UniqueConstraint>().GetColumnNames());
      parts.emplace_back(constraint.Cast<duckdb::UniqueConstraint>().IsPrimaryKey() ? "pkey"
                                                                                    : "key");
      break;
    case duckdb::ConstraintType::FOREIGN_KEY:
      add(constraint.Cast<duckdb::ForeignKeyConstraint>().fk_columns);
      add(constraint.Cast<duckdb::ForeignKeyConstraint>().pk_columns);
      parts.emplace_back("fkey");
      break;
    default:
      return "";
  }
  return fmt::format("{}", fmt::join(parts, "_"));
}

ConstraintNames TakeConstraintNames(const std::vector<Token>& tokens, size_t offset,
                                    const std::string& text) {
  ConstraintNames out;
  const auto in = [&](size_t i) {
    return std::string_view(text).substr(tokens[i].begin - offset, tokens[i].end - tokens[i].begin);
  };
  const auto is = [&](size_t i, std::string_view word) {
    if (i >= tokens.size() || tokens[i].kind != TokenKind::kWord) return false;
    return duckdb::StringUtil::CIEquals(std::string(in(i)), std::string(word));
  };
  constexpr size_t kTableWithin = 6;  // CREATE OR REPLACE TEMPORARY TABLE
  size_t table = 0;
  while (table < kTableWithin && !is(table, "TABLE")) ++table;
  if (!is(0, "CREATE") || table == kTableWithin) return out;
  int depth = 0;
  std::string name;
  bool any = false;
  for (size_t i = table; i < tokens.size(); ++i) {
    const std::string_view sign = in(i);
    if (sign == "(" || sign == "[" || sign == "{") ++depth;
    if (sign == ")" || sign == "]" || sign == "}") --depth;
    if (depth != 1) continue;
    if (is(i, "CONSTRAINT") && i + 1 < tokens.size()) {
      name = Unquoted(in(++i));
      any = true;
      continue;
    }
    auto* names = is(i, "CHECK")        ? &out.checks
                  : is(i, "UNIQUE")     ? &out.uniques
                  : is(i, "REFERENCES") ? &out.references
                                        : nullptr;
    if (names != nullptr) names->push_back(name);
    // A name is for what follows it: one of a key or of NOT NULL is for nothing that we name.
    if (names != nullptr || sign == "," || is(i, "PRIMARY") || is(i, "NOT") || is(i, "DEFAULT") ||
        is(i, "GENERATED"))
      name.clear();
  }
  return any ? out : ConstraintNames();
}

Status PutConstraintNames(const ConstraintNames& names, duckdb::SQLStatement& statement) {
  if (names.checks.empty() && names.uniques.empty() && names.references.empty())
    return Status::OK();
  if (statement.type != duckdb::StatementType::CREATE_STATEMENT) return Status::OK();
  auto& info = *statement.Cast<duckdb::CreateStatement>().info;
  if (info.type != duckdb::CatalogType::TABLE_ENTRY) return Status::OK();
  auto& table = info.Cast<duckdb::CreateTableInfo>();
  size_t check = 0;
  size_t unique = 0;
  size_t reference = 0;
  duckdb::case_insensitive_set_t taken;
  for (auto& constraint : table.constraints) {
    std::string name;
    const auto next = [&](const std::vector<std::string>& of, size_t* at) {
      if (*at < of.size()) name = of[*at];
      ++*at;
    };
    if (constraint->type == duckdb::ConstraintType::CHECK) {
      next(names.checks, &check);
    } else if (constraint->type == duckdb::ConstraintType::FOREIGN_KEY) {
      next(names.references, &reference);
    } else if (constraint->type == duckdb::ConstraintType::UNIQUE &&
               !constraint->Cast<duckdb::UniqueConstraint>().IsPrimaryKey()) {
      next(names.uniques, &unique);
    }
    if (name.empty()) continue;
    if (!taken.insert(name).second) {
      return MakeSqlError(
          "T2011",
          fmt::format("a constraint exists already: table={} constraint={}", table.table, name));
    }
    constraint = WithName(*constraint, name);
  }
  return Status::OK();
}

}  // namespace lamina::sql
