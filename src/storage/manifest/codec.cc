// Version, VersionEdit and Ref as tagged messages. Fields equal to their default are left out.
#include "base/codec.h"

#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/crc32c.h"
#include "storage/manifest/format_internal.h"

namespace lamina::storage::manifest {

namespace {

using base::MessageReader;
using base::MessageWriter;

// ---- Writing ----

void Put(MessageWriter& w, const Field& field, uint64_t value, uint64_t absent = 0) {
  if (value != absent) w.AddVarint(field.tag, value);
}
void PutSigned(MessageWriter& w, const Field& field, int64_t value, int64_t absent = 0) {
  if (value != absent) w.AddSigned(field.tag, value);
}
void PutBytes(MessageWriter& w, const Field& field, std::string_view value) {
  if (!value.empty()) w.AddBytes(field.tag, value);
}
void PutUlid(MessageWriter& w, const Field& field, const base::Ulid& value) {
  if (!value.is_zero()) w.AddBytes(field.tag, value.AsBytes());
}

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

void Write(MessageWriter& w, const DeletionVectorRef& value) {
  namespace f = deletions_field;
  PutUlid(w, f::kObject, value.object);
  Put(w, f::kOffset, value.offset);
  Put(w, f::kLength, value.length);
  Put(w, f::kEndedRows, value.ended_rows);
  PutSigned(w, f::kMaxEnded, value.max_ended.micros);
}

void Write(MessageWriter& w, const ColumnStats& value) {
  namespace f = stats_field;
  Put(w, f::kColumn, static_cast<uint32_t>(value.column));
  // Present and empty is not absent: "" is a bound.
  if (value.min) w.AddBytes(f::kMin.tag, *value.min);
  if (value.max) w.AddBytes(f::kMax.tag, *value.max);
  Put(w, f::kNullCount, value.null_count);
}

void Write(MessageWriter& w, const DataFile& value) {
  namespace f = file_field;
  PutUlid(w, f::kId, value.id);
  Put(w, f::kTable, value.table.value);
  Put(w, f::kKind, static_cast<uint64_t>(value.kind));
  Put(w, f::kLevel, value.level);
  Put(w, f::kSchemaVersion, value.schema_version);
  Put(w, f::kRows, value.rows);
  Put(w, f::kBytes, value.bytes);
  Put(w, f::kFooterLength, value.footer_length);
  PutBytes(w, f::kMinKey, value.min_key);
  PutBytes(w, f::kMaxKey, value.max_key);
  PutSigned(w, f::kMinSystemFrom, value.min_system_from.micros);
  PutSigned(w, f::kMaxSystemFrom, value.max_system_from.micros);
  Put(w, f::kMinCommit, value.min_commit.value);
  Put(w, f::kMaxCommit, value.max_commit.value);
  PutSigned(w, f::kMinSystemTo, value.min_system_to.micros, kMax);
  PutSigned(w, f::kMaxSystemTo, value.max_system_to.micros, kMax);
  PutSigned(w, f::kMinValidFrom, value.min_valid_from.micros, kMin);
  PutSigned(w, f::kMaxValidFrom, value.max_valid_from.micros, kMin);
  PutSigned(w, f::kMinValidTo, value.min_valid_to.micros, kMax);
  PutSigned(w, f::kMaxValidTo, value.max_valid_to.micros, kMax);
  Put(w, f::kHasValidColumns, value.has_valid_columns ? 1 : 0);
  for (const ColumnStats& stats : value.columns) {
    w.AddMessageWith(f::kColumns.tag, [&](MessageWriter& sub) { Write(sub, stats); });
  }
  if (value.deletions) {
    w.AddMessageWith(f::kDeletions.tag, [&](MessageWriter& sub) { Write(sub, *value.deletions); });
  }
  Put(w, f::kOneCommit, value.has_system_columns ? 0 : 1);
}

void Write(MessageWriter& w, const Checkpoint& value) {
  namespace f = checkpoint_field;
  PutBytes(w, f::kName, value.name);
  Put(w, f::kCommit, value.commit.value);
  PutSigned(w, f::kSystem, value.system.micros);
  PutSigned(w, f::kCreated, value.created_micros);
}

void Write(MessageWriter& w, const RetiredObject& value) {
  namespace f = retired_field;
  PutBytes(w, f::kPath, value.path);
  Put(w, f::kSinceVersion, value.since_version);
  PutSigned(w, f::kRetiredAt, value.retired_at_micros);
}

void Write(MessageWriter& w, const PendingErase& value) {
  namespace f = erase_field;
  Put(w, f::kTable, value.table.value);
  PutBytes(w, f::kKey, value.key);
  Put(w, f::kCommit, value.commit.value);
}

void Write(MessageWriter& w, const VersionSummary& value) {
  namespace f = summary_field;
  Put(w, f::kNumber, value.number);
  Put(w, f::kCommit, value.commit.value);
  PutSigned(w, f::kSystem, value.system.micros);
  PutSigned(w, f::kCreated, value.created_micros);
  Put(w, f::kFiles, value.files);
  Put(w, f::kBytes, value.bytes);
  Put(w, f::kRows, value.rows);
  PutBytes(w, f::kReason, value.reason);
}

void WriteTableNumber(MessageWriter& w, const Field& field, catalog::TableId table,
                      int64_t number) {
  namespace f = table_number_field;
  w.AddMessageWith(field.tag, [&](MessageWriter& sub) {
    Put(sub, f::kTable, table.value);
    PutSigned(sub, f::kNumber, number);
  });
}

template <typename T>
void WriteAll(MessageWriter& w, const Field& field, const std::vector<T>& values) {
  for (const T& value : values) {
    w.AddMessageWith(field.tag, [&](MessageWriter& sub) { Write(sub, value); });
  }
}

// ---- Reading. A wrong wire type or malformed bytes end the walk and show in the reader's status
// ----

/// Called for a field that the message's switch does not know.
Status Unknown(const MessageReader& r, std::string_view message) {
  if (r.field() >= kFirstIgnorableField) return Status::OK();
  return MakeError(
      ErrorCode::kUnsupported,
      fmt::format(
          "written by a newer LaminaDB: unknown field: message={} field={} supported_format={}",
          message, r.field(), kFormatVersion),
      "open it with a newer version");
}

void GetUlid(MessageReader& r, base::Ulid* out) {
  std::string_view bytes;
  if (!r.GetBytes(&bytes)) return;
  const Result<base::Ulid> ulid = base::Ulid::FromBytes(bytes);
  if (ulid.ok()) {
    *out = *ulid;
  } else {
    r.Fail();
  }
}
template <typename Time>
void GetTime(MessageReader& r, Time* out) {
  r.GetSigned(&out->micros);
}
/// A varint that fits `T`, at most `last`.
template <typename T>
void GetSmall(MessageReader& r, T* out, uint64_t last) {
  uint64_t value = 0;
  if (!r.GetVarint(&value)) return;
  if (value > last) {
    r.Fail();
  } else {
    *out = static_cast<T>(value);
  }
}

using TableNumber = std::pair<catalog::TableId, int64_t>;
using FileName = std::pair<catalog::TableId, base::Ulid>;
using SetDeletions = std::tuple<catalog::TableId, base::Ulid, std::optional<DeletionVectorRef>>;

// Declared before the template that calls them: these types' own namespaces are not this one, so no
// lookup by argument helps.
Status Read(MessageReader& r, DeletionVectorRef* out);
Status Read(MessageReader& r, ColumnStats* out);
Status Read(MessageReader& r, DataFile* out);
Status Read(MessageReader& r, Checkpoint* out);
Status Read(MessageReader& r, RetiredObject* out);
Status Read(MessageReader& r, PendingErase* out);
Status Read(MessageReader& r, VersionSummary* out);
Status Read(MessageReader& r, TableNumber* out);
Status Read(MessageReader& r, FileName* out);
Status Read(MessageReader& r, SetDeletions* out);

/// Reads the current field as a message of type T.
template <typename T>
Status ReadMessage(MessageReader& r, T* out) {
  MessageReader sub;
  if (!r.GetMessage(&sub)) return Status::OK();  // shows in r's status
  return Read(sub, out);
}
template <typename T>
Status ReadRepeated(MessageReader& r, std::vector<T>* out) {
  return ReadMessage(r, &out->emplace_back());
}

Status Read(MessageReader& r, DeletionVectorRef* out) {
  namespace f = deletions_field;
  while (r.Next()) {
    switch (r.field()) {
      case f::kObject.tag:
        GetUlid(r, &out->object);
        break;
      case f::kOffset.tag:
        r.GetVarint(&out->offset);
        break;
      case f::kLength.tag:
        r.GetVarint(&out->length);
        break;
      case f::kEndedRows.tag:
        r.GetVarint(&out->ended_rows);
        break;
      case f::kMaxEnded.tag:
        GetTime(r, &out->max_ended);
        break;
      default:
        ARROW_RETURN_NOT_OK(Unknown(r, "DeletionVector"));
    }
  }
  return r.status("deletion vector reference");
}

Status Read(MessageReader& r, ColumnStats* out) {
  namespace f = stats_field;
  while (r.Next()) {
    switch (r.field()) {
      case f::kColumn.tag:
        GetSmall(r, &out->column, std::numeric_limits<catalog::ColumnId>::max());
        break;
      case f::kMin.tag:
        r.GetString(&out->min.emplace());
        break;
      case f::kMax.tag:
        r.GetString(&out->max.emplace());
        break;
      case f::kNullCount.tag:
        r.GetVarint(&out->null_count);
        break;
      default:
        ARROW_RETURN_NOT_OK(Unknown(r, "ColumnStats"));
    }
  }
  return r.status("column statistics");
}

Status Read(MessageReader& r, DataFile* out) {
  namespace f = file_field;
  while (r.Next()) {
    switch (r.field()) {
      case f::kId.tag:
        GetUlid(r, &out->id);
        break;
      case f::kTable.tag:
        r.GetVarint(&out->table.value);
        break;
      case f::kKind.tag:
        GetSmall(r, &out->kind, static_cast<uint64_t>(FileKind::kHistory));
        break;
      case f::kLevel.tag:
        GetSmall(r, &out->level, std::numeric_limits<uint8_t>::max());
        break;
      case f::kSchemaVersion.tag:
        r.GetVarint32(&out->schema_version);
        break;
      case f::kRows.tag:
        r.GetVarint(&out->rows);
        break;
      case f::kBytes.tag:
        r.GetVarint(&out->bytes);
        break;
      case f::kFooterLength.tag:
        r.GetVarint(&out->footer_length);
        break;
      case f::kMinKey.tag:
        r.GetString(&out->min_key);
        break;
      case f::kMaxKey.tag:
        r.GetString(&out->max_key);
        break;
      case f::kMinSystemFrom.tag:
        GetTime(r, &out->min_system_from);
        break;
      case f::kMaxSystemFrom.tag:
        GetTime(r, &out->max_system_from);
        break;
      case f::kMinCommit.tag:
        r.GetVarint(&out->min_commit.value);
        break;
      case f::kMaxCommit.tag:
        r.GetVarint(&out->max_commit.value);
        break;
      case f::kMinSystemTo.tag:
        GetTime(r, &out->min_system_to);
        break;
      case f::kMaxSystemTo.tag:
        GetTime(r, &out->max_system_to);
        break;
      case f::kMinValidFrom.tag:
        GetTime(r, &out->min_valid_from);
        break;
      case f::kMaxValidFrom.tag:
        GetTime(r, &out->max_valid_from);
        break;
      case f::kMinValidTo.tag:
        GetTime(r, &out->min_valid_to);
        break;
      case f::kMaxValidTo.tag:
        GetTime(r, &out->max_valid_to);
        break;
      case f::kHasValidColumns.tag:
        r.GetBool(&out->has_valid_columns);
        break;
      case f::kColumns.tag:
        ARROW_RETURN_NOT_OK(ReadRepeated(r, &out->columns));
        break;
      case f::kDeletions.tag:
        ARROW_RETURN_NOT_OK(ReadMessage(r, &out->deletions.emplace()));
        break;
      case f::kOneCommit.tag: {
        bool one = false;
        r.GetBool(&one);
        out->has_system_columns = !one;
        break;
      }
      default:
        ARROW_RETURN_NOT_OK(Unknown(r, "DataFile"));
    }
  }
  return r.status("data file");
}

Status Read(MessageReader& r, Checkpoint* out) {
  namespace f = checkpoint_field;
  while (r.Next()) {
    switch (r.field()) {
      case f::kName.tag:
        r.GetString(&out->name);
        break;
      case f::kCommit.tag:
        r.GetVarint(&out->commit.value);
        break;
      case f::kSystem.tag:
        GetTime(r, &out->system);
        break;
      case f::kCreated.tag:
        r.GetSigned(&out->created_micros);
        break;
      default:
        ARROW_RETURN_NOT_OK(Unknown(r, "Checkpoint"));
    }
  }
  return r.status("checkpoint");
}

Status Read(MessageReader& r, RetiredObject* out) {
  namespace f = retired_field;
  while (r.Next()) {
    switch (r.field()) {
      case f::kPath.tag:
        r.GetString(&out->path);
        break;
      case f::kSinceVersion.tag:
        r.GetVarint(&out->since_version);
        break;
      case f::kRetiredAt.tag:
        r.GetSigned(&out->retired_at_micros);
        break;
      default:
        ARROW_RETURN_NOT_OK(Unknown(r, "RetiredObject"));
    }
  }
  return r.status("retired object");
}

Status Read(MessageReader& r, PendingErase* out) {
  namespace f = erase_field;
  while (r.Next()) {
    switch (r.field()) {
      case f::kTable.tag:
        r.GetVarint(&out->table.value);
        break;
      case f::kKey.tag:
        r.GetString(&out->key);
        break;
      case f::kCommit.tag:
        r.GetVarint(&out->commit.value);
        break;
      default:
        ARROW_RETURN_NOT_OK(Unknown(r, "PendingErase"));
    }
  }
  return r.status("pending erase");
}

Status Read(MessageReader& r, VersionSummary* out) {
  namespace f = summary_field;
  while (r.Next()) {
    switch (r.field()) {
      case f::kNumber.tag:
        r.GetVarint(&out->number);
        break;
      case f::kCommit.tag:
        r.GetVarint(&out->commit.value);
        break;
      case f::kSystem.tag:
        GetTime(r, &out->system);
        break;
      case f::kCreated.tag:
        r.GetSigned(&out->created_micros);
        break;
      case f::kFiles.tag:
        r.GetVarint(&out->files);
        break;
      case f::kBytes.tag:
        r.GetVarint(&out->bytes);
        break;
      case f::kRows.tag:
        r.GetVarint(&out->rows);
        break;
      case f::kReason.tag:
        r.GetString(&out->reason);
        break;
      default:
        ARROW_RETURN_NOT_OK(Unknown(r, "VersionSummary"));
    }
  }
  return r.status("version summary");
}

Status Read(MessageReader& r, TableNumber* out) {
  namespace f = table_number_field;
  while (r.Next()) {
    switch (r.field()) {
      case f::kTable.tag:
        r.GetVarint(&out->first.value);
        break;
      case f::kNumber.tag:
        r.GetSigned(&out->second);
        break;
      default:
        ARROW_RETURN_NOT_OK(Unknown(r, "TableNumber"));
    }
  }
  return r.status("table number");
}

Status Read(MessageReader& r, FileName* out) {
  namespace f = file_name_field;
  while (r.Next()) {
    switch (r.field()) {
      case f::kTable.tag:
        r.GetVarint(&out->first.value);
        break;
      case f::kFile.tag:
        GetUlid(r, &out->second);
        break;
      default:
        ARROW_RETURN_NOT_OK(Unknown(r, "FileName"));
    }
  }
  return r.status("file name");
}

Status Read(MessageReader& r, SetDeletions* out) {
  namespace f = set_deletions_field;
  auto& [table, file, deletions] = *out;
  while (r.Next()) {
    switch (r.field()) {
      case f::kTable.tag:
        r.GetVarint(&table.value);
        break;
      case f::kFile.tag:
        GetUlid(r, &file);
        break;
      case f::kDeletions.tag:
        ARROW_RETURN_NOT_OK(ReadMessage(r, &deletions.emplace()));
        break;
      default:
        ARROW_RETURN_NOT_OK(Unknown(r, "SetDeletions"));
    }
  }
  return r.status("set deletions");
}

Result<catalog::TableSchemaPtr> ReadTable(MessageReader& r) {
  std::string_view bytes;
  if (!r.GetBytes(&bytes)) return r.status("table definition");
  return catalog::DecodeTable(bytes);
}

}  // namespace

std::string EncodeVersion(const Version& version) {
  namespace f = version_field;
  std::string out;
  MessageWriter w(&out);
  PutUlid(w, f::kDatabase, version.database_id);
  Put(w, f::kNumber, version.number);
  Put(w, f::kOwnerEpoch, version.owner_epoch);
  Put(w, f::kFlushedCommit, version.flushed_commit.value);
  PutSigned(w, f::kFlushedSystem, version.flushed_system.micros, kMin);
  Put(w, f::kWalEpoch, version.wal_floor.epoch);
  Put(w, f::kWalSegment, version.wal_floor.segment);
  for (const auto& [id, table] : version.catalog.tables)
    w.AddMessage(f::kTables.tag, catalog::EncodeTable(*table));
  Put(w, f::kNextTableId, version.catalog.next_table_id);
  for (const auto& [table, files] : version.files) {
    for (const DataFilePtr& file : files) {
      w.AddMessageWith(f::kFiles.tag, [&](MessageWriter& sub) { Write(sub, *file); });
    }
  }
  for (const auto& [table, next] : version.next_row_id)
    WriteTableNumber(w, f::kNextRowId, table, next);
  for (const auto& [table, floor] : version.history_floor)
    WriteTableNumber(w, f::kHistoryFloor, table, floor.micros);
  for (const auto& [name, checkpoint] : version.checkpoints) {
    w.AddMessageWith(f::kCheckpoints.tag, [&](MessageWriter& sub) { Write(sub, checkpoint); });
  }
  WriteAll(w, f::kRetired, version.retired);
  WriteAll(w, f::kErases, version.erases);
  WriteAll(w, f::kRecent, version.recent);
  return out;
}

Result<VersionPtr> DecodeVersion(std::string_view bytes) {
  namespace f = version_field;
  auto version = std::make_shared<Version>();
  version->catalog.next_table_id = 0;
  MessageReader r(bytes);
  while (r.Next()) {
    switch (r.field()) {
      case f::kDatabase.tag:
        GetUlid(r, &version->database_id);
        break;
      case f::kNumber.tag:
        r.GetVarint(&version->number);
        break;
      case f::kOwnerEpoch.tag:
        r.GetVarint(&version->owner_epoch);
        break;
      case f::kFlushedCommit.tag:
        r.GetVarint(&version->flushed_commit.value);
        break;
      case f::kFlushedSystem.tag:
        GetTime(r, &version->flushed_system);
        break;
      case f::kWalEpoch.tag:
        r.GetVarint(&version->wal_floor.epoch);
        break;
      case f::kWalSegment.tag:
        r.GetVarint(&version->wal_floor.segment);
        break;
      case f::kTables.tag: {
        ARROW_ASSIGN_OR_RAISE(catalog::TableSchemaPtr table, ReadTable(r));
        const catalog::TableId id = table->id;
        if (!version->catalog.tables.emplace(id, std::move(table)).second) r.Fail();
        break;
      }
      case f::kNextTableId.tag:
        r.GetVarint(&version->catalog.next_table_id);
        break;
      case f::kFiles.tag: {
        DataFile file;
        ARROW_RETURN_NOT_OK(ReadMessage(r, &file));
        std::vector<DataFilePtr>& files = version->files[file.table];
        files.push_back(std::make_shared<const DataFile>(std::move(file)));
        break;
      }
      case f::kNextRowId.tag: {
        TableNumber entry;
        ARROW_RETURN_NOT_OK(ReadMessage(r, &entry));
        version->next_row_id[entry.first] = entry.second;
        break;
      }
      case f::kHistoryFloor.tag: {
        TableNumber entry;
        ARROW_RETURN_NOT_OK(ReadMessage(r, &entry));
        version->history_floor[entry.first] = {entry.second};
        break;
      }
      case f::kCheckpoints.tag: {
        Checkpoint checkpoint;
        ARROW_RETURN_NOT_OK(ReadMessage(r, &checkpoint));
        std::string name = checkpoint.name;
        version->checkpoints[std::move(name)] = std::move(checkpoint);
        break;
      }
      case f::kRetired.tag:
        ARROW_RETURN_NOT_OK(ReadRepeated(r, &version->retired));
        break;
      case f::kErases.tag:
        ARROW_RETURN_NOT_OK(ReadRepeated(r, &version->erases));
        break;
      case f::kRecent.tag:
        ARROW_RETURN_NOT_OK(ReadRepeated(r, &version->recent));
        break;
      default:
        ARROW_RETURN_NOT_OK(Unknown(r, "Version"));
    }
  }
  ARROW_RETURN_NOT_OK(r.status("version"));
  return version;
}

std::string EncodeEdit(const VersionEdit& edit) {
  namespace f = edit_field;
  std::string out;
  MessageWriter w(&out);
  PutBytes(w, f::kReason, edit.reason);
  PutSigned(w, f::kCreated, edit.created_micros);
  // Present and zero is not absent, here and below: "set to zero".
  if (edit.owner_epoch) w.AddVarint(f::kOwnerEpoch.tag, *edit.owner_epoch);
  for (const catalog::TableSchemaPtr& table : edit.put_tables)
    w.AddMessage(f::kPutTables.tag, catalog::EncodeTable(*table));
  for (const catalog::TableId table : edit.drop_tables)
    w.AddVarint(f::kDropTables.tag, table.value);
  for (const auto& [table, file] : edit.remove_files) {
    w.AddMessageWith(f::kRemoveFiles.tag, [&](MessageWriter& sub) {
      Put(sub, file_name_field::kTable, table.value);
      PutUlid(sub, file_name_field::kFile, file);
    });
  }
  WriteAll(w, f::kAddFiles, edit.add_files);
  for (const auto& [table, file, deletions] : edit.set_deletions) {
    w.AddMessageWith(f::kSetDeletions.tag, [&](MessageWriter& sub) {
      Put(sub, set_deletions_field::kTable, table.value);
      PutUlid(sub, set_deletions_field::kFile, file);
      if (deletions) {
        sub.AddMessageWith(set_deletions_field::kDeletions.tag,
                           [&](MessageWriter& inner) { Write(inner, *deletions); });
      }
    });
  }
  if (edit.flushed) {
    w.AddVarint(f::kFlushedCommit.tag, edit.flushed->first.value);
    w.AddSigned(f::kFlushedSystem.tag, edit.flushed->second.micros);
  }
  if (edit.wal_floor) {
    w.AddVarint(f::kWalEpoch.tag, edit.wal_floor->epoch);
    w.AddVarint(f::kWalSegment.tag, edit.wal_floor->segment);
  }
  for (const auto& [table, next] : edit.next_row_id)
    WriteTableNumber(w, f::kNextRowId, table, next);
  for (const auto& [table, floor] : edit.history_floor)
    WriteTableNumber(w, f::kHistoryFloor, table, floor.micros);
  WriteAll(w, f::kPutCheckpoints, edit.put_checkpoints);
  for (const std::string& name : edit.drop_checkpoints) w.AddBytes(f::kDropCheckpoints.tag, name);
  WriteAll(w, f::kAddErases, edit.add_erases);
  WriteAll(w, f::kFinishErases, edit.finish_erases);
  for (const std::string& path : edit.forget_retired) w.AddBytes(f::kForgetRetired.tag, path);
  return out;
}

Result<VersionEdit> DecodeEdit(std::string_view bytes) {
  namespace f = edit_field;
  VersionEdit edit;
  std::optional<CommitId> flushed_commit;
  std::optional<SystemTime> flushed_system;
  std::optional<uint64_t> wal_epoch;
  std::optional<uint64_t> wal_segment;
  MessageReader r(bytes);
  while (r.Next()) {
    switch (r.field()) {
      case f::kReason.tag:
        r.GetString(&edit.reason);
        break;
      case f::kCreated.tag:
        r.GetSigned(&edit.created_micros);
        break;
      case f::kOwnerEpoch.tag:
        r.GetVarint(&edit.owner_epoch.emplace());
        break;
      case f::kPutTables.tag: {
        ARROW_ASSIGN_OR_RAISE(catalog::TableSchemaPtr table, ReadTable(r));
        edit.put_tables.push_back(std::move(table));
        break;
      }
      case f::kDropTables.tag:
        r.GetVarint(&edit.drop_tables.emplace_back().value);
        break;
      case f::kRemoveFiles.tag:
        ARROW_RETURN_NOT_OK(ReadRepeated(r, &edit.remove_files));
        break;
      case f::kAddFiles.tag:
        ARROW_RETURN_NOT_OK(ReadRepeated(r, &edit.add_files));
        break;
      case f::kSetDeletions.tag:
        ARROW_RETURN_NOT_OK(ReadRepeated(r, &edit.set_deletions));
        break;
      case f::kFlushedCommit.tag:
        r.GetVarint(&flushed_commit.emplace().value);
        break;
      case f::kFlushedSystem.tag:
        GetTime(r, &flushed_system.emplace());
        break;
      case f::kWalEpoch.tag:
        r.GetVarint(&wal_epoch.emplace());
        break;
      case f::kWalSegment.tag:
        r.GetVarint(&wal_segment.emplace());
        break;
      case f::kNextRowId.tag:
        ARROW_RETURN_NOT_OK(ReadRepeated(r, &edit.next_row_id));
        break;
      case f::kHistoryFloor.tag: {
        TableNumber entry;
        ARROW_RETURN_NOT_OK(ReadMessage(r, &entry));
        edit.history_floor.emplace_back(entry.first, SystemTime{entry.second});
        break;
      }
      case f::kPutCheckpoints.tag:
        ARROW_RETURN_NOT_OK(ReadRepeated(r, &edit.put_checkpoints));
        break;
      case f::kDropCheckpoints.tag:
        r.GetString(&edit.drop_checkpoints.emplace_back());
        break;
      case f::kAddErases.tag:
        ARROW_RETURN_NOT_OK(ReadRepeated(r, &edit.add_erases));
        break;
      case f::kFinishErases.tag:
        ARROW_RETURN_NOT_OK(ReadRepeated(r, &edit.finish_erases));
        break;
      case f::kForgetRetired.tag:
        r.GetString(&edit.forget_retired.emplace_back());
        break;
      default:
        ARROW_RETURN_NOT_OK(Unknown(r, "VersionEdit"));
    }
  }
  ARROW_RETURN_NOT_OK(r.status("version edit"));
  if (flushed_commit.has_value() != flushed_system.has_value() ||
      wal_epoch.has_value() != wal_segment.has_value()) {
    return MakeError(
        ErrorCode::kCorruption,
        "cannot decode version edit: half of a pair is missing (flushed or wal floor)");
  }
  if (flushed_commit) edit.flushed = {*flushed_commit, *flushed_system};
  if (wal_epoch) edit.wal_floor = {*wal_epoch, *wal_segment};
  return edit;
}

std::string EncodeFramed(std::string_view magic, std::string_view body) {
  std::string out;
  out.reserve(body.size() + kFrameBytes);
  out.append(magic);
  base::PutFixed32(&out, kFormatVersion);
  base::PutFixed64(&out, body.size());
  out.append(body);
  base::PutFixed32(&out, base::Crc32c(out));
  return out;
}

Result<std::string_view> DecodeFramed(std::string_view magic, const std::string& path,
                                      std::string_view bytes) {
  const auto corrupt = [&](std::string_view what, size_t offset) {
    return MakeError(ErrorCode::kCorruption, fmt::format("{}: file={} offset={} size={}", what,
                                                         path, offset, bytes.size()));
  };
  if (bytes.size() < kFrameBytes) return corrupt("object is cut short", bytes.size());
  // The checksum first: a flipped bit in the version must not read as "newer format". Every later
  // version keeps this frame.
  const size_t checksum_at = bytes.size() - 4;
  const uint32_t expected = base::LoadFixed32(bytes.data() + checksum_at);
  const uint32_t actual = base::Crc32c(bytes.substr(0, checksum_at));
  if (expected != actual) {
    return MakeError(
        ErrorCode::kCorruption,
        fmt::format("checksum mismatch: file={} offset=0 size={} expected={:08x} actual={:08x}",
                    path, bytes.size(), expected, actual));
  }
  if (bytes.substr(0, magic.size()) != magic) return corrupt("magic is wrong", 0);
  const uint32_t format = base::LoadFixed32(bytes.data() + 8);
  if (format > kFormatVersion) {
    return MakeError(
        ErrorCode::kUnsupported,
        fmt::format("written by a newer LaminaDB: file={} format={} supported_format={}", path,
                    format, kFormatVersion),
        "open it with a newer version");
  }
  if (format != kFormatVersion) return corrupt("format version is unknown", 8);
  if (base::LoadFixed64(bytes.data() + 12) != bytes.size() - kFrameBytes)
    return corrupt("length is wrong", 12);
  return bytes.substr(kFrameHeadBytes, bytes.size() - kFrameBytes);
}

uint32_t ChecksumOf(std::string_view framed) {
  return base::LoadFixed32(framed.data() + framed.size() - 4);
}

std::string EncodeRef(const Ref& ref) {
  namespace f = ref_field;
  std::string body;
  MessageWriter w(&body);
  PutUlid(w, f::kDatabase, ref.database_id);
  PutBytes(w, f::kBranch, ref.branch);
  Put(w, f::kVersion, ref.version);
  PutBytes(w, f::kBase, ref.base);
  Put(w, f::kBaseVersion, ref.base_version);
  Put(w, f::kBaseChecksum, ref.base_checksum);
  std::string ids;
  for (const base::Ulid& id : ref.recent_commit_ids) ids.append(id.AsBytes());
  PutBytes(w, f::kRecentCommits, ids);
  for (const std::string& edit : ref.edits) w.AddMessage(f::kEdits.tag, edit);
  return EncodeFramed(kRefMagic, body);
}

Result<Ref> DecodeRef(const std::string& path, std::string_view framed) {
  namespace f = ref_field;
  ARROW_ASSIGN_OR_RAISE(const std::string_view body, DecodeFramed(kRefMagic, path, framed));
  Ref ref;
  std::string_view ids;
  MessageReader r(body);
  while (r.Next()) {
    switch (r.field()) {
      case f::kDatabase.tag:
        GetUlid(r, &ref.database_id);
        break;
      case f::kBranch.tag:
        r.GetString(&ref.branch);
        break;
      case f::kVersion.tag:
        r.GetVarint(&ref.version);
        break;
      case f::kBase.tag:
        r.GetString(&ref.base);
        break;
      case f::kBaseVersion.tag:
        r.GetVarint(&ref.base_version);
        break;
      case f::kBaseChecksum.tag:
        r.GetVarint32(&ref.base_checksum);
        break;
      case f::kRecentCommits.tag:
        r.GetBytes(&ids);
        break;
      case f::kEdits.tag:
        r.GetString(&ref.edits.emplace_back());
        break;
      default:
        ARROW_RETURN_NOT_OK(Unknown(r, "Ref"));
    }
  }
  ARROW_RETURN_NOT_OK(r.status("ref " + path));
  if (ids.size() % 16 != 0 || ref.version != ref.base_version + ref.edits.size() ||
      !ref.base.starts_with(kBasePrefix)) {
    return MakeError(
        ErrorCode::kCorruption,
        fmt::format("ref contradicts itself: file={} version={} base_version={} edits={} base={} "
                    "id_bytes={}",
                    path, ref.version, ref.base_version, ref.edits.size(), ref.base, ids.size()));
  }
  for (size_t at = 0; at < ids.size(); at += 16) {
    ARROW_ASSIGN_OR_RAISE(const base::Ulid id, base::Ulid::FromBytes(ids.substr(at, 16)));
    ref.recent_commit_ids.push_back(id);
  }
  return ref;
}

}  // namespace lamina::storage::manifest
