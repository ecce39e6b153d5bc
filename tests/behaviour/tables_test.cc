// Tables: how they are declared, what they take, and how they change under the rows they hold.
#include <cmath>
#include <functional>
#include <limits>

#include <arrow/util/key_value_metadata.h>
#include <fmt/format.h>

#include "key_types.h"
#include "test_database.h"

namespace lamina::behaviour {
namespace {

std::shared_ptr<arrow::Field> Marked(const char* name, const std::shared_ptr<arrow::DataType>& type,
                                     const char* mark, const char* word = "lamina.key") {
  return arrow::field(name, type, false, arrow::key_value_metadata({word}, {mark}));
}

class TableTest : public StoreTest {
 protected:
  void SetUp() override { Open(); }
  std::vector<std::string> KeyOf(const std::string& table) {
    return Must(db_->GetTable(table)).key;
  }
};

// ---- Declaring the key ----

TEST_F(TableTest, AKeyComesFromFieldMetadataInBothSpellings) {
  int n = 0;
  for (const char* word : {"lamina.key", "tonbo.key"}) {
    const std::string table = fmt::format("t{}", n++);
    Must(db_->CreateTable(table, arrow::schema({arrow::field("a", arrow::int64()),
                                                Marked("b", arrow::utf8(), "true", word)})));
    EXPECT_EQ(KeyOf(table), std::vector<std::string>{"b"});
  }
}

TEST_F(TableTest, ACompositeKeyComesFromOrdinalsListNamesOrPositionsAndOrdersTheRows) {
  const auto plain = arrow::schema({arrow::field("time", arrow::int64(), false),
                                    arrow::field("device", arrow::utf8(), false),
                                    arrow::field("v", arrow::int64())});
  const auto ordinals =
      arrow::schema({Marked("time", arrow::int64(), "1"), Marked("device", arrow::utf8(), "0"),
                     arrow::field("v", arrow::int64())});
  const auto list =
      plain->WithMetadata(arrow::key_value_metadata({"lamina.keys"}, {R"(["device", "time"])"}));
  const auto tonbo_list =
      plain->WithMetadata(arrow::key_value_metadata({"tonbo.keys"}, {R"(["device","time"])"}));
  Must(db_->CreateTable("ordinals", ordinals));
  Must(db_->CreateTable("list", list));
  Must(db_->CreateTable("tonbo_list", tonbo_list));
  Must(db_->CreateTable("names", plain, {.names = {"device", "time"}}));
  Must(db_->CreateTable("positions", plain, {.positions = {1, 0}}));
  for (const char* table : {"ordinals", "list", "tonbo_list", "names", "positions"}) {
    EXPECT_EQ(KeyOf(table), (std::vector<std::string>{"device", "time"})) << table;
    Must(db_->Put(table,
                  Batch(plain, {Int64s({2, 1, 3}), Strings({"b", "b", "a"}), Int64s({1, 2, 3})})));
    Must(db_->Put(table, Batch(plain, {Int64s({2}), Strings({"b"}), Int64s({9})})));
    EXPECT_EQ(ScanText(*db_, table), (Lines{"3|a|3", "1|b|2", "2|b|9"})) << table;
  }
  // One name in the schema's metadata is a key of one column.
  Must(db_->CreateTable("one",
                        plain->WithMetadata(arrow::key_value_metadata({"lamina.keys"}, {"time"}))));
  EXPECT_EQ(KeyOf("one"), std::vector<std::string>{"time"});
}

TEST_F(TableTest, PrefixesOfACompositeKeyAreRanges) {
  const auto schema = arrow::schema(
      {arrow::field("device", arrow::utf8(), false), arrow::field("time", arrow::int64(), false)});
  Must(db_->CreateTable("t", schema, {.names = {"device", "time"}}));
  const auto text = [](std::string s) { return s; };
  Must(db_->Put("t", Batch(schema, {Strings({"a", "a", text(std::string("a\0", 2)), "ab", "b"}),
                                    Int64s({1, 2, 5, 3, 1})})));
  for (int flushed = 0; flushed < 2; ++flushed) {
    ScanOptions options;
    options.columns = std::vector<std::string>{"time"};
    options.keys.prefix = Key{Lit("a")};
    EXPECT_EQ(ScanText(*db_, "t", options), (Lines{"1", "2"}));
    options.keys = {};
    options.keys.from = Key{Lit("a"), Lit(2)};
    options.keys.to = Key{Lit("b")};
    EXPECT_EQ(ScanText(*db_, "t", options), (Lines{"2", "5", "3"}));
    options.keys = {};
    options.keys.from = Key{Lit("ab")};
    EXPECT_EQ(ScanText(*db_, "t", options), (Lines{"3", "1"}));
    Must(db_->Flush());
  }
}

TEST_F(TableTest, EveryBadKeyDeclarationHasItsOwnError) {
  const auto i64 = arrow::int64();
  const auto plain =
      arrow::schema({arrow::field("a", i64, false), arrow::field("b", arrow::list(i64)),
                     arrow::field("c", i64, false)});
  std::vector<std::string> messages;
  const auto refused = [&](const std::shared_ptr<arrow::Schema>& schema, const KeyDeclaration& key,
                           std::initializer_list<std::string> words) {
    const Status status = db_->CreateTable("t", schema, key);
    ExpectError(status, ErrorCode::kInvalidArgument, words);
    messages.push_back(MessageOf(status));
  };
  refused(plain, {}, {"no primary key is declared"});
  refused(plain, {.names = {"nope"}}, {"unknown column", "nope"});
  refused(plain, {.names = {"a", "a"}}, {"twice", "a"});
  refused(plain, {.names = {"a"}, .positions = {0}}, {"more than one way"});
  refused(plain, {.names = {"a"}, .no_key = true}, {"more than one way"});
  refused(plain, {.positions = {7}}, {"position=7", "columns=3"});
  refused(plain, {.positions = {-1}}, {"position=-1"});
  refused(plain, {.names = {"b"}}, {"without an order", "b", "list"});
  refused(arrow::schema({Marked("a", i64, "true"), Marked("c", i64, "true")}), {},
          {"without an order", "a,c"});
  refused(arrow::schema({Marked("a", i64, "0"), Marked("c", i64, "0")}), {},
          {"same ordinal", "ordinal=0"});
  refused(arrow::schema({Marked("a", i64, "0"), Marked("c", i64, "2")}), {}, {"gap", "expected=1"});
  refused(arrow::schema({Marked("a", i64, "first")}), {}, {"cannot be read", "first"});
  refused(plain->WithMetadata(arrow::key_value_metadata({"lamina.keys"}, {"[\"a\""})), {},
          {"cannot be read"});
  refused(plain->WithMetadata(arrow::key_value_metadata({"lamina.keys"}, {"[\"zzz\"]"})), {},
          {"unknown column", "zzz"});
  EXPECT_TRUE(db_->ListTables().empty());
  std::sort(messages.begin(), messages.end());
  EXPECT_EQ(std::unique(messages.begin(), messages.end()), messages.end() - 1)
      << "only 'more than one way' stands for two";
}

// ---- Key types ----

class KeyTypeTest : public StoreTest, public ::testing::WithParamInterface<KeyType> {};
INSTANTIATE_TEST_SUITE_P(Types, KeyTypeTest, ::testing::ValuesIn(KeyTypes()),
                         [](const auto& info) { return info.param.name; });

TEST_P(KeyTypeTest, RowsComeInTheTypesOrderAndAreFoundByKeyAlsoAfterFlushAndReopen) {
  Open();
  const auto& keys = GetParam().ascending;
  const int64_t n = keys->length();
  const auto schema = arrow::schema(
      {arrow::field("k", keys->type(), false), arrow::field("n", arrow::int64(), false)});
  Must(db_->CreateTable("t", schema, {.names = {"k"}}));
  // Last row first, one batch a row.
  for (int64_t i = n - 1; i >= 0; --i) {
    Must(db_->Put("t", Batch(schema, {keys->Slice(i, 1), Int64s({i})})));
    if (i == n / 2) Must(db_->Flush());
  }
  const auto expect_all = [&](const char* when) {
    ScanOptions options;
    options.columns = std::vector<std::string>{"n"};
    Lines expected;
    for (int64_t i = 0; i < n; ++i) expected.push_back(std::to_string(i));
    EXPECT_EQ(ScanText(*db_, "t", options), expected) << when;
    for (int64_t i = 0; i < n; ++i) {
      const Key key = {Must(keys->GetScalar(i))};
      const auto row = Must(db_->Get("t", key));
      ASSERT_EQ(row->num_rows(), 1) << when << " " << keys->ToString();
      EXPECT_TRUE(row->column(0)->RangeEquals(0, 1, 0, keys->Slice(i, 1),
                                              arrow::EqualOptions().nans_equal(true)))
          << when << " " << i << " " << row->column(0)->ToString();
      EXPECT_EQ(CellText(*row->column(1), 0), std::to_string(i));
      options.keys.from = key;
      EXPECT_EQ(ScanText(*db_, "t", options), Lines(expected.begin() + i, expected.end()))
          << when << " " << i;
      options.keys = {};
      options.filter = Eq("k", key[0]);
      EXPECT_EQ(ScanText(*db_, "t", options), Lines{std::to_string(i)}) << when << " " << i;
      options.filter = nullptr;
    }
  };
  expect_all("in memory and file");
  Must(db_->Flush());
  expect_all("in files");
  Must(db_->Compact());
  Reopen();
  expect_all("compacted and reopened");
  // As the second column of a key, where encodings must not run into each other.
  const auto pair = arrow::schema(
      {arrow::field("s", arrow::utf8(), false), arrow::field("k", keys->type(), false)});
  Must(db_->CreateTable("pair", pair, {.names = {"k", "s"}}));
  std::vector<std::string> a(static_cast<size_t>(n), "a"), b(static_cast<size_t>(n), "");
  Must(db_->Put("pair", Batch(pair, {Strings(a), keys})));
  Must(db_->Put("pair", Batch(pair, {Strings(b), keys})));
  Must(db_->Flush());
  ScanOptions options;
  options.columns = std::vector<std::string>{"s"};
  Lines expected;
  for (int64_t i = 0; i < n; ++i) expected.insert(expected.end(), {"", "a"});
  EXPECT_EQ(ScanText(*db_, "pair", options), expected);
  ExpectSound();
}

TEST_F(TableTest, EveryNanIsOneKeyAndMinusZeroIsZero) {
  const auto schema = arrow::schema(
      {arrow::field("k", arrow::float64(), false), arrow::field("n", arrow::int64())});
  Must(db_->CreateTable("t", schema, {.names = {"k"}}));
  const auto put = [&](double key, int64_t n) {
    Must(db_->Put("t", Batch(schema, {ArrayOf<arrow::DoubleBuilder, double>({key}), Int64s({n})})));
  };
  put(std::nan("1"), 1);
  put(-std::nan("2"), 2);
  put(0.0, 3);
  put(-0.0, 4);
  ScanOptions options;
  options.columns = std::vector<std::string>{"n"};
  EXPECT_EQ(ScanText(*db_, "t", options), (Lines{"4", "2"}));
  Must(db_->Flush());
  EXPECT_EQ(ScanText(*db_, "t", options), (Lines{"4", "2"}));
  const Key nan = {arrow::MakeScalar(std::nan(""))};
  EXPECT_EQ(Must(db_->Get("t", nan))->num_rows(), 1);
}

// ---- Writing ----

TEST_F(TableTest, APutIsVisibleAtOnceAndTheSecondValueOfAKeyWins) {
  CreateNumbers();
  Put({{2, 20}, {1, 10}});
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|10", "2|20"}));
  Put({{1, 11}});
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|11", "2|20"}));
  Must(db_->Flush());
  Put({{1, 12}});
  Must(db_->Flush());
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|12", "2|20"}));
}

TEST_F(TableTest, ABatchMayMixPutsAndDeletesInOneCommit) {
  CreateNumbers();
  Put({{1, 10}, {2, 20}, {3, 30}});
  Must(db_->Flush());
  const CommitId before = db_->newest_commit();
  WriteOptions options;
  options.deletes = Booleans({false, true, false, true});
  Must(db_->Put("t", Numbers({{1, 11}, {2, 0}, {4, 40}, {99, 0}}), options));
  EXPECT_EQ(db_->newest_commit().value, before.value + 1);
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|11", "3|30", "4|40"}));
  Reopen();
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|11", "3|30", "4|40"}));
  Must(db_->Flush());
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|11", "3|30", "4|40"}));
}

TEST_F(TableTest, AKeyMayComeSeveralTimesInABatch) {
  CreateNumbers();
  WriteOptions options;
  options.deletes = Booleans({false, true, false, false, true});
  Must(db_->Put("t", Numbers({{1, 1}, {1, 0}, {1, 3}, {2, 1}, {2, 0}}), options));
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|3"}));
  Must(db_->Flush());
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|3"}));
}

TEST_F(TableTest, ASlicedBatchIsStoredAsItsSlice) {
  CreateNumbers();
  Must(db_->Put("t", Numbers({{1, 1}, {2, 2}, {3, 3}, {4, 4}})->Slice(1, 2)));
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"2|2", "3|3"}));
  Reopen();
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"2|2", "3|3"}));
}

