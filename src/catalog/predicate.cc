// A predicate answers three questions from one bound tree:
//   Evaluate   which rows pass: Arrow's kernels, three-valued (Kleene) logic.
//   CanMatch   which outcomes (true, false, null) rows with given statistics may have. Every node
//              returns a superset of the outcomes that occur, so Not only swaps true and false, and
//              nothing need be pushed down. The answer is "true may occur".
//   KeyBounds  which encoded keys passing rows may have.
// All three follow the order of EncodeValue: NaN = NaN, greater than all other floats; -0 = +0.
#include "catalog/predicate.h"

#include <algorithm>
#include <cmath>

#include <arrow/array/array_primitive.h>
#include <arrow/array/builder_base.h>
#include <arrow/compute/api_scalar.h>
#include <arrow/compute/cast.h>
#include <arrow/compute/exec.h>
#include <fmt/format.h>

#include "base/check.h"
#include "catalog/compute.h"
#include "catalog/encoding_internal.h"
#include "catalog/schema_internal.h"

namespace lamina::catalog {

using arrow::Type;
using Kind = Expr::Kind;

struct Predicate::Node {
  Kind kind = Kind::kTrue;
  std::string column;
  std::shared_ptr<arrow::DataType> type;
  std::vector<ScalarPtr> values;  // cast to `type`
  // EncodeValue of each; a prefix as its own bytes
  std::vector<std::optional<std::string>> encoded;
  // kIn: the values but NaN, as Hashable() makes them; may be null
  std::shared_ptr<arrow::Array> value_set;
  bool value_set_has_nan = false;
  std::vector<Node> children;
  ExprPtr expr;  // with the cast constants, for ToString
};

namespace {

Status Invalid(std::string message, std::string hint = {}) {
  return MakeError(ErrorCode::kInvalidArgument, std::move(message), std::move(hint));
}

const char* const kTimeColumns[] = {kValidFromColumn, kValidToColumn, kSystemFromColumn,
                                    kSystemToColumn};

bool IsTimeColumn(const std::string& name) {
  return name == kCommitColumn || std::any_of(std::begin(kTimeColumns), std::end(kTimeColumns),
                                              [&](const char* column) { return name == column; });
}

// Null when the table has no such column.
std::shared_ptr<arrow::DataType> TypeOf(const TableSchema& table, const std::string& name) {
  if (name == kCommitColumn) return arrow::int64();
  if (IsTimeColumn(name)) return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  const Column* column = table.FindColumn(name);
  return column == nullptr ? nullptr : column->type;
}

bool IsNaN(const arrow::Scalar& value) {
  switch (value.type->id()) {
    case Type::HALF_FLOAT: {
      uint16_t bits = 0;
      const auto view = static_cast<const arrow::internal::PrimitiveScalarBase&>(value).view();
      std::copy(view.begin(), view.end(), reinterpret_cast<char*>(&bits));
      return (bits & 0x7FFF) > 0x7C00;
    }
    case Type::FLOAT:
      return std::isnan(static_cast<const arrow::FloatScalar&>(value).value);
    case Type::DOUBLE:
      return std::isnan(static_cast<const arrow::DoubleScalar&>(value).value);
    default:
      return false;
  }
}

Result<arrow::Datum> Call(const std::string& function, const std::vector<arrow::Datum>& arguments,
                          const arrow::compute::FunctionOptions* options = nullptr) {
  return arrow::compute::CallFunction(function, arguments, options);
}

// The same values in a type that Arrow has comparison kernels for.
Result<arrow::Datum> Comparable(const arrow::Datum& values) {
  if (values.type()->id() != Type::HALF_FLOAT) return values;
  return arrow::compute::Cast(values, arrow::float32());
}

// … and that is_in takes: small decimals as the integers they are stored as.
Result<std::shared_ptr<arrow::Array>> Hashable(const std::shared_ptr<arrow::Array>& values) {
  if (values->type_id() == Type::DECIMAL32) return values->View(arrow::int32());
  if (values->type_id() == Type::DECIMAL64) return values->View(arrow::int64());
  ARROW_ASSIGN_OR_RAISE(arrow::Datum out, Comparable(values));
  return out.make_array();
}

Result<std::shared_ptr<arrow::Array>> AllOf(std::optional<bool> value, int64_t rows) {
  std::shared_ptr<arrow::Scalar> scalar = arrow::MakeNullScalar(arrow::boolean());
  if (value) scalar = std::make_shared<arrow::BooleanScalar>(*value);
  return arrow::MakeArrayFromScalar(*scalar, rows);
}

// `value` where the column is not null, null elsewhere.
Result<arrow::Datum> ConstantWhereValid(const arrow::Datum& column, bool value) {
  if (value) {
    ARROW_ASSIGN_OR_RAISE(auto yes, ConstantWhereValid(column, false));
    return Call("invert", {yes});
  }
  const auto& data = *column.array();
  ARROW_ASSIGN_OR_RAISE(auto all, AllOf(false, data.length));
  if (data.GetNullCount() == 0) return all;
  ARROW_ASSIGN_OR_RAISE(auto valid, Call("is_valid", {column}));
  const auto nothing = arrow::MakeNullScalar(arrow::boolean());
  return Call("if_else", {valid, std::make_shared<arrow::BooleanScalar>(false), nothing});
}

// x < c or x <= c.
Result<arrow::Datum> Below(const arrow::Datum& column, const ScalarPtr& value, bool or_equal) {
  if (IsNaN(*value)) {
    // Nothing lies above NaN: <= holds for all values, < for those that are not NaN.
    if (or_equal) return ConstantWhereValid(column, true);
    ARROW_ASSIGN_OR_RAISE(auto nan, Call("is_nan", {column}));
    return Call("invert", {nan});
  }
  ARROW_ASSIGN_OR_RAISE(auto constant, Comparable(value));
  return Call(or_equal ? "less_equal" : "less",
              {column, constant});  // false for NaN, as it should be
}

Result<arrow::Datum> Equal(const arrow::Datum& column, const ScalarPtr& value) {
  if (IsNaN(*value)) return Call("is_nan", {column});
  ARROW_ASSIGN_OR_RAISE(auto constant, Comparable(value));
  return Call("equal", {column, constant});
}

// One comparison of a column (already Comparable) with a constant.
Result<arrow::Datum> Compare(Kind kind, const arrow::Datum& column, const ScalarPtr& value) {
  if (!value->is_valid) {
    ARROW_ASSIGN_OR_RAISE(auto unknown, AllOf(std::nullopt, column.length()));
    return unknown;
  }
  switch (kind) {
    case Kind::kEq:
      return Equal(column, value);
    case Kind::kLt:
      return Below(column, value, false);
    case Kind::kLe:
      return Below(column, value, true);
    default: {
      // The complements: right for NaN too, because it falls under neither = nor < of another
      // value.
      const Kind complement = kind == Kind::kNe   ? Kind::kEq
                              : kind == Kind::kGe ? Kind::kLt
                                                  : Kind::kLe;
      ARROW_ASSIGN_OR_RAISE(auto inner, Compare(complement, column, value));
      return Call("invert", {inner});
    }
  }
}

// What rows may come to.
struct Outcomes {
  bool can_true = true;
  bool can_false = true;
  bool can_null = true;
};

// What statistics say of one column, once checked against its type.
struct Bounds {
  Bounds(const std::optional<ColumnRange>& range, const arrow::DataType& type) {
    if (range) {
      may_have_null = range->may_have_null;
      may_have_value = range->may_have_value;
      min = range->min;
      max = range->max;
    }
    // A bound of another width was written for another type: of no use.
    const int width = internal::FixedKeyWidth(type);
    if (width > 0 && type.id() != Type::FIXED_SIZE_BINARY) {
      if (min && min->size() != static_cast<size_t>(width)) min.reset();
      if (max && max->size() != static_cast<size_t>(width)) max.reset();
    }
    // NaN is the largest value and not in max: without an upper bound it is covered again.
    if (internal::IsFloatType(type.id()) && (!range || range->may_have_nan)) max.reset();
  }
  bool MayHoldBelow(std::string_view value) const { return !min || *min < value; }     // v < value
  bool MayHoldAtMost(std::string_view value) const { return !min || *min <= value; }   // v <= value
  bool MayHoldAbove(std::string_view value) const { return !max || *max > value; }     // v > value
  bool MayHoldAtLeast(std::string_view value) const { return !max || *max >= value; }  // v >= value
  bool MayHold(std::string_view value) const {
    return MayHoldAtMost(value) && MayHoldAtLeast(value);
  }
  bool HoldsOnly(std::string_view value) const {
    return min && max && *min == value && *max == value;
  }

