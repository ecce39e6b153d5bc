#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "base/mutant.h"
#include "base/out_of_memory.h"
#include "catalog/system_tables.h"
#include "db/read_internal.h"
#include "temporal/period.h"

namespace lamina::db {
namespace {

IoCounters ToPublic(const storage::sst::ReadCounters& c) {
  return {c.files_opened,    c.row_groups_read, c.row_groups_pruned, c.pages_read,
          c.pages_pruned,    c.page_cache_hits, c.bytes_read,        c.requests,
          c.bloom_negatives, c.rows_decoded};
}

class ScanReaderImpl final : public ScanReader {
 public:
  ScanReaderImpl(std::unique_ptr<engine::ScanStream> stream, int64_t snapshot_nanos)
      : stream_(std::move(stream)), snapshot_nanos_(snapshot_nanos) {
    Update();
  }

  std::shared_ptr<arrow::Schema> schema() const override { return stream_->schema(); }
  Status ReadNext(std::shared_ptr<arrow::RecordBatch>* batch) override {
    // After an error rows may be missing: the stream must not go on as if there were none.
    if (!failed_.ok()) return base::CopyOf(failed_);
    auto status = base::Guarded([&] { return stream_->Next().Value(batch); });
    if (!status.ok()) failed_ = base::CopyOf(status);
    Update();
    return status;
  }
  const ScanProfile& profile() const override { return profile_; }

 private:
  void Update() {
    const auto& p = stream_->profile();
    profile_.snapshot_nanos = snapshot_nanos_ + p.snapshot_nanos;
    profile_.plan_scan_nanos = p.plan_scan_nanos;
    profile_.build_scan_streams_nanos = p.build_scan_streams_nanos;
    profile_.merge_init_nanos = p.merge_init_nanos;
    profile_.package_init_nanos = p.package_init_nanos;
    profile_.consume_nanos = p.consume_nanos;
    profile_.files_considered = p.files_considered;
    profile_.files_pruned = p.files_pruned;
    profile_.memtable_facts = p.memtable_facts;
    profile_.rows_scanned = p.rows_scanned;
    profile_.rows_returned = p.rows_returned;
    profile_.io = ToPublic(p.io);
  }

  std::unique_ptr<engine::ScanStream> stream_;
  int64_t snapshot_nanos_;
  ScanProfile profile_;
  Status failed_;
};

/// Checks that every name is a column one may read; without names, the user's columns.
Result<std::vector<std::string>> OutputColumns(
    const catalog::TableSchema& table, const std::optional<std::vector<std::string>>& columns) {
  if (!columns.has_value()) return table.ToArrow()->field_names();
  for (const auto& name : *columns) {
    const bool hidden = name == catalog::kValidFromColumn || name == catalog::kValidToColumn ||
                        name == catalog::kSystemFromColumn || name == catalog::kSystemToColumn ||
                        name == catalog::kCommitColumn;
    if (hidden || table.FindColumn(name) != nullptr) continue;
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("unknown column: table={} column={}", table.name, name),
        fmt::format(
            "columns are: {}; hidden: _valid_from, _valid_to, _system_from, _system_to, _commit",
            fmt::join(table.ToArrow()->field_names(), ", ")));
  }
  auto sorted = *columns;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("column is asked for twice: column={}", *twice));
  }
  return *columns;
}

catalog::KeyRange Intersect(catalog::KeyRange a, const catalog::KeyRange& b) {
  a.from = std::max(a.from, b.from);
  if (!b.unbounded_to && (a.unbounded_to || b.to < a.to)) {
    a.to = b.to;
    a.unbounded_to = false;
  }
  return a;
}

Result<catalog::KeyRange> ToRange(const catalog::TableSchema& table, const KeyInterval& keys) {
  const catalog::KeyCodec codec(table);
  catalog::KeyRange range;
  if (keys.prefix.has_value()) {
    if (keys.from.has_value() || keys.to.has_value()) {
      return MakeError(ErrorCode::kInvalidArgument,
                       "a key prefix cannot be combined with from and to");
    }
    return codec.PrefixRange(*keys.prefix);
  }
  if (keys.from.has_value()) {
    ARROW_ASSIGN_OR_RAISE(const auto at, codec.PrefixRange(*keys.from));
    range.from = at.from;
  }
  if (keys.to.has_value()) {
    ARROW_ASSIGN_OR_RAISE(const auto at, codec.PrefixRange(*keys.to));
    range.to = at.from;
    range.unbounded_to = false;
  }
  return range;
}

}  // namespace

Result<catalog::TableSchemaPtr> FindTable(const engine::Snapshot& snapshot,
                                          const std::string& name) {
  return FindTable(snapshot.state().version->catalog, name);
}

Result<catalog::TableSchemaPtr> FindTable(const catalog::Catalog& catalog,
                                          const std::string& name) {
  if (auto table = catalog.Find(name)) return table;
  std::vector<std::string> names;
  for (const auto& [id, table] : catalog.tables) {
    if (!catalog::IsSystemTable(id)) names.push_back(table->name);
  }
  return MakeError(ErrorCode::kNotFound, fmt::format("unknown table: table={}", name),
                   names.empty() ? "there are no tables yet; create one first"
                                 : fmt::format("tables are: {}", fmt::join(names, ", ")));
}

