#include "sql/transaction.h"

#include <utility>

#include "sql/commit_notes.h"
#include "sql/dependents.h"
#include "sql/error_translation.h"
#include "sql/lamina_catalog.h"
#include "sql/schema_entry.h"
#include "sql/session_state.h"

namespace lamina::sql {

LaminaTransaction::LaminaTransaction(duckdb::TransactionManager& manager,
                                     duckdb::ClientContext& context, LaminaCatalog& catalog)
    : Transaction(manager, context), catalog_(catalog), database_(catalog.database()) {
  const auto state = SessionState::Find(context);
  if (state != nullptr) outer_ = state->outer;
}

LaminaTransaction::~LaminaTransaction() = default;

LaminaTransaction& LaminaTransaction::Get(duckdb::ClientContext& context,
                                          duckdb::Catalog& catalog) {
  return duckdb::Transaction::Get(context, catalog).Cast<LaminaTransaction>();
}

db::Session& LaminaTransaction::data() {
  if (outer_ != nullptr) return outer_->data();
  const Lock lock(*this);
  if (data_ == nullptr) {
    TransactionOptions options;
    // DuckDB asks catalogues on connections of its own, too.
    if (const auto client = context.lock()) {
      const auto state = client->registered_state->Get<SessionState>(SessionState::kKey);
      if (state != nullptr) options = state->transaction_options;
    }
    data_ = ValueOrThrow(db::BeginSession(*database_, std::move(options)));
    data_->WriteAs(kSqlWriter);
  }
  return *data_;
}

CatalogSnapshot& LaminaTransaction::definitions() {
  if (outer_ != nullptr) return outer_->definitions();
  const Lock lock(*this);
  if (definitions_ == nullptr) definitions_ = catalog_.Load(*this);
  return *definitions_;
}

void LaminaTransaction::DefinitionsChanged() {
  if (outer_ != nullptr) return outer_->DefinitionsChanged();
  const Lock lock(*this);
  changed_definitions_ = true;
  if (definitions_ != nullptr) former_.push_back(std::move(definitions_));
  definitions_ = nullptr;
}

duckdb::CatalogEntry& LaminaTransaction::Keep(duckdb::unique_ptr<duckdb::CatalogEntry> entry) {
  const Lock lock(*this);
  return *kept_.emplace_back(std::move(entry));
}

Result<CommitResult> LaminaTransaction::Commit() {
  if (data_ == nullptr || (data_->pending_facts() == 0 && !changed_definitions_)) {
    data_ = nullptr;
    return CommitResult{};
  }
  Status status = WriteCreatedSequences();
  if (const auto client = context.lock(); status.ok() && client != nullptr)
    status = WriteCommitNote(*client, *data_);
  if (!status.ok()) {
    data_ = nullptr;
    return status;
  }
  Result<CommitResult> result = data_->Commit();
  data_ = nullptr;
  return result;
}

void LaminaTransaction::Rollback() { data_ = nullptr; }

duckdb::Transaction& LaminaTransactionManager::StartTransaction(duckdb::ClientContext& context) {
  auto transaction = duckdb::make_uniq<LaminaTransaction>(*this, context, catalog_);
  LaminaTransaction& out = *transaction;
  base::MutexLock lock(&mu_);
  open_[out] = std::move(transaction);
  return out;
}

duckdb::ErrorData LaminaTransactionManager::CommitTransaction(duckdb::ClientContext& context,
                                                              duckdb::Transaction& transaction) {
  auto& ours = transaction.Cast<LaminaTransaction>();
  const bool changed = ours.has_changed_definitions();
  if (changed) catalog_.BeginDefinitionCommit();
  const Result<CommitResult> result = ours.Commit();
  if (changed) {
    catalog_.EndDefinitionCommit(result.ok() ? result->commit
                                             : catalog_.database()->newest_commit());
  }
  Forget(transaction);
  const auto state = context.registered_state->Get<SessionState>(SessionState::kKey);
  if (result.ok()) {
    if (state != nullptr && result->commit.value != 0) state->commit = *result;
    return {};
  }
  if (state != nullptr) state->commit_error = result.status();
  return ToDuckDB(result.status());
}

void LaminaTransactionManager::RollbackTransaction(duckdb::Transaction& transaction) {
  transaction.Cast<LaminaTransaction>().Rollback();
  Forget(transaction);
}

void LaminaTransactionManager::Checkpoint(duckdb::ClientContext&, bool) {
  ThrowIfError(catalog_.database()->Flush());
}

void LaminaTransactionManager::Forget(duckdb::Transaction& transaction) {
  duckdb::unique_ptr<LaminaTransaction> ended;  // its end may take long: not under the lock
  base::MutexLock lock(&mu_);
  const auto it = open_.find(transaction);
  if (it == open_.end()) return;
  ended = std::move(it->second);
  open_.erase(it);
  lock.Unlock();
}

}  // namespace lamina::sql
