#include <algorithm>
#include <map>
#include <set>

#include <arrow/extension/json.h>
#include <arrow/extension/uuid.h>
#include <arrow/io/memory.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/writer.h>

#include "lamina/object_store.h"
#include "storage/sst/file_reader.h"
#include "storage/sst/file_reader_internal.h"
#include "storage/sst/file_writer.h"
#include "storage/sst/reseal_internal.h"
#include "storage/sst/test_tables_internal.h"

namespace lamina::storage::sst {
namespace {

using testing_tables::FileId;
using testing_tables::KeyedBatch;
using testing_tables::MakeRows;
using testing_tables::Must;
using testing_tables::RandomArray;
using testing_tables::WriteFile;

constexpr WriterOptions kSmall{
    .codec = catalog::Codec::kLz4, .rows_per_page = 16, .rows_per_row_group = 64};

catalog::TableSchemaPtr Table(arrow::FieldVector fields, std::vector<std::string> key = {"k"},
                              TableOptions options = {}) {
  return Must(catalog::MakeTable(catalog::TableId{16}, "t", arrow::schema(std::move(fields)),
                                 KeyDeclaration{.names = std::move(key)}, std::move(options)));
}

std::vector<std::string> Names(const arrow::Schema& schema) { return schema.field_names(); }

// Small integers with repeats: several versions of most keys, some with more versions than a page
// has rows.
std::shared_ptr<arrow::Array> RepeatingKeys(int64_t rows, std::mt19937_64& random) {
  arrow::Int64Builder builder;
  for (int64_t i = 0; i < rows; ++i) {
    EXPECT_TRUE(
        builder
            .Append(random() % 4 == 0
                        ? 7
                        : static_cast<int64_t>(random() % static_cast<uint64_t>(rows)) * 2 + 20)
            .ok());
  }
  return Must(builder.Finish());
}

class DataFileTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(arrow::compute::Initialize().ok()); }

  FileReaderPtr Open(const DataFile& file, std::shared_ptr<PageCache> cache = nullptr) {
    return Must(OpenDataFile(store_.get(), std::make_shared<const DataFile>(file), std::move(cache),
                             nullptr));
  }

  static void ExpectSame(const arrow::RecordBatch& actual, const arrow::RecordBatch& expected) {
    ASSERT_EQ(actual.num_columns(), expected.num_columns());
    for (int i = 0; i < actual.num_columns(); ++i) {
      ASSERT_TRUE(actual.column(i)->type()->Equals(expected.column(i)->type()))
          << actual.schema()->field(i)->ToString();
      if (actual.column(i)->type_id() == arrow::Type::DICTIONARY) {
        // Equal values, whatever the dictionaries.
        const auto& type =
            static_cast<const arrow::DictionaryType&>(*actual.column(i)->type()).value_type();
        ASSERT_TRUE(Must(arrow::compute::Cast(*actual.column(i), type))
                        ->Equals(Must(arrow::compute::Cast(*expected.column(i), type))));
        continue;
      }
      ASSERT_TRUE(actual.column(i)->Equals(expected.column(i),
                                           arrow::EqualOptions::Defaults().nans_equal(true)))
          << actual.schema()->field(i)->ToString() << "\n"
          << actual.column(i)->ToString() << "\nexpected\n"
          << expected.column(i)->ToString();
    }
  }

  // Both ways of reading give exactly `expected`, whose rows are ordinals 0 … n.
  void ExpectReads(const FileReader& reader, const catalog::TableSchemaPtr& table,
                   const arrow::RecordBatch& expected) {
    const std::vector<std::string> names = Names(*expected.schema());
    for (uint32_t page = 0; page < reader.page_count(); ++page) {
      const PageRows read = Must(reader.ReadPage(page, *table, names, nullptr));
      const auto slice =
          expected.Slice(static_cast<int64_t>(read.first_ordinal), read.rows->num_rows());
      ExpectSame(*read.rows, *slice);
    }
    // Every page but the third, in batches that fit nothing.
    PageSet pages = {{0, reader.page_count()}};
    if (reader.page_count() > 3) pages = {{0, 2}, {3, reader.page_count()}};
    ReadCounters counters;
    auto stream = Must(reader.Read(pages, table, names, 23, &counters));
    int64_t rows = 0;
    while (true) {
      const PageRows batch = Must(stream->Next());
      if (batch.rows == nullptr) break;
      ASSERT_GT(batch.rows->num_rows(), 0);
      ASSERT_LE(batch.rows->num_rows(), 23);
      const auto slice =
          expected.Slice(static_cast<int64_t>(batch.first_ordinal), batch.rows->num_rows());
      ExpectSame(*batch.rows, *slice);
      rows += batch.rows->num_rows();
    }
    const int64_t skipped =
        reader.page_count() > 3
            ? std::min<int64_t>(reader.rows_per_page(),
                                expected.num_rows() - 2 * int64_t{reader.rows_per_page()})
            : 0;
    EXPECT_EQ(rows, expected.num_rows() - skipped);
    EXPECT_EQ(counters.pages_read > 0, !names.empty());
  }

  std::shared_ptr<ObjectStore> store_ = MakeMemoryStore();
};

std::vector<std::shared_ptr<arrow::DataType>> AllTypes() {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  std::vector<std::shared_ptr<DataType>> types = {boolean(),
                                                  int8(),
                                                  uint8(),
                                                  int16(),
                                                  uint16(),
                                                  int32(),
                                                  uint32(),
                                                  int64(),
                                                  uint64(),
                                                  float16(),
                                                  float32(),
                                                  float64(),
                                                  decimal32(7, 2),
                                                  decimal64(15, 3),
                                                  decimal128(38, 5),
                                                  decimal256(70, 10),
                                                  date32(),
                                                  date64(),
                                                  time32(TimeUnit::SECOND),
                                                  time32(TimeUnit::MILLI),
                                                  time64(TimeUnit::MICRO),
                                                  time64(TimeUnit::NANO),
                                                  timestamp(TimeUnit::SECOND),
                                                  timestamp(TimeUnit::SECOND, "UTC"),
                                                  timestamp(TimeUnit::MILLI),
                                                  timestamp(TimeUnit::MICRO, "Europe/Berlin"),
                                                  timestamp(TimeUnit::NANO),
                                                  duration(TimeUnit::SECOND),
                                                  duration(TimeUnit::NANO),
                                                  utf8(),
                                                  large_utf8(),
                                                  binary(),
                                                  large_binary(),
                                                  fixed_size_binary(5),
                                                  utf8_view(),
                                                  binary_view(),
                                                  null()};
  const auto scalars = types;
  for (const auto& type : scalars) types.push_back(list(type));
  types.push_back(list(field("other", int64(), false)));
  types.push_back(large_list(field("x", large_utf8())));
  types.push_back(fixed_size_list(field("f", float32(), false), 3));
  types.push_back(map(utf8(), int32()));
  types.push_back(map(int16(), field("v", list(utf8()))));
  types.push_back(struct_(
      {field("a", int32(), false), field("b", utf8()), field("t", timestamp(TimeUnit::SECOND))}));
  types.push_back(list(struct_({field("z", decimal64(12, 3)),
                                field("m", map(utf8(), timestamp(TimeUnit::SECOND, "UTC")))})));
  types.push_back(struct_({field("s", struct_({field("l", list(list(int8())))}))}));
  types.push_back(dictionary(int32(), utf8()));
  types.push_back(extension::uuid());
  types.push_back(extension::json());
  return types;
}

