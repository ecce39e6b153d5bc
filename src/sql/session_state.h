// What the catalogue and the operators know of the connection they run for: found through DuckDB's
// ClientContext.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lamina/database.h"
#include "sql/column_clauses.h"
#include "sql/duckdb_api.h"
#include "sql/settings.h"

namespace lamina::sql {

struct SessionState final : duckdb::ClientContextState {
  explicit SessionState(Database* db) : database(db) {}

  static constexpr char kKey[] = "lamina_session";
  static SessionState& Get(duckdb::ClientContext& context) {
    return *context.registered_state->Get<SessionState>(kKey);
  }

  Database* const database;
  /// For the transaction that begins next.
  TransactionOptions transaction_options;
  bool read_only = false;
  SessionSettings settings;
  /// Set by the transaction manager when a statement or COMMIT has committed something.
  std::optional<CommitResult> commit;
  /// Of the statement under way: what its text said of columns beyond DuckDB's grammar.
  ColumnClauses column_clauses;
  /// What nextval gave last, by the sequence's id. Under the transaction's mu().
  std::map<std::string, int64_t> current_values;
  /// Why the last commit failed, as DuckDB keeps only its text; OK when it did not.
  Status commit_error;
};

}  // namespace lamina::sql
