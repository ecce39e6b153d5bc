// The rows of a statement, over DuckDB's result.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "lamina/connection.h"
#include "sql/direct_path.h"
#include "sql/duckdb_api.h"

namespace lamina::sql {

struct ResultParts {
  std::string tag;
  duckdb::shared_ptr<duckdb::ClientContext> context;
  /// Null: no rows, or those of `chunk`.
  duckdb::unique_ptr<duckdb::QueryResult> rows;
  /// Of rows that DuckDB did not make, which are `chunk`.
  std::shared_ptr<const DirectShape> shape;
  duckdb::unique_ptr<duckdb::DataChunk> chunk;
  std::optional<int64_t> changed_rows;
  std::optional<CommitResult> commit;
  /// Turns an error of a later fetch into ours; tells the session that the statement has failed.
  std::function<Status(const duckdb::ErrorData&)> on_error;
  /// Called once, when there are no more rows, after an error, or when the result is dropped.
  std::function<Status()> on_end;
};
std::unique_ptr<SqlResult> MakeResult(ResultParts parts);

}  // namespace lamina::sql
