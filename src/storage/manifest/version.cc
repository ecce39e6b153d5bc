// Apply works on a copy of the version whose file vectors share the DataFile objects; per touched
// table one pass over its vector of pointers. Invariants M1 … M12 stand in README.md.
#include "storage/manifest/version.h"

#include <algorithm>
#include <bit>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "catalog/system_tables.h"
#include "storage/manifest/format_internal.h"

namespace lamina::storage::manifest {

namespace {

/// Current before history, then by level, min_key, id.
bool FileLess(const DataFile& a, const DataFile& b) {
  if (a.kind != b.kind) return a.kind < b.kind;
  if (a.level != b.level) return a.level < b.level;
  if (const int order = a.min_key.compare(b.min_key); order != 0) return order < 0;
  return a.id < b.id;
}
bool PointerLess(const DataFilePtr& a, const DataFilePtr& b) { return FileLess(*a, *b); }

bool DisjointLevel(const DataFile& file) {
  return file.kind == FileKind::kCurrent && file.level >= 1;
}

// The checks below return the broken rule, or an empty string.

/// M6, M7: what a file says of itself and of its table.
std::string FileProblem(const DataFile& f, const catalog::TableSchema& table) {
  if (f.id.is_zero() || f.rows == 0) return "M6: file without id or rows";
  if (f.min_key > f.max_key || f.min_system_from > f.max_system_from ||
      f.min_commit > f.max_commit || f.min_system_to > f.max_system_to ||
      f.min_valid_from > f.max_valid_from || f.min_valid_to > f.max_valid_to) {
    return "M6: bounds of a file are reversed";
  }
  if (!f.has_system_columns &&
      (f.kind != FileKind::kCurrent || f.min_commit != f.max_commit || f.min_commit.value == 0 ||
       f.min_system_from != f.max_system_from)) {
    return "M6: a file without system columns is of one commit";
  }
  if (f.footer_length > f.bytes) return "M6: footer is longer than the file";
  if (f.schema_version == 0 || f.schema_version > table.version)
    return "M6: file names a schema version that is not there";
  if (f.deletions) {
    if (f.deletions->ended_rows > f.rows)
      return "M7: deletion vector ends more rows than the file has";
    if (f.deletions->object.is_zero() || f.deletions->length == 0)
      return "M7: empty deletion vector reference";
  }
  return {};
}

/// M3, M5: two neighbours of a table.
std::string OrderProblem(const DataFile& before, const DataFile& file) {
  if (!FileLess(before, file))
    return fmt::format("M3: files are not sorted: before={} file={}", before.Path(), file.Path());
  if (DisjointLevel(file) && before.kind == file.kind && before.level == file.level &&
      before.max_key >= file.min_key) {
    return fmt::format("M5: files of a level overlap in key: level={} before={} file={}",
                       file.level, before.Path(), file.Path());
  }
  return {};
}

/// M2: names and numbers of the catalogue.
std::string CatalogProblem(const catalog::Catalog& catalog) {
  std::set<std::string_view> names;
  for (const auto& [id, table] : catalog.tables) {
    if (table == nullptr || table->id != id)
      return fmt::format("M2: table is filed under another id: table={}", id.value);
    if (catalog::IsSystemTable(id)) continue;
    if (!names.insert(table->name).second)
      return fmt::format("M2: two tables of one name: name={}", table->name);
    if (id.value >= catalog.next_table_id)
      return fmt::format("M2: table id was never given: table={}", id.value);
  }
  return {};
}

/// M8, M9: floors, checkpoints.
std::string FloorProblem(const Version& v) {
  if (v.wal_floor.epoch > v.owner_epoch) {
    return fmt::format("M8: log floor is of an epoch that is to come: floor={} owner_epoch={}",
                       v.wal_floor.epoch, v.owner_epoch);
  }
  SystemTime newest_floor = SystemTime::Min();
  for (const auto& [table, floor] : v.history_floor) {
    if (floor > v.flushed_system) {
      return fmt::format(
          "M8: history floor is above the newest flushed commit: table={} floor={} flushed={}",
          table.value, floor.micros, v.flushed_system.micros);
    }
    newest_floor = std::max(newest_floor, floor);
  }
  for (const auto& [name, checkpoint] : v.checkpoints) {
    if (name.empty() || checkpoint.name != name)
      return "M9: checkpoint is filed under another name: name=" + checkpoint.name;
    if (checkpoint.system < newest_floor) {
      return fmt::format("M9: checkpoint lies below a history floor: name={} system={} floor={}",
                         name, checkpoint.system.micros, newest_floor.micros);
    }
  }
  return {};
}

Status Misfit(std::string what) {
  return MakeError(ErrorCode::kInvalidArgument, "version edit does not fit: " + std::move(what));
}

std::string TablePath(catalog::TableId table, const base::Ulid& id) {
  return fmt::format("table={} file={}", table.value, id.ToString());
}

/// One application of an edit to a private copy of a version.
class Applier {
 public:
  Applier(const VersionEdit& edit, Version* v) : edit_(edit), v_(*v) {
    if (!v_.recent.empty()) {
      totals_ = v_.recent.back();
    } else {
      for (const auto& [table, files] : v_.files) {
        for (const DataFilePtr& file : files) Count(*file);
      }
    }
  }

