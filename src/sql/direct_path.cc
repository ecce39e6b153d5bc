#include "sql/direct_path.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <arrow/scalar.h>
#include <duckdb/parser/expression/columnref_expression.hpp>
#include <duckdb/parser/expression/comparison_expression.hpp>
#include <duckdb/parser/expression/conjunction_expression.hpp>
#include <duckdb/parser/expression/constant_expression.hpp>
#include <duckdb/parser/expression/function_expression.hpp>
#include <duckdb/parser/expression/parameter_expression.hpp>
#include <duckdb/parser/expression/star_expression.hpp>
#include <duckdb/parser/query_node/select_node.hpp>
#include <duckdb/parser/statement/select_statement.hpp>
#include <duckdb/parser/tableref/basetableref.hpp>
#include <duckdb/planner/planner.hpp>

#include "sql/error_translation.h"
#include "sql/moment.h"
#include "sql/period_columns.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"
#include "sql/vectors.h"

namespace lamina::sql {
namespace {

using duckdb::ExpressionClass;
using duckdb::LogicalTypeId;

bool IsInteger(const duckdb::LogicalType& type) {
  switch (type.id()) {
    case LogicalTypeId::TINYINT:
    case LogicalTypeId::SMALLINT:
    case LogicalTypeId::INTEGER:
    case LogicalTypeId::BIGINT:
      return true;
    default:
      return false;
  }
}

std::string TextOf(duckdb::ClientContext& context, const char* setting) {
  duckdb::Value value;
  if (!context.TryGetCurrentSetting(setting, value) || value.IsNull()) return {};
  return value.ToString();
}

/// A column of the table, by a name that may have the table before it; null: something else.
const duckdb::ColumnDefinition* ColumnOf(const duckdb::ParsedExpression& expression,
                                         const duckdb::BaseTableRef& ref,
                                         const LaminaTableEntry& table) {
  if (expression.GetExpressionClass() != ExpressionClass::COLUMN_REF) return nullptr;
  const auto& names = expression.Cast<duckdb::ColumnRefExpression>().column_names;
  if (names.size() > 2) return nullptr;
  const std::string& alias = ref.alias.empty() ? ref.table_name : ref.alias;
  if (names.size() == 2 && !duckdb::StringUtil::CIEquals(names[0], alias)) return nullptr;
  if (!table.GetColumns().ColumnExists(names.back())) return nullptr;
  return &table.GetColumns().GetColumn(names.back());
}

bool Conjuncts(const duckdb::ParsedExpression& expression,
               std::vector<const duckdb::ComparisonExpression*>* out) {
  if (expression.GetExpressionClass() == ExpressionClass::CONJUNCTION) {
    const auto& all = expression.Cast<duckdb::ConjunctionExpression>();
    if (all.GetExpressionType() != duckdb::ExpressionType::CONJUNCTION_AND) return false;
    return std::all_of(all.children.begin(), all.children.end(),
                       [&](const auto& child) { return Conjuncts(*child, out); });
  }
  if (expression.GetExpressionType() != duckdb::ExpressionType::COMPARE_EQUAL) return false;
  out->push_back(&expression.Cast<duckdb::ComparisonExpression>());
  return true;
}

/// A SELECT of one table with a WHERE and nothing else.
const duckdb::SelectNode* PlainSelect(const duckdb::SQLStatement& statement) {
  if (statement.type != duckdb::StatementType::SELECT_STATEMENT) return nullptr;
  const auto& root = *statement.Cast<duckdb::SelectStatement>().node;
  if (root.type != duckdb::QueryNodeType::SELECT_NODE) return nullptr;
  const auto& node = root.Cast<duckdb::SelectNode>();
  const bool plain = node.cte_map.map.empty() && node.modifiers.empty() &&
                     node.groups.group_expressions.empty() && node.groups.grouping_sets.empty() &&
                     node.having == nullptr && node.qualify == nullptr && node.sample == nullptr &&
                     node.where_clause != nullptr &&
                     node.aggregate_handling == duckdb::AggregateHandling::STANDARD_HANDLING &&
                     node.from_table->type == duckdb::TableReferenceType::BASE_TABLE;
  if (!plain) return nullptr;
  const auto& ref = node.from_table->Cast<duckdb::BaseTableRef>();
  return ref.sample == nullptr && ref.column_name_alias.empty() ? &node : nullptr;
}

}  // namespace

std::optional<LiftedText> LiftedText::Of(std::string_view sql, const StatementSpan& span) {
  constexpr size_t kTokensMax = 100;
  if (span.tokens.size() > kTokensMax || !Is(span.tokens[0], sql, "SELECT")) return {};
  LiftedText out;
  out.text.reserve(span.end - span.begin);
  for (const Token& token : span.tokens) {
    const std::string_view in = token.In(sql);
    if (token.kind == TokenKind::kNumber) {
      int64_t number = 0;
      const auto [end, error] = std::from_chars(in.data(), in.data() + in.size(), number);
      if (error != std::errc() || end != in.data() + in.size()) return {};
      out.literals.emplace_back(number);
      out.text += "# ";
    } else if (token.kind == TokenKind::kString) {
      if (in.size() < 2 || in[0] != '\'' || in.find('\'', 1) != in.size() - 1) return {};
      out.literals.emplace_back(in.substr(1, in.size() - 2));
      out.text += "' ";
    } else {
      out.text += in;
      out.text += ' ';
      continue;
    }
    out.places.push_back(token.begin - span.begin);
  }
  return out;
}

std::optional<DirectSelect::Source> DirectSelect::SourceOf(const duckdb::ParsedExpression& value,
                                                           const std::vector<size_t>& literals) {
  Source out;
  if (value.GetExpressionClass() == ExpressionClass::PARAMETER) {
    const std::string& name = value.Cast<duckdb::ParameterExpression>().identifier;
    size_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error != std::errc() || end != name.data() + name.size() || number == 0) return {};
    out.index = number - 1;
    return out;
  }
  if (value.GetExpressionClass() != ExpressionClass::CONSTANT ||
      !value.GetQueryLocation().IsValid())
    return {};
  const auto literal =
      std::find(literals.begin(), literals.end(), value.GetQueryLocation().GetIndex());
  if (literal == literals.end()) return {};
  out.literal = true;
  out.index = static_cast<size_t>(literal - literals.begin());
  return out;
}

