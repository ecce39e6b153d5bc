// Reading the log back, making its end certain (W4), and pruning.
//
//  1. Segments from the floor on are walked in order. A header must name its own place and the
//     segment before it, and carry that segment's running checksum: a missing, foreign, shortened
//     or exchanged segment breaks the link.
//  2. A place that is no intact frame is
//       - the end of the segment, when only zeros follow (space that the file system had set
//         aside): a lost frame there would break the next segment's link;
//       - a torn tail (W3), in the last segment of the last epoch, when no intact frame at any
//         later offset was written after this place had been synced;
//       - damage, otherwise.
//  3. Then the segment that ends the log is written anew, without the torn tail and with a seal,
//     and put in the old one's place: all of it, as after a failed sync nobody knows what of it the
//     disk has. A torn header is written anew too, so that the segment, which may be the floor,
//     keeps its place.
//  4. Salvage takes the first damage as the end of the log. What lies behind is copied to
//     wal/<branch>/damaged/ first, then taken out, newest segment first, and the seal comes last:
//     after a crash between any two of these steps the log is still damaged at the same place or
//     whole.

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/mutant.h"
#include "storage/wal/wal_internal.h"

namespace lamina::storage::wal {

namespace {

std::string Place(const std::string& branch, SegmentId id, uint64_t offset) {
  return fmt::format("{}@{}", SegmentPath(branch, id), offset);
}

std::optional<uint64_t> ParseDigits(std::string_view text, size_t digits) {
  if (text.size() != digits) return std::nullopt;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool AllZero(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

std::string_view View(const arrow::Buffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.data()), static_cast<size_t>(buffer.size())};
}

/// The first place that does not read as log.
struct Damage {
  size_t segment = 0;  ///< Index in Walk::segments; their number when the place itself is missing.
  SegmentId id;
  uint64_t offset = 0;  ///< Everything from here on is not log.
  std::string what;
  bool torn = false;  ///< W3: may be cut off.
};

/// The log as it was found.
struct Walk {
  std::vector<SegmentInfo> segments;  ///< At or after the floor.
  uint64_t frames = 0;
  uint64_t bytes = 0;
  size_t intact = 0;    ///< Segments that were read to their end without damage.
  uint64_t end = 0;     ///< End of the intact bytes in the last segment that has any.
  bool sealed = false;  ///< Its last frame is a seal.
  CommitId last_commit;
  SystemTime last_system;
  std::optional<Damage> damage;
  SegmentId previous;  ///< Of the segment where the walk ended: what its header says, or would have
                       ///< to say.
  uint32_t chain = 0;
};

using FrameCallback = std::function<Status(SegmentId, uint64_t offset, const DecodedFrame&)>;

class Walker {
 public:
  Walker(const std::shared_ptr<ObjectStore>& store, const ReplayOptions& options,
         const FrameCallback& on_frame)
      : store_(store), options_(options), on_frame_(on_frame) {}

  Result<Walk> Run() {
    ARROW_ASSIGN_OR_RAISE(walk_.segments, ListSegments(store_, options_.branch));
    auto& segments = walk_.segments;
    segments.erase(segments.begin(),
                   std::find_if(segments.begin(), segments.end(),
                                [&](const SegmentInfo& s) { return s.id >= options_.floor; }));
    // A floor past segment 1 was the answer of a rotation, so that segment was once there.
    if (segments.empty() && options_.floor.segment > 1) {
      walk_.damage = Damage{0, options_.floor, 0, "segment is missing", false};
    }
    for (size_t i = 0; i < segments.size() && !walk_.damage; ++i) {
      ARROW_RETURN_NOT_OK(ReadSegment(i));
      if (!walk_.damage) ++walk_.intact;
    }
    return std::move(walk_);
  }

 private:
  void Damaged(size_t segment, uint64_t offset, std::string what, bool torn = false) {
    walk_.damage = Damage{segment, walk_.segments[segment].id, offset, std::move(what), torn};
  }

