// current_commit(), time_of(), commit_at(), lamina_commits(), lamina_history() and
// lamina_changes().
#include <map>
#include <string>
#include <vector>

#include <duckdb/parser/qualified_name.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sql/commit_notes.h"
#include "sql/error_translation.h"
#include "sql/functions/functions.h"
#include "sql/functions/query_function.h"
#include "sql/lamina_catalog.h"
#include "sql/moment.h"
#include "sql/moment_value.h"
#include "sql/schema_entry.h"
#include "sql/sql_database.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"

namespace lamina::sql {
namespace {

using duckdb::LogicalType;
using duckdb::Value;

LaminaTransaction& TransactionOf(duckdb::ClientContext& context) {
  return LaminaTransaction::Get(context, duckdb::Catalog::GetCatalog(context, kCatalogName));
}

Value ToTimestamp(SystemTime time) {
  return Value::TIMESTAMPTZ(
      duckdb::timestamp_tz_t(std::max(time.micros, -std::numeric_limits<int64_t>::max())));
}

// ---- Commits and times

void CurrentCommit(duckdb::DataChunk&, duckdb::ExpressionState& state, duckdb::Vector& result) {
  LaminaTransaction& transaction = TransactionOf(state.GetContext());
  const LaminaTransaction::Lock lock(transaction);
  result.Reference(
      Value::BIGINT(static_cast<int64_t>(transaction.data().snapshot()->commit().value)));
}

void TimeOf(duckdb::DataChunk& input, duckdb::ExpressionState& state, duckdb::Vector& result) {
  LaminaTransaction& transaction = TransactionOf(state.GetContext());
  const LaminaTransaction::Lock lock(transaction);
  duckdb::UnaryExecutor::Execute<int64_t, duckdb::timestamp_tz_t>(
      input.data[0], result, input.size(), [&](int64_t commit) {
        if (commit < 0)
          Throw(MakeSqlError("T4010", fmt::format("no commit has this number: commit={}", commit)));
        const SystemTime time =
            ValueOrThrow(transaction.data().TimeOf({static_cast<uint64_t>(commit)}));
        return duckdb::timestamp_tz_t(std::max(time.micros, -std::numeric_limits<int64_t>::max()));
      });
}

void CommitAt(duckdb::DataChunk& input, duckdb::ExpressionState& state, duckdb::Vector& result) {
  LaminaTransaction& transaction = TransactionOf(state.GetContext());
  const LaminaTransaction::Lock lock(transaction);
  duckdb::UnaryExecutor::Execute<duckdb::timestamp_tz_t, int64_t>(
      input.data[0], result, input.size(), [&](duckdb::timestamp_tz_t time) {
        return static_cast<int64_t>(
            ValueOrThrow(transaction.data().CommitAt(SystemTime{time.value})).value);
      });
}

// ---- Tables of the past

std::string FullName(const LaminaTableEntry& table) {
  return fmt::format("{}.{}.{}", QuotedName(table.catalog.GetName()), QuotedName(table.schema.name),
                     QuotedName(table.name));
}

const LaminaTableEntry& TableOf(duckdb::ClientContext& context, const Value& name) {
  if (name.IsNull()) Throw(MakeSqlError("T4010", "the name of a table is NULL"));
  auto path = duckdb::QualifiedName::Parse(duckdb::StringValue::Get(name));
  duckdb::Binder::BindSchemaOrCatalog(context, path.catalog, path.schema);
  auto& entry = duckdb::Catalog::GetEntry<duckdb::TableCatalogEntry>(context, path.catalog,
                                                                     path.schema, path.name);
  if (entry.ParentCatalog().GetCatalogType() != "lamina") {
    Throw(MakeSqlError("T4009", "only tables of the database have a history: table=" +
                                    duckdb::StringValue::Get(name)));
  }
  return entry.Cast<LaminaTableEntry>();
}

std::string At(const char* form, const std::string& a, const char* valid) {
  return fmt::format("AT (VERSION => {}({}, {}, NULL, {}, NULL))", kMomentFunction, form, a, valid);
}
// Nothing is left to the session's settings.
constexpr char kAllValid[] = "'all', NULL";
constexpr char kValidNow[] = "'as of', now()";

/// lamina_history(table, key…): every row version, of one key or of all that begin with its values.
duckdb::unique_ptr<duckdb::TableRef> History(duckdb::ClientContext& context,
                                             duckdb::TableFunctionBindInput& input) {
  const LaminaTableEntry& table = TableOf(context, input.inputs[0]);
  const auto& key = table.table().key;
  const size_t given = input.inputs.size() - 1;
  if (given > key.size()) {
    Throw(MakeSqlError("T4007", fmt::format("the key of {} has {} columns, and {} values are given",
                                            table.name, key.size(), given)));
  }
  std::vector<std::string> conditions = {"true"};
  for (size_t i = 0; i < given; ++i)
    conditions.push_back(
        fmt::format("{} = {}", QuotedName(key[i]), input.inputs[i + 1].ToSQLString()));
  std::vector<std::string> order;
  for (const std::string& column : key) order.push_back(QuotedName(column));
  order.insert(order.end(), {"_system_from", "_valid_from"});
  return QueryAsTable(
      context,
      fmt::format("SELECT *, _valid_from, _valid_to, _system_from, _system_to, _commit "
                  "FROM {} {} WHERE {} ORDER BY {}",
                  FullName(table), At("'all'", "NULL", kAllValid), fmt::join(conditions, " AND "),
                  fmt::join(order, ", ")),
      "lamina_history");
}

/// Of an argument that says a moment of system time, as a literal; and its time.
struct Point {
  std::string literal;
  SystemTime time;
};
Point PointOf(duckdb::ClientContext& context, const Value& value) {
  const SystemOperand operand = SystemOperand::Of(context, value);
  if (operand.commit.has_value()) {
    LaminaTransaction& transaction = TransactionOf(context);
    const LaminaTransaction::Lock lock(transaction);
    return {std::to_string(operand.commit->value),
            ValueOrThrow(transaction.data().TimeOf(*operand.commit))};
  }
  if (!operand.micros.has_value()) Throw(MakeSqlError("T4010", "the moment of changes is NULL"));
  return {ToTimestamp({*operand.micros}).ToSQLString(), {*operand.micros}};
}

/// lamina_changes(table, from, to): the rows that differ between two moments. Only rows that ended
/// or began between them are read and joined.
duckdb::unique_ptr<duckdb::TableRef> Changes(duckdb::ClientContext& context,
                                             duckdb::TableFunctionBindInput& input) {
  const LaminaTableEntry& table = TableOf(context, input.inputs[0]);
  const Point from = PointOf(context, input.inputs[1]);
  const Point to = PointOf(context, input.inputs[2]);
  if (to.time < from.time) {
    Throw(MakeSqlError("T4010", fmt::format("the changes end before they begin: from={} to={}",
                                            Format(from.time), Format(to.time))));
  }
  std::vector<std::string> keys;
  for (const std::string& column : table.table().key) keys.push_back(QuotedName(column));
  std::vector<std::string> columns;
  for (const auto& column : table.GetColumns().Logical())
    columns.push_back(QuotedName(column.Name()));
  const std::string row_key = table.table().key.empty() ? "rowid AS _lamina_row" : "";
  const std::vector<std::string> join =
      keys.empty() ? std::vector<std::string>{"_lamina_row"} : keys;
  std::vector<std::string> shown;
  for (const std::string& column : keys)
    shown.push_back(fmt::format("coalesce(o.{0}, n.{0}) AS {0}, ", column));
  const auto side = [&](const Point& point, const std::string& filter) {
    std::vector<std::string> fields;
    for (const std::string& column : columns) fields.push_back(fmt::format("{0} := {0}", column));
    return fmt::format(
        "SELECT {}, {} struct_pack({}) AS _lamina_values, _commit AS _lamina_by FROM {} {} WHERE "
        "{}",
        keys.empty() ? row_key : fmt::format("{}", fmt::join(keys, ", ")), "",
        fmt::join(fields, ", "), FullName(table), At("'as of'", point.literal, kValidNow), filter);
  };
  std::vector<std::string> on;
  for (const std::string& column : join) on.push_back(fmt::format("o.{0} = n.{0}", column));
  const std::string text = fmt::format(
      "SELECT CASE WHEN o._lamina_by IS NULL THEN 'insert' WHEN n._lamina_by IS NULL THEN 'delete' "
      "ELSE 'update' "
      "END AS change, {} o._lamina_values AS before, n._lamina_values AS after, n._lamina_by AS "
      "_commit FROM ({}) o "
      "FULL "
      "JOIN ({}) n ON {} WHERE o._lamina_values IS DISTINCT FROM n._lamina_values OR o._lamina_by "
      "IS NULL OR n._lamina_by IS "
      "NULL",
      fmt::join(shown, ""), side(from, "_system_to <= " + ToTimestamp(to.time).ToSQLString()),
      side(to, "_system_from > " + ToTimestamp(from.time).ToSQLString()), fmt::join(on, " AND "));
  return QueryAsTable(context, text, "lamina_changes");
}

// ---- lamina_commits

struct Notes final : public duckdb::GlobalTableFunctionState {
  std::vector<CommitNote> rows;
  size_t next = 0;
};

duckdb::unique_ptr<duckdb::FunctionData> BindNotes(duckdb::ClientContext&,
                                                   duckdb::TableFunctionBindInput&,
                                                   duckdb::vector<LogicalType>& types,
                                                   duckdb::vector<duckdb::string>& names) {
  names = {"commit", "user", "message"};
  types = {LogicalType::BIGINT, LogicalType::VARCHAR, LogicalType::VARCHAR};
  return nullptr;
}

duckdb::unique_ptr<duckdb::GlobalTableFunctionState> BeginNotes(duckdb::ClientContext& context,
                                                                duckdb::TableFunctionInitInput&) {
  auto out = duckdb::make_uniq<Notes>();
  LaminaTransaction& transaction = TransactionOf(context);
  const LaminaTransaction::Lock lock(transaction);
  out->rows = ValueOrThrow(ReadCommitNotes(transaction.data()));
  return out;
}

void NextNotes(duckdb::ClientContext&, duckdb::TableFunctionInput& input,
               duckdb::DataChunk& output) {
  auto& notes = input.global_state->Cast<Notes>();
  duckdb::idx_t count = 0;
  for (; notes.next < notes.rows.size() && count < STANDARD_VECTOR_SIZE; ++count) {
    const CommitNote& note = notes.rows[notes.next++];
    const auto text = [](const std::optional<std::string>& of) {
      return of ? Value(*of) : Value(LogicalType::VARCHAR);
    };
    output.SetValue(0, count, Value::BIGINT(static_cast<int64_t>(note.commit.value)));
    output.SetValue(1, count, text(note.user));
    output.SetValue(2, count, text(note.message));
  }
  output.SetCardinality(count);
}

/// lamina_commits([table]): what each commit wrote and ended, who made it and why.
duckdb::unique_ptr<duckdb::TableRef> Commits(duckdb::ClientContext& context,
                                             duckdb::TableFunctionBindInput& input) {
  std::vector<const LaminaTableEntry*> tables;
  if (!input.inputs.empty()) {
    tables.push_back(&TableOf(context, input.inputs[0]));
  } else {
    auto& catalog = duckdb::Catalog::GetCatalog(context, kCatalogName);
    for (auto& [name, schema] : LaminaTransaction::Get(context, catalog).definitions().schemas()) {
      schema->Scan(context, duckdb::CatalogType::TABLE_ENTRY, [&](duckdb::CatalogEntry& entry) {
        if (entry.type == duckdb::CatalogType::TABLE_ENTRY)
          tables.push_back(&entry.Cast<LaminaTableEntry>());
      });
    }
  }
  std::vector<std::string> parts;
  for (const LaminaTableEntry* table : tables) {
    const std::string name =
        Value(table->schema.name == kMainSchema ? table->name
                                                : table->schema.name + "." + table->name)
            .ToSQLString();
    const std::string source = FullName(*table) + " " + At("'all'", "NULL", kAllValid);
    parts.push_back(fmt::format(
        "SELECT _commit AS commit, count(*) AS written, 0 AS ended, {} AS name FROM {} GROUP BY "
        "_commit",
        name, source));
    parts.push_back(fmt::format(
        "SELECT commit_at(_system_to) AS commit, 0 AS written, count(*) AS ended, {} AS "
        "name FROM {} WHERE _system_to < 'infinity' GROUP BY _system_to",
        name, source));
  }
  if (parts.empty())
    parts.emplace_back("SELECT 0 AS commit, 0 AS written, 0 AS ended, '' AS name WHERE false");
  const std::string text = fmt::format(
      "WITH rows AS ({}), sums AS (SELECT commit, sum(written)::BIGINT AS written, "
      "sum(ended)::BIGINT AS ended, list_sort(list(DISTINCT name)) AS names FROM rows GROUP BY "
      "commit) SELECT c.commit, time_of(c.commit) AS time, coalesce(s.written, 0) AS rows_written, "
      "coalesce(s.ended, 0) AS rows_ended, coalesce(s.names, []) AS tables, n.\"user\", n.message "
      "FROM {} LEFT JOIN sums s ON s.commit = c.commit LEFT JOIN lamina_commit_notes() n ON "
      "n.commit = c.commit ORDER BY c.commit",
      fmt::join(parts, " UNION ALL "),
      input.inputs.empty() ? "(SELECT range AS commit FROM range(1, current_commit() + 1)) c"
                           : "(SELECT DISTINCT commit FROM rows) c");
  return QueryAsTable(context, text, "lamina_commits");
}

}  // namespace

void RegisterTimeTravel(duckdb::ExtensionLoader& loader) {
  duckdb::ScalarFunction current("current_commit", {}, LogicalType::BIGINT, CurrentCommit);
  current.SetStability(duckdb::FunctionStability::CONSISTENT_WITHIN_QUERY);
  loader.RegisterFunction(current);
  for (auto [name, from, to, body] :
       {std::tuple("time_of", LogicalType::BIGINT, LogicalType::TIMESTAMP_TZ,
                   duckdb::scalar_function_t(TimeOf)),
        std::tuple("commit_at", LogicalType::TIMESTAMP_TZ, LogicalType::BIGINT,
                   duckdb::scalar_function_t(CommitAt))}) {
    duckdb::ScalarFunction function(name, {from}, to, body);
    function.SetStability(duckdb::FunctionStability::CONSISTENT_WITHIN_QUERY);
    function.SetFallible();
    loader.RegisterFunction(function);
  }
  auto history = QueryFunction("lamina_history", {LogicalType::VARCHAR}, History);
  history.varargs = LogicalType::ANY;
  loader.RegisterFunction(history);
  loader.RegisterFunction(QueryFunction(
      "lamina_changes", {LogicalType::VARCHAR, LogicalType::ANY, LogicalType::ANY}, Changes));
  duckdb::TableFunctionSet commits("lamina_commits");
  commits.AddFunction(QueryFunction("lamina_commits", {}, Commits));
  commits.AddFunction(QueryFunction("lamina_commits", {LogicalType::VARCHAR}, Commits));
  loader.RegisterFunction(commits);
  loader.RegisterFunction(
      duckdb::TableFunction("lamina_commit_notes", {}, NextNotes, BindNotes, BeginNotes));
}

}  // namespace lamina::sql
