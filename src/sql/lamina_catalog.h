// Our catalogue in DuckDB: schemas, tables and the other objects of a LaminaDB database.
//
// Tables are the database's own; what SQL knows of them beyond LaminaDB (defaults, checks,
// generated columns, comments) and all other objects (schemas, views, macros, types, sequences) are
// rows of the table kObjectTable: key "kind/schema/name", JSON. They are read and written in the
// transaction, so a snapshot sees the definitions of its moment. What sequences count lies apart
// (sequence.h).
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "base/mutex.h"
#include "lamina/database.h"
#include "sql/duckdb_api.h"
#include "sql/plan_guide.h"
#include "sql/sequence.h"
#include "sql/statistics.h"

namespace lamina::sql {

class LaminaSchemaEntry;
class LaminaTableEntry;
class LaminaTransaction;
class PlainFiles;
struct Dependents;

/// The table of objects; not shown.
inline constexpr char kObjectTable[] = "_lamina_objects";
inline constexpr char kMainSchema[] = "main";

/// The database's name of a table: "t", or "schema.t" outside the main schema.
std::string TableName(const std::string& schema, const std::string& table);
/// And back.
std::pair<std::string, std::string> SplitTableName(const std::string& name);

/// Everything that is defined at one moment. Entries live as long as it does.
class CatalogSnapshot {
 public:
  explicit CatalogSnapshot(uint64_t version);
  ~CatalogSnapshot();

  uint64_t version() const { return version_; }
  duckdb::case_insensitive_map_t<duckdb::unique_ptr<LaminaSchemaEntry>>& schemas() {
    return schemas_;
  }
  LaminaSchemaEntry* FindSchema(const std::string& name);
  /// By the database's id; null when there is none.
  LaminaTableEntry* FindTable(uint64_t id) const;
  const Dependents& DependentsOf(uint64_t table) const;
  bool has_triggers() const { return has_triggers_; }
  const PlanGuides& plan_guides() const { return plan_guides_; }

 private:
  friend class LaminaCatalog;

  const uint64_t version_;
  std::map<uint64_t, LaminaTableEntry*> tables_;
  bool has_triggers_ = false;
  PlanGuides plan_guides_;
  duckdb::case_insensitive_map_t<duckdb::unique_ptr<LaminaSchemaEntry>> schemas_;
};

class LaminaCatalog final : public duckdb::Catalog {
 public:
  LaminaCatalog(duckdb::AttachedDatabase& db, Database* database);

  Database* database() const { return database_; }
  const std::shared_ptr<PlainFiles>& plain_files() const { return plain_files_; }
  /// What is defined as the transaction sees it.
  std::shared_ptr<CatalogSnapshot> Load(LaminaTransaction& transaction);
  /// Around a commit that changes objects: meanwhile nobody trusts the snapshot that is kept.
  void BeginDefinitionCommit() { ++definition_commits_; }
  /// `commit`: the newest that may hold the change.
  void EndDefinitionCommit(CommitId commit);

  SequenceCounters& sequences() { return sequences_; }
  StatisticsStore& statistics() { return statistics_; }

  // Objects beside tables. `key` as ObjectKey makes it.
  static std::string ObjectKey(const char* kind, const std::string& schema,
                               const std::string& name);
  void PutObject(duckdb::ClientContext& context, const std::string& key,
                 const nlohmann::json& definition);
  void DeleteObject(duckdb::ClientContext& context, const std::string& key);
  /// As it is in the transaction; throws when there is none.
  nlohmann::json GetObject(duckdb::ClientContext& context, const std::string& key);
  duckdb::LogicalType ParseType(const std::string& text);

  // duckdb::Catalog
  void Initialize(bool load_builtin) override;
  duckdb::string GetCatalogType() override { return "lamina"; }
  duckdb::optional_idx GetCatalogVersion(duckdb::ClientContext& context) override;
  duckdb::optional_ptr<duckdb::CatalogEntry> CreateSchema(duckdb::CatalogTransaction transaction,
                                                          duckdb::CreateSchemaInfo& info) override;
  duckdb::optional_ptr<duckdb::SchemaCatalogEntry> LookupSchema(
      duckdb::CatalogTransaction transaction, const duckdb::EntryLookupInfo& lookup,
      duckdb::OnEntryNotFound if_not_found) override;
  void ScanSchemas(duckdb::ClientContext& context,
                   std::function<void(duckdb::SchemaCatalogEntry&)> callback) override;
  duckdb::PhysicalOperator& PlanCreateTableAs(duckdb::ClientContext& context,
                                              duckdb::PhysicalPlanGenerator& planner,
                                              duckdb::LogicalCreateTable& op,
                                              duckdb::PhysicalOperator& plan) override;
  duckdb::PhysicalOperator& PlanInsert(
      duckdb::ClientContext& context, duckdb::PhysicalPlanGenerator& planner,
      duckdb::LogicalInsert& op, duckdb::optional_ptr<duckdb::PhysicalOperator> plan) override;
  duckdb::PhysicalOperator& PlanDelete(duckdb::ClientContext& context,
                                       duckdb::PhysicalPlanGenerator& planner,
                                       duckdb::LogicalDelete& op,
                                       duckdb::PhysicalOperator& plan) override;
  duckdb::PhysicalOperator& PlanUpdate(duckdb::ClientContext& context,
                                       duckdb::PhysicalPlanGenerator& planner,
                                       duckdb::LogicalUpdate& op,
                                       duckdb::PhysicalOperator& plan) override;
  duckdb::PhysicalOperator& PlanMergeInto(duckdb::ClientContext& context,
                                          duckdb::PhysicalPlanGenerator& planner,
                                          duckdb::LogicalMergeInto& op,
                                          duckdb::PhysicalOperator& plan) override;
  duckdb::unique_ptr<duckdb::LogicalOperator> BindCreateIndex(
      duckdb::Binder& binder, duckdb::CreateStatement& stmt, duckdb::TableCatalogEntry& table,
      duckdb::unique_ptr<duckdb::LogicalOperator> plan) override;
  duckdb::unique_ptr<duckdb::LogicalOperator> BindAlterAddIndex(
      duckdb::Binder& binder, duckdb::TableCatalogEntry& table,
      duckdb::unique_ptr<duckdb::LogicalOperator> plan,
      duckdb::unique_ptr<duckdb::CreateIndexInfo> create_info,
      duckdb::unique_ptr<duckdb::AlterTableInfo> alter_info) override;
  duckdb::DatabaseSize GetDatabaseSize(duckdb::ClientContext& context) override;
  bool SupportsTimeTravel() const override { return true; }
  bool InMemory() override { return false; }
  duckdb::string GetDBPath() override { return ""; }
  void DropSchema(duckdb::ClientContext& context, duckdb::DropInfo& info) override;

 private:
  void EndTypes();
  /// Makes kObjectTable when it is not there.
  void EnsureObjectTable(LaminaTransaction& transaction);

  Database* const database_;
  const std::shared_ptr<PlainFiles> plain_files_;
  SequenceCounters sequences_;
  StatisticsStore statistics_;
  std::atomic<int> definition_commits_{0};    // under way
  std::atomic<uint64_t> objects_changed_{0};  // no later commit changed an object
  base::Mutex mu_;
  std::shared_ptr<CatalogSnapshot> newest_;
  CommitId newest_commit_;  // of the snapshot it was read in
  uint64_t versions_ = 0;
  base::Mutex types_mu_;
  std::unique_ptr<duckdb::Connection> types_;  // asks DuckDB for types, not us; while one loads
  std::atomic<duckdb::ClientContext*> types_context_{nullptr};
};

}  // namespace lamina::sql
