#include "sql/settings.h"

#include <charconv>
#include <cmath>

#include <duckdb/parser/parsed_data/load_info.hpp>
#include <duckdb/parser/parsed_data/pragma_info.hpp>
#include <duckdb/parser/statement/load_statement.hpp>
#include <duckdb/parser/statement/pragma_statement.hpp>
#include <duckdb/parser/statement/set_statement.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/session_state.h"

namespace lamina::sql {
namespace {

struct Unit {
  std::string_view name;  ///< In small letters.
  double factor;
};
constexpr Unit kTimes[] = {
    {"", 1e3},
    {"us", 1},
    {"ms", 1e3},
    {"millisecond", 1e3},
    {"milliseconds", 1e3},
    {"s", 1e6},
    {"sec", 1e6},
    {"second", 1e6},
    {"seconds", 1e6},
    {"m", 60e6},
    {"min", 60e6},
    {"minute", 60e6},
    {"minutes", 60e6},
    {"h", 3600e6},
    {"hour", 3600e6},
    {"hours", 3600e6},
    {"d", 86400e6},
    {"day", 86400e6},
    {"days", 86400e6},
};
constexpr Unit kSizes[] = {
    {"", 1},         {"b", 1},           {"byte", 1},           {"bytes", 1},
    {"kb", 1e3},     {"mb", 1e6},        {"gb", 1e9},           {"tb", 1e12},
    {"kib", 1024.0}, {"mib", 1048576.0}, {"gib", 1073741824.0}, {"tib", 1099511627776.0},
};

/// A number with a unit, as a whole number of the smallest.
template <size_t kCount>
Result<int64_t> Parse(const char* setting, std::string_view text, const Unit (&units)[kCount],
                      const char* hint) {
  const auto refuse = [&] {
    return MakeSqlError("T4010", fmt::format("{} cannot be '{}'", setting, text), hint);
  };
  std::string trimmed;
  for (const char c : text)
    if (c != ' ') trimmed += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  double number = 0;
  const auto [end, error] =
      std::from_chars(trimmed.data(), trimmed.data() + trimmed.size(), number);
  if (error != std::errc() || !std::isfinite(number) || number < 0) return refuse();
  const std::string_view unit(end, static_cast<size_t>(trimmed.data() + trimmed.size() - end));
  for (const Unit& known : units) {
    if (known.name != unit) continue;
    const double out = std::ceil(number * known.factor);
    if (out > 9e18) return refuse();
    return static_cast<int64_t>(out);
  }
  return refuse();
}

/// Ours hold for a session: of one that does not run statements, DuckDB has no session state.
SessionSettings& Of(duckdb::ClientContext& context, duckdb::SetScope scope, const char* name) {
  if (scope == duckdb::SetScope::GLOBAL) {
    Throw(MakeSqlError("T4010", fmt::format("{} is set for a session, not for all", name),
                       fmt::format("SET {} = …", name)));
  }
  return SessionState::Get(context).settings;
}

void SetTimeout(duckdb::ClientContext& context, duckdb::SetScope scope, duckdb::Value& value) {
  Of(context, scope, "query_timeout").query_timeout_micros =
      ValueOrThrow(ParseTimeout(value.ToString()));
}

void SetMemory(duckdb::ClientContext& context, duckdb::SetScope scope, duckdb::Value& value) {
  Of(context, scope, "query_max_memory").query_max_memory =
      ValueOrThrow(ParseMemory(value.ToString()));
}

void SetStrict(duckdb::ClientContext& context, duckdb::SetScope scope, duckdb::Value& value) {
  Of(context, scope, "strict_mode").strict_mode = value.GetValue<bool>();
}

struct Fixed {
  std::string_view name;
  const char* why;
};
// What LaminaDB relies on, or what would reach the network.
constexpr Fixed kFixed[] = {
    {"access_mode", "open the database read-only instead"},
    {"allow_community_extensions", "extensions are not loaded"},
    {"allow_extensions_metadata_mismatch", "extensions are not loaded"},
    {"allow_unredacted_secrets", "secrets are not shown"},
    {"allow_unsigned_extensions", "extensions are not loaded"},
    {"autoinstall_extension_repository", "extensions are not downloaded"},
    {"autoinstall_known_extensions", "extensions are not downloaded"},
    {"autoload_known_extensions", "extensions are not downloaded"},
    {"custom_extension_repository", "extensions are not downloaded"},
    {"extension_directory", "extensions are not loaded"},
    {"enable_progress_bar", "programs ask Connection::progress, the shell shows it by itself"},
    {"enable_progress_bar_print",
     "programs ask Connection::progress, the shell shows it by itself"},
    {"errors_as_json", "LaminaDB reads DuckDB's errors and gives its own"},
    {"parquet_metadata_cache", "files of the database never change, others are checked"},
    {"preserve_identifier_case", "names keep their case"},
    {"secret_directory", "secrets are kept in memory"},
    {"wal_autocheckpoint", "it is DuckDB's log; options of the database say when LaminaDB flushes"},
    {"checkpoint_threshold",
     "it is DuckDB's log; options of the database say when LaminaDB flushes"},
};

Status CheckName(std::string_view name) {
  for (const Fixed& fixed : kFixed) {
    if (fixed.name == name)
      return MakeSqlError("T4009", fmt::format("{} stays as it is", name), fixed.why);
  }
  if (name.starts_with("debug_"))
    return MakeSqlError("T4009", fmt::format("{} stays as it is", name),
                        "it is for DuckDB's own tests");
  return Status::OK();
}

}  // namespace

Result<int64_t> ParseTimeout(std::string_view text) {
  return Parse("query_timeout", text, kTimes, "as '500ms', '10s' or '2 minutes'; 0 is none");
}

Result<uint64_t> ParseMemory(std::string_view text) {
  ARROW_ASSIGN_OR_RAISE(const int64_t bytes,
                        Parse("query_max_memory", text, kSizes, "as '64MB' or '2GiB'; 0 is none"));
  return static_cast<uint64_t>(bytes);
}

void RegisterSettings(duckdb::DBConfig& config) {
  using duckdb::LogicalType;
  using duckdb::SetScope;
  using duckdb::Value;
  config.AddExtensionOption("query_timeout",
                            "How long a statement may run ('500ms', '10s'; a number alone counts "
                            "milliseconds; 0: as long as it takes)",
                            LogicalType::VARCHAR, Value("0"), SetTimeout, SetScope::SESSION);
  config.AddExtensionOption(
      "query_max_memory",
      "How much memory a statement may take before it spills to disk or fails "
      "('64MB'; 0: as much as memory_limit allows)",
      LogicalType::VARCHAR, Value("0"), SetMemory, SetScope::SESSION);
  config.AddExtensionOption("strict_mode",
                            "Whether division by zero, values that a conversion would change and "
                            "columns that are left out of an INSERT are errors",
                            LogicalType::BOOLEAN, Value::BOOLEAN(false), SetStrict,
                            SetScope::SESSION);
}

Status CheckSetting(const duckdb::SQLStatement& statement) {
  using duckdb::StatementType;
  if (statement.type == StatementType::LOAD_STATEMENT &&
      statement.Cast<duckdb::LoadStatement>().info->load_type != duckdb::LoadType::LOAD) {
    return MakeSqlError("T4009", "extensions are not installed",
                        "LaminaDB never reaches the network by itself");
  }
  if (statement.type == StatementType::SET_STATEMENT)
    return CheckName(duckdb::StringUtil::Lower(statement.Cast<duckdb::SetStatement>().name));
  if (statement.type == StatementType::PRAGMA_STATEMENT)
    return CheckName(
        duckdb::StringUtil::Lower(statement.Cast<duckdb::PragmaStatement>().info->name));
  return Status::OK();
}

std::string ShowSetting(duckdb::ClientContext& context, const StatementSpan& span,
                        std::string_view text) {
  if (span.tokens.size() != 2 || !Is(span.tokens[0], text, "SHOW") ||
      span.tokens[1].kind != TokenKind::kWord)
    return "";
  const std::string name = duckdb::StringUtil::Lower(std::string(span.tokens[1].In(text)));
  duckdb::Value value;
  if (!context.TryGetCurrentSetting(name, value)) return "";
  bool table = false;
  context.RunFunctionInTransaction([&] {
    table = duckdb::Catalog::GetEntry(context, "", "", {duckdb::CatalogType::TABLE_ENTRY, name},
                                      duckdb::OnEntryNotFound::RETURN_NULL) != nullptr;
  });
  return table ? "" : fmt::format("SELECT current_setting('{0}') AS {0}", name);
}

}  // namespace lamina::sql
