#include "cli/shell/render.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <deque>
#include <limits>
#include <utility>

#include "cli/terminal.h"
#include <arrow/array/array_nested.h>
#include <arrow/extension_type.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace lamina::cli {
namespace {

using nlohmann::ordered_json;
using Write = std::function<bool(std::string_view)>;

constexpr std::array<std::pair<OutputMode, std::string_view>, 11> kModes = {{
    {OutputMode::kBox, "box"},
    {OutputMode::kCsv, "csv"},
    {OutputMode::kTsv, "tsv"},
    {OutputMode::kJson, "json"},
    {OutputMode::kJsonArray, "jsonarray"},
    {OutputMode::kLine, "line"},
    {OutputMode::kList, "list"},
    {OutputMode::kMarkdown, "markdown"},
    {OutputMode::kInsert, "insert"},
    {OutputMode::kAscii, "ascii"},
    {OutputMode::kHtml, "html"},
}};
// A text is cut to no less than this, a type's name to this.
constexpr size_t kTextMin = 12;
constexpr size_t kTypeMax = 24;
// Rows are handed on in pieces of about this size.
constexpr size_t kPieceBytes = 1 << 16;

Status ReaderGone() { return MakeError(ErrorCode::kCancelled, "whoever read the output has gone"); }

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string Paint(const std::string& text, const char* code, bool color) {
  return color && !text.empty() ? fmt::format("\033[{}m{}\033[0m", code, text) : text;
}
constexpr char kBold[] = "1";
constexpr char kDim[] = "2";

// ---- Boxes ----

struct Cell {
  std::string text;
  bool is_null = false;
};
using Row = std::vector<Cell>;

/// What a box shows of a result: all of it, or its first and last rows.
struct BoxRows {
  std::vector<Row> first;
  std::deque<Row> last;
  uint64_t count = 0;

  uint64_t hidden() const { return count - first.size() - last.size(); }
};

Result<BoxRows> ReadBox(SqlResult& result, const RenderOptions& options) {
  const std::string null_text = options.null_text.value_or("NULL");
  const size_t first_max = options.rows_max == 0 ? std::numeric_limits<size_t>::max()
                                                 : std::max<size_t>(options.rows_max / 2, 1);
  const size_t last_max = options.rows_max == 0 ? 0 : options.rows_max - first_max;
  BoxRows out;
  for (;;) {
    ARROW_ASSIGN_OR_RAISE(const bool more, result.NextRow());
    if (!more) return out;
    Row row;
    row.reserve(result.columns().size());
    for (size_t i = 0; i < result.columns().size(); ++i) {
      const int column = static_cast<int>(i);
      if (result.IsNull(column)) {
        row.push_back({null_text, true});
      } else {
        row.push_back({OneLine(result.Text(column)), false});
      }
    }
    ++out.count;
    if (out.first.size() < first_max) {
      out.first.push_back(std::move(row));
    } else {
      out.last.push_back(std::move(row));
      if (out.last.size() > last_max) out.last.pop_front();
    }
  }
}

/// What a box is drawn with.
struct Signs {
  const char* flat;
  const char* upright;
  std::array<const char*, 3> top, middle, bottom;  // left, between, right
};
constexpr Signs kLines = {"─", "│", {"┌", "┬", "┐"}, {"├", "┼", "┤"}, {"└", "┴", "┘"}};
constexpr Signs kAscii = {"-", "|", {"+", "+", "+"}, {"+", "+", "+"}, {"+", "+", "+"}};

class Box {
 public:
  Box(const std::vector<SqlColumn>& columns, const BoxRows& rows, const RenderOptions& options)
      : rows_(rows),
        options_(options),
        signs_(options.mode == OutputMode::kAscii ? kAscii : kLines) {
    for (size_t c = 0; c < columns.size(); ++c) {
      names_.push_back(OneLine(columns[c].name));
      types_.push_back(Shorten(OneLine(ShortTypeName(columns[c].type)), kTypeMax));
      right_.push_back(IsNumberType(columns[c].type));
      natural_.push_back(std::max<size_t>(
          options.headers ? std::max(DisplayWidth(names_[c]), DisplayWidth(types_[c])) : 1, 1));
      shown_.push_back(c);
    }
    const auto widen = [&](const Row& row) {
      for (size_t c = 0; c < row.size(); ++c)
        natural_[c] = std::max(natural_[c], DisplayWidth(row[c].text));
    };
    for (const Row& row : rows.first) widen(row);
    for (const Row& row : rows.last) widen(row);
    Fit();
  }

