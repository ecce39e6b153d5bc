#include "sql/table_entry.h"

#include <algorithm>

#include <duckdb/parser/constraints/check_constraint.hpp>
#include <duckdb/parser/constraints/foreign_key_constraint.hpp>
#include <duckdb/parser/constraints/not_null_constraint.hpp>
#include <duckdb/parser/constraints/unique_constraint.hpp>
#include <duckdb/parser/expression/constant_expression.hpp>
#include <duckdb/parser/parsed_data/create_table_info.hpp>
#include <duckdb/parser/statement/create_statement.hpp>
#include <duckdb/planner/expression/bound_columnref_expression.hpp>
#include <duckdb/storage/statistics/base_statistics.hpp>
#include <duckdb/storage/table_storage_info.hpp>
#include <fmt/format.h>

#include "catalog/schema.h"
#include "sql/constraint_names.h"
#include "sql/error_translation.h"
#include "sql/materialized_view.h"
#include "sql/moment.h"
#include "sql/period_columns.h"
#include "sql/reference_actions.h"
#include "sql/scan.h"
#include "sql/statistics.h"
#include "sql/transaction.h"
#include "sql/types.h"

namespace lamina::sql {

namespace {

/// What a table's statement says of its period; to DuckDB, a condition that always holds.
class PeriodConstraint final : public duckdb::CheckConstraint {
 public:
  PeriodConstraint(std::string from, std::string to)
      : CheckConstraint(
            duckdb::make_uniq<duckdb::ConstantExpression>(duckdb::Value::BOOLEAN(true))),
        from_(std::move(from)),
        to_(std::move(to)) {}

  std::string ToString() const override {
    return fmt::format("PERIOD FOR APPLICATION_TIME ({}, {})",
                       duckdb::KeywordHelper::WriteOptionallyQuoted(from_),
                       duckdb::KeywordHelper::WriteOptionallyQuoted(to_));
  }
  duckdb::unique_ptr<duckdb::Constraint> Copy() const override {
    return duckdb::make_uniq<PeriodConstraint>(from_, to_);
  }

 private:
  const std::string from_, to_;
};

}  // namespace

LaminaTableEntry::LaminaTableEntry(duckdb::Catalog& catalog, duckdb::SchemaCatalogEntry& schema,
                                   duckdb::CreateTableInfo& info, TableInfo table,
                                   Dependents dependents,
                                   std::optional<ValidInsertMode> takes_valid)
    : TableCatalogEntry(catalog, schema, info),
      table_(std::move(table)),
      dependents_(std::move(dependents)),
      takes_valid_(takes_valid) {
  comment = info.comment;
  if (dependents_.view.has_value()) tags["kind"] = "materialized view";
  const auto track = [&](const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      auto& tracked = tracked_columns_;
      if (std::find(tracked.begin(), tracked.end(), name) == tracked.end()) tracked.push_back(name);
    }
  };
  for (const IndexDefinition& index : dependents_.indexes) track(index.columns);
  for (const ForeignKey& key : dependents_.referenced_by) track(key.referenced);
  const bool sees_old = std::any_of(dependents_.triggers.begin(), dependents_.triggers.end(),
                                    [](const auto& of) { return of.on_update || of.on_delete; });
  if (sees_old) track(table_.schema->field_names());
}

std::string LaminaTableEntry::StorageName(duckdb::column_t column) const {
  switch (column) {
    case kValidFrom:
    case kPortionFrom:
      return lamina::catalog::kValidFromColumn;
    case kValidTo:
    case kPortionTo:
      return lamina::catalog::kValidToColumn;
    case kSystemFrom:
      return lamina::catalog::kSystemFromColumn;
    case kSystemTo:
      return lamina::catalog::kSystemToColumn;
    case kCommit:
      return lamina::catalog::kCommitColumn;
    case kRowId:
      return lamina::catalog::kRowIdColumn;
    default:
      break;
  }
  if (column >= kTrackedStart) column -= kTrackedStart;
  if (column >= kKeyStart) return table_.key[column - kKeyStart];
  const std::string& name = columns.GetColumn(duckdb::LogicalIndex(column)).Name();
  if (!IsOfPeriod(*this, name)) return name;
  return name == table_.options.period_from_column ? lamina::catalog::kValidFromColumn
                                                   : lamina::catalog::kValidToColumn;
}

