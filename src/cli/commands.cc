#include "cli/commands.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <set>
#include <thread>

#include "cli/terminal.h"
#include <arrow/array.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace lamina::cli {
namespace {

using nlohmann::ordered_json;

/// Rows as lines of JSON.
void PrintJsonRows(const arrow::RecordBatch& batch) {
  for (int64_t r = 0; r < batch.num_rows(); ++r) Out(JsonLine(RowJson(batch, r)) + "\n");
}

/// As RFC 4180 wants it: what `ingest` reads back. Nulls are empty, empty texts are "".
std::string CsvField(std::string_view text, bool quoted) {
  if (!quoted && text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}
void PrintCsvRows(const arrow::RecordBatch& batch) {
  for (int64_t r = 0; r < batch.num_rows(); ++r) {
    std::string line;
    for (int c = 0; c < batch.num_columns(); ++c) {
      if (c != 0) line += ',';
      const auto cell = CellJson(*batch.column(c), r);
      if (cell.is_null()) continue;
      const std::string text = cell.is_string() ? cell.get<std::string>() : JsonLine(cell);
      line += CsvField(text, cell.is_string() && text.empty());
    }
    Out(line + "\n");
  }
}

/// Values between commas; one that holds a comma stands in double quotes, as in CSV.
std::vector<std::string> SplitComma(const std::string& text) {
  std::vector<std::string> out(1);
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      out.back() += '"';
      ++i;
    } else if (c == '"' && (quoted || out.back().empty())) {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  return out;
}

constexpr const char* kTimes[] = {"_valid_from", "_valid_to", "_system_from", "_system_to",
                                  "_commit"};

Status CheckColumn(const TableInfo& table, const std::string& column) {
  auto known = table.schema->field_names();
  known.insert(known.end(), std::begin(kTimes), std::end(kTimes));
  if (std::find(known.begin(), known.end(), column) != known.end()) return Status::OK();
  return MakeError(ErrorCode::kInvalidArgument,
                   fmt::format("unknown column: table={} column={}", table.name, column),
                   Suggestion(column, known, "its columns are"));
}

/// GetTable, with a hint at the tables there are.
Result<TableInfo> FindTable(const Database* db, const std::string& name) {
  auto table = db->GetTable(name);
  if (table.ok() || CodeOf(table.status()) != ErrorCode::kNotFound) return table;
  std::vector<std::string> known;
  for (const auto& other : db->ListTables()) known.push_back(other.name);
  return MakeError(ErrorCode::kNotFound, MessageOf(table.status()),
                   known.empty() ? "the database has no tables; `lamina ingest` makes one"
                                 : Suggestion(name, known, "its tables are"));
}

Result<std::shared_ptr<arrow::Scalar>> ParseScalar(const std::string& text,
                                                   const std::shared_ptr<arrow::DataType>& type,
                                                   const std::string& column) {
  if (type->id() == arrow::Type::TIMESTAMP) {
    ARROW_ASSIGN_OR_RAISE(const int64_t micros, ParseTimestamp(text));
    return arrow::TimestampScalar(micros, arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"))
        .CastTo(type);
  }
  if (arrow::is_binary_like(type->id()) || arrow::is_large_binary_like(type->id()) ||
      type->id() == arrow::Type::FIXED_SIZE_BINARY) {
    // 0x… are bytes that cannot be typed, as they are shown.
    if (text.starts_with("0x") && !arrow::is_string(type->id())) {
      const auto bytes = ParseHex(std::string_view(text).substr(2));
      if (bytes.has_value()) return arrow::MakeScalar(type, arrow::Buffer::FromString(*bytes));
    }
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
        table.key.empty()
            ? "the table has no key"
            : fmt::format("the key is ({}); separate the values by commas, and quote one that "
                          "holds a comma: '\"Smith, J\",7'",
                          fmt::join(table.key, ", ")));
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

std::string Trim(const std::string& s) {
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
    return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  };
  for (const auto& [words, negated] :
       {std::pair<std::string, bool>{" is not null", true}, {" is null", false}}) {
    if (text.size() > words.size() && text.ends_with(words)) {
      auto column = Trim(text.substr(0, text.size() - words.size()));
      ARROW_RETURN_NOT_OK(CheckColumn(table, column));
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
  ARROW_RETURN_NOT_OK(CheckColumn(table, column));
  if (op == "^=") return StartsWith(column, value);
  ARROW_ASSIGN_OR_RAISE(auto scalar, ParseScalar(value, type_of(column), column));
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

Status RunScan(Database* db, const ScanCommand& command, bool as_json) {
  ARROW_ASSIGN_OR_RAISE(const auto system, ParseSystem(command.moment));
  ARROW_ASSIGN_OR_RAISE(const auto valid, ParseValid(command.moment));
  const int64_t start = MonotonicNanos();
  std::shared_ptr<ScanReader> reader;
  if (command.table.empty()) {
    ARROW_ASSIGN_OR_RAISE(reader, db->ScanPrefix(command.prefix, system, valid, command.limit));
  } else {
    ARROW_ASSIGN_OR_RAISE(const auto table, FindTable(db, command.table));
    for (const auto& name : command.columns) ARROW_RETURN_NOT_OK(CheckColumn(table, name));
    ScanOptions options;
    options.system = system;
    options.valid = valid;
    options.limit = command.limit;
    if (!command.columns.empty()) options.columns = command.columns;
    if (command.moment.all_versions && command.columns.empty()) {
      options.columns = table.schema->field_names();
      options.columns->insert(options.columns->end(), std::begin(kTimes), std::end(kTimes));
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
  const int64_t shown_max = command.limit.value_or(40);
  const bool rows_at_once = (as_json || command.csv) && !command.count;
  Progress progress("scanning");
  if (command.csv && !command.count) {
    std::string header;
    for (const auto& name : reader->schema()->field_names())
      header += (header.empty() ? "" : ",") + CsvField(name, name.empty());
    Out(header + "\n");
  }
  arrow::RecordBatchVector shown;
  int64_t shown_rows = 0;
  int64_t rows = 0;
  for (;;) {
    if (Interrupted()) return MakeError(ErrorCode::kCancelled, "interrupted");
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(reader->ReadNext(&batch));
    if (batch == nullptr) break;
    rows += batch->num_rows();
    if (!rows_at_once || !StdoutIsTerminal())
      progress.Update(0, 0, Plural(static_cast<uint64_t>(rows), "row"));
    if (command.count) continue;
    if (command.csv) {
      PrintCsvRows(*batch);
    } else if (as_json) {
      PrintJsonRows(*batch);
    } else if (shown_rows < shown_max) {
      shown.push_back(batch->Slice(0, shown_max - shown_rows));
      shown_rows += shown.back()->num_rows();
    }
  }
  progress.Finish();
  const double seconds = static_cast<double>(MonotonicNanos() - start) * 1e-9;
  const std::string took =
      fmt::format("{} ({})\n", Plural(static_cast<uint64_t>(rows), "row"), DurationText(seconds));
  if (command.count) {
    Out(as_json ? JsonLine({{"count", rows}}) + "\n" : took);
  } else if (!rows_at_once) {
    if (!shown.empty()) {
      ARROW_ASSIGN_OR_RAISE(const auto joined, arrow::ConcatenateRecordBatches(shown));
      Out(BatchText(*joined, shown_max, rows));
    }
    Out(took);
  }
  if (command.explain) {
    const auto& p = reader->profile();
    const ordered_json profile = {{"snapshot_nanos", p.snapshot_nanos},
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
      Out(JsonLine({{"profile", profile}}) + "\n");
    } else if (!command.csv) {
      TextTable table({"what the scan did", ""});
      for (const auto& [name, value] : profile.items())
        table.Add({name, CountText(value.get<uint64_t>())}, {false, true});
      Out(table.ToString());
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
    Out(JsonLine({{"commit", result.commit.value}, {"system_time", Format(result.system_time)}}) +
        "\n");
  } else {
    Out(fmt::format("commit {} at {}\n", result.commit.value, Format(result.system_time)));
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
      return MakeError(ErrorCode::kNotFound, fmt::format("no document: key={}", OneLine(key)),
                       "at this moment of both times, that is; `lamina history` shows all of them");
    if (as_json) {
      Out(JsonLine({{"key", BytesJson(key)}, {"doc", BytesJson(*document)}}) + "\n");
    } else {
      // Its bytes as they are; the line end is for people.
      Out(*document + (StdoutIsTerminal() || !document->ends_with('\n') ? "\n" : ""));
    }
    return Status::OK();
  }
  ARROW_ASSIGN_OR_RAISE(const auto info, FindTable(db, table));
  ARROW_ASSIGN_OR_RAISE(const auto parsed, ParseKey(info, key, /*whole=*/true));
  ARROW_ASSIGN_OR_RAISE(const auto rows, db->Get(table, parsed, system, valid));
  if (rows->num_rows() == 0)
    return MakeError(ErrorCode::kNotFound,
                     fmt::format("no row: table={} key={}", table, OneLine(key)),
                     "at this moment of both times, that is; `lamina history` shows all of them");
  if (as_json) {
    PrintJsonRows(*rows);
  } else {
    Out(BatchText(*rows, 40, rows->num_rows()));
  }
  return Status::OK();
}

Status RunHistory(Database* db, const std::string& table, const std::string& key, bool as_json) {
  std::shared_ptr<arrow::RecordBatch> rows;
  if (table.empty()) {
    ARROW_ASSIGN_OR_RAISE(rows, db->DocumentVersions(key));
  } else {
    ARROW_ASSIGN_OR_RAISE(const auto info, FindTable(db, table));
    ARROW_ASSIGN_OR_RAISE(const auto parsed, ParseKey(info, key, /*whole=*/true));
    auto columns = info.schema->field_names();
    for (const auto& name : info.key) std::erase(columns, name);
    columns.insert(columns.end(), std::begin(kTimes), std::end(kTimes));
    ARROW_ASSIGN_OR_RAISE(rows,
                          db->Get(table, parsed, SystemPeriod::All(), ValidPeriod::All(), columns));
  }
  if (rows->num_rows() == 0)
    return MakeError(ErrorCode::kNotFound, fmt::format("no history: key={}", OneLine(key)));
  if (as_json) {
    PrintJsonRows(*rows);
    return Status::OK();
  }
  // What never changed is said once; what did stands beside the times.
  std::string always;
  auto shown = rows;
  for (int c = rows->num_columns(); c-- > 0 && rows->num_rows() > 1 && !table.empty();) {
    const auto& name = rows->column_name(c);
    if (std::find(std::begin(kTimes), std::end(kTimes), name) != std::end(kTimes)) continue;
    const auto first = CellText(*rows->column(c), 0);
    bool same = true;
    for (int64_t r = 1; r < rows->num_rows() && same; ++r)
      same = CellText(*rows->column(c), r) == first;
    if (!same) continue;
    always = fmt::format("{} {}{}{}", name, first.empty() ? "null" : first,
                         always.empty() ? "" : ", ", always);
    ARROW_ASSIGN_OR_RAISE(shown, shown->RemoveColumn(c));
  }
  if (!always.empty()) Out(fmt::format("in every version: {}\n", always));
  Out(BatchText(*shown, 200, rows->num_rows()) + PlaneText(*rows));
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
    out.erase(out.find_last_not_of(' ') + 1);
    out += "\n";
  }
  out += std::string(28, ' ') + "└";
  for (size_t cell = 0; cell + 1 < x.size(); ++cell) {
    for (int i = 0; i < kCell; ++i) out += "─";
  }
  out += "→ valid time\n";
  for (size_t i = 0; i < x.size(); ++i) {
    out += std::string(29 + i * kCell, ' ') + "└ " + FormatTimestamp(x[i]).substr(0, 19) + "\n";
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
    Out(JsonLine({{"findings", findings}, {"seconds", seconds}}) + "\n");
  } else {
    for (const auto& f : findings) Out(f + "\n");
    if (findings.empty())
      Out(fmt::format("every checksum, bound and invariant holds ({})\n", DurationText(seconds)));
  }
  if (findings.empty()) return Status::OK();
  return MakeError(ErrorCode::kCorruption,
                   fmt::format("the check found {}", Plural(findings.size(), "problem")),
                   "docs/guide/operations.md says what can be done");
}

Status RunGc(Database* db, bool dry_run, std::optional<int64_t> grace_seconds, bool as_json) {
  ARROW_ASSIGN_OR_RAISE(const auto result,
                        db->CollectGarbage(dry_run, grace_seconds.has_value()
                                                        ? std::optional(*grace_seconds * 1'000'000)
                                                        : std::nullopt));
  if (as_json) {
    Out(JsonLine({{"dry_run", dry_run},
                  {"deleted", result.deleted},
                  {"bytes", result.bytes},
                  {"kept", result.kept},
                  {"wal_segments", result.wal_segments}}) +
        "\n");
    return Status::OK();
  }
  const char* verb = dry_run ? "would delete" : "deleted";
  for (const auto& path : result.deleted) Out(fmt::format("{} {}\n", verb, path));
  for (const auto& path : result.wal_segments) Out(fmt::format("{} {}\n", verb, path));
  for (const auto& reason : result.kept) Out(fmt::format("kept {}\n", reason));
  Out(fmt::format("{} {} ({}) and {}; {} kept\n", verb, Plural(result.deleted.size(), "object"),
                  SizeText(result.bytes), Plural(result.wal_segments.size(), "log segment"),
                  result.kept.size()));
  return Status::OK();
}

Status RunCompact(Database* db, const std::optional<std::string>& table, bool as_json) {
  if (table.has_value()) ARROW_RETURN_NOT_OK(FindTable(db, *table).status());
  const int64_t start = MonotonicNanos();
  ARROW_RETURN_NOT_OK(db->Flush());
  ARROW_RETURN_NOT_OK(db->Compact(table));
  const double seconds = static_cast<double>(MonotonicNanos() - start) * 1e-9;
  const auto m = db->metrics().compaction;
  if (as_json) {
    Out(JsonLine({{"compactions", m.compactions},
                  {"rows_in", m.rows_in},
                  {"rows_out", m.rows_out},
                  {"bytes_in", m.bytes_in},
                  {"bytes_out", m.bytes_out},
                  {"seconds", seconds}}) +
        "\n");
  } else if (m.compactions == 0) {
    Out(fmt::format("nothing to compact ({})\n", DurationText(seconds)));
  } else {
    Out(fmt::format("{}: {} in, {} out; {} in, {} out ({})\n", Plural(m.compactions, "compaction"),
                    Plural(m.rows_in, "row"), CountText(m.rows_out), SizeText(m.bytes_in),
                    SizeText(m.bytes_out), DurationText(seconds)));
  }
  return Status::OK();
}

// ---- Running a command ----

namespace {
std::mutex watched_mu;
std::optional<Status> watched_status;
}  // namespace

Status NoDatabase(const std::string& directory) {
  return MakeError(ErrorCode::kNotFound, fmt::format("no database here: directory={}", directory),
                   "name one with --db DIR or LAMINA_DB; put and ingest make one");
}

Status WithDatabase(const std::string& directory, const DatabaseOptions& options,
                    const std::function<Status(Database*)>& body) {
  if (!options.create_if_missing && !std::filesystem::exists(directory + "/refs"))
    return NoDatabase(directory);
  ARROW_ASSIGN_OR_RAISE(auto db, Database::Open(directory, options));
  const auto status = body(db.get());
  {
    const std::lock_guard<std::mutex> lock(watched_mu);
    watched_status = status;
  }
  const auto closed = db->Close();
  return status.ok() ? closed : status;
}

Status RunWatched(const std::string& what, const std::function<Status()>& body,
                  const std::function<void(const Status&)>& give_up) {
  using std::chrono::milliseconds;
  std::mutex mu;
  std::condition_variable done;
  std::optional<Status> result;
  std::thread worker([&] {
    auto status = body();
    const std::lock_guard<std::mutex> lock(mu);
    result = std::move(status);
    done.notify_one();
  });
  const int64_t start = MonotonicNanos();
  int64_t interrupted = 0;
  std::unique_lock<std::mutex> lock(mu);
  while (!done.wait_for(lock, milliseconds(50), [&] { return result.has_value(); })) {
    lock.unlock();
    if (Interrupted()) {
      if (interrupted == 0) interrupted = MonotonicNanos();
      if (MonotonicNanos() - interrupted > 600'000'000) {
        ClearProgress();
        const std::lock_guard<std::mutex> status_lock(watched_mu);
        give_up(watched_status.value_or(MakeError(
            ErrorCode::kCancelled, "interrupted; the database is as after its last commit")));
      }
    } else {
      ShowActivity(what, start);
    }
    lock.lock();
  }
  lock.unlock();
  worker.join();
  ClearProgress();
  return *result;
}

// ---- Names ----

std::optional<std::string> ParseHex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::string out;
  for (size_t i = 0; i < text.size(); i += 2) {
    uint8_t byte = 0;
    const auto parsed = std::from_chars(text.data() + i, text.data() + i + 2, byte, 16);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + i + 2) return std::nullopt;
    out += static_cast<char>(byte);
  }
  return out;
}

/// Insertions, deletions, changes and swaps of neighbours that lead from one word to the other.
static size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min(
          {d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

std::string ClosestName(const std::string& name, const std::vector<std::string>& known) {
  const auto lower = [](std::string s) {
    for (char& c : s) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return s;
  };
  const std::string a = lower(name);
  std::string best;
  size_t best_distance = std::min(name.size(), std::max<size_t>(1, name.size() / 3) + 1);
  for (const auto& candidate : known) {
    const std::string b = lower(candidate);
    const size_t distance = EditDistance(a, b);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string Suggestion(const std::string& name, const std::vector<std::string>& known,
                       const std::string& what_they_are) {
  const std::string close = ClosestName(name, known);
  return fmt::format("{}{}: {}", close.empty() ? "" : fmt::format("did you mean {}? ", close),
                     what_they_are, fmt::join(known, ", "));
}

}  // namespace lamina::cli
