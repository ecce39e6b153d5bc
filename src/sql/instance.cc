// How DuckDB is set up: nothing is fetched or loaded by itself, and our database is the main one.
#include <duckdb/parser/parsed_data/attach_info.hpp>

#include "sql/duckdb_api.h"
#include "sql/error_translation.h"
#include "sql/functions/functions.h"
#include "sql/lamina_catalog.h"
#include "sql/plain_files.h"
#include "sql/settings.h"
#include "sql/sql_database.h"
#include "sql/strict_mode.h"
#include "sql/transaction.h"

namespace lamina::sql {
namespace {

struct StorageInfo final : public duckdb::StorageExtensionInfo {
  explicit StorageInfo(Database* of) : database(of) {}
  Database* const database;
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

std::unique_ptr<duckdb::DuckDB> MakeInstance(Database* database, const std::string& spill_folder) {
  if (std::string_view(duckdb::DuckDB::SourceID()) != "069cc9f9b5") {
    throw duckdb::InvalidInputException(
        "libduckdb is not the one that the headers are of: source %s", duckdb::DuckDB::SourceID());
  }
  duckdb::DBConfig config;
  config.SetOptionByName("autoinstall_known_extensions", duckdb::Value::BOOLEAN(false));
  config.SetOptionByName("autoload_known_extensions", duckdb::Value::BOOLEAN(false));
  config.SetOptionByName("errors_as_json",
                         duckdb::Value::BOOLEAN(true));  // see error_translation.cc
  config.SetOptionByName("temp_directory", duckdb::Value(spill_folder));
  RegisterSettings(config);
  RegisterStrictMode(config);
  auto extension = duckdb::make_shared_ptr<duckdb::StorageExtension>();
  extension->attach = Attach;
  extension->create_transaction_manager = MakeTransactionManager;
  extension->storage_info = duckdb::make_shared_ptr<StorageInfo>(database);
  duckdb::StorageExtension::Register(config, kCatalogName, std::move(extension));
  // DuckDB ends a database that outlives main() with a double free: so must nobody.
  config.options.database_type = kCatalogName;
  auto instance = std::make_unique<duckdb::DuckDB>(kCatalogName, &config);
  // Our own files are part of the database: enable_external_access does not lock them.
  auto& settings = duckdb::DBConfig::GetConfig(*instance->instance);
  settings.AddAllowedDirectory(PlainFiles::kScheme);
  settings.SetOptionByName("parquet_metadata_cache", duckdb::Value::BOOLEAN(true));
  RegisterFunctions(*instance->instance);
  return instance;
}

}  // namespace lamina::sql
