// A transaction of DuckDB over ours: one of LaminaDB and the catalogue as it sees it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/recursive_mutex.h"
#include "db/session.h"
#include "lamina/database.h"
#include "sql/duckdb_api.h"
#include "sql/sequence.h"
#include "sql/trigger_events.h"

namespace lamina::sql {

class CatalogSnapshot;
class LaminaCatalog;

class LaminaTransaction final : public duckdb::Transaction {
 public:
  LaminaTransaction(duckdb::TransactionManager& manager, duckdb::ClientContext& context,
                    LaminaCatalog& catalog);
  ~LaminaTransaction() override;

  static LaminaTransaction& Get(duckdb::ClientContext& context, duckdb::Catalog& catalog);

  /// Begun at the first call. Throws. Used under a Lock by what may run beside other operators.
  db::Session& data();
  /// Serializes what the threads of one statement do with data() and definitions(). A thread may
  /// hold several: a definition that is made asks DuckDB to bind, which asks the catalogue.
  class Lock {
   public:
    explicit Lock(LaminaTransaction& transaction) : held_(&transaction.mu()) {}

   private:
    const base::RecursiveLock held_;
  };
  /// What is defined, as this transaction sees it. Stays alive as long as the transaction.
  CatalogSnapshot& definitions();
  /// After a change of a definition, or a return to a savepoint.
  void DefinitionsChanged();

  /// Positions of sequences that this transaction has made, by id. Under a Lock.
  std::map<std::string, SequencePosition>& created_sequences() {
    return outer_ != nullptr ? outer_->created_sequences() : created_sequences_;
  }
  /// Keeps an entry that a lookup made as long as plans may point to it.
  duckdb::CatalogEntry& Keep(duckdb::unique_ptr<duckdb::CatalogEntry> entry);
  /// What the statement under way has changed. Under a Lock.
  StatementEvents& events() { return events_; }

  Result<CommitResult> Commit();
  void Rollback();
  bool has_changed_definitions() const { return changed_definitions_; }

 private:
  base::RecursiveMutex& mu() { return outer_ != nullptr ? outer_->mu() : mu_; }
  Status WriteCreatedSequences();

  LaminaCatalog& catalog_;
  Database* const database_;
  /// For the statements of triggers: the transaction that is theirs, too. It alone commits.
  LaminaTransaction* outer_ = nullptr;
  StatementEvents events_;
  base::RecursiveMutex mu_;
  std::map<std::string, SequencePosition> created_sequences_;
  std::unique_ptr<db::Session> data_;
  std::shared_ptr<CatalogSnapshot> definitions_;
  /// Plans of this transaction may still point into them.
  std::vector<std::shared_ptr<CatalogSnapshot>> former_;
  std::vector<duckdb::unique_ptr<duckdb::CatalogEntry>> kept_;
  bool changed_definitions_ = false;
};

class LaminaTransactionManager final : public duckdb::TransactionManager {
 public:
  LaminaTransactionManager(duckdb::AttachedDatabase& db, LaminaCatalog& catalog)
      : TransactionManager(db), catalog_(catalog) {}

  duckdb::Transaction& StartTransaction(duckdb::ClientContext& context) override;
  duckdb::ErrorData CommitTransaction(duckdb::ClientContext& context,
                                      duckdb::Transaction& transaction) override;
  void RollbackTransaction(duckdb::Transaction& transaction) override;
  void Checkpoint(duckdb::ClientContext& context, bool force) override;

 private:
  void Forget(duckdb::Transaction& transaction);

  LaminaCatalog& catalog_;
  base::Mutex mu_;
  duckdb::reference_map_t<duckdb::Transaction, duckdb::unique_ptr<LaminaTransaction>> open_;
};

}  // namespace lamina::sql
