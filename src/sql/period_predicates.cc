#include "sql/period_predicates.h"

#include <algorithm>
#include <array>
#include <utility>

#include <duckdb/parser/expression/columnref_expression.hpp>
#include <duckdb/parser/expression/function_expression.hpp>
#include <duckdb/parser/keyword_helper.hpp>

#include "catalog/schema.h"
#include "sql/error_translation.h"
#include "sql/statement_walk.h"

namespace lamina::sql {
namespace {

struct Predicate {
  const char* word;
  bool immediately;
  const char* sign;
  const char* function;
};
constexpr char kContains[] = "period_contains";
constexpr std::array<Predicate, 7> kPredicates = {{
    {"OVERLAPS", false, "@&&@", "period_overlaps"},
    {"CONTAINS", false, "@>>@", kContains},
    {"EQUALS", false, "@==@", "period_equals"},
    {"PRECEDES", false, "@<<@", "period_precedes"},
    {"SUCCEEDS", false, "@>|@", "period_succeeds"},
    {"PRECEDES", true, "@<|@", "period_immediately_precedes"},
    {"SUCCEEDS", true, "@|>@", "period_immediately_succeeds"},
}};
constexpr char kPeriod[] = "period";
/// Of a row: it never ends before it begins.
constexpr char kRowPeriod[] = "lamina_row_period";

class Reader {
 public:
  Reader(std::string_view sql, const std::vector<Token>& tokens) : sql_(sql), tokens_(tokens) {}

  /// Of the predicate whose first word is token `at`; null: none.
  const Predicate* Read(size_t at) const {
    if (at == 0 || tokens_[at].kind != TokenKind::kWord || Sign(at - 1, '.')) return nullptr;
    const bool immediately = Word(at, "IMMEDIATELY");
    const size_t word = immediately ? at + 1 : at;
    if (word >= tokens_.size()) return nullptr;
    for (const Predicate& of : kPredicates) {
      if (of.immediately != immediately || !Word(word, of.word)) continue;
      const bool left = EndsPeriod(at);
      if (left && (IsTableBefore(at) || IsAliasWithColumns(at, word + 1))) continue;
      if (left ? BeginsValue(word + 1) : EndsValue(at) && BeginsPeriod(word + 1)) return &of;
    }
    return nullptr;
  }

 private:
  bool Word(size_t at, std::string_view word) const {
    return at < tokens_.size() && Is(tokens_[at], sql_, word);
  }
  bool Sign(size_t at, char sign) const {
    return at < tokens_.size() && tokens_[at].kind == TokenKind::kSymbol &&
           tokens_[at].In(sql_)[0] == sign;
  }
  bool IsTime(size_t at) const {
    return Word(at, "VALID_TIME") || Word(at, "APPLICATION_TIME") || Word(at, "SYSTEM_TIME");
  }
  /// Before token `end`.
  bool EndsPeriod(size_t end) const {
    if (IsTime(end - 1)) return true;
    if (!Sign(end - 1, ')')) return false;
    int depth = 0;
    for (size_t i = end; i-- > 0;) {
      if (Sign(i, ')')) ++depth;
      if (Sign(i, '(') && --depth == 0) return i > 0 && Word(i - 1, "PERIOD");
    }
    return false;
  }
  /// Whether what ends before token `end` is a table or function in FROM, and the word its alias.
  bool IsTableBefore(size_t end) const {
    size_t at = end - 1;
    if (Sign(at, ')')) {
      int depth = 0;
      for (;; --at) {
        if (Sign(at, ')')) ++depth;
        if (Sign(at, '(') && --depth == 0) break;
        if (at == 0) return false;
      }
      --at;  // PERIOD
    }
    while (at >= 2 && Sign(at - 1, '.')) at -= 2;
    return at > 0 && (Word(at - 1, "FROM") || Word(at - 1, "JOIN") || Word(at - 1, "INTO") ||
                      Word(at - 1, "UPDATE") || Word(at - 1, "TABLE"));
  }
  /// t, valid_time contains (a, b): the alias of one more table.
  bool IsAliasWithColumns(size_t end, size_t next) const {
    size_t at = end - 1;
    while (at >= 2 && Sign(at - 1, '.')) at -= 2;
    if (at == 0 || !Sign(at - 1, ',') || !Sign(next, '(')) return false;
    for (size_t i = next + 1; i < tokens_.size() && !Sign(i, ')'); ++i) {
      if (!Sign(i, ',') && tokens_[i].kind != TokenKind::kWord &&
          tokens_[i].kind != TokenKind::kQuotedWord)
        return false;
    }
    return true;
  }
  bool EndsValue(size_t end) const {
    const Token& last = tokens_[end - 1];
    if (last.kind == TokenKind::kSymbol) return Sign(end - 1, ')') || Sign(end - 1, ']');
    return last.kind != TokenKind::kWord || !IsReserved(end - 1);
  }
  bool BeginsPeriod(size_t at) const {
    if (Word(at, "PERIOD")) return Sign(at + 1, '(');
    while (Sign(at + 1, '.')) at += 2;
    return IsTime(at);
  }
  bool BeginsValue(size_t at) const {
    if (at >= tokens_.size()) return false;
    const Token& first = tokens_[at];
    if (first.kind == TokenKind::kSymbol) return Sign(at, '(') || Sign(at, '-');
    return first.kind != TokenKind::kSemicolon &&
           (first.kind != TokenKind::kWord || !IsReserved(at) || Word(at, "CAST") ||
            Word(at, "CASE") || Word(at, "NULL"));
  }
  /// Words that begin no value, joins among them.
  bool IsReserved(size_t at) const {
    const auto category =
        duckdb::KeywordHelper::KeywordCategoryType(std::string(tokens_[at].In(sql_)));
    return category == duckdb::KeywordCategory::KEYWORD_RESERVED ||
           category == duckdb::KeywordCategory::KEYWORD_TYPE_FUNC;
  }