  std::optional<std::string> min;
  std::optional<std::string> max;
  bool may_have_null = true;
  bool may_have_value = true;
};

// Outcomes of `v op value` over the non-null values.
Outcomes CompareBounds(Kind kind, const Bounds& bounds, const std::optional<std::string>& value) {
  if (!value) return {false, false, true};
  Outcomes out;
  out.can_null = false;
  switch (kind) {
    case Kind::kEq:
      out.can_true = bounds.MayHold(*value);
      out.can_false = !bounds.HoldsOnly(*value);
      break;
    case Kind::kNe:
      out.can_true = !bounds.HoldsOnly(*value);
      out.can_false = bounds.MayHold(*value);
      break;
    case Kind::kLt:
      out.can_true = bounds.MayHoldBelow(*value);
      out.can_false = bounds.MayHoldAtLeast(*value);
      break;
    case Kind::kLe:
      out.can_true = bounds.MayHoldAtMost(*value);
      out.can_false = bounds.MayHoldAbove(*value);
      break;
    case Kind::kGt:
      out.can_true = bounds.MayHoldAbove(*value);
      out.can_false = bounds.MayHoldAtMost(*value);
      break;
    case Kind::kGe:
      out.can_true = bounds.MayHoldAtLeast(*value);
      out.can_false = bounds.MayHoldBelow(*value);
      break;
    default:
      break;
  }
  return out;
}

Outcomes AndOutcomes(const Outcomes& a, const Outcomes& b) {
  return {a.can_true && b.can_true, a.can_false || b.can_false, a.can_null || b.can_null};
}
Outcomes NotOutcomes(const Outcomes& a) { return {a.can_false, a.can_true, a.can_null}; }
Outcomes OrOutcomes(const Outcomes& a, const Outcomes& b) {
  return NotOutcomes(AndOutcomes(NotOutcomes(a), NotOutcomes(b)));
}

KeyRange EmptyRange() {
  KeyRange range;
  range.unbounded_to = false;
  return range;
}
bool IsEmpty(const KeyRange& range) { return !range.unbounded_to && range.from >= range.to; }

KeyRange Intersect(const KeyRange& a, const KeyRange& b) {
  KeyRange out;
  out.from = std::max(a.from, b.from);
  out.unbounded_to = a.unbounded_to && b.unbounded_to;
  if (!out.unbounded_to) {
    out.to = a.unbounded_to ? b.to : b.unbounded_to ? a.to : std::min(a.to, b.to);
    if (IsEmpty(out)) return EmptyRange();
  }
  return out;
}

KeyRange Hull(const KeyRange& a, const KeyRange& b) {
  if (IsEmpty(a)) return b;
  if (IsEmpty(b)) return a;
  KeyRange out;
  out.from = std::min(a.from, b.from);
  out.unbounded_to = a.unbounded_to || b.unbounded_to;
  if (!out.unbounded_to) out.to = std::max(a.to, b.to);
  return out;
}

// Keys that begin with `prefix` (whole components) and whose next component lies in a range of
// values.
class ComponentRange {
 public:
  ComponentRange(const std::string& prefix, const arrow::DataType& type, bool last)
      : prefix_(prefix), type_(type), last_(last) {}

