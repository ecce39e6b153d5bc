#include "engine/bulk_load.h"

#include <algorithm>
#include <list>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <arrow/array/concatenate.h>
#include <arrow/compute/api.h>
#include <fmt/format.h>

#include "base/check.h"
#include "base/error_detail.h"
#include "base/mutant.h"
#include "base/mutex.h"
#include "catalog/key_codec.h"
#include "engine/bulk_load_internal.h"
#include "engine/row_output_internal.h"

namespace lamina::engine {
namespace {

using storage::DataFile;

// What the files say of their commit until there is one.
constexpr int64_t kPlaceholderSystem = 0;
constexpr uint64_t kPlaceholderCommit = 1;

Status Twice(const catalog::TableSchema& table, std::string_view key) {
  return MakeKeyError(
      ErrorCode::kAlreadyExists,
      fmt::format("two rows have one key: table={} key={}", table.name, KeyText(table, key)), "",
      std::string(key));
}

class BulkLoadImpl final : public BulkLoad {
 public:
  BulkLoadImpl(JobContext context, catalog::TableSchemaPtr table, std::function<void()> on_end)
      : context_(std::move(context)), table_(std::move(table)), on_end_(std::move(on_end)) {
    // Nothing of it may be in the engine's cache: there the entries get another commit.
    storage::sst::CacheOptions cache;
    cache.page_cache_bytes = size_t{8} << 20;
    files_cache_ = storage::sst::FileCache::Make(context_.store, cache);
    context_.files = files_cache_.get();
  }

  ~BulkLoadImpl() override {
    // What cannot be deleted now is an orphan that a later collection finds.
    if (!kept_) {
      for (const auto& of_one_call : written_)
        for (const std::string& path : of_one_call) (void)context_.store->Delete(path);
    }
    on_end_();
  }

  const catalog::TableSchemaPtr& table() const override { return table_; }
  const std::vector<DataFile>& files() const override { return files_; }
  uint64_t rows() const override {
    return std::accumulate(files_.begin(), files_.end(), uint64_t{0},
                           [](uint64_t sum, const DataFile& f) { return sum + f.rows; });
  }
  void Keep() override { kept_ = true; }

  Status Write(const std::vector<Piece>& pieces) override {
    std::vector<std::string>* written = nullptr;
    {
      base::MutexLock lock(&mu_);
      LAMINA_CHECK(!finished_);
      written = &written_.emplace_back();
    }
    ARROW_ASSIGN_OR_RAISE(const bool in_order, InOrder(pieces));
    std::vector<Piece> sorted;
    if (!in_order) ARROW_RETURN_NOT_OK(Sort(pieces, &sorted));
    storage::sst::WriterOptions options =
        FileOptions(*context_.options, *table_, storage::FileKind::kCurrent, /*level=*/0,
                    /*valid_columns=*/false, /*last_level=*/false);
    options.system_columns = false;
    FileSequence sequence(context_, table_, options, written);
    for (const Piece& piece : in_order ? pieces : sorted) {
      if (context_.cancelled && context_.cancelled())
        return MakeError(ErrorCode::kCancelled, "load cancelled");
      TimeVectors times;
      const auto n = static_cast<size_t>(piece.rows->num_rows());
      times.valid_from.assign(n, ValidTime::Min().micros);
      times.valid_to.assign(n, ValidTime::Max().micros);
      times.system_from.assign(n, kPlaceholderSystem);
      times.system_to.assign(n, SystemTime::Max().micros);
      times.commit.assign(n, static_cast<int64_t>(kPlaceholderCommit));
      ARROW_ASSIGN_OR_RAISE(const auto rows, MakeRowBatch(*table_, *piece.rows, std::move(times)));
      ARROW_RETURN_NOT_OK(sequence.Write(rows, piece.keys, nullptr));
    }
    ARROW_RETURN_NOT_OK(sequence.Finish());
    base::MutexLock lock(&mu_);
    files_.insert(files_.end(), sequence.files().begin(), sequence.files().end());
    return Status::OK();
  }

