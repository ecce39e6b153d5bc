#include "sql/settings.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <string>
#include <utility>

#include <duckdb/parser/expression/columnref_expression.hpp>
#include <duckdb/parser/expression/constant_expression.hpp>
#include <duckdb/parser/parsed_data/load_info.hpp>
#include <duckdb/parser/parsed_data/pragma_info.hpp>
#include <duckdb/parser/statement/explain_statement.hpp>
#include <duckdb/parser/statement/load_statement.hpp>
#include <duckdb/parser/statement/pragma_statement.hpp>
#include <duckdb/parser/statement/prepare_statement.hpp>
#include <duckdb/parser/statement/set_statement.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/instance_resources.h"
#include "sql/session_state.h"

namespace lamina::sql {
namespace {

constexpr char kTimeout[] = "query_timeout";
constexpr char kMaxMemory[] = "query_max_memory";
constexpr char kStrictMode[] = "strict_mode";
constexpr char kSpill[] = "temp_directory";

struct Unit {
  std::string_view name;
  double factor;
};
constexpr Unit kDurations[] = {
    {"", 1e3},        {"us", 1},        {"microsecond", 1},
    {"ms", 1e3},      {"msec", 1e3},    {"millisecond", 1e3},
    {"s", 1e6},       {"sec", 1e6},     {"second", 1e6},
    {"m", 60e6},      {"min", 60e6},    {"minute", 60e6},
    {"h", 3600e6},    {"hour", 3600e6}, {"d", 86400e6},
    {"day", 86400e6},
};
// As DuckDB's memory_limit has them: KB counts by the thousand, KiB by 1024.
constexpr Unit kSizes[] = {
    {"", 1},
    {"b", 1},
    {"byte", 1},
    {"kb", 1e3},
    {"k", 1e3},
    {"mb", 1e6},
    {"m", 1e6},
    {"gb", 1e9},
    {"g", 1e9},
    {"tb", 1e12},
    {"t", 1e12},
    {"kib", 1024.0},
    {"mib", 1048576.0},
    {"gib", 1073741824.0},
    {"tib", 1099511627776.0},
};

/// A number, blanks and a unit, which may be in the plural where it is a word.
std::optional<double> ParseQuantity(std::string_view text, std::span<const Unit> units) {
  const auto blank = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  size_t digits = 0;
  while (digits < text.size() &&
         (std::isdigit(static_cast<unsigned char>(text[digits])) != 0 || text[digits] == '.'))
    ++digits;
  const std::string number(text.substr(0, digits));
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end);
  if (number.empty() || *end != '\0') return {};
  std::string unit(text.substr(digits));
  unit.erase(0, std::min(unit.find_first_not_of(" \t"), unit.size()));
  for (char& c : unit) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (unit.size() > 3 && unit.back() == 's') unit.pop_back();
  for (const Unit& known : units) {
    // Beyond what 64 bits count, nothing is a limit.
    if (unit == known.name && value * known.factor < 9e18) return value * known.factor;
  }
  return {};
}

std::string TextOf(const duckdb::ClientContext& context, const char* name) {
  duckdb::Value value;
  if (!context.TryGetCurrentSetting(name, value) || value.IsNull()) return {};
  return value.ToString();
}

void CheckTimeout(duckdb::ClientContext&, duckdb::SetScope, duckdb::Value& value) {
  if (!value.IsNull() && ParseDuration(value.ToString()).has_value()) return;
  Throw(MakeSqlError("T4010", fmt::format("no duration: {}={}", kTimeout, value.ToString()),
                     "such as '10ms', '5s' or '1 minute'; a plain number counts milliseconds, and "
                     "0 is no limit"));
}

void CheckMaxMemory(duckdb::ClientContext&, duckdb::SetScope, duckdb::Value& value) {
  if (!value.IsNull() && ParseByteSize(value.ToString()).has_value()) return;
  Throw(MakeSqlError("T4010", fmt::format("no size: {}={}", kMaxMemory, value.ToString()),
                     "such as '64MB' or '2GiB'; a plain number counts bytes, and 0 is no limit"));
}

void NoteStrictMode(duckdb::ClientContext& context, duckdb::SetScope scope, duckdb::Value& value) {
  if (value.IsNull()) {
    Throw(MakeSqlError("T4010", fmt::format("{} is true or false", kStrictMode)));
  }
  if (scope == duckdb::SetScope::GLOBAL)
    InstanceResources::Of(*context.db).strict_mode_changed.store(true);
  SessionState::Get(context).strict_mode_changed = true;
}

struct Refused {
  std::string_view name;  ///< Of a setting or PRAGMA; one that ends in * begins so.
  std::string_view why;
};
constexpr std::string_view kExtensions = "LaminaDB loads no extensions of DuckDB";
constexpr std::string_view kVerification = "it is for testing DuckDB";
constexpr std::string_view kSecrets = "LaminaDB keeps no secrets in files";
constexpr std::string_view kLog =
    "it is about DuckDB's log: DatabaseOptions say when LaminaDB flushes";
constexpr std::string_view kProgress =
    "programs ask Connection::progress, the shell shows it by itself";
constexpr Refused kRefused[] = {
    {"access_mode", "the database is opened to read only, or to write"},
    {"allow_unredacted_secrets", "secrets are not shown"},
    {"checkpoint_threshold", kLog},
    {"wal_autocheckpoint", kLog},
    {"enable_progress_bar", kProgress},
    {"enable_progress_bar_print", kProgress},
    {"preserve_identifier_case", "names keep their case"},
    {"allow_community_extensions", kExtensions},
    {"allow_extensions_metadata_mismatch", kExtensions},
    {"allow_parser_override_extension", kExtensions},
    {"allow_unsigned_extensions", kExtensions},
    {"autoinstall_extension_repository", kExtensions},
    {"autoinstall_known_extensions", kExtensions},
    {"autoload_known_extensions", kExtensions},
    {"custom_extension_repository", kExtensions},
    {"extension_directories", kExtensions},
    {"extension_directory", kExtensions},
    {"allow_persistent_secrets", kSecrets},
    {"default_secret_storage", kSecrets},
    {"secret_directory", kSecrets},
    {"errors_as_json", "errors are read from it"},
    {"disable_database_invalidation", "after an internal error nothing can be trusted"},
    {"debug_*", kVerification},
    {"enable_verification", kVerification},
    {"disable_verification", kVerification},
    {"verify_*", kVerification},
    {"disable_verify_*", kVerification},
    {"force_external", kVerification},
};

Status CheckName(std::string name, std::string_view kind) {
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (const auto option = duckdb::DBConfig::GetOptionByName(name)) name = option->name;
  for (const Refused& refused : kRefused) {
    std::string_view of = refused.name;
    const bool prefix = of.ends_with('*');
    if (prefix) of.remove_suffix(1);
    if (prefix ? !name.starts_with(of) : name != of) continue;
    return MakeSqlError("T4009", fmt::format("{} cannot be used: {}; {}", kind, name, refused.why));
  }
  return Status::OK();
}

Status CheckExtension(const duckdb::LoadInfo& info) {
  std::string name = info.filename;
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return MakeSqlError("T4009",
                      fmt::format("extensions of DuckDB cannot be loaded: name={}", info.filename),
                      "json, parquet, icu and the core functions are part of LaminaDB");
}

bool IsBuiltIn(const duckdb::LoadInfo& info) {
  constexpr std::array<std::string_view, 5> kBuiltIn = {"json", "parquet", "icu", "core_functions",
                                                        "autocomplete"};
  std::string name = info.filename;
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return std::find(kBuiltIn.begin(), kBuiltIn.end(), name) != kBuiltIn.end();
}

/// The value that a SET writes as a literal or a bare word.
std::optional<std::string> LiteralOf(const duckdb::ParsedExpression& expression) {
  if (expression.GetExpressionClass() == duckdb::ExpressionClass::CONSTANT) {
    const auto& value = expression.Cast<duckdb::ConstantExpression>().value;
    if (!value.IsNull()) return value.ToString();
  } else if (expression.GetExpressionClass() == duckdb::ExpressionClass::COLUMN_REF) {
    return expression.Cast<duckdb::ColumnRefExpression>().GetColumnName();
  }
  return {};
}

Status AdaptSet(duckdb::ClientContext& context,
                duckdb::unique_ptr<duckdb::SQLStatement>* statement) {
  auto& set = (*statement)->Cast<duckdb::SetStatement>();
  if (set.scope == duckdb::SetScope::VARIABLE) return Status::OK();
  ARROW_RETURN_NOT_OK(CheckName(set.name, "the setting"));
  if (!duckdb::StringUtil::CIEquals(set.name, kSpill)) return Status::OK();
  auto& spill = InstanceResources::Of(*context.db).spill;
  std::string parent;
  if (set.set_type == duckdb::SetType::SET) {
    const auto given = LiteralOf(*set.Cast<duckdb::SetVariableStatement>().value);
    if (!given.has_value())
      return MakeSqlError("T4010", fmt::format("{} is a text: the path of a folder", kSpill));
    if (given->empty()) return Status::OK();  // nothing is spilled
    parent = *given;
  }
  ARROW_ASSIGN_OR_RAISE(const std::string path, spill.Make(parent));
  auto value = duckdb::make_uniq<duckdb::ConstantExpression>(duckdb::Value(path));
  *statement = duckdb::make_uniq<duckdb::SetVariableStatement>(set.name, std::move(value),
                                                               duckdb::SetScope::GLOBAL);
  return Status::OK();
}

}  // namespace

