#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "base/mutant.h"
#include "base/scope_guard.h"
#include "catalog/key_codec.h"
#include "catalog/system_tables.h"
#include "db/table_load_internal.h"
#include "db/transaction_impl.h"
#include "db/write_internal.h"

namespace lamina::db {
namespace {

// What staged facts look like to the transaction's own reads: learned just after the snapshot, or
// when the transaction says.
CommitId PendingCommit(const engine::Snapshot& snapshot) { return {snapshot.commit().value + 1}; }
SystemTime PendingSystem(const engine::Snapshot& snapshot, const TransactionOptions& options) {
  // A time that the commit will refuse is none.
  if (options.system_time && *options.system_time > snapshot.system()) return *options.system_time;
  return {snapshot.system().micros + 1};
}

}  // namespace

TransactionImpl::TransactionImpl(engine::Engine* engine, TransactionOptions options,
                                 engine::SnapshotPtr snapshot)
    : engine_(engine),
      options_(std::move(options)),
      snapshot_(std::move(snapshot)),
      public_snapshot_(std::make_shared<SnapshotImpl>(snapshot_)),
      catalog_(snapshot_->state().version, &snapshot_->state().version->catalog) {}

TransactionImpl::~TransactionImpl() { Abort(); }

Status TransactionImpl::CheckOpen() const {
  if (open_) return Status::OK();
  return MakeError(ErrorCode::kInvalidArgument, "transaction has ended", "begin a new one");
}

template <typename Add>
Status TransactionImpl::StageIn(Add&& add) {
  const auto before = batch_->mark();
  base::ScopeGuard undo([&] { batch_->TruncateTo(before); });
  ARROW_RETURN_NOT_OK(add(batch_.get()));
  if (own_ != nullptr && own_.use_count() == 1) {
    // Reads went before: keep the private memtable up to date statement by statement.
    ARROW_RETURN_NOT_OK(add(&unapplied_));
  } else {
    // Nobody read yet, or an open scan holds the memtable and must not see this write: build one
    // when it is needed.
    own_.reset();
    unapplied_.Clear();
  }
  undo.Dismiss();
  return Status::OK();
}

Status TransactionImpl::Stage(engine::TableWrite write) {
  return StageIn([&](engine::WriteBatch* batch) { return batch->Add(write); });
}

Status TransactionImpl::StageDocument(temporal::FactKind kind, std::string_view key,
                                      std::string_view document, const ValidInterval& valid) {
  return StageIn([&](engine::WriteBatch* batch) {
    batch->AddInline(catalog::kKeyValueTable, kind, valid, key, document);
    return Status::OK();
  });
}

Result<ReadContext> TransactionImpl::Context() {
  ReadContext context;
  context.engine = engine_;
  context.snapshot = snapshot_;
  context.newest = snapshot_->system();
  if (batch_->empty()) return context;
  if (own_ == nullptr) {
    auto own = engine::Memtable::Make();
    ARROW_RETURN_NOT_OK(
        own->Apply(*batch_, PendingCommit(*snapshot_), PendingSystem(*snapshot_, options_)));
    own_ = std::move(own);
    unapplied_.Clear();
  } else if (!unapplied_.empty()) {
    ARROW_RETURN_NOT_OK(
        own_->Apply(unapplied_, PendingCommit(*snapshot_), PendingSystem(*snapshot_, options_)));
    unapplied_.Clear();
  }
  context.newest = PendingSystem(*snapshot_, options_);
  context.own = own_;
  return context;
}

void TransactionImpl::NoteKey(catalog::TableId table, std::string_view key,
                              const ReadContext& context, const temporal::Window& window) {
  if (options_.isolation != Isolation::kSerializable || !SeesNewest(context, window)) return;
  reads_.keys.push_back({table, std::string(key)});
}

void TransactionImpl::NoteRange(catalog::TableId table, const catalog::KeyRange& range,
                                const ReadContext& context, const temporal::Window& window) {
  if (options_.isolation != Isolation::kSerializable || !SeesNewest(context, window)) return;
  reads_.ranges.push_back({table, range});
}

Status TransactionImpl::Put(const std::string& table,
                            const std::shared_ptr<arrow::RecordBatch>& rows,
                            const WriteOptions& options) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto schema, WritableTable(table));
  ARROW_ASSIGN_OR_RAISE(auto write, PrepareRows(schema, rows, options, [&](int64_t count) {
                          return ReserveRowIds(*schema, count);
                        }));
  return Stage(std::move(write));
}

