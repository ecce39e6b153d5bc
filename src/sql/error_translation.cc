#include "sql/error_translation.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "sql/duckdb_error.h"
#include "sql/error_codes.h"
#include "sql/lexer.h"

namespace lamina {
namespace {

class SqlErrorDetail final : public ErrorDetail {
 public:
  SqlErrorDetail(ErrorCode code, std::string message, std::string hint, SqlError error)
      : ErrorDetail(code, std::move(message), std::move(hint)), error_(std::move(error)) {}
  std::string ToString() const override { return error_.code; }
  const SqlError& error() const { return error_; }

 private:
  const SqlError error_;
};

}  // namespace

const SqlError* SqlErrorOf(const Status& status) {
  const auto* detail = dynamic_cast<const SqlErrorDetail*>(status.detail().get());
  return detail == nullptr ? nullptr : &detail->error();
}

namespace sql {
namespace {

// Where an exception of DuckDB carries the Status it was made of.
constexpr char kCodeKey[] = "lamina_code";
constexpr char kHintKey[] = "lamina_hint";
constexpr char kMessageKey[] = "lamina_message";
constexpr char kErrorKey[] = "lamina_error";
constexpr char kPositionKey[] = "position";

// The line of `text` that holds the byte, and a caret under it.
std::string Excerpt(std::string_view text, size_t position) {
  constexpr size_t kWidth = 96;
  position = std::min(position, text.size());
  const size_t line =
      std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(position), '\n');
  size_t begin = position == 0 ? std::string_view::npos : text.rfind('\n', position - 1);
  begin = begin == std::string_view::npos ? 0 : begin + 1;
  size_t end = std::min(text.find('\n', position), text.size());
  const auto is_inside = [&](size_t i) {
    return i < text.size() && (static_cast<unsigned char>(text[i]) & 0xc0) == 0x80;
  };
  const bool cut_front = position - begin > kWidth / 2;
  if (cut_front) begin = position - kWidth / 2;
  while (is_inside(begin)) ++begin;
  const bool cut_back = end - begin > kWidth;
  if (cut_back) end = begin + kWidth;
  while (cut_back && end > begin && is_inside(end)) --end;
  std::string shown = fmt::format("LINE {}: {}", line + 1, cut_front ? "…" : "");
  size_t column = 0;
  const auto width = [](std::string_view part) {
    size_t n = 0;
    for (const char c : part) n += (static_cast<unsigned char>(c) & 0xc0) != 0x80 ? 1 : 0;
    return n;
  };
  column = width(shown) + width(text.substr(begin, position - begin));
  std::string part(text.substr(begin, end - begin));
  std::replace(part.begin(), part.end(), '\t', ' ');
  return fmt::format("{}{}{}\n{:>{}}", shown, part, cut_back ? "…" : "", "^", column + 1);
}

Status Make(std::string_view code, std::string message, std::string hint,
            std::optional<size_t> position, std::string excerpt,
            std::optional<ErrorCode> error_code = {}) {
  const ErrorCodeRow& row = FindErrorCode(code);
  // What a message repeats may be as long as the statement.
  constexpr size_t kMessageMax = 2000;
  if (message.size() > kMessageMax) {
    size_t end = kMessageMax / 2;
    while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xc0) == 0x80) --end;
    size_t behind = message.size() - kMessageMax / 4;
    while (behind < message.size() && (static_cast<unsigned char>(message[behind]) & 0xc0) == 0x80)
      ++behind;
    message = message.substr(0, end) + "…" + message.substr(behind);
  }
  SqlError error{std::string(row.code), std::string(row.sqlstate), position, std::move(excerpt)};
  return MakeError(std::make_shared<SqlErrorDetail>(
      error_code.value_or(row.error), std::move(message), std::move(hint), std::move(error)));
}

/// Of the one word of `text` from `begin` on that is this name; nothing when there are several.
std::optional<size_t> PlaceOf(std::string_view name, std::string_view text, size_t begin) {
  if (const size_t dot = name.rfind('.'); dot != std::string_view::npos)
    name.remove_prefix(dot + 1);
  if (name.empty() || begin >= text.size()) return {};
  const std::vector<StatementSpan> spans = SplitStatements(text.substr(begin));
  if (spans.empty()) return {};
  std::optional<size_t> found;
  for (const Token& token : spans[0].tokens) {
    std::string_view word = token.In(text.substr(begin));
    if (token.kind == TokenKind::kQuotedWord && word.size() >= 2)
      word = word.substr(1, word.size() - 2);
    const bool same =
        std::equal(word.begin(), word.end(), name.begin(), name.end(), [](char a, char b) {
          return std::tolower(static_cast<unsigned char>(a)) ==
                 std::tolower(static_cast<unsigned char>(b));
        });
    if (!same) continue;
    if (found) return {};
    found = begin + token.begin;
  }
  return found;
}

