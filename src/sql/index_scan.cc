// 1. Each leading column of the index that the filters fix multiplies the prefixes of entries to
//    look at; the first that they only bound ends them in ranges.
// 2. The ranges are read for the rows' keys, but no further than reading row by row is worth.
// 3. The rows are read in the order of their keys, all at once: what the statement writes meanwhile
//    is not seen.
#include "sql/index_scan.h"

#include <algorithm>
#include <optional>
#include <set>

#include <arrow/api.h>
#include <duckdb/planner/expression/bound_between_expression.hpp>
#include <duckdb/planner/expression/bound_cast_expression.hpp>
#include <duckdb/planner/expression/bound_columnref_expression.hpp>
#include <duckdb/planner/expression/bound_comparison_expression.hpp>
#include <duckdb/planner/expression/bound_operator_expression.hpp>
#include <duckdb/planner/filter/conjunction_filter.hpp>
#include <duckdb/planner/filter/constant_filter.hpp>
#include <duckdb/planner/filter/in_filter.hpp>
#include <duckdb/planner/filter/optional_filter.hpp>

#include "catalog/index_codec.h"
#include "sql/error_translation.h"
#include "sql/types.h"
#include "sql/vectors.h"

namespace lamina::sql {
namespace {

// A row read by its key costs 300 to 1,000 times what it costs in a scan (300,000 rows of three
// columns at rest: 7 to 26 µs against 25 ns); below the least, either is fast.
constexpr int64_t kRowsMin = 128;
constexpr int64_t kRowsMax = 65'536;
constexpr uint64_t kScannedRowsPerRead = 512;
constexpr size_t kPrefixesMax = 4096;
// Their keys are held in memory.
constexpr int64_t kForcedRowsMax = 10'000'000;

// --- Choosing ------------------------------------------------------------------------------------

/// The column of the scan that the expression is, or npos.
size_t ColumnOf(const duckdb::LogicalGet& get, const duckdb::Expression& expression) {
  if (expression.GetExpressionClass() != duckdb::ExpressionClass::BOUND_COLUMN_REF)
    return std::string::npos;
  const auto& binding = expression.Cast<duckdb::BoundColumnRefExpression>().binding;
  if (binding.table_index != get.table_index || binding.column_index >= get.GetColumnIds().size())
    return std::string::npos;
  return get.GetColumnIds()[binding.column_index].GetPrimaryIndex();
}

/// A constant, or a parameter that will be one.
bool IsConstant(const duckdb::Expression& expression) {
  if (expression.GetExpressionClass() == duckdb::ExpressionClass::BOUND_CAST)
    return IsConstant(*expression.Cast<duckdb::BoundCastExpression>().child);
  return expression.IsFoldable() ||
         expression.GetExpressionClass() == duckdb::ExpressionClass::BOUND_PARAMETER;
}

void Note(const duckdb::LogicalGet& get, const duckdb::Expression& filter,
          std::map<size_t, ColumnUse>* uses) {
  using duckdb::ExpressionType;
  switch (filter.GetExpressionClass()) {
    case duckdb::ExpressionClass::BOUND_COMPARISON: {
      const auto& comparison = filter.Cast<duckdb::BoundComparisonExpression>();
      const duckdb::Expression* column = comparison.left.get();
      const duckdb::Expression* value = comparison.right.get();
      if (ColumnOf(get, *column) == std::string::npos) std::swap(column, value);
      if (ColumnOf(get, *column) == std::string::npos || !IsConstant(*value)) return;
      ColumnUse& use = (*uses)[ColumnOf(get, *column)];
      if (filter.type == ExpressionType::COMPARE_EQUAL) {
        use.fixed = true;
      } else if (filter.type != ExpressionType::COMPARE_NOTEQUAL &&
                 filter.type != ExpressionType::COMPARE_DISTINCT_FROM &&
                 filter.type != ExpressionType::COMPARE_NOT_DISTINCT_FROM) {
        use.bounded = true;
      }
      return;
    }
    case duckdb::ExpressionClass::BOUND_BETWEEN: {
      const auto& between = filter.Cast<duckdb::BoundBetweenExpression>();
      const size_t column = ColumnOf(get, *between.input);
      if (column != std::string::npos && IsConstant(*between.lower) && IsConstant(*between.upper))
        (*uses)[column].bounded = true;
      return;
    }
    case duckdb::ExpressionClass::BOUND_OPERATOR: {
      const auto& of = filter.Cast<duckdb::BoundOperatorExpression>().children;
      if (filter.type != ExpressionType::COMPARE_IN &&
          filter.type != ExpressionType::OPERATOR_IS_NULL)
        return;
      const size_t column = ColumnOf(get, *of[0]);
      const bool constant = std::all_of(of.begin() + 1, of.end(),
                                        [](const auto& value) { return IsConstant(*value); });
      if (column != std::string::npos && constant) (*uses)[column].fixed = true;
      return;
    }
    default:
      return;
  }
}

// --- Ranges --------------------------------------------------------------------------------------

using ScalarPtr = std::shared_ptr<arrow::Scalar>;

/// What the filters say of one column: each part holds of every row that passes.
struct Terms {
  std::optional<std::vector<ScalarPtr>> values;  // one of these; a null scalar is NULL
  std::optional<catalog::IndexBound> from, to;
};

class FilterReader {
 public:
  FilterReader(const duckdb::LogicalType& type, const std::shared_ptr<arrow::DataType>& storage)
      : type_(type), storage_(storage) {}

