// Predicates of a scan: a small immutable tree over column names and constants, three-valued like
// SQL.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <arrow/scalar.h>

#include "lamina/error.h"

namespace lamina {

class Expr;
using ExprPtr = std::shared_ptr<const Expr>;

/// One node. Build trees with the functions below; they are immutable and may be shared between
/// threads. Constants are cast to the column's type when the predicate is bound to a table
/// (kInvalidArgument if they do not fit). A row passes when the whole tree is true; NULL (unknown)
/// does not pass.
///
/// Floats compare in the order of keys, as in SQL engines and unlike IEEE 754: NaN = NaN, NaN is
/// greater than every other value (so `x > 1` holds for NaN), and -0 = +0. A floating constant
/// takes the nearest value of a float column; every other constant must fit exactly. Text is parsed
/// for columns of numbers, dates and times; a timestamp without a zone is UTC. Columns of lists,
/// structs and maps may only be asked for null.
class Expr {
 public:
  enum class Kind {
    kTrue,
    kEq,
    kNe,
    kLt,
    kLe,
    kGt,
    kGe,
    kBetween,
    kIn,
    kIsNull,
    kStartsWith,
    kAnd,
    kOr,
    kNot
  };

  Expr(Kind kind, std::string column, std::vector<std::shared_ptr<arrow::Scalar>> values,
       std::vector<ExprPtr> children)
      : kind_(kind),
        column_(std::move(column)),
        values_(std::move(values)),
        children_(std::move(children)) {}

  Kind kind() const { return kind_; }
  const std::string& column() const { return column_; }  ///< Leaves only.
  /// Leaves only.
  const std::vector<std::shared_ptr<arrow::Scalar>>& values() const { return values_; }
  const std::vector<ExprPtr>& children() const { return children_; }  ///< and, or, not.
  std::string ToString() const;

 private:
  Kind kind_;
  std::string column_;
  std::vector<std::shared_ptr<arrow::Scalar>> values_;
  std::vector<ExprPtr> children_;
};

using ScalarPtr = std::shared_ptr<arrow::Scalar>;

ExprPtr True();
ExprPtr Eq(std::string column, ScalarPtr value);
ExprPtr Ne(std::string column, ScalarPtr value);
ExprPtr Lt(std::string column, ScalarPtr value);
ExprPtr Le(std::string column, ScalarPtr value);
ExprPtr Gt(std::string column, ScalarPtr value);
ExprPtr Ge(std::string column, ScalarPtr value);
/// lower <= column <= upper.
ExprPtr Between(std::string column, ScalarPtr lower, ScalarPtr upper);
/// Like SQL's IN: NULL in the list makes a non-match unknown. An empty list matches nothing.
ExprPtr In(std::string column, std::vector<ScalarPtr> values);
ExprPtr IsNull(std::string column);
ExprPtr IsNotNull(std::string column);
/// Strings and binary only.
ExprPtr StartsWith(std::string column, std::string prefix);
ExprPtr And(std::vector<ExprPtr> children);
ExprPtr Or(std::vector<ExprPtr> children);
ExprPtr Not(ExprPtr child);

/// Convenience for constants: Lit(5), Lit(2.5), Lit("abc"), Lit(true).
ScalarPtr Lit(int64_t value);
ScalarPtr Lit(int value);
ScalarPtr Lit(double value);
ScalarPtr Lit(bool value);
ScalarPtr Lit(const char* value);
ScalarPtr Lit(std::string value);

}  // namespace lamina
