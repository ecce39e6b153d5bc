#include "sql/column_clauses.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include <fmt/format.h>

#include "sql/error_translation.h"

namespace lamina::sql {
namespace {

struct SerialType {
  std::string_view name;
  std::string_view type;  ///< Not longer than the name: it is written over it.
};
constexpr SerialType kSerialTypes[] = {
    {"SERIAL", "INT4"},  {"SERIAL4", "INT4"},     {"BIGSERIAL", "INT8"},
    {"SERIAL8", "INT8"}, {"SMALLSERIAL", "INT2"}, {"SERIAL2", "INT2"},
};

class ClauseTaker {
 public:
  ClauseTaker(const StatementSpan& span, std::string* statement)
      : span_(span), statement_(*statement), text_(*statement) {}

  Status Run() {
    if (span_.tokens.size() < 5) return Status::OK();
    if (IsAt(0, "CREATE")) return CreateTable();
    if (IsAt(0, "ALTER") && IsAt(1, "TABLE")) return AddColumn();
    return Status::OK();
  }
  ColumnClauses clauses;

 private:
  size_t size() const { return span_.tokens.size(); }
  std::string_view Text(size_t i) const {
    const Token& token = span_.tokens[i];
    return std::string_view(text_).substr(token.begin - span_.begin, token.end - token.begin);
  }
  bool IsAt(size_t i, std::string_view word) const {
    return i < size() && span_.tokens[i].kind == TokenKind::kWord &&
           std::equal(Text(i).begin(), Text(i).end(), word.begin(), word.end(), [](char a, char b) {
             return std::toupper(static_cast<unsigned char>(a)) == b;
           });
  }
  bool IsSign(size_t i, std::string_view sign) const { return i < size() && Text(i) == sign; }
  bool IsName(size_t i) const {
    return i < size() && (span_.tokens[i].kind == TokenKind::kWord ||
                          span_.tokens[i].kind == TokenKind::kQuotedWord);
  }
  std::string Name(size_t i) const {
    std::string out(Text(i));
    if (span_.tokens[i].kind == TokenKind::kQuotedWord) {
      std::string inner;
      for (size_t at = 1; at + 1 < out.size(); ++at) {
        inner += out[at];
        if (out[at] == '"') ++at;
      }
      out = inner;
    }
    for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return out;
  }
  /// Writes over tokens [from, to), with blanks behind.
  void Over(size_t from, size_t to, std::string_view by = "") {
    const size_t begin = span_.tokens[from].begin - span_.begin;
    const size_t end = span_.tokens[to - 1].end - span_.begin;
    for (size_t i = begin; i < end; ++i)
      statement_[i] = i - begin < by.size() ? by[i - begin] : ' ';
  }
  /// Behind the bracket that closes the one at `i`.
  size_t Behind(size_t i) const {
    int depth = 0;
    for (; i < size(); ++i) {
      if (IsSign(i, "(") || IsSign(i, "[") || IsSign(i, "{")) ++depth;
      if (IsSign(i, ")") || IsSign(i, "]") || IsSign(i, "}")) {
        if (--depth == 0) return i + 1;
      }
    }
    return size();
  }

  Status CreateTable() {
    size_t i = 1;
    if (IsAt(i, "OR") && IsAt(i + 1, "REPLACE")) i += 2;
    // Temporary tables are DuckDB's, with what DuckDB's have.
    if (!IsAt(i, "TABLE")) return Status::OK();
    ++i;
    if (IsAt(i, "IF") && IsAt(i + 1, "NOT") && IsAt(i + 2, "EXISTS")) i += 3;
    if (!IsName(i++)) return Status::OK();
    while (IsSign(i, ".") && IsName(i + 1)) i += 2;
    if (!IsSign(i, "(")) return Status::OK();
    const size_t end = Behind(i) - 1;
    for (++i; i < end;) {
      size_t next = i;
      while (next < end && !IsSign(next, ","))
        next = IsSign(next, "(") || IsSign(next, "[") ? Behind(next) : next + 1;
      ARROW_RETURN_NOT_OK(Column(i, next, /*added=*/false));
      i = next + 1;
    }
    return Status::OK();
  }

  Status AddColumn() {
    size_t i = 2;
    if (IsAt(i, "IF") && IsAt(i + 1, "EXISTS")) i += 2;
    if (!IsName(i++)) return Status::OK();
    while (IsSign(i, ".") && IsName(i + 1)) i += 2;
    if (!IsAt(i, "ADD")) return Status::OK();
    ++i;
    if (IsAt(i, "COLUMN")) {
      ++i;
    } else if (IsAt(i, "CONSTRAINT") || IsAt(i, "PRIMARY") || IsAt(i, "UNIQUE") ||
               IsAt(i, "CHECK") || IsAt(i, "FOREIGN")) {
      return Status::OK();
    }
    if (IsAt(i, "IF") && IsAt(i + 1, "NOT") && IsAt(i + 2, "EXISTS")) i += 3;
    return Column(i, size(), /*added=*/true);
  }

  /// The definition of one column: tokens [i, end).
  Status Column(size_t i, size_t end, bool added) {
    if (i + 1 >= end || !IsName(i)) return Status::OK();
    const std::string name = Name(i++);
    ColumnClause clause;
    for (const SerialType& serial : kSerialTypes) {
      if (!IsAt(i, serial.name)) continue;
      clause.sequence = "";
      clause.not_null = true;
      Over(i, i + 1, serial.type);
    }
    for (++i; i < end;) {
      if (IsSign(i, "(") || IsSign(i, "[") || IsSign(i, "{")) {
        i = Behind(i);
      } else if (added && IsAt(i, "NOT") && IsAt(i + 1, "NULL") && !IsAt(i - 1, "IS")) {
        clause.not_null = true;
        Over(i, i + 2);
        i += 2;
      } else if (IsAt(i, "GENERATED") && IsAt(i + 1, "ALWAYS") && IsAt(i + 2, "AS") &&
                 IsAt(i + 3, "IDENTITY")) {
        return MakeSqlError(
            "T4009", "identity columns that take no other value are not there",
            "GENERATED BY DEFAULT AS IDENTITY gives values where an INSERT gives none",
            span_.tokens[i].begin);
      } else if (IsAt(i, "GENERATED") && IsAt(i + 1, "BY") && IsAt(i + 2, "DEFAULT") &&
                 IsAt(i + 3, "AS") && IsAt(i + 4, "IDENTITY")) {
        size_t behind = i + 5;
        std::string options;
        if (behind < end && IsSign(behind, "(")) {
          const size_t close = Behind(behind);
          const size_t from = span_.tokens[behind].end - span_.begin;
          const size_t to = span_.tokens[close - 1].begin - span_.begin;
          options = text_.substr(from, to > from ? to - from : 0);
          behind = close;
        }
        clause.sequence = options;
        clause.not_null = true;
        Over(i, behind);
        i = behind;
      } else {
        ++i;
      }
    }
    if (clause.not_null || clause.sequence.has_value()) clauses[name] = std::move(clause);
    return Status::OK();
  }

  const StatementSpan& span_;
  std::string& statement_;
  const std::string text_;  // as it was
};

}  // namespace

Result<ColumnClauses> TakeColumnClauses(const StatementSpan& span, std::string* statement) {
  ClauseTaker taker(span, statement);
  ARROW_RETURN_NOT_OK(taker.Run());
  return std::move(taker.clauses);
}

}  // namespace lamina::sql
