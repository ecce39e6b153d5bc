// The payload is a run of sections in statement order (docs/format/wal.md, "Commit payload"):
//
//   section  = tag (1 byte) | length of body (fixed32) | body
//   tag 1    = inline facts of one table: table (varint) | facts …
//   tag 2    = rows of one statement: table, schema version, kind and shape, row count, intervals,
//   deletes, keys, Arrow IPC
//
// Inline facts are appended to the section that ends the payload when it is of the same table, so
// that a transaction of a thousand puts costs one section header; the length is patched at every
// fact.
#include "engine/write_batch.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include <arrow/buffer.h>
#include <arrow/builder.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/dictionary.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/bit_util.h>
#include <fmt/format.h>

#include "base/check.h"
#include "base/codec.h"
#include "base/scope_guard.h"
#include "catalog/key_codec.h"
#include "catalog/system_tables.h"

namespace lamina::engine {
namespace {

using temporal::FactKind;

enum : uint8_t { kInlineSection = 1, kRowsSection = 2 };
constexpr size_t kSectionHeader = 5;  // tag, fixed32 length
// An inline section is closed before its length field could overflow.
constexpr size_t kInlineSectionBytesMax = size_t{256} << 20;
// The WAL takes frames up to 1 GiB; a section's length field would take four times that.
constexpr uint64_t kSectionBytesMax = std::numeric_limits<uint32_t>::max();

// Flags of an inline fact.
enum : uint8_t { kFactKindMask = 0x03, kFactHasFrom = 0x04, kFactHasTo = 0x08 };
constexpr uint8_t kFactFlags = kFactKindMask | kFactHasFrom | kFactHasTo;

// Flags of a rows section.
enum : uint8_t {
  kRowsKindMask = 0x03,
  kRowsHasBatch = 0x04,      // an IPC message follows; else the keys are stored
  kRowsHasDeletes = 0x08,    // a bitmap of deleted rows
  kRowsHasInterval = 0x10,   // one valid interval for all rows
  kRowsHasIntervals = 0x20,  // one valid interval a row
};
constexpr uint8_t kRowsFlags = 0x3f;

bool KnownKind(uint8_t kind) { return kind >= 1 && kind <= 3; }

void AppendVarint(std::string* out, uint64_t v) {
  char buffer[10];
  int n = 0;
  while (v >= 0x80) {
    buffer[n++] = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  buffer[n++] = static_cast<char>(v);
  out->append(buffer, static_cast<size_t>(n));
}

// Lets Arrow's IPC writer append to the payload itself: no second copy of the rows.
class StringOutput : public arrow::io::OutputStream {
 public:
  explicit StringOutput(std::string* out) : out_(out), begin_(out->size()) {}
  Status Close() override {
    closed_ = true;
    return Status::OK();
  }
  bool closed() const override { return closed_; }
  // Positions count from the section's own start, so that the padding inside the message does not
  // depend on what is before.
  Result<int64_t> Tell() const override { return static_cast<int64_t>(out_->size() - begin_); }
  Status Write(const void* data, int64_t size) override {
    out_->append(static_cast<const char*>(data), static_cast<size_t>(size));
    return Status::OK();
  }
  using arrow::io::Writable::Write;

 private:
  std::string* out_;
  size_t begin_;
  bool closed_ = false;
};

arrow::ipc::IpcWriteOptions WriteOptions() {
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  options.use_threads = false;
  return options;
}

arrow::ipc::IpcReadOptions ReadOptions() {
  auto options = arrow::ipc::IpcReadOptions::Defaults();
  options.use_threads = false;
  options.ensure_alignment = arrow::ipc::Alignment::kDataTypeSpecificAlignment;
  return options;
}

// The catalogue takes no dictionary types, so one message holds the whole batch.
Status WriteIpc(const arrow::RecordBatch& rows, std::string* out) {
  StringOutput sink(out);
  return arrow::ipc::SerializeRecordBatch(rows, WriteOptions(), &sink);
}

Status Damaged(std::string_view what, size_t offset) {
  return MakeError(
      ErrorCode::kCorruption,
      fmt::format("commit payload cannot be decoded: what={} offset={}", what, offset));
}

// `bytes` are copied: rows outlive the log's buffer, and Arrow wants its buffers aligned.
Result<std::shared_ptr<arrow::RecordBatch>> ReadIpc(std::string_view bytes,
                                                    const std::shared_ptr<arrow::Schema>& schema) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                        arrow::AllocateBuffer(static_cast<int64_t>(bytes.size())));
  if (!bytes.empty()) std::memcpy(buffer->mutable_data(), bytes.data(), bytes.size());
  arrow::io::BufferReader input(std::move(buffer));
  arrow::ipc::DictionaryMemo memo;
  ARROW_ASSIGN_OR_RAISE(auto rows,
                        arrow::ipc::ReadRecordBatch(schema, &memo, ReadOptions(), &input));
  ARROW_RETURN_NOT_OK(rows->ValidateFull());
  return rows;
}

Result<std::shared_ptr<arrow::Int64Array>> ReadInt64s(std::string_view bytes) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                        arrow::AllocateBuffer(static_cast<int64_t>(bytes.size())));
  if (!bytes.empty()) std::memcpy(buffer->mutable_data(), bytes.data(), bytes.size());
  return std::make_shared<arrow::Int64Array>(static_cast<int64_t>(bytes.size() / 8),
                                             std::move(buffer));
}

