// The codes of SQL's errors: one table, from which docs/errors.md is checked.
#pragma once

#include <span>
#include <string_view>

#include "lamina/error.h"

namespace lamina::sql {

struct ErrorCodeRow {
  std::string_view code;      ///< "T2001"
  std::string_view name;      ///< "TableNotFound"
  std::string_view sqlstate;  ///< "42P01"
  ErrorCode error;            ///< What CodeOf says of it.
  std::string_view meaning;   ///< One sentence.
};

std::span<const ErrorCodeRow> ErrorCodes();
/// Of a code that is in the table.
const ErrorCodeRow& FindErrorCode(std::string_view code);
/// The SQL code for an error of the layers below.
std::string_view SqlCodeOf(const Status& status);

}  // namespace lamina::sql
