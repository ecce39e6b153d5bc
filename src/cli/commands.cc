#include "cli/commands.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <set>

#include "cli/terminal.h"
#include <arrow/array.h>
#include <arrow/csv/api.h>
#include <arrow/io/file.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "storage/sst/parquet_import.h"

namespace lamina::cli {
namespace {

using nlohmann::json;

/// Rows as lines of JSON.
void PrintJsonRows(const arrow::RecordBatch& batch) {
  for (int64_t r = 0; r < batch.num_rows(); ++r) {
    auto row = nlohmann::ordered_json::object();
    for (int c = 0; c < batch.num_columns(); ++c)
      row[batch.column_name(c)] = CellJson(*batch.column(c), r);
    fmt::print("{}\n", row.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
}

std::vector<std::string> SplitComma(const std::string& text) {
  std::vector<std::string> out;
  size_t at = 0;
  for (;;) {
    const size_t comma = text.find(',', at);
    out.push_back(text.substr(at, comma == std::string::npos ? std::string::npos : comma - at));
    if (comma == std::string::npos) return out;
    at = comma + 1;
  }
}

Result<std::shared_ptr<arrow::Scalar>> ParseScalar(const std::string& text,
                                                   const std::shared_ptr<arrow::DataType>& type,
                                                   const std::string& column) {
  if (type->id() == arrow::Type::TIMESTAMP) {
    ARROW_ASSIGN_OR_RAISE(const int64_t micros, ParseTimestamp(text));
    return arrow::TimestampScalar(micros, arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"))
        .CastTo(type);
  }
  auto scalar = arrow::Scalar::Parse(type, text);
  if (scalar.ok()) return scalar;
  return MakeError(ErrorCode::kInvalidArgument,
                   fmt::format("value does not fit the column: column={} type={} value={}", column,
                               type->ToString(), text));
}

/// Comma-separated values of the first key columns.
Result<Key> ParseKey(const TableInfo& table, const std::string& text, bool whole) {
  const auto parts = table.key.size() == 1 ? std::vector<std::string>{text} : SplitComma(text);
  if (parts.size() > table.key.size() || (whole && parts.size() != table.key.size())) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("key has another number of columns: expected={} given={}", table.key.size(),
                    parts.size()),
        fmt::format("the key is ({}); separate the values by commas", fmt::join(table.key, ", ")));
  }
  Key key;
  for (size_t i = 0; i < parts.size(); ++i) {
    ARROW_ASSIGN_OR_RAISE(
        auto value,
        ParseScalar(parts[i], table.schema->GetFieldByName(table.key[i])->type(), table.key[i]));
    key.push_back(std::move(value));
  }
  return key;
}

std::string Trim(std::string s) {
  const auto first = s.find_first_not_of(' ');
  const auto last = s.find_last_not_of(' ');
  return first == std::string::npos ? "" : s.substr(first, last - first + 1);
}

std::string Unquote(const std::string& s) {
  if (s.size() >= 2 && (s.front() == '\'' || s.front() == '"') && s.back() == s.front())
    return s.substr(1, s.size() - 2);
  return s;
}

/// "column = value", also != < <= > >=, "column ^= prefix", "column is null", "column is not null".
Result<ExprPtr> ParseCondition(const TableInfo& table, const std::string& text) {
  const auto type_of = [&](const std::string& column) -> std::shared_ptr<arrow::DataType> {
    if (const auto field = table.schema->GetFieldByName(column)) return field->type();
    if (column == "_commit") return arrow::int64();
    return column.empty() || column[0] != '_' ? nullptr
                                              : arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  };
  for (const auto& [words, negated] :
       {std::pair<std::string, bool>{" is not null", true}, {" is null", false}}) {
    if (text.size() > words.size() && text.ends_with(words)) {
      auto column = Trim(text.substr(0, text.size() - words.size()));
      return negated ? IsNotNull(std::move(column)) : IsNull(std::move(column));
    }
  }
  const size_t at = text.find_first_of("=!<>^");
  if (at == std::string::npos || at == 0) {
    return MakeError(
        ErrorCode::kInvalidArgument, fmt::format("condition is not understood: {}", text),
        "write: column = value, with = != < <= > >= or ^= (starts with), or: column is [not] null");
  }
  const bool two = at + 1 < text.size() && text[at + 1] == '=';
  const std::string op = text.substr(at, two ? 2 : 1);
  const std::string column = Trim(text.substr(0, at));
  const std::string value = Unquote(Trim(text.substr(at + op.size())));
  if (op == "^=") return StartsWith(column, value);
  const auto type = type_of(column);
  // An unknown column is the table's to report, with the names it has.
  ARROW_ASSIGN_OR_RAISE(auto scalar,
                        ParseScalar(value, type == nullptr ? arrow::utf8() : type, column));
  if (op == "=" || op == "==") return Eq(column, std::move(scalar));
  if (op == "!=") return Ne(column, std::move(scalar));
  if (op == "<") return Lt(column, std::move(scalar));
  if (op == "<=") return Le(column, std::move(scalar));
  if (op == ">") return Gt(column, std::move(scalar));
  if (op == ">=") return Ge(column, std::move(scalar));
  return MakeError(ErrorCode::kInvalidArgument, fmt::format("operator is not understood: {}", op));
}

Result<ValidInterval> ParseInterval(const std::string& from, const std::string& to) {
  ValidInterval out;
  if (!from.empty()) {
    ARROW_ASSIGN_OR_RAISE(out.from.micros, ParseTimestamp(from));
  }
  if (!to.empty()) {
    ARROW_ASSIGN_OR_RAISE(out.to.micros, ParseTimestamp(to));
  }
  return out;
}

/// The file's batches, its number of rows (0 = unknown) and how far reading is.
struct Source {
  std::shared_ptr<arrow::RecordBatchReader> batches;
  uint64_t total = 0;                      // Rows, or bytes of a CSV file.
  std::function<uint64_t(uint64_t)> done;  // From rows read to the unit of `total`.
};

Result<Source> OpenSource(const IngestOptions& options, const arrow::Schema* known) {
  constexpr int64_t kBatchRows = 8192;
  Source out;
  if (options.file.ends_with(".parquet")) {
    ARROW_ASSIGN_OR_RAISE(auto file, storage::sst::OpenForeignParquet(options.file, kBatchRows));
    out.batches = file.batches;
    out.total = static_cast<uint64_t>(file.rows);
    out.done = [](uint64_t rows) { return rows; };
    return out;
  }
  if (!options.file.ends_with(".csv")) {
    return MakeError(ErrorCode::kUnsupported,
                     fmt::format("file type is not known: file={}", options.file),
                     "files end in .csv or .parquet");
  }
  auto input = arrow::io::ReadableFile::Open(options.file);
  if (!input.ok()) {
    return MakeError(ErrorCode::kNotFound,
                     fmt::format("cannot open file: {}", input.status().message()));
  }
  auto read = arrow::csv::ReadOptions::Defaults();
  read.block_size = 1 << 20;
  auto convert = arrow::csv::ConvertOptions::Defaults();
  convert.strings_can_be_null = true;
  convert.null_values = {""};
  if (!options.null_text.empty()) convert.null_values.push_back(options.null_text);
  if (known != nullptr) {
    for (const auto& field : known->fields()) convert.column_types[field->name()] = field->type();
  }
  ARROW_ASSIGN_OR_RAISE(const int64_t size, (*input)->GetSize());
  auto reader = arrow::csv::StreamingReader::Make(arrow::io::default_io_context(), *input, read,
                                                  arrow::csv::ParseOptions::Defaults(), convert);
  if (!reader.ok()) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("cannot read CSV: file={} {}", options.file, reader.status().message()));
  }
  out.batches = *reader;
  out.total = static_cast<uint64_t>(size);
  out.done = [reader = *reader](uint64_t) { return static_cast<uint64_t>(reader->bytes_read()); };
  return out;
}

}  // namespace

