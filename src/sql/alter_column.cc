#include "sql/alter_column.h"

#include <algorithm>

#include <arrow/api.h>
#include <duckdb/execution/expression_executor.hpp>
#include <duckdb/parser/expression/cast_expression.hpp>
#include <duckdb/parser/expression/columnref_expression.hpp>
#include <duckdb/parser/parsed_expression_iterator.hpp>
#include <duckdb/planner/expression_binder/constant_binder.hpp>
#include <fmt/format.h>

#include "catalog/schema.h"
#include "sql/error_translation.h"
#include "sql/table_writer.h"
#include "sql/transaction.h"
#include "sql/types.h"
#include "sql/vectors.h"

namespace lamina::sql {
namespace {

using duckdb::LogicalType;
using duckdb::LogicalTypeId;

db::Session& Data(duckdb::ClientContext& context, const LaminaTableEntry& table) {
  return LaminaTransaction::Get(context, const_cast<LaminaTableEntry&>(table).catalog)
      .data();  // NOLINT: not changed
}

duckdb::unique_ptr<duckdb::Expression> BindDefault(duckdb::ClientContext& context,
                                                   LaminaTableEntry& table,
                                                   const duckdb::ColumnDefinition& column) {
  auto copy = column.DefaultValue().Copy();
  if (copy->HasParameter())
    Throw(MakeSqlError("T4007", "a default cannot hold parameters: column=" + column.Name()));
  // As DuckDB binds the defaults of an INSERT: names of sequences are first looked for beside the
  // table.
  auto binder = duckdb::Binder::CreateBinder(context);
  binder->SetSearchPath(table.catalog, table.schema.name);
  duckdb::ConstantBinder constants(*binder, context, "DEFAULT value");
  constants.target_type = column.Type();
  return constants.Bind(copy);
}

std::shared_ptr<arrow::Array> Evaluate(duckdb::ClientContext& context,
                                       const duckdb::Expression& expression, int64_t count,
                                       const std::shared_ptr<arrow::DataType>& type) {
  duckdb::ExpressionExecutor executor(context, expression);
  arrow::ArrayVector parts;
  for (int64_t done = 0; done < count;) {
    const int64_t rows = std::min<int64_t>(count - done, STANDARD_VECTOR_SIZE);
    duckdb::DataChunk nothing;
    nothing.SetCardinality(static_cast<duckdb::idx_t>(rows));
    duckdb::Vector values(expression.return_type, static_cast<duckdb::idx_t>(rows));
    executor.ExecuteExpression(nothing, values);
    parts.push_back(ValueOrThrow(ToArray(values, rows, type)));
    done += rows;
  }
  return parts.size() == 1 ? parts[0] : ValueOrThrow(arrow::Concatenate(parts));
}

/// Writes every row that is known now once more, at the times it is valid, with a value of its own
/// in `column`.
void Fill(duckdb::ClientContext& context, LaminaTableEntry& table, const std::string& column,
          const duckdb::Expression& value) {
  db::Session& data = Data(context, table);
  const TableInfo now = ValueOrThrow(data.GetTable(table.table().name));
  const bool keyed = !now.key.empty();
  const int fields = now.schema->num_fields();
  const int at = now.schema->GetFieldIndex(column);
  ScanOptions options;
  options.columns.emplace(now.schema->field_names());
  options.columns->push_back(catalog::kValidFromColumn);
  options.columns->push_back(catalog::kValidToColumn);
  if (!keyed) options.columns->push_back(catalog::kRowIdColumn);
  options.valid = ValidPeriod::All();
  const auto reader = ValueOrThrow(data.Scan(now.name, options));
  TableWriter writer(context, table);
  for (;;) {
    const auto batch = ValueOrThrow(reader->Next());
    if (batch == nullptr) return;
    arrow::ArrayVector columns(batch->columns().begin(), batch->columns().begin() + fields);
    columns[static_cast<size_t>(at)] =
        Evaluate(context, value, batch->num_rows(), now.schema->field(at)->type());
    RowChange change;
    change.old.keys =
        keyed ? batch
              : arrow::RecordBatch::Make(arrow::schema({batch->schema()->field(fields + 2)}),
                                         batch->num_rows(), {batch->column(fields + 2)});
    change.old.valid_from = batch->column(fields);
    change.old.valid_to = batch->column(fields + 1);
    change.old.tracked = batch;
    change.rows = arrow::RecordBatch::Make(now.schema, batch->num_rows(), std::move(columns));
    // Rows of a table without a key get other row ids: their entries in indexes move along.
    writer.Update({&change, 1}, /*moves=*/!keyed);
  }
}

void RequireNotNull(db::Session& data, const std::string& table, const std::string& stored,
                    const std::string& column) {
  const Status status = data.SetNotNull(stored, column);
  if (CodeOf(status) == ErrorCode::kInvalidArgument && !status.ok()) {
    Throw(
        MakeSqlError("T3001",
                     fmt::format("a row holds NULL in the column that is to be NOT NULL: "
                                 "table={} column={}",
                                 table, column),
                     fmt::format("UPDATE {} SET {} = … WHERE {} IS NULL", table, column, column)));
  }
  ThrowIfError(status);
}

/// Whether every value of `from` is one of `to` as it lies.
bool IsReadAs(const LogicalType& from, const LogicalType& to) {
  const bool plain_text = to.id() == LogicalTypeId::VARCHAR && !to.HasAlias();
  if (from.id() == LogicalTypeId::ENUM) {
    if (plain_text) return true;
    if (to.id() != LogicalTypeId::ENUM) return false;
    for (duckdb::idx_t i = 0; i < duckdb::EnumType::GetSize(from); ++i) {
      if (duckdb::EnumType::GetPos(to, duckdb::EnumType::GetString(from, i)) < 0) return false;
    }
    return true;
  }
  return from.id() == LogicalTypeId::VARCHAR && plain_text;  // from JSON
}

/// CAST(column AS …) and the bare column are what a change of type does by itself.
bool IsPlainCast(const duckdb::ParsedExpression& expression, const std::string& column) {
  const duckdb::ParsedExpression* inner = &expression;
  if (expression.GetExpressionType() == duckdb::ExpressionType::OPERATOR_CAST)
    inner = expression.Cast<duckdb::CastExpression>().child.get();
  if (inner->GetExpressionType() != duckdb::ExpressionType::COLUMN_REF) return false;
  return duckdb::StringUtil::CIEquals(inner->Cast<duckdb::ColumnRefExpression>().GetColumnName(),
                                      column);
}

/// Of a reference ("c", "table.c", or "c.field" of a struct) the part that names the column; null
/// for other expressions.
std::string* ColumnName(duckdb::ParsedExpression& expression, const std::string& table) {
  if (expression.GetExpressionType() != duckdb::ExpressionType::COLUMN_REF) return nullptr;
  auto& names = expression.Cast<duckdb::ColumnRefExpression>().column_names;
  const bool qualified = names.size() > 1 && duckdb::StringUtil::CIEquals(names[0], table);
  return &names[qualified ? 1 : 0];
}

}  // namespace

void CheckDefault(duckdb::ClientContext& context, LaminaTableEntry& table,
                  const duckdb::ColumnDefinition& column) {
  if (column.HasDefaultValue()) (void)BindDefault(context, table, column);
}

void AddColumn(duckdb::ClientContext& context, LaminaTableEntry& table,
               const duckdb::ColumnDefinition& column, bool not_null) {
  db::Session& data = Data(context, table);
  const std::string& stored = table.table().name;
  auto field = ValueOrThrow(ToStorageField(column.Name(), column.Type(), /*nullable=*/true));
  duckdb::unique_ptr<duckdb::Expression> value;
  if (column.HasDefaultValue()) value = BindDefault(context, table, column);
  std::shared_ptr<arrow::Scalar> initial;
  const bool once = value != nullptr && !value->IsVolatile();
  if (once) {
    initial = ValueOrThrow(Evaluate(context, *value, 1, field->type())->GetScalar(0));
    if (!initial->is_valid) initial = nullptr;
  }
  if (initial != nullptr && not_null) {
    ThrowIfError(data.AddColumn(stored, field->WithNullable(false), initial));
    return;
  }
  ThrowIfError(data.AddColumn(stored, field, initial));
  if (value != nullptr && !once) Fill(context, table, column.Name(), *value);
  if (not_null) RequireNotNull(data, table.name, stored, column.Name());
}

void SetNotNull(duckdb::ClientContext& context, LaminaTableEntry& table,
                const std::string& column) {
  const auto& key = table.table().key;
  if (std::find(key.begin(), key.end(), column) != key.end()) return;  // is it already
  RequireNotNull(Data(context, table), table.name, table.table().name, column);
}

void DropNotNull(duckdb::ClientContext& context, LaminaTableEntry& table,
                 const std::string& column) {
  const auto& key = table.table().key;
  if (std::find(key.begin(), key.end(), column) != key.end()) {
    Throw(MakeSqlError("T2015", fmt::format("a column of the primary key stays NOT NULL: table={} "
                                            "column={}",
                                            table.name, column)));
  }
  db::Session& data = Data(context, table);
  const auto now = data.FindTable(table.table().name);
  if (!catalog::RefusesNull(*now->ToArrow()->GetFieldByName(column))) return;
  ThrowIfError(data.Replace(ValueOrThrow(catalog::DropNotNull(*now, column))));
}

void ChangeType(duckdb::ClientContext& context, LaminaTableEntry& table, const std::string& column,
                const LogicalType& type, const duckdb::ParsedExpression* using_expression) {
  const LogicalType& from = table.GetColumn(column).Type();
  const auto refuse = [&](const std::string& why) {
    Throw(MakeSqlError(
        "T4009",
        fmt::format("this change of a type would write every row anew, those of the past too: {}: "
                    "table={} column={} from={} to={}",
                    why, table.name, column, from.ToString(), type.ToString()),
        "add a column of the new type, UPDATE it from the old one, DROP that and RENAME the new "
        "one"));
  };
  if (using_expression != nullptr && !IsPlainCast(*using_expression, column))
    refuse("USING computes new values");
  if (from == type && from.HasAlias() == type.HasAlias()) return;
  const auto& key = table.table().key;
  if (std::find(key.begin(), key.end(), column) != key.end())
    refuse("the column belongs to the primary key");
  db::Session& data = Data(context, table);
  const std::string& stored = table.table().name;
  const auto field = ValueOrThrow(ToStorageField(column, type, true));
  const auto old_field = table.table().schema->GetFieldByName(column);
  if (!IsReadAs(from, type)) {
    // Types with a name of their own lie as something else, which may be widened without sense.
    const auto named = [](const arrow::Field& of) {
      return of.metadata() != nullptr && of.metadata()->Contains(kTypeKey);
    };
    if (named(*old_field) || named(*field)) refuse("the types lie in different forms");
    const Status status = data.WidenColumn(stored, column, field->type());
    if (status.ok()) return;
    if (CodeOf(status) != ErrorCode::kInvalidArgument) Throw(status);
    refuse(MessageOf(status));
  }
  const auto now = data.FindTable(stored);
  auto metadata = old_field->metadata() == nullptr ? std::make_shared<arrow::KeyValueMetadata>()
                                                   : old_field->metadata()->Copy();
  while (metadata->Contains(kTypeKey)) ThrowIfError(metadata->Delete(kTypeKey));
  if (field->metadata() != nullptr) metadata = metadata->Merge(*field->metadata());
  ThrowIfError(data.Replace(ValueOrThrow(catalog::SetColumnMetadata(*now, column, metadata))));
}

void RenameColumnIn(duckdb::ParsedExpression& expression, const std::string& table,
                    const std::string& from, const std::string& to) {
  if (std::string* name = ColumnName(expression, table); name != nullptr) {
    if (duckdb::StringUtil::CIEquals(*name, from)) *name = to;
  }
  duckdb::ParsedExpressionIterator::EnumerateChildren(
      expression, [&](duckdb::unique_ptr<duckdb::ParsedExpression>& child) {
        RenameColumnIn(*child, table, from, to);
      });
}

void RenameTableIn(duckdb::ParsedExpression& expression, const std::string& from,
                   const std::string& to) {
  if (expression.GetExpressionType() == duckdb::ExpressionType::COLUMN_REF) {
    auto& names = expression.Cast<duckdb::ColumnRefExpression>().column_names;
    if (names.size() > 1 && duckdb::StringUtil::CIEquals(names[0], from)) names[0] = to;
  }
  duckdb::ParsedExpressionIterator::EnumerateChildren(
      expression, [&](duckdb::unique_ptr<duckdb::ParsedExpression>& child) {
        RenameTableIn(*child, from, to);
      });
}

bool NamesColumn(const duckdb::ParsedExpression& expression, const std::string& table,
                 const std::string& column) {
  // Only looked at.
  auto& root = const_cast<duckdb::ParsedExpression&>(expression);  // NOLINT
  if (const std::string* name = ColumnName(root, table);
      name != nullptr && duckdb::StringUtil::CIEquals(*name, column))
    return true;
  bool found = false;
  duckdb::ParsedExpressionIterator::EnumerateChildren(
      expression, [&](const duckdb::ParsedExpression& child) {
        found = found || NamesColumn(child, table, column);
      });
  return found;
}

}  // namespace lamina::sql
