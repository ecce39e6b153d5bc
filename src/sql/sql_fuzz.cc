// Any bytes as SQL: an answer, or an error with a code of the table and a place inside the text;
// and statements are cut inside the text. A database each time, as DuckDB's must not outlive
// main().
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "lamina/connection.h"
#include "sql/error_codes.h"
#include "sql/lexer.h"
#include "testing/fuzz_target.h"

namespace {

using namespace lamina;  // NOLINT(google-build-using-namespace)

// A text longer than this finds nothing that a shorter one would not.
constexpr size_t kBytesMax = 4096;
// Of a result, so that range(1e12) ends.
constexpr int kBatchesMax = 4;

void CheckSpans(std::string_view sql) {
  size_t at = 0;
  for (const sql::StatementSpan& span : sql::SplitStatements(sql)) {
    LAMINA_CHECK(at <= span.begin && span.begin < span.end && span.end <= sql.size());
    for (const sql::Token& token : span.tokens) {
      LAMINA_CHECK(at <= token.begin && token.begin < token.end && token.end <= span.end);
      at = token.end;
    }
    at = span.end;
  }
}

void CheckError(const Status& status, std::string_view sql) {
  const SqlError* error = SqlErrorOf(status);
  LAMINA_CHECK(error != nullptr);
  LAMINA_CHECK(sql::FindErrorCode(error->code).sqlstate == error->sqlstate);
  LAMINA_CHECK(!error->position || *error->position <= sql.size());
}

}  // namespace

LAMINA_FUZZ_TARGET(sql_fuzz)(const uint8_t* data, size_t size) {
  if (size > kBytesMax) return 0;
  const std::string_view sql(reinterpret_cast<const char*>(data), size);
  CheckSpans(sql);
  const auto database = SqlDatabase::Open("").ValueOrDie();
  const auto connection = database->Connect().ValueOrDie();
  // No files, and no way back to them.
  for (const char* setting :
       {"SET enable_external_access = false", "SET threads = 1", "SET lock_configuration = true",
        "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR)", "INSERT INTO t VALUES (1, 'a')"})
    LAMINA_CHECK(connection->Execute(setting).ok());
  int reports = 0;
  connection->SetProgressCallback([&](const SqlProgress&) { return ++reports < 5; });
  (void)connection->IsIncomplete(sql);
  auto result = connection->Execute(sql);
  if (!result.ok()) {
    CheckError(result.status(), sql);
    return 0;
  }
  for (int i = 0; i < kBatchesMax; ++i) {
    const auto batch = (*result)->NextBatch();
    if (!batch.ok()) {
      CheckError(batch.status(), sql);
      break;
    }
    if (*batch == nullptr) break;
  }
  return 0;
}