Result<SystemPeriod> ParseSystem(const MomentOptions& moment) {
  if (moment.all_versions) return SystemPeriod::All();
  if (moment.as_of.empty()) return SystemPeriod::Latest();
  uint64_t commit = 0;
  const auto* end = moment.as_of.data() + moment.as_of.size();
  const auto parsed = std::from_chars(moment.as_of.data(), end, commit);
  if (parsed.ec == std::errc() && parsed.ptr == end) return SystemPeriod::AsOf(CommitId{commit});
  ARROW_ASSIGN_OR_RAISE(const int64_t micros, ParseTimestamp(moment.as_of));
  return SystemPeriod::AsOf(SystemTime{micros});
}

Result<ValidPeriod> ParseValid(const MomentOptions& moment) {
  if (moment.all_versions) return ValidPeriod::All();
  if (moment.valid_at.empty()) return ValidPeriod::Now();
  ARROW_ASSIGN_OR_RAISE(const int64_t micros, ParseTimestamp(moment.valid_at));
  return ValidPeriod::At({micros});
}

Status RunIngest(Database* db, const IngestOptions& options, bool as_json) {
  const auto existing = db->GetTable(options.table);
  if (!existing.ok() && CodeOf(existing.status()) != ErrorCode::kNotFound) return existing.status();
  if (existing.ok() && !options.key.empty() && options.key != existing->key) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("table has another key: table={} key=({})", options.table,
                                 fmt::join(existing->key, ", ")),
                     "leave --key out for a table that exists");
  }
  if (!existing.ok() && options.key.empty() && !options.no_key) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("table does not exist and no key is given: table={}", options.table),
        "name the key columns with --key a,b or make an append table with --no-key");
  }
  ARROW_ASSIGN_OR_RAISE(auto source,
                        OpenSource(options, existing.ok() ? existing->schema.get() : nullptr));
  const auto file_schema = source.batches->schema();
  const std::set<std::string> times = {options.valid_from, options.valid_to};
  for (const auto& name : times) {
    if (!name.empty() && file_schema->GetFieldIndex(name) < 0) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format("file has no such column: file={} column={}", options.file, name),
          fmt::format("its columns are: {}", fmt::join(file_schema->field_names(), ", ")));
    }
  }
  arrow::FieldVector fields;
  for (const auto& field : file_schema->fields()) {
    if (times.count(field->name()) == 0) fields.push_back(field->RemoveMetadata());
  }
  if (!existing.ok()) {
    KeyDeclaration key;
    key.names = options.key;
    key.no_key = options.no_key;
    ARROW_RETURN_NOT_OK(db->CreateTable(options.table, arrow::schema(fields), key));
  }
  ARROW_ASSIGN_OR_RAISE(const auto table, db->GetTable(options.table));

  Progress progress("ingesting " + options.table);
  const int64_t start = MonotonicNanos();
  uint64_t rows = 0;
  uint64_t commits = 0;
  for (;;) {
    if (Interrupted()) {
      return MakeError(
          ErrorCode::kCancelled,
          fmt::format("interrupted: {} rows are in, in {} commits", CountText(rows), commits));
    }
    std::shared_ptr<arrow::RecordBatch> batch;
    const auto status = source.batches->ReadNext(&batch);
    if (!status.ok()) {
      return MakeError(ErrorCode::kInvalidArgument,
                       fmt::format("cannot read on: file={} after_rows={} {}", options.file, rows,
                                   MessageOf(status)),
                       rows == 0 ? "" : "the rows before are in");
    }
    if (batch == nullptr) break;
    if (batch->num_rows() == 0) continue;
    WriteOptions valid;
    const auto open_end = [&]() -> Result<std::shared_ptr<arrow::Array>> {
      return arrow::MakeArrayOfNull(arrow::int64(), batch->num_rows());
    };
    if (!options.valid_from.empty() || !options.valid_to.empty()) {
      ARROW_ASSIGN_OR_RAISE(valid.valid_from, options.valid_from.empty()
                                                  ? open_end()
                                                  : batch->GetColumnByName(options.valid_from));
      ARROW_ASSIGN_OR_RAISE(valid.valid_to, options.valid_to.empty()
                                                ? open_end()
                                                : batch->GetColumnByName(options.valid_to));
    }
    arrow::ArrayVector columns;
    for (const auto& field : table.schema->fields()) {
      auto column = batch->GetColumnByName(field->name());
      if (column == nullptr) {
        return MakeError(ErrorCode::kInvalidArgument,
                         fmt::format("file lacks a column of the table: file={} column={}",
                                     options.file, field->name()));
      }
      columns.push_back(std::move(column));
    }
    for (const auto& name : file_schema->field_names()) {
      if (times.count(name) == 0 && table.schema->GetFieldIndex(name) < 0) {
        return MakeError(ErrorCode::kInvalidArgument,
                         fmt::format("file has a column that the table lacks: file={} column={}",
                                     options.file, name));
      }
    }
    const auto exact =
        arrow::RecordBatch::Make(table.schema, batch->num_rows(), std::move(columns));
    ARROW_RETURN_NOT_OK(db->Put(options.table, exact, valid).status());
    rows += static_cast<uint64_t>(batch->num_rows());
    ++commits;
    const double seconds = static_cast<double>(MonotonicNanos() - start) * 1e-9;
    progress.Update(
        source.done(rows), source.total,
        fmt::format("{} rows, {} rows/s", CountText(rows),
                    CountText(static_cast<uint64_t>(static_cast<double>(rows) / seconds))));
  }
  ARROW_RETURN_NOT_OK(db->Flush());
  progress.Finish();
  const double seconds = static_cast<double>(MonotonicNanos() - start) * 1e-9;
  if (as_json) {
    fmt::print(
        "{}\n",
        json{{"table", options.table}, {"rows", rows}, {"commits", commits}, {"seconds", seconds}}
            .dump());
  } else {
    fmt::print("{} rows into {} in {} commits, flushed: {} ({} rows/s)\n", CountText(rows),
               options.table, CountText(commits), DurationText(seconds),
               CountText(static_cast<uint64_t>(static_cast<double>(rows) / seconds)));
  }
  return Status::OK();
}