  KeyRange AtLeast(const std::string& value) const {
    KeyRange range = KeyRange::Prefix(prefix_);
    range.from = With(value);
    return range;
  }
  KeyRange Above(const std::string& value) const {
    KeyRange range = KeyRange::Prefix(prefix_);
    const KeyRange equal = EqualTo(value);
    if (equal.unbounded_to) return EmptyRange();  // the value is the largest there is
    range.from = equal.to;
    return range;
  }
  KeyRange Below(const std::string& value) const {
    KeyRange range;
    range.from = prefix_;
    range.to = With(value);
    range.unbounded_to = false;
    return range;
  }
  KeyRange AtMost(const std::string& value) const {
    KeyRange range = EqualTo(value);
    range.from = prefix_;
    return range;
  }
  KeyRange EqualTo(const std::string& value) const {
    return last_ ? KeyRange::Point(With(value)) : KeyRange::Prefix(With(value));
  }
  KeyRange StartingWith(const std::string& value) const {
    std::string bytes = prefix_;
    if (last_ || !internal::IsBytesType(type_.id())) {
      bytes += value;
    } else {
      internal::AppendEscaped(value, &bytes);
    }
    return KeyRange::Prefix(bytes);
  }

 private:
  std::string With(const std::string& value) const {
    std::string bytes = prefix_;
    internal::AppendComponent(type_, value, last_, &bytes);
    return bytes;
  }
  const std::string& prefix_;
  const arrow::DataType& type_;
  const bool last_;
};

Result<std::shared_ptr<arrow::Array>> MakeValueSet(const std::vector<ScalarPtr>& values,
                                                   const std::shared_ptr<arrow::DataType>& type) {
  ARROW_ASSIGN_OR_RAISE(auto builder, arrow::MakeBuilder(type));
  for (const ScalarPtr& value : values) ARROW_RETURN_NOT_OK(builder->AppendScalar(*value));
  ARROW_ASSIGN_OR_RAISE(auto array, builder->Finish());
  ARROW_ASSIGN_OR_RAISE(array, Hashable(array));
  if (!internal::IsFloatType(type->id())) return array;
  // is_in tells the two zeros apart: have both.
  const bool doubles = array->type_id() == Type::DOUBLE;
  bool zero = false;
  for (int64_t i = 0; i < array->length(); ++i) {
    if (array->IsNull(i)) continue;
    zero = zero || (doubles ? static_cast<const arrow::DoubleArray&>(*array).Value(i) == 0
                            : static_cast<const arrow::FloatArray&>(*array).Value(i) == 0);
  }
  if (!zero) return array;
  ARROW_ASSIGN_OR_RAISE(auto more, arrow::MakeBuilder(array->type()));
  ARROW_RETURN_NOT_OK(more->AppendArraySlice(*array->data(), 0, array->length()));
  for (double sign : {1.0, -1.0}) {
    ARROW_ASSIGN_OR_RAISE(
        auto both,
        arrow::MakeScalar(array->type(), doubles ? 0.0 * sign : static_cast<float>(0.0 * sign)));
    ARROW_RETURN_NOT_OK(more->AppendScalar(*both));
  }
  return more->Finish();
}

}  // namespace

// The recursive functions over nodes.
struct PredicateTree {
  using Node = Predicate::Node;

