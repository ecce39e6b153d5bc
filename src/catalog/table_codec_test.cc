#include <fstream>
#include <set>

#include <arrow/api.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/codec.h"
#include "catalog/schema.h"
#include "catalog/system_tables.h"
#include "catalog/table_codec_internal.h"
#include "catalog/test_types_internal.h"

namespace lamina::catalog {
namespace {

using testing_values::AcceptedTypes;
using testing_values::Must;

std::string Hex(std::string_view bytes) {
  std::string out;
  for (unsigned char c : bytes) out += fmt::format("{:02x}", c);
  return out;
}

TableSchemaPtr EverythingTable() {
  const auto meta = arrow::key_value_metadata({"b", "a"}, {"", std::string("x\0y", 3)});
  arrow::FieldVector fields = {arrow::field("k1", arrow::utf8(), false, meta),
                               arrow::field("k2", arrow::int64())};
  for (const auto& type : AcceptedTypes())
    fields.push_back(arrow::field(fmt::format("c{}", fields.size()), type, fields.size() % 2 == 0));
  fields.push_back(arrow::field("from", arrow::timestamp(arrow::TimeUnit::MICRO)));
  fields.push_back(arrow::field("to", arrow::timestamp(arrow::TimeUnit::MICRO)));
  KeyDeclaration key;
  key.names = {"k2", "k1"};
  TableOptions options;
  options.rows_per_page = 100;
  options.rows_per_row_group = 1000;
  options.codec = Codec::kZstd;
  options.dictionary_columns = {"k1", "c3"};
  options.period_from_column = "from";
  options.period_to_column = "to";
  auto table = Must(
      MakeTable(TableId{1ULL << 40}, "every \"thing\"", arrow::schema(fields, meta), key, options));
  return Must(RenameColumn(*Must(DropColumn(*table, "c5")), "c6", "renamed"));
}

void ExpectSame(const TableSchema& a, const TableSchema& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.key, b.key);
  EXPECT_EQ(a.next_column_id, b.next_column_id);
  EXPECT_EQ(a.has_primary_key, b.has_primary_key);
  EXPECT_TRUE(a.StorageSchema()->Equals(*b.StorageSchema(), /*check_metadata=*/true));
  ASSERT_EQ(a.columns.size(), b.columns.size());
  for (size_t i = 0; i < a.columns.size(); ++i) {
    EXPECT_EQ(a.columns[i].id, b.columns[i].id);
    ASSERT_EQ(a.columns[i].initial == nullptr, b.columns[i].initial == nullptr);
    if (a.columns[i].initial == nullptr) continue;
    EXPECT_TRUE(a.columns[i].initial->Equals(*b.columns[i].initial,
                                             arrow::EqualOptions().nans_equal(true)));
  }
  EXPECT_EQ(a.options.rows_per_page, b.options.rows_per_page);
  EXPECT_EQ(a.options.rows_per_row_group, b.options.rows_per_row_group);
  EXPECT_EQ(a.options.codec, b.options.codec);
  EXPECT_EQ(a.options.dictionary_columns, b.options.dictionary_columns);
  EXPECT_EQ(a.options.period_from_column, b.options.period_from_column);
  EXPECT_EQ(a.options.period_to_column, b.options.period_to_column);
}

TEST(TableCodecTest, EverythingRoundTrips) {
  const auto table = EverythingTable();
  const std::string bytes = EncodeTable(*table);
  const auto back = Must(DecodeTable(bytes));
  ExpectSame(*table, *back);
  EXPECT_EQ(EncodeTable(*back), bytes);
  for (const auto& system :
       {KeyValueTableSchema(), CommitsTableSchema(), IdempotencyTableSchema()}) {
    ExpectSame(*system, *Must(DecodeTable(EncodeTable(*system))));
  }
  KeyDeclaration no_key;
  no_key.no_key = true;
  const auto append = Must(
      MakeTable(TableId{20}, "log", arrow::schema({arrow::field("a", arrow::utf8())}), no_key));
  ExpectSame(*append, *Must(DecodeTable(EncodeTable(*append))));
}

// A table whose columns were added with values of every type; those that take none are few.
TableSchemaPtr InitialsTable() {
  auto table =
      Must(MakeTable(TableId{16}, "t", arrow::schema({arrow::field("k", arrow::int64(), false)}),
                     {.names = {"k"}}));
  std::mt19937_64 random(7);
  for (const auto& type : AcceptedTypes()) {
    const auto values = testing_values::RandomColumn(type, 5, /*nullable=*/true, &random);
    for (int64_t i = 0; i < values->length(); ++i) {
      if (values->IsNull(i)) continue;
      auto added = AddColumn(*table, arrow::field(fmt::format("c{}", table->next_column_id), type),
                             Must(values->GetScalar(i)));
      if (added.ok()) {
        table = *added;
      } else {
        EXPECT_EQ(CodeOf(added.status()), ErrorCode::kUnsupported) << added.status();
      }
      break;
    }
  }
  return table;
}

TEST(TableCodecTest, InitialValuesOfEveryTypeRoundTrip) {
  const auto table = InitialsTable();
  EXPECT_GT(table->columns.size(), AcceptedTypes().size() * 9 / 10);
  const std::string bytes = EncodeTable(*table);
  const auto back = Must(DecodeTable(bytes));
  ExpectSame(*table, *back);
  EXPECT_EQ(EncodeTable(*back), bytes);
  for (const Column& column : table->columns) {
    if (column.initial == nullptr) continue;
    EXPECT_TRUE(Must(InitialValues(column, 3))
                    ->Equals(*Must(InitialValues(*back->FindColumn(column.id), 3)),
                             arrow::EqualOptions().nans_equal(true)))
        << column.type->ToString();
  }
}

TEST(TableCodecTest, DamagedInitialValueIsCorruptionAndNeverACrash) {
  const std::string bytes = EncodeTable(*InitialsTable());
  std::mt19937_64 random(5);
  int refused = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = bytes;
    for (uint64_t n = 1 + random() % 3; n > 0; --n)
      damaged[random() % damaged.size()] = static_cast<char>(random());
    auto decoded = DecodeTable(damaged);
    if (decoded.ok()) {
      EXPECT_TRUE((*decoded)->Verify().ok());
      const std::string again = EncodeTable(**decoded);
      EXPECT_EQ(EncodeTable(*Must(DecodeTable(again))), again);
    } else {
      ++refused;
      EXPECT_EQ(CodeOf(decoded.status()), ErrorCode::kCorruption) << decoded.status().ToString();
    }
  }
  EXPECT_GT(refused, 500);
}