TEST_F(TableTest, DeletingWhatIsNotThereIsFine) {
  CreateNumbers();
  Delete({1, 2});
  EXPECT_EQ(ScanText(*db_, "t"), Lines());
  Must(db_->Flush());
  EXPECT_EQ(ScanText(*db_, "t"), Lines());
  ExpectSound();
}

TEST_F(TableTest, DeletesTakeWholeRowsToo) {
  CreateNumbers();
  Put({{1, 10}, {2, 20}});
  Must(db_->Delete("t", Numbers({{1, 777}})));  // other columns are ignored
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"2|20"}));
}

TEST_F(TableTest, NestedValuesComeBackFromFlushAndRestart) {
  const auto point = arrow::struct_(
      {arrow::field("x", arrow::int32()), arrow::field("tags", arrow::list(arrow::utf8()))});
  const auto schema = arrow::schema(
      {arrow::field("id", arrow::int64(), false), arrow::field("points", arrow::list(point)),
       arrow::field("attributes", arrow::map(arrow::utf8(), arrow::int64())),
       arrow::field("fixed", arrow::fixed_size_list(arrow::float32(), 2)),
       arrow::field("none", arrow::null())});
  Must(db_->CreateTable("n", schema, {.names = {"id"}}));
  const auto json = [](const std::shared_ptr<arrow::DataType>& type,
                       const std::function<Status(arrow::ArrayBuilder*)>& fill) {
    std::unique_ptr<arrow::ArrayBuilder> builder;
    Must(arrow::MakeBuilder(arrow::default_memory_pool(), type, &builder));
    Must(fill(builder.get()));
    return Must(builder->Finish());
  };
  // Row 0: values; row 1: empty; row 2: null.
  const auto points = json(schema->field(1)->type(), [](arrow::ArrayBuilder* b) -> Status {
    auto* list = static_cast<arrow::ListBuilder*>(b);
    auto* structs = static_cast<arrow::StructBuilder*>(list->value_builder());
    auto* x = static_cast<arrow::Int32Builder*>(structs->field_builder(0));
    auto* tags = static_cast<arrow::ListBuilder*>(structs->field_builder(1));
    auto* tag = static_cast<arrow::StringBuilder*>(tags->value_builder());
    ARROW_RETURN_NOT_OK(list->Append());
    ARROW_RETURN_NOT_OK(structs->Append());
    ARROW_RETURN_NOT_OK(x->Append(7));
    ARROW_RETURN_NOT_OK(tags->Append());
    ARROW_RETURN_NOT_OK(tag->Append("red"));
    ARROW_RETURN_NOT_OK(tag->AppendNull());
    ARROW_RETURN_NOT_OK(structs->Append());
    ARROW_RETURN_NOT_OK(x->AppendNull());
    ARROW_RETURN_NOT_OK(tags->AppendNull());
    ARROW_RETURN_NOT_OK(structs->AppendNull());
    ARROW_RETURN_NOT_OK(list->AppendEmptyValue());
    return list->AppendNull();
  });
  const auto attributes = json(schema->field(2)->type(), [](arrow::ArrayBuilder* b) -> Status {
    auto* map = static_cast<arrow::MapBuilder*>(b);
    ARROW_RETURN_NOT_OK(map->Append());
    ARROW_RETURN_NOT_OK(static_cast<arrow::StringBuilder*>(map->key_builder())->Append("weight"));
    ARROW_RETURN_NOT_OK(static_cast<arrow::Int64Builder*>(map->item_builder())->Append(3));
    ARROW_RETURN_NOT_OK(map->AppendEmptyValue());
    return map->AppendNull();
  });
  const auto fixed = json(schema->field(3)->type(), [](arrow::ArrayBuilder* b) -> Status {
    auto* list = static_cast<arrow::FixedSizeListBuilder*>(b);
    auto* values = static_cast<arrow::FloatBuilder*>(list->value_builder());
    for (int i = 0; i < 2; ++i) {
      ARROW_RETURN_NOT_OK(list->Append());
      ARROW_RETURN_NOT_OK(values->Append(static_cast<float>(i)));
      ARROW_RETURN_NOT_OK(values->AppendNull());
    }
    return list->AppendNull();
  });
  const auto none = std::make_shared<arrow::NullArray>(3);
  const auto written = Batch(schema, {Int64s({0, 1, 2}), points, attributes, fixed, none});
  Must(written->ValidateFull());
  Must(db_->Put("n", written));
  const auto expect_same = [&](const char* when) {
    const auto reader = Must(db_->Scan("n"));
    const auto table = Must(reader->ToTable());
    const auto read = Must(table->CombineChunksToBatch());
    EXPECT_TRUE(read->Equals(*written)) << when << "\n" << read->ToString() << written->ToString();
  };
  expect_same("in memory");
  Reopen();
  expect_same("replayed");
  Must(db_->Flush());
  expect_same("flushed");
  Must(db_->Compact());
  Reopen();
  expect_same("compacted and reopened");
  ScanOptions options;
  options.columns = std::vector<std::string>{"id"};
  options.filter = IsNull("points");
  EXPECT_EQ(ScanText(*db_, "n", options), (Lines{"2"}));
}

