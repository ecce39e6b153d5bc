// One session: cuts a text into statements, runs those about transactions itself, hands the others
// to DuckDB, and turns what comes back into ours.
//
// Transactions: a transaction of DuckDB (temporary tables, now()) holds one of LaminaDB, which
// begins when our catalogue is first asked for something. After an error in a transaction only
// ROLLBACK and ROLLBACK TO are taken, whatever DuckDB would allow. A statement outside a
// transaction that loses against another commit is run again.
#include <algorithm>
#include <array>
#include <atomic>
#include <unordered_map>
#include <utility>

#include <duckdb/main/valid_checker.hpp>
#include <fmt/format.h>

#include "base/clock.h"
#include "base/scope_guard.h"
#include "sql/direct_path.h"
#include "sql/error_translation.h"
#include "sql/instance_resources.h"
#include "sql/lexer.h"
#include "sql/maintenance.h"
#include "sql/moment_value.h"
#include "sql/plan_guide.h"
#include "sql/prepared.h"
#include "sql/result.h"
#include "sql/session_memory.h"
#include "sql/session_state.h"
#include "sql/settings.h"
#include "sql/sql_database.h"
#include "sql/statement_text.h"
#include "sql/statistics.h"
#include "sql/transaction.h"
#include "sql/transaction_control.h"
#include "sql/trigger.h"
#include "sql/trigger_session.h"
#include "sql/value.h"

namespace lamina::sql {
namespace {

constexpr int kAttemptsMax = 16;
constexpr int64_t kProgressNanos = 100'000'000;
constexpr int kIdleTurns = 200;
constexpr int64_t kIdleSleepMicros = 100;

std::string TagOf(duckdb::StatementType type) {
  using duckdb::StatementType;
  switch (type) {
    case StatementType::SELECT_STATEMENT:
    case StatementType::RELATION_STATEMENT:
      return "SELECT";
    case StatementType::INSERT_STATEMENT:
      return "INSERT";
    case StatementType::UPDATE_STATEMENT:
      return "UPDATE";
    case StatementType::DELETE_STATEMENT:
      return "DELETE";
    case StatementType::MERGE_INTO_STATEMENT:
      return "MERGE";
    case StatementType::COPY_STATEMENT:
      return "COPY";
    case StatementType::CREATE_STATEMENT:
      return "CREATE";
    case StatementType::ALTER_STATEMENT:
      return "ALTER";
    case StatementType::DROP_STATEMENT:
      return "DROP";
    case StatementType::EXPLAIN_STATEMENT:
      return "EXPLAIN";
    case StatementType::PREPARE_STATEMENT:
      return "PREPARE";
    case StatementType::EXECUTE_STATEMENT:
      return "EXECUTE";
    case StatementType::VARIABLE_SET_STATEMENT:
    case StatementType::SET_STATEMENT:
      return "SET";
    case StatementType::ATTACH_STATEMENT:
      return "ATTACH";
    case StatementType::DETACH_STATEMENT:
      return "DETACH";
    case StatementType::CALL_STATEMENT:
      return "CALL";
    case StatementType::ANALYZE_STATEMENT:
    case StatementType::VACUUM_STATEMENT:
      return "ANALYZE";
    case StatementType::PRAGMA_STATEMENT:
      return "PRAGMA";
    case StatementType::EXPORT_STATEMENT:
      return "EXPORT";
    default:
      return duckdb::StatementTypeToString(type);
  }
}

std::unique_ptr<SqlResult> Tagged(const char* tag, std::optional<CommitResult> commit = {}) {
  ResultParts parts;
  parts.tag = tag;
  parts.commit = std::move(commit);
  return MakeResult(std::move(parts));
}

/// Statements that are no business of DuckDB's, or not as they stand, and give no rows.
bool RunsItself(std::string_view sql, const StatementSpan& span) {
  constexpr std::array<std::string_view, 4> kWords = {"PREPARE", "DEALLOCATE", "VACUUM", "ANALYZE"};
  return std::any_of(kWords.begin(), kWords.end(),
                     [&](std::string_view word) { return Is(span.tokens[0], sql, word); });
}

class ConnectionImpl;

class StatementImpl final : public SqlStatement {
 public:
  StatementImpl(ConnectionImpl* connection, std::string text)
      : connection_(connection), text_(std::move(text)) {}
  Status Init();

  int parameter_count() const override { return static_cast<int>(types_.size()); }
  std::vector<std::string> parameter_types() const override { return types_; }
  const std::vector<SqlColumn>& columns() const override { return columns_; }
  Result<std::unique_ptr<SqlResult>> Execute(const SqlParameters& parameters) override;

 private:
  Status Plan(const StatementSpan& span);
  /// Null: it takes DuckDB's way.
  const DirectSelect* Direct();

