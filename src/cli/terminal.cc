#include "cli/terminal.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <sys/ioctl.h>
#include <unistd.h>

#include <arrow/array/array_nested.h>
#include <arrow/array/array_primitive.h>
#include <arrow/scalar.h>
#include <fmt/format.h>

#include "base/clock.h"
#include "lamina/time.h"

namespace lamina::cli {
namespace {

using nlohmann::ordered_json;

std::atomic<int> interrupts{0};

void OnInterrupt(int signal) {
  if (interrupts.fetch_add(1) > 0) {
    // The second time is meant: nothing here needs cleaning that the next open would not do.
    _exit(128 + signal);
  }
}

// ---- Characters ----

struct Range {
  char32_t first, last;
};

// Unicode's East Asian Wide and Fullwidth, and emoji shown as pictures.
constexpr std::array kWide = {
    Range{0x1100, 0x115F},   Range{0x231A, 0x231B},   Range{0x2329, 0x232A},
    Range{0x23E9, 0x23EC},   Range{0x23F0, 0x23F0},   Range{0x23F3, 0x23F3},
    Range{0x25FD, 0x25FE},   Range{0x2614, 0x2615},   Range{0x2648, 0x2653},
    Range{0x267F, 0x267F},   Range{0x2693, 0x2693},   Range{0x26A1, 0x26A1},
    Range{0x26AA, 0x26AB},   Range{0x26BD, 0x26BE},   Range{0x26C4, 0x26C5},
    Range{0x26CE, 0x26CE},   Range{0x26D4, 0x26D4},   Range{0x26EA, 0x26EA},
    Range{0x26F2, 0x26F3},   Range{0x26F5, 0x26F5},   Range{0x26FA, 0x26FA},
    Range{0x26FD, 0x26FD},   Range{0x2705, 0x2705},   Range{0x270A, 0x270B},
    Range{0x2728, 0x2728},   Range{0x274C, 0x274C},   Range{0x274E, 0x274E},
    Range{0x2753, 0x2755},   Range{0x2757, 0x2757},   Range{0x2795, 0x2797},
    Range{0x27B0, 0x27B0},   Range{0x27BF, 0x27BF},   Range{0x2B1B, 0x2B1C},
    Range{0x2B50, 0x2B50},   Range{0x2B55, 0x2B55},   Range{0x2E80, 0x303E},
    Range{0x3041, 0x33FF},   Range{0x3400, 0x4DBF},   Range{0x4E00, 0xA4CF},
    Range{0xA960, 0xA97F},   Range{0xAC00, 0xD7A3},   Range{0xF900, 0xFAFF},
    Range{0xFE10, 0xFE19},   Range{0xFE30, 0xFE6F},   Range{0xFF00, 0xFF60},
    Range{0xFFE0, 0xFFE6},   Range{0x1F004, 0x1F004}, Range{0x1F0CF, 0x1F0CF},
    Range{0x1F18E, 0x1F18E}, Range{0x1F191, 0x1F19A}, Range{0x1F200, 0x1F320},
    Range{0x1F32D, 0x1F335}, Range{0x1F337, 0x1F37C}, Range{0x1F37E, 0x1F393},
    Range{0x1F3A0, 0x1F3CA}, Range{0x1F3CF, 0x1F3D3}, Range{0x1F3E0, 0x1F3F0},
    Range{0x1F3F4, 0x1F3F4}, Range{0x1F3F8, 0x1F43E}, Range{0x1F440, 0x1F440},
    Range{0x1F442, 0x1F4FC}, Range{0x1F4FF, 0x1F53D}, Range{0x1F54B, 0x1F54E},
    Range{0x1F550, 0x1F567}, Range{0x1F57A, 0x1F57A}, Range{0x1F595, 0x1F596},
    Range{0x1F5A4, 0x1F5A4}, Range{0x1F5FB, 0x1F64F}, Range{0x1F680, 0x1F6C5},
    Range{0x1F6CC, 0x1F6CC}, Range{0x1F6D0, 0x1F6D2}, Range{0x1F6D5, 0x1F6DF},
    Range{0x1F6EB, 0x1F6EC}, Range{0x1F6F4, 0x1F6FC}, Range{0x1F7E0, 0x1F7EB},
    Range{0x1F90C, 0x1F9FF}, Range{0x1FA70, 0x1FAFF}, Range{0x20000, 0x3FFFD}};

// Combining marks, joiners and selectors: they change the character before.
constexpr std::array kNoWidth = {
    Range{0x300, 0x36F},     Range{0x483, 0x489},    Range{0x591, 0x5BD},   Range{0x610, 0x61A},
    Range{0x64B, 0x65F},     Range{0xE31, 0xE31},    Range{0xE34, 0xE3A},   Range{0xE47, 0xE4E},
    Range{0x1AB0, 0x1AFF},   Range{0x1DC0, 0x1DFF},  Range{0x200B, 0x200F}, Range{0x2060, 0x2064},
    Range{0x20D0, 0x20FF},   Range{0xFE00, 0xFE0F},  Range{0xFE20, 0xFE2F}, Range{0xFEFF, 0xFEFF},
    Range{0x1F3FB, 0x1F3FF}, Range{0xE0100, 0xE01EF}};

template <size_t n>
bool Contains(const std::array<Range, n>& ranges, char32_t c) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [c](Range r) { return r.first <= c && c <= r.last; });
}