Status RunScan(Database* db, const ScanCommand& command, bool as_json) {
  ARROW_ASSIGN_OR_RAISE(const auto system, ParseSystem(command.moment));
  ARROW_ASSIGN_OR_RAISE(const auto valid, ParseValid(command.moment));
  const int64_t start = MonotonicNanos();
  std::shared_ptr<ScanReader> reader;
  if (command.table.empty()) {
    ARROW_ASSIGN_OR_RAISE(reader, db->ScanPrefix(command.prefix, system, valid, command.limit));
  } else {
    ARROW_ASSIGN_OR_RAISE(const auto table, db->GetTable(command.table));
    ScanOptions options;
    options.system = system;
    options.valid = valid;
    options.limit = command.limit;
    if (!command.columns.empty()) options.columns = command.columns;
    if (command.moment.all_versions && command.columns.empty()) {
      options.columns = table.schema->field_names();
      for (const char* name : {"_valid_from", "_valid_to", "_system_from", "_system_to", "_commit"})
        options.columns->push_back(name);
    }
    if (command.count) options.columns = std::vector<std::string>{};
    if (!command.prefix.empty()) {
      ARROW_ASSIGN_OR_RAISE(options.keys.prefix, ParseKey(table, command.prefix, /*whole=*/false));
    }
    std::vector<ExprPtr> conditions;
    for (const auto& text : command.where) {
      ARROW_ASSIGN_OR_RAISE(auto condition, ParseCondition(table, text));
      conditions.push_back(std::move(condition));
    }
    if (!conditions.empty()) options.filter = And(std::move(conditions));
    ARROW_ASSIGN_OR_RAISE(reader, db->Scan(command.table, options));
  }
  constexpr int64_t kShown = 40;
  arrow::RecordBatchVector shown;
  int64_t shown_rows = 0;
  int64_t rows = 0;
  for (;;) {
    if (Interrupted()) return MakeError(ErrorCode::kCancelled, "interrupted");
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(reader->ReadNext(&batch));
    if (batch == nullptr) break;
    rows += batch->num_rows();
    if (command.count) continue;
    if (as_json) {
      PrintJsonRows(*batch);
    } else if (shown_rows < kShown) {
      shown.push_back(batch->Slice(0, kShown - shown_rows));
      shown_rows += shown.back()->num_rows();
    }
  }
  const double seconds = static_cast<double>(MonotonicNanos() - start) * 1e-9;
  if (command.count) {
    if (as_json) {
      fmt::print("{}\n", json{{"count", rows}}.dump());
    } else {
      fmt::print("{} rows ({})\n", CountText(static_cast<uint64_t>(rows)), DurationText(seconds));
    }
  } else if (!as_json) {
    if (shown.empty()) {
      fmt::print("no rows\n");
    } else {
      ARROW_ASSIGN_OR_RAISE(const auto joined, arrow::ConcatenateRecordBatches(shown));
      fmt::print("{}", BatchText(*joined, kShown, rows));
    }
    fmt::print("{} rows ({})\n", CountText(static_cast<uint64_t>(rows)), DurationText(seconds));
  }
  if (command.explain) {
    const auto& p = reader->profile();
    const json profile = {{"snapshot_nanos", p.snapshot_nanos},
                          {"plan_scan_nanos", p.plan_scan_nanos},
                          {"build_scan_streams_nanos", p.build_scan_streams_nanos},
                          {"merge_init_nanos", p.merge_init_nanos},
                          {"package_init_nanos", p.package_init_nanos},
                          {"consume_nanos", p.consume_nanos},
                          {"files_considered", p.files_considered},
                          {"files_pruned", p.files_pruned},
                          {"memtable_facts", p.memtable_facts},
                          {"rows_scanned", p.rows_scanned},
                          {"rows_returned", p.rows_returned},
                          {"files_opened", p.io.files_opened},
                          {"row_groups_read", p.io.row_groups_read},
                          {"row_groups_pruned", p.io.row_groups_pruned},
                          {"pages_read", p.io.pages_read},
                          {"pages_pruned", p.io.pages_pruned},
                          {"page_cache_hits", p.io.page_cache_hits},
                          {"bytes_read", p.io.bytes_read},
                          {"requests", p.io.requests},
                          {"bloom_negatives", p.io.bloom_negatives}};
    if (as_json) {
      fmt::print("{}\n", profile.dump());
    } else {
      TextTable table({"what the scan did", ""});
      for (const auto& [name, value] : profile.items())
        table.Add({name, CountText(value.get<uint64_t>())}, {false, true});
      fmt::print("{}", table.ToString());
    }
  }
  return Status::OK();
}

