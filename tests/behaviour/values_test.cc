// Values at the limits of their types, in the shapes in which Arrow hands them over: what was put
// in comes out, from memory, log and files, and predicates find it there.
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include <arrow/compute/api.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/bitmap_ops.h>
#include <fmt/format.h>

#include "base/random.h"
#include "key_types.h"
#include "test_database.h"

namespace lamina::behaviour {
namespace {

std::shared_ptr<arrow::RecordBatch> ReadAll(const Database& db, const std::string& table) {
  return Must(Must(Must(db.Scan(table))->ToTable())->CombineChunksToBatch());
}

class ValueTest : public StoreTest {
 protected:
  void SetUp() override { Open(); }
  /// In memory, replayed from the log, in files, compacted and reopened.
  template <typename Check>
  void Everywhere(Check check) {
    for (const char* where : {"in memory", "replayed", "flushed", "compacted", "reopened"}) {
      const std::string step = where;
      if (step == "replayed" || step == "reopened") Reopen();
      if (step == "flushed") Must(db_->Flush());
      if (step == "compacted") Must(db_->Compact());
      SCOPED_TRACE(where);
      check();
    }
    ExpectSound();
  }
};

// ---- Value columns ----

/// The values of a type at random places, a quarter of them null, in an array whose data and whose
/// validity bits begin at odd offsets.
std::shared_ptr<arrow::Array> Scattered(const std::shared_ptr<arrow::Array>& values, int64_t rows,
                                        base::Random* random) {
  constexpr int64_t kBefore = 5, kAfter = 3;
  arrow::Int64Builder places;
  for (int64_t i = 0; i < kBefore + rows + kAfter; ++i) {
    if (random->OneIn(4)) {
      Must(places.AppendNull());
    } else {
      Must(places.Append(
          static_cast<int64_t>(random->Uniform(static_cast<uint64_t>(values->length())))));
    }
  }
  const auto taken = Must(arrow::compute::Take(*values, *Must(places.Finish())));
  return taken->Slice(kBefore, rows);
}

class ValueTypeTest : public ValueTest, public ::testing::WithParamInterface<KeyType> {};
INSTANTIATE_TEST_SUITE_P(Types, ValueTypeTest, ::testing::ValuesIn(KeyTypes()),
                         [](const auto& info) { return info.param.name; });

TEST_P(ValueTypeTest, ExtremesAndNullsComeBackAlsoInsideListsStructsAndMaps) {
  const auto& values = GetParam().ascending;
  const auto type = values->type();
  constexpr int64_t kRows = 41;
  base::Random random(17);
  const auto plain = Scattered(values, kRows, &random);
  // Lists of 0 to 3 items, some null, over items that begin at an offset of their own.
  arrow::Int32Builder offsets;
  int32_t end = 0;
  for (int64_t i = 0; i <= kRows; ++i) {
    const bool null = i < kRows && random.OneIn(5);
    Must(null ? offsets.AppendNull() : offsets.Append(end));
    if (!null) end += static_cast<int32_t>(random.Uniform(4));
  }
  const auto items = Scattered(values, end, &random);
  const auto lists = Must(arrow::ListArray::FromArrays(*Must(offsets.Finish()), *items));
  const auto structs = Must(arrow::StructArray::Make(
      {Scattered(values, kRows, &random), lists},
      arrow::FieldVector{arrow::field("v", type), arrow::field("l", arrow::list(type))}));
  std::vector<int64_t> ids(kRows);
  for (int64_t i = 0; i < kRows; ++i) ids[static_cast<size_t>(i)] = i;
  const auto schema =
      arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("v", type),
                     arrow::field("l", arrow::list(type)), arrow::field("s", structs->type())});
  const auto written = Batch(schema, {Int64s(ids), plain, lists, structs});
  Must(written->ValidateFull());
  Must(db_->CreateTable("t", schema, {.names = {"id"}}));
  // In three pieces, so that slices of slices are stored, too.
  for (const auto& [from, rows] : {std::pair(0, 13), std::pair(13, 1), std::pair(14, 27)}) {
    Must(db_->Put("t", written->Slice(from, rows)));
  }
  Everywhere([&] {
    const auto read = ReadAll(*db_, "t");
    EXPECT_TRUE(read->Equals(*written, false, arrow::EqualOptions().nans_equal(true)))
        << read->ToString() << written->ToString();
  });
}