  /// Checks what the order of names alone tells. False when it is damage.
  bool CheckOrder(size_t index) {
    const SegmentId id = walk_.segments[index].id;
    if (index == 0) {
      const bool of_floor_epoch = id.epoch == options_.floor.epoch;
      const uint64_t expected = of_floor_epoch ? std::max<uint64_t>(options_.floor.segment, 1) : 1;
      if (id.segment != expected || (!of_floor_epoch && options_.floor.segment > 1)) {
        const SegmentId missing =
            of_floor_epoch || options_.floor.segment > 1
                ? SegmentId{options_.floor.epoch, std::max<uint64_t>(options_.floor.segment, 1)}
                : SegmentId{id.epoch, 1};
        Damaged(index, 0, "segment is missing: missing=" + SegmentPath(options_.branch, missing));
        return false;
      }
      return true;
    }
    const SegmentId before = walk_.segments[index - 1].id;
    if (id.epoch == before.epoch) {
      if (walk_.sealed) {
        Damaged(index, 0,
                "a segment follows the seal of its epoch: seal=" +
                    Place(options_.branch, before, walk_.end));
        return false;
      }
      if (id.segment != before.segment + 1) {
        Damaged(index, 0,
                "segment is missing: missing=" +
                    SegmentPath(options_.branch, {before.epoch, before.segment + 1}));
        return false;
      }
      return true;
    }
    if (id.segment != 1) {
      Damaged(index, 0,
              "segment is missing: missing=" + SegmentPath(options_.branch, {id.epoch, 1}));
      return false;
    }
    return true;
  }

  Status ReadSegment(size_t index) {
    if (!CheckOrder(index)) return Status::OK();
    const SegmentId id = walk_.segments[index].id;
    const bool last = index + 1 == walk_.segments.size();
    const bool first_of_epoch = id.segment == 1;
    // What a sound header says. The first segment read may have a predecessor below the floor:
    // nobody can check that link.
    const SegmentId expected_previous = index > 0 ? walk_.segments[index - 1].id : SegmentId{};
    const uint32_t expected_chain = index > 0 ? (first_of_epoch ? seal_checksum_ : running_) : 0;

    ARROW_ASSIGN_OR_RAISE(const std::shared_ptr<arrow::Buffer> buffer,
                          store_->Get(SegmentPath(options_.branch, id)));
    const std::string_view bytes = View(*buffer);
    walk_.segments[index].bytes = buffer->size();
    const uint32_t salt = FrameSalt(options_.database_id, id);

    SegmentHeader header;
    uint32_t version = 0;
    std::string why;
    switch (DecodeSegmentHeader(bytes, &header, &running_, &version, &why)) {
      case HeaderState::kOtherFormat: {
        const bool newer = version > kFormatVersion;
        return MakeError(
            ErrorCode::kUnsupported,
            fmt::format("the log was written by {} LaminaDB: file={} format={} supported={}",
                        newer ? "a newer" : "an older", SegmentPath(options_.branch, id), version,
                        kFormatVersion),
            newer ? "open it with a newer version" : "open it with the version that wrote it");
      }
      case HeaderState::kDamaged: {
        if (first_of_epoch && index > 0 && !walk_.sealed) {
          NoSeal(index - 1);
          return Status::OK();
        }
        if (!last && walk_.segments[index + 1].id.epoch != id.epoch) {
          // As below: the next epoch's header tells whether this segment was written anew, as one
          // without frames, and only that was lost.
          instead_of_seal_ = {0, std::move(why), walk_.end};
          walk_.end = kSegmentHeaderBytes;
          walk_.sealed = false;
          return Status::OK();
        }
        const bool torn = last && FindIntactFrames(bytes, 0, salt, walk_.last_commit).synced == 0;
        if (torn) {
          LAMINA_REACHED("wal.replay.torn_header");
          walk_.previous = expected_previous;
          walk_.chain = expected_chain;
        }
        Damaged(index, 0, why, torn);
        return Status::OK();
      }
      case HeaderState::kIntact:
        break;
    }
    if (first_of_epoch && index > 0 && !walk_.sealed && header.previous != expected_previous) {
      NoSeal(index - 1);
      return Status::OK();
    }
    if (header.database_id != options_.database_id) {
      Damaged(index, 0,
              fmt::format("segment belongs to another database: database={} expected={}",
                          header.database_id.ToString(), options_.database_id.ToString()));
      return Status::OK();
    }
    if (header.id != id) {
      Damaged(index, 0,
              "segment was written under another name: name=" +
                  SegmentPath(options_.branch, header.id));
      return Status::OK();
    }
    if (index > 0 ? header.previous != expected_previous
                  : header.previous >= std::max(options_.floor, SegmentId{0, 1})) {
      Damaged(index, 0,
              "the segment before is missing: missing=" +
                  SegmentPath(options_.branch, header.previous));
      return Status::OK();
    }
    if (first_of_epoch && index > 0 && !walk_.sealed) {
      if (!IsLostSeal(index - 1, header.chain)) return Status::OK();
      LAMINA_REACHED("wal.replay.lost_seal");
    } else if (index > 0 && header.chain != expected_chain) {
      Damaged(index, 0,
              "the segment before is not the one that was written: chain mismatch: before=" +
                  SegmentPath(options_.branch, expected_previous));
      return Status::OK();
    }
    walk_.previous = header.previous;
    walk_.chain = header.chain;
    return ReadFrames(index, bytes, salt);
  }

