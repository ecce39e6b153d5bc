#include "catalog/predicate.h"

#include <cmath>
#include <map>

#include <arrow/api.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "catalog/encoding_internal.h"
#include "catalog/test_types_internal.h"
#include "catalog/test_values_internal.h"

namespace lamina::catalog {
namespace {

using testing_values::CompareValues;
using testing_values::KeyTypes;
using testing_values::MakeColumn;
using testing_values::Must;
using testing_values::RandomValue;
using Truth = std::optional<bool>;
using Kind = Expr::Kind;
using Row = std::map<std::string, ScalarPtr>;

TableSchemaPtr Table(const arrow::FieldVector& fields, const std::vector<std::string>& key) {
  KeyDeclaration declaration;
  declaration.names = key;
  return Must(MakeTable(TableId{16}, "t", arrow::schema(fields), declaration));
}

std::shared_ptr<arrow::RecordBatch> Batch(const TableSchema& table, const std::vector<Row>& rows) {
  std::vector<std::shared_ptr<arrow::Array>> columns;
  for (const Column& column : table.columns) {
    std::vector<ScalarPtr> values;
    values.reserve(rows.size());
    for (const Row& row : rows) values.push_back(row.at(column.name));
    columns.push_back(MakeColumn(column.type, values));
  }
  return arrow::RecordBatch::Make(table.StorageSchema(), static_cast<int64_t>(rows.size()),
                                  columns);
}

// ---- The reference ----
// One row at a time, from the definition of SQL's logic and the documented order.

Truth AndTruth(Truth a, Truth b) {
  if (a == false || b == false) return false;
  if (!a || !b) return std::nullopt;
  return true;
}
Truth NotTruth(Truth a) {
  if (!a) return std::nullopt;
  return !*a;
}
Truth OrTruth(Truth a, Truth b) { return NotTruth(AndTruth(NotTruth(a), NotTruth(b))); }

Truth Compare(Kind kind, const ScalarPtr& value, const ScalarPtr& constant) {
  if (!value->is_valid || !constant->is_valid) return std::nullopt;
  const int order = CompareValues(*value, *constant);
  switch (kind) {
    case Kind::kEq:
      return order == 0;
    case Kind::kNe:
      return order != 0;
    case Kind::kLt:
      return order < 0;
    case Kind::kLe:
      return order <= 0;
    case Kind::kGt:
      return order > 0;
    default:
      return order >= 0;
  }
}

Truth Reference(const Expr& expr, const Row& row) {
  Truth result;
  switch (expr.kind()) {
    case Kind::kTrue:
      return true;
    case Kind::kAnd:
      result = true;
      for (const auto& child : expr.children()) result = AndTruth(result, Reference(*child, row));
      return result;
    case Kind::kOr:
      result = false;
      for (const auto& child : expr.children()) result = OrTruth(result, Reference(*child, row));
      return result;
    case Kind::kNot:
      return NotTruth(Reference(*expr.children()[0], row));
    default:
      break;
  }
  const ScalarPtr& value = row.at(expr.column());
  switch (expr.kind()) {
    case Kind::kIsNull:
      return !value->is_valid;
    case Kind::kBetween:
      return AndTruth(Compare(Kind::kGe, value, expr.values()[0]),
                      Compare(Kind::kLe, value, expr.values()[1]));
    case Kind::kIn:
      result = false;
      for (const auto& constant : expr.values())
        result = OrTruth(result, Compare(Kind::kEq, value, constant));
      return result;
    case Kind::kStartsWith: {
      if (!value->is_valid) return std::nullopt;
      const auto prefix = static_cast<const arrow::BaseBinaryScalar&>(*expr.values()[0]).view();
      return static_cast<const arrow::BaseBinaryScalar&>(*value).view().substr(0, prefix.size()) ==
             prefix;
    }
    default:
      return Compare(expr.kind(), value, expr.values()[0]);
  }
}

// ---- Random trees ----

class Generator {
 public:
  Generator(const TableSchema& table, const std::vector<Row>& rows, uint64_t seed)
      : table_(table), rows_(rows), random_(seed) {}