TEST_F(TableTest, AnAppendTableKeepsEveryRowInOrderOfArrival) {
  Must(db_->CreateTable("log", NumberSchema(), {.no_key = true}));
  EXPECT_EQ(KeyOf("log"), std::vector<std::string>());
  Lines expected;
  for (int64_t i = 0; i < 12; ++i) {
    Must(db_->Put("log", Numbers({{1, i}, {1, i}})));  // equal rows stay two
    expected.insert(expected.end(), 2, fmt::format("1|{}", i));
    if (i == 3) Must(db_->Flush());
    if (i == 6) Reopen();
    if (i == 8) Must(db_->Compact());
    ASSERT_EQ(ScanText(*db_, "log"), expected) << i;
  }
  Must(db_->Flush());
  Reopen();
  EXPECT_EQ(ScanText(*db_, "log"), expected);
  EXPECT_EQ(Must(db_->GetTable("log")).schema->num_fields(), 2) << "the row number is hidden";
  ExpectSound();
}

TEST_F(TableTest, ARowOfATableWithoutAKeyIsFoundChangedAndErasedByItsRowId) {
  Must(db_->CreateTable("log", NumberSchema(), {.no_key = true}));
  Must(db_->Put("log", Numbers({{1, 10}, {1, 11}})));
  const CommitId before = db_->newest_commit();
  Must(db_->Flush());
  Must(db_->Put("log", Numbers({{2, 12}})));
  const auto ids = Must(Must(db_->Scan("log", {.columns = {{"_rowid"}}}))->ToTable());
  ASSERT_EQ(ids->num_rows(), 3);
  std::vector<Key> keys;
  for (int64_t i = 0; i < 3; ++i) keys.push_back({Must(ids->column(0)->GetScalar(i))});
  const auto value = [&](const Key& key, const SystemPeriod& system = {}) {
    const auto rows = Must(db_->Get("log", key, system));
    return rows->num_rows() == 0 ? Lines{} : Lines{rows->ToString()};
  };
  ASSERT_EQ(value(keys[1]).size(), 1U);
  EXPECT_NE(value(keys[1])[0].find("11"), std::string::npos);
  EXPECT_NE(value(keys[2])[0].find("12"), std::string::npos);
  EXPECT_EQ(value({Lit(int64_t{77})}), Lines{});

  const auto id =
      arrow::RecordBatch::Make(arrow::schema({arrow::field("_rowid", arrow::int64(), false)}), 1,
                               {Must(arrow::MakeArrayFromScalar(*keys[1][0], 1))});
  Must(db_->Delete("log", id));
  EXPECT_EQ(value(keys[1]), Lines{});
  EXPECT_EQ(value(keys[1], SystemPeriod::AsOf(before)).size(), 1U);
  Must(db_->Flush());
  EXPECT_EQ(value(keys[1], SystemPeriod::AsOf(before)).size(), 1U);
  Must(db_->EraseKey("log", keys[1]));
  EXPECT_EQ(value(keys[1], SystemPeriod::AsOf(before)), Lines{});
  EXPECT_EQ(ScanText(*db_, "log"), (Lines{"1|10", "2|12"}));
  ExpectSound();
}

