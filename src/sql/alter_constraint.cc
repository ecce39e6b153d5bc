#include "sql/alter_constraint.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include <arrow/api.h>
#include <duckdb/execution/expression_executor.hpp>
#include <duckdb/parser/constraints/check_constraint.hpp>
#include <duckdb/parser/constraints/foreign_key_constraint.hpp>
#include <duckdb/parser/constraints/unique_constraint.hpp>
#include <duckdb/parser/statement/alter_statement.hpp>
#include <duckdb/parser/statement/create_statement.hpp>
#include <duckdb/planner/constraints/bound_check_constraint.hpp>
#include <duckdb/planner/parsed_data/bound_create_table_info.hpp>
#include <fmt/format.h>

#include "catalog/schema.h"
#include "sql/alter_column.h"
#include "sql/constraint_names.h"
#include "sql/error_translation.h"
#include "sql/foreign_keys.h"
#include "sql/json_arrows.h"
#include "sql/transaction.h"
#include "sql/types.h"
#include "sql/vectors.h"

namespace lamina::sql {
namespace {

constexpr int kShownColumns = 6;  // of a row in a message

std::string Unquoted(std::string_view word) {
  if (word.size() < 2 || word.front() != '"') return std::string(word);
  std::string out;
  for (size_t i = 1; i + 1 < word.size(); ++i) {
    out += word[i];
    if (word[i] == '"') ++i;
  }
  return out;
}
std::string Quoted(const std::string& name) {
  return duckdb::KeywordHelper::WriteOptionallyQuoted(name);
}

class ChangeTaker {
 public:
  ChangeTaker(const StatementSpan& span, std::string* statement)
      : tokens_(span.tokens), base_(span.begin), statement_(*statement), text_(*statement) {}

  std::optional<ConstraintChange> Run() {
    if (!IsWord(0, "ALTER") || !IsWord(1, "TABLE")) return {};
    size_t i = 2;
    if (IsWord(i, "IF") && IsWord(i + 1, "EXISTS")) i += 2;
    if (!IsName(i++)) return {};
    while (Text(i) == "." && IsName(i + 1)) i += 2;
    if (IsWord(i, "ADD")) return Add(i);
    if (IsWord(i, "DROP") && IsWord(i + 1, "CONSTRAINT")) return Drop(i);
    return {};
  }

 private:
  std::string_view Text(size_t i) const {
    if (i >= tokens_.size()) return {};
    return std::string_view(text_).substr(tokens_[i].begin - base_,
                                          tokens_[i].end - tokens_[i].begin);
  }
  bool IsWord(size_t i, std::string_view word) const {
    return i < tokens_.size() && tokens_[i].kind == TokenKind::kWord &&
           duckdb::StringUtil::CIEquals(std::string(Text(i)), std::string(word));
  }
  bool IsName(size_t i) const {
    return i < tokens_.size() &&
           (tokens_[i].kind == TokenKind::kWord || tokens_[i].kind == TokenKind::kQuotedWord);
  }
  void Replace(size_t from, const char* by) {
    statement_ = text_.substr(0, tokens_[from].begin - base_) + by;
  }

  std::optional<ConstraintChange> Add(size_t add) {
    ConstraintChange out;
    size_t i = add + 1;
    if (IsWord(i, "CONSTRAINT") && IsName(i + 1)) {
      out.name = Unquoted(Text(i + 1));
      i += 2;
    }
    if (!IsWord(i, "UNIQUE") && !IsWord(i, "CHECK") && !IsWord(i, "FOREIGN")) return {};
    int depth = 0;
    for (size_t at = i; at < tokens_.size(); ++at) {
      if (Text(at) == "(") ++depth;
      if (Text(at) == ")") --depth;
      if (depth == 0 && Text(at) == ",") return {};  // another change, which DuckDB refuses
    }
    out.added_at = tokens_[i].begin - base_;
    out.added = text_.substr(out.added_at, tokens_.back().end - base_ - out.added_at);
    Replace(add, "ADD PRIMARY KEY (x)");
    return out;
  }