TEST_F(DataFileTest, EveryTypeRoundTripsAtEveryPage) {
  std::mt19937_64 random(1);
  for (const auto codec : {catalog::Codec::kNone, catalog::Codec::kLz4, catalog::Codec::kZstd}) {
    for (const bool nullable : {true, false}) {
      if (codec == catalog::Codec::kZstd && nullable) continue;
      arrow::FieldVector fields = {arrow::field("k", arrow::int64(), false)};
      for (const auto& type : AllTypes()) {
        const bool may = nullable || type->id() == arrow::Type::NA;
        fields.push_back(arrow::field("c" + std::to_string(fields.size()), type, may));
      }
      // Built by hand: the catalog accepts fewer types than files can hold.
      auto made = std::make_shared<catalog::TableSchema>();
      made->id = catalog::TableId{16};
      made->name = "t";
      for (const auto& field : fields) {
        made->columns.push_back({.id = static_cast<int>(made->columns.size()) + 1,
                                 .name = field->name(),
                                 .type = field->type(),
                                 .nullable = field->nullable(),
                                 .metadata = nullptr});
      }
      made->key = {1};
      made->next_column_id = static_cast<int>(fields.size()) + 1;
      const catalog::TableSchemaPtr table = made;
      std::vector<std::shared_ptr<arrow::Array>> columns = {RepeatingKeys(150, random)};
      for (size_t i = 1; i < fields.size(); ++i)
        columns.push_back(RandomArray(fields[i]->type(), 150, fields[i]->nullable(), random));
      const KeyedBatch batch = MakeRows(*table, columns, FileKind::kHistory, true, random);
      WriterOptions options = kSmall;
      options.kind = FileKind::kHistory;
      options.valid_columns = true;
      options.codec = codec;
      const DataFile file =
          WriteFile(store_, table, batch, options,
                    static_cast<uint8_t>(10 + 2 * static_cast<int>(codec) + (nullable ? 1 : 0)));
      const FileReaderPtr reader = Open(file);
      EXPECT_EQ(reader->page_count(), 10u);
      ExpectReads(*reader, table, *batch.rows);
      const Status verified = reader->Verify();
      EXPECT_TRUE(verified.ok()) << verified;
    }
  }
}

TEST_F(DataFileTest, EveryKeyTypeIsFound) {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  std::mt19937_64 random(2);
  uint8_t number = 0;
  for (const auto& type : AllTypes()) {
    if (!catalog::IsKeyType(*type)) continue;
    const auto table = Table(
        {field("v", int32()), field("k", type, false), field("k2", utf8(), false)}, {"k", "k2"});
    const KeyedBatch batch =
        MakeRows(*table,
                 {RandomArray(int32(), 100, true, random), RandomArray(type, 100, false, random),
                  RandomArray(utf8(), 100, false, random)},
                 FileKind::kCurrent, false, random);
    const DataFile file = WriteFile(store_, table, batch, kSmall, ++number);
    EXPECT_EQ(file.min_key, batch.keys->GetView(0));
    EXPECT_EQ(file.max_key, batch.keys->GetView(99));
    const FileReaderPtr reader = Open(file);
    for (int64_t i = 0; i < 100; ++i) {
      const std::string_view key = batch.keys->GetView(i);
      ASSERT_TRUE(reader->KeyMayExist(key, catalog::HashKey(key), nullptr));
      const RowRange range = Must(reader->FindKey(key, nullptr));
      ASSERT_LE(range.first, static_cast<uint64_t>(i)) << type->ToString();
      ASSERT_GT(range.last, static_cast<uint64_t>(i));
    }
    const Status verified = reader->Verify();
    EXPECT_TRUE(verified.ok()) << type->ToString() << verified;
  }
  EXPECT_GT(number, 20);
}

TEST_F(DataFileTest, FindKeyGivesAllVersionsAndOnlyThose) {
  std::mt19937_64 random(3);
  const auto table =
      Table({arrow::field("k", arrow::int64(), false), arrow::field("v", arrow::utf8())});
  const KeyedBatch batch =
      MakeRows(*table, {RepeatingKeys(500, random), RandomArray(arrow::utf8(), 500, true, random)},
               FileKind::kCurrent, false, random);
  const DataFile file = WriteFile(store_, table, batch, kSmall);
  const auto cache = std::make_shared<PageCache>(1 << 20);
  const FileReaderPtr reader = Open(file, cache);
  std::map<std::string, RowRange> model;
  for (int64_t i = 0; i < 500; ++i) {
    auto [it, added] = model.try_emplace(std::string(batch.keys->GetView(i)),
                                         RowRange{static_cast<uint64_t>(i), 0});
    it->second.last = static_cast<uint64_t>(i) + 1;
  }
  int negatives = 0;
  const catalog::KeyCodec codec(*table);
  ReadCounters counters;
  for (int64_t k = 0; k < 1100; ++k) {
    const std::string key = Must(codec.EncodeScalars({arrow::MakeScalar(k)}));
    const RowRange range = Must(reader->FindKey(key, &counters));
    const auto expected = model.find(key);
    if (expected == model.end()) {
      EXPECT_TRUE(range.empty()) << k;
      negatives += reader->KeyMayExist(key, catalog::HashKey(key), &counters) ? 0 : 1;
    } else {
      EXPECT_EQ(range.first, expected->second.first) << k;
      EXPECT_EQ(range.last, expected->second.last) << k;
      EXPECT_TRUE(reader->KeyMayExist(key, catalog::HashKey(key), nullptr));
    }
  }
  EXPECT_GT(model[Must(codec.EncodeScalars({arrow::MakeScalar(int64_t{7})}))].last,
            3 * 16u);  // Spans pages.
  EXPECT_GT(negatives, static_cast<int>(1100 - model.size()) * 9 / 10);
  EXPECT_GT(counters.page_cache_hits, 500u);
  EXPECT_LE(counters.pages_read, reader->page_count());
  EXPECT_GT(counters.bloom_negatives, 0u);

  for (int64_t from = 0; from < 1100; from += 61) {
    for (int64_t to = from; to < 1200; to += 97) {
      const catalog::KeyRange range{.from = Must(codec.EncodeScalars({arrow::MakeScalar(from)})),
                                    .to = Must(codec.EncodeScalars({arrow::MakeScalar(to)})),
                                    .unbounded_to = false};
      const PageSet pages = reader->PagesInKeyRange(range);
      for (int64_t i = 0; i < 500; ++i) {
        if (range.Contains(batch.keys->GetView(i))) {
          const auto page = static_cast<uint32_t>(i / 16);
          EXPECT_TRUE(std::any_of(pages.begin(), pages.end(), [&](const PageRun& run) {
            return run.first <= page && page < run.last;
          }));
        }
      }
    }
  }
  const PageSet all = reader->PagesInKeyRange(catalog::KeyRange::All());
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].last, reader->page_count());
}

