#include "sql/trigger_runner.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <arrow/api.h>
#include <duckdb/common/types/column/column_data_collection.hpp>
#include <duckdb/main/materialized_query_result.hpp>
#include <duckdb/parser/expression/columnref_expression.hpp>
#include <duckdb/parser/expression/star_expression.hpp>
#include <duckdb/parser/expression/subquery_expression.hpp>
#include <duckdb/parser/parsed_data/create_view_info.hpp>
#include <duckdb/parser/query_node/select_node.hpp>
#include <duckdb/parser/statement/create_statement.hpp>
#include <duckdb/parser/statement/explain_statement.hpp>
#include <duckdb/parser/statement/select_statement.hpp>
#include <duckdb/parser/tableref/emptytableref.hpp>
#include <duckdb/parser/tableref/subqueryref.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sql/error_translation.h"
#include "sql/hold_rows.h"
#include "sql/identity.h"
#include "sql/strict_mode.h"
#include "sql/transaction.h"
#include "sql/trigger.h"
#include "sql/trigger_body.h"
#include "sql/trigger_events.h"
#include "sql/trigger_session.h"
#include "sql/vectors.h"

namespace lamina::sql {
namespace {

using duckdb::ColumnDataCollection;
using duckdb::DataChunk;
using duckdb::idx_t;
using Rows = duckdb::unique_ptr<ColumnDataCollection>;

duckdb::vector<duckdb::LogicalType> TransitionTypes(const LaminaTableEntry& table) {
  duckdb::vector<duckdb::LogicalType> out;
  for (int side = 0; side < 2; ++side) {
    for (const auto& column : table.GetColumns().Logical()) out.push_back(column.Type());
  }
  return out;
}

duckdb::unique_ptr<duckdb::SelectStatement> Select(
    duckdb::vector<duckdb::unique_ptr<duckdb::ParsedExpression>> list,
    duckdb::unique_ptr<duckdb::TableRef> from) {
  auto node = duckdb::make_uniq<duckdb::SelectNode>();
  node->select_list = std::move(list);
  node->from_table = std::move(from);
  auto out = duckdb::make_uniq<duckdb::SelectStatement>();
  out->node = std::move(node);
  return out;
}

/// Puts one side of the rows into the columns from `first` on; nothing is NULL.
void FillSide(const LaminaTableEntry& table, const std::shared_ptr<arrow::RecordBatch>& rows,
              int64_t offset, int64_t count, idx_t first, DataChunk* chunk) {
  for (const auto& column : table.GetColumns().Logical()) {
    auto& vector = chunk->data[first + column.Logical().index];
    const auto values =
        rows == nullptr || column.Generated() ? nullptr : rows->GetColumnByName(column.Name());
    if (values == nullptr) {
      vector.Reference(duckdb::Value(column.Type()));
    } else {
      ToVector(values, offset, count, &vector);
    }
  }
}

class Firing {
 public:
  Firing(duckdb::ClientContext& outer, const LaminaTableEntry& table)
      : outer_(outer),
        table_(table),
        session_(TriggerSession::Of(outer)),
        names_(TransitionNames(table)) {}

  void Run(const TableEvent& event) {
    const auto& triggers = table_.dependents().triggers;
    const auto fires = [&](const TriggerDefinition& trigger) {
      if (!trigger.Has(event.kind)) return false;
      if (event.kind != TriggerEvent::kUpdate || trigger.columns.empty()) return true;
      return std::any_of(trigger.columns.begin(), trigger.columns.end(), [&](const auto& column) {
        return std::find(event.columns.begin(), event.columns.end(), column) != event.columns.end();
      });
    };
    // Those for rows come first, as in PostgreSQL.
    std::vector<const TriggerDefinition*> firing;
    for (const bool each_row : {true, false}) {
      for (const TriggerDefinition& trigger : triggers) {
        if (trigger.each_row == each_row && fires(trigger) && (!each_row || !event.rows.empty()))
          firing.push_back(&trigger);
      }
    }
    if (firing.empty()) return;
    session_.In(outer_, table_, [&] {
      const Rows rows = Collect(event.rows);
      for (const TriggerDefinition* trigger : firing) {
        try {
          RunOne(*trigger, *rows);
        } catch (const duckdb::InterruptException&) {
          throw;
        } catch (const std::exception& e) {
          ThrowFor(*trigger, e);
        }
      }
    });
  }