  ConnectionImpl* const connection_;
  const std::string text_;
  StatementText statement_;
  duckdb::unique_ptr<duckdb::PreparedStatement> prepared_;  // null: the session runs it itself
  std::vector<std::string> types_;
  std::vector<SqlColumn> columns_;
  std::optional<LiftedText> lifted_;  ///< Nullopt: it cannot be direct.
  std::shared_ptr<const DirectSelect> direct_;
  uint64_t direct_generation_ = 0;  ///< Of the connection, when direct_ was planned; 0: not yet.
};

class ConnectionImpl final : public Connection {
 public:
  ConnectionImpl(std::shared_ptr<SqlDatabase> owner, duckdb::DuckDB* instance)
      : owner_(std::move(owner)),
        duck_(*instance),
        state_(duckdb::make_shared_ptr<SessionState>(&owner_->database())) {
    duck_.context->registered_state->Insert(SessionState::kKey, state_);
    auto& config = duckdb::ClientConfig::GetConfig(*duck_.context);
    config.enable_progress_bar = true;  // counts; prints nothing
    config.print_progress_bar = false;
    config.wait_time = 0;
  }
  ~ConnectionImpl() override {
    if (duck_.HasActiveTransaction()) {
      (void)AtDuckDBBorder("", 0, [&]() -> Status {
        duck_.Rollback();
        return Status::OK();
      });
    }
  }

  Result<std::unique_ptr<SqlResult>> Execute(std::string_view sql,
                                             const SqlParameters& parameters) override {
    if (Status status = CheckText(sql); !status.ok()) return Failed(std::move(status));
    const std::vector<StatementSpan> spans = SplitStatements(sql);
    if (spans.empty()) return MakeResult(ResultParts{});
    if (spans.size() > 1 && !parameters.empty()) {
      return WithExcerpt(MakeSqlError("T4007", "parameters go with a text of one statement",
                                      "give each statement its own call", spans[1].begin),
                         sql);
    }
    std::unique_ptr<SqlResult> result;
    for (const StatementSpan& span : spans) {
      if (result != nullptr) ARROW_RETURN_NOT_OK(Drain(*result));
      ARROW_ASSIGN_OR_RAISE(result, Run(sql, span, parameters));
    }
    return result;
  }

  Status ExecuteAll(std::string_view sql, const std::function<Status(SqlResult&)>& each) override {
    if (Status status = CheckText(sql); !status.ok()) return Failed(std::move(status));
    for (const StatementSpan& span : SplitStatements(sql)) {
      ARROW_ASSIGN_OR_RAISE(const auto result, Run(sql, span, {}));
      ARROW_RETURN_NOT_OK(each(*result));
      ARROW_RETURN_NOT_OK(Drain(*result));
    }
    return Status::OK();
  }

  Result<std::unique_ptr<SqlStatement>> Prepare(std::string_view sql) override {
    auto out = std::make_unique<StatementImpl>(this, std::string(sql));
    ARROW_RETURN_NOT_OK(out->Init());
    return out;
  }

  bool IsIncomplete(std::string_view sql) const override {
    if (Tokenize(sql).open_at != std::string_view::npos) return true;
    const std::vector<StatementSpan> spans = SplitStatements(sql);
    return !spans.empty() && !spans.back().terminated;
  }

  std::vector<Completion> Complete(std::string_view sql) override;

  SqlTransactionState transaction_state() const override {
    return aborted_    ? SqlTransactionState::kAborted
           : in_block_ ? SqlTransactionState::kOpen
                       : SqlTransactionState::kIdle;
  }

  void Cancel() override {
    duck_.Interrupt();
    // Before them the statement looks itself whether it is to go on.
    if (TriggerSession* triggers = state_->firing; triggers != nullptr) triggers->Interrupt();
  }
  SqlProgress progress() const override {
    duckdb::QueryProgress now = duck_.context->GetQueryProgress();
    return {now.GetPercentage() < 0 ? -1 : now.GetPercentage() / 100, now.GetRowsProcesseed()};
  }
  void SetProgressCallback(std::function<bool(const SqlProgress&)> callback) override {
    progress_callback_ = std::move(callback);
  }

  // For StatementImpl.
  duckdb::Connection& duck() { return duck_; }

  // ---- The direct path

  /// Plans of before are void: names may mean other things now, and settings have other values.
  void VoidDirectPlans() {
    ++direct_generation_;
    direct_.clear();
  }
  uint64_t direct_generation() const { return direct_generation_; }
  /// Null: the statement takes DuckDB's way.
  std::shared_ptr<const DirectSelect> PlanDirect(const duckdb::SQLStatement& statement,
                                                 const LiftedText& lifted) {
    std::shared_ptr<const DirectSelect> out;
    // A result that is still read has a transaction of its own.
    if (aborted_ || (!in_block_ && duck_.context->transaction.HasActiveTransaction())) return out;
    (void)AtDuckDBBorder("", 0, [&]() -> Status {
      duck_.context->RunFunctionInTransaction(
          [&] { out = DirectSelect::Plan(*duck_.context, statement, lifted.places); });
      return Status::OK();
    });
    return out;
  }
  /// Null: the statement takes DuckDB's way this time.
  Result<std::unique_ptr<SqlResult>> RunDirect(const DirectSelect& plan,
                                               const SqlParameters& parameters,
                                               const SqlParameters& literals) {
    ResultParts parts;
    Status status = AtDuckDBBorder("", 0, [&]() -> Status {
      duckdb::ClientContext& context = *duck_.context;
      if (in_block_) {
        auto& transaction =
            LaminaTransaction::Get(context, duckdb::Catalog::GetCatalog(context, kCatalogName));
        const LaminaTransaction::Lock lock(transaction);
        parts.chunk = plan.Run(context, transaction.data(), parameters, literals);
      } else {
        ARROW_ASSIGN_OR_RAISE(const auto session, db::BeginSession(owner_->database(), {}));
        parts.chunk = plan.Run(context, *session, parameters, literals);
      }
      return Status::OK();
    });
    if (!status.ok()) return Failed(std::move(status));
    if (parts.chunk == nullptr) return nullptr;
    parts.tag = "SELECT";
    parts.context = duck_.context;
    parts.shape = plan.shape();
    return MakeResult(std::move(parts));
  }
  Status CheckNotAborted() const {
    if (!aborted_) return Status::OK();
    return MakeSqlError("T5003",
                        "the transaction is over: a statement in it failed, and commands are "
                        "ignored until it ends",
                        "ROLLBACK, or ROLLBACK TO a savepoint");
  }

