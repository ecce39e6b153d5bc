// What a user may type behind `lamina scan` and `lamina get`: two conditions, a key prefix, a key,
// and the two moments, one a line. Rows or one error.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cli/commands.h"
#include <arrow/api.h>

#include "base/check.h"
#include "testing/fuzz_target.h"

namespace {

using namespace lamina;  // NOLINT(google-build-using-namespace)

Database* Sample() {
  static const std::unique_ptr<Database> db = [] {
    auto made = Database::OpenInMemory().ValueOrDie();
    arrow::StringBuilder kind;
    arrow::Int64Builder id;
    arrow::DoubleBuilder price;
    Status status;
    for (int64_t i = 0; i < 20; ++i) {
      status &= kind.Append(i % 2 == 0 ? "even" : "odd");
      status &= id.Append(i);
      status &= i % 5 == 0 ? price.AppendNull() : price.Append(static_cast<double>(i) / 4);
    }
    const auto schema = arrow::schema({arrow::field("kind", arrow::utf8(), false),
                                       arrow::field("id", arrow::int64(), false),
                                       arrow::field("price", arrow::float64())});
    status &= made->CreateTable("t", schema, {.names = {"kind", "id"}});
    status &= made->Put("t", arrow::RecordBatch::Make(
                                 schema, 20,
                                 {kind.Finish().ValueOrDie(), id.Finish().ValueOrDie(),
                                  price.Finish().ValueOrDie()}))
                  .status();
    status &= made->Flush();
    LAMINA_CHECK_MSG(status.ok(), status.ToString());
    return made;
  }();
  return db.get();
}

}  // namespace

LAMINA_FUZZ_TARGET(scan_command_fuzz)(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const auto line = [&] {
    const size_t end = rest.find('\n');
    std::string text(rest.substr(0, end));
    rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
    return text;
  };
  cli::ScanCommand scan;
  scan.table = "t";
  for (int i = 0; i < 2; ++i) {
    if (const std::string condition = line(); !condition.empty()) scan.where.push_back(condition);
  }
  scan.prefix = line();
  const std::string key = line();
  scan.moment.as_of = line();
  scan.moment.valid_at = line();
  for (const Status& status : {cli::RunScan(Sample(), scan, /*json=*/true),
                               cli::RunGet(Sample(), "t", key, scan.moment, /*json=*/true)}) {
    LAMINA_CHECK_MSG(status.ok() || CodeOf(status) != ErrorCode::kInternal, status.ToString());
  }
  return 0;
}
