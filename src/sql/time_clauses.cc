#include "sql/time_clauses.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <utility>

#include <duckdb/catalog/catalog_entry.hpp>
#include <duckdb/parser/expression/parameter_expression.hpp>
#include <duckdb/parser/keyword_helper.hpp>
#include <duckdb/parser/statement/delete_statement.hpp>
#include <duckdb/parser/statement/explain_statement.hpp>
#include <duckdb/parser/statement/prepare_statement.hpp>
#include <duckdb/parser/statement/update_statement.hpp>
#include <duckdb/parser/tableref/basetableref.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/moment.h"
#include "sql/statement_walk.h"
#include "sql/valid_insert.h"

namespace lamina::sql {
namespace {

constexpr char kOperandHint[] =
    "a commit's number, a timestamp, a parameter, or an expression of these in parentheses";

bool IsAny(const Token& token, std::string_view text, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](const char* word) { return Is(token, text, word); });
}

constexpr char kPortion[] = "portion";
constexpr char kInsert[] = "insert";

/// Parses an operand alone: `SELECT ` stands before it then.
constexpr size_t kPrefixOfExpressions = 7;

}  // namespace

/// Recognises clauses by their tokens.
class TimeClauseReader {
 public:
  using Clause = TimeClauses::Clause;
  using Range = TimeClauses::Tokens;

  TimeClauseReader(std::string_view sql, const StatementSpan& span)
      : sql_(sql), tokens_(span.tokens), end_(span.end) {}

  /// Null: none begins at token `at`.
  Result<std::optional<Clause>> Read(size_t at) const {
    if (at > 0 && Sign(at - 1, '.')) return std::optional<Clause>();
    if (Word(at, "FOR")) return ReadFor(at);
    if (Word(at, "AS") && Word(at + 1, "OF")) return ReadAsOf(at);
    if (Word(at, "VALID") && Word(at + 1, "AT")) return ReadValidAt(at);
    if (Word(at, "VALID") && Word(at + 1, "FROM") && at == AfterInsertTarget())
      return ReadInsert(at);
    return std::optional<Clause>();
  }

 private:
  bool Has(size_t at) const { return at < tokens_.size(); }
  bool Word(size_t at, std::string_view word) const {
    return Has(at) && Is(tokens_[at], sql_, word);
  }
  bool Sign(size_t at, char sign) const {
    return Has(at) && tokens_[at].kind == TokenKind::kSymbol && tokens_[at].In(sql_)[0] == sign;
  }
  std::optional<bool> Axis(size_t at) const {
    if (Word(at, "SYSTEM_TIME")) return false;
    if (Word(at, "APPLICATION_TIME") || Word(at, "VALID_TIME")) return true;
    return {};
  }

  Result<std::optional<Clause>> ReadFor(size_t at) const {
    Clause out;
    out.tokens.begin = at;
    if (Word(at + 1, "ALL")) {
      const auto axis = Axis(at + 2);
      if (!axis) return std::optional<Clause>();
      out.valid = *axis;
      out.form = "all";
      out.tokens.end = at + 3;
      return std::optional<Clause>(out);
    }
    const bool portion = Word(at + 1, "PORTION") && Word(at + 2, "OF");
    if (portion) return ReadPortion(at);
    const auto axis = Axis(at + 1);
    if (!axis) return std::optional<Clause>();
    out.valid = *axis;
    const size_t form = at + 2;
    if (Word(form, "ALL")) {
      out.form = "all";
      out.tokens.end = form + 1;
      return std::optional<Clause>(out);
    }
    if (Word(form, "AS") && Word(form + 1, "OF")) {
      out.form = "as of";
      size_t operand = form + 2;
      if (!out.valid && IsEpoch(operand)) ++operand;
      out.a = Operand(operand);
      if (!out.a) return NoOperand(operand);
      out.tokens.end = out.a->end;
      return std::optional<Clause>(out);
    }
    const bool between = Word(form, "BETWEEN");
    if (!between && !Word(form, "FROM")) return std::optional<Clause>();
    out.form = between ? "between" : "from";
    out.a = Operand(form + 1);
    // substring(text FOR system_time FROM …) says the same.
    if (!out.a && !between) return std::optional<Clause>();
    if (!out.a) return NoOperand(form + 1);
    if (!Word(out.a->end, between ? "AND" : "TO")) {
      if (!between) return std::optional<Clause>();
      return MakeSqlError("T1002", "BETWEEN needs an AND and its second moment", "",
                          Place(out.a->end));
    }
    out.b = Operand(out.a->end + 1);
    if (!out.b) return NoOperand(out.a->end + 1);
    out.tokens.end = out.b->end;
    return std::optional<Clause>(out);
  }