  Status Run() {
    ++v_.number;
    if (edit_.owner_epoch) {
      if (*edit_.owner_epoch <= v_.owner_epoch) {
        return Misfit(fmt::format("owner epoch does not rise: epoch={} newest={}",
                                  *edit_.owner_epoch, v_.owner_epoch));
      }
      v_.owner_epoch = *edit_.owner_epoch;
    }
    ARROW_RETURN_NOT_OK(ChangeTables());
    ARROW_RETURN_NOT_OK(RemoveFiles());
    ARROW_RETURN_NOT_OK(AddFiles());
    ARROW_RETURN_NOT_OK(SetDeletions());
    RetireUnreferencedDeletions();
    ARROW_RETURN_NOT_OK(RaiseFloors());
    ARROW_RETURN_NOT_OK(ChangeMarks());
    ARROW_RETURN_NOT_OK(CheckWhole());
    totals_.number = v_.number;
    totals_.commit = v_.flushed_commit;
    totals_.system = v_.flushed_system;
    totals_.created_micros = edit_.created_micros;
    totals_.reason = edit_.reason;
    if (v_.recent.size() >= Version::kRecentVersions) {
      v_.recent.erase(v_.recent.begin(),
                      v_.recent.begin() +
                          static_cast<ptrdiff_t>(v_.recent.size() - Version::kRecentVersions + 1));
    }
    v_.recent.push_back(totals_);
    return Status::OK();
  }

 private:
  void Count(const DataFile& file) {
    ++totals_.files;
    totals_.bytes += file.bytes;
    totals_.rows += file.rows;
  }
  void Discount(const DataFile& file) {
    --totals_.files;
    totals_.bytes -= file.bytes;
    totals_.rows -= file.rows;
  }
  void Retire(std::string path) {
    v_.retired.push_back({std::move(path), v_.number, edit_.created_micros});
  }

  /// A file leaves the version; its deletion vector follows when nothing else refers to that
  /// object.
  void RetireFile(const DataFile& file) {
    Discount(file);
    Retire(file.Path());
    if (file.deletions) loose_deletions_[file.table].insert(file.deletions->object);
  }

  Status RequireTable(catalog::TableId table) const {
    if (v_.catalog.tables.count(table) != 0) return Status::OK();
    return Misfit(fmt::format("table is not there: table={}", table.value));
  }

  Status ChangeTables() {
    if (edit_.put_tables.empty() && edit_.drop_tables.empty()) return Status::OK();
    const uint64_t first_new_id = v_.catalog.next_table_id;
    for (const catalog::TableSchemaPtr& table : edit_.put_tables) {
      ARROW_RETURN_NOT_OK(table->Verify());
      catalog::TableSchemaPtr& slot = v_.catalog.tables[table->id];
      if (slot != nullptr) {
        if (table->version <= slot->version) {
          return Misfit(fmt::format("table version does not rise: table={} version={} newest={}",
                                    table->id.value, table->version, slot->version));
        }
      } else if (!catalog::IsSystemTable(table->id)) {
        // A number below was given before, and may belong to a table that was dropped.
        if (table->id.value < first_new_id)
          return Misfit(fmt::format("table id is used up: table={}", table->id.value));
        v_.catalog.next_table_id = std::max(v_.catalog.next_table_id, table->id.value + 1);
      }
      slot = table;
    }
    for (const catalog::TableId table : edit_.drop_tables) {
      ARROW_RETURN_NOT_OK(RequireTable(table));
      for (const DataFilePtr& file : v_.FilesOf(table)) RetireFile(*file);
      v_.files.erase(table);
      v_.catalog.tables.erase(table);
      v_.next_row_id.erase(table);
      v_.history_floor.erase(table);
      std::erase_if(v_.erases, [&](const PendingErase& e) { return e.table == table; });
    }
    if (std::string problem = CatalogProblem(v_.catalog); !problem.empty())
      return Misfit(std::move(problem));
    return Status::OK();
  }