TableInfo Describe(const storage::manifest::Version& version, const catalog::TableSchema& table) {
  TableInfo out;
  out.name = table.name;
  out.id = table.id.value;
  out.schema_version = table.version;
  out.schema = table.ToArrow();
  if (table.has_primary_key) {
    for (const auto id : table.key) out.key.push_back(table.FindColumn(id)->name);
  }
  out.options = table.options;
  for (const auto& f : version.FilesOf(table.id)) {
    const bool history = f->kind == storage::FileKind::kHistory;
    ++(history ? out.history_files : out.files);
    (history ? out.history_rows : out.rows_at_rest) += f->rows;
    out.bytes_at_rest += f->bytes;
  }
  const auto floor = version.history_floor.find(table.id);
  if (floor != version.history_floor.end()) out.history_floor = floor->second;
  return out;
}

Status CheckTimesFit(const ReadContext& context, const catalog::TableSchemaPtr& table,
                     const catalog::TableSchema& next) {
  const auto ticks = [](const arrow::DataType& type) {
    int64_t per_second = 1;
    for (int u = 0; u < static_cast<int>(static_cast<const arrow::TimestampType&>(type).unit());
         ++u)
      per_second *= 1000;
    return per_second;
  };
  for (const catalog::Column& column : table->columns) {
    const catalog::Column* wider = next.FindColumn(column.id);
    if (wider == nullptr || wider->type->Equals(*column.type)) continue;
    const arrow::DataType& to = *wider->type;
    if (to.id() != arrow::Type::TIMESTAMP) continue;
    const auto& from = column.type;
    const bool days = from->id() == arrow::Type::DATE32;
    const int64_t factor = days ? 86'400 * ticks(to) : ticks(to) / ticks(*from);
    const int64_t least = std::numeric_limits<int64_t>::min() / factor;
    const int64_t most = std::numeric_limits<int64_t>::max() / factor;
    if (days && most > std::numeric_limits<int32_t>::max()) continue;
    const auto scalar = [&](int64_t v) -> ScalarPtr {
      if (days) return std::make_shared<arrow::Date32Scalar>(static_cast<int32_t>(v));
      return std::make_shared<arrow::TimestampScalar>(v, from);
    };
    engine::ScanSpec spec;
    spec.table = table;
    spec.columns = {column.name};
    spec.window = {{SystemTime::Min(), SystemTime::Max()}, {ValidTime::Min(), ValidTime::Max()}};
    spec.limit = 1;
    spec.ordered = false;
    ARROW_ASSIGN_OR_RAISE(
        spec.predicate,
        catalog::Predicate::Bind(
            Or({Lt(column.name, scalar(least)), Gt(column.name, scalar(most))}), *table));
    ARROW_ASSIGN_OR_RAISE(const auto stream, context.engine->reader().Scan(
                                                 context.snapshot, std::move(spec), context.own));
    ARROW_ASSIGN_OR_RAISE(const auto found, stream->Next());
    if (found == nullptr) continue;
    ARROW_ASSIGN_OR_RAISE(const auto value, found->column(0)->GetScalar(0));
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("a stored value, perhaps of the past, does not fit the wider type: table={} "
                    "column={} from={} "
                    "to={} value={}",
                    table->name, column.name, from->ToString(), to.ToString(), value->ToString()),
        "choose a coarser unit");
  }
  return Status::OK();
}

Result<temporal::Window> ResolveWindow(const ReadContext& context, catalog::TableId table,
                                       const SystemPeriod& system, const ValidPeriod& valid) {
  ARROW_ASSIGN_OR_RAISE(const auto window,
                        temporal::ResolveWindow(system, valid, context.newest,
                                                context.snapshot->now(), [&](CommitId commit) {
                                                  return context.engine->reader().TimeOf(
                                                      *context.snapshot, commit);
                                                }));
  const auto& floors = context.snapshot->state().version->history_floor;
  const auto floor = floors.find(table);
  if (floor != floors.end() && !window.system.empty() && window.system.from < floor->second &&
      !LAMINA_MUTANT("read.floor_ignored")) {
    return MakeError(ErrorCode::kHistoryTrimmed,
                     fmt::format("history before this moment was given up: floor={} asked={}",
                                 Format(floor->second), Format(window.system.from)),
                     "ask at or above the floor");
  }
  return window;
}

SystemTime KnownUntil(const ReadContext& context) {
  return context.newest < context.snapshot->system() ? context.newest : SystemTime::Max();
}

bool SeesNewest(const ReadContext& context, const temporal::Window& window) {
  return window.system.to > context.snapshot->system();
}