  std::optional<ConstraintChange> Drop(size_t drop) {
    ConstraintChange out;
    size_t i = drop + 2;
    if (IsWord(i, "IF") && IsWord(i + 1, "EXISTS")) {
      out.if_exists = true;
      i += 2;
    }
    if (!IsName(i)) return {};
    out.name = Unquoted(Text(i++));
    out.cascade = IsWord(i, "CASCADE");
    if (out.cascade || IsWord(i, "RESTRICT")) ++i;
    if (i != tokens_.size()) return {};
    Replace(drop, "DROP x");
    return out;
  }

  const std::vector<Token>& tokens_;
  const size_t base_;
  std::string& statement_;
  const std::string text_;  // as it was
};

/// Parses "UNIQUE (a)" and the like; the actions of a foreign key come beside.
std::pair<duckdb::unique_ptr<duckdb::Constraint>, ReferenceActions> ParseConstraint(
    duckdb::ClientContext& context, const ConstraintChange& change) {
  // Where it stands in the statement, so that errors have their place.
  std::string create = "CREATE TABLE x(";
  create.resize(change.added_at, ' ');
  create += change.added + ", x x)";
  const std::vector<StatementSpan> spans = SplitStatements(create);
  int depth = 0;
  for (const Token& token : spans[0].tokens) {
    const std::string_view word = token.In(create);
    if (word == "(" || word == ")") depth += word == "(" ? 1 : -1;
    if (depth != 1 || token.begin < change.added_at) continue;
    for (const char* option : {"VALID", "DEFERRABLE", "INITIALLY", "INHERIT", "MATCH", "USING"}) {
      if (!Is(token, create, option)) continue;
      Throw(MakeSqlError("T4009", fmt::format("this option of a constraint is not there: {}", word),
                         "a constraint is checked by each statement, and so are the rows that are "
                         "there when it is added"));
    }
  }
  const auto actions = TakeReferenceActions(spans[0].tokens, 0, &create);
  (void)BindJsonArrows(spans[0], &create);
  duckdb::Parser parser(context.GetParserOptions());
  parser.ParseQuery(create);
  auto& statement = *parser.statements.at(0);
  ThrowIfError(PutReferenceActions(actions, statement));
  auto& info = statement.Cast<duckdb::CreateStatement>().info->Cast<duckdb::CreateTableInfo>();
  if (parser.statements.size() != 1 || info.query != nullptr ||
      info.columns.LogicalColumnCount() != 1 || info.constraints.size() != 1)
    Throw(MakeSqlError("T4009", "an ALTER TABLE makes one change",
                       "give each constraint a statement of its own"));
  return {WithName(*info.constraints[0], change.name), ReferenceActionsOf(info, 0)};
}

/// The rows that are known now, valid at whatever time, and their valid times behind.
std::shared_ptr<ScanReader> AllRows(db::Session& data, const TableInfo& table) {
  ScanOptions options;
  options.columns.emplace(table.schema->field_names());
  options.columns->push_back(catalog::kValidFromColumn);
  options.columns->push_back(catalog::kValidToColumn);
  options.valid = ValidPeriod::All();
  options.order_by_key = false;
  // A row that is committed meanwhile was not looked at: a conflict, whatever the isolation.
  ThrowIfError(data.NoteConstraint(table.name, catalog::KeyRange::All()));
  return ValueOrThrow(data.Scan(table.name, options));
}

/// "key=(1, 2)", or of a table without a key "row=(…)".
std::string RowText(const LaminaTableEntry& table, const arrow::RecordBatch& rows, int64_t row) {
  std::vector<std::string> names = table.table().key;
  const bool keyed = !names.empty();
  if (!keyed) names = table.table().schema->field_names();
  std::vector<std::string> values;
  for (const std::string& name : names) {
    if (!keyed && values.size() == kShownColumns) {
      values.emplace_back("…");
      break;
    }
    const auto value = ValueOrThrow(rows.GetColumnByName(name)->GetScalar(row));
    values.push_back(value->is_valid ? value->ToString() : "NULL");
  }
  return fmt::format("{}=({})", keyed ? "key" : "row", fmt::join(values, ", "));
}

/// Throws T3004 for the first row of which the CHECK is false.
void CheckRows(duckdb::ClientContext& context, LaminaTableEntry& table, db::Session& data,
               const duckdb::Constraint& constraint) {
  auto binder = duckdb::Binder::CreateBinder(context);
  const auto bound = binder->BindConstraint(constraint, table.name, table.GetColumns());
  duckdb::ExpressionExecutor executor(context,
                                      *bound->Cast<duckdb::BoundCheckConstraint>().expression);
  duckdb::vector<duckdb::LogicalType> types;
  for (const auto& column : table.GetColumns().Physical()) types.push_back(column.Type());
  const auto reader = AllRows(data, table.table());
  const int fields = table.table().schema->num_fields();
  for (;;) {
    if (context.IsInterrupted()) throw duckdb::InterruptException();
    const auto batch = ValueOrThrow(reader->Next());
    if (batch == nullptr) return;
    for (int64_t first = 0; first < batch->num_rows(); first += STANDARD_VECTOR_SIZE) {
      const int64_t count = std::min<int64_t>(STANDARD_VECTOR_SIZE, batch->num_rows() - first);
      duckdb::DataChunk chunk;
      chunk.Initialize(context, types);
      for (int i = 0; i < fields; ++i)
        ToVector(batch->column(i), first, count, &chunk.data[table.PhysicalOf(i)]);
      chunk.SetCardinality(static_cast<duckdb::idx_t>(count));
      duckdb::Vector result(duckdb::LogicalType::INTEGER, static_cast<duckdb::idx_t>(count));
      executor.ExecuteExpression(chunk, result);
      duckdb::UnifiedVectorFormat format;
      result.ToUnifiedFormat(static_cast<duckdb::idx_t>(count), format);
      const auto* passed = duckdb::UnifiedVectorFormat::GetData<int32_t>(format);
      for (int64_t row = 0; row < count; ++row) {
        const auto at = format.sel->get_index(static_cast<duckdb::idx_t>(row));
        if (!format.validity.RowIsValid(at) || passed[at] != 0) continue;  // unknown passes
        Throw(MakeSqlError(
            "T3004",
            fmt::format("a row that is there breaks the CHECK constraint: table={} check={} {}",
                        table.name, constraint.ToString(), RowText(table, *batch, first + row)),
            "UPDATE or DELETE such rows first"));
      }
    }
  }
}

/// Throws T3005 for a row whose reference is not there for all its valid time.
void CheckReferences(duckdb::ClientContext& context, LaminaTransaction& transaction,
                     const LaminaTableEntry& table) {
  ForeignKeyChecks checks(transaction, table);
  const auto reader = AllRows(transaction.data(), table.table());
  for (;;) {
    const auto batch = ValueOrThrow(reader->Next());
    if (batch == nullptr) return;
    WriteOptions valid;
    valid.valid_from = batch->GetColumnByName(catalog::kValidFromColumn);
    valid.valid_to = batch->GetColumnByName(catalog::kValidToColumn);
    checks.Written(*batch, valid, nullptr);
    checks.Check(context);
  }
}

enum class Kind : uint8_t { kCheck, kUnique, kForeignKey, kPrimaryKey, kNotNull };

/// A constraint that a table has, by the names that it answers to.
struct Existing {
  Kind kind = Kind::kCheck;
  size_t at = 0;       ///< Among the table's constraints, indexes or foreign keys.
  std::string column;  ///< Of NOT NULL.
  std::string name, other_name;

