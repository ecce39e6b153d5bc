// The value of a lamina_moment(…): what a temporal clause says, before it is about a database.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <duckdb/main/extension/extension_loader.hpp>

#include "lamina/time.h"
#include "sql/duckdb_api.h"

namespace lamina::sql {

/// A commit's number or a moment; neither: open (or missing, where a moment is needed).
struct SystemOperand {
  std::optional<CommitId> commit;
  std::optional<int64_t> micros;

  /// Integers are commits; dates, timestamps and their texts are times, by the session's time zone
  /// where they have none. Throws T4010.
  static SystemOperand Of(duckdb::ClientContext& context, const duckdb::Value& value);
};

/// Microseconds; integers count them. Nullopt for NULL. Throws T4010.
std::optional<int64_t> ValidOperandOf(duckdb::ClientContext& context, const duckdb::Value& value);

/// What an expression says that stands alone, such as an option. Throws.
duckdb::Value EvaluateConstant(duckdb::ClientContext& context, const std::string& expression);

struct MomentValue {
  std::optional<std::string> system;  ///< Its form; nullopt: says nothing.
  SystemOperand a, b;
  std::optional<std::string> valid;
  std::optional<int64_t> c, d;

  /// Of `AT (unit => value)`, whoever wrote it.
  static MomentValue Of(duckdb::ClientContext& context, const std::string& unit,
                        const duckdb::Value& value);
  static MomentValue OfStruct(const duckdb::Value& value);
  /// Of the texts of both settings; "" says nothing.
  static MomentValue OfSettings(duckdb::ClientContext& context, const std::string& system,
                                const std::string& valid);
  duckdb::Value ToStruct() const;
};

/// lamina_moment, and the settings system_time and valid_time.
void RegisterMoments(duckdb::ExtensionLoader& loader);

}  // namespace lamina::sql
