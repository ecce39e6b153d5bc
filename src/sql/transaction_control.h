// Statements about transactions, which the session runs itself: BEGIN, COMMIT, ROLLBACK, SAVEPOINT,
// ROLLBACK TO, RELEASE and their other names.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lamina/database.h"
#include "sql/lexer.h"

namespace lamina::sql {

enum class ControlKind : uint8_t {
  kNone,
  kBegin,
  kCommit,
  kRollback,
  kSavepoint,
  kRollbackTo,
  kRelease,
};

struct Control {
  ControlKind kind = ControlKind::kNone;  ///< kNone: a statement about something else.
  std::string name;                       ///< Of a savepoint.
  Isolation isolation = Isolation::kSerializable;
  bool read_only = false;
  /// BEGIN … WITH (system_time = …): the expression, and where it stands. "": none.
  std::string system_time;
  size_t system_time_at = 0;
};

/// T1001, T1002 and T1005 with their place.
Result<Control> ParseControl(std::string_view text, const StatementSpan& span);

}  // namespace lamina::sql
