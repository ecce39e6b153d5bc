// Prices with two times: a correction made later does not change what we knew before.
#include <filesystem>
#include <iostream>

#include <arrow/api.h>

#include "lamina/database.h"

namespace {

arrow::Result<std::shared_ptr<arrow::RecordBatch>> Price(
    const std::shared_ptr<arrow::Schema>& schema, const std::string& sku, double price) {
  arrow::StringBuilder skus;
  arrow::DoubleBuilder prices;
  ARROW_RETURN_NOT_OK(skus.Append(sku));
  ARROW_RETURN_NOT_OK(prices.Append(price));
  ARROW_ASSIGN_OR_RAISE(auto sku_array, skus.Finish());
  ARROW_ASSIGN_OR_RAISE(auto price_array, prices.Finish());
  return arrow::RecordBatch::Make(schema, 1, {sku_array, price_array});
}

arrow::Status Run(const std::string& directory) {
  using lamina::Lit;
  using lamina::SystemPeriod;
  using lamina::ValidPeriod;
  ARROW_ASSIGN_OR_RAISE(auto db, lamina::Database::Open(directory));
  const auto schema = arrow::schema(
      {arrow::field("sku", arrow::utf8(), false), arrow::field("price", arrow::float64())});
  ARROW_RETURN_NOT_OK(db->CreateTable("prices", schema, {.names = {"sku"}}));

  ARROW_ASSIGN_OR_RAISE(const int64_t january, lamina::ParseTimestamp("2025-01-01"));
  ARROW_ASSIGN_OR_RAISE(const int64_t march, lamina::ParseTimestamp("2025-03-01"));
  ARROW_ASSIGN_OR_RAISE(const int64_t april, lamina::ParseTimestamp("2025-04-01"));

  // Since January the price is 10.
  ARROW_ASSIGN_OR_RAISE(const auto ten, Price(schema, "A-1", 10));
  ARROW_ASSIGN_OR_RAISE(const auto first,
                        db->Put("prices", ten, {.valid = {{january}, lamina::ValidTime::Max()}}));
  // Later we learn that in March it was 9.
  ARROW_ASSIGN_OR_RAISE(const auto nine, Price(schema, "A-1", 9));
  ARROW_RETURN_NOT_OK(db->Put("prices", nine, {.valid = {{march}, {april}}}).status());

  const auto at_mid_march = ValidPeriod::At({march + 14LL * 86'400 * 1'000'000});
  ARROW_ASSIGN_OR_RAISE(const auto now,
                        db->Get("prices", {Lit("A-1")}, SystemPeriod::Latest(), at_mid_march));
  ARROW_ASSIGN_OR_RAISE(const auto before, db->Get("prices", {Lit("A-1")},
                                                   SystemPeriod::AsOf(first.commit), at_mid_march));
  const auto price = [](const arrow::RecordBatch& row) {
    return static_cast<const arrow::DoubleArray&>(*row.GetColumnByName("price")).Value(0);
  };
  std::cout << "The price in mid March: " << price(*now)
            << ". Before the correction we believed: " << price(*before) << ".\n";

  ARROW_ASSIGN_OR_RAISE(const auto life,
                        db->Get("prices", {Lit("A-1")}, SystemPeriod::All(), ValidPeriod::All(),
                                std::vector<std::string>{"price", "_valid_from", "_valid_to",
                                                         "_system_from", "_system_to"}));
  std::cout << life->ToString();
  return db->Close();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string directory =
      argc > 1 ? argv[1] : (std::filesystem::temp_directory_path() / "prices.lamina").string();
  std::filesystem::remove_all(directory);
  const auto status = Run(directory);
  if (!status.ok()) std::cerr << status.ToString() << "\n";
  return status.ok() ? 0 : 1;
}