  void Read(const duckdb::TableFilter& filter, Terms* terms) const {
    using duckdb::ExpressionType;
    using duckdb::TableFilterType;
    switch (filter.filter_type) {
      case TableFilterType::CONSTANT_COMPARISON: {
        const auto& constant = filter.Cast<duckdb::ConstantFilter>();
        const ScalarPtr value = Literal(constant.constant);
        if (value == nullptr) return;
        if (constant.comparison_type == ExpressionType::COMPARE_EQUAL) {
          SetValues({value}, terms);
          return;
        }
        // At rest, values that are not plain have another order.
        if (!IsPlain(type_)) return;
        switch (constant.comparison_type) {
          case ExpressionType::COMPARE_LESSTHAN:
            terms->to = {value, /*inclusive=*/false};
            return;
          case ExpressionType::COMPARE_LESSTHANOREQUALTO:
            terms->to = {value, /*inclusive=*/true};
            return;
          case ExpressionType::COMPARE_GREATERTHAN:
            terms->from = {value, /*inclusive=*/false};
            return;
          case ExpressionType::COMPARE_GREATERTHANOREQUALTO:
            terms->from = {value, /*inclusive=*/true};
            return;
          default:
            return;
        }
      }
      case TableFilterType::IS_NULL:
        SetValues({arrow::MakeNullScalar(storage_)}, terms);
        return;
      case TableFilterType::IN_FILTER: {
        std::vector<ScalarPtr> values;
        for (const auto& of : filter.Cast<duckdb::InFilter>().values) {
          values.push_back(Literal(of));
          if (values.back() == nullptr) return;
        }
        SetValues(std::move(values), terms);
        return;
      }
      case TableFilterType::CONJUNCTION_AND:
        for (const auto& child : filter.Cast<duckdb::ConjunctionAndFilter>().child_filters)
          Read(*child, terms);
        return;
      case TableFilterType::CONJUNCTION_OR: {
        std::vector<ScalarPtr> values;
        for (const auto& child : filter.Cast<duckdb::ConjunctionOrFilter>().child_filters) {
          Terms of;
          Read(*child, &of);
          if (!of.values.has_value()) return;
          values.insert(values.end(), of.values->begin(), of.values->end());
        }
        SetValues(std::move(values), terms);
        return;
      }
      case TableFilterType::OPTIONAL_FILTER:
        // Optional to apply, as something above applies it too.
        if (const auto& child = filter.Cast<duckdb::OptionalFilter>().child_filter)
          Read(*child, terms);
        return;
      default:
        return;
    }
  }

 private:
  static void SetValues(std::vector<ScalarPtr> values, Terms* terms) {
    if (!terms->values.has_value() || values.size() < terms->values->size())
      terms->values = std::move(values);
  }

  /// Null when the value cannot be in the column.
  ScalarPtr Literal(const duckdb::Value& value) const {
    if (value.IsNull() || value.type() != type_) return nullptr;
    duckdb::Vector vector(value);
    const auto array = ToArray(vector, 1, storage_);
    if (!array.ok()) return nullptr;
    const auto scalar = (*array)->GetScalar(0);
    return scalar.ok() ? *scalar : nullptr;
  }

