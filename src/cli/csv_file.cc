#include "cli/csv_file.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <regex>
#include <utility>

#include "cli/terminal.h"
#include <arrow/array.h>
#include <arrow/buffer.h>
#include <arrow/csv/api.h>
#include <arrow/io/file.h>
#include <arrow/io/memory.h>
#include <arrow/io/stdio.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lamina::cli {
namespace {

constexpr int32_t kBlockBytes = 1 << 20;
constexpr size_t kHeadBytes = 1 << 20;

Status Bad(std::string message, std::string hint = {}) {
  return MakeError(ErrorCode::kInvalidArgument, std::move(message), std::move(hint));
}

arrow::csv::ReadOptions ReadOptions() {
  auto out = arrow::csv::ReadOptions::Defaults();
  out.block_size = kBlockBytes;
  out.use_threads = false;  // Only so do errors name the row.
  return out;
}

arrow::csv::ParseOptions ParseOptions(char delimiter) {
  auto out = arrow::csv::ParseOptions::Defaults();
  out.delimiter = delimiter;
  out.newlines_in_values = true;
  return out;
}

arrow::csv::ConvertOptions ConvertOptions(const CsvOptions& options) {
  auto out = arrow::csv::ConvertOptions::Defaults();
  out.strings_can_be_null = true;
  out.quoted_strings_can_be_null = false;  // "" is an empty text, nothing is null.
  out.null_values = {""};
  if (!options.null_text.empty()) out.null_values.push_back(options.null_text);
  return out;
}

/// Whether all values are whole numbers, at least one of them beyond 64 bits. Guessed as double,
/// they would lose digits.
bool HasHugeIntegers(const arrow::ChunkedArray& texts) {
  bool huge = false;
  for (const auto& chunk : texts.chunks()) {
    const auto& column = static_cast<const arrow::BinaryArray&>(*chunk);
    for (int64_t i = 0; i < column.length(); ++i) {
      if (column.IsNull(i)) continue;
      auto text = column.GetView(i);
      if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
      if (text.empty() || text.size() > 38 ||
          !std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }))
        return false;
      if (text.size() >= 19) huge = true;
    }
  }
  return huge;
}

}  // namespace

void CsvScanner::Feed(char c) {
  if (c == '\n' && state_ != State::kQuoted) {
    if (record_bytes_ > 0) ++records_;
    record_bytes_ = 0;
    state_ = State::kFieldStart;
    record_line_ = ++line_;
    return;
  }
  if (c == '\n') ++line_;
  if (c == '\r' && record_bytes_ == 0) return;  // Of an empty line.
  ++record_bytes_;
  switch (state_) {
    case State::kFieldStart:
      state_ = c == '"' ? State::kQuoted : c == delimiter_ ? State::kFieldStart : State::kPlain;
      break;
    case State::kPlain:
      if (c == delimiter_) state_ = State::kFieldStart;
      break;
    case State::kQuoted:
      if (c == '"') state_ = State::kQuoteInQuoted;
      break;
    case State::kQuoteInQuoted:
      state_ = c == '"' ? State::kQuoted : c == delimiter_ ? State::kFieldStart : State::kPlain;
      break;
  }
}

/// The beginning that was read already, then the rest; watches that no quote stays open.
class CsvFile::Stream final : public arrow::io::InputStream {
 public:
  Stream(const std::string* head, std::shared_ptr<arrow::io::InputStream> rest, char delimiter)
      : head_(head), rest_(std::move(rest)), scanner_(delimiter) {}

  Result<int64_t> Read(int64_t n, void* out) override {
    int64_t got = 0;
    if (position_ < static_cast<int64_t>(head_->size())) {
      got = std::min(n, static_cast<int64_t>(head_->size()) - position_);
      std::memcpy(out, head_->data() + position_, static_cast<size_t>(got));
    } else if (rest_ != nullptr) {
      ARROW_ASSIGN_OR_RAISE(got, rest_->Read(n, out));
    }
    for (int64_t i = 0; i < got; ++i) scanner_.Feed(static_cast<const char*>(out)[i]);
    position_ += got;
    if (got == 0 && n > 0 && scanner_.in_quotes()) {
      return Bad(fmt::format("the file ends inside a quoted field of the record at line {}",
                             scanner_.record_line()),
                 "close the quote; a quote inside a quoted field is written twice");
    }
    return got;
  }
  Result<std::shared_ptr<arrow::Buffer>> Read(int64_t n) override {
    ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateResizableBuffer(n));
    ARROW_ASSIGN_OR_RAISE(const int64_t got, Read(n, buffer->mutable_data()));
    ARROW_RETURN_NOT_OK(buffer->Resize(got, false));
    return std::shared_ptr<arrow::Buffer>(std::move(buffer));
  }
  Status Close() override {
    closed_ = true;
    return Status::OK();
  }
  bool closed() const override { return closed_; }
  Result<int64_t> Tell() const override { return position_; }
  int64_t position() const { return position_; }

 private:
  const std::string* head_;
  std::shared_ptr<arrow::io::InputStream> rest_;
  CsvScanner scanner_;
  int64_t position_ = 0;
  bool closed_ = false;
};

