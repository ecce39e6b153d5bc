#include "sql/scan.h"

#include <algorithm>
#include <atomic>

#include <arrow/api.h>
#include <duckdb/execution/execution_context.hpp>
#include <duckdb/execution/operator/scan/physical_table_scan.hpp>
#include <duckdb/planner/expression/bound_reference_expression.hpp>
#include <duckdb/planner/filter/conjunction_filter.hpp>
#include <duckdb/planner/filter/constant_filter.hpp>
#include <duckdb/planner/filter/in_filter.hpp>
#include <duckdb/planner/filter/optional_filter.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/index_scan.h"
#include "sql/period_columns.h"
#include "sql/plain_files.h"
#include "sql/plan_guide.h"
#include "sql/session_state.h"
#include "sql/suggest_index.h"
#include "sql/transaction.h"
#include "sql/types.h"
#include "sql/vectors.h"

namespace lamina::sql {
namespace {

struct ScanData final : public duckdb::TableFunctionData {
  ScanData(LaminaTableEntry& entry, Moment at) : table(entry), moment(std::move(at)) {}
  // The statistics of a plan are those of one snapshot.
  bool SupportStatementCache() const override { return false; }
  LaminaTableEntry& table;
  const Moment moment;
  std::shared_ptr<const PlanGuide> guide;  ///< Null: none.
  const IndexDefinition* index = nullptr;  ///< That serves the filters; of the table.
  bool forced = false;                     ///< The guide wants the index.

  const PlanHints* hints() const { return guide == nullptr ? nullptr : &guide->parsed; }
};

constexpr char kScanName[] = "lamina_scan";

bool IsTime(duckdb::column_t column) {
  return (column >= kValidFrom && column <= kSystemTo) || column == kPortionFrom ||
         column == kPortionTo;
}

/// The pushed-down filters in the database's words, as far as both mean the same by them.
class FilterTranslator {
 public:
  FilterTranslator(const LaminaTableEntry& table, duckdb::column_t column)
      : name_(table.StorageName(column)), type_(table.TypeOf(column)) {
    if (column < kHiddenColumns) field_ = table.table().schema->GetFieldByName(name_);
  }

  /// Null when it cannot be said.
  ExprPtr Translate(const duckdb::TableFilter& filter) const {
    using duckdb::TableFilterType;
    // Values at rest under another type compare otherwise there. Floats have the same order in
    // both.
    if (field_ == nullptr || !IsPlain(type_) || type_.IsNested()) return nullptr;
    switch (filter.filter_type) {
      case TableFilterType::CONSTANT_COMPARISON: {
        const auto& constant = filter.Cast<duckdb::ConstantFilter>();
        const auto value = Literal(constant.constant);
        if (value == nullptr) return nullptr;
        switch (constant.comparison_type) {
          case duckdb::ExpressionType::COMPARE_EQUAL:
            return Eq(name_, value);
          case duckdb::ExpressionType::COMPARE_NOTEQUAL:
            return Ne(name_, value);
          case duckdb::ExpressionType::COMPARE_LESSTHAN:
            return Lt(name_, value);
          case duckdb::ExpressionType::COMPARE_LESSTHANOREQUALTO:
            return Le(name_, value);
          case duckdb::ExpressionType::COMPARE_GREATERTHAN:
            return Gt(name_, value);
          case duckdb::ExpressionType::COMPARE_GREATERTHANOREQUALTO:
            return Ge(name_, value);
          default:
            return nullptr;
        }
      }
      case TableFilterType::IS_NULL:
        return IsNull(name_);
      case TableFilterType::IS_NOT_NULL:
        return Not(IsNull(name_));
      case TableFilterType::IN_FILTER: {
        std::vector<std::shared_ptr<arrow::Scalar>> values;
        for (const auto& of : filter.Cast<duckdb::InFilter>().values) {
          auto value = Literal(of);
          if (value == nullptr) return nullptr;
          values.push_back(std::move(value));
        }
        return In(name_, std::move(values));
      }
      case TableFilterType::CONJUNCTION_AND:
      case TableFilterType::CONJUNCTION_OR: {
        const bool all = filter.filter_type == TableFilterType::CONJUNCTION_AND;
        const auto& children = all ? filter.Cast<duckdb::ConjunctionAndFilter>().child_filters
                                   : filter.Cast<duckdb::ConjunctionOrFilter>().child_filters;
        std::vector<ExprPtr> parts;
        for (const auto& child : children) {
          if (all && Ignored(*child)) continue;
          ExprPtr part = Translate(*child);
          if (part == nullptr) return nullptr;
          parts.push_back(std::move(part));
        }
        if (parts.empty()) return nullptr;
        return all ? And(std::move(parts)) : Or(std::move(parts));
      }
      default:
        return nullptr;
    }
  }