bool DirectSelect::TakeMoment(const duckdb::BaseTableRef& ref,
                              const std::vector<size_t>& literals) {
  if (ref.at_clause == nullptr) return true;
  const auto clause = ref.at_clause->Copy();
  const auto& expression = *clause->ExpressionMutable();
  if (expression.GetExpressionClass() != ExpressionClass::FUNCTION) return false;
  const auto& call = expression.Cast<duckdb::FunctionExpression>();
  if (call.function_name != kMomentFunction || call.children.size() != 6) return false;
  const auto constant = [&](size_t i) -> std::string {
    const auto& child = *call.children[i];
    return child.GetExpressionClass() == ExpressionClass::CONSTANT
               ? child.Cast<duckdb::ConstantExpression>().value.ToString()
               : "";
  };
  if (constant(0) != "as of" || constant(2) != "NULL" || constant(3) != "NULL") return false;
  commit_ = SourceOf(*call.children[1], literals);
  return commit_.has_value();
}

std::shared_ptr<const DirectSelect> DirectSelect::Plan(duckdb::ClientContext& context,
                                                       const duckdb::SQLStatement& statement,
                                                       const std::vector<size_t>& literals) {
  const duckdb::SelectNode* node = PlainSelect(statement);
  if (node == nullptr) return nullptr;
  // What DuckDB is to see, or where a moment other than now is read.
  if (TextOf(context, kDirectPathSetting) == "false" ||
      !TextOf(context, kSystemTimeSetting).empty() || !TextOf(context, kValidTimeSetting).empty() ||
      duckdb::ClientConfig::GetConfig(context).enable_profiler)
    return nullptr;
  const auto& ref = node->from_table->Cast<duckdb::BaseTableRef>();
  std::string catalog = ref.catalog_name;
  std::string schema = ref.schema_name;
  duckdb::Binder::BindSchemaOrCatalog(context, catalog, schema);
  auto entry = duckdb::Catalog::GetEntry(context, catalog, schema,
                                         {duckdb::CatalogType::TABLE_ENTRY, ref.table_name},
                                         duckdb::OnEntryNotFound::RETURN_NULL);
  if (entry == nullptr || entry->type != duckdb::CatalogType::TABLE_ENTRY ||
      entry->ParentCatalog().GetCatalogType() != "lamina")
    return nullptr;
  const auto& table = entry->Cast<LaminaTableEntry>();
  const auto& key = table.table().key;
  if (key.empty() || table.dependents().view.has_value() || HasPeriod(table)) return nullptr;
  for (const auto& column : table.GetColumns().Logical())
    if (column.Generated()) return nullptr;

  std::shared_ptr<DirectSelect> out(new DirectSelect);
  if (!out->TakeMoment(ref, literals)) return nullptr;
  std::vector<const duckdb::ComparisonExpression*> conjuncts;
  if (!Conjuncts(*node->where_clause, &conjuncts) || conjuncts.size() != key.size()) return nullptr;
  out->key_.resize(key.size());
  std::vector<bool> found(key.size());
  for (const auto* of : conjuncts) {
    const bool left = of->left->GetExpressionClass() == ExpressionClass::COLUMN_REF;
    const auto* column = ColumnOf(left ? *of->left : *of->right, ref, table);
    if (column == nullptr) return nullptr;
    const auto at =
        static_cast<size_t>(std::find(key.begin(), key.end(), column->Name()) - key.begin());
    if (at == key.size() || found[at]) return nullptr;
    found[at] = true;
    Source& source = out->key_[at];
    const bool text = column->Type().id() == LogicalTypeId::VARCHAR &&
                      duckdb::StringType::GetCollation(column->Type()).empty() &&
                      !column->Type().HasAlias();
    if (!text && !IsInteger(column->Type())) return nullptr;
    const auto from = SourceOf(left ? *of->right : *of->left, literals);
    if (!from) return nullptr;
    source = *from;
    source.text = text;
  }
  std::vector<std::string> shown;
  for (const auto& item : node->select_list) {
    if (item->GetExpressionClass() == ExpressionClass::STAR) {
      const auto& star = item->Cast<duckdb::StarExpression>();
      if (!star.relation_name.empty() || !star.exclude_list.empty() || !star.replace_list.empty() ||
          !star.rename_list.empty() || star.columns || star.expr != nullptr)
        return nullptr;
      for (const auto& column : table.GetColumns().Logical()) shown.push_back(column.Name());
      continue;
    }
    const auto* column = ColumnOf(*item, ref, table);
    if (column == nullptr) return nullptr;
    shown.push_back(column->Name());
  }
  for (const std::string& name : shown) {
    auto& read = out->columns_;
    const auto it = std::find(read.begin(), read.end(), name);
    out->places_.push_back(static_cast<int>(it - read.begin()));
    if (it == read.end()) read.push_back(name);
  }
  auto& transaction = LaminaTransaction::Get(context, table.catalog);
  const LaminaTransaction::Lock lock(transaction);
  out->table_ = table.table().name;
  out->schema_ = transaction.data().FindTable(out->table_);
  if (out->schema_ == nullptr) return nullptr;
  out->codec_ = std::make_unique<catalog::KeyCodec>(*out->schema_);
  // DuckDB says what the columns are called, and whether all of it makes sense.
  duckdb::Planner planner(context);
  planner.CreatePlan(statement.Copy());
  auto shape = std::make_shared<DirectShape>();
  shape->names = planner.names;
  shape->types = planner.types;
  if (shape->types.size() != shown.size()) return nullptr;
  for (size_t i = 0; i < shape->types.size(); ++i) {
    if (shape->types[i] != table.GetColumns().GetColumn(shown[i]).Type()) return nullptr;
    shape->columns.push_back({shape->names[i], shape->types[i].ToString()});
  }
  out->shape_ = std::move(shape);
  return out;
}