  /// A statement has failed: inside a transaction block that ends it.
  Status Failed(Status status) {
    if (in_block_) aborted_ = true;
    return status;
  }

  /// Runs one statement of `sql`.
  Result<std::unique_ptr<SqlResult>> Run(std::string_view sql, const StatementSpan& span,
                                         const SqlParameters& parameters) {
    if (!MayKeepDirectPlans(span.tokens[0], sql)) VoidDirectPlans();
    ARROW_ASSIGN_OR_RAISE(auto direct, TryDirect(sql, span, parameters));
    if (direct != nullptr) return direct;
    Result<Control> control = ParseControl(sql, span);
    if (!control.ok()) return Failed(control.status());
    if (control->kind != ControlKind::kNone) {
      if (!parameters.empty())
        return Failed(MakeSqlError("T4007", "a statement about transactions has no parameters"));
      return RunControl(*control, sql);
    }
    ARROW_RETURN_NOT_OK(CheckNotAborted());
    if (Status status = CheckLength(sql, span); !status.ok()) return Failed(std::move(status));
    const auto trigger = ParseTriggerStatement(sql, span);
    if (!trigger.ok()) return Failed(WithExcerpt(trigger.status(), sql));
    if (trigger->has_value()) {
      if (!parameters.empty())
        return Failed(MakeSqlError("T4007", "a statement about triggers has no parameters"));
      return RunOwn(sql, (*trigger)->drops ? "DROP" : "CREATE", [&] {
        if ((*trigger)->drops) {
          DropTrigger(*duck_.context, **trigger);
        } else {
          CreateTrigger(*duck_.context, **trigger);
        }
      });
    }
    const auto guide = ParsePlanGuideStatement(sql, span);
    if (!guide.ok()) return Failed(WithExcerpt(guide.status(), sql));
    if (guide->has_value()) {
      if (!parameters.empty())
        return Failed(MakeSqlError("T4007", "a statement about plan guides has no parameters"));
      return RunOwn(sql, (*guide)->drops ? "DROP" : "CREATE", [&] {
        if ((*guide)->drops) {
          DropPlanGuide(*duck_.context, **guide);
        } else {
          CreatePlanGuide(*duck_.context, **guide);
        }
      });
    }
    if (IsDeallocateAll(sql, span)) {
      DeallocateAll(*duck_.context, state_.get());
      return Tagged("DEALLOCATE");
    }
    // However short the limit is, it can be taken back.
    const bool sets = Is(span.tokens[0], sql, "SET") || Is(span.tokens[0], sql, "RESET");
    return WithLimits(!sets, [&] {
      return AtDuckDBBorder(sql, span.begin, [&] { return RunText(sql, span, parameters); });
    });
  }

  /// Statements that change no name and no setting.
  static bool MayKeepDirectPlans(const Token& first, std::string_view sql) {
    constexpr const char* kWords[] = {"SELECT", "INSERT",    "UPDATE", "DELETE", "BEGIN",
                                      "COMMIT", "SAVEPOINT", "WITH",   "MERGE",  "START",
                                      "VALUES", "FROM",      "RELEASE"};
    return std::any_of(std::begin(kWords), std::end(kWords),
                       [&](const char* word) { return Is(first, sql, word); });
  }

  /// Null: the statement takes DuckDB's way. A text is planned when it comes the second time.
  Result<std::unique_ptr<SqlResult>> TryDirect(std::string_view sql, const StatementSpan& span,
                                               const SqlParameters& parameters) {
    constexpr size_t kPlansMax = 1000;
    if (aborted_) return nullptr;
    const auto lifted = LiftedText::Of(sql, span);
    if (!lifted) return nullptr;
    if (direct_.size() >= kPlansMax) direct_.clear();
    const auto [it, fresh] = direct_.try_emplace(lifted->text);
    if (fresh) return nullptr;
    if (!it->second.has_value()) it->second = PlanText(sql, span, *lifted);
    const std::shared_ptr<const DirectSelect> plan = *it->second;
    if (plan == nullptr) return nullptr;
    return RunDirect(*plan, parameters, lifted->literals);
  }
  std::shared_ptr<const DirectSelect> PlanText(std::string_view sql, const StatementSpan& span,
                                               const LiftedText& lifted) {
    duckdb::ClientContext& context = *duck_.context;
    const auto written = StatementText::Take(context, sql, span);
    if (!written.ok() || !written->brackets().empty() ||
        written->view() != ViewStatement::Kind::kNone)
      return nullptr;
    duckdb::vector<duckdb::unique_ptr<duckdb::SQLStatement>> statements;
    const Status status = AtDuckDBBorder("", 0, [&]() -> Status {
      statements = context.ParseStatements(written->text());
      return statements.size() == 1
                 ? written->Put(context, sql, span, /*prepared=*/false, &statements[0])
                 : Status::OK();
    });
    if (!status.ok() || statements.size() != 1) return nullptr;
    return PlanDirect(*statements[0], lifted);
  }