Status RunPut(Database* db, const std::string& key, const std::string& document,
              const std::string& valid_from, const std::string& valid_to, bool as_json) {
  ARROW_ASSIGN_OR_RAISE(const auto valid, ParseInterval(valid_from, valid_to));
  ARROW_ASSIGN_OR_RAISE(auto result, db->PutDocument(key, document, valid));
  // A command is one acknowledgement to a person: it waits for the disk.
  ARROW_RETURN_NOT_OK(db->Sync());
  if (as_json) {
    fmt::print(
        "{}\n",
        json{{"commit", result.commit.value}, {"system_time", Format(result.system_time)}}.dump());
  } else {
    fmt::print("commit {} at {}\n", result.commit.value, Format(result.system_time));
  }
  return Status::OK();
}

Status RunGet(Database* db, const std::string& table, const std::string& key,
              const MomentOptions& moment, bool as_json) {
  ARROW_ASSIGN_OR_RAISE(const auto system, ParseSystem(moment));
  ARROW_ASSIGN_OR_RAISE(const auto valid, ParseValid(moment));
  if (table.empty()) {
    ARROW_ASSIGN_OR_RAISE(const auto document, db->GetDocument(key, system, valid));
    if (!document.has_value())
      return MakeError(ErrorCode::kNotFound, fmt::format("no document: key={}", key));
    if (as_json) {
      fmt::print("{}\n", json{{"key", key}, {"doc", *document}}.dump(
                             -1, ' ', false, json::error_handler_t::replace));
    } else {
      fmt::print("{}\n", *document);
    }
    return Status::OK();
  }
  ARROW_ASSIGN_OR_RAISE(const auto info, db->GetTable(table));
  ARROW_ASSIGN_OR_RAISE(const auto parsed, ParseKey(info, key, /*whole=*/true));
  ARROW_ASSIGN_OR_RAISE(const auto rows, db->Get(table, parsed, system, valid));
  if (rows->num_rows() == 0)
    return MakeError(ErrorCode::kNotFound, fmt::format("no row: table={} key={}", table, key));
  if (as_json) {
    PrintJsonRows(*rows);
  } else {
    fmt::print("{}", BatchText(*rows, 40, rows->num_rows()));
  }
  return Status::OK();
}

