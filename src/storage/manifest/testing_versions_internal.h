// Small versions, files and edits for this folder's tests.
#pragma once

#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/check.h"
#include "storage/manifest/version.h"

namespace lamina::storage::manifest {

inline base::Ulid TestingUlid(uint64_t n) {
  base::Ulid id;
  id.bytes[0] = 1;
  for (int i = 0; i < 8; ++i)
    id.bytes[static_cast<size_t>(15 - i)] = static_cast<uint8_t>(n >> (8 * i));
  return id;
}

inline catalog::TableSchemaPtr TestingTable(uint64_t id, const std::string& name,
                                            bool with_key = true) {
  catalog::KeyDeclaration key;
  if (with_key) {
    key.names = {"k"};
  } else {
    key.no_key = true;
  }
  auto table = catalog::MakeTable({id}, name,
                                  arrow::schema({arrow::field("k", arrow::int64(), !with_key),
                                                 arrow::field("v", arrow::utf8())}),
                                  key);
  LAMINA_CHECK_MSG(table.ok(), table.status().ToString());
  return *table;
}

/// Commit 0 … so that it fits any flushed commit.
inline DataFile TestingFile(uint64_t id, catalog::TableId table, uint8_t level, std::string min_key,
                            std::string max_key) {
  DataFile f;
  f.id = TestingUlid(id);
  f.table = table;
  f.level = level;
  f.schema_version = 1;
  f.rows = 10 + id % 7;
  f.bytes = 1000 + id;
  f.footer_length = 100;
  f.min_key = std::move(min_key);
  f.max_key = std::move(max_key);
  return f;
}

inline DeletionVectorRef TestingDeletions(uint64_t object, uint64_t ended_rows = 1) {
  return {TestingUlid(object), 16 * object, 48, ended_rows, {1000}};
}

/// An empty version 1.
inline Version TestingVersion() {
  Version v;
  v.database_id = TestingUlid(999);
  v.number = 1;
  v.catalog = catalog::MakeCatalog();
  VersionSummary summary;
  summary.number = 1;
  summary.system = v.flushed_system;
  summary.reason = "create";
  v.recent.push_back(summary);
  return v;
}

}  // namespace lamina::storage::manifest
