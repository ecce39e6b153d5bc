// The tables every database has besides the user's. They are ordinary tables: same memtable, files,
// compaction.
#pragma once

#include "catalog/schema.h"

namespace lamina::catalog {

/// One row a commit: `commit` int64 is the primary key; the commit's time is the row's
/// `_system_from`. Filled by flush from the memtable's dense list of commit times; never updated.
/// Answers "when was commit n" and "which commit was newest at t".
inline constexpr TableId kCommitsTable{2};
/// One row an idempotency key: `idempotency_key` binary primary key, `commit` int64. Its row is
/// written by the very commit it names.
inline constexpr TableId kIdempotencyTable{3};

TableSchemaPtr
KeyValueTableSchema();  ///< "key" binary not null primary key, "doc" binary not null; name "_kv".
TableSchemaPtr CommitsTableSchema();      ///< name "_commits".
TableSchemaPtr IdempotencyTableSchema();  ///< name "_idempotency".

inline bool IsSystemTable(TableId id) { return id.value < kFirstUserTableId; }

}  // namespace lamina::catalog
