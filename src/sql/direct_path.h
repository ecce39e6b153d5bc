// The direct path: a SELECT of one row by its primary key is answered by the engine itself, without
// DuckDB's planner and executor.
//
// What it may answer is decided once for a statement, on what DuckDB has parsed and bound: one
// table of ours, every column of its primary key compared with a literal or a parameter, columns
// alone in the list. Whatever else a run brings (another type of parameter, a table that was
// changed meanwhile) goes DuckDB's way, which also words all errors. So the two paths give the
// same.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "catalog/key_codec.h"
#include "db/session.h"
#include "lamina/connection.h"
#include "sql/duckdb_api.h"
#include "sql/lexer.h"

namespace lamina::sql {

inline constexpr char kDirectPathSetting[] = "direct_path";

/// The columns of a result that DuckDB did not make.
struct DirectShape {
  duckdb::vector<std::string> names;
  duckdb::vector<duckdb::LogicalType> types;
  std::vector<SqlColumn> columns;
};

/// A text with its literals taken out, so that texts that differ in them alone are the same.
struct LiftedText {
  std::string text;
  SqlParameters literals;
  /// Where each literal begins in the statement.
  std::vector<size_t> places;

  /// Nullopt for what cannot be a direct SELECT. Offsets count from span.begin.
  static std::optional<LiftedText> Of(std::string_view sql, const StatementSpan& span);
};

/// Immutable; any thread.
class DirectSelect {
 public:
  /// Null: the statement takes DuckDB's way. `statement` is parsed; `literals`: where those of its
  /// text begin, in the text that was parsed. Throws what DuckDB throws.
  static std::shared_ptr<const DirectSelect> Plan(duckdb::ClientContext& context,
                                                  const duckdb::SQLStatement& statement,
                                                  const std::vector<size_t>& literals);

  /// The row, as a chunk of 0 or 1. Null: it takes DuckDB's way this time. Throws.
  duckdb::unique_ptr<duckdb::DataChunk> Run(duckdb::ClientContext& context, db::Session& session,
                                            const SqlParameters& parameters,
                                            const SqlParameters& literals) const;
  const std::shared_ptr<const DirectShape>& shape() const { return shape_; }

 private:
  /// Where the value of a key column comes from.
  struct Source {
    bool literal = false;
    size_t index = 0;
    bool text = false;  ///< The column is VARCHAR, else an integer.
  };
  DirectSelect() = default;
  /// Nullopt: it cannot be taken from there.
  static std::optional<Source> SourceOf(const duckdb::ParsedExpression& value,
                                        const std::vector<size_t>& literals);
  /// The commit of an AS OF. False: the clause says something else.
  bool TakeMoment(const duckdb::BaseTableRef& ref, const std::vector<size_t>& literals);

  std::optional<Source> commit_;  ///< AS OF; nullopt: the newest.
  std::string table_;
  catalog::TableSchemaPtr schema_;
  std::unique_ptr<catalog::KeyCodec> codec_;
  std::vector<Source> key_;           // in the key's order
  std::vector<std::string> columns_;  // that are read, each once
  std::vector<int> places_;           // in columns_, of each column of the result
  std::shared_ptr<const DirectShape> shape_;
};

void RegisterDirectPath(duckdb::DatabaseInstance& instance);

}  // namespace lamina::sql
