// What the catalogue and the operators know of the connection they run for: found through DuckDB's
// ClientContext.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/database.h"
#include "sql/column_clauses.h"
#include "sql/duckdb_api.h"
#include "sql/materialized_view.h"

namespace lamina::sql {

class IndexWishes;
class LaminaTransaction;
class TriggerSession;

struct SessionState final : duckdb::ClientContextState {
  explicit SessionState(Database* db) : database(db) {}

  static constexpr char kKey[] = "lamina_session";
  static SessionState& Get(duckdb::ClientContext& context) {
    return *context.registered_state->Get<SessionState>(kKey);
  }
  /// Null for connections that DuckDB makes for itself.
  static duckdb::shared_ptr<SessionState> Find(duckdb::ClientContext& context) {
    return context.registered_state->Get<SessionState>(kKey);
  }

  // A plan is good for one strict_mode.
  bool StrictModeChanged(duckdb::ClientContext& context) const;
  bool CanRequestRebind() override { return true; }
  duckdb::RebindQueryInfo OnExecutePrepared(duckdb::ClientContext& context,
                                            duckdb::PreparedStatementCallbackInfo& info,
                                            duckdb::RebindQueryInfo current) override;

  Database* const database;
  /// For the transaction that begins next.
  TransactionOptions transaction_options;
  bool read_only = false;
  /// Set by the transaction manager when a statement or COMMIT has committed something.
  std::optional<CommitResult> commit;
  /// Of the statement under way: nothing is written in its transaction that could depend on what it
  /// reads.
  bool only_reads = false;
  /// Of the statement under way: what its text said of columns beyond DuckDB's grammar.
  ColumnClauses column_clauses;
  /// Of the statement under way: what it does with a materialized view.
  ViewStatement::Kind view_statement = ViewStatement::Kind::kNone;
  bool exports = false;  ///< It is an EXPORT DATABASE.
  /// It is an ALTER, or the UPDATE that DuckDB makes of one: no trigger sees its rows.
  bool alters = false;
  /// What runs the statements of triggers; made when the first fires.
  std::shared_ptr<TriggerSession> triggers;
  /// The same while it runs some, to be interrupted by any thread.
  std::atomic<TriggerSession*> firing{nullptr};
  /// Of such a one: the transaction that it shares, and how many statements lie around its own.
  LaminaTransaction* outer = nullptr;
  int trigger_depth = 0;
  /// What nextval gave last, by the sequence's id. Under the transaction's Lock.
  std::map<std::string, int64_t> current_values;
  /// Of the statement under way, for plan guides: its text, without the others of a script. "":
  /// none is under way.
  std::string_view text;
  /// What SUGGEST INDEX plans tells it; null: it plans nothing.
  IndexWishes* index_wishes = nullptr;
  /// What PREPARE said, by the statements' names.
  duckdb::case_insensitive_map_t<std::string> prepared_texts;
  /// Of the parameters of prepared statements, by their names, where PREPARE said them.
  duckdb::case_insensitive_map_t<std::vector<duckdb::LogicalType>> parameter_types;
  /// Set for good by SET strict_mode: plans made before may not know of it.
  bool strict_mode_changed = false;
  /// Why the last commit failed, as DuckDB keeps only its text; OK when it did not.
  Status commit_error;
};

}  // namespace lamina::sql