TEST_P(ValueTypeTest, EveryPredicateFindsExtremesAsAnOracleDoes) {
  const auto& ascending = GetParam().ascending;  // so positions compare as values do
  const auto type = ascending->type();
  const auto count = static_cast<uint64_t>(ascending->length());
  constexpr int64_t kRows = 60;
  base::Random random(23);
  std::vector<std::optional<uint64_t>> places(kRows);
  const auto schema =
      arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("v", type)});
  Must(db_->CreateTable("t", schema, {.names = {"id"}}));
  // Runs of equal places, so that there are pages to prune, over three files and the memtable; ids
  // interleave.
  for (int64_t part = 0; part < 4; ++part) {
    std::vector<int64_t> ids;
    arrow::Int64Builder indices;
    uint64_t place = random.Uniform(count);
    for (int64_t id = part; id < kRows; id += 4) {
      if (random.OneIn(3)) place = random.Uniform(count);
      auto& at = places[static_cast<size_t>(id)];
      if (!random.OneIn(6)) at = place;
      ids.push_back(id);
      Must(at ? indices.Append(static_cast<int64_t>(*at)) : indices.AppendNull());
    }
    const auto taken = Must(arrow::compute::Take(*ascending, *Must(indices.Finish())));
    Must(db_->Put("t", Batch(schema, {Int64s(ids), taken})));
    if (part < 3) Must(db_->Flush());
  }
  const auto expect = [&](const ExprPtr& filter,
                          const std::function<std::optional<bool>(uint64_t)>& holds) {
    Lines expected, opposite;
    for (int64_t id = 0; id < kRows; ++id) {
      const auto& at = places[static_cast<size_t>(id)];
      const std::optional<bool> truth = at ? holds(*at) : std::nullopt;
      if (truth == true) expected.push_back(std::to_string(id));
      if (truth == false) opposite.push_back(std::to_string(id));
    }
    ScanOptions options;
    options.columns = std::vector<std::string>{"id"};
    options.filter = filter;
    EXPECT_EQ(ScanText(*db_, "t", options), expected) << filter->ToString();
    options.filter = Not(filter);
    EXPECT_EQ(ScanText(*db_, "t", options), opposite) << options.filter->ToString();
  };
  const auto check_all = [&] {
    for (uint64_t i = 0; i < count; ++i) {
      const auto value = Must(ascending->GetScalar(static_cast<int64_t>(i)));
      expect(Eq("v", value), [i](uint64_t at) { return at == i; });
      expect(Ne("v", value), [i](uint64_t at) { return at != i; });
      expect(Lt("v", value), [i](uint64_t at) { return at < i; });
      expect(Le("v", value), [i](uint64_t at) { return at <= i; });
      expect(Gt("v", value), [i](uint64_t at) { return at > i; });
      expect(Ge("v", value), [i](uint64_t at) { return at >= i; });
      const uint64_t j = random.Uniform(count);
      const auto other = Must(ascending->GetScalar(static_cast<int64_t>(j)));
      expect(Between("v", value, other), [i, j](uint64_t at) { return i <= at && at <= j; });
      expect(In("v", {other, value}), [i, j](uint64_t at) { return at == i || at == j; });
      if (arrow::is_base_binary_like(type->id())) {
        const auto text = static_cast<const arrow::BaseBinaryScalar&>(*value).value->ToString();
        expect(StartsWith("v", text), [&](uint64_t at) {
          const auto candidate = Must(ascending->GetScalar(static_cast<int64_t>(at)));
          return static_cast<const arrow::BaseBinaryScalar&>(*candidate)
              .value->ToString()
              .starts_with(text);
        });
      }
    }
    ScanOptions options;
    options.columns = std::vector<std::string>{"id"};
    options.filter = IsNull("v");
    size_t nulls = 0;
    for (const auto& at : places) nulls += at ? 0 : 1;
    EXPECT_EQ(ScanText(*db_, "t", options).size(), nulls);
    options.filter = IsNotNull("v");
    EXPECT_EQ(ScanText(*db_, "t", options).size(), kRows - nulls);
  };
  {
    SCOPED_TRACE("in files and memory");
    check_all();
  }
  Must(db_->Compact());
  Reopen();
  SCOPED_TRACE("compacted and reopened");
  check_all();
}

