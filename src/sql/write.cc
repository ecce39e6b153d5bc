// INSERT, UPDATE, DELETE and MERGE: operators that hand rows to the transaction.
//
// Inserts go as they come: a scan that is open does not see them. Updates and deletes wait for the
// end of their input, so that a row's new key cannot meet another row's old one.
#include <algorithm>
#include <atomic>
#include <unordered_set>

#include <arrow/api.h>
#include <duckdb/common/types/column/column_data_collection.hpp>
#include <duckdb/execution/operator/persistent/physical_merge_into.hpp>
#include <duckdb/execution/operator/projection/physical_projection.hpp>
#include <duckdb/parser/parsed_data/create_table_info.hpp>
#include <duckdb/planner/expression/bound_reference_expression.hpp>
#include <duckdb/planner/operator/logical_create_table.hpp>
#include <duckdb/planner/operator/logical_merge_into.hpp>
#include <duckdb/planner/parsed_data/bound_create_table_info.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/hold_rows.h"
#include "sql/insert_rows.h"
#include "sql/materialized_view.h"
#include "sql/moment.h"
#include "sql/period_columns.h"
#include "sql/row_checks.h"
#include "sql/scan.h"
#include "sql/schema_entry.h"
#include "sql/table_entry.h"
#include "sql/table_writer.h"
#include "sql/transaction.h"
#include "sql/trigger_runner.h"
#include "sql/vectors.h"

namespace lamina::sql {
namespace {

using duckdb::DataChunk;
using duckdb::ExecutionContext;
using duckdb::idx_t;
using duckdb::PhysicalOperator;

/// Physical columns as the database wants them.
std::shared_ptr<arrow::RecordBatch> ToBatch(const LaminaTableEntry& table, DataChunk& rows) {
  const auto& schema = table.table().schema;
  arrow::ArrayVector columns;
  for (int i = 0; i < schema->num_fields(); ++i) {
    columns.push_back(
        ValueOrThrow(ToArray(rows.data[table.PhysicalOf(i)], static_cast<int64_t>(rows.size()),
                             schema->field(i)->type())));
  }
  return arrow::RecordBatch::Make(schema, static_cast<int64_t>(rows.size()), std::move(columns));
}

/// The valid time of each row of `rows`, of an entry that takes it or of columns of a period; NULL
/// is open. Leaves out rows that are valid at no time. T4010.
RowIds TakeValid(const LaminaTableEntry& table, DataChunk* rows) {
  const idx_t count = rows->ColumnCount();
  const auto [first, last] =
      HasPeriod(table) ? PeriodPlaces(table) : std::pair(count - 2, count - 1);
  duckdb::SelectionVector kept(rows->size());
  std::vector<std::optional<int64_t>> from, to;
  for (idx_t i = 0; i < rows->size(); ++i) {
    const auto micros = [&](idx_t column, int64_t infinity) -> std::optional<int64_t> {
      const duckdb::Value value = rows->GetValue(column, i);
      if (value.IsNull()) return {};
      const int64_t of = value.GetValueUnsafe<duckdb::timestamp_tz_t>().value;
      return of == infinity ? std::nullopt : std::optional(of);
    };
    const auto begin = micros(first, -INT64_MAX);
    const auto end = micros(last, INT64_MAX);
    if (begin && end && *begin == *end) continue;
    if (begin && end && *begin > *end) {
      Throw(MakeSqlError("T4010",
                         fmt::format("the valid time ends before it begins: table={} from={} to={}",
                                     table.name, FormatTimestamp(*begin), FormatTimestamp(*end))));
    }
    kept.set_index(from.size(), i);
    from.push_back(begin);
    to.push_back(end);
  }
  if (from.size() < rows->size()) rows->Slice(kept, from.size());
  const auto array = [](const std::vector<std::optional<int64_t>>& times) {
    arrow::Int64Builder builder;
    for (const auto& time : times)
      ThrowIfError(time ? builder.Append(*time) : builder.AppendNull());
    return ValueOrThrow(builder.Finish());
  };
  RowIds out;
  out.valid_from = array(from);
  out.valid_to = array(to);
  return out;
}

struct WriteState final : public duckdb::GlobalSinkState {
  WriteState(duckdb::ClientContext& context, LaminaTableEntry& entry, bool returning)
      : transaction(LaminaTransaction::Get(context, entry.catalog)), table(entry) {
    if (!returning) return;
    duckdb::vector<duckdb::LogicalType> types;
    for (const auto& column : entry.GetColumns().Physical()) types.push_back(column.Type());
    // What it takes beside the rows is returned, too, as DuckDB counts columns.
    returned = duckdb::make_uniq<duckdb::ColumnDataCollection>(context, std::move(types));
  }
  LaminaTransaction& transaction;
  LaminaTableEntry& table;
  duckdb::unique_ptr<duckdb::ColumnDataCollection> returned;  // null: not asked for
  std::atomic<idx_t> count{0};
  std::unique_ptr<InsertRows> rows;  // inserts only
  std::vector<std::shared_ptr<arrow::RecordBatch>> held;