TEST_F(DataFileTest, OlderFilesReadAsTheNewestDefinition) {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  std::mt19937_64 random(4);
  const auto table = Table({field("k", int64(), false), field("a", int32()), field("b", utf8()),
                            field("gone", float64())});
  const KeyedBatch batch =
      MakeRows(*table,
               {RepeatingKeys(90, random), RandomArray(int32(), 90, true, random),
                RandomArray(utf8(), 90, true, random), RandomArray(float64(), 90, true, random)},
               FileKind::kCurrent, false, random);
  const DataFile file = WriteFile(store_, table, batch, kSmall);
  // a -> wide (int64), b -> a, a new b: names now mean other columns than in the file.
  auto changed = Must(catalog::RenameColumn(*table, "a", "wide"));
  changed = Must(catalog::WidenColumn(*changed, "wide", int64()));
  changed = Must(catalog::RenameColumn(*changed, "b", "a"));
  changed = Must(catalog::DropColumn(*changed, "gone"));
  changed = Must(catalog::AddColumn(*changed, field("b", int16())));
  const auto expected = RecordBatch::Make(
      schema({field("b", int16()), field("wide", int64()), field("a", utf8()),
              field("k", int64(), false), field(catalog::kSystemToColumn, TimeType(), false),
              field(catalog::kValidFromColumn, TimeType(), false)}),
      90,
      {Must(MakeArrayOfNull(int16(), 90)), Must(compute::Cast(*batch.rows->column(1), int64())),
       batch.rows->column(2), batch.rows->column(0),
       batch.rows->GetColumnByName(catalog::kSystemToColumn),
       batch.rows->GetColumnByName(catalog::kValidFromColumn)});
  const FileReaderPtr reader = Open(file, std::make_shared<PageCache>(1 << 20));
  ExpectReads(*reader, changed, *expected);
  ExpectReads(*reader, changed, *expected);  // From the cache now.
  ExpectReads(*reader, table, *batch.rows);  // The older definition beside it.
  ExpectReads(*reader, changed, *expected->SelectColumns({}).ValueOrDie());
  EXPECT_EQ(CodeOf(reader->ReadPage(0, *changed, {"gone"}, nullptr).status()),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(reader->ReadPage(99, *changed, {"a"}, nullptr).status()), ErrorCode::kInternal);

  // Statistics follow the column, not the name: "b" is all null, "wide" compares as int64, "a" as
  // text.
  const auto pages = [&](const ExprPtr& expr) {
    return reader->Prune({{0, reader->page_count()}},
                         *Must(catalog::Predicate::Bind(expr, *changed)), nullptr, changed.get());
  };
  EXPECT_TRUE(pages(Eq("b", MakeScalar(int64_t{1}))).empty());
  EXPECT_TRUE(pages(Gt("wide", MakeScalar(int64_t{1} << 40))).empty());
  EXPECT_FALSE(pages(Ge("wide", MakeScalar(-(int64_t{1} << 40)))).empty());
  EXPECT_TRUE(pages(Gt("a", MakeScalar(std::string("zzz")))).empty());
}

TEST_F(DataFileTest, ColumnsThatAFileLacksReadAsTheirInitialValue) {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  std::mt19937_64 random(6);
  const auto table = Table({field("k", int64(), false)});
  const KeyedBatch batch =
      MakeRows(*table, {RepeatingKeys(90, random)}, FileKind::kCurrent, false, random);
  const DataFile file = WriteFile(store_, table, batch, kSmall);
  auto changed =
      Must(catalog::AddColumn(*table, field("n", int16(), false), MakeScalar(int16_t{7})));
  changed = Must(catalog::WidenColumn(*changed, "n", int64()));
  changed = Must(catalog::AddColumn(*changed, field("s", utf8()), MakeScalar("seven")));
  changed = Must(catalog::AddColumn(*changed, field("nan", float64()),
                                    MakeScalar(std::numeric_limits<double>::quiet_NaN())));
  const auto list = Must(MakeArrayFromScalar(*MakeScalar(int32_t{1}), 2));
  changed = Must(catalog::AddColumn(*changed, field("l", arrow::list(int32())),
                                    std::make_shared<ListScalar>(list)));
  const auto all = [&](const std::string& name) {
    return Must(MakeArrayFromScalar(*changed->FindColumn(name)->initial, 90));
  };
  const auto expected =
      RecordBatch::Make(schema({field("s", utf8()), field("n", int64(), false),
                                field("k", int64(), false), field("l", arrow::list(int32()))}),
                        90, {all("s"), all("n"), batch.rows->column(0), all("l")});
  const FileReaderPtr reader = Open(file, std::make_shared<PageCache>(1 << 20));
  ExpectReads(*reader, changed, *expected);
  ExpectReads(*reader, changed, *expected);  // From the cache now.

  const auto pages = [&](const ExprPtr& expr) {
    return reader->Prune({{0, reader->page_count()}},
                         *Must(catalog::Predicate::Bind(expr, *changed)), nullptr, changed.get());
  };
  EXPECT_FALSE(pages(Eq("n", MakeScalar(int64_t{7}))).empty());
  EXPECT_TRUE(pages(Eq("n", MakeScalar(int64_t{8}))).empty());
  EXPECT_TRUE(pages(IsNull("n")).empty());
  EXPECT_FALSE(pages(Ge("s", MakeScalar("seven"))).empty());
  EXPECT_TRUE(pages(Gt("s", MakeScalar("seven"))).empty());
  // NaN is greater than everything.
  EXPECT_FALSE(pages(Gt("nan", MakeScalar(1.0))).empty());
  EXPECT_TRUE(pages(IsNull("l")).empty());
}

TEST_F(DataFileTest, DictionaryColumnsReadFromAnyPage) {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  std::mt19937_64 random(5);
  TableOptions table_options;
  table_options.dictionary_columns = {"s", "n", "l"};
  const auto table = Table({field("k", int64(), false), field("s", utf8()), field("n", int32()),
                            field("l", list(utf8()))},
                           {"k"}, table_options);
  const KeyedBatch batch = MakeRows(
      *table,
      {RepeatingKeys(300, random), RandomArray(utf8(), 300, true, random),
       RandomArray(int32(), 300, true, random), RandomArray(list(utf8()), 300, true, random)},
      FileKind::kCurrent, true, random);
  WriterOptions options = kSmall;
  options.valid_columns = true;
  const FileReaderPtr reader = Open(WriteFile(store_, table, batch, options));
  ExpectReads(*reader, table, *batch.rows);
  EXPECT_TRUE(reader->Verify().ok());
}