  /// A statement for DuckDB.
  Result<std::unique_ptr<SqlResult>> RunText(std::string_view sql, const StatementSpan& span,
                                             const SqlParameters& parameters) {
    duckdb::ClientContext& context = *duck_.context;
    ARROW_ASSIGN_OR_RAISE(const StatementText written, StatementText::Take(context, sql, span));
    if (written.view() != ViewStatement::Kind::kNone) EndLeftover();
    duckdb::vector<duckdb::unique_ptr<duckdb::SQLStatement>> statements;
    duckdb::case_insensitive_map_t<duckdb::BoundParameterData> values;
    Status parsed = AtDuckDBBorder(sql, span.begin, [&]() -> Status {
      statements = context.ParseStatements(written.text());
      for (size_t i = 0; i < parameters.size(); ++i)
        values[std::to_string(i + 1)] =
            duckdb::BoundParameterData(ToDuckDB(context, parameters[i]));
      return Status::OK();
    });
    if (!parsed.ok()) return AtPlaceInText(parsed, written.brackets(), span.begin, sql);
    std::unique_ptr<SqlResult> last = MakeResult(ResultParts{});
    for (auto& statement : statements) {
      ARROW_RETURN_NOT_OK(Drain(*last));
      ARROW_RETURN_NOT_OK(AtDuckDBBorder(sql, span.begin, [&] {
        return written.Put(context, sql, span, /*prepared=*/false, &statement);
      }));
      if (statement->type == duckdb::StatementType::VACUUM_STATEMENT) {
        ARROW_ASSIGN_OR_RAISE(const auto tag, Maintain(*statement, sql, span));
        if (tag.has_value()) {
          last = Tagged(tag->c_str());
          continue;
        }
      }
      ARROW_ASSIGN_OR_RAISE(last, RunParsed(sql, span, written, *statement, values));
    }
    return last;
  }

  Result<std::unique_ptr<SqlResult>> RunParsed(
      std::string_view sql, const StatementSpan& span, const StatementText& written,
      const duckdb::SQLStatement& statement,
      const duckdb::case_insensitive_map_t<duckdb::BoundParameterData>& values) {
    auto result = AtDuckDBBorder(sql, span.begin, [&]() -> Result<std::unique_ptr<SqlResult>> {
      WillRun(statement);
      ARROW_RETURN_NOT_OK(written.Announce(*duck_.context, statement));
      return RunRetrying(
          sql, span.begin, written.brackets(),
          written.view() == ViewStatement::Kind::kRefresh ? "REFRESH" : TagOf(statement.type),
          [&](bool streaming) {
            duckdb::QueryParameters mode(streaming
                                             ? duckdb::QueryResultOutputType::ALLOW_STREAMING
                                             : duckdb::QueryResultOutputType::FORCE_MATERIALIZED);
            // Rows that wait for their reader count (memory_limit) and spill.
            mode.memory_type = duckdb::QueryResultMemoryType::BUFFER_MANAGED;
            auto bound = values;
            return duck_.context->PendingQuery(statement.Copy(), bound, mode);
          },
          statement.type == duckdb::StatementType::SELECT_STATEMENT);
    });
    if (!result.ok()) return AtPlaceInText(result.status(), written.brackets(), span.begin, sql);
    return result;
  }

  Result<std::optional<std::string>> Maintain(const duckdb::SQLStatement& statement,
                                              std::string_view sql, const StatementSpan& span) {
    const auto query = [&](const std::string& text) -> Result<std::unique_ptr<SqlResult>> {
      auto parsed = duck_.context->ParseStatements(text);
      WillRun(*parsed.at(0));
      return RunRetrying(
          sql, span.begin, {}, "SELECT",
          [&](bool) {
            return duck_.context->PendingQuery(parsed[0]->Copy(),
                                               duckdb::QueryResultOutputType::FORCE_MATERIALIZED);
          },
          /*streaming=*/false);
    };
    auto out = RunMaintenance(*duck_.context, statement, sql, span, in_block_, query);
    return out.ok() ? out : WithExcerpt(out.status(), sql);
  }

  void WillRun(const duckdb::SQLStatement& statement) {
    // What a transaction reads may decide what it writes later.
    state_->only_reads = in_block_ ? state_->read_only || state_->transaction_options.isolation ==
                                                              Isolation::kSnapshot
                                   : IsQuery(*duck_.context, statement);
  }

  /// Runs a statement under query_timeout and query_max_memory. A result that is still computed
  /// takes the deadline along.
  Result<std::unique_ptr<SqlResult>> WithLimits(
      bool timed, const std::function<Result<std::unique_ptr<SqlResult>>()>& body) {
    const base::ScopeGuard end([&] { state_->text = {}; });
    Status status = BeginLimits(timed);
    if (status.ok()) {
      auto result = body();
      status = TimeoutOr(deadline_.get(), result.status());
      End(std::exchange(deadline_, nullptr).get());
      if (status.ok()) return result;
    }
    return Failed(std::move(status));
  }

