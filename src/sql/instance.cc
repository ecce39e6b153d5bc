// How DuckDB is set up: nothing is fetched or loaded by itself, and our database is the main one.
#include "sql/duckdb_api.h"
#include "sql/error_translation.h"
#include "sql/sql_database.h"

namespace lamina::sql {

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
  (void)database;
  auto instance = std::make_unique<duckdb::DuckDB>(nullptr, &config);
  return instance;
}

}  // namespace lamina::sql
