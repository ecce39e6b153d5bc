// A plain DuckDB in memory, which is asked the same as our database: what an application would send
// must be answered alike. It is the same library, so a difference is one of our tables,
// transactions and constraints, or of our session.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "slt/answer.h"

namespace lamina::slt {

class BesideDuckDB {
 public:
  static Result<std::unique_ptr<BesideDuckDB>> Open();
  virtual ~BesideDuckDB() = default;

  /// Runs it in the session of this name, which is made when it is first named. Errors are in the
  /// answer.
  virtual Answer Run(const std::string& connection, const std::string& sql) = 0;
  /// Ends all sessions; their transactions are rolled back and temporary tables go.
  virtual void Disconnect() = 0;
};

/// Whether the order of the rows follows from the statement: it is a query with ORDER BY at its
/// end, or something that is no plain query (EXECUTE, SHOW, RETURNING).
bool OrdersRows(const std::string& sql);

/// What `ours` has otherwise than `theirs`, in lines, or "". Rows count in order when `ordered`.
/// The texts of errors may differ, and DOUBLE and FLOAT by a billionth.
std::string Difference(const Answer& ours, const Answer& theirs, bool ordered);

}  // namespace lamina::slt
