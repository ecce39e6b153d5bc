// Which files to rearrange next. Pure: a version in, a plan out.
//
// Settled rows are independent of each other (no newer-over-older), so any set of files may be
// merged; the only rule is that files of a level >= 1 stay disjoint in key. Order of urgency:
//   1. erases: files that may still hold an erased key's bytes;
//   2. level 0: enough files -> merge them with what they overlap in level 1;
//   3. ended rows: a current file with too many -> rewrite it in place, the ended rows go to
//      history;
//   4. size: a level over its limit -> one file and what it overlaps go one level down;
//   5. history: enough files whose rows ended in the same stretch of time -> one.
#include <algorithm>
#include <map>
#include <set>

#include "engine/maintenance.h"

namespace lamina::engine {
namespace {

using storage::DataFilePtr;
using storage::FileKind;

bool IsBusy(const std::vector<base::Ulid>& busy, const DataFilePtr& file) {
  return std::find(busy.begin(), busy.end(), file->id) != busy.end();
}

bool AnyBusy(const std::vector<base::Ulid>& busy, const std::vector<DataFilePtr>& files) {
  return std::any_of(files.begin(), files.end(), [&](const auto& f) { return IsBusy(busy, f); });
}

uint64_t Bytes(const std::vector<DataFilePtr>& files) {
  uint64_t n = 0;
  for (const auto& f : files) n += f->bytes;
  return n;
}

std::vector<DataFilePtr> AtLevel(const std::vector<DataFilePtr>& files, int level) {
  std::vector<DataFilePtr> out;
  for (const auto& f : files) {
    if (f->kind == FileKind::kCurrent && f->level == level) out.push_back(f);
  }
  return out;
}

/// Files of `candidates` whose key range meets that of any of `files`.
std::vector<DataFilePtr> Overlapping(const std::vector<DataFilePtr>& files,
                                     const std::vector<DataFilePtr>& candidates) {
  std::string min = files.front()->min_key;
  std::string max = files.front()->max_key;
  for (const auto& f : files) {
    min = std::min(min, f->min_key);
    max = std::max(max, f->max_key);
  }
  std::vector<DataFilePtr> out;
  for (const auto& c : candidates) {
    if (c->min_key <= max && c->max_key >= min) out.push_back(c);
  }
  return out;
}

/// Stretches of ends that are kept together: an hour for the last two days, a day for eight weeks,
/// thirty days before.
int64_t EndBucket(SystemTime ended, int64_t now_micros) {
  constexpr int64_t kHour = int64_t{3600} * 1'000'000;
  constexpr int64_t kDay = 24 * kHour;
  const int64_t age = now_micros - ended.micros;
  const int64_t width = age < 2 * kDay ? kHour : age < 56 * kDay ? kDay : 30 * kDay;
  // The width is part of the number, so that buckets of different widths never meet.
  return (ended.micros / width) * 4 + (width == kHour ? 0 : width == kDay ? 1 : 2);
}

/// Level 0 into level 1: the oldest files up to the job's limit, and everything they overlap there.
std::optional<CompactionPlan> PickLevel0(catalog::TableId table,
                                         const std::vector<DataFilePtr>& files,
                                         const EngineOptions& options,
                                         const std::vector<base::Ulid>& busy) {
  auto level0 = AtLevel(files, 0);
  if (static_cast<int32_t>(level0.size()) < options.level0_files) return std::nullopt;
  std::erase_if(level0, [&](const auto& f) { return IsBusy(busy, f); });
  std::sort(level0.begin(), level0.end(),
            [](const auto& a, const auto& b) { return a->id < b->id; });
  const auto level1 = AtLevel(files, 1);
  CompactionPlan plan{table, FileKind::kCurrent, {}, 1, "level0"};
  std::vector<DataFilePtr> chosen;
  for (const auto& f : level0) {
    auto next = chosen;
    next.push_back(f);
    if (!chosen.empty() && static_cast<int64_t>(Bytes(next) + Bytes(Overlapping(next, level1))) >
                               options.job_bytes_max) {
      break;
    }
    chosen = std::move(next);
  }
  if (chosen.empty()) return std::nullopt;
  const auto below = Overlapping(chosen, level1);
  // Two jobs writing the same key range of level 1 would overlap.
  if (AnyBusy(busy, below)) return std::nullopt;
  plan.inputs = chosen;
  plan.inputs.insert(plan.inputs.end(), below.begin(), below.end());
  return plan;
}

std::optional<CompactionPlan> PickEnded(catalog::TableId table,
                                        const std::vector<DataFilePtr>& files,
                                        const EngineOptions& options,
                                        const std::vector<base::Ulid>& busy) {
  for (const auto& f : files) {
    if (f->kind != FileKind::kCurrent || !f->deletions.has_value() || IsBusy(busy, f)) continue;
    if (static_cast<double>(f->deletions->ended_rows) <=
        options.deleted_fraction * static_cast<double>(f->rows)) {
      continue;
    }
    return CompactionPlan{table, FileKind::kCurrent, {f}, f->level, "deleted"};
  }
  return std::nullopt;
}

std::optional<CompactionPlan> PickSize(catalog::TableId table,
                                       const std::vector<DataFilePtr>& files,
                                       const EngineOptions& options,
                                       const std::vector<base::Ulid>& busy) {
  int deepest = 0;
  for (const auto& f : files) {
    if (f->kind == FileKind::kCurrent) deepest = std::max(deepest, static_cast<int>(f->level));
  }
  double limit = static_cast<double>(options.level1_bytes);
  for (int level = 1; level <= deepest && level < 250; ++level, limit *= options.level_ratio) {
    auto here = AtLevel(files, level);
    if (static_cast<double>(Bytes(here)) <= limit) continue;
    std::sort(here.begin(), here.end(), [](const auto& a, const auto& b) { return a->id < b->id; });
    const auto next = AtLevel(files, level + 1);
    for (const auto& f : here) {
      if (IsBusy(busy, f)) continue;
      auto below = Overlapping({f}, next);
      if (AnyBusy(busy, below)) continue;
      CompactionPlan plan{table, FileKind::kCurrent, {f}, static_cast<uint8_t>(level + 1), "size"};
      plan.inputs.insert(plan.inputs.end(), below.begin(), below.end());
      return plan;
    }
  }
  return std::nullopt;
}

std::optional<CompactionPlan> PickHistory(catalog::TableId table,
                                          const std::vector<DataFilePtr>& files,
                                          const EngineOptions& options,
                                          const std::vector<base::Ulid>& busy, int64_t now_micros) {
  std::map<int64_t, std::vector<DataFilePtr>> buckets;
  for (const auto& f : files) {
    if (f->kind != FileKind::kHistory || IsBusy(busy, f)) continue;
    if (static_cast<int64_t>(f->bytes) >= options.file_bytes_target / 2)
      continue;  // Large enough already.
    buckets[EndBucket(f->max_system_to, now_micros)].push_back(f);
  }
  for (auto& [bucket, members] : buckets) {
    if (static_cast<int32_t>(members.size()) < options.history_files) continue;
    CompactionPlan plan{table, FileKind::kHistory, {}, 0, "history"};
    for (const auto& f : members) {
      if (!plan.inputs.empty() &&
          static_cast<int64_t>(Bytes(plan.inputs) + f->bytes) > options.job_bytes_max)
        break;
      plan.inputs.push_back(f);
    }
    if (plan.inputs.size() >= 2) return plan;
  }
  return std::nullopt;
}

std::optional<CompactionPlan> PickErase(const storage::manifest::Version& version,
                                        const std::vector<base::Ulid>& busy) {
  for (const auto& erase : version.erases) {
    for (const auto& f : version.FilesOf(erase.table)) {
      if (IsBusy(busy, f) || erase.key < f->min_key || erase.key > f->max_key) continue;
      // The erase marked the key's rows in the deletion vector; a file without one holds none of
      // them, and files written after the erase hold only what was put after it.
      if (!f->deletions.has_value() || f->min_commit > erase.commit) continue;
      return CompactionPlan{erase.table, f->kind, {f}, f->level, "erase"};
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<CompactionPlan> PickCompaction(const storage::manifest::Version& version,
                                             const EngineOptions& options,
                                             const std::vector<base::Ulid>& busy,
                                             int64_t now_micros) {
  if (auto plan = PickErase(version, busy)) return plan;
  // The table with the most level-0 files first: its writers are the ones held back.
  std::vector<std::pair<size_t, catalog::TableId>> tables;
  for (const auto& [id, files] : version.files) {
    if (version.catalog.Find(id) != nullptr) tables.emplace_back(AtLevel(files, 0).size(), id);
  }
  std::stable_sort(tables.begin(), tables.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  for (const auto& [n, id] : tables) {
    if (auto plan = PickLevel0(id, version.FilesOf(id), options, busy)) return plan;
  }
  for (const auto& [n, id] : tables) {
    if (auto plan = PickEnded(id, version.FilesOf(id), options, busy)) return plan;
    if (auto plan = PickSize(id, version.FilesOf(id), options, busy)) return plan;
    if (auto plan = PickHistory(id, version.FilesOf(id), options, busy, now_micros)) return plan;
  }
  return std::nullopt;
}

std::vector<CompactionPlan> PlanFullCompaction(const storage::manifest::Version& version,
                                               catalog::TableId table,
                                               const EngineOptions& options) {
  (void)options;
  CompactionPlan current{table, FileKind::kCurrent, {}, 1, "manual"};
  CompactionPlan history{table, FileKind::kHistory, {}, 0, "manual"};
  bool needed = false;
  for (const auto& f : version.FilesOf(table)) {
    if (f->kind == FileKind::kHistory) {
      history.inputs.push_back(f);
      needed = needed || f->deletions.has_value();
      continue;
    }
    current.inputs.push_back(f);
    current.output_level = std::max<uint8_t>(current.output_level, f->level);
    needed = needed || f->level == 0 || f->deletions.has_value();
  }
  for (const auto& f : current.inputs) needed = needed || f->level != current.output_level;
  std::vector<CompactionPlan> plans;
  if (needed && !current.inputs.empty()) plans.push_back(std::move(current));
  // The engine plans history anew after the current files are done: their ended rows make new
  // history files.
  const bool fold_history = std::any_of(history.inputs.begin(), history.inputs.end(),
                                        [](const auto& f) { return f->deletions.has_value(); });
  if (history.inputs.size() > 1 || fold_history) plans.push_back(std::move(history));
  return plans;
}

}  // namespace lamina::engine