  static constexpr int kDepthMax = 512;

  static Result<Node> Bind(const ExprPtr& expr, const TableSchema& table, int depth,
                           std::vector<std::string>* columns) {
    if (expr == nullptr) return Invalid("a predicate has a missing part");
    if (depth > kDepthMax) {
      return Invalid(fmt::format("a predicate is nested too deep: limit={}", kDepthMax));
    }
    Node node;
    node.kind = expr->kind();
    switch (node.kind) {
      case Kind::kTrue:
      case Kind::kAnd:
      case Kind::kOr:
      case Kind::kNot: {
        std::vector<ExprPtr> children;
        for (const ExprPtr& child : expr->children()) {
          ARROW_ASSIGN_OR_RAISE(Node bound, Bind(child, table, depth + 1, columns));
          children.push_back(bound.expr);
          node.children.push_back(std::move(bound));
        }
        if (node.kind == Kind::kNot && node.children.size() != 1) {
          return Invalid(fmt::format("NOT takes one operand: operands={}", node.children.size()));
        }
        node.expr = std::make_shared<const Expr>(node.kind, std::string(), std::vector<ScalarPtr>(),
                                                 std::move(children));
        return node;
      }
      default:
        return BindLeaf(*expr, table, columns);
    }
  }

  static Result<Node> BindLeaf(const Expr& expr, const TableSchema& table,
                               std::vector<std::string>* columns) {
    Node node;
    node.kind = expr.kind();
    node.column = expr.column();
    node.type = TypeOf(table, node.column);
    if (node.type == nullptr) {
      std::vector<std::string> names = table.ToArrow()->field_names();
      if (!node.column.empty() && node.column[0] == '_') {
        names.insert(names.end(), std::begin(kTimeColumns), std::end(kTimeColumns));
        names.emplace_back(kCommitColumn);
      }
      return Invalid(fmt::format("unknown column: table={} column={}", table.name, node.column),
                     internal::SuggestNames(node.column, names));
    }
    const size_t wanted = node.kind == Kind::kIsNull ? 0 : node.kind == Kind::kBetween ? 2 : 1;
    if (node.kind != Kind::kIn && expr.values().size() != wanted) {
      return Invalid(fmt::format(
          "a predicate has the wrong number of constants: column={} expected={} actual={}",
          node.column, wanted, expr.values().size()));
    }
    const arrow::DataType& type = *node.type;
    if (node.kind == Kind::kStartsWith) {
      const bool takes_prefix =
          internal::IsBytesType(type.id()) || type.id() == Type::FIXED_SIZE_BINARY;
      if (!takes_prefix) {
        return Invalid(
            fmt::format("starts_with needs a column of text or binary: column={} type={}",
                        node.column, type.ToString()));
      }
      ARROW_ASSIGN_OR_RAISE(auto prefix,
                            internal::CastConstant(expr.values()[0], arrow::binary(), node.column));
      node.values.push_back(prefix);
    } else if (node.kind != Kind::kIsNull) {
      if (!internal::IsOrdered(type)) {
        return Invalid(fmt::format("a column of this type cannot be compared: column={} type={}",
                                   node.column, type.ToString()),
                       "it can only be asked for null");
      }
      for (const ScalarPtr& value : expr.values()) {
        ARROW_ASSIGN_OR_RAISE(auto constant, internal::CastConstant(value, node.type, node.column));
        node.values.push_back(std::move(constant));
      }
    }
    for (const ScalarPtr& value : node.values) {
      ARROW_ASSIGN_OR_RAISE(node.encoded.emplace_back(), EncodeValue(*value));
    }
    if (node.kind == Kind::kIn) {
      // is_in compares NaNs by their bits.
      std::vector<ScalarPtr> others;
      for (const ScalarPtr& value : node.values) {
        if (value->is_valid && IsNaN(*value)) {
          node.value_set_has_nan = true;
        } else {
          others.push_back(value);
        }
      }
      if (!others.empty()) {
        ARROW_ASSIGN_OR_RAISE(node.value_set, MakeValueSet(others, node.type));
      }
    }
    if (std::find(columns->begin(), columns->end(), node.column) == columns->end())
      columns->push_back(node.column);
    node.expr =
        std::make_shared<const Expr>(node.kind, node.column, node.values, std::vector<ExprPtr>());
    return node;
  }