  std::string Text() const {
    std::string out = Rule(signs_.top);
    if (options_.headers) {
      out += Header(names_, kBold) + Header(types_, kDim) + Rule(signs_.middle);
    }
    for (const Row& row : rows_.first) out += Line(row);
    if (rows_.hidden() > 0) {
      for (int i = 0; i < 3; ++i) out += Dots();
    }
    for (const Row& row : rows_.last) out += Line(row);
    return out + Rule(signs_.bottom) + Count();
  }

 private:
  bool left_out() const { return shown_.size() < names_.size(); }

  /// Cuts long texts, then leaves out columns in the middle, until it fits.
  void Fit() {
    gap_ = shown_.size();
    for (size_t c = 0; c < natural_.size() && c < options_.widths.size(); ++c) {
      if (options_.widths[c] > 0) natural_[c] = std::min(natural_[c], options_.widths[c]);
    }
    if (options_.columns_max == 0 || Total(kNoCap) <= options_.columns_max) return;
    while (shown_.size() > 1 && Total(kTextMin) > options_.columns_max) {
      gap_ = shown_.size() / 2;
      shown_.erase(shown_.begin() + static_cast<ptrdiff_t>(gap_));
    }
    cap_ = std::max(options_.columns_max, kTextMin);
    while (cap_ > kTextMin && Total(cap_) > options_.columns_max) --cap_;
  }
  size_t Width(size_t c, size_t cap) const {
    return right_[c] ? natural_[c] : std::min(natural_[c], cap);
  }
  size_t Width(size_t c) const { return Width(c, cap_); }
  size_t Total(size_t cap) const {
    size_t out = left_out() ? 1 + 4 : 1;
    for (const size_t c : shown_) out += Width(c, cap) + 3;
    return out;
  }

  std::string Draw(const std::string& text) const { return Paint(text, kDim, options_.color); }

  std::string Rule(const std::array<const char*, 3>& ends) const {
    const auto [left, middle, right] = ends;
    const std::string flat = signs_.flat;
    std::string out = left;
    for (size_t i = 0; i <= shown_.size(); ++i) {
      if (left_out() && i == gap_) {
        const std::string gap = flat + flat + flat;
        out += i == shown_.size() ? middle + gap : gap + middle;
      }
      if (i == shown_.size()) break;
      for (size_t k = 0; k < Width(shown_[i]) + 2; ++k) out += flat;
      if (i + 1 < shown_.size()) out += middle;
    }
    return Draw(out + right) + "\n";
  }

  template <typename CellAt>
  std::string Cells(const CellAt& cell, const std::string& gap) const {
    const std::string bar = Draw(signs_.upright);
    std::string out = bar;
    for (size_t i = 0; i < shown_.size(); ++i) {
      if (left_out() && i == gap_) out += " " + gap + " " + bar;
      out += " " + cell(shown_[i]) + " " + bar;
    }
    if (left_out() && gap_ == shown_.size()) out += " " + gap + " " + bar;
    return out + "\n";
  }

  static std::string Pad(size_t n) { return std::string(n, ' '); }

  std::string Header(const std::vector<std::string>& texts, const char* style) const {
    return Cells(
        [&](size_t c) {
          const std::string text = Shorten(texts[c], Width(c));
          const size_t free = Width(c) - DisplayWidth(text);
          return Pad(free / 2) + Paint(text, style, options_.color) + Pad(free - free / 2);
        },
        style == kBold ? "…" : " ");
  }

  std::string Line(const Row& row) const {
    return Cells(
        [&](size_t c) {
          const std::string text = Shorten(row[c].text, Width(c));
          const std::string pad = Pad(Width(c) - DisplayWidth(text));
          const std::string painted = row[c].is_null ? Draw(text) : text;
          return right_[c] ? pad + painted : painted + pad;
        },
        "…");
  }

  std::string Dots() const {
    return Cells(
        [&](size_t c) {
          const std::string pad = Pad(Width(c) - 1);
          return right_[c] ? pad + Draw("·") : Draw("·") + pad;
        },
        Draw("·"));
  }

  std::string Count() const {
    std::string out = Plural(rows_.count, "row");
    if (rows_.hidden() > 0)
      out += fmt::format(" ({} shown)", CountText(rows_.first.size() + rows_.last.size()));
    if (left_out()) {
      out +=
          fmt::format(", {} ({} shown)", Plural(names_.size(), "column"), CountText(shown_.size()));
    }
    return Draw(out) + "\n";
  }

