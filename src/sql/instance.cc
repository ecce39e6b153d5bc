// How DuckDB is set up: nothing is fetched or loaded by itself, and our database is the main one.
#include <duckdb/main/extension_callback_manager.hpp>
#include <duckdb/parser/parsed_data/attach_info.hpp>

#include "sql/direct_path.h"
#include "sql/duckdb_api.h"
#include "sql/error_translation.h"
#include "sql/functions/functions.h"
#include "sql/instance_resources.h"
#include "sql/lamina_catalog.h"
#include "sql/late_columns.h"
#include "sql/plain_files.h"
#include "sql/plan_guide.h"
#include "sql/settings.h"
#include "sql/sql_database.h"
#include "sql/strict_mode.h"
#include "sql/transaction.h"

namespace lamina::sql {
namespace {

struct StorageInfo final : public duckdb::StorageExtensionInfo {
  explicit StorageInfo(Database* of) : database(of) {}
  Database* const database;
  InstanceResources resources;
};

duckdb::unique_ptr<duckdb::Catalog> Attach(duckdb::optional_ptr<duckdb::StorageExtensionInfo> info,
                                           duckdb::ClientContext&, duckdb::AttachedDatabase& db,
                                           const duckdb::string&, duckdb::AttachInfo&,
                                           duckdb::AttachOptions&) {
  return duckdb::make_uniq<LaminaCatalog>(db, static_cast<StorageInfo&>(*info).database);
}

duckdb::unique_ptr<duckdb::TransactionManager> MakeTransactionManager(
    duckdb::optional_ptr<duckdb::StorageExtensionInfo>, duckdb::AttachedDatabase& db,
    duckdb::Catalog& catalog) {
  return duckdb::make_uniq<LaminaTransactionManager>(db, catalog.Cast<LaminaCatalog>());
}

}  // namespace

InstanceResources& InstanceResources::Of(duckdb::DatabaseInstance& instance) {
  const auto extension =
      duckdb::DBConfig::GetConfig(instance).GetCallbackManager().FindStorageExtension(kCatalogName);
  return static_cast<StorageInfo&>(*extension->storage_info).resources;
}

std::unique_ptr<duckdb::DuckDB> MakeInstance(Database* database) {
  if (std::string_view(duckdb::DuckDB::SourceID()) != "069cc9f9b5") {
    throw duckdb::InvalidInputException(
        "libduckdb is not the one that the headers are of: source %s", duckdb::DuckDB::SourceID());
  }
  duckdb::DBConfig config;
  config.SetOptionByName("autoinstall_known_extensions", duckdb::Value::BOOLEAN(false));
  config.SetOptionByName("autoload_known_extensions", duckdb::Value::BOOLEAN(false));
  config.SetOptionByName("errors_as_json",
                         duckdb::Value::BOOLEAN(true));  // see error_translation.cc
  // DuckDB's own would lie open in the user's home.
  config.SetOptionByName("allow_persistent_secrets", duckdb::Value::BOOLEAN(false));
  auto info = duckdb::make_shared_ptr<StorageInfo>(database);
  // Where none can be made, what does not fit in memory fails.
  config.options.temporary_directory = info->resources.spill.Make("").ValueOr("");
  RegisterStrictMode(config);
  RegisterPlanGuides(config);
  RegisterLateColumns(config);
  auto extension = duckdb::make_shared_ptr<duckdb::StorageExtension>();
  extension->attach = Attach;
  extension->create_transaction_manager = MakeTransactionManager;
  extension->storage_info = std::move(info);
  duckdb::StorageExtension::Register(config, kCatalogName, std::move(extension));
  // DuckDB ends a database that outlives main() with a double free: so must nobody.
  config.options.database_type = kCatalogName;
  auto instance = std::make_unique<duckdb::DuckDB>(kCatalogName, &config);
  // Our own files are part of the database: enable_external_access does not lock them.
  auto& settings = duckdb::DBConfig::GetConfig(*instance->instance);
  settings.AddAllowedDirectory(PlainFiles::kScheme);
  settings.SetOptionByName("parquet_metadata_cache", duckdb::Value::BOOLEAN(true));
  RegisterSettings(*instance->instance);
  RegisterDirectPath(*instance->instance);
  RegisterFunctions(*instance->instance);
  return instance;
}

}  // namespace lamina::sql