  void Check(const TriggerStatement& statement) {
    const TriggerDefinition& trigger = statement.definition;
    session_.In(outer_, table_, [&] {
      const Rows rows = Collect({});
      ShowTables(trigger, *rows);
      if (!trigger.when.empty()) {
        CheckText(trigger.when, statement.when_at, trigger,
                  [&](const TriggerText& bound) { (void)Filter(bound, *rows); });
      }
      for (size_t i = 0; i < trigger.statements.size(); ++i) {
        CheckText(trigger.statements[i], statement.statements_at[i], trigger,
                  [&](const TriggerText& bound) {
                    auto body = Parse(bound.text);
                    TriggerValues values;
                    for (const std::string& parameter : bound.parameters)
                      values[parameter] = duckdb::BoundParameterData(
                          duckdb::Value(rows->Types()[NumberOf(parameter)]));
                    // Plans it, and runs nothing.
                    auto explain = duckdb::make_uniq<duckdb::ExplainStatement>(std::move(body));
                    explain->named_param_map = explain->stmt->named_param_map;
                    (void)session_.Run(std::move(explain), std::move(values));
                  });
      }
      HideTables(trigger);
    });
  }

 private:
  size_t NumberOf(const std::string& name) const {
    return static_cast<size_t>(std::find(names_.begin(), names_.end(), name) - names_.begin());
  }

  [[noreturn]] void ThrowFor(const TriggerDefinition& trigger, const std::exception& e) const {
    const Status status = FromDuckDB(duckdb::ErrorData(e), "", 0);
    std::string message = MessageOf(status);
    // The innermost says which it was.
    if (message.find(" trigger=") == std::string::npos)
      message += fmt::format(" trigger={} table={}", trigger.name, table_.name);
    Throw(MakeSqlError(SqlErrorOf(status)->code, std::move(message), std::string(HintOf(status))));
  }

  /// `at`: where the text stands in what was given to the session, or npos.
  template <typename Use>
  void CheckText(const std::string& original, size_t at, const TriggerDefinition& trigger,
                 Use&& use) {
    const bool shown = at != std::string_view::npos;
    const auto placed = [&](const Status& status, const auto& to_original) {
      const SqlError& error = *SqlErrorOf(status);
      std::optional<size_t> position;
      if (shown && error.position) position = at + to_original(*error.position);
      std::string hint(HintOf(status));
      // DuckDB would offer the columns of the rows by the names they have here.
      if (error.code == "T2002" && hint.find("n0") != std::string::npos)
        hint = "columns of the table are NEW.column and OLD.column";
      return MakeSqlError(error.code, MessageOf(status), std::move(hint), position);
    };
    const Result<TriggerText> bound = BindTransition(original, table_, trigger);
    if (!bound.ok()) Throw(placed(bound.status(), [](size_t position) { return position; }));
    session_.Saying(bound->text);
    try {
      use(*bound);
    } catch (const std::exception& e) {
      Throw(placed(FromDuckDB(duckdb::ErrorData(e), bound->text, 0),
                   [&](size_t position) { return bound->ToOriginal(position); }));
    }
  }

  Rows Collect(const std::vector<RowsOfEvent>& rows) {
    const auto types = TransitionTypes(table_);
    const idx_t width = table_.GetColumns().LogicalColumnCount();
    auto out = duckdb::make_uniq<ColumnDataCollection>(session_.context(), types);
    for (const auto& [old, fresh] : rows) {
      const int64_t count = (old != nullptr ? old : fresh)->num_rows();
      for (int64_t done = 0; done < count; done += STANDARD_VECTOR_SIZE) {
        const int64_t part = std::min<int64_t>(count - done, STANDARD_VECTOR_SIZE);
        DataChunk chunk;
        chunk.Initialize(session_.context(), types);
        FillSide(table_, old, done, part, 0, &chunk);
        FillSide(table_, fresh, done, part, width, &chunk);
        chunk.SetCardinality(static_cast<idx_t>(part));
        out->Append(chunk);
      }
    }
    return WithGenerated(std::move(out));
  }

