#include "sql/trigger.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sql/error_translation.h"
#include "sql/lamina_catalog.h"
#include "sql/schema_entry.h"
#include "sql/sql_database.h"
#include "sql/suggestion.h"
#include "sql/table_entry.h"
#include "sql/token_reader.h"
#include "sql/transaction.h"
#include "sql/trigger_body.h"
#include "sql/trigger_runner.h"

namespace lamina::sql {
namespace {

constexpr size_t kNowhere = std::string_view::npos;

class TriggerParser {
 public:
  TriggerParser(std::string_view text, const StatementSpan& span)
      : text_(text), span_(span), reader_(text, span) {}

  Result<std::optional<TriggerStatement>> Run() {
    if (reader_.Take({"DROP", "TRIGGER"})) {
      ARROW_RETURN_NOT_OK(CheckClosed());
      ARROW_RETURN_NOT_OK(Drop());
      return out_;
    }
    if (!reader_.Take("CREATE")) return std::nullopt;
    out_.or_replace = reader_.Take({"OR", "REPLACE"});
    const size_t at = reader_.position();
    const bool temporary = reader_.Take("TEMP") || reader_.Take("TEMPORARY");
    if (!reader_.Take("TRIGGER")) return std::nullopt;
    ARROW_RETURN_NOT_OK(CheckClosed());
    if (temporary)
      return MakeSqlError("T4009", "triggers are of the database, not temporary", "", at);
    ARROW_RETURN_NOT_OK(Create());
    return out_;
  }

 private:
  Status CheckClosed() const {
    const size_t open_at = Tokenize(text_).open_at;
    if (open_at == std::string_view::npos || open_at < span_.begin) return Status::OK();
    return MakeSqlError("T1003", "a string, quoted name or comment has no end",
                        "it begins at the place shown", open_at);
  }

  Status Drop() {
    out_.drops = true;
    out_.if_exists = reader_.Take({"IF", "EXISTS"});
    out_.name_at = reader_.position();
    ARROW_ASSIGN_OR_RAISE(out_.definition.name, reader_.Name());
    if (reader_.Take("ON")) ARROW_RETURN_NOT_OK(Table());
    (void)(reader_.Take("CASCADE") || reader_.Take("RESTRICT"));  // nothing depends on a trigger
    return reader_.AtEnd() ? Status::OK() : reader_.Unexpected();
  }

  Status Create() {
    TriggerDefinition& trigger = out_.definition;
    out_.if_not_exists = reader_.Take({"IF", "NOT", "EXISTS"});
    out_.name_at = reader_.position();
    ARROW_ASSIGN_OR_RAISE(trigger.name, reader_.Name());
    if (reader_.Peek("BEFORE") || reader_.Peek("INSTEAD")) {
      return Unsupported("triggers run AFTER the change",
                         "an error in one takes the change back; CHECK and DEFAULT come before it");
    }
    if (!reader_.Take("AFTER")) return reader_.Unexpected("AFTER is expected here");
    do {
      ARROW_RETURN_NOT_OK(Event());
    } while (reader_.Take("OR"));
    ARROW_RETURN_NOT_OK(reader_.Expect("ON"));
    ARROW_RETURN_NOT_OK(Table());
    if (reader_.Take("REFERENCING")) ARROW_RETURN_NOT_OK(References());
    if (!reader_.Take("FOR"))
      return reader_.Unexpected("FOR EACH ROW or FOR EACH STATEMENT is expected here");
    (void)reader_.Take("EACH");
    trigger.each_row = reader_.Take("ROW");
    if (!trigger.each_row) ARROW_RETURN_NOT_OK(reader_.Expect("STATEMENT"));
    if (trigger.each_row && references_at_ != kNowhere) {
      return MakeSqlError("T4009", "REFERENCING is for triggers FOR EACH STATEMENT",
                          "a row's are NEW and OLD", references_at_);
    }
    if (reader_.Take("WHEN")) ARROW_RETURN_NOT_OK(When());
    if (reader_.Take("BEGIN")) return Block();
    if (!reader_.Take("EXECUTE")) return reader_.Unexpected("EXECUTE 'statement' or BEGIN … END");
    if (reader_.Peek("FUNCTION") || reader_.Peek("PROCEDURE"))
      return Unsupported("there are no trigger functions", "EXECUTE 'statement' or BEGIN … END");
    return Execute();
  }