  /// For the caller who holds the transaction's mutex.
  TableWriter& writer(duckdb::ClientContext& context) {
    if (writer_ == nullptr) writer_ = std::make_unique<TableWriter>(context, table);
    return *writer_;
  }

  std::vector<RowChange> changes;  // updates and deletes, until the end of the input
  std::unordered_set<std::string> seen;
  std::unique_ptr<RowChecks> checks;

 private:
  std::unique_ptr<TableWriter> writer_;
};

struct ReturnState final : public duckdb::GlobalSourceState {
  duckdb::ColumnDataScanState scan;
  bool begun = false;
};

class WriteOperator : public PhysicalOperator {
 public:
  WriteOperator(duckdb::PhysicalPlan& plan, duckdb::vector<duckdb::LogicalType> types,
                LaminaTableEntry& table, bool returning, idx_t cardinality)
      : PhysicalOperator(plan, duckdb::PhysicalOperatorType::EXTENSION, std::move(types),
                         cardinality),
        table_(table),
        returning_(returning) {}

  bool IsSink() const override { return true; }
  bool IsSource() const override { return true; }

  duckdb::unique_ptr<duckdb::GlobalSinkState> GetGlobalSinkState(
      duckdb::ClientContext& context) const override {
    return duckdb::make_uniq<WriteState>(context, table_, returning_);
  }
  duckdb::unique_ptr<duckdb::GlobalSourceState> GetGlobalSourceState(
      duckdb::ClientContext&) const override {
    return duckdb::make_uniq<ReturnState>();
  }
  duckdb::SourceResultType GetDataInternal(ExecutionContext&, DataChunk& chunk,
                                           duckdb::OperatorSourceInput& input) const override {
    auto& state = sink_state->Cast<WriteState>();
    if (!returning_) {
      chunk.SetCardinality(1);
      chunk.SetValue(0, 0, duckdb::Value::BIGINT(static_cast<int64_t>(state.count)));
      return duckdb::SourceResultType::FINISHED;
    }
    auto& source = input.global_state.Cast<ReturnState>();
    if (!std::exchange(source.begun, true)) state.returned->InitializeScan(source.scan);
    state.returned->Scan(source.scan, chunk);
    return chunk.size() == 0 ? duckdb::SourceResultType::FINISHED
                             : duckdb::SourceResultType::HAVE_MORE_OUTPUT;
  }
  duckdb::InsertionOrderPreservingMap<duckdb::string> ParamsToString() const override {
    duckdb::InsertionOrderPreservingMap<duckdb::string> out;
    out["Table"] = table_.name;
    return out;
  }

 protected:
  LaminaTableEntry& table_;
  const bool returning_;
};

/// How an operator brings new rows to a table.
struct Inserting {
  /// An INSERT or CREATE TABLE AS, whose rows are all that the statement writes.
  bool alone = false;
  bool numbered_batches = false;  ///< The source numbers its batches.
  bool ordered = true;            ///< Rows are to lie as they come.
  /// Rows are written when the input has ended: others of the statement make room for them.
  bool at_the_end = false;

  static Inserting Of(duckdb::ClientContext& context,
                      duckdb::optional_ptr<duckdb::PhysicalOperator> plan) {
    Inserting out;
    out.alone = plan != nullptr;
    if (plan == nullptr) return out;
    out.numbered_batches = duckdb::PhysicalPlanGenerator::UseBatchIndex(context, *plan);
    out.ordered = duckdb::PhysicalPlanGenerator::PreserveInsertionOrder(context, *plan);
    return out;
  }

  /// Many rows go past the transaction's writes, which nothing else of it can see.
  bool MayLoad(duckdb::ClientContext& context, const LaminaTableEntry& table,
               bool returning) const {
    return alone && !returning && context.transaction.IsAutoCommit() &&
           table.table().options.period_from_column.empty() &&
           table.dependents().triggers.empty() && !table.takes_valid();
  }
  bool MayRunInParallel(const WriteState& state) const {
    return state.rows->may_load() &&
           (numbered_batches || !ordered || !state.table.table().key.empty());
  }
  duckdb::OperatorPartitionInfo PartitionInfo() const {
    return numbered_batches ? duckdb::OperatorPartitionInfo::BatchIndex()
                            : duckdb::OperatorPartitionInfo::NoPartitionInfo();
  }

