// One session: cuts a text into statements, runs those about transactions itself, hands the others
// to DuckDB, and turns what comes back into ours.
//
// Transactions: a transaction of DuckDB (temporary tables, now()) holds one of LaminaDB, which
// begins when our catalogue is first asked for something. After an error in a transaction only
// ROLLBACK and ROLLBACK TO are taken, whatever DuckDB would allow. A statement outside a
// transaction that loses against another commit is run again.
#include <atomic>
#include <utility>

#include <duckdb/catalog/catalog_search_path.hpp>
#include <duckdb/main/valid_checker.hpp>
#include <duckdb/parser/parsed_data/alter_info.hpp>
#include <duckdb/parser/statement/alter_statement.hpp>
#include <duckdb/parser/statement/create_statement.hpp>
#include <fmt/format.h>

#include "base/clock.h"
#include "sql/alter_constraint.h"
#include "sql/constraint_names.h"
#include "sql/error_translation.h"
#include "sql/identity.h"
#include "sql/json_arrows.h"
#include "sql/lexer.h"
#include "sql/materialized_view.h"
#include "sql/reference_actions.h"
#include "sql/result.h"
#include "sql/session_state.h"
#include "sql/settings.h"
#include "sql/sql_database.h"
#include "sql/statement_limits.h"
#include "sql/strict_mode.h"
#include "sql/token_reader.h"
#include "sql/transaction.h"
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

/// DuckDB would take a NUL for the text's end, and bytes that are not UTF-8 for letters.
Status CheckText(std::string_view sql) {
  if (const size_t at = sql.find('\0'); at != std::string_view::npos)
    return MakeSqlError("T1001", "a NUL byte cannot stand in SQL", "give it as a parameter", at);
  size_t at = 0;
  while (at < sql.size()) {
    const auto lead = static_cast<unsigned char>(sql[at]);
    if (lead < 0x80) {
      ++at;
      continue;
    }
    const size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    const std::string_view letter = sql.substr(at, size);
    if (lead < 0xc2 || letter.size() < size || !duckdb::Value::StringIsValid(letter.data(), size))
      return MakeSqlError("T4011", "the text is not valid UTF-8", "", at);
    at += size;
  }
  return Status::OK();
}

/// The binder's work and memory grow with the square of a chain of UNION.
Status CheckLength(std::string_view sql, const StatementSpan& span) {
  constexpr int kSetOperationsMax = 5000;
  int count = 0;
  for (const Token& token : span.tokens) {
    if (!Is(token, sql, "UNION") && !Is(token, sql, "INTERSECT") && !Is(token, sql, "EXCEPT"))
      continue;
    if (++count <= kSetOperationsMax) continue;
    return WithExcerpt(
        MakeSqlError("T4013",
                     fmt::format("a statement has more than {} UNION, INTERSECT and EXCEPT",
                                 kSetOperationsMax),
                     "VALUES lists rows", token.begin),
        sql);
  }
  return Status::OK();
}

enum class ControlKind : uint8_t {
  kNone,
  kBegin,
  kCommit,
  kRollback,
  kSavepoint,
  kRollbackTo,
  kRelease,
};

/// A statement about transactions.
struct Control {
  ControlKind kind = ControlKind::kNone;
  std::string name;  ///< Of a savepoint.
  Isolation isolation = Isolation::kSerializable;
  bool read_only = false;
};

class ControlParser {
 public:
  ControlParser(std::string_view text, const StatementSpan& span) : text_(text), span_(span) {}