size_t CharWidth(char32_t c) {
  if (c < 0x300) return 1;
  if (Contains(kNoWidth, c)) return 0;
  return Contains(kWide, c) ? 2 : 1;
}

// The next character of UTF-8 text and its bytes; 0 bytes when it is none (cut, overlong, surrogate
// or too large).
size_t NextChar(std::string_view s, char32_t* c) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char b = byte(0);
  const size_t n = b < 0x80 ? 1 : b < 0xC2 ? 0 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : b < 0xF5 ? 4 : 0;
  if (n == 0 || n > s.size()) return 0;
  if (n == 1) {
    *c = b;
    return 1;
  }
  char32_t value = b & (0xFFU >> (n + 1));
  for (size_t i = 1; i < n; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    value = value << 6 | (byte(i) & 0x3F);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kLeast[n] || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) return 0;
  *c = value;
  return n;
}

// Control characters, and those that turn the writing direction round.
bool IsControl(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x202A && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069) || c == 0x2028 || c == 0x2029;
}

std::string Hex(std::string_view s) {
  std::string out;
  for (const char c : s) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

std::string BinaryText(std::string_view s) {
  if (IsUtf8(s) && OneLine(s) == s) return std::string(s);
  return "0x" + Hex(s);
}

// ---- Cells ----

std::string TimestampText(const arrow::TimestampArray& array, int64_t row) {
  const auto& type = static_cast<const arrow::TimestampType&>(*array.type());
  const int64_t v = array.Value(row);
  int64_t micros = v;
  std::string nanos;
  bool fits = true;
  switch (type.unit()) {
    case arrow::TimeUnit::SECOND:
      fits = !__builtin_mul_overflow(v, 1'000'000, &micros);
      break;
    case arrow::TimeUnit::MILLI:
      fits = !__builtin_mul_overflow(v, 1'000, &micros);
      break;
    case arrow::TimeUnit::MICRO:
      break;
    case arrow::TimeUnit::NANO: {
      int64_t rest = v % 1'000;
      micros = v / 1'000;
      if (rest < 0) {
        rest += 1'000;
        --micros;
      }
      nanos = fmt::format("{:03}", rest);
      break;
    }
  }
  if (!fits) return fmt::format("{} {}", v, type.ToString());
  std::string out = FormatTimestamp(micros);
  if (!out.ends_with('Z')) return out;  // infinity
  out.pop_back();
  out += nanos;
  // A timestamp without a zone is a wall clock's: it says nothing of UTC.
  return type.timezone().empty() ? out : out + "Z";
}

std::string_view BinaryView(const arrow::Array& column, int64_t row) {
  switch (column.type_id()) {
    case arrow::Type::BINARY:
    case arrow::Type::STRING:
      return static_cast<const arrow::BinaryArray&>(column).GetView(row);
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::LARGE_STRING:
      return static_cast<const arrow::LargeBinaryArray&>(column).GetView(row);
    default:
      return static_cast<const arrow::FixedSizeBinaryArray&>(column).GetView(row);
  }
}

std::string ScalarText(const arrow::Array& column, int64_t row) {
  const auto scalar = column.GetScalar(row);
  return scalar.ok() ? (*scalar)->ToString() : scalar.status().ToString();
}

ordered_json ListJson(const arrow::Array& values, int64_t from, int64_t to) {
  auto out = ordered_json::array();
  for (int64_t i = from; i < to; ++i) out.push_back(CellJson(values, i));
  return out;
}

bool IsNumber(const arrow::DataType& type) {
  return arrow::is_integer(type.id()) || arrow::is_floating(type.id()) ||
         arrow::is_decimal(type.id());
}

bool IsNested(const arrow::DataType& type) {
  return arrow::is_nested(type.id()) || type.id() == arrow::Type::DICTIONARY;
}

/// The cells of one column. Fractions of a second are left out where no row has one.
std::vector<std::string> ColumnTexts(const arrow::Array& column, int64_t rows) {
  std::vector<std::string> out;
  for (int64_t r = 0; r < rows; ++r) out.push_back(CellText(column, r));
  if (column.type_id() != arrow::Type::TIMESTAMP) return out;
  const auto fraction = [](const std::string& text) { return text.find('.'); };
  const bool whole = std::all_of(out.begin(), out.end(), [&](const std::string& text) {
    const size_t dot = fraction(text);
    return dot == std::string::npos || text.find_first_not_of("0Z", dot + 1) == std::string::npos;
  });
  if (!whole) return out;
  for (auto& text : out) {
    const size_t dot = fraction(text);
    if (dot != std::string::npos) text = text.substr(0, dot) + (text.ends_with('Z') ? "Z" : "");
  }
  return out;
}

// ---- The terminal ----

int out_error = 0;

std::mutex progress_mu;
int64_t progress_spoke_nanos = 0;
bool progress_drawn = false;

// Under progress_mu.
void DrawProgress(const std::string& line) {
  fmt::print(stderr, "\r\033[K{}", Shorten(line, TerminalColumns(STDERR_FILENO) - 1));
  std::fflush(stderr);
  progress_drawn = true;
}

}  // namespace

bool IsUtf8(std::string_view s) {
  char32_t c = 0;
  while (!s.empty()) {
    const size_t n = NextChar(s, &c);
    if (n == 0) return false;
    s.remove_prefix(n);
  }
  return true;
}

size_t TerminalColumns(int descriptor) {
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

size_t TerminalRows(int descriptor) {
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_row > 0) return size.ws_row;
  return 24;
}

bool HasColor(bool on_stderr) {
  static const bool wanted = [] {
    const char* no = std::getenv("NO_COLOR");
    const char* term = std::getenv("TERM");
    return (no == nullptr || *no == '\0') && term != nullptr && std::string_view(term) != "dumb";
  }();
  return wanted && isatty(on_stderr ? STDERR_FILENO : STDOUT_FILENO) == 1;
}

size_t DisplayWidth(std::string_view text) {
  size_t width = 0;
  while (!text.empty()) {
    char32_t c = 0;
    const size_t n = NextChar(text, &c);
    width += n == 0 ? 1 : CharWidth(c);
    text.remove_prefix(std::max<size_t>(n, 1));
  }
  return width;
}

std::string Shorten(const std::string& s, size_t width) {
  if (DisplayWidth(s) <= width) return s;
  std::string out;
  size_t used = 0;
  for (std::string_view rest = s; !rest.empty();) {
    char32_t c = 0;
    const size_t n = std::max<size_t>(NextChar(rest, &c), 1);
    used += CharWidth(c);
    if (used + 1 > width) break;
    out += rest.substr(0, n);
    rest.remove_prefix(n);
  }
  return out + "…";
}

std::string OneLine(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    char32_t c = 0;
    const size_t n = NextChar(text, &c);
    if (n == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (IsControl(c)) {
      out += c < 0x100 ? fmt::format("\\x{:02x}", static_cast<uint32_t>(c))
                       : fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    } else {
      out += text.substr(0, n);
    }
    text.remove_prefix(std::max<size_t>(n, 1));
  }
  return out;
}

std::string CellText(const arrow::Array& column, int64_t row) {
  if (column.IsNull(row)) return "";
  if (IsNested(*column.type())) return JsonLine(CellJson(column, row));
  switch (column.type_id()) {
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE: {
      const auto number = CellJson(column, row);
      return number.is_string() ? number.get<std::string>() : number.dump();
    }
    case arrow::Type::TIMESTAMP:
      return TimestampText(static_cast<const arrow::TimestampArray&>(column), row);
    case arrow::Type::STRING:
    case arrow::Type::LARGE_STRING:
      return OneLine(BinaryView(column, row));
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::FIXED_SIZE_BINARY:
      return BinaryText(BinaryView(column, row));
    default:
      return OneLine(ScalarText(column, row));
  }
}

ordered_json BytesJson(std::string_view bytes) {
  if (IsUtf8(bytes)) return std::string(bytes);
  return {{"hex", Hex(bytes)}};
}

ordered_json CellJson(const arrow::Array& column, int64_t row) {
  if (column.IsNull(row)) return nullptr;
  switch (column.type_id()) {
    case arrow::Type::NA:
      return nullptr;
    case arrow::Type::BOOL:
      return static_cast<const arrow::BooleanArray&>(column).Value(row);
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::UINT8:
    case arrow::Type::UINT16:
    case arrow::Type::UINT32:
    case arrow::Type::UINT64:
      return ordered_json::parse(ScalarText(column, row));
    case arrow::Type::DOUBLE: {
      const double v = static_cast<const arrow::DoubleArray&>(column).Value(row);
      if (std::isfinite(v)) return v;
      return std::isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity";
    }
    case arrow::Type::HALF_FLOAT:
    case arrow::Type::FLOAT: {
      // By way of the text: the shortest that reads back as the same float.
      const auto text = ScalarText(column, row);
      auto number = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
      if (number.is_number()) return number;
      return text.starts_with('-') ? "-Infinity" : text.starts_with("inf") ? "Infinity" : "NaN";
    }
    case arrow::Type::TIMESTAMP:
      return TimestampText(static_cast<const arrow::TimestampArray&>(column), row);
    case arrow::Type::STRING:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::FIXED_SIZE_BINARY:
      return BytesJson(BinaryView(column, row));
    case arrow::Type::LIST: {
      const auto& list = static_cast<const arrow::ListArray&>(column);
      return ListJson(*list.values(), list.value_offset(row), list.value_offset(row + 1));
    }
    case arrow::Type::LARGE_LIST: {
      const auto& list = static_cast<const arrow::LargeListArray&>(column);
      return ListJson(*list.values(), list.value_offset(row), list.value_offset(row + 1));
    }
    case arrow::Type::FIXED_SIZE_LIST: {
      const auto& list = static_cast<const arrow::FixedSizeListArray&>(column);
      return ListJson(*list.values(), list.value_offset(row), list.value_offset(row + 1));
    }
    case arrow::Type::MAP: {
      // Keys may be anything and may repeat: pairs, not an object.
      const auto& map = static_cast<const arrow::MapArray&>(column);
      auto out = ordered_json::array();
      for (int64_t i = map.value_offset(row); i < map.value_offset(row + 1); ++i) {
        out.push_back({{"key", CellJson(*map.keys(), i)}, {"value", CellJson(*map.items(), i)}});
      }
      return out;
    }
    case arrow::Type::STRUCT: {
      const auto& parts = static_cast<const arrow::StructArray&>(column);
      auto out = ordered_json::object();
      for (int i = 0; i < parts.num_fields(); ++i) {
        out[parts.struct_type()->field(i)->name()] = CellJson(*parts.field(i), row);
      }
      return out;
    }
    case arrow::Type::DICTIONARY: {
      const auto& dictionary = static_cast<const arrow::DictionaryArray&>(column);
      return CellJson(*dictionary.dictionary(), dictionary.GetValueIndex(row));
    }
    default:
      return ScalarText(column, row);
  }
}

ordered_json RowJson(const arrow::RecordBatch& batch, int64_t row) {
  auto out = ordered_json::object();
  for (int c = 0; c < batch.num_columns(); ++c) {
    out[batch.column_name(c)] = CellJson(*batch.column(c), row);
  }
  return out;
}

std::string JsonLine(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

void TextTable::Add(std::vector<std::string> row, std::vector<bool> right) {
  rows_.push_back(std::move(row));
  if (!right.empty()) right_ = std::move(right);
}

std::string TextTable::ToString() const {
  return ToString(StdoutIsTerminal() ? TerminalColumns(STDOUT_FILENO) : 0);
}

std::string TextTable::ToString(size_t columns_max) const {
  constexpr size_t kTextMin = 12;  // A text is cut to no less than this.
  std::vector<size_t> width(header_.size());
  std::vector<size_t> shown;
  for (size_t c = 0; c < header_.size(); ++c) {
    width[c] = DisplayWidth(header_[c]);
    for (const auto& row : rows_) width[c] = std::max(width[c], DisplayWidth(row[c]));
    shown.push_back(c);
  }
  const auto is_right = [&](size_t c) { return c < right_.size() && right_[c]; };
  const auto capped = [&](size_t c, size_t cap) {
    const bool whole = is_right(c) || (c < whole_.size() && whole_[c]);
    return whole ? width[c] : std::min(width[c], cap);
  };
  size_t gap = shown.size();  // Where columns are left out.
  const auto total = [&](size_t cap) {
    size_t out = gap < header_.size() ? 1 + 4 : 1;
    for (const size_t c : shown) out += capped(c, cap) + 3;
    return out;
  };
  size_t cap = std::numeric_limits<size_t>::max();
  if (columns_max != 0 && total(cap) > columns_max) {
    while (shown.size() > 1 && total(kTextMin) > columns_max) {
      const size_t middle = shown.size() / 2;
      shown.erase(shown.begin() + static_cast<int64_t>(middle));
      gap = middle;
    }
    cap = std::max(columns_max, kTextMin);
    while (cap > kTextMin && total(cap) > columns_max) --cap;
  }
  const bool left_out = gap < header_.size();
  const auto draw = [](const char* text) { return Styled(text, Style::kDim); };
  const auto rule = [&](const char* left, const char* middle, const char* right) {
    std::string out = left;
    for (size_t i = 0; i < shown.size(); ++i) {
      if (left_out && i == gap) out += std::string("───") + middle;
      for (size_t k = 0; k < capped(shown[i], cap) + 2; ++k) out += "─";
      if (i + 1 < shown.size()) out += middle;
    }
    if (left_out && gap == shown.size()) out += std::string(middle) + "───";
    return draw((out + right).c_str()) + "\n";
  };
  const auto line = [&](const std::vector<std::string>& cells, bool header) {
    const std::string bar = draw("│");
    std::string out = bar;
    for (size_t i = 0; i < shown.size(); ++i) {
      const size_t c = shown[i];
      if (left_out && i == gap) out += " … " + bar;
      const std::string text = Shorten(cells[c], capped(c, cap));
      const std::string pad(capped(c, cap) - DisplayWidth(text), ' ');
      out += " ";
      if (is_right(c)) out += pad;
      out += header ? Styled(text, Style::kBold) : text;
      if (!is_right(c)) out += pad;
      out += " " + bar;
    }
    if (left_out && gap == shown.size()) out += " … " + bar;
    return out + "\n";
  };
  std::string out = rule("┌", "┬", "┐");
  out += line(header_, true);
  out += rule("├", "┼", "┤");
  for (const auto& row : rows_) out += line(row, false);
  out += rule("└", "┴", "┘");
  if (left_out) {
    out += fmt::format("{} of {} columns shown; --columns chooses, --json shows all\n",
                       shown.size(), header_.size());
  }
  return out;
}

std::string BatchText(const arrow::RecordBatch& batch, int64_t rows_max, int64_t rows_total) {
  std::vector<std::string> names;
  for (const auto& name : batch.schema()->field_names()) names.push_back(OneLine(name));
  TextTable table(std::move(names));
  std::vector<bool> right, times;
  std::vector<std::vector<std::string>> columns;
  const int64_t rows = std::min(rows_max, batch.num_rows());
  for (const auto& column : batch.columns()) {
    right.push_back(IsNumber(*column->type()));
    times.push_back(arrow::is_temporal(column->type_id()));
    columns.push_back(ColumnTexts(*column, rows));
  }
  table.KeepWhole(std::move(times));
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<std::string> cells;
    cells.reserve(columns.size());
    for (auto& column : columns) cells.push_back(std::move(column[static_cast<size_t>(r)]));
    table.Add(std::move(cells), right);
  }
  std::string out = table.ToString();
  if (rows_total > rows) {
    out += fmt::format("  … {} more; --limit N shows N rows, --json and --csv all\n",
                       Plural(static_cast<uint64_t>(rows_total - rows), "row"));
  }
  return out;
}

std::string SizeText(uint64_t bytes) {
  const double b = static_cast<double>(bytes);
  if (bytes < 1000) return fmt::format("{} B", bytes);
  if (b < 1e6) return fmt::format("{:.1f} kB", b / 1e3);
  if (b < 1e9) return fmt::format("{:.1f} MB", b / 1e6);
  return fmt::format("{:.2f} GB", b / 1e9);
}

std::string CountText(uint64_t n) {
  const std::string digits = std::to_string(n);
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i != 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

std::string DurationText(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.0f} µs", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.1f} ms", seconds * 1e3);
  if (seconds < 100) return fmt::format("{:.1f} s", seconds);
  const auto whole = std::llround(seconds);
  return fmt::format("{} min {} s", whole / 60, whole % 60);
}