  bool Answers(const std::string& to) const {
    return duckdb::StringUtil::CIEquals(name, to) || duckdb::StringUtil::CIEquals(other_name, to);
  }
};

std::string ForeignKeyName(const std::string& table, const ForeignKey& key) {
  std::vector<std::string> columns = key.columns;
  columns.insert(columns.end(), key.referenced.begin(), key.referenced.end());
  return ConstraintName(table, columns, "fkey");
}

std::vector<Existing> ConstraintsOf(const LaminaTableEntry& table,
                                    const duckdb::CreateTableInfo& said) {
  std::vector<Existing> out;
  for (size_t i = 0; i < said.constraints.size(); ++i) {
    const auto& constraint = *said.constraints[i];
    if (constraint.type == duckdb::ConstraintType::CHECK) {
      const std::string name = NameOf(constraint);
      const std::string plain = DefaultNameOf(constraint, table.name);
      out.push_back({Kind::kCheck, i, "", name.empty() ? plain : name, ""});
    }
  }
  const auto& indexes = table.dependents().indexes;
  for (size_t i = 0; i < indexes.size(); ++i) {
    if (indexes[i].role != IndexDefinition::Role::kUnique) continue;
    out.push_back({Kind::kUnique, i, "", indexes[i].name,
                   ConstraintName(table.name, indexes[i].columns, "key")});
  }
  const auto& keys = table.dependents().foreign_keys;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (!keys[i].name.empty()) {
      out.push_back({Kind::kForeignKey, i, "", keys[i].name, ""});
    } else {
      out.push_back({Kind::kForeignKey, i, "", ForeignKeyName(table.name, keys[i]),
                     ConstraintName(table.name, keys[i].columns, "fkey")});
    }
  }
  const auto& key = table.table().key;
  if (!key.empty())
    out.push_back(
        {Kind::kPrimaryKey, 0, "", ConstraintName(table.name, key, "pkey"), table.name + "_pkey"});
  for (const auto& field : table.table().schema->fields()) {
    const bool is_key = std::find(key.begin(), key.end(), field->name()) != key.end();
    if (!is_key && catalog::RefusesNull(*field))
      out.push_back({Kind::kNotNull, 0, field->name(),
                     ConstraintName(table.name, {field->name()}, "not_null"), ""});
  }
  return out;
}

class Changer {
 public:
  Changer(duckdb::ClientContext& context, LaminaTableEntry& table, duckdb::CreateTableInfo* said)
      : context_(context),
        table_(table),
        lamina_(table.catalog.Cast<LaminaCatalog>()),
        transaction_(LaminaTransaction::Get(context, table.catalog)),
        data_(transaction_.data()),
        schema_(table.schema.name),
        stored_(table.table().name),
        said_(*said) {}