  const std::string_view sql_;
  const std::vector<Token>& tokens_;
};

using ExpressionPtr = duckdb::unique_ptr<duckdb::ParsedExpression>;

/// A period that a table's rows have, by its name.
ExpressionPtr OfRow(const duckdb::ColumnRefExpression& name, bool system) {
  duckdb::vector<ExpressionPtr> ends;
  for (const char* column : {system ? catalog::kSystemFromColumn : catalog::kValidFromColumn,
                             system ? catalog::kSystemToColumn : catalog::kValidToColumn}) {
    auto path = name.column_names;
    path.back() = column;
    ends.push_back(duckdb::make_uniq<duckdb::ColumnRefExpression>(std::move(path)));
    ends.back()->SetQueryLocation(name.GetQueryLocation());
  }
  return duckdb::make_uniq<duckdb::FunctionExpression>(kRowPeriod, std::move(ends));
}

void ToPeriod(ExpressionPtr* operand) {
  // (a, b) beside a PERIOD is one, too.
  if ((*operand)->GetExpressionClass() == duckdb::ExpressionClass::FUNCTION) {
    auto& call = (*operand)->Cast<duckdb::FunctionExpression>();
    if (call.function_name == "row" && call.children.size() == 2) call.function_name = kPeriod;
    return;
  }
  if ((*operand)->GetExpressionClass() == duckdb::ExpressionClass::COLUMN_REF) {
    const auto& name = (*operand)->Cast<duckdb::ColumnRefExpression>();
    const std::string last = duckdb::StringUtil::Lower(name.GetColumnName());
    const bool system = last == "system_time";
    if (system || last == "valid_time" || last == "application_time")
      *operand = OfRow(name, system);
  }
}

bool IsPeriod(const duckdb::ParsedExpression& expression) {
  if (expression.GetExpressionClass() != duckdb::ExpressionClass::FUNCTION) return false;
  const auto& name = expression.Cast<duckdb::FunctionExpression>().function_name;
  return duckdb::StringUtil::CIEquals(name, kPeriod) || name == kRowPeriod;
}

}  // namespace

bool TakePeriodPredicates(std::string_view sql, const StatementSpan& span, std::string* statement) {
  const Reader reader(sql, span.tokens);
  bool any = false;
  for (size_t at = 0; at < span.tokens.size(); ++at) {
    const Predicate* of = reader.Read(at);
    if (of == nullptr) continue;
    any = true;
    const size_t last = of->immediately ? at + 1 : at;
    const size_t begin = span.tokens[at].begin - span.begin;
    const size_t end = span.tokens[last].end - span.begin;
    std::fill(statement->begin() + static_cast<ptrdiff_t>(begin),
              statement->begin() + static_cast<ptrdiff_t>(end), ' ');
    statement->replace(begin, 4, of->sign);
    at = last;
  }
  return any;
}

void PutPeriodPredicates(duckdb::SQLStatement& statement) {
  const StatementVisitor visitor{
      .on_table = [](duckdb::BaseTableRef&) {},
      .on_expression =
          [](duckdb::ParsedExpression& expression) {
            if (expression.GetExpressionClass() != duckdb::ExpressionClass::FUNCTION) return;
            auto& call = expression.Cast<duckdb::FunctionExpression>();
            for (const Predicate& of : kPredicates) {
              if (call.function_name != of.sign || call.children.size() != 2) continue;
              call.function_name = of.function;
              call.is_operator = false;
              for (ExpressionPtr& child : call.children) ToPeriod(&child);
              if (of.function == kContains && !IsPeriod(*call.children[1]))
                call.function_name = "period_contains_moment";
            }
          }};
  visitor.Visit(statement);
}

}  // namespace lamina::sql