  /// Computes the generated columns, if there are any.
  Rows WithGenerated(Rows rows) {
    const auto& columns = table_.GetColumns();
    const bool any = columns.LogicalColumnCount() != columns.PhysicalColumnCount();
    if (!any || rows->Count() == 0) return rows;
    duckdb::vector<duckdb::unique_ptr<duckdb::ParsedExpression>> list;
    for (const char side : {'o', 'n'}) {
      for (const auto& column : columns.Logical()) {
        if (!column.Generated()) {
          list.push_back(duckdb::make_uniq<duckdb::ColumnRefExpression>(
              names_[list.size()], FromRows(table_, *rows)->alias));
          continue;
        }
        // Its expression over a row of the columns by their own names.
        duckdb::vector<duckdb::unique_ptr<duckdb::ParsedExpression>> row, value;
        for (const auto& other : columns.Logical()) {
          if (other.Generated()) continue;
          auto of = duckdb::make_uniq<duckdb::ColumnRefExpression>(
              fmt::format("{}{}", side, other.Logical().index), FromRows(table_, *rows)->alias);
          of->SetAlias(other.Name());
          row.push_back(std::move(of));
        }
        auto from = duckdb::make_uniq<duckdb::SubqueryRef>(
            Select(std::move(row), duckdb::make_uniq<duckdb::EmptyTableRef>()), table_.name);
        value.push_back(column.GeneratedExpression().Copy());
        auto subquery = duckdb::make_uniq<duckdb::SubqueryExpression>();
        subquery->subquery_type = duckdb::SubqueryType::SCALAR;
        subquery->subquery = Select(std::move(value), std::move(from));
        list.push_back(std::move(subquery));
      }
    }
    auto result = session_.Run(Select(std::move(list), FromRows(table_, *rows)));
    return result->TakeCollection();
  }

  /// The rows that the condition holds for.
  Rows Filter(const TriggerText& when, ColumnDataCollection& rows) {
    duckdb::vector<duckdb::unique_ptr<duckdb::ParsedExpression>> list;
    list.push_back(duckdb::make_uniq<duckdb::StarExpression>());
    auto select = Select(std::move(list), FromRows(table_, rows));
    select->node->Cast<duckdb::SelectNode>().where_clause = ParseCondition(when.text);
    return session_.Run(std::move(select))->TakeCollection();
  }

  /// OLD TABLE and NEW TABLE, as temporary views.
  void ShowTables(const TriggerDefinition& trigger, ColumnDataCollection& rows) {
    const idx_t width = table_.GetColumns().LogicalColumnCount();
    for (const bool fresh : {false, true}) {
      const std::string& name = fresh ? trigger.new_table : trigger.old_table;
      if (name.empty()) continue;
      auto info = duckdb::make_uniq<duckdb::CreateViewInfo>();
      info->view_name = name;
      info->temporary = true;
      duckdb::vector<duckdb::unique_ptr<duckdb::ParsedExpression>> list;
      for (const auto& column : table_.GetColumns().Logical()) {
        const idx_t number = column.Logical().index + (fresh ? width : 0);
        list.push_back(duckdb::make_uniq<duckdb::ColumnRefExpression>(names_[number]));
        list.back()->SetAlias(column.Name());
      }
      info->query = Select(std::move(list), FromRows(table_, rows));
      auto create = duckdb::make_uniq<duckdb::CreateStatement>();
      create->info = std::move(info);
      (void)session_.Run(std::move(create));
    }
  }
  void HideTables(const TriggerDefinition& trigger) {
    for (const std::string& name : {trigger.old_table, trigger.new_table}) {
      if (name.empty()) continue;
      duckdb::Parser parser;
      parser.ParseQuery(
          fmt::format("DROP VIEW temp.main.{}", duckdb::KeywordHelper::WriteQuoted(name, '"')));
      (void)session_.Run(std::move(parser.statements.at(0)));
    }
  }

  /// As the session does with what is typed.
  duckdb::unique_ptr<duckdb::SQLStatement> Parse(const std::string& text) {
    auto out = ParseBody(text);
    ThrowIfError(CheckIdentity(session_.context(), *out, /*overriding=*/false));
    // They are kept, and may run under another strict_mode.
    MarkMeantConversions(*out);
    return out;
  }