  /// Where VALUES or SELECT would stand after INSERT INTO t [AS x] [(columns)]; 0: it is no INSERT.
  size_t AfterInsertTarget() const {
    size_t at = 0;
    int depth = 0;
    for (; Has(at); ++at) {
      if (Sign(at, '(')) ++depth;
      if (Sign(at, ')')) --depth;
      if (depth == 0 && Word(at, "INTO")) break;
    }
    if (!Has(at)) return 0;
    at += 2;
    while (Sign(at, '.')) at += 2;
    if (Word(at, "AS")) at += 2;
    if (Sign(at, '(')) at = SkipParentheses(at).value_or(at);
    if (Word(at, "BY") && Word(at + 1, "NAME")) at += 2;
    return at;
  }

  Result<std::optional<Clause>> ReadInsert(size_t at) const {
    Clause out;
    out.tokens.begin = at;
    out.valid = true;
    out.form = kInsert;
    out.a = Operand(at + 2);
    if (!out.a) return NoOperand(at + 2);
    out.tokens.end = out.a->end;
    if (!Word(out.a->end, "TO")) return std::optional<Clause>(out);
    out.b = Operand(out.a->end + 1);
    if (!out.b) return NoOperand(out.a->end + 1);
    out.tokens.end = out.b->end;
    return std::optional<Clause>(out);
  }

  Result<std::optional<Clause>> ReadPortion(size_t at) const {
    const auto axis = Axis(at + 3);
    if (!axis) return std::optional<Clause>();
    if (!*axis) {
      return MakeSqlError("T4009", "only a portion of APPLICATION_TIME can be changed",
                          "what was known when is never changed", Place(at + 3));
    }
    Clause out;
    out.tokens.begin = at;
    out.valid = true;
    out.form = kPortion;
    if (!Word(at + 4, "FROM"))
      return MakeSqlError("T1002", "FOR PORTION OF needs FROM and TO", "", Place(at + 4));
    out.a = Operand(at + 5);
    if (!out.a) return NoOperand(at + 5);
    if (!Word(out.a->end, "TO"))
      return MakeSqlError("T1002", "FOR PORTION OF needs TO and its second moment", "",
                          Place(out.a->end));
    out.b = Operand(out.a->end + 1);
    if (!out.b) return NoOperand(out.a->end + 1);
    out.tokens.end = out.b->end;
    return std::optional<Clause>(out);
  }

  Result<std::optional<Clause>> ReadAsOf(size_t at) const {
    Clause out;
    out.tokens.begin = at;
    out.form = "as of";
    size_t operand = at + 2;
    if (IsEpoch(operand)) ++operand;
    out.a = Operand(operand);
    // Else the alias `of`: perhaps with names of columns.
    if (!out.a || IsListOfNames(*out.a)) return std::optional<Clause>();
    out.tokens.end = out.a->end;
    return std::optional<Clause>(out);
  }

  Result<std::optional<Clause>> ReadValidAt(size_t at) const {
    const size_t operand = at + 2;
    // The alias `valid` of a table with an AT clause, or a column in another time zone.
    if (Sign(operand, '(') && Sign(operand + 2, '=') && Sign(operand + 3, '>'))
      return std::optional<Clause>();
    if (Word(operand, "TIME")) return std::optional<Clause>();
    Clause out;
    out.tokens.begin = at;
    out.valid = true;
    out.form = "as of";
    out.a = Operand(operand);
    if (!out.a) return std::optional<Clause>();
    out.tokens.end = out.a->end;
    return std::optional<Clause>(out);
  }

  bool IsEpoch(size_t at) const { return Word(at, "EPOCH") && !Sign(at + 1, '('); }

  /// (a, b): names alone, other than those that are values.
  bool IsListOfNames(const Range& range) const {
    if (!Sign(range.begin, '(')) return false;
    for (size_t i = range.begin + 1; i + 1 < range.end; ++i) {
      if (Sign(i, ',') || tokens_[i].kind == TokenKind::kQuotedWord) continue;
      if (tokens_[i].kind != TokenKind::kWord || IsValueWord(i)) return false;
    }
    return true;
  }
  bool IsValueWord(size_t at) const {
    return Has(at) &&
           IsAny(tokens_[at], sql_,
                 {"CURRENT_TIMESTAMP", "CURRENT_DATE", "LOCALTIMESTAMP", "TODAY", "NULL"});
  }

