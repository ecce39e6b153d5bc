#include "cli/terminal.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <unistd.h>

#include <arrow/scalar.h>
#include <fmt/format.h>

#include "base/clock.h"
#include "lamina/time.h"

namespace lamina::cli {
namespace {

std::atomic<int> interrupts{0};

void OnInterrupt(int signal) {
  if (interrupts.fetch_add(1) > 0) {
    // The second time is meant: nothing here needs cleaning that the next open would not do.
    _exit(128 + signal);
  }
}

/// Columns on a terminal: bytes that do not continue a UTF-8 character.
size_t Width(const std::string& s) {
  return static_cast<size_t>(std::count_if(
      s.begin(), s.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string Shorten(const std::string& s, size_t width) {
  if (Width(s) <= width) return s;
  std::string out;
  size_t n = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    if ((static_cast<unsigned char>(s[i]) & 0xC0) != 0x80 && ++n == width) break;
    out.push_back(s[i]);
  }
  out += "…";
  return out;
}

bool IsPrintable(std::string_view s) {
  return std::all_of(s.begin(), s.end(),
                     [](char c) { return static_cast<unsigned char>(c) >= 32 && c != 127; });
}

std::string BinaryText(std::string_view s) {
  if (IsPrintable(s)) return std::string(s);
  std::string out = "0x";
  for (const char c : s) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

int64_t ToMicros(const arrow::TimestampArray& array, int64_t row) {
  const int64_t v = array.Value(row);
  switch (static_cast<const arrow::TimestampType&>(*array.type()).unit()) {
    case arrow::TimeUnit::SECOND:
      return v * 1'000'000;
    case arrow::TimeUnit::MILLI:
      return v * 1'000;
    case arrow::TimeUnit::MICRO:
      return v;
    case arrow::TimeUnit::NANO:
      return v / 1'000;
  }
  return v;
}

bool IsRightAligned(const arrow::DataType& type) {
  return arrow::is_integer(type.id()) || arrow::is_floating(type.id()) ||
         arrow::is_decimal(type.id());
}

}  // namespace

std::string CellText(const arrow::Array& column, int64_t row) {
  if (column.IsNull(row)) return "";
  switch (column.type_id()) {
    case arrow::Type::TIMESTAMP:
      return FormatTimestamp(ToMicros(static_cast<const arrow::TimestampArray&>(column), row));
    case arrow::Type::BINARY:
      return BinaryText(static_cast<const arrow::BinaryArray&>(column).GetView(row));
    case arrow::Type::LARGE_BINARY:
      return BinaryText(static_cast<const arrow::LargeBinaryArray&>(column).GetView(row));
    case arrow::Type::FIXED_SIZE_BINARY:
      return BinaryText(static_cast<const arrow::FixedSizeBinaryArray&>(column).GetView(row));
    default: {
      const auto scalar = column.GetScalar(row);
      return scalar.ok() ? (*scalar)->ToString() : scalar.status().ToString();
    }
  }
}

nlohmann::json CellJson(const arrow::Array& column, int64_t row) {
  if (column.IsNull(row)) return nullptr;
  switch (column.type_id()) {
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
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
      return nlohmann::json::parse(CellText(column, row), nullptr, /*allow_exceptions=*/false);
    default:
      return CellText(column, row);
  }
}

void TextTable::Add(std::vector<std::string> row, std::vector<bool> right) {
  rows_.push_back(std::move(row));
  if (!right.empty()) right_ = std::move(right);
}

std::string TextTable::ToString() const {
  constexpr size_t kWidest = 48;
  std::vector<size_t> width(header_.size());
  for (size_t c = 0; c < header_.size(); ++c) {
    width[c] = Width(header_[c]);
    for (const auto& row : rows_) width[c] = std::max(width[c], std::min(kWidest, Width(row[c])));
  }
  const auto rule = [&](const char* left, const char* middle, const char* right) {
    std::string out = left;
    for (size_t c = 0; c < width.size(); ++c) {
      for (size_t i = 0; i < width[c] + 2; ++i) out += "─";
      out += c + 1 == width.size() ? right : middle;
    }
    out += "\n";
    return out;
  };
  const auto line = [&](const std::vector<std::string>& cells, bool header) {
    std::string out = "│";
    for (size_t c = 0; c < width.size(); ++c) {
      const std::string text = Shorten(cells[c], kWidest);
      std::string pad;
      for (size_t i = Width(text); i < width[c]; ++i) pad += ' ';
      const bool right = !header && c < right_.size() && right_[c];
      out += " ";
      if (right) out += pad;
      out += text;
      if (!right) out += pad;
      out += " │";
    }
    out += "\n";
    return out;
  };
  std::string out = rule("┌", "┬", "┐");
  out += line(header_, true);
  out += rule("├", "┼", "┤");
  for (const auto& row : rows_) out += line(row, false);
  out += rule("└", "┴", "┘");
  return out;
}

std::string BatchText(const arrow::RecordBatch& batch, int64_t rows_max, int64_t rows_total) {
  TextTable table(batch.schema()->field_names());
  std::vector<bool> right;
  for (const auto& column : batch.columns()) right.push_back(IsRightAligned(*column->type()));
  for (int64_t r = 0; r < std::min(rows_max, batch.num_rows()); ++r) {
    std::vector<std::string> cells;
    for (const auto& column : batch.columns()) cells.push_back(CellText(*column, r));
    table.Add(std::move(cells), right);
  }
  std::string out = table.ToString();
  if (rows_total > rows_max) {
    out +=
        fmt::format("  … {} more rows\n", CountText(static_cast<uint64_t>(rows_total - rows_max)));
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
  return fmt::format("{:.1f} s", seconds);
}

Progress::Progress(std::string what)
    : what_(std::move(what)),
      start_nanos_(MonotonicNanos()),
      terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { Finish(); }

void Progress::Update(uint64_t done, uint64_t total, const std::string& note) {
  if (!terminal_) return;
  const int64_t now = MonotonicNanos();
  if (now - start_nanos_ < 300'000'000 || now - shown_nanos_ < 100'000'000) return;
  shown_nanos_ = now;
  drawn_ = true;
  std::string bar;
  const double part =
      total == 0 ? 0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  for (int i = 0; i < 24; ++i) bar += i < static_cast<int>(part * 24) ? "█" : "░";
  fmt::print(stderr, "\r\033[K{} {} {:3.0f} %  {}", what_, bar, part * 100, note);
  std::fflush(stderr);
}

void Progress::Finish() {
  if (drawn_) fmt::print(stderr, "\r\033[K");
  drawn_ = false;
}

bool Interrupted() { return interrupts.load() > 0; }

void InstallInterruptHandler() {
  struct sigaction action {};
  action.sa_handler = OnInterrupt;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  // A closed pipe (lamina scan | head) is an ordinary end.
  std::signal(SIGPIPE, SIG_DFL);
}

int64_t MonotonicNanos() { return base::SystemClock()->MonotonicNanos(); }

}  // namespace lamina::cli
