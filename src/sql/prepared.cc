#include "sql/prepared.h"

#include <algorithm>
#include <utility>

#include <duckdb/parser/expression/cast_expression.hpp>
#include <duckdb/parser/parsed_data/drop_info.hpp>
#include <duckdb/parser/statement/drop_statement.hpp>
#include <duckdb/parser/statement/execute_statement.hpp>
#include <duckdb/parser/statement/prepare_statement.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/session_state.h"
#include "sql/suggestion.h"

namespace lamina::sql {
namespace {

std::string_view TextOf(std::string_view sql, const std::vector<Token>& tokens, size_t begin,
                        size_t end) {
  return sql.substr(tokens[begin].begin, tokens[end - 1].end - tokens[begin].begin);
}

Status NoStatement(duckdb::ClientContext& context, const std::string& name, size_t at) {
  std::vector<std::string> known;
  for (const auto& [of, data] : duckdb::ClientData::Get(context).prepared_statements)
    known.push_back(of);
  return MakeSqlError("T2010", "prepared statement does not exist: " + name,
                      DidYouMean(name, known), at);
}

Result<duckdb::LogicalType> ParseType(duckdb::ClientContext& context, const ParameterType& type) {
  duckdb::LogicalType out;
  // In a transaction: it may be a type of the database.
  const Status status = AtDuckDBBorder("", 0, [&]() -> Status {
    context.RunFunctionInTransaction(
        [&] { out = duckdb::TransformStringToLogicalType(type.text, context); });
    return Status::OK();
  });
  if (!status.ok()) {
    const SqlError* error = SqlErrorOf(status);
    return MakeSqlError(error == nullptr ? "T2010" : error->code, std::string(MessageOf(status)),
                        std::string(HintOf(status)), type.at);
  }
  if (out.id() == duckdb::LogicalTypeId::UNBOUND || out.id() == duckdb::LogicalTypeId::INVALID)
    return MakeSqlError("T2010", "type does not exist: " + type.text, "", type.at);
  return out;
}

Status AdaptPrepare(duckdb::ClientContext& context, SessionState* state,
                    const std::vector<ParameterType>& types, size_t name_at,
                    const duckdb::PrepareStatement& prepare) {
  if (duckdb::ClientData::Get(context).prepared_statements.contains(prepare.name)) {
    return MakeSqlError("T2011", "prepared statement exists already: " + prepare.name,
                        fmt::format("DEALLOCATE {} first", prepare.name), name_at);
  }
  state->parameter_types.erase(prepare.name);
  if (types.empty()) return Status::OK();
  const size_t parameters = prepare.statement->named_param_map.size();
  if (types.size() > parameters) {
    return MakeSqlError(
        "T4007",
        fmt::format("more types than parameters: types={} parameters={}", types.size(), parameters),
        "", types[parameters].at);
  }
  auto& out = state->parameter_types[prepare.name];
  for (const ParameterType& type : types) {
    ARROW_ASSIGN_OR_RAISE(auto parsed, ParseType(context, type));
    out.push_back(std::move(parsed));
  }
  return Status::OK();
}

Status AdaptExecute(duckdb::ClientContext& context, SessionState* state, size_t name_at,
                    duckdb::ExecuteStatement* execute) {
  const auto& prepared = duckdb::ClientData::Get(context).prepared_statements;
  const auto of = prepared.find(execute->name);
  if (of == prepared.end()) return NoStatement(context, execute->name, name_at);
  const size_t expected = of->second->unbound_statement->named_param_map.size();
  if (execute->named_values.size() != expected) {
    return MakeSqlError("T4007", fmt::format("wrong number of parameters: expected={} given={}",
                                             expected, execute->named_values.size()));
  }
  // DuckDB asks SessionState::OnExecutePrepared only of the statements that the interface prepared.
  if (state->StrictModeChanged(context)) of->second->properties.always_require_rebind = true;
  const auto types = state->parameter_types.find(execute->name);
  if (types == state->parameter_types.end()) return Status::OK();
  for (size_t i = 0; i < types->second.size(); ++i) {
    const auto value = execute->named_values.find(std::to_string(i + 1));
    if (value == execute->named_values.end()) continue;
    value->second =
        duckdb::make_uniq<duckdb::CastExpression>(types->second[i], std::move(value->second));
  }
  return Status::OK();
}

}  // namespace

Result<std::vector<ParameterType>> TakeParameterTypes(std::string_view sql,
                                                      const StatementSpan& span,
                                                      std::string* statement) {
  std::vector<ParameterType> out;
  const auto& tokens = span.tokens;
  if (tokens.size() < 5 || !Is(tokens[0], sql, "PREPARE") || tokens[2].In(sql) != "(") return out;
  int depth = 1;
  size_t first = 3;
  size_t at = 3;
  for (; at < tokens.size() && depth > 0; ++at) {
    const std::string_view sign =
        tokens[at].kind == TokenKind::kSymbol ? tokens[at].In(sql) : std::string_view();
    if (sign == "(" || sign == "[") ++depth;
    if (sign == ")" || sign == "]") --depth;
    if (depth > 1 || (depth == 1 && sign != ",")) continue;
    if (first == at) {
      return WithExcerpt(MakeSqlError("T1001", fmt::format("a type is missing before \"{}\"", sign),
                                      "", tokens[at].begin),
                         sql);
    }
    out.push_back({std::string(TextOf(sql, tokens, first, at)), tokens[first].begin});
    first = at + 1;
  }
  // Otherwise DuckDB says what is wrong.
  if (depth > 0 || at == tokens.size() || !Is(tokens[at], sql, "AS"))
    return std::vector<ParameterType>();
  const size_t begin = tokens[2].begin - span.begin;
  const size_t end = tokens[at - 1].end - span.begin;
  std::fill(statement->begin() + static_cast<ptrdiff_t>(begin),
            statement->begin() + static_cast<ptrdiff_t>(end), ' ');
  return out;
}

std::string_view PreparedText(std::string_view sql, const StatementSpan& span) {
  const auto& tokens = span.tokens;
  if (!Is(tokens[0], sql, "PREPARE")) return {};
  for (size_t i = 2; i + 1 < tokens.size(); ++i)
    if (Is(tokens[i], sql, "AS"))
      return sql.substr(tokens[i + 1].begin, span.end - tokens[i + 1].begin);
  return {};
}

bool IsDeallocateAll(std::string_view sql, const StatementSpan& span) {
  const auto& tokens = span.tokens;
  if (tokens.size() < 2 || tokens.size() > 3 || !Is(tokens[0], sql, "DEALLOCATE")) return false;
  return Is(tokens.back(), sql, "ALL") && (tokens.size() == 2 || Is(tokens[1], sql, "PREPARE"));
}

void DeallocateAll(duckdb::ClientContext& context, SessionState* state) {
  duckdb::ClientData::Get(context).prepared_statements.clear();
  state->parameter_types.clear();
}

Status AdaptPrepared(duckdb::ClientContext& context, SessionState* state, std::string_view sql,
                     const StatementSpan& span, const std::vector<ParameterType>& types,
                     duckdb::SQLStatement* statement) {
  // Where the name stands: DEALLOCATE may have PREPARE before it.
  size_t at = 1;
  if (span.tokens.size() > 2 && Is(span.tokens[1], sql, "PREPARE")) at = 2;
  const size_t name_at = at < span.tokens.size() ? span.tokens[at].begin : span.begin;
  switch (statement->type) {
    case duckdb::StatementType::PREPARE_STATEMENT:
      return AdaptPrepare(context, state, types, name_at,
                          statement->Cast<duckdb::PrepareStatement>());
    case duckdb::StatementType::EXECUTE_STATEMENT:
      return AdaptExecute(context, state, name_at, &statement->Cast<duckdb::ExecuteStatement>());
    case duckdb::StatementType::DROP_STATEMENT: {
      const auto& info = *statement->Cast<duckdb::DropStatement>().info;
      if (info.type != duckdb::CatalogType::PREPARED_STATEMENT) return Status::OK();
      if (!duckdb::ClientData::Get(context).prepared_statements.contains(info.name))
        return NoStatement(context, info.name, name_at);
      state->parameter_types.erase(info.name);
      return Status::OK();
    }
    default:
      return Status::OK();
  }
}

}  // namespace lamina::sql
