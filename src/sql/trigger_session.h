// The connection that triggers' statements go through: its transaction is that of the statement
// that fired them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "sql/duckdb_api.h"
#include "sql/session_memory.h"
#include "sql/session_state.h"
#include "sql/table_entry.h"

namespace lamina::sql {

using TriggerValues = duckdb::case_insensitive_map_t<duckdb::BoundParameterData>;

/// One for each level of triggers within triggers. Everything throws.
class TriggerSession {
 public:
  TriggerSession(duckdb::ClientContext& outer, Database* database);

  /// That of the session that `outer` belongs to. T4013 when triggers lie too deep.
  static TriggerSession& Of(duckdb::ClientContext& outer);

  /// Ends what runs, also in triggers that it has fired. Any thread.
  void Interrupt();

  duckdb::ClientContext& context() { return *connection_.context; }
  /// Runs `body` in the transaction of `outer`. Names are looked up in the table's schema.
  void In(duckdb::ClientContext& outer, const LaminaTableEntry& table,
          const std::function<void()>& body);

  // Within In.
  /// The text of what runs next, for errors; outlives it.
  void Saying(std::string_view text) { text_ = text; }
  duckdb::unique_ptr<duckdb::MaterializedQueryResult> Run(
      duckdb::unique_ptr<duckdb::SQLStatement> statement, TriggerValues values = {});
  duckdb::unique_ptr<duckdb::PreparedStatement> Prepare(
      duckdb::unique_ptr<duckdb::SQLStatement> statement);
  void Run(duckdb::PreparedStatement& statement, TriggerValues values);

 private:
  [[noreturn]] void Fail(const duckdb::ErrorData& error) const;
  duckdb::unique_ptr<duckdb::MaterializedQueryResult> Finish(
      duckdb::unique_ptr<duckdb::PendingQueryResult> pending);

  duckdb::Connection connection_;
  const duckdb::shared_ptr<SessionState> state_;
  SessionMemory* memory_ = nullptr;  // null: nothing had a limit yet
  duckdb::ClientContext* outer_ = nullptr;
  std::string_view text_;
};

}  // namespace lamina::sql