std::optional<int64_t> ParseDuration(std::string_view text) {
  const auto micros = ParseQuantity(text, kDurations);
  if (!micros.has_value()) return {};
  // What is above zero is a limit, however small.
  return *micros > 0 && *micros < 1 ? 1 : static_cast<int64_t>(*micros);
}

std::optional<uint64_t> ParseByteSize(std::string_view text) {
  const auto bytes = ParseQuantity(text, kSizes);
  if (!bytes.has_value()) return {};
  return *bytes > 0 && *bytes < 1 ? 1 : static_cast<uint64_t>(*bytes);
}

void RegisterSettings(duckdb::DatabaseInstance& instance) {
  auto& config = duckdb::DBConfig::GetConfig(instance);
  const auto text = duckdb::LogicalType::VARCHAR;
  config.AddExtensionOption(kTimeout, "Ends statements that run longer (such as 5s; 0: no limit)",
                            text, duckdb::Value("0"), CheckTimeout);
  config.AddExtensionOption(kMaxMemory,
                            "Memory that a statement may take before it spills or fails (such as "
                            "64MB; 0: no limit but memory_limit)",
                            text, duckdb::Value("0"), CheckMaxMemory);
  config.AddExtensionOption(kStrictMode,
                            "Division by zero, values that a conversion would change and columns "
                            "that an INSERT leaves out are errors",
                            duckdb::LogicalType::BOOLEAN, duckdb::Value::BOOLEAN(false),
                            NoteStrictMode);
}