TEST_F(ValueTest, BitsOfFloatsAreKeptInValuesAndMadeOneInKeys) {
  const auto bits = [](uint64_t b) { return std::bit_cast<double>(b); };
  // -0, a signalling and two quiet NaNs with payloads, a denormal.
  const std::vector<double> odd = {-0.0, bits(0x7FF0000000000001), bits(0x7FF8000000000123),
                                   bits(0xFFF8000000000007), bits(1)};
  const auto schema = arrow::schema(
      {arrow::field("id", arrow::int64(), false), arrow::field("v", arrow::float64())});
  Must(db_->CreateTable("values", schema, {.names = {"id"}}));
  Must(db_->Put("values", Batch(schema, {Int64s({0, 1, 2, 3, 4}),
                                         ArrayOf<arrow::DoubleBuilder, double>(odd)})));
  const auto keyed = arrow::schema(
      {arrow::field("k", arrow::float64(), false), arrow::field("n", arrow::int64())});
  Must(db_->CreateTable("keys", keyed, {.names = {"k"}}));
  Must(db_->Put(
      "keys", Batch(keyed, {ArrayOf<arrow::DoubleBuilder, double>(odd), Int64s({0, 1, 2, 3, 4})})));
  std::vector<uint64_t> key_bits;
  Everywhere([&] {
    const auto values = ReadAll(*db_, "values");
    for (size_t i = 0; i < odd.size(); ++i) {
      EXPECT_EQ(std::bit_cast<uint64_t>(static_cast<const arrow::DoubleArray&>(*values->column(1))
                                            .Value(static_cast<int64_t>(i))),
                std::bit_cast<uint64_t>(odd[i]))
          << i;
    }
    // -0, the denormal and one NaN are left as keys; which bits show must not depend on the place.
    const auto keys = ReadAll(*db_, "keys");
    EXPECT_EQ(CellText(*keys->column(1), 0) + CellText(*keys->column(1), 1) +
                  CellText(*keys->column(1), 2),
              "043");
    std::vector<uint64_t> seen;
    for (int64_t i = 0; i < keys->num_rows(); ++i) {
      seen.push_back(std::bit_cast<uint64_t>(
          static_cast<const arrow::DoubleArray&>(*keys->column(0)).Value(i)));
    }
    if (key_bits.empty()) key_bits = seen;
    EXPECT_EQ(seen, key_bits);
    // Zero finds minus zero and the other way round.
    for (const double zero : {0.0, -0.0}) {
      ScanOptions options;
      options.columns = std::vector<std::string>{"id"};
      options.filter = Eq("v", Lit(zero));
      EXPECT_EQ(ScanText(*db_, "values", options), (Lines{"0"}));
      options.filter = And({Ge("v", Lit(zero)), Lt("v", Lit(1.0))});
      EXPECT_EQ(ScanText(*db_, "values", options), (Lines{"0", "4"}));
      EXPECT_EQ(Must(db_->Get("keys", {Lit(zero)}))->num_rows(), 1);
    }
  });
}

TEST_F(ValueTest, LongTextIsNotCutByStatisticsAndFound) {
  const auto schema =
      arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("s", arrow::utf8())});
  Must(db_->CreateTable("t", schema, {.names = {"id"}}));
  // Equal for longer than any statistic, and different only behind that. Of the first two the
  // manifest has bounds, cut.
  const std::string cut(100, 'm'), same(5000, 'x'), highest = std::string(3000, '\x7F');
  const std::vector<std::string> texts = {cut + "a", cut + "b", same + "a",   same + "b",
                                          same,      highest,   highest + "z"};
  for (size_t i = 0; i < texts.size(); ++i) {
    Must(db_->Put("t", Batch(schema, {Int64s({static_cast<int64_t>(i)}), Strings({texts[i]})})));
    if (i % 2 == 1) Must(db_->Flush());
  }
  Everywhere([&] {
    for (size_t i = 0; i < texts.size(); ++i) {
      ScanOptions options;
      options.columns = std::vector<std::string>{"id"};
      options.filter = Eq("s", Lit(texts[i]));
      EXPECT_EQ(ScanText(*db_, "t", options), (Lines{std::to_string(i)}));
      Lines at_least, prefixed;
      for (size_t j = 0; j < texts.size(); ++j) {
        if (texts[j] >= texts[i]) at_least.push_back(std::to_string(j));
        if (texts[j].starts_with(texts[i])) prefixed.push_back(std::to_string(j));
      }
      options.filter = Ge("s", Lit(texts[i]));
      EXPECT_EQ(ScanText(*db_, "t", options), at_least) << i;
      options.filter = StartsWith("s", texts[i]);
      EXPECT_EQ(ScanText(*db_, "t", options), prefixed) << i;
    }
  });
}