// Walks one inline fact. False when the bytes are damaged.
bool ReadInlineFact(base::Decoder* decoder, InlineWrite* write) {
  uint8_t flags = 0;
  if (!decoder->ReadByte(&flags)) return false;
  const uint8_t kind = flags & kFactKindMask;
  if ((flags & ~kFactFlags) != 0 || !KnownKind(kind)) {
    decoder->Fail();
    return false;
  }
  write->kind = static_cast<FactKind>(kind);
  write->valid = ValidInterval{};
  uint64_t bits = 0;
  if ((flags & kFactHasFrom) != 0 && decoder->ReadFixed64(&bits))
    write->valid.from.micros = static_cast<int64_t>(bits);
  if ((flags & kFactHasTo) != 0 && decoder->ReadFixed64(&bits))
    write->valid.to.micros = static_cast<int64_t>(bits);
  decoder->ReadLengthPrefixed(&write->key);
  write->value = {};
  if (write->kind == FactKind::kPut) decoder->ReadLengthPrefixed(&write->value);
  return decoder->ok();
}

bool IsInlineTable(uint64_t table) {
  return table == catalog::kKeyValueTable.value || table == catalog::kIdempotencyTable.value;
}

// A limit of what one fact may hold: the memtable counts in 32 bits, and the key codec refuses
// longer keys anyway.
constexpr size_t kInlineValueBytesMax = size_t{1} << 30;
// What an inline fact takes beside key and value: section header, table, flags, interval, lengths.
constexpr size_t kInlineBytesMax = kSectionHeader + 10 + 1 + 16 + 10 + 10;

}  // namespace

WriteBatch::WriteBatch() = default;
WriteBatch::~WriteBatch() = default;

WriteBatch::WriteBatch(WriteBatch&& other) noexcept { *this = std::move(other); }

WriteBatch& WriteBatch::operator=(WriteBatch&& other) noexcept {
  if (this == &other) return *this;
  payload_ = std::move(other.payload_);
  tables_ = std::move(other.tables_);
  facts_ = other.facts_;
  open_section_ = other.open_section_;
  open_table_ = other.open_table_;
  other.Clear();
  return *this;
}

void WriteBatch::Clear() {
  payload_.clear();
  tables_.clear();
  facts_ = 0;
  open_section_ = kNoSection;
}

