// Bytes of refs and bases: field tables and the frame around a message. docs/format/manifest.md; a
// test compares the tables. For this folder only.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "storage/manifest/version.h"

namespace lamina::storage::manifest {

inline constexpr uint32_t kFormatVersion = 1;
/// A reader may skip fields it does not know from here up; an unknown field below means "written by
/// a newer LaminaDB".
inline constexpr uint32_t kFirstIgnorableField = 64;

struct Field {
  uint32_t tag;
  std::string_view name;
  std::string_view type;  ///< varint, sint (zigzag), bool, string, bytes, ulid (16 bytes), or a
                          ///< message's name; "…*" = repeated.
};

namespace ref_field {
inline constexpr Field kDatabase{1, "database_id", "ulid"};
inline constexpr Field kBranch{2, "branch", "string"};
inline constexpr Field kVersion{3, "version", "varint"};
inline constexpr Field kBase{4, "base", "string"};
inline constexpr Field kBaseVersion{5, "base_version", "varint"};
inline constexpr Field kBaseChecksum{6, "base_checksum", "varint"};
inline constexpr Field kRecentCommits{7, "recent_commit_ids", "bytes"};
inline constexpr Field kEdits{8, "edits", "VersionEdit*"};
inline constexpr Field kAll[] = {kDatabase,    kBranch,       kVersion,       kBase,
                                 kBaseVersion, kBaseChecksum, kRecentCommits, kEdits};
}  // namespace ref_field

namespace version_field {
inline constexpr Field kDatabase{1, "database_id", "ulid"};
inline constexpr Field kNumber{2, "number", "varint"};
inline constexpr Field kOwnerEpoch{3, "owner_epoch", "varint"};
inline constexpr Field kFlushedCommit{4, "flushed_commit", "varint"};
inline constexpr Field kFlushedSystem{5, "flushed_system", "sint"};
inline constexpr Field kWalEpoch{6, "wal_epoch", "varint"};
inline constexpr Field kWalSegment{7, "wal_segment", "varint"};
inline constexpr Field kTables{8, "tables", "TableDefinition*"};
inline constexpr Field kNextTableId{9, "next_table_id", "varint"};
inline constexpr Field kFiles{10, "files", "DataFile*"};
inline constexpr Field kNextRowId{11, "next_row_ids", "TableNumber*"};
inline constexpr Field kHistoryFloor{12, "history_floors", "TableNumber*"};
inline constexpr Field kCheckpoints{13, "checkpoints", "Checkpoint*"};
inline constexpr Field kRetired{14, "retired", "RetiredObject*"};
inline constexpr Field kErases{15, "erases", "PendingErase*"};
inline constexpr Field kRecent{16, "recent", "VersionSummary*"};
inline constexpr Field kAll[] = {kDatabase,      kNumber,   kOwnerEpoch, kFlushedCommit,
                                 kFlushedSystem, kWalEpoch, kWalSegment, kTables,
                                 kNextTableId,   kFiles,    kNextRowId,  kHistoryFloor,
                                 kCheckpoints,   kRetired,  kErases,     kRecent};
}  // namespace version_field

namespace edit_field {
inline constexpr Field kReason{1, "reason", "string"};
inline constexpr Field kCreated{2, "created_micros", "sint"};
inline constexpr Field kOwnerEpoch{3, "owner_epoch", "varint"};
inline constexpr Field kPutTables{4, "put_tables", "TableDefinition*"};
inline constexpr Field kDropTables{5, "drop_tables", "varint*"};
inline constexpr Field kRemoveFiles{6, "remove_files", "FileName*"};
inline constexpr Field kAddFiles{7, "add_files", "DataFile*"};
inline constexpr Field kSetDeletions{8, "set_deletions", "SetDeletions*"};
inline constexpr Field kFlushedCommit{9, "flushed_commit", "varint"};
inline constexpr Field kFlushedSystem{10, "flushed_system", "sint"};
inline constexpr Field kWalEpoch{11, "wal_epoch", "varint"};
inline constexpr Field kWalSegment{12, "wal_segment", "varint"};
inline constexpr Field kNextRowId{13, "next_row_ids", "TableNumber*"};
inline constexpr Field kHistoryFloor{14, "history_floors", "TableNumber*"};
inline constexpr Field kPutCheckpoints{15, "put_checkpoints", "Checkpoint*"};
inline constexpr Field kDropCheckpoints{16, "drop_checkpoints", "string*"};
inline constexpr Field kAddErases{17, "add_erases", "PendingErase*"};
inline constexpr Field kFinishErases{18, "finish_erases", "PendingErase*"};
inline constexpr Field kForgetRetired{19, "forget_retired", "string*"};
inline constexpr Field kAll[] = {kReason,        kCreated,       kOwnerEpoch,     kPutTables,
                                 kDropTables,    kRemoveFiles,   kAddFiles,       kSetDeletions,
                                 kFlushedCommit, kFlushedSystem, kWalEpoch,       kWalSegment,
                                 kNextRowId,     kHistoryFloor,  kPutCheckpoints, kDropCheckpoints,
                                 kAddErases,     kFinishErases,  kForgetRetired};
}  // namespace edit_field

namespace file_field {
inline constexpr Field kId{1, "id", "ulid"};
inline constexpr Field kTable{2, "table", "varint"};
inline constexpr Field kKind{3, "kind", "varint"};
inline constexpr Field kLevel{4, "level", "varint"};
inline constexpr Field kSchemaVersion{5, "schema_version", "varint"};
inline constexpr Field kRows{6, "rows", "varint"};
inline constexpr Field kBytes{7, "bytes", "varint"};
inline constexpr Field kFooterLength{8, "footer_length", "varint"};
inline constexpr Field kMinKey{9, "min_key", "bytes"};
inline constexpr Field kMaxKey{10, "max_key", "bytes"};
inline constexpr Field kMinSystemFrom{11, "min_system_from", "sint"};
inline constexpr Field kMaxSystemFrom{12, "max_system_from", "sint"};
inline constexpr Field kMinCommit{13, "min_commit", "varint"};
inline constexpr Field kMaxCommit{14, "max_commit", "varint"};
inline constexpr Field kMinSystemTo{15, "min_system_to", "sint"};
inline constexpr Field kMaxSystemTo{16, "max_system_to", "sint"};
inline constexpr Field kMinValidFrom{17, "min_valid_from", "sint"};
inline constexpr Field kMaxValidFrom{18, "max_valid_from", "sint"};
inline constexpr Field kMinValidTo{19, "min_valid_to", "sint"};
inline constexpr Field kMaxValidTo{20, "max_valid_to", "sint"};
inline constexpr Field kHasValidColumns{21, "has_valid_columns", "bool"};
inline constexpr Field kColumns{22, "columns", "ColumnStats*"};
inline constexpr Field kDeletions{23, "deletions", "DeletionVector"};
inline constexpr Field kOneCommit{24, "one_commit", "bool"};
inline constexpr Field kAll[] = {kId,          kTable,         kKind,
                                 kLevel,       kSchemaVersion, kRows,
                                 kBytes,       kFooterLength,  kMinKey,
                                 kMaxKey,      kMinSystemFrom, kMaxSystemFrom,
                                 kMinCommit,   kMaxCommit,     kMinSystemTo,
                                 kMaxSystemTo, kMinValidFrom,  kMaxValidFrom,
                                 kMinValidTo,  kMaxValidTo,    kHasValidColumns,
                                 kColumns,     kDeletions,     kOneCommit};
}  // namespace file_field

namespace stats_field {
inline constexpr Field kColumn{1, "column", "varint"};
inline constexpr Field kMin{2, "min", "bytes"};
inline constexpr Field kMax{3, "max", "bytes"};
inline constexpr Field kNullCount{4, "null_count", "varint"};
inline constexpr Field kAll[] = {kColumn, kMin, kMax, kNullCount};
}  // namespace stats_field

namespace deletions_field {
inline constexpr Field kObject{1, "object", "ulid"};
inline constexpr Field kOffset{2, "offset", "varint"};
inline constexpr Field kLength{3, "length", "varint"};
inline constexpr Field kEndedRows{4, "ended_rows", "varint"};
inline constexpr Field kMaxEnded{5, "max_ended", "sint"};
inline constexpr Field kAll[] = {kObject, kOffset, kLength, kEndedRows, kMaxEnded};
}  // namespace deletions_field

namespace checkpoint_field {
inline constexpr Field kName{1, "name", "string"};
inline constexpr Field kCommit{2, "commit", "varint"};
inline constexpr Field kSystem{3, "system", "sint"};
inline constexpr Field kCreated{4, "created_micros", "sint"};
inline constexpr Field kAll[] = {kName, kCommit, kSystem, kCreated};
}  // namespace checkpoint_field

namespace retired_field {
inline constexpr Field kPath{1, "path", "string"};
inline constexpr Field kSinceVersion{2, "since_version", "varint"};
inline constexpr Field kRetiredAt{3, "retired_at_micros", "sint"};
inline constexpr Field kAll[] = {kPath, kSinceVersion, kRetiredAt};
}  // namespace retired_field

namespace erase_field {
inline constexpr Field kTable{1, "table", "varint"};
inline constexpr Field kKey{2, "key", "bytes"};
inline constexpr Field kCommit{3, "commit", "varint"};
inline constexpr Field kAll[] = {kTable, kKey, kCommit};
}  // namespace erase_field

namespace summary_field {
inline constexpr Field kNumber{1, "number", "varint"};
inline constexpr Field kCommit{2, "commit", "varint"};
inline constexpr Field kSystem{3, "system", "sint"};
inline constexpr Field kCreated{4, "created_micros", "sint"};
inline constexpr Field kFiles{5, "files", "varint"};
inline constexpr Field kBytes{6, "bytes", "varint"};
inline constexpr Field kRows{7, "rows", "varint"};
inline constexpr Field kReason{8, "reason", "string"};
inline constexpr Field kAll[] = {kNumber, kCommit, kSystem, kCreated,
                                 kFiles,  kBytes,  kRows,   kReason};
}  // namespace summary_field

namespace table_number_field {
inline constexpr Field kTable{1, "table", "varint"};
inline constexpr Field kNumber{2, "number", "sint"};
inline constexpr Field kAll[] = {kTable, kNumber};
}  // namespace table_number_field

namespace file_name_field {
inline constexpr Field kTable{1, "table", "varint"};
inline constexpr Field kFile{2, "file", "ulid"};
inline constexpr Field kAll[] = {kTable, kFile};
}  // namespace file_name_field

namespace set_deletions_field {
inline constexpr Field kTable{1, "table", "varint"};
inline constexpr Field kFile{2, "file", "ulid"};
inline constexpr Field kDeletions{3, "deletions", "DeletionVector"};
inline constexpr Field kAll[] = {kTable, kFile, kDeletions};
}  // namespace set_deletions_field

/// Every message with its fields, as docs/format/manifest.md lists them.
struct MessageSpec {
  std::string_view name;
  std::span<const Field> fields;
};
inline constexpr MessageSpec kMessages[] = {
    {"Ref", ref_field::kAll},
    {"Version", version_field::kAll},
    {"VersionEdit", edit_field::kAll},
    {"DataFile", file_field::kAll},
    {"ColumnStats", stats_field::kAll},
    {"DeletionVector", deletions_field::kAll},
    {"Checkpoint", checkpoint_field::kAll},
    {"RetiredObject", retired_field::kAll},
    {"PendingErase", erase_field::kAll},
    {"VersionSummary", summary_field::kAll},
    {"TableNumber", table_number_field::kAll},
    {"FileName", file_name_field::kAll},
    {"SetDeletions", set_deletions_field::kAll},
};

// ---- The frame ----
// Magic (8), format version (4), body length (8), body, crc32c of everything before (4).

inline constexpr char kRefMagic[9] = "LAMINARF";
inline constexpr char kBaseMagic[9] = "LAMINABS";
inline constexpr size_t kFrameHeadBytes = 20;
inline constexpr size_t kFrameBytes = kFrameHeadBytes + 4;

std::string EncodeFramed(std::string_view magic, std::string_view body);
/// The body, in `bytes`. `path` is for messages. kCorruption names file and offset; kUnsupported
/// names both versions.
Result<std::string_view> DecodeFramed(std::string_view magic, const std::string& path,
                                      std::string_view bytes);
/// The crc at the end of a framed object that DecodeFramed accepted.
uint32_t ChecksumOf(std::string_view framed);

/// Where bases lie; a ref that names anything else is damaged.
inline constexpr std::string_view kBasePrefix = "manifest/";

/// The ref's content.
struct Ref {
  base::Ulid database_id;
  std::string branch;
  uint64_t version = 0;  ///< == base_version + edits.size()
  std::string base;      ///< Path of the base object.
  uint64_t base_version = 0;
  /// Of the base object's frame: the very bytes that were written, not just any intact base.
  uint32_t base_checksum = 0;
  std::vector<base::Ulid> recent_commit_ids;  ///< Oldest first; the last kRecentCommitIds.
  std::vector<std::string> edits;             ///< EncodeEdit, in order.

  static constexpr size_t kRecentCommitIds = 64;
};
std::string EncodeRef(const Ref& ref);
Result<Ref> DecodeRef(const std::string& path, std::string_view framed);

/// Applies in place; after an error `version` is spoiled.
Status ApplyInPlace(const VersionEdit& edit, Version* version);

}  // namespace lamina::storage::manifest