  /// The transaction of a result that was not read to its end goes on until the next query: what is
  /// no query would find itself in it.
  void EndLeftover() {
    if (!in_block_ && duck_.context->transaction.HasActiveTransaction())
      (void)duck_.context->Prepare(std::string("SELECT 1"));
  }

  /// Runs a statement that changes definitions and is the session's own. `body` throws.
  Result<std::unique_ptr<SqlResult>> RunOwn(std::string_view sql, const char* tag,
                                            const std::function<void()>& body) {
    for (int attempt = 1;; ++attempt) {
      state_->commit.reset();
      state_->commit_error = Status::OK();
      EndLeftover();
      Status status = AtDuckDBBorder(sql, 0, [&]() -> Status {
        duck_.context->RunFunctionInTransaction([&] {
          auto& catalog = duckdb::Catalog::GetCatalog(*duck_.context, kCatalogName);
          duckdb::MetaTransaction::Get(*duck_.context)
              .ModifyDatabase(catalog.GetAttached(), duckdb::DatabaseModificationType());
          body();
        });
        return Status::OK();
      });
      if (status.ok()) return Tagged(tag, state_->commit);
      if (!state_->commit_error.ok())
        status = AsSqlError(std::exchange(state_->commit_error, Status::OK()));
      const bool again =
          CodeOf(status) == ErrorCode::kConflict && !in_block_ && attempt < kAttemptsMax;
      if (!again) return Failed(std::move(status));
    }
  }

  using MakePending = std::function<duckdb::unique_ptr<duckdb::PendingQueryResult>(bool streaming)>;

  /// `begin` makes the pending query anew for each attempt. `streaming`: rows are given as they are
  /// computed; what has been given cannot be run again.
  Result<std::unique_ptr<SqlResult>> RunRetrying(std::string_view sql, size_t offset,
                                                 const std::vector<size_t>& brackets,
                                                 std::string tag, const MakePending& begin,
                                                 bool streaming) {
    for (int attempt = 1;; ++attempt) {
      auto result = RunOnce(sql, offset, brackets, tag, begin, streaming);
      const bool again = !result.ok() && CodeOf(result.status()) == ErrorCode::kConflict &&
                         !in_block_ && attempt < kAttemptsMax;
      if (!again) return result;
    }
  }

  Result<std::unique_ptr<SqlResult>> RunOnce(std::string_view sql, size_t offset,
                                             const std::vector<size_t>& brackets,
                                             const std::string& tag, const MakePending& begin,
                                             bool streaming) {
    state_->commit.reset();
    state_->commit_error = Status::OK();
    duck_.context->ClearInterrupt();
    ARROW_RETURN_NOT_OK(CheckDeadline());
    auto pending = begin(streaming);
    if (pending->HasError()) return Translate(pending->GetErrorObject(), sql, offset);
    ARROW_RETURN_NOT_OK(Await(*pending, sql, offset));
    auto rows = pending->Execute();
    if (rows->HasError()) return Translate(rows->GetErrorObject(), sql, offset);

    ResultParts parts;
    parts.tag = tag;
    parts.context = duck_.context;
    switch (rows->properties.return_type) {
      case duckdb::StatementReturnType::CHANGED_ROWS: {
        const auto chunk = rows->Fetch();
        if (chunk != nullptr && chunk->size() > 0)
          parts.changed_rows = chunk->GetValue(0, 0).GetValue<int64_t>();
        break;
      }
      case duckdb::StatementReturnType::NOTHING:
        break;
      case duckdb::StatementReturnType::QUERY_RESULT:
        parts.rows = std::move(rows);
        break;
    }
    parts.commit = state_->commit;
    std::shared_ptr<Deadline> deadline;
    if (parts.rows != nullptr && parts.rows->type == duckdb::QueryResultType::STREAM_RESULT)
      deadline = std::exchange(deadline_, nullptr);
    parts.on_error = [this, text = std::string(sql), offset, deadline,
                      brackets](const duckdb::ErrorData& error) {
      return Failed(TimeoutOr(
          deadline.get(), AtPlaceInText(Translate(error, text, offset), brackets, offset, text)));
    };
    parts.on_end = [this, deadline] {
      End(deadline.get());
      return Status::OK();
    };
    return MakeResult(std::move(parts));
  }

 private:
  /// `timed`: query_timeout holds for the statement.
  Status BeginLimits(bool timed) {
    return AtDuckDBBorder("", 0, [&]() -> Status {
      const SessionSettings settings = ReadSettings(*duck_.context);
      if (settings.query_max_memory.has_value() || memory_ != nullptr) {
        if (memory_ == nullptr) memory_ = &SessionMemory::Install(*duck_.context);
        memory_->SetLimit(settings.query_max_memory);
      }
      if (timed && settings.query_timeout_micros > 0) {
        deadline_ = InstanceResources::Of(*duck_.context->db)
                        .deadlines.Begin(settings.query_timeout_micros, [this] { Cancel(); });
      }
      return Status::OK();
    });
  }

  /// The statement's time is over or its work is done: nothing of it reaches the next one.
  void End(Deadline* deadline) {
    if (deadline == nullptr) return;
    deadline->End();
    if (deadline->passed()) duck_.context->ClearInterrupt();
  }

