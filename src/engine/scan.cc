// Planning a scan and packing its batches.
#include <algorithm>
#include <functional>
#include <tuple>

#include <arrow/scalar.h>
#include <fmt/format.h>

#include "base/check.h"
#include "base/metrics.h"
#include "engine/overlay_internal.h"
#include "engine/scan_internal.h"
#include "storage/sst/row_batch.h"

namespace lamina::engine {
namespace internal {
namespace {

using storage::ColumnStats;
using storage::DataFile;
using storage::DataFilePtr;
using storage::FileKind;

// Batches below this many rows are joined: a selective predicate would otherwise cost its consumer
// more than us.
constexpr int64_t kSmallBatchRows = 1024;

bool MeetsTimes(const DataFile& file, const temporal::Window& window) {
  if (file.min_system_from >= window.system.to) return false;
  if (file.kind == FileKind::kHistory && file.max_system_to <= window.system.from) return false;
  if (!file.has_valid_columns) return true;
  return file.min_valid_from < window.valid.to && window.valid.from < file.max_valid_to;
}

std::optional<std::string> EncodeTime(int64_t micros) {
  Result<std::optional<std::string>> encoded =
      catalog::EncodeValue(arrow::TimestampScalar(micros, storage::sst::TimeType()));
  return encoded.ok() ? *encoded : std::nullopt;
}

catalog::ColumnRange TimeRange(int64_t min, int64_t max) {
  return {EncodeTime(min), EncodeTime(max), /*may_have_null=*/false, /*may_have_value=*/true};
}

// What the manifest knows of a column's values in a file, as a scan sees them.
std::optional<catalog::ColumnRange> RangeOf(const DataFile& file, const catalog::TableSchema& table,
                                            bool touched, SystemTime newest,
                                            const std::string& name) {
  if (IsBoundColumn(name)) {
    if (touched) return std::nullopt;  // Unresolved facts change these.
    if (name == catalog::kValidFromColumn)
      return TimeRange(file.min_valid_from.micros, file.max_valid_from.micros);
    if (name == catalog::kValidToColumn)
      return TimeRange(file.min_valid_to.micros, file.max_valid_to.micros);
    if (file.deletions.has_value() || newest != SystemTime::Max()) return std::nullopt;
    return TimeRange(file.min_system_to.micros, file.max_system_to.micros);
  }
  if (name == catalog::kSystemFromColumn)
    return TimeRange(file.min_system_from.micros, file.max_system_from.micros);
  if (name == catalog::kCommitColumn) {
    const auto min =
        catalog::EncodeValue(arrow::Int64Scalar(static_cast<int64_t>(file.min_commit.value)));
    const auto max =
        catalog::EncodeValue(arrow::Int64Scalar(static_cast<int64_t>(file.max_commit.value)));
    if (!min.ok() || !max.ok()) return std::nullopt;
    return catalog::ColumnRange{*min, *max, false, true};
  }
  // A column may have been widened since the file was written, and the bounds' encoding goes with
  // the type.
  if (file.schema_version != table.version) return std::nullopt;
  const catalog::Column* column = table.FindColumn(name);
  if (column == nullptr) return std::nullopt;
  for (const ColumnStats& stats : file.columns) {
    if (stats.column != column->id) continue;
    return catalog::ColumnRange{stats.min, stats.max, stats.null_count > 0,
                                stats.null_count < file.rows};
  }
  return std::nullopt;
}

bool MayMatch(const DataFile& file, const ScanContext& context, bool touched) {
  const ScanSpec& spec = context.spec;
  return spec.predicate->CanMatch([&](const std::string& name) {
    return RangeOf(file, *spec.table, touched, spec.newest, name);
  });
}

std::vector<DataFilePtr> ChooseFiles(ScanContext* context, const Overlay& overlay) {
  const ScanSpec& spec = context->spec;
  std::vector<DataFilePtr> chosen;
  for (const DataFilePtr& file : context->snapshot.state().version->FilesOf(spec.table->id)) {
    ++context->profile.files_considered;
    bool wanted = spec.keys.Overlaps(file->min_key, file->max_key);
    if (wanted && spec.use_pruning) {
      wanted = MeetsTimes(*file, spec.window);
      if (wanted && spec.predicate != nullptr) {
        const bool touched = !overlay.decided() && overlay.Touches(file->min_key, file->max_key);
        wanted = MayMatch(*file, *context, touched);
      }
    }
    if (wanted) {
      chosen.push_back(file);
    } else {
      ++context->profile.files_pruned;
    }
  }
  return chosen;
}

// Files in as few chains as possible, each without overlaps; only files that overlap another source
// give keys.
Result<std::vector<std::unique_ptr<RowSource>>> MakeFileSources(ScanContext* context,
                                                                std::vector<DataFilePtr> files,
                                                                const Overlay& overlay) {
  std::vector<std::unique_ptr<RowSource>> sources;
  if (!context->spec.ordered) {
    for (DataFilePtr& file : files)
      sources.push_back(MakeFileSource(context, std::move(file), &overlay, false));
    return sources;
  }
  std::sort(files.begin(), files.end(), [](const DataFilePtr& a, const DataFilePtr& b) {
    return std::tie(a->min_key, a->max_key, a->id) < std::tie(b->min_key, b->max_key, b->id);
  });
  std::vector<bool> needs_keys(files.size());
  bool any = false;
  std::string_view max_before;
  for (size_t i = 0; i < files.size(); ++i) {
    const DataFile& file = *files[i];
    const bool overlaps = (i > 0 && max_before >= file.min_key) ||
                          (i + 1 < files.size() && files[i + 1]->min_key <= file.max_key);
    needs_keys[i] = overlaps || overlay.Touches(file.min_key, file.max_key);
    any = any || needs_keys[i];
    if (i == 0 || max_before < file.max_key) max_before = file.max_key;
  }
  if (any && !context->moment) ARROW_RETURN_NOT_OK(context->EmitMergeTimes());

  struct ChainOfFiles {
    std::string_view max_key;
    std::vector<std::unique_ptr<RowSource>> sources;
  };
  std::vector<ChainOfFiles> chains;
  for (size_t i = 0; i < files.size(); ++i) {
    // The chain that ends nearest before the file begins.
    ChainOfFiles* best = nullptr;
    for (ChainOfFiles& chain : chains) {
      if (chain.max_key < files[i]->min_key && (best == nullptr || chain.max_key > best->max_key))
        best = &chain;
    }
    if (best == nullptr) best = &chains.emplace_back();
    best->max_key = files[i]->max_key;
    best->sources.push_back(MakeFileSource(context, files[i], &overlay, needs_keys[i]));
  }
  for (ChainOfFiles& chain : chains) sources.push_back(MakeChain(std::move(chain.sources)));
  return sources;
}

// Fewer of a file's pages than this part are better read page by page than as whole row groups.
constexpr uint32_t kFewPagesPart = 4;

// Moves the plain ones out of `files`.
Status TakePlainFiles(ScanContext* context, const Overlay& overlay, std::vector<DataFilePtr>* files,
                      std::vector<PlainFile>* plain) {
  const ScanSpec& spec = context->spec;
  if (!context->moment) return Status::OK();
  std::vector<DataFilePtr> rest;
  for (DataFilePtr& file : *files) {
    const bool steady = file->kind == FileKind::kCurrent && !file->has_valid_columns &&
                        file->max_system_from < spec.window.system.to &&
                        file->schema_version == spec.table->version &&
                        !overlay.Touches(file->min_key, file->max_key);
    if (!steady) {
      rest.push_back(std::move(file));
      continue;
    }
    PlainFile out;
    ARROW_ASSIGN_OR_RAISE(out.reader, context->files->Open(file, &context->profile.io));
    auto pages = out.reader->PagesInKeyRange(spec.keys);
    if (spec.predicate != nullptr)
      pages = out.reader->Prune(pages, *spec.predicate, nullptr, spec.table.get());
    uint32_t count = 0;
    for (const auto& run : pages) count += run.last - run.first;
    if (count * kFewPagesPart < out.reader->page_count()) {
      rest.push_back(std::move(file));
      continue;
    }
    ARROW_ASSIGN_OR_RAISE(out.ended, context->files->Deletions(file, &context->profile.io));
    if (out.ended != nullptr) {
      ARROW_ASSIGN_OR_RAISE(out.ended, storage::sst::EndedBy(out.ended, spec.window.system.from));
    }
    out.file = std::move(file);
    plain->push_back(std::move(out));
  }
  *files = std::move(rest);
  return Status::OK();
}

class ScanStreamImpl : public ScanStream {
 public:
  ScanStreamImpl(std::unique_ptr<ScanContext> context, SnapshotPtr snapshot,
                 std::shared_ptr<const Memtable> own)
      : snapshot_(std::move(snapshot)), own_(std::move(own)), context_(std::move(context)) {}
  ~ScanStreamImpl() override {
    merger_.reset();  // Its sources write to the profile to the last.
    if (context_->totals != nullptr)
      context_->totals->AddScan(context_->profile.rows_returned, context_->profile.io);
  }