TEST(TableCodecTest, DamageIsCorruptionAndNeverACrash) {
  const std::string bytes = EncodeTable(*EverythingTable());
  for (size_t size = 0; size < bytes.size(); size += 3) {
    auto cut = DecodeTable(std::string_view(bytes).substr(0, size));
    if (cut.ok()) continue;  // a cut between two fields may leave a smaller definition
    EXPECT_EQ(CodeOf(cut.status()), ErrorCode::kCorruption);
  }
  std::mt19937_64 random(3);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = bytes.substr(0, random() % 2 == 0 ? bytes.size() : 400);
    for (uint64_t n = 1 + random() % 3; n > 0; --n)
      damaged[random() % damaged.size()] = static_cast<char>(random());
    auto decoded = DecodeTable(damaged);
    if (decoded.ok()) {
      EXPECT_TRUE((*decoded)->Verify().ok());
    } else {
      ++refused;
      EXPECT_EQ(CodeOf(decoded.status()), ErrorCode::kCorruption) << decoded.status().ToString();
    }
  }
  EXPECT_GT(refused, 1000);
  EXPECT_FALSE(DecodeTable("").ok());
}

TEST(TableCodecTest, UnknownFieldsBelow128AreRefusedAndOthersSkipped) {
  const auto table = KeyValueTableSchema();
  std::string bytes = EncodeTable(*table);
  base::MessageWriter(&bytes).AddVarint(internal::kFirstIgnorableField, 1);
  ExpectSame(*table, *Must(DecodeTable(bytes)));
  base::MessageWriter(&bytes).AddVarint(internal::kFirstIgnorableField - 1, 1);
  auto refused = DecodeTable(bytes);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(CodeOf(refused.status()), ErrorCode::kCorruption);
  EXPECT_NE(refused.status().message().find("field=127"), std::string::npos);
}