Status WriteBatch::Add(TableWrite write) {
  LAMINA_CHECK(write.schema != nullptr);
  LAMINA_CHECK(write.keys != nullptr && write.keys->null_count() == 0);
  const int64_t rows = write.row_count();
  LAMINA_CHECK(write.rows == nullptr || write.rows->num_rows() == rows);
  LAMINA_CHECK(write.rows != nullptr || write.kind != FactKind::kPut || write.deletes != nullptr);
  LAMINA_CHECK(write.deletes == nullptr ||
               (write.deletes->length() == rows && write.kind == FactKind::kPut));
  LAMINA_CHECK((write.valid_from == nullptr) == (write.valid_to == nullptr));
  LAMINA_CHECK(write.valid_from == nullptr ||
               (write.valid_from->length() == rows && write.valid_to->length() == rows));
  if (rows == 0) return Status::OK();

  const size_t begin = payload_.size();
  base::ScopeGuard undo([&] { payload_.resize(begin); });
  if (tables_.size() == tables_.capacity()) tables_.reserve(tables_.size() * 2 + 1);
  payload_.push_back(static_cast<char>(kRowsSection));
  payload_.append(4, '\0');  // patched below
  AppendVarint(&payload_, write.schema->id.value);
  AppendVarint(&payload_, write.schema->version);
  uint8_t flags = static_cast<uint8_t>(write.kind);
  if (write.rows != nullptr) flags |= kRowsHasBatch;
  if (write.deletes != nullptr) flags |= kRowsHasDeletes;
  if (write.valid_from != nullptr) {
    flags |= kRowsHasIntervals;
  } else if (!write.valid.all()) {
    flags |= kRowsHasInterval;
  }
  payload_.push_back(static_cast<char>(flags));
  AppendVarint(&payload_, static_cast<uint64_t>(rows));
  if ((flags & kRowsHasInterval) != 0) {
    base::PutFixed64(&payload_, static_cast<uint64_t>(write.valid.from.micros));
    base::PutFixed64(&payload_, static_cast<uint64_t>(write.valid.to.micros));
  }
  if ((flags & kRowsHasIntervals) != 0) {
    for (const auto& bounds : {write.valid_from, write.valid_to}) {
      payload_.append(reinterpret_cast<const char*>(bounds->raw_values()),
                      static_cast<size_t>(rows) * 8);
    }
  }
  if (write.deletes != nullptr) {
    const size_t at = payload_.size();
    payload_.append(static_cast<size_t>((rows + 7) / 8), '\0');
    for (int64_t i = 0; i < rows; ++i) {
      if (!write.deletes->IsNull(i) && write.deletes->Value(i)) {
        payload_[at + static_cast<size_t>(i >> 3)] |= static_cast<char>(1 << (i & 7));
      }
    }
  }
  if (write.rows == nullptr) {
    for (int64_t i = 0; i < rows; ++i) {
      const std::string_view key = write.keys->GetView(i);
      AppendVarint(&payload_, key.size());
      payload_.append(key);
    }
  } else if (Status written = WriteIpc(*write.rows, &payload_); !written.ok()) {
    if (written.IsOutOfMemory()) return written;
    return MakeError(ErrorCode::kInternal,
                     fmt::format("rows cannot be encoded for the log: table={} cause={}",
                                 write.schema->name, written.message()));
  }
  const uint64_t length = payload_.size() - begin - kSectionHeader;
  if (length > kSectionBytesMax) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("one write is too large: table={} bytes={} max={}",
                                 write.schema->name, length, kSectionBytesMax),
                     "split it into several batches");
  }
  base::StoreFixed32(payload_.data() + begin + 1, static_cast<uint32_t>(length));
  tables_.emplace_back(begin, std::move(write));
  facts_ += static_cast<uint64_t>(rows);
  open_section_ = kNoSection;
  undo.Dismiss();
  return Status::OK();
}

void WriteBatch::AddInline(catalog::TableId table, FactKind kind, ValidInterval valid,
                           std::string_view key, std::string_view value) {
  LAMINA_DCHECK(IsInlineTable(table.value));
  LAMINA_CHECK(key.size() <= catalog::kMaxKeyBytes && value.size() <= kInlineValueBytesMax);
  payload_.reserve(payload_.size() + kInlineBytesMax + key.size() + value.size());
  if (open_section_ == kNoSection || open_table_ != table.value ||
      payload_.size() - open_section_ > kInlineSectionBytesMax) {
    open_section_ = payload_.size();
    open_table_ = table.value;
    payload_.push_back(static_cast<char>(kInlineSection));
    payload_.append(4, '\0');
    AppendVarint(&payload_, table.value);
  }
  uint8_t flags = static_cast<uint8_t>(kind);
  if (valid.from != ValidTime::Min()) flags |= kFactHasFrom;
  if (valid.to != ValidTime::Max()) flags |= kFactHasTo;
  payload_.push_back(static_cast<char>(flags));
  if ((flags & kFactHasFrom) != 0)
    base::PutFixed64(&payload_, static_cast<uint64_t>(valid.from.micros));
  if ((flags & kFactHasTo) != 0)
    base::PutFixed64(&payload_, static_cast<uint64_t>(valid.to.micros));
  AppendVarint(&payload_, key.size());
  payload_.append(key);
  if (kind == FactKind::kPut) {
    AppendVarint(&payload_, value.size());
    payload_.append(value);
  }
  base::StoreFixed32(payload_.data() + open_section_ + 1,
                     static_cast<uint32_t>(payload_.size() - open_section_ - kSectionHeader));
  ++facts_;
}