  Status Start(std::vector<PlainFile>* plain) {
    ScanProfile& profile = context_->profile;
    base::Clock* clock = base::SystemClock();
    {
      base::PhaseTimer timer(clock, &profile.snapshot_nanos);
      ARROW_RETURN_NOT_OK(context_->Prepare());
    }
    const ScanSpec& spec = context_->spec;
    if (spec.window.empty() || IsEmpty(spec.keys) || context_->rows_left == 0) {
      done_ = true;
      return Status::OK();
    }
    std::vector<std::unique_ptr<RowSource>> sources;
    std::vector<DataFilePtr> files;
    {
      base::PhaseTimer timer(clock, &profile.build_scan_streams_nanos);
      overlay_ = std::make_unique<Overlay>(context_.get());
    }
    {
      base::PhaseTimer timer(clock, &profile.plan_scan_nanos);
      files = ChooseFiles(context_.get(), *overlay_);
      if (plain != nullptr)
        ARROW_RETURN_NOT_OK(TakePlainFiles(context_.get(), *overlay_, &files, plain));
    }
    {
      base::PhaseTimer timer(clock, &profile.build_scan_streams_nanos);
      ARROW_ASSIGN_OR_RAISE(sources, MakeFileSources(context_.get(), std::move(files), *overlay_));
      if (!overlay_->empty()) sources.push_back(overlay_->MakeSource());
    }
    {
      base::PhaseTimer timer(clock, &profile.merge_init_nanos);
      merger_ = std::make_unique<RowMerger>(context_.get(), std::move(sources));
    }
    base::PhaseTimer timer(clock, &profile.package_init_nanos);
    small_rows_ = std::min(kSmallBatchRows, spec.batch_rows);
    return Status::OK();
  }