  /// Filters that only save work.
  static bool Ignored(const duckdb::TableFilter& filter) {
    return filter.filter_type == duckdb::TableFilterType::OPTIONAL_FILTER ||
           filter.filter_type == duckdb::TableFilterType::DYNAMIC_FILTER ||
           filter.filter_type == duckdb::TableFilterType::BLOOM_FILTER;
  }

 private:
  std::shared_ptr<arrow::Scalar> Literal(const duckdb::Value& value) const {
    if (value.IsNull() || value.type() != type_) return nullptr;
    duckdb::Vector vector(value);
    const auto array = ToArray(vector, 1, field_->type());
    if (!array.ok()) return nullptr;
    const auto scalar = (*array)->GetScalar(0);
    return scalar.ok() ? *scalar : nullptr;
  }

  std::string name_;
  duckdb::LogicalType type_;
  std::shared_ptr<arrow::Field> field_;  // null: a hidden column
};

/// A filter that is evaluated on rows, each column of which is at its place in the chunk.
using RowFilters = std::vector<duckdb::unique_ptr<duckdb::Expression>>;

struct ScanState final : public duckdb::GlobalTableFunctionState {
  struct Column {
    int position = -1;  ///< In the batches of `rest` and in `plain`; -1: nobody asks for its value.
    duckdb::column_t column = duckdb::COLUMN_IDENTIFIER_EMPTY;
    duckdb::LogicalType type;
  };
  std::vector<Column> columns;  ///< What filters and the output need.
  /// Of each output column in `columns`; empty: all as they are.
  duckdb::vector<duckdb::idx_t> output;
  std::shared_ptr<ScanReader> rest;
  bool by_index = false;                ///< `rest` is all, and filtered by nobody.
  std::atomic<bool> rest_taken{false};  ///< By the one thread that reads it.
  /// Plain files come first: rows lie by row id, and the newest are mostly in memory. Otherwise
  /// `rest`, which one thread reads while others read plain files.
  bool rest_last = false;
  std::unique_ptr<PlainScan> plain;  ///< Null: `rest` is all.
  /// What the database did not filter.
  RowFilters of_rest, of_plain;
  ValidInterval portion;  ///< That the valid time of a portion is cut to.
  uint64_t plain_files = 0, plain_rows = 0;