duckdb::unique_ptr<duckdb::DataChunk> DirectSelect::Run(duckdb::ClientContext& context,
                                                        db::Session& session,
                                                        const SqlParameters& parameters,
                                                        const SqlParameters& literals) const {
  const auto now = session.FindTable(table_);
  if (now == nullptr || now->id != schema_->id || now->version != schema_->version) return nullptr;
  Key key;
  key.reserve(key_.size());
  for (size_t i = 0; i < key_.size(); ++i) {
    const Source& source = key_[i];
    const SqlParameters& from = source.literal ? literals : parameters;
    if (source.index >= from.size() || !from[source.index].type().empty()) return nullptr;
    const auto& value = from[source.index].value();
    if (source.text) {
      const auto* text = std::get_if<std::string>(&value);
      if (text == nullptr) return nullptr;
      key.push_back(std::make_shared<arrow::StringScalar>(*text));
    } else {
      const auto* number = std::get_if<int64_t>(&value);
      if (number == nullptr) return nullptr;
      key.push_back(std::make_shared<arrow::Int64Scalar>(*number));
    }
  }
  // A number that its column cannot hold is DuckDB's to compare.
  const auto encoded = codec_->EncodeScalars(key);
  if (!encoded.ok()) return nullptr;
  SystemPeriod system;
  if (commit_.has_value()) {
    const SqlParameters& from = commit_->literal ? literals : parameters;
    if (commit_->index >= from.size() || !from[commit_->index].type().empty()) return nullptr;
    const auto* number = std::get_if<int64_t>(&from[commit_->index].value());
    // A commit that is not there is DuckDB's way to name.
    if (number == nullptr || *number < 0 ||
        static_cast<uint64_t>(*number) > session.snapshot()->commit().value)
      return nullptr;
    system = SystemPeriod::AsOf(CommitId{static_cast<uint64_t>(*number)});
  }
  const auto rows = ValueOrThrow(session.GetEncoded(table_, *encoded, system, {}, columns_));
  if (rows->num_rows() > 1) return nullptr;
  auto out = duckdb::make_uniq<duckdb::DataChunk>();
  out->Initialize(context, shape_->types, 1);
  for (size_t i = 0; rows->num_rows() > 0 && i < places_.size(); ++i)
    ToVector(rows->column(places_[i]), 0, 1, &out->data[i]);
  out->SetCardinality(static_cast<duckdb::idx_t>(rows->num_rows()));
  return out;
}

void RegisterDirectPath(duckdb::DatabaseInstance& instance) {
  duckdb::DBConfig::GetConfig(instance).AddExtensionOption(
      kDirectPathSetting, "SELECTs of one row by its key go past DuckDB's planner and executor",
      duckdb::LogicalType::BOOLEAN, duckdb::Value::BOOLEAN(true));
}

}  // namespace lamina::sql