  const duckdb::LogicalType type_;
  const std::shared_ptr<arrow::DataType> storage_;
};

/// The ranges of entries that may lead to rows that pass, apart from each other; none: nothing is
/// known.
std::vector<catalog::KeyRange> Ranges(const LaminaTableEntry& table, const IndexDefinition& index,
                                      const duckdb::TableFilterSet& filters,
                                      const duckdb::vector<duckdb::column_t>& columns) {
  std::vector<std::shared_ptr<arrow::DataType>> types;
  for (const std::string& name : index.columns)
    types.push_back(table.table().schema->GetFieldByName(name)->type());
  const catalog::IndexCodec codec(types);
  std::set<std::string> prefixes = {""};
  std::vector<catalog::KeyRange> out;
  for (size_t i = 0; i < index.columns.size(); ++i) {
    Terms terms;
    for (const auto& [position, filter] : filters.filters) {
      const duckdb::column_t column = columns[position];
      if (column == duckdb::COLUMN_IDENTIFIER_EMPTY || column == duckdb::COLUMN_IDENTIFIER_ROW_ID)
        continue;
      if (table.StorageName(column) == index.columns[i])
        FilterReader(table.TypeOf(column), types[i]).Read(*filter, &terms);
    }
    if (terms.values.has_value() && prefixes.size() * terms.values->size() <= kPrefixesMax) {
      const catalog::IndexCodec of({types[i]});
      std::set<std::string> longer;
      for (const ScalarPtr& value : *terms.values) {
        const std::string component = ValueOrThrow(of.Prefix({value}));
        for (const std::string& prefix : prefixes) longer.insert(prefix + component);
      }
      prefixes = std::move(longer);
      continue;
    }
    if (terms.from.has_value() || terms.to.has_value()) {
      for (const std::string& prefix : prefixes) {
        auto range = ValueOrThrow(codec.Between(prefix, i, terms.from, terms.to));
        if (range.from < range.to) out.push_back(std::move(range));
      }
      // Nothing can lie between: one range that is as empty.
      if (out.empty()) out.push_back(catalog::KeyRange{"", "", /*unbounded_to=*/false});
      return out;
    }
    if (i == 0) return {};
    break;
  }
  for (const std::string& prefix : prefixes) out.push_back(catalog::IndexCodec::Equal(prefix));
  return out;
}

// --- Reading -------------------------------------------------------------------------------------

class BatchesReader final : public ScanReader {
 public:
  BatchesReader(std::shared_ptr<arrow::Schema> schema,
                std::vector<std::shared_ptr<arrow::RecordBatch>> batches)
      : schema_(std::move(schema)), batches_(std::move(batches)) {
    for (const auto& batch : batches_)
      profile_.rows_returned += static_cast<uint64_t>(batch->num_rows());
    profile_.rows_scanned = profile_.rows_returned;
  }

  std::shared_ptr<arrow::Schema> schema() const override { return schema_; }
  Status ReadNext(std::shared_ptr<arrow::RecordBatch>* batch) override {
    *batch = next_ < batches_.size() ? std::move(batches_[next_++]) : nullptr;
    return Status::OK();
  }
  const ScanProfile& profile() const override { return profile_; }

