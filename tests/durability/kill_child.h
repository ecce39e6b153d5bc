// The process that is killed while it writes.
#pragma once

#include <memory>
#include <string>

#include <arrow/record_batch.h>

namespace lamina {

/// Commits without end into the database in `directory`: commit number n holds rows 10n … 10n+4 of
/// table "parts", row n of table "wholes" and document "newest" = n. After each durable
/// acknowledgement it writes n, in decimal and a newline, to standard output. Returns (an exit
/// code) only on an error.
int WriteUntilKilled(const std::string& directory);

std::shared_ptr<arrow::RecordBatch> NumberRows(int64_t first, int64_t count);
inline constexpr int64_t kParts = 5;

}  // namespace lamina
