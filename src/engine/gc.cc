// History retention and garbage collection.
//
// An object is deleted only when (1) the newest version does not refer to it, (2) no version held
// by a live snapshot does, and (3) it has been out of use for longer than the grace. Candidates are
// the manifest's retired list and, for crashes between writing and publishing, objects under data/
// that no version names ("orphans"). A missing object counts as deleted.
#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "base/mutant.h"
#include "engine/maintenance.h"

namespace lamina::engine {
namespace {

void AddReferences(const storage::manifest::Version& version, std::set<std::string>* paths) {
  for (const auto& [table, files] : version.files) {
    for (const auto& f : files) {
      paths->insert(f->Path());
      if (f->deletions.has_value() && !LAMINA_MUTANT("gc.vectors_in_use_forgotten"))
        paths->insert(storage::DeletionVectorPath(table, f->deletions->object));
    }
  }
}

bool IsDeletionVector(const std::string& path) { return path.ends_with(".dv"); }

/// The ulid in data/<table>/<ulid>.<kind>.
std::optional<base::Ulid> NameOf(const std::string& path) {
  const auto slash = path.rfind('/');
  const auto dot = path.rfind('.');
  if (slash == std::string::npos || dot == std::string::npos || dot < slash) return std::nullopt;
  const auto id = base::Ulid::Parse(path.substr(slash + 1, dot - slash - 1));
  if (!id.ok()) return std::nullopt;
  return *id;
}

}  // namespace

Result<storage::manifest::VersionEdit> PlanTrim(const storage::manifest::Version& version,
                                                catalog::TableId table, SystemTime floor) {
  if (version.catalog.Find(table) == nullptr)
    return MakeError(ErrorCode::kNotFound, "table does not exist");
  const auto old = version.history_floor.find(table);
  if (old != version.history_floor.end() && floor < old->second) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("history floor cannot be lowered: floor={} asked={}",
                                 Format(old->second), Format(floor)),
                     "what lay below the floor may be gone already");
  }
  if (floor > version.flushed_system) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("history floor is later than the newest flushed commit: newest={} asked={}",
                    Format(version.flushed_system), Format(floor)),
        "give a moment in the past");
  }
  for (const auto& [name, checkpoint] : version.checkpoints) {
    if (checkpoint.system >= floor) continue;
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("a checkpoint needs history below the floor: checkpoint={} at={} asked={}",
                    name, Format(checkpoint.system), Format(floor)),
        "drop the checkpoint first, or give an earlier floor");
  }
  storage::manifest::VersionEdit edit;
  edit.reason = "trim";
  edit.history_floor.emplace_back(table, floor);
  for (const auto& f : version.FilesOf(table)) {
    // A row that ended at the floor is not visible at it: [from, floor).
    if (f->kind == storage::FileKind::kHistory &&
        (LAMINA_MUTANT("trim.file_dropped_by_its_first_end") ? f->min_system_to
                                                             : f->max_system_to) <= floor)
      edit.remove_files.emplace_back(table, f->id);
  }
  return edit;
}

Result<std::pair<GcReport, storage::manifest::VersionEdit>> CollectGarbage(
    const JobContext& context, const storage::manifest::Version& newest,
    const std::vector<storage::manifest::VersionPtr>& live, int64_t grace_micros,
    const base::Ulid& names_below, const std::function<Status()>& confirm, bool dry_run) {
  GcReport report;
  storage::manifest::VersionEdit edit;
  edit.reason = "gc";
  edit.created_micros = context.clock->NowMicros();

  std::set<std::string> in_use;
  AddReferences(newest, &in_use);
  std::set<std::string> pinned;
  if (!LAMINA_MUTANT("gc.snapshots_ignored"))
    for (const auto& version : live) AddReferences(*version, &pinned);

  const int64_t now = context.clock->NowMicros();
  ARROW_ASSIGN_OR_RAISE(const auto objects, context.store->List("data/"));
  std::map<std::string, int64_t> sizes;
  for (const auto& o : objects) sizes[o.path] = o.size;

  std::vector<std::string> candidates;
  std::set<std::string> retired;
  const auto size_of = [&](const std::string& path) {
    const auto size = sizes.find(path);
    return size == sizes.end() ? uint64_t{0} : static_cast<uint64_t>(size->second);
  };
  for (const auto& r : newest.retired) {
    retired.insert(r.path);
    if (in_use.count(r.path) != 0) continue;
    if (pinned.count(r.path) != 0) {
      report.kept.push_back(fmt::format("{}: a live snapshot reads it", r.path));
      report.kept_bytes += size_of(r.path);
      report.pinned_bytes += size_of(r.path);
    } else if (grace_micros > 0 && !LAMINA_MUTANT("gc.grace_ignored") &&
               r.retired_at_micros + grace_micros > now) {
      report.kept.push_back(fmt::format("{}: within the grace", r.path));
      report.kept_bytes += size_of(r.path);
    } else {
      candidates.push_back(r.path);
      report.reclaim_micros += std::max<int64_t>(now - r.retired_at_micros, 0);
    }
  }
  for (const auto& o : objects) {
    if (in_use.count(o.path) != 0 || pinned.count(o.path) != 0 || retired.count(o.path) != 0)
      continue;
    const auto name = NameOf(o.path);
    if (!name.has_value()) {
      report.kept.push_back(fmt::format("{}: not one of ours", o.path));
      continue;
    }
    // What a job that is still running wrote is no orphan yet.
    if (!(*name < names_below) ||
        (grace_micros > 0 && name->timestamp_ms() * 1000 + grace_micros > now)) {
      report.kept.push_back(fmt::format("{}: unreferenced, within the grace", o.path));
      report.kept_bytes += static_cast<uint64_t>(o.size);
      continue;
    }
    candidates.push_back(o.path);
  }
  ARROW_RETURN_NOT_OK(confirm());
  std::stable_sort(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
    return IsDeletionVector(a) && !IsDeletionVector(b);
  });
  for (const auto& path : candidates) {
    if (!dry_run) ARROW_RETURN_NOT_OK(context.store->Delete(path));
    report.bytes += size_of(path);
    report.deleted.push_back(path);
    if (!dry_run && retired.count(path) != 0) edit.forget_retired.push_back(path);
  }
  return std::make_pair(std::move(report), std::move(edit));
}

}  // namespace lamina::engine