  void Add(const ChangeConstraintInfo& info) {
    const auto existing = ConstraintsOf(table_, said_);
    const std::string& name = info.change.name;
    if (std::any_of(existing.begin(), existing.end(),
                    [&](const Existing& of) { return !name.empty() && of.Answers(name); })) {
      Throw(MakeSqlError("T2011", fmt::format("a constraint exists already: table={} constraint={}",
                                              table_.name, name)));
    }
    // As CREATE TABLE would bind it: names, types, what a foreign key refers to.
    auto copy = said_.Copy();
    auto& with = copy->Cast<duckdb::CreateTableInfo>();
    std::erase_if(with.constraints, [](const auto& constraint) {
      return constraint->type == duckdb::ConstraintType::FOREIGN_KEY;
    });
    with.constraints.push_back(info.constraint->Copy());
    auto binder = duckdb::Binder::CreateBinder(context_);
    const auto bound = binder->BindCreateTableInfo(std::move(copy), table_.schema);
    const duckdb::Constraint& constraint = *bound->Base().constraints.back();
    switch (constraint.type) {
      case duckdb::ConstraintType::CHECK:
        CheckRows(context_, table_, data_, constraint);
        said_.constraints.push_back(constraint.Copy());
        // Who writes rows meanwhile does not know of it.
        return MarkTable(transaction_, stored_);
      case duckdb::ConstraintType::UNIQUE:
        return AddUnique(constraint.Cast<duckdb::UniqueConstraint>(), name);
      default:
        return AddForeignKey(constraint.Cast<duckdb::ForeignKeyConstraint>(), info);
    }
  }

