// The memory of one session under query_max_memory.
//
// DuckDB counts memory by instance. So a session with a limit is given the buffer manager of a
// small instance of its own, which counts, spills and refuses exactly what the session's statements
// take from it. Blocks stay with the manager they come from: tables in memory, attached databases
// and the cache of files are the database's (memory_limit), whoever reads them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "sql/duckdb_api.h"

namespace lamina::sql {

class SessionMemory {
 public:
  /// Lives as long as the context's client data does.
  static SessionMemory& Install(duckdb::ClientContext& context);
  virtual ~SessionMemory() = default;

  /// For the statements that begin from now on; none may be under way. Nullopt: no limit but the
  /// database's. Throws when the limit cannot be kept.
  virtual void SetLimit(std::optional<uint64_t> bytes) = 0;
};

}  // namespace lamina::sql
