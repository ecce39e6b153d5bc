// Rows of a statement as text, in each form that the shell knows. Pure: what the terminal is like
// comes in as options.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/connection.h"

namespace lamina::cli {

enum class OutputMode : uint8_t {
  kBox,        ///< A table in a box, types under the names, cut to the terminal.
  kCsv,        ///< RFC 4180; NULL is an empty field, an empty text "".
  kTsv,        ///< Tabs between values; tabs and line ends in them are \t and \n.
  kJson,       ///< An object a line.
  kJsonArray,  ///< One array of objects.
  kLine,       ///< A line for each value: "name = value".
  kList,       ///< Values with | between them.
  kMarkdown,   ///< A table for Markdown.
  kInsert,     ///< INSERT statements.
  kAscii,      ///< A box of + - and |.
  kHtml,       ///< A table for HTML.
};
std::optional<OutputMode> OutputModeOf(std::string_view name);
std::string_view NameOf(OutputMode mode);
/// Every name, for help and completion.
const std::vector<std::string>& OutputModeNames();

struct RenderOptions {
  OutputMode mode = OutputMode::kBox;
  bool headers = true;
  /// What stands for NULL; nullopt: what is usual in the mode.
  std::optional<std::string> null_text;
  bool color = false;
  /// Boxes are cut to so many terminal columns; 0: not at all.
  size_t columns_max = 0;
  /// Boxes show so many rows, the first and the last ones; 0: all.
  size_t rows_max = 0;
  /// Boxes: the width that values of the n-th column are cut to, 0 for none of its own.
  std::vector<size_t> widths;
  /// CSV and lists: what stands between values; nullopt: a comma, or |.
  std::optional<std::string> separator;
  /// People see it at once: control characters in texts are shown as \x1b and the like.
  bool terminal = false;
  /// INSERT: the table's name as SQL spells it.
  std::string table = "\"table\"";
  /// INSERT: rows of one statement; 0: all.
  uint64_t insert_rows_max = 500;
};

/// Writes the rows of `result`, through `write`, in pieces of whole lines. When `write` gives false
/// the reader has gone: the rest is not computed and kCancelled comes back. Gives the number of
/// rows.
Result<uint64_t> Render(SqlResult& result, const RenderOptions& options,
                        const std::function<bool(std::string_view)>& write);

/// Whether values of a SQL type are numbers, which stand to the right.
bool IsNumberType(std::string_view type);
/// A type as boxes show it: "int32" for INTEGER, "varchar" for VARCHAR.
std::string ShortTypeName(std::string_view type);
/// A value as a literal that its type reads back: 1, NULL, 'it''s'.
std::string SqlLiteral(bool is_null, std::string_view text, std::string_view type);
/// A name as SQL spells it: quoted where it must be.
std::string QuotedName(std::string_view name);

}  // namespace lamina::cli