Status TransactionImpl::Insert(const std::string& table,
                               const std::shared_ptr<arrow::RecordBatch>& rows,
                               const WriteOptions& options) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto schema, WritableTable(table));
  if (options.deletes != nullptr) {
    return MakeError(ErrorCode::kInvalidArgument, "an insert cannot delete",
                     "use Put for mixed batches");
  }
  ARROW_ASSIGN_OR_RAISE(auto write, PrepareRows(schema, rows, options, [&](int64_t count) {
                          return ReserveRowIds(*schema, count);
                        }));
  if (schema->has_primary_key) {
    ARROW_ASSIGN_OR_RAISE(const auto context, Context());
    std::unordered_map<std::string_view, std::vector<ValidInterval>> in_batch;
    for (int64_t i = 0; i < write.row_count(); ++i) {
      const std::string_view key = write.keys->GetView(i);
      const ValidInterval valid = write.ValidOf(i);
      const temporal::Window window{{context.newest, {context.newest.micros + 1}}, valid};
      ARROW_ASSIGN_OR_RAISE(const auto found,
                            RunGet(context, schema, key, window, std::vector<std::string>{}));
      // A refusal tells the caller what is there as much as a success does.
      NoteKey(schema->id, key, context, window);
      auto& earlier = in_batch[key];
      const bool repeated = std::any_of(earlier.begin(), earlier.end(),
                                        [&](const auto& other) { return other.Overlaps(valid); });
      if (found->num_rows() > 0 || repeated) {
        return MakeError(
            ErrorCode::kAlreadyExists,
            fmt::format("a row with this key is valid then already: table={} row={} valid=[{}, {})",
                        table, i, Format(valid.from), Format(valid.to)),
            "Put lays the new row over it");
      }
      earlier.push_back(valid);
    }
  }
  return Stage(std::move(write));
}

Status TransactionImpl::Delete(const std::string& table,
                               const std::shared_ptr<arrow::RecordBatch>& keys,
                               const WriteOptions& options) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto schema, WritableTable(table));
  ARROW_ASSIGN_OR_RAISE(auto write, PrepareDelete(schema, keys, options));
  return Stage(std::move(write));
}

Status TransactionImpl::PutDocument(std::string_view key, std::string_view document,
                                    ValidInterval valid) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_RETURN_NOT_OK(CheckDocumentKey(key));
  ARROW_RETURN_NOT_OK(CheckInterval(valid));
  return StageDocument(temporal::FactKind::kPut, key, document, valid);
}

Status TransactionImpl::DeleteDocument(std::string_view key, ValidInterval valid) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_RETURN_NOT_OK(CheckDocumentKey(key));
  ARROW_RETURN_NOT_OK(CheckInterval(valid));
  return StageDocument(temporal::FactKind::kDelete, key, {}, valid);
}

Result<std::optional<std::string>> TransactionImpl::GetDocument(std::string_view key,
                                                                SystemPeriod as_of,
                                                                ValidPeriod valid_at) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_RETURN_NOT_OK(CheckDocumentKey(key));
  ARROW_RETURN_NOT_OK(CheckMoment(as_of, valid_at));
  ARROW_ASSIGN_OR_RAISE(const auto context, Context());
  ARROW_ASSIGN_OR_RAISE(const auto window,
                        ResolveWindow(context, catalog::kKeyValueTable, as_of, valid_at));
  NoteKey(catalog::kKeyValueTable, key, context, window);
  return RunGetDocument(context, key, window);
}

Result<std::shared_ptr<arrow::RecordBatch>> TransactionImpl::Get(
    const std::string& table, const Key& key, SystemPeriod system, ValidPeriod valid,
    const std::optional<std::vector<std::string>>& columns) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto schema, Table(table));
  ARROW_ASSIGN_OR_RAISE(const auto encoded, EncodeKey(*schema, key));
  ARROW_ASSIGN_OR_RAISE(const auto context, Context());
  ARROW_ASSIGN_OR_RAISE(const auto window, ResolveWindow(context, schema->id, system, valid));
  NoteKey(schema->id, encoded, context, window);
  return RunGet(context, schema, encoded, window, columns);
}