  // ---- Operands: how far they reach. DuckDB parses them.

  std::optional<Range> Operand(size_t at) const {
    const auto end = SkipSum(at);
    if (!end) return {};
    return Range{at, *end};
  }
  std::optional<size_t> SkipSum(size_t at) const {
    auto end = SkipValue(at);
    while (end && IsOperator(*end)) {
      size_t next = *end + 1;
      if (Sign(*end, '|')) ++next;
      end = SkipValue(next);
    }
    return end;
  }
  bool IsOperator(size_t at) const {
    if (Sign(at, '|')) return Sign(at + 1, '|');
    return Sign(at, '+') || Sign(at, '-') || Sign(at, '*') || Sign(at, '/') || Sign(at, '%');
  }
  std::optional<size_t> SkipValue(size_t at) const {
    while (Sign(at, '-') || Sign(at, '+')) ++at;
    auto end = SkipPrimary(at);
    while (end) {
      if (Sign(*end, ':') && Sign(*end + 1, ':')) {
        end = SkipType(*end + 2);
      } else if (Word(*end, "AT") && Word(*end + 1, "TIME") && Word(*end + 2, "ZONE")) {
        end = SkipPrimary(*end + 3);
      } else {
        break;
      }
    }
    return end;
  }
  std::optional<size_t> SkipPrimary(size_t at) const {
    if (!Has(at)) return {};
    switch (tokens_[at].kind) {
      case TokenKind::kNumber:
      case TokenKind::kString:
      case TokenKind::kParameter:
        return at + 1;
      case TokenKind::kSymbol:
        return Sign(at, '(') ? SkipParentheses(at) : std::nullopt;
      case TokenKind::kWord:
        break;
      case TokenKind::kQuotedWord:
        return Sign(at + 1, '(') ? SkipParentheses(at + 1) : std::nullopt;
      default:
        return {};
    }
    if (Word(at, "INTERVAL")) return SkipInterval(at + 1);
    if (!MayBeginValue(at)) return {};
    size_t next = at + 1;
    if (Word(at, "TIMESTAMP") && Word(next, "WITH") && Word(next + 1, "TIME") &&
        Word(next + 2, "ZONE"))
      next += 3;
    // A typed literal: TIMESTAMP '…'.
    if (Has(next) && tokens_[next].kind == TokenKind::kString) return next + 1;
    while (Sign(next, '.')) next += 2;
    if (Sign(next, '(')) return SkipParentheses(next);
    return IsValueWord(at) ? std::optional(at + 1) : std::nullopt;
  }
  /// Words that stand before parentheses and call nothing, such as USING, are none.
  bool MayBeginValue(size_t at) const {
    if (Word(at, "CAST") || IsValueWord(at)) return true;
    if (Word(at, "AT") || Word(at, "VALUES")) return false;
    const auto category =
        duckdb::KeywordHelper::KeywordCategoryType(std::string(tokens_[at].In(sql_)));
    return category != duckdb::KeywordCategory::KEYWORD_RESERVED &&
           category != duckdb::KeywordCategory::KEYWORD_TYPE_FUNC;
  }
  std::optional<size_t> SkipInterval(size_t at) const {
    const auto end = SkipPrimary(at);
    if (!end || !Has(*end) || tokens_[*end].kind != TokenKind::kWord) return end;
    std::string unit(tokens_[*end].In(sql_));
    for (char& c : unit) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (unit.size() > 1 && unit.back() == 's') unit.pop_back();
    constexpr std::array<std::string_view, 13> kUnits = {
        "year",   "month",       "day",         "hour",   "minute",  "second",    "week",
        "decade", "millisecond", "microsecond", "centur", "quarter", "millennium"};
    const bool known = unit == "century" || unit == "centurie" ||
                       std::find(kUnits.begin(), kUnits.end(), unit) != kUnits.end();
    return known ? *end + 1 : *end;
  }
  std::optional<size_t> SkipType(size_t at) const {
    if (!Has(at) || tokens_[at].kind != TokenKind::kWord) return {};
    size_t end = at + 1;
    if ((Word(end, "WITH") || Word(end, "WITHOUT")) && Word(end + 1, "TIME") &&
        Word(end + 2, "ZONE"))
      end += 3;
    return Sign(end, '(') ? SkipParentheses(end) : std::optional(end);
  }
  std::optional<size_t> SkipParentheses(size_t at) const {
    int depth = 0;
    for (; Has(at); ++at) {
      if (Sign(at, '(')) ++depth;
      if (Sign(at, ')') && --depth == 0) return at + 1;
    }
    return {};
  }