duckdb::LogicalType LaminaTableEntry::TypeOf(duckdb::column_t column) const {
  switch (column) {
    case kValidFrom:
    case kValidTo:
    case kSystemFrom:
    case kSystemTo:
    case kPortionFrom:
    case kPortionTo:
      return duckdb::LogicalType::TIMESTAMP_TZ;
    case kCommit:
    case kRowId:
      return duckdb::LogicalType::BIGINT;
    default:
      break;
  }
  if (column >= kTrackedStart) column -= kTrackedStart;
  if (column >= kKeyStart) return columns.GetColumn(table_.key[column - kKeyStart]).Type();
  return columns.GetColumn(duckdb::LogicalIndex(column)).Type();
}

duckdb::unique_ptr<duckdb::BaseStatistics> LaminaTableEntry::GetStatistics(
    duckdb::ClientContext& context, duckdb::column_t column) {
  return StatisticsOf(context, *this, column);
}

duckdb::unique_ptr<duckdb::CreateInfo> LaminaTableEntry::GetInfo() const {
  auto info = TableCatalogEntry::GetInfo();
  auto foreign = dependents_.foreign_keys.begin();  // in the order of the constraints
  for (const auto& constraint : info->Cast<duckdb::CreateTableInfo>().constraints) {
    if (constraint->type != duckdb::ConstraintType::FOREIGN_KEY) continue;
    // DuckDB quotes neither of these when it writes the statement, and knows no actions.
    auto& key = constraint->Cast<duckdb::ForeignKeyConstraint>();
    key.info.table = duckdb::KeywordHelper::WriteOptionallyQuoted(key.info.table);
    key.info.schema = duckdb::KeywordHelper::WriteOptionallyQuoted(key.info.schema);
    const std::string actions = ToSql(foreign->on_delete, foreign->on_update);
    ++foreign;
    if (actions.empty()) continue;
    for (size_t i = 0; i < key.pk_columns.size(); ++i) {
      key.info.table +=
          (i == 0 ? "(" : ", ") + duckdb::KeywordHelper::WriteOptionallyQuoted(key.pk_columns[i]);
    }
    key.info.table += ")" + actions;
    key.pk_columns.clear();
  }
  const TableOptions& options = table_.options;
  if (HasPeriod(*this)) {
    info->Cast<duckdb::CreateTableInfo>().constraints.push_back(
        duckdb::make_uniq<PeriodConstraint>(options.period_from_column, options.period_to_column));
  }
  if (dependents_.view.has_value())
    return MakeViewInfo(*this, info->Cast<duckdb::CreateTableInfo>());
  return info;
}

duckdb::TableFunction LaminaTableEntry::GetScanFunction(
    duckdb::ClientContext& context, duckdb::unique_ptr<duckdb::FunctionData>& bind_data) {
  CheckPopulated(context, *this);
  return MakeScanFunction(
      *this, Moment::OfSession(context, LaminaTransaction::Get(context, catalog)), &bind_data);
}

duckdb::TableFunction LaminaTableEntry::GetScanFunction(
    duckdb::ClientContext& context, duckdb::unique_ptr<duckdb::FunctionData>& bind_data,
    const duckdb::EntryLookupInfo& lookup) {
  CheckPopulated(context, *this);
  auto& transaction = LaminaTransaction::Get(context, catalog);
  const Moment said = Moment::Of(context, transaction, lookup.GetAtClause());
  return MakeScanFunction(*this, said.Or(Moment::OfSession(context, transaction)), &bind_data);
}