std::string Plural(uint64_t n, const std::string& one, const std::string& many) {
  return CountText(n) + " " + (n == 1 ? one : many.empty() ? one + "s" : many);
}

void Out(std::string_view text) {
  if (out_error == 0 && fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
    out_error = errno == 0 ? EIO : errno;
  }
}

Status FlushOut() {
  if (std::fflush(stdout) != 0 && out_error == 0) out_error = errno;
  if (out_error == 0) return Status::OK();
  return MakeError(out_error == ENOSPC ? ErrorCode::kResourceExhausted : ErrorCode::kUnavailable,
                   fmt::format("cannot write the output: {}", std::strerror(out_error)));
}

bool StdoutIsTerminal() { return isatty(STDOUT_FILENO) == 1; }

std::string Styled(std::string_view text, Style style, bool on_stderr) {
  if (!HasColor(on_stderr)) return std::string(text);
  const char* code = style == Style::kBold ? "1" : style == Style::kDim ? "2" : "1;31";
  return fmt::format("\033[{}m{}\033[0m", code, text);
}

Progress::Progress(std::string what) : what_(std::move(what)), start_nanos_(MonotonicNanos()) {}

Progress::~Progress() { Finish(); }

void Progress::Update(uint64_t done, uint64_t total, const std::string& note) {
  static const bool terminal = isatty(STDERR_FILENO) == 1;
  if (!terminal) return;
  const int64_t now = MonotonicNanos();
  if (now - start_nanos_ < 300'000'000 || now - shown_nanos_ < 100'000'000) return;
  shown_nanos_ = now;
  const double spent = static_cast<double>(now - start_nanos_) * 1e-9;
  std::string line = what_;
  if (total != 0) {
    const double part = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
    std::string bar;
    for (int i = 0; i < 16; ++i) bar += i < static_cast<int>(part * 16) ? "█" : "░";
    line += fmt::format(" {} {:3.0f} %", bar, part * 100);
    if (!note.empty()) line += "  " + note;
    if (spent > 2 && part > 0.01) {
      line += fmt::format("  {} left", DurationText(std::round(spent * (1 - part) / part)));
    }
  } else {
    // A line that never changes looks like a program that hangs.
    line += fmt::format(" {:.0f} s", spent);
    if (!note.empty()) line += "  " + note;
  }
  const std::lock_guard<std::mutex> lock(progress_mu);
  progress_spoke_nanos = now;
  DrawProgress(line);
}

