#include "lamina/expr.h"

#include <arrow/type.h>
#include <fmt/format.h>

namespace lamina {
namespace {

std::string QuoteName(const std::string& name) {
  bool plain = !name.empty() && !(name[0] >= '0' && name[0] <= '9');
  for (char c : name) {
    plain = plain && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_');
  }
  if (plain) return name;
  std::string out = "\"";
  for (char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

std::string QuoteText(std::string_view text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'') out += '\'';
    out += c;
  }
  return out + "'";
}

std::string ScalarText(const ScalarPtr& value) {
  if (value == nullptr || !value->is_valid) return "NULL";
  switch (value->type->id()) {
    case arrow::Type::STRING:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::STRING_VIEW:
      return QuoteText(static_cast<const arrow::BaseBinaryScalar&>(*value).view());
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::BINARY_VIEW:
    case arrow::Type::FIXED_SIZE_BINARY: {
      std::string out = "x'";
      for (unsigned char c : static_cast<const arrow::BaseBinaryScalar&>(*value).view())
        out += fmt::format("{:02x}", c);
      return out + "'";
    }
    case arrow::Type::BOOL:
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::UINT8:
    case arrow::Type::UINT16:
    case arrow::Type::UINT32:
    case arrow::Type::UINT64:
    case arrow::Type::HALF_FLOAT:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
    case arrow::Type::DECIMAL32:
    case arrow::Type::DECIMAL64:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DECIMAL256:
      return value->ToString();
    default:  // dates, times and the rest are written like text in SQL
      return QuoteText(value->ToString());
  }
}

std::string Join(const std::vector<ExprPtr>& children, const char* word, const char* of_none) {
  if (children.empty()) return of_none;
  std::string out = "(";
  for (size_t i = 0; i < children.size(); ++i) {
    if (i > 0) out += word;
    out += children[i] == nullptr ? "?" : children[i]->ToString();
  }
  return out + ")";
}

ExprPtr Leaf(Expr::Kind kind, std::string column, std::vector<ScalarPtr> values) {
  return std::make_shared<const Expr>(kind, std::move(column), std::move(values),
                                      std::vector<ExprPtr>());
}
ExprPtr Branch(Expr::Kind kind, std::vector<ExprPtr> children) {
  return std::make_shared<const Expr>(kind, std::string(), std::vector<ScalarPtr>(),
                                      std::move(children));
}

}  // namespace

std::string Expr::ToString() const {
  auto value = [this](size_t i) {
    return i < values_.size() ? ScalarText(values_[i]) : std::string("?");
  };
  auto binary = [&](const char* op) {
    return fmt::format("{} {} {}", QuoteName(column_), op, value(0));
  };
  switch (kind_) {
    case Kind::kTrue:
      return "TRUE";
    case Kind::kEq:
      return binary("=");
    case Kind::kNe:
      return binary("<>");
    case Kind::kLt:
      return binary("<");
    case Kind::kLe:
      return binary("<=");
    case Kind::kGt:
      return binary(">");
    case Kind::kGe:
      return binary(">=");
    case Kind::kBetween:
      return fmt::format("{} BETWEEN {} AND {}", QuoteName(column_), value(0), value(1));
    case Kind::kIn: {
      std::string list;
      for (size_t i = 0; i < values_.size(); ++i) list += (i > 0 ? ", " : "") + value(i);
      return fmt::format("{} IN ({})", QuoteName(column_), list);
    }
    case Kind::kIsNull:
      return QuoteName(column_) + " IS NULL";
    case Kind::kStartsWith: {
      // The prefix is held as binary; printable ones read better as text.
      if (values_.empty() || values_[0] == nullptr ||
          !arrow::is_base_binary_like(values_[0]->type->id())) {
        return fmt::format("starts_with({}, {})", QuoteName(column_), value(0));
      }
      const std::string_view prefix =
          static_cast<const arrow::BaseBinaryScalar&>(*values_[0]).view();
      bool printable = true;
      for (char c : prefix) printable = printable && c >= ' ' && c <= '~';
      return fmt::format("starts_with({}, {})", QuoteName(column_),
                         printable ? QuoteText(prefix) : value(0));
    }
    case Kind::kAnd:
      return Join(children_, " AND ", "TRUE");
    case Kind::kOr:
      return Join(children_, " OR ", "FALSE");
    case Kind::kNot: {
      if (children_.size() != 1 || children_[0] == nullptr) return "NOT ?";
      if (children_[0]->kind() == Kind::kIsNull) {
        return QuoteName(children_[0]->column()) + " IS NOT NULL";
      }
      const std::string child = children_[0]->ToString();
      return child.front() == '(' ? "NOT " + child : "NOT (" + child + ")";
    }
  }
  return "?";
}

ExprPtr True() { return Branch(Expr::Kind::kTrue, {}); }
ExprPtr Eq(std::string column, ScalarPtr value) {
  return Leaf(Expr::Kind::kEq, std::move(column), {std::move(value)});
}
ExprPtr Ne(std::string column, ScalarPtr value) {
  return Leaf(Expr::Kind::kNe, std::move(column), {std::move(value)});
}
ExprPtr Lt(std::string column, ScalarPtr value) {
  return Leaf(Expr::Kind::kLt, std::move(column), {std::move(value)});
}
ExprPtr Le(std::string column, ScalarPtr value) {
  return Leaf(Expr::Kind::kLe, std::move(column), {std::move(value)});
}
ExprPtr Gt(std::string column, ScalarPtr value) {
  return Leaf(Expr::Kind::kGt, std::move(column), {std::move(value)});
}
ExprPtr Ge(std::string column, ScalarPtr value) {
  return Leaf(Expr::Kind::kGe, std::move(column), {std::move(value)});
}
ExprPtr Between(std::string column, ScalarPtr lower, ScalarPtr upper) {
  return Leaf(Expr::Kind::kBetween, std::move(column), {std::move(lower), std::move(upper)});
}
ExprPtr In(std::string column, std::vector<ScalarPtr> values) {
  return Leaf(Expr::Kind::kIn, std::move(column), std::move(values));
}
ExprPtr IsNull(std::string column) { return Leaf(Expr::Kind::kIsNull, std::move(column), {}); }
ExprPtr IsNotNull(std::string column) { return Not(IsNull(std::move(column))); }
ExprPtr StartsWith(std::string column, std::string prefix) {
  // Binary, so that a prefix may end inside a character.
  return Leaf(
      Expr::Kind::kStartsWith, std::move(column),
      {std::make_shared<arrow::BinaryScalar>(arrow::Buffer::FromString(std::move(prefix)))});
}
ExprPtr And(std::vector<ExprPtr> children) { return Branch(Expr::Kind::kAnd, std::move(children)); }
ExprPtr Or(std::vector<ExprPtr> children) { return Branch(Expr::Kind::kOr, std::move(children)); }
ExprPtr Not(ExprPtr child) { return Branch(Expr::Kind::kNot, {std::move(child)}); }

ScalarPtr Lit(int64_t value) { return std::make_shared<arrow::Int64Scalar>(value); }
ScalarPtr Lit(int value) { return std::make_shared<arrow::Int64Scalar>(value); }
ScalarPtr Lit(double value) { return std::make_shared<arrow::DoubleScalar>(value); }
ScalarPtr Lit(bool value) { return std::make_shared<arrow::BooleanScalar>(value); }
ScalarPtr Lit(const char* value) { return Lit(std::string(value)); }
ScalarPtr Lit(std::string value) { return std::make_shared<arrow::StringScalar>(std::move(value)); }

}  // namespace lamina