Result<std::shared_ptr<ScanReader>> TransactionImpl::Scan(const std::string& table,
                                                          const ScanOptions& options) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto schema, Table(table));
  ARROW_ASSIGN_OR_RAISE(const auto context, Context());
  ARROW_ASSIGN_OR_RAISE(auto scan, PrepareScan(context, schema, options));
  NoteRange(schema->id, scan.range, context, scan.spec.window);
  return RunScan(context, std::move(scan));
}

Result<SplitScan> TransactionImpl::ScanSplit(const std::string& table, const ScanOptions& options) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto schema, Table(table));
  ARROW_ASSIGN_OR_RAISE(const auto context, Context());
  ARROW_ASSIGN_OR_RAISE(auto scan, PrepareScan(context, schema, options));
  NoteRange(schema->id, scan.range, context, scan.spec.window);
  SplitScan out;
  ARROW_ASSIGN_OR_RAISE(out.rest, RunSplitScan(context, std::move(scan), &out.plain));
  return out;
}

Result<uint64_t> TransactionImpl::FactsInMemory(catalog::TableId table) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto context, Context());
  uint64_t count = 0;
  const auto add = [&](const engine::Memtable* memtable) {
    if (memtable == nullptr) return;
    if (const auto* of = memtable->Find(table)) count += of->fact_count();
  };
  add(context.own.get());
  const engine::ReadState& state = snapshot_->state();
  if (table.value >= state.version->catalog.next_table_id) return count;  // made here
  for (const auto& sealed : state.sealed) add(sealed.get());
  add(state.active.get());
  return count;
}

Result<SystemTime> TransactionImpl::TimeOf(CommitId commit) const {
  return engine_->reader().TimeOf(*snapshot_, commit);
}

Result<CommitId> TransactionImpl::CommitAt(SystemTime time) const {
  return engine_->reader().CommitAt(*snapshot_, time);
}

std::vector<storage::DataFilePtr> TransactionImpl::FilesOf(catalog::TableId table) const {
  if (table.value >= snapshot_->state().version->catalog.next_table_id) return {};
  const auto& files = snapshot_->state().version->FilesOf(table);
  return {files.begin(), files.end()};
}

Result<std::shared_ptr<ScanReader>> TransactionImpl::ScanPrefix(std::string_view prefix,
                                                                SystemPeriod as_of,
                                                                ValidPeriod valid_at,
                                                                std::optional<int64_t> limit) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto context, Context());
  ARROW_ASSIGN_OR_RAISE(auto scan, PreparePrefixScan(context, prefix, as_of, valid_at, limit));
  NoteRange(catalog::kKeyValueTable, scan.range, context, scan.spec.window);
  return RunScan(context, std::move(scan));
}

// ---- Tables ----

Result<catalog::TableSchemaPtr> TransactionImpl::WritableTable(const std::string& name) const {
  ARROW_ASSIGN_OR_RAISE(auto table, Table(name));
  ARROW_RETURN_NOT_OK(CheckWriter(*table, layer_));
  if (std::find(loading_.begin(), loading_.end(), table->id) != loading_.end()) {
    return MakeError(ErrorCode::kUnsupported,
                     fmt::format("table is being loaded in this transaction: table={}", name),
                     "commit first");
  }
  return table;
}

Result<int64_t> TransactionImpl::ReserveRowIds(const catalog::TableSchema& table, int64_t count) {
  const uint64_t first_own = snapshot_->state().version->catalog.next_table_id;
  if (table.id.value < first_own) return engine_->ReserveRowIds(table.id, count);
  // The engine does not know the table yet, and may give its id to another transaction's.
  int64_t& next = next_row_id_.try_emplace(table.id, 1).first->second;
  if (next > std::numeric_limits<int64_t>::max() - count) {
    return MakeError(ErrorCode::kResourceExhausted,
                     fmt::format("row ids used up: table={}", table.name));
  }
  return std::exchange(next, next + count);
}

Status TransactionImpl::CheckNameFree(const std::string& name, catalog::TableId except) const {
  const catalog::TableSchemaPtr other = catalog_->Find(name);
  if (other == nullptr || other->id == except) return Status::OK();
  return MakeError(ErrorCode::kAlreadyExists, fmt::format("table exists already: table={}", name));
}