TEST(TableCodecTest, NestingIsBounded) {
  // child(field(type(child(…)))) a thousand deep.
  std::string type;
  for (int i = 0; i < 1000; ++i) {
    std::string field;
    base::MessageWriter(&field).AddMessage(internal::tag::kFieldType, type);
    std::string outer;
    base::MessageWriter writer(&outer);
    writer.AddVarint(internal::tag::kTypeKind, 28);
    writer.AddMessage(internal::tag::kTypeChild, field);
    type = outer;
  }
  std::string bytes;
  base::MessageWriter(&bytes).AddMessageWith(
      internal::tag::kTableColumn, [&](base::MessageWriter& column) {
        column.AddVarint(internal::tag::kColumnId, 1);
        column.AddMessageWith(internal::tag::kColumnField, [&](base::MessageWriter& field) {
          field.AddMessage(internal::tag::kFieldType, type);
        });
      });
  auto decoded = DecodeTable(bytes);
  ASSERT_FALSE(decoded.ok());
  EXPECT_NE(decoded.status().message().find("nested too deep"), std::string::npos);
}

// ---- docs/format/table-definition.md ----

// The cells of the Markdown table rows under a heading.
std::vector<std::vector<std::string>> RowsUnder(const std::string& heading) {
  std::ifstream file("docs/format/table-definition.md");
  std::vector<std::vector<std::string>> rows;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("## ", 0) == 0) inside = line == "## " + heading;
    if (!inside || line.rfind("| ", 0) != 0) continue;
    std::vector<std::string> cells;
    for (size_t at = 1; at < line.size();) {
      const size_t bar = line.find('|', at);
      if (bar == std::string::npos) break;
      std::string cell = line.substr(at, bar - at);
      cell.erase(0, cell.find_first_not_of(' '));
      cell.erase(cell.find_last_not_of(' ') + 1);
      cells.push_back(cell);
      at = bar + 1;
    }
    rows.push_back(cells);
  }
  if (!rows.empty()) rows.erase(rows.begin());  // the header
  return rows;
}

TEST(FormatDocTest, TableDefinitionListsTheFieldsOfTheCode) {
  std::vector<std::string> documented;
  for (const auto& cells : RowsUnder("Fields")) {
    ASSERT_EQ(cells.size(), 5U);
    documented.push_back(cells[0] + " " + cells[1] + " " + cells[2] + " " + cells[3]);
  }
  std::vector<std::string> coded;
  for (const auto& row : internal::kFieldRows)
    coded.push_back(fmt::format("{} {} {} {}", row.message, row.tag, row.name, row.encoding));
  EXPECT_EQ(documented, coded);
  EXPECT_EQ(std::set<std::string>(coded.begin(), coded.end()).size(), coded.size());
}

TEST(FormatDocTest, TableDefinitionListsTheTypeKindsOfTheCode) {
  std::vector<std::string> documented;
  for (const auto& cells : RowsUnder("Kinds of types"))
    documented.push_back(cells[0] + " " + cells[1]);
  std::vector<std::string> coded;
  for (const auto& row : internal::kTypeKindRows)
    coded.push_back(fmt::format("{} {}", row.kind, row.name));
  EXPECT_EQ(documented, coded);
}

TEST(FormatDocTest, TableDefinitionExampleIsWhatTheCodeWrites) {
  KeyDeclaration key;
  key.names = {"id"};
  const auto table = Must(
      MakeTable(TableId{16}, "t", arrow::schema({arrow::field("id", arrow::int64(), false)}), key));
  const std::string actual = Hex(EncodeTable(*table));
  std::ifstream file("docs/format/table-definition.md");
  ASSERT_TRUE(file.is_open()) << "run from the repository's root";
  std::string example;
  for (std::string line; std::getline(file, line);) {
    const size_t at = line.find("example: ");
    if (at != std::string::npos) example = line.substr(at + 9);
  }
  EXPECT_EQ(example, actual);
  std::string by_rows;
  for (const auto& cells : RowsUnder("Example")) {
    for (char c : cells[0]) {
      if (c != ' ') by_rows += c;
    }
  }
  EXPECT_EQ(by_rows, actual);
}

}  // namespace
}  // namespace lamina::catalog