  static Status Timeout() {
    return MakeSqlError("T4003", "the statement ran longer than query_timeout",
                        "SET query_timeout allows more");
  }
  Status CheckDeadline() const {
    return deadline_ != nullptr && deadline_->passed() ? Timeout() : Status::OK();
  }
  /// What ended it was the deadline.
  static Status TimeoutOr(const Deadline* deadline, Status status) {
    if (deadline == nullptr || !deadline->passed() || CodeOf(status) != ErrorCode::kCancelled)
      return status;
    return Timeout();
  }

  static Status Drain(SqlResult& result) {
    for (;;) {
      ARROW_ASSIGN_OR_RAISE(const auto batch, result.NextBatch());
      if (batch == nullptr) return Status::OK();
    }
  }

  Status Translate(const duckdb::ErrorData& error, std::string_view sql, size_t offset) {
    if (!state_->commit_error.ok())
      return AsSqlError(std::exchange(state_->commit_error, Status::OK()));
    if (state_->read_only && error.Type() == duckdb::ExceptionType::TRANSACTION) {
      return MakeSqlError("T5007", "the transaction is read-only",
                          "ROLLBACK it and BEGIN one that writes");
    }
    return FromDuckDB(error, sql, offset);
  }

  Status Await(duckdb::PendingQueryResult& pending, std::string_view sql, size_t offset) {
    int64_t reported = base::SystemClock()->MonotonicNanos();
    int idle = 0;
    for (;;) {
      const auto state = pending.ExecuteTask();
      if (duckdb::PendingQueryResult::IsResultReady(state)) break;
      if (state == duckdb::PendingExecutionResult::BLOCKED ||
          state == duckdb::PendingExecutionResult::NO_TASKS_AVAILABLE) {
        pending.WaitForTask();
        // It returns at once while others have the tasks: asking on and on would take a core.
        if (++idle > kIdleTurns) base::SystemClock()->SleepMicros(kIdleSleepMicros);
      } else {
        idle = 0;
      }
      if (progress_callback_ == nullptr) continue;
      const int64_t now = base::SystemClock()->MonotonicNanos();
      if (now - reported < kProgressNanos) continue;
      reported = now;
      if (!progress_callback_(progress())) Cancel();
    }
    if (pending.HasError()) return Translate(pending.GetErrorObject(), sql, offset);
    return Status::OK();
  }

  Result<std::unique_ptr<SqlResult>> RunControl(const Control& control, std::string_view sql) {
    switch (control.kind) {
      case ControlKind::kBegin:
        return Begin(control, sql);
      case ControlKind::kCommit:
        return Commit();
      case ControlKind::kRollback:
        return Rollback("ROLLBACK");
      case ControlKind::kSavepoint:
      case ControlKind::kRollbackTo:
      case ControlKind::kRelease:
        if (!in_block_) {
          return MakeSqlError("T5004", "savepoints are for transactions", "BEGIN one first");
        }
        return OnSavepoint(control);
      case ControlKind::kNone:
        break;
    }
    return MakeSqlError("T5099", "no statement about transactions");
  }

  Result<std::unique_ptr<SqlResult>> Begin(const Control& control, std::string_view sql) {
    ARROW_RETURN_NOT_OK(CheckNotAborted());
    if (in_block_) {
      return Failed(MakeSqlError("T5005", "a transaction is under way",
                                 "COMMIT or ROLLBACK it; SAVEPOINT marks a point inside"));
    }
    state_->transaction_options = {};
    state_->transaction_options.isolation = control.isolation;
    if (!control.system_time.empty()) {
      const auto evaluated = AtDuckDBBorder("", 0, [&]() -> Status {
        duckdb::ClientContext& context = *duck_.context;
        EndLeftover();
        const auto moment =
            SystemOperand::Of(context, EvaluateConstant(context, control.system_time));
        if (!moment.micros.has_value())
          return MakeSqlError("T4010", "system_time is a timestamp: " + control.system_time);
        state_->transaction_options.system_time = SystemTime{*moment.micros};
        return Status::OK();
      });
      if (!evaluated.ok()) {
        state_->transaction_options = {};
        const SqlError* error = SqlErrorOf(evaluated);
        return Failed(error == nullptr ? evaluated
                                       : WithExcerpt(MakeSqlError(error->code, MessageOf(evaluated),
                                                                  std::string(HintOf(evaluated)),
                                                                  control.system_time_at),
                                                     sql));
      }
    }
    state_->read_only = control.read_only;
    ARROW_RETURN_NOT_OK(AtDuckDBBorder("", 0, [&]() -> Status {
      duck_.BeginTransaction();
      if (control.read_only) duck_.context->transaction.SetReadOnly();
      return Status::OK();
    }));
    in_block_ = true;
    return Tagged("BEGIN");
  }

  Result<std::unique_ptr<SqlResult>> Commit() {
    if (!in_block_) return MakeSqlError("T5004", "there is no transaction under way");
    // As PostgreSQL does: the commit of a failed transaction is a rollback, and says so.
    if (aborted_) return Rollback("ROLLBACK");
    state_->commit.reset();
    state_->commit_error = Status::OK();
    Status status = AtDuckDBBorder("", 0, [&]() -> Status {
      duck_.Commit();
      return Status::OK();
    });
    End();
    if (!status.ok() && !state_->commit_error.ok())
      status = AsSqlError(std::exchange(state_->commit_error, Status::OK()));
    ARROW_RETURN_NOT_OK(status);
    return Tagged("COMMIT", state_->commit);
  }