  void Drop(const ConstraintChange& change) {
    std::vector<Existing> found;
    std::vector<std::string> names;
    for (const Existing& of : ConstraintsOf(table_, said_)) {
      if (of.kind != Kind::kPrimaryKey && of.kind != Kind::kNotNull) names.push_back(of.name);
      if (of.Answers(change.name)) found.push_back(of);
    }
    if (found.empty() && change.if_exists) return;
    if (found.empty()) {
      Throw(MakeSqlError("T2010",
                         fmt::format("constraint does not exist: table={} constraint={}",
                                     table_.name, change.name),
                         names.empty() ? "the table has none that could be dropped"
                                       : fmt::format("the table has {}", fmt::join(names, ", "))));
    }
    if (found.size() > 1) {
      Throw(MakeSqlError("T2015",
                         fmt::format("several constraints have this name: table={} constraint={}",
                                     table_.name, change.name),
                         "they were made without names of their own, and so have to go with the "
                         "table: CREATE TABLE … AS, then DROP"));
    }
    switch (found[0].kind) {
      case Kind::kCheck:
        said_.constraints.erase(said_.constraints.begin() + static_cast<ptrdiff_t>(found[0].at));
        return MarkTable(transaction_, stored_);
      case Kind::kUnique:
        return DropUnique(table_.dependents().indexes[found[0].at], change.cascade);
      case Kind::kForeignKey:
        return DropForeignKey(table_.dependents().foreign_keys[found[0].at]);
      case Kind::kNotNull:
        return DropNotNull(context_, table_, found[0].column);
      case Kind::kPrimaryKey:
        Throw(MakeSqlError("T4009", "the primary key of a table cannot be dropped: " + table_.name,
                           "make another table without it and INSERT … SELECT"));
    }
  }

 private:
  std::vector<std::string> Exact(const duckdb::ColumnList& columns,
                                 const duckdb::vector<duckdb::string>& names) const {
    std::vector<std::string> out;
    for (const auto& of : names) out.push_back(columns.GetColumn(of).Name());
    return out;
  }

  void AddUnique(const duckdb::UniqueConstraint& unique, const std::string& name) {
    IndexDefinition index;
    for (const auto& at : unique.GetLogicalIndexes(table_.GetColumns())) {
      const auto& column = table_.GetColumn(table_.GetColumns().GetColumn(at).Name());
      if (column.Generated())
        Throw(MakeSqlError("T4009", "UNIQUE cannot be of a generated column: " + column.Name()));
      if (!IsKeyable(column.Type())) {
        Throw(MakeSqlError("T2015", fmt::format("UNIQUE cannot be of this type: column={} type={}",
                                                column.Name(), column.Type().ToString())));
      }
      index.columns.push_back(column.Name());
    }
    const auto& indexes = table_.dependents().indexes;
    const bool there =
        index.columns == table_.table().key ||
        std::any_of(indexes.begin(), indexes.end(), [&](const auto& other) {
          return other.role == IndexDefinition::Role::kUnique && other.columns == index.columns;
        });
    if (there) {
      Throw(
          MakeSqlError("T2011", fmt::format("a key or UNIQUE constraint over these columns exists "
                                            "already: table={} columns=({})",
                                            table_.name, fmt::join(index.columns, ", "))));
    }
    index.name = name.empty() ? ConstraintName(table_.name, index.columns, "key") : name;
    index.named = !name.empty();
    index.role = IndexDefinition::Role::kUnique;
    index.unique = true;
    const Status status = AtDuckDBBorder("", 0, [&]() -> Status {
      MakeIndex(context_, lamina_, schema_, stored_, std::move(index));
      return Status::OK();
    });
    if (status.ok()) return;
    if (SqlErrorOf(status) == nullptr || SqlErrorOf(status)->code != "T3002") Throw(status);
    const std::string message(MessageOf(status));
    Throw(MakeSqlError("T3002",
                       "rows that are there have equal values: " +
                           message.substr(std::min(message.find("table="), message.size())),
                       "UPDATE or DELETE all but one of such rows first"));
  }