duckdb::idx_t LaminaTableEntry::EstimateRows(duckdb::ClientContext& context) {
  auto& transaction = LaminaTransaction::Get(context, catalog);
  const LaminaTransaction::Lock lock(transaction);
  db::Session& session = transaction.data();
  const auto definition = session.FindTable(table_.name);
  if (definition == nullptr) return 0;
  uint64_t out = ValueOrThrow(session.FactsInMemory(definition->id));
  for (const auto& file : session.FilesOf(definition->id)) {
    if (file->kind != storage::FileKind::kCurrent) continue;
    out += file->rows - (file->deletions.has_value() ? file->deletions->ended_rows : 0);
  }
  return out;
}

duckdb::TableStorageInfo LaminaTableEntry::GetStorageInfo(duckdb::ClientContext& context) {
  duckdb::TableStorageInfo out;
  out.cardinality = EstimateRows(context);
  const auto add = [&](const std::vector<std::string>& names, bool unique, bool primary,
                       bool foreign) {
    duckdb::IndexInfo index;
    index.is_unique = unique;
    index.is_primary = primary;
    index.is_foreign = foreign;
    for (const std::string& name : names)
      index.column_set.insert(columns.GetColumn(name).Physical().index);
    out.index_info.push_back(std::move(index));
  };
  if (!table_.key.empty()) add(table_.key, /*unique=*/true, /*primary=*/true, /*foreign=*/false);
  for (const IndexDefinition& index : dependents_.indexes)
    add(index.columns, index.unique, /*primary=*/false,
        index.role == IndexDefinition::Role::kForeignKey);
  return out;
}

void LaminaTableEntry::BindUpdateConstraints(duckdb::Binder&, duckdb::LogicalGet& get,
                                             duckdb::LogicalProjection& proj,
                                             duckdb::LogicalUpdate& update,
                                             duckdb::ClientContext&) {
  for (const auto& column : update.columns) {
    const std::string& set = columns.GetColumn(column).Name();
    if (!IsOfPeriod(*this, set)) continue;
    Throw(MakeSqlError(
        "T4009",
        fmt::format("UPDATE cannot set a column of the period: table={} column={}", name, set),
        "UPDATE … FOR PORTION OF APPLICATION_TIME changes a part of it; DELETE and "
        "INSERT move a row in time"));
  }
  // An update puts whole rows: every column that is not set is read and passed on. A column that is
  // read already is not read twice.
  update.update_is_del_and_insert = true;
  for (const auto& column : columns.Physical()) {
    const auto physical = column.Physical();
    if (std::find(update.columns.begin(), update.columns.end(), physical) != update.columns.end())
      continue;
    const auto& ids = get.GetColumnIds();
    size_t at = 0;
    while (at < ids.size() && ids[at].GetPrimaryIndex() != column.Logical().index) ++at;
    if (at == ids.size()) get.AddColumnId(column.Logical().index);
    update.expressions.push_back(duckdb::make_uniq<duckdb::BoundColumnRefExpression>(
        kPassedOn, column.Type(),
        duckdb::ColumnBinding(proj.table_index, proj.expressions.size())));
    proj.expressions.push_back(duckdb::make_uniq<duckdb::BoundColumnRefExpression>(
        column.Type(), duckdb::ColumnBinding(get.table_index, at)));
    update.columns.push_back(physical);
  }
}

duckdb::virtual_column_map_t LaminaTableEntry::GetVirtualColumns() const {
  duckdb::virtual_column_map_t out;
  for (const auto column : {kValidFrom, kValidTo, kSystemFrom, kSystemTo, kCommit}) {
    if (takes_valid_ && (column == kValidFrom || column == kValidTo)) continue;
    out.insert({column, duckdb::TableColumn(StorageName(column), TypeOf(column))});
  }
  out.insert({kPortionFrom, duckdb::TableColumn("_portion_from", TypeOf(kPortionFrom))});
  out.insert({kPortionTo, duckdb::TableColumn("_portion_to", TypeOf(kPortionTo))});
  if (table_.key.empty())
    out.insert({kRowId, duckdb::TableColumn("rowid", duckdb::LogicalType::BIGINT)});
  for (size_t i = 0; i < table_.key.size(); ++i)
    out.insert(
        {kKeyStart + i, duckdb::TableColumn(fmt::format("_key_{}", i), TypeOf(kKeyStart + i))});
  for (const std::string& name : tracked_columns_) {
    const auto column = kTrackedStart + columns.GetColumn(name).Logical().index;
    out.insert({column, duckdb::TableColumn("_tracked_" + name, TypeOf(column))});
  }
  out.insert(
      {duckdb::COLUMN_IDENTIFIER_EMPTY, duckdb::TableColumn("", duckdb::LogicalType::BOOLEAN)});
  return out;
}

