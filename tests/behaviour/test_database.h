// What the behaviour tests share: small options, rows from and to text, errors with exact codes,
// temporary directories.
//
// Everything here uses the public interface only. A failed Must() throws, which ends that one test
// with the status as its message.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <arrow/api.h>
#include <gtest/gtest.h>

#include "lamina/database.h"

namespace lamina::behaviour {

inline void Must(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.ToString());
}
template <typename T>
T Must(Result<T> result) {
  Must(result.status());
  return std::move(result).ValueUnsafe();
}

inline const Status& StatusOf(const Status& status) { return status; }
template <typename T>
const Status& StatusOf(const Result<T>& result) {
  return result.status();
}

/// The call failed with this code, and its message (with hint) has all the words.
template <typename T>
void ExpectError(const T& outcome, ErrorCode code, std::initializer_list<std::string> words = {}) {
  const Status& status = StatusOf(outcome);
  if (status.ok()) {
    ADD_FAILURE() << "expected " << ErrorCodeName(code) << ", got OK";
    return;
  }
  EXPECT_EQ(ErrorCodeName(CodeOf(status)), ErrorCodeName(code)) << status.ToString();
  for (const std::string& word : words) {
    EXPECT_NE(status.ToString().find(word), std::string::npos)
        << "'" << word << "' is missing in: " << status.ToString();
  }
}

/// Pages of 4 rows, row groups of 8, nothing happens by itself.
inline DatabaseOptions SmallOptions() {
  DatabaseOptions options;
  options.rows_per_page = 4;
  options.rows_per_row_group = 8;
  options.sync = SyncPolicy::kOff;
  options.auto_flush = false;
  options.auto_compact = false;
  options.auto_gc = false;
  options.gc_grace_micros = 0;
  options.max_sealed_memtables = 100;
  options.background_threads = 1;
  options.page_cache_bytes = 1 << 20;
  options.wal_segment_bytes = 64 << 10;
  return options;
}