  static Result<std::shared_ptr<arrow::Array>> Evaluate(const Node& node,
                                                        const arrow::RecordBatch& batch) {
    switch (node.kind) {
      case Kind::kTrue:
        return AllOf(true, batch.num_rows());
      case Kind::kNot: {
        ARROW_ASSIGN_OR_RAISE(auto child, Evaluate(node.children[0], batch));
        ARROW_ASSIGN_OR_RAISE(auto out, Call("invert", {child}));
        return out.make_array();
      }
      case Kind::kAnd:
      case Kind::kOr: {
        if (node.children.empty()) return AllOf(node.kind == Kind::kAnd, batch.num_rows());
        ARROW_ASSIGN_OR_RAISE(auto result, Evaluate(node.children[0], batch));
        for (size_t i = 1; i < node.children.size(); ++i) {
          ARROW_ASSIGN_OR_RAISE(auto next, Evaluate(node.children[i], batch));
          ARROW_ASSIGN_OR_RAISE(
              auto both,
              Call(node.kind == Kind::kAnd ? "and_kleene" : "or_kleene", {result, next}));
          result = both.make_array();
        }
        return result;
      }
      default:
        return EvaluateLeaf(node, batch);
    }
  }

  static Result<std::shared_ptr<arrow::Array>> EvaluateLeaf(const Node& node,
                                                            const arrow::RecordBatch& batch) {
    const auto column = batch.GetColumnByName(node.column);
    if (column == nullptr || !column->type()->Equals(*node.type)) {
      return MakeError(ErrorCode::kInternal,
                       fmt::format("a batch lacks a column of the predicate or has it in another "
                                   "type: column={} expected={} "
                                   "actual={}",
                                   node.column, node.type->ToString(),
                                   column == nullptr ? "" : column->type()->ToString()));
    }
    arrow::Datum out;
    switch (node.kind) {
      case Kind::kIsNull: {
        ARROW_ASSIGN_OR_RAISE(out, Call("is_null", {column}));
        break;
      }
      case Kind::kStartsWith: {
        if (!node.encoded[0]) return AllOf(std::nullopt, batch.num_rows());
        arrow::Datum text = column;
        if (node.type->id() == Type::FIXED_SIZE_BINARY) {
          ARROW_ASSIGN_OR_RAISE(text, arrow::compute::Cast(column, arrow::binary()));
        }
        const arrow::compute::MatchSubstringOptions options(*node.encoded[0]);
        ARROW_ASSIGN_OR_RAISE(out, Call("starts_with", {text}, &options));
        break;
      }
      case Kind::kIn: {
        if (node.values.empty()) return AllOf(false, batch.num_rows());
        ARROW_ASSIGN_OR_RAISE(auto values, Hashable(column));
        if (node.value_set != nullptr) {
          const arrow::compute::SetLookupOptions options(
              node.value_set, arrow::compute::SetLookupOptions::INCONCLUSIVE);
          ARROW_ASSIGN_OR_RAISE(out, Call("is_in", {values}, &options));
        }
        if (node.value_set_has_nan) {
          ARROW_ASSIGN_OR_RAISE(auto nan, Call("is_nan", {values}));
          if (node.value_set == nullptr) {
            out = nan;
          } else {
            ARROW_ASSIGN_OR_RAISE(out, Call("or_kleene", {out, nan}));
          }
        }
        break;
      }
      case Kind::kBetween: {
        ARROW_ASSIGN_OR_RAISE(auto values, Comparable(column));
        ARROW_ASSIGN_OR_RAISE(auto lower, Compare(Kind::kGe, values, node.values[0]));
        ARROW_ASSIGN_OR_RAISE(auto upper, Compare(Kind::kLe, values, node.values[1]));
        ARROW_ASSIGN_OR_RAISE(out, Call("and_kleene", {lower, upper}));
        break;
      }
      default: {
        ARROW_ASSIGN_OR_RAISE(auto values, Comparable(column));
        ARROW_ASSIGN_OR_RAISE(out, Compare(node.kind, values, node.values[0]));
      }
    }
    return out.make_array();
  }