  size_t Place(size_t at) const { return Has(at) ? tokens_[at].begin : end_; }
  Status NoOperand(size_t at) const {
    return MakeSqlError("T1002", "a moment is missing in a temporal clause", kOperandHint,
                        Place(at));
  }

  const std::string_view sql_;
  const std::vector<Token>& tokens_;
  const size_t end_;
};

Result<TimeClauses> TimeClauses::Take(std::string_view sql, const StatementSpan& span,
                                      std::string* statement) {
  TimeClauses out;
  const TimeClauseReader reader(sql, span);
  for (size_t at = 0; at < span.tokens.size();) {
    ARROW_ASSIGN_OR_RAISE(const auto clause, reader.Read(at));
    if (!clause) {
      ++at;
      continue;
    }
    const size_t begin = span.tokens[clause->tokens.begin].begin - span.begin;
    const size_t end = span.tokens[clause->tokens.end - 1].end - span.begin;
    std::fill(statement->begin() + static_cast<ptrdiff_t>(begin),
              statement->begin() + static_cast<ptrdiff_t>(end), ' ');
    at = clause->tokens.end;
    out.clauses_.push_back(*clause);
  }
  return out;
}

/// Gives each clause to its tables.
class TimeClausePlacer {
 public:
  using Clause = TimeClauses::Clause;
  using Range = TimeClauses::Tokens;

  TimeClausePlacer(duckdb::ClientContext& context, std::string_view sql, const StatementSpan& span,
                   const std::vector<size_t>& inserted, const std::vector<Clause>& clauses,
                   duckdb::SQLStatement& statement)
      : context_(context),
        sql_(sql),
        span_(span),
        tokens_(span.tokens),
        inserted_(inserted),
        clauses_(clauses),
        statement_(statement),
        named_(statement.type == duckdb::StatementType::PREPARE_STATEMENT
                   ? statement.Cast<duckdb::PrepareStatement>().statement->named_param_map
                   : statement.named_param_map) {}

  Status Run() {
    NumberParameters();
    for (const Clause& clause : clauses_) {
      Said said{&clause, nullptr, nullptr};
      if (clause.a) {
        ARROW_ASSIGN_OR_RAISE(said.a, Parse(*clause.a));
      }
      if (clause.b) {
        ARROW_ASSIGN_OR_RAISE(said.b, Parse(*clause.b));
      }
      said_.push_back(std::move(said));
    }
    ValidClause of_insert;
    for (Said& said : said_) {
      if (said.clause->form != kInsert) continue;
      of_insert = {std::move(said.a), std::move(said.b), true};
      said.placed = true;
    }
    ARROW_RETURN_NOT_OK(PutValidInsert(context_, std::move(of_insert), statement_));
    FindTables();
    for (Table& table : tables_) ARROW_RETURN_NOT_OK(TakeOwn(table));
    ARROW_RETURN_NOT_OK(SpreadOthers());
    for (Table& table : tables_)
      if (table.changed) table.ref->at_clause = table.call.ToClause();
    return Status::OK();
  }

 private:
  struct Said {
    const Clause* clause;
    MomentCall::Operand a, b;
    bool placed = false;
  };
  struct Table {
    duckdb::BaseTableRef* ref;
    size_t token;
    MomentCall call;
    bool changed = false;
  };

  bool Has(size_t at) const { return at < tokens_.size(); }
  bool Word(size_t at, std::string_view word) const {
    return Has(at) && Is(tokens_[at], sql_, word);
  }
  bool Sign(size_t at, char sign) const {
    return Has(at) && tokens_[at].kind == TokenKind::kSymbol && tokens_[at].In(sql_)[0] == sign;
  }
  size_t PlaceOf(const Clause& clause) const { return tokens_[clause.tokens.begin].begin; }

  // ---- Operands