Result<std::unique_ptr<CsvFile>> CsvFile::Open(CsvOptions options) {
  std::unique_ptr<CsvFile> out(new CsvFile(std::move(options)));
  const std::string& path = out->options_.path;
  if (path == "-") {
    out->input_ = std::make_shared<arrow::io::StdinStream>();
  } else {
    auto file = arrow::io::ReadableFile::Open(path);
    if (!file.ok()) {
      return MakeError(ErrorCode::kNotFound,
                       fmt::format("cannot open file: {}", file.status().message()),
                       "check the path; - reads standard input");
    }
    // A pipe has no size.
    const auto size = (*file)->GetSize();
    if (size.ok()) out->bytes_total_ = static_cast<uint64_t>(*size);
    out->input_ = *file;
  }
  while (out->head_.size() < kHeadBytes) {
    std::string part(kHeadBytes - out->head_.size(), '\0');
    auto read = out->input_->Read(static_cast<int64_t>(part.size()), part.data());
    if (!read.ok()) {
      return MakeError(ErrorCode::kUnavailable,
                       fmt::format("cannot read file: file={} {}", path, read.status().message()));
    }
    if (*read == 0) {
      out->head_is_all_ = true;
      break;
    }
    out->head_.append(part, 0, static_cast<size_t>(*read));
  }
  ARROW_RETURN_NOT_OK(out->Sniff());
  return out;
}

