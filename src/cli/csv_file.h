// CSV for ingest: what a file holds, and its rows as record batches of fixed types.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include <arrow/io/interfaces.h>
#include <arrow/record_batch.h>

#include "lamina/error.h"

namespace lamina::cli {

struct CsvOptions {
  std::string path;  ///< "-" reads standard input.
  char delimiter = ',';
  std::string null_text;  ///< This text is null too (beside the empty field).
  /// Types that are not guessed, by column.
  std::map<std::string, std::shared_ptr<arrow::DataType>> types;
};

/// Knows where records begin: a quoted field may hold line ends. One byte after the other.
class CsvScanner {
 public:
  explicit CsvScanner(char delimiter) : delimiter_(delimiter) {}
  void Feed(char c);
  /// Records whose end was seen; empty lines do not count.
  uint64_t records() const { return records_; }
  bool at_record_start() const { return record_bytes_ == 0; }
  bool in_quotes() const { return state_ == State::kQuoted; }
  uint64_t line() const { return line_; }                ///< From 1.
  uint64_t record_line() const { return record_line_; }  ///< Where the present record begins.

 private:
  enum class State : uint8_t { kFieldStart, kPlain, kQuoted, kQuoteInQuoted };
  const char delimiter_;
  State state_ = State::kFieldStart;
  uint64_t records_ = 0, line_ = 1, record_line_ = 1, record_bytes_ = 0;
};

/// A CSV file in two steps: Open reads its beginning (a mebibyte) and decides on the columns'
/// types; Start streams all rows in these types, or others.
class CsvFile {
 public:
  /// kNotFound; kInvalidArgument: empty, no rows, compressed, not UTF-8, not CSV (with the line).
  static Result<std::unique_ptr<CsvFile>> Open(CsvOptions options);

  /// Columns of nothing but nulls at the beginning are text; whole numbers beyond 64 bits are
  /// decimals. Null types when the file has a header only.
  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }
  bool header_only() const { return header_only_; }
  Status Start(const std::map<std::string, std::shared_ptr<arrow::DataType>>& types);
  /// Null at the end. Errors name the line and the column.
  Result<std::shared_ptr<arrow::RecordBatch>> Next();

  uint64_t bytes_total() const { return bytes_total_; }  ///< 0: not known.
  uint64_t bytes_read() const;
  /// The line on which a record of the file begins (1 = the header); 0 when it cannot be told.
  uint64_t LineOfRecord(uint64_t record) const;

 private:
  class Stream;
  explicit CsvFile(CsvOptions options) : options_(std::move(options)) {}
  Status Sniff();
  Status Explain(const Status& status) const;

  const CsvOptions options_;
  std::shared_ptr<arrow::io::InputStream> input_;
  std::string head_;
  bool head_is_all_ = false;
  uint64_t bytes_total_ = 0;
  std::shared_ptr<arrow::Schema> schema_;
  bool header_only_ = false;
  std::shared_ptr<Stream> stream_;
  std::shared_ptr<arrow::RecordBatchReader> reader_;
};

/// A type by the name people give it: int, int32, bigint, double, text, bool, date, timestamp,
/// timestamptz, binary, decimal(18,2) …
Result<std::shared_ptr<arrow::DataType>> ParseType(const std::string& name);

}  // namespace lamina::cli
