// `lamina ingest`: a CSV or Parquet file into a table. Nothing is made before the file's beginning
// was read and understood.
#include <algorithm>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <utility>

#include "cli/commands.h"
#include "cli/csv_file.h"
#include "cli/terminal.h"
#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/compute/cast.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lamina/time.h"
#include "storage/sst/parquet_import.h"

namespace lamina::cli {
namespace {

using nlohmann::ordered_json;

Status Bad(std::string message, std::string hint = {}) {
  return MakeError(ErrorCode::kInvalidArgument, std::move(message), std::move(hint));
}

/// The file's columns and batches, whatever its format.
struct Source {
  std::unique_ptr<CsvFile> csv;
  std::shared_ptr<arrow::RecordBatchReader> parquet;
  uint64_t parquet_rows = 0;

  std::shared_ptr<arrow::Schema> schema() const {
    return csv != nullptr ? csv->schema() : parquet->schema();
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Next() const {
    if (csv != nullptr) return csv->Next();
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(parquet->ReadNext(&batch));
    return batch;
  }
  /// Where a row of the file (from 0) stands.
  std::string Place(uint64_t row) const {
    const uint64_t line = csv != nullptr ? csv->LineOfRecord(row + 2) : 0;
    return line != 0 ? fmt::format("line={}", line) : fmt::format("row={}", row + 1);
  }
};

Result<Source> OpenSource(const IngestOptions& options) {
  constexpr int64_t kBatchRows = 8192;
  Source out;
  std::string format = options.format;
  if (format.empty()) {
    const auto ends = [&](const char* end) { return options.file.ends_with(end); };
    format = options.file == "-" || ends(".csv") || ends(".tsv") ? "csv"
             : ends(".parquet")                                  ? "parquet"
                                                                 : "";
  }
  if (format.empty()) {
    return MakeError(ErrorCode::kUnsupported,
                     fmt::format("file type is not known: file={}", options.file),
                     options.file.ends_with(".gz") || options.file.ends_with(".zst")
                         ? fmt::format("unpack it on the way: zcat {} | lamina ingest {} - …",
                                       options.file, options.table)
                         : "names end in .csv, .tsv or .parquet; or say it with --format csv");
  }
  if (format == "parquet") {
    if (options.file == "-") {
      return MakeError(ErrorCode::kUnsupported, "Parquet cannot be read from standard input",
                       "its footer is at the end: name a file");
    }
    ARROW_ASSIGN_OR_RAISE(auto file, storage::sst::OpenForeignParquet(options.file, kBatchRows));
    out.parquet = file.batches;
    out.parquet_rows = static_cast<uint64_t>(file.rows);
    return out;
  }
  CsvOptions csv;
  csv.path = options.file;
  csv.null_text = options.null_text;
  csv.delimiter = options.file.ends_with(".tsv") ? '\t' : ',';
  if (options.delimiter == "\\t" || options.delimiter == "tab") {
    csv.delimiter = '\t';
  } else if (options.delimiter.size() == 1) {
    csv.delimiter = options.delimiter[0];
  } else if (!options.delimiter.empty()) {
    return Bad(fmt::format("delimiter is not one character: {}", options.delimiter),
               "--delimiter ';' or --delimiter tab");
  }
  for (const auto& text : options.types) {
    const size_t at = text.rfind('=');
    if (at == std::string::npos || at == 0)
      return Bad(fmt::format("type is not understood: {}", text), "write --type column=text");
    ARROW_ASSIGN_OR_RAISE(csv.types[text.substr(0, at)], ParseType(text.substr(at + 1)));
  }
  ARROW_ASSIGN_OR_RAISE(out.csv, CsvFile::Open(std::move(csv)));
  return out;
}

Status NoColumn(const IngestOptions& options, const std::string& name,
                const std::vector<std::string>& columns) {
  return Bad(fmt::format("file has no such column: file={} column={}", options.file, name),
             Suggestion(name, columns, "its columns are"));
}

/// A column of the file as valid times: timestamps, dates, microseconds, or text that
/// ParseTimestamp reads ("infinity" too).
Result<std::shared_ptr<arrow::Array>> ValidTimes(const Source& source, const std::string& name,
                                                 const std::shared_ptr<arrow::Array>& column,
                                                 uint64_t first_row) {
  switch (column->type_id()) {
    case arrow::Type::TIMESTAMP:
    case arrow::Type::INT64:
      return column;
    case arrow::Type::DATE32:
    case arrow::Type::DATE64:
      return arrow::compute::Cast(*column, arrow::timestamp(arrow::TimeUnit::MICRO));
    case arrow::Type::STRING: {
      const auto& texts = static_cast<const arrow::StringArray&>(*column);
      arrow::Int64Builder out;
      ARROW_RETURN_NOT_OK(out.Reserve(texts.length()));
      for (int64_t i = 0; i < texts.length(); ++i) {
        if (texts.IsNull(i)) {
          out.UnsafeAppendNull();
          continue;
        }
        const auto micros = ParseTimestamp(texts.GetView(i));
        if (!micros.ok()) {
          return Bad(fmt::format("a valid time is not understood: {} column={} value={}",
                                 source.Place(first_row + static_cast<uint64_t>(i)), name,
                                 OneLine(texts.GetView(i))),
                     "times are written 2013-02-08, 2013-02-08 17:00 or 2013-02-08T17:00:00-05:00");
        }
        out.UnsafeAppend(*micros);
      }
      return out.Finish();
    }
    default:
      return Bad(
          fmt::format("column is no time: column={} type={}", name, column->type()->ToString()),
          "the valid time is a timestamp, a date, or whole microseconds");
  }
}

std::string ColumnsText(const arrow::Schema& schema) {
  std::string out;
  for (const auto& field : schema.fields())
    out +=
        fmt::format("{}{} {}", out.empty() ? "" : ", ", field->name(), field->type()->ToString());
  return out;
}

class Ingest {
 public:
  Ingest(const IngestOptions& options, Source source, Database* db, bool as_json)
      : options_(options),
        source_(std::move(source)),
        db_(db),
        as_json_(as_json),
        progress_("ingesting " + options.table) {}

