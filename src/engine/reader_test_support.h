// A database state made by hand for tests of the reader: settled rows in real files, facts in
// memtables, no engine.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <arrow/builder.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/ulid.h"
#include "catalog/key_codec.h"
#include "catalog/system_tables.h"
#include "engine/memtable.h"
#include "engine/reader.h"
#include "engine/snapshot.h"
#include "lamina/object_store.h"
#include "storage/sst/file_reader.h"
#include "storage/sst/file_writer.h"
#include "storage/sst/row_batch.h"
#include "temporal/resolve.h"

namespace lamina::engine::reader_testing {

#define ASSERT_OK_TO(lhs, expr) ASSERT_OK_TO_IMPL(LAMINA_TEST_CONCAT(result_, __LINE__), lhs, expr)
#define LAMINA_TEST_CONCAT_IMPL(a, b) a##b
#define LAMINA_TEST_CONCAT(a, b) LAMINA_TEST_CONCAT_IMPL(a, b)
// NOLINTBEGIN(bugprone-macro-parentheses): names and declarations cannot stand in parentheses.
#define ASSERT_OK_TO_IMPL(result, lhs, expr)              \
  auto&& result = (expr);                                 \
  ASSERT_TRUE(result.ok()) << result.status().ToString(); \
  lhs = std::move(result).ValueUnsafe()
// NOLINTEND(bugprone-macro-parentheses)

/// A row version of the table (id int64 primary key, name utf8, score double).
struct TestRow {
  int64_t id = 0;
  std::string name;  ///< Empty: null.
  ValidInterval valid;
  SystemInterval system;
  uint64_t commit = 0;
  friend bool operator==(const TestRow&, const TestRow&) = default;
};
inline auto OrderOf(const TestRow& row) {
  return std::tie(row.id, row.valid.from, row.system.from);
}
/// `score` is made from the other columns.
inline double ScoreOf(const TestRow& row) {
  return static_cast<double>(row.id * 10 + static_cast<int64_t>(row.name.size()));
}

inline std::string Text(int64_t micros) {
  return micros == INT64_MIN ? "-" : micros == INT64_MAX ? "+" : std::to_string(micros);
}
inline std::string Text(const std::vector<TestRow>& rows) {
  std::string text;
  for (const TestRow& row : rows) {
    text += std::to_string(row.id) + " [" + Text(row.valid.from.micros) + "," +
            Text(row.valid.to.micros) + ") [" + Text(row.system.from.micros) + "," +
            Text(row.system.to.micros) + ") #" + std::to_string(row.commit) + " = " + row.name +
            "\n";
  }
  return text;
}

inline catalog::TableSchemaPtr TestTable() {
  catalog::KeyDeclaration key;
  key.names = {"id"};
  return catalog::MakeTable({16}, "readings",
                            arrow::schema({arrow::field("id", arrow::int64(), false),
                                           arrow::field("name", arrow::utf8()),
                                           arrow::field("score", arrow::float64())}),
                            key)
      .ValueOrDie();
}

inline std::shared_ptr<arrow::RecordBatch> StorageRows(const catalog::TableSchema& table,
                                                       const std::vector<TestRow>& rows) {
  arrow::Int64Builder ids;
  arrow::StringBuilder names;
  arrow::DoubleBuilder scores;
  for (const TestRow& row : rows) {
    EXPECT_TRUE(ids.Append(row.id).ok());
    EXPECT_TRUE((row.name.empty() ? names.AppendNull() : names.Append(row.name)).ok());
    EXPECT_TRUE(scores.Append(ScoreOf(row)).ok());
  }
  return arrow::RecordBatch::Make(
      table.StorageSchema(), static_cast<int64_t>(rows.size()),
      {ids.Finish().ValueOrDie(), names.Finish().ValueOrDie(), scores.Finish().ValueOrDie()});
}

inline std::shared_ptr<arrow::RecordBatch> RowBatch(
    const catalog::TableSchema& table, const std::shared_ptr<arrow::RecordBatch>& storage,
    const std::vector<TestRow>& rows) {
  arrow::ArrayVector columns = storage->columns();
  const auto add = [&](const std::shared_ptr<arrow::DataType>& type, auto value) {
    arrow::Int64Builder builder;
    for (const TestRow& row : rows) EXPECT_TRUE(builder.Append(value(row)).ok());
    columns.push_back(builder.Finish().ValueOrDie()->View(type).ValueOrDie());
  };
  const auto time = storage::sst::TimeType();
  add(time, [](const TestRow& r) { return r.valid.from.micros; });
  add(time, [](const TestRow& r) { return r.valid.to.micros; });
  add(time, [](const TestRow& r) { return r.system.from.micros; });
  add(time, [](const TestRow& r) { return r.system.to.micros; });
  add(arrow::int64(), [](const TestRow& r) { return static_cast<int64_t>(r.commit); });
  return arrow::RecordBatch::Make(storage::sst::RowBatchSchema(table), storage->num_rows(),
                                  std::move(columns));
}

/// Files and memtables under construction. One thread.
class World {
 public:
  explicit World(int32_t rows_per_page = 3, storage::sst::CacheOptions cache = {})
      : table(TestTable()),
        codec(*table),
        store(MakeMemoryStore()),
        files(storage::sst::FileCache::Make(store, cache)),
        reader(files.get()),
        rows_per_page_(rows_per_page) {
    version.catalog = catalog::MakeCatalog();
    version.catalog.tables[table->id] = table;
  }

