#include "sql/plan_guide.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <functional>
#include <utility>
#include <vector>

#include <duckdb/optimizer/optimizer_extension.hpp>
#include <fmt/format.h>

#include "sql/dependents.h"
#include "sql/error_translation.h"
#include "sql/lamina_catalog.h"
#include "sql/plan_query.h"
#include "sql/scan.h"
#include "sql/session_state.h"
#include "sql/sql_database.h"
#include "sql/suggestion.h"
#include "sql/table_entry.h"
#include "sql/token_reader.h"
#include "sql/transaction.h"

namespace lamina::sql {
namespace {

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

/// What hints may call the table.
std::vector<std::string> NamesOf(const LaminaTableEntry& table) {
  return {Lower(table.name), Lower(table.schema.name + "." + table.name)};
}

// ---- Reading

constexpr char kHintsHint[] =
    "INDEX(name), NO_INDEX, NO_INDEX(name, …), FULL_SCAN(table, …), ROWS(table, number) and "
    "NO_LATE_COLUMNS are hints";

/// `at`: of the next thing that is read. T4010.
class HintReader {
 public:
  explicit HintReader(std::string_view text) : text_(text), tokens_(Tokenize(text).tokens) {}

  Result<PlanHints> Read() {
    PlanHints out;
    if (tokens_.empty()) return Refuse("there are no hints", 0);
    while (at_ < tokens_.size()) {
      ARROW_RETURN_NOT_OK(ReadOne(&out));
      if (Sign(",")) ++at_;
    }
    return out;
  }

 private:
  bool Sign(std::string_view sign) const {
    return at_ < tokens_.size() && tokens_[at_].In(text_) == sign;
  }
  size_t position() const { return at_ < tokens_.size() ? tokens_[at_].begin : text_.size(); }
  Status Refuse(std::string what, size_t at) const {
    return MakeSqlError("T4010", std::move(what), kHintsHint, at);
  }
  Status Unexpected() const {
    if (at_ == tokens_.size()) return Refuse("the hints end in the middle of one", text_.size());
    return Refuse(fmt::format("\"{}\" cannot stand in hints here", tokens_[at_].In(text_)),
                  position());
  }

  Result<std::string> Name() {
    if (at_ == tokens_.size() ||
        (tokens_[at_].kind != TokenKind::kWord && tokens_[at_].kind != TokenKind::kQuotedWord))
      return Unexpected();
    return Lower(NameOf(tokens_[at_++], text_));
  }
  Result<std::string> QualifiedName() {
    ARROW_ASSIGN_OR_RAISE(std::string out, Name());
    if (!Sign(".")) return out;
    ++at_;
    ARROW_ASSIGN_OR_RAISE(const std::string last, Name());
    return out + "." + last;
  }
  Status Expect(std::string_view sign) {
    if (!Sign(sign)) return Unexpected();
    ++at_;
    return Status::OK();
  }
  Status Names(std::set<std::string>* out) {
    ARROW_RETURN_NOT_OK(Expect("("));
    for (;;) {
      ARROW_ASSIGN_OR_RAISE(std::string name, QualifiedName());
      out->insert(std::move(name));
      if (Sign(")")) break;
      ARROW_RETURN_NOT_OK(Expect(","));
    }
    ++at_;
    return Status::OK();
  }

  Status ReadOne(PlanHints* out) {
    const size_t begin = position();
    ARROW_ASSIGN_OR_RAISE(const std::string hint, Name());
    if (hint == "index") return Names(&out->index);
    if (hint == "full_scan") return Names(&out->full_scan);
    if (hint == "no_late_columns") {
      out->no_late_columns = true;
      return Status::OK();
    }
    if (hint == "no_index") {
      if (Sign("(")) return Names(&out->no_index);
      out->no_indexes = true;
      return Status::OK();
    }
    if (hint != "rows") return Refuse("there is no such hint: " + hint, begin);
    ARROW_RETURN_NOT_OK(Expect("("));
    ARROW_ASSIGN_OR_RAISE(const std::string table, QualifiedName());
    ARROW_RETURN_NOT_OK(Expect(","));
    if (at_ == tokens_.size() || tokens_[at_].kind != TokenKind::kNumber) return Unexpected();
    const std::string_view number = tokens_[at_].In(text_);
    uint64_t rows = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), rows);
    if (error != std::errc() || end != number.data() + number.size()) return Unexpected();
    ++at_;
    out->rows[table] = rows;
    return Expect(")");
  }

