// The engine's figures beside those of the peers at hand, in one run. `make bench`; --help lists
// the options.
//
//   ingest   Arrow batches of 8,192 rows x 8 columns into a keyed table: log (interval sync),
//            flush, resolution; until all is in files
//   duckdb   the very same batches (handed over as an Arrow stream file) appended to DuckDB's own
//            table with a primary key, by the Python script given with --duckdb
//   scan     every current row of that table, all columns, against Arrow C++ reading the same files
//   kv       100,000 documents: 17-byte keys, 100-byte values; put handed to the system, hot get,
//            get after flush
//
// The load average is printed beside the figures: on a busy machine compare ratios, not rates.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <sys/resource.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <arrow/api.h>
#include <arrow/io/file.h>
#include <arrow/ipc/writer.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <parquet/arrow/reader.h>

#include "lamina/database.h"

namespace {

using Clock = std::chrono::steady_clock;
using lamina::Database;
using nlohmann::json;

double Seconds(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double LoadAverage() {
  double load = 0;
  return getloadavg(&load, 1) == 1 ? load : -1;
}

double PeakMegabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void Must(const arrow::Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "lamina_bench: {}\n", status.ToString());
  std::exit(1);
}

template <typename T>
T Must(arrow::Result<T> result) {
  Must(result.status());
  return std::move(result).ValueUnsafe();
}

constexpr int64_t kBatchRows = 8192;

std::shared_ptr<arrow::Schema> IngestSchema() {
  return arrow::schema({arrow::field("id", arrow::int64(), false),
                        arrow::field("ts", arrow::timestamp(arrow::TimeUnit::MICRO)),
                        arrow::field("d1", arrow::float64()), arrow::field("d2", arrow::float64()),
                        arrow::field("d3", arrow::float64()), arrow::field("d4", arrow::float64()),
                        arrow::field("s1", arrow::utf8()), arrow::field("s2", arrow::utf8())});
}

/// Batch `number` of the data set; the same on every call. Keys ascend by 3 or, with `shuffled`,
/// are a permutation of the range.
std::shared_ptr<arrow::RecordBatch> IngestBatch(int64_t number, int64_t rows_total, bool shuffled) {
  std::mt19937_64 random(static_cast<uint64_t>(number) * 7919 + 17);
  arrow::Int64Builder id;
  arrow::TimestampBuilder ts(arrow::timestamp(arrow::TimeUnit::MICRO),
                             arrow::default_memory_pool());
  arrow::DoubleBuilder d1, d2, d3, d4;
  arrow::StringBuilder s1, s2;
  const int64_t rows = std::min(kBatchRows, rows_total - number * kBatchRows);
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t n = number * kBatchRows + i;
    // Multiplying by an odd number permutes the residues of a power of two.
    Must(id.Append(
        shuffled ? static_cast<int64_t>((static_cast<uint64_t>(n) * 0x9E3779B97F4A7C15ull) >> 20)
                 : n * 3));
    Must(ts.Append(1'700'000'000'000'000 + n * 1'000 + static_cast<int64_t>(random() % 1000)));
    Must(d1.Append(static_cast<double>(random() % 100000) / 100));
    Must(d2.Append(static_cast<double>(random() % 100000) / 100));
    Must(d3.Append(static_cast<double>(random()) * 1e-19));
    Must(d4.Append(static_cast<double>(random()) * 1e-19));
    Must(s1.Append(fmt::format("item{:03}", random() % 200)));
    char text[10];
    for (char& c : text) c = static_cast<char>('a' + random() % 26);
    Must(s2.Append(text, sizeof(text)));
  }
  std::vector<std::shared_ptr<arrow::Array>> columns(8);
  Must(id.Finish(&columns[0]));
  Must(ts.Finish(&columns[1]));
  Must(d1.Finish(&columns[2]));
  Must(d2.Finish(&columns[3]));
  Must(d3.Finish(&columns[4]));
  Must(d4.Finish(&columns[5]));
  Must(s1.Finish(&columns[6]));
  Must(s2.Finish(&columns[7]));
  return arrow::RecordBatch::Make(IngestSchema(), rows, columns);
}