TEST_F(TableTest, SeveralTablesShareOneCommit) {
  CreateNumbers("a");
  CreateNumbers("b");
  const auto t = Must(db_->Begin());
  Must(t->Put("a", Numbers({{1, 1}})));
  Must(t->Put("b", Numbers({{2, 2}})));
  const CommitResult result = Must(t->Commit());
  EXPECT_EQ(db_->newest_commit(), result.commit);
  EXPECT_EQ(Must(db_->TimeOf(result.commit)), result.system_time);
  EXPECT_EQ(ScanText(*db_, "a"), (Lines{"1|1"}));
  EXPECT_EQ(ScanText(*db_, "b"), (Lines{"2|2"}));
  EXPECT_EQ(db_->ListTables().size(), 2u);
}

TEST_F(TableTest, APeriodOfTheTablesOwnColumnsIsItsValidTime) {
  const auto us = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  const auto schema = arrow::schema(
      {arrow::field("id", arrow::int64(), false), arrow::field("a", us), arrow::field("b", us)});
  Must(db_->CreateTable("p", schema, {.names = {"id"}},
                        {.period_from_column = "a", .period_to_column = "b"}));
  const auto put = [&](int64_t id, std::optional<int64_t> from, std::optional<int64_t> to,
                       const WriteOptions& options = {}) {
    return db_->Put("p", Batch(schema, {Int64s({id}), Times({from}), Times({to})}), options);
  };
  Must(put(1, 100, 200));
  Must(put(1, 200, std::nullopt));
  Must(put(2, std::nullopt, 50));
  ExpectError(put(3, 10, 10), ErrorCode::kInvalidArgument, {"valid_from", "row=0"});
  ExpectError(put(3, 10, 20, {.valid = {{0}, {5}}}), ErrorCode::kInvalidArgument,
              {"p", "own columns"});
  ScanOptions options;
  const auto at = [&](int64_t t) {
    options.valid = ValidPeriod::At({t});
    return ScanText(*db_, "p", options);
  };
  for (int flushed = 0; flushed < 2; ++flushed) {
    EXPECT_EQ(at(99), Lines());
    EXPECT_EQ(at(150), (Lines{"1|100|200"}));
    EXPECT_EQ(at(200), (Lines{"1|200|null"}));
    EXPECT_EQ(at(-7), (Lines{"2|null|50"}));
    Must(db_->Flush());
  }
}