  Status RemoveFiles() {
    std::map<catalog::TableId, std::unordered_set<base::Ulid>> removed;
    for (const auto& [table, id] : edit_.remove_files) {
      if (!removed[table].insert(id).second)
        return Misfit("file is removed twice: " + TablePath(table, id));
    }
    for (auto& [table, ids] : removed) {
      const auto slot = v_.files.find(table);
      if (slot != v_.files.end()) {
        std::erase_if(slot->second, [&](const DataFilePtr& file) {
          if (ids.erase(file->id) == 0) return false;
          RetireFile(*file);
          return true;
        });
        if (slot->second.empty()) v_.files.erase(slot);
      }
      if (!ids.empty())
        return Misfit("file to remove is not there: " + TablePath(table, *ids.begin()));
    }
    return Status::OK();
  }

  Status AddFiles() {
    std::map<catalog::TableId, std::vector<DataFilePtr>> added;
    for (const DataFile& file : edit_.add_files) {
      const auto table = v_.catalog.tables.find(file.table);
      if (table == v_.catalog.tables.end())
        return Misfit("file of a table that is not there: " + TablePath(file.table, file.id));
      if (std::string problem = FileProblem(file, *table->second); !problem.empty()) {
        return Misfit(problem + ": " + TablePath(file.table, file.id));
      }
      fresh_paths_.insert(file.Path());
      if (file.deletions)
        fresh_paths_.insert(DeletionVectorPath(file.table, file.deletions->object));
      newest_added_ = std::max(newest_added_, file.max_commit);
      Count(file);
      added[file.table].push_back(std::make_shared<const DataFile>(file));
    }
    for (auto& [table, files] : added) {
      std::unordered_set<base::Ulid> ids;
      for (const DataFilePtr& file : files) {
        if (!ids.insert(file->id).second)
          return Misfit("file is added twice: " + TablePath(table, file->id));
      }
      std::vector<DataFilePtr>& present = v_.files[table];
      for (const DataFilePtr& file : present) {
        if (ids.count(file->id) != 0)
          return Misfit("file to add is already there: " + TablePath(table, file->id));
      }
      std::sort(files.begin(), files.end(), PointerLess);
      // Few go into many: find each one's place by bisection and move the runs between. Only
      // neighbours of new files can break the order: what was there is in order, and stays so when
      // some of it is taken out.
      std::vector<DataFilePtr> merged;
      merged.reserve(present.size() + files.size());
      auto from = present.begin();
      for (DataFilePtr& file : files) {
        const auto place = std::upper_bound(from, present.end(), file, PointerLess);
        std::move(from, place, std::back_inserter(merged));
        std::string problem = merged.empty() ? "" : OrderProblem(*merged.back(), *file);
        if (problem.empty() && place != present.end()) problem = OrderProblem(*file, **place);
        if (!problem.empty()) return Misfit(std::move(problem));
        merged.push_back(std::move(file));
        from = place;
      }
      std::move(from, present.end(), std::back_inserter(merged));
      present = std::move(merged);
    }
    return Status::OK();
  }