  Status Run() {
    ARROW_RETURN_NOT_OK(Prepare());
    const auto status = Rows();
    progress_.Finish();
    if (status.ok()) return Status::OK();
    return Stopped(status);
  }

  uint64_t rows() const { return rows_; }

 private:
  /// The table, made if need be.
  Status Prepare() {
    const auto existing = db_->GetTable(options_.table);
    if (!existing.ok() && CodeOf(existing.status()) != ErrorCode::kNotFound)
      return existing.status();
    if (!existing.ok() && options_.key.empty() && !options_.no_key) return NoKey(options_, db_);
    if (existing.ok() && !options_.key.empty() && options_.key != existing->key) {
      return Bad(fmt::format("table has another key: table={} key=({})", options_.table,
                             fmt::join(existing->key, ", ")),
                 "leave --key out for a table that exists");
    }
    if (existing.ok() && options_.no_key && !existing->key.empty())
      return Bad(fmt::format("table has a key: table={} key=({})", options_.table,
                             fmt::join(existing->key, ", ")),
                 "leave --no-key out for a table that exists");
    const auto file = source_.schema();
    const std::set<std::string> times = {options_.valid_from, options_.valid_to};
    if (existing.ok()) {
      for (const auto& name : existing->schema->field_names()) {
        if (file->GetFieldIndex(name) < 0) {
          return Bad(fmt::format("file lacks a column of the table: file={} table={} column={}",
                                 options_.file, options_.table, name),
                     Suggestion(name, file->field_names(), "the file's columns are"));
        }
      }
      for (const auto& name : file->field_names()) {
        if (times.count(name) == 0 && existing->schema->GetFieldIndex(name) < 0) {
          return Bad(
              fmt::format("file has a column that the table lacks: file={} table={} column={}",
                          options_.file, options_.table, name),
              Suggestion(name, existing->schema->field_names(), "the table's columns are"));
        }
      }
      table_ = *existing;
    } else {
      arrow::FieldVector fields;
      for (const auto& field : file->fields()) {
        if (times.count(field->name()) == 0) fields.push_back(field->RemoveMetadata());
      }
      KeyDeclaration key;
      key.names = options_.key;
      key.no_key = options_.no_key;
      ARROW_RETURN_NOT_OK(db_->CreateTable(options_.table, arrow::schema(fields), key));
      created_ = true;
      ARROW_ASSIGN_OR_RAISE(table_, db_->GetTable(options_.table));
    }
    if (source_.csv == nullptr) return Status::OK();
    std::map<std::string, std::shared_ptr<arrow::DataType>> types;
    for (const auto& field : table_.schema->fields()) {
      if (times.count(field->name()) == 0) types[field->name()] = field->type();
    }
    return source_.csv->Start(types);
  }