  /// DuckDB numbers each ? by its place, also without those that are cut out.
  void NumberParameters() {
    std::vector<size_t> kept;  // numbers of those that DuckDB has parsed
    size_t count = 0;
    for (size_t i = 0; i < tokens_.size(); ++i) {
      if (tokens_[i].kind != TokenKind::kParameter || tokens_[i].In(sql_) != "?") continue;
      ++count;
      const bool cut = std::any_of(clauses_.begin(), clauses_.end(), [&](const Clause& of) {
        return of.tokens.begin <= i && i < of.tokens.end;
      });
      if (cut) {
        numbers_[i] = count;
      } else {
        kept.push_back(count);
      }
    }
    if (numbers_.empty()) return;
    const StatementVisitor visitor{
        .on_table = [](duckdb::BaseTableRef&) {},
        .on_expression =
            [&](duckdb::ParsedExpression& expression) {
              if (expression.GetExpressionClass() != duckdb::ExpressionClass::PARAMETER) return;
              auto& identifier = expression.Cast<duckdb::ParameterExpression>().identifier;
              const size_t number = std::strtoull(identifier.c_str(), nullptr, 10);
              if (number >= 1 && number <= kept.size())
                identifier = std::to_string(kept[number - 1]);
            }};
    visitor.Visit(statement_);
    for (size_t number = 1; number <= count; ++number) Name(std::to_string(number), number);
  }

  /// What PREPARE is about has parameters, and PREPARE has none; EXPLAIN has those of its
  /// statement.
  void Name(const std::string& identifier, size_t index) {
    named_[identifier] = index;
    for (duckdb::SQLStatement* of = &statement_; of != nullptr;) {
      if (of->type == duckdb::StatementType::PREPARE_STATEMENT) {
        of = of->Cast<duckdb::PrepareStatement>().statement.get();
        continue;
      }
      of->named_param_map[identifier] = index;
      of = of->type == duckdb::StatementType::EXPLAIN_STATEMENT
               ? of->Cast<duckdb::ExplainStatement>().stmt.get()
               : nullptr;
    }
  }

  Result<MomentCall::Operand> Parse(const Range& range) {
    const size_t begin = tokens_[range.begin].begin;
    const std::string text(sql_.substr(begin, tokens_[range.end - 1].end - begin));
    duckdb::vector<MomentCall::Operand> parsed;
    try {
      parsed = duckdb::Parser::ParseExpressionList(text, context_.GetParserOptions());
    } catch (const std::exception&) {
      parsed.clear();
    }
    if (parsed.size() != 1)
      return MakeSqlError("T1002", "this is no moment of a temporal clause", kOperandHint, begin);
    size_t token = range.begin;
    const StatementVisitor visitor{
        .on_table = [](duckdb::BaseTableRef&) {},
        .on_expression =
            [&](duckdb::ParsedExpression& expression) {
              if (expression.GetQueryLocation().IsValid()) {
                const size_t at = expression.GetQueryLocation().GetIndex();
                expression.SetQueryLocation(
                    ToParsed(begin + at - std::min(at, kPrefixOfExpressions)));
              }
              if (expression.GetExpressionClass() != duckdb::ExpressionClass::PARAMETER) return;
              auto& identifier = expression.Cast<duckdb::ParameterExpression>().identifier;
              while (!numbers_.empty() && token < range.end && !numbers_.contains(token)) ++token;
              if (!numbers_.empty() && token < range.end) {
                identifier = std::to_string(numbers_.at(token++));
              } else if (!statement_.named_param_map.contains(identifier)) {
                const size_t number = std::strtoull(identifier.c_str(), nullptr, 10);
                Name(identifier, number > 0 ? number : statement_.named_param_map.size() + 1);
              }
            }};
    visitor.Visit(*parsed[0]);
    return std::move(parsed[0]);
  }

  // ---- Places

  /// In the text that was parsed, of a place in sql_.
  size_t ToParsed(size_t at) const {
    at -= span_.begin;
    for (const size_t inserted : inserted_) {
      if (inserted > at) break;
      ++at;
    }
    return at;
  }
  size_t FromParsed(size_t at) const {
    const auto before = std::lower_bound(inserted_.begin(), inserted_.end(), at);
    return at - static_cast<size_t>(before - inserted_.begin()) + span_.begin;
  }

