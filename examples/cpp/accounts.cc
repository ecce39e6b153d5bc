// SQL from C++: accounts, and a transfer in a transaction that is run again when another commit
// was first.
#include <filesystem>
#include <iostream>

#include "lamina/connection.h"

namespace {

using lamina::Connection;
using lamina::Result;
using lamina::Status;

/// All of it or nothing; OK when it is durable.
Status Transfer(Connection& connection, int from, int to, const std::string& amount) {
  const auto money = lamina::SqlValue::Typed("DECIMAL(12,2)", amount);
  for (;;) {
    const auto run = [&]() -> Status {
      ARROW_RETURN_NOT_OK(connection.Execute("BEGIN").status());
      ARROW_RETURN_NOT_OK(
          connection
              .Execute("UPDATE accounts SET balance = balance - $2 WHERE id = $1", {from, money})
              .status());
      ARROW_RETURN_NOT_OK(
          connection
              .Execute("UPDATE accounts SET balance = balance + $2 WHERE id = $1", {to, money})
              .status());
      return connection.Execute("COMMIT").status();
    };
    Status status = run();
    if (status.ok()) return status;
    if (connection.transaction_state() != lamina::SqlTransactionState::kIdle)
      ARROW_RETURN_NOT_OK(connection.Execute("ROLLBACK").status());
    const lamina::SqlError* error = lamina::SqlErrorOf(status);
    if (error == nullptr || error->sqlstate != "40001") return status;
  }
}

Status Print(Connection& connection, const std::string& sql) {
  ARROW_ASSIGN_OR_RAISE(const auto rows, connection.Execute(sql));
  for (;;) {
    ARROW_ASSIGN_OR_RAISE(const bool more, rows->NextRow());
    if (!more) return Status::OK();
    for (size_t i = 0; i < rows->columns().size(); ++i)
      std::cout << rows->columns()[i].name << '=' << rows->Text(static_cast<int>(i)) << ' ';
    std::cout << '\n';
  }
}

Status Run(const std::string& directory) {
  ARROW_ASSIGN_OR_RAISE(const auto sql, lamina::SqlDatabase::Open(directory));
  ARROW_ASSIGN_OR_RAISE(const auto connection, sql->Connect());
  ARROW_RETURN_NOT_OK(
      connection
          ->Execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner VARCHAR NOT NULL,"
                    " balance DECIMAL(12,2) NOT NULL CHECK (balance >= 0));"
                    "INSERT INTO accounts VALUES (1, 'Ada', 100), (2, 'Grace', 20)")
          .status());

  ARROW_RETURN_NOT_OK(Transfer(*connection, 1, 2, "30.00"));
  ARROW_RETURN_NOT_OK(Print(*connection, "SELECT * FROM accounts ORDER BY id"));

  // More than there is: the CHECK refuses it, and nothing has changed.
  const Status refused = Transfer(*connection, 2, 1, "500.00");
  std::cout << "refused: " << lamina::SqlErrorOf(refused)->code << '\n';

  // A statement that is run often is prepared once. Parameters are never part of the text.
  ARROW_ASSIGN_OR_RAISE(const auto find,
                        connection->Prepare("SELECT balance FROM accounts WHERE owner = $1"));
  ARROW_ASSIGN_OR_RAISE(const auto rows, find->Execute({"Grace"}));
  ARROW_ASSIGN_OR_RAISE(const bool there, rows->NextRow());
  if (there) std::cout << "Grace has " << rows->Text(0) << '\n';
  return Status::OK();
}

}  // namespace

int main() {
  const auto directory = std::filesystem::temp_directory_path() / "lamina-example-accounts";
  std::filesystem::remove_all(directory);
  const Status status = Run(directory.string());
  std::filesystem::remove_all(directory);
  if (!status.ok()) {
    std::cerr << status.ToString() << '\n';
    return 1;
  }
  return 0;
}