  Result<BatchPtr> Next() override {
    base::PhaseTimer timer(base::SystemClock(), &context_->profile.consume_nanos);
    if (ready_ == nullptr) {
      ARROW_ASSIGN_OR_RAISE(ready_, Pack());
      if (ready_ == nullptr) return nullptr;
    }
    BatchPtr batch = ready_;
    const int64_t rows_max = context_->spec.batch_rows;
    if (batch->num_rows() > rows_max) {
      ready_ = batch->Slice(rows_max);
      batch = batch->Slice(0, rows_max);
    } else {
      ready_ = nullptr;
    }
    context_->profile.rows_returned += static_cast<uint64_t>(batch->num_rows());
    return batch;
  }

  const ScanProfile& profile() const override { return context_->profile; }
  const std::shared_ptr<arrow::Schema>& schema() const override { return context_->output_schema; }

 private:
  // The next rows in the output's form, cut to the limit.
  Result<BatchPtr> Pack() {
    arrow::RecordBatchVector parts;
    int64_t rows = 0;
    while (!done_ && rows < small_rows_) {
      ARROW_ASSIGN_OR_RAISE(BatchPtr batch, merger_->Next());
      if (batch == nullptr) {
        done_ = true;
        break;
      }
      if (context_->rows_left.has_value()) {
        if (batch->num_rows() >= *context_->rows_left) {
          batch = batch->Slice(0, *context_->rows_left);
          done_ = true;
        }
        *context_->rows_left -= batch->num_rows();
      }
      rows += batch->num_rows();
      parts.push_back(std::move(batch));
    }
    if (done_) merger_.reset();  // Lets go of pages and files as soon as no more rows are wanted.
    if (parts.empty()) return nullptr;
    BatchPtr batch = parts[0];
    if (parts.size() > 1) {
      ARROW_ASSIGN_OR_RAISE(batch, arrow::ConcatenateRecordBatches(parts));
    }
    arrow::ArrayVector columns;
    columns.reserve(context_->output_positions.size());
    for (const int position : context_->output_positions)
      columns.push_back(batch->column(position));
    return arrow::RecordBatch::Make(context_->output_schema, batch->num_rows(), std::move(columns));
  }