Status RunHistory(Database* db, const std::string& table, const std::string& key, bool as_json) {
  std::shared_ptr<arrow::RecordBatch> rows;
  const std::vector<std::string> times = {"_valid_from", "_valid_to", "_system_from", "_system_to",
                                          "_commit"};
  if (table.empty()) {
    ARROW_ASSIGN_OR_RAISE(rows, db->DocumentVersions(key));
  } else {
    ARROW_ASSIGN_OR_RAISE(const auto info, db->GetTable(table));
    ARROW_ASSIGN_OR_RAISE(const auto parsed, ParseKey(info, key, /*whole=*/true));
    auto columns = info.schema->field_names();
    for (const auto& name : info.key) std::erase(columns, name);
    columns.insert(columns.end(), times.begin(), times.end());
    ARROW_ASSIGN_OR_RAISE(rows,
                          db->Get(table, parsed, SystemPeriod::All(), ValidPeriod::All(), columns));
  }
  if (rows->num_rows() == 0)
    return MakeError(ErrorCode::kNotFound, fmt::format("no history: key={}", key));
  if (as_json) {
    PrintJsonRows(*rows);
    return Status::OK();
  }
  fmt::print("{}{}", BatchText(*rows, 200, rows->num_rows()), PlaneText(*rows));
  return Status::OK();
}

