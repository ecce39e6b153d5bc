#include "catalog/schema.h"

#include <algorithm>
#include <set>
#include <unordered_set>

#include <arrow/array/util.h>
#include <arrow/util/string.h>
#include <arrow/util/utf8.h>
#include <fmt/format.h>

#include "base/mutant.h"
#include "catalog/schema_internal.h"
#include "catalog/system_tables.h"

namespace lamina::catalog {
namespace {

using arrow::Type;

Status Invalid(std::string message, std::string hint = {}) {
  return MakeError(ErrorCode::kInvalidArgument, std::move(message), std::move(hint));
}

// ---- Checks of parts ----

// Names go into the schemas of files, which are UTF-8 by Parquet's rules.
Status CheckText(const char* what, const std::string& name) {
  arrow::util::InitializeUTF8();
  if (arrow::util::ValidateUTF8(name)) return Status::OK();
  return Invalid(fmt::format("the name of a {} is not UTF-8: name={}", what,
                             arrow::HexEncode(std::string_view(name).substr(0, 64))));
}

Status CheckColumnName(const std::string& name) {
  if (name.empty()) return Invalid("a column has no name", "name every column");
  ARROW_RETURN_NOT_OK(CheckText("column", name));
  if (IsHiddenColumn(name)) {
    return Invalid(fmt::format("a column has the name of a hidden column: column={}", name),
                   "choose another name");
  }
  return Status::OK();
}

Status CheckTableName(const std::string& name) {
  if (name.empty()) return Invalid("the table has no name", "give it one");
  return CheckText("table", name);
}

Status CheckNestedNames(const arrow::DataType& type) {
  for (const auto& field : type.fields()) {
    ARROW_RETURN_NOT_OK(CheckText("nested field", field->name()));
    ARROW_RETURN_NOT_OK(CheckNestedNames(*field->type()));
  }
  return Status::OK();
}

// That the column may be stored: its type, and the names inside it.
Status CheckColumnType(const arrow::Field& field) {
  ARROW_RETURN_NOT_OK(internal::CheckType(field.name(), *field.type()));
  return CheckNestedNames(*field.type());
}

// The first broken rule of options against columns, as text; empty if none.
std::string OptionsProblem(const TableSchema& table) {
  const TableOptions& options = table.options;
  if (options.rows_per_page < 0) {
    return fmt::format("rows_per_page is negative: value={}", options.rows_per_page);
  }
  if (options.rows_per_row_group < 0) {
    return fmt::format("rows_per_row_group is negative: value={}", options.rows_per_row_group);
  }
  if (options.codec && *options.codec > Codec::kZstd) return "the codec is unknown";
  std::set<std::string> seen;
  for (const std::string& name : options.dictionary_columns) {
    if (table.FindColumn(name) == nullptr) {
      return fmt::format("dictionary_columns names an unknown column: column={}", name);
    }
    if (!seen.insert(name).second) {
      return fmt::format("dictionary_columns names a column twice: column={}", name);
    }
  }
  if (options.period_from_column.empty() != options.period_to_column.empty()) {
    return "a valid period needs both columns: only one is named";
  }
  if (options.period_from_column.empty()) return {};
  if (options.period_from_column == options.period_to_column) {
    return "a valid period needs two different columns";
  }
  for (const std::string& name : {options.period_from_column, options.period_to_column}) {
    const Column* column = table.FindColumn(name);
    if (column == nullptr) {
      return fmt::format("the valid period names an unknown column: column={}", name);
    }
    if (column->type->id() != Type::TIMESTAMP) {
      return fmt::format("a column of the valid period is not a timestamp: column={} type={}", name,
                         column->type->ToString());
    }
    if (std::find(table.key.begin(), table.key.end(), column->id) != table.key.end()) {
      return fmt::format("a column of the valid period is part of the key: column={}", name);
    }
  }
  return {};
}

Column MakeColumn(ColumnId id, const std::shared_ptr<arrow::Field>& field) {
  const auto clean = internal::UserField(field);
  return {id, clean->name(), clean->type(), clean->nullable(), clean->metadata()};
}

Column RowIdColumn(ColumnId id) { return {id, kRowIdColumn, arrow::int64(), false, nullptr}; }

std::shared_ptr<arrow::Field> ToField(const Column& column) {
  return arrow::field(column.name, column.type, column.nullable, column.metadata);
}

bool IsKeyColumn(const TableSchema& table, ColumnId id) {
  return std::find(table.key.begin(), table.key.end(), id) != table.key.end();
}

// The user's column of that name, for a change.
Result<const Column*> ColumnToChange(const TableSchema& table, const std::string& name) {
  const Column* column = table.FindColumn(name);
  if (column == nullptr || (!table.has_primary_key && name == kRowIdColumn)) {
    return MakeError(ErrorCode::kNotFound,
                     fmt::format("unknown column: table={} column={}", table.name, name),
                     internal::SuggestNames(name, table.ToArrow()->field_names()));
  }
  return column;
}

// An initial value is held to what a written value is held to.
bool HasNotNullMark(const arrow::KeyValueMetadata* metadata) {
  if (metadata == nullptr) return false;
  const auto mark = metadata->Get(kNotNullKey);
  return mark.ok() && *mark == "true";
}

/// The metadata with the mark or without it; null when nothing is left.
std::shared_ptr<const arrow::KeyValueMetadata> WithNotNullMark(
    const std::shared_ptr<const arrow::KeyValueMetadata>& metadata, bool marked) {
  auto out = metadata == nullptr ? std::make_shared<arrow::KeyValueMetadata>() : metadata->Copy();
  while (out->Contains(kNotNullKey)) {
    if (!out->Delete(kNotNullKey).ok()) break;
  }
  if (marked) out->Append(kNotNullKey, "true");
  return out->size() == 0 ? nullptr : out;
}

Status CheckInitial(const TableSchema& table, const Column& column, const arrow::Scalar& initial) {
  if (!initial.type->Equals(*column.type)) {
    return Invalid(fmt::format(
        "the initial value is of another type than the column: table={} column={} expected={} "
        "actual={}",
        table.name, column.name, column.type->ToString(), initial.type->ToString()));
  }
  auto one = arrow::MakeArrayFromScalar(initial, 1);
  if (!one.ok()) {
    return MakeError(
        ErrorCode::kUnsupported,
        fmt::format("a column of this type takes no initial value: table={} column={} "
                    "type={} reason={}",
                    table.name, column.name, column.type->ToString(), one.status().message()));
  }
  TableSchema alone;
  alone.name = table.name;
  alone.columns = {column};
  return CheckBatch(alone, *arrow::RecordBatch::Make(alone.ToArrow(), 1, {*one}));
}

Result<TableSchemaPtr> Next(TableSchema&& table) {
  ++table.version;
  ARROW_RETURN_NOT_OK(table.Verify());
  return std::make_shared<const TableSchema>(std::move(table));
}

}  // namespace

bool IsHiddenColumn(const std::string& name) {
  return name == kValidFromColumn || name == kValidToColumn || name == kSystemFromColumn ||
         name == kSystemToColumn || name == kCommitColumn || name == kRowIdColumn;
}

// ---- TableSchema ----

std::shared_ptr<arrow::Schema> TableSchema::ToArrow() const {
  arrow::FieldVector fields;
  for (const Column& column : columns) {
    if (has_primary_key || column.name != kRowIdColumn) fields.push_back(ToField(column));
  }
  return arrow::schema(std::move(fields), metadata);
}

std::shared_ptr<arrow::Schema> TableSchema::StorageSchema() const {
  arrow::FieldVector fields;
  for (const Column& column : columns) fields.push_back(ToField(column));
  return arrow::schema(std::move(fields), metadata);
}

const Column* TableSchema::FindColumn(const std::string& column_name) const {
  for (const Column& column : columns) {
    if (column.name == column_name) return &column;
  }
  return nullptr;
}

const Column* TableSchema::FindColumn(ColumnId column_id) const {
  for (const Column& column : columns) {
    if (column.id == column_id) return &column;
  }
  return nullptr;
}

std::vector<int> TableSchema::KeyPositions() const {
  std::vector<int> positions;
  for (ColumnId column_id : key) {
    for (size_t i = 0; i < columns.size(); ++i) {
      if (columns[i].id == column_id) positions.push_back(static_cast<int>(i));
    }
  }
  return positions;
}

Status TableSchema::Verify() const {
  auto broken = [this](std::string rule) {
    return MakeError(ErrorCode::kInternal,
                     fmt::format("a table definition breaks a rule: table={} id={} rule={}", name,
                                 id.value, rule));
  };
  if (id.value == 0) return broken("the table id is 0");
  if (name.empty()) return broken("the name is empty");
  if (version == 0) return broken("the version is 0");
  std::unordered_set<std::string> names;
  std::unordered_set<ColumnId> ids;
  for (size_t i = 0; i < columns.size(); ++i) {
    const Column& column = columns[i];
    if (column.type == nullptr) return broken(fmt::format("column {} has no type", i));
    if (column.name.empty()) return broken(fmt::format("column {} has no name", i));
    if (column.id <= 0 || column.id >= next_column_id) {
      return broken(fmt::format("column id outside 1 … next_column_id: column={} id={}",
                                column.name, column.id));
    }
    if (!ids.insert(column.id).second) {
      return broken(fmt::format("column id used twice: id={}", column.id));
    }
    if (!names.insert(column.name).second) {
      return broken(fmt::format("column name used twice: column={}", column.name));
    }
    if (IsHiddenColumn(column.name)) {
      const bool row_id =
          !has_primary_key && column.name == kRowIdColumn && i + 1 == columns.size();
      if (!row_id) return broken(fmt::format("column with a hidden name: column={}", column.name));
    }
    if (!IsValueType(*column.type)) {
      return broken(fmt::format("column of an unsupported type: column={} type={}", column.name,
                                column.type->ToString()));
    }
  }
  for (const Column& column : columns) {
    if (column.initial == nullptr) continue;
    if (!column.initial->is_valid || !column.initial->type->Equals(*column.type) ||
        IsKeyColumn(*this, column.id)) {
      return broken(fmt::format("an initial value that does not fit: column={}", column.name));
    }
  }
  if (key.empty()) return broken("there is no key");
  std::unordered_set<ColumnId> key_ids;
  for (ColumnId column_id : key) {
    const Column* column = FindColumn(column_id);
    if (column == nullptr) {
      return broken(fmt::format("the key names an absent column: id={}", column_id));
    }
    if (!key_ids.insert(column_id).second) {
      return broken(fmt::format("the key names a column twice: column={}", column->name));
    }
    if (!IsKeyType(*column->type)) {
      return broken(fmt::format("key column without an order: column={}", column->name));
    }
  }
  if (!has_primary_key) {
    const bool good = !columns.empty() && columns.back().name == kRowIdColumn &&
                      columns.back().type->id() == Type::INT64 && !columns.back().nullable &&
                      key.size() == 1 && key[0] == columns.back().id;
    if (!good) {
      return broken("a table without a primary key has its row id as last column and only key");
    }
  }
  if (std::string problem = OptionsProblem(*this); !problem.empty()) return broken(problem);
  return Status::OK();
}

bool RefusesNull(const arrow::Field& field) {
  return !field.nullable() || HasNotNullMark(field.metadata().get());
}

// ---- Making and changing ----

Result<TableSchemaPtr> MakeTable(TableId id, std::string name,
                                 const std::shared_ptr<arrow::Schema>& schema,
                                 const KeyDeclaration& key, TableOptions options) {
  ARROW_RETURN_NOT_OK(CheckTableName(name));
  if (schema == nullptr || schema->num_fields() == 0) {
    return Invalid(fmt::format("a table needs at least one column: table={}", name));
  }
  TableSchema table;
  table.id = id;
  table.name = std::move(name);
  table.options = std::move(options);
  table.metadata = internal::UserMetadata(schema->metadata());
  std::unordered_set<std::string> names;
  for (const auto& field : schema->fields()) {
    ARROW_RETURN_NOT_OK(CheckColumnName(field->name()));
    if (!names.insert(field->name()).second) {
      return Invalid(fmt::format("two columns have the same name: column={}", field->name()),
                     "rename one");
    }
  }
  for (const auto& field : schema->fields()) ARROW_RETURN_NOT_OK(CheckColumnType(*field));
  ARROW_ASSIGN_OR_RAISE(const std::vector<int> positions, internal::ResolveKey(*schema, key));
  for (const auto& field : schema->fields())
    table.columns.push_back(MakeColumn(table.next_column_id++, field));
  if (key.no_key) {
    table.has_primary_key = false;
    table.columns.push_back(RowIdColumn(table.next_column_id++));
    table.key = {table.columns.back().id};
  } else {
    for (int at : positions) table.key.push_back(table.columns[static_cast<size_t>(at)].id);
  }
  if (std::string problem = OptionsProblem(table); !problem.empty()) {
    return Invalid(fmt::format("the table's options do not fit: {}", problem));
  }
  ARROW_RETURN_NOT_OK(table.Verify());
  return std::make_shared<const TableSchema>(std::move(table));
}

Result<TableSchemaPtr> AddColumn(const TableSchema& table,
                                 const std::shared_ptr<arrow::Field>& field,
                                 const std::shared_ptr<arrow::Scalar>& initial) {
  if (field == nullptr) return Invalid("no column was given");
  ARROW_RETURN_NOT_OK(CheckColumnName(field->name()));
  if (table.FindColumn(field->name()) != nullptr) {
    return MakeError(ErrorCode::kAlreadyExists, fmt::format("the column exists: table={} column={}",
                                                            table.name, field->name()));
  }
  const bool has_initial = initial != nullptr && initial->is_valid;
  if (!field->nullable() && !has_initial) {
    return Invalid(fmt::format("an added column must be nullable: table={} column={}", table.name,
                               field->name()),
                   "rows that are there already have no value for it; give an initial one");
  }
  ARROW_RETURN_NOT_OK(CheckColumnType(*field));
  TableSchema next = table;
  Column column = MakeColumn(next.next_column_id++, field);
  if (has_initial) {
    ARROW_RETURN_NOT_OK(CheckInitial(table, column, *initial));
    column.initial = initial;
  }
  next.columns.insert(table.has_primary_key ? next.columns.end() : next.columns.end() - 1,
                      std::move(column));
  return Next(std::move(next));
}

Result<TableSchemaPtr> DropColumn(const TableSchema& table, const std::string& name) {
  ARROW_ASSIGN_OR_RAISE(const Column* column, ColumnToChange(table, name));
  if (IsKeyColumn(table, column->id)) {
    return Invalid(
        fmt::format("a key column cannot be dropped: table={} column={}", table.name, name));
  }
  if (name == table.options.period_from_column || name == table.options.period_to_column) {
    return Invalid(fmt::format("a column of the valid period cannot be dropped: table={} column={}",
                               table.name, name));
  }
  if (table.ToArrow()->num_fields() == 1) {
    return Invalid(
        fmt::format("the last column cannot be dropped: table={} column={}", table.name, name),
        "drop the table");
  }
  TableSchema next = table;
  std::erase_if(next.columns, [&](const Column& c) { return c.name == name; });
  if (LAMINA_MUTANT("catalog.column_id_reused") && column->id + 1 == next.next_column_id)
    --next.next_column_id;
  std::erase(next.options.dictionary_columns, name);
  return Next(std::move(next));
}

Result<TableSchemaPtr> RenameColumn(const TableSchema& table, const std::string& from,
                                    const std::string& to) {
  ARROW_ASSIGN_OR_RAISE(const Column* column, ColumnToChange(table, from));
  ARROW_RETURN_NOT_OK(CheckColumnName(to));
  if (table.FindColumn(to) != nullptr) {
    return MakeError(ErrorCode::kAlreadyExists,
                     fmt::format("the column exists: table={} column={}", table.name, to));
  }
  TableSchema next = table;
  next.columns[static_cast<size_t>(column - table.columns.data())].name = to;
  for (std::string& name : next.options.dictionary_columns) {
    if (name == from) name = to;
  }
  if (next.options.period_from_column == from) next.options.period_from_column = to;
  if (next.options.period_to_column == from) next.options.period_to_column = to;
  return Next(std::move(next));
}

Result<TableSchemaPtr> WidenColumn(const TableSchema& table, const std::string& name,
                                   const std::shared_ptr<arrow::DataType>& type) {
  ARROW_ASSIGN_OR_RAISE(const Column* column, ColumnToChange(table, name));
  if (type == nullptr) return Invalid("no type was given");
  if (IsKeyColumn(table, column->id)) {
    return Invalid(
        fmt::format("a key column's type cannot change: table={} column={}", table.name, name),
        "files are sorted by the bytes of the type they were written with; copy into a new table");
  }
  ARROW_RETURN_NOT_OK(internal::CheckType(name, *type));
  if (!internal::IsWidening(*column->type, *type)) {
    return Invalid(
        fmt::format("this change of type is not a safe widening: table={} column={} from={} to={}",
                    table.name, name, column->type->ToString(), type->ToString()),
        "allowed: wider integers and floats, decimals of larger precision and the same scale, "
        "date32 to timestamp, "
        "utf8 to large_utf8, binary to large_binary, timestamps of a finer unit");
  }
  TableSchema next = table;
  Column& wider = next.columns[static_cast<size_t>(column - table.columns.data())];
  wider.type = type;
  if (column->initial != nullptr) {
    ARROW_ASSIGN_OR_RAISE(const auto one, InitialValues(*column, 1));
    ARROW_ASSIGN_OR_RAISE(const auto cast, CastColumn(one, type));
    ARROW_ASSIGN_OR_RAISE(wider.initial, cast->GetScalar(0));
  }
  return Next(std::move(next));
}

Result<TableSchemaPtr> SetNotNull(const TableSchema& table, const std::string& name) {
  ARROW_ASSIGN_OR_RAISE(const Column* column, ColumnToChange(table, name));
  TableSchema next = table;
  // Not `nullable`: files with NULLs of the past are merged under the newest definition, and
  // Parquet has no place for a NULL in a column that is required.
  Column& changed = next.columns[static_cast<size_t>(column - table.columns.data())];
  if (changed.nullable) changed.metadata = WithNotNullMark(changed.metadata, true);
  return Next(std::move(next));
}

Result<TableSchemaPtr> DropNotNull(const TableSchema& table, const std::string& name) {
  ARROW_ASSIGN_OR_RAISE(const Column* column, ColumnToChange(table, name));
  if (IsKeyColumn(table, column->id)) {
    return Invalid(
        fmt::format("a key column stays not null: table={} column={}", table.name, name));
  }
  if (column->nullable && !HasNotNullMark(column->metadata.get())) {
    return Invalid(
        fmt::format("the column is nullable already: table={} column={}", table.name, name));
  }
  TableSchema next = table;
  Column& changed = next.columns[static_cast<size_t>(column - table.columns.data())];
  changed.nullable = true;
  changed.metadata = WithNotNullMark(changed.metadata, false);
  return Next(std::move(next));
}

Result<TableSchemaPtr> RenameTable(const TableSchema& table, const std::string& name) {
  ARROW_RETURN_NOT_OK(CheckTableName(name));
  TableSchema next = table;
  next.name = name;
  return Next(std::move(next));
}

Result<TableSchemaPtr> SetTableMetadata(
    const TableSchema& table, const std::shared_ptr<const arrow::KeyValueMetadata>& metadata) {
  TableSchema next = table;
  next.metadata = internal::UserMetadata(metadata);
  return Next(std::move(next));
}

Result<TableSchemaPtr> SetColumnMetadata(
    const TableSchema& table, const std::string& name,
    const std::shared_ptr<const arrow::KeyValueMetadata>& metadata) {
  ARROW_ASSIGN_OR_RAISE(const Column* column, ColumnToChange(table, name));
  TableSchema next = table;
  Column& changed = next.columns[static_cast<size_t>(column - table.columns.data())];
  changed.metadata =
      WithNotNullMark(internal::UserMetadata(metadata), HasNotNullMark(column->metadata.get()));
  return Next(std::move(next));
}

// ---- Catalog ----

TableSchemaPtr Catalog::Find(const std::string& name) const {
  for (const auto& [id, table] : tables) {
    if (!IsSystemTable(id) && table->name == name) return table;
  }
  return nullptr;
}

TableSchemaPtr Catalog::Find(TableId id) const {
  const auto it = tables.find(id);
  return it == tables.end() ? nullptr : it->second;
}

Catalog MakeCatalog() {
  Catalog catalog;
  for (const TableSchemaPtr& table :
       {KeyValueTableSchema(), CommitsTableSchema(), IdempotencyTableSchema()}) {
    catalog.tables[table->id] = table;
  }
  return catalog;
}

}  // namespace lamina::catalog