  Status Rows() {
    start_ = MonotonicNanos();
    for (;;) {
      if (Interrupted()) return MakeError(ErrorCode::kCancelled, "interrupted");
      ARROW_ASSIGN_OR_RAISE(const auto batch, source_.Next());
      if (batch == nullptr) break;
      if (batch->num_rows() == 0) continue;
      ARROW_RETURN_NOT_OK(Put(*batch));
      ShowProgress();
    }
    flushing_ = true;
    ARROW_RETURN_NOT_OK(db_->Flush());
    progress_.Finish();
    Report();
    return Status::OK();
  }

  Status Put(const arrow::RecordBatch& batch) {
    WriteOptions valid;
    const auto times = [&](const std::string& name) -> Result<std::shared_ptr<arrow::Array>> {
      if (name.empty()) return arrow::MakeArrayOfNull(arrow::int64(), batch.num_rows());
      return ValidTimes(source_, name, batch.GetColumnByName(name), rows_);
    };
    if (!options_.valid_from.empty() || !options_.valid_to.empty()) {
      ARROW_ASSIGN_OR_RAISE(valid.valid_from, times(options_.valid_from));
      ARROW_ASSIGN_OR_RAISE(valid.valid_to, times(options_.valid_to));
    }
    arrow::ArrayVector columns;
    for (const auto& field : table_.schema->fields())
      columns.push_back(batch.GetColumnByName(field->name()));
    const auto exact =
        arrow::RecordBatch::Make(table_.schema, batch.num_rows(), std::move(columns));
    const auto put = db_->Put(options_.table, exact, valid);
    if (!put.ok()) {
      // The engine counts within the batch; people look into the file.
      std::string message = MessageOf(put.status());
      static const std::regex kRow("\\brow=([0-9]+)");
      std::smatch row;
      if (std::regex_search(message, row, kRow)) {
        message =
            row.prefix().str() + source_.Place(rows_ + std::stoull(row[1])) + row.suffix().str();
      } else {
        message += fmt::format(" (at or after {})", source_.Place(rows_));
      }
      return MakeError(CodeOf(put.status()), fmt::format("{} file={}", message, options_.file),
                       std::string(HintOf(put.status())));
    }
    rows_ += static_cast<uint64_t>(batch.num_rows());
    ++commits_;
    return Status::OK();
  }

  void ShowProgress() {
    const double seconds = static_cast<double>(MonotonicNanos() - start_) * 1e-9;
    progress_.Update(
        source_.csv != nullptr ? source_.csv->bytes_read() : rows_,
        source_.csv != nullptr ? source_.csv->bytes_total() : source_.parquet_rows,
        fmt::format("{}, {}/s", Plural(rows_, "row"),
                    CountText(static_cast<uint64_t>(static_cast<double>(rows_) / seconds))));
  }