// ---- Reopening and changing ----

TEST_F(TableTest, EnsureTableMakesOrChecks) {
  Must(db_->EnsureTable("t", NumberSchema(), {.names = {"id"}}));
  Put({{1, 10}});
  Reopen();
  Must(db_->EnsureTable("t", NumberSchema(), {.names = {"id"}}));
  EXPECT_EQ(ValueOf(*db_, "t", 1), "10");
  const auto refused = [&](const std::shared_ptr<arrow::Schema>& schema, const KeyDeclaration& key,
                           std::initializer_list<std::string> words) {
    ExpectError(db_->EnsureTable("t", schema, key), ErrorCode::kInvalidArgument, words);
  };
  const auto id = arrow::field("id", arrow::int64(), false);
  refused(arrow::schema({id, arrow::field("value", arrow::utf8())}), {.names = {"id"}},
          {"position=1", "int64", "string"});
  refused(arrow::schema({id}), {.names = {"id"}}, {"position=1", "value"});
  refused(
      arrow::schema({id, arrow::field("value", arrow::int64()), arrow::field("x", arrow::int64())}),
      {.names = {"id"}}, {"position=2", "x"});
  refused(NumberSchema(), {.names = {"value"}}, {"key differs", "stored=[id]", "given=[value]"});
  refused(NumberSchema(), {.no_key = true}, {"key differs"});
  refused(arrow::schema({id->WithNullable(true), arrow::field("value", arrow::int64())}),
          {.names = {"id"}}, {"position=0", "not null"});
  const auto us = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  const auto schema = arrow::schema({id, arrow::field("a", us), arrow::field("b", us)});
  const TableOptions period = {.period_from_column = "a", .period_to_column = "b"};
  Must(db_->EnsureTable("p", schema, {.names = {"id"}}, period));
  Must(db_->EnsureTable("p", schema, {.names = {"id"}}, period));
  ExpectError(db_->EnsureTable("p", schema, {.names = {"id"}}), ErrorCode::kInvalidArgument,
              {"valid period differs", "stored=[a,b]"});
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|10"}));
}