  std::unique_ptr<WriteState> Begin(duckdb::ClientContext& context, LaminaTableEntry& table,
                                    bool returning) const {
    auto state = std::make_unique<WriteState>(context, table, returning);
    state->rows = std::make_unique<InsertRows>(
        context, state->transaction, table, MayLoad(context, table, returning),
        [&context, state = state.get(), at_the_end = at_the_end](const auto& rows) {
          if (at_the_end) {
            state->held.push_back(rows);
          } else {
            state->writer(context).Insert(rows);
          }
        });
    return state;
  }
};

struct InsertLocalState final : public duckdb::LocalSinkState {
  InsertRows::Local rows;
  std::unique_ptr<RowChecks> checks;

  void Insert(duckdb::ClientContext& context, WriteState& state, DataChunk& chunk) {
    if (chunk.size() == 0) return;
    if (checks == nullptr) checks = std::make_unique<RowChecks>(context, state.table);
    if (state.table.takes_valid() || HasPeriod(state.table))
      return InsertValid(context, state, chunk);
    checks->Check(chunk);
    state.rows->Add(&rows, ToBatch(state.table, chunk), partition_info);
    // relaxed: read when all are done
    state.count.fetch_add(chunk.size(), std::memory_order_relaxed);
    if (state.returned != nullptr) state.returned->Append(chunk);
  }

 private:
  void InsertValid(duckdb::ClientContext& context, WriteState& state, DataChunk& chunk) const {
    RowChange change{TakeValid(state.table, &chunk), nullptr};
    if (chunk.size() == 0) return;
    checks->Check(chunk);
    if (HasPeriod(state.table)) SetPeriod(state.table, change.old, &chunk);
    change.rows = ToBatch(state.table, chunk);
    const LaminaTransaction::Lock lock(state.transaction);
    TableWriter& writer = state.writer(context);
    idx_t count = chunk.size();
    switch (state.table.takes_valid().value_or(ValidInsertMode::kFail)) {
      case ValidInsertMode::kFail:
        writer.Insert(change.rows, change.old.Options());
        break;
      case ValidInsertMode::kReplace:
        change.old.keys = change.rows;
        writer.Lay({&change, 1});
        break;
      case ValidInsertMode::kSkip: {
        change.old.keys = change.rows;
        const auto fresh = writer.InsertWhereFree(change);
        count = fresh.size();
        duckdb::SelectionVector kept(STANDARD_VECTOR_SIZE);
        for (idx_t i = 0; i < count; ++i) kept.set_index(i, static_cast<idx_t>(fresh[i]));
        chunk.Slice(kept, count);
        break;
      }
    }
    state.count.fetch_add(count, std::memory_order_relaxed);  // read when all are done
    if (state.returned != nullptr && count > 0) state.returned->Append(chunk);
  }
};

class InsertOperator final : public WriteOperator {
 public:
  InsertOperator(duckdb::PhysicalPlan& plan, duckdb::vector<duckdb::LogicalType> types,
                 LaminaTableEntry& table, bool returning, idx_t cardinality, Inserting inserting)
      : WriteOperator(plan, std::move(types), table, returning, cardinality),
        inserting_(inserting) {}
  duckdb::string GetName() const override { return "LAMINA_INSERT"; }

  bool ParallelSink() const override {
    return sink_state != nullptr && inserting_.MayRunInParallel(sink_state->Cast<WriteState>());
  }
  duckdb::OperatorPartitionInfo RequiredPartitionInfo() const override {
    return inserting_.PartitionInfo();
  }
  duckdb::unique_ptr<duckdb::GlobalSinkState> GetGlobalSinkState(
      duckdb::ClientContext& context) const override {
    return inserting_.Begin(context, table_, returning_);
  }
  duckdb::unique_ptr<duckdb::LocalSinkState> GetLocalSinkState(ExecutionContext&) const override {
    return duckdb::make_uniq<InsertLocalState>();
  }
  duckdb::SinkResultType Sink(ExecutionContext& context, DataChunk& chunk,
                              duckdb::OperatorSinkInput& input) const override {
    input.local_state.Cast<InsertLocalState>().Insert(context.client,
                                                      input.global_state.Cast<WriteState>(), chunk);
    return duckdb::SinkResultType::NEED_MORE_INPUT;
  }
  duckdb::SinkNextBatchType NextBatch(ExecutionContext&,
                                      duckdb::OperatorSinkNextBatchInput& input) const override {
    auto& local = input.local_state.Cast<InsertLocalState>();
    input.global_state.Cast<WriteState>().rows->EndBatch(&local.rows, local.partition_info);
    return duckdb::SinkNextBatchType::READY;
  }
  duckdb::SinkCombineResultType Combine(ExecutionContext&,
                                        duckdb::OperatorSinkCombineInput& input) const override {
    auto& local = input.local_state.Cast<InsertLocalState>();
    input.global_state.Cast<WriteState>().rows->EndBatch(&local.rows, local.partition_info);
    return duckdb::SinkCombineResultType::FINISHED;
  }
  duckdb::SinkFinalizeType Finalize(duckdb::Pipeline&, duckdb::Event&,
                                    duckdb::ClientContext& context,
                                    duckdb::OperatorSinkFinalizeInput& input) const override {
    Finish(context, input.global_state.Cast<WriteState>());
    return duckdb::SinkFinalizeType::READY;
  }