std::string PlaneText(const arrow::RecordBatch& versions) {
  const auto column = [&](const char* name) {
    return std::static_pointer_cast<arrow::TimestampArray>(versions.GetColumnByName(name));
  };
  const auto valid_from = column("_valid_from"), valid_to = column("_valid_to"),
             system_from = column("_system_from"), system_to = column("_system_to");
  if (valid_from == nullptr || versions.num_rows() > 52) return "";
  std::set<int64_t> valid, system;
  for (int64_t i = 0; i < versions.num_rows(); ++i) {
    valid.insert({valid_from->Value(i), valid_to->Value(i)});
    system.insert({system_from->Value(i), system_to->Value(i)});
  }
  if (valid.size() > 16 || system.size() > 24) return "";
  const std::vector<int64_t> x(valid.begin(), valid.end());
  const std::vector<int64_t> y(system.begin(), system.end());
  const auto letter = [](int64_t i) {
    return static_cast<char>(i < 26 ? 'A' + i : 'a' + (i - 26));
  };
  std::string out = "system time ↑   each letter is a row above (A = the first)\n";
  constexpr int kCell = 8;
  for (size_t row = y.size() - 1; row-- > 0;) {
    out += fmt::format("{:>27} ┤", FormatTimestamp(y[row]).substr(0, 19));
    for (size_t cell = 0; cell + 1 < x.size(); ++cell) {
      char c = ' ';
      for (int64_t i = 0; i < versions.num_rows(); ++i) {
        if (valid_from->Value(i) <= x[cell] && x[cell] < valid_to->Value(i) &&
            system_from->Value(i) <= y[row] && y[row] < system_to->Value(i)) {
          c = letter(i);
        }
      }
      out += c == ' ' ? std::string(kCell - 1, ' ') + " " : std::string(kCell - 1, c) + " ";
    }
    out += "\n";
  }
  out += std::string(28, ' ') + "└";
  for (size_t cell = 0; cell + 1 < x.size(); ++cell) {
    for (int i = 0; i < kCell; ++i) out += "─";
  }
  out += "→ valid time\n";
  for (size_t i = 0; i < x.size(); ++i) {
    out += std::string(29 + i * kCell, ' ') + (i + 1 == x.size() ? "└ " : "└ ") +
           FormatTimestamp(x[i]).substr(0, 19) + "\n";
  }
  return out;
}

