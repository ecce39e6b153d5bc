#include "sql/period_clauses.h"

#include <algorithm>

#include <duckdb/parser/parsed_data/create_table_info.hpp>
#include <duckdb/parser/statement/create_statement.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/sql_database.h"
#include "sql/token_reader.h"

namespace lamina::sql {
namespace {

constexpr char kFromTag[] = "lamina.period.from";
constexpr char kToTag[] = "lamina.period.to";

class PeriodTaker {
 public:
  PeriodTaker(std::string_view sql, const StatementSpan& span, std::string* statement)
      : sql_(sql), tokens_(span.tokens), begin_(span.begin), statement_(*statement) {}

  Result<PeriodClause> Run() {
    size_t i = 1;
    if (Word(0, "ALTER") && Word(1, "TABLE")) ARROW_RETURN_NOT_OK(AlterTable());
    if (!Word(0, "CREATE")) return std::move(clause_);
    while (Word(i, "OR") || Word(i, "REPLACE") || Word(i, "TEMP") || Word(i, "TEMPORARY")) ++i;
    if (!Word(i, "TABLE")) return std::move(clause_);
    ++i;
    if (Word(i, "IF") && Word(i + 1, "NOT") && Word(i + 2, "EXISTS")) i += 3;
    if (!Name(i++)) return std::move(clause_);
    while (Sign(i, ".") && Name(i + 1)) i += 2;
    if (!Sign(i, "(")) return std::move(clause_);
    const size_t end = Behind(i) - 1;
    for (size_t begin = i + 1; begin < end;) {
      size_t next = begin;
      while (next < end && !Sign(next, ",")) next = Sign(next, "(") ? Behind(next) : next + 1;
      if (Word(begin, "PERIOD") && Word(begin + 1, "FOR")) {
        ARROW_RETURN_NOT_OK(Period(begin, next));
        // One of the commas beside it goes, too.
        if (next < end) {
          Blank(begin, next + 1);
        } else {
          Blank(begin > i + 1 ? begin - 1 : begin, next);
        }
      } else {
        ARROW_RETURN_NOT_OK(Keys(begin, next));
      }
      begin = next + 1;
    }
    return std::move(clause_);
  }

 private:
  bool Word(size_t i, std::string_view word) const {
    return i < tokens_.size() && Is(tokens_[i], sql_, word);
  }
  bool Sign(size_t i, std::string_view sign) const {
    return i < tokens_.size() && tokens_[i].kind == TokenKind::kSymbol &&
           tokens_[i].In(sql_) == sign;
  }
  bool Name(size_t i) const {
    return i < tokens_.size() &&
           (tokens_[i].kind == TokenKind::kWord || tokens_[i].kind == TokenKind::kQuotedWord);
  }
  bool PeriodName(size_t i) const { return Word(i, "APPLICATION_TIME") || Word(i, "VALID_TIME"); }
  size_t Place(size_t i) const { return i < tokens_.size() ? tokens_[i].begin : sql_.size(); }
  /// Behind the bracket that closes the one at `i`.
  size_t Behind(size_t i) const {
    int depth = 0;
    for (; i < tokens_.size(); ++i) {
      if (Sign(i, "(")) ++depth;
      if (Sign(i, ")") && --depth == 0) return i + 1;
    }
    return tokens_.size();
  }
  void Blank(size_t from, size_t to) {
    std::fill(statement_.begin() + static_cast<ptrdiff_t>(tokens_[from].begin - begin_),
              statement_.begin() + static_cast<ptrdiff_t>(tokens_[to - 1].end - begin_), ' ');
  }

  Status AlterTable() {
    size_t i = 2;
    if (Word(i, "IF") && Word(i + 1, "EXISTS")) i += 2;
    if (!Name(i++)) return Status::OK();
    while (Sign(i, ".") && Name(i + 1)) i += 2;
    if (!Word(i, "ADD")) return Status::OK();
    if (Word(i + 1, "PERIOD") && Word(i + 2, "FOR")) {
      return MakeSqlError("T4009", "a table is made with its period, and gets none later",
                          "CREATE TABLE … (…, PERIOD FOR APPLICATION_TIME (a, b)) and INSERT INTO "
                          "it SELECT … FROM the other",
                          Place(i + 1));
    }
    return Keys(i + 1, tokens_.size());
  }

  Status Period(size_t at, size_t end) {
    if (Word(at + 2, "SYSTEM_TIME")) {
      return MakeSqlError("T4009", "the database keeps the system time of every row itself",
                          "_system_from and _system_to are columns of every table", Place(at + 2));
    }
    if (!PeriodName(at + 2)) {
      return MakeSqlError("T1002", "the period of a table is its APPLICATION_TIME",
                          "PERIOD FOR APPLICATION_TIME (a, b)", Place(at + 2));
    }
    if (!Sign(at + 3, "(") || !Name(at + 4) || !Sign(at + 5, ",") || !Name(at + 6) ||
        !Sign(at + 7, ")") || end != at + 8) {
      return MakeSqlError("T1002", "a period names two columns: where it begins, where it ends",
                          "PERIOD FOR APPLICATION_TIME (a, b)", Place(at + 3));
    }
    if (!clause_.empty())
      return MakeSqlError("T2015", "a table has one PERIOD FOR APPLICATION_TIME", "", Place(at));
    clause_.from = NameOf(tokens_[at + 4], sql_);
    clause_.to = NameOf(tokens_[at + 6], sql_);
    clause_.at = Place(at);
    return Status::OK();
  }