Result<PreparedScan> PrepareScan(const ReadContext& context, const catalog::TableSchemaPtr& table,
                                 const ScanOptions& options) {
  PreparedScan out;
  auto& spec = out.spec;
  spec.table = table;
  ARROW_ASSIGN_OR_RAISE(spec.columns, OutputColumns(*table, options.columns));
  if (options.filter != nullptr) {
    ARROW_ASSIGN_OR_RAISE(spec.predicate, catalog::Predicate::Bind(options.filter, *table));
  }
  ARROW_ASSIGN_OR_RAISE(spec.keys, ToRange(*table, options.keys));
  ARROW_ASSIGN_OR_RAISE(spec.window,
                        ResolveWindow(context, table->id, options.system, options.valid));
  spec.newest = KnownUntil(context);
  if (options.limit.has_value() && *options.limit < 0) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("limit is negative: limit={}", *options.limit));
  }
  if (options.batch_rows < 1 || options.batch_rows > (1 << 24)) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("batch_rows is out of range: batch_rows={} range=1..16777216",
                                 options.batch_rows));
  }
  spec.limit = options.limit;
  spec.ordered = options.order_by_key;
  spec.batch_rows = options.batch_rows;
  out.range = spec.keys;
  if (spec.predicate != nullptr)
    out.range = Intersect(out.range, spec.predicate->KeyBounds(*table));
  return out;
}

Result<PreparedScan> PreparePrefixScan(const ReadContext& context, std::string_view prefix,
                                       const SystemPeriod& as_of, const ValidPeriod& valid_at,
                                       std::optional<int64_t> limit) {
  ScanOptions options;
  options.system = as_of;
  options.valid = valid_at;
  options.limit = limit;
  ARROW_ASSIGN_OR_RAISE(auto scan, PrepareScan(context, catalog::KeyValueTableSchema(), options));
  scan.spec.keys = catalog::KeyRange::Prefix(prefix);
  scan.range = scan.spec.keys;
  return scan;
}

Result<std::shared_ptr<ScanReader>> RunScan(const ReadContext& context, PreparedScan scan) {
  ARROW_ASSIGN_OR_RAISE(auto stream, context.engine->reader().Scan(
                                         context.snapshot, std::move(scan.spec), context.own));
  return std::make_shared<ScanReaderImpl>(std::move(stream), context.snapshot_nanos);
}

Result<std::shared_ptr<ScanReader>> RunSplitScan(const ReadContext& context, PreparedScan scan,
                                                 std::vector<engine::PlainFile>* plain) {
  ARROW_ASSIGN_OR_RAISE(auto stream,
                        context.engine->reader().ScanBesidePlainFiles(
                            context.snapshot, std::move(scan.spec), context.own, plain));
  return std::make_shared<ScanReaderImpl>(std::move(stream), context.snapshot_nanos);
}

Result<std::string> EncodeKey(const catalog::TableSchema& table, const Key& key) {
  return catalog::KeyCodec(table).EncodeScalars(key);
}

Result<std::shared_ptr<arrow::RecordBatch>> RunGet(
    const ReadContext& context, const catalog::TableSchemaPtr& table, std::string_view key,
    const temporal::Window& window, const std::optional<std::vector<std::string>>& columns) {
  engine::PointSpec spec;
  spec.table = table;
  spec.key = key;
  spec.window = window;
  spec.newest = KnownUntil(context);
  ARROW_ASSIGN_OR_RAISE(spec.columns, OutputColumns(*table, columns));
  storage::sst::ReadCounters counters;
  return context.engine->reader().Get(*context.snapshot, spec, context.own.get(), &counters);
}

Result<std::optional<std::string>> RunGetDocument(const ReadContext& context, std::string_view key,
                                                  const temporal::Window& window) {
  if (window.system.empty() || window.valid.empty()) return std::optional<std::string>();
  storage::sst::ReadCounters counters;
  std::string value;
  ARROW_ASSIGN_OR_RAISE(const bool found,
                        context.engine->reader().GetInline(
                            *context.snapshot, catalog::kKeyValueTable, key, window.system.from,
                            window.valid.from, context.own.get(), &value, &counters));
  if (!found) return std::optional<std::string>();
  return std::optional<std::string>(std::move(value));
}

Status CheckMoment(const SystemPeriod& as_of, const ValidPeriod& valid_at) {
  if (as_of.kind() != SystemPeriod::Kind::kRange && as_of.kind() != SystemPeriod::Kind::kAll &&
      valid_at.kind() != ValidPeriod::Kind::kRange && valid_at.kind() != ValidPeriod::Kind::kAll) {
    return Status::OK();
  }
  return MakeError(ErrorCode::kInvalidArgument,
                   "a document is read at one moment, not over a range",
                   "use DocumentVersions or ScanPrefix for all versions");
}

Status CheckDocumentKey(std::string_view key) {
  if (key.empty()) return MakeError(ErrorCode::kInvalidArgument, "key is empty");
  if (key.size() > catalog::kMaxKeyBytes) {
    return MakeError(ErrorCode::kInvalidArgument, fmt::format("key too long: bytes={} most={}",
                                                              key.size(), catalog::kMaxKeyBytes));
  }
  return Status::OK();
}

}  // namespace lamina::db