Status TransactionImpl::Change(CatalogPtr catalog, catalog::TableId table) {
  const catalog::TableSchemaPtr next = catalog->Find(table);
  if (std::find(loading_.begin(), loading_.end(), table) != loading_.end()) {
    return MakeError(ErrorCode::kUnsupported, "table is being loaded in this transaction",
                     "commit first");
  }
  bool staged = false;
  batch_->ForEach([&](const engine::WriteBatch::Entry& entry) {
    staged = staged || (entry.table != nullptr && entry.table->schema->id == table);
  });
  if (staged) {
    auto batch = std::make_shared<engine::WriteBatch>();
    Status status;
    batch_->ForEach([&](const engine::WriteBatch::Entry& entry) {
      if (!status.ok()) return;
      if (entry.table == nullptr) {
        const engine::InlineWrite& write = entry.inline_write;
        batch->AddInline(write.table, write.kind, write.valid, write.key, write.value);
        return;
      }
      if (entry.table->schema->id != table) {
        status = batch->Add(*entry.table);
        return;
      }
      if (next == nullptr) return;
      auto converted = ConvertWrite(*entry.table, next);
      status = converted.ok() ? batch->Add(std::move(*converted)) : converted.status();
    });
    ARROW_RETURN_NOT_OK(status);
    batch_ = std::move(batch);
    own_.reset();
    unapplied_.Clear();
  }
  catalog_ = std::move(catalog);
  ++definition_changes_;
  return Status::OK();
}

engine::DefinitionChanges TransactionImpl::Changes() const {
  engine::DefinitionChanges changes;
  const auto& before = snapshot_->state().version->catalog.tables;
  for (const auto& [id, table] : catalog_->tables) {
    const auto old = before.find(id);
    if (old == before.end() || old->second->version != table->version) changes.put.push_back(table);
  }
  for (const auto& [id, table] : before) {
    if (catalog_->Find(id) == nullptr) changes.drop.push_back(id);
  }
  return changes;
}

Status TransactionImpl::CreateTable(const std::string& name,
                                    const std::shared_ptr<arrow::Schema>& schema,
                                    const KeyDeclaration& key, const TableOptions& options) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  if (schema == nullptr) return MakeError(ErrorCode::kInvalidArgument, "schema is null");
  ARROW_RETURN_NOT_OK(CheckNameFree(name, {0}));
  auto next = std::make_shared<catalog::Catalog>(*catalog_);
  // Nobody else takes the id: the commit is a conflict if any definition has changed since.
  const catalog::TableId id{next->next_table_id++};
  ARROW_ASSIGN_OR_RAISE(next->tables[id], catalog::MakeTable(id, name, schema, key, options));
  return Change(std::move(next), id);
}

Status TransactionImpl::DropTable(const std::string& name) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto table, WritableTable(name));
  auto next = std::make_shared<catalog::Catalog>(*catalog_);
  next->tables.erase(table->id);
  return Change(std::move(next), table->id);
}

Status TransactionImpl::Replace(catalog::TableSchemaPtr next) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  if (next == nullptr || catalog::IsSystemTable(next->id))
    return MakeError(ErrorCode::kInvalidArgument, "no table to be changed");
  const catalog::TableSchemaPtr old = catalog_->Find(next->id);
  if (old == nullptr) {
    return MakeError(ErrorCode::kNotFound,
                     fmt::format("table does not exist: table={}", next->name));
  }
  if (next->version != old->version + 1 || next->key != old->key ||
      next->has_primary_key != old->has_primary_key) {
    return MakeError(
        ErrorCode::kInternal,
        fmt::format("changed definition is not the next version: table={}", old->name));
  }
  ARROW_RETURN_NOT_OK(next->Verify());
  ARROW_RETURN_NOT_OK(CheckNameFree(next->name, next->id));
  for (const catalog::Column& column : old->columns) {
    const catalog::Column* wider = next->FindColumn(column.id);
    if (wider == nullptr || wider->type->id() != arrow::Type::TIMESTAMP ||
        wider->type->Equals(*column.type)) {
      continue;
    }
    ARROW_ASSIGN_OR_RAISE(const auto context, Context());
    ARROW_RETURN_NOT_OK(CheckTimesFit(context, old, *next));
    // Whatever the isolation: a value that comes meanwhile might not fit, and could not be read any
    // more.
    reads_.ranges.push_back({old->id, catalog::KeyRange::All()});
    break;
  }
  auto catalog = std::make_shared<catalog::Catalog>(*catalog_);
  const catalog::TableId id = next->id;
  catalog->tables[id] = std::move(next);
  return Change(std::move(catalog), id);
}