void WriteBatch::VisitAll(const std::function<void(const Entry&)>& visit) const {
  size_t next_table = 0;
  size_t at = 0;
  while (at < payload_.size()) {
    const uint8_t tag = static_cast<uint8_t>(payload_[at]);
    const size_t length = base::LoadFixed32(payload_.data() + at + 1);
    if (tag == kRowsSection) {
      // A decoded payload may hold sections of dropped tables, which have no decoded form.
      if (next_table < tables_.size() && tables_[next_table].first == at) {
        Entry entry;
        entry.table = &tables_[next_table++].second;
        visit(entry);
      }
    } else {
      base::Decoder decoder(std::string_view(payload_).substr(at + kSectionHeader, length));
      Entry entry;
      decoder.ReadVarint64(&entry.inline_write.table.value);
      while (!decoder.done()) {
        // Own or validated bytes: Decode walked them once.
        LAMINA_CHECK(ReadInlineFact(&decoder, &entry.inline_write));
        visit(entry);
      }
    }
    at += kSectionHeader + length;
  }
}

WriteBatch::Mark WriteBatch::mark() const { return {payload_.size(), tables_.size(), facts_}; }

void WriteBatch::TruncateTo(const Mark& mark) {
  LAMINA_CHECK(mark.payload <= payload_.size() && mark.tables <= tables_.size() &&
               mark.facts <= facts_);
  payload_.resize(mark.payload);
  tables_.erase(tables_.begin() + static_cast<ptrdiff_t>(mark.tables), tables_.end());
  facts_ = mark.facts;
  open_section_ = kNoSection;
  // The mark may stand inside an inline section that grew after it: shorten that one.
  size_t at = 0;
  while (at < payload_.size()) {
    const size_t length = base::LoadFixed32(payload_.data() + at + 1);
    if (at + kSectionHeader + length >= payload_.size()) {
      base::StoreFixed32(payload_.data() + at + 1,
                         static_cast<uint32_t>(payload_.size() - at - kSectionHeader));
      if (static_cast<uint8_t>(payload_[at]) == kInlineSection) {
        base::Decoder decoder(std::string_view(payload_).substr(at + kSectionHeader));
        decoder.ReadVarint64(&open_table_);
        open_section_ = at;
      }
      break;
    }
    at += kSectionHeader + length;
  }
}

