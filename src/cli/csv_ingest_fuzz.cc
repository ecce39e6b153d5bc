// A CSV file of any bytes, ingested under options that the first byte chooses: rows or one error,
// and a sound database either way.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

#include "cli/commands.h"
#include <arrow/api.h>
#include <fmt/format.h>

#include "base/check.h"
#include "testing/fuzz_target.h"

namespace {

const std::string& Path() {
  static const std::string path =
      (std::filesystem::temp_directory_path() / fmt::format("lamina-fuzz-{}.csv", getpid()))
          .string();
  return path;
}

}  // namespace

LAMINA_FUZZ_TARGET(csv_ingest_fuzz)(const uint8_t* data, size_t size) {
  using namespace lamina;  // NOLINT(google-build-using-namespace)
  if (size == 0) return 0;
  {
    std::ofstream file(Path(), std::ios::binary);
    file.write(reinterpret_cast<const char*>(data) + 1, static_cast<std::streamsize>(size - 1));
  }
  DatabaseOptions options;
  options.background_threads = 1;
  auto db = Database::OpenInMemory(options).ValueOrDie();
  cli::IngestOptions ingest;
  ingest.table = "t";
  ingest.file = Path();
  if ((data[0] & 1) != 0) {
    const auto schema = arrow::schema({arrow::field("id", arrow::int64(), false),
                                       arrow::field("text", arrow::utf8()),
                                       arrow::field("price", arrow::decimal128(9, 2))});
    LAMINA_CHECK(db->CreateTable("t", schema, {.names = {"id"}}).ok());
  } else if ((data[0] & 2) != 0) {
    ingest.no_key = true;
  } else {
    ingest.key = {"id"};
  }
  if ((data[0] & 4) != 0) ingest.valid_from = "from";
  if ((data[0] & 8) != 0) ingest.valid_to = "to";
  if ((data[0] & 16) != 0) ingest.null_text = "NA";
  const Status status = cli::IngestInto(db.get(), ingest, /*json=*/true);
  LAMINA_CHECK_MSG(status.ok() || CodeOf(status) != ErrorCode::kInternal, status.ToString());
  LAMINA_CHECK(db->Check().ValueOrDie().empty());
  std::filesystem::remove(Path());
  return 0;
}
