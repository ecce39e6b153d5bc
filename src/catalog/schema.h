// Tables, columns and their evolution: pure values, no I/O.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <arrow/type.h>

#include "lamina/error.h"
#include "lamina/schema.h"

namespace lamina::catalog {

/// Stable over renames; never reused within a table. Written as the Parquet field id.
using ColumnId = int32_t;

/// Stable over renames; never reused within a database.
struct TableId {
  uint64_t value = 0;
  friend constexpr auto operator<=>(TableId, TableId) = default;
};

/// The built-in key-value table (key binary primary key, doc binary).
inline constexpr TableId kKeyValueTable{1};
/// The first id given to a user's table.
inline constexpr uint64_t kFirstUserTableId = 16;

// Names of the hidden columns, in files and in scans. Timestamps are timestamp[us, UTC] (open ends:
// INT64 min/max); kCommitColumn is uint64... stored as int64 in files so that every Parquet tool
// reads it.
inline constexpr char kValidFromColumn[] = "_valid_from";
inline constexpr char kValidToColumn[] = "_valid_to";
inline constexpr char kSystemFromColumn[] = "_system_from";
inline constexpr char kSystemToColumn[] = "_system_to";
inline constexpr char kCommitColumn[] = "_commit";
/// Key of tables without a primary key: int64, given at commit in order, hidden.
inline constexpr char kRowIdColumn[] = "_rowid";

bool IsHiddenColumn(const std::string& name);

struct Column {
  ColumnId id = 0;
  std::string name;
  std::shared_ptr<arrow::DataType> type;
  bool nullable = true;
  /// The user's own field metadata, kept.
  std::shared_ptr<const arrow::KeyValueMetadata> metadata = nullptr;
  /// Of the column's type, not null: what rows that were written before the column was there read
  /// as. Null pointer: they read as NULL.
  std::shared_ptr<arrow::Scalar> initial = nullptr;
};

/// Key of a field's metadata, with the value "true": the column takes no NULL any more
/// (SetNotNull). The field stays nullable, as rows of the past may hold one.
inline constexpr char kNotNullKey[] = "lamina.not_null";
/// Whether a write with NULL in this field is refused.
bool RefusesNull(const arrow::Field& field);

using lamina::Codec;
using lamina::TableOptions;

/// One version of one table's definition. Immutable after construction (share by
/// shared_ptr<const>).
struct TableSchema {
  TableId id;
  std::string name;
  uint32_t version = 1;  ///< +1 at every change; files name the version they were written with.
  /// Live columns in the user's order. A no-key table has kRowIdColumn as its LAST column.
  std::vector<Column> columns;
  /// Primary key in declared order; {id of kRowIdColumn} for a no-key table.
  std::vector<ColumnId> key;
  ColumnId next_column_id = 1;
  bool has_primary_key = true;  ///< False: append table with the hidden row id.
  TableOptions options;
  /// The user's own schema metadata, kept; may be null.
  std::shared_ptr<const arrow::KeyValueMetadata> metadata;