  ExprPtr Tree(int depth, bool conjunctive) {
    const uint64_t choice = random_() % 10;
    if (depth == 0 || choice < 3) return Leaf();
    std::vector<ExprPtr> children;
    const size_t count = random_() % 8 == 0 ? 0 : 1 + random_() % 3;
    for (size_t i = 0; i < count; ++i) children.push_back(Tree(depth - 1, conjunctive));
    if (choice < (conjunctive ? 9U : 6U)) return And(children);
    if (choice < 9) return Or(children);
    return Not(Tree(depth - 1, conjunctive));
  }

  ScalarPtr Constant(const Column& column) {
    if (random_() % 12 == 0) return arrow::MakeNullScalar(column.type);
    // Mostly values that occur, so that equality is met.
    if (!rows_.empty() && random_() % 4 != 0) {
      return rows_[random_() % rows_.size()].at(column.name);
    }
    return RandomValue(column.type, &random_);
  }

 private:
  ExprPtr Leaf() {
    const Column& column = table_.columns[random_() % table_.columns.size()];
    const std::string& name = column.name;
    switch (random_() % 12) {
      case 0:
        return random_() % 4 == 0 ? True() : IsNull(name);
      case 1:
        return IsNotNull(name);
      case 2:
      case 3:
        return Between(name, Constant(column), Constant(column));
      case 4:
      case 5: {
        std::vector<ScalarPtr> values;
        for (uint64_t n = random_() % 5; n > 0; --n) values.push_back(Constant(column));
        return In(name, values);
      }
      case 6: {
        if (!internal::IsBytesType(column.type->id()) &&
            column.type->id() != arrow::Type::FIXED_SIZE_BINARY)
          break;
        const ScalarPtr value = Constant(column);
        if (!value->is_valid) break;
        const auto text = static_cast<const arrow::BaseBinaryScalar&>(*value).view();
        return StartsWith(name, std::string(text.substr(0, random_() % (text.size() + 1))));
      }
      default:
        break;
    }
    ExprPtr (*const compare[])(std::string, ScalarPtr) = {Eq, Ne, Lt, Le, Gt, Ge};
    return compare[random_() % 6](name, Constant(column));
  }

