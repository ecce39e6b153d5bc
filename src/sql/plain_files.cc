#include "sql/plain_files.h"

#include <arrow/type.h>
#include <duckdb/catalog/catalog_entry/table_function_catalog_entry.hpp>
#include <duckdb/common/multi_file/multi_file_list.hpp>
#include <duckdb/common/multi_file/multi_file_reader.hpp>
#include <duckdb/common/multi_file/multi_file_states.hpp>
#include <duckdb/execution/execution_context.hpp>
#include <duckdb/main/extension/extension_loader.hpp>
#include <duckdb/parser/tableref/table_function_ref.hpp>
#include <fmt/format.h>

#include "base/scope_guard.h"
#include "sql/error_translation.h"
#include "sql/types.h"

namespace lamina::sql {
namespace {

using duckdb::idx_t;
using storage::sst::DeletionVectorPtr;
using storage::sst::FileReaderPtr;

constexpr char kParquetScan[] = "parquet_scan";
constexpr char kScanOption[] = "lamina_scan";  // of a file: the scan's number

// ---- Files ----

class PlainFileHandle final : public duckdb::FileHandle {
 public:
  PlainFileHandle(duckdb::FileSystem& system, const std::string& path, FileReaderPtr of,
                  std::shared_ptr<PlainFiles::Counters> of_scan)
      : FileHandle(system, path, duckdb::FileOpenFlags::FILE_FLAGS_READ),
        reader(std::move(of)),
        counters(std::move(of_scan)) {}
  void Close() override {}

  const FileReaderPtr reader;
  const std::shared_ptr<PlainFiles::Counters> counters;
  idx_t position = 0;
};

/// Read only. It gives neither a version nor a time of files, which never change.
class PlainFileSystem final : public duckdb::FileSystem {
 public:
  explicit PlainFileSystem(std::shared_ptr<PlainFiles> files) : files_(std::move(files)) {}

  std::string GetName() const override { return "LaminaFileSystem"; }
  bool CanHandleFile(const duckdb::string& path) override {
    return path.starts_with(PlainFiles::kScheme);
  }
  duckdb::unique_ptr<duckdb::FileHandle> OpenFile(
      const duckdb::string& path, duckdb::FileOpenFlags flags,
      duckdb::optional_ptr<duckdb::FileOpener> opener) override {
    return OpenFileExtended(duckdb::OpenFileInfo(path), flags, opener);
  }
  /// Names are whole: that there is no such file shows when it is opened.
  duckdb::vector<duckdb::OpenFileInfo> Glob(const duckdb::string& path,
                                            duckdb::FileOpener*) override {
    return {duckdb::OpenFileInfo(path)};
  }
  bool SupportsOpenFileExtended() const override { return true; }
  duckdb::unique_ptr<duckdb::FileHandle> OpenFileExtended(
      const duckdb::OpenFileInfo& info, duckdb::FileOpenFlags flags,
      duckdb::optional_ptr<duckdb::FileOpener>) override {
    FileReaderPtr reader = files_->Find(info.path);
    uint64_t scan = 0;
    if (info.extended_info != nullptr) {
      const auto number = info.extended_info->options.find(kScanOption);
      if (number != info.extended_info->options.end()) scan = number->second.GetValue<uint64_t>();
    }
    auto counters = files_->CountersOf(scan);
    if (reader == nullptr || counters == nullptr || flags.OpenForWriting()) {
      if (flags.ReturnNullIfNotExists()) return nullptr;
      Throw(
          MakeSqlError("T5014", "files of the database are read through its tables: " + info.path));
    }
    return duckdb::make_uniq<PlainFileHandle>(*this, info.path, std::move(reader),
                                              std::move(counters));
  }
  void Read(duckdb::FileHandle& handle, void* buffer, int64_t count, idx_t location) override {
    const auto& file = handle.Cast<PlainFileHandle>();
    ThrowIfError(file.reader->ReadBytes(static_cast<int64_t>(location), count,
                                        static_cast<char*>(buffer), nullptr));
    // relaxed: statistics
    file.counters->bytes.fetch_add(static_cast<uint64_t>(count), std::memory_order_relaxed);
    file.counters->requests.fetch_add(1, std::memory_order_relaxed);
  }
  int64_t Read(duckdb::FileHandle& handle, void* buffer, int64_t count) override {
    auto& file = handle.Cast<PlainFileHandle>();
    count = std::min(count, GetFileSize(handle) - static_cast<int64_t>(file.position));
    Read(handle, buffer, count, file.position);
    file.position += static_cast<idx_t>(count);
    return count;
  }
  int64_t GetFileSize(duckdb::FileHandle& handle) override {
    return static_cast<int64_t>(handle.Cast<PlainFileHandle>().reader->file().bytes);
  }
  duckdb::timestamp_t GetLastModifiedTime(duckdb::FileHandle&) override {
    return duckdb::timestamp_t(0);
  }
  duckdb::string GetVersionTag(duckdb::FileHandle&) override { return ""; }
  duckdb::FileType GetFileType(duckdb::FileHandle&) override {
    return duckdb::FileType::FILE_TYPE_REGULAR;
  }
  bool FileExists(const duckdb::string& path, duckdb::optional_ptr<duckdb::FileOpener>) override {
    return files_->Find(path) != nullptr;
  }
  void Seek(duckdb::FileHandle& handle, idx_t location) override {
    handle.Cast<PlainFileHandle>().position = location;
  }
  idx_t SeekPosition(duckdb::FileHandle& handle) override {
    return handle.Cast<PlainFileHandle>().position;
  }
  bool CanSeek() override { return true; }
  /// False: then DuckDB reads column chunks whole, and keeps them in its buffers.
  bool OnDiskFile(duckdb::FileHandle&) override { return false; }