  /// When all rows are there.
  static void Finish(duckdb::ClientContext& context, WriteState& state) {
    state.rows->Finish();
    if (state.rows->loaded()) return;
    const LaminaTransaction::Lock lock(state.transaction);
    for (const auto& held : std::exchange(state.held, {})) state.writer(context).Insert(held);
    state.writer(context).Finish(TriggerEvent::kInsert);
    MarkPopulated(context, state.table);
  }

 private:
  const Inserting inserting_;
};

class DeleteOperator final : public WriteOperator {
 public:
  DeleteOperator(duckdb::PhysicalPlan& plan, duckdb::vector<duckdb::LogicalType> types,
                 LaminaTableEntry& table, bool returning, idx_t cardinality, idx_t row_ids,
                 bool of_past)
      : WriteOperator(plan, std::move(types), table, returning, cardinality),
        row_ids_(row_ids),
        of_past_(of_past) {}
  duckdb::string GetName() const override { return "LAMINA_DELETE"; }

  duckdb::SinkResultType Sink(ExecutionContext& context, DataChunk& chunk,
                              duckdb::OperatorSinkInput& input) const override {
    auto& state = input.global_state.Cast<WriteState>();
    const auto texts = RowIds::Of(table_, chunk, row_ids_).Texts();
    duckdb::SelectionVector fresh(chunk.size());
    idx_t kept = 0;
    for (idx_t i = 0; i < texts.size(); ++i) {
      if (state.seen.insert(texts[i]).second) fresh.set_index(kept++, i);
    }
    if (kept == 0) return duckdb::SinkResultType::NEED_MORE_INPUT;
    if (kept < chunk.size()) chunk.Slice(fresh, kept);
    RowIds old = RowIds::Of(table_, chunk, row_ids_);
    state.count += kept;
    if (state.returned != nullptr) Return(context.client, state, old);
    state.changes.push_back({std::move(old), nullptr});
    return duckdb::SinkResultType::NEED_MORE_INPUT;
  }

  duckdb::SinkFinalizeType Finalize(duckdb::Pipeline&, duckdb::Event&,
                                    duckdb::ClientContext& context,
                                    duckdb::OperatorSinkFinalizeInput& input) const override {
    auto& state = input.global_state.Cast<WriteState>();
    const LaminaTransaction::Lock lock(state.transaction);
    if (of_past_) {
      state.writer(context).End(state.changes);
    } else {
      state.writer(context).Delete(state.changes);
    }
    state.writer(context).Finish(TriggerEvent::kDelete);
    state.changes.clear();
    return duckdb::SinkFinalizeType::READY;
  }

 private:
  /// The rows that go, read once more by their keys.
  void Return(duckdb::ClientContext& context, WriteState& state, const RowIds& old) const {
    DataChunk chunk;
    chunk.Initialize(context, state.returned->Types());
    const LaminaTransaction::Lock lock(state.transaction);
    for (int64_t row = 0; row < old.keys->num_rows(); ++row) {
      Key key;
      for (const auto& column : old.keys->columns())
        key.push_back(ValueOrThrow(column->GetScalar(row)));
      const auto& from = static_cast<const arrow::Int64Array&>(*old.valid_from);
      const ValidTime at = from.IsNull(row) ? ValidTime::Min() : ValidTime{from.Value(row)};
      const auto batch = ValueOrThrow(
          state.transaction.data().Get(table_.table().name, key, {}, ValidPeriod::At(at)));
      if (batch->num_rows() == 0) continue;
      chunk.Reset();
      for (int i = 0; i < batch->num_columns(); ++i)
        ToVector(batch->column(i), 0, 1, &chunk.data[table_.PhysicalOf(i)]);
      chunk.SetCardinality(1);
      if (HasPeriod(table_)) {
        RowIds valid;
        valid.SetValid(old.ValidOf(row));
        SetPeriod(table_, valid, &chunk);
      }
      state.returned->Append(chunk);
    }
  }