  Status Unsupported(std::string what, std::string hint) const {
    return MakeSqlError("T4009", std::move(what), std::move(hint), reader_.position());
  }

  Status Event() {
    TriggerDefinition& trigger = out_.definition;
    const size_t at = reader_.position();
    bool* of = nullptr;
    if (reader_.Take("INSERT")) {
      of = &trigger.on_insert;
    } else if (reader_.Take("UPDATE")) {
      of = &trigger.on_update;
    } else if (reader_.Take("DELETE")) {
      of = &trigger.on_delete;
    } else if (reader_.Peek("TRUNCATE")) {
      return Unsupported("TRUNCATE has no triggers of its own",
                         "it deletes all rows: AFTER DELETE sees them");
    } else {
      return reader_.Unexpected("INSERT, UPDATE or DELETE is expected here");
    }
    if (*of) return MakeSqlError("T2015", "a trigger names an event twice", "", at);
    *of = true;
    if (of != &trigger.on_update || !reader_.Take("OF")) return Status::OK();
    do {
      out_.columns_at.push_back(reader_.position());
      ARROW_ASSIGN_OR_RAISE(std::string column, reader_.Name());
      trigger.columns.push_back(std::move(column));
    } while (reader_.TakeSign(','));
    return Status::OK();
  }

  Status Table() {
    out_.table_at = reader_.position();
    std::vector<std::string> parts;
    do {
      ARROW_ASSIGN_OR_RAISE(std::string part, reader_.Name());
      parts.push_back(std::move(part));
    } while (parts.size() < 3 && reader_.TakeSign('.'));
    out_.table = parts.back();
    if (parts.size() > 1) out_.schema = parts[parts.size() - 2];
    if (parts.size() > 2) out_.catalog = parts[0];
    return Status::OK();
  }

  Status References() {
    TriggerDefinition& trigger = out_.definition;
    references_at_ = reader_.position();
    while (reader_.Peek("NEW") || reader_.Peek("OLD")) {
      const size_t at = reader_.position();
      const bool fresh = reader_.Take("NEW");
      if (!fresh) (void)reader_.Take("OLD");
      if (!reader_.Take("TABLE")) {
        return Unsupported("a row cannot be given another name", "they are NEW and OLD");
      }
      (void)reader_.Take("AS");
      std::string& name = fresh ? trigger.new_table : trigger.old_table;
      if (!name.empty()) return MakeSqlError("T2015", "a trigger names its rows twice", "", at);
      ARROW_ASSIGN_OR_RAISE(name, reader_.Name());
      const bool there =
          fresh ? trigger.on_insert || trigger.on_update : trigger.on_update || trigger.on_delete;
      if (!there) {
        return MakeSqlError("T2015",
                            fmt::format("there are no {} rows when rows are {}",
                                        fresh ? "NEW" : "OLD", fresh ? "deleted" : "inserted"),
                            "", at);
      }
    }
    if (trigger.new_table.empty() && trigger.old_table.empty())
      return reader_.Unexpected("NEW TABLE AS name or OLD TABLE AS name");
    if (trigger.new_table == trigger.old_table)
      return MakeSqlError("T2015", "a trigger gives two things one name", "", references_at_);
    return Status::OK();
  }

  /// What stands in the brackets.
  Status When() {
    ARROW_RETURN_NOT_OK(reader_.ExpectSign('('));
    out_.when_at = reader_.position();
    const size_t first = reader_.at();
    int depth = 1;
    while (!reader_.AtEnd()) {
      if (reader_.PeekSign('(')) ++depth;
      if (reader_.PeekSign(')') && --depth == 0) break;
      reader_.GoTo(reader_.at() + 1);
    }
    if (reader_.AtEnd() || reader_.at() == first) return reader_.Unexpected();
    out_.definition.when = Between(first, reader_.at());
    return reader_.ExpectSign(')');
  }

  /// BEGIN was read; the span ends behind END.
  Status Block() {
    const size_t count = span_.tokens.size();
    const size_t begin = reader_.at();
    if (count == 0 || !Is(span_.tokens[count - 1], text_, "END")) {
      reader_.GoTo(count);
      return reader_.Unexpected("END is expected here");
    }
    size_t first = begin;
    for (size_t i = begin; i < count; ++i) {
      const bool last = i + 1 == count;
      if (!last && span_.tokens[i].kind != TokenKind::kSemicolon) continue;
      if (i > first) {
        out_.definition.statements.push_back(Between(first, i));
        out_.statements_at.push_back(span_.tokens[first].begin);
      }
      first = i + 1;
    }
    if (out_.definition.statements.empty()) {
      reader_.GoTo(count - 1);
      return reader_.Unexpected("a trigger runs at least one statement");
    }
    return Status::OK();
  }