  static Outcomes CanMatch(const Node& node, const ColumnRangeLookup& ranges) {
    switch (node.kind) {
      case Kind::kTrue:
        return {true, false, false};
      case Kind::kNot:
        return NotOutcomes(CanMatch(node.children[0], ranges));
      case Kind::kAnd: {
        Outcomes out{true, false, false};
        for (const Node& child : node.children) out = AndOutcomes(out, CanMatch(child, ranges));
        return out;
      }
      case Kind::kOr: {
        Outcomes out{false, true, false};
        for (const Node& child : node.children) out = OrOutcomes(out, CanMatch(child, ranges));
        return out;
      }
      default:
        break;
    }
    const Bounds bounds(ranges(node.column), *node.type);
    if (node.kind == Kind::kIsNull) return {bounds.may_have_null, bounds.may_have_value, false};
    if (node.kind == Kind::kIn && node.values.empty()) return {false, true, false};
    Outcomes out{false, false, false};
    if (bounds.may_have_value) out = CanMatchValues(node, bounds);
    out.can_null = out.can_null || bounds.may_have_null;
    return out;
  }

  // Outcomes over the rows that are not null.
  static Outcomes CanMatchValues(const Node& node, const Bounds& bounds) {
    switch (node.kind) {
      case Kind::kBetween:
        return AndOutcomes(CompareBounds(Kind::kGe, bounds, node.encoded[0]),
                           CompareBounds(Kind::kLe, bounds, node.encoded[1]));
      case Kind::kIn: {
        Outcomes out{false, true, false};
        for (const auto& value : node.encoded)
          out = OrOutcomes(out, CompareBounds(Kind::kEq, bounds, value));
        return out;
      }
      case Kind::kStartsWith: {
        if (!node.encoded[0]) return {false, false, true};
        const std::string& prefix = *node.encoded[0];
        const KeyRange range = KeyRange::Prefix(prefix);
        Outcomes out;
        out.can_null = false;
        out.can_true = bounds.MayHoldAtLeast(range.from) &&
                       (range.unbounded_to || bounds.MayHoldBelow(range.to));
        out.can_false = !(bounds.min && bounds.max && range.Contains(*bounds.min) &&
                          range.Contains(*bounds.max));
        return out;
      }
      default:
        return CompareBounds(node.kind, bounds, node.encoded[0]);
    }
  }

