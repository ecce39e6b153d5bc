#include "sql/trigger_session.h"

#include <utility>

#include <duckdb/catalog/catalog_search_path.hpp>
#include <duckdb/main/materialized_query_result.hpp>
#include <fmt/format.h>

#include "base/scope_guard.h"
#include "sql/error_translation.h"
#include "sql/settings.h"
#include "sql/transaction.h"
#include "sql/trigger_runner.h"

namespace lamina::sql {

TriggerSession::TriggerSession(duckdb::ClientContext& outer, Database* database)
    : connection_(*outer.db), state_(duckdb::make_shared_ptr<SessionState>(database)) {
  connection_.context->registered_state->Insert(SessionState::kKey, state_);
}

TriggerSession& TriggerSession::Of(duckdb::ClientContext& outer) {
  SessionState& session = SessionState::Get(outer);
  if (session.trigger_depth >= kTriggerDepthMax) {
    Throw(MakeSqlError("T4013",
                       fmt::format("triggers run triggers too deep: levels={}", kTriggerDepthMax),
                       "one that writes the table it is on needs a WHEN that ends it"));
  }
  if (session.triggers == nullptr)
    session.triggers = std::make_shared<TriggerSession>(outer, session.database);
  return *session.triggers;
}

void TriggerSession::Interrupt() {
  connection_.Interrupt();
  if (TriggerSession* inner = state_->firing; inner != nullptr) inner->Interrupt();
}

void TriggerSession::In(duckdb::ClientContext& outer, const LaminaTableEntry& table,
                        const std::function<void()>& body) {
  SessionState& session = SessionState::Get(outer);
  auto& catalog = const_cast<LaminaTableEntry&>(table).catalog;  // NOLINT: not changed
  duckdb::ClientContext& context = *connection_.context;
  duckdb::ClientConfig::GetConfig(context) = duckdb::ClientConfig::GetConfig(outer);
  state_->outer = &LaminaTransaction::Get(outer, catalog);
  state_->trigger_depth = session.trigger_depth + 1;
  state_->current_values = session.current_values;
  state_->strict_mode_changed |= session.strict_mode_changed;
  const auto memory = ReadSettings(outer).query_max_memory;
  if (memory.has_value() && memory_ == nullptr) memory_ = &SessionMemory::Install(context);
  if (memory_ != nullptr) memory_->SetLimit(memory);
  outer_ = &outer;
  text_ = {};
  context.ClearInterrupt();
  session.firing = this;
  const base::ScopeGuard end([&] {
    session.firing = nullptr;
    // What it holds ends before the transaction that it shares.
    if (connection_.HasActiveTransaction()) {
      try {
        connection_.Rollback();
      } catch (const std::exception&) {
        // Nothing is taken back by it: the statement that fired the triggers fails as a whole.
      }
    }
    state_->outer = nullptr;
    outer_ = nullptr;
  });
  connection_.BeginTransaction();
  context.transaction.ActiveTransaction().start_timestamp =
      duckdb::MetaTransaction::Get(outer).start_timestamp;
  context.RunFunctionInTransaction([&] {
    duckdb::ClientData::Get(context).catalog_search_path->Set(
        duckdb::CatalogSearchEntry(catalog.GetName(), table.schema.name),
        duckdb::CatalogSetPathType::SET_DIRECTLY);
  });
  body();
  connection_.Commit();
  session.current_values = state_->current_values;
}

void TriggerSession::Fail(const duckdb::ErrorData& error) const {
  // Who interrupted the statement around it knows why.
  if (error.Type() == duckdb::ExceptionType::INTERRUPT) throw duckdb::InterruptException();
  Throw(FromDuckDB(error, text_, 0));
}

duckdb::unique_ptr<duckdb::MaterializedQueryResult> TriggerSession::Finish(
    duckdb::unique_ptr<duckdb::PendingQueryResult> pending) {
  while (!pending->HasError()) {
    if (outer_->IsInterrupted()) connection_.Interrupt();
    const auto state = pending->ExecuteTask();
    if (duckdb::PendingQueryResult::IsResultReady(state)) break;
    if (state == duckdb::PendingExecutionResult::BLOCKED ||
        state == duckdb::PendingExecutionResult::NO_TASKS_AVAILABLE)
      pending->WaitForTask();
  }
  if (pending->HasError()) Fail(pending->GetErrorObject());
  auto result = pending->Execute();
  if (result->HasError()) Fail(result->GetErrorObject());
  return duckdb::unique_ptr_cast<duckdb::QueryResult, duckdb::MaterializedQueryResult>(
      std::move(result));
}

duckdb::unique_ptr<duckdb::MaterializedQueryResult> TriggerSession::Run(
    duckdb::unique_ptr<duckdb::SQLStatement> statement, TriggerValues values) {
  return Finish(connection_.context->PendingQuery(
      std::move(statement), values,
      duckdb::QueryParameters(duckdb::QueryResultOutputType::FORCE_MATERIALIZED)));
}

duckdb::unique_ptr<duckdb::PreparedStatement> TriggerSession::Prepare(
    duckdb::unique_ptr<duckdb::SQLStatement> statement) {
  auto out = connection_.context->Prepare(std::move(statement));
  if (out->HasError()) Fail(out->GetErrorObject());
  return out;
}

void TriggerSession::Run(duckdb::PreparedStatement& statement, TriggerValues values) {
  (void)Finish(statement.PendingQuery(values, /*allow_stream_result=*/false));
}

}  // namespace lamina::sql
