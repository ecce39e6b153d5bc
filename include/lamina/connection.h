// SQL over a database. Needs the library lamina_sql; docs/guide/sql.md is the tour.
//
//   ARROW_ASSIGN_OR_RAISE(auto sql, lamina::SqlDatabase::Open("shop.lamina"));
//   ARROW_ASSIGN_OR_RAISE(auto connection, sql->Connect());
//   ARROW_RETURN_NOT_OK(connection->Execute("CREATE TABLE t (id INT PRIMARY KEY)").status());
//   ARROW_ASSIGN_OR_RAISE(auto result, connection->Execute("SELECT * FROM t WHERE id = $1", {7}));
//   for (;;) {
//     ARROW_ASSIGN_OR_RAISE(const bool more, result->NextRow());
//     if (!more) break;
//     Use(result->Text(0));
//   }
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <arrow/record_batch.h>

#include "lamina/database.h"
#include "lamina/error.h"

namespace lamina {

/// What an error of SQL carries beside its message. Codes: docs/errors.md.
struct SqlError {
  std::string code;      ///< "T2001"; stable.
  std::string sqlstate;  ///< "42P01".
  /// Byte offset in the text that was given to Execute or Prepare.
  std::optional<size_t> position;
  /// The line of the text with a caret under the position, or "".
  std::string excerpt;
};
/// Null when `status` does not come from SQL.
const SqlError* SqlErrorOf(const Status& status);

/// A parameter, or one field of a row. Values of types beyond these are text that DuckDB would cast
/// to the type.
class SqlValue {
 public:
  SqlValue() = default;                                           ///< NULL.
  SqlValue(std::nullptr_t) {}                                     // NOLINT
  SqlValue(bool value) : value_(value) {}                         // NOLINT
  SqlValue(int value) : value_(int64_t{value}) {}                 // NOLINT
  SqlValue(int64_t value) : value_(value) {}                      // NOLINT
  SqlValue(double value) : value_(value) {}                       // NOLINT
  SqlValue(const char* text) : value_(std::string(text)) {}       // NOLINT
  SqlValue(std::string text) : value_(std::move(text)) {}         // NOLINT
  SqlValue(std::string_view text) : value_(std::string(text)) {}  // NOLINT
  static SqlValue Blob(std::string bytes);
  /// Any SQL type by its text: Typed("DECIMAL(12,2)", "3.50"), Typed("TIMESTAMP", "2013-02-08").
  static SqlValue Typed(std::string type, std::string text);

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  const std::variant<std::monostate, bool, int64_t, double, std::string>& value() const {
    return value_;
  }
  /// The SQL type when it does not follow from the variant, else "".
  const std::string& type() const { return type_; }

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string> value_;
  std::string type_;
};
using SqlParameters = std::vector<SqlValue>;  ///< For ? and $1 …

struct SqlColumn {
  std::string name;
  std::string type;  ///< As SQL spells it: "DECIMAL(12,2)".
};

/// The rows of one statement, as they are computed. One thread at a time; must end (be read to the
/// end or destroyed) before its connection runs another statement. Rows come either one by one or
/// as Arrow batches.
class SqlResult {
 public:
  virtual ~SqlResult() = default;

  /// What it was, in words of PostgreSQL's tags without numbers: "SELECT", "INSERT", "CREATE
  /// TABLE".
  virtual const std::string& tag() const = 0;
  /// Empty for a statement that gives no rows.
  virtual const std::vector<SqlColumn>& columns() const = 0;
  /// Rows inserted, updated, deleted or copied; nullopt for other statements.
  virtual std::optional<int64_t> changed_rows() const = 0;
  /// Number and time of the commit, if the statement committed something.
  virtual std::optional<CommitResult> commit() const = 0;

  /// Goes to the next row; false at the end. The accessors below are for the row gone to; `column`
  /// counts from 0.
  virtual Result<bool> NextRow() = 0;
  virtual bool IsNull(int column) const = 0;
  /// As a client would print it; "" for NULL. Valid until the next call.
  virtual std::string_view Text(int column) const = 0;
  virtual SqlValue Value(int column) const = 0;

