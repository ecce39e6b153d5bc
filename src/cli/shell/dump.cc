// SQL that makes a database again: definitions first, in an order in which each finds what it
// names, then the rows, then what would get in their way (indexes, triggers) or reads them (views).
#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

#include "cli/shell/shell.h"
#include "cli/terminal.h"
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lamina::cli {
namespace {

std::string QuotedText(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    out += c;
    if (c == '\'') out += c;
  }
  return out + "'";
}

constexpr char kHere[] = "database_name = current_database() AND NOT internal";

std::string Statement(std::string sql) {
  while (!sql.empty() && (sql.back() == ';' || sql.back() == '\n' || sql.back() == ' '))
    sql.pop_back();
  return sql + ";";
}

/// Whether the name stands in the statement as a word of its own.
bool Mentions(const std::string& sql, const std::string& name) {
  const auto lower = [](std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
  };
  const auto in_word = [&](size_t at) {
    return at < sql.size() && (std::isalnum(static_cast<unsigned char>(sql[at])) || sql[at] == '_');
  };
  const std::string text = lower(sql);
  const std::string word = lower(name);
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    if ((at == 0 || !in_word(at - 1)) && !in_word(at + word.size())) return true;
  }
  return false;
}

struct DumpTable {
  std::string schema, name, sql;
  std::set<std::string> needs;  // names of tables that its foreign keys are for
};

/// Tables after those that they refer to; a circle stays in the order that it had.
std::vector<DumpTable> InOrder(std::vector<DumpTable> tables) {
  std::vector<DumpTable> out;
  std::set<std::string> done;
  while (!tables.empty()) {
    auto next = std::find_if(tables.begin(), tables.end(), [&](const DumpTable& table) {
      return std::all_of(table.needs.begin(), table.needs.end(), [&](const std::string& need) {
        return done.contains(need) || need == table.name;
      });
    });
    if (next == tables.end()) next = tables.begin();
    done.insert(next->name);
    out.push_back(std::move(*next));
    tables.erase(next);
  }
  return out;
}

}  // namespace