  const std::string_view text_;
  const std::vector<Token> tokens_;
  size_t at_ = 0;
};

Result<PlanGuideStatement> ReadStatement(TokenReader& reader, PlanGuideStatement out) {
  const auto name = [&]() -> Status {
    out.name_at = reader.position();
    if (!reader.AtEnd() && reader.Next().kind == TokenKind::kString) {
      ARROW_ASSIGN_OR_RAISE(auto quoted, reader.Quoted("a name"));
      out.guide.name = std::move(quoted.text);
      return Status::OK();
    }
    return reader.Name().Value(&out.guide.name);
  };
  if (out.drops) {
    out.if_exists = reader.Take({"IF", "EXISTS"});
    ARROW_RETURN_NOT_OK(name());
    if (!reader.AtEnd()) return reader.Unexpected();
    return out;
  }
  out.if_not_exists = reader.Take({"IF", "NOT", "EXISTS"});
  ARROW_RETURN_NOT_OK(name());
  ARROW_RETURN_NOT_OK(reader.Expect("FOR"));
  ARROW_ASSIGN_OR_RAISE(const auto query, reader.Quoted("a query"));
  ARROW_RETURN_NOT_OK(reader.Expect("USING"));
  ARROW_ASSIGN_OR_RAISE(const auto hints, reader.Quoted("hints"));
  if (!reader.AtEnd()) return reader.Unexpected();
  out.guide.query = query.text;
  out.guide.hints = hints.text;
  if (query.at != QuotedText::kNowhere) out.query_at = query.at;
  auto parsed = HintReader(out.guide.hints).Read();
  if (!parsed.ok()) {
    const SqlError& error = *SqlErrorOf(parsed.status());
    std::optional<size_t> at;
    if (hints.at != QuotedText::kNowhere) at = hints.at + error.position.value_or(0);
    return MakeSqlError(error.code, std::string(MessageOf(parsed.status())), kHintsHint, at);
  }
  out.guide.parsed = *std::move(parsed);
  return out;
}

// ---- What hints name

void ForEachScan(duckdb::LogicalOperator& plan,
                 const std::function<void(duckdb::LogicalGet&, LaminaTableEntry&)>& visit) {
  if (plan.type == duckdb::LogicalOperatorType::LOGICAL_GET) {
    auto& get = plan.Cast<duckdb::LogicalGet>();
    if (LaminaTableEntry* table = ScannedTable(get); table != nullptr) visit(get, *table);
  }
  for (auto& child : plan.children) ForEachScan(*child, visit);
}

/// The first thing that hints name and the tables do not have.
Status CheckNames(const PlanHints& hints, const std::vector<const LaminaTableEntry*>& tables) {
  std::vector<std::string> names, indexes;
  for (const LaminaTableEntry* table : tables) {
    for (auto& name : NamesOf(*table)) names.push_back(std::move(name));
    for (const IndexDefinition& index : table->dependents().indexes)
      indexes.push_back(Lower(index.name));
  }
  const auto has = [](const std::vector<std::string>& all, const std::string& one) {
    return std::find(all.begin(), all.end(), one) != all.end();
  };
  for (const auto* list : {&hints.index, &hints.no_index}) {
    for (const std::string& name : *list) {
      if (has(indexes, name)) continue;
      return MakeSqlError("T2004", "no table of the query has such an index: " + name,
                          DidYouMean(name, indexes));
    }
  }
  std::vector<std::string> said(hints.full_scan.begin(), hints.full_scan.end());
  for (const auto& [name, rows] : hints.rows) said.push_back(name);
  for (const std::string& name : said) {
    if (has(names, name)) continue;
    return MakeSqlError("T2001", "the query reads no such table: " + name, DidYouMean(name, names));
  }
  return Status::OK();
}

