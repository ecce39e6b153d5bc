// Structs as rows (lamina/record.h).
#include "lamina/record.h"

#include "test_database.h"

namespace lamina::behaviour {
namespace {

struct Place {
  std::string city;
  std::optional<double> height;
  static auto Columns() {
    return std::tuple(Column("city", &Place::city), Column("height", &Place::height));
  }
  friend bool operator==(const Place&, const Place&) = default;
};

struct Sensor {
  int32_t number = 0;
  std::string kind;
  bool active = false;
  uint64_t reads = 0;
  float last = 0;
  std::optional<std::string> note;
  std::vector<std::byte> secret;
  std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds> since;
  Place place;
  std::optional<Place> moved_to;
  std::vector<std::optional<int64_t>> samples;
  std::vector<Place> route;
  static auto Columns() {
    return std::tuple(KeyColumn("kind", &Sensor::kind), KeyColumn("number", &Sensor::number),
                      Column("active", &Sensor::active), Column("reads", &Sensor::reads),
                      Column("last", &Sensor::last), Column("note", &Sensor::note),
                      Column("secret", &Sensor::secret), Column("since", &Sensor::since),
                      Column("place", &Sensor::place), Column("moved_to", &Sensor::moved_to),
                      Column("samples", &Sensor::samples), Column("route", &Sensor::route));
  }
  friend bool operator==(const Sensor&, const Sensor&) = default;
};

/// A part of a table, with a time column.
struct Count {
  int64_t id = 0;
  std::optional<int64_t> value;
  ValidTime valid_from;
  static auto Columns() {
    return std::tuple(Column("_valid_from", &Count::valid_from), Column("id", &Count::id),
                      Column("value", &Count::value));
  }
  friend bool operator==(const Count&, const Count&) = default;
};

struct Strict {
  int64_t id = 0, value = 0;
  static auto Columns() {
    return std::tuple(KeyColumn("id", &Strict::id), Column("value", &Strict::value));
  }
};

class RecordTest : public StoreTest {
 protected:
  void SetUp() override { Open(); }
};

TEST_F(RecordTest, AStructDeclaresItsTableAndIsWrittenAndRead) {
  Must(db_->CreateTable("sensors", SchemaOf<Sensor>(), KeyOf<Sensor>()));
  const TableInfo table = Must(db_->GetTable("sensors"));
  EXPECT_EQ(table.key, (std::vector<std::string>{"kind", "number"}));
  EXPECT_FALSE(table.schema->GetFieldByName("active")->nullable());
  EXPECT_TRUE(table.schema->GetFieldByName("note")->nullable());
  Sensor full{2,
              "wind",
              true,
              ~uint64_t{0},
              -0.5f,
              "calm",
              {std::byte{0}, std::byte{0xFF}},
              {},
              {"Graz", 353.5},
              Place{"Linz", std::nullopt},
              {1, std::nullopt, -7},
              {{"a", 1}, {"b", std::nullopt}}};
  full.since += std::chrono::microseconds(1'700'000'000'123'456);
  Sensor empty;
  empty.kind = "rain";
  Must(db_->Put("sensors", Must(ToBatch<Sensor>({full, empty}))));
  for (const char* where : {"in memory", "replayed", "in files"}) {
    if (std::string(where) == "replayed") Reopen();
    if (std::string(where) == "in files") Must(db_->Flush());
    // In key order.
    EXPECT_EQ(Must(ReadRecords<Sensor>(*Must(db_->Scan("sensors")))),
              (std::vector<Sensor>{empty, full}))
        << where;
    EXPECT_EQ(Must(FromBatch<Sensor>(*Must(db_->Get("sensors", {Lit("wind"), Lit(2)})))),
              (std::vector<Sensor>{full}))
        << where;
  }
}

TEST_F(RecordTest, ColumnsAreFoundByNameAndTimeColumnsMayBeMembers) {
  CreateNumbers();
  Put({{2, 20}, {1, 10}}, {{500}, ValidTime::Max()});
  ScanOptions options;
  options.columns = std::vector<std::string>{"value", "id", "_valid_from"};
  EXPECT_EQ(Must(ReadRecords<Count>(*Must(db_->Scan("t", options)))),
            (std::vector<Count>{{1, 10, {500}}, {2, 20, {500}}}));
  EXPECT_TRUE(KeyOf<Count>().no_key);
}

TEST_F(RecordTest, WhatDoesNotFitTheStructIsNamed) {
  CreateNumbers();
  arrow::Int64Builder nulls;
  Must(nulls.AppendValues({1, 2}));
  Must(nulls.AppendNull());
  const auto batch = Batch(NumberSchema(), {Int64s({7, 8, 9}), Must(nulls.Finish())});
  std::vector<Strict> out(1);
  ExpectError(AppendRecords(*batch, &out), ErrorCode::kInvalidArgument,
              {"null", "column=value", "row=2", "optional"});
  EXPECT_EQ(out.size(), 1u) << "nothing is appended";
  ExpectError(FromBatch<Strict>(*Ids({1})), ErrorCode::kInvalidArgument, {"column=value"});
  ExpectError(
      FromBatch<Strict>(*Batch(arrow::schema({arrow::field("id", arrow::int32())}), {Int32s({1})})),
      ErrorCode::kInvalidArgument, {"column=id", "expected=int64", "actual=int32"});
}

}  // namespace
}  // namespace lamina::behaviour