 private:
  const std::shared_ptr<PlainFiles> files_;
};

// ---- The reader ----

/// What the reader of one scan has to know; travels in TableFunction::function_info.
struct ScanInfo final : public duckdb::TableFunctionInfo {
  std::vector<PlainScan::Column> columns;
  duckdb::vector<duckdb::OpenFileInfo> files;
  std::map<std::string, DeletionVectorPtr> ended;
};

class EndedRows final : public duckdb::DeleteFilter {
 public:
  explicit EndedRows(DeletionVectorPtr ended) : ended_(std::move(ended)) {}

  /// Ascending positions of rows that have not ended. All of them: the selection is left alone.
  idx_t Filter(duckdb::row_t start, idx_t count, duckdb::SelectionVector& result) override {
    const auto first = static_cast<uint64_t>(start);
    if (ended_->RowsIn(first, first + count).empty()) return count;
    result.Initialize(STANDARD_VECTOR_SIZE);
    idx_t kept = 0;
    for (idx_t i = 0; i < count; ++i) {
      result.set_index(kept, i);
      kept += ended_->IsEnded(first + i) ? 0 : 1;
    }
    return kept;
  }

 private:
  const DeletionVectorPtr ended_;
};

class PlainFileReader final : public duckdb::MultiFileReader {
 public:
  explicit PlainFileReader(duckdb::shared_ptr<ScanInfo> info) : info_(std::move(info)) {}