// ---- Batches as Arrow may hand them over ----

TEST_F(ValueTest, SharedAndUnsortedBuffersAreStoredAsTheirRows) {
  // A validity bitmap of its own offset: bits copied to place 3 of a buffer, the values at place 3.
  constexpr int64_t kRows = 21;
  std::vector<int64_t> numbers(kRows + 3), ids(kRows);
  for (int64_t i = 0; i < kRows + 3; ++i) numbers[static_cast<size_t>(i)] = i * 100;
  for (int64_t i = 0; i < kRows; ++i) ids[static_cast<size_t>(i)] = kRows - 1 - i;
  const std::shared_ptr<arrow::Buffer> bits = Must(arrow::AllocateEmptyBitmap(kRows + 3));
  for (int64_t i = 0; i < kRows; ++i) {
    arrow::bit_util::SetBitTo(bits->mutable_data(), i + 3, i % 3 != 0);
  }
  const auto values = arrow::MakeArray(
      arrow::ArrayData::Make(arrow::int64(), kRows, {bits, arrow::Buffer::FromVector(numbers)},
                             arrow::kUnknownNullCount, 3));
  CreateNumbers();
  Must(db_->Put("t", Batch(NumberSchema(), {Int64s(ids), values})));
  Lines expected;
  for (int64_t id = 0; id < kRows; ++id) {
    const int64_t i = kRows - 1 - id;
    expected.push_back(i % 3 != 0 ? fmt::format("{}|{}", id, (i + 3) * 100)
                                  : fmt::format("{}|null", id));
  }
  Everywhere([&] { EXPECT_EQ(ScanText(*db_, "t"), expected); });
}

TEST_F(ValueTest, APutKeepsTheCallersColumnsWithoutCopyingThem) {
  options_.rows_per_page = options_.rows_per_row_group = 10'000;
  Reopen();
  CreateNumbers();
  const int64_t before = arrow::default_memory_pool()->bytes_allocated();
  {
    std::vector<int64_t> ids(100'000), values(100'000);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = values[i] = static_cast<int64_t>(i);
    const auto batch = Batch(NumberSchema(), {Int64s(ids), Int64s(values)});
    const int64_t with_batch = arrow::default_memory_pool()->bytes_allocated();
    Must(db_->Put("t", batch));
    const int64_t after = arrow::default_memory_pool()->bytes_allocated();
    EXPECT_LT(after - with_batch, (with_batch - before) / 2) << "the columns are not copied";
  }
  Must(db_->Flush());
  Must(db_->CollectGarbage(false, 0));
  const auto id = Must(db_->Get("t", IdKey(99'999)));
  EXPECT_EQ(Text(id), (Lines{"99999|99999"}));
}

TEST_F(ValueTest, ABatchWhoseColumnsDifferInLengthIsRefused) {
  CreateNumbers();
  Put({{1, 10}});
  const Contents before = ContentsOf(*db_);
  const auto bad = arrow::RecordBatch::Make(NumberSchema(), 3, {Int64s({7, 8, 9}), Int64s({1})});
  ExpectError(db_->Put("t", bad), ErrorCode::kInvalidArgument, {"value", "length"});
  const auto short_keys = arrow::RecordBatch::Make(Ids({1})->schema(), 3, {Int64s({1})});
  ExpectError(db_->Delete("t", short_keys), ErrorCode::kInvalidArgument, {"did not match"});
  EXPECT_EQ(ContentsOf(*db_), before);
}

TEST_F(ValueTest, DictionaryAndViewColumnsOfABatchAreNamedWithTheTypeToCastTo) {
  const auto schema =
      arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("s", arrow::utf8())});
  Must(db_->CreateTable("t", schema, {.names = {"id"}}));
  const auto strings = Strings({"x"});
  const auto encoded = Must(arrow::compute::DictionaryEncode(strings)).make_array();
  const auto view = Must(arrow::compute::Cast(*strings, arrow::utf8_view()));
  for (const auto& column : {encoded, view}) {
    const auto batch = Batch(arrow::schema({schema->field(0), arrow::field("s", column->type())}),
                             {Int64s({1}), column});
    ExpectError(db_->Put("t", batch), ErrorCode::kInvalidArgument,
                {"column=s", "expected=string", "cast it"});
    // And a schema that says one type while the column has another.
    ExpectError(db_->Put("t", Batch(schema, {Int64s({1}), column})), ErrorCode::kInvalidArgument,
                {"column=s"});
  }
  EXPECT_EQ(ScanText(*db_, "t"), Lines());
  EXPECT_EQ(db_->newest_commit().value, 0u);
}

TEST_F(ValueTest, ADictionaryEncodedTableReturnsItsValues) {
  const auto schema =
      arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("s", arrow::utf8()),
                     arrow::field("n", arrow::int64())});
  Must(db_->CreateTable("t", schema, {.names = {"id"}}, {.dictionary_columns = {"s", "n"}}));
  base::Random random(3);
  Lines expected;
  for (int64_t part = 0; part < 3; ++part) {
    std::vector<int64_t> ids, numbers;
    std::vector<std::string> words;
    for (int64_t id = part * 50; id < part * 50 + 50; ++id) {
      ids.push_back(id);
      // The second part has too many values for a dictionary.
      const std::string word = part == 1 ? std::string(3000, 'w') + std::to_string(id)
                                         : fmt::format("w{}", random.Uniform(3));
      words.push_back(word);
      numbers.push_back(random.OneIn(2) ? std::numeric_limits<int64_t>::min()
                                        : std::numeric_limits<int64_t>::max());
      expected.push_back(fmt::format("{}|{}|{}", id, word, numbers.back()));
    }
    Must(db_->Put("t", Batch(schema, {Int64s(ids), Strings(words), Int64s(numbers)})));
    Must(db_->Flush());
  }
  Everywhere([&] { EXPECT_EQ(ScanText(*db_, "t"), expected); });
}

