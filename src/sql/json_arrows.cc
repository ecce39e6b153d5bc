// 1. Brackets are matched, and CASE with its END.
// 2. From each arrow on, to the left: the operand reaches as far as operators bind as tight as the
//    arrow or tighter (all but comparisons and words, as in PostgreSQL).
// 3. What stands before it decides: behind a comparison or one of the words DuckDB reads it
//    otherwise.
// 4. A -> that is no lambda's is bracketed where something follows, too: DuckDB would take that
// into
//    its right operand.
// 5. To the right: one value with what is appended to it (a cast, a subscript, a field), and the
//    arrows that follow.
// An operand that begins where the last one did was looked through then, so the work grows with the
// text only.
#include "sql/json_arrows.h"

#include <algorithm>
#include <array>
#include <utility>

#include "sql/error_translation.h"

namespace lamina::sql {
namespace {

constexpr std::string_view kOperatorSigns = "+-*/<>=~!@#%^&|`:";
constexpr std::array kLooserSigns = {"=", "==", "<>", "!=", "<", ">", "<=", ">="};
// Behind these an operand begins that DuckDB's parser would take them into.
constexpr std::array kLooserWords = {"AND",  "OR",      "NOT",     "LIKE",      "ILIKE",
                                     "GLOB", "BETWEEN", "SIMILAR", "SYMMETRIC", "ESCAPE"};

constexpr std::array kTakeLambdas = {
    "LIST_TRANSFORM", "ARRAY_TRANSFORM", "LIST_APPLY",  "ARRAY_APPLY",  "APPLY", "LIST_FILTER",
    "ARRAY_FILTER",   "FILTER",          "LIST_REDUCE", "ARRAY_REDUCE", "REDUCE"};

class ArrowBinder {
 public:
  ArrowBinder(const StatementSpan& span, std::string* statement)
      : tokens_(span.tokens), base_(span.begin), statement_(*statement), text_(*statement) {}

  std::vector<size_t> Run() {
    Match();
    for (size_t i = 1; i < tokens_.size(); ++i) {
      const size_t width = ArrowAt(i);
      if (width == 0) continue;
      const Left left = LeftOf(i);
      if (IsLambda(left.begin, i, width)) {
        lambda_end_ = i + width;
        i = lambda_end_ - 1;
        continue;
      }
      const size_t end = Chain(i);
      if ((left.wraps || TakesWhatFollows(end)) && left.begin < i && end > i + width) {
        Open(tokens_[left.begin].begin - base_);
        Close(tokens_[end - 1].end - base_);
      }
      last_ = left;
      last_end_ = end;
      i = end - 1;
    }
    return Apply();
  }

 private:
  struct Left {
    size_t begin = 0;
    bool wraps = false;
  };

  std::string_view Text(size_t i) const {
    return std::string_view(text_).substr(tokens_[i].begin - base_,
                                          tokens_[i].end - tokens_[i].begin);
  }
  char Sign(size_t i) const {
    return i < tokens_.size() && tokens_[i].kind == TokenKind::kSymbol ? Text(i)[0] : '\0';
  }
  bool IsWord(size_t i, std::string_view word) const {
    if (i >= tokens_.size()) return false;
    Token token = tokens_[i];
    token.begin -= base_;
    token.end -= base_;
    return Is(token, text_, word);
  }
  bool IsOperator(size_t i) const {
    const char sign = Sign(i);
    return sign != '\0' && kOperatorSigns.find(sign) != std::string_view::npos;
  }
  bool Adjacent(size_t i) const {  // to the token before
    return i > 0 && i < tokens_.size() && tokens_[i].begin == tokens_[i - 1].end;
  }
  /// Tokens of the arrow that begins here: 2 or 3, or 0. `<->` is none.
  size_t ArrowAt(size_t i) const {
    if (Sign(i) != '-' || Sign(i + 1) != '>' || !Adjacent(i + 1)) return 0;
    if (IsOperator(i - 1) && Adjacent(i)) return 0;
    return Sign(i + 2) == '>' && Adjacent(i + 2) ? 3 : 2;
  }

  void Match() {
    partner_.assign(tokens_.size(), kNone);
    enclosing_.assign(tokens_.size(), kNone);
    std::vector<size_t> open, cases;
    for (size_t i = 0; i < tokens_.size(); ++i) {
      if (!open.empty()) enclosing_[i] = open.back();
      const char sign = Sign(i);
      if (sign == '(' || sign == '[' || sign == '{') {
        open.push_back(i);
      } else if ((sign == ')' || sign == ']' || sign == '}') && !open.empty()) {
        partner_[i] = open.back();
        partner_[open.back()] = i;
        open.pop_back();
      } else if (IsWord(i, "CASE")) {
        cases.push_back(i);
      } else if (IsWord(i, "END") && !cases.empty()) {
        partner_[i] = cases.back();
        cases.pop_back();
      }
    }
  }