void Progress::Finish() { ClearProgress(); }

void ShowActivity(const std::string& what, int64_t start_nanos) {
  static const bool terminal = isatty(STDERR_FILENO) == 1;
  if (!terminal) return;
  const int64_t now = MonotonicNanos();
  const std::lock_guard<std::mutex> lock(progress_mu);
  if (now - start_nanos < 1'000'000'000 || now - progress_spoke_nanos < 1'000'000'000) return;
  constexpr const char* kTurns[] = {"|", "/", "-", "\\"};
  DrawProgress(fmt::format("{} {} {:.0f} s", what, kTurns[(now / 125'000'000) % 4],
                           static_cast<double>(now - start_nanos) * 1e-9));
}

void ClearProgress() {
  const std::lock_guard<std::mutex> lock(progress_mu);
  if (progress_drawn) {
    fmt::print(stderr, "\r\033[K");
    std::fflush(stderr);
  }
  progress_drawn = false;
}

bool Interrupted() { return interrupts.load() > 0; }

void InstallInterruptHandler() {
  struct sigaction action {};
  action.sa_handler = OnInterrupt;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  // A closed pipe (lamina scan | head) is an ordinary end.
  std::signal(SIGPIPE, SIG_DFL);
}

int64_t MonotonicNanos() { return base::SystemClock()->MonotonicNanos(); }

}  // namespace lamina::cli