/// A directory of its own, removed at the end.
class TempDirectory {
 public:
  TempDirectory() {
    std::string name =
        (std::filesystem::path(::testing::TempDir()) / "lamina_behaviour_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed: " + name);
    path_ = name;
  }
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// Threads whose failed Must() is a failure of the test, not the end of the program. Joined at the
/// latest by the destructor.
class Threads {
 public:
  ~Threads() { Join(); }
  template <typename Body>
  void Start(Body body) {
    threads_.emplace_back([body] {
      try {
        body();
      } catch (const std::exception& error) {
        ADD_FAILURE() << "in a thread: " << error.what();
      }
    });
  }
  void Join() {
    for (auto& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  std::vector<std::thread> threads_;
};

// ---- Rows ----

/// id int64 not null, value int64.
inline std::shared_ptr<arrow::Schema> NumberSchema() {
  return arrow::schema(
      {arrow::field("id", arrow::int64(), false), arrow::field("value", arrow::int64())});
}

template <typename Builder, typename Value>
std::shared_ptr<arrow::Array> ArrayOf(const std::vector<Value>& values) {
  Builder builder;
  for (const auto& value : values) Must(builder.Append(value));
  return Must(builder.Finish());
}
inline std::shared_ptr<arrow::Array> Int64s(const std::vector<int64_t>& v) {
  return ArrayOf<arrow::Int64Builder>(v);
}
inline std::shared_ptr<arrow::Array> Int32s(const std::vector<int32_t>& v) {
  return ArrayOf<arrow::Int32Builder>(v);
}
inline std::shared_ptr<arrow::Array> Strings(const std::vector<std::string>& v) {
  return ArrayOf<arrow::StringBuilder>(v);
}
inline std::shared_ptr<arrow::BooleanArray> Booleans(const std::vector<bool>& v) {
  return std::static_pointer_cast<arrow::BooleanArray>(ArrayOf<arrow::BooleanBuilder>(v));
}
inline std::shared_ptr<arrow::Array> Times(const std::vector<std::optional<int64_t>>& v) {
  arrow::TimestampBuilder builder(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"),
                                  arrow::default_memory_pool());
  for (const auto& t : v) Must(t ? builder.Append(*t) : builder.AppendNull());
  return Must(builder.Finish());
}
inline std::shared_ptr<arrow::RecordBatch> Batch(
    std::shared_ptr<arrow::Schema> schema, std::vector<std::shared_ptr<arrow::Array>> columns) {
  const int64_t rows = columns.empty() ? 0 : columns[0]->length();
  return arrow::RecordBatch::Make(std::move(schema), rows, std::move(columns));
}

using Number = std::pair<int64_t, int64_t>;
inline std::shared_ptr<arrow::RecordBatch> Numbers(const std::vector<Number>& rows) {
  std::vector<int64_t> ids, values;
  for (const auto& [id, value] : rows) {
    ids.push_back(id);
    values.push_back(value);
  }
  return Batch(NumberSchema(), {Int64s(ids), Int64s(values)});
}
inline std::shared_ptr<arrow::RecordBatch> Ids(const std::vector<int64_t>& ids) {
  return Batch(arrow::schema({arrow::field("id", arrow::int64(), false)}), {Int64s(ids)});
}
inline Key IdKey(int64_t id) { return {Lit(id)}; }

/// One value as text: times as plain microseconds with "-" and "+" for the open ends, so that
/// expectations stay short.
inline std::string CellText(const arrow::Array& column, int64_t row) {
  if (column.IsNull(row)) return "null";
  if (column.type_id() == arrow::Type::TIMESTAMP) {
    const int64_t t = static_cast<const arrow::TimestampArray&>(column).Value(row);
    if (t == INT64_MIN) return "-";
    if (t == INT64_MAX) return "+";
    return std::to_string(t);
  }
  if (column.type_id() == arrow::Type::BINARY)
    return static_cast<const arrow::BinaryArray&>(column).GetString(row);
  return Must(column.GetScalar(row))->ToString();
}

using Lines = std::vector<std::string>;

inline void AppendLines(const arrow::RecordBatch& batch, Lines* lines) {
  for (int64_t i = 0; i < batch.num_rows(); ++i) {
    std::string line;
    for (int c = 0; c < batch.num_columns(); ++c) {
      if (c > 0) line += '|';
      line += CellText(*batch.column(c), i);
    }
    lines->push_back(std::move(line));
  }
}
inline Lines Text(const std::shared_ptr<arrow::RecordBatch>& batch) {
  Lines lines;
  AppendLines(*batch, &lines);
  return lines;
}
/// Reads to the end; "1|10" a row.
inline Lines Text(ScanReader& reader) {
  Lines lines;
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    Must(reader.ReadNext(&batch));
    if (batch == nullptr) return lines;
    AppendLines(*batch, &lines);
  }
}
inline int64_t CountRows(ScanReader& reader) {
  int64_t rows = 0;
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    Must(reader.ReadNext(&batch));
    if (batch == nullptr) return rows;
    rows += batch->num_rows();
  }
}
/// `on` is a Database or a Transaction.
template <typename On>
Lines ScanText(On& on, const std::string& table, const ScanOptions& options = {}) {
  return Text(*Must(on.Scan(table, options)));
}
inline Lines ScanText(const Database& db, const SnapshotPtr& snapshot, const std::string& table,
                      const ScanOptions& options = {}) {
  return Text(*Must(db.Scan(snapshot, table, options)));
}
/// The value of one row of a table with NumberSchema, or "none".
template <typename On>
std::string ValueOf(On& on, const std::string& table, int64_t id) {
  const auto rows = Must(
      on.Get(table, IdKey(id), SystemPeriod(), ValidPeriod(), std::vector<std::string>{"value"}));
  EXPECT_LE(rows->num_rows(), 1);
  return rows->num_rows() == 0 ? "none" : CellText(*rows->column(0), 0);
}

/// Every row version of a table there ever was, with its four bounds.
inline Lines AllVersions(const Database& db, const std::string& table,
                         std::vector<std::string> columns) {
  for (const char* hidden : {"_valid_from", "_valid_to", "_system_from", "_system_to"})
    columns.emplace_back(hidden);
  ScanOptions options;
  options.system = SystemPeriod::All();
  options.valid = ValidPeriod::All();
  options.columns = columns;
  return Text(*Must(db.Scan(table, options)));
}

/// What a database holds, as far as a caller can see: for comparing before and after a call that
/// must change nothing.
struct Contents {
  uint64_t newest_commit = 0;
  std::vector<std::pair<std::string, Lines>> tables;
  Lines documents;
  std::vector<std::string> schemas;
  std::vector<std::string> checkpoints;
  friend bool operator==(const Contents&, const Contents&) = default;
};
inline Contents ContentsOf(const Database& db) {
  Contents out;
  out.newest_commit = db.newest_commit().value;
  for (const TableInfo& table : db.ListTables()) {
    out.tables.emplace_back(table.name, AllVersions(db, table.name, table.schema->field_names()));
    out.schemas.push_back(table.name + ": " + table.schema->ToString());
  }
  out.documents = Text(*Must(db.ScanPrefix("")));
  for (const auto& checkpoint : db.ListCheckpoints()) out.checkpoints.push_back(checkpoint.name);
  return out;
}

/// A database in memory over a store that outlives it, so that it can be reopened.
class StoreTest : public ::testing::Test {
 protected:
  std::shared_ptr<ObjectStore> store_ = MakeMemoryStore();
  DatabaseOptions options_ = SmallOptions();
  std::unique_ptr<Database> db_;

  void Open() { db_ = Must(Database::Open(store_, options_)); }
  void Reopen() {
    db_.reset();
    Open();
  }
  void CreateNumbers(const std::string& table = "t") {
    Must(db_->CreateTable(table, NumberSchema(), {.names = {"id"}}));
  }
  CommitResult Put(const std::vector<Number>& rows, ValidInterval valid = {}) {
    return Must(db_->Put("t", Numbers(rows), {.valid = valid}));
  }
  CommitResult Delete(const std::vector<int64_t>& ids, ValidInterval valid = {}) {
    return Must(db_->Delete("t", Ids(ids), {.valid = valid}));
  }
  void ExpectSound() { EXPECT_EQ(Must(db_->Check()), std::vector<std::string>()); }
};

}  // namespace lamina::behaviour
