// Plain files of a scan (db::SplitScan) through DuckDB's own Parquet reader.
//
// The files are opened by name through a file system of ours, which reads what the database has
// open: so every page is compared with its checksum, on any store. Deletion vectors are the
// reader's delete filter. Everything here is internal interface of DuckDB 1.5 (see
// docs/adr/0013).
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "db/session.h"
#include "sql/duckdb_api.h"

namespace lamina::sql {

/// The files that scans have open, by path. Thread-safe.
class PlainFiles {
 public:
  /// What one scan read of files.
  struct Counters {
    std::atomic<uint64_t> bytes{0};
    std::atomic<uint64_t> requests{0};
  };

  static constexpr char kScheme[] = "lamina://";

  /// Of an instance of DuckDB; registers the file system. One for an instance.
  static std::shared_ptr<PlainFiles> Install(duckdb::DatabaseInstance& instance);

  /// Whether the settings let DuckDB open them.
  static bool Allowed(duckdb::ClientContext& context);
  static std::string PathOf(const storage::DataFile& file);
  void Add(const engine::PlainFile& file);
  void Remove(const engine::PlainFile& file);
  /// A number to name the counters by.
  uint64_t AddScan(std::shared_ptr<Counters> counters);
  void RemoveScan(uint64_t scan);
  std::shared_ptr<Counters> CountersOf(uint64_t scan);
  /// Null when no scan has it open.
  storage::sst::FileReaderPtr Find(const std::string& path);

 private:
  base::Mutex mu_;
  std::map<std::string, std::pair<storage::sst::FileReaderPtr, int>> open_ LAMINA_GUARDED_BY(mu_);
  std::map<uint64_t, std::shared_ptr<Counters>> scans_ LAMINA_GUARDED_BY(mu_);
  uint64_t next_scan_ LAMINA_GUARDED_BY(mu_) = 1;
};

/// Whether DuckDB's reader gives a column as SQL wants it. `field` as the database knows it.
bool ReadsAsItIs(const arrow::Field& field, const duckdb::LogicalType& type);

/// One parallel scan. Methods are thread-safe, a Local is of one thread.
class PlainScan {
 public:
  struct Column {
    std::string name;  ///< In the files.
    duckdb::LogicalType type;
  };
  /// `filters`: keyed by position in `columns`. Without columns, rows are counted.
  PlainScan(duckdb::ClientContext& context, std::shared_ptr<PlainFiles> files,
            std::vector<engine::PlainFile> scanned, std::vector<Column> columns,
            duckdb::unique_ptr<duckdb::TableFilterSet> filters);
  ~PlainScan();
  PlainScan(const PlainScan&) = delete;
  PlainScan& operator=(const PlainScan&) = delete;

  struct Local {
    duckdb::unique_ptr<duckdb::LocalTableFunctionState> state;
    duckdb::DataChunk rows;  ///< `columns`; without columns, one that means nothing.
  };
  std::unique_ptr<Local> MakeLocal(duckdb::ExecutionContext& context);
  /// The next rows into local->rows; false at the end.
  bool Next(duckdb::ClientContext& context, Local* local);
  /// Of the rows that Next gave: rises in the order of the files and their rows.
  duckdb::OperatorPartitionData PartitionOf(duckdb::ClientContext& context, Local* local,
                                            const duckdb::OperatorPartitionInfo& wanted);
  duckdb::idx_t MaxThreads() const { return global_->MaxThreads(); }
  /// Percent; negative when it is not known.
  double Progress(duckdb::ClientContext& context) const;
  const PlainFiles::Counters& counters() const { return *counters_; }

 private:
  duckdb::TableFunctionInitInput Input() const;

  const std::shared_ptr<PlainFiles> files_;
  const std::shared_ptr<PlainFiles::Counters> counters_;
  const uint64_t number_;  // of the scan
  const std::vector<engine::PlainFile> scanned_;
  const std::vector<Column> columns_;
  const duckdb::unique_ptr<duckdb::TableFilterSet> filters_;
  duckdb::vector<duckdb::column_t> column_ids_;
  duckdb::TableFunction function_;
  duckdb::unique_ptr<duckdb::FunctionData> bind_data_;
  duckdb::unique_ptr<duckdb::GlobalTableFunctionState> global_;
};

}  // namespace lamina::sql