namespace {

// Decodes the body of a rows section behind table and version. Arrow's errors are plain statuses;
// the caller makes them ours.
Result<TableWrite> DecodeRows(base::Decoder decoder, catalog::TableSchemaPtr schema) {
  TableWrite write;
  write.schema = std::move(schema);
  uint8_t flags = 0;
  uint64_t rows = 0;
  decoder.ReadByte(&flags);
  decoder.ReadVarint64(&rows);
  const uint8_t kind = flags & kRowsKindMask;
  const bool has_batch = (flags & kRowsHasBatch) != 0;
  const bool has_deletes = (flags & kRowsHasDeletes) != 0;
  if (!decoder.ok() || (flags & ~kRowsFlags) != 0 || !KnownKind(kind) || rows == 0 ||
      rows > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) {
    return Status::Invalid("bad header");
  }
  write.kind = static_cast<FactKind>(kind);
  if (has_deletes && write.kind != FactKind::kPut)
    return Status::Invalid("deletes beside a kind other than put");
  if ((flags & kRowsHasInterval) != 0 && (flags & kRowsHasIntervals) != 0)
    return Status::Invalid("two kinds of intervals");
  if ((flags & kRowsHasInterval) != 0) {
    uint64_t from = 0;
    uint64_t to = 0;
    decoder.ReadFixed64(&from);
    decoder.ReadFixed64(&to);
    write.valid = {{static_cast<int64_t>(from)}, {static_cast<int64_t>(to)}};
    if (!decoder.ok() || write.valid.empty()) return Status::Invalid("bad interval");
  }
  if ((flags & kRowsHasIntervals) != 0) {
    std::string_view from;
    std::string_view to;
    decoder.ReadBytes(rows * 8, &from);
    decoder.ReadBytes(rows * 8, &to);
    if (!decoder.ok()) return Status::Invalid("intervals cut short");
    ARROW_ASSIGN_OR_RAISE(write.valid_from, ReadInt64s(from));
    ARROW_ASSIGN_OR_RAISE(write.valid_to, ReadInt64s(to));
    for (int64_t i = 0; i < static_cast<int64_t>(rows); ++i) {
      if (write.valid_from->Value(i) >= write.valid_to->Value(i))
        return Status::Invalid("empty interval");
    }
  }
  if (has_deletes) {
    std::string_view bits;
    if (!decoder.ReadBytes((rows + 7) / 8, &bits)) return Status::Invalid("deletes cut short");
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                          arrow::AllocateBuffer(static_cast<int64_t>(bits.size())));
    std::memcpy(buffer->mutable_data(), bits.data(), bits.size());
    write.deletes =
        std::make_shared<arrow::BooleanArray>(static_cast<int64_t>(rows), std::move(buffer));
  }
  if (!has_batch) {
    if (write.kind == FactKind::kPut &&
        (!has_deletes || write.deletes->true_count() != static_cast<int64_t>(rows))) {
      return Status::Invalid("puts without rows");
    }
    arrow::BinaryBuilder builder;
    for (uint64_t i = 0; i < rows; ++i) {
      std::string_view key;
      if (!decoder.ReadLengthPrefixed(&key) ||
          key.size() > static_cast<size_t>(catalog::kMaxKeyBytes)) {
        return Status::Invalid("bad key");
      }
      ARROW_RETURN_NOT_OK(builder.Append(key));
    }
    if (!decoder.done()) return Status::Invalid("bytes behind the keys");
    ARROW_ASSIGN_OR_RAISE(auto keys, builder.Finish());
    write.keys = std::static_pointer_cast<arrow::BinaryArray>(keys);
    return write;
  }
  ARROW_ASSIGN_OR_RAISE(write.rows, ReadIpc(decoder.rest(), write.schema->StorageSchema()));
  if (write.rows->num_rows() != static_cast<int64_t>(rows))
    return Status::Invalid("row count differs from the batch's");
  ARROW_ASSIGN_OR_RAISE(write.keys, catalog::KeyCodec(*write.schema).Encode(*write.rows));
  return write;
}

}  // namespace

Result<WriteBatch> WriteBatch::Decode(
    std::string_view payload,
    const std::function<catalog::TableSchemaPtr(catalog::TableId, uint32_t version)>& find_schema) {
  WriteBatch batch;
  batch.payload_.assign(payload);
  const std::string_view bytes(batch.payload_);
  base::Decoder decoder(bytes);
  while (!decoder.done()) {
    const size_t begin = decoder.offset();
    uint8_t tag = 0;
    uint32_t length = 0;
    std::string_view body;
    decoder.ReadByte(&tag);
    decoder.ReadFixed32(&length);
    if (!decoder.ReadBytes(length, &body)) return Damaged("section header", begin);
    base::Decoder section(body);
    uint64_t table = 0;
    section.ReadVarint64(&table);
    if (tag == kInlineSection) {
      if (!section.ok() || !IsInlineTable(table))
        return Damaged("table of an inline section", begin);
      InlineWrite write;
      while (!section.done()) {
        if (!ReadInlineFact(&section, &write) || write.valid.empty() ||
            write.key.size() > static_cast<size_t>(catalog::kMaxKeyBytes) ||
            write.value.size() > kInlineValueBytesMax) {
          return Damaged("inline fact", begin + kSectionHeader + section.offset());
        }
        ++batch.facts_;
      }
    } else if (tag == kRowsSection) {
      uint32_t version = 0;
      if (!section.ReadVarint32(&version)) return Damaged("table of a rows section", begin);
      catalog::TableSchemaPtr schema = find_schema({table}, version);
      if (schema == nullptr) continue;
      auto write = DecodeRows(section, std::move(schema));
      if (!write.ok()) {
        if (CodeOf(write.status()) == ErrorCode::kResourceExhausted) return write.status();
        return Damaged(fmt::format("rows of table {} ({})", table, MessageOf(write.status())),
                       begin);
      }
      batch.facts_ += static_cast<uint64_t>(write->row_count());
      batch.tables_.emplace_back(begin, std::move(*write));
    } else {
      return Damaged(fmt::format("section tag {}", tag), begin);
    }
  }
  return batch;
}

}  // namespace lamina::engine