SessionSettings ReadSettings(const duckdb::ClientContext& context) {
  SessionSettings out;
  out.query_timeout_micros = ParseDuration(TextOf(context, kTimeout)).value_or(0);
  const uint64_t bytes = ParseByteSize(TextOf(context, kMaxMemory)).value_or(0);
  if (bytes > 0) out.query_max_memory = bytes;
  return out;
}

bool IsStrict(const duckdb::ClientContext& context) {
  duckdb::Value value;
  return context.TryGetCurrentSetting(kStrictMode, value) && !value.IsNull() &&
         value.GetValue<bool>();
}

bool SessionState::StrictModeChanged(duckdb::ClientContext& context) const {
  return strict_mode_changed || InstanceResources::Of(*context.db).strict_mode_changed.load();
}

duckdb::RebindQueryInfo SessionState::OnExecutePrepared(duckdb::ClientContext& context,
                                                        duckdb::PreparedStatementCallbackInfo&,
                                                        duckdb::RebindQueryInfo current) {
  return StrictModeChanged(context) ? duckdb::RebindQueryInfo::ATTEMPT_TO_REBIND : current;
}

std::optional<std::string> ShowSetting(duckdb::ClientContext& context, std::string_view sql,
                                       const StatementSpan& span) {
  const auto& tokens = span.tokens;
  if (tokens.size() != 2 || !Is(tokens[0], sql, "SHOW") || tokens[1].kind != TokenKind::kWord)
    return {};
  const std::string name(tokens[1].In(sql));
  duckdb::Value value;
  if (!context.TryGetCurrentSetting(name, value)) return {};
  bool table = false;
  context.RunFunctionInTransaction([&] {
    table = duckdb::Catalog::GetEntry(context, "", "", {duckdb::CatalogType::TABLE_ENTRY, name},
                                      duckdb::OnEntryNotFound::RETURN_NULL) != nullptr;
  });
  if (table) return {};
  return fmt::format("SELECT current_setting('{0}') AS \"{0}\"", name);
}

Status AdaptSettings(duckdb::ClientContext& context,
                     duckdb::unique_ptr<duckdb::SQLStatement>* statement) {
  using duckdb::StatementType;
  switch ((*statement)->type) {
    case StatementType::SET_STATEMENT:
      return AdaptSet(context, statement);
    case StatementType::PRAGMA_STATEMENT:
      return CheckName((*statement)->Cast<duckdb::PragmaStatement>().info->name, "the pragma");
    case StatementType::LOAD_STATEMENT: {
      const auto& info = *(*statement)->Cast<duckdb::LoadStatement>().info;
      if (!IsBuiltIn(info)) return CheckExtension(info);
      // It is there: INSTALL would fetch it, or try to.
      duckdb::Parser parser;
      parser.ParseQuery("LOAD json");
      *statement = std::move(parser.statements[0]);
      return Status::OK();
    }
    case StatementType::UPDATE_EXTENSIONS_STATEMENT:
      return MakeSqlError("T4009", "LaminaDB loads no extensions of DuckDB");
    case StatementType::PREPARE_STATEMENT:
      return AdaptSettings(context, &(*statement)->Cast<duckdb::PrepareStatement>().statement);
    case StatementType::EXPLAIN_STATEMENT:
      return AdaptSettings(context, &(*statement)->Cast<duckdb::ExplainStatement>().stmt);
    default:
      return Status::OK();
  }
}

}  // namespace lamina::sql