  void Report() const {
    const double seconds = static_cast<double>(MonotonicNanos() - start_) * 1e-9;
    if (as_json_) {
      Out(JsonLine({{"table", options_.table},
                    {"created", created_},
                    {"rows", rows_},
                    {"commits", commits_},
                    {"seconds", seconds}}) +
          "\n");
      return;
    }
    if (created_) {
      const std::string key =
          options_.no_key ? "no key" : fmt::format("key ({})", fmt::join(options_.key, ", "));
      Out(fmt::format("created {}: {}; {}\n", options_.table, ColumnsText(*table_.schema), key));
    }
    const auto rate = static_cast<uint64_t>(static_cast<double>(rows_) / seconds);
    Out(fmt::format("{} into {} in {} ({}{})\n", Plural(rows_, "row"), options_.table,
                    Plural(commits_, "commit"), DurationText(seconds),
                    rows_ < 10'000 ? "" : fmt::format(", {} rows/s", CountText(rate))));
  }

  /// What stays of it is part of the error.
  Status Stopped(const Status& status) {
    const bool cancelled = CodeOf(status) == ErrorCode::kCancelled;
    std::string hint(HintOf(status));
    std::string message = MessageOf(status);
    if (rows_ == 0) {
      if (created_) ARROW_RETURN_NOT_OK(db_->DropTable(options_.table));
      message += "; nothing was ingested";
    } else {
      message += fmt::format("; {} before that, in {}, are in the table", Plural(rows_, "row"),
                             Plural(commits_, "commit"));
      if (cancelled && hint.empty() && !options_.no_key && !flushing_)
        hint = "ingest the file again for the rest: the same rows come to lie over themselves";
    }
    return MakeError(CodeOf(status), std::move(message), std::move(hint));
  }

  static Status NoKey(const IngestOptions& options, const Database* db) {
    std::vector<std::string> tables;
    if (db != nullptr) {
      for (const auto& table : db->ListTables()) tables.push_back(table.name);
    }
    const std::string close = ClosestName(options.table, tables);
    return Bad(fmt::format("table does not exist and no key is given: table={}", options.table),
               close.empty()
                   ? "name the key columns with --key a,b, or make an append table with --no-key"
                   : fmt::format("did you mean {}? or name the key columns with --key a,b", close));
  }

  const IngestOptions& options_;
  Source source_;
  Database* db_;
  const bool as_json_;
  Progress progress_;
  TableInfo table_;
  bool created_ = false;
  bool flushing_ = false;
  int64_t start_ = 0;
  uint64_t rows_ = 0, commits_ = 0;
};

// Whether the columns that the options name are in the file.
Status CheckNames(const IngestOptions& options, const Source& source) {
  const auto columns = source.schema()->field_names();
  const auto has = [&](const std::string& name) {
    return std::find(columns.begin(), columns.end(), name) != columns.end();
  };
  for (const auto& name : {options.valid_from, options.valid_to}) {
    if (!name.empty() && !has(name)) return NoColumn(options, name, columns);
  }
  for (const auto& name : options.key) {
    if (!has(name)) return NoColumn(options, name, columns);
    if (name == options.valid_from || name == options.valid_to) {
      return Bad(fmt::format("a column cannot be key and valid time at once: column={}", name));
    }
  }
  return Status::OK();
}

Status Load(Database* db, const IngestOptions& options, Source source, bool as_json,
            uint64_t* rows) {
  if (source.csv != nullptr && source.csv->header_only() && options.types.empty() &&
      !db->GetTable(options.table).ok()) {
    return Bad(fmt::format("file has a header but no rows: file={}", options.file),
               "columns get their types from rows; or give each with --type column=text");
  }
  Ingest run(options, std::move(source), db, as_json);
  auto result = run.Run();
  *rows = run.rows();
  return result;
}

}  // namespace

Status IngestInto(Database* db, const IngestOptions& options, bool as_json) {
  ARROW_ASSIGN_OR_RAISE(auto source, OpenSource(options));
  ARROW_RETURN_NOT_OK(CheckNames(options, source));
  uint64_t rows = 0;
  return Load(db, options, std::move(source), as_json, &rows);
}

Status RunIngest(const std::string& directory, const IngestOptions& options, bool as_json) {
  ARROW_ASSIGN_OR_RAISE(auto source, OpenSource(options));
  ARROW_RETURN_NOT_OK(CheckNames(options, source));
  DatabaseOptions open;
  open.create_if_missing = !options.key.empty() || options.no_key;
  const bool was_there = std::filesystem::exists(directory);
  uint64_t rows = 0;
  auto status = WithDatabase(directory, open, [&](Database* db) {
    return Load(db, options, std::move(source), as_json, &rows);
  });
  // An error changes nothing: a database made for this file alone goes again.
  if (!status.ok() && rows == 0 && !was_there) std::filesystem::remove_all(directory);
  return status;
}

}  // namespace lamina::cli