Status RunCheck(Database* db, bool as_json) {
  Progress progress("checking");
  const int64_t start = MonotonicNanos();
  ARROW_ASSIGN_OR_RAISE(const auto findings, db->Check([&](uint64_t done, uint64_t total) {
    progress.Update(done, total);
  }));
  progress.Finish();
  const double seconds = static_cast<double>(MonotonicNanos() - start) * 1e-9;
  if (as_json) {
    fmt::print("{}\n", json{{"findings", findings}, {"seconds", seconds}}.dump());
  } else {
    for (const auto& f : findings) fmt::print("{}\n", f);
    if (findings.empty())
      fmt::print("every checksum, bound and invariant holds ({})\n", DurationText(seconds));
  }
  if (findings.empty()) return Status::OK();
  return MakeError(ErrorCode::kCorruption,
                   fmt::format("the check found {} problems", findings.size()));
}

Status RunGc(Database* db, bool dry_run, std::optional<int64_t> grace_seconds, bool as_json) {
  ARROW_ASSIGN_OR_RAISE(const auto result,
                        db->CollectGarbage(dry_run, grace_seconds.has_value()
                                                        ? std::optional(*grace_seconds * 1'000'000)
                                                        : std::nullopt));
  if (as_json) {
    fmt::print("{}\n", json{{"dry_run", dry_run},
                            {"deleted", result.deleted},
                            {"bytes", result.bytes},
                            {"kept", result.kept},
                            {"wal_segments", result.wal_segments}}
                           .dump());
    return Status::OK();
  }
  const char* verb = dry_run ? "would delete" : "deleted";
  for (const auto& path : result.deleted) fmt::print("{} {}\n", verb, path);
  for (const auto& path : result.wal_segments) fmt::print("{} {}\n", verb, path);
  for (const auto& reason : result.kept) fmt::print("kept {}\n", reason);
  fmt::print("{} {} objects ({}) and {} log segments; {} kept\n", verb, result.deleted.size(),
             SizeText(result.bytes), result.wal_segments.size(), result.kept.size());
  return Status::OK();
}

Status RunCompact(Database* db, const std::optional<std::string>& table, bool as_json) {
  const int64_t start = MonotonicNanos();
  ARROW_RETURN_NOT_OK(db->Flush());
  ARROW_RETURN_NOT_OK(db->Compact(table));
  const double seconds = static_cast<double>(MonotonicNanos() - start) * 1e-9;
  const auto m = db->metrics().compaction;
  if (as_json) {
    fmt::print("{}\n", json{{"compactions", m.compactions},
                            {"rows_in", m.rows_in},
                            {"rows_out", m.rows_out},
                            {"bytes_in", m.bytes_in},
                            {"bytes_out", m.bytes_out},
                            {"seconds", seconds}}
                           .dump());
  } else {
    fmt::print("{} compactions: {} rows in, {} out; {} in, {} out ({})\n", m.compactions,
               CountText(m.rows_in), CountText(m.rows_out), SizeText(m.bytes_in),
               SizeText(m.bytes_out), DurationText(seconds));
  }
  return Status::OK();
}

}  // namespace lamina::cli