  Result<Control> Parse() {
    Control out;
    if (Take("BEGIN")) {
      (void)(Take("TRANSACTION") || Take("WORK"));
      ARROW_RETURN_NOT_OK(Modes(&out));
    } else if (Peek("START") && PeekAt(1, "TRANSACTION")) {
      at_ = 2;
      ARROW_RETURN_NOT_OK(Modes(&out));
    } else if (Take("COMMIT") || Take("END")) {
      out.kind = ControlKind::kCommit;
      (void)(Take("TRANSACTION") || Take("WORK"));
    } else if (Take("ROLLBACK") || Take("ABORT")) {
      out.kind = ControlKind::kRollback;
      (void)(Take("TRANSACTION") || Take("WORK"));
      if (Take("TO")) {
        out.kind = ControlKind::kRollbackTo;
        (void)Take("SAVEPOINT");
        ARROW_RETURN_NOT_OK(Name(&out));
      }
    } else if (Take("SAVEPOINT")) {
      out.kind = ControlKind::kSavepoint;
      ARROW_RETURN_NOT_OK(Name(&out));
    } else if (Take("RELEASE")) {
      out.kind = ControlKind::kRelease;
      (void)Take("SAVEPOINT");
      ARROW_RETURN_NOT_OK(Name(&out));
    } else {
      return out;
    }
    if (at_ < span_.tokens.size()) return Unexpected("T1005");
    return out;
  }

 private:
  bool PeekAt(size_t ahead, std::string_view word) const {
    return at_ + ahead < span_.tokens.size() && Is(span_.tokens[at_ + ahead], text_, word);
  }
  bool Peek(std::string_view word) const { return PeekAt(0, word); }
  bool Take(std::string_view word) {
    if (!Peek(word)) return false;
    ++at_;
    return true;
  }

  Status Name(Control* out) {
    if (at_ == span_.tokens.size()) return Unexpected();
    const Token& token = span_.tokens[at_];
    if (token.kind != TokenKind::kWord && token.kind != TokenKind::kQuotedWord) return Unexpected();
    out->name = NameOf(token, text_);
    ++at_;
    return Status::OK();
  }

  Status Modes(Control* out) {
    out->kind = ControlKind::kBegin;
    while (at_ < span_.tokens.size()) {
      if (Take("READ")) {
        if (Take("ONLY")) {
          out->read_only = true;
        } else if (Take("WRITE")) {
          out->read_only = false;
        } else {
          return Unexpected();
        }
      } else if (Take("ISOLATION")) {
        if (!Take("LEVEL")) return Unexpected();
        if (Take("SERIALIZABLE")) {
          out->isolation = Isolation::kSerializable;
        } else if (Take("SNAPSHOT") || (Peek("REPEATABLE") && PeekAt(1, "READ")) ||
                   (Peek("READ") && (PeekAt(1, "COMMITTED") || PeekAt(1, "UNCOMMITTED")))) {
          // The weaker levels of the standard may be given as a stronger one.
          if (Peek("REPEATABLE") || Peek("READ")) at_ += 2;
          out->isolation = Isolation::kSnapshot;
        } else {
          return Unexpected();
        }
      } else {
        return Unexpected();
      }
      if (at_ < span_.tokens.size() && span_.tokens[at_].In(text_) == ",") ++at_;
    }
    return Status::OK();
  }

  Status Unexpected(std::string_view code = "T1002") const {
    if (at_ == span_.tokens.size())
      return WithExcerpt(MakeSqlError("T1001", "syntax error at end of input", "", span_.end),
                         text_);
    const std::string what =
        fmt::format("syntax error at or near \"{}\"", span_.tokens[at_].In(text_));
    return WithExcerpt(MakeSqlError(code, what, "", span_.tokens[at_].begin), text_);
  }

  const std::string_view text_;
  const StatementSpan& span_;
  size_t at_ = 0;
};

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
  ConnectionImpl* const connection_;
  const std::string text_;
  ColumnClauses clauses_;
  std::vector<size_t> brackets_;                            // see BindJsonArrows
  duckdb::unique_ptr<duckdb::PreparedStatement> prepared_;  // null: the session runs it itself
  bool strict_ = false;                                     // strict_mode when it was planned
  std::vector<std::string> types_;
  std::vector<SqlColumn> columns_;
};