TEST_F(DataFileTest, FewValuesGetADictionaryAndShortDecimalsAreIntegers) {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  std::mt19937_64 random(51);
  const auto table = Table({field("k", int64(), false), field("few", utf8()), field("many", utf8()),
                            field("d9", decimal128(9, 2)), field("d18", decimal128(18, 4)),
                            field("d19", decimal128(19, 4)), field("few_days", date32())},
                           {"k"});
  constexpr int64_t kRows = 300;
  StringBuilder few, many;
  Decimal128Builder d9(decimal128(9, 2)), d18(decimal128(18, 4)), d19(decimal128(19, 4));
  Date32Builder days;
  const auto d18_end = Decimal128("999999999999999999");
  for (int64_t i = 0; i < kRows; ++i) {
    if (i % 11 == 3) {
      for (ArrayBuilder* builder : std::vector<ArrayBuilder*>{&few, &many, &d9, &d18, &d19, &days})
        ASSERT_TRUE(builder->AppendNull().ok());
      continue;
    }
    ASSERT_TRUE(few.Append("value " + std::to_string(i % 3)).ok());
    ASSERT_TRUE(many.Append("value " + std::to_string(i)).ok());
    ASSERT_TRUE(d9.Append(Decimal128(i % 2 == 0 ? -999999999 : i)).ok());
    ASSERT_TRUE(d18.Append(i % 2 == 0 ? -d18_end : Decimal128(i)).ok());
    ASSERT_TRUE(d19.Append(i % 2 == 0 ? d18_end * 10 : Decimal128(-i)).ok());
    ASSERT_TRUE(days.Append(static_cast<int32_t>(i % 3)).ok());
  }
  const KeyedBatch batch =
      MakeRows(*table,
               {RepeatingKeys(kRows, random), Must(few.Finish()), Must(many.Finish()),
                Must(d9.Finish()), Must(d18.Finish()), Must(d19.Finish()), Must(days.Finish())},
               FileKind::kCurrent, false, random);
  const DataFile file = WriteFile(store_, table, batch, kSmall);
  const FileReaderPtr reader = Open(file);
  ExpectReads(*reader, table, *batch.rows);
  EXPECT_TRUE(reader->Verify().ok());

  const auto parquet = parquet::ParquetFileReader::Open(
      std::make_shared<io::BufferReader>(Must(store_->Get(file.Path()))));
  const auto metadata = parquet->metadata();
  std::map<std::string, std::pair<parquet::Type::type, bool>> columns;
  for (int i = 0; i < metadata->num_columns(); ++i) {
    columns[metadata->schema()->Column(i)->name()] = {
        metadata->schema()->Column(i)->physical_type(),
        metadata->RowGroup(0)->ColumnChunk(i)->has_dictionary_page()};
  }
  using Expected = std::pair<parquet::Type::type, bool>;
  EXPECT_EQ(columns["few"], Expected(parquet::Type::BYTE_ARRAY, true));
  EXPECT_EQ(columns["many"], Expected(parquet::Type::BYTE_ARRAY, false));
  EXPECT_EQ(columns["d9"].first, parquet::Type::INT32);
  EXPECT_EQ(columns["d18"].first, parquet::Type::INT64);
  EXPECT_EQ(columns["d19"].first, parquet::Type::FIXED_LEN_BYTE_ARRAY);
  EXPECT_EQ(columns["few_days"], Expected(parquet::Type::INT32, true));
  EXPECT_EQ(columns["k"], Expected(parquet::Type::INT64, false));
}

TEST_F(DataFileTest, DictionariesWithoutValuesAreRead) {
  // A page whose body has no bytes is written before another one.
  std::mt19937_64 random(53);
  TableOptions table_options;
  table_options.dictionary_columns = {"none"};
  const auto table =
      Table({arrow::field("k", arrow::int64(), false), arrow::field("none", arrow::utf8()),
             arrow::field("also", arrow::utf8())},
            {"k"}, table_options);
  const auto none = Must(arrow::MakeArrayOfNull(arrow::utf8(), 100));
  for (const catalog::Codec codec : {catalog::Codec::kNone, catalog::Codec::kLz4}) {
    const KeyedBatch batch = MakeRows(*table, {RepeatingKeys(100, random), none, none},
                                      FileKind::kCurrent, false, random);
    WriterOptions options = kSmall;
    options.codec = codec;
    const DataFile file = WriteFile(store_, table, batch, options,
                                    static_cast<uint8_t>(40 + static_cast<int>(codec)));
    const FileReaderPtr reader = Open(file);
    ExpectReads(*reader, table, *batch.rows);
    EXPECT_TRUE(reader->Verify().ok());
  }
}

TEST_F(DataFileTest, BytesOfAnyRangeAreTheFilesAndDamageInThemIsNamed) {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  std::mt19937_64 random(52);
  TableOptions table_options;
  table_options.dictionary_columns = {"s"};
  const auto table = Table({field("k", int64(), false), field("s", utf8())}, {"k"}, table_options);
  const KeyedBatch batch =
      MakeRows(*table, {RepeatingKeys(300, random), RandomArray(utf8(), 300, true, random)},
               FileKind::kCurrent, false, random);
  const DataFile file = WriteFile(store_, table, batch, kSmall);
  const std::string bytes = Must(store_->Get(file.Path()))->ToString();
  const auto size = static_cast<int64_t>(bytes.size());
  const FileReaderPtr reader = Open(file);
  ReadCounters counters;
  std::string out(bytes.size(), '\0');
  for (int i = 0; i < 500; ++i) {
    const int64_t offset = static_cast<int64_t>(random() % static_cast<uint64_t>(size + 1));
    const int64_t length =
        i == 0 ? 0 : static_cast<int64_t>(random() % static_cast<uint64_t>(size - offset + 1));
    ASSERT_TRUE(reader->ReadBytes(offset, length, out.data(), &counters).ok());
    EXPECT_EQ(out.substr(0, static_cast<size_t>(length)),
              bytes.substr(static_cast<size_t>(offset), static_cast<size_t>(length)))
        << offset << " " << length;
  }
  EXPECT_GT(counters.bytes_read, 0u);
  ASSERT_TRUE(reader->ReadBytes(0, size, out.data(), nullptr).ok());
  EXPECT_EQ(out, bytes);
  for (const auto& [offset, length] : std::vector<std::pair<int64_t, int64_t>>{
           {-1, 1}, {0, -1}, {0, size + 1}, {size + 1, 0}, {1, INT64_MAX}}) {
    EXPECT_EQ(CodeOf(reader->ReadBytes(offset, length, out.data(), nullptr)),
              ErrorCode::kInvalidArgument)
        << offset << " " << length;
  }

  // A flipped bit in any page: what touches the page is refused, what does not is read.
  int found = 0;
  for (int64_t at = 4; at < size; at += 7) {
    std::string damaged = bytes;
    damaged[static_cast<size_t>(at)] ^= 0x10;
    const auto store = MakeMemoryStore();
    ASSERT_TRUE(store->Put(file.Path(), damaged, PutCondition::None()).ok());
    const auto open = OpenDataFile(store.get(), std::make_shared<const DataFile>(file), nullptr,
                                   nullptr, nullptr);
    if (!open.ok()) continue;  // behind the pages
    const Status touching = (*open)->ReadBytes(at, 1, out.data(), nullptr);
    EXPECT_EQ(CodeOf(touching), ErrorCode::kCorruption) << at;
    EXPECT_NE(touching.message().find(file.Path()), std::string::npos) << touching;
    ASSERT_TRUE((*open)->ReadBytes(0, 4, out.data(), nullptr).ok());
    EXPECT_EQ(out.substr(0, 4), "PAR1");
    ++found;
  }
  EXPECT_GT(found, 50);
}

