#include "sql/lexer.h"

#include <cctype>

namespace lamina::sql {
namespace {

bool IsWordStart(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool IsDigit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool IsWordPart(char c) { return IsWordStart(c) || IsDigit(c); }
bool IsSpace(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Tokens Run() {
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;  // a byte order mark says nothing
    while (at_ < text_.size()) Step();
    return std::move(out_);
  }

 private:
  char Peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  void Add(TokenKind kind, size_t begin) { out_.tokens.push_back({kind, begin, at_}); }
  void Open(size_t begin) { out_.open_at = begin; }

  void Step() {
    const size_t begin = at_;
    const char c = Peek();
    if (IsSpace(c)) {
      ++at_;
    } else if (c == '-' && Peek(1) == '-') {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else if (c == '/' && Peek(1) == '*') {
      Comment();
    } else if (c == '\'') {
      Quoted('\'', /*escapes=*/false);
      Add(TokenKind::kString, begin);
    } else if ((c == 'e' || c == 'E') && Peek(1) == '\'') {
      ++at_;
      Quoted('\'', /*escapes=*/true);
      Add(TokenKind::kString, begin);
    } else if (c == '"') {
      Quoted('"', /*escapes=*/false);
      Add(TokenKind::kQuotedWord, begin);
    } else if (c == '$') {
      Dollar();
    } else if (IsDigit(c) || (c == '.' && IsDigit(Peek(1)))) {
      Number();
      Add(TokenKind::kNumber, begin);
    } else if (IsWordStart(c)) {
      while (at_ < text_.size() && IsWordPart(text_[at_])) ++at_;
      Add(TokenKind::kWord, begin);
    } else {
      ++at_;
      Add(c == ';'   ? TokenKind::kSemicolon
          : c == '?' ? TokenKind::kParameter
                     : TokenKind::kSymbol,
          begin);
    }
  }

  void Comment() {
    const size_t begin = at_;
    int depth = 0;
    while (at_ < text_.size()) {
      if (Peek() == '/' && Peek(1) == '*') {
        ++depth;
        at_ += 2;
      } else if (Peek() == '*' && Peek(1) == '/') {
        at_ += 2;
        if (--depth == 0) return;
      } else {
        ++at_;
      }
    }
    Open(begin);
  }

  // A doubled quote is one of the text's characters.
  void Quoted(char quote, bool escapes) {
    const size_t begin = at_++;
    while (at_ < text_.size()) {
      if (escapes && text_[at_] == '\\') {
        at_ += 2;
      } else if (text_[at_] == quote) {
        if (Peek(1) != quote) {
          ++at_;
          return;
        }
        at_ += 2;
      } else {
        ++at_;
      }
    }
    at_ = text_.size();
    Open(begin);
  }

  // $1, $name, or $tag$ … $tag$.
  void Dollar() {
    const size_t begin = at_++;
    while (at_ < text_.size() && IsWordPart(text_[at_])) ++at_;
    const bool tag = Peek() == '$' && !IsDigit(begin + 1 < text_.size() ? text_[begin + 1] : ' ');
    if (!tag) {
      Add(at_ == begin + 1 ? TokenKind::kSymbol : TokenKind::kParameter, begin);
      return;
    }
    ++at_;
    const std::string_view mark = text_.substr(begin, at_ - begin);
    const size_t end = text_.find(mark, at_);
    if (end == std::string_view::npos) {
      Open(begin);
      at_ = text_.size();
    } else {
      at_ = end + mark.size();
    }
    Add(TokenKind::kString, begin);
  }

  void Number() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      const bool sign = (c == '+' || c == '-') && (text_[at_ - 1] == 'e' || text_[at_ - 1] == 'E');
      if (!IsWordPart(c) && c != '.' && !sign) return;
      ++at_;
    }
  }

  const std::string_view text_;
  size_t at_ = 0;
  Tokens out_;
};

/// Whether the end of a statement lies in the BEGIN … END of a CREATE TRIGGER.
class TriggerBlock {
 public:
  bool inside() const { return depth_ > 0; }
  void Add(const std::vector<Token>& tokens, std::string_view text) {
    const Token& last = tokens.back();
    if (!is_trigger_) {
      constexpr size_t kWordsMax = 5;  // CREATE OR REPLACE TEMPORARY TRIGGER
      const size_t count = tokens.size();
      if (count < 2 || count > kWordsMax || !Is(last, text, "TRIGGER")) return;
      const auto before = [&](std::string_view word) { return Is(tokens[count - 2], text, word); };
      is_trigger_ = Is(tokens[0], text, "CREATE") &&
                    (count == 2 || before("REPLACE") || before("TEMP") || before("TEMPORARY"));
      return;
    }
    // A name behind a dot may be any word.
    if (tokens[tokens.size() - 2].In(text) == ".") return;
    if (depth_ == 0 && !ended_ && Is(last, text, "BEGIN")) depth_ = 1;
    if (depth_ == 0) return;
    if (Is(last, text, "CASE")) ++depth_;
    if (Is(last, text, "END") && --depth_ == 0) ended_ = true;
  }

 private:
  bool is_trigger_ = false;
  bool ended_ = false;
  int depth_ = 0;
};

}  // namespace

Tokens Tokenize(std::string_view text) { return Lexer(text).Run(); }

std::vector<StatementSpan> SplitStatements(std::string_view text) {
  std::vector<StatementSpan> out;
  StatementSpan current;
  const auto finish = [&](size_t end, bool terminated) {
    if (!current.tokens.empty()) {
      current.begin = current.tokens.front().begin;
      current.end = end;
      current.terminated = terminated;
      out.push_back(std::move(current));
    }
    current = {};
  };
  TriggerBlock block;
  for (const Token& token : Tokenize(text).tokens) {
    if (token.kind == TokenKind::kSemicolon && !block.inside()) {
      finish(token.begin, true);
      block = {};
    } else {
      current.tokens.push_back(token);
      block.Add(current.tokens, text);
    }
  }
  finish(text.size(), false);
  return out;
}

bool Is(const Token& token, std::string_view text, std::string_view word) {
  const std::string_view in = token.In(text);
  if (token.kind != TokenKind::kWord || in.size() != word.size()) return false;
  for (size_t i = 0; i < word.size(); ++i) {
    if (std::toupper(static_cast<unsigned char>(in[i])) != word[i]) return false;
  }
  return true;
}

}  // namespace lamina::sql