class ConnectionImpl final : public Connection {
 public:
  ConnectionImpl(std::shared_ptr<SqlDatabase> owner, duckdb::DuckDB* instance,
                 StatementLimits* limits)
      : owner_(std::move(owner)),
        limits_(limits),
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
  const SessionSettings& settings() const { return state_->settings; }
  duckdb::Connection& duck() { return duck_; }
  void SayBrackets(const std::vector<size_t>& brackets) { brackets_ = brackets; }
  Status CheckNotAborted() const {
    if (!aborted_) return Status::OK();
    return MakeSqlError("T5003",
                        "the transaction is over: a statement in it failed, and commands are "
                        "ignored until it ends",
                        "ROLLBACK, or ROLLBACK TO a savepoint");
  }

  /// Gives the catalogue what the text of the statement that runs next says of columns. T4009 when
  /// its table is none of ours.
  Status SayColumnClauses(const ColumnClauses& clauses, const duckdb::SQLStatement& statement) {
    state_->column_clauses = clauses;
    state_->view_statement = ViewStatement::Kind::kNone;
    state_->alters = false;
    state_->exports = statement.type == duckdb::StatementType::EXPORT_STATEMENT;
    if (clauses.empty()) return Status::OK();
    auto& context = *duck_.context;
    bool ours = true;
    context.RunFunctionInTransaction([&] {
      if (statement.type == duckdb::StatementType::CREATE_STATEMENT) {
        const auto& info = *statement.Cast<duckdb::CreateStatement>().info;
        std::string catalog = info.catalog;
        std::string schema = info.schema;
        duckdb::Binder::BindSchemaOrCatalog(context, catalog, schema);
        if (catalog.empty())
          catalog = duckdb::ClientData::Get(context).catalog_search_path->GetDefault().catalog;
        ours = duckdb::Catalog::GetCatalog(context, catalog).GetCatalogType() == "lamina";
      } else if (statement.type == duckdb::StatementType::ALTER_STATEMENT) {
        const auto& info = *statement.Cast<duckdb::AlterStatement>().info;
        std::string catalog = info.catalog;
        std::string schema = info.schema;
        duckdb::Binder::BindSchemaOrCatalog(context, catalog, schema);
        auto entry = duckdb::Catalog::GetEntry(context, catalog, schema,
                                               {duckdb::CatalogType::TABLE_ENTRY, info.name},
                                               duckdb::OnEntryNotFound::RETURN_NULL);
        ours = entry == nullptr || entry->ParentCatalog().GetCatalogType() == "lamina";
      }
    });
    if (ours) return Status::OK();
    state_->column_clauses.clear();
    return MakeSqlError("T4009",
                        "SERIAL, identity columns and NOT NULL in ADD COLUMN are for the tables of "
                        "the database, not for DuckDB's");
  }

