// A transaction as the SQL layer needs it: tables by their whole definitions, and reads it does
// itself.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "catalog/key_codec.h"
#include "catalog/schema.h"
#include "db/table_load.h"
#include "engine/reader.h"
#include "lamina/database.h"

namespace lamina::db {

/// Key of a table's metadata: the layer that alone may write its rows, because it keeps other rows
/// (entries of indexes) in step with them. Everybody else's writes and changes are kUnsupported.
inline constexpr char kWriterKey[] = "lamina.writer";

/// A scan in two parts: files that any reader of Parquet can read, and the other rows.
struct SplitScan {
  std::vector<engine::PlainFile> plain;  ///< Their rows are not filtered.
  std::shared_ptr<ScanReader> rest;  ///< Holds the snapshot: keep it while plain files are read.
};

class Session : public Transaction {
 public:
  /// As this transaction sees it; null when there is none. Not the built-in tables.
  virtual catalog::TableSchemaPtr FindTable(const std::string& name) const = 0;
  /// In order of their ids; not the built-in ones.
  virtual std::vector<catalog::TableSchemaPtr> Tables() const = 0;
  /// `next` is made by one of catalog's changes (AddColumn …) from the definition that FindTable
  /// gives now. kAlreadyExists (another table has the name), kInvalidArgument (a value does not fit
  /// a wider type), kNotFound, kInternal (not the next version).
  virtual Status Replace(catalog::TableSchemaPtr next) = 0;
  /// The column takes no NULL from now on; one that takes none already stays as it is.
  /// kInvalidArgument when a row that is known now, valid at whatever time, holds one. The commit
  /// is a kConflict when the table was written meanwhile, whatever the isolation.
  virtual Status SetNotNull(const std::string& table, const std::string& column) = 0;
  /// From now on writes are those of this layer (kWriterKey).
  virtual void WriteAs(std::string layer) = 0;
  /// Like Put, into a table without a key: gives the row id of the first row; the others follow it.
  virtual Result<int64_t> Append(const std::string& table,
                                 const std::shared_ptr<arrow::RecordBatch>& rows,
                                 const WriteOptions& options) = 0;
  /// Get by an encoded key (catalog::KeyCodec), of a table with or without a key of its own.
  virtual Result<std::shared_ptr<arrow::RecordBatch>> GetEncoded(
      const std::string& table, std::string_view key, SystemPeriod system, ValidPeriod valid,
      const std::optional<std::vector<std::string>>& columns) = 0;
  /// The transaction's answer depends on these keys; for readers that go past Get and Scan.
  virtual Status NoteRead(catalog::TableId table, const catalog::KeyRange& keys) = 0;
  /// A constraint between tables depends on these keys: unlike NoteRead, a commit checks them
  /// whatever the isolation. kNotFound.
  virtual Status NoteConstraint(const std::string& table, const catalog::KeyRange& keys) = 0;
  /// As Scan; `options` has no limit and no order.
  virtual Result<SplitScan> ScanSplit(const std::string& table, const ScanOptions& options) = 0;
  /// Unresolved facts of a table, of this transaction and of the memtables it sees: 0 when the
  /// files alone are the table.
  virtual Result<uint64_t> FactsInMemory(catalog::TableId table) = 0;
  /// The table's files as this transaction sees them; only of tables that it did not make itself.
  virtual std::vector<storage::DataFilePtr> FilesOf(catalog::TableId table) const = 0;
  /// For new rows of a table that this transaction has not written. From here to the transaction's
  /// end it may be read, without these rows, which come with the commit; all else is kUnsupported.
  /// So is a table that takes its valid time from columns.
  virtual Result<std::unique_ptr<TableLoad>> BeginLoad(const std::string& table,
                                                       LoadOptions options) = 0;
  /// The system time of a commit that the snapshot sees. kInvalidArgument, kHistoryTrimmed.
  virtual Result<SystemTime> TimeOf(CommitId commit) const = 0;
  /// The newest commit that the snapshot sees and that is not later; 0: none.
  virtual Result<CommitId> CommitAt(SystemTime time) const = 0;
  /// Rises with every change of definitions that this transaction makes or takes back.
  virtual uint64_t definition_changes() const = 0;
};

/// kInvalidArgument when `db` is none of ours (a wrapper).
Result<std::unique_ptr<Session>> BeginSession(Database& db, TransactionOptions options);

/// No commit after this one changed a table definition: a snapshot at or above it sees the newest
/// ones. Raised before the change can be seen; too high where the change then failed. A change
/// outside of a transaction takes no commit, and raises it to the next one.
CommitId DefinitionsChangedAt(const Database& db);

}  // namespace lamina::db