 private:
  const std::shared_ptr<arrow::Schema> schema_;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches_;
  size_t next_ = 0;
  ScanProfile profile_;
};

}  // namespace

ColumnUses UsesOf(const LaminaTableEntry& table, const duckdb::LogicalGet& get,
                  const duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>& filters) {
  std::map<size_t, ColumnUse> uses;
  for (const auto& filter : filters) Note(get, *filter, &uses);
  ColumnUses out;
  for (const auto& [column, use] : uses) {
    if (column >= kHiddenColumns) continue;
    out[table.GetColumns().GetColumn(duckdb::LogicalIndex(column)).Name()] = use;
  }
  return out;
}

size_t WorthOf(const std::vector<std::string>& columns, bool unique, const ColumnUses& uses) {
  size_t out = 0;
  for (const std::string& column : columns) {
    const auto it = uses.find(column);
    if (it == uses.end()) return out;
    if (!it->second.fixed) return it->second.bounded ? out + 1 : out;
    out += 2;
  }
  return unique ? out + 1000 : out;
}

int64_t MostByIndex(uint64_t rows_of_table) {
  return std::clamp(static_cast<int64_t>(rows_of_table / kScannedRowsPerRead), kRowsMin, kRowsMax);
}

const IndexDefinition* ChooseIndex(
    const LaminaTableEntry& table, const duckdb::LogicalGet& get,
    const duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>& filters, const PlanHints* hints,
    bool* forced) {
  *forced = false;
  if (table.dependents().indexes.empty()) return nullptr;
  if (hints != nullptr && hints->ScansWhole(table)) return nullptr;
  const ColumnUses uses = UsesOf(table, get, filters);
  const IndexDefinition* best = nullptr;
  size_t most = WorthOf(table.table().key, /*unique=*/!table.table().key.empty(), uses);
  for (const IndexDefinition& index : table.dependents().indexes) {
    const size_t of = WorthOf(index.columns, index.unique, uses);
    if (hints != nullptr) {
      const std::string name = duckdb::StringUtil::Lower(index.name);
      if (hints->no_index.contains(name)) continue;
      if (of > 0 && hints->index.contains(name)) {
        *forced = true;
        return &index;
      }
    }
    if (of <= most) continue;
    most = of;
    best = &index;
  }
  return best;
}

std::shared_ptr<ScanReader> ReadByIndex(LaminaTransaction& transaction,
                                        const LaminaTableEntry& table, const IndexDefinition& index,
                                        const duckdb::TableFilterSet& filters,
                                        const duckdb::vector<duckdb::column_t>& columns,
                                        const ScanOptions& options, bool forced) {
  // An index knows the moments since it was made.
  if (options.system.kind() != SystemPeriod::Kind::kLatest) return nullptr;
  if (options.valid.kind() != ValidPeriod::Kind::kNow &&
      options.valid.kind() != ValidPeriod::Kind::kAt)
    return nullptr;
  if (!options.columns.has_value() || options.columns->empty()) return nullptr;
  const auto ranges = Ranges(table, index, filters, columns);
  if (ranges.empty()) return nullptr;

  db::Session& data = transaction.data();
  const int64_t most = forced ? kForcedRowsMax : MostByIndex(table.table().rows_at_rest);
  std::vector<std::string> keys;
  ScanOptions entries;
  entries.columns = {kRowColumn};
  entries.valid = options.valid;
  entries.order_by_key = false;
  for (const catalog::KeyRange& range : ranges) {
    if (!range.unbounded_to && range.from >= range.to) continue;
    entries.keys.from = {std::make_shared<arrow::BinaryScalar>(range.from)};
    entries.keys.to = std::nullopt;
    if (!range.unbounded_to) entries.keys.to = {std::make_shared<arrow::BinaryScalar>(range.to)};
    entries.limit = most + 1 - static_cast<int64_t>(keys.size());
    const auto reader = ValueOrThrow(data.Scan(index.storage, entries));
    for (;;) {
      const auto batch = ValueOrThrow(reader->Next());
      if (batch == nullptr) break;
      const auto& rows = static_cast<const arrow::BinaryArray&>(*batch->column(0));
      for (int64_t i = 0; i < rows.length(); ++i) keys.push_back(rows.GetString(i));
    }
    if (static_cast<int64_t>(keys.size()) > most) return nullptr;
  }
  std::sort(keys.begin(), keys.end());

  std::vector<std::shared_ptr<arrow::RecordBatch>> batches, pieces;
  const auto flush = [&] {
    if (pieces.empty()) return;
    batches.push_back(
        ValueOrThrow<std::shared_ptr<arrow::RecordBatch>>(arrow::ConcatenateRecordBatches(pieces)));
    pieces.clear();
  };
  std::shared_ptr<arrow::Schema> schema;
  for (const std::string& key : keys) {
    auto row = ValueOrThrow(
        data.GetEncoded(table.table().name, key, options.system, options.valid, options.columns));
    schema = row->schema();
    if (row->num_rows() == 0) continue;
    pieces.push_back(std::move(row));
    if (pieces.size() == STANDARD_VECTOR_SIZE) flush();
  }
  flush();
  return std::make_shared<BatchesReader>(std::move(schema), std::move(batches));
}

}  // namespace lamina::sql
