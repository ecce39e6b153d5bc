#include "sql/plan_query.h"

#include <string>
#include <utility>

#include <duckdb/optimizer/optimizer.hpp>
#include <duckdb/planner/planner.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/statement_text.h"

namespace lamina::sql {
namespace {

duckdb::unique_ptr<duckdb::LogicalOperator> Plan(duckdb::ClientContext& context,
                                                 std::string_view text, const StatementSpan& span,
                                                 bool* optimized) {
  const StatementText written = ValueOrThrow(StatementText::Take(context, text, span));
  duckdb::Parser parser(context.GetParserOptions());
  parser.ParseQuery(written.text());
  if (parser.statements.size() != 1)
    Throw(MakeSqlError("T4009", "a statement that becomes several cannot be planned alone"));
  auto& statement = parser.statements[0];
  switch (statement->type) {
    case duckdb::StatementType::SELECT_STATEMENT:
    case duckdb::StatementType::INSERT_STATEMENT:
    case duckdb::StatementType::UPDATE_STATEMENT:
    case duckdb::StatementType::DELETE_STATEMENT:
    case duckdb::StatementType::MERGE_INTO_STATEMENT:
      break;
    default:
      Throw(MakeSqlError("T4009", "only SELECT, INSERT, UPDATE, DELETE and MERGE have such plans"));
  }
  duckdb::Planner planner(context);
  planner.CreatePlan(std::move(statement));
  const bool all = planner.properties.bound_all_parameters;
  if (optimized != nullptr) *optimized = all;
  if (!all) return std::move(planner.plan);
  duckdb::Optimizer optimizer(*planner.binder, context);
  return optimizer.Optimize(std::move(planner.plan));
}

}  // namespace

duckdb::unique_ptr<duckdb::LogicalOperator> PlanQuery(duckdb::ClientContext& context,
                                                      std::string_view text,
                                                      std::optional<size_t> at, bool* optimized) {
  duckdb::unique_ptr<duckdb::LogicalOperator> out;
  const Status status = AtDuckDBBorder(text, 0, [&]() -> Status {
    ARROW_RETURN_NOT_OK(CheckText(text));
    const auto spans = SplitStatements(text);
    if (spans.size() != 1) {
      return MakeSqlError(
          "T4007",
          fmt::format("one statement is expected in the text: statements={}", spans.size()));
    }
    return AtDuckDBBorder(text, spans[0].begin, [&]() -> Status {
      out = Plan(context, text, spans[0], optimized);
      return Status::OK();
    });
  });
  if (status.ok()) return out;
  const SqlError& error = *SqlErrorOf(status);
  std::optional<size_t> position;
  if (at && error.position) position = *at + *error.position;
  Throw(MakeSqlError(error.code, std::string(MessageOf(status)), std::string(HintOf(status)),
                     position));
}

}  // namespace lamina::sql