  duckdb::idx_t MaxThreads() const override {
    return plain == nullptr ? 1 : std::max<duckdb::idx_t>(1, plain->MaxThreads());
  }
};

struct ScanThread final : public duckdb::LocalTableFunctionState {
  bool begun = false;
  bool reads_rest = false;
  std::shared_ptr<arrow::RecordBatch> batch;
  int64_t at = 0;
  std::unique_ptr<PlainScan::Local> plain;
  duckdb::DataChunk rows;  ///< ScanState::columns; unused where the output has all of them.
  std::vector<duckdb::unique_ptr<duckdb::ExpressionExecutor>> of_rest, of_plain;
};

bool IsFloating(const duckdb::LogicalType& type) {
  return type.id() == duckdb::LogicalTypeId::FLOAT || type.id() == duckdb::LogicalTypeId::DOUBLE;
}

// Whether another reader of Parquet gives the column as the database does.
bool IsPlainColumn(const LaminaTableEntry& table, duckdb::column_t column) {
  if (column == duckdb::COLUMN_IDENTIFIER_EMPTY) return true;
  if (column == kRowId) return true;
  if (column >= kHiddenColumns && column < kKeyStart) return false;
  const auto field = table.table().schema->GetFieldByName(table.StorageName(column));
  return field != nullptr && ReadsAsItIs(*field, table.TypeOf(column));
}

duckdb::unique_ptr<duckdb::GlobalTableFunctionState> InitScan(
    duckdb::ClientContext& context, duckdb::TableFunctionInitInput& input) {
  const LaminaTableEntry& table = input.bind_data->Cast<ScanData>().table;
  auto& transaction = LaminaTransaction::Get(context, table.catalog);
  auto out = duckdb::make_uniq<ScanState>();
  const Moment& moment = input.bind_data->Cast<ScanData>().moment;
  ScanOptions options;
  if (moment.system.has_value()) options.system = *moment.system;
  if (moment.valid.has_value()) options.valid = *moment.valid;
  if (moment.portion) out->portion = {moment.valid->from(), moment.valid->to()};
  options.columns.emplace();
  options.order_by_key = false;
  bool plain = PlainFiles::Allowed(context);
  std::vector<PlainScan::Column> plain_columns;
  for (const duckdb::column_t column : input.column_ids) {
    ScanState::Column to;
    if (column == duckdb::COLUMN_IDENTIFIER_EMPTY || column == duckdb::COLUMN_IDENTIFIER_ROW_ID) {
      to.type = duckdb::LogicalType::BIGINT;
      out->columns.push_back(std::move(to));
      continue;
    }
    to.type = table.TypeOf(column);
    to.column = ReadAs(table, column);
    plain = plain && IsPlainColumn(table, column);
    const std::string name = table.StorageName(column);
    auto& names = *options.columns;
    const auto it = std::find(names.begin(), names.end(), name);
    to.position = static_cast<int>(it - names.begin());
    if (it == names.end()) {
      names.push_back(name);
      plain_columns.push_back({name, to.type});
    }
    out->columns.push_back(std::move(to));
  }
  if (input.CanRemoveFilterColumns())
    out->output.assign(input.projection_ids.begin(), input.projection_ids.end());

  const auto& data = input.bind_data->Cast<ScanData>();
  const IndexDefinition* index = data.index;
  if (index != nullptr && input.filters != nullptr) {
    const LaminaTransaction::Lock lock(transaction);
    out->rest = ReadByIndex(transaction, table, *index, *input.filters, input.column_ids, options,
                            data.forced);
    out->by_index = out->rest != nullptr;
  }
  std::vector<ExprPtr> pushed;
  auto plain_filters = duckdb::make_uniq<duckdb::TableFilterSet>();
  if (input.filters != nullptr) {
    for (const auto& [position, filter] : input.filters->filters) {
      const ScanState::Column& of = out->columns[position];
      const auto expression = [&, at = position] {
        return filter->ToExpression(duckdb::BoundReferenceExpression(of.type, at));
      };
      const bool ignored = FilterTranslator::Ignored(*filter);
      // Statistics of a Parquet file know nothing of NaN, which is the greatest number in SQL.
      if (IsFloating(of.type)) {
        if (!ignored) out->of_plain.push_back(expression());
      } else {
        plain_filters->PushFilter(duckdb::ColumnIndex(static_cast<uint64_t>(of.position)),
                                  filter->Copy());
      }
      if (ignored) continue;
      const duckdb::column_t column = input.column_ids[position];
      ExprPtr expr;
      if (!out->by_index) expr = FilterTranslator(table, column).Translate(*filter);
      if (expr != nullptr) {
        pushed.push_back(std::move(expr));
      } else {
        out->of_rest.push_back(expression());
      }
    }
  }
  if (out->by_index) return out;
  if (!pushed.empty()) options.filter = And(std::move(pushed));
  std::vector<engine::PlainFile> files;
  {
    const LaminaTransaction::Lock lock(transaction);
    if (plain) {
      db::SplitScan split = ValueOrThrow(transaction.data().ScanSplit(table.table().name, options));
      out->rest = std::move(split.rest);
      out->rest_last = table.table().key.empty();
      files = std::move(split.plain);
    } else {
      out->rest = ValueOrThrow(transaction.data().Scan(table.table().name, options));
    }
  }
  if (files.empty()) return out;
  if (out->rest_last) {
    std::sort(files.begin(), files.end(),
              [](const auto& x, const auto& y) { return x.file->min_key < y.file->min_key; });
  }
  for (const engine::PlainFile& file : files) {
    ++out->plain_files;
    out->plain_rows += file.file->rows;
  }
  out->plain = std::make_unique<PlainScan>(
      context, table.catalog.Cast<LaminaCatalog>().plain_files(), std::move(files),
      std::move(plain_columns), std::move(plain_filters));
  return out;
}

duckdb::unique_ptr<duckdb::LocalTableFunctionState> InitThread(
    duckdb::ExecutionContext& context, duckdb::TableFunctionInitInput&,
    duckdb::GlobalTableFunctionState* global) {
  const auto& state = global->Cast<ScanState>();
  auto out = duckdb::make_uniq<ScanThread>();
  for (const auto& [filters, executors] :
       {std::pair(&state.of_rest, &out->of_rest), std::pair(&state.of_plain, &out->of_plain)}) {
    for (const auto& filter : *filters) {
      executors->push_back(duckdb::make_uniq<duckdb::ExpressionExecutor>(context.client, *filter));
    }
  }
  if (!state.output.empty()) {
    duckdb::vector<duckdb::LogicalType> types;
    for (const auto& column : state.columns) types.push_back(column.type);
    out->rows.Initialize(context.client, types);
  }
  if (state.plain != nullptr) out->plain = state.plain->MakeLocal(context);
  return out;
}

/// Open ends are infinity in SQL.
void ToTimes(const arrow::Array& array, int64_t offset, int64_t count, duckdb::Vector* out) {
  const int64_t* from = array.data()->GetValues<int64_t>(1) + offset;
  int64_t* to = duckdb::FlatVector::GetData<int64_t>(*out);
  for (int64_t i = 0; i < count; ++i) to[i] = from[i] == INT64_MIN ? -INT64_MAX : from[i];
}

void CutToPortion(const ValidInterval& portion, duckdb::column_t column, int64_t count,
                  duckdb::Vector* out) {
  int64_t* times = duckdb::FlatVector::GetData<int64_t>(*out);
  for (int64_t i = 0; i < count; ++i) {
    times[i] = column == kPortionFrom ? std::max(times[i], portion.from.micros)
                                      : std::min(times[i], portion.to.micros);
  }
}

void SetNull(duckdb::Vector* out) {
  out->SetVectorType(duckdb::VectorType::CONSTANT_VECTOR);
  duckdb::ConstantVector::SetNull(*out, true);
}

// False at the end.
bool NextOfRest(const ScanState& state, ScanThread* thread, duckdb::DataChunk* rows) {
  while (thread->batch == nullptr || thread->at == thread->batch->num_rows()) {
    thread->at = 0;
    thread->batch = ValueOrThrow(state.rest->Next());
    if (thread->batch == nullptr) return false;
  }
  const int64_t count =
      std::min<int64_t>(STANDARD_VECTOR_SIZE, thread->batch->num_rows() - thread->at);
  for (size_t i = 0; i < state.columns.size(); ++i) {
    const ScanState::Column& column = state.columns[i];
    if (column.position < 0) {
      SetNull(&rows->data[i]);
    } else {
      ToColumn(thread->batch->column(column.position), column.column, thread->at, count,
               &rows->data[i]);
      if (column.column == kPortionFrom || column.column == kPortionTo)
        CutToPortion(state.portion, column.column, count, &rows->data[i]);
    }
  }
  thread->at += count;
  rows->SetCardinality(static_cast<uint64_t>(count));
  return true;
}

bool NextOfPlain(duckdb::ClientContext& context, const ScanState& state, ScanThread* thread,
                 duckdb::DataChunk* rows) {
  if (thread->plain == nullptr || !state.plain->Next(context, thread->plain.get())) return false;
  const duckdb::DataChunk& from = thread->plain->rows;
  for (size_t i = 0; i < state.columns.size(); ++i) {
    const int position = state.columns[i].position;
    if (position < 0) {
      SetNull(&rows->data[i]);
    } else {
      rows->data[i].Reference(thread->plain->rows.data[static_cast<size_t>(position)]);
    }
  }
  rows->SetCardinality(from.size());
  return true;
}

void Scan(duckdb::ClientContext& context, duckdb::TableFunctionInput& input,
          duckdb::DataChunk& output) {
  auto& state = input.global_state->Cast<ScanState>();
  auto& thread = input.local_state->Cast<ScanThread>();
  duckdb::DataChunk& rows = state.output.empty() ? output : thread.rows;
  if (!thread.begun) {
    thread.begun = true;
    if (!state.rest_last) thread.reads_rest = !state.rest_taken.exchange(true);
  }
  for (;;) {
    // Where a filter leaves nothing, DuckDB would not be asked for long.
    CheckInterrupted(context);
    rows.Reset();
    if (thread.reads_rest && !NextOfRest(state, &thread, &rows)) {
      thread.reads_rest = false;
      thread.batch = nullptr;
      if (state.rest_last) return;
    }
    if (rows.size() == 0 && !NextOfPlain(context, state, &thread, &rows)) {
      if (!state.rest_last || state.rest_taken.exchange(true)) return;
      thread.reads_rest = true;
      continue;
    }
    for (auto& executor : thread.reads_rest ? thread.of_rest : thread.of_plain) {
      duckdb::SelectionVector kept(rows.size());
      const auto left = executor->SelectExpression(rows, kept);
      if (left < rows.size()) rows.Slice(kept, left);
      if (left == 0) break;
    }
    if (rows.size() == 0) continue;
    if (!state.output.empty()) output.ReferenceColumns(thread.rows, state.output);
    return;
  }
}

duckdb::OperatorPartitionData PartitionOf(duckdb::ClientContext& context,
                                          duckdb::TableFunctionGetPartitionInput& input) {
  auto& state = input.global_state->Cast<ScanState>();
  auto& thread = input.local_state->Cast<ScanThread>();
  // Batches of a thread ascend, and stay below those of the next source of a pipeline.
  constexpr duckdb::idx_t kLast = duckdb::PipelineBuildState::BATCH_INCREMENT / 2;
  if (thread.reads_rest) return duckdb::OperatorPartitionData(state.rest_last ? kLast : 0);
  if (state.plain == nullptr || thread.plain == nullptr) return duckdb::OperatorPartitionData(0);
  auto out = state.plain->PartitionOf(context, thread.plain.get(), input.partition_info);
  ++out.batch_index;  // after `rest`
  return out;
}

double Progress(duckdb::ClientContext& context, const duckdb::FunctionData*,
                const duckdb::GlobalTableFunctionState* global) {
  const auto& state = global->Cast<ScanState>();
  return state.plain == nullptr ? -1 : state.plain->Progress(context);
}

duckdb::BindInfo GetBindInfo(const duckdb::optional_ptr<duckdb::FunctionData> data) {
  return duckdb::BindInfo(data->Cast<ScanData>().table);
}

duckdb::unique_ptr<duckdb::NodeStatistics> Cardinality(duckdb::ClientContext& context,
                                                       const duckdb::FunctionData* data) {
  const auto& scan = data->Cast<ScanData>();
  std::optional<uint64_t> said;
  if (scan.guide != nullptr) said = scan.guide->parsed.RowsOf(scan.table);
  return duckdb::make_uniq<duckdb::NodeStatistics>(said ? *said : scan.table.EstimateRows(context));
}

duckdb::InsertionOrderPreservingMap<duckdb::string> ToString(
    duckdb::TableFunctionToStringInput& input) {
  duckdb::InsertionOrderPreservingMap<duckdb::string> out;
  const auto& data = input.bind_data->Cast<ScanData>();
  out["Table"] = data.table.name;
  if (data.moment.system.has_value()) out["System Time"] = data.moment.SystemText();
  if (data.moment.valid.has_value())
    out[data.moment.portion ? "Portion" : "Valid Time"] = data.moment.ValidText();
  if (data.index != nullptr) out["Index"] = data.index->name;
  if (data.guide != nullptr) out["Plan Guide"] = data.guide->name;
  return out;
}

/// What EXPLAIN ANALYZE shows of a scan.
duckdb::InsertionOrderPreservingMap<duckdb::string> Counters(
    duckdb::TableFunctionDynamicToStringInput& input) {
  duckdb::InsertionOrderPreservingMap<duckdb::string> out;
  if (input.global_state == nullptr) return out;
  const auto& state = input.global_state->Cast<ScanState>();
  const ScanProfile rest = state.rest->profile();
  if (state.by_index) {
    out["By Index"] = fmt::format("{} rows", rest.rows_returned);
    return out;
  }
  const auto& io = rest.io;
  uint64_t bytes = io.bytes_read, requests = io.requests;
  if (state.plain != nullptr) {
    bytes += state.plain->counters().bytes.load(std::memory_order_relaxed);
    requests += state.plain->counters().requests.load(std::memory_order_relaxed);
  }
  out["Files"] =
      fmt::format("{} of {}", rest.files_considered - rest.files_pruned, rest.files_considered);
  out["By Parquet's reader"] = fmt::format("{} files", state.plain_files);
  if (io.row_groups_read + io.row_groups_pruned > 0) {
    out["Row Groups"] =
        fmt::format("{} of {}", io.row_groups_read, io.row_groups_read + io.row_groups_pruned);
    out["Pages Pruned"] = std::to_string(io.pages_pruned);
  }
  if (rest.memtable_facts > 0) out["Facts in Memory"] = std::to_string(rest.memtable_facts);
  out["Rows Read"] = std::to_string(rest.rows_scanned + state.plain_rows);
  out["Bytes"] = std::to_string(bytes);
  out["Requests"] = std::to_string(requests);
  return out;
}

}  // namespace

void ToColumn(const std::shared_ptr<arrow::Array>& from, duckdb::column_t column, int64_t offset,
              int64_t count, duckdb::Vector* to) {
  if (IsTime(column)) return ToTimes(*from, offset, count, to);
  ToVector(from, offset, count, to);
}

LaminaTableEntry* ScannedTable(const duckdb::LogicalGet& get) {
  return get.function.name == kScanName ? &get.bind_data->Cast<ScanData>().table : nullptr;
}

LaminaTableEntry* ScannedWhole(const duckdb::LogicalGet& get) {
  LaminaTableEntry* table = ScannedTable(get);
  if (table == nullptr) return nullptr;
  const auto& data = get.bind_data->Cast<ScanData>();
  if (data.index != nullptr || !data.moment.newest()) return nullptr;
  return data.guide != nullptr && data.guide->parsed.no_late_columns ? nullptr : table;
}

const Moment& MomentOf(const duckdb::LogicalGet& get) {
  return get.bind_data->Cast<ScanData>().moment;
}

Moment TargetMoment(const duckdb::PhysicalOperator& plan, const LaminaTableEntry& table) {
  if (plan.type == duckdb::PhysicalOperatorType::TABLE_SCAN) {
    const auto& scan = plan.Cast<duckdb::PhysicalTableScan>();
    const bool changes =
        std::any_of(scan.column_ids.begin(), scan.column_ids.end(),
                    [](const auto& of) { return of.GetPrimaryIndex() == kPortionFrom; });
    if (changes && scan.function.name == kScanName) {
      const auto& data = scan.bind_data->Cast<ScanData>();
      if (data.table.table().id == table.table().id) return data.moment;
    }
  }
  for (const auto& child : plan.GetChildren()) {
    Moment out = TargetMoment(child.get(), table);
    if (!out.newest()) return out;
  }
  return {};
}

void GuideScan(duckdb::LogicalGet& get, std::shared_ptr<const PlanGuide> guide) {
  get.bind_data->Cast<ScanData>().guide = std::move(guide);
}

duckdb::TableFunction MakeScanFunction(LaminaTableEntry& table, Moment moment,
                                       duckdb::unique_ptr<duckdb::FunctionData>* bind_data) {
  *bind_data = duckdb::make_uniq<ScanData>(table, std::move(moment));
  duckdb::TableFunction function(kScanName, {}, Scan, nullptr, InitScan, InitThread);
  function.projection_pushdown = true;
  function.filter_pushdown = true;
  function.filter_prune = true;
  function.get_partition_data = PartitionOf;
  function.table_scan_progress = Progress;
  function.cardinality = Cardinality;
  function.statistics = [](duckdb::ClientContext& context, const duckdb::FunctionData* data,
                           duckdb::column_t column) {
    const auto& scan = data->Cast<ScanData>();
    // Of old rows less is known: a column may have held NULL before it was NOT NULL.
    return scan.moment.newest() ? scan.table.GetStatistics(context, column) : nullptr;
  };
  // Filters of one column, whatever they compute: the reader of Parquet looks at the other columns
  // only where rows are left.
  function.pushdown_expression = [](duckdb::ClientContext&, const duckdb::LogicalGet&,
                                    duckdb::Expression&) { return true; };
  function.pushdown_complex_filter =
      [](duckdb::ClientContext& context, duckdb::LogicalGet& get, duckdb::FunctionData* data,
         duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>& filters) {
        auto& scan = data->Cast<ScanData>();
        // Entries of indexes say nothing of other moments.
        if (!scan.moment.newest()) return;
        if (scan.index == nullptr)
          scan.index = ChooseIndex(scan.table, get, filters, scan.hints(), &scan.forced);
        const auto session = SessionState::Find(context);
        if (session != nullptr && session->index_wishes != nullptr)
          session->index_wishes->Note(scan.table, get, filters);
      };
  // DuckDB tells scans of different tables apart by this when it looks for parts of a plan that are
  // equal, and takes those without it for equal. No plan is read again.
  function.serialize = [](duckdb::Serializer& serializer,
                          const duckdb::optional_ptr<duckdb::FunctionData> data,
                          const duckdb::TableFunction&) {
    const auto& scan = data->Cast<ScanData>();
    serializer.WriteProperty(100, "table", scan.table.table().id);
    serializer.WriteProperty(101, "system", scan.moment.SystemText());
    serializer.WriteProperty(102, "valid", scan.moment.ValidText());
  };
  function.deserialize = [](duckdb::Deserializer&,
                            duckdb::TableFunction&) -> duckdb::unique_ptr<duckdb::FunctionData> {
    Throw(MakeSqlError("T4009", "plans over the database's tables cannot be read again"));
  };
  function.get_bind_info = GetBindInfo;
  function.to_string = ToString;
  function.dynamic_to_string = Counters;
  function.get_virtual_columns = [](duckdb::ClientContext&,
                                    duckdb::optional_ptr<duckdb::FunctionData> data) {
    return data->Cast<ScanData>().table.GetVirtualColumns();
  };
  function.get_row_id_columns = [](duckdb::ClientContext&,
                                   duckdb::optional_ptr<duckdb::FunctionData> data) {
    return data->Cast<ScanData>().table.GetRowIdColumns();
  };
  return function;
}

}  // namespace lamina::sql
