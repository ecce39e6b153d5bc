#include "engine/write_batch.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include <arrow/builder.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "catalog/system_tables.h"
#include "engine/engine_test_tables_internal.h"

namespace lamina::engine {
namespace {

using catalog::kIdempotencyTable;
using catalog::kKeyValueTable;
using temporal::FactKind;
using testing_tables::Keys;
using testing_tables::PeopleTable;
using testing_tables::PeopleWrite;

// A flat, comparable view of a batch.
std::vector<std::string> Dump(const WriteBatch& batch) {
  std::vector<std::string> lines;
  const auto add = [&](uint64_t table, FactKind kind, const ValidInterval& valid,
                       std::string_view key, const std::string& value) {
    lines.push_back(std::to_string(table) + " " + std::to_string(static_cast<int>(kind)) + " [" +
                    std::to_string(valid.from.micros) + "," + std::to_string(valid.to.micros) +
                    ") " + std::string(key) + "=" + value);
  };
  batch.ForEach([&](const WriteBatch::Entry& entry) {
    if (entry.table == nullptr) {
      const InlineWrite& w = entry.inline_write;
      add(w.table.value, w.kind, w.valid, w.key, std::string(w.value));
      return;
    }
    const TableWrite& w = *entry.table;
    for (int64_t i = 0; i < w.row_count(); ++i) {
      std::string value;
      if (w.rows != nullptr) {
        for (const auto& column : w.rows->columns())
          value += column->GetScalar(i).ValueOrDie()->ToString() + ";";
      }
      add(w.schema->id.value, w.KindOf(i), w.ValidOf(i), w.keys->GetView(i), value);
    }
  });
  return lines;
}

Result<WriteBatch> DecodeWith(std::string_view payload, const catalog::TableSchemaPtr& table) {
  return WriteBatch::Decode(payload, [&](catalog::TableId id, uint32_t version) {
    return table != nullptr && id == table->id && version == table->version ? table : nullptr;
  });
}

std::shared_ptr<arrow::Int64Array> Int64s(const std::vector<int64_t>& values) {
  arrow::Int64Builder builder;
  EXPECT_TRUE(builder.AppendValues(values).ok());
  return std::static_pointer_cast<arrow::Int64Array>(builder.Finish().ValueOrDie());
}

WriteBatch MixedBatch(const catalog::TableSchemaPtr& table) {
  WriteBatch batch;
  batch.AddInline(kKeyValueTable, FactKind::kPut, {}, "a", "1");
  batch.AddInline(kKeyValueTable, FactKind::kPut, {{10}, {20}}, "b", "");
  batch.AddInline(kKeyValueTable, FactKind::kDelete, {{5}, ValidTime::Max()}, "a", {});
  EXPECT_TRUE(batch.Add(PeopleWrite(table, {{7, "Ada"}, {-1, ""}}, {{100}, {200}})).ok());
  batch.AddInline(kIdempotencyTable, FactKind::kPut, {}, "request-1", std::string(8, '\x01'));
  TableWrite deletes;
  deletes.schema = table;
  deletes.keys = Keys({testing_tables::PeopleKey(table, 7), testing_tables::PeopleKey(table, 9)});
  deletes.kind = FactKind::kDelete;
  EXPECT_TRUE(batch.Add(std::move(deletes)).ok());
  TableWrite mixed = PeopleWrite(table, {{1, "x"}, {2, "y"}, {3, "z"}});
  arrow::BooleanBuilder builder;
  EXPECT_TRUE(builder.AppendValues(std::vector<bool>{false, true, false}).ok());
  mixed.deletes = std::static_pointer_cast<arrow::BooleanArray>(builder.Finish().ValueOrDie());
  mixed.valid_from = Int64s({1, 2, 3});
  mixed.valid_to = Int64s({11, 12, 13});
  EXPECT_TRUE(batch.Add(std::move(mixed)).ok());
  return batch;
}

TEST(WriteBatchTest, DecodedPayloadHoldsTheSameFactsInStatementOrder) {
  const auto table = PeopleTable();
  const WriteBatch batch = MixedBatch(table);
  EXPECT_EQ(batch.fact_count(), 11u);
  auto decoded = DecodeWith(batch.payload(), table);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->fact_count(), 11u);
  EXPECT_EQ(Dump(*decoded), Dump(batch));
  EXPECT_EQ(decoded->payload(), batch.payload());
}

// docs/format/wal.md, "Commit payload", worked example.
TEST(WriteBatchTest, PayloadIsTheDocumentedOne) {
  WriteBatch batch;
  batch.AddInline(kKeyValueTable, FactKind::kPut, {}, "a", "1");
  batch.AddInline(kKeyValueTable, FactKind::kDelete, {{10}, ValidTime::Max()}, "b", {});
  std::string hex;
  for (const char c : batch.payload()) hex += fmt::format("{:02x}", static_cast<uint8_t>(c));

  std::ifstream in("docs/format/wal.md");
  ASSERT_TRUE(in.is_open()) << "run from the repository's root";
  std::string documented;
  bool reached = false;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (line == "## Commit payload") {
      reached = true;
    } else if (line.starts_with("## ")) {
      reached = false;
    }
    if (!reached) continue;
    if (line == "```hex") {
      inside = true;
    } else if (line == "```") {
      inside = false;
    } else if (inside) {
      line = line.substr(0, line.find('#'));
      line.erase(std::remove(line.begin(), line.end(), ' '), line.end());
      documented += line;
    }
  }
  EXPECT_EQ(documented, hex);
}

