// Status to exception and back: DuckDB's exceptions enter and leave src/sql here.
#pragma once

#include <string_view>

#include "lamina/connection.h"
#include "lamina/error.h"
#include "sql/duckdb_api.h"

namespace lamina::sql {

/// An error of SQL. `code` is one of docs/errors.md; its SQLSTATE and ErrorCode follow from it.
Status MakeSqlError(std::string_view code, std::string message, std::string hint = {},
                    std::optional<size_t> position = {});

/// An error of the layers below with its code of SQL; one that has a code already as it is.
Status AsSqlError(const Status& status);

/// The same with the line of `text` that its position lies in, if it has one and no excerpt yet.
Status WithExcerpt(const Status& status, std::string_view text);

/// Throws `status` through DuckDB: FromDuckDB gives it back as it was. Must not be OK.
[[noreturn]] void Throw(const Status& status);
inline void ThrowIfError(const Status& status) {
  if (!status.ok()) Throw(status);
}
template <typename T>
T ValueOrThrow(Result<T> result) {
  if (!result.ok()) Throw(result.status());
  return std::move(result).ValueUnsafe();
}
/// In loops that DuckDB does not see. Throws what DuckDB throws when a statement is cancelled.
inline void CheckInterrupted(const duckdb::ClientContext& context) {
  if (context.IsInterrupted()) throw duckdb::InterruptException();
}
/// For DuckDB's interfaces that return their errors.
duckdb::ErrorData ToDuckDB(const Status& status);

/// `text` is the whole text given to the session, `offset` where the statement begins in it.
Status FromDuckDB(const duckdb::ErrorData& error, std::string_view text, size_t offset);

/// Runs `body` (returning Status or Result<T>); what DuckDB throws becomes a Status.
template <typename Body>
auto AtDuckDBBorder(std::string_view text, size_t offset, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::exception& e) {
    return FromDuckDB(duckdb::ErrorData(e), text, offset);
  }
}

}  // namespace lamina::sql