TEST_F(DataFileTest, PruningKeepsEveryMatchingRow) {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  std::mt19937_64 random(6);
  const auto table = Table({field("k", int64(), false), field("i", int32()), field("d", float64()),
                            field("s", utf8()), field("u", uint8()), field("m", decimal128(9, 2)),
                            field("b", boolean())});
  uint64_t pruned = 0;
  for (int round = 0; round < 8; ++round) {
    // Values follow the key roughly, so that pages differ.
    const auto keys = RepeatingKeys(400, random);
    Int32Builder i;
    DoubleBuilder d;
    StringBuilder s;
    UInt8Builder u;
    Decimal128Builder m(decimal128(9, 2));
    BooleanBuilder b;
    for (int64_t row = 0; row < 400; ++row) {
      const int64_t k = static_cast<const Int64Array&>(*keys).Value(row);
      const bool null = random() % 10 == 0 || (k > 300 && k < 400);
      const double nan = round % 2 == 0 && random() % 50 == 0 ? NAN : static_cast<double>(k) / 3;
      EXPECT_TRUE((null ? i.AppendNull() : i.Append(static_cast<int32_t>(k) - 400)).ok());
      EXPECT_TRUE((null ? d.AppendNull() : d.Append(nan)).ok());
      EXPECT_TRUE(
          (null ? s.AppendNull()
                : s.Append(std::string(static_cast<size_t>(k % 300), 'y') + std::to_string(k)))
              .ok());
      EXPECT_TRUE((null ? u.AppendNull() : u.Append(static_cast<uint8_t>(k / 4))).ok());
      EXPECT_TRUE((null ? m.AppendNull() : m.Append(Decimal128(k - 500))).ok());
      EXPECT_TRUE((null ? b.AppendNull() : b.Append(k > 500)).ok());
    }
    const KeyedBatch batch = MakeRows(*table,
                                      {keys, Must(i.Finish()), Must(d.Finish()), Must(s.Finish()),
                                       Must(u.Finish()), Must(m.Finish()), Must(b.Finish())},
                                      FileKind::kHistory, true, random);
    WriterOptions options = kSmall;
    options.kind = FileKind::kHistory;
    options.valid_columns = true;
    const FileReaderPtr reader =
        Open(WriteFile(store_, table, batch, options, static_cast<uint8_t>(round + 1)));
    const auto number = [&] { return static_cast<int64_t>(random() % 1000) - 200; };
    std::vector<ExprPtr> tests;
    for (int t = 0; t < 12; ++t) {
      tests.push_back(Lt("i", MakeScalar(number())));
      tests.push_back(Eq("i", MakeScalar(number())));
      tests.push_back(Gt("d", MakeScalar(static_cast<double>(number()))));
      tests.push_back(Le("d", MakeScalar(static_cast<double>(number()))));
      tests.push_back(Gt("u", MakeScalar(static_cast<int64_t>(random() % 256))));
      tests.push_back(Ge("s", MakeScalar(std::string(random() % 300, 'y') + "5")));
      tests.push_back(And({Eq("b", MakeScalar(true)), Lt("k", MakeScalar(number()))}));
      tests.push_back(IsNull("i"));
      tests.push_back(Ge(catalog::kCommitColumn,
                         MakeScalar(int64_t{100 + static_cast<int64_t>(random() % 30)})));
    }
    for (const ExprPtr& test : tests) {
      const auto predicate = Must(catalog::Predicate::Bind(test, *table));
      ReadCounters counters;
      const PageSet kept =
          reader->Prune({{0, reader->page_count()}}, *predicate, &counters, table.get());
      pruned += counters.pages_pruned;
      const auto passes = Must(predicate->Evaluate(*batch.rows));
      for (int64_t row = 0; row < 400; ++row) {
        if (passes->IsValid(row) && passes->Value(row)) {
          const auto page = static_cast<uint32_t>(row / 16);
          ASSERT_TRUE(
              std::any_of(kept.begin(), kept.end(),
                          [&](const PageRun& run) { return run.first <= page && page < run.last; }))
              << predicate->ToString() << " row " << row;
        }
      }
    }
    // Times.
    const TimeColumns times = TimeColumns::Of(*batch.rows);
    for (int t = 0; t < 40; ++t) {
      const int64_t from = 990 + static_cast<int64_t>(random() % 300);
      const int64_t to = from + 1 + static_cast<int64_t>(random() % 20);
      const int64_t valid_from = static_cast<int64_t>(random() % 3000) - 100;
      const int64_t valid_to = valid_from + 1 + static_cast<int64_t>(random() % 100);
      ReadCounters counters;
      const PageSet kept =
          reader->PruneTimes({{0, reader->page_count()}}, SystemTime{from}, SystemTime{to},
                             ValidTime{valid_from}, ValidTime{valid_to}, &counters);
      pruned += counters.pages_pruned;
      for (int64_t row = 0; row < 400; ++row) {
        if (times.system_from[row] < to && times.system_to[row] > from &&
            times.valid_from[row] < valid_to && times.valid_to[row] > valid_from) {
          const auto page = static_cast<uint32_t>(row / 16);
          ASSERT_TRUE(std::any_of(kept.begin(), kept.end(), [&](const PageRun& run) {
            return run.first <= page && page < run.last;
          }));
        }
      }
    }
  }
  EXPECT_GT(pruned, 1000u);
}

TEST_F(DataFileTest, StatisticsOfTheManifestHoldEveryValue) {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  std::mt19937_64 random(7);
  const auto table =
      Table({field("k", int64(), false), field("long", utf8()), field("nan", float64()),
             field("nulls", int32()), field("l", list(int32()))});
  StringBuilder text;
  DoubleBuilder nan;
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(text.Append(std::string(40, i == 0 ? 'a' : 'b') + std::to_string(i)).ok());
    EXPECT_TRUE(nan.Append(i == 3 ? NAN : i).ok());
  }
  const KeyedBatch batch =
      MakeRows(*table,
               {RepeatingKeys(100, random), Must(text.Finish()), Must(nan.Finish()),
                Must(MakeArrayOfNull(int32(), 100)), RandomArray(list(int32()), 100, true, random)},
               FileKind::kCurrent, false, random);
  const DataFile file = WriteFile(store_, table, batch, kSmall);
  EXPECT_EQ(file.rows, 100u);
  ASSERT_EQ(file.columns.size(), 4u);  // Nested columns have none.
  EXPECT_EQ(file.columns[1].min, std::string(32, 'a'));
  EXPECT_EQ(file.columns[1].max, std::string(31, 'b') + "c");
  EXPECT_EQ(file.columns[2].min, *Must(catalog::EncodeValue(DoubleScalar(0))));
  EXPECT_FALSE(file.columns[2].max.has_value());
  EXPECT_EQ(file.columns[3].null_count, 100u);
  EXPECT_FALSE(file.columns[3].min.has_value());
}