Status TransactionImpl::Alter(
    const std::string& table,
    const std::function<Result<catalog::TableSchemaPtr>(const catalog::TableSchema&)>& change) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto old, Table(table));
  ARROW_ASSIGN_OR_RAISE(auto next, change(*old));
  return Replace(std::move(next));
}

Status TransactionImpl::RenameTable(const std::string& name, const std::string& to) {
  return Alter(name, [&](const auto& t) { return catalog::RenameTable(t, to); });
}
Status TransactionImpl::AddColumn(const std::string& table,
                                  const std::shared_ptr<arrow::Field>& field,
                                  const std::shared_ptr<arrow::Scalar>& initial) {
  if (field == nullptr) return MakeError(ErrorCode::kInvalidArgument, "field is null");
  return Alter(table, [&](const auto& t) { return catalog::AddColumn(t, field, initial); });
}
Status TransactionImpl::DropColumn(const std::string& table, const std::string& column) {
  ARROW_RETURN_NOT_OK(WritableTable(table).status());
  return Alter(table, [&](const auto& t) { return catalog::DropColumn(t, column); });
}
Status TransactionImpl::RenameColumn(const std::string& table, const std::string& column,
                                     const std::string& to) {
  ARROW_RETURN_NOT_OK(WritableTable(table).status());
  return Alter(table, [&](const auto& t) { return catalog::RenameColumn(t, column, to); });
}
Status TransactionImpl::WidenColumn(const std::string& table, const std::string& column,
                                    const std::shared_ptr<arrow::DataType>& type) {
  if (type == nullptr) return MakeError(ErrorCode::kInvalidArgument, "type is null");
  ARROW_RETURN_NOT_OK(WritableTable(table).status());
  return Alter(table, [&](const auto& t) { return catalog::WidenColumn(t, column, type); });
}

Result<TableInfo> TransactionImpl::GetTable(const std::string& name) const {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto table, Table(name));
  return Describe(*snapshot_->state().version, *table);
}

std::vector<TableInfo> TransactionImpl::ListTables() const {
  std::vector<TableInfo> out;
  for (const catalog::TableSchemaPtr& table : Tables())
    out.push_back(Describe(*snapshot_->state().version, *table));
  return out;
}

catalog::TableSchemaPtr TransactionImpl::FindTable(const std::string& name) const {
  return open_ ? catalog_->Find(name) : nullptr;
}

std::vector<catalog::TableSchemaPtr> TransactionImpl::Tables() const {
  std::vector<catalog::TableSchemaPtr> out;
  if (!open_) return out;
  for (const auto& [id, table] : catalog_->tables) {
    if (!catalog::IsSystemTable(id)) out.push_back(table);
  }
  return out;
}

Result<int64_t> TransactionImpl::Append(const std::string& table,
                                        const std::shared_ptr<arrow::RecordBatch>& rows,
                                        const WriteOptions& options) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto schema, WritableTable(table));
  if (schema->has_primary_key) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("table has a key of its own: table={}", table), "use Put");
  }
  int64_t first = 0;
  ARROW_ASSIGN_OR_RAISE(auto write,
                        PrepareRows(schema, rows, options, [&](int64_t count) -> Result<int64_t> {
                          ARROW_ASSIGN_OR_RAISE(first, ReserveRowIds(*schema, count));
                          return first;
                        }));
  ARROW_RETURN_NOT_OK(Stage(std::move(write)));
  return first;
}

Result<std::shared_ptr<arrow::RecordBatch>> TransactionImpl::GetEncoded(
    const std::string& table, std::string_view key, SystemPeriod system, ValidPeriod valid,
    const std::optional<std::vector<std::string>>& columns) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto schema, Table(table));
  ARROW_ASSIGN_OR_RAISE(const auto context, Context());
  ARROW_ASSIGN_OR_RAISE(const auto window, ResolveWindow(context, schema->id, system, valid));
  NoteKey(schema->id, key, context, window);
  return RunGet(context, schema, key, window, columns);
}

