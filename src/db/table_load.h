// Rows on their way into a table past log and memory, for statements that bring many.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include <arrow/record_batch.h>

#include "engine/bulk_load.h"
#include "lamina/error.h"

namespace lamina::db {

struct LoadOptions {
  /// Asked while it writes, by any of its threads; true ends the call with kCancelled.
  std::function<bool()> cancelled = {};
  /// The caller knows that the table has no row with one of the keys: Finish does not look.
  bool keys_are_new = false;
};

/// Made by Session::BeginLoad; the transaction and its database outlive it. What is not finished,
/// or not committed, is deleted. Rows are new ones, valid for all time.
class TableLoad {
 public:
  using Piece = engine::BulkLoad::Piece;
  virtual ~TableLoad() = default;

  /// Rows of the table's schema, checked as Insert checks them (but for keys that are there).
  /// Thread-safe.
  virtual Result<Piece> Prepare(const std::shared_ptr<arrow::RecordBatch>& rows) const = 0;
  /// Tables without a key: gives the rows their ids, which ascend from call to call. Needed before
  /// Write; does nothing to other tables. Thread-safe.
  virtual Status Number(std::vector<Piece>* pieces) = 0;
  /// Sorts and writes. Some hundred thousand rows a call make good files. Thread-safe; takes as
  /// long as the writing does. kAlreadyExists: a key comes twice.
  /// base/error_detail.h's ErrorKeyOf says which key it is; also of Finish's errors.
  virtual Status Write(const std::vector<Piece>& pieces) = 0;
  /// Hands the rows to the transaction. kAlreadyExists: a key comes twice, or a row of the table
  /// has it that is known now, valid at whatever time.
  virtual Status Finish() = 0;
  /// After Finish: whether a row has this encoded key. One thread at a time.
  virtual Result<bool> Contains(std::string_view key) const = 0;
};

}  // namespace lamina::db
