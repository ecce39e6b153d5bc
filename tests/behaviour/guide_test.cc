// The C++ that README.md and docs/guide/cpp.md show, compiled and run as it stands there
// (tools/cpp_snippets.py takes it out). What the pages leave open, like the rows, is declared here.
#include <filesystem>
#include <memory>
#include <string>

#include <arrow/api.h>
#include <gtest/gtest.h>

#include "lamina/database.h"
#include "test_database.h"

namespace lamina::behaviour {
namespace {

namespace fs = std::filesystem;

const std::shared_ptr<arrow::Schema>& PriceSchema() {
  static const auto schema = arrow::schema(
      {arrow::field("sku", arrow::utf8(), false), arrow::field("price", arrow::float64())});
  return schema;
}

std::shared_ptr<arrow::RecordBatch> Price(double price) {
  arrow::DoubleBuilder prices;
  Must(prices.Append(price));
  return arrow::RecordBatch::Make(
      PriceSchema(), 1,
      {ArrayOf<arrow::StringBuilder>(std::vector<std::string>{"A-1"}), Must(prices.Finish())});
}

// The pages open "prices.lamina" where they are.
class GuideTest : public ::testing::Test {
 protected:
  GuideTest() : before_(fs::current_path()) {
    folder_ = fs::temp_directory_path() / ("lamina-guide-" + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    fs::current_path(folder_);
  }
  ~GuideTest() override {
    fs::current_path(before_);
    fs::remove_all(folder_);
  }
  const fs::path before_;
  fs::path folder_;
};

const ValidTime from{0};
const ValidTime to{int64_t{4'000'000'000'000'000}};
const ValidTime march{int64_t{1'740'787'200'000'000}};

arrow::Status Readme(int64_t* rows) {
  const auto& schema = PriceSchema();
  const auto batch = Price(10);
  const auto changed = Price(11);
#include "readme_snippets.inc"
  ARROW_ASSIGN_OR_RAISE(const auto answer, then->ToTable());
  *rows = answer->num_rows();
  EXPECT_EQ(row->num_rows(), 1);
  return arrow::Status::OK();
}

arrow::Status Tour(int64_t* rows, int64_t* versions) {
  const auto& schema = PriceSchema();
  const auto batch = Price(10);
  const auto moments = [](ValidTime moment) {
    arrow::TimestampBuilder builder(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"),
                                    arrow::default_memory_pool());
    Must(builder.Append(moment.micros));
    return Must(builder.Finish());
  };
  const auto froms = moments(march);
  const auto tos = moments(to);
  const auto Changed = [](const std::shared_ptr<arrow::RecordBatch>&) { return Price(12); };
#include "tour_snippets.inc"
  static_cast<void>(done);
  *rows = table->num_rows();
  *versions = life->num_rows();
  return arrow::Status::OK();
}

TEST_F(GuideTest, WhatTheReadmeShowsInCppRuns) {
  int64_t rows = -1;
  const Status status = Readme(&rows);
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(rows, 1);
}

TEST_F(GuideTest, WhatTheTourShowsRuns) {
  int64_t rows = -1, versions = -1;
  const Status status = Tour(&rows, &versions);
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(rows, 1);
  EXPECT_GT(versions, 2);
}

}  // namespace
}  // namespace lamina::behaviour
