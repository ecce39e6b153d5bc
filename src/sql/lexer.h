// Where statements, strings and comments of a text begin and end: just enough of SQL's words to cut
// a text into statements and to recognise those that the session runs itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace lamina::sql {

enum class TokenKind : uint8_t {
  kWord,        ///< An unquoted name or keyword.
  kQuotedWord,  ///< "a name".
  kString,      ///< 'text', E'text', $$text$$.
  kNumber,
  kParameter,  ///< ?, $1 or $name.
  kSymbol,     ///< Any other single character.
  kSemicolon,
};

struct Token {
  TokenKind kind = TokenKind::kSymbol;
  size_t begin = 0;  ///< Byte offsets in the text.
  size_t end = 0;

  std::string_view In(std::string_view text) const { return text.substr(begin, end - begin); }
};

struct Tokens {
  std::vector<Token> tokens;  ///< Without blanks and comments.
  /// What was open when the text ended: the offset where it began, or npos.
  size_t open_at = std::string_view::npos;
};

/// Never fails: what it does not know is a symbol.
Tokens Tokenize(std::string_view text);

/// One statement of a text: from its first token up to, not including, its semicolon.
struct StatementSpan {
  size_t begin = 0;
  size_t end = 0;
  std::vector<Token> tokens;  ///< Offsets count in the whole text.
  bool terminated = false;    ///< By a semicolon.
};
/// Empty statements are left out. A CREATE TRIGGER … BEGIN … END is one, with its semicolons.
std::vector<StatementSpan> SplitStatements(std::string_view text);

/// Whether the token is this word, without regard to case. `word` is in capitals.
bool Is(const Token& token, std::string_view text, std::string_view word);

}  // namespace lamina::sql