  const SnapshotPtr snapshot_;
  const std::shared_ptr<const Memtable> own_;
  const std::unique_ptr<ScanContext> context_;
  std::unique_ptr<Overlay> overlay_;
  std::unique_ptr<RowMerger> merger_;
  BatchPtr ready_;
  int64_t small_rows_ = 0;
  bool done_ = false;
};

}  // namespace

std::optional<std::string_view> SingleKey(const catalog::KeyRange& range) {
  if (range.unbounded_to || range.to.size() != range.from.size() + 1 || range.to.back() != '\0' ||
      !range.to.starts_with(range.from)) {
    return std::nullopt;
  }
  return range.from;
}

catalog::KeyRange Intersect(const catalog::KeyRange& a, const catalog::KeyRange& b) {
  catalog::KeyRange range = a;
  range.from = std::max(a.from, b.from);
  if (!b.unbounded_to && (a.unbounded_to || b.to < a.to)) {
    range.to = b.to;
    range.unbounded_to = false;
  }
  return range;
}

Result<std::shared_ptr<arrow::Field>> OutputField(const catalog::TableSchema& table,
                                                  const std::string& name) {
  if (name == catalog::kCommitColumn) return arrow::field(name, arrow::int64(), /*nullable=*/false);
  if (IsTimeColumn(name)) return arrow::field(name, storage::sst::TimeType(), /*nullable=*/false);
  const catalog::Column* column = table.FindColumn(name);
  if (column == nullptr) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("the table has no such column: table={} column={}", table.name, name));
  }
  return arrow::field(name, column->type, column->nullable, column->metadata);
}

bool IsBoundColumn(const std::string& name) {
  return name == catalog::kValidFromColumn || name == catalog::kValidToColumn ||
         name == catalog::kSystemToColumn;
}

bool IsTimeColumn(const std::string& name) {
  return IsBoundColumn(name) || name == catalog::kSystemFromColumn ||
         name == catalog::kCommitColumn;
}

std::vector<std::string> KeyColumnNames(const catalog::TableSchema& table) {
  std::vector<std::string> names;
  for (const int position : table.KeyPositions())
    names.push_back(table.columns[static_cast<size_t>(position)].name);
  return names;
}

int AddColumnName(std::vector<std::string>* names, const std::string& name) {
  const auto it = std::find(names->begin(), names->end(), name);
  const auto position = static_cast<int>(it - names->begin());
  if (it == names->end()) names->push_back(name);
  return position;
}