  /// What stands to the left of the arrow at `arrow`.
  Left LeftOf(size_t arrow) const {
    size_t begin = arrow;  // of the operand as far as it is known
    while (begin > 0) {
      const size_t i = begin - 1;
      // DuckDB would take the lambda's parameter into it.
      if (begin == lambda_end_) return {begin, true};
      // The last arrow's operand goes on into this one: it ends where that one did.
      if (begin == last_end_) return last_;
      const char sign = Sign(i);
      if (sign == ')' || sign == ']' || sign == '}') {
        if (partner_[i] == kNone) return {begin, false};
        begin = partner_[i];
      } else if (sign == '.') {
        begin = i;
      } else if (IsOperator(i)) {
        size_t first = i;
        while (first > 0 && IsOperator(first - 1) && Adjacent(first)) --first;
        std::string run;
        for (size_t at = first; at <= i; ++at) run += Sign(at);
        if (run == ":" || run == "=>" || run == ":=") return {begin, false};
        // "= -1": a sign of the number, not of the operator.
        while (run.size() > 1 && (run.back() == '-' || run.back() == '+') &&
               std::find(kLooserSigns.begin(), kLooserSigns.end(), run.substr(0, run.size() - 1)) !=
                   kLooserSigns.end())
          run.pop_back();
        if (std::find(kLooserSigns.begin(), kLooserSigns.end(), run) != kLooserSigns.end())
          return {first + run.size(), true};
        begin = first;
      } else if (sign != '\0') {
        return {begin, false};  // an open bracket, a comma
      } else if (IsWord(i, "END") && partner_[i] != kNone) {
        begin = partner_[i];
      } else if (IsLooserWord(i)) {
        return {begin, true};
      } else if (begin == arrow || !BeginsValue(begin)) {
        begin = i;  // the value beside the arrow, or before an operator or a bracket
      } else if (tokens_[i].kind == TokenKind::kWord && tokens_[begin].kind == TokenKind::kString &&
                 !IsKeyword(i)) {
        begin = i;  // JSON '…'
      } else {
        return {begin, false};
      }
    }
    return {begin, false};
  }

  bool IsLooserWord(size_t i) const {
    if (tokens_[i].kind != TokenKind::kWord) return false;
    if (IsWord(i, "FROM")) return i > 1 && IsWord(i - 1, "DISTINCT") && IsDistinctFrom(i - 1);
    if (IsWord(i, "TO")) return i > 0 && IsWord(i - 1, "SIMILAR");
    return std::any_of(kLooserWords.begin(), kLooserWords.end(),
                       [&](std::string_view word) { return IsWord(i, word); });
  }
  /// a IS [NOT] DISTINCT FROM b
  bool IsDistinctFrom(size_t distinct) const {
    return IsWord(distinct - 1, "IS") ||
           (IsWord(distinct - 1, "NOT") && distinct > 1 && IsWord(distinct - 2, "IS"));
  }
  /// Words that may stand before a text without making it a value of their type.
  bool IsKeyword(size_t i) const {
    for (const std::string_view word :
         {"SELECT", "WHERE",     "ON",     "HAVING",  "BY",    "WHEN",     "THEN",
          "ELSE",   "RETURNING", "VALUES", "SET",     "USING", "DISTINCT", "ALL",
          "AS",     "LIMIT",     "OFFSET", "QUALIFY", "IN",    "IS"}) {
      if (IsWord(i, word)) return true;
    }
    return false;
  }
  /// Whether a value begins at the token, rather than an operator, a bracket or a dot.
  bool BeginsValue(size_t i) const {
    const char sign = Sign(i);
    // A bracket belongs to what stands before it: a call, a subscript; not (1) after a keyword,
    // which changes nothing.
    return sign == '\0' || sign == '{';
  }

  /// Whether the arrow at `arrow` (with what is left of it from `begin` on) makes a lambda.
  bool IsLambda(size_t begin, size_t arrow, size_t width) const {
    if (width != 2 || begin == 0 || begin >= arrow || Sign(begin - 1) != ',') return false;
    const bool names = (begin + 1 == arrow && tokens_[begin].kind != TokenKind::kString &&
                        tokens_[begin].kind != TokenKind::kNumber) ||
                       (Sign(begin) == '(' && partner_[begin] + 1 == arrow);
    const size_t open = enclosing_[begin];
    if (!names || open == kNone || open == 0 || Sign(open) != '(') return false;
    const bool takes_one =
        std::any_of(kTakeLambdas.begin(), kTakeLambdas.end(),
                    [&](std::string_view word) { return IsWord(open - 1, word); });
    // f(x, doc->'k' = 'v'): a constant behind it is a step, unless the function takes lambdas.
    const size_t right = arrow + width;
    const bool constant = right < tokens_.size() && (tokens_[right].kind == TokenKind::kString ||
                                                     tokens_[right].kind == TokenKind::kNumber ||
                                                     tokens_[right].kind == TokenKind::kParameter);
    return takes_one || !constant;
  }
  /// Behind a last ->, which DuckDB reads as a lambda's, all that follows would be its operand.
  bool TakesWhatFollows(size_t end) const {
    if (end >= tokens_.size() || last_width_ != 2) return false;
    const char sign = Sign(end);
    return sign != ',' && sign != ')' && sign != ']' && sign != '}';
  }