  const idx_t row_ids_;
  const bool of_past_;  ///< The rows were found in the past: what is there now of them goes.
};

/// Whether a row gets another key; one of a table without a key always does.
bool KeysChange(std::span<const RowChange> changes) {
  return std::any_of(changes.begin(), changes.end(), [](const RowChange& change) {
    const auto& names = change.old.keys->schema()->field_names();
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      const auto now = change.rows->GetColumnByName(name);
      return now == nullptr || !now->Equals(change.old.keys->GetColumnByName(name));
    });
  });
}

class UpdateOperator final : public WriteOperator {
 public:
  UpdateOperator(duckdb::PhysicalPlan& plan, duckdb::vector<duckdb::LogicalType> types,
                 LaminaTableEntry& table, bool returning, idx_t cardinality,
                 duckdb::vector<duckdb::PhysicalIndex> columns,
                 duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> expressions,
                 duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> defaults, idx_t row_ids,
                 bool of_past)
      : WriteOperator(plan, std::move(types), table, returning, cardinality),
        columns_(std::move(columns)),
        expressions_(std::move(expressions)),
        defaults_(std::move(defaults)),
        row_ids_(row_ids),
        of_past_(of_past) {}
  duckdb::string GetName() const override { return "LAMINA_UPDATE"; }

  duckdb::SinkResultType Sink(ExecutionContext& context, DataChunk& chunk,
                              duckdb::OperatorSinkInput& input) const override {
    auto& state = input.global_state.Cast<WriteState>();
    if (chunk.size() == 0) return duckdb::SinkResultType::NEED_MORE_INPUT;
    // A row that several rows of the other side match is updated once, by the first of them.
    const auto texts = RowIds::Of(table_, chunk, row_ids_).Texts();
    duckdb::SelectionVector fresh(chunk.size());
    idx_t kept = 0;
    for (idx_t i = 0; i < texts.size(); ++i) {
      if (state.seen.insert(texts[i]).second) fresh.set_index(kept++, i);
    }
    if (kept == 0) return duckdb::SinkResultType::NEED_MORE_INPUT;
    if (kept < chunk.size()) chunk.Slice(fresh, kept);

    DataChunk rows;
    duckdb::vector<duckdb::LogicalType> types;
    for (const auto& column : table_.GetColumns().Physical()) types.push_back(column.Type());
    rows.Initialize(context.client, types, chunk.size());
    rows.SetCardinality(chunk.size());
    for (size_t i = 0; i < columns_.size(); ++i) {
      const duckdb::Expression& expression =
          expressions_[i]->type == duckdb::ExpressionType::VALUE_DEFAULT
              ? *defaults_[columns_[i].index]
              : *expressions_[i];
      duckdb::ExpressionExecutor executor(context.client, expression);
      executor.ExecuteExpression(chunk, rows.data[columns_[i].index]);
    }
    if (state.checks == nullptr) state.checks = std::make_unique<RowChecks>(context.client, table_);
    RowIds old = RowIds::Of(table_, chunk, row_ids_);
    if (HasPeriod(table_)) SetPeriod(table_, old, &rows);
    state.checks->Check(rows);
    state.count += rows.size();
    state.changes.push_back({std::move(old), ToBatch(table_, rows)});
    if (state.returned != nullptr) state.returned->Append(rows);
    return duckdb::SinkResultType::NEED_MORE_INPUT;
  }

  duckdb::SinkFinalizeType Finalize(duckdb::Pipeline&, duckdb::Event&,
                                    duckdb::ClientContext& context,
                                    duckdb::OperatorSinkFinalizeInput& input) const override {
    auto& state = input.global_state.Cast<WriteState>();
    const LaminaTransaction::Lock lock(state.transaction);
    const bool moves = KeysChange(state.changes);
    if (of_past_) {
      if (moves) {
        Throw(MakeSqlError("T4009",
                           "an UPDATE of the past cannot change keys: table=" + table_.name,
                           "INSERT INTO … SELECT … AS OF brings old rows under new keys"));
      }
      state.writer(context).Lay(state.changes);
    } else {
      state.writer(context).Update(state.changes, moves);
    }
    state.writer(context).Finish(TriggerEvent::kUpdate, SetColumns());
    state.changes.clear();
    return duckdb::SinkFinalizeType::READY;
  }

 private:
  /// The names of the columns that the statement sets.
  std::vector<std::string> SetColumns() const {
    std::vector<std::string> out;
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (expressions_[i]->GetAlias() == LaminaTableEntry::kPassedOn) continue;
      out.push_back(table_.GetColumns().GetColumn(columns_[i]).Name());
    }
    return out;
  }

  const duckdb::vector<duckdb::PhysicalIndex> columns_;
  const duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> expressions_;
  const duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> defaults_;
  const idx_t row_ids_;
  const bool
      of_past_;  ///< The rows were found in the past: they come back, over what is there now.
};