  void RunOne(const TriggerDefinition& trigger, ColumnDataCollection& all) {
    Rows chosen;
    ColumnDataCollection* rows = &all;
    if (!trigger.when.empty()) {
      chosen = Filter(ValueOrThrow(BindTransition(trigger.when, table_, trigger)), all);
      rows = chosen.get();
    }
    std::vector<TriggerText> texts;
    std::vector<duckdb::unique_ptr<duckdb::SQLStatement>> statements;
    for (const std::string& statement : trigger.statements) {
      texts.push_back(ValueOrThrow(BindTransition(statement, table_, trigger)));
      statements.push_back(Parse(texts.back().text));
    }
    if (!trigger.each_row) {
      ShowTables(trigger, *rows);
      for (auto& statement : statements) (void)session_.Run(std::move(statement));
      HideTables(trigger);
      return;
    }
    if (rows->Count() == 0) return;
    std::vector<duckdb::unique_ptr<duckdb::SQLStatement>> over_all;
    session_.context().RunFunctionInTransaction([&] {
      for (const auto& statement : statements) {
        auto of = OverAllRows(session_.context(), *statement, table_, *rows);
        if (of == nullptr) return;
        over_all.push_back(std::move(of));
      }
    });
    if (over_all.size() == statements.size()) {
      for (auto& statement : over_all) (void)session_.Run(std::move(statement));
      return;
    }
    RowByRow(texts, std::move(statements), *rows);
  }

  void RowByRow(const std::vector<TriggerText>& texts,
                std::vector<duckdb::unique_ptr<duckdb::SQLStatement>> statements,
                ColumnDataCollection& rows) {
    std::vector<duckdb::unique_ptr<duckdb::PreparedStatement>> prepared(statements.size());
    for (DataChunk& chunk : rows.Chunks()) {
      for (idx_t row = 0; row < chunk.size(); ++row) {
        for (size_t i = 0; i < statements.size(); ++i) {
          TriggerValues values;
          for (const std::string& parameter : texts[i].parameters)
            values[parameter] =
                duckdb::BoundParameterData(chunk.GetValue(NumberOf(parameter), row));
          if (rows.Count() == 1) {
            (void)session_.Run(std::move(statements[i]), std::move(values));
            continue;
          }
          if (prepared[i] == nullptr) prepared[i] = session_.Prepare(std::move(statements[i]));
          session_.Run(*prepared[i], std::move(values));
        }
      }
    }
  }

  duckdb::ClientContext& outer_;
  const LaminaTableEntry& table_;
  TriggerSession& session_;
  const duckdb::vector<duckdb::string> names_;
};

/// Above what writes: passes on what that gives, when the triggers have run.
class FireOperator final : public HoldRows {
 public:
  FireOperator(duckdb::PhysicalPlan& plan, duckdb::PhysicalOperator& below,
               duckdb::Catalog& catalog)
      : HoldRows(plan, below), catalog_(catalog) {}
  duckdb::string GetName() const override { return "LAMINA_TRIGGERS"; }

  duckdb::SinkFinalizeType Finalize(duckdb::Pipeline&, duckdb::Event&,
                                    duckdb::ClientContext& context,
                                    duckdb::OperatorSinkFinalizeInput&) const override {
    auto& transaction = LaminaTransaction::Get(context, catalog_);
    for (const TableEvent& event : transaction.events().Take(context.transaction.GetActiveQuery()))
      Firing(context, *event.table).Run(event);
    return duckdb::SinkFinalizeType::READY;
  }

 private:
  duckdb::Catalog& catalog_;
};

}  // namespace

bool MayFireTriggers(duckdb::ClientContext& context, const LaminaTableEntry& table) {
  const auto session = SessionState::Find(context);
  if (session == nullptr || session->alters) return false;
  if (!table.dependents().triggers.empty()) return true;
  // Rows that refer to its rows may change with them.
  if (table.dependents().referenced_by.empty()) return false;
  auto& catalog = const_cast<LaminaTableEntry&>(table).catalog;  // NOLINT: not changed
  return LaminaTransaction::Get(context, catalog).definitions().has_triggers();
}

duckdb::PhysicalOperator& WithTriggers(duckdb::ClientContext& context,
                                       duckdb::PhysicalPlanGenerator& planner,
                                       const LaminaTableEntry& table,
                                       duckdb::PhysicalOperator& plan) {
  if (!MayFireTriggers(context, table)) return plan;
  auto& catalog = const_cast<LaminaTableEntry&>(table).catalog;  // NOLINT: not changed
  return planner.Make<FireOperator>(plan, catalog);
}

void CheckTrigger(duckdb::ClientContext& context, LaminaTableEntry& table,
                  const TriggerStatement& statement) {
  Firing(context, table).Check(statement);
}

}  // namespace lamina::sql