  Status SetDeletions() {
    std::map<catalog::TableId,
             std::unordered_map<base::Ulid, const std::optional<DeletionVectorRef>*>>
        changes;
    for (const auto& [table, id, deletions] : edit_.set_deletions) {
      if (!changes[table].emplace(id, &deletions).second)
        return Misfit("deletions are set twice: " + TablePath(table, id));
    }
    for (auto& [table, by_file] : changes) {
      const auto slot = v_.files.find(table);
      if (slot != v_.files.end()) {
        const catalog::TableSchema& schema = *v_.catalog.tables.at(table);
        for (DataFilePtr& file : slot->second) {
          const auto change = by_file.find(file->id);
          if (change == by_file.end()) continue;
          if (file->deletions) loose_deletions_[table].insert(file->deletions->object);
          auto changed = std::make_shared<DataFile>(*file);
          changed->deletions = *change->second;
          if (std::string problem = FileProblem(*changed, schema); !problem.empty()) {
            return Misfit(problem + ": " + TablePath(table, file->id));
          }
          if (changed->deletions)
            fresh_paths_.insert(DeletionVectorPath(table, changed->deletions->object));
          file = std::move(changed);
          by_file.erase(change);
        }
      }
      if (!by_file.empty())
        return Misfit("file to set deletions of is not there: " +
                      TablePath(table, by_file.begin()->first));
    }
    return Status::OK();
  }

  void RetireUnreferencedDeletions() {
    for (auto& [table, objects] : loose_deletions_) {
      for (const DataFilePtr& file : v_.FilesOf(table)) {
        if (file->deletions) objects.erase(file->deletions->object);
      }
      for (const base::Ulid& object : objects) Retire(DeletionVectorPath(table, object));
    }
  }

  Status RaiseFloors() {
    if (edit_.flushed) {
      const auto [commit, system] = *edit_.flushed;
      if (commit < v_.flushed_commit || system < v_.flushed_system) {
        return Misfit(fmt::format(
            "flushed commit falls: commit={} system={} newest_commit={} newest_system={}",
            commit.value, system.micros, v_.flushed_commit.value, v_.flushed_system.micros));
      }
      v_.flushed_commit = commit;
      v_.flushed_system = system;
    }
    if (edit_.wal_floor) {
      if (*edit_.wal_floor < v_.wal_floor) {
        return Misfit(
            fmt::format("log floor falls: epoch={} segment={} newest_epoch={} newest_segment={}",
                        edit_.wal_floor->epoch, edit_.wal_floor->segment, v_.wal_floor.epoch,
                        v_.wal_floor.segment));
      }
      v_.wal_floor = *edit_.wal_floor;
    }
    for (const auto& [table, next] : edit_.next_row_id) {
      ARROW_RETURN_NOT_OK(RequireTable(table));
      if (v_.catalog.tables.at(table)->has_primary_key) {
        return Misfit(
            fmt::format("table with a primary key has no row ids: table={}", table.value));
      }
      int64_t& slot = v_.next_row_id[table];
      if (next < slot)
        return Misfit(
            fmt::format("next row id falls: table={} next={} newest={}", table.value, next, slot));
      slot = next;
    }
    for (const auto& [table, floor] : edit_.history_floor) {
      ARROW_RETURN_NOT_OK(RequireTable(table));
      const auto [slot, inserted] = v_.history_floor.emplace(table, floor);
      if (floor < slot->second) {
        return Misfit(fmt::format("history floor falls: table={} floor={} newest={}", table.value,
                                  floor.micros, slot->second.micros));
      }
      slot->second = floor;
    }
    return Status::OK();
  }

  Status ChangeMarks() {
    for (const Checkpoint& checkpoint : edit_.put_checkpoints)
      v_.checkpoints[checkpoint.name] = checkpoint;
    for (const std::string& name : edit_.drop_checkpoints) {
      if (v_.checkpoints.erase(name) == 0) return Misfit("checkpoint is not there: name=" + name);
    }
    const auto find_erase = [&](const PendingErase& e) {
      return std::find_if(v_.erases.begin(), v_.erases.end(), [&](const PendingErase& other) {
        return other.table == e.table && other.commit == e.commit && other.key == e.key;
      });
    };
    for (const PendingErase& erase : edit_.add_erases) {
      ARROW_RETURN_NOT_OK(RequireTable(erase.table));
      if (find_erase(erase) != v_.erases.end()) {
        return Misfit(fmt::format("erase is already there: table={} commit={}", erase.table.value,
                                  erase.commit.value));
      }
      v_.erases.push_back(erase);
    }
    for (const PendingErase& erase : edit_.finish_erases) {
      const auto found = find_erase(erase);
      if (found == v_.erases.end()) {
        return Misfit(fmt::format("erase to finish is not there: table={} commit={}",
                                  erase.table.value, erase.commit.value));
      }
      v_.erases.erase(found);
    }
    if (!edit_.forget_retired.empty()) {
      std::unordered_set<std::string_view> paths(edit_.forget_retired.begin(),
                                                 edit_.forget_retired.end());
      std::erase_if(v_.retired,
                    [&](const RetiredObject& object) { return paths.erase(object.path) != 0; });
      if (!paths.empty())
        return Misfit(fmt::format("object to forget is not retired: path={}", *paths.begin()));
    }
    return Status::OK();
  }