  /// Runs one statement of `sql`.
  Result<std::unique_ptr<SqlResult>> Run(std::string_view sql, const StatementSpan& span,
                                         const SqlParameters& parameters) {
    Result<Control> control = ControlParser(sql, span).Parse();
    if (!control.ok()) return Failed(control.status());
    if (control->kind != ControlKind::kNone) {
      if (!parameters.empty())
        return Failed(MakeSqlError("T4007", "a statement about transactions has no parameters"));
      return RunControl(*control);
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
    std::string text(sql.substr(span.begin, span.end - span.begin));
    const auto actions = TakeReferenceActions(span.tokens, span.begin, &text);
    auto clauses = TakeColumnClauses(span, &text);
    if (!clauses.ok()) return Failed(WithExcerpt(clauses.status(), sql));
    const auto view = TakeViewStatement(sql, span, &text);
    if (!view.ok()) return Failed(WithExcerpt(view.status(), sql));
    const auto overriding = TakeOverriding(span, &text);
    if (!overriding.ok()) return Failed(WithExcerpt(overriding.status(), sql));
    if (view->kind != ViewStatement::Kind::kNone) EndLeftover();
    const auto names = TakeConstraintNames(span.tokens, span.begin, text);
    const auto constraint = TakeConstraintChange(span, &text);
    // Last, as it moves what follows.
    brackets_ = constraint ? std::vector<size_t>() : BindJsonArrows(span, &text);
    Result<std::unique_ptr<SqlResult>> result =
        AtDuckDBBorder(sql, span.begin, [&]() -> Result<std::unique_ptr<SqlResult>> {
          if (const std::string show = ShowSetting(*duck_.context, span, sql); !show.empty())
            text = show;
          auto statements = duck_.context->ParseStatements(text);
          duckdb::case_insensitive_map_t<duckdb::BoundParameterData> values;
          for (size_t i = 0; i < parameters.size(); ++i)
            values[std::to_string(i + 1)] =
                duckdb::BoundParameterData(ToDuckDB(*duck_.context, parameters[i]));
          std::unique_ptr<SqlResult> last;
          for (auto& statement : statements) {
            ARROW_RETURN_NOT_OK(PutReferenceActions(actions, *statement));
            ARROW_RETURN_NOT_OK(
                WithExcerpt(PutViewStatement(*duck_.context, *view, &statement), sql));
            ARROW_RETURN_NOT_OK(PutConstraintNames(names, *statement));
            if (constraint)
              ARROW_RETURN_NOT_OK(PutConstraintChange(*duck_.context, *constraint, *statement));
            if (last != nullptr) ARROW_RETURN_NOT_OK(Drain(*last));
            ARROW_RETURN_NOT_OK(SayColumnClauses(*clauses, *statement));
            state_->view_statement = view->kind;
            state_->alters = Is(span.tokens[0], sql, "ALTER");
            ARROW_RETURN_NOT_OK(CheckIdentity(*duck_.context, *statement, *overriding));
            ARROW_RETURN_NOT_OK(CheckSetting(*statement));
            if (state_->settings.strict_mode) MarkMeantConversions(*statement);
            ARROW_ASSIGN_OR_RAISE(
                last, RunRetrying(
                          sql, span.begin,
                          view->kind == ViewStatement::Kind::kRefresh ? "REFRESH"
                                                                      : TagOf(statement->type),
                          [&](bool streaming) {
                            duckdb::QueryParameters mode(
                                streaming ? duckdb::QueryResultOutputType::ALLOW_STREAMING
                                          : duckdb::QueryResultOutputType::FORCE_MATERIALIZED);
                            auto bound = values;
                            return duck_.context->PendingQuery(statement->Copy(), bound, mode);
                          },
                          statement->type == duckdb::StatementType::SELECT_STATEMENT));
          }
          if (last == nullptr) last = MakeResult(ResultParts{});
          return last;
        });
    if (!result.ok()) return Failed(AtPlaceInText(result.status(), brackets_, span.begin, sql));
    return result;
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
                                                 std::string tag, const MakePending& begin,
                                                 bool streaming) {
    BeginLimits(/*any=*/tag != "SET");  // a limit that is too tight can be set anew
    for (int attempt = 1;; ++attempt) {
      auto result = RunOnce(sql, offset, tag, begin, streaming);
      const bool again = !result.ok() && CodeOf(result.status()) == ErrorCode::kConflict &&
                         !in_block_ && attempt < kAttemptsMax;
      if (again) continue;
      // What is still computed as it is read stays under them.
      if (!result.ok() || !streaming) running_ = nullptr;
      return result;
    }
  }

  Result<std::unique_ptr<SqlResult>> RunOnce(std::string_view sql, size_t offset,
                                             const std::string& tag, const MakePending& begin,
                                             bool streaming) {
    state_->commit.reset();
    state_->commit_error = Status::OK();
    duck_.context->ClearInterrupt();
    if (running_ != nullptr && running_->expired()) duck_.Interrupt();  // between two attempts
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
    parts.on_error = [this, text = std::string(sql), offset,
                      brackets = brackets_](const duckdb::ErrorData& error) {
      return Failed(AtPlaceInText(Translate(error, text, offset), brackets, offset, text));
    };
    parts.on_end = [this, limits = running_.get()] {
      if (running_.get() == limits) running_ = nullptr;
      return Status::OK();
    };
    return MakeResult(std::move(parts));
  }

 private:
  static Status Drain(SqlResult& result) {
    for (;;) {
      ARROW_ASSIGN_OR_RAISE(const auto batch, result.NextBatch());
      if (batch == nullptr) return Status::OK();
    }
  }

  void BeginLimits(bool any) {
    running_ = nullptr;
    if (!any) return;
    const SessionSettings& settings = state_->settings;
    if (settings.query_timeout_micros == 0 && settings.query_max_memory == 0) return;
    running_ = std::make_unique<LimitsOfStatement>();
    if (settings.query_max_memory != 0)
      running_->memory.emplace(limits_->memory(), settings.query_max_memory);
    if (settings.query_timeout_micros != 0)
      running_->deadline.emplace(limits_->timers(), settings.query_timeout_micros,
                                 [this] { Cancel(); });
  }

  Status Translate(const duckdb::ErrorData& error, std::string_view sql, size_t offset) {
    if (running_ != nullptr && running_->expired() &&
        error.Type() == duckdb::ExceptionType::INTERRUPT) {
      return MakeSqlError("T4003", "the statement ran longer than query_timeout allows",
                          "SET query_timeout gives it more; 0 is no limit");
    }
    if (!state_->commit_error.ok())
      return AsSqlError(std::exchange(state_->commit_error, Status::OK()));
    if (state_->read_only && error.Type() == duckdb::ExceptionType::TRANSACTION) {
      return MakeSqlError("T5007", "the transaction is read-only",
                          "ROLLBACK it and BEGIN one that writes");
    }
    return FromDuckDB(error, sql, offset);
  }

  /// A statement has failed: inside a transaction block that ends it.
  Status Failed(Status status) {
    if (in_block_) aborted_ = true;
    return status;
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

  Result<std::unique_ptr<SqlResult>> RunControl(const Control& control) {
    switch (control.kind) {
      case ControlKind::kBegin:
        return Begin(control);
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

  Result<std::unique_ptr<SqlResult>> Begin(const Control& control) {
    ARROW_RETURN_NOT_OK(CheckNotAborted());
    if (in_block_) {
      return Failed(MakeSqlError("T5005", "a transaction is under way",
                                 "COMMIT or ROLLBACK it; SAVEPOINT marks a point inside"));
    }
    state_->transaction_options = {};
    state_->transaction_options.isolation = control.isolation;
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
  StatementLimits* const limits_;
  duckdb::Connection duck_;
  const duckdb::shared_ptr<SessionState> state_;
  bool in_block_ = false;
  bool aborted_ = false;
  std::vector<size_t> brackets_;  // put into the text of the statement under way
  std::function<bool(const SqlProgress&)> progress_callback_;
  /// Of the statement under way; null: it has none. Ends before duck_, which it interrupts.
  std::unique_ptr<LimitsOfStatement> running_;
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
  ARROW_ASSIGN_OR_RAISE(const Control control, ControlParser(text_, spans[0]).Parse());
  if (control.kind != ControlKind::kNone) return Status::OK();
  ARROW_RETURN_NOT_OK(connection_->CheckNotAborted());
  ARROW_RETURN_NOT_OK(CheckLength(text_, spans[0]));
  const auto trigger = ParseTriggerStatement(text_, spans[0]);
  if (!trigger.ok()) return WithExcerpt(trigger.status(), text_);
  if (trigger->has_value()) return Status::OK();
  // From its first word on: what stands before may be a byte order mark.
  std::string statement = text_.substr(spans[0].begin);
  const auto actions = TakeReferenceActions(spans[0].tokens, spans[0].begin, &statement);
  auto clauses = TakeColumnClauses(spans[0], &statement);
  if (!clauses.ok()) return WithExcerpt(clauses.status(), text_);
  const auto view = TakeViewStatement(text_, spans[0], &statement);
  if (!view.ok()) return WithExcerpt(view.status(), text_);
  if (view->kind != ViewStatement::Kind::kNone) return Status::OK();
  clauses_ = *std::move(clauses);
  const auto overriding = TakeOverriding(spans[0], &statement);
  if (!overriding.ok()) return WithExcerpt(overriding.status(), text_);
  const auto names = TakeConstraintNames(spans[0].tokens, spans[0].begin, statement);
  const auto constraint = TakeConstraintChange(spans[0], &statement);
  if (!constraint) brackets_ = BindJsonArrows(spans[0], &statement);
  const Status status = AtDuckDBBorder(text_, 0, [&]() -> Status {
    auto& context = *connection_->duck().context;
    auto statements = context.ParseStatements(statement);
    if (statements.size() != 1) {
      return MakeSqlError(
          "T4007", fmt::format("one statement can be prepared: statements={}", statements.size()));
    }
    ARROW_RETURN_NOT_OK(PutReferenceActions(actions, *statements[0]));
    ARROW_RETURN_NOT_OK(PutConstraintNames(names, *statements[0]));
    if (constraint) ARROW_RETURN_NOT_OK(PutConstraintChange(context, *constraint, *statements[0]));
    ARROW_RETURN_NOT_OK(CheckIdentity(context, *statements[0], *overriding));
    ARROW_RETURN_NOT_OK(CheckSetting(*statements[0]));
    strict_ = connection_->settings().strict_mode;
    if (strict_) MarkMeantConversions(*statements[0]);
    prepared_ = context.Prepare(std::move(statements[0]));
    if (prepared_->HasError())
      return FromDuckDB(prepared_->GetErrorObject(), text_, spans[0].begin);
    types_.assign(prepared_->named_param_map.size(), "");
    columns_.clear();
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
  return AtPlaceInText(status, brackets_, spans[0].begin, text_);
}

Result<std::unique_ptr<SqlResult>> StatementImpl::Execute(const SqlParameters& parameters) {
  if (prepared_ == nullptr) return connection_->Execute(text_, parameters);
  ARROW_RETURN_NOT_OK(connection_->CheckNotAborted());
  if (strict_ != connection_->settings().strict_mode) ARROW_RETURN_NOT_OK(Init());
  if (parameters.size() != types_.size()) {
    return MakeSqlError("T4007", fmt::format("wrong number of parameters: expected={} given={}",
                                             types_.size(), parameters.size()));
  }
  connection_->SayBrackets(brackets_);
  auto result = AtDuckDBBorder(text_, 0, [&]() -> Result<std::unique_ptr<SqlResult>> {
    duckdb::case_insensitive_map_t<duckdb::BoundParameterData> values;
    ARROW_RETURN_NOT_OK(
        connection_->SayColumnClauses(clauses_, *prepared_->data->unbound_statement));
    for (size_t i = 0; i < parameters.size(); ++i)
      values[std::to_string(i + 1)] =
          duckdb::BoundParameterData(ToDuckDB(*prepared_->context, parameters[i]));
    return connection_->RunRetrying(
        text_, 0, TagOf(prepared_->GetStatementType()),
        [&](bool streaming) {
          auto bound = values;
          return prepared_->PendingQuery(bound, streaming);
        },
        prepared_->GetStatementType() == duckdb::StatementType::SELECT_STATEMENT);
  });
  if (!result.ok()) return AtPlaceInText(result.status(), brackets_, 0, text_);
  return result;
}

}  // namespace

Result<std::unique_ptr<Connection>> MakeConnection(std::shared_ptr<SqlDatabase> owner,
                                                   duckdb::DuckDB* instance,
                                                   StatementLimits* limits) {
  std::unique_ptr<Connection> out;
  ARROW_RETURN_NOT_OK(AtDuckDBBorder("", 0, [&]() -> Status {
    out = std::make_unique<ConnectionImpl>(std::move(owner), instance, limits);
    return Status::OK();
  }));
  return out;
}

}  // namespace lamina::sql