  /// The constraint or column that is tokens [begin, end).
  Status Keys(size_t begin, size_t end) {
    bool refers = false;
    bool periods[2] = {false, false};  // of the rows that refer, of those referred to
    bool names_target = false;
    for (size_t i = begin; i < end; ++i) {
      refers |= Word(i, "REFERENCES");
      if (!Sign(i, "(")) continue;
      const size_t close = Behind(i) - 1;
      const bool key = Word(i - 1, "KEY") || Word(i - 1, "UNIQUE");
      names_target |= refers;
      if (key || refers) {
        // The last of several names.
        size_t last = close;
        while (last > i + 1 && !Sign(last - 1, ",")) --last;
        const bool without = !refers && PeriodName(last) && Word(last + 1, "WITHOUT") &&
                             Word(last + 2, "OVERLAPS") && last + 3 == close;
        const bool period = Word(last, "PERIOD") && PeriodName(last + 1) && last + 2 == close;
        if ((without || period) && last == i + 1) {
          return MakeSqlError("T2015", "a key is more than its period", "name its columns first",
                              Place(last));
        }
        if (without || period) Blank(last - 1, close);
        periods[refers ? 1 : 0] |= period;
      }
      i = close;
    }
    const bool said = periods[0] || periods[1];
    if (said && !refers)
      return MakeSqlError("T1002", "PERIOD is for foreign keys",
                          "PRIMARY KEY (k, APPLICATION_TIME WITHOUT OVERLAPS)", Place(begin));
    if (said && periods[0] != periods[1] && (names_target || periods[1])) {
      return MakeSqlError("T1002", "a foreign key has PERIOD on both sides or on none",
                          "FOREIGN KEY (k, PERIOD APPLICATION_TIME) REFERENCES t (k, PERIOD "
                          "APPLICATION_TIME)",
                          Place(begin));
    }
    return Status::OK();
  }

  const std::string_view sql_;
  const std::vector<Token>& tokens_;
  const size_t begin_;
  std::string& statement_;
  PeriodClause clause_;
};

Result<std::string> ColumnOf(const duckdb::CreateTableInfo& info, const std::string& name) {
  if (!info.columns.ColumnExists(name)) {
    return MakeSqlError("T2002", fmt::format("the period names a column that the table has not: "
                                             "table={} column={}",
                                             info.table, name));
  }
  const auto& column = info.columns.GetColumn(name);
  const auto type = column.Type().id();
  const bool time =
      type == duckdb::LogicalTypeId::TIMESTAMP || type == duckdb::LogicalTypeId::TIMESTAMP_TZ;
  if (!time || column.Generated()) {
    return MakeSqlError("T2015",
                        fmt::format("the columns of a period are TIMESTAMP or TIMESTAMPTZ: "
                                    "column={} type={}",
                                    name, column.Type().ToString()),
                        "a DATE may be written into a TIMESTAMP");
  }
  return column.Name();
}

}  // namespace

Result<PeriodClause> TakePeriodClause(std::string_view sql, const StatementSpan& span,
                                      std::string* statement) {
  return PeriodTaker(sql, span, statement).Run();
}

Status PutPeriodClause(const PeriodClause& clause, duckdb::SQLStatement& statement) {
  if (clause.empty() || statement.type != duckdb::StatementType::CREATE_STATEMENT)
    return Status::OK();
  auto& info = *statement.Cast<duckdb::CreateStatement>().info;
  if (info.type != duckdb::CatalogType::TABLE_ENTRY) return Status::OK();
  if (info.temporary || info.schema == "temp" ||
      (!info.catalog.empty() && info.catalog != kCatalogName)) {
    return MakeSqlError("T4009", "PERIOD FOR is for tables of the database, not for temporary ones",
                        "", clause.at);
  }
  info.tags[kFromTag] = clause.from;
  info.tags[kToTag] = clause.to;
  return Status::OK();
}

void CheckNotOfPeriod(const TableOptions& options, const std::string& column) {
  if (options.period_from_column.empty() ||
      (column != options.period_from_column && column != options.period_to_column))
    return;
  Throw(MakeSqlError(
      "T2015",
      fmt::format("a key or an index cannot have a column of the period: column={}", column),
      "keys hold moment by moment: PRIMARY KEY (k, APPLICATION_TIME WITHOUT OVERLAPS)"));
}

Status SetPeriodOf(const duckdb::CreateTableInfo& info, TableOptions* options) {
  const auto from = info.tags.find(kFromTag);
  if (from == info.tags.end()) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(options->period_from_column, ColumnOf(info, from->second));
  ARROW_ASSIGN_OR_RAISE(options->period_to_column, ColumnOf(info, info.tags.find(kToTag)->second));
  if (options->period_from_column == options->period_to_column) {
    return MakeSqlError("T2015", fmt::format("a period begins and ends in different columns: "
                                             "table={} column={}",
                                             info.table, options->period_from_column));
  }
  return Status::OK();
}

}  // namespace lamina::sql
