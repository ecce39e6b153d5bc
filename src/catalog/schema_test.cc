#include "catalog/schema.h"

#include <arrow/api.h>
#include <arrow/extension/uuid.h>
#include <arrow/io/memory.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/writer.h>

#include "catalog/system_tables.h"
#include "catalog/test_types_internal.h"
#include "catalog/test_values_internal.h"

namespace lamina::catalog {
namespace {

using testing_values::AcceptedTypes;
using testing_values::ColumnWithNulls;
using testing_values::Must;

std::shared_ptr<const arrow::KeyValueMetadata> Metadata(std::vector<std::string> keys,
                                                        std::vector<std::string> values) {
  return arrow::key_value_metadata(std::move(keys), std::move(values));
}
std::shared_ptr<arrow::Field> Marked(const std::string& name, const std::string& mark,
                                     const char* key = "lamina.key") {
  return arrow::field(name, arrow::int32(), true, Metadata({key}, {mark}));
}
KeyDeclaration Names(std::vector<std::string> names) {
  KeyDeclaration key;
  key.names = std::move(names);
  return key;
}
KeyDeclaration NoKey() {
  KeyDeclaration key;
  key.no_key = true;
  return key;
}
Result<TableSchemaPtr> Make(arrow::FieldVector fields, const KeyDeclaration& key = {},
                            TableOptions options = {},
                            std::shared_ptr<const arrow::KeyValueMetadata> metadata = nullptr) {
  return MakeTable(TableId{16}, "t", arrow::schema(std::move(fields), std::move(metadata)), key,
                   std::move(options));
}
std::vector<std::string> KeyNames(const Result<TableSchemaPtr>& table) {
  std::vector<std::string> names;
  if (!table.ok()) return {table.status().ToString()};
  for (int at : (*table)->KeyPositions())
    names.push_back((*table)->columns[static_cast<size_t>(at)].name);
  return names;
}
// Empty when the call failed with the code and a message that holds the text; else what happened.
template <typename T>
std::string Refusal(const Result<T>& result, ErrorCode code, const std::string& text) {
  if (result.ok()) return "it succeeded";
  if (CodeOf(result.status()) != code ||
      result.status().ToString().find(text) == std::string::npos) {
    return result.status().ToString();
  }
  return "";
}
const ErrorCode kInvalid = ErrorCode::kInvalidArgument;

TEST(MakeTableTest, KeyIsDeclaredInAnyOfThreeWays) {
  const auto a = arrow::field("a", arrow::int32());
  const auto b = arrow::field("b", arrow::utf8());
  using List = std::vector<std::string>;
  EXPECT_EQ(KeyNames(Make({a, b}, Names({"b", "a"}))), (List{"b", "a"}));
  KeyDeclaration positions;
  positions.positions = {1, 0};
  EXPECT_EQ(KeyNames(Make({a, b}, positions)), (List{"b", "a"}));
  for (const char* yes : {"true", "TRUE", "True", "yes", "YES", "Yes"}) {
    EXPECT_EQ(KeyNames(Make({a, Marked("k", yes)})), (List{"k"}));
    EXPECT_EQ(KeyNames(Make({a, Marked("k", yes, "tonbo.key")})), (List{"k"}));
  }
  EXPECT_EQ(KeyNames(Make({Marked("x", "1"), Marked("y", "0"), a})), (List{"y", "x"}));
  EXPECT_EQ(KeyNames(Make({Marked("x", "false"), Marked("y", "yes"), a})), (List{"y"}));
  for (const char* key : {"lamina.keys", "tonbo.keys"}) {
    EXPECT_EQ(KeyNames(Make({a, b}, {}, {}, Metadata({key}, {"b"}))), (List{"b"}));
    EXPECT_EQ(KeyNames(Make({a, b}, {}, {}, Metadata({key}, {R"(["b","a"])"}))), (List{"b", "a"}));
    EXPECT_EQ(KeyNames(Make({a, b}, {}, {}, Metadata({key}, {R"( ["b"])"}))).size(), 1U);
  }
  // Marks on fields go before the schema's list, and the call before both.
  EXPECT_EQ(KeyNames(Make({a, Marked("k", "true")}, {}, {}, Metadata({"lamina.keys"}, {"a"}))),
            (List{"k"}));
  EXPECT_EQ(KeyNames(Make({a, Marked("k", "true")}, Names({"a"}))), (List{"a"}));
}

TEST(MakeTableTest, BadKeyDeclarationsAreRefusedEachInItsWords) {
  const auto a = arrow::field("a", arrow::int32());
  EXPECT_EQ(Refusal(Make({a}), kInvalid, "no primary key is declared"), "");
  EXPECT_EQ(Refusal(Make({a}), kInvalid, "lamina.keys"), "");
  EXPECT_EQ(Refusal(Make({a}, Names({"aa"})), kInvalid, "unknown column: column=aa"), "");
  EXPECT_EQ(std::string(HintOf(Make({a}, Names({"aa"})).status())), "did you mean a?");
  KeyDeclaration outside;
  outside.positions = {1};
  EXPECT_EQ(Refusal(Make({a}, outside), kInvalid, "outside the schema"), "");
  KeyDeclaration both = Names({"a"});
  both.no_key = true;
  EXPECT_EQ(Refusal(Make({a}, both), kInvalid, "more than one way"), "");
  EXPECT_EQ(Refusal(Make({a}, Names({"a", "a"})), kInvalid, "named twice"), "");
  EXPECT_EQ(Refusal(Make({Marked("x", "true"), Marked("y", "true")}), kInvalid,
                    "without an order: columns=x,y"),
            "");
  EXPECT_EQ(Refusal(Make({Marked("x", "true"), Marked("y", "1")}), kInvalid, "without an order"),
            "");
  EXPECT_EQ(
      Refusal(Make({Marked("x", "0"), Marked("y", "2")}), kInvalid, "gap: expected=1 found=2"), "");
  EXPECT_EQ(Refusal(Make({Marked("x", "1")}), kInvalid, "gap"), "");
  EXPECT_EQ(Refusal(Make({Marked("x", "0"), Marked("y", "0")}), kInvalid, "same ordinal"), "");
  EXPECT_EQ(Refusal(Make({Marked("x", "first")}), kInvalid, "cannot be read"), "");
  for (const char* bad :
       {"", "[", "[]", "[a]", R"(["a")", R"(["a",])", R"(["a"]x)", R"(["a)", R"(["a\)"}) {
    EXPECT_EQ(
        Refusal(Make({a}, {}, {}, Metadata({"lamina.keys"}, {bad})), kInvalid, "cannot be read"),
        "")
        << bad;
  }
  EXPECT_EQ(Refusal(Make({a}, {}, {}, Metadata({"tonbo.keys"}, {"b"})), kInvalid, "unknown column"),
            "");
  for (const auto& type : {arrow::list(arrow::int32()), arrow::map(arrow::utf8(), arrow::utf8()),
                           arrow::struct_({arrow::field("x", arrow::int32())}), arrow::null()}) {
    EXPECT_EQ(Refusal(Make({arrow::field("k", type)}, Names({"k"})), kInvalid,
                      "type without an order: column=k"),
              "");
  }
}

TEST(MakeTableTest, BadSchemasAndOptionsAreRefused) {
  const auto a = arrow::field("a", arrow::int32());
  const auto from = arrow::field("f", arrow::timestamp(arrow::TimeUnit::MICRO));
  const auto to = arrow::field("t", arrow::timestamp(arrow::TimeUnit::MICRO));
  EXPECT_EQ(Refusal(Make({}, NoKey()), kInvalid, "at least one column"), "");
  EXPECT_EQ(Refusal(MakeTable(TableId{16}, "", arrow::schema({a}), NoKey()), kInvalid, "no name"),
            "");
  EXPECT_EQ(Refusal(Make({a, a}, NoKey()), kInvalid, "same name: column=a"), "");
  EXPECT_EQ(Refusal(Make({arrow::field("", arrow::int32())}, NoKey()), kInvalid, "no name"), "");
  for (const char* hidden :
       {"_valid_from", "_valid_to", "_system_from", "_system_to", "_commit", "_rowid"}) {
    EXPECT_EQ(Refusal(Make({a, arrow::field(hidden, arrow::int32())}, Names({"a"})), kInvalid,
                      "hidden column"),
              "");
  }
  auto with = [&](auto set) {
    TableOptions options;
    set(options);
    return Make({a, from, to}, Names({"a"}), options);
  };
  EXPECT_TRUE(
      with([](TableOptions& o) { o.period_from_column = "f", o.period_to_column = "t"; }).ok());
  EXPECT_EQ(
      Refusal(with([](TableOptions& o) { o.period_from_column = "f"; }), kInvalid, "needs both"),
      "");
  EXPECT_EQ(Refusal(with([](TableOptions& o) { o.period_from_column = o.period_to_column = "f"; }),
                    kInvalid, "different"),
            "");
  EXPECT_EQ(
      Refusal(with([](TableOptions& o) { o.period_from_column = "a", o.period_to_column = "t"; }),
              kInvalid, "not a timestamp"),
      "");
  EXPECT_EQ(
      Refusal(with([](TableOptions& o) { o.period_from_column = "z", o.period_to_column = "t"; }),
              kInvalid, "unknown"),
      "");
  EXPECT_EQ(Refusal(with([](TableOptions& o) { o.dictionary_columns = {"z"}; }), kInvalid,
                    "unknown column"),
            "");
  EXPECT_EQ(Refusal(with([](TableOptions& o) { o.rows_per_page = -1; }), kInvalid, "negative"), "");
}

TEST(MakeTableTest, UnsupportedTypesAreRefusedWithWhatToUseInstead) {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  const std::pair<std::shared_ptr<DataType>, const char*> cases[] = {
      {dictionary(int32(), utf8()), "dictionary_columns"},
      {utf8_view(), "utf8"},
      {binary_view(), "binary"},
      {month_day_nano_interval(), "duration"},
      {dense_union({field("a", int32())}), "struct"},
      {run_end_encoded(int32(), utf8()), "value type"},
      {struct_({}), "add a field"},
      {struct_({field("a", int8()), field("a", int8())}), "rename"},
      {fixed_size_list(int32(), 0), "list"},
      {fixed_size_binary(0), "binary"},
      {decimal128(5, -2), "scale"},
      {arrow::extension::uuid(), "fixed_size_binary[16]"},
      {list(dictionary(int8(), utf8())), "dictionary_columns"},
      {struct_({field("x", map(utf8(), utf8_view()))}), "utf8"},
  };
  for (const auto& [type, hint] : cases) {
    SCOPED_TRACE(type->ToString());
    EXPECT_FALSE(IsValueType(*type));
    EXPECT_FALSE(IsKeyType(*type));
    const auto made = Make({field("a", int32()), field("x", type)}, Names({"a"}));
    EXPECT_EQ(Refusal(made, ErrorCode::kUnsupported, "column=x"), "");
    EXPECT_NE(HintOf(made.status()).find(hint), std::string_view::npos) << HintOf(made.status());
  }
  std::shared_ptr<DataType> deep = int32();
  for (int i = 0; i < 100; ++i) deep = list(deep);
  EXPECT_FALSE(IsValueType(*deep));
  for (const auto& type : testing_values::KeyTypes())
    EXPECT_TRUE(IsKeyType(*type) && IsValueType(*type)) << type->ToString();
}

// Types that Parquet itself does not hold: storage keeps them as integers, and its own test
// (data_file_test.cc) that they return.
bool IsKeptAsIntegers(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::DATE64:
      return true;
    case arrow::Type::TIME32:
      return static_cast<const arrow::Time32Type&>(type).unit() == arrow::TimeUnit::SECOND;
    case arrow::Type::TIMESTAMP:
      return static_cast<const arrow::TimestampType&>(type).unit() == arrow::TimeUnit::SECOND;
    default:
      return std::any_of(type.fields().begin(), type.fields().end(),
                         [](const auto& field) { return IsKeptAsIntegers(*field->type()); });
  }
}

TEST(SchemaTest, EveryAcceptedTypeReturnsFromParquetUnchanged) {
  for (const auto& type : AcceptedTypes()) {
    if (IsKeptAsIntegers(*type)) continue;
    SCOPED_TRACE(type->ToString());
    ASSERT_TRUE(IsValueType(*type));
    const auto table = Must(Make(
        {arrow::field("k", arrow::int32()), arrow::field("c", type, true, Metadata({"m"}, {"x"}))},
        Names({"k"})));
    const auto values = ColumnWithNulls(type, 50);
    const auto keys = Must(arrow::MakeArrayFromScalar(arrow::Int32Scalar(1), values->length()));
    const auto batch =
        arrow::RecordBatch::Make(table->StorageSchema(), values->length(), {keys, values});
    ASSERT_TRUE(CheckBatch(*table, *batch).ok()) << CheckBatch(*table, *batch).ToString();
    auto sink = Must(arrow::io::BufferOutputStream::Create());
    const auto rows = Must(arrow::Table::FromRecordBatches({batch}));
    const auto written = parquet::arrow::WriteTable(
        *rows, arrow::default_memory_pool(), sink, 20, parquet::default_writer_properties(),
        parquet::ArrowWriterProperties::Builder().store_schema()->build());
    ASSERT_TRUE(written.ok()) << written.ToString();
    auto reader = Must(
        parquet::arrow::OpenFile(std::make_shared<arrow::io::BufferReader>(Must(sink->Finish())),
                                 arrow::default_memory_pool()));
    const auto back = Must(reader->ReadTable());
    const auto column = Must(arrow::Concatenate(back->column(1)->chunks()));
    ASSERT_TRUE(column->type()->Equals(*type)) << column->type()->ToString();
    ASSERT_TRUE(column->Equals(*values, arrow::EqualOptions::Defaults().nans_equal(true)));
    // CastColumn restores the names that Parquet changes (the element of a list).
    const auto cast = Must(CastColumn(column, type));
    EXPECT_TRUE(cast->type()->Equals(*type, /*check_metadata=*/true)) << cast->type()->ToString();
    EXPECT_TRUE(cast->ValidateFull().ok());
    EXPECT_TRUE(cast->Equals(*values, arrow::EqualOptions::Defaults().nans_equal(true)));
  }
}

TEST(SchemaTest, UserMetadataIsKeptAndParquetFieldIdsAreNot) {
  const auto nested = arrow::struct_(
      {arrow::field("x", arrow::int32(), false, Metadata({"PARQUET:field_id", "q"}, {"7", "w"}))});
  const auto table = Must(Make(
      {arrow::field("a", arrow::int32(), false, Metadata({"PARQUET:field_id", "m"}, {"3", "n"})),
       arrow::field("b", nested, true, Metadata({"PARQUET:field_id"}, {"4"}))},
      Names({"a"}), {}, Metadata({"s"}, {"t"})));
  const auto arrow = table->ToArrow();
  EXPECT_EQ(arrow->field(0)->metadata()->ToString(), Metadata({"m"}, {"n"})->ToString());
  EXPECT_EQ(arrow->field(1)->metadata(), nullptr);
  EXPECT_EQ(arrow->field(1)->type()->field(0)->metadata()->ToString(),
            Metadata({"q"}, {"w"})->ToString());
  EXPECT_EQ(arrow->metadata()->Get("s").ValueOrDie(), "t");
}

TEST(SchemaTest, AppendTableHasAHiddenRowIdAsItsKey) {
  auto table = Must(Make({arrow::field("a", arrow::int32())}, NoKey()));
  EXPECT_EQ(table->ToArrow()->num_fields(), 1);
  EXPECT_EQ(table->StorageSchema()->num_fields(), 2);
  EXPECT_EQ(table->StorageSchema()->field(1)->name(), kRowIdColumn);
  EXPECT_EQ(table->KeyPositions(), std::vector<int>{1});
  table = Must(AddColumn(*table, arrow::field("b", arrow::int8())));
  EXPECT_EQ(table->ToArrow()->field_names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(table->columns.back().name, kRowIdColumn);
  EXPECT_EQ(CodeOf(DropColumn(*table, kRowIdColumn).status()), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf(RenameColumn(*table, kRowIdColumn, "x").status()), ErrorCode::kNotFound);
}

TEST(SchemaTest, VerifyNamesTheBrokenRule) {
  const auto good = Must(
      Make({arrow::field("a", arrow::int32()), arrow::field("b", arrow::utf8())}, Names({"a"})));
  EXPECT_TRUE(good->Verify().ok());
  auto broken = [&](auto change, const char* text) {
    TableSchema table = *good;
    change(table);
    const Status status = table.Verify();
    return !status.ok() && CodeOf(status) == ErrorCode::kInternal &&
                   status.message().find(text) != std::string::npos
               ? ""
               : status.ToString();
  };
  EXPECT_EQ(broken([](TableSchema& t) { t.columns[1].id = t.columns[0].id; }, "id used twice"), "");
  EXPECT_EQ(broken([](TableSchema& t) { t.columns[1].name = "a"; }, "name used twice"), "");
  EXPECT_EQ(broken([](TableSchema& t) { t.columns[1].id = 99; }, "next_column_id"), "");
  EXPECT_EQ(broken([](TableSchema& t) { t.columns[1].name = "_commit"; }, "hidden name"), "");
  EXPECT_EQ(
      broken([](TableSchema& t) { t.columns[1].type = arrow::utf8_view(); }, "unsupported type"),
      "");
  EXPECT_EQ(broken([](TableSchema& t) { t.key = {}; }, "no key"), "");
  EXPECT_EQ(broken([](TableSchema& t) { t.key = {77}; }, "absent column"), "");
  EXPECT_EQ(broken([](TableSchema& t) { t.key = {1, 1}; }, "twice"), "");
  EXPECT_EQ(broken([](TableSchema& t) { t.has_primary_key = false; }, "row id"), "");
  EXPECT_EQ(broken([](TableSchema& t) { t.id.value = 0; }, "id is 0"), "");
}

TEST(EvolutionTest, ColumnsAreAddedDroppedAndRenamedWithStableIds) {
  TableOptions options;
  options.dictionary_columns = {"b"};
  const auto first =
      Must(Make({arrow::field("a", arrow::int32()), arrow::field("b", arrow::utf8())}, Names({"a"}),
                options));
  const auto added = Must(AddColumn(*first, arrow::field("c", arrow::float64())));
  EXPECT_EQ(added->version, 2U);
  EXPECT_EQ(added->FindColumn("c")->id, 3);
  const auto renamed = Must(RenameColumn(*added, "b", "bb"));
  EXPECT_EQ(renamed->FindColumn("bb")->id, 2);
  EXPECT_EQ(renamed->options.dictionary_columns, std::vector<std::string>{"bb"});
  const auto dropped = Must(DropColumn(*renamed, "bb"));
  EXPECT_TRUE(dropped->options.dictionary_columns.empty());
  const auto again = Must(AddColumn(*dropped, arrow::field("bb", arrow::int8())));
  EXPECT_EQ(again->FindColumn("bb")->id, 4);  // not the dropped column's data
  EXPECT_EQ(again->version, 5U);
  EXPECT_EQ(Must(RenameTable(*again, "u"))->name, "u");
  EXPECT_EQ(first->columns.size(), 2U);

  EXPECT_EQ(Refusal(AddColumn(*first, arrow::field("a", arrow::int8())), ErrorCode::kAlreadyExists,
                    "column=a"),
            "");
  EXPECT_EQ(
      Refusal(AddColumn(*first, arrow::field("c", arrow::int8(), false)), kInvalid, "nullable"),
      "");
  EXPECT_EQ(Refusal(AddColumn(*first, arrow::field("_commit", arrow::int8())), kInvalid, "hidden"),
            "");
  EXPECT_EQ(Refusal(AddColumn(*first, arrow::field("c", arrow::utf8_view())),
                    ErrorCode::kUnsupported, "column=c"),
            "");
  EXPECT_EQ(Refusal(DropColumn(*first, "a"), kInvalid, "key column"), "");
  EXPECT_EQ(Refusal(DropColumn(*first, "z"), ErrorCode::kNotFound, "column=z"), "");
  EXPECT_EQ(Refusal(RenameColumn(*first, "a", "b"), ErrorCode::kAlreadyExists, "column=b"), "");
  EXPECT_EQ(Refusal(RenameColumn(*first, "a", "_rowid"), kInvalid, "hidden"), "");
  EXPECT_EQ(Refusal(DropNotNull(*first, "b"), kInvalid, "already"), "");
  EXPECT_EQ(Refusal(RenameTable(*first, ""), kInvalid, "no name"), "");
  EXPECT_EQ(KeyNames(RenameColumn(*first, "a", "z")), std::vector<std::string>{"z"});
}

TEST(EvolutionTest, NotNullIsAMarkThatOtherMetadataLeavesAlone) {
  const auto first = Must(MakeTable(
      {16}, "t",
      arrow::schema({arrow::field("a", arrow::int64(), false), arrow::field("b", arrow::int64())}),
      {.names = {"a"}}));
  const auto refuses = [](const TableSchemaPtr& table) {
    return RefusesNull(*table->ToArrow()->GetFieldByName("b"));
  };
  EXPECT_FALSE(refuses(first));
  const auto marked = Must(SetNotNull(*first, "b"));
  EXPECT_TRUE(refuses(marked));
  EXPECT_TRUE(marked->FindColumn("b")->nullable);  // files keep NULLs of the past
  const auto batch =
      arrow::RecordBatch::Make(marked->ToArrow(), 1,
                               {Must(arrow::MakeArrayFromScalar(*arrow::MakeScalar(int64_t{1}), 1)),
                                Must(arrow::MakeArrayOfNull(arrow::int64(), 1))});
  EXPECT_EQ(CodeOf(CheckBatch(*marked, *batch)), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(CheckBatch(*first, *batch).ok());
  const auto described =
      Must(SetColumnMetadata(*marked, "b", arrow::key_value_metadata({{"unit", "m"}})));
  EXPECT_TRUE(refuses(described));
  EXPECT_TRUE(refuses(Must(SetColumnMetadata(*described, "b", nullptr))));
  const auto free = Must(DropNotNull(*described, "b"));
  EXPECT_FALSE(refuses(free));
  EXPECT_EQ(Must(free->FindColumn("b")->metadata->Get("unit")), "m");
  EXPECT_EQ(Refusal(DropNotNull(*free, "b"), kInvalid, "already"), "");
  EXPECT_EQ(Refusal(DropNotNull(*marked, "a"), kInvalid, "key column"), "");
  EXPECT_FALSE(Must(SetNotNull(*first, "a"))->FindColumn("a")->nullable);
}

TEST(EvolutionTest, AnInitialValueBelongsToItsColumn) {
  const auto first = Must(Make({arrow::field("a", arrow::int32())}, Names({"a"})));
  const auto seven = arrow::MakeScalar(int16_t{7});
  const auto field = arrow::field("c", arrow::int16(), /*nullable=*/false);
  const auto added = Must(AddColumn(*first, field, seven));
  EXPECT_TRUE(Must(InitialValues(*added->FindColumn("c"), 3))
                  ->Equals(Must(arrow::MakeArrayFromScalar(*seven, 3))));
  const auto wider = Must(WidenColumn(*Must(RenameColumn(*added, "c", "d")), "d", arrow::int64()));
  EXPECT_TRUE(wider->FindColumn("d")->initial->Equals(arrow::Int64Scalar(7)));
  EXPECT_TRUE(wider->Verify().ok());
  // Null is no initial value.
  const auto nothing = Must(
      AddColumn(*first, arrow::field("c", arrow::int16()), arrow::MakeNullScalar(arrow::int16())));
  EXPECT_EQ(nothing->FindColumn("c")->initial, nullptr);
  EXPECT_EQ(Must(InitialValues(*nothing->FindColumn("c"), 2))->null_count(), 2);
  EXPECT_EQ(Refusal(AddColumn(*first, field, arrow::MakeNullScalar(arrow::int16())), kInvalid,
                    "nullable"),
            "");
  EXPECT_EQ(Refusal(AddColumn(*first, field, arrow::MakeScalar(int32_t{7})), kInvalid,
                    "expected=int16 actual=int32"),
            "");
  EXPECT_EQ(Refusal(AddColumn(*first, arrow::field("c", arrow::utf8()),
                              std::make_shared<arrow::StringScalar>(std::string("\xff"))),
                    kInvalid, "not valid for its type"),
            "");
  // A day that nanoseconds do not reach.
  const auto day = Must(AddColumn(*first, arrow::field("t", arrow::date32()),
                                  std::make_shared<arrow::Date32Scalar>(1'000'000)));
  EXPECT_EQ(Refusal(WidenColumn(*day, "t", arrow::timestamp(arrow::TimeUnit::NANO)), kInvalid,
                    "does not fit"),
            "");
  TableSchema broken = *added;
  broken.columns[1].initial = arrow::MakeScalar(1.0);
  EXPECT_FALSE(broken.Verify().ok());
  broken = *added;
  broken.columns[0].initial = arrow::MakeScalar(int32_t{1});
  EXPECT_FALSE(broken.Verify().ok());
}

TEST(EvolutionTest, MetadataIsReplacedWhole) {
  const auto meta = arrow::key_value_metadata({"x", "PARQUET:field_id"}, {"1", "9"});
  const auto first = Must(Make({arrow::field("a", arrow::int32())}, Names({"a"})));
  const auto table = Must(SetTableMetadata(*first, meta));
  EXPECT_EQ(table->version, 2U);
  ASSERT_NE(table->metadata, nullptr);
  EXPECT_EQ(table->metadata->keys(), std::vector<std::string>{"x"});
  EXPECT_EQ(Must(SetTableMetadata(*table, nullptr))->metadata, nullptr);
  const auto column = Must(SetColumnMetadata(*first, "a", meta));
  EXPECT_EQ(column->ToArrow()->field(0)->metadata()->keys(), std::vector<std::string>{"x"});
  EXPECT_EQ(Must(SetColumnMetadata(*column, "a", nullptr))->FindColumn("a")->metadata, nullptr);
  EXPECT_EQ(Refusal(SetColumnMetadata(*first, "z", meta), ErrorCode::kNotFound, "column=z"), "");
}

TEST(EvolutionTest, WideningKeepsEveryValueAndNothingElseIsAllowed) {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  const auto us = timestamp(TimeUnit::MICRO);
  const auto utc = timestamp(TimeUnit::MICRO, "UTC");
  const std::pair<std::shared_ptr<DataType>, std::shared_ptr<DataType>> allowed[] = {
      {int8(), int16()},
      {int32(), int64()},
      {uint8(), uint32()},
      {uint32(), int64()},
      {float32(), float64()},
      {float16(), float32()},
      {float16(), float64()},
      {decimal32(5, 2), decimal32(9, 2)},
      {decimal128(10, 2), decimal128(20, 2)},
      {decimal64(10, 2), decimal256(50, 2)},
      {date32(), us},
      {date32(), utc},
      {utf8(), large_utf8()},
      {binary(), large_binary()},
      {timestamp(TimeUnit::MILLI), us},
      {timestamp(TimeUnit::MILLI, "UTC"), utc},
      {decimal32(5, 2), decimal64(12, 2)}};
  for (const auto& [from, to] : allowed) {
    SCOPED_TRACE(from->ToString() + " " + to->ToString());
    const auto table = Must(Make({field("k", int32()), field("c", from)}, Names({"k"})));
    const auto wide = Must(WidenColumn(*table, "c", to));
    EXPECT_TRUE(wide->FindColumn("c")->type->Equals(*to));
    std::shared_ptr<Array> values;
    if (from->id() == Type::DATE32 || from->id() == Type::TIMESTAMP) {
      auto scalar = Must(MakeScalar(from, 18262));
      values = testing_values::MakeColumn(from, {scalar, MakeNullScalar(from)});
    } else {
      values = ColumnWithNulls(from, 30);
    }
    const auto cast = Must(CastColumn(values, to));
    ASSERT_TRUE(cast->type()->Equals(*to));
    ASSERT_EQ(cast->null_count(), values->null_count());
    for (int64_t i = 0; i < values->length(); ++i) {
      if (values->IsNull(i)) continue;
      const std::string before = Must(values->GetScalar(i))->ToString();
      const std::string after = Must(cast->GetScalar(i))->ToString();
      if (from->id() == Type::DATE32) {
        EXPECT_EQ(after.substr(0, 19), before + " 00:00:00");
      } else if (from->id() == Type::TIMESTAMP) {
        EXPECT_EQ(after.substr(0, 19), before.substr(0, 19));
      } else if (!arrow::is_floating(from->id())) {
        EXPECT_EQ(after, before);
      }
    }
  }
  const std::pair<std::shared_ptr<DataType>, std::shared_ptr<DataType>> refused[] = {
      {int64(), int32()},
      {int32(), int32()},
      {int32(), uint64()},
      {uint64(), int64()},
      {int32(), float64()},
      {float64(), float32()},
      {decimal128(10, 2), decimal128(20, 3)},
      {utf8(), binary()},
      {large_utf8(), utf8()},
      {timestamp(TimeUnit::NANO), us},
      {timestamp(TimeUnit::MILLI), utc},
      {date32(), int64()},
      {us, date32()}};
  for (const auto& [from, to] : refused) {
    const auto table = Must(Make({field("k", int32()), field("c", from)}, Names({"k"})));
    EXPECT_EQ(Refusal(WidenColumn(*table, "c", to), kInvalid, "safe widening"), "")
        << from->ToString() << to->ToString();
    EXPECT_TRUE(from->Equals(*to) || !CastColumn(ColumnWithNulls(from, 3), to).ok());
  }
  const auto keyed = Must(Make({field("k", int32())}, Names({"k"})));
  EXPECT_EQ(Refusal(WidenColumn(*keyed, "k", int64()), kInvalid, "key column"), "");
  // Days that microseconds cannot hold are an error, not another date.
  EXPECT_FALSE(
      CastColumn(testing_values::MakeColumn(date32(), {std::make_shared<Date32Scalar>(INT32_MAX)}),
                 us)
          .ok());
}

TEST(CheckBatchTest, NamesTheFirstDifference) {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  const auto nested = struct_({field("x", int32(), false)});
  const auto table = Must(Make({field("a", int32(), false), field("b", utf8()), field("c", nested),
                                field("d", list(field("item", int32(), false)))},
                               Names({"a"})));
  auto column = [](const std::shared_ptr<DataType>& type, bool null) {
    return Must(null ? MakeArrayOfNull(type, 2) : MakeEmptyArray(type));
  };
  const auto ints = testing_values::MakeColumn(
      int32(), {Must(MakeScalar(int32(), 1)), Must(MakeScalar(int32(), 2))});
  const auto one_null =
      testing_values::MakeColumn(int32(), {Must(MakeScalar(int32(), 1)), MakeNullScalar(int32())});
  const auto text = column(utf8(), true);
  const auto structs = column(nested, true);
  const auto lists = column(list(field("item", int32(), false)), true);
  auto check = [&](std::vector<std::shared_ptr<Array>> columns, std::vector<std::string> names) {
    FieldVector fields;
    for (size_t i = 0; i < columns.size(); ++i)
      fields.push_back(field(names[i], columns[i]->type()));
    return CheckBatch(*table, *RecordBatch::Make(schema(fields), 2, columns)).ToString();
  };
  EXPECT_EQ(check({ints, text, structs, lists}, {"a", "b", "c", "d"}), "OK");
  auto has = [](const std::string& message, const char* text) {
    return message.find(text) != std::string::npos ? "" : message;
  };
  EXPECT_EQ(has(check({ints, text, structs}, {"a", "b", "c"}), "lacks a column: table=t column=d"),
            "");
  EXPECT_EQ(has(check({ints, text, structs, lists, text}, {"a", "b", "c", "d", "e"}),
                "table lacks: table=t column=e"),
            "");
  EXPECT_EQ(has(check({ints, text, structs, lists}, {"a", "B", "c", "d"}), "expected=b actual=B"),
            "");
  EXPECT_EQ(has(check({ints, ints, structs, lists}, {"a", "b", "c", "d"}),
                "expected=string actual=int32"),
            "");
  EXPECT_EQ(has(check({one_null, text, structs, lists}, {"a", "b", "c", "d"}), "column=a row=1"),
            "");
  const auto bad_struct = std::make_shared<StructArray>(nested, 2, ArrayVector{one_null});
  EXPECT_EQ(has(check({ints, text, bad_struct, lists}, {"a", "b", "c", "d"}),
                "nested field that is not null has a null"),
            "");
  EXPECT_EQ(has(check({ints, text, bad_struct, lists}, {"a", "b", "c", "d"}), "column=c row=1"),
            "");
  const auto offsets = Buffer::FromVector(std::vector<int32_t>{0, 0, 2});
  const auto bad_list =
      std::make_shared<ListArray>(list(field("item", int32(), false)), 2, offsets, one_null);
  EXPECT_EQ(has(check({ints, text, structs, bad_list}, {"a", "b", "c", "d"}), "column=d row=1"),
            "");
}

TEST(CheckBatchTest, ValuesThatParquetToolsRefuseAreRefused) {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  const auto table = Must(Make(
      {field("a", utf8()), field("d", decimal128(3, 1)), field("l", list(utf8()))}, Names({"a"})));
  auto check = [&](const std::string& text, int64_t unscaled, const std::string& item) {
    const auto texts = testing_values::MakeColumn(
        utf8(), {std::make_shared<StringScalar>("ok"), std::make_shared<StringScalar>(text)});
    const auto decimals = testing_values::MakeColumn(
        decimal128(3, 1),
        {MakeNullScalar(decimal128(3, 1)),
         std::make_shared<Decimal128Scalar>(Decimal128(unscaled), decimal128(3, 1))});
    const auto lists = std::make_shared<ListArray>(
        list(utf8()), 2, Buffer::FromVector(std::vector<int32_t>{0, 0, 1}),
        testing_values::MakeColumn(utf8(), {std::make_shared<StringScalar>(item)}));
    const auto batch = RecordBatch::Make(table->ToArrow(), 2, {texts, decimals, lists});
    return CheckBatch(*table, *batch).ToString();
  };
  EXPECT_EQ(check("gr\xC3\xBC\xC3\x9F", 999, "x"), "OK");
  EXPECT_NE(check("\xFF", 999, "x").find("column=a"), std::string::npos);
  EXPECT_NE(check("x", 1000, "x").find("column=d"), std::string::npos);
  EXPECT_NE(check("x", 999, "\xC3").find("column=l"), std::string::npos);
}

TEST(CheckSameDefinitionTest, NamesTheFirstDifference) {
  const auto a = arrow::field("a", arrow::int32(), false);
  const auto b = arrow::field("b", arrow::utf8());
  const auto table = Must(Make({a, b}, Names({"a"})));
  auto check = [&](arrow::FieldVector fields, const KeyDeclaration& key) {
    return CheckSameDefinition(*table, *arrow::schema(std::move(fields)), key).ToString();
  };
  EXPECT_EQ(check({a, b}, Names({"a"})), "OK");
  EXPECT_EQ(check({a->WithMetadata(Metadata({"lamina.key"}, {"true"})), b}, {}), "OK");
  EXPECT_NE(check({a, b}, Names({"b"})).find("stored=[a] given=[b]"), std::string::npos);
  EXPECT_NE(check({a, b}, NoKey()).find("stored=[a] given=[]"), std::string::npos);
  EXPECT_NE(check({a}, Names({"a"})).find("stored=[b string] given=[]"), std::string::npos);
  EXPECT_NE(check({a->WithNullable(true), b}, Names({"a"}))
                .find("stored=[a int32 not null] given=[a int32]"),
            std::string::npos);
  EXPECT_NE(check({a, b->WithType(arrow::binary())}, Names({"a"})).find("given=[b binary]"),
            std::string::npos);
}

TEST(CatalogTest, SystemTablesAreFoundByIdOnly) {
  Catalog catalog = MakeCatalog();
  EXPECT_EQ(catalog.Find(kKeyValueTable), KeyValueTableSchema());
  EXPECT_EQ(catalog.Find(kCommitsTable), CommitsTableSchema());
  EXPECT_EQ(catalog.Find(kIdempotencyTable), IdempotencyTableSchema());
  EXPECT_EQ(catalog.Find("_kv"), nullptr);
  EXPECT_EQ(catalog.next_table_id, kFirstUserTableId);
  const auto table = Must(Make({arrow::field("a", arrow::int32())}, Names({"a"})));
  catalog.tables[table->id] = table;
  EXPECT_EQ(catalog.Find("t"), table);
  EXPECT_EQ(catalog.Find("T"), nullptr);
  EXPECT_EQ(KeyNames(KeyValueTableSchema()), std::vector<std::string>{"key"});
}

}  // namespace
}  // namespace lamina::catalog