std::vector<std::string> ParquetFiles(const std::string& directory) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.path().extension() == ".parquet") out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

/// The batches of Ingest as an Arrow stream file, for a peer in another process.
void WriteBatches(const std::string& path, int64_t rows, bool shuffled) {
  auto file = Must(arrow::io::FileOutputStream::Open(path));
  auto writer = Must(arrow::ipc::MakeStreamWriter(file, IngestSchema()));
  for (int64_t b = 0; b * kBatchRows < rows; ++b) {
    Must(writer->WriteRecordBatch(*IngestBatch(b, rows, shuffled)));
  }
  Must(writer->Close());
  Must(file->Close());
}

json Ingest(const std::string& directory, int64_t rows, bool shuffled,
            const lamina::DatabaseOptions& options) {
  json out;
  auto db = Must(Database::Open(directory, options));
  Must(db->CreateTable("a8", IngestSchema(), {.names = {"id"}}));
  // Each batch is made just before it is put, with the clock stopped: all of them at once would
  // fill the memory that is measured.
  double making = 0;
  const double cpu = CpuSeconds();
  double making_cpu = 0;
  const auto start = Clock::now();
  for (int64_t b = 0; b * kBatchRows < rows; ++b) {
    const auto make = Clock::now();
    const double make_cpu = CpuSeconds();
    const auto batch = IngestBatch(b, rows, shuffled);
    making += Seconds(make);
    making_cpu += CpuSeconds() - make_cpu;
    Must(db->Put("a8", batch).status());
  }
  const double put = Seconds(start) - making;
  Must(db->Flush());
  const double flushed = Seconds(start) - making;
  Must(db->WaitForBackground());
  const double settled = Seconds(start) - making;
  out["rows"] = rows;
  out["keys"] = shuffled ? "random" : "ascending";
  out["rows_per_second"] = static_cast<double>(rows) / flushed;
  out["rows_per_second_put_only"] = static_cast<double>(rows) / put;
  out["rows_per_second_with_compaction"] = static_cast<double>(rows) / settled;
  out["cpu_seconds"] = CpuSeconds() - cpu - making_cpu;
  out["memtable_bytes"] = options.memtable_bytes;
  out["max_sealed_memtables"] = options.max_sealed_memtables;
  out["making_batches_seconds_left_out"] = making;
  out["peak_megabytes"] = PeakMegabytes();
  const auto m = db->metrics();
  out["flushes"] = m.flush.flushes;
  out["arrow_peak_megabytes"] =
      static_cast<double>(arrow::default_memory_pool()->max_memory()) / 1e6;
  out["compactions"] = m.compaction.compactions;
  out["backpressure_seconds"] = static_cast<double>(m.commit.backpressure_nanos) * 1e-9;
  out["wal_megabytes"] = static_cast<double>(m.wal.bytes) / 1e6;
  const auto table = Must(db->GetTable("a8"));
  out["files"] = table.files;
  out["bytes_a_row"] = static_cast<double>(table.bytes_at_rest) / static_cast<double>(rows);
  Must(db->CollectGarbage(false, 0).status());
  Must(db->Close());
  return out;
}