  std::string Key(int64_t id) const {
    return codec.EncodeScalars({arrow::MakeScalar(id)}).ValueOrDie();
  }

  /// Adds a file of rows; of a current file, rows whose system.to is not Max go to the deletion
  /// vector (`rewritten` ones, by position after sorting, as rewritten).
  void AddFile(storage::FileKind kind, uint8_t level, std::vector<TestRow> rows,
               const std::vector<size_t>& rewritten = {}) {
    std::vector<storage::sst::EndedRow> ended;
    bool valid_columns = false;
    std::vector<TestRow> at_rest = rows;
    for (size_t i = 0; i < rows.size(); ++i) {
      valid_columns = valid_columns || !rows[i].valid.all();
      if (kind == storage::FileKind::kHistory) continue;
      if (rows[i].system.to != SystemTime::Max())
        ended.push_back({static_cast<uint32_t>(i), rows[i].system.to});
      at_rest[i].system.to = SystemTime::Max();
    }
    for (const size_t row : rewritten)
      ended.push_back({static_cast<uint32_t>(row), storage::sst::kRewritten});
    std::sort(ended.begin(), ended.end(),
              [](const auto& a, const auto& b) { return a.ordinal < b.ordinal; });
    const auto storage_rows = StorageRows(*table, at_rest);
    const auto keys = codec.Encode(*storage_rows).ValueOrDie();
    AddFile(kind, level, table, RowBatch(*table, storage_rows, at_rest), *keys, valid_columns,
            std::move(ended));
  }