// ---- Sizes ----

TEST_F(ValueTest, AMillionRowsInOneBatchAreOneCommit) {
  options_ = DatabaseOptions();
  options_.auto_compact = false;
  Reopen();
  CreateNumbers();
  constexpr int64_t kRows = 1'000'000;
  std::vector<int64_t> ids(kRows), values(kRows);
  for (int64_t i = 0; i < kRows; ++i) {
    // 7 has no factor in common with the count: every id once, in a mixed order.
    ids[static_cast<size_t>(i)] = i * 7 % kRows;
    values[static_cast<size_t>(i)] = ids[static_cast<size_t>(i)] * 3;
  }
  EXPECT_EQ(Must(db_->Put("t", Batch(NumberSchema(), {Int64s(ids), Int64s(values)}))).commit.value,
            1u);
  for (const char* where : {"in memory", "replayed", "in files"}) {
    if (std::string(where) == "replayed") Reopen();
    if (std::string(where) == "in files") Must(db_->Flush());
    const auto reader = Must(db_->Scan("t"));
    int64_t next = 0;
    for (;;) {
      std::shared_ptr<arrow::RecordBatch> batch;
      Must(reader->ReadNext(&batch));
      if (batch == nullptr) break;
      const auto& id = static_cast<const arrow::Int64Array&>(*batch->column(0));
      const auto& value = static_cast<const arrow::Int64Array&>(*batch->column(1));
      for (int64_t i = 0; i < batch->num_rows(); ++i, ++next) {
        ASSERT_EQ(id.Value(i), next) << where;
        ASSERT_EQ(value.Value(i), next * 3) << where;
      }
    }
    EXPECT_EQ(next, kRows) << where;
    EXPECT_EQ(ValueOf(*db_, "t", 654'321), std::to_string(654'321 * 3)) << where;
  }
}

