#include <algorithm>
#include <unordered_map>

#include <fmt/format.h>

#include "base/mutant.h"
#include "base/scope_guard.h"
#include "catalog/system_tables.h"
#include "db/transaction_impl.h"
#include "db/write_internal.h"

namespace lamina::db {
namespace {

// What staged facts look like to the transaction's own reads: learned just after the snapshot.
CommitId PendingCommit(const engine::Snapshot& snapshot) { return {snapshot.commit().value + 1}; }
SystemTime PendingSystem(const engine::Snapshot& snapshot) {
  return {snapshot.system().micros + 1};
}

}  // namespace

TransactionImpl::TransactionImpl(engine::Engine* engine, TransactionOptions options,
                                 engine::SnapshotPtr snapshot)
    : engine_(engine),
      options_(std::move(options)),
      snapshot_(std::move(snapshot)),
      public_snapshot_(std::make_shared<SnapshotImpl>(snapshot_)) {}

TransactionImpl::~TransactionImpl() { Abort(); }

Status TransactionImpl::CheckOpen() const {
  if (open_) return Status::OK();
  return MakeError(ErrorCode::kInvalidArgument, "transaction has ended", "begin a new one");
}

template <typename Add>
Status TransactionImpl::StageIn(Add&& add) {
  const auto before = batch_.mark();
  base::ScopeGuard undo([&] { batch_.TruncateTo(before); });
  ARROW_RETURN_NOT_OK(add(&batch_));
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
  if (batch_.empty()) return context;
  if (own_ == nullptr) {
    auto own = engine::Memtable::Make();
    ARROW_RETURN_NOT_OK(own->Apply(batch_, PendingCommit(*snapshot_), PendingSystem(*snapshot_)));
    own_ = std::move(own);
    unapplied_.Clear();
  } else if (!unapplied_.empty()) {
    ARROW_RETURN_NOT_OK(
        own_->Apply(unapplied_, PendingCommit(*snapshot_), PendingSystem(*snapshot_)));
    unapplied_.Clear();
  }
  context.newest = PendingSystem(*snapshot_);
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
  ARROW_ASSIGN_OR_RAISE(const auto schema, FindTable(*snapshot_, table));
  ARROW_ASSIGN_OR_RAISE(auto write, PrepareRows(engine_, schema, rows, options));
  return Stage(std::move(write));
}

Status TransactionImpl::Insert(const std::string& table,
                               const std::shared_ptr<arrow::RecordBatch>& rows,
                               const WriteOptions& options) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto schema, FindTable(*snapshot_, table));
  if (options.deletes != nullptr) {
    return MakeError(ErrorCode::kInvalidArgument, "an insert cannot delete",
                     "use Put for mixed batches");
  }
  ARROW_ASSIGN_OR_RAISE(auto write, PrepareRows(engine_, schema, rows, options));
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
  ARROW_ASSIGN_OR_RAISE(const auto schema, FindTable(*snapshot_, table));
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
  ARROW_ASSIGN_OR_RAISE(const auto schema, FindTable(*snapshot_, table));
  ARROW_ASSIGN_OR_RAISE(const auto encoded, EncodeKey(*schema, key));
  ARROW_ASSIGN_OR_RAISE(const auto context, Context());
  ARROW_ASSIGN_OR_RAISE(const auto window, ResolveWindow(context, schema->id, system, valid));
  NoteKey(schema->id, encoded, context, window);
  return RunGet(context, schema, encoded, window, columns);
}

Result<std::shared_ptr<ScanReader>> TransactionImpl::Scan(const std::string& table,
                                                          const ScanOptions& options) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  ARROW_ASSIGN_OR_RAISE(const auto schema, FindTable(*snapshot_, table));
  ARROW_ASSIGN_OR_RAISE(const auto context, Context());
  ARROW_ASSIGN_OR_RAISE(auto scan, PrepareScan(context, schema, options));
  NoteRange(schema->id, scan.range, context, scan.spec.window);
  return RunScan(context, std::move(scan));
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

Status TransactionImpl::Savepoint(const std::string& name) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  if (name.empty()) return MakeError(ErrorCode::kInvalidArgument, "savepoint has no name");
  savepoints_.emplace_back(name, batch_.mark());
  return Status::OK();
}

std::vector<std::pair<std::string, engine::WriteBatch::Mark>>::iterator
TransactionImpl::FindSavepoint(const std::string& name) {
  const auto found = std::find_if(savepoints_.rbegin(), savepoints_.rend(),
                                  [&](const auto& s) { return s.first == name; });
  return found == savepoints_.rend() ? savepoints_.end() : std::prev(found.base());
}

Status TransactionImpl::RollbackTo(const std::string& name) {
  ARROW_RETURN_NOT_OK(CheckOpen());
  const auto savepoint = FindSavepoint(name);
  if (savepoint == savepoints_.end()) {
    return MakeError(ErrorCode::kNotFound, fmt::format("savepoint does not exist: name={}", name));
  }
  batch_.TruncateTo(savepoint->second);
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
  // Read-only transactions never fail: they saw one snapshot.
  if (batch_.empty()) {
    snapshot_.reset();
    return CommitResult{};
  }
  engine::CommitRequest request;
  request.batch = &batch_;
  request.snapshot = std::move(snapshot_);
  request.reads = &reads_;
  request.system_time = options_.system_time;
  request.idempotency_key = options_.idempotency_key;
  if (options_.durable) request.sync = SyncPolicy::kAlways;
  ARROW_ASSIGN_OR_RAISE(const auto receipt, engine_->Commit(std::move(request)));
  return CommitResult{receipt.commit, receipt.system, receipt.ack, receipt.replayed};
}

void TransactionImpl::Abort() {
  open_ = false;
  batch_.Clear();
  own_.reset();
  unapplied_.Clear();
  snapshot_.reset();
}

}  // namespace lamina::db