/// CREATE TABLE AS: makes the table when it begins, or when its rows come.
class CreateTableAsOperator final : public PhysicalOperator {
 public:
  CreateTableAsOperator(duckdb::PhysicalPlan& plan, duckdb::vector<duckdb::LogicalType> types,
                        duckdb::SchemaCatalogEntry& schema,
                        duckdb::unique_ptr<duckdb::BoundCreateTableInfo> info, idx_t cardinality,
                        Inserting inserting, bool late)
      : PhysicalOperator(plan, duckdb::PhysicalOperatorType::EXTENSION, std::move(types),
                         cardinality),
        schema_(schema),
        info_(std::move(info)),
        inserting_(inserting),
        late_(late) {}

  duckdb::string GetName() const override { return "LAMINA_CREATE_TABLE_AS"; }
  bool IsSink() const override { return true; }
  bool IsSource() const override { return true; }

  struct State final : public duckdb::GlobalSinkState {
    bool made = false;
    std::unique_ptr<WriteState> insert;  // null: the table was there, and IF NOT EXISTS said
  };

  duckdb::unique_ptr<duckdb::GlobalSinkState> GetGlobalSinkState(
      duckdb::ClientContext& context) const override {
    auto out = duckdb::make_uniq<State>();
    if (!late_) Make(context, out.get());
    return out;
  }
  bool ParallelSink() const override {
    if (sink_state == nullptr || late_) return false;
    const auto& insert = sink_state->Cast<State>().insert;
    return insert == nullptr || inserting_.MayRunInParallel(*insert);
  }
  duckdb::OperatorPartitionInfo RequiredPartitionInfo() const override {
    return inserting_.PartitionInfo();
  }
  duckdb::unique_ptr<duckdb::LocalSinkState> GetLocalSinkState(ExecutionContext&) const override {
    return duckdb::make_uniq<InsertLocalState>();
  }
  duckdb::SinkResultType Sink(ExecutionContext& context, DataChunk& chunk,
                              duckdb::OperatorSinkInput& input) const override {
    auto& state = input.global_state.Cast<State>();
    if (late_) Make(context.client, &state);  // by one thread
    if (state.insert == nullptr) return duckdb::SinkResultType::FINISHED;
    input.local_state.Cast<InsertLocalState>().Insert(context.client, *state.insert, chunk);
    return duckdb::SinkResultType::NEED_MORE_INPUT;
  }
  duckdb::SinkNextBatchType NextBatch(ExecutionContext&,
                                      duckdb::OperatorSinkNextBatchInput& input) const override {
    EndBatch(input.global_state, input.local_state);
    return duckdb::SinkNextBatchType::READY;
  }
  duckdb::SinkCombineResultType Combine(ExecutionContext&,
                                        duckdb::OperatorSinkCombineInput& input) const override {
    EndBatch(input.global_state, input.local_state);
    return duckdb::SinkCombineResultType::FINISHED;
  }
  duckdb::SinkFinalizeType Finalize(duckdb::Pipeline&, duckdb::Event&,
                                    duckdb::ClientContext& context,
                                    duckdb::OperatorSinkFinalizeInput& input) const override {
    auto& state = input.global_state.Cast<State>();
    if (late_) Make(context, &state);
    if (state.insert != nullptr) InsertOperator::Finish(context, *state.insert);
    return duckdb::SinkFinalizeType::READY;
  }
  duckdb::SourceResultType GetDataInternal(ExecutionContext&, DataChunk& chunk,
                                           duckdb::OperatorSourceInput&) const override {
    auto& state = sink_state->Cast<State>();
    chunk.SetCardinality(1);
    chunk.SetValue(0, 0,
                   duckdb::Value::BIGINT(
                       state.insert == nullptr ? 0 : static_cast<int64_t>(state.insert->count)));
    return duckdb::SourceResultType::FINISHED;
  }

 private:
  void Make(duckdb::ClientContext& context, State* state) const {
    if (std::exchange(state->made, true)) return;
    // Other threads may begin to read for its rows.
    const LaminaTransaction::Lock lock(LaminaTransaction::Get(context, schema_.catalog));
    auto entry = schema_.CreateTable(schema_.GetCatalogTransaction(context), *info_);
    if (entry != nullptr)
      state->insert = inserting_.Begin(context, entry->Cast<LaminaTableEntry>(), false);
  }
  static void EndBatch(duckdb::GlobalSinkState& global, duckdb::LocalSinkState& local) {
    auto& insert = global.Cast<State>().insert;
    if (insert == nullptr) return;
    insert->rows->EndBatch(&local.Cast<InsertLocalState>().rows, local.partition_info);
  }

