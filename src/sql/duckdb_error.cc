#include "sql/duckdb_error.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "sql/lexer.h"
#include "sql/suggestion.h"

namespace lamina::sql {
namespace {

using duckdb::ExceptionType;

// --- Words ---------------------------------------------------------------------------------------

const std::vector<std::string>& StatementWords() {
  static const std::vector<std::string> words = {
      "ABORT",   "ALTER",   "ANALYZE",   "ATTACH",   "BEGIN",      "CALL",    "CHECKPOINT",
      "COMMENT", "COMMIT",  "COPY",      "CREATE",   "DEALLOCATE", "DELETE",  "DESCRIBE",
      "DETACH",  "DROP",    "END",       "EXECUTE",  "EXPLAIN",    "EXPORT",  "FROM",
      "IMPORT",  "INSERT",  "INSTALL",   "LOAD",     "MERGE",      "PIVOT",   "PRAGMA",
      "PREPARE", "RELEASE", "RESET",     "ROLLBACK", "SAVEPOINT",  "SELECT",  "SET",
      "SHOW",    "START",   "SUMMARIZE", "TABLE",    "TRUNCATE",   "UNPIVOT", "UPDATE",
      "USE",     "VACUUM",  "VALUES",    "WITH"};
  return words;
}

// What stands inside a statement and is easily mistyped.
const std::vector<std::string>& ClauseWords() {
  static const std::vector<std::string> words = {
      "FROM",     "WHERE",   "GROUP",   "ORDER",  "HAVING",  "LIMIT",      "OFFSET",
      "JOIN",     "INNER",   "LEFT",    "RIGHT",  "FULL",    "CROSS",      "USING",
      "UNION",    "EXCEPT",  "VALUES",  "INTO",   "TABLE",   "VIEW",       "INDEX",
      "SCHEMA",   "COLUMN",  "PRIMARY", "UNIQUE", "DEFAULT", "REFERENCES", "SELECT",
      "DISTINCT", "BETWEEN", "EXISTS",  "WINDOW", "QUALIFY", "RETURNING",  "CONSTRAINT"};
  return words;
}

bool Has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// What stands between the two marks, or "".
std::string Between(std::string_view text, std::string_view before, std::string_view after) {
  const size_t begin = text.find(before);
  if (begin == std::string_view::npos) return {};
  const size_t from = begin + before.size();
  const size_t end = text.find(after, from);
  if (end == std::string_view::npos) return {};
  return std::string(text.substr(from, end - from));
}

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

void ReplaceAll(std::string* text, std::string_view from, std::string_view to) {
  for (size_t at = text->find(from); at != std::string::npos; at = text->find(from, at + to.size()))
    text->replace(at, from.size(), to);
}

/// Every "x" of the text.
std::vector<std::string> Quoted(std::string_view text) {
  std::vector<std::string> out;
  for (;;) {
    const size_t begin = text.find('"');
    if (begin == std::string_view::npos) return out;
    const size_t end = text.find('"', begin + 1);
    if (end == std::string_view::npos) return out;
    out.emplace_back(text.substr(begin + 1, end - begin - 1));
    text.remove_prefix(end + 1);
  }
}

/// The list in `candidates`, at its commas outside brackets.
std::vector<std::string> Candidates(const DuckDBError& error) {
  const std::string list = error.Extra("candidates");
  std::vector<std::string> out;
  std::string current;
  int depth = 0;
  for (const char c : list + ",") {
    if (c == ',' && depth == 0) {
      const size_t begin = current.find_first_not_of(' ');
      if (begin != std::string::npos) out.push_back(current.substr(begin));
      current.clear();
      continue;
    }
    if (c == '(' || c == '[') ++depth;
    if (c == ')' || c == ']') --depth;
    current += c;
  }
  return out;
}

/// DuckDB's message without its list of what else there is, which becomes a hint.
struct Parts {
  std::string sentence;
  std::string rest;
};
Parts Cut(std::string_view message) {
  size_t at = message.size();
  for (const char* mark : {"\nDid you mean", "\n\nDid you mean", "\nCandidate", "\n\nCandidate",
                           "\n\tCandidate", "\n\nStack Trace", "\nStack Trace", "\nEither ",
                           "\n\nUse ", "\nThis error signals", "\n\nThis error signals"})
    at = std::min(at, message.find(mark));
  std::string sentence(message.substr(0, at));
  while (!sentence.empty() && (sentence.back() == '!' || sentence.back() == '.' ||
                               std::isspace(static_cast<unsigned char>(sentence.back())) != 0))
    sentence.pop_back();
  return {std::move(sentence), std::string(message.substr(std::min(at, message.size())))};
}

// --- Syntax --------------------------------------------------------------------------------------

bool IsWhole(std::string_view text) {
  try {
    duckdb::Parser parser;
    parser.ParseQuery(std::string(text));
    return !parser.statements.empty();
  } catch (const std::exception&) {
    return false;
  }
}

Diagnosis Syntax(const DuckDBError& error, std::string_view statement,
                 std::optional<size_t> position) {
  Diagnosis out{"T1001", Cut(error.message).sentence, "", ""};
  if (Has(out.message, "unterminated ")) {
    out.code = "T1003";
    // DuckDB repeats the rest of the text, all of it.
    out.message = out.message.substr(0, out.message.find(" at or near"));
    out.hint = "it begins at the place shown";
    return out;
  }
  if (Has(out.message, "memory exhausted")) {
    out.code = "T4013";
    out.message = "the statement is nested too deep";
    return out;
  }
  if (!position || Has(out.message, "at end of input")) return out;
  if (error.Extra("error_subtype") != "SYNTAX_ERROR") return out;

  const std::vector<Token> tokens = Tokenize(statement).tokens;
  size_t index = 0;
  while (index < tokens.size() && tokens[index].end <= *position) ++index;
  if (index == tokens.size()) return out;
  const std::string word(tokens[index].In(statement));
  out.message = fmt::format("syntax error at or near \"{}\"",
                            word.size() > 64 ? word.substr(0, 61) + "..." : word);
  if (index == 0) {
    out.code = "T1004";
    if (tokens[0].kind == TokenKind::kWord) out.hint = DidYouMean(word, StatementWords());
    if (out.hint.empty()) out.hint = "statements begin with words such as SELECT, INSERT or CREATE";
    return out;
  }
  out.code = IsWhole(statement.substr(0, tokens[index].begin)) ? "T1005" : "T1002";
  // The word itself, or the one before, which may have passed for a name: FORM for FROM.
  for (const size_t i : {index, index - 1}) {
    if (tokens[i].kind != TokenKind::kWord || !out.hint.empty()) continue;
    const std::string_view at = tokens[i].In(statement);
    const auto& words = i == 0 ? StatementWords() : ClauseWords();
    const bool known = std::any_of(words.begin(), words.end(), [&](const std::string& known_word) {
      return Is(tokens[i], statement, known_word);
    });
    if (!known && at.size() >= 3) out.hint = DidYouMean(at, words);
  }
  if (out.hint.empty() && out.code == "T1005") out.hint = "a semicolon goes between two statements";
  return out;
}

// --- Names ---------------------------------------------------------------------------------------

/// For an object that is missing, or there already.
std::string CodeOfKind(std::string_view kind, bool missing) {
  if (kind == "Table") return missing ? "T2001" : "T2003";
  if (kind == "View") return missing ? "T2006" : "T2003";
  if (kind == "Index") return missing ? "T2004" : "T2005";
  if (kind == "Schema" || kind == "Catalog") return missing ? "T2009" : "T2011";
  if (kind == "configuration parameter") return "T2014";
  if (kind == "Copy Function") return missing ? "T2010" : "T2011";
  if (Has(kind, "Function") || Has(kind, "Macro")) return missing ? "T2008" : "T2011";
  return missing ? "T2010" : "T2011";
}

std::string KindInWords(std::string_view kind) {
  if (kind == "Scalar Function" || kind == "Aggregate Function" || kind == "Macro Function")
    return "function";
  if (kind == "Catalog") return "database";
  if (kind == "configuration parameter") return "setting";
  return Lower(kind);
}

Diagnosis Missing(const std::string& kind, const std::string& name,
                  const std::vector<std::string>& candidates) {
  Diagnosis out{CodeOfKind(kind, /*missing=*/true),
                fmt::format("{} does not exist: {}", KindInWords(kind), name), "", name};
  out.hint = DidYouMean(name, candidates);
  if (out.hint.empty() && out.code == "T2008" && Has(kind, "Scalar")) {
    // DuckDB looks for a window function without OVER among the others.
    static const std::vector<std::string> windows = {
        "row_number", "rank", "dense_rank",  "percent_rank", "cume_dist", "ntile",
        "lag",        "lead", "first_value", "last_value",   "nth_value"};
    if (std::find(windows.begin(), windows.end(), Lower(name)) != windows.end())
      out.hint = fmt::format("{}() is a window function: it needs OVER (…)", Lower(name));
  }
  return out;
}

/// Literals are of types that no user has heard of.
std::string PlainTypes(std::string text) {
  ReplaceAll(&text, "INTEGER_LITERAL", "INTEGER");
  ReplaceAll(&text, "STRING_LITERAL", "VARCHAR");
  return text;
}

Diagnosis NoFunction(const DuckDBError& error) {
  std::string call = error.Extra("call");
  if (call.empty()) call = Between(error.message, "function call \"", "\". In order");
  if (call.empty()) call = Between(error.message, "argument types '", "'.");
  call = PlainTypes(std::move(call));
  Diagnosis out{"T2008", fmt::format("no function has these arguments: {}", call), "",
                error.Extra("name")};
  if (out.name.empty()) out.name = call.substr(0, call.find('('));
  std::vector<std::string> have = Candidates(error);
  if (have.empty()) {
    std::string_view rest = error.message;
    for (size_t at = rest.find("\n\t"); at != std::string_view::npos; at = rest.find("\n\t")) {
      rest.remove_prefix(at + 2);
      const std::string_view line = rest.substr(0, rest.find('\n'));
      if (!line.starts_with("Candidate")) have.emplace_back(line);
    }
  }
  constexpr size_t kShown = 4;
  const size_t all = have.size();
  if (all > kShown) have.resize(kShown);
  if (!have.empty())
    out.hint = fmt::format("there {} {}{}; a cast chooses one", all == 1 ? "is" : "are",
                           fmt::join(have, ", "), all > kShown ? ", …" : "");
  return out;
}

Diagnosis NoColumn(const std::string& column, const std::vector<std::string>& candidates,
                   const std::string& table = "") {
  Diagnosis out{"T2002",
                table.empty()
                    ? fmt::format("column does not exist: {}", column)
                    : fmt::format("column does not exist: table={} column={}", table, column),
                DidYouMean(column, candidates), column};
  if (out.hint.empty() && !candidates.empty())
    out.hint = fmt::format("there {} {}", candidates.size() == 1 ? "is" : "are",
                           fmt::join(candidates, ", "));
  return out;
}

// --- By message ----------------------------------------------------------------------------------

/// The messages that hold a name in a fixed place.
std::optional<Diagnosis> ByShape(const DuckDBError& error, const Parts& parts) {
  const std::string& m = error.message;
  std::string name;
  // Columns.
  if (error.Extra("error_subtype") == "COLUMN_NOT_FOUND") {
    Diagnosis out = NoColumn(error.Extra("name"), Candidates(error));
    if (out.hint.empty() && Has(m, "FROM clause is missing"))
      out.hint = "there is no FROM; text stands in single quotes";
    return out;
  }
  for (const char* mark :
       {" does not have a column named \"", " does not have a column with name \""}) {
    if (name = Between(m, mark, "\""); !name.empty()) {
      std::string table = Between(m, "able \"", "\"");
      return NoColumn(name, Quoted(parts.rest), table);
    }
  }
  if (name = Between(m, "Referenced update column ", " not found"); !name.empty())
    return NoColumn(name, Quoted(parts.rest));
  if (name = Between(m, "Table does not contain column ", " referenced"); !name.empty())
    return NoColumn(name, {});
  if (name = Between(m, "Column \"", "\" in EXCLUDE list not found"); !name.empty())
    return NoColumn(name, {});
  if (name = Between(m, "Column \"", "\" does not exist on"); !name.empty())
    return NoColumn(name, {});
  if (name = Between(m, "Could not find key \"", "\" in struct"); !name.empty())
    return NoColumn(name, Quoted(parts.rest));
  if (name = Between(m, "Ambiguous reference to column name \"", "\""); !name.empty()) {
    std::vector<std::string> ways = Quoted(Between(m, "(use: ", ")"));
    return Diagnosis{"T2012", fmt::format("several columns have this name: {}", name),
                     ways.empty() ? "" : fmt::format("write {}", fmt::join(ways, " or ")), name};
  }
  if (name = Between(m, "Column with name ", " already exists"); !name.empty())
    return Diagnosis{"T2011", fmt::format("column exists already: {}", name), "", name};
  if (name = Between(m, "Duplicate column name \"", "\""); !name.empty())
    return Diagnosis{"T2011", fmt::format("column is named twice: {}", name), "", name};
  if (name = Between(m, "column \"", "\" must appear in the GROUP BY clause"); !name.empty())
    return Diagnosis{"T2017",
                     fmt::format("column must be grouped by or be inside an aggregate: {}", name),
                     fmt::format("GROUP BY {0}, or any_value({0})", name), name};
  // Tables and others.
  if (name = Between(m, "Referenced table \"", "\" not found"); !name.empty()) {
    Diagnosis out = Missing("Table", name, Quoted(parts.rest));
    out.message = fmt::format("table is not in FROM: {}", name);
    if (const auto there = Quoted(parts.rest); out.hint.empty() && !there.empty())
      out.hint =
          fmt::format("there {} {}", there.size() == 1 ? "is" : "are", fmt::join(there, ", "));
    return out;
  }
  if (name = Between(m, "because schema \"", "\" does not exist"); !name.empty())
    return Missing("Schema", name, {});
  if (name = Between(m, "No catalog + schema named \"", "\""); !name.empty())
    return Missing("Schema", name, {});
  if (name = Between(m, "Schema with name ", " does not exist"); !name.empty())
    return Missing("Schema", name, {});
  for (const char* mark : {"Catalog \"", "Database \"", "database with name \""}) {
    if (name = Between(m, mark, "\"");
        !name.empty() && (Has(m, "does not exist") || Has(m, "not found")))
      return Missing("Catalog", name, {});
  }
  if (name = Between(m, "Catalog with name ", " does not exist"); !name.empty())
    return Missing("Catalog", name, {});
  if (name = Between(m, "Prepared statement \"", "\" does not exist"); !name.empty()) {
    Diagnosis out = Missing("Prepared statement", name, {});
    return out;
  }
  if (name = Between(m, "Index with name \"", "\" already exists"); !name.empty())
    return Diagnosis{"T2005", fmt::format("index exists already: {}", name), "", name};
  if (Has(m, "Existing object ") && Has(m, ", trying to ")) {
    name = Between(m, "Existing object ", " is of type ");
    const std::string is = Between(m, " is of type ", ", trying to ");
    const std::string wanted = m.substr(m.find_last_of(' ') + 1);
    return Diagnosis{CodeOfKind(wanted, true),
                     fmt::format("{} does not exist: {}", KindInWords(wanted), name),
                     fmt::format("{} is a {}", name, KindInWords(is)), name};
  }
  if (name = Between(m, "Macro ", "() does not support the supplied arguments"); !name.empty()) {
    const std::string have = Between(m + "\n", "Candidate macros:\n\t", "\n");
    return Diagnosis{"T2008", fmt::format("no function has these arguments: {}", name),
                     have.empty() ? "" : fmt::format("there is {}", have), name};
  }
  if (name = Between(m, "named parameter \"", "\""); !name.empty() && Has(m, "Invalid")) {
    return Diagnosis{"T2008", fmt::format("the function has no parameter of this name: {}", name),
                     "", name};
  }
  return {};
}

struct Pattern {
  std::string_view part;  ///< Of the message.
  std::string_view code;
  std::string_view hint;
};
// What is left: the first that fits, whatever the type of the exception.
constexpr Pattern kPatterns[] = {
    {"Max expression depth", "T4013", "SET max_expression_depth allows more"},
    {"memory exhausted", "T4013", ""},
    {"nested too deep", "T4013", ""},
    {"stack limit", "T4013", ""},
    // Parameters.
    {"Values were not provided for the following prepared statement parameters", "T4007", ""},
    {"parameters, but none were supplied", "T4007", ""},
    {"Parameter argument/count mismatch", "T4007", ""},
    {"parameter number", "T4007", ""},
    // Text.
    {"nvalid unicode", "T4011", ""},
    {"nvalid UTF", "T4011", ""},
    {"not valid UTF", "T4011", ""},
    {"Invalid Unicode", "T4011", ""},
    // Values and types.
    {"Unimplemented type for cast", "T2007", ""},
    {"an explicit cast is required", "T2007", "CAST one of them"},
    {"can only be applied to", "T2007", ""},
    {"term out of range", "T2016", ""},  // of ORDER BY, GROUP BY
    {"out of range", "T4008", ""},
    {"Could not cast value", "T4008", ""},
    {"not in timestamp range", "T4008", ""},
    {"not recognized", "T4010", ""},
    {"cannot be negative", "T4010", ""},
    {"Unknown TimeZone", "T4010", ""},
    {"Memory must have", "T4010", ""},
    {"Memory cannot be negative", "T4010", ""},
    {"Must have at least 1 thread", "T4010", ""},
    {"cannot be set locally", "T4010", "it is one for the whole database: SET GLOBAL"},
    {"cannot be set globally", "T4010", "each session has its own: SET SESSION"},
    {"cannot be reset locally", "T4010", "it is one for the whole database: RESET GLOBAL"},
    {"cannot be reset globally", "T4010", "each session has its own: RESET SESSION"},
    {"only be set globally", "T4010", "SET GLOBAL"},
    {"only be set per session", "T4010", "SET SESSION"},
    {"SET LOCAL", "T4009", "SET holds for the session, RESET takes it back"},
    {"Full vacuum option", "T4009", "VACUUM does all there is to do"},
    {"Can only SET or RESET a variable", "T4009", "RESET names one setting"},
    {"More than one row returned by a subquery", "T4012", "LIMIT 1, or an aggregate"},
    // Definitions.
    {"has more than one primary key", "T2015", ""},
    {"Table must have at least one column", "T2015", ""},
    {"type width must be between", "T2015", ""},
    {"cannot use CASCADE, SET NULL or SET DEFAULT", "T4009",
     "NO ACTION and RESTRICT refuse the change of a row that is referred to"},
    {"foreign keys must be", "T2015", ""},
    {"don't know what type", "T5014", "a Parquet file that is read is damaged"},
    {"ALTER TABLE option yet", "T4009", "docs/guide/sql.md lists the changes that there are"},
    {"main key table of", "T2013", "DROP the table that refers to it first"},
    {"depends on it", "T2013", ""},
    {"depend on it", "T2013", "CASCADE drops these too"},
    {"internal system entry", "T6001", ""},
    // Groups.
    {"cannot contain aggregates", "T2017", "HAVING is for aggregates"},
    {"aggregate function calls cannot be nested", "T2017", ""},
    {"cannot contain window functions", "T2017", "QUALIFY is for window functions"},
    // Transactions.
    {"read-only mode", "T5007", ""},
    {"read-only transaction", "T5007", ""},
    {"Current transaction is aborted", "T5003", ""},
    {"within a transaction", "T5005", ""},
    {"no transaction is active", "T5004", ""},
    {"has already modified database", "T4009", "a transaction writes to one database"},
    {"only support", "T4009", ""},
    {"not yet supported", "T4009", ""},
    {"not supported", "T4009", ""},
    {"No space left on device", "T5009", ""},
};

std::string_view ByType(ExceptionType type, std::string_view statement) {
  switch (type) {
    case ExceptionType::PARSER:
    case ExceptionType::SYNTAX:
      return "T1001";
    case ExceptionType::CATALOG:
      return "T2010";
    case ExceptionType::BINDER: {
      const std::vector<Token> tokens = Tokenize(statement.substr(0, 64)).tokens;
      return !tokens.empty() &&
                     (Is(tokens[0], statement, "CREATE") || Is(tokens[0], statement, "ALTER"))
                 ? "T2015"
                 : "T2016";
    }
    case ExceptionType::CONVERSION:
    case ExceptionType::DECIMAL:
      return "T4002";
    case ExceptionType::OUT_OF_RANGE:
      return "T4008";
    case ExceptionType::DIVIDE_BY_ZERO:
      return "T4001";
    case ExceptionType::MISMATCH_TYPE:
    case ExceptionType::INVALID_TYPE:
      return "T2007";
    case ExceptionType::CONSTRAINT:
      return "T3004";
    case ExceptionType::TRANSACTION:
      return "T5001";
    case ExceptionType::INTERRUPT:
      return "T4006";
    case ExceptionType::OUT_OF_MEMORY:
      return "T4004";
    case ExceptionType::IO:
      return "T5014";
    case ExceptionType::PERMISSION:
      return "T6001";
    case ExceptionType::DEPENDENCY:
      return "T2013";
    case ExceptionType::NOT_IMPLEMENTED:
      return "T4009";
    case ExceptionType::PARAMETER_NOT_RESOLVED:
    case ExceptionType::PARAMETER_NOT_ALLOWED:
      return "T4007";
    case ExceptionType::INVALID_INPUT:
    case ExceptionType::SETTINGS:
    case ExceptionType::INVALID_CONFIGURATION:
      return "T4010";
    case ExceptionType::INTERNAL:
    case ExceptionType::FATAL:
      return "T5099";
    default:
      return "T4005";
  }
}

/// DuckDB's own tables, which are the temporary ones.
Diagnosis Constraint(const std::string& m) {
  Diagnosis out{"T3004", Cut(m).sentence, "", ""};
  if (Has(m, "NOT NULL constraint failed")) {
    const std::string column = m.substr(m.find(": ") + 2);
    const size_t dot = column.rfind('.');
    out.code = "T3001";
    out.message = fmt::format("NULL in a column that is NOT NULL: table={} column={}",
                              column.substr(0, dot), column.substr(dot + 1));
  } else if (Has(m, "primary key constraint")) {
    out.code = "T3003";
  } else if (Has(m, "foreign key constraint")) {
    out.code = "T3005";
    // Its advice is about DuckDB's documentation.
    out.message = m.substr(0, m.find(". If this is an unexpected"));
  } else if (Has(m, "unique constraint")) {
    out.code = "T3002";
  }
  return out;
}

Diagnosis Internal(const DuckDBError& error) {
  Diagnosis out{"T5099", "", "", ""};
  if (Has(error.message, "database has been invalidated")) {
    // After an internal error DuckDB runs nothing more. Our data lies outside it.
    std::string cause = error.message;
    if (const size_t at = cause.find("Original error: "); at != std::string::npos)
      cause = cause.substr(at + 16);
    cause = Cut(cause).sentence;
    while (!cause.empty() && (cause.front() == '"' || cause.front() == ' ')) cause.erase(0, 1);
    out.message = fmt::format("SQL has stopped after an internal error: cause={}",
                              cause.substr(0, cause.find('\n')));
    out.hint = "open the database again; what was committed is safe. Please report the cause";
    return out;
  }
  const std::string sentence = Cut(error.message).sentence;
  out.message = fmt::format("internal error: {}", sentence.substr(0, sentence.find('\n')));
  out.hint = "a bug: please report it with the statement. The database may have to be opened again";
  return out;
}

/// The text up to the end of its line.
std::string Line(std::string_view text) { return std::string(text.substr(0, text.find('\n'))); }

/// A line of a CSV or JSON file: file, place and cause out of a page of settings and advice.
std::optional<Diagnosis> OfFile(const DuckDBError& error) {
  const std::string& m = error.message;
  constexpr std::string_view kCsv = "CSV Error on Line: ";
  constexpr std::string_view kCsvFile = "  file = ";
  constexpr std::string_view kJson = "JSON transform error in file \"";
  constexpr std::string_view kMalformed = "Malformed JSON in file \"";
  constexpr std::string_view kColumn = "Error when converting column \"";
  Diagnosis out{std::string(ByType(error.type, "")), "", "", ""};
  if (constexpr std::string_view kSniffer = "Error when sniffing file \"";
      m.starts_with(kSniffer)) {
    // A page of what was tried; the file's columns against the table's is what says something.
    const std::string file =
        m.substr(kSniffer.size(), m.find('"', kSniffer.size()) - kSniffer.size());
    constexpr std::string_view kSet = "they contain: ";
    constexpr std::string_view kFound = "found by the sniffer: ";
    const size_t set = m.find(kSet);
    const size_t found = m.find(kFound);
    const auto number = [&](size_t at) {
      return m.substr(at, m.find_first_not_of("0123456789", at) - at);
    };
    out.message =
        set == std::string::npos || found == std::string::npos
            ? "it cannot be made out how a CSV file is written: file=" + file
            : fmt::format("the columns of a CSV file do not fit: file={} expected={} found={}",
                          file, number(set + kSet.size()), number(found + kFound.size()));
    out.hint =
        "options such as HEADER, DELIMITER, NULL_PADDING and AUTO_DETECT say how the file is read";
    return out;
  }
  if (m.starts_with(kCsv) && Has(m, kCsvFile)) {
    std::string place =
        fmt::format("file={} line={}", Line(m.substr(m.find(kCsvFile) + kCsvFile.size())),
                    Line(m.substr(kCsv.size())));
    // Below the line as it stands in the file, of which there may be several.
    std::string cause;
    if (const size_t at = m.find(kColumn); at != std::string::npos) {
      const std::string rest = Line(m.substr(at + kColumn.size()));
      place += " column=" + rest.substr(0, rest.find('"'));
      cause = rest.substr(std::min(rest.size(), rest.find('"') + 3));
    } else if (const size_t original = m.find("\nOriginal Line: "); original != std::string::npos) {
      const size_t next = m.find('\n', original + 1);
      cause = next == std::string::npos ? "" : Line(m.substr(next + 1));
    }
    out.message = fmt::format("a line of a CSV file cannot be read: {} cause={}", place, cause);
    out.hint =
        "options such as HEADER, DELIMITER, NULLSTR and STRICT_MODE say how the file is read";
    return out;
  }
  for (const std::string_view begin : {kJson, kMalformed}) {
    if (!m.starts_with(begin)) continue;
    const std::string file = m.substr(begin.size(), m.find('"', begin.size()) - begin.size());
    const std::string rest = Line(m.substr(begin.size() + file.size()));
    const size_t line = rest.find("line ");
    const size_t colon = rest.find(": ");
    if (colon == std::string::npos) return std::nullopt;
    out.message =
        fmt::format("a line of a JSON file cannot be read: file={}{} cause={}", file,
                    line == std::string::npos || line > colon
                        ? ""
                        : fmt::format(" line={}", rest.substr(line + 5, colon - line - 5)),
                    rest.substr(colon + 2));
    return out;
  }
  return std::nullopt;
}

}  // namespace

DuckDBError::DuckDBError(const duckdb::ErrorData& error)
    : type(error.Type()),
      message(error.RawMessage()),
      extra(error.ExtraInfo().begin(), error.ExtraInfo().end()) {
  if (!message.starts_with('{')) return;
  const auto json = nlohmann::json::parse(message, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("exception_message")) return;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) continue;
    if (key == "exception_message") {
      message = value;
    } else {
      extra[key] = value;
    }
  }
}

