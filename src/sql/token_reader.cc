#include "sql/token_reader.h"

#include <cctype>
#include <utility>

#include <fmt/format.h>

#include "sql/error_translation.h"

namespace lamina::sql {

std::string NameOf(const Token& token, std::string_view text) {
  std::string name(token.In(text));
  if (token.kind == TokenKind::kQuotedWord) {
    std::string out;
    for (size_t i = 1; i + 1 < name.size(); ++i) {
      out += name[i];
      if (name[i] == '"') ++i;
    }
    return out;
  }
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

bool TokenReader::Take(std::string_view word) {
  if (!Peek(word)) return false;
  ++at_;
  return true;
}

bool TokenReader::Take(std::initializer_list<std::string_view> words) {
  size_t ahead = 0;
  for (const std::string_view word : words) {
    if (!Peek(word, ahead++)) return false;
  }
  at_ += words.size();
  return true;
}

bool TokenReader::TakeSign(char sign) {
  if (!PeekSign(sign)) return false;
  ++at_;
  return true;
}

Status TokenReader::Expect(std::string_view word) {
  return Take(word) ? Status::OK() : Unexpected(fmt::format("{} is expected here", word));
}

Status TokenReader::ExpectSign(char sign) {
  return TakeSign(sign) ? Status::OK() : Unexpected(fmt::format("{} is expected here", sign));
}

Result<std::string> TokenReader::Name() {
  if (AtEnd()) return Unexpected();
  const Token& token = Next();
  if (token.kind != TokenKind::kWord && token.kind != TokenKind::kQuotedWord) return Unexpected();
  ++at_;
  return NameOf(token, text_);
}

Result<QuotedText> TokenReader::Quoted(std::string_view what) {
  if (AtEnd() || Next().kind != TokenKind::kString)
    return Unexpected(fmt::format("{} in quotes is expected here: '…'", what));
  const Token token = Next();
  const std::string_view quoted = token.In(text_);
  QuotedText out;
  if (quoted[0] == '\'') {
    out.at = token.begin + 1;
    for (size_t i = 1; i + 1 < quoted.size(); ++i) {
      out.text += quoted[i];
      if (quoted[i] != '\'') continue;
      ++i;
      out.at = QuotedText::kNowhere;  // places behind it are others in the text
    }
  } else if (quoted[0] == '$') {
    const size_t mark = quoted.find('$', 1) + 1;
    out.text = quoted.substr(mark, quoted.size() - 2 * mark);
    out.at = token.begin + mark;
  } else {
    return MakeSqlError("T4009", fmt::format("{} is no E'…' string", what),
                        "'…' with doubled quotes, or $$…$$", token.begin);
  }
  ++at_;
  return out;
}

Status TokenReader::Unexpected(std::string hint) const {
  if (AtEnd()) {
    return MakeSqlError("T1001", "syntax error at end of input", std::move(hint), span_.end);
  }
  return MakeSqlError("T1002", fmt::format("syntax error at or near \"{}\"", Next().In(text_)),
                      std::move(hint), position());
}

}  // namespace lamina::sql