/// Each change is looked at with the old rows in memory, in files, and after compaction.
class EvolutionTest : public StoreTest, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    Open();
    CreateNumbers();
    Put({{1, 10}, {2, 20}});
    Must(db_->Flush());
    Put({{3, 30}});
    if (GetParam()) Must(db_->Flush());
  }
  void ExpectAlways(const Lines& expected, const ScanOptions& options = {}) {
    EXPECT_EQ(ScanText(*db_, "t", options), expected) << "at once";
    Must(db_->Flush());
    EXPECT_EQ(ScanText(*db_, "t", options), expected) << "flushed";
    Reopen();
    EXPECT_EQ(ScanText(*db_, "t", options), expected) << "reopened";
    Must(db_->Compact());
    EXPECT_EQ(ScanText(*db_, "t", options), expected) << "compacted";
    Reopen();
    EXPECT_EQ(ScanText(*db_, "t", options), expected) << "compacted and reopened";
    ExpectSound();
  }
};
INSTANTIATE_TEST_SUITE_P(OldRows, EvolutionTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "InFiles" : "AlsoInMemory"; });

TEST_P(EvolutionTest, AnAddedColumnReadsNullInOldRows) {
  Must(db_->AddColumn("t", arrow::field("note", arrow::utf8())));
  const auto schema = Must(db_->GetTable("t")).schema;
  EXPECT_EQ(schema->num_fields(), 3);
  Must(db_->Put("t", Batch(schema, {Int64s({2, 4}), Int64s({21, 40}), Strings({"two", "four"})})));
  ScanOptions options;
  options.filter = IsNull("note");
  EXPECT_EQ(ScanText(*db_, "t", options), (Lines{"1|10|null", "3|30|null"}));
  options.filter = Eq("note", Lit("four"));
  EXPECT_EQ(ScanText(*db_, "t", options), (Lines{"4|40|four"}));
  EXPECT_EQ(Text(Must(db_->Get("t", IdKey(1)))), (Lines{"1|10|null"}));
  // The old shape is no longer taken.
  ExpectError(db_->Put("t", Numbers({{9, 9}})), ErrorCode::kInvalidArgument, {"note"});
  ExpectAlways({"1|10|null", "2|21|two", "3|30|null", "4|40|four"});
}

TEST_P(EvolutionTest, ADroppedColumnIsGoneAndItsNameIsFreeForANewOne) {
  Must(db_->AddColumn("t", arrow::field("note", arrow::utf8())));
  Must(db_->DropColumn("t", "value"));
  EXPECT_EQ(ScanText(*db_, "t"), (Lines{"1|null", "2|null", "3|null"}));
  Must(db_->AddColumn("t", arrow::field("value", arrow::utf8())));
  // The old numbers do not come back under the new column.
  ExpectAlways({"1|null|null", "2|null|null", "3|null|null"});
}

TEST_P(EvolutionTest, ARenamedColumnKeepsItsValues) {
  Must(db_->RenameColumn("t", "value", "amount"));
  const auto schema = Must(db_->GetTable("t")).schema;
  EXPECT_EQ(schema->field(1)->name(), "amount");
  Must(db_->Put("t", Batch(schema, {Int64s({4}), Int64s({40})})));
  ScanOptions options;
  options.filter = Ge("amount", Lit(30));
  EXPECT_EQ(ScanText(*db_, "t", options), (Lines{"3|30", "4|40"}));
  ExpectError(db_->Scan("t", {.columns = std::vector<std::string>{"value"}}),
              ErrorCode::kInvalidArgument, {"value"});
  ExpectAlways({"1|10", "2|20", "3|30", "4|40"});
}

