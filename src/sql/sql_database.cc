#include "sql/sql_database.h"

#include <utility>

#include "sql/error_translation.h"

namespace lamina {
namespace sql {
namespace {

class SqlDatabaseImpl final : public SqlDatabase,
                              public std::enable_shared_from_this<SqlDatabaseImpl> {
 public:
  explicit SqlDatabaseImpl(std::shared_ptr<Database> database) : database_(std::move(database)) {}

  Status Init() {
    return AtDuckDBBorder("", 0, [&]() -> Status {
      instance_ = MakeInstance(database_.get());
      return Status::OK();
    });
  }

  Result<std::unique_ptr<Connection>> Connect() override {
    return MakeConnection(shared_from_this(), instance_.get());
  }
  Database& database() override { return *database_; }

 private:
  // In this order: the instance uses the database.
  std::shared_ptr<Database> database_;
  std::unique_ptr<duckdb::DuckDB> instance_;
};

}  // namespace
}  // namespace sql

Result<std::shared_ptr<SqlDatabase>> SqlDatabase::Open(const std::string& path,
                                                       DatabaseOptions options) {
  const bool in_memory = path.empty() || path == ":memory:";
  ARROW_ASSIGN_OR_RAISE(auto database, in_memory ? Database::OpenInMemory(std::move(options))
                                                 : Database::Open(path, std::move(options)));
  return Over(std::move(database));
}

Result<std::shared_ptr<SqlDatabase>> SqlDatabase::Over(std::shared_ptr<Database> database) {
  auto out = std::make_shared<sql::SqlDatabaseImpl>(std::move(database));
  ARROW_RETURN_NOT_OK(out->Init());
  return out;
}

}  // namespace lamina