duckdb::vector<duckdb::column_t> LaminaTableEntry::GetRowIdColumns() const {
  duckdb::vector<duckdb::column_t> out;
  if (table_.key.empty()) out.push_back(kRowId);
  for (size_t i = 0; i < table_.key.size(); ++i) out.push_back(kKeyStart + i);
  out.push_back(kPortionFrom);
  out.push_back(kPortionTo);
  for (const std::string& name : tracked_columns_)
    out.push_back(kTrackedStart + columns.GetColumn(name).Logical().index);
  return out;
}

duckdb::unique_ptr<duckdb::CreateTableInfo> MakeTableInfo(
    LaminaCatalog& catalog, const std::string& schema, const std::string& name,
    const TableInfo& table, const Dependents& dependents, const nlohmann::json* definition) {
  auto out = duckdb::make_uniq<duckdb::CreateTableInfo>(catalog.GetName(), schema, name);
  const auto type_of = [&](const arrow::Field& field) {
    return FromStorage(field, [&](const std::string& text) { return catalog.ParseType(text); });
  };
  duckdb::unique_ptr<duckdb::CreateInfo> parsed;
  const duckdb::CreateTableInfo* said = nullptr;
  if (definition != nullptr) {
    duckdb::Parser parser;
    parser.ParseQuery(definition->at("sql").get<std::string>());
    parsed = std::move(parser.statements.at(0)->Cast<duckdb::CreateStatement>().info);
    said = &parsed->Cast<duckdb::CreateTableInfo>();
    if (definition->contains("comment"))
      out->comment = duckdb::Value(definition->at("comment").get<std::string>());
  }
  const auto comment_of = [&](const std::string& column) {
    return definition != nullptr && definition->contains("column_comments") &&
                   definition->at("column_comments").contains(column)
               ? duckdb::Value(definition->at("column_comments").at(column).get<std::string>())
               : duckdb::Value();
  };
  const auto add_field = [&](const arrow::Field& field) {
    duckdb::ColumnDefinition column(field.name(), type_of(field));
    if (said != nullptr && said->columns.ColumnExists(field.name())) {
      const auto& of = said->columns.GetColumn(field.name());
      if (of.HasDefaultValue()) column.SetDefaultValue(of.DefaultValue().Copy());
    }
    column.SetComment(comment_of(field.name()));
    out->columns.AddColumn(std::move(column));
  };
  // In the order that SQL said; what came through another interface goes to the end.
  if (said != nullptr) {
    for (const auto& column : said->columns.Logical()) {
      if (column.Generated()) {
        const auto type = catalog.ParseType(definition->at("generated").at(column.Name()));
        duckdb::ColumnDefinition generated(column.Name(), type, column.GeneratedExpression().Copy(),
                                           duckdb::TableColumnType::GENERATED);
        out->columns.AddColumn(std::move(generated));
      } else if (const auto field = table.schema->GetFieldByName(column.Name())) {
        add_field(*field);
      }
    }
  }
  for (const auto& field : table.schema->fields()) {
    if (!out->columns.ColumnExists(field->name())) add_field(*field);
  }

  const auto is_key = [&](const std::string& column) {
    return std::find(table.key.begin(), table.key.end(), column) != table.key.end();
  };
  duckdb::case_insensitive_set_t not_null;
  const auto add_not_null = [&](const std::string& column) {
    if (!out->columns.ColumnExists(column) || !not_null.insert(column).second) return;
    out->constraints.push_back(
        duckdb::make_uniq<duckdb::NotNullConstraint>(out->columns.GetColumn(column).Logical()));
  };
  for (const auto& field : table.schema->fields()) {
    if (lamina::catalog::RefusesNull(*field) || is_key(field->name())) add_not_null(field->name());
  }
  size_t check = 0;
  const auto name_of_check = [&](size_t number) -> std::string {
    const auto names = definition->find("check_names");
    return names == definition->end() ? "" : names->at(number).get<std::string>();
  };
  if (said != nullptr) {
    for (const auto& constraint : said->constraints) {
      if (constraint->type == duckdb::ConstraintType::NOT_NULL) {
        const auto& of = constraint->Cast<duckdb::NotNullConstraint>();
        add_not_null(said->columns.GetColumn(of.index).Name());
      } else if (constraint->type == duckdb::ConstraintType::CHECK) {
        out->constraints.push_back(WithName(*constraint, name_of_check(check++)));
      }
    }
  }
  const auto add_unique = [&](const std::vector<std::string>& names, bool is_primary,
                              const std::string& name = {}) {
    if (!name.empty()) {
      const duckdb::UniqueConstraint unique(
          duckdb::vector<duckdb::string>(names.begin(), names.end()), is_primary);
      out->constraints.push_back(WithName(unique, name));
    } else if (names.size() == 1) {
      // Written beside its column, as DuckDB does.
      out->constraints.push_back(duckdb::make_uniq<duckdb::UniqueConstraint>(
          out->columns.GetColumn(names[0]).Logical(), names[0], is_primary));
    } else {
      out->constraints.push_back(duckdb::make_uniq<duckdb::UniqueConstraint>(
          duckdb::vector<duckdb::string>(names.begin(), names.end()), is_primary));
    }
  };
  if (!table.key.empty()) add_unique(table.key, /*is_primary=*/true);
  for (const IndexDefinition& index : dependents.indexes) {
    if (index.role != IndexDefinition::Role::kUnique) continue;
    add_unique(index.columns, false, index.named ? index.name : "");
  }
  for (const ForeignKey& key : dependents.foreign_keys) {
    duckdb::ForeignKeyInfo info;
    // Also a reference to itself: DuckDB writes only this kind.
    info.type = duckdb::ForeignKeyType::FK_TYPE_FOREIGN_KEY_TABLE;
    info.schema = key.references_schema;
    info.table = key.references_name;
    const duckdb::ForeignKeyConstraint constraint(
        duckdb::vector<duckdb::string>(key.referenced.begin(), key.referenced.end()),
        duckdb::vector<duckdb::string>(key.columns.begin(), key.columns.end()), std::move(info));
    out->constraints.push_back(WithName(constraint, key.name));
  }
  return out;
}

