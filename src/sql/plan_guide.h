// Plan guides: hints for the planner, kept in the database for statements of one text.
//
// A guide is for every statement that reads as its query does but for white space, comments, the
// case of unquoted words, and literals and parameters, which stand for each other. Its hints act on
// what we plan ourselves: by which index a table is read, how many rows the planner believes a
// table to have (which decides the order of joins and what is hashed), and whether columns are read
// late. They change plans, never answers.
//
// It is a row of kObjectTable, "plan_guide//name".
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "lamina/error.h"
#include "sql/duckdb_api.h"
#include "sql/lexer.h"

namespace lamina::sql {

class LaminaTableEntry;

/// As hints say it. Names are in small letters, tables with or without their schema.
struct PlanHints {
  bool no_indexes = false;
  bool no_late_columns = false;
  std::set<std::string> index, no_index, full_scan;
  std::map<std::string, uint64_t> rows;

  bool ScansWhole(const LaminaTableEntry& table) const;
  std::optional<uint64_t> RowsOf(const LaminaTableEntry& table) const;
};

struct PlanGuide {
  std::string name, query, hints;
  std::string created;  ///< A time, as SQL writes it.
  PlanHints parsed;
};
/// By NormalizedText of their queries.
using PlanGuides = std::map<std::string, std::shared_ptr<const PlanGuide>, std::less<>>;

/// What statements of one guide have in common. EXPLAIN is no part of it.
std::string NormalizedText(std::string_view statement);

/// CREATE PLAN GUIDE or DROP PLAN GUIDE, as it was written.
struct PlanGuideStatement {
  bool drops = false;
  bool or_replace = false;
  bool if_not_exists = false;
  bool if_exists = false;
  PlanGuide guide;  ///< Of a DROP: the name alone.
  size_t name_at = 0;
  std::optional<size_t> query_at;  ///< Nullopt: places in it are others than in the text.
};
/// Nothing for any other statement. T1001, T1002; T4010 for hints that are none.
Result<std::optional<PlanGuideStatement>> ParsePlanGuideStatement(std::string_view text,
                                                                  const StatementSpan& span);
/// SHOW PLAN GUIDES.
bool IsShowPlanGuides(std::string_view text, const StatementSpan& span);

// What follows throws.

/// T2010 and T2011 of the name, T2011 when another guide is for the query, what planning the query
/// throws, and T2001, T2004 for hints that name what it does not read.
void CreatePlanGuide(duckdb::ClientContext& context, const PlanGuideStatement& statement);
void DropPlanGuide(duckdb::ClientContext& context, const PlanGuideStatement& statement);
PlanGuide ReadPlanGuide(const nlohmann::json& row);
/// The statement that makes it again.
std::string ToSql(const PlanGuide& guide);
/// Why its hints, or some, cannot act now; "": nothing stands in the way.
std::string WhyIdle(duckdb::ClientContext& context, const PlanGuide& guide);

/// Gives scans of a plan their statement's guide, before they are optimized.
void RegisterPlanGuides(duckdb::DBConfig& config);

}  // namespace lamina::sql
