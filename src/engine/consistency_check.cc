// Check: what is at rest, byte for byte and rule for rule.
#include <algorithm>
#include <functional>
#include <map>
#include <queue>
#include <utility>

#include <arrow/util/string.h>
#include <fmt/format.h>

#include "base/check.h"
#include "catalog/key_codec.h"
#include "engine/engine.h"
#include "engine/engine_internal.h"
#include "engine/reader.h"
#include "storage/sst/row_batch.h"

namespace lamina::engine {

using storage::manifest::Version;

namespace {

// Enough to see what kind of damage it is.
constexpr size_t kOverlapsNamedMax = 10;

/// The row versions of one key, in the order of their valid time: no two may share a moment of both
/// times. Each is compared only with its neighbours in system time among those valid together with
/// it, so a key with n versions costs n log n.
class OverlapFinder {
 public:
  void NextKey() {
    ends_ = {};
    rows_.clear();
  }
  /// What is wrong with the row, or with it and one before it; empty: nothing.
  std::string Add(int64_t valid_from, int64_t valid_to, int64_t system_from, int64_t system_to) {
    if (valid_from >= valid_to || system_from >= system_to) {
      return fmt::format("a row version without extent: valid=[{}, {}) system=[{}, {})", valid_from,
                         valid_to, system_from, system_to);
    }
    while (!ends_.empty() && ends_.top().first <= valid_from) {
      rows_.erase(ends_.top().second);
      ends_.pop();
    }
    const auto next = rows_.lower_bound(system_from);
    auto other = rows_.end();
    if (next != rows_.end() && next->first < system_to) other = next;
    if (next != rows_.begin() && std::prev(next)->second.system_to > system_from) {
      other = std::prev(next);
    }
    if (other != rows_.end()) {
      return fmt::format(
          "two row versions of one key share moments: valid=[{}, {}) system=[{}, {}) and "
          "valid=[{}, {}) system=[{}, {})",
          other->second.valid_from, other->second.valid_to, other->first, other->second.system_to,
          valid_from, valid_to, system_from, system_to);
    }
    rows_.emplace(system_from, Row{valid_from, valid_to, system_to});
    ends_.emplace(valid_to, system_from);
    return {};
  }

 private:
  struct Row {
    int64_t valid_from, valid_to, system_to;
  };
  using End = std::pair<int64_t, int64_t>;  // valid_to, and the row's place in rows_
  std::map<int64_t, Row> rows_;             // by system_from: those valid now
  std::priority_queue<End, std::vector<End>, std::greater<>> ends_;
};

Status FindOverlaps(const SnapshotPtr& snapshot, catalog::TableId table,
                    storage::sst::FileCache* files,
                    const std::function<void(int64_t rows)>& progress,
                    std::vector<std::string>* findings) {
  const catalog::TableSchemaPtr schema = snapshot->state().version->catalog.Find(table);
  const Reader reader(files);
  ScanSpec spec;
  spec.table = schema;
  const auto storage_schema = schema->StorageSchema();
  for (const int position : schema->KeyPositions())
    spec.columns.push_back(storage_schema->field(position)->name());
  for (const char* time : {catalog::kValidFromColumn, catalog::kValidToColumn,
                           catalog::kSystemFromColumn, catalog::kSystemToColumn})
    spec.columns.emplace_back(time);
  ARROW_ASSIGN_OR_RAISE(auto stream, reader.Scan(snapshot, std::move(spec), nullptr));
  const catalog::KeyCodec codec(*schema);
  OverlapFinder finder;
  std::string key;
  bool first = true;
  size_t named = 0;
  for (;;) {
    ARROW_ASSIGN_OR_RAISE(const auto batch, stream->Next());
    if (batch == nullptr) return Status::OK();
    ARROW_ASSIGN_OR_RAISE(const auto keys, codec.Encode(*batch));
    const auto times = storage::sst::TimeColumns::Of(*batch);
    progress(batch->num_rows());
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      if (const std::string_view of_row = keys->GetView(i); first || of_row != key) {
        first = false;
        key = of_row;
        finder.NextKey();
      }
      const std::string problem = finder.Add(times.valid_from[i], times.valid_to[i],
                                             times.system_from[i], times.system_to[i]);
      if (problem.empty()) continue;
      if (++named > kOverlapsNamedMax) {
        findings->push_back(fmt::format("table {}: more of that kind", schema->name));
        return Status::OK();
      }
      findings->push_back(fmt::format("table {}: {}; encoded key={}", schema->name, problem,
                                      arrow::HexEncode(key)));
    }
  }
}

}  // namespace