  Status ReadFrames(size_t index, std::string_view bytes, uint32_t salt) {
    const SegmentId id = walk_.segments[index].id;
    const bool last = index + 1 == walk_.segments.size();
    uint64_t at = kSegmentHeaderBytes;
    walk_.end = at;
    walk_.sealed = false;
    while (at < bytes.size()) {
      const std::string_view rest = bytes.substr(at);
      DecodedFrame decoded;
      const char* wrong = DecodeFrame(rest, salt, &decoded);
      if (wrong != nullptr) {
        if (AllZero(rest)) {
          LAMINA_REACHED("wal.replay.zero_tail");
          break;
        }
        // What was not synced reaches the disk in any order: intact frames behind a hole are no
        // proof of damage, unless one of them was written when this place had been synced.
        const IntactFrames behind = FindIntactFrames(rest, 1, salt, walk_.last_commit);
        const bool torn = last && !walk_.sealed &&
                          (behind.synced <= at || LAMINA_MUTANT("wal.damage_taken_for_torn"));
        if (torn && behind.count > 0) LAMINA_REACHED("wal.replay.hole_in_unsynced");
        if (!last && !walk_.sealed && walk_.segments[index + 1].id.epoch != id.epoch) {
          // Only the seal may be wrong here: the next epoch's header tells.
          instead_of_seal_ = {at, wrong, at};
          break;
        }
        if (torn) {
          LAMINA_REACHED("wal.replay.torn_tail");
        } else {
          LAMINA_REACHED("wal.replay.middle_damage");
        }
        Damaged(index, at, wrong, torn);
        return Status::OK();
      }
      if (walk_.sealed) {
        Damaged(index, at, "a frame follows the seal of its epoch");
        return Status::OK();
      }
      if (decoded.frame.type == FrameType::kSeal) {
        walk_.sealed = true;
        seal_checksum_ = decoded.checksum;
      } else {
        if (decoded.frame.commit <= walk_.last_commit) {
          Damaged(index, at,
                  fmt::format("commit numbers do not rise: commit={} last={}",
                              decoded.frame.commit.value, walk_.last_commit.value));
          return Status::OK();
        }
        walk_.last_commit = decoded.frame.commit;
        walk_.last_system = decoded.frame.system;
        ++walk_.frames;
      }
      ARROW_RETURN_NOT_OK(on_frame_(id, at, decoded));
      running_ = ExtendChain(running_, decoded.checksum);
      at += decoded.bytes;
      walk_.bytes += decoded.bytes;
      walk_.end = at;
    }
    return Status::OK();
  }