Status TransactionImpl::NoteConstraint(const std::string& table, const catalog::KeyRange& keys) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto schema, Table(table));
  reads_.ranges.push_back({schema->id, keys});
  return Status::OK();
}

Status TransactionImpl::SetNotNull(const std::string& table, const std::string& column) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto old, Table(table));
  const auto field = old->ToArrow()->GetFieldByName(column);
  if (field != nullptr && catalog::RefusesNull(*field)) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(auto next, catalog::SetNotNull(*old, column));
  ARROW_ASSIGN_OR_RAISE(const auto context, Context());
  ScanOptions options;
  options.columns = {column};
  options.filter = IsNull(column);
  options.valid = ValidPeriod::All();
  options.limit = 1;
  options.order_by_key = false;
  ARROW_ASSIGN_OR_RAISE(auto scan, PrepareScan(context, old, options));
  ARROW_ASSIGN_OR_RAISE(const auto reader, RunScan(context, std::move(scan)));
  ARROW_ASSIGN_OR_RAISE(const auto found, reader->Next());
  if (found != nullptr && found->num_rows() > 0) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("a row holds NULL: table={} column={}", table, column));
  }
  reads_.ranges.push_back({old->id, catalog::KeyRange::All()});
  return Replace(std::move(next));
}

Status TransactionImpl::NoteRead(catalog::TableId table, const catalog::KeyRange& keys) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  if (options_.isolation == Isolation::kSerializable) reads_.ranges.push_back({table, keys});
  return Status::OK();
}

// ---- Loads ----

uint64_t TransactionImpl::pending_facts() const {
  uint64_t count = batch_->fact_count();
  for (const auto& load : loads_) count += load->rows();
  return count;
}

Result<std::unique_ptr<TableLoad>> TransactionImpl::BeginLoad(const std::string& table,
                                                              LoadOptions options) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto schema, WritableTable(table));
  bool staged = !schema->options.period_from_column.empty();
  batch_->ForEach([&](const engine::WriteBatch::Entry& entry) {
    staged = staged || (entry.table != nullptr && entry.table->schema->id == schema->id);
  });
  if (staged) {
    return MakeError(ErrorCode::kUnsupported,
                     fmt::format("table cannot be loaded here: table={}", table), "use Insert");
  }
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<engine::BulkLoad> load,
                        engine_->BeginLoad(schema, std::move(options.cancelled)));
  TableLoadHooks hooks;
  hooks.reserve_ids = [this, schema](int64_t count) { return ReserveRowIds(*schema, count); };
  hooks.finished = [this, keys_are_new = options.keys_are_new](
                       const std::shared_ptr<engine::BulkLoad>& finished) {
    return TakeLoad(finished, keys_are_new);
  };
  auto out = MakeTableLoad(schema, std::move(load), std::move(hooks));
  loading_.push_back(schema->id);
  return out;
}

Status TransactionImpl::TakeLoad(const std::shared_ptr<engine::BulkLoad>& load, bool keys_are_new) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  if (load->files().empty()) return Status::OK();
  const catalog::TableSchemaPtr& table = load->table();
  // Row ids are never given twice, and a table that was made here has no rows.
  if (!keys_are_new && table->has_primary_key &&
      table->id.value < snapshot_->state().version->catalog.next_table_id) {
    const std::string& min = load->files().front().min_key;
    const std::string& max = load->files().back().max_key;
    ARROW_ASSIGN_OR_RAISE(const uint64_t in_memory, FactsInMemory(table->id));
    const auto files = FilesOf(table->id);
    if (in_memory > 0 || std::any_of(files.begin(), files.end(), [&](const auto& file) {
          return file->min_key <= max && file->max_key >= min;
        })) {
      ARROW_ASSIGN_OR_RAISE(const auto context, Context());
      ScanOptions options;
      const catalog::KeyCodec codec(*table);
      options.columns.emplace();
      for (const auto& column : codec.columns()) options.columns->push_back(column.name);
      options.valid = ValidPeriod::All();
      options.order_by_key = false;
      options.batch_rows = 64 * 1024;
      ARROW_ASSIGN_OR_RAISE(auto scan, PrepareScan(context, table, options));
      scan.spec.keys.from = min;
      scan.spec.keys.to = max + '\0';
      scan.spec.keys.unbounded_to = false;
      ARROW_ASSIGN_OR_RAISE(const auto reader, RunScan(context, std::move(scan)));
      for (;;) {
        ARROW_ASSIGN_OR_RAISE(const auto rows, reader->Next());
        if (rows == nullptr) break;
        ARROW_ASSIGN_OR_RAISE(const auto keys, codec.Encode(*rows));
        for (int64_t i = 0; i < keys->length(); ++i) {
          ARROW_ASSIGN_OR_RAISE(const bool loaded, load->Contains(keys->GetView(i)));
          if (!loaded || LAMINA_MUTANT("load.key_of_the_table_taken")) continue;
          std::string text;
          for (const auto& column : rows->columns()) {
            ARROW_ASSIGN_OR_RAISE(const auto value, column->GetScalar(i));
            text += (text.empty() ? "" : ", ") + value->ToString();
          }
          return MakeKeyError(ErrorCode::kAlreadyExists,
                              fmt::format("a row with this key is there already: table={} key=({})",
                                          table->name, text),
                              "Put lays the new row over it", keys->GetString(i));
        }
      }
    }
  }
  loads_.push_back(load);
  return Status::OK();
}