nlohmann::json DescribeTable(const duckdb::CreateTableInfo& info) {
  nlohmann::json out;
  auto copy = info.Copy();
  copy->catalog.clear();
  copy->on_conflict = duckdb::OnCreateConflict::ERROR_ON_CONFLICT;
  auto& table = copy->Cast<duckdb::CreateTableInfo>();
  table.query = nullptr;
  std::erase_if(table.constraints, [](const auto& constraint) {
    return constraint->type == duckdb::ConstraintType::UNIQUE ||
           constraint->type == duckdb::ConstraintType::FOREIGN_KEY ||
           dynamic_cast<const PeriodConstraint*>(constraint.get()) != nullptr;
  });
  std::vector<std::string> names;
  bool named = false;
  for (const auto& constraint : table.constraints) {
    if (constraint->type != duckdb::ConstraintType::CHECK) continue;
    names.push_back(NameOf(*constraint));
    named |= !names.back().empty();
  }
  // The parser drops them when it reads the text.
  if (named) out["check_names"] = names;
  out["sql"] = copy->ToString();
  for (const auto& column : info.columns.Logical()) {
    if (column.Generated()) out["generated"][column.Name()] = column.Type().ToString();
    if (!column.Comment().IsNull())
      out["column_comments"][column.Name()] = column.Comment().ToString();
  }
  if (!info.comment.IsNull()) out["comment"] = info.comment.ToString();
  return out;
}

}  // namespace lamina::sql