  /// The same as Arrow. Null at the end.
  virtual Result<std::shared_ptr<arrow::RecordBatch>> NextBatch() = 0;
  virtual const std::shared_ptr<arrow::Schema>& schema() const = 0;
  /// What is left, as one reader; the result must outlive it.
  virtual std::shared_ptr<arrow::RecordBatchReader> ToReader() = 0;
};

/// A statement to run several times. Tied to its connection.
class SqlStatement {
 public:
  virtual ~SqlStatement() = default;
  virtual int parameter_count() const = 0;
  /// SQL types of the parameters as far as they follow from the text, else "".
  virtual std::vector<std::string> parameter_types() const = 0;
  /// Of the rows it will give; empty when it gives none.
  virtual const std::vector<SqlColumn>& columns() const = 0;
  /// Errors: a wrong number of parameters (T4007), and those of Connection::Execute.
  virtual Result<std::unique_ptr<SqlResult>> Execute(const SqlParameters& parameters = {}) = 0;
};

enum class SqlTransactionState : uint8_t {
  kIdle,     ///< Each statement commits by itself.
  kOpen,     ///< After BEGIN.
  kAborted,  ///< A statement failed: only ROLLBACK, or ROLLBACK TO a savepoint, is accepted.
};

/// Work done so far by the statement under way.
struct SqlProgress {
  double fraction = 0;  ///< In [0, 1]; below 0 when unknown.
  uint64_t rows = 0;    ///< Read so far.
};

/// One session: its settings, temporary tables and transaction. One thread at a time, except for
/// Cancel and progress. Several connections run beside each other. Destroying it rolls back.
class Connection {
 public:
  virtual ~Connection() = default;

  /// Runs every statement of `sql` in order and gives the last one's result; those before are read
  /// to their end. Without BEGIN each is a transaction of its own. Errors carry an SqlError.
  /// Parameters go with a text of one statement only.
  virtual Result<std::unique_ptr<SqlResult>> Execute(std::string_view sql,
                                                     const SqlParameters& parameters = {}) = 0;
  /// Runs them one after another and hands each result to `each`, which may stop with an error.
  virtual Status ExecuteAll(std::string_view sql,
                            const std::function<Status(SqlResult&)>& each) = 0;
  /// Of one statement.
  virtual Result<std::unique_ptr<SqlStatement>> Prepare(std::string_view sql) = 0;

  /// True when `sql` ends inside a statement: an open string, comment or bracket, or no semicolon
  /// yet. For shells.
  virtual bool IsIncomplete(std::string_view sql) const = 0;
  /// What could come at the end of `sql`: keywords, tables, columns, functions; whole words, best
  /// first, with the offset in `sql` that they replace from.
  struct Completion {
    std::string text;
    size_t replace_from = 0;
  };
  virtual std::vector<Completion> Complete(std::string_view sql) = 0;

  virtual SqlTransactionState transaction_state() const = 0;

  /// Ends the statement under way with kCancelled (T4006). From any thread or signal handler's
  /// thread; nothing happens when none is running.
  virtual void Cancel() = 0;
  virtual SqlProgress progress() const = 0;
  /// Called a few times a second while a statement runs, on the thread that runs it; false cancels
  /// it. Null: no more.
  virtual void SetProgressCallback(std::function<bool(const SqlProgress&)> callback) = 0;
};

/// A database that answers SQL. Thread-safe. Connections must be gone before it.
class SqlDatabase {
 public:
  /// Opens or creates the database in a directory; "" or ":memory:" gives a volatile one. Errors:
  /// as Database::Open.
  static Result<std::shared_ptr<SqlDatabase>> Open(const std::string& path,
                                                   DatabaseOptions options = {});
  /// Over a database that is open already, whose tables become SQL's.
  static Result<std::shared_ptr<SqlDatabase>> Over(std::shared_ptr<Database> database);

  virtual ~SqlDatabase() = default;
  virtual Result<std::unique_ptr<Connection>> Connect() = 0;
  virtual Database& database() = 0;
};

}  // namespace lamina
