// Reads a statement that the session recognises itself, token by token.
#pragma once

#include <string>
#include <string_view>

#include "lamina/error.h"
#include "sql/lexer.h"

namespace lamina::sql {

/// A name as PostgreSQL folds it: quoted as it stands, else in small letters.
std::string NameOf(const Token& token, std::string_view text);

/// What a string literal says.
struct QuotedText {
  static constexpr size_t kNowhere = std::string_view::npos;
  std::string text;
  /// Where it begins; kNowhere where its places are others than those in the literal.
  size_t at = kNowhere;
};

/// Offsets count in `text`, of which the statement is a part; both outlive the reader.
class TokenReader {
 public:
  TokenReader(std::string_view text, const StatementSpan& span) : text_(text), span_(span) {}

  bool AtEnd() const { return at_ == span_.tokens.size(); }
  size_t at() const { return at_; }
  void GoTo(size_t at) { at_ = at; }
  /// Of the next token, or where the statement ends.
  size_t position() const { return AtEnd() ? span_.end : span_.tokens[at_].begin; }
  const Token& Next() const { return span_.tokens[at_]; }

  bool Peek(std::string_view word, size_t ahead = 0) const {
    return at_ + ahead < span_.tokens.size() && Is(span_.tokens[at_ + ahead], text_, word);
  }
  bool PeekSign(char sign, size_t ahead = 0) const {
    if (at_ + ahead >= span_.tokens.size()) return false;
    const std::string_view in = span_.tokens[at_ + ahead].In(text_);
    return in.size() == 1 && in[0] == sign;
  }
  bool Take(std::string_view word);
  /// All of them or none.
  bool Take(std::initializer_list<std::string_view> words);
  bool TakeSign(char sign);
  Status Expect(std::string_view word);
  Status ExpectSign(char sign);
  Result<std::string> Name();
  /// '…' or $$…$$; T4009 for E'…'. `what` is expected there.
  Result<QuotedText> Quoted(std::string_view what);

  /// T1002 at the next token, or T1001 at the end. The excerpt is left to the caller.
  Status Unexpected(std::string hint = {}) const;

 private:
  const std::string_view text_;
  const StatementSpan& span_;
  size_t at_ = 0;
};

}  // namespace lamina::sql