TEST_P(EvolutionTest, AKeyColumnMayBeRenamed) {
  Must(db_->RenameColumn("t", "id", "number"));
  EXPECT_EQ(Must(db_->GetTable("t")).key, std::vector<std::string>{"number"});
  EXPECT_EQ(Text(Must(db_->Get("t", IdKey(2)))), (Lines{"2|20"}));
  ExpectAlways({"1|10", "2|20", "3|30"});
}

TEST_P(EvolutionTest, AWidenedColumnReadsOldFilesInItsNewType) {
  const auto narrow =
      arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("i", arrow::int32()),
                     arrow::field("f", arrow::float32()), arrow::field("d", arrow::date32())});
  Must(db_->CreateTable("w", narrow, {.names = {"id"}}));
  const auto put = [&](int64_t id, int32_t i, float f, int32_t d) {
    Must(db_->Put(
        "w", Batch(narrow, {Int64s({id}), Int32s({i}), ArrayOf<arrow::FloatBuilder, float>({f}),
                            ArrayOf<arrow::Date32Builder, int32_t>({d})})));
  };
  put(1, -5, 0.5f, 1);
  Must(db_->Flush());
  put(2, 1 << 30, 1.5f, 0);
  if (GetParam()) Must(db_->Flush());
  Must(db_->WidenColumn("w", "i", arrow::int64()));
  Must(db_->WidenColumn("w", "f", arrow::float64()));
  Must(db_->WidenColumn("w", "d", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")));
  const auto wide = Must(db_->GetTable("w")).schema;
  EXPECT_TRUE(wide->field(1)->type()->Equals(arrow::int64()));
  Must(db_->Put("w", Batch(wide, {Int64s({3}), Int64s({int64_t{1} << 40}),
                                  ArrayOf<arrow::DoubleBuilder, double>({0.25}), Times({9})})));
  const Lines expected = {"1|-5|0.5|86400000000", "2|1073741824|1.5|0", "3|1099511627776|0.25|9"};
  ScanOptions large;
  large.columns = std::vector<std::string>{"id"};
  large.filter = Gt("i", Lit(int64_t{1} << 29));
  const auto expect_all = [&](const char* when) {
    EXPECT_EQ(ScanText(*db_, "w"), expected) << when;
    EXPECT_EQ(ScanText(*db_, "w", large), (Lines{"2", "3"})) << when;
    EXPECT_EQ(Text(Must(db_->Get("w", IdKey(1)))), (Lines{expected[0]})) << when;
  };
  expect_all("at once");
  Must(db_->Flush());
  expect_all("flushed");
  Must(db_->Compact());
  Reopen();
  expect_all("compacted and reopened");
}

TEST_P(EvolutionTest, AWideningThatAStoredValueDoesNotFitIsRefused) {
  const auto us = arrow::timestamp(arrow::TimeUnit::MICRO),
             ns = arrow::timestamp(arrow::TimeUnit::NANO);
  const auto schema = arrow::schema({arrow::field("id", arrow::int64(), false),
                                     arrow::field("t", us), arrow::field("d", arrow::date32())});
  Must(db_->CreateTable("w", schema, {.names = {"id"}}));
  const auto put = [&](int64_t micros, int32_t days) {
    arrow::TimestampBuilder t(us, arrow::default_memory_pool());
    Must(t.Append(micros));
    Must(db_->Put("w", Batch(schema, {Int64s({1}), Must(t.Finish()),
                                      ArrayOf<arrow::Date32Builder, int32_t>({days})})));
  };
  // The year 3000 is beyond nanoseconds; the last day of int32 is beyond microseconds.
  put(32'503'680'000'000'000, std::numeric_limits<int32_t>::max());
  if (GetParam()) Must(db_->Flush());
  put(1, 1);  // The present fits, the past does not.
  const Contents before = ContentsOf(*db_);
  ExpectError(db_->WidenColumn("w", "t", ns), ErrorCode::kInvalidArgument,
              {"does not fit", "column=t", "3000-01-01"});
  for (const auto& type : {us, ns}) {
    ExpectError(db_->WidenColumn("w", "d", type), ErrorCode::kInvalidArgument,
                {"does not fit", "column=d"});
  }
  EXPECT_EQ(ContentsOf(*db_), before);
  Must(db_->WidenColumn("w", "d", arrow::timestamp(arrow::TimeUnit::MILLI)));
  // Once the values are gone from every version, nothing is in the way.
  Must(db_->EraseKey("w", IdKey(1)));
  Must(db_->WidenColumn("w", "t", ns));
  EXPECT_EQ(ScanText(*db_, "w"), Lines());
  ExpectSound();
}

TEST_P(EvolutionTest, ARenamedTableIsTheSameTable) {
  const uint64_t id = Must(db_->GetTable("t")).id;
  Must(db_->RenameTable("t", "u"));
  ExpectError(db_->Scan("t"), ErrorCode::kNotFound, {"t"});
  EXPECT_EQ(ScanText(*db_, "u"), (Lines{"1|10", "2|20", "3|30"}));
  EXPECT_EQ(Must(db_->GetTable("u")).id, id);
  // The old name is free.
  CreateNumbers("t");
  EXPECT_EQ(ScanText(*db_, "t"), Lines());
  Reopen();
  EXPECT_EQ(ScanText(*db_, "u"), (Lines{"1|10", "2|20", "3|30"}));
  EXPECT_EQ(ScanText(*db_, "t"), Lines());
}

TEST_P(EvolutionTest, ADroppedTableIsGoneAndItsNameAndFilesAreFree) {
  Must(db_->DropTable("t"));
  ExpectError(db_->Scan("t"), ErrorCode::kNotFound, {"t"});
  Reopen();
  ExpectError(db_->GetTable("t"), ErrorCode::kNotFound, {"t"});
  CreateNumbers();
  EXPECT_EQ(ScanText(*db_, "t"), Lines()) << "a new table of the name has none of the old rows";
  Must(db_->Flush());
  Must(db_->CollectGarbage(false, 0));
  for (const auto& object : Must(store_->List("data/"))) {
    // Only what the commits table holds is left.
    EXPECT_EQ(object.path.find("data/2/"), 0u) << object.path;
  }
  ExpectSound();
}

TEST_P(EvolutionTest, ATransactionThatWroteTheOldShapeConflicts) {
  const auto t = Must(db_->Begin());
  Must(t->Put("t", Numbers({{5, 50}})));
  Must(db_->AddColumn("t", arrow::field("note", arrow::utf8())));
  ExpectError(t->Commit(), ErrorCode::kConflict, {"changed meanwhile", "t"});
  const auto u = Must(db_->Begin());
  Must(u->Delete("t", Ids({1})));
  Must(db_->DropTable("t"));
  ExpectError(u->Commit(), ErrorCode::kConflict, {"dropped meanwhile", "t"});
}

TEST_P(EvolutionTest, ASnapshotKeepsTheShapeItWasTakenWith) {
  const SnapshotPtr snapshot = db_->GetSnapshot();
  Must(db_->AddColumn("t", arrow::field("note", arrow::utf8())));
  Must(db_->RenameColumn("t", "value", "amount"));
  EXPECT_EQ(ScanText(*db_, snapshot, "t"), (Lines{"1|10", "2|20", "3|30"}));
  Must(db_->Compact());
  EXPECT_EQ(ScanText(*db_, snapshot, "t"), (Lines{"1|10", "2|20", "3|30"}));
}

// ---- Where it lives ----

TEST(PlaceTest, ADatabaseInMemoryIsGoneWithItsHandle) {
  {
    const auto db = Must(Database::OpenInMemory(SmallOptions()));
    Must(db->PutDocument("d", "x"));
    Must(db->Flush());
    EXPECT_EQ(Must(db->GetDocument("d")), "x");
  }
  const auto db = Must(Database::OpenInMemory(SmallOptions()));
  EXPECT_EQ(Must(db->GetDocument("d")), std::nullopt);
}

TEST(PlaceTest, ADatabaseOnDiskHasItsFoldersAndItsRowsAfterReopen) {
  const TempDirectory directory;
  const std::string path = directory / "deep/er/db";
  {
    const auto db = Must(Database::Open(path, SmallOptions()));
    EXPECT_TRUE(db->recovery().created);
    Must(db->CreateTable("t", NumberSchema(), {.names = {"id"}}));
    Must(db->Put("t", Numbers({{1, 10}})));
    Must(db->Flush());
    Must(db->Put("t", Numbers({{2, 20}})));
    Must(db->Close());
  }
  for (const char* folder : {"refs", "manifest", "wal", "data"}) {
    EXPECT_TRUE(std::filesystem::is_directory(path + "/" + folder)) << folder;
  }
  const auto db = Must(Database::Open(path, SmallOptions()));
  EXPECT_FALSE(db->recovery().created);
  EXPECT_EQ(ScanText(*db, "t"), (Lines{"1|10", "2|20"}));
}

TEST(PlaceTest, ADatabaseWithoutALogIsDurableAfterAFlush) {
  const auto store = MakeMemoryStore();
  DatabaseOptions options = SmallOptions();
  options.wal = false;
  {
    const auto db = Must(Database::Open(store, options));
    Must(db->PutDocument("flushed", "1"));
    Must(db->Flush());
    EXPECT_EQ(Must(db->PutDocument("lost", "2")).ack, AckClass::kMemory);
  }
  const auto db = Must(Database::Open(store, options));
  EXPECT_EQ(Must(db->GetDocument("flushed")), "1");
  EXPECT_EQ(Must(db->GetDocument("lost")), std::nullopt);
  // Its number is given again, and its time is later than all that was acknowledged in a file.
  EXPECT_EQ(Must(db->PutDocument("next", "3")).commit.value, 2u);
}

}  // namespace
}  // namespace lamina::behaviour