  static KeyRange Keys(const Node& node, const TableSchema& table) {
    switch (node.kind) {
      case Kind::kTrue:
      case Kind::kNot:
      case Kind::kIsNull:
        return KeyRange::All();
      case Kind::kOr: {
        KeyRange hull = EmptyRange();
        for (const Node& child : node.children) hull = Hull(hull, Keys(child, table));
        return hull;
      }
      default: {
        // One conjunction: its leaves work together on the key's components, other parts narrow the
        // result each on their own.
        std::vector<const Node*> leaves;
        KeyRange range = KeyRange::All();
        Flatten(node, table, &leaves, &range);
        return Intersect(range, LeafKeys(leaves, table));
      }
    }
  }

  static void Flatten(const Node& node, const TableSchema& table, std::vector<const Node*>* leaves,
                      KeyRange* range) {
    if (node.kind == Kind::kAnd) {
      for (const Node& child : node.children) Flatten(child, table, leaves, range);
    } else if (node.kind == Kind::kOr) {
      *range = Intersect(*range, Keys(node, table));
    } else if (node.kind != Kind::kNot && node.kind != Kind::kTrue) {
      leaves->push_back(&node);
    }
  }

  static KeyRange LeafKeys(const std::vector<const Node*>& leaves, const TableSchema& table) {
    KeyRange range = KeyRange::All();
    // A comparison with NULL passes no row, whatever the column.
    for (const Node* leaf : leaves) {
      if (NeverTrue(*leaf)) return EmptyRange();
    }
    std::string prefix;
    for (size_t c = 0; c < table.key.size(); ++c) {
      const Column* column = table.FindColumn(table.key[c]);
      const bool last = c + 1 == table.key.size();
      const ComponentRange component(prefix, *column->type, last);
      std::optional<std::string> equal;
      for (const Node* leaf : leaves) {
        if (leaf->column != column->name || !leaf->type->Equals(*column->type)) continue;
        range = Intersect(range, LeafComponent(*leaf, component, &equal));
      }
      if (!equal) break;
      internal::AppendComponent(*column->type, *equal, last, &prefix);
    }
    return range;
  }