  duckdb::shared_ptr<duckdb::MultiFileList> CreateFileList(duckdb::ClientContext&,
                                                           const duckdb::vector<duckdb::string>&,
                                                           const duckdb::FileGlobInput&) override {
    return duckdb::make_shared_ptr<duckdb::SimpleMultiFileList>(info_->files);
  }
  /// True: no file need be opened to know the columns.
  bool Bind(duckdb::MultiFileOptions&, duckdb::MultiFileList&,
            duckdb::vector<duckdb::LogicalType>& types, duckdb::vector<duckdb::string>& names,
            duckdb::MultiFileReaderBindData& bind_data) override {
    for (const PlainScan::Column& column : info_->columns) {
      names.push_back(column.name);
      types.push_back(column.type);
      duckdb::MultiFileColumnDefinition definition(column.name, column.type);
      definition.identifier = duckdb::Value(column.name);
      bind_data.schema.push_back(std::move(definition));
    }
    bind_data.mapping = duckdb::MultiFileColumnMappingMode::BY_NAME;
    return true;
  }
  void BindOptions(duckdb::MultiFileOptions&, duckdb::MultiFileList&,
                   duckdb::vector<duckdb::LogicalType>&, duckdb::vector<duckdb::string>&,
                   duckdb::MultiFileReaderBindData&) override {}
  duckdb::ReaderInitializeType InitializeReader(
      duckdb::MultiFileReaderData& data, const duckdb::MultiFileBindData& bind_data,
      const duckdb::vector<duckdb::MultiFileColumnDefinition>& columns,
      const duckdb::vector<duckdb::ColumnIndex>& ids,
      duckdb::optional_ptr<duckdb::TableFilterSet> filters, duckdb::ClientContext& context,
      duckdb::MultiFileGlobalState& global) override {
    const auto it = info_->ended.find(data.reader->GetFileName());
    if (it != info_->ended.end())
      data.reader->deletion_filter = duckdb::make_uniq<EndedRows>(it->second);
    return MultiFileReader::InitializeReader(data, bind_data, columns, ids, filters, context,
                                             global);
  }
  duckdb::unique_ptr<MultiFileReader> Copy() const override {
    return duckdb::make_uniq<PlainFileReader>(info_);
  }

  static duckdb::unique_ptr<MultiFileReader> Make(const duckdb::TableFunction& function) {
    return duckdb::make_uniq<PlainFileReader>(
        duckdb::shared_ptr_cast<duckdb::TableFunctionInfo, ScanInfo>(function.function_info));
  }