int64_t LowerBound(const arrow::BinaryArray& keys, std::string_view key, int64_t from) {
  int64_t low = from;
  int64_t high = from;
  int64_t step = 1;
  while (high < keys.length() && keys.GetView(high) < key) {
    low = high + 1;
    high += step;
    step *= 2;
  }
  high = std::min(high, keys.length());
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (keys.GetView(middle) < key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

ScanContext::ScanContext(const Snapshot& snapshot_in, const Memtable* own_in,
                         storage::sst::FileCache* files_in, ScanSpec spec_in)
    : snapshot(snapshot_in),
      own(own_in),
      files(files_in),
      spec(std::move(spec_in)),
      codec(*spec.table),
      key_columns(KeyColumnNames(*spec.table)) {}

Status ScanContext::Prepare() {
  LAMINA_CHECK(spec.batch_rows > 0);
  if (spec.columns.empty()) spec.ordered = false;  // Rows without columns are all the same.
  arrow::FieldVector output, emit;
  for (const std::string& name : spec.columns) {
    ARROW_ASSIGN_OR_RAISE(auto field, OutputField(*spec.table, name));
    output.push_back(field);
    const auto known = emit_columns.size();
    output_positions.push_back(AddColumnName(&emit_columns, name));
    if (emit_columns.size() > known) emit.push_back(std::move(field));
  }
  output_schema = arrow::schema(std::move(output));
  moment = IsMoment(spec.window);
  emit_schema = arrow::schema(std::move(emit));

  const auto bound = [](const std::string& name) { return IsBoundColumn(name); };
  bounds_matter = !moment || std::any_of(spec.columns.begin(), spec.columns.end(), bound);
  if (spec.predicate != nullptr) {
    const auto& read = spec.predicate->columns();
    bounds_matter = bounds_matter || std::any_of(read.begin(), read.end(), bound);
    spec.keys = Intersect(spec.keys, spec.predicate->KeyBounds(*spec.table));
  }
  single_key = SingleKey(spec.keys);
  if (single_key.has_value()) single_key_hash = catalog::HashKey(*single_key);
  if (spec.limit.has_value()) rows_left = std::max<int64_t>(0, *spec.limit);
  return Status::OK();
}

Status ScanContext::EmitMergeTimes() {
  merge_by_times = true;
  arrow::FieldVector fields = emit_schema->fields();
  for (const char* name : {catalog::kValidFromColumn, catalog::kSystemFromColumn}) {
    const size_t known = emit_columns.size();
    AddColumnName(&emit_columns, name);
    if (emit_columns.size() == known) continue;
    ARROW_ASSIGN_OR_RAISE(auto field, OutputField(*spec.table, name));
    fields.push_back(std::move(field));
  }
  emit_schema = arrow::schema(std::move(fields));
  return Status::OK();
}

bool ScanContext::PredicateReads(const std::string& column) const {
  if (spec.predicate == nullptr) return false;
  const auto& columns = spec.predicate->columns();
  return std::find(columns.begin(), columns.end(), column) != columns.end();
}

Result<std::unique_ptr<ScanStream>> MakeScanStream(std::unique_ptr<ScanContext> context,
                                                   SnapshotPtr snapshot,
                                                   std::shared_ptr<const Memtable> own,
                                                   std::vector<PlainFile>* plain) {
  auto stream =
      std::make_unique<ScanStreamImpl>(std::move(context), std::move(snapshot), std::move(own));
  ARROW_RETURN_NOT_OK(stream->Start(plain));
  return stream;
}

}  // namespace internal

Result<std::unique_ptr<ScanStream>> Reader::Scan(SnapshotPtr snapshot, ScanSpec spec,
                                                 std::shared_ptr<const Memtable> own) const {
  auto context =
      std::make_unique<internal::ScanContext>(*snapshot, own.get(), files_, std::move(spec));
  context->totals = totals_;
  return internal::MakeScanStream(std::move(context), std::move(snapshot), std::move(own));
}

Result<std::unique_ptr<ScanStream>> Reader::ScanBesidePlainFiles(
    SnapshotPtr snapshot, ScanSpec spec, std::shared_ptr<const Memtable> own,
    std::vector<PlainFile>* plain) const {
  LAMINA_CHECK(!spec.ordered && !spec.limit.has_value());
  auto context =
      std::make_unique<internal::ScanContext>(*snapshot, own.get(), files_, std::move(spec));
  context->totals = totals_;
  return internal::MakeScanStream(std::move(context), std::move(snapshot), std::move(own), plain);
}

}  // namespace lamina::engine