  Status Finish() override {
    base::MutexLock lock(&mu_);
    LAMINA_CHECK(!std::exchange(finished_, true));
    SortFiles();
    std::vector<DataFile> disjoint;
    for (size_t first = 0; first < files_.size();) {
      std::string_view max = files_[first].max_key;
      size_t end = first + 1;
      for (; end < files_.size() && files_[end].min_key <= max; ++end)
        max = std::max<std::string_view>(max, files_[end].max_key);
      if (end == first + 1) {
        disjoint.push_back(std::move(files_[first]));
      } else {
        ARROW_RETURN_NOT_OK(Merge({files_.data() + first, end - first}, &disjoint));
      }
      first = end;
    }
    files_ = std::move(disjoint);
    return Status::OK();
  }

  Result<bool> Contains(std::string_view key) const override {
    const auto after =
        std::upper_bound(files_.begin(), files_.end(), key,
                         [](std::string_view k, const DataFile& f) { return k < f.min_key; });
    if (after == files_.begin() || key > std::prev(after)->max_key) return false;
    storage::sst::ReadCounters counters;
    ARROW_ASSIGN_OR_RAISE(
        const auto reader,
        files_cache_->Open(std::make_shared<const DataFile>(*std::prev(after)), &counters));
    if (!reader->KeyMayExist(key, catalog::HashKey(key), &counters)) return false;
    ARROW_ASSIGN_OR_RAISE(const auto found, reader->FindKey(key, &counters));
    return !found.empty();
  }

 private:
  void SortFiles() {
    std::sort(files_.begin(), files_.end(),
              [](const DataFile& a, const DataFile& b) { return a.min_key < b.min_key; });
  }

  /// Whether the keys ascend. kAlreadyExists: two neighbours are equal.
  Result<bool> InOrder(const std::vector<Piece>& pieces) const {
    std::string_view last;
    bool any = false;
    for (const Piece& piece : pieces) {
      for (int64_t i = 0; i < piece.keys->length(); ++i) {
        const std::string_view key = piece.keys->GetView(i);
        if (any && key <= last) {
          if (key == last) return Twice(*table_, key);
          return false;
        }
        last = key;
        any = true;
      }
    }
    return true;
  }

  static size_t CommonPrefix(const std::vector<Piece>& pieces) {
    std::optional<std::string_view> common;
    for (const Piece& piece : pieces) {
      for (int64_t i = 0; i < piece.keys->length(); ++i) {
        const std::string_view key = piece.keys->GetView(i);
        if (!common.has_value()) common = key;
        const auto differ =
            std::mismatch(common->begin(), common->end(), key.begin(), key.end()).first;
        common = common->substr(0, static_cast<size_t>(differ - common->begin()));
      }
    }
    return common.has_value() ? common->size() : 0;
  }

