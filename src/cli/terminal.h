// What the command line shows: tables, progress, sizes, times. And what it hears: Ctrl-C.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <nlohmann/json.hpp>

namespace lamina::cli {

/// One cell as people read it: timestamps as FormatTimestamp ("infinity" for open ends), null as
/// "", binary as text or hex.
std::string CellText(const arrow::Array& column, int64_t row);
/// The same for machines: numbers stay numbers, null is null, open ends are "infinity".
nlohmann::json CellJson(const arrow::Array& column, int64_t row);

/// A table in a box, columns as wide as their cells (at most 48), numbers to the right.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) : header_(std::move(header)) {}
  void Add(std::vector<std::string> row, std::vector<bool> right = {});
  size_t rows() const { return rows_.size(); }
  std::string ToString() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<bool> right_;
};

/// A batch in a box; at most `rows_max` rows, then a line that says how many were left out.
std::string BatchText(const arrow::RecordBatch& batch, int64_t rows_max, int64_t rows_total);

std::string SizeText(uint64_t bytes);      ///< "12.3 MB"
std::string CountText(uint64_t n);         ///< "336,776"
std::string DurationText(double seconds);  ///< "1.2 ms", "3.4 s"

/// A line on standard error that redraws itself, when that is a terminal and the work takes more
/// than a moment; nothing otherwise.
class Progress {
 public:
  explicit Progress(std::string what);
  ~Progress();
  void Update(uint64_t done, uint64_t total, const std::string& note = {});
  void Finish();

 private:
  std::string what_;
  int64_t start_nanos_;
  int64_t shown_nanos_ = 0;
  bool terminal_;
  bool drawn_ = false;
};

/// True once Ctrl-C (or SIGTERM) came; long work asks between steps. A second Ctrl-C ends the
/// process at once.
bool Interrupted();
void InstallInterruptHandler();

int64_t MonotonicNanos();

}  // namespace lamina::cli