  duckdb::SchemaCatalogEntry& schema_;
  duckdb::unique_ptr<duckdb::BoundCreateTableInfo> info_;
  const Inserting inserting_;
  const bool late_;  ///< Only when its input has ended.
};

idx_t RowIdCount(const LaminaTableEntry& table) { return table.GetRowIdColumns().size(); }

/// Whether the rows to change are found in the past. T4009 for several moments of it.
bool ChangesPast(const duckdb::PhysicalOperator& plan, const LaminaTableEntry& table) {
  const Moment moment = TargetMoment(plan, table);
  if (!moment.system.has_value() || moment.system->kind() == SystemPeriod::Kind::kLatest)
    return false;
  const bool one = moment.system->kind() == SystemPeriod::Kind::kAsOfCommit ||
                   moment.system->kind() == SystemPeriod::Kind::kAsOfTime;
  if (!one) {
    Throw(MakeSqlError("T4009", "rows are changed as they were at one moment: table=" + table.name,
                       "AS OF says which"));
  }
  if (table.table().key.empty()) {
    Throw(MakeSqlError("T4009", "only rows with a primary key come back by it: table=" + table.name,
                       "INSERT INTO … SELECT … AS OF brings old rows as new ones"));
  }
  return true;
}

UpdateOperator& MakeUpdate(duckdb::PhysicalPlanGenerator& planner, duckdb::LogicalUpdate& op,
                           idx_t row_ids, bool of_past) {
  auto& table = op.table.Cast<LaminaTableEntry>();
  return planner
      .Make<UpdateOperator>(op.types, table, op.return_chunk, op.estimated_cardinality, op.columns,
                            std::move(op.expressions), std::move(op.bound_defaults), row_ids,
                            of_past)
      .Cast<UpdateOperator>();
}

}  // namespace

duckdb::PhysicalOperator& LaminaCatalog::PlanCreateTableAs(duckdb::ClientContext& context,
                                                           duckdb::PhysicalPlanGenerator& planner,
                                                           duckdb::LogicalCreateTable& op,
                                                           duckdb::PhysicalOperator& plan) {
  auto* source = &plan;
  if (op.info->base->on_conflict == duckdb::OnCreateConflict::REPLACE_ON_CONFLICT) {
    // What is read of the table that goes is read before it goes.
    const auto there =
        op.schema.GetEntry(op.schema.GetCatalogTransaction(context),
                           duckdb::CatalogType::TABLE_ENTRY, op.info->base->GetEntryName());
    const auto* table = dynamic_cast<const LaminaTableEntry*>(there.get());
    if (table != nullptr && Reads(plan, *table)) source = &planner.Make<HoldRows>(plan);
  }
  auto& out = planner.Make<CreateTableAsOperator>(op.types, op.schema, std::move(op.info),
                                                  op.estimated_cardinality,
                                                  Inserting::Of(context, source), source != &plan);
  out.children.push_back(*source);
  return out;
}

duckdb::PhysicalOperator& LaminaCatalog::PlanInsert(
    duckdb::ClientContext& context, duckdb::PhysicalPlanGenerator& planner,
    duckdb::LogicalInsert& op, duckdb::optional_ptr<duckdb::PhysicalOperator> plan) {
  CheckMayWrite(context, op.table.Cast<LaminaTableEntry>());
  if (op.on_conflict_info.action_type != duckdb::OnConflictAction::THROW)
    Throw(MakeSqlError("T4009", "this form of ON CONFLICT is not there yet"));
  if (plan != nullptr && !op.column_index_map.empty())
    plan = planner.ResolveDefaultsProjection(op, *plan);
  auto& out =
      planner.Make<InsertOperator>(op.types, op.table.Cast<LaminaTableEntry>(), op.return_chunk,
                                   op.estimated_cardinality, Inserting::Of(context, plan));
  if (plan != nullptr) out.children.push_back(*plan);
  return WithTriggers(context, planner, op.table.Cast<LaminaTableEntry>(), out);
}

duckdb::PhysicalOperator& LaminaCatalog::PlanDelete(duckdb::ClientContext& context,
                                                    duckdb::PhysicalPlanGenerator& planner,
                                                    duckdb::LogicalDelete& op,
                                                    duckdb::PhysicalOperator& plan) {
  auto& table = op.table.Cast<LaminaTableEntry>();
  CheckReadsNewest(context);
  CheckMayWrite(context, table);
  const idx_t row_ids = op.expressions[0]->Cast<duckdb::BoundReferenceExpression>().index;
  auto& out =
      planner.Make<DeleteOperator>(op.types, table, op.return_chunk, op.estimated_cardinality,
                                   row_ids, ChangesPast(plan, table));
  out.children.push_back(plan);
  return WithTriggers(context, planner, table, out);
}