  void FindTables() {
    const StatementVisitor visitor{.on_table = [&](duckdb::BaseTableRef& ref) {
      if (!ref.query_location.IsValid()) return;
      const size_t at = FromParsed(ref.query_location.GetIndex());
      const auto token =
          std::lower_bound(tokens_.begin(), tokens_.end(), at,
                           [](const Token& of, size_t place) { return of.begin < place; });
      if (token == tokens_.end() || token->begin != at) return;
      tables_.push_back(
          {&ref, static_cast<size_t>(token - tokens_.begin()), MomentCall(ref.at_clause.get())});
    }};
    visitor.Visit(statement_);
  }

  size_t SkipParentheses(size_t at) const {
    int depth = 0;
    for (; Has(at); ++at) {
      if (Sign(at, '(')) ++depth;
      if (Sign(at, ')') && --depth == 0) return at + 1;
    }
    return at;
  }
  /// Of the ")" at `at`.
  std::optional<size_t> Opening(size_t at) const {
    int depth = 0;
    for (size_t i = at + 1; i-- > 0;) {
      if (Sign(i, ')')) ++depth;
      if (Sign(i, '(') && --depth == 0) return i;
    }
    return {};
  }
  Said* SaidAt(size_t token) {
    for (Said& of : said_)
      if (of.clause->tokens.begin == token) return &of;
    return nullptr;
  }
  const Clause* EndingAt(size_t token) const {
    for (const Clause& of : clauses_)
      if (of.tokens.end == token) return &of;
    return nullptr;
  }

  /// CTEs have no time of their own: what stands after their name is about the whole SELECT.
  bool IsCte(const duckdb::BaseTableRef& ref) const {
    if (!ref.schema_name.empty() || !ref.catalog_name.empty()) return false;
    for (size_t i = 0; i + 1 < tokens_.size(); ++i) {
      if (!Word(i + 1, "AS") && !Sign(i + 1, '(')) continue;
      if (i == 0 || !(Word(i - 1, "WITH") || Word(i - 1, "RECURSIVE") || Sign(i - 1, ',')))
        continue;
      if (tokens_[i].kind != TokenKind::kWord && tokens_[i].kind != TokenKind::kQuotedWord)
        continue;
      if (!duckdb::StringUtil::CIEquals(NameAt(i), ref.table_name)) continue;
      size_t next = i + 1;
      if (Sign(next, '(')) next = SkipParentheses(next);
      if (!Word(next, "AS")) continue;
      ++next;
      if (Word(next, "NOT")) ++next;
      if (Word(next, "MATERIALIZED")) ++next;
      if (Sign(next, '(')) return true;
    }
    return false;
  }
  std::string NameAt(size_t at) const {
    const std::string_view text = tokens_[at].In(sql_);
    if (tokens_[at].kind != TokenKind::kQuotedWord) return std::string(text);
    std::string out;
    for (size_t i = 1; i + 1 < text.size(); ++i) {
      out += text[i];
      if (text[i] == '"') ++i;
    }
    return out;
  }

  // ---- Clauses after a table

  Status TakeOwn(Table& table) {
    if (IsCte(*table.ref)) return Status::OK();
    size_t at = table.token + 1;
    while (Sign(at, '.')) at += 2;
    bool aliased = table.ref->alias.empty();
    while (Has(at)) {
      if (Said* said = SaidAt(at)) {
        ARROW_RETURN_NOT_OK(Say(*said, &table, /*twice=*/true));
        said->placed = true;
        at = said->clause->tokens.end;
      } else if (Word(at, "AT") && Sign(at + 1, '(')) {
        at = SkipParentheses(at + 1);
      } else if (!aliased && IsAlias(Word(at, "AS") ? at + 1 : at, table.ref->alias)) {
        aliased = true;
        at += Word(at, "AS") ? 2 : 1;
        if (Sign(at, '(')) at = SkipParentheses(at);
      } else {
        break;
      }
    }
    return Status::OK();
  }
  bool IsAlias(size_t at, const std::string& alias) const {
    return Has(at) && duckdb::StringUtil::CIEquals(NameAt(at), alias);
  }