  static constexpr size_t kNoCap = std::numeric_limits<size_t>::max();

  const BoxRows& rows_;
  const RenderOptions& options_;
  const Signs& signs_;
  std::vector<std::string> names_, types_;
  std::vector<bool> right_;
  std::vector<size_t> natural_;  // widths wanted
  std::vector<size_t> shown_;    // columns that are not left out
  size_t gap_ = 0;               // where columns are left out
  size_t cap_ = kNoCap;          // width that texts are cut to
};

Result<uint64_t> RenderBox(SqlResult& result, const RenderOptions& options, const Write& write) {
  ARROW_ASSIGN_OR_RAISE(const BoxRows rows, ReadBox(result, options));
  if (!write(Box(result.columns(), rows, options).Text())) return ReaderGone();
  return rows.count;
}

// ---- A line a row ----

/// Collects lines and hands them on in pieces.
class Pieces {
 public:
  explicit Pieces(const Write& write) : write_(write) {}
  Status Add(std::string_view text) {
    piece_ += text;
    return piece_.size() < kPieceBytes ? Status::OK() : Flush();
  }
  Status Flush() {
    if (piece_.empty()) return Status::OK();
    const bool taken = write_(piece_);
    piece_.clear();
    return taken ? Status::OK() : ReaderGone();
  }

 private:
  const Write& write_;
  std::string piece_;
};

std::string CsvField(std::string_view text, bool is_null, std::string_view separator) {
  if (is_null || (!text.empty() && text.find_first_of("\"\r\n") == std::string_view::npos &&
                  (separator.empty() || text.find(separator) == std::string_view::npos)))
    return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

std::string TsvField(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\t') {
      out += "\\t";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\\') {
      out += "\\\\";
    } else {
      out += c;
    }
  }
  return out;
}

std::string MarkdownField(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "<br>";
    } else if (c != '\r') {
      if (c == '|' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out;
}

std::string HtmlField(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\n':
        out += "<br>";
        break;
      default:
        out += c;
    }
  }
  return out;
}

