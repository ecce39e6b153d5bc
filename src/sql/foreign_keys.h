// Foreign keys: which rows a statement has to look at, and the look.
//
// A row may refer to another only as long as that one is valid: its whole valid time must be
// covered by rows with the referenced values. What is looked at is noted whatever the isolation, so
// of two transactions that break a foreign key only together the second is a conflict.
//
// Checks come when the statement has written everything (NO ACTION; RESTRICT is the same here):
// rows of one statement may refer to each other.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <arrow/record_batch.h>

#include "catalog/index_codec.h"
#include "db/session.h"
#include "sql/row_change.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"

namespace lamina::sql {

/// Rows that an action deletes or changes.
struct ReferenceChange {
  LaminaTableEntry* table = nullptr;
  std::vector<std::string> columns;  ///< That are changed.
  RowChange change;
};

/// Of one statement's writes to one table. The caller holds the transaction's mutex.
class ForeignKeyChecks {
 public:
  ForeignKeyChecks(LaminaTransaction& transaction, const LaminaTableEntry& table);

  bool empty() const { return references_.empty() && referenced_.empty(); }
  /// Rows that are written. `old` are the tracked columns of the rows they replace, or null: values
  /// that stay were checked when they came.
  void Written(const arrow::RecordBatch& rows, const WriteOptions& valid,
               const arrow::RecordBatch* old);
  /// Rows that go, or are replaced by `rows` (may be null).
  void Gone(const arrow::RecordBatch& old, const WriteOptions& valid,
            const arrow::RecordBatch* rows);
  /// Rows that are written beside the transaction's own, valid for all time: looks up at once what
  /// they refer to. T3005. What may be among such rows themselves waits for Loaded.
  void Loading(const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows);
  /// `contains`: whether a table, or the table of an index, got a key among those rows. T3005.
  void Loaded(const std::function<bool(const std::string& table, std::string_view key)>& contains);
  /// What actions ask for: the caller writes it, and asks the writers of it in turn.
  std::vector<ReferenceChange> Act(duckdb::ClientContext& context);
  /// Throws T3005.
  void Check(duckdb::ClientContext& context);

 private:
  /// One foreign key, from either side.
  struct Reference {
    Reference(LaminaTransaction& transaction, const ForeignKey& key);

    /// Of rows in which none is null; `names` are the columns in `rows`, in the key's order.
    std::vector<std::string> Targets(const arrow::RecordBatch& values) const;

    ForeignKey key;
    LaminaTableEntry* from = nullptr;  ///< The table whose rows refer.
    const LaminaTableEntry* to = nullptr;
    catalog::TableSchemaPtr to_schema;
    std::string target;   ///< The table that a referenced row is looked up in: itself or an index.
    bool by_key = false;  ///< Itself.
    std::string referring;  ///< The index over the columns that refer.
    std::unique_ptr<catalog::IndexCodec> codec;
  };
  /// What to look up, over which valid time.
  using Lookup = std::tuple<std::string, int64_t, int64_t>;
  struct Source {
    std::string prefix;                          ///< Of the entries in `referring`.
    std::shared_ptr<arrow::RecordBatch> values;  ///< For messages: one row of it.
    int64_t row = 0;
    std::shared_ptr<arrow::RecordBatch> fresh;  ///< What the values became; null: nothing.
    int64_t fresh_row = 0;
  };
  struct Pending {
    Reference reference;
    std::map<Lookup, Source> lookups;
    /// Of loaded rows: what was not there when they were looked at, and the values for messages.
    std::map<std::string, std::string> not_there_yet = {};
  };
  /// What a row that is loaded refers to.
  struct Target {
    std::string key;
    size_t batch = 0;
    int64_t row = 0;
  };

  static void Collect(Pending& pending, const std::vector<std::string>& columns,
                      const arrow::RecordBatch& rows, const WriteOptions& valid,
                      const arrow::RecordBatch* unless_in);
  /// Each once, in order of the keys.
  std::vector<Target> TargetsOf(const Reference& reference,
                                const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows) const;
  static std::vector<Target> SortedOnce(std::vector<Target> targets);
  /// Leaves those that no row of all time has.
  void KeepMissing(const Reference& reference, std::vector<Target>* targets) const;
  [[noreturn]] static void ThrowNotThere(const Reference& reference, const std::string& values);
  using Intervals = std::vector<std::pair<int64_t, int64_t>>;
  /// When in [from, to) no row with these values is there.
  Intervals Uncovered(const Reference& reference, const std::string& target, int64_t from,
                      int64_t to) const;
  /// Keys of the rows that refer, and when they do: what has gone from under them.
  std::vector<std::tuple<std::string, int64_t, int64_t>> Orphans(const Reference& reference,
                                                                 const Lookup& lookup,
                                                                 const Source& source) const;
  ReferenceChange MakeChange(duckdb::ClientContext& context, const Reference& reference,
                             ReferenceAction action,
                             const std::vector<std::tuple<std::string, int64_t, int64_t>>& orphans,
                             const std::vector<const Source*>& sources) const;

  LaminaTransaction& transaction_;
  db::Session& session_;
  std::vector<Pending> references_;  ///< The table's rows to others.
  std::vector<Pending> referenced_;  ///< Others' to the table's.
};

}  // namespace lamina::sql