/// Throws what is wrong with it, with places in its query moved by `at`.
void CheckGuide(duckdb::ClientContext& context, const PlanGuide& guide, std::optional<size_t> at) {
  const auto plan = PlanQuery(context, guide.query, at);
  std::vector<const LaminaTableEntry*> tables;
  ForEachScan(*plan,
              [&](duckdb::LogicalGet&, LaminaTableEntry& table) { tables.push_back(&table); });
  if (tables.empty()) {
    Throw(MakeSqlError(
        "T4009", "the query reads no table of the database: hints have nothing to act on", "", at));
  }
  ThrowIfError(CheckNames(guide.parsed, tables));
}

LaminaCatalog& Ours(duckdb::ClientContext& context) {
  return duckdb::Catalog::GetCatalog(context, kCatalogName).Cast<LaminaCatalog>();
}

const PlanGuides& GuidesOf(duckdb::ClientContext& context) {
  return LaminaTransaction::Get(context, Ours(context)).definitions().plan_guides();
}

const PlanGuide* Find(const PlanGuides& guides, const std::string& name) {
  const auto it = std::find_if(guides.begin(), guides.end(), [&](const auto& of) {
    return duckdb::StringUtil::CIEquals(of.second->name, name);
  });
  return it == guides.end() ? nullptr : it->second.get();
}

std::string KeyOf(const std::string& name) {
  return LaminaCatalog::ObjectKey("plan_guide", "", name);
}

void BeforeOptimizing(duckdb::OptimizerExtensionInput& input,
                      duckdb::unique_ptr<duckdb::LogicalOperator>& plan) {
  const auto session = SessionState::Find(input.context);
  if (session == nullptr || session->text.empty()) return;
  std::shared_ptr<const PlanGuide> guide;
  bool looked = false;
  ForEachScan(*plan, [&](duckdb::LogicalGet& get, LaminaTableEntry&) {
    // Only now there is a transaction of ours, and it costs nothing more to ask it.
    if (!looked) {
      looked = true;
      const PlanGuides& guides = GuidesOf(input.context);
      if (guides.empty()) return;
      const auto it = guides.find(NormalizedText(session->text));
      if (it != guides.end()) guide = it->second;
    }
    if (guide != nullptr) GuideScan(get, guide);
  });
}

}  // namespace

bool PlanHints::ScansWhole(const LaminaTableEntry& table) const {
  if (no_indexes) return true;
  const auto names = NamesOf(table);
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return full_scan.contains(name); });
}

std::optional<uint64_t> PlanHints::RowsOf(const LaminaTableEntry& table) const {
  for (const std::string& name : NamesOf(table)) {
    const auto it = rows.find(name);
    if (it != rows.end()) return it->second;
  }
  return {};
}

std::string NormalizedText(std::string_view statement) {
  const auto tokens = Tokenize(statement).tokens;
  size_t first = 0;
  if (!tokens.empty() && Is(tokens[0], statement, "EXPLAIN")) {
    ++first;
    if (first < tokens.size() && Is(tokens[first], statement, "ANALYZE")) ++first;
    if (first < tokens.size() && tokens[first].In(statement) == "(") {
      while (first < tokens.size() && tokens[first].In(statement) != ")") ++first;
      ++first;
    }
  }
  std::string out;
  for (size_t i = first; i < tokens.size(); ++i) {
    if (tokens[i].kind == TokenKind::kSemicolon) break;
    if (!out.empty()) out += ' ';
    switch (tokens[i].kind) {
      case TokenKind::kString:
      case TokenKind::kNumber:
      case TokenKind::kParameter:
        out += '?';
        break;
      case TokenKind::kWord:
        out += Lower(tokens[i].In(statement));
        break;
      default:
        out += tokens[i].In(statement);
    }
  }
  return out;
}