  /// The user's columns as an Arrow schema (without hidden ones), with the user's metadata.
  std::shared_ptr<arrow::Schema> ToArrow() const;
  /// All columns incl. the row id of a no-key table: what memtables and files hold before the time
  /// columns.
  std::shared_ptr<arrow::Schema> StorageSchema() const;
  const Column* FindColumn(const std::string& name) const;
  const Column* FindColumn(ColumnId id) const;
  /// Positions of the key columns in `columns`, in key order.
  std::vector<int> KeyPositions() const;
  /// CHECKs nothing: kInternal with the broken rule when the value breaks an invariant (unique ids
  /// and names, key exists …).
  Status Verify() const;
};
using TableSchemaPtr = std::shared_ptr<const TableSchema>;

using lamina::KeyDeclaration;

/// Checks and builds the first version of a table. Keys may be declared by `key`, by field metadata
/// ("lamina.key" or "tonbo.key" = true/yes for one column, ordinals "0","1",… for several) or by
/// schema metadata ("lamina.keys" or "tonbo.keys" = name or ["a","b"]). Errors (kInvalidArgument,
/// each with its own text and hint): no key found, unknown column, two marks without ordinals, gaps
/// or repeats in ordinals, a key type without an order (list, map, struct, …), nullable is allowed
/// in the declaration but a null key is refused at write, duplicate or empty column names, a hidden
/// column's name, unsupported types (kUnsupported: union, run-end-encoded, extension, dictionary
/// …). Parquet field ids in the schema's metadata are dropped: files carry column ids.
Result<TableSchemaPtr> MakeTable(TableId id, std::string name,
                                 const std::shared_ptr<arrow::Schema>& schema,
                                 const KeyDeclaration& key, TableOptions options = {});

/// True for types that may be part of a primary key: bool, all integers, half/float/double,
/// decimal32/64/128/256, date32/64, time, timestamp, duration, (large_)utf8, (large_)binary,
/// fixed_size_binary. Implies IsValueType, so not the views that Parquet does not hold.
bool IsKeyType(const arrow::DataType& type);
/// True for types a value column may have: nested included, those that come back from a data file
/// unchanged. docs/format/table-definition.md lists them. MakeTable
/// refuses others with a hint what to use instead.
bool IsValueType(const arrow::DataType& type);

// Evolution. Each returns the next version; old files stay and are read as the new schema (missing
// column = its initial value, or NULL).
/// `initial`: of the field's type; null pointer or null: rows that are there read as NULL, and the
/// field must be nullable. kInvalidArgument where it is of another type or not valid for it.
Result<TableSchemaPtr> AddColumn(const TableSchema& table,
                                 const std::shared_ptr<arrow::Field>& field,
                                 const std::shared_ptr<arrow::Scalar>& initial = nullptr);
Result<TableSchemaPtr> DropColumn(const TableSchema& table,
                                  const std::string& name);  // not a key column
Result<TableSchemaPtr> RenameColumn(const TableSchema& table, const std::string& from,
                                    const std::string& to);
/// Safe widening only: integers to wider integers of the same or a signed wider kind, float to
/// double, decimal to larger precision with the same scale, date32 to timestamp, utf8 to
/// large_utf8, binary to large_binary, timestamp to finer unit. Not for key columns (their order in
/// files must not change).
Result<TableSchemaPtr> WidenColumn(const TableSchema& table, const std::string& name,
                                   const std::shared_ptr<arrow::DataType>& type);
/// From this version on. That the rows which are there hold no NULL is the caller's to check. Of a
/// column that takes none already: the same once more.
Result<TableSchemaPtr> SetNotNull(const TableSchema& table, const std::string& name);
/// kInvalidArgument for a key column, and where NULL is taken already.
Result<TableSchemaPtr> DropNotNull(const TableSchema& table, const std::string& name);
Result<TableSchemaPtr> RenameTable(const TableSchema& table, const std::string& name);
/// Replaces the user's metadata whole; null: none. Parquet's field ids are dropped, and whether a
/// column takes NULL stays.
Result<TableSchemaPtr> SetTableMetadata(
    const TableSchema& table, const std::shared_ptr<const arrow::KeyValueMetadata>& metadata);
Result<TableSchemaPtr> SetColumnMetadata(
    const TableSchema& table, const std::string& column,
    const std::shared_ptr<const arrow::KeyValueMetadata>& metadata);

/// Casts `array`, as read from a file, to the current column type `to`: identity, one of the
/// widenings above (safe cast; kInvalidArgument for a value that does not fit), or the same type
/// with other names and metadata inside (Parquet calls every list's element "element").
Result<std::shared_ptr<arrow::Array>> CastColumn(const std::shared_ptr<arrow::Array>& array,
                                                 const std::shared_ptr<arrow::DataType>& to);

/// What rows written before the column was there have in it: its initial value, or nulls.
Result<std::shared_ptr<arrow::Array>> InitialValues(const Column& column, int64_t rows);

/// OK when `batch` has exactly the user's columns (ToArrow: names, types, order), no null in a
/// non-nullable column or nested field, columns as long as the batch, and arrays that are valid in
/// full (text that is UTF-8, decimals of no more digits than theirs, times within the day, offsets
/// in order): so that Parquet's readers take them and the log can be replayed. kInvalidArgument
/// names the first difference (column, expected, actual; or column and row of a null).
Status CheckBatch(const TableSchema& table, const arrow::RecordBatch& batch);

/// OK when a reopened definition equals the stored one (columns, types, nullability, key);
/// kInvalidArgument names the first difference.
Status CheckSameDefinition(const TableSchema& stored, const arrow::Schema& schema,
                           const KeyDeclaration& key);

/// All tables of a database. A value: edits make a new one.
struct Catalog {
  std::map<TableId, TableSchemaPtr> tables;
  uint64_t next_table_id = kFirstUserTableId;

  TableSchemaPtr Find(
      const std::string& name) const;  ///< Null if absent. Built-in tables are found by id only.
  TableSchemaPtr Find(TableId id) const;
};
/// With the built-in tables (system_tables.h).
Catalog MakeCatalog();

/// The documented plain encoding (docs/format/table-definition.md) of one table definition;
/// round-trips everything.
std::string EncodeTable(const TableSchema& table);
/// kCorruption on any damage or unknown required part; never crashes on arbitrary bytes.
Result<TableSchemaPtr> DecodeTable(std::string_view bytes);

}  // namespace lamina::catalog