TEST_F(DataFileTest, WriterRefusesWhatBreaksTheFile) {
  std::mt19937_64 random(8);
  const auto table =
      Table({arrow::field("k", arrow::int64(), false), arrow::field("v", arrow::int32())});
  const KeyedBatch batch =
      MakeRows(*table, {RepeatingKeys(50, random), RandomArray(arrow::int32(), 50, true, random)},
               FileKind::kCurrent, false, random);
  const auto keys = [&](int64_t from, int64_t count) {
    return std::static_pointer_cast<arrow::BinaryArray>(batch.keys->Slice(from, count));
  };
  uint8_t number = 50;
  const auto writer = [&](WriterOptions options) {
    return Must(FileWriter::Make(store_, table, FileId(++number), options));
  };
  {
    auto w = writer(kSmall);
    EXPECT_TRUE(w->Write(batch.rows->Slice(20, 10), *keys(20, 10)).ok());
    EXPECT_EQ(CodeOf(w->Write(batch.rows->Slice(0, 10), *keys(0, 10))), ErrorCode::kInternal);
    EXPECT_EQ(CodeOf(w->Finish().status()), ErrorCode::kInternal);  // Stays broken.
  }
  EXPECT_EQ(CodeOf(writer(kSmall)->Write(batch.rows, *keys(0, 10))), ErrorCode::kInternal);
  EXPECT_EQ(CodeOf(writer(kSmall)->Finish().status()), ErrorCode::kInvalidArgument);
  EXPECT_EQ(
      CodeOf(
          FileWriter::Make(store_, table, FileId(99), WriterOptions{.rows_per_page = 0}).status()),
      ErrorCode::kInvalidArgument);
  WriterOptions history = kSmall;
  history.kind = FileKind::kHistory;
  EXPECT_EQ(CodeOf(writer(history)->Write(batch.rows, *batch.keys)),
            ErrorCode::kInternal);  // Open rows.
  const KeyedBatch valid =
      MakeRows(*table, {RepeatingKeys(50, random), RandomArray(arrow::int32(), 50, true, random)},
               FileKind::kCurrent, true, random);
  EXPECT_EQ(CodeOf(writer(kSmall)->Write(valid.rows, *valid.keys)), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Must(store_->List("data/")).empty());  // Nothing half-written shows.
}

TEST_F(DataFileTest, LargeRowsGetSmallerPages) {
  const auto table =
      Table({arrow::field("k", arrow::int64(), false), arrow::field("v", arrow::binary())});
  std::mt19937_64 random(9);
  arrow::BinaryBuilder values;
  arrow::Int64Builder keys;
  for (int i = 0; i < 12; ++i) {
    EXPECT_TRUE(values.Append(std::string(4 << 20, static_cast<char>('a' + i))).ok());
    EXPECT_TRUE(keys.Append(i).ok());
  }
  const KeyedBatch batch = MakeRows(*table, {Must(keys.Finish()), Must(values.Finish())},
                                    FileKind::kCurrent, false, random);
  const DataFile file = WriteFile(store_, table, batch, WriterOptions{}, 1, 5);
  const FileReaderPtr reader = Open(file);
  EXPECT_LE(reader->rows_per_page(), 4u);
  ExpectReads(*reader, table, *batch.rows);
}

// Every byte of the file in turn: an error, or the very rows that were written.
TEST_F(DataFileTest, EveryFlippedByteIsFoundOrHarmless) {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  std::mt19937_64 random(10);
  TableOptions table_options;
  table_options.dictionary_columns = {"s"};
  const auto table = Table({field("k", int64(), false), field("s", utf8()),
                            field("l", list(int32())), field("b", boolean())},
                           {"k"}, table_options);
  const KeyedBatch batch = MakeRows(
      *table,
      {RepeatingKeys(40, random), RandomArray(utf8(), 40, true, random),
       RandomArray(list(int32()), 40, true, random), RandomArray(boolean(), 40, true, random)},
      FileKind::kCurrent, false, random);
  WriterOptions options = kSmall;
  options.rows_per_page = 8;
  options.rows_per_row_group = 16;
  const DataFile file = WriteFile(store_, table, batch, options);
  const auto entry = std::make_shared<const DataFile>(file);
  const std::string bytes = Must(store_->Get(file.Path()))->ToString();
  ASSERT_EQ(bytes.size(), file.bytes);
  const std::vector<std::string> names = Names(*batch.rows->schema());
  int harmless = 0;
  for (size_t at = 0; at < bytes.size(); ++at) {
    const auto store = MakeMemoryStore();
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << (at % 8)));
    ASSERT_TRUE(store->Put(file.Path(), damaged, PutCondition::None()).ok());
    const auto reader = OpenDataFile(store.get(), entry, nullptr, nullptr);
    if (!reader.ok()) {
      ASSERT_EQ(CodeOf(reader.status()), ErrorCode::kCorruption) << at << reader.status();
      ASSERT_NE(reader.status().message().find(file.Path()), std::string::npos);
      continue;
    }
    bool failed = false;
    for (uint32_t page = 0; page < (*reader)->page_count(); ++page) {
      const auto rows = (*reader)->ReadPage(page, *table, names, nullptr);
      if (rows.ok()) {
        ASSERT_TRUE(rows->rows->Equals(
            *batch.rows->Slice(static_cast<int64_t>(rows->first_ordinal), rows->rows->num_rows())))
            << at;
      } else {
        ASSERT_EQ(CodeOf(rows.status()), ErrorCode::kCorruption) << at << rows.status();
        failed = true;
      }
    }
    harmless += failed ? 0 : 1;
  }
  EXPECT_EQ(harmless, 4);  // The magic at the start.
}