  /// What can be told only after all fields were applied.
  Status CheckWhole() {
    if (newest_added_ > v_.flushed_commit) {
      return Misfit(fmt::format("M6: file holds a commit that is not flushed: commit={} flushed={}",
                                newest_added_.value, v_.flushed_commit.value));
    }
    if (std::string problem = FloorProblem(v_); !problem.empty()) return Misfit(std::move(problem));
    if (!fresh_paths_.empty()) {
      for (const RetiredObject& object : v_.retired) {
        if (fresh_paths_.count(object.path) != 0)
          return Misfit("M10: retired object is used again: path=" + object.path);
      }
    }
    return Status::OK();
  }

  const VersionEdit& edit_;
  Version& v_;
  VersionSummary totals_;
  std::unordered_set<std::string> fresh_paths_;
  CommitId newest_added_;
  std::map<catalog::TableId, std::set<base::Ulid>>
      loose_deletions_;  ///< Lost a reference; perhaps not the last.
};

struct ObjectName {
  catalog::TableId table;
  base::Ulid id;
  friend auto operator<=>(const ObjectName&, const ObjectName&) = default;
};

/// Files by id: open addressing, because Verify runs before every publication.
class FileSet {
 public:
  explicit FileSet(size_t count) : slots_(std::bit_ceil(2 * count + 1)) {}

  bool Insert(const DataFile& file) {
    const DataFile*& slot = Slot(file.id);
    if (slot != nullptr) return false;
    slot = &file;
    return true;
  }
  const DataFile* Find(const base::Ulid& id) { return Slot(id); }

 private:
  const DataFile*& Slot(const base::Ulid& id) {
    const size_t mask = slots_.size() - 1;
    // Ids of one millisecond differ in their last bytes only, which the hash leaves in its high
    // bits: fold those down.
    uint64_t hash = std::hash<base::Ulid>()(id);
    hash = (hash ^ (hash >> 32)) * 0x9E3779B97F4A7C15ull;
    size_t at = (hash ^ (hash >> 32)) & mask;
    while (slots_[at] != nullptr && slots_[at]->id != id) at = (at + 1) & mask;
    return slots_[at];
  }

