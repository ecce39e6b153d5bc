// A statement as DuckDB's parser takes it, and what its text says beyond DuckDB's grammar.
//
// DuckDB's parser cannot be taught new words. What our SQL has more is cut out of a statement's
// text, or written over, before it is parsed, and put into what was parsed, or told to the
// catalogue, afterwards. Each such thing is a pair of functions (Take…, Put…) of a file of its own;
// this is their order, for statements that run and those that are prepared.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/error.h"
#include "sql/alter_constraint.h"
#include "sql/column_clauses.h"
#include "sql/constraint_names.h"
#include "sql/duckdb_api.h"
#include "sql/json_arrows.h"
#include "sql/lexer.h"
#include "sql/materialized_view.h"
#include "sql/period_clauses.h"
#include "sql/period_predicates.h"
#include "sql/prepared.h"
#include "sql/reference_actions.h"
#include "sql/session_state.h"
#include "sql/time_clauses.h"

namespace lamina::sql {

/// T1001 and T4011 for texts that DuckDB would misread.
Status CheckText(std::string_view sql);
/// T4013 for a statement that would take the process down.
Status CheckLength(std::string_view sql, const StatementSpan& span);

class StatementText {
 public:
  StatementText() = default;

  /// Of `span` of `sql`, which outlives it. Errors show their place in it.
  static Result<StatementText> Take(duckdb::ClientContext& context, std::string_view sql,
                                    const StatementSpan& span);

  /// What DuckDB parses. May become several statements (PIVOT), which all are of this one.
  const std::string& text() const { return text_; }
  ViewStatement::Kind view() const { return view_.kind; }

  /// Makes of a parsed statement the one to run. `sql` and `span` are those it was taken of.
  /// `prepared`: it may run under another strict_mode than that of now.
  Status Put(duckdb::ClientContext& context, std::string_view sql, const StatementSpan& span,
             bool prepared, duckdb::unique_ptr<duckdb::SQLStatement>* statement) const;

  /// Tells the catalogue of it: before each run. T4009 when what it says of columns is about a
  /// table that is none of ours.
  Status Announce(duckdb::ClientContext& context, const duckdb::SQLStatement& statement) const;

  /// For AtPlaceInText: errors of DuckDB count in text().
  const std::vector<size_t>& brackets() const { return brackets_; }

 private:
  std::string text_;
  std::string_view said_;      // in what it was taken of
  std::string_view prepares_;  // what a PREPARE is about
  PeriodClause period_;
  std::vector<ReferenceActions> actions_;
  ColumnClauses clauses_;
  ViewStatement view_;
  bool overriding_ = false;
  ConstraintNames names_;
  std::optional<ConstraintChange> constraint_;
  std::vector<ParameterType> types_;
  TimeClauses times_;
  bool periods_ = false;
  std::vector<size_t> brackets_;
  bool alters_ = false;
};

}  // namespace lamina::sql