Status CsvFile::Sniff() {
  const std::string& path = options_.path;
  const std::string_view head = head_;
  if (head.starts_with("\x1f\x8b") || head.starts_with("\x28\xb5\x2f\xfd") ||
      head.starts_with("BZh") ||
      head.starts_with("\xfd"
                       "7zXZ")) {
    return MakeError(ErrorCode::kUnsupported, fmt::format("file is compressed: file={}", path),
                     fmt::format("unpack it on the way: zcat {} | lamina ingest TABLE - …",
                                 path == "-" ? "FILE" : path));
  }
  if (head.starts_with("PAR1")) {
    return MakeError(ErrorCode::kUnsupported,
                     fmt::format("file is Parquet, not CSV: file={}", path),
                     path == "-" ? "Parquet is read from a file, not from a pipe"
                                 : "give it a name that ends in .parquet");
  }
  if (head.starts_with("\xff\xfe") || head.starts_with("\xfe\xff")) {
    return MakeError(ErrorCode::kUnsupported, fmt::format("file is UTF-16: file={}", path),
                     "convert it: iconv -f utf-16 -t utf-8");
  }
  // Types are guessed from whole records.
  CsvScanner scanner(options_.delimiter);
  size_t whole = 0;
  for (size_t i = 0; i < head_.size(); ++i) {
    scanner.Feed(head_[i]);
    if (scanner.at_record_start()) whole = i + 1;
  }
  if (head_is_all_) {
    if (scanner.in_quotes()) {
      return Bad(fmt::format("the file ends inside a quoted field: file={} line={}", path,
                             scanner.record_line()),
                 "close the quote; a quote inside a quoted field is written twice");
    }
    whole = head_.size();
  } else if (whole == 0) {
    return Bad(fmt::format("no record ends within the first mebibyte: file={}", path),
               "is this CSV? a quote that is never closed makes the rest one field");
  }
  if (scanner.records() == 0 && scanner.at_record_start()) {
    return Bad(fmt::format("file is empty: file={}", path), "its first line must name the columns");
  }
  auto convert = ConvertOptions(options_);
  const auto read =
      [&](const arrow::csv::ConvertOptions& by) -> Result<std::shared_ptr<arrow::Table>> {
    const auto input = std::make_shared<arrow::io::BufferReader>(
        arrow::Buffer::FromString(head_.substr(0, whole)));
    auto block = ReadOptions();
    block.block_size = static_cast<int32_t>(kHeadBytes) + 1;
    auto reader = arrow::csv::StreamingReader::Make(arrow::io::default_io_context(), input, block,
                                                    ParseOptions(options_.delimiter), by);
    if (!reader.ok()) return Explain(reader.status());
    auto table = (*reader)->ToTable();
    if (!table.ok()) return Explain(table.status());
    return table;
  };
  ARROW_ASSIGN_OR_RAISE(auto table, read(convert));
  schema_ = table->schema();
  // A type that was given must meet the names that are there before it is used.
  const auto names = table->schema()->field_names();
  for (const auto& [name, type] : options_.types) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      return Bad(fmt::format("file has no such column: file={} column={}", path, name),
                 fmt::format("its columns are: {}", fmt::join(names, ", ")));
    }
    convert.column_types[name] = type;
  }
  for (auto at = names.begin(); at != names.end(); ++at) {
    if (at->empty()) {
      return Bad(fmt::format("a column has no name: file={} line=1 column={}", path,
                             at - names.begin() + 1),
                 "the first line must name every column");
    }
    if (std::find(names.begin(), at, *at) != at)
      return Bad(fmt::format("two columns have one name: file={} line=1 column={}", path, *at));
  }
  header_only_ = table->num_rows() == 0;
  if (!options_.types.empty()) {
    ARROW_ASSIGN_OR_RAISE(table, read(convert));
  }
  arrow::FieldVector fields;
  for (const auto& field : table->schema()->fields()) {
    auto type = field->type();
    if (options_.types.count(field->name()) == 0) {
      if (type->id() == arrow::Type::NA) type = arrow::utf8();
      if (type->id() == arrow::Type::BINARY) {
        return Bad(fmt::format("text is not UTF-8: file={} column={}", path, field->name()),
                   fmt::format("convert the file (iconv -f latin1 -t utf-8), or keep the bytes as "
                               "they are with --type {}=binary",
                               field->name()));
      }
      if (type->id() == arrow::Type::DOUBLE) {
        auto as_text = convert;
        as_text.column_types = {{field->name(), arrow::utf8()}};
        as_text.include_columns = {field->name()};
        ARROW_ASSIGN_OR_RAISE(const auto texts, read(as_text));
        if (HasHugeIntegers(*texts->column(0))) type = arrow::decimal128(38, 0);
      }
      // Microseconds for all unless digits would be lost: two files of one kind give one type.
      if (type->id() == arrow::Type::TIMESTAMP) {
        const auto& timestamp = static_cast<const arrow::TimestampType&>(*type);
        const auto micros = arrow::timestamp(arrow::TimeUnit::MICRO, timestamp.timezone());
        auto as_micros = convert;
        as_micros.column_types = {{field->name(), micros}};
        as_micros.include_columns = {field->name()};
        if (timestamp.unit() != arrow::TimeUnit::NANO || read(as_micros).ok()) type = micros;
      }
    }
    fields.push_back(arrow::field(field->name(), std::move(type)));
  }
  schema_ = arrow::schema(std::move(fields));
  return Status::OK();
}

