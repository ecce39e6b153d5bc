#include "sql/suggest_index.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "base/scope_guard.h"
#include "catalog/schema.h"
#include "sql/error_translation.h"
#include "sql/lamina_catalog.h"
#include "sql/plan_query.h"
#include "sql/session_state.h"
#include "sql/statistics.h"
#include "sql/token_reader.h"

namespace lamina::sql {
namespace {

std::string Quoted(const std::string& name) {
  return duckdb::KeywordHelper::WriteOptionallyQuoted(name);
}

class Suggester {
 public:
  explicit Suggester(duckdb::ClientContext& context) : context_(context) {}

  /// False when there is nothing to suggest.
  bool Suggest(const IndexWishes::Wish& wish, IndexSuggestion* out) {
    LaminaTableEntry& table = *wish.table;
    const auto known = table.catalog.Cast<LaminaCatalog>().statistics().Find(table.table().id);
    const auto distinct = [&](const std::string& column) -> uint64_t {
      if (known == nullptr) return 0;
      const auto it = known->columns.find(column);
      return it == known->columns.end() ? 0 : it->second.distinct;
    };
    std::vector<std::string> fixed, bounded;
    for (const auto& column : table.GetColumns().Physical()) {
      const auto use = wish.uses.find(column.Name());
      if (use == wish.uses.end()) continue;
      const auto field = table.table().schema->GetFieldByName(column.Name());
      if (field == nullptr || !catalog::IsKeyType(*field->type())) continue;
      if (use->second.fixed) {
        fixed.push_back(column.Name());
      } else if (use->second.bounded) {
        bounded.push_back(column.Name());
      }
    }
    // The one that leaves the fewest rows first: it serves other queries, too.
    std::stable_sort(fixed.begin(), fixed.end(),
                     [&](const auto& x, const auto& y) { return distinct(x) > distinct(y); });
    std::vector<std::string> columns = fixed;
    if (!bounded.empty()) columns.push_back(bounded[0]);
    if (columns.empty()) return false;

    const size_t worth = WorthOf(columns, /*unique=*/false, wish.uses);
    if (WorthOf(table.table().key, !table.table().key.empty(), wish.uses) >= worth) return false;
    for (const IndexDefinition& index : table.dependents().indexes)
      if (WorthOf(index.columns, index.unique, wish.uses) >= worth) return false;

    const uint64_t rows = table.EstimateRows(context_);
    double left = static_cast<double>(rows);
    bool counted = !fixed.empty();
    for (const std::string& column : fixed) {
      counted = counted && distinct(column) > 0;
      left /= static_cast<double>(std::max<uint64_t>(distinct(column), 1));
    }
    // So many rows are read by a scan, whatever indexes there are.
    if (counted && bounded.empty() && left > static_cast<double>(MostByIndex(rows))) return false;

    out->schema = table.schema.name;
    out->table = table.name;
    out->columns = columns;
    std::vector<std::string> quoted;
    for (const std::string& column : columns) quoted.push_back(Quoted(column));
    out->statement =
        fmt::format("CREATE INDEX {} ON {}{} ({});", Quoted(FreeName(table, columns)),
                    table.schema.name == kMainSchema ? "" : Quoted(table.schema.name) + ".",
                    Quoted(table.name), fmt::join(quoted, ", "));
    out->reason = fixed.empty() ? "" : fmt::format("{} = constant", fmt::join(fixed, ", "));
    if (!bounded.empty()) {
      out->reason += fmt::format("{}{} within bounds", out->reason.empty() ? "" : "; ", bounded[0]);
    }
    out->reason +=
        counted
            ? fmt::format("; about {} of {} rows", std::max<uint64_t>(1, std::llround(left)), rows)
            : fmt::format("; of {} rows; ANALYZE {} counts how many", rows, Quoted(table.name));
    return true;
  }

 private:
  static std::string FreeName(const LaminaTableEntry& table,
                              const std::vector<std::string>& columns) {
    const std::string base = fmt::format("{}_{}_idx", table.name, fmt::join(columns, "_"));
    std::string out = base;
    const auto taken = [&] {
      const auto& indexes = table.dependents().indexes;
      return std::any_of(indexes.begin(), indexes.end(), [&](const auto& index) {
        return duckdb::StringUtil::CIEquals(index.name, out);
      });
    };
    for (int number = 2; taken(); ++number) out = fmt::format("{}_{}", base, number);
    return out;
  }

  duckdb::ClientContext& context_;
};

}  // namespace

void IndexWishes::Note(LaminaTableEntry& table, const duckdb::LogicalGet& get,
                       const duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>& filters) {
  Wish& wish = by_scan_[get.table_index];
  wish.table = &table;
  // The planner asks more than once, with more filters or with fewer.
  for (const auto& [column, use] : UsesOf(table, get, filters)) {
    ColumnUse& to = wish.uses[column];
    to.fixed |= use.fixed;
    to.bounded |= use.bounded;
  }
}

std::vector<IndexWishes::Wish> IndexWishes::Wishes() const {
  std::vector<Wish> out;
  for (const auto& [scan, wish] : by_scan_) out.push_back(wish);
  return out;
}

std::vector<IndexSuggestion> SuggestIndexes(duckdb::ClientContext& context,
                                            std::string_view query) {
  SessionState& session = SessionState::Get(context);
  // Where the query stands in the statement, if this is one.
  std::optional<size_t> at;
  if (const auto spans = SplitStatements(session.text); spans.size() == 1) {
    TokenReader reader(session.text, spans[0]);
    if (reader.Take({"SUGGEST", "INDEX", "FOR"})) {
      const auto quoted = reader.Quoted("a query");
      if (quoted.ok() && quoted->at != QuotedText::kNowhere) at = quoted->at;
    }
  }
  IndexWishes wishes;
  bool planned = false;
  {
    session.index_wishes = &wishes;
    const base::ScopeGuard end([&] { session.index_wishes = nullptr; });
    const auto plan = PlanQuery(context, query, at, &planned);
  }
  if (!planned) {
    Throw(MakeSqlError("T4007", "the planner needs values instead of parameters",
                       "SUGGEST INDEX FOR 'SELECT … WHERE a = 1'"));
  }
  std::vector<IndexSuggestion> out;
  std::set<std::string> said;
  for (const IndexWishes::Wish& wish : wishes.Wishes()) {
    IndexSuggestion suggestion;
    if (Suggester(context).Suggest(wish, &suggestion) && said.insert(suggestion.statement).second)
      out.push_back(std::move(suggestion));
  }
  return out;
}

Result<bool> TakeSuggestIndex(std::string_view sql, const StatementSpan& span,
                              std::string* statement) {
  TokenReader reader(sql, span);
  if (!reader.Take({"SUGGEST", "INDEX"})) return false;
  ARROW_RETURN_NOT_OK(reader.Expect("FOR"));
  const size_t from = reader.position();
  ARROW_RETURN_NOT_OK(reader.Quoted("a query").status());
  if (!reader.AtEnd()) return reader.Unexpected();
  *statement = fmt::format("FROM lamina_suggest_index({})", statement->substr(from - span.begin));
  return true;
}

}  // namespace lamina::sql