// Checksums stop accidents; behind right ones the metadata must still not lead reading out of
// bounds.
TEST_F(DataFileTest, DamageBehindRightChecksumsIsSafe) {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  std::mt19937_64 random(14);
  const auto table =
      Table({field("k", int64(), false), field("s", utf8()), field("l", list(int32()))});
  const KeyedBatch batch =
      MakeRows(*table,
               {RepeatingKeys(40, random), RandomArray(utf8(), 40, true, random),
                RandomArray(list(int32()), 40, true, random)},
               FileKind::kCurrent, false, random);
  WriterOptions options = kSmall;
  options.rows_per_page = 8;
  options.rows_per_row_group = 16;
  const DataFile file = WriteFile(store_, table, batch, options);
  const auto entry = std::make_shared<const DataFile>(file);
  const std::string bytes = Must(store_->Get(file.Path()))->ToString();
  const size_t tail = bytes.size() - file.footer_length - TailBlock::kBytes;
  const size_t index =
      Must(TailBlock::Decode(std::string_view(bytes).substr(tail, TailBlock::kBytes)))
          .key_index_offset;
  const auto predicate =
      Must(catalog::Predicate::Bind(Gt("s", MakeScalar(std::string("b"))), *table));
  const auto allowed = [](const Status& status) {
    return status.ok() || CodeOf(status) == ErrorCode::kCorruption ||
           CodeOf(status) == ErrorCode::kUnsupported;
  };
  int opened = 0;
  for (int round = 0; round < 1500; ++round) {
    std::string damaged = bytes;
    for (int i = 0; i < 1 + round % 2; ++i) {
      const size_t at = index + random() % (bytes.size() - index);
      damaged[at] = static_cast<char>(random());
    }
    Reseal(bytes, file.footer_length, &damaged);
    const auto store = MakeMemoryStore();
    ASSERT_TRUE(store->Put(file.Path(), damaged, PutCondition::None()).ok());
    const auto reader = OpenDataFile(store.get(), entry, nullptr, nullptr);
    ASSERT_TRUE(allowed(reader.status())) << reader.status();
    if (!reader.ok()) continue;
    ++opened;
    static_cast<void>(
        (*reader)->Prune({{0, (*reader)->page_count()}}, *predicate, nullptr, table.get()));
    for (uint32_t page = 0; page < (*reader)->page_count(); ++page) {
      const Status status = (*reader)->ReadPage(page, *table, {"k", "s", "l"}, nullptr).status();
      ASSERT_TRUE(allowed(status)) << status;
    }
    const Status verified = (*reader)->Verify();
    ASSERT_TRUE(allowed(verified)) << verified;
  }
  EXPECT_GT(opened, 200);
}

TEST_F(DataFileTest, CutAndForeignFilesAreNamed) {
  std::mt19937_64 random(11);
  const auto table = Table({arrow::field("k", arrow::int64(), false)});
  const KeyedBatch batch =
      MakeRows(*table, {RepeatingKeys(40, random)}, FileKind::kCurrent, false, random);
  const DataFile file = WriteFile(store_, table, batch, kSmall);
  const std::string bytes = Must(store_->Get(file.Path()))->ToString();
  const auto open = [&](const std::string& content, DataFile entry) {
    const auto store = MakeMemoryStore();
    EXPECT_TRUE(store->Put(file.Path(), content, PutCondition::None()).ok());
    entry.bytes = content.size();
    return OpenDataFile(store.get(), std::make_shared<const DataFile>(entry), nullptr, nullptr)
        .status();
  };
  for (size_t size = 0; size < bytes.size(); size += 7) {
    EXPECT_EQ(CodeOf(open(bytes.substr(0, size), file)), ErrorCode::kCorruption) << size;
  }
  DataFile other = file;
  other.rows += 1;
  EXPECT_EQ(CodeOf(open(bytes, other)), ErrorCode::kCorruption);
  other = file;
  other.table = catalog::TableId{99};
  EXPECT_EQ(
      CodeOf(OpenDataFile(store_.get(), std::make_shared<const DataFile>(other), nullptr, nullptr)
                 .status()),
      ErrorCode::kNotFound);

  // A Parquet file, but not ours: no page index that we could rely on.
  const auto sink = Must(arrow::io::BufferOutputStream::Create());
  const auto plain = Must(arrow::Table::FromRecordBatches({batch.rows}));
  ASSERT_TRUE(parquet::arrow::WriteTable(*plain, arrow::default_memory_pool(), sink).ok());
  const std::string foreign = Must(sink->Finish())->ToString();
  DataFile entry = file;
  uint32_t footer = 0;
  std::memcpy(&footer, foreign.data() + foreign.size() - 8, 4);
  entry.footer_length = footer + 8;
  const Status status = open(foreign, entry);
  EXPECT_EQ(CodeOf(status), ErrorCode::kCorruption);
  EXPECT_NE(MessageOf(status).find("not a data file of LaminaDB"), std::string::npos) << status;
}

// A file that is ours in everything else: checksums, tail and metadata are right, but the footer
// says that a column has no offset index.
TEST_F(DataFileTest, AFileWithoutPageIndexIsRefusedAndNamed) {
  std::mt19937_64 random(15);
  const auto table = Table({arrow::field("k", arrow::int64(), false)});
  const KeyedBatch batch =
      MakeRows(*table, {RepeatingKeys(40, random)}, FileKind::kCurrent, false, random);
  const DataFile file = WriteFile(store_, table, batch, kSmall);
  const std::string whole = Must(store_->Get(file.Path()))->ToString();
  const auto location = [&] {
    const auto reader = parquet::ParquetFileReader::Open(
        std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(whole)));
    return *reader->metadata()->RowGroup(0)->ColumnChunk(0)->GetOffsetIndexLocation();
  }();
  // Thrift's compact form of ColumnChunk: field 4 (i64, the offset), then field 5 (i32, the
  // length).
  const auto varint = [](int64_t value) {
    std::string out;
    for (uint64_t rest = static_cast<uint64_t>(value) * 2;; rest >>= 7) {
      if (rest < 0x80) return out + static_cast<char>(rest);
      out += static_cast<char>((rest & 0x7f) | 0x80);
    }
  };
  const std::string length = varint(location.length);
  const size_t at =
      whole.find(varint(location.offset) + '\x15' + length, whole.size() - file.footer_length);
  ASSERT_NE(at, std::string::npos);
  std::string without = whole;
  // Zero, in as many bytes.
  std::string zero(length.size(), '\x80');
  zero.back() = '\0';
  without.replace(at + varint(location.offset).size() + 1, zero.size(), zero);
  Reseal(whole, file.footer_length, &without);
  const auto store = MakeMemoryStore();
  ASSERT_TRUE(store->Put(file.Path(), without, PutCondition::None()).ok());
  const Status status =
      OpenDataFile(store.get(), std::make_shared<const DataFile>(file), nullptr, nullptr).status();
  EXPECT_EQ(CodeOf(status), ErrorCode::kCorruption) << status;
  EXPECT_NE(MessageOf(status).find("no page index"), std::string::npos) << status;
  EXPECT_NE(MessageOf(status).find(file.Path()), std::string::npos) << status;
}