json Scan(const std::string& directory, int repeats) {
  json out;
  auto db = Must(Database::Open(directory));
  const auto table = Must(db->GetTable("a8"));
  const std::string data = fmt::format("{}/data/{}", directory, table.id);
  std::vector<double> ours, ordered, arrow_rates, ratios;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    for (const bool order : {false, true}) {
      const auto start = Clock::now();
      lamina::ScanOptions options;
      options.order_by_key = order;
      options.batch_rows = 64 * 1024;
      auto reader = Must(db->Scan("a8", options));
      int64_t rows = 0;
      for (;;) {
        std::shared_ptr<arrow::RecordBatch> batch;
        Must(reader->ReadNext(&batch));
        if (batch == nullptr) break;
        rows += batch->num_rows();
      }
      (order ? ordered : ours).push_back(static_cast<double>(rows) / Seconds(start));
    }
    const auto start = Clock::now();
    int64_t rows = 0;
    const auto names = IngestSchema()->field_names();
    for (const auto& file : ParquetFiles(data)) {
      auto input = Must(arrow::io::MemoryMappedFile::Open(file, arrow::io::FileMode::READ));
      auto reader = Must(parquet::arrow::OpenFile(input, arrow::default_memory_pool()));
      std::shared_ptr<arrow::Schema> schema;
      Must(reader->GetSchema(&schema));
      std::vector<int> columns;
      for (const auto& name : names) columns.push_back(schema->GetFieldIndex(name));
      std::vector<int> groups(static_cast<size_t>(reader->num_row_groups()));
      for (size_t g = 0; g < groups.size(); ++g) groups[g] = static_cast<int>(g);
      reader->set_batch_size(64 * 1024);
      auto batches = Must(reader->GetRecordBatchReader(groups, columns));
      for (;;) {
        std::shared_ptr<arrow::RecordBatch> batch;
        Must(batches->ReadNext(&batch));
        if (batch == nullptr) break;
        rows += batch->num_rows();
      }
    }
    arrow_rates.push_back(static_cast<double>(rows) / Seconds(start));
    ratios.push_back(ours.back() / arrow_rates.back());
  }
  const auto median = [](std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
  };
  out["rows_per_second"] = median(ours);
  out["rows_per_second_ordered"] = median(ordered);
  out["arrow_rows_per_second"] = median(arrow_rates);
  out["ratio_to_arrow"] = median(ratios);
  Must(db->Close());
  return out;
}