  void AddFile(storage::FileKind kind, uint8_t level, const catalog::TableSchemaPtr& schema,
               const std::shared_ptr<arrow::RecordBatch>& rows, const arrow::BinaryArray& keys,
               bool valid_columns, std::vector<storage::sst::EndedRow> ended) {
    storage::sst::WriterOptions options;
    options.kind = kind;
    options.level = level;
    options.valid_columns = valid_columns;
    options.rows_per_page = rows_per_page_;
    options.rows_per_row_group = rows_per_page_ * 4;
    if (rows_per_page_ >= 512) options.rows_per_row_group = 128 * 1024;
    auto writer =
        storage::sst::FileWriter::Make(store, schema, ulids_.Next(), options).ValueOrDie();
    const Status written = writer->Write(rows, keys);
    ASSERT_TRUE(written.ok()) << written.ToString();
    ASSERT_OK_TO(storage::DataFile file, writer->Finish());
    if (!ended.empty()) {
      storage::sst::DeletionVectorPack pack;
      pack.Add(file.id,
               storage::sst::DeletionVector::Make(std::move(ended), file.rows).ValueOrDie());
      ASSERT_OK_TO(const auto refs, pack.Write(store.get(), schema->id, ulids_.Next()));
      file.deletions = refs[0].second;
    }
    auto& list = version.files[schema->id];
    list.push_back(std::make_shared<const storage::DataFile>(std::move(file)));
    std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) {
      return std::tie(a->kind, a->level, a->min_key, a->id) <
             std::tie(b->kind, b->level, b->min_key, b->id);
    });
  }

  /// The state as of `commit`, with commits up to `flushed` in the files.
  SnapshotPtr MakeSnapshot(CommitId commit, SystemTime system, CommitId flushed,
                           SystemTime flushed_system,
                           std::vector<std::shared_ptr<const Memtable>> sealed = {},
                           std::shared_ptr<const Memtable> active = nullptr) {
    auto state = std::make_shared<ReadState>();
    storage::manifest::Version copy = version;
    copy.flushed_commit = flushed;
    copy.flushed_system = flushed_system;
    state->version = std::make_shared<const storage::manifest::Version>(std::move(copy));
    state->sealed = std::move(sealed);
    state->active = active != nullptr ? std::move(active) : Memtable::Make();
    return std::make_shared<const Snapshot>(state, commit, system, /*now_micros=*/0, nullptr);
  }
  /// Everything is in the files.
  SnapshotPtr MakeSnapshot(uint64_t commit) {
    const SystemTime system{static_cast<int64_t>(commit) * 10};
    return MakeSnapshot({commit}, system, {commit}, system);
  }

  /// A write of one row.
  TableWrite Write(const TestRow& row, temporal::FactKind kind) const {
    TableWrite write;
    write.schema = table;
    write.rows = StorageRows(*table, {row});
    write.keys = codec.Encode(*write.rows).ValueOrDie();
    if (kind != temporal::FactKind::kPut) write.rows = nullptr;
    write.kind = kind;
    write.valid = row.valid;
    return write;
  }

  ScanSpec AllColumns(temporal::Window window) const {
    ScanSpec spec;
    spec.table = table;
    spec.columns = {"id",           "name",       "_valid_from", "_valid_to",
                    "_system_from", "_system_to", "_commit"};
    spec.window = window;
    return spec;
  }

  static std::vector<TestRow> ToRows(const arrow::RecordBatch& batch) {
    std::vector<TestRow> rows(static_cast<size_t>(batch.num_rows()));
    const auto ids = std::static_pointer_cast<arrow::Int64Array>(batch.GetColumnByName("id"));
    const auto names = std::static_pointer_cast<arrow::StringArray>(batch.GetColumnByName("name"));
    const auto times = storage::sst::TimeColumns::Of(batch);
    for (int64_t i = 0; i < batch.num_rows(); ++i) {
      TestRow& row = rows[static_cast<size_t>(i)];
      if (ids != nullptr) row.id = ids->Value(i);
      if (names != nullptr && names->IsValid(i)) row.name = names->GetString(i);
      if (times.valid_from != nullptr) row.valid.from.micros = times.valid_from[i];
      if (times.valid_to != nullptr) row.valid.to.micros = times.valid_to[i];
      if (times.system_from != nullptr) row.system.from.micros = times.system_from[i];
      if (times.system_to != nullptr) row.system.to.micros = times.system_to[i];
      if (times.commit != nullptr) row.commit = static_cast<uint64_t>(times.commit[i]);
    }
    return rows;
  }

  /// Runs a scan to its end; checks every batch.
  std::vector<TestRow> Scan(const SnapshotPtr& snapshot, const ScanSpec& spec,
                            std::shared_ptr<const Memtable> own = nullptr,
                            ScanProfile* profile = nullptr) const {
    auto stream = reader.Scan(snapshot, spec, std::move(own));
    EXPECT_TRUE(stream.ok()) << stream.status().ToString();
    std::vector<TestRow> rows;
    if (!stream.ok()) return rows;
    while (true) {
      auto batch = (*stream)->Next();
      EXPECT_TRUE(batch.ok()) << batch.status().ToString();
      if (!batch.ok() || *batch == nullptr) break;
      EXPECT_GT((*batch)->num_rows(), 0);
      EXPECT_LE((*batch)->num_rows(), spec.batch_rows);
      EXPECT_TRUE((*batch)->schema()->Equals((*stream)->schema()));
      const Status valid = (*batch)->ValidateFull();
      EXPECT_TRUE(valid.ok()) << valid.ToString();
      for (TestRow& row : ToRows(**batch)) rows.push_back(std::move(row));
    }
    if (profile != nullptr) *profile = (*stream)->profile();
    return rows;
  }

  const catalog::TableSchemaPtr table;
  const catalog::KeyCodec codec;
  std::shared_ptr<ObjectStore> store;
  std::unique_ptr<storage::sst::FileCache> files;
  Reader reader;
  storage::manifest::Version version;

 private:
  const int32_t rows_per_page_;
  base::ManualClock clock_;
  base::Random random_{7};
  base::UlidGenerator ulids_{&clock_, &random_};
};

}  // namespace lamina::engine::reader_testing