/// What a message of ours is about: "table does not exist: x", "…: table=t column=x".
std::string NameIn(std::string_view message) {
  for (const std::string_view mark : {" column=", " does not exist: ", " exists already: "}) {
    if (const size_t at = message.find(mark); at != std::string_view::npos) {
      message.remove_prefix(at + mark.size());
      return std::string(message.substr(0, message.find(' ')));
    }
  }
  return {};
}

}  // namespace

Status MakeSqlError(std::string_view code, std::string message, std::string hint,
                    std::optional<size_t> position) {
  return Make(code, std::move(message), std::move(hint), position, "");
}

Status AsSqlError(const Status& status) {
  if (SqlErrorOf(status) != nullptr) return status;
  // The layers below have one code for all that cannot be, SQL has one for this.
  const bool read_only = MessageOf(status) == "database was opened read-only";
  return Make(read_only ? "T5007" : SqlCodeOf(status), MessageOf(status),
              std::string(HintOf(status)), std::nullopt, "", CodeOf(status));
}

duckdb::ErrorData ToDuckDB(const Status& status) {
  const SqlError* sql = SqlErrorOf(status);
  duckdb::unordered_map<duckdb::string, duckdb::string> extra;
  extra[kCodeKey] = sql != nullptr ? sql->code : SqlErrorOf(AsSqlError(status))->code;
  extra[kErrorKey] = std::to_string(static_cast<int>(CodeOf(status)));
  extra[kMessageKey] = MessageOf(status);
  extra[kHintKey] = HintOf(status);
  if (sql != nullptr && sql->position) extra[kPositionKey] = std::to_string(*sql->position);
  // An executor error: it ends the transaction, and not the database as an internal one would.
  return duckdb::ErrorData(
      duckdb::Exception(extra, duckdb::ExceptionType::EXECUTOR, MessageOf(status)));
}

void Throw(const Status& status) { ToDuckDB(status).Throw(); }

namespace {
/// The place `count` characters of UTF-8 after `begin`.
size_t AfterCharacters(std::string_view text, size_t begin, size_t count) {
  size_t at = begin;
  const auto inside = [&] { return (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80; };
  for (; count > 0 && at < text.size(); --count) {
    ++at;
    while (at < text.size() && inside()) ++at;
  }
  return at;
}
}  // namespace

Status FromDuckDB(const duckdb::ErrorData& error, std::string_view text, size_t offset) {
  const DuckDBError parts(error);
  std::optional<size_t> position;
  const std::string at = parts.Extra(kPositionKey);
  size_t number = 0;
  if (!at.empty() && std::from_chars(at.data(), at.data() + at.size(), number).ec == std::errc() &&
      offset + number <= text.size()) {
    // The scanner counts characters, all else bytes.
    const bool characters = parts.Extra("error_subtype") == "SYNTAX_ERROR";
    position = characters ? AfterCharacters(text, offset, number) : offset + number;
  }
  const auto place = [&](const std::string& name) {
    if (!position) position = PlaceOf(name, text, offset);
    return position ? Excerpt(text, *position) : std::string();
  };
  if (const std::string code = parts.Extra(kCodeKey); !code.empty()) {
    std::string excerpt = place(NameIn(parts.Extra(kMessageKey)));
    return Make(code, parts.Extra(kMessageKey), parts.Extra(kHintKey), position, std::move(excerpt),
                static_cast<ErrorCode>(std::stoi(parts.Extra(kErrorKey))));
  }
  Diagnosis diagnosis =
      Diagnose(parts, text.substr(std::min(offset, text.size())),
               position ? std::optional<size_t>(*position - offset) : std::nullopt);
  std::string excerpt = place(diagnosis.name);
  return Make(diagnosis.code, std::move(diagnosis.message), std::move(diagnosis.hint), position,
              std::move(excerpt));
}

Status WithExcerpt(const Status& status, std::string_view text) {
  const SqlError* error = SqlErrorOf(status);
  if (error == nullptr || !error->position || !error->excerpt.empty() ||
      *error->position > text.size())
    return status;
  return Make(error->code, MessageOf(status), std::string(HintOf(status)), error->position,
              Excerpt(text, *error->position), CodeOf(status));
}

}  // namespace sql
}  // namespace lamina