  void AddForeignKey(const duckdb::ForeignKeyConstraint& constraint,
                     const ChangeConstraintInfo& info) {
    const bool self = duckdb::StringUtil::CIEquals(constraint.info.table, table_.name);
    const LaminaTableEntry* target = &table_;
    if (!self) {
      target = &duckdb::Catalog::GetEntry(context_, table_.catalog.GetName(), schema_,
                                          {duckdb::CatalogType::TABLE_ENTRY, constraint.info.table},
                                          duckdb::OnEntryNotFound::THROW_EXCEPTION)
                    ->Cast<LaminaTableEntry>();
    }
    ForeignKey foreign;
    foreign.name = info.change.name;
    foreign.on_delete = info.actions.on_delete;
    foreign.on_update = info.actions.on_update;
    foreign.table = table_.table().id;
    foreign.references = target->table().id;
    foreign.columns = Exact(table_.GetColumns(), constraint.fk_columns);
    foreign.referenced = Exact(target->GetColumns(), constraint.pk_columns);
    IndexDefinition index;
    index.name = ConstraintName(table_.name, foreign.columns, "fkey");
    index.role = IndexDefinition::Role::kForeignKey;
    index.columns = foreign.columns;
    const std::string target_stored = target->table().name;
    MakeIndex(context_, lamina_, schema_, stored_, std::move(index));
    const uint64_t id = foreign.table;
    PutForeignKey(context_, lamina_, schema_, std::move(foreign));
    // Who deletes rows of it must know of the new foreign key.
    MarkTable(transaction_, target_stored);
    CheckReferences(context_, transaction_, *transaction_.definitions().FindTable(id));
  }

  void DropUnique(const IndexDefinition& index, bool cascade) {
    for (const ForeignKey& key : table_.dependents().referenced_by) {
      if (key.referenced != index.columns) continue;
      if (!cascade) {
        Throw(MakeSqlError(
            "T2013",
            fmt::format("a foreign key refers to these columns: table={} constraint={} "
                        "referenced by={}",
                        table_.name, index.name,
                        transaction_.definitions().FindTable(key.table)->name),
            "DROP CONSTRAINT … CASCADE drops the foreign key too"));
      }
    }
    // By value: what they lie in changes with the definitions.
    const IndexDefinition dropped = index;
    const std::vector<ForeignKey> keys = table_.dependents().referenced_by;
    for (const ForeignKey& key : keys)
      if (key.referenced == dropped.columns) DropForeignKey(key);
    DropIndex(context_, lamina_, schema_, stored_, dropped);
  }

  void DropForeignKey(const ForeignKey& key) {
    const LaminaTableEntry& from = *transaction_.definitions().FindTable(key.table);
    const std::string referring = from.table().name;
    const std::string referenced =
        transaction_.definitions().FindTable(key.references)->table().name;
    const ForeignKey dropped = key;
    for (const IndexDefinition& index : from.dependents().indexes) {
      if (index.role != IndexDefinition::Role::kForeignKey || index.columns != dropped.columns)
        continue;
      ThrowIfError(data_.DropTable(index.storage));
      lamina_.DeleteObject(context_, IndexObjectKey(from.schema.name, index));
      break;
    }
    lamina_.DeleteObject(context_, dropped.object);
    transaction_.DefinitionsChanged();
    MarkTable(transaction_, referring);
    if (referenced != referring) MarkTable(transaction_, referenced);
  }

  duckdb::ClientContext& context_;
  LaminaTableEntry& table_;
  LaminaCatalog& lamina_;
  LaminaTransaction& transaction_;
  db::Session& data_;
  const std::string schema_;
  const std::string stored_;
  duckdb::CreateTableInfo& said_;
};

}  // namespace

std::optional<ConstraintChange> TakeConstraintChange(const StatementSpan& span,
                                                     std::string* statement) {
  return ChangeTaker(span, statement).Run();
}