Status CsvFile::Start(const std::map<std::string, std::shared_ptr<arrow::DataType>>& types) {
  auto convert = ConvertOptions(options_);
  for (const auto& field : schema_->fields()) convert.column_types[field->name()] = field->type();
  for (const auto& [name, type] : types) convert.column_types[name] = type;
  stream_ = std::make_shared<Stream>(&head_, head_is_all_ ? nullptr : input_, options_.delimiter);
  auto reader =
      arrow::csv::StreamingReader::Make(arrow::io::default_io_context(), stream_, ReadOptions(),
                                        ParseOptions(options_.delimiter), convert);
  if (!reader.ok()) return Explain(reader.status());
  reader_ = *reader;
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> CsvFile::Next() {
  std::shared_ptr<arrow::RecordBatch> batch;
  const auto status = reader_->ReadNext(&batch);
  if (!status.ok()) return Explain(status);
  return batch;
}

uint64_t CsvFile::bytes_read() const {
  return stream_ == nullptr ? 0 : static_cast<uint64_t>(stream_->position());
}

uint64_t CsvFile::LineOfRecord(uint64_t record) const {
  if (record <= 1) return 1;
  CsvScanner scanner(options_.delimiter);
  const auto find = [&](std::string_view bytes) {
    for (const char c : bytes) {
      if (scanner.records() + 1 == record && scanner.at_record_start() && c != '\n' && c != '\r')
        return true;
      scanner.Feed(c);
    }
    return false;
  };
  if (find(head_)) return scanner.record_line();
  if (options_.path == "-" || head_is_all_) return 0;
  auto file = arrow::io::ReadableFile::Open(options_.path);
  if (!file.ok() || !(*file)->Seek(static_cast<int64_t>(head_.size())).ok()) return 0;
  for (;;) {
    auto buffer = (*file)->Read(1 << 20);
    if (!buffer.ok() || (*buffer)->size() == 0) return 0;
    if (find(std::string_view(**buffer))) return scanner.record_line();
  }
}

/// Arrow's words with the file, the line and the column's name.
Status CsvFile::Explain(const Status& status) const {
  if (!HintOf(status).empty()) {
    return MakeError(CodeOf(status), fmt::format("{}: file={}", MessageOf(status), options_.path),
                     std::string(HintOf(status)));
  }
  const std::string& text = status.message();
  static const std::regex kCount(
      "CSV parse error: Row #([0-9]+): Expected ([0-9]+) columns, got ([0-9]+)");
  static const std::regex kConversion(
      "In CSV column #([0-9]+): (Row #([0-9]+): )?CSV conversion error to ([^:]+): (.*)");
  const auto place = [&](uint64_t record) {
    const uint64_t line = LineOfRecord(record);
    return line != 0 ? fmt::format("line={}", line) : fmt::format("record={}", record);
  };
  std::smatch found;
  if (std::regex_search(text, found, kCount)) {
    return Bad(
        fmt::format("a record has another number of fields: file={} {} expected={} actual={}",
                    options_.path, place(std::stoull(found[1])), found[2].str(), found[3].str()),
        "a field that holds the delimiter must stand in quotes; --delimiter names another");
  }
  if (std::regex_search(text, found, kConversion)) {
    const auto number = static_cast<int>(std::stoul(found[1]));
    const std::string column = schema_ != nullptr && number < schema_->num_fields()
                                   ? schema_->field(number)->name()
                                   : fmt::format("#{}", number + 1);
    return Bad(
        fmt::format("a value is not of the column's type: file={}{} column={} type={} {}",
                    options_.path, found[3].matched ? " " + place(std::stoull(found[3])) : "",
                    column, found[4].str(), OneLine(found[5].str())),
        fmt::format("correct the file, or make the column of a new table text with --type "
                    "{}=text; --null TEXT names a text that stands for null",
                    column));
  }
  if (text.find("straddl") != std::string::npos) {
    return Bad(fmt::format("a record is longer than a mebibyte: file={}", options_.path),
               "is a quote left open? longer records are not read");
  }
  return Bad(fmt::format("cannot read CSV: file={} {}", options_.path, OneLine(text)));
}

Result<std::shared_ptr<arrow::DataType>> ParseType(const std::string& name) {
  std::string lower;
  for (const char c : name) {
    if (c != ' ') lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  static const std::map<std::string, std::shared_ptr<arrow::DataType>> kTypes = {
      {"bool", arrow::boolean()},
      {"boolean", arrow::boolean()},
      {"int", arrow::int64()},
      {"int8", arrow::int8()},
      {"int16", arrow::int16()},
      {"int32", arrow::int32()},
      {"integer", arrow::int32()},
      {"int64", arrow::int64()},
      {"bigint", arrow::int64()},
      {"uint64", arrow::uint64()},
      {"float", arrow::float32()},
      {"double", arrow::float64()},
      {"text", arrow::utf8()},
      {"string", arrow::utf8()},
      {"varchar", arrow::utf8()},
      {"binary", arrow::binary()},
      {"date", arrow::date32()},
      {"timestamp", arrow::timestamp(arrow::TimeUnit::MICRO)},
      {"timestamptz", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")}};
  if (const auto at = kTypes.find(lower); at != kTypes.end()) return at->second;
  int precision = 0;
  int scale = 0;
  if (std::sscanf(lower.c_str(), "decimal(%d,%d)", &precision, &scale) == 2 && precision >= 1 &&
      precision <= 38 && scale >= 0 && scale <= precision) {
    return arrow::decimal128(precision, scale);
  }
  std::string known;
  for (const auto& [word, type] : kTypes) known += word + ", ";
  return Bad(fmt::format("type is not known: {}", name),
             fmt::format("known are: {}decimal(precision,scale)", known));
}

}  // namespace lamina::cli