  /// `twice`: it is an error when the time was said before.
  Status Say(const Said& said, Table* table, bool twice) {
    const Clause& clause = *said.clause;
    if (clause.form == kPortion && !IsTarget(*table->ref)) {
      return MakeSqlError("T1002", "FOR PORTION OF is for the table that UPDATE or DELETE changes",
                          "", PlaceOf(clause));
    }
    if (clause.valid ? table->call.says_valid() : table->call.says_system()) {
      if (!twice) return Status::OK();
      return MakeSqlError("T1002",
                          fmt::format("the {} time of a table is said twice: table={}",
                                      clause.valid ? "valid" : "system", table->ref->table_name),
                          "", PlaceOf(clause));
    }
    auto a = said.a == nullptr ? nullptr : said.a->Copy();
    auto b = said.b == nullptr ? nullptr : said.b->Copy();
    if (clause.valid) {
      table->call.SayValid(clause.form, std::move(a), std::move(b));
    } else {
      table->call.SaySystem(clause.form, std::move(a), std::move(b));
    }
    table->changed = true;
    return Status::OK();
  }

  /// Whether it is what an UPDATE or DELETE changes.
  bool IsTarget(const duckdb::BaseTableRef& ref) const {
    const duckdb::SQLStatement* of = &statement_;
    if (of->type == duckdb::StatementType::PREPARE_STATEMENT)
      of = of->Cast<duckdb::PrepareStatement>().statement.get();
    if (of->type == duckdb::StatementType::EXPLAIN_STATEMENT)
      of = of->Cast<duckdb::ExplainStatement>().stmt.get();
    if (of->type == duckdb::StatementType::UPDATE_STATEMENT)
      return of->Cast<duckdb::UpdateStatement>().table.get() == &ref;
    return of->type == duckdb::StatementType::DELETE_STATEMENT &&
           of->Cast<duckdb::DeleteStatement>().table.get() == &ref;
  }

  // ---- Clauses after a subquery, and at the end of a SELECT

  Status SpreadOthers() {
    struct Scope {
      const Said* said;
      Range range;
    };
    std::vector<Scope> scopes;
    for (const Said& said : said_) {
      if (said.placed) continue;
      if (said.clause->form == kPortion) {
        return MakeSqlError(
            "T1002", "FOR PORTION OF is for the table that UPDATE or DELETE changes",
            "UPDATE t FOR PORTION OF APPLICATION_TIME FROM … TO … SET …", PlaceOf(*said.clause));
      }
      ARROW_ASSIGN_OR_RAISE(const Range range, ScopeOf(*said.clause));
      scopes.push_back({&said, range});
    }
    // Inner ones first: what they say stays.
    std::stable_sort(scopes.begin(), scopes.end(), [](const Scope& x, const Scope& y) {
      return x.range.end - x.range.begin < y.range.end - y.range.begin;
    });
    for (const Scope& scope : scopes) {
      bool any = false;
      for (Table& table : tables_) {
        if (table.token < scope.range.begin || table.token >= scope.range.end) continue;
        if (IsCte(*table.ref) || !IsOurs(*table.ref)) continue;
        any = true;
        ARROW_RETURN_NOT_OK(Say(*scope.said, &table, /*twice=*/false));
      }
      if (any) continue;
      return MakeSqlError("T4009",
                          "no table of the database stands where this clause could be about it",
                          "it stands after a table, or at the end of a SELECT that reads some",
                          PlaceOf(*scope.said->clause));
    }
    return Status::OK();
  }

  Result<Range> ScopeOf(const Clause& clause) const {
    size_t before = clause.tokens.begin;
    while (const Clause* other = EndingAt(before)) before = other->tokens.begin;
    if (const auto derived = DerivedTableBefore(before)) return *derived;
    size_t after = clause.tokens.end;
    for (bool again = true; again;) {
      again = false;
      for (const Clause& of : clauses_) {
        if (of.tokens.begin != after) continue;
        after = of.tokens.end;
        again = true;
      }
    }
    if (!EndsSelect(after)) {
      return MakeSqlError("T1002", "a temporal clause cannot stand here",
                          "it stands after a table or its alias, or at the end of a SELECT",
                          PlaceOf(clause));
    }
    return SelectBefore(clause.tokens.begin);
  }

  /// Whether what stands before token `at` is a whole SELECT, but for the clauses that follow FROM.
  bool EndsSelect(size_t at) const {
    if (!Has(at) || Sign(at, ')')) return true;
    if (Word(at, "USING")) return Word(at + 1, "SAMPLE");
    if (Word(at, "ON")) return Word(at + 1, "CONFLICT");
    return IsAny(tokens_[at], sql_,
                 {"WHERE", "GROUP", "HAVING", "WINDOW", "QUALIFY", "ORDER", "LIMIT", "OFFSET",
                  "FETCH", "UNION", "EXCEPT", "INTERSECT", "RETURNING", "SAMPLE", "WITH"});
  }