Result<std::optional<PlanGuideStatement>> ParsePlanGuideStatement(std::string_view text,
                                                                  const StatementSpan& span) {
  TokenReader reader(text, span);
  PlanGuideStatement out;
  if (reader.Take({"DROP", "PLAN", "GUIDE"})) {
    out.drops = true;
  } else if (reader.Take({"CREATE", "OR", "REPLACE", "PLAN", "GUIDE"})) {
    out.or_replace = true;
  } else if (!reader.Take({"CREATE", "PLAN", "GUIDE"})) {
    return std::nullopt;
  }
  ARROW_ASSIGN_OR_RAISE(out, ReadStatement(reader, std::move(out)));
  return out;
}

bool IsShowPlanGuides(std::string_view text, const StatementSpan& span) {
  TokenReader reader(text, span);
  return reader.Take({"SHOW", "PLAN", "GUIDES"}) && reader.AtEnd();
}

void CreatePlanGuide(duckdb::ClientContext& context, const PlanGuideStatement& statement) {
  const PlanGuide& guide = statement.guide;
  const PlanGuides& guides = GuidesOf(context);
  const PlanGuide* there = Find(guides, guide.name);
  if (there != nullptr) {
    if (statement.if_not_exists) return;
    if (!statement.or_replace) {
      Throw(MakeSqlError("T2011", "plan guide exists already: " + there->name,
                         "CREATE OR REPLACE puts the new one in its place", statement.name_at));
    }
  }
  CheckGuide(context, guide, statement.query_at);
  const auto same = guides.find(NormalizedText(guide.query));
  if (same != guides.end() && same->second.get() != there) {
    Throw(MakeSqlError("T2011", "another plan guide is for this query: " + same->second->name,
                       "one query has one guide, which may have several hints"));
  }
  if (there != nullptr) Ours(context).DeleteObject(context, KeyOf(there->name));
  const auto now = duckdb::MetaTransaction::Get(context).start_timestamp;
  Ours(context).PutObject(context, KeyOf(guide.name),
                          {{"name", guide.name},
                           {"query", guide.query},
                           {"hints", guide.hints},
                           {"created", duckdb::Timestamp::ToString(now) + "+00"}});
}

void DropPlanGuide(duckdb::ClientContext& context, const PlanGuideStatement& statement) {
  const PlanGuides& guides = GuidesOf(context);
  const PlanGuide* there = Find(guides, statement.guide.name);
  if (there != nullptr) return Ours(context).DeleteObject(context, KeyOf(there->name));
  if (statement.if_exists) return;
  std::vector<std::string> known;
  for (const auto& [text, guide] : guides) known.push_back(guide->name);
  Throw(MakeSqlError("T2010", "plan guide does not exist: " + statement.guide.name,
                     DidYouMean(statement.guide.name, known), statement.name_at));
}

PlanGuide ReadPlanGuide(const nlohmann::json& row) {
  PlanGuide out;
  out.name = row.at("name");
  out.query = row.at("query");
  out.hints = row.at("hints");
  out.created = row.at("created");
  out.parsed = ValueOrThrow(HintReader(out.hints).Read());
  return out;
}

std::string ToSql(const PlanGuide& guide) {
  const auto quoted = [](const std::string& text) {
    return "'" + duckdb::StringUtil::Replace(text, "'", "''") + "'";
  };
  return fmt::format("CREATE PLAN GUIDE {} FOR {} USING {};", quoted(guide.name),
                     quoted(guide.query), quoted(guide.hints));
}

std::string WhyIdle(duckdb::ClientContext& context, const PlanGuide& guide) {
  const Status status = AtDuckDBBorder("", 0, [&]() -> Status {
    CheckGuide(context, guide, {});
    return Status::OK();
  });
  return status.ok() ? "" : std::string(MessageOf(status));
}

void RegisterPlanGuides(duckdb::DBConfig& config) {
  duckdb::OptimizerExtension extension;
  extension.pre_optimize_function = BeforeOptimizing;
  duckdb::OptimizerExtension::Register(config, std::move(extension));
}

}  // namespace lamina::sql