Status PutConstraintChange(duckdb::ClientContext& context, const ConstraintChange& change,
                           duckdb::SQLStatement& statement) {
  if (statement.type != duckdb::StatementType::ALTER_STATEMENT) return Status::OK();
  auto& info = statement.Cast<duckdb::AlterStatement>().info;
  bool ours = true;
  context.RunFunctionInTransaction([&] {
    std::string catalog = info->catalog;
    std::string schema = info->schema;
    duckdb::Binder::BindSchemaOrCatalog(context, catalog, schema);
    auto entry = duckdb::Catalog::GetEntry(context, catalog, schema,
                                           {duckdb::CatalogType::TABLE_ENTRY, info->name},
                                           duckdb::OnEntryNotFound::RETURN_NULL);
    ours = entry == nullptr || entry->ParentCatalog().GetCatalogType() == "lamina";
  });
  if (!ours) {
    return MakeSqlError("T4009",
                        "constraints are added to and dropped from the tables of the database, not "
                        "DuckDB's");
  }
  auto out = duckdb::make_uniq<ChangeConstraintInfo>(
      duckdb::AlterEntryData(info->catalog, info->schema, info->name, info->if_not_found), change);
  if (!change.added.empty())
    std::tie(out->constraint, out->actions) = ParseConstraint(context, change);
  info = std::move(out);
  return Status::OK();
}

ChangeConstraintInfo::ChangeConstraintInfo(duckdb::AlterEntryData data, ConstraintChange of)
    : AlterTableInfo(duckdb::AlterTableType::INVALID, std::move(data)), change(std::move(of)) {}

duckdb::unique_ptr<duckdb::AlterInfo> ChangeConstraintInfo::Copy() const {
  auto out = duckdb::make_uniq<ChangeConstraintInfo>(
      duckdb::AlterEntryData(catalog, schema, name, if_not_found), change);
  if (constraint != nullptr) out->constraint = constraint->Copy();
  out->actions = actions;
  return out;
}

std::string ChangeConstraintInfo::ToString() const {
  if (constraint != nullptr)
    return fmt::format("ALTER TABLE {} ADD {}", Quoted(name), constraint->ToString());
  return fmt::format("ALTER TABLE {} DROP CONSTRAINT {}{}{}", Quoted(name),
                     change.if_exists ? "IF EXISTS " : "", Quoted(change.name),
                     change.cascade ? " CASCADE" : "");
}

void ChangeConstraint(duckdb::ClientContext& context, LaminaTableEntry& table,
                      const ChangeConstraintInfo& info, duckdb::CreateTableInfo* said) {
  Changer changer(context, table, said);
  if (info.constraint != nullptr) {
    changer.Add(info);
  } else {
    changer.Drop(info.change);
  }
}

NeedOfType WhatNeedsTheTypeOf(duckdb::ClientContext& context, LaminaTableEntry& table,
                              const std::string& column) {
  const auto in = [&](const std::vector<std::string>& columns) {
    return std::find(columns.begin(), columns.end(), column) != columns.end();
  };
  const auto drop = [](const std::string& from, const std::string& name) {
    return fmt::format("ALTER TABLE {} DROP CONSTRAINT {}", Quoted(from), Quoted(name));
  };
  const Dependents& dependents = table.dependents();
  for (const auto* keys : {&dependents.referenced_by, &dependents.foreign_keys}) {
    for (const ForeignKey& key : *keys) {
      const bool referenced = keys == &dependents.referenced_by;
      if (!in(referenced ? key.referenced : key.columns)) continue;
      const std::string from =
          LaminaTransaction::Get(context, table.catalog).definitions().FindTable(key.table)->name;
      return {key.table == table.table().id ? "a foreign key" : "a foreign key of another table",
              drop(from, key.name.empty() ? ForeignKeyName(from, key) : key.name)};
    }
  }
  for (const IndexDefinition& index : dependents.indexes) {
    if (!in(index.columns)) continue;
    switch (index.role) {
      case IndexDefinition::Role::kIndex:
        return {"the index " + index.name, "DROP INDEX " + Quoted(index.name)};
      case IndexDefinition::Role::kUnique:
        return {"a UNIQUE constraint", drop(table.name, index.name)};
      case IndexDefinition::Role::kForeignKey:
        break;  // its foreign key was there above
    }
  }
  return {};
}

}  // namespace lamina::sql