/// With its line ends, but nothing that would steer a terminal.
std::string Harmless(std::string_view text) {
  std::string out;
  for (;;) {
    const size_t end = text.find('\n');
    out += OneLine(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    out += '\n';
    text.remove_prefix(end + 1);
  }
}

/// How a mode writes values, and what stands around them.
struct LineForm {
  std::string begin, between, end;
  std::function<std::string(std::string_view text, bool is_null)> field;
};

LineForm FormOf(const RenderOptions& options) {
  switch (options.mode) {
    case OutputMode::kCsv: {
      std::string separator = options.separator.value_or(",");
      return {"", separator, "\n", [separator](std::string_view text, bool is_null) {
                return CsvField(text, is_null, separator);
              }};
    }
    case OutputMode::kTsv:
      return {"", "\t", "\n", [](std::string_view text, bool) { return TsvField(text); }};
    case OutputMode::kMarkdown:
      return {"| ", " | ", " |\n", [](std::string_view text, bool) { return MarkdownField(text); }};
    case OutputMode::kHtml:
      return {"<tr><td>", "</td><td>", "</td></tr>\n",
              [](std::string_view text, bool) { return HtmlField(text); }};
    default:
      return {"", options.separator.value_or("|"), "\n",
              [terminal = options.terminal](std::string_view text, bool) {
                return terminal ? Harmless(text) : std::string(text);
              }};
  }
}

Result<uint64_t> RenderLines(SqlResult& result, const RenderOptions& options, const Write& write) {
  const LineForm form = FormOf(options);
  const bool html = options.mode == OutputMode::kHtml;
  const std::string null_text = options.null_text.value_or("");
  const std::vector<SqlColumn>& columns = result.columns();
  Pieces pieces(write);
  const auto line = [&](const auto& field) {
    std::string out = form.begin;
    for (size_t c = 0; c < columns.size(); ++c) {
      if (c != 0) out += form.between;
      out += field(c);
    }
    return out + form.end;
  };
  if (html) {
    std::string head = "<table>\n";
    if (options.headers) {
      head += "<tr>";
      for (const SqlColumn& column : columns) head += "<th>" + HtmlField(column.name) + "</th>";
      head += "</tr>\n";
    }
    ARROW_RETURN_NOT_OK(pieces.Add(head));
  }
  // A table of Markdown is none without its head.
  if ((options.headers && !html) || options.mode == OutputMode::kMarkdown)
    ARROW_RETURN_NOT_OK(
        pieces.Add(line([&](size_t c) { return form.field(columns[c].name, false); })));
  if (options.mode == OutputMode::kMarkdown) {
    ARROW_RETURN_NOT_OK(pieces.Add(line(
        [&](size_t c) { return std::string(IsNumberType(columns[c].type) ? "--:" : "---"); })));
  }
  uint64_t count = 0;
  for (;; ++count) {
    ARROW_ASSIGN_OR_RAISE(const bool more, result.NextRow());
    if (!more) break;
    ARROW_RETURN_NOT_OK(pieces.Add(line([&](size_t c) {
      const int column = static_cast<int>(c);
      return result.IsNull(column) ? form.field(null_text, true)
                                   : form.field(result.Text(column), false);
    })));
  }
  if (html) ARROW_RETURN_NOT_OK(pieces.Add("</table>\n"));
  ARROW_RETURN_NOT_OK(pieces.Flush());
  return count;
}

Result<uint64_t> RenderLine(SqlResult& result, const RenderOptions& options, const Write& write) {
  const std::string null_text = options.null_text.value_or("");
  size_t width = 0;
  for (const SqlColumn& column : result.columns())
    width = std::max(width, DisplayWidth(OneLine(column.name)));
  Pieces pieces(write);
  uint64_t count = 0;
  for (;; ++count) {
    ARROW_ASSIGN_OR_RAISE(const bool more, result.NextRow());
    if (!more) break;
    std::string out = count == 0 ? "" : "\n";
    for (size_t c = 0; c < result.columns().size(); ++c) {
      const int column = static_cast<int>(c);
      const std::string name = OneLine(result.columns()[c].name);
      out +=
          std::string(width - DisplayWidth(name), ' ') + Paint(name, kBold, options.color) + " = ";
      out += result.IsNull(column) ? Paint(null_text, kDim, options.color)
             : options.terminal    ? Harmless(result.Text(column))
                                   : std::string(result.Text(column));
      out += "\n";
    }
    ARROW_RETURN_NOT_OK(pieces.Add(out));
  }
  ARROW_RETURN_NOT_OK(pieces.Flush());
  return count;
}

Result<uint64_t> RenderInsert(SqlResult& result, const RenderOptions& options, const Write& write) {
  std::string head = "INSERT INTO " + options.table;
  if (options.headers) {
    head += " (";
    for (size_t c = 0; c < result.columns().size(); ++c)
      head += (c == 0 ? "" : ", ") + QuotedName(result.columns()[c].name);
    head += ")";
  }
  // Rows go together: a statement each would be a commit each.
  const uint64_t most = options.insert_rows_max == 0 ? ~uint64_t{0} : options.insert_rows_max;
  Pieces pieces(write);
  uint64_t count = 0;
  for (;; ++count) {
    ARROW_ASSIGN_OR_RAISE(const bool more, result.NextRow());
    if (!more) break;
    std::string out = count % most == 0 ? head + " VALUES\n  (" : ",\n  (";
    if (count != 0 && count % most == 0) out = ";\n" + out;
    for (size_t c = 0; c < result.columns().size(); ++c) {
      const int column = static_cast<int>(c);
      if (c != 0) out += ", ";
      out += SqlLiteral(result.IsNull(column), result.Text(column), result.columns()[c].type);
    }
    ARROW_RETURN_NOT_OK(pieces.Add(out + ")"));
  }
  if (count > 0) ARROW_RETURN_NOT_OK(pieces.Add(";\n"));
  ARROW_RETURN_NOT_OK(pieces.Flush());
  return count;
}

// ---- JSON ----

/// A column's value for JSON: nested values as JSON's own, documents (JSON) as what they say.
ordered_json JsonOf(const std::shared_ptr<arrow::Array>& column, int64_t row, bool is_document) {
  const arrow::Array* values = column.get();
  if (column->type_id() == arrow::Type::EXTENSION)
    values = static_cast<const arrow::ExtensionArray&>(*column).storage().get();
  ordered_json out = CellJson(*values, row);
  if (!is_document || !out.is_string()) return out;
  ordered_json document =
      ordered_json::parse(out.get<std::string>(), nullptr, /*allow_exceptions=*/false);
  return document.is_discarded() ? out : document;
}

Result<uint64_t> RenderJson(SqlResult& result, const RenderOptions& options, const Write& write) {
  const bool as_array = options.mode == OutputMode::kJsonArray;
  Pieces pieces(write);
  uint64_t count = 0;
  for (;;) {
    ARROW_ASSIGN_OR_RAISE(const auto batch, result.NextBatch());
    if (batch == nullptr) break;
    for (int64_t r = 0; r < batch->num_rows(); ++r, ++count) {
      auto row = ordered_json::object();
      for (int c = 0; c < batch->num_columns(); ++c) {
        // Two columns of one name: both must be there.
        std::string name = batch->column_name(c);
        for (int n = 1; row.contains(name); ++n)
          name = fmt::format("{}_{}", batch->column_name(c), n);
        row[name] =
            JsonOf(batch->column(c), r, result.columns()[static_cast<size_t>(c)].type == "JSON");
      }
      const char* before = !as_array ? "" : count == 0 ? "[" : ",\n ";
      ARROW_RETURN_NOT_OK(pieces.Add(before + JsonLine(row) + (as_array ? "" : "\n")));
    }
  }
  if (as_array) ARROW_RETURN_NOT_OK(pieces.Add(count == 0 ? "[]\n" : "]\n"));
  ARROW_RETURN_NOT_OK(pieces.Flush());
  return count;
}

}  // namespace