  /// The SELECT that ends before token `end`.
  Range SelectBefore(size_t end) const {
    Range out{0, end};
    int depth = 0;
    size_t union_end = 0;
    bool ordered = false;
    for (size_t i = end; i-- > 0;) {
      if (Sign(i, ')')) ++depth;
      if (Sign(i, '(') && --depth < 0) {
        out.begin = i + 1;
        break;
      }
      if (depth > 0 || union_end != 0) continue;
      if (IsAny(tokens_[i], sql_, {"UNION", "EXCEPT", "INTERSECT"})) {
        union_end = i + 1;
      } else if (IsAny(tokens_[i], sql_, {"ORDER", "LIMIT", "OFFSET", "FETCH"})) {
        ordered = true;
      }
    }
    if (union_end > out.begin && !ordered) out.begin = union_end;
    return out;
  }

  /// ( … ) [AS] alias [(columns)] before token `end`, where it is a table in FROM.
  std::optional<Range> DerivedTableBefore(size_t end) const {
    if (end == 0) return {};
    std::optional<size_t> closing;
    size_t at = end - 1;
    if (Sign(at, ')')) {
      const auto open = Opening(at);
      closing = open && *open > 0 ? ClosingBeforeAlias(*open - 1) : std::nullopt;
      if (!closing) closing = at;
    } else {
      closing = ClosingBeforeAlias(at);
    }
    if (!closing) return {};
    const auto open = Opening(*closing);
    if (!open || *open == 0) return {};
    const size_t first = *open + 1;
    const bool query =
        Sign(first, '(') ||
        (Has(first) && IsAny(tokens_[first], sql_, {"SELECT", "WITH", "VALUES", "FROM", "TABLE"}));
    const size_t prior = *open - 1;
    const bool in_from = Word(prior, "FROM") || Word(prior, "JOIN") || Word(prior, "LATERAL");
    if (!in_from && !(query && (Sign(prior, ',') || Word(prior, "USING")))) return {};
    return Range{first, *closing};
  }
  /// The ")" before [AS] and an alias at token `at`.
  std::optional<size_t> ClosingBeforeAlias(size_t at) const {
    const bool name =
        tokens_[at].kind == TokenKind::kQuotedWord ||
        (tokens_[at].kind == TokenKind::kWord &&
         duckdb::KeywordHelper::KeywordCategoryType(std::string(tokens_[at].In(sql_))) !=
             duckdb::KeywordCategory::KEYWORD_RESERVED);
    if (!name || at == 0) return {};
    --at;
    if (Word(at, "AS") && at > 0) --at;
    return Sign(at, ')') ? std::optional(at) : std::nullopt;
  }

  /// What has no history is read as it is: temporary tables, files, other databases.
  bool IsOurs(const duckdb::BaseTableRef& ref) const {
    bool out = false;
    context_.RunFunctionInTransaction(
        [&] {
          std::string catalog = ref.catalog_name;
          std::string schema = ref.schema_name;
          duckdb::Binder::BindSchemaOrCatalog(context_, catalog, schema);
          auto entry = duckdb::Catalog::GetEntry(context_, catalog, schema,
                                                 {duckdb::CatalogType::TABLE_ENTRY, ref.table_name},
                                                 duckdb::OnEntryNotFound::RETURN_NULL);
          out = entry != nullptr && entry->ParentCatalog().GetCatalogType() == "lamina";
        },
        /*requires_valid_transaction=*/false);
    return out;
  }

  duckdb::ClientContext& context_;
  const std::string_view sql_;
  const StatementSpan& span_;
  const std::vector<Token>& tokens_;
  const std::vector<size_t>& inserted_;
  const std::vector<Clause>& clauses_;
  duckdb::SQLStatement& statement_;
  duckdb::case_insensitive_map_t<duckdb::idx_t> named_;
  std::map<size_t, size_t> numbers_;  // of each ? that was cut out, by its token
  std::vector<Said> said_;
  std::vector<Table> tables_;
};

Status TimeClauses::Put(duckdb::ClientContext& context, std::string_view sql,
                        const StatementSpan& span, const std::vector<size_t>& inserted,
                        duckdb::SQLStatement* statement) const {
  if (clauses_.empty()) return PutValidInsert(context, {}, *statement);
  return TimeClausePlacer(context, sql, span, inserted, clauses_, *statement).Run();
}

}  // namespace lamina::sql
