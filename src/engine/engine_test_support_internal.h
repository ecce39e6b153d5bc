// What the engine's tests share: opening, putting, getting.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "catalog/system_tables.h"
#include "engine/engine.h"
#include "engine/engine_test_tables_internal.h"

namespace lamina::engine::testing_engine {

inline EngineOptions TestOptions(std::shared_ptr<ObjectStore> store) {
  EngineOptions options;
  options.store = std::move(store);
  options.rows_per_page = 16;
  options.rows_per_row_group = 64;
  options.random_seed = 1;
  return options;
}

inline std::unique_ptr<Engine> MustOpen(EngineOptions options) {
  auto engine = Engine::Open(std::move(options));
  EXPECT_TRUE(engine.ok()) << engine.status();
  return engine.ok() ? std::move(*engine) : nullptr;
}

inline Result<CommitReceipt> Put(Engine* engine, const std::string& key, const std::string& value,
                                 SnapshotPtr snapshot = nullptr) {
  WriteBatch batch;
  batch.AddInline(catalog::kKeyValueTable, temporal::FactKind::kPut, {}, key, value);
  CommitRequest request;
  request.batch = &batch;
  request.snapshot = std::move(snapshot);
  return engine->Commit(std::move(request));
}

inline std::optional<std::string> GetAt(const Engine& engine, const Snapshot& snapshot,
                                        const std::string& key) {
  std::string value;
  storage::sst::ReadCounters counters;
  auto found = engine.reader().GetInline(snapshot, catalog::kKeyValueTable, key, snapshot.system(),
                                         snapshot.now(), nullptr, &value, &counters);
  EXPECT_TRUE(found.ok()) << found.status();
  if (!found.ok() || !*found) return std::nullopt;
  return value;
}

inline std::optional<std::string> Get(const Engine& engine, const std::string& key) {
  return GetAt(engine, *engine.GetSnapshot(), key);
}

/// Current rows of the people table: id -> name ("" = null).
inline std::map<int64_t, std::string> People(const Engine& engine,
                                             const catalog::TableSchemaPtr& table) {
  const SnapshotPtr snapshot = engine.GetSnapshot();
  ScanSpec spec;
  spec.table = snapshot->Table(table->id);
  spec.columns = {"id", "name"};
  spec.window = temporal::Window::At(snapshot->system(), snapshot->now());
  auto stream = engine.reader().Scan(snapshot, std::move(spec), nullptr);
  EXPECT_TRUE(stream.ok()) << stream.status();
  std::map<int64_t, std::string> rows;
  while (stream.ok()) {
    auto batch = (*stream)->Next();
    EXPECT_TRUE(batch.ok()) << batch.status();
    if (!batch.ok() || *batch == nullptr) break;
    const auto& ids = static_cast<const arrow::Int64Array&>(*(*batch)->column(0));
    const auto& names = static_cast<const arrow::StringArray&>(*(*batch)->column(1));
    for (int64_t i = 0; i < ids.length(); ++i) {
      EXPECT_TRUE(rows.emplace(ids.Value(i), names.IsNull(i) ? "" : names.GetString(i)).second);
    }
  }
  return rows;
}

inline Status PutPeople(Engine* engine, const catalog::TableSchemaPtr& table,
                        const std::vector<std::pair<int64_t, std::string>>& rows) {
  WriteBatch batch;
  ARROW_RETURN_NOT_OK(batch.Add(testing_tables::PeopleWrite(table, rows)));
  CommitRequest request;
  request.batch = &batch;
  return engine->Commit(std::move(request)).status();
}

inline catalog::TableSchemaPtr CreatePeople(Engine* engine, const std::string& name = "people") {
  catalog::KeyDeclaration key;
  key.names = {"id"};
  auto table = engine->CreateTable(name, testing_tables::PeopleSchema(), key, {});
  EXPECT_TRUE(table.ok()) << table.status();
  return table.ok() ? *table : nullptr;
}

}  // namespace lamina::engine::testing_engine