std::string DuckDBError::Extra(const std::string& key) const {
  const auto it = extra.find(key);
  return it == extra.end() ? std::string() : it->second;
}

Diagnosis Diagnose(const DuckDBError& error, std::string_view statement,
                   std::optional<size_t> position) {
  if (error.type == ExceptionType::INTERNAL || error.type == ExceptionType::FATAL)
    return Internal(error);
  if (error.type == ExceptionType::CONSTRAINT) return Constraint(error.message);
  const std::string subtype = error.Extra("error_subtype");
  if (error.type == ExceptionType::PARSER &&
      (subtype == "SYNTAX_ERROR" || Has(error.message, "unterminated ")))
    return Syntax(error, statement, position);
  if (subtype == "MISSING_ENTRY")
    return Missing(error.Extra("type"), error.Extra("name"), Candidates(error));
  if (subtype == "ENTRY_ALREADY_EXISTS") {
    const std::string kind = error.Extra("type");
    const std::string name = error.Extra("name");
    return {CodeOfKind(kind, false), fmt::format("{} exists already: {}", KindInWords(kind), name),
            kind == "Table" ? "CREATE TABLE IF NOT EXISTS leaves it as it is" : "", name};
  }
  if (subtype == "NO_MATCHING_FUNCTION" || Has(error.message, "Could not choose a best candidate"))
    return NoFunction(error);
  if (auto out = OfFile(error)) return *out;
  const Parts parts = Cut(error.message);
  if (error.type == ExceptionType::CATALOG || error.type == ExceptionType::BINDER) {
    if (auto out = ByShape(error, parts)) return *out;
  }
  Diagnosis out{std::string(ByType(error.type, statement)), parts.sentence, "", ""};
  if (error.type == ExceptionType::INTERRUPT) {
    out.message = "the statement was cancelled";
    return out;
  }
  if (error.type == ExceptionType::OUT_OF_MEMORY) {
    out.message = parts.sentence.substr(0, parts.sentence.find('\n'));
    out.hint = "SET query_max_memory allows more";
    return out;
  }
  // What an expression or a file says is the user's own text: no pattern applies to it.
  const bool of_user = error.type == ExceptionType::IO;
  for (const Pattern& pattern : kPatterns) {
    if ((of_user && pattern.code != "T5009") || !Has(error.message, pattern.part)) continue;
    out.code = pattern.code;
    out.hint = pattern.hint;
    break;
  }
  if (out.hint.empty()) {
    if (const auto names = Quoted(parts.rest); !names.empty())
      out.hint = fmt::format("there are {}", fmt::join(names, ", "));
  }
  if (Has(error.message, "values were supplied"))
    out.name = Between(error.message, "table ", " has ");
  return out;
}

}  // namespace lamina::sql