  Status Sort(const std::vector<Piece>& pieces, std::vector<Piece>* out) const {
    struct Row {
      uint64_t prefix;  // 8 bytes of the key: they decide most comparisons without a look at it
      uint32_t piece;
      uint32_t row;
    };
    std::vector<Row> rows;
    std::vector<int64_t> first{0};
    for (const Piece& piece : pieces) first.push_back(first.back() + piece.keys->length());
    rows.reserve(static_cast<size_t>(first.back()));
    // Behind what all keys begin with: of a small number in a wide column the first bytes say
    // little.
    const size_t common = CommonPrefix(pieces);
    for (uint32_t p = 0; p < pieces.size(); ++p) {
      for (int64_t i = 0; i < pieces[p].keys->length(); ++i) {
        rows.push_back({catalog::KeyPrefix(pieces[p].keys->GetView(i).substr(common)), p,
                        static_cast<uint32_t>(i)});
      }
    }
    const auto key_of = [&](const Row& row) { return pieces[row.piece].keys->GetView(row.row); };
    std::sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) {
      return a.prefix != b.prefix ? a.prefix < b.prefix : key_of(a) < key_of(b);
    });
    arrow::RecordBatchVector batches;
    for (const Piece& piece : pieces) batches.push_back(piece.rows);
    // Once: taking rows of many chunks joins them every time.
    ARROW_ASSIGN_OR_RAISE(const auto joined, arrow::ConcatenateRecordBatches(batches));
    constexpr size_t kRowsAtOnce = size_t{64} << 10;
    std::string_view last;
    for (size_t begin = 0; begin < rows.size(); begin += kRowsAtOnce) {
      const size_t end = std::min(rows.size(), begin + kRowsAtOnce);
      std::vector<int64_t> take;
      take.reserve(end - begin);
      arrow::BinaryBuilder keys;
      ARROW_RETURN_NOT_OK(keys.Reserve(static_cast<int64_t>(end - begin)));
      for (size_t i = begin; i < end; ++i) {
        const std::string_view key = key_of(rows[i]);
        if (i > 0 && key == last) return Twice(*table_, key);
        last = key;
        take.push_back(first[rows[i].piece] + rows[i].row);
        ARROW_RETURN_NOT_OK(keys.Append(key));
      }
      ARROW_ASSIGN_OR_RAISE(const arrow::Datum taken,
                            arrow::compute::Take(arrow::Datum(joined),
                                                 MakeInt64Like(std::move(take), arrow::int64())));
      std::shared_ptr<arrow::BinaryArray> key_array;
      ARROW_RETURN_NOT_OK(keys.Finish(&key_array));
      out->push_back({taken.record_batch(), std::move(key_array)});
    }
    return Status::OK();
  }

  /// As a compaction of a table that has these files alone.
  Status Merge(std::span<DataFile> files, std::vector<DataFile>* out) LAMINA_REQUIRES(mu_) {
    LAMINA_REACHED("engine.load.merged");
    auto version = std::make_shared<storage::manifest::Version>();
    version->catalog.tables[table_->id] = table_;
    CompactionPlan plan{table_->id, storage::FileKind::kCurrent, {}, /*output_level=*/1, "load"};
    plan.one_row_a_key = !LAMINA_MUTANT("load.key_twice_in_two_files");
    for (const DataFile& file : files)
      plan.inputs.push_back(std::make_shared<const DataFile>(file));
    version->files[table_->id] = plan.inputs;
    const auto job = CompactionJob::Make(context_, version, std::move(plan));
    ARROW_RETURN_NOT_OK(job->Run());
    ARROW_ASSIGN_OR_RAISE(JobResult result, job->Finish(*version));
    written_.push_back(std::move(result.written));
    for (DataFile& file : result.edit.add_files) out->push_back(std::move(file));
    // Not before the job has ended: what cannot be deleted is found by a collection.
    for (const DataFile& file : files) (void)context_.store->Delete(file.Path());
    return Status::OK();
  }

  JobContext context_;
  const catalog::TableSchemaPtr table_;
  const std::function<void()> on_end_;
  std::unique_ptr<storage::sst::FileCache> files_cache_;
  bool kept_ = false;

  base::Mutex mu_;
  bool finished_ LAMINA_GUARDED_BY(mu_) = false;
  /// One entry a call: each is filled without the lock.
  std::list<std::vector<std::string>> written_ LAMINA_GUARDED_BY(mu_);
  /// Constant once finished_.
  std::vector<DataFile> files_;
};

}  // namespace

std::unique_ptr<BulkLoad> MakeBulkLoad(JobContext context, catalog::TableSchemaPtr table,
                                       std::function<void()> on_end) {
  return std::make_unique<BulkLoadImpl>(std::move(context), std::move(table), std::move(on_end));
}

}  // namespace lamina::engine