Result<Shell::Definitions> Shell::ReadDefinitions(const std::string& pattern) {
  Definitions out;
  const bool all = pattern == "%";
  const auto add = [&](std::vector<std::string>* to, const std::string& sql,
                       const SqlParameters& parameters) -> Status {
    ARROW_ASSIGN_OR_RAISE(const auto rows, Ask(sql, parameters));
    for (const auto& row : rows) {
      if (!row[0].empty()) to->push_back(Statement(row[0]));
    }
    return Status::OK();
  };
  const SqlParameters like = {SqlValue(pattern)};
  if (all) {
    ARROW_ASSIGN_OR_RAISE(
        const auto schemas,
        Ask(fmt::format("SELECT schema_name FROM duckdb_schemas() WHERE {} AND schema_name <> "
                        "'main' ORDER BY 1",
                        kHere)));
    for (const auto& row : schemas)
      out.before.push_back(fmt::format("CREATE SCHEMA {};", QuotedName(row[0])));
    ARROW_ASSIGN_OR_RAISE(
        const auto types,
        Ask(fmt::format(
            "SELECT schema_name, type_name, labels FROM (SELECT schema_name, type_name, "
            "'(' || list_aggregate(list_transform(labels, lambda l: '''' || replace(l, "
            "'''', '''''') || ''''), 'string_agg', ', ') || ')' AS labels, type_oid "
            "FROM duckdb_types() WHERE {} AND labels IS NOT NULL) ORDER BY type_oid",
            kHere)));
    for (const auto& row : types)
      out.before.push_back(fmt::format("CREATE TYPE {}.{} AS ENUM {};", QuotedName(row[0]),
                                       QuotedName(row[1]), row[2]));
    ARROW_RETURN_NOT_OK(add(&out.before,
                            "SELECT sql FROM duckdb_sequences() WHERE database_name = "
                            "current_database() ORDER BY sequence_oid",
                            {}));
  }
  ARROW_ASSIGN_OR_RAISE(
      const auto rows,
      Ask(fmt::format("SELECT schema_name, table_name, sql FROM duckdb_tables() WHERE {} AND "
                      "table_name ILIKE $1 AND tags['kind'] IS NULL ORDER BY table_oid",
                      kHere),
          like));
  ARROW_ASSIGN_OR_RAISE(
      const auto references,
      Ask("SELECT DISTINCT table_name, referenced_table FROM duckdb_constraints() WHERE "
          "database_name = current_database() AND constraint_type = 'FOREIGN KEY' AND "
          "referenced_table IS NOT NULL"));
  std::vector<DumpTable> tables;
  for (const auto& row : rows) {
    DumpTable table{row[0], row[1], Statement(row[2]), {}};
    for (const auto& reference : references) {
      const bool here = std::any_of(rows.begin(), rows.end(),
                                    [&](const auto& other) { return other[1] == reference[1]; });
      if (reference[0] == table.name && here) table.needs.insert(reference[1]);
    }
    tables.push_back(std::move(table));
  }
  for (DumpTable& table : InOrder(std::move(tables)))
    out.tables.push_back({table.schema, table.name, table.sql, table.needs.contains(table.name)});

  const auto indexes = [&](const char* of_views) {
    return fmt::format(
        "SELECT i.sql FROM duckdb_indexes() i JOIN duckdb_tables() t USING (database_name, "
        "schema_name, table_name) WHERE database_name = current_database() AND table_name ILIKE $1 "
        "AND (t.tags['kind'] IS NOT NULL) = {} ORDER BY index_oid",
        of_views);
  };
  ARROW_RETURN_NOT_OK(add(&out.after, indexes("false"), like));
  if (all) {
    ARROW_ASSIGN_OR_RAISE(
        const auto macros,
        Ask(fmt::format("SELECT schema_name, function_name, array_to_string(parameters, ', '), "
                        "CASE function_type WHEN 'table_macro' THEN 'TABLE ' ELSE '' END || "
                        "macro_definition FROM duckdb_functions() WHERE {} AND function_type IN "
                        "('macro', 'table_macro') ORDER BY function_oid",
                        kHere)));
    for (const auto& row : macros)
      out.after.push_back(fmt::format("CREATE MACRO {}.{}({}) AS {};", QuotedName(row[0]),
                                      QuotedName(row[1]), row[2], row[3]));
  }
  ARROW_ASSIGN_OR_RAISE(
      const auto views,
      Ask(fmt::format("SELECT schema_name, view_name, sql FROM duckdb_views() WHERE {0} AND "
                      "view_name ILIKE $1 UNION ALL SELECT schema_name, table_name, sql FROM "
                      "duckdb_tables() WHERE {0} AND table_name ILIKE $1 AND tags['kind'] IS NOT "
                      "NULL ORDER BY 1, 2",
                      kHere),
          like));
  std::vector<DumpTable> queries;
  for (const auto& row : views) {
    // No catalogue tells what a view reads: the names of others in its text do, at worst too many.
    DumpTable view{row[0], row[1], Statement(row[2]), {}};
    for (const auto& other : views) {
      if (other[1] != view.name && Mentions(view.sql, other[1])) view.needs.insert(other[1]);
    }
    queries.push_back(std::move(view));
  }
  for (const DumpTable& view : InOrder(std::move(queries))) out.after.push_back(view.sql);
  ARROW_RETURN_NOT_OK(add(&out.after, indexes("true"), like));
  ARROW_RETURN_NOT_OK(add(&out.after,
                          "SELECT sql FROM lamina_triggers() WHERE table_name ILIKE $1 ORDER BY "
                          "schema_name, table_name, trigger_name",
                          like));
  if (all)
    ARROW_RETURN_NOT_OK(add(&out.after, "SELECT sql FROM lamina_plan_guides() ORDER BY name", {}));
  if (all) {
    // Comments, and what ends with which table, once all are there.
    ARROW_ASSIGN_OR_RAISE(
        const auto owned,
        Ask("SELECT schema_name, sequence_name, tags['owner'] FROM duckdb_sequences() WHERE "
            "database_name = current_database() AND tags['owner'] IS NOT NULL ORDER BY 1, 2"));
    for (const auto& row : owned) {
      const size_t dot = row[2].find('.');
      out.after.push_back(fmt::format(
          "ALTER SEQUENCE {}.{} OWNED BY {}.{};", QuotedName(row[0]), QuotedName(row[1]),
          QuotedName(dot == std::string::npos ? "main" : row[2].substr(0, dot)),
          QuotedName(dot == std::string::npos ? row[2] : row[2].substr(dot + 1))));
    }
    ARROW_ASSIGN_OR_RAISE(
        const auto always,
        Ask("SELECT c.schema_name, c.table_name, c.column_name FROM duckdb_sequences() s, "
            "duckdb_columns() c WHERE s.database_name = current_database() AND c.database_name = "
            "current_database() AND s.tags['identity'] = 'always' AND s.tags['owner'] = CASE "
            "c.schema_name WHEN 'main' THEN '' ELSE c.schema_name || '.' END || c.table_name AND "
            "starts_with(c.column_default, 'nextval(') AND contains(c.column_default, "
            "s.sequence_name) ORDER BY 1, 2, 3"));
    for (const auto& row : always) {
      out.after.push_back(fmt::format("ALTER TABLE {}.{} ALTER COLUMN {} SET GENERATED ALWAYS;",
                                      QuotedName(row[0]), QuotedName(row[1]), QuotedName(row[2])));
    }
    const auto described = [&](const char* kind, const char* function,
                               const char* entry) -> Status {
      ARROW_ASSIGN_OR_RAISE(
          const auto comments,
          Ask(fmt::format("SELECT schema_name, {1}, comment FROM {0} WHERE database_name = "
                          "current_database() AND comment IS NOT NULL ORDER BY 1, 2",
                          function, entry)));
      for (const auto& row : comments) {
        out.after.push_back(fmt::format("COMMENT ON {} {}.{} IS {};", kind, QuotedName(row[0]),
                                        QuotedName(row[1]), QuotedText(row[2])));
      }
      return Status::OK();
    };
    ARROW_RETURN_NOT_OK(described("SEQUENCE", "duckdb_sequences()", "sequence_name"));
    ARROW_RETURN_NOT_OK(described("TABLE", "duckdb_tables()", "table_name"));
    ARROW_RETURN_NOT_OK(described("VIEW", "duckdb_views()", "view_name"));
    ARROW_ASSIGN_OR_RAISE(
        const auto columns,
        Ask("SELECT schema_name, table_name, column_name, comment FROM duckdb_columns() WHERE "
            "database_name = current_database() AND comment IS NOT NULL ORDER BY 1, 2, "
            "column_index"));
    for (const auto& row : columns) {
      out.after.push_back(fmt::format("COMMENT ON COLUMN {}.{}.{} IS {};", QuotedName(row[0]),
                                      QuotedName(row[1]), QuotedName(row[2]), QuotedText(row[3])));
    }
  }
  return out;
}