std::optional<OutputMode> OutputModeOf(std::string_view name) {
  const std::string lower = Lower(name);
  // As other shells call them.
  if (lower == "duckbox" || lower == "table") return OutputMode::kBox;
  if (lower == "tabs") return OutputMode::kTsv;
  if (lower == "column" || lower == "columns") return OutputMode::kBox;
  if (lower == "jsonlines" || lower == "ndjson") return OutputMode::kJson;
  for (const auto& [mode, its_name] : kModes) {
    if (its_name == lower) return mode;
  }
  return std::nullopt;
}

std::string_view NameOf(OutputMode mode) {
  for (const auto& [its_mode, name] : kModes) {
    if (its_mode == mode) return name;
  }
  return "";
}

const std::vector<std::string>& OutputModeNames() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const auto& [mode, name] : kModes) out.emplace_back(name);
    return out;
  }();
  return names;
}

Result<uint64_t> Render(SqlResult& result, const RenderOptions& options, const Write& write) {
  switch (options.mode) {
    case OutputMode::kBox:
    case OutputMode::kAscii:
      return RenderBox(result, options, write);
    case OutputMode::kJson:
    case OutputMode::kJsonArray:
      return RenderJson(result, options, write);
    case OutputMode::kLine:
      return RenderLine(result, options, write);
    case OutputMode::kInsert:
      return RenderInsert(result, options, write);
    case OutputMode::kCsv:
    case OutputMode::kTsv:
    case OutputMode::kList:
    case OutputMode::kMarkdown:
    case OutputMode::kHtml:
      break;
  }
  return RenderLines(result, options, write);
}

bool IsNumberType(std::string_view type) {
  static constexpr std::string_view kNumbers[] = {
      "TINYINT",  "SMALLINT", "INTEGER",  "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT",
      "UINTEGER", "UBIGINT",  "UHUGEINT", "FLOAT",  "DOUBLE",  "BIGNUM",
  };
  if (type.starts_with("DECIMAL(") && type.ends_with(")")) return true;
  return std::find(std::begin(kNumbers), std::end(kNumbers), type) != std::end(kNumbers);
}

std::string ShortTypeName(std::string_view type) {
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"TINYINT", "int8"},     {"SMALLINT", "int16"},  {"INTEGER", "int32"},
      {"BIGINT", "int64"},     {"HUGEINT", "int128"},  {"UTINYINT", "uint8"},
      {"USMALLINT", "uint16"}, {"UINTEGER", "uint32"}, {"UBIGINT", "uint64"},
      {"UHUGEINT", "uint128"},
  };
  // The names inside are someone's own.
  if (type.starts_with("ENUM(") || type.find('"') != std::string_view::npos)
    return std::string(type);
  const size_t brackets = std::min(type.find('['), type.size());
  for (const auto& [name, its_short] : kNames) {
    if (type.substr(0, brackets) == name)
      return std::string(its_short) + std::string(type.substr(brackets));
  }
  return Lower(type);
}

std::string SqlLiteral(bool is_null, std::string_view text, std::string_view type) {
  if (is_null) return "NULL";
  const bool is_plain = type == "BOOLEAN" || IsNumberType(type);
  // inf and nan are words.
  if (is_plain &&
      (type == "BOOLEAN" || text.find_first_not_of("+-.eE0123456789") == std::string_view::npos))
    return std::string(text);
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += '\'';
    out += c;
  }
  return out + "'";
}

std::string QuotedName(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

}  // namespace lamina::cli