  /// An epoch's last segment ends where its seal should be.
  void NoSeal(size_t segment) {
    if (!instead_of_seal_.what.empty()) {
      LAMINA_REACHED("wal.replay.middle_damage");
      Damaged(segment, instead_of_seal_.offset, instead_of_seal_.what);
      walk_.end = instead_of_seal_.end;
      return;
    }
    Damaged(segment, walk_.end,
            "epoch ends without a seal, and a later one follows: next=" +
                SegmentPath(options_.branch, walk_.segments[segment + 1].id));
  }

  /// Whether what is missing at the end of a segment is its seal and nothing else: the header of
  /// the next epoch was written when the seal was there, and holds its checksum. (A sync that
  /// failed, or was never asked for, may lose a seal that was read back before; and a process that
  /// died before it synced the directory leaves the segment as it was before MakeEndCertain.)
  bool IsLostSeal(size_t segment, uint32_t chain) {
    const uint32_t salt = FrameSalt(options_.database_id, walk_.segments[segment].id);
    std::string seal;
    const auto checksum = [&](CommitId commit, SystemTime system) {
      seal.clear();
      return AppendFrame(&seal, salt, {FrameType::kSeal, commit, system, {}, walk_.end});
    };
    // A writer that made no commit seals with 0.
    if (checksum(walk_.last_commit, walk_.last_system) == chain || checksum({}, {}) == chain) {
      instead_of_seal_ = {};
      return true;
    }
    NoSeal(segment);
    return false;
  }