TEST_F(ValueTest, ATableOfTwoThousandColumnsWorks) {
  arrow::FieldVector fields = {arrow::field("id", arrow::int64(), false)};
  std::vector<std::shared_ptr<arrow::Array>> columns = {Int64s({1, 2, 3})};
  for (int64_t c = 0; c < 2000; ++c) {
    fields.push_back(arrow::field(fmt::format("c{}", c), arrow::int64()));
    columns.push_back(Int64s({c, c + 1, c + 2}));
  }
  const auto schema = arrow::schema(fields);
  Must(db_->CreateTable("wide", schema, {.names = {"id"}}));
  const auto written = Batch(schema, columns);
  Must(db_->Put("wide", written));
  Must(db_->Flush());
  Must(db_->AddColumn("wide", arrow::field("last", arrow::utf8())));
  Reopen();
  ScanOptions options;
  options.columns = std::vector<std::string>{"c1999", "last", "c0"};
  options.filter = Eq("c1500", Lit(1501));
  EXPECT_EQ(ScanText(*db_, "wide", options), (Lines{"2000|null|1"}));
  options = {};
  options.columns = schema->field_names();
  EXPECT_TRUE(Must(Must(Must(db_->Scan("wide", options))->ToTable())->CombineChunksToBatch())
                  ->Equals(*written));
  ExpectSound();
}

TEST_F(ValueTest, HundredsOfTablesShareADatabase) {
  constexpr int64_t kTables = 300;
  const auto t = [](int64_t i) { return fmt::format("table {}", i); };
  for (int64_t i = 0; i < kTables; ++i) CreateNumbers(t(i));
  const auto transaction = Must(db_->Begin());
  for (int64_t i = 0; i < kTables; ++i) Must(transaction->Put(t(i), Numbers({{i, -i}})));
  EXPECT_EQ(Must(transaction->Commit()).commit.value, 1u);
  Reopen();
  Must(db_->Flush());
  Must(db_->DropTable(t(7)));
  Reopen();
  EXPECT_EQ(db_->ListTables().size(), static_cast<size_t>(kTables - 1));
  for (int64_t i = 0; i < kTables; i += 13) {
    if (i != 7) {
      EXPECT_EQ(ScanText(*db_, t(i)), (Lines{fmt::format("{}|{}", i, -i)}));
    }
  }
  ExpectSound();
}

TEST_F(ValueTest, TheLongestKeysAreKeysLikeOthers) {
  constexpr size_t kMost = 16 * 1024;
  const std::vector<std::string> keys = {std::string(kMost, '\0'), std::string(kMost - 1, '\0'),
                                         std::string(kMost, 'k'), std::string(kMost, '\xFF'),
                                         std::string(kMost - 1, '\xFF')};
  for (size_t i = 0; i < keys.size(); ++i) {
    Must(db_->PutDocument(keys[i], std::to_string(i)));
    if (i == 1) Must(db_->Flush());
  }
  // As a column that is not last, every zero byte takes two, and the end takes two more.
  const auto schema = arrow::schema(
      {arrow::field("b", arrow::binary(), false), arrow::field("n", arrow::int8(), false)});
  Must(db_->CreateTable("t", schema, {.names = {"b", "n"}}));
  const auto row = [&](const std::string& bytes) {
    return Batch(schema, {ArrayOf<arrow::BinaryBuilder, std::string>({bytes}),
                          ArrayOf<arrow::Int8Builder, int8_t>({1})});
  };
  const std::string fits((kMost - 3) / 2, '\0'), too_long((kMost - 3) / 2 + 1, '\0');
  Must(db_->Put("t", row(fits)));
  ExpectError(db_->Put("t", row(too_long)), ErrorCode::kInvalidArgument,
              {"key is too long", "row=0"});
  ExpectError(db_->Put("t", row(std::string(64 << 10, 'x'))), ErrorCode::kInvalidArgument,
              {"key is too long"});
  Everywhere([&] {
    for (size_t i = 0; i < keys.size(); ++i) {
      EXPECT_EQ(Must(db_->GetDocument(keys[i])), std::to_string(i)) << i;
    }
    EXPECT_EQ(CountRows(*Must(db_->ScanPrefix(std::string(kMost - 1, '\xFF')))), 2);
    EXPECT_EQ(CountRows(*Must(db_->ScanPrefix(std::string(kMost, '\xFF')))), 1);
    EXPECT_EQ(CountRows(*Must(db_->ScanPrefix(std::string(kMost - 1, '\0')))), 2);
    EXPECT_EQ(CountRows(*Must(db_->ScanPrefix(""))), 5);
    EXPECT_EQ(CountRows(*Must(db_->Scan("t"))), 1);
    EXPECT_EQ(
        Must(db_->Get("t", {std::make_shared<arrow::BinaryScalar>(fits), Lit(1)}))->num_rows(), 1);
  });
}

// ---- Names ----

