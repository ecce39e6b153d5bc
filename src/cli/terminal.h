// What the command line shows: tables, progress, sizes, times. And what it hears: Ctrl-C.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <nlohmann/json.hpp>

#include "lamina/error.h"

namespace lamina::cli {

/// One cell as people read it: timestamps as FormatTimestamp ("infinity" for open ends), null as
/// "", binary as text or hex, nested values as JSON. On one line: see OneLine.
std::string CellText(const arrow::Array& column, int64_t row);
/// The same for machines, nothing lost: integers stay exact numbers, null is null, open ends are
/// "infinity", NaN is "NaN"; decimals and times are strings; bytes that are not UTF-8 are
/// {"hex": "00ff"}.
nlohmann::ordered_json CellJson(const arrow::Array& column, int64_t row);
/// A row as an object: {"column": cell, …}.
nlohmann::ordered_json RowJson(const arrow::RecordBatch& batch, int64_t row);
/// Bytes as CellJson shows them.
nlohmann::ordered_json BytesJson(std::string_view bytes);
/// One line of JSON, UTF-8.
std::string JsonLine(const nlohmann::ordered_json& value);

/// Terminal columns of UTF-8 text: wide characters take two, combining ones none.
size_t DisplayWidth(std::string_view text);
/// Text that cannot leave its cell: line ends, other control characters and broken UTF-8 are
/// written as \n, \t, \x1b, \xff.
std::string OneLine(std::string_view text);
bool IsUtf8(std::string_view text);
/// The text, or its beginning and "…", in at most `width` terminal columns.
std::string Shorten(const std::string& text, size_t width);

/// A table in a box; numbers to the right.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) : header_(std::move(header)) {}
  /// `right`: which columns are numbers. They are never cut.
  void Add(std::vector<std::string> row, std::vector<bool> right = {});
  /// Other columns that are never cut (times).
  void KeepWhole(std::vector<bool> whole) { whole_ = std::move(whole); }
  size_t rows() const { return rows_.size(); }
  /// At most `columns_max` terminal columns wide (0 = as wide as it is): long texts are cut, then
  /// columns in the middle left out.
  std::string ToString(size_t columns_max) const;
  /// For the terminal at hand, if standard output is one.
  std::string ToString() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<bool> right_, whole_;
};

/// A batch in a box; at most `rows_max` rows, then a line that says how many were left out.
std::string BatchText(const arrow::RecordBatch& batch, int64_t rows_max, int64_t rows_total);

std::string SizeText(uint64_t bytes);      ///< "12.3 MB"
std::string CountText(uint64_t n);         ///< "336,776"
std::string DurationText(double seconds);  ///< "1.2 ms", "3.4 s", "2 min 5 s"
/// "1 row", "2 rows", "336,776 rows".
std::string Plural(uint64_t n, const std::string& one, const std::string& many = {});

/// Standard output. A write that fails (disk full) is remembered until FlushOut tells; fmt::print
/// would throw.
void Out(std::string_view text);
Status FlushOut();
bool StdoutIsTerminal();
/// Of the terminal behind a descriptor; 80 and 24 when there is none or it does not say.
size_t TerminalColumns(int descriptor);
size_t TerminalRows(int descriptor);
/// Whether a stream is a terminal that shows colours and NO_COLOR is not set.
bool HasColor(bool on_stderr);
/// Bold, dim or red, when the stream is a terminal and NO_COLOR is not set.
enum class Style : uint8_t { kBold, kDim, kRed };
std::string Styled(std::string_view text, Style style, bool on_stderr = false);

/// A line on standard error that redraws itself, when that is a terminal and the work takes more
/// than a moment; nothing otherwise. Total 0 = not known.
class Progress {
 public:
  explicit Progress(std::string what);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void Update(uint64_t done, uint64_t total, const std::string& note = {});
  void Finish();

 private:
  std::string what_;
  int64_t start_nanos_;
  int64_t shown_nanos_ = 0;
};
/// For work that does not know how far it is: what it does and for how long, unless a Progress has
/// spoken lately. Called often.
void ShowActivity(const std::string& what, int64_t start_nanos);
/// Takes the line away.
void ClearProgress();

/// True once Ctrl-C (or SIGTERM) came; long work asks between steps. A second Ctrl-C ends the
/// process at once.
bool Interrupted();
void InstallInterruptHandler();

int64_t MonotonicNanos();

}  // namespace lamina::cli