  const std::shared_ptr<ObjectStore>& store_;
  const ReplayOptions& options_;
  const FrameCallback& on_frame_;
  Walk walk_;
  struct {
    uint64_t offset = 0;
    std::string what;  // empty: nothing is wrong, but that the seal is missing
    uint64_t end = 0;  // of the intact bytes, as in Walk
  } instead_of_seal_;  // what was found where an epoch that is not the last should end
  uint32_t running_ = 0;
  uint32_t seal_checksum_ = 0;
};

Status DamageError(const ReplayOptions& options, const Walk& walk) {
  const Damage& damage = *walk.damage;
  return MakeError(ErrorCode::kCorruption,
                   fmt::format("the log is damaged: at={} problem={}",
                               Place(options.branch, damage.id, damage.offset), damage.what),
                   "restore the file, or open with salvage to keep what lies before the damage");
}

/// Cuts the segment where the walk ended, gives it a header if that is cut too, and seals it.
///
/// The segment is written anew and takes the old one's place whole. Where it lies it could not be
/// trusted: a process that stopped after a failed sync leaves pages that read back fine, that the
/// kernel counts as clean, and that no later sync would write.
Status MakeEndCertain(const std::shared_ptr<ObjectStore>& store, const ReplayOptions& options,
                      const Walk& walk, SegmentId id) {
  const std::string path = SegmentPath(options.branch, id);
  std::string bytes;
  if (walk.end >= kSegmentHeaderBytes) {
    ARROW_ASSIGN_OR_RAISE(const auto buffer, store->Get(path));
    bytes =
        View(*buffer).substr(0, LAMINA_MUTANT("wal.torn_tail_kept") ? std::string::npos : walk.end);
  } else {
    bytes = EncodeSegmentHeader({options.database_id, id, walk.previous, walk.chain});
  }
  if (!walk.sealed) {
    LAMINA_REACHED("wal.seal");
    // What lies before becomes durable with the seal.
    AppendFrame(&bytes, FrameSalt(options.database_id, id),
                {FrameType::kSeal, walk.last_commit, walk.last_system, {}, uint64_t{bytes.size()}});
  }
  LAMINA_FAULT_POINT("wal.seal.before_put");
  ARROW_RETURN_NOT_OK(store->Put(path, bytes, PutCondition::None()).status());
  LAMINA_FAULT_POINT("wal.seal.after_put");
  return Status::OK();
}

/// Copies [offset, end of segment) aside.
Status KeepCopy(const std::shared_ptr<ObjectStore>& store, const ReplayOptions& options,
                SegmentId id, uint64_t offset) {
  ARROW_ASSIGN_OR_RAISE(const auto buffer, store->Get(SegmentPath(options.branch, id)));
  if (offset >= static_cast<uint64_t>(buffer->size())) return Status::OK();
  const std::string path = fmt::format("{}damaged/{:010}-{:012}-{}.bytes",
                                       WalPrefix(options.branch), id.epoch, id.segment, offset);
  const auto put = store->Put(path, View(*buffer).substr(offset), PutCondition::IfAbsent());
  // A salvage that was interrupted has copied it already.
  if (!put.ok() && CodeOf(put.status()) != ErrorCode::kAlreadyExists) return put.status();
  return Status::OK();
}

/// Lists what lies from the damage on, and unless read_only takes it out of the log. Returns the
/// segment that then ends the log, if any.
Result<std::optional<SegmentId>> Salvage(const std::shared_ptr<ObjectStore>& store,
                                         const ReplayOptions& options, const Walk& walk,
                                         ReplayReport* report) {
  LAMINA_REACHED("wal.salvage");
  const Damage& damage = *walk.damage;
  const auto& segments = walk.segments;
  if (segments.empty())
    report->left_out.push_back(Place(options.branch, damage.id, 0) + ": " + damage.what);
  for (size_t i = damage.segment; i < segments.size(); ++i) {
    const uint64_t offset = i == damage.segment ? damage.offset : 0;
    report->left_out.push_back(
        fmt::format("{}: {} bytes: {}", Place(options.branch, segments[i].id, offset),
                    static_cast<uint64_t>(segments[i].bytes) - offset,
                    i == damage.segment ? damage.what : "follows the damage"));
  }
  // A segment with nothing intact goes whole; the log then ends with the segment before.
  const size_t kept = damage.offset >= kSegmentHeaderBytes ? damage.segment + 1 : damage.segment;
  if (!options.read_only) {
    for (size_t i = damage.segment; i < segments.size(); ++i) {
      ARROW_RETURN_NOT_OK(
          KeepCopy(store, options, segments[i].id, i == damage.segment ? damage.offset : 0));
    }
    for (size_t i = segments.size(); i-- > kept;) {
      LAMINA_FAULT_POINT("wal.salvage.before_delete");
      ARROW_RETURN_NOT_OK(store->Delete(SegmentPath(options.branch, segments[i].id)));
    }
  }
  if (kept > 0) return segments[kept - 1].id;
  // The manifest still names the floor: an empty sealed segment takes its place, or the next open
  // would miss it.
  if (options.floor.segment > 1) return options.floor;
  return std::nullopt;
}

}  // namespace

std::string SegmentPath(const std::string& branch, SegmentId id) {
  return fmt::format("{}{:010}/{:012}.vw", WalPrefix(branch), id.epoch, id.segment);
}

Result<ReplayReport> Replay(const std::shared_ptr<ObjectStore>& store, const ReplayOptions& options,
                            const std::function<Status(const Frame&)>& apply) {
  const FrameCallback on_frame = [&](SegmentId, uint64_t, const DecodedFrame& decoded) {
    return decoded.frame.type == FrameType::kCommit ? apply(decoded.frame) : Status::OK();
  };
  ARROW_ASSIGN_OR_RAISE(Walk walk, Walker(store, options, on_frame).Run());
  ReplayReport report;
  report.segments = walk.intact;
  report.frames = walk.frames;
  report.bytes = walk.bytes;
  if (walk.segments.empty() && !walk.damage) return report;

  std::optional<SegmentId> end;
  if (!walk.damage) {
    end = walk.segments.back().id;
  } else {
    const Damage& damage = *walk.damage;
    if (damage.torn) {
      end = damage.id;
      report.segments = walk.segments.size();
      report.torn_at = Place(options.branch, damage.id, damage.offset);
      report.torn_bytes =
          static_cast<uint64_t>(walk.segments[damage.segment].bytes) - damage.offset;
      walk.end = damage.offset;
      walk.sealed = false;
    } else if (options.salvage) {
      ARROW_ASSIGN_OR_RAISE(end, Salvage(store, options, walk, &report));
    } else {
      return DamageError(options, walk);
    }
  }
  if (end) {
    report.last_epoch = end->epoch;
    // A sound log that ends in its seal is left untouched: should the seal be lost, as its writer
    // may have died before syncing it, the next epoch's chain stands in for it.
    const bool certain = walk.sealed && !walk.damage;
    if (!options.read_only && !certain)
      ARROW_RETURN_NOT_OK(MakeEndCertain(store, options, walk, *end));
  }
  return report;
}

Result<std::vector<FrameInfo>> ListFrames(const std::shared_ptr<ObjectStore>& store,
                                          const ReplayOptions& options) {
  std::vector<FrameInfo> out;
  const FrameCallback on_frame = [&](SegmentId id, uint64_t offset, const DecodedFrame& decoded) {
    out.push_back({id,
                   offset,
                   decoded.bytes,
                   decoded.frame.type,
                   decoded.frame.commit,
                   decoded.frame.system,
                   {}});
    return Status::OK();
  };
  ARROW_ASSIGN_OR_RAISE(const Walk walk, Walker(store, options, on_frame).Run());
  if (walk.damage) {
    const Damage& damage = *walk.damage;
    FrameInfo info;
    info.segment = damage.id;
    info.offset = damage.offset;
    if (damage.segment < walk.segments.size()) {
      info.length = static_cast<uint64_t>(walk.segments[damage.segment].bytes) - damage.offset;
    }
    info.damage = (damage.torn ? "torn tail: " : "") + damage.what;
    out.push_back(std::move(info));
  }
  return out;
}

Result<std::vector<SegmentInfo>> ListSegments(const std::shared_ptr<ObjectStore>& store,
                                              const std::string& branch) {
  const std::string prefix = WalPrefix(branch);
  ARROW_ASSIGN_OR_RAISE(const std::vector<ObjectInfo> objects, store->List(prefix));
  std::vector<SegmentInfo> out;
  for (const ObjectInfo& object : objects) {
    // <epoch, 10 digits>/<segment, 12 digits>.vw; anything else (damaged/, another program's file)
    // is not the log's.
    const std::string_view name = std::string_view(object.path).substr(prefix.size());
    if (name.size() != 26 || name[10] != '/' || name.substr(23) != ".vw") continue;
    const auto epoch = ParseDigits(name.substr(0, 10), 10);
    const auto segment = ParseDigits(name.substr(11, 12), 12);
    if (!epoch || !segment) continue;
    out.push_back({{*epoch, *segment}, object.size});
  }
  std::sort(out.begin(), out.end(),
            [](const SegmentInfo& a, const SegmentInfo& b) { return a.id < b.id; });
  return out;
}

Result<std::vector<SegmentInfo>> Prune(const std::shared_ptr<ObjectStore>& store,
                                       const std::string& branch, SegmentId floor, bool dry_run) {
  ARROW_ASSIGN_OR_RAISE(std::vector<SegmentInfo> segments, ListSegments(store, branch));
  segments.erase(std::find_if(segments.begin(), segments.end(),
                              [&](const SegmentInfo& s) { return s.id >= floor; }),
                 segments.end());
  if (!dry_run) {
    // Oldest first: what an interruption leaves is still a log without holes.
    for (const SegmentInfo& segment : segments) {
      ARROW_RETURN_NOT_OK(store->Delete(SegmentPath(branch, segment.id)));
    }
  }
  return segments;
}

Status DropSalvaged(const std::shared_ptr<ObjectStore>& store, const std::string& branch) {
  ARROW_ASSIGN_OR_RAISE(const auto copies, store->List(WalPrefix(branch) + "damaged/"));
  for (const ObjectInfo& copy : copies) ARROW_RETURN_NOT_OK(store->Delete(copy.path));
  return Status::OK();
}

}  // namespace lamina::storage::wal