TEST_F(ValueTest, NamesOfTablesAndColumnsMayHaveAnyCharacters) {
  const std::vector<std::string> names = {"a.b",
                                          "a/b",
                                          "../up",
                                          " ",
                                          "two words",
                                          "semi;colon",
                                          "\"quoted\"",
                                          "new\nline",
                                          "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x90\x98",
                                          "_x",
                                          "SELECT",
                                          "a",
                                          std::string(1000, 'n'),
                                          std::string("nul\0byte", 8)};
  for (const std::string& name : names) {
    const auto schema = arrow::schema(
        {arrow::field(name, arrow::int64(), false), arrow::field(name + "2", arrow::int64()),
         arrow::field("a.b.c", arrow::struct_({arrow::field(name, arrow::int64())}))});
    Must(db_->CreateTable(name, schema, {.names = {name}}));
    const auto inner = Must(arrow::StructArray::Make(
        arrow::ArrayVector{Int64s({5})}, arrow::FieldVector{arrow::field(name, arrow::int64())}));
    Must(db_->Put(name, Batch(schema, {Int64s({1}), Int64s({10}), inner})));
  }
  EXPECT_EQ(db_->ListTables().size(), names.size());
  Everywhere([&] {
    for (const std::string& name : names) {
      ScanOptions options;
      options.columns = std::vector<std::string>{name, name + "2"};
      options.filter = And({Eq(name, Lit(1)), Eq(name + "2", Lit(10))});
      EXPECT_EQ(ScanText(*db_, name, options), (Lines{"1|10"})) << name;
      EXPECT_EQ(Must(db_->GetTable(name)).schema->field(0)->name(), name);
      EXPECT_EQ(ReadAll(*db_, name)->schema()->field(2)->type()->field(0)->name(), name);
    }
    EXPECT_EQ(Must(db_->GetDocument("doc")), std::nullopt);
  });
  // Text that is not UTF-8 could not be written into a file's schema.
  const auto numbers = NumberSchema();
  const auto bad = [](const char* where) { return std::string(where) + "\xFF"; };
  const Contents before = ContentsOf(*db_);
  ExpectError(db_->CreateTable(bad("t"), numbers, {.names = {"id"}}), ErrorCode::kInvalidArgument,
              {"UTF-8"});
  ExpectError(db_->CreateTable(
                  "t", arrow::schema({numbers->field(0), arrow::field(bad("c"), arrow::int64())}),
                  {.names = {"id"}}),
              ErrorCode::kInvalidArgument, {"UTF-8"});
  ExpectError(db_->AddColumn("a", arrow::field(bad("c"), arrow::int64())),
              ErrorCode::kInvalidArgument, {"UTF-8"});
  ExpectError(db_->RenameColumn("a", "a2", bad("c")), ErrorCode::kInvalidArgument, {"UTF-8"});
  ExpectError(db_->RenameTable("a", bad("t")), ErrorCode::kInvalidArgument, {"UTF-8"});
  EXPECT_EQ(ContentsOf(*db_), before);
}

TEST_F(ValueTest, CheckpointsSavepointsAndIdempotencyKeysMayHaveAnyCharacters) {
  CreateNumbers();
  const std::vector<std::string> names = {"a/b",
                                          "..",
                                          "new\nline",
                                          "\xF0\x9F\x90\x98",
                                          std::string("nul\0byte", 8),
                                          std::string(1000, 'n')};
  int64_t n = 0;
  for (const std::string& name : names) {
    TransactionOptions options;
    options.idempotency_key = name;
    const auto t = Must(db_->Begin(options));
    Must(t->Savepoint(name));
    Must(t->Put("t", Numbers({{++n, n}})));
    Must(t->RollbackTo(name));
    Must(t->Put("t", Numbers({{n, n * 10}})));
    Must(t->Commit());
    Must(db_->CreateCheckpoint(name));
  }
  Reopen();
  n = 0;
  for (const std::string& name : names) {
    EXPECT_EQ(Must(db_->GetCheckpoint(name)).commit.value, static_cast<uint64_t>(++n));
    TransactionOptions options;
    options.idempotency_key = name;
    const auto t = Must(db_->Begin(options));
    Must(t->Put("t", Numbers({{99, 99}})));
    EXPECT_TRUE(Must(t->Commit()).replayed);
    EXPECT_EQ(ValueOf(*db_, "t", n), std::to_string(n * 10));
  }
}

}  // namespace
}  // namespace lamina::behaviour