Result<std::vector<std::string>> EngineImpl::Check(
    const std::function<void(uint64_t done, uint64_t total)>& progress) {
  std::vector<std::string> findings;
  // What this handle has published is at rest; a snapshot keeps its files from being collected
  // while they are read.
  const SnapshotPtr snapshot = GetSnapshot(0);
  auto inspected = storage::manifest::ManifestStore::Inspect(options_.store, options_.branch);
  if (!inspected.ok())
    findings.push_back(fmt::format("manifest: {}", inspected.status().message()));
  const Version& version = *snapshot->state().version;
  if (Status verified = version.Verify(); !verified.ok()) {
    findings.push_back(fmt::format("manifest: {}", verified.message()));
  }
  uint64_t total = 1;  // the log
  for (const auto& [table, files] : version.files) total += 2 * files.size();
  uint64_t done = 0;
  const auto step = [&] {
    ++done;
    if (progress) progress(done, total);
  };
  for (const auto& [table, files] : version.files) {
    const size_t found_before = findings.size();
    // Past the engine's caches: what is checked are the bytes at rest. Each file is opened once.
    auto cache = storage::sst::FileCache::Make(
        options_.store, {0, static_cast<size_t>(options_.footer_cache_bytes),
                         static_cast<size_t>(options_.deletion_cache_bytes)});
    for (const storage::DataFilePtr& file : files) {
      storage::sst::ReadCounters counters;
      auto reader = cache->Open(file, &counters);
      Status status = reader.ok() ? (*reader)->Verify() : reader.status();
      if (!status.ok()) findings.push_back(fmt::format("{}: {}", file->Path(), status.message()));
      if (file->deletions) {
        auto deletions = cache->Deletions(file, &counters);
        if (!deletions.ok()) {
          findings.push_back(
              fmt::format("deletion vector of {}: {}", file->Path(), deletions.status().message()));
        } else if (*deletions == nullptr ||
                   (*deletions)->rows().size() != file->deletions->ended_rows ||
                   (*deletions)->max_ended() != file->deletions->max_ended) {
          findings.push_back(fmt::format(
              "deletion vector of {}: differs from what the manifest says of it", file->Path()));
        }
      }
      step();
    }
    // Rows that cannot be read have been named; what they would show means nothing.
    if (findings.size() == found_before) {
      uint64_t rows_in_all = 1, rows = 0;
      for (const storage::DataFilePtr& file : files) rows_in_all += file->rows;
      const auto scanned = [&, table_files = files.size()](int64_t more) {
        rows += static_cast<uint64_t>(more);
        if (progress)
          progress(done + std::min(rows, rows_in_all) * table_files / rows_in_all, total);
      };
      if (Status status = FindOverlaps(snapshot, table, cache.get(), scanned, &findings);
          !status.ok()) {
        findings.push_back(
            fmt::format("table {}: {}", version.catalog.Find(table)->name, status.message()));
      }
    }
    done += files.size();
    if (progress) progress(done, total);
  }
  storage::wal::ReplayOptions log;
  log.branch = options_.branch;
  log.database_id = version.database_id;
  log.read_only = true;
  Result<std::vector<storage::wal::FrameInfo>> frames = std::vector<storage::wal::FrameInfo>();
  {
    // With the commit lock held nothing is half appended or sealed. A flush of what is sealed
    // already may still move the floor and prune segments that we are about to read: then the floor
    // that is found afterwards is another one, and the log is read again from there.
    base::MutexLock lock(&commit_mu_);
    storage::manifest::WalFloor floor = this->version()->wal_floor;
    for (;;) {
      log.floor = {floor.epoch, floor.segment};
      frames = storage::wal::ListFrames(options_.store, log);
      const storage::manifest::WalFloor now = this->version()->wal_floor;
      if (now == floor) break;
      LAMINA_REACHED("engine.check.log_pruned");
      floor = now;
    }
  }
  if (!frames.ok()) {
    findings.push_back(fmt::format("log: {}", frames.status().message()));
  } else if (!frames->empty() && !frames->back().damage.empty()) {
    const storage::wal::FrameInfo& last = frames->back();
    findings.push_back(fmt::format("log: {}: {} offset={}",
                                   storage::wal::SegmentPath(options_.branch, last.segment),
                                   last.damage, last.offset));
  }
  step();
  return findings;
}

}  // namespace lamina::engine
