// ALTER TABLE on one column where rows that are there count: ADD COLUMN with a default, NOT NULL,
// and changes of type.
#pragma once

#include "sql/duckdb_api.h"
#include "sql/table_entry.h"

namespace lamina::sql {

/// ADD COLUMN, without its entry in the definition of SQL. What the default gives, rows that are
/// there get as in PostgreSQL: a default that is the same for all is evaluated once and costs
/// nothing, whatever the size of the table, and rows of the past have it too; one that is volatile
/// (random(), nextval()) is evaluated for each row, which writes it anew, and rows of the past read
/// as NULL. `not_null`: T3001 when a row would hold NULL. Throws.
void AddColumn(duckdb::ClientContext& context, LaminaTableEntry& table,
               const duckdb::ColumnDefinition& column, bool not_null);

/// Throws T3001 when a row holds NULL.
void SetNotNull(duckdb::ClientContext& context, LaminaTableEntry& table, const std::string& column);
/// Throws T2015 for a column of the primary key.
void DropNotNull(duckdb::ClientContext& context, LaminaTableEntry& table,
                 const std::string& column);

/// The changes that need no rewriting, so that the past stays readable: wider numbers, decimals of
/// more digits, DATE to TIMESTAMP, finer timestamps, ENUM to text or to an ENUM with more values,
/// JSON to text. Throws T4009 for others, also those whose USING computes something.
void ChangeType(duckdb::ClientContext& context, LaminaTableEntry& table, const std::string& column,
                const duckdb::LogicalType& type, const duckdb::ParsedExpression* using_expression);

/// Throws what binding the default of the column throws (T2002, T2007 …).
void CheckDefault(duckdb::ClientContext& context, LaminaTableEntry& table,
                  const duckdb::ColumnDefinition& column);

/// Gives a column of `table` its new name in an expression over the table.
void RenameColumnIn(duckdb::ParsedExpression& expression, const std::string& table,
                    const std::string& from, const std::string& to);
/// Gives the table its new name where it stands before a column.
void RenameTableIn(duckdb::ParsedExpression& expression, const std::string& from,
                   const std::string& to);
/// Whether the expression over `table` names the column.
bool NamesColumn(const duckdb::ParsedExpression& expression, const std::string& table,
                 const std::string& column);

}  // namespace lamina::sql