  static bool NeverTrue(const Node& leaf) {
    if (leaf.kind == Kind::kIsNull) return false;
    if (leaf.kind == Kind::kBetween) return !leaf.encoded[0] || !leaf.encoded[1];
    return std::none_of(leaf.encoded.begin(), leaf.encoded.end(),
                        [](const auto& value) { return value.has_value(); });
  }

  // Keys that one leaf on the component's column lets pass; sets `equal` when that is one value.
  static KeyRange LeafComponent(const Node& leaf, const ComponentRange& component,
                                std::optional<std::string>* equal) {
    switch (leaf.kind) {
      case Kind::kEq:
        *equal = leaf.encoded[0];
        return component.EqualTo(**equal);
      case Kind::kLt:
        return component.Below(*leaf.encoded[0]);
      case Kind::kLe:
        return component.AtMost(*leaf.encoded[0]);
      case Kind::kGt:
        return component.Above(*leaf.encoded[0]);
      case Kind::kGe:
        return component.AtLeast(*leaf.encoded[0]);
      case Kind::kBetween:
        if (*leaf.encoded[0] == *leaf.encoded[1]) *equal = leaf.encoded[0];
        return Intersect(component.AtLeast(*leaf.encoded[0]), component.AtMost(*leaf.encoded[1]));
      case Kind::kIn: {
        const std::string* min = nullptr;
        const std::string* max = nullptr;
        for (const auto& value : leaf.encoded) {
          if (!value) continue;
          if (min == nullptr || *value < *min) min = &*value;
          if (max == nullptr || *value > *max) max = &*value;
        }
        if (*min == *max) *equal = *min;
        return Intersect(component.AtLeast(*min), component.AtMost(*max));
      }
      case Kind::kStartsWith:
        return component.StartingWith(*leaf.encoded[0]);
      default:
        return KeyRange::All();
    }
  }
};

Predicate::Predicate() = default;
Predicate::~Predicate() = default;

Result<std::shared_ptr<const Predicate>> Predicate::Bind(const ExprPtr& expr,
                                                         const TableSchema& table) {
  InitializeCompute();
  std::shared_ptr<Predicate> predicate(new Predicate());
  ARROW_ASSIGN_OR_RAISE(Node root, PredicateTree::Bind(expr, table, 0, &predicate->columns_));
  predicate->root_ = std::make_unique<Node>(std::move(root));
  predicate->reads_time_columns_ =
      std::any_of(predicate->columns_.begin(), predicate->columns_.end(), IsTimeColumn);
  return predicate;
}

const std::vector<std::string>& Predicate::columns() const { return columns_; }
bool Predicate::reads_time_columns() const { return reads_time_columns_; }

Result<std::shared_ptr<arrow::BooleanArray>> Predicate::Evaluate(
    const arrow::RecordBatch& batch) const {
  ARROW_ASSIGN_OR_RAISE(auto out, PredicateTree::Evaluate(*root_, batch));
  LAMINA_DCHECK(out->type_id() == Type::BOOL && out->length() == batch.num_rows());
  return std::static_pointer_cast<arrow::BooleanArray>(std::move(out));
}

bool Predicate::CanMatch(const ColumnRangeLookup& ranges) const {
  return PredicateTree::CanMatch(*root_, ranges).can_true;
}

KeyRange Predicate::KeyBounds(const TableSchema& table) const {
  return PredicateTree::Keys(*root_, table);
}

std::string Predicate::ToString() const { return root_->expr->ToString(); }

}  // namespace lamina::catalog