// ---- Savepoints, and the end ----

Status TransactionImpl::Savepoint(const std::string& name) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  if (name.empty()) return MakeError(ErrorCode::kInvalidArgument, "savepoint has no name");
  savepoints_.push_back({name, batch_, batch_->mark(), catalog_, loads_.size()});
  return Status::OK();
}

std::vector<TransactionImpl::Mark>::iterator TransactionImpl::FindSavepoint(
    const std::string& name) {
  const auto found = std::find_if(savepoints_.rbegin(), savepoints_.rend(),
                                  [&](const auto& s) { return s.name == name; });
  return found == savepoints_.rend() ? savepoints_.end() : std::prev(found.base());
}

Status TransactionImpl::RollbackTo(const std::string& name) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  const auto savepoint = FindSavepoint(name);
  if (savepoint == savepoints_.end()) {
    return MakeError(ErrorCode::kNotFound, fmt::format("savepoint does not exist: name={}", name));
  }
  if (catalog_ != savepoint->catalog) ++definition_changes_;
  catalog_ = savepoint->catalog;
  loads_.resize(savepoint->loads);
  batch_ = savepoint->batch;  // another one where tables with staged writes were changed since
  batch_->TruncateTo(savepoint->at);
  // What was read since stays in the read set: the caller has seen it and may act on it.
  if (!LAMINA_MUTANT("transaction.rolled_back_writes_read")) own_.reset();
  unapplied_.Clear();
  savepoints_.erase(std::next(savepoint), savepoints_.end());
  return Status::OK();
}

Status TransactionImpl::Release(const std::string& name) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  const auto savepoint = FindSavepoint(name);
  if (savepoint == savepoints_.end()) {
    return MakeError(ErrorCode::kNotFound, fmt::format("savepoint does not exist: name={}", name));
  }
  savepoints_.erase(savepoint, savepoints_.end());
  return Status::OK();
}

Result<CommitResult> TransactionImpl::Commit() {
  ARROW_RETURN_NOT_OK(CheckOpen());
  open_ = false;
  own_.reset();
  savepoints_.clear();
  const engine::DefinitionChanges changes = Changes();
  // Read-only transactions never fail: they saw one snapshot.
  if (batch_->empty() && changes.empty() && loads_.empty()) {
    snapshot_.reset();
    return CommitResult{};
  }
  engine::CommitRequest request;
  request.batch = batch_.get();
  request.definitions = &changes;
  for (const auto& load : loads_) request.loads.push_back(load.get());
  request.snapshot = std::move(snapshot_);
  request.reads = &reads_;
  request.system_time = options_.system_time;
  request.idempotency_key = options_.idempotency_key;
  if (options_.durable) request.sync = SyncPolicy::kAlways;
  const auto committed = engine_->Commit(std::move(request));
  loads_.clear();  // those that were refused delete their files
  ARROW_ASSIGN_OR_RAISE(const auto receipt, committed);
  return CommitResult{receipt.commit, receipt.system, receipt.ack, receipt.replayed};
}

void TransactionImpl::Abort() {
  open_ = false;
  batch_->Clear();
  loads_.clear();
  savepoints_.clear();
  own_.reset();
  unapplied_.Clear();
  snapshot_.reset();
}

}  // namespace lamina::db
