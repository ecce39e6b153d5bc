// `lamina inspect`: what lies in a database's directory, read without opening it (works beside a
// running owner).
#include <filesystem>

#include "cli/commands.h"
#include "cli/terminal.h"
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "storage/manifest/manifest_store.h"
#include "storage/sst/file_reader.h"
#include "storage/wal/wal.h"

namespace lamina::cli {
namespace {

using nlohmann::ordered_json;
using storage::FileKind;
using storage::manifest::ManifestStore;

constexpr char kBranch[] = "main";
constexpr size_t kShown = 40;

template <typename... Args>
void Print(fmt::format_string<Args...> format, Args&&... args) {
  Out(fmt::format(format, std::forward<Args>(args)...));
}

std::string KeyText(const catalog::TableSchema& table, const std::string& key) {
  const auto decoded = catalog::KeyCodec(table).Decode(std::vector<std::string_view>{key});
  if (!decoded.ok()) return decoded.status().ToString();
  std::string out;
  for (const auto& column : *decoded) out += (out.empty() ? "" : ",") + CellText(*column, 0);
  return out;
}

ordered_json ManifestJson(const ManifestStore::RefInfo& ref) {
  const auto& v = *ref.version;
  ordered_json out;
  out["format"] = ref.format;
  out["database_id"] = v.database_id.ToString();
  out["version"] = v.number;
  out["owner_epoch"] = v.owner_epoch;
  out["base"] = ref.base;
  out["inline_edits"] = ref.inline_edits;
  out["ref_bytes"] = ref.bytes;
  out["flushed_commit"] = v.flushed_commit.value;
  out["flushed_system"] = Format(v.flushed_system);
  out["wal_floor"] = {{"epoch", v.wal_floor.epoch}, {"segment", v.wal_floor.segment}};
  for (const auto& [id, table] : v.catalog.tables) {
    ordered_json t;
    t["id"] = id.value;
    t["name"] = table->name;
    t["schema_version"] = table->version;
    for (const auto& column : table->columns)
      t["columns"].push_back({{"id", column.id},
                              {"name", column.name},
                              {"type", column.type->ToString()},
                              {"nullable", column.nullable}});
    t["key"] = table->key;
    const auto floor = v.history_floor.find(id);
    if (floor != v.history_floor.end()) t["history_floor"] = Format(floor->second);
    out["tables"].push_back(std::move(t));
  }
  out["checkpoints"] = ordered_json::array();
  for (const auto& [name, c] : v.checkpoints)
    out["checkpoints"].push_back(
        {{"name", name}, {"commit", c.commit.value}, {"system", Format(c.system)}});
  out["retired"] = v.retired.size();
  out["pending_erases"] = v.erases.size();
  return out;
}

ordered_json FileJson(const std::shared_ptr<ObjectStore>& store, const storage::DataFile& f,
                      storage::sst::FileCache* cache) {
  ordered_json out;
  out["path"] = f.Path();
  out["kind"] = f.kind == FileKind::kCurrent ? "current" : "history";
  out["level"] = f.level;
  out["rows"] = f.rows;
  out["bytes"] = f.bytes;
  out["schema_version"] = f.schema_version;
  out["min_commit"] = f.min_commit.value;
  out["max_commit"] = f.max_commit.value;
  out["min_system_from"] = Format(f.min_system_from);
  out["max_system_from"] = Format(f.max_system_from);
  out["has_valid_columns"] = f.has_valid_columns;
  out["has_system_columns"] = f.has_system_columns;
  if (f.deletions.has_value()) {
    // Everything another program needs to apply the vector: position and end (null = replaced,
    // visible at no time).
    storage::sst::ReadCounters counters;
    const auto vector = cache->Deletions(std::make_shared<storage::DataFile>(f), &counters);
    if (vector.ok()) {
      auto ended = ordered_json::array();
      for (const auto& e : (*vector)->rows()) {
        if (e.ended_at == storage::sst::kRewritten) {
          ended.push_back({e.ordinal, nullptr});
        } else {
          ended.push_back({e.ordinal, e.ended_at.micros});
        }
      }
      out["ended"] = std::move(ended);
    } else {
      out["ended_error"] = vector.status().ToString();
    }
  }
  (void)store;
  return out;
}

Result<std::shared_ptr<ObjectStore>> OpenDirectory(const std::string& directory) {
  if (!std::filesystem::exists(directory + "/refs")) return NoDatabase(directory);
  return OpenLocalStore(directory, /*create=*/false);
}

}  // namespace

Result<std::vector<std::string>> CurrentFiles(const std::string& directory,
                                              const std::string& table) {
  ARROW_ASSIGN_OR_RAISE(const auto store, OpenDirectory(directory));
  ARROW_ASSIGN_OR_RAISE(const auto ref, ManifestStore::Inspect(store, kBranch));
  const auto schema = ref.version->catalog.Find(table);
  if (schema == nullptr)
    return MakeError(ErrorCode::kNotFound, fmt::format("unknown table: table={}", table));
  std::vector<std::string> out;
  for (const auto& f : ref.version->FilesOf(schema->id)) {
    if (f->kind == FileKind::kCurrent) out.push_back(directory + "/" + f->Path());
  }
  return out;
}

Status RunInspect(const std::string& directory, const std::string& what, bool as_json) {
  ARROW_ASSIGN_OR_RAISE(const auto store, OpenDirectory(directory));
  ARROW_ASSIGN_OR_RAISE(const auto ref, ManifestStore::Inspect(store, kBranch));
  const auto& version = *ref.version;
  ordered_json out;
  const bool all = what == "all";

  if (all || what == "manifest") {
    out["manifest"] = ManifestJson(ref);
    if (!as_json) {
      Print("database {}, format {}, version {}, owner epoch {}\n", version.database_id.ToString(),
            ref.format, version.number, version.owner_epoch);
      Print("ref: {} with {} edits since base {}\n", SizeText(ref.bytes), ref.inline_edits,
            ref.base);
      Print(
          "flushed up to commit {} ({}); log needed from epoch {} segment {}; {} objects retired, "
          "{} checkpoints\n",
          CountText(version.flushed_commit.value), Format(version.flushed_system),
          version.wal_floor.epoch, version.wal_floor.segment, version.retired.size(),
          version.checkpoints.size());
      TextTable tables({"table", "id", "schema", "columns", "key", "current files", "rows",
                        "history files", "rows", "size"});
      for (const auto& [id, table] : version.catalog.tables) {
        uint64_t files[2] = {0, 0}, rows[2] = {0, 0}, bytes = 0;
        for (const auto& f : version.FilesOf(id)) {
          const int k = f->kind == FileKind::kHistory ? 1 : 0;
          ++files[k];
          rows[k] += f->rows;
          bytes += f->bytes;
        }
        std::string key;
        for (const auto column : table->key)
          key += (key.empty() ? "" : ", ") + table->FindColumn(column)->name;
        tables.Add({table->name, std::to_string(id.value), std::to_string(table->version),
                    std::to_string(table->columns.size()), key, CountText(files[0]),
                    CountText(rows[0]), CountText(files[1]), CountText(rows[1]), SizeText(bytes)},
                   {false, true, true, true, false, true, true, true, true, true});
      }
      Out(tables.ToString());
    }
  }
  if (all || what == "files") {
    const auto cache = storage::sst::FileCache::Make(store, {});
    out["files"] = ordered_json::array();
    size_t files_total = 0;
    TextTable files(
        {"file", "table", "kind", "level", "rows", "ended", "size", "first key", "last key"});
    for (const auto& [id, list] : version.files) {
      const auto table = version.catalog.Find(id);
      if (table == nullptr) continue;
      for (const auto& f : list) {
        if (as_json) {
          auto entry = FileJson(store, *f, cache.get());
          entry["table"] = table->name;
          out["files"].push_back(std::move(entry));
          continue;
        }
        ++files_total;
        if (files.rows() >= kShown) continue;
        files.Add(
            {f->id.ToString(), table->name, f->kind == FileKind::kCurrent ? "current" : "history",
             std::to_string(f->level), CountText(f->rows),
             f->deletions.has_value() ? CountText(f->deletions->ended_rows) : "",
             SizeText(f->bytes), KeyText(*table, f->min_key), KeyText(*table, f->max_key)},
            {false, false, false, true, true, true, true, false, false});
      }
    }
    if (!as_json) {
      Out(files.ToString());
      if (files_total > files.rows())
        Print("  … {}; --json shows all\n", Plural(files_total - files.rows(), "more file"));
    }
  }
  if (all || what == "wal") {
    storage::wal::ReplayOptions options;
    options.branch = kBranch;
    options.database_id = version.database_id;
    options.read_only = true;
    std::vector<storage::wal::SegmentInfo> segments;
    std::vector<storage::wal::FrameInfo> frames;
    // The owner may flush and prune beside us: what was listed holds only if the floor stayed.
    for (auto floor = version.wal_floor;;) {
      options.floor = {floor.epoch, floor.segment};
      auto listed = storage::wal::ListSegments(store, kBranch);
      auto read = storage::wal::ListFrames(store, options);
      ARROW_ASSIGN_OR_RAISE(const auto now, ManifestStore::Inspect(store, kBranch));
      if (now.version->wal_floor == floor) {
        ARROW_ASSIGN_OR_RAISE(segments, std::move(listed));
        ARROW_ASSIGN_OR_RAISE(frames, std::move(read));
        break;
      }
      // Whatever was missing may be what was pruned.
      floor = now.version->wal_floor;
    }
    out["wal"]["segments"] = ordered_json::array();
    for (const auto& s : segments)
      out["wal"]["segments"].push_back(
          {{"epoch", s.id.epoch}, {"segment", s.id.segment}, {"bytes", s.bytes}});
    out["wal"]["frames"] = ordered_json::array();
    TextTable table(
        {"epoch", "segment", "offset", "bytes", "frame", "commit", "system time", "damage"});
    for (const auto& f : frames) {
      const char* type = f.type == storage::wal::FrameType::kSeal ? "seal" : "commit";
      if (as_json) {
        out["wal"]["frames"].push_back({{"epoch", f.segment.epoch},
                                        {"segment", f.segment.segment},
                                        {"offset", f.offset},
                                        {"length", f.length},
                                        {"type", type},
                                        {"commit", f.commit.value},
                                        {"system", Format(f.system)},
                                        {"damage", f.damage}});
        continue;
      }
      if (table.rows() < kShown || !f.damage.empty()) {
        table.Add({std::to_string(f.segment.epoch), std::to_string(f.segment.segment),
                   std::to_string(f.offset), std::to_string(f.length), type,
                   std::to_string(f.commit.value), Format(f.system), f.damage},
                  {true, true, true, true, false, true, false, false});
      }
    }
    if (!as_json) {
      Print("log: {}, {} at or after the floor\n", Plural(segments.size(), "segment"),
            Plural(frames.size(), "frame"));
      if (!frames.empty()) Out(table.ToString());
      if (frames.size() > table.rows())
        Print("  … {}; --json shows all\n", Plural(frames.size() - table.rows(), "more frame"));
    }
  }
  if (as_json) Out(JsonLine(out) + "\n");
  return Status::OK();
}

}  // namespace lamina::cli