  /// The text of the tokens [from, to), without what stands around it.
  std::string Between(size_t from, size_t to) const {
    const size_t begin = span_.tokens[from].begin;
    return std::string(text_.substr(begin, span_.tokens[to - 1].end - begin));
  }

  Status Execute() {
    const size_t begin = reader_.position();
    ARROW_ASSIGN_OR_RAISE(const QuotedText body, reader_.Quoted("a statement"));
    if (!reader_.AtEnd()) return reader_.Unexpected();
    for (const StatementSpan& statement : SplitStatements(body.text)) {
      out_.definition.statements.push_back(
          body.text.substr(statement.begin, statement.tokens.back().end - statement.begin));
      out_.statements_at.push_back(body.at == kNowhere ? kNowhere : body.at + statement.begin);
    }
    if (!out_.definition.statements.empty()) return Status::OK();
    return MakeSqlError("T1001", "a trigger runs at least one statement", "", begin);
  }

  const std::string_view text_;
  const StatementSpan& span_;
  TokenReader reader_;
  size_t references_at_ = kNowhere;
  TriggerStatement out_;
};

LaminaCatalog& Ours(duckdb::ClientContext& context) {
  return duckdb::Catalog::GetCatalog(context, kCatalogName).Cast<LaminaCatalog>();
}

nlohmann::json ToJson(const TriggerDefinition& trigger, uint64_t table) {
  nlohmann::json out = {{"table", table},
                        {"name", trigger.name},
                        {"events", nlohmann::json::array()},
                        {"each", trigger.each_row ? "row" : "statement"},
                        {"statements", trigger.statements}};
  if (trigger.on_insert) out["events"].push_back("insert");
  if (trigger.on_update) out["events"].push_back("update");
  if (trigger.on_delete) out["events"].push_back("delete");
  if (!trigger.columns.empty()) out["columns"] = trigger.columns;
  if (!trigger.old_table.empty()) out["old_table"] = trigger.old_table;
  if (!trigger.new_table.empty()) out["new_table"] = trigger.new_table;
  if (!trigger.when.empty()) out["when"] = trigger.when;
  return out;
}

void Put(duckdb::ClientContext& context, LaminaCatalog& catalog, const LaminaTableEntry& table,
         const TriggerDefinition& trigger) {
  catalog.PutObject(context, trigger.object, ToJson(trigger, table.table().id));
}

/// The table that the statement names. Throws.
LaminaTableEntry& FindTable(duckdb::ClientContext& context, const TriggerStatement& statement) {
  std::string catalog = statement.catalog;
  std::string schema = statement.schema;
  duckdb::Binder::BindSchemaOrCatalog(context, catalog, schema);
  auto entry = duckdb::Catalog::GetEntry(context, catalog, schema,
                                         {duckdb::CatalogType::TABLE_ENTRY, statement.table},
                                         duckdb::OnEntryNotFound::RETURN_NULL);
  const auto fail = [&](const char* code, const std::string& what, std::string hint) {
    Throw(MakeSqlError(code, what, std::move(hint), statement.table_at));
  };
  if (entry == nullptr) {
    std::vector<std::string> known;
    for (auto& [name, of] :
         LaminaTransaction::Get(context, Ours(context)).definitions().schemas()) {
      of->Scan(duckdb::CatalogType::TABLE_ENTRY,
               [&](duckdb::CatalogEntry& table) { known.push_back(table.name); });
    }
    fail("T2001", "table does not exist: " + statement.table, DidYouMean(statement.table, known));
  }
  auto* table = dynamic_cast<LaminaTableEntry*>(entry.get());
  if (table == nullptr && entry->type == duckdb::CatalogType::TABLE_ENTRY)
    fail("T4009", "triggers are for the tables of the database, not for DuckDB's", "");
  if (table == nullptr || table->dependents().view.has_value())
    fail("T2018", "triggers are for tables, not for views: " + entry->name, "");
  return *table;
}

const TriggerDefinition* FindOf(const LaminaTableEntry& table, const std::string& name) {
  for (const TriggerDefinition& trigger : table.dependents().triggers) {
    if (duckdb::StringUtil::CIEquals(trigger.name, name)) return &trigger;
  }
  return nullptr;
}

}  // namespace

Result<std::optional<TriggerStatement>> ParseTriggerStatement(std::string_view text,
                                                              const StatementSpan& span) {
  return TriggerParser(text, span).Run();
}

void CreateTrigger(duckdb::ClientContext& context, const TriggerStatement& statement) {
  LaminaTableEntry& table = FindTable(context, statement);
  LaminaCatalog& catalog = Ours(context);
  TriggerDefinition trigger = statement.definition;
  if (const TriggerDefinition* there = FindOf(table, trigger.name); there != nullptr) {
    if (statement.if_not_exists) return;
    if (!statement.or_replace) {
      Throw(MakeSqlError(
          "T2011", fmt::format("trigger exists already: {} table={}", there->name, table.name),
          "CREATE OR REPLACE puts the new one in its place", statement.name_at));
    }
    trigger.object = there->object;
  }
  for (size_t i = 0; i < trigger.columns.size(); ++i) {
    std::string& column = trigger.columns[i];
    if (!table.ColumnExists(column)) {
      Throw(MakeSqlError(
          "T2002", fmt::format("column does not exist: table={} column={}", table.name, column),
          DidYouMean(column, table.GetColumns().GetColumnNames()), statement.columns_at[i]));
    }
    column = table.GetColumn(column).Name();
  }
  CheckTrigger(context, table, statement);
  if (trigger.object.empty()) {
    for (int number = 1;; ++number) {
      trigger.object = LaminaCatalog::ObjectKey("trigger", table.schema.name,
                                                fmt::format("{}_{:04}", table.table().id, number));
      const auto& others = table.dependents().triggers;
      if (std::none_of(others.begin(), others.end(),
                       [&](const auto& other) { return other.object == trigger.object; }))
        break;
    }
  }
  const std::string stored = table.table().name;
  Put(context, catalog, table, trigger);
  // Who writes rows of it must know of the trigger.
  MarkTable(LaminaTransaction::Get(context, catalog), stored);
}

void DropTrigger(duckdb::ClientContext& context, const TriggerStatement& statement) {
  const std::string& name = statement.definition.name;
  LaminaCatalog& catalog = Ours(context);
  auto& transaction = LaminaTransaction::Get(context, catalog);
  std::vector<const LaminaTableEntry*> found;
  std::vector<std::string> known;
  const auto look = [&](duckdb::CatalogEntry& entry) {
    const auto* table = dynamic_cast<const LaminaTableEntry*>(&entry);
    if (table == nullptr) return;
    for (const TriggerDefinition& trigger : table->dependents().triggers)
      known.push_back(trigger.name);
    if (FindOf(*table, name) != nullptr) found.push_back(table);
  };
  if (!statement.table.empty()) {
    std::string in_catalog = statement.catalog;
    std::string schema = statement.schema;
    duckdb::Binder::BindSchemaOrCatalog(context, in_catalog, schema);
    auto entry = duckdb::Catalog::GetEntry(context, in_catalog, schema,
                                           {duckdb::CatalogType::TABLE_ENTRY, statement.table},
                                           duckdb::OnEntryNotFound::RETURN_NULL);
    if (entry == nullptr && !statement.if_exists) {
      Throw(MakeSqlError("T2001", "table does not exist: " + statement.table, "",
                         statement.table_at));
    }
    if (entry != nullptr) look(*entry);
  } else {
    for (auto& [schema, entry] : transaction.definitions().schemas())
      entry->Scan(duckdb::CatalogType::TABLE_ENTRY, look);
  }
  if (found.empty()) {
    if (statement.if_exists) return;
    Throw(MakeSqlError("T2010", "trigger does not exist: " + name, DidYouMean(name, known),
                       statement.name_at));
  }
  if (found.size() > 1) {
    Throw(MakeSqlError("T2016", "several tables have a trigger of this name: " + name,
                       fmt::format("DROP TRIGGER {} ON {}", name, found[0]->name),
                       statement.name_at));
  }
  const std::string stored = found[0]->table().name;
  catalog.DeleteObject(context, std::string(FindOf(*found[0], name)->object));
  MarkTable(transaction, stored);
}

TriggerDefinition ReadTrigger(const std::string& key, const nlohmann::json& row) {
  TriggerDefinition out;
  out.object = key;
  out.name = row.at("name");
  for (const std::string event : row.at("events")) {
    if (event == "insert") {
      out.on_insert = true;
    } else if (event == "update") {
      out.on_update = true;
    } else if (event == "delete") {
      out.on_delete = true;
    } else {
      Throw(MakeSqlError("T4009", "the catalogue holds an unknown event of a trigger: " + event,
                         "the database was written by a newer LaminaDB"));
    }
  }
  out.each_row = row.at("each") == "row";
  out.statements = row.at("statements").get<std::vector<std::string>>();
  if (row.contains("columns")) out.columns = row.at("columns").get<std::vector<std::string>>();
  out.old_table = row.value("old_table", "");
  out.new_table = row.value("new_table", "");
  out.when = row.value("when", "");
  return out;
}

std::string ToSql(const TriggerDefinition& trigger, const LaminaTableEntry& table) {
  const auto name = [](const std::string& of) {
    return duckdb::KeywordHelper::WriteOptionallyQuoted(of);
  };
  std::vector<std::string> events;
  if (trigger.on_insert) events.emplace_back("INSERT");
  if (trigger.on_update) {
    std::vector<std::string> columns;
    for (const std::string& column : trigger.columns) columns.push_back(name(column));
    events.push_back(columns.empty() ? "UPDATE"
                                     : fmt::format("UPDATE OF {}", fmt::join(columns, ", ")));
  }
  if (trigger.on_delete) events.emplace_back("DELETE");
  std::string out = fmt::format(
      "CREATE TRIGGER {} AFTER {} ON {}{}", name(trigger.name), fmt::join(events, " OR "),
      table.schema.name == kMainSchema ? "" : name(table.schema.name) + ".", name(table.name));
  if (!trigger.old_table.empty() || !trigger.new_table.empty()) out += " REFERENCING";
  if (!trigger.old_table.empty()) out += " OLD TABLE AS " + name(trigger.old_table);
  if (!trigger.new_table.empty()) out += " NEW TABLE AS " + name(trigger.new_table);
  out += trigger.each_row ? " FOR EACH ROW" : " FOR EACH STATEMENT";
  if (!trigger.when.empty()) out += fmt::format(" WHEN ({})", trigger.when);
  return fmt::format("{} BEGIN {}; END;", out, fmt::join(trigger.statements, "; "));
}

void RenameColumnInTriggers(duckdb::ClientContext& context, LaminaCatalog& catalog,
                            const LaminaTableEntry& table, const std::string& from,
                            const std::string& to) {
  const std::vector<TriggerDefinition> triggers = table.dependents().triggers;
  for (TriggerDefinition trigger : triggers) {
    for (std::string& column : trigger.columns) {
      if (duckdb::StringUtil::CIEquals(column, from)) column = to;
    }
    trigger.when = RenameInText(trigger.when, from, to);
    for (std::string& statement : trigger.statements) statement = RenameInText(statement, from, to);
    Put(context, catalog, table, trigger);
  }
}

void DropTriggersOfColumn(duckdb::ClientContext& context, LaminaCatalog& catalog,
                          const LaminaTableEntry& table, const std::string& column, bool cascade) {
  const std::vector<TriggerDefinition> triggers = table.dependents().triggers;
  const std::string stored = table.table().name;
  bool dropped = false;
  for (const TriggerDefinition& trigger : triggers) {
    const auto names = [&](const std::string& text) {
      return RenameInText(text, column, column + "_") != text;
    };
    const bool needs =
        std::any_of(trigger.columns.begin(), trigger.columns.end(),
                    [&](const auto& of) { return duckdb::StringUtil::CIEquals(of, column); }) ||
        names(trigger.when) ||
        std::any_of(trigger.statements.begin(), trigger.statements.end(), names);
    if (!needs) continue;
    if (!cascade) {
      Throw(MakeSqlError("T2013",
                         fmt::format("the trigger {} needs this column: table={} column={}",
                                     trigger.name, table.name, column),
                         "DROP COLUMN … CASCADE drops it too"));
    }
    catalog.DeleteObject(context, trigger.object);
    dropped = true;
  }
  if (dropped) MarkTable(LaminaTransaction::Get(context, catalog), stored);
}

}  // namespace lamina::sql