 private:
  const duckdb::shared_ptr<ScanInfo> info_;
};

}  // namespace

// ---- PlainFiles ----

std::shared_ptr<PlainFiles> PlainFiles::Install(duckdb::DatabaseInstance& instance) {
  auto out = std::make_shared<PlainFiles>();
  instance.GetFileSystem().RegisterSubSystem(duckdb::make_uniq<PlainFileSystem>(out));
  return out;
}

bool PlainFiles::Allowed(duckdb::ClientContext& context) {
  return duckdb::DBConfig::GetConfig(context).CanAccessFile(std::string(kScheme) + "data",
                                                            duckdb::FileType::FILE_TYPE_REGULAR);
}

std::string PlainFiles::PathOf(const storage::DataFile& file) { return kScheme + file.Path(); }

void PlainFiles::Add(const engine::PlainFile& file) {
  base::MutexLock lock(&mu_);
  auto& [reader, scans] = open_[PathOf(*file.file)];
  reader = file.reader;
  ++scans;
}

void PlainFiles::Remove(const engine::PlainFile& file) {
  base::MutexLock lock(&mu_);
  const auto it = open_.find(PathOf(*file.file));
  if (it != open_.end() && --it->second.second == 0) open_.erase(it);
}

FileReaderPtr PlainFiles::Find(const std::string& path) {
  base::MutexLock lock(&mu_);
  const auto it = open_.find(path);
  return it == open_.end() ? nullptr : it->second.first;
}

uint64_t PlainFiles::AddScan(std::shared_ptr<Counters> counters) {
  base::MutexLock lock(&mu_);
  scans_[next_scan_] = std::move(counters);
  return next_scan_++;
}

void PlainFiles::RemoveScan(uint64_t scan) {
  base::MutexLock lock(&mu_);
  scans_.erase(scan);
}

std::shared_ptr<PlainFiles::Counters> PlainFiles::CountersOf(uint64_t scan) {
  base::MutexLock lock(&mu_);
  const auto it = scans_.find(scan);
  return it == scans_.end() ? nullptr : it->second;
}

bool ReadsAsItIs(const arrow::Field& field, const duckdb::LogicalType& type) {
  using duckdb::LogicalTypeId;
  if (type.HasAlias() || !IsPlain(type)) return false;
  const arrow::DataType& at_rest = *field.type();
  const auto micros = [&](bool zone) {
    const auto& time = static_cast<const arrow::TimestampType&>(at_rest);
    return time.unit() == arrow::TimeUnit::MICRO && time.timezone().empty() != zone;
  };
  switch (at_rest.id()) {
    case arrow::Type::BOOL:
      return type.id() == LogicalTypeId::BOOLEAN;
    case arrow::Type::INT8:
      return type.id() == LogicalTypeId::TINYINT;
    case arrow::Type::INT16:
      return type.id() == LogicalTypeId::SMALLINT;
    case arrow::Type::INT32:
      return type.id() == LogicalTypeId::INTEGER;
    case arrow::Type::INT64:
      return type.id() == LogicalTypeId::BIGINT;
    case arrow::Type::UINT8:
      return type.id() == LogicalTypeId::UTINYINT;
    case arrow::Type::UINT16:
      return type.id() == LogicalTypeId::USMALLINT;
    case arrow::Type::UINT32:
      return type.id() == LogicalTypeId::UINTEGER;
    case arrow::Type::UINT64:
      return type.id() == LogicalTypeId::UBIGINT;
    case arrow::Type::FLOAT:
      return type.id() == LogicalTypeId::FLOAT;
    case arrow::Type::DOUBLE:
      return type.id() == LogicalTypeId::DOUBLE;
    case arrow::Type::DECIMAL128:
      return type.id() == LogicalTypeId::DECIMAL;
    case arrow::Type::STRING:
      return type.id() == LogicalTypeId::VARCHAR;
    case arrow::Type::BINARY:
      return type.id() == LogicalTypeId::BLOB;
    case arrow::Type::DATE32:
      return type.id() == LogicalTypeId::DATE;
    case arrow::Type::TIMESTAMP:
      return (type.id() == LogicalTypeId::TIMESTAMP && micros(false)) ||
             (type.id() == LogicalTypeId::TIMESTAMP_TZ && micros(true));
    default:
      return false;
  }
}

// ---- PlainScan ----

PlainScan::PlainScan(duckdb::ClientContext& context, std::shared_ptr<PlainFiles> files,
                     std::vector<engine::PlainFile> scanned, std::vector<Column> columns,
                     duckdb::unique_ptr<duckdb::TableFilterSet> filters)
    : files_(std::move(files)),
      counters_(std::make_shared<PlainFiles::Counters>()),
      number_(files_->AddScan(counters_)),
      scanned_(std::move(scanned)),
      columns_(std::move(columns)),
      filters_(std::move(filters)) {
  base::ScopeGuard undo([&] { files_->RemoveScan(number_); });
  auto info = duckdb::make_shared_ptr<ScanInfo>();
  info->columns = columns_;
  for (const engine::PlainFile& file : scanned_) {
    duckdb::OpenFileInfo opened(PlainFiles::PathOf(*file.file));
    opened.extended_info = duckdb::make_shared_ptr<duckdb::ExtendedOpenFileInfo>();
    auto& options = opened.extended_info->options;
    options["file_size"] = duckdb::Value::UBIGINT(file.file->bytes);
    options["footer_size"] = duckdb::Value::UBIGINT(file.file->footer_length - 8);
    // With neither a version nor a time to validate by, DuckDB does not keep copies of what the
    // system's page cache has.
    options["validate_external_file_cache"] = duckdb::Value::BOOLEAN(true);
    options["etag"] = duckdb::Value("");
    options["last_modified"] = duckdb::Value::TIMESTAMP(duckdb::timestamp_t(0));
    options[kScanOption] = duckdb::Value::UBIGINT(number_);
    options["has_deletes"] = duckdb::Value::BOOLEAN(file.ended != nullptr);
    if (file.ended != nullptr) info->ended[opened.path] = file.ended;
    info->files.push_back(std::move(opened));
  }

  duckdb::ExtensionLoader loader(*context.db, "lamina");
  auto entry = loader.TryGetTableFunction(kParquetScan);
  if (entry == nullptr) throw duckdb::InternalException("DuckDB has no %s", kParquetScan);
  function_ = entry->Cast<duckdb::TableFunctionCatalogEntry>().functions.functions.front();
  function_.name = "lamina_files";
  function_.get_multi_file_reader = PlainFileReader::Make;
  function_.function_info = std::move(info);

  duckdb::vector<duckdb::Value> inputs{duckdb::Value("")};
  duckdb::named_parameter_map_t parameters;
  duckdb::vector<duckdb::LogicalType> input_types, types;
  duckdb::vector<duckdb::string> input_names, names;
  const duckdb::TableFunctionRef ref;
  duckdb::TableFunctionBindInput bind(inputs, parameters, input_types, input_names,
                                      function_.function_info.get(), nullptr, function_, ref);
  bind_data_ = function_.bind(context, bind, types, names);
  // Tells the reader of the column that means nothing.
  (void)function_.get_virtual_columns(context, bind_data_.get());

  for (idx_t i = 0; i < columns_.size(); ++i) column_ids_.push_back(i);
  if (columns_.empty()) column_ids_.push_back(duckdb::COLUMN_IDENTIFIER_EMPTY);
  for (const engine::PlainFile& file : scanned_) files_->Add(file);
  base::ScopeGuard close([&] {
    for (const engine::PlainFile& file : scanned_) files_->Remove(file);
  });
  auto input = Input();
  global_ = function_.init_global(context, input);
  close.Dismiss();
  undo.Dismiss();
}

PlainScan::~PlainScan() {
  files_->RemoveScan(number_);
  for (const engine::PlainFile& file : scanned_) files_->Remove(file);
}

duckdb::TableFunctionInitInput PlainScan::Input() const {
  static const duckdb::vector<idx_t> kAll;
  return {bind_data_.get(), column_ids_, kAll, filters_.get()};
}

std::unique_ptr<PlainScan::Local> PlainScan::MakeLocal(duckdb::ExecutionContext& context) {
  auto out = std::make_unique<Local>();
  auto input = Input();
  out->state = function_.init_local(context, input, global_.get());
  duckdb::vector<duckdb::LogicalType> types;
  for (const Column& column : columns_) types.push_back(column.type);
  if (types.empty()) types.push_back(duckdb::LogicalType::BOOLEAN);
  out->rows.Initialize(context.client, types);
  return out;
}

bool PlainScan::Next(duckdb::ClientContext& context, Local* local) {
  if (local->state == nullptr) return false;  // more threads than there is to read
  for (;;) {
    local->rows.Reset();
    duckdb::TableFunctionInput input(bind_data_.get(), local->state.get(), global_.get());
    function_.function(context, input, local->rows);
    if (input.async_result.GetResultType() == duckdb::AsyncResultType::BLOCKED) {
      input.async_result.ExecuteTasksSynchronously();
      continue;
    }
    if (local->rows.size() > 0) return true;
    if (input.async_result.GetResultType() != duckdb::AsyncResultType::HAVE_MORE_OUTPUT)
      return false;
  }
}

duckdb::OperatorPartitionData PlainScan::PartitionOf(duckdb::ClientContext& context, Local* local,
                                                     const duckdb::OperatorPartitionInfo& wanted) {
  duckdb::TableFunctionGetPartitionInput input(bind_data_.get(), local->state.get(), global_.get(),
                                               wanted);
  return function_.get_partition_data(context, input);
}

double PlainScan::Progress(duckdb::ClientContext& context) const {
  return function_.table_scan_progress == nullptr
             ? -1
             : function_.table_scan_progress(context, bind_data_.get(), global_.get());
}

}  // namespace lamina::sql
