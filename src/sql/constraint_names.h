// Names of constraints. DuckDB's parser drops them; they are taken from the text and travel with
// the constraint, which says them when it is written (duckdb_tables().sql,
// duckdb_constraints().constraint_text). One without a name answers to what duckdb_constraints()
// calls it.
#pragma once

#include <string>
#include <vector>

#include "lamina/error.h"
#include "sql/duckdb_api.h"
#include "sql/lexer.h"

namespace lamina::sql {

/// A copy that bears the name; "" for none. CHECK, UNIQUE and foreign keys: others stay without.
duckdb::unique_ptr<duckdb::Constraint> WithName(const duckdb::Constraint& constraint,
                                                const std::string& name);
/// "" when it was given none.
std::string NameOf(const duckdb::Constraint& constraint);
/// What duckdb_constraints() calls a constraint of the table without a name of its own.
std::string DefaultNameOf(const duckdb::Constraint& constraint, const std::string& table);

/// Of each CHECK, UNIQUE and REFERENCES of a CREATE TABLE the name, or "".
struct ConstraintNames {
  std::vector<std::string> checks, uniques, references;
};
/// Empty for other statements. `tokens` count from `offset` bytes before the text.
ConstraintNames TakeConstraintNames(const std::vector<Token>& tokens, size_t offset,
                                    const std::string& text);
/// Gives them to the parsed constraints. T2011 when a table would have a name twice.
Status PutConstraintNames(const ConstraintNames& names, duckdb::SQLStatement& statement);

}  // namespace lamina::sql