  const TableSchema& table_;
  const std::vector<Row>& rows_;
  std::mt19937_64 random_;
};

std::vector<Row> RandomRows(const TableSchema& table, int count, std::mt19937_64* random) {
  std::vector<Row> rows;
  for (int i = 0; i < count; ++i) {
    Row row;
    for (const Column& column : table.columns) {
      const bool null = column.nullable && (*random)() % 5 == 0;
      const bool share = !rows.empty() && (*random)() % 3 == 0;
      row[column.name] = null    ? arrow::MakeNullScalar(column.type)
                         : share ? rows[(*random)() % rows.size()].at(column.name)
                                 : RandomValue(column.type, random);
      if (!column.nullable && !row[column.name]->is_valid)
        row[column.name] = RandomValue(column.type, random);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

// Statistics as Parquet gives them: without NaN, perhaps cut, perhaps missing.
ColumnRange RangeOf(const std::vector<Row>& rows, const Column& column, std::mt19937_64* random) {
  ColumnRange range;
  range.may_have_null = false;
  range.may_have_value = false;
  range.may_have_nan = false;
  const std::string nan =
      internal::IsFloatType(column.type->id())
          ? *Must(EncodeValue(*Must(internal::CastConstant(Lit(std::nan("")), column.type, ""))))
          : "";
  for (const Row& row : rows) {
    const ScalarPtr& value = row.at(column.name);
    if (!value->is_valid) {
      range.may_have_null = true;
      continue;
    }
    range.may_have_value = true;
    const std::string encoded = *Must(EncodeValue(*value));
    if (!nan.empty() && encoded == nan) {
      range.may_have_nan = true;
      continue;
    }
    if (!range.min || encoded < *range.min) range.min = encoded;
    if (!range.max || encoded > *range.max) range.max = encoded;
  }
  if ((*random)() % 4 == 0) range.may_have_null = true;
  if ((*random)() % 4 == 0) range.may_have_nan = true;
  if ((*random)() % 8 == 0) range.min.reset();
  if ((*random)() % 8 == 0) range.max.reset();
  if (internal::IsBytesType(column.type->id()) && (*random)() % 2 == 0) {
    if (range.min && range.min->size() > 1) range.min->resize(1);
    if (range.max && range.max->size() > 1) {
      const KeyRange cut = KeyRange::Prefix(range.max->substr(0, 1));
      range.max = cut.unbounded_to ? std::nullopt : std::optional<std::string>(cut.to);
    }
  }
  return range;
}

// Evaluate against the reference; CanMatch on pages of the rows; KeyBounds.
void CheckTable(const TableSchema& table, uint64_t seed, int trees, bool conjunctive, int* pruned,
                int* bounded) {
  std::mt19937_64 random(seed);
  const std::vector<Row> rows = RandomRows(table, 60, &random);
  const auto batch = Batch(table, rows);
  const auto keys = Must(KeyCodec(table).Encode(*batch));
  Generator generator(table, rows, seed + 1);
  for (int t = 0; t < trees; ++t) {
    const ExprPtr expr = generator.Tree(3, conjunctive);
    SCOPED_TRACE(expr->ToString());
    const auto predicate = Must(Predicate::Bind(expr, table));
    const auto result = Must(predicate->Evaluate(*batch));
    ASSERT_EQ(result->length(), batch->num_rows());
    const KeyRange bounds = predicate->KeyBounds(table);
    if (!bounds.all()) ++*bounded;
    const int64_t page = 1 + static_cast<int64_t>(random() % 10);
    for (int64_t first = 0; first < batch->num_rows(); first += page) {
      const int64_t end = std::min(first + page, batch->num_rows());
      const std::vector<Row> some(rows.begin() + first, rows.begin() + end);
      const auto lookup = [&](const std::string& name) -> std::optional<ColumnRange> {
        if (random() % 10 == 0) return std::nullopt;
        return RangeOf(some, *table.FindColumn(name), &random);
      };
      const bool can_match = predicate->CanMatch(lookup);
      if (!can_match) ++*pruned;
      for (int64_t i = first; i < end; ++i) {
        const Row& row = rows[static_cast<size_t>(i)];
        const Truth expected = Reference(*expr, row);
        const Truth actual = result->IsNull(i) ? Truth() : Truth(result->Value(i));
        ASSERT_EQ(actual, expected) << "row " << i;
        if (expected != true) continue;
        ASSERT_TRUE(can_match) << "row " << i;
        ASSERT_TRUE(bounds.Contains(keys->GetView(i))) << "row " << i;
      }
    }
  }
}

TEST(PredicateTest, AgreesWithTheReferenceForEveryType) {
  int pruned = 0;
  int bounded = 0;
  uint64_t seed = 1;
  for (const auto& type : KeyTypes()) {
    SCOPED_TRACE(type->ToString());
    const auto table = Table({arrow::field("k", type, false), arrow::field("c", type),
                              arrow::field("d", arrow::int64())},
                             {"k"});
    CheckTable(*table, seed++, 40, false, &pruned, &bounded);
  }
  EXPECT_GT(pruned, 1000);
  EXPECT_GT(bounded, 100);
}

TEST(PredicateTest, KeyBoundsHoldEveryPassingRowOfCompositeKeys) {
  const auto types = KeyTypes();
  std::mt19937_64 random(99);
  int pruned = 0;
  int bounded = 0;
  for (int round = 0; round < 30; ++round) {
    auto type = [&] { return round % 3 == 0 ? arrow::binary() : types[random() % types.size()]; };
    const auto table = Table({arrow::field("a", type(), false), arrow::field("b", type(), false),
                              arrow::field("c", type(), false)},
                             {"a", "b", "c"});
    CheckTable(*table, 1000 + static_cast<uint64_t>(round), 40, true, &pruned, &bounded);
  }
  EXPECT_GT(bounded, 200);
}

TEST(PredicateTest, ThreeValuedTruthTables) {
  const auto table = Table({arrow::field("x", arrow::int64()), arrow::field("y", arrow::int64()),
                            arrow::field("k", arrow::int64())},
                           {"k"});
  const Truth values[] = {true, false, std::nullopt};
  auto scalar = [](Truth v) -> ScalarPtr {
    return v ? Lit(*v ? 1 : 0) : arrow::MakeNullScalar(arrow::int64());
  };
  std::vector<Row> rows;
  for (Truth x : values) {
    for (Truth y : values) rows.push_back({{"x", scalar(x)}, {"y", scalar(y)}, {"k", Lit(0)}});
  }
  auto run = [&](const ExprPtr& expr) {
    const auto out = Must(Must(Predicate::Bind(expr, *table))->Evaluate(*Batch(*table, rows)));
    std::string text;
    for (int64_t i = 0; i < out->length(); ++i)
      text += out->IsNull(i) ? 'N' : out->Value(i) ? 'T' : 'F';
    return text;
  };
  const auto x = Eq("x", Lit(1));
  const auto y = Eq("y", Lit(1));
  EXPECT_EQ(run(And({x, y})), "TFNFFFNFN");
  EXPECT_EQ(run(Or({x, y})), "TTTTFNTNN");
  EXPECT_EQ(run(Not(x)), "FFFTTTNNN");
  EXPECT_EQ(run(IsNull("x")), "FFFFFFTTT");
  EXPECT_EQ(run(IsNotNull("x")), "TTTTTTFFF");
  EXPECT_EQ(run(Eq("x", arrow::MakeNullScalar(arrow::null()))), "NNNNNNNNN");
  EXPECT_EQ(run(In("x", {Lit(1), arrow::MakeNullScalar(arrow::int64())})), "TTTNNNNNN");
  EXPECT_EQ(run(In("x", {Lit(1)})), "TTTFFFNNN");
  EXPECT_EQ(run(In("x", {})), "FFFFFFFFF");
  EXPECT_EQ(run(Not(In("x", {}))), "TTTTTTTTT");
  EXPECT_EQ(run(Between("x", Lit(1), arrow::MakeNullScalar(arrow::int64()))), "NNNFFFNNN");
  EXPECT_EQ(run(And({})), "TTTTTTTTT");
  EXPECT_EQ(run(Or({})), "FFFFFFFFF");
  EXPECT_EQ(run(True()), "TTTTTTTTT");
}

TEST(PredicateTest, NaNIsEqualToItselfAndAboveAllOthers) {
  const auto table =
      Table({arrow::field("k", arrow::int64()), arrow::field("f", arrow::float64())}, {"k"});
  std::vector<Row> rows;
  const double infinity = std::numeric_limits<double>::infinity();
  for (double v : {-infinity, -0.0, 0.0, 1.0, infinity, std::nan("")})
    rows.push_back({{"k", Lit(1)}, {"f", Lit(v)}});
  auto run = [&](const ExprPtr& expr) {
    const auto out = Must(Must(Predicate::Bind(expr, *table))->Evaluate(*Batch(*table, rows)));
    std::string text;
    for (int64_t i = 0; i < out->length(); ++i) text += out->Value(i) ? 'T' : 'F';
    return text;
  };
  const auto nan = Lit(std::nan("1"));
  EXPECT_EQ(run(Eq("f", nan)), "FFFFFT");
  EXPECT_EQ(run(Ne("f", nan)), "TTTTTF");
  EXPECT_EQ(run(Lt("f", nan)), "TTTTTF");
  EXPECT_EQ(run(Le("f", nan)), "TTTTTT");
  EXPECT_EQ(run(Gt("f", nan)), "FFFFFF");
  EXPECT_EQ(run(Ge("f", nan)), "FFFFFT");
  EXPECT_EQ(run(Gt("f", Lit(0.5))), "FFFTTT");
  EXPECT_EQ(run(Eq("f", Lit(0))), "FTTFFF");
  EXPECT_EQ(run(In("f", {Lit(-0.0), nan})), "FTTFFT");
  EXPECT_EQ(run(Between("f", Lit(1.0), nan)), "FFFTTT");
}

std::string Encoded(const ScalarPtr& value) { return *Must(EncodeValue(*value)); }

TEST(PredicateTest, CanMatchIsFalseInObviousCases) {
  const auto table = Table({arrow::field("i", arrow::int64()), arrow::field("s", arrow::utf8()),
                            arrow::field("f", arrow::float64())},
                           {"i"});
  std::map<std::string, ColumnRange> ranges;
  ranges["i"] = {Encoded(Lit(10)), Encoded(Lit(20)), false, true, true};
  ranges["s"] = {"b", "d", true, true, true};
  ranges["f"] = {Encoded(Lit(1.0)), Encoded(Lit(2.0)), false, true, true};
  auto can = [&](const ExprPtr& expr) {
    return Must(Predicate::Bind(expr, *table))
        ->CanMatch([&](const std::string& name) -> std::optional<ColumnRange> {
          const auto it = ranges.find(name);
          return it == ranges.end() ? std::nullopt : std::optional<ColumnRange>(it->second);
        });
  };
  EXPECT_FALSE(can(Eq("i", Lit(9))));
  EXPECT_TRUE(can(Eq("i", Lit(10))));
  EXPECT_FALSE(can(Lt("i", Lit(10))));
  EXPECT_TRUE(can(Le("i", Lit(10))));
  EXPECT_FALSE(can(Gt("i", Lit(20))));
  EXPECT_FALSE(can(Between("i", Lit(21), Lit(30))));
  EXPECT_FALSE(can(Between("i", Lit(30), Lit(5))));
  EXPECT_FALSE(can(In("i", {Lit(1), Lit(30)})));
  EXPECT_TRUE(can(In("i", {Lit(1), Lit(15)})));
  EXPECT_FALSE(can(IsNull("i")));
  EXPECT_TRUE(can(IsNull("s")));
  EXPECT_FALSE(can(Not(IsNotNull("i"))));
  EXPECT_FALSE(can(Not(Le("i", Lit(20)))));
  EXPECT_FALSE(can(Not(Between("i", Lit(10), Lit(20)))));
  EXPECT_FALSE(can(StartsWith("s", "a")));
  EXPECT_FALSE(can(StartsWith("s", "e")));
  EXPECT_TRUE(can(StartsWith("s", "c")));
  EXPECT_FALSE(can(Or({Eq("i", Lit(9)), Eq("s", Lit("z"))})));
  EXPECT_FALSE(can(And({Eq("i", Lit(15)), Eq("s", Lit("z"))})));
  EXPECT_FALSE(can(Eq("i", arrow::MakeNullScalar(arrow::int64()))));
  EXPECT_FALSE(can(Not(Eq("i", arrow::MakeNullScalar(arrow::int64())))));
  EXPECT_FALSE(can(Or({})));
  EXPECT_FALSE(can(Not(True())));
  // A NaN may hide above the maximum unless it is known not to.
  EXPECT_TRUE(can(Gt("f", Lit(5.0))));
  EXPECT_FALSE(can(Lt("f", Lit(0.5))));
  ranges["f"].may_have_nan = false;
  EXPECT_FALSE(can(Gt("f", Lit(5.0))));
  // One value only.
  ranges["i"] = {Encoded(Lit(7)), Encoded(Lit(7)), false, true, true};
  EXPECT_FALSE(can(Ne("i", Lit(7))));
  EXPECT_FALSE(can(Not(In("i", {Lit(7), Lit(8)}))));
  ranges["i"] = {std::nullopt, std::nullopt, true, false, true};  // nothing but nulls
  EXPECT_FALSE(can(Ge("i", Lit(0))));
  EXPECT_FALSE(can(Not(Ge("i", Lit(0)))));
  EXPECT_TRUE(can(IsNull("i")));
  // A bound of another type's width says nothing.
  ranges["i"] = {"\xFF\xFF\xFF\xFF", "\xFF\xFF\xFF\xFF", false, true, true};
  EXPECT_TRUE(can(Eq("i", Lit(0))));
}

TEST(PredicateTest, KeyBoundsAreTight) {
  const auto table = Table({arrow::field("a", arrow::int32()), arrow::field("b", arrow::utf8()),
                            arrow::field("c", arrow::int32()), arrow::field("v", arrow::int32())},
                           {"a", "b", "c"});
  const KeyCodec codec(*table);
  auto bounds = [&](const ExprPtr& expr) {
    return Must(Predicate::Bind(expr, *table))->KeyBounds(*table);
  };
  auto key = [&](int a, const char* b, int c) {
    return Must(codec.EncodeScalars({Lit(a), Lit(b), Lit(c)}));
  };
  auto same = [](const KeyRange& x, const KeyRange& y) {
    return x.from == y.from && x.unbounded_to == y.unbounded_to && (x.unbounded_to || x.to == y.to);
  };
  auto empty = [](const KeyRange& x) { return !x.unbounded_to && x.from >= x.to; };
  const auto a1 = Eq("a", Lit(1));
  EXPECT_TRUE(
      same(bounds(And({Eq("c", Lit(3)), a1, Eq("b", Lit("x"))})), KeyRange::Point(key(1, "x", 3))));
  EXPECT_TRUE(same(bounds(a1), Must(codec.PrefixRange({Lit(1)}))));
  EXPECT_TRUE(same(bounds(And({a1, And({Eq("b", Lit("x"))})})),
                   Must(codec.PrefixRange({Lit(1), Lit("x")}))));
  EXPECT_TRUE(bounds(Eq("b", Lit("x"))).all());
  EXPECT_TRUE(bounds(Eq("v", Lit(1))).all());
  EXPECT_TRUE(bounds(Not(a1)).all());

  const KeyRange text = bounds(And({a1, Between("b", Lit("f"), Lit("h"))}));
  EXPECT_TRUE(text.Contains(key(1, "f", INT32_MIN)) && text.Contains(key(1, "h", INT32_MAX)));
  EXPECT_FALSE(text.Contains(key(1, "e\xFF", 0)) ||
               text.Contains(key(1, std::string("h\x01").c_str(), INT32_MIN)));
  const KeyRange prefix = bounds(And({a1, StartsWith("b", "fo")}));
  EXPECT_TRUE(prefix.Contains(key(1, "fo", 0)) && prefix.Contains(key(1, "foz", 0)));
  EXPECT_FALSE(prefix.Contains(key(1, "fn", 0)) || prefix.Contains(key(1, "fp", 0)) ||
               prefix.Contains(key(2, "fo", 0)));
  const KeyRange above = bounds(And({a1, Gt("b", Lit("f"))}));
  EXPECT_FALSE(above.Contains(key(1, "f", INT32_MAX)) || above.Contains(key(2, "", 0)));
  EXPECT_TRUE(above.Contains(key(1, "f\x01", INT32_MIN)));
  const KeyRange last = bounds(And({a1, Eq("b", Lit("x")), Gt("c", Lit(3)), Le("c", Lit(5))}));
  EXPECT_FALSE(last.Contains(key(1, "x", 3)) || last.Contains(key(1, "x", 6)));
  EXPECT_TRUE(last.Contains(key(1, "x", 4)) && last.Contains(key(1, "x", 5)));

  const KeyRange in = bounds(In("a", {Lit(5), Lit(2), arrow::MakeNullScalar(arrow::int32())}));
  EXPECT_EQ(in.from, Must(codec.PrefixRange({Lit(2)})).from);
  EXPECT_EQ(in.to, Must(codec.PrefixRange({Lit(5)})).to);
  const KeyRange either = bounds(Or({Eq("a", Lit(5)), And({Eq("a", Lit(2)), Eq("b", Lit("x"))})}));
  EXPECT_EQ(either.from, Must(codec.PrefixRange({Lit(2), Lit("x")})).from);
  EXPECT_EQ(either.to, Must(codec.PrefixRange({Lit(5)})).to);
  EXPECT_TRUE(empty(bounds(And({a1, Eq("a", Lit(2))}))));
  EXPECT_TRUE(empty(bounds(In("a", {}))));
  EXPECT_TRUE(empty(bounds(Or({}))));
  EXPECT_TRUE(empty(bounds(And({a1, Eq("v", arrow::MakeNullScalar(arrow::int32()))}))));
  EXPECT_TRUE(empty(bounds(Gt("a", Lit(INT32_MAX)))));
}

TEST(PredicateTest, BindErrorsHelp) {
  const auto table =
      Table({arrow::field("price", arrow::int8()), arrow::field("Name", arrow::utf8()),
             arrow::field("tags", arrow::list(arrow::utf8()))},
            {"price"});
  auto refused = [&](const ExprPtr& expr, const char* text) {
    auto bound = Predicate::Bind(expr, *table);
    if (bound.ok()) return std::string("it succeeded");
    if (CodeOf(bound.status()) != ErrorCode::kInvalidArgument) return bound.status().ToString();
    const std::string all = bound.status().message() + " " + std::string(HintOf(bound.status()));
    return all.find(text) != std::string::npos ? std::string() : all;
  };
  EXPECT_EQ(refused(Eq("prise", Lit(1)), "did you mean price?"), "");
  EXPECT_EQ(refused(Eq("name", Lit("x")), "did you mean Name?"), "");
  EXPECT_EQ(refused(Eq("zzzzzzzz", Lit(1)), "the columns are price, Name, tags"), "");
  EXPECT_EQ(refused(Eq("_valid_form", Lit(1)), "did you mean _valid_from"), "");
  EXPECT_EQ(refused(Eq("_rowid", Lit(1)), "unknown column"), "");
  EXPECT_EQ(refused(Eq("price", Lit(300)), "does not fit the column: column=price type=int8"), "");
  EXPECT_EQ(refused(Eq("price", Lit("x")), "does not fit"), "");
  EXPECT_EQ(refused(Eq("price", nullptr), "missing"), "");
  EXPECT_EQ(refused(Eq("tags", Lit("x")), "cannot be compared"), "");
  EXPECT_EQ(refused(In("tags", {}), "cannot be compared"), "");
  EXPECT_EQ(refused(StartsWith("price", "1"), "text or binary"), "");
  EXPECT_EQ(refused(And({nullptr}), "missing part"), "");
  EXPECT_EQ(refused(nullptr, "missing part"), "");
  EXPECT_EQ(
      refused(std::make_shared<const Expr>(Kind::kBetween, "price", std::vector<ScalarPtr>{Lit(1)},
                                           std::vector<ExprPtr>()),
              "expected=2 actual=1"),
      "");
  ExprPtr deep = True();
  for (int i = 0; i < 2000; ++i) deep = Not(deep);
  EXPECT_EQ(refused(deep, "nested too deep"), "");
}

TEST(PredicateTest, HiddenColumnsAndNestedNullTestsWork) {
  const auto table = Table(
      {arrow::field("k", arrow::int64()), arrow::field("tags", arrow::list(arrow::utf8()))}, {"k"});
  const auto predicate =
      Must(Predicate::Bind(And({Ge("_valid_from", Lit("2020-01-01")), Gt("_commit", Lit(5)),
                                IsNotNull("tags"), Lt("_commit", Lit(9))}),
                           *table));
  EXPECT_EQ(predicate->columns(), (std::vector<std::string>{"_valid_from", "_commit", "tags"}));
  EXPECT_TRUE(predicate->reads_time_columns());
  EXPECT_FALSE(Must(Predicate::Bind(IsNull("tags"), *table))->reads_time_columns());
  const auto us = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  const auto times =
      MakeColumn(us, {std::make_shared<arrow::TimestampScalar>(INT64_MIN, us),
                      std::make_shared<arrow::TimestampScalar>(1577836800000000, us)});
  const auto commits = MakeColumn(arrow::int64(), {Lit(6), Lit(6)});
  const auto tags = std::make_shared<arrow::ListArray>(
      arrow::list(arrow::utf8()), 2, arrow::Buffer::FromVector(std::vector<int32_t>{0, 0, 0}),
      Must(arrow::MakeArrayOfNull(arrow::utf8(), 0)));
  const auto batch = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("_valid_from", us), arrow::field("_commit", arrow::int64()),
                     arrow::field("tags", tags->type())}),
      2, {times, commits, tags});
  const auto out = Must(predicate->Evaluate(*batch));
  EXPECT_FALSE(out->Value(0));
  EXPECT_TRUE(out->Value(1));
  EXPECT_EQ(CodeOf(predicate->Evaluate(*Must(batch->RemoveColumn(1))).status()),
            ErrorCode::kInternal);
  EXPECT_EQ(Must(predicate->Evaluate(*batch->Slice(0, 0)))->length(), 0);
}

TEST(ExprTest, ToStringReadsLikeSql) {
  EXPECT_EQ(
      And({Eq("a", Lit(1)), Or({Lt("b c", Lit("it's")), Not(Ge("d", Lit(2.5)))})})->ToString(),
      "(a = 1 AND (\"b c\" < 'it''s' OR NOT (d >= 2.5)))");
  EXPECT_EQ(IsNotNull("a")->ToString(), "a IS NOT NULL");
  EXPECT_EQ(In("a", {Lit(true), arrow::MakeNullScalar(arrow::null())})->ToString(),
            "a IN (true, NULL)");
  EXPECT_EQ(Between("a", Lit(1), Lit(2))->ToString(), "a BETWEEN 1 AND 2");
  EXPECT_EQ(StartsWith("a", "x")->ToString(), "starts_with(a, 'x')");
  EXPECT_EQ(StartsWith("a", "\x01")->ToString(), "starts_with(a, x'01')");
  EXPECT_EQ(Not(And({}))->ToString(), "NOT (TRUE)");
  EXPECT_EQ(Not(Or({Ne("a", Lit(1)), True()}))->ToString(), "NOT (a <> 1 OR TRUE)");
  const auto table = Table({arrow::field("a", arrow::date32())}, {"a"});
  EXPECT_EQ(Must(Predicate::Bind(Gt("a", Lit("2020-01-02")), *table))->ToString(),
            "a > '2020-01-02'");
}

}  // namespace
}  // namespace lamina::catalog