TEST_F(DataFileTest, NearColumnsShareARequestAndFarOnesDoNot) {
  std::mt19937_64 random(16);
  const auto wide = arrow::fixed_size_binary(2048);
  const auto table =
      Table({arrow::field("k", arrow::int64(), false), arrow::field("near", arrow::int64()),
             arrow::field("wide", wide), arrow::field("far", arrow::int64())});
  const KeyedBatch batch = MakeRows(
      *table,
      {RepeatingKeys(64, random), RandomArray(arrow::int64(), 64, false, random),
       RandomArray(wide, 64, false, random), RandomArray(arrow::int64(), 64, false, random)},
      FileKind::kCurrent, false, random);
  WriterOptions options = kSmall;  // one row group of four pages
  options.codec = catalog::Codec::kNone;
  const DataFile file = WriteFile(store_, table, batch, options);
  const FileReaderPtr reader = Open(file);
  const auto read = [&](const std::vector<std::string>& columns) {
    ReadCounters counters;
    Must(reader->ReadPage(0, *table, columns, &counters));
    return counters;
  };
  EXPECT_EQ(read({"near"}).requests, 1u);
  EXPECT_EQ(read({"k", "near"}).requests, 1u) << "a few hundred bytes lie between them";
  EXPECT_EQ(read({"near", "wide"}).requests, 1u);
  // 128 KiB of the wide column lie between these, more than a request is worth.
  EXPECT_EQ(read({"near", "far"}).requests, 2u);
  EXPECT_EQ(read({"k", "near", "far"}).requests, 2u);
  EXPECT_LT(read({"near", "far"}).bytes_read, 64u << 10) << "the wide column is not read";
  EXPECT_LT(read({"k", "near"}).bytes_read, 16u << 10);
}

TEST_F(DataFileTest, OtherParquetReadersSeeTheSameRows) {
  using namespace arrow;  // NOLINT(google-build-using-namespace)
  std::mt19937_64 random(12);
  const auto table = Table({field("k", int64(), false), field("s", utf8()),
                            field("l", list(struct_({field("x", int32())})))});
  const KeyedBatch batch =
      MakeRows(*table,
               {RepeatingKeys(150, random), RandomArray(utf8(), 150, true, random),
                RandomArray(list(struct_({field("x", int32())})), 150, true, random)},
               FileKind::kHistory, true, random);
  WriterOptions options = kSmall;
  options.kind = FileKind::kHistory;
  options.valid_columns = true;
  const DataFile file = WriteFile(store_, table, batch, options);
  auto properties = parquet::default_reader_properties();
  properties.set_page_checksum_verification(true);
  const auto reader = Must(parquet::arrow::FileReader::Make(
      default_memory_pool(),
      parquet::ParquetFileReader::Open(
          std::make_shared<io::BufferReader>(Must(store_->Get(file.Path()))), properties)));
  const auto read = Must(Must(reader->ReadTable())->CombineChunksToBatch());
  EXPECT_TRUE(read->Equals(*batch.rows, false)) << read->ToString();
  EXPECT_EQ(reader->parquet_reader()->metadata()->schema()->group_node()->field(1)->field_id(), 2);
}

TEST_F(DataFileTest, CacheKeepsWithinItsBudgetAndForgets) {
  std::mt19937_64 random(13);
  const auto table =
      Table({arrow::field("k", arrow::int64(), false), arrow::field("v", arrow::utf8())});
  std::vector<DataFilePtr> files;
  for (uint8_t i = 1; i <= 6; ++i) {
    const KeyedBatch batch = MakeRows(
        *table, {RepeatingKeys(200, random), RandomArray(arrow::utf8(), 200, true, random)},
        FileKind::kCurrent, false, random);
    files.push_back(std::make_shared<const DataFile>(WriteFile(store_, table, batch, kSmall, i)));
  }
  auto cache = FileCache::Make(store_, CacheOptions{.page_cache_bytes = 4096,
                                                    .footer_cache_bytes = 64 << 10,
                                                    .deletion_cache_bytes = 4096});
  for (int round = 0; round < 3; ++round) {
    for (const DataFilePtr& file : files) {
      const FileReaderPtr reader = Must(cache->Open(file, nullptr));
      for (uint32_t page = 0; page < reader->page_count(); ++page) {
        Must(reader->ReadPage(page, *table, {"k", "v"}, nullptr));
        ReadCounters counters;
        Must(reader->ReadPage(page, *table, {"v"}, &counters));
        EXPECT_EQ(counters.page_cache_hits, 1u);
        EXPECT_EQ(counters.requests, 0u);
      }
    }
  }
  CacheStats stats = cache->stats();
  EXPECT_LE(stats.page_bytes, 4096u);
  EXPECT_LE(stats.footer_bytes, size_t{64} << 10);
  EXPECT_GT(stats.page_evictions, 0u);
  EXPECT_GT(stats.page_hits, 0u);

  ReadCounters counters;
  Must(cache->Open(files.back(), &counters));
  EXPECT_EQ(counters.files_opened, 0u);
  cache->Forget(files.back()->id);
  const FileReaderPtr outlives = Must(cache->Open(files.back(), &counters));
  EXPECT_EQ(counters.files_opened, 1u);
  EXPECT_EQ(counters.requests, 2u);
  cache.reset();
  EXPECT_TRUE(outlives->Verify().ok());
  Must(outlives->ReadPage(0, *table, {"k"}, nullptr));

  auto missing = std::make_shared<DataFile>(*files[0]);
  missing->id = FileId(200);
  auto fresh = FileCache::Make(store_, {});
  EXPECT_EQ(CodeOf(fresh->Open(missing, nullptr).status()), ErrorCode::kCorruption);
}

TEST_F(DataFileTest, DeletionVectorsOfOnePackAreReadBack) {
  DeletionVectorPack pack;
  EXPECT_TRUE(pack.empty());
  pack.Add(FileId(1), Must(DeletionVector::Make({{1, SystemTime{5}}}, 10)));
  pack.Add(FileId(2), Must(DeletionVector::Make({{0, SystemTime{6}}, {3, kRewritten}}, 20)));
  const auto refs = Must(pack.Write(store_.get(), catalog::TableId{16}, FileId(9)));
  ASSERT_EQ(refs.size(), 2u);
  EXPECT_EQ(refs[1].first, FileId(2));
  EXPECT_EQ(refs[1].second.ended_rows, 2u);
  EXPECT_EQ(refs[1].second.max_ended, SystemTime{6});
  const auto cache = FileCache::Make(store_, {});
  auto file = std::make_shared<DataFile>();
  file->id = FileId(2);
  file->table = catalog::TableId{16};
  file->rows = 20;
  EXPECT_EQ(Must(cache->Deletions(file, nullptr)), nullptr);
  file->deletions = refs[1].second;
  const DeletionVectorPtr vector = Must(cache->Deletions(file, nullptr));
  EXPECT_EQ(vector->EndOf(0), SystemTime{6});
  EXPECT_EQ(Must(cache->Deletions(file, nullptr)), vector);
  auto wrong = std::make_shared<DataFile>(*file);
  wrong->deletions = refs[0].second;
  const Status status = cache->Deletions(wrong, nullptr).status();
  EXPECT_EQ(CodeOf(status), ErrorCode::kCorruption);
  EXPECT_NE(MessageOf(status).find(DeletionVectorPath(catalog::TableId{16}, FileId(9))),
            std::string::npos);
}

}  // namespace
}  // namespace lamina::storage::sst
