// ALTER and COMMENT of what a schema holds, and what goes with a column.
#include <algorithm>

#include <duckdb/common/enums/catalog_type.hpp>
#include <duckdb/parser/constraints/check_constraint.hpp>
#include <duckdb/parser/constraints/unique_constraint.hpp>
#include <duckdb/parser/parsed_data/alter_table_info.hpp>
#include <duckdb/parser/parsed_data/comment_on_column_info.hpp>
#include <duckdb/parser/parsed_data/create_table_info.hpp>
#include <duckdb/parser/parsed_data/create_view_info.hpp>
#include <fmt/format.h>

#include "sql/alter_column.h"
#include "sql/alter_constraint.h"
#include "sql/dependents.h"
#include "sql/error_translation.h"
#include "sql/index_entry.h"
#include "sql/materialized_view.h"
#include "sql/schema_entry.h"
#include "sql/schema_entry_internal.h"
#include "sql/session_state.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"
#include "sql/trigger.h"
#include "sql/view_dependents.h"

namespace lamina::sql {

using duckdb::CatalogType;

void LaminaSchemaEntry::DropDependentsOfColumn(duckdb::ClientContext& context,
                                               const LaminaTableEntry& table,
                                               const std::string& column, bool cascade) {
  auto& ours = LaminaTransaction::Get(context, catalog);
  const Dependents dependents = table.dependents();
  const std::string stored = table.table().name;
  const auto has = [&](const std::vector<std::string>& columns) {
    return std::find(columns.begin(), columns.end(), column) != columns.end();
  };
  const auto refuse = [&](const std::string& what) {
    if (cascade) return;
    Throw(MakeSqlError(
        "T2013", fmt::format("{} needs this column: table={} column={}", what, table.name, column),
        "DROP COLUMN … CASCADE drops it too"));
  };
  std::vector<std::string> others;
  const auto drop_key = [&](const ForeignKey& key) {
    const LaminaTableEntry& from = *ours.definitions().FindTable(key.table);
    others.push_back(from.table().name);
    others.push_back(ours.definitions().FindTable(key.references)->table().name);
    for (const IndexDefinition& index : from.dependents().indexes) {
      if (index.role != IndexDefinition::Role::kForeignKey || index.columns != key.columns)
        continue;
      ThrowIfError(ours.data().DropTable(index.storage));
      lamina().DeleteObject(context, IndexObjectKey(from.schema.name, index));
      break;
    }
    lamina().DeleteObject(context, key.object);
  };
  for (const ForeignKey& key : dependents.referenced_by) {
    if (!has(key.referenced)) continue;
    refuse("a foreign key of another table");
    drop_key(key);
  }
  for (const ForeignKey& key : dependents.foreign_keys) {
    const bool gone = key.references == key.table && has(key.referenced);
    if (!has(key.columns) || gone) continue;
    refuse("a foreign key");
    drop_key(key);
  }
  for (const IndexDefinition& index : dependents.indexes) {
    if (!has(index.columns) || index.role == IndexDefinition::Role::kForeignKey) continue;
    refuse(index.role == IndexDefinition::Role::kUnique ? "a UNIQUE constraint"
                                                        : "the index " + index.name);
    DropIndex(context, lamina(), name, stored, index);
  }
  std::sort(others.begin(), others.end());
  others.erase(std::unique(others.begin(), others.end()), others.end());
  for (const std::string& other : others) MarkTable(ours, other);
}

void LaminaSchemaEntry::Alter(duckdb::CatalogTransaction transaction, duckdb::AlterInfo& info) {
  auto& context = transaction.GetContext();
  Entries& entries = Current(context).Of(info.GetCatalogType());
  const auto it = entries.find(info.name);
  if (it == entries.end()) {
    if (info.if_not_found == duckdb::OnEntryNotFound::RETURN_NULL) return;
    Throw(MakeSqlError(
        "T2001", fmt::format("{} does not exist: {}", KindOf(info.GetCatalogType()), info.name)));
  }
  if (it->second->type == CatalogType::TABLE_ENTRY)
    CheckMayAlter(it->second->Cast<LaminaTableEntry>(), info);
  if (info.type == duckdb::AlterType::ALTER_TABLE && it->second->type == CatalogType::TABLE_ENTRY) {
    return AlterTable(context, info.Cast<duckdb::AlterTableInfo>());
  }
  if (it->second->type == CatalogType::TABLE_ENTRY) {
    auto said = it->second->GetInfo();
    auto& table = said->Cast<duckdb::CreateTableInfo>();
    if (info.type == duckdb::AlterType::SET_COMMENT) {
      table.comment = info.Cast<duckdb::SetCommentInfo>().comment_value;
    } else if (info.type == duckdb::AlterType::SET_COLUMN_COMMENT) {
      const auto& change = info.Cast<duckdb::SetColumnCommentInfo>();
      if (!table.columns.ColumnExists(change.column_name)) {
        Throw(MakeSqlError("T2002", fmt::format("column does not exist: table={} column={}",
                                                it->second->name, change.column_name)));
      }
      duckdb::ColumnList columns;
      for (const auto& column : table.columns.Logical()) {
        auto copy = column.Copy();
        if (duckdb::StringUtil::CIEquals(copy.Name(), change.column_name))
          copy.SetComment(change.comment_value);
        columns.AddColumn(std::move(copy));
      }
      table.columns = std::move(columns);
    } else {
      ThrowUnsupported("this change of a table is not there yet: " + info.ToString());
    }
    lamina().PutObject(context, LaminaCatalog::ObjectKey("table", name, it->second->name),
                       DescribeTable(table));
    return;
  }
  if (it->second->type == CatalogType::INDEX_ENTRY && info.type == duckdb::AlterType::SET_COMMENT) {
    const auto& entry = it->second->Cast<LaminaIndexEntry>();
    IndexDefinition index = entry.index();
    const auto& comment = info.Cast<duckdb::SetCommentInfo>().comment_value;
    index.comment = comment.IsNull() ? "" : comment.ToString();
    const auto& table = Current(context).relations_.at(entry.GetTableName());
    return ChangeIndex(context, lamina(), name, table->Cast<LaminaTableEntry>().table().name,
                       index);
  }
  if (it->second->type == CatalogType::SEQUENCE_ENTRY)
    return AlterSequence(context, it->second->Cast<LaminaSequenceEntry>(), info);
  if (info.type == duckdb::AlterType::SET_COMMENT ||
      (info.type == duckdb::AlterType::SET_COLUMN_COMMENT &&
       it->second->type == CatalogType::VIEW_ENTRY))
    return Comment(context, *it->second, info);
  // DuckDB's other entries end the instance when they are asked for a change they do not know.
  if (it->second->type != CatalogType::VIEW_ENTRY)
    ThrowUnsupported("this change of an object is not there yet: " + info.ToString());
  auto altered = it->second->AlterEntry(context, info);
  if (altered == nullptr)
    ThrowUnsupported("this change of a view is not there yet: " + info.ToString());
  const auto type = it->second->type;
  const std::string old_name = it->second->name;
  nlohmann::json definition =
      lamina().GetObject(context, LaminaCatalog::ObjectKey(KindOf(type), name, old_name));
  definition["sql"] = Text(*altered->GetInfo());
  if (altered->name != old_name)
    lamina().DeleteObject(context, LaminaCatalog::ObjectKey(KindOf(type), name, old_name));
  lamina().PutObject(context, LaminaCatalog::ObjectKey(KindOf(type), name, altered->name),
                     definition);
}

void LaminaSchemaEntry::Comment(duckdb::ClientContext& context, duckdb::CatalogEntry& entry,
                                duckdb::AlterInfo& info) {
  const std::string key = LaminaCatalog::ObjectKey(KindOf(entry.type), name, entry.name);
  nlohmann::json definition = lamina().GetObject(context, key);
  if (info.type == duckdb::AlterType::SET_COMMENT) {
    const duckdb::Value& comment = info.Cast<duckdb::SetCommentInfo>().comment_value;
    definition.erase("comment");
    if (!comment.IsNull()) definition["comment"] = comment.ToString();
  } else {
    const auto& change = info.Cast<duckdb::SetColumnCommentInfo>();
    auto& view = entry.Cast<duckdb::ViewCatalogEntry>();
    view.BindView(context);
    const auto columns = view.GetColumnInfo();
    const auto is_it = [&](const std::string& column) {
      return duckdb::StringUtil::CIEquals(column, change.column_name);
    };
    const auto found = std::find_if(columns->names.begin(), columns->names.end(), is_it);
    if (found == columns->names.end()) {
      Throw(MakeSqlError("T2002", fmt::format("column does not exist: view={} column={}",
                                              entry.name, change.column_name)));
    }
    auto& comments = definition["column_comments"];
    if (change.comment_value.IsNull()) {
      if (comments.is_object()) comments.erase(*found);
    } else {
      comments[*found] = change.comment_value.ToString();
    }
    if (comments.empty()) definition.erase("column_comments");
  }
  lamina().PutObject(context, key, definition);
}

void LaminaSchemaEntry::AlterTable(duckdb::ClientContext& context, duckdb::AlterTableInfo& info) {
  auto& entry = Current(context).Of(CatalogType::TABLE_ENTRY)[info.name]->Cast<LaminaTableEntry>();
  auto& ours = LaminaTransaction::Get(context, catalog);
  db::Session& data = ours.data();
  const std::string stored = entry.table().name;
  auto said_owner = entry.GetInfo();
  auto& said = said_owner->Cast<duckdb::CreateTableInfo>();
  std::string new_name = entry.name;
  const auto check_column = [&](const std::string& column) {
    if (entry.ColumnExists(column)) return;
    Throw(MakeSqlError(
        "T2002", fmt::format("column does not exist: table={} column={}", entry.name, column)));
  };
  // The columns once more, with a change.
  const auto rebuild = [&](const std::function<void(duckdb::ColumnDefinition&)>& change,
                           const std::string& without = {}) {
    duckdb::ColumnList columns;
    for (const auto& column : said.columns.Logical()) {
      if (duckdb::StringUtil::CIEquals(column.Name(), without)) continue;
      auto copy = column.Copy();
      if (change != nullptr) change(copy);
      columns.AddColumn(std::move(copy));
    }
    said.columns = std::move(columns);
  };
  const auto check_not_generated = [&](const std::string& column) {
    if (!entry.GetColumn(column).Generated()) return;
    ThrowUnsupported(
        fmt::format("a generated column cannot be changed: table={} column={}", entry.name, column),
        "drop it, and make the table anew with it");
  };
  // CHECKs and what generates columns, as they will be kept.
  const auto for_each_expression =
      [&](const std::function<void(duckdb::ParsedExpression&)>& visit) {
        for (const auto& constraint : said.constraints) {
          if (constraint->type == duckdb::ConstraintType::CHECK)
            visit(*constraint->Cast<duckdb::CheckConstraint>().expression);
        }
        for (const auto& column : said.columns.Logical()) {
          if (column.Generated())
            visit(said.columns.GetColumnMutable(column.Logical()).GeneratedExpressionMutable());
        }
      };
  std::optional<WorkingViews> views;  // of a column that is dropped
  using duckdb::AlterTableType;
  switch (info.alter_table_type) {
    case AlterTableType::RENAME_TABLE: {
      new_name = info.Cast<duckdb::RenameTableInfo>().new_table_name;
      if (Current(context).Of(CatalogType::TABLE_ENTRY).count(new_name) != 0 &&
          !duckdb::StringUtil::CIEquals(new_name, entry.name))
        Throw(MakeSqlError("T2003", "a table or view exists already: " + new_name));
      CheckName(new_name);
      ForOwnedSequences(context, stored, [&](LaminaSchemaEntry& in, LaminaSequenceEntry& of) {
        in.PutSequence(context, of.Definition(), of.handle().id,
                       {TableName(name, new_name), of.always()});
      });
      ThrowIfError(data.RenameTable(stored, TableName(name, new_name)));
      said.table = new_name;
      for_each_expression([&](duckdb::ParsedExpression& expression) {
        if (!entry.ColumnExists(entry.name)) RenameTableIn(expression, entry.name, new_name);
      });
      break;
    }
    case AlterTableType::RENAME_COLUMN: {
      const auto& rename = info.Cast<duckdb::RenameColumnInfo>();
      check_column(rename.old_name);
      if (entry.ColumnExists(rename.new_name))
        Throw(MakeSqlError("T2011", "column exists already: " + rename.new_name));
      const std::string old_name = entry.GetColumn(rename.old_name).Name();
      if (!entry.GetColumn(old_name).Generated())
        ThrowIfError(data.RenameColumn(stored, old_name, rename.new_name));
      const auto renamed = [&](std::vector<std::string> columns) {
        std::replace(columns.begin(), columns.end(), old_name, rename.new_name);
        return columns;
      };
      for (IndexDefinition index : entry.dependents().indexes) {
        index.columns = renamed(std::move(index.columns));
        ChangeIndex(context, lamina(), name, stored, index);
      }
      RenameColumnInTriggers(context, lamina(), entry, old_name, rename.new_name);
      for (ForeignKey key : entry.dependents().foreign_keys) {
        key.columns = renamed(std::move(key.columns));
        if (key.references == key.table) key.referenced = renamed(std::move(key.referenced));
        PutForeignKey(context, lamina(), name, std::move(key));
      }
      for (ForeignKey key : entry.dependents().referenced_by) {
        if (key.references == key.table) continue;
        key.referenced = renamed(std::move(key.referenced));
        PutForeignKey(context, lamina(), name, std::move(key));
      }
      rebuild([&](duckdb::ColumnDefinition& column) {
        if (column.Name() == old_name) column.SetName(rename.new_name);
      });
      for_each_expression([&](duckdb::ParsedExpression& expression) {
        RenameColumnIn(expression, entry.name, old_name, rename.new_name);
      });
      break;
    }
    case AlterTableType::ADD_COLUMN: {
      auto& add = info.Cast<duckdb::AddColumnInfo>();
      const std::string column = add.new_column.Name();
      if (entry.ColumnExists(column)) {
        if (add.if_column_not_exists) return;
        Throw(MakeSqlError(
            "T2011", fmt::format("column exists already: table={} column={}", entry.name, column)));
      }
      if (add.new_column.Generated())
        ThrowUnsupported("generated columns cannot be added to a table",
                         "make the table with them");
      duckdb::ColumnDefinition added = add.new_column.Copy();
      const ColumnClauses clauses = ClausesOf(context);
      const auto clause = clauses.find(duckdb::StringUtil::Lower(column));
      const bool said_more = clause != clauses.end();
      if (said_more && clause->second.sequence.has_value())
        CreateColumnSequence(context, entry.name, added, clause->second);
      AddColumn(context, entry, added, said_more && clause->second.not_null);
      said.columns.AddColumn(std::move(added));
      break;
    }
    case AlterTableType::REMOVE_COLUMN: {
      const auto& remove = info.Cast<duckdb::RemoveColumnInfo>();
      if (!entry.ColumnExists(remove.removed_column) && remove.if_column_exists) return;
      check_column(remove.removed_column);
      views.emplace(context, lamina(), entry.name);
      const std::string column = entry.GetColumn(remove.removed_column).Name();
      for (const std::string& key : entry.table().key) {
        if (key == column)
          Throw(MakeSqlError("T2013", "a column of the primary key cannot be dropped: " + column));
      }
      for_each_expression([&](duckdb::ParsedExpression& expression) {
        if (!NamesColumn(expression, entry.name, column)) return;
        Throw(MakeSqlError("T2013",
                           fmt::format("a CHECK constraint or generated column needs the column "
                                       "that is to be dropped: table={} column={} expression={}",
                                       entry.name, column, expression.ToString())));
      });
      if (said.columns.GetColumn(column).Generated()) {
        rebuild(nullptr, column);
        break;
      }
      DropDependentsOfColumn(context, entry, column, remove.cascade);
      DropTriggersOfColumn(context, lamina(), entry, column, remove.cascade);
      ThrowIfError(data.DropColumn(stored, column));
      rebuild(nullptr, column);
      break;
    }
    case AlterTableType::ALTER_COLUMN_TYPE: {
      const auto& change = info.Cast<duckdb::ChangeColumnTypeInfo>();
      check_column(change.column_name);
      const std::string column = entry.GetColumn(change.column_name).Name();
      check_not_generated(column);
      if (const auto need = WhatNeedsTheTypeOf(context, entry, column); !need.what.empty()) {
        Throw(MakeSqlError("T2013",
                           fmt::format("{} needs the type of this column: table={} column={}",
                                       need.what, entry.name, column),
                           need.drop + ", change the type, and make it again"));
      }
      ChangeType(context, entry, column, change.target_type, change.expression.get());
      rebuild([&](duckdb::ColumnDefinition& of) {
        if (of.Name() == column) of.SetType(change.target_type);
      });
      break;
    }
    case AlterTableType::SET_DEFAULT: {
      const auto& change = info.Cast<duckdb::SetDefaultInfo>();
      check_column(change.column_name);
      check_not_generated(change.column_name);
      rebuild([&](duckdb::ColumnDefinition& of) {
        if (!duckdb::StringUtil::CIEquals(of.Name(), change.column_name)) return;
        of.SetDefaultValue(change.expression == nullptr ? nullptr : change.expression->Copy());
        CheckDefault(context, entry, of);
      });
      break;
    }
    case AlterTableType::SET_NOT_NULL: {
      const auto& change = info.Cast<duckdb::SetNotNullInfo>();
      check_column(change.column_name);
      check_not_generated(change.column_name);
      const ColumnClauses clauses = ClausesOf(context);
      const auto clause = clauses.find(duckdb::StringUtil::Lower(change.column_name));
      if (clause != clauses.end() && clause->second.always.has_value()) {
        SetIdentity(context, entry, change.column_name, *clause->second.always);
        break;
      }
      SetNotNull(context, entry, entry.GetColumn(change.column_name).Name());
      break;
    }
    case AlterTableType::DROP_NOT_NULL: {
      const auto& change = info.Cast<duckdb::DropNotNullInfo>();
      check_column(change.column_name);
      check_not_generated(change.column_name);
      DropNotNull(context, entry, entry.GetColumn(change.column_name).Name());
      break;
    }
    default: {
      const auto* change = dynamic_cast<const ChangeConstraintInfo*>(&info);
      if (change == nullptr) ThrowUnsupported("this ALTER TABLE is not there yet");
      ChangeConstraint(context, entry, *change, &said);
      break;
    }
  }
  // NOT NULL and the key count columns, which may have moved: what the database says of them holds.
  for (auto it = said.constraints.begin(); it != said.constraints.end();) {
    const bool from_below = (*it)->type == duckdb::ConstraintType::NOT_NULL ||
                            ((*it)->type == duckdb::ConstraintType::UNIQUE &&
                             (*it)->Cast<duckdb::UniqueConstraint>().IsPrimaryKey());
    it = from_below ? said.constraints.erase(it) : it + 1;
  }
  ours.DefinitionsChanged();
  if (new_name != entry.name)
    lamina().DeleteObject(context, LaminaCatalog::ObjectKey("table", name, entry.name));
  lamina().PutObject(context, LaminaCatalog::ObjectKey("table", name, new_name),
                     DescribeTable(said));
  if (views) {
    const auto& remove = info.Cast<duckdb::RemoveColumnInfo>();
    views->Check(context, "column", remove.removed_column, remove.cascade);
  }
}

}  // namespace lamina::sql