  Result<std::unique_ptr<SqlResult>> Rollback(const char* tag) {
    if (!in_block_) return MakeSqlError("T5004", "there is no transaction under way");
    const Status status = AtDuckDBBorder("", 0, [&]() -> Status {
      duck_.Rollback();
      return Status::OK();
    });
    End();
    ARROW_RETURN_NOT_OK(status);
    return Tagged(tag);
  }

  Result<std::unique_ptr<SqlResult>> OnSavepoint(const Control& control);

  void End() {
    in_block_ = aborted_ = false;
    state_->transaction_options = {};
    state_->read_only = false;
  }

  const std::shared_ptr<SqlDatabase> owner_;
  duckdb::Connection duck_;
  const duckdb::shared_ptr<SessionState> state_;
  bool in_block_ = false;
  bool aborted_ = false;
  /// By their lifted texts; nullopt: seen once. Null: takes DuckDB's way.
  std::unordered_map<std::string, std::optional<std::shared_ptr<const DirectSelect>>> direct_;
  uint64_t direct_generation_ = 1;
  std::function<bool(const SqlProgress&)> progress_callback_;
  SessionMemory* memory_ = nullptr;     // null: no statement had a limit yet
  std::shared_ptr<Deadline> deadline_;  // of the statement under way
};

Result<std::unique_ptr<SqlResult>> ConnectionImpl::OnSavepoint(const Control& control) {
  if (control.kind != ControlKind::kRollbackTo) ARROW_RETURN_NOT_OK(CheckNotAborted());
  const Status status = AtDuckDBBorder("", 0, [&]() -> Status {
    Status of_ours;
    // DuckDB would refuse a transaction that failed; ROLLBACK TO is what makes it good again.
    duck_.context->RunFunctionInTransaction(
        [&] {
          auto& catalog = duckdb::Catalog::GetCatalog(*duck_.context, kCatalogName);
          auto& transaction = LaminaTransaction::Get(*duck_.context, catalog);
          switch (control.kind) {
            case ControlKind::kSavepoint:
              of_ours = transaction.data().Savepoint(control.name);
              break;
            case ControlKind::kRelease:
              of_ours = transaction.data().Release(control.name);
              break;
            default:
              of_ours = transaction.data().RollbackTo(control.name);
              if (of_ours.ok()) transaction.DefinitionsChanged();
          }
        },
        /*requires_valid_transaction=*/false);
    return of_ours;
  });
  if (!status.ok()) {
    if (CodeOf(status) != ErrorCode::kNotFound) return Failed(AsSqlError(status));
    return Failed(MakeSqlError("T5006", "savepoint does not exist: " + control.name));
  }
  switch (control.kind) {
    case ControlKind::kSavepoint:
      return Tagged("SAVEPOINT");
    case ControlKind::kRelease:
      return Tagged("RELEASE");
    default: {
      // DuckDB has no way back from a failed statement. What marks the transaction is one member,
      // which is made anew.
      auto& checker = duck_.context->transaction.ActiveTransaction().transaction_validity;
      std::destroy_at(&checker);
      std::construct_at(&checker, *duck_.context->db);
      aborted_ = false;
      return Tagged("ROLLBACK");
    }
  }
}

std::vector<Connection::Completion> ConnectionImpl::Complete(std::string_view sql) {
  std::vector<Completion> out;
  try {
    // DuckDB's own, which knows the grammar and the catalogue.
    duckdb::Connection other(*duck_.context->db);
    duckdb::vector<duckdb::Value> values{duckdb::Value(std::string(sql))};
    auto statement =
        other.Prepare("SELECT suggestion, suggestion_start FROM sql_auto_complete($1)");
    if (statement->HasError()) return out;
    auto rows = statement->Execute(values, false);
    if (rows->HasError()) return out;
    for (const auto& row : *rows)
      out.push_back({row.GetValue<std::string>(0), static_cast<size_t>(row.GetValue<int64_t>(1))});
  } catch (const std::exception&) {
    out.clear();  // a text that cannot be completed is no error
  }
  return out;
}

Status StatementImpl::Init() {
  ARROW_RETURN_NOT_OK(CheckText(text_));
  const std::vector<StatementSpan> spans = SplitStatements(text_);
  if (spans.size() != 1) {
    return MakeSqlError("T4007",
                        fmt::format("one statement can be prepared: statements={}", spans.size()));
  }
  ARROW_ASSIGN_OR_RAISE(const Control control, ParseControl(text_, spans[0]));
  if (control.kind != ControlKind::kNone || RunsItself(text_, spans[0])) return Status::OK();
  lifted_ = LiftedText::Of(text_, spans[0]);
  ARROW_RETURN_NOT_OK(connection_->CheckNotAborted());
  Status status = Plan(spans[0]);
  return status.ok() ? status : connection_->Failed(std::move(status));
}

Status StatementImpl::Plan(const StatementSpan& span) {
  ARROW_RETURN_NOT_OK(CheckLength(text_, span));
  const auto trigger = ParseTriggerStatement(text_, span);
  if (!trigger.ok()) return WithExcerpt(trigger.status(), text_);
  if (trigger->has_value()) return Status::OK();
  const auto guide = ParsePlanGuideStatement(text_, span);
  if (!guide.ok()) return WithExcerpt(guide.status(), text_);
  if (guide->has_value()) return Status::OK();
  auto& context = *connection_->duck().context;
  ARROW_ASSIGN_OR_RAISE(statement_, StatementText::Take(context, text_, span));
  if (statement_.view() != ViewStatement::Kind::kNone) return Status::OK();
  duckdb::vector<duckdb::unique_ptr<duckdb::SQLStatement>> statements;
  Status status = AtDuckDBBorder(text_, span.begin, [&]() -> Status {
    statements = context.ParseStatements(statement_.text());
    return Status::OK();
  });
  if (!status.ok()) return AtPlaceInText(status, statement_.brackets(), span.begin, text_);
  // Some (PIVOT) become several: DuckDB prepares the last, and runs the others.
  if (statements.size() == 1) {
    ARROW_RETURN_NOT_OK(AtDuckDBBorder(text_, span.begin, [&] {
      return statement_.Put(context, text_, span, /*prepared=*/true, &statements[0]);
    }));
  }
  status = AtDuckDBBorder(text_, span.begin, [&]() -> Status {
    prepared_ = statements.size() == 1 ? context.Prepare(std::move(statements[0]))
                                       : context.Prepare(statement_.text());
    if (prepared_->HasError()) return FromDuckDB(prepared_->GetErrorObject(), text_, span.begin);
    types_.resize(prepared_->named_param_map.size());
    const auto expected = prepared_->GetExpectedParameterTypes();
    for (size_t i = 0; i < types_.size(); ++i) {
      const auto it = expected.find(std::to_string(i + 1));
      if (it != expected.end() && it->second.id() != duckdb::LogicalTypeId::UNKNOWN)
        types_[i] = it->second.ToString();
    }
    if (prepared_->GetStatementProperties().return_type ==
        duckdb::StatementReturnType::QUERY_RESULT) {
      for (size_t i = 0; i < prepared_->GetNames().size(); ++i)
        columns_.push_back({prepared_->GetNames()[i], prepared_->GetTypes()[i].ToString()});
    }
    return Status::OK();
  });
  return AtPlaceInText(status, statement_.brackets(), span.begin, text_);
}

const DirectSelect* StatementImpl::Direct() {
  if (!lifted_ || prepared_ == nullptr || !statement_.brackets().empty()) return nullptr;
  if (direct_generation_ != connection_->direct_generation()) {
    direct_generation_ = connection_->direct_generation();
    direct_ = connection_->PlanDirect(*prepared_->data->unbound_statement, *lifted_);
  }
  return direct_.get();
}

Result<std::unique_ptr<SqlResult>> StatementImpl::Execute(const SqlParameters& parameters) {
  if (prepared_ == nullptr) return connection_->Execute(text_, parameters);
  ARROW_RETURN_NOT_OK(connection_->CheckNotAborted());
  if (parameters.size() != types_.size()) {
    return connection_->Failed(
        MakeSqlError("T4007", fmt::format("wrong number of parameters: expected={} given={}",
                                          types_.size(), parameters.size())));
  }
  if (const DirectSelect* direct = Direct()) {
    ARROW_ASSIGN_OR_RAISE(auto result,
                          connection_->RunDirect(*direct, parameters, lifted_->literals));
    if (result != nullptr) return result;
  }
  switch (prepared_->GetStatementType()) {
    case duckdb::StatementType::SELECT_STATEMENT:
    case duckdb::StatementType::INSERT_STATEMENT:
    case duckdb::StatementType::UPDATE_STATEMENT:
    case duckdb::StatementType::DELETE_STATEMENT:
      break;
    default:
      connection_->VoidDirectPlans();
  }
  const auto run = [&]() -> Result<std::unique_ptr<SqlResult>> {
    duckdb::case_insensitive_map_t<duckdb::BoundParameterData> values;
    ARROW_RETURN_NOT_OK(
        statement_.Announce(*prepared_->context, *prepared_->data->unbound_statement));
    for (size_t i = 0; i < parameters.size(); ++i)
      values[std::to_string(i + 1)] =
          duckdb::BoundParameterData(ToDuckDB(*prepared_->context, parameters[i]));
    connection_->WillRun(*prepared_->data->unbound_statement);
    return connection_->RunRetrying(
        text_, 0, statement_.brackets(), TagOf(prepared_->GetStatementType()),
        [&](bool streaming) {
          auto bound = values;
          return prepared_->PendingQuery(bound, streaming);
        },
        prepared_->GetStatementType() == duckdb::StatementType::SELECT_STATEMENT);
  };
  return connection_->WithLimits(/*timed=*/true, [&]() -> Result<std::unique_ptr<SqlResult>> {
    auto result = AtDuckDBBorder(text_, 0, run);
    if (!result.ok()) return AtPlaceInText(result.status(), statement_.brackets(), 0, text_);
    return result;
  });
}

}  // namespace

Result<std::unique_ptr<Connection>> MakeConnection(std::shared_ptr<SqlDatabase> owner,
                                                   duckdb::DuckDB* instance) {
  std::unique_ptr<Connection> out;
  ARROW_RETURN_NOT_OK(AtDuckDBBorder("", 0, [&]() -> Status {
    out = std::make_unique<ConnectionImpl>(std::move(owner), instance);
    return Status::OK();
  }));
  return out;
}

}  // namespace lamina::sql