duckdb::PhysicalOperator& LaminaCatalog::PlanUpdate(duckdb::ClientContext& context,
                                                    duckdb::PhysicalPlanGenerator& planner,
                                                    duckdb::LogicalUpdate& op,
                                                    duckdb::PhysicalOperator& plan) {
  CheckReadsNewest(context);
  CheckMayWrite(context, op.table.Cast<LaminaTableEntry>());
  const idx_t row_ids = plan.types.size() - RowIdCount(op.table.Cast<LaminaTableEntry>());
  auto& out =
      MakeUpdate(planner, op, row_ids, ChangesPast(plan, op.table.Cast<LaminaTableEntry>()));
  out.children.push_back(plan);
  return WithTriggers(context, planner, op.table.Cast<LaminaTableEntry>(), out);
}

duckdb::PhysicalOperator& LaminaCatalog::PlanMergeInto(duckdb::ClientContext& context,
                                                       duckdb::PhysicalPlanGenerator& planner,
                                                       duckdb::LogicalMergeInto& op,
                                                       duckdb::PhysicalOperator& plan) {
  duckdb::map<duckdb::MergeActionCondition,
              duckdb::vector<duckdb::unique_ptr<duckdb::MergeIntoOperator>>>
      actions;
  auto& table = op.table.Cast<LaminaTableEntry>();
  CheckReadsNewest(context);
  CheckMayWrite(context, table);
  if (ChangesPast(plan, table)) {
    Throw(MakeSqlError("T4009", "MERGE changes rows as they are now: table=" + table.name,
                       "its USING may read the past"));
  }
  Inserting inserting;
  inserting.at_the_end = table.dependents().view.has_value();
  for (auto& [condition, bound] : op.actions) {
    auto& planned = actions[condition];
    for (auto& action : bound) {
      auto out = duckdb::make_uniq<duckdb::MergeIntoOperator>();
      out->action_type = action->action_type;
      out->condition = std::move(action->condition);
      switch (action->action_type) {
        case duckdb::MergeActionType::MERGE_UPDATE: {
          duckdb::LogicalUpdate update(op.table);
          for (const auto& of : op.bound_defaults) update.bound_defaults.push_back(of->Copy());
          update.expressions = std::move(action->expressions);
          update.columns = std::move(action->columns);
          update.return_chunk = op.return_chunk;
          update.types = op.return_chunk
                             ? table.GetTypes()
                             : duckdb::vector<duckdb::LogicalType>{duckdb::LogicalType::BIGINT};
          out->op = MakeUpdate(planner, update, op.row_id_start, /*of_past=*/false);
          break;
        }
        case duckdb::MergeActionType::MERGE_DELETE: {
          out->op = planner.Make<DeleteOperator>(
              op.return_chunk ? table.GetTypes()
                              : duckdb::vector<duckdb::LogicalType>{duckdb::LogicalType::BIGINT},
              table, op.return_chunk, op.estimated_cardinality, op.row_id_start, /*of_past=*/false);
          break;
        }
        case duckdb::MergeActionType::MERGE_INSERT: {
          if (!action->column_index_map.empty()) {
            duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> all;
            for (const auto& column : table.GetColumns().Physical()) {
              const auto mapped = action->column_index_map[column.Physical()];
              all.push_back(mapped == duckdb::DConstants::INVALID_INDEX
                                ? op.bound_defaults[column.StorageOid()]->Copy()
                                : std::move(action->expressions[mapped]));
            }
            action->expressions = std::move(all);
          }
          out->expressions = std::move(action->expressions);
          out->op = planner.Make<InsertOperator>(
              op.return_chunk ? table.GetTypes()
                              : duckdb::vector<duckdb::LogicalType>{duckdb::LogicalType::BIGINT},
              table, op.return_chunk, op.estimated_cardinality, inserting);
          break;
        }
        case duckdb::MergeActionType::MERGE_ERROR:
          out->expressions = std::move(action->expressions);
          break;
        case duckdb::MergeActionType::MERGE_DO_NOTHING:
          break;
        default:
          Throw(MakeSqlError("T4009", "this action of MERGE is not there yet"));
      }
      planned.push_back(std::move(out));
    }
  }
  auto& out = planner.Make<duckdb::PhysicalMergeInto>(op.types, std::move(actions), op.row_id_start,
                                                      op.source_marker, /*parallel=*/false,
                                                      op.return_chunk);
  out.children.push_back(plan);
  return WithTriggers(context, planner, table, out);
}

}  // namespace lamina::sql