  /// Behind the arrow at `i`, its right operand, and those of the arrows that follow.
  size_t Chain(size_t i) {
    for (;;) {
      const size_t width = ArrowAt(i);
      if (width == 0) return i;
      last_width_ = width;
      const size_t end = Value(i + width);
      if (end == i + width) return end;
      i = end;
    }
  }
  size_t Value(size_t i) const {
    if (Sign(i) == '-' || Sign(i) == '+') ++i;
    if (i >= tokens_.size()) return tokens_.size();
    const char first = Sign(i);
    if (first == '(' || first == '[' || first == '{') {
      if (partner_[i] == kNone) return i;
      i = partner_[i] + 1;
    } else if (first != '\0') {
      return i;
    } else {
      // JSON '…'
      i += tokens_[i].kind == TokenKind::kWord && i + 1 < tokens_.size() &&
                   tokens_[i + 1].kind == TokenKind::kString && !IsKeyword(i)
               ? 2
               : 1;
    }
    while (i < tokens_.size()) {
      const char sign = Sign(i);
      if ((sign == '(' || sign == '[') && partner_[i] != kNone) {
        i = partner_[i] + 1;
      } else if (sign == '.' && i + 1 < tokens_.size()) {
        i += 2;
      } else if (sign == ':' && Sign(i + 1) == ':' && i + 2 < tokens_.size()) {
        i += 3;  // the type; its brackets come next
      } else {
        break;
      }
    }
    return std::min(i, tokens_.size());
  }

  void Open(size_t at) { edits_.push_back({at, '('}); }
  void Close(size_t at) { edits_.push_back({at, ')'}); }

  std::vector<size_t> Apply() {
    std::vector<size_t> inserted;
    if (edits_.empty()) return inserted;
    std::stable_sort(edits_.begin(), edits_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::string out;
    out.reserve(text_.size() + edits_.size());
    size_t copied = 0;
    for (const auto& [at, bracket] : edits_) {
      out.append(text_, copied, at - copied);
      copied = at;
      if (bracket == '(') {
        // Over the blank before, if it is none of a comment's and not taken yet.
        if (at > 0 && !out.empty() && out.back() == ' ' && text_[at - 1] == ' ') {
          out.back() = '(';
          continue;
        }
      } else if (copied < text_.size() && text_[copied] == ' ') {
        out += ')';
        ++copied;
        continue;
      }
      inserted.push_back(out.size());
      out += bracket;
    }
    out.append(text_, copied);
    statement_ = std::move(out);
    return inserted;
  }

  static constexpr size_t kNone = static_cast<size_t>(-1);

  const std::vector<Token>& tokens_;
  const size_t base_;
  std::string& statement_;
  const std::string text_;         // as it was
  std::vector<size_t> partner_;    // of brackets, and of END its CASE
  std::vector<size_t> enclosing_;  // the innermost bracket that is open there
  Left last_;
  size_t last_end_ = kNone;
  size_t last_width_ = 0;      // of the last arrow of the chain
  size_t lambda_end_ = kNone;  // behind the arrow of the last lambda
  std::vector<std::pair<size_t, char>> edits_;
};

}  // namespace

std::vector<size_t> BindJsonArrows(const StatementSpan& span, std::string* statement) {
  if (statement->find("->") == std::string::npos) return {};
  return ArrowBinder(span, statement).Run();
}

Status AtPlaceInText(const Status& status, const std::vector<size_t>& inserted, size_t begin,
                     std::string_view text) {
  const SqlError* error = SqlErrorOf(status);
  if (inserted.empty() || error == nullptr || !error->position || *error->position < begin)
    return status;
  const auto before = std::lower_bound(inserted.begin(), inserted.end(), *error->position - begin);
  if (before == inserted.begin()) return status;
  const size_t position = *error->position - static_cast<size_t>(before - inserted.begin());
  return WithExcerpt(
      MakeSqlError(error->code, MessageOf(status), std::string(HintOf(status)), position), text);
}

}  // namespace lamina::sql
