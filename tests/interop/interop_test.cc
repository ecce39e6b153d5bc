// Every Parquet file read by pyarrow equals our own scan, after applying the deletion vectors by
// the rule in docs/format/.
//
// read_files.py reads the files that `lamina inspect files --json` names and compares with `lamina
// scan --json`, at several moments.
#include <cstdlib>
#include <filesystem>
#include <unistd.h>

#include <arrow/builder.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "lamina/database.h"

namespace lamina {
namespace {

std::shared_ptr<arrow::RecordBatch> Row(int64_t id, const std::string& note, double price) {
  arrow::Int64Builder ids;
  arrow::StringBuilder kind, notes;
  arrow::DoubleBuilder prices;
  EXPECT_TRUE(ids.Append(id).ok() && kind.Append(id % 2 == 0 ? "even" : "odd").ok() &&
              notes.Append(note).ok() && prices.Append(price).ok());
  const auto schema = arrow::schema(
      {arrow::field("kind", arrow::utf8(), false), arrow::field("id", arrow::int64(), false),
       arrow::field("note", arrow::utf8()), arrow::field("price", arrow::float64())});
  return arrow::RecordBatch::Make(schema, 1,
                                  {kind.Finish().ValueOrDie(), ids.Finish().ValueOrDie(),
                                   notes.Finish().ValueOrDie(), prices.Finish().ValueOrDie()});
}

class InteropTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        (std::filesystem::temp_directory_path() / fmt::format("lamina-interop-{}", getpid()))
            .string();
    std::filesystem::remove_all(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  /// A random history of `commits` over 40 keys with validities, flushed in parts.
  void Fill(bool compact) {
    DatabaseOptions options;
    options.auto_compact = false;
    options.rows_per_page = 8;
    options.rows_per_row_group = 32;
    auto db = Database::Open(directory_, options).ValueOrDie();
    base::Random random(11);
    ASSERT_TRUE(db->CreateTable("t", Row(0, "", 0)->schema(), {.names = {"kind", "id"}}).ok());
    for (int i = 0; i < 400; ++i) {
      const auto id = static_cast<int64_t>(random.Uniform(40));
      const auto from = static_cast<int64_t>(random.Uniform(20));
      WriteOptions write;
      if (!random.OneIn(3))
        write.valid = {{from}, {from + 1 + static_cast<int64_t>(random.Uniform(10))}};
      const auto row = Row(id, fmt::format("note {}", i), i / 4.0);
      ASSERT_TRUE((random.OneIn(5) ? db->Delete("t", row, write) : db->Put("t", row, write)).ok());
      if (i % 60 == 59) {
        ASSERT_TRUE(db->Flush().ok());
      }
    }
    ASSERT_TRUE(db->Flush().ok());
    if (compact) {
      ASSERT_TRUE(db->Compact().ok());
    }
    ASSERT_TRUE(db->Close().ok());
  }

  void ComparedByPyarrow() {
    const char* python = std::getenv("LAMINA_PYTHON");
    const char* cli = std::getenv("LAMINA_CLI");
    const char* source = std::getenv("LAMINA_SOURCE");
    ASSERT_TRUE(python != nullptr && cli != nullptr && source != nullptr)
        << "run through ctest, which names them";
    const auto script = std::filesystem::path(source) / "tests/interop/read_files.py";
    const auto command =
        fmt::format("'{}' '{}' '{}' '{}'", python, script.string(), cli, directory_);
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
  }

  std::string directory_;
};

TEST_F(InteropTest, FilesWithDeletionVectorsReadByPyarrowEqualOurScan) {
  Fill(/*compact=*/false);
  ComparedByPyarrow();
}

TEST_F(InteropTest, CompactedFilesReadByPyarrowEqualOurScan) {
  Fill(/*compact=*/true);
  ComparedByPyarrow();
}

}  // namespace
}  // namespace lamina