Status Shell::Dump(const Words& words) {
  if (words.size() > 1) return MakeError(ErrorCode::kInvalidArgument, "usage: .dump [TABLE]");
  ARROW_ASSIGN_OR_RAISE(const Definitions definitions,
                        ReadDefinitions(words.empty() ? "%" : words[0]));
  std::string text;
  for (const std::string& statement : definitions.before) text += statement + "\n";
  for (const auto& table : definitions.tables) text += table.sql + "\n";
  ARROW_RETURN_NOT_OK(Say(text));
  ARROW_RETURN_NOT_OK(Say("BEGIN TRANSACTION;\n"));
  for (const auto& table : definitions.tables) ARROW_RETURN_NOT_OK(DumpRows(table));
  text = "COMMIT;\n";
  for (const std::string& statement : definitions.after) text += statement + "\n";
  return Say(text);
}

Status Shell::DumpRows(const Definitions::Table& of) {
  const auto& [schema, table, sql, refers_to_itself] = of;
  // What is computed cannot be inserted.
  ARROW_ASSIGN_OR_RAISE(const auto columns,
                        Ask("SELECT column_name, column_default IS NOT NULL FROM duckdb_columns() "
                            "WHERE database_name = current_database() AND "
                            "schema_name = $1 AND table_name = $2 ORDER BY column_index",
                            {SqlValue(schema), SqlValue(table)}));
  std::vector<std::string> names;
  for (const auto& column : columns) {
    // No catalogue tells a generated column from one with a default; the binder does.
    const std::string name = QuotedName(column[0]);
    const bool computed = column[1] == "true" &&
                          !connection_
                               ->Prepare(fmt::format("INSERT INTO {}.{} ({}) OVERRIDING SYSTEM "
                                                     "VALUE SELECT NULL",
                                                     QuotedName(schema), QuotedName(table), name))
                               .ok();
    if (!computed) names.push_back(name);
  }
  if (names.empty()) return Status::OK();
  RenderOptions options = render_;
  options.mode = OutputMode::kInsert;
  options.headers = true;
  // Foreign keys hold at the end of each statement.
  if (refers_to_itself) options.insert_rows_max = 0;
  options.table =
      schema == "main" ? QuotedName(table) : QuotedName(schema) + "." + QuotedName(table);
  running_ = connection_.get();
  const Status status = [&]() -> Status {
    ARROW_ASSIGN_OR_RAISE(const auto result, connection_->Execute(fmt::format(
                                                 "SELECT {} FROM {}.{}", fmt::join(names, ", "),
                                                 QuotedName(schema), QuotedName(table))));
    return Render(*result, options, [&](std::string_view piece) { return output_->Write(piece); })
        .status();
  }();
  running_ = nullptr;
  return status;
}

}  // namespace lamina::cli
