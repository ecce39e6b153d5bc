// The precedence of -> and ->>. DuckDB's parser takes everything to their left as the operand, so
// that `n = doc->>'user'` is `(n = doc)->>'user'`, and everything to the right of ->, which makes
// its lambdas: `doc->'n' = '1'` is `doc->('n' = '1')`. PostgreSQL and SQLite bind them tighter than
// comparisons, LIKE, BETWEEN, NOT, AND and OR, which is what people who write it mean. Brackets are
// put around such operands before the text is parsed.
#pragma once

#include <string>
#include <vector>

#include "lamina/error.h"
#include "sql/lexer.h"

namespace lamina::sql {

/// Puts the brackets into `statement`, whose tokens are those of `span` (offsets count from
/// span.begin); over blanks where there are some. Gives the offsets in the new text of the
/// characters that were put between others, ascending. Lambdas (x -> x + 1) and operands that are
/// whole already stay as they are.
std::vector<size_t> BindJsonArrows(const StatementSpan& span, std::string* statement);

/// The error of a statement that begins at `begin` of `text` and was changed so, with its position
/// in `text`.
Status AtPlaceInText(const Status& status, const std::vector<size_t>& inserted, size_t begin,
                     std::string_view text);

}  // namespace lamina::sql
