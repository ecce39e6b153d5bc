// The rows that one INSERT, CREATE TABLE AS or COPY brings: few go into the transaction's writes,
// many into files of their own (db::TableLoad), sorted and written by all threads that bring them.
//
//   - Until there are many they are held.
//   - Batches of the source come back into its order, where it numbers them, so that rows of a
//     table without a key lie as they came, and files of rows that come by key do not overlap.
//   - Whoever completes enough rows for a file writes them, while the other threads go on.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include <arrow/record_batch.h>

#include "base/mutex.h"
#include "db/table_load.h"
#include "sql/duckdb_api.h"
#include "sql/load_dependents.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"

namespace lamina::sql {

/// Thread-safe, where not said otherwise. Everything throws.
class InsertRows {
 public:
  /// Inserts them into the transaction's writes. Called with its mutex held.
  using InsertFew = std::function<void(const std::shared_ptr<arrow::RecordBatch>& rows)>;

  /// `may_load`: nothing else of the transaction writes the table or its indexes.
  InsertRows(duckdb::ClientContext& context, LaminaTransaction& transaction,
             const LaminaTableEntry& table, bool may_load, InsertFew insert_few);

  /// Of one thread: the rows of the batch that it is at.
  class Local {
   private:
    friend class InsertRows;
    std::vector<std::shared_ptr<arrow::RecordBatch>> rows_;
    int64_t row_count_ = 0;
    int64_t bytes_ = 0;
    uint64_t batch_ = 0;
  };

  bool may_load() const { return may_load_; }
  /// `info`: of the thread's source. Without numbers of batches, or without leave to load, order is
  /// kept where one thread alone adds.
  void Add(Local* local, std::shared_ptr<arrow::RecordBatch> rows,
           const duckdb::SourcePartitionInfo& info);
  /// The thread has all rows of its batch: before the source is told that it goes to the next.
  void EndBatch(Local* local, const duckdb::SourcePartitionInfo& info);
  /// After all threads' last EndBatch. One thread.
  void Finish();
  /// The rows went past the transaction's writes.
  bool loaded() const { return loading_.load(std::memory_order_acquire) != nullptr; }

 private:
  using Piece = db::TableLoad::Piece;

  void BeginLoad() LAMINA_REQUIRES(mu_);
  /// With what follows from them. Takes as long as the writing does.
  void Write(const std::vector<Piece>& run);
  std::vector<Piece> Prepare(const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows) const;
  /// What may be written now, numbered: batches up to `last`, if they are enough for a file.
  std::vector<Piece> TakeRun(uint64_t last, bool all) LAMINA_REQUIRES(mu_);

  duckdb::ClientContext& context_;
  LaminaTransaction& transaction_;
  const LaminaTableEntry& table_;
  const bool may_load_;
  const InsertFew insert_few_;

  /// Before the transaction's.
  base::Mutex mu_;
  /// By number of the batch, which is 0 where there is none. Without keys until there is a load.
  std::map<uint64_t, std::vector<Piece>> held_ LAMINA_GUARDED_BY(mu_);
  int64_t held_rows_ LAMINA_GUARDED_BY(mu_) = 0;
  int64_t held_bytes_ LAMINA_GUARDED_BY(mu_) = 0;
  std::unique_ptr<db::TableLoad> load_ LAMINA_GUARDED_BY(mu_);
  /// Made with it; null: nothing follows from the table's rows.
  std::unique_ptr<LoadDependents> dependents_;
  /// load_, once it is there.
  std::atomic<db::TableLoad*> loading_{nullptr};
};

}  // namespace lamina::sql