json Documents(const std::string& directory, int64_t keys) {
  json out;
  auto db = Must(Database::Open(directory));
  std::vector<std::string> names;
  for (int64_t i = 0; i < keys; ++i) names.push_back(fmt::format("user:{:012}", i * 7));
  std::mt19937_64 random(5);
  std::shuffle(names.begin(), names.end(), random);
  std::string value(100, 'x');
  std::vector<double> nanos;
  auto start = Clock::now();
  for (const auto& name : names) {
    value[random() % value.size()] = static_cast<char>('a' + random() % 26);
    Must(db->PutDocument(name, value).status());
  }
  out["put_nanos"] = Seconds(start) * 1e9 / static_cast<double>(keys);
  const auto read = [&](const char* what) {
    std::shuffle(names.begin(), names.end(), random);
    std::string document;
    size_t bytes = 0;
    const auto begin = Clock::now();
    for (const auto& name : names) {
      if (!Must(db->GetDocument(name, &document))) std::abort();
      bytes += document.size();
    }
    out[what] = Seconds(begin) * 1e9 / static_cast<double>(keys);
    if (bytes != names.size() * 100) std::abort();
  };
  read("get_nanos");
  read("get_nanos");
  Must(db->Flush());
  read("get_after_flush_first_nanos");
  read("get_after_flush_nanos");
  out["keys"] = keys;
  Must(db->Close());
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Measures LaminaDB's engine beside its peers."};
  int64_t rows = 20'000'000;
  int64_t keys = 100'000;
  int repeats = 5;
  std::string directory = "bench.lamina";
  std::string duckdb_script;
  std::string python = "python3";
  std::string json_path;
  bool shuffled = false;
  lamina::DatabaseOptions options;
  app.add_option("--rows", rows, "Rows to ingest")->capture_default_str();
  app.add_option("--keys", keys, "Documents of the key-value part")->capture_default_str();
  app.add_option("--repeats", repeats, "Repetitions of each scan")->capture_default_str();
  app.add_option("--dir", directory, "Where the databases are made (removed first and afterwards)")
      ->capture_default_str();
  app.add_option("--duckdb", duckdb_script, "Script that appends the same rows to DuckDB");
  app.add_option("--python", python, "Python with duckdb and pyarrow")->capture_default_str();
  app.add_option("--json", json_path, "Write the figures there");
  app.add_flag("--random-keys", shuffled, "Keys in random order instead of ascending");
  app.add_option("--memtable-bytes", options.memtable_bytes, "Ingest: a memtable is sealed there")
      ->capture_default_str();
  app.add_option("--max-sealed", options.max_sealed_memtables,
                 "Ingest: so many sealed memtables hold commits back")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  std::filesystem::remove_all(directory);
  json out;
  out["load_before"] = LoadAverage();
  out["ingest"] = Ingest(directory + "/a8", rows, shuffled, options);
  const auto& ingest = out["ingest"];
  fmt::print("load average {:.2f} before, {:.2f} now\n\n", out["load_before"].get<double>(),
             LoadAverage());
  fmt::print(
      "ingest {} rows, {} keys: {:.2f} M rows/s until flushed ({:.2f} M put only, {:.2f} M until "
      "compacted)\n",
      rows, ingest["keys"].get<std::string>(), ingest["rows_per_second"].get<double>() / 1e6,
      ingest["rows_per_second_put_only"].get<double>() / 1e6,
      ingest["rows_per_second_with_compaction"].get<double>() / 1e6);
  fmt::print(
      "  {:.1f} CPU s, {} flushes, {} compactions, {:.1f} s held back, {:.1f} bytes a row at "
      "rest\n",
      ingest["cpu_seconds"].get<double>(), ingest["flushes"].get<uint64_t>(),
      ingest["compactions"].get<uint64_t>(), ingest["backpressure_seconds"].get<double>(),
      ingest["bytes_a_row"].get<double>());
  fmt::print("  peak memory {:.0f} MB (target: under 512)\n",
             ingest["peak_megabytes"].get<double>());
  std::fflush(stdout);
  if (!duckdb_script.empty()) {
    const std::string result = directory + "/duckdb.json";
    const std::string batches = directory + "/batches.arrows";
    WriteBatches(batches, rows, shuffled);
    const auto command = fmt::format("{} {} --batches {} --dir {} --json {}", python, duckdb_script,
                                     batches, directory, result);
    const int status = std::system(command.c_str());
    std::filesystem::remove(batches);
    if (status == 0) {
      out["duckdb"] = json::parse(std::ifstream(result));
      const double theirs = out["duckdb"]["rows_per_second"].get<double>();
      const double ratio = ingest["rows_per_second"].get<double>() / theirs;
      out["ingest_ratio_to_duckdb"] = ratio;
      fmt::print(
          "  DuckDB {}, the same batches, with a primary key: {:.2f} M rows/s, {:.0f} MB; ratio "
          "{:.2f} (target: 1.0)\n",
          out["duckdb"]["version"].get<std::string>(), theirs / 1e6,
          out["duckdb"]["peak_megabytes"].get<double>(), ratio);
    } else {
      fmt::print("  DuckDB: the script failed; no ratio\n");
    }
  }
  std::fflush(stdout);
  out["scan"] = Scan(directory + "/a8", repeats);
  fmt::print(
      "scan all columns: {:.2f} M rows/s ({:.2f} M in key order); Arrow C++ on the same files "
      "{:.2f} M; ratio {:.2f} (target: 0.80)\n",
      out["scan"]["rows_per_second"].get<double>() / 1e6,
      out["scan"]["rows_per_second_ordered"].get<double>() / 1e6,
      out["scan"]["arrow_rows_per_second"].get<double>() / 1e6,
      out["scan"]["ratio_to_arrow"].get<double>());
  out["documents"] = Documents(directory + "/kv", keys);
  const auto& kv = out["documents"];
  fmt::print("documents, {} keys of 17 bytes, values of 100:\n", keys);
  fmt::print("  put handed to the system {:.2f} µs (target: under 3)\n",
             kv["put_nanos"].get<double>() / 1e3);
  fmt::print("  get, hot {:.0f} ns (target: under 500)\n", kv["get_nanos"].get<double>());
  fmt::print("  get after a flush: first round {:.0f} ns, then {:.0f} ns\n",
             kv["get_after_flush_first_nanos"].get<double>(),
             kv["get_after_flush_nanos"].get<double>());
  out["load_after"] = LoadAverage();
  fmt::print("load average {:.2f} after\n", out["load_after"].get<double>());
  if (!json_path.empty()) std::ofstream(json_path) << out.dump(2) << "\n";
  std::filesystem::remove_all(directory);
  return 0;
}
