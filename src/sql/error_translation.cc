#include "sql/error_translation.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error_detail.h"
#include "sql/error_codes.h"

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
  SqlError error{std::string(row.code), std::string(row.sqlstate), position, std::move(excerpt)};
  return MakeError(std::make_shared<SqlErrorDetail>(
      error_code.value_or(row.error), std::move(message), std::move(hint), std::move(error)));
}

std::string_view CodeOfException(const duckdb::ErrorData& error) {
  using duckdb::ExceptionType;
  switch (error.Type()) {
    case ExceptionType::PARSER:
    case ExceptionType::SYNTAX:
      return "T1001";
    case ExceptionType::CATALOG:
      return "T2010";
    case ExceptionType::BINDER:
      return "T2015";
    case ExceptionType::CONVERSION:
    case ExceptionType::DECIMAL:
      return "T4002";
    case ExceptionType::OUT_OF_RANGE:
      return "T4008";
    case ExceptionType::DIVIDE_BY_ZERO:
      return "T4001";
    case ExceptionType::MISMATCH_TYPE:
    case ExceptionType::INVALID_TYPE:
      return "T2007";
    case ExceptionType::CONSTRAINT:
      return "T3004";
    case ExceptionType::TRANSACTION:
      return "T5001";
    case ExceptionType::INTERRUPT:
      return "T4006";
    case ExceptionType::OUT_OF_MEMORY:
      return "T4004";
    case ExceptionType::IO:
      return "T5014";
    case ExceptionType::PERMISSION:
      return "T6001";
    case ExceptionType::DEPENDENCY:
      return "T2013";
    case ExceptionType::NOT_IMPLEMENTED:
      return "T4009";
    case ExceptionType::PARAMETER_NOT_RESOLVED:
    case ExceptionType::PARAMETER_NOT_ALLOWED:
      return "T4007";
    case ExceptionType::INVALID_INPUT:
    case ExceptionType::SETTINGS:
    case ExceptionType::INVALID_CONFIGURATION:
      return "T4010";
    case ExceptionType::INTERNAL:
    case ExceptionType::FATAL:
      return "T5099";
    default:
      return "T4005";
  }
}

/// What an error of DuckDB says, apart. Connections ask for errors as JSON (errors_as_json): DuckDB
/// would else mix the place into the text.
struct DuckDBError {
  std::string message;
  std::map<std::string, std::string> extra;

  explicit DuckDBError(const duckdb::ErrorData& error)
      : message(error.RawMessage()), extra(error.ExtraInfo().begin(), error.ExtraInfo().end()) {
    if (!message.starts_with('{')) return;
    const auto json = nlohmann::json::parse(message, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("exception_message")) return;
    for (const auto& [key, value] : json.items()) {
      if (!value.is_string()) continue;
      if (key == "exception_message") {
        message = value;
      } else {
        extra[key] = value;
      }
    }
  }
  std::string Extra(const char* key) const {
    const auto it = extra.find(key);
    return it == extra.end() ? std::string() : it->second;
  }
};

}  // namespace

Status MakeSqlError(std::string_view code, std::string message, std::string hint,
                    std::optional<size_t> position) {
  return Make(code, std::move(message), std::move(hint), position, "");
}

Status AsSqlError(const Status& status) {
  if (SqlErrorOf(status) != nullptr) return status;
  return Make(SqlCodeOf(status), MessageOf(status), std::string(HintOf(status)), std::nullopt, "",
              CodeOf(status));
}

duckdb::ErrorData ToDuckDB(const Status& status) {
  const SqlError* sql = SqlErrorOf(status);
  duckdb::unordered_map<duckdb::string, duckdb::string> extra;
  extra[kCodeKey] = sql != nullptr ? sql->code : SqlCodeOf(status);
  extra[kErrorKey] = std::to_string(static_cast<int>(CodeOf(status)));
  extra[kMessageKey] = MessageOf(status);
  extra[kHintKey] = HintOf(status);
  if (sql != nullptr && sql->position) extra[kPositionKey] = std::to_string(*sql->position);
  // An executor error: it ends the transaction, and not the database as an internal one would.
  return duckdb::ErrorData(
      duckdb::Exception(extra, duckdb::ExceptionType::EXECUTOR, MessageOf(status)));
}

void Throw(const Status& status) { ToDuckDB(status).Throw(); }

Status FromDuckDB(const duckdb::ErrorData& error, std::string_view text, size_t offset) {
  const DuckDBError parts(error);
  std::optional<size_t> position;
  const std::string at = parts.Extra(kPositionKey);
  size_t number = 0;
  if (!at.empty() && std::from_chars(at.data(), at.data() + at.size(), number).ec == std::errc())
    position = offset + number;
  std::string excerpt = position && *position <= text.size() ? Excerpt(text, *position) : "";
  if (const std::string code = parts.Extra(kCodeKey); !code.empty()) {
    return Make(code, parts.Extra(kMessageKey), parts.Extra(kHintKey), position, std::move(excerpt),
                static_cast<ErrorCode>(std::stoi(parts.Extra(kErrorKey))));
  }
  return Make(CodeOfException(error), parts.message, "", position, std::move(excerpt));
}

}  // namespace sql
}  // namespace lamina
