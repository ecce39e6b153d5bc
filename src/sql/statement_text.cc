#include "sql/statement_text.h"

#include <utility>

#include <duckdb/catalog/catalog_search_path.hpp>
#include <duckdb/parser/parsed_data/alter_info.hpp>
#include <duckdb/parser/statement/alter_statement.hpp>
#include <duckdb/parser/statement/create_statement.hpp>
#include <duckdb/parser/statement/execute_statement.hpp>
#include <duckdb/parser/statement/explain_statement.hpp>
#include <duckdb/parser/statement/prepare_statement.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/identity.h"
#include "sql/plan_guide.h"
#include "sql/settings.h"
#include "sql/strict_mode.h"
#include "sql/suggest_index.h"

namespace lamina::sql {

// DuckDB would take a NUL for the text's end, and bytes that are not UTF-8 for letters.
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

// The binder's work and memory grow with the square of a chain of UNION.
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

Result<StatementText> StatementText::Take(duckdb::ClientContext& context, std::string_view sql,
                                          const StatementSpan& span) {
  const auto take = [&]() -> Result<StatementText> {
    StatementText out;
    // From its first word on: what stands before may be a byte order mark.
    std::string& text = out.text_;
    text = sql.substr(span.begin, span.end - span.begin);
    out.said_ = sql.substr(span.begin, span.end - span.begin);
    if (auto query = ShowSetting(context, sql, span)) {
      text = *std::move(query);
      return out;
    }
    if (IsShowPlanGuides(sql, span)) {
      text = "SELECT name, query, hints, state, created FROM lamina_plan_guides() ORDER BY name";
      return out;
    }
    ARROW_ASSIGN_OR_RAISE(const bool suggests, TakeSuggestIndex(sql, span, &text));
    if (suggests) return out;
    out.prepares_ = PreparedText(sql, span);
    ARROW_ASSIGN_OR_RAISE(out.period_, TakePeriodClause(sql, span, &text));
    out.actions_ = TakeReferenceActions(span.tokens, span.begin, &text);
    ARROW_ASSIGN_OR_RAISE(out.clauses_, TakeColumnClauses(span, &text));
    ARROW_ASSIGN_OR_RAISE(out.view_, TakeViewStatement(sql, span, &text));
    ARROW_ASSIGN_OR_RAISE(out.overriding_, TakeOverriding(span, &text));
    ARROW_ASSIGN_OR_RAISE(out.types_, TakeParameterTypes(sql, span, &text));
    out.names_ = TakeConstraintNames(span.tokens, span.begin, text);
    out.constraint_ = TakeConstraintChange(span, &text);
    ARROW_ASSIGN_OR_RAISE(out.times_, TimeClauses::Take(sql, span, &text));
    out.periods_ = TakePeriodPredicates(sql, span, &text);
    // Last, as it moves what follows.
    if (!out.constraint_) out.brackets_ = BindJsonArrows(span, &text);
    out.alters_ = Is(span.tokens[0], sql, "ALTER");
    return out;
  };
  auto out = take();
  if (!out.ok()) return WithExcerpt(out.status(), sql);
  return out;
}

Status StatementText::Put(duckdb::ClientContext& context, std::string_view sql,
                          const StatementSpan& span, bool prepared,
                          duckdb::unique_ptr<duckdb::SQLStatement>* statement) const {
  const auto put = [&]() -> Status {
    // First, while its parts lie where they were parsed.
    ARROW_RETURN_NOT_OK(times_.Put(context, sql, span, brackets_, statement->get()));
    if (periods_) PutPeriodPredicates(**statement);
    ARROW_RETURN_NOT_OK(PutPeriodClause(period_, **statement));
    ARROW_RETURN_NOT_OK(PutReferenceActions(actions_, **statement));
    ARROW_RETURN_NOT_OK(PutViewStatement(context, view_, statement));
    ARROW_RETURN_NOT_OK(PutConstraintNames(names_, **statement));
    if (constraint_) ARROW_RETURN_NOT_OK(PutConstraintChange(context, *constraint_, **statement));
    ARROW_RETURN_NOT_OK(CheckIdentity(context, **statement, overriding_));
    ARROW_RETURN_NOT_OK(AdaptSettings(context, statement));
    if (prepared || (*statement)->type == duckdb::StatementType::PREPARE_STATEMENT ||
        IsStrict(context))
      MarkMeantConversions(**statement);
    return AdaptPrepared(context, &SessionState::Get(context), sql, span, types_, statement->get());
  };
  return WithExcerpt(put(), sql);
}

Status StatementText::Announce(duckdb::ClientContext& context,
                               const duckdb::SQLStatement& statement) const {
  SessionState& state = SessionState::Get(context);
  state.column_clauses = clauses_;
  state.text = said_;
  if (statement.type == duckdb::StatementType::PREPARE_STATEMENT)
    state.prepared_texts[statement.Cast<duckdb::PrepareStatement>().name] = prepares_;
  const duckdb::SQLStatement* runs = &statement;
  if (runs->type == duckdb::StatementType::EXPLAIN_STATEMENT)
    runs = runs->Cast<duckdb::ExplainStatement>().stmt.get();
  if (runs->type == duckdb::StatementType::EXECUTE_STATEMENT) {
    const auto it = state.prepared_texts.find(runs->Cast<duckdb::ExecuteStatement>().name);
    if (it != state.prepared_texts.end()) state.text = it->second;
  }
  state.view_statement = view_.kind;
  state.alters = alters_;
  state.exports = statement.type == duckdb::StatementType::EXPORT_STATEMENT;
  if (clauses_.empty()) return Status::OK();
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
  state.column_clauses.clear();
  return MakeSqlError("T4009",
                      "SERIAL, identity columns and NOT NULL in ADD COLUMN are for the tables of "
                      "the database, not for DuckDB's");
}

}  // namespace lamina::sql