TEST(WriteBatchTest, SectionsOfDroppedTablesAreSkipped) {
  const auto table = PeopleTable();
  const WriteBatch batch = MixedBatch(table);
  auto decoded = DecodeWith(batch.payload(), nullptr);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->fact_count(), 4u);
  EXPECT_EQ(Dump(*decoded).size(), 4u);
}

TEST(WriteBatchTest, TruncateForgetsWhatCameAfterTheMark) {
  const auto table = PeopleTable();
  WriteBatch batch;
  batch.AddInline(kKeyValueTable, FactKind::kPut, {}, "a", "1");
  const auto inside_section = batch.mark();
  batch.AddInline(kKeyValueTable, FactKind::kPut, {}, "b", "2");
  ASSERT_TRUE(batch.Add(PeopleWrite(table, {{1, "x"}})).ok());
  const auto behind_rows = batch.mark();
  batch.AddInline(kKeyValueTable, FactKind::kPut, {}, "c", "3");
  ASSERT_TRUE(batch.Add(PeopleWrite(table, {{2, "y"}})).ok());

  batch.TruncateTo(behind_rows);
  EXPECT_EQ(Dump(batch).size(), 3u);
  EXPECT_EQ(Dump(*DecodeWith(batch.payload(), table)), Dump(batch));
  batch.TruncateTo(inside_section);
  EXPECT_EQ(batch.fact_count(), 1u);
  batch.AddInline(kKeyValueTable, FactKind::kPut, {}, "d", "4");
  EXPECT_EQ(Dump(batch), Dump(*DecodeWith(batch.payload(), table)));
  ASSERT_EQ(Dump(batch).size(), 2u);
  EXPECT_NE(Dump(batch)[1].find("d=4"), std::string::npos);
  batch.TruncateTo({});
  EXPECT_TRUE(batch.empty());
  EXPECT_EQ(batch.bytes(), 0u);
}

TEST(WriteBatchTest, MovedFromBatchIsEmptyAndUsable) {
  WriteBatch a;
  a.AddInline(kKeyValueTable, FactKind::kPut, {}, "a", "1");
  WriteBatch b(std::move(a));
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move): part of the contract
  a.AddInline(kKeyValueTable, FactKind::kPut, {}, "z", "9");
  EXPECT_EQ(Dump(a).size(), 1u);
  EXPECT_EQ(Dump(b).size(), 1u);
}

TEST(WriteBatchTest, NestedAndWideColumnsSurvive) {
  catalog::KeyDeclaration key;
  key.names = {"id"};
  const auto schema = arrow::schema({arrow::field("id", arrow::int64(), false),
                                     arrow::field("price", arrow::decimal128(20, 2)),
                                     arrow::field("tags", arrow::list(arrow::int32()))});
  auto made = catalog::MakeTable({17}, "t", schema, key);
  ASSERT_TRUE(made.ok()) << made.status();
  arrow::Int64Builder ids;
  arrow::Decimal128Builder prices(arrow::decimal128(20, 2));  // wants 16 bytes of alignment
  auto values = std::make_shared<arrow::Int32Builder>();
  arrow::ListBuilder tags(arrow::default_memory_pool(), values);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(ids.Append(i).ok());
    ASSERT_TRUE(prices.Append(arrow::Decimal128(i * 100)).ok());
    ASSERT_TRUE(tags.Append().ok());
    ASSERT_TRUE(values->Append(i).ok());
  }
  TableWrite write;
  write.schema = *made;
  write.rows = arrow::RecordBatch::Make(
      schema, 10,
      {ids.Finish().ValueOrDie(), prices.Finish().ValueOrDie(), tags.Finish().ValueOrDie()});
  write.keys = catalog::KeyCodec(**made).Encode(*write.rows).ValueOrDie();
  const auto rows = write.rows;
  WriteBatch batch;
  ASSERT_TRUE(batch.Add(std::move(write)).ok());
  auto decoded = DecodeWith(batch.payload(), *made);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(Dump(*decoded), Dump(batch));
}

TEST(WriteBatchTest, DamagedPayloadsAreErrorsNotCrashes) {
  const auto table = PeopleTable();
  const std::string good(MixedBatch(table).payload());
  for (size_t length = 0; length < good.size(); ++length) {
    auto decoded = DecodeWith(std::string_view(good).substr(0, length), table);
    if (decoded.ok()) continue;
    EXPECT_EQ(CodeOf(decoded.status()), ErrorCode::kCorruption) << decoded.status();
  }
  base::Random random(7);
  int refused = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string bytes = good;
    for (int flips = 1 + static_cast<int>(random.Uniform(3)); flips > 0; --flips) {
      bytes[random.Uniform(bytes.size())] = static_cast<char>(random.Next32());
    }
    auto decoded = DecodeWith(bytes, table);
    if (decoded.ok()) {
      (void)Dump(*decoded);
    } else {
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace lamina::engine