  std::vector<const DataFile*> slots_;
};

/// Takes "data/<table>/<ulid>.<kind>" apart; false for anything else.
bool ParseDataPath(std::string_view path, ObjectName* object, std::string_view* kind) {
  constexpr std::string_view kPrefix = "data/";
  if (!path.starts_with(kPrefix)) return false;
  path.remove_prefix(kPrefix.size());
  const size_t slash = path.find('/');
  const size_t dot = path.find('.');
  if (slash == std::string_view::npos || dot == std::string_view::npos || dot < slash) return false;
  uint64_t table = 0;
  for (const char c : path.substr(0, slash)) {
    if (c < '0' || c > '9') return false;
    table = table * 10 + static_cast<uint64_t>(c - '0');
  }
  const auto id = base::Ulid::Parse(path.substr(slash + 1, dot - slash - 1));
  if (!id.ok()) return false;
  *object = {{table}, *id};
  *kind = path.substr(dot + 1);
  return true;
}

Status Broken(std::string what) {
  return MakeError(ErrorCode::kInternal, "manifest invariant is broken: " + std::move(what));
}

}  // namespace

const std::vector<DataFilePtr>& Version::FilesOf(catalog::TableId table) const {
  static const std::vector<DataFilePtr> kNone;
  const auto found = files.find(table);
  return found == files.end() ? kNone : found->second;
}

Status Version::Verify() const {
  if (number == 0 || database_id.is_zero())
    return Broken("M1: version without number or database id");
  for (size_t i = 0; i < recent.size(); ++i) {
    if (recent[i].number + recent.size() - i - 1 != number) {
      return Broken(fmt::format("M1: version list has a gap: position={} number={} newest={}", i,
                                recent[i].number, number));
    }
  }
  if (recent.empty() || recent.size() > kRecentVersions)
    return Broken(fmt::format("M1: version list has {} lines", recent.size()));

  if (std::string problem = CatalogProblem(catalog); !problem.empty())
    return Broken(std::move(problem));

  VersionSummary totals;
  size_t count = 0;
  for (const auto& [table, list] : files) count += list.size();
  FileSet live(count);
  std::set<ObjectName> live_deletions;
  for (const auto& [table, list] : files) {
    const catalog::TableSchemaPtr schema = catalog.Find(table);
    if (schema == nullptr)
      return Broken(
          fmt::format("M2: files of a table that is not in the catalogue: table={}", table.value));
    if (list.empty())
      return Broken(fmt::format("M3: table has an empty file list: table={}", table.value));
    const DataFile* before = nullptr;
    for (const DataFilePtr& file : list) {
      if (file->table != table)
        return Broken("M3: file is filed under another table: file=" + file->Path());
      if (std::string problem = FileProblem(*file, *schema); !problem.empty())
        return Broken(problem + ": file=" + file->Path());
      if (file->max_commit > flushed_commit) {
        return Broken(
            fmt::format("M6: file holds a commit that is not flushed: file={} commit={} flushed={}",
                        file->Path(), file->max_commit.value, flushed_commit.value));
      }
      ++totals.files;
      totals.bytes += file->bytes;
      totals.rows += file->rows;
      if (!live.Insert(*file)) return Broken("M4: file is listed twice: id=" + file->id.ToString());
      if (file->deletions && !retired.empty())
        live_deletions.insert({table, file->deletions->object});
      if (before != nullptr) {
        if (std::string problem = OrderProblem(*before, *file); !problem.empty())
          return Broken(std::move(problem));
      }
      before = file.get();
    }
  }
  const VersionSummary& last = recent.back();
  if (last.files != totals.files || last.bytes != totals.bytes || last.rows != totals.rows) {
    return Broken(
        fmt::format("M1: totals are wrong: files={} bytes={} rows={} counted_files={} "
                    "counted_bytes={} counted_rows={}",
                    last.files, last.bytes, last.rows, totals.files, totals.bytes, totals.rows));
  }

  if (std::string problem = FloorProblem(*this); !problem.empty())
    return Broken(std::move(problem));

  std::unordered_set<std::string_view> retired_paths;
  retired_paths.reserve(retired.size());
  for (const RetiredObject& object : retired) {
    if (object.since_version > number)
      return Broken("M10: object is retired in a later version: path=" + object.path);
    if (!retired_paths.insert(object.path).second)
      return Broken("M10: object is retired twice: path=" + object.path);
    ObjectName name;
    std::string_view kind;
    if (!ParseDataPath(object.path, &name, &kind)) continue;
    const DataFile* file = kind == "parquet" ? live.Find(name.id) : nullptr;
    if ((file != nullptr && file->table == name.table) ||
        (kind == "dv" && live_deletions.count(name) != 0)) {
      return Broken("M10: retired object is in use: path=" + object.path);
    }
  }

  std::set<std::tuple<catalog::TableId, std::string_view, CommitId>> erase_set;
  for (const PendingErase& erase : erases) {
    if (catalog.tables.count(erase.table) == 0 ||
        !erase_set.insert({erase.table, erase.key, erase.commit}).second) {
      return Broken(fmt::format("M11: erase is listed twice or of no table: table={} commit={}",
                                erase.table.value, erase.commit.value));
    }
  }
  for (const auto& [table, next] : next_row_id) {
    const catalog::TableSchemaPtr schema = catalog.Find(table);
    if (schema == nullptr || schema->has_primary_key || next < 0) {
      return Broken(fmt::format("M12: row ids of a table that has none: table={} next={}",
                                table.value, next));
    }
  }
  for (const auto& [table, floor] : history_floor) {
    if (catalog.tables.count(table) == 0)
      return Broken(fmt::format("M2: history floor of no table: table={}", table.value));
  }
  return Status::OK();
}

Status ApplyInPlace(const VersionEdit& edit, Version* version) {
  return Applier(edit, version).Run();
}

Result<VersionPtr> Apply(const Version& base, const VersionEdit& edit) {
  auto next = std::make_shared<Version>(base);
  ARROW_RETURN_NOT_OK(ApplyInPlace(edit, next.get()));
  return next;
}

}  // namespace lamina::storage::manifest
